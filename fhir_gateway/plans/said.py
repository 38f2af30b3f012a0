"""What somebody said of a person the last time: in a list of theirs, or in a whole plan. Kept by digests alone (`domain.laid`); what they say so again is nothing new."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final
from urllib.parse import quote

import msgspec

from ..domain.laid import digests, words
from ..domain.types import Keep
from ..gate import Context
from ..store.base import Taken

LAID: Final = "laid"  # kept: each word of a list of somebody's (`laid.words`)
SENT: Final = "sent-plan"  # kept: the plan of a person as a system sent it (`laid.digests`)


def _key(ctx: Context, patient: str, by: str) -> str:
    return f"Patient/{patient} {quote(ctx.client or ctx.actor.user, safe='')} {by}"


async def in_list(ctx: Context, patient: str, by: str) -> bytes | None:
    """The words of their list `by` as it came last; None where none came yet."""
    return await ctx.house.store.kept(LAID, _key(ctx, patient, by), ctx.at)


async def in_plan(ctx: Context, patient: str) -> bytes | None:
    """The plan as this system sent it last; None where it sent none yet."""
    return await ctx.house.store.kept(SENT, _key(ctx, patient, ""), ctx.at)


async def remember_list(ctx: Context, patient: str, by: str, part: Mapping[str, Any], before: bytes | None) -> None:
    """What their list says now, in place of `before`."""
    value = msgspec.json.encode(words(part))
    await _kept(ctx, before, Keep(LAID, _key(ctx, patient, by), value, if_absent=before is None, if_value=before))


async def remember_plan(ctx: Context, patient: str, plan: Mapping[str, Any], before: bytes | None) -> None:
    """What this system says of a plan now, in place of `before`."""
    value = msgspec.json.encode(digests(plan))
    await _kept(ctx, before, Keep(SENT, _key(ctx, patient, ""), value, if_absent=before is None, if_value=before))


async def _kept(ctx: Context, before: bytes | None, op: Keep) -> None:
    if op.value != before:
        with suppress(Taken):  # the same came at the same moment
            await ctx.house.store.commit(op)


__all__ = ["in_list", "in_plan", "remember_list", "remember_plan"]
