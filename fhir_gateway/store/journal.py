"""The consent journal: files outside the store that say again, in order, what decides who may see what.

A restore of an old copy would reopen what was withdrawn since; from here it is taken up again (docs/backup.md). One line an
entry, each with a hash over the one before it. A line that a crash cut short was never acknowledged: it is taken off. Its
head, beside it and in a second place, says how many entries there are and the last one's hash: a cut end shows.
Several processes of one machine may write to one journal.
"""

from __future__ import annotations

import fcntl
import heapq
import hmac
import os
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import Final

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from .disk import to_disk

SEGMENT: Final = 16 * 1024 * 1024  # bytes of one file; then the next is begun
FIRST: Final = "0" * 64  # what the very first entry follows


class Damaged(Exception):
    """A journal that cannot be trusted: which file and line, and why."""


class Short(Damaged):
    """A journal that ends before an entry that surely stood in it."""


class Head(msgspec.Struct, frozen=True):
    """Where a journal ends: its entries so far, with those in files moved away, and the hash of the last."""

    number: int
    chain: str


@dataclass(frozen=True, slots=True)
class Entry:
    """`ops` is what was written, as bytes (`journalled`); None once its person was disposed of. `people` are `Patient/…`.

    `late`: a start wrote it down for a process that was killed; its place is by its id, which is of the time of the commit.
    """

    id: str
    at: datetime
    ops: bytes | None
    people: tuple[str, ...] = ()
    late: bool = False
    locked: bool = False  # encrypted, and not by the key that is set now


class _Line(msgspec.Struct, omit_defaults=True):
    id: str
    at: datetime
    sum: str  # of the bytes of `ops`: stays when they go
    chain: str  # over the chain before, and everything else here but `ops`
    people: tuple[str, ...] = ()
    late: bool = False
    shut: bool = False  # `ops` are encrypted
    later: bool = False  # encrypted after they were written: `sum` is of what is inside
    ops: str | None = None


_decode = msgspec.json.Decoder(_Line).decode


