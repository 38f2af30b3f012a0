"""In step with a server that says what is not so: what was sent and taken in stays right, and nothing stops that has nothing to do with it.

The rows of design's table of faults that are about what the other side answers; the client by itself is in test_remote.py.
"""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, closing, contextmanager, suppress
from datetime import timedelta
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from fhir_gateway import gate, outbound
from fhir_gateway.domain import strict
from fhir_gateway.domain.types import Linked, Ref
from fhir_gateway.domain.vocabulary import HL7
from fhir_gateway.gate import Remote
from fhir_gateway.remote.client import Down, Locked, RemoteServer, Unknown
from fhir_gateway.store import sqlite
from fhir_gateway.sync import worker
from fhir_gateway.sync.backfill import backfill
from fhir_gateway.sync.partner import Partner
from fhir_gateway.sync.pull import pull
from fhir_gateway.sync.push import push

from .faults import invariants
from .faults.proxy import Weather, proxied
from .faults.scripted import Asked, Body, Habits, There, scripted
from .telling.place import Place
from .telling.servers import certificate, mail_server
from .test_remote import DEEP, NULL, OTHERS, TWICE, goal

ACTIONS = [{"coding": [{"system": f"{HL7}/consentaction", "code": c}]} for c in ("access", "disclose", "collect", "correct")]


class Beside(Place):
    """Amina's record, which her surgery may see, and the surgery's server."""

    there: There
    partner: Partner

    async def begin(self, file: Path, there: There, server: RemoteServer | None = None, **more: Any) -> Beside:
        """`more` is of the partner: how it is pulled."""
        return await self.begin_on(await sqlite.open(file, clock=lambda: self.now), there, server, more)

    async def begin_on(self, store: Any, there: There, server: RemoteServer | None = None, more: dict[str, Any] | None = None, **agreed: Any) -> Beside:
        self.there = there
        await self.open(store, Remote("hub", "surgery-code"))
        terms = Remote("hub", self.names["surgery"], **agreed)
        self.house.remotes = (terms,)
        self.partner = Partner(terms, server or RemoteServer(there.url, lambda: self.now, transport=there.transport()), **(more or {}))
        await backfill(self.house, self.partner)
        await self.grant("surgery", provision={"provision": [{"type": "permit", "actor": [self.reader()], "action": ACTIONS}]})
        await self.round()
        return self

    def reader(self) -> dict[str, Any]:
        role = {"coding": [{"system": f"{HL7}/v3-ParticipationType", "code": "IRCP"}]}
        return {"role": role, "reference": {"reference": self.names["surgery"]}}

    async def end(self) -> None:
        await self.partner.server.close()
        await self.house.store.close()

    async def round(self, times: int = 1) -> list[str]:
        """So many rounds of a worker, a minute apart; what stopped each."""
        why = []
        for _ in range(times):
            for one in (push(self.house, self.partner, "w"), pull(self.house, self.partner)):
                try:
                    while (await one).anything:
                        one = push(self.house, self.partner, "w")
                except (Down, Unknown, Locked) as e:
                    why.append(str(e))
            self.now += timedelta(seconds=61)
        return why

    async def settled(self) -> None:
        """Until nothing moves and nobody is away, twice: three hours of rounds at the most."""
        good = 0
        for _ in range(30):
            why, status = await self.round(), await self.status()
            good = good + 1 if not why and status["quiet"] and status["parked"] == 0 else 0
            if good == 2:
                return
            self.now += timedelta(minutes=5)

    async def status(self) -> dict[str, Any]:
        return await worker.status(self.house, self.partner)

    async def goal(self, text: str = "walk") -> Ref:
        body = {"resourceType": "Goal", "lifecycleStatus": "active", "description": {"text": text}, "subject": {"reference": self.names["amina"]}}
        ref = (await gate.create(self.me, "Goal", strict.dump(body))).ref
        self.names[text] = str(ref)
        return ref

    async def plan(self, goal: Ref) -> Ref:
        body = {"resourceType": "CarePlan", "status": "active", "intent": "plan", "goal": [{"reference": str(goal)}], "subject": {"reference": self.names["amina"]}}
        return (await gate.create(self.me, "CarePlan", strict.dump(body))).ref

    async def one_push(self) -> None:
        """Until nothing is due or that server is away."""
        with suppress(Down, Unknown, Locked):
            while (await push(self.house, self.partner, "w")).sent:
                pass

    def expunge(self, name: str) -> None:
        """Taken out there as if it had never been."""
        del self.there.held[name]
        self.there.history = [k for k in self.there.history if k.name != name]
        self.there.forget(name)

    async def text(self, ref: Ref) -> str:
        stored = await self.house.store.get(ref)
        assert stored is not None and stored.body is not None
        return str(strict.read(stored.body)["description"]["text"])

    async def link(self, ref: Ref) -> Linked | None:
        return await self.house.store.link("hub", ref)

    def texts(self) -> list[str]:
        return sorted(g["description"]["text"] for g in self.there.named("Goal"))

    async def waiting(self) -> set[str]:
        return {key.partition(" ")[2] for key in await self.house.store.kept_all("quarantine", self.now, "hub ")}


