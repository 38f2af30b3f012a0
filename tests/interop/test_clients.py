"""FHIR clients that other people wrote: they find the sign-in, read, page through a search, create, update and are told 412.

Each drives the same story on the demo as its GP and says what it saw.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from ..conftest import Gateway
from .peers import WORK

pytestmark = pytest.mark.interop
CLIENTS = Path(__file__).parent / "clients"


def goals(demo: Gateway) -> list[str]:
    page = demo.get("gp", f"Goal?patient={demo.patient}&_count=200").json()
    return [e["resource"]["id"] for e in page["entry"]]


def token(demo: Gateway) -> str:
    return str(demo.persona("gp")["token"])


def ran(command: list[str], place: Path) -> dict[str, Any]:
    done = subprocess.run(command, cwd=place, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-1500:]
    seen: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return seen


def assert_story(demo: Gateway, seen: dict[str, Any], before: list[str]) -> None:
    assert seen["ids"] == before and len(before) >= 3, "every page once, in order"
    assert seen["total"] == len(before)
    assert seen["version"] == "2"
    assert seen["stale"] in (412, "conflict") and seen["outcome"] == "OperationOutcome"
    stored = demo.get("gp", f"Goal/{seen['created']}").json()
    assert stored["lifecycleStatus"] == seen.get("left", "active") and stored["meta"]["versionId"] == seen.get("left_version", "2")


def node(name: str) -> Path:
    if not (shutil.which("node") and shutil.which("npm")):
        pytest.skip(f"Node is not here: {name} is not tried")
    place = WORK / "clients"
    place.mkdir(parents=True, exist_ok=True)
    shutil.copy(CLIENTS / "package.json", place)
    if not (place / "node_modules" / name).is_dir():
        done = subprocess.run(["npm", "install", "--no-audit", "--no-fund"], cwd=place, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr[-1000:]
    for script in CLIENTS.glob("*.mjs"):
        shutil.copy(script, place)
    return place


def test_fhir_kit_client(demo: Gateway) -> None:
    place, before = node("fhir-kit-client"), goals(demo)
    seen = ran(["node", "fhir-kit.mjs", f"{demo.base}/fhir", token(demo), demo.patient], place)
    assert seen["token_endpoint"] == f"{demo.base}/oauth/token" and seen["fhirVersion"] == "4.0.1"
    assert_story(demo, seen, before)


def test_medplum_core(demo: Gateway) -> None:
    place, before = node("@medplum/core"), goals(demo)
    assert_story(demo, ran(["node", "medplum.mjs", f"{demo.base}/", token(demo), demo.patient], place), before)


def test_hapi_generic_client(demo: Gateway) -> None:
    if not (shutil.which("java") and shutil.which("mvn")):
        pytest.skip("Java and Maven are not here: HAPI's client is not tried")
    place = WORK / "hapi-client"
    if not (place / "target/client.jar").exists():
        shutil.copytree(CLIENTS / "java", place, dirs_exist_ok=True)
        done = subprocess.run(["mvn", "-B", "-q", "package"], cwd=place, capture_output=True, text=True, timeout=600)
        assert done.returncode == 0, f"HAPI's client does not build: {done.stdout[-1500:]}"
    before = goals(demo)
    java = ["java", "-cp", "target/client.jar:target/lib/*", "Client", f"{demo.base}/fhir", token(demo), demo.patient]
    seen = ran(java, place)
    assert seen["fhirVersion"] == "4.0.1"
    assert_story(demo, seen, before)


def test_fhirpy(demo: Gateway) -> None:
    fhirpy = pytest.importorskip("fhirpy", reason="fhirpy is not installed (group all)")
    from fhirpy.base.exceptions import MultipleResourcesFound

    def client(**headers: str) -> Any:
        return fhirpy.SyncFHIRClient(f"{demo.base}/fhir", authorization=f"Bearer {token(demo)}", extra_headers=headers)

    before = goals(demo)
    search = client().resources("Goal").search(patient=demo.patient)
    seen: dict[str, Any] = {"ids": [g.id for g in search.limit(1).fetch_all()], "total": search.count()}
    goal = client().resource(
        "Goal", lifecycleStatus="proposed", description={"text": "Walk to the park"}, subject={"reference": f"Patient/{demo.patient}"}
    )
    goal.save()
    seen["created"] = goal.id
    known = {"If-Match": f'W/"{goal["meta"]["versionId"]}"'}
    mine = client(**known).resource("Goal", **goal.serialize())
    mine["lifecycleStatus"] = "active"
    mine.save()
    seen["version"] = mine["meta"]["versionId"]
    mine["lifecycleStatus"] = "on-hold"
    with pytest.raises(MultipleResourcesFound) as refused:  # fhirpy's name for any 412
        mine.save()
    outcome = json.loads(str(refused.value))
    assert outcome["issue"][0]["code"] == "conflict"
    assert_story(demo, seen | {"stale": 412, "outcome": outcome["resourceType"]}, before)
