"""FHIR that nobody here wrote, into the record: Bundles of any type, single resources, one a line. Idempotent by where it came from.

Each resource is tagged `https://fhir-gateway.example/id/original|<Type/id, or its fullUrl, or its digest>`: a tag may stand on every
type of resource, is searchable, and takes no place that belongs to its author (an `identifier` or `meta.source` would).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import Any
from urllib.parse import quote

from ..domain import mapping
from ..domain.identity import recognised
from ..domain.mapping.carrier import dump
from ..domain.mapping.names import URIS
from ..domain.problem import Problem
from ..gate import Context
from ..gate.naming import ORIGINAL
from ..tables import load_tables
from .found_here import RELATIVE, UNIQUE, Piece, Refused, find, led_outside, of_nobody, said_by_condition, whose
from .keeping import Saved, content, pointed, save
from .laying import contribute
from .person import escaped
from .sending import send
from .texts import from_partner, is_plan, read_plan, read_resources

NOT_TAKEN = frozenset({"AuditEvent", "Bundle", "Consent", "OperationOutcome", "Parameters", "MessageHeader", "Subscription"})
_ENTRY = re.compile(r"Bundle\.entry\[(\d+)\]")


@dataclass(slots=True)
class _Tally:
    patient: str | None = None
    written: int = 0
    unchanged: int = 0
    refused: int = 0
    unmapped: list[dict[str, str]] = field(default_factory=list)
    refs: dict[str, str] = field(default_factory=dict)

    def saved(self) -> Saved:
        return Saved(self.patient, self.written, self.unchanged, self.refused, self.unmapped, refs=self.refs)


async def bring_in(
    ctx: Context, data: bytes, source_name: str, progress: Callable[[], None] | None = None, *, dry_run: bool = False,
    partner: mapping.Partner | None = None,
) -> Saved:  # fmt: skip
    """One file: a plan, FHIR, or a partner's own document. All of it in one commit, or a Problem that names the file and the place."""
    try:
        if partner is not None:
            plan, rows = from_partner(read_plan(data), partner)
            try:
                saved = await contribute(ctx, plan, by=partner.name, own_ids=partner.own_ids, dry_run=dry_run)
            except Problem as p:
                raise _in_their_words(p, rows) from None
            saved = replace(saved, unmapped=[r for r in rows if r["why"]])
        elif is_plan(data):
            saved = await save(ctx, read_plan(data), dry_run=dry_run)
        else:
            (saved,) = await _bring(ctx, [(source_name, read_resources(data, source_name))], dry_run)
    except Refused as refused:
        raise _named(refused.problem, source_name) from None
    except Problem as p:
        raise _named(p, source_name) from None
    if progress is not None:
        progress()
    return saved


async def bring_in_files(
    ctx: Context, files: Iterable[tuple[str, bytes]], progress: Callable[[], None] | None = None, *, dry_run: bool = False,
    partner: mapping.Partner | None = None,
) -> list[Saved | Problem]:  # fmt: skip
    """Many files, in the order given, each asked for when the one before is in. Bundles, lines and plans each in a commit of their own;
    files of one resource together, so that they find each other whatever their order. A file that is refused is answered by its Problem
    and hinders no other."""
    out: list[Saved | Problem | None] = []
    names: list[str] = []
    single: list[tuple[int, list[dict[str, Any]]]] = []
    for n, (name, data) in enumerate(files):
        out.append(None)
        names.append(name)
        try:
            if partner is None and not is_plan(data):
                resources = read_resources(data, name)
                if len(resources) == 1 and "resourceType" in resources[0]:
                    single.append((n, resources))
                    continue
            out[n] = await bring_in(ctx, data, name, dry_run=dry_run, partner=partner)
        except Problem as p:
            out[n] = p
        if progress is not None:
            progress()
    await _together(ctx, names, single, out, dry_run)
    for _ in single if progress is not None else ():
        progress()  # type: ignore[misc]
    return [o if o is not None else Saved(None) for o in out]


async def _together(
    ctx: Context, names: Sequence[str], single: list[tuple[int, list[dict[str, Any]]]], out: list[Any], dry_run: bool
) -> None:
    """Files of one resource each, in one commit; what is refused is left out and the rest tried again. Where it cannot be told
    whose fault it is, each goes in by itself."""
    waiting = list(single)
    while waiting:
        try:
            saved = await _bring(ctx, [(names[n], resources) for n, resources in waiting], dry_run)
        except Refused as refused:
            n, _ = waiting.pop(refused.file)
            out[n] = _named(refused.problem, names[n])
            continue
        except Problem as p:
            if len(waiting) == 1:
                out[waiting[0][0]] = _named(p, names[waiting[0][0]])
                return
            for one in waiting:
                await _together(ctx, names, [one], out, dry_run)
            return
        for (n, _), s in zip(waiting, saved, strict=True):
            out[n] = s
        return


