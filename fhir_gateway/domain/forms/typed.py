"""What somebody typed into a page of a form, as answers; what cannot be read is said, by the name of the question.

Only what was asked on the page is taken, so that a page never changes another's answers.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any, Final

from ..numerals import ungrouped
from ..periods import LONDON
from .items import EXTENSION, Node, answers, extension, items, link
from .pages import MOST, UNIT, Group, Question, options, tops

Fields = Mapping[str, Sequence[str]]
Day = Callable[[str], "str | Mistake | None"]  # the day typed under this name, as `2026-11-30`, `2026-11` or `2026`; None: nothing was typed
LONGEST: Final = 10_000
_NUMBER: Final = re.compile(r"[+-]?\d{1,15}(\.\d{1,10})?\Z")
_TIME: Final = re.compile(r"([01]\d|2[0-3]):([0-5]\d)(:[0-5]\d)?\Z")


@dataclass(frozen=True, slots=True)
class Mistake:
    """What is wrong: a key for words, and what stands in them."""

    why: str
    with_: str = ""


@dataclass(slots=True)
class Reading:
    """One page, read. `mistakes` by the name of the question."""

    fields: Fields
    day: Day
    asked: frozenset[str]  # names that stood on the page
    mistakes: dict[str, Mistake] = field(default_factory=dict)

    def page(self, form: Node, response: Node, n: int) -> list[Node]:
        """The response's items with what this page says in the place of what it said before."""
        top = tops(form)[n]
        mine = top["places"] if top.get("type") == "page" else [n]
        return self._below(form, response, "q", mine)

    def _below(self, asked: Node, got: Node, prefix: str, mine: list[int] | None = None) -> list[Node]:
        held: dict[str, list[Node]] = {}
        for item in items(got):
            held.setdefault(link(item), []).append(item)
        out: list[Node] = []
        for n, q in enumerate(items(asked)):
            name = f"{prefix}{'' if prefix == 'q' else '-'}{n}"
            before = held.get(link(q), [])
            if (mine is not None and n not in mine) or name not in self.asked:
                out += before
            elif q.get("type") == "group":
                out += self._group(q, before, name)
            elif q.get("type") != "display":
                out += self._question(q, before[0] if before else {}, name)
        return out

    def _group(self, q: Node, before: list[Node], name: str) -> list[Node]:
        out: list[Node] = []
        for n in range(MOST if q.get("repeats") is True else 1):
            if not any(a.startswith(f"{name}-{n}-") for a in self.asked) and n >= len(before):
                break
            was = before[n] if n < len(before) else {}
            below = self._below(q, was, f"{name}-{n}")
            if below:
                out.append({"linkId": link(q), **({"text": q["text"]} if "text" in q else {}), "item": below})
        return out

    def _question(self, q: Node, before: Node, name: str) -> list[Node]:
        given = answers(before) if q.get("readOnly") is True else self._given(q, name)
        if not given:
            return []
        if items(q):
            was = answers(before)[0] if answers(before) else {}
            below = self._below(q, was, f"{name}-0")
            given = [{**given[0], **({"item": below} if below else {})}, *given[1:]]
        return [{"linkId": link(q), **({"text": q["text"]} if "text" in q else {}), "answer": given}]

    def _given(self, q: Node, name: str) -> list[Node]:
        kind, offered = str(q.get("type")), options(q)
        if kind in ("date", "dateTime"):
            names = [name, *(f"{name}-a{i}" for i in range(1, MOST) if q.get("repeats") is True)]
            return [a for d in names if (a := self._dated(d, name, kind))]
        texts = [t.strip().replace("\r\n", "\n") for t in self.fields.get(name, ())]
        free = [t.strip() for t in self.fields.get(f"{name}-own", ()) if t.strip()]
        out: list[Node] = []
        for text in [t for t in texts if t][: MOST if q.get("repeats") is True else 1]:
            found = self._choice(q, text, offered, free) if offered and kind.endswith("choice") else self._read(q, kind, text)
            if isinstance(found, Mistake):
                self.mistakes.setdefault(name, found)
            elif found is not None:
                out.append(found)
        return out

    def _dated(self, name: str, of: str, kind: str) -> Node | None:
        found = self.day(name)
        if kind == "dateTime" and not isinstance(found, Mistake):
            found = _timed(found or "", next((t.strip() for t in self.fields.get(f"{name}-time", ())), ""))
        if isinstance(found, Mistake):
            self.mistakes.setdefault(of, found)
            return None
        return {"valueDate" if kind == "date" else "valueDateTime": found} if found else None

    def _choice(self, q: Node, text: str, offered: list[Any], free: list[str]) -> Node | Mistake | None:
        if text == "own" and q.get("type") == "open-choice":
            return {"valueString": free[0][:LONGEST]} if free else Mistake("own")
        if not text.isdigit() or len(text) > 4 or int(text) >= len(offered):
            return Mistake("choose")
        v = offered[int(text)]
        kind = "Coding" if type(v) is dict else "Integer" if type(v) is int else _kept(q, v)
        return {"value" + kind: v}

    def _read(self, q: Node, kind: str, text: str) -> Node | Mistake | None:
        if kind == "boolean":
            return {"valueBoolean": text == "yes"} if text in ("yes", "no") else Mistake("choose")
        if kind in ("string", "text", "url", "open-choice"):
            most = q.get("maxLength")
            limit = most if type(most) is int else LONGEST
            if len(text) > limit:
                return Mistake("long", str(limit))
            line = " ".join(text.split()) if kind == "string" else text
            return {"valueUri" if kind == "url" else "valueString": line}
        if kind in ("integer", "decimal", "quantity"):
            return self._number(q, kind, text)
        if kind == "time":
            return {"valueTime": text if len(text) == 8 else text + ":00"} if _TIME.match(text) else Mistake("time")
        return Mistake("other")

    def _number(self, q: Node, kind: str, text: str) -> Node | Mistake:
        plain = ungrouped(text)
        if not _NUMBER.match(plain):
            return Mistake("comma" if "," in text else "number")
        number = Decimal(plain)
        if kind == "integer" and (number != number.to_integral_value() or abs(number) > 2_147_483_647):
            return Mistake("whole")
        low, high = (extension(q, EXTENSION + e) for e in ("minValue", "maxValue"))
        if _is_number(low) and number < Decimal(str(low)):
            return Mistake("low", str(low))
        if _is_number(high) and number > Decimal(str(high)):
            return Mistake("high", str(high))
        if kind == "integer":
            return {"valueInteger": int(number)}
        if kind == "decimal":
            return {"valueDecimal": number}
        unit = extension(q, UNIT)
        about = {"unit": unit.get("display") or unit.get("code"), "system": unit.get("system"), "code": unit.get("code")} if type(unit) is dict else {}
        return {"valueQuantity": {"value": number, **{k: v for k, v in about.items() if v}}}


