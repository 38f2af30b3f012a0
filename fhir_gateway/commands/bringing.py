"""`import`, `map` and `explain`."""

from __future__ import annotations

import json as plain_json
import os
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from .. import gate, plans
from ..domain import er7, strict
from ..domain.mapping import Partner, TableError
from ..domain.problem import Problem
from ..domain.types import Ref
from ..domain.vocabulary import PURPOSES
from ..settings import Refused, load
from ..tables import read_partner
from ..wiring import Wired, context_as, wired
from . import messages
from .naming import meant

T = TypeVar("T")
console = Console(stderr=True)
MOST_NAMED = 12  # in words, of places without a home, and of what has another id here
ASKERS = ("Practitioner", "PractitionerRole", "Organization", "CareTeam", "Group", "Patient", "RelatedPerson", "HealthcareService", "Device")


async def bring_in(files: list[Path], who: str, mapping: Path | None, as_json: bool) -> int:
    """Every file through the gate as `who`. 0 when all went in, 1 when something was refused, 2 when a file cannot be read."""
    for file in files:
        if str(file) != "-" and not (file.is_file() and os.access(file, os.R_OK)):
            raise Refused(f"{file} is not a file that can be read.")
    partner = partner_of(mapping)
    failed = unreadable = False
    homeless: list[Any] = []
    if partner is None:
        names, given = [str(f) for f in files], ((str(f), readable(f)) for f in files)  # of a thousand plans one is held at a time
    else:
        found = [part for f in files for part in parted(f, partner)]
        names, given = [name for name, _ in found], (part for part in found)
    async with wired(load()) as w:
        ctx = await context_as(w, who)
        with bar("Bringing in", len(names)) as step:
            results = await plans.bring_in_files(ctx, given, step, partner=partner)
        for name, result in zip(names, results, strict=True):
            line: dict[str, Any] = {"file": name, "patient": None, "written": 0, "unchanged": 0, "refused": 0, "unmapped": [], "refs": {}}
            if isinstance(result, Problem):
                failed = True
                unreadable = unreadable or result.kind == "malformed"
                line["refused"] = 1
                line["problems"] = [{"where": i.where, "text": i.text} for i in result.issues]
            else:
                for key in ("patient", "written", "unchanged", "refused", "unmapped", "refs"):
                    line[key] = getattr(result, key)
                failed = failed or bool(result.refused)
            show(line, as_json)
            homeless += line["unmapped"]
        if not as_json:
            say_homeless(homeless)
    return 2 if unreadable else 1 if failed else 0


def parted(file: Path, partner: Partner) -> list[tuple[str, bytes]]:
    """What a partner's file holds, by name: a table has a document for each person in it."""
    try:
        return plans.parts(str(file), readable(file), partner)
    except Problem as p:
        raise Refused(p.text) from None


def read(file: Path) -> bytes:
    return sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()


def show(line: dict[str, Any], as_json: bool) -> None:
    if as_json:
        sys.stdout.buffer.write(msgspec.json.encode(line) + b"\n")
        sys.stdout.flush()
        return
    print(f"{line['file']}: person {line['patient'] or '-'}, {line['written']} written, {line['unchanged']} unchanged, {line['refused']} refused")
    named = list(line["refs"].items()) if line["patient"] is None else []  # of a person's record --json says them
    for called, ref in named[:MOST_NAMED]:
        print(f"  {called} is {ref} here")
    if len(named) > MOST_NAMED:
        print(f"  and {len(named) - MOST_NAMED} more (--json says all)")
    for p in line.get("problems", ()):
        print(f"  {p['where']}: {p['text']}" if p["where"] else f"  {p['text']}")


def say_homeless(unmapped: list[Any]) -> None:
    """What of all files had no home in the plan, by place, most first."""
    counted = summary(unmapped)
    if counted:
        print("No home in the plan (what came as FHIR stays in the record):")
    for path, count in counted[:MOST_NAMED]:
        print(f"  {path}: {count}")
    if len(counted) > MOST_NAMED:
        print(f"  and {len(counted) - MOST_NAMED} more")


def summary(unmapped: list[Any]) -> list[tuple[str, int]]:
    """How often each path had no home, without ids and positions; most first."""
    found = Counter(place(item["path"] if isinstance(item, dict) else str(item)) for item in unmapped)
    return sorted(found.items(), key=lambda f: (-f[1], f[0]))


def place(path: str) -> str:
    """`Goal/7f1a: Goal.note[2].text` is `Goal.note.text`; a whole resource is its type."""
    _, _, element = path.rpartition(": ")
    whole = re.fullmatch(r"(?:.*/)?([A-Z][A-Za-z]+)/[A-Za-z0-9.-]{1,64}", element)
    if whole:
        return whole[1]
    if element.startswith(("urn:", "sha256:", "http:", "https:")):
        return "a whole resource"
    return re.sub(r"\[\d+\]", "", element)


