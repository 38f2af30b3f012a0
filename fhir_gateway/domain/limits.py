"""How much one FHIR request may ask for. Whoever runs the gateway may set it otherwise; these are the defaults of the specification."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Limits:
    """`entries` of a batch or transaction, resources on a page (`_count`), alternatives in one search parameter (`values`)."""

    entries: int = 500
    count: int = 200
    values: int = 100


DEFAULT: Final = Limits()
