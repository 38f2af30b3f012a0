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
from ..domain.identity import agrees, nhs_number, other_given, recognised
from ..domain.problem import Problem
from ..gate import Context
from ..gate.identifying import find_person
from ..gate.naming import ORIGINAL
from .person import begun_by, escaped
from .texts import whose

RELATIVE = re.compile(r"([A-Z][A-Za-z]+)/([A-Za-z0-9\-.]{1,64})(?:/_history/\d+)?\Z")
UNIQUE = re.compile(r"https?://|urn:|sha256:|[A-Za-z]+/[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\Z")  # in all the world
MAY_BE_ANOTHER = (
    "`{}` may be somebody else than who was brought in by that name before: date of birth, family name and given names must agree, and nobody is known by an id and "
    "a name alone. Say their date of birth as it is here, or bring them in under another id. Nothing was written."
)
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
    person: str = ""  # whose it is
    version: int = 0
    stored: dict[str, Any] | None = None



class Refused(Exception):
    """One file's resource was refused."""

    def __init__(self, file: int, problem: Problem) -> None:
        super().__init__(problem.text)
        self.file, self.problem = file, problem



async def find(ctx: Context, pieces: list[Piece]) -> None:
    """Give each piece that was brought in before (or is a known person) its place here. Raises Refused where it is not sure whom a piece means."""
    people = [p for p in pieces if p.resource["resourceType"] == "Patient"]
    tagged = await _tagged(ctx, "Patient", [p.origin for p in people], None)
    for p in people:
        try:
            await _find_person(ctx, p, tagged.get(p.origin, []))
        except Problem as wrong:
            raise Refused(p.file, wrong) from None
    here = {name: p.ref for p in people for name in p.names if p.ref}
    inside = {name for p in people for name in p.names}
    named = await _tagged(ctx, "Patient", sorted(_people_named(pieces) - inside), None)
    groups: dict[tuple[str, str | None], list[Piece]] = {}
    for p in pieces:
        type, person = p.resource["resourceType"], whose(p.resource)
        if type == "Patient":
            continue
        if of_nobody(p.resource):
            groups.setdefault((type, None), []).append(p)
            continue
        if person not in here and (found := named.get(person)):
            here[person] = str(_only(found, person, p.file).ref)
        p.person = here.get(person) or person
        if (ref := here.get(person)) is not None:  # of a new person nothing can be here yet
            groups.setdefault((type, ref), []).append(p)
    for (type, of), group in groups.items():
        tagged = await _tagged(ctx, type, [p.origin for p in group], of)
        for p in group:
            entry = next(iter(tagged.get(p.origin, ())), None)
            if entry is not None and entry.body is not None:
                p.ref, p.version, p.stored = str(entry.ref), entry.version, strict.decode(entry.body)
            elif of is None and (known := await _by_identifier(ctx, type, p.resource)) is not None:
                p.ref = str(known.ref)
                if ctx.actor.operator and known.body is not None:  # whose word holds for the directory, wherever an entry came from
                    p.version, p.stored = known.version, strict.decode(known.body)



async def _find_person(ctx: Context, p: Piece, tagged: list[gate.Entry]) -> None:
    """Problem conflict where this may be somebody else than who was brought in under that name, or it cannot be told which of several it is."""
    if nhs_number(p.resource) is not None and ctx.actor.contributor:
        stored = await find_person(ctx, p.resource)
        if stored is not None:
            p.ref = str(stored.ref)
    bodies = [(e, strict.decode(e.body)) for e in tagged if e.body is not None]
    if p.ref is not None:
        same = [(e, body) for e, body in bodies if str(e.ref) == p.ref]
    else:
        told = [_told(p, body) for _, body in bodies]
        same = [b for b, t in zip(bodies, told, strict=True) if t == "same"]
        if len(same) > 1:
            raise _ambiguous(p.origin)
        if not same and "unsure" in told:
            raise Problem("conflict", MAY_BE_ANOTHER.format(p.origin[:80]), "Patient.id")
    if same:
        p.ref, p.version, p.stored = str(same[0][0].ref), same[0][0].version, same[0][1]



