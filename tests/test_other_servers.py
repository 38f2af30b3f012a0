"""Servers that nobody can start here, by what their sources say of them: Azure's and Microsoft's, Blaze, a throttled Medplum (docs/sync.md).

One story with each habit of theirs together, then what each of them does that the others do not.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest
import pytest_asyncio

from fhir_gateway.domain import strict
from fhir_gateway.domain.types import Ref

from .faults import invariants
from .faults.scripted import Asked, Habits
from .test_believing import Beside, beside

AZURE = Habits(
    must_match=True, update_creates=True, unchanged=True, tombstone=True, delete_again=204, stamps="ms", page=10, clamps=True, next="good", races=True,
)  # fmt: skip
BLAZE = Habits(keeps_referred=True, delete_again=204, stale=412)
MEDPLUM = Habits(
    feed="search", versions="words", unchanged=True, delete_answers=200, page=20, cap=10_000, most_versions=10, most_requests=100
)
SERVERS = {"azure": AZURE, "blaze": BLAZE, "medplum": MEDPLUM}


@pytest_asyncio.fixture
async def here(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Beside]:
    async with beside(tmp_path, SERVERS[getattr(request, "param", "azure")]) as place:
        yield place


async def ended(here: Beside) -> None:
    """She says no to all of it: nothing is there, nothing waits, and what must always hold does."""
    for key in [k for k in here.names if k.startswith("consent")]:
        await here.change(here.me, key, status="inactive")
    await here.settled()
    assert here.texts() == [] and all(d.recalled for d in await here.house.store.ledger(remote="hub"))
    assert (await here.status())["quiet"] and not await here.waiting()
    assert await invariants.wrong(here.house, [(here.partner, here.there)]) == []


@pytest.mark.slow
@pytest.mark.parametrize("here", [*SERVERS], indirect=True)
async def test_with_each_of_them_both_sides_are_the_same_in_the_end(here: Beside) -> None:
    """Sent, changed on each side and on both, deleted by each, withdrawn."""
    refs = [await here.goal(text) for text in ("walk", "swim", "read")]
    await here.settled()
    assert here.texts() == ["read", "swim", "walk"]
    there = {g["description"]["text"]: g for g in here.there.named("Goal")}
    here.there.write({**there["walk"], "startDate": "2026-11-01"})
    await here.change(here.me, "walk", statusDate="2026-11-02")
    here.there.write({**there["swim"], "description": {"text": "dive"}})
    here.there.remove(f"Goal/{there['read']['id']}")
    await here.settled()
    if here.there.habits.feed == "search":  # no feed tells of deletions
        here.now += timedelta(hours=25)
        await here.settled()
    gone = await here.house.store.get(refs[2])
    assert here.texts() == ["dive", "walk"] and await here.text(refs[1]) == "dive" and gone is not None and gone.deleted
    (walk,) = [g for g in here.there.named("Goal") if g["description"]["text"] == "walk"]
    assert (walk["startDate"], walk["statusDate"]) == ("2026-11-01", "2026-11-02")
    await ended(here)


async def test_azure_where_two_creates_at_once_make_two_copies_the_first_goes(here: Beside) -> None:
    """Its conditional create looks and creates in two steps (#1382): what left us, had no answer and comes again may stand there twice."""
    here.there.fault("POST", "Goal", times=1, applied=True, cut="before")
    await here.goal()
    await here.settled()
    assert here.texts() == ["walk"] and len(here.there.ever("Goal")) == 2, "the script made two, as that server may"
    await ended(here)


async def test_azure_where_the_first_arrives_after_the_second_a_no_takes_back_both(here: Beside) -> None:
    """Then it is met as a second copy, waits in quarantine, and goes when she says no."""
    await here.goal()
    await here.settled()
    (there,) = here.there.named("Goal")
    here.there.write({k: v for k, v in there.items() if k not in ("id", "meta")} | {"meta": {"tag": there["meta"]["tag"]}})
    await here.settled()
    assert here.texts() == ["walk", "walk"] and len(await here.waiting()) == 1
    await ended(here)


async def test_azure_what_does_not_change_there_has_no_new_version_and_is_no_failure(here: Beside) -> None:
    """An update that changes nothing is answered with the version that was there: ours had no answer, and is sent once more."""
    ref = await here.goal()
    await here.settled()
    here.there.fault("PUT", "Goal", times=1, applied=True, cut="before")
    await here.change(here.me, "walk", description={"text": "run"})
    await here.settled()
    (there,) = here.there.named("Goal")
    link = await here.link(ref)
    assert (there["description"]["text"], there["meta"]["versionId"]) == ("run", "2") and link is not None and link.etag == 'W/"2"'
    assert (await here.status())["parked"] == 0


async def test_azure_says_in_each_page_that_it_gives_no_more_and_nothing_of_it_waits_or_is_missed(here: Beside) -> None:
    person = here.there.named("Patient")[0]["id"]
    for n in range(35):
        here.there.write(
            {
                "resourceType": "Goal",
                "lifecycleStatus": "active",
                "description": {"text": f"theirs {n:02}"},
                "subject": {"reference": f"Patient/{person}"},
            }
        )
    await here.settled()
    found = await here.house.store.patient_record(here.names["amina"], ["Goal"])
    assert sorted(strict.decode(s.body or b"")["description"]["text"] for s in found) == [f"theirs {n:02}" for n in range(35)]
    assert not await here.waiting()


@pytest.mark.parametrize("status", [403, 405, 413, 424])
async def test_what_azure_will_not_do_is_parked_with_its_words_and_the_others_go(here: Beside, status: int) -> None:
    """403 where a search is not supported, 405 not implemented, 413 a deletion of only a part, 424: never a reason to be away, where it is of one record."""

    def first(asked: Asked) -> bool:
        return b"not this one" in asked.raw

    here.there.fault("POST", "Goal", when=first, status=status)
    await here.goal("not this one")
    await here.goal("this one")
    for _ in range(4):
        await here.round()
    state = await here.status()
    assert here.texts() == ["this one"] and state["parked"] == 1 and not state["paused"]
    here.there.well()
    assert await here.house.store.requeue("hub", "parked", here.now) == 1
    await here.settled()
    assert here.texts() == ["not this one", "this one"]


@pytest.mark.parametrize("here", ["blaze"], indirect=True)
async def test_blaze_keeps_what_is_referred_to_and_a_second_deletion_is_none(here: Beside) -> None:
    """409 on a deletion: what refers goes first. 204 on a deletion of what is gone: a recall whose answer was lost is over."""
    goal = await here.goal()
    await here.plan(goal)
    await here.settled()
    assert len(here.there.named("CarePlan")) == 1 and here.there.named("CarePlan")[0]["goal"][0]["reference"].startswith("Goal/")
    here.there.fault("DELETE", "", times=2, applied=True, cut="before")
    await ended(here)
    assert not here.there.named("CarePlan")


@pytest.mark.parametrize("here", ["medplum"], indirect=True)
async def test_medplum_more_than_ten_versions_in_a_minute_are_put_off_and_the_last_arrives(here: Beside) -> None:
    """429 for one resource: nothing is parked or lost, and it is not hammered."""
    ref = await here.goal()
    await here.settled()
    here.now += timedelta(minutes=2)
    for n in range(15):
        await here.change(here.me, "walk", description={"text": f"{n:02}"})
        await here.one_push()
        here.now += timedelta(seconds=1)
    assert 0 < here.there.throttled <= 5
    await here.settled()
    assert here.texts() == ["14"] == [await here.text(ref)] and (await here.status())["parked"] == 0
    await ended(here)


@pytest.mark.slow
@pytest.mark.parametrize("here", ["medplum"], indirect=True)
async def test_medplum_so_many_requests_a_minute_are_asked_and_all_arrives(here: Beside) -> None:
    """429 with `RateLimit: "requests";r=0;t=...`: we come again when it says."""
    for n in range(150):
        await here.goal(f"{n:03}")
    before = len(here.there.asked)
    await here.one_push()
    assert here.there.throttled == 1 and len(here.there.asked) - before <= 101
    await here.settled()
    assert here.texts() == [f"{n:03}" for n in range(150)] and (await here.status())["parked"] == 0
    assert here.there.throttled <= 15


@pytest.mark.parametrize(
    "here", ["azure", pytest.param("blaze", marks=pytest.mark.slow), pytest.param("medplum", marks=pytest.mark.slow)], indirect=True
)
@pytest.mark.parametrize("whose", ["hers", "somebody else's"])
async def test_what_is_given_an_id_again_is_another_record_and_never_shows_her_anybody_elses(here: Beside, whose: str) -> None:
    """Expunged without a trace (`hardDelete`, `$expunge`), and the id given to another record, whose versions begin at 1 again."""
    ref = await here.goal()
    await here.settled()
    (there,) = here.there.named("Goal")
    here.expunge(f"Goal/{there['id']}")
    about = (
        here.there.named("Patient")[0]["id"]
        if whose == "hers"
        else here.there.write({"resourceType": "Patient", "name": [{"family": "Else"}]})["id"]
    )
    here.now += timedelta(minutes=10)
    here.there.write(
        {
            "resourceType": "Goal",
            "id": there["id"],
            "lifecycleStatus": "active",
            "description": {"text": "another"},
            "subject": {"reference": f"Patient/{about}"},
        }
    )
    await here.settled()
    edit = here.there.habits.versions == "words" and whose == "hers"  # versions that say no order: an edit like any other, for all that can be seen
    ours = "another" if edit else "walk"
    assert await here.text(ref) == ours, "another record is not taken for our copy where it can be told apart"
    await here.change(here.me, "walk", statusDate="2026-11-02")
    await here.settled()
    assert await here.text(ref) == ours
    assert here.texts() == (["another"] if edit else ["another", "walk"]), "ours is made anew beside it"
    assert [g["description"]["text"] for g in here.there.named("Goal") if "statusDate" in g] == [ours], "what is changed here goes nowhere else"
    record = await here.house.store.patient_record(here.names["amina"], ["Goal"])
    assert sum(b"another" in (s.body or b"") for s in record) == (1 if whose == "hers" else 0)
    assert (await here.status())["quiet"] and not await here.waiting()


@pytest.mark.parametrize("here", [*SERVERS], indirect=True)
async def test_a_copy_that_is_deleted_there_and_put_again_under_its_id_is_not_made_twice(here: Beside) -> None:
    """A PUT revives (HAPI, Medplum, Azure): what is there again has its old id and goes on as what it was, or waits for a person; there is one."""
    ref = await here.goal()
    await here.settled()
    (there,) = here.there.named("Goal")
    here.there.remove(f"Goal/{there['id']}")
    here.now += timedelta(seconds=5)
    here.there.write(
        {k: v for k, v in there.items() if k != "meta"} | {"meta": {"tag": there["meta"]["tag"]}, "startDate": "2026-11-05"}
    )
    await here.settled()
    stored: Ref = ref
    kept = await here.house.store.get(stored)
    assert len(here.there.named("Goal")) == 1 and kept is not None and not kept.deleted
    assert strict.decode(kept.body or b"")["startDate"] == "2026-11-05" == here.there.named("Goal")[0]["startDate"]
    await ended(here)
