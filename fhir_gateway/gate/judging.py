"""`$validate`: would this be taken. https://hl7.org/fhir/R4/resource-operation-validate.html

What is sent is judged by what it says alone: nothing it refers to is looked up, so the verdict tells of nobody's record.
At the address of one resource the reader must be allowed to see it: hidden is absent here, too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from ..domain import strict
from ..domain.lint import warnings
from ..domain.modifiers import plain
from ..domain.own_profiles import meant_for
from ..domain.problem import Issue, Problem, outcome
from ..domain.types import Decision, Ref, Stored
from ..domain.validate import check
from .context import Context, House, Written, ask, need_scope, note, notes, rendering
from .reading import allow
from .receiving import judged, taken, without_our_address

MODES = ("create", "update", "delete", "profile")
CORE = "http://hl7.org/fhir/StructureDefinition/"


async def judge(
    ctx: Context, type: str, id: str | None, sent: Mapping[str, Any] | None, params: Sequence[tuple[str, str]] = ()
) -> dict[str, Any]:
    """The OperationOutcome of `sent` (a resource, or Parameters that hold it), or of what is stored at `Type/id`.

    Problem: not-found (hidden and absent alike), bad-request for a mode that does not exist or nothing to judge.
    """
    if id is not None:
        need_scope(ctx, "r", type)
    resource, said = _asked(type, sent, params)
    mode = said.get("mode", "")
    if mode and mode not in MODES:
        raise Problem("bad-request", f"`mode` is {', '.join(MODES[:-1])} or {MODES[-1]}, not `{mode[:40]}`.", "mode")
    stored, decision = await _stored(ctx, Ref(type, id)) if id is not None else (None, None)
    if resource is None and stored is None:
        raise Problem("bad-request", "Send the resource to be validated, bare or as the parameter `resource`.", "resource")
    issues: list[Issue] = []
    if mode != "delete":
        assert resource is not None or stored is not None
        issues += verdict(ctx, type, resource if resource is not None else strict.decode((await rendering(ctx, stored))[0]), said.get("profile"))  # type: ignore[arg-type]
    if stored is not None and mode in ("update", "delete"):
        issues += await _change(ctx, stored, resource)
    if stored is not None and decision is not None:
        await ctx.house.store.commit(*notes(ctx, "E", "validate", decision, stored.facts, stored.ref))
    else:
        await ctx.house.store.commit(note(ctx, "E", "validate", None, allowed=True))
    return outcome(issues or [Issue("information", "informational", "", "Nothing is wrong with this.")])


def _asked(type: str, sent: Mapping[str, Any] | None, params: Sequence[tuple[str, str]]) -> tuple[dict[str, Any] | None, dict[str, str]]:
    """The resource, if any, with `mode` and `profile` from the address or the Parameters. Problem bad-request."""
    said = {k: v for k, v in params if k in ("mode", "profile") and v}
    if sent is None:
        return None, said
    listed = sent.get("parameter", [])
    if sent.get("resourceType") != "Parameters" or (type == "Parameters" and not _holds(listed)):
        return dict(sent), said
    if not isinstance(listed, list) or not all(isinstance(p, dict) for p in listed):
        raise Problem("bad-request", "`parameter` must be a list of parameters.", "Parameters.parameter")
    plain(sent, "Parameters")
    resource = None
    for p in listed:
        if p.get("name") == "resource":
            if resource is not None or not isinstance(p.get("resource"), dict):
                raise Problem("bad-request", "The parameter `resource` holds one resource and stands once.", "Parameters.parameter")
            resource = p["resource"]
        elif p.get("name") in ("mode", "profile"):
            value = next((v for k, v in p.items() if k.startswith("value")), None)
            if not isinstance(value, str):
                raise Problem("bad-request", f"The parameter `{p['name']}` must be a text.", "Parameters.parameter")
            said[p["name"]] = value
    return resource, said


def _holds(listed: Any) -> bool:
    return isinstance(listed, list) and any(isinstance(p, dict) and p.get("name") == "resource" and "resource" in p for p in listed)


def verdict(ctx: Context, type: str, resource: dict[str, Any], profile: str | None) -> list[Issue]:
    """Every issue of a resource: the official rules, what this server refuses besides, and the profile asked for."""
    if resource.get("resourceType") != type:
        said = f"This address judges {type}, the body says `{str(resource.get('resourceType'))[:64]}`."
        return [Issue("error", "invalid", "resourceType", said)]
    issues = judged(ctx, resource, [profile] if profile is not None else [])
    if not any(i.severity in ("error", "fatal") for i in issues):
        try:
            taken(ctx, type, strict.read(without_our_address(ctx, strict.dump(resource))))
        except Problem as p:
            issues += p.issues
        else:
            issues += warnings(strict.dump(resource))
        issues += lacking(ctx.house, resource) if profile is None else []
    known = ctx.house.definitions
    if profile is not None and profile.split("|")[0] != CORE + type and (known is None or known.profile(profile) is None):
        issues.append(Issue("warning", "not-found", "", f"The profile `{profile[:120]}` is not known here: it was not looked at."))
    return issues


def lacking(house: House, resource: dict[str, Any]) -> list[Issue]:
    """What a valid resource that nothing holds to a profile of ours would need to be such a thing of a plan: for information, it is R4 and taken.
    Empty where it needs nothing."""
    ours = meant_for(resource, house.profiles)
    if not ours or house.definitions is None:
        return []
    found = check(resource, house.r4, definitions=house.definitions, profiles=[ours])
    said = f"This is taken as FHIR R4. Our profile `{ours}` would have it otherwise: "
    return [Issue("information", "informational", i.where, said + i.text, "not-our-profile") for i in found if i.severity in ("error", "fatal")]


def with_lacks(house: House, w: Written, prefer: str) -> Written:
    """The same, with what it lacks of a profile of ours where the answer is to be an OperationOutcome (`prefer`)."""
    if prefer != "OperationOutcome" or w.body is None:
        return w
    return replace(w, issues=(*w.issues, *lacking(house, strict.decode(w.body))))


async def _stored(ctx: Context, ref: Ref) -> tuple[Stored, Decision]:
    stored = await ctx.house.store.get(ref)
    decision = await allow(ctx, "E", "validate", ref, stored)
    assert stored is not None
    if stored.deleted:
        raise Problem("gone", "This was deleted.")
    return stored, decision


async def _change(ctx: Context, stored: Stored, resource: Mapping[str, Any] | None) -> list[Issue]:
    """What stands in the way of this writer's change."""
    issues = []
    if resource is not None and resource.get("id") != stored.ref.id:
        said = f"The id in the body must be `{stored.ref.id}`, as in the address."
        issues.append(Issue("error", "invalid", f"{stored.ref.type}.id", said))
    if not (await ask(ctx, "correct", stored.facts)).permit:
        issues.append(Issue("error", "forbidden", "", "You may see this but not change it."))
    return issues


__all__ = ["judge", "verdict", "with_lacks"]
