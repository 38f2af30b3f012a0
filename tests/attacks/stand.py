"""Where the gateway is served: one seeded folder, a fresh copy of it and a fresh process for each case that writes.

A nursery process has the program in memory; each server is forked from it and then runs `serve` as always: its own settings, its own
store, its own log. So a fresh one is there in less than a tenth of a second.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from ..conftest import ROOT, free_port
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
        self._nursery: subprocess.Popen[str] | None = None
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
        nursery = self._started()
        assert nursery.stdin is not None and nursery.stdout is not None
        nursery.stdin.write(json.dumps({"log": str(self.log), "environment": environment}) + "\n")
        nursery.stdin.flush()
        said = nursery.stdout.readline()
        if not said:
            raise RuntimeError("the nursery ended: " + self.log.read_text(errors="replace")[-2000:])
        self.pid = int(said)
        self._ready()
        self.used = False

    def _started(self) -> subprocess.Popen[str]:
        if self._nursery is None or self._nursery.poll() is not None:
            clean = {k: v for k, v in os.environ.items() if not k.startswith("GATEWAY_")}
            self._nursery = subprocess.Popen(
                [sys.executable, "-m", "tests.attacks.stand"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=clean, cwd=ROOT
            )
        return self._nursery

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
        try:
            os.kill(self.pid, 0)
        except OSError:
            return False
        return self.pid != 0

    def peak_mb(self) -> float:
        """The most memory the server ever had, in MiB."""
        lines = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) / 1024

    def stop(self) -> None:
        """End the server at once; its copy of the records is of no use any more."""
        if self.pid and self._nursery is not None and self._nursery.stdin is not None and self._nursery.stdout is not None:
            try:
                self._nursery.stdin.write(json.dumps({"end": self.pid}) + "\n")
                self._nursery.stdin.flush()
                self._nursery.stdout.readline()
            except OSError:
                pass
        self.pid = 0

    def close(self) -> None:
        self.stop()
        if self._nursery is not None and self._nursery.stdin is not None:
            self._nursery.stdin.close()
            self._nursery.wait(10)


def nursery() -> None:
    """Lines in: `{log, environment}` begins a server, `{end}` ends it. Its process id out, when it has begun or ended."""
    import gc

    from fhir_gateway import definitions, serving
    from fhir_gateway.settings import load

    definitions.load_r4()
    gc.freeze()
    children: set[int] = set()
    for line in sys.stdin:
        asked = json.loads(line)
        if "end" in asked:
            pid = int(asked["end"])
            if pid in children:
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
                children.discard(pid)
            print(pid, flush=True)
            continue
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                log = os.open(asked["log"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
                null = os.open(os.devnull, os.O_RDONLY)
                for have, wanted in ((null, 0), (log, 1), (log, 2)):
                    os.dup2(have, wanted)
                os.environ.update(asked["environment"])
                status = serving.serve(load())
            finally:
                os._exit(status)
        children.add(pid)
        print(pid, flush=True)
    for pid in children:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


if __name__ == "__main__":
    nursery()
