"""The private key by which we sign in at another server, from a file: PEM, a JWK or a JWK set.

https://hl7.org/fhir/smart-app-launch/client-confidential-asymmetric.html asks for ES384 or RS384.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from joserfc.errors import JoseError
from joserfc.jwk import ECKey, RSAKey

OWN = "own"  # in the place of a file: made here and kept in the store


class BadKey(ValueError):
    """Nothing can be signed with this. The text never holds the key."""


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A private key, the name that the other server knows it by, and its one algorithm."""

    kid: str
    algorithm: str  # ES384 or RS384
    key: ECKey | RSAKey = field(repr=False)

    def jwks(self) -> dict[str, Any]:
        """Its public half, for whoever is to know us by it. RFC 7517."""
        return {"keys": [dict(self.key.as_dict(private=False), kid=self.kid, alg=self.algorithm, use="sig")]}


def read_key(raw: bytes, kid: str = "", algorithm: str = "") -> SigningKey:
    """The key in this file; of several the one called `kid`. BadKey for what cannot sign, or not by `algorithm`."""
    key, named = _of_jwk(raw, kid) if raw.lstrip().startswith(b"{") else (_of_pem(raw), "")
    if not key.is_private:
        raise BadKey("it holds the public half only")
    if isinstance(key, ECKey):
        if key.curve_name != "P-384":
            raise BadKey(f"it is on the curve {key.curve_name}, and ES384 needs P-384")
        good = "ES384"
    else:
        if not 2048 <= key.public_key.key_size <= 8192:
            raise BadKey("an RSA key needs 2048 to 8192 bits")
        good = "RS384"
    if algorithm not in ("", good):
        raise BadKey(f"it signs by {good}, not by {algorithm}")
    return SigningKey(kid or named or key.thumbprint(), good, key)


def made_key(kid: str, algorithm: str, jwk: Mapping[str, Any]) -> SigningKey:
    return read_key(json.dumps(dict(jwk)).encode(), kid, algorithm)


def _of_pem(raw: bytes) -> ECKey | RSAKey:
    for kind in (ECKey, RSAKey):
        try:
            return kind.import_key(raw)
        except (JoseError, ValueError, TypeError, UnicodeError):
            continue
    raise BadKey("it is no key of an elliptic curve or RSA, without a password, as PEM or JWK")


def _of_jwk(raw: bytes, kid: str) -> tuple[ECKey | RSAKey, str]:
    try:
        said = json.loads(raw)
        several = said.get("keys", [said])
        found = [k for k in several if isinstance(k, dict) and (not kid or len(several) == 1 or k.get("kid") == kid)]
    except (ValueError, AttributeError, TypeError, RecursionError):
        raise BadKey("it is no JSON of a JWK") from None
    if len(found) != 1:
        raise BadKey("it holds none by that `key_id`" if not found else "it holds several keys: name one by `key_id`")
    jwk = found[0]
    if jwk.get("alg") not in (None, "ES384", "RS384"):
        raise BadKey(f"its `alg` is `{str(jwk['alg'])[:10]}`, not ES384 or RS384")
    try:
        members = {k: v for k, v in jwk.items() if k not in ("use", "key_ops", "alg")}
        key = RSAKey.import_key(members) if jwk.get("kty") == "RSA" else ECKey.import_key(members)
    except (JoseError, ValueError, TypeError, KeyError):
        raise BadKey("it is a JWK that cannot be read") from None
    return key, str(jwk.get("kid") or "")
