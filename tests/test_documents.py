"""The readable part of a document: whoever shows the narrative alone shows the plan, as far as its reader may see it, and nothing else."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fhir_gateway import definitions
from fhir_gateway.domain import document, mapping, narrative, readable, strict
from fhir_gateway.domain.document import ALWAYS, EMPTY, NOTHING, PARTS
from fhir_gateway.domain.mapping.names import is_main
from fhir_gateway.domain.types import Ref
from fhir_gateway.domain.validate import check
from fhir_gateway.tables import load_tables

WHOLE = Path(__file__).parent / "cases" / "mapping" / "whole-standard.json"
AT = datetime(2026, 11, 1, 9, tzinfo=UTC)
OWN = Path(document.__file__).parent  # where our own words are
RECORD: list[dict[str, Any]] = [
    {"resourceType": "AllergyIntolerance", "id": "a1", "code": {"text": "Penicillin"}, "criticality": "high", "reaction": [{"manifestation": [{"text": "Swollen face"}]}]},
    {"resourceType": "AllergyIntolerance", "id": "a2", "code": {"text": "Walnuts"}, "verificationStatus": {"coding": [{"code": "refuted"}]}},
    {"resourceType": "MedicationStatement", "id": "m1", "status": "stopped", "medicationCodeableConcept": {"text": "Ibuprofen"}, "statusReason": [{"text": "It hurt the stomach"}]},
    {"resourceType": "Observation", "id": "o1", "status": "final", "code": {"text": "Pulse"}, "valueQuantity": {"value": 71, "unit": "/min"}, "effectiveDateTime": "2026-10-01"},
    {"resourceType": "Goal", "id": "g-foreign", "lifecycleStatus": "active", "description": {"text": "Sleep through the night"}},
]


def resources(plan: Mapping[str, Any], more: list[dict[str, Any]] | None = None) -> dict[Ref, dict[str, Any]]:
    """What a plan becomes, each under an id of its own."""
    made = mapping.to_fhir(plan, load_tables()).entries
    text = strict.dump([e.resource for e in made]).decode()
    names = [Ref(e.resource["resourceType"], f"x{n}") for n, e in enumerate(made)]
    for e, name in zip(made, names, strict=True):
        text = text.replace(e.full_url, str(name))
    out = {name: {**r, "id": name.id} for name, r in zip(names, strict.read_list(text.encode()), strict=True)}
    return out | {Ref(r["resourceType"], r["id"]): r for r in more or ()}


def composed(seen: dict[Ref, dict[str, Any]]) -> dict[str, Any]:
    main = next(r for r in seen if r.type == "CarePlan" and is_main(seen[r]))
    read = mapping.read(seen.values(), load_tables(), homeless=False, main=str(main))
    return document.composition(main, seen, document.Read(read.plan, read.became), id="1", at=AT, base="https://here.example/fhir", confidentiality="N")


def divs(front: Mapping[str, Any]) -> list[str]:
    return [front["text"]["div"], *(s["text"]["div"] for s in front["section"])]


def shown(front: Mapping[str, Any]) -> str:
    """What is read, each text on a line."""
    return unescape(re.sub(r"<[^>]*>", "\n", "\n".join(divs(front)).replace("<br/>", "\n")))


def strings(node: Any) -> Iterator[str]:
    if isinstance(node, Mapping):
        for v in node.values():
            yield from strings(v)
    elif isinstance(node, list):
        for v in node:
            yield from strings(v)
    elif node is not None:
        yield str(node)


def words(text: str) -> set[str]:
    return set(re.findall(r"\w+", text.casefold()))


PLAN: dict[str, Any] = strict.read(WHOLE.read_bytes())["plan"]
SEEN = resources(PLAN, RECORD)
KEPT = frozenset(r for r in SEEN if r.type == "Patient" or is_main(SEEN[r]))


def literals(name: str) -> Iterator[str]:
    """Texts in a module of ours, its docstrings apart."""
    tree = ast.parse((OWN / f"{name}.py").read_text())
    said = {id(n.value) for n in ast.walk(tree) if isinstance(n, ast.Expr)}
    return (str(n.value) for n in ast.walk(tree) if isinstance(n, ast.Constant) and isinstance(n.value, str) and id(n) not in said)


OURS = words(" ".join(t for name in ("sentences", "document", "written_down") for t in literals(name)))


@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.too_slow])
@given(st.sets(st.sampled_from(sorted(SEEN, key=str))))
def test_no_text_stands_in_a_narrative_that_its_reader_does_not_see_as_data(hidden: set[Ref]) -> None:
    seen = {r: b for r, b in SEEN.items() if r in KEPT or r not in hidden}
    front = composed(seen)
    visible = words(" ".join(strings(list(seen.values()))))
    said = shown(front)
    assert {w for w in words(said) if not w.isdigit()} - visible - OURS == set()
    theirs = {t for r in SEEN if r not in seen for t in strings(SEEN[r]) if " " in t} - {t for t in strings(list(seen.values()))}
    assert [t for t in theirs if t in said and words(t) - visible - OURS] == []


@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.too_slow])
@given(st.sets(st.sampled_from(sorted(SEEN, key=str))))
def test_every_goal_action_need_and_crisis_text_that_its_reader_sees_is_in_a_narrative(hidden: set[Ref]) -> None:
    seen = {r: b for r, b in SEEN.items() if r in KEPT or r not in hidden}
    said = shown(composed(seen))
    plan = mapping.from_fhir(seen.values(), load_tables())
    wanted = [t for key in ("goals", "actions", "needs") for item in plan.get(key, ()) if isinstance(t := item.get("text"), str)]
    for crisis in plan.get("contingency", ()):
        wanted += [crisis[k] for k in ("name", "advance_statement") if crisis.get(k)]
        wanted += [t for k in ("triggers", "early_warnings", "what_should_happen", "coping") for t in crisis.get(k, ())]
        wanted += [a["item"] for a in crisis.get("anticipatory", ()) if a.get("item")]
    assert [t for t in wanted if t not in said] == []
    assert ("Sleep through the night" in said) == (Ref("Goal", "g-foreign") in seen), "also what no plan of ours made"


def test_each_section_tells_each_of_its_entries_in_fhirs_narrative() -> None:
    front = composed(SEEN)
    assert front["language"] == "en"
    for div in divs(front):
        assert narrative.wrong(div) == [] and narrative.active(div) == [] and 'lang="en" xml:lang="en"' in div
    assert [s["title"] for s in front["section"]] == ["Care plan", *(p.title for p in PARTS if p.title in {s["title"] for s in front["section"]})]
    assert all(s["text"]["div"].count("<li>") == len(s.get("entry", ())) for s in front["section"])
    crisis = next(s for s in front["section"] if s["title"] == "If things get worse")["text"]["div"]
    assert all(f"<dt>{label}</dt>" in crisis for label in ("What can set it off", "First signs", "What should happen", "Who to contact", "What helps me cope"))


def test_a_section_that_every_plan_has_says_the_same_where_there_is_nothing_and_where_it_is_hidden() -> None:
    without = {**{k: v for k, v in PLAN.items() if k not in ("goals",)}}
    hidden = {r: b for r, b in SEEN.items() if r.type != "Goal"}
    (there,) = [s for s in composed(hidden)["section"] if s["title"] == "Goals"]
    (absent,) = [s for s in composed(resources(without))["section"] if s["title"] == "Goals"]
    assert there == absent and there["emptyReason"] == EMPTY and "entry" not in there and NOTHING in there["text"]["div"]
    bare = composed({r: SEEN[r] for r in KEPT})
    assert {s["title"] for s in bare["section"] if "emptyReason" in s} == ALWAYS
    assert [i for i in check(bare, definitions.load_r4()) if i.severity in ("error", "fatal")] == []


def test_what_is_over_or_never_was_says_so() -> None:
    front = composed(SEEN)
    (warnings,) = [s["text"]["div"] for s in front["section"] if s["title"] == "Allergies and warnings"]
    assert "Allergy: Walnuts (refuted)" in warnings and "Allergy: Penicillin (dangerous)" in warnings and "Swollen face" in warnings
    (medicines,) = [s["text"]["div"] for s in front["section"] if s["title"] == "Medicines"]
    assert "Ibuprofen (stopped)" in medicines and "It hurt the stomach" in medicines
    (measured,) = [s["text"]["div"] for s in front["section"] if s["title"] == "Measurements"]
    assert "Pulse: 71 /min" in measured and "2026-10-01" in measured


def test_a_medicine_that_an_order_names_by_its_medication_is_called_so() -> None:
    order = {"resourceType": "MedicationRequest", "id": "r1", "status": "active", "intent": "order", "medicationReference": {"reference": "Medication/d1"}}
    drug = {"resourceType": "Medication", "id": "d1", "code": {"text": "Apixaban 5 mg"}}
    (medicines,) = [s for s in composed(resources(PLAN, [*RECORD, order, drug]))["section"] if s["title"] == "Medicines"]
    assert "Apixaban 5 mg" in medicines["text"]["div"] and "not described" not in medicines["text"]["div"]


@pytest.mark.parametrize("text", ["<script>alert(1)</script>", "a & b < c", '"><img src=x onerror=y>', "]]>", "میرے خاندان کے لیے کھانا", "line\nline", "x￾y"])
def test_what_a_person_typed_is_text_and_never_markup(text: str) -> None:
    goal = {"resourceType": "Goal", "id": "odd", "lifecycleStatus": "active", "description": {"text": text}}
    front = composed({r: SEEN[r] for r in KEPT} | {Ref("Goal", "odd"): goal})
    assert all(narrative.wrong(d) == [] and narrative.active(d) == [] for d in divs(front))
    (goals,) = [s["text"]["div"] for s in front["section"] if s["title"] == "Goals"]
    assert all(line in shown(front) for line in readable.clean(text).splitlines()) and "<script" not in goals and "<img" not in goals
    assert ('dir="rtl"' in goals) == (text[0] == "م")
