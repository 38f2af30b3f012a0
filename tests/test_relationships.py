"""Every writer against every way in, through HTTP with real tokens: nobody comes to look after a person by writing that they do."""

from __future__ import annotations

import json
from typing import Any

import pytest

from .conftest import Gateway
from .staff import Colleague, consent, given, permit, put_directory, save, signed_in, system, wired_operator

NEW = "urn:uuid:0198c0de-0000-7000-8000-00000000{:04x}"
SURFACES = ("Goal?patient={p}", "CarePlan?patient={p}", "Patient/{p}", "Patient/{p}/$everything", "/plans/{p}", "Goal/{g}", "Goal/{g}/_history", "Goal/{g}/_history/1")


def goal(demo: Gateway) -> str:
    return str(demo.get("patient", f"Goal?patient={demo.patient}").json()["entry"][0]["resource"]["id"])


def shut(demo: Gateway, who: Colleague | str) -> list[str]:
    """The surfaces that show this asker something of Amina's record."""
    paths = [s.format(p=demo.patient, g=goal(demo)) for s in SURFACES]
    answers = {p: demo.get(who, p) if isinstance(who, str) else who.get(p) for p in paths}
    return [p for p, a in answers.items() if a.status_code == 200 and a.json().get("total", 1) != 0]


def accept_all(demo: Gateway, who: str) -> int:
    """They say yes to whatever asks them, and to whatever they can see."""
    found = demo.get(who, f"Task?patient={demo.patient}").json().get("entry", [])
    done = 0
    for e in found:
        task = e["resource"]
        if task["status"] == "requested":
            done += save(demo, task | {"status": "accepted"}, f'W/"{task["meta"]["versionId"]}"', by=who).status_code == 200
    return done


@pytest.fixture(scope="module")
def sly(demo: Gateway) -> dict[str, str]:
    """Sam of the faraway surgery, by every name."""
    sam = demo.persona("stranger")["fhirUser"]
    surgery = "Organization/" + str(demo.get("patient", "Organization?identifier=D82999").json()["entry"][0]["resource"]["id"])
    return {"person": sam, "surgery": surgery, "me": f"Patient/{demo.patient}", "goal": f"Goal/{goal(demo)}"}


def ways(n: dict[str, str], who: str) -> dict[str, dict[str, Any]]:
    """Everything that names `who` about Amina."""
    them, me = {"reference": n[who]}, {"reference": n["me"]}
    coded = {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "AMB"}]}
    task = {"resourceType": "Task", "status": "requested", "intent": "order", "for": me, "owner": them, "description": "Look after"}
    return {
        "team": {"resourceType": "CareTeam", "status": "active", "subject": me, "participant": [{"member": them}], "managingOrganization": [{"reference": n["surgery"]}]},
        "task": task,
        "task taken already": task | {"status": "accepted"},
        "membership confirmed": task | {"status": "completed", "focus": me, "code": {"coding": [
            {"system": "https://fhir-gateway.example/CodeSystem/task", "code": "confirm-membership"}]}},
        "referral": {"resourceType": "ServiceRequest", "status": "active", "intent": "order", "subject": me, "performer": [them]},
        "episode": {"resourceType": "EpisodeOfCare", "status": "active", "patient": me, "managingOrganization": {"reference": n["surgery"]}},
        "encounter": {"resourceType": "Encounter", "status": "in-progress", "class": coded["coding"][0], "subject": me,
                      "serviceProvider": {"reference": n["surgery"]}, "participant": [{"individual": {"reference": n["person"]}}]},
        "provenance": {"resourceType": "Provenance", "target": [{"reference": n["goal"]}], "recorded": "2026-11-20T10:00:00Z", "agent": [{"who": them}]},
        "group": {"resourceType": "Group", "type": "person", "actual": True, "member": [{"entity": me}], "managingEntity": them},
        "list": {"resourceType": "List", "status": "current", "mode": "working", "subject": me, "entry": [{"item": {"reference": n["goal"]}}]},
        "relative": {"resourceType": "RelatedPerson", "patient": me, "identifier": [{"system": "urn:x", "value": n["person"]}]},
        "twin": {"resourceType": "Patient", "name": [{"family": "Twin"}], "birthDate": "1950-01-01", "generalPractitioner": [them],
                 "link": [{"other": me, "type": "replaces"}]},
        "consent": consent(n["me"].removeprefix("Patient/"), permit(n[who])),
        "place": {"resourceType": "Organization", "active": True, "name": "Faraway", "partOf": {"reference": n["surgery"]}},
        "role": {"resourceType": "PractitionerRole", "active": True, "practitioner": {"reference": n["person"]}},
        "somebody": {"resourceType": "Practitioner", "active": True, "name": [{"family": "Other"}]},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("writer", "named"),
    [
        ("stranger", "surgery"), ("contributor", "person"), pytest.param("contributor", "surgery", marks=pytest.mark.slow),
        *(pytest.param(w, n, marks=pytest.mark.slow) for w, n in (("stranger", "person"), ("link-worker", "person"), ("link-worker", "surgery"))),
    ],
)
def test_a_writer_without_the_right_to_refer_opens_nothing_even_when_it_is_accepted(demo: Gateway, sly: dict[str, str], writer: str, named: str) -> None:
    """Alone, in a Bundle, and by a condition; by who has no relationship, and by a registered system that does not refer."""
    source = system(demo, "source", "RY9")
    for at, (way, body) in enumerate(ways(sly, named).items()):
        alone = source.call("POST", body["resourceType"], body=body) if writer == "contributor" else demo.call(writer, "POST", body["resourceType"], body=body)
        if writer != "contributor":
            assert alone.status_code in (200, 201, 403, 422), (way, alone.text)
        bundle = {"resourceType": "Bundle", "type": "transaction", "entry": [
            {"fullUrl": NEW.format(at), "resource": body, "request": {"method": "PUT", "url": f"{body['resourceType']}?_id=never-{at}"}}]}  # fmt: skip
        both = source.call("POST", "", body=bundle) if writer == "contributor" else demo.call(writer, "POST", "", body=bundle)
        assert both.status_code < 500, (way, both.text)
    accept_all(demo, "stranger")
    assert shut(demo, "stranger") == []


