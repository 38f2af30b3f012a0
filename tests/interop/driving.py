"""A small driver for each kind of peer: started, stopped and started again with what it held, read and written as by its own users."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx2

from fhir_gateway.demo.cast import organisation

from ..conftest import VERIFY, Gateway, free_port
from ..staff import Colleague, put_directory, signed_in, system
from .peers import hapi_server, medplum_server

Resource = dict[str, Any]
START = 90  # seconds within which a server is up, beside another
JSON = {"Content-Type": "application/fhir+json", "Accept": "application/fhir+json", "Cache-Control": "no-cache"}


class Peer:
    """Somebody else's server, as who works there uses it. Its versions are never compared but for equality."""

    tells_deletions = True  # in a feed; else everything there is gone through
    keeps_what_is_pointed_to = False

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, free_port()
        self.token = ""
        self.url = f"http://127.0.0.1:{self.port}/fhir"
        self._running = ExitStack()

    @property
    def remote(self) -> dict[str, str]:
        """How our gateway is told of it."""
        quick = {} if self.tells_deletions else {"GATEWAY_REMOTE_MISSING_SECONDS": "1"}  # its 404 counts when it is seen twice
        return {"GATEWAY_REMOTE_URL": self.url, **({"GATEWAY_REMOTE_TOKEN": self.token} if self.token else {}), **quick}

    def up(self) -> None:
        raise NotImplementedError

    def down(self) -> None:
        self._running.close()

    def ask(self, method: str, path: str, body: Resource | None = None, **headers: str) -> httpx2.Response:
        sent = {**JSON, **headers, **({"Authorization": f"Bearer {self.token}"} if self.token else {})}
        return httpx2.request(method, path if path.startswith("http") else f"{self.url}/{path}", json=body, headers=sent, timeout=60, verify=VERIFY)

    def all(self, type: str) -> list[Resource]:
        """Every resource of this type there, page by page."""
        found: list[Resource] = []
        more = f"{type}?_count=200"
        while more:
            answer = self.ask("GET", more)
            assert answer.status_code == 200, f"{type}: {answer.status_code} {answer.text[:400]}"
            page = answer.json()
            found += [e["resource"] for e in page.get("entry", []) if e["resource"]["resourceType"] == type]
            more = next_of(page)
        return found

    def put(self, resource: Resource) -> httpx2.Response:
        version = {"If-Match": f'W/"{resource["meta"]["versionId"]}"'}
        return self.ask("PUT", f"{resource['resourceType']}/{resource['id']}", resource, **version)

    def post(self, resource: Resource) -> httpx2.Response:
        return self.ask("POST", resource["resourceType"], resource)

    def delete(self, resource: Resource) -> httpx2.Response:
        version = {"If-Match": f'W/"{resource["meta"]["versionId"]}"'}
        return self.ask("DELETE", f"{resource['resourceType']}/{resource['id']}", None, **version)


def next_of(page: Resource) -> str:
    return next((str(link["url"]) for link in page.get("link", []) if link["relation"] == "next"), "")


class Hapi(Peer):
    """HAPI FHIR JPA, on a disk, with these of its options."""

    keeps_what_is_pointed_to = True
    options: tuple[str, ...] = ()

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        if "--bearer" in self.options:
            self.token = secrets.token_urlsafe(32)

    def up(self) -> None:
        options = [self.token if o == "TOKEN" else o for o in self.options]
        self._running.enter_context(hapi_server(self.port, "--db", str(self.folder / "hapi"), *options))


class HapiBearer(Hapi):
    """With a token asked of everybody, and searches answered from a cache for 60 s."""

    options = ("--bearer", "TOKEN")


class HapiLoose(Hapi):
    """Without referential integrity."""

    keeps_what_is_pointed_to = False
    options = ("--integrity-on-write", "false", "--integrity-on-delete", "false")


class HapiFresh(Hapi):
    """No cache of searches."""

    options = ("--reuse-search-millis", "0")


class Medplum(Peer):
    """Medplum's router over its repository in memory, which our shell keeps in a file from one start to the next."""

    tells_deletions = False

    def up(self) -> None:
        self._running.enter_context(medplum_server(self.port, self.folder / "medplum.json"))


class SecondGateway(Peer):
    """Another gateway of ours, which begins empty but for the two organisations. Its owner's system signs in there, as we do."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        (folder / "second/data").mkdir(parents=True)
        self.g = Gateway(folder / "second/data", self.port, {"GATEWAY_WORKER": "false"})
        self._owner: Colleague | None = None

    @property
    def remote(self) -> dict[str, str]:
        return {"GATEWAY_REMOTE_URL": self.url, "GATEWAY_REMOTE_TOKEN": signed_in(self.g, "surgery-there").token}

    def up(self) -> None:
        self.g.start(wait=START)
        if self._owner is None:
            (place,) = put_directory(self.g, organisation("D82001", "Example Street Surgery", "health"))
            self._owner = system(self.g, "surgery-there", place)
        self._running.callback(self.g.stop)

    def ask(self, method: str, path: str, body: Resource | None = None, **headers: str) -> httpx2.Response:
        assert self._owner is not None
        path = path.removeprefix(f"{self.url}/")
        answer = self._owner.call(method, path, body=body, headers=headers)
        if answer.status_code == 401:
            self._owner = signed_in(self.g, "surgery-there")
            answer = self._owner.call(method, path, body=body, headers=headers)
        return answer


PEERS: dict[str, type[Peer]] = {"hapi": HapiBearer, "medplum": Medplum, "gateway": SecondGateway}
SETTINGS: dict[str, type[Peer]] = {"hapi-open": Hapi, "hapi-loose": HapiLoose, "hapi-fresh": HapiFresh}


@contextmanager
def demo_with(peer: Peer, folder: Path, **env: str) -> Iterator[Gateway]:
    """The demo, in step with this peer whenever it is told to be."""
    (folder / "data").mkdir()
    remote = {**peer.remote, "GATEWAY_REMOTE_ORGANISATION": "D82001", "GATEWAY_WORKER": "false"}
    g = Gateway(folder / "data", free_port(), {**remote, **env})
    try:
        yield g.start("--demo", wait=START)
    finally:
        if g.process is not None and g.process.poll() is None:
            g.stop()


@contextmanager
def running(peer: Peer) -> Iterator[Peer]:
    peer.up()
    try:
        yield peer
    finally:
        peer.down()
