"""Who is let in when there is more to do than can be done: at the door and in the line behind it, on a clock of our own."""

from __future__ import annotations

import asyncio
import socket
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack, closing
from typing import Any

import pytest
import uvicorn
import uvloop

from fhir_gateway.web import connections
from fhir_gateway.web.admission import Admission, Limits

Answer = tuple[int, dict[bytes, bytes]]


class Work:
    """An app whose work takes `seconds` of a clock that nothing else moves, or until `gate` opens."""

    def __init__(self, seconds: float = 0.0, gate: asyncio.Event | None = None, **limits: Any) -> None:
        self.now, self.seconds, self.gate, self.begun = 0.0, seconds, gate, list[float]()
        self.admission = Admission(Limits(**limits), lambda: self.now)
        self.front = self.admission.front(self.app)

    async def app(self, scope: Any, receive: Any, send: Any) -> None:
        self.begun.append(self.now)
        self.now += self.seconds
        if self.gate is not None:
            await self.gate.wait()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async def ask(self, token: str = "") -> Answer:
        said: list[Any] = []

        async def send(message: Any) -> None:
            said.append(message)

        async def receive() -> Any:
            return {"type": "http.request", "body": b"", "more_body": False}

        headers = [(b"authorization", token.encode())] if token else []
        await self.front({"type": "http", "path": "/fhir/Patient", "method": "GET", "headers": headers}, receive, send)
        return said[0]["status"], dict(said[0]["headers"])


async def test_beyond_what_may_be_in_hand_each_is_refused_at_once_and_those_in_work_are_answered() -> None:
    work = Work(gate=asyncio.Event(), concurrency=4)
    inside = [asyncio.create_task(work.ask()) for _ in range(4)]
    await asyncio.sleep(0)
    for _ in range(100):
        status, headers = await work.ask()
        assert status == 503 and headers[b"retry-after"] == b"1"
    assert not any(t.done() for t in inside) and work.admission.in_hand == 4 and work.admission.turned_away == 100
    assert work.gate is not None
    work.gate.set()
    assert [status for status, _ in await asyncio.gather(*inside)] == [200] * 4
    assert work.admission.in_hand == 0 and (await work.ask())[0] == 200


@pytest.mark.parametrize("seconds", [0.001, 0.01, 0.05, 0.3])
async def test_nobody_stands_in_line_longer_than_the_bound_and_what_the_last_few_cost(seconds: float) -> None:
    """Whatever a request costs: who is answered began in good time, the others are told when to come again, and somebody is always served."""
    work = Work(seconds, concurrency=500, wait_seconds=0.25)
    answers = Counter[int]()
    for status, headers in await asyncio.gather(*(work.ask() for _ in range(500))):
        answers[status] += 1
        assert status == 200 or headers[b"retry-after"] == b"1"
    assert set(answers) <= {200, 503} and answers[200] == len(work.begun)
    assert answers[200] >= min(500, 0.25 / seconds), "nobody is sent away in vain"
    assert max(work.begun) <= 0.25 + 50 * seconds, "32 that began in the turn before, and the last few"
    assert work.admission.in_hand == len(work.admission.line) == 0


async def test_a_few_in_line_are_served_however_long_something_held_them_up() -> None:
    work = Work(10.0, concurrency=64, wait_seconds=0.25)
    assert [status for status, _ in await asyncio.gather(*(work.ask() for _ in range(16)))] == [200] * 16


@pytest.mark.parametrize(("seconds", "most"), [(0.0, 32), (0.03, 1)])
async def test_few_begin_in_one_turn_of_the_loop_and_fewer_when_turns_are_long(seconds: float, most: int) -> None:
    work = Work(seconds, concurrency=500, wait_seconds=1_000)
    asked = asyncio.gather(*(work.ask() for _ in range(500)))
    in_a_turn, before = list[int](), 0
    while not asked.done():
        await asyncio.sleep(0)
        in_a_turn.append(len(work.begun) - before)
        before = len(work.begun)
    assert sum(in_a_turn) == 500 and max(in_a_turn) <= 32
    assert max(in_a_turn[-50:]) <= most


async def test_who_has_half_of_the_places_is_told_so_at_the_door_and_others_find_the_rest() -> None:
    work = Work(gate=asyncio.Event(), concurrency=8)
    inside = [asyncio.create_task(work.ask("Bearer one")) for _ in range(4)]
    await asyncio.sleep(0)
    status, headers = await work.ask("Bearer one")
    assert status == 429 and headers[b"retry-after"] == b"1" and len(work.begun) == 4
    inside += [asyncio.create_task(work.ask(token)) for token in ("Bearer two", "", "", "")]
    await asyncio.sleep(0)
    assert (await work.ask("Bearer two"))[0] == 503, "now it is full"
    assert work.gate is not None
    work.gate.set()
    assert [status for status, _ in await asyncio.gather(*inside)] == [200] * 8
    assert (await work.ask("Bearer one"))[0] == 200


async def test_who_leaves_the_line_holds_no_place() -> None:
    work = Work(0.03, concurrency=64, wait_seconds=1_000)
    asked = [asyncio.create_task(work.ask()) for _ in range(64)]
    await asyncio.sleep(0)
    assert len(work.admission.line) > 40
    for t in asked[30:]:
        t.cancel()
    said = await asyncio.gather(*asked, return_exceptions=True)
    assert [a[0] for a in said[:30] if not isinstance(a, BaseException)] == [200] * 30 and len(work.begun) == 30
    assert work.admission.in_hand == 0 and (await work.ask())[0] == 200


@pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_connections_that_come_together_are_let_in_together(loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
    """A loop that takes one in each turn (libuv does) would keep the last of a hundred waiting for a hundred turns, however long they are."""

    async def story() -> int:
        with socket.socket() as listener, ExitStack() as visitors:
            listener.bind(("127.0.0.1", 0))
            listener.setblocking(False)
            server = uvicorn.Server(
                uvicorn.Config(Work().front, lifespan="off", log_config=None, http=connections.within(connections.Bounds(4096), listener))
            )
            server.config.load()
            server.lifespan = server.config.lifespan_class(server.config)
            await server.startup([listener])
            for _ in range(100):
                visitors.enter_context(closing(socket.create_connection(listener.getsockname())))
            turns = 0
            while len(server.server_state.connections) < 100:
                await asyncio.sleep(0)
                turns += 1
            await server.shutdown([listener])
            return turns

    with asyncio.Runner(loop_factory=loop) as runner:
        assert runner.run(asyncio.wait_for(story(), 20)) < 20
