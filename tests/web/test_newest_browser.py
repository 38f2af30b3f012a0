"""Services, referrals, one-time links, budgets, paper, the one screen, many people and reports in a real browser: axe finds nothing, and nothing sticks out at 320 pixels."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from ..conftest import gateway
from ..directories import as_csv, tables
from ..full_plans import numbers
from ..test_task_links import KINDLY
from .test_browser import Reader
from .test_caseload import plan
from .test_operator import PASSWORD as NEW_PASSWORD
from .test_operator import operator

if TYPE_CHECKING:
    from ..conftest import Gateway

pytestmark = pytest.mark.e2e
SERVICE = "Befriending by the sea, in AveryverylongwordwithoutanyspacewithinitLlanfairpwllgwyngyll"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A demo with a directory of services, a surgery of 60 more people, and an operator (olu)."""
    folder = tmp_path_factory.mktemp("place")
    (folder / "services").mkdir()
    for name, raw in as_csv(tables(30, 5)).items():
        (folder / "services" / name).write_bytes(raw)
    files = []
    for n, number in enumerate(numbers(60)):
        files.append(folder / f"{n}.json")
        files[-1].write_text(json.dumps(plan(n, number)))
    with gateway(folder, "--demo") as g:
        assert g.command("directory", "import", str(folder / "services"), "--json").returncode == 0
        assert all(not b["refused"] for b in g.lines("import", *map(str, files), "--json"))
        (org,) = [e["resource"] for e in g.get("gp", f"Organization?identifier={KINDLY}").json()["entry"]]
        (folder / "sea.json").write_text(json.dumps({"resourceType": "HealthcareService", "active": True, "name": SERVICE, "providedBy": {"reference": f"Organization/{org['id']}"}}))
        assert g.lines("import", str(folder / "sea.json"), "--as", "operator", "--json")[0]["written"] == 1
        operator(g)
        yield g


@pytest.mark.parametrize("width", [1280, 320])
def test_a_service_is_found_asked_for_and_answered_by_a_link(chromium: Any, place: Gateway, pictures: Path, width: int) -> None:
    r = Reader(chromium, place, pictures, width)
    r.sign_in("patient")
    r.open("/services")
    r.open("/services?near=nowhere", "services-mistake", 400)
    r.open("/services?near=NR1&words=walking", "services-found")
    r.open("/services?words=Befriending+sea", "services-one")
    r.page.get_by_role("link", name="Befriending by the sea").click()
    r.look("service")
    r.page.get_by_label(re.compile("^Why")).fill("Company on Sundays")
    r.press("Ask for this")
    r.look("asked")
    assert r.page.get_by_text("It was asked for").is_visible()
    r.page.locator('form[action$="/link"] button').first.click()
    r.look("asked-link")
    (token,) = set(re.findall(r"/task-link/([A-Za-z0-9_-]{20,})", r.page.content()))
    charity = Reader(chromium, place, pictures, width)
    charity.open(f"/task-link/{token}", "task-link")
    charity.press_in_vain("Decline")
    charity.look("task-link-mistake")
    charity.press("Accept")
    charity.look("task-link-accept")
    charity.open(f"/task-link/{'x' * 43}", "task-link-over", 404)
    r.open("/asked", "asked-for")
    r.page.locator('form[action$="/cancel"] button').first.click()
    r.look("asked-cancelled")


@pytest.mark.parametrize("width", [1280, 320])
def test_the_plan_on_paper_and_on_one_screen(chromium: Any, place: Gateway, pictures: Path, width: int) -> None:
    r = Reader(chromium, place, pictures, width)
    r.sign_in("patient")
    r.open("/my-plan/print", "print")
    r.press("Show it as a page to print")
    r.page.get_by_text("History sheet").first.wait_for()
    r.complaints.clear()  # what stands alone on paper has no icon, and the browser asks for one
    r.look("booklet")
    (link,) = set(re.findall(r"/printed/[a-z2-7]{26}", r.page.content()))
    r.open(link, "printed")
    anybody = Reader(chromium, place, pictures, width)
    anybody.open(link, "printed-to-anybody")
    anybody.open(f"/printed/{'a' * 26}", "printed-unknown", 404)
    gp = Reader(chromium, place, pictures, width)
    gp.sign_in("gp")
    gp.open(f"/team/people/{place.patient}/print", "team-print")
    gp.open(f"/team/people/{place.patient}/in-a-hurry", "in-a-hurry")
    gp.open(f"/team/people/{place.patient}/results", "team-results")
    gp.open(f"/asked?for={place.patient}", "team-asked")


@pytest.mark.parametrize("width", [1280, 320])
def test_many_people_and_what_is_learnt_of_all(chromium: Any, place: Gateway, pictures: Path, width: int) -> None:
    r = Reader(chromium, place, pictures, width)
    r.sign_in("gp")
    r.look("team-many-tasks")
    assert r.page.get_by_text("More tasks wait than this page shows").count() == 1
    r.open("/team?name=hill", "team-by-name")
    r.open("/team?name=nobody-at-all", "team-by-no-name")
    olu = Reader(chromium, place, pictures, width)
    olu.sign_in("olu", NEW_PASSWORD)
    olu.open("/operator/partners", "partners")
    olu.open("/operator/reports", "reports")
    for kind in ("coverage", "goals", "unmet-need", "outcomes"):
        olu.open(f"/operator/reports?kind={kind}&by=locality", f"reports-{kind}")
        assert olu.page.get_by_role("table").count() or olu.page.get_by_text("Nothing can be told").count()


@pytest.mark.parametrize("language", ["cy", "ur"])
def test_the_newest_pages_in_other_languages(chromium: Any, place: Gateway, pictures: Path, language: str) -> None:
    r = Reader(chromium, place, pictures, 320)
    r.sign_in("gp")
    r.page.goto(f"{place.base}/language/{language}")
    for path, name in (("/team", "team"), ("/services", "services"), (f"/team/people/{place.patient}/in-a-hurry", "hurry"), (f"/team/people/{place.patient}/print", "print"), (f"/asked?for={place.patient}", "asked"), (f"/team/people/{place.patient}/results", "results")):
        r.open(path, f"{name}-{language}")
        assert r.page.locator(f'html[lang="{language}"]').count() == 1
