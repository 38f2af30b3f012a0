"""Who looks after a person now: every sentence of the paragraph in consent.md, and every writer against every way in."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import pytest

from fhir_gateway.domain import consent, predicate
from fhir_gateway.domain.building import build
from fhir_gateway.domain.directory import DEFAULT_SECTORS, Directory, Sectors
from fhir_gateway.domain.merged import as_one
from fhir_gateway.domain.periods import micros
from fhir_gateway.domain.referring import JUDGED
from fhir_gateway.domain.standing import Link, Policy, Standing, relationship, team_names
from fhir_gateway.domain.types import Actor, Ask, Facts, Ref, Stored, Writer
from fhir_gateway.domain.vocabulary import HL7, ROLE_AT, SECTOR_SYSTEM

P1 = "Patient/p1"
NOW = datetime(2026, 11, 1, 10, 0, tzinfo=UTC)
EARLIER = NOW - timedelta(days=30)
ODS = "https://fhir.nhs.uk/Id/ods-organization-code"
ORG_TYPE = f"{HL7}/organization-type"


def organisation(
    id: str, *types: str, part_of: str | None = None, ods: str | None = None, sector: str | None = None
) -> dict[str, Any]:
    codings = [{"system": ORG_TYPE, "code": t} for t in types] + ([{"system": SECTOR_SYSTEM, "code": sector}] if sector else [])
    return {
        "resourceType": "Organization", "id": id, "name": id.upper(), "type": [{"coding": codings}] if codings else [],
        **({"partOf": {"reference": f"Organization/{part_of}"}} if part_of else {}),
        **({"identifier": [{"system": ODS, "value": ods}]} if ods else {}),
    }  # fmt: skip


def role(id: str, practitioner: str, organisation_: str, code: str = "", **more: Any) -> dict[str, Any]:
    codes = [{"coding": [{"system": "urn:roles", "code": code}]}] if code else []
    who = {
        "practitioner": {"reference": f"Practitioner/{practitioner}"},
        "organization": {"reference": f"Organization/{organisation_}"},
    }
    return {"resourceType": "PractitionerRole", "id": id, **who, "code": codes, **more}


PLACES = [
    organisation("gp", "prov", ods="D82001"),
    organisation("trust", "prov", ods="RXX"),
    organisation("ward", "dept", part_of="trust"),
    organisation("council", sector="social-care"),
    organisation("charity", "cg"),
    organisation("odd", "bus"),
    organisation("plain"),
]
PEOPLE = [
    {"resourceType": "Practitioner", "id": p, "name": [{"family": p.title()}], "identifier": [{"system": "urn:sds", "value": p}]}
    for p in ("gp", "nurse", "social", "link", "medic", "two")
]
ROLES = [
    role("r-gp", "gp", "gp", "doctor"),
    role("r-nurse", "nurse", "ward", "nurse"),
    role("r-social", "social", "council"),
    role("r-link", "link", "charity"),
    role("r-medic", "medic", "trust"),
    role("r-two-a", "two", "gp"),
    role("r-two-b", "two", "charity"),
    role("r-old", "link", "gp", period={"end": "2026-10-01"}),
]


def directory_of(*more: tuple[dict[str, Any], bool]) -> Directory:
    known = [(r, True) for r in (*PLACES, *PEOPLE, *ROLES)]
    return Directory.of((r, f"{r['resourceType']}/{r['id']}", sure) for r, sure in (*known, *more))


DIRECTORY = directory_of()


def actor(
    user: str, kind: Literal["patient", "proxy", "professional", "system"] = "professional", organisation: str | None = None
) -> Actor:
    return DIRECTORY.actor(user, kind=kind, organisation=organisation, at=NOW, patient=P1 if kind == "patient" else None)


GP, NURSE, SOCIAL, LINK, MEDIC = (actor(f"Practitioner/{n}") for n in ("gp", "nurse", "social", "link", "medic"))

ME = Writer(P1, None, None, "patient")
HOSPITAL = Writer("Device/hospital", "Organization/trust", "hospital", "system", "POST", True)
COLLEAGUE = Writer("Practitioner/medic", "Organization/trust", None, "professional", "POST", True, judged=JUDGED)
STRANGER = Writer("Practitioner/medic", "Organization/trust", None, "professional", "POST", False)
SYNC = Writer("Organization/partner", "Organization/partner", "partner", "system", "SYNC", False)
RELATIVE = Writer("RelatedPerson/carer", None, None, "proxy")
OPERATOR = Writer("Practitioner/admin", None, None, "operator")


def by(who: Actor) -> Writer:
    return Writer(who.user, who.organisation, None, who.kind)


def stored(body: dict[str, Any], writer: Writer, version: int = 1, at: datetime = EARLIER) -> Stored:
    ref = Ref(body["resourceType"], body["id"])
    return Stored(ref, version, at, json.dumps(body).encode(), None, Facts(ref.type, ref.id, (P1,)), writer)


def gone(body: dict[str, Any], version: int) -> Stored:
    ref = Ref(body["resourceType"], body["id"])
    return Stored(ref, version, NOW, None, None, Facts(ref.type, ref.id, (P1,)), ME)


def standing_of(*records: Stored, claims: list[dict[str, Any]] | None = None, **more: Any) -> Standing:
    return build(P1, records, claims or [], more.pop("directory", DIRECTORY), Policy(), **more)


# -- the ways in ------------------------------------------------------------------------------------------------------


def task(owner: str, status: str = "requested", id: str = "t1", **more: Any) -> dict[str, Any]:
    return {
        "resourceType": "Task",
        "id": id,
        "status": status,
        "intent": "order",
        "owner": {"reference": owner},
        "for": {"reference": P1},
        **more,
    }


def team(*members: str, **more: Any) -> dict[str, Any]:
    parts = [{"member": {"reference": m}} for m in members]
    return {"resourceType": "CareTeam", "id": "ct1", "status": "active", "subject": {"reference": P1}, "participant": parts, **more}


def registered(*practices: str, **more: Any) -> dict[str, Any]:
    return {"resourceType": "Patient", "id": "p1", "generalPractitioner": [{"reference": p} for p in practices], **more}


def referral(performer: str, status: str = "active") -> dict[str, Any]:
    return {"resourceType": "ServiceRequest", "id": "sr1", "status": status, "intent": "order", "subject": {"reference": P1},
            "performer": [{"reference": performer}]}  # fmt: skip


def confirm(focus: str, owner: str, status: str) -> dict[str, Any]:
    code = {"coding": [{"system": "https://fhir-gateway.example/CodeSystem/task", "code": "confirm-membership"}]}
    return task(owner, status, "confirm", code=code, focus={"reference": focus})


GATE = Writer("Device/gateway", None, None, "system", "SYSTEM")
WAYS = ("task", "team", "practitioner", "referral")


def way_in(way: str, owner: str, writer: Writer, accepter: Writer | None) -> list[Stored]:
    """The records by which `writer` names `owner`, and `accepter` (None: nobody) says yes to it."""
    if way == "task":
        out = [stored(task(owner), writer)]
        return out + ([stored(task(owner, "accepted"), accepter, 2, NOW)] if accepter else [])
    if way == "referral":
        about = {"focus": {"reference": "ServiceRequest/sr1"}}
        out = [stored(referral(owner), writer), stored(task(owner, **about), writer)]
        return out + ([stored(task(owner, "in-progress", **about), accepter, 2, NOW)] if accepter else [])
    body = team(owner) if way == "team" else registered(owner)
    focus = f"{body['resourceType']}/{body['id']}"
    out = [stored(body, writer), stored(confirm(focus, owner, "requested"), GATE)]
    return out + ([stored(confirm(focus, owner, "completed"), accepter, 2, NOW)] if accepter else [])


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    "writer", [ME, HOSPITAL, COLLEAGUE, STRANGER, SYNC, RELATIVE, OPERATOR], ids=lambda w: f"{w.kind}-{w.method}-{w.may_refer}"
)
@pytest.mark.parametrize("who", [GP, SOCIAL, LINK, NURSE, MEDIC], ids=lambda a: a.user)
@pytest.mark.parametrize("by_organisation", [True, False])
@pytest.mark.parametrize("accepts", ["themselves", "colleague", "writer", "patient", "nobody"])
def test_every_writer_against_every_way_in(way: str, writer: Writer, who: Actor, by_organisation: bool, accepts: str) -> None:
    """Counts only when written by somebody who may, for a health or care owner, accepted by that owner, and not for the writer's own."""
    assert who.organisation is not None
    owner = who.organisation if by_organisation else who.user
    colleague = Writer("Practitioner/other", who.organisation, None, "professional")
    accepter = {"themselves": by(who), "colleague": colleague, "writer": writer, "patient": ME, "nobody": None}[accepts]
    found = relationship(standing_of(*way_in(way, owner, writer, accepter)), who, NOW)
    may_write = writer.kind == "patient" or writer.may_refer
    cared = who.sector in ("health", "social-care")
    own = writer.organisation in who.ids or writer.user in who.ids
    took = accepts == "themselves" or (accepts == "colleague" and by_organisation)
    took = took or (accepts == "writer" and (writer.user == owner or writer.organisation == owner))
    assert (found is not None) == (may_write and cared and took and not own)
    if found is not None:
        assert (found.origin, found.writer) == (way, writer.user)


