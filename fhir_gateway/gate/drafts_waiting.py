"""The drafts that wait for a person: they look at each and accept it, or do not; who wrote one may take it back. docs/volunteers.md"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

import msgspec

from ..domain import drafts, proxies, strict
from ..domain.drafts import Draft, Item
from ..domain.periods import micros
from ..domain.problem import Problem, not_found
from ..domain.types import Decision, Drop, Keep, Ref, Stored, Writer
from .committing import Work, again
from .context import Context, ask_stored, need_scope, note, stand
from .drafting import EXTRACTED, KEPT
from .preparing import put_by_house, take_away

Answer = Literal["accept", "refuse", "withdraw"]
CHANGED = "Something of this draft was changed meanwhile, so it cannot be accepted any more. Ask for a new one."


@dataclass(frozen=True, slots=True)
class Waiting:
    """A draft as this asker may have it. `before`: what is there now of each item that changes something; `fits`: nothing was changed meanwhile."""

    draft: Draft
    before: dict[str, dict[str, Any]]
    fits: bool = True


async def drafts_for(ctx: Context, patient: str) -> list[Waiting]:
    """What waits for this person (`Patient/…`), oldest first: all of it for them and who decides for them; for whoever wrote some, their own without
    the words. Problem not-found for everybody else."""
    decides = await _decides(ctx, patient)
    kept = [] if ctx.launch and patient not in ctx.bound else [msgspec.json.decode(raw, type=Draft) for raw in (await ctx.house.store.kept_all(KEPT, ctx.at, prefix=f"{patient} ")).values()]
    found = [await _shown(ctx, d) for d in kept] if decides else [_own(d) for d in kept if d.by == ctx.actor.user]
    if not decides and not found:
        await ctx.house.store.commit(note(ctx, "R", "drafts", None, (), allowed=False))
        raise not_found()
    basis = Decision(True, "self" if ctx.actor.kind == "patient" else "proxy" if decides else "implicit", rule="" if decides else "own data")
    await ctx.house.store.commit(note(ctx, "R", "drafts", basis, (patient,), patient=patient))
    return sorted(found, key=lambda w: (w.draft.at, w.draft.id))


async def _decides(ctx: Context, patient: str) -> bool:
    """Is this the person, or somebody whom the law lets decide for them."""
    a = ctx.actor
    if a.kind == "patient":
        return patient in ctx.answers_for
    if a.kind != "proxy" or a.patient != patient or a.drafts_only:
        return False
    standing = (await stand(ctx.house, [patient], None, ctx.place))[patient]
    return bool(proxies.decides_for(standing, a.ids | {a.user}, micros(ctx.at)))


async def _shown(ctx: Context, draft: Draft) -> Waiting:
    """All of it but what is hidden from the person since."""
    before: dict[str, dict[str, Any]] = {}
    items, fits = [], True
    for item in draft.items:
        stored = await _now(ctx, item)
        fits = fits and _same(item, stored)
        if item.over and stored is not None and stored.body is not None:
            if not (await ask_stored(ctx, "access", stored)).permit:
                fits = False
                continue
            before[item.ref] = strict.decode(stored.body)
        items.append(item if ctx.scopes is None or ctx.scopes.covers("r", item.ref.split("/")[0]) else _wordless(item))
    return Waiting(_of(draft, items), before, fits)


def _of(draft: Draft, items: list[Item]) -> Draft:
    return msgspec.structs.replace(draft, items=tuple(items))


def _own(draft: Draft) -> Waiting:
    return Waiting(_of(draft, [_wordless(i) for i in draft.items]), {})


def _wordless(item: Item) -> Item:
    return msgspec.structs.replace(item, body=None if item.body is None else "")


async def _now(ctx: Context, item: Item) -> Stored | None:
    return await ctx.house.store.get(Ref(*item.ref.split("/", 1)))


def _same(item: Item, stored: Stored | None) -> bool:
    """Is the record still as it was when this was written."""
    if not item.over:
        return stored is None
    return stored is not None and not stored.deleted and stored.version == item.over


# -- the answer -------------------------------------------------------------------------------------------------------


async def answer_draft(ctx: Context, patient: str, id: str, answer: Answer) -> list[Ref]:
    """Accept it, and it counts from now on: what was written by it. Or not, and nothing of it is left but that it was there.

    The person, or who decides for them, accepts and refuses; whoever wrote it takes it back. Problem: not-found, stale where something of it was
    changed meanwhile, insufficient-scope.
    """
    raw = await ctx.house.store.kept(KEPT, f"{patient} {id}", ctx.at)
    draft = msgspec.json.decode(raw, type=Draft) if raw is not None else None
    may = draft is not None and (draft.by == ctx.actor.user if answer == "withdraw" else await _decides(ctx, patient))
    what = "accept-draft" if answer == "accept" else "refuse-draft"
    if draft is None or not may:
        await ctx.house.store.commit(note(ctx, "U", what, None, (), allowed=False))
        raise not_found()

    async def attempt() -> list[Ref]:
        work = Work(replace(ctx, actor=replace(ctx.actor, drafts_only=False)))
        refs = [await _written(work, draft, item) for item in draft.items if not item.ref.startswith("Provenance/")] if answer == "accept" else []
        if refs:
            kept = [r for r in refs if r in work.new]
            said = drafts.attested(draft, kept, ctx.actor.user, ctx.at)
            if kept:
                await put_by_house(work, Ref("Provenance", ctx.house.new_id()), said, None, what, "who wrote it and who accepted it", ours=True)
            work.ops += [Keep(EXTRACTED, key, value.encode()) for key, value in draft.kept]
        await _closed(work, draft, answer, what)
        work.ops.append(Drop(KEPT, draft.key, must_exist=True))
        await work.commit()
        return refs

    return await again(attempt)


async def _written(work: Work, draft: Draft, item: Item) -> Ref:
    """One change of it, as its author's words. Problem stale, forbidden, insufficient-scope."""
    ctx, ref, stored = work.ctx, Ref(*item.ref.split("/", 1)), await _now(work.ctx, item)
    need_scope(ctx, {"POST": "c", "PUT": "u", "DELETE": "d"}[item.method], ref.type)
    if not _same(item, stored):
        raise Problem("stale", CHANGED)
    if stored is not None and not (await ask_stored(ctx, "correct", stored)).permit:
        raise Problem("stale", CHANGED)
    if item.body is None:
        await take_away(work, ref, if_match=item.over)
        return ref
    writer = Writer(draft.by, draft.organisation, draft.client, draft.kind, item.method, False, saw_all=False)
    await put_by_house(work, ref, strict.decode(item.body.encode()), stored, "accept-draft", f"a draft of {draft.by}", by=writer)
    return ref


async def _closed(work: Work, draft: Draft, answer: Answer, what: str) -> None:
    """The Task that said that it waits says what became of it."""
    ref = Ref("Task", draft.id)
    stored = await work.ctx.house.store.get(ref)
    if stored is None or stored.body is None:
        return
    status = {"accept": "completed", "refuse": "rejected", "withdraw": "cancelled"}[answer]
    await put_by_house(work, ref, {**strict.decode(stored.body), "status": status}, stored, what, answer, ours=True)


__all__ = ["Answer", "Waiting", "answer_draft", "drafts_for"]
