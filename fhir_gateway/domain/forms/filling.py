"""A response with what is known already: `$populate`. https://hl7.org/fhir/uv/sdc/populate.html

`initial` values, then `initialExpression` over the launch context, then the person's own latest Observations where the question says how
old they may be. What is filled in is a proposal: whoever answers looks at it. What is not open is not filled.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from ..problem import Issue
from .enabling import pruned
from .items import EXTENSION, SDC, Node, expression, extension, items, link, nodes, value
from .saying import Speech

UNIT: Final = EXTENSION + "questionnaire-unit"
DAYS: Final = {"a": 366, "mo": 31, "wk": 7, "d": 1, "year": 366, "years": 366, "month": 31, "months": 31, "day": 1, "days": 1, "h": 1}
LONGEST_PERIOD: Final = 36_600  # days
CHOICES: Final = ("choice", "open-choice")


@dataclass(frozen=True, slots=True)
class Sought:
    """A question that the latest Observation by one of these codes answers, if it is not older than `since`."""

    link: str
    codes: tuple[tuple[str, str], ...]  # (system, code)
    since: datetime


@dataclass(frozen=True, slots=True)
class Filled:
    """A response in progress, and what could not be filled in. `spoken`: expressions gave some of it, from whatever they may speak of."""

    response: Node
    issues: tuple[Issue, ...]
    spoken: bool = False


def sought(questionnaire: Node, at: datetime) -> list[Sought]:
    """The Observations that would fill in something: `observationLinkPeriod`."""
    out: list[Sought] = []
    waiting = list(items(questionnaire))
    while waiting:
        item = waiting.pop(0)
        waiting += items(item)
        period, codes = extension(item, SDC + "observationLinkPeriod"), nodes(item, "code")
        named = tuple((str(c.get("system", "")), str(c["code"])) for c in codes if type(c.get("code")) is str)
        if type(period) is dict and named:
            days = DAYS.get(str(period.get("code") or period.get("unit")), 0) * _number(period.get("value"))
            if days:
                out.append(Sought(link(item), named, at - timedelta(days=min(days, LONGEST_PERIOD))))
    return out


def filled(questionnaire: Node, subject: str, names: Mapping[str, Any], observed: Mapping[str, Node], at: datetime) -> Filled:
    """The response about `subject` (`Patient/…`). `names` is the launch context by name, `observed` an Observation by linkId."""
    speech = Speech({**names, "questionnaire": questionnaire}, at)
    response: Node = {"resourceType": "QuestionnaireResponse"}
    if type(questionnaire.get("url")) is str:
        version = questionnaire.get("version")
        response["questionnaire"] = questionnaire["url"] + (f"|{version}" if type(version) is str else "")
    response |= {"status": "in-progress", "subject": {"reference": subject}, "authored": at.isoformat(timespec="seconds")}
    speech.names = {**speech.names, "resource": response}
    found = _items(questionnaire, speech, observed)
    if found:
        response["item"] = found
    return Filled(pruned(questionnaire, response), tuple(speech.issues), spoken=speech.asked > 0)


def _items(asked: Node, speech: Speech, observed: Mapping[str, Node]) -> list[Node]:
    out: list[Node] = []
    for question in items(asked):
        if question.get("type") == "display":
            continue
        below = _items(question, speech, observed)
        item: Node = {"linkId": link(question)} | ({"text": question["text"]} if "text" in question else {})
        if question.get("type") == "group":
            if below:
                out.append({**item, "item": below})
            continue
        given = _given(question, speech, observed)
        if given:
            if below:
                given = [{**given[0], "item": below}, *given[1:]]
            out.append({**item, "answer": given})
    return out


def _given(question: Node, speech: Speech, observed: Mapping[str, Node]) -> list[Node]:
    """Answers, or none. An expression or an Observation that says something goes before the form's own initial value."""
    said: list[Any] = []
    wanted = expression(extension(question, SDC + "initialExpression"))
    if wanted:
        said = speech.said(wanted, speech.names["resource"])
    if not said and link(question) in observed:
        said = [v for v in (_observed(question, observed[link(question)], speech),) if v is not None]
    found = [a for v in said if (a := answer(question, v)) is not None]
    if said and not found:
        speech.tell("value", f"What is known for `{link(question)[:64]}` does not fit the question.")
    if not found:
        found = [a for kind, v in map(value, nodes(question, "initial")) if kind and (a := answer(question, v)) is not None]
        found = found or [{"value" + value(o)[0]: value(o)[1]} for o in nodes(question, "answerOption") if o.get("initialSelected") is True]
    return found if question.get("repeats") is True else found[:1]


