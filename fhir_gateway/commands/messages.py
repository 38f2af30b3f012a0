"""`hl7v2`: HL7 v2 messages from files, or from a folder into which a hospital drops them; and what `map` says of them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from ..around import adt
from ..domain import er7, landing, strict
from ..domain.problem import Problem
from ..settings import Refused, load
from ..wiring import context_as, wired
from .files import contents


async def hl7v2(files: list[Path], folder: Path | None, who: str, as_json: bool) -> int:
    """Each message by the gate as `who`. 0 when all were taken, 1 when one was refused or must come again, 2 when a file cannot be read."""
    if bool(files) == (folder is not None):
        raise Refused("Say either files, or --drop FOLDER.")
    if folder is not None and not folder.is_dir():
        raise Refused(f"{folder} is not a folder that can be read.")
    if folder is None:
        return await _take(files, who, as_json)
    with adt.alone(folder) as alone:
        if not alone:
            raise Refused(f"Another run takes the files of {folder} at this moment.")
        return await _take(adt.dropped(folder), who, as_json, moves=True)


async def _take(files: list[Path], who: str, as_json: bool, *, moves: bool = False) -> int:
    good = True
    async with wired(load()) as w:
        ctx = await context_as(w, who)
        for file in files:
            raw = contents(file)
            try:
                heard = [_show(file, h, as_json) async for h in adt.of_file(ctx, raw)]
            except Problem as p:
                raise Refused(f"{file}: {p.text}") from None
            good = good and bool(heard) and all(h.code == "AA" for h in heard)
            if any(h.kind in adt.LATER for h in heard):  # the file stays, to be taken up again
                return 1
            if moves:
                adt.answer(file, raw, heard, ctx)
    return 0 if good else 1


def _show(file: Path, heard: adt.Acknowledged, as_json: bool) -> adt.Acknowledged:
    line: dict[str, Any] = {
        "file": str(file), "message": heard.name, "event": heard.event, "ack": heard.code, "repeated": heard.repeated,
        "issues": [{"where": i.where, "condition": i.key, "text": i.text} for i in heard.issues],
    }  # fmt: skip
    if as_json:
        sys.stdout.buffer.write(strict.dump(line) + b"\n")
    else:
        print(f"{file}: {heard.name or '-'} {heard.event or '-'}: {heard.code}{', as before' if heard.repeated else ''}")
        for i in heard.issues:
            print(f"  {i.where + ': ' if i.where else ''}{i.text}")
    sys.stdout.flush()
    return heard


def mapped(file: Path, raw: bytes) -> list[tuple[str, dict[str, Any], list[dict[str, str]]]]:
    """Of each message of a file: which one of several, the transaction that it comes to, and where each of its fields lands. Nothing is stored.

    Refused where a message would be.
    """
    out = []
    parts = er7.split(raw)
    for n, part in enumerate(parts, 1):
        which = f"message {n}" if len(parts) > 1 else ""
        try:
            message = er7.read(part)
            out.append((which, landing.bundle(message), landing.rows(message)))
        except Problem as p:
            raise Refused(", ".join(t for t in (str(file), which, p.where) if t) + f": {p.text}") from None
    return out


__all__ = ["hl7v2", "mapped"]
