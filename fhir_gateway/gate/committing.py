"""One commit being prepared, and the store's answer to it in the caller's words."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TypeVar

from ..domain.problem import Problem
from ..domain.types import Note, Op, Ref, Stored
from ..store.base import Moved, Stale, Taken, TooLong, Unavailable, Unsettled
from .context import Context
from .keying import keyed_by_the_directory
from .telling import of_new_access, of_the_directory

T = TypeVar("T")
SOUGHT = "if-none-exist"


@dataclass
class Work:
    """One commit being prepared: operations, what they do, and what later entries of the same Bundle must see."""

    ctx: Context
    ops: list[Op] = field(default_factory=list)
    new: dict[Ref, Stored] = field(default_factory=dict)
    gone: set[Ref] = field(default_factory=set)
    trail: list[Note] = field(default_factory=list)
    numbers: set[str] = field(default_factory=set)  # NHS numbers of Patients that this commit makes
    sought: dict[str, bytes | None] = field(default_factory=dict)  # conditions under which something may be made, as they were last used

    async def get(self, ref: Ref) -> Stored | None:
        """The resource as it will be after this commit, as far as it is prepared; None when there is none."""
        return self.new.get(ref) or await self.ctx.house.store.get(ref)

    async def seek(self, type: str, condition: str) -> str:
        """The name of this writer's condition. Look up its matches afterwards: whoever makes one meanwhile has used the name, and this
        commit will not go through."""
        name = f"{self.ctx.client or self.ctx.actor.user} {type}?{condition}"
        if name not in self.sought:
            self.sought[name] = await self.ctx.house.store.kept(SOUGHT, name, self.ctx.at)
        return name

    async def commit(self, *more: Op) -> None:
        """All of it and `more`, with a notice to each person to whose record it lets somebody in."""
        await keyed_by_the_directory(self)
        told = [*await of_new_access(self.ctx, self.new, self.ops), *of_the_directory(self.new)]
        await settle(self.ctx, *self.ops, *self.trail, *more, *told)


async def settle(ctx: Context, *ops: Op) -> None:
    """Commit, with the store's refusals in the caller's words."""
    try:
        await ctx.house.store.commit(*ops)
    except Stale:
        raise Problem("stale", "Somebody else changed this meanwhile. Read it again and repeat your change.") from None
    except Moved:
        raise Problem("unavailable", "What is allowed changed meanwhile. Please repeat.", headers={"Retry-After": "1"}) from None
    except Unavailable as wrong:
        raise unanswered(wrong) from None


def unanswered(wrong: Unavailable) -> Problem:
    """What the caller is told when the store cannot answer: that nothing was written, unless nobody knows."""
    told = "The store cannot answer now. Nothing was written."
    if isinstance(wrong, Unsettled):
        told = "The store did not say whether this was written. Read before you repeat it."
    if isinstance(wrong, TooLong):
        told = "This question takes too long to answer here. Ask for less at once: fewer values, a shorter chain, one person, a narrower time."
    return Problem("unavailable", told, headers={"Retry-After": "5"})


async def again(attempt: Callable[[], Awaitable[T]]) -> T:
    """Run a write that may lose a race for a name; the loser looks again at what there is now. Problem unavailable."""
    for _ in range(5):
        try:
            return await attempt()
        except Taken:
            continue
    raise Problem("unavailable", "Others are writing the same at this moment. Nothing was written. Please repeat.", headers={"Retry-After": "1"})
