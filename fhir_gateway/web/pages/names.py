"""Names of people and places from the directory, which holds nothing about any patient."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from ... import gate
from ...domain import strict
from ...domain.directory import ODS_CODE
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
    return [strict.decode(e.body) for e in page.entries if e.body and e.mode == "match"]


async def names(ctx: Context, refs: Iterable[str | None]) -> dict[str, str]:
    """`Type/id` or identifier `system|value` to a name, for those the directory knows."""
    wanted: dict[str, list[str]] = {}
    identifiers = []
    for ref in {r for r in refs if r and "," not in r}:
        kind, _, id = ref.partition("/")
        if "|" in ref:
            identifiers.append(ref)
        elif kind in (*DIRECTORY, "Group") and id and "/" not in id:
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
    return str(practitioner.get("display") or role_of(resource) or nameless(resource))


def nameless(resource: dict[str, Any]) -> str:
    """What somebody is called whose name is not written down: never by an id, which says nothing to anybody."""
    kin = kin_of(resource) if resource.get("resourceType") == "RelatedPerson" else ""
    if kin:
        return _("{kin}, no name written down").format(kin=kin[:1].upper() + kin[1:])
    return _(NAMELESS.get(str(resource.get("resourceType")), "Somebody without a name"))


NAMELESS: dict[str, str] = {"RelatedPerson": "Family or a friend, no name written down", "Organization": "A place without a name"}
KIN: dict[str, str] = {  # http://terminology.hl7.org/CodeSystem/v3-RoleCode, those that come without words
    "DAUC": "daughter", "DAU": "daughter", "DAUADOPT": "daughter", "STPDAU": "stepdaughter", "SONC": "son", "SON": "son", "SONADOPT": "son",
    "STPSON": "stepson", "CHILD": "child", "MTH": "mother", "NMTH": "mother", "FTH": "father", "NFTH": "father", "PRN": "parent", "SIS": "sister",
    "NSIS": "sister", "BRO": "brother", "NBRO": "brother", "SIB": "sister or brother", "HUSB": "husband", "WIFE": "wife", "SPS": "wife or husband",
    "DOMPART": "partner", "SIGOTHR": "partner", "FRND": "friend", "NBOR": "neighbour", "ROOM": "housemate", "AUNT": "aunt", "UNCLE": "uncle",
    "NIECE": "niece", "NEPHEW": "nephew", "COUSN": "cousin", "GRMTH": "grandmother", "GRFTH": "grandfather", "GRPRN": "grandparent",
    "GRNDDAU": "granddaughter", "GRNDSON": "grandson", "GRNDCHILD": "grandchild", "GUARD": "guardian", "POWATT": "attorney",
}  # fmt: skip


def kin_of(related: dict[str, Any]) -> str:
    """Daughter, neighbour: what a RelatedPerson is to the person; "" where nobody says."""
    for concept in related.get("relationship", []):
        codings = concept.get("coding", [])
        word = concept.get("text") or next((c["display"] for c in codings if c.get("display")), "")
        known = next((KIN[c["code"]] for c in codings if c.get("code") in KIN), "")
        if word or known:
            return str(word) or _(known)
    return ""


def role_of(role: dict[str, Any]) -> str:
    """What somebody with this PractitionerRole does, in words; empty where nobody says."""
    codes = [
        c.get("text") or next((x.get("display") for x in c.get("coding", []) if x.get("display")), "") for c in role.get("code", [])
    ]
    return ", ".join(c for c in codes if c)


def coded(role: dict[str, Any]) -> list[tuple[str, str]]:
    """(`system|code`, words) of what somebody does."""
    out = []
    for concept in role.get("code", []):
        for c in concept.get("coding", []):
            if c.get("system") and c.get("code"):
                out.append((f"{c['system']}|{c['code']}", str(c.get("display") or concept.get("text") or "")))
    return out


def within(word: str) -> str:
    """`Social worker` within a sentence; `GP` stays."""
    return word[:1].lower() + word[1:] if word[1:2].islower() else word


async def role_word(ctx: Context, code: str) -> str:
    """What a role with this `system|code` is called where somebody has it; "" where nobody says."""
    found = await bodies(ctx, "PractitionerRole", [("role", code), ("_count", "20")]) if "," not in code else []
    return within(next((w for r in found for c, w in coded(r) if c == code and w), ""))


async def partners_called(ctx: Context) -> dict[str, str]:
    """The names of the organisations behind the partners that are known here, by the partner's name."""
    wanted = {r.name: r.organisation if "/" in r.organisation else f"{ODS_CODE}|{r.organisation}" for r in ctx.house.remotes}
    known = await names(ctx, set(wanted.values()))
    return {name: known[ref] for name, ref in wanted.items() if known.get(ref)}


def own_id(ctx: Context) -> str:
    """The id of the person whose record this is about: the reader's own, or of whom they act for."""
    return (ctx.actor.patient or "").removeprefix("Patient/")


def own_ids(ctx: Context) -> str:
    """The same with the ids of all records that are merged with it, as a search takes them."""
    return ",".join(sorted({own_id(ctx), *(r.removeprefix("Patient/") for r in ctx.records)}))
