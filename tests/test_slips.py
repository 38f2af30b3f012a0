"""A slip of the pen in a Consent is refused and says where, or warned of: a no never closes less than it seems to (consent.md 1.4)."""

from __future__ import annotations

from typing import Any

import pytest

from fhir_gateway import definitions
from fhir_gateway.domain import slips
from fhir_gateway.domain.building import read_consent, read_foreign
from fhir_gateway.domain.directory import ODS_CODE
from fhir_gateway.domain.grants import Grant
from fhir_gateway.domain.provisions import DATA_SOURCE, ENVIRONMENT
from fhir_gateway.domain.standing import Broken
from fhir_gateway.domain.vocabulary import (
    ACT_CODE,
    ACT_REASON,
    CONSENT_ACTION,
    HANDLING,
    LABEL_CODES,
    LEGAL_SYSTEM,
    PURPOSES,
    ROLE_AT,
    SENSITIVITY_SYSTEM,
)

from .conftest import Gateway
from .staff import actor, consent, permit, recorded, save

RULE = "Consent.provision.provision[0]"


def action(*codes: str) -> dict[str, Any]:
    return {"action": [{"coding": [{"system": CONSENT_ACTION, "code": c}]} for c in codes]}


def label(system: str, code: str) -> dict[str, Any]:
    return {"securityLabel": [{"system": system, "code": code}]}


def whom(**identifier: str) -> dict[str, Any]:
    return {"actor": [actor("x/y") | {"reference": {"identifier": identifier}}]}


# what the rule says -> (where below the rule, the value that is named, what would be right)
SLIPS: dict[str, tuple[dict[str, Any], str, str, str]] = {
    "an action that is never asked": (action("use"), "action[0]", "`use`", "`access`"),
    "an unknown sensitivity": (label(ACT_CODE, "PSYCH"), "securityLabel[0]", "`PSYCH`", "`PSY`"),
    "nothing like a sensitivity": (label(ACT_CODE, "OPTIN"), "securityLabel[0]", "`OPTIN`", "code of sensitivity"),
    "an unknown sensitivity of ours": (label(SENSITIVITY_SYSTEM, "XX"), "securityLabel[0]", "`XX`", "`SOCIAL`"),
    "an unknown restriction by law": (label(LEGAL_SYSTEM, "HFE"), "securityLabel[0]", "`HFE`", "`HFEA`"),
    "no purpose of use": ({"purpose": [{"system": ACT_REASON, "code": "ADMREV"}]}, "purpose[0]", "`ADMREV`", "purpose of use"),
    "a purpose of another system": ({"purpose": [{"system": "urn:x", "code": "TREAT"}]}, "purpose[0]", "`urn:x`", ACT_REASON),
    "a code without system": ({"code": [{"coding": [{"code": "370143000"}]}]}, "code[0].coding[0].system", "`370143000`", "`system`"),
    "a code system with a slash": ({"code": [{"coding": [{"system": "http://snomed.info/sct/", "code": "73211009"}]}]}, "code[0].coding[0].system", "`http://snomed.info/sct/`", "`http://snomed.info/sct`"),
    "a code system's edition": ({"code": [{"coding": [{"system": "http://snomed.info/sct/83821000000107", "code": "73211009"}]}]}, "code[0].coding[0].system", "83821000000107`", "`http://snomed.info/sct`"),
    "a code system by https": ({"code": [{"coding": [{"system": "https://loinc.org", "code": "718-7"}]}]}, "code[0].coding[0].system", "`https://loinc.org`", "`http://loinc.org`"),
    "a code system's OID": ({"code": [{"coding": [{"system": "urn:oid:2.16.840.1.113883.6.96", "code": "73211009"}]}]}, "code[0].coding[0].system", "`urn:oid:2.16.840.1.113883.6.96`", "`http://snomed.info/sct`"),
    "a code of SNOMED CT in letters": ({"code": [{"coding": [{"system": "http://snomed.info/sct", "code": "notacode"}]}]}, "code[0].coding[0].code", "`notacode`", "number"),
    "a source of the wrong kind": ({"extension": [{"url": DATA_SOURCE, "valueString": "urn:x"}]}, "extension[0]", "it names", "`valueUri`"),
    "an environment in words": ({"extension": [{"url": ENVIRONMENT, "valueCodeableConcept": {"text": "x"}}]}, "extension[0]", "it names", "coding"),
    "a number without system": (whom(value="926"), "actor[0].reference.identifier.system", "`926`", "`system`"),
    "a system in the wrong case": (whom(system=ODS_CODE.lower(), value="926"), "actor[0].reference.identifier.system", f"`{ODS_CODE.lower()}`", f"`{ODS_CODE}`"),
    "a thing that is nobody": ({"actor": [actor("Goal/x")]}, "actor[0].reference.reference", "`Goal/x`", "Organization"),
    "a group as author": ({"data": [{"meaning": "authoredby", "reference": {"reference": "Group/g"}}]}, "data[0].reference.reference", "`Group/g`", "its members"),
    "a group as custodian": ({"actor": [actor("Group/g", "CST")]}, "actor[0].reference.reference", "`Group/g`", "its members"),
    "an author without system": ({"data": [{"meaning": "authoredby", "reference": {"identifier": {"value": "9"}}}]}, "data[0].reference.identifier.system", "`9`", "`system`"),
}  # fmt: skip
NOBODY = {
    "a number that nobody has": (whom(system=ODS_CODE, value="000XX"), "actor[0].reference.identifier.value", "`000XX`", "nobody's"),
    "a group that is not here": ({"actor": [actor("Group/night-team")]}, "actor[0].reference.reference", "`Group/night-team`", "group of staff"),
    "a system that nobody registered": ({"actor": [actor("Device/nobody-here")]}, "actor[0].reference.reference", "`Device/nobody-here`", "registered"),
    "a number in the wrong case": (whom(system=ODS_CODE, value="d82001"), "actor[0].reference.identifier.value", "`d82001`", "`D82001`"),
}


