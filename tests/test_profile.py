"""Profiles: what a StructureDefinition asks beyond R4, and where a resource is held to it."""

from __future__ import annotations

import copy
import io
import json
import random
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fhir_gateway import validating
from fhir_gateway.definitions import load_r4, read_definitions
from fhir_gateway.domain import strict
from fhir_gateway.domain.profile import Definitions
from fhir_gateway.domain.validate import check

from .conftest import Gateway, free_port, gateway

Node = dict[str, Any]
HERE = "https://profiles.test/StructureDefinition/"
CORE = "http://hl7.org/fhir/StructureDefinition/"
GOAL: Node = {"resourceType": "Goal", "lifecycleStatus": "active", "description": {"text": "Walk"}, "subject": {"reference": "Patient/1"}}
SEEN: Node = {"resourceType": "Observation", "status": "final", "code": {"text": "Steps"}}
PERSON: Node = {"resourceType": "Patient"}


def profile(type: str, *elements: Node, name: str = "p", base: str = "", **more: Any) -> Node:
    return {
        "resourceType": "StructureDefinition", "url": HERE + name, "name": name, "type": type, "derivation": "constraint",
        "kind": "resource", "baseDefinition": base or CORE + type, "differential": {"element": list(elements)}, **more,
    }  # fmt: skip


def knowing(*definitions: Node) -> Definitions:
    known = Definitions(load_r4())
    for definition in definitions:
        known.learn(definition)
    return known


def wrong(resource: Node, *definitions: Node, against: str = "p", severity: str = "error") -> list[tuple[str, str]]:
    """(where, key) of every issue of that severity."""
    asked = (HERE + against,) if against else ()
    issues = check(resource, load_r4(), definitions=knowing(*definitions), profiles=asked)
    return [(i.where, i.key) for i in issues if i.severity == severity]


def with_(base: Node, **members: Any) -> Node:
    return {**base, **members}


# -- elements ---------------------------------------------------------------------------------------------------------



@pytest.mark.parametrize(
    ("element", "good", "bad", "where", "key"),
    [
        ({"path": "Observation.subject", "min": 1}, {"subject": {"reference": "Patient/1"}}, {}, "Observation.subject", "min"),
        ({"path": "Observation.note", "max": "1"}, {"note": [{"text": "a"}]}, {"note": [{"text": "a"}, {"text": "b"}]}, "Observation.note[1]", "max"),
        ({"path": "Observation.note", "max": "0"}, {}, {"note": [{"text": "a"}]}, "Observation.note[0]", "max"),
        ({"path": "Observation.status", "fixedCode": "final"}, {}, {"status": "amended"}, "Observation.status", "fixed"),
        ({"path": "Observation.code", "fixedCodeableConcept": {"text": "Steps"}}, {},
         {"code": {"text": "Steps", "coding": [{"code": "x"}]}}, "Observation.code", "fixed"),
        ({"path": "Observation.code", "patternCodeableConcept": {"coding": [{"system": "urn:s", "code": "x"}]}},
         {"code": {"text": "t", "coding": [{"code": "y"}, {"system": "urn:s", "code": "x", "display": "X"}]}},
         {"code": {"coding": [{"code": "x"}]}}, "Observation.code", "pattern"),
        ({"path": "Observation.value[x]", "type": [{"code": "Quantity"}, {"code": "string"}]}, {"valueString": "a"},
         {"valueBoolean": True}, "Observation.valueBoolean", "type"),
        ({"path": "Observation.valueInteger", "minValueInteger": 3}, {"valueInteger": 3}, {"valueInteger": 2}, "Observation.valueInteger", "minValue"),
        ({"path": "Observation.value[x]", "maxValueQuantity": {"value": 2, "system": "http://unitsofmeasure.org", "code": "kg"}},
         {"valueQuantity": {"value": Decimal("1999.5"), "system": "http://unitsofmeasure.org", "code": "g"}},
         {"valueQuantity": {"value": Decimal("2000.5"), "system": "http://unitsofmeasure.org", "code": "g"}}, "Observation.valueQuantity", "maxValue"),
        ({"path": "Observation.issued", "minValueInstant": "2026-01-01T00:00:00Z"}, {"issued": "2026-01-02T00:00:00Z"},
         {"issued": "2025-12-31T00:00:00Z"}, "Observation.issued", "minValue"),
        ({"path": "Observation.value[x]", "maxLength": 3}, {"valueString": "abc"}, {"valueString": "abcd"}, "Observation.valueString", "maxLength"),
        ({"path": "Observation.subject", "type": [{"code": "Reference", "targetProfile": [CORE + "Patient"]}]},
         {"subject": {"reference": "Group/1"}}, {"contained": [{"resourceType": "Group", "id": "g", "type": "person", "actual": True}],
                                                 "subject": {"reference": "#g"}}, "Observation.subject", "target"),
        ({"path": "Observation", "constraint": [{"key": "own-1", "severity": "error", "human": "A note needs a subject",
                                                 "expression": "note.exists() implies subject.exists()"}]},
         {}, {"note": [{"text": "a"}]}, "Observation", "own-1"),
        ({"path": "Observation.referenceRange.low.unit", "max": "0"}, {"referenceRange": [{"low": {"value": 1}}]},
         {"referenceRange": [{"low": {"value": 1}}, {"low": {"value": 1, "unit": "a"}}]},
         "Observation.referenceRange[1].low.unit", "max"),
        ({"path": "Observation.effectiveDateTime.extension", "min": 1},
         {"effectiveDateTime": "2026", "_effectiveDateTime": {"extension": [{"url": "urn:x", "valueCode": "y"}]}},
         {"effectiveDateTime": "2026"}, "Observation.effectiveDateTime.extension", "min"),
    ],
)  # fmt: skip
def test_what_a_profile_says_of_an_element(element: Node, good: Node, bad: Node, where: str, key: str) -> None:
    asked = profile("Observation", element)
    assert wrong(with_(SEEN, **good), asked) == []
    found = wrong(with_(SEEN, **bad), asked)
    assert (where, key) in found
    assert check(with_(SEEN, **bad), load_r4()) == []  # R4 alone allows it


