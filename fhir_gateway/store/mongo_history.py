"""Versions in order of time, page by page, under a predicate: a version's own facts decide."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from ..domain import facts
from ..domain.periods import micros
from ..domain.predicate import matches
from ..domain.types import Always, Predicate, Ref, Stored
from .mongo_documents import Document, when
from .mongo_search import asks_incoming


class Chapter:
    """The versions of one resource, one type or all, since an instant, newest or oldest first."""

    def __init__(self, ref: Ref | None, type: str | None, predicate: Predicate, since: datetime | None, oldest_first: bool) -> None:
        self._predicate, self._since, self._oldest_first = predicate, since, oldest_first
        self.asks_incoming = asks_incoming(predicate)
        self._order, self._lead = "at", ""
        self._own: Document = {}
        if ref is not None:
            self._own = {"_id": {"$gte": f"{ref} ", "$lt": f"{ref}!"}}
        elif type is not None:
            self._order, self._lead = "type_at", f"{type} "  # one text holds both, so that one index of one field serves it
        self._asked = 0

    def page(self, before: tuple[Any, ...] | None, count: int) -> list[Document]:
        """The steps to `count` versions beyond a position; those that the predicate hides included."""
        span: Document = {"$gte": self._lead, "$lt": f"{self._lead[:-1]}!"} if self._lead else {}
        if self._since is not None:
            span["$gte"] = self._lead + when_least(micros(self._since))
        if before is not None:
            us, type, id, version = before
            at = self._lead + when(us, Ref(type, id), version)
            if self._oldest_first:
                span = {name: end for name, end in span.items() if name != "$gte"} | {"$gt": at}
            else:
                span["$lt"] = at
        self._asked = count
        match = {**self._own, **({self._order: span} if span else {})}
        return [{"$match": match}, {"$sort": {self._order: 1 if self._oldest_first else -1}}, {"$limit": count}]

    def ends(self, rows: list[Document]) -> bool:
        return len(rows) < self._asked

    def shows(self, row: Document, incoming: Mapping[str, frozenset[str]]) -> bool:
        if isinstance(self._predicate, Always):
            return True
        known = facts.decode(row["facts"])
        if self.asks_incoming:
            known = replace(known, referred_by=incoming[f"{row['type']}/{row['id']}"])
        return matches(self._predicate, known)

    def position(self, row: Document) -> tuple[Any, ...]:
        return row["updated"], row["type"], row["id"], row["version"]

    def position_of(self, hit: Stored) -> tuple[Any, ...]:
        return micros(hit.updated), hit.ref.type, hit.ref.id, hit.version


def when_least(us: int) -> str:
    """Before everything of this instant."""
    return when(us, Ref("", ""), 0)[:19]
