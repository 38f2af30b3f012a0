"""`emergencies` and `inbox`: what waits for a person to look at it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from .base import Json, Why, app, run

inbox_app = typer.Typer(no_args_is_help=True, help="Pushes that were refused and wait for a person.")
emergencies_app = typer.Typer(no_args_is_help=True, help="Emergency accesses to people's records, and their review.")
app.add_typer(inbox_app, name="inbox")
app.add_typer(emergencies_app, name="emergencies")


@emergencies_app.command("list")
def emergencies_list(
    reviewed: Annotated[bool, typer.Option("--reviewed", help="Those that were reviewed, instead of those that wait.")] = False, json: Json = False
) -> None:
    """Emergency accesses that wait for a review, oldest first: who, when, why, what kinds of things were read."""
    from ..commands import reviewing

    sys.exit(run(reviewing.listing(reviewed, json)))


@emergencies_app.command("review")
def emergencies_review(
    id: Annotated[str, typer.Argument(help="The emergency's id.")],
    outcome: Annotated[str, typer.Option(help="justified or not-justified.")],
    words: Annotated[str, typer.Option(help="Why you think so.")],
) -> None:
    """Write down whether an emergency access was justified."""
    from ..commands import reviewing

    sys.exit(run(reviewing.review(id, outcome, words)))


@emergencies_app.command("end")
def emergencies_end(id: Annotated[str, typer.Argument(help="The emergency's id.")]) -> None:
    """End somebody's emergency access before its time."""
    from ..commands import reviewing

    sys.exit(run(reviewing.end(id)))


@inbox_app.command("list")
def inbox_list(json: Json = False) -> None:
    """Refused pushes, oldest first."""
    from ..commands import operating

    sys.exit(run(operating.inbox_list(json)))


@inbox_app.command("replay")
def inbox_replay(
    id: Annotated[str, typer.Argument(help="The item's id.")],
    file: Annotated[Path | None, typer.Argument(help="The corrected message; as it was by default.")] = None,
) -> None:
    """Push an item again as its sender."""
    from ..commands import operating

    sys.exit(run(operating.inbox_replay(id, file)))


@inbox_app.command("end")
def inbox_end(id: Annotated[str, typer.Argument(help="The item's id.")], reason: Why) -> None:
    """Take an item out of the inbox that was settled otherwise; nothing of it is written."""
    from ..commands import waiting

    sys.exit(run(waiting.inbox_end(id, reason)))
