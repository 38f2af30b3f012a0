"""Search by its plain specification: what a query string means, what a resource is found by, and the examples of the R4 page."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fhir_gateway.definitions import load_r4
from fhir_gateway.domain.problem import Problem
from fhir_gateway.domain.search import (
    Include,
    Query,
    Term,
    arranged,
    date_span,
    fold,
    include_refs,
    keys,
    matches,
    parse,
    points,
    reference_names,
    reverse_queries,
    with_terms,
    within,
)
from fhir_gateway.domain.search.indexing import _emitters, searchable
from fhir_gateway.domain.search.paths import places, root
from fhir_gateway.domain.types import Key, Ref
from fhir_gateway.domain.view import view

R4 = load_r4()
LOINC, SNOMED, UCUM = "http://loinc.org", "http://snomed.info/sct", "http://unitsofmeasure.org"


def hit(query: str, resource: dict[str, Any], *, filtered: bool = False, among: tuple[dict[str, Any], ...] = ()) -> bool:
    """Does `Type?name=value&…` (nothing encoded) find this resource; `among` is what chains may reach."""

    def lookup(type: str, id: str) -> Iterator[tuple[dict[str, Any], bool]]:
        return ((r, filtered) for r in among if r["resourceType"] == type and id in ("", r["id"]))

    type, _, rest = query.partition("?")
    params = [(n, v) for n, _, v in (p.partition("=") for p in rest.split("&"))]
    asked = parse(type, params, R4)
    assert not asked.unknown, asked.unknown
    return matches(asked, resource, filtered=filtered, r4=R4, lookup=lookup)


def refusal(type: str | None, *params: tuple[str, str], strict: bool = False) -> Problem:
    with pytest.raises(Problem) as caught:
        parse(type, params, R4, strict=strict)
    assert caught.value.kind == "bad-request" and caught.value.status == 400
    return caught.value


def patient(**more: Any) -> dict[str, Any]:
    return {"resourceType": "Patient", "id": "p", **more}


def observation(**more: Any) -> dict[str, Any]:
    return {"resourceType": "Observation", "id": "o", "status": "final", "code": {"text": "x"}, **more}


def quantity(value: float | int, **more: Any) -> dict[str, Any]:
    return observation(valueQuantity={"value": value, **more})


def plan(**more: Any) -> dict[str, Any]:
    return {"resourceType": "CarePlan", "id": "c", "status": "active", "intent": "plan", "subject": {"reference": "Patient/p"}, **more}


# -- what a query string means ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("type", "name", "value", "says"),
    [
        ("Patient", "name:bogus", "x", "`name` has no modifier `:bogus`"),
        ("Patient", "gender:exact", "male", "`gender` has no modifier `:exact`"),
        ("CarePlan", "subject:Bogus", "1", "`subject` has no modifier `:Bogus`"),
        ("CarePlan", "date:contains", "2026", "`date` has no modifier `:contains`"),
        ("Patient", "birthdate", "yesterday", "`yesterday` is not a date"),
        ("Patient", "birthdate", "2026-13", "`2026-13` is not a date"),
        ("Patient", "birthdate", "2026-02-30", "is not a date"),
        ("Patient", "birthdate", "xx2026", "is not a date"),
        ("Patient", "birthdate:missing", "maybe", "`:missing` is true or false, not `maybe`"),
        ("Patient", "name", "a,,b", "has an empty value"),
        ("Patient", "identifier", "|", "names neither a system nor a code"),
        ("Patient", "identifier:of-type", "a|b", "`:of-type` takes system|code|value"),
        ("RiskAssessment", "probability", "high", "`high` is not a number"),
        ("Observation", "value-quantity", "5.4|mg", "must be a number, or number|system|code"),
        ("Observation", "value-quantity", "1e9999", "is not a number"),
        ("Observation", "code-value-quantity", "8480-6", "takes code$value-quantity"),
        ("ValueSet", "url:below", "urn:oid:1.2", "which a urn does not have"),
        ("CarePlan", "status.name", "x", "`status` is not a reference"),
        ("Patient", "_has:Bogus:patient:code", "x", "must be _has:Type:reference:parameter"),
        ("Patient", "_has:Observation:code:code", "x", "must be _has:Type:reference:parameter"),
        ("Patient", "_has:Observation:patient", "x", "must be _has:Type:reference:parameter"),
        ("Patient", "_has:Observation:patient:bogus", "x", "Observation has no search parameter `bogus`"),
        ("Patient", "_count", "many", "`_count` must be a whole number"),
        ("Patient", "_count", "-1", "`_count` must be a whole number"),
        ("Patient", "_sort", "bogus", "Results cannot be sorted by `bogus`"),
        ("Patient", "_total", "exact", "`_total` is none, estimate or accurate"),
        ("Patient", "_summary", "short", "`_summary` is true, false, text, data or count"),
        ("CarePlan", "_include", "goal", "must be Type:parameter"),
        ("CarePlan", "_include", "CarePlan:bogus", "`bogus` is not a reference parameter of CarePlan"),
        ("CarePlan", "_include", "CarePlan:status", "`status` is not a reference parameter of CarePlan"),
        ("CarePlan", "_include", "CarePlan:goal:Bogus", "must be Type:parameter"),
        ("CarePlan", "_include:often", "CarePlan:goal", "`_include` has no modifier `:often`"),
        ("CarePlan", "_sort:asc", "date", "`_sort` has no modifier `:asc`"),
        ("CarePlan", "_count:exact", "1", "`_count` has no modifier `:exact`"),
        (None, "_type:not", "Goal", "`_type` has no modifier `:not`"),
        ("CarePlan", "identifier[$gt]", "", "`identifier[$gt]` is not the name of a search parameter"),
        ("CarePlan", "", "x", "`` is not the name of a search parameter"),
        ("CarePlan", "_id", "a\x00", "The value of `_id` has control characters"),
        ("Observation", "code-value-string", "a\x1fb", "has control characters"),
        ("Patient", "gender:in", "http://elsewhere/ValueSet/x", "What is in the value set `http://elsewhere/ValueSet/x` is not known here"),
        ("Patient", "name:in", "http://elsewhere/ValueSet/x", "`name` has no modifier `:in`"),
        (None, "_type", "Bogus", "`Bogus` is not a FHIR R4 resource type"),
        ("Patient", "name", ",".join("a" * 101), "may have 100 values, this one has 101"),
        ("Goal", "patient.general-practitioner.partof.partof.partof.partof.name", "x", "at most 4 references"),
    ],
)
def test_what_cannot_be_understood_is_refused_by_name(type: str | None, name: str, value: str, says: str) -> None:
    problem = refusal(type, (name, value))
    assert says in problem.text, problem.text
    assert problem.where.startswith(name.partition(":")[0].partition(".")[0])


def test_an_unknown_parameter_is_ignored_and_left_out_of_the_self_link_or_refused_when_strict() -> None:
    params = [("status", "active"), ("bogus", "1"), ("_text", "x"), ("_filter", "y"), ("subject.bogus", "z")]
    query = parse("CarePlan", params, R4)
    assert query.unknown == ("bogus", "_text", "_filter", "subject.bogus")
    assert query.used == (("status", "active"),)
    for name, value in params[1:]:
        assert f"`{name}` is not a search parameter of CarePlan" in refusal("CarePlan", (name, value), strict=True).text


def test_an_unknown_modifier_is_refused_whether_strict_or_not() -> None:
    for strict in (True, False):
        refusal("CarePlan", ("status:bogus", "active"), strict=strict)


def test_a_parameter_with_no_value_asks_for_nothing() -> None:
    assert parse("CarePlan", [("status", ""), ("bogus", "")], R4) == Query(("CarePlan",))


def test_the_self_link_says_what_was_done() -> None:
    assert parse("Goal", [("_count", "1000"), ("bogus", "1"), ("_sort", ""), ("patient", "1")], R4).used == (("_count", "200"), ("patient", "1"))
    assert parse("Goal", [("_sort", "_id"), ("patient", "1"), ("_sort", "-_id")], R4).used == (("patient", "1"), ("_sort", "-_id"))


def test_our_own_address_in_a_reference_is_not_part_of_it() -> None:
    ours, theirs = "https://here.example/fhir/Patient/1", "https://there.example/fhir/Patient/1"
    texts = [
        parse("Goal", [("patient", t)], R4, base="https://here.example/fhir").terms[0].values[0].text for t in (ours, theirs, f"{ours}/_history/2")
    ]
    assert texts == ["Patient/1", theirs, "Patient/1"]


def test_a_page_is_at_most_200() -> None:
    assert parse("Goal", [("_count", "10")], R4).count == 10
    assert parse("Goal", [("_count", "1000")], R4).count == 200
    assert parse("Goal", [("_count", "0")], R4).summary == "count"


def test_what_a_page_looks_like() -> None:
    query = parse(
        "CarePlan",
        [
            ("_sort", "-date,status"), ("_total", "accurate"), ("_summary", "data"), ("_elements", "id, status"),
            ("_include", "CarePlan:goal"), ("_include:iterate", "Goal:patient:Patient"), ("_revinclude:recurse", "Task:based-on"),
            ("_include", "*"), ("_format", "json"), ("_pretty", "true"),
        ], R4,
    )  # fmt: skip
    assert query.sort == (("date", True), ("status", False))
    assert (query.total, query.summary, query.elements, query.unknown) == ("accurate", "data", ("id", "status"), ())
    assert query.includes == (
        Include("CarePlan", "goal"), Include("Goal", "patient", "Patient", iterate=True),
        Include("Task", "based-on", reverse=True, iterate=True), Include("*", "*"),
    )  # fmt: skip
    assert [n for n, _ in query.used][-1] == "_include"


def test_several_types_share_the_parameters_that_all_of_them_have() -> None:
    query = parse(None, [("_type", "CarePlan,Goal"), ("patient", "1"), ("category", "a")], R4)
    assert query.types == ("CarePlan", "Goal") and not query.unknown and len(query.terms) == 2
    assert parse(None, [("_type", "CarePlan,Goal"), ("goal", "1")], R4).unknown == ("goal",)
    every = parse(None, [("_id", "1"), ("_lastUpdated", "2026"), ("_tag", "a"), ("patient", "1")], R4)
    assert every.types == () and [t.name for t in every.terms] == ["_id", "_lastUpdated", "_tag"] and every.unknown == ("patient",)


def test_a_chain_goes_to_every_type_that_has_the_parameter() -> None:
    (term,) = parse("CarePlan", [("subject.name", "ann")], R4).terms
    assert term.chain is not None and set(term.chain.types) <= {"Patient", "Group"} and "Patient" in term.chain.types
    (term,) = parse("CarePlan", [("subject:Patient.name", "ann")], R4).terms
    assert term.chain is not None and term.chain.types == ("Patient",)


def test_terms_can_be_added() -> None:
    query, more = parse("Goal", [("patient", "1")], R4), parse("Goal", [("category", "a")], R4)
    assert with_terms(query, more.terms).terms == query.terms + more.terms


def test_a_hundred_values_are_fine() -> None:
    (term,) = parse("Patient", [("_id", ",".join(str(n) for n in range(100)))], R4).terms
    assert len(term.values) == 100


# -- strings: https://hl7.org/fhir/R4/search.html#string ---------------------------------------------------------------

EVE = patient(name=[{"given": ["Eve"], "family": "Müller-O'Brien"}, {"given": ["Severine"]}])


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("given=eve", True), ("given=EV", True), ("given:contains=eve", True), ("given:exact=Eve", True), ("given:exact=eve", False),
        ("given:exact=EVE", False), ("given=verine", False), ("given:contains=verine", True), ("family=muller", True),
        ("family=Mu\u0308ller", True), ("family=ma,mu", True), ("name=sev", True), ("name:contains=brien", True), ("family=x", False),
    ],
)  # fmt: skip
def test_strings_begin_with_what_is_asked_whatever_case_and_accents(query: str, found: bool) -> None:
    assert hit(f"Patient?{query}", EVE) is found


def test_a_very_long_text_is_found_by_how_it_begins() -> None:
    text = "Abc " * 2_000
    her = patient(name=[{"text": text}])
    assert hit(f"Patient?name={text}", her) and hit("Patient?name=abc abc", her) and hit(f"Patient?name:exact={text}", her)


@given(st.text())
def test_folding_twice_is_folding_once(text: str) -> None:
    assert fold(fold(text)) == fold(text)


def test_an_address_is_found_by_its_parts() -> None:
    her = patient(address=[{"line": ["1 High Street"], "city": "Leeds", "postalCode": "LS1 4AP"}])
    assert hit("Patient?address=leeds", her) and hit("Patient?address-city=le", her) and hit("Patient?address-postalcode=ls1", her)
    assert not hit("Patient?address-city=ls1", her)


def test_a_comma_that_is_escaped_is_part_of_the_value() -> None:
    him = patient(name=[{"text": "Smith, John"}])
    assert hit("Patient?name=smith\\, john", him)
    assert not hit("Patient?name=smit\\,", him) and hit("Patient?name=x,smith", him)


# -- tokens: https://hl7.org/fhir/R4/search.html#token -----------------------------------------------------------------

CATEGORISED = plan(category=[
    {"coding": [{"system": SNOMED, "code": "736372004", "display": "Discharge care plan"}], "text": "When you go home"},
    {"coding": [{"code": "local"}]},
])  # fmt: skip


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("category=736372004", True), (f"category={SNOMED}|736372004", True), ("category=http://other|736372004", False),
        ("category=|736372004", False), ("category=|local", True), (f"category={SNOMED}|", True), ("category=http://other|", False),
        ("category=other,local", True), ("category:not=736372004", False), ("category:not=other", True),
        ("category:text=discharge", True), ("category:text=when you", True), ("category:text=home", False),
        ("category:missing=false", True), ("category:missing=true", False), ("status=active", True), ("status=Active", False),
        ("status=http://hl7.org/fhir/request-status|active", True), ("status=http://other|active", False),
    ],
)  # fmt: skip
def test_tokens(query: str, found: bool) -> None:
    assert hit(f"CarePlan?{query}", CATEGORISED) is found


def test_not_includes_what_has_no_value_at_all() -> None:
    assert hit("CarePlan?category:not=a", plan()) and hit("CarePlan?category:missing=true", plan())


def test_identifiers_booleans_and_telecoms_are_tokens() -> None:
    her = patient(
        active=True, telecom=[{"system": "phone", "value": "555 1234"}, {"system": "email", "value": "eve@example.org"}],
        identifier=[{"system": "http://acme.org", "value": "2345", "type": {"coding": [{"system": "http://t", "code": "MR"}], "text": "Medical record"}}],
    )  # fmt: skip
    for found in (
        "identifier=http://acme.org|2345", "identifier=2345", "identifier:of-type=http://t|MR|2345", "identifier:text=medical",
        "active=true", "phone=555 1234", "email=eve@example.org", "telecom=eve@example.org", "deceased=false",
    ):  # fmt: skip
        assert hit(f"Patient?{found}", her), found
    for missed in ("identifier:of-type=http://t|MR|999", "identifier:of-type=http://t|NH|2345", "active=false", "email=555 1234", "deceased=true"):
        assert not hit(f"Patient?{missed}", her), missed
    assert hit("Patient?deceased=true", patient(deceasedDateTime="2026")) and hit("Patient?deceased=false", patient(deceasedBoolean=False))


def test_codes_below_and_above_where_the_code_system_is_at_hand() -> None:
    system = "http://terminology.hl7.org/CodeSystem/v3-ActReason"
    asked = {"resourceType": "Consent", "id": "c", "provision": {"purpose": [{"system": system, "code": "ETREAT"}]}}
    for query, found in (
        (f"purpose={system}|TREAT", False), (f"purpose:below={system}|TREAT", True), (f"purpose:below={system}|ETREAT", True),
        (f"purpose:above={system}|BTG", True), (f"purpose:above={system}|TREAT", False), ("purpose:below=http://unknown|TREAT", False),
    ):  # fmt: skip
        assert hit(f"Consent?{query}", asked) is found, query


def test_codes_of_a_value_set_that_is_at_hand() -> None:
    genders = "http://hl7.org/fhir/ValueSet/administrative-gender"
    for query, found in ((f"gender:in={genders}", True), (f"gender:in={genders}|4.0.1", True), (f"gender:not-in={genders}", False)):
        assert hit(f"Patient?{query}", patient(gender="male")) is found, query
    assert not hit(f"Patient?gender:in={genders}", patient()) and hit(f"Patient?gender:not-in={genders}", patient())
    reasons = "http://terminology.hl7.org/ValueSet/v3-PurposeOfUse"
    system = "http://terminology.hl7.org/CodeSystem/v3-ActReason"
    for at, found in ((system, True), ("http://elsewhere", False)):
        assert hit(f"Consent?purpose:in={reasons}", {"resourceType": "Consent", "id": "c", "provision": {"purpose": [{"system": at, "code": "TREAT"}]}}) is found


# -- references: https://hl7.org/fhir/R4/search.html#reference ---------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("subject=Patient/p", True), ("subject=p", True), ("subject:Patient=p", True), ("subject:Group=p", False), ("patient=p", True),
        ("patient=Patient/p", True), ("subject=Patient/other", False), ("subject=Group/p", False), ("subject=Patient/p/_history/4", True),
        ("goal=Goal/1", True), ("goal=1", True), ("goal=9,1", True), ("based-on=http://elsewhere/fhir/CarePlan/7", True),
        ("based-on=7", False), ("subject:identifier=http://nhs|943", True), ("subject:identifier=943", True),
        ("subject:identifier=http://x|943", False), ("care-team:missing=true", True), ("goal:missing=true", False),
        ("activity-reference:identifier=|77", True), ("activity-reference:missing=false", True),
    ],
)  # fmt: skip
def test_references(query: str, found: bool) -> None:
    made = plan(
        subject={"reference": "Patient/p", "identifier": {"system": "http://nhs", "value": "943"}},
        goal=[{"reference": "Goal/1/_history/2"}, {"reference": "Goal/2"}], basedOn=[{"reference": "http://elsewhere/fhir/CarePlan/7"}],
        activity=[{"reference": {"identifier": {"value": "77"}}}],
    )  # fmt: skip
    assert hit(f"CarePlan?{query}", made) is found


def test_patient_means_a_patient() -> None:
    of_a_group = plan(subject={"reference": "Group/g"})
    assert hit("CarePlan?subject=Group/g", of_a_group) and not hit("CarePlan?patient:missing=false", of_a_group)


def test_a_canonical_is_found_with_and_without_its_version() -> None:
    made = plan(instantiatesCanonical=["http://x/PlanDefinition/a|1.2"])
    assert hit("CarePlan?instantiates-canonical=http://x/PlanDefinition/a|1.2", made)
    assert hit("CarePlan?instantiates-canonical=http://x/PlanDefinition/a", made)
    assert not hit("CarePlan?instantiates-canonical=http://x/PlanDefinition/a|2", made)


# -- uris -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("url=http://acme.org/fhir/ValueSet/123", True), ("url=http://acme.org/fhir/ValueSet", False),
        ("url=http://acme.org/fhir/valueset/123", False), ("url:below=http://acme.org/fhir/", True), ("url:below=http://acme.org/fhir", True),
        ("url:below=http://acme.org/fhi", False), ("url:above=http://acme.org/fhir/ValueSet/123/_history/5", True),
        ("url:above=http://acme.org/fhir/ValueSet/1234", False), ("url:above=http://acme.org/fhir/ValueSet/123", True),
    ],
)  # fmt: skip
def test_uris(query: str, found: bool) -> None:
    assert hit(f"ValueSet?{query}", {"resourceType": "ValueSet", "id": "v", "url": "http://acme.org/fhir/ValueSet/123"}) is found


# -- dates: https://hl7.org/fhir/R4/search.html#prefix, #date ----------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "value", "found"),
    [  # the table of the R4 page
        ("eq2013-01-14", "2013-01-14T00:00", True), ("eq2013-01-14", "2013-01-14T10:00", True), ("eq2013-01-14", "2013-01-15T00:00", False),
        ("ne2013-01-14", "2013-01-15T00:00", True), ("ne2013-01-14", "2013-01-14T00:00", False), ("ne2013-01-14", "2013-01-14T10:00", False),
        ("lt2013-01-14T10:00", "2013-01-14", True), ("gt2013-01-14T10:00", "2013-01-14", True),
        ("ge2013-03-14", "2013-03-14", True), ("ge2013-03-14", "2013-03-13", False), ("le2013-03-14", "2013-03-14", True),
        ("sa2013-03-14", "2013-03-15", True), ("sa2013-03-14", "2013-03-14", False), ("sa2013-03-14", "2013", False),
        ("eb2013-03-14", "2013-03-13", True), ("eb2013-03-14", "2013", False), ("ap2013-03-14", "2013", True), ("ap2013-03-14", "2014", False),
        ("2013", "2013-03", True), ("2013-03", "2013", False), ("gt2013", "2013", False), ("ge2013-03", "2013", True), ("2013-03-14,2014", "2014-05", True),
    ],
)  # fmt: skip
def test_dates_by_the_table(query: str, value: str, found: bool) -> None:
    assert hit(f"Observation?date={query}", observation(effectiveDateTime=value)) is found


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("2026", False), ("eq2026-01", False), ("gt2030", True), ("sa2025-12-31", True), ("sa2026-01-01", False), ("eb2030", False), ("lt2026", False),
        ("lt2026-02", True), ("ge2040", True), ("ap2027", True),
    ],
)  # fmt: skip
def test_a_period_without_end_goes_on_for_ever(query: str, found: bool) -> None:
    assert hit(f"CarePlan?date={query}", plan(period={"start": "2026-01-01"})) is found


def test_eq_means_contained_not_overlapping() -> None:
    made = plan(period={"start": "2026-03-10", "end": "2026-04-10"})
    assert hit("CarePlan?date=2026", made) and not hit("CarePlan?date=2026-03", made) and hit("CarePlan?date=ap2026-03", made)
    assert hit("CarePlan?date=ge2026-03-10&date=le2026-04-10", made)


def test_what_has_no_zone_is_read_in_london() -> None:
    summer, winter = date_span("2026-07-01"), date_span("2026-01-01")
    assert summer == date_span("2026-06-30T23:00:00Z")[:1] + (date_span("2026-07-01T22:59:59.999999Z") or (0, 0))[1:]  # type: ignore[index]
    assert winter and winter[0] == (date_span("2026-01-01T00:00:00Z") or (0,))[0]
    assert date_span("2026-07-01", "UTC") != summer
    short, long = date_span("2026-03-29"), date_span("2026-10-25")
    assert short and long and (short[1] - short[0] + 1, long[1] - long[0] + 1) == (23 * 3600 * 10**6, 25 * 3600 * 10**6)
    made = observation(effectiveDateTime="2026-07-01T23:30:00Z")
    assert hit("Observation?date=2026-07-02", made) and not hit("Observation?date=2026-07-01", made)


def test_a_plus_that_was_not_encoded_is_still_a_plus() -> None:
    assert hit("Observation?date=2026-07-01T10:00:00 01:00", observation(effectiveDateTime="2026-07-01T09:00:00Z"))


@pytest.mark.parametrize("text", ["9999", "9999-12", "9999-12-31", "0001", "0001-01-01", "2016-12-31T23:59:60Z", "2026-01-01T00:00:00.123456789+14:00"])
def test_dates_at_the_edge(text: str) -> None:
    span = date_span(text)
    assert span and span[0] <= span[1]


@pytest.mark.parametrize("text", ["", "26", "2026-1", "2026-00", "2026-02-29", "2026-01-01T24:00", "2026-01-01T10", "2026-01-01T10:60Z", "٢٠٢٦", "2026-01-01T00:00:00+15:00", " 2026", "2026\n"])
def test_what_is_no_date(text: str) -> None:
    assert date_span(text) is None


@given(st.integers(1990, 2040), st.integers(1, 12), st.data())
def test_a_year_holds_its_months_and_a_month_its_days(year: int, month: int, data: Any) -> None:
    day = data.draw(st.integers(1, 28))
    spans = [date_span(t) for t in (f"{year}", f"{year}-{month:02}", f"{year}-{month:02}-{day:02}", f"{year}-{month:02}-{day:02}T12:30:15")]
    for outer, inner in pairwise(spans):
        assert outer and inner and outer[0] <= inner[0] <= inner[1] <= outer[1]
    made = observation(effectiveDateTime=f"{year}-{month:02}-{day:02}")
    for prefix, found in (("", True), ("ne", False), ("ge", True), ("le", True), ("sa", False), ("eb", False)):
        assert hit(f"Observation?date={prefix}{year}", made) is found


def test_a_schedule_spans_its_events_and_bounds() -> None:
    made = {"resourceType": "ServiceRequest", "id": "s", "occurrenceTiming": {"event": ["2026-03-01", "2026-01-05"], "repeat": {"boundsPeriod": {"end": "2026-06-30"}}}}
    (key,) = [k for k in keys(made, R4) if k.name == "occurrence"]
    assert key.low is not None and key.low < 0 and key.high == (date_span("2026-06-30") or (0, 0))[1]


# -- numbers and quantities: https://hl7.org/fhir/R4/search.html#number, #quantity -------------------------------------


@pytest.mark.parametrize(
    ("query", "hits", "misses"),
    [
        ("100", (99.5, 100, 100.4), (99.4, 100.5, 101)), ("100.00", (99.995, 100), (99.99, 100.005)), ("1e2", (95, 100, 104.9), (94, 105)),
        ("lt100", (99.9,), (100, 100.1)), ("le100", (99, 100), (100.1,)), ("gt100", (100.1,), (100, 99)), ("ge100", (100, 101), (99.9,)),
        ("ne100", (99.4, 100.5), (99.5, 100)), ("sa100", (100.1,), (100,)), ("eb100", (99.9,), (100,)), ("ap100", (90, 110), (89, 111)),
        ("-3.5", (-3.5, -3.46), (3.5, -3.6)), ("0.8", (0.8, 0.75), (0.85, 0.7)),
    ],
)  # fmt: skip
def test_numbers_have_the_precision_they_are_written_with(query: str, hits: tuple[float, ...], misses: tuple[float, ...]) -> None:
    for value in hits:
        assert hit(f"Observation?value-quantity={query}", quantity(value)), value
    for value in misses:
        assert not hit(f"Observation?value-quantity={query}", quantity(value)), value


@pytest.mark.parametrize(
    ("query", "found"),
    [
        (f"5.4|{UCUM}|mg", True), ("5.4||mg", True), ("5.4", True), (f"5.4|{UCUM}|g", False), ("5.4|http://x|mg", False),
        ("5.4||milligram", True), (f"le5.4|{UCUM}|mg", True), (f"gt5.4|{UCUM}|mg", False), ("5.40e-3||mg", False),
    ],
)  # fmt: skip
def test_quantities(query: str, found: bool) -> None:
    assert hit(f"Observation?value-quantity={query}", quantity(5.4, unit="milligram", system=UCUM, code="mg")) is found


def test_a_comparator_makes_a_quantity_a_range() -> None:
    less = quantity(5, comparator="<")
    assert hit("Observation?value-quantity=lt5", less) and not hit("Observation?value-quantity=ge5", less)
    assert hit("Observation?value-quantity=lt3", less) and not hit("Observation?value-quantity=5", less)


def test_a_probability_and_an_age_range() -> None:
    risk = {"resourceType": "RiskAssessment", "id": "r", "prediction": [{"probabilityDecimal": 0.3}]}
    assert hit("RiskAssessment?probability=gt0.2", risk) and not hit("RiskAssessment?probability=gt0.3", risk)
    onset = {"resourceType": "Condition", "id": "c", "onsetRange": {"low": {"value": 40, "unit": "a"}, "high": {"value": 45, "unit": "a"}}}
    assert hit("Condition?onset-age=gt44", onset) and hit("Condition?onset-age=ap43", onset) and not hit("Condition?onset-age=43", onset)


# -- composites -------------------------------------------------------------------------------------------------------

PRESSURE = observation(component=[
    {"code": {"coding": [{"system": LOINC, "code": "8480-6"}]}, "valueQuantity": {"value": 107, "code": "mm[Hg]", "system": UCUM}},
    {"code": {"coding": [{"system": LOINC, "code": "8462-4"}]}, "valueQuantity": {"value": 60, "code": "mm[Hg]", "system": UCUM}},
])  # fmt: skip


@pytest.mark.parametrize(
    ("query", "found"),
    [
        (f"{LOINC}|8480-6$107", True), ("8480-6$lt110", True), ("8480-6$lt60", False), ("8462-4$60||mm[Hg]", True), ("8462-4$107", False),
        (f"8462-4$60|{UCUM}|mm[Hg]", True), ("8462-4$60||kPa", False), ("http://x|8480-6$107", False), ("1-1$107,8480-6$107", True),
    ],
)  # fmt: skip
def test_both_parts_of_a_composite_stand_in_one_element(query: str, found: bool) -> None:
    assert hit(f"Observation?component-code-value-quantity={query}", PRESSURE) is found


def test_composites_of_other_kinds() -> None:
    coded = observation(code={"coding": [{"code": "a"}]}, valueCodeableConcept={"coding": [{"system": "s", "code": "b"}]})
    assert hit("Observation?code-value-concept=a$s|b", coded) and not hit("Observation?code-value-concept=a$c", coded)
    dated = observation(code={"coding": [{"code": "a"}]}, valueDateTime="2026-03-01")
    assert hit("Observation?code-value-date=a$ge2026", dated) and not hit("Observation?code-value-date=b$ge2026", dated)
    said = observation(code={"coding": [{"code": "a"}]}, valueString="Fine, thank you")
    assert hit("Observation?code-value-string=a$fine", said) and not hit("Observation?code-value-string=a$thank", said)


# -- the parameters of every resource ---------------------------------------------------------------------------------


def test_the_parameters_of_every_resource() -> None:
    made = plan(meta={
        "lastUpdated": "2026-11-01T10:00:00.123Z", "profile": ["http://p/1"], "source": "http://src", "tag": [{"system": "t", "code": "x"}],
        "security": [{"system": "http://terminology.hl7.org/CodeSystem/v3-Confidentiality", "code": "R"}],
    })  # fmt: skip
    for query in (
        "_id=c", "_id=a,c", "_lastUpdated=2026-11-01", "_lastUpdated=gt2026-10&_lastUpdated=lt2026-12", "_profile=http://p/1",
        "_source=http://src", "_tag=t|x", "_security=R",
    ):  # fmt: skip
        assert hit(f"CarePlan?{query}", made), query
    assert not hit("CarePlan?_id=d", made) and not hit("CarePlan?_tag=y", made) and hit("CarePlan?_tag:not=y", made)


# -- hops -------------------------------------------------------------------------------------------------------------

ANN = patient(id="ann", name=[{"family": "Lee"}], generalPractitioner=[{"reference": "Practitioner/gp"}])
GP = {"resourceType": "Practitioner", "id": "gp", "name": [{"family": "Grey"}]}
HERS = plan(subject={"reference": "Patient/ann"}, goal=[{"reference": "Goal/g"}])
GOAL = {"resourceType": "Goal", "id": "g", "lifecycleStatus": "active", "subject": {"reference": "Patient/ann"}}


def test_chains() -> None:
    everything = (ANN, GP, GOAL)
    assert hit("CarePlan?subject:Patient.name=lee", HERS, among=everything)
    assert hit("CarePlan?patient.general-practitioner.name=grey", HERS, among=(*everything,)) is hit(
        "CarePlan?patient.general-practitioner:Practitioner.name=grey", HERS, among=everything
    )
    assert not hit("CarePlan?subject:Patient.name=x", HERS, among=everything)
    assert hit("CarePlan?goal.patient.name=lee", HERS, among=everything)


def test_a_chain_over_what_is_not_to_be_seen_finds_nothing() -> None:
    assert not hit("CarePlan?subject:Patient.name=lee", HERS, among=(GP, GOAL))
    assert not hit("Patient?_has:CarePlan:patient:status=active", ANN, among=())


def test_reverse_chains() -> None:
    assert hit("Patient?_has:CarePlan:patient:status=active", ANN, among=(HERS,))
    assert not hit("Patient?_has:CarePlan:patient:status=revoked", ANN, among=(HERS,))
    assert hit("Patient?_has:Goal:patient:_has:CarePlan:goal:status=active", ANN, among=(HERS, GOAL))


# -- what the view drops ----------------------------------------------------------------------------------------------


def test_what_the_view_drops_is_not_found_by_those_who_get_the_view() -> None:
    made = plan(goal=[{"reference": "Goal/1", "identifier": {"system": "http://g", "value": "7"}}])
    assert hit("CarePlan?goal:identifier=7", made) and not hit("CarePlan?goal:identifier=7", made, filtered=True)
    assert hit("CarePlan?goal=1", made, filtered=True)
    hidden = [k for k in keys(made, R4, view(made)) if k.hidden]
    assert hidden == [Key("goal:identifier", "token", "7", "http://g", hidden=True)]


# -- order ------------------------------------------------------------------------------------------------------------


def test_order_with_missing_values_last_either_way_and_ids_deciding() -> None:
    people = [patient(id=i, **({"birthDate": b} if b else {})) for i, b in (("d", "1950"), ("a", ""), ("c", "1940"), ("b", "1950"))]

    def order(sort: str) -> str:
        return "".join(r["id"] for r in arranged(parse("Patient", [("_sort", sort)], R4), people, filtered=lambda _: False, r4=R4))

    assert order("birthdate") == "cbda" and order("-birthdate") == "bdca" and order("-birthdate,-_id") == "dbca" and order("_id") == "abcd"


# -- includes ---------------------------------------------------------------------------------------------------------


def test_what_includes_bring() -> None:
    made = plan(subject={"reference": "Patient/ann"}, goal=[{"reference": "Goal/1"}, {"reference": "Goal/2"}, {"reference": "http://x/Goal/3"}, {"reference": "#in"}])
    one, every = parse("CarePlan", [("_include", "CarePlan:goal")], R4), parse("CarePlan", [("_include", "CarePlan:*")], R4)
    assert include_refs(one.includes, [made], R4) == [Ref("Goal", "1"), Ref("Goal", "2")]
    assert set(include_refs(every.includes, [made], R4)) == {Ref("Goal", "1"), Ref("Goal", "2"), Ref("Patient", "ann")}
    typed = parse("CarePlan", [("_include", "CarePlan:subject:Group")], R4)
    assert include_refs(typed.includes, [made], R4) == []
    assert include_refs(parse("Goal", [("_include", "Goal:patient")], R4).includes, [made], R4) == []


def test_what_reverse_includes_ask() -> None:
    (include,) = parse("Patient", [("_revinclude", "Goal:patient")], R4).includes
    assert reference_names(include, R4) == ["patient"]
    (query,) = reverse_queries(include, [Ref("Patient", "ann")], R4)
    assert matches(query, GOAL, filtered=True, r4=R4)
    assert len(reverse_queries(include, [Ref("Patient", str(n)) for n in range(250)], R4)) == 3
    (any_,) = parse("Patient", [("_revinclude", "Goal:*")], R4).includes
    assert set(reference_names(any_, R4)) == {"patient", "subject"}
    (query,) = reverse_queries(any_, [Ref("Patient", "ann")], R4)
    assert matches(query, GOAL, filtered=True, r4=R4)
    (typed,) = parse("Patient", [("_revinclude", "Goal:subject:Group")], R4).includes
    assert reverse_queries(typed, [Ref("Patient", "ann")], R4) == []
    assert parse("Patient", [("_revinclude", "*")], R4).includes == (Include("*", "*", reverse=True),)
    assert points(GOAL, [Ref("Patient", "ann")], R4) and not points(GOAL, [Ref("Patient", "bob")], R4)


# -- compartments: https://hl7.org/fhir/R4/compartmentdefinition.html --------------------------------------------------


@pytest.mark.parametrize(
    ("whose", "made", "found"),
    [
        ("Patient/ann", GOAL, True), ("Patient/bob", GOAL, False), ("Patient/ann", ANN, True), ("Patient/bob", ANN, False),
        ("Patient/ann", observation(performer=[{"reference": "Patient/ann"}]), True), ("Patient/ann", observation(focus=[{"reference": "Patient/ann"}]), False),
        ("Practitioner/gp", observation(performer=[{"reference": "Practitioner/gp"}]), True), ("Practitioner/gp", GOAL, False),
        ("Encounter/1", observation(encounter={"reference": "Encounter/1"}), True), ("Device/1", observation(device={"reference": "Device/1"}), True),
        ("RelatedPerson/1", plan(activity=[{"detail": {"performer": [{"reference": "RelatedPerson/1"}]}}]), True),
        ("Patient/ann", {"resourceType": "Task", "id": "t", "for": {"reference": "Patient/ann"}}, False),
    ],
)  # fmt: skip
def test_what_is_in_a_compartment(whose: str, made: dict[str, Any], found: bool) -> None:
    term = within(Ref(*whose.split("/")), (), R4)
    assert matches(Query((), (term,)), made, filtered=True, r4=R4) is found


def test_what_is_never_in_a_compartment_is_refused() -> None:
    for whose, type in (("Patient/1", "Organization"), ("Encounter/1", "Goal"), ("Device/1", "Patient")):
        with pytest.raises(Problem, match="never in the compartment"):
            within(Ref(*whose.split("/")), (type,), R4)


def test_one_of_several_queries_of_the_same_resource() -> None:
    either = Query((), (Term("_allowed", "special", any=(parse("CarePlan", [("status", "revoked")], R4), parse("Goal", [("lifecycle-status", "active")], R4))),))
    assert matches(either, GOAL, filtered=True, r4=R4) and not matches(either, HERS, filtered=True, r4=R4)
    assert not matches(either, ANN, filtered=True, r4=R4)


# -- every parameter of R4 --------------------------------------------------------------------------------------------


def test_every_parameter_of_r4_has_a_place_and_a_way_to_keys() -> None:
    without: set[tuple[str, str]] = set()
    count = 0
    for type in R4.types:
        for code, p in R4.search_parameters(type).items():
            if not searchable(p) or "deceased.exists()" in p.expression:
                continue
            count += 1
            found = places(p.expression, root(type), R4)
            if not found or not (p.components or any(_emitters(code, p.type, place, R4) for place in found)):
                without.add((type, code))
    assert count > 2_500 and without == set()


def test_what_r4_names_but_gives_no_way_to_search_by_content() -> None:
    """Listed in full; each is ignored, or refused when strict, like any other name."""
    without = {(code, t) for t in R4.types for code, p in R4.search_parameters(t).items() if not searchable(p)}
    everywhere = {c for c, _ in without if all((c, t) in without for t in R4.types)}
    assert everywhere == {"_text", "_content", "_filter", "_query"}
    assert {(c, t) for c, t in without if c not in everywhere} == {("near", "Location"), ("age", "Patient"), ("birthOrderBoolean", "Patient")}
    assert parse("Location", [("near", "1|2"), ("_list", "42")], R4).unknown == ("near", "_list")


NAMES = "coding code system value reference identifier start text low url extension resource resourceType id event type name".split()
SHAPES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=300)
@given(SHAPES, st.sampled_from(["CarePlan", "Patient", "Observation", "Bundle", "Goal", "ServiceRequest", "QuestionnaireResponse", "Consent"]))
def test_json_of_a_wrong_shape_has_no_keys_but_does_no_harm(value: Any, type: str) -> None:
    everywhere = {name.removesuffix("[x]"): value for name, _ in R4.type(type).children()} | {"valueQuantity": value, "occurrenceTiming": value, "meta": value}
    keys({**everywhere, "resourceType": type}, R4)


# -- official examples ------------------------------------------------------------------------------------------------


def test_official_examples_have_keys_quickly_and_the_view_has_some_of_them(shared: Path) -> None:
    spent: dict[str, list[float]] = {}
    for file in sorted((shared / "data" / "examples").rglob("*.json")):
        try:
            resource = json.loads(file.read_bytes())
        except ValueError:
            continue
        if not isinstance(resource, dict) or not R4.has_type(resource.get("resourceType", "")):
            continue
        whole = keys(resource, R4)
        start = time.process_time()
        keys(resource, R4)
        spent.setdefault(resource["resourceType"], []).append(time.process_time() - start)
        seen = view(resource)
        assert set(keys(seen, R4)) <= set(whole), file
        assert {k._replace(hidden=False) for k in keys(resource, R4, seen)} == set(whole), file
        if "id" in resource:
            assert matches(parse(resource["resourceType"], [("_id", resource["id"])], R4), resource, filtered=True, r4=R4), file
    assert sum(map(len, spent.values())) > 500
    print({t: f"{sum(s) / len(s) * 1e6:.0f} us" for t, s in spent.items() if t in ("CarePlan", "Goal", "Patient", "Observation")})


def test_a_summary_of_texts_brings_nothing_along() -> None:
    with pytest.raises(Problem, match="cannot be asked together"):
        parse("CarePlan", [("_summary", "text"), ("_include", "CarePlan:goal")], R4)
