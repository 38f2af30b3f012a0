"""The promise: `decide(ask, facts, standings)` answers from the person's own consents. A deny beats any permit; default deny.

The lines of consent.md 1.2 in their order; the first that decides wins. `scope` is the same question as a predicate for a
search (built by `reach`, which shares none of the matching below), `explain` is formatting.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from .directory import NO_PATIENT_DATA
from .emergencies import GROUNDS
from .grants import SHARED, Grant, Labels, Rule
from .periods import covers, micros
from .rendering import PEOPLE
from .standing import MEMO, Relationship, Standing, age_at, invited, next_edge, related, team_names
from .types import CONFIDENTIALITY, CONTACT, PLACES, VIEW, Actor, All, Ask, BreakGlass, Decision, Facts, Has, Never, Predicate
from .vocabulary import (
    ACT_CODE,
    ACT_REASON,
    DIRECT_CARE,
    EMERGENCY,
    HIDDEN_FROM_SELF,
    IDENTITY,
    IMPLIED_PURPOSES,
    ROLE_AT,
    SECTOR_SYSTEM,
    UK_DIRECT_CARE,
    most_specific,
    purposes_permitted,
)  # fmt: skip

NOTHING: Final[Predicate] = Never()
NORMAL: Final = CONFIDENTIALITY["N"]
RESTRICTED: Final = CONFIDENTIALITY["R"]
VERY: Final = CONFIDENTIALITY["V"]
LPA: Final = frozenset({"health-and-welfare-lasting-power-of-attorney", "court-appointed-personal-welfare-deputy"})
PARENT: Final = "parental-responsibility"
LAWFUL_BASES: Final = frozenset({"consent", "best-interest", PARENT}) | LPA
REFRAIN_LABELS: Final = frozenset(f"{ACT_CODE}|{c}" for c in HIDDEN_FROM_SELF)
URGENT_TYPES: Final = frozenset({"Flag", "AllergyIntolerance", "RelatedPerson"})  # and the plans below
SNOMED: Final = "http://snomed.info/sct"
URGENT_PLANS: Final = frozenset(  # contingency, crisis, emergency, treatment escalation, ReSPECT, end of life
    f"{SNOMED}|{c}"
    for c in (
        "325691000000100",
        "736253002",
        "887701000000100",
        "735324008",
        "1382601000000107",
        "736373009",
        "861421000000109",
    )
)
CHOICES: Final = frozenset({"Consent", "AuditEvent"})
PLAN_TYPES: Final = frozenset({"CarePlan", "DocumentReference"})
NO_OBLIGATIONS: Final[frozenset[str]] = frozenset()


# -- the sentence -----------------------------------------------------------------------------------------------------


def decide(ask: Ask, facts: Facts, standings: Mapping[str, Standing]) -> Decision:
    """Permit or deny, with the basis, the consent that decided and what the answer obliges to. Never raises for missing facts: denies."""
    if not ask.actor.rbac:
        return Decision(False, "rbac")
    people = facts.patients
    if not people:
        if facts.type in NO_PATIENT_DATA:
            return Decision(True, "no-patient-data")
        return Decision(False, "implicit", rule="nobody's record")
    if len(people) == 1:
        return _about(ask, facts, people[0], standings)
    answers = [_about(ask, facts, p, standings) for p in sorted(people)]
    for answer in answers:
        if not answer.permit:
            return answer
    return replace(answers[0], obligations=frozenset().union(*(a.obligations for a in answers)))


def _about(ask: Ask, facts: Facts, person: str, standings: Mapping[str, Standing]) -> Decision:
    standing = standings.get(person)
    if standing is None:
        return Decision(False, "implicit", rule="nothing is known about this person")
    if ask.action == "correct":  # what only an emergency opened stays shut to changes
        calm = replace(ask, action="access", actor=replace(ask.actor, btg_role=False) if ask.actor.btg_role else ask.actor)
        if not _answer(calm, facts, standing, standings).permit:
            return Decision(False, "no-read-no-update")
    answer = _answer(ask, facts, standing, standings)
    if not answer.permit:
        return answer
    duties = _shown_as(ask, facts.type, standing, standings)
    if ask.action == "disclose":
        duties |= {"LEDGER"}
    return replace(answer, obligations=answer.obligations | duties) if duties else answer


def _answer(ask: Ask, facts: Facts, standing: Standing, standings: Mapping[str, Standing]) -> Decision:
    kind = ask.actor.kind
    if kind == "patient":
        return _self(ask.actor, facts, standing)
    if kind == "proxy":
        return _proxy(ask, facts, standing, standings)
    return _shared(ask, facts, standing, standings)


# -- which of the views of a person ----------------------------------------------------------------------------------

CONTACT_VIEW: Final = "VIEW-CONTACT"
LOCATION_VIEW: Final = "VIEW-LOCATION-PROTECTED"
CARE: Final = ("health", "social-care")
VIEW_BITS: Final[Mapping[str, int]] = {CONTACT_VIEW: CONTACT, LOCATION_VIEW: PLACES}


def _shown_as(ask: Ask, type: str, standing: Standing, standings: Mapping[str, Standing]) -> frozenset[str]:
    """Obligations to show less of a person: to those outside health and social care how to reach them and no more, and to nobody
    where somebody at risk is, unless a permit opens the identity details (to a named recipient, of somebody at risk)."""
    a = ask.actor
    contact = type in PEOPLE and a.sector not in CARE and a.kind in ("professional", "system")
    if not (contact or standing.at_risk) or (a.kind == "patient" and is_self(a, standing)):
        return NO_OBLIGATIONS
    open_to = [w for tree in _live(replace(ask, action="access"), standing, standings).trees if not tree.only_denies for w in _identity(tree.root)]
    out = {CONTACT_VIEW} if contact and not open_to else set()
    if standing.at_risk and not any(open_to):
        out.add(LOCATION_VIEW)
    return frozenset(out)


def _identity(node: Live) -> Iterator[bool]:
    """The permits in force for this asker that open the identity details: does each name who receives them."""
    if node.rule.type == "permit" and node.allowed and IDENTITY in node.rule.profiles:
        yield any(not w.startswith(SECTOR_SYSTEM) for w in node.rule.who)
    for child in node.rules:
        yield from _identity(child)


def views(ask: Ask, facts: Facts, standings: Mapping[str, Standing]) -> int:
    """What a filtered reader gets of this resource, as bits: the view, and which narrower one."""
    found = (_shown_as(ask, facts.type, standings[p], standings) for p in facts.patients if p in standings)
    return VIEW | sum(VIEW_BITS[duty] for duty in frozenset().union(*found))


def narrowed(ask: Ask, standings: Mapping[str, Standing]) -> tuple[Predicate, Predicate]:
    """The same for a search: of which resources this reader gets the contact view, and of which the location-protected one."""
    said = {p: _shown_as(ask, "Patient", s, standings) for p, s in standings.items()}
    contact = frozenset(p for p, duties in said.items() if CONTACT_VIEW in duties)
    places = frozenset(p for p, duties in said.items() if LOCATION_VIEW in duties)
    return (
        All((Has("type", PEOPLE), Has("patient", contact))) if contact else NOTHING,
        Has("patient", places) if places else NOTHING,
    )


def _self(actor: Actor, facts: Facts, standing: Standing) -> Decision:
    """Lines 5 and 6."""
    if not is_self(actor, standing):
        return Decision(False, "other-patient")
    if _refrains(facts):
        return Decision(False, "refrain")
    return Decision(True, "self")


def is_self(actor: Actor, standing: Standing) -> bool:
    mine = actor.patient
    return mine is not None and (mine == standing.patient or any(k.merged and k.other == mine for k in standing.links))


def _refrains(facts: Facts) -> bool:
    return not (facts.other_labels.isdisjoint(REFRAIN_LABELS) and facts.sensitivity.isdisjoint(HIDDEN_FROM_SELF))


def _shared(ask: Ask, facts: Facts, standing: Standing, standings: Mapping[str, Standing]) -> Decision:
    """Lines 8 to 14; and who may see what somebody's consents say: the person and their proxy alone (leak list L50)."""
    if facts.type == "Consent" and ask.action in ("access", "disclose"):
        return Decision(False, "implicit", rule="a consent is for the person and who acts for them")
    glass = emergency(ask, standing)
    if glass is not None:
        ask = replace(ask, purpose="BTG", purpose_system=ACT_REASON)
    live = _live(ask, standing, standings)
    level = CONFIDENTIALITY.get(facts.confidentiality, VERY)
    denies: list[tuple[str, Live, Grant]] = []
    permits: list[tuple[str, Live, Grant]] = []
    governs = False
    for tree in speaking(live, facts):
        said = evaluate(tree.root, facts)
        if said is None:
            governs = governs or tree.governs
        elif said[0] == "deny":
            denies += ((n.rule.path, n, tree.grant) for n in said[1])
            if glass is None:  # nothing beats it, and none is named before it
                break
        elif not tree.only_denies:
            permits += ((n.rule.path, n, tree.grant) for n in said[1])
    if glass is not None and (facts.legal or facts.type in CHOICES or any(n.emergency for _, n, _ in denies)):
        glass = None  # 1.8; and whom else the person said yes or no to is nobody's emergency (leak list L50)
    if denies or live.broken:
        if glass is not None:
            return _broke_glass(glass, standing, raise_task=bool(live.broken))
        return _because(False, "explicit", denies) if denies else Decision(
            False, "uncomputable", live.broken[0], rule="cannot be computed", obligations=frozenset({"RAISE-TASK"})
        )  # fmt: skip
    if facts.legal:
        named = [p for p in permits if names_recipient(p[1].rule, facts.legal)]
        return _because(True, "explicit", named, level) if named else Decision(False, "legal")
    if permits:
        return _because(True, "explicit", permits, level)
    if glass is not None:
        return _broke_glass(glass, standing)
    if governs:
        return Decision(False, "governed", min(t.grant.id for t in live.trees if t.governs))
    if standing.ndoo and not direct_care(ask):
        return Decision(False, "ndoo")
    why = implied(ask, facts, standing, live, level)
    return Decision(bool(why), "implicit", rule=why)


