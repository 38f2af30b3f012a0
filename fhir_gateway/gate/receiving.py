"""What comes in: the strict reader, the official rules, our own policy; every problem at once."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from ..domain import bundle, grants, strict, summary
from ..domain.problem import Issue, Problem
from ..domain.validate import check, policy
from .context import Context

OWNED_BY_THE_HOUSE = frozenset({"AuditEvent"})


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


def without_our_address(ctx: Context, raw: bytes) -> bytes:
    """References that spell out this server's own address become relative: whose record it is must not depend on spelling."""
    base = re.escape(ctx.house.base_url.encode())
    return re.sub(rb'("reference"\s*:\s*")' + base + rb"/", rb"\1", raw)


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
