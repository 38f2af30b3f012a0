"""A link to one person's page for somebody who signs in anyway: it says nothing of who that is, opens nothing by itself, and ends soon."""

from __future__ import annotations

import base64
from datetime import datetime, timedelta
from functools import lru_cache
from hashlib import sha512
from typing import Final

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV

from ..domain.periods import micros
from ..domain.problem import Problem, not_found
from ..domain.types import Ref
from .context import Context, House
from .reading import read

LASTS: Final = timedelta(hours=12)  # a shift
LONGEST: Final = 400


async def link_to(ctx: Context, patient: str) -> tuple[str, datetime]:
    """(token, until when) of a link to this person for anybody who may see them, made by somebody who may. Problem not-found, insufficient-scope.

    It holds no NHS number and no name, and nobody reads the id out of it. That it was asked for is in the trail as a look at the person.
    """
    await read(ctx, Ref("Patient", patient))
    until = ctx.at + LASTS
    return sealed(ctx.house.secret, patient, until), until


def linked(house: House, token: str) -> str:
    """The id that this link leads to: whoever follows it is asked like everybody. Problem not-found for one that has ended, or was not made here."""
    return unsealed(house.secret, token, house.clock())


def sealed(secret: bytes, patient: str, until: datetime) -> str:
    raw = _sealer(secret).encrypt(msgspec.json.encode([patient, micros(until)]), None)
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def unsealed(secret: bytes, token: str, at: datetime) -> str:
    try:
        if len(token) > LONGEST:
            raise ValueError
        raw = _sealer(secret).decrypt(base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True), None)
        patient, until = msgspec.json.decode(raw, type=tuple[str, int])
    except (ValueError, InvalidTag, msgspec.MsgspecError):
        raise not_found() from None
    if micros(at) > until:
        raise Problem("not-found", "This link has ended. Ask for a new one.")
    return patient


@lru_cache(4)
def _sealer(secret: bytes) -> AESSIV:
    return AESSIV(sha512(b"link" + secret).digest())


__all__ = ["LASTS", "link_to", "linked", "sealed", "unsealed"]
