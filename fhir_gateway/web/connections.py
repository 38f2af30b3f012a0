"""One connection: what a visitor may cost us before a request is there, and after its answer has been given.

uvicorn's own protocol keeps headers of any length, for as long as they take to arrive, and waits for ever for a reader who
does not read. Here each of the three has an end.
"""

from __future__ import annotations

import asyncio
import socket
from collections import Counter
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from typing import Any, ClassVar, Final

import msgspec
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from ..domain.problem import Problem, outcome
from .admission import neighbourhood

SLACK: Final = 8 * 1024  # request line and framing
PATIENCE: Final = 10.0  # seconds between two looks at how much of an answer has been taken
SLOWEST: Final = 1_024  # bytes a second that a reader takes at least
AT_ONCE: Final = 256  # connections taken from the kernel in one turn of the loop
LINE: Final = 16  # requests that may wait on one connection for the answers before them
ONCE: Final = (b"host", b"authorization", b"content-type")  # two of them would be understood in two ways
SPOKEN: Final = ("1.0", "1.1")
ANSWERS: Final = {  # reason, and the Problem that it is
    400: (b"Bad Request", Problem("malformed", "This is no request of HTTP/1.1.")),
    408: (b"Request Timeout", Problem("too-slow", "The headers took too long to arrive.")),
    414: (b"URI Too Long", Problem("uri-too-long", "The address is longer than this server takes. Use POST _search for long searches.")),
    431: (b"Request Header Fields Too Large", Problem("headers-too-large", "The headers are longer than this server takes.")),
    503: (b"Service Unavailable", Problem("unavailable", "Too many connections at once. Try again in a moment.")),
}


SAFE: Final = b"x-content-type-options: nosniff\r\ncontent-security-policy: default-src 'none'; frame-ancestors 'none'\r\nreferrer-policy: no-referrer\r\n"
FRAMED: Final = 17  # bytes of framing that each byte of a body may have in the long run, itself counted: chunks of one byte have six