def _told(p: Piece, stored: Mapping[str, Any]) -> str:
    """As `recognised`; an address that is one in all the world names nobody else, unless they are said to be."""
    found = recognised(stored, p.resource)
    if found == "same" or not UNIQUE.match(p.origin):
        return found
    return "same" if agrees(stored, p.resource) or (found == "unsure" and not other_given(stored, p.resource)) else "unsure"



def _only(found: list[gate.Entry], name: str, file: int) -> gate.Entry:
    if len(found) > 1:
        raise Refused(file, _ambiguous(name))
    return found[0]



def _ambiguous(name: str) -> Problem:
    said = f"More than one was brought in as `{name[:80]}`, and it cannot be told which is meant. Bring what is theirs together with the Patient. Nothing was written."
    return Problem("conflict", said, name[:80] if RELATIVE.match(name) else "")



def _people_named(pieces: list[Piece]) -> set[str]:
    return {s for s in (whose(p.resource) for p in pieces) if s.startswith("Patient/")}



async def _tagged(ctx: Context, type: str, origins: Sequence[str], person: str | None) -> dict[str, list[gate.Entry]]:
    """What this asker sees of a type that was brought in under these names; of a local id, which any system may have given to anything, what this sender made."""
    out: dict[str, list[gate.Entry]] = {}
    wanted = sorted(set(origins))
    for at in range(0, len(wanted), AT_ONCE):
        some = wanted[at : at + AT_ONCE]
        params = [("_tag", ",".join(f"{ORIGINAL}|{escaped(o)}" for o in some)), ("_count", "200")]
        if person is not None:
            params.append(("patient", person.removeprefix("Patient/")))
        entries: list[gate.Entry] = []
        while True:
            page = await gate.search(ctx, type, params)
            entries += page.entries
            if page.next is None:
                break
            params = [("_page", page.next)]
        mine = await begun_by(ctx, [e.ref for e in entries]) if entries and not all(UNIQUE.match(o) for o in some) else set()
        for entry in entries:
            for origin in _origins(entry):
                if UNIQUE.match(origin) or entry.ref in mine:
                    out.setdefault(origin, []).append(entry)
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
    """References that lead out of these files: to what an earlier import brought, and by condition. By a local id a thing of a person's is found from what is
    theirs alone. Raises Refused where it leads to several."""
    inside = {name for p in pieces for name in p.names}
    wanted: dict[str, list[Piece]] = {}
    for p in pieces:
        for r in _references(p.resource):
            if r not in inside:
                wanted.setdefault(r, []).append(p)
    out: dict[str, str] = {}
    by_type: dict[str, dict[str, list[Piece]]] = {}
    for r in sorted(wanted):
        m = RELATIVE.match(r)
        if m is not None and ctx.house.r4.has_type(m[1]):
            by_type.setdefault(m[1], {}).setdefault(f"{m[1]}/{m[2]}", []).extend(wanted[r])
    for type, names in by_type.items():
        for name, found in (await _tagged(ctx, type, list(names), None)).items():
            if name in names and (near := found if UNIQUE.match(name) or type == "Patient" else await _of_theirs(ctx, found, names[name])):
                out[name] = str(_only(near, name, names[name][0].file).ref)
    for r in sorted(wanted):
        by_condition = await _conditional(ctx, r) if "?" in r else None
        if by_condition is not None:
            out[r] = by_condition
    return out



async def _of_theirs(ctx: Context, found: list[gate.Entry], pieces: list[Piece]) -> list[gate.Entry]:
    """Of these what is nobody's, or whose the pieces are."""
    people = {p.person for p in pieces}
    stored = await ctx.house.store.get_many([e.ref for e in found])
    return [e for e in found if e.ref in stored and (not stored[e.ref].facts.patients or people & set(stored[e.ref].facts.patients))]



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
