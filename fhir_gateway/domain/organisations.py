"""An organisation and a role as the directory reads them in their resources, and what somebody is called."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from .periods import bounds


@dataclass(frozen=True, slots=True)
class Organisation:
    ref: str
    name: str
    confirmed: bool
    types: tuple[str, ...]
    part_of: str | None
    identifiers: frozenset[str]
    ended: bool = False  # an operator says that it is no more (`active` false)


@dataclass(frozen=True, slots=True)
class Role:
    """A confirmed, active PractitionerRole."""

    ref: str
    practitioner: str | None
    organisation: str | None
    codes: frozenset[str]
    services: frozenset[str]
    identifiers: frozenset[str]
    low: int | None
    high: int | None
    titles: tuple[tuple[str, str], ...] = ()  # (system|code, what the job is called), where it is called something


def organisation_of(body: Mapping[str, Any], ref: str, sure: bool) -> Organisation:
    types = tuple(f"{c.get('system', '')}|{c.get('code', '')}" for t in body.get("type", ()) for c in t.get("coding", ()))
    live = sure and body.get("active") is not False
    return Organisation(ref, body.get("name", ""), live, types, target_of(body.get("partOf")), identifiers_of(body), sure and not live)


def role_of(body: Mapping[str, Any], ref: str) -> Role | None:
    try:
        low, high = bounds(body.get("period"))
    except ValueError:
        return None
    codes = frozenset(f"{c.get('system', '')}|{c.get('code', '')}" for cc in body.get("code", ()) for c in cc.get("coding", ()))
    services = frozenset(s for s in (target_of(x) for x in body.get("healthcareService", ())) if s)
    return Role(
        ref,
        target_of(body.get("practitioner")),
        target_of(body.get("organization")),
        codes,
        services,
        identifiers_of(body),
        low,
        high,
        tuple(_titles(body)),
    )


def _titles(body: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for concept in body.get("code", ()):
        for c in concept.get("coding", ()):
            called = c.get("display") or concept.get("text")
            if called and c.get("system") and c.get("code"):
                yield f"{c['system']}|{c['code']}", str(called)


def target_of(reference: Mapping[str, Any] | None) -> str | None:
    text = (reference or {}).get("reference")
    return text.split("/_history/", 1)[0] if isinstance(text, str) and ":" not in text and not text.startswith("#") else None


def identifiers_of(body: Mapping[str, Any]) -> frozenset[str]:
    return frozenset(f"{i.get('system', '')}|{i['value']}" for i in body.get("identifier", ()) if i.get("value"))


def person_name(body: Mapping[str, Any]) -> str:
    """How the first name of a FHIR resource is said; empty without one."""
    for name in body.get("name", ()):
        parts = [*name.get("prefix", ()), *name.get("given", ()), name.get("family", "")]
        return str(name.get("text") or " ".join(p for p in parts if p))
    return ""
