"""A wire between gateway and server that can be cut: before a command arrives, or after it was obeyed and before the answer is back.

Or it stays, and nobody says anything on it any more.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress


class Wire:
    """Forwards bytes to `port`. `cut(word, when)`: the next message that holds `word` is cut off `before` or `after` it is obeyed.

    `unread`, `unanswered`: the same, and the connection stays as if somebody were still there.
    """

    def __init__(self, port: int) -> None:
        self._to = port
        self._cuts: list[tuple[bytes, str]] = []
        self.made = 0  # cuts
        self.cut_made = asyncio.Event()
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()

    async def __aenter__(self) -> Wire:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = int(self._server.sockets[0].getsockname()[1])
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        for w in list(self._open):
            w.close()

    def cut(self, word: str, when: str, times: int = 1) -> None:
        self._cuts += [(word.encode(), when)] * times

    def heal(self) -> None:
        """No more cuts."""
        self._cuts.clear()

    def _wanted(self, message: bytes) -> str | None:
        for i, (word, when) in enumerate(self._cuts):
            if word in message:
                del self._cuts[i]
                self.made += 1
                self.cut_made.set()
                return when
        return None

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        try:
            back, forth = await asyncio.open_connection("127.0.0.1", self._to)
            self._open.add(forth)
            lost, silent = asyncio.Event(), asyncio.Event()  # from then on no answer goes back
            tasks = [
                asyncio.ensure_future(self._messages(reader, forth, lost, silent)),
                asyncio.ensure_future(self._answers(back, writer, lost, silent)),
            ]
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for t in tasks:
                t.cancel()
            forth.close()
        except OSError:
            pass
        finally:
            writer.close()

    async def _messages(self, reader: asyncio.StreamReader, forth: asyncio.StreamWriter, lost: asyncio.Event, silent: asyncio.Event) -> None:
        with suppress(asyncio.IncompleteReadError, OSError):
            while True:
                head = await reader.readexactly(4)
                message = head + await reader.readexactly(int.from_bytes(head, "little") - 4)
                when = self._wanted(message)
                if when == "before":
                    return
                if when == "after":
                    lost.set()
                if when in ("unread", "unanswered"):
                    silent.set()
                if when == "unread":
                    continue
                forth.write(message)
                await forth.drain()

    async def _answers(self, back: asyncio.StreamReader, writer: asyncio.StreamWriter, lost: asyncio.Event, silent: asyncio.Event) -> None:
        with suppress(OSError):
            while data := await back.read(65536):
                if lost.is_set():
                    return  # the server has answered: it was obeyed
                if silent.is_set():
                    continue
                writer.write(data)
                await writer.drain()
