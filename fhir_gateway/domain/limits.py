"""How much one FHIR request may ask for. Whoever runs the gateway may set it otherwise; these are the defaults of the specification."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Limits:
    """`entries` of a batch or transaction, resources on a page (`_count`), alternatives in one search parameter (`values`);

    of a body, and of what a patch makes: its bytes, `items` of one list, `elements` (names of objects) in all.
    """

    entries: int = 500
    count: int = 200
    values: int = 100
    body: int = 5 * 1024 * 1024
    items: int = 5_000
    elements: int = 200_000


DEFAULT: Final = Limits()
