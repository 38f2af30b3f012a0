"""A Consent of theirs that is not taken in may be a no. Until somebody has looked, or it can be read, it is taken as one: the record of whom
it is about is closed, in the commit that puts it into quarantine; where it can be read and says yes besides, what it says no to. docs/consents.md"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Any, Final

from .. import gate
from ..domain import strict
from ..domain.problem import Problem
from ..domain.spelling import said_otherwise
from ..domain.types import Linked, Op, Ref, Stored
from ..gate import Context, House
from .feed import askable
from .partner import Partner, local_references
from .whose import told_otherwise

DELETION: Final = {"deleted": True}
NAMES: Final = 20  # people who are looked for in what cannot be read
WHY: Final[Mapping[str, str]] = {  # by the kind of a Problem, for whose record it is
    "too-large": "it is larger than what is taken here", "malformed": "it cannot be understood as it came", "invalid": "it breaks the rules for such a choice",
    "not-offered": "it cannot be read where it is", "forbidden": "it names what we do not share with that service",
    "business-rule": "it says yes, too, and that is for the person to say here", "conflict": "it says by a number alone whose it is",
}  # fmt: skip
_IS_ONE: Final = re.compile(r'"resourceType"\s*:\s*"Consent"')
_WHOSE: Final = re.compile(r'"patient"\s*:\s*\{[^{}]*?"reference"\s*:\s*"(?:[^"]*/)?(Patient/[A-Za-z0-9.-]{1,64})(?:/_history/[^"]*)?"')
_PEOPLE: Final = re.compile(r"Patient/[A-Za-z0-9.-]{1,64}")


async def closed_by(
    house: House, partner: Partner, ctx: Context, remote_id: str, body: Any, p: Problem, before: Mapping[str, Any], link: Linked | None, stored: Stored | None,
    numbered: Sequence[str] | None = None,
) -> tuple[dict[str, Any], list[Op]]:  # fmt: skip
    """What the item in quarantine says of it, and the operations that close; neither where this is no Consent, cannot be a no, is about nobody
    whom this partner and we share, said the same `before` (whoever has looked at that has ended it), or where the person has said here what is
    to be instead. A link to what closes is of a state that nobody agreed on: the first that can be read takes its place whole. `numbered`: of one that
    says by a number alone whose it is, ours who have it and whom we share."""
    known = before.get("closes") or {}
    if not _is_one(remote_id, body) or body == DELETION or (p.kind == "conflict" and numbered is None) or not gate.may_be_no(body):
        return {}, []
    text = body if isinstance(body, str) else strict.dump(body).decode()
    people, sure = (list(numbered), True) if numbered is not None else await _whose(house, partner, ctx, body, text, stored)
    state = sha256(strict.dump([sorted(people), _without_names(body)])).hexdigest()[:32]
    if known and (known["state"] == state or not _tells(body)):
        return {"closes": known}, []
    if link is not None and not gate.theirs(stored):
        return {}, []
    why = WHY.get("conflict" if isinstance(body, dict) and said_otherwise(body) else p.kind, "it cannot be taken in as it is")
    ops: list[Op] = []
    held: dict[str, str] = {}
    in_full = askable(remote_id) and sure and (p.kind == "business-rule" or numbered is not None)
    for person in people:
        name = str(stored.ref) if stored is not None and person in stored.facts.patients else known.get("held", {}).get(person)
        again = await house.store.get(Ref(*name.split("/"))) if name else None if askable(remote_id) else await _nameless(house, partner, ctx, person)
        if again is not None and not gate.theirs(again):
            continue
        no = await _its_no(house, ctx, person, body) if in_full else None
        ref, more = await gate.take_as_no(ctx, person, why, again, no)
        held[person] = str(ref)
        ops += more
        if link is None and len(people) == 1 and askable(remote_id):
            ops.append(Linked(partner.name, ref, remote_id, began_there=True, if_absent=True))
    return ({"closes": {"state": state, "held": held}}, ops) if held else ({}, [])


async def _its_no(house: House, ctx: Context, person: str, body: Any) -> dict[str, Any] | None:
    """What it says no to; None where that cannot be told, or names what is not here: then all is closed."""
    no = gate.its_no(ctx, person, body)
    named = local_references(no["provision"]) if no is not None else []
    return no if len(await house.store.get_many(named)) == len(named) else None


def _without_names(body: Any) -> Any:
    """What it says, whatever it and the person are called: it comes by their names or by ours, as links tell of them."""
    return {k: v for k, v in body.items() if k not in ("id", "meta", "patient")} if isinstance(body, dict) else body


async def _nameless(house: House, partner: Partner, ctx: Context, person: str) -> Stored | None:
    """What closes this record already for something of theirs that had no name: a name of ours goes by what it says, and more of it closes no more."""
    for stored in await house.store.patient_record(person, ["Consent"]):
        if gate.stands_in(ctx, stored) and await house.store.link(partner.name, stored.ref) is None:
            return stored
    return None


def _is_one(remote_id: str, body: Any) -> bool:
    """What is broken may have no name of its own."""
    if askable(remote_id):
        return remote_id.startswith("Consent/")
    return body.get("resourceType") == "Consent" if isinstance(body, dict) else _IS_ONE.search(str(body)) is not None


def _tells(body: Any) -> bool:
    """Does it say something, and not only that it could not be read, or is not kept?"""
    return not isinstance(body, dict) or "resourceType" in body


async def _whose(house: House, partner: Partner, ctx: Context, body: Any, text: str, mine: Stored | None) -> tuple[list[str], bool]:
    """Ours (`Patient/id`) whom this is about: whom it names as the one whose consent it is, else everybody whom it names; where none of
    them is known here, whose it was. And is that sure: it names them itself, by their record or a number. An id may come again as another's, and
    over what is kept of a no goes nothing narrower that is not about the same person."""
    patient = body.get("patient") if isinstance(body, dict) else None
    if isinstance(body, dict) and said_otherwise(body) and (numbered := await told_otherwise(house, partner, ctx, body)):
        return numbered, True
    said = str(patient.get("reference", "")) if isinstance(patient, dict) else ""
    one = _PEOPLE.search(said) if said else None
    named = [one[0]] if one is not None else _WHOSE.findall(text)[:1]
    found = [await _shared(house, partner, name) for name in named or list(dict.fromkeys(_PEOPLE.findall(text)))[:NAMES]]
    people = list(dict.fromkeys(p for p in found if p is not None))
    return (people, one is not None) if people else (list(mine.facts.patients) if mine is not None else [], False)


async def _shared(house: House, partner: Partner, name: str) -> str | None:
    """Whom we share, or shared, with them under this name, as it is called there or here: a no that is kept may have taken their copy back."""
    ref = Ref(*name.split("/"))
    for link in (await house.store.link_by_remote(partner.name, name), await house.store.link(partner.name, ref)):
        stored = await house.store.get(link.ref) if link is not None else None
        if stored is not None and not stored.deleted:
            return str(stored.ref)
    return None
