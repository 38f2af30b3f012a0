"""Who asked to be told of changes: what is kept of each Subscription, whom it stands for now, and what a change queues for them.

A Subscription is its subscriber's alone: it is kept beside the records, in nobody's record, and everybody else finds what they
find of one that is not there. docs/notes/0027
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from hashlib import sha512
from typing import Any, Final, Literal

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV

from ..auth import clients
from ..domain import strict, topics
from ..domain.bundle import instant
from ..domain.directory import NO_PATIENT_DATA
from ..domain.problem import Problem
from ..domain.scopes import Scopes
from ..domain.topics import Wanted
from ..domain.types import Bump, Decision, Facts, Keep, Op, Ref, Send, Stored
from .context import Context, House, ask, ask_stored
from .entering import enter
from .reading import in_scope

TYPE: Final = "Subscription"
SUBSCRIPTION: Final = "subscription"  # kept, by id
STATE: Final = "subscription-state"  # kept, by id
EPOCH: Final = "subscriptions"
CHANGED: Final = Bump(EPOCH)
Status = Literal["requested", "active", "error", "off"]


class State(msgspec.Struct, frozen=True, kw_only=True):
    """How far its subscriber is. `given`: the numbers of events (by outbox entry) that went out and are not acknowledged."""

    status: Status = "requested"
    number: int = 0  # of the last event
    given: dict[str, int] = {}
    noted: frozenset[str] = frozenset()  # outbox entries that the audit has already and nobody acknowledged: once is enough
    failures: int = 0
    failing: datetime | None = None  # since
    due: datetime | None = None  # of the next try
    sent: datetime | None = None  # last
    shaken: bool = False  # the handshake was answered
    begun: bool = False  # it was active once: from then on every event is kept for it, until it is off
    spoken: int = 0  # the highest number that it was told by `$status`, `$events` or a handshake
    moves: int = 0  # how often what is read of this changed, and when last
    moved: datetime | None = None
    trouble: str = ""

    @property
    def hears(self) -> bool:
        """Is a change queued for it: also while it is in error, or asked for again."""
        return self.status == "active" or (self.status != "off" and (self.begun or self.shaken))

    @property
    def shown(self) -> tuple[str, str]:
        return self.status, self.trouble if self.status in ("error", "off") else ""


class Subscription(msgspec.Struct, frozen=True, kw_only=True):
    """`body` is the resource without id, meta and headers; `sealed` are these. `scopes` are those of the sign-in that made it."""

    id: str
    client: str
    user: str
    organisation: str | None
    scopes: str
    purpose: str
    body: dict[str, Any]
    version: int
    updated: datetime
    endpoint: str
    place: str
    types: frozenset[str] | None
    patients: frozenset[str] | None
    content: str
    heartbeat: int
    timeout: int
    most: int
    sealed: str = ""
    ends: datetime | None = None
    ended: bool = False  # by its subscriber: nobody sees it any more, and what is queued is let go

    @property
    def queue(self) -> str:
        return f"sub:{self.id}"

    @property
    def wanted(self) -> Wanted:
        return Wanted(self.endpoint, self.place, self.types, self.patients, self.content, self.heartbeat, self.timeout, self.most)

    @property
    def media(self) -> str:
        return str(self.body["channel"].get("payload") or topics.MEDIA[0])

    @property
    def asker(self) -> tuple[str | None, ...]:
        """Whom it stands for, and for what: those of whom this is the same may be told the same."""
        return (self.client, self.user, self.organisation, self.scopes, self.purpose)

    @property
    def plain(self) -> bool:
        """By a search as in plain R4, and told by an empty request."""
        return not self.content


# -- what is kept -----------------------------------------------------------------------------------------------------


async def everybody(house: House) -> dict[str, Subscription]:
    """Every Subscription there is, those that are being ended too, read again when one changes."""
    epoch = await house.store.epoch(EPOCH)
    if house._subscriptions is None or house._subscriptions[0] != epoch:
        at = house.clock()
        found = {k: msgspec.json.decode(raw, type=Subscription) for k, raw in (await house.store.kept_all(SUBSCRIPTION, at)).items()}
        states = await states_of(house)
        live: dict[tuple[Any, ...], list[Subscription]] = {}
        for id in sorted(k for k, s in found.items() if not s.ended and states.get(k, State()).hears):
            live.setdefault(found[id].asker, []).append(found[id])
        house._subscriptions = (epoch, found, tuple(live.values()))
    return house._subscriptions[1]


async def states_of(house: House) -> dict[str, State]:
    return {k: msgspec.json.decode(raw, type=State) for k, raw in (await house.store.kept_all(STATE, house.clock())).items()}


async def state_of(house: House, id: str) -> tuple[State, bytes | None]:
    """And the bytes it is kept as, to be swapped."""
    raw = await house.store.kept(STATE, id, house.clock())
    return (State(), None) if raw is None else (msgspec.json.decode(raw, type=State), raw)


def keep_state(id: str, new: State, was: bytes | None, at: datetime) -> list[Op]:
    """Taken, in the commit that holds these, where somebody else moved it meanwhile. A change of status is news to every process, and to who reads it."""
    before = msgspec.json.decode(was, type=State) if was is not None else None
    if before is not None and before.shown != new.shown:
        new = msgspec.structs.replace(new, moves=before.moves + 1, moved=at)
    ops: list[Op] = [Keep(STATE, id, msgspec.json.encode(new), if_value=was, if_absent=was is None)]
    return ops if before is not None and before.status == new.status else [*ops, CHANGED]


def version_of(sub: Subscription, state: State) -> tuple[int, datetime]:
    """What is read of it changes by its subscriber and by us: each is another version, and another `lastUpdated`."""
    return sub.version + state.moves, max(sub.updated, state.moved or sub.updated)


# -- whom it stands for -----------------------------------------------------------------------------------------------


async def reader_of(house: House, sub: Subscription) -> Context | None:
    """The subscriber as they would ask now; None where the client is no more, or is another's, or may not be told by these settings."""
    now = house.clock()
    client = await clients.find(house.store, sub.client, now)
    if client is None or client.kind != "system" or client.device != sub.user:
        return None
    scopes = Scopes.parse(sub.scopes).narrow(Scopes.parse(client.scopes))
    caller = client.caller(issuer="", jti=sub.id, expires=now, scopes=str(scopes))
    try:
        reader = await enter(house, caller, purpose=sub.purpose or None)
    except Problem:
        return None
    return reader if reader.actor.organisation == sub.organisation else None  # by its code or its reference, it is one organisation


