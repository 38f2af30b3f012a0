"""FHIRPath in a form: what its author wrote, never what a person typed. By fhirpathpy, read when first used.

https://hl7.org/fhir/uv/sdc/expressions.html . An expression that cannot be evaluated is said to be so, and gives nothing. Only so many
are evaluated for one form, none is long, all of them together take only so many steps to read and to evaluate, and none may search a text by a pattern, walk all
of a tree or print.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache, lru_cache
from typing import Any, Final, cast

from ..problem import Issue
from .items import Node

LONGEST: Final = 1_000  # characters
MOST: Final = 2_000  # evaluations for one form
MOST_STEPS: Final = 2_000_000  # calls in all expressions of one form: about a second
MOST_THIS: Final = 8  # `$this` in one expression: a text that is put to itself again and again grows without a step
MOST_READING: Final = 4_000_000  # calls in reading them, of which a plain one takes ten thousand: about a second
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
    reading: int = 0

    def said(self, expression: str, focus: Any, more: Names | None = None) -> list[Any]:
        """The values that the expression gives, as JSON has them."""
        self.asked += 1
        taken = len(expression) <= LONGEST and expression.count("$this") <= MOST_THIS and not _NOT_HERE.search(expression)
        if not taken or self.asked > MOST or self.steps > MOST_STEPS or self.reading > MOST_READING or (run := self._read(expression)) is None:
            self.tell("not-supported", f"The expression `{expression[:80]}` is not evaluated here.")
            return []
        try:
            with _counted(self._step):
                found = [_plain(v) for v in run(focus, {**self.names, **(more or {})}, self.at) if v is not None]
            return [v for v in found if not (isinstance(v, str) and len(v) > LONGEST_TEXT)]
        except _TooMuch:
            self.tell("too-costly", f"The expressions of this form take too long: `{expression[:80]}`.")
            return []
        except Exception:  # whatever its author did not foresee
            self.tell("processing", f"The expression `{expression[:80]}` cannot be evaluated on this.")
            return []

    def _read(self, expression: str) -> Run | None:
        """What evaluates it; None where it cannot be read, or not in the steps that are left."""
        _library()
        try:
            with _counted(self._read_on):
                return _compiled(expression)
        except _TooMuch:
            return None

    def _step(self) -> None:
        self.steps += 1
        if self.steps > MOST_STEPS:
            raise _TooMuch

    def _read_on(self) -> None:
        self.reading += 1
        if self.reading > MOST_READING:
            raise _TooMuch

    def tell(self, code: str, text: str) -> None:
        """Said once; at most a hundred things."""
        found = Issue("warning", code, "", text)
        if found not in self.issues and len(self.issues) < 100:
            self.issues.append(found)


Run = Callable[[Any, Names, datetime], list[Any]]


@contextmanager
def _counted(step: Callable[[], None]) -> Iterator[None]:
    """Every call within is a step, which may raise _TooMuch. Whatever an expression nests, this thread goes on."""
    before = sys.getprofile()
    sys.setprofile(lambda frame, event, arg: step())
    try:
        yield
    finally:
        sys.setprofile(before)


@cache
def _library() -> tuple[Callable[[str], Any], Callable[..., list[Any]], Callable[..., Any], Any]:
    """What reads, what evaluates, how it takes a value, and what it knows of R4. To load it is no step of a form."""
    from fhirpathpy import apply_parsed_path
    from fhirpathpy.engine.nodes import ResourceNode
    from fhirpathpy.models import models
    from fhirpathpy.parser import parse

    return cast(Callable[[str], Any], parse), apply_parsed_path, ResourceNode.create_node, models["r4"]


@lru_cache(2_000)
def _compiled(expression: str) -> Run | None:
    parse, evaluate, node_of, model = _library()
    try:
        tree = parse(f"select({expression})" if "$this" in expression else expression)  # $this is known within a function only
    except Exception:  # its parser raises whatever ANTLR does
        return None

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