def test_a_snapshot_is_read_alone_and_says_the_same() -> None:
    narrow = {"path": "Observation.subject", "min": 1, "max": "1", "type": [{"code": "Reference", "targetProfile": [CORE + "Patient"]}]}
    as_snapshot = profile("Observation", **{"snapshot": {"element": [{"path": "Observation", "min": 0, "max": "*"}, narrow]}})
    as_snapshot["baseDefinition"] = HERE + "never-heard-of"
    for resource in (SEEN, with_(SEEN, subject={"reference": "Patient/1"})):
        assert wrong(resource, as_snapshot) == wrong(resource, profile("Observation", narrow))


def test_what_a_profile_derives_from_holds_too() -> None:
    base = profile("Observation", {"path": "Observation.subject", "min": 1}, name="base")
    derived = profile("Observation", {"path": "Observation.note", "min": 1}, base=HERE + "base")
    assert wrong(SEEN, base, derived) == [("Observation.subject", "min"), ("Observation.note", "min")]
    assert wrong(SEEN, derived) == [("Observation.note", "min")]  # a base that nobody knows asks nothing


def test_an_element_that_r4_does_not_have_asks_nothing() -> None:
    assert wrong(PERSON, profile("Patient", {"path": "Patient.dateOfBirth", "min": 1})) == []


@pytest.mark.parametrize(
    ("element", "allowed"),
    [
        ({"path": "Observation.valueQuantity", "min": 0}, False),  # named so, it is the only type
        ({"path": "Observation.valueQuantity.unit", "min": 1}, True),  # only what it must be where it stands
    ],
)
def test_a_type_named_in_a_path(element: Node, allowed: bool) -> None:
    found = wrong(with_(SEEN, valueString="a"), profile("Observation", element))
    assert found == ([] if allowed else [("Observation.valueString", "closed")])
    assert wrong(with_(SEEN, valueQuantity={"value": 1, "unit": "a"}), profile("Observation", element)) == []


def test_the_id_of_an_element_is_no_content() -> None:
    fixed = profile("Observation", {"path": "Observation.code", "fixedCodeableConcept": {"text": "Steps"}})
    assert wrong(with_(SEEN, code={"id": "a", "text": "Steps"}), fixed) == []


def test_content_that_is_referred_to_is_held_to_a_snapshot_that_says_so() -> None:
    asked: Node = {"resourceType": "Questionnaire", "status": "draft", "item": [
        {"linkId": "1", "type": "group", "text": "a", "item": [{"linkId": "2", "type": "display", "text": "b", "prefix": "x"}]},
    ]}  # fmt: skip
    element = {"path": "Questionnaire.item.prefix", "max": "0"}
    assert wrong(asked, profile("Questionnaire", element)) == []
    again = [{"path": "Questionnaire"}, {"path": "Questionnaire.item"}, element,
             {"path": "Questionnaire.item.item", "contentReference": "#Questionnaire.item"}]  # fmt: skip
    found = wrong(asked, profile("Questionnaire", snapshot={"element": again}))
    assert found == [("Questionnaire.item[0].item[0].prefix", "max")]


