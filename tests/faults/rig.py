"""People's records here, a scripted server that is their surgery's, and a line between the two whose weather may change.

    async with rigged(tmp_path, Habits(feed="search")) as rig:
        ref = await rig.goal()
        rig.line.down()
        await rig.round(5)
        rig.line.up()
        await rig.settled()
        await rig.same()
"""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import monotonic
from typing import Any

import httpx2

from fhir_gateway import gate
from fhir_gateway.domain import copies, strict
from fhir_gateway.domain.types import Keep, Op, Queued, Ref
from fhir_gateway.gate import Context, House
from fhir_gateway.remote.client import RemoteServer
from fhir_gateway.store import sqlite
from fhir_gateway.sync.partner import Partner

from ..conftest import ROOT
from ..nursery import Child, nursery
from ..telling.servers import mail_server
from ..test_believing import ACTIONS, Beside
from .invariants import Span, carried, digests, notes, numbered, versions, waits, wrong
from .proxy import Line, proxied
from .scripted import Body, Habits, Listening, scripted


def _instant(seconds: float) -> datetime:
    """Of `time.monotonic`, which those who ask and those who are asked share."""
    return datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)


class Hooked:
    """A store that lets something happen once, just after a worker has taken its entries, or has written down that something is about to leave."""

    def __init__(self, store: Any) -> None:
        self.store = store
        self.taken: Callable[[], Awaitable[object]] | None = None
        self.leaving: Callable[[], Awaitable[object]] | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self.store, name)

    async def lease(self, *args: Any) -> list[Queued]:
        entries: list[Queued] = await self.store.lease(*args)
        if entries and self.taken is not None:
            then, self.taken = self.taken, None
            await then()
        return entries

    async def commit(self, *ops: Op) -> None:
        await self.store.commit(*ops)
        if self.leaving is not None and any(isinstance(op, Keep) and op.kind == "attempt" for op in ops):
            then, self.leaving = self.leaving, None
            await then()


