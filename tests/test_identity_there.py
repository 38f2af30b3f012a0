"""Who is who at a partner: found before anything is made there, and nothing goes or comes where it is not sure (sync.md, Identity)."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from fhir_gateway import gate
from fhir_gateway.commands import saying
from fhir_gateway.domain import copies, strict
from fhir_gateway.domain.capability import GATEWAY
from fhir_gateway.domain.directory import ODS_CODE
from fhir_gateway.domain.identity import NHS_NUMBER
from fhir_gateway.domain.problem import Problem
from fhir_gateway.domain.types import Linked, Ref
from fhir_gateway.domain.vocabulary import HL7
from fhir_gateway.gate import Remote, merging
from fhir_gateway.remote.client import Down, RemoteServer, Unknown
from fhir_gateway.store import sqlite
from fhir_gateway.sync import identity, recognising, tags, worker
from fhir_gateway.sync.backfill import backfill
from fhir_gateway.sync.partner import Partner
from fhir_gateway.sync.pull import pull
from fhir_gateway.sync.push import push

from .conftest import Gateway
from .faults import invariants
from .faults.scripted import Habits, Listening, page, scripted
from .telling.place import Place
from .telling.servers import mail_server

NUMBER, BORN = "9434765919", "1951-04-07"
RECIPIENT = {"coding": [{"system": f"{HL7}/v3-ParticipationType", "code": "IRCP"}]}
ACTIONS = [{"coding": [{"system": f"{HL7}/consentaction", "code": c}]} for c in ("access", "disclose", "collect", "correct")]
Body = dict[str, Any]


def person(number: str = NUMBER, born: str = BORN, family: str = "Example", **more: Any) -> Body:
    return {"resourceType": "Patient", "identifier": [{"system": NHS_NUMBER, "value": number}], "birthDate": born, "name": [{"family": family}], **more}


def pulse(whose: str, text: str = "pulse 70") -> Body:
    return {"resourceType": "Observation", "status": "final", "code": {"text": text}, "subject": {"reference": whose}}


class Here(Place):
    partner: Partner
    there: Listening
    yes: str  # her consent that lets the surgery see and write

    async def begin(self, store: Any, there: Listening) -> Here:
        self.there = there
        await self.open(store, Remote("hub", "surgery-code"))
        self.house.remotes = (terms := Remote("hub", self.names["surgery"]),)
        self.partner = Partner(terms, RemoteServer(there.url, lambda: self.now))
        await self.change(self.hospital, "amina", identifier=person()["identifier"], birthDate=BORN)
        self.yes = await self.yes_to_the_surgery()
        await pull(self.house, self.partner)  # met before: what is there by now is known
        return self

    async def yes_to_the_surgery(self) -> str:
        rule = {"type": "permit", "period": {"end": "2040-12-31"}, "action": ACTIONS, "actor": [{"role": RECIPIENT, "reference": {"reference": self.names["surgery"]}}]}
        return await self.grant(provision={"provision": [rule]})

    async def round(self, times: int = 3) -> None:
        for _ in range(times):
            self.now += timedelta(seconds=61)
            with suppress(Down, Unknown):
                while (await push(self.house, self.partner, "w")).seen:
                    pass
            with suppress(Down):
                await pull(self.house, self.partner)

    async def goal(self, text: str = "walk", whose: str = "amina") -> Ref:
        by = self.me if whose == "amina" else self.hospital
        body = {"resourceType": "Goal", "lifecycleStatus": "active", "description": {"text": text}, "subject": {"reference": self.names[whose]}}
        return (await gate.create(by, "Goal", strict.dump(body))).ref

    async def sound(self) -> None:
        """Once all that was here before is sent, too, and it is quiet, three hours of rounds later at the most: I1 to I9, as far as one place can tell."""
        await backfill(self.house, self.partner)
        for _ in range(30):
            await self.round(1)
            self.now += timedelta(minutes=5)
            if (await worker.status(self.house, self.partner))["quiet"]:
                break
        assert await invariants.wrong(self.house, [(self.partner, self.there)]) == []

    async def link(self, ref: Ref | str) -> Any:
        return await self.house.store.link("hub", Ref(*str(ref).split("/")))

    async def doubts(self) -> list[tuple[str, tuple[str, ...]]]:
        return [(d.why, d.there) for d in await identity.waiting(self.house, self.partner)]

    async def tasks(self) -> list[str]:
        """The state of each Task about who she is."""
        found = await self.house.store.patient_record(self.names["amina"], ["Task"])
        bodies = [strict.decode(t.body or b"") for t in found]
        return sorted(b["status"] for b in bodies if b["code"]["coding"][0]["code"] == "check-identity")

    async def pulses(self) -> list[str]:
        found = await self.house.store.patient_record(self.names["amina"], ["Observation"])
        return sorted(strict.decode(o.body or b"")["code"]["text"] for o in found)

    async def quarantined(self) -> list[str]:
        return sorted(k.removeprefix("hub ") for k in await self.house.store.kept_all("quarantine", self.now, "hub "))

    def sent(self) -> set[str]:
        """Types of which that server ever got a copy of ours."""
        return {str(k.body["resourceType"]) for k in self.there.history if k.body is not None and tags.codes(k.body)}

    def people(self) -> list[str]:
        return [f"Patient/{p['id']}" for p in self.there.named("Patient")]


@pytest_asyncio.fixture
async def here(tmp_path: Path) -> AsyncIterator[Here]:
    """Amina's record here, which she lets the surgery see; the surgery's server, where she may be known already."""
    with mail_server() as post, scripted() as there:
        place = Here(post)
        there.clock = lambda: place.now
        yield await place.begin(store := await sqlite.open(tmp_path / "store.sqlite", clock=lambda: place.now), there)
        await place.partner.server.close()
        await store.close()


# -- the same there already -----------------------------------------------------------------------------------------------


async def test_who_is_there_already_is_found_and_not_made_again_and_what_they_hold_comes(here: Here) -> None:
    hers = here.there.write(person(telecom=[{"system": "phone", "value": "0113 496 0000"}]))
    surgery = here.there.write({"resourceType": "Organization", "name": "The Surgery", "identifier": [{"system": ODS_CODE, "value": "surgery"}]})
    there = f"Patient/{hers['id']}"
    here.there.write(pulse(there))
    by = {"performer": [{"reference": here.names["surgery"]}]}
    body = {**pulse(here.names["amina"], "weight"), **by}
    await gate.create(here.hospital, "Observation", strict.dump(body))
    await here.goal()
    await here.round()
    assert here.people() == [there] and here.there.held[there] == hers, "nothing of hers is written over"
    assert [o["id"] for o in here.there.named("Organization") if o["name"] == "The Surgery"] == [surgery["id"]]
    assert here.there.held[f"Organization/{surgery['id']}"] == surgery
    (goal,) = here.there.named("Goal")
    assert goal["subject"]["reference"] == there
    (weight,) = [o for o in here.there.named("Observation") if tags.codes(o)]
    assert weight["performer"][0]["reference"] == f"Organization/{surgery['id']}"
    assert await here.pulses() == ["pulse 70", "weight"]
    assert await here.doubts() == [] and await here.tasks() == [] and await here.quarantined() == []
    await here.sound()


def slowly(*of: Any) -> Any:
    return pytest.param(*of, marks=pytest.mark.slow)


NOT_OFFERED = json.dumps({"resourceType": "OperationOutcome", "issue": [{"severity": "error", "code": "not-supported"}]}).encode()


@pytest.mark.parametrize(
    ("habits", "refused"),
    [
        ({}, {}), ({"ignores": ("identifier",)}, {}), slowly({"own_link": True}, {}), slowly({"ignores": ("identifier",), "own_link": True}, {}),
        slowly({}, {"method": "POST", "status": 405}), slowly({}, {"method": "POST", "status": 501}), slowly({}, {"method": "POST", "status": 403, "body": NOT_OFFERED}),
    ],
)  # fmt: skip
@pytest.mark.parametrize("same", [True, False])
async def test_whoever_names_no_search_is_asked_who_is_who_all_the_same(here: Here, habits: Body, refused: Body, same: bool) -> None:
    """`searchParam` is optional. Whatever comes back is looked at for the number itself, also where that server takes no notice of what it was asked."""
    here.there.habits, here.partner.abilities = Habits(searched=False, **habits), None
    if refused:
        here.there.fault(path="Patient/_search", **refused)
    here.there.write(person("9434765870", "1999-01-01", "Somebody"))
    there = f"Patient/{here.there.write(person(family='Example' if same else 'Another'))['id']}"
    await here.goal()
    await here.round()
    assert len(here.people()) == 2 and (("Goal" in here.sent()) is same), "nobody is made there, and nothing goes to whom it may not be"
    assert await here.doubts() == ([] if same else [("disagrees", (there,))])
    assert (await worker.status(here.house, here.partner))["identity_search"] is ("ignores" not in habits)


@pytest.mark.parametrize(
    ("named", "fault"),
    [
        (False, {"status": 403}), *(slowly(False, {"status": status}) for status in (400, 404, 405, 422, 501)), (True, {"status": 403, "body": NOT_OFFERED}),
        slowly(True, {"status": 501}), slowly(False, {"status": 400, "body": b"no"}), slowly(False, {"body": NOT_OFFERED}),
        slowly(False, {"body": page(json.dumps({"resource": json.loads(NOT_OFFERED)}).encode())}),
    ],
)  # fmt: skip
async def test_where_it_cannot_be_asked_who_is_who_people_are_made_there_and_that_is_said(here: Here, named: bool, fault: Body) -> None:
    here.there.habits, here.partner.abilities = Habits(searched=named), None
    here.there.fault("", "Patient", when=lambda a: "_search" in a.path or "identifier" in a.query, **fault)
    await here.goal()
    assert (await worker.status(here.house, here.partner))["identity_search"] is None
    await here.round()
    assert len(here.people()) == 1 and "Goal" in here.sent()
    status = await worker.status(here.house, here.partner)
    assert status["identity_search"] is False and status["quiet"] is status["first_sync"] and not status["identity"]
    assert "cannot be asked who is who: people are made there without looking" in "\n".join(saying.lines(status))
    here.names["amina"] = str((await gate.create(here.hospital, "Patient", strict.dump(person("9434765870")))).ref)
    await here.yes_to_the_surgery()
    await here.round()
    assert len(here.people()) == 2
    assert named or len(here.there.requests("POST", "Patient/_search")) == 1, "whoever does not offer it is told no more numbers"


@pytest.mark.parametrize(("searched", "own_link"), [slowly(False, True), (False, False), slowly(True, True)])
async def test_whoever_takes_no_notice_of_the_number_cannot_be_asked_who_is_who(here: Here, searched: bool, own_link: bool) -> None:
    """It answers with everybody, page by page; or with nobody, and says by its own link what it took notice of."""
    here.there.habits, here.partner.abilities = Habits(searched=searched, ignores=("identifier",), own_link=own_link, page=5), None
    for n in range(0 if own_link else 9):
        here.there.write(person(f"94347658{n:02}", "1999-01-01", "Somebody"))
    await here.goal()
    await here.round()
    assert "Goal" in here.sent() and (await worker.status(here.house, here.partner))["identity_search"] is False


async def test_a_search_that_is_named_and_fails_for_now_makes_nobody_there(here: Here) -> None:
    here.there.fault("POST", "Patient/_search", times=2, status=400)
    here.there.fault("POST", "Patient/_search", times=1, status=503)
    await here.goal()
    await here.round(1)
    assert here.people() == [] and (await worker.status(here.house, here.partner))["identity_search"] is None


async def test_another_birth_date_sends_nothing_and_takes_nothing_and_somebody_is_asked_to_look(here: Here) -> None:
    there = f"Patient/{here.there.write(person(born='1951-07-04'))['id']}"
    theirs = f"Observation/{here.there.write(pulse(there))['id']}"
    await here.goal()
    await here.round()
    assert here.sent() & {"Patient", "Goal", "Observation", "Task"} == set() and here.people() == [there]
    assert await here.pulses() == [] and await here.quarantined() == [theirs]
    assert await here.doubts() == [("disagrees", (there,))] and await here.tasks() == ["requested"]
    await here.round()
    assert await here.tasks() == ["requested"], "one Task, however often it is tried"
    # somebody there puts the date right
    here.there.write({**here.there.held[there], "birthDate": BORN})
    await here.round()
    assert await here.doubts() == [] and await here.tasks() == ["completed"]
    assert "Goal" in here.sent() and here.people() == [there] and "Task" not in here.sent(), "whom we asked to look is nobody's business"
    assert await here.pulses() == ["pulse 70"] and await here.quarantined() == []
    await here.sound()


async def test_without_her_yes_nobody_there_is_asked_and_no_address_ever_has_her_number(here: Here) -> None:
    here.there.write(person())
    await here.change(here.me, here.yes, status="inactive")
    await here.goal()
    await here.round()
    assert here.there.requests("POST", "Patient/_search") == [], "a search says that she is known here"
    await here.change(here.me, here.yes, status="active")
    await here.round()
    (asked,) = here.there.requests("POST", "Patient/_search")
    assert NUMBER.encode() in asked.raw and "Goal" in here.sent()
    assert not [a for a in here.there.asked if NUMBER in str(a.query)]
    rows = await here.house.store.notes(patient=here.names["amina"], count=500)
    assert [n.allowed for n in rows if "is asked who has this NHS number" in n.detail] == [True]


async def test_her_yes_taken_back_takes_ours_and_leaves_theirs(here: Here) -> None:
    there = f"Patient/{here.there.write(person())['id']}"
    before = here.there.held[there]
    goal = await here.goal()
    await here.round()
    assert "Goal" in here.sent()
    await here.change(here.hospital, "amina", telecom=[{"system": "phone", "value": "0113 496 0000"}])
    await here.round()
    await here.change(here.me, here.yes, status="inactive")
    await here.round()
    assert here.there.named("Goal") == [] and here.there.held[there] == before
    rows = await here.house.store.ledger(remote="hub", patient=here.names["amina"])
    assert {d.ref for d in rows} == {goal} and all(d.recalled for d in rows), "nothing of her entry was ever sent"
    await here.sound()


@pytest.mark.slow
async def test_a_copy_of_another_gateways_own_record_is_in_step_with_it_both_ways(here: Here) -> None:
    """It is known by its tag, and no stranger's record of the same person."""
    hers = here.there.write(person("9449305552"))
    name, there = "0123456789abcdef", f"Patient/{hers['id']}"
    named = {"implementation": {"description": "another", "extension": [{"url": GATEWAY, "valueString": name}]}}
    here.there.fault("GET", "metadata", change=lambda body: {**body, **named})
    here.partner.abilities = None
    copy = person("9449305552", meta={"tag": [{"system": copies.SYSTEM, "code": f"{name}.{hers['id']}"}]})
    here.names["amina"] = str((await gate.create(here.hospital, "Patient", strict.dump(copy))).ref)
    rule = {"type": "permit", "period": {"end": "2040-12-31"}, "action": ACTIONS, "actor": [{"role": RECIPIENT, "reference": {"reference": here.names["surgery"]}}]}
    await here.grant(provision={"provision": [rule]})
    await here.goal()
    await here.round()
    assert [p["id"] for p in here.there.named("Patient") if p["identifier"] == hers["identifier"]] == [hers["id"]]
    assert here.there.named("Goal")[0]["subject"]["reference"] == there
    await here.change(here.hospital, "amina", telecom=[{"system": "phone", "value": "0113 496 0000"}])
    await here.round()
    assert here.there.held[there].get("telecom") == [{"system": "phone", "value": "0113 496 0000"}] and await here.doubts() == []


