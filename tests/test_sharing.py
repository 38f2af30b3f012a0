"""The person's own choices: what a grant opens, what stopping ends, and that the page reads back what it wrote."""

from __future__ import annotations

import copy
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fhir_gateway.domain import consent, grants, sharing
from fhir_gateway.domain.problem import Problem
from fhir_gateway.domain.standing import Policy, Relationship, Standing
from fhir_gateway.domain.types import Actor, Ask, Facts
from fhir_gateway.domain.vocabulary import SECTOR_SYSTEM

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
    standing = Standing(P1, (grants.parse(body, "c", 1),), relationships=(RELATED,), policy=Policy())
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
    body = share(purpose="HRESCH")
    assert sees(body, LINK, record("Goal"), purpose="HRESCH") and not sees(body, LINK, record("Goal"))


@pytest.mark.parametrize("who", ["Practitioner/link", "Organization/charity", "sector:voluntary"])
def test_a_person_an_organisation_or_a_sector(who: str) -> None:
    body = share(who=who)
    assert sees(body, LINK, record("Goal"))
    assert [r.who for r in sharing.rows(body)] == [(who,)]


def test_a_role_at_a_place() -> None:
    nurse = Actor(
        "professional", frozenset({"Practitioner/n", "https://fhir-gateway.example/role-at|Organization/trust urn:roles|nurse"})
    )
    body = share(who="role:Organization/trust urn:roles|nurse")
    assert sees(body, nurse, record("Goal")) and not sees(body, LINK, record("Goal"))
    assert sharing.rows(body)[0].who == ("role:Organization/trust urn:roles|nurse",)


def test_the_crisis_plan_alone() -> None:
    body = share(kinds=["crisis"])
    assert sees(body, LINK, record("CarePlan", codes=("http://snomed.info/sct|736253002",)))
    assert sees(body, LINK, record("Patient"))
    assert not sees(body, LINK, record("CarePlan")) and not sees(body, LINK, record("Goal"))
    both = share(kinds=["goals", "crisis"])
    assert sees(both, LINK, record("Goal")) and not sees(both, LINK, record("CarePlan"))
    (row,) = sharing.rows(both)
    assert row.kinds == ("goals", "crisis")


def test_stopping_ends_it_and_leaves_the_others() -> None:
    two = share(share(), who="Organization/other", kinds=["needs"], rule_id="g2")
    after = sharing.stop(two, "g1", NOW)
    assert not sees(after, LINK, record("Goal"))
    assert [r.id for r in sharing.rows(after)] == ["g2"]
    none = sharing.stop(after, "g2", NOW)
    assert sharing.rows(none) == [] and "provision" not in none and sees(none, GP, record("Goal"))
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
    (row,) = sharing.rows(body)
    assert (row.words, row.why, row.until, row.since) == (
        words,
        "Sam helps me with the choir",
        date(2027, 6, 30),
        date(2026, 11, 1),
    )
    assert (row.allows, row.what, row.ours) == (True, "goals and what we will do", True)


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
    rows = sharing.rows(body)
    assert [(r.allows, r.what, r.ours) for r in rows] == [(False, "everything", False), (True, "Goal", False)]
    with pytest.raises(Problem):
        share(body, rule_id="g2")
    with pytest.raises(Problem):
        sharing.stop(body, "g1", NOW)


def test_what_cannot_be_computed_is_shown_as_closing() -> None:
    (row,) = sharing.rows(other({"type": "perhaps"}))
    assert not row.allows and "cannot be computed" in row.what


@pytest.mark.parametrize(
    ("root", "said"),
    [
        ({"type": "permit", "class": [{"system": "http://hl7.org/fhir/resource-types", "code": "Goal"}]}, "would end"),
        ({"type": "permit"}, "anyone"),
        ({"type": "deny"}, "Only the people named"),
        ({"provision": [{"type": "deny", "period": {"end": "2027"}}]}, "has an end"),
        ({"type": "perhaps"}, "cannot be computed"),
    ],
)
def test_what_may_surprise_is_said(root: dict[str, Any], said: str) -> None:
    assert any(said in line for line in sharing.lint(other(root)))


def test_nothing_surprises_in_what_the_page_writes() -> None:
    body = sharing.hide(share(until=date(2027, 1, 1)), P1, at=NOW, rule_id="h1", refs=["Goal/1"])
    assert sharing.lint(body) == []


# -- any run of changes -----------------------------------------------------------------------------------------------

CHANGES = st.lists(
    st.tuples(
        st.sampled_from(("grant", "hide", "stop")),
        st.sampled_from(("a", "b", "c")),
        st.sampled_from(("Practitioner/link", "Organization/charity", "sector:health", "CareTeam/t")),
        st.lists(st.sampled_from(sorted(sharing.KINDS)), min_size=1, max_size=3, unique=True),
        st.lists(st.sampled_from(sorted(sharing.LABELS)), max_size=2, unique=True),
    ),
    max_size=8,
)


@settings(max_examples=200, deadline=None)
@given(CHANGES)
def test_any_run_of_changes_reads_back_as_made(changes: list[Any]) -> None:
    body: dict[str, Any] | None = None
    model: dict[str, tuple[bool, tuple[str, ...], frozenset[str]]] = {}
    for what, id, who, kinds, labels in changes:
        if what == "stop":
            if id in model:
                assert body is not None
                body = sharing.stop(body, id, NOW)
                del model[id]
        elif id not in model:
            change = sharing.grant if what == "grant" else sharing.hide
            body = change(body, P1, who=who, kinds=kinds, labels=labels, at=NOW, rule_id=id)
            model[id] = (what == "grant", (who,), frozenset(kinds))
    if body is not None:
        assert {r.id: (r.allows, r.who, frozenset(r.kinds)) for r in sharing.rows(body)} == model
        assert sharing.is_ours(body) and grants.parse(body, "c", 1).root.type == ""
