"""Who may write a Consent, through HTTP: nobody opens a record to themselves, in any form (leak list L51)."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from .conftest import Gateway
from .staff import PRESENT, Colleague, actor, consent, given, id_of, permit, put_directory, recorded, save, signed_in

HL7 = "http://terminology.hl7.org/CodeSystem"
SECTORS = "https://fhir-gateway.example/CodeSystem/sector"
ROLE_AT = "https://fhir-gateway.example/role-at"
ODS = "https://fhir.nhs.uk/Id/ods-organization-code"
SUPERSEDES = "https://fhir-gateway.example/StructureDefinition/consent-supersedes"


def organisation(demo: Gateway, code: str) -> str:
    return "Organization/" + str(demo.get("patient", f"Organization?identifier={code}").json()["entry"][0]["resource"]["id"])


def member_of(demo: Gateway, code: str) -> str:
    """The CareTeam that the demo's surgery is in."""
    teams = demo.get("patient", f"CareTeam?patient={demo.patient}").json()["entry"]
    return "CareTeam/" + str(teams[0]["resource"]["id"])


@pytest.fixture(scope="module")
def registrar(demo: Gateway) -> Colleague:
    """Asha of the surgery, with the right to record what people tell her; the surgery is part of a network, and has a part itself."""
    asha, surgery = demo.persona("gp")["fhirUser"], organisation(demo, "D82001")
    wing, colleague = put_directory(
        demo,
        {"resourceType": "Organization", "active": True, "name": "East wing", "partOf": {"reference": surgery},
         "type": [{"coding": [{"system": SECTORS, "code": "health"}]}]},
        {"resourceType": "Practitioner", "active": True, "name": [{"family": "Colleague"}]},
    )  # fmt: skip
    (role,) = put_directory(demo, {
        "resourceType": "PractitionerRole", "active": True, "practitioner": {"reference": colleague}, "organization": {"reference": wing},
        "code": [{"coding": [{"system": "urn:roles", "code": "nurse"}]}],
    })  # fmt: skip
    made = signed_in(demo, "recorder", asha, organisation="D82001", roles=("clinician", "registrar"))
    made.organisation = surgery
    made.gateway.__dict__["names"] = {"wing": wing, "colleague": colleague, "role": role, "me": asha, "surgery": surgery}
    return made


def names(demo: Gateway) -> dict[str, str]:
    return dict(demo.__dict__["names"])


def refused(answer: Any, *statuses: int) -> str:
    assert answer.status_code in (statuses or (403, 422)), f"{answer.status_code} {answer.text}"
    return str(answer.json()["issue"][0]["diagnostics"])


# -- recorded by staff ------------------------------------------------------------------------------------------------


def test_staff_write_down_what_the_person_told_them_and_it_holds_at_once(demo: Gateway, registrar: Colleague) -> None:
    rosa = demo.persona("link-worker")["fhirUser"]
    before = demo.get("link-worker", f"Goal?patient={demo.patient}").json()["total"]
    made = registrar.call("POST", "Consent", body=recorded(demo.patient, permit(rosa)))
    assert made.status_code == 201, made.text
    id = id_of(made)
    assert before == 0 and demo.get("link-worker", f"Goal?patient={demo.patient}").json()["total"] > 0
    mine = demo.get("patient", f"Consent/{id}")
    assert mine.json()["verification"][0]["verified"] is True
    assert registrar.get(f"Consent/{id}").status_code == 404, "who records a consent reads it no more (L50)"
    assert registrar.total(f"Consent?patient={demo.patient}") == 0
    ended = save(demo, mine.json() | {"status": "inactive"}, mine.headers["etag"])
    assert ended.status_code == 200, "the person ends it, with its verification as it was"
    assert demo.get("link-worker", f"Goal?patient={demo.patient}").json()["total"] == 0


