"""Slips of the pen in a Consent: it can be computed, and yet a rule of it says less than it seems to.

A no to a code that nobody uses closes nothing. So such a consent is refused at the door, with the place and what would be right, and from a
partner it counts as one that cannot be computed. The decision itself knows nothing of this. consent.md 1.4; docs/consents.md
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, Final

from .directory import ODS_CODE, Directory
from .grants import Rule
from .groups import named_group
from .provisions import DATA_SOURCE, ENVIRONMENT, Uncomputable, parse
from .vocabulary import ACT_CODE, ACT_REASON, LABEL_CODES, PURPOSES, ROLE_AT, SECTOR_SYSTEM

SYSTEMS: Final = (ODS_CODE, SECTOR_SYSTEM, ROLE_AT)  # identifier systems that every deployment knows
CODE_SYSTEMS: Final = (  # https://hl7.org/fhir/R4/terminologies-systems.html, what health records here are coded in
    "http://snomed.info/sct", "http://loinc.org", "http://hl7.org/fhir/sid/icd-10", "http://www.nlm.nih.gov/research/umls/rxnorm",
    "https://dmd.nhs.uk", "http://unitsofmeasure.org",
)  # fmt: skip
OIDS: Final = {  # the same in HL7 v3 and CDA; https://hl7.org/fhir/R4/terminologies-systems.html has them side by side
    "urn:oid:2.16.840.1.113883.6.96": "http://snomed.info/sct", "urn:oid:2.16.840.1.113883.6.1": "http://loinc.org",
    "urn:oid:2.16.840.1.113883.6.3": "http://hl7.org/fhir/sid/icd-10", "urn:oid:2.16.840.1.113883.6.8": "http://unitsofmeasure.org",
    "urn:oid:2.16.840.1.113883.6.88": "http://www.nlm.nih.gov/research/umls/rxnorm",
}  # fmt: skip
_SNOMED_CODE: Final = re.compile(r"[=<(\s]*[0-9]")  # a concept, or an expression of them
SOMEBODY: Final = (
    "Organization", "Practitioner", "PractitionerRole", "HealthcareService", "CareTeam", "Group", "Patient", "RelatedPerson", "Device",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Slip:
    """`where` is a FHIRPath; `text` a sentence with the value in backticks and what would be right."""

    where: str
    text: str


def slips(consent: Mapping[str, Any], *, denies: bool = False) -> list[Slip]:
    """Every slip that can be seen without a directory; `denies`: only those in a no. None of what is not in force or cannot be computed."""
    return [s for node, rule in _rules(consent) if not denies or rule.type == "deny" for s in _in(node, rule)]


def of_partner(consent: Mapping[str, Any]) -> list[Slip]:
    """Every slip in a no, and every no to a Group: who is in theirs is not known here."""
    groups = [
        Slip(f"{where}.reference", f"`{reference['reference'][:60]}` speaks of nobody here: who is in a partner's group is not known")
        for node, rule in _rules(consent) if rule.type == "deny" for where, reference in _references(node, rule.path) if _group(reference)
    ]  # fmt: skip
    return slips(consent, denies=True) + groups


def nobody(consent: Mapping[str, Any], directory: Directory, base: str = "") -> list[Slip]:
    """Every no to a Group that is not here, or to an identifier that nobody in the directory has, where its system is one that the
    directory holds; and every Group here (at `base`) that it quotes as an agreement on sharing and that is none."""
    names = directory.identifiers()
    systems = {n.partition("|")[0] for n in names} - {""}
    out = _no_agreements(consent, directory, base)
    for node, rule in _rules(consent):
        for where, reference in _references(node, rule.path) if rule.type == "deny" else ():
            group = _group(reference)
            if group and group not in directory.groups:
                out.append(Slip(f"{where}.reference", f"`{group[:60]}` is no group of staff here: name one that is"))
            system, value = _identifier(reference)
            right = _spelt_as(system, systems)
            if right:
                out.append(Slip(f"{where}.identifier.system", f"`{system[:80]}` is not a system that anybody here has a number in: write `{right}`"))
            elif system in systems and f"{system}|{value}" not in names:
                out.append(Slip(f"{where}.identifier.value", f"`{value[:60]}` is nobody's here in `{system[:80]}`{_meant(value, _values(names, system))}"))
    return out


def _no_agreements(consent: Mapping[str, Any], directory: Directory, base: str) -> list[Slip]:
    agreements = {g.ref for g in directory.groups.values() if g.quoted}
    quoted = [(i, p["uri"]) for i, p in enumerate(consent.get("policy", ())) if p.get("uri")] if _rules(consent) else []
    return [
        Slip(f"Consent.policy[{i}].uri", f"`{uri[:60]}` is no agreement on sharing here: name one that is")
        for i, uri in quoted if (group := named_group(uri, base)) and group not in agreements
    ]  # fmt: skip


def devices(consent: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Each system that a no in it speaks to: (where, `Device/id`)."""
    return [
        (f"{where}.reference", text.split("/_history/", 1)[0])
        for node, rule in _rules(consent) if rule.type == "deny" for where, reference in _references(node, rule.path)
        if ".actor[" in where and (text := str(reference.get("reference") or "")).startswith("Device/")
    ]  # fmt: skip


