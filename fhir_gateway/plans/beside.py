"""A person's record as a reader may see it, for pages: the plan that it makes, and beside it what others wrote that a plan has words for. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from ..domain import mapping, plans_of_others, risks, told_by_others
from ..domain.mapping.names import own_identifier
from ..domain.medicines import is_not_to_be, named_inside, of_record
from ..domain.shown_plan import shown_plan
from ..domain.told_by_others import Told
from ..domain.written_down import Say, as_written
from ..tables import load_tables


@dataclass(frozen=True, slots=True)
class Opened:
    """A person's record as a reader may see it: the plan that it makes, and the resources, with what they refer to in the directory."""

    plan: dict[str, Any]
    record: list[dict[str, Any]]
    things: Mapping[str, tuple[str, Mapping[str, Any]]] = field(default_factory=dict)  # which thing of the plan a resource is

    def shown(self, say: Say = as_written) -> dict[str, Any]:
        """The plan for a page, in the language of `say`: not one to be kept."""
        return risks.with_others(shown_plan(self.plan, self.things, self.record, say), self.record, load_tables())


def medicines_beside(held: Opened, say: Say = as_written) -> list[dict[str, Any]]:
    """Medicines of the record that the plan does not hold, as the plan would say them: what a hospital prescribed, stopped or changed is read with the
    others, whether somebody has taken it into the plan or not. What is not to be taken has `do_not`."""
    mine = {str(m.get("id")) for m in held.plan.get("medicines") or () if isinstance(m, Mapping)}
    others = [r for r in of_record(held.record) if (own_identifier(r) is None or is_not_to_be(r)) and r.get("id") not in mine]
    around = [r for r in held.record if r.get("resourceType") in ("Medication", "Organization", "Practitioner", "PractitionerRole")]
    told = [{k: v for k, v in named_inside(r).items() if k not in ("doNotPerform", "identifier")} for r in others]
    read = mapping.read([*told, *around], load_tables(), homeless=False)
    forbidden = {id(read.became[name][1]) for r in others if is_not_to_be(r) and (name := f"{r['resourceType']}/{r.get('id')}") in read.became}
    shown = shown_plan(read.plan, read.became, others, say).get("medicines", ())
    return [{**m, "do_not": True} if id(was) in forbidden else m for was, m in zip(read.plan.get("medicines", ()), shown, strict=True)]


@dataclass(frozen=True, slots=True)
class Others:
    """What others wrote and the plan has not: health problems; assessments and answers; plans for a crisis; other plans, and papers for an emergency; goals."""

    problems: tuple[Told, ...] = ()
    findings: tuple[Told, ...] = ()
    crisis: tuple[Told, ...] = ()
    papers: tuple[Told, ...] = ()
    goals: tuple[Told, ...] = ()

    def every(self) -> tuple[Told, ...]:
        return (*self.problems, *self.findings, *self.crisis, *self.papers, *self.goals)

    def __bool__(self) -> bool:
        return bool(self.every())


def others_beside(held: Opened, today: date, say: Say = as_written, day: told_by_others.Day = str) -> Others:
    """Conditions, finished assessments, answers, plans, papers and goals of the record that the plan does not hold, as far as this reader may see them."""
    found = told_by_others.findings(held.plan, held.record, say=say, day=day)
    plans = plans_of_others.beside(held.plan, held.record, say=say, day=day, today=today)
    return Others(told_by_others.problems(held.plan, held.record, say=say, day=day, today=today), found, plans.crisis, plans.papers, plans.goals)


__all__ = ["Opened", "Others", "medicines_beside", "others_beside"]
