"""Messages of a record: which of them somebody sees, whose list they are on, and how they are said. Their pages are told in tests/systems/
test_03_*.py, test_30_*.py and test_31_*.py. docs/messages.md"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from fhir_gateway import gate
from fhir_gateway.around import messages
from fhir_gateway.domain import strict
from fhir_gateway.domain.problem import Problem
from fhir_gateway.domain.types import Actor
from fhir_gateway.domain.vocabulary import SECTOR_SYSTEM
from fhir_gateway.gate import Context
from fhir_gateway.store import sqlite
from fhir_gateway.web.pages.messages import told

from .staff import consent, permit
from .telling.place import Place
from .telling.servers import Post


@pytest_asyncio.fixture
async def place(tmp_path: Path) -> AsyncIterator[Place]:
    """A person and the nurse whom she lets see and add to her record."""
    place = Place(Post())
    store = await sqlite.open(tmp_path / "gateway.sqlite", clock=lambda: place.now)
    await place.open(store)
    every = [{"coding": [{"system": "http://terminology.hl7.org/CodeSystem/consentaction", "code": a}]} for a in ("access", "collect", "correct")]
    await gate.create(place.me, "Consent", strict.dump(consent(place.names["amina"].removeprefix("Patient/"), permit(place.names["asha"], action=every))))
    yield place
    await store.close()


async def say(place: Place, who: Context, text: str, **more: Any) -> str:
    body = {"resourceType": "Communication", "status": "completed", "subject": {"reference": place.names["amina"]}, "payload": [{"contentString": text}], **more}
    return (await gate.create(replace(who, at=place.now), "Communication", strict.dump({k: v for k, v in body.items() if v is not None}))).ref.id


def texts(found: list[dict[str, Any]]) -> list[str]:
    return [m["payload"][0]["contentString"] for m in found]


async def read(place: Place, who: Context) -> list[str]:
    return texts((await messages.of_person(replace(who, at=place.now), [place.names["amina"].removeprefix("Patient/")])).found)


async def mine(place: Place, who: Context) -> list[str]:
    return texts(await messages.for_me(replace(who, at=place.now)))


async def test_what_is_about_somebody_from_them_or_to_them_is_there_the_newest_first(place: Place) -> None:
    me = {"reference": place.names["amina"]}
    await say(place, place.hospital, "sent last", sent="2026-11-24T10:00:00Z")
    await say(place, place.hospital, "sent first", sent="2026-11-20T10:00:00Z")
    await say(place, place.me, "from her", subject=None, sender=me, received="2026-11-22T10:00:00Z")
    await say(place, place.hospital, "to her", subject=None, recipient=[me], sent="2026-11-21")
    await say(place, place.hospital, "a mistake", status="entered-in-error")
    assert await read(place, place.me) == ["sent last", "from her", "to her", "sent first"]


async def test_it_is_shown_only_where_the_person_lets_them_see_it(place: Place) -> None:
    nurse = await place.gp()
    who = {"reference": place.names["asha"]}
    await say(place, place.me, "for the nurse", recipient=[who])
    hidden = await say(place, place.me, "hidden", recipient=[who])
    one = {"data": [{"meaning": "instance", "reference": {"reference": f"Communication/{hidden}"}}]}
    await gate.create(place.me, "Consent", strict.dump(consent(place.names["amina"].removeprefix("Patient/"), permit(place.names["asha"], type="deny", **one))))
    assert await read(place, nurse) == await mine(place, nurse) == ["for the nurse"]
    assert sorted(await read(place, place.me)) == ["for the nurse", "hidden"]
    no = permit(place.names["asha"], type="deny", **{"class": [{"system": "http://hl7.org/fhir/resource-types", "code": "Communication"}]})
    await gate.create(place.me, "Consent", strict.dump(consent(place.names["amina"].removeprefix("Patient/"), no)))
    assert await read(place, nurse) == await mine(place, nurse) == []
    charity = gate.house_context(place.house, Actor("professional", frozenset({"Practitioner/c", f"{SECTOR_SYSTEM}|voluntary"}), "Practitioner/c", sector="voluntary"))
    assert await mine(place, charity) == []
    with pytest.raises(Problem) as nobody:
        await read(place, charity)
    assert nobody.value.kind == "not-found", "as for a record that is not there"


async def test_it_is_on_the_list_of_whom_it_is_for_for_thirty_days_and_on_no_other(place: Place) -> None:
    nurse = await place.gp()
    herself, surgery, hospital = ({"reference": place.names[n]} for n in ("asha", "surgery", "hospital"))
    await say(place, place.me, "to her", recipient=[herself])
    place.now += timedelta(minutes=1)
    await say(place, place.me, "to where she works", recipient=[surgery])
    await say(place, place.me, "to somebody else", recipient=[hospital])
    await say(place, nurse, "her own", sender=herself, recipient=[surgery])
    assert sorted(await mine(place, nurse)) == ["to her", "to where she works"]
    place.now += timedelta(days=30)
    assert await mine(place, nurse) == ["to where she works"]
    place.now += timedelta(days=1)
    assert await mine(place, nurse) == [] and len(await read(place, nurse)) == 4


async def test_what_her_own_practice_sent_is_on_her_list(place: Place) -> None:
    """An alert of a product that its practice runs, sent in the practice's name; until now it was taken for her own."""
    nurse, surgery = await place.gp(), place.names["surgery"]
    product = gate.house_context(place.house, Actor("system", frozenset({"Device/s", surgery}), "Device/s", "Blood pressures", surgery, "health", contributor=True))
    await say(place, product, "urgent", sender={"reference": surgery}, recipient=[{"reference": place.names["asha"]}], priority="urgent")
    await say(place, nurse, "her own", sender={"reference": place.names["asha"]}, recipient=[{"reference": surgery}])
    assert await mine(place, nurse) == ["urgent"]


