"""What every way of telling has in common: a message, and how it fails. Nothing that fails repeats an address or a name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from ..domain.primitives import whole

SECONDS = 20.0  # the longest one attempt may take, whatever the other side does


@dataclass(frozen=True, slots=True)
class Message:
    """One notice to one recipient. `id` is the same whenever the same notice is sent again."""

    id: str
    to: str  # the address; the recipient's reference for a webhook
    subject: str
    text: str
    language: str
    at: datetime


class Failed(Exception):
    """It was not taken, or nobody knows. `trouble` is one of a few fixed words; `final`: trying again would not help.

    `wait` is what the other side asked for, in seconds.
    """

    def __init__(self, trouble: str, *, final: bool = False, wait: float | None = None) -> None:
        super().__init__(trouble)
        self.trouble, self.final, self.wait = trouble, final, wait


class Channel(Protocol):
    async def send(self, message: Message) -> None:
        """Raises Failed."""
        ...

    async def close(self) -> None: ...


@dataclass(frozen=True)
class Channels:
    """What this deployment can tell by, by name of the channel (`email`, `text`, `app`), and what each message says with it."""

    by: Mapping[str, Channel] = field(default_factory=dict)
    sign_in: str = ""  # the address of the sign-in page
    gather_seconds: float = 60.0  # events so near to each other are one message
    name: Callable[[str], str] = lambda text: text  # an id that says nothing of what it is made from

    async def close(self) -> None:
        for channel in self.by.values():
            await channel.close()


def status_failed(status: int, retry_after: str = "") -> Failed | None:
    """What an HTTP answer means: None when it was taken."""
    if 200 <= status < 300:
        return None
    wait = whole(retry_after, digits=9)
    if status in (408, 409, 425, 429) or status >= 500:
        return Failed(f"answered {status}", wait=None if wait is None else float(wait))
    return Failed(f"answered {status}", final=True)
