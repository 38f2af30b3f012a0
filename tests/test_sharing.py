"""The person's own choices: what a grant opens, what stopping ends, and that the page reads back what it wrote."""

from __future__ import annotations

import copy
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fhir_gateway.domain import choices, consent, predicate, provisions, reach, sharing, showing, supposing, wording
from fhir_gateway.domain.lint import lint
from fhir_gateway.domain.problem import Problem
from fhir_gateway.domain.proxies import decides_for
from fhir_gateway.domain.standing import Policy, Relationship, Standing
from fhir_gateway.domain.types import Actor, Ask, Facts
from fhir_gateway.domain.vocabulary import HANDLING_SYSTEM, LOCATION_PROTECTED, PROXY_BASIS_SUFFIX, ROLE_AT, SECTOR_SYSTEM

P1 = "Patient/p1"
NOW = datetime(2026, 11, 1, 10, 0, tzinfo=UTC)
LINK = Actor(
    "professional",
    frozenset({"Practitioner/link", "Organization/charity", f"{SECTOR_SYSTEM}|voluntary"}),
    "Practitioner/link",
    sector="voluntary",
)
GP = Actor("professional", frozenset({"Practitioner/gp", "Organization/gp"}), "Practitioner/gp", sector="health")
RELATED = Relationship(frozenset({"Organization/gp"}), "claim", "x")


def sees(body: dict[str, Any], actor: Actor, facts: Facts, at: datetime = NOW, purpose: str = "TREAT") -> bool:
    standing = Standing(P1, (provisions.parse(body, "c", 1),), relationships=(RELATED,), policy=Policy())
    return consent.decide(Ask(actor, "access", at, purpose), facts, {P1: standing}).permit


