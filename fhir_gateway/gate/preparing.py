"""One change that somebody asks for, prepared: find, ask, check. What the commit will hold of it is `storing`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from ..domain import compartment, copies, entries, strict
from ..domain.consenting import superseded
from ..domain.drafts import Item
from ..domain.problem import Problem, not_found
from ..domain.rendering import rendered
from ..domain.types import Decision, Ref, Stored
from ..store.base import Taken
from . import drafting
from .calling import called_here
from .committing import Work, claim
from .conditions import Match, matching
from .context import Context, Written, attached, leaving, need_scope, notes, rendering, stand, views_of
from .headings import title
from .identifying import claimed, known_person
from .marking import but_for_labels, content, labelled, new_labels, who_writes
from .medicine_answers import answered
from .permitting import (
    facts_left_alone,
    may_collect,
    may_correct,
    may_raise,
    own_hand,
    still_theirs,
    subject_path,
    through_targets,
)
from .reading import allow, in_scope
from .receiving import received, received_over
from .storing import away, given_back, mark_draft, store
from .subscribers import TYPE as SUBSCRIPTION
from .superseding import fills_the_place
from .withdrawing import before_their_words, own_copy, words

Edit = Callable[[dict[str, Any]], dict[str, Any]]
# Administrative and clinical types where a lost update would harm: If-Match is required (contracts.md).
FREE_OF_IF_MATCH = frozenset({"Basic", "Binary", "Subscription"})


# -- new --------------------------------------------------------------------------------------------------------------


async def put_new(
    work: Work, type: str, raw: bytes, *, id: str | None = None, if_none_exist: str | None = None, unless: str | None = None
) -> Written:
    """Prepare the creation of one resource. `unless`: a condition that had no match; of two that say so at once one goes on."""
    ctx = work.ctx
    if type == SUBSCRIPTION:
        raise Problem("not-offered", "A Subscription is made by a request of its own, not in a transaction.", type)
    raw, resource = received(ctx, type, raw)
    if if_none_exist is not None:
        await work.seek(type, if_none_exist)
        match = await matching(ctx, type, if_none_exist, own=True)
        if match is not None:
            return await matched(work, match)
    person = await known_person(ctx, type, resource)
    if person is not None and id is not None:  # it came between: the other entries speak of another id
        raise Taken("nhs-number", str(person.ref))
    if person is not None:
        return await known(work, person)
    ref = Ref(type, id or ctx.house.new_id())
    ended = await _end_superseded(work, ref, resource)
    writer = await who_writes(ctx, resource, "POST", None)
    facts, security = labelled(ctx, resource, ref, writer, None)
    facts = await through_targets(work, resource, facts)
    decision = await may_collect(work, resource, facts)
    await fills_the_place(ctx, work.get, resource, facts, ended)
    own_hand(ctx, resource)
    if (condition := if_none_exist or unless) is not None:
        name = await work.seek(type, condition)
        work.ops.append(claim(name, work.sought[name], ref, ctx.at))  # an earlier one is of what is here no more, or matches no more
    work.ops += await claimed(work, ref, resource, None)
    return await store(work, ref, 1, 0, raw, resource, facts, security, writer, "C", "create", None, decision)


async def _end_superseded(work: Work, new: Ref, resource: dict[str, Any], before: dict[str, Any] | None = None) -> list[str]:
    """The consents that this one takes the place of end with it, in the same commit, by the right of the same writer: which."""
    ended = superseded(resource, before) if new.type == "Consent" else []
    if str(new) in ended:
        raise Problem("business-rule", "A consent does not take the place of itself.", "Consent.extension")
    for name in ended:
        ref = Ref("Consent", name.removeprefix("Consent/"))
        stored = await work.get(ref)
        try:
            await put_edited(work, ref, lambda consent: {**consent, "status": "inactive"}, if_match=stored.version if stored else None)
        except Problem as p:
            if p.kind == "not-found":
                raise Problem("business-rule", f"`{name[:80]}` is not here, so nothing can take its place.", "Consent.extension") from None
            raise
    return ended


async def matched(work: Work, match: Match) -> Written:
    """What a conditional create found, as far as this writer may have it; written down."""
    ctx, stored = work.ctx, match.stored
    assert stored is not None
    work.trail += notes(ctx, "R", "create", Decision(True, "matched"), stored.facts, match.ref, detail="if-none-exist")
    may_read = ctx.scopes is None or (ctx.scopes.covers("r", match.ref.type) and in_scope(ctx, "r", stored))
    return Written(match.ref, stored.version, stored.updated, (await leaving(ctx, stored))[0] if may_read else None, "matched")


async def known(work: Work, person: Stored) -> Written:
    """Whom a new Patient turns out to be, as far as this writer may know of them; written down."""
    work.trail += notes(work.ctx, "R", "create", Decision(True, "matched"), person.facts, person.ref, detail="known by NHS number")
    shown = await given_back(work.ctx, person) is not None
    return Written(person.ref, person.version, person.updated, None, "matched", shown)


# -- over what is there -----------------------------------------------------------------------------------------------


async def put_where(work: Work, type: str, condition: str, raw: bytes, *, if_match: int | None = None) -> Written:
    """Prepare an update of the one match, or a creation. https://hl7.org/fhir/R4/http.html#cond-update"""
    ctx = work.ctx
    await work.seek(type, condition)
    match = await matching(ctx, type, condition)
    body = strict.read(raw)
    if match is not None:
        return await put_over(work, match.ref, with_id(body, raw, match.ref), if_match=if_match)
    without_id(body)
    if if_match is not None:
        raise Problem("stale", "Nothing matches this condition, so there is no such version.", "If-Match")
    need_scope(ctx, "c", type)
    return await put_new(work, type, raw, unless=condition)


