"""What is kept and for how long: `person`, `retain`, `store`, reports, backups."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from .base import Json, app, run

person_app = typer.Typer(no_args_is_help=True, help="The privacy officer's work for one person.")
retain_app = typer.Typer(no_args_is_help=True, help="How long records are kept, and how they end.")
store_app = typer.Typer(no_args_is_help=True, help="The stores themselves.")
app.add_typer(person_app, name="person")
app.add_typer(retain_app, name="retain")
app.add_typer(store_app, name="store")

Officer = Annotated[str, typer.Option("--officer", help="The account of the privacy officer for whom this is done.")]


@person_app.command("export")
def person_export(
    person: Annotated[str, typer.Argument(metavar="PERSON", help="The person: id, NHS number, or system|value.")],
    officer: Annotated[str, typer.Option("--officer", help="The account of the privacy officer for whom this is done.")],
    place: Annotated[Path | None, typer.Option("--out", help="A folder, or the file to make.")] = None,
    json: Json = False,
) -> None:
    """A copy of everything about a person (subject access), with what tells of others marked for review."""
    from ..commands import exporting

    sys.exit(run(exporting.export(person, officer, place, json)))


@app.command()
def report(
    kind: Annotated[str, typer.Argument(metavar="KIND", help="coverage, goals, choices, unmet-need or outcomes.")],
    by: Annotated[str, typer.Option("--by", help="locality (postcode district) or practice; without it everybody together.")] = "",
    json: Json = False,
    fhir: Annotated[bool, typer.Option("--fhir", help="As one FHIR MeasureReport.")] = False,
) -> None:
    """Counts over all people: who has a plan, what goals are about, what could not be had, how scores changed. Small counts are not told."""
    from ..commands import reporting

    if json and fhir:
        raise typer.BadParameter("a report is printed as --json lines or as --fhir, not both")
    sys.exit(run(reporting.tell(kind, by, json, fhir)))


@retain_app.command("plan")
def retain_plan(json: Json = False) -> None:
    """Whose record is at the end of its retention, by which rule. Changes nothing."""
    from ..commands import retaining

    sys.exit(run(retaining.plan(json)))


@retain_app.command("run")
def retain_run(
    plan: Annotated[str, typer.Option("--plan", help="The plan, as `retain plan` names it.")],
    officer: Officer,
    certificates: Annotated[Path, typer.Option("--certificates", help="The folder for certificates of disposal.")],
    include_recent: Annotated[bool, typer.Option("--include-recent", help="Also what was written to after its end by schedule.")] = False,
    json: Json = False,
) -> None:
    """Dispose of what the plan shows as due. There is no way back."""
    from ..commands import retaining

    sys.exit(run(retaining.run(plan, officer, certificates, json, include_recent)))


@retain_app.command("hold")
def retain_hold(
    person: Annotated[str, typer.Argument(metavar="PERSON")],
    reason: Annotated[str, typer.Option(help="Why this record must not go: a claim, an inquiry.")],
    officer: Officer,
) -> None:
    """A legal hold: this record stays, whatever the schedule says."""
    from ..commands import retaining

    sys.exit(run(retaining.hold(person, reason, officer)))


@retain_app.command("release")
def retain_release(person: Annotated[str, typer.Argument(metavar="PERSON")], officer: Officer) -> None:
    """End a legal hold."""
    from ..commands import retaining

    sys.exit(run(retaining.release(person, officer)))


@retain_app.command("holds")
def retain_holds(json: Json = False) -> None:
    """Who is held, since when, and why."""
    from ..commands import retaining

    sys.exit(run(retaining.holds(json)))


@app.command()
def backup(file: Annotated[Path, typer.Argument(help="The backup to make; replaced when the new one is whole.")], json: Json = False) -> None:
    """Copy the store while it serves: one file, with its hash."""
    from ..commands import keeping

    sys.exit(run(keeping.backup(file, json)))


@app.command()
def restore(
    file: Annotated[Path | None, typer.Argument(help="A backup. None: go on with a store that is sealed.")] = None,
    journal: Annotated[list[Path] | None, typer.Option("--journal", help="Replay this consent journal (several gateways: several).")] = None,
    replay: Annotated[bool, typer.Option("--replay", help="Replay the consent journal where GATEWAY_JOURNAL has it.")] = False,
    accept_gap: Annotated[bool, typer.Option("--accept-gap", help="Open without the journal: what was withdrawn since is open again.")] = False,
    who: Annotated[str, typer.Option(help="Who answers for the gap.")] = "",
    reason: Annotated[str, typer.Option(help="Why it cannot be helped.")] = "",
    expect: Annotated[
        list[int] | None, typer.Option("--expect", min=1, help="The entry which the journal must reach, from the log (several journals: in their order).")
    ] = None,
    seal: Annotated[bool, typer.Option("--seal", help="Seal the store that is there: other tools restored it.")] = False,
) -> None:
    """Put a backup in the place of the store. It stays sealed until the consent journal is replayed, or somebody answers for the gap."""
    from ..commands import keeping

    sys.exit(run(keeping.restore(file, journal or [], replay, seal, accept_gap, who, reason, expect or [])))


@store_app.command("copy")
def store_copy(
    source: Annotated[str, typer.Argument(metavar="FROM", help="sqlite:PATH or mongodb://HOST/DATABASE?replicaSet=NAME.")],
    target: Annotated[str, typer.Argument(metavar="TO", help="Where nothing is yet.")],
    from_key: Annotated[Path | None, typer.Option(help="File with the key that FROM is encrypted by.")] = None,
    to_key: Annotated[Path | None, typer.Option(help="File with the key to encrypt TO by.")] = None,
    json: Json = False,
) -> None:
    """Copy a whole store to the other engine, and compare. Stop every gateway and worker first."""
    from ..commands import copying

    sys.exit(run(copying.copy(source, target, json, from_key, to_key)))
