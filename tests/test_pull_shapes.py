"""What another server may answer: shapes that no resource has are set aside with a reason and stop nothing else."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from .conftest import Gateway

BROKEN: list[Any] = [
    {"resource": "x", "request": {"method": "PUT", "url": "Observation/1"}},
    {"resource": {"resourceType": "Observation", "id": "b1", "meta": "x"}},
    {"resource": {"resourceType": "Observation", "id": "b2", "meta": {"tag": ["x"]}}},
    {"request": {"method": "DELETE", "url": 5}},
    "x",
]


@contextmanager
def scripted(entries: list[Any]) -> Iterator[str]:
    """A FHIR server that has a history with these entries first, and takes whatever is sent."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path.endswith("/metadata"):
                rest = {"mode": "server", "interaction": [{"code": "history-system"}], "resource": [{"type": "Observation"}]}
                return self.say(200, {"resourceType": "CapabilityStatement", "fhirVersion": "4.0.1", "rest": [rest]})
            self.say(200, {"resourceType": "Bundle", "type": "history", "entry": entries})

        def do_POST(self) -> None:
            self.take()

        def do_PUT(self) -> None:
            self.take()

        def take(self) -> None:
            sent = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            self.say(201, {**sent, "id": sent.get("id", "there"), "meta": {"versionId": "1"}})

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


def test_a_broken_entry_stops_nothing_else(demo: Gateway) -> None:
    with scripted(BROKEN) as url:
        remote = {"GATEWAY_REMOTE_URL": url, "GATEWAY_REMOTE_ORGANISATION": "D82001"}
        done = demo.command("sync", "run", "--once", env=remote)
        assert "Traceback" not in done.stderr, done.stderr[-800:]
        (said,) = [json.loads(line) for line in demo.command("sync", "status", "--json", env=remote).stdout.splitlines()]
    assert not said["paused"]
    assert said["quarantined"] == 3
