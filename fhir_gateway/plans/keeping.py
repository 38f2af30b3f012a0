"""A plan into the record and out of it, through the gate: one transaction, only what changed, nothing of others lost."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

import msgspec

from .. import gate
from ..domain import main_plan, mapping, strict
from ..domain.bundle import references
from ..domain.identity import still_known
from ..domain.laid import since
from ..domain.mapping import Entry, Mapped
from ..domain.mapping.carrier import dump
from ..domain.mapping.foreign import asks_membership
from ..domain.mapping.merging import Held, merged, with_helpers
from ..domain.mapping.names import own_identifier
from ..domain.plan import refuse_no_number, respelt
from ..domain.problem import Problem, not_found
from ..domain.reconcile import edited
from ..domain.types import Ref
from ..gate import Context
from ..tables import load_tables
from .bearing import bearers, told_apart
from .beside import Opened
from .numbering import Own, by_place, of_one_kind, placed, renamed
from .person import person_of
from .said import in_plan, remember_plan
from .sending import send
from .texts import checked

TYPES = (
    "CarePlan", "Goal", "Condition", "Task", "ServiceRequest", "CareTeam", "RelatedPerson", "QuestionnaireResponse", "Observation", "DocumentReference",
    "MedicationStatement", "MedicationRequest", "ClinicalImpression", "RiskAssessment",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Saved:
    """What a save or an import did. `patient` is an id; counts are resources; `unmapped` has `{path, to, why}` of what stayed
    beside; `pending` says in words what others must do before all of it counts; `refs`, for FHIR, where each resource is here by
    what it was called where it came from."""

    patient: str | None
    written: int = 0
    unchanged: int = 0
    refused: int = 0
    unmapped: list[dict[str, str]] = field(default_factory=list)
    pending: list[str] = field(default_factory=list)
    refs: dict[str, str] = field(default_factory=dict)
    drafted: bool = False  # nothing of it is written until the person accepts it


def version_of(plan: Mapping[str, Any]) -> str:
    """Names what one reader sees of a plan: another name once that is other."""
    return sha256(dump(plan).encode("utf-8", "surrogatepass")).hexdigest()[:32]


async def save(ctx: Context, plan: Mapping[str, Any], *, dry_run: bool = False, if_match: str | None = None, over: bool = False, whose: str | None = None) -> Saved:
    """Write a plan. Saving the same plan again writes nothing. `if_match`: only over what this writer saw under that name (`version_of`). Without it a system
    that sent this plan before says only what it says otherwise than then (`laid.since`), unless it was laid `over` what is here now. `whose`: the id of who it was found to be about already.

    Problem invalid (every error of the plan), conflict (the person does not agree, has another main plan here, a medicine is here
    as one of the other kind, or others changed what this system changes), stale (another than `if_match`), and all of the gate's own.
    """
    tables, sent, before = load_tables(), plan, None
    mapped = mapping.to_fhir(checked(dict(plan)), tables, dry=True)
    person = next(e for e in mapped.entries if e.kind == "person")
    patient = whose or await person_of(ctx, person, read=if_match is not None)
    held = await told_apart(ctx, patient, await holdings(ctx, patient)) if patient else {}
    read = await _reading(ctx, patient) if patient else None
    refuse_no_number(plan, read.plan if read is not None else None)
    keeps = ctx.actor.kind == "system" and not ctx.actor.operator and not over  # its own copy of the plan, and sends that again
    if keeps and patient is not None:
        before = await in_plan(ctx, patient)
        if before is not None and if_match is None and read is not None and read.plan.get("id") == plan.get("id"):
            plan = since(msgspec.json.decode(before), read.plan, plan)
    if read is not None:
        mapped = mapping.to_fhir(checked(respelt(dict(plan), read.plan)), tables, dry=True)
    if if_match is not None and (patient is None or version_of(read.plan if read is not None else await load(ctx, patient)) != if_match):
        raise Problem("stale", "This plan, as far as you see it, is another than the one that you changed: read it again, and change that. Nothing was written.", "If-Match")
    here = _match(mapped.entries, held, read)
    _only_plan(mapped, here, held)
    of_one_kind(mapped.entries, here, held)
    steps, unchanged = _steps(mapped, here, held, patient, read, own_file=ctx.actor.kind == "system")
    gone: list[Held] = []
    stay: list[str] = []
    if read is not None:
        steps, untouched = _without_made_up(steps, mapped, read.entries)
        unchanged += untouched
        gone = _gone(mapped, here, held, read)
        stay = _stay(respelt(dict(plan), read.plan), held, read) if not keeps or if_match is not None else []
    entries = [*({"request": {"method": "DELETE", "url": h.ref, "ifMatch": f'W/"{h.version}"'}} for h in gone), *steps]
    pending = [*_waiting(held), *stay]
    unmapped = [row for row in mapped.dry if "plan-unmapped" in row["to"]]
    if dry_run or not entries:
        if keeps and patient is not None and not dry_run:
            await remember_plan(ctx, patient, sent, before)
        return Saved(patient, 0, unchanged, 0, unmapped, pending)
    done = await send(ctx, _pointing(entries, mapped, here, patient))
    refs = done.refs
    same = done.new.count(False)
    if patient is None:
        patient = refs[entries.index(next(e for e in entries if e.get("fullUrl") == person.full_url))][0].id
    if keeps:
        await remember_plan(ctx, patient, sent, before)
    if done.drafted:
        pending = [*pending, "It is kept as a draft: it counts once the person accepts it."]
    return Saved(patient, len(entries) - same, unchanged + same, 0, unmapped, pending, drafted=done.drafted)


def _waiting(held: Mapping[Ref, Held]) -> list[str]:
    """Members of the team who were asked whether they are, and have not answered."""
    tasks = [h.resource for h in held.values() if h.ref.startswith("Task/")]
    asked = [t for t in tasks if asks_membership(t) and t.get("status") in ("requested", "received")]
    names = {str(t.get("owner", {}).get("display") or t.get("owner", {}).get("identifier", {}).get("value") or "somebody") for t in asked}
    return [f"{name} is asked to confirm its place in the team." for name in sorted(names)]


# -- what is here -----------------------------------------------------------------------------------------------------


async def holdings(ctx: Context, patient: str, types: Iterable[str] = TYPES) -> dict[Ref, Held]:
    """Everything of a person that a plan could be made of, as far as this asker sees it."""
    out: dict[Ref, Held] = {}
    for type in ("Patient", *types):
        about = ("_id", patient) if type == "Patient" else ("patient", patient)
        params: list[tuple[str, str]] = [about, ("_count", "200")]
        while True:
            page = await gate.search(ctx, type, params)
            for e in page.entries:
                if e.body is not None and e.mode == "match":
                    body = strict.decode(e.body)
                    out[e.ref] = Held(str(e.ref), e.version, body, own_identifier(body))
            if page.next is None:
                break
            params = [("_page", page.next)]
    return out


def _only_plan(mapped: Mapped, here: Mapping[str, Held], held: Mapping[Ref, Held]) -> None:
    """A person has one main plan. Whoever sees another is told, before anything is tried; whoever does not see it is not."""
    new = next(e for e in mapped.entries if e.kind == "plan")
    if new.full_url in here or not main_plan.counts(new.resource):
        return
    for h in held.values():
        if h.ref.startswith("CarePlan/") and main_plan.counts(h.resource):
            raise Problem("conflict", main_plan.already(h.ref), "id")


# -- what to do -------------------------------------------------------------------------------------------------------


def _steps(
    mapped: Mapped, here: Mapping[str, Held], held: Mapping[Ref, Held], patient: str | None, read: Reading | None, *, own_file: bool
) -> tuple[list[dict[str, Any]], int]:
    """Bundle entries for what is new or changed, and how many are as they were. `own_file`: a system's, which sends what it keeps itself."""
    tables = load_tables()
    shown = read.entries if read is not None else {}
    names = {url: h.ref for url, h in ({**_match(shown.values(), held, read), **here}).items()}
    if patient is not None:
        names[next(e for e in mapped.entries if e.kind == "person").full_url] = f"Patient/{patient}"
    known = {h.ref for h in held.values()}
    steps: list[dict[str, Any]] = []
    unchanged = 0
    for e in mapped.entries:
        resource = pointed(e.resource, names)
        stored = here.get(e.full_url)
        if stored is None:
            if e.kind == "person" and patient is not None:
                unchanged += 1  # somebody else keeps this person's details
                continue
            steps.append({"fullUrl": e.full_url, "resource": resource, "request": {"method": "POST", "url": resource["resourceType"]}})
            continue
        if e.full_url in shown:
            was = pointed(shown[e.full_url].resource, names)
            new = edited(renamed(was, stored), renamed(resource, stored), stored.resource)
        else:
            new = merged(renamed(resource, stored), stored, tables[e.kind], known)
        if e.kind == "person":
            new = still_known(new, stored.resource)
        if e.kind == "team":
            edits = e.full_url in shown and not own_file
            new = with_helpers(new, stored.resource, shown[e.full_url].resource if edits else {})
        if dump(content(new)) == dump(content(stored.resource)):
            unchanged += 1
            continue
        steps.append(
            {"resource": new, "request": {"method": "PUT", "url": stored.ref, "ifMatch": f'W/"{stored.version}"'}, "fullUrl": e.full_url}
        )
    return steps, unchanged


