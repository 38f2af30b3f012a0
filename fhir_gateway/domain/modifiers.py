"""What changes the meaning of what it stands on, and is not known here, may not be passed over: neither in a resource nor in what asks for something. Pure.

https://hl7.org/fhir/R4/extensibility.html#modifierExtension https://hl7.org/fhir/R4/resource.html#implicitRules
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from .problem import Issue, Problem

EXTENSION: Final = "modifierExtension"


def unknown(extension: Any, where: str) -> Issue:
    """An error of a modifier extension: none is known here."""
    url = extension.get("url") if isinstance(extension, Mapping) else None
    return Issue("error", "extension", where, f"The modifier extension `{str(url)[:120]}` is not known here, and may not be passed over.", "unknown-modifier")


def plain(asked: Any, where: str) -> None:
    """Of a Bundle, an entry of it, or Parameters: what asks for something, without the resources in it, which are judged each by itself.

    Problem invalid for a modifier extension, business-rule for implicit rules: the first of them, where it stands.
    """
    if isinstance(asked, Mapping) and "implicitRules" in asked:
        raise Problem("business-rule", "Rules that change what a resource means are not known here.", f"{where}.implicitRules")
    todo: list[tuple[Any, str]] = [(asked, where)]
    while todo:
        node, at = todo.pop()
        if isinstance(node, list):
            todo += [(item, f"{at}[{n}]") for n, item in enumerate(node)]
        elif isinstance(node, Mapping):
            if EXTENSION in node:
                held = node[EXTENSION]
                first, there = (held[0], f"{at}.{EXTENSION}[0]") if isinstance(held, list) and held else (held, f"{at}.{EXTENSION}")
                issue = unknown(first, there)
                raise Problem("invalid", issue.text, there, issues=[issue])
            todo += [(v, f"{at}.{k}") for k, v in node.items() if k != "resource" and isinstance(v, (list, Mapping))]
