"""When a plan is to be looked at again: a day on the plan itself, and whether it has come. Pure. docs/main-plan.md

https://fhir-gateway.example/StructureDefinition/plan-review; a day may be a month or a year: https://hl7.org/fhir/R4/datatypes.html#date
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
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
        return self.next <= today.isoformat()[: len(self.next)] and not self._done

    def late(self, today: date) -> bool:
        """Is that day over, or the whole month or year."""
        return self.next < today.isoformat()[: len(self.next)] and not self._done

    @property
    def _done(self) -> bool:
        """Looked at on that day or after it. Less than a day of either is compared as far as both say."""
        n = min(len(self.next), len(self.last))
        return n > 0 and self.last[:n] >= self.next[:n]


def review_of(plan: Mapping[str, Any]) -> Review | None:
    """The next review of a CarePlan; None where it has none, or is over."""
    said = [e for e in _several(plan, "extension") if e.get("url") == REVIEW]
    parts = {e.get("url"): e for r in said for e in _several(r, "extension")}
    day = str((parts.get("next") or {}).get("valueDate") or "")[:10]
    if plan.get("status") not in LIVE or not day:
        return None
    last = next((str(e.get("valueDate") or "") for e in _several(plan, "extension") if e.get("url") == REVIEWED), "")
    who = (parts.get("responsible") or {}).get("valueReference")
    return Review(day, last[:10], who if isinstance(who, Mapping) else {})


def looked_at(plan: Mapping[str, Any], on: date | None, then: date | None) -> dict[str, Any]:
    """The CarePlan, looked at on that day (None: not yet), and to be looked at again `then` (None: nobody says). How often and who sees to it stay."""
    every = _several(plan, "extension")
    review = next((e for e in every if e.get("url") == REVIEW), {"url": REVIEW})
    parts = [p for p in _several(review, "extension") if p.get("url") != "next"]
    parts = [*([{"url": "next", "valueDate": then.isoformat()}] if then else []), *parts]
    out = [e for e in every if e.get("url") != REVIEW and (on is None or e.get("url") != REVIEWED)]
    out += [{"url": REVIEWED, "valueDate": on.isoformat()}] if on else []
    out += [{**review, "extension": parts}] if parts else []
    return {k: v for k, v in plan.items() if k != "extension"} | ({"extension": out} if out else {})


def _several(holder: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    found = holder.get(name)
    return [i for i in found if isinstance(i, Mapping)] if isinstance(found, list) else []


__all__ = ["LIVE", "Review", "looked_at", "review_of"]
