"""Which client sends this: by its key when it has one, by name alone for an app without. RFC 6749 2.3, RFC 7523."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from ..domain.types import Keep
from . import assertions, clients
from .clients import Client
from .jose import Bad, PublicKey, peek
from .kept import Kept, commit_unless_taken, digest
from .keysets import KeySets
from .refusal import unknown_client

ASSERTION = "jti"


async def prove(
    store: Kept, form: Mapping[str, str], authorization: str | None, at: datetime, *, endpoint: str, keysets: KeySets
) -> Client:
    """The client, or Refusal. `endpoint` is the token endpoint, for which every assertion is meant."""
    if authorization or "client_secret" in form:
        raise unknown_client("Clients have no shared secrets here: use private_key_jwt.")
    if "client_assertion" in form or "client_assertion_type" in form:
        if form.get("client_assertion_type") != assertions.TYPE:
            raise unknown_client(f"client_assertion_type must be {assertions.TYPE}.")
        return await _asserted(store, form, at, endpoint, keysets)
    client = await clients.find(store, form.get("client_id", ""), at)
    if client is None or client.has_keys:
        raise unknown_client("The client is not known, or must prove itself with its key.")
    return client


async def named(store: Kept, form: Mapping[str, str], at: datetime) -> Client | None:
    """The registered client that a form names, by `client_id` or in its assertion, proven or not: what is not registered is nobody's name."""
    if found := await clients.find(store, form.get("client_id", ""), at):
        return found
    try:
        name = peek(form.get("client_assertion", ""), assertions.POINTING)[1].get("iss")
    except Bad:
        return None
    return await clients.find(store, name, at) if isinstance(name, str) else None


async def _asserted(store: Kept, form: Mapping[str, str], at: datetime, endpoint: str, keysets: KeySets) -> Client:
    assertion = form.get("client_assertion", "")
    try:
        header, claims = peek(assertion, assertions.POINTING)
        name = claims.get("iss")
        client = await clients.find(store, name, at) if isinstance(name, str) else None
        if client is None or form.get("client_id", client.id) != client.id:
            raise Bad("no such client")
        if "jku" in header and (not client.jwks_uri or header["jku"] != client.jwks_uri):
            raise Bad("jku is not the address that is registered")
        known = await _keys(client, at, header.get("kid"), keysets)
        jti, until = assertions.check_assertion(assertion, client.id, known, (endpoint,), at)
    except Bad as why:
        raise unknown_client(f"The client assertion is not accepted: {why}.") from why
    used = Keep(ASSERTION, digest(f"{client.id} {jti}"), b"1", until, if_absent=True)
    if not await commit_unless_taken(store, used, *await clients.using(store, client.id, str(header.get("kid", "")), at)):
        raise unknown_client("The client assertion has been used before.")
    return client


async def _keys(client: Client, at: datetime, kid: str | None, keysets: KeySets) -> tuple[PublicKey, ...]:
    """Those on file, and those it publishes; on file alone while they overlap after it moved to an address."""
    on_file = client.keys(at)
    if not client.jwks_uri or any(k.kid == kid for k in on_file):
        return on_file
    return await keysets.keys(client.jwks_uri, at, kid)
