"""The person's consents as their pages hold them: found, written, noticed when they changed meanwhile."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ... import gate
from ...domain import choices, sharing, strict
from ...domain.choices import Row
from ...domain.problem import Problem, not_found
from ...domain.types import Ref
from ...gate import Context
from .names import own_id, own_ids

NONE = "none"  # the stamp of a person who has chosen nothing yet


@dataclass(frozen=True, slots=True)
class Held:
    """One Consent of the person as it is now."""

    ref: Ref
    version: int
    body: dict[str, Any]

    @property
    def stamp(self) -> str:
        """What a form remembers of it, to notice that it changed meanwhile."""
        return f"{self.ref.id}.{self.version}"


async def consents(ctx: Context) -> list[Held]:
    """The person's consents in effect, in all their merged records; one in the form of these pages comes first, if there is one."""
    asked = [("patient", own_ids(ctx)), ("status", "active"), ("_count", "100")]
    page = await gate.search(ctx, "Consent", asked)
    held = [Held(e.ref, e.version, strict.decode(e.body)) for e in page.entries if e.body and e.mode == "match"]
    return sorted(held, key=lambda h: (not sharing.is_ours(h.body), h.ref.id))


async def own(ctx: Context) -> Held | None:
    """The one that these pages write: in the record that the person signs in for."""
    mine = {"reference": f"Patient/{own_id(ctx)}"}
    return next((h for h in await consents(ctx) if sharing.is_ours(h.body) and h.body.get("patient") == mine), None)


def stamp_of(held: Held | None) -> str:
    """Which version of the person's choices a form was filled in against; the same for nobody's."""
    return held.stamp if held else NONE


async def choice(ctx: Context, rule: str) -> tuple[Held, Row]:
    """One choice of ours by its id, and the consent it stands in. Problem not-found."""
    for held in await consents(ctx):
        if sharing.is_ours(held.body):
            for row in choices.rows(held.body):
                if row.id == rule:
                    return held, row
    raise not_found()


async def keep(ctx: Context, before: Held | None, body: dict[str, Any]) -> bool:
    """Write the changed consent; False when it was changed meanwhile. Then nothing was written."""
    raw = strict.dump(in_own_name(ctx, body))
    try:
        if before is None:
            await gate.create(ctx, "Consent", raw)
        else:
            await gate.update(ctx, before.ref, raw, if_match=before.version)
    except Problem as p:
        if p.kind in ("stale", "conflict"):
            return False
        raise
    return True


def in_own_name(ctx: Context, body: dict[str, Any]) -> dict[str, Any]:
    """A choice is signed by the person, or by who acts for them and makes it."""
    signs = ctx.actor.user if ctx.actor.kind == "proxy" else f"Patient/{own_id(ctx)}"
    return {**body, "performer": [{"reference": signs}]} if sharing.is_ours(body) else body


def replaced(held: Held | None) -> str | None:
    """The id of the consent a choice would be saved over."""
    return held.ref.id if held else None


__all__ = ["NONE", "Held", "choice", "consents", "in_own_name", "keep", "own", "replaced", "stamp_of"]