@dataclass(frozen=True, slots=True)
class Reading:
    """A writer's own plan at this moment, what it maps to, by full URL, and which resource (its id) each part without an id is."""

    plan: Mapping[str, Any]
    entries: Mapping[str, Entry]
    placed: Mapping[Own, str]
    things: Mapping[str, tuple[str, Mapping[str, Any]]]  # which thing of the plan each resource is


async def _reading(ctx: Context, patient: str) -> Reading | None:
    """None where they read no plan."""
    try:
        found = await record(ctx, patient)
        made = mapping.read(found, load_tables(), homeless=False, main=await gate.main_plan_of(ctx, f"Patient/{patient}"))
        entries = mapping.to_fhir(checked(made.plan), load_tables()).entries
    except Problem as p:
        if p.kind not in ("not-found", "invalid"):
            raise
        return None
    return Reading(made.plan, {e.full_url: e for e in entries}, placed(found, entries), made.became)


def _without_made_up(
    steps: list[dict[str, Any]], mapped: Mapped, seen: Mapping[str, Entry]
) -> tuple[list[dict[str, Any]], int]:
    """Without what their reading makes up where the record has something that they do not see: it is no new thing, unless
    something new of theirs needs it. And how many fell away.
    """
    same = {e.full_url for e in mapped.entries if e.full_url in seen and dump(seen[e.full_url].resource) == dump(e.resource)}
    new = [s for s in steps if s["request"]["method"] == "POST"]
    needed = {s["fullUrl"] for s in new} - same
    waiting = [s for s in new if s["fullUrl"] in needed]
    while waiting:
        named = set(references(waiting.pop()["resource"])) - needed
        waiting += [s for s in new if s["fullUrl"] in named]
        needed |= named
    left_out = {s["fullUrl"] for s in new} - needed
    kept = [s for s in steps if s["request"]["method"] != "POST" or s["fullUrl"] not in left_out]
    fewer = [{**s, "resource": _not_naming(s["resource"], left_out)} for s in kept] if left_out else kept
    return fewer, len(steps) - len(kept)


