"""One writer thread, group commit: all commits that wait share one transaction and one fsync.

What one turn of an event loop submits is handed over together at its end: sixteen searches answered in one turn are one
transaction, not sixteen, and wake the thread once.

Each stands in its own savepoint, so a refused one leaves no trace and disturbs nobody. Audit rows of the whole group go in
by one statement: a read's commit is a single row and costs little more than its share of the fsync.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from queue import SimpleQueue
from typing import Any, Final

import apsw

from ..domain import audit
from ..domain.periods import micros
from ..domain.types import Expect, Note
from .base import Unavailable
from .sqlite_file import CHECKPOINT_PAGES, FAILING, TRUNCATE_PAGES, patience, unavailable

MOST_AT_ONCE: Final = 256
NOTE_GROUPS: Final = (64, 16, 4, 1)  # rows of one INSERT: few statements to prepare, few to run

Row = tuple[Any, ...]
Waiting = tuple[Sequence[Any], asyncio.Future[None], asyncio.AbstractEventLoop]
Done = tuple[asyncio.Future[None], BaseException | None]


class Group:
    """A transaction under way: what the operations write through."""

    __slots__ = ("at", "clock", "cursor", "notes")

    def __init__(self, cursor: apsw.Cursor, clock: Callable[[], datetime]) -> None:
        self.cursor, self.clock = cursor, clock
        self.notes: list[Row] = []  # written last, all together
        self.at: datetime | None = None  # when this commit says it happens

    def now(self) -> datetime:
        return self.at or self.clock()


class Writer:
    """`submit(ops)` resolves when they are on disk; a refusal is raised to its own caller only."""

    def __init__(
        self, open: Callable[[], apsw.Connection], apply: Callable[[Group, Any], None], clock: Callable[[], datetime]
    ) -> None:
        self._apply, self._clock = apply, clock
        self._queue: SimpleQueue[list[Waiting] | None] = SimpleQueue()
        self._gathered: dict[asyncio.AbstractEventLoop, list[Waiting]] = {}  # each touched by its own loop only
        self._ending = threading.Lock()
        self._stopped = False
        self._pages, self._due = 0, CHECKPOINT_PAGES
        self._db = open()
        self._db.set_wal_hook(self._grown)
        self._cursor = self._db.cursor()
        self._thread = threading.Thread(target=self._run, name="sqlite-writer", daemon=True)
        self._thread.start()

    def submit(self, ops: Sequence[Any]) -> asyncio.Future[None]:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()
        if self._stopped:
            future.set_exception(_closed())
            return future
        gathered = self._gathered.get(loop)
        if gathered is None:
            gathered = self._gathered[loop] = []
            loop.call_soon(self._hand_over, loop)
        gathered.append((ops, future, loop))
        return future

    def _hand_over(self, loop: asyncio.AbstractEventLoop) -> None:
        gathered = self._gathered.pop(loop)
        with self._ending:  # nothing goes into the queue behind its end
            if not self._stopped:
                self._queue.put(gathered)
                return
        _resolve([(future, _closed()) for _, future, _ in gathered])

    def close(self) -> None:
        """What was handed over is written first."""
        with self._ending:
            if self._stopped:
                return
            self._stopped = True
            self._queue.put(None)
        self._thread.join()

    # -- the thread ---------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        going = True
        while going:
            batch: list[Waiting] = []
            item = self._queue.get()
            while True:
                if item is None:
                    going = False
                else:
                    batch += item
                if len(batch) >= MOST_AT_ONCE or self._queue.empty():
                    break
                item = self._queue.get()
            if batch:
                _answer(batch, self._write([ops for ops, _, _ in batch]))
                self._tidy()
        self._db.close()

    def _write(self, batch: list[Sequence[Any]]) -> list[BaseException | None]:
        """What became of each. A group that fails as a whole is tried again one by one, so that nobody pays for another."""
        try:
            return self._together(batch)
        except apsw.BusyError as wrong:
            return [unavailable(wrong)] * len(batch)
        except Exception as wrong:
            if len(batch) > 1:
                return [self._write([ops])[0] for ops in batch]
            return [unavailable(wrong) if isinstance(wrong, FAILING) else wrong]

    def _together(self, batch: list[Sequence[Any]]) -> list[BaseException | None]:
        group = Group(self._cursor, self._clock)
        results: list[BaseException | None] = [None] * len(batch)
        rest: list[int] = []
        for i, ops in enumerate(batch):
            if all(type(op) is Note for op in ops):
                results[i] = _noted(group, ops)
            else:
                rest.append(i)
        sizes = list(_sizes(len(group.notes)))
        if not rest and len(sizes) <= 1:
            self._insert(group.notes, sizes)  # one statement is a transaction by itself
            return results
        try:
            self._cursor.execute("BEGIN IMMEDIATE")
            for i in rest:
                results[i] = self._one(group, batch[i], alone=len(batch) == 1)
            self._insert(group.notes, _sizes(len(group.notes)))
            self._cursor.execute("COMMIT")
        except BaseException:
            if self._db.in_transaction:  # on a full disk the engine has rolled back by itself
                self._cursor.execute("ROLLBACK")
            raise
        return results

    def _one(self, group: Group, ops: Sequence[Any], *, alone: bool) -> BaseException | None:
        mark = len(group.notes)
        group.at = max((at for op in ops if (at := getattr(op, "at", None)) is not None), default=None)
        if alone:
            self._steps(group, ops)
            return None
        self._cursor.execute("SAVEPOINT one")
        try:
            self._steps(group, ops)
        except FAILING:
            raise
        except Exception as refused:
            del group.notes[mark:]
            self._cursor.execute("ROLLBACK TO one; RELEASE one")
            return refused
        self._cursor.execute("RELEASE one")
        return None

    def _steps(self, group: Group, ops: Sequence[Any]) -> None:
        for op in ops:
            if type(op) is Expect:  # an epoch as it was before this commit, wherever it stands in the list
                self._apply(group, op)
        for op in ops:
            if type(op) is Note:
                group.notes.append(_row(op))
            elif type(op) is not Expect:
                self._apply(group, op)

    def _insert(self, notes: list[Row], sizes: Iterable[int]) -> None:
        at = 0
        for size in sizes:
            rows = notes[at : at + size]
            self._cursor.execute(_INSERT[size], rows[0] if size == 1 else [v for row in rows for v in row])
            at += size

    # -- the log --------------------------------------------------------------------------------------------------------

    def _grown(self, _db: apsw.Connection, _name: str, pages: int) -> int:
        if pages < self._pages:  # it has started over
            self._due = CHECKPOINT_PAGES
        self._pages = pages
        return apsw.SQLITE_OK

    def _tidy(self) -> None:
        """Copy the log into the file, after the answers are out; when readers have kept it from starting over, insist a little."""
        if self._pages < self._due:
            return
        self._due = self._pages + CHECKPOINT_PAGES
        try:
            self._db.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
            if self._pages >= TRUNCATE_PAGES:
                self._db.set_busy_timeout(50)
                self._db.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
        except apsw.Error:
            pass  # a reader is still there; or the next commit says what is wrong, to somebody who can be told
        finally:
            if self._pages >= TRUNCATE_PAGES:
                self._db.set_busy_handler(patience())


def _closed() -> Unavailable:
    return Unavailable("the store is closed")


_INSERT: Final = {
    n: "INSERT INTO audit(at, id, patient, user, note) VALUES " + ",".join(["(?,?,?,?,?)"] * n) for n in NOTE_GROUPS
}  # fmt: skip


def _row(note: Note) -> Row:
    return micros(note.at), note.id, note.patient, note.user, audit.encode(note)


def _noted(group: Group, ops: Sequence[Note]) -> BaseException | None:
    """These rows to the others, or why they cannot be written."""
    mark = len(group.notes)
    try:
        group.notes.extend(map(_row, ops))
    except Exception as wrong:
        del group.notes[mark:]
        return wrong
    return None


def _sizes(n: int) -> Iterable[int]:
    for size in NOTE_GROUPS:
        while n >= size:
            yield size
            n -= size


def _answer(batch: list[Waiting], results: list[BaseException | None]) -> None:
    """Wake each loop once, whatever the number of its commits."""
    by_loop: dict[asyncio.AbstractEventLoop, list[Done]] = {}
    for (_, future, loop), result in zip(batch, results, strict=True):
        by_loop.setdefault(loop, []).append((future, result))
    for loop, done in by_loop.items():
        try:
            loop.call_soon_threadsafe(_resolve, done)
        except RuntimeError:  # that loop has ended: nobody waits
            pass


def _resolve(done: list[Done]) -> None:
    for future, result in done:
        if future.done():
            continue  # its caller was cancelled; the commit stands
        if result is None:
            future.set_result(None)
        else:
            future.set_exception(result)

