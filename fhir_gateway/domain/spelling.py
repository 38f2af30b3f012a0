"""What a reference names, however it is spelled: `Patient/1/_history/2` is about Patient/1. https://hl7.org/fhir/R4/references.html#literal

Their versions are not ours, so what is kept here names the resource; what they wrote goes back to them as they wrote it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import parse_qs

from .directory import NO_PATIENT_DATA
from .masked import held_back

WHOSE: Final = ("subject", "patient", "for", "beneficiary")
Path = tuple[str, ...]
_HISTORY: Final = "/_history/"


def named(text: str) -> str:
    """`Type/id` of what this reference names; "" where it is not one of these."""
    name, _, version = text.partition(_HISTORY)
    type, _, id = name.partition("/")
    whole = type[:1].isupper() and type.isalpha() and bool(id) and not {"/", ":"} & set(id) and "/" not in version
    return name if whole and (bool(version) or _HISTORY not in text) else ""


def spelled_as(body: Mapping[str, Any], held: Mapping[str, Any], base: str) -> dict[str, Any]:
    """The same, where each reference or address that names what `held` names in that place, too, is spelled as `held` spells it: in a version, or by
    the whole address under `base`."""
    said: defaultdict[tuple[Path, str], list[str]] = defaultdict(list)
    _note(held, (), base, said)
    otherwise = {at: texts for at, texts in said.items() if any(text != at[1] for text in texts)}
    out = _spelled(body, (), otherwise) if otherwise else dict(body)
    assert isinstance(out, dict)
    return out


def said_otherwise(resource: Mapping[str, Any]) -> list[list[Mapping[str, Any]]]:
    """Of each reference that says whose record this is, and leads to no Patient by `Type/id`, the Identifiers that it gives instead, perhaps none:
    it has an identifier alone, or leads to something contained, by a `urn:`, or by a search. Not of what is on another server, or of another type.
    """
    if str(resource.get("resourceType")) in {"Patient", *NO_PATIENT_DATA}:
        return []
    inside = {f"#{c.get('id')}": c for c in _objects(resource.get("contained"))}
    found = [_instead(reference, inside) for name in WHOSE for reference in _objects(resource.get(name))]
    return [said for said in found if said is not None]


def _instead(reference: Mapping[str, Any], inside: Mapping[str, Mapping[str, Any]]) -> list[Mapping[str, Any]] | None:
    text, said = reference.get("reference"), _objects(reference.get("identifier"))
    if not str(reference.get("type", "Patient")).endswith("Patient") or held_back({k: v for k, v in reference.items() if k != "reference"}) is not None:
        return None
    if not isinstance(text, str):
        return said or None
    if text.startswith("#"):
        whom = inside.get(text, {})
        return said + _objects(whom.get("identifier")) if whom.get("resourceType", "Patient") == "Patient" else None
    if text.startswith("Patient?"):
        tokens = [v.partition("|") for v in parse_qs(text.partition("?")[2]).get("identifier", [])]
        return said + [{"system": system, "value": value} for system, _, value in tokens]
    return said if text.startswith("urn:") else None


def _objects(value: Any) -> list[Mapping[str, Any]]:
    return [v for v in (value if isinstance(value, list) else [value]) if isinstance(v, Mapping)]


def _note(node: Any, path: Path, base: str, said: defaultdict[tuple[Path, str], list[str]]) -> None:
    if isinstance(node, list):
        for item in node:
            _note(item, path, base, said)
    elif isinstance(node, Mapping):
        for key, value in node.items():
            _note(value, (*path, key), base, said)
    elif isinstance(node, str) and (name := named(node.removeprefix(f"{base}/"))):
        said[path, name].append(node)


def _spelled(node: Any, path: Path, said: Mapping[tuple[Path, str], list[str]]) -> Any:
    if isinstance(node, list):
        return [_spelled(item, path, said) for item in node]
    if isinstance(node, Mapping):
        return {key: _spelled(value, (*path, key), said) for key, value in node.items()}
    texts = said.get((path, node)) if isinstance(node, str) else None
    return texts.pop(0) if texts else node
