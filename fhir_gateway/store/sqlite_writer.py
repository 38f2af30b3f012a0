"""One writer thread, group commit: all commits that wait share one transaction and one fsync, each in its own savepoint."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Sequence

import apsw

from ..domain.types import Op
from .base import StoreError, Unavailable

MOST_AT_ONCE = 512


class Writer:
    """`submit(ops)` resolves when they are on disk; a refusal is raised to its own caller only."""

    def __init__(self, open: Callable[[], apsw.Connection], apply: Callable[[apsw.Cursor, Op], None]) -> None:
        self._open, self._apply = open, apply
        self._waiting: deque[tuple[Sequence[Op], asyncio.Future[None], asyncio.AbstractEventLoop]] = deque()
        self._wake = threading.Event()
        self._stop = False
        self._thread = threading.Thread(target=self._run, name="sqlite-writer", daemon=True)
        self._thread.start()

    def submit(self, ops: Sequence[Op]) -> asyncio.Future[None]:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()
        if self._stop:
            future.set_exception(Unavailable("the store is closed"))
            return future
        self._waiting.append((ops, future, loop))
        if not self._wake.is_set():
            self._wake.set()
        return future

    def close(self) -> None:
        self._stop = True
        self._wake.set()
        self._thread.join(30)

    def _run(self) -> None:
        db = self._open()
        cursor = db.cursor()
        while True:
            self._wake.wait()
            self._wake.clear()
            while self._waiting:
                batch = [self._waiting.popleft() for _ in range(min(len(self._waiting), MOST_AT_ONCE))]
                results = self._batch(cursor, [ops for ops, _, _ in batch])
                by_loop: dict[asyncio.AbstractEventLoop, list[tuple[asyncio.Future[None], BaseException | None]]] = {}
                for (_, future, loop), result in zip(batch, results, strict=True):
                    by_loop.setdefault(loop, []).append((future, result))
                for loop, done in by_loop.items():
                    try:
                        loop.call_soon_threadsafe(_resolve, done)
                    except RuntimeError:  # the loop has ended; nobody waits
                        pass
            if self._stop and not self._waiting:
                db.close()
                return

    def _batch(self, cursor: apsw.Cursor, batch: list[Sequence[Op]]) -> list[BaseException | None]:
        results: list[BaseException | None] = [None] * len(batch)
        try:
            cursor.execute("BEGIN IMMEDIATE")
            for i, ops in enumerate(batch):
                results[i] = self._one(cursor, ops, alone=len(batch) == 1)
            cursor.execute("COMMIT")
        except apsw.Error as e:
            try:
                if cursor.connection.in_transaction:
                    cursor.execute("ROLLBACK")
            except apsw.Error:
                pass
            return [r or Unavailable(f"the store cannot write now ({type(e).__name__})") for r in results]
        return results

    def _one(self, cursor: apsw.Cursor, ops: Sequence[Op], *, alone: bool) -> BaseException | None:
        cursor.execute("SAVEPOINT one")
        try:
            for op in ops:
                self._apply(cursor, op)
        except StoreError as e:
            cursor.execute("ROLLBACK TO one")
            cursor.execute("RELEASE one")
            return e
        except (TypeError, ValueError, OverflowError, apsw.ConstraintError) as e:
            cursor.execute("ROLLBACK TO one")
            cursor.execute("RELEASE one")
            return e
        cursor.execute("RELEASE one")
        return None


def _resolve(done: list[tuple[asyncio.Future[None], BaseException | None]]) -> None:
    for future, result in done:
        if future.done():
            continue
        if result is None:
            future.set_result(None)
        else:
            future.set_exception(result)


