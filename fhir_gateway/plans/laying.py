"""What somebody knows of a plan, laid over it: a partner's list, of which only what it says anew counts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from .. import gate
from ..domain import mapping, strict
from ..domain.laid import compared, spelt, unsaid
from ..domain.mapping.names import local, own_identifier
from ..domain.plan import overlay, refuse_other_medicines, refuse_twice
from ..domain.problem import Problem
from ..domain.sourced import Thing, called, named, things
from ..domain.types import Ref
from ..gate import Context
from ..tables import load_tables
from .keeping import Saved, opened, save, version_of
from .person import person_of
from .said import in_list, remember_list
from .texts import checked

TRIES: Final = 5


async def contribute(ctx: Context, part: Mapping[str, Any], *, by: str = "", own_ids: bool = False, dry_run: bool = False) -> Saved:
    """Write what somebody knows of a plan: what is here already and not spoken of stays. What they said so the last time (`by`: in which
    list of theirs) is not said anew: others may have said otherwise since, that a medicine is stopped. `own_ids`: they number their own things, which are in the plan by
    an id of that list. What says whom it means (name, birth date, number, id) is compared with the record, and said only where that says nothing. Problems as of `save`; invalid where two things of a list have one id, conflict where a medicine has the id of another one: the dose of the one
    would be the other's."""
    refuse_twice(part)
    for more in reversed(range(TRIES)):
        try:
            return await _once(ctx, part, by, own_ids, dry_run)
        except Problem as p:
            if p.kind != "stale" or not more:  # what others wrote since it was read would be taken out of the plan: it is read again
                raise
    raise AssertionError


async def _once(ctx: Context, part: Mapping[str, Any], by: str, own_ids: bool, dry_run: bool) -> Saved:
    mapped = mapping.to_fhir(checked(dict(part)), load_tables())
    patient = await person_of(ctx, next(e for e in mapped.entries if e.kind == "person"), of_list=True)
    whole: dict[str, Any] = {}
    record: Sequence[Mapping[str, Any]] = ()
    if patient is not None:
        try:
            here = await opened(ctx, patient)
            whole, record = here.plan, here.record
        except Problem as p:
            if p.kind != "not-found":
                raise
    said = await in_list(ctx, patient, by) if patient is not None else None
    words = msgspec.json.decode(said, type=dict[str, str]) if said is not None else None
    if own_ids:
        part = named(part, by, await _stays(ctx, part, by, words, whole, record))
    new = unsaid(part, words, whole) if words is not None else part
    known = whole.get("person") or (await _person_here(ctx, patient) if patient is not None else {})
    new = {**new, "person": compared(new["person"], known)} if known else new
    refuse_other_medicines(whole, new)
    saved = await save(ctx, overlay(whole, new), dry_run=dry_run, over=True, if_match=version_of(whole) if whole else None, whose=patient)
    if saved.patient is not None and not dry_run and not saved.drafted:
        await remember_list(ctx, saved.patient, by, part, said)
    return saved


async def _person_here(ctx: Context, patient: str) -> Mapping[str, Any]:
    """Who the record says they are, where this sender reads no plan of theirs: name and birth date, as far as they see them."""
    for e in (await gate.search(ctx, "Patient", [("_id", patient)])).entries:
        if e.body is not None:
            person = mapping.from_fhir([strict.decode(e.body)], load_tables()).get("person", {})
            return {k: v for k, v in person.items() if k in ("name", "birth_date")}
    return {}


async def _stays(
    ctx: Context, part: Mapping[str, Any], by: str, words: Mapping[str, str] | None, whole: Mapping[str, Any], record: Sequence[Mapping[str, Any]]
) -> set[Thing]:
    """What of this list came before lists had ids of their own, and keeps the plain one: what it said by that the last time or, where that is not known, what
    is in the plan by that and was begun by whoever sends the list."""
    here = set(things(whole))
    old = {(key, id) for key, id in things(part) if (key, called(by, id)) not in here}
    spoken = {"/".join(place.split("/")[:3]) for place in words or ()}
    said = {thing for thing in old if spelt(*thing) in spoken}
    unsure = {thing for thing in old & here if words is None or spelt(thing[0]) in words}  # no list came yet, or one without ids
    if not unsure:
        return said
    of = {name: r for r in record if (name := own_identifier(r)) is not None and "id" in r}
    lists = {kind: table.key for kind, table in load_tables().by_kind.items() if table.many}
    told = {Ref(str(r["resourceType"]), str(r["id"])): (lists[kind], id) for (kind, value), r in of.items() if kind in lists and (id := local(value)) is not None}
    mine = await ctx.house.store.get_many([ref for ref, thing in told.items() if thing in unsure])
    members = [{m["id"]: m.get("name") for m in plan.get("team", ()) if isinstance(m, Mapping) and isinstance(m.get("id"), str)} for plan in (part, whole)]
    alike = {("team", id) for id, name in members[0].items() if id in members[1] and members[1][id] == name}  # a member is no record of its own
    return said | alike & unsure | {told[ref] for ref, stored in mine.items() if stored.created_by == ctx.actor.user}


__all__ = ["contribute"]