def test_all_ways_at_once_in_one_bundle(demo: Gateway, sly: dict[str, str]) -> None:
    source = system(demo, "source", "RY9")
    entries = [
        {"fullUrl": NEW.format(at + 100), "resource": body, "request": {"method": "POST", "url": body["resourceType"]}}
        for at, (way, body) in enumerate(ways(sly, "surgery").items()) if way not in ("consent", "twin", "group")
    ]  # fmt: skip
    answer = source.call("POST", "", body={"resourceType": "Bundle", "type": "transaction", "entry": entries})
    assert answer.status_code in (200, 403, 422), answer.text
    accept_all(demo, "stranger")
    assert shut(demo, "stranger") == []


def test_nobody_edits_their_way_in(demo: Gateway, sly: dict[str, str]) -> None:
    """What is hidden cannot be changed, and a system that may change a team does not thereby refer."""
    team = demo.get("patient", f"CareTeam?patient={demo.patient}").json()["entry"][0]["resource"]
    etag = f'W/"{team["meta"]["versionId"]}"'
    joined = team | {"participant": [*team["participant"], {"member": {"reference": sly["person"]}}]}
    patch = [{"op": "add", "path": "/participant/-", "value": {"member": {"reference": sly["person"]}}}]
    for who in ("stranger", "link-worker"):
        assert save(demo, joined, etag, by=who).status_code == 404
        done = demo.call(who, "PATCH", f"CareTeam/{team['id']}", body=patch, headers={"If-Match": etag, "Content-Type": "application/json-patch+json"})
        assert done.status_code == 404
        assert demo.call(who, "PUT", f"CareTeam?patient={demo.patient}", body={k: v for k, v in joined.items() if k != "id"}).status_code in (400, 404, 412, 422)
    person = demo.get("patient", f"Patient/{demo.patient}")
    mine = person.json() | {"generalPractitioner": [{"reference": sly["surgery"]}]}
    assert save(demo, mine, person.headers["etag"], by="stranger").status_code == 404
    assert shut(demo, "stranger") == []


