"""The mapping tables that come with the gateway, read and compiled once: `mappings/*.yaml` and `mappings/codes/*.json`."""

from __future__ import annotations

from functools import cache
from pathlib import Path

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
        try:
            files[path.name] = yaml.safe_load(path.read_bytes())
        except yaml.YAMLError as wrong:
            raise TableError(f"{path.name}: is not YAML: {wrong}") from None
    codes = {path.stem: msgspec.json.decode(path.read_bytes()) for path in sorted((folder / "codes").glob("*.json"))}
    return compile_tables(files, codes, definitions.load_r4())


def read_partner(path: Path) -> Partner:
    """A partner's own format, from its mapping file alone. TableError names file and row."""
    try:
        data = yaml.safe_load(path.read_bytes())
    except OSError as wrong:
        raise TableError(f"{path}: cannot be read: {wrong.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as wrong:
        raise TableError(f"{path.name}: is not YAML: {wrong}") from None
    return compile_partner(path.name, data, planning.schema(load_tables())["properties"].keys())
