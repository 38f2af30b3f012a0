"""Page tokens, which nobody can read or make, and where a listing goes on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from hashlib import sha512
from typing import Any

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV

from ..domain.problem import Problem
from .context import Context

Params = Sequence[tuple[str, str]]


def seal(ctx: Context, place: str, payload: Mapping[str, Any]) -> str:
    """A page token that nobody can read or make: for this reader and purpose, and for this place (`search Goal`).

    AES-SIV (RFC 5297): it needs no chance, and the same position is the same token.
    """
    return _sealer(ctx.house.secret).encrypt(msgspec.json.encode(payload), _for(ctx, place)).hex()


def unseal(ctx: Context, place: str, token: str) -> dict[str, Any]:
    """Problem not-found unless this very reader was given this token at this place."""
    try:
        out: dict[str, Any] = msgspec.json.decode(_sealer(ctx.house.secret).decrypt(bytes.fromhex(token), _for(ctx, place)))
    except (ValueError, InvalidTag):
        raise Problem("not-found", "This page link does not work any more. Search again.") from None
    return out


def resumed(ctx: Context, place: str, params: Params) -> tuple[Params, tuple[Any, ...] | None, Mapping[str, Any]]:
    """Where a listing goes on: what was asked, after which position, and the whole token; all from `_page` where there is one."""
    token = next((v for k, v in params if k == "_page"), None)
    if token is None:
        return params, None, {}
    held = unseal(ctx, place, token)
    return [(k, v) for k, v in held["q"]], tuple(held["at"]), held


def _for(ctx: Context, place: str) -> list[bytes]:
    return [place.encode(), ctx.actor.user.encode(), b"\x00" + (ctx.client or "").encode(), ctx.purpose.encode()]


@lru_cache(4)
def _sealer(secret: bytes) -> AESSIV:
    return AESSIV(sha512(b"page" + secret).digest())