def _because(permit: bool, basis: str, found: list[tuple[str, Live, Grant]], level: int = 0) -> Decision:
    """The one of several that is named first: the answer does not depend on their order."""
    path, _, grant = min(found, key=lambda f: (f[2].id, f[2].version, f[0])) if len(found) > 1 else found[0]
    obligations = frozenset({"NORDSCLCD"}) if permit and level >= RESTRICTED else NO_OBLIGATIONS
    return Decision(permit, basis, grant.id, grant.version, path, obligations)


def _broke_glass(glass: BreakGlass, standing: Standing, *, raise_task: bool = False) -> Decision:
    duties = {"AUDIT-BTG", "NOTIFY-PRIVACY-OFFICER"}
    if not standing.no_notify:
        duties.add("NOTIFY-PATIENT")
    if raise_task:
        duties.add("RAISE-TASK")
    return Decision(True, "break-glass", rule=f"emergency {glass.id}".strip(), obligations=frozenset(duties))


# -- emergencies, purposes --------------------------------------------------------------------------------------------


def emergency(ask: Ask, standing: Standing) -> BreakGlass | None:
    """The emergency access to this person's record that this ask is part of: the asker's own, with role, reason and ground, not
    over, reading only, for a purpose that covers it, under a policy that knows it (1.8)."""
    if not standing.emergencies or ask.action != "access" or not ask.actor.btg_role or ask.actor.kind not in ("professional", "system"):
        return None
    policy = standing.policy
    if policy.break_glass != "override" or policy.implicit == "Policy-deny":
        return None
    if ask.purpose_system != ACT_REASON or not purpose_within("BTG", ask.purpose):
        return None
    mine = (b for b in standing.emergencies if b.user == ask.actor.user and b.organisation == ask.actor.organisation)
    return next((b for b in mine if b.reason.strip() and b.ground in GROUNDS and ask.at <= b.expires), None)