# -- not sure any more (E20) ----------------------------------------------------------------------------------------------

CHANGES: dict[str, Body] = {
    "changed": {"identifier": [{"system": NHS_NUMBER, "value": "9449305552"}]},
    "merged": {"link": [{"type": "replaced-by", "other": {"reference": "Patient/x"}}]},
    "inactive": {"active": False},
}


@pytest.mark.slow
@pytest.mark.parametrize("made", ["theirs", "ours"])
@pytest.mark.parametrize("why", ["changed", "merged", "inactive", "deleted"])
async def test_who_becomes_somebody_else_there_waits_and_nothing_is_written_across(here: Here, made: str, why: str) -> None:
    if made == "theirs":
        here.there.write(person())
    first = await here.goal()
    await here.round()
    (there,) = here.people()
    was = here.there.held[there]
    mine = await here.house.store.get(Ref(*here.names["amina"].split("/")))
    assert mine is not None
    if why == "deleted":
        here.there.remove(there)
    else:
        here.there.write({**was, **CHANGES[why]})
    await here.round(1)
    assert await here.doubts() == [(why, (there,))] and await here.tasks() == ["requested"]
    await here.goal("read")
    here.there.write(pulse(there))
    (copy,) = here.there.named("Goal")
    here.there.write({**copy, "note": [{"text": "of whom?"}]})
    await here.round()
    assert len(here.there.named("Goal")) == 1 and await here.pulses() == [] and len(here.people()) == (why != "deleted")
    assert "of whom?" not in str(await here.house.store.get(first)), "nor what is changed there of hers"
    now = await here.house.store.get(mine.ref)
    assert now is not None and now.body == mine.body, "nothing of it is taken over here, nothing is deleted here"
    await here.change(here.me, here.yes, status="inactive")
    await here.round()
    assert here.there.named("Goal") == [], "a recall goes on"
    await here.change(here.me, here.yes, status="active")
    if why == "deleted":
        here.there.write(person())
    elif there in here.there.held:  # what was ours went with the recall
        here.there.write({k: v for k, v in {**here.there.held[there], "active": True, **{k: was.get(k) for k in ("identifier", "link")}}.items() if v})
    await here.round()
    assert await here.doubts() == [] and await here.tasks() == ["completed"] and len(here.there.named("Goal")) == 2
    (again,) = here.people()
    assert {g["subject"]["reference"] for g in here.there.named("Goal")} == {again}
    await here.sound()


