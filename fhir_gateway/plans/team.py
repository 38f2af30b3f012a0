"""Nobody becomes a member by being named: the organisations of a plan's team are asked whether they are.

Only health and social care organisations are asked: a Task invites whoever it names, and to share with anybody else is for the
person to say.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ..domain.mapping import Mapped
from ..domain.mapping.codecs import CARING, SECTOR
from ..domain.mapping.merging import Held
from ..domain.mapping.names import ODS, own_identifier, quote, system
from ..domain.types import Ref
from ..domain.vocabulary import CONFIRM_MEMBERSHIP, TASK_SYSTEM

OPEN = frozenset({"requested", "received", "accepted", "ready", "in-progress", "on-hold"})


def asked(mapped: Mapped, held: Mapping[Ref, Held]) -> tuple[list[dict[str, Any]], list[str]]:
    """Entries that create the questions not asked yet, and in words what waits for an answer."""
    main = own_identifier(next(e for e in mapped.entries if e.kind == "plan").resource)
    assert main is not None
    before = {h.own: h for h in held.values() if h.own and h.own[0] == "membership"}
    entries: list[dict[str, Any]] = []
    waiting: list[str] = []
    wanted = set()
    for focus, who, patient in _members(mapped):
        name = ("membership", f"{main[1]}/{_short(who)}")
        if name in wanted:
            continue
        wanted.add(name)
        if name not in before:
            entries.append({"resource": _task(name[1], focus, who, patient), "request": {"method": "POST", "url": "Task"}})
        if name not in before or before[name].resource.get("status") in ("requested", "received"):
            waiting.append(f"{who.get('display') or who['identifier']['value']} is asked to confirm its place in the team.")
    for own, h in before.items():
        if own not in wanted and own is not None and own[1].startswith(main[1] + "/") and h.resource.get("status") in OPEN:
            entries.append({"request": {"method": "DELETE", "url": h.ref, "ifMatch": f'W/"{h.version}"'}})
    return entries, waiting


def _members(mapped: Mapped) -> Iterator[tuple[str, dict[str, Any], str]]:
    """(fullUrl of the team or person, reference to the organisation, fullUrl of the person)."""
    person = next(e for e in mapped.entries if e.kind == "person")
    for e in mapped.entries:
        if e.kind == "team":
            for participant in e.resource["participant"]:
                member = participant["member"]
                if member.get("type") == "Organization" and member.get("identifier") and _sector(member) in CARING:
                    yield e.full_url, member, person.full_url
    for practice in person.resource.get("generalPractitioner", ()):
        if (practice.get("identifier") or {}).get("system") == ODS:
            yield person.full_url, practice, person.full_url


def _sector(member: Mapping[str, Any]) -> str | None:
    return next((e.get("valueCode") for e in member.get("extension", ()) if e.get("url") == SECTOR), None)


def _short(who: Mapping[str, Any]) -> str:
    identifier = who["identifier"]
    return f"{'ods' if identifier['system'] == ODS else 'id'}:{quote(identifier['value'])}"


def _task(value: str, focus: str, who: Mapping[str, Any], patient: str) -> dict[str, Any]:
    owner = {k: who[k] for k in ("type", "identifier", "display") if k in who}
    return {
        "resourceType": "Task",
        "identifier": [{"system": system("membership"), "value": value}],
        "status": "requested",
        "intent": "proposal",
        "code": {"coding": [{"system": TASK_SYSTEM, "code": CONFIRM_MEMBERSHIP}]},
        "description": "Are you in this person's care and support team?",
        "focus": {"reference": focus},
        "for": {"reference": patient},
        "owner": owner,
    }
