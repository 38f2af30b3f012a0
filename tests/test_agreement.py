"""What was agreed on with a partner changes: what goes there now is sent, what does not is taken back, and both are foreseen and told."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from fhir_gateway import gate
from fhir_gateway.domain import strict
from fhir_gateway.domain.types import Ref
from fhir_gateway.gate import Remote
from fhir_gateway.sync import foreseeing, worker
from fhir_gateway.sync.partner import Partner

from .faults.scripted import Habits
from .test_pulling import Begin, Shared, begin

__all__ = ["begin"]
SAYS: dict[str, dict[str, Any]] = {"Goal": {"lifecycleStatus": "active", "description": {"text": "g"}}, "Condition": {"code": {"text": "c"}}}


async def written(here: Shared, type: str) -> Ref:
    body = {"resourceType": type, "subject": {"reference": here.names["amina"]}, **SAYS[type]}
    return (await gate.create(here.me, type, strict.dump(body))).ref


def agreed(here: Shared, **changed: Any) -> Remote:
    """From now on, as after a start with other settings."""
    terms = replace(here.partner.terms, **changed)
    here.house.remotes, here.partner = (terms,), Partner(terms, here.partner.server, overlap_seconds=here.partner.overlap_seconds)
    return terms


def there(here: Shared) -> list[str]:
    return sorted(name.split("/")[0] for name in here.there.held if not name.startswith("Organization/"))


async def foreseen(here: Shared) -> dict[str, str]:
    """By type; the Tasks of this house, which never go, left out."""
    return {i["ref"].split("/")[0]: i["would"] for i in [i async for i in worker.preview(here.house, here.partner)] if not i["ref"].startswith("Task/")}


async def told(here: Shared) -> dict[str, str]:
    return {g.ref.type: g.state for g in reversed(await gate.given(here.me))}


async def test_what_is_agreed_on_later_goes_and_what_no_more_is_taken_back(begin: Begin) -> None:
    here = await begin(Habits(), types=frozenset({"Patient", "Goal"}))
    for type in SAYS:
        await written(here, type)
    await worker.once(here.house, here.partner)
    assert there(here) == ["Goal", "Patient"] and await foreseen(here) == {}
    agreed(here, types=frozenset({"Patient", "Goal", "Condition"}))
    assert await foreseen(here) == {"Condition": "send"}
    await worker.once(here.house, here.partner)
    assert there(here) == ["Condition", "Goal", "Patient"] and await foreseen(here) == {}
    agreed(here, types=frozenset({"Patient", "Goal"}))
    assert await foreseen(here) == {"Condition": "take back"} and await told(here) == {"Patient": "there", "Goal": "there", "Condition": "asked-back"}
    await worker.once(here.house, here.partner)
    assert there(here) == ["Goal", "Patient"] and (await told(here))["Condition"] == "back" and await foreseen(here) == {}
    assert (await worker.status(here.house, here.partner))["quiet"] and await here.texts("Condition") == ["c"]
    await written(here, "Condition")  # while it is not agreed on
    agreed(here, types=None)
    assert await foreseen(here) == {"Condition": "send"}
    await worker.once(here.house, here.partner)
    assert there(here) == ["Condition", "Condition", "Goal", "Patient"] and await foreseen(here) == {}
    assert await here.texts("Condition") == ["c", "c"] and (await worker.status(here.house, here.partner))["quiet"]


async def test_what_waits_when_the_agreement_ends_does_not_go(begin: Begin) -> None:
    here = await begin(Habits())
    ref = await written(here, "Goal")
    agreed(here, types=frozenset({"Patient"}))
    assert await foreseen(here) == {"Goal": "withhold"}
    await worker.once(here.house, here.partner)
    assert there(here) == ["Patient"] and not here.there.requests("POST", "Goal")
    [held] = [i for i in await here.house.store.outbox_items("hub", "withheld") if i["ref"] == str(ref)]
    assert "agreement" in held["detail"]
    agreed(here, types=frozenset({"Patient", "Goal"}))
    assert await foreseen(here) == {"Goal": "send"}
    await worker.once(here.house, here.partner)
    assert there(here) == ["Goal", "Patient"] and len(here.there.requests("POST", "Goal")) == 1


async def test_where_nothing_goes_any_more_what_went_is_taken_back_and_theirs_still_comes(begin: Begin) -> None:
    here = await begin(Habits())
    await written(here, "Goal")
    await worker.once(here.house, here.partner)
    theirs = here.seen("theirs")
    await worker.once(here.house, here.partner)
    agreed(here, direction="in")
    foretold = await foreseen(here)
    assert foretold["Goal"] == foretold["Patient"] == "take back" and "send" not in foretold.values()
    here.seen("more")
    await worker.once(here.house, here.partner)
    assert f"Observation/{theirs['id']}" in here.there.held and "Goal" not in there(here)
    assert await here.texts() == ["more", "theirs"] and await here.texts("Goal") == ["g"]
    late = await written(here, "Goal")
    await worker.once(here.house, here.partner)
    assert await here.house.store.outbox("hub") and (await worker.status(here.house, here.partner))["queued"] == 0
    assert "Goal" not in there(here) and not await here.house.store.outbox_open("hub", [late])
    agreed(here, direction="both")
    await worker.once(here.house, here.partner)
    assert there(here).count("Goal") == 2 and await here.texts("Goal") == ["g", "g"]


@pytest.mark.slow
async def test_a_dry_run_writes_nothing_of_what_it_foresees(begin: Begin) -> None:
    here = await begin(Habits(), types=frozenset({"Patient"}))
    await written(here, "Goal")
    await worker.once(here.house, here.partner)
    agreed(here, types=None)
    before = await here.house.store.kept_all("backfill", here.now), await here.house.store.outbox("hub")
    assert await foreseen(here) == {"Goal": "send"} and [i async for i in foreseeing.preview(here.house, here.partner)] == []
    assert (await here.house.store.kept_all("backfill", here.now), await here.house.store.outbox("hub")) == before