@pytest.mark.slow
async def test_what_was_put_aside_comes_once_it_is_sure_again(here: Here) -> None:
    here.there.write(person())
    goal = await here.goal()
    await here.round()
    (there,), (copy,) = here.people(), here.there.named("Goal")
    was = here.there.held[there]
    here.there.write({**was, "birthDate": "1951-07-04"})
    await here.round(1)
    here.there.write({**copy, "note": [{"text": "she walks again"}]})
    here.there.write(pulse(there))
    await here.round()
    assert await here.pulses() == [] and len(await here.quarantined()) == 3
    here.there.write({**here.there.held[there], "birthDate": BORN})
    here.now += timedelta(seconds=61)
    await worker.once(here.house, here.partner)
    assert (await worker.status(here.house, here.partner))["quiet"], "one round is enough"
    assert "she walks again" in str(await here.house.store.get(goal)) and await here.pulses() == ["pulse 70"]
    assert await here.quarantined() == [] and await here.doubts() == []
    await here.sound()


@pytest.mark.slow
@pytest.mark.parametrize("made", ["theirs", "ours"])
async def test_a_number_that_is_corrected_here_never_makes_her_somebody_else_there(here: Here, made: str) -> None:
    if made == "theirs":
        here.there.write(person())
    await here.goal()
    await here.round()
    (hers,) = here.people()
    other = f"Patient/{here.there.write(person('9449305552', '1980-02-02', 'Other'))['id']}"
    before = {n: dict(here.there.held[n]) for n in (hers, other)}
    await here.change(here.hospital, "amina", identifier=person("9449305552")["identifier"])
    await here.goal("read")
    await here.round()
    ((why, _),) = await here.doubts()
    assert why == ("changed" if made == "theirs" else "several")
    assert {n: here.there.held[n] for n in (hers, other)} == before and len(here.there.named("Goal")) == 1
    # the number was another's after all, and is put back here
    await here.change(here.hospital, "amina", identifier=person()["identifier"])
    await here.round()
    assert await here.doubts() == [] and len(here.there.named("Goal")) == 2 and set(here.people()) == {hers, other}
    await here.sound()


