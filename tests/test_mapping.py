"""The mapping tables: what the loader refuses and how it says so, golden pairs, others' records, how fast."""

from __future__ import annotations

import copy
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import yaml

from fhir_gateway import definitions, plans
from fhir_gateway.domain import mapping, strict
from fhir_gateway.domain import plan as planning
from fhir_gateway.domain.mapping import TableError, carrier, compile_tables
from fhir_gateway.domain.mapping.carrier import dump
from fhir_gateway.domain.problem import Problem
from fhir_gateway.domain.validate import check, policy
from fhir_gateway.tables import load_tables, read_tables

TABLES = load_tables()
R4 = definitions.load_r4()
HERE = Path(__file__).parent / "cases"
SHARED = Path(__file__).resolve().parent.parent.parent / "shared"


def table(rows: str, **more: Any) -> dict[str, Any]:
    return {"mapping": "goal", "plan": "goals[]", "fhir": "Goal", "rows": yaml.safe_load(rows), **more}


def codes(*pairs: tuple[str, str]) -> dict[str, Any]:
    element = [{"code": w, "target": [{"code": c, "equivalence": "equivalent"}]} for w, c in pairs]
    return {"resourceType": "ConceptMap", "status": "active", "group": [{"element": element}]}


REFUSED = {
    "a path R4 does not have": ("[{plan: text, fhir: description.words}]", "partner.yaml, row 1 (`text`): R4 has no `Goal.description.words`"),
    "a type R4 does not have there": ("[{plan: n, fhir: 'extension[own:x].valueNumber'}]", "R4 has no `Goal.extension.valueNumber`"),
    "one value for what may be many": ("[{plan: note, fhir: note.text}]", "row 1 (`note`): `Goal.note` may occur often"),
    "a place in what occurs once": ("[{plan: text, fhir: 'description[0].text'}]", "`Goal.description` occurs once"),
    "a list for what occurs once": ("[{plan: starts, fhir: startDate, list: .}]", "`Goal.startDate` occurs once"),
    "two rows for one element": (
        "[{plan: text, fhir: description.text}, {plan: name, fhir: description.text}]",
        "row 2 (`name`): `description.text` is written by row 1 (`text`) too",
    ),
    "a row inside what another takes whole": (
        "[{plan: who, fhir: expressedBy, type: who}, {plan: name, fhir: expressedBy.display}]",
        "row 2 (`name`): `expressedBy.display` is written by row 1",
    ),
    "two words for one code": ("[{plan: status, fhir: lifecycleStatus, table: two}]", "row 1 (`status`): the code table `two` is not one-to-one"),
    "a code table that is not there": ("[{plan: status, fhir: lifecycleStatus, table: none}]", "there is no code table `none`"),
    "a codec that is not there": ("[{plan: text, fhir: description.text, type: eval}]", "there is no codec `eval`"),
    "a word that is no word for a row": ("[{plan: text, fhir: description.text, expression: '1+1'}]", "`expression` is not a word for a row"),
    "no path": ("[{plan: text, fhir: 'description..text'}]", "`description..text` is not a path"),
    "a wrong path in a list's own rows": (
        "[{plan: notes, fhir: note, each: [{plan: text, fhir: words}]}]",
        "row 1 of `note` (`text`): R4 has no `Goal.note.words`",
    ),
    "a wrong companion": ("[{plan: text, fhir: description.text, with: {description.x: 1}}]", "R4 has no `Goal.description.x`"),
    "on, which YAML takes for a yes": ("[{plan: on, fhir: startDate}]", "quote `on`"),
    "nothing": ("[]", "`rows` must be a list"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED, ids=lambda c: c.replace(" ", "-"))
def test_the_loader_refuses(case: str) -> None:
    rows, words = REFUSED[case]
    with pytest.raises(TableError) as refused:
        compile_tables({"partner.yaml": table(rows)}, {"two": codes(("done", "completed"), ("met", "completed"))}, R4)
    assert words in str(refused.value)
    assert str(refused.value).startswith("partner.yaml")


def test_a_lossy_code_table_is_taken_when_it_says_so_and_still_loses_nothing() -> None:
    rows = "[{plan: text, fhir: description.text}, {plan: status, fhir: lifecycleStatus, table: two, lossy: true, else: active}]"
    files = {f"{t.kind}.yaml": dict(t.source) for t in TABLES.by_kind.values() if t.kind != "goal"} | {"goal.yaml": table(rows)}
    maps = {**TABLES.codes, "two": codes(("done", "completed"), ("met", "completed"))}
    tables = compile_tables(files, maps, R4)
    for word in ("done", "met"):
        plan = {"plan": "1", "goals": [{"id": "g", "text": "x", "status": word}]}
        entries = mapping.bundle(plan, tables)["entry"]
        assert next(e["resource"] for e in entries if e["resource"]["resourceType"] == "Goal")["lifecycleStatus"] == "completed"
        assert mapping.from_fhir(entries, tables) == plan


def test_a_constant_that_a_row_writes_too_is_refused() -> None:
    with pytest.raises(TableError, match=r"partner.yaml, always: `lifecycleStatus` is written by row 1"):
        compile_tables({"partner.yaml": table("[{plan: s, fhir: lifecycleStatus}]", always={"lifecycleStatus": "active"})}, {}, R4)


def test_two_tables_of_one_list_say_whose_its_things_are() -> None:
    one, rows = table("[{plan: text, fhir: description.text}]"), "[{plan: text, fhir: code.text}]"
    other = {"mapping": "wish", "plan": "goals[]", "fhir": "Condition", "rows": yaml.safe_load(rows)}
    with pytest.raises(TableError, match=r"must say by `when` which table they are for"):
        compile_tables({"goal.yaml": one, "wish.yaml": other}, {}, R4)
    with pytest.raises(TableError, match=r"wish.yaml: things of `goals\[\]` must say"):
        compile_tables({"wish.yaml": {**other, "when": "wish"}}, {}, R4)
    tables = compile_tables({"goal.yaml": one, "wish.yaml": {**other, "when": "wish"}}, {}, R4)
    assert [tables.kind_of("goal", g) for g in ({"wish": {"big": True}}, {"wish": {}}, {"wish": "yes"}, {})] == ["wish", "goal", "goal", "goal"]


def test_a_file_that_is_not_yaml_is_named(tmp_path: Path) -> None:
    (tmp_path / "odd.yaml").write_text("rows: [")
    with pytest.raises(TableError, match=r"odd.yaml: is not YAML"):
        read_tables(tmp_path)


def test_yaml_cannot_make_objects(tmp_path: Path) -> None:
    (tmp_path / "odd.yaml").write_text("!!python/object/apply:os.getcwd []")
    with pytest.raises(TableError, match=r"odd.yaml"):
        read_tables(tmp_path)


def test_the_code_tables_are_valid_conceptmaps() -> None:
    assert len(TABLES.codes) >= 8
    for name, concept_map in TABLES.codes.items():
        assert not [i for i in check(dict(concept_map), R4) if i.severity == "error"], name


# -- golden pairs -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("file", sorted((HERE / "mapping").glob("*.json")), ids=lambda f: f.stem)
def test_golden_pairs(file: Path) -> None:
    """Both ways, compared as text after sorting keys: decimals to the digit."""
    case = plans.read_plan(file.read_bytes())
    entries = [{"fullUrl": e.full_url, "resource": e.resource} for e in mapping.to_fhir(case["plan"], TABLES).entries]
    assert dump(entries) == dump(case["entries"])
    assert dump(mapping.from_fhir(case["entries"], TABLES)) == dump(case["plan"])


PLANS = [*sorted((HERE / "plans").glob("*.json")), Path(definitions.__file__).parent / "demo" / "plan.json"]


@pytest.mark.parametrize("file", PLANS, ids=lambda f: f.stem)
def test_what_we_write_is_valid_r4(file: Path) -> None:
    for entry in mapping.to_fhir(plans.read_plan(file.read_bytes()), TABLES).entries:
        assert [*check(entry.resource, R4), *policy(entry.resource, R4)] == [], entry.kind


def test_the_design_example_comes_back_equal() -> None:
    file = SHARED / "design/plan-example.json"
    if not file.is_file():
        pytest.skip("../shared is not here: the example of the design is not tried")
    plan = plans.read_plan(file.read_bytes())
    assert planning.check(plan, TABLES) == []
    bundle, rows = plans.to_fhir(plan)
    assert dump(mapping.from_fhir(strict.read(strict.dump(bundle))["entry"], TABLES)) == dump(plan)
    # What the example has is mapped, all but the folder's colour and an empty list.
    assert {r["path"] for r in rows if "unmapped" in r["to"]} == {"x_folder_colour", "actions[3].goals"}


@pytest.mark.parametrize("text", ["1e400", "1e99999999999999999999", "9" * 5000, "[" * 100_000, "[" * 70 + "]" * 70, "NaN", "1,2", ""])
def test_a_kept_value_in_somebody_elses_hand_that_cannot_be_read_is_passed_over(text: str) -> None:
    parts = [{"url": "path", "valueString": '["x_colour"]'}, {"url": "json", "valueString": text}]
    assert carrier.read({"extension": [{"url": carrier.UNMAPPED, "extension": parts}]}) == []


@pytest.mark.parametrize("number", ["1e400", "-1e400", "1e-400", "9" * 320, "9" * 5000])
def test_a_plan_holds_no_number_that_other_systems_cannot_hold(number: str) -> None:
    with pytest.raises(Problem) as caught:
        plans.read_plan(b'{"x_big": ' + number.encode() + b"}")
    assert caught.value.kind == "malformed" and "330 characters" in caught.value.text


def resources(plan: dict[str, Any], type: str) -> list[dict[str, Any]]:
    return [r for r in mapping.to_fhir(plan, TABLES).resources if r["resourceType"] == type]


def test_a_plan_lands_where_the_standard_says() -> None:
    plan = plans.read_plan(definitions.demo_file("plan.json"))
    main = next(c for c in resources(plan, "CarePlan") if "partOf" not in c)
    assert main["category"][0]["coding"][0]["code"] == "2181441000000107"
    assert len(main["goal"]) == 5 and len(main["activity"]) == 5
    beside = [c["category"][0] for c in resources(plan, "CarePlan") if "partOf" in c]
    assert "325691000000100" in dump(beside)
    patient = resources(plan, "Patient")[0]
    assert patient["identifier"][0] == {"system": "https://fhir.nhs.uk/Id/nhs-number", "value": "9990000018"}
    team = resources(plan, "CareTeam")[0]
    assert team["participant"][0]["member"]["identifier"] == {"system": "https://fhir.nhs.uk/Id/ods-organization-code", "value": "D82001"}
    assert "key-worker" in dump(team["participant"][2]["role"])
    assert all(c["code"]["text"] for c in resources(plan, "Condition"))


def test_a_voluntary_owner_is_not_invited_by_a_plan() -> None:
    """Whoever a Task names by an identifier of theirs may read it: to share with the voluntary sector is for the person to say."""
    plan = plans.read_plan(definitions.demo_file("plan.json"))
    owners = [t["owner"] for t in resources(plan, "Task")]
    assert "org-kindly" not in dump(owners)
    assert "D82001" in dump(owners)


def test_the_persons_words_stand_beside_the_code() -> None:
    plan = plans.read_plan(definitions.demo_file("plan.json"))
    hip = resources(plan, "Condition")[0]
    assert hip["code"]["text"] == "My hip hurts when I stand at the stove"
    assert hip["code"]["coding"][0]["display"] == "Joint pain"


def test_a_change_of_status_by_another_system_is_the_newer_word() -> None:
    plan = {"plan": "1", "id": "x", "goals": [{"id": "g", "text": "t", "status": "on hold"}, {"id": "h", "text": "u"}]}
    entries = copy.deepcopy(mapping.bundle(plan, TABLES)["entry"])
    assert mapping.from_fhir(entries, TABLES) == plan
    for e in entries:
        if e["resource"]["resourceType"] == "Goal":
            e["resource"]["lifecycleStatus"] = "completed"
    assert [g["status"] for g in mapping.from_fhir(entries, TABLES)["goals"]] == ["done", "done"]


def test_elements_the_plan_has_no_place_for_travel_both_ways() -> None:
    plan = plans.read_plan((HERE / "plans/harold.json").read_bytes())
    bundle = strict.read(strict.dump(mapping.bundle(plan, TABLES)))
    added = {"category": [{"text": "Physical"}], "outcomeCode": [{"text": "walked"}]}
    for e in bundle["entry"]:
        if e["resource"]["resourceType"] == "Goal":
            e["resource"] |= copy.deepcopy(added)
            e["resource"].setdefault("extension", []).append({"url": "https://elsewhere.example/x", "valueDecimal": Decimal("1.10")})
            e["resource"].setdefault("target", [{}])[0]["extension"] = [{"url": "https://elsewhere.example/y", "valueCode": "z"}]
    done = mapping.read(bundle["entry"], TABLES, keep=True)
    assert {r["path"].split(".", 1)[1] for r in done.homeless} >= {"category[0]", "outcomeCode[0]"}
    again = mapping.bundle(done.plan, TABLES)
    goals = [e["resource"] for e in again["entry"] if e["resource"]["resourceType"] == "Goal"]
    assert len(goals) == 6
    for goal in goals:
        assert goal["category"] == added["category"] and goal["outcomeCode"] == added["outcomeCode"]
        assert {"url": "https://elsewhere.example/x", "valueDecimal": Decimal("1.10")} in goal["extension"]
    assert sum("extension" in g.get("target", [{}])[0] for g in goals) >= 3


def test_what_a_reader_may_not_see_is_left_out_without_a_trace_in_the_rest() -> None:
    plan = plans.read_plan((HERE / "plans/harold.json").read_bytes())
    entries = [e for e in mapping.bundle(plan, TABLES)["entry"] if e["resource"]["resourceType"] != "Condition"]
    seen = mapping.from_fhir(entries, TABLES)
    assert "needs" not in seen
    assert [g["text"] for g in seen["goals"]] == [g["text"] for g in plan["goals"]]
    assert seen["goals"][1]["id"] == "g-pigeon" and "needs" not in seen["goals"][1]


# -- records nobody here wrote ----------------------------------------------------------------------------------------

ACTIVITY = {
    "resourceType": "CarePlan", "id": "cp", "status": "active", "intent": "plan", "category": [{"text": "Diabetes plan"}],
    "subject": {"reference": "Patient/p"}, "addresses": [{"reference": "Condition/c"}], "careTeam": [{"reference": "CareTeam/t"}],
    "activity": [
        {"detail": {"status": "in-progress", "code": {"coding": [{"display": "Diet"}]}, "goal": [{"reference": "Goal/g"}],
                    "scheduledString": "daily", "performer": [{"display": "Nurse Joy"}]}},
        {"detail": {"status": "not-started", "description": "Eye test"}},
    ],
}  # fmt: skip
ELSEWHERE: list[dict[str, Any]] = [
    {"resourceType": "Patient", "id": "p", "name": [{"family": "Else", "given": ["A"]}], "birthDate": "1960-01-01"},
    ACTIVITY,
    {"resourceType": "Condition", "id": "c", "code": {"coding": [{"display": "Diabetes"}]}, "subject": {"reference": "Patient/p"}},
    {"resourceType": "Goal", "id": "g", "lifecycleStatus": "active", "description": {"coding": [{"display": "Lower sugar"}]},
     "addresses": [{"reference": "Condition/c"}], "subject": {"reference": "Patient/p"}},
    {"resourceType": "CareTeam", "id": "t", "participant": [{"member": {"reference": "Practitioner/d", "display": "Dr D"}, "role": [{"text": "GP"}]},
     {"member": {"reference": "Patient/p"}}]},
    {"resourceType": "Immunization", "id": "i", "status": "completed"},
]  # fmt: skip


def test_a_document_that_was_entered_in_error_is_no_part_of_a_plan() -> None:
    papers = [
        {"resourceType": "DocumentReference", "id": id, "status": status, "subject": {"reference": "Patient/p"}, "content": [{"attachment": {"title": id}}]}
        for id, status in (("right", "current"), ("wrong", "entered-in-error"))
    ]
    plan = {
        "resourceType": "CarePlan", "id": "c", "status": "active", "intent": "plan", "subject": {"reference": "Patient/p"}, "title": "Mine",
        "supportingInfo": [{"reference": "DocumentReference/right"}, {"reference": "DocumentReference/wrong"}],
    }  # fmt: skip
    read = mapping.from_fhir([{"resourceType": "Patient", "id": "p"}, plan, *papers], TABLES)
    assert [d["title"] for d in read["documents"]] == ["right"]


def test_a_record_from_elsewhere_reads_as_a_plan() -> None:
    done = mapping.read(ELSEWHERE, TABLES)
    plan = done.plan
    assert plan["title"] == "Diabetes plan" and plan["person"]["birth_date"] == "1960-01-01"
    assert plan["needs"] == [{"id": "c", "text": "Diabetes", "code": {"display": "Diabetes"}}]
    assert plan["goals"][0] | {"code": 0} == {"id": "g", "text": "Lower sugar", "code": 0, "needs": ["c"], "status": "in progress"}
    assert plan["actions"] == [
        {"id": "cp-1", "text": "Diet", "goals": ["g"], "status": "in progress", "who": "Nurse Joy", "when": "daily"},
        {"id": "cp-2", "text": "Eye test", "status": "planned"},
    ]
    assert plan["team"] == [{"id": "t-1", "name": "Dr D", "role": "GP"}]
    assert [r["path"] for r in done.homeless] == ["Immunization/i: Immunization"]
    assert planning.check(plan, TABLES) == []


def test_the_schema_is_one_and_knows_the_plans() -> None:
    import jsonschema

    schema = planning.schema(TABLES)
    jsonschema.Draft202012Validator.check_schema(schema)
    valid = jsonschema.Draft202012Validator(schema)
    for file in PLANS[1:]:
        plan = plans.read_plan(file.read_bytes())
        assert planning.check(plan, TABLES) == [i for i in planning.check(plan, TABLES) if i.severity == "warning"]
        plain = strict.dump(plan)
        assert list(valid.iter_errors(__import__("json").loads(plain))) == []


WRONG = {
    "goals": ({"goals": "x"}, "`goals` must be a list, not text."),
    "goals[0].text": ({"goals": [{"id": "g"}]}, "`goals[0].text` is missing."),
    "goals[0].importance": ({"goals": [{"text": "t", "importance": 11}]}, "must be from 1 to 10, not 11."),
    "actions[0].status": ({"actions": [{"status": "maybe"}]}, "`maybe` is not a word for `actions[0].status`: use one of"),
    "needs[0].since": ({"needs": [{"since": "last year"}]}, "`last year` is not a date: write 2026"),
    "plan": ({"plan": "2"}, "must be `1`"),
    "person": ({"person": None}, "`person` must be an object, not null."),
    "goals[0].needs[0]": ({"goals": [{"text": "t", "needs": [1]}]}, "must be text, not the number 1."),
}


@pytest.mark.parametrize("where", WRONG)
def test_what_is_wrong_is_said_in_plain_words(where: str) -> None:
    change, words = WRONG[where]
    issues = planning.check({"plan": "1", "person": {"id": "p"}} | change, TABLES)
    assert [(i.severity, i.where) for i in issues] == [("error", where)]
    assert words in issues[0].text


def test_an_id_that_leads_nowhere_is_a_warning() -> None:
    issues = planning.check({"plan": "1", "person": {"id": "p"}, "goals": [{"text": "t", "needs": ["n-9"]}]}, TABLES)
    assert [(i.severity, i.where) for i in issues] == [("warning", "goals[0].needs")]


@pytest.mark.parametrize("text", [
    b"", b"[]", b"{", b'{"a":1,"a":2}', b'{"a":NaN}', b'{"a":"\\ud800"}', b"\xff", b'{"a":' * 70 + b"1" + b"}" * 70, b"[" * 100_000, b'{"a": Infinity}',
])  # fmt: skip
def test_a_text_that_is_no_plan_is_malformed(text: bytes) -> None:
    with pytest.raises(Problem) as refused:
        plans.read_plan(text)
    assert refused.value.kind == "malformed"


def test_a_leftover_that_says_a_path_deeper_than_any_resource_is_left_out() -> None:
    plan = {"goals": [{"text": "Walk", "x_fhir": [{"path": ".".join(["a"] * n), "value": 1} for n in (65, 3_000, 20_000)]}]}
    (goal,) = (r for r in mapping.to_fhir(plan, TABLES).resources if r["resourceType"] == "Goal")
    assert goal["description"]["text"] == "Walk" and "a" not in goal
