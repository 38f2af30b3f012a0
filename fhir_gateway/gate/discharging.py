"""A discharge that says otherwise of a plan's medicines: for each a Task proposes the change, and nothing of the plan is changed by it. docs/partners.md

A discharge that is sent again proposes nothing again, one that is corrected takes the place of what is still open, and what is no longer so is
called off. Only the person and whom it asks see such a Task, and nobody is asked who may not see, or may not change, what it is about.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from ..domain import medicine_changes as changes
from ..domain import strict
from ..domain.mapping.names import own_identifier
from ..domain.medicine_changes import Asked, Said
from ..domain.medicines import RESOURCES
from ..domain.standing import named_by
from ..domain.types import Bump, Facts, Ref, Stored
from .agreeing import medicine_of, today, would_reach
from .asked_here import by_the_gateway
from .committing import Work, claim
from .context import ask
from .key_workers import key_workers, may_be_asked
from .main_plan import Put, as_kept, counting
from .somebody import askers


@dataclass
class Record:
    """One person's medicines and proposals as they will be after this commit."""

    person: str
    here: dict[str, Stored]
    said: dict[str, Said]
    planned: dict[str, Said]
    tasks: list[tuple[Stored, dict[str, Any], Asked]]


async def discharged(work: Work, put: Put) -> None:
    """Propose what this commit's discharge says otherwise; call off what it, or a change of the plan, settles."""
    written = {ref: s for ref, s in work.written.items() if ref in work.medicines and ref not in work.gone and s.body is not None}
    deleted = {p for ref, s in work.medicines.items() if ref in work.gone and s is not None for p in s.facts.patients}
    for person in sorted(deleted.union(*(s.facts.patients for s in written.values()))):
        mine = {ref: s for ref, s in written.items() if person in s.facts.patients}
        told = {str(ref) for ref, s in mine.items() if await _says_something_new(work, ref, s)}
        fresh = {name for name in told if await _of_discharge(work, person, mine[Ref(*name.split("/"))])}
        if fresh or person in deleted or any(work.medicines[ref] is not None for ref in mine):
            await _of_person(work, person, told, fresh, put)
            if fresh:  # whatever was proposed: an epoch shows in links to a next page, also to who may see nothing of it
                work.ops = [op for op in work.ops if op != Bump(person)] + [Bump(person)]


async def _of_person(work: Work, person: str, told: set[str], fresh: set[str], put: Put) -> None:
    name = await work.seek("Task", f"discharge={person}")  # of two at once one looks again
    record = await _record(work, person)
    if not fresh and not any(changes.is_open(body) for _, body, _ in record.tasks):
        return
    ordered = {o: record.said[o] for o in sorted(fresh) if o in record.said and not await _is_old(work, record, told, o)}
    wanted = changes.proposals(record.planned, ordered) if await counting(work, person) else []
    for task, body, asked in record.tasks:
        if not changes.is_open(body):
            continue
        about = record.said.get(asked.order)
        new = min((w for w in wanted if _takes_its_place(record, w, asked)), key=lambda w: record.said[w.order] != about, default=None)
        if new is not None:
            wanted.remove(new)
            if about is None or asked.order in told or record.said[new.order] != about or new.look != asked.look:
                await put(work, task.ref, await _proposal(work, record, new, task.ref), task, "update", "a corrected discharge")
        elif about is None or not changes.holds(record.planned, record.said, asked) or _settled(record, ordered, asked):
            gone = about is None or any(m not in record.planned for m in asked.mine)
            await put(work, task.ref, {**body, "status": "cancelled", "statusReason": {"text": changes.GONE if gone else changes.AGREE}}, task, "update", "it is no more so")
    over = [(body, asked) for _, body, asked in record.tasks if not changes.is_open(body) and body.get("status") != "cancelled"]
    answered = [record.said[asked.order] for _, asked in over if asked.order in record.said and asked.order not in told]
    for asked in [w for w in wanted if record.said[w.order] not in answered]:
        ref = Ref("Task", work.ctx.house.new_id())
        await put(work, ref, await _proposal(work, record, asked, ref), None, "create", "a discharge says otherwise")
    if wanted:
        work.ops.append(claim(name, work.sought[name], Ref("Patient", person.removeprefix("Patient/")), work.ctx.at))


def _takes_its_place(record: Record, new: Asked, asked: Asked) -> bool:
    """Is it of the same medicine of the plan, or of the same that the plan has not."""
    about = record.said.get(asked.order)
    return new.mine == asked.mine and (bool(new.mine) or (about is not None and bool(record.said[new.order][0].names & about[0].names)))


def _settled(record: Record, ordered: Mapping[str, Said], asked: Asked) -> bool:
    """Does the discharge now say otherwise of this medicine than it did."""
    return any(t.names & record.planned[m][0].names for m in asked.mine if m in record.planned for t, _ in ordered.values())


async def _is_old(work: Work, record: Record, told: set[str], order: str) -> bool:
    """Was something newer asked already of this medicine, whatever became of it: a discharge that comes late says nothing."""
    when = await _when(work, record, told, order)
    newer = [a.order for _, body, a in record.tasks if body.get("status") != "cancelled" and a.order in record.said and a.order not in told]
    of_it = [o for o in newer if record.said[o][0].names & record.said[order][0].names]
    return bool(when) and any([changes.is_before(when, await _when(work, record, told, o)) for o in of_it])


