"""create, update, patch, delete: find, ask, check, put; one commit holds record, audit, outgoing copies and epochs.

https://hl7.org/fhir/R4/http.html#create
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from hashlib import sha256
from typing import Any, TypeVar

import msgspec

from ..domain import bundle, compartment, entries, grants, labels, recorded, strict, summary, view
from ..domain import facts as deriving
from ..domain import search as searching
from ..domain.consenting import superseded
from ..domain.directory import DIRECTORY_TYPES, NO_PATIENT_DATA
from ..domain.problem import Issue, Problem, not_found
from ..domain.rendering import closer, put_back, rendered
from ..domain.search import Query
from ..domain.standing import CONFIRMED, STANDING_TYPES, at_risk, named_by
from ..domain.types import (
    Decision,
    Facts,
    Has,
    Keep,
    Never,
    Note,
    Op,
    Put,
    Ref,
    Remove,
    Send,
    Stored,
    Writer,
)  # fmt: skip
from ..domain.validate import check, policy
from ..domain.vocabulary import CONFIRM_MEMBERSHIP, TASK_SYSTEM
from ..store.base import Moved, Stale, Taken, Unavailable, Unsettled
from . import consenting
from .conditions import Match, matching
from .context import (
    Context,
    Written,
    ask,
    ask_stored,
    attached,
    bumps,
    directory_now,
    micros,
    need_scope,
    note,
    notes,
    rendering,
    stand,
    views_of,
    within_launch,
)  # fmt: skip
from .identifying import claimed, known_person, released
from .reading import allow, in_scope
from .telling import of_new_access

T = TypeVar("T")
Edit = Callable[[dict[str, Any]], dict[str, Any]]

# Administrative and clinical types where a lost update would harm: If-Match is required (contracts.md).
FREE_OF_IF_MATCH = frozenset({"Basic", "Binary", "Subscription"})
OWNED_BY_THE_HOUSE = frozenset({"AuditEvent"})
OUR_OWN = Decision(True, "")  # what the gateway itself adds
AUTHORS = {"author", "sender"}  # a person may not put another's name under what they write


@dataclass(frozen=True, slots=True)
class Once:
    """A write of a registered system that has one effect however often it comes: its name, and until when that holds."""

    key: str
    until: datetime

    def entry(self, at: int) -> Once:
        """The same for one entry of a batch."""
        return replace(self, key=f"{self.key} entry {at}")


class _Said(msgspec.Struct):
    """How a write with a name was answered."""

    digest: str
    type: str
    id: str
    version: int
    updated: datetime
    did: str


@dataclass
class Work:
    """One commit being prepared: operations, what they do, and what later entries of the same Bundle must see."""

    ctx: Context
    ops: list[Op] = field(default_factory=list)
    new: dict[Ref, Stored] = field(default_factory=dict)
    gone: set[Ref] = field(default_factory=set)
    trail: list[Note] = field(default_factory=list)
    numbers: set[str] = field(default_factory=set)  # NHS numbers of Patients that this commit makes

    async def get(self, ref: Ref) -> Stored | None:
        return self.new.get(ref) or await self.ctx.house.store.get(ref)

    async def commit(self, *more: Op) -> None:
        """All of it and `more`, with a notice to each person to whose record it lets somebody in."""
        await settle(self.ctx, *self.ops, *self.trail, *more, *await of_new_access(self.ctx, self.new, self.ops))


async def settle(ctx: Context, *ops: Op) -> None:
    """Commit, with the store's refusals in the caller's words."""
    try:
        await ctx.house.store.commit(*ops)
    except Stale:
        raise Problem("stale", "Somebody else changed this meanwhile. Read it again and repeat your change.") from None
    except Moved:
        raise Problem("unavailable", "What is allowed changed meanwhile. Please repeat.", headers={"Retry-After": "1"}) from None
    except Unavailable as wrong:
        raise unanswered(wrong) from None


def unanswered(wrong: Unavailable) -> Problem:
    """What the caller is told when the store cannot answer: that nothing was written, unless nobody knows."""
    told = "The store cannot answer now. Nothing was written."
    if isinstance(wrong, Unsettled):
        told = "The store did not say whether this was written. Read before you repeat it."
    return Problem("unavailable", told, headers={"Retry-After": "5"})


# -- the verbs --------------------------------------------------------------------------------------------------------


async def create(ctx: Context, type: str, raw: bytes, *, if_none_exist: str | None = None, once: Once | None = None) -> Written:
    """`raw` is the JSON text of one resource. Problem: malformed, invalid, forbidden, several-matches."""
    need_scope(ctx, "c", type)
    return await _settled(ctx, raw, once, lambda work: put_new(work, type, raw, if_none_exist=if_none_exist))


async def update(ctx: Context, ref: Ref, raw: bytes, *, if_match: int | None = None, once: Once | None = None) -> Written:
    """Replace one resource. Problem: not-found, if-match-required, stale, forbidden, invalid."""
    need_scope(ctx, "u", ref.type)
    return await _settled(ctx, raw, once, lambda work: put_over(work, ref, raw, if_match=if_match))


async def _settled(ctx: Context, raw: bytes, once: Once | None, prepare: Callable[[Work], Awaitable[Written]]) -> Written:
    """Prepare one write and commit it; with `once`, answer a repeated one as before."""

    async def attempt() -> Written:
        said = await _said_before(ctx, once, raw)
        if said is not None:
            return said
        work = Work(ctx)
        written = await prepare(work)
        if once is not None:
            said_now = _Said(digest(raw), written.ref.type, written.ref.id, written.version, written.updated, written.did)
            work.ops.append(Keep("push", once.key, msgspec.json.encode(said_now), once.until, if_absent=True))
        await work.commit()
        return written

    return await again(attempt)


async def _said_before(ctx: Context, once: Once | None, raw: bytes) -> Written | None:
    kept = await ctx.house.store.kept("push", once.key, ctx.at) if once is not None else None
    if kept is None:
        return None
    said = msgspec.json.decode(kept, type=_Said)
    if said.digest != digest(raw):
        raise Problem("name-used", "This name was used for another message in the last 7 days: give a changed message a new one.")
    ref = Ref(said.type, said.id)
    then = await ctx.house.store.version(ref, said.version)
    body = await given_back(ctx, then) if then is not None and not then.deleted else None
    return Written(ref, said.version, said.updated, body, said.did)


async def given_back(ctx: Context, stored: Stored) -> bytes | None:
    """What a writer gets back of what they wrote: nothing unless they may read it, by scope and by consent (leak list L21)."""
    may = ctx.scopes is None or (ctx.scopes.covers("r", stored.ref.type) and within_launch(ctx, "r", stored.facts))
    if not may or not in_scope(ctx, "r", stored) or not (await ask_stored(ctx, ctx.action, stored)).permit:
        return None
    return (await rendering(ctx, stored))[0]


async def again(attempt: Callable[[], Awaitable[T]]) -> T:
    """Run a write that may lose a race for a name; the loser looks again at what there is now. Problem unavailable."""
    for _ in range(5):
        try:
            return await attempt()
        except Taken:
            continue
    raise Problem("unavailable", "Others are writing the same at this moment. Nothing was written. Please repeat.", headers={"Retry-After": "1"})


def digest(raw: bytes) -> str:
    """What tells one message from another under the same name."""
    return sha256(raw).hexdigest()


async def update_where(
    ctx: Context, type: str, condition: str, raw: bytes, *, if_match: int | None = None, once: Once | None = None
) -> Written:
    """Replace the one match, or create when there is none. Problem: as update and create, several-matches."""
    need_scope(ctx, "u", type)
    return await _settled(ctx, raw, once, lambda work: put_where(work, type, condition, raw, if_match=if_match))


async def patch(ctx: Context, ref: Ref, edit: Edit, *, if_match: int | None = None, once: Once | None = None, raw: bytes = b"") -> Written:
    """`edit` is a function from the resource this reader sees to the resource they want; `raw` is what it was read from."""
    may_patch(ctx, ref.type)
    return await _settled(ctx, raw, once, lambda work: put_edited(work, ref, edit, if_match=if_match))


async def patch_where(
    ctx: Context, type: str, condition: str, edit: Edit, *, if_match: int | None = None, once: Once | None = None, raw: bytes = b""
) -> Written:
    """Patch the one match. Problem: as patch, not-found when nothing matches, several-matches."""
    may_patch(ctx, type)

    async def prepare(work: Work) -> Written:
        return await put_edited(work, await the_match(work, "U", "patch", type, condition), edit, if_match=if_match)

    return await _settled(ctx, raw, once, prepare)


def may_patch(ctx: Context, type: str) -> None:
    """A patch asks about what is there (`test`, `where(…)`), so it needs the scope to read besides that to change (leak list L22)."""
    need_scope(ctx, "u", type)
    need_scope(ctx, "r", type)


async def remove(ctx: Context, ref: Ref, *, if_match: int | None = None, once: Once | None = None) -> Written:
    """Delete. History keeps every version. Deleting what is deleted changes nothing."""
    need_scope(ctx, "d", ref.type)
    return await _settled(ctx, b"", once, lambda work: take_away(work, ref, if_match=if_match))


async def remove_where(ctx: Context, type: str, condition: str, *, if_match: int | None = None, once: Once | None = None) -> Written:
    """Delete the one match. Problem: as remove, not-found when nothing matches, several-matches."""
    need_scope(ctx, "d", type)

    async def prepare(work: Work) -> Written:
        return await take_away(work, await the_match(work, "D", "delete", type, condition), if_match=if_match)

    return await _settled(ctx, b"", once, prepare)


async def the_match(work: Work, letter: str, what: str, type: str, condition: str) -> Ref:
    """The one that matches. Problem: not-found (written down), several-matches."""
    ctx = work.ctx
    match = await matching(ctx, type, condition, gone=work.gone)
    if match is None:
        await ctx.house.store.commit(note(ctx, letter, what, None, (), allowed=False, query=f"{type}?{condition}", detail="no match"))
        raise not_found()
    return match.ref


async def accept(ctx: Context, ref: Ref, *, status: str = "accepted") -> Written:
    """Its owner accepts (or rejects) a Task: what pages call; the same as an update of `status`."""
    stored = await ctx.house.store.get(ref)
    await allow(ctx, "U", "accept", ref, stored)
    assert stored is not None and stored.body is not None

    def edit(task: dict[str, Any]) -> dict[str, Any]:
        return {**task, "status": status}

    return await patch(ctx, ref, edit, if_match=stored.version)


# -- one change, prepared ---------------------------------------------------------------------------------------------


async def put_new(
    work: Work, type: str, raw: bytes, *, id: str | None = None, if_none_exist: str | None = None, unless: str | None = None
) -> Written:
    """Prepare the creation of one resource. `unless`: a condition that had no match; of two that say so at once one goes on."""
    ctx = work.ctx
    raw, resource = received(ctx, type, raw)
    if if_none_exist is not None:
        match = await matching(ctx, type, if_none_exist, own=True)
        if match is not None:
            return await matched(work, match)
    person = await known_person(ctx, type, resource)
    if person is not None and id is not None:  # it came between: the other entries speak of another id
        raise Taken("nhs-number", str(person.ref))
    if person is not None:
        return known(work, person)
    ref = Ref(type, id or ctx.house.new_id())
    if type == "Consent":
        await _end_superseded(work, resource)
    writer = await _writer(ctx, resource, "POST", None)
    facts, security = _labelled(ctx, resource, ref, writer, None)
    facts = await _through_targets(work, resource, facts)
    decision = await _may_collect(work, resource, facts)
    _own_hand(ctx, resource)
    if (condition := if_none_exist or unless) is not None:
        key = f"{ctx.client or ctx.actor.user} {type}?{condition}"
        held = await ctx.house.store.kept("if-none-exist", key, ctx.at)  # of what is here no more, or matches no more
        work.ops.append(Keep("if-none-exist", key, str(ref).encode(), _in_a_minute(ctx), if_absent=held is None, if_value=held))
    work.ops += await claimed(work, ref, resource, None)
    return await _store(work, ref, 1, 0, raw, resource, facts, security, writer, "C", "create", None, decision)


async def _end_superseded(work: Work, resource: dict[str, Any]) -> None:
    """The consents that a new one takes the place of end with it, in the same commit, by the right of the same writer."""
    for name in superseded(resource):
        ref = Ref("Consent", name.removeprefix("Consent/"))
        stored = await work.get(ref)
        try:
            await put_edited(work, ref, lambda consent: {**consent, "status": "inactive"}, if_match=stored.version if stored else None)
        except Problem as p:
            if p.kind == "not-found":
                raise Problem("business-rule", f"`{name[:80]}` is not here, so nothing can take its place.", "Consent.extension") from None
            raise


async def matched(work: Work, match: Match) -> Written:
    """What a conditional create found, as far as this writer may have it; written down."""
    ctx, stored = work.ctx, match.stored
    assert stored is not None
    work.trail += notes(ctx, "R", "create", Decision(True, "matched"), stored.facts, match.ref, detail="if-none-exist")
    may_read = ctx.scopes is None or (ctx.scopes.covers("r", match.ref.type) and in_scope(ctx, "r", stored))
    return Written(match.ref, stored.version, stored.updated, (await rendering(ctx, stored))[0] if may_read else None, "matched")


def known(work: Work, person: Stored) -> Written:
    """Whom a new Patient turns out to be; written down."""
    work.trail += notes(work.ctx, "R", "create", Decision(True, "matched"), person.facts, person.ref, detail="known by NHS number")
    return Written(person.ref, person.version, person.updated, None, "matched")


async def put_where(work: Work, type: str, condition: str, raw: bytes, *, if_match: int | None = None) -> Written:
    """Prepare an update of the one match, or a creation. https://hl7.org/fhir/R4/http.html#cond-update"""
    ctx = work.ctx
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
    _precondition(ref, stored, if_match)
    seen = strict.read((await rendering(ctx, stored))[0])
    edited = edit(seen)
    _left_alone(ref, seen, edited)
    return await put_over(work, ref, strict.dump(edited), if_match=if_match, method="PATCH")


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
    await allow(ctx, "U", what, ref, stored)
    assert stored is not None
    if stored.deleted:
        raise not_found()
    _precondition(ref, stored, if_match)
    raw, resource = received(ctx, ref.type, raw)
    if resource.get("id") != ref.id:
        raise Problem("bad-request", f"The id in the body must be `{ref.id}`, as in the address.", f"{ref.type}.id")
    was, sent, saw_all = strict.read(stored.body or b""), resource, True
    views = await views_of(ctx, stored)
    shown = rendered(was, views)
    if views:
        edited = put_back(was, resource, views)
        if edited != resource:
            saw_all = _but_for_labels(edited) == _but_for_labels(resource)
            resource, raw = edited, strict.dump(edited)
    decision = await _may_correct(work, stored, resource)
    moved = set(compartment.patients(resource)) != set(compartment.patients(was))
    if moved or (attached(stored.facts) and _context(resource) != _context(was)):
        raise Problem("business-rule", "A resource cannot be moved to another person.", _subject_path(ref.type))
    if ref.type == "Patient":
        mine = (await stand(ctx.house, [str(ref)], None, ctx.place))[str(ref)]
        _facts_left_alone(ctx, was, resource, frozenset(k.other for k in mine.links))
    if entries.same(_content(sent), _content(shown)) and not _new_labels(sent, shown):  # a right guess at the rest is a change (L22)
        work.trail += notes(ctx, "U", what, decision, stored.facts, ref, detail="unchanged", allowed=True)
        return Written(ref, stored.version, stored.updated, await given_back(ctx, stored), "unchanged")
    writer = replace(await _writer(ctx, resource, method, stored), saw_all=saw_all)
    facts, security = _labelled(ctx, resource, ref, writer, stored)
    facts = _still_theirs(stored, await _through_targets(work, resource, facts, stored))
    _own_hand(ctx, resource, before=was)
    work.ops += await claimed(work, ref, resource, stored)
    return await _store(work, ref, stored.version + 1, stored.version, raw, resource, facts, security, writer, "U", what, stored, decision)


