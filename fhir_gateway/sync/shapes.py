"""Is what a server sent of the shape that R4 gives such a resource: asked before anything here looks into it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..domain.problem import Problem
from ..domain.validate import check
from ..gate import House


def misshapen(house: House, there: Mapping[str, Any]) -> Problem | None:
    """What is not of its shape, in a sentence; None where all is. What it says is judged when it is written."""
    wrong = next((i for i in check(dict(there), house.r4) if i.severity == "error" and i.code == "structure"), None)
    return Problem("malformed", wrong.text, wrong.where) if wrong is not None else None
