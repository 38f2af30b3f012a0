"""Whom somebody can see, to choose one: never anybody else, by whatever name is typed."""

from __future__ import annotations

import re
from typing import Any, Final

from ... import gate
from ...domain import strict
from ...gate import Context
from .names import called
from .words import day

LOOKED: Final = "whom-name"  # what was typed to find somebody
ID: Final = re.compile(r"[A-Za-z0-9\-.]{1,64}")
MOST = 50


async def seen(ctx: Context, name: str = "") -> tuple[list[dict[str, str]], bool]:
    """People whose record this reader can see, by family name (those called so, when a name is typed), and whether there are more."""
    asked = [("_sort", "family"), ("_count", str(MOST))] + [("name", word) for word in name.split()[:5]]
    page = await gate.search(ctx, "Patient", asked)
    return [_person(strict.decode(e.body)) for e in page.entries if e.body and e.mode == "match"], page.next is not None


async def named(ctx: Context, patient: str) -> dict[str, str] | None:
    """This one (`Patient/id`), if this reader can see them."""
    id = patient.removeprefix("Patient/")
    if not ID.fullmatch(id):
        return None
    page = await gate.search(ctx, "Patient", [("_id", id)])
    return next((_person(strict.decode(e.body)) for e in page.entries if e.body), None)


def _person(patient: dict[str, Any]) -> dict[str, str]:
    return {"id": patient["id"], "name": called(patient) or patient["id"], "born": day(patient.get("birthDate"))}
