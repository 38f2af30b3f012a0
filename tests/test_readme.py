"""The README's commands, run as they stand against the demo."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from fhir_gateway.domain.problem import KINDS
from fhir_gateway.settings import Settings

from .conftest import ROOT, Gateway, gateway

README = (ROOT / "README.md").read_text()


SAID = """
equal
0
Amina's plan
200
404
No. The person has not said anything about this, and nothing else opens it to them. A yes of the person that names them and this would open it.
200
True
0
404
one effect
0
accepted
True
""".split("\n")[1:-1]


def story(demo: Gateway) -> list[str]:
    """The block of the README in the shell of somebody who set no more than a port: the lines it prints."""
    if not shutil.which("curl"):
        pytest.skip("curl is not here: the README's block is not run")
    (block,) = re.findall(r"```bash\n(.*?)```", README, re.S)
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"  # where `$PWD/.venv/bin` is in a newcomer's folder
    shell = ["bash", "-eu", "-o", "pipefail", "-c", block]
    done = subprocess.run(shell, env=demo.env | {"PATH": path}, capture_output=True, text=True, cwd=demo.data.parent)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.splitlines()


def test_the_story_runs_as_printed(demo: Gateway) -> None:
    lines = story(demo)
    assert lines[: len(SAID)] == SAID, lines
    seen, last = lines[len(SAID) : -1], lines[-1]
    assert {"Rosa Lind", "Ben Okafor", "Told no"} <= {line.split(maxsplit=1)[1].partition(",")[0].strip() for line in seen}, seen
    assert any("because you have not shared this with them" in line for line in seen) and any("because you said yes" in line for line in seen)
    assert last == "Walked on the ward"


@pytest.mark.slow
def test_the_story_can_be_pasted_twice(tmp_path: Path) -> None:
    with gateway(tmp_path, "--demo") as g:
        first, second = story(g), story(g)
        assert first[: len(SAID)] == SAID and first[-1] == second[-1] and "one effect" in second


@pytest.mark.parametrize("page", ["docs/examples.md", "docs/validation.md", "docs/mapping.md", "docs/partners.md", "docs/emergencies.md", "docs/apps.md", "docs/notes", "benchmarks"])
def test_the_readme_leads_to_every_page(page: str) -> None:
    assert f"]({page})" in README and (ROOT / page).exists()


def test_every_page_is_on_the_list_of_pages() -> None:
    listed = set(re.findall(r"\]\(([a-z0-9-]+\.md)\)", (ROOT / "docs/README.md").read_text()))
    assert listed == {p.name for p in (ROOT / "docs").glob("*.md")} - {"README.md"}


def test_the_tables_are_current() -> None:
    done = subprocess.run([sys.executable, ROOT / "scripts/readme", "--check"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_every_problem_kind_is_named() -> None:
    assert not [k for k in KINDS if f"`{k}`" not in README]


def test_health_and_metrics(demo: Gateway) -> None:
    assert demo.get(None, "/health").json() == {"status": "ok"}
    assert "gateway_answers_total" in demo.get(None, "/metrics").text


def test_a_start_page_and_a_page_for_no_address(demo: Gateway) -> None:
    assert demo.get(None, "/", Accept="text/html").status_code == 200
    missing = demo.get(None, "/nowhere", Accept="text/html")
    assert missing.status_code == 404 and "text/html" in missing.headers["content-type"]
    assert demo.get(None, "/nowhere").json()["resourceType"] == "OperationOutcome"


def test_the_mapping_page_is_current() -> None:
    done = subprocess.run([sys.executable, ROOT / "scripts/mapping-page", "--check"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_layers_are_those_that_ci_holds() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    (house,) = [c for c in project["tool"]["importlinter"]["contracts"] if c["type"] == "layers"]
    assert house["exhaustive"], "every top-level module has its place"
    assert f"`{' > '.join(house['layers'])}`" in README


def test_what_resets_the_demo_is_everything_that_it_writes() -> None:
    """The journal of a store is not in its folder: whoever deletes the store alone leaves it behind."""
    (sentence,) = re.findall(r"Deleting (`[^;]+?) resets it", README)
    s = Settings(data=Settings.model_fields["data"].default, journal=None)
    assert re.findall(r"`(.+?)/`", sentence) == [str(s.data), str(s.journal_path)]