def with_id(body: dict[str, Any], raw: bytes, ref: Ref) -> bytes:
    """What replaces the match of a condition may leave its id out."""
    return raw if "id" in body else strict.dump({"resourceType": body.get("resourceType"), "id": ref.id, **body})


def without_id(body: dict[str, Any]) -> None:
    """Problem not-offered for a body that brings its own id where nothing matches."""
    if "id" in body:
        raise Problem("not-offered", "Nothing matches, and ids are given by this server: send it without an id.", "id")


async def put_edited(work: Work, ref: Ref, edit: Edit, *, if_match: int | None = None) -> Written:
    """Prepare what `edit` makes of the rendering this reader gets: it can ask and change nothing else."""
    ctx = work.ctx
    stored = await work.get(ref)
    await allow(ctx, "U", "patch", ref, stored)
    assert stored is not None
    if stored.deleted:
        raise not_found()
    await _precondition(ctx, "U", "patch", stored, if_match)
    shown = (await rendering(ctx, stored))[0]
    seen = strict.decode(shown)
    edited = edit(seen)
    _left_alone(ref, seen, edited)
    raw = strict.dump(edited)
    if len(raw) > max(ctx.limits.body, len(shown)):
        raise Problem("too-large", f"After this patch the resource would have {len(raw)} bytes, and {ctx.limits.body} are the most.")
    if much := strict.beyond(raw, ctx.limits.items, ctx.limits.elements):
        raise Problem("too-large", f"After this patch the resource would hold {much}.")
    return await put_over(work, ref, raw, if_match=if_match, method="PATCH")


def _left_alone(ref: Ref, before: dict[str, Any], after: dict[str, Any]) -> None:
    """What only the server sets cannot be patched."""
    then, now = before.get("meta", {}), after.get("meta", {})
    for name in ("versionId", "lastUpdated"):
        if isinstance(now, dict) and now.get(name, then.get(name)) != then.get(name):
            raise Problem("business-rule", f"`meta.{name}` is set by the server.", f"{ref.type}.meta.{name}")
    for name in ("id", "resourceType"):
        if after.get(name) != before.get(name):
            raise Problem("business-rule", f"`{name}` cannot be changed.", f"{ref.type}.{name}")