def direct_care(ask: Ask) -> bool:
    return ask.purpose_system == ACT_REASON and ask.purpose in DIRECT_CARE


def purpose_within(purpose: str, wider: str) -> bool:
    """May somebody signed in for `wider` ask for `purpose`: the same or narrower, never population health under treatment."""
    return purpose == wider or purpose in purposes_permitted(wider)


# -- line 14: what holds where the person has said nothing ------------------------------------------------------------


def implied(ask: Ask, facts: Facts, standing: Standing, live: Lives, level: int) -> str:
    """The reason why the default permits, or "" (1.9)."""
    policy = standing.policy.implicit
    if policy == "Policy-basic-normal":
        treats = ask.purpose_system == ACT_REASON and ask.purpose in purposes_permitted("TREAT")
        return "treating clinician" if ask.actor.clinician and treats and level <= NORMAL else ""
    if policy == "Policy-all-normal":
        return "authorised use" if level <= NORMAL else ""
    if policy != UK_DIRECT_CARE or ask.purpose_system != ACT_REASON or ask.purpose not in IMPLIED_PURPOSES:
        return ""
    looks_after = live.relationship is not None
    cares = looks_after and ask.actor.sector in ("health", "social-care")
    own = not live.own_names.isdisjoint(facts.makers) or facts.keeper in live.own_names
    if standing.died is not None:  # read only, by the team of record; authors keep their own record
        if ask.action != "access":
            return ""
        return "own data" if own else "team of record" if cares and level <= NORMAL else ""
    if ask.action == "collect":
        return "relationship" if looks_after else "contributor" if ask.actor.contributor else ""
    if own and (ask.action != "correct" or cares or ask.actor.contributor):
        return "own data"
    if cares and level <= NORMAL:
        return "relationship"
    if ask.action != "access":
        return ""
    if live.invited and f"{facts.type}/{facts.id}" in live.invited:
        return "invited"
    return "urgent care" if level <= NORMAL and _urgent(ask, facts, standing, live) else ""


