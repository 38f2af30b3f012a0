"""The rules of a person's consents, asked one thing: who, why, when and action, then what (consent.md 1.3, 1.5)."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from .grants import SHARED, Grant, Labels, Rule
from .periods import covers, micros
from .standing import MEMO, Relationship, Standing, invited, next_edge, related, team_names
from .types import CONFIDENTIALITY, Actor, Ask, Facts
from .vocabulary import ACT_REASON, CARE_SECTORS, NAMED_OUTSIDE_CARE, ROLE_AT, SECTOR_SYSTEM, most_specific

RESTRICTED: Final = CONFIDENTIALITY["R"]
VERY: Final = CONFIDENTIALITY["V"]
NAMES_EMERGENCY: Final = frozenset(f"{ACT_REASON}|{c}" for c in ("BTG", "ETREAT"))


# -- one consent: who, why, when, action ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Live:
    """A rule whose who, why, when and action hold for this asker; only WHAT is left to ask.

    `allowed`: the rule itself may answer this action, and as an exception from a no this asker. `named`: it or a rule around it names the asker.
    `emergency`: it is a deny, or lives in one, whose purpose names emergencies.
    `unless_named`: a permit opens these types only where it names them.
    """

    rule: Rule
    allowed: bool
    named: bool
    emergency: bool
    rules: tuple[Live, ...]
    unless_named: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Tree:
    """One consent in force. `governs`: where it does not permit, nothing else may (line 12)."""

    grant: Grant
    root: Live
    governs: bool
    only_denies: bool
    closed: bool = False  # its yes is under an agreement on sharing of which the asker is no partner
    order: int = 0  # among those of one person: by name, so that the first that denies is the one named


Filed = Mapping[str, Mapping[str, Sequence[Tree]]]  # kind of value, value


@dataclass(frozen=True, slots=True)
class Lives:
    """All that one asker meets in one person's standing until `until` (microseconds, exclusive; None for ever)."""

    since: int
    until: int | None
    names: frozenset[str]
    own_names: frozenset[str]
    trees: tuple[Tree, ...]
    always: tuple[Tree, ...]  # those of `trees` that may speak of anything
    filed: Filed  # the others, by what a resource must have for them to speak of it
    ended: tuple[Sequence[int], Sequence[Tree]]  # and those that speak of nothing dated and written later than an instant, by that
    broken: tuple[str, ...]
    relationship: Relationship | None
    invited: frozenset[str]


def rules_for(ask: Ask, standing: Standing, standings: Mapping[str, Standing]) -> Lives:
    """The rules that speak to this asker now, kept until a period begins or ends."""
    at = micros(ask.at)
    if standing.links:
        return _find_live(ask, at, standing, standings)
    a = ask.actor
    key = (a.kind, a.ids, a.past, a.apart, a.user, a.sector, a.env, ask.purpose, ask.purpose_system, ask.action)
    kept: Lives | None = standing.memo.get(key)
    if kept is None or at < kept.since or (kept.until is not None and at >= kept.until):
        kept = _find_live(ask, at, standing, standings)
        if len(standing.memo) >= MEMO:
            standing.memo.clear()
        standing.memo[key] = kept
    return kept


