"""`patients merge, unmerge, duplicates, waiting, settle`: who is who, here and at a partner; an operator's."""

from __future__ import annotations

from ..domain.types import Ref
from ..gate import merging
from ..gate.waiting_room import settled_by
from ..remote.client import Down, Locked, Refusal, Unknown
from ..settings import Refused, load
from ..sync import identity, recognising
from ..sync.partner import Partner
from ..wiring import Wired, operator, wired
from .naming import person_id
from .syncing import line, partners


async def merge(one: str, other: str, evidence: str) -> int:
    async with wired(load()) as w:
        first, second = await person_id(w, one), await person_id(w, other)
        copies = await merging.merge(operator(w), first, second, evidence=evidence)
        print(f"Patient/{first} is merged into Patient/{second}; {copies} copies at partners are looked at again")
    return 0


async def unmerge(one: str, other: str, evidence: str) -> int:
    async with wired(load()) as w:
        first, second = await person_id(w, one), await person_id(w, other)
        copies = await merging.unmerge(operator(w), first, second, evidence=evidence)
        print(f"Patient/{first} and Patient/{second} are two people; {copies} copies at partners are looked at again")
    return 0


async def duplicates(as_json: bool) -> int:
    """0 when there are none, 1 when somebody must look."""
    async with wired(load()) as w:
        found = await merging.alike(operator(w))
    for a in found:
        number = f"{a.numbered} has an NHS number" if a.numbered else "neither has an NHS number"
        line({"one": a.one, "other": a.other, "numbered": a.numbered or None}, as_json, f"{a.one} and {a.other}: {number}")
    return 1 if found else 0


async def waiting(as_json: bool) -> int:
    """0 when there is nobody, 1 when somebody must look."""
    found = []
    async with wired(load()) as w:
        for partner in partners(w):
            found += await identity.waiting(w.house, partner)
    for d in found:
        item = {"kind": "identity", "id": d.id, "remote": d.remote, "ref": d.ref, "at": d.at, "why": d.text, "there": list(d.there), "task": d.task}
        way = f"Put right what is wrong, here or there, then `{settled_by(d.ref, d.remote)}`"
        line({**item, "command": settled_by(d.ref, d.remote)}, as_json, f"{' '.join((f'{d.ref} at {d.remote}, since {d.at[:16]}: {d.text}', *d.there))}. {way}")
    if not found and not as_json:
        print("Nobody waits.")
    return 1 if found else 0


async def settle(patient: str, remote: str, same: str, evidence: str) -> int:
    async with wired(load()) as w:
        partner, person = _partner(w, remote), Ref("Patient", await person_id(w, patient))
        if not same:
            if not await identity.look_again(w.house, partner, person):
                raise Refused(f"{person} does not wait at {remote}.")
            print(f"{person} is looked at again at {remote}")
            return 0
        try:
            await recognising.same(w.house, partner, operator(w), person, same, evidence)
        except (Down, Unknown, Locked, Refusal) as e:
            raise Refused(f"{remote}: {e}") from None
        print(f"{person} is {same} at {remote}")
    return 0


def _partner(w: Wired, name: str) -> Partner:
    for partner in partners(w):
        if partner.name == name:
            return partner
    raise Refused(f"There is no remote `{name[:40]}`: {', '.join(p.name for p in w.partners)}.")
