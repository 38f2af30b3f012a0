"""Who is let in when there is more to do than can be done."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from contextlib import ExitStack, closing
from typing import Any

import pytest
import uvicorn
import uvloop

from fhir_gateway.web import connections


async def nobody(scope: Any, receive: Any, send: Any) -> None:
    """An app that is never asked."""


@pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_connections_that_come_together_are_let_in_together(loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
    """A loop that takes one in each turn (libuv does) would keep the last of a hundred waiting for a hundred turns, however long they are."""

    async def story() -> int:
        with socket.socket() as listener, ExitStack() as visitors:
            listener.bind(("127.0.0.1", 0))
            listener.setblocking(False)
            server = uvicorn.Server(
                uvicorn.Config(nobody, lifespan="off", log_config=None, http=connections.within(connections.Bounds(4096), listener))
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