def test_a_plan_that_names_a_team_asks_the_team(demo: Gateway, sly: dict[str, str]) -> None:
    """Brought in by a system that does not refer, its members stay outside even when they say yes."""
    plan = demo.get("patient", f"/plans/{demo.patient}").json()
    member = {"id": "t-far", "name": "Dr Sam Other", "role": "GP", "organisation": {"ods": "D82999", "name": "Faraway Surgery", "sector": "health"}}
    source = system(demo, "source", "RY9")
    body = {**plan, "id": "plan-far", "team": [member]}
    answer = source.gateway.call(None, "POST", "/plans", raw=json.dumps(body).encode(),
                                 headers={"Authorization": f"Bearer {source.token}", "Content-Type": "application/json"})  # fmt: skip
    assert answer.status_code < 500, answer.text
    accept_all(demo, "stranger")
    assert shut(demo, "stranger") == []


@pytest.mark.parametrize("way", ["task", "team"])
@pytest.mark.parametrize("writer", ["patient", "hospital"])
def test_who_may_refer_opens_it_to_who_accepts_and_the_end_shuts_it_everywhere(demo: Gateway, sly: dict[str, str], writer: str, way: str) -> None:
    assert shut(demo, "stranger") == []
    made = demo.call(writer, "POST", ways(sly, "surgery")[way]["resourceType"], body=ways(sly, "surgery")[way])
    assert made.status_code == 201, made.text
    assert shut(demo, "stranger") == [], "until they accept they read that one question"
    assert accept_all(demo, "stranger") >= 1
    assert len(shut(demo, "stranger")) == len(SURFACES)
    now = demo.get("patient", f"{made.json()['resourceType']}/{made.json()['id']}")
    over = {"status": "completed"} if way == "task" else {"status": "inactive"}
    assert save(demo, now.json() | over, now.headers["etag"]).status_code == 200
    assert shut(demo, "stranger") == []
    again = demo.get("stranger", f"{made.json()['resourceType']}/{made.json()['id']}")
    if again.status_code == 200:  # who finished a task cannot take it up again by themselves
        save(demo, again.json() | {"status": "in-progress"}, again.headers["etag"], by="stranger")
    assert shut(demo, "stranger") == []


def test_who_edited_or_named_themselves_keeps_nothing_of_it_when_the_relationship_ends(demo: Gateway, sly: dict[str, str]) -> None:
    """What opens by authorship rests on who made version 1; an edit, or a name put into it, is a way in for nobody."""
    task = ways(sly, "surgery")["task"]
    made = demo.call("patient", "POST", "Task", body=task)
    assert made.status_code == 201 and accept_all(demo, "stranger") >= 1
    about, seen = {"reference": sly["me"]}, [{"reference": sly["person"]}]
    kept = demo.call("patient", "POST", "Observation", body=observation(demo)).json()
    now = demo.get("stranger", f"Goal/{goal(demo)}")
    edited = [save(demo, now.json() | {"note": [{"text": "Seen"}], "expressedBy": seen[0]}, now.headers["etag"], by="stranger")]
    now = demo.get("stranger", f"Observation/{kept['id']}")
    edited.append(save(demo, now.json() | {"performer": [*seen, {"reference": sly["surgery"]}]}, now.headers["etag"], by="stranger"))
    now = demo.get("stranger", sly["me"])
    edited.append(save(demo, now.json() | {"managingOrganization": {"reference": sly["surgery"]}}, now.headers["etag"], by="stranger"))
    assert [e.status_code for e in edited] == [200, 200, 200], [e.text for e in edited]
    own = demo.call("stranger", "POST", "Observation", body=observation(demo))
    assert own.status_code == 201
    now = demo.get("patient", f"Task/{made.json()['id']}")
    assert save(demo, now.json() | {"status": "completed"}, now.headers["etag"]).status_code == 200
    assert shut(demo, "stranger") == []
    assert demo.get("stranger", f"Observation/{kept['id']}").status_code == 404
    assert demo.get("stranger", f"Observation?subject={about['reference']}").json()["total"] == 1, "what they made stays theirs"
    now = demo.get("gp", f"Observation/{own.json()['id']}")
    named = save(demo, now.json() | {"performer": [{"reference": demo.persona("link-worker")["fhirUser"]}]}, now.headers["etag"], by="gp")
    assert named.status_code == 200
    assert demo.get("link-worker", f"Observation/{own.json()['id']}").status_code == 404, "named by somebody who cannot vouch"
    assert demo.get("stranger", f"Observation/{own.json()['id']}").status_code == 200, "nobody edits another's own away"
    with given(demo, consent(demo.patient, permit(demo.persona("gp")["fhirUser"], type="deny", data=[
        {"meaning": "authoredby", "reference": {"reference": sly["surgery"]}}]))):  # fmt: skip
        assert demo.get("gp", f"Observation/{kept['id']}").status_code == 404, "a no hits whatever they ever had a hand in"
    assert demo.get("gp", f"Observation/{kept['id']}").status_code == 200


