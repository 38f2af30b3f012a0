"""A Consent that takes the place of another says something itself now: a no never ends in favour of nothing (consent.md 1.4; docs/consents.md)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..domain import strict
from ..domain.building import read_consent
from ..domain.consenting import heard
from ..domain.grants import Grant, Rule
from ..domain.periods import micros
from ..domain.problem import Problem
from ..domain.types import Facts, Ref
from ..domain.vocabulary import SECTOR_SYSTEM
from .consenting import Get, is_here
from .context import Context
from .somebody import systems_among

WHERE = "Consent.extension"


async def fills_the_place(ctx: Context, get: Get, resource: Mapping[str, Any], facts: Facts, ended: Sequence[str]) -> None:
    """Problem business-rule where this Consent, which ends those of `ended` (`Consent/…`), would leave nothing in their place: nothing in
    it holds now, none of it speaks of somebody who is here, or it is about something else."""
    if not ended:
        return
    new = read_consent(resource, "", 0)
    at = micros(ctx.at)
    if not isinstance(new, Grant) or not new.in_force(at):
        raise _none("A consent that is not active, not begun or over takes the place of none: it would leave nothing in its place.")
    rules = heard(new, at)
    systems = await systems_among(ctx.house, (n for rule in rules for n in rule.who | rule.custodians))
    if not any([await _speaks(ctx, get, rule, facts, systems) for rule in rules]):
        raise _none("This consent takes the place of none: nothing in it holds now for somebody who is here, so it would leave nothing in its place.")
    for name in ended:
        stored = await get(Ref("Consent", name.removeprefix("Consent/")))
        old = read_consent(strict.decode(stored.body), "", 0) if stored is not None and stored.body is not None else None
        if isinstance(old, Grant) and (old.scope, bool(old.proxy)) != (new.scope, bool(new.proxy)):
            raise _none(f"This consent takes the place of none that is about something else: `{name[:80]}` has another scope, or is a role.")
        if not isinstance(old, Grant) and (new.scope != "patient-privacy" or new.proxy):
            raise _none(f"This consent takes the place of none that cannot be computed, as `{name[:80]}`: one about sharing does.")


def _none(text: str) -> Problem:
    return Problem("business-rule", text, WHERE)


async def _speaks(ctx: Context, get: Get, rule: Rule, facts: Facts, systems: frozenset[str]) -> bool:
    """Does it name nobody, so that it is for everybody, or somebody who is here. To the person themselves a consent says nothing."""
    for names in (rule.who, rule.custodians):
        others = [n for n in names if not n.startswith("Patient/")]
        if names and not any([n in systems or n.startswith(f"{SECTOR_SYSTEM}|") or await is_here(ctx, get, n, facts) for n in others]):
            return False
    return True


__all__ = ["fills_the_place"]