@pytest.mark.parametrize("way", WAYS)
def test_a_stamp_of_an_earlier_release_counts_for_whose_job_it_was_and_a_registered_system_alone(way: str) -> None:
    """That release asked for a relationship alone: a receptionist's and a volunteer's word counted as a doctor's."""
    council = "Organization/council"
    jobs = [
        ({"resourceType": "PractitionerRole", "id": f"j-{n}", "practitioner": {"reference": f"Practitioner/{who}"}, "organization": {"reference": f"Organization/{place}"},
          "code": [{"coding": [{"system": "https://fhir-gateway.example/CodeSystem/role", "code": code}]}], **period}, sure)
        for n, (who, place, code, period, sure) in enumerate((
            ("gp", "gp", "doctor", {}, True), ("nurse", "trust", "receptionist", {}, True), ("link", "charity", "nurse", {}, True),
            ("two", "gp", "doctor", {"period": {"end": "2026-01-01"}}, True),
        ))
    ]  # fmt: skip
    for who, counted in (("gp", True), ("nurse", False), ("link", False), ("two", False), ("medic", False)):
        old = Writer(f"Practitioner/{who}", "Organization/gp", None, "professional", "POST", True)
        found = relationship(standing_of(*way_in(way, council, old, by(SOCIAL)), directory=directory_of(*jobs)), SOCIAL, NOW)
        assert (found is not None) is counted, who
        new = replace(old, judged=JUDGED)
        assert relationship(standing_of(*way_in(way, council, new, by(SOCIAL)), directory=directory_of(*jobs)), SOCIAL, NOW) is not None, who
    assert relationship(standing_of(*way_in(way, council, HOSPITAL, by(SOCIAL))), SOCIAL, NOW) is not None


