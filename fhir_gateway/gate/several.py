"""What is about several people at once. The ledger and the outbox have it under the first of them alone, and each of them has a say in it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection
from typing import Any, Final

from ..domain.search import Query
from ..domain.types import All, Has, Never, Not, Only, Stored
from .context import House

PAGE: Final = 200


async def about_others_too(house: House, people: Collection[str]) -> AsyncIterator[Stored]:
    """What is here now about somebody of these people (`Patient/…`) and about somebody else besides."""
    theirs = frozenset(people)
    both = All((Has("patient", theirs), Not(Only("patient", theirs))))
    after: tuple[Any, ...] | None = None
    while theirs:
        found = await house.store.search(Query(()), both, filtered=Never(), count=PAGE, after=after)
        for stored in found.hits:
            yield stored
        after = found.after
        if after is None:
            return


__all__ = ["about_others_too"]
