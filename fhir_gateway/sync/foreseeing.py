"""A dry run inward: what has changed there, and what would become of it here. It goes the whole way, over a store that writes nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from datetime import datetime
from typing import Any

from ..domain import strict
from ..domain.reasons import UNSURE, reason, words
from ..domain.types import Keep, Linked, Op, Put, Remove
from ..gate import House
from ..remote.client import Down, Refusal
from . import missing
from .feed import Expired, Feed, Page, feeds, pages
from .identity import KIND
from .one_by_one import taken
from .partner import Partner
from .watermarks import MARK, Clock, fallen, since_when


class Unwritten:
    """A store that holds what it is told to write only for whoever looks on: links and watermarks are known again, nothing else is."""

    def __init__(self, store: Any) -> None:
        self._store = store
        self._links: dict[tuple[str, str], Linked] = {}
        self._marks: dict[str, bytes] = {}
        self.commits: list[tuple[Op, ...]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def commit(self, *ops: Op) -> None:
        self.commits.append(ops)
        self._links.update({(op.remote, op.remote_id): op for op in ops if isinstance(op, Linked)})
        self._marks.update({op.key: op.value for op in ops if isinstance(op, Keep) and op.kind == MARK})

    async def kept(self, kind: str, key: str, at: datetime) -> bytes | None:
        found = self._marks.get(key) if kind == MARK else None
        held: bytes | None = found or await self._store.kept(kind, key, at)
        return held

    async def link_by_remote(self, remote: str, remote_id: str) -> Linked | None:
        held: Linked | None = self._links.get((remote, remote_id)) or await self._store.link_by_remote(remote, remote_id)
        return held


async def preview(house: House, partner: Partner) -> AsyncIterator[dict[str, Any]]:
    """`{remote, ref, would, why}` of everything that has changed there: `would` is receive, refuse or ignore, `ref` their own; or wait, of
    somebody here of whom it is not sure who they are there, and of what answered 404 once. What is refused has `words`, too. Nothing is written.
    Down, Locked."""
    if partner.terms.direction == "out":
        return
    unwritten = Unwritten(house.store)
    looking: House = replace(house, store=unwritten)
    for feed in feeds(partner.terms, await partner.met()):
        try:
            async for page in _window(looking, partner, feed):
                if page.beyond:
                    yield {"remote": partner.name, "ref": feed.name, "would": "refuse", "why": f"more is stamped {page.beyond} than that server lets us go through"}
                for change in page.changes:
                    tally = await taken(looking, partner, change)
                    for ops in unwritten.commits:
                        for foreseen in _read_off(ops):
                            yield {"remote": partner.name, **foreseen}
                    unwritten.commits.clear()
                    for why in tally.ignored:
                        yield {"remote": partner.name, "ref": change["id"], "would": "ignore", "why": why}
        except Refusal as e:
            yield {"remote": partner.name, "ref": feed.name, "would": "refuse", "why": f"that server refuses to be asked: {e.status}"}
        except Expired as e:
            raise Down(f"its pages of {feed.name} cannot be read to the end ({e})") from None
    for remote_id, first in (await missing.missed(house, partner)).items():
        why = f"it answered 404, seen once: counts as deleted there where it does so again after {missing.counts(partner, first):%Y-%m-%d %H:%M:%S}"
        yield {"remote": partner.name, "ref": remote_id, "would": "wait", "why": why}


async def _window(looking: House, partner: Partner, feed: Feed) -> AsyncIterator[Page]:
    """From the watermark to the last page, as a pull would read it: also where that server's clock was put back."""
    for looks in (True, False):
        asked, since = looking.clock(), await since_when(looking, partner, feed)
        async for page in pages(partner, feed, since):
            if looks and await fallen(looking, partner, feed, Clock.of(page, asked, looking.clock())):
                break
            looks = False
            yield page
        else:
            return


def _read_off(ops: tuple[Op, ...]) -> Iterator[dict[str, str]]:
    """What this commit would have meant."""
    held = {op.kind: strict.decode(op.value) for op in ops if isinstance(op, Keep) and op.kind in ("quarantine", "conflict", KIND)}
    there = next((op.remote_id for op in ops if isinstance(op, Linked)), "")
    if KIND in held:
        yield {"ref": held[KIND]["ref"], "would": "wait", "why": UNSURE[held[KIND]["why"]]}
    if "quarantine" in held:
        item = held["quarantine"]
        yield {"ref": item["id"], "would": "refuse", "why": reason(0, item["outcome"]), "words": words(item["kind"], item["outcome"])}
    elif "conflict" in held:
        yield {"ref": there or held["conflict"]["ref"], "would": "receive", "why": "both sides have changed it: a person decides"}
    elif there:
        put = next((op for op in ops if isinstance(op, (Put, Remove))), None)
        if isinstance(put, Remove):
            yield {"ref": there, "would": "receive", "why": "deleted there"}
        elif put is not None:
            yield {"ref": there, "would": "receive", "why": "changed there" if put.if_version else "new there"}