def share(body: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    return sharing.grant(body, P1, **({"who": "Practitioner/link", "kinds": ["goals"], "at": NOW, "rule_id": "g1"} | more))


def record(type: str, level: str = "N", *sensitive: str, id: str = "x", codes: tuple[str, ...] = ()) -> Facts:
    return Facts(type, id, (P1,), level, frozenset(sensitive), codes=frozenset(codes))


def test_a_grant_opens_what_it_names_and_whose_it_is() -> None:
    body = share()
    assert sees(body, LINK, record("Goal")) and sees(body, LINK, record("Task")) and sees(body, LINK, record("Patient"))
    assert not sees(body, LINK, record("CarePlan")) and not sees(body, LINK, record("Condition"))
    assert not sees(body, LINK, record("Consent")) and not sees(body, LINK, record("AuditEvent"))
    assert sees(body, GP, record("Condition")) and not sees(body, GP, record("Condition", "R"))


def test_what_is_private_needs_its_own_yes() -> None:
    assert not sees(share(), LINK, record("Goal", "R", "MH"))
    mental = share(labels=["mental"])
    assert sees(mental, LINK, record("Goal", "R", "MH")) and sees(mental, LINK, record("Goal"))
    assert sees(mental, LINK, record("Goal", "R", "MH", "BH", "SPI"))  # as facts are stored
    assert not sees(mental, LINK, record("Goal", "R", "MH", "HIV"))
    assert not sees(mental, LINK, record("Goal", "R", "SUD", "BH", "SPI"))
    assert sees(share(labels=["social"]), LINK, record("Goal", "R", "SOCIAL"))
    assert not sees(share(labels=["social"]), LINK, record("Goal", "V", "SOCIAL"))


def test_a_grant_ends_with_its_last_day_in_london() -> None:
    body = share(until=date(2027, 6, 30))
    assert sees(body, LINK, record("Goal"), datetime(2027, 6, 30, 22, 59, 59, tzinfo=UTC))
    assert not sees(body, LINK, record("Goal"), datetime(2027, 6, 30, 23, 0, tzinfo=UTC))


def test_a_grant_holds_at_once() -> None:
    assert sees(share(at=NOW), LINK, record("Goal"), NOW)
    assert sees(share(at=NOW), LINK, record("Goal"), NOW - timedelta(seconds=5))  # another process's clock


def test_a_grant_for_one_purpose_is_for_no_other() -> None:
    body = share(purpose="research")
    assert sees(body, LINK, record("Goal"), purpose="HRESCH") and not sees(body, LINK, record("Goal"))


@pytest.mark.parametrize("who", ["Practitioner/link", "Organization/charity", "sector:voluntary"])
def test_a_person_an_organisation_or_a_sector(who: str) -> None:
    body = share(who=who)
    assert sees(body, LINK, record("Goal"))
    assert [r.who for r in choices.rows(body)] == [(who,)]


def test_a_role_at_a_place() -> None:
    nurse = Actor(
        "professional", frozenset({"Practitioner/n", "https://fhir-gateway.example/role-at|Organization/trust urn:roles|nurse"})
    )
    body = share(who="role:Organization/trust urn:roles|nurse")
    assert sees(body, nurse, record("Goal")) and not sees(body, LINK, record("Goal"))
    assert choices.rows(body)[0].who == ("role:Organization/trust urn:roles|nurse",)


def test_the_crisis_plan_alone() -> None:
    body = share(kinds=["crisis"])
    assert sees(body, LINK, record("CarePlan", codes=("http://snomed.info/sct|736253002",)))
    assert sees(body, LINK, record("Patient"))
    assert not sees(body, LINK, record("CarePlan")) and not sees(body, LINK, record("Goal"))
    both = share(kinds=["goals", "crisis"])
    assert sees(both, LINK, record("Goal")) and not sees(both, LINK, record("CarePlan"))
    (row,) = choices.rows(both)
    assert row.kinds == ("goals", "crisis")


def test_stopping_ends_it_and_leaves_the_others() -> None:
    two = share(share(), who="Organization/other", kinds=["needs"], rule_id="g2")
    after = sharing.stop(two, "g1", NOW)
    assert not sees(after, LINK, record("Goal"))
    assert [r.id for r in choices.rows(after)] == ["g2"]
    none = sharing.stop(after, "g2", NOW)
    assert choices.rows(none) == [] and "provision" not in none and sees(none, GP, record("Goal"))
    again = share(none, rule_id="g3")
    assert sees(again, LINK, record("Goal"))


def test_stopping_what_is_not_there_is_said() -> None:
    with pytest.raises(Problem) as p:
        sharing.stop(share(), "g", NOW)
    assert p.value.kind == "not-found"


def test_hiding_one_thing_from_everybody_or_from_one() -> None:
    body = sharing.hide(share(kinds=["plan"]), P1, at=NOW, rule_id="h1", refs=["CarePlan/secret"])
    assert not sees(body, GP, record("CarePlan", id="secret")) and not sees(body, LINK, record("CarePlan", id="secret"))
    assert sees(body, GP, record("CarePlan")) and sees(body, LINK, record("CarePlan"))
    one = sharing.hide(None, P1, at=NOW, rule_id="h1", who="Organization/gp")
    assert not sees(one, GP, record("CarePlan"))
    labelled = sharing.hide(share(labels=["mental"]), P1, at=NOW, rule_id="h1", labels=["mental"])
    assert not sees(labelled, LINK, record("Goal", "R", "MH")) and sees(labelled, LINK, record("Goal"))


def test_the_words_the_person_saw_are_kept() -> None:
    words = "Sam may see your goals until 30 June 2027."
    body = share(words=words, why="Sam helps me with the choir", until=date(2027, 6, 30))
    (row,) = choices.rows(body)
    assert (row.words, row.why, row.until, row.since) == (
        words,
        "Sam helps me with the choir",
        date(2027, 6, 30),
        date(2026, 11, 1),
    )
    assert (row.allows, row.kinds, row.ours) == (True, ("goals",), True)


def test_changing_one_leaves_the_given_consent_as_it_was() -> None:
    body = share()
    before = copy.deepcopy(body)
    share(body, rule_id="g2")
    sharing.hide(body, P1, at=NOW, rule_id="h1", refs=["Goal/1"])
    sharing.stop(body, "g1", NOW)
    assert body == before


@pytest.mark.parametrize(
    "more",
    [
        {"kinds": []},
        {"kinds": ["gossip"]},
        {"labels": ["grey"]},
        {"who": "everybody"},
        {"who": "Patient/p2"},
        {"rule_id": "g 1"},
        {"rule_id": ""},
    ],
)
def test_a_choice_that_makes_no_sense_is_refused(more: dict[str, Any]) -> None:
    with pytest.raises(Problem) as p:
        share(**more)
    assert p.value.kind == "invalid"


def test_one_name_one_choice_and_one_person() -> None:
    with pytest.raises(Problem):
        share(share())
    with pytest.raises(Problem):
        sharing.grant(share(), "Patient/p2", who="Practitioner/link", kinds=["goals"], at=NOW, rule_id="g2")
    with pytest.raises(Problem):
        sharing.hide(None, P1, at=NOW, rule_id="h1")


# -- consents in another form -----------------------------------------------------------------------------------------


def other(root: dict[str, Any]) -> dict[str, Any]:
    return share() | {"provision": root}


def test_another_form_is_shown_as_what_it_is_and_not_edited() -> None:
    body = other(
        {
            "type": "deny",
            "provision": [{"type": "permit", "class": [{"system": "http://hl7.org/fhir/resource-types", "code": "Goal"}]}],
        }
    )
    rows = choices.rows(body)
    assert [(r.allows, set(r.rules[0].types), r.ours) for r in rows] == [(False, set(), False), (True, {"Goal"}, False)]
    with pytest.raises(Problem):
        share(body, rule_id="g2")
    with pytest.raises(Problem):
        sharing.stop(body, "g1", NOW)


def test_what_cannot_be_computed_is_shown_as_closing() -> None:
    (row,) = choices.rows(other({"type": "perhaps"}))
    assert not row.allows and not row.ours and row.rules == ()


@pytest.mark.parametrize(
    ("root", "said"),
    [
        ({"type": "permit", "class": [{"system": "http://hl7.org/fhir/resource-types", "code": "Goal"}]}, "would end"),
        ({"type": "permit"}, "anyone"),
        ({"type": "deny"}, "Only the people named"),
        ({"type": "permit", "actor": [{"role": sharing.RECIPIENT, "reference": {"reference": "Practitioner/x"}}]}, "would end"),
        ({"provision": [{"type": "deny", "period": {"end": "2027"}}]}, "has an end"),
        ({"period": {"end": "2027"}, "provision": [{"type": "deny"}]}, "every no in it"),
        ({"type": "deny", "period": {"end": "2027"}}, "opens again"),
        ({"type": "permit", "provision": [{"type": "deny", "period": {"end": "2027"}}]}, "has an end"),
        ({"provision": [{"type": "permit"}]}, "names nobody"),
        ({"type": "perhaps"}, "cannot be computed"),
    ],
)
def test_what_may_surprise_is_said(root: dict[str, Any], said: str) -> None:
    assert any(said in line.text for line in lint(other(root)))


def test_nothing_surprises_in_what_the_page_writes() -> None:
    body = sharing.hide(share(until=date(2027, 1, 1)), P1, at=NOW, rule_id="h1", refs=["Goal/1"])
    assert lint(body) == []
    (said,) = lint(sharing.only_named(body, P1, NOW))
    assert said.code == "only-named"


# -- any run of changes -----------------------------------------------------------------------------------------------

WHOM = (
    "Practitioner/link", "Organization/charity", "sector:health", "CareTeam/t", "role:Organization/trust urn:roles|nurse",
    "https://fhir.nhs.uk/Id/ods-organization-code|D82001",
)  # fmt: skip
CHOICES = st.fixed_dictionaries(
    {
        "kinds": st.lists(st.sampled_from(sorted(sharing.KINDS)), max_size=3, unique=True),
        "refs": st.lists(st.sampled_from(("DocumentReference/a", "Goal/b", "CarePlan/c")), max_size=2, unique=True),
        "labels": st.lists(st.sampled_from(sorted(sharing.LABELS)), max_size=2, unique=True),
        "purpose": st.sampled_from(sorted(sharing.PURPOSES)),
        "until": st.none() | st.dates(date(2026, 11, 1), date(2030, 1, 1)),
        "why": st.sampled_from(("", "for the choir")),
    }
)
CHANGES = st.lists(
    st.tuples(
        st.sampled_from(("grant", "grant", "hide", "change", "stop", "only", "usual")),
        st.sampled_from(("a", "b", "c")), st.sampled_from((*WHOM, None)), CHOICES,
    ),
    max_size=8,
)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(CHANGES)
def test_any_run_of_changes_reads_back_as_made(changes: list[Any]) -> None:
    """Persons, roles, teams, organisations, sectors, single things, "only the people I name": what is written is what is read."""
    body: dict[str, Any] | None = None
    model: dict[str, Any] = {}
    only = False
    for what, id, who, chosen in changes:
        made = made_of(what, who, chosen)
        if what == "stop" and id in model and body is not None:
            body = sharing.stop(body, id, NOW)
            del model[id]
        elif what in ("grant", "hide") and id not in model and made is not None:
            change = sharing.grant if what == "grant" else sharing.hide
            body = change(body, P1, at=NOW, rule_id=id, **made)
            model[id] = (what == "grant", made)
        elif what == "change" and body is not None and made is not None and model.get(id, (False,))[0]:
            body = sharing.change(body, id, at=NOW + timedelta(days=3), **made)
            model[id] = (True, made)
        elif what == "only":
            body, only = sharing.only_named(body, P1, NOW), True
        elif what == "usual" and body is not None:
            body, only = sharing.as_usual(body, NOW), False
    if body is None:
        return
    assert sharing.is_ours(body) and sharing.is_only_named(body) is only
    assert provisions.parse(body, "c", 1).root.type == ("deny" if only else "")
    found = {r.id: r for r in choices.rows(body)}
    assert found.keys() == model.keys()
    for id, (allows, made) in model.items():
        row = found[id]
        assert row.exact and row.ours and row.allows is allows and row.since == date(2026, 11, 1)
        assert row.who == ((made["who"],) if made.get("who") else ())
        assert (sorted(row.kinds), sorted(row.refs)) == (sorted(made["kinds"]), sorted(made["refs"]))
        assert (row.purpose, row.until, row.why) == (made.get("purpose", "any"), made.get("until"), made["why"])
        shown = made["kinds"] or not allows or not made["refs"] or made["labels"]
        assert not shown or sorted(row.labels) == sorted(made["labels"])


def made_of(what: str, who: str | None, chosen: dict[str, Any]) -> dict[str, Any] | None:
    """What one change asks for; None for what makes no sense."""
    if what in ("grant", "change"):
        return {**chosen, "who": who} if who and (chosen["kinds"] or chosen["refs"]) else None
    hidden = {k: chosen[k] for k in ("refs", "labels", "why")} | {"kinds": [k for k in chosen["kinds"] if k != "identity"]}
    return {**hidden, "who": who} if who or hidden["kinds"] or chosen["refs"] or chosen["labels"] else None


# -- the two laws of granting, for everything that the page writes ----------------------------------------------------

ASKERS = (
    LINK, GP, Actor("professional", frozenset({"Practitioner/n", f"{ROLE_AT}|Organization/trust urn:roles|nurse"}), "Practitioner/n"),
    Actor("professional", frozenset({"Practitioner/t", "CareTeam/t"}), "Practitioner/t", sector="social-care"),
    Actor("proxy", frozenset({"RelatedPerson/d"}), "RelatedPerson/d", patient=P1), Actor("patient", frozenset({P1}), P1, patient=P1),
    Actor("system", frozenset({"Device/h", "https://fhir.nhs.uk/Id/ods-organization-code|D82001"}), "Device/h", sector="health"),
)  # fmt: skip
PROXY_ROLE = {
    "resourceType": "Consent", "status": "active", "patient": {"reference": P1},
    "policyRule": {"coding": [{"system": f"https://fhir.nhs.uk/England{PROXY_BASIS_SUFFIX}", "code": "consent"}]},
    "provision": {"type": "permit", "actor": [{"role": sharing.RECIPIENT, "reference": {"reference": "RelatedPerson/d"}}]},
}  # fmt: skip
RECORDS = tuple(
    record(type, level, *marks, id=id, codes=codes)
    for type, id in (("Goal", "b"), ("CarePlan", "c"), ("DocumentReference", "a"), ("Patient", "p1"), ("Condition", "x"))
    for level, marks in (("N", ()), ("R", ()), ("R", ("MH", "BH", "SPI")), ("R", ("SUD", "BH", "SPI")))
    for codes in ((), ("http://snomed.info/sct|736253002",))
)


def what_all_see(body: dict[str, Any] | None) -> dict[tuple[Any, ...], int]:
    """0: nothing; else more, the more of it is shown."""
    given = [provisions.parse(PROXY_ROLE, "proxy", 1)] + ([provisions.parse(body, "c", 1)] if body else [])
    standings = {risk: {P1: Standing(P1, tuple(given), relationships=(RELATED,), policy=Policy(), at_risk=risk)} for risk in (False, True)}

    def shown(ask: Ask, facts: Facts, risk: bool) -> int:
        answer = consent.decide(ask, facts, standings[risk])
        return 7 - sum(bit for duty, bit in showing.VIEW_BITS.items() if duty in answer.obligations) if answer.permit else 0

    return {
        (who.user, facts, purpose, action, risk): shown(Ask(who, action, NOW, purpose), facts, risk)  # type: ignore[arg-type]
        for risk in (False, True) for who in ASKERS for facts in RECORDS for purpose in ("TREAT", "HRESCH", "ETREAT") for action in ("access", "disclose", "collect")
    }  # fmt: skip


def named(who: str | None) -> set[str]:
    """The askers that a choice names."""
    system, _, value = (who or "").partition("|")
    name = {"sector": f"{SECTOR_SYSTEM}|{(who or '')[7:]}", "role": f"{ROLE_AT}|{(who or '')[5:]}"}.get((who or "").partition(":")[0], who or "")
    sector = name.rpartition("|")[2] if name.startswith(SECTOR_SYSTEM) else None
    return {a.user for a in ASKERS if name in a.ids or (sector and a.sector == sector and name in a.ids)} if system or value else set()


@settings(max_examples=40, deadline=None)
@given(CHANGES)
def test_a_grant_changes_nothing_for_anyone_else_and_hiding_opens_nothing(changes: list[Any]) -> None:
    """"Only the people I name" is the declared exception: it closes, for those it does not name, and opens nothing."""
    body: dict[str, Any] | None = None
    before = what_all_see(body)
    for n, (what, _id, who, chosen) in enumerate(changes):
        made = made_of(what, who, chosen)
        if what == "grant" and made is not None:
            body = sharing.grant(body, P1, at=NOW, rule_id=f"r{n}", **made)
            after = what_all_see(body)
            opened = {k for k in after if after[k] != before[k]}
            assert all(after[k] > before[k] for k in opened) and {k[0] for k in opened} <= named(who)
            shown_more = {k for k in opened if before[k]}
            assert not shown_more or "identity" in made["kinds"], "who and where she is opens by a choice of its own"
        elif what == "hide" and made is not None:
            body = sharing.hide(body, P1, at=NOW, rule_id=f"r{n}", **made)
            after = what_all_see(body)
            closed = {k for k in after if after[k] != before[k]}
            assert all(after[k] == 0 for k in closed) and "Patient/p1" not in {k[0] for k in closed}
            assert who is None or {k[0] for k in closed} <= named(who)
        elif what == "only":
            body = sharing.only_named(body, P1, NOW)
            after = what_all_see(body)
            assert not any(after[k] > before[k] for k in after), "it opens nothing"
            assert all(after[k] == before[k] for k in after if k[0] in (P1, "RelatedPerson/d") or k[3] == "collect")
        else:
            continue
        before = after


def test_only_the_people_i_name_closes_to_all_others_and_its_undoing_restores() -> None:
    usual = share()
    only = sharing.only_named(usual, P1, NOW)
    assert sees(usual, GP, record("Goal")) and not sees(only, GP, record("Goal"))
    assert sees(only, LINK, record("Goal")) and not sees(only, LINK, record("CarePlan"))
    assert sharing.as_usual(only, NOW) == usual and not sees(sharing.only_named(None, P1, NOW), LINK, record("Goal"))
    more = sharing.grant(only, P1, who="Organization/gp", kinds=["plan"], at=NOW, rule_id="g2")
    assert sees(more, GP, record("Goal")) and sees(sharing.stop(more, "g1", NOW), GP, record("Goal"))
    hidden = sharing.hide(more, P1, at=NOW, rule_id="h1", refs=["Goal/x"])
    assert not sees(hidden, GP, record("Goal")) and not sees(hidden, LINK, record("Goal"))
    assert sharing.is_only_named(sharing.stop(sharing.stop(more, "g1", NOW), "g2", NOW))


def test_the_answer_about_a_relative_at_risk_themselves_says_that_where_they_are_stays_hidden() -> None:
    """Whatever the person permits: it is not theirs to open (domain/rendering cuts it in every view)."""
    body = share(kinds=["plan", "identity"])
    marked = replace(record("RelatedPerson"), other_labels=frozenset({f"{HANDLING_SYSTEM}|{LOCATION_PROTECTED}"}))
    standing = {P1: Standing(P1, (provisions.parse(body, "c", 1),), relationships=(RELATED,), policy=Policy())}
    me = Actor("patient", frozenset({P1}), P1, patient=P1)
    for facts, who, named in ((marked, GP, True), (marked, LINK, True), (marked, me, False), (record("RelatedPerson"), GP, False), (replace(marked, type="Goal"), GP, False)):
        answer = consent.decide(Ask(who, "access", NOW, "TREAT"), facts, standing)
        assert answer.permit and (showing.LOCATION_VIEW in answer.obligations) is named, (facts.type, who.user)
        assert ("stays hidden" in wording.explain(answer)) is named


def test_the_whole_plan_opens_allergies_and_a_choice_made_before_it_did_is_said_as_it_is() -> None:
    body = share(kinds=["plan"])
    assert sees(body, LINK, record("AllergyIntolerance")) and sees(body, LINK, record("Flag"))
    assert not sees(share(kinds=["crisis", "goals", "needs"]), LINK, record("AllergyIntolerance"))
    assert choices.rows(body)[0].kinds == ("plan",)
    older = copy.deepcopy(body)
    for rule in older["provision"]["provision"]:
        rule["class"] = [c for c in rule.get("class", []) if c["code"] != "AllergyIntolerance"]
    assert not sees(older, LINK, record("AllergyIntolerance"))
    (row,) = choices.rows(older)
    assert not row.exact and not row.kinds and row.rules, "the page does not call this the whole plan"


def test_the_whole_plan_opens_medicines_that_are_not_private_and_a_choice_made_before_it_did_opens_none() -> None:
    body = share(kinds=["plan"])
    assert not any(sees(body, LINK, record(t)) for t in ("MedicationAdministration", "ClinicalImpression", "RiskAssessment"))
    for type in ("MedicationStatement", "MedicationRequest"):
        assert sees(body, LINK, record(type))
        assert not any(sees(share(kinds=[k]), LINK, record(type)) for k in sharing.KINDS if k != "plan")
        assert not sees(body, LINK, replace(record(type), confidentiality="R")), "one that is marked private"
        older = copy.deepcopy(body)
        for rule in older["provision"]["provision"]:
            rule["class"] = [c for c in rule.get("class", []) if c["code"] != type]
        assert not sees(older, LINK, record(type)) and sees(older, LINK, record("AllergyIntolerance"))
        (row,) = choices.rows(older)
        assert not row.exact and not row.kinds and row.rules, "the page does not call this the whole plan"
        hidden = sharing.hide(older, P1, at=NOW, rule_id="h1", kinds=["plan"])
        assert not sees(hidden, GP, record(type)) and sees(older, GP, record(type))


def without(body: dict[str, Any], *types: str) -> dict[str, Any]:
    """A choice as it was kept before the whole plan held these."""
    older = copy.deepcopy(body)
    for rule in older["provision"]["provision"]:
        rule["class"] = [c for c in rule.get("class", []) if c["code"] not in types]
    return older


def both(body: dict[str, Any], actor: Actor, facts: Facts) -> bool:
    """As `sees`, by the evaluator and by the predicate of searches."""
    known = {P1: Standing(P1, (provisions.parse(body, "c", 1),), relationships=(RELATED,), policy=Policy())}
    ask = Ask(actor, "access", NOW, "TREAT")
    decided = consent.decide(ask, facts, known).permit
    assert predicate.matches(reach.scope(ask, known), facts) == decided
    return decided


@pytest.mark.parametrize("kinds", [["plan"], ["goals", "plan"], ["plan", "needs"]])
def test_a_no_to_the_whole_plan_that_was_kept_before_it_held_prescriptions_hides_them(kinds: list[str]) -> None:
    for types in (("MedicationRequest",), ("MedicationStatement", "MedicationRequest")):
        older = without(sharing.hide(None, P1, who="Organization/gp", at=NOW, rule_id="h1", kinds=kinds), *types)
        assert both({**older, "provision": {}}, GP, record("MedicationRequest")) and not any(both(older, GP, record(t)) for t in types)
        assert both(older, GP, record("ClinicalImpression")) and both(older, GP, record("Procedure"))
        (row,) = choices.rows(older)
        assert not row.exact and not row.kinds and set(types) <= row.rules[0].types, "the page says what it hides"


def test_a_yes_and_any_other_no_hold_what_they_name() -> None:
    assert not both(without(share(kinds=["plan"]), "MedicationRequest"), LINK, record("MedicationRequest"))
    part = sharing.hide(None, P1, who="Organization/gp", at=NOW, rule_id="plan", kinds=["goals", "needs"])
    assert both(part, GP, record("MedicationRequest")), "a choice called plan that is none of it"
    hidden = without(sharing.hide(None, P1, at=NOW, rule_id="h1", kinds=["plan"]), "MedicationRequest")
    yes = {"type": "permit", "actor": [{"role": sharing.RECIPIENT, "reference": {"reference": "Practitioner/link"}}]}
    hidden["provision"]["provision"][0]["provision"] = [yes]
    assert both(hidden, LINK, record("Goal")) and not both(hidden, LINK, record("MedicationRequest")), "a yes within a no opens no more than it did"


def test_who_and_where_she_is_opens_by_a_choice_of_its_own_and_cannot_be_hidden() -> None:
    def shown(body: dict[str, Any], who: Actor, risk: bool = False, purpose: str = "TREAT") -> set[str]:
        standing = Standing(P1, (provisions.parse(body, "c", 1),), relationships=(RELATED,), policy=Policy(), at_risk=risk)
        answer = consent.decide(Ask(who, "access", NOW, purpose), record("Patient"), {P1: standing})
        return set(answer.obligations & showing.VIEW_BITS.keys()) if answer.permit else {"nothing"}

    plan = share(kinds=["plan"])
    assert shown(plan, LINK) == {showing.CONTACT_VIEW} and shown(plan, GP) == set()
    assert shown(plan, LINK, risk=True) == {showing.CONTACT_VIEW, showing.LOCATION_VIEW} and shown(plan, GP, risk=True) == {showing.LOCATION_VIEW}
    whole = share(kinds=["plan", "identity"])
    assert shown(whole, LINK) == set() == shown(whole, LINK, risk=True) and shown(whole, GP, risk=True) == {showing.LOCATION_VIEW}
    sector = share(kinds=["identity"], who="sector:voluntary")
    assert shown(sector, LINK) == set() and shown(sector, LINK, risk=True) == {showing.LOCATION_VIEW} and not sees(sector, LINK, record("Goal"))
    emergency = share(kinds=["goals", "identity"], purpose="emergency")
    assert shown(emergency, LINK) == {"nothing"} and shown(emergency, LINK, purpose="ETREAT") == set()
    with pytest.raises(Problem, match="cannot be hidden"):
        sharing.hide(None, P1, at=NOW, rule_id="h1", kinds=["identity"])


def test_one_document_alone_is_opened_whatever_its_label_and_nothing_else() -> None:
    body = share(kinds=[], refs=["DocumentReference/x"])
    assert sees(body, LINK, record("DocumentReference", "R", "HIV")) and sees(body, LINK, record("Patient"))
    assert not sees(body, LINK, record("DocumentReference", id="y")) and not sees(body, LINK, record("Goal"))
    legal = Facts("DocumentReference", "x", (P1,), "R", legal=frozenset({"HFEA"}))
    assert not sees(body, LINK, legal), "the law opens it only to a yes that names the restriction"


def test_hiding_several_things_hides_each() -> None:
    body = sharing.hide(share(kinds=["plan"], labels=["mental"]), P1, at=NOW, rule_id="h1", refs=["Goal/x"], kinds=["needs"], labels=["mental"])
    assert not sees(body, LINK, record("Goal")) and sees(body, LINK, record("Goal", id="y"))
    assert not sees(body, LINK, record("Condition")) and not sees(body, LINK, record("CarePlan", "R", "MH"))


def test_a_rule_that_the_page_cannot_say_is_said_as_it_is_and_can_be_stopped() -> None:
    body = share()
    body["provision"]["provision"][0]["dataPeriod"] = {"start": "2020-01-01"}
    (row,) = choices.rows(body)
    assert row.ours and not row.exact and row.kinds == () and row.rules[0].dated
    assert choices.rows(sharing.stop(body, "g1", NOW)) == []


@pytest.mark.parametrize(
    ("basis", "known", "may"),
    [
        ("consent", {}, False), ("best-interest", {"capacity_lost": True}, False), ("parental-responsibility", {"age": 12}, True),
        ("parental-responsibility", {"age": 16}, False), ("health-and-welfare-lasting-power-of-attorney", {}, False),
        ("health-and-welfare-lasting-power-of-attorney", {"capacity_lost": True}, True),
        ("court-appointed-personal-welfare-deputy", {"capacity_lost": True, "safeguarding": frozenset({"RelatedPerson/d"})}, False),
        ("court-appointed-personal-welfare-deputy", {"capacity_lost": True}, True),
    ],
)  # fmt: skip
def test_only_whom_the_law_lets_decide_may_choose_for_the_person(basis: str, known: dict[str, Any], may: bool) -> None:
    role = copy.deepcopy(PROXY_ROLE)
    role["policyRule"]["coding"][0]["code"] = basis  # type: ignore[index]
    standing = Standing(P1, (provisions.parse(role, "proxy", 1),), **known)
    at = int(NOW.timestamp() * 1_000_000)
    assert bool(decides_for(standing, ["RelatedPerson/d"], at)) is may
    assert not decides_for(standing, ["RelatedPerson/e"], at)


def test_taking_back_one_no_of_two_is_not_said_to_open_and_a_no_to_urgent_care_has_no_exception() -> None:
    goal = Facts("Goal", "g", (P1,), "N")
    body = sharing.hide(None, P1, who="Organization/gp", refs=("Goal/g",), at=NOW, rule_id="a")
    for both, words in ((body, "take-back"), (sharing.hide(body, P1, who=None, refs=("Goal/g",), at=NOW, rule_id="b"), "take-back-all")):
        known = {P1: Standing(P1, (provisions.parse(both, "c", 1),), relationships=(RELATED,), policy=Policy())}
        question = Ask(GP, "access", NOW)
        said = supposing.changes(question, goal, known, consent.decide(question, goal, known))
        assert [w for w in said if w.startswith("take")] == [words]
    medic = Actor("professional", frozenset({"Practitioner/m", "Organization/ambulance"}), "Practitioner/m", sector="health", btg_role=True)
    flag = Facts("Flag", "f", (P1,), "N")
    known = {P1: Standing(P1, policy=Policy(urgent_care=frozenset({"Organization/ambulance"})))}
    question = Ask(medic, "access", NOW, "ETREAT")
    assert supposing.changes(question, flag, known, consent.decide(question, flag, known)) == ["say-no-always"]
