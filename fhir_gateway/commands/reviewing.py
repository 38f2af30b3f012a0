"""`emergencies`: the review queue of emergency accesses, for whoever runs this gateway. Nothing of what was read."""

from __future__ import annotations

from typing import Any

from .. import gate
from ..settings import load
from ..wiring import operator, wired
from .operating import out


async def listing(reviewed: bool, as_json: bool) -> int:
    async with wired(load()) as w:
        after, pages = "", True
        while pages:
            found, after = await gate.emergencies(operator(w), reviewed=reviewed, after=after)
            for e in found:
                _print(e, as_json)
            pages = bool(after)
    return 0


def _print(e: dict[str, Any], as_json: bool) -> None:
    if as_json:
        return out(e)
    kinds = ", ".join(f"{n} {kind}" for kind, n in e["read"].items()) or "nothing"
    print(f"{e['id']}: {e['name'] or e['user']} ({e['organisation']}) about {e['patient']}, {e['at']} to {e['until']}")
    print(f"  {e['ground']}: {e['reason']}\n  looked {e['looked']} times and saw {kinds}")
    for r in e["reviews"]:
        print(f"  {r['outcome']}, {r['name'] or r['by']} at {r['at']}: {r['words']}")


async def review(id: str, outcome: str, words: str) -> int:
    async with wired(load()) as w:
        await gate.review(operator(w), id, outcome, words)
    print(f"{id}: {outcome}")
    return 0


async def end(id: str) -> int:
    async with wired(load()) as w:
        await gate.stop_emergency(operator(w), id)
    print(f"{id}: ended")
    return 0
