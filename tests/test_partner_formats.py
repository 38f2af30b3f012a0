"""Other people's formats, each as files: what they send, the plan it makes, what lands where and what has no home."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from fhir_gateway import definitions, gate, plans
from fhir_gateway.commands.bringing import chained
from fhir_gateway.domain import strict
from fhir_gateway.domain.bundle import references
from fhir_gateway.domain.mapping import Partner, TableError, compile_partner, sheets
from fhir_gateway.domain.mapping.carrier import dump
from fhir_gateway.domain.mapping.foreign import asks_membership
from fhir_gateway.domain.mapping.partner import from_plan, to_plan
from fhir_gateway.domain.problem import Problem
from fhir_gateway.domain.types import Actor
from fhir_gateway.domain.validate import check
from fhir_gateway.tables import read_partner

from .conftest import Gateway
from .pointed import filled, leaves, pointed
from .test_partners import ANY, KNOWN, TEXT
from .test_plans import ODS, SECTOR, Place, place

__all__ = ["place"]
HERE = Path(__file__).parent / "cases/partners"
FORMATS = ("medicines", "ward-csv", "voluntary", "social-care", "document", "discharge", "discharge-medicines")
R4 = definitions.load_r4()
PEOPLE = {"9990000018"}


def given_by(name: str) -> tuple[Path, Partner | None]:
    """What they send, and the mapping file of it where it is no FHIR."""
    mapping = HERE / f"{name}.yaml"
    (file,) = (HERE / name).glob("theirs.*")
    return file, read_partner(mapping) if mapping.is_file() else None


def read_as(name: str) -> tuple[Any, Sequence[Mapping[str, str]]]:
    """As `map --dry-run` and `map` say it."""
    file, partner = given_by(name)
    if partner is None:
        return plans.from_fhir(plans.read_resources(file.read_bytes(), file.name))
    ((_, raw),) = plans.parts(file.name, file.read_bytes(), partner)
    plan, before = plans.from_partner(plans.read_plan(raw), partner)
    return plan, chained(before, plans.to_fhir(plan)[1])


def text(plan: Any) -> str:
    return json.dumps(json.loads(dump(plan), parse_float=str), indent=2, ensure_ascii=False) + "\n"


def lines(rows: Sequence[Mapping[str, str]]) -> str:
    return "".join(json.dumps(dict(r), ensure_ascii=False) + "\n" for r in rows)


@pytest.mark.parametrize("name", FORMATS)
def test_golden_pairs(name: str) -> None:
    """What they send makes this plan; of each of their fields it is said where it lands, or that it has no home."""
    plan, rows = read_as(name)
    assert text(plan) == (HERE / name / "plan.json").read_text()
    assert lines(rows) == (HERE / name / "lands.jsonl").read_text()
    homeless = [r for r in rows if "no row" in r["why"] or "no place" in r["why"]]
    assert homeless and len(homeless) < len(rows)


@pytest.mark.parametrize("name", [n for n in FORMATS if (HERE / f"{n}.yaml").is_file()])
def test_a_partners_document_comes_back_as_they_wrote_it(name: str) -> None:
    file, partner = given_by(name)
    assert partner is not None
    ((_, raw),) = plans.parts(file.name, file.read_bytes(), partner)
    bundle, _ = plans.to_fhir(plans.from_partner(plans.read_plan(raw), partner)[0])
    back, _ = plans.to_partner(plans.from_fhir(plans.read_resources(strict.dump(bundle)))[0], partner)
    written = plans.as_written(back, partner)
    if written is None:
        assert dump(back) == dump(plans.read_plan(raw))
    else:
        assert written.encode() == file.read_bytes()
    for entry in bundle["entry"]:
        assert not [i for i in check(entry["resource"], R4, definitions=definitions.read_definitions(None)) if i.severity == "error"]


@pytest.mark.parametrize("name", FORMATS)
async def test_it_comes_in_and_the_same_again_writes_nothing(place: Place, name: str) -> None:
    file, partner = given_by(name)
    parts = plans.parts(file.name, file.read_bytes(), partner) if partner else [(file.name, file.read_bytes())]
    (first,) = await plans.bring_in_files(place.hospital, parts, partner=partner)
    assert not isinstance(first, Problem), first.issues
    assert first.written > 2 and first.refused == 0 and first.patient and first.unmapped
    (again,) = await plans.bring_in_files(place.hospital, parts, partner=partner)
    assert not isinstance(again, Problem) and again.written == 0 and again.patient == first.patient
    plan = await plans.load(place.hospital, first.patient)
    assert plan["person"]["nhs_number"] in PEOPLE and plan["actions"]


# -- medicines --------------------------------------------------------------------------------------------------------


async def test_the_named_pharmacy_is_asked_reads_each_change_with_its_reason_and_closes_the_task(place: Place) -> None:
    shop = {
        "resourceType": "Organization", "identifier": [{"system": ODS, "value": "FQ001"}], "name": "Example Street Pharmacy", "active": True,
        "type": [{"coding": [{"system": SECTOR, "code": "health"}]}],
    }  # fmt: skip
    ref = str((await gate.create(place.operator, "Organization", strict.dump(shop))).ref)
    pharmacist = place.ctx(Actor("professional", frozenset({"Practitioner/ph", ref, f"{ODS}|FQ001"}), "Practitioner/ph", "A pharmacist", ref, "health"))
    file, partner = given_by("medicines")
    first = await plans.bring_in(place.hospital, file.read_bytes(), "before.json", partner=partner)
    asked = (await gate.search(pharmacist, "Task", [("patient", first.patient or ""), ("status", "requested")])).entries
    (task,) = [t for t in asked if not asks_membership(strict.read(t.body or b""))]  # the other asks whether they are in the team
    body = strict.read(task.body or b"")
    assert body["owner"]["identifier"]["value"] == "FQ001" and body["description"].startswith("Check the new list")
    document = json.loads(file.read_text())
    (changed,) = document["medicines"]["changed"]
    changed |= {"directions": "Three in the morning", "previousDirections": changed["directions"], "reason": "Pulse still at 110"}
    await plans.bring_in(place.hospital, json.dumps(document).encode(), "after.json", partner=partner)
    plan = await plans.load(place.hospital, first.patient or "")
    by_kind = {m["change"]["kind"]: m for m in plan["medicines"]}
    assert {k: m.get("status") for k, m in by_kind.items()} == {"new": None, "changed": None, "stopped": "stopped", "unchanged": None}
    assert all(by_kind[k]["change"]["reason"] for k in ("new", "changed", "stopped"))
    assert by_kind["changed"]["change"]["was"] == "Two in the morning" and by_kind["changed"]["how"] == "Three in the morning"
    hits = (await gate.search(place.hospital, "MedicationStatement", [("patient", first.patient or "")])).entries
    one = next(h.ref for h in hits if b"Bisoprolol" in (h.body or b""))
    old = [strict.read(e.body) for e in (await gate.history(place.hospital, "MedicationStatement", one.id)).entries if e.body]
    assert [o["dosage"][0]["text"] for o in old] == ["Three in the morning", "Two in the morning"]  # the list before is still readable
    done = await gate.update(pharmacist, task.ref, strict.dump(body | {"status": "completed"}), if_match=task.version)
    assert done.version > task.version
    (action,) = (await plans.load(place.hospital, first.patient or ""))["actions"]
    assert action["status"] == "done"
    again = await plans.bring_in(place.hospital, json.dumps(document).encode(), "after.json", partner=partner)
    assert again.written <= 1  # their list still says that it waits: what a sender says again stands


# -- tables -----------------------------------------------------------------------------------------------------------

SHEET = {
    "partner": "beds", "form": "csv", "columns": ["nhs", "dob", "job", "note"], "person": ["nhs", "dob"],
    "rows": [{"theirs": "nhs", "plan": "person.nhs_number"}, {"theirs": "lines", "plan": "actions", "each": [{"theirs": "job", "plan": "text"}]}],
}  # fmt: skip


def test_a_table_is_one_document_for_each_person_in_it() -> None:
    partner = compile_partner("beds.yaml", SHEET, KNOWN)
    raw = "\ufeffnhs,dob,job,note,extra\n1,2000-01-01,a,,x\n\n2,1990-01-01,b,=1+1,\n1,2000-01-01,\"c\nd\",,\n".encode()
    assert partner.sheet is not None
    found = sheets.read(raw, partner.sheet)
    assert found == [
        ("lines 2, 5", {"nhs": "1", "dob": "2000-01-01", "lines": [{"job": "a", "extra": "x"}, {"job": "c\nd"}]}),
        ("line 4", {"nhs": "2", "dob": "1990-01-01", "lines": [{"job": "b", "note": "=1+1"}]}),
    ]
    assert sheets.read(sheets.write([d for _, d in found], partner.sheet).encode(), partner.sheet)[0][1] == found[0][1]


@pytest.mark.parametrize(
    "raw, said",
    [
        (b"", "empty"), (b"\r\n\r\n", "empty"), (b"dob,job\n1,2\n", "Line 1 has no column `nhs`"), (b"nhs,dob,nhs\n", "two columns `nhs`"),
        (b"nhs,dob,job\n1,2\n", "Line 2 has 2 cells, and the header 3"), (b'nhs,dob\n1,"2\n', "is no line of a table"), (b"nhs,dob\n1,\xff\n", "Line 2 is not utf-8"),
        (b'nhs,dob\n1,"2"3\n', "is no line of a table"), (b"nhs,dob\n1," + b"x" * 200_000, "is no line of a table"),
    ],
)  # fmt: skip
def test_a_table_that_cannot_be_right_is_refused_by_line(raw: bytes, said: str) -> None:
    partner = compile_partner("beds.yaml", SHEET, KNOWN)
    with pytest.raises(Problem) as refused:
        plans.parts("beds.csv", raw, partner)
    assert refused.value.kind == "malformed" and said in refused.value.text and refused.value.text.startswith("beds.csv: ")


# -- laws of the rows -------------------------------------------------------------------------------------------------

EVERY = compile_partner(
    "every.yaml",
    yaml.safe_load("""
