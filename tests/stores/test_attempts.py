"""A push leaves nothing behind that nobody knows of: whatever is lost, killed or changed on the way."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from itertools import count
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import pytest_asyncio

from fhir_gateway import gate
from fhir_gateway.domain import strict
from fhir_gateway.domain.problem import Problem
from fhir_gateway.domain.types import Disclosed, Op, Ref, Send
from fhir_gateway.gate import Remote
from fhir_gateway.gate.retaining import Due, take_back
from fhir_gateway.remote.client import Down, RemoteServer, Unknown
from fhir_gateway.sync import waiting, worker
from fhir_gateway.sync.partner import Partner, our_tag
from fhir_gateway.sync.pull import pull
from fhir_gateway.sync.push import push
from fhir_gateway.sync.reading_back import lost

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
        self.deleted: list[str] = []
        self.ever: list[str] = []  # "Type/ours" of whatever it has held
        self.searchable = self.strict = self.conditional = True

    def answer(self, method: str, path: str, sent: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        type = path.split("?")[0].split("/")[0]
        if status := self.refuses.get(f"{method} {type}"):
            return status, outcome(f"no {method} of {type}")
        status, body = self.done(method, path, sent, type)
        return (0, {}) if method in self.loses and status < 300 else (status, body)

    def done(self, method: str, path: str, sent: dict[str, Any], type: str) -> tuple[int, dict[str, Any]]:
        match = self.headers.get("if-match")
        if method == "POST":
            found = self.tagged(type, self.headers.get("if-none-exist", "").partition("|")[2])
            if found and self.conditional:
                return 200, found[0]
            self.numbers += 1
            return 201, self.keep(f"{type}/{self.numbers}", sent, 1)
        if path in self.deleted:
            return 410, outcome("gone")
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
            del self.held[path]
            self.deleted.append(path)
            return 200, outcome("deleted")
        return self.read(path, type)

    def read(self, path: str, type: str) -> tuple[int, dict[str, Any]]:
        if path == "metadata":
            types = [{"type": t, **({"conditionalCreate": True} if self.conditional else {})} for t in ("Goal", "Patient", "Task")]
            rest = {"mode": "server", "interaction": [{"code": "history-system"}], "resource": types}
            return 200, {"resourceType": "CapabilityStatement", "rest": [rest]}
        if path.startswith("_history"):
            entries = [{"resource": r} for r in self.held.values()]
            entries += [{"request": {"method": "DELETE", "url": name}} for name in self.deleted]
            return 200, {"resourceType": "Bundle", "type": "history", "entry": entries}
        if "?" in path:
            if not self.searchable:
                return 400, outcome("no search by _tag")
            found = self.tagged(type, parse_qs(urlsplit(path).query)["_tag"][0].partition("|")[2])
            return 200, {"resourceType": "Bundle", "type": "searchset", **({"entry": [{"resource": r} for r in found]} if found else {})}
        return (200, self.held[path]) if path in self.held else (404, outcome("not here"))

    def keep(self, name: str, sent: dict[str, Any], version: int) -> dict[str, Any]:
        kept = {k: v for k, v in sent.items() if k not in self.drops}
        stamp = {"versionId": str(version), "lastUpdated": f"2026-11-25T12:00:{version % 60:02}.000Z"}
        self.held[name] = {**kept, "id": name.split("/")[1], "meta": {**sent["meta"], **stamp}}
        self.ever.append(f"{sent['resourceType']}/{our_tag(sent)}")
        return self.held[name]

    def tagged(self, type: str, id: str) -> list[dict[str, Any]]:
        return [r for n, r in self.held.items() if n.startswith(f"{type}/") and our_tag(r) == id]

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
        await self.grant("surgery")
        await self.push()
        return self

    async def push(self, rounds: int = 12) -> None:
        """Rounds, each a minute later; a kill ends one, its lease runs out."""
        for _ in range(rounds):
            try:
                await push(self.house, self.partner, "w")
            except (Down, Unknown):
                self.partner.paused = ""
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
    (conflict,) = await waiting.conflicts(here.house, here.partner)
    assert conflict["theirs"] is None and conflict["ours"]["description"]["text"] == "run"
    await here.change(here.me, "goal", description={"text": "swim"})
    await here.quiet()
    assert not here.there.goals(), "nor after another edit"
    if decided == "ours":
        await waiting.resolve(here.house, here.partner, conflict, None)
        await here.quiet()
        assert len(here.there.goals()) == 1 and await waiting.conflicts(here.house, here.partner) == []
    else:
        with pytest.raises(Problem):  # written as the partner's, who may not
            await waiting.resolve(here.house, here.partner, conflict, None, delete=True)
        await here.body(ref)


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
        there = here.there.tagged("Goal", ref.id)
        rows = await here.rows(ref)
        assert len(there) == (then != "no"), "one copy where it may be, none where it may not"
        assert any(d.recalled is None for d in rows) == bool(there), "the ledger is what they have"
        assert bool(rows) or str(ref) not in here.there.ever, "and what they had"
        assert (await here.body(ref))["description"]["text"] in ("walk", "run far")
    status = await here.status()
    assert status["quiet"] and status["recalls_open"] == 0 and await here.attempts() == []
