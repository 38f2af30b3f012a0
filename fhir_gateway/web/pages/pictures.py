"""Pictures drawn by the server, each with the same facts as a table behind it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from math import cos, pi, sin
from typing import Any

from ...domain.in_force import how_it_went, is_done, is_off, step_state, steps_of
from ...domain.results import HOPED
from .words import _, day, plain_date, short

MIDDLE, LONG, MOST = 160, 110, 10  # a wheel in a picture of 320 by 320: a spoke of ten is 110 long
LEFT, RIGHT = 16, 304  # where the line starts and ends, in the units of a picture 320 wide


@dataclass(frozen=True, slots=True)
class Mark:
    """One thing that happened on the way: at `x` on the line, drawn as `shape` (met, better, same, worse)."""

    x: int
    shape: str
    on: str
    text: str
    by: str


@dataclass(frozen=True, slots=True)
class Step:
    """A step on the way to a goal; `on` is the day it was done, in words."""

    text: str
    done: bool
    on: str
    state: str = ""  # that it was called off, or what came of it other than hoped
    off: bool = False


@dataclass(frozen=True, slots=True)
class Progress:
    """How a goal goes: the line from start to the day it is meant for, what happened, the steps on the way."""

    title: str
    start: str
    end: str
    now: int | None  # x of today, None when today is not on the line
    marks: tuple[Mark, ...]
    steps: tuple[Step, ...]
    done: int

    @property
    def has_line(self) -> bool:
        """Is there a first and a last day to draw a line between."""
        return bool(self.start and self.end)


SHAPES = {"improving": "better", "better": "better", "met": "met", "worse": "worse", "worsening": "worse"}


def progress(goal: dict[str, Any], today: date, name: Callable[[str | None], str]) -> Progress | None:
    """The picture of one goal of a plan, or None when there is nothing to draw."""
    stages = steps_of(goal)
    outcomes = _things(goal.get("outcomes"))
    target = goal.get("target")
    start = plain_date(goal.get("start"))
    end = plain_date(target.get("by") if isinstance(target, dict) else None) or plain_date(goal.get("review"))
    line = _line(start, end)
    steps = tuple(Step(str(s.get("text", "")), is_done(s), day(s.get("on")), step_state(s, _), is_off(s)) for s in stages)
    marks = []
    for s in stages:
        if is_done(s) and line and (on := plain_date(s.get("on"))):
            marks.append(Mark(line(on), "met", day(on), _("Step done: ") + str(s.get("text", "")), ""))
    for o in outcomes:
        on = plain_date(o.get("on"))
        if on:
            shape = SHAPES.get(str(o.get("result", "")), "same")
            text = how_it_went(o, _)
            marks.append(Mark(line(on) if line else 0, shape, day(on), text, name(o.get("by"))))
    if not steps and not marks and line is None:
        return None
    return Progress(
        title=_("Progress of this goal"),
        start=day(start) if line and start else "",
        end=day(end) if line and end else "",
        now=line(today) if line and start and end and start <= today <= end else None,
        marks=tuple(_apart(marks)),
        steps=steps,
        done=sum(s.done for s in steps),
    )


def _things(value: Any) -> list[dict[str, Any]]:
    return [v for v in value if isinstance(v, dict)] if isinstance(value, list) else []


def _line(start: date | None, end: date | None) -> Callable[[date], int] | None:
    """Where a day lies on the line; days outside it are put at its ends."""
    if start is None or end is None or end <= start:
        return None
    days = (end - start).days
    return lambda on: LEFT + round((RIGHT - LEFT) * min(max((on - start).days / days, 0), 1))


def _apart(marks: list[Mark]) -> list[Mark]:
    """Marks of the same day stand side by side, so that each can be seen."""
    out: list[Mark] = []
    for m in sorted(marks, key=lambda m: m.x):
        x = m.x if not out or m.x - out[-1].x >= 18 else out[-1].x + 18
        out.append(Mark(min(x, RIGHT), m.shape, m.on, m.text, m.by))
    return out


# -- a wheel ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Spoke:
    """One spoke of a wheel: its name, the numbers, and where its name stands. `grows`: what it would be a goal to change."""

    name: str
    now: str
    hoped: str
    end: tuple[int, int]
    label: tuple[int, int]
    anchor: str
    place: int = 0  # among the spokes, from 0
    grows: bool = False


@dataclass(frozen=True, slots=True)
class Wheel:
    """A wheel: where the person is, and where they would like to be, as outlines. `ref`: the Observation that it is, where that is known."""

    title: str
    spokes: tuple[Spoke, ...]
    now: str  # points of a polygon
    hoped: str
    ref: str = ""

    @property
    def growing(self) -> list[Spoke]:
        """Those to make a goal of, the lowest first."""
        return sorted((s for s in self.spokes if s.grows), key=lambda s: Decimal(s.now))


def wheel(resource: Mapping[str, Any]) -> Wheel:
    """The picture of a panel with a number up to ten for each spoke; what is hoped for is an extension of ours, else the low end of a range."""
    found: list[_Numbers] = []
    for c in _things(resource.get("component")):
        low = next((r["low"].get("value") for r in _things(c.get("referenceRange")) if isinstance(r.get("low"), dict)), None)
        wanted = next((x.get("valueInteger") for x in _things(c.get("extension")) if x.get("url") == HOPED), low)
        found.append((_called(c.get("code")), _counted(c.get("valueInteger")), _counted(wanted)))
    return _turned(_called(resource.get("code")), found, f"Observation/{resource['id']}" if resource.get("id") else "")


def planned_wheel(w: Mapping[str, Any]) -> Wheel | None:
    """The same of a wheel as a plan has it; None where it has no spokes."""
    found = [(str(s.get("name") or _("Not described")), _counted(s.get("now")), _counted(s.get("next"))) for s in _things(w.get("spokes"))]
    return _turned(str(w.get("title") or _("My wheel")), found) if found else None


_Numbers = tuple[str, int | Decimal | None, int | Decimal | None]  # a spoke's name, where one is, where one hopes to be


def _turned(title: str, found: Sequence[_Numbers], ref: str = "") -> Wheel:
    spokes, now, hoped = [], [], []
    lowest = min((at for _name, at, _wanted in found if at is not None), default=None)
    for n, (name, at, wanted) in enumerate(found):
        turn = 2 * pi * n / len(found) - pi / 2
        now.append(_point(turn, at))
        hoped.append(_point(turn, wanted if wanted is not None else at))
        x = MIDDLE + (LONG + 14) * cos(turn)
        anchor = "middle" if abs(x - MIDDLE) < 20 else "start" if x > MIDDLE else "end"
        label = round(x), round(MIDDLE + (LONG + 14) * sin(turn) + 4)
        grows = at is not None and (at == lowest and at < MOST if wanted is None else wanted > at)
        spokes.append(Spoke(name, _number(at), _number(wanted), _point(turn, MOST), label, anchor, n, grows))
    return Wheel(title, tuple(spokes), _outline(now), _outline(hoped), ref)


def _called(concept: Any) -> str:
    return str(concept.get("text") or "") if isinstance(concept, dict) else ""


def _counted(found: Any) -> int | Decimal | None:
    return found if type(found) in (int, Decimal) else None


def _point(turn: float, far: int | Decimal | None) -> tuple[int, int]:
    length = LONG * float(min(max(far, 0), MOST)) / MOST if far is not None else 0
    return round(MIDDLE + length * cos(turn)), round(MIDDLE + length * sin(turn))


def _outline(points: Sequence[tuple[int, int]]) -> str:
    return " ".join(f"{x},{y}" for x, y in points)


def _number(found: int | Decimal | None) -> str:
    return short(found) if found is not None else ""