@asynccontextmanager
async def beside(folder: Path, habits: Habits | None) -> AsyncIterator[Beside]:
    there = There(habits)
    with mail_server() as post:
        place = Beside(post)
        there.clock = lambda: place.now
        yield await place.begin(folder / "store.sqlite", there)
        await place.end()


@pytest_asyncio.fixture
async def here(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Beside]:
    """With the habits of that server where a test names them."""
    async with beside(tmp_path, getattr(request, "param", None)) as place:
        yield place


# -- what it sends of its own ---------------------------------------------------------------------------------------------


async def test_one_bad_entry_waits_and_what_stands_beside_and_after_it_is_taken_and_sent(here: Beside) -> None:
    """An empty page, then a good entry between bad ones: all the good is here, each of the bad waits, and sending goes on."""
    here.there.fault("GET", "_history", times=1, body=b'{"resourceType":"Bundle","type":"history","entry":[]}')
    assert await here.round() == []
    person = here.there.named("Patient")[0]["id"]
    here.there.write(goal("theirs", lifecycleStatus="active", subject={"reference": f"Patient/{person}"}))
    here.there.extra = [NULL, DEEP, TWICE]
    ref = await here.goal()
    before = await here.house.store.kept_all("watermark", here.now, "hub ")
    assert await here.round(3) == []
    goals = [k.ref for k in [await here.house.store.link_by_remote("hub", f"Goal/{g['id']}") for g in here.there.named("Goal")] if k is not None]
    assert {await here.text(r) for r in goals} == {"theirs", "walk"} and ref in goals
    assert await here.waiting() == {"Goal/null", "Goal/deep", "Goal/twice"}
    assert await here.house.store.kept_all("watermark", here.now, "hub ") != before


HOSTILE: list[Body] = [
    {"subject": {"reference": "Patient/1", "identifier": "x"}}, {"subject": {"identifier": {"system": "https://fhir-gateway.example/id/held-back"}}},
    {"subject": {"identifier": {"system": "https://fhir-gateway.example/id/held-back", "value": 7}}}, {"subject": ["x"]}, {"subject": 5},
    {"extension": "x"}, {"extension": [5]}, {"identifier": "x"}, {"identifier": [["x"]]}, {"contained": ["x"]}, {"contained": [{"id": 5}]},
    {"text": "x"}, {"text": {"div": 5}}, {"description": "x"}, {"description": [1]}, {"meta": {"profile": 5}}, {"meta": {"profile": [{}]}},
    {"meta": {"tag": [{"system": 5, "code": {}}]}}, {"meta": {"security": [{"system": [], "code": {}}]}}, {"lifecycleStatus": {}}, {"note": {}}, {"note": [5]},
    {"_lifecycleStatus": "x"}, {"target": [{"detailQuantity": 5}]}, {"implicitRules": "x"}, {"language": 5}, {"addresses": [{"reference": 5}]},
]  # fmt: skip


