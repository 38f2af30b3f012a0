"""What is written beside the words themselves: who wrote them, their labels, and whether anything changed at all."""

from __future__ import annotations

from typing import Any

from ..domain import compartment, labels, referring, strict
from ..domain import facts as deriving
from ..domain.problem import Problem
from ..domain.standing import STANDING_TYPES
from ..domain.types import Facts, Ref, Stored, Writer
from .context import Context, directory_now, stand


async def who_writes(ctx: Context, resource: dict[str, Any], method: str, before: Stored | None) -> Writer:
    """Who writes, and whether a referral in it would count (`domain.referring`): that is stamped here, and decided at no other time."""
    a = ctx.actor
    may_refer = ctx.may_refer
    people = compartment.patients(resource) if resource else ()
    if people and resource.get("resourceType") in STANDING_TYPES and a.kind in ("professional", "system"):
        directory, _ = ctx.place or await directory_now(ctx.house)
        may_refer = referring.refers(a, may_refer, directory, await stand(ctx.house, people, None, ctx.place), people, ctx.at, ctx.purpose)
    kind = "operator" if a.operator else a.kind
    return Writer(a.user, a.organisation, ctx.client, kind, method, may_refer, a.contributor, referring.JUDGED if may_refer else 0)


def labelled(
    ctx: Context, resource: dict[str, Any], ref: Ref, writer: Writer, before: Stored | None
) -> tuple[Facts, list[dict[str, Any]]]:
    """Labels are set on write and only ever rise here: lowering is an act of its own (`labelling.take_off`, leak list L52)."""
    earlier: list[dict[str, Any]] = []
    off: frozenset[str] = frozenset()
    if before is not None and before.body is not None:
        earlier, off = strict.decode(before.body).get("meta", {}).get("security") or [], before.facts.declassified
    found = labels.label(resource, ctx.house.label_sets, earlier=earlier, declassified=off)
    if labels.lowered(labels.read(earlier), found):
        ctx.house.alarm(f"a write would have lowered the labels of {ref}")
        raise Problem("unavailable", "The privacy labels of this could not be kept. Nothing was written; please tell the operator.")
    created_by = before.created_by if before else writer.user
    known = before.facts if before else None
    return deriving.derive(resource, ref, ctx.at, writer, found, created_by, called=ctx.actor.ids, before=known), found.security


def content(resource: dict[str, Any]) -> dict[str, Any]:
    """What a writer wrote: without what the server sets itself."""
    meta = {k: v for k, v in resource.get("meta", {}).items() if k not in ("versionId", "lastUpdated", "security")}
    return {**{k: v for k, v in resource.items() if k != "id"}, "meta": meta}


def but_for_labels(resource: dict[str, Any]) -> tuple[dict[str, Any], set[tuple[Any, Any]]]:
    """A resource with the names of its labels: whoever asked for a label that was there already has seen all of it."""
    meta = resource.get("meta", {})
    rest = {**resource, "meta": {k: v for k, v in meta.items() if k != "security"}}
    return rest, {(c.get("system"), c.get("code")) for c in meta.get("security", [])}


def new_labels(resource: dict[str, Any], before: dict[str, Any]) -> bool:
    """Does this writer ask for a label that they are not shown: a change, whether it is there already or not (a label that is
    hidden from them must not show by what becomes of the version)."""

    def carried(r: dict[str, Any]) -> set[tuple[Any, Any]]:
        return {(c.get("system"), c.get("code")) for c in r.get("meta", {}).get("security", [])}

    return not carried(resource) <= carried(before)