def _one_person_a_name(pieces: list[Piece], files: int) -> None:
    """What refers to `Patient/2` must mean one person. Raises Refused for the file that brings another of that name."""
    called: dict[str, Piece] = {}
    for piece in pieces:
        if piece.resource["resourceType"] != "Patient":
            continue
        for name in piece.names:
            first = called.setdefault(name, piece)
            if recognised(first.resource, piece.resource) != "same":
                said = f"Two different people are called `{name[:80]}` in what you bring: bring each with what is theirs, one after the other."
                problem = Problem("conflict", said, "Patient.id")
                raise Refused(piece.file, problem) if files > 1 else problem


def _in_their_words(p: Problem, rows: Iterable[Mapping[str, str]]) -> Problem:
    """What is wrong in a partner's document, with what they call the field."""
    theirs = {row["to"]: row["path"] for row in rows if row["to"]}
    told = [replace(i, text=f"{i.text} (`{theirs[i.where]}` of theirs)") if i.where in theirs else i for i in p.issues]
    text = told[0].text if len(told) == 1 and p.text == p.issues[0].text else p.text
    return Problem(p.kind, text, p.where, issues=told, headers=p.headers, noted=p.noted)


def _named(p: Problem, name: str) -> Problem:
    if p.text.startswith(name):
        return p
    return Problem(p.kind, f"{name}: {p.text}", p.where, issues=p.issues if p.issues[0].text != p.text else (), headers=p.headers)


async def _bring(ctx: Context, files: Sequence[tuple[str, list[dict[str, Any]]]], dry_run: bool) -> list[Saved]:
    """All resources of these files in one commit; what each file came to."""
    tallies = [_Tally() for _ in files]
    pieces: list[Piece] = []
    for n, (_, resources) in enumerate(files):
        for given in resources:
            try:
                piece = _piece(given, n)
            except Problem as p:
                raise Refused(n, p) from None
            if piece.resource["resourceType"] in NOT_TAKEN:
                tallies[n].refused += 1
                why = "a consent is the person's own to write" if piece.resource["resourceType"] == "Consent" else "not taken in by an import"
                tallies[n].unmapped.append({"path": piece.origin, "to": "", "why": why})
            else:
                pieces.append(piece)
    _one_person_a_name(pieces, len(files))
    await find(ctx, pieces)
    names = {name: p.ref for p in pieces for name in p.names if p.ref is not None}
    outside = await led_outside(ctx, pieces)
    entries, owners = _entries(pieces, names | outside, tallies, directory=ctx.actor.operator)
    refs: dict[int, str] = {}
    if entries and not dry_run:
        try:
            done = await send(ctx, entries)
        except Problem as p:
            at = _ENTRY.match(p.where)
            if at is None:
                raise
            raise Refused(owners[int(at[1])].file, _placed(p, owners)) from None
        for piece, (ref, _), new in zip(owners, done.refs, done.new, strict=True):
            refs[id(piece)] = str(ref)
            tallies[piece.file].unchanged += not new
            tallies[piece.file].written += new
    for piece in pieces:
        here = refs.get(id(piece)) or piece.ref
        if here and not dry_run:
            tallies[piece.file].refs[piece.origin] = here
    _summarise(files, pieces, refs, names | outside, tallies)
    return [t.saved() for t in tallies]


def _placed(p: Problem, owners: Sequence[Piece]) -> Problem:
    """The same, with places of the files that were brought in for those of the transaction we made of them."""

    def there(where: str) -> str:
        at = _ENTRY.match(where)
        if at is None:
            return where
        place, inside = owners[int(at[1])].place, where[at.end() :].removeprefix(".resource").removeprefix(".")
        return f"{place}: {inside}" if place and inside else place or inside

    return Problem(p.kind, p.text, there(p.where), issues=[replace(i, where=there(i.where)) for i in p.issues], headers=p.headers)


def _piece(given: Mapping[str, Any], file: int) -> Piece:
    resource = dict(given["resource"]) if "resource" in given and "resourceType" not in given else dict(given)
    if not isinstance(resource.get("resourceType"), str):
        raise Problem("malformed", "A resource without `resourceType`.", "resourceType")
    url = str(given.get("fullUrl", "")) if "resource" in given else ""
    plain = f"{resource['resourceType']}/{resource['id']}" if isinstance(resource.get("id"), str) else ""
    digest = "sha256:" + sha256(dump(resource).encode()).hexdigest()
    origin = url if url.startswith("http") else plain or url or digest
    names = tuple(dict.fromkeys(n for n in (url, plain) if n))
    resource.pop("id", None)
    meta = {k: v for k, v in resource.get("meta", {}).items() if k not in ("versionId", "lastUpdated")}
    meta["tag"] = [*meta.get("tag", ()), {"system": ORIGINAL, "code": origin}]
    resource["meta"] = meta
    return Piece(resource, origin, names, file, str(given.get("place", "")) if "resource" in given else "")


# -- references -------------------------------------------------------------------------------------------------------


