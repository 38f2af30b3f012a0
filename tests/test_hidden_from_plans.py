"""A plan posted back by somebody who is shown only a part of it: nothing is lost that they were not shown. A real store, the real decisions."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from fhir_gateway import definitions, gate, plans
from fhir_gateway.domain import sharing, strict
from fhir_gateway.domain.types import Actor, Ref
from fhir_gateway.gate import Context

from .test_plans import Place, harold, opened

NURSE = "Practitioner/nurse"
PARTS = ("Goal", "Condition", "Task", "ServiceRequest", "CareTeam", "RelatedPerson", "QuestionnaireResponse", "Observation", "DocumentReference")


def nurse(place: Place) -> Context:
    return place.ctx(Actor("professional", frozenset({NURSE}), NURSE, "Nurse", sector="health", clinician=True))


async def shared(place: Place, patient: str) -> list[str]:
    """The person lets the nurse see and change all of it; what there is."""
    me = {"reference": f"Patient/{patient}"}
    doing = [{"coding": [{"system": "http://terminology.hl7.org/CodeSystem/consentaction", "code": a}]} for a in ("access", "collect", "correct")]
    whom = {"role": {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v3-ParticipationType", "code": "IRCP"}]}, "reference": {"reference": NURSE}}
    yes = {
        "resourceType": "Consent", "status": "active", "patient": me, "performer": [me],
        "scope": {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/consentscope", "code": "patient-privacy"}]},
        "category": [{"coding": [{"system": "http://loinc.org", "code": "59284-0"}]}],
        "policyRule": {"coding": [{"system": "https://fhir-gateway.example/CodeSystem/policy", "code": "uk-direct-care"}]},
        "provision": {"provision": [{"type": "permit", "actor": [whom], "action": doing}]},
    }  # fmt: skip
    await gate.create(place.patient(patient), "Consent", strict.dump(yes))
    return sorted(ref for ref in await versions(place, patient) if ref.split("/")[0] in PARTS)


async def hidden(place: Place, patient: str, refs: Sequence[str]) -> Ref:
    no = sharing.hide(None, f"Patient/{patient}", who=NURSE, refs=list(refs), at=place.house.clock(), rule_id="h")
    del no["identifier"]  # there may be several
    return (await gate.create(place.patient(patient), "Consent", strict.dump(no))).ref


async def shown_again(place: Place, patient: str, consent: Ref) -> None:
    now = await gate.read(place.patient(patient), consent)
    await gate.update(place.patient(patient), consent, strict.dump(strict.read(now.body) | {"status": "inactive"}), if_match=now.version)


async def versions(place: Place, patient: str) -> dict[str, int]:
    """Of all that the person sees."""
    out: dict[str, int] = {}
    params: list[tuple[str, str]] = []
    while True:
        page = await gate.everything(place.patient(patient), patient, params)
        out |= {str(e.ref): e.version for e in page.entries if e.ref.type != "Consent"}
        if page.next is None:
            return out
        params = [("_page", page.next)]


async def record(place: Place, patient: str) -> dict[str, Any]:
    """All that the person sees, without what a write stamps."""
    out: dict[str, Any] = {}
    params: list[tuple[str, str]] = []
    while True:
        page = await gate.everything(place.patient(patient), patient, params)
        out |= {str(e.ref): {k: v for k, v in strict.read(e.body or b"").items() if k != "meta"} for e in page.entries if e.ref.type != "Consent"}
        if page.next is None:
            return out
        params = [("_page", page.next)]


def different(before: Any, after: Any, path: str = "") -> list[str]:
    """Where two values differ."""
    if isinstance(before, dict) and isinstance(after, dict):
        return [d for k in {**before, **after} for d in different(before.get(k), after.get(k), f"{path}.{k}")]
    if isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        return [d for n, (b, a) in enumerate(zip(before, after, strict=True)) for d in different(b, a, f"{path}[{n}]")]
    return [] if before == after else [path]


def worded(node: Any, word: str, other: str) -> Any:
    """The same with other words in place of these: a goal's are in its resource more than once."""
    if isinstance(node, dict):
        return {k: worded(v, word, other) for k, v in node.items()}
    if isinstance(node, list):
        return [worded(v, word, other) for v in node]
    return node.replace(word, other) if isinstance(node, str) else node


def as_programs_write(node: Any) -> Any:
    """As JSON comes out of a program that holds numbers as floats: 840.00 is 840.0."""
    if isinstance(node, dict):
        return {k: as_programs_write(v) for k, v in node.items()}
    if isinstance(node, list):
        return [as_programs_write(v) for v in node]
    return Decimal(str(float(node))) if isinstance(node, Decimal) else node


def law(tmp_path: Path, examples: int) -> None:
    """Whatever is kept from somebody: what they export and post unchanged writes nothing, and with one thing edited nothing else."""

    async def once(place: Place, patient: str, refs: list[str], edit: str) -> None:
        consent = await hidden(place, patient, refs) if refs else None
        before = await versions(place, patient)
        saved = await plans.save(nurse(place), await plans.load(nurse(place), patient))
        after = await versions(place, patient)
        assert (saved.written, after) == (0, before), (refs, {r: (before.get(r), after.get(r)) for r in before.keys() | after if before.get(r) != after.get(r)})
        was = await record(place, patient)
        mine, word = as_programs_write(await plans.load(nurse(place), patient)), f"Said better {place.house.new_id()}"
        goals = [g for g in mine.get("goals", []) if "id" in g]
        thing, key = (goals[-1], "text") if edit == "goal" and goals else (mine, "title")
        said, thing[key] = thing[key], word
        await plans.save(nurse(place), mine)
        now = await record(place, patient)
        assert different(was, now) and not different(was, worded(now, word, said)), (refs, edit, different(was, worded(now, word, said)))
        changed = [v - before.get(r, 0) for r, v in (await versions(place, patient)).items() if v != before.get(r)]
        assert changed == [1], refs
        if consent is not None:
            await shown_again(place, patient, consent)

    with asyncio.Runner() as runner:
        house = opened(tmp_path / "h.sqlite")
        place = runner.run(house.__aenter__())
        patient = runner.run(plans.save(place.hospital, harold())).patient
        assert patient is not None
        refs = runner.run(shared(place, patient))
        assert len(refs) > 20

        @settings(max_examples=examples, deadline=None, database=None, phases=(Phase.generate,), suppress_health_check=list(HealthCheck))
        @given(st.lists(st.sampled_from(refs), max_size=8, unique=True), st.sampled_from(("title", "goal")))
        def unchanged(chosen: list[str], edit: str) -> None:
            runner.run(once(place, patient, chosen, edit))

        try:
            unchanged()
        finally:
            runner.run(house.__aexit__(None, None, None))