def test_a_profile_of_another_type_is_not_met() -> None:
    assert wrong(GOAL, profile("Patient")) == [("Goal", HERE + "p")]


# -- where a resource is held to one ----------------------------------------------------------------------------------


def test_what_a_resource_declares_is_checked_wherever_it_stands() -> None:
    asked = profile("Patient", {"path": "Patient.name", "min": 1})
    one = with_(PERSON, id="1", meta={"profile": [HERE + "p"]})
    assert wrong(one, asked, against="") == [("Patient.name", "min")]
    bundle = {"resourceType": "Bundle", "type": "collection", "entry": [{"fullUrl": "https://x.test/Patient/1", "resource": one}]}
    assert wrong(bundle, asked, against="") == [("Bundle.entry[0].resource.name", "min")]
    holder = with_(GOAL, contained=[one], subject={"reference": "#1"})
    assert wrong(holder, asked, against="") == [("Goal.contained[0].name", "min")]


@pytest.mark.parametrize("declared", ["https://profiles.test/StructureDefinition/other", HERE + "p|2.0"])
def test_a_profile_that_is_not_known_is_no_error(declared: str) -> None:
    asked = profile("Patient", {"path": "Patient.name", "min": 1}, version="1.0")
    assert wrong(with_(PERSON, meta={"profile": [declared]}), asked, against="") == []
    assert wrong(with_(PERSON, meta={"profile": [HERE + "p|1.0"]}), asked, against="") != []


def test_what_is_referred_to_inside_is_held_to_the_target_profile() -> None:
    target = profile("Patient", {"path": "Patient.name", "min": 1}, name="named")
    asked = profile("Goal", {"path": "Goal.subject", "type": [{"code": "Reference", "targetProfile": [HERE + "named"]}]})
    inside = with_(GOAL, contained=[with_(PERSON, id="a")], subject={"reference": "#a"})
    assert wrong(inside, asked, target) == [("Goal.contained[0].name", "min")]
    entries = [
        {"fullUrl": "https://x.test/Goal/1", "resource": with_(GOAL, id="1", meta={"profile": [HERE + "p"]})},
        {"fullUrl": "https://x.test/Patient/1", "resource": with_(PERSON, id="1")},
    ]
    bundle = {"resourceType": "Bundle", "type": "collection", "entry": entries}
    assert wrong(bundle, asked, target, against="") == [("Bundle.entry[1].resource.name", "min")]
    assert wrong(GOAL, asked, target) == []  # what is elsewhere is not fetched


def test_a_data_type_may_have_a_profile() -> None:
    typed = profile("Identifier", {"path": "Identifier.system", "min": 1}, name="id", kind="complex-type")
    asked = profile("Patient", {"path": "Patient.identifier", "type": [{"code": "Identifier", "profile": [HERE + "id"]}]})
    assert wrong(with_(PERSON, identifier=[{"system": "urn:a", "value": "1"}, {"value": "2"}]), asked, typed) == [
        ("Patient.identifier[1].system", "min")
    ]


def test_one_of_several_profiles_is_enough() -> None:
    named, born = (profile("Patient", {"path": f"Patient.{n}", "min": 1}, name=n) for n in ("name", "birthDate"))
    asked = profile("Bundle", {"path": "Bundle.entry.resource", "type": [{"code": "Patient", "profile": [HERE + "name", HERE + "birthDate"]}]})

    def bundle(resource: Node) -> Node:
        return {"resourceType": "Bundle", "type": "collection", "entry": [{"fullUrl": "urn:uuid:0199f4a0-0000-7000-8000-000000000001", "resource": resource}]}

    assert wrong(bundle(with_(PERSON, birthDate="1950-01-01")), asked, named, born) == []
    assert wrong(bundle(with_(PERSON, active=True)), asked, named, born) == [("Bundle.entry[0].resource", "profile")]
    assert wrong(bundle(GOAL), asked, named, born) == [("Bundle.entry[0].resource", "type")]


