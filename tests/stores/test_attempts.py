"""A push leaves nothing behind that nobody knows of: whatever is lost, killed or changed on the way."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import pytest_asyncio

from fhir_gateway import gate
from fhir_gateway.domain import copies, strict
from fhir_gateway.domain.capability import GATEWAY
from fhir_gateway.domain.types import Disclosed, Linked, Op, Ref, Send
from fhir_gateway.gate import Remote, waiting_room
from fhir_gateway.gate.ended import to_ask_for
from fhir_gateway.gate.retaining import Due, take_back
from fhir_gateway.remote.client import Down, RemoteServer, Unknown
from fhir_gateway.sync import worker
from fhir_gateway.sync.backfill import backfill
from fhir_gateway.sync.ending import gone
from fhir_gateway.sync.partner import Partner
from fhir_gateway.sync.pull import pull
from fhir_gateway.sync.push import push
from fhir_gateway.sync.reading_back import lost

from ..faults.scripted import Kept
from ..staff import consent, permit
from ..telling.place import Place
from ..telling.servers import mail_server
from ..test_remotes import Recorder
from .making import Reopen


class Hub(Recorder):
    """A versioned FHIR server that can be searched by tag, has a history, and may lose its answers."""

    def __init__(self) -> None:
        super().__init__()
        self.loses: set[str] = set()  # methods that are applied, and whose answer is lost
        self.refuses: dict[str, int] = {}  # "METHOD Type" -> status, nothing applied
        self.drops: set[str] = set()  # elements that it does not keep
        self.hides: set[str] = set()  # a gateway's, whose person keeps these from us
        self.deleted: list[str] = []
        self.ever: list[str] = []  # "Type/ours" of whatever it has held
        self.history: list[Kept] = []
        self.fetched: list[tuple[str, dict[str, Any]]] = []
        self.searchable = self.strict = self.conditional = self.elsewhere = True
        self.keeps = False  # does it refuse to delete what is referred to

    def answer(self, method: str, path: str, sent: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        type = path.split("?")[0].split("/")[0]
        if status := self.refuses.get(f"{method} {type}"):
            return status, outcome(f"no {method} of {type}")
        status, body = self.done(method, path, sent, type)
        return (0, {}) if method in self.loses and status < 300 else (status, body)

    def done(self, method: str, path: str, sent: dict[str, Any], type: str) -> tuple[int, dict[str, Any]]:
        match = self.headers.get("if-match")
        if method in ("POST", "PUT") and not self.elsewhere and '"reference":"http' in strict.dump(sent).decode():
            return 400, outcome("a reference to another server")
        if method == "POST":
            found = self.tagged(type, self.headers.get("if-none-exist", "").partition("|")[2])
            if found and self.conditional:
                return 200, found[0]
            self.numbers += 1
            return 201, self.keep(f"{type}/{self.numbers}", sent, 1)
        if path in self.deleted:
            return 410, outcome("gone")
        if path in self.hides:
            return 404, outcome("not here, or not for you")
        if method in ("PUT", "DELETE"):
            held = self.held.get(path)
            if held is None:
                return 404, outcome("not here")
            now = int(held["meta"]["versionId"])
            if match is None and self.strict:
                return 400, outcome("If-Match is required")
            if match is not None and match != f'W/"{now}"':
                return 412, outcome("another version")
            if method == "PUT":
                return 200, self.keep(path, sent, now + 1)
            if self.keeps and any(f'"reference":"{path}"' in strict.dump(r).decode() for r in self.held.values()):
                return 409, outcome("something refers to it")
            del self.held[path]
            self.deleted.append(path)
            return 200, outcome("deleted")
        return self.read(path, type)

    def read(self, path: str, type: str) -> tuple[int, dict[str, Any]]:
        if path == "metadata":
            types = [{"type": t, **({"conditionalCreate": True} if self.conditional else {})} for t in ("Goal", "Patient", "Task")]
            rest = {"mode": "server", "interaction": [{"code": "history-system"}], "resource": types}
            named = {"implementation": {"description": "a gateway", "extension": [{"url": GATEWAY, "valueString": "b" * 16}]}} if self.hides else {}
            return 200, {"resourceType": "CapabilityStatement", "rest": [rest], **named}
        if path.startswith("_history"):
            entries = [{"resource": r} for r in self.held.values()]
            entries += [{"request": {"method": "DELETE", "url": name}} for name in self.deleted]
            return 200, {"resourceType": "Bundle", "type": "history", "entry": entries}
        if "/_history" in path:
            return 404, outcome("no versions")
        if "?" in path:
            if not self.searchable:
                return 400, outcome("no search by _tag")
            found = self.tagged(type, parse_qs(urlsplit(path).query)["_tag"][0].partition("|")[2])
            return 200, {"resourceType": "Bundle", "type": "searchset", **({"entry": [{"resource": r} for r in found]} if found else {})}
        return (200, self.held[path]) if path in self.held else (404, outcome("not here"))

    def keep(self, name: str, sent: dict[str, Any], version: int) -> dict[str, Any]:
        kept = {k: v for k, v in sent.items() if k not in self.drops}
        stamp = {"versionId": str(version), "lastUpdated": f"2026-11-25T12:00:{version % 60:02}.000Z"}
        self.held[name] = {**kept, "id": name.split("/")[1], "meta": {**sent.get("meta", {}), **stamp}}
        self.history.append(Kept(name, str(version), datetime(2026, 11, 25, 12, tzinfo=UTC), self.held[name], "PUT"))
        self.ever += [f"{sent['resourceType']}/{code.rpartition('.')[2]}" for code in copies.codes(sent)]
        return self.held[name]

    def tagged(self, type: str, asked: str) -> list[dict[str, Any]]:
        """`asked` is `code,system|code…`, as it stands after the first `|` of a search."""
        codes = {one.rpartition("|")[2] for one in asked.split(",")}
        return [r for n, r in self.held.items() if n.startswith(f"{type}/") and codes & set(copies.codes(r))]

    def edit(self, name: str, **more: Any) -> None:
        held = self.held[name]
        self.keep(name, {**held, **more}, int(held["meta"]["versionId"]) + 1)

    def goals(self) -> list[str]:
        return [n for n in self.held if n.startswith("Goal/")]


def outcome(text: str) -> dict[str, Any]:
    return {"resourceType": "OperationOutcome", "issue": [{"severity": "error", "code": "processing", "diagnostics": text}]}


class Killed(BaseException):
    """The process is gone: nothing after this happens."""


class Mortal:
    """A store whose process may die: before the commits that `fatal` knows nothing is written any more."""

    def __init__(self, store: Any) -> None:
        self.store, self.fatal = store, lambda ops: False

    def __getattr__(self, name: str) -> Any:
        return getattr(self.store, name)

    async def commit(self, *ops: Op) -> None:
        if self.fatal(ops):
            self.fatal = lambda ops: False
            raise Killed
        await self.store.commit(*ops)


class Here(Place):
    partner: Partner
    there: Hub

    async def begin(self, store: Any, there: Hub) -> Here:
        self.there, self.mortal = there, Mortal(store)
        await self.open(self.mortal, Remote("hub", "surgery-code"))
        terms = Remote("hub", self.names["surgery"])
        self.house.remotes = (terms,)
        self.partner = Partner(terms, RemoteServer(there.url, lambda: self.now))
        await backfill(self.house, self.partner)
        await self.grant("surgery")
        await self.push()
        return self

    async def push(self, rounds: int = 12) -> None:
        """Rounds, each a minute later; a kill ends one, its lease runs out."""
        for _ in range(rounds):
            try:
                await push(self.house, self.partner, "w")
            except (Down, Unknown):
                continue
            except Killed:
                self.now += timedelta(seconds=61)
                return

    async def quiet(self, hours: float = 1) -> None:
        for _ in range(24):
            self.now += timedelta(hours=hours / 24)
            await self.push(4)

    async def goal(self, text: str = "walk", **more: Any) -> Ref:
        body = {"resourceType": "Goal", "lifecycleStatus": "active", "description": {"text": text}, "subject": {"reference": self.names["amina"]}, **more}
        ref = (await gate.create(self.me, "Goal", strict.dump(body))).ref
        self.names["goal"] = str(ref)
        return ref

    async def looked_after(self) -> None:
        """The surgery is in her care team, and has said yes: it may write, too."""
        team = {"resourceType": "CareTeam", "status": "active", "subject": {"reference": self.names["amina"]}}
        await gate.create(self.me, "CareTeam", strict.dump({**team, "participant": [{"member": {"reference": self.names["surgery"]}}]}))
        gp = await self.gp()
        for entry in (await gate.search(gp, "Task", [("patient", self.names["amina"].removeprefix("Patient/"))])).entries:
            await gate.accept(gp, entry.ref)

    async def no(self) -> None:
        """She takes back what lets anything go to the surgery."""
        for key in [k for k in self.names if k.startswith("consent")]:
            await self.change(self.me, key, status="inactive")

    async def rows(self, ref: Ref) -> list[Disclosed]:
        return [d for d in await self.house.store.ledger(remote="hub") if d.ref == ref]

    async def attempts(self) -> list[str]:
        return sorted(await self.house.store.kept_all("attempt", self.now, "hub "))

    async def body(self, ref: Ref) -> dict[str, Any]:
        stored = await self.house.store.get(ref)
        assert stored is not None and stored.body is not None, "it is gone here"
        return strict.read(stored.body)

    async def status(self) -> dict[str, Any]:
        return await worker.status(self.house, self.partner)


@pytest_asyncio.fixture
async def here(reopen: Reopen) -> AsyncIterator[Here]:
    """Amina's record, and the surgery's server, where she lets it go."""
    there = Hub()
    threading.Thread(target=there.server.serve_forever, args=(0.05,), daemon=True).start()
    with mail_server() as post:
        yield await (place := Here(post)).begin(await reopen(), there)
        await place.partner.server.close()
    there.server.shutdown()
    there.server.server_close()


def closing(kind: type) -> Any:
    """Dies where the answer of a request would be written down."""
    return lambda ops: any(isinstance(op, kind) for op in ops)


# -- consent is taken back after something left ------------------------------------------------------------------------------------


async def test_what_was_sent_without_an_answer_is_taken_back_and_in_the_ledger(here: Here) -> None:
    here.there.loses = {"POST"}
    ref = await here.goal()
    sent = here.now
    await here.push(1)
    assert here.there.goals(), "it arrived"
    here.there.loses = set()
    await here.no()
    await here.quiet()
    assert not here.there.goals()
    (row,) = await here.rows(ref)
    assert (row.version, row.at) == (1, sent) and row.recalled is not None and row.consent is not None
    assert await here.attempts() == [] and (await here.status())["quiet"]


@pytest.mark.parametrize("what", ["create", "update"])
async def test_who_is_killed_between_the_answer_and_the_commit_leaves_nothing_there(here: Here, what: str) -> None:
    ref = await here.goal()
    versions = [1]
    if what == "update":
        await here.push()
        await here.change(here.me, "goal", description={"text": "run"})
        versions = [1, 2]
    here.mortal.fatal = closing(Disclosed)
    await here.push(1)
    assert here.there.goals()
    await here.no()
    await here.quiet()
    assert not here.there.goals()
    rows = await here.rows(ref)
    assert [d.version for d in sorted(rows, key=lambda d: d.version)] == versions and all(d.recalled for d in rows)
    assert await here.attempts() == []


async def test_a_request_that_never_arrived_leaves_no_row_and_no_attempt(here: Here) -> None:
    here.there.refuses = {"POST Goal": 422}
    ref = await here.goal()
    await here.push(1)
    assert await here.attempts() == [], "the server said that it took nothing"
    here.partner.server.base, there = "http://127.0.0.1:9/fhir", here.partner.server.base
    other = await here.goal("run")
    await here.push(1)
    assert await here.attempts() == []
    here.partner.server.base = there
    await here.no()
    await here.quiet()
    assert await here.rows(ref) == [] == await here.rows(other)


@pytest.mark.parametrize("conditional", [True, False])
async def test_a_lost_answer_is_no_withdrawal(here: Here, conditional: bool) -> None:
    """Taken back and given again between: linked, one copy, one row since the moment that it left. Also where that server has no
    conditional create, and says so."""
    here.there.conditional, here.partner.abilities = conditional, None
    here.there.loses = {"POST"}
    ref = await here.goal()
    sent = here.now
    await here.push(1)
    here.there.loses = set()
    await here.no()
    await here.grant("surgery")
    await here.quiet()
    assert len(here.there.goals()) == 1 and here.there.ever.count(str(ref)) == 1
    (row,) = await here.rows(ref)
    assert (row.at, row.recalled) == (sent, None) and await here.attempts() == []


async def test_a_server_that_cannot_be_searched_is_told_of_and_the_attempt_stays_open(here: Here) -> None:
    here.there.loses, here.there.searchable = {"POST"}, False
    await here.goal()
    await here.push(1)
    here.there.loses = set()
    await here.no()
    await here.quiet(2)
    assert here.there.goals(), "nobody could find it"
    status = await here.status()
    assert status["recalls_open"] == 1 and not status["quiet"] and len(await here.attempts()) == 1
    told = [i for s in ("queued", "sent", "shown") for i in await here.house.store.outbox_items("tell:patient", s)]
    assert [i["why"] for i in told].count("recall-failed") >= 1
    here.there.searchable = True
    await here.house.store.requeue("hub", "parked", here.now)
    await here.quiet()
    assert not here.there.goals() and (await here.status())["recalls_open"] == 0


async def test_who_lost_the_lease_after_sending_has_it_looked_at(here: Here) -> None:
    """Another worker took the entry, looked there, found nothing yet, and closed it: what arrives then is taken back."""
    ref = await here.goal()
    kept = here.there.keep

    def slowly(*args: Any) -> dict[str, Any]:
        gone = here.mortal.commit

        async def commit(*ops: Op) -> None:  # the next commit of this worker comes when all that is over
            here.mortal.commit = gone  # type: ignore[method-assign]
            await here.no()
            here.now += timedelta(seconds=300)
            held, here.there.held = here.there.held, {n: b for n, b in here.there.held.items() if not n.startswith("Goal/")}
            for _ in range(4):
                await push(here.house, here.partner, "other")
            here.there.held = held
            await gone(*ops)

        here.mortal.commit = commit  # type: ignore[method-assign]
        here.there.keep = kept  # type: ignore[method-assign]
        return kept(*args)

    here.there.keep = slowly  # type: ignore[method-assign]
    await here.push(1)
    assert here.there.goals(), "it arrived late"
    await here.quiet()
    assert not here.there.goals() and all(d.recalled for d in await here.rows(ref)) and len(await here.rows(ref)) == 1


async def test_a_record_is_not_disposed_of_while_something_of_it_may_be_there(here: Here) -> None:
    here.there.loses = {"POST"}
    ref = await here.goal()
    await here.push(1)
    here.there.loses = set()
    over = Due(here.names["amina"], "rule", "2000-01-01", "2020-01-01", "copies", 1, 1)
    assert await take_back(here.operator, over) >= 1
    recalls = [i["ref"] for i in await here.house.store.outbox_items("hub", "queued") if i["why"] == "recall"]
    assert str(ref) in recalls
    await here.quiet()
    assert not here.there.goals()


# -- our own deletion, their deletion, their edit ------------------------------------------------------------------------------------


@pytest.mark.parametrize("lost", ["the answer", "the commit"])
async def test_a_deletion_that_we_began_is_never_applied_here(here: Here, lost: str) -> None:
    """Also not where the partner may write: the hospital, which reads there as well, is denied, the surgery is not."""
    ref = await here.goal()
    await here.push()
    (name,) = here.there.goals()
    here.partner.terms = Remote("hub", here.names["surgery"], audience=frozenset({here.names["hospital"]}))
    here.house.remotes = (here.partner.terms,)
    await here.refuse("hospital")
    if lost == "the answer":
        here.there.loses = {"DELETE"}
    else:
        here.mortal.fatal = lambda ops: any(isinstance(op, Disclosed) and op.recalled for op in ops)
    await here.push(1)
    await here.push(1)
    assert name in here.there.deleted
    here.there.loses = set()
    tally = await pull(here.house, here.partner)
    assert tally.refused == 0
    await here.quiet()
    await here.body(ref)
    assert all(d.recalled for d in await here.rows(ref)) and await here.attempts() == [] and (await here.status())["quiet"]
    await pull(here.house, here.partner)
    await here.body(ref)


async def unlinked(here: Here, ref: Ref) -> None:
    """The link is lost, as it is after a restore from before."""
    link = await here.house.store.link("hub", ref)
    assert link is not None
    stored = await here.house.store.get(ref)
    assert stored is not None
    await here.house.store.commit(replace(link, remote_id="Goal/lost", gone=True), Send("hub", ref, stored.version, here.names["amina"]))


@pytest.mark.parametrize("edit", [{"description": {"text": "swim"}}, {"startDate": "2026-11-01"}])
async def test_an_edit_there_survives_a_lost_link(here: Here, edit: dict[str, Any]) -> None:
    ref = await here.goal()
    await here.push()
    (name,) = here.there.goals()
    here.there.edit(name, **edit)
    await unlinked(here, ref)
    await here.quiet()
    ((key, there),) = [(k, v) for k, v in here.there.held.items() if k.startswith("Goal/")]
    ours = await here.body(ref)
    conflicts = await here.house.store.kept_all("conflict", here.now)
    refused = await here.house.store.kept_all("quarantine", here.now)
    kept = [strict.read(c) for c in (*conflicts.values(), *refused.values())]
    bodies = [ours, there, *(k.get(side, {}) for k in kept for side in ("ours", "theirs", "body"))]
    assert key == name and any(edit.items() <= b.items() for b in bodies)
    assert bool(conflicts) == ("description" in edit)
    rows = await here.rows(ref)
    assert rows and any(d.recalled is None for d in rows)


async def test_a_recall_waits_for_no_send_that_is_tried_again(here: Here) -> None:
    await here.goal()
    await here.push()
    here.there.refuses = {"POST Task": 409}
    task = {"resourceType": "Task", "status": "requested", "intent": "plan", "description": "call", "for": {"reference": here.names["amina"]}}
    await gate.create(here.me, "Task", strict.dump(task))
    for _ in range(4):
        await here.push(2)
        here.now += timedelta(seconds=20)
    waiting = await here.house.store.outbox_items("hub", "queued")
    assert waiting and waiting[0]["due"] > here.now
    about = [{"system": "http://hl7.org/fhir/resource-types", "code": "Goal"}]
    await here.refuse("surgery", class_=about)
    await here.push()
    assert not here.there.goals() and (await here.house.store.outbox_items("hub", "queued"))[0]["ref"].startswith("Task/")


async def test_a_recall_names_the_version_and_goes_before_their_edit(here: Here) -> None:
    ref = await here.goal()
    await here.push()
    (name,) = here.there.goals()
    here.there.edit(name, description={"text": "swim"})
    await here.no()
    await here.quiet()
    assert not here.there.goals() and all(d.recalled for d in await here.rows(ref))
    assert await here.house.store.kept_all("quarantine", here.now, "hub "), "their edit is kept for a person"


async def test_what_is_deleted_here_goes_there_though_they_changed_it(here: Here) -> None:
    ref = await here.goal()
    await here.push()
    (name,) = here.there.goals()
    here.there.edit(name, description={"text": "swim"})
    await gate.remove(here.me, ref, if_match=1)
    await here.quiet()
    assert not here.there.goals() and all(d.recalled for d in await here.rows(ref))


async def test_what_may_go_again_while_its_recall_waits_is_sent_again_after_it(here: Here) -> None:
    ref = await here.goal()
    await here.push()
    here.there.refuses = {"DELETE Goal": 503}
    await here.no()
    await here.push(3)
    await here.grant("surgery")
    await here.push(3)
    here.there.refuses = {}
    await here.quiet()
    assert len(here.there.goals()) == 1 and [d.recalled is None for d in await here.rows(ref)].count(True) == 1


@pytest.mark.parametrize("heard", ["by a pull", "by an answer"])
@pytest.mark.parametrize("decided", ["ours", "theirs"])
async def test_what_they_deleted_and_we_changed_is_not_made_anew_there_before_a_person_says_so(here: Here, heard: str, decided: str) -> None:
    ref = await here.goal()
    await here.push()
    (name,) = here.there.goals()
    del here.there.held[name]
    here.there.deleted.append(name)
    await here.change(here.me, "goal", description={"text": "run"})
    if heard == "by a pull":
        await pull(here.house, here.partner)
    await here.quiet()
    assert not here.there.goals() and (await here.body(ref))["description"]["text"] == "run"
    (conflict,) = await gate.conflicts(here.operator, content=True)
    assert conflict["theirs"] is None and conflict["ours"]["description"]["text"] == "run"
    await here.change(here.me, "goal", description={"text": "swim"})
    await here.quiet()
    assert not here.there.goals(), "nor after another edit"
    if decided == "ours":
        await gate.settle(here.operator, conflict["id"], "ours")
        await here.quiet()
        assert len(here.there.goals()) == 1 and await gate.conflicts(here.operator) == []
    else:
        await gate.settle(here.operator, conflict["id"], "theirs")
        stored = await here.house.store.get(ref)
        assert stored is not None and stored.deleted and await gate.conflicts(here.operator) == []


async def test_what_their_server_drops_is_flagged_once_and_not_taken_for_their_deletion(here: Here) -> None:
    here.there.drops = {"startDate"}
    ref = await here.goal(startDate="2026-11-01")
    await here.push()
    (name,) = here.there.goals()
    assert "startDate" not in here.there.held[name] and (await here.status())["dropped"] == 1
    await here.goal("run", startDate="2026-11-02")
    await here.push()
    assert list(await here.house.store.kept_all("dropped", here.now, "hub ")) == ["hub Goal.startDate"]
    here.there.edit(name, description={"text": "swim"})
    await pull(here.house, here.partner)
    (item,) = (await here.house.store.kept_all("quarantine", here.now, "hub ")).values()  # this partner may not write: it waits
    assert strict.read(item)["body"]["startDate"] == "2026-11-01" == (await here.body(ref))["startDate"]
    assert strict.read(item)["body"]["description"]["text"] == "swim"


LISTS = {"resourceType": "Goal", "id": "1", "text": {"div": "x"}, "note": [{"text": "a"}, {"text": "b", "time": "2026"}], "meta": {"tag": [{"code": "t"}]}}


@pytest.mark.parametrize(
    ("there", "paths"),
    [
        (LISTS, []),
        ({**LISTS, "id": "2", "text": {}, "extra": 1}, []),
        ({**LISTS, "note": [{"text": "a"}, {"text": "B"}]}, ["Goal.note.time"]),
        ({**LISTS, "note": [{"text": "a"}]}, ["Goal.note"]),
        ({"resourceType": "Goal", "note": LISTS["note"]}, ["Goal.meta.tag"]),
    ],
)
def test_what_was_sent_and_is_not_there_is_named_by_its_path(there: dict[str, Any], paths: list[str]) -> None:
    assert lost(LISTS, there) == paths


@pytest.mark.parametrize("then", ["no", "no and yes", "edited"])
@pytest.mark.parametrize("dies", range(1, 7))
async def test_wherever_it_is_killed_the_ledger_is_what_they_have_and_had(here: Here, dies: int, then: str) -> None:
    """Killed at the nth commit of sending two new goals, of sending a change, and of what follows a withdrawal."""

    async def cut_short() -> None:
        commits = count(1)
        here.mortal.fatal = lambda ops: next(commits) == dies
        await here.push(3)
        here.mortal.fatal = lambda ops: False

    refs = [await here.goal(), await here.goal("run")]
    await cut_short()
    await here.change(here.me, "goal", description={"text": "run far"})
    await cut_short()
    if then != "edited":
        await here.no()
        await cut_short()
    if then == "no and yes":
        await here.grant("surgery")
    await here.quiet()
    await pull(here.house, here.partner)
    await here.quiet()
    for ref in refs:
        there = here.there.tagged("Goal", f"{here.house.name}.{ref.id}")
        rows = await here.rows(ref)
        assert len(there) == (then != "no"), "one copy where it may be, none where it may not"
        assert any(d.recalled is None for d in rows) == bool(there), "the ledger is what they have"
        assert bool(rows) or str(ref) not in here.there.ever, "and what they had"
        assert (await here.body(ref))["description"]["text"] in ("walk", "run far")
    status = await here.status()
    assert status["quiet"] and status["recalls_open"] == 0 and await here.attempts() == []


async def test_a_server_that_takes_no_reference_to_another_one_gets_it_as_an_identifier(here: Here) -> None:
    there = "https://other.example/fhir/Condition/1"
    here.there.elsewhere = False
    await here.looked_after()
    ref = await here.goal("walk to it", addresses=[{"reference": there, "display": "My hip"}])
    await here.push()
    (goal,) = [here.there.held[n] for n in here.there.goals()]
    assert goal["addresses"][0]["identifier"]["value"] == there and "reference" not in goal["addresses"][0]
    here.there.edit(here.there.goals()[0], note=[{"text": "seen"}])
    await pull(here.house, here.partner)
    body = await here.body(ref)
    assert body["note"] == [{"text": "seen"}] and body["addresses"] == [{"reference": there, "display": "My hip"}]
    assert await here.house.store.outbox_items("hub", "parked") == []


async def test_what_refers_to_a_record_that_goes_again_names_it_as_it_is_called_now(here: Here) -> None:
    goal = await here.goal()
    task = {"resourceType": "Task", "status": "requested", "intent": "plan", "for": {"reference": here.names["amina"]}, "focus": {"reference": str(goal)}}
    await gate.create(here.me, "Task", strict.dump(task))
    await here.push()
    (before,) = here.there.goals()
    kind = {"class": [{"system": "http://hl7.org/fhir/resource-types", "code": "Goal"}]}
    no = consent(here.names["amina"].removeprefix("Patient/"), permit(here.names["surgery"], type="deny", **kind))
    written = await gate.create(here.me, "Consent", strict.dump(no))
    await here.quiet()
    assert here.there.goals() == []
    await gate.update(here.me, written.ref, strict.dump({**no, "id": written.ref.id, "status": "inactive"}), if_match=1)
    await here.quiet()
    (now,) = here.there.goals()
    (copy,) = [r for r in here.there.held.values() if r["resourceType"] == "Task"]
    assert now != before and copy["focus"]["reference"] == now
    assert (await here.status())["quiet"]


@pytest.mark.parametrize("way", ["a push", "a pull"])
async def test_what_refers_to_a_copy_that_is_there_again_names_it_whoever_finds_it(here: Here, way: str) -> None:
    await here.looked_after()
    goal = await here.goal()
    task = {"resourceType": "Task", "status": "requested", "intent": "plan", "for": {"reference": here.names["amina"]}, "focus": {"reference": str(goal)}}
    here.names["task"] = str((await gate.create(here.me, "Task", strict.dump(task))).ref)
    await here.push()
    (name,) = here.there.goals()
    before = here.there.held[name]
    kind = {"class": [{"system": "http://hl7.org/fhir/resource-types", "code": "Goal"}]}
    no = consent(here.names["amina"].removeprefix("Patient/"), permit(here.names["surgery"], type="deny", **kind))
    written = await gate.create(here.me, "Consent", strict.dump(no))
    await here.quiet()

    def named() -> Any:
        (copy,) = [r for r in here.there.held.values() if r["resourceType"] == "Task"]
        return copy["focus"].get("reference")

    assert here.there.goals() == []
    await here.change(here.me, "task", description="look")
    await here.quiet()
    assert named() is None, "it went without it"
    here.there.deleted.remove(name)  # put back by whoever keeps that server, and written in since
    here.there.keep(name, {**before, "note": [{"text": "seen"}]}, int(before["meta"]["versionId"]) + 3)
    await gate.update(here.me, written.ref, strict.dump({**no, "id": written.ref.id, "status": "inactive"}), if_match=1)
    if way == "a pull":
        await pull(here.house, here.partner)
    await here.quiet()
    assert here.there.goals() == [name] and named() == name
    assert (await here.body(goal))["note"] == [{"text": "seen"}] and (await here.status())["quiet"]


async def with_theirs(here: Here) -> tuple[Ref, str]:
    """A goal, and an observation that began there about the person and it; what the observation is called there."""
    here.there.keeps = True
    await here.looked_after()
    goal = await here.goal()
    await here.push()
    (name,) = here.there.goals()
    (person,) = [n for n in here.there.held if n.startswith("Patient/")]
    theirs = {"resourceType": "Observation", "status": "final", "code": {"text": "Blood pressure"}, "subject": {"reference": person}, "focus": [{"reference": name}]}
    here.there.keep("Observation/bp", theirs, 1)
    await pull(here.house, here.partner)
    await here.push()
    return goal, "Observation/bp"


@pytest.mark.parametrize("then", ["taken out by hand", "allowed again"])
async def test_their_own_record_keeps_whom_it_is_about_and_a_person_sees_to_what_it_holds_back(here: Here, then: str) -> None:
    goal, theirs = await with_theirs(here)
    before = here.there.held[theirs]
    await here.refuse("surgery")
    await here.quiet()
    assert here.there.held[theirs] == before, "nothing of theirs is changed"
    status = await here.status()
    assert (status["parked"], status["recalls_open"]) == (2, 2) and await here.attempts() == []
    lines = [i for i in await waiting_room.everything(here.operator) if i["kind"] == "recall"]
    assert {i["ref"] for i in lines} == {str(goal), here.names["amina"]} and all("only a stub of it stands there" in i["why"] for i in lines)
    await here.refuse("surgery")
    await here.change(here.me, "goal", description={"text": "run"})
    await here.quiet()
    assert await asked(here) == ["requested", "requested"], "each once, also after another no and an edit"
    if then == "allowed again":
        for no in sorted((k for k in here.names if k.startswith("consent")), key=lambda k: int(k.split("-")[1]))[-2:]:
            await here.change(here.me, no, status="inactive")
        await here.quiet()
        (copy,) = [here.there.held[n] for n in here.there.goals()]
        assert copy["subject"] == before["subject"], "what was let go is whole again"
    else:
        del here.there.held[theirs]
        here.there.deleted.append(theirs)
        await waiting_room.retry(here.operator)
        await here.quiet()
        assert here.there.goals() == []
    status = await here.status()
    assert (status["parked"], status["recalls_open"], status["quiet"]) == (0, 0, True) and await asked(here) == ["completed", "completed"]


async def test_what_refers_to_a_copy_that_was_held_fast_names_it_again_when_it_may_be_there(here: Here) -> None:
    goal, _ = await with_theirs(here)
    task = {"resourceType": "Task", "status": "requested", "intent": "plan", "for": {"reference": here.names["amina"]}, "focus": {"reference": str(goal)}}
    await gate.create(here.me, "Task", strict.dump(task))
    await here.push()
    await here.refuse("surgery", class_=[{"system": "http://hl7.org/fhir/resource-types", "code": "Goal"}])
    await here.quiet()
    assert len(here.there.goals()) == 1 and (await here.status())["recalls_open"] == 1
    await here.change(here.me, max((k for k in here.names if k.startswith("consent")), key=lambda k: int(k.split("-")[1])), status="inactive")
    await here.quiet()
    (copy,) = [r for r in here.there.held.values() if r["resourceType"] == "Task"]
    assert [copy["focus"]["reference"]] == here.there.goals() and (await here.status())["quiet"]


@pytest.mark.parametrize("meanwhile", ["nobody", pytest.param("they", marks=pytest.mark.slow)])
async def test_what_left_unanswered_goes_out_of_their_record_also_when_it_is_deleted_here(here: Here, meanwhile: str) -> None:
    _, theirs = await with_theirs(here)
    before, link = here.there.held[theirs], await here.house.store.link_by_remote("hub", theirs)
    assert link is not None
    here.names["bp"], here.there.loses = str(link.ref), {"PUT"}
    await here.change(await here.gp(), "bp", valueString="by us")
    await here.push(1)
    assert here.there.held[theirs]["valueString"] == "by us"
    here.there.loses = set()
    if meanwhile == "they":
        here.there.edit(theirs, note=[{"text": "by them"}])
    await gate.remove(await here.gp(), link.ref, if_match=2)
    await here.quiet(0.5)
    there, status = here.there.held[theirs], await here.status()
    if meanwhile == "they":
        (line,) = await waiting_room.everything(here.operator)
        assert there["note"] and line["kind"] == "recall" and "take ours out of it by hand" in line["why"], "nobody can tell what is whose"
    else:
        assert {**there, "meta": 0} == {**before, "meta": 0} and status["quiet"] and await here.attempts() == []


async def test_a_record_of_theirs_that_changes_after_ours_was_taken_out_by_hand_is_asked_for_no_more(here: Here) -> None:
    """By that very change, or by the next: it is theirs."""
    _, theirs = await with_theirs(here)
    link = await here.house.store.link_by_remote("hub", theirs)
    assert link is not None
    here.names["bp"] = str(link.ref)
    await here.change(await here.gp(), "bp", valueString="by us")
    await here.push()
    here.there.refuses = {"PUT Observation": 422}
    await here.refuse("surgery", class_=[{"system": "http://hl7.org/fhir/resource-types", "code": "Observation"}])
    await here.quiet()
    (line,) = await waiting_room.everything(here.operator)
    await gone(here.house, [here.partner], here.operator, line["id"], "Dr Patel took it out")
    here.there.refuses = {}
    here.there.edit(theirs, valueString="as it was")
    await pull(here.house, here.partner)
    moved = await here.house.store.link_by_remote("hub", theirs)
    assert moved is not None and moved.etag != link.etag
    asked_for = await to_ask_for(here.house, await here.house.store.ledger(remote="hub", open_only=True))
    assert link.ref not in {d.ref for d in asked_for}


async def test_what_we_wrote_into_a_record_of_theirs_that_is_kept_from_us_is_a_persons_task_at_once(here: Here) -> None:
    here.there.hides = {"Goal/nobodys"}
    _, theirs = await with_theirs(here)
    link = await here.house.store.link_by_remote("hub", theirs)
    assert link is not None
    here.names["bp"] = str(link.ref)
    await here.change(await here.gp(), "bp", valueString="by us")
    await here.quiet()
    here.there.hides = {theirs}
    await gate.remove(await here.gp(), link.ref, if_match=2)
    await here.push(1)
    (line,) = await waiting_room.everything(here.operator)
    assert line["kind"] == "recall" and "have what was written here taken out of it by hand" in line["why"]


async def test_two_workers_who_read_it_at_once_take_in_what_is_new_there_once(here: Here) -> None:
    await here.looked_after()
    await here.push()
    (person,) = [n for n in here.there.held if n.startswith("Patient/")]
    here.there.keep("Goal/their", {"resourceType": "Goal", "lifecycleStatus": "active", "description": {"text": "swim"}, "subject": {"reference": person}}, 1)
    both, commit, came = asyncio.Barrier(2), here.mortal.commit, count()

    async def together(*ops: Op) -> None:
        if any(isinstance(op, Linked) for op in ops) and next(came) < 2:
            await both.wait()
        await commit(*ops)

    here.mortal.commit = together  # type: ignore[method-assign]
    await asyncio.gather(*(pull(here.house, Partner(here.partner.terms, here.partner.server)) for _ in range(2)))
    found = [s for s in await here.house.store.patient_record(here.names["amina"], ["Goal"]) if not s.deleted]
    link = await here.house.store.link_by_remote("hub", "Goal/their")
    assert link is not None and [s.ref for s in found] == [link.ref]


async def asked(here: Here) -> list[str]:
    """The states of the Tasks that ask somebody to see to a copy."""
    found = (await gate.search(here.me, "Task", [("code", "recall-by-hand")])).entries
    return [str((await here.body(e.ref))["status"]) for e in found]


async def test_a_gateways_own_questions_neither_go_out_nor_come_in(here: Here) -> None:
    await here.looked_after()
    await here.push()
    code = {"coding": [{"system": "https://fhir-gateway.example/CodeSystem/task", "code": "confirm-membership"}]}
    assert not [r for r in here.there.held.values() if r["resourceType"] == "Task"], "she was asked here, and has answered here"
    (person,) = [n for n in here.there.held if n.startswith("Patient/")]
    there = {"resourceType": "Task", "status": "requested", "intent": "order", "code": code, "for": {"reference": person}}
    here.there.keep("Task/q", there, 1)
    here.there.keep("Task/t", {k: v for k, v in there.items() if k != "code"}, 1)
    tally = await pull(here.house, here.partner)
    assert tally.pulled == 1 and tally.ignored["a question or work of that gateway's own"] == 1
