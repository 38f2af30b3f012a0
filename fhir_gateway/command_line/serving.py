"""Serving, and the worker apart from it."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from .. import __version__
from .base import app, run


@app.command()
def version() -> None:
    """Print the version."""
    print(__version__)


@app.command()
def serve(demo: Annotated[bool, typer.Option("--demo", help="With demo people and what to try.")] = False) -> None:
    """Serve the gateway (and the worker that syncs and tells, unless GATEWAY_WORKER=false)."""
    from .. import serving
    from ..settings import load

    settings = load(**({"demo": True} if demo else {}))
    sys.exit(serving.serve(settings))


@app.command()
def worker() -> None:
    """Run the worker, which syncs and tells, apart from the server."""
    from uvicorn.loops.auto import auto_loop_factory

    from .. import serving
    from ..settings import load

    run(serving.work(load()), auto_loop_factory())  # as quick a loop as the server's
