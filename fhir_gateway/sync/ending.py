"""They say at a partner that a copy is gone which we cannot take back ourselves: the recall is ended, and what was under way with it."""

from __future__ import annotations

from collections.abc import Sequence

from ..domain.types import Op, Ref
from ..gate import Context, House, waiting_room
from . import attempts
from .partner import Partner, as_owner


async def gone(house: House, partners: Sequence[Partner], by: Context, id: str, why: str) -> None:
    """`gate.waiting_room.gone`; what may have got there without an answer is in the ledger then. Problem: forbidden, not-found, business-rule."""

    async def under_way(name: str, ref: Ref) -> list[Op]:
        partner = next((p for p in partners if p.name == name), None)
        attempt = await attempts.of(house, partner, ref) if partner is not None else None
        if partner is None or attempt is None:
            return []
        ctx = await as_owner(house, partner, "disclose")
        return [*attempts.rows(partner, ref, attempt), *attempts.trail(ctx, partner, ref, attempt), attempts.ended(partner, ref)]

    await waiting_room.gone(by, id, why, under_way)


__all__ = ["gone"]