class Rig(Beside):
    there: Listening
    line: Line
    file: Path
    acknowledged: list[tuple[Ref, int]]
    earlier: dict[str, str]  # what there was at first and whenever it was settled, by its hash
    heads: dict[int, str]  # of the audit's segments, sealed whenever it was settled
    shut: dict[str, list[Span]]  # since when, and until when, which goals, and whose own record, may not go, by `Type/id`
    victim: Child

    @property
    def her(self) -> str:
        """`Patient/id` there of whom this is about, once her record is there."""
        tag = copies.tag(self.house.name, self.names["amina"].removeprefix("Patient/"))["code"]
        return next(f"Patient/{p['id']}" for p in self.there.named("Patient") if tag in copies.codes(p))

    async def goal(self, text: str = "walk") -> Ref:
        ref = await super().goal(text)
        self.acknowledged.append((ref, 1))
        return ref

    async def change(self, ctx: Context, key: str, **more: Any) -> None:
        ref = Ref(*self.names[key].split("/"))
        before = await self.versions(ref)
        await super().change(ctx, key, **more)
        self.acknowledged.append((ref, before + 1))

    async def another(self) -> str:
        """Somebody else, who lets the surgery have theirs, too: from now on `me`, `goal` and `her` are about them."""
        person = {"resourceType": "Patient", "name": [{"family": f"Else{next(self.numbers)}"}]}
        self.names["amina"] = str((await gate.create(self.hospital, "Patient", strict.dump(person))).ref)
        await self.grant("surgery", provision={"provision": [{"type": "permit", "actor": [self.reader()], "action": ACTIONS}]})
        return self.names["amina"]

    async def no(self) -> None:
        """They take back what lets anything go to the surgery, and come from it."""
        for key in [k for k in self.names if k.startswith("consent")]:
            stored = await self.house.store.get(Ref(*self.names[key].split("/")))
            body = strict.decode(stored.body or b"") if stored is not None else {}
            if body.get("status") == "active" and body["patient"]["reference"] == self.names["amina"]:
                await self.change(self.me, key, status="inactive")
        kept = [str(stored.ref) for stored in await self.house.store.patient_record(self.names["amina"], ["Goal"])]
        for ref in (self.names["amina"], *kept):
            self.shut.setdefault(ref, []).append((_instant(monotonic()), None))

    async def grant(self, *whom: str, **more: Any) -> str:
        given = await super().grant(*whom, **more)
        for spans in getattr(self, "shut", {}).values():  # of everybody's: who says yes again is not told apart
            spans[:] = [(since, until or _instant(monotonic())) for since, until in spans]
        return given

    def theirs(self, text: str, at: Any = None, **more: Any) -> Body:
        """Somebody there writes a goal of hers."""
        return self.there.write(
            {"resourceType": "Goal", "lifecycleStatus": "active", "description": {"text": text}, "subject": {"reference": self.her}, **more}, at
        )

    async def here(self, person: str = "") -> list[str]:
        """The texts of the goals here, as often as they are here."""
        found = await self.house.store.patient_record(person or self.names["amina"], ["Goal"])
        return sorted(strict.decode(s.body)["description"]["text"] for s in found if s.body is not None and not s.deleted)

    async def settled(self) -> None:
        await super().settled()
        await self.remember()

    async def remember(self) -> None:
        """What there is by now never changes: it is compared by `sound`."""
        self.earlier = digests(await versions(self.house.store), await notes(self.house.store)) | self.earlier
        await gate.Sealer(self.house).seal()
        self.heads = {s.number: s.head async for s in gate.all_segments(self.house.store)} | self.heads

    async def sound(self) -> None:
        """I1 to I9, as far as one place can tell; I6 of what `no` shut."""
        self.one_each()
        begun = carried(self.house, self.there.asked, lambda a: _instant(a.at), await numbered(self.house.store))
        pairs, hub = [(self.partner, self.there)], self.partner.name
        more: dict[str, Any] = {"acknowledged": self.acknowledged, "earlier": self.earlier, "heads": self.heads}
        found = await wrong(self.house, pairs, **more, begun={hub: begun}, shut={hub: self.shut})
        assert not found, "\n".join(found)

    async def readers(self, doing: Awaitable[object]) -> list[float]:
        """Seconds that each who reads her goals here meanwhile waits."""
        over, her = asyncio.Event(), [("patient", self.names["amina"].removeprefix("Patient/"))]
        reading = asyncio.create_task(waits(lambda: gate.search(self.me, "Goal", her), over))
        try:
            await doing
        finally:
            over.set()
        return await reading

    async def same(self) -> None:
        """Both sides have the same goals, each once, and nothing is left open."""
        there = sorted(g["description"]["text"] for g in self.there.named("Goal") if g["subject"]["reference"] == self.her)
        here = await self.here()
        assert here == there, (here, there)
        assert (await self.status())["quiet"]

    def one_each(self) -> None:
        """No copy of ours is there twice, nor ever was at one time."""
        twice = {code: n for code, n in Counter(c for b in self.there.held.values() for c in copies.codes(b)).items() if n > 1}
        assert not twice, twice

    async def versions(self, ref: Ref) -> int:
        stored = await self.house.store.get(ref)
        assert stored is not None
        return stored.version

    def aside(self, doing: Callable[[], Awaitable[object]]) -> Callable[[object], object]:
        """For `before`, `act` and `after` of a fault: this happens here while that server has our request in its hands."""
        loop = asyncio.get_running_loop()

        async def done() -> None:
            await doing()

        return lambda _: asyncio.run_coroutine_threadsafe(done(), loop).result(20)

    async def worked(self, way: str = "push", step: str = "") -> int:
        """A worker in a process of its own until it is done or killed: its `victim`. What it ended with. `step`: at which it kills itself (`working`)."""
        self.victim = begun(str(self.file), self.line.url, self.names["surgery"], self.now.isoformat(), way, step)
        return await self.victim.over(60)

    async def second(self) -> tuple[House, Partner]:
        """Another worker, of its own connections, over the same file: its house and its partner."""
        mine, terms = self.house, self.partner.terms
        store = await sqlite.open(self.file, clock=lambda: self.now)
        house = House(
            store=store, clock=mine.clock, new_id=mine.new_id, r4=mine.r4, label_sets=mine.label_sets, secret=mine.secret, alarm=mine.alarm, remotes=mine.remotes
        )
        return house, Partner(terms, RemoteServer(self.line.url, lambda: self.now))


def begun(*args: str) -> Child:
    """`python -m tests.faults.working ARGS`, with what is said where this says it."""
    with open(os.devnull, "rb") as nothing, open(os.dup(2), "wb") as said:
        return nursery().start(args, dict(os.environ), ROOT, nothing, said, said, "tests.faults.working")


@asynccontextmanager
async def rigged(folder: Path, habits: Habits | None = None, *, patience: float = 0.0, **more: Any) -> AsyncIterator[Rig]:
    """`patience`: seconds after which a request is given up; `more` of Partner."""
    with mail_server() as post, scripted(habits) as there, proxied(there.url) as line:
        rig = Rig(post)
        there.clock = lambda: rig.now
        rig.file, rig.line = folder / "store.sqlite", line
        there.url = line.url  # as it calls itself in its links
        server = RemoteServer(line.url, lambda: rig.now)
        if patience:
            server.http.timeout = httpx2.Timeout(patience)
        rig.acknowledged, rig.shut, rig.earlier, rig.heads = [], {}, {}, {}
        await rig.begin(rig.file, there, server, **more)
        await rig.remember()
        yield rig
        await rig.end()
