"""Row 3, "Living Life": a password-protected diary beside the plan. The team reads an entry only where its label lets them."""

from __future__ import annotations

from typing import Any

from .town import Programme, about, permit

PRIVATE = {"system": "http://terminology.hl7.org/CodeSystem/v3-Confidentiality", "code": "R"}


def entry(patient: str, text: str, *labels: dict[str, str]) -> dict[str, Any]:
    return {
        "resourceType": "QuestionnaireResponse", "status": "completed", "subject": about(patient), "author": about(patient), "source": about(patient),
        "authored": "2026-11-20T08:00:00Z", "item": [{"linkId": "diary", "text": "How was your day?", "answer": [{"valueString": text}]}],
        **({"meta": {"security": list(labels)}} if labels else {}),
    }  # fmt: skip


def test_the_team_reads_of_a_diary_what_its_label_lets_them(programme: Programme) -> None:
    p = programme
    p.places(trust="health", surgery="health")
    (nurse,) = p.staff(gita=("surgery", "nurse"))
    patient = p.bring(p.system("records", "trust", "--contributor", "--refers"), p.plan_of("Len", team=[("Gita", "surgery")]))
    len_ = p.person("len", patient)
    nurse.agree(patient)

    plain = len_.make(entry(patient, "I walked to the bridge"))
    private = len_.make(entry(patient, "I cried all morning", PRIVATE))
    assert [r["id"] for r in nurse.find(f"QuestionnaireResponse?patient={patient}&author=Patient/{patient}")] == [plain["id"]]
    hidden, absent = nurse.get(f"QuestionnaireResponse/{private['id']}"), nurse.get("QuestionnaireResponse/0198c0de-0000-7000-8000-000000000000")
    assert hidden.status_code == 404 and hidden.content == absent.content

    shared = len_.allow(permit(nurse.user, securityLabel=[PRIVATE]))
    assert nurse.read(f"QuestionnaireResponse/{private['id']}")["item"][0]["answer"][0]["valueString"] == "I cried all morning"
    len_.end(shared)
    assert nurse.status(f"QuestionnaireResponse/{private['id']}") == 404

    asked = {"resourceType": "Communication", "status": "completed", "subject": about(patient), "sender": about(patient),
             "recipient": [{"reference": nurse.user}], "about": [{"reference": f"QuestionnaireResponse/{plain['id']}"}],
             "payload": [{"contentString": "May I walk further next week?"}]}  # fmt: skip
    sent = len_.make(asked)
    assert nurse.read(f"Communication/{sent['id']}")["payload"][0]["contentString"].startswith("May I walk")
    nurse.page.get("/team")
    assert "Messages for you Len S03 : May I walk further next week? , from Len S03" in nurse.page.words()
    nurse.page.get(f"/team/people/{patient}/messages")
    assert "From Len S03 May I walk further next week? From Len S03 To Gita S03" in nurse.page.words() and "What it is about Your answers" in nurse.page.words()
    hush = len_.make(asked | {"payload": [{"contentString": "I am afraid"}], "meta": {"security": [PRIVATE]}})
    assert "I am afraid" not in nurse.page.get("/team").text + nurse.page.get(f"/team/people/{patient}/messages").text
    len_.page.get("/my-plan/messages")
    assert "I am afraid From Me To Gita S03" in len_.page.words() and f"hide?thing=Communication/{hush['id']}" in len_.page.page
    nurse.make(entry(patient, "written by the nurse"), expect=422)
    other = [{"linkId": "diary", "answer": [{"valueString": "Other words"}]}]
    nurse.change(f"QuestionnaireResponse/{plain['id']}", item=other, expect=422)
    nurse.change(f"QuestionnaireResponse/{plain['id']}", item=other, author={"reference": nurse.user}, expect=422)
    nurse.change(f"QuestionnaireResponse/{plain['id']}", status="amended", expect=200)
    len_.change(f"QuestionnaireResponse/{plain['id']}", item=[{"linkId": "diary", "answer": [{"valueString": "I walked to the bridge and back"}]}], expect=200)
    history = len_.get(f"QuestionnaireResponse/{plain['id']}/_history").json()["entry"]
    said = ["I walked to the bridge and back", "I walked to the bridge", "I walked to the bridge"]
    assert [h["resource"]["item"][0]["answer"][0]["valueString"] for h in history] == said, "what stands under the person's name is the person's"