@pytest.mark.parametrize("known", [pytest.param(True, id="of ours"), pytest.param(False, id="new")])
async def test_a_resource_of_any_shape_is_taken_or_waits_and_stops_nothing(here: Beside, known: bool) -> None:
    await here.goal()
    await here.round()
    (ours,) = here.there.named("Goal")
    good = {"resourceType": "Goal", "lifecycleStatus": "active", "description": {"text": "walk"}, "subject": ours["subject"]}
    for n, wrong in enumerate(HOSTILE):
        told = {**ours, **wrong} if known else {**good, "id": f"h{n}", **wrong}
        if known:
            told["meta"] = {**ours["meta"], **wrong.get("meta", {}), "versionId": f"9{n}"}
        here.there.extra = [strict.dump({"fullUrl": f"x/Goal/{told['id']}", "resource": told})]
        assert await here.round() == [], wrong
    status = await here.status()
    assert status["quarantined"] + status["conflicts"] >= (1 if known else len(HOSTILE) - 5), "each was looked at that speaks of her"
    here.there.extra = []
    ref = await here.goal("after")
    await here.round()
    assert await here.link(ref) is not None


WHO: list[Body] = [
    {"identifier": "x"}, {"identifier": [5]}, {"identifier": [{"system": 5, "value": {}}]}, {"identifier": [{"value": ["x"]}]}, {"name": "x"}, {"name": [5]},
    {"name": [{"family": 5}]}, {"name": [{"family": ["x"]}]}, {"name": {"family": "x"}}, {"birthDate": 5}, {"birthDate": {}}, {"birthDate": "yesterday"},
    {"telecom": "x"}, {"link": ["x"]}, {"link": [{"other": "x"}]}, {"generalPractitioner": "x"}, {"deceasedBoolean": "x"}, {"address": [5]}, {"meta": {"security": [{"system": 1}]}},
]  # fmt: skip


async def test_a_person_of_any_shape_waits_and_stops_nothing(here: Beside) -> None:
    for n, wrong in enumerate(WHO):
        (ours,) = here.there.named("Patient")
        told = {**ours, **wrong, "meta": {**ours["meta"], **wrong.get("meta", {}), "versionId": f"9{n}"}}
        here.there.extra = [strict.dump({"resource": told})]
        assert await here.round() == [], wrong
    assert await here.waiting() == {"Patient/t1"}


# -- what it answers ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["another id", *(pytest.param(h, marks=pytest.mark.slow) for h in OTHERS if h != "another id")])
async def test_a_link_is_not_moved_by_an_answer_about_something_else(here: Beside, how: str) -> None:
    ref, other = await here.goal(), await here.goal("other")
    await here.round()
    before = await here.link(ref)
    assert before is not None and await here.link(other) is not None
    rule = here.there.fault("PUT", before.remote_id, **{"applied": True, **OTHERS[how]})
    await here.change(here.me, "walk", description={"text": "run"})
    with pytest.raises((Down, Unknown)):
        await push(here.house, here.partner, "w")
    assert await here.link(ref) == before and here.texts() == ["other", "run"]
    here.there.rules.remove(rule)
    await here.settled()
    after = await here.link(ref)
    assert after is not None and after.remote_id == before.remote_id and after.version == 2 and (await here.status())["quiet"]
    assert await here.text(ref) == "run" and here.texts() == ["other", "run"]


@pytest.mark.slow
@pytest.mark.parametrize("how", OTHERS)
async def test_what_was_created_and_answered_with_something_else_is_there_once(here: Beside, how: str) -> None:
    here.there.fault("POST", "Goal", times=2, **{"applied": True, **OTHERS[how]})
    ref = await here.goal()
    await here.settled()
    link = await here.link(ref)
    assert here.texts() == ["walk"] and link is not None and link.remote_id == f"Goal/{here.there.named('Goal')[0]['id']}"
    for key in [k for k in here.names if k.startswith("consent")]:
        await here.change(here.me, key, status="inactive")
    here.there.fault("DELETE", "Goal", times=1, body=b"<html>")
    await here.settled()
    assert here.texts() == [] and all(d.recalled for d in await here.house.store.ledger(remote="hub"))