def _find_live(ask: Ask, at: int, standing: Standing, standings: Mapping[str, Standing]) -> Lives:
    names = ask.actor.ids | team_names(standing, ask.actor, at)
    opening = names if not ask.actor.past else ask.actor.opening | team_names(standing, ask.actor, at, ask.actor.opening)
    proxy = ask.actor.kind == "proxy"
    found: list[tuple[Grant, Live, bool, bool, bool]] = []
    broken: list[str] = []
    for other, only_denies in _records(standing, standings):
        if other is None:
            broken.append("")
            continue
        for grant in other.grants:
            if grant.in_force(at) and (proxy or not grant.proxy):
                closed = _closed(grant, ask.actor)
                root = _living(grant.root, ask, (names, opening), at, closed=closed)
                if root is not None and (root.rule.type or root.rules):
                    governs = root.rule.type == "permit" and root.allowed and not only_denies and not closed
                    found.append((grant, root, governs, only_denies, closed and not only_denies))
        broken += (b.id for b in other.broken if covers(b.low, b.high, at))
    own = frozenset(n for n in names if not n.startswith((SECTOR_SYSTEM, ROLE_AT, "CareTeam/", "Group/")))
    found.sort(key=lambda f: (f[0].id, f[0].version))
    trees = [Tree(*parts, order=n) for n, parts in enumerate(found)]
    always, filed, ended = _file(trees)
    return Lives(
        at, next_edge(standing, at), opening, own, tuple(trees), always, filed, ended, tuple(sorted(broken)), related(standing, ask.actor, at),
        invited(standing, opening),
    )  # fmt: skip


def _closed(grant: Grant, actor: Actor) -> bool:
    """Does no yes of this consent reach the asker: they are no partner of the agreement that it quotes, or were taken out of the only one they were of."""
    return bool(actor.apart) and ("*" in actor.apart or not actor.apart.isdisjoint(grant.under))


def _records(standing: Standing, standings: Mapping[str, Standing]) -> Iterator[tuple[Standing | None, bool]]:
    """This record and those linked to it (whether they can only deny); None where a linked one is not at hand."""
    yield standing, False
    for link in standing.links:
        yield standings.get(link.other), link.shut or not link.merged


def _living(
    rule: Rule, ask: Ask, names: tuple[frozenset[str], frozenset[str]], at: int, named: bool = False, glass: bool = False, *,
    closed: bool = False, inside: bool = False,
) -> Live | None:  # fmt: skip
    """The gates of consent.md 1.3: they close a rule and everything in it. `names`: all of the asker, for a no, and those that open.
    Of a consent that is `closed` to them what it permits `inside` a no is no exception: that no holds for them as for everybody."""
    if rule.who and rule.who.isdisjoint(names[rule.type != "deny"]):
        return None
    if rule.env and rule.env.isdisjoint(ask.actor.env):
        return None
    if rule.purposes and f"{ask.purpose_system}|{ask.purpose}" not in rule.purposes:
        return None
    if not covers(rule.low, rule.high, at):
        return None
    if rule.actions and ask.action not in rule.actions:
        return None
    named = named or bool(rule.who)
    glass = rule.type == "deny" and (glass or not rule.said.isdisjoint(NAMES_EMERGENCY))
    within = inside or rule.type == "deny"
    inner = [_living(r, ask, names, at, named, glass, closed=closed, inside=within) for r in rule.rules] if rule.rules else []
    said = (bool(rule.actions) or ask.action in SHARED) and not (closed and inside and rule.type == "permit")
    return Live(rule, said, named, glass, tuple([r for r in inner if r is not None]), _unless_named(ask) if rule.type == "permit" else frozenset())


def _unless_named(ask: Ask) -> frozenset[str]:
    """What a yes in general does not show this asker: how a programme ranks people by risk is for health and social care."""
    outside = ask.actor.kind in ("professional", "system") and ask.actor.sector not in CARE_SECTORS
    return NAMED_OUTSIDE_CARE if outside and ask.action != "collect" else frozenset()


def _file(trees: Sequence[Tree]) -> tuple[tuple[Tree, ...], Filed, tuple[Sequence[int], Sequence[Tree]]]:
    """Consents by what they are about: of hundreds, few speak of any one resource."""
    always: list[Tree] = []
    ended: list[tuple[int, Tree]] = []
    filed: dict[str, dict[str, list[Tree]]] = {}
    for tree in trees:
        needs = None if tree.governs else _needs(tree.root)
        if needs is None:
            last = None if tree.governs else _last(tree.root)
            if last is None:
                always.append(tree)
            else:
                ended.append((last, tree))
        for kind, value in needs or ():
            filed.setdefault(kind, {}).setdefault(value, []).append(tree)
    ended.sort(key=lambda e: e[0])
    return tuple(always), filed, ([last for last, _ in ended], [tree for _, tree in ended])


