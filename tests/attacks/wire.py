"""Requests to the byte, on a socket of their own: nothing is tidied up on the way. And the recorder that must not be called."""

from __future__ import annotations

import http.client
import json
import socket
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

LINGER = 0.25  # seconds to see whether something follows an answer on a raw socket


@dataclass
class Answer:
    """What came back. `status` 0: closed without an answer; -1: nothing in time."""

    status: int
    headers: list[tuple[str, str]] = field(default_factory=list)
    body: bytes = b""
    ms: float = 0.0
    answers: int = 1  # how many came on this socket

    @property
    def text(self) -> str:
        return self.body.decode("utf-8", "replace")

    @property
    def whole(self) -> str:
        """Headers and body, to look for words in."""
        return "\n".join(f"{k}: {v}" for k, v in self.headers) + "\n\n" + self.text

    def header(self, name: str) -> str | None:
        found = [v for k, v in self.headers if k.lower() == name.lower()]
        return ", ".join(found) if found else None

    @property
    def json(self) -> Any:
        """The body as JSON, or None."""
        try:
            return json.loads(self.body)
        except ValueError:
            return None


def target(path: str) -> str:
    """The path as it is, with only what no request line can carry escaped: controls, spaces and what is not ASCII."""
    return "".join(c if 32 < ord(c) < 127 else "".join(f"%{b:02X}" for b in c.encode("utf-8", "surrogatepass")) for c in path)


def request(method: str, path: str, host: str, headers: Sequence[tuple[str, str]], body: bytes | None) -> bytes:
    """The bytes of a request that ends its connection."""
    named = {k.lower() for k, _ in headers}
    lines = [f"{method} {target(path)} HTTP/1.1"]
    if "host" not in named:
        lines.append(f"Host: {host}")
    lines += [f"{k}: {v}" for k, v in headers]
    if body is not None and not named & {"content-length", "transfer-encoding"}:
        lines.append(f"Content-Length: {len(body)}")
    if "connection" not in named:
        lines.append("Connection: close")
    return "\r\n".join(lines).encode("utf-8", "surrogatepass") + b"\r\n\r\n" + (body or b"")


def send(
    address: tuple[str, int], raw: bytes, *, method: str = "GET", patience: float = 3.0, more: bool = False,
    start: Callable[[], Any] | None = None, drip: tuple[int, float] | None = None,
) -> Answer:  # fmt: skip
    """One request and its answer. `patience`: seconds until it is given up. `more`: look for further answers on the same socket.

    `start` is called when connected and before anything is sent. `drip`: so many bytes at a time, so many seconds apart.
    """
    with socket.create_connection(address, timeout=patience) as s:
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if start is not None:
            start()
        began = time.perf_counter()
        s.settimeout(patience)
        writer = threading.Thread(target=_write, args=(s, raw, drip, began + patience), daemon=True)
        writer.start()  # a server may answer and close before it has read everything
        return _read(s, method, began, more)


def _write(s: socket.socket, raw: bytes, drip: tuple[int, float] | None, until: float) -> None:
    try:
        if drip is None:
            s.sendall(raw)
            return
        size, pause = drip
        for i in range(0, len(raw), size):
            if time.perf_counter() > until:
                return
            s.sendall(raw[i : i + size])
            time.sleep(pause)
    except OSError:
        pass  # closed by the server: what it answered is read


def _read(s: socket.socket, method: str, began: float, more: bool) -> Answer:
    """The answer on this socket. One that came before the server closed it counts, also when not all was sent."""

    def ms() -> float:
        return (time.perf_counter() - began) * 1000

    reply = http.client.HTTPResponse(s, method=method)
    try:
        reply.begin()
        body = reply.read()
    except TimeoutError:
        return Answer(-1, ms=ms(), answers=0)
    except http.client.IncompleteRead as cut:
        body = cut.partial
    except (OSError, http.client.HTTPException, ValueError):
        return Answer(0, ms=ms(), answers=0)
    took, answers = ms(), 1
    if more:
        answers += _further(s, reply)
    return Answer(reply.status, reply.getheaders(), body, took, answers)


def _further(s: socket.socket, reply: http.client.HTTPResponse) -> int:
    s.settimeout(LINGER)
    rest = b""
    try:
        while piece := s.recv(65536):
            rest += piece
    except OSError:
        pass
    return rest.count(b"HTTP/1.")


class Sink:
    """A recorder on loopback that should see nothing. `/redirect-to-loopback` leads back to it."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        recorder = self

        class Handler(BaseHTTPRequestHandler):
            def do(self) -> None:
                recorder.seen.append(f"{self.command} {self.path}")
                if self.path.startswith("/redirect-to-loopback"):
                    self.send_response(302)
                    self.send_header("Location", f"{recorder.url}/secret")
                else:
                    self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            do_GET = do_POST = do_PUT = do_HEAD = do_DELETE = do_PATCH = do_OPTIONS = do

            def log_message(self, format: str, *args: Any) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def get_request(self) -> Any:
                found = super().get_request()
                recorder.connections += 1
                return found

            def handle_error(self, *args: Any) -> None:
                pass

        self.connections = 0
        self.server = Server(("127.0.0.1", 0), Handler)
        self.port = int(self.server.server_address[1])
        self.url = f"http://127.0.0.1:{self.port}"
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True).start()

    @property
    def requests(self) -> int:
        """How many came, also those who connected and said nothing."""
        return max(self.connections, len(self.seen))

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
