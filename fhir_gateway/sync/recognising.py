"""Who somebody is at a partner, found out: before one is made there, when something of theirs comes in, and whenever either record changes.

What a partner had before is theirs and is never written over. docs/notes/0023
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from typing import Any

from ..domain import strict
from ..domain.consenting import LONGEST
from ..domain.directory import NO_PATIENT_DATA
from ..domain.identity import NHS_NUMBER, agrees, families, nhs_number, nhs_numbers, retired, unlike, which
from ..domain.problem import Problem
from ..domain.types import Linked, Op, Ref, Send, Stored
from ..gate import Context, House, grounds
from ..gate.context import note
from ..gate.identifying import find_person, with_number
from ..gate.several import about_others_too
from ..remote.client import Refusal, Unknown
from ..store.base import Moved
from . import attempts, tags
from .ahead import Ahead
from .feed import ID
from .having import having, may_be_asked
from .identity import Waits, hold, of, settle, waiting, wrong
from .leaving import still_asked
from .links import etag_of, over
from .partner import Partner, as_owner, local_references
from .renaming import named_otherwise
from .shapes import misshapen

ADOPTED = b"https://fhir-gateway.example/id/adopted"  # in what a link says was sent: nothing was, they had it before
STRANGERS = 10_000  # records there that are nobody's here: so many are remembered, until they change


# -- who waits ------------------------------------------------------------------------------------------------------------


async def waits(house: House, partner: Partner, stored: Stored, link: Linked | None) -> bool:
    """Must this wait because somebody it is about does. Of the person's own record it is looked at again, as it is there now."""
    for person in stored.facts.patients:
        doubt = await of(house, partner, person)
        if doubt is None:
            continue
        if str(stored.ref) != person:
            return True
        if link is not None and not link.gone and doubt.why != "several" and await _unlike(house, partner, stored, link):
            return True  # what else it may be is looked at in `still`, and without a link in `met`
    return False


async def same(house: House, partner: Partner, ctx: Context, person: Ref, name: str, evidence: str) -> None:
    """A person says which record there (`Patient/id`) is theirs. NHS number, date of birth and family name must agree all the same.

    What was sent under another record is sent again under this one. Problem not-found, conflict, business-rule.
    """
    stored, was = await house.store.get(person), await house.store.link(partner.name, person)
    if stored is None or stored.deleted or stored.body is None:
        raise Problem("not-found", "There is nobody here by this name.")
    theirs = await read(house, partner, name)
    if theirs is None:
        raise Problem("not-found", f"There is no `{name[:80]}` at {partner.name}.")
    ours = strict.decode(stored.body)
    if not nhs_numbers(ours) or nhs_numbers(ours) != nhs_numbers(theirs) or not agrees(ours, theirs) or retired(theirs):
        raise Problem("conflict", "NHS number, date of birth and family name must be the same there and here, and their record in use. Correct it first.")
    if (other := await _taken(house, partner, person, name)) is not None:
        raise Problem("conflict", f"{name} is known here as {other}. Are these one person's two records? Then merge them first.")
    if not evidence.strip() or len(evidence) > LONGEST:
        raise Problem("business-rule", f"Say in `evidence` who found this out, when and how (at most {LONGEST} characters).", "evidence")
    rows = await house.store.ledger(remote=partner.name, patient=str(person), open_only=True)
    others = {s.ref async for s in about_others_too(house, [str(person)])}
    here = await house.store.get_many(sorted({d.ref for d in rows} | others))
    again: list[Op] = [Send(partner.name, ref, s.version, str(person)) for ref, s in here.items() if not s.deleted and ref != person]
    if person in here:  # our own copy, beside theirs
        again.append(Send(partner.name, person, stored.version, str(person), "recall"))
    trail = note(ctx, "U", "record", None, (str(person),), patient=str(person), allowed=True, detail=f"is {name} at {partner.name}: {evidence.strip()}")
    with suppress(Moved):  # said below
        await settle(house, partner, ctx, person, adopted(partner, stored, theirs, was), trail, *again, met=name)
    link = await house.store.link(partner.name, person)
    if link is None or link.remote_id != name:
        raise Problem("stale", "Somebody else changed this meanwhile. Look again.")


# -- outward: before one is made there ------------------------------------------------------------------------------------


async def met(house: House, partner: Partner, ctx: Context, stored: Stored, was: Linked | None) -> bool:
    """Does that server have this already: linked then, in the place of the link that `was`, and nothing is made there. Waits where it is not
    sure whether it is the same."""
    body = strict.decode(stored.body or b"{}")
    if stored.ref.type != "Patient" and stored.ref.type not in NO_PATIENT_DATA:
        return False
    if await tags.began_at(house, stored, (await partner.met()).gateway):  # a copy of theirs: known by its tag
        return False
    if stored.ref.type == "Patient":
        return await _person(house, partner, ctx, stored, body, was)
    return await _entry(house, partner, stored, body, was)


