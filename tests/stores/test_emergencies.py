"""Emergencies and claims over both engines, on a clock that the test turns: how a sign-in is proved fresh, and how each ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from itertools import count
from typing import Any

import pytest
import pytest_asyncio

from fhir_gateway import definitions, gate
from fhir_gateway.auth.tokens import Caller
from fhir_gateway.domain import sharing, strict
from fhir_gateway.domain.labels import LabelSets
from fhir_gateway.domain.problem import Problem
from fhir_gateway.domain.standing import Policy
from fhir_gateway.domain.types import Actor, Ref
from fhir_gateway.gate import Context, House, Named
from fhir_gateway.store.base import Store

from .making import MORNING

R4 = definitions.load_r4()
LABELS = LabelSets.load(definitions.load("labels.json"))
WHY = ("Unconscious in the street", "incapacity-vital-interest")
SECTOR = "https://fhir-gateway.example/CodeSystem/sector"


class Place:
    """A house with two organisations, three people who work there, and one person whose record it is."""

    def __init__(self, store: Store) -> None:
        self.at, self.numbers = MORNING, count(1)
        self.house = House(store, lambda: self.at, lambda: f"id-{next(self.numbers):06d}", R4, LABELS, b"k" * 32)
        self.refs: dict[str, str] = {}

    async def furnish(self) -> Place:
        operator = gate.house_context(self.house, Actor("system", frozenset({"Device/o"}), "Device/o", operator=True))
        for key, sector in (("trust", "health"), ("kindly", "voluntary")):
            type = [{"coding": [{"system": SECTOR, "code": sector}]}]
            self.refs[key] = await self.made(operator, {"resourceType": "Organization", "active": True, "type": type, "name": key})
        for key in ("medic", "other", "rosa"):
            self.refs[key] = await self.made(operator, {"resourceType": "Practitioner", "active": True, "name": [{"family": key}]})
        hospital = replace(gate.house_context(self.house, Actor("system", frozenset({"Device/h"}), "Device/h", contributor=True)))
        identifier = [{"system": "https://fhir.nhs.uk/Id/nhs-number", "value": "9990000018"}]
        person = {"resourceType": "Patient", "identifier": identifier, "name": [{"family": "Öztürk"}], "birthDate": "1951-04-07"}
        self.refs["person"] = await self.made(hospital, person)
        return self

    async def made(self, ctx: Context, body: dict[str, Any]) -> str:
        return str((await gate.create(ctx, body["resourceType"], strict.dump(body))).ref)

    @property
    def person(self) -> str:
        return self.refs["person"].removeprefix("Patient/")

    async def as_(self, who: str, place: str = "trust", *, roles: str = "clinician break-glass", age: timedelta | None = timedelta(0), **more: Any) -> Context:
        caller = Caller(
            who, "app", self.refs[who], "professional", "user/*.cruds", "us", "t", self.at + timedelta(hours=1), "TREAT",
            self.refs[place], roles=frozenset(roles.split()), signed_in=None if age is None else self.at - age,
        )  # fmt: skip
        return await gate.enter(self.house, replace(caller, **more))

    async def sees(self, who: str = "medic", place: str = "trust", **more: Any) -> bool:
        ctx = await self.as_(who, place, **more)
        try:
            await gate.read(ctx, Ref("Patient", self.person))
        except Problem as p:
            assert p.kind == "not-found"
            alone = False
        else:
            alone = True
        page = await gate.search(ctx, "Patient", [])
        assert bool(page.entries) is alone, "a search and a read say the same"
        return alone


@pytest_asyncio.fixture
async def place(store: Store) -> AsyncIterator[Place]:
    yield await Place(store).furnish()


# -- who, and how fresh -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("more", "good"),
    [
        ({}, True),
        ({"age": timedelta(minutes=5)}, True),
        ({"age": timedelta(minutes=5, seconds=1)}, False),
        ({"age": timedelta(minutes=-5)}, False),
        ({"age": None}, False),
        ({"roles": "clinician"}, False),
        ({"purpose": "HRESCH"}, False),
        ({"kind": "system"}, False),
        ({"scopes": "user/Goal.rs"}, False),
        ({"scopes": "user/*.rs"}, False),
        ({"scopes": "user/Patient.r user/Goal.cruds"}, False),
        ({"scopes": "user/Patient.ru"}, True),
    ],
)
async def test_who_may_and_how_fresh(place: Place, more: dict[str, Any], good: bool) -> None:
    ctx = await place.as_("medic", **more)
    if good:
        await gate.break_glass(ctx, place.person, *WHY)
        assert await place.sees()
        return
    said = []
    for whom in (place.person, "nobody", Named("9990000018", "1951-04-07", "Ozturk")):
        with pytest.raises(Problem) as refused:
            await gate.break_glass(ctx, whom, *WHY)
        said.append((refused.value.status, refused.value.text, refused.value.headers))
    assert said[0][0] == 403 and said[0] == said[1] == said[2], "whoever is meant"
    if "age" in more:
        assert 'max_age="300"' in said[0][2]["WWW-Authenticate"] and "Sign in again" in said[0][1]
    assert not await place.sees()


async def test_it_is_of_one_person_at_one_organisation_about_one_person(place: Place) -> None:
    await gate.break_glass(await place.as_("medic"), Named("9990000018", "1951-04-07", "OZTURK"), *WHY)
    assert await place.sees()
    assert not await place.sees("other") and not await place.sees("medic", "kindly")
    assert not await place.sees(roles="clinician"), "the role went, and it with the role"
    assert await place.sees(age=timedelta(hours=1)), "a fresh sign-in begins it; it needs none to go on"
    assert not await place.sees(purpose="HRESCH")
    assert not await place.sees(launch="Patient/another", scopes="patient/*.rs")


async def test_it_ends_by_the_clock(place: Place) -> None:
    begun = await gate.break_glass(await place.as_("medic"), place.person, *WHY)
    assert begun.until == place.at + timedelta(hours=2)
    for later, open in ((timedelta(hours=2), True), (timedelta(hours=2, milliseconds=1), False), (timedelta(days=2), False)):
        place.at = MORNING + later
        assert await place.sees() is open, later
    with pytest.raises(Problem):
        await gate.end_emergency(await place.as_("medic"), place.person)


async def test_another_process_sees_its_beginning_and_its_end(place: Place, reopen: Any) -> None:
    elsewhere = Place(await reopen())
    elsewhere.refs = place.refs
    assert not await elsewhere.sees()
    await gate.break_glass(await place.as_("medic"), place.person, *WHY)
    assert await elsewhere.sees()
    await gate.end_emergency(await elsewhere.as_("medic"), place.person)
    assert not await place.sees() and not await elsewhere.sees()


@pytest.mark.parametrize(("policy", "offered"), [
    (Policy(break_glass="override"), True), (Policy(break_glass="consent-only"), False), (Policy("Policy-deny"), False),
    (Policy("Policy-break-glass-only"), True),
])  # fmt: skip
async def test_a_deployment_says_whether_the_glass_can_be_broken_at_all(place: Place, reopen: Any, policy: Policy, offered: bool) -> None:
    await gate.break_glass(await place.as_("medic"), place.person, *WHY)
    assert await place.sees()
    after = Place(await reopen())  # a restart, under another setting
    after.refs, after.house.policy = place.refs, policy
    assert await after.sees() is offered, "one under way, too"
    medic = await after.as_("medic")
    if offered:
        await gate.break_glass(medic, after.person, "Still unconscious", WHY[1])
        return
    with pytest.raises(Problem, match="does not offer"):
        await gate.break_glass(medic, after.person, *WHY)


async def test_of_two_who_end_it_at_once_one_does(place: Place) -> None:
    begun = await gate.break_glass(await place.as_("medic"), place.person, *WHY)
    officer = await place.as_("other", roles="privacy-officer")
    ends = [gate.stop_emergency(officer, begun.id), gate.end_emergency(await place.as_("medic"), place.person)]
    done = await asyncio.gather(*ends, return_exceptions=True)
    assert done.count(None) >= 1 and all(d is None or isinstance(d, Problem) for d in done)
    assert not await place.sees()


async def test_nobody_reviews_their_own(place: Place) -> None:
    begun = await gate.break_glass(await place.as_("medic"), place.person, *WHY)
    for who, roles in (("medic", "privacy-officer"), ("other", "clinician")):
        with pytest.raises(Problem) as refused:
            await gate.review(await place.as_(who, roles=roles), begun.id, "justified", "fine")
        assert refused.value.status == 403
    officer = await place.as_("other", roles="privacy-officer")
    await gate.review(officer, begun.id, "not-justified", "no")
    assert await gate.emergencies(officer) == ([], "")
    (item,), _ = await gate.emergencies(officer, reviewed=True)
    assert item["reviews"][0]["outcome"] == "not-justified" and place.refs["medic"] == item["user"]


async def test_the_queue_comes_in_pages_and_a_page_stays_where_it_began(place: Place) -> None:
    """However many people there are: the trail is read for those of one page alone."""
    medic, officer = await place.as_("medic"), await place.as_("other", roles="privacy-officer")
    begun = [(await gate.break_glass(medic, place.person, f"Found for the {n}th time", WHY[1])).id for n in range(5)]
    begun.sort()  # of one instant: by their ids
    first, after = await gate.emergencies(officer, count=2)
    await gate.review(officer, first[0]["id"], "justified", "fine")  # meanwhile
    second, last = await gate.emergencies(officer, count=2, after=after)
    third, end = await gate.emergencies(officer, count=2, after=last)
    assert [e["id"] for e in (*first, *second, *third)] == begun and end == ""
    assert [e["id"] for e in (await gate.emergencies(officer, count=4))[0]] == begun[1:]
    for bad in ("x", "0-1", f"{after}'", after + "\n"):
        with pytest.raises(Problem) as refused:
            await gate.emergencies(officer, after=bad)
        assert refused.value.status == 400


@pytest.mark.parametrize("roles", ["privacy-officer", "operator", "operator privacy-officer"])
async def test_a_review_needs_a_sign_in_of_this_moment(place: Place, roles: str) -> None:
    begun = await gate.break_glass(await place.as_("medic"), place.person, *WHY)
    for age in (None, timedelta(minutes=6), -timedelta(minutes=6)):
        officer = await place.as_("other", roles=roles, age=age)
        for doing in (gate.review(officer, begun.id, "justified", "fine"), gate.stop_emergency(officer, begun.id)):
            with pytest.raises(Problem, match="Sign in again first") as refused:
                await doing
            assert "insufficient_user_authentication" in refused.value.headers["WWW-Authenticate"]
        assert [e["id"] for e in (await gate.emergencies(officer))[0]] == [begun.id], "the list is there to read"
    assert await place.sees()
    await gate.review(await place.as_("other", roles=roles, age=timedelta(minutes=4)), begun.id, "justified", "fine")


async def test_telling_the_person_is_left_out_where_it_would_endanger_them(place: Place) -> None:
    operator = gate.house_context(place.house, Actor("system", frozenset({"Device/op"}), "Device/op", operator=True))
    await gate.record(operator, place.person, "no-notify", evidence="a risk assessment")
    before = [await place.house.store.outbox(f"tell:{w}") for w in ("privacy-officer", "patient")]
    await gate.break_glass(await place.as_("medic"), place.person, *WHY)
    after = [await place.house.store.outbox(f"tell:{w}") for w in ("privacy-officer", "patient")]
    assert after[0] != before[0] and after[1] == before[1]


# -- guessing ---------------------------------------------------------------------------------------------------------


async def test_guessing_is_slowed_and_written_down(place: Place) -> None:
    wrong = Named("9990000018", "1951-04-08", "Öztürk")
    ctx = await place.as_("medic")
    for n in range(10):
        with pytest.raises(Problem) as missed:
            await (gate.find(ctx, wrong) if n % 2 else gate.claim(ctx, wrong, "guessing"))
        assert missed.value.kind == "not-found"
    with pytest.raises(Problem) as slowed:
        await gate.find(ctx, wrong)
    assert slowed.value.status == 429 and int(slowed.value.headers["Retry-After"]) >= 1
    right = Named("9990000018", "1951-04-07", "Öztürk")
    with pytest.raises(Problem, match="Wait"):
        await gate.claim(await place.as_("medic"), right, "really")
    await gate.claim(await place.as_("other"), right, "others do not wait")
    place.at += timedelta(seconds=5)
    await gate.claim(await place.as_("medic"), right, "after a wait")
    rows = await place.house.store.notes(user=place.refs["medic"], count=100)
    assert sum(not r.allowed for r in rows) >= 12 and all("999" not in r.query + r.detail for r in rows)
    theirs = await place.house.store.notes(patient=f"Patient/{place.person}", count=100)
    assert sum(not r.allowed and r.user == place.refs["medic"] for r in theirs) == 10, "the person is shown who guessed at them"


async def test_guesses_made_at_once_do_not_slip_past(place: Place) -> None:
    ctx = await place.as_("medic")
    tries = [gate.find(ctx, Named("9990000018", f"1951-05-{d:02d}", "Öztürk")) for d in range(1, 31)]
    said = await asyncio.gather(*tries, return_exceptions=True)
    assert sum(isinstance(s, Problem) and s.kind == "not-found" for s in said) <= 10


async def test_who_is_found_does_not_count(place: Place) -> None:
    await gate.claim(await place.as_("medic"), place.person, "clinic")
    for _ in range(15):
        await gate.find(await place.as_("medic"), Named("9990000018", "1951-04-07", "Öztürk"))


# -- claims -----------------------------------------------------------------------------------------------------------


async def test_a_claim_counts_for_who_made_it_until_it_ends(place: Place) -> None:
    made = await gate.claim(await place.as_("medic"), place.person, "I see her in clinic", 3)
    assert await place.sees() and not await place.sees("other") and not await place.sees("medic", "kindly")
    for later, open in ((timedelta(days=3), True), (timedelta(days=3, seconds=2), False)):
        place.at = MORNING + later
        assert await place.sees() is open
    assert made.until == MORNING + timedelta(days=3)


async def test_a_claim_ends_at_once_by_either_hand(place: Place) -> None:
    person = Context(place.house, Actor("patient", frozenset({place.refs["person"]}), place.refs["person"], patient=place.refs["person"]), place.at)
    for end in ("claimant", "person"):
        made = await gate.claim(await place.as_("medic"), place.person, "clinic")
        assert await place.sees()
        if end == "claimant":
            await gate.end_claim(await place.as_("medic"), place.person)
        else:
            with pytest.raises(Problem):
                await gate.disown(await place.as_("other"), made.id)
            await gate.disown(person, made.id)
        assert not await place.sees()
    with pytest.raises(Problem) as over:
        await gate.disown(person, made.id)
    assert over.value.status == 404


async def test_a_claim_is_said_three_times_a_day_and_then_waits(place: Place) -> None:
    for _ in range(3):
        await gate.claim(await place.as_("medic"), place.person, "clinic")
    await gate.end_claim(await place.as_("medic"), place.person)
    with pytest.raises(Problem) as over:
        await gate.claim(await place.as_("medic"), place.person, "clinic")
    assert over.value.kind == "throttled" and 0 < int(over.value.headers["Retry-After"]) <= 86_401
    assert (await place.house.store.outbox("tell:patient")) == {"queued": 3} and not await place.sees()
    await gate.claim(await place.as_("other"), place.person, "others do not wait")
    place.at = MORNING + timedelta(hours=24, seconds=1)
    await gate.claim(await place.as_("medic"), place.person, "clinic")


@pytest.mark.parametrize("no", ["medic", "trust", "everybody"])
async def test_no_claim_while_the_persons_no_stands(place: Place, no: str) -> None:
    person = Context(place.house, Actor("patient", frozenset({place.refs["person"]}), place.refs["person"], patient=place.refs["person"]), place.at)
    if no == "everybody":
        choice = sharing.only_named(None, place.refs["person"], place.at)
    else:
        choice = sharing.hide(None, place.refs["person"], at=place.at, rule_id="r1", who=place.refs[no])
    held = await gate.create(person, "Consent", strict.dump(choice))
    right = Named("9990000018", "1951-04-07", "Öztürk")
    for whom in (place.person, right, "nobody", replace(right, family_name="Other")):
        with pytest.raises(Problem) as shut:
            await gate.claim(await place.as_("medic"), whom, "ring me")
        assert shut.value.kind == "not-found", whom
    assert (await place.house.store.outbox("tell:patient")).get("queued", 0) == 0
    rows = [r for r in await gate.who_looked(person, place.person) if r["what"] == "claim"]
    assert rows and not any(r["allowed"] or r["reason"] for r in rows)
    kept = await place.house.store.kept("finding", place.refs["medic"], place.at)
    assert kept is not None and strict.read(b'{"n":' + kept + b"}")["n"][0] == 2, "the right paper counts like the wrong one"
    if no != "medic":
        return
    await gate.claim(await place.as_("other"), place.person, "the no was to another")
    body = strict.read((await gate.read(person, held.ref)).body)
    await gate.update(person, held.ref, strict.dump({**body, "status": "inactive"}), if_match=held.version)
    await gate.claim(await place.as_("medic"), place.person, "clinic")
    assert await place.sees()


async def test_nobody_outside_health_and_social_care_claims(place: Place) -> None:
    for more in ({"place": "kindly"}, {"kind": "system"}, {"organisation": None}, {"organisation": "Organization/none"}):
        ctx = await place.as_("rosa", **more)
        for whom in (place.person, "nobody"):
            with pytest.raises(Problem) as refused:
                await gate.claim(ctx, whom, "I run her choir")
            assert refused.value.status == 403


async def test_a_claim_is_told_with_its_reason_and_brings_in_nobody_else(place: Place) -> None:
    await gate.claim(await place.as_("medic"), place.person, "I see her in clinic")
    assert (await place.house.store.outbox("tell:patient")) == {"queued": 1}
    person = Context(place.house, Actor("patient", frozenset({place.refs["person"]}), place.refs["person"], patient=place.refs["person"]), place.at)
    (row,) = [r for r in await gate.who_looked(person, place.person) if r["what"] == "claim"]
    assert row["reason"] == "I see her in clinic" and row["allowed"]
    task = {"resourceType": "Task", "status": "requested", "intent": "order", "for": {"reference": place.refs["person"]}, "owner": {"reference": place.refs["other"]}}
    written = await gate.create(await place.as_("medic"), "Task", strict.dump(task))
    await gate.accept(await place.as_("other"), written.ref)
    assert not await place.sees("other"), "one's own word is no right to refer"