async def take_away(work: Work, ref: Ref, *, if_match: int | None = None) -> Written:
    """Prepare a deletion."""
    ctx = work.ctx
    stored = await work.get(ref)
    await allow(ctx, "D", "delete", ref, stored)
    assert stored is not None
    if stored.deleted:
        return Written(ref, stored.version, stored.updated, None, "unchanged")
    _precondition(ref, stored, if_match)
    decision = await _may_correct(work, stored, None)
    writer = await _writer(ctx, {}, "DELETE", stored)
    version = stored.version + 1
    work.ops += [Remove(ref, version, ctx.at, writer, stored.version), *bumps(ref.type, stored.facts)]
    work.ops += released(ref, stored)
    work.ops += await _sends(ctx, ref, version, stored.facts, "deleted")
    work.trail += notes(ctx, "D", "delete", decision, stored.facts, ref)
    work.gone.add(ref)
    return Written(ref, version, ctx.at, None, "deleted")


async def put_by_house(
    work: Work, ref: Ref, resource: dict[str, Any], before: Stored | None, what: str, detail: str, method: str = "SYSTEM"
) -> Written:
    """Prepare what the gateway itself writes when somebody with the right to asks it to: they see no more of it than before."""
    ctx, a = work.ctx, work.ctx.actor
    writer = Writer(a.user, a.organisation, ctx.client, "operator" if a.operator else a.kind, method, False, saw_all=False)
    facts, security = _labelled(ctx, resource, ref, writer, before)
    facts = deriving.in_nobodys_name(facts, before.facts if before is not None else None)
    over, letter = (before.version, "U") if before is not None else (0, "C")
    return await _store(
        work, ref, over + 1, over, strict.dump(resource), resource, facts, security, writer, letter, what, before, detail=f": {detail}"
    )  # fmt: skip


