"""Row 16, bilingual advocacy (Vandu): an advocate sits with somebody who speaks little English; what was agreed is kept in her own language."""

from __future__ import annotations

from .town import Programme, checked, consent, permit

WORDS = "https://fhir-gateway.example/StructureDefinition/consent-words"
TRANSLATION = "http://hl7.org/fhir/StructureDefinition/translation"
HOPE = "আমি আমার মেয়ের সঙ্গে হাঁটতে চাই"
BENGALI = "মীরা আমার পরিকল্পনা দেখতে পারেন"


def test_the_consent_is_kept_in_the_words_she_understood(programme: Programme) -> None:
    p = programme
    p.places(trust="health", surgery="health", vandu="voluntary")
    desk, advocate = p.staff(nia=("surgery", "receptionist", ("registrar",)), mira=("vandu", "advocate"))
    plan = p.plan_of("Ayesha", team=[("Nia", "surgery")])
    plan["person"] |= {"language": "bn", "interpreter": True}
    patient = p.bring(p.system("records", "trust", "--contributor", "--refers"), plan)
    ayesha = p.person("ayesha", patient)
    desk.agree(patient)
    assert ayesha.read(f"Patient/{patient}")["communication"][0]["language"]["coding"][0]["code"] == "bn"
    assert [f["id"] for f in desk.find(f"Patient?language=bn&_id={patient}")] == [patient], "who needs an advocate is found"
    assert advocate.status(f"/plans/{patient}") == 404

    advocate.knows_nothing_of(f"Patient/{patient}", f"CarePlan/{ayesha.one(f'CarePlan?patient={patient}')['id']}")

    me = f"Patient/{patient}"
    said = permit(advocate.user, extension=[{"url": WORDS, "valueString": BENGALI}])
    body = consent(patient, said, language="bn", **checked(me, {"reference": advocate.user}))
    recorded = desk.call("POST", "Consent", body=body)
    assert recorded.status_code == 201, recorded.text
    assert desk.total(f"Consent?patient={patient}") == 0, "whoever wrote it down does not read her choices"
    kept = ayesha.one(f"Consent?patient={patient}")
    assert kept["language"] == "bn" and kept["provision"]["provision"][0]["extension"][0]["valueString"] == BENGALI
    assert kept["verification"][0]["extension"][0]["valueReference"]["reference"] == advocate.user, "and who was there"
    assert advocate.plan(patient)["person"]["language"] == "bn"

    said_in = [{"url": TRANSLATION, "extension": [{"url": "lang", "valueCode": "en"}, {"url": "content", "valueString": "I want to walk with my daughter"}]}]
    hope = ayesha.make({"resourceType": "Goal", "language": "bn", "lifecycleStatus": "active", "subject": {"reference": me}, "description": {"text": HOPE, "_text": {"extension": said_in}}})
    plan = ayesha.one(f"CarePlan?patient={patient}")
    ayesha.change(f"CarePlan/{plan['id']}", goal=[*plan["goal"], {"reference": f"Goal/{hope['id']}"}])
    read = advocate.read(f"Goal/{hope['id']}")
    assert (read["language"], read["description"]["text"], read["description"]["_text"]["extension"]) == ("bn", HOPE, said_in), "her words, and what they mean, side by side"
    assert HOPE in [g["text"] for g in advocate.plan(patient)["goals"]]
    back = ayesha.call("POST", "/plans", body=ayesha.plan(patient) | {"title": "Ayesha's own plan"}, headers={"Content-Type": "application/json"})
    assert back.status_code == 201, back.text
    assert ayesha.read(f"Goal/{hope['id']}")["description"]["_text"]["extension"] == said_in, "a plan that goes out and comes in keeps both"
    ayesha.page.get("/my-plan/sharing")
    assert "Mira" in ayesha.page.words(), "she sees on her page whom she let in"

    ayesha.make(consent(patient, permit(advocate.user, type="deny")))
    advocate.knows_nothing_of(me, f"Goal/{hope['id']}", f"Consent/{kept['id']}")
    assert advocate.status(f"/plans/{patient}") == 404
    advocate.call("POST", "Consent", body=body)
    assert advocate.status(f"/plans/{patient}") == 404, "an advocate gives nothing to herself"
