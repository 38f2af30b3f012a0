"""A plan posted back by somebody who is shown only a part of it: nothing is lost that they were not shown. A real store, the real decisions."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from fhir_gateway import gate, plans
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


def law(tmp_path: Path, examples: int) -> None:
    """Whatever is kept from somebody: what they export and post unchanged writes nothing, and with another title nothing else."""

    async def once(place: Place, patient: str, refs: list[str]) -> None:
        consent = await hidden(place, patient, refs) if refs else None
        before = await versions(place, patient)
        saved = await plans.save(nurse(place), await plans.load(nurse(place), patient))
        after = await versions(place, patient)
        assert (saved.written, after) == (0, before), (refs, {r: (before.get(r), after.get(r)) for r in before.keys() | after if before.get(r) != after.get(r)})
        await plans.save(nurse(place), await plans.load(nurse(place), patient) | {"title": f"Title {place.house.new_id()}"})
        changed = {r.split("/")[0]: v - before.get(r, 0) for r, v in (await versions(place, patient)).items() if v != before.get(r)}
        assert changed == {"CarePlan": 1}, refs
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
        @given(st.lists(st.sampled_from(refs), max_size=8, unique=True))
        def unchanged(chosen: list[str]) -> None:
            runner.run(once(place, patient, chosen))

        try:
            unchanged()
        finally:
            runner.run(house.__aexit__(None, None, None))


def test_a_plan_posted_back_unchanged_writes_nothing_whatever_is_hidden(tmp_path: Path) -> None:
    law(tmp_path, 20)


@pytest.mark.slow
def test_many_plans_posted_back_unchanged_write_nothing_whatever_is_hidden(tmp_path: Path) -> None:
    law(tmp_path, 300)


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
