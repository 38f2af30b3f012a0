"""`audit`: what was written down about who did what."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from .base import Json, app, run

audit_app = typer.Typer(no_args_is_help=True, help="What was written down about who did what: is it whole, and what does it say.")
app.add_typer(audit_app, name="audit")


@audit_app.command("verify")
def audit_verify(
    heads: Annotated[Path | None, typer.Option(help="Signed heads kept outside, one a line: what was cut off since shows by them.")] = None,
    person: Annotated[str, typer.Option(help="Compare only the segments with rows of this person.")] = "",
    proof: Annotated[Path | None, typer.Option(help="A file of `audit proof`, checked without any store.")] = None,
    keys: Annotated[Path | None, typer.Option(help="The public keys (`audit keys`) for --proof.")] = None,
    json: Json = False,
) -> None:
    """Is the audit all that was written, as it was written? 1 when something was altered, removed, put in or cut off."""
    from ..commands import auditing

    sys.exit(auditing.check_proof(proof, keys, heads, json) if proof else run(auditing.verify(heads, person, json)))


@audit_app.command("proof")
def audit_proof(
    person: Annotated[str, typer.Argument(metavar="PATIENT", help="The person: id, NHS number, or system|value.")],
    file: Annotated[Path, typer.Argument(help="Where to write it; - is standard output.")],
    heads: Annotated[Path | None, typer.Option(help="Heads that its reader has: it proves that nothing was changed since them.")] = None,
) -> None:
    """Write one person's rows, and what proves them to anybody with the public keys. Nobody else's rows are in it."""
    from ..commands import auditing

    sys.exit(run(auditing.proof(person, file, heads)))


@audit_app.command("keys")
def audit_keys() -> None:
    """Print the public keys that signed heads are checked with (a JWK set)."""
    from ..commands import auditing

    sys.exit(run(auditing.keys()))


@audit_app.command("rotate-key")
def audit_rotate_key(algorithm: Annotated[str, typer.Option(help="ES256 or ES384.")] = "ES256", json: Json = False) -> None:
    """Another key signs heads from now on, in every process. Old keys are kept: what they signed still verifies."""
    from ..commands import auditing

    sys.exit(run(auditing.rotate_key(algorithm, json)))


@audit_app.command("seal")
def audit_seal(json: Json = False) -> None:
    """Seal now what is not sealed yet, and print the signed heads made by it (`audit heads` prints all)."""
    from ..commands import auditing

    sys.exit(run(auditing.seal(json)))


@audit_app.command("heads")
def audit_heads(json: Json = False) -> None:
    """Print the signed heads of all that is sealed, oldest first: what `audit verify --heads` reads."""
    from ..commands import auditing

    sys.exit(run(auditing.heads(json)))


@audit_app.command("export")
def audit_export(
    file: Annotated[Path, typer.Argument(help="Where to write NDJSON; - is standard output.")],
    since: Annotated[str, typer.Option("--from", help="First day, or instant (UTC).")] = "",
    until: Annotated[str, typer.Option("--to", help="Last day, or instant (UTC).")] = "",
    person: Annotated[str, typer.Option(help="Only the rows of this person.")] = "",
    json: Json = False,
) -> None:
    """Write the audit as AuditEvents, one a line, newest first."""
    from ..commands import auditing

    sys.exit(run(auditing.export(file, since, until, person, json)))
