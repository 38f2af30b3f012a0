"""Whom a command means: `Type/id` here or where it came from, `system|value`, an NHS number."""

from __future__ import annotations

from .. import gate
from ..domain.problem import Problem
from ..settings import Refused
from ..wiring import Wired, operator

PERSON = ("Patient",)


async def meant(w: Wired, said: str, *types: str, option: str = "") -> str:
    """`Type/id` here. Refused for an identifier that nobody has, or a name of several."""
    try:
        return await gate.meant(operator(w), said, types)
    except Problem as wrong:
        raise Refused(f"{option}: {wrong.text}" if option else wrong.text) from None


async def person(w: Wired, said: str) -> str:
    """`Patient/id`."""
    return await meant(w, said, *PERSON)


async def person_id(w: Wired, said: str) -> str:
    """The bare id."""
    return (await person(w, said)).removeprefix("Patient/")
