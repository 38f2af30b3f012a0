"""Rows to nouns: facts and writers as JSON, a view equal to its body kept as NULL."""

from __future__ import annotations

from typing import Any, Final

from ..domain.periods import instant, micros
from ..domain.types import Ref, Stored
from .written import decode_facts, decode_writer, encode_writer

_EPOCH: Final = "(SELECT value FROM epoch WHERE subject = r.patient)"
# The columns of `stored`, in its order, over `resource r` or `version r`.
COLUMNS: Final = f"r.type, r.id, r.version, r.updated, r.body, r.view, r.facts, r.writer, r.created_by, r.patient, {_EPOCH}"


def stored(row: Any) -> Stored:
    """Of the first eleven columns of a row: `COLUMNS`."""
    type, id, version, updated, body, view, known, writer, created_by, _, epoch = row[:11]
    return Stored(
        Ref(type, id), version, instant(updated), body, body if view is None else view, decode_facts(known),
        decode_writer(writer), epoch or 0, created_by,
    )  # fmt: skip


__all__ = ["COLUMNS", "encode_writer", "instant", "micros", "stored"]