@contextmanager
def bar(text: str, total: int) -> Iterator[Any]:
    """A progress bar on stderr, only where somebody watches."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=False, disable=not console.is_terminal) as progress:
        task = progress.add_task(text, total=total)
        yield lambda: progress.advance(task)


# -- map --------------------------------------------------------------------------------------------------------------


def to_fhir(file: Path, mapping: Path | None, dry_run: bool) -> int:
    partner = partner_of(mapping)
    if partner is None:
        raw = readable(file)
        if er7.is_er7(raw):
            return _print_each(messages.mapped(file, raw), dry_run)
        return _print(*plans.to_fhir(_readable_as(str(file), raw, plans.read_plan)), dry_run)
    done = []
    for name, document in parted(file, partner):
        plan, before = plans.from_partner(_readable_as(name, document, plans.read_plan), partner)
        bundle, rows = plans.to_fhir(plan, of_list=True)
        done.append((name.removeprefix(str(file)).lstrip(", "), bundle, chained(before, rows)))
    return _print_each(done, dry_run)


def _print_each(done: list[tuple[str, dict[str, Any], list[dict[str, Any]]]], dry_run: bool) -> int:
    if len(done) == 1:
        return _print(*done[0][1:], dry_run)
    for where, bundle, rows in done:  # several people, or messages: one a line
        for line in [{**r, "path": f"{where}: {r['path']}"} for r in rows] if dry_run else [bundle]:
            sys.stdout.buffer.write(strict.dump(line) + b"\n")
    sys.stdout.flush()
    return 0


def from_fhir(file: Path, mapping: Path | None, dry_run: bool) -> int:
    partner = partner_of(mapping)
    given = legible(file, plans.read_resources)
    plans.refuse_several(given)
    plan, rows = plans.from_fhir(given)
    if partner is None:
        return _print(plan, rows, dry_run)
    document, after = plans.to_partner(plan, partner)
    table = plans.as_written(document, partner)
    if table is None or dry_run:
        return _print(document, [r for r in rows if not r["to"]] + after, dry_run)
    encoding = partner.sheet.encoding if partner.sheet is not None else "utf-8"
    try:
        sys.stdout.buffer.write(table.encode(encoding))
    except UnicodeEncodeError as wrong:
        raise Refused(f"{encoding}, which they write, has no `{table[wrong.start]}`.") from None
    sys.stdout.flush()
    return 0


def partner_of(file: Path | None) -> Partner | None:
    """The partner's mapping, or a refusal that names file and row."""
    try:
        return read_partner(file) if file is not None else None
    except TableError as wrong:
        raise Refused(f"{wrong}.") from None


def chained(theirs: list[dict[str, Any]], ours: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Where each of a partner's fields lands in FHIR, by way of the plan."""
    out = []
    for row in theirs:
        to = [r for r in ours if r["path"] == row["to"] or r["path"].startswith((f"{row['to']}.", f"{row['to']}["))]
        above = [r for r in ours if not to and row["to"].startswith((f"{r['path']}.", f"{r['path']}["))]
        places = list(dict.fromkeys(r["to"] for r in to or above))
        out.append({"path": row["path"], "to": ", ".join(places) or row["to"], "why": row["why"] or f"by the plan's {row['to']}"})
    return out


def legible(file: Path, reader: Callable[[bytes], T]) -> T:
    """What a file says; a refusal that names it when it cannot be read (exit 2)."""
    return _readable_as(str(file), readable(file), reader)


def _readable_as(name: str, data: bytes, reader: Callable[[bytes], T]) -> T:
    try:
        return reader(data)
    except Problem as p:
        if p.kind != "malformed":
            raise
        raise Refused(f"{name}: {p.text}") from None


def readable(file: Path) -> bytes:
    try:
        return read(file)
    except OSError as wrong:
        raise Refused(f"{file} cannot be read: {wrong.strerror}.") from None


def _print(result: dict[str, Any], rows: list[dict[str, Any]], dry_run: bool) -> int:
    if dry_run:
        for row in rows:
            sys.stdout.buffer.write(msgspec.json.encode(row) + b"\n")
    else:
        sys.stdout.buffer.write(msgspec.json.format(strict.dump(result), indent=2) + b"\n")
    sys.stdout.flush()
    return 0


# -- explain ----------------------------------------------------------------------------------------------------------


async def _asker(w: Wired, who: str) -> str:
    """Somebody, or those in a role at an organisation, by where they are here."""
    if who.startswith("role:"):
        place, _, code = who.removeprefix("role:").partition(" ")
        return f"role:{await meant(w, place, 'Organization', option='--who')} {code}"
    return who if who.startswith("sector:") else await meant(w, who, *ASKERS, option="--who")


async def explain(who: str, what: str, purpose: str, action: str, as_json: bool) -> int:
    """Whether WHO may do ACTION to WHAT, by the function the gate runs. For operators: nothing of the record is shown."""
    if action not in ("access", "disclose", "collect", "correct"):
        raise Refused(f"--action is one of access, disclose, collect, correct; not `{action}`.")
    if purpose not in PURPOSES:
        raise Refused(f"--purpose `{purpose[:40]}` is not a purpose of use (v3-ActReason).")
    async with wired(load()) as w:
        type, _, id = (await meant(w, what, what.partition("/")[0] if "/" in what and "|" not in what else "Patient", option="--what")).partition("/")
        named = "/" in who or ":" in who or "|" in who
        who = await _asker(w, who) if named else who
        if named:
            try:
                await gate.understood(w.house, who, here=True)
            except Problem as wrong:
                raise Refused(f"--who: {wrong}") from None
        asking = await gate.askers(w.house, who, purpose) if named else [replace(await context_as(w, who), purpose=purpose)]
        try:
            said = await gate.explain(w.house, asking, action, Ref(type, id))
        except Problem:
            raise Refused(f"There is no {what} here.") from None
        decision = said.decision
        if as_json:
            line = {"decision": "permit" if decision.permit else "deny", "basis": decision.basis, "consent": decision.consent,
                    "obligations": sorted(decision.obligations), "text": said.text, "changes": list(said.changes)}  # fmt: skip
            print(plain_json.dumps(line))
        else:
            print(said.text)
    return 0
