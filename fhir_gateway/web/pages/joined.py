"""What counts of a person's other records beside the one that a page shows (`plans.joined`). docs/main-plan.md"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from ... import plans
from ...domain.joined import Record, believed
from ...gate import Context
from .plan_view import Elsewhere, from_elsewhere
from .words import _, day, today


@dataclass(frozen=True, slots=True)
class Joined:
    """`records`: the resources of each, for their allergies and warnings; `plans`: what of each plan is shown with the other. Empty where this reader sees nothing of another."""

    records: tuple[Record, ...] = ()
    plans: tuple[Elsewhere, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.records)

    def believed(self, record: Record) -> Record:
        """The record that the page shows, without what nobody believes who has seen the others."""
        return believed([record, *self.records])[0] if self else record


async def joined(ctx: Context, patient: str, *, own: bool) -> Joined:
    """Of the other records of the person with this id, as far as this reader may see each."""
    return shown(await plans.joined(ctx, patient), today(ctx.at), own=own)


def shown(others: Sequence[plans.Opened], today: date, *, own: bool) -> Joined:
    """The same of records that are opened. Pure."""
    return Joined(
        tuple(o.record for o in others),
        tuple(from_elsewhere(o.shown(_), today, own=own, medicines=plans.medicines_beside(o, _), others=plans.others_beside(o, today, _, day)) for o in others),
    )


__all__ = ["Joined", "joined", "shown"]
