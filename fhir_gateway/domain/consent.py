"""The promise: `decide(ask, facts, standings)` answers from the person's own consents. A deny beats any permit; default deny.

The lines of consent.md 1.2 in their order; the first that decides wins. `scope` is the same question as a predicate for a
search (built by `reach`, which shares none of the matching in `rules`); `views` and `narrowed` say which view is shown;
`explain` is formatting.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from .directory import NOBODYS
from .emergencies import GROUNDS
from .grants import Grant
from .groups import NO_YES
from .merged import as_one
from .periods import micros
from .proxies import unlawful_because
from .rules import RESTRICTED, VERY, Live, Lives, evaluate, names_recipient, rules_for, speaking
from .showing import NO_OBLIGATIONS, narrowed, owed, views
from .standing import Standing, is_self
from .types import CONFIDENTIALITY, Actor, Ask, BreakGlass, Decision, Facts, Predicate
from .vocabulary import (
    ACCEPT_DRAFT,
    ACT_CODE,
    ACT_REASON,
    DIRECT_CARE,
    EMERGENCY,
    FOR_WHOM_IT_ASKS,
    HIDDEN_FROM_SELF,
    IMPLIED_PURPOSES,
    NO_PARTNER,
    TASK_SYSTEM,
    UK_DIRECT_CARE,
    purposes_permitted,
)  # fmt: skip
from .wording import ELSEWHERE, IMPLIED_WORDS, WORDS, explain

__all__ = ["ELSEWHERE", "IMPLIED_WORDS", "WORDS", "decide", "direct_care", "explain", "narrowed", "purpose_within", "scope", "views"]


NORMAL: Final = CONFIDENTIALITY["N"]
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


# -- the sentence -----------------------------------------------------------------------------------------------------


def decide(ask: Ask, facts: Facts, standings: Mapping[str, Standing]) -> Decision:
    """Permit or deny, with the basis, the consent that decided and what the answer obliges to. Never raises for missing facts: denies."""
    if not ask.actor.rbac:
        return Decision(False, "rbac")
    people = facts.patients
    if not people:
        if facts.type in NOBODYS:
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
    standing = as_one(standing, standings)
    if ask.action == "correct":  # what only an emergency opened stays shut to changes
        calm = replace(ask, action="access", actor=replace(ask.actor, btg_role=False) if ask.actor.btg_role else ask.actor)
        if not _answer(calm, facts, standing, standings).permit:
            return Decision(False, "no-read-no-update")
    answer = _answer(ask, facts, standing, standings)
    if not answer.permit:
        return answer
    duties = owed(ask, facts, standing, standings)
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


# -- lines 5 and 6: the person ----------------------------------------------------------------------------------------


def _self(actor: Actor, facts: Facts, standing: Standing) -> Decision:
    """Lines 5 and 6."""
    if not is_self(actor, standing):
        return Decision(False, "other-patient")
    if _refrains(facts):
        return Decision(False, "refrain")
    return Decision(True, "self")


def _for_whom_it_asks(facts: Facts) -> bool:
    """A question about two plans tells of both, one about who looked tells whoever looked: it is for whom it asks and for the person, whatever else
    is open to others."""
    return facts.type == "Task" and not facts.codes.isdisjoint(FOR_WHOM_IT_ASKS)


def _of_a_draft(facts: Facts) -> bool:
    """That a draft waits somebody who acts for the person learns from the draft itself, where nothing of it is hidden from them: by its
    Task they would learn of one that is."""
    return facts.type == "Task" and f"{TASK_SYSTEM}|{ACCEPT_DRAFT}" in facts.codes


def _refrains(facts: Facts) -> bool:
    return not (facts.other_labels.isdisjoint(REFRAIN_LABELS) and facts.sensitivity.isdisjoint(HIDDEN_FROM_SELF))


# -- lines 8 to 14: everybody else ------------------------------------------------------------------------------------


def _shared(ask: Ask, facts: Facts, standing: Standing, standings: Mapping[str, Standing]) -> Decision:
    """Lines 8 to 14; and who may see what somebody's consents say: the person and their proxy alone (leak list L50)."""
    if facts.type == "Consent" and ask.action in ("access", "disclose"):
        return Decision(False, "implicit", rule="a consent is for the person and who acts for them")
    glass = emergency(ask, standing)
    if glass is not None:
        ask = replace(ask, purpose="BTG", purpose_system=ACT_REASON)
    live = rules_for(ask, standing, standings)
    if _for_whom_it_asks(facts) and ask.action in ("access", "disclose") and f"{facts.type}/{facts.id}" not in live.invited:
        return Decision(False, "implicit", rule="a question to somebody else")
    level = CONFIDENTIALITY.get(facts.confidentiality, VERY)
    denies: list[tuple[str, Live, Grant]] = []
    permits: list[tuple[str, Live, Grant]] = []
    closed: list[tuple[str, Live, Grant]] = []  # what was said yes to under an agreement of which the asker is no partner
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
            (closed if tree.closed else permits).extend((n.rule.path, n, tree.grant) for n in said[1])
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
    if not why and (closed or NO_YES in ask.actor.apart):
        return _no_partner(closed)
    return Decision(bool(why), "implicit", rule=why)


def _no_partner(closed: list[tuple[str, Live, Grant]]) -> Decision:
    """Business rules come before consent (1.2, line 1): an agreement on sharing is one. The consent is named whose yes does not reach them."""
    grant = min((g for _, _, g in closed), key=lambda g: (g.id, g.version), default=None)
    return Decision(False, "rbac", grant.id if grant else None, grant.version if grant else None, NO_PARTNER)


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
    cares = live.relationship is not None and ask.actor.sector in ("health", "social-care")
    own = not live.own_names.isdisjoint(facts.makers) or facts.keeper in live.own_names
    if standing.died is not None:  # read only, by the team of record; authors keep their own record
        if ask.action != "access":
            return ""
        return "own data" if own else "team of record" if cares and level <= NORMAL else ""
    if ask.action == "collect":
        return "relationship" if cares else "contributor" if ask.actor.contributor else ""
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
    live = rules_for(ask, standing, standings)
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
    if _for_whom_it_asks(facts):
        return Decision(False, "implicit", rule="a question to somebody else")
    if _of_a_draft(facts) and ask.actor.user not in facts.refs:
        return Decision(False, "implicit", rule="the draft itself says that it waits")
    if facts.legal:
        roles = [r for r in roles if names_recipient(r[1].rule, facts.legal)]
        if not roles:
            return Decision(False, "legal")
    return replace(_because(True, "proxy", roles), obligations=NO_OBLIGATIONS)


def forbidden(ask: Ask, facts: Facts, standings: Mapping[str, Standing]) -> bool:
    """Does somebody whom it is about say no to this: to this asker by name, or about such a thing. Silence is no no."""
    known = [as_one(standings[p], standings) for p in facts.patients]
    said = [evaluate(tree.root, facts) for s in known for tree in speaking(rules_for(ask, s, standings), facts)]
    return any(a[0] == "deny" and any(n.named or n.rule.what for n in a[1]) for a in said if a is not None)


# -- the same, for a search -------------------------------------------------------------------------------------------


def scope(ask: Ask, standings: Mapping[str, Standing]) -> Predicate:
    """The resources of these people, and of nobody, that `decide` would permit."""
    from . import reach

    return reach.scope(ask, standings)
