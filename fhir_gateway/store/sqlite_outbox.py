"""The outbox: what waits for which server, and who holds it. A lease is fenced: whoever lost it cannot close the entry.

A lane is a person, or a resource that is nobody's or that a subscriber is told of. Entries of a lane run one at a time, in order; so do those of a resource.
Only a review or a recall goes by what waits for another try, and a review by a recall of the very record, too; of all lanes theirs come first. The lane of somebody of whom something is there when
theirs is queued, or queued again, is in a hurry until that has been tried: with what stands before it, it goes before all others, however much waits.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

import apsw

from ..domain.periods import instant, micros
from ..domain.types import Close, Delay, Place, Queued, Ref, Renew, Send
from .base import HURRY, URGENT, Fenced
from .sqlite_writer import Group

SKEW: Final = 60_000_000
_THERE: Final = "SELECT 1 FROM ledger WHERE ledger.patient = {0} AND ledger.remote = {1} AND recalled IS NULL LIMIT 1"
OPEN: Final = "state IN ('queued', 'leased')"

_URGENT: Final = f"why IN {URGENT}"
# Queued again an entry is as it was when it came: a withdrawal does not go behind a backlog for having been parked.
_AGAIN: Final = f"state = ?, tries = 0, due = CASE WHEN {_URGENT} AND EXISTS ({_THERE.format('outbox.patient', 'outbox.remote')}) THEN {HURRY} ELSE 0 END"
# A lease taken more than a minute after now was granted by a clock that has been set back since: it is over too.
_READY: Final = "CASE {0}.state WHEN 'queued' THEN {0}.due <= :at ELSE {0}.until <= :at OR {0}.taken > :ahead END"

# Of each lane where nothing runs: the first open entry if it is due or its lease is over, else the first review or recall that is.
# Nothing older of the same resource is open, but what a review or recall goes by. Where reviews alone are asked for: the first of them.
DUE: Final = f"""
WITH lane AS (
  SELECT lane AS name, min(entry) AS entry, state, due, until, taken, sum(state = 'leased' AND until > :at AND taken <= :ahead) AS running,
    sum(due = {HURRY}) > 0 AS hurries
  FROM outbox WHERE remote = :remote AND {OPEN} GROUP BY lane),
h AS (
  SELECT CASE WHEN NOT :reviews AND {_READY.format("lane")} THEN lane.entry ELSE (
    SELECT min(u.entry) FROM outbox u
    WHERE u.remote = :remote AND u.lane = lane.name AND u.{OPEN} AND u.{_URGENT} AND (u.why = 'review' OR NOT :reviews) AND {_READY.format("u")}) END AS entry, hurries
  FROM lane WHERE NOT running)
SELECT o.entry, o.fence + 1, o.type, o.id, o.version, o.patient, o.why, o.tries, o.queued_at
FROM h JOIN outbox o ON o.entry = h.entry
WHERE NOT EXISTS (
  SELECT 1 FROM outbox p WHERE p.remote = :remote AND p.{OPEN} AND p.type = o.type AND p.id = o.id AND p.entry < o.entry
  AND NOT (o.{_URGENT} AND NOT p.{_URGENT} AND p.state = 'queued' AND (p.due > :at OR p.lane = o.lane))
  AND NOT (o.why = 'review' AND p.state = 'queued' AND p.due > :at))