async def _store(
    work: Work, ref: Ref, version: int, over: int, raw: bytes, resource: dict[str, Any], facts: Facts,
    security: list[dict[str, Any]], writer: Writer, letter: str, what: str, before: Stored | None,
    decision: Decision = OUR_OWN, detail: str = "",
) -> Written:  # fmt: skip
    ctx = work.ctx
    body = strict.stamp(raw, id=ref.id, version=str(version), updated=_instant(ctx), security=security)
    final = strict.read(body)
    shown = view.view(final)
    seen = body if shown is final else strict.dump(shown)
    keys = searching.keys(final, ctx.house.r4, shown, closer(shown))
    work.ops += [Put(ref, version, ctx.at, body, seen, facts, keys, writer, over)]
    work.ops += bumps(ref.type, facts, before.facts if before else None)
    work.ops += await _sends(ctx, ref, version, facts, "changed", before.facts if before else None)
    if ref.type == "Patient" and before is not None and at_risk(facts) != at_risk(before.facts):
        work.ops += await _sent_again(ctx, ref)
    work.ops += await _acceptance(work, ref, final, facts, before)
    work.trail += notes(ctx, letter, what, decision, facts, ref, allowed=True, detail=f"version {version}{detail}")
    stored = Stored(ref, version, ctx.at, body, seen, facts, writer, created_by=before.created_by if before else writer.user)
    work.new[ref] = stored
    return Written(ref, version, ctx.at, await given_back(ctx, stored), "created" if not over else "updated")


