"""What leaves for a partner: all its labels, and no place of somebody at risk, those sent before included."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from .conftest import Gateway
from .test_remotes import HUB, partnered, recorder

RISK = {"system": "https://fhir-gateway.example/CodeSystem/handling", "code": "location-protected"}
TAGGED = {"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "NODSCLCDS"}
ODD = {"system": "http://labels.example", "code": "our-own-word"}


def meta(g: Gateway, what: str) -> Any:
    sent = {"resourceType": "Parameters", "parameter": [{"name": "meta", "valueMeta": {"security": [RISK]}}]}
    return g.call("patient", "POST", f"Patient/{g.patient}/${what}", body=sent)


def test_places_leave_no_more_and_labels_always(tmp_path: Path) -> None:
    with recorder() as hub, partnered(tmp_path, {**HUB, "url": hub.url}) as g:
        me = {"reference": f"Patient/{g.patient}"}
        now = g.get("patient", f"Patient/{g.patient}")
        body = {**now.json(), "address": [{"city": "Hiddenham"}], "telecom": [{"system": "phone", "value": "07700 900001"}]}
        assert g.call("patient", "PUT", f"Patient/{g.patient}", body=body, headers={"If-Match": now.headers["etag"]}).status_code == 200
        task = {"resourceType": "Task", "status": "draft", "intent": "plan", "description": "Visit", "for": me, "location": {"display": "Rose House", "type": "Location"}}
        assert g.call("patient", "POST", "Task", body=task).status_code == 201
        goal = {"resourceType": "Goal", "lifecycleStatus": "active", "description": {"text": "Labelled"}, "subject": me, "meta": {"security": [TAGGED, ODD]}}
        assert g.call("patient", "POST", "Goal", body=goal).status_code == 201
        assert g.command("sync", "run", "--once").returncode == 0
        there = json.dumps(hub.held)
        assert "Hiddenham" in there and "Rose House" in there
        (labelled,) = [r for r in hub.held.values() if r.get("description") == {"text": "Labelled"}]
        assert {"NODSCLCDS", "our-own-word"} <= {c["code"] for c in labelled["meta"]["security"]}
        assert meta(g, "meta-add").status_code == 200
        assert g.command("sync", "run", "--once").returncode == 0
        there = json.dumps(hub.held)
        assert "Labelled" in there and not any(s in there for s in ("Hiddenham", "07700 900001", "Rose House"))
        assert meta(g, "meta-delete").status_code == 200
        assert g.command("sync", "run", "--once").returncode == 0
        there = json.dumps(hub.held)
        assert "Hiddenham" in there and "Rose House" in there
        assert g.get("patient", f"Patient/{g.patient}").json()["address"] == [{"city": "Hiddenham"}]
