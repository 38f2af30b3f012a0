"""Laws of the mapping: what goes in comes back, whatever it is; nothing in a value is ever evaluated."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import fhir.resources.R4B as models
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fhir_gateway import definitions, plans
from fhir_gateway.domain import mapping, strict
from fhir_gateway.domain import plan as planning
from fhir_gateway.domain.mapping.carrier import dump
from fhir_gateway.domain.validate import check, policy
from fhir_gateway.tables import load_tables

from .conftest import times

TABLES = load_tables()
R4 = definitions.load_r4()
KNOWN = definitions.read_definitions(None)  # our extensions
CASES = Path(__file__).parent / "cases" / "plans"
quick = settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
thorough = settings(max_examples=times(1_500), deadline=None, suppress_health_check=list(HealthCheck))


def there_and_back(plan: dict[str, Any]) -> dict[str, Any]:
    """Through FHIR as JSON bytes, as it would travel."""
    bundle = mapping.bundle(plan, TABLES)
    return mapping.from_fhir(strict.read(strict.dump(bundle))["entry"], TABLES)


# -- plans ------------------------------------------------------------------------------------------------------------

TEXT = st.text(st.characters(codec="utf-8"), max_size=12) | st.sampled_from(
    ["", " ", "\u00a0", "a\nb", "é", "বাংলা", "{{ 7 * 7 }}", "${HOME}", "%(x)s", "a/b#c%2F", "person", "t-1", "c-1", "n-1", "g-1", "\x00"]
)
NUMBER = st.integers(-(2**70), 2**70) | st.decimals(allow_nan=False, allow_infinity=False, places=2) | st.sampled_from(
    [Decimal("70.10"), Decimal("1E+3"), Decimal("0.000"), Decimal("-0.0"), 0, 1, 10, 11]
)
ANY = st.recursive(
    st.none() | st.booleans() | NUMBER | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)
DATE = st.sampled_from(["2026", "2026-02", "2026-02-28", "", "2026-02-30", "soon", "2026-01-31", "1951"])
MOMENT = DATE | st.sampled_from(["2026-06-01T10:30:00+01:00", "2026-06-01T10:30:00.120Z", "2026-06-01T10:30"])
UNKNOWN = st.dictionaries(st.sampled_from(["x_a", "x b", "", "x/y", "x[0]", "extension"]), ANY, max_size=2)


def from_schema(schema: dict[str, Any]) -> st.SearchStrategy[Any]:
    """What the published schema describes."""
    if "const" in schema:
        return st.just(schema["const"])
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    if "examples" in schema:
        return st.sampled_from(schema["examples"]) | TEXT
    if "pattern" in schema:
        return MOMENT if schema["pattern"] == planning.MOMENT else DATE
    types = schema.get("type", [])
    kind = types if isinstance(types, str) else next((t for t in types if t != "null"), "")
    if kind == "object":
        return objects(schema)
    if kind == "array":
        return st.lists(from_schema(schema["items"]), max_size=3)
    return {
        "string": TEXT, "boolean": st.booleans(), "number": NUMBER,
        "integer": st.integers(schema.get("minimum", 0), schema.get("maximum", 10)),
    }.get(kind, ANY)  # fmt: skip


def objects(schema: dict[str, Any]) -> st.SearchStrategy[dict[str, Any]]:
    known = {k: from_schema(s) for k, s in schema["properties"].items()}
    some = st.fixed_dictionaries({}, optional=known)
    return st.builds(lambda a, b: {**b, **a}, some, UNKNOWN)


def loosened(schema: dict[str, Any]) -> dict[str, Any]:
    """The same keys with anything in them: what a strange program might write."""
    return {k: v for k, v in schema.items() if k not in ("type", "enum", "pattern", "minimum", "maximum", "const")}


SCHEMA = planning.schema(TABLES)
# Answers below answers: the names that the published schema leaves open and the mapping reads.
ANSWER = st.integers(0, 9) | st.booleans() | st.sampled_from(["yes", Decimal("4.50"), ["a", "b"], [1, 2, 3]])
ITEM = st.recursive(
    st.fixed_dictionaries({"id": st.sampled_from(["q", "q.1"])}, optional={"answer": ANSWER, "text": st.just("Really?")}),
    lambda below: st.fixed_dictionaries(
        {"id": st.sampled_from(["q", "group"]), "items": st.lists(below, min_size=1, max_size=2)}, optional={"answer": ANSWER},
    ),
    max_leaves=4,
) | st.fixed_dictionaries({"id": TEXT}, optional={"answer": ANY, "text": ANY, "items": ANY})  # fmt: skip
ANSWERED = st.lists(st.fixed_dictionaries({"id": st.sampled_from(["a", "b"]), "items": st.lists(ITEM, min_size=1, max_size=3)}), max_size=2)
SHAPED = st.builds(lambda plan, answers: {**plan, **({"answers": answers} if answers else {})}, objects(SCHEMA), ANSWERED)
ODD = st.builds(
    lambda plan, odd: {**plan, **odd}, SHAPED, st.dictionaries(st.sampled_from(sorted(SCHEMA["properties"])), ANY, max_size=3)
)


def same(a: Any, b: Any) -> bool:
    """Equal, decimals to the digit."""
    return dump(a) == dump(b)


@quick
@given(SHAPED)
def test_any_valid_plan_survives_the_round_trip(plan: dict[str, Any]) -> None:
    assert same(there_and_back(plan), plan)


@quick
@given(ODD)
def test_any_object_with_the_names_of_a_plan_survives(plan: dict[str, Any]) -> None:
    assert same(there_and_back(plan), plan)


@pytest.mark.slow
@thorough
@given(ODD)
def test_any_object_survives_many_times_over(plan: dict[str, Any]) -> None:
    assert same(there_and_back(plan), plan)


def without_errors(plan: dict[str, Any]) -> dict[str, Any]:
    """The same without the parts that a check refuses: everything else stays, answers below answers above all."""
    plan = {**plan, "plan": "1", "person": plan.get("person") or {"id": "p"}}
    while wrong := {re.split(r"[.\[]", i.where)[0] for i in planning.check(plan, TABLES) if i.severity == "error"}:
        plan = {k: v for k, v in plan.items() if k not in wrong}
        if "person" in wrong:
            plan["person"] = {"id": "p"}
        if "" in wrong:
            plan = {k: v for k, v in plan.items() if k in ("plan", "person", "answers")}
        assert "plan" not in wrong
    return plan


@quick
@given(SHAPED)
def test_a_plan_without_errors_becomes_valid_r4(plan: dict[str, Any]) -> None:
    plan = without_errors(plan)
    for entry in mapping.to_fhir(plan, TABLES).entries:
        raw = strict.dump(entry.resource)
        strict.read(raw)
        found = (*check(entry.resource, R4, definitions=KNOWN), *policy(entry.resource, R4))
        errors = [i for i in found if i.severity in ("error", "fatal")]
        assert not errors, (errors, entry.resource)


def example_plans() -> list[Path]:
    return sorted(CASES.glob("*.json"))


def places(value: Any, way: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where every object of a plan is."""
    if isinstance(value, dict):
        yield way
        for k, v in value.items():
            yield from places(v, (*way, k))
    elif isinstance(value, list):
        for n, v in enumerate(value):
            yield from places(v, (*way, n))


