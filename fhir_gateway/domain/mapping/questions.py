"""Answers to a questionnaire, in the plan's words and in FHIR: `[{id, text, answer, items}]` and QuestionnaireResponse.item.

An answer is what JSON says as it is (text, a whole number, a decimal, yes or no), or says what it is:

    {"date": "2026-01"}  {"moment": "2026-01-05T10:00:00Z"}  {"time": "10:00:00"}  {"uri": "https://..."}  {"decimal": 3}
    {"value": 5, "unit": "kg", "system": ..., "code": ...}    a quantity
    {"system": ..., "code": ..., "display": ...}              a coded answer
    {"reference": "Patient/x", "display": "..."}              {"attachment": {"url": ..., "title": ...}}
    {"absent": "asked-declined"}                              asked, and why there is no answer
    {"answer": ..., "items": [...]}                           what is asked below one of several answers

Several answers are a list, in their order. What is asked below a question stands inside its first answer, below a group or an
unanswered question beside it (https://hl7.org/fhir/R4/questionnaireresponse.html, qrs-1). Whatever else FHIR says of an item or
an answer is its `x_fhir`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from .carrier import dump
from .paths import HL7, MISSING
from .primitives import CODE, is_absolute, is_date, is_moment, is_number, is_text

if TYPE_CHECKING:
    from .ways import Inward, Outward

EXTRA: Final = "x_fhir"
ABSENT: Final = HL7 + "data-absent-reason"
REASONS: Final = frozenset(
    ["unknown", "asked-unknown", "temp-unknown", "not-asked", "asked-declined", "masked", "not-applicable", "unsupported", "as-text", "error",
     "not-a-number", "negative-infinity", "positive-infinity", "not-performed", "not-permitted"]
)  # fmt: skip
_TIME = re.compile(r"([01]\d|2[0-3]):[0-5]\d:[0-5]\d(\.\d{1,9})?\Z", re.ASCII)
_REFERENCE = re.compile(r"([A-Z][A-Za-z]+/[A-Za-z0-9\-.]{1,64}|urn:uuid:[0-9a-f-]{36}|https?://[A-Za-z0-9][^\s<>\"{}|\\^`]*)\Z")
_BASE64 = re.compile(r"(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?\Z")


def _is_code(value: Any) -> bool:
    return is_text(value) and CODE.match(value) is not None


def _is_base64(value: Any) -> bool:
    return is_text(value) and _BASE64.match(value) is not None


def _is_size(value: Any) -> bool:
    return type(value) is int and 0 <= value < 2**31


def _is_reference(value: Any) -> bool:
    return is_text(value) and _REFERENCE.match(value) is not None


Kinds = Mapping[str, Callable[[Any], bool]]
CODING: Final[Kinds] = {"system": is_absolute, "code": _is_code, "display": is_text}
QUANTITY: Final[Kinds] = {"value": is_number, "comparator": lambda v: v in ("<", "<=", ">=", ">"), "unit": is_text, "system": is_absolute, "code": _is_code}
REFERENCE: Final[Kinds] = {"reference": _is_reference, "display": is_text}
ATTACHMENT: Final[Kinds] = {
    "contentType": _is_code, "data": _is_base64, "url": is_absolute, "size": _is_size, "hash": _is_base64, "title": is_text, "creation": is_moment,
}  # fmt: skip
SAID: Final[Mapping[str, tuple[str, Callable[[Any], bool]]]] = {
    "date": ("valueDate", is_date),
    "moment": ("valueDateTime", is_moment),
    "time": ("valueTime", lambda v: type(v) is str and _TIME.match(v) is not None),
    "uri": ("valueUri", is_absolute),
    "decimal": ("valueDecimal", is_number),
    "attachment": ("valueAttachment", lambda v: _fits(v, ATTACHMENT) and ("data" not in v or "contentType" in v)),
}
"""By the one key of such an answer: the element, and whether FHIR can hold the value."""


def _fits(value: Any, kinds: Kinds) -> bool:
    return type(value) is dict and bool(value) and value.keys() <= kinds.keys() and all(kinds[k](v) for k, v in value.items())


# -- the plan to FHIR -------------------------------------------------------------------------------------------------


def items_out(value: Any, way: Outward) -> Any:
    """QuestionnaireResponse.item; MISSING where anything of it cannot be said in FHIR."""
    if type(value) is not list or not value:
        return MISSING
    out = [_item(item, way) for item in value]
    return MISSING if any(i is MISSING for i in out) else out


def _item(item: Any, way: Outward) -> Any:
    if type(item) is not dict or not item.keys() <= {"id", "answer", "text", "items", EXTRA} or not is_text(item.get("id")):
        return MISSING
    more = item.get(EXTRA, {})
    if type(more) is not dict or (EXTRA in item and not more) or more.keys() & ({"linkId", "text", "answer"} | (set() if "answer" in item else {"item"})):
        return MISSING
    if "text" in item and not is_text(item["text"]):
        return MISSING
    element: dict[str, Any] = {"linkId": item["id"], **({"text": item["text"]} if "text" in item else {}), **more}
    if "answer" in item:
        answers = _answers(item["answer"], way)
        if answers is MISSING:
            return MISSING
        element["answer"] = answers
    if "items" in item:
        below = items_out(item["items"], way)
        place = element["answer"][0] if "answer" in element else element
        if below is MISSING or "item" in place:
            return MISSING
        place["item"] = below
    return element


def _answers(value: Any, way: Outward) -> Any:
    values = value if type(value) is list and len(value) > 1 else [value]
    out = [_answer(v, way) for v in values]
    return MISSING if any(a is MISSING for a in out) else out


def _answer(value: Any, way: Outward) -> Any:
    """One answer, with what is asked below it."""
    if type(value) is not dict or "items" not in value:
        return _alone(value)
    answer: Any = {}
    if value.keys() == {"answer", "items"}:
        answer = _alone(value["answer"])
    elif value.keys() != {"items"}:
        return MISSING
    below = items_out(value["items"], way)
    return MISSING if answer is MISSING or below is MISSING else {**answer, "item": below}


def _alone(value: Any) -> Any:
    if type(value) is bool:
        return {"valueBoolean": value}
    if type(value) is int and -(2**31) <= value < 2**31:
        return {"valueInteger": value}
    if type(value) is Decimal and is_number(value):
        return {"valueDecimal": value}
    if is_text(value):
        return {"valueString": value}
    return _object(value) if type(value) is dict and value else MISSING


def _object(value: Mapping[str, Any]) -> Any:
    if len(value) == 1:
        ((key, said),) = value.items()
        if key in SAID:
            name, holds = SAID[key]
            return {name: said} if holds(said) else MISSING
        if key == "absent":
            return {"extension": [{"url": ABSENT, "valueCode": said}]} if type(said) is str and said in REASONS else MISSING
        if key == EXTRA:
            return dict(said) if type(said) is dict and said and "item" not in said and _simple(said) is MISSING else MISSING
    if "value" in value:
        return {"valueQuantity": dict(value)} if _fits(value, QUANTITY) and ("code" not in value or "system" in value) else MISSING
    if "reference" in value:
        return {"valueReference": dict(value)} if _fits(value, REFERENCE) else MISSING
    return {"valueCoding": dict(value)} if _fits(value, CODING) else MISSING


# -- and back ---------------------------------------------------------------------------------------------------------


def items_back(value: Any, way: Inward) -> Any:
    """The plan's `items`; MISSING when there are none."""
    elements = [e for e in value if isinstance(e, dict) and isinstance(e.get("linkId"), str)] if isinstance(value, list) else []
    return [_item_back(e, way) for e in elements] or MISSING


