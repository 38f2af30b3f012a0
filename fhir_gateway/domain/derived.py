"""What a definition says of others, or of itself: a SearchParameter of the one it is derived from, a CapabilityStatement of those it
names, a CodeSystem of its own codes.

https://hl7.org/fhir/R4/searchparameter-definitions.html#SearchParameter.derivedFrom
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from .r4 import R4

Node = dict[str, Any]
Say = Callable[[str, str, str], None]  # issue code, where below the definition, sentence


def check_parameter(node: Node, r4: R4, say: Say) -> None:
    """Say where a SearchParameter is no narrower form of the one in R4 that it is derived from."""
    known = r4.search_parameter_at(_plain(node.get("derivedFrom")))
    if known is None:
        return
    kind, bases = known
    if type(node.get("type")) is str and node["type"] != kind:
        say("business-rule", "type", f"The parameter it is derived from is a {kind}, not a {node['type'][:40]}.")
    some = node.get("base")
    for base in some if type(some) is list else ():
        if type(base) is str and base not in bases and not bases & {"Resource", "DomainResource"}:
            say("business-rule", "base", f"The parameter it is derived from is not for {base[:64]}.")


def check_capability(node: Node, r4: R4, say: Say) -> None:
    """Say where a CapabilityStatement gives a search parameter of R4 another type."""
    for i, rest in enumerate(_list(node, "rest")):
        for j, resource in enumerate(_list(rest, "resource")):
            for k, parameter in enumerate(_list(resource, "searchParam")):
                known = r4.search_parameter_at(_plain(parameter.get("definition")))
                if known is not None and type(parameter.get("type")) is str and parameter["type"] != known[0]:
                    at = f"rest[{i}].resource[{j}].searchParam[{k}].type"
                    say("invalid", at, f"The parameter it names is a {known[0]}, not a {parameter['type'][:40]}.")


def check_codes(node: Node, say: Say) -> None:
    """Say where a CodeSystem's content and count are not what it holds."""
    held = sum(1 for _ in _concepts(node))
    if node.get("content") == "complete" and type(node.get("count")) is int and node["count"] != held:
        say("invalid", "count", f"A complete code system of {node['count']} codes holds {held}.")
    if node.get("content") == "not-present" and held:
        say("invalid", "concept", "The code system says that its codes are not here.")


def _concepts(node: Node) -> Iterator[Node]:
    for concept in _list(node, "concept"):
        yield concept
        yield from _concepts(concept)


def _plain(canonical: Any) -> str:
    return canonical.partition("|")[0] if type(canonical) is str else ""


def _list(node: Node, name: str) -> list[Node]:
    some = node.get(name)
    return [n for n in some if type(n) is dict] if type(some) is list else []
