"""First contact with another server: what it may answer, and what it is sent of what was here before."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from .conftest import Gateway

BROKEN: list[Any] = [
    {"resource": "x", "request": {"method": "PUT", "url": "Observation/1"}},
    {"resource": {"resourceType": "Observation", "id": "b1", "meta": "x"}},
    {"resource": {"resourceType": "Observation", "id": "b2", "meta": {"tag": ["x"]}}},
    {"request": {"method": "DELETE", "url": 5}},
    "x",
]


@contextmanager
def scripted(entries: list[Any], taken: list[dict[str, Any]]) -> Iterator[str]:
    """A FHIR server that has a history with these entries, and takes whatever is sent; what it was to create is in `taken`."""

    held: dict[str, dict[str, Any]] = {}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path.endswith("/metadata"):
                rest = {"mode": "server", "interaction": [{"code": "history-system"}], "resource": [{"type": "Observation"}]}
                return self.say(200, {"resourceType": "CapabilityStatement", "fhirVersion": "4.0.1", "rest": [rest]})
            if (name := self.path.removeprefix("/fhir/")) in held:
                return self.say(200, held[name])
            self.say(200, {"resourceType": "Bundle", "type": "history", **({"entry": entries} if entries else {})})

        def do_POST(self) -> None:
            self.take()

        def do_PUT(self) -> None:
            self.take()

        def take(self) -> None:
            raw = self.rfile.read(int(self.headers["Content-Length"]))
            if self.path.endswith("/_search"):
                return self.say(400, {"resourceType": "OperationOutcome"})
            sent = json.loads(raw)
            if self.command == "POST":
                taken.append(sent)
            kept = {**sent, "id": sent.get("id", f"there-{len(taken)}"), "meta": {"versionId": "1"}}
            held[f"{kept['resourceType']}/{kept['id']}"] = kept
            self.say(201, kept)

        def say(self, status: int, body: dict[str, Any]) -> None:
            raw = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/fhir+json")
            self.send_header("Content-Length", str(len(raw)))
            self.end_headers()
            self.wfile.write(raw)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/fhir"
    finally:
        server.shutdown()


@dataclass
class Contact:
    sent: list[dict[str, Any]]
    status: dict[str, Any]
    stderr: str
    stdout: str


@pytest.fixture(scope="module")
def contact(demo: Gateway) -> Contact:
    """The demo meets a server that it did not know when its people came in; two rounds."""
    taken: list[dict[str, Any]] = []
    with scripted(BROKEN, taken) as url:
        remote = {"GATEWAY_REMOTE_URL": url, "GATEWAY_REMOTE_ORGANISATION": "D82001"}
        rounds = [demo.command("sync", "run", "--once", env=remote) for _ in range(2)]
        assert [r.returncode for r in rounds] == [1, 1], [r.stdout + r.stderr for r in rounds]
        status = json.loads(demo.command("sync", "status", "--json", env=remote).stdout)
    return Contact(taken, status, rounds[0].stderr, rounds[0].stdout)


def test_the_status_says_what_that_server_can_do(contact: Contact) -> None:
    assert contact.status["abilities"] == {
        "software": "", "feed": "history", "types": 1, "by_type_history": [], "conditional_create": [], "unversioned": [], "gateway": False,
    }  # fmt: skip


def test_a_broken_entry_stops_nothing_else(contact: Contact) -> None:
    assert "Traceback" not in contact.stderr
    assert not contact.status["paused"] and contact.status["quiet"]
    assert contact.status["quarantined"] == len(BROKEN), "each waits for a person"
    assert not contact.status["in_step"] and "5 refused" in contact.stdout and "  5 in quarantine" in contact.stdout and "sync waiting" in contact.stdout


def test_a_partner_added_later_gets_what_was_here_before(contact: Contact) -> None:
    """Of Amina's record what consent lets go to her surgery, once; not her Consents, and nothing twice."""
    types = [r["resourceType"] for r in contact.sent]
    assert {"Patient", "CarePlan", "Goal", "Task", "Condition", "CareTeam"} <= set(types)
    assert "Consent" not in types
    ours = [t["code"] for r in contact.sent for t in r["meta"]["tag"] if t["system"] == "https://fhir-gateway.example/id/resource"]
    assert len(ours) == len(set(ours)) == len(contact.sent)