FORMS = {
    "person": lambda n: permit(n["me"]),
    "person among others": lambda n: permit("Practitioner/other", n["me"]),
    "organisation": lambda n: permit(n["surgery"]),
    "ODS code": lambda n: permit(f"{ODS}|D82001"),
    "part of the organisation": lambda n: permit(n["wing"]),
    "a colleague": lambda n: permit(n["colleague"]),
    "a colleague's role": lambda n: permit(n["role"]),
    "a role in the organisation": lambda n: permit(f"{ROLE_AT}|{n['surgery']} urn:roles|nurse"),
    "a role somewhere": lambda n: permit(f"{ROLE_AT}|Organization/nowhere urn:roles|nurse"),
    "sector": lambda n: permit(f"{SECTORS}|health"),
    "anyone": lambda n: permit(),
    "anyone, by custodian": lambda n: permit(type="permit") | {"actor": [actor(n["surgery"], "CST")]},
    "anyone, of a class": lambda n: permit() | {"class": [{"system": "http://hl7.org/fhir/resource-types", "code": "Goal"}]},
    "anyone, of one thing": lambda n: permit() | {"data": [{"meaning": "instance", "reference": {"reference": "Goal/x"}}]},
    "as AUCG": lambda n: {"type": "permit", "actor": [actor(n["me"], "AUCG", f"{HL7}/v3-ParticipationFunction")]},
    "inside a no": lambda n: permit(type="deny") | {"provision": [permit(n["me"])]},
    "anyone inside a no": lambda n: permit("Practitioner/other", type="deny") | {"provision": [permit(n["surgery"])]},
    "deep": lambda n: permit("Organization/other") | {"provision": [permit("Organization/other", type="deny") | {"provision": [permit(n["me"])]}]},
    "group": lambda n: permit("Group/any"),
    "somebody nobody knows": lambda n: permit("Practitioner/00000000-0000-7000-8000-000000000000"),
    "an organisation nobody knows": lambda n: permit("Organization/00000000-0000-7000-8000-000000000000"),
    "to write": lambda n: permit(n["me"], action=[{"coding": [{"system": f"{HL7}/consentaction", "code": "collect"}]}]),
    "later": lambda n: permit(n["me"], period={"start": "2030-01-01"}),
}  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
def test_nobody_records_a_consent_for_themselves(demo: Gateway, registrar: Colleague, form: str) -> None:
    rule = FORMS[form](names(demo))
    if form in ("anyone inside a no", "deep"):  # said to others around it: what is in it is said to them alone
        answer = registrar.call("POST", "Consent", body=recorded(demo.patient, rule))
        assert answer.status_code in (403, 422) or not registrar.get(f"Consent/{id_of(answer)}").is_success
        return
    refused(registrar.call("POST", "Consent", body=recorded(demo.patient, rule)))


ROOTS = {
    "permit to me": lambda n: permit(n["me"]),
    "permit to anyone": lambda n: permit(),
    "permit to anyone but": lambda n: permit() | {"provision": [permit("Organization/other", type="deny")]},
    "only the people I name": lambda n: permit(type="deny") | {"provision": [permit(n["surgery"])]},
}


@pytest.mark.parametrize("root", ROOTS)
def test_nor_by_the_root(demo: Gateway, registrar: Colleague, root: str) -> None:
    refused(registrar.call("POST", "Consent", body=recorded(demo.patient, root=ROOTS[root](names(demo)))), 403)
    opted = {"policyRule": {"coding": [{"system": f"{HL7}/v3-ActCode", "code": "OPTIN"}]}}
    refused(registrar.call("POST", "Consent", body=recorded(demo.patient, **opted)), 403)


def test_nor_by_a_team_they_are_in(demo: Gateway, registrar: Colleague) -> None:
    team = member_of(demo, "D82001")
    refused(registrar.call("POST", "Consent", body=recorded(demo.patient, permit(team))), 403)
    other = demo.call("hospital", "POST", "Patient", body={"resourceType": "Patient", "name": [{"family": "Else"}], "birthDate": "1950-01-01"})
    theirs = demo.call("hospital", "POST", "CareTeam", body={
        "resourceType": "CareTeam", "status": "active", "subject": {"reference": f"Patient/{other.json()['id']}"}})  # fmt: skip
    refused(registrar.call("POST", "Consent", body=recorded(demo.patient, permit(f"CareTeam/{theirs.json()['id']}"))), 422)


