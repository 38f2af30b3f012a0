"""The part of a store that sign-in needs: named values with an end, committed together with their audit rows.

`auth` and `store` stand side by side and do not import each other: this is the narrow shape both agree on
(`store.base.Store` has it), with the two habits every file here shares.
"""

from __future__ import annotations

from datetime import datetime
from hashlib import sha256
from typing import Any, Protocol

import msgspec

from ..domain.types import Bump, Op

EPOCH = "sign-in"  # moves when a signing key or a revocation changes: every process looks at it on every request
CHANGED = Bump(EPOCH)


class Kept(Protocol):
    async def commit(self, *ops: Op) -> None: ...
    async def kept(self, kind: str, key: str, at: datetime) -> bytes | None: ...
    async def kept_all(self, kind: str, at: datetime, prefix: str = "") -> dict[str, bytes]: ...
    async def epoch(self, subject: str) -> int: ...


async def commit_unless_taken(store: Kept, *ops: Op) -> bool:
    """Commit; False, nothing changed, when a named value was there already, gone, or another (`store.base.Taken`)."""
    try:
        await store.commit(*ops)
    except Exception as refused:
        if type(refused).__name__ != "Taken":
            raise
        return False
    return True


def digest(secret: str) -> str:
    """The name under which a secret is kept: the store never holds the secret itself."""
    return sha256(secret.encode()).hexdigest()


def pack(value: Any) -> bytes:
    """JSON bytes for a named value; `msgspec.json.decode(raw, type=…)` reads them back."""
    return msgspec.json.encode(value)