def _named_only(node: Any, inside: set[str]) -> Any:
    """References to what is not here and cannot be: a `urn:` or a condition becomes a reference by identifier."""
    if isinstance(node, list):
        return [_named_only(n, inside) for n in node]
    if not isinstance(node, dict):
        return node
    out = {k: _named_only(v, inside) for k, v in node.items()}
    target = out.get("reference")
    if isinstance(target, str) and target not in inside and (target.startswith("urn:") or "?" in target):
        condition = said_by_condition(target)
        identifier = {"system": condition[1], "value": condition[2]} if condition else {"system": URIS, "value": target}
        kept = {k: v for k, v in out.items() if k != "reference"}
        kept.setdefault("identifier", identifier)
        return kept | ({"type": condition[0]} if condition and "type" not in kept else {})
    return out


def _entries(
    pieces: list[Piece], names: Mapping[str, str], tallies: list[_Tally], *, directory: bool
) -> tuple[list[dict[str, Any]], list[Piece]]:
    """What must be written, and whose it is. `directory`: whoever brings it may change entries of the directory; of others a change is
    refused, and said."""
    urls = {id(p): "urn:uuid:" + _uuid(p.origin, n) for n, p in enumerate(pieces)}
    fresh = {name: urls[id(p)] for p in pieces for name in p.names if p.ref is None}
    inside = set(urls.values())
    entries: list[dict[str, Any]] = []
    owners: list[Piece] = []
    for p in sorted(pieces, key=_rank):
        resource = _named_only(pointed(_without_history(p.resource), {**fresh, **names}), inside)
        type = resource["resourceType"]
        if p.ref is None:
            request = {"method": "POST", "url": type}
            if UNIQUE.match(p.origin):  # what this writer brought in and may not read any more is still not made twice
                request["ifNoneExist"] = f"_tag={quote(ORIGINAL + '|' + escaped(p.origin), safe='')}"
            entries.append({"fullUrl": urls[id(p)], "resource": resource, "request": request})
            owners.append(p)
        elif p.stored is None or dump(content(resource := _with_origins(resource, p.stored))) == dump(content(p.stored)):
            tallies[p.file].unchanged += 1
        elif of_nobody(p.resource) and not directory:
            tallies[p.file].refused += 1
            tallies[p.file].unmapped.append({"path": p.origin, "to": "", "why": f"only an operator changes what is here: {p.ref} stays as it is"})
        else:
            new = {"resourceType": type, "id": p.ref.split("/")[1], **{k: v for k, v in resource.items() if k != "resourceType"}}
            entries.append({"resource": new, "request": {"method": "PUT", "url": p.ref, "ifMatch": f'W/"{p.version}"'}})
            owners.append(p)
    return entries, owners


def _with_origins(resource: dict[str, Any], stored: Mapping[str, Any]) -> dict[str, Any]:
    """An entry of the directory goes by every name under which it was brought in."""
    if not of_nobody(resource):
        return resource
    meta, had = resource.get("meta", {}), [t for t in stored.get("meta", {}).get("tag", ()) if t.get("system") == ORIGINAL]
    new = [t for t in meta.get("tag", ()) if t not in had]
    return {**resource, "meta": {**meta, "tag": [*had, *new]}}


def _rank(p: Piece) -> int:
    """The directory and the person come before what speaks of them."""
    return 0 if of_nobody(p.resource) else 1 if p.resource["resourceType"] == "Patient" else 2


def _without_history(node: Any) -> Any:
    if isinstance(node, dict):
        return {
            k: v.split("/_history/", 1)[0] if k == "reference" and isinstance(v, str) and RELATIVE.match(v) else _without_history(v)
            for k, v in node.items()
        }
    return [_without_history(n) for n in node] if isinstance(node, list) else node


def _uuid(origin: str, n: int) -> str:
    h = sha256(f"{n} {origin}".encode()).hexdigest()
    return f"{h[:8]}-{h[8:12]}-8{h[13:16]}-a{h[17:20]}-{h[20:32]}"


# -- what it came to --------------------------------------------------------------------------------------------------


def _summarise(
    files: Sequence[tuple[str, list[dict[str, Any]]]], pieces: list[Piece], refs: Mapping[int, str], names: Mapping[str, str],
    tallies: list[_Tally],
) -> None:  # fmt: skip
    """Whose record each file is, and what of it a plan has no place for."""
    people = {n: refs.get(id(p)) or p.ref for p in pieces if p.resource["resourceType"] == "Patient" for n in p.names}
    for n, (_, resources) in enumerate(files):
        mine = [p for p in pieces if p.file == n]
        person = next((refs.get(id(p)) or p.ref for p in mine if p.resource["resourceType"] == "Patient"), None)
        person = person or next((r for r in (people.get(s) or names.get(s) for s in (whose(p.resource) for p in mine)) if r), None)
        tallies[n].patient = person.removeprefix("Patient/") if person else None
        if mine:
            tallies[n].unmapped += mapping.read(resources, load_tables()).homeless
