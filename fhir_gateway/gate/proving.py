"""Step-up: what changes much asks that whoever asks is at the keyboard now, by a sign-in of the last few minutes.

https://www.rfc-editor.org/rfc/rfc9470 (the challenge); consent.md 1.8
"""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from ..domain import strict
from ..domain.emergencies import FRESH
from ..domain.problem import Problem
from ..domain.types import Decision, Ref
from .context import Context, note

LEEWAY: Final = timedelta(seconds=60)  # of another issuer's clock
MINUTES: Final = int(FRESH.total_seconds() // 60)
CHALLENGE: Final = {"WWW-Authenticate": f'Bearer error="insufficient_user_authentication", max_age="{int(FRESH.total_seconds())}"'}


def signed_in_now(ctx: Context) -> bool:
    """Did whoever asks prove who they are within the last few minutes."""
    return ctx.signed_in is not None and -LEEWAY <= ctx.at - ctx.signed_in <= FRESH


def at_the_machine(ctx: Context) -> bool:
    """A command on the machine: nobody signed in for it, so there is no sign-in to ask for. The role `operator` alone is no such thing:
    accounts and other issuers have it, too."""
    return ctx.scopes is None and ctx.actor.operator


async def need_proof(ctx: Context, letter: str, what: str, why: str, decision: Decision | None = None) -> None:
    """Problem forbidden, with the challenge and written down, where they did not. `why` is what needs it, as a sentence begins."""
    if at_the_machine(ctx) or signed_in_now(ctx):
        return
    await ctx.house.store.commit(note(ctx, letter, what, decision, allowed=False, detail="their sign-in was not fresh"))
    raise Problem("forbidden", f"Sign in again first: {why} needs a sign-in of the last {MINUTES} minutes (auth_time).", headers=dict(CHALLENGE))


async def is_oneself(ctx: Context, user: str) -> bool:
    """Is `user` (`Type/id`) the human who asks: under the same name, or the practitioner behind both, by a job that is over, too."""
    return await _behind(ctx, user) == await _behind(ctx, ctx.actor.user)


async def _behind(ctx: Context, user: str) -> str:
    """The practitioner in this job, as the directory last said it; anybody else themselves."""
    if not user.startswith("PractitionerRole/"):
        return user
    store, ref = ctx.house.store, Ref(*user.split("/", 1))
    job = await store.get(ref)
    if job is not None and job.deleted:
        job = await store.version(ref, job.version - 1)
    said = (strict.decode(job.body).get("practitioner") or {}).get("reference", "") if job is not None and job.body is not None else ""
    return str(said).split("/_history/")[0] or user


__all__ = ["CHALLENGE", "LEEWAY", "MINUTES", "at_the_machine", "is_oneself", "need_proof", "signed_in_now"]
