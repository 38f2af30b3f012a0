"""What a question reaches: consent compiled to a predicate. WHO, WHY, WHEN and ACTION are constants here; only WHAT remains.

The second of two engines: with `bonds` it shares no matching code with `consent.decide`, and the two must agree on every
resource (consent.md section 3). People whose predicate has the same shape are grouped.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from .bonds import Whole, alive, during, invitations, looks_after, names, person_of, serves, turns, younger_than_16
from .directory import NOBODYS as OF_NOBODY
from .grants import Grant, Labels, Rule
from .periods import micros
from .predicate import ALWAYS, NEVER, every, has, no, some
from .standing import MEMO, Standing
from .types import CONFIDENTIALITY, Ask, ByPerson, Confidential, Has, Only, Overlaps, Predicate, Within
from .vocabulary import (
    ACCEPT_DRAFT,
    ACT_CODE,
    ACT_REASON,
    CARE_SECTORS,
    DIRECT_CARE,
    EMERGENCY,
    FOR_WHOM_IT_ASKS,
    HIDDEN_FROM_SELF,
    IMPLIED_PURPOSES,
    NAMED_OUTSIDE_CARE,
    NOT_TREATMENT,
    PURPOSES,
    ROLE_AT,
    SECTOR_SYSTEM,
    SENSITIVITIES_DENIED,
    SENSITIVITY_SETS,
    TASK_SYSTEM,
    UK_DIRECT_CARE,
)  # fmt: skip

NO_CONSENT = no(Has("type", frozenset({"Consent"})))  # what somebody's consents say is theirs and their proxy's
A_QUESTION = every(Has("type", frozenset({"Task"})), Has("code", FOR_WHOM_IT_ASKS))  # for whom it asks, and the person
OF_A_DRAFT = every(Has("type", frozenset({"Task"})), Has("code", frozenset({f"{TASK_SYSTEM}|{ACCEPT_DRAFT}"})))  # for a proxy only their own
NO_LEGAL = Only("legal", frozenset())
NOBODYS = Only("patient", frozenset())
DIRECTORY = every(NOBODYS, Has("type", OF_NOBODY))
UP_TO_NORMAL = Confidential("<=", CONFIDENTIALITY["N"])
UP_TO_RESTRICTED = Confidential("<=", CONFIDENTIALITY["R"])
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
    asked = invitations(standing, _Asks(ask, micros(ask.at), standing).lasting)
    return every(seen, NO_CONSENT, some(no(A_QUESTION), has("id", asked)))


# -- one consent ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Said:
    """When one rule and all below it deny, permit, permit naming the recipient of a legal restriction, deny in spite of an
    emergency, deny more than in general."""

    denies: Predicate = NEVER
    permits: Predicate = NEVER
    names: Predicate = NEVER
    locks: Predicate = NEVER
    aims: Predicate = NEVER


SILENT = Said()


def _compile(rule: Rule, asks: _Asks, aimed: bool = False, locked: bool = False, *, partner: bool, denied_around: bool = False) -> Said:
    """One rule as predicates; a rule whose constants do not hold is silent with all it holds. Who is no `partner` is excepted from no no."""
    if not asks.meets(rule):
        return SILENT
    aimed = aimed or len(rule.who) > 0
    locked = rule.type == "deny" and (locked or any(p in asks.EMERGENCIES for p in rule.said))
    closing, opening = _what(rule, ("author", "custodian", "source")), _what(rule, ("maker", "keeper", "sourced"))
    what = closing if rule.type == "deny" else opening
    around = {"deny": closing, "permit": opening, rule.type: ALWAYS}
    deeper = denied_around or rule.type == "deny"
    inner = [(around[r.type], _compile(r, asks, aimed, locked, partner=partner, denied_around=deeper)) for r in rule.rules]
    denied = some(*(every(g, s.denies) for g, s in inner))
    permitted = every(no(denied), some(*(every(g, s.permits) for g, s in inner)))
    named = some(*(every(g, s.names) for g, s in inner))
    locks = some(*(every(g, s.locks) for g, s in inner))
    aims = some(*(every(g, s.aims) for g, s in inner))
    own = what if asks.answers(rule) else NEVER
    if rule.type == "deny":
        alone = every(own, no(permitted), no(denied))
        return Said(
            some(denied, alone), permitted, every(no(denied), named),
            some(locks, alone if locked else NEVER), some(aims, alone if aimed or what != ALWAYS else NEVER),
        )  # fmt: skip
    if rule.type == "permit":
        own = every(own, no(denied), asks.unless_named(rule)) if partner or not denied_around else NEVER
        named = some(every(no(denied), named), every(own, _names_recipient(rule)))
        return Said(denied, some(permitted, own), named, locks, aims)
    return Said(denied, permitted, every(no(denied), named), locks, aims)


class _Asks:
    """The constants of one question to one person."""

    EMERGENCIES = (f"{ACT_REASON}|BTG", f"{ACT_REASON}|ETREAT")

    def __init__(self, ask: Ask, at: int, standing: Standing) -> None:
        a = ask.actor
        self.at, self.action, self.env, self.apart = at, ask.action, a.env, a.apart
        self.every = names(standing, a, at, a.ids)  # for a no
        self.lasting = names(standing, a, at, a.ids - a.past) if a.past else self.every
        self.purpose = f"{ask.purpose_system}|{ask.purpose}"
        self.in_care = a.kind in ("patient", "proxy") or a.sector in CARE_SECTORS or ask.action == "collect"

    def meets(self, rule: Rule) -> bool:
        if not during((rule.low, rule.high), self.at):
            return False
        mine = self.every if rule.type == "deny" else self.lasting
        who = not rule.who or any(name in mine for name in rule.who)
        why = serves(rule, self.purpose)
        where = not rule.env or any(e in self.env for e in rule.env)
        return who and why and where and (not rule.actions or self.action in rule.actions)

    def answers(self, rule: Rule) -> bool:
        return self.action in rule.actions if rule.actions else self.action in ("access", "disclose")

    def unless_named(self, rule: Rule) -> Predicate:
        """A yes shows these types outside health and social care where it says so by kind, code or the thing itself."""
        if self.in_care or rule.codes or rule.types >= NAMED_OUTSIDE_CARE:
            return ALWAYS
        return some(no(Has("type", NAMED_OUTSIDE_CARE - rule.types)), has("profile", rule.profiles), has("id", rule.instances))

    def as_a_partner(self, grant: Grant) -> bool:
        """Whether a yes of this consent can reach them: not under an agreement on sharing that holds without them."""
        return "*" not in self.apart and all(quoted not in self.apart for quoted in grant.under)

    def governed_by(self, grant: Grant) -> bool:
        return grant.root.type == "permit" and self.meets(grant.root) and self.answers(grant.root)


def _what(rule: Rule, whose: tuple[str, str, str]) -> Predicate:
    """`whose`: the fields in which an author, a custodian and a source stand."""
    parts: list[Predicate] = []
    if rule.types or rule.profiles:
        parts.append(some(has("type", rule.types), has("profile", rule.profiles)))
    if rule.codes:
        parts.append(Has("code", rule.codes))
    if rule.custodians:
        parts.append(Has(whose[1], rule.custodians))
    if rule.sources:
        parts.append(Has(whose[2], rule.sources))
    if rule.instances or rule.related or rule.authored:
        near = (has("id", rule.instances | rule.related), has("ref", rule.related), has("referred_by", rule.related))
        parts.append(some(*near, has(whose[0], rule.authored)))
    if rule.dated:
        kind = Overlaps if rule.type == "deny" else Within
        parts.append(kind(rule.data_low, rule.data_high))
    if rule.labels is not None:
        parts.append(_denied_labels(rule.labels) if rule.type == "deny" else _permitted_labels(rule.labels))
    return every(*parts)


def _denied_labels(labels: Labels) -> Predicate:
    high = NEVER if labels.level is None else Confidential(">=", labels.level)
    return some(high, has("sens", labels.sensitivity), has("legal", labels.legal))


def _permitted_labels(labels: Labels) -> Predicate:
    low = NEVER if labels.level is None else Confidential("<=", labels.level)
    if not (labels.sensitivity or labels.legal):
        return low
    # A set's own name beside one of its members says no more than the member: facts may be stored expanded.
    leaves = Only("sens", labels.sensitivity | SENSITIVITY_SETS)
    sets = [
        some(no(Has("sens", frozenset({s}))), has("sens", SENSITIVITIES_DENIED[s] - {s}))
        for s in sorted(SENSITIVITY_SETS - labels.sensitivity)
    ]
    some_label = some(no(Only("sens", frozenset())), no(NO_LEGAL))
    return some(low, every(UP_TO_RESTRICTED, some_label, leaves, *sets, Only("legal", labels.legal)))


def _names_recipient(rule: Rule) -> Predicate:
    if rule.labels is None or all(w.startswith(SECTOR_SYSTEM) for w in rule.who):
        return NEVER
    return Only("legal", rule.labels.legal)


# -- one person -------------------------------------------------------------------------------------------------------


def _as_professional(ask: Ask, standing: Standing, standings: Mapping[str, Standing]) -> Predicate:
    glass = _breaks_glass(ask, standing)
    if glass:
        ask = _asking(ask, purpose="BTG", purpose_system=ACT_REASON)
    at = micros(ask.at)
    asks = _Asks(ask, at, standing)
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
            said = _compile(grant.root, asks, partner=partner)
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


def _implied(ask: Ask, standing: Standing, person: Whole, asks: _Asks, at: int) -> Predicate:
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
    asks = _Asks(ask, at, standing)
    permits: list[Predicate] = []
    named: list[Predicate] = []
    aims: list[Predicate] = []
    person = person_of(standing, standings, at)
    for other, permits_too in person.heard:
        if other is None or any(during((b.low, b.high), at) for b in other.broken):
            return NEVER
        for grant in other.grants:
            if alive(grant, at):
                said = _compile(grant.root, asks, partner=asks.as_a_partner(grant))
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
