"""What waits for a person: conflicts with both versions, what could not be taken, what was parked. docs/sync.md"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import structlog

from .. import gate
from ..domain import compartment, strict
from ..domain.problem import Problem, outcome
from ..domain.reasons import because
from ..domain.reconcile import Conflict
from ..domain.types import Keep, Linked, Op, Ref, Send, Stored
from ..gate import Context, House
from ..gate.context import note
from ..gate.raising import SETTLE, raise_task
from ..gate.settling import CONFLICT, DELETED
from ..gate.telling import tell
from ..remote.client import Refusal
from ..store.base import Moved, Stale
from .feed import Change
from .links import agreed_by
from .partner import Partner, local_references
from .taken_as_no import closed_by
from .tally import Tally, ignored

log = structlog.get_logger()

MOST_OUTCOME: Final = 8 * 1024  # bytes of what a partner said that are kept
QUARANTINE: Final = "quarantine"  # kept by `<remote> <Type/id there>`: the newest that could not be taken, and how often it was tried
MOST: Final = 10_000  # items of one partner that wait; beyond that nothing more is kept but that there is more
MOST_WHOLE: Final = 1_000  # beyond that nothing of what is broken and about nobody known, and of anything else no body
LONGEST, BRIEF = 64 * 1024, 1024  # bytes of a body that are kept of each of MOST_WHOLE, and of the others
MOST_ISSUES: Final = 20  # of its OperationOutcome
MORE: Final = "unnamed/more"  # what stands in quarantine for all those
NAMES: Final = 20  # Patients that are looked for in a text
_PATIENT: Final = re.compile(r"Patient/([A-Za-z0-9.-]{1,64})")
CHOOSE: Final = "Two versions of this wait. It was changed here and at another service at the same time. Look at both and choose one."
GONE: Final = "Another service has deleted its copy of this, and here it was changed or is to stay. Say whether it is to stay."


async def both_kept(
    house: House, partner: Partner, ctx: Context, stored: Stored, theirs: dict[str, Any] | None, step: Conflict, holds: str = ""
) -> tuple[Keep, list[Op]]:
    """The record of a conflict, with our version and theirs (None: deleted), and what is committed with it: its audit rows, a Task
    and a notice to the privacy officer. `ours` and `theirs` of the record differ only where they clash. `holds`: over what there nothing goes
    while it waits, `Type/id`."""
    id, person = house.new_id(), next(iter(stored.facts.patients), None)
    ours = strict.decode(stored.body or b"")
    record: dict[str, Any] = {
        "id": id, "remote": partner.name, "ref": str(stored.ref), "at": ctx.at.isoformat(), "paths": list(step.paths), "version": stored.version,
        "winner": {"local": "ours", "remote": "theirs"}.get(step.won, "deleted" if theirs is None else "ours"), **({"patient": person} if person else {}),
        "ours": ours if theirs is None else step.of("local") or ours, **({"theirs": step.of("remote") or theirs} if theirs is not None else {}),
        **({"holds": holds} if holds else {}),
    }  # fmt: skip
    also: list[Op] = [note(ctx, "U", "conflict", None, (str(stored.ref),), patient=p, allowed=True) for p in stored.facts.patients]
    if person is not None:
        task, ops = await raise_task(ctx, SETTLE, GONE if theirs is None else CHOOSE, person, stored.ref)
        record["task"] = str(task)
        also += [*ops, *tell("conflict", person, "privacy-officer")]
    return Keep(CONFLICT, f"{partner.name} {stored.ref} {id}", strict.dump(record)), also


async def deletion_kept(house: House, partner: Partner, ctx: Context, stored: Stored) -> list[Op]:
    """They deleted what we did not: ours stays here and is not made anew there, until a person decides."""
    step = Conflict(None, strict.decode(stored.body or b""), (stored.ref.type,))
    kept, also = await both_kept(house, partner, ctx, stored, None, step)
    return [kept, *also, Keep(DELETED, f"{partner.name} {stored.ref}", ctx.at.isoformat().encode())]


async def deleted_there(house: House, partner: Partner, link: Linked | None) -> bool:
    """Does this wait for a person, because they deleted it?"""
    return link is not None and link.gone and await house.store.kept(DELETED, f"{partner.name} {link.ref}", house.clock()) is not None


async def held_there(house: House, partner: Partner, link: Linked | None) -> bool:
    """Does nothing go over what is there now, for a person decides between that and ours?"""
    if link is None or link.gone:
        return False
    open = await house.store.kept_all(CONFLICT, house.clock(), f"{partner.name} {link.ref} ")
    return any(strict.decode(raw).get("holds") == link.remote_id for raw in open.values())


async def refused_there(house: House, partner: Partner, link: Linked | None) -> bool:
    """Does nothing go over what is there now, for what they wrote there since both sides last agreed was refused here, and is in quarantine? Over
    where it is taken in, or what is there was agreed on since (a stub, say)."""
    raw = await house.store.kept(QUARANTINE, f"{partner.name} {link.remote_id}", house.clock()) if link is not None and not link.gone else None
    return raw is not None and link is not None and strict.decode(raw).get("holds", {}).get("agreed") == agreed_by(link)


# -- parked -----------------------------------------------------------------------------------------------------------


def refusal_kept(house: House, partner: Partner, ref: Ref, e: Refusal) -> Keep:
    """What that server said when it would not take this, for whoever looks: status, its words, its OperationOutcome as far as it is one."""
    said = {"status": e.status, "text": e.text, "at": house.clock().isoformat(), **({"outcome": o} if (o := _outcome(e.outcome)) else {})}
    return Keep("parked", f"{partner.name} {ref}", strict.dump(said))


def _outcome(body: Any) -> dict[str, Any] | None:
    """The issues of an OperationOutcome, as many as there is room for; nothing else of an answer."""
    issues: list[dict[str, Any]] = []
    found = body.get("issue") if isinstance(body, dict) and body.get("resourceType") == "OperationOutcome" else None
    for issue in found if isinstance(found, list) else []:
        if not isinstance(issue, dict):
            continue
        details = issue.get("details")
        text = issue.get("diagnostics") or (details.get("text") if isinstance(details, dict) else None)
        parts = {k: str(issue[k])[:40] for k in ("severity", "code") if k in issue}
        where = {k: [str(p)[:200] for p in issue[k][:5]] for k in ("expression", "location") if isinstance(issue.get(k), list)}
        issues.append({**parts, **({"diagnostics": str(text)[:1_000]} if text else {}), **where})
        if len(strict.dump(issues)) > MOST_OUTCOME:
            issues.pop()
            break
    return {"resourceType": "OperationOutcome", "issue": issues} if issues else None


# -- quarantine -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Corrected:
    """What an operator made of a new resource of theirs that was refused."""

    body: dict[str, Any]
    by: Context

    def about(self, names: Mapping[str, str]) -> dict[str, Any]:
        """Its body, which is about nobody but whom theirs is about (`names`: their `Type/id` to ours). Problem bad-request."""
        told = set(compartment.patients(self.body))
        known = {n for pair in names.items() for n in pair if n.startswith("Patient/")}
        if not told or not told <= known:
            raise Problem("bad-request", "The corrected resource must be about the same person as theirs.", self.body["resourceType"])
        return self.body

    def written(self, partner: Partner, remote_id: str, written: gate.Written, names: Mapping[str, str]) -> list[Op]:
        """What stands in the commit of its write: the operator's own row, and that it is to go there."""
        person = next((ours for ours in names.values() if ours.startswith("Patient/")), None)
        row = note(self.by, "U", "sync", None, (str(written.ref),), patient=person, allowed=True, detail=f"corrected by an operator: {remote_id} at {partner.name}")
        return [row, Send(partner.name, written.ref, written.version, person)]


