"""Patches as pure functions: RFC 6902, FHIRPath Patch, and what both may never do."""

from __future__ import annotations

import copy
import json
import xml.etree.ElementTree as ET
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir_gateway import definitions
from fhir_gateway.domain import patch, pathpatch, strict
from fhir_gateway.domain.entries import same
from fhir_gateway.domain.problem import Problem
from fhir_gateway.domain.view import restore, view

from .test_view import plans

R4 = definitions.load_r4()
FHIR = "{http://hl7.org/fhir}"
XHTML = "{http://www.w3.org/1999/xhtml}"


# -- JSON Patch -------------------------------------------------------------------------------------------------------


def test_the_outside_cases_of_json_patch(shared: Path) -> None:
    cases = json.loads((shared / "suites/json-patch-tests.json").read_text())
    assert len(cases) >= 16
    for case in cases:
        before = copy.deepcopy(case["doc"])
        if "error" in case:
            with pytest.raises(Problem) as wrong:
                patch.applied(case["doc"], case["patch"])
            assert wrong.value.status in (400, 422), case["comment"]
        else:
            assert patch.applied(case["doc"], case["patch"]) == case["expected"], case["comment"]
        assert case["doc"] == before, case["comment"]


GOAL = {
    "resourceType": "Goal", "id": "1", "description": {"text": "Sing"}, "note": [{"text": "one"}, {"text": "two"}],
    "target": [{"detailQuantity": {"value": Decimal("1.50")}}],
}  # fmt: skip


def op(name: str, path: str, value: Any = None, **more: Any) -> dict[str, Any]:
    return {"op": name, "path": path, **({} if value is None else {"value": value}), **more}


def test_decimals_keep_their_digits_and_are_compared_by_value() -> None:
    path = "/target/0/detailQuantity/value"
    done = patch.patched(GOAL, [op("test", path, Decimal("1.5")), op("add", "/x", Decimal("2.00")), op("replace", "/id", "2")])
    assert b'"value":1.50' in strict.dump(done) and b'"x":2.00' in strict.dump(done)


@pytest.mark.parametrize("value", [1, "true", None, [True]])
def test_true_is_nothing_but_true(value: Any) -> None:
    with pytest.raises(Problem):
        patch.applied({"a": True}, [{"op": "test", "path": "/a", "value": value}])


def test_what_is_left_empty_is_left_out() -> None:
    done = patch.patched(GOAL, [op("remove", "/note/0"), op("remove", "/note/0"), op("remove", "/description/text")])
    assert "note" not in done and "description" not in done
    assert patch.patched(GOAL, [op("add", "/addresses", []), op("add", "/addresses/-", {"reference": "Condition/1"})])["addresses"] == [
        {"reference": "Condition/1"}
    ]


@pytest.mark.parametrize(
    "operations",
    [
        {}, "x", None, [1], [[]], [{}], [{"op": "frob", "path": ""}], [{"op": "add", "path": "/a"}], [{"op": "add", "value": 1}],
        [{"op": "add", "path": "a", "value": 1}], [{"op": "add", "path": 7, "value": 1}], [{"op": "add", "path": "/~2", "value": 1}],
        [{"op": "copy", "path": "/a"}], [{"op": "move", "path": "/note/0/text", "from": "/note"}], [{"op": ["add"], "path": "/a"}],
    ],
)  # fmt: skip
def test_what_is_no_json_patch_is_a_bad_request(operations: Any) -> None:
    with pytest.raises(Problem) as wrong:
        patch.patched(GOAL, operations)
    assert wrong.value.status == 400


@pytest.mark.parametrize(
    "operation",
    [
        op("remove", "/nothing"), op("replace", "/nothing", 1), op("add", "/note/9", {}), op("add", "/note/01", {}), op("add", "/note/-1", {}),
        op("add", "/note/1e0", {}), op("add", "/note/١", {}), op("remove", "/note/-"), op("add", "/id/x", 1), op("test", "/note/2", 1),
        op("copy", "/x", **{"from": "/nothing"}), op("move", "/x", **{"from": "/note/7"}), op("add", "/a/b/c", 1), op("remove", ""),
        op("replace", "", "text"),
    ],
)  # fmt: skip
def test_what_leads_nowhere_cannot_be_applied(operation: dict[str, Any]) -> None:
    with pytest.raises(Problem) as wrong:
        patch.patched(GOAL, [operation])
    assert wrong.value.status == 422


