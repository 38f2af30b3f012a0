"""What the log says: one JSON record an event on stderr, and nobody's data in it.

An exception is told by its type and by where it came from, never by its message: that may hold a name, an NHS number, a query
or a value. What other libraries log comes through the same door, without the values they put into their sentences.
"""

from __future__ import annotations

import logging
import re
import sys
import traceback
from collections.abc import MutableMapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import structlog

LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}
QUOTED = re.compile(r"`[^`]*(`|$)")
_HERE = Path(__file__).resolve().parent
_MOST_FRAMES = 30


def to_stderr(level: str) -> None:
    """From now on everything is logged like this, `level` and above."""
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso"),
            without_messages,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS[level]),
        logger_factory=lambda *named: Lines(),
    )
    root = logging.getLogger()
    root.handlers[:] = [Others()]
    root.setLevel(logging.WARNING)


class Lines:
    """A line of standard error each, as it is at the moment. Where nobody can take the line it is lost; whoever told it goes on."""

    def msg(self, line: str) -> None:
        with suppress(OSError, ValueError):  # a full disk, a reader who is gone, a closed stream
            print(line, file=sys.stderr, flush=True)

    log = debug = info = warn = warning = error = err = fatal = critical = exception = failure = msg


def without_messages(logger: Any, method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """`exc_info` becomes `exception`: types and places. What a sentence of ours quotes in backticks is left out."""
    raised = event.pop("exc_info", None)
    if raised is True:
        raised = sys.exc_info()[1]
    elif isinstance(raised, tuple):
        raised = raised[1]
    if isinstance(raised, BaseException):
        event["exception"] = told(raised)
    for name, value in event.items():
        if isinstance(value, str):
            event[name] = QUOTED.sub("`…`", value)
    return event


def told(raised: BaseException) -> list[dict[str, Any]]:
    """This exception and what it came from: `{type, at}`, innermost place last."""
    out: list[dict[str, Any]] = []
    here: BaseException | None = raised
    while here is not None and len(out) < 5:
        frames = traceback.extract_tb(here.__traceback__)[-_MOST_FRAMES:]
        out.append({"type": type(here).__qualname__, "at": [f"{_short(f.filename)}:{f.lineno} {f.name}" for f in frames]})
        here = here.__cause__ or (None if here.__suppress_context__ else here.__context__)
    return out


def _short(file: str) -> str:
    path = Path(file)
    return str(path.relative_to(_HERE)) if path.is_relative_to(_HERE) else "/".join(path.parts[-2:])


class Others(logging.Handler):
    """The standard library's logging, from warnings up: whose it is and its sentence without the values."""

    def emit(self, record: logging.LogRecord) -> None:
        told = {"exc_info": record.exc_info} if record.exc_info else {}
        sentence = record.msg if isinstance(record.msg, str) and record.args else record.name
        structlog.get_logger().log(record.levelno, "library", logger=record.name, sentence=sentence, **told)
