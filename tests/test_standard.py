"""The whole standard: no item of it, no subject of the design, no key of its example is without a row or a stated reason."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import fhir.resources.R4B as models
import pytest
import yaml

from fhir_gateway import definitions, plans
from fhir_gateway.domain import mapping, strict
from fhir_gateway.domain import plan as planning
from fhir_gateway.domain.mapping.carrier import dump
from fhir_gateway.domain.mapping.names import EXTENSIONS
from fhir_gateway.domain.validate import check, policy
from fhir_gateway.tables import load_tables

from .conftest import ROOT
from .oracle.profiled import OWN
from .test_mapping import HERE, SHARED
from .test_plans import opened

TABLES = load_tables()
R4 = definitions.load_r4()
KNOWN = definitions.read_definitions(None)
STANDARD = yaml.safe_load((ROOT / "mappings/standard/prsb.yaml").read_text())
SUBJECTS = yaml.safe_load((ROOT / "mappings/standard/subjects.yaml").read_text())["subjects"]
WHOLE = plans.read_plan((HERE / "mapping/whole-standard.json").read_bytes())
# What the design's mapping table has one row each for.
SUBJECT_COUNT = 56


def rows(table: list[dict[str, Any]], above: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    for row in table:
        yield f"{above}{row['plan']}", row
        yield from rows(row.get("each", []), f"{above}{row['plan']}.")


ROWS = {kind: list(rows(t.source["rows"])) for kind, t in TABLES.by_kind.items()}
PLACES = {f"{kind}.{path}" for kind, found in ROWS.items() for path, _ in found}


def held() -> dict[int, list[str]]:
    """The rows of each item of the standard."""
    out: dict[int, list[str]] = {}
    for kind, found in ROWS.items():
        for path, row in found:
            for n in row.get("standard", ()):
                out.setdefault(n, []).append(f"{kind}.{path}")
    return out


def test_no_item_of_the_standard_is_without_a_row_or_a_reason() -> None:
    numbers, reasons = held(), STANDARD["without"]
    assert STANDARD["items"] == 210
    assert not [n for n in range(1, 211) if n not in numbers and not reasons.get(n)]
    assert not numbers.keys() & reasons.keys(), "a row and a reason why there is none"
    assert set(numbers) | set(reasons) <= set(range(1, 211))


def test_the_parts_of_the_standard_follow_one_another() -> None:
    ends = [(p["from"], p["to"]) for p in STANDARD["parts"]]
    assert ends[0][0] == 1 and ends[-1][1] == STANDARD["items"]
    assert all(before[1] + 1 == after[0] for before, after in pairwise(ends))


def test_the_items_are_those_of_the_standard() -> None:
    """The numbers count what the standard's outline counts, part by part."""
    outline = SHARED / "data/prsb/outline.jsonl"
    if not outline.is_file():
        pytest.skip("../shared is not here: the standard's own outline is not counted")
    items = [json.loads(line)["path"] for line in outline.read_text().splitlines() if json.loads(line)["kind"] == "item"]
    assert len(items) == STANDARD["items"] == 210
    groups: dict[str, list[int]] = {}
    for n, path in enumerate(items, 1):
        groups.setdefault(path.split(" > ")[0], []).append(n)
    assert [(g[0], g[-1]) for g in groups.values()] == [(p["from"], p["to"]) for p in STANDARD["parts"]]
    # One word of each of these items says what it is: the rows with its number must be about that.
    about = {"Grade": "grade", "Professional identifier": "professional_id", "Role": "role", "Date of birth": "birth_date", "NHS number": "nhs_number",
             "Confidence": "confidence", "Suggested strategies": "strategies", "Key worker": "key_worker", "Postcode": "postcode", "Speciality": "speciality",
             "Specialty": "speciality", "Goal importance score": "importance", "Date completed": "on", "Planned review date/interval": "review"}  # fmt: skip
    tried = 0
    for n, path in enumerate(items, 1):
        word = about.get(path.split(" > ")[-1])
        if word is not None:
            tried += 1
            assert any(word in re.split(r"[.]", place) for place in held()[n]), (n, word)
    assert tried > 60


def test_no_subject_of_the_design_is_without_a_row_or_a_reason() -> None:
    assert sorted(SUBJECTS) == list(range(1, SUBJECT_COUNT + 1))
    for n, subject in SUBJECTS.items():
        assert subject["at"] or len(subject.get("why", "")) > 30, n
        assert not [place for place in subject["at"] if place not in PLACES], n


