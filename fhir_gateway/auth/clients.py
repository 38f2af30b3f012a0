"""The programs that may ask for tokens: apps that people use, and systems that act by themselves.

An app has addresses to return to (PKCE binds it), and a key when its makers can keep one; a system has public keys (RFC 7523
`private_key_jwt`), on file here or at an address of its own. Nobody has a shared secret.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Literal
from urllib.parse import urlsplit

import msgspec

from ..domain.types import Keep, Op
from ..settings.unsafe import loopback
from .jose import Bad, PublicKey, public_keys
from .kept import CHANGED, EPOCH, Kept, commit_unless_taken, pack
from .keysets import allowed
from .tokens import Caller

KIND = "client"
ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]{0,63}")
PRIVATE_MEMBERS = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})
OVERLAP = timedelta(days=1)
USED = "key-used"  # kept: when a key of a client was last used, by `CLIENT KID`
USED_TO, USED_FOR = timedelta(minutes=10), timedelta(days=400)  # how exactly that is known, and for how long


@dataclass(frozen=True, slots=True)
class Client:
    """A registered program. `fhir_user` is the Device it signs the audit as; `scopes` the most it can ever get."""

    id: str
    kind: Literal["app", "system"]
    name: str = ""
    scopes: str = ""
    redirect_uris: tuple[str, ...] = ()
    jwks: dict[str, Any] | None = None
    old_jwks: dict[str, Any] | None = None
    old_until: float = 0.0  # seconds since 1970
    organisation: str | None = None
    fhir_user: str = ""
    purpose: str = ""
    contributor: bool = False  # may contribute to records without a relationship
    may_refer: bool = False  # its referrals count as relationships
    may_introspect: bool = False  # a resource server: may ask about tokens of others
    origins: tuple[str, ...] = ()  # web origins its pages are served from
    jwks_uri: str = ""  # where it publishes its keys
    launch_uri: str = ""  # where an app is opened on a person (SMART EHR launch)
    keys_since: float = 0.0  # seconds since 1970

    @property
    def has_keys(self) -> bool:
        """Must prove itself by a signature."""
        return bool(self.jwks or self.jwks_uri)

    @property
    def device(self) -> str:
        return self.fhir_user or f"Device/{self.id}"

    @property
    def roles(self) -> frozenset[str]:
        flags = {"contributor": self.contributor, "refer": self.may_refer}
        return frozenset(role for role, has in flags.items() if has)

    def keys(self, at: datetime) -> tuple[PublicKey, ...]:
        """Its public keys on file; those from before a rotation too, while they overlap."""
        old = public_keys(self.old_jwks) if self.old_jwks and at.timestamp() < self.old_until else ()
        return (public_keys(self.jwks) if self.jwks else ()) + old

    def caller(self, *, issuer: str, jti: str, expires: datetime, scopes: str) -> Caller:
        """This system acting by itself."""
        return Caller(
            subject=self.id, client=self.id, fhir_user=self.device, kind="system", issuer=issuer, jti=jti,
            scopes=scopes, expires=expires.replace(microsecond=0), purpose=self.purpose, organisation=self.organisation,
            roles=self.roles, name=self.name, grant=f"client {self.id}",
        )  # fmt: skip


async def add(store: Kept, client: Client, *also: Op, hosts: frozenset[str] = frozenset()) -> None:
    """Register a client. ValueError, in words, when it is not safe to; ValueError too when the id is taken."""
    check(client, hosts)
    if not await commit_unless_taken(store, Keep(KIND, client.id, pack(client), if_absent=True), *also, CHANGED):
        raise ValueError(f"there is a client `{client.id}` already")


async def change(store: Kept, client: Client, *also: Op, hosts: frozenset[str] = frozenset()) -> None:
    """Put this registration in the place of the one with the same id."""
    check(client, hosts)
    await store.commit(Keep(KIND, client.id, pack(client)), *also, CHANGED)


async def find(store: Kept, id: str, at: datetime) -> Client | None:
    raw = await store.kept(KIND, id, at) if ID.fullmatch(id) else None
    return msgspec.json.decode(raw, type=Client) if raw else None


async def list_clients(store: Kept, at: datetime) -> list[Client]:
    """Every registered client, by id."""
    found = [msgspec.json.decode(raw, type=Client) for raw in (await store.kept_all(KIND, at)).values()]
    return sorted(found, key=lambda c: c.id)


async def rotate(
    store: Kept, id: str, jwks: dict[str, Any] | None, at: datetime, overlap: timedelta = OVERLAP, *also: Op,
    jwks_uri: str = "", hosts: frozenset[str] = frozenset(),
) -> Client:  # fmt: skip
    """New keys (or the address of them); those on file work for `overlap` more. LookupError when there is no such client.

    ValueError when the client is one without keys, or the new ones cannot be used. Of two rotations within the overlap the
    keys of both go on, to the later end.
    """
    client = await find(store, id, at)
    if client is None:
        raise LookupError(f"there is no client `{id}`")
    if not client.has_keys:
        raise ValueError("it has no keys: it proves itself by its redirect address and PKCE")
    held = [k for known in (client.jwks, client.old_jwks if at.timestamp() < client.old_until else None) for k in (known or {}).get("keys", ())]
    old = {"keys": list({str(sorted(k.items(), key=str)): k for k in held}.values())} if held and overlap else None
    until = (at + overlap).timestamp()
    client = replace(client, jwks=jwks, jwks_uri=jwks_uri, old_jwks=old, old_until=until if old else 0.0, keys_since=at.timestamp())
    await change(store, client, *also, hosts=hosts)
    return client


async def using(store: Kept, id: str, kid: str, at: datetime) -> list[Op]:
    """What keeps in mind that this key of the client is used now; nothing where that is known to ten minutes."""
    name = f"{id} {kid[:200]}"
    raw = await store.kept(USED, name, at)
    if raw is not None and at.timestamp() - float(raw) < USED_TO.total_seconds():
        return []
    return [Keep(USED, name, str(at.timestamp()).encode(), at + USED_FOR)]


async def last_used(store: Kept, at: datetime) -> dict[tuple[str, str], datetime]:
    """When each key was last used, to ten minutes, by client and `kid` ("" for one that an assertion did not name)."""
    found = await store.kept_all(USED, at)
    return {(id, kid): datetime.fromtimestamp(float(raw), UTC) for name, raw in found.items() for id, _, kid in [name.partition(" ")]}


class Origins:
    """The web origins of all registered clients: who may call from a browser page (CORS). Read again when a client changes."""

    def __init__(self, store: Kept) -> None:
        self._store, self._epoch, self._known = store, -1, frozenset[str]()

    async def has(self, origin: str, at: datetime) -> bool:
        epoch = await self._store.epoch(EPOCH)
        if epoch != self._epoch:
            self._known = frozenset(o for c in await list_clients(self._store, at) for o in c.origins)
            self._epoch = epoch
        return origin in self._known


def check(client: Client, hosts: frozenset[str] = frozenset()) -> None:
    """ValueError, in words, when this registration is not safe. `hosts`: where key sets may be fetched from."""
    if not ID.fullmatch(client.id):
        raise ValueError("a client id is 1 to 64 letters, digits, dots and hyphens")
    if client.kind == "app" and not client.redirect_uris:
        raise ValueError("an app needs at least one redirect address")
    if client.kind == "system" and not client.has_keys:
        raise ValueError("a system needs a JWK set with its public keys")
    if client.jwks_uri and not allowed(client.jwks_uri, hosts):
        raise ValueError(f"`{client.jwks_uri}`: keys are fetched by https from the hosts that GATEWAY_CLIENT_KEYS_FROM names, and from no others")
    if client.launch_uri and (client.kind != "app" or not _own_page(client)):
        raise ValueError(f"`{client.launch_uri}`: an app is opened at an address of a server that it has a redirect address on")
    for uri in client.redirect_uris:
        _check_redirect(uri)
    for origin in client.origins:
        url = urlsplit(origin)
        if f"{url.scheme}://{url.netloc}" != origin or url.scheme not in ("http", "https") or "@" in origin:
            raise ValueError(f"`{origin}` is no web origin (https://host, without a path)")
    for jwks in (client.jwks, client.old_jwks):
        if jwks is not None:
            _check_keys(jwks)


def _own_page(client: Client) -> bool:
    url = urlsplit(client.launch_uri)
    safe = "#" not in client.launch_uri and client.launch_uri.isascii() and not any(c.isspace() or c == "\\" for c in client.launch_uri)
    return safe and "@" not in url.netloc and any(urlsplit(r)[:2] == url[:2] for r in client.redirect_uris)


def _check_redirect(uri: str) -> None:
    url = urlsplit(uri)
    if "#" in uri or "*" in uri or "@" in url.netloc or not uri.isascii() or any(c.isspace() or c == "\\" for c in uri):
        raise ValueError(f"`{uri}` has a part that a redirect address must not have")
    own_scheme = "." in url.scheme  # com.example.app:/callback, RFC 8252 7.1
    secure = url.scheme == "https" and url.hostname
    here = url.scheme == "http" and loopback(url.hostname or "")
    if not (secure or here or own_scheme):
        raise ValueError(f"`{uri}`: a redirect address is https, or http on this machine, or an app's own scheme")


def _check_keys(jwks: Mapping[str, Any]) -> None:
    listed: Iterable[Any] = jwks.get("keys", ())
    if any(PRIVATE_MEMBERS & set(key) for key in listed):
        raise ValueError("this JWK set holds private keys: register the public halves only")
    try:
        usable = public_keys(jwks)
    except Bad as why:
        raise ValueError(f"the JWK set cannot be used: {why}") from None
    if not usable:
        raise ValueError("the JWK set holds no key we can use (EC P-256 or P-384, RSA of 2048 bits or more)")
