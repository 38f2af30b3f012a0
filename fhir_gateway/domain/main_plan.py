"""A person has one main plan: which CarePlans count, which of several is the main one, and what is asked about another. docs/main-plan.md"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from .mapping.names import counts as counts
from .vocabulary import CONFIDENTIALITY_SYSTEM, MERGE_PLANS, TASK_SYSTEM

ASKED: Final = "Another plan came in for this person. Look at both, and say what becomes of it. Whoever sent it was not told of the first."

MERGED: Final = "Two records of this person were put together, and each has a plan. Look at both, and say which of them the person goes on with. Neither is changed by it."


def main_of(said: str | None, counting: Iterable[str]) -> str | None:
    """Which of those that count is the main one: the one that was said to be, else the oldest, whose id is the first."""
    found = set(counting)
    return said if said in found else min(found, default=None)


def already(ref: str) -> str:
    """What is said to a writer who sees `ref` and brings another."""
    return f"This person has a plan already ({ref}). Change that one, send yours as part of it (`partOf`), or end it first."


def question(new: str, person: str, owner: Mapping[str, Any], labels: Iterable[Mapping[str, Any]], at: str, words: str = ASKED) -> dict[str, Any]:
    """The Task that asks `owner` what is to become of the plan `new`. `labels`: of both plans, for it is as private as either."""
    security = [{"system": CONFIDENTIALITY_SYSTEM, "code": "R"}]
    security += [dict(c) for c in labels if c not in security]
    return {
        "resourceType": "Task",
        "meta": {"security": security},
        "status": "requested",
        "intent": "order",
        "code": {"coding": [{"system": TASK_SYSTEM, "code": MERGE_PLANS}]},
        "description": words,
        "focus": {"reference": new},
        "for": {"reference": person},
        "authoredOn": at,
        "owner": dict(owner),
    }


def asks_about(task: Mapping[str, Any]) -> str | None:
    """The plan that this Task asks about, where it is one of ours and open; None for any other."""
    codings = (task.get("code") or {}).get("coding") or ()
    ours = any(c.get("system") == TASK_SYSTEM and c.get("code") == MERGE_PLANS for c in codings)
    open = task.get("status") in ("requested", "received", "accepted", "ready", "in-progress", "on-hold")
    return str((task.get("focus") or {}).get("reference", "")) if ours and open else None
