"""A push whose sender hears nothing back, and sends it again: one effect (contracts.md, Answers)."""

from __future__ import annotations

import json
import socket
import time
from typing import Any

import pytest

from .conftest import Gateway


def push(demo: Gateway, name: str) -> dict[str, Any]:
    observation = {
        "resourceType": "Observation", "identifier": [{"system": "urn:lost", "value": name}], "status": "final", "code": {"text": "Pulse"},
        "subject": {"reference": f"Patient/{demo.patient}"},
    }  # fmt: skip
    return {
        "resourceType": "Bundle", "type": "transaction", "identifier": {"system": "urn:lost", "value": name},
        "entry": [{"request": {"method": "POST", "url": "Observation"}, "resource": observation}],
    }  # fmt: skip


def send_and_hang_up(demo: Gateway, body: bytes, *, after: float) -> None:
    """The whole request on a bare connection that is closed `after` seconds, its answer unread."""
    head = (
        f"POST /fhir HTTP/1.1\r\nHost: 127.0.0.1:{demo.port}\r\nAuthorization: Bearer {demo.persona('hospital')['token']}\r\n"
        f"Content-Type: application/fhir+json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", demo.port)) as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # a reset, as when a network dies
        s.sendall(head.encode() + body)
        time.sleep(after)


def stored(demo: Gateway, name: str) -> int:
    return int(demo.get("patient", f"Observation?patient={demo.patient}&identifier=urn:lost|{name}").json()["total"])


@pytest.mark.parametrize("after", [0.0, 0.005, 0.05, 0.5])
def test_a_push_sent_again_after_a_lost_reply_has_one_effect(demo: Gateway, after: float) -> None:
    name = f"after-{after}"
    demo.persona("patient")
    body = json.dumps(push(demo, name)).encode()
    send_and_hang_up(demo, body, after=after)
    if after >= 0.5:
        end = time.monotonic() + 20
        while stored(demo, name) == 0 and time.monotonic() < end:
            time.sleep(0.1)
        assert stored(demo, name) == 1, "it was done though nobody heard"
    first = demo.call("hospital", "POST", "", raw=body)
    second = demo.call("hospital", "POST", "", raw=body)
    assert first.status_code == second.status_code == 200, first.text
    assert first.content == second.content
    assert stored(demo, name) == 1
    assert not [i for i in demo.lines("inbox", "list", "--json") if name in i["body"]]
