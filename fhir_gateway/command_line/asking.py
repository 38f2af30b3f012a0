"""Questions that change nothing: what is decided and why, what is valid; and a token to try things with."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from .base import Json, Stop, app, out, run


@app.command()
def decide(
    file: Annotated[Path | None, typer.Argument(help="JSON lines; standard input by default.")] = None,
    definitions: Annotated[Path | None, typer.Option(help="A folder of code systems and value sets: what a no by a code covers.")] = None,
) -> None:
    """Answer consent questions, one JSON line each, by the very function the gate runs."""
    from .. import definitions as known
    from ..domain import cases

    try:
        source = open(file, encoding="utf-8") if file and str(file) != "-" else sys.stdin  # noqa: SIM115
    except OSError as wrong:
        raise Stop(f"{file} cannot be read: {wrong.strerror}.") from None
    bad = False
    with source:
        try:
            descendants = known.descendants(known.read_definitions(definitions))
        except NotADirectoryError as wrong:
            raise Stop(str(wrong)) from None
        for line in source:
            if not line.strip():
                continue
            for answer in cases.run([line], descendants):
                bad = bad or "error" in answer
                out(answer)
    sys.exit(1 if bad else 0)


@app.command()
def explain(
    who: Annotated[str, typer.Option("--who", help="Practitioner/…, Organization/…, CareTeam/…, sector:health, role:Organization/… system|code, or a demo persona.")],
    what: Annotated[str, typer.Option("--what", help="Type/id of a resource here.")],
    purpose: Annotated[str, typer.Option()] = "TREAT",
    action: Annotated[str, typer.Option()] = "access",
    json: Json = False,
) -> None:
    """Say in plain words whether WHO may see WHAT, and why."""
    from ..commands import bringing

    sys.exit(run(bringing.explain(who, what, purpose, action, json)))


@app.command()
def relabel(json: Json = False) -> None:
    """Label everything again where the value sets have changed, or labelling had not run. No version is added."""
    from ..commands import operating

    sys.exit(run(operating.relabel(json)))


@app.command()
def validate(
    files: Annotated[list[Path] | None, typer.Argument(help="Resources, Bundles or NDJSON.")] = None,
    definitions: Annotated[Path | None, typer.Option(help="A folder of profiles and questionnaires.")] = None,
    json: Json = False,
    lines: Annotated[bool, typer.Option("--lines", help="JSON lines in and out, as HL7's validator peer speaks them.")] = False,
) -> None:
    """Check resources against R4: one OperationOutcome each."""
    from .. import validating

    if lines:
        sys.exit(validating.lines(sys.stdin.buffer, sys.stdout.buffer, definitions=definitions))
    if not files:
        raise Stop("validate needs at least one FILE, or --lines.")
    sys.exit(validating.run(files, definitions=definitions, json_lines=json))


@app.command()
def token(
    as_: Annotated[
        list[str],
        typer.Option("--as", help="patient, proxy, gp, social-worker, link-worker, community-nurse, hospital, stranger, paramedic, privacy-officer or registrar; several are a line each."),
    ],
    json: Json = False,
) -> None:
    """Print an access token of a demo persona, to try things with curl. Only where the demo runs."""
    from ..commands import operating

    sys.exit(run(operating.token(as_, json)))
