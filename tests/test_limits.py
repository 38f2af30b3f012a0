"""What one request may ask for is set by whoever runs the gateway; its own pages and plans go on as before."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx2
import msgspec
import pytest

from fhir_gateway.domain.strict import beyond, deeper

from .conftest import Gateway, gateway
from .staff import consent, permit


def nested(levels: int) -> dict[str, Any]:
    """A resource whose JSON is so many levels deep."""
    inner: Any = {"url": "http://example.org/x", "valueBoolean": True}
    at = 3
    while at + 2 <= levels:
        inner, at = {"url": "http://example.org/x", "extension": [inner]}, at + 2
    return {"resourceType": "Goal", "extension": [inner]}


@pytest.mark.parametrize("levels", [3, 5, 9])
def test_depth_is_counted_in_levels(levels: int) -> None:
    raw = msgspec.json.encode(nested(levels))
    assert not deeper(raw, levels) and deeper(raw, levels - 1)
    assert not deeper(b"{no json", 1) and not deeper(b"1e999999999", 1) and deeper(b"[" * 5_000 + b"]" * 5_000, 64)


def test_items_and_elements_are_counted_all_over_a_body() -> None:
    raw = msgspec.json.encode({"a": [{"b": 1}] * 9, "c": {"d": ["x"] * 3}})
    assert not beyond(raw, 9, 12) and "9 items" in beyond(raw, 8, 12) and "12 elements" in beyond(raw, 9, 11)
    assert "40 items" in beyond(b'{"a":{"b":[[%s]]}}' % b",".join([b"1"] * 40), 39, 100)
    assert not beyond(b"{no json,,,,", 1, 1) and not beyond(b'"' + b",:" * 50 + b'"', 1, 1)


def test_settings_bound_what_is_asked_for_at_once(tmp_path: Path) -> None:
    small = {
        "GATEWAY_DEPTH_LIMIT": "9", "GATEWAY_ENTRIES_LIMIT": "3", "GATEWAY_COUNT_LIMIT": "50", "GATEWAY_VALUES_LIMIT": "2",
        "GATEWAY_ATTEMPTS_RATE": "0.2", "GATEWAY_ITEMS_LIMIT": "500", "GATEWAY_ELEMENTS_LIMIT": "10000",
    }  # fmt: skip
    with gateway(tmp_path, "--demo", **small) as g:
        me = {"subject": {"reference": f"Patient/{g.patient}"}, "lifecycleStatus": "active", "description": {"text": "Walk"}}
        assert g.call("patient", "POST", "Goal", body={**nested(9), **me}).status_code == 201
        deep = g.call("patient", "POST", "Goal", body={**nested(11), **me})
        assert deep.status_code == 400 and "9 levels" in deep.text
        crowd = g.call("patient", "POST", "Goal", body={"resourceType": "Goal", **me, "note": [{"text": "a"}] * 501})
        assert crowd.status_code == 413 and "501 items" in crowd.text
        fits = g.call("patient", "POST", "Goal", body={"resourceType": "Goal", **me, "note": [{"text": "a"}] * 500})
        assert fits.status_code == 201, fits.text
        wide = g.call("patient", "POST", "Goal", body={"resourceType": "Goal", "contained": [{f"n{i}": 1 for i in range(2_000)} for _ in range(6)]})
        assert wide.status_code == 413 and "10000 are the most" in wide.text
        entry = {"request": {"method": "GET", "url": "Goal"}}
        for type in ("batch", "transaction"):
            assert g.call("patient", "POST", "", body={"resourceType": "Bundle", "type": type, "entry": [entry] * 3}).status_code == 200
            many = g.call("patient", "POST", "", body={"resourceType": "Bundle", "type": type, "entry": [entry] * 4})
            assert many.status_code == 413 and "3 entries" in many.text
        assert g.get("patient", "Goal?_id=a,b").status_code == 200
        values = g.get("patient", "Goal?_id=a,b,c")
        assert values.status_code == 400 and "2 values" in values.text
        for path in ("Goal?_count=60", "AuditEvent?_count=60", f"Patient/{g.patient}/$everything?_count=60", "Goal/_history?_count=60"):
            found = g.get("patient", path)
            assert found.status_code == 200 and len(found.json()["entry"]) <= 50, path
        assert "_count=50" in g.get("patient", "Goal?_count=60").json()["link"][0]["url"]
        assert "from 1 to 50" in g.get("patient", f"Patient/{g.patient}/$everything?_count=0").text
        plan = g.get("patient", f"/plans/{g.patient}")
        assert plan.status_code == 200 and len(plan.json()["goals"]) > 1, "a plan is not cut"
        tried = [g.call(None, "GET", "Goal", headers={"Authorization": "Bearer made-up"}).status_code for _ in range(6)]
        assert tried[:4] == [401] * 4 and tried[-1] == 429


def test_a_patch_makes_nothing_that_a_body_may_not_be(tmp_path: Path) -> None:
    with gateway(tmp_path, "--demo", GATEWAY_BODY_LIMIT="200000", GATEWAY_ITEMS_LIMIT="500") as g:
        me = {"resourceType": "Goal", "subject": {"reference": f"Patient/{g.patient}"}, "lifecycleStatus": "active", "description": {"text": "Walk"}}
        made = g.call("patient", "POST", "Goal", body={**me, "note": [{"text": "a"}] * 40}).json()
        headers = {"Content-Type": "application/json-patch+json", "If-Match": 'W/"1"'}

        def patched(*operations: dict[str, Any]) -> httpx2.Response:
            return g.call("patient", "PATCH", f"Goal/{made['id']}", body=list(operations), headers=headers)

        long = {"op": "add", "path": "/note/0/text", "value": "x" * 30_000}
        copies = [{"op": "copy", "from": "/note/0/text", "path": f"/note/{n}/text"} for n in range(1, 40)]
        grown = patched(long, *copies)
        assert grown.status_code == 413 and "200000 are the most" in grown.text
        many = patched(*[{"op": "add", "path": "/note/-", "value": {"text": "b"}}] * 461)
        assert many.status_code == 413 and "501 items" in many.text
        much = patched({**long, "value": "x" * 190_000}, *[{"op": "copy", "from": "/note/0/text", "path": f"/note/{n}/text"} for n in range(1, 40)])
        assert much.status_code == 413 and "copies and moves too much" in much.text
        assert g.get("patient", f"Goal/{made['id']}").json()["meta"]["versionId"] == "1"
        assert patched(long).status_code == 200


def test_a_consent_holds_five_hundred_rules_at_most(demo: Gateway) -> None:
    def of(rules: int) -> dict[str, Any]:
        return consent(demo.patient, *[permit("Practitioner/x")] * (rules - 1))

    refused = demo.call("patient", "POST", "Consent", body=of(501))
    assert refused.status_code == 422 and "this one has 501" in refused.text
    assert "this one has" not in demo.call("patient", "POST", "Consent/$validate", body=of(500)).text
