"""Which entry of a list is which after somebody edited it. FHIR lists have no keys: names, contents and likeness decide."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from difflib import SequenceMatcher
from itertools import groupby
from typing import Any, Final

import msgspec

_encode = msgspec.json.Encoder(order="sorted", decimal_format="number").encode

MOST: Final = 40_000  # pairs of entries whose likeness is told where it is `bounded`


def text(value: Any) -> bytes:
    """The value as JSON, names sorted: equal texts are equal values, 1.0 is not 1.00 and true is not 1."""
    return _encode(value)


def same(a: Any, b: Any) -> bool:
    """Equal as JSON."""
    return a is b or (a == b and _encode(a) == _encode(b))


def aligned(old: Sequence[Any], new: Sequence[Any], *, bounded: bool = False) -> list[int | None]:
    """For each new entry the index of the old one it came from, None for one that was not there.

    Equal ones in order come first, then moved ones, then those of the same name (id, linkId, reference, url, identifier,
    coding), then the most alike. Where as many are left on both sides, each is taken for the other, wholly changed.
    `bounded`: of more pairs than MOST, likeness is told by what few entries have in common.
    """
    left, right = [_encode(v) for v in old], [_encode(v) for v in new]
    found: list[int | None] = [None] * len(new)
    free = dict.fromkeys(range(len(old)))

    def pair(b: int, a: int) -> None:
        found[b] = a
        free.pop(a)

    def claim(names: Sequence[Hashable], of: Sequence[Hashable]) -> None:
        called = defaultdict[Hashable, list[int]](list)
        for a in reversed(free):
            called[of[a]].append(a)
        for b in [b for b, was in enumerate(found) if was is None and names[b] is not None]:
            if called.get(names[b]):
                pair(b, called[names[b]].pop())

    for block in SequenceMatcher(None, left, right, autojunk=False).get_matching_blocks():
        for i in range(block.size):
            pair(block.b + i, block.a + i)
    claim(right, left)
    claim([name(e) for e in new], [name(v) for v in old])
    changed = [b for b, was in enumerate(found) if was is None]
    for a, b in _nearest([(a, old[a]) for a in free], [(b, new[b]) for b in changed], bounded):
        pair(b, a)
    return found


def name(entry: Any) -> Hashable:
    """What identifies an entry whatever else of it is changed; None for what has no name."""
    if not isinstance(entry, Mapping):
        return None
    for key in ("id", "linkId", "reference", "url"):
        if isinstance(entry.get(key), str):
            return (key, entry[key])
    identifier = entry.get("identifier")
    identifier = identifier[0] if isinstance(identifier, list) and identifier else identifier
    if isinstance(identifier, Mapping) and isinstance(identifier.get("value"), str):
        system = identifier.get("system")
        return ("identifier", system if isinstance(system, str) else None, identifier["value"])
    if isinstance(entry.get("system"), str) and isinstance(entry.get("code"), str):
        return ("code", entry["system"], entry["code"])
    return None


def _nearest(old: Sequence[tuple[int, Any]], new: Sequence[tuple[int, Any]], bounded: bool) -> Iterator[tuple[int, int]]:
    """Pairs of what has most in common, nearest first."""
    leaves_old = {a: frozenset(_leaves(v)) for a, v in old}
    leaves_new = {b: frozenset(_leaves(v)) for b, v in new}
    if bounded and len(old) * len(new) > MOST:
        scored = sorted((-n, abs(a - b), a, b) for (a, b), n in _rarely_shared(leaves_old, leaves_new).items())
        alike: Iterable[tuple[int, int]] = ((a, b) for n, _, a, b in scored if n and a in leaves_old and b in leaves_new)
    else:
        alike = _mutual(leaves_old, leaves_new)
    for a, b in alike:
        del leaves_old[a], leaves_new[b]
        yield a, b
    if len(leaves_old) == len(leaves_new):
        yield from zip(leaves_old, leaves_new, strict=True)


def _mutual(old: Mapping[int, frozenset[Hashable]], new: Mapping[int, frozenset[Hashable]]) -> Iterator[tuple[int, int]]:
    """Pairs of those of which each is the other's nearest: by what they have in common, then by their places. They are the ones that are found where
    every pair is told and the nearest is taken each time, for no two pairs are equally near; and seldom is more told than of neighbours."""
    lines = _Line(old), _Line(new)
    for start in tuple(old):
        chain = [(0, start)] if lines[0].there(start) else []
        while chain:
            side, at = chain[-1]
            nearest = lines[1 - side].nearest(at, lines[side].leaves[at])
            if nearest is None:
                lines[side].out(at)
                chain.pop()
            elif len(chain) > 1 and chain[-2] == (1 - side, nearest):
                a, b = (at, nearest) if side == 0 else (nearest, at)
                lines[0].out(a)
                lines[1].out(b)
                del chain[-2:]
                yield a, b
            else:
                chain.append((1 - side, nearest))


class _Line:
    """Those of one side that are left, by their places."""

    def __init__(self, leaves: Mapping[int, frozenset[Hashable]]) -> None:
        self.leaves, self.places = dict(leaves), sorted(leaves)
        self.held = Counter(leaf for held in leaves.values() for leaf in held)
        size = len(self.places)
        self.index = {place: i for i, place in enumerate(self.places)}
        self.up, self.down = list(range(size + 1)), list(range(size + 1))  # the next that is left from here on; and, one more than it, from here back

    def there(self, place: int) -> bool:
        return self.up[self.index[place]] == self.index[place]

    def out(self, place: int) -> None:
        i = self.index[place]
        self.up[i], self.down[i + 1] = i + 1, i
        self.held.subtract(self.leaves[place])

    def nearest(self, at: int, leaves: frozenset[Hashable]) -> int | None:
        """Who has most of these; of those the one that stands nearest, then first. None where nobody has any."""
        most, top, found = sum(self.held[leaf] > 0 for leaf in leaves), 0, None
        for place in self._outward(at) if most else ():
            n = len(leaves & self.leaves[place])
            if n > top:
                top, found = n, place
                if n == most:
                    break
        return found

    def _outward(self, at: int) -> Iterator[int]:
        i = bisect_left(self.places, at)
        low, high = _root(self.down, i), _root(self.up, i)
        while low > 0 or high < len(self.places):
            if low > 0 and (high == len(self.places) or at - self.places[low - 1] <= self.places[high] - at):
                yield self.places[low - 1]
                low = _root(self.down, low - 1)
            else:
                yield self.places[high]
                high = _root(self.up, high + 1)


def _root(of: list[int], i: int) -> int:
    while of[i] != i:
        of[i] = of[of[i]]
        i = of[i]
    return i


def _rarely_shared(old: Mapping[int, frozenset[Hashable]], new: Mapping[int, frozenset[Hashable]]) -> Counter[tuple[int, int]]:
    """How much each two have in common, told by what the fewest pairs share: of MOST pairs in all."""
    holders: tuple[defaultdict[Hashable, list[int]], ...] = (defaultdict(list), defaultdict(list))
    for side, held in zip((old, new), holders, strict=True):
        for at, leaves in side.items():
            for leaf in leaves:
                held[leaf].append(at)
    shared = sorted(((len(of) * len(holders[1][leaf]), of, holders[1][leaf]) for leaf, of in holders[0].items() if leaf in holders[1]), key=lambda s: s[0])
    out, left = Counter[tuple[int, int]](), MOST
    for pairs, group in groupby(shared, key=lambda s: s[0]):
        alike = list(group)
        left -= pairs * len(alike)
        if left < 0:
            break
        out.update((a, b) for _, of, here in alike for a in of for b in here)
    return out


def _leaves(node: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(node, list):
        for item in node:
            yield from _leaves(item, path)
    elif isinstance(node, Mapping):
        for key, value in node.items():
            yield from _leaves(value, f"{path}.{key}")
    else:
        yield path, node
