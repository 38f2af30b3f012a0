"""What both engines ask before a link is written, and how it is kept."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import msgspec

from ..domain.types import Linked
from .base import Moved, Taken


def encode(op: Linked) -> bytes:
    """What is kept of it: not what was expected."""
    return msgspec.msgpack.encode(replace(op, if_was=None, if_absent=False))


def decode(body: bytes) -> Linked:
    return msgspec.msgpack.decode(body, type=Linked)


def becomes_live(op: Linked, was: Linked | None) -> bool:
    """Does this say for the first time that this copy there is of this resource?"""
    return not op.gone and (was is None or was.gone or was.remote_id != op.remote_id)


def expected(op: Linked, was: Linked | None) -> None:
    """Moved where the link is not as it was read. `was` is the one that is kept."""
    if (op.if_absent and was is not None) or (op.if_was is not None and was != replace(op.if_was, if_was=None, if_absent=False)):
        raise Moved(f"link {op.remote} {op.ref}")


def unclaimed(op: Linked, others: Iterable[Linked]) -> None:
    """Taken where another resource has a live link to the same copy there. Two that are live from before stay as they are."""
    if any(not other.gone and other.ref != op.ref for other in others):
        raise Taken("link", f"{op.remote} {op.remote_id}")


def newest(links: Iterable[Linked]) -> Linked | None:
    """Of links to one copy there, newest first: the live one, else the newest."""
    every = list(links)
    return next((link for link in every if not link.gone), every[0] if every else None)
