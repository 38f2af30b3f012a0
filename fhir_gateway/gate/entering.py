"""Who asks, once: a verified caller becomes a Context; so does the house itself, for what it does on its own."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from functools import lru_cache
from typing import Any, Literal

from ..auth import clients, people
from ..domain import consent, drafts
from ..domain.directory import Directory
from ..domain.merged import records_of
from ..domain.periods import micros
from ..domain.problem import Problem
from ..domain.scopes import Scopes
from ..domain.types import Actor, Note
from .context import Context, House, directory_now, stand


async def enter(house: House, caller: Any, *, purpose: str | None = None, request_id: str = "") -> Context:
    """A verified caller (`auth.tokens.Caller`) becomes a Context. `purpose` may only be asked for where the token's own covers it."""
    directory, epoch = await directory_now(house)
    key = (caller.fhir_user, caller.organisation, caller.kind, caller.patient, caller.client, caller.roles)
    at = house.clock()
    known = house._actors.get(key)
    if known is None or known[0] != epoch or (known[1] is not None and micros(at) >= known[1]):
        if len(house._actors) > 10_000:
            house._actors.clear()
        known = house._actors[key] = (epoch, directory.next_change(micros(at)), _actor(directory, await _named(house, caller, at), at))
    wanted = purpose or caller.purpose or "TREAT"
    if purpose and caller.purpose and not consent.purpose_within(purpose, caller.purpose):
        await house.store.commit(_refused(house, caller, known[2], at, "purpose", f"asked for the purpose {purpose[:64]}"))
        raise Problem("forbidden", f"The purpose `{purpose[:64]}` is not within what this sign-in is for (`{caller.purpose}`).")
    scopes = scopes_of(caller.scopes)
    if scopes.patient_bound and not caller.launch:
        await house.store.commit(_refused(house, caller, known[2], at, "scope", "insufficient-scope"))
        raise Problem("insufficient-scope", "This sign-in is for one person's record but does not say whose.")
    scopes = usable(scopes, caller.kind == "system", bool(caller.launch))
    actor = known[2]
    own = actor.patient if actor.kind in ("patient", "proxy") and caller.launch in (None, actor.patient) else None
    records = records_of((await stand(house, [own], None, (directory, epoch)))[own]) if own else frozenset[str]()
    return Context(
        house, actor, at, wanted, scopes, caller.client, request_id,
        may_refer="refer" in caller.roles, may_declassify="declassifier" in caller.roles, may_record="registrar" in caller.roles,
        launch=caller.launch, place=(directory, epoch), signed_in=caller.signed_in, officer="privacy-officer" in caller.roles, assurance=caller.assurance,
        records=records,
    )  # fmt: skip


async def _named(house: House, caller: Any, at: datetime) -> Any:
    """With the name that the account, or the registration of the system, has: tokens of ours do not carry it."""
    if caller.name:
        return caller
    known: Any = None
    if caller.kind == "system":
        found = await clients.find(house.store, caller.client or "", at)
        known = found if found is not None and found.device == caller.fhir_user else None
    else:
        account = await people.find(house.store, caller.subject, at)
        known = account if account is not None and account.fhir_user == caller.fhir_user else None
    return replace(caller, name=known.name) if known is not None and known.name else caller


def _refused(house: House, caller: Any, actor: Actor, at: datetime, what: str, detail: str) -> Note:
    """The row of somebody whose sign-in is of no use for what they ask."""
    return Note(
        house.new_id(), at, "E", what, False, caller.fhir_user, user_name=actor.name, organisation=actor.organisation,
        client=caller.client, purpose=caller.purpose, basis="rbac", detail=detail,
    )  # fmt: skip


_scopes: dict[str, Scopes] = {}


def scopes_of(text: str) -> Scopes:
    """Parsed scopes, kept: a token's scope string repeats on every request."""
    found = _scopes.get(text)
    if found is None:
        if len(_scopes) > 1_000:
            _scopes.clear()
        found = _scopes[text] = Scopes.parse(text)
    return found


@lru_cache(2_000)
def usable(scopes: Scopes, system: bool, launched: bool) -> Scopes:
    return scopes.usable(system, launched)


def _actor(directory: Directory, caller: Any, at: datetime) -> Actor:
    actor = directory.actor(caller.fhir_user, kind=caller.kind, organisation=caller.organisation, patient=caller.patient, at=at)
    roles = set(caller.roles)
    jobs = [directory.roles[name].codes for name in actor.opening if name in directory.roles]
    names = {f"client|{caller.client}"} if caller.kind == "system" and caller.client else set()
    return replace(
        actor,
        ids=actor.ids | names,
        name=caller.name or actor.name or caller.subject,
        clinician="clinician" in roles,
        btg_role="break-glass" in roles,
        contributor="contributor" in roles,
        operator="operator" in roles,
        drafts_only=drafts.only_drafts(actor.kind, roles, jobs),
    )


def house_context(
    house: House, actor: Actor, *, purpose: str = "TREAT", action: Literal["access", "disclose"] = "access"
) -> Context:
    """A context for what the gateway does itself: disclosing to a remote's organisation, operator commands."""
    return Context(house, actor, house.clock(), purpose, None, None, house.new_id(), action=action)
