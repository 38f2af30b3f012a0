"""The secret in a link that needs no account: 192 random bits. What is kept of it is its digest."""

from __future__ import annotations

import secrets
from hashlib import sha256

BYTES = 24


def new_token() -> str:
    return secrets.token_urlsafe(BYTES)


def digest(token: str) -> str:
    return sha256(token.encode()).hexdigest()
