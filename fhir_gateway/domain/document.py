"""A care plan as a FHIR document: the Composition in front of what its reader may see. https://hl7.org/fhir/R4/documents.html

Everything here is made from the renderings of one reader; what they may not see is not counted, listed or hinted at.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from html import escape
from typing import Any, Final

from .types import Ref

LOINC: Final = "http://loinc.org"
# title, LOINC code and its display, and where in the plan its entries stand
SECTIONS: Final = (
    ("Needs and concerns", "75310-3", "Health concerns Document", ("addresses",)),
    ("Goals", "61146-7", "Goals Narrative", ("goal",)),
    ("What is planned", "18776-5", "Plan of care note", ("activity.reference",)),
    ("Who helps", "85847-2", "Patient Care team Document", ("careTeam",)),
    ("Further information", "55107-7", "Addendum Document", ("supportingInfo",)),
)
_WORDS: Final = ("description", "code", "name", "title", "category", "type", "focus")

Resources = Mapping[Ref, Mapping[str, Any]]


def composition(plan: Ref, resources: Resources, *, id: str, at: datetime, base: str, confidentiality: str) -> dict[str, Any]:
    """The Composition of a document about `plan`. References are absolute: this resource has no address of its own."""
    body = resources[plan]
    return {
        "resourceType": "Composition",
        "id": id,
        "status": "final",
        "type": {"coding": [{"system": LOINC, "code": "18776-5", "display": "Plan of care note"}]},
        "subject": _at(base, str(body["subject"].get("reference", ""))),
        "date": at.isoformat(timespec="seconds"),
        "author": [_author(body, resources, base)],
        "title": str(body.get("title") or "Care plan"),
        "confidentiality": confidentiality,
        "section": [
            _section("Care plan", "18776-5", "Plan of care note", [plan], resources, base),
            *(
                _section(title, code, display, refs, resources, base)
                for title, code, display, paths in SECTIONS
                if (refs := _named(body, paths, resources))
            ),
        ],
    }


def _author(plan: Mapping[str, Any], resources: Resources, base: str) -> dict[str, Any]:
    """Who wrote the plan, when it says so and the document brings them along; else the gateway that put it together."""
    reference = str((plan.get("author") or {}).get("reference", ""))
    if _ref(reference) in resources:
        return _at(base, reference)
    return {"type": "Device", "display": "fhir_gateway"}


def _section(title: str, code: str, display: str, refs: Sequence[Ref], resources: Resources, base: str) -> dict[str, Any]:
    lines = "".join(f"<li>{escape(_words(resources[r]))}</li>" for r in refs)
    return {
        "title": title,
        "code": {"coding": [{"system": LOINC, "code": code, "display": display}]},
        "text": {"status": "generated", "div": f'<div xmlns="http://www.w3.org/1999/xhtml"><ul>{lines}</ul></div>'},
        "entry": [_at(base, str(r)) for r in refs],
    }


def _named(plan: Mapping[str, Any], paths: Sequence[str], resources: Resources) -> list[Ref]:
    """What stands there and is in the document."""
    out: dict[Ref, None] = {}
    for path in paths:
        nodes: list[Any] = [plan]
        for step in path.split("."):
            nodes = [v for n in nodes if isinstance(n, dict) for v in _each(n.get(step))]
        out.update((ref, None) for n in nodes if isinstance(n, dict) and (ref := _ref(str(n.get("reference", "")))) in resources)
    return list(out)


def _each(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]


def _ref(reference: str) -> Ref:
    type, _, id = reference.partition("/_history/")[0].partition("/")
    return Ref(type, id)


def _at(base: str, reference: str) -> dict[str, str]:
    return {"reference": f"{base}/{_ref(reference)}"}


def _words(resource: Mapping[str, Any]) -> str:
    """A line about a resource for people to read."""
    for name in _WORDS:
        for value in _each(resource.get(name)):
            found = _text(value)
            if found:
                return found[:300]
    return str(resource.get("resourceType"))


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value.strip()
    if not isinstance(value, dict):
        return ""
    if value.get("family"):
        return " ".join([*map(str, value.get("given", ())), str(value["family"])])
    codings = [c for c in _each(value.get("coding")) if isinstance(c, dict)]
    return str(value.get("text") or next((c["display"] for c in codings if c.get("display")), "") or "").strip()
