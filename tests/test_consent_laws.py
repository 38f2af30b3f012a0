"""The laws of consent as properties: two engines, one truth; denies override; order, copies and dead consents change nothing.

Random consents of depth 3 over every element, asked by random people about random resources.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fhir_gateway.domain import consent, grants, predicate, sharing
from fhir_gateway.domain.grants import Grant
from fhir_gateway.domain.periods import interval, micros
from fhir_gateway.domain.standing import Broken, Invitation, Link, Policy, Relationship, Standing
from fhir_gateway.domain.types import Actor, Ask, BreakGlass, Facts, Has, Only
from fhir_gateway.domain.vocabulary import (
    ACT_CODE,
    ACT_REASON,
    CONFIDENTIALITY_SYSTEM,
    HL7,
    POLICY_SYSTEM,
    RESOURCE_TYPES,
    SECTOR_SYSTEM,
)

from .conftest import times

NOW = datetime(2026, 11, 1, 10, 0, tzinfo=UTC)
P1, P2, P3 = "Patient/p1", "Patient/p2", "Patient/p3"
PEOPLE = ("Practitioner/gp", "Practitioner/link", "Practitioner/nurse", "RelatedPerson/carer")
PLACES = ("Organization/gp", "Organization/trust", "Organization/charity")
NAMES = (*PEOPLE, *PLACES, "CareTeam/t1", "urn:sds|555", f"{SECTOR_SYSTEM}|health")
TYPES = ("CarePlan", "Goal", "Flag", "Task")
PROFILES = ("http://example.org/StructureDefinition/a",)
CODES = ("http://loinc.org|1", "http://snomed.info/sct|736253002")
SENSITIVE = ("PSY", "HIV", "SUD", "ETHUD", "ETH", "BH", "SPI")
LEGAL = ("HFEA", "GRA")
LEGAL_SYSTEM = "https://fhir-gateway.example/CodeSystem/legal-restriction"
PURPOSES = ("TREAT", "ETREAT", "BTG", "HRESCH", "POPHLTH", "CLINTRCH", "CAREMGT", "FAMRQT")
ACTIONS = ("access", "disclose", "collect", "correct")
IDS = ("r1", "r2", "r3")
SOURCES = ("src:a", "src:b")
DAYS = ("2020", "2022-06", "2026-10-31", "2026-11-01", "2026-11-02", "2027-01-01")
BASES = (
    "",
    "",
    "",
    "",
    "consent",
    "best-interest",
    "parental-responsibility",
    "health-and-welfare-lasting-power-of-attorney",
    "UNK",
)


class Dice(Random):
    """Random choices that read like the sentence: one seed is one world, so that a million of them are cheap."""

    def some(self, values: Sequence[str], most: int = 2) -> list[str]:
        return self.sample(values, self.randint(0, min(most, len(values))))

    def one_in(self, times: int) -> bool:
        return self.randrange(times) == 0

    def maybe(self, values: Sequence[str], most: int, one_in: int) -> list[str]:
        return self.some(values, most) if self.one_in(one_in) else []


def reference(name: str) -> dict[str, Any]:
    if "|" in name:
        system, _, value = name.rpartition("|")
        return {"identifier": {"system": system, "value": value}}
    return {"reference": name}


def who(name: str, role: str = "IRCP") -> dict[str, Any]:
    return {"role": {"coding": [{"system": f"{HL7}/v3-ParticipationType", "code": role}]}, "reference": reference(name)}


def a_period(dice: Dice) -> dict[str, str]:
    low, high = sorted(dice.choices(range(len(DAYS)), k=2))
    out = {"start": DAYS[low], "end": DAYS[high]}
    return dice.choice(({"start": DAYS[low]}, {"end": DAYS[high]}, out))


def a_label(dice: Dice) -> dict[str, str]:
    system, codes = dice.choice(((CONFIDENTIALITY_SYSTEM, "UNRV"), (ACT_CODE, SENSITIVE), (LEGAL_SYSTEM, LEGAL)))
    return {"system": system, "code": dice.choice(codes)}


def a_datum(dice: Dice) -> dict[str, Any]:
    meaning = dice.choice(("instance", "related", "dependents", "authoredby"))
    name = dice.choice(PEOPLE + PLACES) if meaning == "authoredby" else f"{dice.choice(TYPES)}/{dice.choice(IDS)}"
    return {"meaning": meaning, "reference": {"reference": name}}


def a_provision(dice: Dice, depth: int = 3, typed: bool = True) -> dict[str, Any]:
    out: dict[str, Any] = {}
    if typed:
        actors = [who(n) for n in dice.maybe(NAMES, 3, 2)] + [who(n, "CST") for n in dice.maybe(PLACES, 1, 8)]
        codes = [dict(zip(("system", "code"), c.split("|"), strict=True)) for c in dice.maybe(CODES, 2, 6)]
        fields: dict[str, Any] = {
            "actor": actors,
            "purpose": [{"system": ACT_REASON, "code": c} for c in dice.maybe(PURPOSES, 2, 3)],
            "action": [{"coding": [{"system": f"{HL7}/consentaction", "code": a}]} for a in dice.maybe(ACTIONS, 3, 4)],
            "class": [{"system": RESOURCE_TYPES, "code": t} for t in dice.maybe(TYPES, 2, 3)]
            + [{"system": "urn:ietf:rfc:3986", "code": p} for p in dice.maybe(PROFILES, 1, 8)],
            "code": [{"coding": [c]} for c in codes],
            "securityLabel": [a_label(dice) for _ in range(dice.choice((0, 0, 1, 2, 3)))],
            "data": [a_datum(dice) for _ in range(dice.choice((0, 0, 0, 0, 1, 2)))],
            "dataPeriod": a_period(dice) if dice.one_in(7) else None,
            "extension": [{"url": grants.DATA_SOURCE, "valueUri": dice.choice(SOURCES)}] if dice.one_in(10) else None,
        }
        out = {"type": dice.choice(("permit", "deny"))} | {k: v for k, v in fields.items() if v}
    if dice.one_in(6):
        out["period"] = a_period(dice)
    if depth > 1:
        inner = [a_provision(dice, depth - 1) for _ in range(dice.randint(0, 2 if typed else 3))]
        if inner:
            out["provision"] = inner
    return out


def a_consent(dice: Dice, patient: str = P1) -> dict[str, Any]:
    """Root permit, root deny or silent root; some dead, some about research, some making a proxy."""
    silent = dice.one_in(2)
    basis = dice.choice(BASES)
    policy = [{"system": POLICY_SYSTEM, "code": "uk-direct-care"}]
    if basis and not silent:
        policy = [{"system": "https://fhir.nhs.uk/England/CodeSystem/England-NHSProxyLegalBasis", "code": basis}]
    scope = dice.choice(("patient-privacy",) * 8 + ("research", "treatment"))
    root = a_provision(dice, typed=not silent)
    if basis and not silent and dice.one_in(2):
        root = {"type": "permit", "actor": [who("RelatedPerson/carer")], "provision": root.get("provision", [])}
    if not silent and dice.one_in(8):
        root = {"type": "deny"}  # a general objection
    return {
        "resourceType": "Consent",
        "status": dice.choice(("active",) * 8 + ("inactive", "rejected")),
        "scope": {"coding": [{"system": f"{HL7}/consentscope", "code": scope}]},
        "patient": {"reference": patient},
        "policyRule": {"coding": policy},
        "provision": root,
    }


def parsed(bodies: list[dict[str, Any]]) -> tuple[Grant, ...]:
    found = (grants.parse(b, f"c{i}", 1) for i, b in enumerate(bodies))
    return tuple(g for g in found if g.speaks())


def an_actor(dice: Dice) -> Actor:
    kind: Any = dice.choice(("professional",) * 6 + ("system", "proxy", "proxy", "patient"))
    person = "RelatedPerson/carer" if kind == "proxy" else dice.choice(PEOPLE)
    return Actor(
        kind, frozenset({person, dice.choice(PLACES), *dice.some(NAMES)}),
        sector=dice.choice(("health", "social-care", "voluntary", None)), patient=dice.choice((P1, P2)) if kind == "patient" else None,
        clinician=dice.one_in(2), btg_role=dice.one_in(2), rbac=not dice.one_in(10), contributor=dice.one_in(2),
    )  # fmt: skip


def an_ask(dice: Dice) -> Ask:
    glass = None
    if dice.one_in(3):
        glass = BreakGlass(
            dice.choice(("unconscious", "unconscious", " ")),
            dice.choice(("incapacity-vital-interest", "public-interest", "curiosity")),
            NOW + timedelta(days=dice.choice((0, 100, 100)), seconds=dice.choice((-1, 0))),
        )
    at = NOW + timedelta(days=dice.choice((0, 0, 0, -200, 1, 70)))
    action: Any = dice.choice(("access",) * 4 + ACTIONS)
    return Ask(an_actor(dice), action, at, dice.choice(PURPOSES + ("TREAT",) * 4), btg=glass)


def a_resource(dice: Dice, patients: tuple[str, ...] = (P1,)) -> Facts:
    sensitive = set(dice.maybe(SENSITIVE, 3, 2))
    if "ETHUD" in sensitive and dice.one_in(2):
        sensitive |= {"SUD", "ETH"}  # facts may be stored expanded to the sets a code belongs to
    legal = frozenset(dice.maybe(LEGAL, 2, 7))
    level = dice.choice("UNNNRV")
    if sensitive or legal:
        level = max(level, "R", key="UNRV".index)
    date = dice.choice((None, "2020-05-05", "2022", "2022-06-30", "2026-11-01"))
    low, high = interval(date) if date else (None, None)
    return Facts(
        dice.choice(TYPES), dice.choice(IDS), patients, level, frozenset(sensitive),
        frozenset([f"{ACT_CODE}|NOPAT"] if dice.one_in(9) else ()), legal, frozenset(dice.some(PROFILES)), frozenset(dice.some(CODES)),
        frozenset(dice.some(PEOPLE + PLACES)), dice.choice((None, *PLACES)), dice.choice((None, *SOURCES)),
        frozenset(f"Goal/{i}" for i in dice.some(IDS)), frozenset(f"CarePlan/{i}" for i in dice.some(IDS)), low, high,
        micros(datetime(2022, 6, 30, tzinfo=UTC)),
    )  # fmt: skip


def a_standing(dice: Dice, patient: str = P1, links: bool = True) -> Standing:
    related = [
        Relationship(
            frozenset({name}), dice.choice(("team", "claim")), "x", dice.choice((None, micros(NOW) - 10**13, micros(NOW) + 1)), None,
            dice.choice(("", *PEOPLE)), counts=not dice.one_in(3), consent_needed=dice.one_in(2), team=dice.choice(("", "CareTeam/t1")),
        )
        for name in dice.some(PEOPLE + PLACES)
    ]  # fmt: skip
    policy = Policy(
        dice.choice(("uk-direct-care",) * 5 + ("Policy-deny", "Policy-basic-normal", "Policy-all-normal", "Policy-break-glass-only")),
        dice.choice(("override", "override", "consent-only")),
        frozenset(PLACES if dice.one_in(4) else ()),
    )  # fmt: skip
    return Standing(
        patient, parsed([a_consent(dice, patient) for _ in range(dice.randint(0, 3))]),
        (Broken("b1", 1, "Consent.provision", "no type"),) if dice.one_in(13) else (), tuple(related),
        tuple(Invitation(f"Task/{i}", frozenset({dice.choice(PLACES)})) for i in dice.some(IDS, 1)),
        (Link(P3, dice.one_in(2)),) if links and dice.one_in(7) else (), died=micros(NOW) if dice.one_in(9) else None,
        ndoo=dice.one_in(7), capacity_lost=dice.one_in(2), age=dice.choice((None, 12, 16)),
        safeguarding=frozenset(["RelatedPerson/carer"] if dice.one_in(9) else ()), policy=policy,
    )  # fmt: skip


FAST = settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
SLOW = settings(max_examples=times(10_000), deadline=None, suppress_health_check=list(HealthCheck))


def permits(ask: Ask, facts: Facts, *people: Standing) -> bool:
    return consent.decide(ask, facts, {s.patient: s for s in people}).permit


# -- two engines, one truth -------------------------------------------------------------------------------------------


def a_world(dice: Dice) -> tuple[Ask, dict[str, Standing], list[Facts]]:
    known = {P1: a_standing(dice), P2: a_standing(dice, P2)}
    if dice.one_in(2):
        known[P3] = a_standing(dice, P3, links=False)
    people = ((P1,),) * 5 + ((P2,), (P1, P2), (P3,), (), ("Patient/stranger",), (P1, "Patient/stranger"))
    return an_ask(dice), known, [a_resource(dice, dice.choice(people)) for _ in range(4)]


DICE = st.integers(0, 2**48).map(Dice)  # one seed, one world: fast enough for a million, at the price of shrinking
asks, consents, resources = DICE.map(an_ask), DICE.map(a_consent), DICE.map(a_resource)
standings = DICE.map(partial(a_standing, links=False))
worlds = DICE.map(a_world)


def agree(world: tuple[Ask, dict[str, Standing], list[Facts]]) -> None:
    ask, known, resources_ = world
    reached = consent.scope(ask, known)
    smaller = predicate.simplify(reached)
    for facts in resources_:
        decided = consent.decide(ask, facts, known)
        assert predicate.matches(reached, facts) == decided.permit, decided
        assert predicate.matches(smaller, facts) == decided.permit
        only = predicate.simplify(reached, frozenset({facts.type}))
        assert predicate.matches(only, facts) == decided.permit


@settings(FAST, max_examples=2_000)
@given(worlds)
def test_predicate_and_decide_agree(world: tuple[Ask, dict[str, Standing], list[Facts]]) -> None:
    agree(world)


def test_random_worlds_reach_every_answer() -> None:
    """Otherwise the agreement above would say little."""
    seen = set()
    for seed in range(2_000):
        ask, known, resources_ = a_world(Dice(seed))
        seen |= {(d.basis, d.permit) for d in (consent.decide(ask, facts, known) for facts in resources_)}
    assert {basis for basis, _ in seen} >= set(consent.WORDS) - {"no-patient-data"}
    assert {("explicit", True), ("explicit", False), ("implicit", True), ("implicit", False), ("proxy", True)} <= seen


@pytest.mark.slow
@SLOW
@given(worlds)
def test_predicate_and_decide_agree_ten_thousand_times(world: tuple[Ask, dict[str, Standing], list[Facts]]) -> None:
    agree(world)


# -- the six laws of the specification --------------------------------------------------------------------------------


@FAST
@given(asks, st.lists(consents, max_size=4), st.randoms(), resources)
def test_order_of_consents_does_not_matter(ask: Ask, bodies: list[dict[str, Any]], random: Any, facts: Facts) -> None:
    given_ = [grants.parse(b, f"c{i}", 1) for i, b in enumerate(bodies)]
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
    dead = grants.parse({**body, "status": status}, "dead", 1)
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
    ask = replace(ask, btg=None)
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
    grant = grants.parse(body, "c", 1)
    assert grants.parse(grants.unparse(grant), "c", 1) == grant


# -- no means no ------------------------------------------------------------------------------------------------------


@FAST
@given(asks, standings, resources)
def test_no_grant_means_no(ask: Ask, standing: Standing, facts: Facts) -> None:
    """Without a yes, without a relationship, without their own hand in it and without an emergency nothing opens to a professional."""
    nothing = replace(standing, grants=(), relationships=(), invitations=(), policy=Policy())
    ask = replace(ask, btg=None, actor=replace(ask.actor, kind="professional", contributor=False))
    others = replace(facts, authors=facts.authors - ask.actor.ids, custodian=None)
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
PRIVATE = st.lists(st.sampled_from(sorted(sharing.LABELS)), max_size=2, unique=True)
MORE = st.sampled_from((*TYPES, "Patient", "Condition", "QuestionnaireResponse"))


def spoken_to(ask: Ask, standing: Standing, who_: str) -> bool:
    name = who_.replace("sector:", f"{SECTOR_SYSTEM}|")
    return name in ask.actor.ids or (name.startswith("CareTeam/") and any(r.team == name for r in standing.relationships))


@FAST
@given(asks, standings, resources, MORE, WHO, KINDS, PRIVATE)
def test_a_grant_changes_nothing_for_anyone_else(
    ask: Ask, standing: Standing, facts: Facts, type: str, who_: str, kinds: list[str], labels: list[str]
) -> None:
    facts = replace(facts, type=type)
    body = sharing.grant(None, P1, who=who_, kinds=kinds, labels=labels, at=NOW - timedelta(days=400), rule_id="g1")
    more = replace(standing, grants=(*standing.grants, grants.parse(body, "shared", 1)))
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
    more = replace(standing, grants=(*standing.grants, grants.parse(body, "shared", 1)))
    assert permits(ask, facts, more) >= permits(ask, facts, standing)


@FAST
@given(asks, standings, resources, st.one_of(st.none(), WHO), st.sampled_from(IDS), KINDS, st.booleans(), PRIVATE)
def test_hiding_one_thing_opens_nothing(
    ask: Ask, standing: Standing, facts: Facts, who_: str | None, id: str, kinds: list[str], one: bool, labels: list[str]
) -> None:
    ask = replace(ask, btg=None)
    chosen: dict[str, Any] = {"refs": [f"CarePlan/{id}"]} if one else {"kinds": kinds, "labels": labels}
    body = sharing.hide(None, P1, who=who_, at=NOW - timedelta(days=400), rule_id="h1", **chosen)
    less = replace(standing, grants=(*standing.grants, grants.parse(body, "hidden", 1)))
    assert permits(ask, facts, less) <= permits(ask, facts, standing)


@FAST
@given(asks, standings, resources, st.sampled_from(IDS))
def test_hiding_one_thing_leaves_the_rest_as_it_was(ask: Ask, standing: Standing, facts: Facts, id: str) -> None:
    body = sharing.hide(None, P1, refs=[f"CarePlan/{id}"], at=NOW - timedelta(days=400), rule_id="h1")
    less = replace(standing, grants=(*standing.grants, grants.parse(body, "hidden", 1)))
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
    groups = [p for p in walk(consent.scope(ask, known)) if isinstance(p, Has) and p.field == "patient"]
    assert {p.values for p in groups} == {frozenset(known)}


def walk(p: Any) -> Any:
    yield p
    for q in getattr(p, "parts", ()):
        yield from walk(q)
    if hasattr(p, "part"):
        yield from walk(p.part)


def test_only_is_true_of_a_resource_that_has_none() -> None:
    assert predicate.matches(Only("legal", frozenset()), Facts("Goal", "g", (P1,)))