async def put_version(work: Work, stored: Stored, resource: dict[str, Any], found: labels.Labels, *, saw_all: bool) -> Written:
    """Prepare the same content under other labels: `found` is all of them."""
    ctx = work.ctx
    writer = replace(await _writer(ctx, resource, "PUT", stored), saw_all=saw_all)
    derived = deriving.derive(
        resource, stored.ref, ctx.at, writer, found, stored.created_by, called=ctx.actor.ids, before=stored.facts
    )
    facts = replace(derived, patients=stored.facts.patients)
    raw = strict.dump(resource)
    return await _store(work, stored.ref, stored.version + 1, stored.version, raw, resource, facts, found.security, writer, "U", "update", stored)


# -- what comes in ----------------------------------------------------------------------------------------------------


def without_our_address(ctx: Context, raw: bytes) -> bytes:
    """References that spell out this server's own address become relative: whose record it is must not depend on spelling."""
    base = re.escape(ctx.house.base_url.encode())
    return re.sub(rb'("reference"\s*:\s*")' + base + rb"/", rb"\1", raw)


def received(ctx: Context, type: str, raw: bytes) -> tuple[bytes, dict[str, Any]]:
    """The strict reader, the official rules and our write policy; every problem at once. Problem: malformed, invalid.

    It is judged as it was sent; what is kept has no address of this server in its references.
    """
    resource = strict.read(raw)
    if resource.get("resourceType") != type:
        raise Problem("bad-request", f"This address takes {type}, the body says `{resource.get('resourceType')}`.", "resourceType")
    if type in OWNED_BY_THE_HOUSE:
        raise Problem("not-offered", f"{type} is written by the gateway itself.")
    issues = [i for i in judged(ctx, resource) if i.severity in ("error", "fatal")]
    if issues:
        raise Problem("invalid", f"{len(issues)} thing(s) in this {type} must be put right.", issues=issues)
    bare = without_our_address(ctx, raw)
    if bare != raw:
        raw, resource = bare, strict.read(bare)
    taken(ctx, type, resource)
    return raw, resource


