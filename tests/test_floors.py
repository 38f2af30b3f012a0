"""An installation with a library that has a known hole does not serve; nor one of another licence than we may ship with."""

from __future__ import annotations

import csv
import json
import re
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest

from fhir_gateway.floors import FLOORS, below, numbers

from .conftest import ROOT, Gateway


def but(name: str, installed: str) -> Callable[[str], str]:
    """What is installed here, but one package in another version."""
    return lambda asked: installed if asked == name else version(asked)


def test_what_is_installed_here_is_new_enough() -> None:
    assert below() is None


@pytest.mark.parametrize("name", FLOORS)
def test_an_older_one_of_each_is_named_with_the_hole_and_what_to_do(name: str) -> None:
    floor = FLOORS[name][0]
    last = (*numbers(floor)[:-1], numbers(floor)[-1] - 1) if numbers(floor)[-1] else (numbers(floor)[0], numbers(floor)[1] - 1, 99)
    older = ".".join(map(str, last))
    said = below(but(name, older))
    assert said is not None and name in said and older in said and floor in said and "CVE-" in said
    assert below(but(name, floor)) is None


def test_versions_compare_as_numbers() -> None:
    assert numbers("1.10.0") > numbers("1.9.9") and numbers("2.0.0rc1") == (2, 0, 0) and numbers("") < numbers("0")

    def missing(asked: str) -> str:
        raise PackageNotFoundError(asked)

    assert below(missing) is None, "what is not there cannot be used"


def test_a_server_with_an_old_library_does_not_start(tmp_path: Path) -> None:
    """The metadata of an old version put before the real ones, as a stale mirror would leave them."""
    old = tmp_path / "old" / "jinja2-2.0.dist-info"
    old.mkdir(parents=True)
    (old / "METADATA").write_text("Metadata-Version: 2.1\nName: jinja2\nVersion: 2.0\n")
    refused = Gateway(tmp_path / "data", 1, {"PYTHONPATH": str(tmp_path / "old")}).command("clients", "list")
    assert refused.returncode == 2 and "jinja2 2.0" in refused.stderr and "CVE-2025-27516" in refused.stderr


@pytest.mark.parametrize(("licence", "fine"), [
    ("MIT License", True), ("Apache Software License; BSD License", True), ("MPL-2.0", True), ("GNU Lesser General Public License v3 (LGPLv3)", True),
    ("GNU General Public License v3 (GPLv3)", False), ("AGPL-3.0", False), ("UNKNOWN", False), ("Server Side Public License", False),
])  # fmt: skip
def test_a_licence_is_held_against_the_list(licence: str, fine: bool, tmp_path: Path) -> None:
    with (tmp_path / "l.csv").open("w") as f:
        csv.writer(f).writerows([["Name", "Version", "License"], ["thing", "1.0", licence]])
    (tmp_path / "s.json").write_text(json.dumps({"components": [{"name": "Thing"}]}))
    done = subprocess.run([sys.executable, ROOT / "scripts/licences.py", tmp_path / "l.csv", tmp_path / "s.json"], capture_output=True, text=True)
    assert (done.returncode == 0) is fine, done.stderr
    assert fine or re.search(r"thing 1\.0", done.stderr)
