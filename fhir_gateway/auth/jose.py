"""Signed tokens, read strictly: one way to open one, for access tokens, client assertions and id tokens alike.

JWS https://www.rfc-editor.org/rfc/rfc7515 , JWK RFC 7517, best practice RFC 8725. The signature is joserfc's work; what
is here is what it leaves to us: which keys may be used, which headers are refused, no second spelling of one token.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, Key, RSAKey, thumbprint

ALGORITHMS = frozenset({"ES256", "ES384", "RS256", "RS384", "PS256", "PS384"})
CURVES = {"P-256": frozenset({"ES256"}), "P-384": frozenset({"ES384"})}
RSA = frozenset({"RS256", "RS384", "PS256", "PS384"})
# headers that point elsewhere or change the rules
NEVER = frozenset({"crit", "jku", "jwk", "x5u", "x5c", "zip", "enc", "b64"})
LONGEST = 16 * 1024
SHAPE = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*\.[A-Za-z0-9_-]+", re.ASCII)
PUBLIC_MEMBERS = ("kty", "crv", "x", "y", "n", "e")
_registry = jws.JWSRegistry(algorithms=sorted(ALGORITHMS), strict_check_header=False)


class Bad(ValueError):
    """This is not a token we can believe. The text is for our log, never for the caller."""


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A key somebody signs with, and the only algorithms it may be used with."""

    kid: str
    algorithms: frozenset[str]
    key: Key


@dataclass(frozen=True, slots=True)
class Opened:
    """A token whose signature holds."""

    header: dict[str, Any]
    claims: dict[str, Any]
    key: PublicKey


def public_key(jwk: Mapping[str, Any]) -> PublicKey:
    """The public half of a JWK, or `Bad` when it cannot check signatures (symmetric, for encryption, weak)."""
    if jwk.get("use", "sig") != "sig":
        raise Bad("the key is not for signatures")
    operations = jwk.get("key_ops", ["verify"])
    if not isinstance(operations, list) or not ("verify" in operations or "sign" in operations):
        raise Bad("the key is not for signatures")
    members = {m: jwk[m] for m in PUBLIC_MEMBERS if m in jwk}
    key: Key
    try:
        match jwk.get("kty"):
            case "EC":
                algorithms = CURVES.get(str(jwk.get("crv")), frozenset())
                key = ECKey.import_key(members)
            case "RSA":
                algorithms = RSA
                key = RSAKey.import_key(members)
                _check_rsa(key)
            case other:
                raise Bad(f"keys of type {other} are not used")
    except (JoseError, ValueError, TypeError, KeyError) as wrong:
        raise Bad(f"the key cannot be read: {wrong}") from None
    if "alg" in jwk:
        algorithms = algorithms & {str(jwk["alg"])}
    if not algorithms:
        raise Bad("no allowed algorithm goes with this key")
    return PublicKey(str(jwk.get("kid") or thumbprint(members)), algorithms, key)


def public_keys(jwks: Mapping[str, Any]) -> tuple[PublicKey, ...]:
    """The usable keys of a JWK set. Keys for other purposes are passed over; one name for two keys is `Bad`."""
    found: dict[str, PublicKey] = {}
    listed = jwks.get("keys")
    if not isinstance(listed, list):
        raise Bad("this is no JWK set")
    names = [str(jwk["kid"]) for jwk in listed if isinstance(jwk, dict) and jwk.get("kid")]
    if len(names) != len(set(names)):
        raise Bad("two keys have the same kid")
    for jwk in listed:
        try:
            key = public_key(jwk)
        except (Bad, AttributeError):  # the latter: what is listed is no object
            continue
        found[key.kid] = key
    return tuple(found.values())


def peek(token: str, also: frozenset[str] = frozenset()) -> tuple[dict[str, Any], dict[str, Any]]:
    """Header and claims of a compact JWS, not believed yet: to choose whose keys to try. `Bad` on anything odd.

    `also`: headers that are refused otherwise, which the caller looks at.
    """
    header, payload = _parts(token, also)
    return header, _object(payload)