def test_a_contributor_vouches_for_whom_it_names_in_what_it_makes(demo: Gateway) -> None:
    rosa = {"reference": demo.persona("link-worker")["fhirUser"]}
    source = system(demo, "third-source", "D82999")
    made = source.call("POST", "Observation", body=observation(demo, performer=[rosa]))
    assert made.status_code == 201
    assert demo.get("link-worker", f"Observation/{made.json()['id']}").status_code == 200
    mine = demo.call("patient", "POST", "Observation", body=observation(demo, performer=[rosa]))
    if mine.status_code == 201:
        assert demo.get("link-worker", f"Observation/{mine.json()['id']}").status_code == 404, "the person gives by consent"


# -- who may add, who may change --------------------------------------------------------------------------------------


def observation(demo: Gateway, **more: Any) -> dict[str, Any]:
    return {"resourceType": "Observation", "status": "final", "code": {"text": "Seen"}, "subject": {"reference": f"Patient/{demo.patient}"}} | more


def test_a_yes_without_action_lets_read_and_not_write(demo: Gateway) -> None:
    rosa = demo.persona("link-worker")["fhirUser"]
    with given(demo, consent(demo.patient, permit(rosa))):
        read = demo.get("link-worker", f"Goal/{goal(demo)}")
        assert read.status_code == 200
        assert save(demo, read.json() | {"lifecycleStatus": "on-hold"}, read.headers["etag"], by="link-worker").status_code == 403
        assert demo.call("link-worker", "POST", "Observation", body=observation(demo)).status_code == 422
    actions = [{"coding": [{"system": "http://terminology.hl7.org/CodeSystem/consentaction", "code": c}]} for c in ("access", "collect", "correct")]
    with given(demo, consent(demo.patient, permit(rosa, action=actions))):
        read = demo.get("link-worker", f"Goal/{goal(demo)}")
        note = {"note": [*read.json().get("note", []), {"text": "We met"}]}
        assert save(demo, read.json() | note, read.headers["etag"], by="link-worker").status_code == 200
        assert demo.call("link-worker", "POST", "Observation", body=observation(demo)).status_code == 201


def test_who_may_only_add_and_change_but_not_read_changes_nothing(demo: Gateway) -> None:
    rosa = demo.persona("link-worker")["fhirUser"]
    actions = [{"coding": [{"system": "http://terminology.hl7.org/CodeSystem/consentaction", "code": c}]} for c in ("collect", "correct")]
    with given(demo, consent(demo.patient, permit(rosa, action=actions))):
        other = demo.get("patient", f"Goal?patient={demo.patient}").json()["entry"][-1]["resource"]["id"]  # which she never changed
        now = demo.get("patient", f"Goal/{other}")
        assert save(demo, now.json() | {"lifecycleStatus": "on-hold"}, now.headers["etag"], by="link-worker").status_code == 404
        test = [{"op": "test", "path": "/lifecycleStatus", "value": now.json()["lifecycleStatus"]}]
        patched = demo.call("link-worker", "PATCH", f"Goal/{other}", body=test,
                            headers={"If-Match": now.headers["etag"], "Content-Type": "application/json-patch+json"})  # fmt: skip
        assert patched.status_code == 404, "a patch's test is no oracle"
        added = demo.call("link-worker", "POST", "Observation", body=observation(demo))
        assert added.status_code == 201 and demo.get("link-worker", f"Goal/{other}").status_code == 404


def test_a_hospital_pushes_under_an_objection_to_sharing(demo: Gateway) -> None:
    """UK-70: not `collect`; and what it wrote itself it does not write twice."""
    hospital = "Organization/" + str(demo.get("patient", "Organization?identifier=RX9").json()["entry"][0]["resource"]["id"])
    with given(demo, consent(demo.patient, permit(hospital, type="deny"))):
        assert shut(demo, "hospital") == []
        once = {"If-None-Exist": "identifier=urn:h|uk70"}
        body = observation(demo, identifier=[{"system": "urn:h", "value": "uk70"}])
        assert demo.call("hospital", "POST", "Observation", body=body, headers=once).status_code == 201
        assert demo.call("hospital", "POST", "Observation", body=body, headers=once).status_code == 200
        now = demo.get("patient", f"Goal/{goal(demo)}")
        assert save(demo, now.json() | {"lifecycleStatus": "on-hold"}, now.headers["etag"], by="hospital").status_code == 404