def test_a_profile_may_impose_another() -> None:
    other = profile("Patient", {"path": "Patient.name", "min": 1}, name="other")
    impose = {"url": CORE + "structuredefinition-imposeProfile", "valueCanonical": HERE + "other"}
    asked = profile("Patient", {"path": "Patient.gender", "min": 1}, extension=[impose])
    assert wrong(PERSON, asked, other) == [("Patient.gender", "min"), ("Patient.name", "min")]
    assert wrong(PERSON, asked) == [("Patient.gender", "min")]


# -- slices -----------------------------------------------------------------------------------------------------------


def sliced(by: Node, *slices: Node, path: str = "Patient.identifier", rules: str = "open", ordered: bool = False) -> Node:
    return profile(path.partition(".")[0], {"path": path, "slicing": {"discriminator": [by], "rules": rules, "ordered": ordered}}, *slices)


BY_SYSTEM = {"type": "value", "path": "system"}
NHS = [{"path": "Patient.identifier", "sliceName": "nhs", "min": 1, "max": "1"}, {"path": "Patient.identifier.system", "fixedUri": "urn:nhs"}]
ODS = [{"path": "Patient.identifier", "sliceName": "ods"}, {"path": "Patient.identifier.system", "fixedUri": "urn:ods"},
       {"path": "Patient.identifier.value", "min": 1}]  # fmt: skip
REST = [{"path": "Patient.identifier", "sliceName": "@default"}, {"path": "Patient.identifier.use", "min": 1}]


def ids(*systems: str) -> Node:
    return with_(PERSON, identifier=[{"system": s, "value": "1"} for s in systems])


def test_slices_are_counted_and_their_own_elements_checked() -> None:
    asked = sliced(BY_SYSTEM, *NHS, *ODS)
    assert wrong(ids("urn:nhs", "urn:x", "urn:ods"), asked) == []
    assert wrong(ids("urn:x"), asked) == [("Patient.identifier", "min")]
    assert wrong(ids("urn:nhs", "urn:nhs"), asked) == [("Patient.identifier[1]", "max")]
    assert wrong(with_(PERSON, identifier=[{"system": "urn:nhs"}, {"system": "urn:ods"}]), asked) == [("Patient.identifier[1].value", "min")]


@pytest.mark.parametrize(
    ("rules", "ordered", "systems", "found"),
    [
        ("closed", False, ["urn:nhs", "urn:x"], [("Patient.identifier[1]", "closed")]),
        ("openAtEnd", False, ["urn:nhs", "urn:x", "urn:ods"], [("Patient.identifier[2]", "openAtEnd")]),
        ("openAtEnd", False, ["urn:nhs", "urn:ods", "urn:x"], []),
        ("open", True, ["urn:ods", "urn:nhs"], [("Patient.identifier[1]", "ordered")]),
        ("open", True, ["urn:nhs", "urn:x", "urn:ods"], []),
    ],
)
def test_rules_and_order_of_slices(rules: str, ordered: bool, systems: list[str], found: list[tuple[str, str]]) -> None:
    assert wrong(ids(*systems), sliced(BY_SYSTEM, *NHS, *ODS, rules=rules, ordered=ordered)) == found


def test_what_fits_no_slice_meets_the_default_one() -> None:
    asked = sliced(BY_SYSTEM, *NHS, *REST, rules="closed")
    assert wrong(ids("urn:nhs"), asked) == []
    assert wrong(ids("urn:nhs", "urn:x"), asked) == [("Patient.identifier[1].use", "min")]


def test_slices_of_a_base_are_narrowed_and_resliced() -> None:
    base = {**sliced(BY_SYSTEM, *NHS), "url": HERE + "base"}
    again = [
        {"path": "Patient.identifier", "sliceName": "nhs", "slicing": {"discriminator": [{"type": "value", "path": "use"}], "rules": "closed"}},
        {"path": "Patient.identifier", "sliceName": "nhs/official"},
        {"path": "Patient.identifier.use", "fixedCode": "official"},
    ]
    derived = profile("Patient", *again, base=HERE + "base")
    good = with_(PERSON, identifier=[{"system": "urn:nhs", "use": "official"}])
    assert wrong(good, base, derived) == []
    assert wrong(ids("urn:nhs"), base, derived) == [("Patient.identifier[0]", "closed")]
    assert wrong(ids("urn:x"), base, derived) == [("Patient.identifier", "min")]


BUNDLED = {"path": "Bundle.entry", "sliceName": "who", "min": 1}
PARTS = {"path": "Observation.hasMember", "sliceName": "one", "max": "1"}