@pytest.mark.slow
async def test_of_several_there_a_person_says_which(here: Here) -> None:
    first, second = (f"Patient/{here.there.write(person(family=f))['id']}" for f in ("Example", "Example"))
    theirs = f"Observation/{here.there.write(pulse(second))['id']}"
    await here.goal()
    await here.round()
    assert await here.doubts() == [("several", (first, second))] and "Goal" not in here.sent()
    assert await here.quarantined() == [theirs]
    me = Ref(*here.names["amina"].split("/"))
    wrong = f"Patient/{here.there.write(person('9449305552'))['id']}"
    for name, evidence, said in ((wrong, "seen", "must be the same"), ("Patient/none", "seen", "no `Patient/none`"), (second, " ", "evidence")):
        with pytest.raises(Problem, match=said):
            await recognising.same(here.house, here.partner, here.operator, me, name, evidence)
    assert len(await here.doubts()) == 1
    await recognising.same(here.house, here.partner, here.operator, me, second, "their registrar said so by telephone")
    await here.round()
    assert await here.doubts() == [] and await here.tasks() == ["completed"] and await here.pulses() == ["pulse 70"]
    assert [g["subject"]["reference"] for g in here.there.named("Goal")] == [second]
    rows = await here.house.store.notes(patient=str(me), count=500)
    assert [n.user for n in rows if "their registrar said so" in n.detail] == ["Device/op"]


