"""How every engine writes down writers and facts: JSON."""

from __future__ import annotations

from functools import lru_cache

import msgspec

from ..domain import facts
from ..domain.types import Writer

encode_writer = msgspec.json.Encoder().encode
# Both are values of their bytes: the records that people look at again and again are understood once.
decode_writer = lru_cache(maxsize=1_000)(msgspec.json.Decoder(Writer).decode)
decode_facts = lru_cache(maxsize=2_000)(facts.decode)