def _last(node: Live) -> int | None:
    """The rule and all within it are silent about what begins, and was written, later than this; None when one has no such end."""
    ends = [node.rule.data_high if node.rule.dated else None] if node.rule.type else []
    ends += [_last(child) for child in node.rules if child.rule.type == node.rule.type or not node.rule.type]
    known = [end for end in ends if end is not None]
    return max(known) if known and len(known) == len(ends) else None


def _needs(node: Live) -> set[tuple[str, str]] | None:
    """One of these a resource must have, or the rule and all within it are silent; None when it may speak of anything."""
    out: set[tuple[str, str]] = set()
    if node.rule.type:
        own = _needs_itself(node.rule)
        if own is None:
            return None
        out |= own
    for child in node.rules:
        if child.rule.type == node.rule.type or not node.rule.type:
            inner = _needs(child)
            if inner is None:
                return None
            out |= inner
    return out


def _needs_itself(rule: Rule) -> set[tuple[str, str]] | None:
    """By its most telling element."""
    if rule.instances or rule.related or rule.authored:
        near = {("near", v) for v in rule.related}
        return {("id", v) for v in rule.instances | rule.related} | near | {("author", v) for v in rule.authored}
    if rule.codes:
        return {("code", v) for v in rule.codes}
    if rule.types or rule.profiles:
        return {("type", v) for v in rule.types} | {("profile", v) for v in rule.profiles}
    if rule.labels is not None and rule.labels.level is None:
        return {("sens", v) for v in rule.labels.sensitivity} | {("legal", v) for v in rule.labels.legal}
    return None


def speaking(live: Lives, facts: Facts) -> Iterable[Tree]:
    """The consents that may have something to say of this resource, in their order."""
    lasts, trees = live.ended
    found: dict[int, Tree] = {}
    if trees:
        begun, over = facts.low, facts.high
        from_ = 0 if begun is None else bisect_left(lasts, min(begun, facts.updated, begun if over is None else over))
        found.update((tree.order, tree) for tree in trees[from_:])
    for kind, table in live.filed.items():
        for value in _values(facts, kind):
            for tree in table.get(value, ()):
                found[tree.order] = tree
    if not found:
        return live.always
    found.update((tree.order, tree) for tree in live.always)
    return [found[n] for n in sorted(found)]


def _values(facts: Facts, kind: str) -> Iterable[str]:
    match kind:
        case "id":
            return (f"{facts.type}/{facts.id}",)
        case "type":
            return (facts.type,)
        case "code":
            return facts.codes
        case "near":
            return facts.refs | facts.referred_by
        case "author":
            return facts.authors
        case "profile":
            return facts.profiles
        case "sens":
            return facts.sensitivity
    return facts.legal


def evaluate(node: Live, facts: Facts) -> tuple[str, list[Live]] | None:
    """permit or deny with the rules that say so; None when this consent is silent (consent.md 1.3)."""
    rule = node.rule
    scopes = speaks_of(rule, facts, "deny"), speaks_of(rule, facts, "permit")
    scope = scopes[rule.type != "deny"]
    denies: list[Live] = []
    permits: list[Live] = []
    for child in node.rules:
        if child.rule.type == rule.type or scopes[child.rule.type != "deny"]:
            said = evaluate(child, facts)
            if said is not None:
                (denies if said[0] == "deny" else permits).extend(said[1])
    if denies:
        return "deny", denies
    own = scope and node.allowed and (facts.type not in node.unless_named or _names(rule, facts))
    if permits:
        return "permit", [*permits, node] if own and rule.type == "permit" else permits
    return (rule.type, [node]) if own and rule.type else None


