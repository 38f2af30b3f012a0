"""A foreign launcher page in a real browser: one press, and the person's one screen; and what a clinician sees when it does not work."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ..launcher import AMINA, Ehr
from .launching import launched_from
from .test_browser import Reader

pytestmark = pytest.mark.e2e


def test_a_press_at_their_desk_opens_the_persons_one_screen(chromium: Any, tmp_path: Path, pictures: Path) -> None:
    ehr = Ehr()
    try:
        with launched_from(ehr, tmp_path) as g:
            r = Reader(chromium, g, pictures, 1280)
            r.page.goto(f"{ehr.base}/desk?app={g.base}")
            r.page.get_by_role("link", name="Shared plan").click()
            r.page.get_by_text("If I fall or cannot get up").first.wait_for(timeout=10_000)
            assert r.page.url == f"{g.base}/team/people/{g.patient}/in-a-hurry"
            r.complaints.clear()  # the desk has no favicon
            r.look("launched")
            r.context.close()
            ehr.patient = {**AMINA, "birthDate": "1951-04-08"}
            other = Reader(chromium, g, pictures, 320)
            other.page.goto(f"{ehr.base}/desk?app={g.base}")
            other.page.get_by_role("link", name="Shared plan").click()
            other.page.get_by_role("heading", name="The plan was not opened").wait_for(timeout=10_000)
            assert "Amina" not in other.page.content()
            other.complaints.clear()  # the browser itself logs a refused page as an error
            other.look("not-launched")
            other.context.close()
    finally:
        ehr.stop()
