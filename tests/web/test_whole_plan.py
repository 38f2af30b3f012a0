"""A plan that says all there is to say, on the page, in the record and out again."""

from __future__ import annotations

import json
import re
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fhir_gateway.web.pages.plan_view import plan_view

from .test_doors import as_, share, share_nothing
from .test_templates import page

if TYPE_CHECKING:
    from ..conftest import Gateway

WHOLE: dict[str, Any] = json.loads((Path(__file__).parent.parent / "cases/mapping/whole-standard.json").read_text())["plan"]
TODAY = date(2026, 11, 24)

# Of the whole plan, the words that a page does not repeat: it names the person once and gives their address to nobody, and a code or
# a number of theirs is not for reading aloud.
SILENT = (
    "Samira", "Mrs", "OBE", "1 Invented Row", "NR99 9ZZ", "C-77", "9990000018", "07700 900001", "sam@example.org", "Female", "White British", "Leeds", "Widowed",
)  # fmt: skip


def test_the_new_parts_of_a_plan_are_on_the_page_in_words() -> None:
    html = page(WHOLE)
    for text in (
        "Me in my garden", "https://films.example/sam", "On my tablet", "How it came to be like this", "Sleep went when the night shifts began",
        "Talked through with", "Dr Ada Fictive (Clinical psychologist)", "At home, Invented Clinic", "What is in the way", "The road is noisy (Me, 4 March 2026)",
        "What we decided", "What to do about my knee", "Kneeling in my garden", "An operation", "Not chosen", "It may last ten years", "A leaflet with pictures",
        "Where I was sent", "Walking group", "Not now", "Too early in the morning", "Would try an afternoon walk", "What I could not get", "A quiet flat",
        "waiting list", "How I am doing, part by part", "now 2 out of 10, I would like 6", "The shifts", "Risk, as professionals see it",
        "Admission in the next year: high", "Own judgement", "Instead of", "About this plan", "Invented Trust", "Direct payment, Example County Council",
        "3 months", "Warm milk (from 4 March 2026 to 31 December 2026)", "Blue folder in the hall", "1 February 2026", "lasting power of attorney",
        "Works nights, ring after two", "Clinical psychologist, Consultant, Clinical psychology", "Community team", "PYL00000", "Quaker", "Sammy",
        "Textphone 18001 01632 960000", "Dr Asha Patel, Example Street Surgery", "1 August 2026",
    ):  # fmt: skip
        assert text in html, text
    for id in ("t-psy", "t-lw", "c-bro", "None", "k-1"):
        assert f">{id}<" not in html


def test_the_page_of_a_plan_gives_no_detail_that_it_did_not_give_before() -> None:
    """Other than the person may read it. Numbers, birth and home stay where they are shown to whoever may see them."""
    words = json.dumps([str(x) for x in (plan_view(WHOLE, TODAY, own=False).practical, plan_view(WHOLE, TODAY, own=False).itself)])
    assert not [s for s in SILENT if s in words]


def test_odd_values_in_the_new_parts_do_not_trip_the_page() -> None:
    odd: tuple[Any, ...] = (None, 7, "x", [], {}, [None], [7], [["x"]], [{}], {"x": 1}, [{"id": []}], True)
    for key in ("media", "formulations", "barriers", "referrals", "unmet_needs", "decisions", "wheels", "risks", "review", "written", "funding", "agreement", "notes",
                "responsible_organisation"):  # fmt: skip
        for value in odd:
            page({**WHOLE, key: value})
    for key in ("details", "advance", "review", "written", "agreement"):
        for value in odd:
            page({**WHOLE, "contingency": [{**WHOLE["contingency"][0], key: value}]})
    for value in odd:
        page({**WHOLE, "wheels": [{"id": "w", "spokes": value}], "risks": [{"id": "r", "instead_of": value, "tier": value}], "barriers": [{"goals": value}],
              "referrals": [{"status": value, "goals": value, "code": value, "service": value}]})  # fmt: skip


def test_a_script_in_a_new_part_is_text() -> None:
    bad = "<script>alert(1)</script>"
    html = page({"plan": "1", "person": {"id": "p"}, "media": [{"title": bad, "link": "javascript:alert(1)"}], "wheels": [{"spokes": [{"name": bad, "now": 1}]}],
                 "risks": [{"tier": bad, "of": bad}], "formulations": [{"text": bad}], "referrals": [{"text": bad, "status": bad}]})  # fmt: skip
    assert bad not in html and "&lt;script&gt;" in html
    assert "href=\"javascript" not in html


def test_a_risk_and_a_formulation_are_not_in_the_whole_plan_that_a_person_shares(demo: Gateway) -> None:
    """The person, the surgery and whoever they share that one with see them; a link worker who may see "the whole plan" does not."""
    plan = demo.get("gp", f"/plans/{demo.patient}").json()
    plan |= {"risks": [{"id": "k-1", "tier": "high", "of": "Admission", "by": "t-gp"}], "formulations": [{"id": "f-1", "text": "It began with the stairs", "needs": ["n-hip"]}],
             "barriers": [{"id": "b-1", "text": "The pool is far", "goals": ["g-swim"]}]}  # fmt: skip
    saved = demo.call("gp", "POST", "/plans", body=plan)
    assert saved.status_code in (200, 201), saved.text
    amina, rosa = as_(demo, "patient"), as_(demo, "link-worker")
    page = f"/team/people/{demo.patient}"
    share(amina)
    amina.send("/my-plan/sharing/new", go="save")
    rosa.get(page)
    assert "My goals" in rosa.words() and "The pool is far" in rosa.words()
    assert "Admission" not in rosa.words() and "It began with the stairs" not in rosa.words()
    read = demo.get("link-worker", f"/plans/{demo.patient}").json()
    assert read["barriers"] and not read.keys() & {"risks", "formulations"}
    for type in ("RiskAssessment", "ClinicalImpression"):
        assert demo.get("link-worker", f"{type}?patient={demo.patient}").json()["total"] == 0
        assert demo.get("gp", f"{type}?patient={demo.patient}").json()["total"] == 1
    amina.get("/my-plan")
    assert "Admission: high" in amina.words() and "It began with the stairs" in amina.words()
    hides = {m for m in re.findall(r"/my-plan/sharing/hide\?thing=((?:RiskAssessment|ClinicalImpression)/[^\"&]+)", amina.page)}
    assert len(hides) == 2
    for thing in hides:
        assert amina.get(f"/my-plan/private/{thing}").status_code == 200
        assert amina.get(f"/my-plan/sharing/hide?thing={thing}").status_code == 200
    share_nothing(demo)


def test_a_referral_names_an_organisation_only_when_it_is_sent(demo: Gateway) -> None:
    """An open referral lets a health or social care organisation in, as an action's owner is let in; a draft, or one without a state, does not."""
    before = demo.get("gp", f"/plans/{demo.patient}").json()
    for status, seen in (({}, 0), ({"status": "proposed"}, 0), ({"status": "declined"}, 0), ({"status": "sent"}, 1)):
        plan = before | {"referrals": [{"id": "r-1", "text": "Bath seat", "sent_to": "t-sw", **status}]}
        assert demo.call("gp", "POST", "/plans", body=plan).status_code in (200, 201)
        found = demo.get("gp", f"ServiceRequest?patient={demo.patient}&status=active").json()["total"]
        assert found == seen, status
    assert demo.call("gp", "POST", "/plans", body=before).status_code in (200, 201)