def test_nor_by_a_team_made_in_the_same_bundle(demo: Gateway, registrar: Colleague) -> None:
    url = "urn:uuid:0198c0de-0000-7000-8000-00000000aaaa"
    team = {"resourceType": "CareTeam", "status": "active", "subject": {"reference": f"Patient/{demo.patient}"},
            "participant": [{"member": {"reference": names(demo)["me"]}}]}  # fmt: skip
    bundle = {"resourceType": "Bundle", "type": "transaction", "entry": [
        {"resource": recorded(demo.patient, permit(url)), "request": {"method": "POST", "url": "Consent"}},
        {"fullUrl": url, "resource": team, "request": {"method": "POST", "url": "CareTeam"}},
    ]}  # fmt: skip
    before = demo.get("patient", f"CareTeam?patient={demo.patient}").json()["total"]
    refused(registrar.call("POST", "", body=bundle), 403, 422)
    assert demo.get("patient", f"CareTeam?patient={demo.patient}").json()["total"] == before


def test_nor_by_changing_one(demo: Gateway, registrar: Colleague) -> None:
    with given(demo, consent(demo.patient, permit(demo.persona("link-worker")["fhirUser"]))) as made:
        id, etag = made.json()["id"], {"If-Match": made.headers["etag"]}
        mine = recorded(demo.patient, permit(names(demo)["me"])) | {"id": id}
        patch = {"Content-Type": "application/json-patch+json", **etag}
        added = [{"op": "add", "path": "/provision/provision/-", "value": permit(names(demo)["me"])}]
        assert registrar.call("PUT", f"Consent/{id}", body=mine, headers=etag).status_code == 404
        assert registrar.call("PATCH", f"Consent/{id}", body=added, headers=patch).status_code == 404
        where = registrar.call("PUT", f"Consent?_id={id}", body={k: v for k, v in mine.items() if k != "id"}, headers=etag)
        assert where.status_code in (403, 412, 422)
        assert registrar.call("DELETE", f"Consent/{id}", headers=etag).status_code == 404
        assert demo.get("patient", f"Consent/{id}").headers["etag"] == made.headers["etag"]


def test_nor_by_the_directory_or_a_group(demo: Gateway, registrar: Colleague) -> None:
    """Where an organisation belongs is an operator's to say."""
    wing = names(demo)["wing"]
    read = demo.get("patient", wing)
    moved = read.json() | {"partOf": {"reference": organisation(demo, "926")}}
    assert registrar.call("PUT", wing, body=moved, headers={"If-Match": read.headers["etag"]}).status_code == 403
    for type, body in (("Organization", {"name": "Mine", "active": True}), ("PractitionerRole", {"practitioner": {"reference": names(demo)["me"]}})):
        assert registrar.call("POST", type, body={"resourceType": type, **body}).status_code == 403


