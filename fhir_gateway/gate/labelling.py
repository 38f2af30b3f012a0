"""Labels by themselves: shown, put on, taken off by who may, and made again when the value sets have changed.

`$meta`, `$meta-add`, `$meta-delete`: https://hl7.org/fhir/R4/resource-operations.html. A label put on or taken off is a new
version; labels made again are not, so that nobody learns of it from a version or a date (leak list L45).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

from ..domain import facts as deriving
from ..domain import labels, strict
from ..domain import search as searching
from ..domain.audit import ITSELF
from ..domain.authors import authorship
from ..domain.compartment import patients
from ..domain.facts import MADE
from ..domain.periods import micros
from ..domain.predicate import values_of
from ..domain.problem import Problem, not_found
from ..domain.relationships import names_of
from ..domain.rendering import closer, rendered
from ..domain.search import Query
from ..domain.standing import STANDING_TYPES
from ..domain.types import VIEW, Actor, Always, Bump, Decision, Facts, Keep, Never, Op, Ref, Relabel, Send, Stored
from ..domain.vocabulary import LEGAL_SUFFIX
from ..store.base import Stale
from .addressed import addressed
from .committing import Work, settle
from .context import Context, House, Written, directory_now, leaving, need_scope, note, notes, reads_bytes, stand
from .entering import house_context
from .permitting import may_touch, may_write_here
from .reading import allow, read
from .storing import put_version
from .writing import patch

PAGE = 200
HOUSE = Actor("system", frozenset({ITSELF}), ITSELF, "This service", operator=True)
META = ("profile", "tag", "security")
JUDGED_SINCE = 3  # since when the stamp of who may refer says by which rule
WITH_SOURCES = 1  # since when facts say which source was vouched for
Json = dict[str, Any]


async def meta_of(ctx: Context, ref: Ref) -> Json:
    """Profiles, tags and labels of this resource, as this reader may know them. Problem not-found, gone."""
    answer = await read(ctx, ref)
    meta = strict.decode(answer.body).get("meta", {})
    return {k: v for k, v in meta.items() if k in META}


async def put_on(ctx: Context, ref: Ref, meta: Json) -> Written:
    """Profiles, tags and labels joined to those it has; nothing happens for what it has already. Problem as for a patch."""
    _checked(meta)
    stored = await ctx.house.store.get(ref)
    await allow(ctx, "U", "patch", ref, stored)
    assert stored is not None

    def edit(resource: Json) -> Json:
        have = resource.get("meta", {})
        more = {k: _union(have.get(k, ()), meta[k]) for k in META if meta.get(k)}
        return {**resource, "meta": {**have, **more}}

    return await patch(ctx, ref, edit, if_match=stored.version)


async def take_off(ctx: Context, ref: Ref, meta: Json, reason: str = "") -> Written:
    """Take these profiles, tags and labels off. Labels: the person what they put on themselves, and whoever has the role
    `declassifier`, with a reason; written down as `declassify` and shown to the person.

    Legal restrictions come off only by who put them on. Problem: not-found, forbidden (of what they only read here, too), business-rule (no reason), stale.
    """
    _checked(meta)
    need_scope(ctx, "u", ref.type)
    stored = await ctx.house.store.get(ref)
    seen = await allow(ctx, "U", "declassify", ref, stored)
    assert stored is not None
    if stored.deleted or stored.body is None:
        raise not_found()
    await may_touch(ctx, "u", stored)
    await may_write_here(ctx, stored.facts, stored.ref)
    asked = {_name(c) for c in meta.get("security", ())}
    if not asked:
        return await _plainly(ctx, ref, stored, meta)
    theirs = await _put_on_by_me(ctx, stored) if ctx.actor.kind == "patient" else frozenset()
    if not asked <= theirs and not (ctx.may_declassify and not any(system.endswith(LEGAL_SUFFIX) for system, _ in asked)):
        await settle(ctx, *notes(ctx, "U", "declassify", Decision(False, "rbac", rule="declassifier"), stored.facts, ref))
        raise Problem("forbidden", "A privacy label is taken off by the person who put it on, or by somebody whose role it is. You can put labels on.", "meta.security")
    if not asked <= theirs and not reason.strip():
        raise Problem("business-rule", "Say why this label is taken off: the person can read it.", "reason")
    decision = seen if asked <= theirs else replace(seen, rule="declassifier")
    return await _lowered(ctx, stored, asked, theirs, meta, decision, reason.strip() or "their own label")


async def _lowered(
    ctx: Context, stored: Stored, asked: set[tuple[str, str]], theirs: frozenset[tuple[str, str]], meta: Json,
    decision: Decision, reason: str,
) -> Written:  # fmt: skip
    resource = strict.decode(stored.body or b"")
    have = resource.get("meta", {})
    kept = {**have, "security": [c for c in have.get("security", ()) if _name(c) not in asked]}
    for name in ("profile", "tag"):
        gone = [_name(c) for c in meta.get(name, ())]
        kept[name] = [c for c in have.get(name, ()) if _name(c) not in gone]
    resource = {**resource, "meta": {k: v for k, v in kept.items() if v or k not in META}}
    off = stored.facts.declassified | {"|".join(label) for label in asked - theirs}
    found = labels.label(resource, ctx.house.label_sets, declassified=off)
    if {_name(c) for c in found.security} == {_name(c) for c in have.get("security", ())} and resource == strict.decode(stored.body or b""):
        return Written(stored.ref, stored.version, stored.updated, (await leaving(ctx, stored))[0], "unchanged")
    work = Work(ctx)
    written = await put_version(work, stored, resource, found, saw_all=reads_bytes(ctx, stored))
    told = ", ".join(sorted(code for _, code in asked))
    work.trail += notes(ctx, "U", "declassify", decision, stored.facts, stored.ref, detail=f"{told}: {reason}")
    work.ops += moved(stored.facts)
    await work.commit()
    return written


async def _plainly(ctx: Context, ref: Ref, stored: Stored, meta: Json) -> Written:
    def edit(resource: Json) -> Json:
        have = resource.get("meta", {})
        left = {k: [c for c in have.get(k, ()) if _name(c) not in [_name(m) for m in meta.get(k, ())]] for k in ("profile", "tag") if k in have}
        return {**resource, "meta": {k: v for k, v in {**have, **left}.items() if v != []}}

    return await patch(ctx, ref, edit, if_match=stored.version)


async def own_labels(ctx: Context, ref: Ref) -> frozenset[tuple[str, str]]:
    """Which of its labels the person put on themselves, as (system, code): those they may take off. Problem not-found."""
    stored = await ctx.house.store.get(ref)
    await allow(ctx, "R", "read", ref, stored)
    assert stored is not None
    return await _put_on_by_me(ctx, stored) if ctx.actor.kind == "patient" else frozenset()


async def _put_on_by_me(ctx: Context, stored: Stored) -> frozenset[tuple[str, str]]:
    """The labels that came with a version of this writer's and that the version before did not have."""
    mine: set[tuple[str, str]] = set()
    before: set[tuple[str, str]] = set()
    for number in range(1, stored.version + 1):
        version = await ctx.house.store.version(stored.ref, number)
        if version is None or version.body is None:
            continue
        now = {_name(c) for c in strict.decode(version.body).get("meta", {}).get("security", ())}
        by_me = version.writer.kind == "patient" and version.writer.user == ctx.actor.user
        mine = (mine & now) | (now - before if by_me else set())
        before = now
    return frozenset(mine)


