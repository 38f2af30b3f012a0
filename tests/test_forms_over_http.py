"""`$populate` and `$extract` over HTTP: by whom, of what, once, and never more than the person allows."""

from __future__ import annotations

import copy
from typing import Any

from fhir_gateway import definitions

from .conftest import Gateway
from .test_forms import GOALS, group, said

OWN_BASE = "https://fhir-gateway.example/StructureDefinition/"
OWN = "https://fhir-gateway.example/Questionnaire/"
SDC = "http://hl7.org/fhir/uv/sdc/StructureDefinition/sdc-questionnaire-"


GOAL = {"resourceType": "Goal", "lifecycleStatus": "active", "description": {"text": "x"}, "subject": {"display": "whoever answers"}}


def response(demo: Gateway, form: str, *items: dict[str, Any], **more: Any) -> dict[str, Any]:
    me = {"reference": f"Patient/{demo.patient}"}
    return {
        "resourceType": "QuestionnaireResponse", "questionnaire": form if ":" in form else OWN + form, "status": "completed", "subject": me,
        "source": me, "authored": "2026-11-20T10:00:00Z", "item": list(items), **more,
    }  # fmt: skip


def post(demo: Gateway, who: str, path: str, body: Any, status: int = 200) -> dict[str, Any]:
    got = demo.call(who, "POST", path, body=body)
    assert got.status_code == status, got.text
    return dict(got.json())


def kept(demo: Gateway, who: str, body: dict[str, Any]) -> str:
    return str(post(demo, who, "QuestionnaireResponse", body, 201)["id"])


def params(**values: Any) -> dict[str, Any]:
    def one(name: str, v: Any) -> dict[str, Any]:
        if isinstance(v, dict):
            return {"name": name, "resource": v} if "resourceType" in v else {"name": name, "valueReference": v}
        return {"name": name, "valueBoolean" if isinstance(v, bool) else "valueUri": v}

    return {"resourceType": "Parameters", "parameter": [one(k.replace("_", "-"), v) for k, v in values.items()]}


def out(told: dict[str, Any], name: str) -> Any:
    return next((p["resource"] for p in told["parameter"] if p["name"] == name), None)


def extracted(demo: Gateway, who: str, id: str) -> list[tuple[str, str]]:
    bundle = out(post(demo, who, f"QuestionnaireResponse/{id}/$extract", {"resourceType": "Parameters"}), "return")
    assert bundle["type"] == "transaction-response"
    return [(e["response"]["location"], e["response"]["status"][:3]) for e in bundle.get("entry", [])]


def test_the_operations_and_our_forms_are_published(demo: Gateway) -> None:
    resources = {r["type"]: r for r in demo.get(None, "metadata").json()["rest"][0]["resource"]}
    (populate,) = (o for o in resources["Questionnaire"]["operation"] if o["name"] == "populate")
    (extract,) = (o for o in resources["QuestionnaireResponse"]["operation"] if o["name"] == "extract")
    assert populate["definition"] == "http://hl7.org/fhir/uv/sdc/OperationDefinition/Questionnaire-populate"
    assert demo.get(None, extract["definition"].removeprefix(demo.base + "/fhir/")).json()["affectsState"] is True
    for id, form in definitions.own_forms().items():
        got = demo.get(None, f"Questionnaire/{id}")
        assert got.status_code == 200 and got.json() == form
    assert demo.get(None, "Questionnaire/other").status_code == 401
    assert demo.call("gp", "GET", "Questionnaire/my-wheel/$populate").status_code == 404


def test_our_profiles_and_extensions_are_published_by_id_and_by_address(demo: Gateway) -> None:
    resources = demo.get(None, "metadata").json()["rest"][0]["resource"]
    named = {address for r in resources for address in r.get("supportedProfile", ()) if address.startswith(OWN_BASE)}
    own = definitions.own_structures()
    assert len(named) >= 9 and len(own) > 60 and named <= {d["url"] for d in own.values()}
    for id, definition in own.items():
        got = demo.get(None, f"StructureDefinition/{id}")
        assert got.status_code == 200 and got.json() == definition and "public" in got.headers["cache-control"]
    for address in named:
        (entry,) = demo.get(None, f"StructureDefinition?url={address}").json()["entry"]
        assert entry["resource"]["url"] == address
        assert demo.get(None, entry["fullUrl"].removeprefix(demo.base + "/fhir/")).json() == entry["resource"]
    for other in ("StructureDefinition/other", "StructureDefinition?url=https://example.org/other", "StructureDefinition", "StructureDefinition?url=&url="):
        assert demo.get(None, other).status_code == 401
    assert demo.call(None, "PUT", "StructureDefinition/plan-goal", body={"resourceType": "StructureDefinition", "id": "plan-goal"}).status_code == 401


