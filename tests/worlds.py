"""Random worlds for the laws of consent: who asks, what people said, what there is. One seed is one world.

Consents of depth 3 over every element, silent roots among them; break-glass, proxies, links, periods, meanings of data, urgent
care, custodians, legal labels, policies of a deployment.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

from fhir_gateway.domain import provisions
from fhir_gateway.domain.grants import Grant
from fhir_gateway.domain.periods import interval, micros
from fhir_gateway.domain.standing import Broken, Invitation, Link, Policy, Relationship, Standing
from fhir_gateway.domain.types import Actor, Ask, BreakGlass, Facts
from fhir_gateway.domain.vocabulary import (
    ACCEPT_DRAFT,
    ACT_CODE,
    ACT_REASON,
    CONFIDENTIALITY_SYSTEM,
    FOR_WHOM_IT_ASKS,
    HL7,
    POLICY_SYSTEM,
    RESOURCE_TYPES,
    SECTOR_SYSTEM,
    TASK_SYSTEM,
)

NOW = datetime(2026, 11, 1, 10, 0, tzinfo=UTC)
P1, P2, P3 = "Patient/p1", "Patient/p2", "Patient/p3"
PEOPLE = ("Practitioner/gp", "Practitioner/link", "Practitioner/nurse", "RelatedPerson/carer")
PLACES = ("Organization/gp", "Organization/trust", "Organization/charity")
NAMES = (*PEOPLE, *PLACES, "CareTeam/t1", "Group/g1", "urn:sds|555", f"{SECTOR_SYSTEM}|health")
TYPES = ("CarePlan", "Goal", "Flag", "Task", "Consent", "AuditEvent")
PROFILES = ("http://example.org/StructureDefinition/a",)
CODES = ("http://loinc.org|1", "http://snomed.info/sct|736253002")
SENSITIVE = ("PSY", "HIV", "SUD", "ETHUD", "ETH", "BH", "SPI")
LEGAL = ("HFEA", "GRA")
LEGAL_SYSTEM = "https://fhir-gateway.example/CodeSystem/legal-restriction"
PURPOSES = ("TREAT", "ETREAT", "BTG", "HRESCH", "POPHLTH", "CLINTRCH", "CAREMGT", "FAMRQT")
ACTIONS = ("access", "disclose", "collect", "correct")
IDS = ("r1", "r2", "r3")
SOURCES = ("src:a", "src:b")
AGREEMENTS = ("urn:agreement:a", "urn:agreement:b")  # on sharing: what a consent may quote
PLACES_OF_ASKING = ("ward", "home")
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


def some_extensions(dice: Dice) -> list[dict[str, Any]]:
    """The two directives that narrow a rule: which source system, which surroundings of the asker."""
    out: list[dict[str, Any]] = []
    if dice.one_in(10):
        out.append({"url": provisions.DATA_SOURCE, "valueUri": dice.choice(SOURCES)})
    if dice.one_in(20):
        place = {"system": "urn:env", "code": dice.choice(PLACES_OF_ASKING)}
        out.append({"url": provisions.ENVIRONMENT, "valueCodeableConcept": {"coding": [place]}})
    return out


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
            "extension": some_extensions(dice),
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
    basis = dice.choice(BASES)
    silent = not basis and dice.one_in(2)
    policy = [{"system": POLICY_SYSTEM, "code": "uk-direct-care"}]
    if basis:
        policy = [{"system": "https://fhir.nhs.uk/England/CodeSystem/England-NHSProxyLegalBasis", "code": basis}]
    scope = dice.choice(("patient-privacy",) * 8 + ("research", "treatment"))
    root = a_provision(dice, typed=not silent)
    if basis and dice.one_in(2):
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
    found = (provisions.parse(b, f"c{i}", 1) for i, b in enumerate(bodies))
    return tuple(g for g in found if g.speaks())


def an_actor(dice: Dice) -> Actor:
    kind: Any = dice.choice(("professional",) * 6 + ("system", "proxy", "proxy", "patient"))
    person = "RelatedPerson/carer" if kind == "proxy" else dice.choice(PEOPLE)
    ids = frozenset({person, dice.choice(PLACES), *dice.some(NAMES)})
    own = Dice(f"past {sorted(ids)} {kind}")  # dice of their own, not to turn what else is thrown
    past = frozenset(n for n in sorted(ids) if n in PLACES and own.one_in(4))
    return Actor(
        kind, ids, "" if dice.one_in(4) else person,
        sector=dice.choice(("health", "social-care", "voluntary", None)), patient=dice.choice((P1, P2)) if kind == "patient" else None,
        clinician=dice.one_in(2), btg_role=dice.one_in(2), rbac=not dice.one_in(25), contributor=dice.one_in(2),
        env=frozenset(f"urn:env/{p}" for p in dice.some(PLACES_OF_ASKING)), past=past,
    )  # fmt: skip


def an_ask(dice: Dice) -> Ask:
    if dice.one_in(4):  # the commonest question of all
        clinician = Actor(
            "professional", frozenset({dice.choice(PEOPLE), dice.choice(PLACES)}), sector=dice.choice(("health", "social-care")), clinician=True
        )
        return Ask(clinician, "access", NOW, dice.choice(("TREAT", "TREAT", "ETREAT")))
    at = NOW + timedelta(days=dice.choice((0, 0, 0, -200, 1, 70)))
    action: Any = dice.choice(("access",) * 4 + ACTIONS)
    return Ask(an_actor(dice), action, at, dice.choice(PURPOSES + ("TREAT",) * 4))


def an_emergency(dice: Dice) -> BreakGlass:
    """Most are of the very asker: those have neither `user` nor organisation."""
    return BreakGlass(
        dice.choice(("unconscious", "unconscious", " ")),
        dice.choice(("incapacity-vital-interest", "public-interest", "curiosity")),
        NOW + timedelta(days=dice.choice((0, 100, 100)), seconds=dice.choice((-1, 0))),
        dice.choice(("", "", "", "Practitioner/somebody-else")),
        dice.choice((None, None, None, "Organization/elsewhere")),
        dice.choice(("e1", "e2")),
    )


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
    facts = Facts(
        dice.choice(TYPES), dice.choice(IDS), patients, level, frozenset(sensitive),
        frozenset([f"{ACT_CODE}|NOPAT"] if dice.one_in(9) else ()), legal, frozenset(dice.some(PROFILES)), frozenset(dice.some(CODES)),
        frozenset(dice.some(PEOPLE + PLACES)), dice.choice((None, *PLACES)), dice.choice((None, *SOURCES)),
        frozenset(f"Goal/{i}" for i in dice.some(IDS)), frozenset(f"CarePlan/{i}" for i in dice.some(IDS)), low, high,
        micros(datetime(2022, 6, 30, tzinfo=UTC)),
    )  # fmt: skip
    own = Dice(f"whose {sorted(facts.authors)} {facts.custodian} {date}")  # dice of their own, not to turn what else is thrown
    makers = facts.authors if own.one_in(2) else frozenset(n for n in sorted(facts.authors) if own.one_in(2))
    ever = frozenset(own.some(SOURCES)) if own.one_in(4) else frozenset()
    asks = frozenset({sorted(FOR_WHOM_IT_ASKS)[len(facts.codes) % 2]} if facts.type == "Task" and own.one_in(3) else ())
    if facts.type == "Task" and not asks and own.one_in(3):
        asks = frozenset({f"{TASK_SYSTEM}|{ACCEPT_DRAFT}"})
        facts = replace(facts, refs=facts.refs | frozenset(own.some(PEOPLE)))
    return replace(
        facts, codes=facts.codes | asks, makers=makers, keeper=facts.custodian if own.one_in(2) else None, sourced=facts.source if own.one_in(2) else None, sources=ever,
        custodians=frozenset(own.some(PLACES)) if own.one_in(4) else frozenset(),
    )  # fmt: skip


EDGES = (None, None, micros(NOW) - 10**13, micros(NOW) - 1, micros(NOW), micros(NOW) + 1, micros(NOW) + 10**13)


def a_relationship(dice: Dice, name: str) -> Relationship:
    low, high = dice.choice(EDGES), dice.choice(EDGES) if dice.one_in(3) else None
    own = Dice(f"for where {name} {low} {high}")  # dice of their own, not to turn what else is thrown
    return Relationship(
        frozenset({name}), dice.choice(("team", "claim")), "x", low, high, dice.choice(("", *PEOPLE)), dice.choice((None, None, None, *PLACES)),
        counts=not dice.one_in(4), consent_needed=dice.one_in(2), team=dice.choice(("", "CareTeam/t1")),
        place=frozenset(own.some(PLACES)) if own.one_in(3) else frozenset(),
    )  # fmt: skip


def a_standing(dice: Dice, patient: str = P1, links: bool = True) -> Standing:
    related = [a_relationship(dice, name) for name in dice.some(PEOPLE + PLACES, 4)]
    groups = [replace(a_relationship(dice, name), team=dice.choice(("CareTeam/t1", "Group/g1"))) for name in dice.maybe(PEOPLE, 2, 6)]
    policy = Policy(
        dice.choice(("uk-direct-care",) * 5 + ("Policy-deny", "Policy-basic-normal", "Policy-all-normal", "Policy-break-glass-only")),
        dice.choice(("override", "override", "consent-only")),
        frozenset(PLACES if dice.one_in(2) else ()),
    )  # fmt: skip
    quiet = dice.one_in(4)  # somebody who has said nothing, so that the default answers
    return Standing(
        patient, parsed([a_consent(dice, patient) for _ in range(0 if quiet else dice.randint(0, 3))]),
        (Broken("b1", 1, "Consent.provision", "no type", dice.choice(EDGES), dice.choice(EDGES)),) if not quiet and dice.one_in(9) else (), tuple(related),
        tuple(Invitation(f"Task/{i}", frozenset({dice.choice(PLACES)})) for i in dice.some(IDS)),
        (Link(P3, dice.one_in(2)),) if links and dice.one_in(7) else (), died=micros(NOW) if dice.one_in(9) else None,
        ndoo=not quiet and dice.one_in(7), capacity_lost=dice.one_in(2), age=dice.choice((None, None, 12, 16)),
        born=interval(dice.choice(("2010-11-01", "2010-11-02", "2010", "1950-03-01"))) if dice.one_in(2) else None,
        safeguarding=frozenset(["RelatedPerson/carer"] if dice.one_in(9) else ()), groups=tuple(groups), policy=policy,
        emergencies=tuple(an_emergency(dice) for _ in range(dice.choice((0, 1, 1, 2)))),
    )  # fmt: skip


def a_world(dice: Dice) -> tuple[Ask, dict[str, Standing], list[Facts]]:
    known = {P1: a_standing(dice), P2: a_standing(dice, P2)}
    if dice.one_in(2):
        known[P3] = a_standing(dice, P3, links=False)
    people = ((P1,),) * 9 + ((P2,), (P1, P2), (P3,), (), ("Patient/stranger",), (P1, "Patient/stranger"))
    asked, resources = an_ask(dice), [a_resource(dice, dice.choice(people)) for _ in range(4)]
    if P3 in known and dice.one_in(2):  # a record merged with the second, and perhaps by way of it with the first
        merged = dice.choice((True, True, False))
        known[P3], known[P2] = (replace(known[p], links=(*known[p].links, Link(o, merged))) for p, o in ((P3, P2), (P2, P3)))
    own = Dice(f"apart {sorted(asked.actor.ids)} {asked.at} {len(known)}")  # dice of their own, not to turn what else is thrown
    if own.one_in(4):
        asked = replace(asked, actor=replace(asked.actor, apart=frozenset(own.some((*AGREEMENTS, "*")))))
        known = {p: replace(s, grants=tuple(replace(g, under=frozenset(own.some(AGREEMENTS))) for g in s.grants)) for p, s in known.items()}
    if own.one_in(4):
        known = {p: replace(s, gone=own.one_in(3)) for p, s in known.items()}
    return asked, known, resources
