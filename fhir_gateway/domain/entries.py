"""Which entry of a list is which after somebody edited it. FHIR lists have no keys: names, contents and likeness decide."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from heapq import heapify, heappop, heappush
from itertools import groupby
from typing import Any, Final

import msgspec

_encode = msgspec.json.Encoder(order="sorted", decimal_format="number").encode

MOST: Final = 40_000  # pairs of entries whose likeness is told where it is `bounded`
FEW: Final = 8  # who has a thing that no more have is not kept as bits
MOST_EQUAL: Final = 100_000  # pairs of equal entries among which the longest runs are looked for


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

    for a, b in _in_order(left, right):
        pair(b, a)
    claim(right, left)
    claim([name(e) for e in new], [name(v) for v in old])
    changed = [b for b, was in enumerate(found) if was is None]
    for a, b in _nearest([(a, old[a]) for a in free], [(b, new[b]) for b in changed], bounded):
        pair(b, a)
    return found


def _in_order(old: Sequence[bytes], new: Sequence[bytes]) -> Iterator[tuple[int, int]]:
    """Pairs of equal ones in order: the longest run first, the first of several, then likewise before it and behind it (as difflib tells them).

    Where very many are equal, those are paired first that are equal at both ends, and the rest only if that leaves few enough.
    """
    start, end, rest = 0, (len(old), len(new)), min(len(old), len(new))
    if _equal_pairs(old, new) > MOST_EQUAL:
        while start < rest and old[start] == new[start]:
            yield start, start
            start += 1
        while rest > start and old[end[0] - 1] == new[end[1] - 1]:
            end, rest = (end[0] - 1, end[1] - 1), rest - 1
            yield end
        old, new = old[start : end[0]], new[start : end[1]]
        if _equal_pairs(old, new) > MOST_EQUAL:
            return
    for a, b, size in _blocks(old, new):
        yield from ((start + a + i, start + b + i) for i in range(size))


def _equal_pairs(old: Sequence[bytes], new: Sequence[bytes]) -> int:
    here = Counter(new)
    return sum(n * here[value] for value, n in Counter(old).items())


def _blocks(old: Sequence[bytes], new: Sequence[bytes]) -> list[tuple[int, int, int]]:
    """Where the runs begin in both, and how long they are. The longest that is left is looked at; what others took of it meanwhile is taken off first."""
    longest = [(-size, a, b) for a, b, size in _runs(old, new)]
    heapify(longest)
    taken = [(-1, -1, 1), (len(old), len(new), 0)]
    while longest:
        size, a, b = heappop(longest)
        parts = list(_left_of(taken, a, b, -size))
        if parts == [(a, b, -size)]:
            insort(taken, parts[0])
        else:
            for a, b, size in parts:
                heappush(longest, (-size, a, b))
    return taken[1:-1]


def _runs(old: Sequence[bytes], new: Sequence[bytes]) -> Iterator[tuple[int, int, int]]:
    places = defaultdict[bytes, list[int]](list)
    for b, value in enumerate(new):
        places[value].append(b)
    before: dict[int, int] = {}  # by where in `new` it ends: how long it is
    for a in range(len(old) + 1):
        now = {b: before.pop(b - 1, 0) + 1 for b in places.get(old[a], ())} if a < len(old) else {}
        yield from ((a - size, b - size + 1, size) for b, size in before.items())
        before = now


def _left_of(taken: Sequence[tuple[int, int, int]], a: int, b: int, size: int) -> Iterator[tuple[int, int, int]]:
    """What of this run lies between two that are taken, in both lists."""
    at = 0
    while at < size:
        i = bisect_left(taken, (a + at + 1,))
        (left_a, left_b, long), (right_a, right_b, _) = taken[i - 1], taken[i]
        low, high = max(at, left_a + long - a, left_b + long - b), min(size, right_a - a, right_b - b)
        if low < high:
            yield a + low, b + low, high - low
        at = right_a - a


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
    every pair is told and the nearest is taken each time, for no two pairs are equally near."""
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
    """Those of one side that are left, by their places: a bit of a number for each, so that one step asks something of all of them."""

    def __init__(self, leaves: Mapping[int, frozenset[Hashable]]) -> None:
        self.leaves, self.places = leaves, sorted(leaves)
        self.index = {place: i for i, place in enumerate(self.places)}
        self.left = (1 << len(self.places)) - 1
        self.holders = defaultdict[Hashable, list[int]](list)
        for i, place in enumerate(self.places):
            for leaf in leaves[place]:
                self.holders[leaf].append(i)
        self.known = {leaf: self._bits(of) for leaf, of in self.holders.items() if len(of) > FEW}

    def _bits(self, of: Iterable[int]) -> int:
        bits = bytearray(len(self.places) // 8 + 1)
        for i in of:
            bits[i // 8] |= 1 << i % 8
        return int.from_bytes(bits, "little")

    def there(self, place: int) -> bool:
        return bool(self.left >> self.index[place] & 1)

    def out(self, place: int) -> None:
        self.left &= ~(1 << self.index[place])

    def nearest(self, at: int, leaves: frozenset[Hashable]) -> int | None:
        """Who has most of these; of those the one that stands nearest, then first. None where nobody has any."""
        digits: list[int] = []  # of how many each has: the ones of all of them, then the twos, the fours
        for leaf in leaves:
            if leaf not in self.holders:
                continue
            more = self.left & (self.known[leaf] if leaf in self.known else self._bits(self.holders[leaf]))
            for i, digit in enumerate(digits):
                if not more:
                    break
                digits[i], more = digit ^ more, digit & more
            if more:
                digits.append(more)
        found = self.left if digits else 0
        for digit in reversed(digits):
            found = found & digit or found
        return self._nearest_of(found, at) if found else None

    def _nearest_of(self, found: int, at: int) -> int:
        i = bisect_left(self.places, at)
        low, high = (found & ((1 << i) - 1)).bit_length() - 1, found >> i
        behind = self.places[i + (high & -high).bit_length() - 1] if high else None
        if behind is None or (low >= 0 and at - self.places[low] <= behind - at):
            return self.places[low]
        return behind


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
