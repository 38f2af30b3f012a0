"""Row 39, FACE, CAF and the single assessment process: a social worker and a matron amend one assessment; nothing of either is lost."""

from __future__ import annotations

from typing import Any

from .town import Programme, about, save


def answered(**answers: str) -> list[dict[str, Any]]:
    return [{"linkId": name, "answer": [{"valueString": text}]} for name, text in answers.items()]


def test_two_authors_amend_one_assessment(programme: Programme) -> None:
    p = programme
    p.places(trust="health", council="social-care", community="health", elsewhere="social-care")
    social, matron, stranger = p.staff(sid=("council", "social-worker"), meg=("community", "matron"), xan=("elsewhere", "social-worker"))
    patient = p.bring(p.system("records", "trust", "--contributor", "--refers"), p.plan_of("Abe", team=[("Sid", "council"), ("Meg", "community")]))
    social.agree(patient)
    matron.agree(patient)
    made = social.make({
        "resourceType": "QuestionnaireResponse", "status": "in-progress", "subject": about(patient), "author": {"reference": social.user},
        "authored": "2026-11-20T09:00:00Z", "item": answered(home="Two flights of stairs"),
    })  # fmt: skip
    ref = f"QuestionnaireResponse/{made['id']}"
    matron.make({"resourceType": "Task", "status": "in-progress", "intent": "order", "description": "Single assessment", "for": about(patient),
                 "focus": {"reference": ref}, "owner": {"reference": matron.user}})  # fmt: skip

    at_social, at_matron = social.get(ref), matron.get(ref)
    first = save(matron, at_matron.json() | {"item": answered(home="Two flights of stairs", breathing="Stops on the first")}, at_matron.headers["etag"])
    assert first.status_code == 200
    late = save(social, at_social.json() | {"item": answered(home="Two flights, no rail")}, at_social.headers["etag"])
    assert late.status_code == 412, "who was slower is told"
    blind = social.call("PUT", ref, body=at_social.json())
    assert blind.status_code == 400, "and cannot overwrite without looking"
    now = social.get(ref)
    both = [i if i["linkId"] != "home" else answered(home="Two flights, no rail")[0] for i in now.json()["item"]]
    assert save(social, now.json() | {"item": both, "status": "completed"}, now.headers["etag"]).status_code == 200
    final = matron.read(ref)
    assert {i["linkId"]: i["answer"][0]["valueString"] for i in final["item"]} == {"home": "Two flights, no rail", "breathing": "Stops on the first"}
    versions = matron.get(f"{ref}/_history").json()
    assert versions["total"] == 3, "each version is kept"
    assert [t["focus"]["reference"] for t in social.find(f"Task?patient={patient}&focus={ref}")] == [ref]
    assert stranger.status(ref) == 404
