"""Typed settings: environment variables `GATEWAY_*`, then files in the folder `GATEWAY_SECRETS`, then the TOML file `GATEWAY_CONFIG`.

A secret comes from one of the three, never from a command line, where others on the machine could read it.

The service refuses to start on an unsafe combination (`unsafe`), in one sentence that says what to do. No setting turns consent off.
The settings themselves are in `fields`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from .fields import AuthSettings, RemoteSettings, Settings
from .unsafe import unsafe_combination

__all__ = ["AuthSettings", "Refused", "RemoteSettings", "Settings", "load", "unknown_variables"]


class Refused(Exception):
    """The settings are wrong or unsafe: one sentence that says what to do."""


def load(**given: Any) -> Settings:
    """Settings from the environment and the TOML file, or Refused."""
    config = os.environ.get("GATEWAY_CONFIG")
    if config and not Path(config).is_file():
        raise Refused(f"GATEWAY_CONFIG names {config}, which is not a file: correct the path or unset it.")
    secrets = os.environ.get("GATEWAY_SECRETS")
    if secrets and not Path(secrets).is_dir():
        raise Refused(f"GATEWAY_SECRETS names {secrets}, which is not a folder: correct the path or unset it.")
    if secrets and (unknown := _unknown_files(Path(secrets))):
        raise Refused(f"GATEWAY_SECRETS holds a file `{unknown}`, which is no setting: a file is named like its setting, as in gateway_store_key.")
    try:
        settings = Settings(**given)
    except ValidationError as wrong:
        first = wrong.errors()[0]
        raise Refused(f"The setting {_named(first['loc'])} is not right: {first['msg']}.") from None
    except ValueError as wrong:
        raise Refused(f"The settings cannot be read: {wrong}.") from None
    unsafe = unsafe_combination(settings)
    if unsafe:
        raise Refused(unsafe)
    return settings


def unknown_variables(environment: Mapping[str, str]) -> list[str]:
    """Variables that are named as settings are and are none: mistyped, they would do nothing and nobody would know."""
    known = {f"GATEWAY_{name.upper()}" for name in Settings.model_fields} | {"GATEWAY_CONFIG", "GATEWAY_SECRETS"}
    return sorted(name for name in environment if name.startswith("GATEWAY_") and name.split("__")[0] not in known)


def _unknown_files(folder: Path) -> str | None:
    """A file of this folder that names no setting: a mistyped name would leave the setting empty and nobody would know."""
    known = {f"gateway_{name}" for name in Settings.model_fields}
    found = sorted(f.name for f in folder.iterdir() if f.is_file() and not f.name.startswith("."))
    return next((name for name in found if name.lower() not in known), None)


def _named(place: tuple[int | str, ...]) -> str:
    """`GATEWAY_PORT`, or `audience` of the second [[remote]]."""
    if len(place) > 2 and place[0] == "remote" and isinstance(place[1], int):
        return f"`{'.'.join(str(p) for p in place[2:])}` of [[remote]] number {place[1] + 1}"
    return "GATEWAY_" + "_".join(str(p) for p in place).upper()