def test_slices_by_type_pattern_existence_profile_and_reference() -> None:
    entry = {"fullUrl": "https://x.test/Patient/1", "resource": with_(PERSON, id="1")}
    bundle = {"resourceType": "Bundle", "type": "collection", "entry": [entry]}
    by_type = sliced({"type": "type", "path": "resource"}, BUNDLED, {"path": "Bundle.entry.resource", "type": [{"code": "Patient"}]}, path="Bundle.entry")
    assert wrong(bundle, by_type) == []
    goal = {"fullUrl": "https://x.test/Goal/1", "resource": with_(GOAL, id="1")}
    assert wrong({**bundle, "entry": [goal]}, by_type) == [("Bundle.entry", "min")]

    named = profile("Patient", {"path": "Patient.name", "min": 1}, name="named")
    by_profile = sliced({"type": "profile", "path": "resource"}, BUNDLED,
                        {"path": "Bundle.entry.resource", "type": [{"code": "Patient", "profile": [HERE + "named"]}]}, path="Bundle.entry")  # fmt: skip
    assert wrong(bundle, by_profile, named) == [("Bundle.entry", "min")]
    assert wrong({**bundle, "entry": [{**entry, "resource": with_(entry["resource"], name=[{"text": "A"}])}]}, by_profile, named) == []
    assert wrong(bundle, by_profile) == []  # a profile that nobody here knows: it cannot be said

    by_pattern = sliced({"type": "pattern", "path": "code"}, {"path": "Observation.component", "sliceName": "a", "max": "1"},
                        {"path": "Observation.component.code", "patternCodeableConcept": {"coding": [{"code": "a"}]}}, path="Observation.component")  # fmt: skip
    part = {"code": {"coding": [{"system": "urn:s", "code": "a"}]}, "valueInteger": 1}
    assert wrong(with_(SEEN, component=[part, {**part, "code": {"text": "b"}}]), by_pattern) == []
    assert wrong(with_(SEEN, component=[part, part]), by_pattern) == [("Observation.component[1]", "max")]

    by_being = sliced({"type": "exists", "path": "value"}, {"path": "Patient.identifier", "sliceName": "known", "max": "1"},
                      {"path": "Patient.identifier.value", "min": 1})  # fmt: skip
    assert wrong(with_(PERSON, identifier=[{"value": "1"}, {"system": "urn:x"}]), by_being) == []
    assert wrong(with_(PERSON, identifier=[{"value": "1"}, {"value": "2"}]), by_being) == [("Patient.identifier[1]", "max")]

    by_target = sliced({"type": "type", "path": "resolve()"}, {**PARTS, "type": [{"code": "Reference", "targetProfile": [CORE + "MolecularSequence"]}]},
                       path="Observation.hasMember")  # fmt: skip
    members = [{"reference": "MolecularSequence/1"}, {"reference": "MolecularSequence/2"}, {"reference": "Observation/1"}]
    assert wrong(with_(SEEN, hasMember=members[1:]), by_target) == []
    assert wrong(with_(SEEN, hasMember=members), by_target) == [("Observation.hasMember[1]", "max")]


# -- codes ------------------------------------------------------------------------------------------------------------

COLOURS: Node = {
    "resourceType": "CodeSystem", "url": "urn:colours", "status": "active", "content": "complete", "hierarchyMeaning": "is-a",
    "concept": [{"code": "warm", "concept": [{"code": "red"}]}, {"code": "cold"}],
}  # fmt: skip


def value_set(*include: Node, exclude: list[Node] | None = None, **more: Any) -> Node:
    compose: Node = {"include": list(include)} | ({"exclude": exclude} if exclude else {})
    return {"resourceType": "ValueSet", "url": "urn:set", "status": "active", "compose": compose, **more}


