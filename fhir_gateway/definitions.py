"""The tables and definitions that come with the gateway: where they are, and the R4 tables read once.

In a checkout they are `profiles/` and `mappings/` beside the package; in an installed wheel `fhir_gateway/_data`.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import msgspec

from .domain import strict
from .domain.descendants import Descendants
from .domain.problem import Problem
from .domain.profile import Definitions
from .domain.r4 import R4

_PACKAGE = Path(__file__).resolve().parent


def profiles_dir() -> Path:
    """The folder of R4 tables, our profiles, label sets and sectors."""
    return _folder("profiles")


def mappings_dir() -> Path:
    """The folder of mapping tables and concept maps."""
    return _folder("mappings")


def load(name: str) -> Any:
    """A JSON file of `profiles/`, decoded: `load("labels.json")`."""
    return msgspec.json.decode((profiles_dir() / name).read_bytes())


def demo_file(name: str) -> bytes:
    """A file that the demo brings along."""
    return (_PACKAGE / "demo" / name).read_bytes()


@cache
def load_r4() -> R4:
    """The official R4 4.0.1 tables. Types are decoded when first asked for."""
    folder = profiles_dir() / "r4"
    return R4(
        structures=(folder / "structures.json").read_bytes(),
        search=(folder / "search.json").read_bytes(),
        codes=(folder / "codes.json").read_bytes(),
        extensions=(folder / "extensions.json").read_bytes(),
        profiles=(folder / "profiles.json").read_bytes(),
    )


@cache
def own_profiles() -> dict[str, tuple[str, ...]]:
    """The addresses of our own profiles, by the type they are of."""
    found: dict[str, tuple[str, ...]] = {}
    for file in sorted(profiles_dir().glob("StructureDefinition-*.json")):
        definition = msgspec.json.decode(file.read_bytes())
        if definition["type"] != "Extension":
            found[definition["type"]] = (*found.get(definition["type"], ()), definition["url"])
    return found


@cache
def own_forms() -> dict[str, dict[str, Any]]:
    """The Questionnaires that come with the gateway, by id."""
    found = [strict.decode(file.read_bytes()) for file in sorted(profiles_dir().glob("Questionnaire-*.json"))]
    return {form["id"]: form for form in found}


@cache
def own_structures() -> dict[str, dict[str, Any]]:
    """Our own profiles and extensions, by id."""
    found = [strict.decode(file.read_bytes()) for file in sorted(profiles_dir().glob("StructureDefinition-*.json"))]
    return {definition["id"]: definition for definition in found}


def read_definitions(folder: Path | None) -> Definitions:
    """Our own profiles, and the definitions in a folder and the folders below it. NotADirectoryError when it is none.

    A file that is no FHIR definition in JSON is passed over.
    """
    known = Definitions(load_r4())
    files = sorted(profiles_dir().glob("*-*.json"))
    if folder is not None:
        if not folder.is_dir():
            raise NotADirectoryError(f"{folder} is not a folder.")
        files += sorted(folder.rglob("*.json"))
    for file in files:
        try:
            known.learn(strict.read(file.read_bytes().removeprefix(b"\xef\xbb\xbf")))
        except Problem:
            continue
    return known


def descendants(known: Definitions) -> Descendants:
    """What a code covers, by the code systems and value sets among these definitions and by our own sets of labels."""
    try:
        shipped = strict.read((profiles_dir() / "labels.json").read_bytes())
        ours = [e["resource"] for e in shipped["entry"]]
    except (OSError, Problem, KeyError, TypeError):  # that is told where the label sets are read
        ours = []
    return Descendants.read([*known.every("CodeSystem", "ValueSet"), *ours])


def _folder(name: str) -> Path:
    for root in (_PACKAGE.parent, _PACKAGE / "_data"):
        if (root / name).is_dir() and (root != _PACKAGE.parent or (root / "pyproject.toml").is_file()):
            return root / name
    raise FileNotFoundError(f"The folder {name} is neither beside the package nor in fhir_gateway/_data.")
