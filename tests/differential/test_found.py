"""What the differential test found, each as the behaviour that holds since."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest

from fhir_gateway import gate

from .building import Played, play
from .comparing import Case, Pair, context_of, differs
from .requests import Request
from .sides import Ids, Shelf, Side, side
from .worlds import Step, World

P1, P2 = {"reference": "Patient/p1"}, {"reference": "Patient/p2"}
TAG = {"tag": [{"system": "http://tags", "code": "r1"}]}


def made(who: str, id: str, type: str, /, **body: Any) -> Step:
    return Step(who, "POST", type, {"resourceType": type, **body}, id)


def goal(name: str, **more: Any) -> Step:
    return made("hospital", name, "Goal", lifecycleStatus="active", description={"text": name}, subject=P1, **more)


PEOPLE = [made("hospital", p, "Patient", name=[{"family": "Example"}], birthDate="1950-01-01") for p in ("p1", "p2")]
CARED_FOR = [
    *PEOPLE,
    made("hospital", "care", "Task", status="requested", intent="order", owner={"reference": "Practitioner/gp"}, **{"for": P1}),
    Step("gp", "ACCEPT", ""),
]


async def played(scratch: Shelf, *steps: Step) -> tuple[Side, Played]:
    done = await play(World(0, list(steps)), scratch)
    assert not done.refused, done.refused
    return side(scratch.store, Ids("n"), done.at), done


async def as_if_removed(scratch: Shelf, pair: Pair, who: str, steps: list[Step], *paths: str) -> None:
    found = await differs(Case(World(0, steps), who, [Request(who, "GET", p) for p in paths]), scratch, {"sqlite": pair})
    assert found is None, str(found)


@pytest.mark.parametrize("path", ["Patient/p1/$everything?_count=1", "Goal?patient=p1&_count=1&_total=accurate", "Patient/p1/*?_count=1&_total=accurate"])
async def test_a_page_link_does_not_depend_on_whom_the_hidden_names_besides(scratch: Shelf, on_sqlite: Pair, path: str) -> None:
    both = made("hospital", "g", "Group", type="person", actual=True, member=[{"entity": P1}, {"entity": P2}])
    await as_if_removed(scratch, on_sqlite, "gp", [*CARED_FOR, goal("a"), goal("b"), both], path)


async def test_a_page_link_outlives_a_change_of_consent_of_somebody_whom_only_the_hidden_names(scratch: Shelf) -> None:
    both = made("hospital", "g", "Group", type="person", actual=True, member=[{"entity": P1}, {"entity": P2}])
    here, _ = await played(scratch, *CARED_FOR, goal("a"), goal("b"), both)
    first = json.loads((await here.ask("gp", "GET", "Patient/p1/$everything?_count=1")).body)
    following = next(link["url"] for link in first["link"] if link["relation"] == "next").removeprefix("http://here.example")
    assert (await here.ask("gp", "GET", following)).status == 200
    no = {"resourceType": "Consent", "status": "active", "patient": P2, "scope": {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/consentscope", "code": "patient-privacy"}]},
          "category": [{"coding": [{"system": "http://loinc.org", "code": "59284-0"}]}], "policyRule": {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "OPTOUT"}]}}  # fmt: skip
    assert (await here.ask("other-patient", "POST", "Consent", body=json.dumps(no).encode())).status == 201
    assert (await here.ask("gp", "GET", following)).status == 200


async def test_everything_promises_no_page_of_what_the_sign_in_does_not_cover(scratch: Shelf, on_sqlite: Pair) -> None:
    """A sign-in for goals that are under way, and besides only for what is tagged."""
    steps = [*PEOPLE[:1], *CARED_FOR[2:], *(made("hospital", f"c{n}", "Condition", subject=P1) for n in range(3)), goal("a", meta=TAG)]
    here, _ = await played(scratch, *steps)
    told = json.loads((await here.ask("narrower", "GET", "Patient/p1/$everything?_count=2")).body)
    assert [e["fullUrl"].split("/fhir/")[1] for e in told["entry"]] == ["Goal/a", "Patient/p1"]
    assert [link["relation"] for link in told["link"]] == ["self"] and told["total"] == 2
    await as_if_removed(scratch, on_sqlite, "narrower", steps, "Patient/p1/$everything?_count=2")


async def test_everything_of_a_time_promises_no_page_without_anything_of_it(scratch: Shelf) -> None:
    steps = [*CARED_FOR, goal("a", startDate="2020-01-01"), *(goal(f"b{n}", startDate="2026-10-01") for n in range(3))]
    here, _ = await played(scratch, *steps)
    told = json.loads((await here.ask("gp", "GET", "Patient/p1/$everything?_type=Goal&end=2021-01-01&_count=1")).body)
    assert [e["resource"]["id"] for e in told["entry"]] == ["a"]
    assert [link["relation"] for link in told["link"]] == ["self"] and told["total"] == 1


async def test_a_compartment_holds_a_linked_person_whether_or_not_something_hidden_names_both(scratch: Shelf, on_sqlite: Pair) -> None:
    linked = made("hospital", "p3", "Patient", name=[{"family": "Example"}], generalPractitioner=[{"reference": "Practitioner/gp"}], link=[{"other": P1, "type": "seealso"}])
    both = made("hospital", "g", "Group", type="person", actual=True, member=[{"entity": P1}, {"entity": {"reference": "Patient/p3"}}])
    steps = [*PEOPLE, linked, Step("gp", "ACCEPT", ""), both]
    here, _ = await played(scratch, *steps[:-1])
    assert json.loads((await here.ask("gp", "GET", "Patient/p1/*")).body)["total"] == 1
    await as_if_removed(scratch, on_sqlite, "gp", steps, "Patient/p1/*", "Patient/p1/Patient")


async def test_a_provenance_belongs_to_everybody_whose_resources_it_is_about(scratch: Shelf) -> None:
    """To the person it names and to the person of another target: who is one of them alone does not read it."""
    of_two = made("hospital", "w", "Provenance", target=[P1, {"reference": "Goal/other"}], recorded="2026-11-01T09:00:00Z", agent=[{"who": {"reference": "Organization/trust"}}])
    other = made("hospital", "other", "Goal", lifecycleStatus="active", description={"text": "x"}, subject=P2)
    here, _ = await played(scratch, *CARED_FOR, other, of_two)
    assert [(await here.ask(who, "GET", "Provenance/w")).status for who in ("hospital", "patient", "gp")] == [200, 404, 404]


async def test_an_edit_of_a_provenance_takes_it_from_nobody(scratch: Shelf) -> None:
    """Its writer does not see one of its targets any more: it is that person's as before."""
    restricted = {"security": [{"system": "http://terminology.hl7.org/CodeSystem/v3-Confidentiality", "code": "R"}]}
    agent = [{"who": {"reference": "Practitioner/gp"}}]
    targets = [{"reference": "Goal/mine"}, {"reference": "Goal/other"}]
    body = {"lifecycleStatus": "active", "description": {"text": "x"}}
    for_two = made("hospital", "care2", "Task", status="requested", intent="order", owner={"reference": "Practitioner/gp"}, **{"for": P2})
    steps = [*CARED_FOR, for_two, Step("gp", "ACCEPT", ""), goal("mine"), made("hospital", "other", "Goal", subject=P2, **body),
             made("gp", "w", "Provenance", target=targets, recorded="2026-11-01T09:00:00Z", agent=agent),
             Step("hospital", "PUT", "Goal/other", {"resourceType": "Goal", "id": "other", "subject": P2, "meta": restricted, **body})]  # fmt: skip
    here, _ = await played(scratch, *steps)
    assert (await here.ask("gp", "GET", "Goal/other")).status == 404
    edited = {"resourceType": "Provenance", "id": "w", "target": targets, "recorded": "2026-11-01T09:30:00Z", "agent": agent}
    reply = await here.ask("gp", "PUT", "Provenance/w", [("if-match", 'W/"1"')], json.dumps(edited).encode())
    assert reply.status == 200, reply
    assert [(await here.ask(who, "GET", "Provenance/w")).status for who in ("gp", "patient", "other-patient")] == [200, 404, 404]


