"""What of a plan counts today: which crisis plan is in force, who is still of the team, which step is still to be taken. Pure.

Each part of a plan says how it stands or until when it holds; a page, a paper and a document read that here, once, so that none shows what is over as
what is now. `today`: a day in London; None where nobody knows it, and then nothing is over by its date alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date
from typing import Any, Final

from .periods import LONDON, instant, interval
from .written_down import Say, as_written, objects, standing

MISTAKE: Final = "entered in error"
IN_FORCE: Final = frozenset({"", "active", "in progress", "unknown"})  # of a plan's status (`mappings/codes/plan-status.json`)
TAKEN: Final = frozenset({"done", "completed", "achieved", "met"})  # of a stage goal's status (`mappings/codes/goal-status.json`)
CALLED_OFF: Final = frozenset({"stopped", "cancelled", "rejected"})


def is_past(end: Any, today: date | None) -> bool:
    """Whether this, a FHIR date or dateTime, was over before `today` began; what is no date never is."""
    if today is None or not isinstance(end, str):
        return False
    try:
        return instant(interval(end)[1]).astimezone(LONDON).date() < today
    except ValueError:
        return False


def is_to_come(start: Any, today: date | None) -> bool:
    """Whether this, a FHIR date or dateTime, begins after `today`; what is no date never does."""
    if today is None or not isinstance(start, str):
        return False
    try:
        return instant(interval(start)[0]).astimezone(LONDON).date() > today
    except ValueError:
        return False


def has_left(member: Mapping[str, Any], today: date | None) -> bool:
    """Somebody who was of the team until a day that is past, or a relative who is one no longer (`shown_plan`): no key worker, and nobody to ring."""
    return member.get("no_longer") is True or is_past(member.get("until"), today)


def is_key_worker(member: Mapping[str, Any], today: date | None) -> bool:
    return bool(member.get("key_worker")) and not has_left(member, today)


def team(plan: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Whom the plan calls its team; not who is there for a crisis plan alone (`shown_plan`)."""
    return [dict(m) for m in objects(plan.get("team")) if m.get("only_to_ring") is not True]


def title(plan: Mapping[str, Any], otherwise: str, say: Say = as_written) -> str:
    """What the plan is called, with how it stands where it does not hold. `otherwise`: where it has no name."""
    named = str(plan.get("title") or otherwise)
    return named if in_force(plan) else f"{named} ({standing(plan, say)})"


def crisis_plans(plan: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Those of a plan, without mistakes; what is in force before what is not."""
    meant = [dict(c) for c in objects(plan.get("contingency")) if c.get("status") != MISTAKE]
    return sorted(meant, key=lambda c: not in_force(c))


def in_force(crisis: Mapping[str, Any]) -> bool:
    """Whether this crisis plan holds; not a draft, nor one that was paused, stopped, replaced or made by mistake. Without a status it does."""
    return str(crisis.get("status") or "") in IN_FORCE


def crisis_state(crisis: Mapping[str, Any], say: Say = as_written) -> str:
    """How a crisis plan stands; "" of one that is in force."""
    return "" if in_force(crisis) else standing(crisis, say)


def in_time(crisis: Mapping[str, Any], part: str, words: list[str], span: Callable[[Any, Any], str]) -> list[str]:
    """The words of a part of a crisis plan, each with the time for which it holds where one is said, in words by `span`."""
    times = {str(d.get("text")): span(d.get("from"), d.get("to")) for d in objects(crisis.get("details")) if d.get("of") == part}
    return [f"{w} ({times[w]})" if times.get(w) else w for w in words]


def is_off(step: Mapping[str, Any]) -> bool:
    """Whether a step on the way to a goal was called off: it is no longer to be taken."""
    return str(step.get("status")) in CALLED_OFF


def is_done(step: Mapping[str, Any]) -> bool:
    """Whether a step on the way to a goal was taken."""
    return step.get("outcome") == "met" or str(step.get("status")) in TAKEN


def steps_of(goal: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The steps on the way to a goal, without mistakes."""
    return [s for s in objects(goal.get("stage_goals")) if s.get("status") != MISTAKE]


def step_state(step: Mapping[str, Any], say: Say = as_written) -> str:
    """What must be said of a step beside that it is done or not: that it was called off, or what came of it other than hoped."""
    said = [standing(step, say)] if is_off(step) else []
    came = str(step.get("outcome") or "")
    return ", ".join([*said, *([say(came.capitalize())] if came and came not in ("met", "in progress") else [])])


def how_it_went(outcome: Mapping[str, Any], say: Say = as_written) -> str:
    """What came of a goal: how it is, and what was said of that."""
    how = str(outcome.get("result") or "")
    return ": ".join(t for t in (say(how.capitalize()) if how else "", str(outcome.get("text") or "")) if t)


__all__ = [
    "crisis_plans", "crisis_state", "has_left", "how_it_went", "in_force", "in_time", "is_done", "is_key_worker", "is_off", "is_past", "is_to_come", "step_state", "steps_of", "team", "title",
]  # fmt: skip
