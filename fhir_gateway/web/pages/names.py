"""Names of people and places from the directory, which holds nothing about any patient."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import msgspec

from ... import gate
from ...gate import Context
from .words import _

DIRECTORY = ("Organization", "Practitioner", "PractitionerRole")


@dataclass(frozen=True, slots=True)
class Choice:
    """Somebody in the directory: the reference, the name, and what tells two of one name apart."""

    ref: str
    name: str
    what: str = ""


async def bodies(ctx: Context, type: str, params: list[tuple[str, str]]) -> list[dict[str, Any]]:
    """Every resource a search finds on its first page, decoded."""
    page = await gate.search(ctx, type, params)
    return [msgspec.json.decode(e.body) for e in page.entries if e.body and e.mode == "match"]


async def names(ctx: Context, refs: Iterable[str | None]) -> dict[str, str]:
    """`Type/id` or identifier `system|value` to a name, for those the directory knows."""
    wanted: dict[str, list[str]] = {}
    identifiers = []
    for ref in {r for r in refs if r and "," not in r}:
        kind, _, id = ref.partition("/")
        if "|" in ref:
            identifiers.append(ref)
        elif kind in DIRECTORY and id and "/" not in id:
            wanted.setdefault(kind, []).append(id)
    out = {}
    for kind, ids in wanted.items():
        for some in _batches(ids):
            for body in await bodies(ctx, kind, [("_id", ",".join(some)), ("_count", "50")]):
                out[f"{kind}/{body['id']}"] = called(body)
    for some in _batches(identifiers):
        for kind in ("Organization", "Practitioner"):
            for body in await bodies(ctx, kind, [("identifier", ",".join(some)), ("_count", "50")]):
                for i in body.get("identifier", []):
                    out[f"{i.get('system', '')}|{i.get('value', '')}"] = called(body)
    return out


def _batches(items: list[str]) -> Iterator[list[str]]:
    ordered = sorted(items)
    for i in range(0, len(ordered), 50):
        yield ordered[i : i + 50]


def called(resource: dict[str, Any]) -> str:
    """The name of an organisation, practitioner, role or patient."""
    name = resource.get("name")
    if isinstance(name, str):
        return name
    if isinstance(name, list) and name:
        best = next((n for n in name if n.get("use") in ("usual", "official")), name[0])
        parts = [*best.get("prefix", []), *best.get("given", []), best.get("family", "")]
        return str(best.get("text") or " ".join(p for p in parts if p))
    practitioner = resource.get("practitioner") or {}
    return str(practitioner.get("display") or role_of(resource) or resource.get("id", ""))


def role_of(role: dict[str, Any]) -> str:
    codes = [
        c.get("text") or next((x.get("display") for x in c.get("coding", []) if x.get("display")), "") for c in role.get("code", [])
    ]
    return ", ".join(c for c in codes if c)


async def find(ctx: Context, text: str) -> list[Choice]:
    """People, roles and organisations whose name has this in it: people first, then roles at a place, then whole places."""
    text = literal(text)
    if not text:
        return []
    people = await bodies(ctx, "Practitioner", [("name:contains", text), ("_count", "20")])
    places = await bodies(ctx, "Organization", [("name:contains", text), ("_count", "20")])
    roles = await _roles(ctx, [p["id"] for p in people])
    out = [Choice(f"Practitioner/{p['id']}", called(p), roles.get(p["id"], "")) for p in people]
    out += await _in_a_role(ctx, text, [o["id"] for o in places])
    return out + [Choice(f"Organization/{o['id']}", called(o), _kind_of(o) or _("everybody who works there")) for o in places]


def literal(text: str) -> str:
    """What somebody typed as the value of a search: its own signs are none (https://hl7.org/fhir/R4/search.html#escaping)."""
    return re.sub(r"([\\$,|])", r"\\\1", "".join(c for c in text if c.isprintable())).strip()


async def _in_a_role(ctx: Context, text: str, places: list[str]) -> list[Choice]:
    """`Any nurse at Example Trust`: roles that are called so, and every role at the places that were found."""
    found = await bodies(ctx, "PractitionerRole", [("role:text", text), ("_count", "50")])
    if places:
        found += await bodies(ctx, "PractitionerRole", [("organization", ",".join(f"Organization/{p}" for p in places)), ("_count", "100")])
    pairs = {((r.get("organization") or {}).get("reference", ""), c): w for r in found if r.get("active") is not False for c, w in _coded(r)}
    where = await names(ctx, {place for place, _code in pairs})
    called_so = {
        f"role:{place} {code}": _("Any {role} at {place}").format(role=_lower(word), place=where[place])
        for (place, code), word in sorted(pairs.items()) if place in where
    }  # fmt: skip
    return [Choice(ref, name, _("whoever has this job there, now and later")) for ref, name in called_so.items()][:20]


def _coded(role: dict[str, Any]) -> list[tuple[str, str]]:
    """(`system|code`, words) of what somebody does."""
    out = []
    for concept in role.get("code", []):
        for c in concept.get("coding", []):
            if c.get("system") and c.get("code"):
                out.append((f"{c['system']}|{c['code']}", str(c.get("display") or concept.get("text") or c["code"])))
    return out


def _lower(word: str) -> str:
    """`Social worker` within a sentence; `GP` stays."""
    return word[:1].lower() + word[1:] if word[1:2].islower() else word


async def role_word(ctx: Context, code: str) -> str:
    """What a role with this `system|code` is called where somebody has it; else its code."""
    found = await bodies(ctx, "PractitionerRole", [("role", code), ("_count", "1")]) if "," not in code else []
    word = next((w for r in found for c, w in _coded(r) if c == code), code.rpartition("|")[2])
    return _lower(word)


async def _roles(ctx: Context, practitioners: list[str]) -> dict[str, str]:
    """What each of these people does and where: Social worker, Example County Council."""
    if not practitioners:
        return {}
    params = [("practitioner", ",".join(f"Practitioner/{p}" for p in practitioners)), ("_count", "100")]
    roles = await bodies(ctx, "PractitionerRole", params)
    where = await names(ctx, [(r.get("organization") or {}).get("reference") for r in roles])
    out: dict[str, str] = {}
    for r in roles:
        who = (r.get("practitioner") or {}).get("reference", "").removeprefix("Practitioner/")
        place = where.get((r.get("organization") or {}).get("reference", ""), "")
        text = ", ".join(t for t in (role_of(r), place) if t)
        out[who] = "; ".join(t for t in (out.get(who), text) if t)
    return out


def _kind_of(organisation: dict[str, Any]) -> str:
    for t in organisation.get("type", []):
        text = t.get("text") or next((c.get("display") for c in t.get("coding", []) if c.get("display")), "")
        if text:
            return str(text)
    return ""
