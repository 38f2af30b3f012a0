"""`sync`, `subscriptions` and `tell`: what leaves this gateway by itself, and comes back."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from .base import Json, Why, app, run

sync_app = typer.Typer(no_args_is_help=True, help="Keep in step with an external FHIR server.")
subscriptions_app = typer.Typer(no_args_is_help=True, help="Systems that asked to be told of changes.")
tell_app = typer.Typer(no_args_is_help=True, help="Telling people that something changed.")
app.add_typer(sync_app, name="sync")
app.add_typer(subscriptions_app, name="subscriptions")
app.add_typer(tell_app, name="tell")

Content = Annotated[bool, typer.Option("--content", help="With what it says about people; written down as a look at their records.")]


@sync_app.command("status")
def sync_status(json: Json = False) -> None:
    """How far each remote is, and what to do about what waits."""
    from ..commands import syncing

    sys.exit(run(syncing.status(json)))


@sync_app.command("run")
def sync_run(
    once: Annotated[bool, typer.Option("--once", help="Until nothing moves any more.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be sent, withheld, received, refused and ignored. Nothing is written.")] = False,
    sweep: Annotated[bool, typer.Option("--sweep", help="With --once: go through everything there and here, for what no feed told of or nothing is queued of.")] = False,
    json: Json = False,
) -> None:
    """Push and pull now. With --once it ends with 0 only when both sides are in step: nothing waits to go, to be taken back, or for a person."""
    from ..commands import syncing

    sys.exit(run(syncing.run(once, dry_run, json, sweep=sweep)))


@sync_app.command("waiting")
def sync_waiting(content: Content = False, json: Json = False) -> None:
    """Whatever waits for a person: refused, in conflict, in quarantine, in the inbox; each with its reason and what can be done."""
    from ..commands import waiting

    sys.exit(run(waiting.waiting(json, content)))


@sync_app.command("conflicts")
def sync_conflicts(content: Content = False, json: Json = False) -> None:
    """What both sides changed in the same place."""
    from ..commands import waiting

    sys.exit(run(waiting.conflicts(json, content)))


@sync_app.command("resolve")
def sync_resolve(
    id: Annotated[str, typer.Argument(help="The conflict's id.")],
    how: Annotated[str, typer.Argument(help="ours, theirs, or merged.")],
    file: Annotated[Path | None, typer.Argument(help="The merged resource; `meta.versionId` says from which version it was made.")] = None,
    version: Annotated[int | None, typer.Option("--version", help="The version you looked at: what was changed again in the same place gives way.")] = None,
    who: Annotated[str, typer.Option("--who", help="Who decided, for the audit.")] = "",
    reason: Why = "",
    json: Json = False,
) -> None:
    """Settle a conflict: only what clashes is set, what was edited since stays; the result is sent on."""
    from ..commands import waiting

    sys.exit(run(waiting.resolve(id, how, file, version=version, who=who, reason=reason, as_json=json)))


@sync_app.command("retry")
def sync_retry(
    ids: Annotated[list[str] | None, typer.Argument(help="Which, by `sync waiting`; all that are parked by default.")] = None, json: Json = False
) -> None:
    """Queue what was refused again."""
    from ..commands import waiting

    sys.exit(run(waiting.retry(ids or [], json)))


@sync_app.command("skip")
def sync_skip(id: Annotated[str, typer.Argument(help="The entry, by `sync waiting`.")], reason: Why, json: Json = False) -> None:
    """Leave out a change that a partner refuses; `retry` undoes it. Not what is to be taken back."""
    from ..commands import waiting

    sys.exit(run(waiting.skip(id, reason, json)))


@sync_app.command("gone")
def sync_gone(id: Annotated[str, typer.Argument(help="The recall, by `sync waiting`.")], reason: Why, json: Json = False) -> None:
    """End a recall that we cannot see to ourselves, because they say there that it is gone. The person reads the reason; `retry` undoes it."""
    from ..commands import waiting

    sys.exit(run(waiting.gone(id, reason, json)))


@sync_app.command("replay")
def sync_replay(
    id: Annotated[str, typer.Argument(help="The item in quarantine, by `sync waiting`.")],
    file: Annotated[Path | None, typer.Argument(help="The corrected resource; as it is there now by default.")] = None,
    json: Json = False,
) -> None:
    """Take in again what could not be taken, by the rules for any write of that partner."""
    from ..commands import waiting

    sys.exit(run(waiting.replay(id, file, json)))


@sync_app.command("resend")
def sync_resend(
    remote: Annotated[str, typer.Argument(help="The remote's name.")], reason: Why,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False, json: Json = False,
) -> None:  # fmt: skip
    """Send a partner again what it has lost, as far as consent lets it go now. Nothing is deleted here; stopped, it goes on where it was."""
    from ..commands import syncing

    if not yes:
        typer.confirm(f"Look at all that {remote} is known to have, and send again what it says it has not?", abort=True, err=True)
    sys.exit(run(syncing.resend(remote, reason, json)))


@sync_app.command("moved")
def sync_moved(
    remote: Annotated[str, typer.Argument(help="The remote's name.")], reason: Why,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False, json: Json = False,
) -> None:  # fmt: skip
    """Say that a partner whose `url` was changed is the same server, with the same records, at its new address. Some of them are looked at there first."""
    from ..commands import syncing

    if not yes:
        typer.confirm(f"Is {remote} the same server as before, with the same records under the same ids?", abort=True, err=True)
    sys.exit(run(syncing.moved_here(remote, reason, json)))


@sync_app.command("recalls")
def sync_recalls(json: Json = False) -> None:
    """What was sent and taken back, and what is still to be taken back."""
    from ..commands import syncing

    sys.exit(run(syncing.recalls(json)))


@sync_app.command("key")
def sync_key(
    name: Annotated[str, typer.Argument(help="The remote, by its `name`.")],
    jwks: Annotated[bool, typer.Option("--jwks", help="Its public half as a JWK set: what the partner registers.")] = False,
    new: Annotated[bool, typer.Option("--new", help="Make another one of our own; it signs from the next start on.")] = False,
    json: Json = False,
) -> None:
    """By which key we sign in at a remote (SMART Backend Services)."""
    from ..commands import signing_in

    sys.exit(run(signing_in.key(name, jwks, new, json)))


@subscriptions_app.command("list")
def subscriptions_list(json: Json = False) -> None:
    """Who asked to be told of changes, how far they are, and what is wrong. Secrets and whole addresses are not shown."""
    from ..commands import subscribing

    sys.exit(run(subscribing.every(json)))


@tell_app.command("status")
def tell_status(json: Json = False) -> None:
    """How many notices wait, went out, or could not: no names, no addresses."""
    from ..commands import telling

    sys.exit(run(telling.status(json)))


@tell_app.command("retry")
def tell_retry(json: Json = False) -> None:
    """Queue notices again that could not be delivered."""
    from ..commands import telling

    sys.exit(run(telling.retry(json)))