def test_a_plan_posted_back_unchanged_writes_nothing_whatever_is_hidden(tmp_path: Path) -> None:
    law(tmp_path, 20)


@pytest.mark.slow
def test_many_plans_posted_back_unchanged_write_nothing_whatever_is_hidden(tmp_path: Path) -> None:
    law(tmp_path, 300)


async def test_an_edit_changes_what_was_edited_and_nothing_that_was_not_shown(tmp_path: Path) -> None:
    """A goal, the care team or a need is hidden: order, references to it and who is named elsewhere stay as they are."""
    async with opened(tmp_path / "e.sqlite") as place:
        patient = (await plans.save(place.hospital, plans.read_plan(definitions.demo_file("plan.json")))).patient
        assert patient is not None
        refs = await shared(place, patient)
        start = await record(place, patient)
        cook = next(r for r in refs if r.startswith("Goal/") and start[r]["description"]["text"].startswith("Cook"))
        for n, ref in enumerate((cook, *(next(r for r in refs if r.startswith(t)) for t in ("CareTeam/", "Condition/")))):
            consent = await hidden(place, patient, [ref])
            before = await record(place, patient)
            assert (await plans.save(nurse(place), as_programs_write(await plans.load(nurse(place), patient)))).written == 0
            mine = await plans.load(nurse(place), patient) | {"title": f"Title {n}"}
            assert (await plans.save(nurse(place), mine)).written == 1
            (where,) = different(before, await record(place, patient))
            assert where.startswith(".CarePlan/") and where.endswith(".title"), (ref, where)
            await shown_again(place, patient, consent)
        consent = await hidden(place, patient, [cook])
        before = await record(place, patient)
        main = next(r for r, body in before.items() if r.startswith("CarePlan/") and len(body.get("goal", ())) > 3)
        mine = await plans.load(nurse(place), patient)
        gone = mine["goals"].pop(0)
        mine["goals"].append({"id": "g-new", "text": "Walk to the shop"})
        await plans.save(nurse(place), mine)
        after = await record(place, patient)
        taken = [g for g in before[main]["goal"] if g not in after[main]["goal"]]
        assert [before[g["reference"]]["description"]["text"] for g in taken] == [gone["text"]]
        added = [g for g in after[main]["goal"] if g not in before[main]["goal"]]
        assert [after[g["reference"]]["description"]["text"] for g in added] == ["Walk to the shop"]
        assert [g for g in after[main]["goal"] if g not in added] == [g for g in before[main]["goal"] if g not in taken]
        mine = await plans.load(nurse(place), patient)
        seen = {g["text"] for g in mine.pop("goals")}
        await plans.save(nurse(place), mine)
        left = [after[g["reference"]]["description"]["text"] for g in (await record(place, patient))[main].get("goal", ())]
        assert after[cook]["description"]["text"] in left and not seen & set(left), "who takes out all they see takes out no more"


async def texts(place: Place, patient: str) -> dict[str, str]:
    """What each need is called, by its place."""
    found = await gate.search(place.patient(patient), "Condition", [("patient", patient)])
    return {str(e.ref): strict.read(e.body or b"")["code"]["text"] for e in found.entries}


async def test_a_part_without_an_id_is_itself_whatever_stands_before_it_unseen(tmp_path: Path) -> None:
    """Parts without an id are named by their place: a reader who is shown fewer edits and takes out what they see, and not what has its number."""
    unnamed = [{"text": f"Need {n}"} for n in "ABCD"]
    async with opened(tmp_path / "u.sqlite") as place:
        patient = (await plans.save(place.hospital, harold(needs=[*harold()["needs"], *unnamed]))).patient
        assert patient is not None
        await shared(place, patient)
        before = await texts(place, patient)
        where = {text: ref for ref, text in before.items()}
        await hidden(place, patient, [where["Need A"]])
        mine = await plans.load(nurse(place), patient)
        assert [n["text"] for n in mine["needs"]][-3:] == ["Need B", "Need C", "Need D"]
        mine["needs"][-1] = {"text": "Need D, said better"}
        assert (await plans.save(nurse(place), mine)).written == 1
        assert await texts(place, patient) == before | {where["Need D"]: "Need D, said better"}
        mine = await plans.load(nurse(place), patient)
        del mine["needs"][-1]
        await plans.save(nurse(place), mine)
        assert await texts(place, patient) == {r: t for r, t in before.items() if r != where["Need D"]}
        mine["needs"].append({"text": "Need E"})
        assert (await plans.save(nurse(place), mine)).written >= 1
        assert sorted((await texts(place, patient)).values()) == sorted([*(t for t in before.values() if t != "Need D"), "Need E"])
        again = await plans.load(nurse(place), patient)
        assert (await plans.save(nurse(place), again)).written == 0
