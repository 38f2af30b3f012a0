"""Whom and what a resource of theirs speaks of, as they are called here."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from ..domain import copies, strict
from ..domain.addresses import addresses
from ..domain.directory import NOBODYS
from ..domain.identity import nhs_numbers, unlike
from ..domain.masked import all_held_back
from ..domain.problem import Problem
from ..domain.reasons import because
from ..domain.spelling import named, said_otherwise
from ..domain.types import Linked, Ref, Stored
from ..gate import Context, House
from ..gate.identifying import with_number
from ..remote.client import Refusal, Unknown
from . import belonging, identity, missing, originals, recognising, tags
from .ahead import Ahead
from .feed import ID
from .links import began_there, given_twice
from .partner import Partner, local_references, loosened, named_in, pointed_at, said_in, sides
from .shapes import misshapen, too_much


async def whose(house: House, partner: Partner, ctx: Context, there: dict[str, Any], ahead: Ahead) -> dict[str, str]:
    """Their `Type/id` to ours; empty where it is about nobody who is here. Problem conflict where it is not sure about whom; Far."""
    referred, names = set(map(str, local_references(there))), await names_of(house, partner, there, None)  # an address makes nothing anybody's
    names = {their: ours for their, ours in names.items() if their in referred and not await _somebody_else(house, partner, their, ahead)}
    names |= await recognising.recognised(house, partner, ctx, there, ahead)
    names |= await _by_our_address(house, partner, there)
    people = [ours for ours in names.values() if ours.startswith("Patient/")]
    if await identity.unsure(house, partner, people):
        raise unsure()
    return names if people else {}


async def told_otherwise(house: House, partner: Partner, ctx: Context, there: dict[str, Any]) -> list[str] | None:
    """May this, which names nobody who is here by their record there, be about somebody whom we share: it says so in a way that nobody can follow.
    Ours (`Patient/id`) who have an NHS number that it gives and whom we share, perhaps nobody; None where such a number says that it is somebody
    else. Of a Consent also those whom we shared: a no that is kept may have taken their copy back."""
    people, unknown = dict[str, None](), False
    for said in said_otherwise(there):
        numbers = nhs_numbers({"identifier": said})
        links = [await house.store.link(partner.name, person.ref) for number in numbers for person in await with_number(ctx, number)]
        people |= {str(k.ref): None for k in links if k is not None and (not k.gone or there["resourceType"] == "Consent")}
        unknown = unknown or not numbers
    return list(people) if people or unknown else None


async def as_agreed(house: House, partner: Partner, link: Linked, stored: Stored, there: dict[str, Any], ahead: Ahead) -> dict[str, str]:
    """Their `Patient/id` to ours, of whom this Consent is: the same name as when both sides agreed on it, and nobody has it there or here any more, for
    a no took their copy back, and the next had another id; empty otherwise. Far."""
    name, known = _patient(there), _patient(strict.decode(link.base_received or b"{}"))
    if not name.startswith("Patient/") or name != known or await house.store.link_by_remote(partner.name, name) is not None:
        return {}
    shared = [p for p in stored.facts.patients if await house.store.link(partner.name, Ref(*p.split("/"))) is not None]
    if len(shared) != 1 or not ID.fullmatch(name.removeprefix("Patient/")) or await identity.unsure(house, partner, shared):
        return {}
    try:
        return {name: shared[0]} if await ahead.bounded(missing.now(house, partner, name)) is None else {}
    except (Refusal, Unknown):  # somebody may be there
        return {}


def _patient(consent: Mapping[str, Any]) -> str:
    """Whom it names as the one whose consent it is, as it is written; what is no reference in words is nobody."""
    said = consent.get("patient")
    text = said.get("reference") if isinstance(said, dict) else None
    return named(text) if isinstance(text, str) else ""


async def _somebody_else(house: House, partner: Partner, name: str, ahead: Ahead) -> bool:
    """Has another person this id there now? Whom it named is gone, and such an id may be given again. Far, Refusal, Unknown."""
    link = await house.store.link_by_remote(partner.name, name) if name.startswith("Patient/") else None
    if link is None or not link.gone or not given_twice(link):
        return False
    stored = await house.store.get(link.ref)
    try:
        theirs = await ahead.bounded(_there(partner, name))
    except Refusal as e:
        if e.status not in (404, 410):
            raise
        return False
    if theirs is None:
        return False
    if misshapen(house, theirs) is not None or too_much(partner.limits, theirs) is not None:
        return True  # whoever it is, nobody whom we know by it
    if tags.names(theirs, house, link.ref):
        return False
    return not recognising.theirs_to_write(link) or stored is None or bool(unlike(strict.decode(stored.body or b"{}"), theirs))


async def _by_our_address(house: House, partner: Partner, there: dict[str, Any]) -> dict[str, str]:
    """Whom we share with them and they name as a record of this server, by its address, to `Patient/id` here."""
    out: dict[str, str] = {}
    for text in said_in(there):
        name = named(text.removeprefix(f"{house.base_url}/")) if text.startswith(f"{house.base_url}/") else ""
        link = await house.store.link(partner.name, Ref(*name.split("/"))) if name.startswith("Patient/") else None
        if link is not None and not link.gone:
            out[text] = name
    return out


async def _there(partner: Partner, name: str) -> dict[str, Any] | None:
    return (await partner.server.read(*name.split("/"))).body


def unsure() -> Problem:
    return because("not-sure-whose", "Patient")


async def names_of(house: House, partner: Partner, there: dict[str, Any], sent: bytes | None) -> dict[str, str]:
    """Their `Type/id` to ours, for everything this resource refers to: by its link, and an entry of their directory, which they bring and we do
    not fetch, also by the tag of our copy of it."""
    out: dict[str, str] = {}
    bodies = [there] + ([strict.decode(sent)] if sent else [])
    for target in dict.fromkeys(t for b in bodies for t in pointed_at(b, sides(house, partner), partner.server.base)):
        link = await house.store.link_by_remote(partner.name, str(target))
        if link is not None and not (link.gone and await _of_others(house, partner, link.ref, there)):
            out[str(target)] = str(link.ref)
        elif target.type in NOBODYS and (copy := await tags.known(house, target.type, tags.by(await partner.met(), {"id": target.id}))) is not None:
            out[str(target)] = str(copy.ref)
    return out


async def _of_others(house: House, partner: Partner, ref: Ref, there: dict[str, Any]) -> bool:
    """What is no more there under this name was about others than this: it means nothing of ours by it, whoever has the id now."""
    stored, about = await house.store.get(ref), await belonging.about(house, partner, there)
    return stored is not None and bool(stored.facts.patients) and bool(about) and about.isdisjoint(stored.facts.patients)


async def held_by_name(house: House, body: dict[str, Any], theirs: dict[str, Any], known: Collection[str] = ()) -> dict[str, Any]:
    """What is written here of `theirs`: an entry of their directory that has no name here is held as if they held it back, for their id is
    nobody's here. `known`: what stays as it is."""
    lost: dict[str, str] = {}
    for text in said_in(theirs) - set(known):
        type, _, id = text.partition("/")
        if type in NOBODYS and ID.fullmatch(id := id.split("/_history/")[0]) and await house.store.get(Ref(type, id)) is None:
            lost[text] = text
    return loosened(body, lost) if lost else body


