"""Attachments as an outsider sends and fetches them. One real server. https://hl7.org/fhir/R4/binary.html#rest"""

from __future__ import annotations

import base64
from collections.abc import Iterator

import pytest

from .conftest import Gateway, gateway
from .test_hidden import NOBODY, same
from .test_interactions_write import outcome

LIMIT = 7 * 1024 * 1024


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with gateway(tmp_path_factory.mktemp("binary"), "--demo", GATEWAY_BINARY_LIMIT=str(LIMIT)) as g:
        yield g


def sent(demo: Gateway, data: bytes, kind: str = "text/html", who: str = "patient"):
    return demo.call(who, "POST", "Binary", raw=data, headers={"Content-Type": kind, "X-Security-Context": f"Patient/{demo.patient}"})


def test_bytes_come_back_as_they_were_sent_and_are_never_rendered(demo: Gateway) -> None:
    page = b"<script>alert(1)</script>\x00\xff"
    made = sent(demo, page)
    assert made.status_code == 201 and made.json()["securityContext"] == {"reference": f"Patient/{demo.patient}"}, made.text
    where = f"Binary/{made.json()['id']}"
    got = demo.get("patient", where, Accept="text/html")
    assert got.content == page and got.headers["content-type"] == "text/html"
    assert got.headers["content-disposition"] == "attachment" and got.headers["x-content-type-options"] == "nosniff"
    assert got.headers["content-security-policy"].startswith("sandbox") and "no-store" in got.headers["cache-control"]
    assert base64.b64decode(demo.get("patient", where).json()["data"]) == page
    for accept in ("text/html", "application/fhir+json"):
        hidden = demo.get("stranger", where, Accept=accept)
        same(hidden, demo.get("stranger", f"Binary/{NOBODY}", Accept=accept), made.json()["id"], NOBODY)
        outcome(hidden, 404)
    changed = demo.call("patient", "PUT", where, raw=b"<a/>", headers={
        "Content-Type": "text/xml", "X-Security-Context": f"Patient/{demo.patient}", "If-Match": 'W/"1"',
    })  # fmt: skip
    assert changed.status_code == 200 and demo.get("patient", where, Accept="*/*, text/xml").json()["contentType"] == "text/xml"


def test_the_limit_is_on_the_data_however_it_is_sent(demo: Gateway) -> None:
    about = {"resourceType": "Binary", "contentType": "image/png", "securityContext": {"reference": f"Patient/{demo.patient}"}}
    for size, status in ((LIMIT, 201), (LIMIT + 1, 413)):
        data = b"x" * size
        assert sent(demo, data, "image/png").status_code == status
        assert demo.call("patient", "POST", "Binary", body={**about, "data": base64.b64encode(data).decode()}).status_code == status
    outcome(demo.call("patient", "POST", "Goal", raw=b" " * (6 * 1024 * 1024)), 413)
    outcome(demo.call("patient", "POST", "Goal", raw=b"x", headers={"Content-Type": "image/png"}), 415)
