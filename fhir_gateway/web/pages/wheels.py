"""The wheels of a record beside those that a plan has: filled in on a form, they are in no plan, and stand with its wheels. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ...domain import main_plan
from ...domain.mapping.names import own_identifier
from ...domain.results import is_wheel, wheels, when
from .pictures import wheel
from .plan_items import Item, lines
from .plan_more import spoke_words
from .words import _, day


def filled_in(record: Iterable[Mapping[str, Any]]) -> tuple[Item, ...]:
    """The newest wheel of each name that no plan made; earlier ones are with the results."""
    held = [r for r in record if r.get("resourceType") == "Observation" and own_identifier(r) is None]
    out = []
    for same in wheels(held):
        newest, drawn = same[-1], wheel(same[-1])
        spokes = [(s.name or _("Not described"), spoke_words(s.now, s.hoped)) for s in drawn.spokes]
        out.append(Item(str(newest.get("id", "")), drawn.title or _("My wheel"), "", "grey", lines(*spokes, (_("Filled in"), day(when(newest)))), wheel=drawn))
    return tuple(out)


def kept_as(record: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """`Observation/id` of each wheel of a record, by the id that a plan or a page has for it."""
    held = list(record)
    plans = [r for r in held if r.get("resourceType") == "CarePlan"]
    return main_plan.called([*plans, *(r for r in held if r.get("resourceType") == "Observation" and is_wheel(r))], {"Observation"})


__all__ = ["filled_in", "kept_as"]
