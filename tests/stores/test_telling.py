"""Telling people, over both stores, by a real mail server: who is told, when, once, and again after a failure. The clock is ours."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import structlog

from fhir_gateway import gate
from fhir_gateway.domain import strict
from fhir_gateway.domain.notices import Choice
from fhir_gateway.domain.problem import Problem
from fhir_gateway.domain.types import Actor
from fhir_gateway.gate import Context
from fhir_gateway.gate.choosing import code_of
from fhir_gateway.store import mongo, sqlite
from fhir_gateway.tell import worker
from fhir_gateway.tell.hook import Webhook

from ..telling.place import BASIS, FACTS, NOON, OFFICER, Place
from ..telling.servers import Post, mail_server, web_server
from .conftest import ENGINES


@pytest.fixture
def post() -> Iterator[Post]:
    with mail_server() as p:
        yield p


@pytest_asyncio.fixture(params=ENGINES)
async def place(request: pytest.FixtureRequest, tmp_path: Path, post: Post) -> AsyncIterator[Place]:
    here = Place(post)
    store: Any
    if request.param == "mongo":
        store = await mongo.open(request.getfixturevalue("database"), clock=lambda: here.now)
    else:
        store = await sqlite.open(tmp_path / "store.sqlite", clock=lambda: here.now)
    yield await here.open(store)
    await store.close()


# -- what is told -----------------------------------------------------------------------------------------------------


async def test_a_consent_that_adds_somebody_is_told_and_one_that_does_not_is_not(place: Place) -> None:
    await place.choose()
    key = await place.grant("asha")
    await place.later()
    assert len(place.post.letters) == 1 and await place.states() == [("new-access", "sent")]
    await place.grant("asha")  # she may already
    await place.change(place.me, key, status="inactive")
    await place.later()
    assert len(place.post.letters) == 1
    await place.change(place.me, key, status="active")  # the other consent names her still
    await place.later()
    assert len(place.post.letters) == 1
    await place.grant("surgery")
    await place.later()
    assert len(place.post.letters) == 2


async def test_who_was_let_in_until_yesterday_is_new_again(place: Place) -> None:
    await place.choose()
    await place.grant("asha", until="2026-11-25")
    await place.later()
    assert len(place.post.letters) == 1
    place.now += timedelta(days=2)
    await place.grant("asha")
    await place.later()
    assert len(place.post.letters) == 2


async def test_a_member_of_the_team_is_told_of_when_they_accept_and_not_before(place: Place) -> None:
    await place.choose()
    team = {
        "resourceType": "CareTeam", "status": "active", "subject": {"reference": place.names["amina"]},
        "participant": [{"member": {"reference": place.names["asha"]}}],
    }  # fmt: skip
    await gate.create(place.me, "CareTeam", strict.dump(team))
    await place.later()
    assert place.post.letters == []
    gp = await place.gp()
    page = await gate.search(gp, "Task", [("patient", place.names["amina"].split("/")[1])])
    for entry in page.entries:
        await gate.accept(gp, entry.ref)
    await place.later()
    assert len(page.entries) == 1 and len(place.post.letters) == 1 and await place.states() == [("new-access", "sent")]


async def test_a_letter_says_the_same_whatever_happened(place: Place) -> None:
    await place.choose()
    for why in ("break-glass", "claim", "recall-failed"):
        await place.event(why)
        await place.later()
    said = {(str(m["Subject"]), m.get_content()) for m in place.post.letters}
    assert len(place.post.letters) == 3 and len(said) == 1
    assert "Example" not in str(said) and place.names["amina"] not in str(said)


# -- when -------------------------------------------------------------------------------------------------------------


async def test_what_happens_within_a_minute_is_one_message(place: Place) -> None:
    await place.choose()
    for _ in range(5):
        await place.event()
        assert (await place.later(10)).sent == 0
    await place.later(20)
    for _ in range(4):  # entries of one person are leased one at a time
        await place.later(0)
    assert len(place.post.letters) == 1
    assert sorted(s for _, s in await place.states()) == ["joined"] * 4 + ["sent"]
    await place.event()
    await place.later()
    assert len(place.post.letters) == 2


async def test_a_message_waits_for_a_safe_time(place: Place) -> None:
    await place.choose(start="09:00", end="11:00")
    await place.event()
    await place.later()
    await place.later(3600)
    assert place.post.letters == [] and await place.states() == [("break-glass", "waiting")]
    place.now = NOON.replace(day=26, hour=8, minute=59)
    assert (await place.later(0)).sent == 0
    assert (await place.later(60)).sent == 1 and len(place.post.letters) == 1


async def test_who_chose_nothing_finds_it_on_the_page_and_the_address_in_the_record_is_not_used(place: Place) -> None:
    await place.event()
    assert (await place.later(0)).sent == 1
    assert place.post.letters == [] and await place.states() == [("break-glass", "page")]


@pytest.mark.parametrize("language", ["cy", "ur"])
async def test_the_message_is_in_the_language_chosen(place: Place, language: str) -> None:
    await place.choose(language=language)
    await place.event()
    await place.later()
    assert place.post.letters[0]["Content-Language"] == language and "shared care plan" not in place.post.letters[0].get_content()


async def test_the_app_hears_of_the_person_by_their_reference_and_of_an_officer_without_an_address_too(place: Place) -> None:
    with web_server() as web:
        hook = Webhook(web.url, "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", lambda: place.now)
        place.channels = replace(place.channels, by={"app": hook})
        await place.add("officer", {"resourceType": "Practitioner", "active": True, "name": [{"family": "Officer"}]})
        await place.add("officer-role", place.role("officer", "surgery", code=[OFFICER]))
        await place.choose("app", "")
        await place.event()
        await place.event(whom="privacy-officer")
        assert (await place.later()).sent == 2
        await hook.close()
    said = [json.loads(body)["data"] for _, _, body in web.got]
    assert {d["recipient"] for d in said} == {place.names["amina"], place.names["officer-role"]}
    assert "Example" not in str(said) and "Officer" not in str(said)


# -- asked again when it is sent --------------------------------------------------------------------------------------


@pytest.mark.parametrize("change", [
    {"deceasedBoolean": True}, {"deceasedDateTime": "2026-11-25"}, {"extension": [{"url": FACTS + "no-notify", "valueBoolean": True}]},
])  # fmt: skip
async def test_nobody_is_told_of_the_dead_or_where_it_would_endanger(place: Place, change: dict[str, Any]) -> None:
    await place.choose()
    await place.event()
    await place.change(place.records, "amina", **change)
    assert (await place.later()).nobody == 1
    assert place.post.letters == [] and await place.parked() == 0 and await place.states() == []


async def test_a_sent_notice_is_not_shown_while_telling_would_endanger(place: Place) -> None:
    await place.choose()
    await place.event()
    await place.later()
    assert await place.states() == [("break-glass", "sent")]
    await place.change(place.records, "amina", extension=[{"url": FACTS + "no-notify", "valueBoolean": True}])
    assert await place.states() == []


async def test_of_a_merged_record_the_one_that_goes_on_is_told(place: Place) -> None:
    await place.choose()
    second = {"resourceType": "Patient", "name": [{"family": "Example"}]}
    place.names["second"] = str((await gate.create(place.hospital, "Patient", strict.dump(second))).ref)
    me = place.names["second"]
    await place.choose(address="second@mail.example", ctx=gate.house_context(place.house, Actor("patient", frozenset({me}), me, patient=me)))
    await place.event()
    await place.change(place.records, "amina", link=[{"other": {"reference": me}, "type": "replaced-by"}])
    await place.change(place.records, "second", link=[{"other": {"reference": place.names["amina"]}, "type": "replaces"}])
    await place.later()
    assert place.post.to == ["second@mail.example"]


async def child(place: Place) -> tuple[str, Context]:
    """Amina is a child; her parent has parental responsibility and chose email."""
    await place.change(place.records, "amina", birthDate="2015-01-01")
    leila = {"resourceType": "RelatedPerson", "active": True, "patient": {"reference": place.names["amina"]}, "name": [{"family": "Example"}]}
    place.names["leila"] = str((await gate.create(place.me, "RelatedPerson", strict.dump(leila))).ref)
    parent = place.proxy(place.names["leila"])
    await place.choose(address="leila@mail.example", ctx=parent)
    return place.names["leila"], parent


async def test_the_parent_of_a_child_is_told_too_while_the_role_lasts(place: Place) -> None:
    _, parent = await child(place)
    await place.choose()
    key = await place.appoint("leila", "parental-responsibility")
    await place.later()
    assert sorted(place.post.to) == ["amina@mail.example", "leila@mail.example"]
    assert await place.states(parent) == [("new-access", "sent")]
    await place.event()
    await place.change(place.me, key, status="inactive")
    await place.later()
    assert sorted(place.post.to) == ["amina@mail.example", "amina@mail.example", "leila@mail.example"]


async def test_the_answer_about_who_looked_is_for_the_person_and_not_for_who_may_have_looked(place: Place) -> None:
    _, parent = await child(place)
    await place.choose()
    await place.appoint("leila", "parental-responsibility")
    await place.later()
    await place.event("not-recognised")
    await place.later()
    assert "not-recognised" not in dict(await place.states(parent)) and "not-recognised" in dict(await place.states())


async def test_who_acts_at_the_person_s_side_is_not_told(place: Place) -> None:
    await child(place)
    await place.choose()
    await place.grant("leila", basis=(BASIS, "consent"))
    await place.event()
    await place.later()
    assert place.post.to == ["amina@mail.example"]


async def test_a_proxy_under_a_safeguarding_flag_is_not_told(place: Place) -> None:
    leila, _ = await child(place)
    await place.choose()
    await place.appoint("leila", "parental-responsibility")
    await gate.record(place.operator, place.names["amina"].removeprefix("Patient/"), "safeguarding-proxy", who=leila, evidence="a safeguarding referral")
    await place.later()
    assert place.post.to == ["amina@mail.example"]


async def test_privacy_officers_are_told_while_they_are_registered(place: Place) -> None:
    await place.event(whom="privacy-officer")
    assert (await place.later()).parked == 1, "nobody is registered: an operator sees that it waits"
    await place.add("officer", {"resourceType": "Practitioner", "active": True, "name": [{"family": "Officer"}]})
    telecom = [{"system": "email", "value": "officer@mail.example"}]
    await place.add("officer-role", place.role("officer", "surgery", code=[OFFICER], telecom=telecom))
    assert await worker.retry(place.house, "tell:privacy-officer") == 1
    await place.later()
    assert place.post.to == ["officer@mail.example"] and await place.parked() == 0
    await place.event(whom="privacy-officer")
    await place.change(place.operator, "officer-role", active=False)
    assert (await place.later()).parked == 1 and len(place.post.letters) == 1


# -- when it does not work --------------------------------------------------------------------------------------------


async def test_it_is_tried_again_with_growing_waits_and_then_parked_where_it_is_seen(place: Place) -> None:
    await place.choose()
    await place.event()
    place.post.says = ["451 busy"] * worker.TRIES
    waits: list[float] = []
    with structlog.testing.capture_logs() as logs:
        told = await place.later()
        while not told.parked:
            (item,) = await place.house.store.outbox_items("tell:patient", "queued", 9)
            waits.append((item["due"] - place.now).total_seconds())
            told = await place.later(waits[-1])
    assert len(waits) == worker.TRIES - 1 and waits == sorted(waits) and waits[0] >= 20 and waits[-1] <= 3600 and not place.post.letters
    assert await place.states() == [("break-glass", "failed")]
    (status, _, _) = await worker.status(place.house, place.channels)
    assert (status["parked"], status["troubles"]) == (1, {"email: refused it (451)": 1})
    assert "mail.example" not in str(logs) + str(status) and "Patient/" not in str(logs)
    assert await worker.retry(place.house, "tell:patient") == 1
    await place.later(0)
    assert len(place.post.letters) == 1 and await place.states() == [("break-glass", "sent")]


async def test_an_address_that_does_not_exist_is_not_tried_again(place: Place) -> None:
    await place.choose()
    await place.event()
    place.post.says = ["rcpt 550 no such box"]
    assert (await place.later()).parked == 1 and await place.states() == [("break-glass", "failed")]
    await place.event()
    await place.later()
    assert len(place.post.letters) == 1, "what is parked stands in nobody's way"


async def test_a_channel_that_is_not_set_up_is_seen_as_such(place: Place) -> None:
    await place.choose("text", "+447700900123")
    await place.event()
    assert (await place.later()).parked == 1
    assert (await worker.status(place.house, place.channels))[0]["troubles"] == {"text: is not set up here": 1}


async def test_an_officer_without_a_channel_finds_emergencies_on_their_page_and_nothing_else_is_lost(place: Place) -> None:
    await place.add("officer", {"resourceType": "Practitioner", "active": True, "name": [{"family": "Officer"}]})
    await place.add("officer-role", place.role("officer", "surgery", code=[OFFICER]))
    await place.event(whom="privacy-officer")
    assert (await place.later()).parked == 0
    (_, queue, _) = await worker.status(place.house, place.channels)
    assert (queue["shown"], queue["sent"], queue["parked"]) == (1, 0, 0)
    await place.event("recall-failed", whom="privacy-officer")
    assert (await place.later()).parked == 1


async def test_what_was_taken_and_not_acknowledged_comes_again_under_the_same_id(place: Place) -> None:
    await place.choose()
    await place.event()
    place.post.taken_then = ["nothing"]
    await place.later()
    await place.later(60)
    first, second = place.post.letters
    assert first["Message-ID"] == second["Message-ID"] and await place.states() == [("break-glass", "sent")]


async def test_who_dies_after_sending_loses_nothing_and_another_goes_on_when_the_lease_ends(place: Place) -> None:
    await place.choose()
    await place.event()
    place.post.taken_then = ["late"]
    dying = asyncio.create_task(place.later())
    for _ in range(500):
        if place.post.letters:
            break
        await asyncio.sleep(0.02)
    dying.cancel()
    await asyncio.gather(dying, return_exceptions=True)
    assert (await place.later(1)).sent == 0, "it is leased still"
    assert (await place.later(worker.LEASE_SECONDS)).sent == 1
    first, second = place.post.letters
    assert first["Message-ID"] == second["Message-ID"]


async def test_two_workers_send_one_message(place: Place) -> None:
    await place.choose()
    await place.event()
    place.now += timedelta(seconds=61)
    await asyncio.gather(*(worker.once(place.house, place.channels, f"w{n}") for n in range(4)))
    assert len(place.post.letters) == 1


# -- the choice -------------------------------------------------------------------------------------------------------


async def test_where_messages_went_before_is_told_that_something_changed(place: Place) -> None:
    await place.choose(address="old@mail.example")
    await place.choose(address="new@mail.example")
    await place.later()
    assert place.post.to == ["old@mail.example"]
    await place.event()
    await place.later()
    assert place.post.to == ["old@mail.example", "new@mail.example"]
    await place.choose("page", "")
    await place.later()
    assert place.post.to[2:] == ["new@mail.example"]
    await place.choose(address="new@mail.example", language="cy")
    await place.later()
    assert len(place.post.to) == 3, "from no message to one, and another language: nobody else is to be told"
    assert len({m.get_content() for m in place.post.letters}) == 1


async def test_the_safe_times_of_a_former_address_hold_up_no_notice(place: Place) -> None:
    await place.choose(address="old@mail.example", start="03:00", end="04:00")
    await place.choose(address="new@mail.example")
    await place.event()
    await place.later()
    assert place.post.to == ["new@mail.example"]
    await place.later(15.5 * 3600)
    assert place.post.to == ["new@mail.example", "old@mail.example"]


async def test_nobody_writes_to_strangers_by_changing_addresses_all_day(place: Place) -> None:
    for n in range(10):
        await place.choose(address=f"stranger-{n}@mail.example")
    with pytest.raises(Problem, match="often"):
        await place.choose(address="stranger-10@mail.example")
    await place.choose(address="stranger-9@mail.example", language="cy")
    place.now += timedelta(days=1, seconds=1)
    await place.choose(address="amina@mail.example")


async def test_a_new_address_is_told_of_nothing_before_its_code_comes_back(place: Place) -> None:
    await place.choose(address="old@mail.example")
    new = await gate.choose(place.me, Choice("email", "new@mail.example", "ur", "09:00", "10:00"))
    await place.event()
    await worker.once(place.house, place.channels)
    assert new is not None and place.post.to == ["new@mail.example"], "at once, though it is no safe time"
    said = place.post.letters[0].get_content()
    assert code_of(place.house, new) in said and "gateway.example" not in said and place.post.letters[0]["Content-Language"] == "ur"
    now = await gate.my_choice(place.me)
    assert (now.address, now.language, now.start) == ("old@mail.example", "en", ""), "all is as before"
    place.now += timedelta(hours=2)
    await worker.once(place.house, place.channels)
    assert place.post.to == ["new@mail.example", "old@mail.example"]
    with pytest.raises(Problem, match="waits"):
        await gate.confirm(place.me, code_of(place.house, new))  # an hour is over


async def test_a_code_is_guessed_five_times_and_then_void_also_by_many_at_once(place: Place) -> None:
    new = await gate.choose(place.me, Choice("email", "new@mail.example"))
    assert new is not None
    right = code_of(place.house, new)
    wrong = f"{(int(right) + 1) % 1_000_000:06d}"
    said = await asyncio.gather(*(gate.confirm(place.me, wrong) for _ in range(8)), return_exceptions=True)
    assert {type(s) for s in said} == {Problem}
    while (now := await gate.confirming(place.me)) is not None:
        assert now.tries < 5
        with pytest.raises(Problem, match=r"code|often"):
            await gate.confirm(place.me, wrong)
    with pytest.raises(Problem, match="waits"):
        await gate.confirm(place.me, right)
    assert await gate.my_choice(place.me) == Choice()


async def test_a_later_choice_leaves_no_older_code_alive(place: Place) -> None:
    first = await gate.choose(place.me, Choice("email", "first@mail.example"))
    second = await gate.choose(place.me, Choice("email", "second@mail.example"))
    assert first is not None and second is not None
    with pytest.raises(Problem, match="not the code"):
        await gate.confirm(place.me, code_of(place.house, first))
    await worker.once(place.house, place.channels)
    assert place.post.to == ["second@mail.example"], "nobody is sent a code that does not work"
    await gate.choose(place.me, Choice(language="cy"))
    with pytest.raises(Problem, match="waits"):
        await gate.confirm(place.me, code_of(place.house, second))
    assert await gate.my_choice(place.me) == Choice(language="cy")


async def test_nobody_else_chooses_or_sees(place: Place) -> None:
    for ctx in (await place.gp(), place.hospital, place.operator):
        with pytest.raises(Problem, match="chooses"):
            await place.choose(ctx=ctx)
        with pytest.raises(Problem, match="chooses"):
            await gate.my_notices(ctx)
