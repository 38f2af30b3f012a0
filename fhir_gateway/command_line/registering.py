"""`clients` and `keys`: systems, apps, and what the built-in issuer signs with."""

from __future__ import annotations

import sys
from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer

from .base import Json, app, run

clients_app = typer.Typer(no_args_is_help=True, help="Registered systems and apps.")
keys_app = typer.Typer(no_args_is_help=True, help="What the built-in issuer signs its tokens with.")
app.add_typer(clients_app, name="clients")
app.add_typer(keys_app, name="keys")

Keys = Annotated[Path | None, typer.Option("--keys", help="A JWK set (or one JWK) with its public keys; private keys are refused.")]
KeysAt = Annotated[str, typer.Option("--keys-at", help="Where it publishes its JWK set (https, a host of GATEWAY_CLIENT_KEYS_FROM).")]


@clients_app.command("list")
def clients_list(json: Json = False) -> None:
    """Registered systems and apps."""
    from ..commands import registering

    sys.exit(run(registering.clients_list(json)))


@clients_app.command("add")
def clients_add(
    id: Annotated[str, typer.Argument(help="Its client_id: letters, digits, dots and hyphens.")],
    scopes: Annotated[str, typer.Option(help='The most it may ever ask for: "system/*.rs", "openid fhirUser launch/patient patient/*.rs", ...')],
    keys: Keys = None,
    keys_at: KeysAt = "",
    organisation: Annotated[str, typer.Option(help="ODS code or Organization/id that a system acts for; the organisation is here already.")] = "",
    name: Annotated[str, typer.Option(help="What people see; a system's organisation by default.")] = "",
    purpose: Annotated[str, typer.Option(help="What a system acts for (a v3-ActReason code).")] = "TREAT",
    contributor: Annotated[bool, typer.Option("--contributor", help="A system: may add to records without a relationship.")] = False,
    refers: Annotated[bool, typer.Option("--refers", help="A system: its referrals count as relationships.")] = False,
    introspects: Annotated[bool, typer.Option("--introspects", help="A system: may ask about anybody's token.")] = False,
    redirect: Annotated[list[str] | None, typer.Option(help="An app: an address to return to; may be given several times.")] = None,
    origin: Annotated[list[str] | None, typer.Option(help="An app: a web origin that its pages are served from (CORS).")] = None,
    launch: Annotated[str, typer.Option(help="An app: where it is opened on a person (EHR launch).")] = "",
    json: Json = False,
) -> None:
    """Register a system, which signs in with its own key, or (with --redirect) an app, which people use."""
    from ..commands import registering

    said = registering.Registration(
        id, scopes, keys, keys_at, organisation, name, purpose, contributor, refers, introspects, tuple(redirect or ()), tuple(origin or ()), launch
    )
    sys.exit(run(registering.clients_add(said, json)))


@clients_app.command("rotate")
def clients_rotate(
    id: Annotated[str, typer.Argument(help="Its client_id.")],
    keys: Keys = None,
    keys_at: KeysAt = "",
    overlap_hours: Annotated[float, typer.Option(min=0, max=24 * 90, help="How long the old keys go on; 0 when they have leaked.")] = 24,
    json: Json = False,
) -> None:
    """New keys for a client; the old ones go on beside them for a while."""
    from ..commands import registering

    sys.exit(run(registering.clients_rotate(id, keys, keys_at, timedelta(hours=overlap_hours), json)))


@clients_app.command("remove")
def clients_remove(id: Annotated[str, typer.Argument(help="Its client_id.")], json: Json = False) -> None:
    """Forget a system or an app: its tokens end at once, everywhere."""
    from ..commands import registering

    sys.exit(run(registering.clients_remove(id, json)))


@keys_app.command("list")
def keys_list(json: Json = False) -> None:
    """The keys of the built-in issuer: which signs, which still checks, until when."""
    from ..commands import registering

    sys.exit(run(registering.keys_list(json)))


@keys_app.command("rotate")
def keys_rotate(
    algorithm: Annotated[str, typer.Option(help="ES256 or ES384.")] = "ES256",
    overlap_hours: Annotated[float, typer.Option(min=0, max=24 * 90, help="How long the old key still checks.")] = 2,
    json: Json = False,
) -> None:
    """A new key signs from now on, in every process; nobody who holds a token notices."""
    from ..commands import registering

    sys.exit(run(registering.keys_rotate(algorithm, timedelta(hours=overlap_hours), json)))


@keys_app.command("withdraw")
def keys_withdraw(kid: Annotated[str, typer.Argument(help="The key's name, as `keys list` says it.")], json: Json = False) -> None:
    """Forget a key that has leaked: every token it signed is refused at once."""
    from ..commands import registering

    sys.exit(run(registering.keys_withdraw(kid, json)))
