"""An external OpenID Connect issuer (Keycloak, CIS2, NHS login): its keys, and what its claims mean here.

Discovery: https://openid.net/specs/openid-connect-discovery-1_0.html . Only the issuer's own origin is ever
asked, and only through `fetch`, which follows no redirects.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol
from urllib.parse import urlsplit

import msgspec

from .. import outbound
from ..domain.problem import Problem
from .jose import Bad, PublicKey, instant, public_keys
from .tokens import ROLES, Caller, kind_of

Fetch = Callable[[str], Awaitable[tuple[int, bytes]]]  # address -> status, body
KEPT = timedelta(minutes=10)
LARGEST = 1024 * 1024  # bytes of an answer
NOT_SOONER = timedelta(minutes=1)  # than this are keys asked for again because of an unknown kid
FIRST = timedelta(seconds=5)  # between tries while it has never answered
OTHER_TOKENS = frozenset({"ID", "Refresh", "Offline", "Logout"})  # Keycloak's `typ` claim
OTHER_CLAIMS = frozenset({"at_hash", "c_hash", "events"})  # of id and logout tokens


@dataclass(frozen=True, slots=True)
class Claims:
    """Which claim says what; a dotted name reaches inside (`realm_access.roles`). `roles` are our roles by their words."""

    subject: str = "sub"
    user: str = "fhirUser"
    organisation: str = "organisation"
    purpose: str = "purpose_of_use"
    scopes: str = "scope"
    launch: str = "patient"
    assurance: str = "acr"
    roles_claim: str = "roles"
    roles: Mapping[str, frozenset[str]] = field(default_factory=dict)


class External:
    """A `tokens.Trusted` issuer. `base` is our FHIR base, for users given as absolute addresses."""

    def __init__(self, issuer: str, fetch: Fetch, base: str, claims: Claims | None = None) -> None:
        self.name = issuer
        self.now: tuple[PublicKey, ...] = ()
        self._about: dict[str, Any] = {}
        self._fetch, self._base, self._claims = fetch, base.rstrip("/") + "/", claims or Claims()
        self._asked = datetime.min.replace(tzinfo=UTC)
        self._why: Exception | None = None
        self._lock = asyncio.Lock()

    async def keys(self, at: datetime, kid: str | None) -> tuple[PublicKey, ...]:
        """Its keys now. Problem unavailable when it has never answered."""
        if self._due(at, kid):
            async with self._lock:
                if self._due(at, kid):
                    await self._ask(at)
        if not self.now:
            raise Problem("unavailable", "The sign-in service cannot be reached.", headers={"Retry-After": "30"}) from self._why
        return self.now

    async def about(self, at: datetime) -> dict[str, Any]:
        """Its discovery document as known now. Problem unavailable when it has never answered."""
        await self.keys(at, None)
        return self._about

    def _due(self, at: datetime, kid: str | None) -> bool:
        since = at - self._asked
        if not self.now:
            return since >= FIRST
        return since >= KEPT or (kid is not None and all(k.kid != kid for k in self.now) and since >= NOT_SOONER)

    async def _ask(self, at: datetime) -> None:
        try:
            found = await self._read_keys()
        except Exception as why:
            self._why = why
            self._asked = at - KEPT + NOT_SOONER if self.now else at  # keep what we have; try again in a while
            return
        self._asked = at
        if [(k.kid, k.key.thumbprint()) for k in found] != [(k.kid, k.key.thumbprint()) for k in self.now]:
            self.now = found

    async def _read_keys(self) -> tuple[PublicKey, ...]:
        about = await self._get(self.name.rstrip("/") + "/.well-known/openid-configuration")
        if about.get("issuer") != self.name:
            raise Bad("the discovery document is another issuer's")
        where = str(about.get("jwks_uri"))
        if urlsplit(where)[:2] != urlsplit(self.name)[:2]:
            raise Bad("the keys are on another server")
        found = public_keys(await self._get(where))
        self._about = about
        return found

    async def _get(self, address: str) -> dict[str, Any]:
        status, body = await self._fetch(address)
        if status != 200:
            raise Bad(f"status {status}")
        return msgspec.json.decode(body, type=dict[str, Any])

    def caller(self, header: Mapping[str, Any], claims: Mapping[str, Any]) -> Caller:
        """What the token says, in our words. `Bad` for id, refresh and logout tokens, and when it names nobody."""
        typ = str(header.get("typ", "JWT")).lower().removeprefix("application/")
        names, scopes = self._claims, _text(claims, self._claims.scopes)
        if typ not in ("jwt", "at+jwt") or claims.get("typ") in OTHER_TOKENS or OTHER_CLAIMS & claims.keys():
            raise Bad("no access token")
        if not scopes:
            raise Bad("no scopes: no access token, or one for nothing")
        user = _text(claims, names.user).removeprefix(self._base)
        kind, subject, expires = kind_of(user), _text(claims, names.subject), instant(claims, "exp")
        if not subject or expires is None:
            raise Bad(f"no {names.subject}")
        launch = _text(claims, names.launch).removeprefix("Patient/")
        signed_in = instant(claims, "auth_time")
        roles = frozenset().union(*(names.roles.get(word, frozenset()) for word in _words(claims, names.roles_claim)))
        return Caller(
            subject=subject, client=_text(claims, "azp") or _text(claims, "client_id") or None, fhir_user=user,
            kind=kind, scopes=scopes, issuer=self.name, jti=_text(claims, "jti") or f"{subject} {expires}",
            expires=datetime.fromtimestamp(expires, UTC), purpose=_text(claims, names.purpose),
            organisation=_text(claims, names.organisation) or None, patient=user if kind == "patient" else None,
            launch=f"Patient/{launch}" if launch else user if kind == "patient" else None,
            roles=roles & ROLES, assurance=_text(claims, names.assurance),
            signed_in=datetime.fromtimestamp(signed_in, UTC) if signed_in is not None else None,
        )  # fmt: skip


class ExternalSettings(Protocol):
    issuer: str
    issuer_subject_claim: str
    issuer_user_claim: str
    issuer_organisation_claim: str
    issuer_purpose_claim: str
    issuer_scopes_claim: str
    issuer_assurance_claim: str
    issuer_roles_claim: str
    issuer_roles: dict[str, list[str]]

    @property
    def fhir_base(self) -> str: ...


def discover(settings: ExternalSettings) -> External:
    """The issuer that the settings name. Nothing is asked of it before the first token."""
    ours: dict[str, frozenset[str]] = {}
    for role, words in settings.issuer_roles.items():
        for word in words:
            ours[word] = ours.get(word, frozenset()) | {role}
    claims = Claims(
        subject=settings.issuer_subject_claim, user=settings.issuer_user_claim, organisation=settings.issuer_organisation_claim,
        purpose=settings.issuer_purpose_claim, scopes=settings.issuer_scopes_claim, assurance=settings.issuer_assurance_claim,
        roles_claim=settings.issuer_roles_claim, roles=ours,
    )  # fmt: skip
    return External(settings.issuer, fetch_from(settings.issuer), settings.fhir_base, claims)


def fetch_from(issuer: str) -> Fetch:
    """GET from this issuer's origin and nowhere else, as `outbound` does: 5 s, 1 MiB."""
    origin = urlsplit(issuer)[:2]

    async def fetch(address: str) -> tuple[int, bytes]:
        if urlsplit(address)[:2] != origin:
            raise Bad("not the issuer's address")
        async with (
            outbound.client(5) as client,
            client.stream("GET", address, headers={"Accept": "application/json"}) as response,
        ):
            body = b""
            async for part in response.aiter_bytes():
                body += part
                if len(body) > LARGEST:
                    raise Bad("an answer of more than 1 MiB")
            return response.status_code, body

    return fetch


def _at(claims: Mapping[str, Any], name: str) -> Any:
    if name in claims:
        return claims[name]
    value: Any = claims
    for part in name.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return value


def _words(claims: Mapping[str, Any], name: str) -> list[str]:
    """One word, which may have spaces, or a list of them; nothing else says a role."""
    value = _at(claims, name)
    return [value] if isinstance(value, str) else [w for w in value if isinstance(w, str)] if isinstance(value, list) else []


def _text(claims: Mapping[str, Any], name: str) -> str:
    value = _at(claims, name)
    if isinstance(value, list) and all(isinstance(v, str) for v in value):
        return " ".join(value)
    return value if isinstance(value, str) else ""
