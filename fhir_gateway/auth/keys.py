"""The keys our own access tokens are signed with: made here, kept in the store, several valid at once, never a default.

The newest key signs; the older ones go on verifying until they end: nobody who holds a token notices a rotation.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from typing import Any

import msgspec
from joserfc.jwk import ECKey

from ..domain.types import Drop, Keep
from .jose import PublicKey, public_key
from .kept import CHANGED, Kept, commit_unless_taken, pack

KIND = "signing-key"
CURVE_OF = {"ES256": "P-256", "ES384": "P-384"}
OVERLAP = timedelta(hours=2)  # longer than any access token lives (an hour at most)


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A private key of ours. `made` and `ends` are seconds since 1970."""

    kid: str
    algorithm: str
    made: float
    ends: float | None
    key: ECKey
    public: PublicKey


@dataclass(frozen=True, slots=True)
class Ring:
    """Every key that still verifies, newest first. The newest signs."""

    keys: tuple[SigningKey, ...]

    @property
    def signer(self) -> SigningKey:
        return self.keys[0]

    @property
    def public(self) -> tuple[PublicKey, ...]:
        return tuple(k.public for k in self.keys)

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
    kept = await store.kept_all(KIND, at)
    if not kept:
        await make(store, at)
        kept = await store.kept_all(KIND, at)
    newest_first = sorted((_read(raw) for raw in kept.values()), key=lambda k: (k.ends is not None, -k.made, k.kid))
    return Ring(tuple(newest_first))


async def make(store: Kept, at: datetime, algorithm: str = "ES256") -> str:
    """A new key that signs from now on; its kid."""
    kid, value = _new(at, algorithm)
    await store.commit(Keep(KIND, kid, value, if_absent=True), CHANGED)
    return kid


async def rotate(store: Kept, at: datetime, algorithm: str = "ES256", overlap: timedelta = OVERLAP) -> str:
    """A new key signs from now on; the old ones verify for `overlap` more and are then forgotten. The new kid."""
    kid, value = _new(at, algorithm)
    old = await store.kept_all(KIND, at)
    ends = at + overlap
    ending = [Keep(KIND, k, _ends(v, ends), ends, if_value=v) for k, v in old.items() if _read(v).ends is None]
    await store.commit(Keep(KIND, kid, value, if_absent=True), *ending, CHANGED)
    return kid


async def withdraw(store: Kept, kid: str) -> None:
    """Forget a key at once: every token it signed stops working."""
    await store.commit(Drop(KIND, kid), CHANGED)


Random = Callable[[int], bytes]


async def secret(store: Kept, name: str, at: datetime, random_bytes: Random = secrets.token_bytes) -> bytes:
    """A 32-byte secret of this house (page links …), made once, the same in every process."""
    while (value := await store.kept("secret", name, at)) is None:
        await commit_unless_taken(store, Keep("secret", name, random_bytes(32), if_absent=True))
    return value


def loopback(host: str) -> bool:
    """Whether this host name or address is this very machine."""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def _new(at: datetime, algorithm: str) -> tuple[str, bytes]:
    key = ECKey.generate_key(CURVE_OF[algorithm], private=True)
    kid = key.thumbprint()
    return kid, pack({"kid": kid, "alg": algorithm, "made": at.timestamp(), "jwk": key.as_dict(private=True)})


def _ends(value: bytes, at: datetime) -> bytes:
    return pack({**msgspec.json.decode(value), "ends": at.timestamp()})


def _read(raw: bytes) -> SigningKey:
    value = msgspec.json.decode(raw)
    key = ECKey.import_key(value["jwk"])
    public = public_key({**key.as_dict(private=False), "kid": value["kid"], "alg": value["alg"]})
    return SigningKey(value["kid"], value["alg"], value["made"], value.get("ends"), key, public)
