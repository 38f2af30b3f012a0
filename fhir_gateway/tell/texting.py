"""By text message: a line in a file that a provider's own program takes up, or an HTTP call to the provider."""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import msgspec

from .channel import Failed, Message
from .hook import client, post


def line(message: Message) -> dict[str, Any]:
    """`{id, to, text, language, at}`; `to` is +447…"""
    at = message.at.isoformat().replace("+00:00", "Z")
    return {"id": message.id, "to": message.to, "text": message.text.strip(), "language": message.language, "at": at}


@dataclass
class TextFile:
    """Appends NDJSON, on disk when it returns. Others than its owner cannot read it: there are numbers in it."""

    path: Path

    async def send(self, message: Message) -> None:
        try:
            await asyncio.to_thread(self._append, msgspec.json.encode(line(message)) + b"\n")
        except OSError as wrong:
            raise Failed(f"cannot be written ({wrong.strerror})") from None

    def _append(self, data: bytes) -> None:
        """One write, after whatever a crash left of another line."""
        handle = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            size = os.fstat(handle).st_size
            torn = size > 0 and os.pread(handle, 1, size - 1) != b"\n"
            data = (b"\n" if torn else b"") + data
            if os.write(handle, data) != len(data):
                raise OSError(28, "no space left")
            os.fsync(handle)
        finally:
            os.close(handle)
        if size == 0:  # its name in the folder, too
            folder = os.open(self.path.parent, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)

    async def close(self) -> None:
        return None


@dataclass
class TextCall:
    """POST of `line` to the provider. `Idempotency-Key` is the same when it is sent again."""

    url: str
    token: str = ""
    http: httpx2.AsyncClient = field(default_factory=client)

    async def send(self, message: Message) -> None:
        headers = {"content-type": "application/json", "idempotency-key": message.id}
        if self.token:
            headers["authorization"] = f"Bearer {self.token}"
        await post(self.http, self.url, msgspec.json.encode(line(message)), headers)

    async def close(self) -> None:
        await self.http.aclose()
