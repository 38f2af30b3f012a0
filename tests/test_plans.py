"""Plans and other people's FHIR through the gate: a real store, the real decisions, no server."""

from __future__ import annotations

import asyncio
import copy
import itertools
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from fhir_gateway import definitions, gate, plans
from fhir_gateway.domain import strict
from fhir_gateway.domain.labels import LabelSets
from fhir_gateway.domain.mapping.carrier import dump
from fhir_gateway.domain.problem import Problem
from fhir_gateway.domain.types import Actor
from fhir_gateway.gate import Context, House
from fhir_gateway.plans.laying import contribute
from fhir_gateway.store import sqlite
from fhir_gateway.store.base import Store

from .test_mapping_laws import SHAPED, without_errors

CASES = Path(__file__).parent / "cases" / "plans"
SHARED = Path(__file__).resolve().parent.parent.parent / "shared"
ODS = "https://fhir.nhs.uk/Id/ods-organization-code"
R4 = definitions.load_r4()
SECTOR = "https://fhir-gateway.example/CodeSystem/sector"


@dataclass
class Place:
    """A house with people in it. Time moves a second with each question."""

    house: House
    organisations: dict[str, str]

    def ctx(self, actor: Actor) -> Context:
        return gate.house_context(self.house, actor)

    @property
    def operator(self) -> Context:
        return self.ctx(Actor("system", frozenset({"Device/op"}), "Device/op", "Operator", operator=True))

    @property
    def hospital(self) -> Context:
        place = self.organisations["RX9"]
        ids = frozenset({"Device/hospital", place, f"{ODS}|RX9"})
        return self.ctx(Actor("system", ids, "Device/hospital", "Hospital", place, "health", contributor=True))

    def stranger(self) -> Context:
        return self.ctx(Actor("professional", frozenset({"Practitioner/nobody"}), "Practitioner/nobody", "Nobody", sector="health"))

    def patient(self, id: str) -> Context:
        me = f"Patient/{id}"
        return self.ctx(Actor("patient", frozenset({me}), me, "The person", patient=me))


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Place]:
    async with opened(tmp_path / "test.sqlite") as here:
        yield here


@asynccontextmanager
async def opened(path: Path, other: Store | None = None) -> AsyncIterator[Place]:
    """A house over a store of its own (SQLite, where no other is given), its organisations in it."""
    store = other or await sqlite.open(path)
    seconds = itertools.count()
    numbers = itertools.count(1)
    house = House(
        store=store,
        clock=lambda: datetime(2026, 11, 24, 9, tzinfo=UTC) + timedelta(seconds=next(seconds)),
        new_id=lambda: f"01a20e05-0000-7000-8000-{next(numbers):012d}",
        r4=R4,
        label_sets=LabelSets.load(definitions.load("labels.json")),
        secret=b"x" * 32,
        alarm=lambda text: pytest.fail(text),
    )
    here = Place(house, {})
    for code in ("RX9", "D82999", "RY9"):
        body = {
            "resourceType": "Organization", "identifier": [{"system": ODS, "value": code}], "name": code, "active": True,
            "type": [{"coding": [{"system": SECTOR, "code": "health"}]}],
        }  # fmt: skip
        here.organisations[code] = str((await gate.create(here.operator, "Organization", strict.dump(body))).ref)
    try:
        yield here
    finally:
        await store.close()


def harold(**changes: Any) -> dict[str, Any]:
    plan = plans.read_plan((CASES / "harold.json").read_bytes())
    plan.update(changes)
    return plan


async def counts(place: Place) -> dict[str, int]:
    return await place.house.store.counts()


async def test_a_plan_goes_in_and_comes_back_equal(place: Place) -> None:
    saved = await plans.save(place.hospital, harold())
    assert saved.patient is not None
    assert saved.written > 30 and saved.unchanged == saved.refused == 0
    assert dump(await plans.load(place.hospital, saved.patient)) == dump(harold())
    assert dump(await plans.load(place.patient(saved.patient), saved.patient)) == dump(harold())
    here = await counts(place)
    assert {"Patient": 1, "Goal": 6, "CareTeam": 1}.items() <= here.items()


async def test_saving_the_same_plan_twice_writes_nothing(place: Place) -> None:
    first = await plans.save(place.hospital, harold())
    again = await plans.save(place.hospital, harold())
    assert (again.patient, again.written) == (first.patient, 0)
    assert again.unchanged >= first.written
    shuffled = backwards(harold())
    assert list(shuffled) != list(harold())
    other_order = await plans.save(place.hospital, shuffled)
    assert (other_order.patient, other_order.written) == (first.patient, 0)


