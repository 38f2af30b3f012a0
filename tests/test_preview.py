"""What would they see, and why: `Consent/$preview`, `Consent/$explain` and `explain` say what the gate then does."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import pytest

from fhir_gateway.definitions import load_r4
from fhir_gateway.domain.types import Decision, Facts, Ref
from fhir_gateway.domain.validate import check
from fhir_gateway.gate.previewing import Preview, Sight
from fhir_gateway.web.pages.sights import view_of

from .conftest import Gateway

ROLES = "https://fhir-gateway.example/CodeSystem/role"
RECIPIENT = {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v3-ParticipationType", "code": "IRCP"}]}


def consent(g: Gateway, provision: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "resourceType": "Consent", "status": "active",
        "scope": {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/consentscope", "code": "patient-privacy"}]},
        "category": [{"coding": [{"system": "http://loinc.org", "code": "59284-0"}]}], "patient": {"reference": f"Patient/{g.patient}"},
        "policyRule": {"coding": [{"system": "https://fhir-gateway.example/CodeSystem/policy", "code": "uk-direct-care"}]},
        "provision": provision, **more,
    }  # fmt: skip


def rule(type: str, who: dict[str, Any] | None, *types: str) -> dict[str, Any]:
    actor = {"actor": [{"role": RECIPIENT, "reference": who}]} if who else {}
    return {"type": type, **actor, **({"class": [{"system": "http://hl7.org/fhir/resource-types", "code": t} for t in types]} if types else {})}


def previewed(g: Gateway, who: str, choice: dict[str, Any] | None = None, asker: str = "patient", **more: Any) -> dict[str, Any]:
    sent = [{"name": "who", "valueString": who}, *({"name": k, "valueCode": v} for k, v in more.items())]
    sent += [{"name": "consent", "resource": choice}] if choice else []
    answer = g.call(asker, "POST", "Consent/$preview", body={"resourceType": "Parameters", "parameter": sent})
    assert answer.status_code == 200, answer.text
    assert [i for i in check(answer.json(), load_r4()) if i.severity in ("error", "fatal")] == []
    out: dict[str, Any] = {"opens": [], "closes": [], "closed": [], "warning": []}
    for p in answer.json()["parameter"]:
        value = p.get("valueInteger", p.get("valueString", (p.get("valueReference") or {}).get("reference")))
        if p["name"] == "closed":
            out["closed"].append((p["part"][0]["valueReference"]["reference"], p["part"][1]["valueString"]))
        elif isinstance(out.get(p["name"]), list):
            out[p["name"]].append(value)
        else:
            out[p["name"]] = value
    return out


def end(g: Gateway, made: Any) -> None:
    """A consent ends by its status."""
    over = {**made.json(), "status": "inactive"}
    answer = g.call("patient", "PUT", f"Consent/{over['id']}", body=over, headers={"If-Match": made.headers["etag"]})
    assert answer.status_code == 200, answer.text


def ids(g: Gateway, who: str, type: str) -> set[str]:
    return {f"{type}/{e['resource']['id']}" for e in g.get(who, f"{type}?patient={g.patient}").json().get("entry", ())}


def test_what_is_previewed_is_what_they_then_see(demo: Gateway) -> None:
    rosa = demo.persona("link-worker")["fhirUser"]
    choice = consent(demo, {"provision": [rule("permit", {"reference": rosa}, "Goal", "Patient")]})
    before = previewed(demo, rosa, choice)
    goals = ids(demo, "patient", "Goal")
    assert goals <= set(before["opens"]) and before["now"] == 0 and before["then"] == len(before["opens"]) and before["closes"] == []
    assert ids(demo, "link-worker", "Goal") == set(), "a preview saves nothing"
    made = demo.call("patient", "POST", "Consent", body=choice)
    assert made.status_code == 201
    assert ids(demo, "link-worker", "Goal") == {r for r in before["opens"] if r.startswith("Goal/")}
    after = previewed(demo, rosa, made.json() | {"status": "inactive"})
    assert set(after["closes"]) == set(before["opens"]) and after["then"] == 0, "and what they will no longer see"
    end(demo, made)


def test_it_says_what_a_surprising_grant_takes_away(demo: Gateway) -> None:
    gp = demo.persona("gp")["fhirUser"]
    now = previewed(demo, gp)
    assert now["now"] == now["then"] > 0 and now["of"] >= now["now"]
    surgery = next(o["resource"] for o in demo.get("gp", "Organization?name=Example Street Surgery").json()["entry"])
    root = {"type": "permit", "actor": [{"role": RECIPIENT, "reference": {"reference": f"Organization/{surgery['id']}"}}],
            "class": [{"system": "http://hl7.org/fhir/resource-types", "code": "Goal"}]}  # fmt: skip
    told = previewed(demo, gp, consent(demo, root))
    assert told["closes"] and told["then"] < told["now"] and any("would end" in w for w in told["warning"])
    assert all(not r.startswith("Goal/") for r in told["closes"])


def test_an_organisation_a_role_there_a_team_and_a_sector(demo: Gateway) -> None:
    kindly = next(o["resource"] for o in demo.get("gp", "Organization?name=Kindly Neighbours").json()["entry"])
    place, (team,) = f"Organization/{kindly['id']}", ids(demo, "patient", "CareTeam")
    at = f"{place} {ROLES}|link-worker"
    for who, named in (
        (place, {"reference": place}), (team, {"reference": team}),
        (f"role:{at}", {"identifier": {"system": "https://fhir-gateway.example/role-at", "value": at}}),
        ("sector:voluntary", {"identifier": {"system": "https://fhir-gateway.example/CodeSystem/sector", "value": "voluntary"}}),
    ):  # fmt: skip
        told = previewed(demo, who, consent(demo, {"provision": [rule("permit", named, "Goal")]}))
        assert ids(demo, "patient", "Goal") <= set(told["opens"]), who
        assert told["closed"] and all(text.startswith("No.") for _, text in told["closed"])


def test_looking_after_the_person_is_not_said_to_open_it_to_volunteers(demo: Gateway) -> None:
    for who, care in (("sector:voluntary", False), ("sector:health", True)):
        told = demo.get("patient", f"Consent/$preview?who={who}")
        if told.status_code != 200:
            sent = {"resourceType": "Parameters", "parameter": [{"name": "who", "valueString": who}]}
            told = demo.call("patient", "POST", "Consent/$preview", body=sent)
        texts = [part["valueString"] for p in told.json()["parameter"] if p["name"] == "closed" for part in p["part"] if part["name"] == "text"]
        assert texts and any("legitimate relationship" in t for t in texts) is care, texts[:2]


def test_a_role_at_a_place_opens_to_who_has_it_there_and_to_nobody_else(demo: Gateway) -> None:
    kindly = next(o["resource"] for o in demo.get("gp", "Organization?name=Kindly Neighbours").json()["entry"])
    at = {"identifier": {"system": "https://fhir-gateway.example/role-at", "value": f"Organization/{kindly['id']} {ROLES}|link-worker"}}
    made = demo.call("patient", "POST", "Consent", body=consent(demo, {"provision": [rule("permit", at, "Goal")]}))
    assert made.status_code == 201, made.text
    assert ids(demo, "link-worker", "Goal") == ids(demo, "patient", "Goal") and ids(demo, "stranger", "Goal") == set()
    end(demo, made)
    assert ids(demo, "link-worker", "Goal") == set()


def test_only_the_person_and_who_acts_for_them_may_preview(demo: Gateway) -> None:
    gp = demo.persona("gp")["fhirUser"]
    body = {"resourceType": "Parameters", "parameter": [{"name": "who", "valueString": gp}]}
    for asker in ("gp", "stranger", "hospital"):
        assert demo.call(asker, "POST", "Consent/$preview", body=body).status_code == 404
    assert previewed(demo, gp, asker="proxy")["now"] > 0
    log = demo.get("patient", f"AuditEvent?patient={demo.patient}&_count=1")
    assert log.status_code in (200, 403)


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        ({"resourceType": "Parameters"}, 400),
        ({"resourceType": "Parameters", "parameter": [{"name": "who", "valueInteger": 3}]}, 400),
        ({"resourceType": "Parameters", "parameter": [{"name": "who", "valueString": "x"}, {"name": "other", "valueString": "x"}]}, 400),
        ({"resourceType": "Parameters", "parameter": [{"name": "who", "valueString": "x"}, {"name": "purpose", "valueCode": "FUN"}]}, 400),
        ({"resourceType": "Parameters", "parameter": [{"name": "who", "valueString": "x"}, {"name": "consent", "resource": {"resourceType": "Goal"}}]}, 400),
        ({"resourceType": "Parameters", "parameter": [{"name": "who", "valueString": "Practitioner/x"}, {"name": "consent", "resource": {"resourceType": "Consent", "patient": "x"}}]}, 422),
        ({"resourceType": "Parameters", "parameter": "x"}, 400),
        ({"resourceType": "Goal"}, 400),
    ],
)  # fmt: skip
def test_a_preview_that_makes_no_sense_is_refused_in_words(demo: Gateway, sent: dict[str, Any], status: int) -> None:
    answer = demo.call("patient", "POST", "Consent/$preview", body=sent)
    assert answer.status_code == status and answer.json()["issue"][0]["diagnostics"], answer.text


def test_a_preview_of_what_cannot_be_computed_or_is_anothers_is_refused(demo: Gateway) -> None:
    fine = {"provision": [rule("permit", {"reference": "Practitioner/x"}, "Goal")]}
    other = consent(demo, fine) | {"patient": {"reference": "Patient/another"}}
    nobody = {"provision": [{"type": "deny", "actor": [{"role": {"text": "x"}, "reference": {"reference": "Practitioner/x"}}]}]}
    for choice in (consent(demo, nobody), consent(demo, {"provision": [{"code": [{"text": "x"}]}]}), other):
        sent = [{"name": "who", "valueString": "Practitioner/x"}, {"name": "consent", "resource": choice}]
        answer = demo.call("patient", "POST", "Consent/$preview", body={"resourceType": "Parameters", "parameter": sent})
        assert answer.status_code == 422, answer.text


# -- warnings before and after saving -----------------------------------------------------------------------------------


def test_what_may_surprise_is_a_warning_of_the_outcome_and_of_validate(demo: Gateway) -> None:
    choice = consent(demo, {"provision": [{**rule("deny", None, "Goal"), "period": {"end": "2040-01-01"}}]})
    judged = demo.call("patient", "POST", "Consent/$validate", body=choice).json()["issue"]
    assert [i["severity"] for i in judged if "opens again" in i["diagnostics"]] == ["warning"]
    made = demo.call("patient", "POST", "Consent", body=choice, headers={"Prefer": "return=OperationOutcome"})
    assert made.status_code == 201
    said = made.json()["issue"]
    assert said[0]["severity"] == "information" and said[1]["severity"] == "warning"
    assert said[1]["expression"] == ["Consent.provision.provision[0].period"]
    assert [i for i in check(made.json(), load_r4()) if i.severity in ("error", "fatal")] == []
    entry = {"resource": consent(demo, {"type": "permit"}, status="active"), "request": {"method": "POST", "url": "Consent"}}
    sent = {"resourceType": "Bundle", "type": "transaction", "entry": [entry]}
    both = demo.call("patient", "POST", "", body=sent, headers={"Prefer": "return=OperationOutcome"}).json()["entry"][0]["response"]
    assert any("anyone see everything" in i["diagnostics"] for i in both["outcome"]["issue"])
    for where in (made.headers["location"].split("/fhir/")[1], both["location"]):
        end(demo, demo.get("patient", where.split("/_history")[0]))


# -- explain ------------------------------------------------------------------------------------------------------------


def explained(g: Gateway, who: str, what: str, asker: str = "patient", **more: str) -> dict[str, Any]:
    query = "&".join(f"{k}={quote(v)}" for k, v in {"who": who, "what": what, **more}.items())
    answer = g.get(asker, f"Consent/$explain?{query}")
    assert answer.status_code == 200, answer.text
    told = answer.json()["parameter"]
    return {p["name"]: next(v for k, v in p.items() if k != "name") for p in told} | {"change": [p["valueString"] for p in told if p["name"] == "change"]}


def test_what_explain_says_would_change_it_does(demo: Gateway) -> None:
    goal = min(ids(demo, "patient", "Goal"))
    rosa, gp = demo.persona("link-worker")["fhirUser"], demo.persona("gp")["fhirUser"]
    no = explained(demo, rosa, goal)
    assert no["permit"] is False and any("names them" in c for c in no["change"]) and not any("break the glass" in c for c in no["change"])
    made = demo.call("patient", "POST", "Consent", body=consent(demo, {"provision": [rule("permit", {"reference": rosa}, "Goal")]}))
    yes = explained(demo, rosa, goal)
    assert yes["permit"] is True and yes["basis"] == "explicit" and any("Stopping that choice would close" in c for c in yes["change"])
    end(demo, made)
    assert explained(demo, rosa, goal)["permit"] is False
    theirs = explained(demo, gp, goal)
    assert theirs["permit"] is True and theirs["basis"] == "implicit" and any("except in an emergency" in c for c in theirs["change"])
    made = demo.call("patient", "POST", "Consent", body=consent(demo, {"provision": [rule("deny", {"reference": gp})]}))
    denied = explained(demo, gp, goal)
    assert denied["consent"] == {"reference": f"Consent/{made.json()['id']}"}
    assert denied["permit"] is False and {"Taking", "In"} <= {c.split()[0] for c in denied["change"]}, denied
    end(demo, made)


@pytest.mark.parametrize("who", ["sector:nonsense", "role:here x|y", "role:Organization/a nurse", "Nonsense/1", "nobody"])
def test_a_who_that_can_be_nobody_is_named_and_refused(demo: Gateway, who: str) -> None:
    asked = {"resourceType": "Parameters", "parameter": [{"name": "who", "valueString": who}]}
    for answer in (
        demo.get("patient", f"Consent/$explain?who={quote(who)}&what=Patient/{demo.patient}"), demo.call("patient", "POST", "Consent/$preview", body=asked),
    ):  # fmt: skip
        assert answer.status_code == 400 and who.split(" ")[0] in answer.text and answer.json()["issue"][0]["expression"] == ["who"], answer.text


def test_a_staff_reader_is_not_told_what_the_person_could_choose(demo: Gateway) -> None:
    goal = min(ids(demo, "patient", "Goal"))
    own = explained(demo, demo.persona("gp")["fhirUser"], goal, asker="gp")
    assert own["permit"] is True and own["change"] == [] and "consent" not in own


def test_explain_knows_how_others_sign_in(demo: Gateway) -> None:
    """The hospital may add to records because its client is registered to; so says explain, to the person and the operator."""
    goal = min(ids(demo, "patient", "Goal"))
    assert explained(demo, "Device/hospital", goal, action="collect")["permit"] is True
    (said,) = demo.lines("explain", "--who", "Device/hospital", "--what", goal, "--action", "collect", "--json")
    assert (said["decision"], said["basis"]) == ("permit", "implicit")
    assert "not known here" in explained(demo, "Practitioner/from-elsewhere", goal)["text"]
    assert "not known here" not in explained(demo, demo.persona("stranger")["fhirUser"], goal)["text"]


def test_explain_takes_a_role_a_team_and_a_sector(demo: Gateway) -> None:
    goal = min(ids(demo, "patient", "Goal"))
    (team,) = ids(demo, "patient", "CareTeam")
    for who in ("sector:health", team, "role:Organization/none urn:x|nurse"):
        assert explained(demo, who, goal)["permit"] is False
        if who.startswith("role:"):
            assert demo.command("explain", "--who", who, "--what", goal).returncode == 2, "an operator is told that nobody is meant"
            continue
        (said,) = demo.lines("explain", "--who", who, "--what", goal, "--json")
        assert said["decision"] == "deny" and said["changes"]
    assert demo.get("patient", f"Consent/$explain?what={goal}&purpose=FUN").status_code == 400


def test_what_was_closed_before_a_no_is_not_said_to_be_closed_by_it() -> None:
    """She looks at what a no would do: that she said it is true only of what an earlier no closed."""
    no = Decision(False, "explicit")
    before = {"never-shared": Decision(False, "implicit"), "marked": Decision(False, "refrain"), "earlier-no": no}
    seen = [Sight(Ref("Goal", n), {"resourceType": "Goal", "description": {"text": n}}, Facts("Goal", n), was, no) for n, was in before.items()]
    said = {g.titles[0]: g.why for g in view_of(Preview(tuple(seen))).closed}
    assert said["earlier-no"] == "You said no to this." and {n for n, why in said.items() if why == said["earlier-no"]} == {"earlier-no"}
