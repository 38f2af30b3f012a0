"""Inbound: what changed there, merged with what changed here, through the same gate as any client.

The watermark moves in the commit that follows the applied page; the window overlaps, and what was seen is recognised by
(id, ETag). What cannot be taken is quarantined with its reason, never dropped.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from ..domain.types import Keep
from ..gate import House
from .feed import Change, from_history, from_search
from .partner import Partner
from .taking import apply
from .tally import Tally

OVERLAP = timedelta(seconds=5)
FIRST_CLASS = frozenset(
    ["Patient", "CarePlan", "Goal", "QuestionnaireResponse", "CareTeam", "Condition", "Task", "ServiceRequest", "Observation", "Communication", "DocumentReference", "RelatedPerson", "Flag", "List", "RiskAssessment", "Consent"]
)


async def pull(house: House, partner: Partner) -> Tally:
    """Everything that changed there since the watermark."""
    if partner.terms.direction == "out":
        return Tally()
    abilities = await partner.met()
    tally = Tally()
    kept = await house.store.kept("watermark", partner.name, house.clock())
    since = kept.decode() if kept else None
    if abilities.system_history:
        changes, newest = await from_history(partner, None, since)
    else:
        changes, newest = [], since
        for type in sorted(_types(partner, abilities.types)):
            if type in abilities.type_history:
                more, seen = await from_history(partner, type, since)
            else:
                more, seen = await from_search(partner, type, since)
            changes += more
            newest = max(filter(None, (newest, seen)), default=None)
    first_contact = since is None
    for change in _in_order(changes):
        tally.add(await apply(house, partner, change, first_contact))
    mark = _mark(newest, since)
    if mark is not None and mark != since:
        await house.store.commit(Keep("watermark", partner.name, mark.encode()))
    return tally


def _types(partner: Partner, offered: frozenset[str]) -> set[str]:
    """Which types to ask for, where a server has no feed over all."""
    wanted = partner.terms.types or FIRST_CLASS
    return set(wanted) & set(offered) if offered else set(wanted)


def _mark(newest: str | None, since: str | None) -> str | None:
    """The next window's start: the newest stamp the server gave, less the overlap; never backwards."""
    if not newest:
        return since
    start = (datetime.fromisoformat(newest) - OVERLAP).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"
    return max(filter(None, (start, since)))


def _in_order(changes: list[Change]) -> list[Change]:
    """The newest state of each resource, people first, then oldest change first."""
    latest: dict[str, Change] = {}
    for change in changes:
        known = latest.get(change["id"])
        if known is None or (change["updated"] or "~") > (known["updated"] or "~"):
            latest[change["id"]] = change
    return sorted(latest.values(), key=lambda c: (not c["id"].startswith("Patient/"), c["updated"]))


__all__ = ["pull"]
