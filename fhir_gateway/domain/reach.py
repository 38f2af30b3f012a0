"""What a question reaches: consent compiled to a predicate. WHO, WHY, WHEN and ACTION are constants here; only WHAT remains.

The second of two engines: with `bonds` it shares no matching code with `consent.decide`, and the two must agree on every
resource (consent.md section 3). People whose predicate has the same shape are grouped.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from .bonds import Whole, alive, during, invitations, looks_after, person_of, turns, younger_than_16
from .compiling import NO_LEGAL, Asks, compiled
from .directory import NOBODYS as OF_NOBODY
from .periods import micros
from .predicate import ALWAYS, NEVER, every, has, no, some
from .standing import MEMO, Standing
from .types import CONFIDENTIALITY, Ask, ByPerson, Confidential, Has, Only, Predicate
from .vocabulary import (
    ACCEPT_DRAFT,
    ACT_CODE,
    ACT_REASON,
    DIRECT_CARE,
    EMERGENCY,
    FOR_WHOM_IT_ASKS,
    HIDDEN_FROM_SELF,
    IMPLIED_PURPOSES,
    NOT_TREATMENT,
    PURPOSES,
    ROLE_AT,
    SECTOR_SYSTEM,
    TASK_SYSTEM,
    UK_DIRECT_CARE,
)  # fmt: skip

NO_CONSENT = no(Has("type", frozenset({"Consent"})))  # what somebody's consents say is theirs and their proxy's
A_QUESTION = every(Has("type", frozenset({"Task"})), Has("code", FOR_WHOM_IT_ASKS))  # for whom it asks, and the person
OF_A_DRAFT = every(Has("type", frozenset({"Task"})), Has("code", frozenset({f"{TASK_SYSTEM}|{ACCEPT_DRAFT}"})))  # for a proxy only their own
NOBODYS = Only("patient", frozenset())
DIRECTORY = every(NOBODYS, Has("type", OF_NOBODY))
UP_TO_NORMAL = Confidential("<=", CONFIDENTIALITY["N"])
SHOWN_TO_SELF = every(no(Has("label", frozenset(f"{ACT_CODE}|{c}" for c in HIDDEN_FROM_SELF))), no(Has("sens", HIDDEN_FROM_SELF)))
URGENT = some(
    Has("type", frozenset({"Flag", "AllergyIntolerance", "RelatedPerson"})),
    every(
        Has("type", frozenset({"CarePlan", "DocumentReference"})),
        Has("code", frozenset(f"http://snomed.info/sct|{c}" for c in (
            "325691000000100", "736253002", "887701000000100", "735324008", "1382601000000107", "736373009", "861421000000109"
        ))),
    ),
)  # fmt: skip


def scope(ask: Ask, standings: Mapping[str, Standing]) -> Predicate:
    """What `decide` would permit of the resources of these people and of nobody. A person without standing is not reached."""
    if not ask.actor.rbac:
        return NEVER
    at, key = micros(ask.at), _key(ask)
    if len(standings) == 1:
        (only,) = standings.values()
        return _kept(ask, only, standings, at, key)[1]
    groups: dict[Predicate, set[str]] = {}
    for person, standing in standings.items():
        shape, _ = _kept(ask, standing, standings, at, key)
        if shape != NEVER:
            groups.setdefault(shape, set()).add(person)
    return some(DIRECTORY, _grouped([(frozenset(people), shape) for shape, people in groups.items()]))


def _alone(person: str, shape: Predicate) -> Predicate:
    """The whole answer where this is the only person."""
    return DIRECTORY if shape == NEVER else some(DIRECTORY, _grouped([(frozenset((person,)), shape)]))


def _key(ask: Ask) -> tuple[object, ...]:
    """What a shape turns by, but for the person and the instant."""
    a = ask.actor
    return (
        "reach",
        a.kind,
        a.ids,
        a.past,
        a.apart,
        a.user,
        a.sector,
        a.patient,
        a.clinician,
        a.contributor,
        a.env,
        ask.purpose,
        ask.purpose_system,
        ask.action,
    )


def _kept(
    ask: Ask, standing: Standing, standings: Mapping[str, Standing], at: int, key: tuple[object, ...]
) -> tuple[Predicate, Predicate]:
    """One person's shape, and the whole answer where they are the only one; kept until a period begins or ends. Links and
    emergencies are worked out each time."""
    if standing.links or _breaks_glass(ask, standing):
        shape = _person(ask, standing, standings)
        return shape, _alone(standing.patient, shape)
    kept: tuple[int, int | None, tuple[Predicate, Predicate]] | None = standing.memo.get(key)
    if kept is None or at < kept[0] or (kept[1] is not None and at >= kept[1]):
        if len(standing.memo) >= MEMO:
            standing.memo.clear()
        shape = _person(ask, standing, standings)
        kept = standing.memo[key] = (at, turns(standing, at), (shape, _alone(standing.patient, shape)))
    return kept[2]


def _grouped(groups: list[tuple[frozenset[str], Predicate]]) -> Predicate:
    """Every person a resource names must permit it."""
    if len(groups) == 1 and len(groups[0][0]) == 1:
        people, shape = groups[0]
        return every(Has("patient", people), Only("patient", people), shape)
    return ByPerson(tuple(groups)) if groups else NEVER


def _person(ask: Ask, standing: Standing, standings: Mapping[str, Standing]) -> Predicate:
    """What of one person's record answers this question."""
    if ask.action == "correct":  # what only an emergency opened stays shut to changes
        seen = _person(_asking(ask, action="access", actor=replace(ask.actor, btg_role=False)), standing, standings)
        return every(seen, _by_kind(ask, standing, standings))
    return _by_kind(ask, standing, standings)