async def _person(house: House, partner: Partner, ctx: Context, stored: Stored, ours: dict[str, Any], was: Linked | None) -> bool:
    doubt, number = await of(house, partner, stored.ref), nhs_number(ours)
    with_it = await _numbered(house, partner, ctx, stored, number) if number is not None else None
    if with_it is None:
        if doubt is not None:
            raise Waits
        return False
    if any(tags.names(p, house, stored.ref) for p in with_it):  # a copy of ours: found by its tag
        await settle(house, partner, ctx, stored.ref)
        return False
    why, found = which(ours, with_it)
    if found is not None and await _taken(house, partner, stored.ref, _name(found)):
        why = "taken"
    if why or (not found and doubt is not None and doubt.why == "deleted"):
        await hold(house, partner, ctx, stored.ref, why or "deleted", [_name(p) for p in with_it])
        raise Waits
    if found is None:
        await settle(house, partner, ctx, stored.ref)
        return False
    await settle(house, partner, ctx, stored.ref, adopted(partner, stored, found, was), *await named_otherwise(house, partner, stored, was), met=_name(found))
    return True


async def _numbered(house: House, partner: Partner, ctx: Context, stored: Stored, number: str) -> list[dict[str, Any]] | None:
    """The Patients there with this NHS number; None where that cannot be asked. To ask is to tell: it needs the same yes as the person's own
    entry, at the moment at which it leaves, and is written down. AskAgain where that is another by then."""
    if not await may_be_asked(partner, "Patient"):
        return None
    why = await grounds(ctx, partner.terms, stored)
    detail = attempts.went(f"{partner.name} is asked who has this NHS number", why.on_behalf_of)
    await house.store.commit(note(ctx, "E", "disclose", why.decision, (str(stored.ref),), patient=str(stored.ref), detail=detail))
    if not why.decision.permit:
        raise Waits
    asking = partial(still_asked, house, partner, stored)
    return await having(house, partner, "Patient", NHS_NUMBER, number, lambda p: number in nhs_numbers(p), asking)


async def still(house: House, partner: Partner, ctx: Context, stored: Stored, link: Linked) -> None:
    """A person who is linked was written here: Waits where their record there is no longer the same person's, or where what is to be sent
    would give a second record there the NHS number of another."""
    if stored.ref.type != "Patient":
        return
    ours = strict.decode(stored.body or b"{}")
    if theirs_to_write(link):
        theirs = await read(house, partner, link.remote_id)
        if theirs is None or (why := unlike(ours, theirs)):
            await hold(house, partner, ctx, stored.ref, "deleted" if theirs is None else why, [link.remote_id])
            raise Waits
    elif (number := nhs_number(ours)) is not None and number not in nhs_numbers(strict.decode(link.base_received or link.base_sent or b"{}")):
        found = await _numbered(house, partner, ctx, stored, number) or []
        others = [p for p in found if _name(p) != link.remote_id and not tags.names(p, house, stored.ref)]
        if others:
            await hold(house, partner, ctx, stored.ref, "several", [link.remote_id, *map(_name, others)])
            raise Waits
    await settle(house, partner, ctx, stored.ref)


async def _taken(house: House, partner: Partner, person: Ref, name: str) -> Ref | None:
    """Whose this Patient there is already, if it is another's."""
    link = await house.store.link_by_remote(partner.name, name)
    return link.ref if link is not None and not link.gone and link.ref != person else None


async def _entry(house: House, partner: Partner, stored: Stored, ours: dict[str, Any], was: Linked | None) -> bool:
    """An entry of the directory: theirs where one has an identifier of ours; of several the one in use, then the first by id."""
    own = identifiers(ours)
    person = stored.ref.type == "Practitioner"
    for system, value in own:
        found = await having(house, partner, stored.ref.type, system, value, partial(_bears, (system, value))) or []
        if any(tags.names(e, house, stored.ref) for e in found):
            return False
        for entry in sorted(found, key=lambda e: (e.get("active") is False, str(e["id"]))):
            named = (families(ours), families(entry)) if person else (set[str](), set[str]())
            link = await house.store.link_by_remote(partner.name, _name(entry))
            if (all(named) and not named[0] & named[1]) or (link is not None and not link.gone):
                continue
            await house.store.commit(adopted(partner, stored, entry, was))
            return True
    return False


def adopted(partner: Partner, stored: Stored, theirs: Mapping[str, Any], was: Linked | None) -> Linked:
    """A link to a record that was there before, without a tag of ours, in the place of the link that `was`. What ours lacks was never agreed on."""
    ours = strict.decode(stored.body or b"{}")
    base = {k: v for k, v in theirs.items() if k in ours or k in ("resourceType", "id", "meta")}
    mark = {"resourceType": theirs["resourceType"], "id": theirs["id"], "meta": {"tag": [{"system": ADOPTED.decode()}]}}
    updated = str(theirs.get("meta", {}).get("lastUpdated", ""))
    said = (strict.dump(mark), strict.dump(base))
    return over(was, Linked(partner.name, stored.ref, _name(theirs), etag_of(dict(theirs)), updated, stored.version, *said, began_there=True))


