"""The keys that sign heads of the trail: a ring of their own, none of which is ever forgotten, so that old heads still verify."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import msgspec
from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import ECKey

from ..domain.problem import Problem
from ..domain.sealing import TYPE, Head, read_claim
from ..domain.types import Keep, Note
from .jose import Bad, PublicKey, open_bytes, public_key
from .kept import Kept, commit_unless_taken, pack

KIND = "audit-key"
CURVE_OF = {"ES256": "P-256", "ES384": "P-384"}


@dataclass(frozen=True, slots=True)
class Seals:
    """Every key of this trail, oldest first; the newest signs."""

    keys: tuple[dict[str, Any], ...]

    @property
    def public(self) -> tuple[PublicKey, ...]:
        return tuple(public_key(_public(k)) for k in self.keys)

    def jwks(self) -> dict[str, Any]:
        """The public halves, RFC 7517: what verifies heads and proofs elsewhere."""
        return {"keys": [_public(k) for k in self.keys]}

    def sign(self, head: Head) -> str:
        """The signed head, a compact JWS."""
        signer = self.keys[-1]
        header = {"alg": signer["alg"], "kid": signer["kid"], "typ": TYPE}
        return jws.serialize_compact(header, msgspec.json.encode(head), ECKey.import_key(signer["jwk"]), algorithms=[signer["alg"]])


async def seals(store: Kept, at: datetime, algorithm: str = "ES256") -> Seals:
    """The keys of this store's trail; makes the first when there is none. Problem unavailable when one cannot be read."""
    kept = await store.kept_all(KIND, at)
    if not kept:
        await commit_unless_taken(store, _new(at, algorithm, "000000"))
        kept = await store.kept_all(KIND, at)
    return Seals(tuple(_read(name, raw) for name, raw in sorted(kept.items())))


async def rotate(store: Kept, at: datetime, note: Note, algorithm: str = "ES256") -> str:
    """A new key signs from now on; the old ones go on verifying. The new kid.

    `note` is its row, which names both keys by their thumbprints (RFC 7638): the next head seals which key followed which.
    ValueError when somebody else did the same at this moment.
    """
    there = await seals(store, at)
    key = _new(at, algorithm, f"{len(there.keys):06d}")
    kid = str(msgspec.json.decode(key.value)["kid"])
    if not await commit_unless_taken(store, key, replace(note, detail=f"{there.keys[-1]['kid']} -> {kid}")):
        raise ValueError("somebody else changed the key of the audit at the same moment: look, and try again")
    return kid


def opened(signed: str, keys: Iterable[PublicKey]) -> Head | None:
    """The claim of a head that one of these keys signed; None when none did."""
    if not isinstance(signed, str):  # somebody was at the file
        return None
    try:
        header, payload, _ = open_bytes(signed, keys)
    except Bad:
        return None
    return read_claim(payload) if header.get("typ") == TYPE else None


def _new(at: datetime, algorithm: str, name: str) -> Keep:
    key = ECKey.generate_key(CURVE_OF[algorithm], private=True)
    value = {"kid": key.thumbprint(), "alg": algorithm, "made": at.timestamp(), "jwk": key.as_dict(private=True)}
    return Keep(KIND, name, pack(value), if_absent=True)


def _read(name: str, raw: bytes) -> dict[str, Any]:
    try:
        key: dict[str, Any] = msgspec.json.decode(raw)
        public_key(_public(key))
    except (msgspec.MsgspecError, JoseError, KeyError, TypeError, ValueError, AttributeError):  # somebody was at the file
        raise Problem("unavailable", f"Key {name} of the audit is damaged in the store: restore it from a backup, for no head that it signed can be believed.") from None
    return key


def _public(key: Mapping[str, Any]) -> dict[str, Any]:
    return dict(ECKey.import_key(key["jwk"]).as_dict(private=False), kid=key["kid"], alg=key["alg"], use="sig")
