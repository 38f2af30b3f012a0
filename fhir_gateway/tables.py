"""The mapping tables that come with the gateway, read and compiled once: `mappings/*.yaml` and `mappings/codes/*.json`."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import yaml

from . import definitions
from .domain import plan as planning
from .domain.mapping import Partner, TableError, Tables, compile_partner, compile_tables


@cache
def load_tables() -> Tables:
    """The gateway's own tables. Raises TableError, naming file and row, when one cannot be right."""
    return read_tables(definitions.mappings_dir())


def read_tables(folder: Path) -> Tables:
    """Every table of a folder."""
    files = {}
    for path in sorted(folder.glob("*.yaml")):
        files[path.name] = _yaml(path.name, path.read_bytes())
    codes = {path.stem: msgspec.json.decode(path.read_bytes()) for path in sorted((folder / "codes").glob("*.json"))}
    return compile_tables(files, codes, definitions.load_r4())


def read_partner(path: Path) -> Partner:
    """A partner's own format, from its mapping file alone. TableError names file and row."""
    try:
        raw = path.read_bytes()
    except OSError as wrong:
        raise TableError(f"{path}: cannot be read: {wrong.strerror}") from None
    try:
        return compile_partner(path.name, _yaml(path.name, raw), _known())
    except RecursionError:  # an alias inside what it stands for
        raise TableError(f"{path.name}: is nested without end") from None


@cache
def _known() -> dict[str, Any]:
    """The keys a plan may have, as its JSON Schema."""
    return planning.schema(load_tables())


def _yaml(name: str, raw: bytes) -> Any:
    """Of `!!int x`, `!!bool x` and dates that no calendar has, PyYAML says so with whatever its own code ran into."""
    try:
        return yaml.safe_load(raw)
    except RecursionError:
        raise TableError(f"{name}: is nested too deep") from None
    except (yaml.YAMLError, ValueError, LookupError, AttributeError, TypeError) as wrong:
        raise TableError(f"{name}: is not YAML: {wrong}") from None
