"""Whom an operator means: by the id here, by the id where they came from, by an identifier. Nothing of any record is told."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Final

from ..domain.identity import NHS_NUMBER
from ..domain.mapping.names import BASE
from ..domain.problem import Problem
from ..domain.search import Query, Term, Value
from ..domain.types import Always, Never, Ref
from .context import Context
from .identifying import with_number

ORIGINAL: Final = f"{BASE}/id/original"  # the tag of what was brought in: what it was called there
_NUMBER: Final = re.compile(r"\d{3}[ -]?\d{3}[ -]?\d{4}")


async def meant(ctx: Context, said: str, types: Collection[str]) -> str:
    """`Type/id` here, for `Type/id` here or where it came from, `system|value`, an NHS number, or the bare id of the only type.

    What is called so nowhere comes back as it is, if it may be an address; Problem invalid for an identifier that nobody has, and
    for a name of several; forbidden for anybody but an operator.
    """
    if not ctx.actor.operator:
        raise Problem("forbidden", "To name somebody by an identifier is an operator's.")
    if "|" in said:
        system, _, value = said.partition("|")
        return _one([ref for type in sorted(types) for ref in await _search(ctx, type, "identifier", system, value)], f"the identifier `{said[:120]}`")
    type, _, id = said.rpartition("/")
    type = type or (next(iter(types)) if len(types) == 1 else "")
    if type not in types or not id:
        return said
    stored = await ctx.house.store.get(Ref(type, id))
    if stored is not None:
        return f"{type}/{id}"
    if type == "Patient" and _NUMBER.fullmatch(id):
        return _one([str(s.ref) for s in await with_number(ctx, re.sub("[ -]", "", id))], "this NHS number")
    found = await _search(ctx, type, "_tag", ORIGINAL, f"{type}/{id}")
    return _one(found, f"the name {type}/{id[:64]}") if found else f"{type}/{id}"


def _one(found: list[str], name: str) -> str:
    if not found:
        raise Problem("invalid", f"Nobody here has {name}: bring them in first, by `fhir-gateway import`.")
    if len(found) > 1:
        raise Problem("invalid", f"More than one here has {name}: name one of {', '.join(sorted(found)[:5])}.")
    return found[0]


async def _search(ctx: Context, type: str, parameter: str, system: str, value: str) -> list[str]:
    if (type, system, parameter) == ("Patient", NHS_NUMBER, "identifier"):
        return [str(s.ref) for s in await with_number(ctx, re.sub("[ -]", "", value))]
    query = Query((type,), (Term(parameter, "token", values=(Value(text=value, system=system),)),))
    return [str(s.ref) for s in (await ctx.house.store.search(query, Always(), filtered=Never(), count=5)).hits]
