"""Who is to be told, asked again at the moment of sending; what became of it.

Addresses are what a person typed for this, never what stands in the record. An officer's is in the directory, which operators write.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Literal

import msgspec

from ..domain import consent, notices, strict
from ..domain.grants import walk
from ..domain.notices import Choice
from ..domain.periods import covers, micros
from ..domain.problem import not_found
from ..domain.proxies import DECIDES
from ..domain.standing import Standing
from ..domain.types import Ask, Keep, Op, Queued, Ref, Stored
from ..domain.vocabulary import PRIVACY_OFFICER
from .choosing import Recipient, choice_of, code_of, waiting, who
from .context import Context, House, directory_now, stand

SHOWN_FOR: Final = timedelta(days=90)


async def recipients(house: House, entry: Queued) -> list[Recipient]:
    """Who may be told of this entry at this instant; nobody when telling would endanger, or when there is nobody (any more)."""
    if entry.remote == "tell:privacy-officer":
        return await _officers(house)
    if entry.why == "address-code":
        return await _new_address(house, entry)
    former = await house.store.kept("tell-former", entry.ref.id, house.clock()) if entry.why == "choice-changed" else None
    before = msgspec.json.decode(former, type=Recipient) if former is not None else None
    person = await _present(house, entry.patient or (before.patient if before else "") or str(entry.ref))
    if person is None:
        return []
    standing = (await stand(house, [str(person.ref)]))[str(person.ref)]
    if standing.no_notify or standing.died is not None:
        return []
    if entry.why == "choice-changed":
        return [before] if before is not None else []
    out = []
    instead = _acting_instead(standing, micros(house.clock())) if entry.why != "not-recognised" else ()  # it may be they who looked
    for ref in (str(person.ref), *instead):
        if await _entitled(house, ref, person):
            out.append(Recipient(ref, await choice_of(house, ref)))
    return out


async def _new_address(house: House, entry: Queued) -> list[Recipient]:
    """Where a code goes, while it is waited for. Whoever asked for it is at the page, and it tells nothing of any record."""
    raw = await house.store.kept("tell-code", entry.ref.id, house.clock())
    new = await waiting(house, raw.decode()) if raw is not None else None
    if raw is None or new is None or new.id != entry.ref.id:
        return []
    return [Recipient(raw.decode(), new.choice, code=code_of(house, new))]


async def _present(house: House, name: str) -> Stored | None:
    """The person's record as it goes on: of a merged one the one that replaced it. None when it is gone."""
    for _ in range(5):
        stored = await house.store.get(Ref("Patient", name.removeprefix("Patient/")))
        if stored is None or stored.deleted or stored.body is None:
            return None
        merged = {k.other for k in (await stand(house, [name]))[name].links if k.merged}
        body = strict.decode(stored.body)
        onward = [str(k["other"].get("reference")) for k in body.get("link", []) if k.get("type") == "replaced-by"]
        target = next((o for o in onward if o in merged), None)
        if target is None:
            return stored
        name = target
    return None


def _acting_instead(standing: Standing, at: int) -> Iterator[str]:
    """Related people whose role puts them in the person's place: a parent of a child, an attorney once capacity is lost."""
    found: dict[str, None] = {}
    for grant in standing.grants:
        if grant.proxy in DECIDES and grant.in_force(at):
            for rule in walk(grant.root):
                if rule.type == "permit" and covers(rule.low, rule.high, at):
                    found.update(dict.fromkeys(w for w in sorted(rule.who) if w.startswith("RelatedPerson/")))
    yield from found


async def _entitled(house: House, ref: str, person: Stored) -> bool:
    """Could they, the person or who acts for them, read this record now."""
    directory, _ = await directory_now(house)
    kind: Literal["patient", "proxy"] = "patient" if ref == str(person.ref) else "proxy"
    actor = directory.actor(ref, kind=kind, patient=str(person.ref), at=house.clock())
    standings = await stand(house, [str(person.ref)])
    decision = consent.decide(Ask(actor, "access", house.clock()), person.facts, standings)
    return decision.permit and decision.basis in ("self", "proxy")


async def _officers(house: House) -> list[Recipient]:
    """Privacy officers whose role is registered and runs now; by the first email address of the role."""
    directory, _ = await directory_now(house)
    at = micros(house.clock())
    out = []
    for ref in sorted(directory.roles):
        role = directory.roles[ref]
        if PRIVACY_OFFICER not in role.codes or not covers(role.low, role.high, at):
            continue
        stored = await house.store.get(Ref("PractitionerRole", ref.split("/")[1]))
        contacts = strict.decode(stored.body).get("telecom", []) if stored is not None and stored.body else []
        emails = [a for c in contacts if c.get("system") == "email" and (a := notices.email(str(c.get("value", ""))))]
        out.append(Recipient(ref, Choice("email", emails[0]) if emails else Choice("app"), officer=True))
    return out


# -- what became of it ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Notice:
    """One notice for one recipient. `state`: waiting, sent, joined (one message told several), page, failed.

    `at` is when it came to that, `due` when it is tried next; `trouble` is one of a few fixed words.
    """

    why: str
    state: str
    queued: datetime
    at: datetime
    channel: str = ""
    failures: int = 0
    due: datetime | None = None
    trouble: str = ""


def notice_key(ref: str, entry: int) -> str:
    """Under which key a notice is kept: those of one recipient together, in the order in which they were queued."""
    return f"{ref} {entry:012d}"


async def notice(house: House, ref: str, entry: int) -> Notice | None:
    """What became of this outbox entry for this recipient; None before anything did, and 90 days after it was queued."""
    kept = await house.store.kept("notice", notice_key(ref, entry), house.clock())
    return msgspec.json.decode(kept, type=Notice) if kept is not None else None


def keep_notice(ref: str, entry: int, n: Notice) -> Op:
    """The operation that keeps it, to be committed with what it tells of."""
    return Keep("notice", notice_key(ref, entry), msgspec.json.encode(n), n.queued + SHOWN_FOR)


async def my_notices(ctx: Context, most: int = 20) -> list[Notice]:
    """The asker's own, newest first. None while the record says that telling them would endanger them."""
    me = who(ctx)
    person = ctx.actor.patient
    if person is None:
        raise not_found()
    if (await stand(ctx.house, [person], None, ctx.place))[person].no_notify:
        return []
    kept = await ctx.house.store.kept_all("notice", ctx.at, f"{me} ")
    return [msgspec.json.decode(kept[k], type=Notice) for k in sorted(kept, reverse=True)[:most]]

