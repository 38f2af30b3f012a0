"""What a partner's gateway wrote here it may take back, also where consent keeps it from seeing it: its copy, or its words in a record.

The answer is a function of what this system itself wrote here, and of whether anybody else has written in it since. docs/notes/0032
"""

from __future__ import annotations

from typing import Any, Final

from ..domain import copies, entries, reconcile, strict
from ..domain.problem import Problem
from ..domain.rendering import rendered
from ..domain.standing import STANDING_TYPES
from ..domain.types import Stored, Writer
from ..domain.vocabulary import NO_PARTNER
from .context import Context, ask_stored, views_of, within_launch
from .marking import but_for_labels
from .reading import in_scope

HELD: Final = frozenset({"Patient", "Consent"})  # other records hang on the one; the other is ended, never deleted
MOST: Final = 100  # versions that are looked at


async def own_copy(ctx: Context, stored: Stored) -> bool:
    """Is this kept from this registered system by consent, and a copy that it sent here itself, in which nobody else has written a word?
    Or was it fetched from the server of its organisation? Or was it sent by, or fetched from, the organisation whose server says that it is gone there
    (`_of_their_server`)?

    Deleted meanwhile, by whomever, counts as taken back: who deleted it is not theirs to know.
    """
    mine = _of_their_server(ctx) or (_signed_in(ctx) and stored.created_by in (ctx.actor.user, ctx.actor.organisation))
    if stored.ref.type in HELD or not mine:
        return False
    first = await ctx.house.store.version(stored.ref, 1)
    if first is None or first.body is None or not _by(ctx, first.writer) or not in_scope(ctx, "d", first):
        return False
    if not any(copies.parts(code) for code in copies.codes(strict.decode(first.body))) or not await _kept_from(ctx, "d", stored):
        return False
    return stored.deleted or (stored.version <= MOST and await _last_of_others(ctx, stored) is None)


async def before_their_words(ctx: Context, stored: Stored, raw: bytes) -> Stored | None:
    """The version before this registered system wrote in somebody else's record, where consent keeps that from it now, nobody else has
    written in it since, and `raw` puts that very version back, as this system may see it. None otherwise."""
    if stored.deleted or stored.ref.type in STANDING_TYPES or not _signed_in(ctx) or not _by(ctx, stored.writer) or stored.created_by in (ctx.actor.user, ctx.actor.organisation):
        return None
    if stored.version > MOST or not in_scope(ctx, "u", stored) or not await _kept_from(ctx, "u", stored):
        return None
    base = await _last_of_others(ctx, stored)
    if base is None or base.body is None:
        return None
    try:
        sent = strict.read(raw)
    except Problem:
        return None
    shown = rendered(strict.decode(base.body), await views_of(ctx, base))
    return base if sent.get("id") == stored.ref.id and entries.same(words(sent), words(shown)) else None


async def _kept_from(ctx: Context, interaction: str, stored: Stored) -> bool:
    """Does a person's answer keep this from them, and not their role or sign-in."""
    if not stored.facts.patients or not within_launch(ctx, interaction, stored.facts):
        return False
    decision = await ask_stored(ctx, ctx.action, stored)
    return not decision.permit and (decision.basis != "rbac" or decision.rule == NO_PARTNER)


def _signed_in(ctx: Context) -> bool:
    """Does a registered system ask: a gateway signs in as one."""
    return ctx.actor.kind == "system" and ctx.client is not None and ctx.scopes is not None


def _of_their_server(ctx: Context) -> bool:
    """Is this what a pull learned from a partner's server: its organisation itself, without a client or a sign-in."""
    return ctx.actor.kind == "system" and ctx.client is None and ctx.scopes is None and ctx.actor.user == ctx.actor.organisation


async def _last_of_others(ctx: Context, stored: Stored) -> Stored | None:
    """The last version in which somebody else than this system wrote a word; None where nobody did. A label is no word."""
    now: Stored | None = stored
    while now is not None:
        before = await ctx.house.store.version(stored.ref, now.version - 1) if now.version > 1 else None
        if not _by(ctx, now.writer) and (before is None or words(before) != words(now)):
            return now
        now = before
    return None


def words(said: Stored | dict[str, Any]) -> Any:
    """What it says, without labels and what a server sets; None of a deletion."""
    resource = said if isinstance(said, dict) else strict.decode(said.body) if said.body is not None else None
    return reconcile.content(but_for_labels(resource)[0]) if resource is not None else None


def _by(ctx: Context, writer: Writer) -> bool:
    """Did this system write this itself, or did we fetch it from its organisation's server?"""
    if _of_their_server(ctx):
        return writer.kind == "system" and writer.organisation == ctx.actor.organisation
    own = (writer.user, writer.organisation, writer.client) == (ctx.actor.user, ctx.actor.organisation, ctx.client)
    return own or (writer.kind, writer.user, writer.organisation, writer.client) == ("system", ctx.actor.organisation, ctx.actor.organisation, None)


__all__ = ["before_their_words", "own_copy", "words"]
