"""What of a person's other records is read with one of them, where an operator merged them. docs/main-plan.md"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .. import gate
from ..domain import mapping
from ..domain.problem import Problem
from ..gate import Context
from ..tables import load_tables
from .beside import Opened


async def joined(ctx: Context, patient: str) -> list[Opened]:
    """Of each other record of the person with this id what must be known to who reads this one, as far as this reader may see it there (`gate.joined`).
    Empty, and nothing is read, where nothing is merged; a record of which they see nothing is not there."""
    return [await _opened(ctx, record, found) for record, found in (await gate.joined(ctx, patient)).items()]


async def _opened(ctx: Context, record: str, found: Sequence[dict[str, Any]]) -> Opened:
    try:
        read = mapping.read(found, load_tables(), homeless=False, main=await gate.main_plan_of(ctx, record))
    except Problem as p:
        if p.kind not in ("not-found", "invalid"):
            raise
        return Opened({}, list(found))  # its allergies and warnings are read without a plan
    return Opened(read.plan, list(found), read.became)


__all__ = ["joined"]
