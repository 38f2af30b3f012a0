"""A foreign launcher page in a real browser: one press, and the person's one screen; and what a clinician sees when it does not work."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from ..conftest import Gateway
from ..launcher import AMINA, Ehr
from .launching import launched_from
from .test_browser import Reader
from .test_doors import PASSWORD
from .test_launch import HIS, beside_her

pytestmark = pytest.mark.e2e
WORDS = "If I fall or cannot get up"


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Ehr, Gateway]]:
    ehr = Ehr()
    with launched_from(ehr, tmp_path_factory.mktemp("launch")) as g:
        yield ehr, g
    ehr.stop()


def at_the_desk(r: Reader, ehr: Ehr, press: str, **more: str) -> None:
    r.page.goto(f"{ehr.base}/desk?{urlencode({'app': r.demo.base, **more})}")
    r.page.get_by_role("link", name=press).click()


@pytest.mark.parametrize("width", [1280, 320])
def test_a_press_at_their_desk_opens_the_persons_one_screen(started: tuple[Ehr, Gateway], chromium: Any, pictures: Path, width: int) -> None:
    ehr, g = started
    r = Reader(chromium, g, pictures, width)
    at_the_desk(r, ehr, "Shared plan")
    r.page.get_by_text(WORDS).first.wait_for(timeout=30_000)
    assert r.page.url == f"{g.base}/team/people/{g.patient}/in-a-hurry"
    r.complaints.clear()  # the desk has no favicon
    r.look("launched")
    assert [c["name"] for c in r.context.cookies(g.base)] == ["session"], "nothing is left of how they came"
    r.context.close()


def test_two_windows_of_one_browser_stay_with_their_own_person(started: tuple[Ehr, Gateway], chromium: Any, pictures: Path, tmp_path: Path) -> None:
    """The one that was opened first is loaded again by the sign-in of the other."""
    ehr, g = started
    his = beside_her(g, ehr, tmp_path)
    r = Reader(chromium, g, pictures, 1280)
    other = r.context.new_page()
    for page, launch in ((r.page, "amina-is-open"), (other, "bo-is-open")):
        page.goto(f"{g.base}/launch?{urlencode({'iss': ehr.iss, 'launch': launch})}")
    r.page.get_by_text(WORDS).first.wait_for(timeout=30_000)
    other.get_by_text(HIS).first.wait_for(timeout=30_000)
    r.page.reload()
    r.page.get_by_text(WORDS).first.wait_for(timeout=30_000)
    assert r.page.url == f"{g.base}/team/people/{g.patient}/in-a-hurry" and HIS not in r.page.content()
    assert other.url == f"{g.base}/team/people/{his}/in-a-hurry" and WORDS not in other.content()
    r.context.close()


def test_a_link_at_their_desk_asks_who_it_is_and_leads_to_the_same_screen(started: tuple[Ehr, Gateway], chromium: Any, pictures: Path) -> None:
    ehr, g = started
    link = g.call("gp", "POST", f"/patients/{g.patient}/link").json()["url"]
    r = Reader(chromium, g, pictures, 320)
    at_the_desk(r, ehr, "By a link", link=link)
    r.page.get_by_label("Your sign-in name").fill("gp")
    r.page.get_by_label("Your password").fill(PASSWORD)
    r.press("Sign in")
    r.page.get_by_text(WORDS).first.wait_for(timeout=30_000)
    assert r.page.url == f"{g.base}/team/people/{g.patient}/in-a-hurry" and g.patient not in link
    r.context.close()


@pytest.mark.parametrize(("language", "width"), [("en", 1280), ("en", 320), ("cy", 320), ("ur", 320)])
def test_who_is_not_let_in_is_told_so_in_their_language_and_nothing_of_anybody(started: tuple[Ehr, Gateway], chromium: Any, pictures: Path, language: str, width: int) -> None:
    ehr, g = started
    ehr.patient = {**AMINA, "birthDate": "1951-04-08"}
    r = Reader(chromium, g, pictures, width)
    r.context.add_cookies([{"name": "language", "value": language, "url": g.base}])
    at_the_desk(r, ehr, "Shared plan")
    r.page.get_by_role("heading", level=1, name={"en": "The plan was not opened", "cy": "Ni chafodd y cynllun ei agor", "ur": "پلان نہیں کھولا گیا"}[language]).wait_for(timeout=30_000)
    assert "Amina" not in r.page.content() and r.page.locator("html").get_attribute("lang") == language
    r.complaints.clear()  # the browser itself logs a refused page as an error
    r.look(f"not-launched-{language}")
    r.context.close()
    ehr.usual()