async def may_be_told(reader: Context, sub: Subscription, ref: Ref, stored: Stored | None, epochs: Mapping[str, int] | None = None) -> Decision:
    """May this subscriber be told of a change of this now: if they may read it by themselves, and asked for it."""
    if stored is None or not stored.facts.patients:
        return Decision(False, "", rule="it is not here any more")
    if reader.scopes is None or not reader.scopes.covers("r", ref.type) or not in_scope(reader, "r", stored):
        return Decision(False, "rbac", rule="scope")
    if not sub.wanted.fits(ref.type, stored.facts.patients):
        return Decision(False, "", rule="it was not asked for")
    return await ask(reader, "access", stored.facts, epochs) if epochs else await ask_stored(reader, "access", stored)


async def told(ctx: Context, ref: Ref, version: int, facts: Facts) -> list[Op]:
    """What a change queues: an entry for each subscriber who asked for it and may read it now. They are asked again when it is sent."""
    if not facts.patients:
        return []
    house = ctx.house
    await everybody(house)
    out: list[Op] = []
    for alike in house._subscriptions[2] if house._subscriptions is not None else ():
        asked = [sub for sub in alike if sub.wanted.fits(ref.type, facts.patients)]
        reader = await reader_of(house, asked[0]) if asked else None
        if reader is None or reader.scopes is None or not reader.scopes.covers("r", ref.type):
            continue
        if (await ask(reader, "access", facts)).permit:
            out += [Send(sub.queue, ref, version, facts.patients[0], "event") for sub in asked]
    return out


# -- the headers that may be secret -----------------------------------------------------------------------------------


def seal(house: House, id: str, endpoint: str, headers: Sequence[tuple[str, str]]) -> str:
    """These headers as only this server can read them, and for this endpoint alone."""
    return _sealer(house.secret).encrypt(msgspec.json.encode(headers), [id.encode(), endpoint.encode()]).hex() if headers else ""


def unsealed(house: House, sub: Subscription) -> list[tuple[str, str]] | None:
    """None where they cannot be read (any more)."""
    if not sub.sealed:
        return []
    try:
        return msgspec.json.decode(_sealer(house.secret).decrypt(bytes.fromhex(sub.sealed), [sub.id.encode(), sub.endpoint.encode()]), type=list[tuple[str, str]])
    except (ValueError, InvalidTag):
        return None


@lru_cache(4)
def _sealer(secret: bytes) -> AESSIV:
    return AESSIV(sha512(b"hook" + secret).digest())


def as_read(house: House, sub: Subscription, state: State) -> bytes:
    """The resource as its subscriber reads it."""
    meta = {k: v for k, v in sub.body.get("meta", {}).items() if k not in ("versionId", "lastUpdated")}
    body = topics.shown({k: v for k, v in sub.body.items() if k not in ("resourceType", "id", "meta")}, state.status, state.trouble)
    version, updated = version_of(sub, state)
    return strict.dump({
        "resourceType": TYPE, "id": sub.id, "meta": {"versionId": str(version), "lastUpdated": instant(updated), **meta}, **body,
    })  # fmt: skip


def record_types(house: House) -> frozenset[str]:
    """The types that somebody's record may hold and that others are told of."""
    return frozenset(t for t in house.r4.types if t not in NO_PATIENT_DATA and t not in ("AuditEvent", TYPE, "Bundle", "Parameters", "OperationOutcome"))


__all__ = ["CHANGED", "State", "Subscription", "as_read", "everybody", "may_be_told", "reader_of", "state_of", "told", "unsealed", "version_of"]
