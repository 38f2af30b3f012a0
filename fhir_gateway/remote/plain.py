"""Servers that say 404 in words that are no FHIR: is that how this one says it, or is it a proxy that knows nothing of what the server has?"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from hashlib import sha256
from typing import Any, Final

from ..domain.problem import Problem
from .failures import Down, Locked, Plain, Refusal, Unknown
from .pages import envelope
from .replies import Reply

SHOWN: Final = 2_000  # characters of an answer that are compared
_OF_THE_MOMENT: Final = re.compile(r"[0-9a-fA-F]{8}[0-9a-fA-F-]*|[0-9]+")  # ids of requests, times

Asked = Callable[..., Awaitable[tuple[Reply, bytes]]]


def words(raw: bytes, one: str) -> str:
    """What an answer about this `Type/id` says, but for the id and for what is of the moment."""
    return _OF_THE_MOMENT.sub("#", raw[:SHOWN].decode(errors="replace").replace(one.partition("/")[2], "#"))


async def its_way(asked: Asked, metadata: Callable[[], Awaitable[Any]], one: str, said: Plain, salt: str) -> bool:
    """Is what was `said` of this `Type/id` what that server says of anything that it has not? So it is where it says the very same of an id
    that nobody has, and meanwhile answers /metadata in FHIR, and lists no such resource, all on one page, when it is searched for by the id.

    A proxy that says 404 to everything fails the second; one that says it to every resource of a type the third, for what is there is listed.
    """
    type, id = one.split("/")
    made = sha256(f"{one} {salt}".encode()).hexdigest()
    nobodys = f"{type}/{made[:8]}-{made[8:12]}-4{made[13:16]}-8{made[17:20]}-{made[20:32]}"  # a UUID: some servers look for no other
    try:
        await asked("GET", f"/{nobodys}", one=nobodys)
        return False
    except Plain as e:
        if (e.status, e.how) != (404, said.how):
            return False
    except (Down, Locked, Refusal, Unknown):
        return False
    try:
        await metadata()
        reply, raw = await asked("GET", f"/{type}?_id={id}", one=f"{type}?{id}", page=True)
        page = envelope(raw, reply.date)
    except (Down, Locked, Refusal, Unknown, Problem):
        return False
    return page.next is None and one not in [e.name for e in page.entries]
