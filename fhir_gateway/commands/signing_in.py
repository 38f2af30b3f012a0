"""`sync key`: by which key we sign in at a partner, and its public half for them."""

from __future__ import annotations

import sys

import msgspec

from ..auth import keys
from ..settings import Refused, load
from ..settings.signing import OWN
from ..wiring import now, sign_in_key, wired
from .registering import written_down


async def key(name: str, jwks: bool, new: bool, as_json: bool) -> int:
    """Says the key, or with `jwks` its public half as a JWK set. The private half is never said."""
    async with wired(load()) as w:
        remote = next((r for r in w.settings.remotes() if r.name == name), None)
        if remote is None:
            raise Refused(f"There is no remote `{name[:60]}`: it is one of {', '.join(r.name for r in w.settings.remotes()) or 'none'}.")
        held = await sign_in_key(remote, w.store)
        if new:
            if remote.auth.key != OWN:
                raise Refused(f"The key of the remote `{name}` is the file {remote.auth.key}: make another file, and name it in the settings.")
            held = await keys.for_remote(w.store, name, now(), written_down(w, "new-remote-key", name))
    if jwks:
        sys.stdout.buffer.write(msgspec.json.format(msgspec.json.encode(held.jwks()), indent=2) + b"\n")
        return 0
    item = {"remote": name, "client": remote.auth.client, "kid": held.kid, "algorithm": held.algorithm, "key": remote.auth.key}
    if as_json:
        sys.stdout.buffer.write(msgspec.json.encode(item) + b"\n")
    else:
        print(f"{name}: we are {remote.auth.client} there, and sign by {held.kid} ({held.algorithm}, {'made here' if remote.auth.key == OWN else remote.auth.key})")
    return 0