async def copies_named(house: House, partner: Partner, body: dict[str, Any], said: Collection[str]) -> dict[str, str]:
    """Of what they refer to, `said`, what our `body` refers to as the copy of it that they sent here and no link tells of: it bears their tag.
    Their `Type/id` to ours. Else one thing has two names, and stands twice once both sides are united."""
    out: dict[str, str] = {}
    gateway = (await partner.met()).gateway if said else ""
    for target in local_references(body) if gateway else ():
        if await house.store.link(partner.name, target) is not None:
            continue
        stored = await house.store.get(target)
        if stored is not None and stored.deleted:
            stored = await house.store.version(target, stored.version - 1)
        id = copies.at(gateway, strict.decode(stored.body)) if stored is not None and stored.body is not None else None
        if id is not None and f"{target.type}/{id}" in said:
            out[f"{target.type}/{id}"] = str(target)
    return out


async def called_now(house: House, partner: Partner, body: dict[str, Any], there: dict[str, Any], names: Mapping[str, str]) -> dict[str, str]:
    """`names`, their `Type/id` to ours, with what our `body` refers to as a copy of what they refer to, and no link tells of: where no link names
    it, and where a link names a copy of before, for it is over or that copy is deleted here. Who a person is, is asked elsewhere."""
    unsaid = {str(t) for t in local_references(there)} - names.keys()
    for target in (t for t in local_references(there) if str(t) in names and t.type != "Patient"):
        link = await house.store.link_by_remote(partner.name, str(target))
        stored = await house.store.get(link.ref) if link is not None and names[str(target)] == str(link.ref) else None
        if link is not None and stored is not None and (link.gone or stored.deleted):
            unsaid.add(str(target))
    return dict(names) | await copies_named(house, partner, body, unsaid)