async def put_over(work: Work, ref: Ref, raw: bytes, *, if_match: int | None = None, method: str = "PUT") -> Written:
    """Prepare the replacement of one resource by what this reader made of what they saw."""
    ctx, what = work.ctx, "patch" if method == "PATCH" else "update"
    stored = await work.get(ref)
    if stored is not None and method == "PUT" and (base := await before_their_words(ctx, stored, raw)) is not None:
        return await _words_back(work, stored, base)
    await allow(ctx, "U", what, ref, stored)
    assert stored is not None
    if stored.deleted:
        raise not_found()
    await _precondition(ctx, "U", what, stored, if_match)
    was, views = strict.decode(stored.body or b""), await views_of(ctx, stored)
    shown = rendered(was, views)
    raw, resource, sent = received_over(ctx, ref.type, copies.kept(raw, was), was, shown, views, await called_here(ctx, raw))
    if sent.get("id") != ref.id:
        raise Problem("bad-request", f"The id in the body must be `{ref.id}`, as in the address.", f"{ref.type}.id")
    saw_all = resource == sent or but_for_labels(resource) == but_for_labels(sent)
    decision = await may_correct(work, stored, resource)
    await may_raise(ctx, stored, shown, sent, what)
    moved = set(compartment.patients(resource)) != set(compartment.patients(was))
    if moved or (attached(stored.facts) and _context(resource) != _context(was)):
        raise Problem("business-rule", "A resource cannot be moved to another person.", subject_path(ref.type))
    if ref.type == "Patient":
        mine = (await stand(ctx.house, [str(ref)], None, ctx.place))[str(ref)]
        facts_left_alone(ctx, was, resource, frozenset(k.other for k in mine.links))
    if entries.same(content(sent), content(shown)) and not new_labels(sent, shown):  # a right guess at the rest is a change (L22)
        work.trail += notes(ctx, "U", what, decision, stored.facts, ref, detail="unchanged", allowed=True)
        return Written(ref, stored.version, stored.updated, await given_back(ctx, stored), "unchanged")
    writer = replace(await who_writes(ctx, resource, method, stored), saw_all=saw_all)
    facts, security = labelled(ctx, resource, ref, writer, stored)
    facts = still_theirs(stored, await through_targets(work, resource, facts, stored))
    await fills_the_place(ctx, work.get, resource, facts, await _end_superseded(work, ref, resource, was))
    own_hand(ctx, resource, before=was)
    if ref.type == "Task" and await answered(work, stored, was, resource, put_new):
        resource = {**resource, "status": "completed"}
        raw = strict.dump(resource)
    work.ops += await claimed(work, ref, resource, stored)
    return await store(work, ref, stored.version + 1, stored.version, raw, resource, facts, security, writer, "U", what, stored, decision)


def _context(binary: dict[str, Any]) -> Any:
    return binary.get("securityContext", {}).get("reference")


async def _precondition(ctx: Context, letter: str, what: str, stored: Stored, if_match: int | None) -> None:
    ref = stored.ref
    if if_match is None:
        if ref.type not in FREE_OF_IF_MATCH:
            raise Problem("if-match-required", f'Say which version you saw: the header If-Match: W/"{stored.version}".', "If-Match")
    elif if_match != stored.version:
        await ctx.house.store.commit(*notes(ctx, letter, what, Decision(False, ""), stored.facts, ref, detail="stale"))
        raise Problem("stale", f"This was changed meanwhile: you saw version {if_match}, it is now version {stored.version}.", "If-Match", noted=True)


async def take_away(work: Work, ref: Ref, *, if_match: int | None = None) -> Written:
    """Prepare a deletion. Of its own that it may not see a partner's gateway is asked for no version, and told of none."""
    ctx = work.ctx
    stored = await work.get(ref)
    if stored is not None and await own_copy(ctx, stored):
        return await _taken_back(work, stored)
    await allow(ctx, "D", "delete", ref, stored)
    assert stored is not None
    if stored.deleted:
        return Written(ref, stored.version, stored.updated, None, "unchanged")
    await _precondition(ctx, "D", "delete", stored, if_match)
    decision = await may_correct(work, stored, None)
    if ctx.actor.drafts_only:
        await drafting.keep(work, Item(str(ref), stored.version, None, title(strict.decode(stored.body or b"{}"))), stored, decision, mark_draft)
        return drafting.told(work, ref)
    work.trail += notes(ctx, "D", "delete", decision, stored.facts, ref)
    return await away(work, stored)


async def _taken_back(work: Work, stored: Stored) -> Written:
    """A copy goes that its sender may not see (`withdrawing`); one that is gone already is answered alike."""
    ctx, work.unseen = work.ctx, True
    if stored.deleted:
        return Written(stored.ref, stored.version, ctx.at, None, "deleted", shown=False)
    decision = Decision(True, "implicit", rule="own copy")
    work.trail += notes(ctx, "D", "delete", decision, stored.facts, stored.ref, detail="their own copy, taken back unseen")
    return replace(await away(work, stored), shown=False)


async def _words_back(work: Work, stored: Stored, base: Stored) -> Written:
    """What a partner's gateway wrote goes from a record that it may not see: as it was before (`base`) it is again, with the labels of now.
    Where it is so already it is answered alike."""
    ctx, ref, number, body = work.ctx, stored.ref, stored.version, base.body or b""
    work.unseen = True
    decision, detail = Decision(True, "implicit", rule="own words"), ": their own words, taken back unseen"
    if words(stored) == words(base):
        work.trail += notes(ctx, "U", "update", decision, stored.facts, ref, detail="unchanged", allowed=True)
        return Written(ref, number, ctx.at, None, "updated", shown=False)
    resource = strict.decode(body)
    writer = replace(await who_writes(ctx, resource, "PUT", stored), saw_all=False)
    facts, security = labelled(ctx, resource, ref, writer, stored)
    back = await store(work, ref, number + 1, number, body, resource, facts, security, writer, "U", "update", stored, decision, detail)
    return replace(back, body=None, shown=False, issues=())
