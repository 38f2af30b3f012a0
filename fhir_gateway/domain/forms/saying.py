"""FHIRPath in a form: what its author wrote, never what a person typed. By fhirpathpy, read when first used.

https://hl7.org/fhir/uv/sdc/expressions.html . An expression that cannot be evaluated is said to be so, and gives nothing. Only so many
are evaluated for one form, none is long, all of them together take only so many steps, and none may search a text by a pattern, walk all
of a tree or print.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from typing import Any, Final, cast

from ..problem import Issue
from .items import Node

LONGEST: Final = 1_000  # characters
MOST: Final = 2_000  # evaluations for one form
MOST_STEPS: Final = 2_000_000  # calls in all expressions of one form: about a second
MOST_THIS: Final = 8  # `$this` in one expression: a text that is put to itself again and again grows without a step
LONGEST_TEXT: Final = 100_000  # characters of one value
_NOT_HERE: Final = re.compile(r"\b(matches|matchesFull|replaceMatches|repeat|descendants|trace|resolve|aggregate|defineVariable)\s*\(")

Names = Mapping[str, Any]


class _TooMuch(BaseException):
    """No Exception: the library goes on after some of those."""


@dataclass(slots=True)
class Speech:
    """What the expressions of one form may speak of, and what went wrong with them. `at`: the moment that `today()` and `now()` are."""

    names: Names
    at: datetime
    issues: list[Issue] = field(default_factory=list)
    asked: int = 0
    steps: int = 0

    def said(self, expression: str, focus: Any, more: Names | None = None) -> list[Any]:
        """The values that the expression gives, as JSON has them."""
        self.asked += 1
        taken = len(expression) <= LONGEST and expression.count("$this") <= MOST_THIS and not _NOT_HERE.search(expression)
        run = _compiled(expression) if taken else None
        if run is None or self.asked > MOST or self.steps > MOST_STEPS:
            self.tell("not-supported", f"The expression `{expression[:80]}` is not evaluated here.")
            return []
        try:
            with self._counted():
                found = [_plain(v) for v in run(focus, {**self.names, **(more or {})}, self.at) if v is not None]
            return [v for v in found if not (isinstance(v, str) and len(v) > LONGEST_TEXT)]
        except _TooMuch:
            self.tell("too-costly", f"The expressions of this form take too long: `{expression[:80]}`.")
            return []
        except Exception:  # whatever its author did not foresee
            self.tell("processing", f"The expression `{expression[:80]}` cannot be evaluated on this.")
            return []

    @contextmanager
    def _counted(self) -> Iterator[None]:
        """Every call within is a step; _TooMuch where there are too many. Whatever an expression nests, this thread goes on."""
        before = sys.getprofile()

        def count(frame: Any, event: str, arg: Any) -> None:
            self.steps += 1
            if self.steps > MOST_STEPS:
                raise _TooMuch

        sys.setprofile(count)
        try:
            yield
        finally:
            sys.setprofile(before)

    def tell(self, code: str, text: str) -> None:
        """Said once; at most a hundred things."""
        found = Issue("warning", code, "", text)
        if found not in self.issues and len(self.issues) < 100:
            self.issues.append(found)


Run = Callable[[Any, Names, datetime], list[Any]]


@lru_cache(2_000)
def _compiled(expression: str) -> Run | None:
    from fhirpathpy import apply_parsed_path
    from fhirpathpy.engine.nodes import ResourceNode
    from fhirpathpy.models import models
    from fhirpathpy.parser import parse

    evaluate: Callable[..., list[Any]] = apply_parsed_path
    node_of: Callable[..., Any] = ResourceNode.create_node
    try:
        tree = cast(Callable[[str], Any], parse)(f"select({expression})" if "$this" in expression else expression)  # $this is known within a function only
    except Exception:  # its parser raises whatever ANTLR does
        return None
    model = models["r4"]

    def run(focus: Any, names: Names, at: datetime) -> list[Any]:
        clock = {"today": [at.date().isoformat()], "now": [at.isoformat(timespec="seconds")], "timeOfDay": [at.strftime("%H:%M:%S")]}
        table = {name: {"fn": lambda _, given=given: list(given), "arity": {0: []}} for name, given in clock.items()}
        known = {n: node_of(v, _type(v)) if type(v) is not list else [node_of(x, _type(x)) for x in v] for n, v in {"context": focus, **names}.items()}
        return evaluate(node_of(focus, _type(focus)), tree, known, model, {"userInvocationTable": table})

    return run


def _type(value: Any) -> str | None:
    """What it is, as far as that must be known to find `value` of `valueString`."""
    if type(value) is not dict:
        return None
    if type(value.get("resourceType")) is str:
        return cast(str, value["resourceType"])
    if "linkId" in value:
        return "QuestionnaireResponse.item"
    if any(k.startswith("value") and k[5:6].isupper() for k in value):
        return "QuestionnaireResponse.item.answer"
    return None


def _plain(value: Any) -> Any:
    """As JSON has it: a date of FHIRPath as its text, a quantity of it as a Quantity."""
    if isinstance(value, (str, bool, int, dict)) or type(value).__name__ == "Decimal":
        return value
    kind = type(value).__name__
    if kind == "FP_Quantity":
        unit = str(value.unit).strip("'")
        return {"value": value.value, "unit": unit, "system": "http://unitsofmeasure.org", "code": unit}
    return str(getattr(value, "asStr", value))


def first_text(found: list[Any]) -> str:
    """The first value as text; "" when there is none."""
    return str(found[0]) if found and not isinstance(found[0], dict) else ""


__all__ = ["Names", "Node", "Speech", "first_text"]
