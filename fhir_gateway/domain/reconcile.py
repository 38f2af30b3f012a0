"""Two copies of one resource and what they last agreed on: what has to be done so that they agree again.

Edits that touch different elements are both kept. Where they touch the same one, both versions are kept, a winner is
chosen that does not depend on which side asks, and a person decides. What was deleted does not come back.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any, Final

from . import copies
from .entries import aligned, name, same, text
from .masked import held_back

SERVER_TAGS: Final = frozenset({copies.SYSTEM})
_SERVER_META: Final = ("versionId", "lastUpdated", "source")
# Which of these an element uses is one choice: https://hl7.org/fhir/R4/formats.html#choice
_CHOICE: Final = re.compile(
    r"(value|onset|abatement|effective|occurrence|occurred|performed|deceased|multipleBirth|start|due|detail|scheduled|medication"
    r"|product|reported|timing|serviced|asNeeded|allowed|collected|content|created|identified|item|source|subject|answer"
    r"|defaultValue|fixed|pattern|rate|dose|fastingStatus|probability|when|entity|diagnosis|procedure|location|born|age|bounds)"
    r"([A-Z][A-Za-z]*)"
)

Body = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Nothing:
    """They agree already."""


@dataclass(frozen=True, slots=True)
class Push:
    """Only ours changed; `body` None: delete it there."""

    body: Body | None


@dataclass(frozen=True, slots=True)
class Pull:
    """Only theirs changed; `body` None: delete it here."""

    body: Body | None


@dataclass(frozen=True, slots=True)
class Merge:
    """Both changed, nowhere the same element."""

    body: Body


@dataclass(frozen=True, slots=True)
class Conflict:
    """Both changed the same. `winner` is served (None: deleted), `loser` is kept for a person; what did not clash is in both.

    `won` says whose the winner is, `local` or `remote`; "" where one side is deleted.
    """

    winner: Body | None
    loser: Body | None
    paths: tuple[str, ...]
    won: str = field(default="", compare=False)

    def of(self, side: str) -> Body | None:
        """The version that has this side (`local`, `remote`) wherever the two clash."""
        return self.winner if self.won == side else self.loser


Step = Nothing | Push | Pull | Merge | Conflict


def reconcile(base: Body | None, local: Body | None, remote: Body | None, called: Mapping[str, str] | None = None) -> Step:
    """The step from what was agreed (`base`, None before first contact), ours and theirs (None: deleted, or not there).

    Ids, versions, time stamps, `meta.source` and our own tags say nothing; a body handed back carries those of `local`.
    `called`: a reference here (`Type/id`) to what both sides call it. Who wins and what stands first is read off the values, and each side has
    ids of its own.
    """
    if local is None or remote is None:
        return _with_absent(base, local, remote)
    merging = _Merging(called=called or {})
    ours, theirs, agreed = content(local), content(remote), content(base) if base is not None else MISSING
    one = merging.value(agreed, ours, theirs, str(local.get("resourceType", "")))
    if merging.clashes:
        return _conflict(local, remote, agreed, ours, theirs, merging)
    if same(one, ours):
        return Nothing() if same(one, theirs) else Push(_with_server_parts(one, local))
    return Pull(_with_server_parts(one, local)) if same(one, theirs) else Merge(_with_server_parts(one, local))


def edited(shown: Body, made: Body, stored: Body) -> Body:
    """`stored` with what somebody changed who was shown `shown` and made `made` of it: element by element, entry by entry.

    What they left alone stays as it is stored, whatever they were shown of it; where they changed it, theirs wins.
    """
    whole: Body = _Merging("remote", one_sided=True).element(shown, stored, made, "")
    return {k: whole[k] for k in (*(k for k in stored if k in whole), *(k for k in whole if k not in stored))}


def theirs_alone(versions: Iterable[tuple[Body, bool]]) -> Body | None:
    """A record as those who began it made it, without what others changed of it since: `versions` are (body, made by them), oldest
    first. None where the two cannot be told apart: then a person must look.
    """
    alone: Body | None = None
    before: Body | None = None
    for body, by_them in versions:
        if by_them and before is None:
            alone = body
        elif by_them and alone is not None:
            step = reconcile(before, alone, body)
            if isinstance(step, Conflict):
                return None
            alone = step.body if isinstance(step, Pull | Merge) else alone
        before = body
    return alone


def content(resource: Mapping[str, Any]) -> Body:
    """The resource without what a server sets."""
    out = {k: v for k, v in resource.items() if k not in ("id", "meta")}
    meta = {k: v for k, v in resource.get("meta", {}).items() if k not in (*_SERVER_META, "tag")}
    tags = [t for t in resource.get("meta", {}).get("tag", []) if t.get("system") not in SERVER_TAGS]
    if tags:
        meta["tag"] = tags
    return {**out, "meta": meta} if meta else out


def _with_absent(base: Body | None, local: Body | None, remote: Body | None) -> Step:
    if local is None and remote is None:
        return Nothing()
    if base is None:
        return Pull(remote) if local is None else Push(local)
    there = local if local is not None else remote
    assert there is not None
    if same(content(base), content(there)):
        return Push(None) if local is None else Pull(None)
    return Conflict(None, there, (str(there.get("resourceType", "")),))


def _conflict(local: Body, remote: Body, agreed: Any, ours: Body, theirs: Body, first: _Merging) -> Conflict:
    """Which side wins is read off the clashing values, and where these are the same in another order off the whole, so both sides choose alike."""
    mine, other = (sorted((clash[0], first.rank(_plain(clash[at]))) for clash in first.clashes) for at in (1, 2))
    kind = str(local.get("resourceType", ""))
    bodies = {side: _Merging(side, called=first.called).value(agreed, ours, theirs, kind) for side in ("local", "remote")}
    won, lost = ("local", "remote") if (mine, first.rank(bodies["local"])) >= (other, first.rank(bodies["remote"])) else ("remote", "local")
    paths = tuple(dict.fromkeys(sorted(path for path, _, _ in first.clashes)))
    return Conflict(_with_server_parts(bodies[won], local), _with_server_parts(bodies[lost], local), paths, won)


def _with_server_parts(body: Body, local: Mapping[str, Any]) -> Body:
    """With the id, stamps and tags of our own copy, in the order of its elements."""
    meta = dict(body.get("meta", {}))
    mine = local.get("meta", {})
    kept = {k: mine[k] for k in _SERVER_META if k in mine}
    tags = [t for t in mine.get("tag", []) if t.get("system") in SERVER_TAGS] + meta.get("tag", [])
    whole: Body = {k: (local[k] if k == "id" else body.get(k)) for k in local if k == "id" or k in body}
    whole.update((k, v) for k, v in body.items() if k not in whole)
    whole.pop("meta", None)
    meta = {**kept, **meta, **({"tag": tags} if tags else {})}
    return {**whole, "meta": meta} if meta else whole


class _Missing:
    def __repr__(self) -> str:
        return "MISSING"


MISSING: Final = _Missing()


def _plain(value: Any) -> Any:
    return None if value is MISSING else value


@dataclass(slots=True)
class _Merging:
    """One merge. Clashes are noted, and resolved to `side`. `one_sided`: only that side has edited, so its order of a list is
    the newer one, and a concept that it says otherwise keeps the codes that it was not shown. `called`: as of `reconcile`."""

    side: str = "local"
    one_sided: bool = False
    called: Mapping[str, str] = field(default_factory=dict)
    clashes: list[tuple[str, Any, Any]] = field(default_factory=list)

    def value(self, base: Any, local: Any, remote: Any, path: str) -> Any:
        if _equal(local, remote) or _equal(remote, base):
            return local
        if _equal(local, base):
            return remote
        if path.endswith(".meta.security"):
            return _union(local, remote)
        if isinstance(local, dict) and isinstance(remote, dict) and not _whole(local, remote, concepts=not self.one_sided):
            return self.element(base if isinstance(base, dict) else {}, local, remote, path)
        emptied = self.one_sided and remote is MISSING and isinstance(base, list)  # of what they were shown, and of no more
        if isinstance(local, list) and (isinstance(remote, list) or emptied):
            return self.entries(base if isinstance(base, list) else [], local, [] if emptied else remote, path)
        return self.clash(local, remote, path)

    def rank(self, value: Any) -> bytes:
        """By what it is put in order, on both sides alike."""
        return text(_renamed(value, self.called) if self.called else value)

    def clash(self, local: Any, remote: Any, path: str) -> Any:
        self.clashes.append((path, local, remote))
        return local if self.side == "local" else remote

    def element(self, base: Body, local: Body, remote: Body, path: str) -> Body:
        out: Body = {}
        for keys, where in _together(base, local, remote):
            if len(keys) == 1:
                key = keys[0]
                merged = self.value(base.get(key, MISSING), local.get(key, MISSING), remote.get(key, MISSING), f"{path}.{where}")
                if merged is not MISSING:
                    out[key] = merged
            else:
                b, mine, theirs = (_part(side, keys) for side in (base, local, remote))
                chosen = self.choice(b, mine, theirs, f"{path}.{where}")
                out.update(chosen if isinstance(chosen, dict) else {})
        return out

    def choice(self, base: Any, local: Any, remote: Any, path: str) -> Any:
        """value[x] is one element, whatever type each side gave it."""
        if _equal(local, remote) or _equal(remote, base):
            return local
        return remote if _equal(local, base) else self.clash(local, remote, path)

    def entries(self, base: Sequence[Any], local: Sequence[Any], remote: Sequence[Any], path: str) -> Any:
        """Entries that were there are merged one by one; new ones of both sides are kept, the same one once."""
        from_local, from_remote = (aligned(base, side, bounded=not self.one_sided) for side in (local, remote))  # who was shown less loses nothing of the rest
        if self.one_sided:  # what a reading makes up is not the hidden thing in its place
            from_local = [None if a is not None and _elsewhere(base[a], local[i]) else a for i, a in enumerate(from_local)]
        from_local, from_remote = _alike(base, local, remote, from_local, from_remote), _alike(base, remote, local, from_remote, from_local)
        of_local = {a: local[i] for i, a in enumerate(from_local) if a is not None}
        of_remote = {a: remote[i] for i, a in enumerate(from_remote) if a is not None}
        kept: dict[int, Any] = {}
        for i, entry in enumerate(base):
            merged = self.value(entry, of_local.get(i, MISSING), of_remote.get(i, MISSING), f"{path}[{i}]")
            if merged is not MISSING:
                kept[i] = merged
        new = self.added(_blocks(local, from_local), _blocks(remote, from_remote), path)
        out: list[Any] = []
        for i in _order(len(base), from_local, from_remote, theirs=self.one_sided):
            out += [kept[i], *new.get(i, [])] if i in kept else new.get(i, [])
        return out if out else MISSING

    def added(self, local: dict[int, list[Any]], remote: dict[int, list[Any]], path: str) -> dict[int, list[Any]]:
        """What is new behind each of the old entries. What both sides added, equal or under one name, is one entry. Where one side added all that
        the other did, and more, its order stands: so whoever has both already is not given them in another order."""
        twins: list[tuple[_Place, _Place, Any]] = []
        for (here, entry), (there, other) in _pairs(local, remote):
            twins.append((here, there, self.value(MISSING, entry, other, f"{path}[+]")))
        sides = [(blocks, {twin[n]: twin[2] for twin in twins}) for n, blocks in enumerate((local, remote))]
        left = [any((at, n) not in merged for at, block in blocks.items() for n in range(len(block))) for blocks, merged in sides]
        if left[0] != left[1]:
            blocks, merged = sides[left.index(True)]
            return {at: [merged.get((at, n), entry) for n, entry in enumerate(block)] for at, block in blocks.items()}
        out: dict[int, list[Any]] = {}
        in_one_order = not left[0] and [t for _, t, _ in sorted(twins, key=lambda twin: twin[0])] == sorted(t for _, t, _ in twins)
        for here, there, entry in sorted(twins, key=lambda twin: (twin[0] if in_one_order else (), self.rank(twin[2]))):
            out.setdefault(min(here[0], there[0]), []).append(entry)
        for at in sorted({*local, *remote}):
            rest = [[e for n, e in enumerate(blocks.get(at, ())) if (at, n) not in merged] for blocks, merged in sides]
            out.setdefault(at, []).extend(e for block in sorted(rest, key=self.rank) for e in block)
        return out


def _renamed(node: Any, called: Mapping[str, str]) -> Any:
    """The same with every reference as both sides call it, also one that is held back on the one."""
    if isinstance(node, list):
        return [_renamed(n, called) for n in node]
    if not isinstance(node, dict):
        return node
    named = held_back(node) or str(node.get("reference"))
    if named not in called:
        return {k: _renamed(v, called) for k, v in node.items()}
    return {**{k: _renamed(v, called) for k, v in node.items() if k not in ("identifier", "type")}, "reference": called[named]}


def _elsewhere(a: Any, b: Any) -> bool:
    """Two references to different things."""
    refs = [e.get("reference") if isinstance(e, dict) else None for e in (a, b)]
    return all(isinstance(r, str) for r in refs) and refs[0] != refs[1]


def _twin(a: Any, b: Any) -> bool:
    return same(a, b) or (name(a) is not None and name(a) == name(b))


_Place = tuple[int, int]  # behind which old entry, as which of the new ones


def _pairs(local: Mapping[int, Sequence[Any]], remote: Mapping[int, Sequence[Any]]) -> Iterable[tuple[tuple[_Place, Any], tuple[_Place, Any]]]:
    """What both sides added, each with where it stands."""
    sides = [{(at, n): (e, {text(e), name(e)} - {None}) for at, block in sorted(blocks.items()) for n, e in enumerate(block)} for blocks in (local, remote)]
    both = {k for _, keys in sides[0].values() for k in keys} & {k for _, keys in sides[1].values() for k in keys}
    mine, free = ({place: e for place, (e, keys) in side.items() if keys & both} for side in sides)
    for here, there in product(sorted({p[0] for p in mine}), sorted({p[0] for p in free})):
        for place, entry in [(p, e) for p, e in mine.items() if p[0] == here]:
            found = next((p for p, e in free.items() if p[0] == there and _twin(e, entry)), None)
            if found is not None:
                yield (place, mine.pop(place)), (found, free.pop(found))


def _part(side: Body, keys: Iterable[str]) -> Any:
    return {k: side[k] for k in keys if k in side} or MISSING


def _equal(a: Any, b: Any) -> bool:
    return a is b or (a is not MISSING and b is not MISSING and same(a, b))


def _whole(local: Body, remote: Body, *, concepts: bool = True) -> bool:
    """Datatypes whose parts mean nothing apart: a quantity, a coding, a concept, a reference, an identifier, narrative."""
    both = local.keys() | remote.keys()
    return (
        (concepts and "coding" in both)
        or "div" in both
        or isinstance(local.get("reference", remote.get("reference")), str)
        or ("value" in both and bool(both & {"unit", "system", "code", "currency"}))
        or ("system" in both and "code" in both)
    )


def _together(base: Body, local: Body, remote: Body) -> Iterable[tuple[tuple[str, ...], str]]:
    """Element names to be merged: those of one choice together when the sides chose differently, and a list of primitives
    together with the list of their extensions."""
    groups: dict[str, list[str]] = {}
    for key in dict.fromkeys((*base, *local, *remote)):
        bare = key.removeprefix("_")
        found = _CHOICE.fullmatch(bare)
        groups.setdefault(f"{found[1]}[x]" if found else bare, []).append(key)
    for where, keys in groups.items():
        chosen = {frozenset(k for k in keys if k in side) for side in (base, local, remote)} - {frozenset()}
        paired = any(k[0] == "_" and isinstance(side.get(k), list) for k in keys for side in (base, local, remote))
        if paired or (where.endswith("[x]") and len(chosen) > 1):
            yield tuple(keys), where
        else:
            yield from (((key,), key) for key in keys)


def _alike(base: Sequence[Any], mine: Sequence[Any], other: Sequence[Any], from_mine: Sequence[int | None], from_other: Sequence[int | None]) -> list[int | None]:
    """Where mine stands for an old entry that the other side took out, and the other has the same as a new one, mine is new, too."""
    new, left = {text(e) for e, a in zip(other, from_other, strict=True) if a is None}, set(from_other)
    return [None if a is not None and a not in left and not same(e, base[a]) and text(e) in new else a for e, a in zip(mine, from_mine, strict=True)]


def _blocks(entries: Sequence[Any], origin: Sequence[int | None]) -> dict[int, list[Any]]:
    """New entries under the index of the old one they follow, -1 at the beginning."""
    out: dict[int, list[Any]] = {}
    last = -1
    for entry, was in zip(entries, origin, strict=True):
        if was is None:
            out.setdefault(last, []).append(entry)
        else:
            last = was
    return out


def _order(size: int, local: Sequence[int | None], remote: Sequence[int | None], *, theirs: bool = False) -> list[int]:
    """-1, then the old entries in the order of the side that moved some (of both, the greater sequence, or `theirs`)."""
    moved = [s for s in ([i for i in side if i is not None] for side in (local, remote)) if s != sorted(s)]
    order = (moved[-1] if theirs else max(moved)) if moved else []
    out, moved_too = list[int](), set(order)
    for first in (-1, *order):  # each that did not move follows the one before it
        out.append(first)
        while out[-1] + 1 < size and out[-1] + 1 not in moved_too:
            out.append(out[-1] + 1)
    return out


def _union(local: Any, remote: Any) -> Any:
    """Labels only come together."""
    both: dict[Any, Any] = {}
    for coding in [*(local if isinstance(local, list) else []), *(remote if isinstance(remote, list) else [])]:
        both.setdefault((coding.get("system"), coding.get("code")), coding)
    return sorted(both.values(), key=text)
