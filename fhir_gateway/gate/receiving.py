"""What comes in: the strict reader, the official rules, our own policy; every problem at once."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from ..domain import bundle, copies, entries, provisions, said_again, slips, strict, summary
from ..domain.mapping.names import own_identifier, system
from ..domain.masked import unmasked
from ..domain.own_profiles import held_to
from ..domain.problem import Issue, Problem
from ..domain.referrals import MOST_MONEY, not_money
from ..domain.rendering import put_back
from ..domain.types import Cut
from ..domain.validate import check, policy
from .context import WRITTEN_BY_US, Context

MOST_RULES = 500  # of a Consent: each question about the person reads them all
RESERVED = "urn:fhir-gateway:"  # tags and labels that only the gateway itself may put on


def received(ctx: Context, type: str, raw: bytes, was: Mapping[str, Any] | None = None) -> tuple[bytes, dict[str, Any]]:
    """The strict reader, the official rules and our write policy; every problem at once. `was`: what it replaces. Problem: malformed, invalid.

    It is judged as it was sent; what is kept has no address of this server in its references.
    """
    raw, resource = _not_ours(*_of_type(type, raw))
    _valid(type, _errors(ctx, resource, was))
    bare = without_our_address(ctx, raw)
    if bare != raw:
        raw, resource = bare, strict.read(bare)
    taken(ctx, type, resource)
    _copy_of(ctx, type, resource, was)
    _same_thing(ctx, type, resource, was)
    _money(type, resource, was)
    return raw, resource


def received_over(
    ctx: Context, type: str, raw: bytes, was: dict[str, Any], shown: dict[str, Any], views: Cut, names: Mapping[str, str] | None = None
) -> tuple[bytes, dict[str, Any], dict[str, Any]]:
    """(what is to be kept, the same read, what was sent) of an edit of `shown`: judged is the whole that it makes of what is kept. What was sent
    masked or held back (`names`: what they call it to what it is called here) is what was shown there.

    A view may leave out what a rule asks for, which its reader cannot put right: only what is wrong by their own hand is theirs to
    hear, where it is in what they sent. Problem: malformed, invalid.
    """
    raw, asked = _not_ours(*_of_type(type, raw))
    known = unmasked(asked, shown, shown, names)
    raw = raw if known is asked else strict.dump(known)
    if not views:
        raw, resource = received(ctx, type, raw, was)
        return raw, resource, resource
    bare = without_our_address(ctx, raw)
    sent = strict.read(bare)
    whole = put_back(was, sent, views)
    if not entries.same(_as_written(sent), _as_written(shown)) and _errors(ctx, whole, was):
        before = set(_wrong(judged(ctx, shown, was=was)))
        _valid(type, [i for i in _wrong(judged(ctx, asked, was=was)) if i not in before])
        raise Problem("invalid", f"What you sent does not go together with parts of this {type} that you were not shown.", type)
    if whole == sent:
        whole, raw = sent, bare
    else:
        raw = strict.dump(whole)
    taken(ctx, type, whole)
    _copy_of(ctx, type, whole, was)
    _same_thing(ctx, type, whole, was)
    _money(type, whole, was)
    return raw, whole, sent


def _as_written(resource: dict[str, Any]) -> dict[str, Any]:
    """Without the version that it was read at."""
    meta = resource.get("meta")
    if not isinstance(meta, dict):
        return resource
    return {**resource, "meta": {k: v for k, v in meta.items() if k not in ("versionId", "lastUpdated")}}


def _not_ours(raw: bytes, resource: dict[str, Any]) -> tuple[bytes, dict[str, Any]]:
    """Without a narrative that the gateway made when it gave this out (`domain.said_again`): it is nobody's words."""
    theirs = said_again.without(resource)
    return (raw, resource) if theirs is resource else (strict.dump(theirs), theirs)


def _of_type(type: str, raw: bytes) -> tuple[bytes, dict[str, Any]]:
    resource = strict.read(raw)
    if resource.get("resourceType") != type:
        raise Problem("bad-request", f"This address takes {type}, the body says `{resource.get('resourceType')}`.", "resourceType")
    if type in WRITTEN_BY_US:
        raise Problem("not-offered", f"{type} is written by the gateway itself.", headers={"Allow": "GET, HEAD"})
    return raw, resource


def _errors(ctx: Context, resource: dict[str, Any], was: Mapping[str, Any] | None = None) -> list[Issue]:
    """What is wrong. Of our own profile, and of the form of ours that a thing of a plan answers, only what was not wrong in `was` already: who labels, ends or takes back what an earlier release kept
    need not put it right."""
    found = _wrong(judged(ctx, resource, was=was))
    if not found or was is None or not _held(ctx, resource, was):
        return found
    before = set(_wrong(judged(ctx, dict(was))))
    if before.isdisjoint(found):
        return found
    always = set(_wrong(_by_others(ctx, {k: v for k, v in resource.items() if k != "questionnaire"})))
    return [i for i in found if i in always or i not in before]


def _wrong(issues: Sequence[Issue]) -> list[Issue]:
    return [i for i in issues if i.severity in ("error", "fatal")]


def _held(ctx: Context, resource: Mapping[str, Any], was: Mapping[str, Any] | None) -> list[str]:
    """The profiles of ours that it is held to, as what it was and as what it says it is."""
    return list(dict.fromkeys([*held_to(was or {}, ctx.house.profiles), *held_to(resource, ctx.house.profiles)]))