def told(answer: Any) -> list[tuple[str, str]]:
    return [(i["expression"][0], i["diagnostics"]) for i in answer.json()["issue"]]


@pytest.mark.parametrize("slip", [*SLIPS, *NOBODY])
def test_a_no_that_would_close_less_than_it_seems_is_refused_with_the_place_and_what_would_be_right(demo: Gateway, slip: str) -> None:
    said, where, value, right = {**SLIPS, **NOBODY}[slip]
    body = consent(demo.patient, {"type": "deny"} | said)
    alone = demo.call("patient", "POST", "Consent", body=body)
    entry = {"resource": body, "request": {"method": "POST", "url": "Consent"}}
    inside = demo.call("patient", "POST", "", body={"resourceType": "Bundle", "type": "transaction", "entry": [entry]})
    params = {"resourceType": "Parameters", "parameter": [
        {"name": "who", "valueString": demo.persona("social-worker")["fhirUser"]}, {"name": "consent", "resource": body}]}  # fmt: skip
    tried = demo.call("patient", "POST", "Consent/$preview", body=params)
    assert (alone.status_code, inside.status_code, tried.status_code) == (422, 422, 422), (alone.text, inside.text, tried.text)
    for answer in (alone, tried):
        ((place, text),) = told(answer)
        assert place == f"{RULE}.{where}" and value in text and right in text, (place, text)


