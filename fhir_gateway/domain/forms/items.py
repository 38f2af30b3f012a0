"""Reading the items of Questionnaires and of their answers; what is malformed reads as absent."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

Node = dict[str, Any]

EXTENSION: Final = "http://hl7.org/fhir/StructureDefinition/"
SDC: Final = "http://hl7.org/fhir/uv/sdc/StructureDefinition/sdc-questionnaire-"


def link(item: Mapping[str, Any]) -> str:
    """The linkId; "" when it is missing."""
    return str(item.get("linkId", ""))


def nodes(node: Mapping[str, Any], name: str) -> list[Node]:
    """The objects in this list of the node."""
    some = node.get(name)
    return [i for i in some if type(i) is dict] if type(some) is list else []


def items(node: Mapping[str, Any]) -> list[Node]:
    return nodes(node, "item")


def answers(item: Mapping[str, Any]) -> list[Node]:
    return nodes(item, "answer")


def every(node: Mapping[str, Any]) -> Iterator[Node]:
    """Every item below, of a Questionnaire or a response."""
    for item in items(node):
        yield item
        yield from every(item)
        for answer in answers(item):
            yield from every(answer)


def chains(node: Mapping[str, Any], above: tuple[str, ...] = ()) -> Iterator[tuple[str, tuple[str, ...]]]:
    """(linkId, the linkIds above it) of every question."""
    for item in items(node):
        yield link(item), above
        yield from chains(item, (*above, link(item)))


def value(node: Mapping[str, Any]) -> tuple[str, Any]:
    """("Coding", {...}) of `valueCoding`; ("", None) when there is none."""
    return next(((k[5:], v) for k, v in node.items() if k.startswith("value") and k[5:6].isupper()), ("", None))


def extensions(node: Mapping[str, Any], url: str) -> list[Node]:
    """The extensions of this address."""
    return [x for x in nodes(node, "extension") if x.get("url") == url]


def extension(node: Mapping[str, Any], url: str) -> Any:
    """The value of the first extension of this address; None when there is none."""
    return next((value(x)[1] for x in extensions(node, url)), None)


def part(node: Mapping[str, Any], name: str) -> Any:
    """The value of a part of a complex extension."""
    return extension(node, name)


def expression(found: Any) -> str:
    """The text of a FHIRPath Expression, or of a string that is one; "" for another language."""
    if type(found) is str:
        return found
    if type(found) is dict and str(found.get("language", "text/fhirpath")) == "text/fhirpath":
        return str(found.get("expression", ""))
    return ""
