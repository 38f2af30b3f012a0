"""The lines of the form that changes one goal, action or crisis plan: what each asks, what stands in it, what was typed, and where two people differ. Pure.

Of each line there is one text (`fill`): a day as `30/11/2026`, a choice by its word in plans, "" for nothing. Two texts are compared, never two values,
so that a line that nobody touched stays as it is, whatever it was.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any, Final
from urllib.parse import quote_plus

from ...domain.numerals import ungrouped
from .plan_view import ABOUT
from .words import _, day, plain_date, typed_day

MOST: Final = 1_000  # characters of a line in words: all lines twice, in any script, are less than a form may be
SHORT: Final = 100
FEW: Final = 700  # where a form has many of them
LONGEST: Final = 6_000  # bytes as a form sends them: what stands there already and is longer is not asked, for all of it must be less than a form may be
UNKEPT: Final = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]|[\ud800-\udfff]")
NUMBER: Final = re.compile(r"-?\d{1,9}(\.\d{1,6})?", re.ASCII)
DAY: Final = ("day", "month", "year")
Path = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Field:
    """One line. `kind`: words, list (one on each line of it), short, number, day, ten or choice."""

    path: Path
    label: str
    kind: str
    hint: str = ""
    needed: bool = False
    choices: tuple[tuple[str, str], ...] = ()
    limit: int = 0

    @property
    def name(self) -> str:
        return "-".join(self.path).replace("_", "-")

    @property
    def inputs(self) -> tuple[str, ...]:
        """The names that it has in the form."""
        return tuple(f"{self.name}-{part}" for part in DAY) if self.kind == "day" else (self.name,)

    def most(self, text: str = "") -> int:
        """Characters that may be written over this."""
        return max(self.limit or (MOST if self.kind in ("words", "list") else SHORT), len(text))


GOAL_STATES: Final = (
    ("proposed", "Only an idea so far"), ("planned", "Not begun yet"), ("accepted", "Agreed"), ("in progress", "In progress"), ("paused", "Paused"),
    ("done", "Done"), ("stopped", "Stopped"), ("rejected", "Not wanted"),
)  # fmt: skip
ACTION_STATES: Final = (
    ("proposed", "Only an idea so far"), ("planned", "Not begun yet"), ("waiting", "Waiting for an answer"), ("accepted", "Agreed"), ("in progress", "In progress"),
    ("paused", "Paused"), ("done", "Done"), ("stopped", "Stopped"), ("refused", "Not wanted"),
)  # fmt: skip
CRISIS_STATES: Final = (("draft", "Not in force yet"), ("active", "In force"), ("on hold", "Paused"), ("stopped", "Stopped"), ("completed", "Over"))
EACH: Final = "One on each line."
FIELDS: Final[Mapping[str, tuple[Field, ...]]] = {
    "goal": (
        Field(("text",), "The goal, in plain words", "words", "As the person says it.", needed=True),
        Field(("importance",), "How much it matters", "ten", "10 matters most."),
        Field(("target", "what"), "The aim", "short", "What shows that it is reached. For example: distance walked."),
        Field(("target", "value"), "How much", "number", "A number. For example: 800."),
        Field(("target", "unit"), "Of what", "short", "For example: metres, or times a week."),
        Field(("target", "by"), "By when", "day"),
        Field(("status",), "How it stands", "choice", choices=GOAL_STATES),
        Field(("status_reason",), "Why it stands so", "words"),
        Field(("review",), "Look at it again", "day"),
    ),
    "action": (
        Field(("text",), "What we will do", "words", needed=True),
        Field(("when",), "When", "short", "In words. For example: every Tuesday."),
        Field(("from",), "From", "day"),
        Field(("to",), "Until", "day"),
        Field(("status",), "How it stands", "choice", choices=ACTION_STATES),
        Field(("status_reason",), "Why it stands so", "words"),
        Field(("confidence",), "How sure I am", "ten", "10 is quite sure. The person who does it says how sure they are."),
        Field(("strategies",), "What helps", "words"),
        Field(("review",), "Look at it again", "day"),
    ),
    "contingency": (
        Field(("name",), "What this plan is called", "short"),
        Field(("triggers",), "What can set it off", "list", EACH),
        Field(("early_warnings",), "First signs", "list", EACH),
        Field(("what_should_happen",), "What should happen", "list", EACH),
        Field(("coping",), "What helps me cope", "list", EACH),
        Field(("status",), "How it stands", "choice", "Others are shown a plan that is in force first. One that is not says so.", choices=CRISIS_STATES),
    ),
    "about-me": (*(Field((key,), label, "words", limit=FEW) for key, label in ABOUT.items()), Field(("supported_to_write_by",), "Who helped me to write this", "short")),
}  # fmt: skip


# -- what stands in a line --------------------------------------------------------------------------------------------


def fill(f: Field, said: Mapping[Path, Any]) -> str:
    """The text of a line, of what is said."""
    value = said.get(f.path)
    if value is None:
        return ""
    if f.kind == "list":
        return "\n".join(" ".join(str(one).split()) for one in (value if isinstance(value, list) else [value]))
    if f.kind != "day":
        return tidy(str(value))
    on = plain_date(value)
    if on is not None:
        return f"{on.day}/{on.month}/{on.year}"
    parts = re.fullmatch(r"(\d{4})(?:-(\d\d))?", str(value))
    return f"/{(parts[2] or '').lstrip('0')}/{parts[1]}" if parts else ""


def fixed(here: Mapping[str, str]) -> frozenset[str]:
    """The names of lines that are too long to be asked for, by what stands there."""
    return frozenset(name for name, text in here.items() if len(quote_plus(text)) > LONGEST)


def held(paths: Collection[Path]) -> frozenset[str]:
    """The names of lines for what these words have no place for."""
    return frozenset(f.name for fields in FIELDS.values() for f in fields if f.path in paths)


def typed(f: Field, form: Mapping[str, Any], otherwise: str) -> str:
    """The text of a line as it was typed; `otherwise` where the form does not have it."""
    if not any(name in form for name in f.inputs):
        return otherwise
    if f.kind == "day":
        parts = [str(form.get(name, "")).strip()[:SHORT].replace("/", "") for name in f.inputs]
        return "/".join(p.lstrip("0") if p.isdecimal() else p for p in parts) if any(parts) else ""
    return tidy(str(form.get(f.name, "")))


def tidy(text: str) -> str:
    """As a browser sends it back: lines end alike, nothing around it."""
    return text.replace("\r\n", "\n").replace("\r", "\n").strip()


def boxes(f: Field, text: str) -> dict[str, str]:
    """The same as the boxes of the form have it."""
    return dict(zip(f.inputs, (text.split("/") if f.kind == "day" and text else [text] * len(f.inputs)), strict=True))


def read(f: Field, text: str, was: str = "") -> tuple[Any, str]:
    """(value for the plan or None, what is wrong with it or ""). `was`: what stood there; nobody need make it shorter."""
    if not text:
        return None, _("Write what it is about.") if f.needed else _("Choose one.") if f.kind == "choice" else ""
    if f.kind == "day":
        found = typed_day(boxes(f, text), f.name)
        return (None, found) if isinstance(found, str) else (found.isoformat() if found else None, "")
    if UNKEPT.search(text):
        return None, _("There is a sign in this that cannot be kept. Write it without.")
    if f.kind == "number":
        return _number(ungrouped(text))
    if f.kind == "ten":
        return (int(text), "") if text in map(str, range(1, 11)) else (None, _("Choose a number from 1 to 10."))
    if f.kind == "choice":
        return (text, "") if text in dict(f.choices) else (None, _("Choose one."))
    too_long = _("Write at most {most} characters. These are {many}.").format(most=f.most(was), many=len(text))
    value = [one for line in text.split("\n") if (one := line.strip())] if f.kind == "list" else text
    return value, too_long if len(text) > f.most(was) else ""


def _number(text: str) -> tuple[Decimal | int | None, str]:
    """How much an aim is: never less than nothing."""
    if not NUMBER.fullmatch(text):
        return None, _("Use a full stop for part of a number, as in 2.5. Use a comma only for thousands, as in 1,250.") if "," in text else _("Write a number. For example 800 or 2.5.")
    if text.startswith("-"):
        return None, _("Write 0 or more. If something is to get less, say so in words in the aim.")
    return Decimal(text) if "." in text else int(text), ""


def options(f: Field, text: str) -> list[tuple[str, str]]:
    """What can be chosen; what stands there and is none of these is one more."""
    known = [(str(n), str(n)) for n in range(1, 11)] if f.kind == "ten" else [(code, _(words)) for code, words in f.choices]
    known = [("", _("Not said")), *known] if f.kind == "ten" or not text else known
    return known if text in dict(known) else [*known, (text, text)]


def in_words(f: Field, text: str) -> str:
    """A line as people read it."""
    if not text:
        return _("Nothing")
    if f.kind == "choice":
        return _(dict(f.choices).get(text, text))
    if f.kind == "ten":
        return _("{n} out of 10").format(n=text)
    if f.kind == "day":
        found = typed_day(boxes(f, text), f.name)
        month = re.fullmatch(r"/(\d{1,2})/(\d{4})", text)
        return day(found) if isinstance(found, date) else day(f"{month[2]}-{int(month[1]):02}") if month else text.strip("/").replace("/", " ")
    return text


# -- what was said of it ----------------------------------------------------------------------------------------------


def wanted(kind: str, was: Mapping[str, str], mine: Mapping[str, str]) -> tuple[dict[Path, Any], dict[str, str]]:
    """What is to be said otherwise, by its path, and what is wrong, by the name of the line."""
    values: dict[Path, Any] = {}
    errors: dict[str, str] = {}
    for f in FIELDS[kind]:
        if mine[f.name] != was[f.name]:
            value, wrong = read(f, mine[f.name], was[f.name])
            if wrong:
                errors[f.name] = f"{_(f.label)}: {wrong}"
            else:
                values[f.path] = value
    if kind == "action" and not errors and _backwards(mine):
        errors["to"] = _("The last day must not be before the first.")
    return values, errors


def _backwards(mine: Mapping[str, str]) -> bool:
    first, last = (typed_day(boxes(f, mine[f.name]), f.name) for f in FIELDS["action"] if f.name in ("from", "to"))
    return isinstance(first, date) and isinstance(last, date) and last < first


@dataclass(frozen=True, slots=True)
class Line:
    """One line where what I wrote and what is there now differ. `was`: before either; None where that is not known. `clash`: both changed it."""

    field: Field
    was: str | None
    theirs: str
    mine: str
    pick: str = ""  # theirs, mine or not chosen yet

    @property
    def clash(self) -> bool:
        return self.was is None or self.was not in (self.theirs, self.mine)


def lines(kind: str, was: Mapping[str, str] | None, theirs: Mapping[str, str], mine: Mapping[str, str], picks: Mapping[str, str]) -> list[Line]:
    """Every line where the two differ. Where only one of them changed it, that one is picked before anybody chooses."""
    out = []
    for f in FIELDS[kind]:
        if theirs[f.name] != mine[f.name]:
            line = Line(f, was[f.name] if was is not None else None, theirs[f.name], mine[f.name])
            first = "" if line.clash else "theirs" if line.mine == line.was else "mine"
            out.append(Line(f, line.was, line.theirs, line.mine, picks.get(f.name) or first))
    return out


def texts(kind: str, said: Mapping[Path, Any]) -> dict[str, str]:
    """Every line's text, by its name."""
    return {f.name: fill(f, said) for f in FIELDS[kind]}


def names(kind: str) -> Sequence[str]:
    """Every name that the form may have."""
    return [name for f in FIELDS[kind] for name in (*f.inputs, f"pick-{f.name}")]


__all__ = ["FIELDS", "Field", "Line", "boxes", "fill", "fixed", "held", "in_words", "lines", "names", "options", "read", "texts", "typed", "wanted"]
