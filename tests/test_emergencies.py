"""Breaking the glass over HTTP: who may, how it is proved, what it opens and to whom, how it ends, who is told, how it is reviewed."""

from __future__ import annotations

import json
import signal
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .conftest import Gateway, gateway

WHY = {"reason": "Found unconscious at the bus stop", "ground": "incapacity-vital-interest"}
PAPER = {"nhs_number": "999 000 0018", "birth_date": "1951-04-07", "family_name": "example"}
READ = "http://terminology.hl7.org/CodeSystem/v3-ParticipationType"


def start(g: Gateway, who: str = "stranger", **more: Any) -> Any:
    return g.call(who, "POST", f"/patients/{g.patient}/break-glass", body={**WHY, **more})


def end(g: Gateway, who: str = "stranger") -> int:
    return g.call(who, "DELETE", f"/patients/{g.patient}/break-glass").status_code


def sees(g: Gateway, who: str = "stranger") -> bool:
    return g.get(who, f"Patient/{g.patient}").status_code == 200


@pytest.fixture
def calm(demo: Gateway) -> Iterator[Gateway]:
    """The demo without an emergency under way, before and after."""
    for _ in range(2):
        for who in ("stranger", "gp"):
            end(demo, who)
        if _ == 0:
            yield demo


def told(g: Gateway, why: str) -> list[str]:
    """To whom a notice about this is queued."""
    with sqlite3.connect(g.data / "gateway.sqlite") as db:
        return [r for (r,) in db.execute("SELECT remote FROM outbox WHERE why = ? ORDER BY entry", (why,))]


# -- what it opens ----------------------------------------------------------------------------------------------------


def test_it_opens_one_record_to_read_until_it_is_ended(calm: Gateway) -> None:
    g, p = calm, calm.patient
    other = g.call("hospital", "POST", "Patient", body={"resourceType": "Patient", "name": [{"family": "Else"}], "birthDate": "1960-01-01"}).json()["id"]
    assert not sees(g) and g.get("stranger", f"Goal?patient={p}").json()["total"] == 0
    assert start(g).status_code == 201
    assert sees(g) and g.get("stranger", f"Goal?patient={p}").json()["total"] > 0
    assert {e["resource"]["id"] for e in g.get("stranger", "Patient").json()["entry"]} == {p}
    assert g.get("stranger", f"Patient/{other}").status_code == 404
    assert not sees(g, "link-worker"), "nobody else's asks count as it"
    assert end(g) == 204 and end(g) == 404
    assert not sees(g) and g.get("stranger", f"Goal?patient={p}").json()["total"] == 0


def test_it_opens_nothing_to_write(calm: Gateway) -> None:
    g, p = calm, calm.patient
    start(g)
    goal = g.get("stranger", f"Goal?patient={p}").json()["entry"][0]["resource"]
    change = g.call("stranger", "PUT", f"Goal/{goal['id']}", body=goal, headers={"If-Match": f'W/"{goal["meta"]["versionId"]}"'})
    assert change.status_code == 403
    new = {"resourceType": "Observation", "status": "final", "code": {"text": "x"}, "subject": {"reference": f"Patient/{p}"}}
    assert g.call("stranger", "POST", "Observation", body=new).status_code in (403, 404, 422)


def test_a_purpose_alone_breaks_nothing(calm: Gateway) -> None:
    assert calm.get("stranger", f"Patient/{calm.patient}", **{"X-Purpose-Of-Use": "BTG"}).status_code == 404
    assert calm.get("stranger", f"Patient/{calm.patient}", **{"X-Purpose-Of-Use": "ETREAT"}).status_code == 404


def test_a_page_link_dies_with_it(calm: Gateway) -> None:
    g = calm
    start(g)
    page = g.get("stranger", f"Goal?patient={g.patient}&_count=1").json()
    (onward,) = [x["url"] for x in page["link"] if x["relation"] == "next"]
    assert g.get("stranger", onward.split("/fhir/")[1]).status_code == 200
    end(g)
    assert g.get("stranger", onward.split("/fhir/")[1]).status_code == 404
    start(g)
    assert g.get("stranger", onward.split("/fhir/")[1]).status_code == 404, "another emergency is another answer"


