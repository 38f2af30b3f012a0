"""A form as pages: a page for each group at the top, what is open on it, and what somebody typed into it. Pure.

Every question has a name made of places only (`q1-0-2`: second question, first turn, third question in it), so that no linkId, whatever
it is, ends up in a page.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from ..periods import LONDON
from .enabling import Conditions
from .items import EXTENSION, Node, answers, extension, extensions, items, link, nodes, value

CONTROL: Final = EXTENSION + "questionnaire-itemControl"
HIDDEN: Final = EXTENSION + "questionnaire-hidden"
UNIT: Final = EXTENSION + "questionnaire-unit"
PLAIN: Final = ("string", "text", "url", "integer", "decimal", "quantity", "time")
MOST: Final = 20  # turns of one question or group on a page
Turns = Mapping[str, int]  # by name of a group or question


@dataclass(frozen=True, slots=True)
class Question:
    """One question where it stands: what is asked and what is answered. `kind`: text, line, number, boolean, date, dateTime, one, many, fixed, other."""

    name: str
    link: str
    kind: str
    label: str
    help: str = ""
    required: bool = False
    repeats: bool = False
    values: tuple[str, ...] = ()
    options: tuple[tuple[str, str], ...] = ()  # (value, words)
    free: bool = False  # an answer of one's own besides the options
    unit: str = ""
    limits: tuple[str, str] = ("", "")
    most: int = 0  # letters

    @staticmethod
    def boxes(text: str) -> tuple[str, str, str, str]:
        """Year, month, day and time of a date or instant, "" for what it does not say; the time in London."""
        if "T" not in text:
            year, month, day, *_ = [*text.split("-"), "", ""]
            return year, month, day, ""
        try:
            at = datetime.fromisoformat(text).astimezone(LONDON)
        except (ValueError, OverflowError):
            return "", "", "", ""
        return f"{at:%Y}", f"{at:%m}", f"{at:%d}", f"{at:%H:%M:%S}".removesuffix(":00")


@dataclass(frozen=True, slots=True)
class Group:
    """Questions that belong together; `turns` more than one where it repeats."""

    name: str
    label: str
    help: str
    repeats: bool
    turns: tuple[tuple[Any, ...], ...]  # of Question, Group, Text
    required: bool = False


@dataclass(frozen=True, slots=True)
class Text:
    """Words between questions."""

    words: str


@dataclass(slots=True)
class View:
    """What is open of a form with these answers. `more`: so many empty turns besides; `least`: so many turns at least."""

    form: Node
    response: Node
    more: Turns = field(default_factory=dict)
    least: Turns = field(default_factory=dict)
    _conditions: Conditions = field(init=False)

    def __post_init__(self) -> None:
        self._conditions = Conditions(self.form)

    def pages(self) -> list[tuple[int, str]]:
        """(number of the top item, its words) of each page that is open; questions at the top that are no group are one page."""
        root = [("", self.response)]
        return [(n, str(q.get("text") or "")) for n, q in enumerate(tops(self.form)) if (q.get("places") if q.get("type") == "page" else self._conditions.enabled(q, root))]

    def page(self, n: int) -> list[Any]:
        """What stands on a page."""
        top = tops(self.form)[n]
        if top.get("type") == "page":
            return self._below(top, self.response, "q", [("", self.response)], only=top["places"])
        return self._below(self.form, self.response, "q", [("", self.response)], only=[n])

    def _below(self, asked: Node, got: Node, prefix: str, inside: list[tuple[str, Node]], only: list[int] | None = None) -> list[Any]:
        found: dict[str, list[Node]] = {}
        for item in items(got):
            found.setdefault(link(item), []).append(item)
        out: list[Any] = []
        for n, q in enumerate(items(self.form if only is not None else asked)):
            if (only is not None and n not in only) or extension(q, HIDDEN) is True or not self._conditions.enabled(q, inside):
                continue
            name = f"{prefix}{'' if prefix == 'q' else '-'}{n}"
            if q.get("type") == "display":
                if not is_help(q):
                    out.append(Text(str(q.get("text", ""))))
            elif q.get("type") == "group":
                out.append(self._group(q, found.get(link(q), []), name, inside))
            else:
                out += self._asked(q, found.get(link(q), []), name, inside)
        return out

    def _group(self, q: Node, got: list[Node], name: str, inside: list[tuple[str, Node]]) -> Group:
        wanted = max(len(got), 1, self.least.get(name, 0)) + self.more.get(name, 0)
        turns = [*got, *({"linkId": link(q)} for _ in range(min(wanted, MOST) - len(got)))]
        repeats = q.get("repeats") is True
        shown = turns[:MOST] if repeats else turns[:1]
        below = tuple(tuple(self._below(q, item, f"{name}-{n}", [*inside, (link(q), item)])) for n, item in enumerate(shown))
        return Group(name, str(q.get("text", "")), help_of(q), repeats, below, q.get("required") is True)

    def _asked(self, q: Node, got: list[Node], name: str, inside: list[tuple[str, Node]]) -> list[Any]:
        item = got[0] if got else {"linkId": link(q)}
        given = answers(item)
        out: list[Any] = [question(q, name, [value(a)[1] for a in given], self.more.get(name, 0))]
        if any(not is_help(x) for x in items(q)):
            first = given[0] if given else {}
            out += self._below(q, first, f"{name}-0", [*inside, (link(q), item)])
        return out


def tops(form: Node) -> list[Node]:
    """The pages of a form: each group at its top; if there are questions beside groups, those are a page of their own, the first."""
    top = items(form)
    loose = [n for n, q in enumerate(top) if q.get("type") not in ("group",)]
    if not loose:
        return top
    first: Node = {"type": "page", "places": loose, "text": form.get("title", "")}
    return [{**q, "type": "page", "places": []} if n in loose[1:] else first if n == loose[0] else q for n, q in enumerate(top)]


def expanded(form: Node) -> Node:
    """The form with the codes of its own value sets as options of the questions that ask for them; others are not known here."""
    held = {"#" + str(v.get("id")): _codes(v) for v in nodes(form, "contained") if v.get("resourceType") == "ValueSet"}
    return _expanded(form, held) if any(held.values()) else form


def _expanded(node: Node, held: Mapping[str, list[Node]]) -> Node:
    found = held.get(str(node.get("answerValueSet")), [])
    out = {**node, "answerOption": [{"valueCoding": c} for c in found]} if found else dict(node)
    return {**out, "item": [_expanded(i, held) for i in items(node)]} if "item" in node else out


def _codes(value_set: Node) -> list[Node]:
    """What a value set lists; nothing where it is more than a list."""
    compose = value_set.get("compose")
    includes = nodes(compose, "include") if type(compose) is dict else []
    if any("filter" in i or "valueSet" in i or "concept" not in i for i in includes):
        return []
    return [{"system": i.get("system"), **{k: c[k] for k in ("code", "display") if k in c}} for i in includes for c in nodes(i, "concept")]


def question(q: Node, name: str, given: list[Any], more: int = 0) -> Question:
    """As it is shown."""
    kind, repeats = str(q.get("type")), q.get("repeats") is True
    offered = options(q)
    how = "other"
    if q.get("readOnly") is True:
        how = "fixed"
    elif kind in ("choice", "open-choice") and offered:
        how = "many" if repeats else "one"
    elif kind in ("boolean", "date", "dateTime", "text"):
        how = kind
    elif kind in PLAIN:
        how = "number" if kind in ("integer", "decimal", "quantity") else "line"
    elif kind == "open-choice":
        how = "line"
    shown = [typed(v, offered) for v in given]
    if how in ("text", "line", "number", "date", "dateTime") and repeats:
        shown = [*(shown or [""]), *([""] * more)][:MOST] if more else shown
    low, high = (_limit(extension(q, EXTENSION + e)) for e in ("minValue", "maxValue"))
    unit = extension(q, UNIT)
    most = q.get("maxLength")
    return Question(
        name, link(q), how, str(q.get("text") or ""), help_of(q), q.get("required") is True, repeats and how not in ("many",), tuple(shown),
        tuple((str(n), words(v)) for n, v in enumerate(offered)), kind == "open-choice" and bool(offered),
        words(unit) if type(unit) is dict else "", (low, high), most if type(most) is int else 0,
    )  # fmt: skip


def _limit(found: Any) -> str:
    return str(found) if found is not None and type(found) is not dict else ""


def options(q: Node) -> list[Any]:
    """The values that a question offers."""
    return [v for kind, v in map(value, nodes(q, "answerOption")) if kind]


def typed(v: Any, offered: list[Any]) -> str:
    """An answer as it is typed; a choice by its number."""
    if v in offered:
        return str(offered.index(v))
    if type(v) is dict and "value" in v:
        return str(v["value"])
    if type(v) is bool:
        return "yes" if v else "no"
    return words(v)


def words(v: Any) -> str:
    """A value for people to read."""
    if type(v) is dict:
        if "value" in v:
            return f"{v['value']} {v.get('unit') or v.get('code') or ''}".strip()
        return str(v.get("display") or v.get("code") or v.get("reference") or v.get("title") or "")
    return str(v)


def is_help(q: Node) -> bool:
    """Words that help with the item they stand below."""
    control = extension(q, CONTROL)
    codes = nodes(control, "coding") if type(control) is dict else []
    return q.get("type") == "display" and any(c.get("code") in ("help", "flyover", "instructions") for c in codes)


def help_of(q: Node) -> str:
    return " ".join(str(x.get("text", "")) for x in items(q) if is_help(x))


def questions(shown: list[Any]) -> list[Question]:
    """Every question on a page, in order."""
    out: list[Question] = []
    for one in shown:
        if isinstance(one, Question):
            out.append(one)
        elif isinstance(one, Group):
            for turn in one.turns:
                out += questions(list(turn))
    return out


__all__ = ["Group", "Question", "Text", "View", "extensions", "questions", "tops", "words"]
