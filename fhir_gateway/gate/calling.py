"""What a partner's gateway holds back in what it writes here, as that is called here."""

from __future__ import annotations

from typing import Final

from ..domain import strict
from ..domain.masked import HELD_BACK, all_held_back
from .context import Context, directory_now

MOST: Final = 200  # names that are looked up of one write


async def called_here(ctx: Context, raw: bytes) -> dict[str, str]:
    """Of what this registered system holds back in `raw`, by its own name: what it is linked with here. Problem malformed."""
    if ctx.actor.kind != "system" or ctx.client is None or HELD_BACK.encode() not in raw:
        return {}
    directory, _ = await directory_now(ctx.house)
    mine = [r.name for r in ctx.house.remotes if ctx.actor.organisation in directory.everyone_at(r.organisation)]
    links = [await ctx.house.store.link_by_remote(remote, named) for remote in mine for named in sorted(set(all_held_back(strict.read(raw))))[:MOST]]
    return {link.remote_id: str(link.ref) for link in links if link is not None}
