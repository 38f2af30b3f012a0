"""A person has one main plan: which CarePlans count, which of several is the main one, and what is asked about another. docs/main-plan.md"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any, Final

from .bundle import references
from .mapping.names import counts as counts
from .mapping.names import local, own_identifier
from .vocabulary import CONFIDENTIALITY_SYSTEM, MERGE_PLANS, TASK_SYSTEM

ASKED: Final = "Another plan came in for this person. Look at both, and say what becomes of it. Whoever sent it was not told of the first."

MERGED: Final = "Two records of this person were put together, and each has a plan. Look at both, and say which of them the person goes on with. Neither is changed by it."


def main_of(said: str | None, counting: Iterable[str]) -> str | None:
    """Which of those that count is the main one: the one that was said to be, else the oldest, whose id is the first."""
    found = set(counting)
    return said if said in found else min(found, default=None)


def of_main(held: Mapping[str, Mapping[str, Any]]) -> set[str]:
    """Of the resources of a record, by `Type/id`: the main plans, and all that they name."""
    return {name for ref, r in held.items() if ref.startswith("CarePlan/") and counts(r) for name in (ref, *references(r))}


def in_order(record: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The resources of a record, a main plan and what it names first, then as they came in. Anybody may write an identifier of a plan: of several that
    bear one the first of these is the thing of the plan."""
    held = {f"{r.get('resourceType')}/{r.get('id')}": r for r in record}
    named = of_main(held)
    return [held[ref] for ref in sorted(held, key=lambda ref: (ref not in named, ref.partition("/")[2]))]


def called(record: Iterable[Mapping[str, Any]], types: Collection[str]) -> dict[str, str]:
    """`Type/id` of each resource of these types by `Type/` and the id that a page has for it: its own, or the one that a plan gives it."""
    held = [r for r in in_order(record) if r.get("resourceType") in types]
    by_plan = [(r, own) for r in held if (own := own_identifier(r)) is not None]
    out = {ref: ref for r in held if own_identifier(r) is None for ref in [f"{r['resourceType']}/{r.get('id')}"]}
    for r, own in by_plan:
        if planned := local(own[1]):
            out.setdefault(f"{r['resourceType']}/{planned}", f"{r['resourceType']}/{r.get('id')}")
    for r, _ in by_plan:
        out.setdefault(f"{r['resourceType']}/{r.get('id')}", f"{r['resourceType']}/{r.get('id')}")
    return out


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