class Journal:
    """The journal of one store, in `folder`; `witness` is the second file that says where it ends."""

    def __init__(self, folder: Path, key: str = "", segment: int = SEGMENT, witness: Path | None = None) -> None:
        self._lock = Lock(key) if key else None
        self.folder, self._segment, self._witness = folder, segment, witness
        self._left: tuple[Path, int] | None = None  # the last file as we left it
        self._end: Head | None = None  # as we left it

    def files(self) -> list[Path]:
        return sorted(self.folder.glob("[0-9]*.jsonl")) if self.folder.is_dir() else [self.folder] if self.folder.is_file() else []

    def append(self, entries: Sequence[Entry]) -> Head:
        """On disk when it returns, and where it ends then. OSError when it cannot be, Short when its end went meanwhile."""
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with self._alone():
            files = self.files()
            file, size = (files[-1], files[-1].stat().st_size) if files else (self.folder / "000001.jsonl", 0)
            end = self._end if self._end and self._left == (file, size) else None
            if end is None:
                self._mended(files)
                end = self.end(self._end)
            number, chain = end.number, end.chain
            lines = []
            for entry in entries:
                line = _line(entry, chain, self._lock)
                number, chain = number + 1, line.chain
                lines.append(msgspec.json.encode(line) + b"\n")
            file = self.folder / f"{int(file.stem) + (size >= self._segment):06}.jsonl"
            self._left = None
            _write(file, b"".join(lines))
            self._end = Head(number, chain)
            self._say(self._end)
            self._left = file, file.stat().st_size
            return self._end

    def heads(self) -> list[Head]:
        """What the files say that keep where it ends. Damaged when one of them says nothing."""
        found = []
        for file in self._head_files():
            try:
                found.append(msgspec.json.decode(file.read_bytes(), type=Head))
            except FileNotFoundError:
                continue
            except msgspec.MsgspecError:
                raise Damaged(f"{file}: this is no head of a consent journal") from None
        return found

    def end(self, *surely: Head | None) -> Head:
        """Where it ends now. Short when that is before one of its heads, or of those that were `surely` reached."""
        heads = [*self.heads(), *(head for head in surely if head is not None)]
        for head in heads:
            if self._after(head.chain) is None:
                raise Short(f"{self.folder} ends before entry {head.number}, which surely stood in it")
        last = self._last()
        newest = max(heads, key=lambda head: head.number, default=None)
        return Head(newest.number + (self._after(newest.chain) or 0), last) if newest else Head(self._count(), last)

    def checked_end(self, *surely: Head | None) -> Head:
        """`end`, while nobody writes."""
        with self._alone() if self.folder.is_dir() else _nothing():
            return self.end(*surely)

    def begin_again(self) -> Head:
        """Somebody has answered for what is missing: its heads say what is here."""
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with self._alone():
            try:
                head = self.end()
            except Damaged:
                head = Head(self._count(), self._last())
            self._say(head)
            self._end = self._left = None
            return head

    def _say(self, head: Head) -> None:
        for file in self._head_files():
            file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            part = file.with_name(f"{file.name}.part")
            part.unlink(missing_ok=True)
            _write(part, msgspec.json.encode(head))
            os.replace(part, file)

    def _head_files(self) -> list[Path]:
        own = (self.folder.parent if self.folder.is_file() else self.folder) / "head.json"
        return [own, self._witness] if self._witness else [own]

    def _count(self) -> int:
        return sum(len(_lines(file)[0]) for file in self.files())

    def _last(self) -> str:
        """The hash of the last whole entry."""
        return next((_chain_of(file, len(whole), whole[-1]) for file in reversed(self.files()) if (whole := _lines(file)[0])), FIRST)

    def _after(self, chain: str) -> int | None:
        """How many entries follow the one with this hash. None: it is not here."""
        n = 0
        for file in reversed(self.files()):
            for number, raw in reversed(list(enumerate(_lines(file)[0], 1))):
                if chain.encode() in raw and _chain_of(file, number, raw) == chain:
                    return n
                n += 1
        return n if chain == FIRST and self.is_from_the_start else None

    def entries(self) -> Iterator[Entry]:
        """Oldest first, checked. Damaged where a line is not what was written, or does not follow the one before."""
        chain: str | None = None
        files = self.files()
        for file in files:
            whole, cut = _lines(file)
            if cut and file != files[-1]:
                raise Damaged(f"{file}: its last line is cut short")
            for number, raw in enumerate(whole, 1):
                where = f"{file}:{number}"
                try:
                    line = _decode(raw)
                    ops = None if line.ops is None else b64decode(line.ops, validate=True)
                except (msgspec.MsgspecError, ValueError):
                    raise Damaged(f"{where}: this is no line of a consent journal") from None
                before = chain if chain is not None else FIRST if file.stem == "000001" else None
                if before is not None and line.chain != _chain(before, line):
                    raise Damaged(f"{where}: it was changed, or something before it is missing")
                opened = ops if ops is None or not (line.shut or line.later) else self._lock.opened(line.id, ops) if self._lock else None
                summed = opened if line.later else ops
                if summed is not None and sha256(summed).hexdigest() != line.sum:
                    raise Damaged(f"{where}: it was changed")
                chain = line.chain
                yield Entry(line.id, line.at, opened, line.people, line.late, locked=ops is not None and opened is None)

    def newest(self, count: int = 64) -> list[str]:
        """The ids of the last whole entries. Damaged when they are none."""
        out: list[str] = []
        for file in reversed(self.files()):
            for number, raw in reversed(list(enumerate(_lines(file)[0], 1))):
                if len(out) == count:
                    return out
                out.append(_read(file, number, raw).id)
        return out

    @property
    def is_from_the_start(self) -> bool:
        """Has nobody moved the oldest files away."""
        files = self.files()
        return not files or files[0].stem == "000001"

    def forget(self, person: str) -> int:
        """Take out what stands here of a person; that something stood there stays. How many entries."""

        def without(line: _Line) -> bool:
            hit = person in line.people and line.ops is not None
            line.ops = None if hit else line.ops
            return hit

        return self._change(without)

    def encrypt(self) -> int:
        """What was written before there was a key is encrypted by it now, and overwritten; each hash stays. How many entries."""
        lock = self._lock
        if lock is None or not any(_is_plain(raw) for file in self.files() for raw in _lines(file)[0]):
            return 0

        def shut(line: _Line) -> bool:
            hit = line.ops is not None and not line.shut and not line.later
            if hit:
                line.ops, line.later = b64encode(lock.shut(line.id, b64decode(line.ops or ""))).decode(), True
            return hit

        return self._change(shut)

    def _change(self, change: Callable[[_Line], bool]) -> int:
        """Write each file anew of which `change` changes a line; how many lines. Damaged where a line is none."""
        changed = 0
        with self._alone() if self.files() else _nothing():
            for file in self.files():
                _mend(file)
                self._left = None
                lines = [_read(file, number, raw) for number, raw in enumerate(_lines(file)[0], 1)]
                hit = sum([change(line) for line in lines])
                if hit:
                    changed += hit
                    _replace(file, b"".join(msgspec.json.encode(line) + b"\n" for line in lines))
        return changed

    def _mended(self, files: list[Path]) -> None:
        """A last file may have been begun, and nothing written."""
        next((chain for file in reversed(files) if (chain := _mend(file))), None)

    def _alone(self) -> _Alone:
        return _Alone(self.folder / "lock")


