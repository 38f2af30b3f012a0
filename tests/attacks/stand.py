"""Where the gateway is served: one seeded folder, a fresh copy of it and a fresh process for each case that writes.

A nursery (`tests.nursery`) has the program in memory; each server is forked from it and then runs `serve` as always: its own settings, its
own store, its own log. So a fresh one answers within about a fifth of a second.
"""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

from ..conftest import free_port
from ..nursery import Child, Nursery
from . import wire

READY = 20.0  # seconds


class Stand:
    """A place with an address. `fresh` begins anew from the seed; until then everything stays as it is."""

    def __init__(self, folder: Path, allowed: str, port: int = 0) -> None:
        self.folder, self.port = folder, port or free_port()
        self.seed, self.data, self.log = folder / "seed", folder / "data", folder / "gateway.log"
        self.host = f"127.0.0.1:{self.port}"
        self.base = f"http://{self.host}"
        self.allowed = allowed
        self.pid = 0
        self.used = True  # somebody may have written since it began
        self._nursery: Nursery | None = None
        self._server: Child | None = None
        for place in (self.seed, self.data):
            place.mkdir(parents=True, exist_ok=True)

    @property
    def address(self) -> tuple[str, int]:
        return "127.0.0.1", self.port

    def fresh(self, environment: dict[str, str]) -> None:
        """A new server on a new copy of the seed."""
        self.stop()
        for place in ("", "-journal"):  # the store, and the journal of consents that is kept apart from it
            here, copy = (self.folder / f"{name}{place}" for name in ("seed", "data"))
            shutil.rmtree(copy, ignore_errors=True)
            if here.is_dir():
                shutil.copytree(here, copy)
        self.log.write_bytes(b"")
        if self._nursery is None:
            self._nursery = Nursery()
        with open(os.devnull, "rb") as nothing, open(self.log, "ab") as log:
            self._server = self._nursery.start((), {**self._nursery.environment, **environment}, self.folder, nothing, log, log, "tests.attacks.serving")
        self.pid = self._server.pid
        self._ready()
        self.used = False

    def _ready(self) -> None:
        end = time.monotonic() + READY
        ask = wire.request("GET", "/health", self.host, [], None)
        while time.monotonic() < end:
            try:
                if wire.send(self.address, ask).status == 200:
                    return
            except OSError:
                pass
            if not self.alive():
                break
            time.sleep(0.01)
        raise RuntimeError("the gateway does not serve: " + self.log.read_text(errors="replace")[-2000:])

    def alive(self) -> bool:
        return self._server is not None and self._server.poll() is None

    def peak_mb(self) -> float:
        """The most memory the server ever had, in MiB."""
        lines = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) / 1024

    def stop(self) -> None:
        """End the server at once; its copy of the records is of no use any more."""
        if self._server is not None:
            self._server.kill()
            self._server.wait()
        self._server, self.pid = None, 0

    def close(self) -> None:
        self.stop()
        if self._nursery is not None:
            self._nursery.close()
