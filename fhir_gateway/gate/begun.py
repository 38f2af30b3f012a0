"""Answers that somebody has begun to type and has not sent: beside the record, and theirs alone until they send them. docs/questionnaires.md

They are no part of the record: nobody finds them, no partner is sent them, no consent speaks of them. With *Send* they are written, and decided on, as
any answers are. A name is `PERSON.UUID`, of the person whom they are about.
"""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass, replace
from datetime import timedelta
from typing import Any, Final
from urllib.parse import quote

from ..domain import strict
from ..domain.problem import Problem
from ..domain.types import Drop, Keep, Ref
from ..store.base import Taken
from .committing import Work
from .context import Context, Written, need_scope
from .preparing import put_new
from .reading import read
from .writing import create

KIND: Final = "begun"
FOR: Final = timedelta(days=90)  # since something was typed last
MOST: Final = 50  # that one may have begun for one person
ANSWERS: Final = "QuestionnaireResponse"
_NAME: Final = re.compile(r"([A-Za-z0-9\-.]{1,64})\.([0-9a-f-]{36})\Z")
CHANGED: Final = "These answers were changed on another page meanwhile."


@dataclass(frozen=True, slots=True)
class Begun:
    """`body` is a QuestionnaireResponse in progress; once sent it is empty and `sent` is the id of what was written, or "" where that waits as a draft."""

    version: int
    at: str
    by: str
    body: dict[str, Any]
    sent: str | None = None


async def begin(ctx: Context, body: dict[str, Any]) -> str:
    """The name of answers that were begun. Problem: as of `create`, for whoever could not send them; conflict for more than MOST."""
    need_scope(ctx, "c", ANSWERS)
    await put_new(Work(ctx), ANSWERS, strict.dump(body))  # asked, and not written
    person = str(body["subject"]["reference"]).removeprefix("Patient/")
    if len([b for b in (await begun_about(ctx, person)).values() if b.sent is None]) >= MOST:
        raise Problem("conflict", f"{MOST} forms are begun already: send one or throw one away first.")
    name = f"{person}.{ctx.house.new_id()}"
    await ctx.house.store.commit(_keep(ctx, name, Begun(1, ctx.at.isoformat(), ctx.actor.user, body)))
    return name


async def begun(ctx: Context, name: str) -> Begun | None:
    """What this asker began under this name. Problem not-found where they may not see the person any more."""
    if _NAME.match(name) is None or (raw := await _raw(ctx, name)) is None:
        return None
    await read(ctx, Ref("Patient", name.rpartition(".")[0]))
    return _read(raw)


async def begun_about(ctx: Context, person: str) -> dict[str, Begun]:
    """By name, what this asker began about this person (an id), the newest first."""
    kept = await ctx.house.store.kept_all(KIND, ctx.at, prefix=_key(ctx, f"{person}."))
    found = {f"{person}.{key.rpartition(' ')[2]}": _read(raw) for key, raw in kept.items()}
    return dict(sorted(found.items(), key=lambda item: (item[1].at, item[0]), reverse=True))


async def type_on(ctx: Context, name: str, version: int, body: dict[str, Any]) -> None:
    """What was typed is kept in the place of that version. Problem stale."""
    was, raw = await _still(ctx, name, version)
    await _swap(ctx, name, raw, replace(was, version=version + 1, at=ctx.at.isoformat(), body=body))


async def send_begun(ctx: Context, name: str, version: int, body: dict[str, Any]) -> Written:
    """Written into the record, and begun no more, in one commit; whoever sends again finds what was written. Problem: stale, and all of `create`."""
    was, raw = await _still(ctx, name, version)

    def over(written: Written) -> list[Keep]:
        done = replace(was, version=version + 1, body={}, sent="" if written.draft is not None else written.ref.id)
        return [_keep(ctx, name, done, raw)]

    return await create(ctx, ANSWERS, strict.dump(body), also=over)


async def throw_away(ctx: Context, name: str) -> None:
    """Nothing of it is left. What was sent stays sent."""
    if _NAME.match(name) is not None and (raw := await _raw(ctx, name)) is not None and _read(raw).sent is None:
        await ctx.house.store.commit(Drop(KIND, _key(ctx, name), if_value=raw))


async def _still(ctx: Context, name: str, version: int) -> tuple[Begun, bytes]:
    raw = await _raw(ctx, name)
    was = _read(raw) if raw is not None else None
    if raw is None or was is None or was.version != version or was.sent is not None:
        raise Problem("stale", CHANGED)
    return was, raw


async def _swap(ctx: Context, name: str, raw: bytes, new: Begun) -> None:
    try:
        await ctx.house.store.commit(_keep(ctx, name, new, raw))
    except Taken:
        raise Problem("stale", CHANGED) from None


async def _raw(ctx: Context, name: str) -> bytes | None:
    return await ctx.house.store.kept(KIND, _key(ctx, name), ctx.at)


def _keep(ctx: Context, name: str, value: Begun, raw: bytes | None = None) -> Keep:
    return Keep(KIND, _key(ctx, name), strict.dump(asdict(value)), ctx.at + FOR, if_absent=raw is None, if_value=raw)


def _read(raw: bytes) -> Begun:
    """As it was kept, each number as it was typed."""
    return Begun(**strict.decode(raw))


def _key(ctx: Context, name: str) -> str:
    """By the person first, and by who types: nobody else finds it."""
    person, _, id = name.rpartition(".")
    return f"Patient/{person} {quote(ctx.actor.user, safe='')} {id}"


__all__ = ["Begun", "begin", "begun", "begun_about", "send_begun", "throw_away", "type_on"]
