"""When a plan is to be looked at again: a day on the plan itself, and whether it has come. Pure. docs/main-plan.md

https://fhir-gateway.example/StructureDefinition/plan-review; a day may be a month or a year: https://hl7.org/fhir/R4/datatypes.html#date
"""

from __future__ import annotations

import re
from calendar import monthrange
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any, Final

from .vocabulary import OURS

REVIEW: Final = f"{OURS}/StructureDefinition/plan-review"
REVIEWED: Final = f"{OURS}/StructureDefinition/plan-last-reviewed"
LIVE: Final = ("active", "on-hold")  # CarePlan.status of a plan that somebody looks at again


@dataclass(frozen=True, slots=True)
class Review:
    """The day of the next review, when it was last looked at ("": nobody says) and who sees to it, a Reference."""

    next: str
    last: str
    responsible: Mapping[str, Any]

    def due(self, today: date) -> bool:
        """Has the day come, the first day of a month or a year, and was it not looked at since."""
        return self.next <= today.isoformat()[: len(self.next)] and not self.done

    def late(self, today: date) -> bool:
        """Is that day over, or the whole month or year."""
        return self.next < today.isoformat()[: len(self.next)] and not self.done

    @property
    def done(self) -> bool:
        """Looked at on that day or after it. Less than a day of either is compared as far as both say."""
        n = min(len(self.next), len(self.last))
        return n > 0 and self.last[:n] >= self.next[:n]


def review_of(plan: Mapping[str, Any]) -> Review | None:
    """The next review of a CarePlan; None where it has none, or is over."""
    said = [e for e in _several(plan, "extension") if e.get("url") == REVIEW]
    parts = {e.get("url"): e for r in said for e in _several(r, "extension")}
    day = _day(parts.get("next") or {})
    if plan.get("status") not in LIVE or not day:
        return None
    who = (parts.get("responsible") or {}).get("valueReference")
    return Review(day, _last(plan), who if isinstance(who, Mapping) else {})


def looked_at(plan: Mapping[str, Any], on: date | None, then: date | None, *, clear: bool = False) -> dict[str, Any]:
    """The CarePlan, looked at on that day (None: not yet), and to be looked at again `then`. How often and who sees to it stay.

    Of two looks the later stays. Where nobody says `then`, the day that it has stays while it is still to come after the last look, else it is
    `again_after`; `clear`: nobody knows any more, it has none."""
    every = _several(plan, "extension")
    review = next((e for e in every if e.get("url") == REVIEW), {"url": REVIEW})
    parts, said = ([p for p in _several(review, "extension") if (p.get("url") == "next") == wanted] for wanted in (False, True))
    last = _last(plan)
    later = on is not None and on.isoformat()[: len(last)] >= last  # or as late, and said more closely
    if then is not None or clear:
        said = [_next(then)] if then is not None else []
    elif on is not None and later and (not said or Review(_day(said[0]), on.isoformat(), {}).done):
        again = again_after(plan, on)
        said = [_next(again)] if again is not None else []
    out = [e for e in every if e.get("url") != REVIEW and not (later and e.get("url") == REVIEWED)]
    out += [{"url": REVIEWED, "valueDate": on.isoformat()}] if on is not None and later else []
    out += [{**review, "extension": [*said, *parts]}] if said or parts else []
    return {k: v for k, v in plan.items() if k != "extension"} | ({"extension": out} if out else {})


def again_after(plan: Mapping[str, Any], day: date) -> date | None:
    """When a plan that was looked at on that day is to be next, by how often it says; None where that is no plain number of days, weeks, months or
    years, of five years at most."""
    said = [p for e in _several(plan, "extension") if e.get("url") == REVIEW for p in _several(e, "extension") if p.get("url") == "every"]
    found = _OFTEN.fullmatch(str(said[0].get("valueString") or "").strip().lower()) if said else None
    if found is None:
        return None
    n, what = int(found[1]), found[2]
    if not 0 < n * _DAYS[what] <= 5 * 366:
        return None
    if what in ("day", "week"):
        return day + timedelta(days=n * _DAYS[what])
    months = day.month - 1 + n * (12 if what == "year" else 1)
    year, month = day.year + months // 12, months % 12 + 1
    return date(year, month, min(day.day, monthrange(year, month)[1]))


_OFTEN: Final = re.compile(r"(?:every )?([0-9]{1,4}) (day|week|month|year)s?")
_DAYS: Final = {"day": 1, "week": 7, "month": 30, "year": 366}  # about so long


def _next(day: date) -> dict[str, Any]:
    return {"url": "next", "valueDate": day.isoformat()}


def _day(part: Mapping[str, Any]) -> str:
    return str(part.get("valueDate") or "")[:10]


def _last(plan: Mapping[str, Any]) -> str:
    """When it was last looked at, "" where nobody says."""
    return next((_day(e) for e in _several(plan, "extension") if e.get("url") == REVIEWED), "")


def _several(holder: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    found = holder.get(name)
    return [i for i in found if isinstance(i, Mapping)] if isinstance(found, list) else []


__all__ = ["LIVE", "Review", "again_after", "looked_at", "review_of"]