def taken(ctx: Context, type: str, resource: dict[str, Any]) -> None:
    """What is valid and yet not taken here. Problem business-rule."""
    if summary.is_subset(resource):
        raise Problem("business-rule", "This is a part of a resource (SUBSETTED): written back it would delete the rest.", f"{type}.meta.tag")
    if "implicitRules" in resource:
        raise Problem("business-rule", "Rules that change what a resource means are not known here.", f"{type}.implicitRules")
    ours = ctx.house.base_url + "/"
    if any(r.startswith(ours) for r in bundle.references(resource)):
        raise Problem("business-rule", "Refer to what is here by Type/id, without this server's address.", f"{type}.reference")
    if type == "Consent":
        _computable(resource)


def judged(ctx: Context, resource: dict[str, Any], profiles: Sequence[str] = ()) -> list[Issue]:
    """R4, the profiles and Questionnaires of this deployment where the resource names them (or `profiles` do), our own policy."""
    r4, known = ctx.house.r4, ctx.house.definitions
    asked = known.questionnaire(str(resource.get("questionnaire"))) if known is not None and "questionnaire" in resource else None
    return [*check(resource, r4, questionnaire=asked, definitions=known, profiles=profiles), *policy(resource, r4)]


def _computable(resource: dict[str, Any]) -> None:
    try:
        grants.parse(resource, id=resource.get("id", "new"), version=0)
    except grants.Uncomputable as u:
        raise Problem("business-rule", f"This consent cannot be computed, so it cannot be kept: {u}", u.where) from None


async def _through_targets(work: Work, resource: dict[str, Any], facts: Facts, before: Stored | None = None) -> Facts:
    """A Provenance belongs to the people whose resources it is about, as far as its writers see them: whoever edits it and sees
    fewer of them takes it from nobody."""
    if facts.type != "Provenance":
        return facts
    people = dict.fromkeys((*facts.patients, *(before.facts.patients if before is not None else ())))
    for target in resource.get("target", []):
        type, _, id = str(target.get("reference", "")).split("/_history/")[0].partition("/")
        stored = await work.get(Ref(type, id)) if id else None
        if stored is not None and not stored.deleted and (await ask_stored(work.ctx, "access", stored)).permit:
            people.update(dict.fromkeys(stored.facts.patients))
    return replace(facts, patients=tuple(people))


def _context(binary: dict[str, Any]) -> Any:
    return binary.get("securityContext", {}).get("reference")


def _still_theirs(before: Stored, facts: Facts) -> Facts:
    """A Provenance stays with the people it was about: neither a new target moves it, nor one that its writer sees no more."""
    if facts.type != "Provenance":
        return facts
    if not set(facts.patients) <= set(before.facts.patients):
        raise Problem("business-rule", "A resource cannot be moved to another person.", _subject_path(facts.type))
    return replace(facts, patients=before.facts.patients)


async def _may_collect(work: Work, resource: dict[str, Any], facts: Facts) -> Decision:
    """May this writer contribute this, about these people: the decision that lets them, or a Problem."""
    ctx = work.ctx
    if facts.type in NO_PATIENT_DATA:
        await _may_keep_directory(ctx, facts.type)
        return Decision(True, "no-patient-data")
    if facts.type == "Binary" and not facts.patients and facts.refs:
        return await _may_attach(work, facts)
    if not facts.patients:
        raise Problem("business-rule", "This must say whose record it belongs to, by a reference to a Patient here.", _subject_path(facts.type))
    lawful = await _may_consent(work, Ref(facts.type, facts.id), resource, facts, None)
    if facts.type == "Patient":
        _facts_left_alone(ctx, {}, resource)
    else:
        await _people_are_here(work, facts)
    if not within_launch(ctx, "c", facts):
        raise _not_for(facts.type)
    decision = lawful or await ask(ctx, "collect", facts)
    if not decision.permit:
        await ctx.house.store.commit(*notes(ctx, "C", "create", decision, facts, Ref(facts.type, "")))
        raise _not_for(facts.type)
    return decision