partner: every
rows:
  - {theirs: a.new, plan: actions, always: {kind: team, status: planned}, each: [{theirs: i, plan: id}, {theirs: d, plan: to, date: DD/MM/YYYY}]}
  - {theirs: a.old, plan: actions, always: {status: done}, each: [{theirs: i, plan: id}, {theirs: yes, plan: x_urgent, words: {Y: true, N: false}}]}
  - {theirs: a.one, plan: actions, always: {status: stopped}, one: [{theirs: i, plan: id}, {theirs: n, plan: confidence, number: true}]}
  - {theirs: p, plan: person.name.given, split: " "}
  - {theirs: q, plan: goals, each: [{theirs: s, plan: x_items, pairs: {key: id, value: answer}}]}
""".replace("yes,", "'yes',")),
    KNOWN,
)  # fmt: skip
WRITTEN = TEXT | st.sampled_from(["01/02/2026", "31/02/2026", "1/2/2026", "7", "07", "7.50", "1e3", "Y", "N", "a b", "a  b", " "])
THING = st.fixed_dictionaries({}, optional={"i": TEXT, "d": WRITTEN | ANY, "yes": WRITTEN, "n": WRITTEN, "x": ANY, "status": ANY})
SAID = ANY | st.dictionaries(TEXT, ANY, max_size=3) | st.dictionaries(TEXT, st.integers() | TEXT, min_size=1, max_size=3)
SENT = st.fixed_dictionaries(
    {}, optional={"a": ANY | st.fixed_dictionaries({}, optional={"new": ANY | st.lists(THING, max_size=3), "old": st.lists(THING, max_size=3), "one": THING | ANY}),
                  "p": WRITTEN | ANY, "q": ANY | st.lists(st.fixed_dictionaries({}, optional={"s": SAID}), max_size=2), "x_every": ANY},
)  # fmt: skip


@settings(deadline=None)
@given(SENT)
def test_any_document_comes_back_through_every_kind_of_row(document: dict[str, Any]) -> None:
    plan, rows = to_plan(document, EVERY)
    assert dump(from_plan(plan, EVERY)[0]) == dump(document)
    assert all(set(row) == {"path", "to", "why"} for row in rows)


THINGS = [{"theirs": "b", "plan": "id"}]
REFUSED = {
    "two lists that cannot be told apart": (
        [{"theirs": "a", "plan": "actions", "each": THINGS}, {"theirs": "c", "plan": "actions", "each": THINGS}], "row 2: `plan: actions` has a row already (`always` may",
    ),
    "alike in what is always said": (
        [{"theirs": "a", "plan": "actions", "always": {"kind": "team"}, "each": THINGS}, {"theirs": "c", "plan": "actions", "always": {"kind": "team"}, "one": THINGS}], "row 2",
    ),
    "said always and by a row": ([{"theirs": "a", "plan": "actions", "always": {"id": "x"}, "each": THINGS}], "`always: id` has a row already"),
    "always of one field": ([{"theirs": "a", "plan": "title", "always": {"x": 1}}], "`always` is for a row with `each` or `one`"),
    "two changes": ([{"theirs": "a", "plan": "title", "date": "DD/MM/YYYY", "number": True}], "do not go together"),
    "a change of a list": ([{"theirs": "a", "plan": "actions", "each": THINGS, "number": True}], "do not go together"),
    "no date": ([{"theirs": "a", "plan": "title", "date": "DD/MM"}], "like DD/MM/YYYY"),
    "no day without zeros": ([{"theirs": "a", "plan": "title", "date": "DMYYYY"}], "needs something between"),
    "no lossy day": ([{"theirs": "a", "plan": "title", "date": "DDMMYYYY", "lossy": True}], "needs something between"),
    "no text": ([{"theirs": "a", "plan": "title", "text": "yes"}], "`text` is `true`"),
    "no pairs": ([{"theirs": "a", "plan": "actions", "pairs": {"key": "id"}}], "`pairs` names two keys"),
}


@pytest.mark.parametrize(
    ("how", "theirs", "ours", "back"),
    [
        ({"text": True}, 9990000018, "9990000018", 9990000018), ({"text": True}, 0, "0", 0), ({"text": True}, "9990000018", None, None), ({"text": True}, True, None, None),
        ({"text": True}, 10**18, None, None), ({"text": True}, 1.5, None, None),
        ({"date": "D/M/YYYY"}, "7/4/1951", "1951-04-07", "7/4/1951"), ({"date": "D/M/YYYY"}, "17/10/1951", "1951-10-17", "17/10/1951"),
        ({"date": "D/M/YYYY"}, "07/04/1951", None, None), ({"date": "DD/MM/YYYY"}, "7/4/1951", None, None), ({"date": "D/M/YYYY"}, "31/2/1951", None, None),
        ({"date": "DD/MM/YYYY", "lossy": True}, "7/4/1951", "1951-04-07", "07/04/1951"), ({"date": "D/M/YYYY", "lossy": True}, "07/04/1951", "1951-04-07", "7/4/1951"),
        ({"date": "DD/MM/YYYY", "lossy": True}, "7/4/51", None, None), ({"date": "DD/MM/YYYY", "lossy": True}, "31/2/1951", None, None),
        ({"date": "DD/MM/YYYY", "lossy": True}, "0/4/1951", None, None),
    ],
)  # fmt: skip
def test_numbers_for_texts_and_days_without_zeros(how: dict[str, Any], theirs: Any, ours: Any, back: Any) -> None:
    partner = compile_partner("odd.yaml", {"partner": "odd", "rows": [{"theirs": "a", "plan": "title", **how}]}, KNOWN)
    plan, _ = to_plan({"a": theirs}, partner)
    assert plan.get("title") == ours and (ours is not None or plan["x_odd"] == {"a": theirs}), "as it is meant, or beside"
    assert from_plan(plan, partner)[0] == {"a": back if ours is not None else theirs}


@pytest.mark.parametrize("case", REFUSED, ids=lambda c: c.replace(" ", "-"))
def test_rows_that_cannot_be_right_are_refused(case: str) -> None:
    rows, said = REFUSED[case]
    with pytest.raises(TableError, match=r"odd\.yaml") as refused:
        compile_partner("odd.yaml", {"partner": "odd", "rows": rows}, KNOWN)
    assert said in str(refused.value)


@pytest.mark.parametrize(
    "change, said",
    [
        ({"columns": None}, "a table needs `columns`"), ({"person": ["who"]}, "`person` names some of `columns`"), ({"delimiter": ",,"}, "`delimiter` is one character"),
        ({"encoding": "rot13"}, "`encoding` is utf-8"), ({"form": "xml"}, "`form` is json or csv"), ({"form": "json"}, "is for `form: csv`"),
    ],
)  # fmt: skip
def test_a_table_that_nobody_could_write_is_refused(change: dict[str, Any], said: str) -> None:
    with pytest.raises(TableError, match=r"beds\.yaml") as refused:
        compile_partner("beds.yaml", {**SHEET, **change}, KNOWN)
    assert said in str(refused.value)


# -- a partner that nobody has heard of -------------------------------------------------------------------------------

NEVER_SEEN = """
partner: night-sitters
about: Written for this test alone.
form: csv
delimiter: ";"
encoding: windows-1252
columns: [Kunde, Name, geboren, Nr, Was, Wann]
person: [Kunde, Name, geboren]
rows:
  - {theirs: Kunde, plan: person.nhs_number}
  - {theirs: Name, plan: person.name.family}
  - {theirs: geboren, plan: person.birth_date, date: DD.MM.YYYY}
  - {theirs: lines, plan: actions, always: {kind: team}, each: [{theirs: Nr, plan: id}, {theirs: Was, plan: text}, {theirs: Wann, plan: when}]}
