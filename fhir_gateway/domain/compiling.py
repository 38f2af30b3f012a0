"""One consent as predicates: when a rule and all below it deny and permit, of what remains once who, why, when and what for are constants.

Part of the second of two engines: with `bonds` it shares no matching code with `consent.decide` (consent.md section 3).
"""

from __future__ import annotations

from dataclasses import dataclass

from .bonds import during, names, serves
from .grants import Grant, Labels, Rule
from .predicate import ALWAYS, NEVER, every, has, no, some
from .standing import Standing
from .types import CONFIDENTIALITY, Ask, Confidential, Has, Only, Overlaps, Predicate, Within
from .vocabulary import ACT_REASON, CARE_SECTORS, NAMED_OUTSIDE_CARE, SECTOR_SYSTEM, SENSITIVITIES_DENIED, SENSITIVITY_SETS

NO_LEGAL = Only("legal", frozenset())
UP_TO_RESTRICTED = Confidential("<=", CONFIDENTIALITY["R"])


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


def compiled(rule: Rule, asks: Asks, aimed: bool = False, locked: bool = False, *, partner: bool, denied_around: bool = False) -> Said:
    """One rule as predicates; a rule whose constants do not hold is silent with all it holds. Who is no `partner` is excepted from no no."""
    if not asks.meets(rule):
        return SILENT
    aimed = aimed or len(rule.who) > 0
    locked = rule.type == "deny" and (locked or any(p in asks.EMERGENCIES for p in rule.said))
    closing, opening = _what(rule, ("author", "custodian", "source")), _what(rule, ("maker", "keeper", "sourced"))
    what = closing if rule.type == "deny" else opening
    around = {"deny": closing, "permit": opening, rule.type: ALWAYS}
    deeper = denied_around or rule.type == "deny"
    inner = [(around[r.type], compiled(r, asks, aimed, locked, partner=partner, denied_around=deeper)) for r in rule.rules]
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


class Asks:
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
