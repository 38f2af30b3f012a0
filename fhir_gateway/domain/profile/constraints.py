"""Invariants of profiles, by fhirpathpy; read when first used, since most deployments never do.

What cannot be evaluated (a function that needs a server, an expression that is none) is not held against a resource.
https://hl7.org/fhir/R4/fhirpath.html
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, cast

Names = dict[str, tuple[Any, str]]  # value and type
Functions = dict[str, Callable[..., Any]]
Check = Callable[[Any, str, Names, Functions], bool | None]


def holds(expression: str, value: Any, type: str, names: Names, functions: Functions) -> bool | None:
    """Whether the expression is true of the value; None when that cannot be said.

    `type` is where it stands in R4 (`Quantity`, `Questionnaire.item`), `names` what `%resource` and others are, `functions` what
    `resolve()` and others do, each from a list of values to a list.
    """
    check = _compiled(expression)
    return check(value, type, names, functions) if check is not None else None


@cache
def _compiled(expression: str) -> Check | None:
    from fhirpathpy import apply_parsed_path
    from fhirpathpy.engine.nodes import ResourceNode
    from fhirpathpy.models import models
    from fhirpathpy.parser import parse

    run: Callable[..., Any] = apply_parsed_path
    node_of: Callable[..., Any] = ResourceNode.create_node
    try:
        tree = cast(Callable[[str], Any], parse)(expression)
    except Exception:  # its parser raises whatever ANTLR does
        return None
    model = models["r4"]

    def check(value: Any, type: str, names: Names, functions: Functions) -> bool | None:
        options = {"userInvocationTable": {n: {"fn": f, "arity": _ARITY.get(n, {0: []})} for n, f in functions.items()}}
        try:
            known = {n: node_of(v, t) for n, (v, t) in (names | {"context": (value, type)}).items()}
            found = run(node_of(value, type), tree, known, model, options)
        except Exception:  # an expression may fail in any way on data that it did not foresee
            return None
        return _true(found)

    return check


def _true(found: Any) -> bool:
    if type(found) is list and len(found) == 1 and type(found[0]) is bool:
        return found[0]
    return bool(found)


_ARITY: dict[str, dict[int, list[str]]] = {"memberOf": {1: ["String"]}, "conformsTo": {1: ["String"]}}
