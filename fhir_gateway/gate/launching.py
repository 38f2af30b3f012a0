"""Whoever comes from their own system, with a person open there: who that is here, and whom they mean. Consent decides as for any look-up."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any, Final

from ..auth import people
from ..auth.launching import Told, stopped
from ..auth.people import Account
from ..auth.sessions import LONGEST
from ..auth.tokens import Caller
from ..domain import strict
from ..domain.identity import on_paper
from ..domain.periods import bounds, covers, micros
from ..domain.problem import Problem
from ..domain.types import Note, Ref
from .context import House, directory_now
from .entering import enter
from .finding import Named, find

ROLES: Final = frozenset({"clinician", "break-glass"})  # what a launch may bring: nobody runs this service, or reads its trail, by another's word
LONG_AGO: Final = timedelta(hours=1)  # where their system does not say since when: an emergency asks for a password


async def launched(house: House, told: Told, issuer: str) -> tuple[Caller, str]:
    """(who may be signed in, the id of the person). Both, or a Problem: launch-user; launch-person, the same for nobody, somebody else and
    one whom they may not see; throttled. What came of it is in the trail."""
    account = await _account(house, told)
    if account is None:
        raise stopped("launch-user", f"{told.launcher.name}: nobody here, or several, are {told.value[:200]} of {told.system[:200]}")
    caller = _caller(house, account, told, issuer)
    ctx = await enter(house, caller)
    paper = on_paper(told.patient)
    try:
        if paper is None:
            raise Problem("invalid", "no person on paper")
        id = await find(ctx, Named.said(dict(zip(("nhs_number", "birth_date", "family_name"), paper, strict=True))))
    except Problem as no:
        if no.kind not in ("invalid", "not-found"):
            raise
        await house.store.commit(_note(house, account, False, f"{told.launcher.name}: nobody found"))
        raise stopped("launch-person", "nobody found", noted=True) from None  # one answer for everybody who is not to be seen
    await house.store.commit(_note(house, account, True, told.launcher.name))
    return caller, id


async def not_launched(house: House, no: Problem) -> None:
    """Write down that somebody came from elsewhere and was not let in, unless that was done."""
    if not no.noted:
        await house.store.commit(_note(house, Account("", ""), False, no.text))


async def _account(house: House, told: Told) -> Account | None:
    """The one account whose Practitioner an operator registered by this name, at the organisation that this system speaks for."""
    directory, _ = await directory_now(house)
    place = directory.organisations.get(directory.find(told.launcher.organisation) or "")
    known = [ref for ref, (_, names) in directory.people.items() if f"{told.system}|{told.value}" in names]
    if place is None or not place.confirmed or len(known) != 1 or not await _goes_by(house, Ref(*known[0].split("/")), told):
        return None
    theirs = [a for a in await people.accounts(house.store, house.clock()) if a.fhir_user == known[0] and not a.closed]
    there = [a for a in theirs if a.organisation and place.ref in directory.ancestors(directory.find(a.organisation) or "")]
    return there[0] if len(there) == 1 else None


async def _goes_by(house: House, ref: Ref, told: Told) -> bool:
    """Is this a name that they have now, not a former one that may be another's by now."""
    stored = await house.store.get(ref)
    body: dict[str, Any] = strict.decode(stored.body) if stored is not None and stored.body is not None else {}
    theirs = [i for i in body.get("identifier", ()) if i.get("system") == told.system and i.get("value") == told.value]
    return body.get("active") is not False and any(i.get("use") != "old" and _now(i.get("period"), house) for i in theirs)


def _now(period: Any, house: House) -> bool:
    try:
        low, high = bounds(period)
    except ValueError:
        return False
    return covers(low, high, micros(house.clock()))


def _caller(house: House, account: Account, told: Told, issuer: str) -> Caller:
    """As by a password, but for what their system cannot say: the level of assurance is what was agreed with it."""
    at = house.clock()
    if told.signed_in is not None and account.since is not None and told.signed_in < account.since:
        raise stopped("launch-user", f"{told.launcher.name}: {account.username} signed in there before their account here was changed")
    since = account.proven(told.signed_in or at - LONG_AGO)
    caller = account.caller(issuer=issuer, jti=house.new_id(), expires=at + LONGEST, at=since)
    return replace(caller, roles=account.narrowed(ROLES), assurance=told.launcher.assurance)


def _note(house: House, who: Account, allowed: bool, detail: str) -> Note:
    return Note(house.new_id(), house.clock(), "E", "launch", allowed, who.fhir_user, who.name, who.organisation, detail=detail)


__all__ = ["launched", "not_launched"]
