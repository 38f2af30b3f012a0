"""`clients add, list, rotate, remove` and `keys list, rotate, withdraw`: who may ask for tokens, and what ours are signed with.

Each change is written down in the same commit, as the operator's.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from .. import gate
from ..auth import clients, keys, people
from ..auth.clients import Client
from ..auth.oauth import OAuth
from ..domain import strict
from ..domain.audit import OPERATOR
from ..domain.problem import Problem
from ..domain.scopes import Scopes
from ..domain.types import Note
from ..settings import Refused, Settings, load
from ..wiring import Wired, now, wired
from .files import contents


@dataclass(frozen=True, slots=True)
class Registration:
    """What `clients add` was told."""

    id: str
    scopes: str
    keys: Path | None = None
    keys_at: str = ""
    organisation: str = ""
    name: str = ""
    purpose: str = "TREAT"
    contributor: bool = False
    refers: bool = False
    introspects: bool = False
    redirects: tuple[str, ...] = ()
    origins: tuple[str, ...] = ()
    launch: str = ""


def out(item: dict[str, Any], as_json: bool, text: str) -> None:
    if as_json:
        sys.stdout.buffer.write(strict.dump(item) + b"\n")
        sys.stdout.flush()
    else:
        print(text)


def written_down(w: Wired, what: str, detail: str) -> Note:
    return Note(w.house.new_id(), now(), "E", what, True, OPERATOR, "Operator", purpose="HOPERAT", detail=detail)


# -- clients ----------------------------------------------------------------------------------------------------------


async def clients_add(said: Registration, as_json: bool) -> int:
    """Register a system, or an app when it has redirect addresses. Refused, in words, when something of it cannot be."""
    settings = load()
    async with wired(settings) as w:
        if await people.find(w.store, said.id, now()):
            raise Refused(f"{said.id} cannot be registered: a person signs in here by that name.")
        client = _app(said) if said.redirects else await _system(said, w)
        note = written_down(w, "register-client", f"{client.id}: {client.kind}, {client.scopes}")
        try:
            await clients.add(w.store, client, note, hosts=settings.key_hosts())
        except ValueError as wrong:
            raise Refused(f"{said.id} cannot be registered: {wrong}.") from None
    out(shown(client), as_json, f"{client.id}: registered, {client.kind}, {client.name}, {client.scopes}")
    return 0


def _app(said: Registration) -> Client:
    parsed = Scopes.parse(said.scopes)
    unknown = [word for word in said.scopes.split() if not Scopes.parse(word)]
    if not parsed or unknown or any(s.level == "system" for s in parsed.resources):
        raise Refused(f"The scopes of an app are `patient/...` and `user/...`, with `openid fhirUser launch/patient offline_access` and their like; not `{said.scopes}`.")
    if said.contributor or said.refers or said.introspects:
        raise Refused("--contributor, --refers and --introspects are for systems: an app does what the person who uses it may.")
    return Client(
        said.id, "app", said.name or said.id, said.scopes, said.redirects, jwks=jwk_set(said.keys) if said.keys else None, jwks_uri=said.keys_at,
        origins=said.origins, launch_uri=said.launch, keys_since=now().timestamp(),
    )  # fmt: skip


async def _system(said: Registration, w: Wired) -> Client:
    parsed = Scopes.parse(said.scopes)
    if parsed.others or not parsed.resources or any(s.level != "system" for s in parsed.resources):
        raise Refused(f"The scopes of a system are all `system/...`, such as `system/*.rs`; not `{said.scopes}`. (An app also needs --redirect.)")
    if not said.keys and not said.keys_at:
        raise Refused("A system proves itself by its key: give --keys FILE, or --keys-at ADDRESS. (An app needs --redirect.)")
    if said.launch or said.origins:
        raise Refused("--launch and --origin are for apps: those have --redirect, too.")
    called = await gate.organisation_called(w.house, said.organisation) if said.organisation else None
    if called is None:
        raise Refused(
            f"There is no organisation `{said.organisation}` here: name one by --organisation, and bring it in first, by `fhir-gateway import --as operator FILE`."
        )
    return Client(
        said.id, "system", said.name or called, said.scopes, jwks=jwk_set(said.keys) if said.keys else None, jwks_uri=said.keys_at,
        organisation=said.organisation, purpose=said.purpose, contributor=said.contributor, may_refer=said.refers,
        may_introspect=said.introspects, keys_since=now().timestamp(),
    )  # fmt: skip


async def clients_list(as_json: bool) -> int:
    async with wired(load()) as w:
        for c in await clients.list_clients(w.store, now()):
            old = f", old keys until {moment(c.old_until)}" if c.old_until > now().timestamp() else ""
            out(shown(c), as_json, f"{c.id}: {c.kind}, {c.name or '-'}, {c.scopes or '-'}{old}")
    return 0


async def clients_rotate(id: str, file: Path | None, keys_at: str, overlap: timedelta, as_json: bool) -> int:
    """New keys for a client; the old ones go on for `overlap`."""
    if bool(file) == bool(keys_at):
        raise Refused("Give the new keys by --keys FILE, or say where they are published by --keys-at ADDRESS.")
    settings = load()
    async with wired(settings) as w:
        note = written_down(w, "rotate-client", f"{id}: overlap {overlap}")
        try:
            client = await clients.rotate(
                w.store, id, jwk_set(file) if file else None, now(), overlap, note, jwks_uri=keys_at, hosts=settings.key_hosts()
            )
        except LookupError:
            raise Refused(f"There is no client `{id}`: `fhir-gateway clients list` says which there are.") from None
        except ValueError as wrong:
            raise Refused(f"The keys of {id} stay as they are: {wrong}.") from None
    until = f"the old ones until {moment(client.old_until)}" if client.old_jwks else "the old ones do not any more"
    out(shown(client), as_json, f"{id}: the new keys work from now on, {until}")
    return 0


async def clients_remove(id: str, as_json: bool) -> int:
    """Forget a client; Refused when there is none."""
    settings = load()
    async with wired(settings) as w:
        oauth = OAuth(w.store, w.tokens, settings.base, settings.fhir_base, w.house.new_id, timedelta(minutes=settings.token_minutes))
        if not await oauth.remove_client(id, now(), written_down(w, "remove-client", id)):
            raise Refused(f"There is no client `{id}`: `fhir-gateway clients list` says which there are.")
    out({"id": id, "removed": True}, as_json, f"{id}: removed; its tokens are refused from now on")
    return 0


def shown(c: Client) -> dict[str, Any]:
    """A registration as `--json` prints it: no keys, but their names."""
    known = replace(c, old_jwks=None).keys(now())
    old = replace(c, jwks=None).keys(now())
    said = {
        "id": c.id, "kind": c.kind, "name": c.name, "scopes": c.scopes, "organisation": c.organisation, "contributor": c.contributor,
        "refers": c.may_refer, "introspects": c.may_introspect, "redirects": list(c.redirect_uris), "origins": list(c.origins),
        "launch": c.launch_uri or None, "keys": [k.kid for k in known], "keys_at": c.jwks_uri or None,
        "keys_since": moment(c.keys_since) if c.keys_since else None,
    }  # fmt: skip
    return said | ({"old_keys": [k.kid for k in old], "old_until": moment(c.old_until)} if old else {})


def moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def jwk_set(file: Path) -> dict[str, Any]:
    """A JWK set from a file; one key by itself counts as a set."""
    try:
        found = strict.read(contents(file))
    except Problem:
        raise Refused(f"{file} is no JWK set: that is JSON with `keys`.") from None
    return found if "keys" in found else {"keys": [found]}


# -- our own keys -----------------------------------------------------------------------------------------------------


async def keys_list(as_json: bool) -> int:
    """Every key that a token of ours may still be signed with; never a private half."""
    async with wired(load()) as w:
        ring = await keys.ring(w.store, now())
        for k in ring.keys:
            signs = k in (ring.signer, ring.id_signer)
            use = "id tokens" if k.algorithm == keys.ID_TOKENS else "access tokens"
            item = {"kid": k.kid, "alg": k.algorithm, "use": use, "made": moment(k.made), "signs": signs, "ends": moment(k.ends) if k.ends else None}
            out(item, as_json, f"{k.kid}: {k.algorithm}, {use}, {'signs' if signs else f'checks until {moment(k.ends or 0.0)}'}, made {moment(k.made)}")
    return 0


async def keys_rotate(algorithm: str, overlap: timedelta, as_json: bool) -> int:
    """A new key signs from now on, in every process; tokens signed by the old one go on to their end."""
    settings: Settings = load()
    if algorithm not in keys.CURVE_OF:
        raise Refused(f"--algorithm is one of {', '.join(keys.CURVE_OF)}; not `{algorithm}`.")
    if overlap < timedelta(minutes=settings.token_minutes):
        raise Refused(
            f"The old key must go on for as long as a token lives, which is {settings.token_minutes} minutes. Has it leaked? Rotate, then `fhir-gateway keys withdraw KID`."
        )
    async with wired(settings) as w:
        kid = await keys.rotate(w.store, now(), algorithm, overlap, written_down(w, "rotate-keys", algorithm))
    ends = moment((now() + overlap).timestamp())
    out({"kid": kid, "alg": algorithm, "old_until": ends}, as_json, f"{kid}: signs from now on; the old keys check until {ends}")
    return 0


async def keys_withdraw(kid: str, as_json: bool) -> int:
    """Forget a key that has leaked: what it signed is refused from the next request on."""
    async with wired(load()) as w:
        if not await keys.withdraw(w.store, kid, written_down(w, "withdraw-key", kid)):
            raise Refused(f"There is no key `{kid}`: `fhir-gateway keys list` says which there are.")
        ring = await keys.ring(w.store, now())  # when it was the one that signed, another is made at once
    out({"kid": kid, "withdrawn": True, "signs": ring.signer.kid}, as_json, f"{kid}: withdrawn; every token it signed is refused. {ring.signer.kid} signs")
    return 0


__all__ = ["Registration", "clients_add", "clients_list", "clients_remove", "clients_rotate", "keys_list", "keys_rotate", "keys_withdraw"]
