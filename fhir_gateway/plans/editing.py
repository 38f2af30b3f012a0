"""One goal, action or crisis plan of a person, or what matters to them, by itself, in the words of the plan: opened as it is or was, and changed by what somebody says otherwise.

The tables of `mappings/` say where each word of it lands; everything else of the resource stays as it is, seen or not.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final

from .. import gate
from ..domain import compartment, strict
from ..domain.bundle import instant
from ..domain.mapping import carrier
from ..domain.mapping.carrier import Kept
from ..domain.mapping.foreign import asks_membership
from ..domain.mapping.names import own_identifier
from ..domain.mapping.ways import Inward, Outward
from ..domain.problem import Problem, not_found
from ..domain.reconcile import edited
from ..domain.types import Ref
from ..gate import Context, Written
from ..tables import load_tables

Path = tuple[str, ...]
PARTS: Final[Mapping[str, tuple[Path, ...]]] = {  # kind -> what of it can be said otherwise, one by one
    "goal": (("text",), ("importance",), ("target", "what"), ("target", "value"), ("target", "unit"), ("target", "by"), ("status",), ("status_reason",), ("review",)),
    "action": (("text",), ("when",), ("from",), ("to",), ("status",), ("status_reason",), ("confidence",), ("strategies",), ("review",)),
    "contingency": (("name",), ("triggers",), ("early_warnings",), ("what_should_happen",), ("coping",), ("status",)),
    "about-me": (
        ("most_important",), ("people_important",), ("how_i_communicate",), ("my_wellness",), ("please_do_and_dont",), ("how_to_support",), ("also_worth_knowing",), ("supported_to_write_by",),
    ),
}  # fmt: skip
ALONG: Final[Mapping[str, tuple[Path, ...]]] = {"goal": (("status_word",), ("status_on",)), "action": (("status_word",), ("updated",)), "contingency": (("details",),), "about-me": (("written_on",),)}  # what changes with it
DETAILS: Final = {"trigger": "triggers", "early warning": "early_warnings", "what should happen": "what_should_happen", "coping": "coping"}  # of which words a detail is
CRISIS: Final = "325691000000100"  # SNOMED CT: contingency plan
WORDS: Final = frozenset({"text", "target"})  # what of a goal people agree to
ACCEPTANCE: Final = "http://hl7.org/fhir/StructureDefinition/goal-acceptance"
DETAIL: Final = re.compile(r"_?detail(?!Quantity$)[A-Z]\w*")  # https://hl7.org/fhir/R4/goal.html: how much, said otherwise than by a quantity


@dataclass(frozen=True, slots=True)
class Item:
    """One thing of a plan as this reader has it, of one version. `said`: what it says, by the path that the plan has for it; `held`: what of it is said in
    a way that these words have no place for, and stays as it is."""

    ref: Ref
    kind: str
    version: int
    subject: str  # `Patient/…`
    resource: dict[str, Any]
    said: dict[Path, Any]
    held: frozenset[Path] = frozenset()


def kind_of(resource: Mapping[str, Any]) -> str:
    """`goal`, `action`, `contingency` or `about-me`; "" for what is none of these: a step on the way, a Task that somebody was asked to do, anything else."""
    own, type = own_identifier(resource), resource.get("resourceType")
    if type == "Goal":
        return "goal" if own is None or own[0] == "goal" else ""
    if type == "CarePlan":
        crisis = any(c.get("code") == CRISIS for category in resource.get("category", ()) for c in category.get("coding", ()))
        return "contingency" if (crisis if own is None else own[0] == "contingency") else ""
    if type == "QuestionnaireResponse":
        return "about-me" if own is not None and own[0] == "about-me" else ""
    if type != "Task" or asks_membership(resource):
        return ""
    theirs = own is None and resource.get("intent") == "plan" and not resource.keys() & {"focus", "basedOn"}
    return "action" if theirs or (own is not None and own[0] == "action") else ""


async def item(ctx: Context, ref: Ref, version: int | None = None) -> Item:
    """As it is, or was in one version. Problem not-found for hidden, absent and what is none of these alike; gone."""
    answer = await (gate.read(ctx, ref) if version is None else gate.vread(ctx, ref, version))
    resource = strict.decode(answer.body)
    kind = kind_of(resource)
    if not kind:
        raise not_found()
    return Item(ref, kind, answer.version, compartment.subject(resource) or "", resource, said(resource, kind), held(resource, kind))


async def item_then(ctx: Context, ref: Ref, version: int) -> Item | None:
    """As it was; None where this reader does not have that version, or there never was one."""
    try:
        return await item(ctx, ref, version)
    except Problem as p:
        if p.kind not in ("not-found", "gone"):
            raise
        return None


async def edit(ctx: Context, now: Item, otherwise: Mapping[Path, Any]) -> Written:
    """Write what is said `otherwise` (None: no more said) over `now`, and over no other version of it.

    Problem: stale where it was changed meanwhile, business-rule for what is `held`, and all of an update.
    """
    resource = changed(now.resource, now.kind, otherwise, instant(ctx.at))
    if now.kind == "goal" and any(path[0] in WORDS and otherwise[path] != now.said.get(path) for path in otherwise):
        resource = asked_again(resource, ctx.actor.ids | {ctx.actor.user})
    return await gate.update(ctx, now.ref, strict.dump(resource), if_match=now.version)


def asked_again(goal: dict[str, Any], mine: Collection[str]) -> dict[str, Any]:
    """The goal whose words were changed by whom `mine` names: what others said of the words before is no word on these, and is pending again.
    http://hl7.org/fhir/StructureDefinition/goal-acceptance"""
    return {**goal, "extension": [_pending(e, mine) for e in goal["extension"]]} if "extension" in goal else goal