@pytest.mark.parametrize("way", WAYS)
def test_nobody_opens_a_record_by_writing_it_themselves(way: str) -> None:
    """Even a writer who may refer, naming and accepting for itself or its own organisation."""
    mine = replace(by(MEDIC), may_refer=True, judged=JUDGED)
    for owner, asker in itertools.product(
        ("Organization/trust", "Practitioner/medic"), (MEDIC, NURSE, actor("Device/x", "system", "RXX"))
    ):
        assert relationship(standing_of(*way_in(way, owner, mine, mine)), asker, NOW) is None


@pytest.mark.parametrize("way", WAYS)
def test_a_voluntary_owner_counts_once_the_person_says_yes(way: str) -> None:
    records = way_in(way, "Practitioner/link", ME, by(LINK))
    assert relationship(standing_of(*records), LINK, NOW) is None
    yes = {
        "resourceType": "Consent", "id": "c1", "status": "active", "patient": {"reference": P1},
        "policyRule": {"coding": [{"system": "https://fhir-gateway.example/CodeSystem/policy", "code": "uk-direct-care"}]},
        "provision": {"provision": [{"type": "permit", "period": {"end": "2026-12-31"}, "actor": [{
            "role": {"coding": [{"system": f"{HL7}/v3-ParticipationType", "code": "IRCP"}]}, "reference": {"reference": "Practitioner/link"}}]}]},
    }  # fmt: skip
    standing = standing_of(*records, stored(yes, ME))
    assert relationship(standing, LINK, NOW) is not None
    assert relationship(standing, LINK, NOW + timedelta(days=90)) is None
    ended = standing_of(*records, stored(yes, ME), stored({**yes, "status": "inactive"}, ME, 2))
    assert relationship(ended, LINK, NOW) is None


# -- it ends ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", ["completed", "cancelled", "rejected", "failed", "entered-in-error"])
def test_a_finished_task_ends_it(status: str) -> None:
    records = way_in("task", "Organization/gp", ME, by(GP))
    assert relationship(standing_of(*records), GP, NOW) is not None
    assert relationship(standing_of(*records, stored(task("Organization/gp", status), by(GP), 3)), GP, NOW) is None
    assert relationship(standing_of(*records, gone(task("x/y"), 3)), GP, NOW) is None


