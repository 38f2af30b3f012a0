"""Bringing plans in, mapping them, printing them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from .base import Json, app, run

map_app = typer.Typer(no_args_is_help=True, help="Turn plans into FHIR and back, without storing anything.")
directory_app = typer.Typer(no_args_is_help=True, help="Services that people can be referred to.")
app.add_typer(map_app, name="map")
app.add_typer(directory_app, name="directory")

Files = Annotated[list[Path], typer.Argument(help="Files to read; - is standard input.")]


@app.command("import")
def import_(
    files: Files,
    as_: Annotated[
        str, typer.Option("--as", help="Who brings it in: a registered client, a demo persona, or `operator` for organisations and roles.")
    ] = "hospital",
    mapping: Annotated[Path | None, typer.Option(help="A mapping file for a partner's own format.")] = None,
    json: Json = False,
) -> None:
    """Bring in plans, FHIR Bundles, resources or NDJSON through the gate."""
    from ..commands import bringing

    sys.exit(run(bringing.bring_in(files, as_, mapping, json)))


@directory_app.command("import")
def directory_import(
    files: Annotated[list[Path], typer.Argument(help="Files, folders or .zip archives of Open Referral UK (HSDS 3.x), JSON or CSV.")],
    as_: Annotated[str, typer.Option("--as", help="Who brings it in: `operator`, or a registered client, whose entries wait for an operator.")] = "operator",
    mapping: Annotated[Path | None, typer.Option(help="A YAML file: which organisations, areas and categories of theirs are which of ours.")] = None,
    source: Annotated[str, typer.Option(help="What this directory is called, where there are several.")] = "",
    most_go: Annotated[bool, typer.Option("--most-go", help="Set services inactive that are not in these files, also when they are most.")] = False,
    json: Json = False,
) -> None:
    """Bring in a service directory; what it has no more is set inactive."""
    from ..commands import directory

    sys.exit(run(directory.bring_in(files, as_, mapping, source, most_go, json)))


@app.command()
def hl7v2(
    files: Annotated[list[Path] | None, typer.Argument(help="Files of HL7 v2 messages: one, several, or batches.")] = None,
    drop: Annotated[Path | None, typer.Option("--drop", help="A folder into which files are dropped: each *.hl7 in order, answered by an .ack beside it.")] = None,
    as_: Annotated[str, typer.Option("--as", help="Which registered system sent them.")] = "hospital",
    json: Json = False,
) -> None:
    """Take in HL7 v2 messages (ADT A01, A03, A08, A11, A13, A40) through the gate, each acknowledged."""
    from ..commands import messages

    sys.exit(run(messages.hl7v2(files or [], drop, as_, json)))


@map_app.command("to-fhir")
def to_fhir(
    file: Annotated[Path, typer.Argument()],
    mapping: Annotated[Path | None, typer.Option()] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what lands where, and what has no home.")] = False,
) -> None:
    """Print the transaction Bundle of a plan, of a partner's document (`--mapping`), or of HL7 v2 messages."""
    from ..commands import bringing

    sys.exit(bringing.to_fhir(file, mapping, dry_run))


@map_app.command("from-fhir")
def from_fhir(
    file: Annotated[Path, typer.Argument()],
    mapping: Annotated[Path | None, typer.Option()] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what lands where, and what has no home.")] = False,
) -> None:
    """Print the plan of a Bundle."""
    from ..commands import bringing

    sys.exit(bringing.from_fhir(file, mapping, dry_run))


@app.command("print")
def print_(
    person: Annotated[str, typer.Argument(help="Patient/id here or where it came from, system|value, or an NHS number.")],
    whom: Annotated[str, typer.Option("--for", help="Who will read it: Patient/…, RelatedPerson/…, Practitioner/…, Organization/…, CareTeam/…, sector:health, role:Organization/… system|code, or a sign-in name here.")],
    to: Annotated[Path | None, typer.Option("--out", help="The file; by default plan-…-version-N.pdf in this folder.")] = None,
    html: Annotated[bool, typer.Option("--html", help="A page that any browser prints, in place of a PDF.")] = False,
    purpose: Annotated[str, typer.Option(help="What it is read for (v3-ActReason).")] = "TREAT",
    json: Json = False,
) -> None:
    """Print a plan as an A5 booklet: what that reader may see and nothing else. The person reads of it in their log."""
    from ..commands import printing

    sys.exit(run(printing.print_plan(person, whom, to, html, purpose, json)))
