"""What a partner and we changed in the same place: both versions are kept, each conflict by its own id, until somebody who may decides.

`ours` and `theirs` of a record differ only where they clash. To settle one is to set the clashing places to one of them in the resource
as it is now: what was edited since stays. It is written as whoever decides, and sent on like any change. docs/sync.md
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from ..domain import compartment, entries, recorded, strict
from ..domain.labels import joined
from ..domain.problem import Problem, not_found
from ..domain.reconcile import Conflict, Merge, Pull, reconcile
from ..domain.rendering import rendered
from ..domain.standing import STANDING_TYPES
from ..domain.types import Cut, Decision, Drop, Op, Ref, Remove, Send, Stored, Writer
from ..store.base import Taken
from .committing import Work
from .context import Context, ask, ask_stored, bumps, note, views_of, within_launch
from .identifying import released
from .marking import content, labelled
from .outgoing import sends
from .preparing import put_over, take_away
from .proving import need_proof
from .raising import close_task
from .reading import in_scope
from .receiving import received_over
from .storing import put_by_house, watched

CONFLICT: Final = "conflict"  # kept by `<remote> <Type/id> <id>`: {id, remote, ref, patient, at, paths, winner, version, task, ours, theirs, holds}; `holds`: the `Type/id` there over which nothing goes meanwhile
DELETED: Final = "deleted-there"  # kept by `<remote> <Type/id>`: when we learned that they deleted it
WAYS: Final = ("ours", "theirs", "merged")
MOST: Final = 200  # conflicts that are looked at for one page
CONTENT: Final = frozenset({"ours", "theirs"})


@dataclass(frozen=True, slots=True)
class Clash:
    """A conflict as this reader may have it: the resource now (of which version), and both sides; `theirs` None: deleted there."""

    id: str
    ref: Ref
    remote: str
    at: str
    version: int
    now: dict[str, Any]
    ours: dict[str, Any]
    theirs: dict[str, Any] | None


# -- seen -------------------------------------------------------------------------------------------------------------


async def conflicts(ctx: Context, *, content: bool = False) -> list[dict[str, Any]]:
    """Every conflict, oldest first, for an operator: `{id, remote, ref, at, paths, winner, version}`, `version` of the resource now.

    With `content` also `ours` and `theirs` (None: deleted there), which is written down as a look at that record. Problem forbidden.
    """
    if not ctx.actor.operator:
        raise Problem("forbidden", "The list of conflicts is for an operator.")
    out: list[dict[str, Any]] = []
    looked: list[Op] = []
    for record in (await _records(ctx)).values():
        stored = await ctx.house.store.get(_ref(record))
        line = {k: v for k, v in record.items() if k not in (*CONTENT, "patient", "task", "holds")} | {"version": stored.version if stored else 0}
        line.setdefault("winner", "ours" if "theirs" in record else "deleted")  # one of an earlier release does not say
        if content:
            line |= {"ours": record["ours"], "theirs": record.get("theirs")}
            looked.append(note(ctx, "R", "read", None, (record["ref"],), patient=record.get("patient"), allowed=True, detail="both versions of a conflict"))
        out.append(line)
    await ctx.house.store.commit(*looked)
    return out


async def clashes(ctx: Context, person: str | None = None) -> list[Clash]:
    """Those that whoever asks may settle, of one person (`Patient/…`) or of everybody; written down where there are some."""
    found: list[Clash] = []
    looked: list[Op] = []
    for record in list((await _records(ctx)).values())[:MOST]:
        if person is None or record.get("patient") == person:
            shown = await _shown(ctx, record)
            if shown is not None:
                found.append(shown)
                looked.append(note(ctx, "R", "search", None, (str(shown.ref),), patient=record.get("patient"), allowed=True, detail="conflicts"))
    if found:
        await ctx.house.store.commit(*looked)
    return found


async def clash(ctx: Context, id: str) -> Clash:
    """One that whoever asks may settle, both sides as they may see them. Problem not-found, for hidden and absent alike."""
    _, record = await _found(ctx, id)
    shown = await _shown(ctx, record)
    row = note(ctx, "R", "read", None, (record["ref"],), patient=record.get("patient"), allowed=shown is not None, detail="both versions of a conflict")
    await ctx.house.store.commit(row)
    if shown is None:
        raise not_found()
    return shown


async def _records(ctx: Context) -> dict[str, dict[str, Any]]:
    kept = await ctx.house.store.kept_all(CONFLICT, ctx.at)
    return dict(sorted(((key, strict.decode(raw)) for key, raw in kept.items()), key=lambda kv: (kv[1]["at"], kv[0])))


async def _found(ctx: Context, id: str) -> tuple[str, dict[str, Any]]:
    for key, record in (await _records(ctx)).items():
        if record["id"] == id:
            return key, record
    raise not_found()


async def _shown(ctx: Context, record: Mapping[str, Any]) -> Clash | None:
    """None where it is not theirs to settle: they may not see or change it, or see no difference."""
    ref = _ref(record)
    stored = await ctx.house.store.get(ref)
    if stored is None or stored.deleted or stored.body is None or not await _may_settle(ctx, stored):
        return None
    sides = [record["ours"], *([record["theirs"]] if record.get("theirs") else [])]
    for side in sides:
        facts, _ = labelled(ctx, side, ref, stored.writer, stored)
        if not (await ask(ctx, ctx.action, facts)).permit:
            return None
    views = await views_of(ctx, stored)
    now, ours, *theirs = (rendered(body, views) for body in (strict.decode(stored.body), *sides))
    if theirs and entries.same(content(ours), content(theirs[0])):
        return None
    return Clash(record["id"], ref, record["remote"], record["at"], stored.version, now, ours, theirs[0] if theirs else None)


async def _may_settle(ctx: Context, stored: Stored) -> bool:
    ref = stored.ref
    if ctx.scopes is not None and not all(ctx.scopes.covers(i, ref.type) and in_scope(ctx, i, stored) for i in ("r", "u")):
        return False
    if not within_launch(ctx, "u", stored.facts):
        return False
    return (await ask_stored(ctx, ctx.action, stored)).permit and (await ask(ctx, "correct", stored.facts)).permit


def _ref(record: Mapping[str, Any]) -> Ref:
    return Ref(*record["ref"].split("/"))


# -- settled ----------------------------------------------------------------------------------------------------------


async def settle(
    ctx: Context, id: str, how: str, body: dict[str, Any] | None = None, *, version: int | None = None, reason: str = ""
) -> Ref:
    """Settle one as `ours`, `theirs` or `merged` (`body`, which says in `meta.versionId` which version it was made from).

    By whoever may change the resource, in their own view of it; or by an operator, whose `reason` goes into the audit. `version` is
    the one they looked at: without it, what somebody changed again in the same place is not overwritten (Problem conflict).
    Problem: not-found, bad-request, conflict, stale, forbidden, invalid.
    """
    if how not in WAYS or (how == "merged") != (body is not None):
        raise Problem("bad-request", "A conflict is settled as ours, as theirs, or as merged with the merged resource.", "how")
    if ctx.actor.operator:
        await need_proof(ctx, "U", "settle", "settling a conflict")
    elif ctx.actor.drafts_only:
        raise Problem("forbidden", "A volunteer writes drafts; which of two versions counts is for somebody else to say.")
    key, record = await _found(ctx, id)
    ref = _ref(record)
    stored = await ctx.house.store.get(ref)
    if not ctx.actor.operator and await _shown(ctx, record) is None:
        row = note(ctx, "U", "settle", None, (str(ref),), patient=record.get("patient"), allowed=False)
        await ctx.house.store.commit(row)
        raise not_found()
    work = Work(ctx)
    more: list[Op] = []
    if stored is not None and not stored.deleted:
        if version is not None and version != stored.version:
            raise Problem("stale", f"This was changed meanwhile: you saw version {version}, it is now version {stored.version}.", "version")
        more = await _as_decided(work, record, stored, how, body, version is not None)
    people = stored.facts.patients if stored is not None else ()
    detail = f"{how}{f': {reason.strip()}' if reason.strip() else ''}"
    rows = [note(ctx, "U", "settle", Decision(True, "operator" if ctx.actor.operator else ""), (str(ref),), patient=p, detail=detail) for p in people or (None,)]
    try:
        await work.commit(*more, Drop(CONFLICT, key), *await close_task(ctx, record.get("task", "")), *rows)
    except Taken:
        raise Problem("unavailable", "Others are writing the same at this moment. Nothing was written. Please repeat.", headers={"Retry-After": "1"}) from None
    return ref


async def _as_decided(
    work: Work, record: Mapping[str, Any], stored: Stored, how: str, body: dict[str, Any] | None, sure: bool
) -> list[Op]:
    """What is written for it, and what is committed beside that."""
    ref, theirs = stored.ref, record.get("theirs")
    gone = [] if theirs is not None else [Drop(DELETED, f"{record['remote']} {ref}")]
    if how == "theirs" and theirs is None:
        await (_delete_by_house(work, stored) if work.ctx.actor.operator else take_away(work, ref, if_match=stored.version))
        return [*gone]
    views = Cut(0) if work.ctx.actor.operator else await views_of(work.ctx, stored)
    now = rendered(strict.decode(stored.body or b""), views)
    if body is not None:
        _of_this_version(body, stored)
        after = body
    elif theirs is None:
        after = now
    else:
        after = _chosen(now, rendered(record["ours"], views), rendered(theirs, views), how, sure)
    if work.ctx.actor.operator:
        await _put_by_house(work, stored, now, after)
    else:
        await put_over(work, ref, strict.dump(after), if_match=stored.version)
    again = [Send(record["remote"], ref, stored.version, next(iter(stored.facts.patients), None))] if (theirs is None or how == "ours" or record.get("holds")) and ref not in work.new else []
    return [*gone, *again]


def _chosen(now: dict[str, Any], ours: dict[str, Any], theirs: dict[str, Any], how: str, sure: bool) -> dict[str, Any]:
    """The resource as it is now with the clashing places as the chosen side has them."""
    chosen, other = (ours, theirs) if how == "ours" else (theirs, ours)
    step = reconcile(other, now, chosen)
    if isinstance(step, Conflict):
        if not sure:
            where = ", ".join(step.paths)
            raise Problem("conflict", f"Somebody has changed it again in the same place ({where}): look at it as it is now, and name its version.", "version")
        after = step.of("remote")
        assert after is not None
        return after
    return (step.body if isinstance(step, Pull | Merge) else None) or now


def with_part(body: Mapping[str, Any], clash: Clash, element: str, how: str) -> dict[str, Any]:
    """`body` with the clashing places of one element as `ours` or `theirs` has them: what was edited beside them stays."""

    def having(side: Mapping[str, Any]) -> dict[str, Any]:
        return {k: v for k, v in body.items() if k != element} | ({element: side[element]} if element in side else {})

    return _chosen(dict(body), having(clash.ours), having(clash.theirs or {}), how, True)


def _of_this_version(body: Mapping[str, Any], stored: Stored) -> None:
    if (body.get("resourceType"), body.get("id")) != (stored.ref.type, stored.ref.id):
        raise Problem("bad-request", f"The merged resource must be {stored.ref}.", "id")
    seen = str((body.get("meta") or {}).get("versionId", ""))
    if seen != str(stored.version):
        raise Problem("stale", f"Say in `meta.versionId` that it was made from version {stored.version}, which is the one now; it says `{seen[:20]}`.", "meta.versionId")


async def _put_by_house(work: Work, stored: Stored, now: dict[str, Any], after: dict[str, Any]) -> None:
    """An operator's choice: judged like any write, and of nothing that decides who sees the record."""
    ctx, ref = work.ctx, stored.ref
    if entries.same(content(after), content(now)):
        return
    _not_who_may_see(ref)
    security = joined(now.get("meta", {}).get("security", ()), after.get("meta", {}).get("security", ()))
    meta = {**after.get("meta", {}), **({"security": security} if security else {})}
    _, resource, _ = received_over(ctx, ref.type, strict.dump({**after, **({"meta": meta} if meta else {})}), now, now, Cut(0))
    if set(compartment.patients(resource)) != set(compartment.patients(now)):
        raise Problem("business-rule", "A resource cannot be moved to another person.", ref.type)
    if ref.type == "Patient" and (wrong := recorded.not_theirs(now, resource, may=frozenset(), held=frozenset())) is not None:
        raise Problem("business-rule", wrong[1], wrong[0])
    await put_by_house(work, ref, resource, stored, "update", "a conflict was settled")


async def _delete_by_house(work: Work, stored: Stored) -> None:
    """As their side has it: deleted."""
    ctx, ref, a = work.ctx, stored.ref, work.ctx.actor
    _not_who_may_see(ref)
    writer = Writer(a.user, a.organisation, ctx.client, "operator", "SYSTEM", False, saw_all=False)
    work.ops += [Remove(ref, stored.version + 1, ctx.at, writer, stored.version), *bumps(ref.type, stored.facts), *released(ref, stored)]
    work.ops += await sends(ctx, ref, stored.version + 1, stored.facts, "deleted")
    if ref.type == "CarePlan":
        watched(work, None, stored)
    work.gone.add(ref)


def _not_who_may_see(ref: Ref) -> None:
    if ref.type in STANDING_TYPES:
        raise Problem("forbidden", f"What a {ref.type} says may decide who sees the record: the person, or somebody who may change it, settles this on their own page.")


__all__ = ["CONFLICT", "DELETED", "WAYS", "Clash", "clash", "clashes", "conflicts", "settle", "with_part"]