class Lock:
    """Encrypts what stands in the lines, by a key of its own made from the store's (AES-256-GCM; the entry's id is bound to it)."""

    def __init__(self, key: str) -> None:
        self._cipher = AESGCM(hmac.digest(bytes.fromhex(key), b"consent journal", "sha256"))

    def shut(self, id: str, ops: bytes) -> bytes:
        nonce = os.urandom(12)
        return nonce + self._cipher.encrypt(nonce, ops, id.encode())

    def opened(self, id: str, ops: bytes) -> bytes | None:
        """None when it was shut by another key."""
        try:
            return self._cipher.decrypt(ops[:12], ops[12:], id.encode())
        except (InvalidTag, ValueError):  # a ValueError: too short to hold a nonce
            return None


class _Alone:
    """Nobody else writes to this journal meanwhile."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> None:
        self._handle = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        fcntl.flock(self._handle, fcntl.LOCK_EX)

    def __exit__(self, *_: object) -> None:
        os.close(self._handle)


class _nothing:
    def __enter__(self) -> None: ...

    def __exit__(self, *_: object) -> None: ...


def merged(journals: Iterable[Journal]) -> Iterator[Entry]:
    """The entries of several gateways' journals of one store, in the order of the commits. Damaged when one of them is."""
    return heapq.merge(*(_in_order(j.entries()) for j in journals), key=lambda e: e.id)


def _in_order(entries: Iterable[Entry]) -> list[Entry]:
    out: list[Entry] = []
    for entry in entries:
        place = len(out)
        while entry.late and place and out[place - 1].id > entry.id:
            place -= 1
        out.insert(place, entry)
    return out


def _line(entry: Entry, chain: str, lock: Lock | None) -> _Line:
    raw = lock.shut(entry.id, entry.ops) if lock and entry.ops is not None else entry.ops
    ops = None if raw is None else b64encode(raw).decode()
    line = _Line(entry.id, entry.at, sha256(raw or b"").hexdigest(), "", entry.people, entry.late, lock is not None, ops=ops)
    line.chain = _chain(chain, line)
    return line


def _chain(before: str, line: _Line) -> str:
    said = [before, line.id, line.at.isoformat(), line.sum, list(line.people), line.late, line.shut]
    return sha256(msgspec.json.encode(said)).hexdigest()


def _lines(file: Path) -> tuple[list[bytes], bytes]:
    """The whole lines, and what a crash left behind them."""
    *whole, cut = file.read_bytes().split(b"\n")
    return whole, cut


def _mend(file: Path) -> str | None:
    """The chain at the end of this file, once a line that was cut short is taken off: nobody was told that it is there. None: it is empty."""
    whole, cut = _lines(file)
    if cut:
        with open(file, "r+b") as f:
            f.truncate(file.stat().st_size - len(cut))
            os.fsync(f.fileno())
    return _chain_of(file, len(whole), whole[-1]) if whole else None


def _chain_of(file: Path, number: int, raw: bytes) -> str:
    return _read(file, number, raw).chain


def _read(file: Path, number: int, raw: bytes) -> _Line:
    try:
        return _decode(raw)
    except msgspec.MsgspecError:
        raise Damaged(f"{file}:{number}: this is no line of a consent journal") from None


def _is_plain(raw: bytes) -> bool:
    return b'"ops":"' in raw and b'"shut":true' not in raw and b'"later":true' not in raw


def _write(file: Path, raw: bytes) -> None:
    new = not file.exists()
    handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        while raw:
            raw = raw[os.write(handle, raw) :]
        os.fsync(handle)
    finally:
        os.close(handle)
    if new:
        to_disk(file.parent)


def _replace(file: Path, raw: bytes) -> None:
    """The new file is whole before the old one goes; the old one is overwritten when nobody finds it any more."""
    part = file.with_suffix(".part")
    part.unlink(missing_ok=True)
    _write(part, raw)
    with open(file, "r+b") as old:
        os.replace(part, file)
        to_disk(file.parent)
        old.write(b"\0" * os.fstat(old.fileno()).st_size)
        old.flush()
        os.fsync(old.fileno())
