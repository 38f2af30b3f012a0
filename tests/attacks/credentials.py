"""Tokens and client assertions, right ones and those with exactly one defect. Signed with the served store's own keys unless the
defect is the key.
"""

from __future__ import annotations

import hmac
import json
import secrets
import zlib
from base64 import b64decode, b64encode, urlsafe_b64encode
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric import padding as rsa_padding
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256, SHA384
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from joserfc.jwk import ECKey

Json = dict[str, Any]


def b64url(raw: bytes) -> str:
    return urlsafe_b64encode(raw).rstrip(b"=").decode()


def part(value: Any) -> str:
    return b64url(value if isinstance(value, bytes) else json.dumps(value).encode())


@dataclass(frozen=True)
class Key:
    """A private EC key and what its headers say."""

    key: ec.EllipticCurvePrivateKey
    algorithm: str
    kid: str

    @classmethod
    def of(cls, jwk: Json, algorithm: str, kid: str) -> Key:
        private = ECKey.import_key(jwk).private_key
        assert isinstance(private, ec.EllipticCurvePrivateKey)
        return cls(private, algorithm, kid)

    @classmethod
    def stranger(cls, algorithm: str = "ES256") -> Key:
        """A key that nobody has registered."""
        return cls(ec.generate_private_key(ec.SECP256R1() if algorithm == "ES256" else ec.SECP384R1()), algorithm, "nobody")

    @property
    def jwk(self) -> Json:
        size, n = (self.key.curve.key_size + 7) // 8, self.key.public_key().public_numbers()
        return {"kty": "EC", "crv": f"P-{self.key.curve.key_size}", "x": b64url(n.x.to_bytes(size, "big")), "y": b64url(n.y.to_bytes(size, "big"))}

    @property
    def pem(self) -> bytes:
        return self.key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)

    def sign(self, said: bytes) -> bytes:
        size = (self.key.curve.key_size + 7) // 8
        r, s = decode_dss_signature(self.key.sign(said, ec.ECDSA(SHA256() if size == 32 else SHA384())))
        return r.to_bytes(size, "big") + s.to_bytes(size, "big")


def compact(header: Json, payload: Json | bytes, sign: Callable[[bytes], bytes]) -> str:
    said = f"{part(header)}.{part(payload)}"
    return f"{said}.{b64url(sign(said.encode()))}"


def hs256(secret: bytes) -> Callable[[bytes], bytes]:
    return lambda said: hmac.new(secret, said, sha256).digest()


# -- access tokens ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Good:
    """An access token taken apart: what every defect starts from. `sink` is the recorder's address."""

    header: Json
    claims: Json
    key: Key
    at: datetime
    sink: str

    @property
    def now(self) -> int:
        return int(self.at.timestamp())

    def signed(self, claims: Json | None = None, header: Json | None = None, drop: tuple[str, ...] = (), raw: bytes | None = None) -> str:
        said = {k: v for k, v in (self.claims | (claims or {})).items() if k not in drop}
        return compact(self.header | (header or {}), raw if raw is not None else said, self.key.sign)

    def by(self, key: Key, **header: Any) -> str:
        """Signed by somebody else's key."""
        return compact(self.header | header, self.claims, key.sign)


def take_apart(token: str) -> tuple[Json, Json]:
    header, claims, _ = token.split(".")

    def read(text: str) -> Json:
        found: Json = json.loads(b64decode(text + "=" * (-len(text) % 4), altchars=b"-_"))
        return found

    return read(header), read(claims)


def defect(name: str, good: Good) -> str | None:
    """The token with this one defect, or None when the defect has no such name."""
    made = DEFECTS.get(name)
    return made(good) if made else _timed(name, good)


UNITS = {"S": 1, "SEC": 1, "MIN": 60, "M": 60, "H": 3600, "HOUR": 3600, "D": 86400, "DAY": 86400, "DAYS": 86400}


