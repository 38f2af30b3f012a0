"""A reader's answers are those of a server that never held what they may not see: every surface, random records, both stores.

`SEED=n` asks what that one seed asks, on both stores. docs/differential.md says what is compared and how to read a failure.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterable
from dataclasses import replace

import pytest

from fhir_gateway.domain.types import Op, Put, Ref

from ..conftest import times
from .comparing import Counted, Difference, Pair, Spoil, case_of, differs, smaller
from .sides import Shelf

QUICK, QUICK_ON_BOTH = 40, 3
LONG, LONG_ON_BOTH = 260, 20
# Answers with data that would be hidden but for an emergency, a claim, an urgent care service; operations that told something; pages
SHOWN = {"emergency", "claim", "urgent care", "$everything", "$preview", "$explain", "$meta", "page my-plan", "page team", "page team person"}
OFTEN = {
    "emergency": 30, "claim": 15, "urgent care": 3, "$preview": 4, "$explain": 15, "$meta": 25, "$meta-add": 2, "page my-plan": 25, "page my plan": 3,
    "page team": 60, "page team person": 10, "page under emergency": 1, "POST claims": 1, "POST break-glass": 1,
}  # fmt: skip
SEED = os.environ.get("SEED", "")


async def ask_all(seeds: Iterable[int], scratch: Shelf, pairs: dict[str, Pair]) -> Counted:
    count = Counted()
    for seed in seeds:
        found = await differs(case_of(seed), scratch, pairs, count)
        if found is not None:
            pytest.fail(await told(found, scratch, pairs), pytrace=False)
    return count


async def told(found: Difference, scratch: Shelf, pairs: dict[str, Pair]) -> str:
    least = await smaller(found, scratch, pairs)
    again = f"SEED={found.case.world.seed} .venv/bin/pytest tests/differential -k one_seed"
    return f"{again}\n\n{least}\n\nThe least that shows it:\n{least.case}"


def fresh(n: int) -> range:
    """Seeds that nobody has tried; a failure says which it was."""
    start = secrets.randbelow(10**9)
    return range(start, start + times(n))


@pytest.mark.skipif(bool(SEED), reason="one seed is asked for")
async def test_an_answer_is_that_of_a_server_that_never_held_the_hidden(scratch: Shelf, on_sqlite: Pair) -> None:
    count = await ask_all(range(2_040, 2_040 + QUICK), scratch, {"sqlite": on_sqlite})
    assert count.hidden > 5 * QUICK and count.seen > 5 * QUICK, "much is hidden, and much is not"
    assert set(count.showing) >= SHOWN, count.showing
    assert {said[-3:] for said in count.statuses} >= {"200", "201", "304", "400", "403", "404", "412", "422"}, count.statuses


@pytest.mark.skipif(bool(SEED), reason="one seed is asked for")
async def test_both_stores_answer_as_servers_that_never_held_the_hidden(scratch: Shelf, on_sqlite: Pair, on_mongo: Pair) -> None:
    await ask_all(range(1_000, 1_000 + QUICK_ON_BOTH), scratch, {"sqlite": on_sqlite, "mongo": on_mongo})


@pytest.mark.slow
@pytest.mark.skipif(bool(SEED), reason="one seed is asked for")
async def test_fresh_worlds_answer_as_a_server_that_never_held_the_hidden(scratch: Shelf, on_sqlite: Pair) -> None:
    count = await ask_all(fresh(LONG), scratch, {"sqlite": on_sqlite})
    few = {what: n for what, least in OFTEN.items() if (n := count.showing.get(what, 0)) < least}
    assert not few, count.showing


@pytest.mark.slow
@pytest.mark.skipif(bool(SEED), reason="one seed is asked for")
async def test_fresh_worlds_on_both_stores_answer_as_servers_that_never_held_the_hidden(scratch: Shelf, on_sqlite: Pair, on_mongo: Pair) -> None:
    await ask_all(fresh(LONG_ON_BOTH), scratch, {"sqlite": on_sqlite, "mongo": on_mongo})


@pytest.mark.skipif(not SEED, reason="SEED= names one")
async def test_one_seed(scratch: Shelf, on_sqlite: Pair, on_mongo: Pair) -> None:
    await ask_all([int(SEED)], scratch, {"sqlite": on_sqlite, "mongo": on_mongo})


# -- that the comparison can fail -------------------------------------------------------------------------------------


def opened(of: str, ops: list[Op], gone: set[Ref]) -> list[Op]:
    """One hidden resource is kept with the facts of what holds no patient data."""
    hidden = min((r for r in gone if r.type in ("Goal", "CarePlan", "Observation")), default=None)
    return [_public(o) if of == "whole" and isinstance(o, Put) and o.ref == hidden else o for o in ops]


def _public(put: Put) -> Put:
    return replace(put, facts=replace(put.facts, type="Questionnaire", patients=()))


def telling(of: str, ops: list[Op], gone: set[Ref]) -> list[Op]:
    """The view keeps the displays it should drop."""
    return [replace(o, view=o.body) if of == "whole" and isinstance(o, Put) else o for o in ops]


def short(of: str, ops: list[Op], gone: set[Ref]) -> list[Op]:
    """A search parameter too few: totals and chains."""
    return [replace(o, keys=tuple(k for k in o.keys if k.name != "subject")) if of == "whole" and isinstance(o, Put) else o for o in ops]


def bumped(of: str, ops: list[Op], gone: set[Ref]) -> list[Op]:
    """A version more where something hidden was relabelled: its number shows."""
    return [replace(o, at=o.at.replace(microsecond=999_000)) if of == "whole" and isinstance(o, Put) and o.ref.type == "Goal" else o for o in ops]


@pytest.mark.parametrize("spoil", [opened, telling, short, bumped], ids=lambda f: f.__name__)
async def test_a_server_that_leaks_is_caught(spoil: Spoil, scratch: Shelf, on_sqlite: Pair) -> None:
    pairs = {"sqlite": on_sqlite}
    for seed in range(40):
        found = await differs(case_of(seed), scratch, pairs, spoil=spoil)
        if found is not None:
            assert f"SEED={seed}" in str(found)
            return
    pytest.fail("it leaked, and no answer differed")
