"""Small things to keep: resources, audit rows, people. Instants count in seconds from one morning."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from fhir_gateway.domain.types import Facts, Key, Note, Op, Put, Ref, Remove, Writer
from fhir_gateway.store.base import Store

MORNING = datetime(2026, 5, 4, 9, tzinfo=UTC)
GP = Writer("Practitioner/gp", "Organization/surgery", "client-1")
ANN, BOB = "Patient/ann", "Patient/bob"

Reopen = Callable[[], Awaitable[Store]]


def at(seconds: float = 0) -> datetime:
    return MORNING + timedelta(seconds=seconds)


def micros(when: datetime) -> int:
    return (when - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


def goal(
    id: str, version: int = 1, *, patient: str | None = ANN, when: float = 0, text: str = "walk", keys: tuple[Key, ...] = (),
    writer: Writer = GP, type: str = "Goal", **facts: Any,
) -> Put:  # fmt: skip
    """Version `version` of a goal, replacing the one before."""
    body = json.dumps({"resourceType": type, "id": id, "description": {"text": text}, "text": {"div": "<div>walk</div>"}}).encode()
    view = json.dumps({"resourceType": type, "id": id, "description": {"text": text}}).encode()
    known = {"confidentiality": "N", "refs": frozenset({patient} if patient else ()), "updated": micros(at(when))} | facts
    patients = known.pop("patients", (patient,) if patient else ())
    return Put(
        Ref(type, id), version, at(when), body, view, Facts(type, id, patients, **known), keys, writer, version - 1
    )


def gone(id: str, version: int, *, when: float = 0, type: str = "Goal", writer: Writer = GP) -> Remove:
    return Remove(Ref(type, id), version, at(when), writer, version - 1)


def note(id: str, *, when: float = 0, patient: str | None = ANN, user: str = "Practitioner/gp", **more: Any) -> Note:
    return Note(id, at(when), "R", "read", True, user, patient=patient, **more)


async def everything(store: Store) -> dict[str, Any]:
    """All that a reader of the store can tell, to compare before and after."""
    from fhir_gateway.domain.types import Always

    out: dict[str, Any] = {"history": (await store.history(None, None, Always(), count=10_000)).hits}
    out["counts"] = await store.counts()
    out["notes"] = await store.notes(count=10_000)
    out["current"] = await store.get_many([v.ref for v in out["history"]])
    out["epochs"] = [await store.epoch(s) for s in (ANN, BOB, "directory")]
    out["kept"] = await store.kept_all("code", at()), await store.kept_all("client", at())
    out["outbox"] = await store.outbox(), [await store.outbox_items("hospital", s) for s in ("queued", "leased", "sent", "parked")]
    out["ledger"] = await store.ledger()
    return out


async def refused(store: Store, error: type[Exception], *ops: Op) -> Exception:
    """This commit raises `error` and changes nothing."""
    before = await everything(store)
    try:
        await store.commit(*ops)
    except error as e:
        assert await everything(store) == before, "a refused commit changed something"
        return e
    raise AssertionError(f"not refused: {ops}")
