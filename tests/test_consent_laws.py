"""The laws of consent as properties: denies override; order, copies and dead consents change nothing; the two laws of granting.

Random consents of depth 3 over every element (`worlds`), asked by random people about random resources.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fhir_gateway.domain import consent, consenting, grants, predicate, provisions, sharing
from fhir_gateway.domain.noes import noes
from fhir_gateway.domain.standing import Policy, Relationship, Standing
from fhir_gateway.domain.types import Actor, Ask, ByPerson, Facts, Only
from fhir_gateway.domain.vocabulary import ACT_REASON, HL7, POLICY_SYSTEM, SECTOR_SYSTEM

from .conftest import times
from .unparsing import unparse
from .worlds import (
    IDS,
    LEGAL,
    NOW,
    P1,
    P2,
    SENSITIVE,
    TYPES,
    Dice,
    a_consent,
    a_provision,
    a_resource,
    a_standing,
    an_ask,
    parsed,
    who,
)

FAST = settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))


def permits(ask: Ask, facts: Facts, *people: Standing) -> bool:
    return consent.decide(ask, facts, {s.patient: s for s in people}).permit


DICE = st.integers(0, 2**48).map(Dice)  # one seed, one world: fast enough for a million, at the price of shrinking
asks, consents, resources = DICE.map(an_ask), DICE.map(a_consent), DICE.map(a_resource)
standings = DICE.map(partial(a_standing, links=False))


# -- the six laws of the specification --------------------------------------------------------------------------------


@FAST
@given(asks, st.lists(consents, max_size=4), st.randoms(), resources)
def test_order_of_consents_does_not_matter(ask: Ask, bodies: list[dict[str, Any]], random: Any, facts: Facts) -> None:
    given_ = [provisions.parse(b, f"c{i}", 1) for i, b in enumerate(bodies)]
    shuffled = given_[:]
    random.shuffle(shuffled)
    first = consent.decide(ask, facts, {P1: Standing(P1, tuple(given_))})
    assert consent.decide(ask, facts, {P1: Standing(P1, tuple(shuffled))}) == first


@FAST
@given(asks, consents, st.randoms(), resources)
def test_order_of_siblings_does_not_matter(ask: Ask, body: dict[str, Any], random: Any, facts: Facts) -> None:
    def shuffled(node: dict[str, Any]) -> dict[str, Any]:
        inner = [shuffled(p) for p in node.get("provision", [])]
        random.shuffle(inner)
        return {**node, **({"provision": inner} if inner else {})}

    before = permits(ask, facts, Standing(P1, parsed([body])))
    assert permits(ask, facts, Standing(P1, parsed([{**body, "provision": shuffled(body["provision"])}]))) == before


@FAST
@given(asks, standings, resources)
def test_duplicate_consent_changes_nothing(ask: Ask, standing: Standing, facts: Facts) -> None:
    twice = replace(standing, grants=standing.grants + standing.grants)
    assert consent.decide(ask, facts, {P1: twice}) == consent.decide(ask, facts, {P1: standing})


@FAST
@given(asks, standings, consents, st.sampled_from(("proposed", "draft", "rejected", "inactive", "entered-in-error")), resources)
def test_inactive_consent_is_no_consent(ask: Ask, standing: Standing, body: dict[str, Any], status: str, facts: Facts) -> None:
    dead = provisions.parse({**body, "status": status}, "dead", 1)
    more = replace(standing, grants=(*standing.grants, dead))
    assert consent.decide(ask, facts, {P1: more}) == consent.decide(ask, facts, {P1: standing})


def denying(dice: Dice) -> dict[str, Any]:
    body = a_consent(dice)
    policy = {"coding": [{"system": POLICY_SYSTEM, "code": "uk-direct-care"}]}
    return {**body, "policyRule": policy, "provision": all_denies(body["provision"], True)}


def all_denies(node: dict[str, Any], root: bool = False) -> dict[str, Any]:
    out = {**node, "provision": [all_denies(p) for p in node.get("provision", [])]}
    return out if root and "type" not in node else {**out, "type": "deny"}


@FAST
@given(asks, standings, DICE.map(denying), resources)
def test_adding_a_deny_never_opens(ask: Ask, standing: Standing, body: dict[str, Any], facts: Facts) -> None:
    """An emergency aside: it answers with break-glass where a deny closes."""
    standing = replace(standing, emergencies=())
    more = replace(standing, grants=(*standing.grants, *parsed([body])))
    assert permits(ask, facts, more) <= permits(ask, facts, standing)


@FAST
@given(asks, standings, resources, st.sampled_from("UNRV"), st.sampled_from(SENSITIVE))
def test_raising_labels_never_opens(ask: Ask, standing: Standing, facts: Facts, level: str, sensitivity: str) -> None:
    """Whatever the consents say of labels, except where an exception in a deny speaks of high labels only by sensitivity."""
    quiet = replace(standing, grants=tuple(g for g in standing.grants if not any(r.labels for r in grants.walk(g.root))))
    raised = replace(
        facts,
        confidentiality=max(level, facts.confidentiality, "R", key="UNRV".index),
        sensitivity=facts.sensitivity | {sensitivity},
    )
    assert permits(ask, raised, quiet) <= permits(ask, facts, quiet)


@FAST
@given(consents)
def test_a_grant_written_back_says_the_same(body: dict[str, Any]) -> None:
    grant = provisions.parse(body, "c", 1)
    assert provisions.parse(unparse(grant), "c", 1) == grant


# -- emergencies ------------------------------------------------------------------------------------------------------


@FAST
@given(asks, standings, resources)
def test_an_emergency_opens_reading_alone_and_closes_nothing_else(ask: Ask, standing: Standing, facts: Facts) -> None:
    """Not adding, changing or passing on; not what the law restricts; nobody's but the asker's."""
    calm = replace(standing, emergencies=())
    facts = replace(facts, patients=(P1,))
    now, before = consent.decide(ask, facts, {P1: standing}), consent.decide(ask, facts, {P1: calm})
    if now == before:
        return
    assert ask.action == "access" and ask.actor.kind in ("professional", "system") and ask.actor.btg_role
    assert any((b.user, b.organisation) == (ask.actor.user, ask.actor.organisation) for b in standing.emergencies)
    if now.basis == "break-glass":
        assert not facts.legal and {"AUDIT-BTG", "NOTIFY-PRIVACY-OFFICER"} <= now.obligations


@FAST
@given(asks, standings, resources, st.sampled_from(("BTG", "ETREAT")))
def test_a_no_that_names_emergencies_holds_in_one(ask: Ask, standing: Standing, facts: Facts, purpose: str) -> None:
    body = {"resourceType": "Consent", "status": "active", "patient": {"reference": P1}, "policyRule": {"coding": [{"system": POLICY_SYSTEM, "code": "uk-direct-care"}]}, "provision": {
        "provision": [{"type": "deny", "purpose": [{"system": ACT_REASON, "code": purpose}]}],
    }}  # fmt: skip
    sealed = replace(standing, grants=(*standing.grants, *parsed([body])))
    facts = replace(facts, patients=(P1,))
    assert consent.decide(ask, facts, {P1: sealed}).basis != "break-glass"


@FAST
@given(asks, standings, resources, st.sampled_from(LEGAL))
def test_what_the_law_restricts_stays_shut_in_an_emergency(ask: Ask, standing: Standing, facts: Facts, legal: str) -> None:
    facts = replace(facts, patients=(P1,), legal=facts.legal | {legal})
    assert consent.decide(ask, facts, {P1: standing}).basis != "break-glass"


# -- no means no ------------------------------------------------------------------------------------------------------


@FAST
@given(asks, standings, resources)
def test_no_grant_means_no(ask: Ask, standing: Standing, facts: Facts) -> None:
    """Without a yes, without a relationship, without their own hand in it and without an emergency nothing opens to a professional."""
    nothing = replace(standing, grants=(), relationships=(), invitations=(), policy=Policy(), emergencies=())
    ask = replace(ask, actor=replace(ask.actor, kind="professional", contributor=False))
    others = replace(facts, makers=facts.makers - ask.actor.ids, keeper=None)
    assert not permits(ask, others, nothing)


@FAST
@given(asks, resources)
def test_an_unknown_person_is_nobodys_to_read(ask: Ask, facts: Facts) -> None:
    assert not consent.decide(ask, facts, {}).permit


@FAST
@given(asks, standings, resources)
def test_legally_restricted_opens_only_to_a_named_recipient(ask: Ask, standing: Standing, facts: Facts) -> None:
    restricted = replace(facts, legal=frozenset({"HFEA"}), confidentiality="V")
    if ask.actor.kind != "patient" and permits(ask, restricted, standing):
        rules = [r for g in standing.grants for r in grants.walk(g.root)]
        assert any(
            r.type == "permit" and r.who & (ask.actor.ids | {"CareTeam/t1"}) and r.labels and "HFEA" in r.labels.legal
            for r in rules
        )


# -- the two laws of granting -----------------------------------------------------------------------------------------

WHO = st.sampled_from(("Practitioner/link", "Organization/charity", "CareTeam/t1", "urn:sds|555", "sector:health"))
KINDS = st.lists(st.sampled_from(sorted(sharing.KINDS)), min_size=1, max_size=3, unique=True)
HIDDEN = st.lists(st.sampled_from(sorted(sharing.KINDS.keys() - {"identity"})), min_size=1, max_size=3, unique=True)  # a view is not hidden
PRIVATE = st.lists(st.sampled_from(sorted(sharing.LABELS)), max_size=2, unique=True)
MORE = st.sampled_from((*TYPES, "Patient", "Condition", "QuestionnaireResponse"))


def spoken_to(ask: Ask, standing: Standing, who_: str) -> bool:
    name = who_.replace("sector:", f"{SECTOR_SYSTEM}|")
    return name in ask.actor.ids or (name.startswith("CareTeam/") and any(r.team == name for r in (*standing.relationships, *standing.groups)))


@FAST
@given(asks, standings, resources, MORE, WHO, KINDS, PRIVATE)
def test_a_grant_changes_nothing_for_anyone_else(
    ask: Ask, standing: Standing, facts: Facts, type: str, who_: str, kinds: list[str], labels: list[str]
) -> None:
    facts = replace(facts, type=type)
    body = sharing.grant(None, P1, who=who_, kinds=kinds, labels=labels, at=NOW - timedelta(days=400), rule_id="g1")
    more = replace(standing, grants=(*standing.grants, provisions.parse(body, "shared", 1)))
    needs_consent = any(r.consent_needed for r in standing.relationships)
    if not spoken_to(ask, standing, who_) and not needs_consent:
        assert consent.decide(ask, facts, {P1: more}) == consent.decide(ask, facts, {P1: standing})


@FAST
@given(asks, standings, resources, MORE, WHO, KINDS, PRIVATE)
def test_a_grant_takes_nothing_away(
    ask: Ask, standing: Standing, facts: Facts, type: str, who_: str, kinds: list[str], labels: list[str]
) -> None:
    facts = replace(facts, type=type)
    body = sharing.grant(None, P1, who=who_, kinds=kinds, labels=labels, at=NOW - timedelta(days=400), rule_id="g1")
    more = replace(standing, grants=(*standing.grants, provisions.parse(body, "shared", 1)))
    assert permits(ask, facts, more) >= permits(ask, facts, standing)


@FAST
@given(asks, standings, resources, st.one_of(st.none(), WHO), st.sampled_from(IDS), HIDDEN, st.booleans(), PRIVATE)
def test_hiding_one_thing_opens_nothing(
    ask: Ask, standing: Standing, facts: Facts, who_: str | None, id: str, kinds: list[str], one: bool, labels: list[str]
) -> None:
    standing = replace(standing, emergencies=())
    chosen: dict[str, Any] = {"refs": [f"CarePlan/{id}"]} if one else {"kinds": kinds, "labels": labels}
    body = sharing.hide(None, P1, who=who_, at=NOW - timedelta(days=400), rule_id="h1", **chosen)
    less = replace(standing, grants=(*standing.grants, provisions.parse(body, "hidden", 1)))
    assert permits(ask, facts, less) <= permits(ask, facts, standing)


@FAST
@given(asks, standings, resources, st.sampled_from(IDS))
def test_hiding_one_thing_leaves_the_rest_as_it_was(ask: Ask, standing: Standing, facts: Facts, id: str) -> None:
    body = sharing.hide(None, P1, refs=[f"CarePlan/{id}"], at=NOW - timedelta(days=400), rule_id="h1")
    less = replace(standing, grants=(*standing.grants, provisions.parse(body, "hidden", 1)))
    if (facts.type, facts.id) != ("CarePlan", id):
        assert consent.decide(ask, facts, {P1: less}) == consent.decide(ask, facts, {P1: standing})


@FAST
@given(asks, standings, resources)
def test_several_people_must_all_permit(ask: Ask, standing: Standing, facts: Facts) -> None:
    other = Standing(P2, policy=Policy("Policy-deny"))
    both = replace(facts, patients=(P1, P2))
    if ask.actor.kind not in ("patient",):
        assert not permits(ask, both, standing, other)


# -- the predicate is only data ---------------------------------------------------------------------------------------


def test_an_empty_list_of_people_reaches_nothing_of_anyone() -> None:
    ask = Ask(Actor("professional", frozenset({"Practitioner/gp"})), "access", NOW)
    reached = consent.scope(ask, {})
    assert not predicate.matches(reached, Facts("CarePlan", "x", (P1,), "U"))
    assert predicate.matches(reached, Facts("Questionnaire", "x"))


def test_people_of_one_shape_are_one_group() -> None:
    ask = Ask(Actor("professional", frozenset({"Practitioner/gp"}), sector="health"), "access", NOW)
    related = Relationship(frozenset({"Practitioner/gp"}), "task", "Task/1")
    known = {f"Patient/{i}": Standing(f"Patient/{i}", relationships=(related,)) for i in range(50)}
    groups = [people for p in walk(consent.scope(ask, known)) if isinstance(p, ByPerson) for people, _ in p.groups]
    assert groups == [frozenset(known)]


def walk(p: Any) -> Any:
    yield p
    for q in getattr(p, "parts", ()):
        yield from walk(q)
    if hasattr(p, "part"):
        yield from walk(p.part)


def test_only_is_true_of_a_resource_that_has_none() -> None:
    assert predicate.matches(Only("legal", frozenset()), Facts("Goal", "g", (P1,)))


# -- the laws have something to hold ----------------------------------------------------------------------------------

def only_its_no(body: dict[str, Any]) -> dict[str, Any]:
    policy = {"coding": [{"system": POLICY_SYSTEM, "code": "uk-direct-care"}]}
    return {**body, "policyRule": policy, "provision": noes(body["provision"], provisions.parse(body, "c", 1).root.type)}


@FAST
@given(asks, standings, consents, resources)
def test_the_no_in_a_consent_closes_what_the_consent_says_no_to_and_opens_nothing(ask: Ask, standing: Standing, body: dict[str, Any], facts: Facts) -> None:
    """Of what waits, for it says yes besides (docs/consents.md)."""
    standing = replace(standing, emergencies=())
    whole, no = provisions.parse(body, "waits", 1), provisions.parse(only_its_no(body), "waits", 1)
    assert consenting.only_closes(no)
    more = replace(standing, grants=(*standing.grants, no))
    assert permits(ask, facts, more) <= permits(ask, facts, standing)
    said = consent.decide(ask, facts, {P1: Standing(P1, (whole,))})
    if (said.permit, said.basis) == (False, "explicit"):
        assert not permits(ask, facts, more)


LAW_WORLDS = 500


def counted(law: Any) -> int:
    """In how many of the random worlds the premise of a law is more than words."""
    return sum(bool(law(Dice(f"law {n}"))) for n in range(LAW_WORLDS))


def test_each_law_is_tried_where_it_could_break() -> None:
    """A law about random consents says little where they decide nothing: each is met by worlds in which what it varies matters."""

    def calm(dice: Dice) -> Standing:
        return replace(a_standing(dice, links=False), emergencies=())

    def several_decide(dice: Dice) -> bool:
        """Order: two consents that answer differently when alone."""
        ask, facts, bodies = an_ask(dice), a_resource(dice), [a_consent(dice) for _ in range(4)]
        alone = {consent.decide(ask, facts, {P1: Standing(P1, parsed([b]))}).basis for b in bodies}
        return len(alone - {"implicit", "no-proxy-role"}) > 1

    def siblings(dice: Dice) -> bool:
        """Siblings: a permit and a deny in one rule, and the consent answers."""
        ask, facts, body = an_ask(dice), a_resource(dice), a_consent(dice)
        inner = {p["type"] for p in body["provision"].get("provision", [])}
        return inner == {"permit", "deny"} and consent.decide(ask, facts, {P1: Standing(P1, parsed([body]))}).basis in ("explicit", "governed")

    def a_copy(dice: Dice) -> bool:
        ask, facts, standing = an_ask(dice), a_resource(dice), a_standing(dice, links=False)
        return consent.decide(ask, facts, {P1: standing}).basis in ("explicit", "governed", "proxy")

    def a_dead_one(dice: Dice) -> bool:
        """It would have changed the answer had it been alive."""
        ask, facts, standing, body = an_ask(dice), a_resource(dice), a_standing(dice, links=False), a_consent(dice)
        alive = replace(standing, grants=(*standing.grants, *parsed([{**body, "status": "active"}])))
        return consent.decide(ask, facts, {P1: alive}) != consent.decide(ask, facts, {P1: standing})

    def a_deny(dice: Dice) -> bool:
        """It closes what was open."""
        ask, facts, standing, body = an_ask(dice), a_resource(dice), calm(dice), denying(dice)
        more = replace(standing, grants=(*standing.grants, *parsed([body])))
        return permits(ask, facts, standing) and not permits(ask, facts, more)

    def raised(dice: Dice) -> bool:
        ask, facts, standing = an_ask(dice), a_resource(dice), a_standing(dice, links=False)
        quiet = replace(standing, grants=tuple(g for g in standing.grants if not any(r.labels for r in grants.walk(g.root))))
        higher = replace(facts, confidentiality="V", sensitivity=facts.sensitivity | {"PSY"})
        return permits(ask, facts, quiet) and not permits(ask, higher, quiet)

    def given_to(dice: Dice) -> bool:
        """Granting: it opens something to whom it names."""
        ask, facts, standing = an_ask(dice), a_resource(dice), a_standing(dice, links=False)
        body = sharing.grant(None, P1, who="Organization/charity", kinds=sorted(sharing.KINDS)[:3], at=NOW - timedelta(days=400), rule_id="g")
        more = replace(standing, grants=(*standing.grants, provisions.parse(body, "shared", 1)))
        return permits(ask, facts, more) and not permits(ask, facts, standing)

    def hidden(dice: Dice) -> bool:
        """Hiding: it closes something."""
        ask, facts, standing = an_ask(dice), a_resource(dice), calm(dice)
        body = sharing.hide(None, P1, refs=[f"{facts.type}/{facts.id}"], at=NOW - timedelta(days=400), rule_id="h")
        less = replace(standing, grants=(*standing.grants, provisions.parse(body, "hidden", 1)))
        return permits(ask, facts, standing) and not permits(ask, facts, less)

    def a_no_beside_a_yes(dice: Dice) -> bool:
        """It says no to this, and yes to something."""
        ask, facts, body = an_ask(dice), a_resource(dice), a_consent(dice)
        said = consent.decide(ask, facts, {P1: Standing(P1, parsed([body]))})
        return (said.permit, said.basis) == (False, "explicit") and any(r.type == "permit" for g in parsed([body]) for r in grants.walk(g.root))

    bite = {law.__name__: counted(law) for law in (several_decide, siblings, a_copy, a_dead_one, a_deny, raised, given_to, hidden, a_no_beside_a_yes)}
    assert min(bite.values()) >= 3, bite


LAWS = (
    test_order_of_consents_does_not_matter, test_order_of_siblings_does_not_matter, test_duplicate_consent_changes_nothing,
    test_inactive_consent_is_no_consent, test_adding_a_deny_never_opens, test_raising_labels_never_opens,
    test_the_no_in_a_consent_closes_what_the_consent_says_no_to_and_opens_nothing,
    test_a_grant_changes_nothing_for_anyone_else, test_a_grant_takes_nothing_away, test_hiding_one_thing_opens_nothing,
    test_hiding_one_thing_leaves_the_rest_as_it_was,
)  # fmt: skip


@pytest.mark.slow
@pytest.mark.timeout(7_200)
@pytest.mark.parametrize("law", LAWS, ids=[f.__name__.removeprefix("test_") for f in LAWS])
def test_each_law_thousands_of_times(law: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(law, "_hypothesis_internal_use_settings", settings(FAST, max_examples=times(1_500)))
    law()


# -- who acts for the person writes for them -----------------------------------------------------------------------------


CARER = Actor("proxy", frozenset({"RelatedPerson/carer"}), "RelatedPerson/carer", patient=P1)
ROLE = {
    "resourceType": "Consent", "status": "active", "scope": {"coding": [{"system": f"{HL7}/consentscope", "code": "patient-privacy"}]},
    "patient": {"reference": P1}, "provision": {"type": "permit", "actor": [who("RelatedPerson/carer")]},
    "policyRule": {"coding": [{"system": "https://fhir.nhs.uk/England/CodeSystem/England-NHSProxyLegalBasis", "code": "best-interest"}]},
}  # fmt: skip


def test_what_somebody_who_acts_for_the_person_may_write_opens_nothing_to_them() -> None:
    """consent.md 1.7: "a general opt-out leaves a lawful proxy in place, a deny naming the proxy removes it". So a bare root deny says
    nothing to a proxy, and `widens` may take it for a silent root: whatever it lets through opens nothing that was shut."""
    mine, through, bare, stopped = consenting.myself(CARER), 0, 0, 0
    (role,) = parsed([ROLE])
    for number in range(1_500):
        dice = Dice(f"acting {number}")
        bodies = []
        for _ in range(2):
            root: dict[str, Any] = {"type": "deny"} if dice.one_in(2) else {}
            rules = [a_provision(dice, 2) for _ in range(dice.randint(0, 2))]
            bodies.append({**ROLE, "policyRule": {"coding": [{"system": POLICY_SYSTEM, "code": "uk-direct-care"}]}, "provision": {**root, "provision": rules}})
        if dice.one_in(2):  # the same rules, under another root
            bodies[1]["provision"]["provision"] = bodies[0]["provision"]["provision"]
        before, after = (provisions.parse(b, "c", 1) for b in bodies)
        if consenting.widens(before, after, mine, acting=True):
            stopped += 1
            continue
        through += 1
        bare += {before.root.type, after.root.type} == {"deny", ""}
        then, now = (Standing(P1, (g, role)) for g in (before, after))
        for facts in (a_resource(dice) for _ in range(4)):
            for action in ("access", "correct"):
                asked = Ask(CARER, action, NOW, "TREAT")  # type: ignore[arg-type]
                if permits(asked, facts, now):
                    assert permits(asked, facts, then), (number, bodies, facts)
    assert through > 200 and bare > 50 and stopped > 200, (through, bare, stopped)


def test_a_general_opt_out_leaves_a_lawful_proxy_in_place_and_a_deny_that_names_them_does_not() -> None:
    facts = Facts("Goal", "g", (P1,), "N")
    (role,) = parsed([ROLE])
    for provision, open_ in (({"type": "deny"}, True), ({"type": "deny", "actor": [who("RelatedPerson/carer")]}, False)):
        (no,) = parsed([{**ROLE, "policyRule": {"coding": [{"system": POLICY_SYSTEM, "code": "uk-direct-care"}]}, "provision": provision}])
        assert permits(Ask(CARER, "access", NOW), facts, Standing(P1, (role, no))) is open_
        wider = consenting.widens(no, None, consenting.myself(CARER), acting=True)
        assert bool(wider) is not open_, "who acts for the person may end the first and not the second"