@pytest.mark.parametrize(
    ("wrong", "where"),
    [
        ({"performer": []}, "Consent.performer"),
        ({"performer": [{"reference": "Practitioner/x"}]}, "Consent.performer"),
        ({"performer": [{"reference": "{me}"}, {"reference": "{me}"}, {"reference": "RelatedPerson/x"}]}, "Consent.performer"),
        ({"verification": []}, "Consent.verification"),
        ({"verification": [{"verified": False}]}, "Consent.verification[0].verified"),
        ({"verification": [{"verified": True, "verificationDate": "2026-11-20"}]}, "Consent.verification[0].verifiedWith"),
        ({"verification": [{"verified": True, "verifiedWith": {"reference": "{me}"}}]}, "Consent.verification[0].verificationDate"),
        ({"verification": [{"verified": True, "verifiedWith": {"reference": "{me}"}, "verificationDate": "2126-01-01"}]},
         "Consent.verification[0].verificationDate"),
        ({"verification": [{"verified": True, "verifiedWith": {"reference": "{me}"}, "verificationDate": "2026-11-20"}]}, "Consent.verification[0].extension"),
        ({"verification": [{"verified": True, "verifiedWith": {"reference": "{me}"}, "verificationDate": "2026-11-20",
                            "extension": [{"url": PRESENT, "valueReference": {"type": "Patient"}}]}]}, "Consent.verification[0].extension"),
    ],
)  # fmt: skip
def test_a_recorded_consent_says_who_gave_it_how_it_was_checked_and_who_was_there(demo: Gateway, registrar: Colleague, wrong: dict[str, Any], where: str) -> None:
    def filled(node: Any) -> Any:
        if isinstance(node, dict):
            return {k: filled(v) for k, v in node.items()}
        return [filled(n) for n in node] if isinstance(node, list) else node.replace("{me}", f"Patient/{demo.patient}") if isinstance(node, str) else node

    body = {k: v for k, v in (recorded(demo.patient, permit(demo.persona("link-worker")["fhirUser"])) | filled(wrong)).items() if v != []}
    answer = registrar.call("POST", "Consent", body=body)
    assert answer.status_code == 422 and answer.json()["issue"][0]["expression"] == [where], answer.text


def test_who_was_there_is_kept_with_the_check(demo: Gateway, registrar: Colleague) -> None:
    body = recorded(demo.patient, permit(demo.persona("link-worker")["fhirUser"], type="deny"))
    body["verification"][0]["extension"] = [{"url": PRESENT, "valueReference": {"reference": names(demo)["colleague"]}}]
    made = registrar.call("POST", "Consent", body=body)
    assert made.status_code == 201, made.text
    kept = demo.get("patient", f"Consent/{id_of(made)}")
    assert kept.json()["verification"] == body["verification"]
    assert save(demo, kept.json() | {"status": "inactive"}, kept.headers["etag"]).status_code == 200


def test_the_right_alone_is_not_enough(demo: Gateway, registrar: Colleague) -> None:
    """No relationship, or no right: both are told the same about somebody who is here and somebody who is not."""
    rosa = demo.persona("link-worker")["fhirUser"]
    stranger = signed_in(demo, "far-registrar", demo.persona("stranger")["fhirUser"], organisation="D82999", roles=("clinician", "registrar"))
    here = stranger.call("POST", "Consent", body=recorded(demo.patient, permit(rosa)))
    absent = stranger.call("POST", "Consent", body=recorded("0198c0de-0000-7000-8000-000000000000", permit(rosa)))
    assert here.status_code == absent.status_code == 403 and here.text == absent.text
    for who in ("gp", "hospital", "link-worker", "proxy"):
        assert demo.call(who, "POST", "Consent", body=recorded(demo.patient, permit(rosa))).status_code == 403, who


# -- by the person ----------------------------------------------------------------------------------------------------


def test_the_person_gives_in_their_own_name_and_verifies_nothing_themselves(demo: Gateway) -> None:
    rosa = demo.persona("link-worker")["fhirUser"]
    verified = {"verification": [{"verified": True, "verificationDate": "2026-11-20"}]}
    for wrong in (verified, {"performer": [{"reference": rosa}]}, {"performer": [{"reference": "RelatedPerson/x"}]}):
        refused(demo.call("patient", "POST", "Consent", body=consent(demo.patient, permit(rosa), **wrong)), 422)
    with given(demo, consent(demo.patient, permit(rosa, type="deny"))) as made:
        for wrong in (verified, {"performer": [{"reference": rosa}]}):
            refused(save(demo, made.json() | wrong, made.headers["etag"]), 422)


