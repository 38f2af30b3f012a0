"""Merkle trees as RFC 9162 has them (https://www.rfc-editor.org/rfc/rfc9162#section-2.1): roots, inclusion and consistency.

SHA-256. A leaf is hashed with 0x00 before it, a node with 0x01, so that neither can be taken for the other. All functions take
leaf hashes (`leaf(data)`), in order; hashes are 32 bytes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from hashlib import sha256
from typing import Final

EMPTY: Final = sha256(b"").digest()  # the root of a tree without leaves


def leaf(data: bytes) -> bytes:
    """The hash of one entry."""
    return sha256(b"\x00" + data).digest()


def node(left: bytes, right: bytes) -> bytes:
    """The hash of two subtrees."""
    return sha256(b"\x01" + left + right).digest()


def root(leaves: Sequence[bytes]) -> bytes:
    """The hash of the whole tree."""
    return Peaks().with_all(leaves).root


def path(leaves: Sequence[bytes], index: int) -> list[bytes]:
    """The inclusion proof of the leaf at `index`, from the leaf up (2.1.3). IndexError when there is none."""
    if not 0 <= index < len(leaves):
        raise IndexError(index)
    return _path(leaves, index)


def _path(leaves: Sequence[bytes], index: int) -> list[bytes]:
    if len(leaves) == 1:
        return []
    k = _split(len(leaves))
    if index < k:
        return [*_path(leaves[:k], index), root(leaves[k:])]
    return [*_path(leaves[k:], index - k), root(leaves[:k])]


def included(entry: bytes, index: int, size: int, proof: Sequence[bytes], whole: bytes) -> bool:
    """Is this leaf hash at `index` of the tree of `size` leaves whose root is `whole` (2.1.3.2)?"""
    if not 0 <= index < size:
        return False
    at, last, now = index, size - 1, entry
    for step in proof:
        if last == 0:
            return False
        if at & 1 or at == last:
            now = node(step, now)
            while at and not at & 1:
                at, last = at >> 1, last >> 1
        else:
            now = node(now, step)
        at, last = at >> 1, last >> 1
    return last == 0 and now == whole


def consistency(leaves: Sequence[bytes], size: int) -> list[bytes]:
    """The proof that the tree of the first `size` leaves is the beginning of this one (2.1.4). IndexError when it cannot be."""
    if not 0 < size <= len(leaves):
        raise IndexError(size)
    return _consistency(leaves, size, complete=True)


def _consistency(leaves: Sequence[bytes], size: int, *, complete: bool) -> list[bytes]:
    if size == len(leaves):
        return [] if complete else [root(leaves)]
    k = _split(len(leaves))
    if size <= k:
        return [*_consistency(leaves[:k], size, complete=complete), root(leaves[k:])]
    return [*_consistency(leaves[k:], size - k, complete=False), root(leaves[:k])]


def consistent(first: int, first_root: bytes, second: int, second_root: bytes, proof: Sequence[bytes]) -> bool:
    """Is the tree of `first` leaves the beginning of the one of `second` (2.1.4.2)?"""
    if not 0 < first <= second:
        return False
    if first == second:
        return not proof and first_root == second_root
    steps = list(proof)
    if first & (first - 1) == 0:
        steps.insert(0, first_root)
    if not steps:
        return False
    at, last = first - 1, second - 1
    while at & 1:
        at, last = at >> 1, last >> 1
    then = now = steps[0]
    for step in steps[1:]:
        if last == 0:
            return False
        if at & 1 or at == last:
            then, now = node(step, then), node(step, now)
            while at and not at & 1:
                at, last = at >> 1, last >> 1
        else:
            now = node(now, step)
        at, last = at >> 1, last >> 1
    return last == 0 and then == first_root and now == second_root


def _split(n: int) -> int:
    """The largest power of two below `n`."""
    return 1 << ((n - 1).bit_length() - 1)


class Peaks:
    """A tree that grows: of all its leaves only the roots of its full subtrees are kept, largest first."""

    __slots__ = ("hashes", "size")

    def __init__(self, size: int = 0, hashes: Iterable[bytes] = ()) -> None:
        self.size, self.hashes = size, list(hashes)

    def add(self, entry: bytes) -> None:
        n, self.size = self.size, self.size + 1
        while n & 1:
            entry, n = node(self.hashes.pop(), entry), n >> 1
        self.hashes.append(entry)

    def with_all(self, leaves: Iterable[bytes]) -> Peaks:
        for entry in leaves:
            self.add(entry)
        return self

    @property
    def root(self) -> bytes:
        if not self.hashes:
            return EMPTY
        out = self.hashes[-1]
        for peak in reversed(self.hashes[:-1]):
            out = node(peak, out)
        return out