async def test_however_many_are_her_own_what_others_wrote_before_them_is_on_her_list(place: Place) -> None:
    nurse, surgery = await place.gp(), {"reference": place.names["surgery"]}
    await say(place, place.hospital, "an alert", sender={"reference": place.names["hospital"]}, recipient=[surgery])
    for n in range(2 * messages.MOST_MINE + 1):
        place.now += timedelta(seconds=1)
        await say(place, nurse, f"her own {n}", sender={"reference": place.names["asha"]}, recipient=[surgery])
    assert await mine(place, nurse) == ["an alert"]


async def test_the_newest_is_the_last_instant_wherever_it_was_written(place: Place) -> None:
    nurse, her = await place.gp(), [{"reference": place.names["asha"]}]
    for text, sent in (("half past ten at night", "2026-11-20T23:30:00+01:00"), ("eleven at night", "2026-11-20T23:00:00Z"), ("early", "2026-11-20T06:00:00+08:00")):
        await say(place, place.hospital, text, sent=sent, recipient=her)
    assert await read(place, nurse) == await mine(place, nurse) == ["eleven at night", "half past ten at night", "early"]


def test_a_day_that_is_none_stands_after_all_that_are() -> None:
    said = [{"sent": "soon"}, {"sent": "2026-11"}, {}, {"meta": {"lastUpdated": "2026-11-20T10:00:00.123Z"}}, {"sent": ["?"]}]
    assert sorted(said, key=messages.moment, reverse=True)[:2] == [said[3], said[1]]


WHO = {"Practitioner/1": "Nia", "Patient/9": "Me", "Goal/3": "Walk to the shop"}


@pytest.mark.parametrize(("message", "above", "said"), [
    ({"sender": {"reference": "Practitioner/1"}, "sent": "2026-11-20T10:00:00Z"}, ("From Nia", ""), {"From": "Nia", "When": "20 November 2026 at 10:00 am"}),
    ({"sender": {"reference": "Practitioner/2"}}, ("From Somebody", ""), {"From": "Somebody"}),  # whom this reader may not see has no name
    ({"topic": {"text": "Your walk"}, "recipient": [{"reference": "Patient/9"}, {"display": "Joan"}]}, ("Your walk", ""), {"To": "Me, Joan"}),
    ({"about": [{"reference": "Goal/3"}, {"reference": "Goal/4"}]}, ("A message", ""), {"What it is about": "Walk to the shop"}),
    ({"medium": [{"coding": [{"code": "PHONE"}]}, {"coding": [{"code": "?"}]}]}, ("A message", ""), {"How": "By phone"}),
    ({"status": "not-done", "statusReason": {"text": "No answer"}, "priority": "urgent"}, ("A message", "Not sent"), {"Why not": "No answer"}),
    ({"priority": "stat", "note": [{"text": "n"}]}, ("A message", "Urgent"), {"Notes": "n"}),
    ({"sender": "?", "payload": "?", "about": {}, "recipient": [1], "medium": None, "topic": []}, ("A message", ""), {}),
])  # fmt: skip
def test_a_message_is_said_in_words(message: dict[str, Any], above: tuple[str, str], said: dict[str, str]) -> None:
    shown = told({"id": "1", "status": "completed", **message}, WHO)
    assert (shown.item.text, shown.item.state) == above and {line.label: line.text for line in shown.item.lines} == said


def test_what_is_sent_along_is_named_with_where_it_is() -> None:
    files = [{"contentAttachment": {"title": "Salt", "url": "https://films.example/salt"}}, {"contentAttachment": {"contentType": "image/png", "data": "AAAA"}}]
    shown = told({"id": "1", "payload": [{"contentString": "Watch this.\nIt is short. " + "x" * 200}, *files]}, WHO)
    assert [(f.label, f.text) for f in shown.files] == [("Salt", "https://films.example/salt"), ("A file", "It is kept in the record, and this page does not show it.")]
    assert shown.short.startswith("Watch this. It is short. xxx") and len(shown.short) == 120 and shown.short.endswith("…")
