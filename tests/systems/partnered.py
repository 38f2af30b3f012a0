"""A town whose gateway keeps in step with other FHIR servers, as its operator's settings file says."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..conftest import gateway
from .town import Town


@contextmanager
def partnered(folder: Path, *remotes: dict[str, Any]) -> Iterator[Town]:
    """Its own gateway; nothing is sent or fetched but by `fhir-gateway sync run`."""
    lines = ["worker = false"]
    for remote in remotes:
        lines += ["[[remote]]", *(f"{key} = {_toml(value)}" for key, value in remote.items())]
    file = folder / "gateway.toml"
    file.write_text("\n".join(lines) + "\n")
    with gateway(folder, GATEWAY_CONFIG=str(file)) as g:
        yield Town(g, folder).open()


def _toml(value: Any) -> str:
    return f"{{ {', '.join(f'{k} = {_toml(v)}' for k, v in value.items())} }}" if isinstance(value, dict) else json.dumps(value)


def in_step(town: Town) -> dict[str, Any]:
    """Both ways once, and how it stands then."""
    done = town.gateway.command("sync", "run", "--once")
    assert done.returncode == 0, done.stdout + done.stderr
    (status,) = town.command("sync", "status")
    return status


__all__ = ["in_step", "partnered"]