def test_nobody_brings_back_by_themselves_what_has_ended() -> None:
    """Re-opening a finished Task, or prolonging an ended membership, is naming somebody anew."""
    records = way_in("task", "Organization/gp", ME, by(GP))
    done = stored(task("Organization/gp", "completed"), by(GP), 3)
    again = stored(task("Organization/gp", "in-progress"), by(GP), 4)
    assert relationship(standing_of(*records, done, again), GP, NOW) is None
    yes = way_in("team", "Organization/gp", ME, by(GP))[1:]
    past, open_end = team("Organization/gp", period={"end": "2026-10-31"}), team("Organization/gp")
    assert relationship(standing_of(stored(past, ME), stored(open_end, STRANGER, 2), *yes), GP, NOW) is None
    assert relationship(standing_of(stored(past, ME), stored(open_end, ME, 2), *yes), GP, NOW) is not None
    asleep = team("Organization/gp", status="inactive")
    assert relationship(standing_of(stored(asleep, ME), stored(open_end, STRANGER, 2), *yes), GP, NOW) is None


def test_shortening_a_membership_leaves_it_whose_it_was() -> None:
    yes = way_in("team", "Organization/gp", ME, by(GP))[1:]
    shorter = team("Organization/gp", period={"end": "2026-12-31"})
    found = relationship(standing_of(stored(team("Organization/gp"), ME), stored(shorter, STRANGER, 2), *yes), GP, NOW)
    assert found is not None and found.writer == P1


def test_a_changed_owner_must_accept_anew() -> None:
    records = way_in("task", "Organization/gp", ME, by(GP))
    handed_on = standing_of(*records, stored(task("Organization/council", "accepted"), replace(by(GP), may_refer=True, judged=JUDGED), 3))
    assert relationship(handed_on, GP, NOW) is None
    assert relationship(handed_on, SOCIAL, NOW) is None
    taken = standing_of(
        *records,
        stored(task("Organization/council", "requested"), replace(by(GP), may_refer=True, judged=JUDGED), 3),
        stored(task("Organization/council", "accepted"), by(SOCIAL), 4),
    )
    assert relationship(taken, SOCIAL, NOW) is not None


def test_a_stranger_who_edits_a_task_does_not_become_its_referrer_nor_the_person_its_author() -> None:
    """Who named the owner is what counts, not who touched it last."""
    named_by_stranger = [
        stored(task("Organization/gp"), STRANGER),
        stored(task("Organization/gp", description="please"), ME, 2),
        stored(task("Organization/gp", "accepted", description="please"), by(GP), 3),
    ]
    assert relationship(standing_of(*named_by_stranger), GP, NOW) is None


def test_with_earlier_versions_missing_nobody_is_taken_for_the_writer() -> None:
    last = stored(task("Organization/gp", "accepted"), by(GP), 2)
    assert relationship(standing_of(last), GP, NOW) is None
    assert relationship(standing_of(last, accepted={"Task/t1": "Practitioner/gp"}), GP, NOW) is None


def test_acceptance_kept_elsewhere_counts_for_its_owner_only() -> None:
    records = [stored(task("Organization/gp"), ME), stored(task("Organization/gp", "accepted"), ME, 2)]
    assert relationship(standing_of(*records), GP, NOW) is None
    assert relationship(standing_of(*records, accepted={"Task/t1": "Practitioner/gp"}), GP, NOW) is not None
    assert relationship(standing_of(*records, accepted={"Task/t1": "Practitioner/link"}), GP, NOW) is None


@pytest.mark.parametrize(
    "body",
    [
        team("Organization/gp", status="inactive"),
        team("Organization/gp", period={"end": "2026-10-31"}),
        team("Organization/gp", period={"start": "2026-11-02"}),
        {**team(), "participant": [{"member": {"reference": "Organization/gp"}, "period": {"end": "2026-10-31"}}]},
        {**team(), "participant": [{"member": {"reference": "Organization/gp"}, "period": {"end": "nonsense"}}]},
        team(),
        team("CareTeam/other"),
    ],
)
def test_an_ended_membership_ends_it(body: dict[str, Any]) -> None:
    yes = [
        stored(confirm("CareTeam/ct1", "Organization/gp", "requested"), GATE),
        stored(confirm("CareTeam/ct1", "Organization/gp", "accepted"), by(GP), 2),
    ]
    assert relationship(standing_of(stored(team("Organization/gp"), ME), *yes), GP, NOW) is not None
    assert relationship(standing_of(stored(body, ME), *yes), GP, NOW) is None


def test_confirming_one_team_confirms_no_other() -> None:
    other = {**team("Organization/gp"), "id": "ct2"}
    yes = [
        stored(confirm("CareTeam/ct1", "Organization/gp", "requested"), GATE),
        stored(confirm("CareTeam/ct1", "Organization/gp", "accepted"), by(GP), 2),
    ]
    assert relationship(standing_of(stored(other, ME), *yes), GP, NOW) is None


