"""Where the tests' `fhir-gateway` processes come from: one process has the program in memory, and each command is forked from it.

A command that is run so is a process of its own, with its own environment, folder, input and output, and runs `python -m fhir_gateway` from its
first line; only to find and to compile some thousand modules again is spared (a second of the machine for each, and the tests run some thousand).
What changes Python itself (PYTHONPATH, LD_PRELOAD, a locale) is run by a Python of its own.
"""

from __future__ import annotations

import array
import asyncio
import contextlib
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
from functools import cache
from pathlib import Path
from threading import Lock
from typing import IO, Any

ROOT = Path(__file__).resolve().parent.parent
OF_PYTHON = ("PYTHON", "LD_", "LC_", "LANG", "MALLOC_")  # read before a first line runs: of no effect in a fork


class Child:
    """A process as `subprocess.Popen` shows one: its `pid`, and its `returncode` when it has ended."""

    def __init__(self, pid: int, ended: int) -> None:
        self.pid, self._ended, self._reading = pid, ended, Lock()
        self.returncode: int | None = None

    def poll(self) -> int | None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.wait(0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        if self.returncode is None and not self._heard(timeout):
            raise subprocess.TimeoutExpired(f"process {self.pid}", timeout or 0)
        with self._reading:
            if self.returncode is None:
                said = os.read(self._ended, 16)
                self.returncode = int(said) if said else -signal.SIGKILL  # nothing said: the nursery itself was killed
            return self.returncode

    def _heard(self, timeout: float | None) -> bool:
        asked = select.poll()  # not select.select: a number of a file may be high
        asked.register(self._ended, select.POLLIN)
        return bool(asked.poll(None if timeout is None else timeout * 1000))

    def __del__(self) -> None:
        os.close(self._ended)

    def send_signal(self, sig: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, sig)

    async def over(self, seconds: float) -> int:
        """`wait`, while others go on. TimeoutError."""
        try:
            return await asyncio.to_thread(self.wait, seconds)
        except subprocess.TimeoutExpired:
            raise TimeoutError(f"process {self.pid} has not ended in {seconds} s") from None

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


class Nursery:
    """Begins commands. It lives as long as the process that made it."""

    def __init__(self) -> None:
        self.environment = {k: v for k, v in os.environ.items() if not k.startswith("GATEWAY_")}
        self._line, theirs = socket.socketpair()
        with theirs:
            command = [sys.executable, "-m", "tests.nursery", str(theirs.fileno())]
            self.process = subprocess.Popen(command, pass_fds=[theirs.fileno()], env=self.environment, cwd=ROOT, stdin=subprocess.DEVNULL)

    def close(self) -> None:
        """Its children are killed, and it ends."""
        self._line.close()
        self.process.wait(10)

    def can(self, environment: dict[str, str]) -> bool:
        """Whether a fork would heed all of this environment."""
        names = {k for k in environment.keys() | self.environment.keys() if k.startswith(OF_PYTHON)}
        return all(environment.get(k) == self.environment.get(k) for k in names)

    def start(
        self, args: tuple[str, ...], environment: dict[str, str], folder: Path, input: IO[Any], out: IO[Any], errors: IO[Any], module: str = "fhir_gateway"
    ) -> Child:
        """`python -m MODULE ARGS` in this environment and folder, with these open files."""
        reading, writing = os.pipe()
        try:
            asked = json.dumps({"module": module, "args": args, "environment": environment, "folder": str(folder)}).encode()
            files = array.array("i", [input.fileno(), out.fileno(), errors.fileno(), writing])
            self._line.sendmsg([len(asked).to_bytes(4, "big")], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, files)])
            self._line.sendall(asked)
        finally:
            os.close(writing)
        return Child(int.from_bytes(_whole(self._line, 4), "big"), reading)

    def run(self, args: tuple[str, ...], environment: dict[str, str], folder: Path, input: str | None, timeout: float) -> subprocess.CompletedProcess[str]:
        """`fhir-gateway ARGS` to its end, with what it said. subprocess.TimeoutExpired: it was killed then."""
        with tempfile.TemporaryFile("w+") as given, tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as errors:
            given.write(input or "")
            given.seek(0)
            child = self.start(args, environment, folder, given, out, errors)
            try:
                code = child.wait(timeout)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
                raise
            out.seek(0)
            errors.seek(0)
            return subprocess.CompletedProcess(args, code, out.read(), errors.read())