def _urgent(ask: Ask, facts: Facts, standing: Standing, live: Lives) -> bool:
    if ask.purpose not in EMERGENCY or standing.policy.urgent_care.isdisjoint(live.names):
        return False
    return facts.type in URGENT_TYPES or (facts.type in PLAN_TYPES and not facts.codes.isdisjoint(URGENT_PLANS))


# -- line 7: proxies --------------------------------------------------------------------------------------------------


def _proxy(ask: Ask, facts: Facts, standing: Standing, standings: Mapping[str, Standing]) -> Decision:
    """Only an active proxy role opens; several roles: one lawful one is enough, in any order (1.7)."""
    live = _live(ask, standing, standings)
    at = micros(ask.at)
    roles: list[tuple[str, Live, Grant]] = []
    unlawful: list[str] = []
    denies: list[tuple[str, Live, Grant]] = []
    for tree in speaking(live, facts):
        said = evaluate(tree.root, facts)
        if said is None:
            continue
        if said[0] == "deny":
            denies += ((n.rule.path, n, tree.grant) for n in said[1] if n.named or n.rule.what)
        elif tree.grant.proxy and not tree.only_denies:
            wrong = unlawful_because(tree.grant.proxy, ask.actor, standing, at)
            if wrong:
                unlawful.append(wrong)
            else:
                roles += ((n.rule.path, n, tree.grant) for n in said[1])
    if not roles:
        order = ("safeguarding", "proxy-ended", "lpa-not-applicable", "proxy-age", "no-proxy-role")
        return Decision(False, min(unlawful, key=order.index, default="no-proxy-role"))
    if denies:
        return _because(False, "explicit", denies)
    if live.broken:
        return Decision(False, "uncomputable", live.broken[0], obligations=frozenset({"RAISE-TASK"}))
    if _refrains(facts):
        return Decision(False, "refrain")
    if facts.legal:
        roles = [r for r in roles if names_recipient(r[1].rule, facts.legal)]
        if not roles:
            return Decision(False, "legal")
    return replace(_because(True, "proxy", roles), obligations=NO_OBLIGATIONS)


def unlawful_because(basis: str, actor: Actor, standing: Standing, at: int) -> str:
    """Why this legal basis does not hold now, as a basis word; "" when it does."""
    if not standing.safeguarding.isdisjoint(actor.ids):
        return "safeguarding"
    if standing.died is not None:
        return "proxy-ended"
    if basis in LPA and not standing.capacity_lost:
        return "lpa-not-applicable"
    if basis == PARENT:
        age = age_at(standing, at)
        if age is None or age >= 16:
            return "proxy-age"
    return "" if basis in LAWFUL_BASES else "no-proxy-role"


# -- one consent: who, why, when, action ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Live:
    """A rule whose who, why, when and action hold for this asker; only WHAT is left to ask.

    `allowed`: the rule itself may answer this action. `named`: it or a rule around it names the asker.
    `emergency`: it is a deny, or lives in one, whose purpose names emergencies.
    """

    rule: Rule
    allowed: bool
    named: bool
    emergency: bool
    rules: tuple[Live, ...]


