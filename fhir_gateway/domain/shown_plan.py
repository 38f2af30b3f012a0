"""A plan as a page or a paper shows it: with what its records say that a plan has no place for. Never one to be kept. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from .mapping.foreign import verified
from .medicines import doses
from .written_down import Say, as_written, objects

RULED_OUT: Final = "Ruled out"


def shown_plan(plan: Mapping[str, Any], things: Mapping[str, tuple[str, Mapping[str, Any]]], record: Iterable[Mapping[str, Any]], say: Say = as_written) -> dict[str, Any]:
    """Each medicine with all that is said of how it is taken, in sequence; a need that was refuted says so.
    `say`: in the reader's language. `things`: which thing of the plan a resource is (`mapping.Read.became`)."""
    more: dict[int, dict[str, str]] = {}
    for r in record:
        kind, thing = things.get(f"{r.get('resourceType')}/{r.get('id')}", ("", {}))
        if kind in ("medicine", "prescription") and (said := doses(r, say)):
            more[id(thing)] = {"how": "\n".join(said)}
        elif kind == "need" and "refuted" in verified(r):
            more[id(thing)] = {"status_word": say(RULED_OUT)}
    lists = {key: [{**item, **more.get(id(item), {})} for item in objects(plan.get(key))] for key in ("medicines", "needs") if plan.get(key)}
    return {**plan, **lists} if more else dict(plan)
