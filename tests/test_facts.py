"""What a decision may know of one resource version."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir_gateway.domain.facts import decode, derive, encode
from fhir_gateway.domain.labels import Labels, LabelSets, label
from fhir_gateway.domain.periods import interval, micros
from fhir_gateway.domain.types import Facts, Ref, Writer

EXAMPLES = Path(__file__).parents[2] / "shared" / "data" / "examples"
SETS = LabelSets.load((Path(__file__).parents[1] / "profiles" / "labels.json").read_bytes())
AT = datetime(2026, 11, 24, 12, tzinfo=UTC)
WRITER = Writer("Practitioner/w", "Organization/w")


def facts(type: str, **elements: Any) -> Facts:
    resource = {"resourceType": type, "id": "1", **elements}
    return derive(resource, Ref(type, "1"), AT, WRITER, Labels("N"), "Patient/first")


def test_authors_are_those_it_names_and_those_who_wrote_it():
    f = facts(
        "Condition",
        recorder={"reference": "Practitioner/r", "identifier": {"system": "urn:sds", "value": "7"}},
        asserter={"reference": "PractitionerRole/a/_history/2"},
        subject={"reference": "Patient/p"},
    )
    assert f.authors == {"Practitioner/r", "urn:sds|7", "PractitionerRole/a", "Practitioner/w", "Organization/w", "Patient/first"}


def observed(writer: Writer, *who: str, before: Facts | None = None, called: frozenset[str] = frozenset()) -> Facts:
    resource = {"resourceType": "Observation", "id": "1", "performer": [{"reference": w} for w in who]}
    return derive(resource, Ref("Observation", "1"), AT, writer, Labels("N"), called=called, before=before)


def test_what_authorship_opens_rests_on_version_1_and_on_who_was_vouched_for():
    first = {"Practitioner/w", "Organization/w"}
    new = observed(WRITER, "Practitioner/x", "PractitionerRole/w", called=frozenset({"Practitioner/w", "PractitionerRole/w"}))
    assert new.makers == first | {"PractitionerRole/w"} and "Practitioner/x" in new.authors
    by_another = observed(Writer("Practitioner/y", "Organization/y"), "Practitioner/y", "PractitionerRole/w", before=new, called=frozenset({"Practitioner/y"}))
    assert by_another.makers == new.makers and {"Practitioner/y", "Organization/y", "Practitioner/x"} <= by_another.authors
    assert observed(WRITER, "Practitioner/z", before=by_another).makers == first, "who is taken out, or put in by the maker, is none"
    contributor = Writer("Device/h", "Organization/h", kind="system", contributor=True)
    assert "Practitioner/x" in observed(contributor, "Practitioner/x").makers
    assert observed(contributor, "Organization/h", before=new).makers == first, "not in what others made"
    assert "Practitioner/x" in observed(Writer("Device/o", kind="operator"), "Practitioner/x", before=new).makers


def test_a_performer_is_an_author_of_what_was_done_and_not_of_what_is_asked():
    asked = {"reference": "Organization/x"}
    assert "Organization/x" in facts("Observation", performer=[asked]).authors
    assert "Organization/x" in facts("Procedure", performer=[{"actor": asked}]).authors
    assert "Organization/x" not in facts("ServiceRequest", performer=[asked]).authors
    assert "Organization/x" not in facts("Task", owner=asked).authors
    assert "Organization/x" not in facts("CareTeam", participant=[{"member": asked}]).authors
    assert "Organization/x" in facts("Communication", sender=asked).authors
    assert "Organization/x" not in facts("CommunicationRequest", sender=asked).authors
    assert "Organization/x" in facts("Task", requester=asked).authors


def test_references_go_out_from_every_depth_by_id_and_by_identifier():
    f = facts(
        "CarePlan",
        goal=[{"reference": "Goal/g"}],
        activity=[{"detail": {"performer": [{"type": "RelatedPerson", "identifier": {"system": "s", "value": "v"}}]}}],
        contained=[{"resourceType": "Condition", "id": "c", "subject": {"reference": "Patient/p"}}],
        addresses=[{"reference": "#c"}],
        extension=[{"url": "u", "valueReference": {"reference": "Observation/o/_history/3"}}],
        identifier=[{"system": "s", "value": "not a reference"}],
    )
    assert f.refs == {"Goal/g", "s|v", "Patient/p", "Observation/o"}


def test_a_consent_that_permits_nobody_in_particular_names_anyone():
    def refs(provision: dict[str, Any]) -> frozenset[str]:
        return facts("Consent", provision=provision).refs

    actor = [{"role": {"text": "x"}, "reference": {"reference": "Organization/o"}}]
    assert refs({"type": "permit"}) == {"*"}
    assert refs({"type": "permit", "actor": actor}) == {"Organization/o"}
    assert refs({"type": "deny", "provision": [{"type": "permit"}]}) == {"*"}
    assert refs({"provision": [{"type": "deny"}, {"type": "permit", "actor": actor}]}) == {"Organization/o"}
    assert refs({"type": "deny"}) == frozenset()
    assert "*" not in facts("Goal", provision={"type": "permit"}).refs


def test_codes_are_those_of_every_coding_but_not_of_quantities_states_and_labels():
    f = facts(
        "Condition",
        meta={"security": [{"system": "label", "code": "R"}]},
        clinicalStatus={"coding": [{"system": "state", "code": "active"}]},
        code={"coding": [{"system": "s", "code": "a"}, {"code": "b"}]},
        stage=[{"summary": {"coding": [{"system": "s", "code": "c", "display": "x"}]}}],
        onsetAge={"value": 3, "unit": "year", "system": "http://unitsofmeasure.org", "code": "a"},
    )
    assert f.codes == {"s|a", "|b", "s|c"}


@pytest.mark.parametrize(
    ("type", "elements", "low", "high"),
    [
        ("Observation", {"effectiveDateTime": "2024-05-01"}, "2024-05-01", "2024-05-01"),
        ("Condition", {"onsetDateTime": "1990", "recordedDate": "2020-02-03"}, "1990", "2020-02-03"),
        ("Goal", {"startDate": "2026-01-01", "statusDate": "2026-02"}, "2026-01-01", "2026-02"),
        ("ServiceRequest", {"occurrenceTiming": {"event": ["2026-03-01T10:00:00Z"]}}, "2026-03-01T10:00:00Z", "2026-03-01T10:00:00Z"),
        ("Specimen", {"collection": {"collectedDateTime": "2019-02-01"}, "receivedTime": "2019-02-03"}, "2019-02-01", "2019-02-03"),
        ("DocumentReference", {"date": "2026-01-01T00:00:00Z", "context": {"period": {"start": "2011", "end": "2012"}}}, "2011", "2026-01-01T00:00:00Z"),
        ("Composition", {"date": "2020", "event": [{"period": {"start": "2018", "end": "2019"}}, {"code": []}]}, "2018", "2020"),
        ("AllergyIntolerance", {"lastOccurrence": "2021", "reaction": [{"onset": "2001"}]}, "2001", "2021"),
        ("Goal", {"startDate": "2026-01-01", "target": [{"dueDate": "2030-01-01"}]}, "2026-01-01", "2026-01-01"),
        ("Patient", {"birthDate": "1950-01-01"}, None, None),
        ("Goal", {}, None, None),
        ("Goal", {"startDate": "soon"}, None, None),
    ],
)  # fmt: skip
def test_dates_span_everything_it_says_about_when(type, elements, low, high):
    f = facts(type, **elements)
    assert f.low == (interval(low)[0] if low else None)
    assert f.high == (interval(high)[1] if high else None)


def test_an_open_period_is_open():
    f = facts("CarePlan", period={"start": "2026-01-01"}, created="2026-02-01")
    assert f.low == interval("2026-01-01")[0] and f.high is None


def test_the_rest():
    f = facts(
        "DocumentReference",
        meta={"source": "urn:system", "profile": ["http://x/p|1.0", "http://x/q"]},
        custodian={"reference": "Organization/c"},
        subject={"reference": "Patient/p"},
    )
    assert (f.custodian, f.source, f.profiles) == ("Organization/c", "urn:system", {"http://x/p", "http://x/q"})
    assert (f.type, f.id, f.patients, f.updated) == ("DocumentReference", "1", ("Patient/p",), micros(AT))
    assert facts("Patient", managingOrganization={"reference": "Organization/m"}).custodian == "Organization/m"


def test_a_patient_is_its_own_by_the_id_it_is_stored_under():
    new = derive({"resourceType": "Patient", "id": "theirs"}, Ref("Patient", "ours"), AT, WRITER, Labels("N"))
    assert new.patients == ("Patient/ours",)


names = st.frozensets(st.text(max_size=8), max_size=4)
some = st.builds(
    Facts, type=st.text(max_size=5), id=st.text(max_size=5), patients=st.lists(st.text(max_size=8), max_size=3).map(tuple),
    confidentiality=st.sampled_from("ULMNRV"), sensitivity=names, other_labels=names, legal=names, profiles=names, codes=names,
    authors=names, custodian=st.none() | st.text(max_size=5), source=st.none() | st.text(max_size=5), refs=names,
    low=st.none() | st.integers(-(2**53), 2**53), high=st.none() | st.integers(-(2**53), 2**53), updated=st.integers(0, 2**53),
    origin=st.none() | names, makers=names, keeper=st.none() | st.text(max_size=5), custodians=names, sources=names,
    sourced=st.none() | st.text(max_size=5),
)  # fmt: skip


@given(some)
def test_facts_survive_as_bytes(f):
    assert decode(encode(f)) == f


def test_every_real_resource_has_facts_that_survive():
    if not EXAMPLES.exists():
        pytest.skip("../shared/data/examples is not here")
    seen = 0
    for file in sorted(EXAMPLES.rglob("*.json")):
        resource = json.loads(file.read_text())
        if not isinstance(resource, dict) or "resourceType" not in resource:
            continue
        seen += 1
        f = derive(resource, Ref(resource["resourceType"], "1"), AT, WRITER, label(resource, SETS))
        assert decode(encode(f)) == f, file
        assert f.low is None or f.high is None or f.low <= f.high, file
    assert seen > 900