def _asking(ask: Ask, **changes: Any) -> Ask:
    return replace(ask, **changes)


def _by_kind(ask: Ask, standing: Standing, standings: Mapping[str, Standing]) -> Predicate:
    match ask.actor.kind:
        case "patient":
            same = person_of(standing, standings, micros(ask.at)).joined
            return SHOWN_TO_SELF if ask.actor.patient in same else NEVER
        case "proxy":
            return _as_proxy(ask, standing, standings)
    seen = _as_professional(ask, standing, standings)
    if ask.action in ("collect", "correct"):
        return seen
    asked = invitations(standing, Asks(ask, micros(ask.at), standing).lasting)
    return every(seen, NO_CONSENT, some(no(A_QUESTION), has("id", asked)))


# -- one person -------------------------------------------------------------------------------------------------------


def _as_professional(ask: Ask, standing: Standing, standings: Mapping[str, Standing]) -> Predicate:
    glass = _breaks_glass(ask, standing)
    if glass:
        ask = _asking(ask, purpose="BTG", purpose_system=ACT_REASON)
    at = micros(ask.at)
    asks = Asks(ask, at, standing)
    denies: list[Predicate] = []
    permits: list[Predicate] = []
    named: list[Predicate] = []
    locks: list[Predicate] = []
    governed = lost = False
    person = person_of(standing, standings, at)
    for other, permits_too in person.heard:
        if other is None or any(during((b.low, b.high), at) for b in other.broken):
            lost = True
        for grant in other.grants if other else ():
            if grant.proxy or not alive(grant, at):
                continue
            partner = asks.as_a_partner(grant)
            said = compiled(grant.root, asks, partner=partner)
            denies.append(said.denies)
            locks.append(said.locks)
            if permits_too and partner:
                permits.append(said.permits)
                named.append(said.names)
                governed = governed or asks.governed_by(grant)
    denied = some(*denies)
    explicit = every(no(denied), some(every(NO_LEGAL, some(*permits)), every(no(NO_LEGAL), some(*named))))
    usual = explicit
    if lost:
        usual = NEVER
    elif not governed and not (person.opted_out and not (ask.purpose_system == ACT_REASON and ask.purpose in DIRECT_CARE)):
        usual = some(explicit, every(no(denied), NO_LEGAL, _implied(ask, standing, person, asks, at)))
    if not glass:
        return usual
    return some(usual, every(NO_LEGAL, no(Has("type", frozenset({"Consent", "AuditEvent"}))), no(some(*locks))))


