"""A QuestionnaireResponse against the Questionnaire it answers.

https://hl7.org/fhir/R4/questionnaireresponse.html#notes. Where the page is silent this follows HL7's validator: an item's text must be
the question's, items come in the Questionnaire's order, missing answers are tolerated until the response is complete.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from . import units
from .forms.enabling import Conditions
from .forms.enabling import compare as _compare
from .forms.enabling import same as _same
from .forms.items import EXTENSION, SDC, Node
from .forms.items import answers as _answers
from .forms.items import every as _every
from .forms.items import items as _items
from .forms.items import link as _link
from .forms.items import nodes as _list
from .forms.items import value as _value
from .r4 import R4

Say = Callable[..., None]  # issue code, where below the response, sentence, rule, severity

_TYPED = re.compile(r"(?:^|/)([A-Z][A-Za-z]+)/[A-Za-z0-9\-.]{1,64}(?:/_history/[A-Za-z0-9\-.]{1,64})?$")
UNFINISHED = ("in-progress", "stopped", "entered-in-error")
TYPES: dict[str, tuple[str, ...]] = {
    "boolean": ("Boolean",), "decimal": ("Decimal",), "integer": ("Integer",), "date": ("Date",), "dateTime": ("DateTime",),
    "time": ("Time",), "string": ("String",), "text": ("String",), "url": ("Uri",), "attachment": ("Attachment",),
    "reference": ("Reference",), "quantity": ("Quantity",),
    "choice": ("Coding", "Date", "Time", "Integer", "String"), "open-choice": ("Coding", "Date", "Time", "Integer", "String"),
}  # fmt: skip


def check(response: Node, questionnaire: Node | None, r4: R4, say: Say) -> None:
    """Say everything that is wrong with the answers. Without its Questionnaire nothing can be."""
    if questionnaire is not None:
        _Answered(response, questionnaire, r4, say).items(questionnaire, response, "")


def check_questions(questionnaire: Node, say: Say) -> None:
    """Say which conditions name a question that is not there, or one that they themselves decide about."""
    known = {_link(q) for q in _every(questionnaire)}
    for question in (q for q in _every(questionnaire) if "enableWhen" in q):
        below = {_link(question), *map(_link, _every(question))}
        for condition in _list(question, "enableWhen"):
            named = str(condition.get("question", ""))
            if named and named not in known:
                say("business-rule", "", f"`{_link(question)[:64]}` depends on the question `{named[:64]}`, which is not here.")
            elif named and named in below:
                say("business-rule", "", f"`{_link(question)[:64]}` depends on `{named[:64]}`, which it decides about itself.")


class _Answered:
    def __init__(self, response: Node, questionnaire: Node, r4: R4, say: Say) -> None:
        self.r4, self.say, self.questionnaire = r4, say, questionnaire
        self.finished = response.get("status") not in UNFINISHED
        self.conditions = Conditions(questionnaire)
        self.above = self.conditions.above
        self.options: dict[int, tuple[list[tuple[str, Any]], set[tuple[str, str, str]]]] = {}  # by question: what it offers, and that by code
        self.inside: list[tuple[str, Node]] = [("", response)]  # the response's items that are being read, outermost first

    # -- items

    def items(self, asked: Node, got: Node, where: str) -> None:
        """The items below one Questionnaire item (or the root) against those below one response item (or answer)."""
        questions = _items(asked)
        order = {_link(q): i for i, q in enumerate(questions)}
        found: dict[int, list[tuple[str, Node]]] = {}
        last = -1
        for i, item in enumerate(_items(got)):
            at = f"{where}.item[{i}]".lstrip(".")
            link = _link(item)
            if link not in order:
                self._stray(link, at)
                continue
            if order[link] < last:
                self.say("structure", at, f"The item `{link[:64]}` is out of the Questionnaire's order.")
            last = max(last, order[link])
            found.setdefault(order[link], []).append((at, item))
        for i, question in enumerate(questions):
            self._question(question, found.get(i, []), where)

    def _stray(self, link: str, at: str) -> None:
        if not link:
            return  # its absence is reported already
        if link in self.above:
            self.say("structure", at, f"The item `{link[:64]}` is in the wrong place.")
        else:
            self.say("not-found", at, f"The Questionnaire has no item `{link[:64]}`.")

    def _question(self, question: Node, found: list[tuple[str, Node]], where: str) -> None:
        link, kind = _link(question)[:64], question.get("type")
        enabled = self.conditions.enabled(question, self.inside)
        for at, item in found:
            if not enabled and ("answer" in item or (kind == "group" and "item" in item)):
                self.say("invariant", at, f"`{link}` is answered though it is not enabled.")
        if not found and enabled and question.get("required") is True and self.finished:
            self.say("required", where, f"The required item `{link}` is not answered.")
        if len(found) > 1 and question.get("repeats") is not True:
            self.say("invalid", found[1][0], f"The item `{link}` may stand here once.")
        for at, item in found:
            self.inside.append((_link(question), item))
            self._item(question, item, at, enabled)
            self.inside.pop()

    def _item(self, question: Node, item: Node, at: str, enabled: bool) -> None:
        kind, link = question.get("type"), _link(question)[:64]
        must = enabled and question.get("required") is True
        if "text" in item and item["text"] != question.get("text"):
            self.say("invalid", at, f"The text of `{link}` must be the question's: `{str(question.get('text', ''))[:80]}`.")
        answers = _answers(item)
        if kind == "display":
            if "answer" in item or "item" in item:
                self.say("structure", at, f"`{link}` is only a text: it takes no answer.")
        elif kind == "group":
            if "answer" in item:
                self.say("structure", at, f"`{link}` is a group: it takes items, no answer.")
            if question.get("required") is True and "item" not in item:
                self.say("required", at, f"The required group `{link}` is empty.")
            self.items(question, item, at)
        else:
            if "item" in item:
                self.say("structure", at, f"Items below the question `{link}` belong inside its answer.")
            if not answers and must and self.finished:
                self.say("required", at, f"The required item `{link}` is not answered.")
            if len(answers) > 1 and question.get("repeats") is not True:
                self.say("invalid", at, f"`{link}` takes one answer.")
            self._exclusive(question, answers, at)
            for i, answer in enumerate(answers):
                self._answer(question, answer, f"{at}.answer[{i}]")

    # -- answers

    def _answer(self, question: Node, answer: Node, at: str) -> None:
        self.items(question, answer, at)
        kind, value = _value(answer)
        allowed = TYPES.get(str(question.get("type")))
        if not kind or allowed is None:
            if allowed is None:
                self.say("structure", at, f"`{_link(question)[:64]}` takes no answer of its own.")
            return
        if kind not in allowed:
            said = ", ".join(a[0].lower() + a[1:] if a not in ("Coding", "Reference", "Quantity", "Attachment") else a for a in allowed)
            self.say("invariant", at, f"`{_link(question)[:64]}` takes a {said}, not a {kind}.")
            return
        self._offered(question, kind, value, at)
        self._within(question, kind, value, at)

    def _offered(self, question: Node, kind: str, value: Any, at: str) -> None:
        options, coded = self._options(question)
        free = question.get("type") == "open-choice" and kind == "String"
        if options and not free:
            quick = type(value) is dict and "code" in value and (kind, str(value.get("system")), str(value["code"])) in coded
            if not quick and not any(k == kind and _is_option(value, v) for k, v in options):
                self.say("code-invalid", at, f"`{_shown(value)}` is not one of the options.")
        elif "answerValueSet" in question and kind == "Coding" and type(value) is dict:
            sets = self._value_set(str(question["answerValueSet"]))
            if sets is not None and str(value.get("code")) not in sets.get(str(value.get("system")), ()):
                self.say("code-invalid", at, f"`{_shown(value)}` is not in the question's value set.")

    def _options(self, question: Node) -> tuple[list[tuple[str, Any]], set[tuple[str, str, str]]]:
        found = self.options.get(id(question))
        if found is None:
            offered = [_value(o) for o in _list(question, "answerOption")]
            coded = {(k, str(v.get("system")), str(v["code"])) for k, v in offered if type(v) is dict and "code" in v}
            found = self.options[id(question)] = offered, coded
        return found

    def _value_set(self, url: str) -> dict[str, frozenset[str]] | None:
        """system -> codes; None when we cannot know."""
        url = url.partition("|")[0]
        if not url.startswith("#"):
            known = self.r4.value_set(url)
            return dict(known) if known is not None else None
        for inner in _list(self.questionnaire, "contained"):
            if inner.get("id") == url[1:]:
                return self._composed(inner)
        return None

    def _composed(self, value_set: Node) -> dict[str, frozenset[str]] | None:
        out: dict[str, frozenset[str]] = {}
        compose = value_set.get("compose")
        for include in _list(compose, "include") if type(compose) is dict else ():
            system = str(include.get("system"))
            table = self.r4.system(system)
            if "filter" in include or "valueSet" in include:
                return None
            if "concept" in include:
                codes = frozenset(str(c.get("code")) for c in _list(include, "concept"))
            elif table is not None:
                codes = table.codes
            else:
                return None
            out[system] = out.get(system, frozenset()) | codes
        return out

    def _exclusive(self, question: Node, answers: list[Node], at: str) -> None:
        alone = [
            o for o in _list(question, "answerOption") if _extension(o, EXTENSION + "questionnaire-optionExclusive") is True
        ]
        for answer in answers if len(answers) > 1 else ():
            if any(_same(_value(answer)[1], _value(o)[1]) for o in alone):
                self.say("invariant", at, f"`{_shown(_value(answer)[1])}` excludes any other answer.")

    def _within(self, question: Node, kind: str, value: Any, at: str) -> None:
        if type(value) is str:
            self._text_within(question, value, at)
        if type(value) is dict:
            self._object_within(question, kind, value, at)
        if kind in ("String", "Uri"):
            return
        low, high = _extension(question, EXTENSION + "minValue"), _extension(question, EXTENSION + "maxValue")
        if low is not None and _compare(value, low) == -1:
            self.say("invariant", at, f"`{_shown(value)}` is less than the least allowed, {_shown(low)}.")
        if high is not None and _compare(value, high) == 1:
            self.say("invariant", at, f"`{_shown(value)}` is more than the most allowed, {_shown(high)}.")
        places = _extension(question, EXTENSION + "maxDecimalPlaces")
        if kind == "Decimal" and type(places) is int and len(str(value).partition(".")[2]) > places:
            self.say("invariant", at, f"`{value}` has more than {places} decimal places.")

    def _text_within(self, question: Node, value: str, at: str) -> None:
        most, least = question.get("maxLength"), _extension(question, EXTENSION + "minLength")
        if type(most) is int and len(value) > most:  # HL7's validator looks at strings only
            plain = question.get("type") == "string"
            self.say("invariant", at, f"The answer is longer than {most} characters.", "", "error" if plain else "warning")
        if question.get("type") != "string":
            return
        if type(least) is int and len(value) < least:
            self.say("invariant", at, f"The answer is shorter than {least} characters.")
        pattern = _extension(question, EXTENSION + "regex")
        if type(pattern) is str and _fits(pattern, value) is False:
            self.say("invariant", at, f"`{value[:64]}` does not have the form the question asks for.")

    def _object_within(self, question: Node, kind: str, value: Node, at: str) -> None:
        if kind == "Attachment":
            kinds = _extensions(question, EXTENSION + "mimeType")
            if kinds and value.get("contentType") not in kinds:
                self.say("required", at, f"An attachment of type `{_shown(value.get('contentType'))}` is not one of {kinds}.")
        elif kind == "Reference":
            self._referred(question, value, at)
        elif kind == "Quantity":
            offered = [u for u in _extensions(question, EXTENSION + "questionnaire-unitOption") if type(u) is dict]
            if offered and not any(_is_option(value, u) for u in offered):
                self.say("invariant", at, f"`{_shown(value)}` is not in one of the units offered.")
            for bound, side in ((SDC + "minQuantity", -1), (SDC + "maxQuantity", 1)):
                limit = _extension(question, bound)
                if type(limit) is dict:
                    self._limited(value, limit, side, at)

    def _referred(self, question: Node, value: Node, at: str) -> None:
        m = _TYPED.search(str(value.get("reference", "")))
        if m is None:
            return
        allowed = _extensions(question, EXTENSION + "questionnaire-referenceResource")
        if not self.r4.has_type(m[1]):
            self.say("invariant", at, f"`{m[1][:40]}` is not a FHIR R4 resource type.")
        elif allowed and m[1] not in allowed:
            self.say("invariant", at, f"This may refer to {', '.join(map(str, allowed))}, not to a {m[1]}.")

    def _limited(self, value: Node, limit: Node, side: int, at: str) -> None:
        order = units.compare(value, limit)
        if order is None:
            self.say("invariant", at, f"`{_shown(value)}` cannot be compared with the limit `{_shown(limit)}`: their units differ.")
        elif order == side:
            word = "less" if side < 0 else "more"
            self.say("invariant", at, f"`{_shown(value)}` is {word} than the limit `{_shown(limit)}`.")


# -- reading items ----------------------------------------------------------------------------------------------------


def _extension(node: Node, url: str) -> Any:
    return next(iter(_extensions(node, url)), None)


def _extensions(node: Node, url: str) -> list[Any]:
    return [_value(x)[1] for x in _list(node, "extension") if x.get("url") == url]


def _is_option(value: Any, option: Any) -> bool:
    if type(value) is dict and type(option) is dict and ("code" in value or "code" in option):
        return (value.get("system"), value.get("code")) == (option.get("system"), option.get("code"))
    return _same(value, option)


def _fits(pattern: str, value: str) -> bool | None:
    """None when the pattern is none, or could run long on this value: whoever wrote the Questionnaire wrote the pattern."""
    plain = re.sub(r"\\\D|\[(?:\\.|[^\]\\])+\]", "x", pattern)
    varying, either = len(re.findall(r"[*+?]|\{\d*,", plain)), plain.count("|")
    steps = max(len(value), 2) ** varying * 2**either
    if len(pattern) > 200 or steps > 1_000_000 or re.search(r"\)[?*+{]|\\\d|\(\?", plain):
        return None
    try:
        return re.fullmatch(pattern, value) is not None
    except re.error:
        return None


def _shown(value: Any) -> str:
    if type(value) is dict:
        return str(value.get("code") or value.get("value") or value.get("display"))[:64]
    return str(value)[:64]
