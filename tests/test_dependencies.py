"""What an installation fetches is what the gateway uses."""

from __future__ import annotations

import ast
import re
import tomllib
from importlib.metadata import PackageNotFoundError, distribution, packages_distributions

from packaging.requirements import Requirement

from .conftest import ROOT

NOT_BY_NAME = {
    "tzdata": "the time zones of `zoneinfo` where the system has none",
    "fhirpathpy": "the invariants of profiles, and the expressions of forms: read when first used",
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


def installed_for_use() -> set[str]:
    """Every package that an installation brings, by what each asks for."""
    waiting = [Requirement(d) for d in tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]]
    seen: set[str] = set()
    while waiting:
        wanted = waiting.pop()
        if plain(wanted.name) in seen:
            continue
        try:
            asks = distribution(wanted.name).requires or []
        except PackageNotFoundError:  # for another machine than this
            continue
        seen.add(plain(wanted.name))
        more = [Requirement(r) for r in asks]
        waiting += [r for r in more if r.marker is None or any(r.marker.evaluate({"extra": e}) for e in wanted.extras or {""})]
    return seen


def test_what_is_not_python_is_named() -> None:
    compiled = {name for name in installed_for_use() if any(f.suffix in (".so", ".pyd") for f in distribution(name).files or ())}
    section = (ROOT / "docs/security.md").read_text().split("## Dependencies")[1].split("\n## ")[0]
    assert {"cryptography", "msgspec", "httptools"} <= compiled and {name for name in compiled if f"`{name}`" not in section} == set()


def test_the_contract_of_engines_names_every_module_of_one() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    (forbidden,) = [set(c["forbidden_modules"]) for c in contracts if c["name"] == "only wiring knows which engine a store has"]
    engines = {f"fhir_gateway.store.{f.stem}" for f in (ROOT / "fhir_gateway/store").glob("*.py") if f.stem.startswith(("sqlite", "mongo"))}
    assert engines <= forbidden and len(engines) > 10