# -- what -------------------------------------------------------------------------------------------------------------


def _names(rule: Rule, facts: Facts) -> bool:
    """Does a rule that speaks of this resource say so by its kind, a code or as this very thing."""
    return bool(rule.codes) or facts.type in rule.types or f"{facts.type}/{facts.id}" in rule.instances or not rule.profiles.isdisjoint(facts.profiles)


def speaks_of(rule: Rule, facts: Facts, effect: str) -> bool:
    """Is this resource within the rule: AND between elements, OR inside one (1.5). For a deny any author, custodian or source counts,
    for a permit those that nobody could write in to open it."""
    if not rule.what:
        return True
    if (rule.types or rule.profiles) and facts.type not in rule.types and rule.profiles.isdisjoint(facts.profiles):
        return False
    if rule.codes and rule.codes.isdisjoint(facts.codes):
        return False
    if rule.custodians and not _from_one(rule.custodians, (facts.custodian, facts.custodians, facts.keeper), effect):
        return False
    if rule.sources and not _from_one(rule.sources, (facts.source, facts.sources, facts.sourced), effect):
        return False
    if (rule.instances or rule.related or rule.authored) and not _points_at(rule, facts, effect):
        return False
    if rule.dated and not _in_time(rule, facts):
        return False
    return rule.labels is None or _labelled(rule.labels, facts, denied=rule.type == "deny")


def _from_one(wanted: frozenset[str], said: tuple[str | None, frozenset[str], str | None], effect: str) -> bool:
    """Of what the resource says, ever said, and what of it was vouched for: the last alone for a permit."""
    now, ever, vouched = said
    if effect == "deny":
        return now in wanted or not wanted.isdisjoint(ever)
    return vouched in wanted


def _points_at(rule: Rule, facts: Facts, effect: str) -> bool:
    me = f"{facts.type}/{facts.id}"
    if me in rule.instances or me in rule.related:
        return True
    if not (rule.related.isdisjoint(facts.refs) and rule.related.isdisjoint(facts.referred_by)):
        return True
    return not rule.authored.isdisjoint(facts.authors if effect == "deny" else facts.makers)


def _in_time(rule: Rule, facts: Facts) -> bool:
    """A permit holds what lies wholly inside; a deny hits whatever may touch, the undated too."""
    first, last = facts.low, facts.high
    undated = first is None and last is None
    if rule.type == "deny":
        if undated:
            return True
        return _meets(rule, first, last) or _meets(rule, facts.updated, facts.updated)
    if undated:
        first = last = facts.updated
    if rule.data_low is not None and (first is None or first < rule.data_low):
        return False
    return rule.data_high is None or (last is not None and last <= rule.data_high)


def _meets(rule: Rule, first: int | None, last: int | None) -> bool:
    if rule.data_high is not None and first is not None and first > rule.data_high:
        return False
    return rule.data_low is None or last is None or last >= rule.data_low


def _labelled(labels: Labels, facts: Facts, *, denied: bool) -> bool:
    level = CONFIDENTIALITY.get(facts.confidentiality, VERY)
    if denied:
        if labels.level is not None and level >= labels.level:
            return True
        return not (labels.sensitivity.isdisjoint(facts.sensitivity) and labels.legal.isdisjoint(facts.legal))
    if labels.level is not None and level <= labels.level:
        return True
    sensitive = most_specific(facts.sensitivity)
    if level > RESTRICTED or not (sensitive or facts.legal):
        return False
    return sensitive <= labels.sensitivity and facts.legal <= labels.legal


def names_recipient(rule: Rule, legal: Iterable[str]) -> bool:
    """Line 10: does this very rule name who receives and each legal restriction."""
    recipients = [w for w in rule.who if not w.startswith(SECTOR_SYSTEM)]
    return bool(recipients) and rule.labels is not None and rule.labels.legal.issuperset(legal)
