"""One story: two gateways and a hub, people who write and change their consents on all sides, lines that fail, workers that die.

Everything is drawn from one seed: the same seed tells the same story, word for word. When it is quiet again, what must hold is asked
(`tests/faults/invariants.py`).
"""

from __future__ import annotations

import asyncio
import gc
import shutil
import tempfile
from collections import defaultdict
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from hashlib import sha256
from pathlib import Path
from random import Random
from typing import Any

import structlog

from fhir_gateway import gate
from fhir_gateway.domain import copies, strict
from fhir_gateway.domain.types import Actor, Ref
from fhir_gateway.gate import Remote, waiting_room
from fhir_gateway.remote.client import RemoteServer
from fhir_gateway.remote.origin import canonical
from fhir_gateway.sync import worker
from fhir_gateway.sync.ending import gone
from fhir_gateway.sync.links import began_there
from fhir_gateway.sync.moved import address_kept
from fhir_gateway.sync.partner import Partner, as_owner
from fhir_gateway.sync.status import status

from ..faults import invariants
from ..faults.scripted import Habits, Kept, There
from .lines import WEATHER, Line, of_gateway, of_hub
from .people import SERVERS, People
from .still import StillLoop, closed, opened
from .town import SHARED, Process, Town, founded

BEGAN = datetime(2026, 11, 26, 8, tzinfo=UTC)
ACTS = 20
FAULTS_OF_OURS = ("sync-failed", "entry-failed", "unexpected")
SWEEP_HOURS = 0.1  # where no feed tells of deletions
BY_HAND = ("take ours out of it by hand", "does not let us see it any more")
QUIET_MOST = 180  # minutes until everything is done


@dataclass
class Told:
    """How a story went."""

    seed: int
    lines: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)


@cache
def base() -> dict[str, tuple[Path, dict[str, str], int]]:
    """Both gateways before anything happens."""
    folder = Path(tempfile.mkdtemp(prefix="sim-"))
    begins = founded(folder, opened, closed, still)
    gc.freeze()  # what is loaded by now is not looked through again in each story
    return begins


def still(doing: Coroutine[Any, Any, Any]) -> Any:
    with asyncio.Runner(loop_factory=StillLoop) as runner:
        return runner.run(doing)


def tell(seed: int, acts: int = ACTS) -> Told:
    """The story of this seed, and what is wrong at its end."""
    begins = base()
    folder = Path(tempfile.mkdtemp(prefix="sim-"))
    story = Story(seed, folder, acts)
    structlog.configure(processors=[story.heard])
    try:
        still(story.run(begins))
    except Exception as e:
        import traceback

        story.told.wrong.append(f"the story broke off: {traceback.format_exc()[-3000:] if not isinstance(e, TimeoutError) else e}")
    finally:
        structlog.reset_defaults()
        shutil.rmtree(folder, ignore_errors=True)
    return story.told


