"""The pages of a bad day, in a real browser: too many tries, the store is away, nobody signs in here, an older copy of the records. Each says what to do next, to eyes and to axe."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from ..conftest import gateway
from ..test_log import full
from ..test_restore import running
from .test_browser import WIDTHS, Reader

if TYPE_CHECKING:
    from ..conftest import Gateway

pytestmark = pytest.mark.e2e
EMERGENCY = "If you need help now, call the person or surgery you normally call. In an emergency call 999."


def sorry(r: Reader, name: str, title: str, *says: str, links: bool = True) -> None:
    """The page that is shown now, at each width."""
    main = r.page.locator("main")
    assert r.page.get_by_role("heading", level=1).inner_text() == title and r.page.title().startswith(title), main.inner_text()
    for text in says:
        assert text in main.inner_text(), main.inner_text()
    assert main.get_by_role("link").count() == int(links) and main.locator("form").count() == 0
    r.complaints.clear()  # the browser itself logs a refused page as an error
    for r.width in WIDTHS:
        r.page.set_viewport_size({"width": r.width, "height": 900})
        r.look(name)


def sign_in(r: Reader, password: str) -> Any:
    r.page.goto(f"{r.demo.base}/sign-in")
    r.page.get_by_label("Your sign-in name").fill("gp")
    r.page.get_by_label("Your password").fill(password)
    with r.page.expect_navigation() as shown:
        r.page.get_by_role("button", name="Sign in").click()
    return shown.value


def too_many_tries(r: Reader) -> None:
    tried = next(answer for answer in (sign_in(r, f"not this one {n}") for n in range(40)) if answer.status != 401)
    assert tried.status == 429 and int(tried.headers["retry-after"]) > 0
    sorry(r, "sorry-429", "Please wait a little", "Wait a few minutes, then try again.", "Go to the start page")


def the_store_is_away(r: Reader, g: Gateway) -> None:
    """Its disk is full: nothing can be written down."""
    with full(g):
        refused = sign_in(r, "demo-only-password")
        assert refused.status == 503 and refused.headers["retry-after"], refused.status
    sorry(r, "sorry-503", "Sorry, this is not working right now", "Nothing was lost and nothing was changed.", "What you sent was not kept. Go back to it in your browser, and send it again when this works.", EMERGENCY, "Go to the start page")
    assert sign_in(r, "demo-only-password").status == 200, "and it works again"


def test_each_says_what_to_do_next(chromium: Any, pictures: Path, tmp_path: Path) -> None:
    with gateway(tmp_path, "--demo") as g:
        g.lines("backup", str(tmp_path / "older.zip"), "--json")
        r = Reader(chromium, g, pictures, WIDTHS[0])
        the_store_is_away(r, g)
        too_many_tries(Reader(chromium, g, pictures, WIDTHS[0]))
        g.stop()

        here = dict(g.env)
        g.env |= {"GATEWAY_ISSUER": "https://issuer.example", "GATEWAY_AUDIENCE": f"{g.base}/fhir", "GATEWAY_BUILT_IN_ISSUER": "false"}
        g.start()
        r = Reader(chromium, g, pictures, WIDTHS[0])
        r.page.goto(f"{g.base}/sign-in")
        sorry(r, "sign-in-elsewhere", "You cannot sign in here", "in the app or website that your care service gave you", "Ask the people who care for you", "Go to the start page")
        g.stop()

        g.env = here
        done = g.command("restore", str(tmp_path / "older.zip"))
        assert done.returncode == 0 and "sealed" in done.stdout, done.stderr
        with running(g, sealed=True):
            r = Reader(chromium, g, pictures, WIDTHS[0])
            for path in ("/", "/my-plan"):
                shown = r.page.goto(f"{g.base}{path}")
                assert shown is not None and shown.status == 503 and shown.headers["retry-after"] == "60"
                sorry(r, "sorry-sealed", "Sorry, this is closed for now", "Nobody can see anything here until then.", EMERGENCY, links=False)
