"""A bad line between two machines: a TCP proxy whose weather changes while it runs.

    with proxied(there.url) as line:
        server = RemoteServer(line.url, clock)
        line.weather = Weather(latency=0.2)
        line.down()         # refuses, until line.up()
        line.drop()         # resets whatever is open now
"""

from __future__ import annotations

import select
import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit


@dataclass(frozen=True)
class Weather:
    """What happens on the way. Seconds and bytes; nothing by itself."""

    latency: float = 0.0  # before each piece, both ways
    bandwidth: int = 0  # bytes in a second, both ways
    slow_close: float = 0.0  # the end of the line is passed on so much later
    silent: bool = False  # what comes is swallowed, and nothing is said: a timeout
    reset_after: int | None = None  # reset when so many bytes of the answer have passed
    limit: int | None = None  # closed, politely, when so many bytes of the answer have passed
    slices: int = 0  # pieces of so many bytes of the answer


class Line:
    """From a port of this machine to another."""

    def __init__(self, url: str) -> None:
        at = urlsplit(url)
        assert at.hostname is not None and at.port is not None
        self.to, self.weather, self.came = (at.hostname, at.port), Weather(), 0
        self._open: set[socket.socket] = set()
        self._listener = self._listen(0)
        self.port = int(self._listener.getsockname()[1])
        self.url = f"http://127.0.0.1:{self.port}{at.path}"
        self._ended = False
        threading.Thread(target=self._accept, daemon=True).start()

    def down(self) -> None:
        """Nobody listens, and what was open is reset."""
        try:
            self._listener.shutdown(socket.SHUT_RDWR)  # at once: another thread may be waiting for it
        except OSError:
            pass
        self._listener.close()
        self.drop()

    def up(self) -> None:
        self._listener = self._listen(self.port)

    def drop(self) -> None:
        for one in list(self._open):
            _reset(one)

    def close(self) -> None:
        self._ended = True
        self.down()

    def _listen(self, port: int) -> socket.socket:
        one = socket.socket()
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        one.bind(("127.0.0.1", port))
        one.listen(64)
        return one

    def _accept(self) -> None:
        while not self._ended:
            listener = self._listener
            try:
                if listener.fileno() < 0 or not select.select([listener], [], [], 0.02)[0]:
                    time.sleep(0.005)
                    continue
                here, _ = listener.accept()
            except (OSError, ValueError):  # it went down meanwhile
                continue
            self.came += 1
            threading.Thread(target=self._join, args=(here,), daemon=True).start()

    def _join(self, here: socket.socket) -> None:
        self._open.add(here)
        try:
            there = socket.create_connection(self.to, 5)
        except OSError:
            return _reset(here)
        there.settimeout(None)
        self._open.add(there)
        threading.Thread(target=self._carry, args=(here, there, False), daemon=True).start()
        self._carry(there, here, True)
        return None

    def _carry(self, source: socket.socket, sink: socket.socket, back: bool) -> None:
        """Until one end is gone. `back`: what is answered."""
        passed = 0
        try:
            while piece := source.recv(65536):
                while self.weather.silent and not self._ended:
                    time.sleep(0.01)
                passed += self._pass(piece, sink, passed, back)
            time.sleep(self.weather.slow_close)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            _reset(source)
            _reset(sink)

    def _pass(self, piece: bytes, sink: socket.socket, passed: int, back: bool) -> int:
        w = self.weather
        size = (w.slices if back else 0) or len(piece)
        for at in range(0, len(piece), size):
            part = piece[at : at + size]
            time.sleep(w.latency + (len(part) / w.bandwidth if w.bandwidth else 0))
            end = next((e for e in (w.reset_after, w.limit) if e is not None), None) if back else None
            if end is not None and passed + at + len(part) > end:
                sink.sendall(part[: max(end - passed - at, 0)])
                if w.reset_after is None:
                    sink.shutdown(socket.SHUT_RDWR)
                raise OSError("the line ends here")
            sink.sendall(part)
        return len(piece)


@contextmanager
def proxied(url: str) -> Iterator[Line]:
    line = Line(url)
    try:
        yield line
    finally:
        line.close()


def _reset(one: socket.socket) -> None:
    """RST: what was sent and is not read yet is lost."""
    try:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        one.shutdown(socket.SHUT_RD)  # wakes whoever waits for it
    except OSError:
        pass
    one.close()
