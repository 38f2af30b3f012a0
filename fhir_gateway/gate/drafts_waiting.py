"""The drafts that wait for a person: they look at each and accept it, or do not; who wrote one may take it back. docs/volunteers.md"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

import msgspec

from ..domain import consent, drafts, proxies, strict
from ..domain import facts as deriving
from ..domain.drafts import Draft, Item
from ..domain.periods import micros
from ..domain.problem import Problem, not_found
from ..domain.rendering import rendered
from ..domain.types import Decision, Drop, Expect, Facts, Keep, Ref, Stored, Writer
from .committing import Work, again
from .context import Context, ask, need_scope, note, notes, stand, stand_apart, views_of
from .drafting import EXTRACTED, KEPT
from .headings import title
from .marking import labelled
from .permitting import through_targets
from .proving import is_oneself
from .reading import in_scope, resource_in_scope
from .storing import put_by_house, take_away_by_house

Answer = Literal["accept", "refuse", "withdraw"]
LETTERS = {"POST": "c", "PUT": "u", "DELETE": "d"}
DOING = {"POST": "add", "PUT": "change", "DELETE": "take away"}
CHANGED = "Something of this draft was changed meanwhile, so it cannot be accepted any more. Ask for a new one."


@dataclass(frozen=True, slots=True)
class Waiting:
    """A draft as this asker may have it. `before`: what is there now of each item that changes something, or would take it away; `fits`: nothing
    was changed meanwhile; `may`: this asker may accept all of it."""

    draft: Draft
    before: dict[str, dict[str, Any]]
    fits: bool = True
    may: bool = True


async def drafts_for(ctx: Context, patient: str) -> list[Waiting]:
    """What waits for this person (`Patient/…`), oldest first: all of it for them and who decides for them; for whoever wrote some, their own without
    the words. Problem not-found for everybody else."""
    decides = await _decides(ctx, patient)
    kept = await _kept(ctx, patient)
    found = [w for d in kept if (w := await _shown(ctx, d)) is not None] if decides else [_own(d) for d in kept if d.by == ctx.actor.user]
    if not decides and not found:
        await ctx.house.store.commit(note(ctx, "R", "drafts", None, (), allowed=False))
        raise not_found()
    await _looked(ctx, patient, decides)
    return sorted(found, key=lambda w: (w.draft.at, w.draft.id))


async def drafts_seen(ctx: Context, patient: str) -> int:
    """How many drafts wait for this person, as far as this asker is shown them: for the person and who decides for them, 0 for everybody else.
    Where some do, that is a look at them."""
    found = [d for d in await _kept(ctx, patient) if await _shown(ctx, d) is not None] if await _decides(ctx, patient) else []
    if found:
        await _looked(ctx, patient, True)
    return len(found)


async def _kept(ctx: Context, patient: str) -> list[Draft]:
    if ctx.launch and patient not in ctx.bound:
        return []
    return [msgspec.json.decode(raw, type=Draft) for raw in (await ctx.house.store.kept_all(KEPT, ctx.at, prefix=f"{patient} ")).values()]


async def _looked(ctx: Context, patient: str, decides: bool) -> None:
    basis = Decision(True, "self" if ctx.actor.kind == "patient" else "proxy" if decides else "implicit", rule="" if decides else "own data")
    await ctx.house.store.commit(note(ctx, "R", "drafts", basis, (patient,), patient=patient))


async def _decides(ctx: Context, patient: str) -> bool:
    """Is this the person, or somebody whom the law lets decide for them."""
    a = ctx.actor
    if a.kind == "patient":
        return patient in ctx.answers_for
    if a.kind != "proxy" or a.patient != patient or a.drafts_only:
        return False
    standing = (await stand(ctx.house, [patient], None, ctx.place))[patient]
    return bool(proxies.decides_for(standing, a.ids | {a.user}, micros(ctx.at)))


async def _shown(ctx: Context, draft: Draft) -> Waiting | None:
    """All of it, each thing as this asker is shown such a thing; None where anything of it is hidden from this asker, before or as it would be: then none of it is here."""
    would = await _would_be(ctx, draft)
    if any(made.facts.patients != (draft.patient,) for made in would.values()):  # a Provenance of what they do not see
        return None
    before: dict[str, dict[str, Any]] = {}
    items, fits, may = [], True, True
    for item in draft.items:
        stored = await _now(ctx, item)
        fits = fits and _same(item, stored)
        there = [s.facts for s in (stored, would.get(item.ref)) if s is not None and s.body is not None]
        if not all([(await ask(ctx, "access", facts)).permit for facts in there]):
            return None
        may = may and await _may_accept(ctx, item, stored, would.get(item.ref))
        now: dict[str, Any] = {}
        if item.over and stored is not None and stored.body is not None:
            now = rendered(strict.decode(stored.body), await views_of(ctx, stored))
            if ctx.scopes is None or in_scope(ctx, "r", stored):
                before[item.ref] = now
        items.append(await _as_shown(ctx, item, would.get(item.ref), now))
    return Waiting(_of(draft, items), before, fits, may and not await is_oneself(ctx, draft.by))


async def _may_accept(ctx: Context, item: Item, stored: Stored | None, made: Stored | None) -> bool:
    """May this asker accept this one change: by scope, by what is there and by what would be."""
    if item.ref.startswith("Provenance/"):  # nothing of it is written
        return True
    if ctx.scopes is not None and not ctx.scopes.covers(LETTERS[item.method], item.ref.split("/")[0]):
        return False
    asked = [("correct", s) for s in (stored, made) if s is not None] if item.over else [("collect", made)]
    return all([s is None or (await _accepting(ctx, action, s.facts)).permit for action, s in asked])  # type: ignore[arg-type]


async def _as_shown(ctx: Context, item: Item, made: Stored | None, before: dict[str, Any]) -> Item:
    if ctx.scopes is not None and not ctx.scopes.covers("r", item.ref.split("/")[0]):
        return _wordless(item)
    if ctx.scopes is not None and not all(resource_in_scope(ctx, "r", r) for r in (before, strict.decode(made.body) if made and made.body else {}) if r):
        return _wordless(item)
    if made is None or made.body is None:
        return msgspec.structs.replace(item, title=title(before))
    shown = rendered(strict.decode(made.body), await views_of(ctx, made))
    return msgspec.structs.replace(item, body=strict.dump(shown).decode(), title=title(shown))


async def _would_be(ctx: Context, draft: Draft) -> dict[str, Stored]:
    """Each thing that it would write, as it would be kept: with its labels and whose it is."""
    work = Work(ctx)
    for item in sorted(draft.items, key=lambda i: i.ref.startswith("Provenance/")):  # which is about the others
        if item.body is None:
            continue
        ref, raw, writer = Ref(*item.ref.split("/", 1)), item.body.encode(), _writer(draft, item)
        stored, resource = await _now(ctx, item), strict.decode(raw)
        facts, _ = labelled(ctx, resource, ref, writer, stored)
        facts = await through_targets(work, resource, facts, stored)
        facts = deriving.in_nobodys_name(facts, stored.facts if stored is not None else None, theirs=True)
        work.new[ref] = Stored(ref, item.over + 1, ctx.at, raw, raw, facts, writer, created_by=stored.created_by if stored else draft.by)
    return {str(ref): stored for ref, stored in work.new.items()}


def _writer(draft: Draft, item: Item) -> Writer:
    return Writer(draft.by, draft.organisation, draft.client, draft.kind, item.method, False, saw_all=False)


def _of(draft: Draft, items: list[Item]) -> Draft:
    return msgspec.structs.replace(draft, items=tuple(items))


def _own(draft: Draft) -> Waiting:
    return Waiting(_of(draft, [_wordless(i) for i in draft.items]), {})


def _wordless(item: Item) -> Item:
    return msgspec.structs.replace(item, body=None if item.body is None else "", title="")


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

    The person, or who decides for them, accepts and refuses; whoever wrote it takes it back, and does not accept it. Problem: not-found, stale where
    something of it was changed meanwhile, forbidden for who may see it and not do all of it themselves, insufficient-scope, unavailable where what
    they may do changed meanwhile.
    """
    what = "accept-draft" if answer == "accept" else "refuse-draft"

    async def attempt() -> list[Ref]:
        asked = await _as_it_stands(ctx, patient)  # before anything is asked: a role that ends from here on accepts nothing
        draft = await _answerable(ctx, patient, id, answer, what)
        work = Work(replace(ctx, actor=replace(ctx.actor, drafts_only=False)), list(asked) if answer != "withdraw" else [])
        would = await _would_be(ctx, draft) if answer == "accept" else {}
        refs = [await _written(work, draft, i, would.get(i.ref)) for i in draft.items if not i.ref.startswith("Provenance/")] if answer == "accept" else []
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