@dataclass(frozen=True, slots=True)
class Tree:
    """One consent in force. `governs`: where it does not permit, nothing else may (line 12)."""

    grant: Grant
    root: Live
    governs: bool
    only_denies: bool
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


def _live(ask: Ask, standing: Standing, standings: Mapping[str, Standing]) -> Lives:
    """The rules that speak to this asker now, kept until a period begins or ends."""
    at = micros(ask.at)
    if standing.links:
        return _find_live(ask, at, standing, standings)
    a = ask.actor
    key = (a.kind, a.ids, a.user, a.env, ask.purpose, ask.purpose_system, ask.action)
    kept: Lives | None = standing.memo.get(key)
    if kept is None or at < kept.since or (kept.until is not None and at >= kept.until):
        kept = _find_live(ask, at, standing, standings)
        if len(standing.memo) >= MEMO:
            standing.memo.clear()
        standing.memo[key] = kept
    return kept


def _find_live(ask: Ask, at: int, standing: Standing, standings: Mapping[str, Standing]) -> Lives:
    names = ask.actor.ids | team_names(standing, ask.actor, at)
    proxy = ask.actor.kind == "proxy"
    trees: list[Tree] = []
    broken: list[str] = []
    for other, only_denies in _records(standing, standings):
        if other is None:
            broken.append("")
            continue
        for grant in other.grants:
            if grant.in_force(at) and (proxy or not grant.proxy):
                root = _living(grant.root, ask, names, at)
                if root is not None and (root.rule.type or root.rules):
                    governs = root.rule.type == "permit" and root.allowed and not only_denies
                    trees.append(Tree(grant, root, governs, only_denies))
        broken += (b.id for b in other.broken if covers(b.low, b.high, at))
    own = frozenset(n for n in names if not n.startswith((SECTOR_SYSTEM, ROLE_AT, "CareTeam/", "Group/")))
    trees.sort(key=lambda t: (t.grant.id, t.grant.version))
    trees = [replace(tree, order=n) for n, tree in enumerate(trees)]
    always, filed, ended = _file(trees)
    return Lives(
        at, next_edge(standing, at), names, own, tuple(trees), always, filed, ended, tuple(sorted(broken)), related(standing, ask.actor, at),
        invited(standing, names),
    )  # fmt: skip


def _records(standing: Standing, standings: Mapping[str, Standing]) -> Iterator[tuple[Standing | None, bool]]:
    """This record and those linked to it (whether they can only deny); None where a linked one is not at hand."""
    yield standing, False
    for link in standing.links:
        yield standings.get(link.other), not link.merged


def _living(rule: Rule, ask: Ask, names: frozenset[str], at: int, named: bool = False, glass: bool = False) -> Live | None:
    """The gates of consent.md 1.3: they close a rule and everything in it."""
    if rule.who and rule.who.isdisjoint(names):
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
    inner = (_living(r, ask, names, at, named, glass) for r in rule.rules)
    return Live(rule, bool(rule.actions) or ask.action in SHARED, named, glass, tuple(r for r in inner if r is not None))


NAMES_EMERGENCY: Final = frozenset(f"{ACT_REASON}|{c}" for c in ("BTG", "ETREAT"))


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
    own = scope and node.allowed
    if permits:
        return "permit", [*permits, node] if own and rule.type == "permit" else permits
    return (rule.type, [node]) if own and rule.type else None


# -- WHAT -------------------------------------------------------------------------------------------------------------


def speaks_of(rule: Rule, facts: Facts, effect: str) -> bool:
    """Is this resource within the rule: AND between elements, OR inside one (1.5). For a deny any author or custodian counts, for
    a permit those whom nobody could write in to open it."""
    if not rule.what:
        return True
    if (rule.types or rule.profiles) and facts.type not in rule.types and rule.profiles.isdisjoint(facts.profiles):
        return False
    if rule.codes and rule.codes.isdisjoint(facts.codes):
        return False
    if rule.custodians and (facts.custodian if effect == "deny" else facts.keeper) not in rule.custodians:
        return False
    if rule.sources and facts.source not in rule.sources:
        return False
    if (rule.instances or rule.related or rule.authored) and not _points_at(rule, facts, effect):
        return False
    if rule.dated and not _in_time(rule, facts):
        return False
    return rule.labels is None or _labelled(rule.labels, facts, denied=rule.type == "deny")


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


# -- the same, for a search -------------------------------------------------------------------------------------------


