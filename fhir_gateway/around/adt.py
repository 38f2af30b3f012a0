"""HL7 v2 from outside: a message in, its acknowledgement out, and the folder into which a hospital drops files. docs/hl7v2.md

HTTP as HAPI's "HL7 over HTTP" has it (AA 200, AR 400), but for AE: the status of what went wrong (422, 409, ...), since nothing broke here
where a message is wrong. Whoever sends reads the acknowledgement, whatever the status.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from .. import gate
from ..domain import er7
from ..domain.er7 import Message
from ..domain.problem import Issue, Problem
from ..gate import Context
from ..store.base import Unavailable

MEDIA: Final = ("x-application/hl7-v2+er7", "application/hl7-v2", "application/hl7-v2+er7", "text/plain")
REJECTED: Final = frozenset({"malformed", "bad-request"})  # AR: sent again as it is it can only be refused again
LATER: Final = frozenset({"throttled", "unavailable", "too-slow"})  # nothing is wrong with the message: it is sent again
ENDING: Final = ".hl7"
DONE, REFUSED = "done", "refused"
LARGEST: Final = 64 * 1024 * 1024  # bytes of one file


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """What a message came to. `code`: AA, AE or AR; `status`: of HTTP; `ack`: the acknowledgement in ER7."""

    code: str
    status: int
    ack: bytes
    issues: tuple[Issue, ...]
    name: str = ""
    event: str = ""
    kind: str = ""  # of the Problem
    repeated: bool = False
    headers: tuple[tuple[str, str], ...] = ()


async def receive(ctx: Context, raw: bytes, charset: str = "") -> Acknowledged:
    """Do what one message says, by the gate as who sent it, and acknowledge it. No Problem: it is in the acknowledgement."""
    message: Message | None = None
    try:
        message = er7.read(raw, charset)
        heard = await gate.hear(ctx, message)
    except Problem as p:
        if not p.noted and message is not None:
            await gate.turned_away(ctx, p, "POST", "hl7v2", "")
        return _refused(ctx, message, p)
    except Unavailable as wrong:
        return _refused(ctx, message, gate.unanswered(wrong))
    return _said(ctx, message, "AA", 200, heard.issues, repeated=heard.repeated)


def _refused(ctx: Context, message: Message | None, p: Problem) -> Acknowledged:
    code = "AR" if p.kind in REJECTED else "AE"
    out = _said(ctx, message, code, 400 if code == "AR" else p.status, tuple(_placed(i) for i in p.issues))
    return replace(out, kind=p.kind, headers=tuple(p.headers.items()))


def _placed(issue: Issue) -> Issue:
    """An issue of ours about what we made of the message has no place in it."""
    return issue if "^" in issue.where or issue.where in ("PID", "MRG", "MSH") else replace(issue, where="")


def _said(ctx: Context, message: Message | None, code: str, status: int, issues: tuple[Issue, ...], *, repeated: bool = False) -> Acknowledged:
    ack = er7.ack(message, code, issues, ctx.at, ctx.house.new_id().replace("-", "")[:20])
    name, event = (message.name, message.event) if message is not None else ("", "")
    return Acknowledged(code, status, ack, issues, name[: er7.LONGEST_NAME], event[:20], repeated=repeated)


# -- files ------------------------------------------------------------------------------------------------------------


async def of_file(ctx: Context, raw: bytes) -> AsyncIterator[Acknowledged]:
    """What each message of a file came to, in their order. Ends after one that is to be sent again later: what follows may build on it."""
    for part in er7.split(raw):
        heard = await receive(replace(ctx, at=ctx.house.clock()), part)
        yield heard
        if heard.kind in LATER:
            return


def dropped(folder: Path) -> list[Path]:
    """The files that wait in it, in the order of their names. A sender writes under another name and renames when it is whole."""
    return sorted(f for f in folder.iterdir() if f.suffix.lower() == ENDING and not f.name.startswith(".") and f.is_file() and not f.is_symlink())


@contextmanager
def alone(folder: Path) -> Iterator[bool]:
    """Whether this run has the folder to itself: two at once would move each other's files away."""
    place = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(place, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield True
    except BlockingIOError:
        yield False
    finally:
        os.close(place)


def answer(file: Path, raw: bytes, heard: list[Acknowledged], ctx: Context) -> None:
    """Write the acknowledgements beside the file, then move it to `done` or `refused`. A stop anywhere leaves the file, or all of it."""
    acks = [h.ack for h in heard]
    place = file.parent / (DONE if all(h.code == "AA" for h in heard) else REFUSED)
    if place.is_symlink():
        raise Problem("business-rule", f"{place} leads to another place: messages are moved to no folder but one here.")
    _written(file.with_suffix(".ack"), er7.batched(acks, ctx.at) if er7.is_batch(raw) or len(acks) > 1 else b"".join(acks))
    place.mkdir(mode=0o700, exist_ok=True)
    file.rename(next(p for p in _names(place, file) if not p.exists()))


def _written(target: Path, content: bytes) -> None:
    """Whole or not at all, also after a loss of power."""
    part = target.with_name(f".{target.name}.part")
    part.unlink(missing_ok=True)  # whoever drops files here could have put a link to another file in its place
    with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666), "wb") as out:
        out.write(content)
        out.flush()
        os.fsync(out.fileno())
    part.replace(target)


def _names(place: Path, file: Path) -> Iterator[Path]:
    """`a.hl7`, `a.1.hl7`, ...: what was taken under this name before stays."""
    yield place / file.name
    n = 0
    while True:
        n += 1
        yield place / f"{file.stem}.{n}{file.suffix}"


__all__ = ["LATER", "MEDIA", "Acknowledged", "alone", "answer", "dropped", "of_file", "receive"]