async def test_one_resource_that_is_not_ours_to_touch_is_parked_and_the_others_go(here: Beside) -> None:
    here.there.fault("POST", "Goal", status=403, when=lambda a: b"no" in a.raw)
    await here.goal("no")
    await here.goal("yes")
    await here.round(12)
    assert here.texts() == ["yes"] and (await here.status())["parked"] == 1


async def test_while_it_asks_to_wait_nobody_of_us_asks_it_anything(here: Beside) -> None:
    for n in range(5):
        await here.goal(f"g{n}")
    here.there.fault("POST", "Goal", times=1, status=429, headers={"Retry-After": "120"})
    asked = len(here.there.asked)
    await here.round(2)  # two minutes
    assert [(a.method, a.path.split("/")[0]) for a in here.there.asked[asked:]] == [("GET", "Patient"), ("POST", "Goal")], "who has her id there, and then it"
    await here.settled()
    assert len(here.texts()) == 5


# -- the rows of the table ------------------------------------------------------------------------------------------------

Told = Callable[[There], object]
NO = b"<html>away</html>"


def fault(method: str, path: str, **what: Any) -> Told:
    return lambda there: there.fault(method, path, **what)


def rows() -> Iterator[tuple[str, Habits, Told]]:
    """A name, how the server is, and what happens for a while."""
    for status in (500, 502, 503, 504, 408):
        for applied in (False, True):
            yield f"E4-{status}-{applied}", Habits(), fault("", "Goal", times=3, status=status, applied=applied)
    for text in ("7", "Thu, 26 Nov 2026 09:00:00 GMT", "1000000000", "-1", "soon"):
        yield f"E5-{text}", Habits(), fault("", "", times=2, status=429, headers={"Retry-After": text})
    yield "E7-401", Habits(), fault("", "", times=4, status=401)
    yield "E7-403", Habits(), fault("", "", times=3, status=403)
    for cut in ("before", "middle"):
        for applied in (False, True):
            yield f"E3-{cut}-{applied}", Habits(), fault("", "Goal", times=3, cut=cut, applied=applied)
    yield "E10-html", Habits(), fault("", "", times=3, body=NO, headers={"Content-Type": "text/html"}, applied=True)
    yield "E10-bomb", Habits(), fault("GET", "", times=1, bomb=21_000_000)
    yield "E15", Habits(), fault("", "", times=3, status=307, headers={"Location": "http://there.test/fhir/Goal/elsewhere"})
    for etag in ("weak", "strong", "none", "odd"):
        for versions in ("numbers", "jumps", "words", "none"):
            for feed in ("system", "type", "search"):
                yield f"E14-{etag}-{versions}-{feed}", Habits(etag=etag, versions=versions, feed=feed), lambda t: None  # type: ignore[arg-type]
    for habit in ({"minimal": True}, {"must_match": True}, {"stale": 409}, {"stamps": "s"}, {"skew": timedelta(minutes=10)}, {"skew": timedelta(minutes=-10)},
                  {"conditional_create": False}, {"next": "twice", "page": 2}, {"next": "relative", "page": 2}, {"delete_answers": 200}):  # fmt: skip
        yield f"E12-{habit}", Habits(**habit), lambda t: None  # type: ignore[arg-type]


