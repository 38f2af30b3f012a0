"""L35: a Subscription tells its subscriber what they may see, and nobody anything else: not by an event, a number, a pause, an address or a header."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from fhir_gateway import gate
from fhir_gateway.domain import strict, topics
from fhir_gateway.domain.problem import Problem
from fhir_gateway.domain.types import Ref
from fhir_gateway.gate import Context
from fhir_gateway.sync import notifying

from ..subscribing import Listened, hook, listened, subscription
from .conftest import Place, some
from .seeding import NOBODY

SECRET = "s3cret-of-the-surgery-7f1c"


@pytest_asyncio.fixture
async def here(tmp_path: Path) -> AsyncIterator[Listened]:
    async with listened(tmp_path) as place:
        yield place


async def outcome(ask: Callable[[], Awaitable[Any]], id: str) -> str:
    """What somebody learns, with the id that they asked for taken out."""
    try:
        return repr(await ask()).replace(id, "ID")
    except Problem as p:
        return f"{p.status} {p.kind} {p.headers} {[(i.code, i.where, i.text) for i in p.issues]}".replace(id, "ID")


@pytest.mark.parametrize("who", some("gp", "hospital", "patient"))
def test_L35_nobody_is_told_where_no_place_is_allowed(place: Place, who: str) -> None:
    """Neither people nor systems, by no channel and by no address: nothing is ever called."""
    for channel in ({"type": "rest-hook", "endpoint": "http://127.0.0.1:9/hook"}, {"type": "websocket"}, {"type": "email", "endpoint": "mailto:a@b.example"}):
        body = {"resourceType": "Subscription", "status": "requested", "reason": "x", "criteria": f"Goal?patient={place.g.patient}", "channel": channel}
        assert place.ask(who, "POST", "Subscription", body=body).status_code in (403, 422)
        bundle = {"resourceType": "Bundle", "type": "transaction", "entry": [{"resource": body, "request": {"method": "POST", "url": "Subscription"}}]}
        assert place.ask(who, "POST", "", body=bundle).status_code in (403, 405, 422)
    assert place.get(who, "Subscription?_total=accurate").json().get("total") == 0
    assert place.get(who, "Subscription/$status").json()["total"] == 0
    for path in ("/ws", "/websocket", "/fhir/ws", "/fhir/$subscriptions", f"/fhir/Subscription/{NOBODY}/$events", f"/fhir/Subscription/{NOBODY}/$status", "/fhir/Subscription/$get-ws-binding-token", "/fhir/SubscriptionTopic"):
        assert place.get(who, path).status_code == 404, path


async def test_L35_a_subscription_is_its_subscribers_and_absent_for_everybody_else(here: Listened) -> None:
    await here.grant("surgery", "hospital")
    id = await here.subscribe()
    await here.goal()
    await here.tell()
    body = strict.dump({**subscription(f"http://{here.hook.place}/told"), "id": id})
    for who in (await here.as_system("ward"), here.me, await here.gp(), here.operator):
        for verb in (
            lambda ctx, i: gate.read(ctx, Ref("Subscription", i)), lambda ctx, i: gate.vread(ctx, Ref("Subscription", i), 1),
            lambda ctx, i: gate.history(ctx, "Subscription", i), lambda ctx, i: gate.remove(ctx, Ref("Subscription", i)),
            lambda ctx, i: gate.update(ctx, Ref("Subscription", i), body.replace(id.encode(), i.encode())), lambda ctx, i: gate.status(ctx, i, []),
            lambda ctx, i: gate.events(ctx, i, []), lambda ctx, i: gate.patch(ctx, Ref("Subscription", i), dict),
        ):  # fmt: skip
            hidden, absent = await outcome(lambda v=verb, c=who: v(c, id), id), await outcome(lambda v=verb, c=who: v(c, NOBODY), NOBODY)  # type: ignore[misc]
            assert hidden == absent and hidden.startswith(("404", "405")), hidden
        assert (await gate.search(who, "Subscription", [("_id", id)])).entries == ()
        assert (await gate.status(who, None, [("id", id)]))["total"] == 0
        found = await gate.history(who, "Subscription", None)
        assert found.entries == ()
    assert await here.status_of(id) == "active"


@pytest.mark.slow
async def test_L35_a_client_of_the_same_name_for_another_organisation_has_nothing_of_it(here: Listened) -> None:
    from dataclasses import replace

    from fhir_gateway.auth import clients

    id = await here.subscribe()
    found = await clients.find(here.house.store, "practice", here.now)
    assert found is not None
    await clients.change(here.house.store, replace(found, organisation=here.names["hospital"]))
    with pytest.raises(Problem) as absent:
        await gate.read(await here.as_system(), Ref("Subscription", id))
    assert absent.value.kind == "not-found"


async def test_L35_the_headers_are_never_read_back_and_lie_nowhere_in_the_clear(here: Listened, tmp_path: Path) -> None:
    ctx = await here.as_system()
    made = await gate.create(ctx, "Subscription", strict.dump(subscription(f"http://{here.hook.place}/told", header=[f"Authorization: Bearer {SECRET}"])))
    ref = made.ref
    await here.tell()
    read = (await gate.read(ctx, ref)).body
    page = await gate.search(ctx, "Subscription", [])
    everything = [made.body, read, *(e.body for e in page.entries), repr(await gate.status(ctx, ref.id, [])), repr(await gate.events(ctx, ref.id, []))]
    assert not [x for x in everything if SECRET in str(x)] and "header" not in str(read)
    assert here.hook.came[0][1]["authorization"] == f"Bearer {SECRET}"
    files = [f for f in tmp_path.rglob("*") if f.is_file()]
    assert files and not [f for f in files if SECRET.encode() in f.read_bytes()]
    rows = await here.house.store.notes(count=500)
    assert not [n for n in rows if SECRET in repr(n)]


@pytest.mark.slow
async def test_L35_another_endpoint_is_not_sent_the_headers_of_the_one_before(here: Listened) -> None:
    """A stolen token does not bring the secret to another place, even an allowed one."""
    with hook() as other:
        here.house.subscribers |= {other.place}
        id = await here.subscribe(header=[f"X-Secret: {SECRET}"])
        for endpoint in (f"http://{other.place}/told", f"http://{here.hook.place}/elsewhere"):
            body = {**subscription(endpoint), "id": id}
            await gate.update(await here.as_system(), Ref("Subscription", id), strict.dump(body))
            here.now += timedelta(seconds=11)
            await here.tell()
        assert [path for path, h, _ in [*other.came, *here.hook.came] if "x-secret" in h] == ["/told"] and len(other.came) == 1


ELSEWHERE = [
    "http://169.254.169.254/latest/meta-data/", "https://169.254.169.254/", "http://localhost/", "https://localhost/", "http://127.0.0.1:22/", "http://[::1]:{port}/",
    "http://2130706433:{port}/", "http://0x7f000001:{port}/", "http://127.1:{port}/", "http://0:{port}/", "http://127.0.0.1.nip.io:{port}/", "http://127.0.0.1:{port}@evil.example/",
    "http://evil.example#@127.0.0.1:{port}/", "http://127.0.0.1:{port}\\@evil.example/", "https://evil.example\\.hooks.example.nhs.uk/", "https://hooks.example.nhs.uk.evil.example/",
    "https://evil.example/?hooks.example.nhs.uk", "https://hooks.example.nhs.uk:8443/", "http://hooks.example.nhs.uk/", "https://user:pw@hooks.example.nhs.uk/", "https://hooks.example.nhs.uk./",
    "https://hooks.example.nhs.uk\t.evil.example/", "https://ｈooks.example.nhs.uk/", "https://hooks.example.nhs.uk/\r\nX: y", "ftp://hooks.example.nhs.uk/", "file:///etc/passwd",
    "gopher://127.0.0.1:{port}/", "//hooks.example.nhs.uk/", "https:hooks.example.nhs.uk", "https://", "", "https://hooks.example.nhs.uk/" + "x" * 2000,
]  # fmt: skip


async def test_L35_an_endpoint_is_one_of_the_operators_places_however_it_is_spelled(here: Listened) -> None:
    here.house.subscribers |= {"hooks.example.nhs.uk"}
    ctx, port = await here.as_system(), here.hook.place.rpartition(":")[2]
    for text in ELSEWHERE:
        body = subscription(text.replace("{port}", port))
        if not text:
            del body["channel"]["endpoint"]
        with pytest.raises(Problem) as wrong:
            await gate.create(ctx, "Subscription", strict.dump(body))
        assert wrong.value.status in (400, 422), text
    for text in ("https://HOOKS.example.nhs.uk/a?b=c", "https://hooks.example.nhs.uk:443"):
        assert topics.address(text, here.house.subscribers)[0].startswith("https://hooks.example.nhs.uk:443/")
    assert here.hook.came == []


@pytest.mark.slow
async def test_L35_a_place_that_is_one_clients_is_no_other_clients(here: Listened) -> None:
    """Another registered system cannot have us call it, with a path and headers of its choice; nor its own one any more that is taken away."""
    here.house.subscribers = frozenset({f"practice={here.hook.place}"})
    await here.grant("surgery", "hospital")
    body = strict.dump(subscription(f"http://{here.hook.place}/admin/delete?all=1", header=["Authorization: Bearer x"]))
    with pytest.raises(Problem) as wrong:
        await gate.create(await here.as_system("ward"), "Subscription", body)
    assert wrong.value.status == 422 and wrong.value.issues[0].where == "Subscription.channel.endpoint"
    id = await here.subscribe()
    assert await here.status_of(id) == "active" and len(here.hook.came) == 1
    here.house.subscribers = frozenset({f"ward={here.hook.place}"})
    await here.goal()
    await here.tell()
    assert await here.status_of(id) == "off" and len(here.hook.came) == 1


@pytest.mark.slow
@pytest.mark.parametrize("header", ["Host: evil.example", "Content-Length: 9", "transfer-encoding: chunked", "X: a\r\nY: b", "no colon", "Proxy-Authorization: x", " X: y", "X\x00: y", "Ä: y"])
async def test_L35_no_header_takes_the_request_over(here: Listened, header: str) -> None:
    with pytest.raises(Problem) as wrong:
        await gate.create(await here.as_system(), "Subscription", strict.dump(subscription(f"http://{here.hook.place}/told", header=[header])))
    assert wrong.value.status in (400, 422)


@pytest.mark.slow
async def test_L35_a_redirect_is_not_followed(here: Listened) -> None:
    with hook() as inside:
        here.hook.status, here.hook.more = 307, {"Location": f"http://{inside.place}/latest/meta-data"}
        id = await here.subscribe()
        assert inside.came == [] and await here.status_of(id) == "error"


@pytest.mark.slow
async def test_L35_what_is_hidden_moves_neither_number_nor_heartbeat_nor_request(here: Listened, tmp_path_factory: pytest.TempPathFactory) -> None:
    """The same day twice, once with a hundred changes that the subscriber may not see: they are called the same number of times, at the same moments."""
    seen = []
    for changes in (0, 20):
        async with listened(tmp_path_factory.mktemp("day")) as place:
            await place.subscribe(extension=[{"url": topics.HEARTBEAT, "valueUnsignedInt": 60}])
            calls = []
            for minute in range(5):
                for n in range(changes):
                    await place.goal(f"hidden {minute} {n}")
                place.now += timedelta(seconds=30)
                await place.tell()
                calls.append((minute, place.hook.told()))
            told = await gate.status(await place.as_system(), None, [])
            (one,) = place.house._subscriptions[1].values()  # type: ignore[index]
            seen.append((calls, [p for p in told["entry"][0]["resource"]["parameter"] if p["name"] != "subscription"], await place.house.store.outbox(one.queue)))
    assert seen[0] == seen[1] and seen[1][2] == {}


@pytest.mark.slow
async def test_L35_the_person_sees_that_a_system_was_told(here: Listened) -> None:
    await here.grant("surgery")
    await here.subscribe()
    goal = await here.goal()
    await here.tell()
    told = [n for n in await here.house.store.notes(patient=here.names["amina"]) if n.what == "notify"]
    assert [(n.allowed, n.refs, n.client, n.organisation) for n in told] == [(True, (str(goal),), "practice", here.names["surgery"])]


@pytest.mark.slow
async def test_L35_no_client_floods_an_endpoint_or_the_house(here: Listened) -> None:
    """Fifty Subscriptions, and a handshake every ten seconds for each, however often it is asked for."""
    id, ctx = await here.subscribe(), await here.as_system()
    body = strict.dump({**subscription(f"http://{here.hook.place}/told"), "id": id})
    for _ in range(5):
        await gate.update(ctx, Ref("Subscription", id), body)
        await here.tell()
    assert len(here.hook.came) == 1
    for n in range(49):
        await gate.create(ctx, "Subscription", strict.dump(subscription(f"http://{here.hook.place}/{n}")))
    with pytest.raises(Problem) as wrong:
        await gate.create(ctx, "Subscription", strict.dump(subscription(f"http://{here.hook.place}/x")))
    assert wrong.value.status == 429
    big = {**subscription(f"http://{here.hook.place}/x"), "reason": "x" * 40_000}
    with pytest.raises(Problem) as wrong:
        await gate.create(await here.as_system("ward"), "Subscription", strict.dump(big))
    assert wrong.value.status == 413


@pytest.mark.slow
@pytest.mark.parametrize("working", [True, False])
async def test_L35_no_client_floods_an_endpoint_by_making_and_ending(here: Listened, working: bool) -> None:
    """Fifty in ten minutes, with a worker or without one: what is kept of them has a bound, too."""
    ctx = await here.as_system()
    made, refused = 0, 0
    for _ in range(70):
        try:
            one = await gate.create(ctx, "Subscription", strict.dump(subscription(f"http://{here.hook.place}/told")))
        except Problem as wrong:
            refused += 1
            assert wrong.status == 429 and 0 < int(wrong.headers["Retry-After"]) <= 601
            continue
        made += 1
        if working:
            await here.tell()
        await gate.remove(ctx, one.ref)
        here.now += timedelta(seconds=1)
    assert (made, refused) == (50, 20) and len(here.hook.came) == (50 if working else 0) and len(await here.house.store.kept_all("subscription", here.now)) == 50
    here.now += timedelta(minutes=11)
    await here.tell()
    assert await here.house.store.kept_all("subscription", here.now) == {} and len(here.hook.came) == (50 if working else 0)
    await here.subscribe()


@pytest.mark.slow
async def test_L35_a_slow_endpoint_holds_up_nobody_else(here: Listened) -> None:
    await here.grant("surgery", "hospital")
    with hook() as slow:
        here.house.subscribers |= {slow.place}
        await here.subscribe()
        ctx = await here.as_system("ward")
        for n in range(20):
            await gate.create(ctx, "Subscription", strict.dump(subscription(f"http://{slow.place}/{n}")))
        await here.tell()
        slow.answers.clear()
        stop = asyncio.Event()
        running = asyncio.create_task(notifying.run(here.house, "w", stop))
        await here.goal()
        began = time.monotonic()
        for _ in range(200):
            if here.hook.events():
                break
            await asyncio.sleep(0.05)
        took = time.monotonic() - began
        stop.set()
        slow.answers.set()
        await running
        assert here.hook.events() and took < 5


@pytest.mark.slow
async def test_L35_a_token_without_the_scope_to_read_is_told_nothing(here: Listened) -> None:
    await here.grant("surgery")
    await here.subscribe(scopes="system/Subscription.cruds")
    await here.goal()
    await here.tell()
    assert [k for k, _ in here.hook.told()] == ["handshake"]


@pytest.mark.slow
async def test_L35_people_and_strangers_do_not_subscribe(here: Listened) -> None:
    body = strict.dump(subscription(f"http://{here.hook.place}/told"))
    gp: Context = await here.gp()
    for who in (here.me, gp, here.operator, here.hospital):
        with pytest.raises(Problem) as wrong:
            await gate.create(who, "Subscription", body)
        assert wrong.value.kind == "forbidden"
    assert here.hook.came == []
