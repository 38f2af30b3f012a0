"""One connection: what a visitor may cost us before a request is there, and after its answer has been given.

uvicorn's own protocol keeps headers of any length, for as long as they take to arrive, and waits for ever for a reader who
does not read. Here each of the three has an end.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any, Final

import msgspec
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from ..domain.problem import Problem, outcome

SLACK: Final = 8 * 1024  # request line and framing
PATIENCE: Final = 10.0  # seconds between two looks at how much of an answer has been taken
SLOWEST: Final = 1_024  # bytes a second that a reader takes at least
SPOKEN: Final = ("1.0", "1.1")
ANSWERS: Final = {  # reason, and the Problem that it is
    400: (b"Bad Request", Problem("malformed", "This is no request of HTTP/1.1.")),
    408: (b"Request Timeout", Problem("too-slow", "The headers took too long to arrive.")),
    414: (b"URI Too Long", Problem("uri-too-long", "The address is longer than this server takes. Use POST _search for long searches.")),
    431: (b"Request Header Fields Too Large", Problem("headers-too-large", "The headers are longer than this server takes.")),
    503: (b"Service Unavailable", Problem("unavailable", "Too many connections at once. Try again in a moment.")),
}


@dataclass(frozen=True, slots=True)
class Bounds:
    """`head`: bytes of request line and headers; `head_seconds`: how long they may take; `connections`: open at once in this process."""

    head: int
    head_seconds: float = 10.0
    connections: int = 1_000


class Bounded(HttpToolsProtocol):
    """uvicorn's HTTP/1.1, within `bounds`. Make one of your own by `within`."""

    bounds: Bounds = Bounds(48 * 1024)

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._reading_head, self._head, self._waiting, self._unread = True, 0, None, None
        if len(self.connections) > self.bounds.connections:
            self._say(503)
            return
        self._wait()

    _reading_head: bool
    _head: int  # bytes received while the headers of the coming request are not whole
    _waiting: asyncio.TimerHandle | None
    _unread: asyncio.TimerHandle | None

    def connection_lost(self, exc: Exception | None) -> None:
        self._rest()
        if self._unread is not None:
            self._unread.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self.transport.is_closing():
            return
        if self._reading_head:
            self._head += len(data)
        super().data_received(data)
        if self.transport.is_closing():
            return
        if self._reading_head:  # else what came after the head is body, which the app measures
            if self._head > self.bounds.head:
                self._say(431 if self.headers else 414)  # no header yet: it is the address that has no end
            elif self._waiting is None:
                self._wait()

    def on_headers_complete(self) -> None:
        if self.parser.get_http_version() not in SPOKEN:
            raise ValueError("not a version of HTTP that is spoken here")  # the parser turns it into an error of its own: 400
        self._reading_head, self._head = False, 0
        self._rest()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._reading_head, self._head = True, 0
        super().on_message_complete()

    def pause_writing(self) -> None:
        """More is waiting to be read than we hold gladly: whoever answers waits, and holds a place among those in hand."""
        super().pause_writing()
        self._unread = self.loop.call_later(PATIENCE, self._taken, self.transport.get_write_buffer_size())

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._unread is not None:
            self._unread.cancel()

    def _taken(self, before: int) -> None:
        left = self.transport.get_write_buffer_size()
        if before - left < SLOWEST * PATIENCE:
            self.transport.abort()
        else:
            self._unread = self.loop.call_later(PATIENCE, self._taken, left)

    def timeout_keep_alive_handler(self) -> None:
        """Nothing came after an answer: close, at once when the answer itself has not been taken for `PATIENCE` seconds."""
        if self.transport.is_closing() or not self.transport.get_write_buffer_size():
            super().timeout_keep_alive_handler()
            return
        self.transport.close()
        self.loop.call_later(PATIENCE, self.transport.abort)

    def send_400_response(self, msg: str) -> None:
        self._say(400)

    def _wait(self) -> None:
        self._waiting = self.loop.call_later(self.bounds.head_seconds, self._too_slow)

    def _rest(self) -> None:
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None

    def _too_slow(self) -> None:
        self._waiting = None
        if not self.transport.is_closing() and (self.cycle is None or self.cycle.response_complete):
            self._say(408) if self._head else self.transport.close()

    def _say(self, status: int) -> None:
        """An answer without a request, an OperationOutcome as all refusals are."""
        reason, said = ANSWERS[status]
        text = msgspec.json.encode(outcome(said.issues))
        retry = b"retry-after: 1\r\n" if status == 503 else b""
        self.transport.write(
            b"HTTP/1.1 %d %b\r\ncontent-type: application/fhir+json; charset=utf-8\r\n%bcontent-length: %d\r\nconnection: close\r\n\r\n%b"
            % (status, reason, retry, len(text), text)
        )
        self.transport.close()
        self.loop.call_later(PATIENCE, self.transport.abort)


def within(bounds: Bounds) -> Any:
    """The protocol class for `uvicorn.Config(http=...)`."""
    return type("Bounded", (Bounded,), {"bounds": bounds})
