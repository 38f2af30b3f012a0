"""Results in plain words: beside the range that the sender gave and nothing else, how they changed, a picture with its table, consent as always. docs/results.md"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir_gateway.domain.diagnostic import reports
from fhir_gateway.domain.mapping.names import system
from fhir_gateway.domain.results import change, kinds, wheels
from fhir_gateway.web.pages import render
from fhir_gateway.web.pages.pictures import wheel
from fhir_gateway.web.pages.results import headings, in_words, marks, reported, told, turned
from fhir_gateway.web.pages.trends import BOTTOM, END, START, TOP, trend

from .test_doors import as_
from .test_templates import request

if TYPE_CHECKING:
    from ..conftest import Gateway

LOINC, UCUM = "http://loinc.org", "http://unitsofmeasure.org"
SAYS = "http://terminology.hl7.org/CodeSystem/v3-ObservationInterpretation"
CATEGORY = "http://terminology.hl7.org/CodeSystem/observation-category"
POTASSIUM = {"coding": [{"system": LOINC, "code": "2823-3"}], "text": "Potassium"}


def quantity(value: Any, unit: str = "mmol/L", **more: Any) -> dict[str, Any]:
    return {"value": value, "unit": unit, "system": UCUM, "code": unit, **more}


def result(value: Any, on: str = "2026-11-20", low: Any = 3.5, high: Any = 5.3, **more: Any) -> dict[str, Any]:
    ends = {end: quantity(n) for end, n in (("low", low), ("high", high)) if n is not None}
    return {
        "resourceType": "Observation", "status": "final", "code": POTASSIUM, "effectiveDateTime": on, "valueQuantity": quantity(value),
        "referenceRange": [ends] if ends else [], **more,
    }  # fmt: skip


def pressure(top: int, bottom: int, on: str) -> dict[str, Any]:
    parts = [{"code": {"coding": [{"system": LOINC, "code": c}]}, "valueQuantity": quantity(n, "mm[Hg]") | {"unit": "mmHg"}} for c, n in (("8480-6", top), ("8462-4", bottom))]
    return {
        "resourceType": "Observation", "status": "final", "code": {"coding": [{"system": LOINC, "code": "85354-9", "display": "Blood pressure panel"}]},
        "category": [{"coding": [{"system": CATEGORY, "code": "vital-signs"}]}], "effectiveDateTime": on, "component": parts,
    }  # fmt: skip


def said(*observations: dict[str, Any]) -> list[str]:
    """The marks of the newest of one kind, in words."""
    (kind,) = kinds(observations)
    return [m.words for v in kind.newest.values for m in marks(v)]


def interpreted(code: str, system: str = SAYS, **more: str) -> dict[str, Any]:
    return {"interpretation": [{"coding": [{"system": system, "code": code}], **more}]}


# -- beside its range --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("observation", "words"),
    [
        (result(3.4), ["Below the range"]), (result(3.5), ["Inside the range"]), (result(5.3), ["Inside the range"]), (result(5.31), ["Above the range"]),
        (result(9, low=None, high=None), []), (result(0.2, low=None, high=5), ["Inside the range"]), (result(99, low=4, high=None), ["Inside the range"]),
        (result(6.0, **interpreted("H")), ["Whoever sent it says: High"]), (result(4.0, **interpreted("H")), ["Whoever sent it says: High", "Inside the range"]),
        (result(9, low=None, high=None, **interpreted("AA")), ["Whoever sent it says: Critically not normal"]),
        (result(4.0, **interpreted("x", "urn:lab", text="ask again in May")), ["Whoever sent it says: ask again in May", "Inside the range"]),
    ],
)  # fmt: skip
def test_a_value_lies_where_its_sender_says_and_nowhere_else(observation: dict[str, Any], words: list[str]) -> None:
    assert said(observation) == words


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (quantity(3.5, comparator="<"), ["Below the range"]), (quantity(3.5, comparator="<="), []), (quantity(4, comparator="<"), []), (quantity(5.3, comparator=">"), ["Above the range"]),
        (quantity(4, "mg/dL"), []), (quantity(4000, "umol/L"), []), ({"value": 9}, []), ({"value": Decimal("1e400"), "unit": "mmol/L"}, []), ({"unit": "mmol/L"}, []),
    ],
)  # fmt: skip
def test_what_cannot_be_known_is_not_said(value: dict[str, Any], words: list[str]) -> None:
    assert said(result(0) | {"valueQuantity": value}) == words


def test_a_range_for_some_people_or_two_of_them_is_shown_and_not_held_against_a_value() -> None:
    women = {"low": quantity(3), "high": quantity(4), "appliesTo": [{"text": "women"}]}
    for ranges, shown in (([women], ["from 3 mmol/L to 4 mmol/L (women)"]), ([{"low": quantity(1)}, {"high": quantity(2)}], ["1 mmol/L or more", "2 mmol/L or less"]), ([{"text": "up to 5"}], ["up to 5"])):
        o = result(9) | {"referenceRange": ranges}
        assert said(o) == [] and list(told(kinds([o])[0], {}).parts[0].ranges) == shown


@given(*[st.decimals(-1000, 1000, places=2)] * 3)
def test_inside_is_between_both_ends(value: Decimal, a: Decimal, b: Decimal) -> None:
    low, high = min(a, b), max(a, b)
    words = "Below the range" if value < low else "Above the range" if value > high else "Inside the range"
    assert said(result(value, low=low, high=high)) == [words]


# -- over time ---------------------------------------------------------------------------------------------------------


def test_how_it_changed_is_said_with_its_dates() -> None:
    (kind,) = kinds([result(4.5, "2026-11-18"), result(4.0, "2026-05-04")])
    assert told(kind, {}).parts[0].changed == "0.5 mmol/L more than on 4 May 2026, when it was 4 mmol/L."
    (kind,) = kinds([result(4.0, "2026-05-04"), result(4.0, "2026-11-18")])
    assert told(kind, {}).parts[0].changed == "The same as on 4 May 2026."
    (kind,) = kinds([result(4.0, "2026-05-04"), result(0, "2026-11-18") | {"valueQuantity": quantity(9, "mg/dL")}])
    assert told(kind, {}).parts[0].changed == "On 4 May 2026 it was 4 mmol/L." and change(kind.newest.values[0], kind.told[0].values[0]) is None


def lined(*observations: dict[str, Any], known: Any = None) -> dict[str, list[int | str]]:
    """What stands under each heading, the oldest first."""
    found = kinds(observations, known)
    return {name: [int(v.number) if v.number is not None else v.text for r in k.readings for v in r.values] for name, k in zip(headings(found), found, strict=True)}


def test_readings_of_one_root_code_are_of_one_kind_and_what_is_wrong_or_in_the_plan_is_left_out() -> None:
    both = {"coding": [{"system": "http://snomed.info/sct", "code": "1"}, {"system": LOINC, "code": "2823-3"}], "text": "Potassium"}
    story = {"resourceType": "Observation", "status": "final", "identifier": [{"system": system("strength"), "value": "s"}], "code": {"text": "Strength"}, "valueString": "Never gives up"}
    found = kinds([result(4, "2026-01-01"), result(6, "2026-01-03", code=both), result(99, status="entered-in-error"), story])
    assert [[r.values[0].number for r in k.readings] for k in found] == [[4, 6]]
    bare = {k: v for k, v in story.items() if k != "identifier"}
    assert lined(bare) == {"Strength": ["Never gives up"]}, "of others it stands nowhere else"


def test_a_code_beside_the_first_makes_no_two_tests_one_and_two_that_contradict_are_apart() -> None:
    ward = {"system": "http://ward.example/codes", "code": "OBS"}
    tests = {"Glucose": (5, "2345-7"), "Creatinine": (90, "2160-0"), "Potassium": (4, "2823-3")}
    sent = [result(n, f"2026-11-{20 + n % 7}", code={"coding": [ward, {"system": LOINC, "code": code, "display": name}]}) for name, (n, code) in tests.items()]
    assert lined(*sent) == {"Glucose": [5], "Creatinine": [90], "Potassium": [4]}
    parts = [{"code": o["code"], "valueQuantity": o["valueQuantity"]} for o in sent]
    (panel,) = kinds([{**sent[0], "code": {"text": "Blood"}, "component": parts, "valueQuantity": None}])
    assert len({v.code for v in panel.newest.values}) == 3
    fasting, random = ({"coding": [{"system": LOINC, "code": "2345-7"}, {**ward, "code": c}], "text": c} for c in ("fasting", "random"))
    assert lined(result(5, "2026-11-01", code=fasting), result(9, "2026-11-02", code=random)) == {"random": [9], "fasting": [5]}


BABY = {"resourceType": "RelatedPerson", "id": "b", "name": [{"text": "Unborn child"}]}
APART: list[tuple[dict[str, Any], dict[str, Any], str, str]] = [
    ({"bodySite": {"text": "Left eye"}}, {"bodySite": {"text": "Right eye"}}, "Potassium: Left eye", "Potassium: Right eye"),
    ({}, {"focus": [{"reference": "RelatedPerson/b"}]}, "Potassium", "Potassium: Unborn child"),
    ({}, {"focus": [{"display": "Twin"}]}, "Potassium", "Potassium: Twin"),
    ({}, {"focus": [{"reference": "RelatedPerson/hidden"}]}, "Potassium", "Potassium: somebody else"),
    ({}, {"contained": [BABY], "focus": [{"reference": "#b"}]}, "Potassium", "Potassium: Unborn child"),
    ({}, {"extension": [{"url": "http://hl7.org/fhir/StructureDefinition/observation-focusCode", "valueCodeableConcept": {"text": "Fetus"}}]}, "Potassium", "Potassium: Fetus"),
    ({"focus": [{"reference": "Goal/a", "display": "Walk"}]}, {"focus": [{"reference": "Goal/b", "display": "Swim"}]}, "Potassium: Walk", "Potassium: Swim"),
    ({"method": {"text": "before inhaler"}}, {"method": {"text": "after inhaler"}}, "Potassium: before inhaler", "Potassium: after inhaler"),
    ({"specimen": {"reference": "Specimen/1"}}, {"specimen": {"reference": "Specimen/2"}}, "Potassium: Blood", "Potassium: Urine"),
    ({"specimen": {"reference": "Specimen/x"}}, {"specimen": {"reference": "Specimen/y"}}, "Potassium (2)", "Potassium"),
    ({"device": {"display": "Meter"}}, {"device": {"reference": "Device/d"}}, "Potassium: Meter", "Potassium: Pump"),
    ({"derivedFrom": [{"reference": "Observation/p1"}]}, {"derivedFrom": [{"reference": "Observation/p2"}]}, "Potassium: Food", "Potassium: Friends"),
    ({"id": "m1"}, {"id": "m3"}, "Potassium: Food", "Potassium"),
]  # fmt: skip
KNOWN: dict[str, Any] = {
    "RelatedPerson/b": BABY, "Device/d": {"resourceType": "Device", "type": {"text": "Pump"}},
    **{f"Specimen/{n}": {"resourceType": "Specimen", "type": {"text": t}} for n, t in (("1", "Blood"), ("2", "Urine"), ("3", "Urine"))},
}  # fmt: skip
PANELS = [{"resourceType": "Observation", "status": "final", "id": id, "code": {"text": text}, "hasMember": [{"reference": f"Observation/{m}"}]} for id, text, m in (("p1", "Food", "m1"), ("p2", "Friends", "m2"))]


@pytest.mark.parametrize(("old", "new", "then", "now"), APART)
def test_what_is_not_of_one_thing_is_no_line_no_change_and_says_what_it_is_of(old: dict[str, Any], new: dict[str, Any], then: str, now: str) -> None:
    sent = [result(9, "2026-11-25", **old), result(2, "2026-11-26", **new), *PANELS]
    assert lined(*sent, known=KNOWN) == {now: [2], then: [9]}
    assert [told(k, {}).parts[0].changed for k in kinds(sent, KNOWN)] == ["", ""]
    sent[0] = result(9, "2026-11-25", **new)
    (kind, *none) = kinds(sent, KNOWN if "Specimen/y" not in str(new) else {})
    assert none == [] and "7 mmol/L less than" in told(kind, {}).parts[0].changed, "what agrees is compared"


def test_each_blood_is_another_specimen_of_one_kind_and_the_person_themselves_is_nobody_else() -> None:
    sent = [result(9, "2026-11-25", specimen={"reference": "Specimen/2"}), result(2, "2026-11-26", specimen={"reference": "Specimen/3"})]
    assert lined(*sent, known=KNOWN) == {"Potassium": [9, 2]}
    about = {"subject": {"reference": "Patient/p"}}
    own = [result(9, "2026-11-25", **about), result(2, "2026-11-26", **about, focus=[{"reference": "Patient/p"}])]
    assert lined(*own) == {"Potassium": [9, 2]}


def test_what_is_of_somebody_else_says_so_and_a_name_that_differs_stands_in_its_row() -> None:
    (kind,) = kinds([result(140, focus=[{"reference": "RelatedPerson/b"}])], KNOWN)
    assert re.search(r'<strong class="nhsuk-tag[^>]*>\s*<span class="app-words">About somebody else: Unborn child', page([told(kind, {})]))
    (kind,) = kinds([result(4, "2026-11-01", code={**POTASSIUM, "text": "K+ in plasma"}), result(5, "2026-11-02")])
    assert [r.called for r in told(kind, {}).rows] == ["", "K+ in plasma"] and "Also called: <span" in page([told(kind, {})])


@pytest.mark.parametrize(
    ("old", "new"), [("2026-11-26T10:00:10Z", "2026-11-26T10:00:50Z"), ("2026-11-26", "2026-11-26"), ("2026-11", "2026-11-26"), ("2026-11-26", "2026-11-26T10:00:00Z")]
)
def test_of_one_minute_or_of_a_day_within_a_month_nobody_knows_which_was_first(old: str, new: str) -> None:
    (kind,) = kinds([result(5, old), result(4, new)])
    assert len(kind.readings) == 2 and told(kind, {}).parts[0].changed == ""


def test_a_report_says_what_was_concluded_by_whom_and_its_results() -> None:
    sent = {
        "resourceType": "DiagnosticReport", "id": "d", "status": "preliminary", "code": {"text": "X-ray of hip"}, "effectiveDateTime": "2026-11-27", "conclusion": "No fracture",
        "conclusionCode": [{"text": "Normal"}], "performer": [{"display": "Dr Ray"}, {"reference": "Organization/1"}], "result": [{"reference": "Observation/o"}, {"reference": "Observation/hidden"}],
    }  # fmt: skip
    (r,) = reports([sent, {**sent, "status": "entered-in-error"}])
    shown = reported(r, {"Organization/1": "The Ward"}, {"Observation/o": "Hip: Bruised"})
    assert (shown.name, shown.on) == ("X-ray of hip", "27 November 2026")
    assert [(x.label, x.text) for x in shown.lines] == [
        ("What was concluded", "No fracture\nNormal"), ("Good to know", "Not final yet"), ("Results in it", "Hip: Bruised"), ("Written by", "Dr Ray, The Ward"),
    ]  # fmt: skip


def test_blood_pressure_is_one_line_of_words_and_two_lines_of_a_picture() -> None:
    (kind,) = kinds([pressure(141, 80, "2026-11-02"), pressure(153, 92, "2026-05-04")])
    s = told(kind, {})
    assert (s.name, s.headline) == ("Blood pressure", "141 over 80 mmHg")
    assert [(p.name, p.changed) for p in s.parts] == [
        ("Top number", "12 mmHg less than on 4 May 2026, when it was 153 mmHg."), ("Bottom number", "12 mmHg less than on 4 May 2026, when it was 92 mmHg."),
    ]  # fmt: skip
    assert s.picture is not None and len(s.picture.series) == 2 and s.series == ("Top number", "Bottom number") and s.picture.band is None


@given(st.lists(st.tuples(st.dates(), st.decimals(allow_nan=False, allow_infinity=False)), min_size=1, max_size=8))
def test_whatever_is_measured_stands_within_its_picture(readings: list[tuple[Any, Decimal]]) -> None:
    (kind,) = kinds([result(n, on.isoformat()) for on, n in readings])
    drawn = trend(kind)
    assert told(kind, {}).rows
    for p in (p for s in drawn.series for p in s.points) if drawn else ():
        assert START <= p.x <= END and TOP <= p.y <= BOTTOM


def test_the_words_under_a_picture_count_what_is_drawn() -> None:
    """A reading in another unit is no line of the picture, and neither its lowest nor its highest."""
    (kind,) = kinds([result(4.1, "2026-05-04"), result(5.9, "2026-06-04"), result(4000, "2026-07-04", valueQuantity=quantity(4000, "umol/L")), result(4.2, "2026-08-04"), result(3.6, "2026-09-04")])
    assert "4 readings. The lowest is 3.6, the highest 5.9, the last 3.6 mmol/L." in page([told(kind, {})])


def test_a_picture_has_a_title_words_and_the_same_as_a_table_and_a_mark_is_never_colour_alone() -> None:
    (kind,) = kinds([result(4.5, "2026-11-18"), result(6.1, "2026-12-01"), result(4.0, "2026-05-04")])
    html = page([told(kind, {})])
    (svg,) = re.findall(r'<svg class="app-picture app-trend".*?</svg>', html, re.S)
    assert 'aria-labelledby="result-1-title result-1-desc"' in svg and 'class="range"' in svg and svg.count("<circle") == 2 and svg.count('class="dot"') == 3
    assert "From 4 May 2026 to 1 December 2026. 3 readings. The lowest is 4, the highest 6.1, the last 6.1 mmol/L." in svg
    assert re.search(r'<span class="app-mark" aria-hidden="true">▲</span>Above the range</strong>', html)
    (table,) = re.findall(r"<table.*?</table>", html, re.S)
    assert all(t in table for t in ("4 May 2026", "18 November 2026", "1 December 2026", "4 mmol/L", "Above the range"))


def page(shown: list[Any], wheels: Any = (), own: bool = False) -> str:
    return bytes(render(request(), "results.html", own=own, person="p", name="Gwen", shown=shown, wheels=wheels, reports=[], more=False, most=1).body).decode()


# -- the wheel ---------------------------------------------------------------------------------------------------------


def test_both_kinds_of_wheel_are_drawn_with_what_is_hoped_for_and_what_was_before() -> None:
    def spoke(now: int, hoped: int, plan: bool) -> dict[str, Any]:
        wanted: dict[str, Any] = (
            {"extension": [{"url": "https://fhir-gateway.example/StructureDefinition/wheel-next", "valueInteger": hoped}]} if plan else {"referenceRange": [{"low": {"value": hoped}}]}
        )
        return {"code": {"text": "Sleep <b>"}, "valueInteger": now, **wanted}

    def of(system: str, code: str, on: str, now: int) -> dict[str, Any]:
        return {
            "resourceType": "Observation", "status": "final", "code": {"coding": [{"system": system, "code": code}], "text": "My wheel"}, "effectiveDateTime": on,
            "component": [spoke(now, 8, "plan" in system), {"code": {"text": "Friends"}, "valueQuantity": {"value": 3}}],
        }  # fmt: skip

    form, plan = "https://fhir-gateway.example/CodeSystem/wheel", "https://fhir-gateway.example/CodeSystem/plan-observation"
    held = [of(form, "own-wheel", "2026-05-04", 3), of(plan, "wheel", "2026-11-02", 5)]
    assert kinds(held) == [], "what is hoped for is no range"
    (same,) = wheels(held)
    html = page([], [turned(same)])
    assert "Sleep &lt;b&gt;: 5, hoped for 8; Friends: not said" in html and "<th" in html and "4 May 2026" in html
    assert [s.hoped for s in wheel(held[0]).spokes] == [s.hoped for s in wheel(held[1]).spokes] == ["8", ""]
    assert "Inside the range" not in html and "Above the range" not in html


# -- over HTTP ---------------------------------------------------------------------------------------------------------


def test_the_person_and_who_may_see_them_find_results_and_nobody_else(demo: Gateway) -> None:
    about: dict[str, Any] = {"subject": {"reference": f"Patient/{demo.patient}"}, "category": [{"coding": [{"system": CATEGORY, "code": "laboratory"}]}]}
    very: dict[str, Any] = {"meta": {"security": [{"system": "http://terminology.hl7.org/CodeSystem/v3-Confidentiality", "code": "V"}]}}
    secret = {**POTASSIUM, "text": "A secret test", "coding": [{"system": LOINC, "code": "2951-2"}]}
    amina, gp, stranger = as_(demo, "patient"), as_(demo, "gp"), as_(demo, "stranger")
    there = f"/team/people/{demo.patient}/results"
    baby = demo.call("hospital", "POST", "RelatedPerson", body={"resourceType": "RelatedPerson", "patient": about["subject"], "name": [{"text": "Unborn child"}]}).json()["id"]
    report = {"resourceType": "DiagnosticReport", "status": "final", "subject": about["subject"], "code": {"text": "X-ray of hip"}, "conclusion": "No fracture"}
    for type, body in (("Observation", result(8.8, "2026-11-21", **about, focus=[{"reference": f"RelatedPerson/{baby}"}])), ("DiagnosticReport", report)):
        made = demo.call("hospital", "POST", type, body=body)
        assert made.status_code == 201, made.text
    for body in (result(4.1, "2026-05-04", **about), result(6.2, "2026-11-20", **about, **interpreted("H")), result(1, **about, **very, code=secret)):
        gp.get(there)
        made = demo.call("hospital", "POST", "Observation", body=body)
        assert made.status_code == 201, made.text
    before = gp.words()
    assert 'href="/my-plan/results"' in amina.get("/my-plan").text
    amina.get("/my-plan/results")
    for words in ("Potassium 6.2 mmol/L 20 November 2026 ▲ Whoever sent it says: High", "The range that came with it: from 3.5 mmol/L to 5.3 mmol/L.", "A secret test",
                  "2.1 mmol/L more than on 4 May 2026, when it was 4.1 mmol/L.", "Body weight 61.5 kg 5 October 2026", "Bathroom scales"):  # fmt: skip
        assert words in amina.words(), words
    assert f'href="{there}"' in gp.get(f"/team/people/{demo.patient}").text
    gp.get(there)
    assert gp.words() == before, "what is hidden is as what is not there"
    assert "About somebody else: Unborn child" in gp.words() and "No fracture" in gp.words()
    assert "Potassium 6.2 mmol/L" in gp.words() and "A secret test" not in gp.page and "Some information may be withheld." in gp.words()
    assert stranger.get(there).status_code == stranger.get("/team/people/nobody/results").status_code == 404 and "Potassium" not in stranger.page
    for v in (amina, gp, stranger):
        v.http.close()


def test_words_of_a_value_are_words() -> None:
    for value, words in (({"valueBoolean": True}, "Yes"), ({"valueCodeableConcept": {"text": "Not seen"}}, "Not seen"), ({"valueRange": {"low": {"value": 1}, "high": {"value": 2}}}, "1–2"),
                         ({"valueQuantity": quantity(5, comparator="<")}, "less than 5 mmol/L"), ({"valueInteger": 62}, "62")):  # fmt: skip
        o = {k: v for k, v in result(0).items() if k != "valueQuantity"} | value
        (kind,) = kinds([o])
        assert in_words(kind.newest.values[0]) == words