async def _may_attach(work: Work, facts: Facts) -> Decision:
    """An attachment goes by what its securityContext names: whoever may add to that, and sees it, may attach to it."""
    ctx, decision = work.ctx, Decision(False, "implicit")
    for name in sorted(facts.refs):
        type, _, id = name.partition("/")
        to = await work.get(Ref(type, id)) if id and "/" not in id else None
        seen = to is not None and not to.deleted and bool(to.facts.patients) and within_launch(ctx, "c", to.facts)
        seen = seen and to is not None and (to.ref in work.new or (await ask_stored(ctx, "access", to)).permit)
        if to is None or not seen or not (decision := await ask(ctx, "collect", replace(facts, patients=to.facts.patients))).permit:
            await ctx.house.store.commit(note(ctx, "C", "create", None, (facts.type,), allowed=False, detail="nothing to attach it to"))
            raise _not_for(facts.type)
    return decision


async def _people_are_here(work: Work, facts: Facts) -> None:
    subject = facts.patients[0]
    found = await work.get(Ref("Patient", subject.removeprefix("Patient/")))
    if found is None or found.deleted:
        await work.ctx.house.store.commit(note(work.ctx, "C", "create", None, (facts.type,), allowed=False, detail="no such person"))
        raise _not_for(facts.type)


def _not_for(type: str) -> Problem:
    """Hidden person, absent person: one answer."""
    return Problem("business-rule", "This must be about a person whom you may write for.", _subject_path(type))


def _subject_path(type: str) -> str:
    return f"{type}.{compartment.SUBJECT.get(type, 'subject')}"


async def _may_keep_directory(ctx: Context, type: str) -> None:
    """Organizations, practitioners and roles are an operator's; imports may add some, which nobody believes until confirmed."""
    if ctx.actor.operator or (type in DIRECTORY_TYPES and ctx.actor.contributor):
        return
    if type not in DIRECTORY_TYPES and ctx.actor.contributor:
        return
    await ctx.house.store.commit(note(ctx, "C", "create", None, (type,), allowed=False))
    raise Problem("forbidden", f"Only an operator of this gateway writes {type}.")


async def _may_consent(work: Work, ref: Ref, resource: dict[str, Any], facts: Facts, before: Stored | None) -> Decision | None:
    """Of a Consent: may this writer write it at all; the decision that lets them, where it is not the person's own answer."""
    if ref.type != "Consent":
        return None
    found = await consenting.lawful(work.ctx, work.get, ref, resource, facts, before)
    work.ops += found.ops
    return found.decision


def _facts_left_alone(ctx: Context, before: dict[str, Any], after: dict[str, Any], linked: frozenset[str] = frozenset()) -> None:
    """What is recorded about a person, and which records are theirs, changes by `recording`. Problem business-rule."""
    a = ctx.actor
    if a.operator:
        return
    suspends = f"+{recorded.SAFEGUARDING}"  # closes at once, whoever sees the danger
    may = {suspends, "link", f"+{recorded.OPT_OUT}"} if a.contributor else {suspends}
    if a.kind in ("patient", "proxy"):
        may = {recorded.OPT_OUT} if a.kind == "patient" else set()
    wrong = recorded.not_theirs(before, after, may=frozenset(may), held=linked)
    if wrong is not None:
        raise Problem("business-rule", wrong[1], wrong[0])


async def _may_correct(work: Work, stored: Stored, resource: dict[str, Any] | None) -> Decision:
    """See it, and be allowed to change it: the decision that lets them. Problem forbidden for what this writer may only see."""
    ctx = work.ctx
    if stored.ref.type in NO_PATIENT_DATA:
        if ctx.actor.operator:
            return Decision(True, "no-patient-data")
        await ctx.house.store.commit(note(ctx, "U", "update", None, (str(stored.ref),), allowed=False))
        raise Problem("forbidden", f"Only an operator of this gateway changes {stored.ref.type}.")
    if stored.ref.type == "Consent" and resource is None:
        raise Problem("not-offered", "A consent is ended, never deleted: set its `status` to `inactive`.", headers={"Allow": "GET, HEAD, PUT, PATCH"})
    lawful = await _may_consent(work, stored.ref, resource or {}, stored.facts, stored)
    decision = lawful or await ask(ctx, "correct", stored.facts)
    if not decision.permit and resource is not None and await _answers_own_task(ctx, stored, resource):
        return Decision(True, "implicit", rule="invited")
    if not decision.permit or not in_scope(ctx, "u" if resource else "d", stored):
        await ctx.house.store.commit(*notes(ctx, "U", "update", decision, stored.facts, stored.ref, allowed=False))
        raise Problem("forbidden", "You may see this but not change it.")
    return decision


async def _answers_own_task(ctx: Context, stored: Stored, resource: dict[str, Any]) -> bool:
    """A Task's named owner may move its status and add notes, whatever else they may do."""
    if stored.ref.type != "Task" or stored.body is None:
        return False
    before = strict.read((await rendering(ctx, stored))[0])
    if not named_by(before.get("owner")) & ctx.actor.ids:
        return False
    own = {"status", "statusReason", "businessStatus", "note", "lastModified", "meta", "output", "executionPeriod", "text"}
    return all(before.get(k) == resource.get(k) for k in before.keys() | resource.keys() if k not in own)