def test_a_no_to_a_thing_that_is_not_here_is_refused_as_one_to_what_its_writer_does_not_see(demo: Gateway) -> None:
    """And what a kept no names may go: the consent can be changed still."""
    me = {"reference": f"Patient/{demo.patient}"}
    body = {"resourceType": "Goal", "lifecycleStatus": "active", "description": {"text": "x"}, "subject": me}
    here = f"Goal/{demo.call('patient', 'POST', 'Goal', body=body).json()['id']}"
    kept_back = {"meta": {"security": [{"system": ACT_CODE, "code": "NOPAT"}]}}
    unseen = demo.call("gp", "POST", "Goal", body=body | kept_back)
    hidden = f"Goal/{unseen.headers['location'].split('/Goal/')[1].split('/')[0]}"

    def no(*names: str) -> dict[str, Any]:
        return consent(demo.patient, {"type": "deny", "data": [{"meaning": "instance", "reference": {"reference": n}} for n in names]})

    answers = [demo.call("patient", "POST", "Consent", body=no(here, name)) for name in ("Goal/typo", "Gaol/typo", hidden)]
    for name, answer in zip(("Goal/typo", "Gaol/typo", hidden), answers, strict=True):
        assert answer.status_code == 422, answer.text
        ((place, text),) = told(answer)
        assert place == f"{RULE}.data[1].reference.reference" and text.replace(name, "") == told(answers[0])[0][1].replace("Goal/typo", "")
    made = demo.call("patient", "POST", "Consent", body=no(here))
    assert made.status_code == 201, made.text
    now = demo.get("patient", here)
    assert demo.call("patient", "DELETE", here, headers={"If-Match": now.headers["etag"]}).status_code == 204
    changed = save(demo, made.json() | {"policyRule": {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "OPTIN"}]}}, made.headers["etag"])
    assert changed.status_code == 200, changed.text
    assert save(demo, changed.json() | {"status": "inactive"}, changed.headers["etag"]).status_code == 200
    new = {"fullUrl": "urn:uuid:0198c0de-0000-4000-8000-000000000001", "resource": body, "request": {"method": "POST", "url": "Goal"}}
    both = [{"resource": no(new["fullUrl"]), "request": {"method": "POST", "url": "Consent"}}, new]  # type: ignore[arg-type]
    done = demo.call("patient", "POST", "", body={"resourceType": "Bundle", "type": "transaction", "entry": both})
    assert done.status_code == 200, done.text
    last = done.json()["entry"][0]["response"]["location"].split("/_history")[0]
    ended = demo.get("patient", last)
    assert save(demo, ended.json() | {"status": "inactive"}, ended.headers["etag"]).status_code == 200


def test_each_slip_of_one_consent_is_told_at_once(demo: Gateway) -> None:
    body = consent(demo.patient, {"type": "deny"} | SLIPS["no purpose of use"][0] | action("use"), {"type": "deny"} | whom(value="9"))
    answer = demo.call("patient", "POST", "Consent", body=body)
    assert answer.status_code == 422
    assert [w for w, _ in told(answer)] == [f"{RULE}.action[0]", f"{RULE}.purpose[0]", f"{RULE[:-3]}[1].actor[0].reference.identifier.system"]


def test_a_change_that_brings_a_slip_is_refused_and_what_was_stays(demo: Gateway) -> None:
    made = demo.call("patient", "POST", "Consent", body=consent(demo.patient, permit("Organization/nope", type="deny")))
    assert made.status_code == 201, made.text
    slipped = made.json() | {"provision": {"provision": [{"type": "deny"} | action("use")]}}
    assert save(demo, slipped, made.headers["etag"]).status_code == 422
    ended = save(demo, slipped | {"status": "inactive"}, made.headers["etag"])
    assert ended.status_code == 200, "whatever it says, it can be ended"


def test_what_may_come_to_be_somebody_is_kept_with_a_warning(demo: Gateway) -> None:
    strangers = ("HealthcareService/nope", "urn:their-register|1", f"{ROLE_AT}|Organization/nope urn:roles|nurse", "RelatedPerson/nope", "Patient/nope")
    by_job = actor("x/y") | {"reference": {"identifier": {"system": ROLE_AT, "value": strangers[2].partition("|")[2]}}}
    rule = permit(*strangers[:2], *strangers[3:], f"{ODS_CODE}|D82001", type="deny")
    body = consent(demo.patient, rule | {"actor": [*rule["actor"], by_job]}, permit(f"{ODS_CODE}|000XX", "Group/nope"))
    kept = demo.call("patient", "POST", "Consent", body=body, headers={"Prefer": "return=OperationOutcome"})
    assert kept.status_code == 201, kept.text
    warned = {i["diagnostics"].split("`")[1]: i["diagnostics"] for i in kept.json()["issue"] if i["code"] == "not-found"}
    assert set(warned) == {*(s[:80] for s in strangers), f"{ODS_CODE}|000XX", "Group/nope"}
    assert "closes nothing" in warned["HealthcareService/nope"] and "opens nothing" in warned[f"{ODS_CODE}|000XX"]
    now = demo.get("patient", kept.headers["location"].split("/fhir/")[1].split("/_history")[0])
    assert save(demo, now.json() | {"status": "inactive"}, now.headers["etag"]).status_code == 200


