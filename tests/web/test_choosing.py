"""Who can see my plan, by forms alone: role, team, sector, one document; change, hide, only the people I name; proxies; why."""

from __future__ import annotations

import html
import re
from typing import TYPE_CHECKING, Any

import pytest

from fhir_gateway.domain import consent, supposing
from fhir_gateway.web.pages import patient
from fhir_gateway.web.pages.because import IMPLIED, NEXT, NO, YES
from fhir_gateway.web.pages.patient import WHY

from .test_doors import Visitor, as_, cards, share, share_nothing

if TYPE_CHECKING:
    from ..conftest import Gateway

NEW, HIDE, ONLY = "/my-plan/sharing/new", "/my-plan/sharing/hide", "/my-plan/sharing/only"
OPEN = {"until_choice": "open"}


def value_of(v: Visitor, label: str) -> str:
    """The value of the radio or checkbox with this label."""
    found = re.search(rf'value="([^"]+)"[^>]*>\s*<label[^>]*>{re.escape(html.escape(label, quote=False))}</label>', v.page)
    assert found, f"{label}: {v.words()}"
    return html.unescape(found.group(1))


def found(v: Visitor, text: str, label: str) -> str:
    v.get(NEW)
    v.send(NEW, go="find", find=text)
    return value_of(v, label)


def granted(v: Visitor, who: str, **chosen: Any) -> str:
    """Through the steps to the summary and on; the words of the summary."""
    v.send(NEW, go="what", who=who)
    v.send(NEW, go="when", **chosen)
    v.send(NEW, go="check", **OPEN, why="")
    words = v.words()
    assert v.send(NEW, go="save").url.path == "/my-plan/sharing", v.words()
    return words


def ids(demo: Gateway, who: str, type: str) -> set[str]:
    return {f"{type}/{e['resource']['id']}" for e in demo.get(who, f"{type}?patient={demo.patient}").json().get("entry", ())}


@pytest.fixture
def amina(demo: Gateway) -> Visitor:
    share_nothing(demo)
    return as_(demo, "patient")


# -- whom ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("look", "label"),
    [("link worker", "Any link worker at Kindly Neighbours"), ("Kindly", "Any link worker at Kindly Neighbours"), ("Kindly", "Kindly Neighbours")],
)  # fmt: skip
def test_she_shares_with_a_job_at_a_place_or_the_whole_place(demo: Gateway, amina: Visitor, look: str, label: str) -> None:
    assert ids(demo, "link-worker", "Goal") == set()
    words = granted(amina, found(amina, look, label), parts=["goals"])
    assert f"{label} may see these parts of your plan" in words and f"{label} can see 0 of the" in words
    assert ids(demo, "link-worker", "Goal") == ids(demo, "patient", "Goal") and ids(demo, "stranger", "Goal") == set()
    amina.get("/my-plan/sharing")
    assert f"{label} Can see" in amina.words()
    share_nothing(demo)
    assert ids(demo, "link-worker", "Goal") == set()


def test_she_shares_with_her_team_and_with_a_sector(demo: Gateway, amina: Visitor) -> None:
    amina.get(NEW)
    team = re.search(r'value="(CareTeam/[^"]+)"[^>]*>\s*<label[^>]*>([^<]+)<', amina.page)
    assert team and "Step 1 of 4" in amina.words()
    granted(amina, team.group(1), parts=["plan"])
    assert html.unescape(team.group(2)) in cards(amina)
    amina.get(NEW)
    words = granted(amina, value_of(amina, "All who work for a charity or voluntary group"), parts=["goals"])
    assert "also people you do not know" in words
    assert ids(demo, "link-worker", "Goal") == ids(demo, "patient", "Goal")
    share_nothing(demo)


def test_an_odd_name_finds_nobody_and_breaks_nothing(amina: Visitor) -> None:
    for odd in (",", "|", "a|b", "\\", "$", "%", "\x00", "é" * 90, "<script>", "role:", "_id=1&x=2", "a,b"):
        amina.get(NEW)
        assert amina.send(NEW, go="find", find=odd).status_code == 200, odd
        assert amina.http.get("/my-plan/sharing/why", params={"find": odd}).status_code == 200, odd


# -- what ---------------------------------------------------------------------------------------------------------------


