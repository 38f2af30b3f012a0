"""A no by a code covers what is under it, as far as the deployment says what that is (consent.md 1.5)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fhir_gateway import definitions
from fhir_gateway.domain import consent, grants, predicate, provisions, reach
from fhir_gateway.domain.descendants import Descendants, widened
from fhir_gateway.domain.standing import Policy, Standing
from fhir_gateway.domain.types import Ask, Facts

from .conftest import Gateway, gateway
from .worlds import CODES, P1, Dice, a_consent, a_resource, a_standing, an_ask

SCT = "http://snomed.info/sct"
MORE = "urn:narrower|"
FAST = settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))


def system(*concepts: Any, url: str = "urn:s", **more: Any) -> dict[str, Any]:
    def node(concept: Any) -> dict[str, Any]:
        code, *below = concept if isinstance(concept, tuple) else (concept,)
        return {"code": code, **({"concept": [node(b) for b in below]} if below else {})}

    return {"resourceType": "CodeSystem", "url": url, "status": "active", "content": "complete", "concept": [node(c) for c in concepts]} | more


def value_set(url: str = "urn:v", **more: Any) -> dict[str, Any]:
    return {"resourceType": "ValueSet", "url": url, "status": "active", **more}


FOCUS = {"code": {"system": "http://terminology.hl7.org/CodeSystem/usage-context-type", "code": "focus"}}
TREE = system(("a", ("b", "c"), "d"), "e")


def test_nested_concepts_cover_at_every_depth_and_siblings_do_not():
    known = Descendants.read([TREE])
    assert known.of(["urn:s|a"]) == {"urn:s|a", "urn:s|b", "urn:s|c", "urn:s|d"}
    assert known.of(["urn:s|b"]) == {"urn:s|b", "urn:s|c"}
    assert known.of(["urn:s|e", "urn:other|a"]) == {"urn:s|e", "urn:other|a"}


def test_a_concept_may_name_its_parent_or_child_instead():
    said = [{"code": "x", "property": [{"code": "parent", "valueCode": "y"}]}, {"code": "y", "property": [{"code": "child", "valueCode": "z"}]}]
    assert Descendants.read([{**TREE, "concept": said}]).of(["urn:s|y"]) == {"urn:s|x", "urn:s|y", "urn:s|z"}


@pytest.mark.parametrize("more", [{"hierarchyMeaning": "part-of"}, {"hierarchyMeaning": "grouped-by"}, {"content": "supplement"}])
def test_what_is_no_hierarchy_of_kinds_covers_nothing(more):
    assert Descendants.read([{**TREE, **more}]).digest == ""


LISTED = {"compose": {"include": [{"system": SCT, "concept": [{"code": "1"}, {"code": "2"}]}], "exclude": [{"system": SCT, "concept": [{"code": "2"}]}]}}
IS_A = {"compose": {"include": [{"system": SCT, "filter": [{"property": "concept", "op": "is-a", "value": "9"}]}]}}
EXPANDED = {"expansion": {"contains": [{"system": SCT, "code": "9", "contains": [{"system": SCT, "code": "1"}]}]}}


@pytest.mark.parametrize(
    "said",
    [
        value_set(useContext=[{**FOCUS, "valueCodeableConcept": {"coding": [{"system": SCT, "code": "9"}]}}], **LISTED),
        value_set(**IS_A, **EXPANDED),
        value_set(f"{SCT}?fhir_vs=isa/9", **EXPANDED),
    ],
    ids=("focus", "filter", "address"),
)
def test_a_value_set_covers_for_the_code_whose_descendants_it_lists(said):
    assert Descendants.read([said]).of([f"{SCT}|9"]) == {f"{SCT}|9", f"{SCT}|1"}


def test_a_value_set_that_says_nothing_of_a_code_or_was_not_expanded_covers_nothing():
    assert Descendants.read([value_set(**LISTED), value_set(**IS_A), value_set(**EXPANDED)]).digest == ""


json_values = st.recursive(st.none() | st.booleans() | st.integers() | st.text(max_size=4), lambda x: st.lists(x, max_size=3))
parts = ("concept", "compose", "expansion", "useContext", "property", "contains", "include", "filter", "url", "code", "system", "exclude")


@FAST
@given(st.recursive(json_values, lambda x: st.dictionaries(st.sampled_from(parts), x | st.lists(x, max_size=3)), max_leaves=20), st.sampled_from(("CodeSystem", "ValueSet")))
def test_a_definition_of_any_shape_is_read(junk, kind):
    Descendants.read([{"url": "urn:s", **(junk if isinstance(junk, dict) else {"concept": junk}), "resourceType": kind}])


def test_a_circle_ends():
    circle = [system(("a", "b")), system(("b", "a"), url="urn:s")]
    assert Descendants.read(circle).of(["urn:s|a"]) == {"urn:s|a", "urn:s|b"}


def test_what_comes_with_the_gateway_covers_its_labels():
    shipped = definitions.descendants(definitions.read_definitions(None))
    assert f"{SCT}|35489007" in shipped.of(["http://terminology.hl7.org/CodeSystem/v3-ActCode|MH"])


# -- laws -------------------------------------------------------------------------------------------------------------

DICE = st.integers(0, 2**48).map(Dice)
TABLE = Descendants({c: frozenset({f"{MORE}{i}", CODES[i - 1]}) for i, c in enumerate(CODES)}, "some")


def a_question(dice: Dice) -> tuple[Ask, Standing, Facts]:
    facts = a_resource(dice)
    if dice.one_in(2):
        facts = replace(facts, codes=frozenset({f"{MORE}{dice.choice(range(len(CODES)))}"}))
    speaking = tuple(g for i in range(3) if (g := provisions.parse(a_consent(dice), f"more{i}", 1)).speaks())
    if dice.one_in(2):
        body = hiding(*dice.choice(CODES).split("|"), P1)
        speaking = (*speaking, provisions.parse(body, "hides", 1))
    standing = a_standing(dice, links=False)
    return an_ask(dice), replace(standing, grants=(*standing.grants, *speaking), emergencies=()), facts


def wider(standing: Standing) -> Standing:
    return replace(standing, grants=tuple(widened(g, TABLE) for g in standing.grants))


@FAST
@given(DICE)
def test_a_table_of_descendants_never_opens(dice):
    ask, standing, facts = a_question(dice)
    assert consent.decide(ask, facts, {P1: wider(standing)}).permit <= consent.decide(ask, facts, {P1: standing}).permit


@FAST
@given(DICE)
def test_a_consent_that_only_permits_is_left_alone(dice):
    def permitting(rule: grants.Rule) -> grants.Rule:
        return replace(rule, type="permit", rules=tuple(permitting(r) for r in rule.rules))

    grant = provisions.parse(a_consent(dice), "c", 1)
    grant = replace(grant, root=permitting(grant.root))
    assert widened(grant, TABLE) == grant


@FAST
@given(DICE)
def test_both_engines_agree_on_descendants(dice):
    ask, standing, facts = a_question(dice)
    known = {P1: wider(standing)}
    facts = replace(facts, patients=(P1,))
    assert predicate.matches(reach.scope(ask, known), facts) == consent.decide(ask, facts, known).permit


def test_random_worlds_hold_some_that_close():
    questions = [a_question(Dice(n)) for n in range(1_000)]
    closed = sum(
        consent.decide(a, f, {P1: s}).permit and not consent.decide(a, f, {P1: wider(s)}).permit for a, s, f in questions
    )  # fmt: skip
    assert closed > 20


def test_an_exception_in_a_no_is_for_the_codes_that_the_no_names():
    a = [{"coding": [{"system": "urn:s", "code": "a"}]}]
    body = {
        "status": "active",
        "provision": {"provision": [{"type": "deny", "code": a, "provision": [{"type": "permit", "actor": [
            {"role": {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v3-ParticipationType", "code": "IRCP"}]}, "reference": {"reference": "Practitioner/a"}}
        ]}]}]},
        "policyRule": {"coding": [{"system": "https://fhir-gateway.example/CodeSystem/policy", "code": "uk-direct-care"}]},
    }  # fmt: skip
    (deny,) = widened(provisions.parse(body, "c", 1), Descendants.read([TREE])).root.rules
    assert deny.codes == {"urn:s|a"} and [r.type for r in deny.rules] == ["permit", "deny"]
    assert deny.rules[1].codes == {"urn:s|b", "urn:s|c", "urn:s|d"} and not deny.rules[1].rules


# -- the command ------------------------------------------------------------------------------------------------------


def test_decide_takes_a_folder_of_definitions(demo: Gateway, tmp_path: Path) -> None:
    (tmp_path / "tree.json").write_text(json.dumps(TREE))
    case = {
        "id": "x", "consents": [hiding("urn:s", "a", "Patient/p")],
        "request": {
            "at": "2026-11-01T10:00:00Z", "purpose": "TREAT", "action": "access",
            "actor": {"kind": "professional", "ids": ["Practitioner/a"], "sector": "health", "relationship": True, "clinician": True},
            "resource": {"type": "Condition", "id": "c", "patient": "Patient/p", "codes": ["urn:s|c"]},
        },
    }  # fmt: skip
    line = json.dumps(case)
    assert [a["decision"] for a in demo.lines("decide", stdin=line)] == ["permit"]
    assert [(a["decision"], a["basis"]) for a in demo.lines("decide", "--definitions", str(tmp_path), stdin=line)] == [("deny", "explicit")]
    wrong = demo.command("decide", "--definitions", str(tmp_path / "none"), stdin=line)
    assert wrong.returncode == 2 and "is not a folder" in wrong.stderr


# -- through HTTP -----------------------------------------------------------------------------------------------------


def hiding(system: str, code: str, person: str, type: str = "deny") -> dict[str, Any]:
    return {
        "resourceType": "Consent", "status": "active",
        "scope": {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/consentscope", "code": "patient-privacy"}]},
        "category": [{"coding": [{"system": "http://loinc.org", "code": "59284-0"}]}],
        "patient": {"reference": person}, "dateTime": "2026-11-01",
        "policyRule": {"coding": [{"system": "https://fhir-gateway.example/CodeSystem/policy", "code": "uk-direct-care"}]},
        "provision": {"provision": [{"type": type, "code": [{"coding": [{"system": system, "code": code}]}]}]},
    }  # fmt: skip


@pytest.fixture(scope="module")
def configured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    folder = tmp_path_factory.mktemp("configured")
    (folder / "known").mkdir()
    (folder / "known" / "tree.json").write_text(json.dumps(TREE))
    (folder / "known" / "isa.json").write_text(json.dumps(value_set(f"{SCT}?fhir_vs=isa/9", **EXPANDED)))
    with gateway(folder, "--demo", GATEWAY_DEFINITIONS=str(folder / "known")) as g:
        yield g


def condition(g: Gateway, system: str, code: str) -> str:
    body = {
        "resourceType": "Condition", "subject": {"reference": f"Patient/{g.patient}"},
        "clinicalStatus": {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/condition-clinical", "code": "active"}]},
        "code": {"coding": [{"system": system, "code": code}]},
    }  # fmt: skip
    made = g.call("patient", "POST", "Condition", body=body)
    assert made.status_code == 201, made.text
    return f"Condition/{made.json()['id']}"


@pytest.mark.parametrize(("system", "head", "under", "beside"), [("urn:s", "a", "c", "e"), (SCT, "9", "1", "2")])
def test_a_no_by_a_code_hides_what_is_under_it_until_it_is_ended(configured, system, head, under, beside):
    g = configured
    low, other = condition(g, system, under), condition(g, system, beside)

    def seen() -> set[str]:
        found = g.get("gp", f"Condition?patient=Patient/{g.patient}&_count=200").json()
        listed = {f"Condition/{e['resource']['id']}" for e in found.get("entry", ()) if e["resource"]["resourceType"] == "Condition"}
        assert {r for r in (low, other) if g.get("gp", r).status_code == 200} == listed & {low, other}
        return listed & {low, other}

    assert seen() == {low, other}
    made = g.call("patient", "POST", "Consent", body=hiding(system, head, f"Patient/{g.patient}"))
    assert made.status_code == 201, made.text
    assert seen() == {other}
    kept = made.json()
    assert kept["provision"] == hiding(system, head, "")["provision"]  # as it was written
    ended = g.call("patient", "PUT", f"Consent/{kept['id']}", body={**kept, "status": "inactive"}, headers={"If-Match": made.headers["ETag"]})
    assert ended.status_code == 200, ended.text
    assert seen() == {low, other}


def test_a_link_to_the_next_page_and_what_partners_hold_follow_a_change_of_definitions():
    assert Policy().said() != Policy(descendants=Descendants.read([TREE])).said()
    assert Policy(descendants=Descendants.read([TREE])) == Policy(descendants=Descendants.read([TREE, value_set()]))