def backwards(value: Any) -> Any:
    """Equal JSON, the keys of every object the other way round."""
    if isinstance(value, dict):
        return {k: backwards(value[k]) for k in reversed(value)}
    return [backwards(v) for v in value] if isinstance(value, list) else value


def twice(tmp_path: Path, examples: int) -> None:
    """Importing any valid plan twice writes nothing the second time, whatever the order of its keys, and it comes back equal."""
    numbers = itertools.count()

    async def one(plan: dict[str, Any]) -> None:
        plan = {k: v for k, v in without_errors(plan).items() if k != "person"}
        name = {"given": ["Any"], "family": f"Body {next(numbers)}"}  # everybody is somebody else
        plan |= {"id": f"plan-{name['family']}", "person": {"id": name["family"], "name": name, "birth_date": "1950-01-01"}}
        async with opened(tmp_path / f"{name['family']}.sqlite") as place:
            first = await plans.save(place.hospital, plan)
            assert first.patient is not None and first.written >= 2
            again = await plans.save(place.hospital, backwards(plan))
            assert (again.patient, again.written) == (first.patient, 0)
            assert dump(await plans.load(place.hospital, first.patient)) == dump(plan)

    @settings(max_examples=examples, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    @given(SHAPED)
    def law(plan: dict[str, Any]) -> None:
        asyncio.run(one(plan))

    law()


def test_importing_twice_writes_nothing_whatever_the_plan(tmp_path: Path) -> None:
    twice(tmp_path, 12)


@pytest.mark.slow
def test_importing_twice_writes_nothing_for_many_plans(tmp_path: Path) -> None:
    twice(tmp_path, 200)


async def test_one_change_writes_one_resource(place: Place) -> None:
    first = await plans.save(place.hospital, harold())
    assert first.patient
    plan = harold()
    plan["goals"][1]["status"] = "done"
    saved = await plans.save(place.hospital, plan)
    assert saved.written == 1
    back = await plans.load(place.hospital, first.patient)
    assert dump(back) == dump(plan)


async def test_what_the_plan_no_longer_has_is_gone_but_for_its_history(place: Place) -> None:
    first = await plans.save(place.hospital, harold())
    assert first.patient
    plan = harold()
    plan["goals"] = plan["goals"][:1]
    plan["goals"][0]["stage_goals"] = plan["goals"][0]["stage_goals"][1:]
    plan["actions"] = [{**plan["actions"][0], "goals": ["g-toast"]}]
    await plans.save(place.hospital, plan)
    assert dump(await plans.load(place.hospital, first.patient)) == dump(plan)
    assert (await counts(place))["Goal"] == 3


async def test_what_others_wrote_on_a_resource_stays(place: Place) -> None:
    """A hospital's category, note and progress on the plan survive the next save of the plan, which does not know of them."""
    first = await plans.save(place.hospital, harold())
    assert first.patient
    found = await gate.search(place.hospital, "Goal", [("patient", first.patient), ("lifecycle-status", "on-hold")])
    (entry,) = found.entries
    goal = strict.read(entry.body or b"")
    goal["category"] = [{"text": "Physical"}]
    goal.setdefault("extension", []).append({"url": "https://elsewhere.example/mood", "valueString": "hopeful"})
    await gate.update(place.hospital, entry.ref, strict.dump(goal), if_match=entry.version)
    plan = harold()
    plan["goals"][1]["importance"] = 6
    await plans.save(place.hospital, plan)
    now = strict.read((await gate.read(place.hospital, entry.ref)).body)
    assert now["category"] == [{"text": "Physical"}]
    assert {"url": "https://elsewhere.example/mood", "valueString": "hopeful"} in now["extension"]
    assert dump(await plans.load(place.hospital, first.patient)) == dump(plan)


async def test_a_change_made_over_fhir_shows_in_the_plan(place: Place) -> None:
    first = await plans.save(place.hospital, harold())
    assert first.patient
    found = await gate.search(place.hospital, "Goal", [("patient", first.patient), ("lifecycle-status", "planned")])
    entry = next(e for e in found.entries if b"Maureen has one" in (e.body or b""))
    goal = strict.read(entry.body or b"") | {"lifecycleStatus": "completed", "note": [{"text": "She went to the sea"}]}
    await gate.update(place.hospital, entry.ref, strict.dump(goal), if_match=entry.version)
    back = await plans.load(place.hospital, first.patient)
    rest = next(g for g in back["goals"] if g["id"] == "g-rest")
    assert rest["status"] == "done"  # not the word `waiting` that was kept beside the earlier code
    assert rest["notes"] == [{"text": "She went to the sea"}]


async def test_the_wrong_birthday_writes_nothing(place: Place) -> None:
    await plans.save(place.hospital, harold())
    before = await counts(place)
    plan = harold()
    plan["person"]["birth_date"] = "1944-12"
    with pytest.raises(Problem) as refused:
        await plans.save(place.hospital, plan)
    assert refused.value.status == 409
    assert await counts(place) == before


async def test_a_second_plan_is_a_conflict_to_who_sees_the_first(place: Place) -> None:
    await plans.save(place.hospital, harold())
    with pytest.raises(Problem) as refused:
        await plans.save(place.hospital, harold(id="another"))
    assert refused.value.kind == "conflict"


async def test_a_plan_with_errors_is_refused_whole_with_every_reason(place: Place) -> None:
    plan = harold(created="soon")
    plan["goals"][0]["status"] = "bogus"
    plan["goals"][1]["importance"] = 11
    with pytest.raises(Problem) as refused:
        await plans.save(place.hospital, plan)
    assert refused.value.status == 422
    assert {i.where for i in refused.value.issues} == {"created", "goals[0].status", "goals[1].importance"}
    assert "Patient" not in await counts(place)


async def test_who_may_see_nothing_of_it_finds_nothing(place: Place) -> None:
    saved = await plans.save(place.hospital, harold())
    assert saved.patient
    for id in (saved.patient, "01a20e05-0000-7000-8000-999999999999"):
        with pytest.raises(Problem) as refused:
            await plans.load(place.stranger(), id)
        assert refused.value.kind == "not-found"


async def test_a_dry_run_writes_nothing_and_says_what_has_no_home(place: Place) -> None:
    saved = await plans.save(place.hospital, harold(), dry_run=True)
    assert saved.written == 0 and "Patient" not in await counts(place)
    assert "empty_things" in {row["path"] for row in saved.unmapped}


async def test_a_person_may_keep_their_own_plan(place: Place) -> None:
    saved = await plans.save(place.hospital, harold())
    assert saved.patient
    plan = harold(title="Mine")
    mine = await plans.save(place.patient(saved.patient), plan)
    assert mine.written == 1
    assert (await plans.load(place.patient(saved.patient), saved.patient))["title"] == "Mine"
    other = copy.deepcopy(plan)
    other["person"]["name"]["family"] = "Somebody"
    with pytest.raises(Problem) as refused:
        await plans.save(place.patient(saved.patient), other)
    assert refused.value.kind == "conflict"


# -- FHIR that nobody here wrote --------------------------------------------------------------------------------------

BUNDLE: dict[str, Any] = {
    "resourceType": "Bundle",
    "type": "collection",
    "entry": [
        {"fullUrl": "urn:uuid:1", "resource": {"resourceType": "Goal", "lifecycleStatus": "active", "description": {"text": "Walk"},
         "subject": {"reference": "urn:uuid:2"}, "addresses": [{"reference": "Condition/c1"}], "expressedBy": {"reference": "Practitioner?identifier=urn:x|9"}}},
        {"fullUrl": "urn:uuid:2", "resource": {"resourceType": "Patient", "id": "p", "birthDate": "1970-01-01", "name": [{"family": "Elsewhere"}],
         "identifier": [{"system": "https://elsewhere.example/id", "value": "42"}]}},
        {"fullUrl": "https://elsewhere.example/fhir/Condition/c1", "resource": {"resourceType": "Condition", "id": "c1",
         "code": {"coding": [{"system": "http://snomed.info/sct", "code": "22298006"}], "text": "Heart attack"},
         "subject": {"reference": "Patient/p"}, "encounter": {"reference": "urn:uuid:nowhere"}}},
    ],
}  # fmt: skip


@pytest.mark.parametrize("kind", ["collection", "transaction", "searchset", "document"])
async def test_a_bundle_comes_in_whole_and_once(place: Place, kind: str) -> None:
    raw = json.dumps(BUNDLE | {"type": kind}).encode()
    first = await plans.bring_in(place.hospital, raw, "elsewhere.json")
    assert (first.written, first.unchanged, first.refused) == (3, 0, 0)
    again = await plans.bring_in(place.hospital, raw, "elsewhere.json")
    assert (again.patient, again.written, again.unchanged) == (first.patient, 0, 3)
    assert first.patient
    plan = await plans.load(place.hospital, first.patient)
    assert [(g["text"], g["status"]) for g in plan["goals"]] == [("Walk", "in progress")]
    assert plan["goals"][0]["needs"] == [plan["needs"][0]["id"]]
    (condition,) = (await gate.search(place.hospital, "Condition", [("patient", first.patient)])).entries
    assert strict.read(condition.body or b"")["encounter"]["identifier"]["value"] == "urn:uuid:nowhere"


async def test_a_changed_bundle_writes_what_changed(place: Place) -> None:
    await plans.bring_in(place.hospital, json.dumps(BUNDLE).encode(), "a.json")
    changed = copy.deepcopy(BUNDLE)
    changed["entry"][0]["resource"]["lifecycleStatus"] = "completed"
    saved = await plans.bring_in(place.hospital, json.dumps(changed).encode(), "a.json")
    assert (saved.written, saved.unchanged) == (1, 2)


async def test_lines_come_in_like_a_bundle(place: Place) -> None:
    lines = b"\n".join(json.dumps(e["resource"]).encode() for e in BUNDLE["entry"][1:])
    saved = await plans.bring_in(place.hospital, lines, "x.ndjson")
    assert saved.written == 2
    with pytest.raises(Problem) as refused:
        await plans.bring_in(place.hospital, lines + b"\n{bad", "x.ndjson")
    assert refused.value.kind == "malformed" and "x.ndjson line 3" in refused.value.text


async def test_one_bad_resource_and_nothing_is_written(place: Place) -> None:
    bad = copy.deepcopy(BUNDLE)
    bad["entry"][0]["resource"]["lifecycleStatus"] = "bogus"
    before = await counts(place)
    with pytest.raises(Problem) as refused:
        await plans.bring_in(place.hospital, json.dumps(bad).encode(), "bad.json")
    assert refused.value.text.startswith("bad.json") and "Bundle.entry[" in refused.value.where
    assert await counts(place) == before


async def test_files_of_one_resource_find_each_other(place: Place) -> None:
    """Whatever their order, and a bad one hinders no other."""
    goal = copy.deepcopy(BUNDLE["entry"][0]["resource"]) | {"subject": {"reference": "Patient/p"}, "id": "g"}
    bad = {"resourceType": "Goal", "subject": {"reference": "Patient/p"}}
    files = [("goal.json", goal), ("bad.json", bad), ("c.json", BUNDLE["entry"][2]["resource"]), ("p.json", BUNDLE["entry"][1]["resource"])]
    done = await plans.bring_in_files(place.hospital, [(n, json.dumps(r).encode()) for n, r in files])
    assert [getattr(d, "written", d) for d in done if not isinstance(d, Problem)] == [1, 1, 1]
    assert isinstance(done[1], Problem) and done[1].text.startswith("bad.json")
    assert {d.patient for d in done if not isinstance(d, Problem)} == {done[3].patient}  # type: ignore[union-attr]
    later = await plans.bring_in(place.hospital, json.dumps(goal | {"id": "g2"}).encode(), "later.json")
    assert later.written == 1 and later.patient == done[3].patient  # type: ignore[union-attr]


def synthea() -> list[Path]:
    files = sorted((SHARED / "data/synthea").glob("*.json"))
    assert len(files) == 20
    return files


@pytest.mark.skipif(not SHARED.is_dir(), reason="../shared is not here: the 20 people of Synthea are not tried")
async def test_the_people_of_synthea_come_in_whole_and_read_back_as_plans(place: Place) -> None:
    files = [f for f in synthea() if b"deceasedDateTime" not in f.read_bytes()]
    for file in files:
        entries = len(json.loads(file.read_bytes())["entry"])
        saved = await plans.bring_in(place.hospital, file.read_bytes(), file.name)
        assert (saved.written, saved.refused) == (entries, 0), file.name
        assert saved.unmapped and saved.patient
        plan = await plans.load(place.hospital, saved.patient)
        assert plan["person"]["name"]["family"] and plan["needs"] and plan["actions"] and plan["team"], file.name
        again = await plans.bring_in(place.hospital, file.read_bytes(), file.name)
        assert (again.written, again.unchanged) == (0, entries), file.name


@pytest.mark.skipif(not SHARED.is_dir(), reason="../shared is not here: the 20 people of Synthea are not tried")
async def test_the_dead_of_synthea_come_in_whole_and_once(place: Place) -> None:
    files = [f for f in synthea() if b"deceasedDateTime" in f.read_bytes()]
    assert len(files) == 4
    for file in files:
        entries = len(json.loads(file.read_bytes())["entry"])
        saved = await plans.bring_in(place.hospital, file.read_bytes(), file.name)
        assert (saved.written, saved.refused) == (entries, 0), file.name
        again = await plans.bring_in(place.hospital, file.read_bytes(), file.name)
        assert (again.written, again.unchanged) == (0, entries), file.name
        assert saved.patient and again.patient == saved.patient
        assert (await plans.load(place.hospital, saved.patient))["needs"]


@pytest.mark.skipif(not SHARED.is_dir(), reason="../shared is not here: the person-centred examples are not tried")
async def test_the_person_centred_examples_come_in_whole_and_read_back(place: Place) -> None:
    files = sorted((SHARED / "data/examples/pco").glob("*/*.json"))
    done = await plans.bring_in_files(place.hospital, [(f.name, f.read_bytes()) for f in files])
    refused = {f.name: d.issues for f, d in zip(files, done, strict=True) if isinstance(d, Problem)}
    assert not refused
    people = {d.patient for d in done if not isinstance(d, Problem) and d.patient}
    assert len(people) == 3
    goals = 0
    for person in people:
        plan = await plans.load(place.hospital, person)
        goals += len(plan.get("goals", ()))
    assert goals == 8
    again = await plans.bring_in_files(place.hospital, [(f.name, f.read_bytes()) for f in files])
    assert sum(d.written for d in again if not isinstance(d, Problem)) == 0


async def test_who_writes_the_identifier_of_a_thing_of_the_plan_takes_its_place_nowhere(place: Place) -> None:
    """Anybody who may add a goal may give it that identifier: the next save of the plan deleted the one, and wrote over the other."""
    saved = await plans.save(place.hospital, harold())
    assert saved.patient is not None
    me = place.patient(saved.patient)
    before = {str(e.ref): strict.decode(e.body or b"{}") for e in (await gate.search(me, "Goal", [("patient", saved.patient)])).entries}
    target = next(r for r in before.values() if r["identifier"][0]["system"].endswith("/goal"))
    planted = {k: v for k, v in target.items() if k not in ("id", "meta", "text")} | {"description": {"text": "planted"}}
    added = str((await gate.create(place.hospital, "Goal", strict.dump(planted))).ref)
    for who in (place.hospital, me):
        plan = await plans.load(who, saved.patient)
        mine = [g for g in plan["goals"] if g["text"] != "planted"]
        await plans.save(who, {**plan, "goals": mine, "title": f"Of {who.actor.kind}"})
        after = {str(e.ref): strict.decode(e.body or b"{}") for e in (await gate.search(me, "Goal", [("patient", saved.patient)])).entries}
        assert after.keys() == before.keys() | {added}
        assert after[f"Goal/{target['id']}"]["description"] == target["description"] and after[added]["description"] == {"text": "planted"}


async def test_a_medicine_of_one_list_is_not_laid_over_that_of_another(place: Place) -> None:
    """Two partners who number their lists 1, 2 made a medicine that nobody prescribed: the name of the one, the dose of the other."""
    base = {"plan": "1", "id": "p-1", "person": {"id": "x", "name": {"given": ["Ann"], "family": "Lists"}, "birth_date": "1950-02-03"}}
    ward = [{"id": "1", "text": "Warfarin", "how": "3 mg at six", "status": "taking"}]
    saved = await contribute(place.hospital, {**base, "medicines": ward})
    assert saved.patient is not None
    with pytest.raises(Problem) as other:
        await contribute(place.hospital, {**base, "medicines": [{"id": "1", "text": "Paracetamol", "status": "taking"}]})
    assert (other.value.kind, other.value.where) == ("conflict", "medicines[0].id")
    with pytest.raises(Problem) as twice:
        await contribute(place.hospital, {**base, "medicines": [{"id": "2", "text": "Bisoprolol"}, {"id": "2", "text": "Omeprazole"}]})
    assert (twice.value.kind, twice.value.where) == ("invalid", "medicines[1].id")
    again = await contribute(place.hospital, {**base, "medicines": [{"id": "1", "text": "WARFARIN ", "status": "stopped"}]})
    assert again.patient == saved.patient
    (now,) = (await plans.load(place.hospital, saved.patient))["medicines"]
    assert now["status"] == "stopped" and now["how"] == "3 mg at six"


async def test_a_plan_that_does_not_say_who_somebody_is_takes_that_from_nobody(place: Place) -> None:
    """One cut-off file took name, date of birth and NHS number: nobody found her by her number any more."""
    saved = await plans.save(place.hospital, harold())
    assert saved.patient is not None
    await plans.save(place.hospital, {"plan": "1", "id": harold()["id"], "person": {"id": harold()["person"]["id"]}, "goals": harold()["goals"]})
    now, was = (await plans.load(place.hospital, saved.patient))["person"], harold()["person"]
    assert (now["nhs_number"], now["birth_date"], now["name"]["family"]) == (was["nhs_number"].replace(" ", ""), was["birth_date"], was["name"]["family"])


async def test_an_older_thing_of_somebody_else_s_takes_the_place_of_none_that_no_plan_names(place: Place) -> None:
    """A contact is named by no CarePlan: who guessed its identifier and wrote it first, where the writer of the plan did not see it, had the edits of the plan in a record of their own."""
    anna, bert = ({"id": "c-new", "name": n, "relationship": "friend", "phone": p} for n, p in (("Anna Friend", "01632 960101"), ("Bert Stranger", "01632 960102")))
    saved = await plans.save(place.hospital, harold())
    assert saved.patient is not None
    me, org = place.patient(saved.patient), place.organisations["RY9"]
    other = place.ctx(Actor("system", frozenset({"Device/other", org, f"{ODS}|RY9"}), "Device/other", "Other", org, "health", contributor=True))

    async def contacts() -> dict[str, dict[str, Any]]:
        found = (await gate.search(me, "RelatedPerson", [("patient", str(saved.patient))])).entries
        return {str(e.ref): strict.decode(e.body or b"{}") for e in found if b"c-new" in (e.body or b"")}

    mapped = plans.to_fhir(harold(contacts=[*harold()["contacts"], bert]))[0]
    planted = next(e["resource"] for e in mapped["entry"] if e["resource"]["resourceType"] == "RelatedPerson" and "c-new" in str(e["resource"]["identifier"]))
    old = str((await gate.create(other, "RelatedPerson", strict.dump({**planted, "patient": {"reference": f"Patient/{saved.patient}"}}))).ref)
    hidden = (await contacts())[old]
    await plans.save(place.hospital, harold(contacts=[*harold()["contacts"], anna]))
    (made,) = (await contacts()).keys() - {old}
    for who, phone in ((me, "01632 960103"), (place.hospital, "01632 960104"), (me, "01632 960105")):
        plan = await plans.load(who, saved.patient)
        rest = [c for c in plan["contacts"] if c.get("id") != "c-new"]
        await plans.save(who, {**plan, "contacts": [*rest, {**anna, "phone": phone}]}, if_match=plans.version_of(plan))
        now = await contacts()
        assert now[old] == hidden and phone in str(now[made]) and now.keys() == {old, made}, who.actor.kind
    plan = await plans.load(me, saved.patient)
    await plans.save(me, {**plan, "contacts": [c for c in plan["contacts"] if c.get("id") != "c-new"]})
    assert await contacts() == {old: hidden}, "and the plan takes out its own"


async def test_an_older_plan_that_is_over_takes_not_the_place_of_the_plan(place: Place) -> None:
    """Of several that bear the identifier of the plan it is the one that goes on."""
    mapped = [e["resource"] for e in plans.to_fhir(harold())[0]["entry"]]
    person, plan = (next(r for r in mapped if r["resourceType"] == t and (t == "Patient" or r["identifier"][0]["system"].endswith("/plan"))) for t in ("Patient", "CarePlan"))
    patient = str((await gate.create(place.hospital, "Patient", strict.dump(person))).ref)
    org = place.organisations["RY9"]
    other = place.ctx(Actor("system", frozenset({"Device/other", org, f"{ODS}|RY9"}), "Device/other", "Other", org, "health", contributor=True))
    over = {"resourceType": "CarePlan", "identifier": plan["identifier"], "category": plan["category"], "status": "revoked", "intent": "plan", "title": "Over", "subject": {"reference": patient}}
    old = (await gate.create(other, "CarePlan", strict.dump(over))).ref
    saved = await plans.save(place.hospital, harold())
    me = place.patient(patient.removeprefix("Patient/"))
    assert f"Patient/{saved.patient}" == patient
    before = (await gate.read(me, old)).body
    mine = await plans.load(me, str(saved.patient))
    await plans.save(me, {**mine, "title": "As I call it"})
    assert (await gate.read(me, old)).body == before and (await plans.load(me, str(saved.patient)))["title"] == "As I call it"
