"""Who is asking: a bearer token in, a Caller out, or 401.

JWT access tokens: https://www.rfc-editor.org/rfc/rfc9068 . A verified token is remembered by its hash until the
earlier of its expiry and 60 s, together with the keys of its issuer: when those change, so does the memory. Revocation
holds from the next request on, in every process.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any, Literal, Protocol

from joserfc import jwt

from ..domain.problem import Problem
from ..domain.types import Keep, Op
from ..domain.vocabulary import SIGN_IN_ROLES as ROLES
from . import keys as signing
from .jose import Bad, PublicKey, instant, open_signed, peek
from .kept import CHANGED, EPOCH, Kept

LEEWAY = 60.0  # seconds
REMEMBERED = timedelta(seconds=60)
MOST_REMEMBERED = 20_000
REFERENCE_ID = re.compile(r"[A-Za-z0-9.-]{1,64}")

Kind = Literal["patient", "proxy", "professional", "system"]
KIND_OF: dict[str, Kind] = {
    "Practitioner": "professional", "PractitionerRole": "professional", "Patient": "patient",
    "RelatedPerson": "proxy", "Device": "system", "Organization": "system",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Caller:
    """What a verified token or page session says. It carries identity and purpose, never a decision.

    References are `Type/id` of this server. `launch` is the one patient the token is bound to (SMART `patient`
    context); `patient` is Actor.patient. `roles` are among ROLES. `grant` names what it was
    issued under: revoking that ends every token of it.
    """

    subject: str
    client: str | None
    fhir_user: str
    kind: Kind
    scopes: str
    issuer: str
    jti: str
    expires: datetime
    purpose: str = ""
    organisation: str | None = None  # Organization/… or an ODS code
    patient: str | None = None
    launch: str | None = None
    roles: frozenset[str] = frozenset()
    assurance: str = ""
    signed_in: datetime | None = None  # when the person last proved who they are
    name: str = ""  # for the pages; tokens do not carry it
    grant: str = ""


class Trusted(Protocol):
    """An issuer whose tokens are believed."""

    @property
    def name(self) -> str: ...

    @property
    def now(self) -> tuple[PublicKey, ...]:
        """Its keys as known now; another tuple as soon as they change."""
        ...

    async def keys(self, at: datetime, kid: str | None) -> tuple[PublicKey, ...]:
        """Its keys; looks again (not too often) when `kid` is not among those it knows."""
        ...

    def caller(self, header: Mapping[str, Any], claims: Mapping[str, Any]) -> Caller:
        """What its claims mean here; `Bad` when they do not say who."""
        ...


class Foreign(Trusted, Protocol):
    """One that is somebody else's."""

    async def about(self, at: datetime) -> dict[str, Any]:
        """Its discovery document as known now."""
        ...


@dataclass(frozen=True, slots=True)
class _Seen:
    caller: Caller
    until: datetime
    trusted: Trusted
    keys: tuple[PublicKey, ...]


