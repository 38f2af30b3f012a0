"""Which questions are open: enableWhen, enableBehavior, and all above them. https://hl7.org/fhir/R4/questionnaire.html#usage

Where R4 leaves open whether all or any of several conditions must hold (no `enableBehavior`), a question is open.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from .. import units
from ..primitives import span
from .items import Node, answers, chains, every, items, link, nodes, value

Inside = Sequence[tuple[str, Node]]  # linkId and response item that are being read, outermost first; ("", the response) before all


class Conditions:
    """The conditions of a Questionnaire, asked about one response."""

    def __init__(self, questionnaire: Node) -> None:
        self.above = {name: (*above, name) for name, above in chains(questionnaire)}  # linkId -> those above it, and itself
        self._indexes: dict[int, dict[str, list[Node]]] = {}  # by response item: the answers within it by linkId
        self._held: dict[tuple[int, int], bool] = {}  # by response item and condition: whether it holds there

    def enabled(self, question: Node, inside: Inside) -> bool:
        """Whether the question's own conditions hold where it stands; whoever asks goes down from open items only."""
        conditions = nodes(question, "enableWhen")
        if not conditions:
            return True
        held = [self._holds(c, link(question), inside) for c in conditions]
        if question.get("enableBehavior") == "any" or len(held) == 1:
            return any(held)
        return all(held) or question.get("enableBehavior") != "all"

    def _holds(self, condition: Node, of: str, inside: Inside) -> bool:
        question = str(condition.get("question", ""))
        nearest = self._nearest(question, of, inside)
        key = (id(nearest), id(condition))
        if key not in self._held:
            self._held[key] = _true(condition, self._given(question, nearest))
        return self._held[key]

    def _nearest(self, question: str, of: str, inside: Inside) -> Node:
        """The innermost item of the response that is above both `question` and the item `of` that depends on it."""
        both = [name for name in self.above.get(question, ()) if name in self.above.get(of, ())]
        return next((item for name, item in reversed(inside) if name in both), inside[0][1])

    def _given(self, question: str, nearest: Node) -> list[Node]:
        """The answers to `question` within that item."""
        index = self._indexes.get(id(nearest))
        if index is None:
            index = self._indexes[id(nearest)] = {}
            for item in (nearest, *every(nearest), *(i for a in answers(nearest) for i in every(a))):
                index.setdefault(link(item), []).extend(answers(item))
        return index.get(question, [])


def pruned(questionnaire: Node, response: Node) -> Node:
    """The response without what is not open: hidden answers are not kept as given, nor do they open anything else.

    What the Questionnaire does not know stays, to be told of.
    """
    while True:
        kept = _pruned(questionnaire, response, Conditions(questionnaire), [("", response)])
        if kept == response:
            return response
        response = kept


def _pruned(asked: Node, got: Node, conditions: Conditions, inside: list[tuple[str, Node]]) -> Node:
    questions = {link(q): q for q in items(asked)}
    out: list[Node] = []
    for item in items(got):
        question = questions.get(link(item))
        if question is None:
            out.append(item)
        elif conditions.enabled(question, inside):
            out.append(_below(question, item, conditions, [*inside, (link(item), item)]))
    return _with(got, "item", out)


def _below(question: Node, item: Node, conditions: Conditions, inside: list[tuple[str, Node]]) -> Node:
    kept = _pruned(question, item, conditions, inside)
    return _with(kept, "answer", [_pruned(question, a, conditions, inside) for a in answers(item)])


def _with(node: Node, name: str, found: list[Node]) -> Node:
    """A copy in which this list is that; absent when it is empty, where it was not empty before."""
    if name not in node or found == node[name]:
        return node
    return {k: found if k == name else v for k, v in node.items() if k != name or found}


# -- one condition ----------------------------------------------------------------------------------------------------


def _true(condition: Node, given: list[Node]) -> bool:
    values = [value(a)[1] for a in given if any(k.lstrip("_").startswith("value") for k in a)]  # None: only why it is missing
    wanted = next((v for k, v in condition.items() if k.startswith("answer")), None)
    match condition.get("operator"):
        case "exists":
            return bool(values) is wanted
        case "=":
            return any(same(v, wanted) for v in values)
        case "!=":
            return any(not same(v, wanted) for v in values)
        case ">":
            return any(compare(v, wanted) == 1 for v in values)
        case "<":
            return any(compare(v, wanted) == -1 for v in values)
        case ">=":
            return any(compare(v, wanted) in (0, 1) for v in values)
        case "<=":
            return any(compare(v, wanted) in (0, -1) for v in values)
    return True


def same(a: Any, b: Any) -> bool:
    """Whether an answer is what a condition asks for; a system that the condition leaves out may be any."""
    if type(a) is dict and type(b) is dict:
        if "value" in a or "value" in b:
            return compare(a, b) == 0
        if "code" in a or "code" in b:
            return a.get("code") == b.get("code") and (a.get("system") == b.get("system") or "system" not in b)
        return a == b
    if type(a) is str and type(b) is str:
        return a == b or compare(a, b) == 0
    if type(a) is bool or type(b) is bool:
        return a is b
    return bool(a == b)


def compare(a: Any, b: Any) -> int | None:
    """-1, 0, 1; None when they cannot be compared. Dates by when they begin: 2024 is the 1st of January."""
    if type(a) is dict and type(b) is dict:
        if "code" not in a and "code" not in b and a.get("unit") == b.get("unit"):
            return compare(a.get("value"), b.get("value"))
        return units.compare(a, b)
    if type(a) is str and type(b) is str:
        first, second = span(a), span(b)
        if first is None or second is None:
            return (a > b) - (a < b)
        return (first[0] > second[0]) - (first[0] < second[0])
    if type(a) is bool and type(b) is bool:
        return a - b
    if type(a) in (int, float, Decimal) and type(b) in (int, float, Decimal):
        x, y = Decimal(str(a)), Decimal(str(b))
        return (x > y) - (x < y)
    return None