def moved(facts: Facts) -> list[Op]:
    """Whoever holds an answer or a place in a list about these people looks again."""
    return [Bump(p) for p in facts.patients]


def _checked(meta: Json) -> None:
    if not isinstance(meta, dict) or not any(meta.get(k) for k in META):
        raise Problem("bad-request", "Send a Meta with the profiles, tags or labels that this is about.", "meta")
    for name in META:
        given = meta.get(name, [])
        whole = isinstance(given, list) and all(
            isinstance(c, str) if name == "profile" else isinstance(c, dict) and isinstance(c.get("code"), str) for c in given
        )
        if not whole:
            raise Problem("bad-request", f"`meta.{name}` is not as R4 has it.", f"meta.{name}")


def _name(label: Any) -> tuple[str, str]:
    return ("", label) if isinstance(label, str) else (str(label.get("system", "")), str(label.get("code", "")))


def _union(have: Iterable[Any], more: Iterable[Any]) -> list[Any]:
    return list({_name(c): c for c in (*more, *have)}.values())


# -- made again -------------------------------------------------------------------------------------------------------


async def relabel(house: House, step: Callable[[], None] = lambda: None) -> tuple[int, int]:
    """Label whatever was labelled by other value sets, or not at all; say anew whose everything is that was kept before authorship
    was told apart, and whom else it tells of; make facts, views and search keys anew that an earlier release made: (looked at, other
    labels than before).

    Labels only rise, but for what counted as restricted because labelling had not run. Each resource is one commit, and says how it was
    made: after a kill what is done is not done again. Problem not-offered without value sets.
    """
    digest = house.label_sets.digest
    if not house.label_sets.ready:
        raise Problem("not-offered", "The value sets for labels cannot be read: nothing was labelled, and what is new counts as restricted.")
    seen = changed = 0
    after: tuple[Any, ...] | None = None
    while True:
        found = await house.store.search(Query(()), Always(), filtered=Never(), count=PAGE, after=after)
        for stored in found.hits:
            if stored.facts.labelled != digest or stored.facts.origin is None or stored.facts.made != MADE or _also_of(stored):
                changed += await _again(house, stored)
            seen += 1
            step()
        after = found.after
        if after is None:
            break
    await house.store.commit(Keep("labelled", "digest", _mark(house)))
    return seen, changed


