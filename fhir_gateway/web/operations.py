"""What our own operations take and give, as Parameters. https://hl7.org/fhir/R4/parameters.html"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ..domain.lint import lint
from ..domain.problem import Problem
from ..gate import Explained, Sight

Asked = tuple[dict[str, Any] | None, dict[str, str]]


def preview_asked(sent: Mapping[str, Any]) -> Asked:
    """(the Consent that is not saved, if any; `who` and `purpose`). Problem bad-request."""
    listed = sent.get("parameter", [])
    if sent.get("resourceType") != "Parameters" or not isinstance(listed, list) or not all(isinstance(p, dict) for p in listed):
        raise Problem("bad-request", "An operation takes a Parameters resource.", "resourceType")
    choice: dict[str, Any] | None = None
    said: dict[str, str] = {}
    for p in listed:
        name, value = p.get("name"), next((v for k, v in p.items() if k.startswith("value")), None)
        if name == "consent":
            choice = p.get("resource")
            if not isinstance(choice, dict) or choice.get("resourceType") != "Consent" or not isinstance(choice.get("id", ""), str):
                raise Problem("bad-request", "The parameter `consent` holds one Consent.", "Parameters.parameter")
        elif name in ("who", "purpose"):
            if not isinstance(value, str) or not value:
                raise Problem("bad-request", f"The parameter `{name}` must be a text.", "Parameters.parameter")
            said[name] = value[:200]
        else:
            raise Problem("bad-request", f"`{str(name)[:40]}` is not a parameter of this operation.", "Parameters.parameter")
    if "who" not in said:
        raise Problem("bad-request", "`who` names whom this is about, such as Practitioner/1.", "who")
    return choice, said


def explain_told(why: Explained) -> dict[str, Any]:
    """The decision, why in words, each thing that would change it, and the Consent it rests on where it is told."""
    decision = why.decision
    told: list[dict[str, Any]] = [
        {"name": "permit", "valueBoolean": decision.permit}, {"name": "basis", "valueString": decision.basis}, {"name": "text", "valueString": why.text},
    ]  # fmt: skip
    told += [{"name": "change", "valueString": text} for text in why.texts]
    if decision.consent:
        told.append({"name": "consent", "valueReference": {"reference": str(decision.consent)}})
    return {"resourceType": "Parameters", "parameter": told}


def preview_told(sights: Iterable[Sight], choice: Mapping[str, Any] | None) -> dict[str, Any]:
    """Counts, what would open and close, what stays closed and why, and what may surprise about the Consent."""
    sights = list(sights)

    def ref(s: Sight) -> dict[str, Any]:
        return {"reference": str(s.ref)}

    told: list[dict[str, Any]] = [
        {"name": "now", "valueInteger": sum(s.before.permit for s in sights)},
        {"name": "then", "valueInteger": sum(s.after.permit for s in sights)},
        {"name": "of", "valueInteger": len(sights)},
    ]
    told += [{"name": "opens", "valueReference": ref(s)} for s in sights if s.after.permit and not s.before.permit]
    told += [{"name": "closes", "valueReference": ref(s)} for s in sights if s.before.permit and not s.after.permit]
    for s in sights:
        if not (s.before.permit or s.after.permit):
            told.append({"name": "closed", "part": [{"name": "what", "valueReference": ref(s)}, {"name": "text", "valueString": s.text}]})
    told += [{"name": "warning", "valueString": w.text} for w in (lint(choice) if choice else ())]
    return {"resourceType": "Parameters", "parameter": told}
