"""A server that speaks MongoDB's protocol, as its own process; or the replica set that MONGODB_URI names."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from pymongo import MongoClient
from pymongo.errors import PyMongoError

from ..conftest import free_port, in_memory

REAL = os.environ.get("MONGODB_URI", "")
# As the package's own command, and on SIGUSR1 it says where each of its threads is.
COMMAND = "import faulthandler, signal, sys; faulthandler.register(signal.SIGUSR1); from secantus.cli import main; sys.exit(main())"
RUNNING: list[MongoServer] = []


class MongoServer:
    """`uri(database)` names a database there. A stand-in starts by itself, keeps its files in `folder`, and obeys fail points."""

    def __init__(self, folder: Path, *more: str) -> None:
        self.folder, self.more = folder, more
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> MongoServer:
        with open(self.folder / "mongo.log", "ab") as log:
            self.process = subprocess.Popen(
                [
                    sys.executable, "-c", COMMAND, "--port", str(self.port), "--storage-path", str(self.folder / "mongo"),
                    "--sync-on-commit", "--enable-test-commands", "--cache-size", "512M", *self.more,
                ],
                stdout=log, stderr=log, cwd=self.folder,
            )  # fmt: skip
        with MongoClient("127.0.0.1", self.port, directConnection=True, serverSelectionTimeoutMS=500) as client:
            end = time.monotonic() + 30
            while True:
                try:
                    client.admin.command("ping")
                    RUNNING.append(self)
                    return self
                except PyMongoError:
                    if time.monotonic() > end or self.process.poll() is not None:
                        raise AssertionError((self.folder / "mongo.log").read_text()[-4000:]) from None

    def stop(self, sig: int = signal.SIGTERM) -> None:
        if self in RUNNING:
            RUNNING.remove(self)
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(sig)
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(10)

    def says(self) -> str:
        """The end of its log, with where its threads are now."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGUSR1)
            time.sleep(0.3)
        return (self.folder / "mongo.log").read_text(errors="replace")[-20_000:]

    def uri(self, database: str, **options: object) -> str:
        told = "&".join(f"{k}={v}" for k, v in {"heartbeatFrequencyMS": 500, **options}.items())
        return f"mongodb://127.0.0.1:{self.port}/{database}?{told}"


class RealServer(MongoServer):
    """Somebody else's: it is neither started nor stopped here."""

    def __init__(self) -> None:
        pass

    def start(self) -> MongoServer:
        return self

    def stop(self, sig: int = signal.SIGTERM) -> None:
        pass

    def uri(self, database: str, **options: object) -> str:
        place, _, told = REAL.partition("?")
        scheme, _, rest = place.partition("://")
        return f"{scheme}://{rest.split('/')[0]}/{database}?" + "&".join([*filter(None, [told]), *(f"{k}={v}" for k, v in options.items())])


def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MongoServer]:
    """In memory: a busy disk would keep it from answering in time."""
    with in_memory(tmp_path_factory.mktemp("mongo")) as folder:
        server = (RealServer() if REAL else MongoServer(folder)).start()
        yield server
        server.stop()


def drop(uri: str) -> None:
    with MongoClient(uri, serverSelectionTimeoutMS=5_000) as client:
        client.drop_database(client.get_default_database().name)


def wipe(uri: str) -> None:
    """Empty, but for its indexes."""
    with MongoClient(uri, serverSelectionTimeoutMS=5_000) as client:
        db = client.get_default_database()
        for name in db.list_collection_names():
            db[name].delete_many({})