def things(consent: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Each thing that a no in it names by its place: (where, `Type/id`)."""
    return [
        (f"{rule.path}.data[{i}].reference.reference", str(item["reference"]["reference"]).split("/_history/", 1)[0])
        for node, rule in _rules(consent) if rule.type == "deny" for i, item in enumerate(node.get("data", ())) if item.get("meaning") != "authoredby"
    ]  # fmt: skip


def _rules(consent: Mapping[str, Any]) -> Iterable[tuple[Mapping[str, Any], Rule]]:
    """Each provision as written, with the rule that it is read as."""
    try:
        grant = parse(consent, "", 0)
    except Uncomputable:
        return ()
    return _beside(consent.get("provision") or {}, grant.root) if grant.speaks() else ()


def _beside(node: Mapping[str, Any], rule: Rule) -> Iterator[tuple[Mapping[str, Any], Rule]]:
    yield node, rule
    for inner, read in zip(node.get("provision", ()), rule.rules, strict=True):
        yield from _beside(inner, read)


def _in(node: Mapping[str, Any], rule: Rule) -> Iterator[Slip]:
    path = rule.path
    if rule.actions == {"use"}:
        yield Slip(f"{path}.action[0]", "`use` alone is never asked here: write `access` for seeing it, `disclose` for sending it on")
    for i, purpose in enumerate(node.get("purpose", ())):
        yield from _purpose(purpose, f"{path}.purpose[{i}]")
    for i, label in enumerate(node.get("securityLabel", ())):
        yield from _label(label, f"{path}.securityLabel[{i}]")
    for i, concept in enumerate(node.get("code", ())):
        for j, coding in enumerate(concept["coding"]):
            where, right = f"{path}.code[{i}].coding[{j}].system", _of_edition(coding.get("system", ""))
            if not coding.get("system"):
                yield Slip(where, f"`{coding['code'][:60]}` has no system, so it is the code of nothing: write its `system`")
            elif right:
                yield Slip(where, f"`{coding['system'][:80]}` is not what this system is called: write `{right}`")
            elif coding["system"] == CODE_SYSTEMS[0] and not _SNOMED_CODE.match(coding["code"]):
                yield Slip(f"{path}.code[{i}].coding[{j}].code", f"`{coding['code'][:60]}` is no code of SNOMED CT: write the concept's number")
    for i, extension in enumerate(node.get("extension", ())):
        yield from _extension(extension, f"{path}.extension[{i}]")
    for where, reference in _references(node, path):
        yield from _reference(reference, where)
        if (group := _group(reference)) and (".data[" in where or group in rule.custodians):
            yield Slip(f"{where}.reference", f"`{group[:60]}` writes and keeps nothing: name one of its members, or an organisation")


def _purpose(coding: Mapping[str, Any], where: str) -> Iterator[Slip]:
    system, code = coding.get("system", ACT_REASON), coding["code"]
    if system != ACT_REASON:
        yield Slip(where, f"`{system[:80]}` is not a system of purposes: write a code of `{ACT_REASON}`")
    elif code not in PURPOSES:
        yield Slip(where, f"`{code[:60]}` is not a purpose of use in `{ACT_REASON}`{_meant(code, PURPOSES) or ': write `TREAT`, for instance'}")


def _label(coding: Mapping[str, Any], where: str) -> Iterator[Slip]:
    system, code = coding["system"], coding["code"]
    known = LABEL_CODES.get(system)
    if known is not None and code not in known:
        some = ", ".join(f"`{c}`" for c in sorted(known)) if system != ACT_CODE else ""
        yield Slip(where, f"`{code[:60]}` is not a label in `{system}`{_meant(code, known) or (': write one of ' + some if some else ': write a code of sensitivity')}")


def _extension(extension: Mapping[str, Any], where: str) -> Iterator[Slip]:
    if extension.get("url") == DATA_SOURCE and not extension.get("valueUri"):
        yield Slip(where, "it names no source: write it as `valueUri`")
    codings = (extension.get("valueCodeableConcept") or {}).get("coding", ())
    if extension.get("url") == ENVIRONMENT and not any(c.get("code") for c in codings):
        yield Slip(where, "it names no environment: write a coding in `valueCodeableConcept`")


# -- whom it names ----------------------------------------------------------------------------------------------------


def _references(node: Mapping[str, Any], path: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for i, actor in enumerate(node.get("actor", ())):
        yield f"{path}.actor[{i}].reference", actor["reference"]
    for i, item in enumerate(node.get("data", ())):
        if item.get("meaning") == "authoredby":
            yield f"{path}.data[{i}].reference", item["reference"]


def _reference(reference: Mapping[str, Any], where: str) -> Iterator[Slip]:
    text = reference.get("reference")
    if text:
        if text.split("/")[0] not in SOMEBODY:
            yield Slip(f"{where}.reference", f"`{text[:60]}` cannot be anybody: name one of {', '.join(SOMEBODY)}")
        return
    system, value = _identifier(reference)
    right = _spelt_as(system, SYSTEMS)
    if not system:
        yield Slip(f"{where}.identifier.system", f"`{value[:60]}` has no system, so it is nobody's: write its `system`, `{ODS_CODE}` for instance")
    elif right:
        yield Slip(f"{where}.identifier.system", f"`{system[:80]}` is not a system that anybody here has a number in: write `{right}`")


def _group(reference: Mapping[str, Any]) -> str:
    """`Group/id`; empty where it names anything else."""
    text = str(reference.get("reference") or "").split("/_history/", 1)[0]
    return text if text.startswith("Group/") else ""


def _identifier(reference: Mapping[str, Any]) -> tuple[str, str]:
    """(system, value); two empty ones where a reference goes before."""
    found = {} if reference.get("reference") else reference.get("identifier") or {}
    return found.get("system", ""), found.get("value", "")


def _spelt_as(system: str, right: Iterable[str]) -> str:
    """The system of `right` that this one was to be; empty when it is one of them, or like none."""
    known = set(right)
    return "" if system in known else {_plain(r): r for r in sorted(known)}.get(_plain(system), "")


def _plain(system: str) -> str:
    """Without what is easily written otherwise: case, `http` or `https`, spaces and slashes around it."""
    return system.strip().casefold().removeprefix("http://").removeprefix("https://").removeprefix("www.").rstrip("/#")


def _of_edition(system: str) -> str:
    """The code system that this one was to be, also where it names a version of it; empty as for `_spelt_as`."""
    whole = _spelt_as(system, CODE_SYSTEMS) or OIDS.get(system.strip().lower(), "")
    return whole or next((c for c in CODE_SYSTEMS if _plain(system).startswith((f"{_plain(c)}/", f"{_plain(c)}|"))), "")


def _values(names: Iterable[str], system: str) -> list[str]:
    return [v for s, _, v in (n.partition("|") for n in names) if s == system]


def _meant(said: str, right: Collection[str]) -> str:
    """": write `X`" for what it is most like, or nothing."""
    by_case = {r.casefold(): r for r in sorted(right)}
    near = get_close_matches(said.strip().casefold(), by_case, 1, 0.7)
    return f": is it `{by_case[near[0]]}`?" if near else ""


__all__ = ["Slip", "devices", "nobody", "of_partner", "slips", "things"]
