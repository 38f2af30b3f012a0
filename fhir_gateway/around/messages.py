"""What was said to somebody and about them: the Communications of a record, as far as the reader may see them. docs/messages.md

https://hl7.org/fhir/R4/communication.html
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from .. import gate
from ..domain import strict
from ..domain.bundle import instant
from ..domain.periods import DAWN, interval
from ..domain.problem import not_found
from ..domain.types import Ref
from ..gate import Context

MOST: Final = 200  # messages on one page
BATCH: Final = 100
OWNERS: Final = ("Practitioner", "PractitionerRole", "Organization", "CareTeam")
THEMSELVES: Final = ("Practitioner", "PractitionerRole")
NEW_FOR: Final = timedelta(days=30)  # how long a message is on the list of whom it is for
MOST_MINE: Final = 20
LOOKED_AT: Final = 200  # of those messages, for what is urgent among them
URGENT: Final = ("urgent", "asap", "stat")


@dataclass(frozen=True, slots=True)
class Messages:
    """The newest Communications that this reader may see, at most `MOST`; `person` is the Patient, or {} where that is hidden from them."""

    person: dict[str, Any]
    found: list[dict[str, Any]]
    more: bool


async def of_person(ctx: Context, ids: Sequence[str]) -> Messages:
    """What is about one person, from them or to them (their id, or those of their merged records). Problem not-found, the same for hidden and absent."""
    people = await gate.search(ctx, "Patient", [("_id", ",".join(ids))])
    person: dict[str, Any] = next((strict.decode(e.body) for e in people.entries if e.body and e.mode == "match"), {})
    found: dict[str, dict[str, Any]] = {}
    more = False
    for id in ids:
        every, rest = await _of_record(ctx, id)
        found, more = found | {str(m["id"]): m for m in every}, more or rest
    if not person and not found:
        raise not_found()
    told = sorted(found.values(), key=moment, reverse=True)
    return Messages(person, told[:MOST], more or len(told) > MOST)


async def _of_record(ctx: Context, id: str) -> tuple[list[dict[str, Any]], bool]:
    """(the messages of one record, whether there are more)."""
    found: list[dict[str, Any]] = []
    asked = [("_sort", "-_lastUpdated"), ("_count", str(BATCH))]
    while True:
        page = await gate.search(ctx, "Communication", asked, within=Ref("Patient", id))
        found += [b for e in page.entries if e.body and e.mode == "match" and (b := strict.decode(e.body)).get("status") != "entered-in-error"]
        if page.next is None or len(found) >= MOST:
            return found, page.next is not None
        asked = [("_page", page.next)]


async def for_me(ctx: Context) -> list[dict[str, Any]]:
    """Messages of the last 30 days that name this worker, or where they work, as whom they are for, the urgent first, then the newest: all but what they sent themselves.
    What their own place sent is by somebody else, or by a product of its."""
    mine = ctx.actor.ids | {ctx.actor.user, ctx.actor.organisation or ""}
    refs = sorted(n for n in mine if n.split("/")[0] in OWNERS)
    identifiers = sorted(n for n in mine if "|" in n and "," not in n)
    found: dict[str, dict[str, Any]] = {}
    for param, names in (("recipient", refs), ("recipient:identifier", identifiers)):
        if names:
            found |= await _by_others(ctx, (param, ",".join(names)), {ctx.actor.user, *(n for n in refs if n.split("/")[0] in THEMSELVES)})
    newest = sorted(found.values(), key=moment, reverse=True)
    return sorted(newest, key=lambda m: m.get("priority") not in URGENT)[:MOST_MINE]


async def _by_others(ctx: Context, named: tuple[str, str], themselves: set[str]) -> dict[str, dict[str, Any]]:
    """By id, the newest that were sent by nobody of `themselves`: `LOOKED_AT` of them or more, where there are so many: one that is urgent may be behind newer ones."""
    found: dict[str, dict[str, Any]] = {}
    asked = [named, ("_lastUpdated", f"ge{instant(ctx.at - NEW_FOR)}"), ("_sort", "-_lastUpdated"), ("_count", str(LOOKED_AT))]
    while True:
        page = await gate.search(ctx, "Communication", asked)
        for e in page.entries:
            if e.body and e.mode == "match" and (b := strict.decode(e.body)).get("status") != "entered-in-error" and (b.get("sender") or {}).get("reference") not in themselves:
                found[str(b["id"])] = b
        if page.next is None or len(found) >= LOOKED_AT:
            return found
        asked = [("_page", page.next)]


def when(message: dict[str, Any]) -> str:
    """When it was sent, else received, else written down: an instant as it stands there."""
    return str(message.get("sent") or message.get("received") or (message.get("meta") or {}).get("lastUpdated") or "")


def moment(message: dict[str, Any]) -> tuple[int, str]:
    """`when`, to sort by: the first microsecond of it since 1970, wherever it was written; what is no FHIR date comes before all that are."""
    said = when(message)
    try:
        return interval(said)[0], said
    except ValueError:
        return DAWN, said


__all__ = ["MOST", "Messages", "for_me", "moment", "of_person", "when"]
