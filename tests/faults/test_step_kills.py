"""`kill -9` where no request is under way: with the lease just taken, and at each commit of a review, of a conflict that is met or settled, of `sync resend`.

Each step in turn, in a process of its own that kills itself there (`working`), until one comes to its end; whoever comes after it goes on, and
nothing is lost, twice, or there without leave.
"""

from __future__ import annotations

import json
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from itertools import count
from pathlib import Path

import pytest

from fhir_gateway import gate
from fhir_gateway.sync import resending

from ..test_believing import ACTIONS
from .rig import Rig, rigged
from .test_missing import lost

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
LEASE = timedelta(seconds=90)  # longer than one holds
MOST = 60  # commits of one way, which are never so many


async def judged(rig: Rig, way: str, begin: Callable[[], Awaitable[object]], well: Callable[[], bool | Awaitable[bool]]) -> AsyncIterator[str]:
    """`begin`, then this way is gone until it is killed before its first commit, after it, before its second, and so on, each time anew, until it
    is not; each time all is `well` once it has come to rest."""
    for n in count(1):
        assert n < MOST
        for side in ("before", "after"):
            await begin()
            ended = await rig.worked(way, f"{side} {n}")
            assert ended in (0, -signal.SIGKILL)
            rig.now += LEASE
            await rig.settled()
            good = well()
            assert good if isinstance(good, bool) else await good, f"{way} was killed {side} commit {n}"
            rig.one_each()
            yield f"{side} {n}"
            if not ended:
                await rig.sound()
                return


@pytest.mark.parametrize("what", ["create", "update", "recall", "review"])
async def test_who_is_killed_with_the_lease_just_taken_keeps_nothing_from_anybody(tmp_path: Path, what: str) -> None:
    async with rigged(tmp_path) as rig:
        ref = await rig.goal()
        if what != "create":
            await rig.settled()
        if what == "update":
            await rig.change(rig.me, "walk", description={"text": "run"})
        if what in ("recall", "review"):
            await rig.no()
        if what == "recall":
            assert await rig.worked("push", "after 1") == -signal.SIGKILL  # the review is over, and has queued it
            rig.now += LEASE
        asked = len(rig.there.asked)
        assert await rig.worked("push", "taken") == -signal.SIGKILL
        assert len(rig.there.asked) == asked, "it has asked for nothing yet"
        rig.now += LEASE
        await rig.settled()
        assert rig.texts() == {"create": ["walk"], "update": ["run"]}.get(what, [])
        assert len({g["id"] for g in rig.there.ever("Goal")}) == 1 and (await rig.link(ref)) is not None
        await rig.sound()


@pytest.mark.parametrize("says", ["no", "yes again"])
async def test_who_is_killed_in_a_review_leaves_nothing_there_and_keeps_nothing_back(tmp_path: Path, says: str) -> None:
    """At each commit of what comes of it: what is taken back, what is sent anew."""
    async with rigged(tmp_path) as rig:

        async def begin() -> None:
            await rig.another()
            await rig.goal()
            await rig.settled()
            await rig.no()
            if says == "yes again":
                await rig.settled()
                assert hers(rig) == []
                await rig.grant("surgery", provision={"provision": [{"type": "permit", "actor": [rig.reader()], "action": ACTIONS}]})

        steps = [step async for step in judged(rig, "push", begin, lambda: hers(rig) == (["walk"] if says == "yes again" else []))]
        assert len(steps) > 6, steps


async def test_who_is_killed_where_a_conflict_is_met_keeps_both_once(tmp_path: Path) -> None:
    async with rigged(tmp_path) as rig:
        met = 0

        async def begin() -> None:
            nonlocal met
            met += 1
            await rig.another()
            ref = await rig.goal(f"walk {met}")
            await rig.settled()
            (there,) = [g for g in rig.there.named("Goal") if g["description"]["text"] == f"walk {met}"]
            rig.there.write({**there, "description": {"text": f"theirs {met}"}})
            await rig.change(rig.me, f"walk {met}", description={"text": f"ours {met}"})
            assert await rig.versions(ref) == 2

        async def both_kept() -> bool:
            kept = [json.loads(raw) for raw in (await rig.house.store.kept_all("conflict", rig.now, "hub ")).values()]
            said = [(c["ours"]["description"]["text"], c["theirs"]["description"]["text"]) for c in kept]
            (here,), (there,) = await rig.here(), hers(rig)
            return sorted(said) == sorted((f"ours {n}", f"theirs {n}") for n in range(1, met + 1)) and here == there and here in said[-1] + said[0]

        steps = [step async for step in judged(rig, "pull", begin, both_kept)]
        assert len(steps) > 2, steps


async def test_who_is_killed_while_they_settle_a_conflict_has_settled_it_or_not(tmp_path: Path) -> None:
    async with rigged(tmp_path) as rig:
        await rig.goal()
        await rig.settled()
        met = 0

        async def begin() -> None:
            nonlocal met
            for left in await gate.conflicts(rig.operator):
                await gate.settle(rig.operator, left["id"], "theirs", reason="as they said")
            met += 1
            await rig.settled()
            rig.there.write({**rig.there.named("Goal")[0], "description": {"text": f"theirs {met}"}})
            await rig.change(rig.me, "walk", description={"text": f"ours {met}"})
            await rig.settled()
            assert len(await gate.conflicts(rig.operator)) == 1

        async def settled_or_not() -> bool:
            (here,), left = await rig.here(), await gate.conflicts(rig.operator)
            return here == rig.texts()[0] and (here == f"theirs {met}" or len(left) == 1)

        steps = [step async for step in judged(rig, "settle", begin, settled_or_not)]
        assert len(steps) > 2, steps
        assert await gate.conflicts(rig.operator) == []


async def test_who_is_killed_while_they_resend_goes_on_where_they_were(tmp_path: Path) -> None:
    """At the first of its commits, in the middle of those by which lost copies are let go, and at those that queue them again."""
    async with rigged(tmp_path) as rig:
        texts = sorted(f"g{n:02}" for n in range(12))
        for text in texts:
            await rig.goal(text)
        await rig.settled()
        killed = 0
        for step in ("before 1", "after 1", "after 8", "before 14", "before 15", "before 16", "before 17"):
            await lost(rig)
            assert rig.texts() == [] and (await rig.status())["lost"]
            ended = await rig.worked("resend", step)
            killed += ended == -signal.SIGKILL
            await rig.round(2)
            assert await rig.here() == texts, "while it is on, nothing is deleted here"
            if ended:
                did = await resending.resend(rig.house, rig.partner, rig.operator, "their disk broke")
                assert did.done, step
            await rig.round(4)
            assert rig.texts() == texts == await rig.here(), step
            status = await rig.status()
            assert status["quiet"] and not status["lost"] and not status["resending"] and status["parked"] == status["missing"] == 0, (step, status)
            rig.one_each()
        assert killed >= 6
        await rig.no()
        await rig.round(4)
        assert rig.texts() == [] and (await rig.status())["quiet"]


def hers(rig: Rig) -> list[str]:
    """What her goals there say; none where her own record is not there."""
    tag = rig.names["amina"].removeprefix("Patient/")
    her = {f"Patient/{p['id']}" for p in rig.there.named("Patient") if any(t["code"].endswith(f".{tag}") for t in p["meta"].get("tag", []))}
    return sorted(g["description"]["text"] for g in rig.there.named("Goal") if g["subject"]["reference"] in her)
