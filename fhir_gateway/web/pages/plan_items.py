"""Pieces of a plan as a page shows them: a label and its words, a card, and how to read an odd plan without stumbling. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from .pictures import Progress, Wheel
from .words import _, day


@dataclass(frozen=True, slots=True)
class Line:
    """A label and what stands beside it."""

    label: str
    text: str


@dataclass(frozen=True, slots=True)
class Item:
    """A goal, an action, a need: its sentence, a coloured word for how it stands, lines below it, a picture; codes without words."""

    id: str
    text: str
    state: str = ""
    colour: str = "grey"
    lines: tuple[Line, ...] = ()
    picture: Progress | None = None
    codes: tuple[str, ...] = ()
    wheel: Wheel | None = None
    where: str = ""  # that it stands in another record of the person, or is of others
    type: str = ""  # of the resource, where it is of others


def elsewhere(own: bool) -> str:
    """That something stands in another record of the same person."""
    return _("In another record about me") if own else _("In another record of this person")


def list_of(plan: dict[str, Any], key: str) -> list[dict[str, Any]]:
    """A list of objects; whatever else an odd plan has there is left aside."""
    value = plan.get(key)
    return [v for v in value if isinstance(v, dict)] if isinstance(value, list) else []


def thing(value: Any) -> dict[str, Any]:
    """An object, or an empty one where an odd plan has something else."""
    return value if isinstance(value, dict) else {}


def texts(value: Any) -> list[str]:
    """A list of texts; empty for whatever else an odd plan has there."""
    return [str(v) for v in value] if isinstance(value, list) else []


def undescribed(*concepts: Any) -> tuple[str, ...]:
    """Codes that come without words, as `system|code`: the page folds them away."""
    found = [c for c in map(thing, concepts) if c.get("code") and not (c.get("display") or c.get("text"))]
    return tuple(dict.fromkeys(f"{c['system']}|{c['code']}" if c.get("system") else str(c["code"]) for c in found))


def lines(*pairs: tuple[str, Any]) -> tuple[Line, ...]:
    """Those that say something."""
    return tuple(Line(label, str(text)) for label, text in pairs if text not in (None, "", []))


def note(n: dict[str, Any], name: Callable[[Any], str]) -> str:
    who = ", ".join(t for t in (name(n.get("by")), day(n.get("on"))) if t)
    return f"{n.get('text', '')} ({who})" if who else str(n.get("text", ""))


def span(start: Any, end: Any) -> str:
    if start and end:
        return _("from {start} to {end}").format(start=day(start), end=day(end))
    if start:
        return _("from {start}").format(start=day(start))
    return _("until {end}").format(end=day(end)) if end else ""
