"""What of the resources that are brought in is here already, and where the references lead that lead out of them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .. import gate
from ..domain import strict
from ..domain.directory import NO_PATIENT_DATA
from ..domain.groups import of_staff
from ..domain.identity import agrees, contradicts, nhs_number
from ..domain.problem import Problem
from ..gate import Context
from ..gate.identifying import find_person
from ..gate.naming import ORIGINAL
from .keeping import escaped
from .texts import whose

RELATIVE = re.compile(r"([A-Z][A-Za-z]+)/([A-Za-z0-9\-.]{1,64})(?:/_history/\d+)?\Z")
AT_ONCE = 40  # OR'd values in one search


@dataclass(slots=True)
class Piece:
    """One resource on its way in."""

    resource: dict[str, Any]
    origin: str  # what it was called where it came from
    names: tuple[str, ...]
    file: int
    place: str = ""  # where in its file it stands, when not alone
    ref: str | None = None  # where it is here
    version: int = 0
    stored: dict[str, Any] | None = None



class Refused(Exception):
    """One file's resource was refused."""

    def __init__(self, file: int, problem: Problem) -> None:
        super().__init__(problem.text)
        self.file, self.problem = file, problem



async def find(ctx: Context, pieces: list[Piece]) -> None:
    """Give each piece that was brought in before (or is a known person) its place here."""
    people = [p for p in pieces if p.resource["resourceType"] == "Patient"]
    tagged = await _tagged(ctx, "Patient", [p.origin for p in people], None)
    for p in people:
        try:
            await _find_person(ctx, p, tagged)
        except Problem as wrong:
            raise Refused(p.file, wrong) from None
    here = {name: p.ref for p in people for name in p.names if p.ref}
    here |= {n: str(e.ref) for n, e in (await _tagged(ctx, "Patient", sorted(_people_named(pieces) - here.keys()), None)).items()}
    groups: dict[tuple[str, str | None], list[Piece]] = {}
    for p in pieces:
        type = p.resource["resourceType"]
        if type == "Patient":
            continue
        if of_nobody(p.resource):
            groups.setdefault((type, None), []).append(p)
        else:
            ref = here.get(whose(p.resource))
            if ref is not None:  # of a new person nothing can be here yet
                groups.setdefault((type, ref), []).append(p)
    for (type, person), group in groups.items():
        found = await _tagged(ctx, type, [p.origin for p in group], person)
        for p in group:
            entry = found.get(p.origin)
            if entry is not None and entry.body is not None:
                p.ref, p.version, p.stored = str(entry.ref), entry.version, strict.decode(entry.body)
            elif person is None and (known := await _by_identifier(ctx, type, p.resource)) is not None:
                p.ref = str(known.ref)
                if ctx.actor.operator and known.body is not None:  # whose word holds for the directory, wherever an entry came from
                    p.version, p.stored = known.version, strict.decode(known.body)



async def _find_person(ctx: Context, p: Piece, tagged: Mapping[str, gate.Entry]) -> None:
    if nhs_number(p.resource) is not None and ctx.actor.contributor:
        stored = await find_person(ctx, p.resource)
        if stored is not None:
            p.ref = str(stored.ref)
    entry = tagged.get(p.origin)
    if entry is None or entry.body is None or (p.ref is not None and p.ref != str(entry.ref)):
        return
    body = strict.decode(entry.body)
    if p.ref is not None or agrees(body, p.resource) or not contradicts(body, p.resource):
        p.ref, p.version, p.stored = str(entry.ref), entry.version, body



def _people_named(pieces: list[Piece]) -> set[str]:
    return {s for s in (whose(p.resource) for p in pieces) if s.startswith("Patient/")}



async def _tagged(ctx: Context, type: str, origins: Sequence[str], person: str | None) -> dict[str, gate.Entry]:
    """What this asker sees of a type that was brought in under these names."""
    out: dict[str, gate.Entry] = {}
    wanted = sorted(set(origins))
    for at in range(0, len(wanted), AT_ONCE):
        values = ",".join(f"{ORIGINAL}|{escaped(o)}" for o in wanted[at : at + AT_ONCE])
        params = [("_tag", values), ("_count", "200")]
        if person is not None:
            params.append(("patient", person.removeprefix("Patient/")))
        for entry in (await gate.search(ctx, type, params)).entries:
            for origin in _origins(entry):
                out.setdefault(origin, entry)
    return out



def _origins(entry: gate.Entry) -> list[str]:
    tags = strict.decode(entry.body or b"{}").get("meta", {}).get("tag", ())
    return [t["code"] for t in tags if t.get("system") == ORIGINAL and "code" in t]



async def _by_identifier(ctx: Context, type: str, resource: Mapping[str, Any]) -> gate.Entry | None:
    """An organisation or practitioner that is here under one of its identifiers."""
    for i in resource.get("identifier", ()):
        if isinstance(i, dict) and i.get("system") and i.get("value"):
            hits = (await gate.search(ctx, type, [("identifier", f"{i['system']}|{escaped(str(i['value']))}")])).entries
            if len(hits) == 1:
                return hits[0]
    return None



async def led_outside(ctx: Context, pieces: list[Piece]) -> dict[str, str]:
    """References that lead out of these files: to what an earlier import brought, and by condition."""
    inside = {name for p in pieces for name in p.names}
    wanted = {r for p in pieces for r in _references(p.resource) if r not in inside}
    out: dict[str, str] = {}
    by_type: dict[str, list[str]] = {}
    for r in sorted(wanted):
        m = RELATIVE.match(r)
        if m is not None and ctx.house.r4.has_type(m[1]):
            by_type.setdefault(m[1], []).append(f"{m[1]}/{m[2]}")
    for type, names in by_type.items():
        out |= {name: str(e.ref) for name, e in (await _tagged(ctx, type, names, None)).items()}
    for r in sorted(wanted):
        found = await _conditional(ctx, r) if "?" in r else None
        if found is not None:
            out[r] = found
    return out



async def _conditional(ctx: Context, reference: str) -> str | None:
    type, system, value = said_by_condition(reference) or ("", "", "")
    if not type or not ctx.house.r4.has_type(type):
        return None
    hits = (await gate.search(ctx, type, [("identifier", f"{system}|{escaped(value)}")])).entries
    return str(hits[0].ref) if len(hits) == 1 else None



def said_by_condition(reference: str) -> tuple[str, str, str] | None:
    """`Practitioner?identifier=system|value`"""
    type, _, query = reference.partition("?")
    if not query.startswith("identifier=") or "&" in query or "|" not in query:
        return None
    system, _, value = query.removeprefix("identifier=").rpartition("|")
    return type, system, value



def _references(node: Any) -> list[str]:
    if isinstance(node, dict):
        own = [node["reference"]] if isinstance(node.get("reference"), str) else []
        return own + [r for v in node.values() for r in _references(v)]
    return [r for n in node for r in _references(n)] if isinstance(node, list) else []



def of_nobody(resource: Mapping[str, Any]) -> bool:
    """The directory and its like, a group of staff too."""
    return resource["resourceType"] in NO_PATIENT_DATA or of_staff(resource)
