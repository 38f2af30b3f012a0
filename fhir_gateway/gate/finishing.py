"""Answers end the Task that asked the person for them: in the same commit, where whoever gives them may see that Task. One that asks somebody else
they end where it asks who gives them, or is theirs to change. docs/questionnaires.md"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any

from ..domain import strict
from ..domain.follow_ups import answered, answers, ends_itself
from ..domain.follow_ups import finished as done
from ..domain.periods import LONDON
from ..domain.standing import named_by
from ..domain.types import Ref, Stored
from .committing import Work
from .context import Context, ask, ask_stored


def finished(resource: Mapping[str, Any], before: Stored | None) -> bool:
    """Are these answers that somebody has just finished."""
    if resource.get("resourceType") != "QuestionnaireResponse" or not done(resource):
        return False
    return before is None or before.body is None or not done(strict.decode(before.body))


async def asked_for(work: Work) -> AsyncIterator[tuple[Stored, dict[str, Any]]]:
    """Tasks that end with this commit, and as what. One that the same commit writes is its writer's to end."""
    ctx, today = work.ctx, work.ctx.at.astimezone(LONDON).date()
    for ref in sorted(work.answered):
        given = work.new.get(ref)
        if given is None or given.body is None:
            continue
        response, closed = strict.decode(given.body), set[Ref]()
        for person in given.facts.patients:
            for task in await ctx.house.store.patient_record(person, ["Task"]):
                if task.body is None or task.ref in closed or task.ref in work.new or task.ref in work.gone:
                    continue
                body = strict.decode(task.body)
                if ends_itself(body) and answers(response, body, today) and await _may_end(ctx, person, task, body):
                    closed.add(task.ref)
                    yield task, answered(body, str(ref))


async def _may_end(ctx: Context, person: str, task: Stored, body: Mapping[str, Any]) -> bool:
    """Who sees it, and it asks the person, or them; or they may change it."""
    if not (await ask_stored(ctx, "access", task)).permit:
        return False
    asked, a = named_by(body.get("owner")), ctx.actor
    return person in asked or not asked.isdisjoint((a.ids - a.past) | {a.user}) or (await ask(ctx, "correct", task.facts)).permit


__all__ = ["asked_for", "finished"]