class Tokens:
    """Verifies access tokens of our own issuer (unless it is closed: `own` is False) and, when set, of an external one; mints our own."""

    def __init__(self, store: Kept, audience: str, issuer: str, foreign: Foreign | None = None, *, own: bool = True) -> None:
        self.store, self.audience, self.issuer, self.foreign, self.own = store, audience, issuer, foreign, own
        self.ring = signing.Ring(())
        self.ours = Ours(issuer)
        self._seen: dict[bytes, _Seen] = {}
        self._revoked: frozenset[str] = frozenset()
        self._epoch = -1

    async def verify(self, token: str, at: datetime) -> Caller:
        """The caller this token speaks for, or Problem sign-in (401 with WWW-Authenticate)."""
        await self.refresh(at)
        name = sha256(token.encode("utf-8", "replace")).digest()
        seen = self._seen.get(name)
        if seen is None or at >= seen.until or seen.keys is not seen.trusted.now:
            seen = await self._verify(token, name, at)
        caller = seen.caller
        if caller.jti in self._revoked or caller.grant in self._revoked:
            raise refused()
        return caller

    async def _verify(self, token: str, name: bytes, at: datetime) -> _Seen:
        try:
            header, claims = peek(token)
            trusted = self._trusted(claims.get("iss"))
            keys = await trusted.keys(at, header.get("kid"))
            opened = open_signed(token, keys)
            expires = check_times(opened.claims, at)
            check_audience(opened.claims, self.audience)
            seen = _Seen(trusted.caller(opened.header, opened.claims), min(expires, at + REMEMBERED), trusted, keys)
        except Bad as why:
            raise refused() from why
        self._remember(name, seen)
        return seen

    def _trusted(self, issuer: Any) -> Trusted:
        if issuer == self.issuer and self.own:
            return self.ours
        if self.foreign is not None and issuer == self.foreign.name:
            return self.foreign
        raise Bad("an issuer that is not trusted here")

    def _remember(self, name: bytes, seen: _Seen) -> None:
        if len(self._seen) >= MOST_REMEMBERED:
            for oldest in list(self._seen)[: MOST_REMEMBERED // 10]:
                del self._seen[oldest]
        self._seen[name] = seen

    async def refresh(self, at: datetime) -> None:
        """See what other processes have changed: keys, revocations. One look at an epoch while nothing has, on every request: what was
        revoked is refused from the next one on, wherever that comes in."""
        epoch = await self.store.epoch(EPOCH)
        if epoch != self._epoch or at >= self.ring.until:
            ring = await signing.ring(self.store, at)
            if [k.kid for k in ring.keys] != [k.kid for k in self.ring.keys]:
                self.ours.now = ring.public
            self.ring = ring
            self._revoked = frozenset(await self.store.kept_all(REVOKED, at))
            self._epoch = epoch

    async def issue(self, caller: Caller, at: datetime) -> str:
        """A signed access token that says what `caller` says."""
        await self.refresh(at)
        return mint(self.ring.signer, caller, self.audience, at)

    async def id_signer(self, at: datetime) -> signing.SigningKey:
        """What id tokens are signed with; made when the first is asked for."""
        await self.refresh(at)
        if self.ring.id_signer is None:
            await signing.make(self.store, at, signing.ID_TOKENS)
            await self.refresh(at)
        assert self.ring.id_signer is not None
        return self.ring.id_signer

    async def revoke(self, names: Mapping[str, datetime], *also: Op) -> None:
        """End tokens before their time: `names` are jti or grants, each with the last instant of its tokens."""
        await self.store.commit(*(revocation(n, until) for n, until in names.items()), *also, CHANGED)
        self._revoked = self._revoked | names.keys()


REVOKED = "revoked"


def revocation(name: str, until: datetime) -> Keep:
    return Keep(REVOKED, name, b"1", expires=until + timedelta(seconds=2 * LEEWAY))


# -- our own tokens ---------------------------------------------------------------------------------------------------


class Ours:
    """The built-in issuer: what `mint` writes, read back."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.now: tuple[PublicKey, ...] = ()

    async def keys(self, at: datetime, kid: str | None) -> tuple[PublicKey, ...]:
        return self.now

    def caller(self, header: Mapping[str, Any], claims: Mapping[str, Any]) -> Caller:
        if header.get("typ") != "at+jwt":
            raise Bad("no access token")
        signed_in = instant(claims, "auth_time")
        try:
            return Caller(
                subject=claims["sub"], client=claims.get("client_id"), fhir_user=claims["fhirUser"],
                kind=kind_of(claims["fhirUser"]), scopes=claims["scope"], issuer=claims["iss"], jti=claims["jti"],
                expires=datetime.fromtimestamp(claims["exp"], UTC), purpose=claims.get("purpose_of_use", ""),
                organisation=claims.get("organisation"), patient=claims.get("person"), launch=claims.get("patient"),
                roles=frozenset(claims.get("roles", ())) & ROLES, assurance=claims.get("acr", ""),
                signed_in=None if signed_in is None else datetime.fromtimestamp(signed_in, UTC),
                grant=claims.get("grant", ""),
            )  # fmt: skip
        except KeyError as missing:
            raise Bad(f"no claim {missing}") from None


def mint(key: signing.SigningKey, caller: Caller, audience: str, at: datetime) -> str:
    """A signed access token (RFC 9068) that `Ours` reads back as this `caller` (but the name; whole seconds)."""
    claims = {
        "iss": caller.issuer, "sub": caller.subject, "aud": audience, "client_id": caller.client, "jti": caller.jti,
        "exp": int(caller.expires.timestamp()), "iat": int(at.timestamp()), "nbf": int(at.timestamp()),
        "fhirUser": caller.fhir_user, "purpose_of_use": caller.purpose, "organisation": caller.organisation,
        "person": caller.patient, "patient": caller.launch, "roles": sorted(caller.roles), "acr": caller.assurance,
        "auth_time": int(caller.signed_in.timestamp()) if caller.signed_in else None,
        "grant": caller.grant,
    }  # fmt: skip
    return sign(key, "at+jwt", {k: v for k, v in claims.items() if v not in (None, "", [])} | {"scope": caller.scopes})


def sign(key: signing.SigningKey, typ: str, claims: Mapping[str, Any]) -> str:
    """A compact JWS of these claims."""
    header = {"alg": key.algorithm, "kid": key.kid, "typ": typ}
    return jwt.encode(header, dict(claims), key.key, algorithms=[key.algorithm])


# -- the checks every issuer's token passes ---------------------------------------------------------------------------


def check_times(claims: Mapping[str, Any], at: datetime) -> datetime:
    """When the token ends. `Bad` when it has ended, has no end, or has not begun; 60 s of leeway for other clocks."""
    now = at.timestamp()
    expires, begins, issued = instant(claims, "exp"), instant(claims, "nbf"), instant(claims, "iat")
    if expires is None:
        raise Bad("no exp")
    if now > expires + LEEWAY:
        raise Bad("expired")
    if max(begins or 0.0, issued or 0.0) > now + LEEWAY:
        raise Bad("not valid yet")
    return datetime.fromtimestamp(expires, UTC)


def check_audience(claims: Mapping[str, Any], audience: str) -> None:
    """`Bad` unless the token is meant for exactly this server."""
    meant = claims.get("aud")
    if audience not in (meant if isinstance(meant, list) else [meant]):
        raise Bad("meant for another service")


def kind_of(fhir_user: Any) -> Kind:
    """What kind of actor a `fhirUser` reference is; `Bad` when it is none."""
    type, _, id = str(fhir_user).partition("/")
    if type not in KIND_OF or not REFERENCE_ID.fullmatch(id):
        raise Bad("fhirUser is no person or system")
    return KIND_OF[type]


def bearer(authorization: str | None) -> str:
    """The token of an Authorization header, or Problem sign-in."""
    scheme, _, token = (authorization or "").partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise Problem("sign-in", "Sign in first.", headers={"WWW-Authenticate": 'Bearer realm="fhir"'})
    return token.strip()


def refused() -> Problem:
    """One answer whatever is wrong with a token; the reason is its `__cause__`, for the log."""
    text = "This sign-in has ended or is not valid here. Sign in again."
    challenge = 'Bearer realm="fhir", error="invalid_token", error_description="The access token is not valid here"'
    return Problem("sign-in", text, headers={"WWW-Authenticate": challenge})
