"""One commit being prepared, and the store's answer to it in the caller's words."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Final, TypeVar
from urllib.parse import parse_qsl

from ..domain import copies
from ..domain.drafts import Item
from ..domain.problem import Problem
from ..domain.types import Keep, Note, Op, Ref, Stored
from ..store.base import Moved, Stale, Taken, TooBig, TooLong, Unavailable, Unsettled
from .context import Context, Written
from .keying import keyed_by_the_directory
from .telling import of_new_access, of_the_directory

T = TypeVar("T")
SOUGHT = "if-none-exist"
BACK: Final = b"back "
UNDER_WAY: Final = timedelta(hours=6)  # longer than a page that was read may take to be taken in
Also = Callable[[Written], Sequence[Op]]  # what stands in the commit of a write beside it; it may be asked more than once, so it only says


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
    unseen: bool = False  # it takes back what its writer may not see
    over: set[Ref] = field(default_factory=set)  # referrals of which a Task is over now
    answered: set[Ref] = field(default_factory=set)  # answers to questions, finished now
    helped: dict[Ref, tuple[str, ...]] = field(default_factory=dict)  # Tasks that are or were taken on, what led them to a team, and whose they are
    plans: dict[str, list[Ref]] = field(default_factory=dict)  # people of whom it makes or ends main plans; which it makes
    medicines: dict[Ref, Stored | None] = field(default_factory=dict)  # that it writes, as they were before
    where: dict[Ref, str] = field(default_factory=dict)  # of what came in a Bundle: in which entry
    last: list[Callable[[Work], Awaitable[None]]] = field(default_factory=list)  # what is done once all that was asked for is prepared
    drafted: list[Item] = field(default_factory=list)  # what its writer may only propose (`drafting`): it is written nowhere yet
    draft: Ref | None = None  # the Task that says so
    propose: Callable[[Work, Sequence[Op]], Awaitable[Sequence[Op]]] | None = None  # makes a draft of them, and of what was to be written beside them

    async def get(self, ref: Ref) -> Stored | None:
        """The resource as it will be after this commit, as far as it is prepared; None when there is none."""
        return self.new.get(ref) or await self.ctx.house.store.get(ref)

    @property
    def written(self) -> dict[Ref, Stored]:
        """What it writes: `new` without what is only proposed."""
        proposed = {i.ref for i in self.drafted}
        return {ref: s for ref, s in self.new.items() if str(ref) not in proposed} if proposed else self.new

    async def seek(self, type: str, condition: str) -> str:
        """The name of this writer's condition; of one by a copy's tag, everybody's, so that a pull and its partner's push meet. Look up its matches afterwards: whoever makes one meanwhile has used the name, and this
        commit will not go through."""
        name = _copy_sought(type, condition) or f"{self.ctx.client or self.ctx.actor.user} {type}?{condition}"
        if name not in self.sought:
            self.sought[name] = await self.ctx.house.store.kept(SOUGHT, name, self.ctx.at)
        return name

    def at_last(self, finish: Callable[[Work], Awaitable[None]]) -> None:
        """Do this once before the commit."""
        if finish not in self.last:
            self.last.append(finish)

    async def commit(self, *more: Op) -> None:
        """All of it and `more`, with a notice to each person to whose record it lets somebody in. Taken where it is to be looked at again:
        that something unseen was changed meanwhile is nothing to tell."""
        for finish in self.last:
            await finish(self)
        if self.propose is not None:
            more = tuple(await self.propose(self, more))
        await keyed_by_the_directory(self)
        told = [*await of_new_access(self.ctx, self.written, self.ops), *of_the_directory(self.written)]
        try:
            await settle(self.ctx, *self.ops, *self.trail, *more, *told)
        except Problem as p:
            if self.unseen and p.kind == "stale":
                raise Taken("unseen", "") from None
            raise


def of_copy(type: str, code: str) -> str:
    """The name under which a copy with this tag of a gateway is made, whoever makes it; "" for what is no gateway's."""
    return f"{type} {copies.SYSTEM}|{code}" if copies.parts(code) is not None else ""


def claim(name: str, last: bytes | None, ref: Ref, at: datetime) -> Keep:
    """Taken where somebody else has used this name since it was `last` looked at, before the look at what is there."""
    return Keep(SOUGHT, name, str(ref).encode(), at + timedelta(minutes=1), if_absent=last is None, if_value=last)


def back(name: str, last: bytes | None, at: datetime) -> Keep:
    """A copy by this name was asked back: who makes one from what they read before looks again (`was_back`). No two are alike."""
    mark = BACK + sha256((last or b"") + at.isoformat().encode()).hexdigest()[:32].encode()
    return Keep(SOUGHT, name, mark, at + UNDER_WAY, if_absent=last is None, if_value=last)


def was_back(last: bytes | None) -> bool:
    """Was a copy by this name asked back last, so that what was read before may be shown no more?"""
    return last is not None and last.startswith(BACK)


def _copy_sought(type: str, condition: str) -> str:
    try:
        params = parse_qsl(condition.lstrip("?"), keep_blank_values=True, max_num_fields=50)
    except ValueError:
        return ""
    values = params[0][1].split(",") if [name for name, _ in params] == ["_tag"] else []
    found = (of_copy(type, v.removeprefix(f"{copies.SYSTEM}|")) for v in values if v.startswith(f"{copies.SYSTEM}|"))
    return next((name for name in found if name), "")


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
    """What the caller is told when the store cannot answer: that nothing was written, unless nobody knows. Problem too-large for what it cannot keep."""
    if isinstance(wrong, TooBig):
        return Problem("too-large", "This is larger than the store here keeps in one record. Nothing was written: send it in parts.")
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
