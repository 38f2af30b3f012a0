"""The mapping tables that come with the gateway, read and compiled once: `mappings/*.yaml` and `mappings/codes/*.json`."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import msgspec
import yaml

from . import definitions
from .domain.mapping import TableError, Tables, compile_tables


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