def seconds(text: str) -> int | None:
    """`30S`, `10MIN`, `2H` in seconds."""
    digits = "".join(c for c in text if c.isdigit())
    unit = text.removeprefix(digits)
    return int(digits) * UNITS[unit] if digits and unit in UNITS else None


def _timed(name: str, good: Good) -> str | None:
    """EXP_30S_AGO, IAT_10MIN_FUTURE, NBF_2H_AHEAD and their like."""
    words = name.split("_")
    if len(words) != 3 or words[0] not in ("EXP", "IAT", "NBF") or words[2] not in ("AGO", "FUTURE", "AHEAD"):
        return None
    away = seconds(words[1])
    if away is None:
        return None
    at = good.now + (-away if words[2] == "AGO" else away)
    claims = {words[0].lower(): at}
    if words[0] == "EXP" and words[2] == "AGO":  # it began before it ended
        claims |= {"iat": at - 900, "nbf": at - 900}
    return good.signed(claims)


def _rs256(good: Good) -> str:
    key = rsa.generate_private_key(65537, 2048)
    return compact(good.header | {"alg": "RS256"}, good.claims, lambda said: key.sign(said, rsa_padding.PKCS1v15(), SHA256()))


def _jwe_bomb(good: Good) -> str:
    """An encrypted token of some twenty kilobytes that inflates a thousandfold."""
    key, iv = secrets.token_bytes(32), secrets.token_bytes(12)
    stream = zlib.compressobj(9, zlib.DEFLATED, -15)
    plain = stream.compress(b" " * 16_000_000) + stream.flush()
    header = part({"alg": "dir", "enc": "A256GCM", "zip": "DEF", "typ": "at+jwt", "kid": good.key.kid})
    sealed = AESGCM(key).encrypt(iv, plain, header.encode())
    return f"{header}..{b64url(iv)}.{b64url(sealed[:-16])}.{b64url(sealed[-16:])}"


def _dup_sub(good: Good) -> str:
    text = json.dumps(good.claims)
    return good.signed(raw=('{"sub":"person-b",' + text[1:]).encode())


def _cut(token: str, *, signature: str) -> str:
    return token.rpartition(".")[0] + "." + signature