def _same_thing(ctx: Context, type: str, resource: Mapping[str, Any], was: Mapping[str, Any] | None) -> None:
    """What a plan made goes on being that thing of it. Problem business-rule for an update without its identifier."""
    own = own_identifier(was or {})
    if own is None or own[0] not in ctx.house.profiles:
        return
    now = resource.get("identifier")
    if not any(own_identifier({"identifier": i}) == own for i in (now if isinstance(now, list) else [now])):
        raise Problem("business-rule", f"`{system(own[0])}` says which thing of a plan this is: an update keeps that identifier.", f"{type}.identifier")


def _money(type: str, resource: Mapping[str, Any], was: Mapping[str, Any] | None) -> None:
    """A budget is more than nothing. Problem business-rule for an amount that is none; one that is kept already may stay."""
    amount = not_money(resource) if type == "ServiceRequest" else ""
    if amount and amount != not_money(was or {}):
        raise Problem("business-rule", f"The amount of a budget is more than 0 and at most {MOST_MONEY:,}, not {amount[:40]}.", f"{type}.extension")


def _valid(type: str, issues: list[Issue]) -> None:
    if issues:
        raise Problem("invalid", f"{len(issues)} thing(s) in this {type} must be put right.", issues=issues)


def without_our_address(ctx: Context, raw: bytes) -> bytes:
    """References that spell out this server's own address become relative: whose record it is must not depend on spelling."""
    base = re.escape(ctx.house.base_url.encode())
    return re.sub(rb'("reference"\s*:\s*")' + base + rb"/", rb"\1", raw)


def taken(ctx: Context, type: str, resource: dict[str, Any]) -> None:
    """What is valid and yet not taken here. Problem business-rule."""
    if summary.is_subset(resource):
        raise Problem("business-rule", "This is a part of a resource (SUBSETTED): written back it would delete the rest.", f"{type}.meta.tag")
    if any(str(c.get("system", "")).strip().lower().startswith(RESERVED) for k in ("tag", "security") for c in resource.get("meta", {}).get(k, ())):
        raise Problem("business-rule", f"Tags of systems that begin with `{RESERVED}` are put on by the gateway alone.", f"{type}.meta")
    if "implicitRules" in resource:
        raise Problem("business-rule", "Rules that change what a resource means are not known here.", f"{type}.implicitRules")
    ours = ctx.house.base_url + "/"
    if any(r.startswith(ours) for r in bundle.references(resource)):
        raise Problem("business-rule", "Refer to what is here by Type/id, without this server's address.", f"{type}.reference")
    if type == "Consent":
        _computable(resource)


def _copy_of(ctx: Context, type: str, resource: Mapping[str, Any], was: Mapping[str, Any] | None) -> None:
    """Whose record this is a copy of is said by the gateway that sends it: by a system, when it makes it here (`was`: None), and never of a
    record of ours. An edit adds no such tag; what the tags on `was` say may stay. docs/notes/0024 Problem business-rule."""
    new = copies.added(resource, was or {})
    ours = [c for c in new if (copies.parts(c) or ("",))[0] == ctx.house.name]
    if ours or (new and (was is not None or ctx.actor.kind != "system")):
        raise Problem("business-rule", f"Tags of `{copies.SYSTEM}` say whose record a copy is: only the gateway that sends the copy puts them on.", f"{type}.meta.tag")


def judged(ctx: Context, resource: dict[str, Any], profiles: Sequence[str] = (), was: Mapping[str, Any] | None = None) -> list[Issue]:
    """R4, the profiles and Questionnaires of this deployment where the resource names them (or `profiles` do), our profile where it carries the
    identifier of a thing of our plans, or `was`, which it replaces, does; our own policy."""
    return _by_others(ctx, resource, [*profiles, *_held(ctx, resource, was)])


def _by_others(ctx: Context, resource: dict[str, Any], profiles: Sequence[str] = ()) -> list[Issue]:
    r4, known = ctx.house.r4, ctx.house.definitions
    asked = known.questionnaire(str(resource.get("questionnaire"))) if known is not None and "questionnaire" in resource else None
    return [*check(resource, r4, questionnaire=asked, definitions=known, profiles=profiles), *policy(resource, r4)]


def _computable(resource: dict[str, Any]) -> None:
    try:
        grant = provisions.parse(resource, id=resource.get("id", "new"), version=0)
    except provisions.Uncomputable as u:
        raise Problem("business-rule", f"This consent cannot be computed, so it cannot be kept: {u}", u.where) from None
    if grant.speaks() and (rules := grant.root.count()) > MOST_RULES:  # one that ends costs nothing
        text = f"A consent may hold {MOST_RULES} rules, this one has {rules}."
        raise Problem("business-rule", text, "Consent.provision")
    refuse_slips(slips.slips(resource))


def refuse_slips(found: Sequence[slips.Slip]) -> None:
    """Problem business-rule, an issue for each, for a Consent that would say less than it seems to."""
    if found:
        issues = [Issue("error", "business-rule", s.where, f"As it is written this would have no effect: {s.text}") for s in found]
        raise Problem("business-rule", issues[0].text, issues[0].where, issues=issues)