def theirs_to_write(link: Linked | None) -> bool:
    """Is this a person or an entry of the directory that they had before: never written over, put back or deleted there by us. What ours
    is a copy of, or became one of at another gateway, is known by its tags, and is in step both ways."""
    return link is not None and link.base_sent is not None and ADOPTED in link.base_sent


# -- inward: whose is this ------------------------------------------------------------------------------------------------


async def recognised(house: House, partner: Partner, ctx: Context, there: dict[str, Any], ahead: Ahead) -> dict[str, str]:
    """Their `Patient/id` to ours for people this speaks of who have no link yet and are here. Problem conflict where it is not sure; Far."""
    names: dict[str, str] = {}
    for target in local_references(there):
        if target.type != "Patient" or not ID.fullmatch(target.id) or str(target) in partner.strangers:
            continue
        link = await house.store.link_by_remote(partner.name, str(target))
        theirs = await ahead.bounded(read(house, partner, str(target))) if link is None else None
        if theirs is None or await tags.ours(house, theirs):
            continue
        person = await _here(house, partner, ctx, theirs)
        if person is not None:
            names[str(target)] = person
            continue
        if len(partner.strangers) >= STRANGERS:
            partner.strangers.clear()
        partner.strangers.add(str(target))
    return names


async def _here(house: House, partner: Partner, ctx: Context, theirs: dict[str, Any]) -> str | None:
    number, name = nhs_number(theirs), _name(theirs)
    try:
        stored = await find_person(ctx, theirs)
    except Problem:
        for other in await with_number(ctx, number or ""):
            link = await house.store.link(partner.name, other.ref)
            if link is None or link.gone:  # else it is known which one there is theirs
                await hold(house, partner, ctx, other.ref, "disagrees", [name])
        raise
    if stored is None:
        return None
    link = await house.store.link(partner.name, stored.ref)
    known = link is not None and not link.gone
    doubt = await of(house, partner, stored.ref)
    if doubt is not None and (doubt.why, doubt.there) != ("disagrees", (name,)):  # who it is was asked, and is still to be said
        raise wrong(doubt.why)
    why = "several" if known else retired(theirs)
    if why:
        if not known:
            await hold(house, partner, ctx, stored.ref, why, [name])
        raise wrong(why)
    await settle(house, partner, ctx, stored.ref, adopted(partner, stored, theirs, link), *await named_otherwise(house, partner, stored, link), met=name)
    return str(stored.ref)


async def noticed(house: House, partner: Partner, there: dict[str, Any]) -> bool:
    """A Patient there that has no link was written: is anybody who waits to be looked at again?"""
    partner.strangers.discard(_name(there))
    if misshapen(house, there) is not None:
        return False
    if partner.terms.direction == "in":  # nothing is sent there that would look
        with suppress(Problem):
            await _here(house, partner, await as_owner(house, partner, "access"), there)
        return False
    again = False
    for doubt in await waiting(house, partner):
        person = Ref(*doubt.ref.split("/"))
        stored = await house.store.get(person)
        if stored is None or stored.body is None:
            continue
        if _name(there) in doubt.there or set(nhs_numbers(strict.decode(stored.body))) & set(nhs_numbers(there)):
            await house.store.commit(Send(partner.name, person, stored.version, str(person)))
            again = True
    return again


async def _unlike(house: House, partner: Partner, stored: Stored, link: Linked) -> bool:
    """Is it still unsure, by what is there now? Settled where it is not."""
    theirs = await read(house, partner, link.remote_id)
    ctx = await as_owner(house, partner, "access")
    if theirs is None or unlike(strict.decode(stored.body or b"{}"), theirs):
        return True
    await settle(house, partner, ctx, stored.ref)
    return False


# -- asking there ---------------------------------------------------------------------------------------------------------


async def read(house: House, partner: Partner, name: str) -> dict[str, Any] | None:
    """A Patient there as it is now; None when it is gone, or is no Patient."""
    type, _, id = name.partition("/")
    try:
        body = (await partner.server.read(type, id)).body
    except Refusal as e:
        if e.status not in (404, 410):
            raise
        return None
    except Unknown:  # it answered something else
        return None
    return body if body is not None and type == "Patient" and misshapen(house, body) is None else None


def identifiers(entry: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The business identifiers (system, value) that are in use."""
    given = entry.get("identifier", [])
    some = given if isinstance(given, list) else [given]
    return [(str(i["system"]), str(i["value"])) for i in some if isinstance(i, dict) and i.get("system") and i.get("value") and i.get("use") != "old"]


def _bears(one: tuple[str, str], entry: Mapping[str, Any]) -> bool:
    return one in identifiers(entry)


def _name(resource: Mapping[str, Any]) -> str:
    return f"{resource.get('resourceType')}/{resource.get('id')}"
