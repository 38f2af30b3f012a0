"""Is what a server sent of the shape that R4 gives such a resource, and no more than any client may send: asked before anything here looks into it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from ..domain import strict
from ..domain.limits import Limits
from ..domain.problem import Problem
from ..domain.validate import check
from ..gate import House

BESIDE: Final = 64 * 1024  # bytes of what servers write into a resource: id, versions, stamps, tags


def misshapen(house: House, there: Mapping[str, Any]) -> Problem | None:
    """What is not of its shape, in a sentence; None where all is. What it says is judged when it is written."""
    wrong = next((i for i in check(dict(there), house.r4) if i.severity == "error" and i.code == "structure"), None)
    return Problem("malformed", wrong.text, wrong.where) if wrong is not None else None


def too_much(limits: Limits, there: Mapping[str, Any]) -> Problem | None:
    """What of it is more than a client may send, in a sentence; None where nothing is. The work on a resource grows with its lists and elements."""
    raw = strict.dump(dict(there))
    much = strict.beyond(raw, limits.items, limits.elements) or (f"{len(raw)} bytes, and {limits.body} are the most" if len(raw) > limits.body + BESIDE else "")
    return Problem("too-large", f"It has {much}.", str(there.get("resourceType", ""))) if much else None
