"""A recall that is held up there holds up no other of the same person, and what cannot be deleted there says nothing any more. docs/partners.md"""

from __future__ import annotations

from fhir_gateway.sync.push import push

from ..test_believing import Beside, here

__all__ = ["here"]


def of(*types: str) -> list[dict[str, str]]:
    return [{"system": "http://hl7.org/fhir/resource-types", "code": t} for t in types]


async def at_once(here: Beside) -> None:
    """What is done without waiting a moment."""
    for _ in range(8):
        await push(here.house, here.partner, "w")


async def test_a_recall_of_her_entry_that_waits_for_another_try_holds_up_no_later_no_of_hers(here: Beside) -> None:
    await here.goal()
    await here.settled()
    here.there.fault("DELETE", "Patient/", status=423)
    await here.refuse("surgery", class_=of("Patient"))
    await at_once(here)
    states = await here.house.store.outbox_items("hub", "queued", 10)
    assert [i["why"] for i in states] == ["recall"] and here.texts() == ["walk"], "tried, and put off"
    await here.refuse("surgery", class_=of("Goal"))
    await at_once(here)
    assert here.texts() == [], "within the same second"