def open_signed(token: str, keys: Iterable[PublicKey], also: frozenset[str] = frozenset()) -> Opened:
    """The token's header and claims when one of `keys` signed it, else `Bad`."""
    header, payload, key = open_bytes(token, keys, also)
    return Opened(header, _object(payload), key)


def open_bytes(token: str, keys: Iterable[PublicKey], also: frozenset[str] = frozenset()) -> tuple[dict[str, Any], bytes, PublicKey]:
    """Header, payload and the key of `keys` that signed them, else `Bad`."""
    header, payload = _parts(token, also)
    for key in candidates(keys, header.get("kid"), header["alg"]):
        try:
            jws.deserialize_compact(token, key.key, registry=_registry)
        except (JoseError, ValueError):
            continue
        return header, payload, key
    raise Bad("not signed by a known key")


def candidates(keys: Iterable[PublicKey], kid: str | None, alg: str) -> list[PublicKey]:
    """The keys this token may be signed with: the named one, or all of its algorithm when it names none."""
    return [k for k in keys if (kid is None or k.kid == kid) and alg in k.algorithms][:8]


def _parts(token: str, also: frozenset[str] = frozenset()) -> tuple[dict[str, Any], bytes]:
    if len(token) > LONGEST or not SHAPE.fullmatch(token):
        raise Bad("not three parts of base64url")
    head, body, signature = token.split(".")
    _decode(signature)
    header, payload = _object(_decode(head)), _decode(body)
    if (NEVER - also) & header.keys():
        raise Bad("a header that is not accepted")
    if not isinstance(header.get("alg"), str) or header["alg"] not in ALGORITHMS:
        raise Bad("algorithm not allowed")
    if not isinstance(header.get("kid", ""), str):
        raise Bad("kid is no string")
    return header, payload


def instant(claims: Mapping[str, Any], name: str) -> float | None:
    """A NumericDate claim in seconds since 1970; None when absent; `Bad` when it is no number."""
    value = claims.get(name)
    if value is None and name not in claims:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1e11:
        raise Bad(f"{name} is no instant")
    return float(value)


def _decode(part: str) -> bytes:
    try:
        raw = base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))
    except ValueError:
        raise Bad("not base64url") from None
    if base64.urlsafe_b64encode(raw).rstrip(b"=").decode() != part:
        raise Bad("a second spelling of the same bytes")
    return raw


def _object(raw: bytes) -> dict[str, Any]:
    try:
        value = json.loads(raw.decode("utf-8"), object_pairs_hook=_once, parse_constant=_no_constant)
        json.dumps(value, ensure_ascii=False).encode()  # half of a character (a lone surrogate) can be neither kept nor said again
    except (ValueError, RecursionError):
        raise Bad("not a JSON object") from None
    if not isinstance(value, dict):
        raise Bad("not a JSON object")
    return value


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    out = dict(pairs)
    if len(out) != len(pairs):
        raise ValueError("a name twice")
    return out


def _no_constant(name: str) -> Any:
    raise ValueError(name)


# -- weak RSA keys ----------------------------------------------------------------------------------------------------

_SMALL_PRIMES = [p for p in range(3, 168) if all(p % d for d in range(2, int(p**0.5) + 1))]
_ROCA = {p: {pow(65537, i, p) for i in range(p)} for p in _SMALL_PRIMES}


def _check_rsa(key: RSAKey) -> None:
    numbers = key.public_key.public_numbers()
    if not 2048 <= numbers.n.bit_length() <= 8192:
        raise Bad("an RSA key of fewer than 2048 or more than 8192 bits")
    if numbers.e < 3 or numbers.e % 2 == 0:
        raise Bad("an RSA key with a weak exponent")
    # CVE-2017-15361 (ROCA): such moduli are powers of 65537 modulo every small prime; others practically never are
    if all(numbers.n % p in powers for p, powers in _ROCA.items()):
        raise Bad("an RSA key that can be factored (ROCA)")