async def _as_it_stands(ctx: Context, patient: str) -> list[Expect]:
    """What must not move until the commit: what is known about this person, and in the records merged with theirs."""
    people = sorted(await stand_apart(ctx.house, [patient], None, ctx.place))
    return [Expect(p, await ctx.house.store.epoch(p)) for p in people]


async def _answerable(ctx: Context, patient: str, id: str, answer: Answer, what: str) -> Draft:
    """The draft, for who may answer it so now. Problem not-found, forbidden for who would accept their own words."""
    raw = await ctx.house.store.kept(KEPT, f"{patient} {id}", ctx.at)
    draft = msgspec.json.decode(raw, type=Draft) if raw is not None else None
    if answer == "withdraw":
        may = draft is not None and draft.by == ctx.actor.user
    else:
        may = draft is not None and await _decides(ctx, patient) and await _shown(ctx, draft) is not None
    if draft is None or not may:
        await ctx.house.store.commit(note(ctx, "U", what, None, (), allowed=False))
        raise not_found()
    if answer == "accept" and await is_oneself(ctx, draft.by):
        await ctx.house.store.commit(note(ctx, "U", what, None, (), patient=patient, allowed=False, detail="their own"))
        raise Problem("forbidden", "Somebody else must accept what you wrote.")
    return draft


