"""The trail in sealed segments: what a row's leaf is, what a head says, what is wrong with a trail, one person's part of it.

A segment is some rows of the trail, in order; its root is the Merkle root of their leaves (`merkle`). Its head names it, and is
signed (JWS, RFC 7515) over this claim, JSON without spaces in this order:

    {"number", "rows", "total", "root", "log", "previous", "first", "last", "sealed"}

`number` counts from 1; `rows` are in this segment and `total` up to its end; `root` is the segment's; `log` is the root of the
tree whose leaves are the claims of all segments so far without `log` and `previous` (`entry`); `previous` is the SHA-256 of the
signed head before, "" for the first; `first`, `last` and `sealed` are instants in microseconds since 1970 UTC. Hashes are hex.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from hashlib import sha256
from typing import Any, Final, NamedTuple

import msgspec

from .merkle import Peaks, consistency, consistent, included, leaf, path, root
from .problem import Problem

SEGMENT_ROWS: Final = 1_024  # at most, in one segment
ANEW: Final = "the segment was made again, after a restore of a backup, or by somebody who changed the trail"
TYPE: Final = "audit-head+jws"  # `typ` of a signed head


class TrailRow(NamedTuple):
    """One row of the trail as it is stored. `place` is where the engine has it; it is no part of the leaf."""

    at: int  # microseconds since 1970 UTC
    id: str
    patient: str | None
    user: str
    note: bytes
    place: Any = None

    @property
    def leaf(self) -> bytes:
        """A JSON line of the columns, then the note's own bytes."""
        if not isinstance(self.note, bytes):  # somebody was at the file: it is no row of ours
            return leaf(repr(self).encode())
        return leaf(msgspec.json.encode(self[:4]) + b"\n" + self.note)


class Segment(NamedTuple):
    """A sealed segment as it is stored: its signed head, and the id and leaf of each row, in order."""

    number: int
    rows: int
    head: str
    listed: bytes

    @property
    def entries(self) -> list[tuple[str, bytes]]:
        """(id, leaf) of each row. ValueError when the bytes are none."""
        if not isinstance(self.listed, bytes):  # somebody was at the file
            raise ValueError("no bytes")
        return msgspec.msgpack.decode(self.listed, type=list[tuple[str, bytes]])


class Head(msgspec.Struct, frozen=True):
    """What a signed head claims."""

    number: int
    rows: int
    total: int
    root: str
    log: str
    previous: str
    first: int
    last: int
    sealed: int

    def entry(self) -> bytes:
        """Its leaf in the tree of all segments."""
        said = {"number": self.number, "rows": self.rows, "total": self.total, "root": self.root}
        return leaf(msgspec.json.encode(said | {"first": self.first, "last": self.last, "sealed": self.sealed}))


class Wrong(NamedTuple):
    """One thing that is wrong with a trail. `what` is one of altered, removed, inserted, truncated, segment, head, signature."""

    what: str
    segment: int | None
    row: str
    text: str


def digest(head: str) -> str:
    """What the next head says of this one."""
    return sha256(head.encode()).hexdigest()


def ordered(rows: Iterable[TrailRow]) -> list[TrailRow]:
    """In the order of their leaves: by instant, then by id. Two of one instant and id have an order, too."""
    return sorted(rows, key=lambda r: (r.at, str(r.id), r.leaf) if isinstance(r.at, int) else (0, "", r.leaf))


def closed(rows: Sequence[TrailRow], before: Head | None, previous: str, peaks: Peaks, sealed: int) -> tuple[Head, bytes]:
    """The head of a new segment of these rows after `before`, and the list of its rows. `peaks` (all segments so far) grows by it."""
    entries = [(r.id, r.leaf) for r in rows]
    number, total = (before.number, before.total) if before else (0, 0)
    head = Head(
        number + 1, len(rows), total + len(rows), root([e for _, e in entries]).hex(), "", digest(previous) if previous else "",
        rows[0].at, rows[-1].at, sealed,
    )  # fmt: skip
    peaks.add(head.entry())
    return msgspec.structs.replace(head, log=peaks.root.hex()), msgspec.msgpack.encode(entries)