DEFECTS: dict[str, Callable[[Good], str]] = {
    "EXPIRED": lambda g: g.signed({"exp": g.now - 3600, "iat": g.now - 7200, "nbf": g.now - 7200}),
    "NBF_FUTURE": lambda g: g.signed({"nbf": g.now + 3600}),
    "IAT_FUTURE": lambda g: g.signed({"iat": g.now + 3600}),
    "NO_EXP": lambda g: g.signed(drop=("exp",)),
    "NO_SUB": lambda g: g.signed(drop=("sub",)),
    "NO_ISS": lambda g: g.signed(drop=("iss",)),
    "NO_AUD": lambda g: g.signed(drop=("aud",)),
    "NO_TYP": lambda g: g.signed(header={"typ": "JWT"}),
    "NO_SCOPE": lambda g: g.signed(drop=("scope",)),
    "EXP_STRING": lambda g: g.signed({"exp": str(g.claims["exp"])}),
    "EXP_HUGE": lambda g: g.signed({"exp": 10**30}),
    "ALG_NONE": lambda g: f"{part(g.header | {'alg': 'none'})}.{part(g.claims)}.",
    "ALG_NoNe": lambda g: f"{part(g.header | {'alg': 'NoNe'})}.{part(g.claims)}.",
    "ALG_NONE_SIG": lambda g: compact(g.header | {"alg": "none"}, g.claims, g.key.sign),
    "ALG_MISSING": lambda g: compact({k: v for k, v in g.header.items() if k != "alg"}, g.claims, g.key.sign),
    "HS256_PUBKEY": lambda g: compact(g.header | {"alg": "HS256"}, g.claims, hs256(g.key.pem)),
    "HS256_EMPTY": lambda g: compact(g.header | {"alg": "HS256"}, g.claims, hs256(b"")),
    "KID_TRAVERSAL": lambda g: compact(g.header | {"alg": "HS256", "kid": "../../../../dev/null"}, g.claims, hs256(b"")),
    "KID_SQL": lambda g: compact(g.header | {"alg": "HS256", "kid": "x' UNION SELECT 'k'--"}, g.claims, hs256(b"k")),
    "KID_UNKNOWN": lambda g: g.by(Key.stranger(), kid="no-such-key"),
    "KID_MISSING": lambda g: compact({k: v for k, v in g.header.items() if k != "kid"}, g.claims, Key.stranger().sign),
    "WRONG_KEY": lambda g: g.by(Key.stranger()),
    "JKU": lambda g: g.by(Key.stranger(), kid="theirs", jku=f"{g.sink}/jwks.json"),
    "X5U": lambda g: g.by(Key.stranger(), kid="theirs", x5u=f"{g.sink}/cert.pem"),
    "X5C": lambda g: g.by(Key.stranger(), kid="theirs", x5c=[b64encode(b"not a certificate").decode()]),
    "JWK_EMBEDDED": lambda g: (lambda key: g.by(key, kid="theirs", jwk=key.jwk))(Key.stranger()),
    "CRIT_UNKNOWN": lambda g: g.signed(header={"crit": ["x"], "x": True}),
    "ALG_SWAPPED": lambda g: g.signed(header={"alg": "RS256"}),
    "RS256": _rs256,
    "WRONG_AUD": lambda g: g.signed({"aud": "https://other.example/fhir"}),
    "WRONG_ISS": lambda g: g.signed({"iss": "https://evil.example"}),
    "WRONG_TYP": lambda g: g.signed(header={"typ": "JWT"}),
    "SIG_STRIPPED": lambda g: _cut(g.signed(), signature=""),
    "SIG_TRUNC": lambda g: (lambda token: token[:-8])(g.signed()),
    "SIG_ZERO": lambda g: _cut(g.signed(), signature=b64url(bytes(64))),
    "SIG_OTHER": lambda g: _cut(g.signed(), signature=g.signed({"jti": "another"}).rpartition(".")[2]),
    "TWO_PARTS": lambda g: g.signed().rpartition(".")[0],
    "FOUR_PARTS": lambda g: g.signed() + ".e30",
    "FIVE_PARTS": lambda g: g.signed() + ".e30.e30",
    "GARBAGE": lambda g: "not-a-token",
    "EMPTY": lambda g: "",
    "DUP_SUB": _dup_sub,
    "PAYLOAD_CHANGED": lambda g: (lambda h, s: f"{h}.{part(g.claims | {'sub': 'person-b'})}.{s}")(g.signed().split(".")[0], g.signed().split(".")[2]),
    "JWE_BOMB": _jwe_bomb,
    "JWE": _jwe_bomb,
}  # fmt: skip


# -- client assertions ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class System:
    """A registered system, its private key, and the token endpoint."""

    id: str
    key: Key
    endpoint: str
    base: str
    sink: str
    other: str
    other_key: Key
    at: datetime

    def says(self, claims: Json | None = None, *, header: Json | None = None, drop: tuple[str, ...] = (), by: Key | None = None,
             sign: Callable[[bytes], bytes] | None = None) -> str:  # fmt: skip
        now = int(self.at.timestamp())
        said = {
            "iss": self.id, "sub": self.id, "aud": self.endpoint, "iat": now, "exp": now + 120, "jti": secrets.token_hex(12),
        } | (claims or {})  # fmt: skip
        head = {"alg": self.key.algorithm, "typ": "JWT", "kid": self.key.kid} | (header or {})
        return compact(head, {k: v for k, v in said.items() if k not in drop}, sign or (by or self.key).sign)

    @property
    def now(self) -> int:
        return int(self.at.timestamp())