def test_a_form_is_filled_with_what_the_asker_may_see(demo: Gateway) -> None:
    me = {"reference": f"Patient/{demo.patient}"}
    score = {
        "resourceType": "Observation", "status": "final", "subject": me, "effectiveDateTime": "2026-10-01", "valueInteger": 3,
        "code": {"coding": [{"system": "http://snomed.info/sct", "code": "962851000000103"}]},
    }  # fmt: skip
    post(demo, "patient", "Observation", score, 201)
    for who, asked in (("patient", {}), ("patient", params(subject=me)), ("gp", params(subject=me))):
        filled = out(post(demo, who, "Questionnaire/scores/$populate", asked or {"resourceType": "Parameters"}), "response")
        assert filled["item"][0]["item"][0]["answer"] == [{"valueInteger": 3}] and filled["status"] == "in-progress"
        assert filled["subject"] == me and "id" not in filled
    by_address = out(post(demo, "gp", "Questionnaire/$populate", params(questionnaire=OWN + "scores", subject=me)), "response")
    assert by_address["item"] == filled["item"]


def test_whom_one_may_not_see_is_absent(demo: Gateway) -> None:
    hidden = demo.call("stranger", "POST", "Questionnaire/scores/$populate", body=params(subject={"reference": f"Patient/{demo.patient}"}))
    absent = demo.call("stranger", "POST", "Questionnaire/scores/$populate", body=params(subject={"reference": "Patient/nobody"}))
    assert hidden.status_code == absent.status_code == 404 and hidden.json() == absent.json()
    id = kept(demo, "patient", response(demo, "my-own-words", group("goals", said("goal", "Secret"))))
    for dry in (True, False):
        hidden = demo.call("stranger", "POST", f"QuestionnaireResponse/{id}/$extract", body=params(dry_run=dry))
        absent = demo.call("stranger", "POST", "QuestionnaireResponse/nobody/$extract", body=params(dry_run=dry))
        assert hidden.status_code == absent.status_code == 404 and hidden.json() == absent.json()


def test_what_is_sent_wrong_is_told_and_nothing_breaks(demo: Gateway) -> None:
    for path, body, status in (
        ("Questionnaire/$populate", {"resourceType": "Parameters"}, 400),
        ("Questionnaire/scores/$populate", {"resourceType": "Parameters", "parameter": [1]}, 400),
        ("Questionnaire/scores/$populate", params(subject={"reference": "Group/1"}), 400),
        ("Questionnaire/scores/$populate", {"resourceType": "Parameters", "parameter": [{"name": "context", "valueString": "x"}]}, 400),
        ("Questionnaire/nothing/$populate", {"resourceType": "Parameters"}, 404),
        ("QuestionnaireResponse/$extract", {"resourceType": "Parameters"}, 400),
        ("QuestionnaireResponse/$extract", {"resourceType": "Patient"}, 400),
        ("QuestionnaireResponse/$extract", {"resourceType": "QuestionnaireResponse", "status": "completed"}, 422),
        ("QuestionnaireResponse/$extract", {"resourceType": "QuestionnaireResponse", "status": "completed", "questionnaire": "urn:none"}, 422),
        ("QuestionnaireResponse/$extract", {"resourceType": "QuestionnaireResponse", "status": "completed", "questionnaire": OWN + "scores", "item": [{"linkId": "x"}]}, 422),
        ("QuestionnaireResponse/1/$extract", params(dry_run="maybe"), 400),
    ):  # fmt: skip
        got = demo.call("patient", "POST", path, body=body)
        assert got.status_code == status and got.json()["resourceType"] == "OperationOutcome", (path, got.text)


