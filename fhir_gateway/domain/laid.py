"""What a partner's list said the last time it came, word by word: what it says so again is nothing new, whatever others have said since. Pure.

Each word is known by where it stands (things of a list by `id`) and its digest alone. The laws (tests/test_laid.py):

    unsaid(part, words(part), here) says nothing but whose it is
    unsaid(part, {}, here) == part
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from hashlib import sha256
from typing import Any, Final
from urllib.parse import quote

from .mapping.carrier import dump

WHOSE: Final = ("plan", "id", "person")  # always said
_NOTHING: Final = object()


def words(part: Mapping[str, Any]) -> dict[str, str]:
    """Every word of a list, by its place."""
    return dict(_words(part, ""))


def _words(node: Any, place: str) -> Iterator[tuple[str, str]]:
    if isinstance(node, Mapping):
        for key, value in node.items():
            yield from _words(value, _below(place, key))
    elif _things(node):
        for thing in node:
            yield from _words(thing, _below(place, thing["id"]))
    else:
        yield place, sha256(dump(node).encode("utf-8", "surrogatepass")).hexdigest()[:16]


def _below(place: str, key: str) -> str:
    return f"{place}/{quote(key, safe='', errors='replace')}"


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
    if isinstance(node, Mapping):
        new = {k: v for k, value in node.items() if (v := _unsaid(value, _below(place, k), said, here.get(k) if isinstance(here, Mapping) else None)) is not _NOTHING}
        return new if new or not node else _NOTHING
    if _things(node):
        known = {t["id"]: t for t in here if isinstance(t, Mapping) and isinstance(t.get("id"), str)} if isinstance(here, list) else {}
        changed = [(t, new) for t in node if (new := _unsaid(t, _below(place, t["id"]), said, known.get(t["id"]))) is not _NOTHING]
        things = [{"id": t["id"], **new} if t["id"] in known else t for t, new in changed]
        return things or _NOTHING
    return _NOTHING if said.get(place) == sha256(dump(node).encode("utf-8", "surrogatepass")).hexdigest()[:16] else node


__all__ = ["unsaid", "words"]