@pytest.mark.slow
@pytest.mark.parametrize(("here", "told"), [(h, t) for _, h, t in rows()], ids=[n for n, _, _ in rows()], indirect=["here"])
async def test_whatever_it_is_like_both_sides_are_the_same_in_the_end(here: Beside, told: Told) -> None:
    """A goal is sent, changed here, changed there, changed on both sides in different places; then consent ends."""
    told(here.there)
    ref = await here.goal()
    await here.settled()
    assert here.texts() == ["walk"]
    told(here.there)
    await here.change(here.me, "walk", description={"text": "run"})
    await here.settled()
    assert here.texts() == ["run"]
    told(here.there)
    (there,) = here.there.named("Goal")
    here.there.write({**there, "description": {"text": "swim"}})
    await here.settled()
    assert await here.text(ref) == "swim"
    told(here.there)
    here.there.write({**here.there.named("Goal")[0], "startDate": "2026-11-01"})
    await here.change(here.me, "walk", statusDate="2026-11-02")
    await here.settled()
    (there,), stored = here.there.named("Goal"), await here.house.store.get(ref)
    assert stored is not None and stored.body is not None
    for both in (there, strict.read(stored.body)):
        assert (both["description"]["text"], both["startDate"], both["statusDate"]) == ("swim", "2026-11-01", "2026-11-02")
    told(here.there)
    for key in [k for k in here.names if k.startswith("consent")]:
        await here.change(here.me, key, status="inactive")
    await here.settled()
    assert here.texts() == [] and all(d.recalled for d in await here.house.store.ledger(remote="hub"))
    assert (await here.status())["quiet"] and not await here.waiting()
    assert await invariants.wrong(here.house, [(here.partner, here.there)]) == []


# -- the line -------------------------------------------------------------------------------------------------------------


@contextmanager
def slowly(server: RemoteServer, seconds: float) -> Iterator[None]:
    """The same waits as ever, on a scale that a test has time for."""
    import httpx2

    server.http.timeout = httpx2.Timeout(seconds)
    yield


@pytest.mark.slow
@pytest.mark.parametrize(
    "weather", [None, Weather(silent=True), Weather(reset_after=0), Weather(limit=80), Weather(limit=300), Weather(slices=7), Weather(slow_close=0.2), Weather(latency=0.05), Weather(bandwidth=300)], ids=str
)
async def test_whatever_the_line_is_like_what_was_sent_is_there_once_when_it_is_good_again(tmp_path: Path, weather: Weather | None) -> None:
    """E1 (nobody answers), E2 (hangs before or in the middle of an answer), E3 (reset)."""
    with mail_server() as post, scripted() as there, proxied(there.url) as line:
        place = Beside(post)
        there.clock = lambda: place.now
        server = RemoteServer(line.url, lambda: place.now)
        with slowly(server, 0.3):
            here = await place.begin(tmp_path / "store.sqlite", there, server)
            ref = await here.goal()
            if weather is None:
                line.down()
            else:
                line.weather = weather
            why = await here.round(2)
            assert why or weather is None or weather.slices or weather.slow_close or weather.latency
            if weather is None:
                line.up()
            line.weather = Weather()
            await here.settled()
            assert here.texts() == ["walk"] and (await here.status())["quiet"] and await here.link(ref) is not None
            assert await invariants.wrong(here.house, [(here.partner, there)]) == []
            await here.end()


async def test_a_key_that_has_ended_there_pauses_everything_and_loses_nothing(here: Beside) -> None:
    rule = here.there.fault("", "", status=401)
    ref = await here.goal()
    asked = len(here.there.asked)
    assert await here.round(2) == ["it answered 401"] * 4, "sending and asking, each once in a round"
    assert len(here.there.asked) == asked + 4 and (await here.status())["queued"] == 1
    with pytest.raises(Locked):
        await worker.once(here.house, here.partner)
    assert (await here.status())["paused"]
    here.there.rules.remove(rule)
    await here.settled()
    assert here.texts() == ["walk"] and await here.link(ref) is not None


