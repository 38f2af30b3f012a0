"""Row 46, carers' registers: a practice knows which of its people are carers, and nothing of those they care for."""

from __future__ import annotations

from .town import SNOMED, Programme, about

CARER = {"system": SNOMED, "code": "224484003", "display": "Patient themselves providing care"}


def test_the_gp_lists_registered_carers_and_never_their_relatives_plans(programme: Programme) -> None:
    p = programme
    p.places(trust="health", practice="health", other_practice="health")
    gp, other = p.staff(gita=("practice", "gp"), otto=("other_practice", "gp"))
    source = p.system("records", "trust", "--contributor", "--refers")
    carer = p.bring(source, p.plan_of("Cass", team=[("Gita", "practice")]))
    plain = p.bring(source, p.plan_of("Dan", team=[("Gita", "practice")]))
    husband = p.bring(source, p.plan_of("Hew", team=[("Otto", "other_practice")], contacts=[{"id": "c-1", "name": "Cass", "relationship": "wife", "carer": True}]))
    for patient in (carer, plain):
        gp.agree(patient)
    other.agree(husband)
    cass = p.person("cass", carer)

    flag = gp.make({
        "resourceType": "Flag", "status": "active", "subject": about(carer), "author": {"reference": gp.user}, "period": {"start": "2026-11-20"},
        "category": [{"text": "Carers' register"}], "code": {"coding": [CARER]},
    })  # fmt: skip
    registered = gp.find("Flag?_include=Flag:patient")
    assert {r["id"] for r in registered} == {flag["id"], carer}, "its own carers, and nobody else"
    assert gp.total(f"RelatedPerson?patient={husband}") == 0 and gp.status(f"/plans/{husband}") == 404
    assert gp.total(f"CarePlan?patient={husband}") == 0
    assert husband not in gp.get(f"Patient/{carer}/$everything").text
    assert other.find(f"RelatedPerson?patient={husband}")[0]["name"], "his own practice knows who cares for him"
    assert other.total(f"Flag?patient={carer}") == 0
    for search in ("RelatedPerson?name=Cass", f"Patient?_id={husband}", f"Flag?patient={husband}", f"Task?patient={husband}", f"Goal?patient={husband}"):
        assert gp.total(search) == 0, search
    gp.page.get(f"/team/people/{carer}")
    assert "Hew" not in gp.page.words() and gp.page.get(f"/team/people/{husband}").status_code == 404
    other.knows_nothing_of(f"Flag/{flag['id']}", f"Patient/{carer}")  # nor does his practice read her plan for being his wife's
    assert other.status(f"/plans/{carer}") == 404
    assert [r["id"] for r in gp.find(f"Flag?code={SNOMED}|224484003")] == [flag["id"]], "by the code of the register"
    cass.page.get("/my-plan/who-looked")
    assert "Gita" in cass.page.words()
    gp.change(f"Flag/{flag['id']}", status="inactive")
    assert cass.read(f"Flag/{flag['id']}")["status"] == "inactive", "she sees what is said of her"
