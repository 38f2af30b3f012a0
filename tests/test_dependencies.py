"""What an installation fetches is what the gateway uses."""

from __future__ import annotations

import ast
import re
import tomllib
from importlib.metadata import packages_distributions

from .conftest import ROOT

NOT_BY_NAME = {
    "tzdata": "the time zones of `zoneinfo` where the system has none",
    "fhirpathpy": "the invariants of profiles: being built",
}


def imported() -> set[str]:
    found: set[str] = set()
    for file in (ROOT / "fhir_gateway").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                found |= {a.name.split(".")[0] for a in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                found.add(node.module.split(".")[0])
            elif isinstance(node, ast.Call) and getattr(node.func, "id", "") == "PackageLoader" and isinstance(node.args[0], ast.Constant):
                found.add(node.args[0].value.split(".")[0])
    return found


def plain(name: str) -> str:
    return re.split(r"[\[<>=!~ ;]", name)[0].lower().replace("_", "-")


def test_every_runtime_dependency_is_imported() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    named = {plain(d) for d in project["dependencies"]}
    used = {plain(d) for module in imported() for d in packages_distributions().get(module, ())}
    assert named - used - NOT_BY_NAME.keys() == set()


def test_the_contract_of_engines_names_every_module_of_one() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    (forbidden,) = [set(c["forbidden_modules"]) for c in contracts if c["name"] == "only wiring knows which engine a store has"]
    engines = {f"fhir_gateway.store.{f.stem}" for f in (ROOT / "fhir_gateway/store").glob("*.py") if f.stem.startswith(("sqlite", "mongo"))}
    assert engines <= forbidden and len(engines) > 10
