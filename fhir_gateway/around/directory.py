"""A service directory into the store: who offers what, where, and for which postcode districts. All of it by the gate, as whoever brings it.

Twice the same writes nothing. What an operator decided about an organisation (its sector, what it is part of) an import leaves alone.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from .. import gate
from ..domain import strict
from ..domain.openreferral import COVERS, Item, Read, Words, Wrong, resources, system_of
from ..domain.problem import Problem
from ..domain.types import Ref
from ..gate import Context

AT_ONCE: Final = 100  # of one commit, and of the values of one search
DECIDED: Final = ("type", "partOf")  # of an Organization: an operator's word
MOST_GONE: Final = 2  # a directory that says nothing of more than one in so many is taken for a cut one
_ENTRY: Final = re.compile(r"Bundle\.entry\[(\d+)\]\.?")


@dataclass(slots=True)
class Brought:
    """What an import did: how many services it speaks of, resources written and unchanged, services set inactive, and what was wrong."""

    services: int = 0
    written: int = 0
    unchanged: int = 0
    inactive: int = 0
    wrong: list[Wrong] = field(default_factory=list)
    named: list[str] = field(default_factory=list)  # areas that are a name alone, which no postcode finds
    kept: int = 0  # services that are gone from a directory that looks cut: left as they are


@dataclass(slots=True)
class _Piece:
    """One resource on its way in. `where`: the row it comes from, first of those that speak of it."""

    key: str
    resource: dict[str, Any]
    where: str
    short: bool = False
    ref: Ref | None = None
    version: int = 0


async def bring_in(ctx: Context, read: Read, words: Words, progress: Callable[[], None] = lambda: None, *, most_go: bool = False) -> Brought:
    """Every service that was read, in commits of a hundred. `most_go`: also where more than half of what was here is gone. Problem conflict,
    before anything is written, where nobody said what the directory is called and another one is here without a name."""
    done = Brought(len(read.items), wrong=list(read.wrong))
    refs: dict[str, str] = await _known(ctx, words)
    system = system_of(words.source, "service")
    before = [b async for b in _all(ctx, "HealthcareService", [("identifier", f"{system}|"), ("active", "true")])] if read.whole or words.unnamed else []
    if words.unnamed and before:
        await _refuse_another(ctx, read, before, words)
    pieces, services = dict[str, _Piece](), dict[str, _Piece]()
    for item in read.items:
        for key, resource in resources(item, words):
            (services if resource["resourceType"] == "HealthcareService" else pieces).setdefault(key, _Piece(key, resource, item.where, item.short))
    done.named = sorted(k.partition("|")[2] for k in pieces if k.startswith(f"{COVERS}|"))
    for some in (pieces, services):
        for part in _parts([p for p in some.values() if _pointed(p, refs, done)]):
            await _write(ctx, part, refs, done)
            for _ in part if some is services else ():
                progress()
    if read.whole:
        await _gone(ctx, read, system, before, done, most_go)
    return done


async def _refuse_another(ctx: Context, read: Read, before: Sequence[dict[str, Any]], words: Words) -> None:
    """Another directory without a name: it would close the services of the first, as one that has them no more."""
    theirs = {f"{system_of(words.source, 'service')}|{item.id}" for item in read.items}
    if any(f"{i.get('system')}|{i.get('value')}" in theirs for b in before for i in b.get("identifier", ())):
        return
    owners = sorted({f"{system_of(words.source, 'organisation')}|{item.said['organization']['id']}" for item in read.items})
    for at in range(0, len(owners), AT_ONCE):
        if await _here(ctx, "Organization", owners[at : at + AT_ONCE]):
            return
    said = f"Services of other organisations came in before without a name for their directory: say what this one is called, `--source NAME`. If it is the same one, say `--source {words.source}`. Nothing was written."
    raise Problem("conflict", said, "source")


async def _known(ctx: Context, words: Words) -> dict[str, str]:
    """Where the organisations are that the mapping says are here. Problem invalid for one that is not."""
    out: dict[str, str] = {}
    for said in words.organisations.values():
        try:
            out[said] = await gate.meant(ctx, said, ("Organization",))
        except Problem as wrong:
            raise Problem("invalid", f"The mapping says that `{said[:80]}` is here: {wrong.text}", "organisations") from None
    return out


def _parts(pieces: Sequence[_Piece]) -> Iterator[list[_Piece]]:
    """By type, for one search finds one type."""
    for type in ("Organization", "Location", "HealthcareService"):
        mine = [p for p in pieces if p.resource["resourceType"] == type]
        yield from (mine[at : at + AT_ONCE] for at in range(0, len(mine), AT_ONCE))


def _pointed(piece: _Piece, refs: dict[str, str], done: Brought) -> bool:
    """References put where they lead here; False, and said, where what it refers to was refused."""
    lost: list[str] = []

    def there(node: Any) -> Any:
        if isinstance(node, dict):
            return {k: there(v) for k, v in node.items()}
        if isinstance(node, list):
            return [there(v) for v in node]
        if not (isinstance(node, str) and node.startswith("@")):
            return node
        if node[1:] not in refs:
            lost.append(node[1:])
        return refs.get(node[1:], "")

    for name in ("providedBy", "location", "coverageArea"):
        if name in piece.resource:
            piece.resource[name] = there(piece.resource[name])
    if lost:
        done.wrong.append(Wrong(piece.where, f"It refers to what could not be taken: {lost[0].partition('|')[2][:80]}."))
    return not lost


async def _write(ctx: Context, pieces: list[_Piece], refs: dict[str, str], done: Brought) -> None:
    """New ones and changed ones in one commit; one that is refused is named and left out, and the others go on."""
    here = await _here(ctx, pieces[0].resource["resourceType"], [p.key for p in pieces])
    waiting: list[_Piece] = []
    for piece in pieces:
        found = here.get(piece.key)
        if found is not None:
            piece.ref, piece.version = Ref(found["resourceType"], found["id"]), int(found["meta"]["versionId"])
            refs[piece.key] = str(piece.ref)
            piece.resource = _settled(found, piece.resource, piece.short)
            if strict.dump(piece.resource) == strict.dump({k: v for k, v in found.items() if k not in ("id", "meta")}):
                done.unchanged += 1
                continue
        waiting.append(piece)
    while waiting:
        try:
            answer = await gate.transaction(ctx, strict.dump({"resourceType": "Bundle", "type": "transaction", "entry": [_entry(p) for p in waiting]}))
        except Problem as wrong:
            at = _ENTRY.match(wrong.where)
            if at is None:
                raise
            piece = waiting.pop(int(at[1]))
            place = wrong.where[at.end() :].removeprefix("resource.")
            done.wrong.append(Wrong(piece.where, f"{place}: {wrong.text}" if place else wrong.text))
            continue
        for piece, entry in zip(waiting, answer["entry"], strict=True):
            type, id = entry["response"]["location"].split("/_history/")[0].rsplit("/", 2)[-2:]
            refs[piece.key] = f"{type}/{id}"
        done.written += len(waiting)
        return


def _entry(piece: _Piece) -> dict[str, Any]:
    if piece.ref is None:
        return {"resource": piece.resource, "request": {"method": "POST", "url": piece.resource["resourceType"]}}
    body = {"resourceType": piece.ref.type, "id": piece.ref.id, **piece.resource}
    return {"resource": body, "request": {"method": "PUT", "url": str(piece.ref), "ifMatch": f'W/"{piece.version}"'}}


def _settled(found: dict[str, Any], new: dict[str, Any], short: bool) -> dict[str, Any]:
    """The new one in the order of the one that is here, with what an operator decided about it, and with what a `short` one does not say."""
    if short:
        new = {**{k: v for k, v in found.items() if k not in ("id", "meta")}, **(new if found["resourceType"] == "HealthcareService" else {})}
    elif found["resourceType"] == "Organization":
        theirs = [i for i in found.get("identifier", ()) if i not in new["identifier"]]
        new = {**new, "identifier": [*new["identifier"], *theirs], **{k: found[k] for k in DECIDED if k in found}}
    return {**{k: new[k] for k in found if k in new}, **{k: v for k, v in new.items() if k not in found}}


async def _here(ctx: Context, type: str, keys: Iterable[str]) -> dict[str, dict[str, Any]]:
    """By key, what is here already."""
    named = list(keys)
    asked = ",".join(f"{k.partition('|')[0]}|{_escaped(k.partition('|')[2])}" for k in named)
    out: dict[str, dict[str, Any]] = {}
    for body in [b async for b in _all(ctx, type, [("identifier", asked)])]:
        for i in body.get("identifier", ()):
            out.setdefault(f"{i.get('system', '')}|{i.get('value', '')}", body)
    return {k: out[k] for k in named if k in out}


async def _all(ctx: Context, type: str, params: list[tuple[str, str]]) -> Any:
    """Every one that a search finds, page by page."""
    page = await gate.search(ctx, type, [*params, ("_count", "200")])
    while True:
        for entry in page.entries:
            if entry.body and entry.mode == "match":
                yield strict.decode(entry.body)
        if page.next is None:
            return
        page = await gate.search(ctx, type, [("_page", page.next)])


def _escaped(text: str) -> str:
    """A value as a search takes it (https://hl7.org/fhir/R4/search.html#escaping)."""
    return re.sub(r"([\\$,|])", r"\\\1", text)


async def _gone(ctx: Context, read: Read, system: str, before: Sequence[dict[str, Any]], done: Brought, most_go: bool) -> None:
    """Services that this directory had `before` and has no more are set inactive: a referral to one still says to whom it was. Those whose row
    is wrong are not gone; and where more than half would go, none does."""
    there = {item.id for item in read.items} | {w.id for w in read.wrong}
    gone = [b for b in before if not any(i.get("system") == system and i.get("value") in there for i in b.get("identifier", ()))]
    if any(not w.id for w in read.wrong) and gone:  # a row without a name may be any of them
        done.kept = len(gone)
        return
    if len(gone) * MOST_GONE > len(before) and not most_go:
        done.kept = len(gone)
        return
    for at in range(0, len(gone), AT_ONCE):
        part = gone[at : at + AT_ONCE]
        pieces = [
            _Piece("", {k: v for k, v in b.items() if k not in ("id", "meta")} | {"active": False}, "", False, Ref("HealthcareService", b["id"]), int(b["meta"]["versionId"]))
            for b in part
        ]  # fmt: skip
        await gate.transaction(ctx, strict.dump({"resourceType": "Bundle", "type": "transaction", "entry": [_entry(p) for p in pieces]}))
        done.inactive += len(part)


__all__ = ["Brought", "Item", "bring_in"]
