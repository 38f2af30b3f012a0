"""Typed settings: environment variables `GATEWAY_*`, then files in the folder `GATEWAY_SECRETS`, then the TOML file `GATEWAY_CONFIG`.

A secret comes from one of the three, never from a command line, where others on the machine could read it.

The service refuses to start on an unsafe combination (`unsafe`), in one sentence that says what to do. No setting turns consent off.
The settings themselves are in `fields`.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from .fields import AuthSettings, LauncherSettings, RemoteSettings, Settings
from .signing import OWN
from .unsafe import unsafe_combination

__all__ = ["AuthSettings", "LauncherSettings", "Refused", "RemoteSettings", "Settings", "load", "readable_by_others", "refuse_unknown"]


PLACES: Final = ("GATEWAY_CONFIG", "GATEWAY_SECRETS")  # read as they are written, in capitals; a setting in small letters is that setting
WITH_PARTS: Final = ("GATEWAY_REMOTE", "GATEWAY_ISSUER_ROLES")  # the only settings of which a variable may name a part, after `__`


class Refused(Exception):
    """The settings are wrong or unsafe: one sentence that says what to do."""


def load(**given: Any) -> Settings:
    """Settings from the environment and the TOML file, or Refused."""
    refuse_unknown(os.environ)
    if empty := next((name for name in PLACES if os.environ.get(name) == ""), None):
        raise Refused(f"{empty} is set and empty: give its path, or unset it.")
    config = os.environ.get("GATEWAY_CONFIG")
    if config and not Path(config).is_file():
        raise Refused(f"GATEWAY_CONFIG names {config}, which is not a file: correct the path or unset it.")
    if config and _written_by_others(Path(config)):
        raise Refused(f"Anybody on this machine may write {config}, the file of GATEWAY_CONFIG: take that away by `chmod o-w`.")
    secrets = os.environ.get("GATEWAY_SECRETS")
    if secrets and not Path(secrets).is_dir():
        raise Refused(f"GATEWAY_SECRETS names {secrets}, which is not a folder: correct the path or unset it.")
    if secrets and (wrong_file := _wrong_file(Path(secrets))):
        raise Refused(wrong_file)
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


def refuse_unknown(environment: Mapping[str, str]) -> None:
    """Refused when a variable is named as settings are and is none: mistyped, it would do nothing and nobody would know."""
    known = {f"GATEWAY_{name.upper()}" for name in Settings.model_fields}

    def is_known(name: str) -> bool:
        setting, inside, _ = name.upper().partition("__")
        return name in PLACES or (setting in (WITH_PARTS if inside else known))

    if unknown := sorted(name for name in environment if name.upper().startswith("GATEWAY_") and not is_known(name)):
        raise Refused(f"{unknown[0][:60]} is set, and no setting is named so: correct the name by the README's table, or unset it.")


def readable_by_others(environment: Mapping[str, str], settings: Settings) -> list[str]:
    """Files of secrets that everybody on this machine may read: in a container that is nobody, elsewhere it may be somebody."""
    folder, config = environment.get("GATEWAY_SECRETS"), environment.get("GATEWAY_CONFIG")
    files = [*(_entries(Path(folder)) if folder else ()), *([Path(config)] if config else ())]
    files += [Path(r.auth.key) for r in settings.remotes() if r.auth.kind == "smart" and r.auth.key != OWN]
    files += [Path(r.key) for r in settings.launcher if r.key]
    return [str(f) for f in files if _mode(f) & stat.S_IROTH]


def _wrong_file(folder: Path) -> str | None:
    """What is wrong with a file of this folder: mistyped, empty or none, it would leave its setting unset and nobody would know."""
    known = {f"gateway_{name}" for name in Settings.model_fields}
    if not _entries(folder):
        return f"GATEWAY_SECRETS names {folder}, which holds no file: put the secrets into it, or unset it."
    if _written_by_others(folder) and not os.statvfs(folder).f_flag & os.ST_RDONLY:  # containers are given it open to all, and mounted for reading
        return f"Anybody on this machine may put files into {folder}, the folder of GATEWAY_SECRETS: take that away by `chmod o-w`."
    for f in _entries(folder):
        if f.name.lower() not in known:
            return f"GATEWAY_SECRETS holds a file `{f.name}`, which is no setting: a file is named like its setting, as in gateway_store_key."
        if not f.is_file() or not os.access(f, os.R_OK):
            return f"GATEWAY_SECRETS holds `{f.name}`, which is not a file that can be read: put the file there, or take it away."
        if not f.read_bytes().strip():
            return f"GATEWAY_SECRETS holds the file `{f.name}`, which is empty: write the secret into it, or take it away."
        if _written_by_others(f):
            return f"Anybody on this machine may write `{f.name}` in GATEWAY_SECRETS: take that away by `chmod o-w`."
    return None


def _entries(folder: Path) -> list[Path]:
    """Those with a dot belong to whoever mounts the folder."""
    return sorted(f for f in folder.iterdir() if not f.name.startswith("."))


def _written_by_others(path: Path) -> bool:
    return bool(_mode(path) & stat.S_IWOTH)


def _mode(path: Path) -> int:
    """As it is at the end of links; 0 for what cannot be looked at."""
    try:
        return path.stat().st_mode
    except OSError:
        return 0


def _named(place: tuple[int | str, ...]) -> str:
    """`GATEWAY_PORT`, or `audience` of the second [[remote]]."""
    if place in (("remote",), ("launcher",)):
        one = "partner" if place == ("remote",) else "system"
        return f"{place[0]} (in the TOML file each {one} begins with [[{place[0]}]], in two brackets)"
    if len(place) > 2 and place[0] in ("remote", "launcher") and isinstance(place[1], int):
        return f"`{'.'.join(str(p) for p in place[2:])}` of [[{place[0]}]] number {place[1] + 1}"
    return "GATEWAY_" + "_".join(str(p) for p in place).upper()
