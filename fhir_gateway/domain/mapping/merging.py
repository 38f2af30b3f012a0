"""A plan's resource over a stored one: what others wrote there stays, what the plan says wins."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final, NamedTuple

from ..bundle import references
from .leftover import leftover, restore
from .tables import Table

LISTS: Final = ("addresses", "goal", "supportingInfo", "careTeam", "activity", "participant", "extension", "partOf", "reasonReference")


class Held(NamedTuple):
    """A stored resource as its reader sees it: `Type/id`, version, body, (kind, identifier value) when a plan made it. `other`: of several that bear that
    identifier, begun neither by who began the plan nor by the person."""

    ref: str
    version: int
    resource: dict[str, Any]
    own: tuple[str, str] | None
    other: bool = False


def merged(new: Mapping[str, Any], stored: Held, table: Table, known: Collection[str]) -> dict[str, Any]:
    """`new` with the stored id, meta, unknown elements, other identifiers, and references to what this writer cannot see.

    `known`: references of everything the writer sees; a list entry that leads elsewhere was not theirs to take out.
    """
    old = stored.resource
    out = {k: list(v) if isinstance(v, list) else v for k, v in new.items()}
    out = {"resourceType": out.pop("resourceType"), **{k: old[k] for k in ("id", "meta", "implicitRules", "language") if k in old}, **out}
    if isinstance(out["identifier"], list) and isinstance(old.get("identifier"), list):
        out["identifier"] += [i for i in old["identifier"] if i not in out["identifier"] and not _replaced(i, out["identifier"])]
    restore(out, leftover(old, table))
    for name in LISTS:
        found = old.get(name)
        if isinstance(found, list):
            unseen = [e for e in found if _leads_elsewhere(e, known) and e not in out.get(name, ())]
            if name == "participant":
                unseen = [e for e in unseen if not _is_who_they_were(e, out.get(name, ()))]
            if unseen:
                out[name] = [*out.get(name, ()), *unseen]
    return out


def _is_who_they_were(old: dict[str, Any], ours: Sequence[dict[str, Any]]) -> bool:
    """A member whom the plan knows by its own name of them (`plan-member`), and others by who they are here: the plan says neither, so both stay."""
    name = _member_name(old)
    mine = next((p for p in ours if name and _member_name(p) == name), None)
    if mine is not None:
        mine |= {k: old[k] for k in ("member", "onBehalfOf") if k in old}
    return mine is not None


def with_helpers(new: dict[str, Any], old: Mapping[str, Any], known: Mapping[str, Any]) -> dict[str, Any]:
    """The same team with whom a referral brought in (`helping`): no file of a plan put them there, and none takes them out by not knowing them.
    Whom `known`, the team of which the writer made theirs, has, they took out."""
    there = {_member_name(p) for team in (new, known) for p in team.get("participant", ())}
    brought = [p for p in old.get("participant", ()) if (name := _member_name(p)).startswith("joined-") and name not in there]
    return {**new, "participant": [*new.get("participant", ()), *brought]} if brought else new


def _member_name(participant: Mapping[str, Any]) -> str:
    said = (e.get("valueString") for e in participant.get("extension", ()) if str(e.get("url", "")).endswith("/StructureDefinition/plan-member"))
    return str(next(said, "") or "")


def _replaced(identifier: Any, ours: list[Any]) -> bool:
    """An NHS number or a name of ours that now has another value."""
    return isinstance(identifier, dict) and any(
        i.get("system") == identifier.get("system") and "/id/plan" not in str(identifier.get("system")) for i in ours
    )


def _leads_elsewhere(element: Any, known: Collection[str]) -> bool:
    """It names a resource of this server that the writer does not see."""
    names = [n for n in references(element) if "/" in n and ":" not in n]
    return bool(names) and all(n not in known for n in names)
