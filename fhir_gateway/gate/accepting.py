"""Nobody becomes a member by being named: who accepted is remembered, and who is named anew is asked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..domain import strict
from ..domain.building import read_consent
from ..domain.bundle import instant
from ..domain.grants import Grant, walk
from ..domain.periods import micros
from ..domain.relationships import asks_membership, health_or_care
from ..domain.standing import CONFIRMED, Standing, consented, named_by
from ..domain.types import Facts, Keep, Op, Ref, Stored
from ..domain.vocabulary import CONFIRM_MEMBERSHIP, TASK_SYSTEM
from .context import Context, directory_now, stand


def acceptances(ctx: Context, ref: Ref, resource: dict[str, Any], facts: Facts) -> list[Op]:
    """Remember who accepted this Task, where the writer is its owner."""
    if ref.type != "Task" or resource.get("status") not in CONFIRMED or not named_by(resource.get("owner")) & ctx.actor.ids:
        return []
    return [Keep("accepted", f"{p} {ref}", ctx.actor.user.encode()) for p in facts.patients]


async def questions(
    ctx: Context, ref: Ref, resource: dict[str, Any], facts: Facts, before: Stored | None, new: Mapping[Ref, Stored] | None = None
) -> list[dict[str, Any]]:
    """A Task for each whom this CareTeam or Patient names anew: are you in this team? And for each member outside health and social care
    of a team that this Consent names: a yes to a team reaches those of it who said that they are in it. `new`: what is written with it."""
    if ref.type == "Consent":
        return await _of_a_yes(ctx, ref, resource, facts, new or {})
    earlier = strict.decode(before.body) if before is not None and before.body is not None else {}
    asked = [named_by(m) for m in _members(earlier)]
    out: list[dict[str, Any]] = []
    for member in _members(resource):
        if named_by(member) not in asked:
            asked.append(named_by(member))
            if await _may_look_after(ctx, named_by(member)) or await _team_has_a_yes(ctx, ref, facts):
                out.append(_question(ctx, ref, member, facts))
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
    """Health and social care are asked at once: anyone else needs the person's own consent, and learns nothing before it."""
    directory, _ = ctx.place or await directory_now(ctx.house)
    return health_or_care(names, directory, micros(ctx.at))


async def _team_has_a_yes(ctx: Context, ref: Ref, facts: Facts) -> bool:
    """Did the person say yes to this team, by its name."""
    if ref.type != "CareTeam" or len(facts.patients) != 1:
        return False
    person = facts.patients[0]
    return consented((await stand(ctx.house, [person], None, ctx.place))[person], frozenset({str(ref)}), micros(ctx.at))


async def _of_a_yes(ctx: Context, ref: Ref, resource: dict[str, Any], facts: Facts, new: Mapping[Ref, Stored]) -> list[dict[str, Any]]:
    said = read_consent(resource, ref.id, 0)
    if not isinstance(said, Grant) or len(facts.patients) != 1 or not any(n.startswith("CareTeam/") for r in walk(said.root) for n in r.who):
        return []
    person = facts.patients[0]
    yes = Standing(person, grants=(said,))
    latest = {s.ref: s for s in await ctx.house.store.patient_versions(person, ["CareTeam", "Task"])} | dict(new)
    bodies = {r: strict.decode(s.body) for r, s in latest.items() if s.body is not None and person in s.facts.patients}
    asked = {
        (str((b.get("focus") or {}).get("reference", "")), named_by(b.get("owner"))) for r, b in bodies.items() if r.type == "Task" and asks_membership(b)
    }  # fmt: skip
    known = (await stand(ctx.house, [person], None, ctx.place))[person].relationships
    inside = {(r.team, r.names) for r in known if r.team and r.counts}  # they said so already, by taking a referral on
    out: list[dict[str, Any]] = []
    for team, body in bodies.items():
        if team.type != "CareTeam" or body.get("status") not in ("active", None) or not consented(yes, frozenset({str(team)}), micros(ctx.at)):
            continue
        for member in _members(body):
            if (str(team), named_by(member)) not in asked and (str(team), named_by(member)) not in inside:
                asked.add((str(team), named_by(member)))
                out.append(_question(ctx, team, member, facts))
    return out


def _question(ctx: Context, ref: Ref, member: dict[str, Any], facts: Facts) -> dict[str, Any]:
    """Until the named member accepts, they may read that Task and nothing else."""
    return {
        "resourceType": "Task",
        "status": "requested",
        "intent": "order",
        "code": {"coding": [{"system": TASK_SYSTEM, "code": CONFIRM_MEMBERSHIP}]},
        "description": "You were named in this person's care team. Accept if that is right.",
        "focus": {"reference": str(ref)},
        "for": {"reference": facts.patients[0]},
        "authoredOn": instant(ctx.at),
        "owner": {k: v for k, v in member.items() if k in ("reference", "identifier", "type", "display")},
    }
