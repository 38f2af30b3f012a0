"""One external server we keep in step with: who owns it, what was agreed, and the small translations between the two sides."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Final

from .. import gate
from ..domain import copies, said_again, strict
from ..domain.addresses import Sides, addresses, readdressed
from ..domain.bundle import references
from ..domain.directory import NO_PATIENT_DATA
from ..domain.limits import DEFAULT, Limits
from ..domain.masked import HELD_BACK, held_back
from ..domain.spelling import named
from ..domain.types import Linked, Ref
from ..gate import Context, House
from ..gate.context import Remote
from ..remote.client import Abilities, RemoteServer
from .hooks import Hooks
from .links import names_by_id

ABSOLUTE = ("http:", "https:")
LOOKED: Final = timedelta(minutes=1)  # for so long it is believed that an id there means what it did
MOST_FAULTS: Final = 10_000  # entries of which it is counted how often they failed


@dataclass
class Rereading:
    """How far the reading of what they have is, after the restore that was `opened` then; and what is to be tried once more."""

    opened: bytes
    after: Ref | None = None
    again: list[Ref] = field(default_factory=list)


@dataclass
class Partner:
    """A remote, its agreement and its connection."""

    terms: Remote
    server: RemoteServer
    poll_seconds: float = 2.0
    overlap_seconds: float = 30.0  # how far a window begins before what is known
    missing_seconds: float = 300.0  # how long what answers 404 is missing before it counts as gone
    sweep_hours: float = 24.0  # how often to look for deletions where no feed tells of them, and a seventh as often where one does; 0: never
    abilities: Abilities | None = None
    told: Abilities | None = None  # what was kept of them for whoever looks
    unasked: set[str] = field(default_factory=set)  # types of which it does not say who has an identifier, since its /metadata was read
    identity_search: bool | None = None  # what was kept of whether it says who has an NHS number
    strangers: set[str] = field(default_factory=set)  # `Patient/id` there of people who are not here
    heard: dict[str, frozenset[str]] = field(default_factory=dict)  # by feed: the states that were looked at in the last window
    met_again: dict[str, datetime] = field(default_factory=dict)  # `Type/id` there, when it was last seen to mean what it did, the latest last (`met_now`)
    refused: set[str] = field(default_factory=set)  # the feeds that it refuses to be asked for now
    concurrency: int = 8  # entries of different people under way at once
    looked: tuple[int, str] | None = None  # under which directory and agreement `turning` looked last
    hooks: Hooks = field(default_factory=Hooks)
    turns: int | None = None  # when an answer about what is there may turn next
    looked_again: datetime | None = None  # when what that gateway kept from us was looked at last (`looking_again`)
    looked_until: str = ""  # and how far: `Type/id`
    counted: datetime | None = None  # when what had no answer was looked at last (`attempts.counted`)
    rereading: Rereading | None = None
    limits: Limits = DEFAULT  # of one resource of theirs, as of what any client sends
    elements: tuple[set[str], set[str]] | None = None  # `Type.path` that it was seen to keep, and to drop; None: not looked up yet
    stirred: bool = False  # something came in from there since
    faults: dict[int, int] = field(default_factory=dict)  # of an entry of the outbox: how often it failed here by a fault of ours (`faulted`)
    absolute: bool = True  # does it take references to other servers; false once it refused one
    shared: asyncio.Lock = field(default_factory=asyncio.Lock)  # held while what many refer to is sent ahead, so that one does

    @property
    def name(self) -> str:
        return self.terms.name

    def faulted(self, entry: int) -> int:
        """This entry failed by a fault of ours: how often it did since this process began. That a server was away is none."""
        if len(self.faults) >= MOST_FAULTS:
            self.faults.clear()
        self.faults[entry] = self.faults.get(entry, 0) + 1
        return self.faults[entry]

    def met_now(self, name: str, at: datetime) -> None:
        """This `Type/id` there was seen at this moment to mean what it did. What was seen so longer ago than LOOKED is forgotten by the way."""
        self.met_again.pop(name, None)
        while self.met_again and not timedelta(0) <= at - next(iter(self.met_again.values())) < LOOKED:
            del self.met_again[next(iter(self.met_again))]
        self.met_again[name] = at

    def met_lately(self, name: str, at: datetime) -> bool:
        """Was it seen so within LOOKED?"""
        return timedelta(0) <= at - self.met_again.get(name, at - LOOKED) < LOOKED

    async def met(self) -> Abilities:
        """What that server can do, by its /metadata."""
        known, self.abilities = self.abilities, await self.server.abilities_now(self.abilities)
        if self.abilities is not known:
            self.unasked.clear()
        return self.abilities


def sides(house: House, partner: Partner) -> Sides:
    """Where a record has its address here, and there."""
    return Sides(house.r4, house.base_url, partner.server.base)


async def as_owner(house: House, partner: Partner, action: str) -> Context:
    """The organisation that owns the server, asking: `disclose` for what goes out, `access` for what it brings."""
    return replace(await gate.owner_of(house, partner.terms, action), beside=True)


def outgoing(
    body: Mapping[str, Any], remote_id: str | None, names: Mapping[str, str], by: Sequence[copies.Tag], sides: Sides, *, absolute: bool = True
) -> dict[str, Any]:
    """Our resource as that server gets it: its own id, the tags `by`, references to what it has, logical ones to what it has not; addresses
    of what it has, and none of what it has not.

    `names` maps our `Type/id` to its `Type/id`. What began there keeps the tags that it has there: it is theirs. `absolute`: references to
    other servers stay as they are; else they, too, are logical ones.
    """
    out = {k: v for k, v in body.items() if k != "id"}
    meta = {k: v for k, v in body.get("meta", {}).items() if k not in ("versionId", "lastUpdated")}
    out = copies.tagged({**out, "meta": meta}, by)
    if remote_id:
        out = {"resourceType": body["resourceType"], "id": remote_id, **out}
    renamed = _references(out, lambda r: _there(r, names, absolute))
    return readdressed(renamed, sides.r4, lambda text: sides.sent(text, names))


def incoming(body: Mapping[str, Any], ref: Ref | None, names: Mapping[str, str], said: Collection[str] = (), sides: Sides | None = None) -> dict[str, Any]:
    """Their resource as ours: our id, references and addresses to ours (of no version: theirs are not ours), without the tags of gateways and what we said again. `names` maps their `Type/id` to ours; `said` is what
    our own versions of it refer to: only that was held back by us, and is a reference again."""
    out = {k: v for k, v in said_again.without(dict(body)).items() if k != "id"}
    meta = {k: v for k, v in body.get("meta", {}).items() if k not in ("versionId", "lastUpdated", "source")}
    out = copies.tagged({**out, "meta": meta}, ())
    if ref is not None:
        out = {"resourceType": body["resourceType"], "id": ref.id, **out}
    renamed = _references(out, lambda r: _here(r, names, said))
    assert isinstance(renamed, dict)
    return readdressed(renamed, sides.r4, lambda text: sides.came(text, names)) if sides is not None else renamed


def loosened(body: Mapping[str, Any], called: Mapping[str, str]) -> dict[str, Any]:
    """The same with every reference to one of these made a logical one, that names it by what it is `called` (`Type/id`)."""

    def loosen(reference: dict[str, Any]) -> dict[str, Any]:
        text = str(reference.get("reference", ""))
        name = called.get(text) or called.get(named(text))
        if name is None:
            return reference
        rest = {k: v for k, v in reference.items() if k not in ("reference", "identifier", "type")}
        return {"type": name.split("/")[0], **rest, "identifier": {"system": HELD_BACK, "value": name}}

    changed = _references(dict(body), loosen)
    assert isinstance(changed, dict)
    return changed


def theirs_to_tag(link: Linked) -> list[copies.Tag]:
    """The tags that a record of theirs bears there. One that names it by our id would say that it is a copy of ours: whoever put it there, we
    send it only where it was agreed on."""
    agreed = copies.codes(strict.decode(link.base_sent or b"{}"))
    there = copies.tags(strict.decode(link.base_received or link.base_sent or b"{}"))
    return [t for t in there if not names_by_id(str(t.get("code", "")), link.ref) or str(t.get("code", "")) in agreed]


def local_references(body: Any) -> list[Ref]:
    """Every `Type/id` this resource refers to, be it in a version, first mention first."""
    return [Ref(*name.split("/")) for name in dict.fromkeys(map(named, references(body))) if name]


def pointed_at(body: Mapping[str, Any], sides: Sides, base: str) -> list[Ref]:
    """Every `Type/id` of the server of `base` that this refers to, or gives the address of."""
    return [Ref(*name.split("/")) for name in dict.fromkeys([*map(str, local_references(body)), *addressed(sides, base, body)])]


def addressed(sides: Sides, base: str, *bodies: Mapping[str, Any] | None) -> list[str]:
    """Every `Type/id` of the server of `base` of which these give the address."""
    return [name for body in bodies for text in addresses(body or {}, sides.r4) if (name := sides.named(text, base))]


def said_in(*bodies: Any) -> frozenset[str]:
    """Every reference of these, as it is written: `Type/id`, or an address."""
    return frozenset(text for body in bodies for text in references(body))


def named_in(body: Any, sides: Sides) -> dict[Ref, None]:
    """Every resource here that this names by our own id, first mention first: in a reference of whatever spelling, as one held back, or by an address."""
    found: dict[Ref, None] = {}

    def note(reference: dict[str, Any]) -> dict[str, Any]:
        text = str(reference.get("reference") or held_back(reference) or "").removeprefix(f"{sides.ours}/").split("/_history/")[0]
        type, _, id = text.partition("/")
        if (type == "Patient" or "reference" in reference) and type[:1].isupper() and id and "/" not in id:
            found[Ref(type, id)] = None
        return reference

    _references(body, note)
    return found | dict.fromkeys(Ref(*name.split("/")) for name in addressed(sides, sides.ours, body))


def elsewhere(body: Mapping[str, Any]) -> bool:
    """Does this refer to another server?"""
    return any(text.startswith(ABSOLUTE) for text in said_in(body))


def _there(reference: dict[str, Any], names: Mapping[str, str], absolute: bool) -> dict[str, Any]:
    text = str(reference.get("reference", ""))
    if text.startswith(ABSOLUTE) and not absolute:
        return {**{k: v for k, v in reference.items() if k != "reference"}, "identifier": {"system": HELD_BACK, "value": text}}
    if not text or text.startswith(("#", "urn:", *ABSOLUTE)):
        return reference
    if text in names:
        return {**reference, "reference": names[text]}
    type, _, id = text.partition("/")
    rest = {k: v for k, v in reference.items() if k not in ("reference", "identifier")}
    kept = {"identifier": reference["identifier"]} if "identifier" in reference and type in NO_PATIENT_DATA else {}
    return {"type": type, **rest, **(kept or {"identifier": {"system": HELD_BACK, "value": f"{type}/{id}"}})}


def _here(reference: dict[str, Any], names: Mapping[str, str], said: Collection[str]) -> dict[str, Any]:
    held = held_back(reference)
    if held is not None and held in said:
        rest = {k: v for k, v in reference.items() if k not in ("identifier", "type")}
        return {"reference": held, **rest}
    text = str(reference.get("reference", ""))
    ours = names.get(text) or names.get(named(text))
    return {**reference, "reference": ours} if ours is not None else reference


def _references(node: Any, change: Any) -> Any:
    """The same tree with every Reference changed."""
    if isinstance(node, list):
        return [_references(n, change) for n in node]
    if not isinstance(node, dict):
        return node
    out = {k: _references(v, change) for k, v in node.items()}
    identifier = out.get("identifier")
    if isinstance(out.get("reference"), str) or (isinstance(identifier, dict) and identifier.get("system") == HELD_BACK):
        return change(out)
    return out