def test_the_question_whether_one_is_in_a_team_is_itself_no_task_of_care() -> None:
    records = [
        stored(confirm("CareTeam/ct1", "Organization/gp", "requested"), ME),
        stored(confirm("CareTeam/ct1", "Organization/gp", "accepted"), by(GP), 2),
    ]
    assert relationship(standing_of(*records), GP, NOW) is None


def test_a_referral_without_an_accepted_task_or_no_longer_active_is_none() -> None:
    records = way_in("referral", "Organization/gp", HOSPITAL, by(GP))
    assert relationship(standing_of(*records), GP, NOW) is not None
    over = stored(referral("Organization/gp", "completed"), HOSPITAL, 2)
    task_only = relationship(standing_of(*records, over), GP, NOW)
    assert task_only is not None and task_only.origin == "task"  # the Task of its own is still open
    assert relationship(standing_of(stored(referral("Organization/gp"), HOSPITAL)), GP, NOW) is None


# -- claims -----------------------------------------------------------------------------------------------------------


def test_a_claim_with_a_reason_counts_for_whoever_made_it() -> None:
    claim = {
        "user": "Practitioner/medic",
        "organisation": "Organization/trust",
        "reason": "seen in clinic",
        "at": EARLIER.isoformat(),
    }
    standing = standing_of(claims=[claim])
    found = relationship(standing, MEDIC, NOW)
    assert found is not None and (found.origin, found.reason) == ("claim", "seen in clinic")
    assert relationship(standing, NURSE, NOW) is None
    assert relationship(standing, MEDIC, EARLIER - timedelta(days=1)) is None
    assert relationship(standing_of(claims=[{**claim, "reason": " "}]), MEDIC, NOW) is None
    assert relationship(standing_of(claims=[{**claim, "until": (NOW - timedelta(days=1)).isoformat()}]), MEDIC, NOW) is None
    whole = standing_of(claims=[{k: v for k, v in claim.items() if k != "user"}])
    assert relationship(whole, NURSE, NOW) is not None


# -- names, sectors, roles --------------------------------------------------------------------------------------------


def test_an_actor_goes_by_every_name_they_have_now() -> None:
    assert NURSE.ids >= {
        "Practitioner/nurse", "urn:sds|nurse", "PractitionerRole/r-nurse", "Organization/ward", "Organization/trust", f"{ODS}|RXX",
        f"{SECTOR_SYSTEM}|health", f"{ROLE_AT}|Organization/ward urn:roles|nurse", f"{ROLE_AT}|Organization/trust urn:roles|nurse",
    }  # fmt: skip
    assert (NURSE.organisation, NURSE.sector, NURSE.name) == ("Organization/ward", "health", "Nurse")


def test_a_role_that_ended_gives_nothing() -> None:
    assert "Organization/gp" not in LINK.ids and "PractitionerRole/r-old" not in LINK.ids
    before = DIRECTORY.actor("Practitioner/link", kind="professional", organisation="D82001", at=datetime(2026, 9, 1, tzinfo=UTC))
    assert "PractitionerRole/r-old" in before.ids
    assert DIRECTORY.next_change(micros(datetime(2026, 9, 1, tzinfo=UTC))) == micros(datetime(2026, 10, 1, 23, 0, tzinfo=UTC))


def test_somebody_of_two_organisations_speaks_for_the_one_they_signed_in_with() -> None:
    assert actor("Practitioner/two").organisation is None
    here = actor("Practitioner/two", organisation="D82001")
    assert here.organisation == "Organization/gp" and "Organization/charity" not in here.ids and here.sector == "health"
    assert actor("Practitioner/two", organisation="Organization/charity").sector == "voluntary"


@pytest.mark.parametrize(
    ("place", "sector"),
    [
        ("gp", "health"),
        ("ward", "health"),
        ("council", "social-care"),
        ("charity", "voluntary"),
        ("odd", "voluntary"),
        ("plain", "voluntary"),
        ("nowhere", None),
    ],
)
def test_sector_comes_from_the_type(place: str, sector: str | None) -> None:
    assert DIRECTORY.sector(f"Organization/{place}") == sector


def test_what_an_import_brought_counts_for_nothing_until_confirmed() -> None:
    fake = organisation("fake", "prov", part_of="trust", ods="RXX")
    hired = role("r-fake", "link", "trust")
    both = directory_of((fake, False), (hired, False))
    assert both.sector("Organization/fake") is None
    assert both.find("RXX") == "Organization/trust"
    intruder = both.actor("Practitioner/link", kind="professional", organisation="Organization/fake", at=NOW)
    assert "Organization/trust" not in intruder.ids and f"{ODS}|RXX" not in intruder.ids and intruder.sector is None
    assert "PractitionerRole/r-fake" not in both.actor("Practitioner/link", kind="professional", at=NOW).ids
    records = way_in("task", "Organization/fake", ME, Writer("Practitioner/x", "Organization/fake"))
    assert relationship(standing_of(*records, directory=both), intruder, NOW) is None
    assert directory_of((fake, True)).sector("Organization/fake") == "health"


