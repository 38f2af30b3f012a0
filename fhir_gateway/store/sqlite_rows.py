"""Rows to nouns: instants as microseconds since 1970 UTC, facts and writers as JSON, a view equal to its body kept as NULL."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, Final

import msgspec

from ..domain import facts
from ..domain.types import Ref, Stored, Writer

_START: Final = datetime(1970, 1, 1, tzinfo=UTC)
_EPOCH: Final = "(SELECT value FROM epoch WHERE subject = r.patient)"
# The columns of `stored`, in its order, over `resource r` or `version r`.
COLUMNS: Final = f"r.type, r.id, r.version, r.updated, r.body, r.view, r.facts, r.writer, r.created_by, r.patient, {_EPOCH}"

encode_writer = msgspec.json.Encoder().encode
# Both are values of their bytes: the records that people look at again and again are understood once.
_writer = lru_cache(maxsize=1_000)(msgspec.json.Decoder(Writer).decode)
_facts = lru_cache(maxsize=2_000)(facts.decode)


def micros(at: datetime) -> int:
    d = at - _START
    return (d.days * 86_400 + d.seconds) * 1_000_000 + d.microseconds


def instant(us: int) -> datetime:
    return _START + timedelta(0, 0, us)


def stored(row: Any) -> Stored:
    """Of the first eleven columns of a row: `COLUMNS`."""
    type, id, version, updated, body, view, known, writer, created_by, _, epoch = row[:11]
    return Stored(
        Ref(type, id), version, _START + timedelta(0, 0, updated), body, body if view is None else view, _facts(known),
        _writer(writer), epoch or 0, created_by,
    )  # fmt: skip
