"""What a gateway and we both had before we met, made of one source: known by its business identifiers, and one from then on.

One where it is of the same type about the same person, in no copy of anybody's, where each side may see the other's, and where both once
said the same. docs/notes/0033
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, Final

from .. import gate
from ..domain import copies, strict
from ..domain.directory import NO_PATIENT_DATA
from ..domain.problem import Problem
from ..domain.reasons import because
from ..domain.types import Linked, Stored
from ..domain.withheld import is_stub
from ..gate import Context, House, grounds
from ..gate.context import note
from ..remote.client import Refusal
from . import attempts, belonging, recognising, tags
from .ahead import Ahead
from .having import shaped
from .leaving import still_asked
from .links import began_there, over
from .partner import Partner, as_owner
from .waiting import quarantine

NEVER: Final = NO_PATIENT_DATA | {"Patient", "Consent", "Binary"}  # who is who is asked otherwise; a consent is nobody's but its person's


async def of_ours(house: House, partner: Partner, ctx: Context, there: dict[str, Any], names: Mapping[str, str]) -> Linked | None:
    """A link to what of ours this new one of theirs is, as far as they may see ours. `ctx`: they, asking. `names`: their `Type/id` to ours.

    None where it is nothing of ours. Problem conflict where it has the name of one that never said the same. Down.
    """
    people = {ours for ours in names.values() if ours.startswith("Patient/")}
    own = await _names(partner, there)
    if not own or len(people) != 1:
        return None
    found = await gate.identified(ctx, there["resourceType"], own, *people)
    if len(found) != 1 or await attempts.of(house, partner, found[0].ref) is not None:
        return None
    ours, link = found[0], await house.store.link(partner.name, found[0].ref)
    if link is not None or not _one(there, strict.decode(ours.body or b"{}")) or not await belonging.same(house, partner, people, there):
        return None
    return await _joined(house, partner, ours, there)


async def with_theirs(house: House, partner: Partner, ctx: Context, stored: Stored, person_there: str | None) -> tuple[Linked, dict[str, Any]] | None:
    """A link to what they have of this already, before one is made there, with theirs; None where they have it not, or not for us. To ask is to
    tell: it is written down. `ctx`: they, to whom it may go.

    Asked only about a person whom they had themselves: of one whom we made there they have what we sent. Refusal where theirs never said the same.
    """
    body = strict.decode(stored.body or b"{}")
    own, about = await _names(partner, body), stored.facts.patients
    if not own or len(about) != 1 or person_there is None or stored.ref.type not in (await partner.met()).identified:
        return None
    person = await house.store.link_by_remote(partner.name, person_there)
    if not (recognising.theirs_to_write(person) or began_there(person)):
        return None
    why = await grounds(ctx, partner.terms, stored)
    if not why.decision.permit:
        return None
    asked = attempts.went(f"{partner.name} is asked whether it has this", why.on_behalf_of)
    await house.store.commit(note(ctx, "E", "disclose", why.decision, (str(stored.ref),), patient=about[0], allowed=True, detail=asked))
    try:
        own_ids, asking = ",".join(f"{s}|{v}" for s, v in own), partial(still_asked, house, partner, stored)
        page = await partner.server.identified(stored.ref.type, own_ids, patient=person_there, asking=asking)
    except Refusal:  # it cannot be asked so
        return None
    ahead = Ahead()  # of all that came back
    found = [t for t in shaped(house, page, stored.ref.type) if _one(body, t) and await belonging.same(house, partner, about, t, ahead)]
    if len(found) != 1 or await house.store.link_by_remote(partner.name, f"{stored.ref.type}/{found[0]['id']}") is not None:
        return None
    try:
        return await _joined(house, partner, stored, found[0]), found[0]
    except Problem as p:
        await quarantine(house, partner, await as_owner(house, partner, "access"), f"{stored.ref.type}/{found[0]['id']}", found[0], p, [])
        raise Refusal(422, "they have one of this business identifier, which never said this") from None


async def _joined(house: House, partner: Partner, ours: Stored, there: dict[str, Any]) -> Linked:
    agreed = await belonging.alike(house, partner, ours, there)
    if agreed is None:
        raise because("same-name", "identifier")
    return over(None, tags.home(partner.name, ours.ref, there["id"], agreed))


async def _names(partner: Partner, body: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The business identifiers (system, value) by which this may be joined; none of what is a copy of somebody's, or at no gateway."""
    if body.get("resourceType") in NEVER or copies.tags(body) or is_stub(body) or not (await partner.met()).gateway:
        return []
    return [(s, v) for s, v in recognising.identifiers(body) if not {"|", ",", "$", "\\"} & {*s, *v}]


def _one(a: Mapping[str, Any], b: Mapping[str, Any]) -> bool:
    """Are these one thing by their identifiers: one in common, and none that says otherwise. Nor is either a copy."""
    if copies.tags(a) or copies.tags(b) or is_stub(b):
        return False
    mine, other = set(recognising.identifiers(a)), set(recognising.identifiers(b))
    shared, both = {s for s, _ in mine & other}, {s for s, _ in mine} & {s for s, _ in other}
    return bool(shared) and shared == both