def keys(value: Any, way: str = "") -> Iterator[str]:
    if isinstance(value, Mapping):
        for k, v in value.items():
            yield f"{way}{k}"
            yield from keys(v, f"{way}{k}.")
    elif isinstance(value, list):
        for v in value:
            yield from keys(v, way)


def known_keys() -> set[str]:
    """Every key that a row, the name of a thing or its identifier accounts for."""
    out = {"id", "about_me", "person.id"}
    for kind, found in ROWS.items():
        table = TABLES[kind]
        at = {"plan": "", "stage-goal": "goals.stage_goals."}.get(kind, f"{table.key}.")
        out |= {at.rstrip("."), f"{at}id"}
        for path, row in found:
            parts = f"{at}{path}".split(".")
            out |= {".".join(parts[: n + 1]) for n in range(len(parts))}
            if row.get("type") == "answers":
                out |= {f"{at}{path}.{k}" for k in ("id", "text", "answer", "items")}
            if row.get("type") == "organisation":
                out |= {f"{at}{path}.{k}" for k in ("ods", "id", "name", "sector")}
            if row.get("type") == "coding":
                out |= {f"{at}{path}.{k}" for k in ("system", "code", "display")}
    return out


def test_no_key_of_the_designs_example_is_without_a_row_or_a_reason() -> None:
    file = SHARED / "design/plan-example.json"
    if not file.is_file():
        pytest.skip("../shared is not here: the example of the design is not counted")
    said = set(keys(plans.read_plan(file.read_bytes())))
    assert len(said) > 140
    assert said - known_keys() == set(STANDARD["example"])
    assert all(len(why) > 30 for why in STANDARD["example"].values())


def test_the_page_names_every_profile_of_ours_beside_its_rows() -> None:
    page = (ROOT / "docs/mapping.md").read_text()
    profiles = [d["id"] for f in (ROOT / "profiles").glob("StructureDefinition-*.json") if (d := json.loads(f.read_bytes()))["type"] != "Extension"]
    assert len(profiles) >= 9
    for name in profiles:
        assert f"`{name}`" in page, name
    for kind in TABLES.by_kind:
        assert f"\n## {kind}\n" in page
    assert "| **all 210** | | **210** | **0** |" in page


# -- every row, on one plan that says all there is to say ---------------------------------------------------------------


def test_the_whole_plan_uses_every_row_and_nothing_of_it_is_left_beside() -> None:
    mapped = mapping.to_fhir(WHOLE["plan"], TABLES, dry=True)
    assert not [r for r in mapped.dry if "plan-unmapped" in r["to"]]
    assert planning.check(WHOLE["plan"], TABLES) == []
    said = set(keys(WHOLE["plan"]))
    wanted = set()
    for kind, found in ROWS.items():
        at = {"plan": "", "stage-goal": "goals.stage_goals."}.get(kind, f"{TABLES[kind].key}.")
        wanted |= {f"{at}{path}" for path, row in found if "read" not in row}
    assert wanted - said == set()


def test_the_whole_plan_is_valid_r4_and_meets_our_profiles() -> None:
    seen = set()
    for entry in mapping.to_fhir(WHOLE["plan"], TABLES).entries:
        asked = (EXTENSIONS + OWN[entry.kind],) if entry.kind in OWN else ()
        found = [*check(entry.resource, R4, definitions=KNOWN, profiles=asked), *policy(entry.resource, R4)]
        assert not [i for i in found if i.severity in ("error", "fatal")], entry.kind
        models.get_fhir_model_class(entry.resource["resourceType"]).model_validate_json(strict.dump(entry.resource))
        seen.add(entry.kind)
    assert seen == set(TABLES.by_kind)