def consent(g: Gateway, rule: dict[str, Any]) -> tuple[str, str]:
    made = g.call("patient", "POST", "Consent", body={
        "resourceType": "Consent", "status": "active", "patient": {"reference": f"Patient/{g.patient}"},
        "scope": {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/consentscope", "code": "patient-privacy"}]},
        "category": [{"coding": [{"system": "http://loinc.org", "code": "59284-0"}]}],
        "policyRule": {"coding": [{"system": "https://fhir-gateway.example/CodeSystem/policy", "code": "uk-direct-care"}]},
        "provision": {"provision": [rule]},
    })  # fmt: skip
    assert made.status_code == 201, made.text
    return made.json()["id"], made.json()["meta"]["versionId"]


def withdraw(g: Gateway, held: tuple[str, str]) -> None:
    body = g.get("patient", f"Consent/{held[0]}").json() | {"status": "inactive"}
    assert g.call("patient", "PUT", f"Consent/{held[0]}", body=body, headers={"If-Match": f'W/"{held[1]}"'}).status_code == 200


@pytest.mark.parametrize(("purpose", "opens"), [(None, True), ("TREAT", True), ("BTG", False), ("ETREAT", False)])
def test_a_no_holds_where_it_names_emergencies(calm: Gateway, purpose: str | None, opens: bool) -> None:
    """TREAT as a no covers what is below it, but it does not name an emergency."""
    said = {"purpose": [{"system": "http://terminology.hl7.org/CodeSystem/v3-ActReason", "code": purpose}]} if purpose else {}
    held = consent(calm, {"type": "deny", **said})
    try:
        assert start(calm).status_code == 201
        assert sees(calm) is opens
    finally:
        withdraw(calm, held)


def test_what_the_law_restricts_stays_shut(calm: Gateway) -> None:
    g = calm
    legal = {"system": "https://fhir-gateway.example/CodeSystem/legal-restriction", "code": "HFEA"}
    made = g.call("patient", "POST", "Observation", body={
        "resourceType": "Observation", "status": "final", "meta": {"security": [legal]}, "code": {"text": "treatment"},
        "subject": {"reference": f"Patient/{g.patient}"},
    })  # fmt: skip
    assert made.status_code == 201, made.text
    start(g)
    assert sees(g)
    assert g.get("stranger", f"Observation/{made.json()['id']}").status_code == 404
    found = g.get("stranger", f"Observation?patient={g.patient}").json().get("entry", [])
    assert made.json()["id"] not in {e["resource"]["id"] for e in found}


# -- who may, and how they prove it -----------------------------------------------------------------------------------


@pytest.mark.parametrize("who", ["social-worker", "link-worker", "patient", "proxy", "hospital", "privacy-officer"])
def test_without_the_role_it_is_refused_whoever_is_meant(calm: Gateway, who: str) -> None:
    for id in (calm.patient, "nobody-of-this-name"):
        answer = calm.call(who, "POST", f"/patients/{id}/break-glass", body=WHY)
        assert answer.status_code == 403 and "role" in answer.text
        with sqlite3.connect(calm.data / "gateway.sqlite") as db:
            (last,) = db.execute("SELECT note FROM audit WHERE user = ? ORDER BY at DESC, id DESC LIMIT 1", (calm.persona(who)["fhirUser"],)).fetchone()
        row = json.loads(last)
        assert (row["what"], row["allowed"], row.get("patient")) == ("break-glass", False, None), "it is written down, and says of nobody"
    assert calm.call(None, "POST", f"/patients/{calm.patient}/break-glass", body=WHY).status_code == 401


@pytest.mark.parametrize(
    ("body", "where"),
    [
        ({"ground": "public-interest"}, "reason"),
        ({**WHY, "reason": "  \n "}, "reason"),
        ({**WHY, "reason": "..."}, "reason"),
        ({**WHY, "reason": "x" * 501}, "reason"),
        ({**WHY, "reason": "bell \x07"}, "reason"),
        ({**WHY, "reason": 5}, "reason"),
        ({"reason": "y"}, "ground"),
        ({**WHY, "ground": "curiosity"}, "ground"),
        ({**WHY, "ground": ["public-interest"]}, "ground"),
        ({**WHY, "patient": "x"}, "patient"),
    ],
)
def test_half_a_reason_is_none_whoever_is_meant(calm: Gateway, body: dict[str, Any], where: str) -> None:
    for id in (calm.patient, "nobody-of-this-name"):
        answer = calm.call("stranger", "POST", f"/patients/{id}/break-glass", body=body)
        assert answer.status_code == 422 and where in answer.json()["issue"][0]["expression"], answer.text
    assert not sees(calm)


def test_bad_bodies_are_4xx_that_say_why(calm: Gateway) -> None:
    path = f"/patients/{calm.patient}/break-glass"
    for raw, status in ((b"", 400), (b"[]", 400), (b"{", 400), (b'{"reason": null}', 400)):
        assert calm.call("stranger", "POST", path, raw=raw).status_code == status
    assert calm.call("stranger", "POST", path, raw=b"x=1", headers={"Content-Type": "text/plain"}).status_code == 415
    assert calm.call("stranger", "GET", path).status_code == 405


def test_the_same_words_again_are_the_same_emergency(calm: Gateway) -> None:
    before = len(told(calm, "break-glass"))
    first, again = start(calm), start(calm)
    assert (first.status_code, again.status_code) == (201, 200) and first.json() == again.json()
    assert told(calm, "break-glass")[before:] == ["tell:privacy-officer", "tell:patient"]
    other = start(calm, reason="Now she cannot breathe")
    assert other.status_code == 201 and other.json()["id"] != first.json()["id"]
    live = [e for e in calm.lines("emergencies", "list", "--json") if e["live"]]
    assert [e["id"] for e in live] == [other.json()["id"]], "a new one ends the one before"


# -- by name and number -----------------------------------------------------------------------------------------------


def test_a_person_is_found_by_number_birth_date_and_name_together(calm: Gateway) -> None:
    opened = calm.call("stranger", "POST", "/patients/break-glass", body={**WHY, **PAPER})
    assert opened.status_code == 201 and opened.json()["patient"] == calm.patient and sees(calm)


def test_a_wrong_name_tells_no_more_than_nobody(calm: Gateway) -> None:
    answers = []
    for wrong in ({"family_name": "Other"}, {"birth_date": "1951-04-08"}, {"nhs_number": "9990000026"}):
        answer = calm.call("stranger", "POST", "/patients/break-glass", body={**WHY, **PAPER, **wrong})
        answers.append((answer.status_code, answer.text, sorted(answer.headers)))
    assert answers[0][0] == 404 and len({str(a) for a in answers}) == 1
    assert not sees(calm)


@pytest.mark.parametrize("wrong", [{"nhs_number": "12"}, {"birth_date": "7 April"}, {"family_name": ""}, {"nhs_number": 5}])
def test_paper_that_cannot_be_is_422(calm: Gateway, wrong: dict[str, Any]) -> None:
    answer = calm.call("stranger", "POST", "/patients/break-glass", body={**WHY, **PAPER, **wrong})
    assert answer.status_code == 422 and answer.json()["issue"][0]["expression"] == list(wrong)


# -- the trail, the queue ---------------------------------------------------------------------------------------------


def test_each_look_is_in_the_queue_and_is_reviewed_by_somebody_else(calm: Gateway) -> None:
    g = calm
    id = start(g).json()["id"]
    g.get("stranger", f"Goal?patient={g.patient}")
    g.get("stranger", f"Patient/{g.patient}/$everything")
    g.get("stranger", f"Patient/{g.patient}/_history")
    (item,) = [e for e in g.lines("emergencies", "list", "--json") if e["id"] == id]
    assert item["reason"] == WHY["reason"] and item["ground"] == WHY["ground"] and item["name"] == "Dr Sam Other"
    assert item["read"]["Goal"] >= 1 and item["read"]["CarePlan"] >= 1 and item["looked"] == 3 and item["live"]
    assert not {"Consent", "AuditEvent"} & item["read"].keys()
    refused = g.command("emergencies", "review", id, "--outcome", "fine", "--words", "x")
    assert refused.returncode == 1 and "outcome" in refused.stderr
    assert g.command("emergencies", "review", "no-such", "--outcome", "justified", "--words", "x").returncode == 1
    assert g.command("emergencies", "review", id, "--outcome", "justified", "--words", "The ward confirms it").returncode == 0
    assert id not in {e["id"] for e in g.lines("emergencies", "list", "--json")}
    (done,) = [e for e in g.lines("emergencies", "list", "--reviewed", "--json") if e["id"] == id]
    assert [(r["outcome"], r["words"]) for r in done["reviews"]] == [("justified", "The ward confirms it")]
    assert sees(g), "a review alone ends nothing"
    assert g.command("emergencies", "end", id).returncode == 0 and not sees(g)
    assert g.command("emergencies", "end", id).returncode == 1


def test_the_trail_says_emergency_and_what_it_obliges_to(calm: Gateway) -> None:
    from fhir_gateway.domain import audit

    id = start(calm).json()["id"]
    calm.get("stranger", f"Goal?patient={calm.patient}")
    with sqlite3.connect(calm.data / "gateway.sqlite") as db:
        rows = [audit.decode(r) for (r,) in db.execute("SELECT note FROM audit ORDER BY at")]
    begun, looked = [n for n in rows if n.rule == f"emergency {id}"]
    assert (begun.what, looked.what) == ("break-glass", "search")
    for n in (begun, looked):
        assert set(n.obligations) == {"AUDIT-BTG", "NOTIFY-PRIVACY-OFFICER", "NOTIFY-PATIENT"} and n.purpose == "BTG"
    event = audit.event(begun)
    assert event["subtype"][0]["code"] == "110127" and WHY["reason"] in event["outcomeDesc"]


# -- at once, and for good --------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_it_survives_a_kill_and_a_second_process_knows_it(tmp_path: Path) -> None:
    with gateway(tmp_path, "--demo") as g:
        assert start(g).status_code == 201
        g.stop(signal.SIGKILL)
        g.start("--demo")
        assert sees(g)
        assert g.command("emergencies", "end", g.lines("emergencies", "list", "--json")[0]["id"]).returncode == 0
        assert not sees(g), "ended by another process"


def test_no_answer_begun_after_its_end_carries_data(calm: Gateway) -> None:
    g = calm
    g.persona("stranger")
    for _ in range(5):
        assert start(g).status_code == 201
        ended, late = threading.Event(), list[int]()

        def reader(ended: threading.Event = ended, late: list[int] = late) -> None:
            for _ in range(40):
                after = ended.is_set()
                if sees(g) and after:
                    late.append(1)
                if after:
                    return

        readers = [threading.Thread(target=reader) for _ in range(4)]
        for r in readers:
            r.start()
        assert end(g) == 204
        ended.set()
        for r in readers:
            r.join()
        assert not late


def change_roles(g: Gateway, username: str, drop: str) -> None:
    """Take a role away from an account, as whoever keeps the accounts would; another process does it."""
    import json

    with sqlite3.connect(g.data / "gateway.sqlite") as db:
        (raw,) = db.execute("SELECT value FROM kept WHERE kind = 'account' AND key = ?", (username,)).fetchone()
        account = json.loads(raw)
        account["roles"] = [r for r in account["roles"] if r != drop]
        db.execute("UPDATE kept SET value = ? WHERE kind = 'account' AND key = ?", (json.dumps(account).encode(), username))


def test_it_ends_with_the_role_though_the_token_lives_on(tmp_path: Path) -> None:
    with gateway(tmp_path, "--demo") as g:
        assert start(g).status_code == 201 and sees(g)
        change_roles(g, "stranger", "break-glass")
        assert not sees(g) and start(g).status_code == 403


# -- claims and urgent care over HTTP ---------------------------------------------------------------------------------


def test_a_claim_opens_and_ends(calm: Gateway) -> None:
    g = calm
    made = g.call("stranger", "POST", f"/patients/{g.patient}/claims", body={"reason": "I see her in the falls clinic", "days": 2})
    assert made.status_code == 201 and sees(g)
    assert {e["resource"]["id"] for e in g.get("stranger", "Patient").json()["entry"]} == {g.patient}
    assert g.call("stranger", "DELETE", f"/patients/{g.patient}/claims").status_code == 204
    assert not sees(g) and g.call("stranger", "DELETE", f"/patients/{g.patient}/claims").status_code == 404
    for who, id in (("link-worker", g.patient), ("link-worker", "nobody"), ("patient", g.patient), ("hospital", g.patient)):
        assert g.call(who, "POST", f"/patients/{id}/claims", body={"reason": "x"}).status_code == 403
    for body in ({"days": 1}, {"reason": ""}, {"reason": "x", "days": 0}, {"reason": "x", "days": "3"}, {"reason": "x", "days": True}):
        assert g.call("stranger", "POST", f"/patients/{g.patient}/claims", body=body).status_code == 422
    assert g.call("stranger", "POST", "/patients/nobody/claims", body={"reason": "x"}).status_code == 404


def test_a_claim_again_and_again_is_slowed_and_a_no_ends_it(calm: Gateway) -> None:
    g, path = calm, f"/patients/{calm.patient}/claims"
    said = [g.call("stranger", "POST", path, body={"reason": f"Ring me {n}"}) for n in range(4)]
    assert said[-1].status_code == 429 and int(said[-1].headers["retry-after"]) > 3600
    role = {"coding": [{"system": READ, "code": "IRCP"}]}
    held = consent(g, {"type": "deny", "actor": [{"role": role, "reference": {"reference": g.persona("stranger")["fhirUser"]}}]})
    before = len(told(g, "claim"))
    no, nobody = g.call("stranger", "POST", path, body={"reason": "Ring"}), g.call("stranger", "POST", "/patients/nobody/claims", body={"reason": "Ring"})
    assert no.status_code == nobody.status_code == 404 and no.text == nobody.text and len(told(g, "claim")) == before
    withdraw(g, held)
    assert g.call("stranger", "DELETE", path).status_code == 204 and g.call("stranger", "POST", path, body={"reason": "Ring"}).status_code == 429


def test_urgent_care_sees_little_and_the_person_may_say_no(calm: Gateway) -> None:
    g, p = calm, calm.patient
    assert g.call("paramedic", "POST", "/patients/find", body=PAPER).json() == {"patient": p}
    for type, some in (("CarePlan", True), ("RelatedPerson", True), ("Goal", False), ("QuestionnaireResponse", False), ("Task", False)):
        assert (g.get("paramedic", f"{type}?patient={p}").json()["total"] > 0) is some, type
    for e in g.get("paramedic", f"CarePlan?patient={p}").json()["entry"]:
        assert e["resource"]["category"][0]["coding"][0]["code"] == "325691000000100"
    assert g.get("paramedic", f"Patient/{p}").status_code == 404
    assert g.get("paramedic", "CarePlan").json()["total"] == 0, "nobody looks through everybody's plans"
    plan = g.get("paramedic", f"CarePlan?patient={p}").json()["entry"][0]["resource"]
    write = g.call("paramedic", "PUT", f"CarePlan/{plan['id']}", body=plan, headers={"If-Match": f'W/"{plan["meta"]["versionId"]}"'})
    assert write.status_code == 403
    assert g.get("paramedic", f"CarePlan?patient={p}", **{"X-Purpose-Of-Use": "TREAT"}).status_code == 403, "a wider purpose than the sign-in's"
    who = g.persona("paramedic")["fhirUser"]
    role = {"coding": [{"system": READ, "code": "IRCP"}]}
    held = consent(g, {"type": "deny", "actor": [{"role": role, "reference": {"reference": who}}]})
    assert g.get("paramedic", f"CarePlan?patient={p}").json()["total"] == 0
    assert g.call("paramedic", "POST", "/patients/find", body=PAPER).status_code == 404
    withdraw(g, held)


def test_a_setting_registers_urgent_care(tmp_path: Path) -> None:
    with gateway(tmp_path, "--demo", GATEWAY_URGENT_CARE="D82999, Organization/none") as g:
        path = f"CarePlan?patient={g.patient}"
        assert g.get("stranger", path).json()["total"] == 0
        assert g.get("stranger", path, **{"X-Purpose-Of-Use": "ETREAT"}).json()["total"] == 1
        assert g.get("paramedic", path).json()["total"] == 1, "the demo's own stays"
