"""Acting for somebody, in the shape of the NHS Validated Relationships Service: codes, states and their reasons.

https://digital.nhs.uk/developer/api-catalogue/validated-relationship-service; which status reasons go with which change:
https://github.com/NHSDigital/validated-relationships-service-api. When each legal basis holds: consent.md 1.7, DAPB3051.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from .directory import ODS_CODE
from .grants import Grant, walk
from .periods import covers
from .standing import Standing, age_at, birthday, named_by
from .types import Actor
from .vocabulary import PROXY_BASIS_SUFFIX

STATUS_REASON: Final = "Extension-England-Consent-Status-Reason"
REASON_SYSTEM: Final = "/CodeSystem/England-ConsentStatusReason"
REASON_URL: Final = "https://fhir.nhs.uk/England/StructureDefinition/Extension-England-Consent-Status-Reason"
REASONS: Final = "https://fhir.nhs.uk/England/CodeSystem/England-ConsentStatusReason"
LEGAL_BASIS: Final = "https://fhir.nhs.uk/England/CodeSystem/England-NHSProxyLegalBasis"
GRANTOR: Final = "http://hl7.org/fhir/5.0/StructureDefinition/extension-Consent.grantor"
OTHER: Final = "OTHER"  # needs words of its own
LPA: Final = frozenset({"health-and-welfare-lasting-power-of-attorney", "court-appointed-personal-welfare-deputy"})
PARENT: Final = "parental-responsibility"
LAWFUL_BASES: Final = frozenset({"consent", "best-interest", PARENT}) | LPA
DECIDES: Final = LPA | {PARENT}  # these may decide for the person, and so give consents

_REJECTED: Final = frozenset(
    f"APPLICATION_REJECTED_{why}"
    for why in (
        "NOT_NEEDED", "SAFEGUARDING", "IDENTITY_NOT_VERIFIED", "NO_CONSENT", "COERCION", "PROXY_LACKS_CAPACITY", "PROXY_ABROAD",
        "NO_LEGAL_BASIS",
    )
) | {OTHER}  # fmt: skip
_ENDED: Final = frozenset(
    f"ROLE_DEACTIVATED_{why}"
    for why in (
        "SAFEGUARDING", "PATIENT_REQUEST", "END_DATE_REACHED", "INACTIVE_ROLE", "PATIENT_DECEASED", "PROXY_DECEASED", "FAMILIAL_REASON",
        "CHANGE_IN_RELATIONSHIP", "PROXY_LACKS_CAPACITY", "SYSTEM_MISUSE", "PATIENT_GP_TRANSFERRED", "PROXY_GP_TRANSFERRED", "PROXY_ABROAD",
    )
) | {"ROLE_SUSPENDED_PENDING_REVIEW", OTHER}  # fmt: skip
_WRONG: Final = frozenset({OTHER})
# (from, to) -> the reasons that go with it; "" is where a role begins.
CHANGES: Final[Mapping[tuple[str, str], frozenset[str]]] = {
    ("", "proposed"): frozenset({"ROLE_CREATED", OTHER}),
    ("", "active"): frozenset({"ROLE_CREATED"}),
    ("", "rejected"): _REJECTED,
    ("proposed", "active"): frozenset({"ROLE_CREATED", "ROLE_ACTIVATED"}),
    ("proposed", "rejected"): _REJECTED,
    ("proposed", "inactive"): _ENDED,
    ("active", "inactive"): _ENDED,
    ("inactive", "active"): frozenset({"ROLE_REACTIVATED"}),
    ("inactive", "rejected"): _REJECTED,
    ("proposed", "entered-in-error"): _WRONG,
    ("active", "entered-in-error"): _WRONG,
    ("inactive", "entered-in-error"): _WRONG,
}


# -- reading one ------------------------------------------------------------------------------------------------------


def basis(consent: Mapping[str, Any]) -> str:
    """The legal basis by which this makes somebody a proxy; "" for any other consent."""
    codings = (consent.get("policyRule") or {}).get("coding", ())
    return next((str(c.get("code", "")) for c in codings if str(c.get("system", "")).endswith(PROXY_BASIS_SUFFIX)), "")


def reason(consent: Mapping[str, Any]) -> tuple[str, str]:
    """(code, free text) of its status reason."""
    for extension in consent.get("extension", ()):
        if str(extension.get("url", "")).endswith(STATUS_REASON):
            concept = extension.get("valueCodeableConcept") or {}
            codes = [c.get("code", "") for c in concept.get("coding", ()) if str(c.get("system", "")).endswith(REASON_SYSTEM)]
            return (codes[0] if codes else "", str(concept.get("text", "")).strip())
    return "", ""


def grantor(consent: Mapping[str, Any]) -> str:
    """The ODS code, or the reference, of the organisation that answers for the role: `grantor` as in R5, else `organization`."""
    named = [e.get("valueReference") for e in consent.get("extension", ()) if str(e.get("url", "")).partition("://")[2] == GRANTOR.partition("://")[2]]
    for reference in (*named, *consent.get("organization", ())):
        identifier = (reference or {}).get("identifier") or {}
        if identifier.get("system") == ODS_CODE and identifier.get("value"):
            return str(identifier["value"])
        for name in named_by(reference):
            if name.startswith("Organization/"):
                return name
    return ""


def proxies_of(grant: Grant) -> frozenset[str]:
    """Whom it makes a proxy."""
    return frozenset().union(*(r.who for r in walk(grant.root) if r.type == "permit"))


def same_role(a: Grant, b: Grant) -> bool:
    """Do both make the same somebody a proxy for the same person on the same basis."""
    return a.proxy == b.proxy and a.patient == b.patient and not proxies_of(a).isdisjoint(proxies_of(b))


# -- what is wrong with one -------------------------------------------------------------------------------------------


def ill_formed(grant: Grant) -> tuple[str, str] | None:
    """(where, sentence) for a role that could never be: no lawful basis, or open to others than named relatives."""
    if grant.proxy not in LAWFUL_BASES:
        return "Consent.policyRule", f"`{grant.proxy}` is no legal basis on which somebody can act for a person."
    if grant.root.type != "permit" or not grant.root.who:
        return "Consent.provision", "A role names who acts for the person: `permit`, with an `actor`."
    strangers = sorted(n for n in proxies_of(grant) if not n.startswith("RelatedPerson/"))
    if strangers:
        return "Consent.provision.actor", f"Only a RelatedPerson of the person acts for them, not `{strangers[0][:60]}`."
    return None


def ill_changed(before: str, after: str, why: tuple[str, str], *, asked: bool) -> tuple[str, str] | None:
    """(where, sentence) for a change of status that is none, or without its reason. The person need not give one (`asked` False)."""
    if before == after:
        return None
    fitting = CHANGES.get((before, after))
    if fitting is None:
        return "Consent.status", f"A role that is `{before}` cannot become `{after}`." if before else f"A role cannot begin as `{after}`."
    code, text = why
    if not code and not asked:
        return None
    if code not in fitting:
        return "Consent.extension", f"Say why by a status reason, one of {', '.join(sorted(fitting))}."
    if code == OTHER and not text:
        return "Consent.extension", "With the reason OTHER say in words (`text`) what it is."
    return None


def unlawful_because(basis: str, actor: Actor, standing: Standing, at: int) -> str:
    """Why this legal basis does not hold now, as a basis word; "" when it does."""
    if not standing.safeguarding.isdisjoint(actor.ids):
        return "safeguarding"
    if standing.died is not None:
        return "proxy-ended"
    if basis in LPA and (standing.gone or not standing.capacity_lost):
        return "lpa-not-applicable"
    if basis == PARENT:
        age = None if standing.gone else age_at(standing, at)
        if age is None or age >= 16:
            return "proxy-age"
    return "" if basis in LAWFUL_BASES else "no-proxy-role"


def not_yet(grant: Grant, standing: Standing, at: int) -> tuple[str, str] | None:
    """(where, sentence) for a role that the law does not let begin now."""
    relatives = frozenset(proxies_of(grant))
    wrong = unlawful_because(grant.proxy, Actor("proxy", relatives), standing, at)
    if wrong == "lpa-not-applicable":
        return "Consent.policyRule", "This basis counts only once it is recorded that the person lacks capacity."
    if wrong == "proxy-age":
        return "Consent.policyRule", "Parental responsibility counts only for a person who is known to be under 16."
    if wrong == "safeguarding":
        return "Consent.provision.actor", "Their role is suspended to keep somebody safe."
    if wrong == "proxy-ended":
        return "Consent.status", "Nobody acts for a person who has died."
    if grant.proxy == "consent" and standing.capacity_lost:
        return "Consent.policyRule", "A person who lacks capacity cannot appoint somebody: another basis is needed."
    return None


def decides_for(standing: Standing, names: Iterable[str], at: int) -> str:
    """The basis on which somebody of these names may decide for the person now, and so give consents; "" when none."""
    ids = frozenset(names)
    for grant in standing.grants:
        if grant.proxy in DECIDES and grant.in_force(at) and not proxies_of(grant).isdisjoint(ids):
            root_holds = covers(grant.root.low, grant.root.high, at)
            if root_holds and not unlawful_because(grant.proxy, Actor("proxy", ids), standing, at):
                return grant.proxy
    return ""


def review_due(grant: Grant, standing: Standing, recorded: int, at: int) -> bool:
    """Parental responsibility is looked at again once a child is 11, and ends at 16 (DAPB3051 7.2)."""
    if grant.proxy != PARENT or standing.born is None:
        return False
    eleventh = birthday(standing.born[0], 11)
    return recorded < eleventh <= at


__all__ = [
    "CHANGES", "DECIDES", "GRANTOR", "LEGAL_BASIS", "REASONS", "REASON_URL", "basis", "decides_for", "grantor", "ill_changed", "ill_formed", "not_yet",
    "proxies_of", "reason", "review_due", "same_role",
]  # fmt: skip
