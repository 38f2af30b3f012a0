"""What of a resource may be put into another one that other people will read: answers that are filled in, what is made of answers.

Whoever copies sees what they see; those who read the copy may be others. So what is copied carries every label of what it was copied
from, and says nothing of where somebody at risk is, since text is never cut from what is shown (docs/labels.md). Where the copier is not
told all of the labels they cannot put them on, and nothing is copied.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..domain import strict
from ..domain.person import is_location_protected
from ..domain.rendering import rendered
from ..domain.types import PLACES, PRACTICE, VIEW, Cut, Ref
from ..domain.vocabulary import HANDLING_SYSTEM, LOCATION_PROTECTED
from .context import Context, rendering, stand


@dataclass(frozen=True, slots=True)
class Copyable:
    """`resource` as far as it may be copied, with all its labels; `whole` is False where it has labels that the asker is not told."""

    resource: dict[str, Any]
    whole: bool = True


async def copyable(ctx: Context, ref: Ref, version: int, about: str = "") -> Copyable:
    """This version, which the asker was just shown, as it may be copied into what is about `about` (`Patient/…`), too."""
    stored = await ctx.house.store.version(ref, version)
    if stored is None or stored.body is None:  # taken away since
        return Copyable({}, whole=False)
    shown, body = strict.decode((await rendering(ctx, stored))[0]), strict.decode(stored.body)
    people = await stand(ctx.house, {*stored.facts.patients, *([about] if about else [])}, None, ctx.place)
    endangered = [s for s in people.values() if s.at_risk]
    if not _labels(body) <= _labels(shown):
        return Copyable({}, whole=False)
    practice = frozenset[str]().union(*(s.practice for s in endangered))
    if str(ref) in practice:  # who they are says where the person is
        return Copyable({}, whole=False)
    if endangered or is_location_protected(body):
        shown = {**rendered(shown, Cut(VIEW | PLACES | (PRACTICE if practice else 0), practice)), "meta": body.get("meta", {})}
    return Copyable(shown)


async def told_all_labels(ctx: Context, ref: Ref, version: int) -> bool:
    """Is the asker told every label of this version, which they were just shown."""
    stored = await ctx.house.store.version(ref, version)
    if stored is None or stored.body is None:
        return False
    return _labels(strict.decode(stored.body)) <= _labels(strict.decode((await rendering(ctx, stored))[0]))


def _labels(resource: dict[str, Any]) -> set[tuple[str, str]]:
    """All but that somebody is at risk: what that hides is left out of the copy, and who may not know of it is not told of it."""
    given = {(str(c.get("system", "")), str(c.get("code", ""))) for c in resource.get("meta", {}).get("security", ())}
    return given - {(HANDLING_SYSTEM, LOCATION_PROTECTED)}