# -- is it whole ------------------------------------------------------------------------------------------------------


class Chain:
    """Heads, one after the other: each is signed, follows the one before, and speaks of all before it."""

    def __init__(self) -> None:
        self.peaks = Peaks()
        self.last: Head | None = None
        self._signed = ""

    def follow(self, number: int, signed: str, head: Head | None) -> Iterator[Wrong]:
        """What is wrong with the next head; `head` is None where the signature does not hold."""
        at = self.last.number if self.last else 0
        for missing in range(at + 1, min(number, at + 20)):
            yield Wrong("segment", missing, "", f"segment {missing} is not there")
        if head is None:
            yield Wrong("signature", number, "", f"the head of segment {number} is not signed by a key of this trail")
            return
        if head.number != number:
            yield Wrong("head", number, "", f"the head of segment {number} says that it is segment {head.number}")
        if head.previous != (digest(self._signed) if self._signed else ""):
            yield Wrong("head", number, "", f"the head of segment {number} does not follow the one before it")
        if head.total != head.rows + (self.last.total if self.last else 0):
            yield Wrong("head", number, "", f"the head of segment {number} counts other rows before it than there are")
        self.peaks.add(head.entry())
        if head.log != self.peaks.root.hex():
            yield Wrong("head", number, "", f"the head of segment {number} does not speak of the segments before it")
        self.last, self._signed = head, signed


def compared(segment: Segment, head: Head, rows: Sequence[TrailRow]) -> Iterator[Wrong]:
    """What is wrong with the rows of a segment whose head is believed."""
    n = segment.number
    if segment.rows != head.rows:
        yield Wrong("segment", n, "", f"segment {n} says that it has {segment.rows} rows, and its head {head.rows}")
    try:
        entries = segment.entries
    except (msgspec.MsgspecError, ValueError):
        entries = []
    if root([e for _, e in entries]).hex() != head.root or len(entries) != head.rows:
        here = ordered(rows)
        if len(here) == head.rows and root([r.leaf for r in here]).hex() == head.root:
            yield Wrong("segment", n, "", f"the list of the rows of segment {n} is damaged; the rows themselves are as they were sealed")
        else:
            yield Wrong("segment", n, "", f"segment {n} is not what was sealed, and its list of rows is damaged, too: {len(rows)} rows of {head.rows}")
        return
    sealed, there = dict(entries), {r.id: r for r in rows}
    for id, entry in sealed.items():
        if id not in there:
            yield Wrong("removed", n, id, f"row {id} of segment {n} was removed")
        elif there[id].leaf != entry:
            yield Wrong("altered", n, id, f"row {id} of segment {n} was altered")
    for row in rows:
        if row.id not in sealed or there[row.id] is not row:
            yield Wrong("inserted", n, row.id, f"row {row.id} was put into segment {n} after it was sealed")


def outside(known: Mapping[int, str], kept: Mapping[int, str], last: int) -> Iterator[Wrong]:
    """What heads that were `kept` outside say of those that the store has now; `last` is its newest segment."""
    for number, signed in sorted(kept.items()):
        if number > last:
            yield Wrong("truncated", number, "", f"a head of segment {number} was given out, and the trail ends with segment {last}")
            return
        if known.get(number) != signed:
            yield Wrong("head", number, "", f"the head of segment {number} is another than the one that was given out: {ANEW}")


# -- one person's rows, to be proved elsewhere --------------------------------------------------------------------------


class ProvedRow(msgspec.Struct, frozen=True):
    """`note` is the row's own JSON, as text; `path` proves it in its segment."""

    at: int
    id: str
    patient: str | None
    user: str
    note: str
    index: int
    path: list[str]


class ProvedSegment(msgspec.Struct, frozen=True):
    """A segment with some of its rows. `path` proves it in the tree of all segments."""

    claim: Head
    path: list[str]
    rows: list[ProvedRow]


class Proof(msgspec.Struct, frozen=True):
    """One person's rows, and that they are in the trail whose newest signed head is `head`. Nobody else's rows.

    `earlier`: by the number of an older head, that the trail of that head is the beginning of this one.
    """

    person: str
    head: str
    segments: list[ProvedSegment]
    earlier: dict[str, list[str]] = {}


