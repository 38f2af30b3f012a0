"""Look for somebody in the directory: people, kinds of job and places whose name, job or place has every word that was typed."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from ...domain.directory import Directory
from ...domain.organisations import Role
from ...domain.periods import covers, micros
from ...domain.search.values import fold
from ...gate import Context
from ...gate.context import directory_now
from .names import Choice, bodies, called, names, role_of, within
from .words import _

MOST = 20  # of each kind
LONGEST = 8  # words


async def find(ctx: Context, text: str) -> list[Choice]:
    """People first, then jobs at a place, then whole places. `rosa lind`, `social worker`, `nurse community` and `kindly` all find."""
    typed = re.split(r"[\s,;]+", text)
    words = list(dict.fromkeys(w for w in map(literal, typed) if w))[:LONGEST]
    if not words:
        return []
    named = [("name:contains", w) for w in words]
    people = await bodies(ctx, "Practitioner", [*named, ("_count", str(MOST))])
    places = await bodies(ctx, "Organization", [*named, ("_count", str(MOST))])
    directory, _epoch = await directory_now(ctx.house)
    now, asked = micros(ctx.at), [f for f in map(fold, typed) if f][:LONGEST]
    roles = [r for r in directory.roles.values() if covers(r.low, r.high, now)]
    at_work = sorted(_by_job(directory, roles, asked) - {f"Practitioner/{p['id']}" for p in people})[:MOST]
    known = {f"Practitioner/{p['id']}": called(p) for p in people} | await names(ctx, at_work)
    what = await _does(ctx, known)
    out = [Choice(ref, name, what.get(ref, "")) for ref, name in known.items()]
    out += _jobs(directory, roles, asked)
    return out + [Choice(f"Organization/{o['id']}", called(o), whole(o)) for o in places]


def literal(word: str) -> str:
    """What somebody typed as the value of a search: its own signs are none (https://hl7.org/fhir/R4/search.html#escaping)."""
    return re.sub(r"([\\$,|])", r"\\\1", "".join(c for c in word if c.isprintable())).strip()


def _by_job(directory: Directory, roles: Iterable[Role], asked: list[str]) -> set[str]:
    """Practitioners whose name, job and place have every word between them; a place alone would be everybody who works there."""
    out = set()
    for r in roles:
        title = fold(" ".join(word for _code, word in r.titles))
        if r.practitioner and title and any(w in title for w in asked):
            all_of_it = f"{title} {fold(directory.people.get(r.practitioner, ('',))[0])} {fold(_place(directory, r))}"
            if all(w in all_of_it for w in asked):
                out.add(r.practitioner)
    return out


def _jobs(directory: Directory, roles: Iterable[Role], asked: list[str]) -> list[Choice]:
    """`Any nurse at Example Trust`: kinds of job as operators wrote them, each where somebody has it."""
    called_so = {}
    for r in roles:
        place = _place(directory, r)
        for code, word in r.titles if place else ():
            if all(w in fold(f"{word} {place}") for w in asked):
                called_so[f"role:{r.organisation} {code}"] = _("Any {role} at {place}").format(role=within(word), place=place)
    return [Choice(ref, name, _("whoever has this job there, now and later")) for ref, name in sorted(called_so.items(), key=lambda c: c[1].lower())][:MOST]


def _place(directory: Directory, role: Role) -> str:
    here = directory.organisations.get(role.organisation or "")
    return here.name if here else ""


async def _does(ctx: Context, practitioners: Iterable[str]) -> dict[str, str]:
    """What each of these people does and where: Social worker, Example County Council."""
    asked = ",".join(practitioners)
    roles = await bodies(ctx, "PractitionerRole", [("practitioner", asked), ("_count", "100")]) if asked else []
    where = await names(ctx, [(r.get("organization") or {}).get("reference") for r in roles])
    out: dict[str, str] = {}
    for r in roles:
        who = (r.get("practitioner") or {}).get("reference", "")
        place = where.get((r.get("organization") or {}).get("reference", ""), "")
        text = ", ".join(t for t in (role_of(r), place) if t)
        out[who] = "; ".join(t for t in (out.get(who), text) if t)
    return out


def whole(organisation: dict[str, Any]) -> str:
    """What is said below a whole organisation: what kind it is, and that it is everybody there."""
    kind = _kind_of(organisation)
    everybody = _("The whole organisation: all who work there, now and later")
    return f"{kind}. {everybody}" if kind else everybody


def _kind_of(organisation: dict[str, Any]) -> str:
    for t in organisation.get("type", []):
        text = t.get("text") or next((c.get("display") for c in t.get("coding", []) if c.get("display")), "")
        if text:
            return str(text)
    return ""


__all__ = ["find", "literal", "whole"]