def _pending(extension: dict[str, Any], mine: Collection[str]) -> dict[str, Any]:
    parts = {p.get("url"): p for p in extension.get("extension", ()) if isinstance(p, dict)}
    if extension.get("url") != ACCEPTANCE or parts.get("individual", {}).get("valueReference", {}).get("reference") in mine or "status" not in parts:
        return extension
    return {**extension, "extension": [{**p, "valueCode": "pending"} if p is parts["status"] else p for p in extension["extension"]]}


def said(resource: Mapping[str, Any], kind: str) -> dict[Path, Any]:
    """What of it can be said otherwise, as it is said now."""
    whole = _read(resource, kind)
    return {path: value for path in PARTS[kind] if (value := _at(whole, path)) is not None}


def held(resource: Mapping[str, Any], kind: str) -> frozenset[Path]:
    """What of it nobody says otherwise here, for it would be lost: "below 140", "60 to 80", "in three weeks"."""
    first = _first(resource) if kind == "goal" else {}
    much = any(DETAIL.fullmatch(key) for key in first) or "comparator" in (first.get("detailQuantity") or {})
    by = first.keys() & {"dueDuration", "_dueDuration"}
    return frozenset([("target", "value"), ("target", "unit")] * much + [("target", "by")] * bool(by))


def changed(resource: dict[str, Any], kind: str, otherwise: Mapping[Path, Any], at: str) -> dict[str, Any]:
    """The resource that says it so. Another state takes the place of what somebody called the state before. `at`: an instant.

    Problem business-rule for what is `held`.
    """
    whole, mine = _read(resource, kind), (*PARTS[kind], *ALONG[kind])
    before = {path: value for path in mine if (value := _at(whole, path)) is not None}
    after = {path: value for path, value in ({**before, **otherwise}).items() if value is not None}
    if after == before:
        return resource
    if after.get(("status",)) != before.get(("status",)):
        after.pop(("status_word",), None)
        if kind == "goal":
            after[("status_on",)] = at[:10]
    if kind in ("action", "about-me"):
        after[("updated",) if kind == "action" else ("written_on",)] = at if kind == "action" else at[:10]
    if kind == "contingency" and ("details",) in after:
        after[("details",)] = [d for d in after[("details",)] if _still_said(d, before, after)]
    if any(after.get(path) != before.get(path) for path in held(resource, kind)):
        raise Problem("business-rule", "This is said in a way that cannot be changed here.", "Goal.target")
    (was, had), (new, has) = _made(before, kind), _made(after, kind)
    out = edited(was, new, resource) if kind != "goal" else _first_aim(was, new, resource)
    return out if had == has else _carrying(out, mine, has)