def proof_of(person: str, heads: Sequence[tuple[str, Head]], parts: Mapping[int, tuple[Segment, Sequence[TrailRow]]], kept: Iterable[int] = ()) -> Proof:
    """Of these rows of a person (by segment, with all its entries), and the heads of all segments in order."""
    tree = [h.entry() for _, h in heads]
    segments = []
    for number, (segment, rows) in sorted(parts.items()):
        entries = segment.entries
        leaves = [e for _, e in entries]
        places = {id: i for i, (id, _) in enumerate(entries)}
        proved = [
            ProvedRow(r.at, r.id, r.patient, r.user, r.note.decode(), places[r.id], [h.hex() for h in path(leaves, places[r.id])]) for r in rows
        ]
        segments.append(ProvedSegment(heads[number - 1][1], [h.hex() for h in path(tree, number - 1)], proved))
    earlier = {str(k): [h.hex() for h in consistency(tree, k)] for k in kept if 0 < k <= len(tree)}
    return Proof(person, heads[-1][0], segments, earlier)


def examined(proof: Proof, head: Head, kept: Mapping[int, Head]) -> Iterator[Wrong]:
    """What is wrong with a proof whose newest head is believed. `kept` are heads that the reader has, of before or after it.

    A proof is of the day it was made: that there are newer heads is nothing wrong, but the next one must follow its own.
    """
    whole = bytes.fromhex(head.log)
    for segment in proof.segments:
        claim = segment.claim
        if not included(claim.entry(), claim.number - 1, head.number, _hashes(segment.path), whole):
            yield Wrong("segment", claim.number, "", f"segment {claim.number} is not in the trail of this head")
            continue
        for row in segment.rows:
            entry = TrailRow(row.at, row.id, row.patient, row.user, row.note.encode()).leaf
            if row.patient != proof.person:
                yield Wrong("inserted", claim.number, row.id, f"row {row.id} is not of {proof.person}")
            if not included(entry, row.index, claim.rows, _hashes(row.path), bytes.fromhex(claim.root)):
                yield Wrong("altered", claim.number, row.id, f"row {row.id} is not in segment {claim.number} as it was sealed")
    for number, old in sorted(kept.items()):
        if number > head.number:
            if number == head.number + 1 and old.previous != digest(proof.head):
                yield Wrong("head", number, "", f"the head of segment {number} that was given out does not follow the head of this proof: {ANEW}")
        elif str(number) in proof.earlier:
            steps = _hashes(proof.earlier[str(number)])
            if not consistent(number, bytes.fromhex(old.log), head.number, whole, steps):
                yield Wrong("head", number, "", f"the trail of this proof does not begin with the trail of head {number}")
        elif number == head.number and old != head:
            yield Wrong("head", number, "", f"the head of segment {number} is another than the one that was given out")


def untold(proof: Proof, head: Head, kept: Iterable[int]) -> int:
    """Of how many of these heads a proof says nothing: those after the next one, and those before it that it was not made for."""
    told = {int(n) for n in proof.earlier if n.isdigit()} | {head.number, head.number + 1}
    return len(set(kept) - told)


def _hashes(said: Iterable[str]) -> list[bytes]:
    return [bytes.fromhex(h) for h in said]


def read_proof(raw: bytes) -> Proof:
    """Problem malformed when it is none."""
    try:
        proof = msgspec.json.decode(raw, type=Proof)
        for hashes in ([h for s in proof.segments for h in (*s.path, s.claim.root, s.claim.log)], *([h for r in s.rows for h in r.path] for s in proof.segments), *proof.earlier.values()):
            _hashes(hashes)
    except ValueError as wrong:
        raise Problem("malformed", f"This is no proof that `audit proof` wrote: {wrong}.") from None
    return proof


def read_claim(payload: bytes) -> Head | None:
    """The claim of a signed head; None when it is something else."""
    try:
        return msgspec.json.decode(payload, type=Head)
    except ValueError:
        return None
