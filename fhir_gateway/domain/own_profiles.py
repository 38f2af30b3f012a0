"""Which of our own profiles a resource is held to, and which it would meet if a plan of ours had made it. docs/validation.md

What carries the identifier of a thing of our plans is ours, whoever changes it. What others write of their own is R4, and they are told.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from .mapping.names import BASE, CONTINGENCY_CATEGORY, EXTENSIONS, MAIN_CATEGORY, PLAN_OBSERVATION, own_identifier

ABOUT_ME: Final = f"{BASE}/Questionnaire/about-me"
SHARING: Final = f"{EXTENSIONS}sharing-preferences"  # a Consent is in no table: a plan must not say who may read it
PRIVACY: Final = "59284-0"  # LOINC, of a Consent: the category of choices of sharing, not that of roles
CRISIS: Final = frozenset({CONTINGENCY_CATEGORY, "736253002"})


def held_to(resource: Mapping[str, Any], profiles: Mapping[str, str]) -> list[str]:
    """Of what a plan made: the profile of its kind, whether it declares it or not. `profiles`: those of the tables, by kind (`Tables.profiles`).
    Never of a Consent: a person's no, or its end, is not refused for its form where it can be computed."""
    own = own_identifier(resource)
    return [profiles[own[0]]] if own is not None and own[0] in profiles else []


def meant_for(resource: Mapping[str, Any], profiles: Mapping[str, str]) -> str:
    """Of what nothing holds to a profile of ours, by its identifier or in `meta.profile`: the one for things of its kind; "" where there is none."""
    meta = resource.get("meta")
    declared = meta.get("profile") if isinstance(meta, dict) else None
    if held_to(resource, profiles) or any(str(p).startswith(EXTENSIONS) for p in (declared if isinstance(declared, list) else ())):
        return ""
    if resource.get("resourceType") == "Consent":
        return SHARING if PRIVACY in _codes(resource.get("category")) else ""
    return profiles.get(_kind(resource), "")


def _kind(resource: Mapping[str, Any]) -> str:
    """What this would be in a plan."""
    match resource.get("resourceType"):
        case "CarePlan":
            categories = _codes(resource.get("category"))
            return "plan" if MAIN_CATEGORY in categories else "contingency" if categories & CRISIS else ""
        case "Goal":
            return "goal"
        case "Condition":
            return "need" if "health-concern" in _codes(resource.get("category")) else ""
        case "Task":
            return "action" if resource.get("intent") == "plan" else ""
        case "QuestionnaireResponse":
            return "about-me" if str(resource.get("questionnaire")).split("|")[0] == ABOUT_ME else ""
        case "Observation":
            return "wheel" if "wheel" in _codes(resource.get("code"), PLAN_OBSERVATION) else ""
    return ""


def _codes(concepts: Any, system: str = "") -> set[str]:
    """The codes of one CodeableConcept or several, of `system` alone where it is said. Whatever else it is, none."""
    several = concepts if isinstance(concepts, list) else [concepts]
    codings = [c for concept in several if isinstance(concept, dict) and isinstance(listed := concept.get("coding"), list) for c in listed]
    return {str(c.get("code")) for c in codings if isinstance(c, dict) and system in ("", c.get("system"))}


__all__ = ["SHARING", "held_to", "meant_for"]
