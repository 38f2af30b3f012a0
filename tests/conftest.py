"""A real gateway for tests: its own data folder, its own port, the command line in its own process. Nothing is mocked."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import IO, Any

import httpcore2
import httpx2
import pytest
import structlog
from hypothesis import settings as properties

from .nursery import Child, nursery

# how long an example takes tells of what else this machine does, and of nothing else
properties.register_profile("house", properties(), deadline=None)
properties.load_profile("house")

PERSONAS = ("patient", "proxy", "gp", "social-worker", "link-worker", "community-nurse", "hospital", "stranger", "paramedic", "privacy-officer", "registrar")
ROOT = Path(__file__).resolve().parent.parent
SHARED = ROOT.parent / "shared"
VERIFY = ssl.create_default_context()  # one for all: to make one takes twenty times as long as a request
httpcore2.default_ssl_context = cache(httpcore2.default_ssl_context)  # and for each client that is made without one


@pytest.fixture(autouse=True)
def logs_of_its_own() -> Iterator[None]:
    """A command that ran in this process says how loud the log is: no test after it hears less for that."""
    yield
    structlog.reset_defaults()


def pytest_make_parametrize_id(config: pytest.Config, val: object, argname: str) -> str | None:
    """The same names in every process of xdist: a value that prints its address or a new key is called by its type."""
    return None if isinstance(val, (str, int, float, bool, bytes, type(None))) else f"{argname}-{type(val).__name__}"


@pytest.fixture(scope="session")
def shared() -> Path:
    """The outside data and suites; tests that need them skip visibly when they are absent."""
    if not SHARED.is_dir():
        pytest.skip("../shared is not here: outside data and suites are not tried")
    return SHARED


def times(examples: int) -> int:
    """How many examples a long property tries: a hundred times as many in `make soak`."""
    return examples * int(os.environ.get("SOAK", "1"))


@contextmanager
def in_memory(otherwise: Path, room: int = 2 << 30) -> Iterator[Path]:
    """A folder in memory where there is `room` (bytes) for it: for what does not try whether a disk keeps what it is given."""
    memory = Path("/dev/shm")
    if not os.access(memory, os.W_OK) or shutil.disk_usage(memory).free < room:
        yield otherwise
        return
    with tempfile.TemporaryDirectory(dir=memory, ignore_cleanup_errors=True) as path:
        yield Path(path)


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


class Gateway:
    """A running gateway, as an outsider sees it: an address, a command line, tokens."""

    def __init__(self, data: Path, port: int, env: dict[str, str]) -> None:
        self.data, self.port = data, port
        self.base = f"http://127.0.0.1:{port}"
        self.env = {k: v for k, v in os.environ.items() if not k.startswith("GATEWAY_")} | {
            "GATEWAY_DATA": str(data), "GATEWAY_PORT": str(port), **env,
        }  # fmt: skip
        self.process: subprocess.Popen[bytes] | Child | None = None
        self.log = data.parent / "gateway.log"
        self.patience = 120.0  # seconds for a command
        self._tokens: dict[str, dict[str, Any]] = {}

    def start(self, *args: str, wait: float = 30) -> Gateway:
        with open(self.log, "ab") as log:
            self.process = self._begun(log, "serve", *args)
        self.ready(wait)
        return self

    def _begun(self, log: IO[bytes], *args: str) -> subprocess.Popen[bytes] | Child:
        if nursery().can(self.env):
            with open(os.devnull, "rb") as nothing:
                return nursery().start(args, self.env, self.data.parent, nothing, log, log)
        return subprocess.Popen([sys.executable, "-m", "fhir_gateway", *args], env=self.env, stdout=log, stderr=log, cwd=self.data.parent)

    def ready(self, wait: float = 30) -> None:
        end = time.monotonic() + wait
        while time.monotonic() < end:
            assert self.process is not None
            if self.process.poll() is not None:
                raise AssertionError(f"the gateway ended with {self.process.returncode}:\n{self.log.read_text()[-4000:]}")
            try:
                if httpx2.get(f"{self.base}/health", timeout=2, verify=VERIFY).status_code == 200:
                    return
            except httpx2.HTTPError:
                pass
            time.sleep(0.05)
        raise AssertionError(f"no answer in {wait} s:\n{self.log.read_text()[-4000:]}")

    def stop(self, sig: int = signal.SIGTERM) -> int:
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(sig)
        return self.process.wait(10)

    def command(self, *args: str, stdin: str | None = None, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        """`fhir-gateway ARGS` in its own process."""
        environment = {**self.env, **(env or {})}
        if nursery().can(environment):
            return nursery().run(args, environment, self.data.parent, stdin, self.patience)
        return subprocess.run(
            [sys.executable, "-m", "fhir_gateway", *args], env=environment, input=stdin, capture_output=True, text=True,
            timeout=self.patience, cwd=self.data.parent,
        )  # fmt: skip

    def lines(self, *args: str, stdin: str | None = None) -> list[dict[str, Any]]:
        """The JSON lines a command prints; it must end with 0."""
        done = self.command(*args, stdin=stdin)
        assert done.returncode == 0, f"{args}: exit {done.returncode}\n{done.stdout}\n{done.stderr}"
        return [json.loads(line) for line in done.stdout.splitlines()]

    def persona(self, who: str) -> dict[str, Any]:
        """Token, person and name of a demo persona; the first who is asked for brings all of them, for a command costs more than a token."""
        if who not in self._tokens:
            whom = [who] if self._tokens else list(PERSONAS)
            self._tokens |= zip(whom, self.lines("token", *(a for w in whom for a in ("--as", w)), "--json"), strict=True)
        return self._tokens[who]

    @property
    def patient(self) -> str:
        """The id of the demo's person."""
        return str(self.persona("patient")["patient"]).removeprefix("Patient/")

    def call(
        self, who: str | None, method: str, path: str, *, body: Any = None, headers: dict[str, str] | None = None, raw: bytes | None = None
    ) -> httpx2.Response:
        """One request as this persona (None: nobody). `path` is below /fhir unless it starts with a slash."""
        sent = {"Accept": "application/fhir+json", **(headers or {})}
        if who is not None:
            sent["Authorization"] = f"Bearer {self.persona(who)['token']}"
        content = raw if raw is not None else None if body is None else json.dumps(body).encode()
        if content is not None:
            sent.setdefault("Content-Type", "application/fhir+json")
        url = f"{self.base}{path}" if path.startswith("/") else f"{self.base}/fhir/{path}"
        return httpx2.request(method, url, content=content, headers=sent, timeout=30, verify=VERIFY)

    def get(self, who: str | None, path: str, **headers: str) -> httpx2.Response:
        return self.call(who, "GET", path, headers=headers)


@contextmanager
def gateway(folder: Path, *args: str, **env: str) -> Iterator[Gateway]:
    """A gateway on its own port with its own data, stopped at the end."""
    (folder / "data").mkdir(parents=True, exist_ok=True)
    g = Gateway(folder / "data", free_port(), env)
    try:
        yield g.start(*args)
    finally:
        if g.process is not None and g.process.poll() is None:
            g.stop()


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """The demo, one for each test module."""
    with gateway(tmp_path_factory.mktemp("demo"), "--demo") as g:
        yield g
