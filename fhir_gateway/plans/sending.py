"""One commit through the gate, whatever its size."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from .. import gate
from ..domain import strict
from ..domain.types import Ref
from ..gate import Context
from ..gate.transacting import Step, read_steps, written


@dataclass(frozen=True, slots=True)
class Done:
    """What each entry became, in their order: reference and version, and whether that version is new."""

    refs: list[tuple[Ref, int]]
    new: list[bool]
    drafted: bool = False  # by a volunteer: it waits for the person


async def send(ctx: Context, entries: list[dict[str, Any]]) -> Done:
    """Write these entries, all or nothing. Problem: whatever the gate refuses, `where` naming the entry."""
    if len(entries) <= ctx.limits.entries:
        answer = await gate.transaction(ctx, strict.dump({"resourceType": "Bundle", "type": "transaction", "entry": entries}))
        refs = [_named(e["response"]["location"]) for e in answer["entry"]]
        drafted = any(e["response"]["status"].startswith("202") for e in answer["entry"])
        return Done(refs, [_is_new(e["request"], a["response"]["status"], v) for e, a, (_, v) in zip(entries, answer["entry"], refs, strict=True)], drafted)
    steps: list[Step] = []
    for at in range(0, len(entries), ctx.limits.entries):  # the limit is for what strangers send in one body
        part = {"resourceType": "Bundle", "type": "transaction", "entry": entries[at : at + ctx.limits.entries]}
        steps += [replace(s, at=s.at + at) for s in read_steps(ctx, part)]
    answers = await written(ctx, steps)
    done = [answers[s.at] for s in steps]
    return Done([(w.ref, w.version) for w in done], [w.did not in ("matched", "unchanged") for w in done], any(w.draft is not None for w in done))


def _is_new(request: Mapping[str, Any], status: str, version: int) -> bool:
    """A conditional creation may have found what is here; an update may have changed nothing."""
    if request["method"] == "POST":
        return status.startswith(("201", "202"))
    return bool(request.get("ifMatch") != f'W/"{version}"')


def _named(location: str) -> tuple[Ref, int]:
    """The place, and the version; 0 where only the place is told."""
    place, _, version = location.partition("/_history/")
    type, id = place.rsplit("/", 2)[-2:]
    return Ref(type, id), int(version or 0)
