"""What stands in the place of something that may not be shown says nothing of what stands there. docs/sync.md

Two things stand so: an element that is masked (`data-absent-reason`), and a reference that is held back, a logical one by `HELD_BACK` that
names what its writer calls so. Whoever hands one back has neither edited nor deleted what it hides: `unmasked` puts that back. The laws
(tests/test_masked.py), for any of the entries masked:

    unmasked(masked(whole), whole, whole) == whole
    reconcile(*shown_again(masked(base), whole, masked(theirs))) does what it does where nothing is masked
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from typing import Any, Final

from .entries import aligned, name, text
from .view import MASKED, is_reference

HELD_BACK: Final = "https://fhir-gateway.example/id/held-back"
MOST: Final = 40_000  # pairs that are weighed of one list; beyond, the first masked entry is the first that is left
_ALONE: Final = frozenset({"id", "extension", "type", "_type"})

Json = Any
Names = Mapping[str, str]


def is_masked(node: Json) -> bool:
    """Is this a mark and nothing else; of a reference it may say the type."""
    return isinstance(node, Mapping) and isinstance(node.get("extension"), list) and MASKED in node["extension"] and node.keys() <= _ALONE


def held_back(node: Mapping[str, Any]) -> str | None:
    """What a reference that is held back names; None for any other."""
    identifier = node.get("identifier")
    named = identifier.get("value") if isinstance(identifier, Mapping) and identifier.get("system") == HELD_BACK else None
    return named if isinstance(named, str) and "reference" not in node and is_reference(node) else None


def all_held_back(node: Json) -> Iterator[str]:
    """What the references of this name that are held back."""
    if isinstance(node, list):
        for item in node:
            yield from all_held_back(item)
    elif isinstance(node, Mapping):
        if (named := held_back(node)) is not None:
            yield named
        for value in node.values():
            yield from all_held_back(value)


def found_again(body: Mapping[str, Any], theirs: Mapping[str, Any], names: Names) -> dict[str, Any]:
    """`body` with each reference that they held back as it is in `theirs`, where they show it by now. `names`: theirs to ours, where it differs."""
    said = {r["reference"]: r for r in _references(theirs)}
    found = _found(body, {named: said[ours] for named in set(all_held_back(body)) if (ours := names.get(named, named)) in said})
    assert isinstance(found, dict)
    return found


def shown_again(base: dict[str, Any] | None, shown: Mapping[str, Any], theirs: dict[str, Any]) -> tuple[dict[str, Any] | None, dict[str, Any]]:
    """What they were known to have (`base`, None where that is not known) and what they have now, with what either masks: of the one as we
    showed it then, of the other as it was in the one."""
    if base is None:
        return None, unmasked(theirs, shown, shown)
    whole = unmasked(base, shown, shown)
    return whole, unmasked(theirs, base, whole)


def unmasked(said: dict[str, Any], seen: Mapping[str, Any], whole: Mapping[str, Any], names: Names | None = None) -> dict[str, Any]:
    """`said` with what it masks as it is in `whole`, which is `seen` with more of it known: matched entries of a list first, then those left, in order.

    What was held back is known by what it names, `names` being theirs to ours; what is not there stays as they wrote it. What they took out or
    added beside it is theirs.
    """
    out = _filled(said, seen, whole, names or {}) if _hides(said) else said
    assert isinstance(out, dict)
    return out


# -- one element --------------------------------------------------------------------------------------------------------


def _filled(said: Json, seen: Json, whole: Json, names: Names) -> Json:
    if isinstance(said, list):
        return _listed(said, seen, whole, names) if isinstance(seen, list) and isinstance(whole, list) and _hides(said) else said
    if not isinstance(said, Mapping) or not isinstance(seen, Mapping) or not isinstance(whole, Mapping):
        return said
    if is_masked(said):
        return said if is_masked(whole) or not _may_be(said, whole) else whole
    if held_back(said) is not None:
        return whole if _named(said, names) == _named(whole, names) else said
    out = {k: _filled(v, seen[k], whole[k], names) if k in seen and k in whole else v for k, v in said.items()}
    for key in [k for k in said if k.startswith("_") and k[1:] in whole and k[1:] not in said and is_masked(said[k])]:  # a masked date, say
        del out[key]
        out |= {k: whole[k] for k in (key[1:], key) if k in whole}
    return out if any(out.get(k) is not v for k, v in said.items()) else said


def _found(node: Json, said: Mapping[str, Mapping[str, Any]]) -> Json:
    if isinstance(node, list):
        return [_found(item, said) for item in node]
    if not isinstance(node, Mapping):
        return node
    if (named := held_back(node)) is not None and named in said:
        return said[named]
    return {k: _found(v, said) for k, v in node.items()}


def _hides(node: Json) -> bool:
    """Is anything in it masked or held back."""
    if isinstance(node, list):
        return any(_hides(item) for item in node)
    return isinstance(node, Mapping) and (is_masked(node) or held_back(node) is not None or any(_hides(v) for v in node.values()))


def _references(node: Json) -> Iterator[Mapping[str, Any]]:
    if isinstance(node, list):
        for item in node:
            yield from _references(item)
    elif isinstance(node, Mapping):
        if isinstance(node.get("reference"), str):
            yield node
        for value in node.values():
            yield from _references(value)


def _named(node: Mapping[str, Any], names: Names) -> str | None:
    """What a reference names, also where it is held back."""
    target = node.get("reference")
    held = held_back(node)
    return names.get(held, held) if held is not None else target if isinstance(target, str) else None


def _may_be(mask: Mapping[str, Any], entry: Json) -> bool:
    """May this be what is masked: nothing speaks against it but a type, where both say one."""
    said = str(mask.get("type", "")).rsplit("/", 1)[-1]
    if not isinstance(entry, Mapping) or not said:
        return isinstance(entry, Mapping)
    kind = str(entry.get("type", "")) if isinstance(entry.get("type", ""), str) else ""
    parts = (_named(entry, {}) or "").split("/_history/")[0].split("/")
    known = kind.rsplit("/", 1)[-1] or (parts[-2] if len(parts) > 1 else "")
    return known in ("", said) and (is_masked(entry) or not {"reference", "identifier", "display"}.isdisjoint(entry))


# -- a list -------------------------------------------------------------------------------------------------------------


def _listed(said: Sequence[Json], seen: Sequence[Json], whole: Sequence[Json], names: Names) -> list[Json]:
    came = _claimed(said, whole, names)
    taken = set(came.values())
    free = [at for at in range(len(whole)) if at not in taken]
    parts, ours = [i for i in range(len(said)) if i not in came and not _points(said[i])], [at for at in free if not _points(whole[at])]
    for i, at in zip(parts, aligned([whole[at] for at in ours], [said[i] for i in parts]), strict=True):
        if at is not None:
            came[i] = ours[at]
    left, taken = [i for i in range(len(said)) if i not in came and _points(said[i])], set(came.values())
    if any(is_masked(said[i]) for i in left):
        came |= _in_order([(i, said[i]) for i in left], [(at, seen[at], whole[at]) for at in free if at not in taken])
    return [_filled(item, seen[came[i]], whole[came[i]], names) if i in came else item for i, item in enumerate(said)]


def _claimed(said: Sequence[Json], whole: Sequence[Json], names: Names) -> dict[int, int]:
    """Which entry is which, by what it says or else by what it is called: index to index."""

    def called(entry: Json) -> Hashable:
        return (_named(entry, names) if isinstance(entry, Mapping) else None) or name(entry)

    out: dict[int, int] = {}
    keys: tuple[Callable[[Json], Hashable], ...] = (text, called)
    for key in keys:
        free, taken = defaultdict[Hashable, list[int]](list), set(out.values())
        for at in reversed(range(len(whole))):
            if at not in taken and not is_masked(whole[at]):
                free[key(whole[at])].append(at)
        for i, item in enumerate(said):
            if i not in out and not is_masked(item) and (it := key(item)) is not None and free[it]:
                out[i] = free[it].pop()
    return out


def _points(entry: Json) -> bool:
    return isinstance(entry, Mapping) and (is_masked(entry) or is_reference(entry))


def _in_order(said: Sequence[tuple[int, Json]], whole: Sequence[tuple[int, Json, Json]]) -> dict[int, int]:
    """The masked ones in their order for those that are left in theirs: such that most are found. What was added, or shows itself only now, takes a
    place beside them. Index to index."""
    if len(said) * len(whole) > MOST:
        masks = [(i, mask) for i, mask in said if is_masked(mask)]
        return {i: at for (i, mask), (at, _, entry) in zip(masks, whole, strict=False) if _may_be(mask, entry)}
    out = _likeliest(said, whole)
    taken = set(out.values())
    left = [(at, entry) for at, _, entry in whole if at not in taken]
    for i, mask in said:
        found = next((n for n, (_, e) in enumerate(left) if _may_be(mask, e)), None) if is_masked(mask) and i not in out else None
        if found is not None:
            out[i] = left.pop(found)[0]
    return out


def _likeliest(said: Sequence[tuple[int, Json]], whole: Sequence[tuple[int, Json, Json]]) -> dict[int, int]:
    """Of all ways to pair them in order the one that is worth most."""
    worth = [[_worth(item, seen, entry) for _, seen, entry in whole] for _, item in said]
    best = [[0] * (len(whole) + 1) for _ in range(len(said) + 1)]  # of what comes from i and j on
    for i in reversed(range(len(said))):
        for j in reversed(range(len(whole))):
            best[i][j] = max(best[i + 1][j], best[i][j + 1], best[i + 1][j + 1] + worth[i][j])
    out: dict[int, int] = {}
    i = j = 0
    while i < len(said) and j < len(whole):
        if worth[i][j] and best[i][j] == best[i + 1][j + 1] + worth[i][j]:
            out[said[i][0]] = whole[j][0]
            i, j = i + 1, j + 1
        elif best[i][j] == best[i + 1][j]:
            i += 1
        else:
            j += 1
    return out


def _worth(said: Json, seen: Json, whole: Json) -> int:
    """How likely it is that this is that: 0, where it cannot be. What was masked before is, rather than what was shown; and what shows itself now
    beside what is masked now weighs more than either."""
    if is_masked(said):
        return (6 if not is_masked(seen) else 8 if is_masked(whole) else 10) if _may_be(said, whole) else 0
    if is_masked(whole):
        return 3 if _may_be(whole, said) else 0
    return 1 if is_reference(whole) else 0
