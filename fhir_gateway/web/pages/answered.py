"""Answers and what became of them, for people to read; a wheel as a picture with the same facts in a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import cos, pi, sin
from typing import Any

from ...domain.forms.pages import Group, Question, Text
from .words import _, day, short

MIDDLE, LONG, MOST = 160, 110, 10  # a picture of 320 by 320; a spoke of ten is 110 long
WORDS = {"yes": "Yes", "no": "No"}


@dataclass(frozen=True, slots=True)
class Spoke:
    """One spoke of a wheel: its name, the numbers, and where its name stands."""

    name: str
    now: str
    hoped: str
    end: tuple[int, int]
    label: tuple[int, int]
    anchor: str


@dataclass(frozen=True, slots=True)
class Wheel:
    """A wheel: where the person is, and where they would like to be, as outlines."""

    title: str
    spokes: tuple[Spoke, ...]
    now: str  # points of a polygon
    hoped: str


@dataclass(frozen=True, slots=True)
class Thing:
    """What answers became: what kind of thing, in words, and a wheel where it is one."""

    kind: str
    text: str
    wheel: Wheel | None = None


def rows(shown: Sequence[Any]) -> list[tuple[str, str]]:
    """(question, answer) of a page, in order; what was not answered is said to be so."""
    out: list[tuple[str, str]] = []
    for one in shown:
        if isinstance(one, Question):
            out.append((one.label, said(one)))
        elif isinstance(one, Group):
            for n, turn in enumerate(one.turns):
                found = rows(turn)
                if one.repeats and len(one.turns) > 1:
                    found = [(f"{label} ({n + 1})", text) for label, text in found]
                out += found
        else:
            assert isinstance(one, Text)
    return out


def said(q: Question) -> str:
    """The answers in words."""
    options = dict(q.options)
    if q.kind == "date":
        return "\n".join(day(v) for v in q.values) or _("Not answered")
    found = [options.get(v, v) if q.options else _(WORDS[v]) if q.kind == "boolean" and v in WORDS else v for v in q.values]
    return "\n".join(f"{v} {q.unit}".strip() for v in found if v) or _("Not answered")


def thing(resource: Mapping[str, Any]) -> Thing:
    """A resource in words."""
    type = str(resource.get("resourceType"))
    if type == "Goal":
        return Thing(_("A goal"), str(resource.get("description", {}).get("text", "")))
    if type == "CarePlan":
        return Thing(_("A plan"), str(resource.get("title", "")))
    text = str(resource.get("code", {}).get("text") or "") if isinstance(resource.get("code"), dict) else ""
    if type == "Observation" and resource.get("component"):
        return Thing(_("A wheel"), text, wheel(resource))
    value = next((v for k, v in resource.items() if k.startswith("value")), "")
    if isinstance(value, dict):
        value = f"{short(value['value'])} {value.get('unit', '')}".strip() if "value" in value else value.get("text") or ""
    return Thing(_("Something in my record"), f"{text}: {short(value)}" if value != "" else text or str(resource.get("description", "")))


def wheel(resource: Mapping[str, Any]) -> Wheel:
    """The picture of a panel with a whole number from 1 to 10 for each spoke."""
    found = []
    for c in resource["component"]:
        low = next((r["low"].get("value") for r in c.get("referenceRange", []) if isinstance(r.get("low"), dict)), None)
        found.append((str(c.get("code", {}).get("text", "")), c.get("valueInteger"), low))
    spokes, now, hoped = [], [], []
    for n, (name, at, wanted) in enumerate(found):
        turn = 2 * pi * n / len(found) - pi / 2
        now.append(_point(turn, at))
        hoped.append(_point(turn, wanted if wanted is not None else at))
        x = MIDDLE + (LONG + 14) * cos(turn)
        anchor = "middle" if abs(x - MIDDLE) < 20 else "start" if x > MIDDLE else "end"
        spokes.append(Spoke(name, _number(at), _number(wanted), _point(turn, MOST), (round(x), round(MIDDLE + (LONG + 14) * sin(turn) + 4)), anchor))
    return Wheel(str(resource.get("code", {}).get("text", "")), tuple(spokes), _outline(now), _outline(hoped))


def _point(turn: float, far: Any) -> tuple[int, int]:
    length = LONG * min(max(float(far), 0), MOST) / MOST if far is not None else 0
    return round(MIDDLE + length * cos(turn)), round(MIDDLE + length * sin(turn))


def _outline(points: Sequence[tuple[int, int]]) -> str:
    return " ".join(f"{x},{y}" for x, y in points)


def _number(found: Any) -> str:
    return short(found) if found is not None else ""