async def test_a_partner_whose_certificate_has_ended_is_away_and_hears_nothing(tmp_path: Path) -> None:
    """E1: for an hour or a week; when it is renewed, what waited goes."""
    for ends, good in ((-timedelta(days=1), False), (timedelta(days=1), True)):
        trusted, tls = certificate(tmp_path, ends=ends)
        with scripted(tls=tls) as there:
            server = RemoteServer(there.url, there.clock, transport=outbound.Transport(trusted))
            if good:
                assert (await server.create("Goal", goal(), "_tag=urn:x|1")).status == 201
            else:
                with pytest.raises(Down, match="cannot be reached") as away:
                    await server.create("Goal", goal(), "_tag=urn:x|1")
                assert not away.value.arrived
            await server.close()
            assert len(there.asked) == good


async def test_an_answer_that_drips_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each byte comes in time, and the answer never."""
    monkeypatch.setattr("fhir_gateway.remote.client.PAGE_SECONDS", 0.2)
    monkeypatch.setattr("fhir_gateway.remote.client.WHOLE_SECONDS", 0.2)
    with scripted() as there:
        server = RemoteServer(there.url, there.clock)
        there.fault("", "", body=b" " * 1000, drip=0.05)
        asked: Callable[[], Any]
        for asked, raised in (
            (server.abilities, Down), (lambda: server.read("Goal", "1"), Down), (lambda: server.create("Goal", goal(), "x"), Unknown),
        ):  # fmt: skip
            with pytest.raises(raised, match="TimeoutError"):
                await asked()
        await server.close()


def test_the_script_knows_what_arrived() -> None:
    assert Asked("PUT", "Goal/1", {}, {}, b'{"a":1}', 0.0).sent == {"a": 1}


# -- when it is tried again (E1, R6) --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("chance", "part"), [(0.0, 0.75), (1.0, 1.25)])
@pytest.mark.parametrize(("tries", "about"), [(0, 1), (4, 16), (12, 240), pytest.param(5_000, 240, id="after half a month")])
async def test_a_try_comes_again_after_a_second_to_five_minutes_a_quarter_more_or_less(here: Beside, tmp_path: Path, tries: int, about: float, chance: float, part: float) -> None:
    await here.goal()
    here.there.fault("POST", "Goal", status=503)
    here.house.chance = lambda: chance
    with closing(sqlite3.connect(tmp_path / "store.sqlite")) as db:
        db.execute("UPDATE outbox SET tries = ? WHERE type = 'Goal'", (tries,))
        db.commit()
    with pytest.raises(Down):
        await push(here.house, here.partner, "w")
    (item,) = await here.house.store.outbox_items("hub", "queued")
    assert (item["due"] - here.now).total_seconds() == about * part


async def test_the_ledger_says_by_which_state_of_her_consents_it_went(here: Beside) -> None:
    await here.goal()
    await here.round()
    (first,) = [d for d in await here.house.store.ledger(remote="hub") if d.ref.type == "Goal"]
    assert first.epoch == await here.house.store.epoch(here.names["amina"]) > 0
    await here.grant("hospital")
    here.there.fault("PUT", "Goal", times=1, cut="before", applied=True)
    await here.change(here.me, "walk", description={"text": "run"})
    await here.round(3)
    last = max((d for d in await here.house.store.ledger(remote="hub") if d.ref.type == "Goal"), key=lambda d: d.version)
    assert last.version == 2 and last.epoch == await here.house.store.epoch(here.names["amina"]) > first.epoch


async def test_a_run_counts_what_is_refused_once_and_begins_no_round_for_nothing_else(here: Beside) -> None:
    """Though it is said otherwise each time, and so looked at each time."""
    numbers = count()

    def otherwise(page: Body) -> Body:
        bad = {"resourceType": "Goal", "id": "bad", "note": None, "meta": {"versionId": str(next(numbers))}}
        return {**page, "entry": [*page.get("entry", []), {"resource": bad}]}

    here.there.fault("GET", "_history", change=otherwise)
    await here.goal()
    tally = await worker.once(here.house, here.partner, most=20)
    assert (tally.sent, tally.refused, tally.figures()["refused"]) == (1, 1, 1)
    assert 2 <= next(numbers) <= 3 and await here.waiting() == {"Goal/bad"}