@dataclass(frozen=True, slots=True)
class Bounds:
    """`head`: bytes of request line and headers; `head_seconds`: how long they may take; `connections`: open at once in this process,
    half of them from one address, unless it is one of `proxies` (addresses and networks)."""

    head: int
    head_seconds: float = 10.0
    connections: int = 1_000
    proxies: frozenset[str] = frozenset()

    def too_many(self, there: int, from_here: int, address: str) -> bool:
        """Whether this many connections, of which so many are from this address, are more than there may be."""
        return there > self.connections or (from_here > max(self.connections // 2, 1) and not self._is_proxy(address))

    def _is_proxy(self, address: str) -> bool:
        try:
            here = ip_address(address)
        except ValueError:
            return False
        return any(here in ip_network(p) for p in self.proxies)


class Bounded(HttpToolsProtocol):
    """uvicorn's HTTP/1.1, within `bounds`. Make one of your own by `within`."""

    bounds: Bounds = Bounds(48 * 1024)
    of: ClassVar[Counter[str]] = Counter()  # connections open by address
    others: ClassVar[Others | None] = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._reading_head, self._head, self._waiting, self._unread = True, 0, None, None
        self._whole, self._beside, address = True, 0, self.client[0] if self.client else ""
        self._address = neighbourhood(address)
        self.of[self._address] += 1
        if self.others is not None:
            self.others.bring(self)
        if self.bounds.too_many(len(self.connections), self.of[self._address], address):
            self._say(503)
            return
        self._wait()

    _reading_head: bool
    _head: int  # bytes received while the headers of the coming request are not whole
    _waiting: asyncio.TimerHandle | None
    _unread: asyncio.TimerHandle | None
    _whole: bool  # the request has come to its end
    _beside: int  # bytes since the last of a body that were none of it: framing, trailers
    _address: str

    def connection_lost(self, exc: Exception | None) -> None:
        self._rest()
        self.of[self._address] -= 1
        if self.of[self._address] <= 0:
            del self.of[self._address]
        if self._unread is not None:
            self._unread.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self.transport.is_closing():
            return
        if self._reading_head:
            self._head += len(data)
        else:
            self._beside += len(data)
        super().data_received(data)
        if self.transport.is_closing():
            return
        if self._reading_head:  # else what came after the head is body, which the app measures
            if self._head > self.bounds.head:
                self._say(431 if self.headers else 414)  # no header yet: it is the address that has no end
            elif self._waiting is None:
                self._wait()
        elif self._beside > self.bounds.head:
            self.transport.abort()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Trailers are dropped: they come after whoever looks at headers has looked (RFC 9110 6.5.1)."""
        if self._reading_head:
            super().on_header(name, value)

    def on_body(self, body: bytes) -> None:
        self._beside = max(0, self._beside - FRAMED * len(body))  # what is left over is framing that carries next to nothing
        super().on_body(body)

    def on_headers_complete(self) -> None:
        if self.parser.get_http_version() not in SPOKEN:
            raise ValueError("not a version of HTTP that is spoken here")  # the parser turns it into an error of its own: 400
        names = [name for name, _ in self.headers]
        if any(names.count(name) > 1 for name in ONCE) or (b"host" not in names and self.parser.get_http_version() == "1.1"):
            raise ValueError("one Host, and each of these once")
        if len(self.pipeline) >= LINE:
            self.transport.abort()
            raise ValueError("more requests in a row than may wait")
        self._reading_head, self._head, self._whole, self._beside = False, 0, False, 0
        self._rest()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._reading_head, self._head, self._whole = True, 0, True
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """An answer before the request was whole: what is still coming has as long as headers have, then the connection ends."""
        super().on_response_complete()
        if not self._whole and not self.transport.is_closing():
            self.loop.call_later(self.bounds.head_seconds, self._still_coming, self.cycle)

    def _still_coming(self, cycle: Any) -> None:
        if self.cycle is cycle and not self._whole:
            self.transport.abort()

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
        if not self.transport.is_closing():
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
        more = SAFE + (b"retry-after: 1\r\n" if status == 503 else b"")
        self.transport.write(
            b"HTTP/1.1 %d %b\r\ncontent-type: application/fhir+json; charset=utf-8\r\n%bcontent-length: %d\r\nconnection: close\r\n\r\n%b"
            % (status, reason, more, len(text), text)
        )
        self.transport.close()
        self.loop.call_later(PATIENCE, self.transport.abort)


class Others:
    """Those who knock together are let in together.

    libuv, and so uvloop, takes one connection from the kernel's queue in each turn of the loop (https://github.com/libuv/libuv/pull/3696).
    When there is much to do turns are long, and the last of some hundred would wait for seconds before anybody could turn them away.
    """

    def __init__(self, listener: socket.socket) -> None:
        self._listener = listener
        self._entering: set[asyncio.Task[Any]] = set()

    def bring(self, first: Bounded) -> None:
        """Whoever stands in the kernel's queue behind `first`, each with a protocol of the same kind."""
        if self._entering:  # the one who brought them has looked already
            return

        def another() -> Bounded:
            return type(first)(config=first.config, server_state=first.server_state, app_state=first.app_state, _loop=first.loop)

        for _ in range(AT_ONCE):
            try:
                visitor, _ = self._listener.accept()
            except OSError:  # nobody there; or what is wrong is told by the loop's own accept
                return
            visitor.setblocking(False)
            entering = first.loop.create_task(first.loop.connect_accepted_socket(another, visitor))
            self._entering.add(entering)
            entering.add_done_callback(self._entering.discard)


def within(bounds: Bounds, listener: socket.socket | None = None) -> Any:
    """The protocol class for `uvicorn.Config(http=...)`. `listener`: the socket it is to serve, not blocking."""
    return type("Bounded", (Bounded,), {"bounds": bounds, "of": Counter(), "others": None if listener is None else Others(listener)})
