"""schemathesis over /openapi.json: whatever it makes up is answered with a status that the document names, never a 5xx."""

from __future__ import annotations

from typing import Any

import httpx2
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings

from .conftest import Gateway

pytestmark = pytest.mark.slow
ENOUGH = settings(
    max_examples=8, deadline=None, derandomize=True, database=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck)
)


def answers(client: httpx2.Client, operation: Any, token: str, patient: str) -> list[httpx2.Response]:
    """What the server says to a handful of made-up requests, half of them about somebody who is there."""
    out: list[httpx2.Response] = []
    there = {"type": "Patient", "id": patient, "compartment": "Patient", "patient": patient, "version": "1"}

    @ENOUGH
    @given(case=operation.as_strategy())
    def ask(case: Any) -> None:
        if len(out) % 2:
            case.path_parameters = {k: there.get(k, v) for k, v in (case.path_parameters or {}).items()}
        sent = case.as_transport_kwargs(base_url=str(client.base_url))
        headers = {k: str(v) for k, v in (sent.get("headers") or {}).items() if k.lower() != "authorization"}
        body = {k: sent[k] for k in ("json", "data") if sent.get(k) is not None}
        if isinstance(body.get("data"), (str, bytes)):
            body["content"] = body.pop("data")
        try:
            out.append(
                client.request(
                    sent["method"], sent["url"], params=sent.get("params"), headers={**headers, "Authorization": f"Bearer {token}"}, **body
                )
            )
        except (httpx2.LocalProtocolError, httpx2.InvalidURL, UnicodeEncodeError):
            pass  # no HTTP client can send this

    ask()
    return out


def test_every_route_answers_as_the_document_says(demo: Gateway) -> None:
    document = demo.call(None, "GET", "/openapi.json").json()
    found = [o.ok() for o in schemathesis.openapi.from_dict(document).get_all_operations()]
    assert len(found) > 50
    wrong: list[str] = []
    asked = 0
    with httpx2.Client(base_url=demo.base, timeout=60) as client:
        for operation in found:
            documented = {int(s) for s in operation.definition.raw["responses"]}
            for answer in answers(client, operation, demo.persona("patient")["token"], demo.patient):
                asked += 1
                if answer.status_code not in documented or answer.status_code >= 500:
                    sent = answer.request
                    wrong.append(f"{answer.status_code} {sent.method} {sent.url} {sent.content[:200]!r} -> {answer.text[:200]}")
    assert wrong == []
    assert asked > 300
    assert demo.call(None, "GET", "/health").status_code == 200