def test_who_she_is_and_where_she_lives_is_a_choice_of_its_own(demo: Gateway, amina: Visitor) -> None:
    """A charity gets her name and how to reach her, and the page says no more than that; with one box more, all her details."""
    me = f"Patient/{demo.patient}"
    rosa = found(amina, "Rosa", "Rosa Lind")
    amina.send(NEW, go="what", who=rosa)
    assert "Also all about who I am and where I live?" in amina.words() and not re.search(r'value="yes" checked', amina.page)
    words = granted(amina, rosa, parts=["goals"])
    assert "your name and one way to reach you, but not your NHS number, date of birth or address" in words and "more of this" not in words
    theirs = demo.get("link-worker", me).json()
    assert theirs["name"] and not theirs.keys() & {"identifier", "birthDate", "address"}
    assert "Of your details only your name" in cards(amina)["Rosa Lind"]
    change = re.search(r"/my-plan/sharing/[^/\"]+/change", amina.page)
    assert change
    amina.get(change.group())
    amina.send(change.group(), go="when", parts=["goals"], identity="yes")
    amina.send(change.group(), go="check", **OPEN)
    assert "They will see more of this Your details" in amina.words() and "such as your NHS number, address and phone" in amina.words()
    amina.send(change.group(), go="save")
    card = cards(amina)["Rosa Lind"]
    assert "My NHS number, date of birth, address and all my other details" in card and "Your details: name, date of birth" in card
    assert {"identifier", "birthDate", "address"} <= demo.get("link-worker", me).json().keys()
    stop = re.search(r"/my-plan/sharing/[^/\"]+/stop", amina.page)
    amina.get(change.group())
    assert re.search(r'value="yes" checked', amina.page), "it comes back into the form"
    assert stop
    share_nothing(demo)
    assert demo.get("link-worker", me).status_code == 404


