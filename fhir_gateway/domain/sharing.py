"""The person's own sharing choices in the one form our pages write and read back (consent.md 1.6).

One Consent a person, its root silent: each choice is a nested permit or deny, so that a grant changes nothing for anyone else
and hiding one thing opens nothing. A choice keeps the words the person saw. Any other consent is shown back as what it is.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Final

from .consenting import SHARING_PREFERENCES
from .grants import Rule, Uncomputable, parse
from .periods import LONDON, instant
from .problem import Problem
from .vocabulary import (
    ACT_CODE,
    ACT_REASON,
    CONFIDENTIALITY_SYSTEM,
    CONSENT_SCOPE,
    HL7,
    OURS,
    POLICY_SYSTEM,
    RESOURCE_TYPES,
    ROLE_AT,
    SECTOR_SYSTEM,
    SENSITIVITY_SYSTEM,
    UK_DIRECT_CARE,
)  # fmt: skip

WORDS: Final = f"{OURS}/StructureDefinition/consent-words"  # on a rule: the sentence the person agreed to
WHY: Final = f"{OURS}/StructureDefinition/consent-why"  # on a rule: the person's own reason
SNOMED: Final = "http://snomed.info/sct"
CRISIS_PLANS: Final = ("325691000000100", "736253002", "887701000000100")

# Kind of record -> (resource types, codes that narrow them). Whoever may see a part of a record may see whose it is: the Patient goes
# with every kind. A ServiceRequest is a referral or an unmet need, so it goes with needs and not with goals.
KINDS: Final[Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]]] = {
    "plan": (
        ("CarePlan", "Goal", "Task", "ServiceRequest", "Condition", "CareTeam", "RelatedPerson", "QuestionnaireResponse", "Observation",
         "Flag", "DocumentReference"),
        (),
    ),
    "goals": (("Goal", "Task"), ()),
    "about": (("QuestionnaireResponse",), ()),
    "answers": (("QuestionnaireResponse",), ()),
    "needs": (("Condition", "ServiceRequest"), ()),
    "crisis": (("CarePlan",), CRISIS_PLANS),
    "team": (("CareTeam", "RelatedPerson"), ()),
    "measurements": (("Observation",), ()),
    "documents": (("DocumentReference",), ()),
}  # fmt: skip
KIND_WORDS: Final[Mapping[str, str]] = {
    "plan": "the whole plan", "goals": "goals and what we will do", "about": "what matters to me", "answers": "my answers",
    "needs": "what I need help with", "crisis": "what to do if things get worse", "team": "my team, family and friends",
    "measurements": "measurements", "documents": "documents",
}  # fmt: skip
LABELS: Final[Mapping[str, tuple[str, ...]]] = {  # the words people understand -> sensitivities
    "mental": ("BH", "MH", "PSY"),
    "sexual": ("SEX", "STD", "HIV", "GENDER"),
    "social": ("SOCIAL",),
    "substance": ("SUD", "ETH"),
    "violence": ("SDV", "VIO"),
}
LABEL_WORDS: Final[Mapping[str, str]] = {
    "mental": "mental health", "sexual": "sexual health", "social": "social care", "substance": "alcohol and drugs",
    "violence": "violence and abuse",
}  # fmt: skip
RECIPIENT: Final = {"coding": [{"system": f"{HL7}/v3-ParticipationType", "code": "IRCP"}]}


@dataclass(frozen=True, slots=True)
class Row:
    """One choice as a page shows it. `who` empty: everybody. `until` None: until stopped. `ours` False: not in our form."""

    id: str
    allows: bool
    who: tuple[str, ...]
    kinds: tuple[str, ...]
    what: str
    labels: tuple[str, ...]
    why: str
    since: date | None
    until: date | None
    words: str
    ours: bool = True
    refs: tuple[str, ...] = ()


# -- changing ---------------------------------------------------------------------------------------------------------


def grant(
    consent: Mapping[str, Any] | None,
    patient: str,
    *,
    who: str,
    kinds: Iterable[str],
    labels: Iterable[str] = (),
    purpose: str | None = None,
    until: date | None = None,
    at: datetime,
    rule_id: str,
    words: str = "",
    why: str = "",
) -> dict[str, Any]:
    """The consent with one more permit.

    `patient` is `Patient/…`. `who`: `Practitioner/…`, `PractitionerRole/…`, `Organization/…`, `CareTeam/…`, `sector:health`,
    `role:Organization/… system|code`, or `system|value`. `kinds` and `labels` are keys of KINDS and LABELS: what is labelled
    private is not opened unless its label is named. `until` is the last day, London. Problem: invalid, business-rule.
    """
    chosen = list(dict.fromkeys(kinds))
    if not chosen:
        raise Problem("invalid", "Choose at least one part to share.", "kinds")
    common = {
        "type": "permit",
        "period": {"start": _day(at), **({"end": until.isoformat()} if until else {})},
        "actor": [{"role": RECIPIENT, "reference": _actor(who)}],
        "securityLabel": _labels(labels),
        **({"purpose": [{"system": ACT_REASON, "code": purpose}]} if purpose else {}),
    }
    return _with(consent, patient, at, _rules(rule_id, _said(words, why), common, chosen))


def hide(
    consent: Mapping[str, Any] | None,
    patient: str,
    *,
    at: datetime,
    rule_id: str,
    who: str | None = None,
    refs: Iterable[str] = (),
    kinds: Iterable[str] = (),
    labels: Iterable[str] = (),
    words: str = "",
    why: str = "",
) -> dict[str, Any]:
    """The consent with one more deny: these resources (`Type/id`), kinds or labels, from `who` or from everybody. It has no end.

    Problem invalid when it names neither whom nor what: that would be "only the people I name", another choice.
    """
    instances, chosen, private = list(refs), list(dict.fromkeys(kinds)), list(labels)
    if not (who or instances or chosen or private):
        raise Problem("invalid", "Choose what to hide, or from whom.", "who")
    common: dict[str, Any] = {"type": "deny", "period": {"start": _day(at)}}
    if who:
        common["actor"] = [{"role": RECIPIENT, "reference": _actor(who)}]
    if private:
        common["securityLabel"] = _sensitivities(private)
    if instances:
        common["data"] = [{"meaning": "instance", "reference": {"reference": r}} for r in instances]
    return _with(consent, patient, at, _rules(rule_id, _said(words, why), common, chosen))


def stop(consent: Mapping[str, Any], rule_id: str, at: datetime) -> dict[str, Any]:
    """The consent without this choice; history keeps what it was. Problem not-found when it is not there."""
    out = _own(consent)
    rules = out.get("provision", {}).get("provision", [])
    kept = [r for r in rules if _row_id(r) != rule_id]
    if len(kept) == len(rules):
        raise Problem("not-found", "This choice is not there any more.")
    provision = {k: v for k, v in out.get("provision", {}).items() if k != "provision"}
    if kept:
        provision["provision"] = kept
    out.pop("provision", None)
    if provision:
        out["provision"] = provision
    out["dateTime"] = _instant(at)
    return out


def _with(consent: Mapping[str, Any] | None, patient: str, at: datetime, rules: list[dict[str, Any]]) -> dict[str, Any]:
    out = _own(consent) if consent else _empty(patient)
    if (out.get("patient") or {}).get("reference") != patient:
        raise Problem("business-rule", "This is another person's consent.", "Consent.patient")
    provision = out.setdefault("provision", {})
    have = {_row_id(r) for r in provision.get("provision", ())}
    if _row_id(rules[0]) in have:
        raise Problem("business-rule", "There is a choice by this name already.", "Consent.provision.provision.id")
    provision["provision"] = [*provision.get("provision", ()), *rules]
    out["dateTime"] = _instant(at)
    return out


def is_ours(consent: Mapping[str, Any]) -> bool:
    """Is this the form our pages write: active, silent root, our policy."""
    codings = (consent.get("policyRule") or {}).get("coding", ())
    ours = any(c.get("system") == POLICY_SYSTEM and c.get("code") == UK_DIRECT_CARE for c in codings)
    root = consent.get("provision") or {}
    return ours and consent.get("status") == "active" and not root.keys() - {"id", "extension", "period", "provision"}


def _own(consent: Mapping[str, Any]) -> dict[str, Any]:
    if not is_ours(consent):
        raise Problem("business-rule", "This consent was not written here; it can be ended, but not changed choice by choice.")
    return copy.deepcopy(dict(consent))


def _empty(patient: str) -> dict[str, Any]:
    return {
        "resourceType": "Consent",
        "identifier": [{"system": SHARING_PREFERENCES, "value": patient}],
        "status": "active",
        "scope": {"coding": [{"system": CONSENT_SCOPE, "code": "patient-privacy"}]},
        "category": [{"coding": [{"system": "http://loinc.org", "code": "59284-0"}]}],
        "patient": {"reference": patient},
        "performer": [{"reference": patient}],
        "policyRule": {"coding": [{"system": POLICY_SYSTEM, "code": UK_DIRECT_CARE}]},
    }


def _rules(rule_id: str, said: list[dict[str, Any]], common: dict[str, Any], kinds: Sequence[str]) -> list[dict[str, Any]]:
    """One provision, or several where kinds differ in what narrows them; `id` is `rule_id`, or `rule_id.n:kinds`."""
    unknown = [k for k in kinds if k not in KINDS]
    if unknown:
        raise Problem("invalid", f"`{unknown[0]}` is not a kind of record.", "kinds")
    if not rule_id or not all(c.isalnum() or c == "-" for c in rule_id):
        raise Problem("invalid", f"`{rule_id[:40]}` cannot name a choice.", "rule_id")
    by_codes: dict[tuple[str, ...], list[str]] = {}
    for kind in kinds:
        by_codes.setdefault(KINDS[kind][1], []).append(kind)
    out = []
    for n, (codes, group) in enumerate(by_codes.items() or [((), [])]):
        types = list(dict.fromkeys(t for k in group for t in KINDS[k][0]))
        rule: dict[str, Any] = {
            "id": f"{rule_id}.{n}:{'+'.join(group)}",
            **({"extension": said} if said else {}),
            **common,
        }
        if types and n == 0 and common["type"] == "permit" and not codes:
            types.append("Patient")
        if types:
            rule["class"] = [{"system": RESOURCE_TYPES, "code": t} for t in types]
        if codes:
            rule["code"] = [{"coding": [{"system": SNOMED, "code": c} for c in codes]}]
        out.append(rule)
    if common["type"] == "permit" and not any(c["code"] == "Patient" for r in out for c in r.get("class", ())):
        person: dict[str, Any] = {"id": f"{rule_id}.{len(out)}:", **({"extension": said} if said else {}), **common}
        out.append({**person, "class": [{"system": RESOURCE_TYPES, "code": "Patient"}]})
    return out


def _actor(who: str) -> dict[str, Any]:
    if who.startswith("sector:"):
        return {"identifier": {"system": SECTOR_SYSTEM, "value": who.removeprefix("sector:")}}
    if who.startswith("role:"):
        return {"identifier": {"system": ROLE_AT, "value": who.removeprefix("role:")}}
    if "|" in who:
        system, _, value = who.partition("|")
        return {"identifier": {"system": system, "value": value}}
    kind, _, id = who.partition("/")
    if (
        kind
        not in (
            "Practitioner",
            "PractitionerRole",
            "Organization",
            "CareTeam",
            "RelatedPerson",
            "HealthcareService",
            "Group",
        )
        or not id
    ):
        raise Problem("invalid", f"`{who[:60]}` is nobody this can be shared with.", "who")
    return {"reference": who}


def _labels(labels: Iterable[str]) -> list[dict[str, str]]:
    return [{"system": CONFIDENTIALITY_SYSTEM, "code": "N"}, *_sensitivities(labels)]


def _sensitivities(labels: Iterable[str]) -> list[dict[str, str]]:
    out = []
    for label in labels:
        if label not in LABELS:
            raise Problem("invalid", f"`{label}` is not a label.", "labels")
        out += [{"system": SENSITIVITY_SYSTEM if c == "SOCIAL" else ACT_CODE, "code": c} for c in LABELS[label]]
    return out


def _said(words: str, why: str) -> list[dict[str, Any]]:
    return [{"url": url, "valueString": text} for url, text in ((WORDS, words), (WHY, why)) if text]


def _day(at: datetime) -> str:
    return at.astimezone(LONDON).date().isoformat()


def _instant(at: datetime) -> str:
    return at.isoformat(timespec="seconds").replace("+00:00", "Z")


# -- reading back -----------------------------------------------------------------------------------------------------


def rows(consent: Mapping[str, Any]) -> list[Row]:
    """Every choice in a consent, ours one a row; of any other form one row for each rule, said as it is."""
    if not is_ours(consent):
        return list(_others(consent))
    found: dict[str, list[Mapping[str, Any]]] = {}
    for rule in (consent.get("provision") or {}).get("provision", ()):
        found.setdefault(_row_id(rule), []).append(rule)
    return [_row(id, rules) for id, rules in found.items()]


def _row_id(rule: Mapping[str, Any]) -> str:
    return str(rule.get("id", "")).split(".", 1)[0]


def _row(id: str, rules: Sequence[Mapping[str, Any]]) -> Row:
    first = rules[0]
    kinds = tuple(k for r in rules for k in str(r.get("id", "")).partition(":")[2].split("+") if k in KINDS)
    who = tuple(dict.fromkeys(_who(a) for r in rules for a in r.get("actor", ())))
    labels = _label_keys(first)
    refs = tuple(d["reference"]["reference"] for d in first.get("data", ()) if d.get("reference", {}).get("reference"))
    types = [c.get("code", "") for r in rules for c in r.get("class", ())] if not kinds else []
    what = [
        *(KIND_WORDS[k] for k in kinds),
        *types,
        *(f"marked as {LABEL_WORDS[x]}" for x in labels if first.get("type") == "deny"),
        *refs,
    ]
    period = first.get("period") or {}
    return Row(
        id, first.get("type") == "permit", who, kinds, ", ".join(what) or "everything", labels, _ext(first, WHY),
        _date(period.get("start")), _date(period.get("end")), _ext(first, WORDS), refs=refs,
    )  # fmt: skip


def _who(actor: Mapping[str, Any]) -> str:
    reference = actor.get("reference") or {}
    if reference.get("reference"):
        return str(reference["reference"])
    identifier = reference.get("identifier") or {}
    system, value = identifier.get("system", ""), identifier.get("value", "")
    return f"sector:{value}" if system == SECTOR_SYSTEM else f"role:{value}" if system == ROLE_AT else f"{system}|{value}"


def _label_keys(rule: Mapping[str, Any]) -> tuple[str, ...]:
    codes = {c.get("code") for c in rule.get("securityLabel", ()) if c.get("system") in (ACT_CODE, SENSITIVITY_SYSTEM)}
    return tuple(k for k, wanted in LABELS.items() if codes.issuperset(wanted))


def _ext(rule: Mapping[str, Any], url: str) -> str:
    return next((str(e.get("valueString", "")) for e in rule.get("extension", ()) if e.get("url") == url), "")


def _date(text: str | None) -> date | None:
    try:
        return date.fromisoformat(text[:10]) if text else None
    except ValueError:
        return None


def _others(consent: Mapping[str, Any]) -> Iterator[Row]:
    try:
        given = parse(consent, str(consent.get("id", "")), 0)
    except Uncomputable as wrong:
        yield Row("", False, (), (), f"This cannot be computed, so it closes the record until somebody has looked at it: {wrong}", (), "",
                  None, None, "", ours=False)  # fmt: skip
        return
    yield from _said_rules(given.root)


def _said_rules(rule: Rule) -> Iterator[Row]:
    if rule.type:
        what = sorted({*rule.types, *rule.profiles, *rule.codes, *rule.instances, *rule.related})
        if rule.labels is not None:
            what += sorted(rule.labels.sensitivity | rule.labels.legal)
            what += (
                [f"confidentiality {'from' if rule.type == 'deny' else 'up to'} {'ULMNRV'[rule.labels.level]}"]
                if rule.labels.level is not None
                else []
            )
        yield Row(
            rule.path, rule.type == "permit", tuple(sorted(rule.who)), (), ", ".join(what) or "everything", (),
            ", ".join(sorted(p.rpartition("|")[2] for p in rule.said)), _micro_day(rule.low), _micro_day(rule.high), "", ours=False,
        )  # fmt: skip
    for child in rule.rules:
        yield from _said_rules(child)


def _micro_day(at: int | None) -> date | None:
    return None if at is None else instant(at).astimezone(LONDON).date()


# -- what may surprise ------------------------------------------------------------------------------------------------


def lint(consent: Mapping[str, Any]) -> list[str]:
    """Sentences about what in a computable consent may surprise the person who gives it; empty when nothing may."""
    try:
        grant = parse(consent, "", 0)
    except Uncomputable as wrong:
        return [f"This consent cannot be computed: {wrong}"]
    if grant.proxy:
        return []
    root, out = grant.root, []
    if root.type == "permit" and (root.what or root.who or root.said):
        out.append("Whoever this names will see only what it names: what they see now without your asking would end.")
    elif root.type == "permit":
        out.append("This lets anyone see everything that it does not take out again.")
    if root.type == "deny":
        out.append("Only the people named in it will see anything, except in an emergency.")
    if any(r.type == "deny" and r.high is not None for r in _all(root)):
        out.append("A no in it has an end: after that day the record opens again.")
    return out


def _all(rule: Rule) -> Iterator[Rule]:
    yield rule
    for child in rule.rules:
        yield from _all(child)
