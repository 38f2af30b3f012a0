"""Leave this page, in a real browser: by keyboard, by Shift three times, without JavaScript, in another window; and what Back shows."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from ..conftest import Gateway, gateway
from .test_browser import Reader

pytestmark = pytest.mark.e2e
OF_HERS = re.compile("What matters to me|Amina|Mina")


class Weather(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        said = b"<!DOCTYPE html><html lang=en><title>Weather</title><link rel=icon href=data:,><h1>Rain later</h1>"
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(said)))
        self.end_headers()
        self.wfile.write(said)

    def log_message(self, *said: Any) -> None: ...


@pytest.fixture(scope="module")
def weather() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Weather)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}/weather"
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def left(tmp_path_factory: pytest.TempPathFactory, weather: str) -> Iterator[Gateway]:
    with gateway(tmp_path_factory.mktemp("leave"), "--demo", GATEWAY_LEAVE_URL=weather) as g:
        yield g


def at_her_plan(chromium: Any, left: Gateway, pictures: Path, width: int, **more: Any) -> Reader:
    r = Reader(chromium, left, pictures, width, **more)
    r.sign_in("patient")
    r.page.get_by_role("heading", level=1).wait_for()
    return r


def nothing_of_hers_behind(r: Reader, weather: str) -> None:
    """Wherever Back leads."""
    r.page.wait_for_url(weather)
    assert r.page.get_by_role("heading", name="Rain later").is_visible()
    for _ in range(3):
        r.page.go_back(wait_until="load")
        assert not OF_HERS.search(r.page.content()), r.page.url
    r.page.goto(f"{r.demo.base}/my-plan")
    assert "/sign-in" in r.page.url, "the session has ended"
    r.context.close()


@pytest.mark.parametrize("language", ["en", "ur"])
def test_by_keyboard_from_the_end_of_a_long_page_on_a_small_screen(chromium: Any, left: Gateway, pictures: Path, weather: str, language: str) -> None:
    r = at_her_plan(chromium, left, pictures, 320)
    r.context.add_cookies([{"name": "language", "value": language, "url": left.base}])
    r.open("/my-plan", f"leave-{language}")
    name = {"en": "Leave this page", "ur": "اس صفحے سے نکل جائیں"}[language]
    button = r.page.get_by_role("button", name=name, exact=True)
    r.page.keyboard.press("Tab")
    r.page.keyboard.press("Tab")
    assert button.evaluate("e => e === document.activeElement"), "first after the link that skips"
    for _ in range(40):
        r.page.keyboard.press("Tab")
        top, bar = r.page.evaluate("[document.activeElement.getBoundingClientRect().bottom, document.querySelector('.app-leave').getBoundingClientRect().bottom]")
        assert top > bar, "what has the focus is not behind it"
    r.page.evaluate("scrollTo(0, document.body.scrollHeight)")
    box = button.bounding_box()
    assert box and 0 <= box["y"] < 60 and box["height"] >= 24 and box["x"] >= 0 and box["x"] + box["width"] <= 320, "in sight wherever the page stands"
    r.page.screenshot(path=str(pictures / f"leave-scrolled-{language}-320.png"))
    button.focus()
    r.page.keyboard.press("Enter")
    r.page.wait_for_url(weather)
    r.page.go_back(wait_until="load")
    assert not r.page.url.endswith("/my-plan"), "the page that was left is no step to go back to"
    r.page.goto(weather)
    nothing_of_hers_behind(r, weather)


def test_shift_three_times_and_another_window_leaves_too(chromium: Any, left: Gateway, pictures: Path, weather: str) -> None:
    r = at_her_plan(chromium, left, pictures, 1280)
    other = r.context.new_page()
    other.goto(f"{left.base}/my-plan/sharing")
    r.page.clock.install(time="2026-11-27T12:00:00")
    r.open("/my-plan/who-looked", "leave")
    r.page.clock.pause_at("2026-11-27T13:00:00")  # it stands still from here on, but for what is said below
    status = r.page.locator(".app-leave [role=status]")
    for key in ("Shift", "Shift"):
        r.page.keyboard.press(key)
    r.page.clock.run_for(5_000)
    assert status.inner_text() == "You stay on this page."
    for key in ("Shift", "Shift", "Shift+KeyA", "Shift"):
        r.page.keyboard.press(key)
    assert status.inner_text() == "Shift. Press it 2 more times to leave.", "a capital letter begins it anew"
    r.page.keyboard.press("Shift")
    assert status.inner_text() == "Shift. Press it once more to leave."
    r.page.keyboard.press("Shift")
    other.wait_for_url(weather)
    assert not OF_HERS.search(other.content())
    nothing_of_hers_behind(r, weather)


def test_without_javascript(chromium: Any, left: Gateway, pictures: Path, weather: str) -> None:
    r = at_her_plan(chromium, left, pictures, 320, scripts=False)
    r.page.goto(f"{left.base}/my-plan/private")
    r.page.get_by_role("button", name="Leave this page").click()
    nothing_of_hers_behind(r, weather)