"""


@pytest.mark.slow
def test_a_partner_that_the_code_has_never_seen_is_added_by_a_file_alone(demo: Gateway, tmp_path: Path) -> None:
    mapping, table = tmp_path / "night.yaml", tmp_path / "night.csv"
    mapping.write_text(NEVER_SEEN)
    table.write_bytes("Kunde;Name;geboren;Nr;Was;Wann\r\n9990000018;Example;07.04.1951;n-1;Sit with Amina from ten – naïve as it is;Mondays\r\n".encode("windows-1252"))
    rows = demo.lines("map", "to-fhir", str(table), "--mapping", str(mapping), "--dry-run")
    assert {r["path"]: r["to"] for r in rows}["lines[0].Was"] == "Task.description"
    (first,) = demo.lines("import", str(table), "--mapping", str(mapping), "--json")
    assert (first["patient"], first["refused"]) == (demo.patient, 0) and first["written"] > 0 and first["file"].endswith("night.csv, line 2")
    (again,) = demo.lines("import", str(table), "--mapping", str(mapping), "--json")
    assert again["written"] == 0
    action = demo.get("patient", f"/plans/{demo.patient}").json()["actions"][-1]
    assert action == {"id": "night-sitters:n-1", "text": "Sit with Amina from ten – naïve as it is", "kind": "team", "when": "Mondays"}
    table.write_bytes(b"Kunde;Name;geboren;Nr;Was;Wann\r\n9990000081;Example;07.04.1951;n-1;Sit with Amina;Mondays\r\n")
    slip = demo.command("import", str(table), "--mapping", str(mapping))
    assert slip.returncode == 1 and "night.csv, line 2" in slip.stdout and "This is no NHS number" in slip.stdout and "(`Kunde` of theirs)" in slip.stdout
    table.write_bytes(b"Kunde;Name\r\n1;2\r\n")
    wrong = demo.command("import", str(table), "--mapping", str(mapping))
    assert wrong.returncode == 2 and "night.csv: Line 1 has no column `geboren`" in wrong.stderr and not wrong.stdout


# -- published examples -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("project", ["pco", "sdoh-cc"])
def test_published_examples_are_this_plan_and_the_plan_comes_back(shared: Path, project: str) -> None:
    """The golden plan has none of their words: each text says where it stands in their files (tests/pointed.py)."""
    given = [r for f in sorted((shared / "data/examples" / project).rglob("*.json")) for r in plans.read_resources(f.read_bytes(), f.name)]
    plan, _ = plans.from_fhir(given)
    golden = json.loads((HERE.parent / "pointed" / f"{project}.json").read_text())
    texts = leaves(given)
    assert plan == filled(golden, texts)
    assert pointed(plan, texts) == golden, "written anew by `pointed` where a mapping changes on purpose"
    plan.setdefault("person", {"id": "nobody", "name": {"family": "Nobody"}})  # SDOH's examples have none
    bundle, _ = plans.to_fhir(plan)
    again, _ = plans.from_fhir(plans.read_resources(strict.dump(bundle)))
    again["person"]["name"].pop("full", None)  # a name as one text, kept beside its parts, is said as `full`, too, on the way back
    assert {k: dump(v) for k, v in again.items()} == {k: dump(v) for k, v in plan.items()}


@pytest.mark.parametrize("project, people, nobodys, least", [("pco", 3, 0, 40), ("sdoh-cc", 2, 3, 20)])
async def test_published_examples_come_in_and_each_record_lands_or_is_named(place: Place, shared: Path, project: str, people: int, nobodys: int, least: int) -> None:
    files = sorted((shared / "data/examples" / project).rglob("*.json"))
    assert len(files) >= least
    given = [json.loads(f.read_bytes()) for f in files]
    plan, rows = plans.from_fhir([r for f in files for r in plans.read_resources(f.read_bytes(), f.name)])
    spoken = {r["path"].split(":")[0] for r in rows}
    for resource in given:
        name = f"{resource['resourceType']}/{resource['id']}"
        around = resource["resourceType"] in ("Practitioner", "PractitionerRole", "Organization", "Location", "Provenance", "Patient", "CareTeam", "Group")
        assert around or name in spoken or resource["resourceType"] == "ServiceRequest", name
    assert plan["goals"] and all(g.get("text") for g in plan["goals"])
    here = {f"Patient/{r['id']}" for r in given if r["resourceType"] == "Patient"}
    named = sorted({n for r in given for n in references(r) if n.startswith("Patient/")} - here)
    sent = [(f"{n}.json", json.dumps({"resourceType": "Patient", "id": n[8:], "name": [{"family": n[8:]}]}).encode()) for n in named]  # whom they do not say
    sent += [(f.name, f.read_bytes()) for f in files]
    first = await plans.bring_in_files(place.hospital, sent)
    refused = {name: d.text for (name, _), d in zip(sent, first, strict=True) if isinstance(d, Problem)}
    assert all("This must say whose" in text for text in refused.values()) and len(refused) == nobodys, refused
    assert len({d.patient for d in first if not isinstance(d, Problem) and d.patient}) == people
    again = await plans.bring_in_files(place.hospital, sent)
    assert sum(d.written for d in again if not isinstance(d, Problem)) == 0


@pytest.mark.parametrize(
    ("bundle", "entry", "kind", "where"),
    [
        ({}, {"modifierExtension": [{"url": "urn:not"}]}, "invalid", "Bundle.entry[0].modifierExtension[0]"),
        ({}, {"request": {"modifierExtension": [{"url": "urn:not"}]}}, "invalid", "Bundle.entry[0].request.modifierExtension[0]"),
        ({"implicitRules": "urn:rules"}, {}, "business-rule", "Bundle.implicitRules"),
    ],
)
def test_a_file_whose_meaning_is_changed_by_what_is_not_known_is_not_brought_in(bundle: dict[str, Any], entry: dict[str, Any], kind: str, where: str) -> None:
    goal = {"resourceType": "Goal", "modifierExtension": [{"url": "urn:not"}]}  # the resource itself is judged where it is written
    whole = {"resourceType": "Bundle", "type": "document", "entry": [{"resource": goal}]}
    assert [r["resource"] for r in plans.read_resources(strict.dump(whole))] == [goal]
    with pytest.raises(Problem, match=r"ward\.json") as refused:
        plans.read_resources(strict.dump({**whole, **bundle, "entry": [{"resource": goal, **entry}]}), "ward.json")
    assert (refused.value.kind, refused.value.where) == (kind, where)