async def called_there(house: House, partner: Partner, ctx: Context, body: dict[str, Any], known: Collection[str]) -> dict[str, str]:
    """What our `body` still refers to and is deleted here means the record of theirs that it was a copy of, where that came again under another
    id of ours, or a gateway took its copy back and has its record. Not where the body refers to a newer copy, too. Our `Type/id` to
    theirs. `ctx`: as their owner. What is `known` has a name there: it is not deleted here."""
    out: dict[str, str] = {}
    every = local_references(body)
    for target in (t for t in every if str(t) not in known):
        link = await house.store.link(partner.name, target)
        if link is None or not link.gone or not began_there(link) or link.remote_id in out.values():
            continue
        stored, newer = await house.store.get(target), await house.store.link_by_remote(partner.name, link.remote_id)
        if stored is None or not stored.deleted or newer is None or (newer.ref != target and newer.ref in every):
            continue
        if not newer.gone or ((await partner.met()).gateway and originals.by_them(ctx, stored)):
            out[str(target)] = link.remote_id
    return out


async def called_by_both(house: House, partner: Partner, *bodies: dict[str, Any]) -> dict[str, str]:
    """What both sides call what these, as they are here, refer to (`Type/id` here), where the partner is a gateway: by the gateway at which it
    began, and its id there. Each side names it so from what it has itself, so both choose alike where they clash."""
    gateway = (await partner.met()).gateway
    if not gateway:
        return {}
    out = {held: f"{held.partition('/')[0]}/{gateway}.{held.partition('/')[2]}" for body in bodies for held in all_held_back(body)}
    for target in dict.fromkeys(t for body in bodies for t in local_references(body)):
        stored, own = await house.store.get(target), f"{house.name}.{target.id}"
        if stored is not None and stored.deleted:
            stored = await house.store.version(target, stored.version - 1)
        if stored is None:
            continue
        first = next((str(t.get("code", "")) for t in await tags.came_with(house, stored)), "")
        link = await house.store.link(partner.name, target) if not first else None
        met = f"{gateway}.{link.remote_id.partition('/')[2]}" if link is not None and not link.gone and began_there(link) else own
        out[str(target)] = f"{target.type}/{first or min(own, met)}"  # both had it before they met, where neither is a copy
    return out


async def as_they_wrote(house: House, partner: Partner, body: dict[str, Any], held: bytes, theirs: bool) -> dict[str, str]:
    """Ours, as it goes out in `body`, to theirs: what they refer to in `held` and we have nothing of stays as they wrote it; in a record of
    theirs also what was there and is gone."""
    there = strict.decode(held)
    said, names, written = {str(r) for r in local_references(there)}, {}, said_in(there) | set(addresses(there, house.r4))
    for text, name in [(text, named(text)) for text in sorted(said_in(body) | set(addresses(body, house.r4)))]:
        link = await house.store.link(partner.name, Ref(*name.split("/"))) if name else None
        if name and link is None and text in written and await house.store.get(Ref(*name.split("/"))) is None:
            names[text] = text
        elif theirs and link is not None and link.gone and link.remote_id in said:
            names[name] = link.remote_id
    copied = await copies_named(house, partner, body, said)
    return {ours: their for their, ours in copied.items()} | names


async def only_shared(house: House, partner: Partner, body: dict[str, Any], known: Collection[str]) -> None:
    """Of what is here theirs, as it is to be written, names nothing by our own id but what this partner and we share, and `known`: whom and
    what they named as it is called there, and what our own versions of it refer to. The directory is everybody's. Problem forbidden.
    """
    for ref in named_in(body, sides(house, partner)):
        if str(ref) in known or ref.type in NOBODYS or await house.store.get(ref) is None:
            continue
        link = await house.store.link(partner.name, ref)
        if link is None or link.gone:
            raise because("not-shared", body["resourceType"], "forbidden")
