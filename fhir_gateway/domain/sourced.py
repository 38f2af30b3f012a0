"""Ids of a partner's list as ids of the plan: each source numbers its own things, so that what two partners both call 1 is two things. Pure.

    plain(named(part, by, ()), by) == part     where no id of it begins with `by:` already
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any, Final

from .plan import POINTERS

PEOPLE: Final = ("team", "contacts")
_WHO: Final = frozenset({"by", "held_by", "led_by", "responsible", "said_by", "sent_by", "sent_to", "set_by", "typed_by", "who", "who_to_contact", "with"})  # where the plan names one of them

Thing = tuple[str, str]  # the list of the plan, the id


def things(plan: Mapping[str, Any]) -> Iterator[Thing]:
    """Every thing of a list of the plan that has an id."""
    for key, some in plan.items():
        if not key.startswith("x_") and isinstance(some, list):
            yield from ((key, t["id"]) for t in some if isinstance(t, Mapping) and isinstance(t.get("id"), str) and t["id"])


def called(by: str, id: str) -> str:
    """An id of this source in the plan."""
    return f"{by}:{id}"


def named(part: Mapping[str, Any], by: str, stays: Collection[Thing]) -> dict[str, Any]:
    """A part of a plan with the ids of the source `by`, but for the things that are in the plan by the plain id already (`stays`)."""
    return _renamed(part, {(key, id): called(by, id) for key, id in things(part) if (key, id) not in stays})


def plain(plan: Mapping[str, Any], by: str) -> dict[str, Any]:
    """The plan as its source numbers it; what has a plain id of the plan stays apart from what it would be taken for."""
    there = set(things(plan))
    back = {(key, id): id.removeprefix(f"{by}:") for key, id in there if id.startswith(f"{by}:")}
    return _renamed(plan, {thing: id for thing, id in back.items() if id and (thing[0], id) not in there})


def _renamed(plan: Mapping[str, Any], new: Mapping[Thing, str]) -> dict[str, Any]:
    people = {id: name for (key, id), name in new.items() if key in PEOPLE}
    return {key: _list(key, some, new, people) if not key.startswith("x_") else some for key, some in plan.items()} if new else dict(plan)


def _list(key: str, some: Any, new: Mapping[Thing, str], people: Mapping[str, str]) -> Any:
    if not isinstance(some, list):
        return _who(some, people)
    to = {pointer: target for of, pointer, target in POINTERS if of == key}
    return [_thing(key, t, to, new, people) if isinstance(t, Mapping) else t for t in some]


def _thing(key: str, thing: Mapping[str, Any], to: Mapping[str, str], new: Mapping[Thing, str], people: Mapping[str, str]) -> dict[str, Any]:
    out = {k: _of_list(v, to[k], new) if k in to else v for k, v in _who(thing, people).items()}
    if isinstance(thing.get("id"), str):
        out["id"] = new.get((key, thing["id"]), thing["id"])
    order = out.get("prescription")
    if key == "medicines" and isinstance(order, Mapping) and "instead_of" in order:
        out["prescription"] = {**order, "instead_of": _of_list(order["instead_of"], key, new)}
    return out


def _of_list(ids: Any, key: str, new: Mapping[Thing, str]) -> Any:
    return _each(ids, lambda id: new.get((key, id), id))


def _who(node: Any, people: Mapping[str, str]) -> Any:
    """The same with people by their new ids, wherever the plan names one."""
    if isinstance(node, list):
        return [_who(n, people) for n in node]
    if not isinstance(node, Mapping):
        return node
    return {k: v if k.startswith("x_") else _each(v, lambda id: people.get(id, id)) if k in _WHO and _ids(v) else _who(v, people) for k, v in node.items()}


def _ids(value: Any) -> bool:
    return isinstance(value, str) or (isinstance(value, list) and all(isinstance(v, str) for v in value))


def _each(value: Any, name: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return name(value)
    return [name(v) if isinstance(v, str) else v for v in value] if isinstance(value, list) else value


__all__ = ["Thing", "called", "named", "plain", "things"]