def test_organisations_that_are_part_of_each_other_end() -> None:
    circle = directory_of((organisation("a", part_of="b"), True), (organisation("b", part_of="a"), True))
    assert circle.ancestors("Organization/a") == ("Organization/a", "Organization/b")
    assert circle.sector("Organization/a") == "voluntary"


def test_the_shipped_value_set_knows_at_least_the_built_in_one() -> None:
    from pathlib import Path

    shipped = Sectors.from_json((Path(__file__).parents[1] / "profiles" / "sectors.json").read_bytes())
    assert dict(DEFAULT_SECTORS.sectors).items() <= dict(shipped.sectors).items()
    assert shipped.inherit == DEFAULT_SECTORS.inherit


def test_a_directory_is_built_from_what_operators_wrote() -> None:
    trust, gp = (stored(o, OPERATOR) for o in PLACES[1::-1])
    built = Directory.build([trust, replace(gp, writer=HOSPITAL)])
    assert built.sector("Organization/trust") == "health" and built.sector("Organization/gp") is None


def test_an_organisation_that_is_no_more_is_a_name_for_a_no_alone() -> None:
    """consent.md: Organization is written by an operator only; what they say is no more opens nothing, and what closed goes on closing."""
    known = directory_of((organisation("trust", "prov", ods="RXX") | {"active": False}, True))
    nurse = known.actor("Practitioner/nurse", kind="professional", at=NOW)
    assert nurse.past >= {"Organization/trust", f"{ODS}|RXX", f"{ROLE_AT}|Organization/trust urn:roles|nurse"}
    assert "Organization/ward" in nurse.opening and not any("trust" in n for n in nurse.opening)
    medic = known.actor("Practitioner/medic", kind="professional", at=NOW)
    assert medic.sector is None and "Organization/trust" in medic.ids and "Practitioner/medic" in medic.opening
    assert not DIRECTORY.actor("Practitioner/nurse", kind="professional", at=NOW).past
    imported = directory_of((organisation("new", "prov") | {"active": False}, False), (role("r-new", "new", "new"), True))
    assert not imported.actor("Practitioner/new", kind="professional", at=NOW).past, "an import says nothing about it"


# -- teams as recipients ----------------------------------------------------------------------------------------------


def test_a_confirmed_member_goes_by_the_name_of_the_team() -> None:
    records = way_in("team", "Practitioner/link", ME, by(LINK))
    assert team_names(standing_of(*records), LINK, micros(NOW)) == {"CareTeam/ct1"}
    assert team_names(standing_of(*way_in("team", "Practitioner/link", ME, None)), LINK, micros(NOW)) == frozenset()
    assert team_names(standing_of(*way_in("team", "Practitioner/link", STRANGER, by(LINK))), LINK, micros(NOW)) == frozenset()


def test_nobody_goes_by_the_name_of_a_team_into_which_their_own_organisation_brought_them() -> None:
    """consent.md: it never counts for its own writer or the writer's organisation. For others' members it counts."""
    surgery = Writer("Practitioner/gp", "Organization/gp", None, "professional", "POST", True, judged=JUDGED)
    by_others = standing_of(*way_in("team", NURSE.user, surgery, by(NURSE)))
    assert team_names(by_others, NURSE, micros(NOW)) == {"CareTeam/ct1"}
    for writer in (COLLEAGUE, HOSPITAL, Writer(NURSE.user, NURSE.organisation, None, "professional", "POST", True, judged=JUDGED)):
        by_us = standing_of(*way_in("team", NURSE.user, writer, by(NURSE)))
        assert any(r.team and r.counts for r in by_us.relationships), "nothing else is wrong with it"
        assert team_names(by_us, NURSE, micros(NOW)) == frozenset()


# -- until then, that one and nothing else ----------------------------------------------------------------------------


@pytest.mark.parametrize("writer", [ME, STRANGER])
def test_before_accepting_the_owner_reads_that_one_task(writer: Writer) -> None:
    standing = standing_of(stored(task("Organization/gp"), writer))
    question = Ask(GP, "access", NOW)
    assert consent.decide(question, Facts("Task", "t1", (P1,), "N"), {P1: standing}).permit
    assert not consent.decide(question, Facts("Task", "t2", (P1,), "N"), {P1: standing}).permit
    assert not consent.decide(question, Facts("CarePlan", "cp", (P1,), "N"), {P1: standing}).permit
    assert not consent.decide(Ask(SOCIAL, "access", NOW), Facts("Task", "t1", (P1,), "N"), {P1: standing}).permit