def test_a_patch_cannot_grow_without_measure() -> None:
    bomb = [op("copy", "/note/-", **{"from": "/note"}) for _ in range(40)]
    deep = [op("add", "/x", {"a": 1}), *(op("copy", "/x/" + "b/" * i + "b", **{"from": "/x"}) for i in range(200))]
    for operations in (bomb, deep):
        with pytest.raises(Problem) as wrong:
            patch.patched(GOAL, operations)
        assert wrong.value.status in (413, 422)
    with pytest.raises(Problem) as many:
        patch.patched(GOAL, [op("test", "/id", "1")] * 501)
    assert many.value.status == 413


values = st.recursive(
    st.one_of(st.booleans(), st.integers(-9, 9), st.text("ab~/", max_size=3)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text("ab~/1", max_size=2), inner, max_size=3)),
    max_leaves=8,
)
pointers = st.lists(st.sampled_from(["a", "b", "~0", "~1", "0", "1", "-", ""]), max_size=3).map(lambda s: "".join("/" + x for x in s))
operations = st.lists(
    st.fixed_dictionaries({"op": st.sampled_from(patch.OPERATIONS), "path": pointers, "from": pointers, "value": values}), max_size=5
)


@given(st.dictionaries(st.text("ab~/", max_size=2), values, max_size=4), operations)
def test_a_patch_changes_all_or_nothing_and_never_its_input(document: dict[str, Any], some: list[Any]) -> None:
    before, asked = copy.deepcopy(document), copy.deepcopy(some)
    try:
        patch.applied(document, some)
    except Problem as p:
        assert p.status in (400, 422)
    assert document == before and some == asked


@given(values)
def test_add_then_remove_is_nothing(value: Any) -> None:
    assert patch.applied(GOAL, [{"op": "add", "path": "/zz", "value": value}, op("remove", "/zz")]) == GOAL


@given(plans)
def test_a_patch_of_nothing_by_a_filtered_reader_leaves_the_whole(whole: dict[str, Any]) -> None:
    assert same(restore(whole, patch.patched(view(whole), [])), whole)
    assert same(restore(whole, pathpatch.patched(view(whole), {"resourceType": "Parameters"}, R4)), whole)


@given(plans, st.sampled_from(["/title", "/status"]), st.text(min_size=1, max_size=3))
def test_a_patch_of_one_element_by_a_filtered_reader_leaves_the_others(whole: dict[str, Any], path: str, value: str) -> None:
    after = restore(whole, patch.patched(view(whole), [op("add", path, value)]))
    assert after.pop(path[1:]) == value
    assert same(after, {k: v for k, v in whole.items() if k != path[1:]})


# -- FHIRPath Patch ---------------------------------------------------------------------------------------------------


def from_xml(node: ET.Element, path: str) -> dict[str, Any]:
    """One element of the suite's XML as FHIR JSON, by the official tables."""
    out: dict[str, Any] = {k: v for k, v in node.attrib.items() if k != "value"}
    for child in node:
        if child.tag.startswith(XHTML):
            out["div"] = " ".join(ET.tostring(child, encoding="unicode").replace("html:", "").replace(":html", "").split())
            continue
        name = child.tag.removeprefix(FHIR)
        if path == "" or name[:1].isupper():
            return {"resourceType": name, **from_xml(child, name)}
        below = "Extension" if name == "extension" else f"{path}.{name}"
        element = R4.element("Patient.extension" if name == "extension" else below)
        assert element is not None, below
        inner = from_xml(child, below)
        value: Any = inner
        if "value" in child.attrib:
            value = child.attrib["value"]
            kinds = {t for t in element.types}
            value = value == "true" if kinds == {"boolean"} else int(value) if kinds == {"integer"} else value
        if element.many:
            out.setdefault(name, []).append(value)
            if "value" in child.attrib and inner:
                raise AssertionError("twins in lists are not in the suite")
        else:
            out[name] = value
            if "value" in child.attrib and inner:
                out["_" + name] = inner
    return out


def test_the_outside_cases_of_fhirpath_patch(shared: Path) -> None:
    tests = ET.parse(shared / "suites/fhir-patch-tests.xml").getroot()
    cases = tests.findall("case")
    assert len(cases) >= 30
    for case in cases:
        name = case.attrib["name"]
        before = from_xml(case.find("input"), "")  # type: ignore[arg-type]
        parameters = from_xml(case.find("diff"), "")  # type: ignore[arg-type]
        if case.find("error") is not None:
            with pytest.raises(Problem) as wrong:
                pathpatch.patched(before, parameters, R4)
            assert wrong.value.status == 422, name
            continue
        expected = from_xml(case.find("output"), "")  # type: ignore[arg-type]
        done = pathpatch.patched(before, parameters, R4)
        assert flat(done) == flat(expected), name