async def labelled_by_these(house: House) -> bool:
    """Has everything been labelled by the value sets of today, and does it say whose it is."""
    return await house.store.kept("labelled", "digest", house.clock()) == _mark(house)


def _mark(house: House) -> bytes:
    """Changes with whatever the facts of what is kept must be derived anew for."""
    return f"{house.label_sets.digest} whose told-of {MADE}".encode()


def _also_of(stored: Stored) -> tuple[str, ...]:
    """People whom this tells of and whose it was not yet. A Provenance is theirs as far as its writer saw them, which is kept."""
    if not stored.facts.patients or stored.ref.type == "Provenance":
        return ()
    return tuple(p for p in patients(strict.decode(stored.body or b"")) if p not in stored.facts.patients)


async def _again(house: House, stored: Stored) -> bool:
    resource = strict.decode(stored.body or b"")
    meta = resource.get("meta", {})
    found = labels.label(resource, house.label_sets, declassified=stored.facts.declassified)
    known = stored.facts
    if known.origin is None:
        known = await _whose(house, stored)
    elif known.made < WITH_SOURCES and (known.source is not None or stored.version > 1):
        told = await _whose(house, stored)
        known = replace(known, custodians=told.custodians, sources=told.sources, sourced=told.sourced)
    facts = _derived(stored, resource, known, found)
    also = _also_of(stored)
    facts = replace(facts, patients=(*facts.patients, *also))
    raw = stored.body or b""
    body = strict.stamp(raw, id=stored.ref.id, version=meta["versionId"], updated=meta["lastUpdated"], security=found.security)
    final = strict.decode(body)
    shown = rendered(final, VIEW)
    seen = body if shown is final else strict.dump(shown)
    known_here = await stand(house, facts.patients)
    hidden = frozenset[str]().union(*(known_here[p].practice for p in facts.patients))
    keys = searching.keys(final, house.r4, shown, closer(shown, hidden))
    ops: list[Op] = [Relabel(stored.ref, stored.version, stored.updated, body, seen, facts, keys, stored.writer)]
    other = _differs(stored.facts, facts)
    if other or also or _counted_otherwise(stored) or _decides(facts) != _decides(stored.facts) or seen != (stored.view or raw):
        ops += moved(facts)
        first = next(iter(facts.patients), None)
        ops += [Send(r.name, stored.ref, stored.version, first) for r in await addressed(house, house.clock()) if first is not None and r.takes(stored.ref.type)]
    if other:
        ctx = house_context(house, HOUSE, purpose="HOPERAT")
        ops += [note(ctx, "U", "relabel", None, (str(stored.ref),), patient=p, allowed=True) for p in facts.patients]
    try:
        await house.store.commit(*ops)
    except Stale:  # somebody has just written it, and so labelled it
        return False
    return other


def _counted_otherwise(stored: Stored) -> bool:
    """May it have brought somebody in by the rule of an earlier release (`referring.counts`): whoever holds an answer looks again."""
    return stored.facts.made < JUDGED_SINCE and stored.ref.type in STANDING_TYPES


def _decides(facts: Facts) -> Facts:
    """The facts but for how they were made: what an answer can turn by."""
    custodians, sources = (frozenset(values_of(facts, field)) for field in ("custodian", "source"))
    return replace(facts, labelled="", made=0, custodians=custodians, sources=sources)


def _derived(stored: Stored, resource: Json, known: Facts, found: labels.Labels) -> Facts:
    """All that the resource says of itself, as it is derived today. Whose it is, and whom it tells of, rests on its writers: that stays."""
    fresh = deriving.derive(resource, stored.ref, stored.updated, stored.writer, found, stored.created_by)
    return replace(
        fresh, patients=known.patients, authors=known.authors, origin=known.origin, makers=known.makers, keeper=known.keeper,
        custodians=known.custodians, sources=known.sources, sourced=known.sourced,
    )  # fmt: skip


async def _whose(house: House, stored: Stored) -> Facts:
    """The same facts with whose it is, from all its versions and who wrote them."""
    directory, _ = await directory_now(house)
    unknown = replace(stored.facts, authors=frozenset(), origin=frozenset({stored.created_by or ""} - {""}), makers=frozenset(), keeper=None, sourced=None)
    facts: Facts | None = None
    for number in range(1, stored.version + 1):
        version = await house.store.version(stored.ref, number)
        if version is None or version.body is None:
            facts = facts or unknown
            continue
        w = version.writer
        was = replace(w, contributor=w.contributor or (w.kind == "system" and w.may_refer))
        called = names_of(w.user, w.organisation, directory, micros(version.updated))
        made = deriving.owned(stored.facts, authorship(strict.decode(version.body), was, called=called, before=facts))
        facts = made if w.user in version.facts.authors else deriving.in_nobodys_name(made, facts)
    return facts or unknown


def _differs(a: Facts, b: Facts) -> bool:
    names = ("confidentiality", "sensitivity", "legal", "other_labels")
    return any(getattr(a, n) != getattr(b, n) for n in names)

