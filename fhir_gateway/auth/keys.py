"""The keys our own access tokens are signed with: made here, kept in the store, several valid at once, never a default.

The newest key signs; the older ones go on verifying until they end: nobody who holds a token notices a rotation. Access tokens
are signed with EC keys; id tokens with an RSA key of their own (RS256, which OpenID Connect Discovery 1.0 asks every issuer for),
so that no id token can ever pass for an access token.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from joserfc.jwk import ECKey, RSAKey

from ..domain.types import Drop, Keep, Op
from ..settings import signing
from .jose import PublicKey, public_key
from .kept import CHANGED, Kept, commit_unless_taken, pack

KIND = "signing-key"
ABROAD = "remote-key"  # ours at another server, by the name of the remote
CURVE_OF = {"ES256": "P-256", "ES384": "P-384"}
ID_TOKENS = "RS256"
RSA_BITS = 2048
OVERLAP = timedelta(hours=2)  # longer than any access token lives (an hour at most)


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A private key of ours. `made` and `ends` are seconds since 1970."""

    kid: str
    algorithm: str
    made: float
    ends: float | None
    key: ECKey | RSAKey
    public: PublicKey


@dataclass(frozen=True, slots=True)
class Ring:
    """Every key that still verifies, newest first. The newest of its use signs."""

    keys: tuple[SigningKey, ...]

    @property
    def signer(self) -> SigningKey:
        """Signs access tokens."""
        return next(k for k in self.keys if k.algorithm != ID_TOKENS)

    @property
    def id_signer(self) -> SigningKey | None:
        """Signs id tokens; None until the first is asked for."""
        return next((k for k in self.keys if k.algorithm == ID_TOKENS), None)

    @property
    def public(self) -> tuple[PublicKey, ...]:
        """What access tokens are checked with."""
        return tuple(k.public for k in self.keys if k.algorithm != ID_TOKENS)

    @property
    def until(self) -> datetime:
        """When this ring must be read again, because a key of it ends (or it has none)."""
        ends = [k.ends for k in self.keys if k.ends is not None]
        if not self.keys:
            return datetime.min.replace(tzinfo=UTC)
        return datetime.fromtimestamp(min(ends), UTC) if ends else datetime.max.replace(tzinfo=UTC)

    def jwks(self) -> dict[str, Any]:
        """What `/oauth/jwks` says: public halves only, RFC 7517."""
        return {"keys": [dict(k.key.as_dict(private=False), kid=k.kid, alg=k.algorithm, use="sig") for k in self.keys]}


async def ring(store: Kept, at: datetime) -> Ring:
    """The keys that are valid at `at`; makes the first one when there is none."""
    found = await listed(store, at)
    if all(k.algorithm == ID_TOKENS for k in found):
        await make(store, at)
        found = await listed(store, at)
    return Ring(found)


async def listed(store: Kept, at: datetime) -> tuple[SigningKey, ...]:
    """Every key that is valid at `at`, newest first, those that end last."""
    kept = await store.kept_all(KIND, at)
    return tuple(sorted((_read(raw) for raw in kept.values()), key=lambda k: (k.ends is not None, -k.made, k.kid)))


async def make(store: Kept, at: datetime, algorithm: str = "ES256") -> str:
    """A new key that signs from now on; its kid."""
    kid, value = _new(at, algorithm)
    await store.commit(Keep(KIND, kid, value, if_absent=True), CHANGED)
    return kid


async def rotate(store: Kept, at: datetime, algorithm: str = "ES256", overlap: timedelta = OVERLAP, *also: Op) -> str:
    """A new key signs from now on; the old ones verify for `overlap` more and are then forgotten. The new kid, of access tokens.

    The key of id tokens goes with it. Other processes notice at their next request.
    """
    old = await store.kept_all(KIND, at)
    ends = at + overlap
    ending = [Keep(KIND, k, _ends(v, ends), ends, if_value=v) for k, v in old.items() if _read(v).ends is None]
    kid, value = _new(at, algorithm)
    made = [Keep(KIND, kid, value, if_absent=True)]
    if any(_read(v).algorithm == ID_TOKENS for v in old.values()):
        made.append(Keep(KIND, *_new(at, ID_TOKENS), if_absent=True))
    await store.commit(*made, *ending, *also, CHANGED)
    return kid


async def withdraw(store: Kept, kid: str, *also: Op) -> bool:
    """Forget a key at once: every token it signed stops working. False when there is none called so."""
    return await commit_unless_taken(store, Drop(KIND, kid, must_exist=True), *also, CHANGED)


async def for_remote(store: Kept, name: str, at: datetime, *anew: Op) -> signing.SigningKey:
    """The key by which we sign in at another server, the remote of this name: made once, the same in every process. ES384.

    With `anew`, what is to be committed with it, another takes its place; who holds the old one signs by it until they start again.
    """
    if anew:
        await store.commit(Keep(ABROAD, name, _abroad()), *anew)
    while (value := await store.kept(ABROAD, name, at)) is None:
        await commit_unless_taken(store, Keep(ABROAD, name, _abroad(), if_absent=True))
    held = msgspec.json.decode(value)
    return signing.made_key(held["kid"], held["alg"], held["jwk"])


Random = Callable[[int], bytes]


async def secret(store: Kept, name: str, at: datetime, random_bytes: Random = secrets.token_bytes) -> bytes:
    """A 32-byte secret of this house (page links …), made once, the same in every process."""
    while (value := await store.kept("secret", name, at)) is None:
        await commit_unless_taken(store, Keep("secret", name, random_bytes(32), if_absent=True))
    return value


def _abroad() -> bytes:
    key = ECKey.generate_key("P-384", private=True)
    return pack({"kid": key.thumbprint(), "alg": "ES384", "jwk": key.as_dict(private=True)})


def _new(at: datetime, algorithm: str) -> tuple[str, bytes]:
    key: ECKey | RSAKey = RSAKey.generate_key(RSA_BITS) if algorithm == ID_TOKENS else ECKey.generate_key(CURVE_OF[algorithm], private=True)
    kid = key.thumbprint()
    return kid, pack({"kid": kid, "alg": algorithm, "made": at.timestamp(), "jwk": key.as_dict(private=True)})


def _ends(value: bytes, at: datetime) -> bytes:
    return pack({**msgspec.json.decode(value), "ends": at.timestamp()})


def _read(raw: bytes) -> SigningKey:
    value = msgspec.json.decode(raw)
    key: ECKey | RSAKey = RSAKey.import_key(value["jwk"]) if value["alg"] == ID_TOKENS else ECKey.import_key(value["jwk"])
    public = public_key({**key.as_dict(private=False), "kid": value["kid"], "alg": value["alg"]})
    return SigningKey(value["kid"], value["alg"], value["made"], value.get("ends"), key, public)
