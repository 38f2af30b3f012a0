"""What is here already under a tag, whoever may see it: asked by the house for itself, and told to nobody."""

from __future__ import annotations

from collections.abc import Sequence

from ..domain import search as searching
from ..domain.predicate import ALWAYS
from ..domain.types import Never, Stored
from .context import House


async def tagged(house: House, type: str, system: str, codes: Sequence[str]) -> Stored | None:
    """The first resource of this type, not deleted, that bears one of these tags. Codes are without `,` and `|`."""
    query = searching.parse(type, [("_tag", ",".join(f"{system}|{c}" for c in codes))], house.r4)
    found = await house.store.search(query, ALWAYS, filtered=Never(), count=1)
    return next(iter(found.hits), None)