def flat(resource: dict[str, Any]) -> dict[str, Any]:
    """Narrative without its white space: the suite writes it by hand."""
    if "text" not in resource:
        return resource
    div = "".join(resource["text"]["div"].split())
    return {**resource, "text": {**resource["text"], "div": div}}


def change(type: str, path: str, **parts: Any) -> dict[str, Any]:
    """One operation; `value` is given whole, as the part's own members."""
    held = [{"name": "type", "valueCode": type}, {"name": "path", "valueString": path}]
    for name, value in parts.items():
        if name == "value":
            held.append({"name": name, **value})
        else:
            held.append({"name": name, **({"valueInteger": value} if isinstance(value, int) else {"valueString": value})})
    return {"name": "operation", "part": held}


def parameters(*operations: dict[str, Any]) -> dict[str, Any]:
    return {"resourceType": "Parameters", **({"parameter": list(operations)} if operations else {})}


PATIENT = {
    "resourceType": "Patient", "id": "1", "birthDate": "1950-01-01", "_birthDate": {"extension": [{"url": "u", "valueString": "v"}]},
    "name": [{"use": "official", "family": "Example", "given": ["A", "B"], "_given": [None, {"id": "b"}]}, {"use": "nickname", "given": ["Gee"]}],
    "telecom": [{"system": "phone", "value": "1", "rank": 1}, {"system": "email", "value": "a@b", "rank": 2}],
    "deceasedBoolean": False, "multipleBirthInteger": 2,
    "extension": [{"url": "http://x/1", "valueQuantity": {"value": Decimal("1.50")}}, {"url": "http://x/2", "valueBoolean": True}],
}  # fmt: skip


def done(*operations: dict[str, Any]) -> dict[str, Any]:
    return pathpatch.patched(PATIENT, parameters(*operations), R4)


def test_places_are_found_by_what_they_hold() -> None:
    assert done(change("replace", "Patient.name.where(use = 'nickname').given[0]", value={"valueString": "G"}))["name"][1]["given"] == ["G"]
    assert done(change("delete", "Patient.name.where(family.exists() and use='official')"))["name"] == [PATIENT["name"][1]]  # type: ignore[index]
    assert done(change("delete", "Patient.telecom.where(rank = 2)"))["telecom"] == PATIENT["telecom"][:1]  # type: ignore[index]
    assert done(change("delete", "Patient.name.where(family.exists().not())"))["name"] == PATIENT["name"][:1]  # type: ignore[index]
    assert done(change("delete", "name.last()"))["name"] == PATIENT["name"][:1]  # type: ignore[index]
    assert done(change("delete", "Patient.extension('http://x/2')"))["extension"] == PATIENT["extension"][:1]  # type: ignore[index]
    assert done(change("delete", "Patient.extension.where(value.ofType(boolean) = true)"))["extension"] == PATIENT["extension"][:1]  # type: ignore[index]


def test_a_choice_is_called_by_its_stem_and_may_change_its_type() -> None:
    after = done(change("replace", "Patient.deceased", value={"valueDateTime": "2026-01-01"}))
    assert after["deceasedDateTime"] == "2026-01-01" and "deceasedBoolean" not in after
    assert "deceasedBoolean" not in done(change("delete", "(Patient.deceased as boolean)"))
    assert done(change("delete", "Patient.deceased.ofType(dateTime)")) == PATIENT
    with pytest.raises(Problem):
        done(change("add", "Patient", name="birthDate", value={"valueDate": "1960-01-01"}))
    added = done(change("delete", "Patient.multipleBirth"), change("add", "Patient", name="multipleBirth", value={"valueBoolean": True}))
    assert added["multipleBirthBoolean"] is True


def test_a_primitive_and_its_extensions_move_together() -> None:
    assert "_birthDate" not in done(change("replace", "Patient.birthDate", value={"valueDate": "1960-01-01"}))
    assert done(change("delete", "Patient.name[0].given[0]"))["name"][0]["_given"] == [{"id": "b"}]
    assert done(change("move", "Patient.name[0].given", source=1, destination=0))["name"][0]["_given"] == [{"id": "b"}, None]
    assert done(change("insert", "Patient.name[0].given", index=0, value={"valueString": "Z"}))["name"][0]["_given"] == [None, None, {"id": "b"}]
    assert "_given" not in done(change("delete", "Patient.name[0].given[1]"))["name"][0]


