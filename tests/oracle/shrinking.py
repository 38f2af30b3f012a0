"""A difference made small: parts are taken away as long as the two still differ, and the one that refuses does so for the same reason."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from copy import deepcopy
from typing import Any

Case = dict[str, Any]
MOST = 250  # questions asked of both for one difference


def shrunk(case: Case, differs: Callable[[Case], bool]) -> Case:
    """The smallest case found for which `differs` still holds."""
    asked = 0
    again = True
    while again and asked < MOST:
        again = False
        for smaller in _smaller(case):
            asked += 1
            if asked > MOST:
                break
            if differs(smaller):
                case, again = smaller, True
                break
    return case


def _smaller(case: Case) -> Iterator[Case]:
    """The case without one part, the largest parts first."""
    for name in ("resource", "questionnaire"):
        whole = case.get(name)
        if not isinstance(whole, dict):
            continue
        for path in sorted(_paths(whole), key=lambda p: -len(str(_at(whole, p)))):
            if path == ("resourceType",) or path == ("url",):
                continue
            copy = deepcopy(whole)
            holder = _at(copy, path[:-1])
            del holder[path[-1]]
            yield {**case, name: copy}


def _paths(node: Any, base: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, value in items:
        yield (*base, key)
        yield from _paths(value, (*base, key))


def _at(node: Any, path: tuple[Any, ...]) -> Any:
    for step in path:
        node = node[step]
    return node
