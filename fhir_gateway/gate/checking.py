"""Two engines, one truth, at every door: what a predicate found is decided again by the plain evaluator before it leaves.

Where they differ nothing leaves: a 503, and an alarm for the operator (consent.md section 3).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from hashlib import sha256

import msgspec

from ..domain import consent
from ..domain.periods import micros
from ..domain.problem import Problem
from ..domain.standing import Standing
from ..domain.types import Ref, Stored
from .context import Context, filled, stand


async def decide_again(ctx: Context, hits: Iterable[Stored], known: Mapping[str, Standing] | None = None) -> None:
    """Problem unavailable unless the evaluator permits every one of these. `known` are standings that are at hand."""
    found = list(hits)
    known = known or {}
    missing = {p for h in found for p in h.facts.patients if p not in known}
    everyone = {**known, **await stand(ctx.house, missing, None, ctx.place)} if missing else known
    question = ctx.asks(ctx.action)
    for hit in found:
        if not consent.decide(question, await filled(ctx.house, hit.facts, everyone), everyone).permit:
            raise differ(ctx, hit.ref)


def differ(ctx: Context, ref: Ref) -> Problem:
    """The alarm is raised; the answer to the asker says nothing of what it was about."""
    ctx.house.alarm(f"search predicate and decision differ on {ref}")
    return Problem("unavailable", "The answer could not be checked. Nothing was sent; please tell the operator.")


def epoch_stamp(ctx: Context, standings: Mapping[str, Standing]) -> str:
    """What a page link carries: it changes with any consent, relationship or membership of these people, also one that begins or
    ends by itself, with the directory and the deployment's policy, so that a link from before the change leads nowhere."""
    kept, at = ctx.house._standings, micros(ctx.at)
    turn = ctx.place[0].next_change(at) if ctx.place is not None else None
    epochs = (turn, sorted((p, *kept[p][0], kept[p][1].next_edge(at)) for p in standings if p in kept))
    return sha256(msgspec.json.encode((epochs, ctx.house.policy.said()), order="deterministic")).hexdigest()[:16]


__all__ = ["decide_again", "epoch_stamp"]
