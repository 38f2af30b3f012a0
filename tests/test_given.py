"""What the person is told of what was sent: there, taken back, being taken back, and what nobody would give back."""

from __future__ import annotations

import pytest

from fhir_gateway import gate
from fhir_gateway.domain.problem import Problem

from . import test_believing
from .test_believing import Beside

here = test_believing.here


async def states(here: Beside) -> dict[str, str]:
    return {str(g.ref): g.state for g in await gate.given(here.me)}


async def test_each_thing_is_said_to_be_there_or_back_or_why_not(here: Beside) -> None:
    ref = str(await here.goal())
    here.there.fault("POST", "Goal", times=1, cut="before")
    await here.round()
    assert (await states(here))[ref] == "unanswered"
    await here.settled()
    assert set((await states(here)).values()) == {"there"} and len(await states(here)) == 2
    here.there.fault("DELETE", "Goal", status=503)
    for key in [k for k in here.names if k.startswith("consent")]:
        await here.change(here.me, key, status="inactive")
    await here.round()
    assert (await states(here))[ref] == "asked-back"
    here.there.well()
    here.there.fault("DELETE", "Goal", status=400)
    await here.settled()
    first, *_ = await gate.given(here.me)
    assert (str(first.ref), first.state) == (ref, "refused"), "what should be back comes first"
    here.house.remotes = ()
    assert (await states(here))[ref] == "parted"


async def test_what_went_twice_is_told_twice(here: Beside) -> None:
    await here.goal()
    await here.settled()
    consents = [k for k in here.names if k.startswith("consent")]
    for status in ("inactive", "active"):
        for key in consents:
            await here.change(here.me, key, status=status)
        await here.settled()
    found = [g for g in await gate.given(here.me) if g.ref.type == "Goal"]
    assert [g.state for g in found] == ["there", "back"] and found[1].recalled is not None and found[1].recalled < found[0].first


async def test_nobody_else_is_told(here: Beside) -> None:
    await here.goal()
    await here.settled()
    for ctx in (here.hospital, here.operator):
        with pytest.raises(Problem) as refused:
            await gate.given(ctx)
        assert refused.value.kind == "not-found"


