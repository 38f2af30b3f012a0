"""The programs that may ask for tokens: apps that people use, and systems that act by themselves.

An app has addresses to return to and no secret (PKCE binds it); a system has a public key set (RFC 7523
`private_key_jwt`). Nobody has a shared secret.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Literal
from urllib.parse import urlsplit

import msgspec

from ..domain.types import Drop, Keep
from .jose import Bad, PublicKey, public_keys
from .kept import Kept, commit_unless_taken, pack
from .keys import loopback
from .tokens import Caller

KIND = "client"
ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]{0,63}")
PRIVATE_MEMBERS = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})
OVERLAP = timedelta(days=1)


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

    @property
    def device(self) -> str:
        return self.fhir_user or f"Device/{self.id}"

    @property
    def roles(self) -> frozenset[str]:
        flags = {"contributor": self.contributor, "refer": self.may_refer}
        return frozenset(role for role, has in flags.items() if has)

    def keys(self, at: datetime) -> tuple[PublicKey, ...]:
        """Its public keys; those from before a rotation too, while they overlap."""
        old = public_keys(self.old_jwks) if self.old_jwks and at.timestamp() < self.old_until else ()
        return (public_keys(self.jwks) if self.jwks else ()) + old

    def caller(self, *, issuer: str, jti: str, expires: datetime, scopes: str) -> Caller:
        """This system acting by itself."""
        return Caller(
            subject=self.id, client=self.id, fhir_user=self.device, kind="system", issuer=issuer, jti=jti,
            scopes=scopes, expires=expires.replace(microsecond=0), purpose=self.purpose, organisation=self.organisation,
            roles=self.roles, name=self.name, grant=f"client {self.id}",
        )  # fmt: skip


async def add(store: Kept, client: Client) -> None:
    """Register a client. ValueError, in words, when it is not safe to; ValueError too when the id is taken."""
    check(client)
    if not await commit_unless_taken(store, Keep(KIND, client.id, pack(client), if_absent=True)):
        raise ValueError(f"there is a client `{client.id}` already")


async def change(store: Kept, client: Client) -> None:
    """Put this registration in the place of the one with the same id."""
    check(client)
    await store.commit(Keep(KIND, client.id, pack(client)))


async def find(store: Kept, id: str, at: datetime) -> Client | None:
    raw = await store.kept(KIND, id, at) if ID.fullmatch(id) else None
    return msgspec.json.decode(raw, type=Client) if raw else None


async def list_clients(store: Kept, at: datetime) -> list[Client]:
    """Every registered client, by id."""
    found = [msgspec.json.decode(raw, type=Client) for raw in (await store.kept_all(KIND, at)).values()]
    return sorted(found, key=lambda c: c.id)


async def rotate(store: Kept, id: str, jwks: dict[str, Any], at: datetime, overlap: timedelta = OVERLAP) -> Client:
    """New keys for a system; the old ones work for `overlap` more. LookupError when there is no such client."""
    client = await find(store, id, at)
    if client is None:
        raise LookupError(f"there is no client `{id}`")
    until = (at + overlap).timestamp()
    client = replace(client, jwks=jwks, old_jwks=client.jwks, old_until=until)
    await change(store, client)
    return client


async def remove(store: Kept, id: str) -> bool:
    """Forget a client; False when there was none. `oauth.remove_client` ends its tokens too."""
    return await commit_unless_taken(store, Drop(KIND, id, must_exist=True))


async def origins(store: Kept, at: datetime) -> frozenset[str]:
    """Web origins of all registered clients: who may call from a browser page (CORS)."""
    return frozenset(o for c in await list_clients(store, at) for o in c.origins)


def check(client: Client) -> None:
    """ValueError, in words, when this registration is not safe."""
    if not ID.fullmatch(client.id):
        raise ValueError("a client id is 1 to 64 letters, digits, dots and hyphens")
    if client.kind == "app" and not client.redirect_uris:
        raise ValueError("an app needs at least one redirect address")
    if client.kind == "system" and not client.jwks:
        raise ValueError("a system needs a JWK set with its public keys")
    for uri in client.redirect_uris:
        _check_redirect(uri)
    for origin in client.origins:
        url = urlsplit(origin)
        if f"{url.scheme}://{url.netloc}" != origin or url.scheme not in ("http", "https") or "@" in origin:
            raise ValueError(f"`{origin}` is no web origin (https://host, without a path)")
    for jwks in (client.jwks, client.old_jwks):
        if jwks is not None:
            _check_keys(jwks)


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
