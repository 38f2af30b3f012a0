"""Judging a resource takes time in proportion to its size: nothing in it is looked through once for each other thing in it.

Sizes are compared by processor time, four times as much may take nine times as long; what was quadratic takes sixteen.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from fhir_gateway import definitions
from fhir_gateway.domain import answers, relationships, said_again
from fhir_gateway.domain.directory import Directory
from fhir_gateway.domain.mapping.names import EXTENSIONS
from fhir_gateway.domain.problem import Issue, few
from fhir_gateway.domain.types import Writer
from fhir_gateway.domain.validate import check, policy
from fhir_gateway.domain.versions import Version

R4 = definitions.load_r4()
OBSERVATION = {"resourceType": "Observation", "status": "final", "code": {"text": "x"}}
SEVERAL = 4


def told(inside: str) -> dict[str, Any]:
    return {**OBSERVATION, "text": {"status": "generated", "div": f'<div xmlns="http://www.w3.org/1999/xhtml">{inside}</div>'}}


def bundle(kind: str, resources: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    entries = [{"fullUrl": f"http://example.org/fhir/{r['resourceType']}/{r.get('id', 'x')}", "resource": r} for r in resources]
    return {"resourceType": "Bundle", "type": kind, "entry": entries, **more}


def linked(n: int) -> list[dict[str, Any]]:
    return [{"resourceType": "Patient", "id": f"p{i}", "link": [{"other": {"reference": f"Patient/p{i * 7 % n}"}, "type": "seealso"}]} for i in range(n)]


def asked_for(n: int) -> dict[str, Any]:
    some = bundle("searchset", [{"resourceType": "Patient", "id": f"p{i}"} for i in range(n)])
    for entry in some["entry"]:
        entry["search"] = {"mode": "match"}
    return {**some, "link": [{"relation": "self", "url": "http://example.org/fhir?_type=" + ",".join(f"A{i}" for i in range(20 * n)) + ",Patient"}]}


def guide(n: int) -> dict[str, Any]:
    versions = [f"4.0.{i}" for i in range(n)]
    resources = [{"reference": {"reference": "Patient/1"}, "fhirVersion": [v]} for v in versions]
    return {"resourceType": "ImplementationGuide", "fhirVersion": versions, "definition": {"resource": resources}}


SHAPES: dict[str, Callable[[int], dict[str, Any]]] = {
    "links in a narrative that lead nowhere": lambda n: told("".join(f'<a href="#a{i}">x</a>' for i in range(n))),
    "links in a narrative to its own ids": lambda n: told("".join(f'<p id="a{i}"><a href="#a{n - i}">x</a></p>' for i in range(n))),
    "contained resources that refer back": lambda n: {
        **OBSERVATION, "contained": [{**OBSERVATION, "id": f"o{i}", "hasMember": [{"reference": "#"}]} for i in range(n)],
    },
    "contained resources that are referred to": lambda n: {
        **OBSERVATION, "contained": [{"resourceType": "Patient", "id": f"p{i}"} for i in range(n)],
        "performer": [{"reference": f"#p{n - i - 1}"} for i in range(n)],
    },
    "a collection whose entries refer to each other": lambda n: bundle("collection", linked(n)),
    "a document whose entries refer to each other": lambda n: bundle("document", linked(n)),
    "Bundles in a Bundle": lambda n: bundle("collection", [{**bundle("collection", linked(1)), "id": f"b{i}"} for i in range(n)]),
    "a searchset that asked for many types": asked_for,
    "a guide of many versions": guide,
    "components with codes": lambda n: {
        **OBSERVATION, "component": [{"code": {"coding": [{"system": "http://example.org", "code": f"c{i}"}]}, "valueString": "x"} for i in range(n)],
    },
    "questions that depend on each other": lambda n: {
        "resourceType": "Questionnaire", "status": "draft",
        "item": [
            {"linkId": f"l{i}", "type": "string", "text": "x", "enableWhen": [{"question": f"l{i // 2}", "operator": "exists", "answerBoolean": True}]}
            for i in range(n)
        ],
    },
}  # fmt: skip


def seconds(work: Callable[[], object]) -> float:
    """Of the processor, the least of three."""
    found = []
    for _ in range(3):
        start = time.process_time()
        work()
        found.append(time.process_time() - start)
    return min(found)


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_judging_takes_time_in_proportion_to_the_size(shape: Callable[[int], dict[str, Any]]) -> None:
    small, large = shape(1_000), shape(1_000 * SEVERAL)
    once = seconds(lambda: [*check(small, R4), *policy(small, R4)])
    assert seconds(lambda: [*check(large, R4), *policy(large, R4)]) < 9 * once + 0.02


def answered(n: int) -> dict[str, Any]:
    """Many answers to one question, and many groups that depend on it."""
    answer = [{"valueCoding": {"system": "http://example.org", "code": "last"}} for _ in range(n)]
    groups = [{"linkId": "group", "item": [{"linkId": "why", "answer": [{"valueString": "x"}]}]} for _ in range(n)]
    return {"resourceType": "QuestionnaireResponse", "status": "completed", "item": [{"linkId": "which", "answer": answer}, *groups]}


def test_answers_take_time_in_proportion_to_their_number() -> None:
    options = [{"valueCoding": {"system": "http://example.org", "code": f"c{i}"}} for i in range(20)]
    options.append({"valueCoding": {"system": "http://example.org", "code": "last"}})
    when = [{"question": "which", "operator": "=", "answerCoding": {"system": "http://example.org", "code": "c1"}}]
    asked = {
        "resourceType": "Questionnaire",
        "item": [
            {"linkId": "which", "type": "choice", "repeats": True, "answerOption": options},
            {"linkId": "group", "type": "group", "repeats": True, "item": [{"linkId": "why", "type": "string", "enableWhen": when}]},
        ],
    }  # fmt: skip
    small, large = answered(700), answered(700 * SEVERAL)
    once = seconds(lambda: answers.check(small, asked, R4, lambda *_: None))
    assert seconds(lambda: answers.check(large, asked, R4, lambda *_: None)) < 9 * once + 0.02


NOT_OURS: dict[str, Callable[[int], str]] = {
    "tags that never end": lambda n: "<" * n,
    "a tag that never ends": lambda n: "<" + "a" * n,
    "references that never end": lambda n: "&a" * n,
    "a number without end": lambda n: "&#" + "1" * n,
    "tags": lambda n: "<>" * n,
}


@pytest.mark.parametrize("marked", [True, False])
@pytest.mark.parametrize("shape", NOT_OURS.values(), ids=NOT_OURS)
def test_a_narrative_is_known_as_ours_in_time_in_proportion_to_its_size(shape: Callable[[int], str], marked: bool) -> None:
    def plan(n: int) -> dict[str, Any]:
        start = f'<div class="{said_again.CLASS}0123456789abcdef">' if marked else "<div>"
        step = {"url": f"{EXTENSIONS}contingency-step", "valueString": "x"}
        return {"resourceType": "CarePlan", "extension": [step], "text": {"status": "generated", "div": start + shape(n)}}

    small, large = plan(4_000), plan(4_000 * SEVERAL)
    assert said_again.without(large) is large
    once = seconds(lambda: said_again.without(small))
    assert seconds(lambda: said_again.without(large)) < 9 * once + 0.02


OUTCOME_MOST = 201


@pytest.mark.parametrize(
    "resource",
    [
        told("<b>" * 30_000 + "x" + "</b>" * 30_000),
        told("<div>" * 30_000 + "x" + "</div>" * 30_000),
        told("<x/>" * 30_000),
        told('<img src="https://example.org/x"/>' * 10_000),
        told('<a href="javascript:x">x</a>' * 10_000),
        told("".join(f'<a href="#a{i}">x</a>' for i in range(10_000))),
        {**OBSERVATION, "identifier": [{"use": "x"} for _ in range(30_000)]},
        {**OBSERVATION, "modifierExtension": [{"url": "http://example.org/m", "valueString": "x"} for _ in range(30_000)]},
        bundle("searchset", [{"resourceType": "Patient", "id": "p"} for _ in range(5_000)], link=[{"relation": "self", "url": "http://example.org/Goal"}]),
    ],
    ids=lambda r: r["resourceType"] + " " + str(next(k for k in ("text", "identifier", "modifierExtension", "entry") if k in r)),
)
def test_what_is_wrong_everywhere_is_told_two_hundred_times_at_most(resource: dict[str, Any]) -> None:
    issues = [*check(resource, R4), *policy(resource, R4)]
    assert any(i.severity == "error" for i in issues)
    assert len(issues) <= 2 * OUTCOME_MOST
    assert len(str(issues)) < 200_000


def test_that_there_is_more_is_said() -> None:
    wrong = {**OBSERVATION, "identifier": [{"use": "x"} for _ in range(201)]}
    assert check(wrong, R4)[-1].code == "too-costly"
    some = {**OBSERVATION, "identifier": [{"use": "x"} for _ in range(199)]}
    assert len(check(some, R4)) == 199


def test_warnings_without_end_hide_no_error() -> None:
    warning, error = Issue("warning", "invalid", "", "perhaps"), Issue("error", "invalid", "", "wrong")
    told_first = few([*[warning] * 1_000, error])
    assert told_first[0] == error and len(told_first) == OUTCOME_MOST
    assert few([warning, error]) == [warning, error]


def test_a_narrative_is_nested_two_hundred_levels_at_most() -> None:
    assert [*check(told("<div>" * 150 + "x" + "</div>" * 150), R4)] == []
    assert ["nested" in i.text for i in check(told("<div>" * 250 + "x" + "</div>" * 250), R4)] == [True]


def named(n: int) -> list[dict[str, str]]:
    return [{"reference": f"Practitioner/p{i}"} for i in range(n)]


def looked_after(n: int) -> list[Any]:
    """A team, a referral and a practice that name as many, written twice."""
    bodies = {
        "CareTeam/1": {"status": "active", "participant": [{"member": m} for m in named(n)]},
        "ServiceRequest/1": {"status": "active", "performer": named(n)},
        "Patient/1": {"generalPractitioner": named(n)},
    }
    chains = {ref: [Version(body, Writer("Practitioner/gp"), at) for at in (1, 2)] for ref, body in bodies.items()}
    nobody = Directory()
    return [
        *relationships.from_team("CareTeam/1", chains["CareTeam/1"], [], nobody),
        *relationships.from_referral("ServiceRequest/1", chains["ServiceRequest/1"], {}, chains, nobody, {}),
        *relationships.from_practice("Patient/1", chains["Patient/1"], [], nobody),
    ]


def test_who_looks_after_somebody_takes_time_in_proportion_to_how_many_are_named() -> None:
    assert len(looked_after(100)) == 300
    assert seconds(lambda: looked_after(250 * SEVERAL)) < 9 * seconds(lambda: looked_after(250)) + 0.02


def test_a_member_counts_from_when_they_were_put_in_for_all_that_time() -> None:
    def team(*periods: tuple[str, str]) -> dict[str, Any]:
        return {"status": "active", "participant": [{"member": named(1)[0], "period": {"start": a, "end": b}} for a, b in periods]}

    short, long, late = ("2026-01-01", "2026-02-01"), ("2026-01-01", "2026-03-01"), ("2026-02-01", "2026-02-02")
    for before, now, had in (
        (team(long), team(short), True), (team(long, late), team(late), True), (team(short, late), team(long), False), (team(late), team(short), False),
    ):  # fmt: skip
        assert relationships._Team(before).had(relationships._members(now)[0]) is had
