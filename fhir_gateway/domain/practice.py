"""The practice of somebody at risk, wherever it is named: what it is called, and a resource without it.

`Patient.generalPractitioner` says which it is (https://hl7.org/fhir/R4/patient-definitions.html#Patient.generalPractitioner). Whoever
works there leads to it by the directory, which everybody may read, and so is hidden with it. Who is meant is worked out when
a standing is built; the rendering itself looks nothing up.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final
from urllib.parse import unquote

from .directory import Directory
from .person import is_at_risk
from .view import MASKED, is_reference

Json = Any
CALLED: Final = "="  # before a name in words, folded


def practice_of(patient: Mapping[str, Any], directory: Directory, *, linked: bool = False) -> frozenset[str]:
    """Every name of the practice and of who works there, ever: references, `system|value`, and words after `CALLED`.

    Empty for somebody who is not at risk; not where another record is `linked`, which may say that they are.
    """
    given = patient.get("generalPractitioner")
    if not given or not (linked or is_at_risk(patient)):
        return frozenset()
    names: set[str] = set()
    for reference in given if isinstance(given, list) else []:
        if isinstance(reference, Mapping):
            names |= set(_named(reference))
    found = {n for n in names if n.startswith("Organization/")} | {o for n in names if (o := directory.by_identifier.get(n))}
    people = {n for n in names if n.startswith("Practitioner/")} | {p for p, (_, ids) in directory.people.items() if ids & names}
    roles = [r for r in directory.roles.values() if r.ref in names or r.identifiers & names or r.practitioner in people]
    found |= {r.organisation for r in roles if r.organisation}
    roles += [r for r in directory.roles.values() if r.organisation in found]
    people |= {r.practitioner for r in roles if r.practitioner and r.organisation in found}
    for place in found:
        here = directory.organisations.get(place)
        names |= {place, *(here.identifiers if here else ()), *({CALLED + _folded(here.name)} if here and here.name else ())}
    for person in people:
        name, identifiers = directory.people.get(person, ("", frozenset()))
        names |= {person, *identifiers, *({CALLED + _folded(name)} if name else ())}
    for role in roles:
        names |= {role.ref, *role.identifiers}
    return frozenset(names | {s for s, o in directory.services.items() if o in found})


def without(resource: Mapping[str, Any], names: frozenset[str]) -> Mapping[str, Any]:
    """The resource without whatever names one of these; shares what it did not change with it. No entry of a list is removed."""
    out = _without(resource, names, top=True) if names else resource
    assert isinstance(out, Mapping)
    return out


def _without(node: Json, names: frozenset[str], *, top: bool = False) -> Json:
    if isinstance(node, list):
        entries = [_without(item, names) for item in node]
        return entries if any(a is not b for a, b in zip(entries, node, strict=True)) else node
    if not isinstance(node, Mapping):
        return node
    if is_reference(node) and not names.isdisjoint(_named(node)):
        return {"extension": [MASKED], "type": _kind(node)}
    if not top and _is_identifier(node) and f"{node.get('system', '')}|{node['value']}" in names:
        return {"extension": [MASKED]}
    if not top and isinstance(node.get("resourceType"), str) and not names.isdisjoint(_own(node)):
        return {k: v for k, v in node.items() if k in ("resourceType", "id")}
    out = {k: _without(v, names) if isinstance(v, dict | list) else v for k, v in node.items()}
    return out if any(out[k] is not node[k] for k in out) else node


def _named(reference: Mapping[str, Any]) -> Iterator[str]:
    """All that a Reference names, by its target, its identifier and its words."""
    target = reference.get("reference")
    if isinstance(target, str) and not target.startswith("#"):
        place, _, query = target.partition("?")
        yield "/".join(place.split("/_history/", 1)[0].rstrip("/").split("/")[-2:])
        yield from (unquote(part.partition("=")[2]) for part in query.split("&") if part.startswith("identifier="))
    identifier = reference.get("identifier")
    if isinstance(identifier, Mapping):
        yield f"{identifier.get('system', '')}|{identifier.get('value', '')}"
    if isinstance(reference.get("display"), str):
        yield CALLED + _folded(reference["display"])


def _own(contained: Mapping[str, Any]) -> Iterator[str]:
    given = contained.get("identifier")
    for one in given if isinstance(given, list) else [given]:
        if isinstance(one, Mapping):
            yield f"{one.get('system', '')}|{one.get('value', '')}"
    if isinstance(contained.get("name"), str):
        yield CALLED + _folded(contained["name"])


def _is_identifier(node: Mapping[str, Any]) -> bool:
    return isinstance(node.get("value"), str) and isinstance(node.get("system"), str) and node.keys() <= _IDENTIFIER


_IDENTIFIER: Final = frozenset({"id", "extension", "use", "type", "system", "value", "period", "assigner"})


def _kind(reference: Mapping[str, Any]) -> str:
    kind, target = reference.get("type"), str(reference.get("reference") or "").partition("?")[0].split("/_history/")[0]
    said = kind.rsplit("/", 1)[-1] if isinstance(kind, str) and kind else next(iter(target.rstrip("/").split("/")[-2:]), "")
    return said or "Organization"


def _folded(text: str) -> str:
    return " ".join(text.casefold().split())


__all__ = ["practice_of", "without"]
