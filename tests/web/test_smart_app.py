"""Other people's SMART client (npm `fhirclient`) in a real browser, on a page of another origin: launches, CORS, refresh."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from ..conftest import Gateway
from ..interop.test_clients import node

pytestmark = pytest.mark.interop
PAGES = Path(__file__).parent / "smart_app"
PASSWORD = "demo-only-password"
SCOPES = "openid fhirUser launch launch/patient offline_access patient/*.rs patient/Goal.cu"


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory, demo: Gateway) -> Iterator[str]:
    """The app's own web server; the app is registered with it."""
    place = tmp_path_factory.mktemp("app")
    library = node("fhirclient") / "node_modules/fhirclient/build/fhir-client.js"
    for file in (*PAGES.glob("*.html"), library):
        (place / file.name).write_bytes(file.read_bytes())
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(place)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    here = f"http://127.0.0.1:{server.server_port}"
    demo.lines(
        "clients", "add", "foreign-page", "--name", "A foreign page", "--scopes", SCOPES, "--redirect", f"{here}/app.html", "--origin", here,
        "--launch", f"{here}/launch.html", "--json",
    )  # fmt: skip
    yield here
    server.shutdown()


def sign_in(page: Any, who: str) -> None:
    page.get_by_label("Your sign-in name").fill(who)
    page.get_by_label("Your password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()


def told(page: Any) -> dict[str, Any]:
    page.wait_for_function("document.title === 'done' || document.title === 'failed'", timeout=30_000)
    text = page.locator("#said").inner_text()
    assert page.title() == "done", text
    found: dict[str, Any] = json.loads(text)
    return found


def assert_worked(demo: Gateway, said: dict[str, Any], user: str) -> None:
    assert said["patient"] == said["again"] == demo.patient and said["read"] == "Patient" and said["goals"] >= 3
    assert said["user"].endswith(user)
    assert said["etag"] == 'W/"1"' and "/Goal/" in said["place"] and said["changed"] == "2", "the page reads these headers across origins"
    assert said["refreshed"] and said["refused"] == 0


def test_a_page_signs_a_person_in_and_works_in_their_name(chromium: Any, demo: Gateway, origin: str) -> None:
    context = chromium.new_context()
    page = context.new_page()
    page.goto(f"{origin}/launch.html?base={demo.base}/fhir")
    sign_in(page, "patient")
    page.get_by_text("A foreign page").first.wait_for(timeout=10_000)
    page.get_by_role("button", name="Yes, let it").click()
    assert_worked(demo, told(page), f"Patient/{demo.patient}")
    page.goto(f"{demo.base}/account/apps")
    page.get_by_role("button", name="Stop this app").click()
    page.get_by_text("The app is stopped.").wait_for(timeout=10_000)
    context.close()


def test_staff_choose_for_whom(chromium: Any, demo: Gateway, origin: str) -> None:
    context = chromium.new_context()
    page = context.new_page()
    page.goto(f"{origin}/launch.html?base={demo.base}/fhir")
    sign_in(page, "gp")
    page.get_by_label("Amina").check()
    page.get_by_role("button", name="Next").click()
    page.get_by_text("It is for the plan of Amina").wait_for(timeout=10_000)
    page.get_by_role("button", name="Yes, let it").click()
    assert_worked(demo, told(page), demo.persona("gp")["fhirUser"])
    context.close()


def test_an_app_is_opened_from_a_persons_page(chromium: Any, demo: Gateway, origin: str) -> None:
    """EHR launch: our page says `iss` and `launch`, the app brings them back, nobody is asked for whom."""
    context = chromium.new_context()
    page = context.new_page()
    page.goto(f"{demo.base}/sign-in")
    sign_in(page, "gp")
    page.goto(f"{demo.base}/team/people/{demo.patient}")
    page.get_by_role("link", name="Open an app for this person").click()
    page.get_by_role("button", name="Open A foreign page").click()
    page.get_by_role("button", name="Yes, let it").click()
    assert_worked(demo, told(page), demo.persona("gp")["fhirUser"])
    context.close()


def test_a_page_of_an_origin_that_nobody_registered_reads_nothing(chromium: Any, demo: Gateway, origin: str) -> None:
    context = chromium.new_context()
    page = context.new_page()
    page.goto(origin.replace("127.0.0.1", "localhost") + "/launch.html?base=nothing")
    ask = "([url, token]) => fetch(url, {headers: {Authorization: `Bearer ${token}`}}).then(r => r.status, e => e.name)"
    token = demo.persona("gp")["token"]
    assert page.evaluate(ask, [f"{demo.base}/fhir/Goal", token]) == "TypeError"
    assert page.evaluate(ask, [f"{demo.base}/fhir/metadata", token]) == 200
    page.goto(f"{origin}/launch.html?base=nothing")
    assert page.evaluate(ask, [f"{demo.base}/fhir/Goal", token]) == 200
    context.close()