def _breaks_glass(ask: Ask, standing: Standing) -> bool:
    who = ask.actor
    if ask.action != "access" or not who.btg_role or f"{ask.purpose_system}|{ask.purpose}" not in _COVERS_AN_EMERGENCY:
        return False
    if standing.policy.break_glass == "consent-only" or standing.policy.implicit == "Policy-deny":
        return False
    for b in standing.emergencies:
        ground = b.ground in ("incapacity-vital-interest", "public-interest", "express-permission")
        if (b.user, b.organisation) == (who.user, who.organisation) and b.reason.strip() != "" and ground and b.expires >= ask.at:
            return True
    return False


_COVERS_AN_EMERGENCY = tuple(f"{ACT_REASON}|{p}" for p in ("BTG", "ETREAT", "TREAT", "PurposeOfUse"))


def _implied(ask: Ask, standing: Standing, person: Whole, asks: Asks, at: int) -> Predicate:
    actor, ours = ask.actor, ask.purpose_system == ACT_REASON
    match standing.policy.implicit:
        case "Policy-basic-normal":
            return UP_TO_NORMAL if actor.clinician and ours and ask.purpose in PURPOSES["TREAT"] - NOT_TREATMENT else NEVER
        case "Policy-all-normal":
            return UP_TO_NORMAL
        case policy if policy != UK_DIRECT_CARE or not ours or ask.purpose not in IMPLIED_PURPOSES:
            return NEVER
    cares = actor.sector in ("health", "social-care") and looks_after(standing, actor, at, person.died)
    mine = [n for n in asks.every if n.split("|")[0] not in (SECTOR_SYSTEM, ROLE_AT) and n.split("/")[0] not in ("CareTeam", "Group")]
    own = some(has("maker", mine), has("keeper", mine))
    if person.died is not None:
        return some(own, UP_TO_NORMAL if cares else NEVER) if ask.action == "access" else NEVER
    if ask.action == "collect":
        return ALWAYS if cares or actor.contributor else NEVER
    if ask.action == "correct" and not (cares or actor.contributor):
        own = NEVER
    parts = [own, UP_TO_NORMAL if cares else NEVER]
    if ask.action == "access":
        parts.append(has("id", invitations(standing, asks.lasting)))
        if ask.purpose in EMERGENCY and any(n in asks.lasting for n in standing.policy.urgent_care):
            parts.append(every(UP_TO_NORMAL, URGENT))
    return some(*parts)


def _as_proxy(ask: Ask, standing: Standing, standings: Mapping[str, Standing]) -> Predicate:
    at = micros(ask.at)
    asks = Asks(ask, at, standing)
    permits: list[Predicate] = []
    named: list[Predicate] = []
    aims: list[Predicate] = []
    person = person_of(standing, standings, at)
    for other, permits_too in person.heard:
        if other is None or any(during((b.low, b.high), at) for b in other.broken):
            return NEVER
        for grant in other.grants:
            if alive(grant, at):
                said = compiled(grant.root, asks, partner=asks.as_a_partner(grant))
                aims.append(said.aims)
                if grant.proxy and permits_too and _lawful(grant.proxy, ask, standing, person, at):
                    permits.append(said.permits)
                    named.append(said.names)
    opened = some(every(NO_LEGAL, some(*permits)), every(no(NO_LEGAL), some(*named)))
    theirs = has("ref", {ask.actor.user})
    return every(opened, no(some(*aims)), SHOWN_TO_SELF, no(A_QUESTION), some(no(OF_A_DRAFT), theirs))


def _lawful(basis: str, ask: Ask, standing: Standing, person: Whole, at: int) -> bool:
    if person.died is not None or person.suspended & ask.actor.ids:
        return False
    match basis:
        case "consent" | "best-interest":
            return True
        case "health-and-welfare-lasting-power-of-attorney" | "court-appointed-personal-welfare-deputy":
            return standing.capacity_lost and not standing.gone
        case "parental-responsibility":
            return younger_than_16(standing, at) and not person.grown and not standing.gone
    return False