ORDER BY h.hurries DESC, o.{_URGENT} DESC, o.entry LIMIT :count
"""


@dataclass(slots=True)
class Lease:
    remote: str
    holder: str
    at: datetime
    seconds: float
    count: int
    reviews: bool = False
    taken: list[Queued] = field(default_factory=list)


@dataclass(slots=True)
class Requeue:
    remote: str
    state: str
    at: datetime
    refs: tuple[Ref, ...] | None
    into: str = "queued"
    moved: int = 0


def _send(group: Group, op: Send) -> None:
    group.cursor.execute(
        "INSERT INTO outbox(remote, lane, type, id, version, patient, why, due, queued_at) VALUES (?,?,?,?,?,?,?,?,?)",
        (op.remote, op.lane, *op.ref, op.version, op.patient, op.why, HURRY if _hurries(group, op) else 0, micros(group.now())),
    )


def _hurries(group: Group, op: Send) -> bool:
    return op.why in URGENT and group.cursor.execute(_THERE.format("?", "?"), (op.patient, op.remote)).fetchone() is not None


def _lease(group: Group, op: Lease) -> None:
    at = micros(op.at)
    until = at + round(op.seconds * 1e6)
    asked = {"remote": op.remote, "at": at, "ahead": at + SKEW, "count": op.count, "reviews": op.reviews}
    op.taken.clear()  # a group that is tried again leases again
    rows: list[Any] = group.cursor.execute(DUE, asked).fetchall()
    for entry, fence, type, id, version, patient, why, tries, queued_at in rows:
        group.cursor.execute(
            "UPDATE outbox SET state = 'leased', holder = ?, taken = ?, until = ?, fence = ?, tries = tries + 1 WHERE entry = ?",
            (op.holder, at, until, fence, entry),
        )
        op.taken.append(Queued(entry, fence, op.remote, Ref(type, id), version, patient, why, tries, instant(queued_at)))


def _held(cursor: apsw.Cursor, entry: int, fence: int, sets: str, *values: Any) -> None:
    cursor.execute(
        f"UPDATE outbox SET {sets}, holder = NULL, taken = NULL, until = NULL WHERE entry = ? AND fence = ? AND state = 'leased'", (*values, entry, fence)
    )
    if cursor.connection.changes() == 0:
        raise Fenced(str(entry))


def _close(group: Group, op: Close) -> None:
    if op.state in ("queued", "leased"):
        raise ValueError(f"an entry does not end as {op.state}")
    _held(group.cursor, op.entry, op.fence, "state = ?, detail = ?", op.state, op.detail)


def _delay(group: Group, op: Delay) -> None:
    tries = ", tries = tries - 1" if op.untried else ""
    _held(group.cursor, op.entry, op.fence, f"state = 'queued', due = ?, detail = ?{tries}", micros(op.due), op.detail)


def _renew(group: Group, op: Renew) -> None:
    group.cursor.execute(
        "UPDATE outbox SET until = ? WHERE entry = ? AND fence = ? AND state = 'leased'", (micros(op.until), op.entry, op.fence)
    )
    if group.cursor.connection.changes() == 0:
        raise Fenced(str(op.entry))


def _place(group: Group, op: Place) -> None:
    """The fence stays, as in `_requeue`."""
    if op.was in ("queued", "leased"):
        raise ValueError(f"an entry that is {op.was} is a worker's")
    sets = _AGAIN if op.state == "queued" else "state = ?"
    group.cursor.execute(f"UPDATE outbox SET {sets} WHERE entry = ? AND state = ?", (op.state, op.entry, op.was))
    if group.cursor.connection.changes() == 0:
        raise Fenced(str(op.entry))


def _requeue(group: Group, op: Requeue) -> None:
    """Fresh tries, due at once; the fence stays, so that no late worker can close it."""
    sets = _AGAIN if op.into == "queued" else "state = ?"
    again = f"UPDATE outbox SET {sets} WHERE remote = ? AND state = ?"
    if op.refs is None:
        group.cursor.execute(again, (op.into, op.remote, op.state))
        op.moved = group.cursor.connection.changes()
        return
    op.moved = 0
    for ref in dict.fromkeys(op.refs):
        group.cursor.execute(f"{again} AND type = ? AND id = ?", (op.into, op.remote, op.state, *ref))
        op.moved += group.cursor.connection.changes()


CHANGES: Final[dict[type, Callable[[Group, Any], None]]] = {
    Send: _send, Close: _close, Delay: _delay, Renew: _renew, Place: _place, Lease: _lease, Requeue: _requeue,
}  # fmt: skip
