"""Row 9, ACG: a practice ranks its people by risk and finds whom to offer a plan. What the rank is, charities are not shown unless the person says so."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from .town import Programme, about, classes, permit

TIER = "https://town.example/risk-tier"


def ranked(patient: str, tier: str) -> dict[str, Any]:
    return {
        "resourceType": "RiskAssessment", "status": "final", "subject": about(patient), "occurrenceDateTime": "2026-11-19", "method": {"text": "ACG"},
        "prediction": [{"outcome": {"text": "Emergency admission"}, "qualitativeRisk": {"coding": [{"system": TIER, "code": tier}]}}],
    }  # fmt: skip


TABLE = """partner: acg-ranks
version: 1
about: What a risk tool gives out, a line for each person.
form: csv
columns: [NHS Number, Surname, Forenames, DOB, Rank No, Tier, Run on]
person: [NHS Number, Surname, Forenames, DOB]
rows:
  - {theirs: NHS Number, plan: person.nhs_number}
  - {theirs: Surname, plan: person.name.family}
  - {theirs: Forenames, plan: person.name.given, split: " "}
  - {theirs: DOB, plan: person.birth_date, date: DD/MM/YYYY}
  - theirs: lines
    plan: risks
    always: {method: ACG, of: Emergency admission}
    each:
      - {theirs: Rank No, plan: id}
      - {theirs: Tier, plan: tier}
      - {theirs: Run on, plan: "on", date: DD/MM/YYYY}
"""


def test_ranks_come_in_as_a_table_and_no_charity_is_shown_them_either(programme: Programme, tmp_path: Path) -> None:
    p = programme
    p.places(tool="health", town_practice="health", helpers="voluntary")
    gp, helper = p.staff(gwen=("town_practice", "gp"), hob=("helpers", "link-worker"))
    source = p.system("acg-table", "tool", "--contributor", "--refers")
    plans = {given: p.plan_of(given, team=[("Gwen", "town_practice")]) for given in ("Ann", "Bob")}
    people = {given: p.bring(source, plan) for given, plan in plans.items()}
    for patient in people.values():
        gp.agree(patient)
    lines = [f"{plan['person']['nhs_number']},S09,{given},04/03/1950,R-{given},{tier},19/11/2026" for (given, plan), tier in zip(plans.items(), ("high", "low"), strict=True)]
    (tmp_path / "acg.yaml").write_text(TABLE)
    (tmp_path / "ranks.csv").write_text("\n".join(["NHS Number,Surname,Forenames,DOB,Rank No,Tier,Run on", *lines]) + "\n")
    done = p.town.command("import", "--as", f"{p.key}-acg-table", "--mapping", str(tmp_path / "acg.yaml"), str(tmp_path / "ranks.csv"))
    assert [(line["patient"], line["refused"]) for line in done] == [(id, 0) for id in people.values()], done

    ranked = {given: gp.one(f"RiskAssessment?patient={id}") for given, id in people.items()}
    assert {given: r["prediction"][0]["qualitativeRisk"]["text"] for given, r in ranked.items()} == {"Ann": "high", "Bob": "low"}
    assert ranked["Ann"]["method"]["text"] == "ACG" and ranked["Ann"]["occurrenceDateTime"] == "2026-11-19"
    ann = p.person("ann", people["Ann"])
    ann.allow(permit(p.place("helpers")))
    assert helper.total(f"CarePlan?patient={people['Ann']}") == 1
    helper.knows_nothing_of(f"RiskAssessment/{ranked['Ann']['id']}", f"RiskAssessment/{ranked['Bob']['id']}", f"Patient/{people['Bob']}")
    assert "high" not in json.dumps(helper.plan(people["Ann"])), "nor in the plan as a file"


def test_ranks_come_in_as_a_file_and_no_charity_is_shown_them_by_a_yes_in_general(programme: Programme) -> None:
    p = programme
    p.places(trust="health", practice="health", charity="voluntary")
    gp, helper = p.staff(gia=("practice", "gp"), cal=("charity", "link-worker"))
    source = p.system("acg", "trust", "--contributor", "--refers")
    patient = p.bring(source, p.plan_of("Roy", team=[("Gia", "practice")]))
    roy = p.person("roy", patient)
    gp.agree(patient)
    bundle = {"resourceType": "Bundle", "type": "transaction", "entry": [{"resource": ranked(patient, "high"), "request": {"method": "POST", "url": "RiskAssessment"}}]}
    file = p.town.folder / "s09-ranks.json"
    file.write_text(json.dumps(bundle))
    (line,) = p.town.command("import", "--as", f"{p.key}-acg", str(file))
    assert line["written"] == 1 and not line["refused"], line

    rank = gp.one(f"RiskAssessment?patient={patient}")
    assert rank["prediction"][0]["qualitativeRisk"]["coding"][0]["code"] == "high", "the practice finds whom to offer a plan"
    yes = roy.allow(permit(p.place("charity")))
    assert helper.total(f"CarePlan?patient={patient}") == 1, "Roy shared his record with the charity"
    helper.knows_nothing_of(f"RiskAssessment/{rank['id']}")
    helper.page.get(f"/team/people/{patient}")
    assert "Emergency admission" not in helper.page.words() and helper.total(f"RiskAssessment?patient={patient}&_summary=count") == 0
    assert helper.total(f"RiskAssessment?patient={patient}") == 0
    assert TIER not in helper.get(f"Patient/{patient}/$everything").text
    assert roy.total(f"RiskAssessment?patient={patient}") == 1, "he sees it himself"

    roy.end(yes)
    roy.allow(permit(p.place("charity"), **classes("RiskAssessment")))
    assert helper.read(f"RiskAssessment/{rank['id']}")["id"] == rank["id"], "and shows it to whom he wants"
