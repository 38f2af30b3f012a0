"""`audit verify, proof, keys, rotate-key, seal, heads, export`: is the trail whole, one person's part of it to take elsewhere, all of it as FHIR."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from .. import gate
from ..auth.jose import Bad, PublicKey, public_keys
from ..auth.seals import CURVE_OF, opened, rotate, seals
from ..domain import sealing, strict
from ..domain.audit import OPERATOR
from ..domain.periods import instant
from ..domain.problem import Problem
from ..domain.sealing import Head, Wrong
from ..domain.types import Note
from ..settings import Refused, load
from ..wiring import now, operator, wired
from .naming import person as person_ref
from .operating import out

console = Console(stderr=True)


def progress() -> Progress:
    """On stderr, only where somebody watches."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    return Progress(*columns, console=console, transient=False, disable=not console.is_terminal)


# -- verify -----------------------------------------------------------------------------------------------------------


async def verify(heads: Path | None, person: str, as_json: bool) -> int:
    """1 when something is wrong."""
    async with wired(load()) as w:
        keys = (await seals(w.store, now())).public
        given, twice = kept_heads(heads, keys)
        kept = {n: signed for n, (signed, _) in given.items()}
        whose = await person_ref(w, person) if person else ""
        of = await gate.rows_of(w.house, whose) if whose else {}
        if whose and not of:
            raise Refused(f"No row of the audit is of {whose}.")
        with progress() as bar:
            task = bar.add_task("Comparing segments", total=None)
            verdict = await gate.verify(w.house, kept=kept, step=lambda: bar.advance(task))
    wrong = [*twice, *verdict.wrong]
    _say(wrong, as_json)
    said: dict[str, Any] = {"ok": not wrong, "segments": verdict.segments, "rows": verdict.rows, "waiting": verdict.waiting, "wrong": len(wrong)}
    theirs = sum(of.values())
    if person:
        said |= {"person": whose, "theirs": theirs}
    if as_json:
        out(said)
    else:
        whole = "the trail is what was sealed" if not wrong else f"wrong: {len(wrong)}, see above"
        if not wrong and heads is None:
            whole += ", as far as the store itself can tell. An end that was cut off together with its newest head shows only by --heads FILE"
        of_whom = f" ({theirs} rows of {whose}, {of.get(None, 0)} of them not sealed yet)" if person else ""
        print(f"{verdict.segments} segments, {verdict.rows} rows compared{of_whom}, {verdict.waiting} not sealed yet: {whole}")
    return 1 if wrong else 0


def _say(wrong: Sequence[Wrong], as_json: bool) -> None:
    for w in wrong:
        if as_json:
            out({"what": w.what, "segment": w.segment, "row": w.row, "text": w.text})
        else:
            print(f"{w.what}: {w.text}")


def kept_heads(file: Path | None, keys: Sequence[PublicKey]) -> tuple[dict[int, tuple[str, Head]], list[Wrong]]:
    """Signed heads by number, from a file of lines (or of `{"heads": [...]}`), and what is wrong among them: a number that was given twice.

    The first head of a number counts. Refused when one of them is none of this trail's.
    """
    out: dict[int, tuple[str, Head]] = {}
    twice: dict[int, Wrong] = {}
    for number, line in enumerate(_text(file).splitlines() if file else (), 1):
        for signed in _heads_of(line):
            head = opened(signed, keys)
            if head is None:
                raise Refused(f"{file}, line {number}: this is no head that a key of this trail signed.")
            if out.get(head.number, (signed,))[0] != signed:
                text = f"{file}, line {number}: two different heads of segment {head.number} were given out: {sealing.ANEW}"
                twice.setdefault(head.number, Wrong("head", head.number, "", text))
            out.setdefault(head.number, (signed, head))
    if file and not out:
        raise Refused(f"{file} holds no signed head.")
    return out, list(twice.values())


def _heads_of(line: str) -> list[str]:
    if not line.lstrip().startswith("{"):
        return [line.strip()] if line.strip() else []
    try:
        said = msgspec.json.decode(line.encode())
    except msgspec.DecodeError:
        return [line]
    if isinstance(said.get("head"), str):  # a line of our log
        return [said["head"]]
    return [h for h in said.get("heads", []) if isinstance(h, str)]


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as wrong:
        raise Refused(f"{file} cannot be read: {getattr(wrong, 'strerror', None) or 'it is no text'}.") from None


# -- proofs -----------------------------------------------------------------------------------------------------------


async def proof(person: str, file: Path, heads: Path | None) -> int:
    """Write one person's rows with what proves them."""
    async with wired(load()) as w:
        keys = (await seals(w.store, now())).public
        made, left = await gate.proof_of(w.house, await person_ref(w, person), sorted(kept_heads(heads, keys)[0]))
        rows = sum(len(s.rows) for s in made.segments)
        await gate.took_out(operator(w), "audit-proof", made.person, f"{rows} rows")
    written(file, msgspec.json.encode(made))
    print(f"{file}: {rows} rows of {made.person}, proved by segment {made.segments[-1].claim.number}'s trail; {left} not sealed yet")
    return 0


