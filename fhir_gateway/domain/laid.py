"""What a partner's list, or a whole plan of a system, said the last time it came, word by word: what it says so again is nothing new, whatever others
have said since. Pure.

Each word of a list is known by where it stands (things of a list by `id`) and its digest alone, a plan by the digests of its words in their places. The
laws (tests/test_laid.py):

    unsaid(part, words(part), here) says nothing but whose it is
    unsaid(part, {}, here) == part
    since(digests(plan), now, plan) == now
    since(digests(now), now, plan) == plan
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from decimal import Decimal
from hashlib import sha256
from typing import Any, Final
from urllib.parse import quote

from .mapping.carrier import dump
from .problem import Problem
from .reconcile import Conflict, Merge, Pull, reconcile

WHOSE: Final = ("plan", "id", "person")  # always said
NAMES: Final = ("id", "nhs_number", "birth_date")  # of a person, besides their name: by these a list says whom it means
_NOTHING: Final = object()


def words(part: Mapping[str, Any]) -> dict[str, str]:
    """Every word of a list, by its place; of what is empty, that."""
    return dict(_words(part, "")) if part else {}


def _words(node: Any, place: str) -> Iterator[tuple[str, str]]:
    if isinstance(node, Mapping) and node:
        for key, value in node.items():
            yield from _words(value, _below(place, key))
    elif _things(node):
        for thing in node:
            yield from _words(thing, _below(place, thing["id"]))
    else:
        yield place, _digest(node)


def _digest(node: Any) -> str:
    return sha256(dump(node).encode("utf-8", "surrogatepass")).hexdigest()[:16]


def _below(place: str, key: str) -> str:
    return f"{place}/{quote(key, safe='', errors='replace')}"


def spelt(*keys: str) -> str:
    """The place of what stands below these keys."""
    place = ""
    for key in keys:
        place = _below(place, key)
    return place


def _things(node: Any) -> bool:
    """A list of things that have an id each, and no two the same."""
    ids = [thing.get("id") for thing in node] if isinstance(node, list) and node and all(isinstance(t, Mapping) for t in node) else []
    return bool(ids) and all(isinstance(id, str) and id for id in ids) and len(set(ids)) == len(ids)


def unsaid(part: Mapping[str, Any], said: Mapping[str, str], here: Mapping[str, Any]) -> dict[str, Any]:
    """The list without what it `said` so before (`words`); of a thing that says anything new, its id with that, or all of it where the plan `here` has it no
    more: a dose alone is no medicine."""
    whose = {k: v for k, v in part.items() if k in WHOSE}
    rest = {k: new for k, v in part.items() if k not in WHOSE and (new := _unsaid(v, _below("", k), said, here.get(k))) is not _NOTHING}
    return {**whose, **rest}


def _unsaid(node: Any, place: str, said: Mapping[str, str], here: Any) -> Any:
    if isinstance(node, Mapping) and node:
        new = {k: v for k, value in node.items() if (v := _unsaid(value, _below(place, k), said, here.get(k) if isinstance(here, Mapping) else None)) is not _NOTHING}
        return new or _NOTHING
    if _things(node):
        known = {t["id"]: t for t in here if isinstance(t, Mapping) and isinstance(t.get("id"), str)} if isinstance(here, list) else {}
        changed = [(t, new) for t in node if (new := _unsaid(t, _below(place, t["id"]), said, known.get(t["id"]))) is not _NOTHING]
        things = [{"id": t["id"], **new} if t["id"] in known else t for t, new in changed]
        return things or _NOTHING
    return _NOTHING if said.get(place) == _digest(node) else node


def compared(person: Mapping[str, Any], here: Mapping[str, Any]) -> dict[str, Any]:
    """What a list says of a `person`, without what only says whom it means where the record (`here`) says that itself: they are called as they say, and not
    as a ward's list has them. What the record does not say of these is said."""
    out = {k: v for k, v in person.items() if not (k in NAMES and here.get(k))}
    theirs, ours = person.get("name"), here.get("name")
    if isinstance(theirs, Mapping) and isinstance(ours, Mapping) and ours:
        known = {k for k, v in ours.items() if v} | ({"full"} if ours.get("family") or ours.get("given") else {"family", "given"} if ours.get("full") else set())
        out["name"] = {k: v for k, v in theirs.items() if k not in known}
    return out


# -- a whole plan -----------------------------------------------------------------------------------------------------


def digests(plan: Any) -> Any:
    """A plan with the digest of each word in its place; 840.0 and 840.00 are one."""
    if isinstance(plan, Mapping) and plan:
        return {k: digests(v) for k, v in plan.items()}
    if isinstance(plan, list) and plan:
        return [digests(v) for v in plan]
    return _digest(_number(plan)) if type(plan) in (int, Decimal) else _digest(plan)


def _number(value: int | Decimal) -> dict[str, Any]:
    sign, digits, exponent = Decimal(value).as_tuple()
    text = "".join(map(str, digits)).rstrip("0")
    return {"number": f"{'-' if sign and text else ''}{text}", "ten": f"{exponent}" if not isinstance(exponent, int) else exponent + len(digits) - len(text) if text else 0}


def since(before: Any, now: Mapping[str, Any], plan: Mapping[str, Any]) -> dict[str, Any]:
    """The plan as it is `now`, with what its sender says otherwise, adds and leaves out since they said `before` (`digests`): what others wrote or changed
    meanwhile stays. Problem conflict, with each place, where both changed the same, or the one changed what the other left out."""
    values = dict(_values(now)) | dict(_values(plan))
    step = reconcile({"plan": before}, {"plan": digests(now)}, {"plan": digests(plan)})
    if isinstance(step, Conflict):
        places = [p.partition(".plan.")[2] or "the plan" for p in step.paths]
        some = ", ".join(f"`{p[:80]}`" for p in places[:5]) + (f" and {len(places) - 5} more" if len(places) > 5 else "")
        said = f"Since you sent this plan last somebody else has changed what you change now: {some}. Read it again (GET), change that, and send it with its ETag as If-Match. Nothing was written."
        raise Problem("conflict", said, places[0])
    out = _back(step.body["plan"], values) if isinstance(step, Pull | Merge) and step.body is not None else now
    return dict(out)


def _values(plan: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(plan, Mapping) and plan:
        for value in plan.values():
            yield from _values(value)
    elif isinstance(plan, list) and plan:
        for value in plan:
            yield from _values(value)
    else:
        yield digests(plan), plan


def _back(node: Any, values: Mapping[str, Any]) -> Any:
    if isinstance(node, Mapping):
        return {k: _back(v, values) for k, v in node.items()}
    return [_back(v, values) for v in node] if isinstance(node, list) else values[node]


__all__ = ["compared", "digests", "since", "spelt", "unsaid", "words"]