# -- facts about the person -------------------------------------------------------------------------------------------


def fact(name: str, **value: Any) -> dict[str, Any]:
    return {"url": f"https://fhir-gateway.example/StructureDefinition/{name}", **(value or {"valueBoolean": True})}


def test_only_an_operator_opens_by_a_fact_anybody_closes() -> None:
    facts = [
        fact("national-data-opt-out"),
        fact("no-notify"),
        fact("capacity-lost"),
        fact("safeguarding-proxy", valueReference={"reference": "RelatedPerson/x"}),
    ]
    for writer in (OPERATOR, HOSPITAL):
        s = standing_of(stored(registered(extension=facts), writer))
        assert (s.ndoo, s.no_notify, s.safeguarding) == (True, True, {"RelatedPerson/x"})
        assert s.capacity_lost is (writer is OPERATOR)


def test_a_link_joins_only_when_an_operator_wrote_it() -> None:
    body = registered(link=[{"other": {"reference": "Patient/p9"}, "type": "replaces"}])
    assert [k.merged for k in standing_of(stored(body, OPERATOR)).links] == [True]
    assert standing_of(stored(body, HOSPITAL)).links == (), "a registered system's carries nothing, not even a no"
    was = registered(link=[{"other": {"reference": "Patient/p9"}, "type": "seealso"}])
    assert [k.merged for k in standing_of(stored(was, OPERATOR)).links] == [False]
    assert standing_of(stored(was, OPERATOR), stored(body, HOSPITAL, 2)).links == (), "another type is another link"


@pytest.mark.parametrize(
    ("body", "died"),
    [
        (registered(), None),
        (registered(deceasedBoolean=False), None),
        (registered(deceasedBoolean=True), micros(EARLIER)),
        (registered(deceasedDateTime="2026-10-20"), micros(datetime(2026, 10, 20, 22, 59, 59, 999999, tzinfo=UTC))),
    ],
)
def test_death_is_read_from_the_person(body: dict[str, Any], died: int | None) -> None:
    assert standing_of(stored(body, HOSPITAL)).died == died


def test_after_a_death_nobody_new_joins() -> None:
    records = way_in("task", "Organization/gp", ME, by(GP))
    dead_after = stored(registered(deceasedDateTime="2026-10-20"), HOSPITAL)
    dead_before = stored(registered(deceasedDateTime="2026-09-20"), HOSPITAL)
    assert relationship(standing_of(*records, dead_after), GP, NOW) is not None
    assert relationship(standing_of(*records, dead_before), GP, NOW) is None


# -- when it will change ----------------------------------------------------------------------------------------------


def test_the_next_change_is_the_next_end_of_a_period() -> None:
    ends = {"end": "2026-11-30"}
    standing = standing_of(stored(team("Organization/gp", period=ends), ME), stored(registered(birthDate="2010-12-25"), ME))
    first = standing.next_change(NOW)
    assert first == datetime(2026, 12, 1, 0, 0, tzinfo=UTC)
    assert standing.next_change(first) == datetime(2026, 12, 25, 0, 0, tzinfo=UTC)  # sixteen
    assert standing.next_change(datetime(2027, 1, 1, tzinfo=UTC)) is None


def test_an_answer_turns_at_that_very_instant_without_being_told() -> None:
    records = [
        stored(team("Organization/gp", period={"end": "2026-11-30"}), ME),
        stored(confirm("CareTeam/ct1", "Organization/gp", "requested"), GATE),
        stored(confirm("CareTeam/ct1", "Organization/gp", "accepted"), by(GP), 2),
    ]
    known = {P1: standing_of(*records)}
    turn = known[P1].next_change(NOW)
    assert turn is not None
    plan = Facts("CarePlan", "cp", (P1,), "N")
    answers = [
        consent.decide(Ask(GP, "access", at), plan, known).permit for at in (NOW, turn - timedelta(microseconds=1), turn, NOW)
    ]
    assert answers == [True, True, False, True]


def test_a_consent_that_cannot_be_computed_closes_unless_it_is_dead() -> None:
    body = {
        "resourceType": "Consent",
        "id": "c1",
        "status": "active",
        "patient": {"reference": P1},
        "provision": {"type": "perhaps"},
    }
    assert [b.id for b in standing_of(stored(body, ME)).broken] == ["c1"]
    assert standing_of(stored({**body, "status": "inactive"}, ME)).broken == ()
    treatment = {"coding": [{"system": f"{HL7}/consentscope", "code": "treatment"}]}
    assert standing_of(stored({**body, "scope": treatment}, ME)).broken == ()


