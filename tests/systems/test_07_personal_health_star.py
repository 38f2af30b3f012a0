"""Row 7, Personal Health Star of NE Essex: areas of concern on a wheel, and a goal from one of them. The spokes are the person's own; nobody's instrument is kept here."""

from __future__ import annotations

from typing import Any

from ..web.test_forms_pages import fill_in, typed
from .town import Programme, about, classes, permit

SPOKE = "https://fhir-gateway.example/CodeSystem/wheel|own-wheel"


def said(wheel: dict[str, Any]) -> dict[str, tuple[int, int]]:
    return {c["code"]["text"]: (c["valueInteger"], c["referenceRange"][0]["low"]["value"]) for c in wheel["component"]}


def test_a_spoke_becomes_a_goal_and_another_value_another_observation(programme: Programme) -> None:
    p = programme
    p.places(trust="health", team="health", friends="voluntary", elsewhere="health")
    nurse, helper, stranger = p.staff(nev=("team", "nurse"), hal=("friends", "volunteer"), stan=("elsewhere", "nurse"))
    patient = p.bring(p.system("records", "trust", "--contributor", "--refers"), p.plan_of("Mo", team=[("Nev", "team")]))
    mo = p.person("mo", patient)
    nurse.agree(patient)

    words = fill_in(mo.page, Sleep=(3, 7), Money=(6, 8))
    assert "A wheel: My wheel" in words and "Sleep" in words and "<svg" in mo.page.page, "a picture, and the same in words"
    first = nurse.one(f"Observation?patient={patient}&code={SPOKE}")
    assert said(first) == {"Sleep": (3, 7), "Money": (6, 8)}

    mo.page.get("/my-plan")
    at = str(mo.page.send(f"/my-plan/wheels/{first['id']}/goal").url.path)
    typed(mo.page, at, **{"q0-0-3": "Sleep through until six", "q0-0-4": "7"})
    mo.page.send(at[:-1] + "check")
    assert "A goal: Sleep through until six" in mo.page.words(), "the lowest spoke comes first; a button begins its goal"
    (goal,) = [g for g in nurse.find(f"Goal?patient={patient}") if g["description"]["text"] == "Sleep through until six"]
    assert goal["expressedBy"] == about(patient) and "source" in [e["role"] for p in nurse.find(f"Provenance?target=Goal/{goal['id']}") for e in p.get("entity", ())]
    assert {"what": "Sleep", "value": 7, "unit": "out of 10"} in [g.get("target") for g in nurse.plan(patient)["goals"] if g["text"] == "Sleep through until six"]
    assert nurse.read(f"Goal/{goal['id']}")["addresses"][0]["reference"] == f"Observation/{first['id']}"

    fill_in(mo.page, Sleep=(6, 7), Money=(6, 8))
    wheels = nurse.find(f"Observation?patient={patient}&code={SPOKE}&_sort=_lastUpdated")
    assert [said(w)["Sleep"] for w in wheels] == [(3, 7), (6, 7)], "another value is another Observation, and the first stays as it was"
    assert wheels[0] == nurse.read(f"Observation/{first['id']}") and wheels[0]["meta"]["versionId"] == first["meta"]["versionId"]
    mo.change(f"Goal/{goal['id']}", outcomeReference=[{"reference": f"Observation/{wheels[1]['id']}"}])
    assert nurse.read(f"Goal/{goal['id']}")["outcomeReference"][0]["reference"] == f"Observation/{wheels[1]['id']}"
    assert "Sleep through until six" in [g["text"] for g in nurse.plan(patient)["goals"]]

    yes = mo.allow(permit(helper.user, **classes("Goal")))
    assert helper.total(f"Goal?patient={patient}") == 2 and helper.total(f"Observation?patient={patient}") == 0, "the goal, and not the wheel that it comes from"
    mo.end(yes)
    assert helper.total(f"Goal?patient={patient}") == stranger.total(f"Observation?patient={patient}") == 0
