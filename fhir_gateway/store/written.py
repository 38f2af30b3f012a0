"""How every engine writes down instants (microseconds since 1970 UTC), writers and facts (JSON)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final

import msgspec

from ..domain import facts
from ..domain.types import Writer

START: Final = datetime(1970, 1, 1, tzinfo=UTC)

encode_writer = msgspec.json.Encoder().encode
# Both are values of their bytes: the records that people look at again and again are understood once.
decode_writer = lru_cache(maxsize=1_000)(msgspec.json.Decoder(Writer).decode)
decode_facts = lru_cache(maxsize=2_000)(facts.decode)


def micros(at: datetime) -> int:
    d = at - START
    return (d.days * 86_400 + d.seconds) * 1_000_000 + d.microseconds


def instant(us: int) -> datetime:
    return START + timedelta(0, 0, us)
