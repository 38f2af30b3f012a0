"""How a system proves itself to the token endpoint: a short-lived statement signed with its own key.

`private_key_jwt`, RFC 7523, https://hl7.org/fhir/smart-app-launch/client-confidential-asymmetric.html
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from .jose import Bad, PublicKey, instant, open_signed
from .tokens import LEEWAY, check_times

ALGORITHMS = ("ES384", "RS384")
TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
LONGEST = 300.0  # seconds
POINTING = frozenset({"jku"})  # SMART lets it name the registered key set, and nothing else; it is compared, never followed


def check_assertion(
    assertion: str, client: str, keys: Iterable[PublicKey], audiences: Sequence[str], at: datetime
) -> tuple[str, datetime]:
    """The jti of a client assertion and how long to remember it. `Bad` unless this client signed it, for us, now."""
    opened = open_signed(assertion, keys, POINTING)
    claims = opened.claims
    if opened.header["alg"] not in ALGORITHMS:
        raise Bad("sign it with ES384 or RS384")
    if claims.get("iss") != client or claims.get("sub") != client:
        raise Bad("iss and sub must both be the client id")
    if claims.get("aud") not in (*audiences, *([a] for a in audiences)):
        raise Bad("aud must be exactly the address of the token endpoint")
    check_times(claims, at)
    expires = instant(claims, "exp") or 0.0
    if expires - at.timestamp() > LONGEST:
        raise Bad("exp is more than five minutes ahead")
    jti = claims.get("jti")
    if not isinstance(jti, str) or not 0 < len(jti) <= 256:
        raise Bad("jti is missing")
    return jti, at + timedelta(seconds=LONGEST + 2 * LEEWAY)