@pytest.mark.parametrize(
    ("set_", "coding", "fits"),
    [
        (value_set({"system": "urn:a", "concept": [{"code": "x"}]}), {"system": "urn:a", "code": "x"}, True),
        (value_set({"system": "urn:a", "concept": [{"code": "x"}]}), {"system": "urn:b", "code": "x"}, False),
        (value_set({"system": "urn:colours"}), {"system": "urn:colours", "code": "red"}, True),
        (value_set({"system": "urn:unknown"}), {"system": "urn:unknown", "code": "anything"}, True),
        (value_set({"system": "urn:colours", "filter": [{"property": "concept", "op": "is-a", "value": "warm"}]}), {"system": "urn:colours", "code": "red"}, True),
        (value_set({"system": "urn:colours", "filter": [{"property": "concept", "op": "is-a", "value": "warm"}]}), {"system": "urn:colours", "code": "cold"}, False),
        (value_set({"system": "urn:snomed", "filter": [{"property": "concept", "op": "is-a", "value": "1"}]}), {"system": "urn:snomed", "code": "2"}, True),
        (value_set({"system": "urn:colours"}, exclude=[{"system": "urn:colours", "concept": [{"code": "cold"}]}]), {"system": "urn:colours", "code": "cold"}, False),
        (value_set({"valueSet": ["http://hl7.org/fhir/ValueSet/administrative-gender"]}), {"system": "http://hl7.org/fhir/administrative-gender", "code": "male"}, True),
        (value_set({"valueSet": ["urn:set"]}), {"system": "urn:a", "code": "x"}, True),  # it includes itself: it cannot be said
    ],
)  # fmt: skip
def test_a_required_binding_to_a_value_set_that_was_given(set_: Node, coding: Node, fits: bool) -> None:
    asked = profile("Observation", {"path": "Observation.code", "binding": {"strength": "required", "valueSet": "urn:set"}})
    found = wrong(with_(SEEN, code={"coding": [coding]}), asked, set_, COLOURS)
    assert found == ([] if fits else [("Observation.code", "required")])


def test_a_binding_to_a_version_that_is_not_known_cannot_be_said() -> None:
    asked = profile("Observation", {"path": "Observation.code", "binding": {"strength": "required", "valueSet": "urn:set|2"}})
    other = with_(SEEN, code={"coding": [{"system": "urn:b", "code": "x"}]})
    include = {"system": "urn:a", "concept": [{"code": "x"}]}
    assert wrong(other, asked, value_set(include, version="1")) == []
    assert wrong(other, asked, value_set(include, version="2")) == [("Observation.code", "required")]


def test_an_extensible_binding_warns() -> None:
    asked = profile("Observation", {"path": "Observation.code", "binding": {"strength": "extensible", "valueSet": "urn:set"}})
    other = with_(SEEN, code={"coding": [{"system": "urn:b", "code": "x"}]})
    definitions = (asked, value_set({"system": "urn:a", "concept": [{"code": "x"}]}))
    assert wrong(other, *definitions) == []
    assert wrong(other, *definitions, severity="warning") == [("Observation.code", "extensible")]
    assert wrong(SEEN, *definitions, severity="warning") == []  # words alone are always allowed


def test_a_code_of_a_code_system_that_was_given_must_be_one_of_its_codes() -> None:
    assert wrong(with_(SEEN, code={"coding": [{"system": "urn:colours", "code": "blue"}]}), COLOURS, against="") == [("Observation.code.coding[0]", "")]


# -- extensions -------------------------------------------------------------------------------------------------------

MOOD = profile(
    "Extension",
    {"path": "Extension.extension", "max": "0"},
    {"path": "Extension.url", "fixedUri": HERE + "mood"},
    {"path": "Extension.value[x]", "min": 1, "type": [{"code": "integer"}], "minValueInteger": 1},
    name="mood", kind="complex-type", context=[{"type": "element", "expression": "Goal"}],
)  # fmt: skip


SPELL = profile(
    "Extension",
    {"path": "Extension.extension", "sliceName": "from", "min": 1, "max": "1"},
    {"path": "Extension.extension.url", "fixedUri": "from"},
    {"path": "Extension.url", "fixedUri": HERE + "spell"},
    {"path": "Extension.value[x]", "max": "0"},
    name="spell", kind="complex-type", context=[{"type": "element", "expression": "Element"}],
)  # fmt: skip


@pytest.mark.parametrize(
    ("holder", "found"),
    [
        (with_(GOAL, extension=[{"url": HERE + "mood", "valueInteger": 5}]), []),
        (with_(GOAL, extension=[{"url": HERE + "mood", "valueInteger": 0}]), [("Goal.extension[0].valueInteger", "minValue")]),
        (with_(GOAL, extension=[{"url": HERE + "mood", "valueString": "5"}]), [("Goal.extension[0].valueString", "type")]),
        (with_(PERSON, extension=[{"url": HERE + "mood", "valueInteger": 5}]), [("Patient.extension[0]", "")]),
        (with_(GOAL, modifierExtension=[{"url": HERE + "mood", "valueInteger": 5}]), [("Goal.modifierExtension[0]", "")]),
        (with_(GOAL, extension=[{"url": HERE + "unheard", "valueInteger": 0}]), []),
        (with_(GOAL, extension=[{"url": HERE + "spell", "extension": [{"url": "from", "valueDate": "2026"}]}]), []),
        (with_(GOAL, extension=[{"url": HERE + "spell", "extension": [{"url": "until", "valueDate": "2026"}]}]),
         [("Goal.extension[0].extension", "min"), ("Goal.extension[0].extension[0]", "part")]),
    ],
)  # fmt: skip
def test_an_extension_whose_definition_was_given_is_held_to_it(holder: Node, found: list[tuple[str, str]]) -> None:
    assert wrong(holder, MOOD, SPELL, against="") == found