def assertion(name: str, s: System) -> str | None:
    """The client assertion with this one defect (or none: OK, FRESH1 ...), or None when the defect has no such name."""
    plain = name.rstrip("0123456789")
    if plain in ("OK", "FRESH", "GOOD", "VALID", "HOSP", "SYS_HOSP"):
        return s.says()
    made = ASSERTIONS.get(name) or ASSERTIONS.get(plain)
    if made:
        return made(s)
    words = name.split("_")
    if len(words) >= 2 and words[0] == "EXP" and (away := seconds(words[1])) is not None:
        return s.says({"exp": s.now + (-away if words[-1] == "AGO" else away)})
    return None


ASSERTIONS: dict[str, Callable[[System], str]] = {
    "EXPIRED": lambda s: s.says({"exp": s.now - 600, "iat": s.now - 700}),
    "NO_EXP": lambda s: s.says(drop=("exp",)),
    "NO_JTI": lambda s: s.says(drop=("jti",)),
    "NO_ISS": lambda s: s.says(drop=("iss",)),
    "NO_SUB": lambda s: s.says(drop=("sub",)),
    "NO_AUD": lambda s: s.says(drop=("aud",)),
    "WRONG_AUD": lambda s: s.says({"aud": "https://other.example/oauth/token"}),
    "AUD_BASE": lambda s: s.says({"aud": s.base}),
    "AUD_LIST": lambda s: s.says({"aud": [s.endpoint, "https://other.example"]}),
    "AUD_PREFIX": lambda s: s.says({"aud": f"{s.endpoint}/x"}),
    "WRONG_ISS": lambda s: s.says({"iss": "somebody-else"}),
    "WRONG_SUB": lambda s: s.says({"sub": s.other}),
    "ISS_SUB_DIFFER": lambda s: s.says({"sub": s.other}),
    "NBF_FUTURE": lambda s: s.says({"nbf": s.now + 3600}),
    "IAT_FUTURE": lambda s: s.says({"iat": s.now + 3600}),
    "NONE": lambda s: f"{part({'alg': 'none', 'typ': 'JWT'})}.{s.says().split('.')[1]}.",
    "ALG_NONE": lambda s: f"{part({'alg': 'none', 'typ': 'JWT'})}.{s.says().split('.')[1]}.",
    "HS256": lambda s: s.says(header={"alg": "HS256"}, sign=hs256(s.key.pem)),
    "HS256_PUBKEY": lambda s: s.says(header={"alg": "HS256"}, sign=hs256(s.key.pem)),
    "ALG_SWAPPED": lambda s: s.says(header={"alg": "RS384"}),
    "KEY_OF_OTHER_CLIENT": lambda s: s.says(by=s.other_key),
    "OTHER_KEY": lambda s: s.says(by=s.other_key),
    "UNKNOWN_KEY": lambda s: s.says(by=Key.stranger("ES384")),
    "WRONG_KEY": lambda s: s.says(by=Key.stranger("ES384")),
    "KID_UNKNOWN": lambda s: s.says(header={"kid": "no-such-key"}, by=Key.stranger("ES384")),
    "KID_TRAVERSAL": lambda s: s.says(header={"alg": "HS256", "kid": "../../../../dev/null"}, sign=hs256(b"")),
    "JKU": lambda s: s.says(header={"jku": f"{s.sink}/jwks.json", "kid": "theirs"}, by=Key.stranger("ES384")),
    "JWK_EMBEDDED": lambda s: (lambda key: s.says(header={"jwk": key.jwk, "kid": "theirs"}, by=key))(Key.stranger("ES384")),
    "CRIT_UNKNOWN": lambda s: s.says(header={"crit": ["x"], "x": True}),
    "SIG_STRIPPED": lambda s: _cut(s.says(), signature=""),
    "SIG_TRUNC": lambda s: s.says()[:-8],
    "UNKNOWN_CLIENT": lambda s: s.says({"iss": "no-such-client", "sub": "no-such-client"}),
    "JTI_LONG": lambda s: s.says({"jti": "j" * 5000}),
    "GARBAGE": lambda s: "not-an-assertion",
}  # fmt: skip


LIFE = timedelta(minutes=15)