@pytest.mark.parametrize("wrong", [{"implicit": "allow-all"}, {"break_glass": "always"}])
def test_an_unknown_policy_is_refused(wrong: dict[str, str]) -> None:
    with pytest.raises(ValueError):
        Policy(**wrong)


# -- a Patient that is deleted ------------------------------------------------------------------------------------------


P2 = "Patient/p2"
MOTHER = Actor("proxy", frozenset({"RelatedPerson/mother"}), "RelatedPerson/mother", patient=P1)
GOAL = Facts("Goal", "g", (P1,))
BASIS = "https://fhir.nhs.uk/England/CodeSystem/England-NHSProxyLegalBasis"


def consent_from(id: str, who: str, type: str = "permit", patient: str = P1, **more: Any) -> dict[str, Any]:
    actor = {"role": {"coding": [{"system": f"{HL7}/v3-ParticipationType", "code": "IRCP"}]}, "reference": {"reference": who}}
    return {
        "resourceType": "Consent", "id": id, "status": "active", "patient": {"reference": patient}, "dateTime": "2026-01-01",
        "scope": {"coding": [{"system": f"{HL7}/consentscope", "code": "patient-privacy"}]}, "category": [{"coding": [{"system": "http://loinc.org", "code": "59284-0"}]}],
        "policyRule": {"coding": [{"system": f"{HL7}/v3-ActCode", "code": "OPTIN"}]}, "provision": {"type": type, "actor": [actor]}, **more,
    }  # fmt: skip


def person(**more: Any) -> dict[str, Any]:
    return {"resourceType": "Patient", "id": "p1", **more}


def answer(who: Actor, *known: Standing) -> bool:
    ask, here = Ask(who, "access", at=NOW), {s.patient: s for s in known}
    decision = consent.decide(ask, GOAL, here)
    assert predicate.matches(consent.scope(ask, here), GOAL) == decision.permit
    return decision.permit


@pytest.mark.parametrize(
    ("basis", "said"),
    [
        ("health-and-welfare-lasting-power-of-attorney", {"extension": [{"url": "https://fhir-gateway.example/StructureDefinition/capacity-lost", "valueBoolean": True}]}),
        ("parental-responsibility", {"birthDate": "2020-01-01"}),
    ],
)  # fmt: skip
def test_who_decides_for_somebody_does_so_no_more_once_their_patient_is_deleted(basis: str, said: dict[str, Any]) -> None:
    role_ = consent_from("c", MOTHER.user, policyRule={"coding": [{"system": BASIS, "code": basis}]})
    records = [stored(person(**said), OPERATOR), stored(role_, OPERATOR)]
    assert answer(MOTHER, standing_of(*records))
    assert not answer(MOTHER, standing_of(*records, gone(person(), 2)))


def test_what_a_deleted_patient_was_merged_with_closes_and_opens_nothing() -> None:
    """The other record: its yes, its no, its danger; and a third that only the deleted one leads to."""
    yes, no = consent_from("y", LINK.user, patient=P2), consent_from("n", LINK.user, "deny", P2)
    mine = consent_from("m", LINK.user)
    linked = person(link=[{"other": {"reference": P2}, "type": "replaced-by"}])
    at_risk = {"meta": {"security": [{"system": "https://fhir-gateway.example/CodeSystem/handling", "code": "location-protected"}]}}

    def of_other(*consents: dict[str, Any], **more: Any) -> Standing:
        body = {"resourceType": "Patient", "id": "p2", "link": [{"other": {"reference": P1}, "type": "replaces"}], **more}
        return build(P2, [stored(body, OPERATOR), *(stored(c, ME) for c in consents)], [], DIRECTORY, Policy())

    here, deleted = standing_of(stored(linked, OPERATOR)), standing_of(stored(linked, OPERATOR), gone(person(), 2))
    assert answer(LINK, here, of_other(yes)) and not answer(LINK, deleted, of_other(yes))
    with_mine = standing_of(stored(linked, OPERATOR), gone(person(), 2), stored(mine, ME))
    assert answer(LINK, with_mine, of_other()) and not answer(LINK, with_mine, of_other(no))
    assert as_one(deleted, {P1: deleted, P2: of_other(**at_risk)}).at_risk and as_one(here, {P1: here, P2: of_other(**at_risk)}).at_risk
    third, way = replace(of_other(yes), patient="Patient/p3", links=()), replace(of_other(), patient=P2, gone=True, links=(Link("Patient/p3", True),))
    assert not answer(LINK, here, way, third) and answer(LINK, here, replace(way, gone=False), third)