def _still_said(detail: Mapping[str, Any], before: Mapping[Path, Any], after: Mapping[Path, Any]) -> bool:
    """A code or a time of words that were taken out goes with them: it would be said of nothing."""
    path = (DETAILS.get(str(detail.get("of")), ""),)
    return detail.get("text") not in (before.get(path) or ()) or detail.get("text") in (after.get(path) or ())


def _first(resource: Mapping[str, Any]) -> dict[str, Any]:
    """The first target, which is the one that the plan has words for."""
    return next((t for t in resource.get("target") or () if isinstance(t, dict)), {})


def _first_aim(was: dict[str, Any], new: dict[str, Any], resource: dict[str, Any]) -> dict[str, Any]:
    """`edited`, of the first target alone, and with all in it that no line shows: the code of a unit as long as the unit is the same, and what is `held`."""
    stored, others = _first(resource), list(resource.get("target") or ())[1:]
    out = edited(was, new, {**resource, "target": [stored]} if stored else resource)
    if not stored:
        return out
    first, quantity = _first(out), dict(stored.get("detailQuantity") or {})
    if quantity and "detailQuantity" in first:
        said = first["detailQuantity"]
        loose = {"value", "unit"} | ({"system", "code"} if said.get("unit") != quantity.get("unit") else set())
        first = {**first, "detailQuantity": {k: v for k, v in {**quantity, **said}.items() if k in said or k not in loose}}
    kept = {k: v for k, v in stored.items() if k not in ("measure", "detailQuantity", "dueDate")}
    first = {**{k: v for k, v in kept.items() if k not in first}, **first}
    if any(DETAIL.fullmatch(key) for key in first) and "measure" not in first:  # gol-1
        first["measure"] = stored.get("measure", {"text": "(not said)"})
    targets = [*([first] if first else []), *others]
    return {**{k: v for k, v in out.items() if k != "target"}, **({"target": targets} if targets else {})}


def _read(resource: Mapping[str, Any], kind: str) -> dict[str, Any]:
    return load_tables()[kind].fields.back(resource, Inward({}, ours=own_identifier(resource) is not None))


def _made(values: Mapping[Path, Any], kind: str) -> tuple[dict[str, Any], list[Kept]]:
    """What these words alone become, and what of them has no place there and hangs on it."""
    thing: dict[str, Any] = {}
    for path, value in values.items():
        here = thing
        for key in path[:-1]:
            here = here.setdefault(key, {})
        here[path[-1]] = value
    tables = load_tables()
    out: dict[str, Any] = {}
    tables[kind].fields.out(thing, out, Outward("#", tables.types))
    return _bare(out, lambda path: True), carrier.read(out)


def _carrying(resource: dict[str, Any], paths: Collection[Path], has: list[Kept]) -> dict[str, Any]:
    """With `has` hanging on it in place of what hung there for these paths."""
    out = _bare(resource, lambda path: path in paths)
    if has:
        out["extension"] = list(out.get("extension", ()))
        carrier.write(out, has)
    return out


def _bare(resource: Mapping[str, Any], gone: Callable[[Path], bool]) -> dict[str, Any]:
    """A copy without what hangs on it for some paths."""
    left = [e for e in resource.get("extension", ()) if not any(gone(k.path) for k in carrier.read({"extension": [e]}))]
    return {k: v for k, v in resource.items() if k != "extension"} | ({"extension": left} if left else {})


def _at(thing: Mapping[str, Any], path: Path) -> Any:
    for key in path:
        if not isinstance(thing, Mapping):
            return None
        thing = thing.get(key)  # type: ignore[assignment]
    return thing


__all__ = ["PARTS", "Item", "asked_again", "changed", "edit", "held", "item", "item_then", "kind_of", "said"]