def test_a_device_in_a_yes_and_an_author_who_are_not_here_are_warned_of(demo: Gateway) -> None:
    wrote = [{"meaning": "authoredby", "reference": {"reference": n}} for n in ("Practitioner/typo", "Organization/typo", "Device/typo", "Device/hospital")]
    monitor = demo.call("patient", "POST", "Device", body={"resourceType": "Device", "patient": {"reference": f"Patient/{demo.patient}"}})
    assert monitor.status_code == 201, monitor.text
    mine = {"meaning": "authoredby", "reference": {"reference": f"Device/{monitor.json()['id']}"}}
    body = consent(demo.patient, {"type": "deny", "data": [*wrote, mine]}, permit("Device/hospital", type="deny"), permit("Device/nope", "Device/hospital"))
    kept = demo.call("patient", "POST", "Consent", body=body, headers={"Prefer": "return=OperationOutcome"})
    assert kept.status_code == 201, kept.text
    warned = {i["diagnostics"].split("`")[1]: (i["expression"][0], i["diagnostics"]) for i in kept.json()["issue"] if i["code"] == "not-found"}
    assert set(warned) == {"Practitioner/typo", "Organization/typo", "Device/typo", "Device/nope"}
    assert warned["Organization/typo"][0] == f"{RULE}.data" and "closes nothing" in warned["Organization/typo"][1]
    assert warned["Device/nope"][0].endswith("[2].actor") and "opens nothing" in warned["Device/nope"][1]
    now = demo.get("patient", kept.headers["location"].split("/fhir/")[1].split("/_history")[0])
    assert save(demo, now.json() | {"status": "inactive"}, now.headers["etag"]).status_code == 200


@pytest.mark.parametrize("slip", SLIPS)
def test_from_a_partner_a_no_with_a_slip_cannot_be_computed_so_it_closes(slip: str) -> None:
    said, where, _, _ = SLIPS[slip]
    read = read_foreign(consent("p", {"type": "deny"} | said), "c", 1)
    assert isinstance(read, Broken) and read.where == f"{RULE}.{where}"
    assert isinstance(read_consent(consent("p", {"type": "deny"} | said), "c", 1), Grant), "the decision itself knows nothing of it"
    exception = consent("p", {"type": "deny", "provision": [{"type": "permit"} | said]})
    assert isinstance(read_foreign(exception, "c", 1), Grant), "what opens nothing leaves the no as it is"
    assert not slips.slips(consent("p", {"type": "deny"} | said, status="inactive"))


def test_from_a_partner_a_no_to_a_group_cannot_be_computed_since_theirs_is_not_ours() -> None:
    read = read_foreign(consent("p", permit("Group/g", type="deny")), "c", 1)
    assert isinstance(read, Broken) and read.where == f"{RULE}.actor[0].reference.reference"
    assert isinstance(read_foreign(consent("p", permit("Group/g")), "c", 1), Grant)


def test_every_official_code_can_be_named() -> None:
    r4 = definitions.load_r4()
    purposes = r4.value_set("http://terminology.hl7.org/ValueSet/v3-PurposeOfUse") or {}
    assert purposes[ACT_REASON] <= PURPOSES.keys()
    sensitive = r4.value_set("http://terminology.hl7.org/ValueSet/v3-InformationSensitivityPolicy") or {}
    assert {c for c in sensitive[ACT_CODE] if not c.startswith("_")} <= LABEL_CODES[ACT_CODE]
    known = r4.system(ACT_CODE)
    assert known is not None and LABEL_CODES[ACT_CODE] <= known.codes and not LABEL_CODES[ACT_CODE] & HANDLING


def test_staff_are_told_the_same(demo: Gateway) -> None:
    body = recorded(demo.patient, {"type": "deny"} | SLIPS["an unknown sensitivity"][0])
    checked = demo.call("gp", "POST", "Consent/$validate", body=body)
    assert [w for w, _ in told(checked)] == [f"{RULE}.securityLabel[0]"], checked.text
