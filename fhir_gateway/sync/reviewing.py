"""Something that decides has changed for a person: what may no longer be there is to be taken back, what now may go is released."""

from __future__ import annotations

from ..domain import strict
from ..domain.types import Close, Disclosed, Drop, Op, Place, Queued, Ref, Send, Stored
from ..gate import Context, House, may_send
from ..gate.ended import KIND as ENDED
from ..gate.ended import Ended, ended
from ..gate.raising import seen_to
from ..gate.several import about_others_too
from . import attempts, originals
from .links import began_there, changed
from .partner import Partner, as_owner, local_references
from .recalling import recalls_waiting
from .recognising import theirs_to_write
from .renaming import named_otherwise
from .tally import Tally
from .turning import MOST


async def review(house: House, partner: Partner, entry: Queued, tally: Tally) -> None:
    """Something that decides has changed for this person: recall what may no longer be there, release what now may go. What is about others
    before them stands under the first of these, who is reviewed next, in their own lane."""
    ctx = await as_owner(house, partner, "disclose")
    ops: list[Op] = []
    recalls: list[tuple[Disclosed, list[Ref]]] = []
    under_way = [d for ref, a in (await attempts.open_of(house, partner, entry.patient)).items() for d in attempts.rows(partner, ref, a)]
    waiting = await recalls_waiting(house, partner, entry)
    there: dict[Ref, list[Disclosed]] = {}
    for row in [*under_way, *await attempts.there_now(house, partner, entry.patient)]:
        there.setdefault(row.ref, []).append(row)
    for row in [rows[-1] for rows in there.values()]:
        stored = await house.store.get(row.ref)
        if not await originals.may_stay(house, partner, ctx, stored, there[row.ref]):
            body = stored.body if stored is not None else None
            if waiting.get(str(row.ref), {}).keys() & {"queued", "parked"}:
                continue
            recalls.append((row, local_references(strict.decode(body)) if body else []))
        elif stored is not None and str(row.ref) in waiting:  # that recall asks nobody: what it takes goes again after it
            ops.append(Send(partner.name, row.ref, stored.version, entry.patient, "released"))
            for number in waiting[str(row.ref)].get("parked", ()):  # parked: nobody needs to see to it any more
                ops.append(Place(number, "parked", "superseded"))
                ops += await named_otherwise(house, partner, stored, await house.store.link(partner.name, row.ref))
                ops += [Drop("parked", f"{partner.name} {row.ref}"), *await seen_to(house, partner.name, number)]
        elif stored is not None and (said := await ended(house, partner.name, row.ref, [row])) is not None:
            ops += await _may_be_there_again(house, partner, stored, said)
    ops += [Send(partner.name, row.ref, row.version, entry.patient, "recall") for row in _referrers_first(recalls)]
    withheld = await house.store.outbox_items(partner.name, "withheld", MOST, patient=entry.patient) if entry.patient else []
    for ref in dict.fromkeys(Ref(*i["ref"].split("/")) for i in withheld):
        stored = await house.store.get(ref)
        if stored is None or not (await may_send(ctx, partner.terms, stored)).permit:
            continue
        if stored.deleted:
            link = await house.store.link(partner.name, ref)
            if link is None or link.gone or not link.etag or not began_there(link):
                continue
        ops += [Place(i["entry"], "withheld", "superseded") for i in withheld if i["ref"] == str(ref)]
        ops.append(Send(partner.name, ref, stored.version, entry.patient, "released"))
    ops += await originals.unread(house, partner, ctx, entry.patient)
    ops += await _of_those_before(house, partner, entry)
    recalled = await _recalled_before(house, partner, ctx, entry)
    await house.store.commit(Close(entry.entry, entry.fence, "sent", "reviewed"), *ops, *recalled)


async def _of_those_before(house: House, partner: Partner, entry: Queued) -> list[Op]:
    """A review of each whom something of this person is about before them: the ledger has it there, and what is held back waits there. It
    still names whose answer changed (`ref`), and leads to no further one. So of what was deleted here and stays there."""
    if entry.patient is None or str(entry.ref) != entry.patient:
        return []
    first = {stored.facts.patients[0] async for stored in about_others_too(house, [entry.patient])}
    under, over = await originals.left_beside(house, partner, entry.patient)
    return [*over, *(Send(partner.name, entry.ref, 0, person, "review") for person in sorted((first | under) - {entry.patient}))]


async def _may_be_there_again(house: House, partner: Partner, stored: Stored, said: Ended) -> list[Op]:
    """They say that it is gone, and it may go again: a copy of ours is made anew, what began there is written once more."""
    link, key = await house.store.link(partner.name, stored.ref), f"{partner.name} {stored.ref}"
    over: list[Op] = [Drop(ENDED, key), Drop("parked", key), Place(said.entry, "skipped", "superseded")]
    over.append(Send(partner.name, stored.ref, stored.version, next(iter(stored.facts.patients), None), "released"))
    if link is not None and not link.gone and not began_there(link) and not theirs_to_write(link):
        over.append(changed(link, gone=True))
    return over


def _referrers_first(recalls: list[tuple[Disclosed, list[Ref]]]) -> list[Disclosed]:
    """What points to others goes before them: servers keep what is still pointed to."""
    rows = {row.ref: (row, refs) for row, refs in recalls}
    order: dict[Ref, Disclosed] = {}
    on_the_way: set[Ref] = set()

    def visit(ref: Ref) -> None:
        if ref in order or ref in on_the_way:
            return
        on_the_way.add(ref)
        for other, (_, refs) in rows.items():
            if ref in refs and other != ref:
                visit(other)
        order[ref] = rows[ref][0]

    for ref in rows:
        visit(ref)
    return list(order.values())


async def _recalled_before(house: House, partner: Partner, ctx: Context, entry: Queued) -> list[Op]:
    """What was taken back earlier and may go again."""
    out: list[Op] = []
    rows = await house.store.ledger(remote=partner.name, patient=entry.patient)
    still = {d.ref for d in rows if d.recalled is None}
    for ref in dict.fromkeys(d.ref for d in rows if d.recalled is not None):
        link = await house.store.link(partner.name, ref)
        if ref in still and link is not None and not link.gone:  # else what is open is what they read since, and need not have kept
            continue
        stored = await house.store.get(ref)
        if stored is not None and not stored.deleted and (await may_send(ctx, partner.terms, stored)).permit:
            out.append(Send(partner.name, ref, stored.version, entry.patient, "released"))
    return out