def test_a_registered_contributor_adds_without_a_relationship_and_reads_what_it_wrote(demo: Gateway) -> None:
    source = system(demo, "other-source", "D82999")
    added = source.call("POST", "Observation", body=observation(demo))
    assert added.status_code == 201
    assert source.get(f"Observation/{added.json()['id']}").status_code == 200
    assert shut(demo, source) == []
    (elsewhere,) = put_directory(demo, {"resourceType": "Practitioner", "active": True, "name": [{"family": "Nobody"}]})
    nobody = signed_in(demo, "nobody", elsewhere)
    assert nobody.call("POST", "Observation", body=observation(demo)).status_code == 422


def test_whose_it_is_is_worked_out_for_what_was_kept_before(demo: Gateway) -> None:
    from dataclasses import replace

    from fhir_gateway import gate
    from fhir_gateway.domain.types import Ref, Relabel

    rosa = {"reference": demo.persona("link-worker")["fhirUser"]}
    made = demo.call("patient", "POST", "Observation", body=observation(demo)).json()
    now = demo.get("gp", f"Observation/{made['id']}")
    assert save(demo, now.json() | {"performer": [rosa]}, now.headers["etag"], by="gp").status_code == 200

    async def doing(ctx: Any) -> tuple[Any, Any, Any]:
        store, ref = ctx.house.store, Ref("Observation", made["id"])
        good = await store.get(ref)
        old = replace(good.facts, origin=None, makers=frozenset(), keeper=None)
        await store.commit(Relabel(ref, good.version, good.updated, good.body, good.view, old, (), good.writer))
        before = (await store.get(ref)).facts.origin
        await gate.relabel(ctx.house)
        return good.facts, before, (await store.get(ref)).facts

    good, before, now_facts = wired_operator(demo, doing)
    assert before is None and now_facts == good
    assert now_facts.makers == {f"Patient/{demo.patient}"} and rosa["reference"] in now_facts.authors


def test_what_tells_of_two_people_is_read_with_both_their_permits(demo: Gateway) -> None:
    """consent.md 1.2 line 3, whichever element names the other."""
    from dataclasses import replace

    from fhir_gateway import gate
    from fhir_gateway.domain.types import Ref, Relabel

    born = {"resourceType": "Patient", "name": [{"family": "Bee"}], "birthDate": "1980-01-01"}
    other = {"reference": f"Patient/{demo.call('hospital', 'POST', 'Patient', body=born).json()['id']}"}
    alone = demo.call("hospital", "POST", "Observation", body=observation(demo))
    for more in ({"focus": [other]}, {"extension": [{"url": "urn:x", "valueReference": other}]}):
        made = demo.call("hospital", "POST", "Observation", body={**observation(demo), **more})
        assert made.status_code == 201, made.text
        id = made.headers["location"].split("/Observation/")[1].split("/")[0]
        for who in ("gp", "patient"):
            assert demo.get(who, f"Observation/{id}").status_code == 404
            assert not demo.get(who, f"Observation?_id={id}").json().get("entry")
        assert demo.get("hospital", f"Observation/{id}").status_code == 200, "who keeps it"

        async def kept_before(ctx: Any, id: str = id) -> tuple[str, ...]:
            store, ref = ctx.house.store, Ref("Observation", id)
            good = await store.get(ref)
            old = replace(good.facts, patients=good.facts.patients[:1])
            await store.commit(Relabel(ref, good.version, good.updated, good.body, good.view, old, (), good.writer))
            assert (await store.get(ref)).facts == old
            await gate.relabel(ctx.house)
            return (await store.get(ref)).facts.patients

        assert wired_operator(demo, kept_before) == (f"Patient/{demo.patient}", other["reference"])
        assert demo.get("gp", f"Observation/{id}").status_code == 404
    assert demo.get("gp", f"Observation/{alone.json()['id']}").status_code == 200
    edited = demo.get("gp", f"Observation/{alone.json()['id']}")
    assert save(demo, edited.json() | {"focus": [other]}, edited.headers["etag"], by="gp").status_code == 422, "nor is it moved there later"
