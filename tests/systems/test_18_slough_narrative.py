"""Row 18, Slough: a woman's own story of her birth travels with her after discharge, to whom she chooses."""

from __future__ import annotations

from base64 import b64encode

from .town import Programme, about, permit

PRIVATE = {"system": "http://terminology.hl7.org/CodeSystem/v3-Confidentiality", "code": "R"}


def test_the_midwife_reads_the_story_and_the_gp_does_not_because_she_chose_so(programme: Programme) -> None:
    p = programme
    p.places(trust="health", maternity="health", surgery="health")
    midwife, gp = p.staff(mina=("maternity", "midwife"), greg=("surgery", "gp"))
    patient = p.bring(p.system("ward", "trust", "--contributor", "--refers"), p.plan_of("Zara", born="1994-05-06", team=[("Mina", "maternity"), ("Greg", "surgery")]))
    zara = p.person("zara", patient)
    midwife.agree(patient)
    gp.agree(patient)

    document = zara.make({
        "resourceType": "DocumentReference", "status": "current", "subject": about(patient), "author": [about(patient)], "date": "2026-11-20T09:00:00Z",
        "description": "What happened when my daughter was born", "meta": {"security": [PRIVATE]},
        "content": [{"attachment": {"contentType": "text/plain", "title": "My story", "data": b64encode(b"They did not listen.").decode()}}],
    })  # fmt: skip
    answers = zara.make({
        "resourceType": "QuestionnaireResponse", "status": "completed", "subject": about(patient), "author": about(patient), "authored": "2026-11-20T09:05:00Z",
        "meta": {"security": [PRIVATE]}, "item": [{"linkId": "heard", "answer": [{"valueString": "Please ask before you touch me"}]}],
    })  # fmt: skip
    story = [f"DocumentReference/{document['id']}", f"QuestionnaireResponse/{answers['id']}"]
    for who in (midwife, gp):
        assert [who.status(ref) for ref in story] == [404, 404], "private until she chooses"
        assert who.total(f"CarePlan?patient={patient}") == 1, "the plan itself they both see"

    zara.allow(permit(midwife.user, data=[{"meaning": "instance", "reference": {"reference": ref}} for ref in story]))
    assert midwife.read(story[0])["content"][0]["attachment"]["title"] == "My story"
    assert midwife.read(story[1])["item"][0]["answer"][0]["valueString"].startswith("Please ask")
    assert [gp.status(ref) for ref in story] == [404, 404]
    assert gp.total(f"DocumentReference?patient={patient}") == 0
    everything = gp.get(f"Patient/{patient}/$everything").text
    assert "My story" not in everything and "touch me" not in everything
    midwife.change(story[0], expect=403, description="Nothing to see")
