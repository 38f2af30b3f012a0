"""What every command of the line shares: the line itself, how a command ends, and what is said to many of them."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Coroutine
from typing import Annotated, Any

import typer

app = typer.Typer(no_args_is_help=True, add_completion=False, help="The FHIR gateway for shared personal care plans.", pretty_exceptions_enable=False)

Json = Annotated[bool, typer.Option("--json", help="One JSON object a line.")]
Why = Annotated[str, typer.Option("--reason", help="Why, for the audit.")]


class Stop(Exception):
    """Ends the command with this sentence on stderr and this exit code."""

    def __init__(self, text: str, code: int = 2) -> None:
        super().__init__(text)
        self.code = code


def fail(text: str, code: int) -> None:
    print(f"fhir-gateway: {text}", file=sys.stderr)
    sys.exit(code)


def run(doing: Coroutine[Any, Any, Any], loop: Callable[[], asyncio.AbstractEventLoop] | None = None) -> Any:
    """What a command does. What goes wrong beside it is logged as everywhere: to stderr, nobody's data in it."""
    from .. import logs

    logs.to_stderr("warning")
    with asyncio.Runner(loop_factory=loop) as runner:
        return runner.run(doing)


def out(item: Any) -> None:
    """One JSON object on a line of stdout, at once."""
    from ..domain import strict

    sys.stdout.buffer.write(strict.dump(item) + b"\n")
    sys.stdout.buffer.flush()
