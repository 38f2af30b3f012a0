"""Row 33, a shared electronic care plan over Skype: during a remote consultation both ends have the same version open."""

from __future__ import annotations

from .town import Programme, about, save


def test_both_ends_open_the_same_version_during_the_call(programme: Programme) -> None:
    p = programme
    p.places(trust="health", clinic="health", other_clinic="health")
    nurse, stranger = p.staff(nia=("clinic", "specialist-nurse"), sol=("other_clinic", "specialist-nurse"))
    patient = p.bring(p.system("records", "trust", "--contributor", "--refers"), p.plan_of("Bo", team=[("Nia", "clinic")]))
    bo = p.person("bo", patient)
    nurse.agree(patient)
    plan = f"CarePlan/{nurse.one(f'CarePlan?patient={patient}')['id']}"

    call = nurse.make({
        "resourceType": "Encounter", "status": "in-progress", "subject": about(patient),
        "class": {"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "VR", "display": "virtual"},
        "participant": [{"individual": {"reference": nurse.user}}], "period": {"start": "2026-11-20T10:00:00Z"},
    })  # fmt: skip
    met = f"Encounter/{call['id']}"
    nurse.change(plan, encounter={"reference": met})
    there, here = nurse.get(plan), bo.get(plan)
    assert there.headers["etag"] == here.headers["etag"] and there.json()["id"] == here.json()["id"]
    assert bo.read(met)["class"]["code"] == "VR"
    assert [c["id"] for c in bo.find(f"CarePlan?encounter={met}")] == [call_plan["id"] for call_plan in nurse.find(f"CarePlan?encounter={met}")]

    changed = save(bo, here.json() | {"title": "Agreed on the call: walk on Fridays, too"}, here.headers["etag"])
    assert changed.status_code == 200
    late = save(nurse, there.json() | {"title": "Agreed on the call: swim"}, there.headers["etag"])
    assert late.status_code == 412, "who types into an older version is told, and overwrites nothing"
    assert nurse.read(plan)["title"] == "Agreed on the call: walk on Fridays, too"
    assert nurse.get(plan).headers["etag"] == bo.get(plan).headers["etag"] != here.headers["etag"]
    for who, at in ((nurse, f"/team/people/{patient}"), (bo, "/my-plan")):
        who.page.get(at)
        assert "Agreed on the call: walk on Fridays, too" in who.page.words(), f"{at} shows what both agreed on: {who.page.words()}"
        assert "Agreed on the call: swim" not in who.page.words()
    stranger.knows_nothing_of(met, plan)
    assert stranger.page.get(f"/team/people/{patient}").status_code == 404
    bo.page.get("/my-plan/who-looked")
    assert "Nia" in bo.page.words()
    nurse.change(met, status="finished", period={"start": "2026-11-20T10:00:00Z", "end": "2026-11-20T10:20:00Z"})
