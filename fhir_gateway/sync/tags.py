"""How copies are known by their tags, `domain.copies`, across rings of gateways. docs/notes/0024

A copy keeps the tags it came with, so that whoever gets it sees through whose hands it went: what began at a server is not made
there again, and what is known here by another way is not taken in twice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .. import gate
from ..domain import strict
from ..domain.copies import SYSTEM, Tag, added, at, codes, parts, tag, tagged
from ..domain.copies import tags as tags_of
from ..domain.types import Linked, Ref, Stored
from ..gate import House
from ..remote.client import Abilities, Refusal


class NotAtHome(Refusal):
    """It came here as a copy of a record of theirs, which they have not, or not for us: it is not made there, and a person looks."""

    def __init__(self) -> None:
        super().__init__(422, "it came here as a copy of a record there, which is not there, or not for us to see")


def condition(house: House, ref: Ref) -> str:
    """The value of `_tag` that finds a copy of this resource of ours. Older copies bear our id alone."""
    return f"{SYSTEM}|{house.name}.{ref.id},{SYSTEM}|{ref.id}"


def name(house: House, ref: Ref) -> str:
    """The value of `_tag` by which alone another gateway knows what is its copy of this."""
    return f"{SYSTEM}|{house.name}.{ref.id}"


async def another_waits(house: House, remote: str, ref: Ref) -> bool:
    """Was something taken in quarantine that bears the tag of this resource of ours: a copy beside the one that is linked."""
    tag = f"{house.name}.{ref.id}".encode()
    return any([tag in raw async for _, raw in house.store.kept_each("quarantine", house.clock(), f"{remote} {ref.type}/")])


def names(body: Mapping[str, Any], house: House, ref: Ref) -> bool:
    """Is this a copy of that resource of ours."""
    return not {f"{house.name}.{ref.id}", ref.id}.isdisjoint(codes(body))


async def ours(house: House, body: Mapping[str, Any]) -> Ref | None:
    """What of ours this is a copy of: by our name, or, as copies once were, by an id that we have. None where it is of nothing of ours."""
    type = str(body.get("resourceType"))
    for code in codes(body):
        named = parts(code)
        if named is not None and named[0] == house.name:
            return Ref(type, named[1])
        if named is None and await house.store.get(Ref(type, code)) is not None:
            return Ref(type, code)
    return None


def by(abilities: Abilities, body: Mapping[str, Any]) -> list[Tag]:
    """What a copy of this resource of theirs bears, where their server is a gateway."""
    return [tag(abilities.gateway, str(body["id"]))] if abilities.gateway else []


async def known(house: House, type: str, tags: Sequence[Tag]) -> Stored | None:
    """Our copy that bears one of these tags, whichever way it came."""
    wanted = [str(t["code"]) for t in tags if parts(str(t.get("code", "")))]
    return await gate.tagged(house, type, SYSTEM, wanted) if wanted else None


async def came_with(house: House, stored: Stored) -> list[Tag]:
    """The tags of gateways with which this came here: what an edit put on later says nothing."""
    body = strict.decode(stored.body or b"{}")
    first = await house.store.version(stored.ref, 1) if stored.version > 1 and codes(body) else stored
    if first is None or first.body is None:
        return tags_of(body)
    later = added(body, strict.decode(first.body))
    return [t for t in tags_of(body) if t.get("code") not in later]


async def began_at(house: House, stored: Stored, gateway: str) -> str | None:
    """The id at the gateway of this name of what this came as a copy of."""
    return at(gateway, tagged({}, await came_with(house, stored)))


def home(remote: str, ref: Ref, id: str, agreed: Mapping[str, Any]) -> Linked:
    """A link to the record there that ours is a copy of: theirs. Nothing but `agreed` is what both sides began with, so what either has beside
    it stays."""
    return Linked(remote, ref, f"{ref.type}/{id}", "", "", 0, strict.dump({"resourceType": ref.type, "id": id, **agreed}), began_there=True)