def _not_naming(node: Any, urls: Collection[str]) -> Any:
    """A copy without the references to these, nor what is nothing without them."""
    if isinstance(node, list):
        return [n for item in node if (n := _not_naming(item, urls)) is not None or item is None] or None
    if not isinstance(node, dict):
        return node
    if isinstance(node.get("reference"), str) and node["reference"] in urls:
        return None
    return {k: n for k, v in node.items() if (n := _not_naming(v, urls)) is not None or v is None} or None


def _match(entries: Iterable[Entry], held: Mapping[Ref, Held], read: Reading | None) -> dict[str, Held]:
    """Which stored resource is which: by our identifier, else an item that carries another record's id. A part without an id is
    what stands in its place in the writer's own plan; beyond that it is new."""
    ours = bearers(held)
    others = {h.ref: h for h in held.values() if h.own is None}
    ids = {ref.id: h for ref, h in held.items()}
    out: dict[str, Held] = {}
    for e in entries:
        own = own_identifier(e.resource)
        found = ids.get(read.placed.get(own, "")) if read is not None and own is not None and by_place(own) else ours.get(own) if own else None
        if found is None and own is not None and e.kind != "person":
            found = others.get(f"{e.resource['resourceType']}/{own[1].rsplit('/', 1)[-1]}")
        if found is None and e.kind == "person":
            found = next((h for h in held.values() if h.ref.startswith("Patient/")), None)
        if found is not None:
            out[e.full_url] = found
    return out


