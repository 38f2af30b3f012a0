"""What must survive a lossless round trip: fourteen rules, one test each, and whatever real records there are to try them on."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fhir_gateway import definitions, gate, plans
from fhir_gateway.domain import mapping, sharing, strict
from fhir_gateway.domain import plan as planning
from fhir_gateway.domain.mapping.carrier import dump
from fhir_gateway.domain.mapping.foreign import KINDS
from fhir_gateway.domain.validate import check
from fhir_gateway.tables import load_tables

from .test_mapping_laws import there_and_back
from .test_plans import Place, harold, place

__all__ = ["place"]
TABLES = load_tables()
R4 = definitions.load_r4()
KNOWN = definitions.read_definitions(None)
quick = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
PERSON = {"resourceType": "Patient", "id": "p", "birthDate": "1950-01-01", "name": [{"family": "Example"}]}
NUMBER = {"system": "https://fhir.nhs.uk/Id/nhs-number", "value": "9990000018"}
DECLINED = {"url": "http://hl7.org/fhir/StructureDefinition/data-absent-reason", "valueCode": "asked-declined"}


def through_a_plan(*resources: dict[str, Any]) -> list[dict[str, Any]]:
    """What `map from-fhir` and then `map to-fhir` make of these, as bytes in between."""
    plan, _ = plans.from_fhir([PERSON, *resources])
    bundle, _ = plans.to_fhir(plans.read_plan(strict.dump(plan)))
    return [e["resource"] for e in strict.read(strict.dump(bundle))["entry"]]


def again(resource: dict[str, Any]) -> dict[str, Any]:
    """The one of this type that comes back."""
    (found,) = [r for r in through_a_plan(resource) if r["resourceType"] == resource["resourceType"] and "partOf" not in r]
    return found


def of(plan: dict[str, Any], type: str) -> list[dict[str, Any]]:
    return [r for r in mapping.to_fhir(plan, TABLES).resources if r["resourceType"] == type]


def bare(**parts: Any) -> dict[str, Any]:
    return {"plan": "1", "id": "x", "person": {"id": "p", "name": {"family": "Example"}, "birth_date": "1950-01-01"}, **parts}


def leaves(node: Any, at: str = "") -> Iterator[tuple[str, str]]:
    """Every value of a resource with the names that lead to it."""
    if isinstance(node, dict):
        for key, value in node.items():
            yield from leaves(value, f"{at}.{key}")
    elif isinstance(node, list):
        for value in node:
            yield from leaves(value, at)
    else:
        yield at, dump(node)


# -- 1 ----------------------------------------------------------------------------------------------------------------

ZONES = st.sampled_from(["Z", "+00:00", "-00:00", "+01:00", "+05:30"])
MOMENTS = st.builds(lambda d, f, z: f"{d}T10:30:00{f}{z}", st.dates(date(1900, 1, 1)).map(str), st.sampled_from(["", ".1", ".120", ".000000001"]), ZONES)
DATES = st.dates(date(1900, 1, 1)).map(str).flatmap(lambda d: st.sampled_from([d, d[:7], d[:4]]))
DECIMALS = st.decimals(-10_000, 10_000, places=3) | st.sampled_from([Decimal("70.10"), Decimal("1E+3"), Decimal("0.00"), Decimal("-0.0")])


@quick
@given(DECIMALS, DATES, MOMENTS)
def test_1_decimals_dates_and_zones_are_as_written(number: Decimal, day: str, moment: str) -> None:
    plan = bare(
        measurements=[{"id": "m", "what": {"text": "Weight"}, "value": number, "unit": "kg", "on": moment}],
        goals=[{"id": "g", "text": "t", "start": day, "target": {"what": "w", "value": number}, "notes": [{"text": "n", "on": moment}]}],
        answers=[{"id": "a", "on": moment, "items": [{"id": "q", "answer": [number, {"date": day}, {"moment": moment}]}]}],
    )
    text = strict.dump(mapping.bundle(plan, TABLES)).decode()
    assert text.count(f":{number}") >= 3 and f'"{day}"' in text and text.count(f'"{moment}"') == 4
    assert dump(there_and_back(plan)) == dump(plan)


# -- 2 ----------------------------------------------------------------------------------------------------------------

CODINGS = st.lists(
    st.fixed_dictionaries(
        {"system": st.sampled_from(["http://snomed.info/sct", "http://loinc.org", "urn:x:y"]), "code": st.sampled_from(["1", "2-3", "a"])},
        optional={"display": st.sampled_from(["Pain", "Hip"]), "userSelected": st.booleans(), "version": st.just("7")},
    ), min_size=1, max_size=4,
)  # fmt: skip


@quick
@given(CODINGS, st.sampled_from(["My hip hurts when I stand", "=1+1", "{{ x }}"]))
def test_2_the_persons_words_stand_beside_every_code_in_order(codings: list[dict[str, Any]], words: str) -> None:
    concept = {"coding": codings, "text": words}
    condition = {"resourceType": "Condition", "id": "c", "subject": {"reference": "Patient/p"}, "code": concept}
    goal = {"resourceType": "Goal", "id": "g", "lifecycleStatus": "active", "subject": {"reference": "Patient/p"}, "description": concept}
    task = {"resourceType": "Task", "id": "t", "status": "ready", "intent": "plan", "for": {"reference": "Patient/p"}, "code": concept}
    read = mapping.from_fhir([PERSON, condition, goal, task], TABLES)
    assert [read["needs"][0]["text"], read["goals"][0]["text"], read["actions"][0]["text"]] == [words] * 3
    for resource, element in ((condition, "code"), (goal, "description"), (task, "code")):
        assert dump(again(resource)[element]) == dump(concept)


# -- 3 ----------------------------------------------------------------------------------------------------------------

IDS = st.lists(st.sampled_from("abcdefg"), min_size=1, max_size=5, unique=True)


@quick
@given(IDS, IDS, IDS, st.randoms(use_true_random=False))
def test_3_tree_and_order_are_the_persons_own(needs: list[str], goals: list[str], stages: list[str], dice: Any) -> None:
    plan = bare(
        needs=[{"id": n, "text": n} for n in needs],
        goals=[{"id": g, "text": g, "needs": dice.sample(needs, len(needs)), "stage_goals": [{"id": s, "text": s} for s in dice.sample(stages, len(stages))]} for g in goals],
        actions=[{"id": a, "text": a, "goals": dice.sample(goals, len(goals))} for a in dice.sample(goals, len(goals))],
    )
    entries = strict.read(strict.dump(mapping.bundle(plan, TABLES)))["entry"]
    dice.shuffle(entries)  # a server keeps no order of its own
    assert dump(mapping.from_fhir(entries, TABLES)) == dump(plan)


# -- 4 ----------------------------------------------------------------------------------------------------------------


async def test_4_ids_are_stable_and_the_same_input_twice_writes_nothing(place: Place) -> None:
    first = await plans.save(place.hospital, harold())
    assert first.patient
    before = {h.own: (h.ref, h.version) for h in (await held(place, first.patient)).values()}
    assert (await plans.save(place.hospital, harold())).written == 0
    assert {h.own: (h.ref, h.version) for h in (await held(place, first.patient)).values()} == before
    changed = harold()
    changed["goals"] = changed["goals"][::-1]
    changed["goals"][0]["text"] += " again"
    await plans.save(place.hospital, changed)
    after = {h.own: h.ref for h in (await held(place, first.patient)).values()}
    assert after == {own: ref for own, (ref, _) in before.items()}


async def held(place: Place, patient: str) -> dict[Any, Any]:
    return await plans.keeping.holdings(place.hospital, patient)


# -- 5 ----------------------------------------------------------------------------------------------------------------

NOTHINGS: list[Any] = [None, "", [], {}, "absent"]


@quick
@given(st.sampled_from(NOTHINGS), st.sampled_from(NOTHINGS), st.sampled_from([None, "", {"absent": "asked-declined"}, {"absent": "unknown"}, "absent"]))
def test_5_empty_absent_and_declined_are_three_things(goals: Any, funding: Any, answer: Any) -> None:
    plan = bare(goals=goals, funding=funding, answers=[{"id": "a", "items": [{"id": "q", "answer": answer}]}])
    for key in ("goals", "funding"):
        if plan[key] == "absent":
            del plan[key]
    if answer == "absent":
        del plan["answers"][0]["items"][0]["answer"]
    assert dump(there_and_back(plan)) == dump(plan)
    if goals in (None, [], "absent"):  # no goals yet is no mistake
        assert not [i for i in planning.check(plan, TABLES) if i.where == "goals"]
    (response,) = of(plan, "QuestionnaireResponse")
    if isinstance(answer, dict):
        assert response["item"][0]["answer"] == [{"extension": [{**DECLINED, "valueCode": answer["absent"]}]}]
        assert not [i for i in check(response, R4, definitions=KNOWN) if i.severity == "error"]


# -- 6 ----------------------------------------------------------------------------------------------------------------


def test_6_who_said_it_who_answered_and_who_typed_are_each_kept() -> None:
    plan = bare(
        team=[{"id": "t-lw", "name": "Rosa Lind"}], contacts=[{"id": "c-leila", "name": "Leila"}],
        needs=[{"id": "n", "text": "Stairs", "said_by": "c-leila"}], goals=[{"id": "g", "text": "Walk", "set_by": "person"}],
        answers=[{"id": "a", "by": "person", "typed_by": "t-lw", "items": [{"id": "q", "answer": "yes"}]}],
        written={"by": "t-lw", "for_person": True, "on": "2026-02-03"},
    )  # fmt: skip
    urls = {e.kind: e.full_url for e in mapping.to_fhir(plan, TABLES).entries}
    (need,), (goal,), (answers,) = of(plan, "Condition"), of(plan, "Goal"), of(plan, "QuestionnaireResponse")
    assert need["asserter"]["reference"] == urls["contact"] and goal["expressedBy"]["reference"] == urls["person"]
    assert answers["source"]["reference"] == urls["person"] and answers["author"]["display"] == "Rosa Lind"
    assert dump(there_and_back(plan)) == dump(plan)
    theirs = {
        "resourceType": "Condition", "id": "c", "subject": {"reference": "Patient/p"}, "code": {"text": "Stairs"},
        "asserter": {"reference": "RelatedPerson/l", "display": "Leila"}, "recorder": {"reference": "Practitioner/r", "display": "Rosa"},
    }  # fmt: skip
    came = again(theirs)
    assert {k: came[k] for k in ("asserter", "recorder")} == {k: theirs[k] for k in ("asserter", "recorder")}


# -- 7 ----------------------------------------------------------------------------------------------------------------

JSON = st.recursive(
    st.booleans() | st.integers(0, 99) | st.sampled_from(["x", "é", Decimal("1.10")]),
    lambda v: st.lists(v, min_size=1, max_size=2) | st.dictionaries(st.sampled_from(["a", "b"]), v, min_size=1, max_size=2), max_leaves=5,
)  # fmt: skip
THEIRS = {
    "Condition": {"subject": {"reference": "Patient/p"}, "code": {"text": "x"}},
    "Goal": {"lifecycleStatus": "active", "subject": {"reference": "Patient/p"}, "description": {"text": "x"}},
    "Task": {"status": "ready", "intent": "order", "for": {"reference": "Patient/p"}, "description": "x"},
    "RelatedPerson": {"patient": {"reference": "Patient/p"}, "name": [{"family": "L", "given": ["M", "N"], "period": {"start": "2020"}}]},
    "DocumentReference": {"status": "superseded", "subject": {"reference": "Patient/p"}, "content": [{"attachment": {"url": "http://x.org/a", "title": "t"}}]},
    "QuestionnaireResponse": {"status": "amended", "subject": {"reference": "Patient/p"}, "item": [{"linkId": "q", "answer": [{"valueInteger": 1}]}]},
}


@quick
@given(st.sampled_from(sorted(THEIRS)), st.sampled_from(["", "item", "code", "description", "name", "content"]), JSON, JSON)
def test_7_what_is_unknown_travels_both_ways(type: str, inside: str, strange: Any, value: Any) -> None:
    plan = harold(x_strange=strange)
    plan["goals"][0]["x_strange"] = plan["goals"][0]["stage_goals"][0]["x_strange"] = plan["needs"][0]["x_strange"] = strange
    assert dump(there_and_back(plan)) == dump(plan)
    theirs = {"resourceType": type, "id": "one", **copy.deepcopy(THEIRS[type])}
    here = theirs[inside] if inside and isinstance(theirs.get(inside), (dict, list)) else theirs
    here = here[0] if isinstance(here, list) else here
    here["extension"] = [{"url": "https://elsewhere.example/x", "valueDecimal": Decimal("1.10")}, {"url": "https://elsewhere.example/x", "valueCode": "z"}]
    theirs["strange"] = value
    came = list(leaves(again(theirs)))
    missing = [leaf for leaf in leaves({k: v for k, v in theirs.items() if k not in ("id", "subject", "for", "patient")}) if leaf not in came]
    assert missing == []


PATHS = st.sampled_from(["status", "owner", "owner.reference", "code.coding[0].code", "code.coding[9]", "note[0].text", "identifier[0].value", "subject.reference",
                         "extension[url=x].valueString", "extension[0].url", "for", "id", "resourceType", "a..b", "", "_x", "description"])  # fmt: skip
TAKEN = st.lists(JSON | st.fixed_dictionaries({}, optional={"path": PATHS | JSON, "value": JSON | st.just({"reference": "Patient/other"}), "as": JSON}), max_size=4) | JSON


@quick
@given(TAKEN)
def test_7_what_is_said_to_have_been_taken_along_breaks_nothing_and_moves_nothing(extra: Any) -> None:
    plan = bare(actions=[{"id": "a", "text": "t", "x_fhir": extra}], goals=[{"id": "g", "text": "t", "x_fhir": extra}])
    for entry in mapping.to_fhir(plan, TABLES).entries:
        whose = entry.resource.get("for", entry.resource.get("subject"))
        assert entry.resource["resourceType"] in ("Patient", "Task", "Goal", "CarePlan") and "id" not in entry.resource
        assert entry.kind == "person" or whose == {"reference": mapping.to_fhir(plan, TABLES).entries[0].full_url}
        assert entry.resource["identifier"][0]["value"].startswith("x")
    strict.read(strict.dump(mapping.bundle(plan, TABLES)))


@pytest.mark.parametrize("path", ["code.coding[9]", "code.coding[0].code", "note[0].text", "code.coding[0]"])
@pytest.mark.parametrize("more", [{}, {"as": "what stood there"}])
def test_7_what_has_no_place_leaves_no_empty_place_behind(path: str, more: dict[str, Any]) -> None:
    extra = [{"path": path, "value": {"code": "x"}, **more}]
    plan = bare(actions=[{"id": "a", "text": "t", "x_fhir": extra}], goals=[{"id": "g", "text": "t", "x_fhir": extra}])
    strict.read(strict.dump(mapping.bundle(plan, TABLES)))


def test_7_nothing_of_real_records_is_lost_on_the_way(shared: Path) -> None:
    tried = 0
    for file in sorted((shared / "data/examples").rglob("*.json")):
        given = json.loads(file.read_bytes(), parse_float=Decimal)
        if not isinstance(given, dict) or given.get("resourceType") not in KINDS.keys() - {"Patient", "ServiceRequest", "CareTeam"}:
            continue  # a request becomes an action, a team the team of the plan
        main = {"resourceType": "CarePlan", "id": "main", "status": "active", "intent": "plan", "category": [{"coding": [{"code": "2181441000000107"}]}]}
        plan = mapping.from_fhir([PERSON, *([main] if given["resourceType"] == "CarePlan" else []), given], TABLES, keep=True)
        came = {leaf for r in mapping.to_fhir(plan, TABLES).resources for leaf in leaves(r)}
        names = ("id", "meta", "text", "implicitRules", "language", "subject", "for", "patient")
        was = {k: v for k, v in given.items() if k not in names and not (k == "identifier" and isinstance(v, dict))}
        assert [leaf for leaf in leaves(was) if leaf not in came] == [], file.name
        if isinstance(given.get("identifier"), dict):  # of answers there is one, and it is ours: theirs stays beside
            assert {"path": "identifier", "value": given["identifier"]} in plan["answers"][0]["x_fhir"]
        tried += 1
    assert tried > 80


# -- 8 ----------------------------------------------------------------------------------------------------------------

STATES = {
    "Goal": ("lifecycleStatus", ["proposed", "planned", "accepted", "active", "on-hold", "completed", "cancelled", "entered-in-error", "rejected"]),
    "Task": ("status", ["draft", "requested", "received", "accepted", "rejected", "ready", "cancelled", "in-progress", "on-hold", "failed", "completed", "entered-in-error"]),
    "QuestionnaireResponse": ("status", ["in-progress", "completed", "amended", "entered-in-error", "stopped"]),
    "DocumentReference": ("status", ["current", "superseded", "entered-in-error"]),
}  # fmt: skip


@pytest.mark.parametrize("type", STATES)
def test_8_the_local_word_stands_beside_the_status(type: str) -> None:
    element, states = STATES[type]
    for status in states:
        theirs = {"resourceType": type, "id": "one", **copy.deepcopy(THEIRS[type]), element: status}
        if type == "Task":
            theirs["businessStatus"] = {"coding": [{"system": "urn:ward:state", "code": "7", "display": "Bed 4"}], "text": "waits for transport"}
        came = again(theirs)
        assert came[element] == status and came.get("businessStatus") == theirs.get("businessStatus")
    if type in ("Goal", "Task"):
        key = "goals" if type == "Goal" else "actions"
        plan = bare(**{key: [{"id": "g", "text": "t", "status": "in progress", "status_word": "going well"}]})
        assert "going well" in dump(of(plan, type)) and dump(there_and_back(plan)) == dump(plan)


# -- 9 ----------------------------------------------------------------------------------------------------------------


async def test_9_dissent_of_one_is_not_overwritten_by_agreement_of_another(place: Place) -> None:
    plan = harold()
    plan["goals"][1]["agreed"] = [{"by": "person", "status": "agree"}, {"by": "Leila", "status": "disagree"}]
    saved = await plans.save(place.hospital, plan)
    assert saved.patient
    part = {"plan": "1", "person": plan["person"], "goals": [{"id": plan["goals"][1]["id"], "text": plan["goals"][1]["text"], "agreed": [{"by": "Dr Patel", "status": "agree"}]}]}
    await plans.laying.contribute(place.hospital, part)
    goal = next(g for g in (await plans.load(place.hospital, saved.patient))["goals"] if g["id"] == plan["goals"][1]["id"])
    assert goal["agreed"] == [*plan["goals"][1]["agreed"], {"by": "Dr Patel", "status": "agree"}]
    (resource,) = [h.resource for h in (await held(place, saved.patient)).values() if h.own and h.own[0] == "goal" and h.own[1].endswith(f"/{goal['id']}")]
    each = [e for e in resource["extension"] if e["url"].endswith("/goal-acceptance")]
    assert [[p["valueCode"] for p in e["extension"] if p["url"] == "status"] for e in each] == [["agree"], ["disagree"], ["agree"]]


# -- 10 ---------------------------------------------------------------------------------------------------------------


async def test_10_deleted_is_not_gone(place: Place) -> None:
    plan = harold()
    saved = await plans.save(place.hospital, plan)
    assert saved.patient
    (goal,) = [h for h in (await held(place, saved.patient)).values() if h.own and h.own[0] == "goal" and h.own[1].endswith(f"/{plan['goals'][1]['id']}")]
    stopped = harold()
    stopped["goals"][1] |= {"status": "stopped", "status_reason": "Too far in the evening"}
    await plans.save(place.hospital, stopped)
    without = harold()
    for action in without["actions"]:
        action["goals"] = [g for g in action.get("goals", ()) if g != plan["goals"][1]["id"]]
    del without["goals"][1]
    await plans.save(place.hospital, without)
    page = await gate.history(place.hospital, "Goal", goal.ref.split("/")[1])
    bodies = [strict.read(e.body) if e.body else None for e in page.entries]
    assert bodies[0] is None and bodies[1] is not None and bodies[2] is not None
    assert bodies[1]["lifecycleStatus"] == "cancelled" and bodies[1]["statusReason"] == "Too far in the evening"
    assert bodies[2]["description"]["text"] == plan["goals"][1]["text"]


# -- 11 ---------------------------------------------------------------------------------------------------------------


async def test_11_contained_parts_extensions_of_primitives_and_narrative_stay(place: Place) -> None:
    date_unknown = {"extension": [DECLINED]}
    goal = {
        "resourceType": "Goal", "id": "g1", "lifecycleStatus": "active", "description": {"text": "Walk", "_text": {"extension": [{"url": "urn:x:lang", "valueCode": "cy"}]}},
        "subject": {"reference": "Patient/p"}, "_startDate": date_unknown, "contained": [{"resourceType": "Condition", "id": "in", "subject": {"reference": "Patient/p"}, "code": {"text": "Hip"}}],
        "addresses": [{"reference": "#in"}], "text": {"status": "additional", "div": '<div xmlns="http://www.w3.org/1999/xhtml">Walk, <b>slowly</b></div>'},
    }  # fmt: skip
    came = again(goal)
    assert {k: came[k] for k in ("contained", "_startDate", "addresses", "description")} == {k: goal[k] for k in ("contained", "_startDate", "addresses", "description")}
    bundle = {"resourceType": "Bundle", "type": "collection", "entry": [{"resource": PERSON | {"identifier": [NUMBER]}}, {"resource": goal}]}
    saved = await plans.bring_in(place.hospital, strict.dump(bundle), "b.json")
    assert saved.patient
    (entry,) = (await gate.search(place.hospital, "Goal", [("patient", saved.patient)])).entries
    first = strict.read(entry.body or b"")
    plan = await plans.load(place.hospital, saved.patient)
    plan["goals"][0]["importance"] = 9
    await plans.save(place.hospital, plan)
    now = strict.read((await gate.read(place.hospital, entry.ref)).body)
    for key in ("text", "_startDate", "addresses", "description"):
        assert now[key] == first[key] == goal[key], key
    assert now["contained"][0]["code"] == goal["contained"][0]["code"]  # type: ignore[index]
    assert [e["valueInteger"] for e in now["extension"] if e["url"].endswith("/goal-importance")] == [9]


# -- 12 ---------------------------------------------------------------------------------------------------------------


async def test_12_the_words_a_person_agreed_to_are_kept_in_every_version(place: Place) -> None:
    saved = await plans.save(place.hospital, harold())
    person = place.patient(saved.patient or "")
    at = datetime(2026, 11, 24, tzinfo=UTC)
    surgery = place.organisations["D82999"]

    def words(body: dict[str, Any]) -> list[str]:
        return [e["valueString"] for rule in body["provision"]["provision"] for e in rule["extension"] if e["url"] == sharing.WORDS]

    one = sharing.grant(None, f"Patient/{saved.patient}", who=surgery, kinds=["goals"], at=at, rule_id="g1", words="The surgery may see your goals.")
    made = await gate.create(person, "Consent", strict.dump(one))
    body = strict.read((await gate.read(person, made.ref)).body)
    two = sharing.change(body, "g1", at=at, who=surgery, kinds=["goals", "needs"] if "needs" in sharing.KINDS else ["goals"], words="The surgery may now see more.")
    await gate.update(person, made.ref, strict.dump(two), if_match=made.version)
    now = strict.read((await gate.read(person, made.ref)).body)
    then = strict.read((await gate.vread(person, made.ref, made.version)).body)
    assert words(then) == ["The surgery may see your goals."] and words(now) == ["The surgery may now see more."]
    assert then["meta"]["versionId"] != now["meta"]["versionId"] and then["policyRule"] == one["policyRule"]


# -- 13 ---------------------------------------------------------------------------------------------------------------

VALUES = st.sampled_from([
    {"valueString": "x"}, {"valueString": "2026-01-02"}, {"valueInteger": 3}, {"valueDecimal": Decimal("2.50")}, {"valueDecimal": 3}, {"valueBoolean": False},
    {"valueDate": "2026-01"}, {"valueDateTime": "2026-01-02T10:00:00.120+00:00"}, {"valueTime": "10:00:00"}, {"valueUri": "https://x.org/a"},
    {"valueUri": "urn:uuid:8b044585-de91-824a-930a-9cc8801d1a03"}, {"valueQuantity": {"value": Decimal("5.0"), "unit": "kg", "system": "http://unitsofmeasure.org", "code": "kg"}},
    {"valueQuantity": {"unit": "kg"}}, {"valueCoding": {"system": "http://loinc.org", "code": "LA6-8", "display": "Yes"}}, {"valueCoding": {"code": "a", "version": "2"}},
    {"valueReference": {"reference": "Practitioner/x", "display": "Dr X"}}, {"valueReference": {"display": "Dr X"}},
    {"valueAttachment": {"contentType": "text/plain", "data": "aGVsbG8=", "title": "A letter"}}, {"extension": [DECLINED]},
    {"valueString": "y", "extension": [{"url": "urn:x:y", "valueCode": "z"}]}, {"_valueString": {"extension": [DECLINED]}},
])  # fmt: skip
MORE = st.sampled_from([{}, {}, {"text": "Really?"}, {"definition": "https://x.org/q#a"}, {"text": "T", "extension": [{"url": "urn:x:y", "valueCode": "z"}]}])


def _items(below: st.SearchStrategy[list[dict[str, Any]]] | None) -> st.SearchStrategy[list[dict[str, Any]]]:
    link = st.sampled_from(["a", "b", "1.2"])
    if below is None:
        answer: st.SearchStrategy[dict[str, Any]] = VALUES
        group = st.builds(lambda i, m: {"linkId": i, **m}, link, MORE)
    else:
        answer = VALUES | st.builds(lambda v, i: {**v, "item": i}, VALUES, below)
        group = st.builds(lambda i, m, b: {"linkId": i, **m, "item": b}, link, MORE, below)
    question = st.builds(lambda i, m, a: {"linkId": i, **m, "answer": a}, link, MORE, st.lists(answer, min_size=1, max_size=3))
    return st.lists(group | question, min_size=1, max_size=3)


@quick
@given(_items(_items(_items(None))), st.sampled_from(STATES["QuestionnaireResponse"][1]))
def test_13_answers_keep_their_nesting_their_order_and_their_kinds(items: list[dict[str, Any]], status: str) -> None:
    theirs = {
        "resourceType": "QuestionnaireResponse", "id": "q", "status": status, "questionnaire": "https://x.org/Questionnaire/q|1.2", "authored": "2026-01-02T10:00:00Z",
        "subject": {"reference": "Patient/p"}, "source": {"reference": "Patient/p"}, "author": {"reference": "Practitioner/r", "display": "Rosa"}, "item": items,
    }  # fmt: skip
    came = again(theirs)
    assert dump(came["item"]) == dump(items)
    assert [came[k] for k in ("status", "questionnaire", "authored", "author")] == [theirs[k] for k in ("status", "questionnaire", "authored", "author")]


# -- 14 ---------------------------------------------------------------------------------------------------------------


def test_14_a_score_carries_its_instrument_version_value_set_and_who_holds_the_licence() -> None:
    instrument = {"name": "EQ-5D-5L", "version": "2.1", "value_set": "England 2018", "licence_holder": "Example Integrated Care Board"}
    score = {
        "id": "m", "on": "2026-09-14", "what": {"text": "EQ-5D-5L index", "system": "http://snomed.info/sct", "code": "736534008"}, "value": Decimal("0.740"),
        "by": "person", "instrument": instrument,
    }  # fmt: skip
    plan = bare(measurements=[score])
    (observation,) = of(plan, "Observation")
    assert observation["method"] == {"text": "EQ-5D-5L"}
    (said,) = [e["extension"] for e in observation["extension"] if e["url"].endswith("/StructureDefinition/instrument")]
    assert {e["url"]: e["valueString"] for e in said} == {"version": "2.1", "value-set": "England 2018", "licence-holder": "Example Integrated Care Board"}
    assert not [i for i in check(observation, R4, definitions=KNOWN) if i.severity == "error"]
    assert dump(there_and_back(plan)) == dump(plan) and planning.check(plan, TABLES) == []
    for key in ("version", "value_set", "licence_holder"):
        without = bare(measurements=[{**score, "instrument": {k: v for k, v in instrument.items() if k != key}}])
        (issue,) = planning.check(without, TABLES)
        assert (issue.severity, issue.where) == ("warning", "measurements[0].instrument") and key in issue.text