def _own_hand(ctx: Context, resource: dict[str, Any], before: dict[str, Any] | None = None) -> None:
    """A person writes in their own name. Registered systems write for others and say so in Provenance."""
    if ctx.actor.kind == "system" or ctx.scopes is None:
        return
    for element in AUTHORS & resource.keys():
        if before is not None and before.get(element) == resource[element]:
            continue
        values = resource[element] if isinstance(resource[element], list) else [resource[element]]
        for value in values:
            target = value.get("reference", "") if isinstance(value, dict) else ""
            if target.split("/")[0] in ("Practitioner", "PractitionerRole", "Patient", "RelatedPerson", "Organization") and (
                target not in ctx.actor.ids and target != ctx.actor.user and target != ctx.actor.patient
            ):
                raise Problem("business-rule", "You can only write in your own name.", f"{resource['resourceType']}.{element}")


def _precondition(ref: Ref, stored: Stored, if_match: int | None) -> None:
    if if_match is None:
        if ref.type not in FREE_OF_IF_MATCH:
            raise Problem("if-match-required", f'Say which version you saw: the header If-Match: W/"{stored.version}".', "If-Match")
    elif if_match != stored.version:
        raise Problem("stale", f"This was changed meanwhile: you saw version {if_match}, it is now version {stored.version}.", "If-Match")


# -- what is written with it ------------------------------------------------------------------------------------------


async def _writer(ctx: Context, resource: dict[str, Any], method: str, before: Stored | None) -> Writer:
    """Who writes, and whether a referral in it would count: the person, a registered hospital, or a colleague with a relationship."""
    a = ctx.actor
    may_refer = ctx.may_refer
    people = compartment.patients(resource) if resource else ()
    if not may_refer and a.kind == "professional" and resource.get("resourceType") in STANDING_TYPES and people:
        from ..domain import standing

        stands = await stand(ctx.house, people, None, ctx.place)
        related = [standing.relationship(s, a, ctx.at) for s in stands.values()]
        may_refer = all(r is not None and r.origin != "claim" for r in related)  # one's own word brings in nobody else
    kind = "operator" if a.operator else a.kind
    return Writer(a.user, a.organisation, ctx.client, kind, method, may_refer, a.contributor)


def _content(resource: dict[str, Any]) -> dict[str, Any]:
    """What a writer wrote: without what the server sets itself."""
    meta = {k: v for k, v in resource.get("meta", {}).items() if k not in ("versionId", "lastUpdated", "security")}
    return {**{k: v for k, v in resource.items() if k != "id"}, "meta": meta}


def _but_for_labels(resource: dict[str, Any]) -> tuple[dict[str, Any], set[tuple[Any, Any]]]:
    """A resource with the names of its labels: whoever asked for a label that was there already has seen all of it."""
    meta = resource.get("meta", {})
    rest = {**resource, "meta": {k: v for k, v in meta.items() if k != "security"}}
    return rest, {(c.get("system"), c.get("code")) for c in meta.get("security", [])}


def _new_labels(resource: dict[str, Any], before: dict[str, Any]) -> bool:
    """Does this writer ask for a label that they are not shown: a change, whether it is there already or not (a label that is
    hidden from them must not show by what becomes of the version)."""

    def carried(r: dict[str, Any]) -> set[tuple[Any, Any]]:
        return {(c.get("system"), c.get("code")) for c in r.get("meta", {}).get("security", [])}

    return not carried(resource) <= carried(before)


def _labelled(
    ctx: Context, resource: dict[str, Any], ref: Ref, writer: Writer, before: Stored | None
) -> tuple[Facts, list[dict[str, Any]]]:
    """Labels are set on write and only ever rise here: lowering is an act of its own (`labelling.take_off`, leak list L52)."""
    earlier: list[dict[str, Any]] = []
    off: frozenset[str] = frozenset()
    if before is not None and before.body is not None:
        earlier, off = strict.read(before.body).get("meta", {}).get("security") or [], before.facts.declassified
    found = labels.label(resource, ctx.house.label_sets, earlier=earlier, declassified=off)
    if labels.lowered(labels.read(earlier), found):
        ctx.house.alarm(f"a write would have lowered the labels of {ref}")
        raise Problem("unavailable", "The privacy labels of this could not be kept. Nothing was written; please tell the operator.")
    created_by = before.created_by if before else writer.user
    known = before.facts if before else None
    return deriving.derive(resource, ref, ctx.at, writer, found, created_by, called=ctx.actor.ids, before=known), found.security


async def _sends(ctx: Context, ref: Ref, version: int, facts: Facts, why: str, before: Facts | None = None) -> list[Op]:
    """The outgoing copy, and, when what decides has changed, a review of what these people's partners hold."""
    if not ctx.house.remotes:
        return []
    first = facts.patients[0] if facts.patients else None
    out: list[Op] = [Send(r.name, ref, version, first, why) for r in ctx.house.remotes if first is not None and r.takes(ref.type)]
    people = await _decided_by(ctx, ref, facts, before)
    return out + [Send(r.name, Ref("Patient", p.removeprefix("Patient/")), 0, p, "review") for r in ctx.house.remotes for p in people]