def test_groups_are_put_together_from_parts_and_digits_stay() -> None:
    group = {
        "part": [
            {"name": "relationship", "valueCodeableConcept": {"text": "Sister"}},
            {"name": "name", "part": [{"name": "family", "valueString": "Kin"}, {"name": "given", "valueString": "A"}, {"name": "given", "valueString": "B"}]},
        ]
    }  # fmt: skip
    after = done(change("add", "Patient", name="contact", value=group))
    assert after["contact"] == [{"relationship": [{"text": "Sister"}], "name": {"family": "Kin", "given": ["A", "B"]}}]
    assert b'"value":1.50' in strict.dump(after)


@pytest.mark.parametrize(
    "operation, status",
    [
        (change("replace", "Patient.name", value={"valueHumanName": {"text": "x"}}), 422),  # two places
        (change("replace", "Patient.gender", value={"valueCode": "male"}), 422),
        (change("add", "Patient", name="nonsense", value={"valueString": "x"}), 422),
        (change("add", "Patient.birthDate", name="x", value={"valueString": "x"}), 422),
        (change("insert", "Patient.name", index=5, value={"valueHumanName": {"text": "x"}}), 422),
        (change("insert", "Patient.birthDate", index=0, value={"valueDate": "1960"}), 422),
        (change("move", "Patient.name", source=0, destination=2), 422),
        (change("delete", "Patient"), 422),
        (change("replace", "Patient", value={"resource": {"resourceType": "Patient"}}), 422),
        (change("delete", "Goal.note"), 400),
        (change("delete", "Patient.name.where(matches('(a+)+$'))"), 400),
        (change("delete", "Patient.name.repeat(given)"), 400),
        (change("delete", "Patient.name["), 400),
        (change("delete", "Patient.name[-1]"), 400),
        (change("delete", "'unclosed"), 400),
        (change("delete", "Patient.name.exists()"), 400),
        (change("delete", "Patient." + "a" * 2_000), 400),
        (change("delete", "a.where(" * 100), 400),
        (change("delete", "(" * 400), 400),
        (change("frob", "Patient.name"), 400),
        (change("add", "Patient", name="name", value={}), 400),
        ({"name": "operation"}, 400),
        ({"name": "other", "part": []}, 400),
    ],
)  # fmt: skip
def test_paths_that_lead_nowhere_or_are_none(operation: dict[str, Any], status: int) -> None:
    with pytest.raises(Problem) as wrong:
        done(operation)
    assert wrong.value.status == status, wrong.value.text


def test_a_long_patch_is_done_and_one_without_measure_refused() -> None:
    many = [change("add", "Patient", name="contact", value={"part": [{"name": "gender", "valueCode": "male"}]})] * 400
    assert len(done(*many)["contact"]) == 400
    crowd = {"resourceType": "Patient", "telecom": [{"value": str(n)} for n in range(20_000)]}
    with pytest.raises(Problem) as wrong:
        pathpatch.patched(crowd, parameters(*[change("delete", "Patient.telecom.where(value = 'x')")] * 100), R4)
    assert wrong.value.status == 413


def test_what_is_not_there_is_deleted_already() -> None:
    assert done(change("delete", "Patient.gender")) == PATIENT
    assert done() == PATIENT


junk = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=5), st.sampled_from(["operation", "path", "type", "add", "Patient.name[0]"])),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(st.sampled_from(["name", "part", "valueString", "valueCode", "value", "valueInteger", "resource"]), inner, max_size=4),
    ),
    max_leaves=20,
)


@given(junk)
def test_any_json_at_all_is_answered_with_a_problem_or_a_patient(some: Any) -> None:
    before = copy.deepcopy(PATIENT)
    try:
        pathpatch.patched(PATIENT, {"resourceType": "Parameters", "parameter": some}, R4)
    except Problem as p:
        assert p.status in (400, 413, 422)
    assert before == PATIENT


@given(st.text("Patient.name[]()'where=0 \\`ofTypeas,|!", max_size=40))
def test_any_text_at_all_is_a_path_or_a_bad_request(path: str) -> None:
    try:
        done(change("delete", "Patient." + path))
    except Problem as p:
        assert p.status in (400, 422)