def test_extensions_are_slices_by_their_url() -> None:
    asked = profile("Goal", {"path": "Goal.extension", "sliceName": "mood", "min": 1, "max": "1", "type": [{"code": "Extension", "profile": [HERE + "mood"]}]})
    one = {"url": HERE + "mood", "valueInteger": 5}
    assert wrong(with_(GOAL, extension=[{"url": "urn:other", "valueCode": "x"}, one]), asked, MOOD) == []
    assert wrong(GOAL, asked, MOOD) == [("Goal.extension", "min")]
    assert wrong(with_(GOAL, extension=[one, one]), asked, MOOD) == [("Goal.extension[1]", "max")]


def test_an_extension_that_a_profile_names_may_stand_as_often_as_its_own_definition_says() -> None:
    once = copy.deepcopy(MOOD)
    once["differential"]["element"].insert(0, {"path": "Extension", "max": "1"})
    asked = profile("Goal", {"path": "Goal.extension", "sliceName": "mood", "type": [{"code": "Extension", "profile": [HERE + "mood"]}]})
    two = [{"url": HERE + "mood", "valueInteger": n} for n in (5, 6)]
    assert wrong(with_(GOAL, extension=two), asked, once) == [("Goal.extension[1]", "max")]
    assert wrong(with_(GOAL, extension=two), asked, MOOD) == []


# -- the command ------------------------------------------------------------------------------------------------------


def test_a_line_may_name_a_profile_and_bring_its_definitions() -> None:
    asked = profile("Patient", {"path": "Patient.name", "min": 1})
    sent = [{"id": 1, "resource": PERSON, "profile": HERE + "p"}, {"id": 2, "resource": PERSON, "profile": HERE + "p", "supporting": [json.dumps(asked)]},
            {"id": 3, "resource": with_(PERSON, meta={"profile": [HERE + "p"]})}]  # fmt: skip
    sink = io.BytesIO()
    assert validating.lines(io.BytesIO("\n".join(map(json.dumps, sent)).encode()), sink) == 0
    assert [json.loads(line)["valid"] for line in sink.getvalue().splitlines()] == [True, False, False]


def test_a_folder_of_definitions_is_known(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "p.json").write_text(json.dumps(profile("Patient", {"path": "Patient.name", "min": 1})))
    (tmp_path / "note.json").write_text("not a definition")
    resource = tmp_path / "one.json"
    resource.write_text(json.dumps(with_(PERSON, meta={"profile": [HERE + "p"]})))
    assert validating.run([resource], json_lines=True) == 0
    assert validating.run([resource], definitions=tmp_path / "deep", json_lines=True) == 1
    assert validating.run([resource], definitions=resource, json_lines=True) == 2


def test_judging_leaves_the_resource_as_it_was(shared: Path) -> None:
    known = read_definitions(shared / "data" / "ukcore")
    for file in sorted((shared / "data" / "examples" / "ukcore").glob("*/*.json"))[:60]:
        resource = json.loads(file.read_bytes())
        before = copy.deepcopy(resource)
        url = f"https://fhir.hl7.org.uk/StructureDefinition/UKCore-{resource['resourceType']}"
        check(resource, load_r4(), definitions=known, profiles=(url,))
        assert resource == before


# -- on write ---------------------------------------------------------------------------------------------------------


def test_a_write_is_held_to_the_profile_that_it_declares(tmp_path: Path) -> None:
    folder = tmp_path / "definitions"
    folder.mkdir()
    asked = profile("Goal", {"path": "Goal.statusDate", "min": 1}, {"path": "Goal.note", "max": "0"})
    (folder / "goal.json").write_text(json.dumps(asked))
    with gateway(tmp_path, "--demo", GATEWAY_DEFINITIONS=str(folder)) as g:
        mine = with_(GOAL, subject={"reference": f"Patient/{g.patient}"}, meta={"profile": [HERE + "p"]})
        refused = g.call("patient", "POST", "Goal", body=mine)
        assert refused.status_code == 422
        (issue,) = refused.json()["issue"]
        assert (issue["expression"], issue["code"]) == (["Goal.statusDate"], "required") and "`statusDate`" in issue["diagnostics"]
        assert g.call("patient", "POST", "Goal", body=with_(mine, statusDate="2026-01-01")).status_code == 201
        assert g.call("patient", "POST", "Goal", body=with_(mine, meta={"profile": [HERE + "unheard"]})).status_code == 201
        assert g.call("patient", "POST", "Goal", body={k: v for k, v in mine.items() if k != "meta"}).status_code == 201


