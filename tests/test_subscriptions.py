"""Subscribers are told of what they may see, when they may see it, and of nothing else; by numbers without gaps."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from fhir_gateway import gate
from fhir_gateway.auth import clients
from fhir_gateway.commands import subscribing
from fhir_gateway.domain import strict, topics
from fhir_gateway.domain.problem import Problem
from fhir_gateway.domain.types import Drop, Keep, Ref

from .subscribing import KEY, Listened, listened, said, subscription


@pytest_asyncio.fixture
async def here(tmp_path: Path) -> AsyncIterator[Listened]:
    async with listened(tmp_path) as place:
        yield place


def params(bundle: dict[str, Any], at: int = 0) -> dict[str, Any]:
    return {p["name"]: next((v for k, v in p.items() if k.startswith("value")), None) for p in bundle["entry"][at]["resource"]["parameter"]}


async def test_a_subscriber_is_told_while_the_person_lets_them_and_the_numbers_have_no_gap(here: Listened) -> None:
    mine = await here.grant("surgery")
    id = await here.subscribe(f"Goal?patient={here.names['amina']}")
    assert here.hook.told() == [("handshake", [])] and await here.status_of(id) == "active"
    goal = await here.goal()
    await here.tell()
    assert here.hook.events() == [(1, str(goal))]
    bundle = here.hook.bodies()[-1]
    assert bundle["type"] == "history" and "walk" not in str(bundle) and bundle["entry"][1] == {
        "fullUrl": f"{here.house.base_url}/{goal}", "request": {"method": "POST", "url": "Goal"}, "response": {"status": "201"},
    }  # fmt: skip
    await here.change(here.me, mine, status="inactive")
    await here.edit("walk", description={"text": "swim"})
    await here.tell()
    assert here.hook.events() == [(1, str(goal))]
    await here.grant("surgery")
    await here.tell()
    await here.edit("walk", description={"text": "run"})
    await here.tell()
    assert here.hook.events() == [(1, str(goal)), (2, str(goal))]


async def test_a_system_that_is_registered_by_the_code_of_its_organisation_is_told_as_well(here: Listened) -> None:
    await here.grant("surgery")
    client = clients.Client("coded", "system", "coded", "system/*.cruds", jwks=KEY, organisation="surgery", purpose="TREAT")
    await clients.add(here.house.store, client)
    id = await here.subscribe(who="coded")
    goal = await here.goal()
    await here.tell()
    assert await here.status_of(id, "coded") == "active" and here.hook.events() == [(1, str(goal))]


async def test_what_is_queued_when_the_person_says_no_is_not_sent_and_uses_no_number(here: Listened) -> None:
    await here.grant("surgery")
    id = await here.subscribe()
    await here.goal()
    await here.refuse("surgery")
    await here.tell()
    assert here.hook.events() == [] and await here.house.store.outbox(f"sub:{id}") == {"withheld": 1}
    told = await gate.status(await here.as_system(), id, [])
    assert params(told)["events-since-subscription-start"] == "0"


@pytest.mark.slow
async def test_a_no_that_comes_while_it_is_being_sent_stops_it(here: Listened) -> None:
    """Between the question and the commit that gives the number."""
    await here.grant("surgery")
    await here.subscribe()
    await here.goal()
    store, asked = here.house.store, []

    class Late:
        def __getattr__(self, name: str) -> Any:
            return getattr(store, name)

        async def commit(self, *ops: Any) -> None:
            if not asked and any(type(op).__name__ == "Expect" for op in ops):
                asked.append(1)
                await here.refuse("surgery")
            await store.commit(*ops)

    here.house.store = Late()  # type: ignore[assignment]
    await here.tell()
    assert asked and here.hook.events() == []


@pytest.mark.slow
async def test_events_can_be_asked_for_again_by_number_as_far_as_they_may_still_be_seen(here: Listened) -> None:
    await here.grant("surgery")
    id = await here.subscribe()
    goals = [await here.goal(f"goal {n}") for n in range(4)]
    await here.tell()
    ctx = await here.as_system()
    assert said(await gate.events(ctx, id, [])) == ("query-event", [(n + 1, str(g)) for n, g in enumerate(goals)])
    assert [n for n, _ in said(await gate.events(ctx, id, [("eventsSinceNumber", "2"), ("eventsUntilNumber", "3")]))[1]] == [2, 3]
    assert said(await gate.events(ctx, id, [("content", "empty"), ("eventsSinceNumber", "4")]))[1] == [(4, "")]
    assert said(await gate.events(ctx, id, [("eventsSinceNumber", "9")]))[1] == []
    for wrong in ("-1", "x", "1" * 40):
        with pytest.raises(Problem, match="number"):
            await gate.events(ctx, id, [("eventsSinceNumber", wrong)])
    await here.refuse("surgery")
    assert said(await gate.events(await here.as_system(), id, []))[1] == []


async def test_plain_r4_is_told_by_an_empty_request(here: Listened) -> None:
    await here.grant("surgery")
    ctx = await here.as_system()
    body = {**subscription(f"http://{here.hook.place}/r4"), "criteria": f"Goal?patient={here.names['amina'].removeprefix('Patient/')}"}
    body["channel"] = {"type": "rest-hook", "endpoint": f"http://{here.hook.place}/r4", "header": ["X-Key: 1"]}
    made = await gate.create(ctx, "Subscription", strict.dump(body))
    assert await here.status_of(made.ref.id) == "active"
    await here.goal()
    await here.tell()
    ((path, headers, raw),) = here.hook.came
    assert (path, raw, headers["x-key"], headers["content-length"]) == ("/r4", b"", "1", "0")


@pytest.mark.slow
async def test_empty_content_says_that_something_changed_and_not_what(here: Listened) -> None:
    await here.grant("surgery")
    await here.subscribe(content="empty")
    goal = await here.goal()
    await here.tell()
    assert here.hook.events() == [(1, "")] and goal.id not in str(here.hook.bodies()) and len(here.hook.bodies()[-1]["entry"]) == 1
    assert topics.TOPIC not in str(here.hook.bodies())  # the guide: not with `empty`


@pytest.mark.slow
async def test_filters_choose_by_person_and_type(here: Listened) -> None:
    await here.grant("surgery")
    me = here.names["amina"].removeprefix("Patient/")
    await here.subscribe(f"Goal?patient={me}", f"CarePlan?patient=Patient/{me}")
    await here.subscribe("Goal?patient=somebody-else")
    plan = {"resourceType": "CarePlan", "status": "active", "intent": "plan", "subject": {"reference": here.names["amina"]}}
    flag = {"resourceType": "Flag", "status": "active", "code": {"text": "x"}, "subject": {"reference": here.names["amina"]}}
    made = [(await gate.create(here.me, b["resourceType"], strict.dump(b))).ref for b in (plan, flag)]
    await here.tell()
    assert here.hook.events() == [(1, str(made[0]))]


@pytest.mark.slow
async def test_a_scope_for_some_of_it_holds_for_what_is_told(here: Listened) -> None:
    await here.grant("surgery")
    await here.subscribe(scopes="system/Subscription.cruds system/CarePlan.rs system/Goal.rs?lifecycle-status=completed")
    await here.goal()
    await here.tell()
    assert here.hook.events() == []
    await here.edit("walk", lifecycleStatus="completed")
    await here.tell()
    assert [n for n, _ in here.hook.events()] == [1]


@pytest.mark.slow
async def test_a_deletion_is_told(here: Listened) -> None:
    await here.grant("surgery")
    await here.subscribe()
    goal = await here.goal()
    await gate.remove(here.me, goal, if_match=1)
    await here.tell()
    await here.tell()
    assert here.hook.events() == [(1, str(goal)), (2, str(goal))]
    assert here.hook.bodies()[-1]["entry"][1]["request"] == {"method": "DELETE", "url": str(goal)}


async def test_what_was_not_taken_is_sent_again_under_its_number(here: Listened) -> None:
    await here.grant("surgery")
    id = await here.subscribe()
    goal = await here.goal()
    for status in (500, 0, 302, 404):
        here.hook.status = status
        await here.tell()
        here.now += timedelta(seconds=20)
    here.hook.status = 200
    await here.goal("swim")
    await here.tell()
    assert [n for n, _ in here.hook.events()] == [1, 1, 1, 1, 1, 2]
    assert {f for n, f in here.hook.events() if n == 1} == {str(goal)} and await here.status_of(id) == "active"
    told = [n for n in await here.house.store.notes(patient=here.names["amina"]) if n.what == "notify"]
    assert len(told) == 2  # one row for each event, however often it was tried


@pytest.mark.slow
async def test_a_number_that_nobody_can_have_seen_is_not_lost_to_a_no(here: Listened) -> None:
    """The endpoint is away; the person says no meanwhile: the next number does not tell that there was something."""
    mine = await here.grant("surgery")
    await here.subscribe()
    here.hook.server.shutdown()
    here.hook.server.server_close()
    await here.goal()
    for _ in range(3):
        await here.tell()
        here.now += timedelta(seconds=30)
    await here.change(here.me, mine, status="inactive")
    await here.tell()
    ctx = await here.as_system()
    (told,) = (await gate.status(ctx, None, []))["entry"]
    assert {p["name"]: p.get("valueString") for p in told["resource"]["parameter"]}["events-since-subscription-start"] == "0"


@pytest.mark.slow
async def test_a_subscriber_that_is_away_is_in_error_after_a_day_loses_nothing_and_is_off_after_a_week(here: Listened) -> None:
    await here.grant("surgery")
    id = await here.subscribe()
    here.hook.status = 503
    await here.goal()
    for _ in range(8):
        await here.tell()
        here.now += timedelta(hours=4)
    assert await here.status_of(id) == "error"
    await here.goal("swim")
    here.hook.status = 200
    await here.tell()
    assert await here.status_of(id) == "active" and {n for n, _ in here.hook.events()} == {1, 2}
    here.hook.status = 503
    await here.goal("run")
    for _ in range(9):
        await here.tell()
        here.now += timedelta(days=1)
    assert await here.status_of(id) == "off"
    await here.tell()
    before = len(here.hook.came)
    await here.goal("sing")
    here.now += timedelta(days=1)
    await here.tell()
    assert len(here.hook.came) == before and set(await here.house.store.outbox(f"sub:{id}")) <= {"sent", "withheld"}


@pytest.mark.slow
async def test_an_endpoint_that_does_not_answer_the_handshake_is_told_nothing(here: Listened) -> None:
    await here.grant("surgery")
    here.hook.status = 404
    id = await here.subscribe()
    await here.goal()
    await here.tell()
    assert await here.status_of(id) == "error" and here.hook.events() == []  # the guide: a server SHALL set `error` when the handshake fails
    here.hook.status = 200
    here.now += timedelta(seconds=30)
    await here.tell()
    await here.goal("swim")
    await here.tell()
    assert await here.status_of(id) == "active" and [n for n, _ in here.hook.events()] == [1]


@pytest.mark.slow
async def test_a_heartbeat_comes_when_nothing_else_did(here: Listened) -> None:
    await here.grant("surgery")
    await here.subscribe(extension=[{"url": topics.HEARTBEAT, "valueUnsignedInt": 60}])
    here.now += timedelta(seconds=59)
    await here.tell()
    here.now += timedelta(seconds=2)
    await here.tell()
    await here.tell()
    assert [kind for kind, _ in here.hook.told()] == ["handshake", "heartbeat"]


@pytest.mark.slow
@pytest.mark.parametrize("removed", ["client", "organisation", "place", "end"])
async def test_who_may_be_told_no_more_is_off_at_once(here: Listened, removed: str) -> None:
    await here.grant("surgery")
    ends = (here.now + timedelta(hours=1)).isoformat()
    body = {**subscription(f"http://{here.hook.place}/told"), "end": ends}
    made = await gate.create(await here.as_system(), "Subscription", strict.dump(body))
    await here.tell()
    await here.goal()
    found = await clients.find(here.house.store, "practice", here.now)
    assert found is not None
    if removed == "client":
        await here.house.store.commit(Drop(clients.KIND, "practice"))
    elif removed == "organisation":
        from dataclasses import replace

        await clients.change(here.house.store, replace(found, organisation=here.names["hospital"]))
    elif removed == "place":
        here.house.subscribers = frozenset()
    else:
        here.now += timedelta(hours=2)
    await here.tell()
    assert here.hook.events() == [] and await here.house.store.outbox(f"sub:{made.ref.id}") == {"withheld": 1}


@pytest.mark.slow
async def test_an_ended_subscription_is_as_if_it_had_never_been(here: Listened) -> None:
    await here.grant("surgery")
    id = await here.subscribe()
    ref, ctx = Ref("Subscription", id), await here.as_system()
    await here.goal()
    await gate.remove(ctx, ref)
    with pytest.raises(Problem) as absent:
        await gate.read(ctx, ref)
    assert absent.value.kind == "not-found"
    await here.tell()
    store = here.house.store
    assert here.hook.events() == [] and [await store.kept_all(k, here.now) for k in ("subscription-state", "subscription-event")] == [{}, {}]
    here.now += timedelta(minutes=10)  # so long it counts among those that this client has ended
    await here.tell()
    assert await store.kept_all("subscription", here.now) == {}


WRONG = [
    ({"criteria": "https://example.org/topic"}, "Subscription.criteria"),
    ({"criteria": "Goal?description=walk"}, "Subscription.channel.payload"),
    ({"channel": {"type": "websocket"}}, "Subscription.channel.type"),
    ({"channel": {"type": "rest-hook"}}, "Subscription.channel.endpoint"),
    ({"status": "off"}, "Subscription.status"),
    ({"end": "2020-01-01T00:00:00Z"}, "Subscription.end"),
    ({"modifierExtension": [{"url": "urn:x:not", "valueBoolean": True}]}, "Subscription.modifierExtension[0]"),
    ({"_criteria": {"extension": [{"url": f"{topics.FILTER}-misspelt", "valueString": "Goal"}]}}, "Subscription.criteria.extension"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("change", "where"), WRONG)
async def test_what_cannot_be_honoured_is_refused_and_named(here: Listened, change: dict[str, Any], where: str) -> None:
    body = {**subscription(f"http://{here.hook.place}/told"), **change}
    with pytest.raises(Problem) as wrong:
        await gate.create(await here.as_system(), "Subscription", strict.dump(body))
    assert wrong.value.status == 422 and wrong.value.issues[0].where == where


@pytest.mark.slow
@pytest.mark.parametrize("filter", ["Goal?description=walk", "Nothing?patient=1", "Goal?patient=1&_id=2", "Practitioner?patient=1", "Goal?patient=a b", "AuditEvent?patient=1"])
async def test_a_filter_by_what_a_record_says_is_refused(here: Listened, filter: str) -> None:
    """What the view keeps from a reader must not be guessed by a filter."""
    with pytest.raises(Problem) as wrong:
        await here.subscribe(filter)
    assert wrong.value.status == 422


@pytest.mark.slow
async def test_a_whole_record_is_never_sent(here: Listened) -> None:
    with pytest.raises(Problem, match="id-only"):
        await here.subscribe(content="full-resource")


@pytest.mark.slow
async def test_a_put_of_what_was_read_changes_nothing_and_numbers_go_on_after_any_other(here: Listened) -> None:
    await here.grant("surgery")
    id = await here.subscribe(header=["Authorization: Bearer s3cret-of-theirs"])
    ref, ctx = Ref("Subscription", id), await here.as_system()
    await here.goal()
    await here.tell()
    read = (await gate.read(ctx, ref)).body
    await gate.update(ctx, ref, read)
    await here.tell()
    assert [k for k, _ in here.hook.told()] == ["handshake", "event-notification"]
    body = {**strict.decode(read), "_criteria": {"extension": [{"url": topics.FILTER, "valueString": "Goal"}]}}
    await gate.update(ctx, ref, strict.dump(body))
    assert await here.status_of(id) == "requested"
    here.now += timedelta(seconds=11)
    await here.tell()
    await here.goal("swim")
    await here.tell()
    assert [n for n, _ in here.hook.events()] == [1, 2]
    assert {h.get("authorization") for _, h, _ in here.hook.came} == {"Bearer s3cret-of-theirs"}


@pytest.mark.slow
async def test_if_none_exist_looks_among_ones_own(here: Listened) -> None:
    id = await here.subscribe()
    body, url = strict.dump(subscription(f"http://{here.hook.place}/told")), f"url=http://{here.hook.place}/told"
    again = await gate.create(await here.as_system(), "Subscription", body, if_none_exist=url)
    assert (again.did, again.ref.id) == ("matched", id)
    other = await gate.create(await here.as_system("ward"), "Subscription", body, if_none_exist=url)
    assert other.did == "created" and other.ref.id != id
    with pytest.raises(Problem, match="at least one"):
        await gate.create(await here.as_system(), "Subscription", body, if_none_exist="")


@pytest.mark.slow
async def test_found_by_its_subscriber_and_by_its_parameters(here: Listened) -> None:
    id = await here.subscribe()
    ctx = await here.as_system()
    for asked, finds in ((("status", "active"), 1), (("status", "off"), 0), (("_id", id), 1), (("url", f"http://{here.hook.place}/told"), 1), (("type", "email"), 0)):
        page = await gate.search(ctx, "Subscription", [asked])
        assert (page.total, len(page.entries)) == (finds, finds), asked


async def test_an_operator_sees_who_asked_to_be_told_and_no_secret(
    here: Listened, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    await here.grant("surgery")
    secret = "s3cret-of-the-practice"
    endpoint = f"http://{here.hook.place}/told?key={secret}"
    made = await gate.create(
        await here.as_system(), "Subscription", strict.dump(subscription(endpoint, f"Goal?patient={here.names['amina']}", header=[f"Authorization: Bearer {secret}"]))
    )
    await here.tell()
    await here.goal()
    monkeypatch.setenv("GATEWAY_STORE", f"sqlite:{tmp_path / 'store.sqlite'}")
    monkeypatch.setenv("GATEWAY_DATA", str(tmp_path / "data"))
    assert await subscribing.every(True) == 0 and await subscribing.every(False) == 0
    raw, _, words = capsysbinary.readouterr().out.partition(b"\n")
    line = strict.decode(raw)
    assert line["id"] == made.ref.id and (line["client"], line["place"], line["status"]) == ("practice", here.hook.place, "active")
    assert (line["types"], line["patients"], line["queued"], line["number"]) == (["Goal"], [here.names["amina"]], 1, 0)
    assert made.ref.id.encode() in words and b"1 to tell" in words and secret.encode() not in raw + words and b"/told" not in raw + words


# -- many, at once, and by less than they were made for ---------------------------------------------------------------------------


class Counted:
    """A store that counts the looks at who is registered."""

    def __init__(self, store: Any) -> None:
        self.store, self.looks = store, 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.store, name)

    async def kept(self, kind: str, *args: Any) -> Any:
        self.looks += kind == "client"
        return await self.store.kept(kind, *args)


async def test_a_write_asks_once_for_whom_many_subscriptions_stand(here: Listened) -> None:
    await here.grant("surgery")
    ids = [await here.subscribe() for _ in range(2)]
    store = here.house.store = Counted(here.house.store)  # type: ignore[assignment]
    await here.goal("one")
    two, store.looks = store.looks, 0
    ids += [await here.subscribe() for _ in range(6)]
    store.looks = 0
    await here.goal("other")
    assert store.looks == two
    assert [await here.house.store.outbox(f"sub:{id}") for id in ids] == [{"queued": 1} if n >= 2 else {"queued": 1, "sent": 1} for n in range(8)]


async def test_what_was_ended_meanwhile_does_not_come_back_by_a_change(here: Listened) -> None:
    """The end comes between what the change has read and its commit."""
    id = await here.subscribe()
    ctx, store = await here.as_system(), here.house.store
    read = strict.decode((await gate.read(ctx, Ref("Subscription", id))).body)
    ended: list[int] = []

    class Late:
        def __getattr__(self, name: str) -> Any:
            return getattr(store, name)

        async def commit(self, *ops: Any) -> None:
            if not ended and any(getattr(op, "kind", "") == "subscription" for op in ops):
                ended.append(1)
                here.house.store = store
                await gate.remove(await here.as_system(), Ref("Subscription", id))
            await store.commit(*ops)

    here.house.store = Late()  # type: ignore[assignment]
    with pytest.raises(Problem):
        await gate.update(await here.as_system(), Ref("Subscription", id), strict.dump({**read, "reason": "another"}))
    here.house.store = store
    assert ended
    with pytest.raises(Problem):
        await gate.read(await here.as_system(), Ref("Subscription", id))


async def test_a_subscription_of_several_types_is_ended_by_any_process(here: Listened) -> None:
    """Each writes a set in its own order."""
    id = await here.subscribe()
    raw = strict.decode(await here.house.store.kept("subscription", id, here.now) or b"")
    for types in (["Goal", "Task", "Condition"], ["Task", "Condition", "Goal"], ["Condition", "Goal", "Task"]):
        await here.house.store.commit(Keep("subscription", id, strict.dump({**raw, "types": types})))
    await gate.remove(await here.as_system(), Ref("Subscription", id))
    assert strict.decode(await here.house.store.kept("subscription", id, here.now) or b"")["ended"] is True


async def test_events_are_told_again_by_the_narrower_of_the_scopes_of_then_and_now(here: Listened) -> None:
    await here.grant("surgery")
    id = await here.subscribe()
    goal = await here.goal()
    await here.tell()
    narrow = "system/Subscription.crs system/Task.rs"
    assert said(await gate.events(await here.as_system(), id, []))[1] == [(1, str(goal))]
    assert said(await gate.events(await here.as_system(scopes=narrow), id, []))[1] == []
