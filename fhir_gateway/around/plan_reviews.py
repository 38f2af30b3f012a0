"""Plans that are to be looked at again: which are due, and writing down that it was done or is to be another day. docs/main-plan.md"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any, Final

from .. import gate
from ..domain import compartment, strict
from ..domain.plan_reviews import LIVE, Review, again_after, looked_at, review_of
from ..domain.problem import Problem, not_found
from ..domain.types import Ref
from ..gate import Context, Written
from .follow_ups import FURTHEST, MOST_DUE, today

PAGES: Final = 4  # of a search that are looked through


@dataclass(frozen=True, slots=True)
class Due:
    """A plan (an id) whose day has come, and whose it is (an id). `title`: its own words, "" where it has none."""

    plan: str
    person: str
    title: str
    review: Review
    late: bool


def of_record(record: Iterable[Mapping[str, Any]], now: date) -> list[Due]:
    """Which plans are due among these resources, the oldest first."""
    found = [(p, r) for p in record if p.get("resourceType") == "CarePlan" and (r := review_of(p)) is not None and r.due(now)]
    due = [Due(str(p.get("id", "")), (compartment.subject(p) or "").removeprefix("Patient/"), str(p.get("title") or ""), r, r.late(now)) for p, r in found]
    return sorted(due, key=lambda d: (d.review.next, d.title, d.plan))


async def due_of_all(ctx: Context) -> list[Due]:
    """Which plans are due now, of everybody whose this reader may see, the oldest first; at most `MOST_DUE`."""
    now, out = today(ctx), list[Due]()
    asked: list[tuple[str, str]] = [("review", f"lt{(now + timedelta(days=1)).isoformat()}"), ("status", ",".join(LIVE)), ("_sort", "review"), ("_count", str(MOST_DUE))]
    for _page in range(PAGES):  # those that were looked at since and say no other day are found, too
        page = await gate.search(ctx, "CarePlan", asked)
        out += of_record((strict.decode(e.body) for e in page.entries if e.body and e.mode == "match"), now)
        if page.next is None or len(out) >= MOST_DUE:
            break
        asked = [("_page", page.next)]
    return sorted(out, key=lambda d: (d.review.next, d.title, d.plan))[:MOST_DUE]


async def of_plan(ctx: Context, plan: str, people: Iterable[str]) -> tuple[int, dict[str, Any]]:
    """The version and the CarePlan of this id, of one of these people (`Patient/…`). Problem not-found for any other, hidden and absent alike."""
    read = await gate.read(ctx, Ref("CarePlan", plan))
    body = strict.decode(read.body)
    if compartment.subject(body) not in set(people):
        raise not_found()
    return read.version, body


def to_propose(plan: Mapping[str, Any], now: date) -> date | None:
    """The next day that a form proposes to whoever writes down that this plan was looked at today: its own where that is to come, else by how often it
    is looked at. None where neither is a day that `write_down` takes."""
    review = review_of(plan)
    if review is None or review.next <= now.isoformat()[: len(review.next)]:
        proposed = again_after(plan, now)
    else:
        proposed = date.fromisoformat(review.next) if len(review.next) == 10 else None
    return proposed if proposed is not None and now < proposed <= now + timedelta(days=FURTHEST) else None


async def write_down(ctx: Context, plan: str, version: int, on: date | None, then: date | None, *, clear: bool = False) -> Written:
    """That this plan was looked at on a day, when it is to be next, or both; over no other version of it. `clear`: the day that was proposed for the
    next is not to be. Problem invalid at `on` or `then`, stale, and all of a patch."""
    now = today(ctx)
    if on is None and then is None:
        raise Problem("invalid", "Say when it was looked at, or when it is to be.", "on")
    if on is not None and not now - timedelta(days=FURTHEST) <= on <= now:
        raise Problem("invalid", "It was looked at today or earlier, and at most five years ago.", "on")
    if then is not None and not now < then <= now + timedelta(days=FURTHEST):
        raise Problem("invalid", "The next day is later than today, and at most five years away.", "then")
    return await gate.patch(ctx, Ref("CarePlan", plan), lambda body: looked_at(body, on, then, clear=clear), if_match=version)


__all__ = ["LIVE", "Due", "due_of_all", "of_plan", "of_record", "review_of", "to_propose", "write_down"]
