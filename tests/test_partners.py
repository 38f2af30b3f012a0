"""A partner's own format from a mapping file alone: in, out, and into the record beside what is there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from fhir_gateway.domain.mapping import TableError, compile_partner
from fhir_gateway.domain.mapping.partner import from_plan, to_plan
from fhir_gateway.domain.plan import overlay
from fhir_gateway.plans import texts as plans

from .conftest import Gateway

WARD = Path(__file__).parent / "cases/partners/ward.yaml"
KNOWN = plans.schema()
PARTNER = compile_partner("ward.yaml", yaml.safe_load(WARD.read_bytes()), KNOWN)
AMINA = {"number": "9990000018", "surname": "Example", "forenames": ["Amina"], "dob": "1951-04-07", "bed": "4B"}
LIST: dict[str, Any] = {
    "ward": "Rowan", "patient": AMINA,
    "jobs": [{"ref": "w1", "what": "Order a walking frame", "state": "todo", "bleep": 1234}, {"ref": "w2", "what": "Book the nurse", "state": "odd"}],
}  # fmt: skip

TEXT = st.text(max_size=5)
ANY = st.recursive(st.none() | st.booleans() | st.integers() | TEXT, lambda i: st.lists(i, max_size=2) | st.dictionaries(TEXT, i, max_size=2), max_leaves=6)
JOB = st.fixed_dictionaries({}, optional={"ref": TEXT, "what": ANY, "state": ANY | st.sampled_from(["todo", "doing", "done"]), "x": ANY, "x_ward_list": ANY})
DOCUMENT = st.fixed_dictionaries(
    {}, optional={"ward": ANY, "patient": ANY | st.fixed_dictionaries({}, optional={"number": TEXT, "bed": ANY}), "jobs": ANY | st.lists(JOB, max_size=3),
                  "x_ward_list": ANY},
)  # fmt: skip
THING = st.fixed_dictionaries({}, optional={"id": st.sampled_from("abc"), "text": TEXT})
PLAN = st.fixed_dictionaries({}, optional={"id": TEXT, "title": ANY, "goals": st.lists(THING, max_size=3, unique_by=lambda t: t.get("id", object()))})


@settings(deadline=None)
@given(DOCUMENT)
def test_any_document_of_a_partner_comes_back(document: dict[str, Any]) -> None:
    plan, rows = to_plan(document, PARTNER)
    assert from_plan(plan, PARTNER)[0] == document
    assert all(set(row) == {"path", "to", "why"} for row in rows)


@settings(deadline=None)
@given(PLAN, PLAN)
def test_laying_over_twice_is_laying_over_once(whole: dict[str, Any], part: dict[str, Any]) -> None:
    once = overlay(whole, part)
    assert overlay(once, part) == once
    assert once.get("id", "-") == whole.get("id", once.get("id", "-"))
    assert {g["id"] for g in whole.get("goals", []) if "id" in g} <= {g.get("id") for g in once.get("goals", [])}


def test_what_has_no_row_is_said_and_stays_beside() -> None:
    plan, rows = to_plan(LIST, PARTNER)
    assert plan["actions"][0] == {"id": "w1", "text": "Order a walking frame", "status": "planned", "x_ward_list": {"bleep": 1234}}
    assert plan["actions"][1] == {"id": "w2", "text": "Book the nurse", "x_ward_list": {"state": "odd"}}
    assert plan["x_ward_list"] == {"ward": "Rowan", "patient": {"bed": "4B"}}
    assert {r["path"] for r in rows if r["why"]} == {"ward", "patient.bed", "jobs[0].bleep", "jobs[1].state"}


@pytest.mark.parametrize(
    "change, said",
    [
        ({"partner": "A B"}, "short name"),
        ({"rows": []}, "`rows` must be a list"),
        ({"rows": [{"theirs": "a"}]}, "row 1: a row needs `theirs` and `plan`"),
        ({"rows": [{"theirs": "a", "plan": "bogus.x"}]}, "row 1: a plan has no `bogus`"),
        ({"rows": [{"theirs": "a", "plan": "title"}, {"theirs": "b", "plan": "title"}]}, "row 2: `plan: title` has a row already"),
        ({"rows": [{"theirs": "a", "plan": "title"}, {"theirs": "a.b", "plan": "id"}]}, "row 2: `theirs: a.b` has a row already"),
        ({"rows": [{"theirs": "a", "plan": "title", "words": {"x": "1", "y": "1"}}]}, "say `lossy: true`"),
        ({"rows": [{"theirs": "a", "plan": "title", "words": {True: "1"}}]}, "quote yes, no and on"),
        ({"rows": [{"theirs": "a", "plan": "title", "eval": "1+1"}]}, "`eval` is not a word for a row"),
        ({"rows": [{"theirs": True, "plan": "title"}]}, "is not a path of keys"),
        ({"always": {"bogus": 1}}, "a plan has no `bogus`"),
        ({"formula": 1}, "`formula` is not a word"),
        ({"row": []}, "`row` is not a word for a partner's mapping: the nearest is `rows`"),
        ({"rows": [{"theirs": "a", "plan": "title", "loosy": True}]}, "row 1: `loosy` is not a word for a row: the nearest is `lossy`"),
        ({"rows": [{"theirs": "a", "plan": "person.nhs_numbr"}]}, "row 1: a plan has no `person.nhs_numbr`: the nearest is `nhs_number`"),
        ({"rows": [{"theirs": "a", "plan": "title.of"}]}, "row 1: a plan has no `title.of`"),
        ({"rows": [{"theirs": "a", "plan": "actions.text"}]}, "row 1: a plan has no `actions.text`"),
        ({"rows": [{"theirs": "a", "plan": "actions", "each": [{"theirs": "b", "plan": "texts"}]}]}, "row 1 of `a`: a plan has no `texts` there: the nearest is `text`"),
        ({"rows": [{"theirs": "a", "plan": "actions", "always": {"kin": "x"}, "each": [{"theirs": "b", "plan": "text"}]}]}, "row 1: a plan has no `kin` there: the nearest is `kind`"),
        ({"rows": [{"theirs": "a", "plan": "answers", "one": [{"theirs": "b", "plan": "items", "pairs": {"key": "id", "value": "answr"}}]}]}, "the nearest is `answer`"),
        ({"form": "csv", "columns": ["a", "b"], "person": ["a"], "rows": [{"theirs": "b", "plan": "title"}]}, "row 1: `theirs: b` is not a column that says who, or `lines`"),
        (
            {"form": "csv", "columns": ["a", "Job"], "person": ["a"], "rows": [{"theirs": "lines", "plan": "actions", "each": [{"theirs": "Jobb", "plan": "text"}]}]},
            "row 1 of `lines`: `theirs: Jobb` is not a column of a line: the nearest is `Job`",
        ),
    ],
)
def test_a_mapping_that_cannot_be_right_is_refused_by_file_and_row(change: dict[str, Any], said: str) -> None:
    data = yaml.safe_load(WARD.read_bytes()) | change
    with pytest.raises(TableError, match=r"ward\.yaml") as refused:
        compile_partner("ward.yaml", data, KNOWN)
    assert said in str(refused.value)


def test_a_key_of_their_own_may_begin_with_x() -> None:
    data = yaml.safe_load(WARD.read_bytes()) | {"rows": [{"theirs": "a", "plan": "x_bed"}, {"theirs": "b", "plan": "person.x_ward.side"}]}
    assert to_plan({"a": 4, "b": "left"}, compile_partner("ward.yaml", data, KNOWN))[0] == {"plan": "1", "id": "ward-list", "x_bed": 4, "person": {"x_ward": {"side": "left"}}}


# -- as an outsider uses it -------------------------------------------------------------------------------------------


def test_a_partner_is_added_by_a_file_alone(demo: Gateway, tmp_path: Path) -> None:
    file = tmp_path / "ward.json"
    file.write_text(json.dumps(LIST))
    before = demo.get("patient", f"/plans/{demo.patient}").json()
    (first,) = demo.lines("import", str(file), "--mapping", str(WARD), "--json")
    assert first["patient"] == demo.patient and first["refused"] == 0 and first["written"] == 3  # two Tasks, and the plan that names them
    assert {u["path"] for u in first["unmapped"]} == {"ward", "patient.bed", "jobs[0].bleep", "jobs[1].state"}
    (again,) = demo.lines("import", str(file), "--mapping", str(WARD), "--json")
    assert again["written"] == 0
    after = demo.get("patient", f"/plans/{demo.patient}").json()
    assert [a["id"] for a in after["actions"]] == [*(a["id"] for a in before["actions"]), "ward-list:w1", "ward-list:w2"]
    assert after["actions"][-2]["x_ward_list"] == {"bleep": 1234}
    assert {k: v for k, v in after.items() if k not in ("actions", "x_ward_list", "person")} == {k: v for k, v in before.items() if k not in ("actions", "person")}


@pytest.mark.parametrize("rows", [[{"theirs": "a", "plan": "x_a"}], [{"theirs": "a", "plan": "actions", "each": [{"theirs": "b", "plan": "x_a"}]}]])
def test_a_row_fills_nothing_that_is_for_what_has_no_row(rows: list[dict[str, Any]]) -> None:
    with pytest.raises(TableError, match="`x_a` is where what has no row stays"):
        compile_partner("a.yaml", {"partner": "a", "rows": rows}, KNOWN)


def test_map_speaks_a_partners_format_both_ways(demo: Gateway, tmp_path: Path) -> None:
    file = tmp_path / "ward.json"
    file.write_text(json.dumps(LIST))
    made = demo.command("map", "to-fhir", str(file), "--mapping", str(WARD))
    assert made.returncode == 0, made.stderr
    (tmp_path / "bundle.json").write_text(made.stdout)
    back = demo.command("map", "from-fhir", str(tmp_path / "bundle.json"), "--mapping", str(WARD))
    assert back.returncode == 0 and json.loads(back.stdout) == LIST
    rows = {r["path"]: r for r in demo.lines("map", "to-fhir", str(file), "--mapping", str(WARD), "--dry-run")}
    assert rows["jobs[0].what"]["to"] == "Task.description"
    assert rows["patient.bed"]["to"] == "CarePlan.extension[plan-unmapped]" and rows["patient.bed"]["why"]


def test_a_wrong_mapping_ends_with_2_and_names_its_row(demo: Gateway, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text("partner: x\nrows:\n  - {theirs: a, plan: nowhere}\n")
    for command in (["import", str(WARD)], ["map", "to-fhir", str(WARD)]):
        done = demo.command(*command, "--mapping", str(wrong))
        assert done.returncode == 2 and "wrong.yaml, row 1" in done.stderr and not done.stdout