def _timed(day: str, typed: str) -> str | Mistake:
    """A day with the time that was typed, in London; the day, the month or the year alone where none was."""
    if not typed:
        return day
    if not _TIME.match(typed):
        return Mistake("time")
    if len(day) < len("2026-11-30"):
        return Mistake("day-of-time")
    return datetime.combine(date.fromisoformat(day), time.fromisoformat(typed), LONDON).isoformat()


def _kept(q: Node, v: Any) -> str:
    """The type of an option that is a text: a date, a time or words."""
    for option in q.get("answerOption", []):
        for k, o in option.items():
            if k.startswith("value") and o == v:
                return str(k[5:])
    return "String"


def _is_number(found: Any) -> bool:
    return isinstance(found, (int, Decimal)) and not isinstance(found, bool)


def missing(shown: list[Any]) -> list[Question]:
    """The questions on a page that must be answered and are not."""
    out: list[Question] = []
    for one in shown:
        if isinstance(one, Question) and one.required and not any(one.values) and one.kind not in ("fixed", "other"):
            out.append(one)
        elif isinstance(one, Group):
            for n, turn in enumerate(one.turns):
                started = (n == 0 and one.required) or any(any(q.values) for q in _all(list(turn)))
                out += missing(list(turn)) if started else []
    return out


def nothing(shown: list[Any]) -> bool:
    """Is something asked here, and nothing of it answered."""
    asked = [q for q in _all(shown) if q.kind not in ("fixed", "other")]
    return bool(asked) and not any(any(q.values) for q in asked)


def _all(shown: list[Any]) -> list[Question]:
    return [q for one in shown for q in ([one] if isinstance(one, Question) else _all([x for t in one.turns for x in t]) if isinstance(one, Group) else [])]