def check_proof(file: Path, jwks: Path | None, heads: Path | None, as_json: bool) -> int:
    """Without any store: the public keys and, best, heads that were kept from before."""
    if jwks is None:
        raise Refused("--proof needs --keys FILE: the public keys, from `fhir-gateway audit keys`.")
    try:
        keys = public_keys(strict.read(_text(jwks).encode()))
        found = sealing.read_proof(_text(file).encode())
    except Bad as bad:
        raise Refused(f"{jwks}: {bad}.") from None
    except Problem as p:
        raise Refused(p.text) from None
    head = opened(found.head, keys)
    given, twice = kept_heads(heads, keys)
    kept = {n: h for n, (_, h) in given.items()}
    wrong = [Wrong("signature", None, "", "the head of this proof is not signed by these keys")] if head is None else [*twice, *sealing.examined(found, head, kept)]
    rows = sum(len(s.rows) for s in found.segments)
    untold, newer = (sealing.untold(found, head, kept), sum(n > head.number for n in kept)) if head else (len(kept), 0)
    _say(wrong, as_json)
    if as_json:
        said = {"ok": not wrong, "person": found.person, "rows": rows, "wrong": len(wrong), "segment": head.number if head else None}
        out(said | {"newer": newer, "untold": untold})
    else:
        print(f"{rows} rows of {found.person}: {'as they were sealed' if not wrong else f'{len(wrong)} things are wrong'}")
        if newer:
            print(f"The proof ends with segment {head.number if head else 0}: what was sealed later is not in it. {newer} of the heads are newer.")
        if untold:
            print(f"Of {untold} of the heads the proof says nothing: `audit proof --heads` makes one for older heads, and a new one reaches newer ones.")
    return 1 if wrong else 0


async def keys() -> int:
    """The public keys of the trail, a JWK set."""
    async with wired(load()) as w:
        out((await seals(w.store, now())).jwks())
    return 0


async def rotate_key(algorithm: str, as_json: bool) -> int:
    """Another key signs heads from now on, in every process; what was written before is sealed by the old one first."""
    if algorithm not in CURVE_OF:
        raise Refused(f"--algorithm is one of {', '.join(CURVE_OF)}; not `{algorithm[:40]}`.")
    async with wired(load()) as w:
        sealer = gate.Sealer(w.house)
        try:
            await sealer.seal()
            note = Note(w.house.new_id(), now(), "E", "rotate-audit-key", True, OPERATOR, "Operator", purpose="HOPERAT")
            kid = await rotate(w.store, now(), note, algorithm)
            await sealer.seal()
        except (Problem, ValueError) as wrong:
            raise Refused(f"The key was not changed: {getattr(wrong, 'text', wrong)}") from None
        n = len((await seals(w.store, now())).keys)
    if as_json:
        out({"kid": kid, "alg": algorithm, "keys": n})
    else:
        print(f"{kid}: signs heads from now on; {n - 1} older verify what they signed. Give the output of `fhir-gateway audit keys` to whoever checks heads or proofs")
    return 0


async def seal(as_json: bool) -> int:
    """Seal now, and print the signed heads made."""
    async with wired(load()) as w:
        made = await gate.Sealer(w.house).seal()
    for signed in made:
        if as_json:
            out({"head": signed})
        else:
            print(signed)
    if not made:
        print("Everything is sealed already. `fhir-gateway audit heads` prints the heads there are.", file=sys.stderr)
    return 0


async def heads(as_json: bool) -> int:
    """Print the signed head of every segment, oldest first."""
    async with wired(load()) as w:
        async for segment in gate.all_segments(w.house.store):
            if as_json:
                out({"head": segment.head})
            else:
                print(segment.head)
    return 0


# -- export -----------------------------------------------------------------------------------------------------------


async def export(file: Path, since: str, until: str, person: str, as_json: bool) -> int:
    """AuditEvents as NDJSON, newest first, row by row: nothing is gathered in memory. The export itself is written down."""
    low, high = _day(since, "--from"), _day(until, "--to")
    high = high + timedelta(days=1) if high is not None and len(until) == 10 else high
    async with wired(load()) as w:
        whose = await person_ref(w, person) if person else None
        await gate.took_out(operator(w), "audit-export", whose, f"from {since or 'the beginning'} to {until or 'now'}")
        n = 0
        with _opened(file) as target, progress() as bar:
            task = bar.add_task("Writing rows", total=None)
            async for rows in gate.trail_between(w.house, whose, low, high):
                for event in rows:
                    target.write(strict.dump(event) + b"\n")
                n += len(rows)
                bar.advance(task, len(rows))
    if str(file) != "-":
        if as_json:
            out({"file": str(file), "rows": n})
        else:
            print(f"{file}: {n} AuditEvents")
    return 0


def _day(text: str, option: str) -> datetime | None:
    """A day or an instant, in UTC."""
    if not text:
        return None
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise Refused(f"{option} is a day such as 2026-11-26, or an instant; not `{text[:40]}`.") from None
    return at if at.tzinfo else at.replace(tzinfo=instant(0).tzinfo)


def _opened(file: Path) -> Any:
    if str(file) == "-":
        return os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    try:
        return os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb")
    except OSError as wrong:
        raise Refused(f"{file} cannot be written: {wrong.strerror}.") from None


def written(file: Path, text: bytes) -> None:
    with _opened(file) as target:
        target.write(text)