def test_hospital_stays_are_shared_and_hidden_by_a_box_of_their_own(demo: Gateway, amina: Visitor) -> None:
    """With her goals nobody gets them; one alone is named by its day, and hidden."""
    stay = {
        "resourceType": "Encounter", "status": "finished", "class": {"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "IMP"},
        "subject": {"reference": f"Patient/{demo.patient}"}, "period": {"start": "2026-03-04T10:00:00Z", "end": "2026-03-09T10:00:00Z"},
    }  # fmt: skip
    made = demo.call("hospital", "POST", "Encounter", body=stay)
    assert made.status_code == 201, made.text
    own = f"Encounter/{made.json()['id']}"
    granted(amina, found(amina, "Rosa", "Rosa Lind"), parts=["goals", "documents"])
    assert ids(demo, "link-worker", "Encounter") == set()
    share_nothing(demo)
    words = granted(amina, found(amina, "Rosa", "Rosa Lind"), parts=["stays"])
    assert "When and where you stayed in hospital or were seen, and who looked after you there" in words and "Hospital stays and visits" in words and "A hospital stay or visit, 4 March 2026" in words, words
    assert ids(demo, "link-worker", "Encounter") == {own} and "My hospital stays and visits" in cards(amina)["Rosa Lind"]
    amina.get(HIDE)
    amina.send(HIDE, go="who", things=[value_of(amina, "A hospital stay or visit, 4 March 2026")])
    amina.send(HIDE, go="check", who="everybody")
    amina.send(HIDE, go="save")
    assert ids(demo, "link-worker", "Encounter") == set() and ids(demo, "patient", "Encounter") == {own}
    share_nothing(demo)
    granted(amina, found(amina, "Rosa", "Rosa Lind"), parts=["plan"])
    assert ids(demo, "link-worker", "Encounter") == {own}, "with the whole plan, too"
    share_nothing(demo)


@pytest.mark.parametrize("label", ["Example Street Surgery", "Kindly Neighbours"])
def test_what_the_page_says_of_her_details_is_what_that_reader_gets(demo: Gateway, amina: Visitor, label: str) -> None:
    words = granted(amina, found(amina, label.split()[0], label), parts=["goals"])
    reader = "gp" if "Surgery" in label else "link-worker"
    gets = demo.get(reader, f"Patient/{demo.patient}").json()
    assert ("such as your NHS number, address and phone" in words) is ("identifier" in gets) is (reader == "gp")
    share_nothing(demo)


def test_of_a_team_the_page_says_both(demo: Gateway, amina: Visitor) -> None:
    amina.get(NEW)
    team = re.search(r'value="(CareTeam/[^"]+)"', amina.page)
    assert team
    words = granted(amina, team.group(1), parts=["goals"])
    assert "Those of them who work in health or social care will also see your details" in words and "The others will see your name" in words
    share_nothing(demo)


def document(demo: Gateway, text: str, *labels: str) -> str:
    made = demo.call("hospital", "POST", "DocumentReference", body={
        "resourceType": "DocumentReference", "status": "current", "subject": {"reference": f"Patient/{demo.patient}"}, "description": text,
        "content": [{"attachment": {"contentType": "text/plain", "data": "aGVsbG8="}}],
        **({"meta": {"security": [{"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": c} for c in labels]}} if labels else {}),
    })  # fmt: skip
    assert made.status_code == 201, made.text
    return f"DocumentReference/{made.json()['id']}"


def test_one_document_alone_and_the_preview_says_what_stays_closed(demo: Gateway, amina: Visitor) -> None:
    one, other = document(demo, "Letter about the choir", "MH"), document(demo, "Letter about the clinic", "MH")
    rosa = found(amina, "Rosa", "Rosa Lind")
    amina.send(NEW, go="what", who=rosa)
    assert "A document, private: mental health" in amina.words()
    words = granted(amina, rosa, things=[one])
    assert "Only this: Letter about the choir, also if it is marked as private." in words
    new = words.partition("New for them")[2].partition("What stays closed")[0]
    assert "Letter about the choir" in new and "Letter about the clinic" not in new
    closed = words.partition("Stays closed")[2]
    assert "Letter about the clinic. It is marked as private (mental health), and you have not said yes to that." in closed
    assert demo.get("link-worker", one).status_code == 200 and demo.get("link-worker", other).status_code == 404
    assert "Letter about the choir" in cards(amina)["Rosa Lind"]
    share_nothing(demo)


def test_a_thing_that_is_not_hers_cannot_be_chosen(demo: Gateway, amina: Visitor) -> None:
    rosa = found(amina, "Rosa", "Rosa Lind")
    amina.send(NEW, go="what", who=rosa)
    amina.send(NEW, go="check", things=["DocumentReference/none", "<script>"], **OPEN)
    assert "Choose at least one part of your plan, or one thing." in amina.words()


def test_a_purpose_is_kept_and_holds(demo: Gateway, amina: Visitor) -> None:
    rosa = found(amina, "Rosa", "Rosa Lind")
    amina.send(NEW, go="what", who=rosa)
    amina.send(NEW, go="when", parts=["goals"])
    amina.send(NEW, go="check", **OPEN, purpose="research")
    assert "They may look only for research." in amina.words()
    amina.send(NEW, go="save")
    assert "Only for research" in cards(amina)["Rosa Lind"] and ids(demo, "link-worker", "Goal") == set()
    share_nothing(demo)


# -- change -------------------------------------------------------------------------------------------------------------


def test_she_changes_what_somebody_may_see_and_until_when(demo: Gateway, amina: Visitor) -> None:
    share(amina, parts=["plan"])
    amina.send(NEW, go="save")
    assert ids(demo, "link-worker", "CarePlan")
    change = re.search(r"/my-plan/sharing/[^/\"]+/change", amina.page)
    assert change
    amina.get(change.group())
    assert "Change a choice: Rosa Lind" in amina.words() and re.search(r'value="plan" checked', amina.page)
    amina.send(change.group(), go="when", parts=["goals"])
    assert 'value="2040"' in amina.page and "So that she can find me a choir" in amina.page
    amina.send(change.group(), go="check", until_choice="open", purpose="care", why="Only my goals now")
    words = amina.words()
    assert "What they will no longer see" in words and "Rosa Lind can see" in words
    assert "Your change is saved" in amina.send(change.group(), go="save").text
    card = cards(amina)["Rosa Lind"]
    assert "Only my goals now" in card and "Until you stop it" in card and len(re.findall("Rosa Lind", str(list(cards(amina))))) == 1
    assert ids(demo, "link-worker", "Goal") and not ids(demo, "link-worker", "CarePlan")
    share_nothing(demo)
    assert amina.get(change.group()).status_code == 404


def test_a_change_in_two_windows_conflicts_in_plain_words(demo: Gateway, amina: Visitor) -> None:
    share(amina)
    amina.send(NEW, go="save")
    change = re.search(r"/my-plan/sharing/[^/\"]+/change", amina.page)
    assert change
    two = as_(demo, "patient")
    for v in (amina, two):
        v.get(change.group())
        v.send(change.group(), go="when", parts=["goals"])
        v.send(change.group(), go="check", **OPEN)
    assert amina.send(change.group(), go="save").url.path == "/my-plan/sharing"
    assert two.send(change.group(), go="save").status_code == 409 and "changed in another window" in two.words()
    assert two.send(change.group(), go="save").url.path == "/my-plan/sharing"
    share_nothing(demo)


# -- hide ---------------------------------------------------------------------------------------------------------------


def test_she_hides_one_goal_from_everybody_and_another_from_one(demo: Gateway, amina: Visitor) -> None:
    first, second = sorted(ids(demo, "gp", "Goal"))[:2]
    amina.get(f"{HIDE}?thing={first}")
    assert re.search(rf'value="{first}" checked', amina.page)
    amina.send(HIDE, go="who", things=[first])
    amina.send(HIDE, go="check", who="everybody", why="It is mine")
    words = amina.words()
    assert "Nobody but you may see this:" in words and "It has no last day" in words
    assert re.search(r"Example Street Surgery\s+Sees now (\d+) of \d+ things\s+Would see (\d+) of", words)
    assert "It is hidden from now on." in amina.send(HIDE, go="save").text
    assert first not in ids(demo, "gp", "Goal") and first not in ids(demo, "social-worker", "Goal") and first in ids(demo, "patient", "Goal")
    amina.get(HIDE)
    amina.send(HIDE, go="who", things=[second])
    surgery = value_of(amina, "Example Street Surgery")
    amina.send(HIDE, go="check", who=surgery)
    amina.send(HIDE, go="save")
    assert second not in ids(demo, "gp", "Goal") and second in ids(demo, "social-worker", "Goal")
    amina.get("/my-plan/sharing")
    assert "Everybody Hidden" in amina.words() and "Example Street Surgery Hidden" in amina.words()
    share_nothing(demo)
    assert {first, second} <= ids(demo, "gp", "Goal")


@pytest.mark.parametrize(
    ("go", "typed", "said"),
    [
        ("who", {}, "Choose what you want to hide."),
        ("check", {"parts": ["goals"]}, "Choose from whom you want to hide it."),
        ("save", {"parts": ["goals"], "who": "Practitioner/nobody"}, "Choose from whom you want to hide it."),
        ("check", {"parts": ["goals"], "who": "everybody", "why": "x" * 501}, "Write at most 500 letters."),
    ],
)  # fmt: skip
def test_mistakes_in_hiding_are_said(demo: Gateway, amina: Visitor, go: str, typed: dict[str, Any], said: str) -> None:
    amina.get(HIDE)
    amina.send(HIDE, go=go, **typed)
    assert said in amina.words()


# -- only the people I name ---------------------------------------------------------------------------------------------


def test_only_the_people_she_names_and_back(demo: Gateway, amina: Visitor) -> None:
    share(amina, parts=["goals"])
    amina.send(NEW, go="save")
    amina.get(ONLY)
    assert "This closes your plan to people who look after you" in amina.words()
    assert re.search(r"Example Street Surgery\s+Sees now [1-9]\d* of \d+ things\s+Would see 0 of", amina.words())
    assert "From now on only the people you name" in amina.send(ONLY).text
    assert ids(demo, "gp", "Goal") == set() and ids(demo, "link-worker", "Goal") and ids(demo, "proxy", "Goal")
    here = cards(amina)
    assert "Only the people you name can see your plan." in amina.words() and "Rosa Lind" in here
    assert "Only what you choose to share with them" in here["Example Street Surgery"] and "0 of" in here["Example Street Surgery"]
    goal, gp = min(ids(demo, "patient", "Goal")), demo.persona("gp")["fhirUser"]
    amina.get(f"/my-plan/sharing/why?who={gp}&what={goal}&find=")
    amina.get(f"/my-plan/sharing/sees?who={gp}")
    assert "You chose that only the people you name may see your plan." in amina.words()
    amina.get(ONLY)
    assert "Go back to the usual way?" in amina.words() and "The usual way works again" in amina.send(ONLY).text
    assert ids(demo, "gp", "Goal") and ids(demo, "link-worker", "Goal")
    share_nothing(demo)


def test_the_same_question_answered_twice_is_a_conflict_and_not_its_opposite(demo: Gateway, amina: Visitor) -> None:
    two = as_(demo, "patient")
    amina.get(ONLY)
    two.get(ONLY)
    amina.send(ONLY)
    assert two.send(ONLY).status_code == 409 and ids(demo, "gp", "Goal") == set()
    amina.get(ONLY)
    amina.send(ONLY)
    assert ids(demo, "gp", "Goal")


# -- who acts for her, and choices from elsewhere -----------------------------------------------------------------------


def test_she_sees_who_acts_for_her_and_stops_it(demo: Gateway, amina: Visitor) -> None:
    assert "You agreed to it" in cards(amina)["Leila Example"] and ids(demo, "proxy", "Goal")
    end = re.search(r"/my-plan/sharing/consents/[^/\"]+/end", amina.page)
    assert end
    amina.get(end.group())
    assert "Stop Leila Example acting for you?" in amina.words() and "What they will no longer see" in amina.words()
    assert "It is ended." in amina.send(end.group()).text
    assert ids(demo, "proxy", "Goal") == set() and amina.get(end.group()).status_code == 404
    id = end.group().split("/")[-2]
    now = demo.get("patient", f"Consent/{id}")
    assert now.json()["extension"][0]["valueCodeableConcept"]["coding"][0]["code"] == "ROLE_DEACTIVATED_PATIENT_REQUEST"
    again = {k: v for k, v in now.json().items() if k != "extension"} | {"status": "active"}
    back = demo.call("patient", "PUT", f"Consent/{id}", body=again, headers={"If-Match": now.headers["etag"]})
    assert back.status_code == 200 and ids(demo, "proxy", "Goal")


def test_a_role_that_staff_wrote_down_says_who_did_and_on_what_evidence_and_not_that_she_agreed_to_it_here(demo: Gateway, amina: Visitor) -> None:
    kin = demo.call("patient", "POST", "RelatedPerson", body={"resourceType": "RelatedPerson", "active": True, "name": [{"text": "Omar Recorded"}],
        "patient": {"reference": f"Patient/{demo.patient}"}})  # fmt: skip
    said = {"proxy": f"RelatedPerson/{kin.json()['id']}", "basis": "consent", "grantor": "D82001", "evidence": "She told me at the desk", "present": "Her sister"}
    made = demo.call("registrar", "POST", f"/patients/{demo.patient}/roles", body=said)
    assert made.status_code == 201, made.text
    card = cards(amina)["Omar Recorded"]
    assert "You agreed to it" not in card and "It was written down that you agreed to it" in card
    assert "Nia Bello, Example Street Surgery, on " in card and "She told me at the desk" in card
    end = f"/my-plan/sharing/consents/{made.json()['kept'].split('/')[1]}/end"
    assert "Nia Bello" in amina.get(end).text
    assert "It is ended." in amina.send(end).text


def test_a_proxy_without_the_right_chooses_nothing(demo: Gateway) -> None:
    leila = as_(demo, "proxy")
    assert "Choose for them" not in leila.words()
    for path in ("/my-plan/sharing", NEW, HIDE, ONLY, "/my-plan/sharing/why", "/my-plan/sharing/sees"):
        assert leila.get(path).status_code == 403, path
    assert as_(demo, "gp").get("/my-plan/sharing/why").status_code == 403


# -- why ----------------------------------------------------------------------------------------------------------------


def test_she_asks_why_somebody_can_see_a_thing_and_why_not(demo: Gateway, amina: Visitor) -> None:
    goal = min(ids(demo, "patient", "Goal"))
    amina.get("/my-plan/sharing/why")
    surgery = re.search(r'<option value="([^"]+)">Example Street Surgery</option>', amina.page)
    assert surgery and re.search(rf'<option value="{goal}">', amina.page)
    amina.get(f"/my-plan/sharing/why?who={surgery.group(1)}&what={goal}")
    assert "Yes Example Street Surgery can see this:" in amina.words() and "They look after you" in amina.words()
    assert "If you say no to them, they cannot see it any more, except in an emergency." in amina.words()
    rosa = demo.persona("link-worker")["fhirUser"]
    amina.get("/my-plan/sharing/why?find=Rosa")
    assert rosa in amina.page
    amina.get(f"/my-plan/sharing/why?who={rosa}&what={goal}")
    assert "No Rosa Lind cannot see this:" in amina.words() and "You have not shared it with them" in amina.words()
    assert "If you share it with them, they can see it." in amina.words()
    amina.get(f"/my-plan/sharing/why?who=Practitioner/none&what={goal}")
    assert "Choose whom you ask about." in amina.words()
    amina.get(f"/my-plan/sharing/why?who={rosa}&what=Goal/none")
    assert "Choose what you ask about." in amina.words()
    assert amina.get("/my-plan/sharing/sees?who=Practitioner/none").status_code == 404


def test_from_the_log_she_asks_why(demo: Gateway, amina: Visitor) -> None:
    demo.get("gp", f"Goal?patient={demo.patient}")
    amina.get("/my-plan/who-looked")
    gp = demo.persona("gp")["fhirUser"]
    link = re.search(r'href="(/my-plan/sharing/why\?who=[^"]+)"', amina.page)
    assert link and gp.split("/")[1] in amina.page
    assert amina.get(html.unescape(link.group(1))).status_code == 200


def test_trying_out_is_in_the_log_as_what_it_is(demo: Gateway, amina: Visitor) -> None:
    amina.get(f"/my-plan/sharing/sees?who={demo.persona('gp')['fhirUser']}")
    amina.get("/my-plan/who-looked?mine=yes")
    assert "Tried out who would see your plan or record" in amina.words()


def test_every_basis_every_implied_rule_and_every_change_has_plain_words() -> None:
    for basis, (yes, no) in consent.WORDS.items():
        assert not yes or basis in YES or basis == "implicit", basis
        assert not no or basis in NO, basis
    assert IMPLIED.keys() == consent.IMPLIED_WORDS.keys()
    assert consent.WORDS.keys() <= WHY.keys() and IMPLIED.keys() <= patient.IMPLIED.keys(), "and in the log"
    assert NEXT.keys() == supposing.TEXT.keys()


# -- from the plan itself -----------------------------------------------------------------------------------------------


def test_each_item_of_her_plan_leads_to_what_she_can_say_about_it(demo: Gateway, amina: Visitor) -> None:
    amina.get("/my-plan")
    links = [html.unescape(x) for x in re.findall(r'href="(/my-plan/(?:sharing/(?:hide|why)\?|private/[A-Z])[^"]+)"', amina.page)]
    assert len(links) == len(set(links)) and len(links) % 3 == 0
    for type in ("Goal", "Task", "Condition"):
        of = [x for x in links if f"{type}/" in x]
        assert bool(of) is bool(ids(demo, "patient", type)), type
        for way in ("hide", "why", "private"):
            some = next(x for x in of if f"/{way}" in x)
            ref = re.search(rf"{type}/[^/&]+$", some).group()  # type: ignore[union-attr]
            assert ref in ids(demo, "patient", type) and amina.get(some).status_code == 200, some
            if way != "private":
                assert re.search(rf'value="{ref}" (?:checked|selected)', amina.page), some
            amina.get("/my-plan")
    for reader in ("gp", "proxy"):
        v = as_(demo, reader)
        v.get(f"/team/people/{demo.patient}")
        assert "My goals" in v.words() and "/my-plan/" not in v.page, "for the owner alone"


def test_of_a_team_it_is_not_said_that_its_members_do_not_look_after_the_person(amina: Visitor) -> None:
    team = found(amina, "support", "My care and support team")
    amina.send(NEW, go="what", who=team)
    amina.send(NEW, go="when", parts=["goals"])
    amina.send(NEW, go="check", **OPEN, why="")
    assert "as members of the team, can see" in amina.words() and "they do not look after you" not in amina.words()
