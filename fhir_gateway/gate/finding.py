"""Whom somebody means: by id, or by NHS number together with date of birth and family name (contracts.md, last line).

A look-up by name and number is how a clinician comes to a person whom they cannot see. It tells the same of nobody and of somebody
else's number, it is written down, and guessing is slowed (`guessing`).
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import date
from typing import Any, Final

from ..domain import strict
from ..domain.identity import NHS_NUMBER, NO_NUMBER, agrees, is_nhs_number
from ..domain.problem import Problem, not_found
from ..domain.types import Facts, Ref, Stored
from .context import Context, ask, need_scope, note, within_launch
from .guessing import counted, forgiven
from .identifying import with_number
from .reading import in_scope

ID: Final = re.compile(r"[A-Za-z0-9\-.]{1,64}")


@dataclass(frozen=True, slots=True)
class Named:
    """A person as they are known on paper. `birth_date` is YYYY-MM-DD."""

    nhs_number: str
    birth_date: str
    family_name: str

    @classmethod
    def said(cls, body: dict[str, Any]) -> Named:
        """From what was sent or typed. Problem invalid names the part that is missing or wrong."""
        parts = {}
        for part in ("nhs_number", "birth_date", "family_name"):
            value = body.get(part)
            if not isinstance(value, str) or not value.strip() or len(value) > 200:
                raise Problem("invalid", "A person is found by `nhs_number`, `birth_date` and `family_name` together.", part)
            parts[part] = value.strip()
        parts["nhs_number"] = re.sub(r"[\s-]", "", parts["nhs_number"])
        if not is_nhs_number(parts["nhs_number"]):
            raise Problem("invalid", NO_NUMBER, "nhs_number")
        try:
            date.fromisoformat(parts["birth_date"])
        except ValueError:
            raise Problem("invalid", "`birth_date` is a day such as 1951-04-07.", "birth_date") from None
        return cls(**parts)


def may_open(ctx: Context) -> None:
    """To open somebody's record by one's own word changes who sees it: it needs the scope to read Patient and to change it."""
    need_scope(ctx, "r", "Patient")
    need_scope(ctx, "u", "Patient")


async def person_meant(ctx: Context, whom: str | Named, what: str, shut: Callable[[Stored], Awaitable[bool]] | None = None) -> Stored:
    """The Patient called so, whether or not this asker may see anything of theirs: for acts that the person is told of.

    `what` is what they want, for the trail. Whom `shut` holds for is like nobody, in the count too. Problem: not-found (written
    down), throttled.
    """
    if isinstance(whom, Named):
        await counted(ctx)
        found, named = await _named(ctx, whom)
    else:
        found = named = await ctx.house.store.get(Ref("Patient", whom)) if ID.fullmatch(whom) else None
    no = found is not None and not found.deleted and shut is not None and await shut(found)
    if found is None or found.deleted or no or not _reached(ctx, found):
        mistaken = str(named.ref) if named is not None and not named.deleted else None
        why = "the person said no" if no else "nobody found"
        refs = () if isinstance(whom, Named) else (f"Patient/{whom[:64]}",)
        await ctx.house.store.commit(note(ctx, "E", what, None, refs, patient=mistaken, allowed=False, detail=why))
        raise not_found()
    if isinstance(whom, Named):
        await forgiven(ctx)
    return found


def _reached(ctx: Context, found: Stored) -> bool:
    """Does the sign-in reach this person: whom it does not is nobody."""
    return within_launch(ctx, "r", found.facts) and in_scope(ctx, "r", found) and in_scope(ctx, "u", found)


async def find(ctx: Context, whom: Named) -> str:
    """The id of this person, for who may see something of theirs without more ado: those who look after them, and urgent care.

    Problem: not-found for everybody else, and when there is nobody; throttled.
    """
    need_scope(ctx, "r", "Patient")
    await counted(ctx)
    found, named = await _named(ctx, whom)
    seen = None
    for facts in _seen_by_somebody(found or named):
        decision = await ask(ctx, "access", facts)
        seen = decision if decision.permit and (seen is None or not seen.permit) else seen or decision
    good = found is not None and seen is not None and seen.permit and within_launch(ctx, "r", found.facts)
    person = str(named.ref) if named is not None else None
    told = (person,) if good and person else ()
    await ctx.house.store.commit(note(ctx, "E", "find", seen if good else None, told, patient=person, allowed=good))
    if not good or found is None:
        raise not_found()
    await forgiven(ctx)
    return found.ref.id


def _seen_by_somebody(stored: Stored | None) -> list[Facts]:
    """The person's own entry, and a warning flag as urgent care may see one; of nobody, as many questions."""
    if stored is None:
        return [Facts("Patient", "", ("Patient/",)), Facts("Flag", "", ("Patient/",), "N")]
    return [stored.facts, Facts("Flag", "", (str(stored.ref),), "N")]


async def _named(ctx: Context, whom: Named) -> tuple[Stored | None, Stored | None]:
    """(who it is, whose number it is): the second alone where name and date of birth are another's."""
    paper = {
        "identifier": [{"system": NHS_NUMBER, "value": whom.nhs_number}],
        "birthDate": whom.birth_date,
        "name": [{"family": whom.family_name}],
    }
    hits = [h for h in await with_number(ctx, whom.nhs_number) if h.body is not None]
    same = [h for h in hits if agrees(strict.decode(h.body or b""), paper)]
    return (same[0] if len(hits) == 1 and same else None), (hits[0] if len(hits) == 1 else None)


__all__ = ["Named", "find", "may_open", "person_meant"]
