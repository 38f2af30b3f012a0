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

from .conftest import ROOT, Gateway

README = (ROOT / "README.md").read_text()


def test_the_story_runs_as_printed(demo: Gateway) -> None:
    if not shutil.which("curl"):
        pytest.skip("curl is not here: the README's block is not run")
    (block,) = re.findall(r"```bash\n(.*?)```", README, re.S)
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    env = demo.env | {"PATH": path, "GATEWAY_BASE_URL": demo.base}
    done = subprocess.run(["bash", "-eu", "-o", "pipefail", "-c", block], env=env, capture_output=True, text=True, cwd=demo.data.parent)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "404" in done.stdout


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