@pytest.mark.parametrize(
    ("key", "item", "kept"),
    [
        ("risks", {"tier": "high", "by": "person"}, "by"),  # FHIR takes no patient there
        ("risks", {"tier": "high", "by": "c-bro"}, "by"),
        ("media", {"title": "x", "link": "javascript:alert(1)"}, "link"),
        ("media", {"title": "x", "link": "on my tablet"}, "link"),
        ("wheels", {"spokes": [{"now": 4}]}, "spokes"),  # a spoke without a name
        ("wheels", {"spokes": [{"name": "Sleep", "now": 4, "colour": "blue", "next": 11}]}, ""),
        ("actions", {"text": "x", "codes": [{"system": "https://fhir-gateway.example/CodeSystem/plan-action-kind", "code": "team"}]}, "codes"),
        ("referrals", {"text": "x", "status": "withdrawn"}, "status"),  # shares a code with `declined`
        ("contingency", {"details": [{"of": "weather"}]}, "details.of"),
    ],
)
def test_what_fhir_cannot_say_there_is_kept_beside_and_comes_back(key: str, item: dict[str, Any], kept: str) -> None:
    plan = {"plan": "1", "id": "p", "contacts": [{"id": "c-bro", "name": "Bo"}], key: [{"id": "i", **item}]}
    entries = mapping.bundle(plan, TABLES)["entry"]
    assert dump(mapping.from_fhir(entries, TABLES)) == dump(plan)
    for e in entries:
        assert not [i for i in check(e["resource"], R4, definitions=KNOWN) if i.severity == "error"], e["resource"]
    beside = [x for e in entries for x in strings(e["resource"]) if x.startswith("[")]
    assert not kept or json.dumps(kept.split("."), separators=(",", ":")) in beside or json.dumps(kept.split(".")[-1:]) in beside


def strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    for v in value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else ():
        yield from strings(v)


@pytest.mark.parametrize("system", ["https://fhir.nhs.uk/Id/nhs-number", "https://fhir-gateway.example/id/plan/person", "https://fhir-gateway.example/id/plan",
                                    "https://fhir-gateway.example/id/organisation"])  # fmt: skip
def test_a_further_number_is_never_one_by_which_the_gateway_knows_people(system: str) -> None:
    """Else a plan could call itself somebody else's by it."""
    plan = {"plan": "1", "id": "p", "person": {"id": "me", "other_ids": [{"system": system, "value": "9990000018"}]}}
    entries = mapping.bundle(plan, TABLES)["entry"]
    patient = next(e["resource"] for e in entries if e["resource"]["resourceType"] == "Patient")
    assert patient["identifier"] == [{"system": "https://fhir-gateway.example/id/plan/person", "value": "p/me"}]
    assert mapping.from_fhir(entries, TABLES) == plan


def test_an_action_that_was_stored_before_it_had_codes_reads_the_same() -> None:
    plan = {"plan": "1", "id": "p", "actions": [{"id": "a", "text": "x", "kind": "team"}]}
    entries = mapping.bundle(plan, TABLES)["entry"]
    task = next(e["resource"] for e in entries if e["resource"]["resourceType"] == "Task")
    assert task["code"]["coding"] == [{"code": "team", "system": "https://fhir-gateway.example/CodeSystem/plan-action-kind"}]
    assert mapping.from_fhir(entries, TABLES) == plan


def test_somebody_elses_task_gives_its_codes_and_no_kind() -> None:
    coding = {"system": "http://snomed.info/sct", "code": "229070002", "display": "Stretching"}
    read = mapping.from_fhir([{"resourceType": "Patient", "id": "p"}, {"resourceType": "Task", "id": "t", "status": "requested", "intent": "order",
                              "for": {"reference": "Patient/p"}, "code": {"coding": [coding]}}], TABLES)  # fmt: skip
    assert read["actions"] == [{"id": "t", "text": "Stretching", "codes": [coding], "status": "waiting"}]


async def test_the_whole_plan_goes_into_the_record_once_and_comes_out_equal(tmp_path: Path) -> None:
    async with opened(tmp_path / "whole.sqlite") as place:
        saved = await plans.save(place.hospital, WHOLE["plan"])
        assert saved.patient and saved.refused == 0 and saved.unmapped == []
        for reader in (place.hospital, place.patient(saved.patient)):
            assert dump(await plans.load(reader, saved.patient)) == dump(WHOLE["plan"])
        again = await plans.save(place.hospital, WHOLE["plan"])
        assert (again.patient, again.written) == (saved.patient, 0)
        without = {k: v for k, v in WHOLE["plan"].items() if k not in ("risks", "formulations", "wheels", "barriers", "referrals", "media")}
        assert (await plans.save(place.hospital, without)).written > 0
        assert dump(await plans.load(place.hospital, saved.patient)) == dump(without)