async def broken(
    house: House, partner: Partner, ctx: Context, change: Change, link: Linked | None, why: str = "cannot-be-read-as-fhir"
) -> Tally:
    """An entry that cannot be read. What it said is kept only where it is of something, or speaks of somebody, that is linked; else its
    name, why and how long it was, of MOST_WHOLE at most."""
    return await put_aside(house, partner, ctx, change, link, because(why, kind="malformed", said=change["broken"]))


async def put_aside(house: House, partner: Partner, ctx: Context, change: Change, link: Linked | None, p: Problem) -> Tally:
    """What is not taken in before it is known whom it is about: kept as `broken` says. Who it was is looked at before anything more about them."""
    partner.met_again.pop(change["id"], None)
    shown = change["resource"]
    text = shown if isinstance(shown, str) else strict.dump(shown).decode()
    named = list(dict.fromkeys(_PATIENT.findall(text)))[:NAMES]
    links = [await house.store.link_by_remote(partner.name, f"Patient/{id}") for id in named]
    people = [str(found.ref) for found in links if found is not None]
    if people or link is not None:
        return await quarantine(house, partner, ctx, change["id"], shown, p, [], people)
    body = {"unreadable": True, "size": len(text)}
    return await quarantine(house, partner, ctx, change["id"], body, p, [], most=MOST_WHOLE)


