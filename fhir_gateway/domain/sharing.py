"""The person's own sharing choices in the one form our pages write and read back (consent.md 1.6).

One Consent a person, its root silent: each choice is a nested permit or deny, so that a grant changes nothing for anyone else
and hiding one thing opens nothing. "Only the people I name" is another choice, made with a warning: the same rules under a root
that denies. A choice keeps the words the person saw. `choices` reads all of it back; any other consent is shown as what it is.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from typing import Any, Final

from .consenting import SHARING_PREFERENCES
from .periods import LONDON
from .problem import Problem
from .vocabulary import (
    ACT_CODE,
    ACT_REASON,
    CONFIDENTIALITY_SYSTEM,
    CONSENT_SCOPE,
    HL7,
    IDENTITY,
    OURS,
    POLICY_SYSTEM,
    PROFILE_SYSTEM,
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
# with every kind, as much of it as this reader gets; `identity` opens the rest. A ServiceRequest is a referral or an unmet need, so
# it goes with needs and not with goals.
KINDS: Final[Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]]] = {
    "plan": (
        ("CarePlan", "Goal", "Task", "ServiceRequest", "Condition", "CareTeam", "RelatedPerson", "QuestionnaireResponse", "Observation",
         "Flag", "AllergyIntolerance", "MedicationStatement", "MedicationRequest", "DocumentReference", "Encounter"),
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
    "stays": (("Encounter",), ()),
    "identity": ((), ()),
}  # fmt: skip
KIND_WORDS: Final[Mapping[str, str]] = {
    "plan": "the whole plan", "goals": "goals and what we will do", "about": "what matters to me", "answers": "my answers",
    "needs": "what I need help with", "crisis": "what to do if things get worse", "team": "my team, family and friends",
    "measurements": "measurements", "documents": "documents", "stays": "hospital stays and visits", "identity": "who I am and where to reach me",
}  # fmt: skip
LABELS: Final[Mapping[str, tuple[str, ...]]] = {  # the words people understand -> sensitivities
    "mental": ("BH", "MH", "PSY"),
    "sexual": ("SEX", "STD", "HIV", "GENDER"),
    "social": ("SOCIAL",),
    "substance": ("SUD", "ETH"),
    "violence": ("SDV", "VIO"),
}
PURPOSES: Final[Mapping[str, tuple[str, ...]]] = {  # why somebody may look -> purposes of use; CAREMGT is not under TREAT
    "care": ("TREAT", "CAREMGT"), "emergency": ("ETREAT",), "research": ("HRESCH",), "any": (),
}  # fmt: skip
LABEL_WORDS: Final[Mapping[str, str]] = {
    "mental": "mental health", "sexual": "sexual health", "social": "social care", "substance": "alcohol and drugs",
    "violence": "violence and abuse",
}  # fmt: skip
MARKS: Final[Mapping[str, str]] = {  # the label that saying such a word of one's own puts on: a yes or no by the same word reaches it
    "mental": "MH", "sexual": "SEX", "social": "SOCIAL", "substance": "SUD", "violence": "SDV",
}  # fmt: skip
OUR_RULE: Final = re.compile(r"([A-Za-z0-9-]+)\.\d+:[a-z+]*")  # the id of a rule that these pages wrote: its choice, its place, its kinds
ONLY_NAMED: Final = "only-the-people-i-name"  # the id of a root that denies because the person asked for that
RECIPIENT: Final = {"coding": [{"system": f"{HL7}/v3-ParticipationType", "code": "IRCP"}]}


# -- changing ---------------------------------------------------------------------------------------------------------


def grant(
    consent: Mapping[str, Any] | None,
    patient: str,
    *,
    who: str,
    kinds: Iterable[str] = (),
    refs: Iterable[str] = (),
    labels: Iterable[str] = (),
    purpose: str = "any",
    until: date | None = None,
    since: date | None = None,
    at: datetime,
    rule_id: str,
    words: str = "",
    why: str = "",
) -> dict[str, Any]:
    """The consent with one more permit.

    `patient` is `Patient/…`. `who`: `Practitioner/…`, `PractitionerRole/…`, `Organization/…`, `CareTeam/…`, `sector:health`,
    `role:Organization/… system|code`, or `system|value`. `kinds`, `labels` and `purpose` are keys of KINDS, LABELS and PURPOSES:
    what is labelled private is not opened unless its label is named. `refs` (`Type/id`) are single things, opened whatever their
    label: the person has looked at each. `until` is the last day, London. Problem: invalid, business-rule.
    """
    chosen, things = list(dict.fromkeys(kinds)), list(dict.fromkeys(refs))
    if not (chosen or things):
        raise Problem("invalid", "Choose at least one part to share.", "kinds")
    if purpose not in PURPOSES:
        raise Problem("invalid", f"`{purpose[:40]}` is not a reason to share.", "purpose")
    common = {
        "type": "permit",
        "period": {"start": (since or _today(at)).isoformat(), **({"end": until.isoformat()} if until else {})},
        "actor": [{"role": RECIPIENT, "reference": _actor(who)}],
        **({"purpose": [{"system": ACT_REASON, "code": c} for c in PURPOSES[purpose]]} if PURPOSES[purpose] else {}),
    }
    return _with(consent, patient, at, permits(rule_id, _said(words, why), common, chosen, things, labels))


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
    since: date | None = None,
    words: str = "",
    why: str = "",
) -> dict[str, Any]:
    """The consent with one more deny: each of these resources (`Type/id`), kinds and labels, from `who` or from everybody.

    It has no end: after one the record would open again. Problem invalid when it names neither whom nor what: that would be
    "only the people I name", another choice.
    """
    things, chosen, private = list(dict.fromkeys(refs)), list(dict.fromkeys(kinds)), list(labels)
    if "identity" in chosen:
        raise Problem("invalid", "Who you are cannot be hidden from somebody who sees your record: hide all of it, or say that where you are is secret.", "kinds")
    if not (who or things or chosen or private):
        raise Problem("invalid", "Choose what to hide, or from whom.", "who")
    common: dict[str, Any] = {"type": "deny", "period": {"start": (since or _today(at)).isoformat()}}
    if who:
        common["actor"] = [{"role": RECIPIENT, "reference": _actor(who)}]
    return _with(consent, patient, at, denies(rule_id, _said(words, why), common, chosen, things, private))


def change(consent: Mapping[str, Any], rule_id: str, *, at: datetime, **choice: Any) -> dict[str, Any]:
    """The consent with another permit in the place of this choice, in one version; `choice` as `grant` takes it.

    It keeps the day it began. Problem not-found when the choice is not there.
    """
    began = next((_start(r) for r in _rules_of(consent) if _row_id(r) == rule_id), None)
    patient = str((consent.get("patient") or {}).get("reference", ""))
    return grant(stop(consent, rule_id, at), patient, at=at, rule_id=rule_id, since=began, **choice)


def only_named(consent: Mapping[str, Any] | None, patient: str, at: datetime) -> dict[str, Any]:
    """The consent under which nobody sees anything but whom a choice names: root deny. The choices stay as they are."""
    out = _own(consent) if consent else _empty(patient)
    rest = {k: v for k, v in out.get("provision", {}).items() if k not in ("id", "type")}
    return {**out, "provision": {"id": ONLY_NAMED, "type": "deny", **rest}, "dateTime": _instant(at)}


def as_usual(consent: Mapping[str, Any], at: datetime) -> dict[str, Any]:
    """The consent without "only the people I name": the default goes on for those whom no choice names."""
    out = _own(consent)
    rest = {k: v for k, v in out.pop("provision", {}).items() if k not in ("id", "type")}
    return {**out, **({"provision": rest} if rest else {}), "dateTime": _instant(at)}


def is_only_named(consent: Mapping[str, Any]) -> bool:
    """Did the person choose, here, that only those whom they name may see anything."""
    return is_ours(consent) and (consent.get("provision") or {}).get("type") == "deny"


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
    """Is this the form our pages write: active, our policy, a silent root or our own "only the people I name", rules of our making."""
    codings = (consent.get("policyRule") or {}).get("coding", ())
    ours = any(c.get("system") == POLICY_SYSTEM and c.get("code") == UK_DIRECT_CARE for c in codings)
    root = consent.get("provision") or {}
    silent = "type" not in root or (root["type"] == "deny" and root.get("id") == ONLY_NAMED)
    plain = not root.keys() - {"id", "extension", "period", "type", "provision"}
    whole = all(OUR_RULE.fullmatch(str(r.get("id", ""))) for r in _rules_of(consent))
    return ours and consent.get("status") == "active" and silent and plain and whole


def _rules_of(consent: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    rules: Sequence[Mapping[str, Any]] = (consent.get("provision") or {}).get("provision", ())
    return rules


def _row_id(rule: Mapping[str, Any]) -> str:
    return str(rule.get("id", "")).split(".", 1)[0]


def _start(rule: Mapping[str, Any]) -> date | None:
    try:
        return date.fromisoformat(str((rule.get("period") or {}).get("start", ""))[:10])
    except ValueError:
        return None


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


Rules = list[dict[str, Any]]


def permits(
    rule_id: str, said: Rules, common: Mapping[str, Any], kinds: Sequence[str], refs: Sequence[str], labels: Iterable[str]
) -> Rules:
    """The provisions of one permit: kinds by their codes, single things, and whose record it is."""
    levels = [{"system": CONFIDENTIALITY_SYSTEM, "code": "N"}, *_sensitivities(labels)]
    parts = [{**common, "securityLabel": levels, **part} for part in _kinds(kinds)]
    open_kinds = next((p for p in parts if "code" not in p), None)
    if open_kinds is not None:
        open_kinds["class"] = [*open_kinds["class"], _class("Patient")]
    names = ["+".join(group) for group in _grouped(kinds).values()]
    if refs:
        parts.append({**common, **_data(refs)})
        names.append("")
    if open_kinds is None:
        parts.append({**common, "securityLabel": levels, "class": [_class("Patient")]})
        names.append("")
    return _numbered(rule_id, said, names, parts)


def denies(
    rule_id: str, said: Rules, common: Mapping[str, Any], kinds: Sequence[str], refs: Sequence[str], labels: Sequence[str]
) -> Rules:
    """The provisions of one deny: any of these kinds, single things or labels; everything when it names none."""
    parts = [{**common, **part} for part in _kinds(kinds)]
    names = ["+".join(group) for group in _grouped(kinds).values()]
    more = [*([_data(refs)] if refs else []), *([{"securityLabel": _sensitivities(labels)}] if labels else [])]
    parts += [{**common, **part} for part in more]
    return _numbered(rule_id, said, [*names, *("" for _ in more)] or [""], parts or [dict(common)])


def _numbered(rule_id: str, said: Rules, names: Sequence[str], parts: Rules) -> Rules:
    if not rule_id or not all(c.isascii() and (c.isalnum() or c == "-") for c in rule_id):
        raise Problem("invalid", f"`{rule_id[:40]}` cannot name a choice.", "rule_id")
    extension = {"extension": said} if said else {}
    return [{"id": f"{rule_id}.{n}:{name}", **extension, **part} for n, (name, part) in enumerate(zip(names, parts, strict=True))]


def _kinds(kinds: Sequence[str]) -> Rules:
    """Classes, with the codes that narrow them: one for each set of codes."""
    out: Rules = []
    for codes, group in _grouped(kinds).items():
        types = dict.fromkeys(t for k in group for t in KINDS[k][0])
        code = {"code": [{"coding": [{"system": SNOMED, "code": c} for c in codes]}]} if codes else {}
        details = [{"system": PROFILE_SYSTEM, "code": IDENTITY}] if "identity" in group else []
        out.append({"class": [*(_class(t) for t in types), *details], **code})
    return out


def _grouped(kinds: Sequence[str]) -> dict[tuple[str, ...], list[str]]:
    unknown = [k for k in kinds if k not in KINDS]
    if unknown:
        raise Problem("invalid", f"`{unknown[0][:40]}` is not a kind of record.", "kinds")
    by_codes: dict[tuple[str, ...], list[str]] = {}
    for kind in kinds:
        by_codes.setdefault(KINDS[kind][1], []).append(kind)
    return by_codes


def _class(type: str) -> dict[str, str]:
    return {"system": RESOURCE_TYPES, "code": type}


def _data(refs: Iterable[str]) -> dict[str, Any]:
    return {"data": [{"meaning": "instance", "reference": {"reference": r}} for r in refs]}


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


def _sensitivities(labels: Iterable[str]) -> list[dict[str, str]]:
    out = []
    for label in labels:
        if label not in LABELS:
            raise Problem("invalid", f"`{label}` is not a label.", "labels")
        out += [{"system": sensitivity_system(c), "code": c} for c in LABELS[label]]
    return out


def sensitivity_system(code: str) -> str:
    return SENSITIVITY_SYSTEM if code == "SOCIAL" else ACT_CODE


def _said(words: str, why: str) -> list[dict[str, Any]]:
    return [{"url": url, "valueString": text} for url, text in ((WORDS, words), (WHY, why)) if text]


def _today(at: datetime) -> date:
    return at.astimezone(LONDON).date()


def _instant(at: datetime) -> str:
    return at.isoformat(timespec="seconds").replace("+00:00", "Z")