async def log(here: Side, who: str, count: int = 3) -> list[str]:
    ctx = await context_of(here, who)
    return [row["sentence"] for row in await gate.who_looked(ctx, "p1", count=count)]


async def test_the_log_of_who_looked_names_nothing_that_the_person_may_not_see(scratch: Shelf) -> None:
    """Neither a reading of it, nor that they asked for it themselves; and the pages of the log stay full."""
    kept_back = {"security": [{"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "NOPAT"}]}
    here, _ = await played(scratch, *CARED_FOR, goal("told"), goal("untold", meta=kept_back))
    for path in ("Goal/untold", "Goal/untold/_history", "Goal/nothing"):
        assert (await here.ask("patient", "GET", path)).status == 404
    assert await log(here, "patient") == ["hospital added a goal.", "Gp changed an action.", "Gp searched and saw an action."]
    here.clock.at += timedelta(seconds=1)
    await here.ask("hospital", "GET", "Goal?_id=told,untold")
    assert (await log(here, "patient"))[0] == "hospital searched and saw a goal."


LOOKED = ("You looked at who had looked at your record.",)


async def test_the_log_of_who_looked_does_not_say_whose_what_somebody_asked_for_by_id_is(scratch: Shelf, on_sqlite: Pair) -> None:
    """A search by the id of what is kept from the person leaves no row in their log, as a reading does not."""
    of_both = goal("both", contained=[{"resourceType": "Goal", "id": "in", "lifecycleStatus": "active", "description": {"text": "x"}, "subject": P2}],
                   extension=[{"url": "http://example.org/within", "valueReference": {"reference": "#in"}}])  # fmt: skip
    here, _ = await played(scratch, *CARED_FOR, of_both, goal("told"))
    before = [row for row in await log(here, "patient", 50) if row not in LOOKED]
    for asked in ("Goal?_id=both", "Goal?_id=nothing"):
        assert json.loads((await here.ask("patient", "GET", asked)).body)["total"] == 0
    assert [row for row in await log(here, "patient", 50) if row not in LOOKED] == before  # but that they looked at the log itself
    here.clock.at += timedelta(seconds=1)
    assert json.loads((await here.ask("patient", "GET", "Goal?_id=told&lifecycle-status=completed")).body)["total"] == 0
    assert next(row for row in await log(here, "patient", 50) if row not in LOOKED) == "You searched your record and found nothing."


async def test_a_condition_finds_what_the_sign_in_covers_behind_much_that_it_does_not(scratch: Shelf) -> None:
    others = [made("hospital", f"a{n}", "Goal", lifecycleStatus="planned", description={"text": "x"}, subject=P1) for n in range(60)]
    here, _ = await played(scratch, *CARED_FOR, *others, goal("z"))
    patch = [("content-type", "application/json-patch+json"), ("if-match", 'W/"1"')]
    reply = await here.ask("narrower", "PATCH", "Goal?patient=p1", patch, b'[{"op": "add", "path": "/language", "value": "en"}]')
    assert reply.status == 200 and json.loads(reply.body)["id"] == "z", reply


async def test_the_chain_of_a_condition_needs_the_scope_that_the_chain_of_a_search_needs(scratch: Shelf) -> None:
    here, _ = await played(scratch, *CARED_FOR, goal("a"))
    asked = "Goal?subject:Patient.family=Example"
    assert (await here.ask("app", "GET", asked.replace("Goal", "Task"))).status == 403
    patch = [("content-type", "application/json-patch+json"), ("if-match", 'W/"1"')]
    assert (await here.ask("app", "PATCH", "CarePlan?subject:Patient.family=Example", patch, b"[]")).status == 403


AT_RISK = {"meta": {"security": [{"system": "https://fhir-gateway.example/CodeSystem/handling", "code": "location-protected"}]}}


async def test_who_deletes_the_patient_of_somebody_at_risk_is_not_shown_where_they_are(scratch: Shelf) -> None:
    """Whoever was deleted is in the same danger as before (SEED=341081978)."""
    refuge = made("hospital", "refuge", "Location", status="active", name="Refuge", address={"city": "Hiddenham"})
    visit = made("hospital", "visit", "Encounter", status="finished", subject=P1, location=[{"location": {"reference": "Location/refuge"}}],
                 **{"class": {"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "AMB"}})  # fmt: skip
    endangered = made("hospital", "p1", "Patient", name=[{"family": "Example"}], birthDate="1950-01-01", **AT_RISK)
    here, _ = await played(scratch, refuge, endangered, *CARED_FOR[2:], visit)

    async def seen() -> str:
        answers = [await here.ask("gp", "GET", path) for path in ("Encounter/visit", "Encounter/visit/_history", "Patient/$everything", "Encounter?patient=p1&_include=*")]
        assert all(a.status == 200 for a in answers), answers
        return "".join(a.body.decode() for a in answers)

    assert "Hiddenham" not in await seen()
    assert (await here.ask("gp", "DELETE", "Patient/p1", [("if-match", 'W/"1"')])).status in (200, 204)
    assert (await here.ask("gp", "GET", "Patient/p1")).status == 410
    told = await seen()
    assert "visit" in told and "refuge" not in told and "Hiddenham" not in told