async def test_a_link_that_was_made_meanwhile_is_not_written_over_by_what_was_found(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    there = f"Patient/{here.there.write(person())['id']}"
    meanwhile = Linked("hub", Ref(*here.names["amina"].split("/")), "Patient/meanwhile", "", "", 1, b"{}", b"{}")
    commit = here.house.store.commit

    async def raced(*ops: Any) -> None:
        if any(isinstance(op, Linked) and op.remote_id == there for op in ops) and await here.link(here.names["amina"]) is None:
            await commit(meanwhile)
        await commit(*ops)

    monkeypatch.setattr(here.house.store, "commit", raced)
    await push(here.house, here.partner, "w")
    assert (await here.link(here.names["amina"])).remote_id == "Patient/meanwhile"


async def test_two_people_without_an_nhs_number_are_never_said_to_be_the_same(here: Here) -> None:
    twin = {"resourceType": "Patient", "birthDate": BORN, "name": [{"family": "Twin", "given": ["Ada"]}]}
    ours = (await gate.create(here.hospital, "Patient", strict.dump(twin))).ref
    theirs = here.there.write({**twin, "name": [{"family": "Twin", "given": ["Bea"]}]})
    with pytest.raises(Problem, match="must be the same"):
        await recognising.same(here.house, here.partner, here.operator, ours, f"Patient/{theirs['id']}", "somebody said so")
    assert await here.link(ours) is None


@pytest.mark.slow
async def test_one_404_is_not_enough_of_a_copy_of_ours_that_was_made_beside_theirs(here: Here) -> None:
    """No link leads to it any more, and it was seen there: it is looked at again until it is gone."""
    await here.goal("secret")
    await here.round()
    (ours,) = here.people()
    second = f"Patient/{here.there.write(person())['id']}"
    me = Ref(*here.names["amina"].split("/"))
    await here.round()
    await recognising.same(here.house, here.partner, here.operator, me, second, "their registrar said so by telephone")
    here.there.fault("", ours, times=2, status=404)
    await here.round(12)
    now = await worker.status(here.house, here.partner)
    assert here.people() == [second] and (now["recalls_open"], now["queued"], now["missing"]) == (0, 0, 0)


@pytest.mark.slow
async def test_a_copy_of_ours_that_was_made_beside_theirs_goes_once_theirs_is_named(here: Here) -> None:
    await here.goal()
    await here.round()
    (ours,) = here.people()
    theirs = f"Patient/{here.there.write(person())['id']}"
    late = f"Observation/{here.there.write(pulse(theirs))['id']}"
    await here.round()
    assert await here.quarantined() == [late] and await here.doubts() == [], "which is hers is known: what goes there goes on"
    await recognising.same(here.house, here.partner, here.operator, Ref(*here.names["amina"].split("/")), theirs, "seen")
    await here.round()
    assert here.people() == [theirs] and [g["subject"]["reference"] for g in here.there.named("Goal")] == [theirs]
    assert await here.pulses() == ["pulse 70"] and await here.quarantined() == []
    rows = await here.house.store.ledger(remote="hub", patient=here.names["amina"])
    assert {d.ref.type for d in rows if d.recalled} == {"Patient"} and ours not in here.there.held
    await here.sound()


@pytest.mark.slow
async def test_one_record_there_is_never_linked_to_two_people_here(here: Here) -> None:
    there = f"Patient/{here.there.write(person())['id']}"
    await here.goal()
    await here.round()
    other = person("9449305552")
    here.names["bea"] = str((await gate.create(here.hospital, "Patient", strict.dump(other))).ref)
    stored = await here.house.store.get(Ref(*here.names["bea"].split("/")))
    assert stored is not None
    taken = await recognising._taken(here.house, here.partner, stored.ref, there)
    assert str(taken) == here.names["amina"]


# -- inward ---------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
async def test_what_they_write_about_somebody_unlinked_comes_and_what_they_had_before_with_it(here: Here) -> None:
    """Nothing goes there: she is found from their side."""
    here.house.remotes = (terms := Remote("hub", here.names["surgery"], direction="in"),)
    here.partner.terms = terms
    there, stranger = (f"Patient/{here.there.write(p)['id']}" for p in (person(), person("9449305552", family="Stranger")))
    here.there.write(pulse(there, "before"), at=here.now - timedelta(days=900))
    here.there.write(pulse(stranger, "not hers"))
    here.there.write(pulse(there, "now"))
    await here.round(1)
    await here.round(1)
    assert await here.pulses() == ["before", "now"]
    assert len(here.there.requests("GET", stranger)) <= 2 and await here.quarantined() == []
    assert await here.house.store.link_by_remote("hub", stranger) is None


@pytest.mark.slow
@pytest.mark.parametrize("there", [{"identifier": {}}, {"identifier": [1]}, {"name": "Example"}, {"link": [None]}, {"meta": 1}])
async def test_a_person_there_of_no_shape_is_nobody_and_stops_nothing(here: Here, there: Body) -> None:
    name = here.there.write(person())["id"]
    here.there.fault("GET", f"Patient/{name}", body=strict.dump(person(id=name) | {k: v for k, v in there.items() if v != [None]} | ({"link": [1]} if "link" in there else {})))
    here.there.write(pulse(f"Patient/{name}"))
    await pull(here.house, here.partner)
    assert await here.pulses() == []
    await here.goal()
    here.there.well()
    await here.round()
    assert "Goal" in here.sent()


@pytest.mark.slow
async def test_who_is_stopped_between_finding_and_reading_reads_it_after(here: Here) -> None:
    here.there.write(pulse("Patient/nobody"))
    await pull(here.house, here.partner)  # the feed is read so far
    there = f"Patient/{here.there.write(person())['id']}"
    here.there.write(pulse(there), at=here.now - timedelta(days=900))
    await here.goal()
    here.there.fault("GET", "Observation", status=503, times=1, when=lambda a: "patient" in a.query)
    await here.round(1)
    assert "Goal" in here.sent() and await here.pulses() == []
    await here.round(2)
    assert await here.pulses() == ["pulse 70"]
    assert await here.house.store.kept_all("identity-met", here.now) == {}


# -- the directory ---------------------------------------------------------------------------------------------------------


@pytest.mark.slow
async def test_an_entry_of_their_directory_is_theirs_and_says_nothing_here(here: Here) -> None:
    ods = [{"system": ODS_CODE, "value": "surgery"}]
    old = here.there.write({"resourceType": "Organization", "active": False, "name": "Old", "identifier": ods})
    now = here.there.write({"resourceType": "Organization", "name": "Now", "identifier": ods})
    gmc = [{"system": "https://fhir.hl7.org.uk/Id/gmc-number", "value": "1234567"}]
    await here.change(here.operator, "asha", identifier=gmc)
    other = here.there.write({"resourceType": "Practitioner", "name": [{"family": "Somebody"}], "identifier": gmc})
    for by in ("surgery", "asha"):
        body = {**pulse(here.names["amina"]), "performer": [{"reference": here.names[by]}]}
        await gate.create(here.hospital, "Observation", strict.dump(body))
    await here.round()
    performers = {o["performer"][0]["reference"] for o in here.there.named("Observation")}
    (made,) = [f"Practitioner/{p['id']}" for p in here.there.named("Practitioner") if p["id"] != other["id"]]
    assert performers == {f"Organization/{now['id']}", made}, "a number with another name is another person"
    here.there.write({**now, "name": "Renamed there"})
    await here.round()
    surgery = await here.house.store.get(Ref(*here.names["surgery"].split("/")))
    assert surgery is not None and surgery.version == 1 and await here.quarantined() == []
    here.there.remove(f"Organization/{now['id']}")
    await here.round()
    assert await here.quarantined() == [] and (await here.link(here.names["surgery"])).gone
    assert here.there.held[f"Organization/{old['id']}"] == old


# -- two people in one, and parted again (H03) -----------------------------------------------------------------------------


async def test_a_wrong_merge_sends_and_its_undoing_takes_back(here: Here) -> None:
    """Amina said yes to her surgery. Bea did not. Their records are merged by mistake: Bea's goal goes to Amina's surgery by Amina's
    yes. The mistake is found: the goal is taken back, the ledger says from when to when, and both may read why. Twice."""
    here.names["bea"] = str((await gate.create(here.hospital, "Patient", strict.dump(person("9449305552", "1970-01-01", "Bee")))).ref)
    goal = await here.goal("knit", "bea")
    await here.round(1)
    assert here.there.named("Goal") == []
    amina, bea = (here.names[n].removeprefix("Patient/") for n in ("amina", "bea"))

    async def news(whose: str) -> int:
        items = await here.house.store.outbox_items("tell:patient", "queued", 100, patient=here.names[whose])
        return len([i for i in items if i["why"] == "new-access"])

    before = await news("amina")
    for time in (1, 2):
        await merging.merge(here.operator, bea, amina, evidence=f"looked alike, {time}")
        assert (await news("bea"), await news("amina")) == (time, before), "somebody is let into her record by another's yes: she is told"
        await here.round()
        (copy,) = here.there.named("Goal")
        assert copy["description"]["text"] == "knit"
        assert await merging.unmerge(here.operator, bea, amina, evidence=f"two people after all, {time}") >= 1
        await here.round()
        assert here.there.named("Goal") == []
        rows = [d for d in await here.house.store.ledger(remote="hub") if d.ref == goal]
        assert len(rows) >= 1 and all(d.patient == here.names["bea"] and d.recalled for d in rows)
        for whose in ("amina", "bea"):
            said = [n.detail for n in await here.house.store.notes(patient=here.names[whose], count=500) if n.what == "record"]
            assert any(f"looked alike, {time}" in d for d in said) and any(f"two people after all, {time}" in d for d in said)
        told = [n.what for n in await here.house.store.notes(patient=here.names["bea"], count=500) if n.what in ("disclose", "recall") and n.allowed]
        assert told.count("recall") >= time, "she reads what was sent and taken back"
    await here.sound()


@pytest.mark.slow
async def test_a_merge_is_for_operators_with_evidence_and_is_undone_only_where_there_is_one(here: Here) -> None:
    here.names["bea"] = str((await gate.create(here.hospital, "Patient", strict.dump(person("9449305552")))).ref)
    amina, bea = (here.names[n].removeprefix("Patient/") for n in ("amina", "bea"))
    for ctx, one, other, evidence, kind in (
        (here.hospital, bea, amina, "seen", "forbidden"), (here.operator, bea, amina, " ", "business-rule"), (here.operator, bea, bea, "seen", "bad-request"),
        (here.operator, bea, "nobody", "seen", "not-found"),
    ):  # fmt: skip
        with pytest.raises(Problem) as wrong:
            await merging.merge(ctx, one, other, evidence=evidence)
        assert wrong.value.kind == kind
    with pytest.raises(Problem, match="not merged"):
        await merging.unmerge(here.operator, bea, amina, evidence="seen")
    await merging.merge(here.operator, bea, amina, evidence="seen")
    with pytest.raises(Problem, match="merged already"):
        await merging.merge(here.operator, amina, bea, evidence="seen")
    await merging.unmerge(here.operator, amina, bea, evidence="seen")


# -- a push about the wrong person (H01) -----------------------------------------------------------------------------------


@pytest.mark.slow
async def test_what_was_pushed_into_the_wrong_record_is_taken_back_where_it_went(here: Here) -> None:
    """The hospital sends Bea's weight into Amina's record. It goes to Amina's surgery. The hospital takes it back: it goes there, too."""
    body = pulse(here.names["amina"], "weight 90")
    made = await gate.create(here.hospital, "Observation", strict.dump(body))
    await here.round()
    assert [o["code"]["text"] for o in here.there.named("Observation")] == ["weight 90"]
    await gate.remove(here.hospital, made.ref, if_match=made.version)
    await here.round()
    assert here.there.named("Observation") == []
    rows = [d for d in await here.house.store.ledger(remote="hub") if d.ref == made.ref]
    assert rows and all(d.recalled for d in rows)


# -- one person twice (H02) ------------------------------------------------------------------------------------------------


async def test_who_may_be_here_twice_is_listed_by_id_for_an_operator(here: Here) -> None:
    async def add(number: str, **more: Any) -> str:
        body = person(number, **more)
        return str((await gate.create(here.hospital, "Patient", strict.dump(body if number else {k: v for k, v in body.items() if k != "identifier"}))).ref)

    twin = await add("")
    await add("9449305552")  # another number: another person
    await add("", born="1960-01-01")
    named = await add("", family="Éxample")
    pairs = {frozenset((a.one, a.other)): a.numbered for a in await merging.alike(here.operator)}
    amina = here.names["amina"]
    assert pairs[frozenset((amina, twin))] == amina and pairs[frozenset((twin, named))] == "" and frozenset((amina, named)) in pairs
    with pytest.raises(Problem):
        await merging.alike(here.me)
    await merging.merge(here.operator, twin.removeprefix("Patient/"), amina.removeprefix("Patient/"), evidence="seen")
    left = {frozenset((a.one, a.other)) for a in await merging.alike(here.operator)}
    assert frozenset((amina, twin)) not in left and len(left) == len(pairs) - 1


@pytest.mark.slow
def test_an_operator_joins_parts_and_lists_from_the_command_line(demo: Gateway) -> None:
    numbered, bare = person("9449305552", "1944-02-29", "Twice"), person("", "1944-02-29", "Twice")
    one, two = (demo.call("hospital", "POST", "Patient", body=b).json()["id"] for b in (numbered, {k: v for k, v in bare.items() if k != "identifier"}))

    def listed() -> list[tuple[str, str]]:
        done = demo.command("patients", "duplicates", "--json")
        found = [json.loads(line) for line in done.stdout.splitlines()]
        assert done.returncode == bool(found), done.stderr
        return [(i["one"], i["other"]) for i in found if f"Patient/{one}" in (i["one"], i["other"])]

    assert listed() == [tuple(sorted((f"Patient/{one}", f"Patient/{two}")))]
    merged = demo.command("patients", "merge", two, "9449305552", "--evidence", "seen together")
    assert merged.returncode == 0 and f"Patient/{two} is merged into Patient/{one}" in merged.stdout, merged.stderr
    assert listed() == []
    again = demo.command("patients", "merge", two, one, "--evidence", "seen together")
    assert again.returncode != 0 and "merged already" in again.stderr and len(again.stderr.splitlines()) == 1
    assert demo.command("patients", "unmerge", one, two, "--evidence", "two people").returncode == 0
    assert len(listed()) == 1
    none = demo.command("patients", "settle", one, "hub")
    assert none.returncode != 0 and len(none.stderr.splitlines()) == 1, none.stderr


async def test_a_dry_run_says_who_waits_and_what_waits_with_them(here: Here) -> None:
    here.there.write(person(family="Sample"))
    await here.goal()
    await here.round()
    assert [d for d, _ in await here.doubts()] == ["disagrees"]
    goal = await here.goal("swim")
    asked = len(here.there.asked)
    found = {i["ref"]: (i["would"], i["why"]) async for i in worker.preview(here.house, here.partner)}
    amina = here.names["amina"]
    assert found[amina] == ("wait", "identity: The record there with this NHS number has another date of birth or family name.")
    assert found[str(goal)][0] == "wait" and amina in found[str(goal)][1] and len(here.there.asked) == asked
