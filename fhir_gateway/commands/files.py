"""Files that a command is given."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..domain import strict
from ..domain.problem import Problem
from ..settings import Refused


def contents(file: Path) -> bytes:
    """What is in it. Refused where it cannot be read."""
    try:
        return file.read_bytes()
    except OSError as wrong:
        raise Refused(f"{file} cannot be read: {wrong.strerror}.") from None


def resource_in(file: Path) -> dict[str, Any]:
    """The one resource in it, as JSON. Refused where it is none."""
    try:
        return strict.read(contents(file))
    except Problem as p:
        raise Refused(f"{file} is no resource in JSON: {p.text}") from None
