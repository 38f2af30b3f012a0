"""Names of what a plan becomes: identifier systems, local ids in identifiers, fullUrls. The same plan gives the same names.

A resource made of a plan carries an `identifier` whose system says what kind of thing it is and whose value is
`<plan id>/<local id>`. Nothing is numbered anew: importing twice finds what is there.
"""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256
from typing import Any, Final
from urllib.parse import unquote

BASE: Final = "https://fhir-gateway.example"
EXTENSIONS: Final = f"{BASE}/StructureDefinition/"
PLAN_SYSTEM: Final = f"{BASE}/id/plan"  # of the main CarePlan; `/goal`, `/need` ... of what hangs on it
ODS: Final = "https://fhir.nhs.uk/Id/ods-organization-code"
OWN_ORGANISATION: Final = f"{BASE}/id/organisation"
PLAN_OBSERVATION: Final = f"{BASE}/CodeSystem/plan-observation"  # Observation.code of what a plan says in a panel or in words
ACTION_KIND: Final = f"{BASE}/CodeSystem/plan-action-kind"
NHS_NUMBER: Final = "https://fhir.nhs.uk/Id/nhs-number"
SNOMED: Final = "http://snomed.info/sct"
MAIN_CATEGORY: Final = "2181441000000107"
CONTINGENCY_CATEGORY: Final = "325691000000100"
OVER: Final = frozenset({"revoked", "completed", "entered-in-error"})
SUGGESTED: Final = frozenset({"proposal", "option"})  # CarePlan.intent of what nobody has planned yet
URIS: Final = "urn:ietf:rfc:3986"


def quote(text: str) -> str:
    """A local id as one segment of an identifier value. Only what would be ambiguous or not allowed is escaped."""
    if not any(c in "%/#" or c <= " " or "\x7f" <= c <= "\xa0" or c.isspace() for c in text):
        return text
    return "".join(_escaped(c) if c in "%/#" or c <= " " or "\x7f" <= c <= "\xa0" or c.isspace() else c for c in text)


def _escaped(c: str) -> str:
    return "".join(f"%{b:02X}" for b in c.encode("utf-8"))


def system(kind: str) -> str:
    """The identifier system of a kind of thing in plans: `plan` itself, `goal`, `need`, `team` ..."""
    return PLAN_SYSTEM if kind == "plan" else f"{PLAN_SYSTEM}/{kind}"


def kind_of(system: Any) -> str | None:
    """The other way round; None for a system that is not ours."""
    if system == PLAN_SYSTEM:
        return "plan"
    return system[len(PLAN_SYSTEM) + 1 :] if isinstance(system, str) and system.startswith(PLAN_SYSTEM + "/") else None


def local(value: str) -> str | None:
    """The local id in an identifier value; None where the plan gave none (the last segment then is `#` and a place)."""
    last = value.rsplit("/", 1)[-1]
    return None if last.startswith("#") else unquote(last)


def is_nameless(value: str) -> bool:
    """Is it the Patient of a plan that gives its person no id: known by that plan alone."""
    return value.endswith("/#person")


def is_nowhere(value: str) -> bool:
    """Is it of a plan that has no id: every such plan would give it."""
    return value.startswith("#")


def own_identifier(resource: Mapping[str, Any]) -> tuple[str, str] | None:
    """(kind, value) of a resource that a plan made; None for anything else."""
    identifiers = resource.get("identifier")
    for i in identifiers if isinstance(identifiers, list) else [identifiers]:
        if isinstance(i, dict) and isinstance(i.get("value"), str):
            kind = kind_of(i.get("system"))
            if kind is not None:
                return kind, i["value"]
    return None


def full_url(kind: str, value: str) -> str:
    """A `urn:uuid:` that depends on nothing but the name (RFC 9562 version 8)."""
    h = sha256(f"{system(kind)}|{value}".encode()).hexdigest()
    return f"urn:uuid:{h[:8]}-{h[8:12]}-8{h[13:16]}-{'89ab'[int(h[16], 16) & 3]}{h[17:20]}-{h[20:32]}"


def categories(plan: Mapping[str, Any]) -> frozenset[str]:
    """The codes of its categories."""
    given = plan.get("category")
    concepts = [k for k in (given if isinstance(given, list) else [given]) if isinstance(k, Mapping)]
    return frozenset(str(c.get("code")) for k in concepts if isinstance(k.get("coding"), list) for c in k["coding"] if isinstance(c, Mapping))


def is_main(plan: Mapping[str, Any]) -> bool:
    """Whether this is the person's one main plan, which everything that belongs to a plan is part of."""
    return (own_identifier(plan) or ("",))[0] == "plan" or MAIN_CATEGORY in categories(plan)


def counts(plan: Mapping[str, Any]) -> bool:
    """Whether this is a main plan, of which a person has one at a time: planned, not over, part of no other."""
    return is_main(plan) and not plan.get("partOf") and plan.get("status") not in OVER and plan.get("intent") not in SUGGESTED