def _item_back(element: Mapping[str, Any], way: Inward) -> dict[str, Any]:
    item: dict[str, Any] = {"id": element["linkId"]}
    if isinstance(element.get("text"), str):
        item["text"] = element["text"]
    answers = [a for a in element.get("answer", ()) if isinstance(a, dict)] if isinstance(element.get("answer"), list) else []
    beside = element.get("item")
    first = len(answers) > 0 and _value(answers[0], way) is not MISSING and not any("item" in a for a in answers[1:])
    said = [a for a in (_answer_back(a, way, bare=n == 0 and first) for n, a in enumerate(answers)) if a is not MISSING]
    if said:
        item["answer"] = said if len(said) > 1 else said[0]
    below = items_back(answers[0].get("item") if first else None if said else beside, way)
    if below is not MISSING:
        item["items"] = below
    more = {k: v for k, v in element.items() if k not in ("linkId", "text", "answer", "item")}
    if said and beside is not None:
        more["item"] = beside
    if more and way.exact:
        item[EXTRA] = more
    return item


def _answer_back(answer: Mapping[str, Any], way: Inward, bare: bool) -> Any:
    """One answer; `bare`: what is asked below it is told elsewhere."""
    value = _value(answer, way)
    below = MISSING if bare else items_back(answer.get("item"), way)
    if below is MISSING:
        return value
    return {"items": below} if value is MISSING else {"answer": value, "items": below}


def _value(answer: Mapping[str, Any], way: Inward) -> Any:
    plain = {k: v for k, v in answer.items() if k != "item"}
    exact = _simple(plain)
    if exact is not MISSING or not plain:
        return exact
    near = MISSING if way.exact else _nearest(plain)
    return {EXTRA: plain} if near is MISSING else near


def _simple(plain: Mapping[str, Any]) -> Any:
    """An answer in the plan's words, when they say all of it."""
    said = _read(plain)
    again = MISSING if said is MISSING else _alone(said)
    return said if again is not MISSING and dump(again) == dump(plain) else MISSING


def _read(plain: Mapping[str, Any]) -> Any:
    name = next((k for k in plain if k.startswith("value")), "")
    value = plain.get(name)
    keys = {element: key for key, (element, _) in SAID.items()}
    if name in keys and not (name == "valueDecimal" and type(value) is Decimal):
        return {keys[name]: value}
    if name:
        return value
    reasons = [e["valueCode"] for e in plain.get("extension", ()) if isinstance(e, dict) and e.get("url") == ABSENT and "valueCode" in e]
    return {"absent": reasons[0]} if reasons else MISSING


def _nearest(plain: Mapping[str, Any]) -> Any:
    """As much of it as the plan's words say: what else there is stays in the record."""
    for name, kinds in (("valueCoding", CODING), ("valueQuantity", QUANTITY), ("valueReference", REFERENCE)):
        if isinstance(plain.get(name), dict):
            near = {k: v for k, v in plain[name].items() if k in kinds and kinds[k](v)}
            return near if near and _object(near) is not MISSING else MISSING
    if isinstance(plain.get("valueAttachment"), dict):
        near = {k: v for k, v in plain["valueAttachment"].items() if k in ATTACHMENT and ATTACHMENT[k](v)}
        return {"attachment": near} if near else MISSING
    name = next((k for k in plain if k.startswith("value")), "")
    alone = {name: plain[name]} if name else {}
    return _simple(alone) if alone and alone != plain else MISSING
