"""Row 29, HertsHelp: a hub's navigators bring a thousand services in, and find the ones near somebody."""

from __future__ import annotations

import json
import time
from pathlib import Path

from ..conftest import Gateway
from ..directories import DISTRICTS, as_csv, tables
from ..web.test_doors import as_
from .referring import ask, cannot_ask, entries, knows_nothing_of, task_of

DISTRICT = "https://fhir-gateway.example/id/postcode-district"


def test_a_thousand_services_come_in_and_a_navigator_finds_those_near_somebody(demo: Gateway, tmp_path: Path) -> None:
    for name, raw in as_csv(tables(1000, 250)).items():
        (tmp_path / name).write_bytes(raw)
    began = time.monotonic()
    done = demo.command("directory", "import", str(tmp_path), "--source", "hub", "--json")
    took = time.monotonic() - began
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert (said["services"], said["refused"]) == (1000, 0) and took < 60, f"{took:.1f} s; about 5 where nothing else runs"
    assert "Ann Persona" not in demo.get("link-worker", "HealthcareService?_count=200").text, "whom to ring is a service, not a person"

    navigator = as_(demo, "link-worker")
    kind = f"{'https://directory.example/kinds'}|befriending"
    page = navigator.get(f"/services?near=NR30&kind={kind}")
    assert page.status_code == 200 and "Befriending" in page.text and "Lunch club" not in page.text
    began = time.monotonic()
    near = demo.get("link-worker", f"HealthcareService?coverage-area.identifier={DISTRICT}|NR30&service-category={kind}&_count=200").json()
    assert time.monotonic() - began < 5
    here = {f"Befriending {n}" for n in range(0, 1000, 10) if n % 3 == 0 or DISTRICTS[n % len(DISTRICTS)] == "NR30"}
    assert {e["resource"]["name"] for e in near["entry"]} == here and near["total"] == len(here) < 100, "those that cover NR30 or stand in it"
    assert demo.get("link-worker", f"HealthcareService?coverage-area.identifier={DISTRICT}|ZE1&service-category={kind}").json()["total"] == 0
    assert "Befriending" not in navigator.get(f"/services?near=ZE1&kind={kind}").text.split("<main", 1)[1].split("<form", 1)[0], "none in Shetland"

    elsewhere = {"resourceType": "HealthcareService", "active": True, "name": "My own"}
    for who in ("link-worker", "gp"):
        assert demo.call(who, "POST", "HealthcareService", body=elsewhere).status_code == 403, "the directory is the operator's to fill"
    somebody = near["entry"][0]["resource"]["id"]
    cannot_ask(navigator, somebody, demo.patient)
    knows_nothing_of(demo, "link-worker", f"Patient/{demo.patient}")  # near whom it is they know from whom they talk to, not from a record

    ask(as_(demo, "gp"), somebody, demo.patient, why="She is alone since the spring")
    task = task_of(demo, near["entry"][0]["resource"]["name"], "gp")
    (request,) = entries(demo, f"ServiceRequest?_id={task['focus']['reference'].split('/')[1]}", "gp")
    assert {"reference": f"HealthcareService/{somebody}"} in [{"reference": w["reference"]} for w in request["performer"]], "who looks after her sends her to one of them"
    knows_nothing_of(demo, "stranger", f"Task/{task['id']}", f"ServiceRequest/{request['id']}")

    gone = tables(999, 250)
    for name, raw in as_csv(gone).items():
        (tmp_path / name).write_bytes(raw)
    second = json.loads(demo.command("directory", "import", str(tmp_path), "--source", "hub", "--json").stdout)
    assert (second["written"], second["inactive"]) == (0, 1), "what is gone stays, for the referrals that were made to it"
    assert "999" not in [s["resource"]["name"].rsplit(" ", 1)[1] for s in demo.get("link-worker", "HealthcareService?active=true&name=transport&_count=200").json()["entry"]]
