"""One change there: an echo, a merge, a new resource, a deletion; written here by the rules for any client."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from .. import gate
from ..domain import copies, strict
from ..domain.directory import NO_PATIENT_DATA
from ..domain.facts import codes_in
from ..domain.problem import Problem
from ..domain.reasons import because
from ..domain.types import Drop, Linked, Op, Ref, Send, Stored
from ..domain.vocabulary import own_task
from ..domain.withheld import is_stub
from ..gate import Context, House
from ..gate.committing import SOUGHT, claim, of_copy, was_back
from ..remote.client import Down, Garbled, Refusal, Unknown
from ..store.base import Moved, Taken, TooBig
from ..store.journalled import OPENED
from . import attempts, belonging, identity, joining, missing, originals, put_back_there, reading_back, recognising, stubs, tags
from .ahead import Ahead, Far
from .deleting import deleted_there
from .feed import ID, Change, askable, change_of, utc
from .links import began_there, changed, etag_of, given_twice, kept, over, same
from .not_taken import far, left_out, lost_here, never_here, said_otherwise, too_big, unread
from .partner import Partner, as_owner, incoming, local_references, pointed_at, sides
from .renaming import named_otherwise
from .said_anew import said_anew
from .shapes import misshapen, too_much
from .still_hers import strange
from .tally import Tally, ignored
from .uniting import Again, as_agreed, merged, refused, waits_no_more
from .waiting import DELETED, Corrected, broken, quarantine
from .whose import held_by_name, names_of, only_shared, told_otherwise, unsure, whose

LOOKS = 3  # while we write the same at this moment


async def pull_one(house: House, partner: Partner, link: Linked, *, alone: bool = False, take: Callable[..., Awaitable[Tally]] | None = None) -> Tally:
    """Look at one resource there now (after a version conflict). `alone`: not at what it leads to, for a withdrawal waits for this. `take`: what is
    done with it, in the place of `apply`. NotYet, NotKnown, Refusal, Unknown, Down."""
    change: Change = {"id": link.remote_id, "resource": None, "updated": "", "broken": "", "doubt": ""}
    try:
        there = await missing.now(house, partner, link.remote_id)
    except Garbled as e:
        return await unread(house, partner, {**change, "resource": {"unreadable": True}}, e)
    change = change_of(there) if there is not None else change
    return await (take or apply)(house, partner, change, Ahead(alone=alone), fresh=True)


async def apply(
    house: House, partner: Partner, change: Change, under_way: Ahead | None = None, *, fresh: bool = False, corrected: Corrected | None = None
) -> Tally:
    """One change there: an echo, a merge, a new resource, a deletion. `fresh`: it was read just now, so it is no older state. `corrected`:
    what is written instead of a new resource. `under_way`: what was looked at for the change that leads to this one, where one does.

    What it refers to may be refused us, or be of any shape: then it waits in quarantine, and what comes beside it and after it is taken in.
    Down where what is here changes too fast, or cannot be asked.
    """
    ahead = under_way if under_way is not None else Ahead()
    for n in range(LOOKS):
        try:
            if not n:
                return await _applied(house, partner, change, ahead, fresh, corrected)
            return await _read(house, partner, change, ahead, corrected)  # what was read is of before what changed here
        except (Again, Moved, Taken):
            continue
        except Far as e:
            if under_way is not None and under_way.depth:  # of the change that leads to this one
                raise
            ahead.far = True
            return await far(house, partner, change, e)
        except (Refusal, Unknown) as e:
            return await unread(house, partner, change, e)
        except TooBig:
            return await too_big(house, partner, change)
    raise Down("what it sent cannot be written here now")


async def _applied(
    house: House, partner: Partner, change: Change, under_way: Ahead, fresh: bool, corrected: Corrected | None = None
) -> Tally:
    type, there = change["id"].split("/")[0], change["resource"]
    link = await house.store.link_by_remote(partner.name, change["id"])
    if (link is None or not fresh) and askable(change["id"]) and (why := left_out(house, partner, type, link is not None)):
        return ignored(why)
    if change["broken"]:
        return await broken(house, partner, await as_owner(house, partner, "access"), change, link)
    known = there is not None and link is not None and not link.gone and _known(link, there)
    if there is not None and not known and is_stub(there):
        return await _stub(house, partner, change, link, fresh, under_way)
    if there is not None and not known and corrected is None and (much := too_much(partner.limits, there)) is not None:
        return await too_big(house, partner, change, much)
    if change["doubt"] and not fresh:
        return await _read(house, partner, change, under_way)
    if link is None:
        if there is None:
            return await never_here(house, partner, change["id"])
        ours = await tags.ours(house, there)
        return await _tagged(house, partner, change, ours, under_way) if ours else await _new_there(house, partner, change, under_way, corrected)
    if there is None and link.gone:
        return Tally()
    if known:
        return await as_agreed(house, partner, link, there, fresh)
    if not fresh and (there is None or link.gone or change["updated"] <= utc(link.remote_updated)):
        return await _read(house, partner, change, under_way)
    if there is None:
        return await deleted_there(house, partner, link)
    if link.gone:
        return await _revived(house, partner, link, {**change, "resource": there}, under_way)
    return await _changed_there(house, partner, link, there, under_way)


async def _stub(house: House, partner: Partner, change: Change, link: Linked | None, fresh: bool, under_way: Ahead) -> Tally:
    """What stands there in the place of a copy is never applied: of ours it is recognised, and another gateway's counts as a deletion. Beside
    a copy of ours that has a link it is a clone like any other, whoever put it there."""
    there = change["resource"]
    ref = link.ref if link is not None else await tags.ours(house, there)
    if ref is None:
        return ignored("withheld there by another gateway")
    if not fresh:  # it may be of before the permission came back
        return await _read(house, partner, change, under_way)
    if not tags.names(there, house, ref):
        return await deleted_there(house, partner, link) if link is not None and not link.gone else Tally()
    live = await house.store.link(partner.name, ref)
    if link is None and live is not None and not live.gone:
        return await _tagged(house, partner, change, ref, under_way)
    return await stubs.came_back(house, partner, link or over(live, attempts.adopted(partner, ref, there, etag_of(there))), there)


async def _read(house: House, partner: Partner, change: Change, under_way: Ahead, corrected: Corrected | None = None) -> Tally:
    """A feed tells that something changed. Where this may be an older state of it, what is there now counts."""
    try:
        there = await missing.now(house, partner, change["id"], told=change["resource"] is None)
    except (Refusal, Unknown) as e:
        if isinstance(e, Refusal) and e.status == 404:
            return ignored("not for us to see there any more")
        return await unread(house, partner, change, e)
    now = change_of(there) if there is not None else {**change, "resource": None}
    return await _applied(house, partner, now, under_way, True, corrected)


def _known(link: Linked, there: dict[str, Any]) -> bool:
    """Is this the state that both sides agreed on last? Versions are compared, never ordered."""
    stamps = {utc(link.remote_updated), utc(str(there.get("meta", {}).get("lastUpdated", "")))} - {""}
    if link.etag and etag_of(there) == link.etag and len(stamps) < 2:
        return True
    held = strict.decode(link.base_received) if link.base_received else {}
    version = there.get("meta", {}).get("versionId")
    if not held or held.get("meta", {}).get("versionId") != version:
        return False
    if not version:  # it says none, so what is the same is the same
        return same(held, there) and (not link.etag or len(stamps) == 1)
    return same(held, there) or (len(stamps) < 2 and reading_back.less(held, there))


async def _tagged(house: House, partner: Partner, change: Change, ref: Ref, under_way: Ahead) -> Tally:
    """It bears our tag, and no link says so: on its way, of before a restore, come round by other gateways, or a clone of our copy."""
    if (attempt := await attempts.of(house, partner, ref)) is not None:
        if attempts.which(attempt, change["resource"]) is not None:
            under_way.ours[change["id"]] = str(ref)
        return ignored("a copy of ours on its way")
    link = await house.store.link(partner.name, ref)
    stored = await house.store.get(ref)
    if stored is not None and (link is None or link.gone):
        again = over(link, attempts.adopted(partner, ref, change["resource"], ""))
        return await _linked_again(house, partner, again, stored, change["resource"], under_way)
    if len(copies.tags(change["resource"])) > 1:
        return ignored("a copy of ours that came there by another way")
    ctx = await as_owner(house, partner, "access")
    wrong = because("second-copy" if stored is not None else "no-original", "meta.tag")
    lost = await lost_here(house, partner, ctx, ref, change["resource"], under_way) if stored is None and await house.store.kept(*OPENED, ctx.at) else []
    return await quarantine(house, partner, ctx, change["id"], change["resource"], wrong, lost)


async def _revived(house: House, partner: Partner, link: Linked, change: Change, under_way: Ahead) -> Tally:
    """It was deleted there, and is there again. What was deleted here by somebody else does not come back."""
    stored = await house.store.get(link.ref)
    if began_there(link) and (stored is None or stored.deleted):
        ctx = await as_owner(house, partner, "access")
        if stored is not None and stored.writer.user != ctx.actor.user:
            return ignored("deleted here")
        return await _new_there(house, partner, change, under_way)
    if not began_there(link) and await put_back_there.other(house, partner, link, change["resource"]):
        return await _new_there(house, partner, change, under_way)
    if stored is None:
        return ignored("deleted here")
    return await _linked_again(house, partner, changed(link, etag="", gone=False), stored, change["resource"], under_way)


async def _linked_again(
    house: House, partner: Partner, link: Linked, stored: Stored, there: dict[str, Any], under_way: Ahead
) -> Tally:
    """A live link, with what was agreed on before where that is known; whether it may be there is asked by the push that is queued. Nothing may
    have gone there that would have made the person known: so they are recognised first."""
    ctx = await as_owner(house, partner, "access")
    try:
        await recognising.recognised(house, partner, ctx, there, under_way)
    except Problem as p:
        return await refused(house, partner, ctx, link.remote_id, there, p, [])
    if not await belonging.same(house, partner, stored.facts.patients, there, under_way):
        return await quarantine(house, partner, ctx, link.remote_id, there, belonging.wrong(), [])
    again = [Send(partner.name, link.ref, stored.version, next(iter(stored.facts.patients), None)), *await named_otherwise(house, partner, stored, link.if_was)]
    await house.store.commit(link, Drop(DELETED, f"{partner.name} {link.ref}"), *again)
    return await _changed_there(house, partner, kept(link), there, under_way)


async def _ahead(house: House, partner: Partner, there: dict[str, Any], remote_id: str, under_way: Ahead) -> Tally:
    """What this refers to and we do not have yet is taken in first, as far as it may be."""
    tally = Tally()
    under_way.seen.add(remote_id)
    with under_way.deeper():
        for target in pointed_at(there, sides(house, partner), partner.server.base):
            name = str(target)
            if target.type == "Patient" or left_out(house, partner, target.type) or not ID.fullmatch(target.id):
                continue
            if under_way.new(name) and await house.store.link_by_remote(partner.name, name) is None:
                try:
                    found = await under_way.at(house, partner, name)
                except (Refusal, Unknown):
                    continue
                if found is not None:
                    tally.add(await apply(house, partner, change_of(found), under_way, fresh=True))
                elif (ours := await belonging.copied_once(house, partner, target, await belonging.about(house, partner, there), under_way)) is not None:
                    under_way.ours[name] = str(ours)
    return tally


async def _met_again(house: House, partner: Partner, there: dict[str, Any], under_way: Ahead) -> Tally:
    """Since they were put back, an id may be given again: whom this is about, and a copy of ours that it names, are taken in first where what has
    their short ids there is not as it is known. Once in `partner.LOOKED` of each. Unknown where it cannot be read whom."""
    tally = Tally()
    under_way.seen.add(f"{there['resourceType']}/{there['id']}")
    for target in local_references(there):
        name = str(target)
        link = await house.store.link_by_remote(partner.name, name) if under_way.new(name) else None
        if link is None or link.gone or not given_twice(link) or (target.type != "Patient" and began_there(link)):
            continue
        if partner.met_lately(name, house.clock()) or not ID.fullmatch(target.id):
            continue
        try:
            found = await under_way.at(house, partner, name)
        except (Refusal, Unknown) as e:
            if target.type == "Patient" and isinstance(e, Unknown):
                raise
            found = None
        partner.met_now(name, house.clock())
        if found is not None and not await strange(house, partner, link, found) and not _known(link, found):
            with under_way.deeper():
                tally.add(await apply(house, partner, change_of(found), under_way, fresh=True))
    return tally


async def _changed_there(house: House, partner: Partner, link: Linked, there: dict[str, Any], under_way: Ahead) -> Tally:
    stored = await house.store.get(link.ref)
    ctx = await as_owner(house, partner, "access")
    if stored is not None and await originals.by_their_gateway(house, ctx, stored) and began_there(link):
        await house.store.commit(changed(link, gone=True))  # they took their copy back, and let us have it again
        return await _new_there(house, partner, change_of(there), under_way)
    if (stored is None or stored.deleted) and not await put_back_there.other(house, partner, link, there):
        return ignored("deleted here")
    if (wrong := misshapen(house, there)) is not None:
        if await strange(house, partner, link, there) and not await identity.unsure(house, partner, [str(link.ref)]):
            return ignored("somebody whom this partner and we do not share")
        return await quarantine(house, partner, ctx, link.remote_id, there, wrong, [])
    if link.ref.type == "Consent" and began_there(link) and stored is not None and gate.theirs(stored):
        return await said_anew(house, partner, ctx, link, stored, there, under_way, await _ahead(house, partner, there, link.remote_id, under_way))
    attempt = await attempts.of(house, partner, link.ref)
    if attempt is not None and attempts.put_back(attempt, there):
        held = strict.dump(there)
        again = changed(link, etag=etag_of(there), version=attempt.agreed, base_sent=held, base_received=held)
        return await attempts.came_back(house, partner, ctx, again, attempt)
    own = attempts.which(attempt, there)
    if own is None and not recognising.theirs_to_write(link) and (stands := await put_back_there.standing(house, partner, link, there)) != "as agreed":
        done = await put_back_there.met(house, partner, ctx, link, stored, there, stands)
        return done if done is not None else await _new_there(house, partner, change_of(there), under_way)
    if stored is None or stored.deleted:
        return ignored("deleted here")
    if stubs.stands(link):
        return await stubs.written_over(house, partner, ctx, link, there)
    if own is not None and attempt is not None and not attempt.recall:  # ours, before its answer: whoever sent it writes the rest down
        held, stamp = strict.dump(there), str(there.get("meta", {}).get("lastUpdated", ""))
        await house.store.commit(changed(link, etag=etag_of(there), remote_updated=stamp, version=own.version, base_sent=held, base_received=held))
        return Tally()
    if recognising.theirs_to_write(link) and link.ref.type in NO_PATIENT_DATA:
        await house.store.commit(changed(link, etag=etag_of(there)))
        return Tally()  # an entry of their directory says nothing about ours
    tally = await _met_again(house, partner, there, under_way)
    if link.ref.type != "Patient" and await identity.unsure(house, partner, stored.facts.patients):
        tally.add(await quarantine(house, partner, ctx, link.remote_id, there, unsure(), []))
        return tally
    tally.add(await _ahead(house, partner, there, link.remote_id, under_way))
    tally.add(await merged(house, partner, ctx, link, stored, there, under_way.ours))
    return tally


async def _new_there(house: House, partner: Partner, change: Change, under_way: Ahead, corrected: Corrected | None = None) -> Tally:
    """A resource that began there, about a person we share. A consent closes here what it closes, and opens nothing."""
    there, type = change["resource"], change["id"].split("/")[0]
    if type == "Patient":
        if await recognising.noticed(house, partner, there):
            return Tally(seen=1)
        return ignored("somebody whom this partner and we do not share")
    if own_task(type, codes_in(there)):
        return ignored("a question or work of that gateway's own")
    held = [*copies.tags(there), *tags.by(await partner.met(), there)]
    sought = {name: await house.store.kept(SOUGHT, name, house.clock()) for t in held if (name := of_copy(type, str(t.get("code", ""))))}
    if any(map(was_back, sought.values())):  # perhaps while this was on its way
        if (now := await missing.shown(house, partner, change["id"])) is None:
            return ignored("not for us to see there any more")
        change, there = change_of(now), now
    ctx = await as_owner(house, partner, "access")
    tally = await _met_again(house, partner, there, under_way)
    try:
        names = await whose(house, partner, ctx, there, under_way)
    except Problem as p:
        tally.add(await refused(house, partner, ctx, change["id"], there, p, []))
        return tally
    if not names and (numbered := await told_otherwise(house, partner, ctx, there)) is not None:
        tally.add(await said_otherwise(house, partner, ctx, change, numbered))
        return tally
    if not names:
        tally.add(ignored("about nobody whom this partner and we share"))
        return tally
    if (done := await _by_another_way(house, partner, ctx, change, names, held, under_way)) is not None:
        return done
    if corrected is None and (done := await _joined(house, partner, ctx, there, names, under_way)) is not None:
        return done
    tally.add(await _ahead(house, partner, there, change["id"], under_way))
    if held and (done := await _by_another_way(house, partner, ctx, change, names, held, under_way)) is not None:
        tally.add(done)  # it came while that was fetched
        return tally
    every = await names_of(house, partner, there, None)
    names |= {their: ours for their, ours in every.items() if not ours.startswith("Patient/")} | under_way.ours
    body = copies.tagged(incoming(there, None, names | every, (), sides(house, partner)), held)
    if corrected is not None:
        body = copies.tagged(incoming(corrected.about(names), None, names | await names_of(house, partner, corrected.body, None), (), sides(house, partner)), held)
    sent = strict.dump(there)

    def linked(written: gate.Written) -> list[Op]:
        version = written.version if corrected is None else 0
        link = Linked(partner.name, written.ref, change["id"], etag_of(there), change["updated"], version, sent, sent, began_there=True, if_absent=True)
        claims = [claim(name, last, written.ref, house.clock()) for name, last in sought.items()]
        by_hand = corrected.written(partner, change["id"], written, names) if corrected is not None else []
        return [link, *claims, waits_no_more(partner, change["id"]), *by_hand]

    try:
        await only_shared(house, partner, body, names.values())
        body = await held_by_name(house, body, body)
        if type == "Consent":
            await gate.keep_foreign(ctx, body, frozenset(names.values()), also=linked)
        else:
            await gate.create(ctx, type, strict.dump(body), also=linked)
    except Problem as p:
        tally.add(await refused(house, partner, ctx, change["id"], body, p, []))
    else:
        tally.pulled += 1
    return tally


async def _by_another_way(
    house: House, partner: Partner, ctx: Context, change: Change, names: dict[str, str], held: Sequence[copies.Tag], under_way: Ahead
) -> Tally | None:
    """What bears one of these tags is here: another copy of it, or ours of theirs, which is linked then. None where nothing is."""
    there = change["resource"]
    known = await tags.known(house, change["id"].split("/")[0], held)
    if known is None:
        return None
    if known.facts.patients and not set(names.values()) & set(known.facts.patients):
        return await quarantine(house, partner, ctx, change["id"], there, belonging.wrong(), [])
    original = copies.at((await partner.met()).gateway, strict.decode(known.body or b"{}"))
    if original is not None and original == there["id"] and await house.store.link(partner.name, known.ref) is None:
        agreed = await belonging.vouched(house, partner, known, there)
        if agreed is None:
            return await quarantine(house, partner, ctx, change["id"], there, belonging.unlike(), [])
        return await at_home(house, partner, over(None, tags.home(partner.name, known.ref, original, agreed)), there, under_way)
    return ignored("here already, by another way")


async def _joined(house: House, partner: Partner, ctx: Context, there: dict[str, Any], names: dict[str, str], under_way: Ahead) -> Tally | None:
    """Ours of the same source is linked, and united. None where nothing of ours is."""
    try:
        link = await joining.of_ours(house, partner, ctx, there, names)
    except Problem as p:
        return await quarantine(house, partner, ctx, f"{there['resourceType']}/{there['id']}", there, p, [])
    return await at_home(house, partner, link, there, under_way) if link is not None else None


async def at_home(house: House, partner: Partner, link: Linked, there: dict[str, Any], under_way: Ahead | None = None) -> Tally:
    """A copy of ours of what is theirs has met its original: linked, and united. Nothing on either side is overwritten. One that they took
    back before is no copy of it any more."""
    was = await house.store.link_by_remote(partner.name, link.remote_id)
    before = await house.store.get(was.ref) if was is not None and not was.gone and was.ref != link.ref else None
    ended = [changed(was, gone=True)] if was is not None and before is not None and before.deleted else []
    ours = await house.store.get(link.ref)
    await house.store.commit(*ended, link, *(await named_otherwise(house, partner, ours, link.if_was) if ours is not None else ()))
    return await apply(house, partner, change_of(there), under_way, fresh=True)
