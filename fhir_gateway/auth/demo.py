"""A token for a demo person, straight from the key in the store: `fhir-gateway token --as gp`."""

from __future__ import annotations

from datetime import datetime, timedelta

from . import clients, people
from .kept import Kept
from .keys import ring
from .tokens import Caller, mint

SYSTEM_SCOPES = "system/*.cruds"


async def demo_token(
    store: Kept, name: str, *, issuer: str, audience: str, at: datetime, jti: str, life: timedelta = timedelta(hours=1)
) -> tuple[str, Caller]:
    """A signed access token as the account, or else the system, called `name`; LookupError when there is neither."""
    expires = at + life
    account = await people.find(store, name, at)
    client = None if account else await clients.find(store, name, at)
    if account:
        caller = account.caller(issuer=issuer, jti=jti, expires=expires, at=account.proven(at), client="demo")
    elif client:
        scopes = client.scopes or SYSTEM_SCOPES
        caller = client.caller(issuer=issuer, jti=jti, expires=expires, scopes=scopes)
    else:
        raise LookupError(f"there is no demo person or system `{name}`")
    return mint((await ring(store, at)).signer, caller, audience, at), caller