def test_a_consent_is_never_deleted(demo: Gateway) -> None:
    with given(demo, consent(demo.patient, permit(demo.persona("link-worker")["fhirUser"], type="deny"))) as made:
        id = made.json()["id"]
        answer = demo.call("patient", "DELETE", f"Consent/{id}", headers={"If-Match": made.headers["etag"]})
        assert answer.status_code == 405 and "inactive" in answer.json()["issue"][0]["diagnostics"]
        batch = {"resourceType": "Bundle", "type": "transaction", "entry": [
            {"request": {"method": "DELETE", "url": f"Consent/{id}", "ifMatch": made.headers["etag"]}}]}  # fmt: skip
        assert demo.call("patient", "POST", "", body=batch).status_code == 405
        assert demo.get("patient", f"Consent/{id}").status_code == 200


def test_a_consent_stays_with_its_person(demo: Gateway) -> None:
    other = demo.call("hospital", "POST", "Patient", body={"resourceType": "Patient", "name": [{"family": "Else"}], "birthDate": "1951-01-01"})
    with given(demo, consent(demo.patient, permit(demo.persona("link-worker")["fhirUser"], type="deny"))) as made:
        moved = made.json() | {"patient": {"reference": f"Patient/{other.json()['id']}"}}
        refused(save(demo, moved, made.headers["etag"]), 422)


def test_superseding_closes_the_old_one_in_the_same_commit(demo: Gateway) -> None:
    rosa = demo.persona("link-worker")["fhirUser"]

    def sees() -> int:
        return int(demo.get("link-worker", f"Goal?patient={demo.patient}").json()["total"])

    with given(demo, consent(demo.patient, permit(rosa))) as old:
        assert sees() > 0
        instead = {"extension": [{"url": SUPERSEDES, "valueReference": {"reference": f"Consent/{old.json()['id']}"}}]}
        with given(demo, consent(demo.patient, permit(rosa, type="deny"), **instead)):
            ended = demo.get("patient", f"Consent/{old.json()['id']}").json()
            assert (ended["status"], ended["meta"]["versionId"], sees()) == ("inactive", "2", 0)
    nothing = {"extension": [{"url": SUPERSEDES, "valueReference": {"reference": "Consent/0198c0de-0000-7000-8000-000000000000"}}]}
    before = demo.get("patient", f"Consent?patient={demo.patient}").json()["total"]
    refused(demo.call("patient", "POST", "Consent", body=consent(demo.patient, permit(rosa), **nothing)), 422)
    assert demo.get("patient", f"Consent?patient={demo.patient}").json()["total"] == before


@pytest.mark.parametrize("idle", ["proposed", "draft", "rejected", "inactive", "later", "over"])
def test_a_consent_that_is_not_in_force_takes_the_place_of_none(demo: Gateway, idle: str) -> None:
    """consent.md 1.4: proposed is none. What it would end still closes."""
    rosa = demo.persona("link-worker")["fhirUser"]
    with given(demo, consent(demo.patient, permit(rosa))), given(demo, consent(demo.patient, permit(rosa, type="deny"))) as no:
        body = consent(demo.patient, permit(rosa, type="deny"), extension=[{"url": SUPERSEDES, "valueReference": {"reference": f"Consent/{no.json()['id']}"}}])
        if idle in ("later", "over"):
            body["provision"]["period"] = {"start": "2035-01-01"} if idle == "later" else {"end": "2020-01-01"}
        else:
            body["status"] = idle
        answer = demo.call("patient", "POST", "Consent", body=body)
        refused(answer, 422)
        assert "takes the place of none" in answer.text and answer.json()["issue"][0]["expression"] == ["Consent.extension"]
        assert demo.get("patient", f"Consent/{no.json()['id']}").json()["status"] == "active"
        assert demo.get("link-worker", f"Goal?patient={demo.patient}").json()["total"] == 0


def in_place_of(made: Any) -> dict[str, Any]:
    return {"extension": [{"url": SUPERSEDES, "valueReference": {"reference": f"Consent/{made.json()['id']}"}}]}


