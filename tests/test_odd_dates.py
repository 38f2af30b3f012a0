"""No date of a partner stops what comes from it, or hides any of it: of the year 1, of the year 9999, or of next week."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from fhir_gateway.domain.types import Keep

from .faults.scripted import Habits
from .test_pulling import Begin
from .test_pulling import begin as begin

LAST, FIRST = "Fri, 31 Dec 9999 23:59:59 GMT", "Mon, 01 Jan 0001 00:00:00 GMT"
SAID: dict[str, dict[str, Any]] = {
    "a Date of the last year": {"headers": {"Date": LAST}},
    "a Date of the first year": {"headers": {"Date": FIRST}},
    "a page of the last year": {"change": lambda b: {**b, "meta": {"lastUpdated": "9999-12-31T23:59:59Z"}}},
    "a page of the first year": {"change": lambda b: {**b, "meta": {"lastUpdated": "0001-01-01T00:00:00Z"}}},
    "both": {"headers": {"Date": LAST}, "change": lambda b: {**b, "meta": {"lastUpdated": "9999-12-31T23:59:59Z"}}},
}


@pytest.mark.parametrize("said", SAID)
@pytest.mark.parametrize("feed", ["system", pytest.param("search", marks=pytest.mark.slow)])
async def test_no_date_of_theirs_stops_or_hides_anything(begin: Begin, said: str, feed: Any) -> None:
    here = await begin(Habits(feed=feed))
    here.there.fault("GET", "Observation" if feed == "search" else "_history", times=1, applied=True, **SAID[said])
    here.seen("one", at=here.now.replace(year=2998))
    await here.pull()
    here.there.well()
    for n in range(2):
        here.now += timedelta(minutes=30)
        here.seen(f"after {n}")
        await here.pull()
    assert await here.texts() == ["after 0", "after 1", "one"]
    assert all(mark.decode() < f"{here.now + timedelta(minutes=16):%Y-%m-%dT%H:%M:%S}" for key, mark in (await here.house.store.kept_all("watermark", here.now, "hub ")).items())
    here.mortal.commits = 0
    await here.pull()
    assert here.mortal.commits == 0, "it is not gone through anew each time"


async def test_a_watermark_of_the_future_that_was_kept_before_heals(begin: Begin) -> None:
    here = await begin()
    here.seen("one")
    await here.pull()
    for mark in (b"2998-01-01T00:00:00.000Z", b"2998-01-01T00:00:00.000Z 30700000000.000", f"{here.now:%Y-%m-%dT%H:%M:%S}.000Z 251000000000.000".encode()):
        here.seen(mark.decode())
        await here.house.store.commit(Keep("watermark", "hub system", mark))
        await here.pull()
        assert mark.decode() in await here.texts()
    (kept,) = (await here.house.store.kept_all("watermark", here.now, "hub system")).values()
    assert kept < b"2998"


async def test_a_clock_a_day_ahead_that_is_put_right_hides_nothing(begin: Begin) -> None:
    here = await begin(Habits(feed="search", skew=timedelta(days=1)))
    here.seen("before")
    await here.pull()
    here.there.habits.skew = timedelta(0)
    here.now += timedelta(seconds=5)
    here.seen("after")
    await here.pull()
    assert await here.texts() == ["after", "before"]