def content(resource: Mapping[str, Any]) -> dict[str, Any]:
    """A resource without what the server sets."""
    out = {k: v for k, v in resource.items() if k not in ("id", "meta", "text")}
    meta = {k: v for k, v in resource.get("meta", {}).items() if k not in ("versionId", "lastUpdated", "security")}
    return out | ({"meta": meta} if meta else {})


def pointed(node: Any, names: Mapping[str, str]) -> Any:
    """A copy with references rewritten."""
    if isinstance(node, dict):
        return {k: names.get(v, v) if k == "reference" and isinstance(v, str) else pointed(v, names) for k, v in node.items()}
    if isinstance(node, list):
        return [pointed(n, names) for n in node]
    return node


def _gone(mapped: Mapped, here: Mapping[str, Held], held: Mapping[Ref, Held], read: Reading) -> list[Held]:
    """What the writer's own reading of this plan had and what is not in it any more; nothing that only bears the identifier of a thing of it."""
    main = own_identifier(next(e for e in mapped.entries if e.kind == "plan").resource)
    assert main is not None
    now, had = {h.ref for h in here.values()}, {own_identifier(e.resource) for e in read.entries.values()}
    parts, ours = set(read.placed.values()), bearers(held)
    return [
        h for ref, h in held.items()
        if h.own and h.own[1].startswith(main[1] + "/") and h.own[0] != "person" and h.ref not in now and (ref.id in parts if by_place(h.own) else h.own in had and ours[h.own] is h)
    ]  # fmt: skip


def _stay(plan: Mapping[str, Any], held: Mapping[Ref, Held], read: Reading) -> list[str]:
    """What this writer was shown and leaves out, and stays, for it only bears the id of a thing of the plan: in words, with its name here."""
    ours, said = bearers(held), {dump(item) for items in plan.values() if isinstance(items, list) for item in items}
    shown = {id(item) for items in read.plan.values() if isinstance(items, list) for item in items}
    left = [h for h in held.values() if h.own and not by_place(h.own) and ours[h.own] is not h and h.ref in read.things]
    things = [(h.ref, read.things[h.ref][1]) for h in left]
    return [
        f"Something else here is called `{thing.get('id')}`, too, and is not of this plan: {ref} stays until it is deleted by that name."
        for ref, thing in things if id(thing) in shown and dump(thing) not in said
    ]  # fmt: skip


def _pointing(
    entries: list[dict[str, Any]], mapped: Mapped, here: Mapping[str, Held], patient: str | None
) -> list[dict[str, Any]]:
    """The entries with every reference to what is here already rewritten."""
    names = {url: h.ref for url, h in here.items()}
    if patient is not None:
        names[next(e for e in mapped.entries if e.kind == "person").full_url] = f"Patient/{patient}"
    return [{**e, "resource": pointed(e["resource"], names)} if "resource" in e else e for e in entries]


# -- and back ---------------------------------------------------------------------------------------------------------


async def load(ctx: Context, patient: str) -> dict[str, Any]:
    """The plan of a person as far as this reader may see it. Problem not-found when they see nothing of it."""
    return (await opened(ctx, patient)).plan


async def opened(ctx: Context, patient: str, also: Sequence[str] = ()) -> Opened:
    """As `load`, with what it was made of. `also`: types that are worth opening a record for without any plan.

    Problem not-found when this reader sees nothing of either.
    """
    found = await record(ctx, patient, also)
    read = mapping.read(found, load_tables(), homeless=False, main=await gate.main_plan_of(ctx, f"Patient/{patient}"))
    return Opened(read.plan, found, read.became)


async def record(ctx: Context, patient: str, also: Sequence[str] = ()) -> list[dict[str, Any]]:
    """The resources of a person that this reader may see, and what they refer to in the directory."""
    bodies: list[dict[str, Any]] = []
    params: list[tuple[str, str]] = []
    try:
        while True:
            page = await gate.everything(ctx, patient, params)
            bodies += [strict.decode(e.body) for e in page.entries if e.body is not None]
            if page.next is None:
                return bodies
            params = [("_page", page.next)]
    except Problem as p:
        if p.kind != "not-found" or bodies:
            raise
    found = [h.resource for h in (await holdings(ctx, patient, (*TYPES, *also))).values()]
    if not any(r["resourceType"] in ("CarePlan", *also) for r in found):
        raise not_found()  # a Task one is asked to take on does not tell of a plan
    return found