@pytest.mark.parametrize("file", example_plans(), ids=lambda f: f.stem)
def test_an_unknown_key_at_any_depth_returns(file: Path) -> None:
    plan = plans.read_plan(file.read_bytes())
    tried = 0
    for way in places(plan):
        changed = copy.deepcopy(plan)
        here: Any = changed
        for step in way:
            here = here[step]
        here["x_new"] = {"deep": [None, {"": Decimal("1.50")}, [], {}, ""]}
        assert same(there_and_back(changed), changed), way
        tried += 1
    assert tried > 50 or file.stem == "bare"


ODDS: tuple[Any, ...] = (None, [], "x", "", {}, 7, Decimal("7.0"), True, ["x", 1], [{}], [{"id": "y"}], {"id": None})


@pytest.mark.parametrize("file", example_plans(), ids=lambda f: f.stem)
def test_every_value_may_be_something_else(file: Path) -> None:
    survive_odd_values(file, ODDS[:2])


@pytest.mark.slow
@pytest.mark.parametrize("file", example_plans(), ids=lambda f: f.stem)
def test_every_value_may_be_anything_else(file: Path) -> None:
    survive_odd_values(file, ODDS[2:])


def survive_odd_values(file: Path, odds: tuple[Any, ...]) -> None:
    plan = plans.read_plan(file.read_bytes())
    for way in places(plan):
        for key in list(_at(plan, way)):
            for odd in odds:
                changed = copy.deepcopy(plan)
                _at(changed, way)[key] = odd
                assert same(there_and_back(changed), changed), (way, key, odd)


def _at(value: Any, way: tuple[Any, ...]) -> Any:
    for step in way:
        value = value[step]
    return value


TRICKS = (
    "{{ 7*7 }}", "{{ ''.__class__ }}", "${7*7}", "#{7*7}", "%{7*7}", "%s%n", "{0}", "{% for x in y %}", "$(id)", "`id`", "=1+1", "\\u0041",
    "<%= 7*7 %>", "!!python/object/apply:os.system ['id']", "Patient?identifier=x", "urn:uuid:0", "#contained", "javascript:0", "&amp;",
)  # fmt: skip


@pytest.mark.parametrize("trick", TRICKS)
def test_values_are_never_evaluated(trick: str) -> None:
    """Every text of a plan, replaced by something that some engine somewhere would run, comes back letter by letter."""
    plan = plans.read_plan(example_plans()[0].read_bytes())
    for way in list(places(plan)):
        for key, value in _at(plan, way).items():
            if isinstance(value, str) and key not in ("plan", "id"):
                _at(plan, way)[key] = trick
    bundle = mapping.bundle(plan, TABLES)
    assert same(mapping.from_fhir(strict.read(strict.dump(bundle))["entry"], TABLES), plan)
    assert trick in strict.dump(bundle).decode() or strict.dump(trick).decode().strip('"') in strict.dump(bundle).decode()


@quick
@given(SHAPED)
def test_the_same_plan_gives_the_same_resources(plan: dict[str, Any]) -> None:
    backwards = _reversed(plan)
    assert dump(mapping.bundle(plan, TABLES)) == dump(mapping.bundle(backwards, TABLES))


def _reversed(value: Any) -> Any:
    """Equal JSON, its keys the other way round."""
    if isinstance(value, dict):
        return {k: _reversed(value[k]) for k in reversed(value)}
    return [_reversed(v) for v in value] if isinstance(value, list) else value


@pytest.mark.parametrize("file", example_plans(), ids=lambda f: f.stem)
def test_the_models_of_others_accept_what_we_write(file: Path) -> None:
    for entry in mapping.to_fhir(plans.read_plan(file.read_bytes()), TABLES).entries:
        models.get_fhir_model_class(entry.resource["resourceType"]).model_validate_json(strict.dump(entry.resource))
