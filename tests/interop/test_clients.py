"""FHIR clients that other people wrote: they find the sign-in, read, page through a search, create, update and are told 412.

Each drives the same story on the demo as its GP and says what it saw.
"""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import subprocess
import sys
from html import unescape
from pathlib import Path
from typing import Any

import httpx2
import pytest

from fhir_gateway.auth import clients
from fhir_gateway.store import sqlite

from ..conftest import ROOT, Gateway
from .peers import WORK, from_npm

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
    return from_npm("clients", CLIENTS)


def test_processes_that_want_the_same_packages_at_once_find_them_whole() -> None:
    """Whoever came second once read files that the first had not written yet."""
    look = "from tests.interop.test_clients import node; p = node('fhirclient'); print((p / 'node_modules/fhirclient/build/fhir-client.js').stat().st_size)"
    both = [subprocess.Popen([sys.executable, "-c", look], stdout=subprocess.PIPE, text=True, cwd=ROOT) for _ in range(2)]
    sizes = [process.communicate(timeout=300)[0].strip() for process in both]
    assert sizes[0] == sizes[1] and int(sizes[0]) > 10_000


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


BACK = "http://127.0.0.1:9/back"


def registered(demo: Gateway, app: clients.Client) -> None:
    async def add() -> None:
        (file,) = demo.data.rglob("*.sqlite")
        store = await sqlite.open(file)
        try:
            await clients.add(store, app)
        finally:
            await store.close()

    asyncio.run(add())


def approved(demo: Gateway, url: str, username: str) -> str:
    """What a browser does with the address an app sends it to: sign in, say yes, be sent back. Answers where to."""

    def fields(page: str) -> dict[str, str]:
        return {k: unescape(v) for k, v in re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', page)}

    with httpx2.Client(base_url=demo.base, follow_redirects=True, headers={"Origin": demo.base}) as browser:
        page = browser.get(url)
        assert page.url.path == "/sign-in", page.text
        typed = {"username": username, "password": "demo-only-password"}
        page = browser.post("/sign-in", data=fields(page.text) | typed)
        assert page.url.path == "/oauth/authorize", page.text
        answer = browser.post("/oauth/authorize", data=fields(page.text) | {"decision": "approve"}, follow_redirects=False)
        assert answer.status_code == 303, answer.text
        return answer.headers["location"]


def test_fhirclient_signs_in_by_itself(demo: Gateway) -> None:
    """The SMART team's client: finds the sign-in in the CapabilityStatement, PKCE, the person's yes, then the story."""
    smart = pytest.importorskip("fhirclient.client", reason="fhirclient is not installed (group all)")
    from fhirclient.models.codeableconcept import CodeableConcept
    from fhirclient.models.fhirreference import FHIRReference
    from fhirclient.models.goal import Goal
    from requests import HTTPError

    scopes = "openid fhirUser user/Goal.cruds user/Patient.rs"
    registered(demo, clients.Client("foreign-app", "app", "A foreign app", scopes=scopes, redirect_uris=(BACK,)))
    before = goals(demo)
    app = smart.FHIRClient({
        "app_id": "foreign-app", "api_base": f"{demo.base}/fhir", "redirect_uri": BACK, "scope": scopes, "patient_id": demo.patient,
    })  # fmt: skip
    assert not app.prepare()
    back = approved(demo, app.authorize_url, "gp")
    assert back.startswith(BACK)
    app.handle_callback(back)
    assert app.ready and app.patient.id == demo.patient and app.human_name(app.patient.name[0])
    search = {"patient": demo.patient, "_count": "1", "_total": "accurate"}
    seen: dict[str, Any] = {"ids": [g.id for g in Goal.where(search).perform_resources_iter(app.server)]}
    seen["total"] = Goal.where(search).perform(app.server).total
    goal = Goal()
    goal.lifecycleStatus, goal.description, goal.subject = "proposed", CodeableConcept({"text": "Walk to the mill"}), FHIRReference({"reference": f"Patient/{demo.patient}"})
    seen["created"] = goal.create(app.server)["id"]
    goal = Goal.read(seen["created"], app.server)
    app.server.session.headers["If-Match"] = f'W/"{goal.meta.versionId}"'  # fhirclient has no argument for it
    goal.lifecycleStatus = "active"
    seen["version"] = goal.update(app.server)["meta"]["versionId"]
    goal.lifecycleStatus = "on-hold"
    with pytest.raises(HTTPError) as refused:
        goal.update(app.server)
    seen["stale"], seen["outcome"] = refused.value.response.status_code, refused.value.response.json()["resourceType"]
    assert_story(demo, seen, before)