NOTHING_NOW: dict[str, dict[str, Any]] = {
    "a no from 2035": permit("ROSA", type="deny", period={"start": "2035-01-01"}),
    "a no until 2020": permit("ROSA", type="deny", period={"end": "2020-01-01"}),
    "a no to nobody": permit("Practitioner/typo", type="deny"),
    "a yes to nobody": permit("Organization/typo"),
    "a yes to no system": permit("Device/typo"),
    "a no to the person": permit("ME", type="deny"),
    "about what nobody here keeps": {"type": "deny", "actor": [actor("Organization/typo", "CST")]},
    "no rule at all": {},
    "another scope": permit("ROSA", type="deny"),
}


@pytest.mark.parametrize("says", NOTHING_NOW)
def test_a_consent_that_says_nothing_now_takes_the_place_of_none(demo: Gateway, says: str) -> None:
    """consent.md 1.4: a no never ends in favour of nothing, by a new consent or by a change of one."""
    rosa = demo.persona("link-worker")["fhirUser"]
    rule = json.loads(json.dumps(NOTHING_NOW[says]).replace("ROSA", rosa).replace("ME", f"Patient/{demo.patient}"))
    with given(demo, consent(demo.patient, permit(rosa))), given(demo, consent(demo.patient, permit(rosa, type="deny"))) as no:
        body = consent(demo.patient, *([rule] if rule else []), **in_place_of(no))
        if says == "another scope":
            body["scope"]["coding"][0]["code"] = "research"
        posted = demo.call("patient", "POST", "Consent", body=body)
        with given(demo, {k: v for k, v in body.items() if k != "extension"} | {"status": "proposed"}) as idle:
            put = save(demo, body | {"id": idle.json()["id"]}, idle.headers["etag"])
        for answer in (posted, put):
            refused(answer, 422)
            assert "takes the place of none" in answer.text and answer.json()["issue"][0]["expression"] == ["Consent.extension"]
        assert demo.get("patient", f"Consent/{no.json()['id']}").json()["status"] == "active"
        assert demo.get("link-worker", f"Goal?patient={demo.patient}").json()["total"] == 0


def test_a_change_that_says_it_takes_the_place_of_another_ends_that_one(demo: Gateway) -> None:
    """By PUT and PATCH, and when one that says so becomes active; once: what it ended may be given again."""
    rosa = demo.persona("link-worker")["fhirUser"]
    sector = f"{SECTORS}|voluntary"
    with given(demo, consent(demo.patient, permit(rosa))) as yes, given(demo, consent(demo.patient, permit(sector, type="deny"), status="proposed")) as no:
        first = save(demo, no.json() | {"status": "active"} | in_place_of(yes), no.headers["etag"])
        assert first.status_code == 200, first.text
        old = demo.get("patient", f"Consent/{yes.json()['id']}")
        assert old.json()["status"] == "inactive"
        itself = save(demo, first.json() | in_place_of(first), first.headers["etag"])
        assert "itself" in refused(itself, 422)
        again = save(demo, old.json() | {"status": "active"}, old.headers["etag"])
        assert again.status_code == 200, again.text
        other = save(demo, first.json() | {"dateTime": "2026-01-01"}, first.headers["etag"])
        assert other.status_code == 200, other.text
        assert demo.get("patient", f"Consent/{yes.json()['id']}").json()["status"] == "active"
        with given(demo, consent(demo.patient, permit(rosa))) as third:
            patch = [{"op": "replace", "path": "/extension", "value": in_place_of(third)["extension"]}]
            headers = {"If-Match": other.headers["etag"], "Content-Type": "application/json-patch+json"}
            patched = demo.call("patient", "PATCH", f"Consent/{no.json()['id']}", body=patch, headers=headers)
            assert patched.status_code == 200, patched.text
            assert demo.get("patient", f"Consent/{third.json()['id']}").json()["status"] == "inactive"