async def _more(house: House, partner: Partner, ctx: Context) -> Tally:
    """One item stands for all that are not kept, with one alarm."""
    if await house.store.kept(QUARANTINE, f"{partner.name} {MORE}", ctx.at) is not None:
        return ignored("more that cannot be taken in")
    log.error("alarm", what=f"So much from {partner.name} cannot be taken in that no more of it is kept: `fhir-gateway sync waiting`.")
    return await quarantine(house, partner, ctx, MORE, {"unreadable": True}, because("more", kind="malformed"), [])


async def quarantine(
    house: House, partner: Partner, ctx: Context, remote_id: str, body: Any, p: Problem, also: list[Op], people: Sequence[str] = (), *, most: int = 0,
    numbered: Sequence[str] | None = None, holds: Mapping[str, str] | None = None,
) -> Tally:  # fmt: skip
    """Keep what could not be taken, with its OperationOutcome: the newest of this id there, since when and how often. Who somebody is
    is for the privacy officer too. `people`: ours whom it is about, beside those that can be read off it.

    What is kept of one partner is bounded: `most` (or MOST) items, the first MOST_WHOLE of them with their bodies, of LONGEST at most. Of the
    others the body is read there again when it is replayed. What is not kept at all commits nothing of `also`: ours does not go over it.
    `holds`: over what is there nothing goes while this waits (`refused_there`): by what both sides agreed on, and what is there.
    A Consent that may be a no closes, whatever else is kept of it, where it says by a number alone whose it is that of `numbered` (`taken_as_no`). Moved.
    """
    key = f"{partner.name} {remote_id}"
    kept, count = await house.store.kept(QUARANTINE, key, ctx.at), await house.store.kept_count(QUARANTINE, ctx.at, f"{partner.name} ")
    before = strict.decode(kept) if kept is not None else {}
    link = await house.store.link_by_remote(partner.name, remote_id)
    stored = await house.store.get(link.ref) if link is not None else None
    closes, closing = await closed_by(house, partner, ctx, remote_id, body, p, before, link, stored, numbered)
    if kept is None and count >= (most or MOST) and remote_id != MORE:
        if closing:
            await house.store.commit(*closing)
        return await _more(house, partner, ctx)
    size, about = len(strict.dump(body)), body
    whole = count < MOST_WHOLE or (bool(before) and len(strict.dump(before["body"])) > BRIEF)
    if size > (LONGEST if whole else BRIEF):
        body = {"left_out": True, "size": size}
    item = {
        "item": before.get("item") or house.new_id(), "remote": partner.name, "id": remote_id, "at": before.get("at") or ctx.at.isoformat(),
        "tried": ctx.at.isoformat(), "tries": int(before.get("tries", 0)) + 1, "body": body, "outcome": outcome(p.issues[:MOST_ISSUES]), "kind": p.kind,
        "people": await _about(house, partner, stored, about, people), **({"holds": dict(held)} if (held := holds or before.get("holds")) else {}),
        **({"ref": str(stored.ref), "version": stored.version} if stored is not None else {}), **closes,
    }  # fmt: skip
    trail = note(ctx, "U", "sync", None, (), allowed=False, detail=f"quarantined: {p.kind}")
    told = tell("identity", str(stored.ref), "privacy-officer") if stored is not None and stored.ref.type == "Patient" and p.kind == "conflict" and not before else []
    try:
        await house.store.commit(*also, *closing, Keep(QUARANTINE, key, strict.dump(item)), trail, *told)
    except Stale as e:  # what closes was changed meanwhile: it is looked at again
        raise Moved(str(e)) from None
    return Tally(turned_away={remote_id})


def left_out_of(item: Mapping[str, Any]) -> bool:
    """Is its body not kept?"""
    return isinstance(item["body"], dict) and "left_out" in item["body"]


async def _about(house: House, partner: Partner, stored: Stored | None, body: Any, known: Collection[str]) -> list[str]:
    """Ours (`Patient/id`) whom this is about: of what is here, and whom it names, as they are called there or here."""
    people = dict.fromkeys([*(stored.facts.patients if stored is not None else ()), *known])
    for name in (r for r in local_references(body) if r.type == "Patient"):
        link = await house.store.link_by_remote(partner.name, str(name))
        if link is not None or await house.store.get(name) is not None:
            people[str(link.ref if link is not None else name)] = None
    return list(people)
