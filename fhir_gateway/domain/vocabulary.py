"""The code systems a consent speaks in, as far as a decision needs them: constant tables, no look-ups.

Purposes: v3-ActReason as in FHIR R4 (https://hl7.org/fhir/R4/v3/PurposeOfUse/vs.html). Sensitivities: v3-ActCode.
The order of confidentiality and which sensitivity belongs to which set are configuration (consent.md 1.5), not the code system's.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

OURS: Final = "https://fhir-gateway.example"
HL7: Final = "http://terminology.hl7.org/CodeSystem"
ACT_REASON: Final = f"{HL7}/v3-ActReason"
ACT_CODE: Final = f"{HL7}/v3-ActCode"
CONFIDENTIALITY_SYSTEM: Final = f"{HL7}/v3-Confidentiality"
CONSENT_SCOPE: Final = f"{HL7}/consentscope"
CONSENT_ACTION: Final = f"{HL7}/consentaction"
RESOURCE_TYPES: Final = "http://hl7.org/fhir/resource-types"
PROFILE_SYSTEM: Final = "urn:ietf:rfc:3986"  # Consent.provision.class may name a profile by its canonical
POLICY_SYSTEM: Final = f"{OURS}/CodeSystem/policy"
UK_DIRECT_CARE: Final = "uk-direct-care"
SECTOR_SYSTEM: Final = f"{OURS}/CodeSystem/sector"
SECTOR_CODES: Final = ("health", "social-care", "voluntary", "housing", "education", "justice")
NO_PARTNER: Final = "no partner"  # `Decision.rule` of a no to who is no partner of an agreement on sharing now
ROLE_SYSTEM: Final = f"{OURS}/CodeSystem/role"  # PractitionerRole.code, of our own jobs
ROLE_AT: Final = f"{OURS}/role-at"  # identifier system; value `Organization/x system|code`: everyone in that role there
CARE_SECTORS: Final = ("health", "social-care")
NAMED_OUTSIDE_CARE: Final = frozenset({"RiskAssessment"})  # types that a yes opens outside these sectors only where it names them
TASK_SYSTEM: Final = f"{OURS}/CodeSystem/task"
CONFIRM_MEMBERSHIP: Final = "confirm-membership"
MERGE_PLANS: Final = "merge-plans"  # somebody must look what becomes of a second main plan
ACCEPT_DRAFT: Final = "accept-draft"
CHANGE_MEDICINE: Final = "change-medicine"  # a discharge says otherwise of a medicine of the plan
CORRECT_CONSENT: Final = "correct-consent"  # somebody must look at a consent that cannot be computed
CHECK_IDENTITY: Final = "check-identity"  # somebody must look who a person is at a partner
NOT_RECOGNISED: Final = "not-recognised"  # the person asks the privacy officer about a line of who looked
FOR_WHOM_IT_ASKS: Final = frozenset({f"{TASK_SYSTEM}|{c}" for c in (MERGE_PLANS, NOT_RECOGNISED, CHANGE_MEDICINE)})  # a Task that is for the person and for whom it asks alone
PRIVACY_OFFICER: Final = f"{ROLE_SYSTEM}|privacy-officer"  # PractitionerRole.code of whoever is told of emergencies and claims
PROXY_BASIS_SUFFIX: Final = "/CodeSystem/England-NHSProxyLegalBasis"
LEGAL_SYSTEM: Final = f"{OURS}/CodeSystem/legal-restriction"
LEGAL_SUFFIX: Final = "/CodeSystem/legal-restriction"
SENSITIVITY_SYSTEM: Final = f"{OURS}/CodeSystem/sensitivity"  # sensitivities that v3-ActCode has no word for: SOCIAL
HANDLING_SYSTEM: Final = f"{OURS}/CodeSystem/handling"  # how a person's record is handled where v3-ActCode has no word for it
LOCATION_PROTECTED: Final = "location-protected"  # on a Patient: nobody is shown where they are
IDENTITY: Final = f"{OURS}/StructureDefinition/identity-details"  # a permit for this class opens who and where somebody is
IMPLICIT_POLICIES: Final = frozenset({"Policy-deny", "Policy-basic-normal", "Policy-all-normal", "Policy-break-glass-only"})

_PURPOSES: Final[Mapping[str, str]] = {
    "PurposeOfUse": "HMARKT HOPERAT HPAYMT HRESCH PATRQT PUBHLTH TREAT",
    "HOPERAT": "CAREMGT DONAT FRAUD GOV HACCRED HCOMPL HDECD HDIRECT HDM HLEGAL HOUTCOMS HPRGRP HQUALIMP HSYSADMIN MEMADMIN"
    " PATADMIN PATSFTY PERFMSR RECORDMGT SYSDEV TRAIN",
    "HSYSADMIN": "LABELING METAMGT",
    "MEMADMIN": "MILCDM",
    "SYSDEV": "HTEST",
    "HPAYMT": "CLMATTCH COVAUTH COVERAGE REMITADV",
    "COVERAGE": "ELIGDTRM ELIGVER ENROLLM MILDCRG",
    "HRESCH": "BIORCH CLINTRCH PRECLINTRCH DSRCH POARCH TRANSRCH",
    "CLINTRCH": "CLINTRCHNPC CLINTRCHPC",
    "PATRQT": "FAMRQT PWATRNY SUPNWK",
    "PUBHLTH": "DISASTER THREAT",
    "TREAT": "CLINTRL COC ETREAT POPHLTH",
    "ETREAT": "BTG ERTREAT",
}

# A named set and what belongs to it. PCF puts ETHUD under ETH, v3-ActCode under SUD: both hold.
_SENSITIVITIES: Final[Mapping[str, str]] = {
    "SPI": "BH MH PSY SUD",
    "BH": "MH PSY PSYTHPN COGN DVD EMOTDIS",
    "SUD": "ETHUD OPIOIDUD",
    "ETH": "ETHUD",
    "SOCIAL": "CHILD",
}
# v3-ActCode puts SUD under BH. A removal follows it; somebody who opens "mental health" has not said "substance use".
_SENSITIVITIES_DENIED: Final[Mapping[str, str]] = {**_SENSITIVITIES, "BH": _SENSITIVITIES["BH"] + " SUD"}

# v3-ActCode codes that say how to handle data, not what it is about: they cannot stand in a provision.
HANDLING: Final = frozenset({
    "NOPAT", "NOAUTH", "NOCOLLECT", "NODSCLCD", "NODSCLCDS", "NOINTEGRATE", "NOLIST", "NOMOU", "NOORGPOL", "NOPERSISTP", "NORDSCLCD",
    "NORDSCLCDS", "NORDSCLW", "NORELINK", "NOREUSE", "NOVIP", "ORCON", "PersistentTransient", "CPLYCC", "CPLYCD", "CPLYCUI", "CPLYJPP",
    "CPLYOSP", "CPLYPOL", "DELAU", "ENCRYPT", "MASK", "MINEC", "PERSISTLABEL", "PRIVMARK", "REDACT",
})  # fmt: skip
# The labels of each system whose codes are all known, that a rule can name. v3-ActCode: its sensitivities, compartments and privacy laws
# (https://hl7.org/fhir/R4/v3/InformationSensitivityPolicy/vs.html, …/v3/Compartment/vs.html, …/v3/ActPrivacyLaw/vs.html).
LABEL_CODES: Final[Mapping[str, frozenset[str]]] = {
    ACT_CODE: frozenset(
        "ADOL B BH CEL COGN DEMO DIA DOB DRGIS DVD EMOTDIS EMP EMPL ETH ETHUD GDIS GENDER HIV LIVARG LOCIS MARST MH MST OPIOIDUD PDS PHY PRS"
        " PSY PSYTHPN RACE REL SCA SDV SEX SICKLE SPI SSP STD SUD TBOO VIO"
        " ACOCOMPT COMPT CTCOMPT FMCOMPT HRCOMPT LRCOMPT PACOMPT RESCOMPT RMGTCOMPT"
        " 42CFRPart2 CommonRule HIPAANOPP HIPAAPsyNotes HIPAASelfPay Title38Section7332".split()
    ),
    SENSITIVITY_SYSTEM: frozenset({"SOCIAL", "CHILD"}),
    LEGAL_SYSTEM: frozenset({"HFEA", "GRA"}),
}
HIDDEN_FROM_SELF: Final = frozenset({"NOPAT", "TBOO"})

REQUESTER_ROLES: Final = frozenset(
    {(f"{HL7}/v3-ParticipationType", c) for c in ("IRCP", "PRCP", "INF", "TRC", "NOT", "REFT")}
    | {(f"{HL7}/v3-RoleCode", c) for c in ("GRANTEE", "HPOWATT", "DPOWATT", "POWATT", "SPOWATT", "DELEGATEE", "GUARD", "RESPRSN")}
    | {(f"{HL7}/v3-RoleClass", c) for c in ("PROV", "PAT", "AGNT", "ASSIGNED", "CAREGIVER", "GUARD", "NOK", "PRS", "QUAL")}
    | {(f"{HL7}/v3-ParticipationFunction", c) for c in ("AUCG", "AULR", "AUTM", "AUWA")}
)
CUSTODIAN_ROLES: Final = frozenset({(f"{HL7}/v3-ParticipationType", "CST")})


def _below(tree: Mapping[str, str]) -> dict[str, frozenset[str]]:
    """Each code to itself and everything under it."""
    codes = set(tree) | {c for line in tree.values() for c in line.split()}

    def down(code: str) -> set[str]:
        return {code}.union(*(down(c) for c in tree.get(code, "").split()))

    return {code: frozenset(down(code)) for code in codes}


PURPOSES: Final = _below(_PURPOSES)
SENSITIVITIES: Final = _below(_SENSITIVITIES)
SENSITIVITIES_DENIED: Final = _below(_SENSITIVITIES_DENIED)
SENSITIVITY_SETS: Final = frozenset(_SENSITIVITIES)  # codes that have others under them

NOT_TREATMENT: Final = PURPOSES["POPHLTH"] | PURPOSES["CLINTRL"]  # under TREAT in v3-ActReason, yet not care of this person
DIRECT_CARE: Final = (PURPOSES["TREAT"] - NOT_TREATMENT) | {"CAREMGT"} | PURPOSES["PATRQT"]
IMPLIED_PURPOSES: Final = frozenset({"TREAT", "ETREAT", "ERTREAT", "COC", "CAREMGT"})
EMERGENCY: Final = frozenset({"ETREAT", "ERTREAT"})


def own_task(type: str, codes: Iterable[str]) -> bool:
    """Is this a gateway's own Task, by its codes (`system|code`): a question to its people, or work for whoever runs it? Each gateway
    has its own, so none goes to a partner and none is taken in (docs/sync.md)."""
    return type == "Task" and any(code.startswith(f"{TASK_SYSTEM}|") for code in codes)


def purposes_permitted(code: str) -> frozenset[str]:
    """What a permit for this purpose covers."""
    below = PURPOSES.get(code, frozenset({code}))
    return below - NOT_TREATMENT if code == "TREAT" else below


def purposes_denied(code: str) -> frozenset[str]:
    """What a deny for this purpose covers."""
    return PURPOSES.get(code, frozenset({code}))


def sensitivities_below(codes: Iterable[str], *, denied: bool) -> frozenset[str]:
    """These sensitivities and all that belong to them."""
    table = SENSITIVITIES_DENIED if denied else SENSITIVITIES
    return frozenset().union(*(table.get(c, frozenset({c})) for c in codes))


def most_specific(codes: frozenset[str]) -> frozenset[str]:
    """The codes without those that are only there because a narrower one is (facts may be stored expanded)."""
    if codes.isdisjoint(SENSITIVITY_SETS):
        return codes
    return frozenset(c for c in codes if c not in SENSITIVITY_SETS or not (codes & SENSITIVITIES_DENIED[c] - {c}))

SIGN_IN_ROLES: Final = frozenset(
    {"clinician", "break-glass", "contributor", "operator", "refer", "declassifier", "registrar", "privacy-officer", "volunteer"}
)  # what a sign-in may carry; nobody has one by default
RESTRICTING_ROLES: Final = frozenset({"volunteer"})  # of these what takes away: whoever has one in their account has it however they come in
