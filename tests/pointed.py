"""A golden plan of somebody else's examples without a word of theirs: each text is `-> Type/id#path` of where it stands in their files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

ARROW = "-> "


def leaves(resources: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Every text of these resources, by where it stands."""
    return {f"{r['resourceType']}/{r.get('id', '')}#{path}": text for r in resources for path, text in _leaves(r, "")}


def _leaves(node: Any, at: str) -> Iterator[tuple[str, Any]]:
    if isinstance(node, Mapping):
        for key, value in node.items():
            yield from _leaves(value, f"{at}.{key}" if at else key)
    elif isinstance(node, list):
        for n, value in enumerate(node):
            yield from _leaves(value, f"{at}[{n}]")
    else:
        yield at, node


def pointed(plan: Any, texts: Mapping[str, Any]) -> Any:
    """The plan with each text that is more than a code (a space in it, or ten characters) pointed to, where it stands in theirs."""
    first: dict[str, str] = {}
    for place in sorted(texts):
        if isinstance(texts[place], str):
            first.setdefault(texts[place], place)
    if isinstance(plan, dict):
        return {key: pointed(value, texts) for key, value in plan.items()}
    if isinstance(plan, list):
        return [pointed(value, texts) for value in plan]
    return ARROW + first[plan] if isinstance(plan, str) and plan in first and (" " in plan or len(plan) >= 10) else plan


def filled(golden: Any, texts: Mapping[str, Any]) -> Any:
    """The plan that a golden one stands for."""
    if isinstance(golden, dict):
        return {key: filled(value, texts) for key, value in golden.items()}
    if isinstance(golden, list):
        return [filled(value, texts) for value in golden]
    return texts[golden.removeprefix(ARROW)] if isinstance(golden, str) and golden.startswith(ARROW) else golden