def test_two_first_grants_saved_in_the_same_instant_make_one_consent(demo: Gateway) -> None:
    mine = {"identifier": [{"system": "https://fhir-gateway.example/id/sharing-preferences", "value": f"Patient/{demo.patient}"}]}
    body = consent(demo.patient, permit(demo.persona("link-worker")["fhirUser"], type="deny"), **mine)
    demo.persona("patient")
    with ThreadPoolExecutor(6) as threads:
        answers = list(threads.map(lambda _: demo.call("patient", "POST", "Consent", body=body), range(6)))
    statuses = sorted(a.status_code for a in answers)
    assert statuses == [201, 409, 409, 409, 409, 409], statuses
    (made,) = [a for a in answers if a.status_code == 201]
    again = made.json() | {"status": "inactive"}
    ended = save(demo, again, made.headers["etag"])
    assert ended.status_code == 200
    second = demo.call("patient", "POST", "Consent", body=body)
    assert second.status_code == 201, "an ended one is in nobody's way"
    assert save(demo, again | {"status": "active"}, ended.headers["etag"]).status_code == 409
    now = demo.get("patient", f"Consent/{second.json()['id']}")
    assert save(demo, now.json() | {"status": "inactive"}, now.headers["etag"]).status_code == 200


def test_a_consent_that_cannot_be_computed_is_refused_here(demo: Gateway) -> None:
    odd = consent(demo.patient, permit("Practitioner/x") | {"class": [{"system": "urn:odd", "code": "x"}]})
    assert "cannot be computed" in refused(demo.call("patient", "POST", "Consent", body=odd), 422)


def test_a_consent_that_names_somebody_who_is_not_here_is_kept_and_says_so(demo: Gateway) -> None:
    here = organisation(demo, "D82001")
    team = member_of(demo, "D82001")
    strangers = ("Organization/nope", "Practitioner/nope", "PractitionerRole/nope", "CareTeam/nope")
    body = consent(demo.patient, permit(*strangers[:2], here, team, type="deny"), permit(*strangers[2:]))
    wanted = {"Prefer": "return=OperationOutcome"}
    alone = demo.call("patient", "POST", "Consent", body=body, headers=wanted)
    entry = {"resource": body, "request": {"method": "POST", "url": "Consent"}}
    bundle = {"resourceType": "Bundle", "type": "transaction", "entry": [entry]}
    inside = demo.call("patient", "POST", "", body=bundle, headers=wanted).json()["entry"][0]["response"]
    assert alone.status_code == 201
    for issues in (alone.json()["issue"], inside["outcome"]["issue"]):
        told = [(i["diagnostics"], i["expression"]) for i in issues if i["code"] == "not-found" and i["severity"] == "warning"]
        assert sorted(told) == sorted(
            (f"`{name}` is somebody we do not know: it {'opens' if i else 'closes'} nothing for anybody yet.", [f"Consent.provision.provision[{i}].actor"])
            for i, names in enumerate((strangers[:2], strangers[2:])) for name in names
        )  # fmt: skip
    for where in (alone.headers["location"].split("/fhir/")[1], inside["location"]):
        now = demo.get("patient", where.split("/_history")[0])
        assert save(demo, now.json() | {"status": "inactive"}, now.headers["etag"]).status_code == 200


@pytest.mark.parametrize(
    ("system", "value"),
    [(SECTORS, "helth"), (SECTORS, "Health"), (ROLE_AT, "garbage"), (ROLE_AT, "Organization/x nurse"), (ROLE_AT, "urn:roles|nurse")],
)
def test_a_no_to_a_sector_or_a_role_that_nobody_can_have_is_refused_and_says_where(demo: Gateway, system: str, value: str) -> None:
    whom = actor("x/y") | {"reference": {"identifier": {"system": system, "value": value}}}
    answer = demo.call("patient", "POST", "Consent", body=consent(demo.patient, {"type": "deny", "actor": [whom]}))
    assert f"`{value}` is not a" in refused(answer, 422)
    assert answer.json()["issue"][0]["expression"] == ["Consent.provision.provision[0].actor[0].reference.identifier.value"]
