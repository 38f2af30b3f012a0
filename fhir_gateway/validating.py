"""`fhir-gateway validate`: files in, one OperationOutcome a resource out; or the lines of HL7's validator, for comparing.

The verdict is R4's (`domain.validate.check`). What this gateway refuses besides (`policy`) is told as a warning, apart from it.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import quote

import msgspec
from rich.progress import Progress

from .definitions import read_definitions
from .domain import strict
from .domain.problem import Issue, Problem, outcome
from .domain.profile import Definitions
from .domain.validate import check, policy

MANY = 20  # files, from which on there is a progress bar
WORST = ("fatal", "error")
FINE = Issue("information", "informational", "", "Valid FHIR R4.")


def learn(raw: bytes, known: Definitions) -> None:
    """Know a definition from now on. What is none, or cannot be read, is passed over: judging it is not asked here."""
    try:
        known.learn(strict.read(raw.removeprefix(b"\xef\xbb\xbf")))
    except Problem:
        return


def judge(raw: bytes, known: Definitions, profiles: Sequence[str] = ()) -> tuple[list[Issue], list[Issue]]:
    """(what R4 and the profiles say, what this gateway refuses besides) of one JSON text."""
    try:
        resource = strict.read(raw)
    except Problem as problem:
        return list(problem.issues), []
    asked = _answered_by(resource, known)
    return check(resource, known.r4, questionnaire=asked, definitions=known, profiles=profiles), policy(resource, known.r4)


def _answered_by(resource: dict[str, Any], known: Definitions) -> dict[str, Any] | None:
    """The Questionnaire this response answers, known or contained."""
    canonical = str(resource.get("questionnaire", ""))
    if canonical.startswith("#"):
        held = resource.get("contained")
        inner = [c for c in held if type(c) is dict and c.get("id") == canonical[1:]] if type(held) is list else []
        return inner[0] if inner else None
    return known.questionnaire(canonical)


def is_valid(issues: Iterable[Issue]) -> bool:
    return not any(i.severity in WORST for i in issues)


# -- files ------------------------------------------------------------------------------------------------------------


def run(files: Sequence[Path], *, definitions: Path | None = None, json_lines: bool = False) -> int:
    """Print one OperationOutcome a resource. 0 all valid, 1 some are not, 2 a file cannot be read."""
    try:
        known = read_definitions(definitions)
    except NotADirectoryError as wrong:
        print(wrong, file=sys.stderr)
        return 2
    worst = 0
    for file in _followed(files):
        try:
            raw = file.read_bytes()
        except OSError as wrong:
            print(f"{file}: {wrong.strerror}", file=sys.stderr)
            worst = 2
            continue
        for line, text in _resources(file, raw):
            said = _tell(file, line, text, known, json_lines)
            worst = max(worst, said)
    return worst


def _followed(files: Sequence[Path]) -> Iterator[Path]:
    """The files, with a progress bar on the terminal's error side when they are many."""
    if len(files) < MANY or not sys.stderr.isatty():
        yield from files
        return
    with Progress(transient=True, redirect_stdout=False) as progress:
        yield from progress.track(files, description="Validating")


def _resources(file: Path, raw: bytes) -> Iterator[tuple[int, bytes]]:
    """(line, JSON text); line 0 for a file that is one resource."""
    if file.suffix not in (".ndjson", ".jsonl"):
        yield 0, raw
        return
    for number, line in enumerate(raw.splitlines(), 1):
        if line.strip():
            yield number, line


def _tell(file: Path, line: int, raw: bytes, known: Definitions, json_lines: bool) -> int:
    issues, refused = judge(raw, known)
    ours = [Issue("warning", i.code, i.where, f"FHIR allows this, the gateway refuses it: {i.text}", i.key) for i in refused]
    place = f"{quote(str(file))}:{line}" if line else quote(str(file))
    answer = outcome([*issues, *ours] or [FINE])
    text = msgspec.json.encode({"resourceType": answer["resourceType"], "meta": {"source": place}, "issue": answer["issue"]})
    print((text if json_lines else msgspec.json.format(text, indent=2)).decode())
    if not is_valid(issues):
        print(f"{file}{f':{line}' if line else ''}: {sum(i.severity in WORST for i in issues)} error(s)", file=sys.stderr)
    return 0 if is_valid(issues) else 1


# -- the lines of HL7's validator -------------------------------------------------------------------------------------


class Line(msgspec.Struct):
    """What comes in: a resource, or any text; definitions that are known from then on."""

    id: str | int = ""
    resource: msgspec.Raw = msgspec.Raw()
    text: str | None = None
    profile: str | None = None
    questionnaire: msgspec.Raw = msgspec.Raw()
    supporting: msgspec.Raw = msgspec.Raw()


def lines(source: BinaryIO, sink: BinaryIO, *, definitions: Path | None = None) -> int:
    """`{id, resource | text, profile?, questionnaire?, supporting?}` in; `{id, valid, ms, issues}` out, one a line.

    A line that is none of these is answered in its place by `{id: "", error}`; 2 in the end.
    """
    known = read_definitions(definitions)
    worst = 0
    for number, raw in enumerate(source, 1):
        if not raw.strip():
            continue
        try:
            line = _line(raw)
        except ValueError as wrong:
            print(f"line {number}: {wrong}", file=sys.stderr)
            sink.write(msgspec.json.encode({"id": "", "error": f"line {number}: {wrong}"}) + b"\n")
            sink.flush()
            worst = 2
            continue
        sink.write(msgspec.json.encode(_answer(line, known)) + b"\n")
        sink.flush()
    return worst


def _line(raw: bytes) -> Line:
    """ValueError when it is none. A text may hold what is no Unicode (that is what is to be judged), which only `json` reads."""
    try:
        return msgspec.json.decode(raw, type=Line)
    except msgspec.DecodeError:
        loose = json.loads(raw)
        if not isinstance(loose, dict) or not isinstance(loose.get("text"), str):
            raise
        return Line(id=loose.get("id", ""), text=loose["text"])


def _answer(line: Line, known: Definitions) -> dict[str, Any]:
    started = time.perf_counter()
    for some in (line.questionnaire, line.supporting):
        for definition in _definitions(bytes(some)):
            learn(definition, known)
    text = line.text.encode("utf-8", "surrogatepass") if line.text is not None else bytes(line.resource)
    issues, _ = judge(text, known, (line.profile,) if line.profile else ())
    return {
        "id": line.id,
        "valid": is_valid(issues),
        "ms": round((time.perf_counter() - started) * 1000, 3),
        "issues": [
            {"severity": i.severity, "code": i.code, "key": i.key, "location": i.where, "message": i.text} for i in issues
        ],
    }


def _definitions(raw: bytes) -> Iterator[bytes]:
    """A definition or a list of them, objects or text."""
    if not raw or raw == b"null":
        return
    if raw[:1] == b"[":
        for part in msgspec.json.decode(raw, type=list[msgspec.Raw]):
            yield from _definitions(bytes(part))
    elif raw[:1] == b'"':
        yield msgspec.json.decode(raw, type=str).encode("utf-8", "surrogatepass")
    else:
        yield raw
