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
RULED_OUT: Final = "Ruled out"


def shown_plan(plan: Mapping[str, Any], things: Mapping[str, tuple[str, Mapping[str, Any]]], record: Iterable[Mapping[str, Any]], say: Say = as_written) -> dict[str, Any]:
    """Each medicine with all that is said of how it is taken, in sequence; a need that was refuted says so; of the team, who does not see it has those
    whom a crisis plan that they do see says to ring.
    `say`: in the reader's language. `things`: which thing of the plan a resource is (`mapping.Read.became`)."""
    more: dict[int, dict[str, str]] = {}
    called: dict[str, dict[str, str]] = {}
    for r in record:
        kind, thing = things.get(f"{r.get('resourceType')}/{r.get('id')}", ("", {}))
        if kind in ("medicine", "prescription") and (said := doses(r, say)):
            more[id(thing)] = {"how": "\n".join(said)}
        elif kind == "need" and "refuted" in verified(r):
            more[id(thing)] = {"status_word": say(RULED_OUT)}
        elif kind == "contingency":
            called |= _named_to_ring(r)
    lists = {key: [{**item, **more.get(id(item), {})} for item in objects(plan.get(key))] for key in ("medicines", "needs") if plan.get(key)}
    known = {str(m.get("id")) for m in objects(plan.get("team"))}
    beside = [{"id": id, **who} for id, who in called.items() if id not in known]
    team = {"team": [*objects(plan.get("team")), *beside]} if beside else {}
    return {**plan, **(lists if more else {}), **team}


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
