"""Our own cases of consent (`tests/cases/consent`), a sentence of the specification each, through the function of `fhir-gateway decide`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from fhir_gateway.domain import cases, consent, predicate, reach
from fhir_gateway.domain.vocabulary import (
    ACT_CODE,
    ACT_REASON,
    CONFIDENTIALITY_SYSTEM,
    HL7,
    LEGAL_SYSTEM,
    POLICY_SYSTEM,
    RESOURCE_TYPES,
    ROLE_AT,
    SECTOR_SYSTEM,
)

from .unparsing import unparse

FOLDER = Path(__file__).parent / "cases" / "consent"
FILES = sorted(FOLDER.glob("*.json"))
CASES = [(case | {"file": f.name}) for f in FILES for case in json.loads(f.read_text())["cases"]]
ANN, BOB = "Patient/ann", "Patient/bob"
NAMES = {
    "gp": "Practitioner/gp", "stranger": "Practitioner/stranger", "link": "Practitioner/link", "ward": "Organization/ward", "ann": ANN, "bob": BOB,
    "medic": "Practitioner/medic", "carer": "RelatedPerson/carer", "surgery": "Organization/surgery", "trust": "Organization/trust",
}  # fmt: skip
LINK_ROLE = f"{ROLE_AT}|Organization/charity urn:roles|linkworker"
WHO: dict[str, dict[str, Any]] = {
    "gp": {"kind": "professional", "ids": [NAMES["gp"], NAMES["surgery"], f"{SECTOR_SYSTEM}|health"], "sector": "health", "relationship": True, "clinician": True},
    "stranger": {"kind": "professional", "ids": [NAMES["stranger"], "Organization/elsewhere"], "sector": "health", "clinician": True},
    "link": {"kind": "professional", "ids": [NAMES["link"], "Organization/charity", f"{SECTOR_SYSTEM}|voluntary", LINK_ROLE], "sector": "voluntary", "relationship": True},
    "ward": {"kind": "system", "ids": [NAMES["ward"]], "sector": "health", "relationship": True},
    "supplier": {"kind": "system", "ids": ["Organization/supplier"], "sector": "health", "contributor": True},
    "medic": {"kind": "professional", "ids": [NAMES["medic"], "Organization/hospital"], "sector": "health", "clinician": True, "btgRole": True},
    "ann": {"kind": "patient", "ids": [ANN], "patient": ANN},
    "bob": {"kind": "patient", "ids": [BOB], "patient": BOB},
    "carer": {"kind": "proxy", "ids": [NAMES["carer"]], "patient": ANN},
}  # fmt: skip
KNOWN = {
    "id", "title", "answer", "because", "who", "why", "do", "of", "says", "consent", "duties", "role_allows", "opted_out", "dead", "knew_before",
    "linked", "cannot_decide", "age", "elsewhere", "danger", "glass", "glass_policy", "policy", "quiet", "team", "closed", "file",
}  # fmt: skip


# -- a case in plain words as a line of `decide` -------------------------------------------------------------------------


def line(case: dict[str, Any]) -> str:
    """The case in the form of the outside suite."""
    assert not case.keys() - KNOWN, case.keys() - KNOWN
    actor = dict(WHO[case["who"]])
    if case.get("role_allows") is False:
        actor["rbac"] = False
    if case.get("dead"):
        actor["relationshipBeforeDeath"] = case.get("knew_before", bool(actor.get("relationship")))
        actor.pop("relationship", None)
    request = {
        "at": "2026-11-01T10:00:00Z", "actor": actor, "purpose": case.get("why", "TREAT"), "action": case.get("do", "access"),
        "resource": resource(case.get("of", {})), "btg": glass(case.get("glass")),
    }  # fmt: skip
    there = case.get("elsewhere", ())  # in the other record: Bob's, where the two are linked
    fixtures: dict[str, Any] = {
        "orgParents": {NAMES["ward"]: [NAMES["trust"]]}, "ndoo": [ANN] * case.get("opted_out", False) + [BOB] * ("opted_out" in there), "noNotify": [ANN] * case.get("quiet", False) + [BOB] * ("quiet" in there),
        "deceased": [ANN] * case.get("dead", False) + [BOB] * ("dead" in there), "capacity": {ANN: "lost"} if case.get("cannot_decide") else {},
        "age": {ANN: case["age"]} if "age" in case else {}, "safeguarding": {NAMES["carer"]: [ANN] * case.get("danger", False) + [BOB] * ("danger" in there)},
        "orgEnded": [NAMES[n] for n in case.get("closed", ())],
        "links": [{"a": ANN, "b": BOB, "type": case["linked"]}] if "linked" in case else [],
        "groups": {case["team"]: [{"member": NAMES[case["who"]]}]} if "team" in case else {},
    }  # fmt: skip
    env = {"implicit": case.get("policy", "uk-direct-care"), "breakGlass": case.get("glass_policy", "override")}
    said = [consent_of(s, n) for n, s in enumerate(case.get("says", []))]
    return json.dumps({"id": case["id"], "consents": said, "request": request, "fixtures": fixtures, "env": env})


def glass(said: dict[str, Any] | None) -> dict[str, Any] | None:
    return {"expires": "2026-11-01T12:00:00Z", **said} if said else None


def resource(of: dict[str, Any]) -> dict[str, Any]:
    people = [] if of.get("nobody") else [NAMES[p] for p in of.get("of", ["ann"])]
    out = {
        "type": of.get("type", "Goal"), "id": of.get("id", "g1"), "patients": people, "security": [label(x) for x in of.get("labels", ())],
        "author": [NAMES[n] for n in of.get("by", ())], "custodian": NAMES.get(of.get("kept by", "")), "codes": of.get("codes", []),
        "refs": of.get("refers", []), "referredBy": of.get("referred by", []), "date": of.get("date"), "lastUpdated": of.get("changed"),
    }  # fmt: skip
    return {k: v for k, v in out.items() if v not in (None, [])} | {"patients": people}


def label(word: str) -> dict[str, str]:
    if word.startswith("legal:"):
        return {"system": LEGAL_SYSTEM, "code": word.removeprefix("legal:")}
    return {"system": CONFIDENTIALITY_SYSTEM if len(word) == 1 else ACT_CODE, "code": word}


def consent_of(said: dict[str, Any], n: int) -> dict[str, Any]:
    policy = {"system": POLICY_SYSTEM, "code": "uk-direct-care"}
    if "proxy" in said:
        policy = {"system": "https://fhir.nhs.uk/England/CodeSystem/England-NHSProxyLegalBasis", "code": said["proxy"]}
    word = {"yes": "permit", "no": "deny"}.get(said["root"])
    root = rule({**said, **({said["root"]: said.get("to", [])} if word else {"root": ""})}, bare=word is None)
    return {
        "resourceType": "Consent", "id": said.get("id", f"c{n}"), "status": said.get("status", "active"), "patient": {"reference": NAMES[said.get("of", "ann")]},
        "scope": {"coding": [{"system": f"{HL7}/consentscope", "code": said.get("scope", "patient-privacy")}]}, "policyRule": {"coding": [policy]},
        "provision": root,
    }  # fmt: skip


def rule(said: dict[str, Any], *, bare: bool = False) -> dict[str, Any]:
    kind = "permit" if "yes" in said else "deny" if "no" in said else None
    whom = [*said.get("yes", ()), *said.get("no", ())]
    period = {k: v for k, v in (("start", said.get("from")), ("end", said.get("until"))) if v}
    out: dict[str, Any] = {
        "type": kind, "period": period, "actor": [actor(n, said.get("role", "IRCP")) for n in whom] + [actor(n, "CST") for n in said.get("kept_by", ())],
        "purpose": [{"system": ACT_REASON, "code": c} for c in said.get("why", ())],
        "action": [{"coding": [{"system": f"{HL7}/consentaction", "code": a}]} for a in said.get("do", ())],
        "class": [{"system": RESOURCE_TYPES, "code": k} for k in said.get("kinds", ())], "securityLabel": [label(x) for x in said.get("labels", ())],
        "code": [{"coding": [dict(zip(("system", "code"), c.split("|"), strict=True))]} for c in said.get("codes", ())],
        "dataPeriod": dict(zip(("start", "end"), said.get("dated", ()), strict=False)),
        "data": [{"meaning": how, "reference": {"reference": NAMES.get(what, what)}} for how, what in said.get("about", ())],
        "provision": [rule(r) for r in said.get("rules", ())],
    }  # fmt: skip
    return {k: v for k, v in out.items() if v and (not bare or k in ("period", "provision"))}


def actor(name: str, role: str) -> dict[str, Any]:
    kind, _, rest = name.partition(":")
    if kind == "sector":
        who: dict[str, Any] = {"identifier": {"system": SECTOR_SYSTEM, "value": rest}}
    elif kind == "role":
        place, code = rest.split()
        who = {"identifier": {"system": ROLE_AT, "value": f"Organization/{place} urn:roles|{code}"}}
    else:
        who = {"reference": NAMES.get(name, name)}
    return {"role": {"coding": [{"system": f"{HL7}/v3-ParticipationType", "code": role}]}, "reference": who}


# -- and the answers -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", CASES, ids=[c["id"] for c in CASES])
def test_a_case_of_our_own(case: dict[str, Any]) -> None:
    asked = line(case)
    (got,) = cases.run([asked])
    assert "error" not in got, got
    assert (got["decision"], got["basis"]) == ("permit" if case["answer"] == "yes" else "deny", case["because"]), case["title"]
    assert got["obligations"] == sorted(case.get("duties", got["obligations"] if case["answer"] == "no" else [])), case["title"]
    assert got["consent"] == case.get("consent", got["consent"])
    question, facts, known = cases.question(json.loads(asked))
    assert predicate.matches(reach.scope(question, known), facts) == (case["answer"] == "yes"), "the compiled form says otherwise"


def test_every_reason_word_has_a_case() -> None:
    assert {c["because"] for c in CASES} == set(consent.WORDS)


def test_cases_have_ids_of_their_own_and_a_sentence_each() -> None:
    assert len({c["id"] for c in CASES}) == len(CASES) and all(c["title"] for c in CASES)


def test_every_consent_of_a_case_can_be_written_back() -> None:
    for case in CASES:
        _, _, known = cases.question(json.loads(line(case)))
        for grant in (g for s in known.values() for g in s.grants):
            assert unparse(grant)["resourceType"] == "Consent"
