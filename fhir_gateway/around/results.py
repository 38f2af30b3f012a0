"""What was measured of a person, as far as the reader may see it, to be told in plain words. docs/results.md"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from .. import gate
from ..domain import strict
from ..domain.problem import not_found
from ..gate import Context

MOST: Final = 500  # readings on one page
BATCH: Final = 100


@dataclass(frozen=True, slots=True)
class Measured:
    """The newest Observations that this reader may see, at most `MOST`; `person` is the Patient, or {} where that is hidden from them."""

    person: dict[str, Any]
    observations: list[dict[str, Any]]
    more: bool


async def measured(ctx: Context, ids: str) -> Measured:
    """Everything measured of one person (an id, or the ids of one's merged records with commas). Problem not-found, the same for hidden and absent."""
    people = await gate.search(ctx, "Patient", [("_id", ids)])
    person: dict[str, Any] = next((strict.decode(e.body) for e in people.entries if e.body and e.mode == "match"), {})
    found: list[dict[str, Any]] = []
    asked = [("patient", ids), ("_sort", "-date"), ("_count", str(BATCH))]
    while True:
        page = await gate.search(ctx, "Observation", asked)
        found += [strict.decode(e.body) for e in page.entries if e.body and e.mode == "match"]
        if page.next is None or len(found) >= MOST:
            break
        asked = [("_page", page.next)]
    if not person and not found:
        raise not_found()
    return Measured(person, found[:MOST], page.next is not None or len(found) > MOST)


__all__ = ["MOST", "Measured", "measured"]
