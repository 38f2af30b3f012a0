"""Agreements on sharing: a yes under one is for its partners, whoever was taken out is reached by no yes; by both engines."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import given as of_all
from hypothesis import strategies as st

from fhir_gateway.domain import consent as deciding
from fhir_gateway.domain import groups, reach, showing, slips
from fhir_gateway.domain.directory import Directory
from fhir_gateway.domain.predicate import matches
from fhir_gateway.domain.provisions import Uncomputable, parse
from fhir_gateway.domain.standing import Relationship, Standing
from fhir_gateway.domain.types import CONTACT, PLACES, PRACTICE, VIEW, Actor, Ask, Facts
from fhir_gateway.domain.vocabulary import IDENTITY, NO_PARTNER, POLICY_SYSTEM, RESOURCE_TYPES, ROLE_AT, UK_DIRECT_CARE

from .staff import actor
from .test_groups import directory, group
from .worlds import NOW, P1, Dice, a_consent, a_resource, a_standing, parsed

URI = "https://town.example/protocol"
CODE = {"coding": [dict(zip(("system", "code"), groups.AGREEMENT.split("|"), strict=True))]}
FAST = settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))


def agreement(*members: str, uri: str = URI, **more: Any) -> dict[str, Any]:
    return group(*members, code=CODE, identifier=[{"system": groups.URI, "value": uri}], **more)


def asker(here: Directory, place: str = "Organization/ward") -> Any:
    return here.actor("Practitioner/a", kind="professional", organisation=place, at=NOW, clinician=True)


def test_who_is_a_partner_and_who_was_taken_out() -> None:
    now, soon, past = NOW.isoformat(), (NOW + timedelta(days=2)).isoformat(), (NOW - timedelta(days=2)).isoformat()

    def listed(**more: Any) -> dict[str, Any]:
        return agreement(member=[{"entity": {"reference": "Organization/trust"}, **more}])

    assert asker(directory()).apart == frozenset() == asker(directory(group("Organization/surgery"))).apart, "no agreement, or another group"
    assert asker(directory(agreement("Organization/trust"))).apart == frozenset(), "by way of the trust that the ward is part of"
    never = asker(directory(agreement("Organization/surgery")))
    assert never.apart == {URI, "Group/0"} and not never.past, "no partner, and never was: as before but for what is said under it"
    for out in (listed(inactive=True), listed(period={"end": past}), listed(period={"start": past, "end": past})):
        taken = asker(directory(out))
        assert taken.apart == {URI, "Group/0", "*"} and not taken.opening
    assert asker(directory(listed(period={"end": soon}))).apart == asker(directory(listed(period={"start": now}))).apart == frozenset()
    assert asker(directory(listed(period={"start": soon}))).apart == {URI, "Group/0"}, "who is to join was not taken out"
    assert asker(directory(listed(inactive=True), agreement("Organization/ward", uri="urn:other"))).apart == {URI, "Group/0"}, "a partner of another one"
    assert asker(directory(agreement("Organization/trust", active=False))).apart == {URI, "Group/0"}, "an agreement that ended took nobody out"
    assert asker(directory(listed(inactive=True), sure=False)).apart == frozenset(), "nobody confirmed it"
    gone = directory(agreement()).remembering({"Group/0": [agreement("Organization/trust"), group("Patient/x")]})
    assert asker(gone).apart == {URI, "Group/0", "*"}, "who is not among the members any more"
    assert asker(gone, "Organization/surgery").apart == {URI, "Group/0"}


def test_an_agreement_stays_one_and_keeps_its_names() -> None:
    was = agreement("Organization/trust")
    assert groups.still_an_agreement(was, agreement()) is None and groups.still_an_agreement(group(), None) is None
    for after, where in ((None, "Group.code"), (group(), "Group.code"), (agreement(uri="urn:x"), "Group.identifier")):
        said = groups.still_an_agreement(was, after)
        assert said is not None and said[0] == where


@FAST
@of_all(st.integers(0, 2**48).map(Dice), st.sampled_from(["permit", "deny"]), st.sampled_from([frozenset(), frozenset({URI}), frozenset({"urn:other"})]), st.booleans())
def test_no_yes_reaches_who_was_taken_out_a_no_still_does_and_both_engines_say_so(dice: Dice, type: str, under: frozenset[str], out: bool) -> None:
    here = directory(agreement("Organization/surgery", *([] if out else ["Organization/trust"])))
    here = here.remembering({"Group/0": [agreement("Organization/trust")]}) if dice.one_in(2) else here
    who = asker(here)
    rule = {**{k: v for k, v in a_consent(dice)["provision"].items() if k in ("class", "code", "securityLabel")}, "type": type, "actor": [actor("Organization/trust"), actor("Practitioner/a")]}
    body = {**a_consent(Dice(1)), "status": "active", "policy": [{"uri": u} for u in under], "provision": {"provision": [rule]}}
    standing, facts = replace(a_standing(dice, links=False), emergencies=()), a_resource(dice, (P1,))
    asked = Ask(who, dice.choice(("access", "disclose", "collect", "correct")), NOW, dice.choice(("TREAT", "HRESCH")))

    def answer(asking: Ask, *bodies: dict[str, Any]) -> Any:
        more = Standing(P1, standing.grants + parsed(list(bodies)), standing.broken, standing.relationships, policy=standing.policy)
        said = deciding.decide(asking, facts, {P1: more})
        assert matches(reach.scope(asking, {P1: more}), facts) == said.permit
        return said

    said, without = answer(asked, body), answer(asked)
    if type == "permit" and ("*" in who.apart or who.apart & under):
        assert said.permit == without.permit, "it opens nothing"
    if "*" in who.apart and not said.permit:
        assert said.basis != "implicit" or said.rule, "and says why"
    if "*" in who.apart and said.permit:
        assert said.rule in ("own data", "contributor", "authorised use", "treating clinician") and said.basis == "implicit", said
    if type == "deny":
        assert not said.permit or without.permit
    inside = replace(asked, actor=replace(who, apart=frozenset(), past=frozenset()))
    then = answer(inside, body)
    assert then.permit or not said.permit, "to be taken out opens nothing"
    if then.permit and then.basis == "explicit" and not said.permit:
        assert said.rule == NO_PARTNER or said.basis in ("explicit", "uncomputable", "legal", "governed", "ndoo", "no-read-no-update"), said


def test_the_reason_is_said_with_the_consent_that_does_not_reach_them() -> None:
    here = directory(agreement("Organization/surgery"))
    body = {**a_consent(Dice(1)), "status": "active", "policy": [{"uri": URI}], "provision": {"provision": [{"type": "permit", "actor": [actor("Organization/trust")]}]}}
    facts = replace(a_resource(Dice(3), (P1,)), type="Goal", confidentiality="N", sensitivity=frozenset(), legal=frozenset(), makers=frozenset(), keeper=None)
    said = deciding.decide(Ask(asker(here), "access", NOW), facts, {P1: Standing(P1, parsed([body]))})
    assert (said.permit, said.basis, said.consent, said.rule) == (False, "rbac", "c0", NO_PARTNER)
    assert "no partner of the agreement on sharing now" in deciding.explain(said)


def saying(provision: dict[str, Any], *, under: str = URI) -> dict[str, Any]:
    """An active consent about direct care with this provision, under an agreement."""
    default = {"coding": [{"system": POLICY_SYSTEM, "code": UK_DIRECT_CARE}]}
    return {"resourceType": "Consent", "status": "active", "policyRule": default, "policy": [{"uri": under}] if under else [], "provision": provision}


def test_a_yes_that_does_not_reach_them_shows_nobody_where_somebody_at_risk_is() -> None:
    """Whoever has another way in sees the person, and not by this yes where they live."""
    yes = {"type": "permit", "actor": [actor("Organization/trust")], "class": [{"system": "urn:ietf:rfc:3986", "code": IDENTITY}]}
    partner, never = asker(directory(agreement("Organization/trust"))), asker(directory(agreement("Organization/surgery")))
    out = asker(directory(agreement(member=[{"entity": {"reference": "Organization/trust"}, "inactive": True}])))
    assert "*" in out.apart and "*" not in never.apart
    risk = Standing(P1, parsed([saying({"provision": [yes]})]), at_risk=True, practice=frozenset({"Organization/surgery"}))
    facts = Facts("Patient", "p1", (P1,))
    for who, shown in ((partner, VIEW), (never, VIEW | PLACES | PRACTICE), (out, VIEW | PLACES | PRACTICE)):
        asked = Ask(replace(who, sector="health"), "access", NOW)
        assert showing.views(asked, facts, {P1: risk}).bits == shown
        assert [matches(view, facts) for view in showing.narrowed(asked, {P1: risk})] == [False, bool(shown & PLACES), bool(shown & PRACTICE)]
        sent = replace(asked, action="disclose")
        assert (showing.LOCATION_VIEW in showing.owed(sent, facts, risk, {P1: risk})) == bool(shown & PLACES)
    safe = Standing(P1, risk.grants)
    for who, shown in ((partner, VIEW), (never, VIEW | CONTACT), (out, VIEW | CONTACT)):
        assert showing.views(Ask(replace(who, sector="voluntary"), "access", NOW), facts, {P1: safe}).bits == shown, "and what is outside care sees how to reach them alone"


def test_only_the_people_i_name_shuts_out_who_is_no_partner_like_everybody_else() -> None:
    """Who is named under an agreement and is no partner of it is not excepted from the no around it, whatever else would let them in."""
    plan = Facts("CarePlan", "p1", (P1,), "N")
    body = saying({"type": "deny", "provision": [{"type": "permit", "actor": [actor("Organization/trust")]}]})
    looked_after = tuple(Relationship(frozenset({o}), "team", "x") for o in ("Organization/trust", "Organization/surgery"))
    known = {P1: Standing(P1, parsed([body]), relationships=looked_after)}
    partner, never = (asker(directory(agreement(o))) for o in ("Organization/trust", "Organization/surgery"))
    nobody = asker(directory(agreement("Organization/trust")), "Organization/surgery")
    for who, permit in ((partner, True), (never, False), (nobody, False)):
        asked = Ask(replace(who, sector="health"), "access", NOW)
        said = deciding.decide(asked, plan, known)
        assert (said.permit, said.basis) == (permit, "explicit") and matches(reach.scope(asked, known), plan) == permit
        told = deciding.decide(asked, plan, {P1: Standing(P1, relationships=looked_after)})
        assert told.permit and told.rule == "relationship", "it is that no alone that closes it"


def without_exceptions(provision: dict[str, Any], inside: bool = False) -> dict[str, Any]:
    """The same with nothing permitted within a no; the noes that stand in there stay, each as a no of its own."""
    inside = inside or provision["type"] == "deny"
    kept = [without_exceptions(p, inside) for p in provision.get("provision", ()) if not (inside and p["type"] == "permit")]
    return {**provision, "provision": kept}


def a_no(dice: Dice, type: str = "deny", depth: int = 3) -> dict[str, Any]:
    """A no with exceptions, with noes in it that have exceptions, some within a yes. What is permitted within a no holds nothing more."""
    about = {k: v for k, v in a_consent(dice)["provision"].items() if k in ("class", "code", "securityLabel")} if dice.one_in(2) else {}
    whom = {"actor": [actor(n) for n in ("Organization/trust", "Practitioner/a")]} if dice.one_in(2) else {}
    exception = {**about, **whom, "type": "permit"}
    further = [a_no(dice, "deny", depth - 1)] if depth and dice.one_in(2) else []
    return {"type": type, "provision": [*further, *([exception] if type == "deny" else [])], **(about if type == "permit" or dice.one_in(2) else {})}


@FAST
@of_all(st.integers(0, 2**48).map(Dice), st.sampled_from(["permit", "deny"]), st.sampled_from(["ward", "never", "out"]))
def test_the_noes_under_an_agreement_hold_for_everybody_who_is_no_partner(dice: Dice, root: str, whose: str) -> None:
    members = {"ward": ["Organization/ward"], "never": ["Organization/surgery"], "out": []}[whose]
    here = directory(agreement(*members)).remembering({"Group/0": [agreement("Organization/trust")] if whose == "out" else []})
    provision, standing, facts = a_no(dice, root), replace(a_standing(dice, links=False), emergencies=()), a_resource(dice, (P1,))
    asked = Ask(asker(here), dice.choice(("access", "disclose", "collect", "correct")), NOW, dice.choice(("TREAT", "HRESCH")))

    def answer(provision: dict[str, Any]) -> Any:
        (grant,) = parsed([saying(provision)])
        known = {P1: replace(standing, grants=(*standing.grants, replace(grant, id="agreed")))}
        said = deciding.decide(asked, facts, known)
        assert matches(reach.scope(asked, known), facts) == said.permit, said
        return said

    said, strict = answer(provision), answer(without_exceptions(provision))
    if whose == "ward":
        assert said.permit or not strict.permit, "an exception only opens"
    else:
        assert (said.permit, said.basis) == (strict.permit, strict.basis), "they are excepted from none"


def test_a_yes_that_does_not_reach_them_makes_nobody_look_after_the_person() -> None:
    """A relationship that holds while a consent names them needs one that reaches them."""
    body = saying({"provision": [{"type": "permit", "actor": [actor("Organization/trust")], "class": [{"system": RESOURCE_TYPES, "code": "Task"}]}]})
    tied = Relationship(frozenset({"Organization/trust"}), "team", "x", consent_needed=True)
    known, goal = {P1: Standing(P1, parsed([body]), relationships=(tied,))}, Facts("Goal", "g1", (P1,), "N")
    for place, permit in (("Organization/trust", True), ("Organization/surgery", False)):
        asked = Ask(replace(asker(directory(agreement(place))), sector="social-care"), "access", NOW)
        assert deciding.decide(asked, goal, known).permit == permit == matches(reach.scope(asked, known), goal)


def test_who_names_no_place_is_let_in_by_none_that_was_taken_out() -> None:
    """With jobs at several places and none named, a job where no yes reaches them is as nothing for a yes; a no to it still holds."""
    def named(*more: dict[str, Any], at: tuple[str, ...] = ("Organization/ward", "Organization/surgery")) -> Actor:
        here = directory(agreement(member=[{"entity": {"reference": "Organization/trust"}, "inactive": True}]), *more)
        nurse = {"resourceType": "PractitionerRole", "practitioner": {"reference": "Practitioner/d"}, "code": [{"coding": [{"system": "urn:job", "code": "nurse"}]}]}
        for place in at:
            here = here.having(f"PractitionerRole/d-{place.partition('/')[2]}", nurse | {"organization": {"reference": place}}, True)
        return here.actor("Practitioner/d", kind="professional", at=NOW)

    plan = Facts("Goal", "g1", (P1,), "N")

    def lets(who: Actor, name: str, type: str = "permit") -> bool:
        yes = [{"type": "permit"}] if type == "deny" else []
        known = {P1: Standing(P1, parsed([saying({"provision": [*yes, {"type": type, "actor": [actor(name)]}]}, under="")]))}
        asked = Ask(who, "access", NOW)
        said = deciding.decide(asked, plan, known)
        assert matches(reach.scope(asked, known), plan) == said.permit
        return said.permit

    two = named()
    assert "*" not in two.apart and two.organisation is None
    ward, surgery = (f"{ROLE_AT}|Organization/{o} urn:job|nurse" for o in ("ward", "surgery"))
    trust = f"{ROLE_AT}|Organization/trust urn:job|nurse"
    assert {ward, trust, surgery, "PractitionerRole/d-ward"} <= two.ids and two.past == {ward, trust, "PractitionerRole/d-ward"}
    assert not (lets(two, ward) or lets(two, trust) or lets(two, "PractitionerRole/d-ward")), "as when they say that they are there"
    assert lets(two, surgery) and lets(two, "PractitionerRole/d-surgery") and lets(two, "Practitioner/d")
    assert not lets(two, ward, "deny") and not lets(two, surgery, "deny") and lets(two, "Organization/closed", "deny")
    team = named(group("PractitionerRole/d-ward"))
    assert "Group/1" in team.past and not lets(team, "Group/1"), "nor by a group that they are in by that job"
    nowhere = named(at=("Organization/ward", "Organization/trust"))
    assert "*" in nowhere.apart and not nowhere.opening and not lets(nowhere, "Practitioner/d"), "no place of theirs is left"
    back = named(agreement("Practitioner/d", uri="urn:other"))
    assert "*" not in back.apart and not back.past and lets(back, ward), "a partner of another one themselves"


def test_an_agreement_is_known_however_its_name_is_written() -> None:
    """Another spelling of it would else be no agreement, and the yes one for everybody."""
    town, base = "https://Town.example/Protocol", "https://here.example/fhir"
    here = directory(agreement("Organization/surgery", uri=town), agreement("Organization/trust", uri="urn:Other/")).at_address(base)
    yes = {"provision": [{"type": "permit", "actor": [actor("Organization/trust")]}]}
    same = (
        town, f" {town}/", town.lower(), town.upper(), town.replace("https", "http"), "Group/0", "group/0", "/Group/0", "Group/0/", "Group/0/_history/2",
        f"{base}/Group/0", f"{base}/Group/0/", f"{base}/Group/0/_history/2", f"{base.upper()}/Group/0", f"{base.replace('https', 'http')}/Group/0",
    )  # fmt: skip
    others = ("urn:other", "URN:OTHER/", "Group/1", f"{base}/Group/1", "https://elsewhere.example/fhir/Group/0", "urn:x:Group/0", "https://town.example/protocol/2", "Group/00")
    goal = Facts("Goal", "g1", (P1,), "N")
    for uri, permit in (*((u, False) for u in same), *((u, True) for u in others)):
        known, asked = {P1: Standing(P1, parsed([saying(yes, under=uri)]))}, Ask(asker(here), "access", NOW)
        assert deciding.decide(asked, goal, known).permit == permit == matches(reach.scope(asked, known), goal), uri


def test_a_group_here_that_is_no_agreement_cannot_be_quoted_as_one() -> None:
    here, base = directory(agreement("Organization/trust"), group("Organization/trust"), agreement(uri="urn:over", active=False)), "https://here.example/fhir"
    said = {uri: [s.where for s in slips.nobody(saying({"type": "permit"}, under=uri), here, base)] for uri in (
        "Group/0", "Group/2", f"{base}/Group/0", URI, "https://elsewhere.example/fhir/Group/7", "Group/1", "Group/7", "group/7/_history/1", f"{base}/Group/1",
    )}  # fmt: skip
    assert list(said.values()) == [[]] * 5 + [["Consent.policy[0].uri"]] * 4
    assert not slips.nobody(saying({"type": "permit"}, under="Group/7") | {"status": "inactive"}, here, base), "what ends may say what it said"


@pytest.mark.parametrize("policy", [{"uri": URI}, {}, URI, "", None, 5, [URI], [None], [[URI]], [{"uri": [URI]}], [{"uri": 5}], [{"uri": None}], [{"uri": {"x": URI}}]])
def test_a_policy_that_cannot_be_read_is_said_to_be_so(policy: Any) -> None:
    with pytest.raises(Uncomputable) as wrong:
        parse(saying({"type": "permit"}) | {"policy": policy}, "c", 1)
    assert wrong.value.where.startswith("Consent.policy") and slips.nobody(saying({"type": "permit"}) | {"policy": policy}, directory()) == []
    assert parse(saying({"type": "permit"}) | {"policy": [{"authority": "urn:x"}]}, "c", 1).under == frozenset()