def _whole(line: socket.socket, size: int) -> bytes:
    got = b""
    while len(got) < size:
        more = line.recv(size - len(got))
        if not more:
            raise EOFError
        got += more
    return got


class _Reaper:
    """Tells each who waits for a child how it ended."""

    def __init__(self) -> None:
        self.children: dict[int, int] = {}
        self.woken, waking = socket.socketpair()
        self.woken.setblocking(False)
        waking.setblocking(False)
        self._kept = waking
        signal.set_wakeup_fd(waking.fileno())
        signal.signal(signal.SIGCHLD, lambda *_: None)

    def reap(self) -> None:
        with contextlib.suppress(BlockingIOError):
            self.woken.recv(4096)
        while self.children:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not pid:
                return
            telling = self.children.pop(pid)
            with contextlib.suppress(OSError):
                os.write(telling, str(os.waitstatus_to_exitcode(status)).encode())
            os.close(telling)


def _asked(line: socket.socket) -> tuple[dict[str, Any], list[int]]:
    size, files, *_ = socket.recv_fds(line, 4, 4)
    if not size:
        raise EOFError
    size += _whole(line, 4 - len(size))
    return json.loads(_whole(line, int.from_bytes(size, "big"))), files


def _become(asked: dict[str, Any], files: list[int]) -> None:
    """What a Python of its own has before its first line: these files, this environment and folder, signals as they are by default."""
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for there, file in enumerate(files[:3]):
        os.dup2(file, there)
    os.closerange(3, 1 << 20)  # also those by which others are told how their children end
    os.chdir(asked["folder"])
    os.environ.clear()
    os.environ.update(asked["environment"])
    time.tzset()
    encoding = sys.stdout.encoding
    sys.stdin = os.fdopen(0, encoding=encoding)
    sys.stdout = os.fdopen(1, "w", encoding=encoding)
    sys.stderr = os.fdopen(2, "w", buffering=1, encoding=encoding, errors="backslashreplace")
    sys.__stdin__, sys.__stdout__, sys.__stderr__ = sys.stdin, sys.stdout, sys.stderr
    sys.argv[1:] = asked["args"]


@cache
def nursery() -> Nursery:
    """One for all tests of this process."""
    return Nursery()


def forking(line: socket.socket) -> str:
    """Forks for each that is asked for. The module that this is now a child to run; "" when nobody asks any more, and all children are killed."""
    import gc
    import importlib
    import pkgutil
    import threading

    from fhir_gateway import commands, definitions, serving  # noqa: F401
    from fhir_gateway.web import app  # noqa: F401

    for module in pkgutil.iter_modules(commands.__path__, "fhir_gateway.commands."):
        importlib.import_module(module.name)
    definitions.load_r4()
    gc.collect()
    gc.freeze()
    reaper = _Reaper()
    while True:
        ready, _, _ = select.select([line, reaper.woken], [], [])
        if reaper.woken in ready:
            reaper.reap()
        if line not in ready:
            continue
        try:
            asked, files = _asked(line)
        except EOFError:
            for pid in reaper.children:
                os.kill(pid, signal.SIGKILL)
            return ""
        assert threading.active_count() == 1, "a fork takes no other thread along"
        pid = os.fork()
        if pid == 0:
            _become(asked, files)
            return str(asked["module"])
        for file in files[:3]:
            os.close(file)
        reaper.children[pid] = files[3]
        line.sendall(pid.to_bytes(4, "big"))


if __name__ == "__main__" and (module := forking(socket.socket(fileno=int(sys.argv[1])))):
    runpy.run_module(module, run_name="__main__", alter_sys=True)
