"""What people read on the pages is words: who is offered and found, what things are called, no codes, no ids, nothing twice."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

from fhir_gateway.web.pages import elsewhere
from fhir_gateway.web.pages.plan_view import plan_view
from fhir_gateway.web.pages.words import today

from .test_choosing import NEW, found, granted, ids
from .test_doors import Visitor, as_, foreign, share, share_nothing

if TYPE_CHECKING:
    from ..conftest import Gateway

SNOMED = "http://snomed.info/sct"


def coded(code: str, **more: str) -> dict[str, Any]:
    return {"coding": [{"system": SNOMED, "code": code, **more}]}


@pytest.fixture(scope="module")
def odd(demo: Gateway) -> Gateway:
    """The demo with things from elsewhere that have codes without words, and people without names."""
    s = {"reference": f"Patient/{demo.patient}"}
    nbor = {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v3-RoleCode", "code": "NBOR"}]}
    for body in (
        {"resourceType": "Condition", "subject": s, "code": coded("22298006")},
        {"resourceType": "Goal", "lifecycleStatus": "active", "description": coded("289169006"), "subject": s},
        {"resourceType": "Task", "status": "requested", "intent": "order", "for": s, "code": coded("229070002")},
        {"resourceType": "DocumentReference", "status": "current", "subject": s, "type": coded("736366004"),
         "content": [{"attachment": {"contentType": "text/plain", "data": "aGVsbG8="}}]},
        {"resourceType": "Observation", "status": "final", "subject": s, "code": coded("27113001"), "valueQuantity": {"value": 61, "unit": "kg"}},
        {"resourceType": "RelatedPerson", "patient": s, "relationship": [nbor]},
        {"resourceType": "RelatedPerson", "patient": s},
    ):  # fmt: skip
        made = demo.call("hospital", "POST", str(body["resourceType"]), body=body)
        assert made.status_code == 201, made.text
    return demo


@pytest.fixture(scope="module")
def amina(odd: Gateway) -> Visitor:
    return as_(odd, "patient")


@pytest.fixture
def sharing(odd: Gateway) -> Iterator[None]:
    """For a test that shares: it leaves nothing shared."""
    yield
    share_nothing(odd)


def offered(v: Visitor) -> list[tuple[str, str]]:
    """(label, hint) of each radio button on the page."""
    pairs = re.findall(r"<label class=\"nhsuk-label nhsuk-radios__label\"[^>]*>([^<]*)</label>\s*(?:<div class=\"nhsuk-hint[^>]*>([^<]*)</div>)?", v.page)
    return [(html.unescape(a), html.unescape(b)) for a, b in pairs]


# -- who is found -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("look", "label", "hint"),
    [
        ("social worker", "Tom Reed", "Social worker, Example County Council"), ("SOCIAL", "Any social worker at Example County Council", "whoever has this job there, now and later"),
        ("link worker", "Rosa Lind", "Link worker, Kindly Neighbours"), ("nurse", "Any community nurse at Example Community Team", "whoever has this job there, now and later"),
        ("rosa lind", "Rosa Lind", "Link worker, Kindly Neighbours"), ("Lind, Rosa", "Rosa Lind", "Link worker, Kindly Neighbours"),
        ("dr asha patel", "Dr Asha Patel", "GP, Example Street Surgery"), ("council social", "Any social worker at Example County Council", "whoever has this job there, now and later"),
        ("kindly", "Kindly Neighbours", "The whole organisation: all who work there, now and later"),
    ],
)  # fmt: skip
def test_somebody_is_found_by_any_words_of_name_job_and_place(amina: Visitor, look: str, label: str, hint: str) -> None:
    amina.get(NEW)
    amina.send(NEW, go="find", find=look)
    assert (label, hint) in offered(amina), amina.words()


def test_who_does_not_fit_every_word_is_not_found(amina: Visitor) -> None:
    amina.get(NEW)
    for look in ("rosa reed", "nurse surgery", "social worker kindly"):
        amina.send(NEW, go="find", find=look)
        assert "We found nobody by that name" in amina.words(), look


@pytest.mark.usefixtures("sharing")
def test_a_job_found_by_its_title_is_granted(odd: Gateway, amina: Visitor) -> None:
    assert ids(odd, "community-nurse", "Goal") == set()
    granted(amina, found(amina, "nurse", "Any community nurse at Example Community Team"), parts=["goals"])
    assert ids(odd, "community-nurse", "Goal") and ids(odd, "stranger", "Goal") == set()


# -- who is offered -----------------------------------------------------------------------------------------------------


def test_a_whole_organisation_is_said_to_be_everybody_there(amina: Visitor) -> None:
    amina.get(NEW)
    hints = dict(offered(amina))
    assert hints["Example Street Surgery"] == "The whole organisation: all who work there, now and later. In your team as: GP"
    assert hints["My care and support team"] == "everybody in this team, now and later"


def test_nobody_is_offered_twice(amina: Visitor) -> None:
    amina.get(NEW)
    amina.send(NEW, go="find", find="example street surgery")
    names = [name for name, _hint in offered(amina)]
    assert len(names) == len(set(names)), names
    for path in ("/my-plan/sharing/why", "/my-plan/sharing/sees", "/my-plan/sharing/no"):
        amina.get(path)
        options = re.findall(r"<option[^>]*>([^<]*)</option>", amina.page) or offered(amina)
        assert options and len(options) == len(set(options)), options
    amina.get("/my-plan/sharing/why")
    assert "Leila Example (daughter)" in amina.words() and "Leila Example (daughter, acts for you)" in amina.words()


def test_pages_about_somebody_ask_whom_when_nobody_is_named(amina: Visitor) -> None:
    assert amina.get("/my-plan/sharing/no").status_code == 200 and "Who do you want to say no to?" in amina.words()
    names = {name for name, _hint in offered(amina)}
    assert "Example Street Surgery" in names and not {n for n in names if n.startswith(("Everybody", "My care"))}
    surgery = re.search(r'value="(Organization/[^"]+)"[^>]*>\s*<label[^>]*>Example Street Surgery<', amina.page)
    assert surgery
    amina.get(f"/my-plan/sharing/no?who={surgery.group(1)}")
    assert "Say no to Example Street Surgery?" in amina.words()
    assert amina.get("/my-plan/sharing/sees").status_code == 200 and "Whose view do you want to look at?" in amina.words()
    amina.get("/my-plan/sharing/sees?find=rosa")
    assert ("Rosa Lind", "Link worker, Kindly Neighbours") in offered(amina)
    amina.get("/my-plan/sharing/sees?find=qqq")
    assert "We found nobody by that name" in amina.words()
    assert amina.get("/my-plan/sharing/no?who=nobody").status_code == 404


def test_what_a_team_sees_is_said_of_the_team(amina: Visitor) -> None:
    amina.get(NEW)
    team = re.search(r'value="(CareTeam/[^"]+)"', amina.page)
    assert team
    amina.get(f"/my-plan/sharing/sees?who={team.group(1)}")
    assert "What the team can see: My care and support team" in amina.words()
    assert "This is what you share with the team. A member who looks after you may see more." in amina.words()


# -- what things are called ---------------------------------------------------------------------------------------------


def test_no_two_things_are_called_the_same(amina: Visitor) -> None:
    amina.get("/my-plan/sharing/why")
    (select,) = re.findall(r'<select[^>]*id="what".*?</select>', amina.page, re.S)
    options = re.findall(r"<option[^>]*>([^<]*)</option>", select)
    assert len(options) == len(set(options)), options
    for text in (
        "Something to do: We asked if they are in your team: Example County Council", "A measurement: Body weight: 61.5 kg, 5 October 2026",
        "Your answers: What matters to me, 19 January 2026", "A document: What I want if I am very ill",
        "Family or a friend: Neighbour, no name written down", "Family or a friend: Family or a friend, no name written down",
    ):  # fmt: skip
        assert text in options, text


@pytest.mark.usefixtures("sharing")
def test_no_page_shows_a_code_or_an_id(odd: Gateway, amina: Visitor) -> None:
    """The link worker sees goals and not the team: whoever does a step has no name for her."""
    share(amina, parts=["goals"])
    amina.send(NEW, go="save")
    page = f"/team/people/{odd.patient}"
    for who, path in (
        ("link-worker", page), ("gp", page), ("patient", "/my-plan"), ("patient", "/my-plan/private"), ("patient", "/my-plan/sharing"),
        ("patient", "/my-plan/sharing/why"), ("patient", "/my-plan/sharing/hide"), ("patient", NEW), ("patient", "/my-plan/who-looked"), ("patient", "/my-plan/results"), ("patient", "/my-plan/sent"), ("gp", "/team"),
    ):  # fmt: skip
        v = as_(odd, who)
        v.get(path)
        assert not re.findall(r"\bt-(?:gp|sw|lw)\b|\bc-(?:leila|nadia)\b|\S*\|\S*|\b(?:22298006|289169006|229070002|736366004|27113001)\b|[0-9a-f]{8}-[0-9a-f-]{9,}", v.words()), (who, path)
    rosa = as_(odd, "link-worker")
    rosa.get(page)
    assert "Who does it Somebody" in rosa.words()


def test_a_choice_from_elsewhere_is_said_in_words_and_its_bare_codes_are_folded_away(odd: Gateway, amina: Visitor) -> None:
    no = {
        "type": "deny", "purpose": [{"system": "http://terminology.hl7.org/CodeSystem/v3-ActReason", "code": "HRESCH"}],
        "class": [{"system": "http://hl7.org/fhir/resource-types", "code": "Condition"}],
        "code": [coded("22298006"), coded("73211009", display="Diabetes")],
        "securityLabel": [{"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "MH"}],
    }  # fmt: skip
    made = odd.call("patient", "POST", "Consent", body=foreign(odd, {"provision": [no]}))
    assert made.status_code == 201, made.text
    amina.get("/my-plan/sharing")
    assert (
        "What Needs, illnesses and conditions, Things with a code, which is not described, Diabetes, Private things: mental health Why For research"
        in amina.words()
    )
    folded = re.findall(r"<details.*?</details>", amina.page, re.S)
    assert [f for f in folded if "http://snomed.info/sct|22298006" in f] and "22298006" not in re.sub(r"<details.*?</details>", "", amina.page, flags=re.S)
    end = f"/my-plan/sharing/consents/{made.json()['id']}/end"
    amina.get(end)
    assert "Diabetes" in amina.words() and "22298006" not in re.sub(r"<details.*?</details>", "", amina.page, flags=re.S)
    amina.send(end)


def test_words_of_codes_are_found_wherever_they_stand() -> None:
    said = elsewhere.described({"a": [{"coding": [{"system": "s", "code": "1"}], "text": "One"}, {"system": "s", "code": "2", "display": "Two"}, {"system": "s", "code": "3"}]})
    assert said == {"s|1": "One", "s|2": "Two"}


def test_a_code_without_words_in_a_plan_is_not_its_title() -> None:
    from datetime import UTC, datetime

    plan = {
        "needs": [{"id": "n", "code": {"system": SNOMED, "code": "22298006"}, "said_by": "t-sw"}, {"id": "m", "text": "My hip", "said_by": "Anne-Marie"}],
        "documents": [{"id": "d", "type": {"system": SNOMED, "code": "736366004"}, "held_by": "the surgery in High Street"}],
        "contacts": [{"id": "c1", "relationship": "sister"}],
    }  # fmt: skip
    view = plan_view(plan, today(datetime(2026, 11, 26, tzinfo=UTC)), own=True)
    assert [n.text for n in view.needs] == ["A need that is not described", "My hip"] and view.needs[0].codes == (f"{SNOMED}|22298006",)
    assert [n.lines[0].text for n in view.needs] == ["Somebody", "Anne-Marie"]
    assert view.papers[0].text == "A paper without a title" and view.papers[0].lines[0].text == "the surgery in High Street"
    assert view.contacts[0].text == "Somebody without a name"