async def _decided_by(ctx: Context, ref: Ref, facts: Facts, before: Facts | None) -> list[str]:
    """Whose answers this change may turn: those it is about and those with a linked record, where it is a consent or its like; and
    where a consent speaks of what is one hop away, those in whose record it refers to something else now."""
    if ref.type not in STANDING_TYPES:
        if facts.refs == (before.refs if before else frozenset()):
            return []
        known = await stand(ctx.house, facts.patients)
        return [p for p in facts.patients if known[p].asks_referrers]
    people = set(await stand(ctx.house, facts.patients, None, ctx.place))
    for person in facts.patients:
        linked = await ctx.house.store.referrers(Ref("Patient", person.removeprefix("Patient/")))
        people |= {str(r) for r in linked if r.type == "Patient"}
    return sorted(people)


async def _sent_again(ctx: Context, person: Ref) -> list[Op]:
    """Where somebody is may be shown no more, or again: everything of theirs goes out as it is to be seen now."""
    out: list[Op] = []
    after: tuple[Any, ...] | None = None
    while ctx.house.remotes:
        found = await ctx.house.store.search(Query(()), Has("patient", frozenset({str(person)})), filtered=Never(), count=200, after=after)
        for s in found.hits:
            if s.ref != person:
                out += [Send(r.name, s.ref, s.version, str(person), "changed") for r in ctx.house.remotes if r.takes(s.ref.type)]
        after = found.after
        if after is None:
            break
    return out


async def _acceptance(
    work: Work, ref: Ref, resource: dict[str, Any], facts: Facts, before: Stored | None
) -> list[Op]:
    """Remember who accepted, and ask new members of a team whether they are: nobody becomes a member by being named."""
    ctx = work.ctx
    out: list[Op] = []
    if ref.type == "Task" and resource.get("status") in CONFIRMED and named_by(resource.get("owner")) & ctx.actor.ids:
        out += [Keep("accepted", f"{p} {ref}", ctx.actor.user.encode()) for p in facts.patients]
    earlier = strict.read(before.body) if before is not None and before.body is not None else {}
    asked = [named_by(m) for m in _members(earlier)]
    for member in _members(resource):
        if named_by(member) not in asked:
            asked.append(named_by(member))
            if await _may_look_after(ctx, named_by(member)):
                out += await _ask_membership(work, ref, member, facts)
    return out


def _members(resource: dict[str, Any]) -> list[dict[str, Any]]:
    """Who this CareTeam or Patient names as looking after the person: references that a Task can ask."""
    if resource.get("resourceType") == "CareTeam":
        named = [p.get("member", {}) for p in resource.get("participant", [])]
    elif resource.get("resourceType") == "Patient":
        named = resource.get("generalPractitioner", [])
    else:
        return []
    outside = ("Patient", "RelatedPerson", "CareTeam", "Group")
    return [m for m in named if named_by(m) and str(m.get("reference") or m.get("type") or "").split("/")[0] not in outside]


async def _may_look_after(ctx: Context, names: frozenset[str]) -> bool:
    """Only health and social care are asked: anyone else needs the person's own consent, and learns nothing before it."""
    directory, _ = ctx.place or await directory_now(ctx.house)
    at = micros(ctx.at)
    places = {o for n in names for o in directory.organisations_of(n, at)}
    return any(directory.sector(o) in ("health", "social-care") for o in places)


async def _ask_membership(work: Work, ref: Ref, member: dict[str, Any], facts: Facts) -> list[Op]:
    """A Task to the named member: are you in this team? Until they accept, they may read that Task and nothing else."""
    ctx = work.ctx
    task = {
        "resourceType": "Task",
        "status": "requested",
        "intent": "order",
        "code": {"coding": [{"system": TASK_SYSTEM, "code": CONFIRM_MEMBERSHIP}]},
        "description": "You were named in this person's care team. Accept if that is right.",
        "focus": {"reference": str(ref)},
        "for": {"reference": facts.patients[0]},
        "authoredOn": _instant(ctx),
        "owner": {k: v for k, v in member.items() if k in ("reference", "identifier", "type", "display")},
    }
    own = Ref("Task", ctx.house.new_id())
    writer = Writer(ctx.actor.user, ctx.actor.organisation, ctx.client, ctx.actor.kind, "SYSTEM", False)
    task_facts, security = _labelled(ctx, task, own, writer, None)
    await _store(work, own, 1, 0, strict.dump(task), task, task_facts, security, writer, "C", "create", None)
    return []


def _in_a_minute(ctx: Context) -> Any:
    from datetime import timedelta

    return ctx.at + timedelta(minutes=1)


def _instant(ctx: Context) -> str:
    return ctx.at.strftime("%Y-%m-%dT%H:%M:%S.") + f"{ctx.at.microsecond // 1000:03d}Z"




__all__: Sequence[str] = [
    "Edit", "Once", "Work", "accept", "again", "create", "digest", "patch", "patch_where", "remove", "remove_where", "settle", "update",
    "update_where",
]  # fmt: skip