def test_answers_become_goals_and_a_contingency_plan_once(demo: Gateway) -> None:
    """The person's story: answers, goals in their plan, where they came from; twice the same writes nothing; a change changes that alone."""
    id = kept(demo, "patient", response(demo, "my-own-words", *GOALS))
    dry = out(post(demo, "patient", f"QuestionnaireResponse/{id}/$extract", params(dry_run=True)), "return")
    assert dry["type"] == "transaction" and [e["resource"]["resourceType"] for e in dry["entry"]] == ["Goal", "Goal", "CarePlan"]
    plan = demo.get("patient", f"/plans/{demo.patient}").json()
    assert "Walk to the shop" not in [g["text"] for g in plan["goals"]], "a dry run writes nothing"

    first = extracted(demo, "patient", id)
    assert [s for _, s in first] == ["201"] * 3
    plan = demo.get("patient", f"/plans/{demo.patient}").json()
    goal = next(g for g in plan["goals"] if g["text"] == "Walk to the shop")
    assert goal["importance"] == 8 and goal["target"]["by"] == "2027-01-01"
    crisis = next(c for c in plan["contingency"] if c.get("triggers") == ["No sleep", "Noise"])
    assert crisis["what_should_happen"] == ["Ring Leila"]

    found = demo.get("patient", f"Provenance?target={first[0][0]}").json()["entry"]
    (made,) = (e["resource"] for e in found if "entity" in e["resource"])
    assert made["entity"] == [{"role": "source", "what": {"reference": f"QuestionnaireResponse/{id}/_history/1"}}]
    assert len(made["target"]) == 3 and made["agent"][0]["who"] == {"reference": f"Patient/{demo.patient}"}

    before = versions(demo)
    assert extracted(demo, "patient", id) == [(r, "200") for r, _ in first]
    assert extracted(demo, "gp", id) == [(r, "200") for r, _ in first], "whoever asks"
    assert post(demo, "patient", "", dry)["entry"][0]["response"]["status"].startswith("200"), "nor does the dry run's transaction, sent as it is"
    assert versions(demo) == before

    closed = first[1][0]
    label = {"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "SEX"}
    post(demo, "patient", f"{closed}/$meta-add", {"resourceType": "Parameters", "parameter": [{"name": "meta", "valueMeta": {"security": [label]}}]})
    assert demo.get("gp", closed).status_code == 404
    assert closed not in [r for r, _ in extracted(demo, "gp", id)], "what is hidden is not named"

    ref = first[0][0]
    here = demo.get("gp", ref).json()
    edited = demo.call("gp", "PUT", ref, body={**here, "lifecycleStatus": "on-hold"}, headers={"If-Match": f'W/"{here["meta"]["versionId"]}"'})
    assert edited.status_code == 200, edited.text
    changed = copy.deepcopy(GOALS[0])
    changed["item"][0]["answer"] = [{"valueString": "Walk to the park"}]
    sent = {**response(demo, "my-own-words", changed, *GOALS[1:], status="amended"), "id": id}
    assert demo.call("patient", "PUT", f"QuestionnaireResponse/{id}", body=sent, headers={"If-Match": 'W/"1"'}).status_code == 200
    assert sorted(s for _, s in extracted(demo, "patient", id)) == ["200", "200", "200"]
    now = demo.get("patient", ref).json()
    assert now["description"]["text"] == "Walk to the park" and now["lifecycleStatus"] == "on-hold", "what others did meanwhile stays"


def test_the_same_form_answered_again_says_more_of_the_same(demo: Gateway) -> None:
    """A second crisis plan beside the first is read by nobody who is in a hurry. What the form does not show it does not take out."""
    mine = [group("goals", said("goal", "Sing in the choir"), said("importance", 4)), group("crisis-page", said("crisis-wanted", True), group("crisis", said("trigger", "Fog"), said("step", "Ring Leila")))]
    first = dict.fromkeys(r for r, _ in extracted(demo, "patient", kept(demo, "patient", response(demo, "my-own-words", *mine))))
    before = demo.get("patient", f"/plans/{demo.patient}").json()
    again = [
        group("goals", said("goal", "sing in the  choir"), said("importance", 9), {"linkId": "by", "answer": [{"valueDate": "2027-05-01"}]}), group("goals", said("goal", "Paint")),
        group("crisis-page", said("crisis-wanted", True), group("crisis", said("trigger", "Fog", "Ice"), said("step", "Open the window"))),
    ]  # fmt: skip
    id = kept(demo, "patient", response(demo, "my-own-words", *again))
    second = extracted(demo, "patient", id)
    assert sorted(s for _, s in second) == ["200", "200", "201"] and {r for r, s in second if s == "200"} <= set(first)
    after = demo.get("patient", f"/plans/{demo.patient}").json()
    assert len(after["contingency"]) == len(before["contingency"]) and len(after["goals"]) == len(before["goals"]) + 1
    crisis = next(c for c in after["contingency"] if "Fog" in c.get("triggers", ()))
    was = next(c for c in before["contingency"] if "Fog" in c.get("triggers", ()))
    assert crisis["triggers"] == [*was["triggers"], "Ice"] and crisis["what_should_happen"] == [*was["what_should_happen"], "Open the window"] and "Ring Leila" in was["what_should_happen"]
    sing = next(g for g in after["goals"] if g["text"] == "Sing in the choir")
    assert sing["importance"] == 9 and sing["target"]["by"] == "2027-05-01"
    unchanged = versions(demo)
    assert [s for _, s in extracted(demo, "patient", id)] == ["200"] * 3 and versions(demo) == unchanged
    ended = next(r for r in first if r.startswith("CarePlan"))
    here = demo.get("patient", ended).json()
    assert demo.call("patient", "PUT", ended, body={**here, "status": "revoked"}, headers={"If-Match": f'W/"{here["meta"]["versionId"]}"'}).status_code == 200
    anew = extracted(demo, "patient", kept(demo, "patient", response(demo, "my-own-words", mine[1])))
    assert [s for _, s in anew] == ["201"] and anew[0][0] != ended, "one that is over is left as it ended"


def test_what_is_made_of_private_answers_is_as_private(demo: Gateway) -> None:
    label = {"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "SEX"}
    id = kept(demo, "patient", response(demo, "my-own-words", group("goals", said("goal", "Tell nobody yet")), meta={"security": [label]}))
    assert demo.get("gp", f"QuestionnaireResponse/{id}").status_code == 404
    ((ref, _),) = extracted(demo, "patient", id)
    assert label["code"] in [c["code"] for c in demo.get("patient", ref).json()["meta"]["security"]]
    assert demo.get("gp", ref).status_code == 404, "whoever may not see the answers does not see what was made of them"


def test_what_a_form_is_filled_in_with_keeps_its_labels(demo: Gateway) -> None:
    label = {"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "SEX"}
    coding = {"system": "https://forms.example/codes", "code": "worry"}
    post(demo, "patient", "Observation", {
        "resourceType": "Observation", "status": "final", "code": {"coding": [coding]}, "subject": {"reference": f"Patient/{demo.patient}"},
        "effectiveDateTime": "2026-11-20T10:00:00Z", "valueQuantity": {"value": 6}, "meta": {"security": [label]},
    }, 201)  # fmt: skip
    link = {"url": SDC + "observationLinkPeriod", "valueDuration": {"value": 5, "system": "http://unitsofmeasure.org", "code": "a"}}
    form = {"resourceType": "Questionnaire", "url": "https://forms.example/worry", "status": "active", "title": "worry", "subjectType": ["Patient"],
            "item": [{"linkId": "q", "type": "decimal", "text": "How worried", "code": [coding], "extension": [link]}]}  # fmt: skip
    post(demo, "hospital", "Questionnaire", form, 201)
    asked = params(questionnaire=form["url"], subject={"reference": f"Patient/{demo.patient}"})
    filled = out(post(demo, "patient", "Questionnaire/$populate", asked), "response")
    assert filled["item"][0]["answer"] == [{"valueDecimal": 6}] and label["code"] in [c["code"] for c in filled["meta"]["security"]]


RISK = {"system": "https://fhir-gateway.example/CodeSystem/handling", "code": "location-protected"}
LEVEL = "http://terminology.hl7.org/CodeSystem/v3-Confidentiality"


def marks(demo: Gateway, who: str, what: str, ref: str, *labels: dict[str, str], status: int = 200) -> None:
    post(demo, who, f"{ref}/${what}", {"resourceType": "Parameters", "parameter": [{"name": "meta", "valueMeta": {"security": list(labels)}}]}, status)


def speaking(demo: Gateway, called: str, **said: str) -> str:
    """The address of a form whose questions fill themselves in: an expression by linkId."""
    context = [{"url": SDC + "launchContext", "extension": [{"url": "name", "valueCoding": {"code": c}}]} for c in ("patient", "user", "about")]
    hidden = {"url": "http://hl7.org/fhir/StructureDefinition/questionnaire-hidden", "valueBoolean": True}
    item = [
        {"linkId": k, "type": "string", "text": k, "extension": [hidden, {"url": SDC + "initialExpression", "valueExpression": {"language": "text/fhirpath", "expression": v}}]}
        for k, v in said.items()
    ]  # fmt: skip
    url = f"https://forms.example/{called}"
    form = {"resourceType": "Questionnaire", "url": url, "status": "active", "title": called, "subjectType": ["Patient"], "extension": context, "item": item}
    post(demo, "hospital", "Questionnaire", form, 201)
    return url


def populated(demo: Gateway, who: str, form: str, *more: dict[str, Any]) -> dict[str, Any]:
    asked = params(questionnaire=form, subject={"reference": f"Patient/{demo.patient}"})
    return dict(out(post(demo, who, "Questionnaire/$populate", {**asked, "parameter": [*asked["parameter"], *more]}), "response"))


def test_where_somebody_at_risk_is_is_not_copied_into_answers(demo: Gateway) -> None:
    """Answers are read by others, and text is not cut from what they are shown: not even the person's own answers hold it unasked."""
    me = f"Patient/{demo.patient}"
    form = speaking(demo, "where", city="%patient.address.first().city", phone="%patient.telecom.first().value", name="%patient.name.first().family")
    there = {i["linkId"] for i in populated(demo, "patient", form)["item"]}
    assert there == {"city", "phone", "name"}, "of somebody at no risk what is known"
    marks(demo, "patient", "meta-add", me, RISK)
    try:
        for who in ("patient", "gp"):
            filled = populated(demo, who, form)
            assert [i["linkId"] for i in filled["item"]] == ["name"] and RISK["code"] not in str(filled), who
    finally:
        marks(demo, "patient", "meta-delete", me, RISK)


def test_answers_have_the_labels_of_the_person_and_of_what_was_at_hand(demo: Gateway) -> None:
    me = f"Patient/{demo.patient}"
    sex = {"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "SEX"}
    form, silent = speaking(demo, "named", name="%patient.name.first().family"), OWN + "scores"
    marks(demo, "patient", "meta-add", me, {"system": LEVEL, "code": "R"})
    try:
        assert {"system": LEVEL, "code": "R"} in [{k: c[k] for k in ("system", "code")} for c in populated(demo, "patient", form)["meta"]["security"]]
        assert "meta" not in populated(demo, "patient", silent), "what was not spoken of gives no label"
    finally:
        marks(demo, "patient", "meta-delete", me, {"system": LEVEL, "code": "R"})
    goal = {"resourceType": "Goal", "lifecycleStatus": "active", "description": {"text": "A secret"}, "subject": {"reference": me}, "meta": {"security": [sex]}}
    ref = f"Goal/{post(demo, 'patient', 'Goal', goal, 201)['id']}"
    about = speaking(demo, "about", wish="%about.description.text")
    given = {"name": "context", "part": [{"name": "name", "valueString": "about"}, {"name": "content", "valueReference": {"reference": ref}}]}
    filled = populated(demo, "patient", about, given)
    assert filled["item"][0]["answer"] == [{"valueString": "A secret"}] and "SEX" in [c["code"] for c in filled["meta"]["security"]]


def test_a_dry_run_shows_the_labels_that_the_writing_puts_on(demo: Gateway) -> None:
    sex = {"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "SEX"}
    body = response(demo, "my-own-words", group("goals", said("goal", "Keep it to me")), meta={"security": [sex]})
    id = kept(demo, "patient", body)
    of_kept = out(post(demo, "patient", f"QuestionnaireResponse/{id}/$extract", params(dry_run=True)), "return")
    of_sent = out(post(demo, "patient", "QuestionnaireResponse/$extract", body), "return")
    ((ref, _),) = extracted(demo, "patient", id)
    real = {c["code"] for c in demo.get("patient", ref).json()["meta"]["security"]}
    assert {c["code"] for c in of_kept["entry"][0]["resource"]["meta"]["security"]} == real >= {"SEX"}
    assert of_sent["entry"][0]["resource"]["meta"]["security"] == [sex]
    goal = post(demo, "patient", "", of_sent)["entry"][0]["response"]["location"].split("/_history")[0]
    assert demo.get("gp", f"Goal/{goal.split('Goal/')[1]}").status_code == 404, "sent as it is, it is as private"


def test_a_change_of_private_answers_makes_what_they_became_as_private(demo: Gateway) -> None:
    sex = {"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "SEX"}
    id = kept(demo, "patient", response(demo, "my-own-words", group("goals", said("goal", "Walk"))))
    ((ref, _),) = extracted(demo, "patient", id)
    assert demo.get("gp", ref).status_code == 200
    sent = {**response(demo, "my-own-words", group("goals", said("goal", "Something else")), status="amended", meta={"security": [sex]}), "id": id}
    assert demo.call("patient", "PUT", f"QuestionnaireResponse/{id}", body=sent, headers={"If-Match": 'W/"1"'}).status_code == 200
    assert extracted(demo, "patient", id) == [(ref, "200")]
    assert demo.get("patient", ref).json()["description"]["text"] == "Something else" and demo.get("gp", ref).status_code == 404


def versions(demo: Gateway) -> int:
    return len(demo.get("patient", "_history?_count=200&_elements=id").json()["entry"])


def test_unfinished_answers_become_nothing_yet(demo: Gateway) -> None:
    id = kept(demo, "patient", response(demo, "my-own-words", group("goals", said("goal", "Wait")), status="in-progress"))
    told = post(demo, "patient", f"QuestionnaireResponse/{id}/$extract", {"resourceType": "Parameters"}, 422)
    assert "finished" in told["issue"][0]["diagnostics"]


def evil(name: str, template: dict[str, Any]) -> dict[str, Any]:
    use = {"url": SDC + "templateExtract", "extension": [{"url": "template", "valueReference": {"reference": "#t"}}]}
    return {
        "resourceType": "Questionnaire", "url": f"https://forms.example/{name}", "status": "active", "title": name, "subjectType": ["Patient"],
        "contained": [{**template, "id": "t"}], "item": [{"linkId": "q", "type": "string", "text": "How are you?", "extension": [use]}],
    }  # fmt: skip


def test_a_form_that_would_act_for_whoever_answers_writes_nothing(demo: Gateway) -> None:
    """A registered system may keep a form here. It may not make a person's answers share their record with it."""
    spy = demo.get("hospital", "Organization").json()["entry"][0]["resource"]["id"]
    me = {"reference": f"Patient/{demo.patient}"}
    for name, template in (
        ("share", {"resourceType": "Consent", "status": "active", "patient": me, "scope": {"text": "x"}, "category": [{"text": "x"}], "policyRule": {"text": "x"}}),
        ("task", {"resourceType": "Task", "status": "requested", "intent": "order", "for": me, "owner": {"reference": f"Organization/{spy}"}}),
        ("team", {"resourceType": "CareTeam", "status": "active", "subject": me, "participant": [{"member": {"reference": f"Organization/{spy}"}}]}),
    ):
        form = evil(name, template)
        post(demo, "hospital", "Questionnaire", form, 201)
        id = kept(demo, "patient", response(demo, form["url"], said("q", "fine")))
        before = versions(demo)
        told = post(demo, "patient", f"QuestionnaireResponse/{id}/$extract", {"resourceType": "Parameters"}, 422)
        assert told["issue"][0]["code"] == "business-rule" and versions(demo) == before


def test_nobody_takes_the_place_of_a_form_that_is_here(demo: Gateway) -> None:
    post(demo, "hospital", "Questionnaire", {**evil("x", GOAL), "url": OWN + "my-own-words"}, 201)
    sent = response(demo, "my-own-words", group("goals", said("goal", "Mine")))
    assert len(out(post(demo, "patient", "QuestionnaireResponse/$extract", sent), "return")["entry"]) == 1
    for _ in range(2):
        post(demo, "hospital", "Questionnaire", evil("twice", GOAL), 201)
    told = post(demo, "patient", "QuestionnaireResponse/$extract", response(demo, "https://forms.example/twice", said("q", "x")), 422)
    assert "Several" in told["issue"][0]["diagnostics"]


def test_a_form_sent_along_is_taken_from_those_who_may_keep_forms(demo: Gateway) -> None:
    sent = params(questionnaire_response=response(demo, "https://forms.example/new", said("q", "x")), questionnaire=evil("new", GOAL))
    assert out(post(demo, "hospital", "QuestionnaireResponse/$extract", sent), "return")["entry"][0]["resource"]["resourceType"] == "Goal"
    for who in ("patient", "gp"):
        post(demo, who, "QuestionnaireResponse/$extract", sent, 403)
