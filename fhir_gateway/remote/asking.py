"""May a request that carries a record still leave? Asked when all is ready, and once more at its first byte where that is later."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final

Asking = Callable[[], Awaitable[None]]  # may it still leave? Raises where it may not
Leaving = Callable[[str, dict[str, Any]], Awaitable[None]]  # httpcore's `trace`: heard before and after each step of a request
LATE_SECONDS: Final = 0.05  # after which what was asked is asked again: to find a name, connect and shake hands may take seconds


async def asked(asking: Asking) -> Leaving:
    """Ask now; what is to be heard when it leaves, on a connection that is made by then."""
    await asking()
    at = asyncio.get_running_loop().time()

    async def leaving(step: str, _: dict[str, Any]) -> None:
        if step.endswith("send_request_headers.started") and asyncio.get_running_loop().time() > at + LATE_SECONDS:
            await asking()

    return leaving