def _observed(question: Node, observation: Node, speech: Speech) -> Any:
    """The value of an Observation; None for a number in another unit than the question's: nobody's weight is guessed."""
    kind, v = value(observation)
    if kind == "Quantity" and question.get("type") in ("decimal", "integer"):
        unit = extension(question, UNIT)
        code = v.get("code") or v.get("unit") if type(v) is dict else None
        if type(unit) is dict and code != unit.get("code"):
            speech.tell("value", f"What was measured for `{link(question)[:64]}` is in `{str(code)[:20]}`, not in the unit of the question.")
            return None
        return v.get("value") if type(v) is dict else None
    return v if kind else None


def answer(question: Node, v: Any) -> Node | None:
    """A value as an answer to this question; None where it does not fit."""
    kind = str(question.get("type"))
    if type(v) is dict and "coding" in v:  # a CodeableConcept
        v = next(iter(nodes(v, "coding")), v.get("text"))
    if kind in CHOICES:
        return _chosen(question, v, kind)
    if kind == "boolean":
        return {"valueBoolean": v} if type(v) is bool else None
    if kind in ("decimal", "integer"):
        whole = _whole(v)
        return None if whole is None or (kind == "integer" and whole != int(whole)) else {f"value{kind.capitalize()}": int(whole) if kind == "integer" else v}
    if kind in ("date", "dateTime", "time"):
        return _moment(kind, v)
    if kind in ("string", "text", "url"):
        text = v.get("display") or v.get("code") if type(v) is dict else str(v) if type(v) is not bool else None
        return {"valueUri" if kind == "url" else "valueString": text} if text else None
    if kind == "quantity":
        return _quantity(question, v)
    if kind == "reference" and type(v) is dict:
        if type(v.get("reference")) is str:
            return {"valueReference": v}
        return {"valueReference": {"reference": f"{v['resourceType']}/{v['id']}"}} if "resourceType" in v and "id" in v else None
    return {"valueAttachment": v} if kind == "attachment" and type(v) is dict else None


def _chosen(question: Node, v: Any, kind: str) -> Node | None:
    options = [value(o) for o in nodes(question, "answerOption")]
    for k, o in options:
        same = o == v or (type(o) is dict and (o.get("code") == v if type(v) is str else type(v) is dict and _coded(o) == _coded(v)))
        if same:
            return {"value" + k: o}
    if type(v) is dict and "code" in v and (kind == "open-choice" or not options):
        return {"valueCoding": v}
    return {"valueString": v} if type(v) is str and kind == "open-choice" else None


def _coded(coding: Node) -> tuple[Any, Any]:
    return coding.get("system"), coding.get("code")


def _moment(kind: str, v: Any) -> Node | None:
    if type(v) is not str or not v:
        return None
    if kind == "date":
        return {"valueDate": v.split("T")[0]} if v[:4].isdigit() else None
    if kind == "dateTime":
        return {"valueDateTime": v} if v[:4].isdigit() else None
    return {"valueTime": v} if v[:2].isdigit() and v[2:3] == ":" else None


def _quantity(question: Node, v: Any) -> Node | None:
    if type(v) is dict:
        return {"valueQuantity": v} if "value" in v else None
    if _whole(v) is None:
        return None
    unit = extension(question, UNIT)
    about = {"unit": unit.get("display") or unit.get("code"), "system": unit.get("system"), "code": unit.get("code")} if type(unit) is dict else {}
    return {"valueQuantity": {"value": v, **{k: u for k, u in about.items() if u}}}


def _whole(v: Any) -> Any:
    """A number; None for anything else, a truth too."""
    return v if not isinstance(v, (str, bool, dict, list)) and v is not None else None


def _number(v: Any) -> int:
    return max(0, int(v)) if _whole(v) is not None else 0