def test_definitions_that_are_no_folder_stop_the_start_in_one_sentence(tmp_path: Path) -> None:
    g = Gateway(tmp_path / "data", free_port(), {"GATEWAY_DEFINITIONS": str(tmp_path / "none")})
    done = g.command("serve", "--demo")
    assert done.returncode == 2 and done.stderr.count("\n") == 1 and "GATEWAY_DEFINITIONS" in done.stderr


def test_each_example_that_its_own_definitions_refuse_is_listed_with_its_reason(shared: Path) -> None:
    """UK Core, PCO and SDC examples that R4 accepts."""
    listed = (Path(__file__).parent.parent / "docs" / "validation.md").read_text()
    count = 0
    for source in ("ukcore", "pco", "sdc"):
        known = read_definitions(shared / "data" / source)
        for file in sorted((shared / "data" / "examples" / source).glob("*/*.json")):
            resource = strict.read(file.read_bytes())
            uk = (f"https://fhir.hl7.org.uk/StructureDefinition/UKCore-{resource['resourceType']}",) if source == "ukcore" else ()
            if any(i.severity == "error" for i in check(resource, load_r4())):
                continue
            count += 1
            if any(i.severity == "error" for i in check(resource, load_r4(), definitions=known, profiles=uk)):
                assert f"`{file.relative_to(shared / 'data' / 'examples')}`" in listed, file
    assert count > 300


# -- whatever comes ---------------------------------------------------------------------------------------------------

ODD: list[Any] = [0, -1, True, "", "x", "*", "a.b[x]", "$this", [], {}, [[]], [{}], {"a": 1}, {"url": [1]}, {"resourceType": "Patient"}, Decimal("1.5")]
EXTENDED = with_(GOAL, contained=[with_(PERSON, id="a")], subject={"reference": "#a"}, extension=[
    {"url": HERE + "mood", "valueInteger": 5}, {"url": HERE + "spell", "extension": [{"url": "from", "valueDate": "2026"}]},
])  # fmt: skip
WHOLE = [
    (ids("urn:nhs", "urn:ods", "urn:x"), [sliced(BY_SYSTEM, *NHS, *ODS, *REST, rules="closed", ordered=True)]),
    (EXTENDED, [MOOD, SPELL, profile("Goal", {"path": "Goal.extension", "sliceName": "mood", "min": 1, "type": [{"code": "Extension", "profile": [HERE + "mood"]}]},
                                     {"path": "Goal.subject", "type": [{"code": "Reference", "targetProfile": [CORE + "Patient"]}]})]),
    (with_(SEEN, code={"coding": [{"system": "urn:colours", "code": "red"}]}),
     [COLOURS, value_set({"system": "urn:colours", "filter": [{"property": "concept", "op": "is-a", "value": "warm"}]}),
      profile("Observation", {"path": "Observation.code", "binding": {"strength": "required", "valueSet": "urn:set"}},
              {"path": "Observation", "constraint": [{"key": "own-1", "severity": "error", "human": "h", "expression": "note.empty() or subject.resolve().exists()"}]})]),
]  # fmt: skip


def spots(node: Any) -> list[tuple[Any, Any]]:
    items = list(node.items()) if isinstance(node, dict) else list(enumerate(node)) if isinstance(node, list) else []
    return [(node, k) for k, _ in items] + [s for _, v in items for s in spots(v)]


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(WHOLE), st.randoms(use_true_random=False))
def test_nothing_makes_it_fail(case: tuple[Node, list[Node]], chance: random.Random) -> None:
    """Any value in any place of a resource or a definition: issues, never an exception."""
    resource, definitions = copy.deepcopy(case)
    for _ in range(chance.choice([1, 2, 3])):
        holder, key = chance.choice(spots([resource, *definitions][chance.randrange(len(definitions) + 1)]))
        holder[key] = copy.deepcopy(chance.choice(ODD))
    assert isinstance(wrong(resource, *definitions), list)