async def _written(work: Work, draft: Draft, item: Item, made: Stored | None) -> Ref:
    """One change of it, as its author's words, by the right of whoever accepts it. Problem stale, forbidden, insufficient-scope."""
    ctx, ref, stored = work.ctx, Ref(*item.ref.split("/", 1)), await _now(work.ctx, item)
    need_scope(ctx, LETTERS[item.method], ref.type)
    if not _same(item, stored):
        raise Problem("stale", CHANGED)
    decision = Decision(False, "")
    for is_or_would_be in (stored, made):
        if is_or_would_be is not None:
            decision = await _accepting(ctx, "correct" if item.over else "collect", is_or_would_be.facts)
            if not decision.permit:
                await ctx.house.store.commit(*notes(ctx, "U", "accept-draft", decision, is_or_would_be.facts, ref))
                raise Problem("forbidden", f"You may see this draft but not accept it: it would {DOING[item.method]} a {ref.type}, which is not yours to {DOING[item.method]}. The person can accept it.")
    if item.body is None:
        assert stored is not None
        await take_away_by_house(work, stored, decision, "accept-draft")
        return ref
    await put_by_house(work, ref, strict.decode(item.body.encode()), stored, "accept-draft", f"a draft of {draft.by}", by=_writer(draft, item))
    return ref


async def _accepting(ctx: Context, action: Literal["collect", "correct"], facts: Facts) -> Decision:
    """May they add this, or change or take it away. Who decides for the person does what a volunteer proposes by that right, with what they may see
    and where no consent says no to it; a role alone, as it is registered, is to read."""
    decision = await ask(ctx, action, facts)
    if decision.basis != "no-proxy-role":  # `no-read-no-update` for what they do not see
        return decision
    known = await stand(ctx.house, facts.patients, None, ctx.place)
    return decision if consent.forbidden(ctx.asks(action), facts, known) else Decision(True, "proxy", rule="decides for them")


async def _closed(work: Work, draft: Draft, answer: Answer, what: str) -> None:
    """The Task that said that it waits says what became of it."""
    ref = Ref("Task", draft.id)
    stored = await work.ctx.house.store.get(ref)
    if stored is None or stored.body is None:
        return
    status = {"accept": "completed", "refuse": "rejected", "withdraw": "cancelled"}[answer]
    await put_by_house(work, ref, {**strict.decode(stored.body), "status": status}, stored, what, answer, ours=True)


__all__ = ["Answer", "Waiting", "answer_draft", "drafts_for", "drafts_seen"]
