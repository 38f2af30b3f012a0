"""Their server is put back from a backup, and an id is given again: what names it there names no record of ours that had it before. docs/sync.md"""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from fhir_gateway.domain import strict
from fhir_gateway.domain.types import Ref

from .rig import Rig, rigged
from .scripted import Body, Habits
from .test_put_back_there import at, backup, begun, written


def plan_there(rig: Rig, whose: str, goal: str) -> Body:
    """Somebody there writes a plan that names what has this id there now."""
    rig.now += timedelta(minutes=1)
    body = {"resourceType": "CarePlan", "status": "active", "intent": "plan", "title": "theirs", "subject": {"reference": whose}, "goal": [{"reference": goal}]}
    return rig.there.write(body)


async def named(rig: Rig) -> list[str]:
    """What the goals are, and whose, that the plans here name, by their words; what leads nowhere here as it is written."""
    out = []
    for stored in await rig.house.store.patient_record(rig.names["amina"], ["CarePlan"]):
        for goal in strict.decode(stored.body or b"{}").get("goal", []):
            found = await rig.house.store.get(Ref(*goal["reference"].split("/"))) if "reference" in goal else None
            body: dict[str, Any] = strict.decode(found.body) if found is not None and found.body is not None else {}
            out.append(body["description"]["text"] if body else "nothing here")
    return out


@pytest.mark.parametrize("feed", ["system", "search"])
async def test_a_plan_there_that_names_what_has_the_id_of_our_copy_now_names_that_here(tmp_path: Path, feed: Any) -> None:
    async with rigged(tmp_path, Habits(feed=feed)) as rig:
        whose = await begun(rig)
        put_back = backup(rig.there)
        await rig.goal("ours")
        await rig.settled()
        name = at(rig, "ours")
        put_back()
        assert f"Goal/{written(rig, whose)['id']}" == name
        plan_there(rig, whose, name)
        await rig.round(3)
        assert await named(rig) == ["another record"]


async def test_a_plan_of_somebody_else_names_nothing_of_hers_by_an_id_that_was_given_again(tmp_path: Path) -> None:
    """What has the id now cannot be taken in, so no link tells of it."""
    async with rigged(tmp_path) as rig:
        await begun(rig)
        first, whose = rig.names["amina"], await rig.another()
        await rig.goal("kept, too")
        await rig.settled()
        other = rig.her
        put_back = backup(rig.there)
        rig.names["amina"] = first
        await rig.goal("secret")
        await rig.settled()
        name = at(rig, "secret")
        put_back()
        rig.names["amina"] = whose
        assert f"Goal/{written(rig, other, lifecycleStatus='no such status')['id']}" == name
        plan_there(rig, other, name)
        await rig.round(3)
        assert await named(rig) == ["nothing here"]


@pytest.mark.parametrize("habits", [Habits(feed="system", page=2), Habits(feed="search")], ids=["system", "search"])
async def test_what_is_about_a_stranger_who_has_the_id_of_somebody_here_now_is_taken_into_nobodys_record(tmp_path: Path, habits: Habits) -> None:
    async with rigged(tmp_path, habits) as rig:
        await begun(rig)
        put_back = backup(rig.there)
        here = await rig.another()
        await rig.goal("hers")
        await rig.settled()
        name = rig.her
        put_back()
        rig.now += timedelta(minutes=1)
        stranger = rig.there.write({"resourceType": "Patient", "name": [{"family": "Elsewhere"}], "birthDate": "1980-01-01"})
        assert f"Patient/{stranger['id']}" == name
        for text in ("a stranger's", "another stranger's", "one more stranger's"):
            written(rig, name, description={"text": text})
        await rig.round(3)
        assert await rig.here(here) == ["hers"]