class Story:
    def __init__(self, seed: int, folder: Path, acts: int) -> None:
        self.random, self.folder, self.acts = Random(seed), folder, acts
        self.told = Told(seed)
        self.weather = dict.fromkeys(SERVERS, "good")
        self.begun: dict[tuple[str, str], list[invariants.Begun]] = defaultdict(list)
        self.shut: dict[tuple[str, str], dict[str, list[tuple[datetime, datetime | None]]]] = defaultdict(lambda: defaultdict(list))
        self.acknowledged: dict[str, list[tuple[Ref, int]]] = defaultdict(list)
        self.processes: list[Process] = []
        self.tasks: set[asyncio.Task[Any]] = set()
        self.deaths = True
        self.numbers = 0
        self.people = People(self)

    # -- what everybody needs

    def exactly(self) -> datetime:
        return BEGAN + timedelta(seconds=asyncio.get_running_loop().time())

    def now(self) -> datetime:
        at = self.exactly()
        return at.replace(microsecond=at.microsecond // 1000 * 1000)

    def say(self, text: str) -> None:
        self.told.lines.append(f"{asyncio.get_running_loop().time():11.3f} {text}")

    def wrong_here(self, text: str) -> None:
        self.told.wrong.append(text)

    def heard(self, logger: Any, method: str, event: Mapping[str, Any]) -> Any:
        if event["event"] in FAULTS_OF_OURS:
            import traceback

            self.wrong_here(f"I0 {event['event']}: {traceback.format_exc()[-1500:]}")
        raise structlog.DropEvent

    def beside(self, doing: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Goes on whether or not anybody waits."""
        task = asyncio.get_running_loop().create_task(doing)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        return task

    def draw(self, server: str) -> str:
        """What happens to a request."""
        at = self.random.random() * 100
        for fault, often in WEATHER[self.weather[server]].items():
            at -= often
            if at < 0:
                return fault
        return ""

    # -- the whole of it

    async def run(self, begins: Mapping[str, tuple[Path, dict[str, str], int]]) -> None:
        self.habits = self._habits()
        self.hub = There(self.habits, clock=self.now, new_id=lambda: f"n{self.number()}")
        self.a, self.b = (Town(self, name, begins[name][1], begins[name][2]) for name in ("a", "b"))
        self.a.move_in(opened(self.folder / "a.sqlite", self.now, begins["a"][0]), Remote("hub", self.a.names["surgery"]), Remote("b", self.a.names["home"], types=SHARED))
        self.b.move_in(opened(self.folder / "b.sqlite", self.now, begins["b"][0]), Remote("a", self.b.names["home"], types=SHARED))
        self.asks = {"hub": of_hub(self.hub), "a": of_gateway(self.a.app("b")), "b": of_gateway(self.b.app("a"))}
        for town in (self.a, self.b):  # they have met: where each is is kept once, and is no part of a story
            await town.store.commit(*(address_kept(p, canonical(p.server.base)) for p in self.partners(town, town.web)))
        self.say(f"seed {self.told.seed}, hub {self.habits}")
        watching = self.beside(self._watch())
        try:
            for _ in range(self.acts):
                await self.people.act()
                await asyncio.sleep(self.random.random() ** 3 * 60)
            earlier = {t.name: invariants.digests(await invariants.versions(t.store), await invariants.notes(t.store)) for t in (self.a, self.b)}
            await self.calm()
            await self.look()
            for town in (self.a, self.b):
                pairs = [(p, await self.there(p.name)) for p in self.partners(town, town.web)]
                shut = {p.name: self.shut[town.name, p.name] for p, _ in pairs}
                begun = {p.name: self.begun[town.name, p.name] for p, _ in pairs}
                found = await invariants.wrong(town.house, pairs, acknowledged=self.acknowledged[town.name], earlier=earlier[town.name], begun=begun, shut=shut, since=BEGAN, closed=await self._closed(town), undecided=await self._undecided(town))
                self.told.wrong += [f"{town.name}: {sentence}" for sentence in found]
                await self._last_word(town)
        finally:
            watching.cancel()
            for process in [*self.processes, self.a.web, self.b.web]:
                process.die()
            for task in list(self.tasks):
                task.cancel()
            await asyncio.gather(*self.tasks, *(t for p in self.processes for t in p.tasks), return_exceptions=True)
            closed(self.a.store)
            closed(self.b.store)

    def _habits(self) -> Habits:
        pick = self.random.choice
        etag: Any = pick(("weak", "weak", "strong", "none", "odd"))
        return Habits(
            feed=pick(("system", "system", "type", "search")), etag=etag, versions=pick(("numbers", "jumps", "words")),
            conditional_create=pick((True, True, False)), stale=pick((412, 409)), must_match=pick((False, False, True)) and etag != "none", minimal=pick((False, False, True)),
            delete_answers=pick((204, 200)), skew=timedelta(seconds=pick((0, 0, 20, -20))), page=pick((3, 20, 100)), stamps=pick(("ms", "s")),
        )  # fmt: skip

    def number(self) -> int:
        self.numbers += 1
        return self.numbers

    async def there(self, name: str) -> There:
        """What a partner holds, as the invariants ask for it."""
        if name == "hub":
            return self.hub
        town, seen = {"a": self.a, "b": self.b}[name], There()
        for stored in await invariants.versions(town.store):
            body = None if stored.body is None else strict.decode(stored.body)
            if stored.writer.client:  # sent there, and not fetched
                seen.history.append(Kept(str(stored.ref), str(stored.version), stored.updated, body, ""))
            elif body is not None:
                seen.fetched.append((str(stored.ref), body))
            if body is None:
                seen.held.pop(str(stored.ref), None)
            else:
                seen.held[str(stored.ref)] = body
        return seen

    async def _closed(self, town: Town) -> dict[str, set[str]]:
        """What a person lets this gateway see no more at the other, by its `Type/id` here: what is changed there stays there, and that it
        was deleted meanwhile, too."""
        other, out = self.b if town is self.a else self.a, set[str]()
        (terms,) = (t for t in other.terms if t.name == town.name)
        ctx = await as_owner(other.house, Partner(terms, None), "disclose")  # type: ignore[arg-type]
        for link in await town.store.links(other.name, count=invariants.MANY):
            stored, spans = await other.store.get(Ref(*link.remote_id.split("/"))), self.shut[other.name, town.name].get(link.remote_id)
            if stored is None:
                continue
            last = await other.store.version(stored.ref, stored.version - 1) if stored.deleted else stored  # deleted, and then a no: not told either
            if (stored.deleted and spans and spans[-1][1] is None) or last is None or not (await gate.may_send(ctx, terms, last)).permit:
                out.add(str(link.ref))
        return {other.name: out}

    async def _undecided(self, town: Town) -> dict[str, set[str]]:
        """What was deleted here and waits at the other for a person who decides, by its `Type/id` here: there it was changed. Not what
        consent would not let be there, were it not deleted."""
        other, out = self.b if town is self.a else self.a, set[str]()
        (terms,) = (t for t in town.terms if t.name == other.name)
        ctx = await as_owner(town.house, Partner(terms, None), "disclose")  # type: ignore[arg-type]
        for key in await other.store.kept_all("deleted-there", self.now(), f"{town.name} "):
            copy = await other.store.get(Ref(*key.split(" ")[1].split("/")))
            name = invariants.here_of(town.house, strict.decode(copy.body)) if copy is not None and copy.body is not None else ""
            ours = await town.store.get(Ref(*name.split("/"))) if name else None
            written = [await other.store.version(copy.ref, n + 1) for n in range(copy.version)] if copy is not None else []
            if ours is None or not ours.deleted or all(v is None or v.writer.organisation == other.names["home"] for v in written):
                continue
            last = await town.store.version(ours.ref, ours.version - 1)
            if last is not None and (await gate.may_send(ctx, terms, last)).permit:
                out.add(name)
        return {other.name: out}

    async def _last_word(self, town: Town) -> None:
        every = invariants.digests(await invariants.versions(town.store), await invariants.notes(town.store))
        self.say(f"{town.name}: {len(every)} versions and rows, {sha256(repr(sorted(every.items())).encode()).hexdigest()}")

    # -- workers

    def partners(self, town: Town, process: Process) -> list[Partner]:
        bases = {"hub": self.hub.url, "a": "http://a.test/fhir", "b": "http://b.test/fhir"}
        return [
            Partner(t, RemoteServer(bases[t.name], self.now, transport=Line(self, town, process, t.name, self.asks[t.name]), authorization="Bearer x"), poll_seconds=30.0, sweep_hours=SWEEP_HOURS)
            for t in town.terms
        ]

    async def _watch(self) -> None:
        """Workers are started again when they have died: two of the first gateway, one of the second."""
        await asyncio.gather(*(self._keep(self.a, "a1"), self._keep(self.a, "a2"), self._keep(self.b, "b1")))

    async def _keep(self, town: Town, name: str) -> None:
        while True:
            await asyncio.sleep(self.random.random() * 5)
            process = Process(self, name)
            self.processes.append(process)
            if self.deaths and self.random.random() < 0.6:
                process.commits_left, process.before = self.random.randint(1, 40), self.random.random() < 0.5
            stop = asyncio.Event()

            async def rest(seconds: float, process: Process = process) -> None:
                process.alive()
                if seconds <= 0:
                    await asyncio.sleep(0)
                elif seconds < 1:
                    await town.bell.wait(30.0)
                else:
                    await asyncio.sleep(max(seconds, 5.0))

            task = asyncio.create_task(worker.run(town.house_of(process), self.partners(town, process), name, stop, rest))
            process.tasks.append(task)
            done = (await asyncio.gather(task, return_exceptions=True))[0]
            if not isinstance(done, asyncio.CancelledError):
                self.wrong_here(f"I0 the worker {name} ended: {done!r}")
                return
            self.say(f"{name} is dead")
            process.die()
            await asyncio.sleep(self.random.random() * 100 if self.deaths else 1)

    async def calm(self) -> None:
        """Nothing goes wrong any more, nobody writes; until all is done and stays so."""
        self.say("-- calm")
        self.deaths = False
        self.weather = dict.fromkeys(SERVERS, "good")
        for process in self.processes:
            process.commits_left = -1
        before, same = None, 0
        for minute in range(QUIET_MOST):
            await asyncio.sleep(60)
            said = [await status(t.house, p) for t in (self.a, self.b) for p in self.partners(t, t.web)]
            now = (len(self.hub.history), await self._count(self.a), await self._count(self.b))
            before, same = now, same + 1 if now == before else 0
            lately = self.now() - timedelta(seconds=120)
            if all(s["quiet"] and s["last_pull"] and datetime.fromisoformat(s["last_pull"]) > lately for s in said) and same >= 2 and minute > SWEEP_HOURS * 60 + 2:
                self.say("-- quiet")
                return
            if same == 2:
                await self._by_hand()
            if same > 30:
                break
        self.wrong_here(f"it never comes to rest: {[s | {'abilities': ''} for s in said if not s['quiet']] or now}")
        for town in (self.a, self.b):
            for terms in town.terms:
                for state in ("queued", "leased", "parked"):
                    self.told.wrong += [f"{town.name} -> {terms.name} {state}: {i['ref']} {i['why']} {i['detail']}" for i in await town.store.outbox_items(terms.name, state)]

    async def _by_hand(self) -> None:
        """Operators see to what waits for one: what both sides wrote into a record that is to be taken back, and what another gateway
        lets nobody here see any more. It is taken out there, and said to be gone here."""
        for town in (self.a, self.b):
            by = gate.house_context(town.house, Actor("system", frozenset({"Device/op"}), "Device/op", "Operator", operator=True))
            for item in await waiting_room.everything(by):
                if item["kind"] in ("recall", "parked") and any(why in item["why"] for why in BY_HAND):
                    self.say(f"{town.name}: {item['ref']} taken out of {item['remote']} by hand")
                    if item["kind"] == "recall":
                        await self._taken_out(town, item["remote"], Ref(*item["ref"].split("/")))
                        await gone(town.house, self.partners(town, town.web), by, item["id"], "by hand")
                    else:
                        await waiting_room.skip(by, item["id"], "by hand")

    async def _taken_out(self, town: Town, remote: str, ref: Ref) -> None:
        """Somebody there deletes our copy; a record of theirs stays."""
        link = await town.store.link(remote, ref)
        if (link is None or link.gone) and remote != "hub":  # they fetched it, or fetched it again
            other = self.b if town is self.a else self.a
            for copy in await invariants.records(other.store):
                if not copy.deleted and copy.ref.type == ref.type and f"{town.house.name}.{ref.id}" in copies.codes(strict.decode(copy.body or b"{}")):
                    await gate.remove(other.hospital, copy.ref, if_match=copy.version)
        if link is None or began_there(link):
            return
        if remote == "hub":
            if link.remote_id in self.hub.held:
                self.hub.remove(link.remote_id)
            return
        other = self.b if town is self.a else self.a
        stored = await other.store.get(Ref(*link.remote_id.split("/")))
        if stored is not None and not stored.deleted:
            await gate.remove(other.hospital, stored.ref, if_match=stored.version)

    async def _count(self, town: Town) -> int:
        return len(await invariants.versions(town.store))

    async def look(self) -> None:
        """From now on, and as long as it is so, may not leave what consent keeps here; of a record of theirs nor that it was deleted here."""
        at = self.exactly()
        for town in (self.a, self.b):
            here = await invariants.records(town.store)
            for terms in town.terms:
                theirs = [link.ref for link in await town.store.links(terms.name, count=invariants.MANY) if began_there(link)]
                every = here + [s for s in (await town.store.get_many(sorted(theirs))).values() if s.deleted]
                partner = Partner(terms, None)  # type: ignore[arg-type]
                ctx, shut = await as_owner(town.house, partner, "disclose"), self.shut[town.name, terms.name]
                for stored in every:
                    spans = shut[str(stored.ref)]
                    may, closed_now = (await gate.may_send(ctx, terms, stored)).permit, bool(spans) and spans[-1][1] is None
                    if may and closed_now:
                        spans[-1] = (spans[-1][0], at)
                    elif not may and not closed_now:
                        spans.append((at, None))
