"""A plan as a page or a paper shows it: with what its records say that a plan has no place for. Never one to be kept. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from .mapping.codecs import TEAM_PHONE
from .mapping.foreign import verified
from .mapping.names import EXTENSIONS, local, own_identifier
from .medicines import doses
from .written_down import Say, an_object, as_written, objects

CONTACT: Final = EXTENSIONS + "contingency-contact"
MISTAKES: Final = frozenset({"entered-in-error", "cancelled"})
OVER: Final = frozenset({"entered-in-error", "inactive"})  # of a CareTeam
STATELESS: Final = frozenset(  # things for whose state a plan has no word
    {"about-me", "strength", "barrier", "formulation", "risk", "unmet-need", "additional-plan", "measurement", "answers", "decision", "wheel", "media", "document"}
)
RULED_OUT: Final = "Ruled out"


def shown_plan(plan: Mapping[str, Any], things: Mapping[str, tuple[str, Mapping[str, Any]]], record: Iterable[Mapping[str, Any]], say: Say = as_written) -> dict[str, Any]:
    """Each medicine with all that is said of how it is taken, in sequence; a need that was refuted says so; of the team, who does not see it has those
    whom a crisis plan that they do see says to ring, and who sees it has those for the crisis plan alone (`only_to_ring`). What was entered in error is not there (`_gone`),
    and a relative who is one no longer says so.
    `say`: in the reader's language. `things`: which thing of the plan a resource is (`mapping.Read.became`)."""
    more: dict[int, dict[str, Any]] = {}
    called: dict[str, dict[str, str]] = {}
    gone: set[int] = set()
    teams: set[bool] = set()
    for r in record:
        if r.get("resourceType") == "CareTeam":
            teams.add(str(r.get("status")) not in OVER)
        kind, thing = things.get(f"{r.get('resourceType')}/{r.get('id')}", ("", {}))
        if kind in ("medicine", "prescription") and (said := doses(r, say)):
            more[id(thing)] = {"how": "\n".join(said)}
        elif kind == "need" and "refuted" in verified(r):
            more[id(thing)] = {"status_word": say(RULED_OUT)}
        elif kind == "contingency":
            called |= _named_to_ring(r)
        elif kind == "contact" and r.get("active") is False:
            more[id(thing)] = {"no_longer": True}
        if kind in STATELESS and str(r.get("status")) in MISTAKES:
            gone.add(id(thing))
    plan = {k: v for k, v in plan.items() if id(v) not in gone and (k != "team" or teams != {False})}
    lists = {key: [{**item, **more.get(id(item), {})} for item in objects(value) if id(item) not in gone] for key, value in plan.items() if isinstance(value, list) and _touched(value, more, gone)}
    known = {str(m.get("id")) for m in objects(plan.get("team"))}
    beside = [{"id": id, **who, **({"only_to_ring": True} if True in teams else {})} for id, who in called.items() if id not in known]
    team = {"team": [*objects(plan.get("team")), *beside]} if beside else {}
    return {**plan, **lists, **team}


def _touched(items: list[Any], more: Mapping[int, Any], gone: set[int]) -> bool:
    return any(id(i) in more or id(i) in gone for i in items)


def _named_to_ring(crisis: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    """Whom of the team a crisis plan says to contact, with the number that it has: by the id that the plan has for them."""
    out: dict[str, dict[str, str]] = {}
    for e in objects(crisis.get("extension")):
        who = an_object(e.get("valueReference")) if e.get("url") == CONTACT else {}
        own = own_identifier(who)
        id = local(own[1]) if own is not None and own[0] == "team" else None
        if id is not None:
            said = {"name": who.get("display"), "phone": number_to_ring(who) or None}
            out[id] = {k: v for k, v in said.items() if isinstance(v, str)}
    return out


def number_to_ring(who: Mapping[str, Any]) -> str:
    """The number that a crisis plan's reference to somebody of the team carries; "" where it has none."""
    numbers = (an_object(x.get("valueContactPoint")).get("value") for x in objects(who.get("extension")) if x.get("url") == TEAM_PHONE)
    return next((n for n in numbers if n and isinstance(n, str)), "")
