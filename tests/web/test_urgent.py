"""The pages for emergencies, claims and urgent care, by forms: the clinician's, the privacy officer's, the person's."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

from tests.web.test_doors import PASSWORD, Visitor, as_, cards, share_nothing
from tests.web.test_operator import operator

if TYPE_CHECKING:
    from tests.conftest import Gateway

AMINA = {"nhs_number": "999 000 0018", "born-day": "7", "born-month": "4", "born-year": "1951", "family_name": "Example"}
GLASS = {**AMINA, "ground": "incapacity-vital-interest", "reason": "Found <b>unconscious</b> at the bus stop", "password": PASSWORD}


@pytest.fixture
def sam(demo: Gateway) -> Iterator[Visitor]:
    """The GP who has nothing to do with Amina; what he began is over afterwards."""
    v = as_(demo, "stranger")
    yield v
    demo.call("stranger", "DELETE", f"/patients/{demo.patient}/break-glass")
    demo.call("stranger", "DELETE", f"/patients/{demo.patient}/claims")
    v.http.close()


def notices(g: Gateway) -> int:
    """How many people are to be told of a claim."""
    with sqlite3.connect(g.data / "gateway.sqlite") as db:
        return int(db.execute("SELECT count(*) FROM outbox WHERE why = 'claim'").fetchone()[0])


def filled(v: Visitor, path: str, fields: dict[str, Any], **more: Any) -> Any:
    v.get(path)
    return v.send(path, **{**fields, **more})


# -- emergencies ------------------------------------------------------------------------------------------------------


def test_a_clinician_opens_a_record_and_closes_it(demo: Gateway, sam: Visitor) -> None:
    assert sam.get(f"/team/people/{demo.patient}").status_code == 404
    assert "Open a record in an emergency" in sam.get("/team").text
    opened = filled(sam, "/team/emergency", GLASS)
    assert opened.url.path == f"/team/people/{demo.patient}" and "You opened this in an emergency" in sam.words()
    assert "What matters to me" in sam.words()
    assert demo.get("stranger", f"Patient/{demo.patient}").status_code == 200, "a token that is not new counts, too"
    over = sam.send(f"/team/people/{demo.patient}/emergency/end")
    assert over.url.path == "/team" and "The emergency access is over" in sam.words()
    assert sam.get(f"/team/people/{demo.patient}").status_code == 404


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"password": ""}, "Type the password"),
        ({"password": "not this one"}, "Type the password"),
        ({"reason": " "}, "Say why, in your own words"),
        ({"ground": "curiosity"}, "Choose one of the three"),
        ({"nhs_number": "12"}, "It has 10 digits"),
        ({"nhs_number": "999 000 0081"}, "at least one of these is missing or wrong"),
        ({"born-day": "31", "born-month": "2"}, "Write a day that exists"),
        ({"born-day": "", "born-month": "", "born-year": ""}, "Type the date of birth"),
        ({"family_name": "Somebody"}, "We found nobody with this NHS number"),
        ({"born-day": "8"}, "We found nobody with this NHS number"),
    ],
)
def test_a_form_that_is_not_right_opens_nothing_and_keeps_what_was_typed(demo: Gateway, sam: Visitor, wrong: dict[str, str], said: str) -> None:
    answer = filled(sam, "/team/emergency", GLASS, **wrong)
    assert answer.url.path == "/team/emergency" and said in sam.words()
    if "reason" not in wrong:
        assert "Found &lt;b&gt;unconscious&lt;/b&gt;" in sam.page
    assert PASSWORD not in sam.page
    assert demo.get("stranger", f"Patient/{demo.patient}").status_code == 404


def test_the_password_typed_again_gives_a_new_session_also_where_the_rest_of_the_form_was_wrong(sam: Visitor) -> None:
    ids = [sam.http.cookies["session"]]
    filled(sam, "/team/emergency", GLASS, family_name="Somebody")
    ids.append(sam.http.cookies["session"])
    answer = sam.send("/team/emergency", **GLASS)  # the form that came with the answer
    ids.append(sam.http.cookies["session"])
    assert answer.url.path.startswith("/team/people/") and len(set(ids)) == 3


def test_without_the_role_there_is_no_form(demo: Gateway) -> None:
    v = as_(demo, "social-worker")
    assert "/team/emergency" not in v.get("/team").text
    v.get("/team/emergency")
    assert "Your role does not include this" in v.words() and 'action="/team/emergency"' not in v.page


def test_the_person_reads_who_and_why(demo: Gateway, sam: Visitor) -> None:
    filled(sam, "/team/emergency", GLASS)
    me = as_(demo, "patient")
    me.get("/my-plan/who-looked")
    rows = re.findall(r"<tr role=\"row\" class.*?</tr>", me.page, re.S)
    sams = [r for r in rows if "Sam Other" in r]
    assert any("Opened your plan or record in an emergency" in r for r in sams) and all("they said it was an emergency" in r for r in sams[:2])
    assert any("Found &lt;b&gt;unconscious&lt;/b&gt; at the bus stop" in r for r in sams)


def test_the_privacy_officer_reviews_and_sees_nothing_of_the_record(demo: Gateway, sam: Visitor) -> None:
    filled(sam, "/team/emergency", GLASS)
    officer = as_(demo, "privacy-officer")
    assert officer.get("/home").url.path == "/privacy"
    assert "Dr Sam Other, Faraway Surgery" in officer.words() and "Open now" in officer.words() and "CarePlan: 3" in officer.words()
    assert "Amina" not in officer.page and "9990000018" not in officer.page
    assert officer.get(f"/team/people/{demo.patient}").status_code == 404
    officer.get("/privacy")
    id = re.findall(r"/privacy/([^/\"]+)/end", officer.page)[-1]
    officer.send(f"/privacy/{id}/review", outcome="justified", words=" ")
    assert "Say why you think so" in officer.words()
    officer.send(f"/privacy/{id}/review", words="x")
    assert "Choose one." in officer.words()
    officer.get("/privacy")
    officer.send(f"/privacy/{id}/end")
    assert "It is ended" in officer.words() and demo.get("stranger", f"Patient/{demo.patient}").status_code == 404
    officer.send(f"/privacy/{id}/review", outcome="not-justified", words="Nobody at the stop knows of it")
    assert "Your review is saved" in officer.words()
    officer.get("/privacy?show=reviewed")
    assert "It was not justified Nobody at the stop knows of it" in officer.words()
    me = as_(demo, "patient")
    me.get("/my-plan/who-looked")
    assert "Checked the emergency access to your plan or record: it was not justified" in me.words()
    assert "because “it was not justified" not in me.words()


@pytest.mark.parametrize("who", ["patient", "gp", "stranger", "social-worker"])
def test_only_a_privacy_officer_has_that_page(demo: Gateway, who: str) -> None:
    assert as_(demo, who).get("/privacy").status_code == 403


# -- claims -----------------------------------------------------------------------------------------------------------


def test_a_claim_opens_the_plan_and_the_person_ends_it_by_one_click(demo: Gateway, sam: Visitor) -> None:
    made = filled(sam, "/team/claim", AMINA, reason="I see her in the falls clinic", days="")
    assert made.url.path == f"/team/people/{demo.patient}" and "You said that you look after this person" in sam.words()
    assert f"/team/people/{demo.patient}" in sam.get("/team").text
    me = as_(demo, "patient")
    me.get("/my-plan/sharing")
    assert "They said that they look after you: I see her in the falls clinic" in me.words()
    (ending,) = re.findall(r'action="(/my-plan/claims/[^"]+/not-true)"', me.page)
    me.send(ending)
    assert "You said no to them" in me.words() and ending not in me.page
    assert sam.get(f"/team/people/{demo.patient}").status_code == 404
    told = notices(demo)
    filled(sam, "/team/claim", AMINA, reason="Ring me on 0900", days="3")
    assert "You said that you look after this person" not in sam.words()
    again = demo.call("stranger", "POST", f"/patients/{demo.patient}/claims", body={"reason": "Ring me on 0900"})
    nobody = demo.call("stranger", "POST", "/patients/nobody/claims", body={"reason": "Ring me on 0900"})
    assert again.status_code == 404 and again.text == nobody.text and notices(demo) == told
    assert demo.get("stranger", f"Patient/{demo.patient}").status_code == 404, "her no holds against another claim"
    for path in ("/my-plan/sharing", "/my-plan/who-looked"):
        assert "0900" not in me.get(path).text
    me.get("/my-plan/sharing")
    (stop,) = re.findall(r"/my-plan/sharing/[^/\"]+/stop", me.page)
    me.get(stop)
    me.send(stop)
    filled(sam, "/team/claim", AMINA, reason="Once more", days="3")
    assert demo.get("stranger", f"Patient/{demo.patient}").status_code == 200, "and ends when she takes it back"


def test_the_claimant_ends_it(demo: Gateway, sam: Visitor) -> None:
    filled(sam, "/team/claim", AMINA, reason="Falls clinic")
    sam.send(f"/team/people/{demo.patient}/claim/end")
    assert "You said that you look after this person no longer" in sam.words()
    assert sam.get(f"/team/people/{demo.patient}").status_code == 404


@pytest.mark.parametrize("days", ["0", "29", "two", "-1", "1.5", "99999", "²"])
def test_a_claim_has_an_end(sam: Visitor, days: str) -> None:
    filled(sam, "/team/claim", AMINA, reason="Falls clinic", days=days)
    assert "Type a number of days from 1 to 28" in sam.words()


def test_a_voluntary_worker_has_no_claim(demo: Gateway) -> None:
    v = as_(demo, "link-worker")
    assert "/team/claim" not in v.get("/team").text
    v.get("/team/claim")
    assert "Only staff of a health or social care organisation" in v.words()


# -- urgent care ------------------------------------------------------------------------------------------------------


def test_a_paramedic_reads_the_crisis_plan_and_the_person_says_no_by_one_click(demo: Gateway) -> None:
    v, me = as_(demo, "paramedic"), as_(demo, "patient")
    found = filled(v, "/team/find", AMINA)
    assert found.url.path == f"/team/people/{demo.patient}" and "If I fall" in v.words() and "My goals" not in v.words()
    me.get("/my-plan/who-looked")
    assert "Pia Lund" in me.words() and "they are an urgent care service" in me.words()
    me.get("/my-plan/sharing")
    assert "Example Ambulance Service" in me.words() and "Urgent care" in me.words()
    assert me.send("/my-plan/sharing/no", who=me.fields("/my-plan/sharing/no")["who"]).status_code == 200
    assert "You said no" in me.words()
    assert v.get(f"/team/people/{demo.patient}").status_code == 404
    filled(v, "/team/find", AMINA)
    assert "We found nobody" in v.words(), "hidden is absent"
    me.get("/my-plan/sharing")
    (stop,) = re.findall(r"/my-plan/sharing/[^/\"]+/stop", me.page)
    me.get(stop)
    me.send(stop)
    assert v.get(f"/team/people/{demo.patient}").status_code == 200


def test_nobody_else_finds_a_person_whom_they_may_not_see(demo: Gateway, sam: Visitor) -> None:
    filled(sam, "/team/find", AMINA)
    assert "We found nobody" in sam.words()
    gp = as_(demo, "gp")
    assert filled(gp, "/team/find", AMINA).url.path == f"/team/people/{demo.patient}"


@pytest.mark.parametrize("path", ["/team/emergency", "/team/claim", "/team/find", "/privacy"])
def test_without_signing_in_it_asks_to(demo: Gateway, path: str) -> None:
    v = Visitor(demo)
    assert v.http.get(path, follow_redirects=False).headers["location"].startswith("/sign-in")
    assert v.http.post(path, data={"form_token": "x"}).status_code in (403, 405)


# -- what the person's own pages say of it ----------------------------------------------------------------------------


def test_an_emergency_under_way_is_in_the_list_and_in_the_answer_why(demo: Gateway, sam: Visitor) -> None:
    me, user = as_(demo, "patient"), demo.persona("stranger")["fhirUser"]
    goal = f"Goal/{demo.get('patient', f'Goal?patient={demo.patient}').json()['entry'][0]['resource']['id']}"
    why = f"/my-plan/sharing/why?who={user}&what={goal}"
    assert not [c for c in cards(me) if "Sam Other" in c]
    filled(sam, "/team/emergency", GLASS)
    (card,) = [text for who, text in cards(me).items() if "Sam Other" in who]
    assert "Open now, in an emergency" in me.words() and "Found <b>unconscious</b> at the bus stop" in card and "Until " in card
    me.get(why)
    assert "Yes Dr Sam Other can see this" in me.words() and "They said it was an emergency." in me.words()
    assert "They opened your record in an emergency, until " in me.words() and "They said: “Found <b>unconscious</b> at the bus stop”" in me.words()
    said = demo.call("patient", "POST", "Consent/$explain", body={"resourceType": "Parameters", "parameter": [
        {"name": "who", "valueString": user}, {"name": "what", "valueString": goal},
    ]})  # fmt: skip
    assert "emergency access to this record is under way until" in said.text, said.text
    sam.send(f"/team/people/{demo.patient}/emergency/end")
    assert not [c for c in cards(me) if "Sam Other" in c]
    me.get(why)
    assert "No Dr Sam Other cannot see this" in me.words() and "opened your record in an emergency" not in me.words()


def test_under_only_the_people_i_name_urgent_care_sees_nothing_and_the_page_says_so(demo: Gateway) -> None:
    share_nothing(demo)
    v, me = as_(demo, "paramedic"), as_(demo, "patient")
    assert v.get(f"/team/people/{demo.patient}").status_code == 200
    assert "In an emergency: crisis plans" in cards(me)["Example Ambulance Service"]
    me.get("/my-plan/sharing/only")
    me.send("/my-plan/sharing/only")
    card = cards(me)["Example Ambulance Service"]
    assert "Only what you choose to share with them" in card and "crisis plans" not in me.words() and "these see nothing of it either" in me.words()
    assert v.get(f"/team/people/{demo.patient}").status_code == 404
    filled(v, "/team/find", AMINA)
    assert "We found nobody" in v.words()
    me.get("/my-plan/sharing/only")
    me.send("/my-plan/sharing/only")
    assert v.get(f"/team/people/{demo.patient}").status_code == 200


def test_the_privacy_officer_reads_how_many_messages_wait_and_nothing_of_them(demo: Gateway) -> None:
    officer = as_(demo, "privacy-officer")
    officer.get("/privacy")
    assert "was refused and waits" not in officer.words()
    name = {"resourceType": "Patient", "identifier": [{"system": "https://fhir.nhs.uk/Id/nhs-number", "value": "9990000018"}],
            "name": [{"family": "Example"}], "birthDate": "1950-01-01"}  # fmt: skip
    entry = {"fullUrl": "urn:uuid:00000000-0000-4000-8000-000000000001", "resource": name, "request": {"method": "POST", "url": "Patient"}}
    assert demo.call("hospital", "POST", "", body={"resourceType": "Bundle", "type": "transaction", "entry": [entry]}).status_code == 409
    officer.get("/privacy")
    assert "1 message from another system was refused and waits." in officer.words()
    assert "Example General" not in officer.words() and "9990000018" not in officer.page


def test_an_operator_reads_that_a_message_waits_and_why_and_ends_it(demo: Gateway) -> None:
    entry = {"resource": {"resourceType": "Goal", "lifecycleStatus": "singing", "subject": {"reference": f"Patient/{demo.patient}"}}, "request": {"method": "POST", "url": "Goal"}}
    assert demo.call("hospital", "POST", "", body={"resourceType": "Bundle", "type": "transaction", "entry": [entry]}).status_code == 422
    olu = operator(demo)
    assert olu.get("/home").url.path == "/operator" and "Goal.lifecycleStatus" in olu.words() and "singing" not in olu.page
    assert as_(demo, "gp").get("/operator").status_code == 403
    before = olu.page.count('value="inbox"')
    assert olu.send("/operator/act", do="end", reason=" ").status_code == 409 and "Say why." in olu.words()
    olu.send("/operator/act", do="end", reason="They sent it again")
    assert "It is ended." in olu.words() and olu.page.count('value="inbox"') == before - 1