async def _when(work: Work, record: Record, told: set[str], order: str) -> str:
    """Of which day a discharge says this: of the end of the stay, else of the order; "" of what is taken no more, for that may say when it was begun."""
    said, (about, on) = record.here[order], record.said[order]
    ends = [changes.over_since(s) for s in await _stays(work, record.person, strict.decode(said.body or b"{}"), together=order in told)]
    return max([e for e in ends if e], default=on if about.taken == "now" else "")


async def _record(work: Work, person: str) -> Record:
    there = {s.ref: s for s in await work.ctx.house.store.patient_record(person, [*RESOURCES, "Task"])}
    there |= {r: s for r, s in work.written.items() if r.type in (*RESOURCES, "Task") and person in s.facts.patients}
    here = {str(r): s for r, s in sorted(there.items()) if r not in work.gone and s.body is not None}
    bodies = {name: strict.decode(s.body or b"{}") for name, s in here.items()}
    said = {n: await _says(work, b) for n, b in bodies.items() if changes.is_medicine(b)}
    tasks = []
    for name, body in bodies.items():
        about = changes.asks_about(body) if body.get("resourceType") == "Task" else None
        if about is not None and await by_the_gateway(work.ctx.house, here[name]):
            tasks.append((here[name], body, about))
    return Record(person, here, said, {n: t for n, t in said.items() if own_identifier(bodies[n]) is not None}, tasks)


async def _says(work: Work, order: Mapping[str, Any]) -> Said:
    return changes.says(order, await medicine_of(work, order), today(work))


async def _says_something_new(work: Work, ref: Ref, now: Stored) -> bool:
    """Is it another's than the plan's, and new or changed."""
    body, before = strict.decode(now.body or b"{}"), work.medicines[ref]
    if own_identifier(body) is not None:
        return False
    was = strict.decode(before.body) if before is not None and before.body is not None else None
    return was is None or await _says(work, was) != await _says(work, body) or changes.is_medicine(was) != changes.is_medicine(body)


async def _of_discharge(work: Work, person: str, order: Stored) -> bool:
    """By its category, by the stay that it is of, or by a stay that ends with the same commit; not what the discharge itself calls as before."""
    body = strict.decode(order.body or b"{}")
    return not changes.is_as_before(body) and (changes.of_discharge(body) or bool(await _stays(work, person, body)))


async def _stays(work: Work, person: str, order: Mapping[str, Any], *, together: bool = True) -> list[dict[str, Any]]:
    """The stay that it is of, where that is over, and those that end `together` with it."""
    stay = changes.stay_of(order)
    of = await work.get(Ref(*stay.split("/", 1))) if stay else None
    ended = [s for r, s in work.written.items() if r.type == "Encounter"] if together else []
    found = [strict.decode(s.body) for s in [*ended, *([of] if of is not None else [])] if s.body is not None and person in s.facts.patients]
    return [s for s in found if changes.is_over(s)]


async def _proposal(work: Work, record: Record, asked: Asked, ref: Ref) -> dict[str, Any]:
    """The Task, to whom it is to be asked of: the pharmacy that the order names, a key worker, the practice; else the person. What others would read
    in the plan who may not see the order is for the person alone to say."""
    things = [record.here[n] for n in (asked.order, *asked.mine)]
    reaches = await would_reach(work, record.person, things, look=asked.look)
    labels = [c for s in things for c in strict.decode(s.body or b"{}").get("meta", {}).get("security", ())]

    order = strict.decode(things[0].body or b"{}")
    discharge = changes.of_discharge(order) or any(map(changes.is_in_hospital, await _stays(work, record.person, order)))

    def task(owner: Mapping[str, Any]) -> dict[str, Any]:
        return changes.proposal(asked, record.person, owner, labels, work.ctx.at, discharge=discharge)

    performer = (order.get("dispenseRequest") or {}).get("performer")
    patient = await work.get(Ref("Patient", record.person.removeprefix("Patient/")))
    practices = strict.decode(patient.body or b"{}").get("generalPractitioner", ()) if patient is not None else ()
    for owner in [o for o in (performer, *[o for several in await key_workers(work, record.person) for o in several], *practices) if isinstance(o, dict) and named_by(o)]:
        owner = {k: v for k, v in owner.items() if k in ("reference", "identifier", "type", "display")}
        known = as_kept(work.ctx, ref, task(owner))
        if (
            named_by(owner).isdisjoint(work.ctx.actor.ids | {work.ctx.actor.user}) and await may_be_asked(work, owner, known, *things)
            and all([await _may_change(work, owner, s.facts, bool(asked.mine)) for s in things[1:] or things]) and not reaches
        ):  # fmt: skip
            return task(owner)
    return task({"reference": record.person})


async def _may_change(work: Work, owner: Mapping[str, Any], facts: Facts, there: bool) -> bool:
    """Might whom this names change what it is about in the plan, or add it."""
    about = facts if there else replace(facts, type="MedicationStatement", id="")
    found = [s for name in sorted(named_by(owner)) for s in await askers(work.ctx.house, name)]
    return any([(await ask(s, "correct" if there else "collect", about)).permit for s in found])


__all__ = ["discharged"]
