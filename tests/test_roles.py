"""Acting for somebody as the NHS Validated Relationships Service has it: who may register it, its states, when the law lets it hold."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from fhir_gateway import gate
from fhir_gateway.domain import proxies
from fhir_gateway.domain.periods import interval, micros
from fhir_gateway.domain.problem import Problem
from fhir_gateway.domain.provisions import parse
from fhir_gateway.domain.standing import Standing
from fhir_gateway.domain.types import Ref
from fhir_gateway.domain.vocabulary import HANDLING_SYSTEM, LOCATION_PROTECTED

from .conftest import Gateway
from .staff import Colleague, checked, consent, id_of, permit, role, save, signed_in, wired_operator

EVIDENCE = "Seen by Dr Patel on 20 November 2026, letter kept"
NOBODY = "0198c0de-0000-7000-8000-000000000000"


class Person:
    """Somebody new with a relative, brought in by the hospital."""

    def __init__(self, demo: Gateway, born: str, family: str) -> None:
        self.demo = demo
        made = demo.call("hospital", "POST", "Patient", body={
            "resourceType": "Patient", "name": [{"family": family, "given": ["Person"]}], "birthDate": born})  # fmt: skip
        assert made.status_code == 201, made.text
        self.id = made.json()["id"]
        kin = demo.call("hospital", "POST", "RelatedPerson", body={"resourceType": "RelatedPerson", "active": True, "patient": self.reference})
        self.relative = f"RelatedPerson/{kin.json()['id']}"
        goal = demo.call("hospital", "POST", "Goal", body={
            "resourceType": "Goal", "lifecycleStatus": "active", "description": {"text": "Walk"}, "subject": self.reference})  # fmt: skip
        self.goal = f"Goal/{goal.json()['id']}"
        self.me = signed_in(demo, f"person-{family.lower()}", f"Patient/{self.id}")
        self.proxy = signed_in(demo, f"proxy-{family.lower()}", self.relative, patient=f"Patient/{self.id}")

    @property
    def reference(self) -> dict[str, str]:
        return {"reference": f"Patient/{self.id}"}

    def sees(self) -> bool:
        return bool(self.proxy.get(self.goal).is_success)

    def record(self, fact: str, *, on: bool = True, who: str = "") -> None:
        wired_operator(self.demo, lambda ctx: gate.record(ctx, self.id, fact, on=on, who=who, evidence=EVIDENCE))

    def appoint(self, basis: str, status: str = "active") -> str:
        done = wired_operator(
            self.demo, lambda ctx: gate.appoint(ctx, self.id, self.relative, basis, grantor="D82001", evidence=EVIDENCE, status=status)
        )
        return str(done.ref.id)

    def change(self, role: str, status: str, reason: str, text: str = "") -> None:
        wired_operator(self.demo, lambda ctx: gate.change_role(ctx, self.id, role, status, reason, text))

    def link(self, other: Person, type: str) -> None:
        wired_operator(self.demo, lambda ctx: gate.link(ctx, self.id, other.id, type, evidence=EVIDENCE))

    def research(self) -> str:
        """Why a surgery elsewhere would be told no, asking for research."""

        async def doing(ctx: Any) -> str:
            asking = await gate.askers(ctx.house, self.demo.persona("stranger")["fhirUser"], "HRESCH")
            return (await gate.explain(ctx.house, asking, "access", Ref("Goal", self.goal.removeprefix("Goal/")))).decision.basis

        return str(wired_operator(self.demo, doing))

    def roles(self) -> list[dict[str, Any]]:
        return list(wired_operator(self.demo, lambda ctx: gate.roles(ctx, self.id)))


def refused(doing: Callable[[], Any], kind: str, words: str) -> None:
    with pytest.raises(Problem) as caught:
        doing()
    assert caught.value.kind == kind and words in caught.value.text, caught.value


def test_an_attorney_acts_only_while_it_is_recorded_that_the_person_lacks_capacity(demo: Gateway) -> None:
    p = Person(demo, "1940-01-01", "Attorney")
    basis = "health-and-welfare-lasting-power-of-attorney"
    refused(lambda: p.appoint(basis), "business-rule", "lacks capacity")
    p.record("capacity-lost")
    p.appoint(basis)
    assert p.sees()
    refused(lambda: p.appoint(basis), "duplicate", "already")
    p.record("capacity-lost", on=False)
    assert not p.sees(), "capacity came back"
    p.record("capacity-lost")
    assert p.sees()
    p.record("safeguarding-proxy", who=p.relative)
    assert not p.sees(), "suspended at once"
    p.record("safeguarding-proxy", who=p.relative, on=False)
    assert p.sees()


def test_parental_responsibility_holds_until_sixteen_and_is_looked_at_again_at_eleven(demo: Gateway) -> None:
    child, grown = Person(demo, "2014-06-01", "Child"), Person(demo, "2009-01-01", "Grown")
    made = child.appoint("parental-responsibility")
    assert child.sees()
    (listed,) = child.roles()
    assert (listed["consent"], listed["basis"], listed["review"]) == (f"Consent/{made}", "parental-responsibility", False)
    refused(lambda: grown.appoint("parental-responsibility"), "business-rule", "under 16")
    for basis in ("UNK", "friendship"):
        refused(lambda basis=basis: child.appoint(basis), "business-rule", "no legal basis")  # type: ignore[misc]


def test_a_child_s_role_is_due_for_review_from_the_eleventh_birthday() -> None:
    born = interval("2014-06-01")
    standing = Standing("Patient/p", born=born)
    grant = parse(role("p", "RelatedPerson/r", "parental-responsibility"), "c", 1)

    def at(day: str) -> int:
        return micros(datetime.fromisoformat(day).replace(tzinfo=UTC))

    assert not proxies.review_due(grant, standing, at("2020-01-01"), at("2025-05-31"))
    assert proxies.review_due(grant, standing, at("2020-01-01"), at("2025-06-02"))
    assert not proxies.review_due(grant, standing, at("2025-07-01"), at("2026-01-01"))


def test_a_status_changes_only_as_the_service_has_it_and_with_its_reason(demo: Gateway) -> None:
    p = Person(demo, "2015-01-01", "States")
    made = p.appoint("parental-responsibility", "proposed")
    assert not p.sees()
    refused(lambda: p.change(made, "active", "ROLE_REACTIVATED"), "business-rule", "status reason")
    p.change(made, "active", "ROLE_ACTIVATED")
    assert p.sees()
    refused(lambda: p.change(made, "rejected", "APPLICATION_REJECTED_COERCION"), "business-rule", "cannot become")
    refused(lambda: p.change(made, "inactive", "OTHER"), "business-rule", "in words")
    p.change(made, "inactive", "ROLE_DEACTIVATED_SAFEGUARDING")
    assert not p.sees()
    p.change(made, "active", "ROLE_REACTIVATED")
    p.change(made, "entered-in-error", "OTHER", "Another family")
    refused(lambda: p.change(made, "active", "ROLE_REACTIVATED"), "business-rule", "cannot become")
    (listed,) = p.roles()
    assert (listed["status"], listed["reason"], listed["version"]) == ("entered-in-error", "OTHER", 5)


def test_every_pair_of_states_is_allowed_with_a_reason_or_refused() -> None:
    states = ("", "proposed", "active", "rejected", "inactive", "entered-in-error")
    for before, after in itertools.product(states, states[1:]):
        fitting = proxies.CHANGES.get((before, after), frozenset())
        for code in ("", "ROLE_CREATED", "ROLE_DEACTIVATED_SAFEGUARDING", "APPLICATION_REJECTED_COERCION", "OTHER", "ODD"):
            wrong = proxies.ill_changed(before, after, (code, "words"), asked=True)
            assert (wrong is None) == (before == after or code in fitting), (before, after, code)
    assert not {a for a, _ in proxies.CHANGES} & {"rejected", "entered-in-error"}, "these are the end"


def test_somebody_must_answer_for_a_role_and_the_commands_say_so(demo: Gateway) -> None:
    p, other = Person(demo, "2015-01-01", "Grantor"), Person(demo, "2015-01-01", "Kin")

    def add(relative: str, grantor: str, evidence: str, *more: str) -> str:
        basis = ("--basis=parental-responsibility", f"--grantor={grantor}", f"--evidence={evidence}", *more)
        done = demo.command("proxies", "add", p.id, relative, *basis)
        return f"{done.returncode} {done.stdout}{done.stderr}"

    assert "ODS code" in add(p.relative, "NOWHERE", EVIDENCE)
    assert "RelatedPerson of this person" in add(other.relative, "D82001", EVIDENCE)
    assert "who was there" in add(p.relative, "D82001", EVIDENCE, f"--present={'x' * 3000}")
    made = add(p.relative, "D82001", EVIDENCE, "--present=Practitioner/who-saw-it")
    assert made.startswith("0 Consent/")
    kept = signed_in(demo, "grantor-self", f"Patient/{p.id}", patient=f"Patient/{p.id}").get(made.split()[1].rstrip(":")).json()
    (check,) = kept["verification"]
    assert check["extension"][0]["valueReference"] == {"reference": "Practitioner/who-saw-it"}
    assert (check["verified"], check["verifiedWith"], kept["performer"]) == (True, {"reference": p.relative}, [{"reference": p.relative}])
    (listed,) = demo.lines("proxies", "list", p.id, "--json")
    assert listed["proxies"] == [p.relative]
    refused(lambda: wired_operator(demo, lambda ctx: gate.record(ctx, p.id, "no-notify", evidence=" ")), "business-rule", "evidence")
    assert demo.command("patients", "record", p.id, "no-notify", f"--evidence={EVIDENCE}").returncode == 0
    assert demo.command("patients", "record", NOBODY, "no-notify", f"--evidence={EVIDENCE}").returncode == 1
    assert demo.command("consents", "uncomputable").returncode == 0


# -- over HTTP, by staff who may --------------------------------------------------------------------------------------


@pytest.fixture
def registrar(demo: Gateway) -> Colleague:
    return signed_in(demo, "role-registrar", demo.persona("gp")["fhirUser"], organisation="D82001", roles=("clinician", "registrar"))


def test_staff_register_and_change_roles_of_people_they_look_after(demo: Gateway, registrar: Colleague) -> None:
    kin = demo.call("patient", "POST", "RelatedPerson", body={
        "resourceType": "RelatedPerson", "active": True, "patient": {"reference": f"Patient/{demo.patient}"}})  # fmt: skip
    relative = f"RelatedPerson/{kin.json()['id']}"
    asked = {"proxy": relative, "basis": "best-interest", "grantor": "D82001", "evidence": "Best interest meeting, 20 November 2026", "present": "Dr Patel"}
    path = f"/patients/{demo.patient}/roles"
    made = registrar.call("POST", path, body=asked, headers={"Content-Type": "application/json"})
    assert made.status_code == 201, made.text
    kept = made.json()["kept"].removeprefix("Consent/")
    twice = registrar.call("POST", path, body=asked, headers={"Content-Type": "application/json"})
    assert twice.status_code == 409
    proxy = signed_in(demo, "best-interest-proxy", relative, patient=f"Patient/{demo.patient}")
    assert proxy.total(f"Goal?patient={demo.patient}") > 0
    listed = {r["consent"]: r for r in registrar.get(path).json()["roles"]}
    assert listed[f"Consent/{kept}"]["proxies"] == [relative]
    bad = registrar.call("POST", f"{path}/{kept}", body={"status": "inactive", "reason": "BECAUSE"})
    assert bad.status_code == 422
    done = registrar.call("POST", f"{path}/{kept}", body={"status": "inactive", "reason": "ROLE_DEACTIVATED_PATIENT_REQUEST"})
    assert done.status_code == 200 and proxy.total(f"Goal?patient={demo.patient}") == 0
    assert demo.get("patient", f"Consent/{kept}").json()["status"] == "inactive", "the person sees it all"
    assert registrar.get(f"Consent/{kept}").status_code == 404
    said = {**checked(relative), "sourceAttachment": {"title": EVIDENCE}}
    by_fhir = registrar.call("POST", "Consent", body=role(demo.patient, relative, "best-interest", **said))
    assert by_fhir.status_code == 201, by_fhir.text
    assert registrar.call("POST", "Consent", body=role(demo.patient, relative, "best-interest", **said)).status_code == 409
    mine = demo.get("patient", f"Consent/{id_of(by_fhir)}")
    ended = save(demo, mine.json() | {"status": "inactive"}, mine.headers["etag"])
    assert ended.status_code == 200, "the person may end whatever role anybody has"
    assert save(demo, mine.json(), ended.headers["etag"]).status_code == 422, "but not bring it back"


def test_a_role_that_staff_record_says_who_told_them_how_it_was_checked_who_was_there_and_what_they_saw(demo: Gateway, registrar: Colleague) -> None:
    """By FHIR as by `/patients/{id}/roles`; the person appoints without any of it."""
    kin = demo.call("patient", "POST", "RelatedPerson", body={
        "resourceType": "RelatedPerson", "active": True, "patient": {"reference": f"Patient/{demo.patient}"}})  # fmt: skip
    relative, me = f"RelatedPerson/{kin.json()['id']}", f"Patient/{demo.patient}"
    whole = {**checked(me), "sourceAttachment": {"title": EVIDENCE}}
    alone = {"verification": [{k: v for k, v in whole["verification"][0].items() if k != "extension"}]}
    wrong = {
        "Consent.performer": [{"performer": None}, {"performer": [{"reference": relative}]}],
        "Consent.verification": [{"verification": None}],
        "Consent.verification[0].extension": [alone],
        "Consent.sourceAttachment.title": [{"sourceAttachment": None}, {"sourceAttachment": {"title": "x" * 501}}],
    }
    for where, changes in wrong.items():
        for change in changes:
            body = {k: v for k, v in (role(demo.patient, relative, **whole) | change).items() if v is not None}
            answer = registrar.call("POST", "Consent", body=body)
            assert answer.status_code == 422 and answer.json()["issue"][0]["expression"] == [where], answer.text
    asked = {"proxy": relative, "basis": "consent", "grantor": "D82001", "evidence": EVIDENCE}
    answer = registrar.call("POST", f"/patients/{demo.patient}/roles", body=asked)
    assert answer.status_code == 422 and "`present`" in answer.text
    made = registrar.call("POST", f"/patients/{demo.patient}/roles", body=asked | {"present": me})
    assert made.status_code == 201, made.text
    kept = demo.get("patient", made.json()["kept"])
    assert kept.json()["verification"][0]["extension"] == whole["verification"][0]["extension"] and kept.json()["sourceAttachment"] == {"title": EVIDENCE}
    assert save(demo, kept.json() | {"status": "inactive"}, kept.headers["etag"]).status_code == 200
    again = registrar.call("POST", "Consent", body=role(demo.patient, relative, **whole))
    assert again.status_code == 201, again.text
    now = demo.get("patient", f"Consent/{id_of(again)}")
    assert save(demo, now.json() | {"status": "inactive"}, now.headers["etag"]).status_code == 200


def test_only_an_organisation_with_an_ODS_code_answers_for_a_role(demo: Gateway, registrar: Colleague) -> None:
    kin = demo.call("patient", "POST", "RelatedPerson", body={
        "resourceType": "RelatedPerson", "active": True, "patient": {"reference": f"Patient/{demo.patient}"}})  # fmt: skip
    relative = f"RelatedPerson/{kin.json()['id']}"
    kindly = demo.get("patient", "Organization?identifier=https://fhir-gateway.example/id/organisation|org-kindly").json()["entry"][0]["resource"]["id"]
    said = {**checked(f"Patient/{demo.patient}"), "sourceAttachment": {"title": EVIDENCE}}
    named = {"organization": [{"reference": f"Organization/{kindly}"}]}
    answers = [registrar.call("POST", "Consent", body=role(demo.patient, relative, **said) | named)]
    for grantor in (f"Organization/{kindly}", "https://fhir-gateway.example/id/organisation|org-kindly", "org-kindly"):
        answers.append(registrar.call("POST", f"/patients/{demo.patient}/roles", body={
            "proxy": relative, "basis": "consent", "grantor": grantor, "evidence": EVIDENCE, "present": "Dr Patel"}))  # fmt: skip
    for answer in answers:
        assert answer.status_code == 422 and "ODS code" in answer.text, answer.text


@pytest.mark.parametrize("minutes", [6, None])
def test_they_prove_who_they_are_once_more_before_they_change_anything(demo: Gateway, minutes: int | None) -> None:
    """A sign-in of six minutes ago, or a token that does not say when: 403, with what to do, whoever is asked about."""
    stale = signed_in(demo, "role-registrar", demo.persona("gp")["fhirUser"], organisation="D82001", roles=("clinician", "registrar"), minutes_ago=minutes)
    asked = {"proxy": "RelatedPerson/x", "basis": "best-interest", "grantor": "D82001", "evidence": "A meeting"}
    tails = (("roles", asked), ("facts", {"fact": "capacity-lost", "evidence": "seen today"}), (f"roles/{NOBODY}", {"status": "inactive", "reason": "ROLE_DEACTIVATED_OTHER"}))
    for tail, body in tails:
        here, absent = (stale.call("POST", f"/patients/{p}/{tail}", body=body) for p in (demo.patient, NOBODY))
        assert here.status_code == absent.status_code == 403 and here.content == absent.content, here.text
        assert "Sign in again" in here.text and 'error="insufficient_user_authentication", max_age="300"' in here.headers["www-authenticate"]
    by_fhir = stale.call("POST", "Consent", body=role(demo.patient, "RelatedPerson/x", "best-interest"))
    assert by_fhir.status_code == 403 and "max_age" in by_fhir.headers["www-authenticate"], by_fhir.text
    assert stale.get(f"/patients/{demo.patient}/roles").status_code == 200, "looking needs no more than before"


@pytest.mark.parametrize("minutes", [6, None])
def test_the_role_of_an_operator_saves_nobody_from_signing_in_again(demo: Gateway, minutes: int | None) -> None:
    """Accounts and other issuers have it, too: only a command on the machine has no sign-in to ask for."""
    who = demo.persona("privacy-officer")["fhirUser"]
    fresh = signed_in(demo, "an-operator", who, organisation="QX9", roles=("operator", "privacy-officer", "registrar"))
    stale = signed_in(demo, "an-operator", minutes_ago=minutes)
    ward = {"resourceType": "Organization", "active": True, "name": "A ward"}
    made = fresh.call("POST", "Organization", body=ward)
    assert made.status_code == 201, made.text
    place, etag = f"Organization/{id_of(made)}", {"If-Match": made.headers["etag"]}
    everything = {"resourceType": "Bundle", "type": "transaction", "entry": [{"resource": ward, "request": {"method": "POST", "url": "Organization"}}]}
    patch = [{"op": "replace", "path": "/name", "value": "Mine"}]
    said = {
        "create": stale.call("POST", "Organization", body=ward),
        "a new person": stale.call("POST", "Practitioner", body={"resourceType": "Practitioner", "active": True}),
        "update": stale.call("PUT", place, body={**made.json(), "name": "Mine"}, headers=etag),
        "patch": stale.call("PATCH", place, body=patch, headers={**etag, "Content-Type": "application/json-patch+json"}),
        "delete": stale.call("DELETE", place, headers=etag),
        "transaction": stale.call("POST", "", body=everything),
        "fact": stale.call("POST", f"/patients/{demo.patient}/facts", body={"fact": "capacity-lost", "evidence": "seen today"}),
    }  # fmt: skip
    assert {k: a.status_code for k, a in said.items()} == dict.fromkeys(said, 403), {k: a.text for k, a in said.items() if a.status_code != 403}
    assert all('max_age="300"' in a.headers.get("www-authenticate", "") for k, a in said.items() if k != "transaction")
    assert stale.get(place).json()["name"] == "A ward", "looking needs no more than before"
    assert fresh.call("DELETE", place, headers=etag).status_code in (200, 204)


@pytest.mark.parametrize("who", ["gp", "stranger", "hospital", "link-worker", "proxy", "patient"])
def test_nobody_else_does_and_the_hidden_is_as_the_absent(demo: Gateway, who: str) -> None:
    body = {"proxy": "RelatedPerson/x", "basis": "consent", "grantor": "D82001", "evidence": "because"}
    for tail, sent in (("roles", body), ("facts", {"fact": "capacity-lost", "evidence": "because"}), (f"roles/{NOBODY}", {"status": "active", "reason": "x"})):
        here = demo.call(who, "POST", f"/patients/{demo.patient}/{tail}", body=sent)
        absent = demo.call(who, "POST", f"/patients/{NOBODY}/{tail}", body=sent)
        assert here.status_code == absent.status_code == 404 and here.content == absent.content, (tail, here.text)
    assert demo.get(who, f"/patients/{demo.patient}/roles").status_code == 404


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"basis": "parental-responsibility"}, 422), ({"basis": "health-and-welfare-lasting-power-of-attorney"}, 422), ({"basis": "UNK"}, 422),
        ({"proxy": "Practitioner/x"}, 422), ({"proxy": "RelatedPerson/0198c0de-0000-7000-8000-000000000000"}, 422), ({"basis": "consent", "grantor": ""}, 201),
    ],
)  # fmt: skip
def test_the_person_appoints_by_consent_alone(demo: Gateway, change: dict[str, Any], status: int) -> None:
    kin = demo.call("patient", "POST", "RelatedPerson", body={
        "resourceType": "RelatedPerson", "active": True, "patient": {"reference": f"Patient/{demo.patient}"}})  # fmt: skip
    asked = {"proxy": f"RelatedPerson/{kin.json()['id']}", "reason": ""} | change
    answer = demo.call("patient", "POST", "Consent", body=role(demo.patient, **asked))
    assert answer.status_code == status, answer.text
    if status == 201:
        twin = demo.call("patient", "POST", "Consent", body=role(demo.patient, **asked))
        assert twin.status_code == 409
        assert save(demo, answer.json() | {"status": "inactive"}, answer.headers["etag"]).status_code == 200


# -- somebody who may decide for the person ---------------------------------------------------------------------------


def test_a_parent_gives_consents_for_a_child_and_nothing_to_themselves(demo: Gateway) -> None:
    p = Person(demo, "2015-01-01", "Small")
    rosa = demo.persona("link-worker")["fhirUser"]
    body = consent(p.id, permit(rosa))
    assert p.proxy.call("POST", "Consent", body=body).status_code == 403, "no role yet"
    hidden = consent(p.id, permit(type="deny") | {"securityLabel": [{"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "SEX"}]})
    against = consent(p.id, permit(p.relative, type="deny") | {"data": [{"meaning": "instance", "reference": {"reference": p.goal}}]})
    made = [p.me.call("POST", "Consent", body=b) for b in (hidden, against)]
    assert [m.status_code for m in made] == [201, 201]
    p.appoint("parental-responsibility")
    assert not p.sees(), "the child said no to this one"
    given_ = p.proxy.call("POST", "Consent", body=body)
    assert given_.status_code == 201, given_.text
    assert demo.get("link-worker", p.goal).status_code == 200
    for rule in (permit(p.relative), permit(), permit("RelatedPerson/other"), permit("Group/x")):
        assert p.proxy.call("POST", "Consent", body=consent(p.id, rule)).status_code == 403, rule
    assert p.proxy.call("POST", "Consent", body=role(p.id, p.relative, "consent")).status_code == 403
    for m in made:  # taking back what closes something to them
        id = m.json()["id"]
        read = p.proxy.get(f"Consent/{id}")
        if read.status_code == 200:
            assert save(p.proxy, read.json() | {"status": "inactive"}, read.headers["etag"]).status_code == 403
            emptied = {k: v for k, v in read.json().items() if k != "provision"}
            assert save(p.proxy, emptied, read.headers["etag"]).status_code == 403
    own = p.proxy.get(f"Consent/{given_.json()['id']}")
    assert own.status_code == 200
    assert save(p.proxy, own.json() | {"status": "inactive"}, own.headers["etag"]).status_code == 200
    assert demo.get("link-worker", p.goal).status_code == 404


def test_whoever_was_only_let_in_by_consent_decides_nothing(demo: Gateway) -> None:
    rosa = demo.persona("link-worker")["fhirUser"]
    assert demo.call("proxy", "POST", "Consent", body=consent(demo.patient, permit(rosa))).status_code == 403


# -- what is recorded about a person ----------------------------------------------------------------------------------


def fact(name: str, **value: Any) -> dict[str, Any]:
    return {"url": f"https://fhir-gateway.example/StructureDefinition/{name}", **(value or {"valueBoolean": True})}


def test_the_person_opts_out_of_research_and_nobody_undoes_it(demo: Gateway) -> None:
    p = Person(demo, "1960-01-01", "Optout")
    done = p.me.call("POST", f"/patients/{p.id}/facts", body={"fact": "national-data-opt-out"})
    assert done.status_code == 200 and done.json()["did"] == "updated", done.text
    assert p.me.call("POST", f"/patients/{p.id}/facts", body={"fact": "national-data-opt-out"}).json()["did"] == "unchanged"
    assert p.research() == "ndoo"
    read = demo.get("hospital", f"Patient/{p.id}")
    assert fact("national-data-opt-out") in read.json()["extension"]
    without = {k: v for k, v in read.json().items() if k != "extension"}
    undone = save(demo, without, read.headers["etag"], by="hospital")
    assert undone.status_code == 422 and undone.json()["issue"][0]["expression"] == ["Patient.extension"], undone.text
    assert p.me.call("POST", f"/patients/{p.id}/facts", body={"fact": "national-data-opt-out", "on": False}).status_code == 200
    assert p.research() == "implicit"


@pytest.mark.parametrize("who", ["patient", "hospital", "gp"])
@pytest.mark.parametrize("name", ["capacity-lost", "no-notify", "link"])
def test_what_opens_or_silences_is_recorded_and_never_just_written(demo: Gateway, who: str, name: str) -> None:
    read = demo.get(who, f"Patient/{demo.patient}")
    if name == "link":
        if who == "hospital":
            return  # a registered source may say so; it carries denies over and opens nothing
        more: dict[str, Any] = {"link": [{"other": {"reference": f"Patient/{NOBODY}"}, "type": "replaces"}]}
    else:
        more = {"extension": [*read.json().get("extension", []), fact(name)]}
    answer = save(demo, read.json() | more, read.headers["etag"], by=who)
    assert answer.status_code == 422, answer.text
    if name != "link" and who == "hospital":
        born = {"resourceType": "Patient", "name": [{"family": "New"}], "birthDate": "1950-01-01", "extension": [fact(name)]}
        assert demo.call("hospital", "POST", "Patient", body=born).status_code == 422


def test_the_operator_sees_nothing_of_what_they_record_about(demo: Gateway) -> None:
    p = Person(demo, "1961-01-01", "Unseen")
    p.record("national-data-opt-out")

    async def looks(ctx: Any) -> str:
        try:
            await gate.read(ctx, Ref("Patient", p.id))
        except Problem as problem:
            return problem.kind
        return "seen"

    assert wired_operator(demo, looks) == "not-found"


# -- the same person twice --------------------------------------------------------------------------------------------


def test_a_merge_joins_the_consents_of_both_records_and_its_end_parts_them(demo: Gateway) -> None:
    one, two = Person(demo, "1970-01-01", "Merge"), Person(demo, "1970-01-01", "Merged")
    rosa = demo.persona("link-worker")["fhirUser"]
    made = one.me.call("POST", "Consent", body=consent(one.id, permit(rosa)))
    assert made.status_code == 201
    assert [demo.get("link-worker", p.goal).status_code for p in (one, two)] == [200, 404]
    one.link(two, "replaces")
    assert [demo.get("link-worker", p.goal).status_code for p in (one, two)] == [200, 200]
    no = two.me.call("POST", "Consent", body=consent(two.id, permit(rosa, type="deny")))
    assert no.status_code == 201
    assert [demo.get("link-worker", p.goal).status_code for p in (one, two)] == [404, 404], "a no in one closes both"
    one.link(two, "")
    assert [demo.get("link-worker", p.goal).status_code for p in (one, two)] == [200, 404]


def written_on(demo: Gateway, person: Person, **more: Any) -> None:
    """The hospital changes the Patient: an element with None goes."""
    now = demo.get("hospital", f"Patient/{person.id}")
    body = {k: v for k, v in {**now.json(), **more}.items() if v is not None}
    done = demo.call("hospital", "PUT", f"Patient/{person.id}", body=body, headers={"If-Match": now.headers["etag"]})
    assert done.status_code == 200, done.text


def test_what_ends_a_proxys_role_in_one_of_merged_records_ends_it_in_all(demo: Gateway) -> None:
    one, way, two = (Person(demo, "1972-01-01", f"Ends{n}") for n in ("One", "Way", "Two"))
    one.appoint("consent")
    one.link(way, "replaces")
    way.link(two, "replaces")  # merged with the first by way of the second
    assert one.sees() and one.proxy.get(two.goal).status_code == 200
    two.record("safeguarding-proxy", who=one.relative)
    assert not one.sees() and one.proxy.get(two.goal).status_code == 404, "suspended in the other record"
    two.record("safeguarding-proxy", who=one.relative, on=False)
    assert one.sees()
    two.record("national-data-opt-out")
    assert one.research() == "ndoo"
    written_on(demo, two, deceasedDateTime="2026-10-20")
    assert not one.sees(), "nobody acts for a person who has died"
    way.link(two, "")
    assert one.sees() and one.proxy.get(two.goal).status_code == 404, "parted: it was another person's"


def test_where_somebody_at_risk_is_is_in_none_of_their_merged_records(demo: Gateway) -> None:
    """The address, the practice, and what is found by them."""
    one, two = Person(demo, "1973-01-01", "Risk"), Person(demo, "1973-01-01", "Risky")
    social = demo.persona("social-worker")["fhirUser"]
    ods = "https://fhir.nhs.uk/Id/ods-organization-code"
    (found,) = demo.get("gp", f"Organization?identifier={ods}|D82001").json()["entry"]
    surgery = f"Organization/{found['resource']['id']}"
    written_on(demo, two, address=[{"line": ["12 Invented Close"], "postalCode": "NR99 9ZZ"}], generalPractitioner=[{"reference": surgery}])
    assert one.me.call("POST", "Consent", body=consent(one.id, permit(social))).status_code == 201
    one.link(two, "replaces")
    searches = [f"Patient?_id={two.id}&{q}" for q in ("address-postalcode=NR99", f"general-practitioner={surgery}")]

    def shown() -> list[bool]:
        body = demo.get("social-worker", f"Patient/{two.id}").json()
        return ["address" in body, surgery in json.dumps(body), *(demo.get("social-worker", s).json()["total"] == 1 for s in searches)]

    assert shown() == [True] * 4
    mark = {"system": HANDLING_SYSTEM, "code": LOCATION_PROTECTED}
    sent = {"resourceType": "Parameters", "parameter": [{"name": "meta", "valueMeta": {"security": [mark]}}]}
    put = one.me.call("POST", f"Patient/{one.id}/$meta-add", body=sent)
    assert put.status_code == 200, put.text
    assert shown() == [False] * 4
    one.link(two, "")
    one.link(two, "replaces")
    assert shown() == [False] * 4, "linked again while at risk"


def previewed(person: Person, who: str) -> int:
    """Of how many things the person is told whether this one may see them."""
    asked = {"resourceType": "Parameters", "parameter": [{"name": "who", "valueString": who}]}
    answer = person.me.call("POST", "Consent/$preview", body=asked)
    assert answer.status_code == 200, answer.text
    return int(next(p["valueInteger"] for p in answer.json()["parameter"] if p["name"] == "of"))


def test_a_person_reads_all_their_merged_records_and_who_looked_at_them(demo: Gateway) -> None:
    one, two = Person(demo, "1974-01-01", "Whole"), Person(demo, "1974-01-01", "Wholly")
    rosa = demo.persona("link-worker")["fhirUser"]
    assert one.me.call("POST", "Consent", body=consent(one.id, permit(rosa))).status_code == 201
    place = f"Patient/{two.id}"

    def reads() -> list[int]:
        """Of the other record: one thing, its history, all of it, a search in it, a search for all that is theirs, who looked."""
        alone = [one.me.get(p).status_code == 200 for p in (two.goal, f"{two.goal}/_history/1", f"{place}/$everything")]
        found = [one.me.total(s) for s in (f"Goal?patient={two.id}", "Goal", f"AuditEvent?patient={two.id}&agent={rosa}")]
        return [*map(int, alone), *found]

    assert reads() == [0, 0, 0, 0, 1, 0]
    apart = previewed(one, rosa)
    one.link(two, "seealso")
    assert reads() == [0, 0, 0, 0, 1, 0], "it may be another person's"
    one.link(two, "replaces")
    assert demo.get("link-worker", two.goal).status_code == 200
    assert reads() == [1, 1, 1, 1, 2, 1]
    assert one.me.get(two.goal).content == two.me.get(two.goal).content, "as they read it by the record itself"
    told = one.me.get(f"AuditEvent?patient={two.id}&_count=200").json()["entry"]
    assert {e["resource"]["id"] for e in told} >= {e["resource"]["id"] for e in two.me.get(f"AuditEvent?agent={rosa}").json()["entry"]}
    why = one.me.get(f"Consent/$explain?what={two.goal}&who={rosa}")
    assert why.status_code == 200 and "Yes." in why.text, why.text
    assert previewed(one, rosa) == apart + 3, "the other Patient, its relative and its goal"
    stranger = Person(demo, "1974-01-01", "Other")
    assert [stranger.me.get(p).status_code for p in (one.goal, two.goal)] == [404, 404]
    one.link(two, "")
    assert reads() == [0, 0, 0, 0, 1, 0]


def test_a_person_stops_in_any_of_their_merged_records_what_is_shared(demo: Gateway) -> None:
    one, two = Person(demo, "1975-01-01", "Stop"), Person(demo, "1975-01-01", "Stopped")
    rosa = demo.persona("link-worker")["fhirUser"]
    made = two.me.call("POST", "Consent", body=consent(two.id, permit(rosa)))
    assert made.status_code == 201, made.text
    ref = f"Consent/{id_of(made)}"

    def stop() -> int:
        body = {**made.json(), "status": "inactive"}
        return int(one.me.call("PUT", ref, body=body, headers={"If-Match": 'W/"1"'}).status_code)

    assert stop() == 404
    one.link(two, "replaces")
    assert [demo.get("link-worker", p.goal).status_code for p in (one, two)] == [200, 200]
    assert one.me.total(f"Consent?patient={one.id},{two.id}&status=active") == 1
    assert stop() == 200
    assert [demo.get("link-worker", p.goal).status_code for p in (one, two)] == [404, 404]
    again = consent(two.id, permit(rosa)) | {"performer": [{"reference": f"Patient/{one.id}"}]}
    assert one.me.call("POST", "Consent", body=again).status_code == 201, "they give it by either record"
    stranger = Person(demo, "1975-01-01", "Unlinked")
    assert stranger.me.call("POST", "Consent", body=consent(two.id, permit(rosa))).status_code in (403, 422)


def test_a_mere_see_also_carries_a_no_over_and_nothing_else(demo: Gateway) -> None:
    one, two = Person(demo, "1971-01-01", "See"), Person(demo, "1971-01-01", "Also")
    rosa = demo.persona("link-worker")["fhirUser"]
    assert one.me.call("POST", "Consent", body=consent(one.id, permit(rosa))).status_code == 201
    one.link(two, "seealso")
    assert [demo.get("link-worker", p.goal).status_code for p in (one, two)] == [200, 404]
    no = two.me.call("POST", "Consent", body=consent(two.id, permit(rosa, type="deny")))
    assert no.status_code == 201
    assert demo.get("link-worker", one.goal).status_code == 404


def test_a_registered_system_leaves_an_operators_link_as_it_is() -> None:
    from fhir_gateway.domain.recorded import not_theirs

    def linked(*types: str) -> dict[str, Any]:
        return {"link": [{"other": {"reference": "Patient/p9"}, "type": t} for t in types]}

    def may(before: dict[str, Any], after: dict[str, Any], *held: str) -> bool:
        return not_theirs(before, after, may=frozenset({"link"}), held=frozenset(held)) is None

    assert may({}, linked("seealso")) and may(linked("seealso"), {})
    assert not may(linked("seealso"), {}, "Patient/p9")
    assert not may(linked("seealso"), linked("replaces"), "Patient/p9")


def test_after_a_death_the_team_of_record_reads_and_nobody_acts_or_writes(demo: Gateway) -> None:
    p = Person(demo, "2015-01-01", "Dead")
    p.appoint("parental-responsibility")
    assert p.sees()
    read = demo.get("hospital", f"Patient/{p.id}")
    when = (datetime.now(UTC) - timedelta(seconds=5)).isoformat(timespec="seconds")
    assert save(demo, read.json() | {"deceasedDateTime": when}, read.headers["etag"], by="hospital").status_code == 200
    assert not p.sees()
    assert demo.get("hospital", p.goal).status_code == 200, "its own record"
    goal = demo.get("hospital", p.goal)
    assert save(demo, goal.json() | {"lifecycleStatus": "completed"}, goal.headers["etag"], by="hospital").status_code == 403
    refused(lambda: p.appoint("best-interest"), "business-rule", "has died")


