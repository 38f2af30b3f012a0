"""A partner's own Subscriptions, where it offers them: it calls when something changes there, and a call does nothing but wake a pull.

Nothing that comes with a call is believed or read. Asking goes on beside it, more slowly while the calls come.
https://hl7.org/fhir/R4/subscription.html
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any, Final
from urllib.parse import quote, urlencode, urlsplit

import msgspec
import structlog

from ..domain.directory import NO_PATIENT_DATA
from ..domain.types import Drop, Keep
from ..gate import House
from ..gate.context import Remote
from ..remote.client import Abilities, Down, Locked, Refusal, RemoteServer, Unknown
from ..settings.unsafe import loopback
from .asked import types_of

log = structlog.get_logger()
CALLED: Final = "hook-called"  # kept, by remote: when it called last
THEIRS: Final = "hook-there"  # kept, by `remote Type`: the Subscription there
SLOWER: Final = 10  # times, while the calls come
SILENT: Final = timedelta(hours=1)
LOOKED_AT: Final = timedelta(minutes=10)
APART_SECONDS: Final = 1.0  # between two pulls that calls wake


class There(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    endpoint: str


@dataclass
class Hooks:
    """What of a partner's Subscriptions this process knows. `offered` is `auto` or `off` by the settings."""

    offered: str = "off"
    tended: datetime | None = None
    listening: bool = False  # something there may call
    whole: bool = False  # all that is asked for there calls, and was active when it was last looked at
    heard: datetime | None = None  # the last call that was followed
    followed: float = 0.0  # by the clock of the loop


async def called(house: House, name: str, hooks: Hooks, at: float) -> bool:
    """Has this partner called since it was last asked; a second apart at most, by `at` in seconds."""
    if hooks.offered == "off" or at < hooks.followed + APART_SECONDS:
        return False
    raw = await house.store.kept(CALLED, name, house.clock())
    when = datetime.fromisoformat(raw.decode()) if raw is not None else None
    if when is None or when == hooks.heard:
        return False
    hooks.heard, hooks.followed = when, at
    return True


async def pace(house: House, terms: Remote, hooks: Hooks, poll_seconds: float, server: RemoteServer, abilities: Abilities | None) -> float:
    """Seconds until the partner is asked again, after its Subscriptions were looked after. Where nothing of theirs is taken, none is wanted."""
    now, name = house.clock(), terms.name
    offered = hooks.offered == "auto" and terms.direction != "out"
    if (abilities is not None or not offered) and (hooks.tended is None or now >= hooks.tended + LOOKED_AT):
        hooks.tended = now
        try:
            hooks.whole = await _tended(house, terms, hooks, server, abilities if offered else None)
        except (Down, Unknown, Locked, Refusal) as wrong:
            hooks.whole = False
            log.info("no-hook", remote=name, why=str(wrong), help="it is asked for changes instead")
    raw = await house.store.kept(CALLED, name, now) if hooks.whole else None
    lively = raw is not None and now < datetime.fromisoformat(raw.decode()) + SILENT
    return poll_seconds * SLOWER if lively else poll_seconds


async def _tended(house: House, terms: Remote, hooks: Hooks, server: RemoteServer, abilities: Abilities | None) -> bool:
    """One Subscription there for each type that is asked for; whether they cover all of it and are active. Those of another address go, and
    all of them where there are no `abilities` to go by: none is wanted."""
    name = terms.name
    asked = frozenset(t for t in types_of(terms, abilities) if t in abilities.types) if abilities is not None and "Subscription" in abilities.types else frozenset()
    endpoint = _address(house, name, server) if asked else ""
    kept = {k.rpartition(" ")[2]: msgspec.json.decode(raw, type=There) for k, raw in (await house.store.kept_all(THEIRS, house.clock(), f"{name} ")).items()}
    hooks.listening = active = bool(asked and endpoint)
    for type, there in kept.items():
        status = await _status(server, there) if type in asked and there.endpoint == endpoint else "unwanted"
        active = active and status == "active"
        if status not in ("active", "requested"):
            await _given_up(house, name, type, there, server)
    made = 0
    for type in sorted(asked - kept.keys()) if endpoint else ():
        try:
            await _made(house, name, type, endpoint, server)
        except Refusal as wrong:  # another type may be told of all the same
            active = active and type in NO_PATIENT_DATA  # what is nobody's record changes seldom, and comes with the slow asking
            log.info("no-hook", remote=name, type=type, why=str(wrong), help="it is asked for changes instead")
            continue
        active, made = False, made + 1  # until it is looked at again
    if made:
        hooks.tended = house.clock() - LOOKED_AT + timedelta(seconds=10)  # they become active meanwhile
        log.info("hooks-made", remote=name, types=made)
    whole = abilities is not None and (terms.types is not None or not abilities.system_history)  # a feed over everything has types that do not call
    return active and whole


async def _made(house: House, name: str, type: str, endpoint: str, server: RemoteServer) -> None:
    wanted_there = _subscription(type, endpoint)
    made = await server.create("Subscription", wanted_there, urlencode({"url": endpoint, "criteria": wanted_there["criteria"]}))
    await house.store.commit(Keep(THEIRS, f"{name} {type}", msgspec.json.encode(There(id=made.location.partition("/")[2], endpoint=endpoint))))


def _subscription(type: str, endpoint: str) -> dict[str, Any]:
    """Plain R4, without a payload: an empty request when something of this type changes."""
    return {
        "resourceType": "Subscription", "status": "requested", "reason": "To ask for changes as soon as there are some.",
        "criteria": f"{type}?", "channel": {"type": "rest-hook", "endpoint": endpoint},
    }  # fmt: skip


async def _status(server: RemoteServer, there: There) -> str:
    try:
        return str(((await server.read("Subscription", there.id)).body or {}).get("status"))
    except Refusal:
        return "gone"


async def _given_up(house: House, name: str, type: str, there: There, server: RemoteServer) -> None:
    """Made again at the next look, where it is wanted."""
    try:
        await server.delete("Subscription", there.id)
    except Refusal:
        pass
    await house.store.commit(Drop(THEIRS, f"{name} {type}"))


def _address(house: House, name: str, server: RemoteServer) -> str:
    """Where it is to call; "" where it could not, or not in private."""
    base = house.base_url.removesuffix("/fhir")
    here, there = urlsplit(base), urlsplit(server.base)
    if here.scheme != "https" and not (loopback(here.hostname or "") and loopback(there.hostname or "")):
        return ""
    if loopback(here.hostname or "") and not loopback(there.hostname or ""):
        return ""
    return f"{base}/sync/hook/{quote(name, safe='')}/{_secret(house, name)}"


def _secret(house: House, name: str) -> str:
    return hmac.new(house.secret, f"hook {name}".encode(), sha256).hexdigest()


def knows(house: House, name: str, secret: str) -> bool:
    """Is this what we told that partner to call by."""
    return hmac.compare_digest(_secret(house, name).encode(), secret.encode())


async def call(house: House, name: str) -> None:
    """It called: whoever pulls from it is told, in whichever process."""
    await house.store.commit(Keep(CALLED, name, house.clock().isoformat().encode()))


__all__ = ["Hooks", "call", "called", "knows", "pace"]