def scope(ask: Ask, standings: Mapping[str, Standing]) -> Predicate:
    """The resources of these people, and of nobody, that `decide` would permit."""
    from . import reach

    return reach.scope(ask, standings)


# -- in words ---------------------------------------------------------------------------------------------------------

WORDS: Final[Mapping[str, tuple[str, str]]] = {  # basis -> (permitted, refused)
    "rbac": ("", "Their sign-in or role does not allow this, whatever the person's choices are."),
    "no-patient-data": ("This holds nothing about any person.", ""),
    "no-read-no-update": ("", "Who may not see something may not change it."),
    "self": ("It is the person's own record.", ""),
    "refrain": (
        "",
        "It was marked as not to be shown to the person or those acting for them until it has been talked over.",
    ),
    "other-patient": ("", "It belongs to somebody else."),
    "proxy": ("They act for the person, and that role is in force.", ""),
    "no-proxy-role": ("", "They have no role in force that lets them act for the person."),
    "proxy-ended": ("", "A role acting for the person ended with the person's death."),
    "proxy-age": ("", "Parental responsibility opens a record only until the young person is 16."),
    "lpa-not-applicable": (
        "",
        "A power of attorney or deputyship counts only once it is recorded that the person lacks capacity.",
    ),
    "safeguarding": ("", "Their role is suspended to keep somebody safe."),
    "uncomputable": (
        "",
        "The person left a consent that cannot be computed; until somebody has looked at it, the answer is no.",
    ),
    "explicit": ("The person said yes to this.", "The person said no to this."),
    "legal": (
        "",
        "The law restricts this: it opens only to a recipient whom the person names for exactly this kind of record.",
    ),
    "break-glass": (
        "It was opened as an emergency. The privacy officer is told, and so is the person unless that would endanger them.",
        "",
    ),
    "governed": ("", "The person shares with them only what they chose, and this is not part of it."),
    "ndoo": ("", "The person opted out of research and planning."),
    "implicit": ("", "The person has not said anything about this, and nothing else opens it to them."),
}
IMPLIED_WORDS: Final[Mapping[str, str]] = {
    "relationship": "They look after the person now, and this is shared for the person's own care unless they object.",
    "own data": "They wrote it or keep it themselves.",
    "invited": "It is a task or referral addressed to them, so they may read that one.",
    "contributor": "They are registered to add to people's records.",
    "team of record": "They looked after the person when the person died.",
    "urgent care": "They are an urgent care service, and this is what such a service may see without a relationship.",
    "treating clinician": "They are a clinician who asks for treatment.",
    "authorised use": "This service shares ordinary records for every authorised use.",
}
CHANGE: Final[Mapping[str, str]] = {
    "explicit": "The person can change this choice at any time.",
    "governed": "The person can add this to what they share.",
    "implicit": "A legitimate relationship or the person's own yes would change it.",
    "no-proxy-role": "A role given by the person or the law would change it.",
    "lpa-not-applicable": "A recorded loss of capacity would change it.",
    "uncomputable": "Correcting or ending that consent would change it.",
    "ndoo": "The person's yes to this very purpose would change it.",
    "legal": "A yes that names the recipient and this restriction would change it.",
}


SHOWN_AS: Final[Mapping[str, str]] = {
    CONTACT_VIEW: "They are shown the name and one way to get in touch, and not who and where the person is, unless the person opens that too.",
    LOCATION_VIEW: "Where the person is stays hidden: no address, telephone, practice or place.",
}


def explain(decision: Decision, changes: Iterable[str] = ()) -> str:
    """Why, in plain words, and what would change it: `changes` where they are known, else for a refusal what does as a rule."""
    more = list(changes)
    yes, no = WORDS.get(decision.basis, ("", ""))
    if decision.permit:
        text = IMPLIED_WORDS.get(decision.rule, "") if decision.basis == "implicit" else yes
        lines = ["Yes.", text, *more]
    else:
        lines = ["No.", no, *(more or [CHANGE.get(decision.basis, "")])]
    lines += [text for duty, text in SHOWN_AS.items() if duty in decision.obligations]
    if decision.consent:
        version = f", version {decision.consent_version}" if decision.consent_version else ""
        where = f", {decision.rule}" if decision.rule.startswith("Consent.") else ""
        lines.append(f"This rests on the consent {decision.consent}{version}{where}.")
    return " ".join(x for x in lines if x)
