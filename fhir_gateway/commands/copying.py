"""`store copy FROM TO`: a whole deployment from one engine to the other, compared row by row at the end."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from ..settings import Refused, load, refuse_unknown
from ..settings.unsafe import key_of_file, unsafe_store
from ..store.base import Unavailable
from ..store.copying import PARTS, Rows, Sum, summed
from ..two_stores import open_rows
from .operating import out


async def copy(source: str, target: str, as_json: bool, source_key: Path | None = None, target_key: Path | None = None) -> int:
    """One line a part: `{part, rows, sha256, equal}`. 1 when what arrived is not what left; the target is then not usable.

    Nobody may write to either meanwhile: stop the gateways and workers first.
    """
    refuse_unknown(os.environ)
    for address in (source, target):
        if not address.startswith(("sqlite:", "mongodb:", "mongodb+srv:")):
            raise Refused(f"A store is sqlite:PATH or mongodb://HOST/DATABASE?replicaSet=NAME, not `{address.split(':')[0][:40]}`.")
        if unsafe := unsafe_store(address):
            raise Refused(unsafe)
    if source == target:
        raise Refused("FROM and TO are the same store.")
    configured = any(os.environ.get(f"GATEWAY_{name}") for name in ("STORE_KEY", "SECRETS", "CONFIG"))
    if target.startswith("sqlite:") and target_key is None and configured and load().store_key:
        raise Refused("GATEWAY_STORE_KEY is set, but TO would be a plain file: give the key of the copy by --to-key FILE, or unset it.")
    keys = [key_in(file, address) for file, address in ((source_key, source), (target_key, target))]
    async with open_rows(source, target, *keys) as (left, arriving):
        return await _copied(left, arriving, as_json)


def key_in(file: Path | None, address: str) -> str | None:
    """The key in this file, for the store at this address. Refused."""
    if file is None:
        return None
    if not address.startswith("sqlite:"):
        raise Refused("A key is for the embedded store: MongoDB's files are encrypted by its own settings, or by the disk.")
    try:
        key = file.read_text("ascii").strip()
    except (OSError, ValueError):
        raise Refused(f"{file} cannot be read as a key.") from None
    if not key_of_file(key):
        raise Refused(f"{file} does not hold 64 hex digits of a random number: make one by `openssl rand -hex 32`.")
    return key


async def _copied(source: Rows, target: Rows, as_json: bool) -> int:
    counts = await source.counts()
    left: dict[str, Sum] = {}
    console = Console(file=sys.stderr)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=False, disable=not console.is_terminal) as progress:
        task = progress.add_task("copying", total=2 * sum(counts.values()))
        for part in PARTS:
            left[part] = Sum()
            async for rows in source.read(part):
                left[part].add(rows)
                await target.write(part, rows)
                progress.advance(task, len(rows))
        progress.update(task, description="comparing")
        unequal = []
        for part in PARTS:
            arrived, still = await summed(target, part), await summed(source, part)
            equal = (arrived.rows, arrived.sha256) == (left[part].rows, left[part].sha256) == (still.rows, still.sha256)
            unequal += [] if equal else [part]
            _say(part, arrived, equal, as_json)
            progress.advance(task, arrived.rows)
    if unequal:
        raise Unavailable(
            f"what arrived is not what is there now ({', '.join(unequal)}): stop every gateway and worker on both, drop the copy, and copy again"
        )
    await target.finish()
    return 0


def _say(part: str, arrived: Sum, equal: bool, as_json: bool) -> None:
    if as_json:
        out({"part": part, "rows": arrived.rows, "sha256": arrived.sha256, "equal": equal})
    else:
        print(f"{part}: {arrived.rows} rows, {'the same' if equal else 'NOT the same'} (sha256 {arrived.sha256[:16]}…)")
