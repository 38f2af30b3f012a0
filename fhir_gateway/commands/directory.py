"""`directory import`: a service directory of Open Referral UK, from files, folders and archives."""

from __future__ import annotations

import sys
import zipfile
import zlib
from io import BytesIO
from pathlib import Path
from typing import Any

import msgspec
import yaml

from ..around import directory as bringing
from ..domain import strict
from ..domain.openreferral import Words, district_of
from ..domain.openreferral import read as read_directory
from ..settings import Refused, load
from ..wiring import context_as, wired
from .bringing import bar, readable

MOST = 64 * 1024 * 1024  # bytes of all files together, also when unpacked
MOST_NAMED = 20


async def bring_in(files: list[Path], who: str, mapping: Path | None, source: str, most_go: bool, as_json: bool) -> int:
    """0 when every service went in, 1 when a row was wrong or gone services were kept, 2 when nothing could be read."""
    words = _words(mapping, source)
    read = read_directory(_contents(files))
    if not read.items:
        said = read.wrong[0] if read.wrong else None
        raise Refused(f"{said.where}: {said.text}" if said else "There is no service in these files: Open Referral UK (HSDS 3), JSON or CSV, is read.")
    async with wired(load()) as w:
        with bar("Bringing in services", len(read.items)) as step:
            done = await bringing.bring_in(await context_as(w, who), read, words, step, most_go=most_go)
    _say(done, read.left_out, as_json)
    return 1 if done.wrong or done.kept else 0


def _say(done: bringing.Brought, left_out: dict[str, int], as_json: bool) -> None:
    told = {"services": done.services, "written": done.written, "unchanged": done.unchanged, "inactive": done.inactive, "kept": done.kept, "named": done.named,
            "refused": len(done.wrong), "problems": [{"where": w.where, "text": w.text} for w in done.wrong], "left_out": left_out}  # fmt: skip
    if as_json:
        sys.stdout.buffer.write(strict.dump(told) + b"\n")
        sys.stdout.flush()
        return
    print(f"{done.services} services: {done.written} resources written, {done.unchanged} unchanged, {done.inactive} services set inactive, {len(done.wrong)} rows refused")
    for w in done.wrong[:MOST_NAMED]:
        print(f"  {w.where}: {w.text}")
    if len(done.wrong) > MOST_NAMED:
        print(f"  and {len(done.wrong) - MOST_NAMED} more (--json says all)")
    if done.kept:
        print(f"  {done.kept} services that are not in these files were left active: too many, or a row without an id may be one of them. If they are gone, say --most-go.")
    if done.named:
        more = f" and {len(done.named) - MOST_NAMED} more" if len(done.named) > MOST_NAMED else ""
        print(f"  No postcode finds an area that is a name alone: {', '.join(done.named[:MOST_NAMED])}{more}. `areas` of a mapping says its districts.")
    if names := ", ".join(f"{n} {k}" for k, n in sorted(left_out.items()) if n):
        print(f"  Not taken, for a directory says how to reach a service and not a person: {names}")


# -- what is read -----------------------------------------------------------------------------------------------------


def _contents(files: list[Path]) -> list[tuple[str, bytes]]:
    """Every JSON and CSV file: those named, those in the folders named, those in the archives named."""
    out: list[tuple[str, bytes]] = []
    for file in files:
        if file.is_dir():
            inside = sorted(p for p in file.rglob("*") if p.suffix.lower() in (".json", ".csv") and p.is_file())
            out += [(str(p), readable(p)) for p in inside]
        elif file.suffix.lower() == ".zip":
            out += _unpacked(file, readable(file))
        else:
            out.append((str(file), readable(file)))
        if sum(len(raw) for _, raw in out) > MOST:
            raise Refused(f"These files have more than {MOST} bytes together.")
    return out


def _unpacked(file: Path, raw: bytes) -> list[tuple[str, bytes]]:
    out, left = [], MOST
    try:
        with zipfile.ZipFile(BytesIO(raw)) as archive:
            for info in sorted(archive.infolist(), key=lambda i: i.filename):
                if info.is_dir() or not info.filename.lower().endswith((".json", ".csv")) or "__MACOSX" in info.filename:
                    continue
                with archive.open(info) as member:
                    text = member.read(left + 1)
                left -= len(text)
                if left < 0:
                    raise Refused(f"{file} holds more than {MOST} bytes.")
                out.append((f"{file.name}/{info.filename}", text))
    except (zipfile.BadZipFile, RuntimeError, NotImplementedError, EOFError, OSError, zlib.error) as wrong:
        raise Refused(f"{file} is no archive that can be read: {wrong}.") from None
    return out


# -- their words in ours ----------------------------------------------------------------------------------------------


def _words(file: Path | None, source: str) -> Words:
    """What a mapping file says. Refused, naming what, for one that says something else."""
    said: Any = {}
    if file is not None:
        try:
            said = yaml.safe_load(readable(file)) or {}
        except (yaml.YAMLError, UnicodeDecodeError) as wrong:
            raise Refused(f"{file} is no YAML: {' '.join(str(wrong).split())[:200]}.") from None
    try:
        found = msgspec.convert(said, _Mapping)
    except msgspec.ValidationError as wrong:
        raise Refused(f"{file}: {wrong}.") from None
    areas: dict[str, tuple[str, ...]] = {}
    for name, districts in found.areas.items():
        if unknown := [d for d in districts if not district_of(d)]:
            raise Refused(f"{file}: `areas.{name}`: `{unknown[0][:20]}` is no postcode district, as NR30 is.")
        areas[name.lower()] = tuple(district_of(d) for d in districts)
    name = source or found.source
    if not (0 < len(name) <= 40 and name.replace("-", "").isalnum() and name.isascii() and name == name.lower()):
        raise Refused(f"`{name[:40]}` cannot be what a directory is called: small letters, digits and hyphens, 40 at most.")
    return Words(name, not (source or "source" in said), found.organisations, areas, {k.lower(): v for k, v in found.categories.items()})


class _Mapping(msgspec.Struct, forbid_unknown_fields=True):
    source: str = "directory"
    organisations: dict[str, str] = {}
    areas: dict[str, list[str]] = {}
    categories: dict[str, str] = {}
