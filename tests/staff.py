"""Colleagues with other rights than the demo's, signed in at a running gateway from inside it; what they say then is in `spoken`."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from fhir_gateway.auth import people
from fhir_gateway.auth.demo import demo_token
from fhir_gateway.auth.keys import ring
from fhir_gateway.auth.tokens import mint
from fhir_gateway.store import sqlite
from fhir_gateway.store.base import Store

from .conftest import Gateway
from .spoken import (
    LEGAL_BASIS,
    ODS,
    PARTICIPATION,
    PRESENT,
    REASON_URL,
    REASONS,
    Colleague,
    actor,
    checked,
    consent,
    end,
    given,
    id_of,
    permit,
    recorded,
    reference,
    role,
    save,
)


def run(doing: Any) -> Any:
    return asyncio.run(doing)


async def _with(gateway: Gateway, doing: Any) -> Any:
    store: Store = await sqlite.open(gateway.data / "gateway.sqlite")
    try:
        return await doing(store)
    finally:
        await store.close()


def signed_in(gateway: Gateway, name: str, user: str = "", *, organisation: str | None = None, patient: str | None = None, roles: tuple[str, ...] = (),
              minutes_ago: int | None = 0) -> Colleague:  # fmt: skip
    """A token for the account `name`, which is opened for `user` (`Type/id`) unless it is there; of a sign-in so many minutes ago (None: it does not say)."""

    async def doing(store: Store) -> str:
        at = datetime.now(UTC)
        if user:
            account = people.Account(name, user, name.title(), organisation=organisation, patient=patient, roles=roles, purpose="TREAT")
            await people.add(store, account, "only-for-this-test")
        audience = f"{gateway.base}/fhir"
        _, caller = await demo_token(store, name, issuer=gateway.base, audience=audience, at=at, jti=f"{name}-{at.timestamp()}", life=timedelta(minutes=15))
        caller = replace(caller, signed_in=None if minutes_ago is None else at - timedelta(minutes=minutes_ago))
        return mint((await ring(store, at)).signer, caller, audience, at)

    return Colleague(gateway, user, run(_with(gateway, doing)), organisation or "")


def wired_operator(gateway: Gateway, doing: Any) -> Any:
    """Something done by the operator of this machine, through the gate, beside the running gateway."""
    import os

    from fhir_gateway.settings import load
    from fhir_gateway.wiring import operator, wired

    async def inside() -> Any:
        async with wired(load()) as w:
            return await doing(operator(w))

    before = dict(os.environ)
    os.environ.update({k: v for k, v in gateway.env.items() if k.startswith("GATEWAY_")})
    try:
        return asyncio.run(inside())
    finally:
        os.environ.clear()
        os.environ.update(before)


def put_directory(gateway: Gateway, *resources: dict[str, Any]) -> list[str]:
    """What an operator writes of the directory: the references."""
    from fhir_gateway import gate

    async def doing(ctx: Any) -> list[str]:
        return [str((await gate.create(ctx, r["resourceType"], json.dumps(r).encode())).ref) for r in resources]

    return list(wired_operator(gateway, doing))


def system(gateway: Gateway, id: str, organisation: str, *, refers: bool = False) -> Colleague:
    """A registered system that may contribute to records, and refer where `refers`."""
    from joserfc.jwk import ECKey

    from fhir_gateway.auth import clients

    key = ECKey.generate_key("P-384", {"use": "sig", "alg": "ES384"}, private=True)
    client = clients.Client(
        id, "system", id, "system/*.cruds", jwks={"keys": [key.as_dict(private=False)]}, organisation=organisation, purpose="TREAT",
        contributor=True, may_refer=refers,
    )  # fmt: skip
    run(_with(gateway, lambda store: clients.change(store, client)))
    return signed_in(gateway, id)


__all__ = [
    "LEGAL_BASIS",
    "ODS",
    "PARTICIPATION",
    "PRESENT",
    "REASONS",
    "REASON_URL",
    "Colleague",
    "actor",
    "checked",
    "consent",
    "end",
    "given",
    "id_of",
    "permit",
    "put_directory",
    "recorded",
    "reference",
    "role",
    "run",
    "save",
    "signed_in",
    "system",
    "wired_operator",
]
