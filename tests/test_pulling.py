"""A pull loses nothing and doubles nothing: whatever the feed is like, wherever it is killed, however often it comes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest
import pytest_asyncio

from fhir_gateway import gate
from fhir_gateway.domain import strict
from fhir_gateway.domain.limits import Limits
from fhir_gateway.domain.types import Keep, Linked, Op, Ref
from fhir_gateway.gate import Remote
from fhir_gateway.remote.client import Down, RemoteServer
from fhir_gateway.store import sqlite
from fhir_gateway.store.base import TooBig, Unavailable
from fhir_gateway.store.journalled import opening
from fhir_gateway.sync import one_by_one, taking, worker
from fhir_gateway.sync.foreseeing import preview
from fhir_gateway.sync.partner import Partner
from fhir_gateway.sync.pull import pull
from fhir_gateway.sync.push import push
from fhir_gateway.sync.replaying import replay
from fhir_gateway.sync.status import status
from fhir_gateway.sync.sweeping import reread, sweep
from fhir_gateway.sync.tally import Tally

from .faults import invariants
from .faults.scripted import Habits, There, scripted
from .telling.place import NOON, Place
from .telling.servers import mail_server

LOINC = "http://loinc.org"
Begin = Callable[..., Any]


class Killed(BaseException):
    """The process is gone: nothing after this happens."""


class Mortal:
    """A store whose process may die at its next commits: `dies` counts down to the one that is not made."""

    def __init__(self, store: Any) -> None:
        self.store, self.dies, self.commits = store, 0, 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.store, name)

    async def commit(self, *ops: Op) -> None:
        self.commits += 1
        if self.dies:
            self.dies -= 1
            if not self.dies:
                raise Killed
        await self.store.commit(*ops)


class Shared(Place):
    """Amina's record, and her surgery's server, which has her Patient and her Goal from us."""

    partner: Partner
    there: There

    async def begin(self, store: Any, there: There, **more: Any) -> Shared:
        self.there, self.mortal = there, Mortal(store)
        await self.open(self.mortal, Remote("hub", "surgery-code"))
        terms = Remote("hub", self.names["surgery"], **more)
        self.house.remotes = (terms,)
        self.partner = Partner(terms, RemoteServer(there.url, lambda: self.now))
        await self.grant("surgery")
        await self.change(replace(self.hospital, may_refer=True), "amina", generalPractitioner=[{"reference": self.names["surgery"]}])
        gp = await self.gp()
        for task in await store.patient_record(self.names["amina"], ["Task"]):
            await gate.accept(gp, task.ref)
        await self.push()
        self.her = f"Patient/{there.named('Patient')[0]['id']}" if there.named("Patient") else ""
        return self

    async def push(self) -> None:
        while (await push(self.house, self.partner, "w")).anything:
            pass

    async def pull(self) -> Tally:
        return await pull(self.house, self.partner)

    async def goal(self, text: str = "walk") -> Ref:
        body = {"resourceType": "Goal", "lifecycleStatus": "active", "description": {"text": text}, "subject": {"reference": self.names["amina"]}}
        ref = (await gate.create(self.me, "Goal", strict.dump(body))).ref
        self.names["goal"] = str(ref)
        await self.push()
        return ref

    def seen(self, words: str, type: str = "Observation", at: datetime | None = None, **more: Any) -> dict[str, Any]:
        """Somebody at the surgery writes down something about her, in their own server."""
        what: dict[str, Any] = {
            "Observation": {"status": "final", "code": {"text": words}},
            "Condition": {"code": {"text": words}},
            "Goal": {"lifecycleStatus": "active", "description": {"text": words}},
            "CarePlan": {"status": "active", "intent": "plan", "title": words},
        }[type]  # fmt: skip
        return self.there.write({"resourceType": type, **what, "subject": {"reference": self.her}, **more}, at)

    async def texts(self, type: str = "Observation") -> list[str]:
        """What is here of this type, by its text, as often as it is here."""
        found = await self.house.store.patient_record(self.names["amina"], [type])
        bodies = [strict.decode(s.body) for s in found if s.body is not None and not s.deleted]
        return sorted((b.get("code") or b.get("description") or {"text": b.get("title")})["text"] for b in bodies)

    async def quarantined(self) -> list[dict[str, Any]]:
        return [strict.decode(v) for v in (await self.house.store.kept_all("quarantine", self.now, "hub ")).values()]


@pytest_asyncio.fixture
async def begin(tmp_path: Path) -> AsyncIterator[Begin]:
    """`await begin(habits, **terms)`: the house and the server."""
    opened: list[Any] = []

    async def start(habits: Habits | None = None, **more: Any) -> Shared:
        place = Shared(post)
        store = await sqlite.open(tmp_path / "store.sqlite", clock=lambda: place.now)
        line = scripted(habits or Habits(), lambda: place.now)
        there = line.__enter__()
        opened.extend([place, store, line])
        return await place.begin(store, there, **more)

    with mail_server() as post:
        yield start
        if opened:
            place, store, line = opened
            await place.partner.server.close()
            await store.close()
            line.__exit__(None, None, None)


slow = pytest.mark.slow
FEEDS: tuple[Any, ...] = (pytest.param("system", marks=slow), pytest.param("type", marks=slow), "search")


# -- nothing is lost ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("feed", FEEDS[1:])
async def test_what_is_written_of_one_type_while_another_is_asked_for_comes_with_the_next_pull(begin: Begin, feed: str) -> None:
    here = await begin(Habits(feed=feed))
    here.seen("newest", "Observation", here.now + timedelta(seconds=50))
    here.now += timedelta(seconds=60)

    def meanwhile(_: Any) -> None:
        here.seen("meanwhile", "Condition", here.now - timedelta(seconds=20))

    here.there.fault("GET", "Observation", times=1, applied=True, act=meanwhile)
    await here.pull()
    here.now += timedelta(seconds=2)
    await here.pull()
    assert await here.texts("Observation") == ["newest"] and await here.texts("Condition") == ["meanwhile"]


@slow
@pytest.mark.parametrize("feed", FEEDS)
async def test_what_is_stamped_behind_what_was_seen_comes_all_the_same(begin: Begin, feed: str) -> None:
    """A row that was committed later under an earlier stamp, equal stamps, stamps to the second: no later than the overlap."""
    here = await begin(Habits(feed=feed, stamps="s", skew=timedelta(minutes=-10)))
    at = here.now - timedelta(minutes=10)
    for n in range(3):
        here.seen(f"same {n}", at=at)
    await here.pull()
    here.seen("late", at=at - timedelta(seconds=25))
    here.seen("same 3", at=at)
    here.now += timedelta(minutes=1)
    await here.pull()
    assert await here.texts() == ["late", "same 0", "same 1", "same 2", "same 3"]


async def test_a_clock_that_is_put_back_by_more_than_the_overlap_hides_nothing(begin: Begin) -> None:
    here = await begin(Habits(feed="search", skew=timedelta(minutes=10)))
    here.seen("before")
    await here.pull()
    here.there.habits.skew = timedelta(0)
    here.seen("after")
    here.now += timedelta(seconds=5)
    assert [i["why"] for i in [i async for i in preview(here.house, here.partner)]] == ["new there"]
    await here.pull()
    assert await here.texts() == ["after", "before"]
    here.mortal.commits = 0
    await here.pull()
    assert here.mortal.commits == 0, "the watermark fell once"


@pytest.mark.parametrize("feed", ["system", pytest.param("type", marks=slow)])
async def test_what_was_there_before_we_met_comes_whole_from_a_server_that_counted_its_history_before(begin: Begin, feed: str) -> None:
    """HAPI keeps the length of a history for a minute, by whoever asked: the newest of it come, and no link to the others."""
    here = await begin(Habits(feed=feed, counts_once=True))
    of = "Observation/" if feed == "type" else ""
    here.seen("first", at=here.now)
    assert httpx2.get(f"{here.there.url}/{of}_history").status_code == 200
    for n in range(4):
        here.now += timedelta(seconds=20)
        here.seen(f"{n}", at=here.now)
    await here.pull()
    await here.pull()
    assert await here.texts() == ["0", "1", "2", "3", "first"]


@pytest.mark.parametrize("page", [2, pytest.param(100, marks=slow)])
async def test_a_change_that_is_stamped_before_what_it_changes_is_the_one_that_counts(begin: Begin, page: int) -> None:
    """Their clock was put back, and a history is in the order of its stamps: what is newest stands behind."""
    here = await begin(Habits(page=page))
    new = here.seen("first")
    here.seen("beside", at=here.now - timedelta(seconds=5))
    here.there.write({**new, "code": {"text": "second"}}, here.now - timedelta(seconds=20))
    await here.pull()
    assert await here.texts() == ["beside", "second"]


@slow
@pytest.mark.parametrize("feed", FEEDS)
async def test_a_stamp_of_the_future_closes_nothing(begin: Begin, feed: str) -> None:
    here = await begin(Habits(feed=feed))
    here.seen("of next year", at=here.now + timedelta(days=365))
    await here.pull()
    here.now += timedelta(minutes=5)
    here.seen("now")
    await here.pull()
    assert await here.texts() == ["now", "of next year"]


@pytest.mark.parametrize("feed", FEEDS)
async def test_a_page_that_is_kept_no_longer_begins_the_window_anew(begin: Begin, feed: str) -> None:
    here = await begin(Habits(feed=feed, page=2))
    for n in range(7):
        here.seen(f"{n}", at=here.now + timedelta(seconds=n))
    here.there.fault("GET", "", times=1, skip=1, status=410, when=lambda asked: "_getpages" in asked.query)
    await here.pull()
    assert await here.texts() == [str(n) for n in range(7)]


async def test_a_search_for_changes_asks_for_their_order(begin: Begin) -> None:
    """Where the server has another of its own. design: sync.md R3"""
    here = await begin(Habits(feed="search", page=2))
    for n in range(5):
        here.seen(f"{n}", at=here.now + timedelta(seconds=n))
    here.there.asked.clear()
    await here.pull()
    asked = [a.query for a in here.there.requests("GET") if a.path == "Observation" and "_getpages" not in a.query]
    assert asked and {q.get("_sort") for q in asked} == {"_lastUpdated"}
    assert await here.texts() == [f"{n}" for n in range(5)]


@slow
async def test_pages_that_never_end_are_an_error_and_not_the_end(begin: Begin) -> None:
    here = await begin(Habits(feed="search", page=2))
    for n in range(5):
        here.seen(f"{n}", at=here.now + timedelta(seconds=n))
    here.there.habits.next = "itself"
    with pytest.raises(Down, match="to the end"):
        await here.pull()
    here.there.habits.next = "twice"
    await here.pull()
    assert await here.texts() == [str(n) for n in range(5)]


@slow
async def test_one_type_that_cannot_be_asked_for_stops_no_other(begin: Begin) -> None:
    here = await begin(Habits(feed="search"))
    here.seen("taken")
    here.there.fault("GET", "Condition", status=400)
    tally = await here.pull()
    assert await here.texts() == ["taken"] and sum(tally.ignored.values()) >= 1
    here.there.fault("GET", "", status=400, when=lambda asked: asked.path != "metadata")
    with pytest.raises(Down):
        await here.pull()


@slow
async def test_what_was_there_before_we_met_is_taken_like_anything_else(begin: Begin) -> None:
    here = await begin(Habits(feed="search"))
    here.seen("long ago", at=here.now - timedelta(days=900))
    here.there.write({"resourceType": "Observation", "status": "final", "code": {"text": "of another"}, "subject": {"reference": "Patient/other"}})
    tally = await here.pull()
    assert await here.texts() == ["long ago"] and tally.pulled == 1
    assert tally.ignored["about nobody whom this partner and we share"] == 1
    assert (await here.pull()).ignored.total() == 0, "said once"


@slow
async def test_what_refers_to_something_there_finds_it_here(begin: Begin) -> None:
    """Types are asked for one after the other, and a plan may be older than what it refers to."""
    here = await begin(Habits(feed="search"))
    condition = here.seen("breathless", "Condition", here.now + timedelta(seconds=9))
    goal = here.seen("breathe", "Goal", here.now + timedelta(seconds=8), addresses=[{"reference": f"Condition/{condition['id']}"}])
    here.seen("plan", "CarePlan", here.now, goal=[{"reference": f"Goal/{goal['id']}"}], addresses=[{"reference": f"Condition/{condition['id']}"}])
    here.now += timedelta(minutes=1)
    tally = await here.pull()
    assert tally.pulled == 3 and not await here.quarantined()
    link = await here.house.store.link_by_remote("hub", f"Goal/{goal['id']}")
    assert link is not None
    (plan,) = [s for s in await here.house.store.patient_record(here.names["amina"], ["CarePlan"])]
    assert strict.decode(plan.body or b"")["goal"] == [{"reference": str(link.ref)}]


# -- nothing is doubled -------------------------------------------------------------------------------------------------------------


async def test_killed_at_any_commit_everything_is_here_once(begin: Begin) -> None:
    """New, changed, deleted, in conflict: killed before each commit of the pull in turn, and begun anew."""
    here = await begin(Habits(feed="system"))
    ref = await here.goal()
    mine = next(b for b in here.there.named("Goal"))
    here.now += timedelta(minutes=5)
    await here.pull()
    for turn in range(1, 7):
        here.now += timedelta(minutes=1)
        here.seen(f"{turn}")
        here.there.write({**mine, "description": {"text": f"theirs {turn}"}})
        await here.change(here.me, "goal", description={"text": f"ours {turn}"})
        here.mortal.dies = turn
        with pytest.raises(Killed):
            for _ in range(9):
                await here.pull()
                here.there.write({**mine, "description": {"text": f"again {turn}"}})
        here.mortal.dies = 0
        here.partner.heard.clear()
        await here.pull()
        await here.push()
        await here.pull()
        assert await here.texts() == [str(n) for n in range(1, turn + 1)]
        mine = next(b for b in here.there.named("Goal"))
    stored = await here.house.store.get(ref)
    assert stored is not None and strict.decode(stored.body or b"")["description"] == mine["description"]


@slow
@pytest.mark.parametrize("dies", [1, 2])
async def test_a_deletion_is_not_lost_when_it_is_killed_on_the_way(begin: Begin, dies: int) -> None:
    here = await begin()
    new = here.seen("wrong")
    await here.pull()
    here.now += timedelta(minutes=1)
    here.there.remove(f"Observation/{new['id']}")
    here.mortal.dies = dies
    with pytest.raises(Killed):
        await here.pull()
    here.partner.heard.clear()
    await here.pull()
    assert await here.texts() == []


@slow
async def test_a_round_in_which_nothing_new_comes_writes_nothing(begin: Begin) -> None:
    """Neither what is known nor what was refused: it is met again in each overlap."""
    here = await begin()
    for n in range(4):
        here.seen(f"{n}")
    here.there.write({"resourceType": "Observation", "status": "no such status", "code": {"text": "x"}, "subject": {"reference": here.her}})
    await here.pull()
    assert len(await here.quarantined()) == 1
    before = here.mortal.commits
    for _ in range(3):
        await here.pull()
    assert here.mortal.commits == before


async def test_a_type_that_a_server_forbids_to_be_searched_since_it_does_not_offer_it_holds_back_no_other(begin: Begin) -> None:
    here = await begin(Habits(feed="search"))
    unsupported = {"resourceType": "OperationOutcome", "issue": [{"severity": "error", "code": "not-supported"}]}
    here.there.fault("GET", "Goal", status=403, body=strict.dump(unsupported))
    here.seen("behind it")
    here.now += timedelta(minutes=1)
    tally = await here.pull()
    assert await here.texts() == ["behind it"] and tally.ignored == {"that server refuses to be asked for this type": 1}


# -- deletions ----------------------------------------------------------------------------------------------------------------------


async def test_what_is_deleted_and_made_again_in_one_window_is_here_as_it_is_now(begin: Begin) -> None:
    here = await begin()
    new = here.seen("first")
    await here.pull()
    here.now += timedelta(minutes=1)
    here.there.remove(f"Observation/{new['id']}")
    here.there.write({**new, "code": {"text": "second"}})
    await here.pull()
    assert await here.texts() == ["second"]
    here.now += timedelta(minutes=1)
    here.there.write({**new, "code": {"text": "third"}})
    await here.pull()
    assert await here.texts() == ["third"]


@pytest.mark.parametrize("whose", ["theirs", *(pytest.param(w, marks=slow) for w in ("changed here", "deleted here"))])
async def test_what_is_gone_leaves_the_list_of_what_waits_in_the_commit_that_says_so(begin: Begin, whose: str) -> None:
    """Their deletion is read once as a page of HTML, as a proxy says it, and so waits in quarantine."""
    here = await begin()
    new = here.seen("first")
    await here.pull()
    (link,) = [link for link in await here.house.store.links("hub") if link.remote_id == f"Observation/{new['id']}"]
    if whose == "changed here":
        body = strict.decode((await here.house.store.get(link.ref)).body)
        await gate.update(await here.gp(), link.ref, strict.dump({**body, "code": {"text": "ours"}}), if_match=1)
    elif whose == "deleted here":
        await gate.remove(await here.gp(), link.ref, if_match=1)
    here.now += timedelta(minutes=1)
    here.there.remove(f"Observation/{new['id']}")
    here.there.fault("GET", f"Observation/{new['id']}", times=1, body=b"<html>", headers={"Content-Type": "text/html"})
    await here.pull()
    assert [i["id"] for i in await here.quarantined()] == [f"Observation/{new['id']}"]
    await here.pull()
    now = await here.house.store.link("hub", link.ref)
    assert now is not None and now.gone and await here.quarantined() == []


@pytest.mark.parametrize("feed", [pytest.param("system", marks=slow), "type"])
async def test_what_was_never_taken_and_is_deleted_there_leaves_the_list_of_what_waits(begin: Begin, feed: Any) -> None:
    here = await begin(Habits(feed=feed))
    new = here.seen("wrong", status="wrong")
    await here.pull()
    assert [i["id"] for i in await here.quarantined()] == [f"Observation/{new['id']}"]
    here.now += timedelta(minutes=1)
    here.there.remove(f"Observation/{new['id']}")
    await here.pull()
    assert await here.quarantined() == [] and await here.texts() == []


@slow
@pytest.mark.parametrize("feed", ["system", "type"])
async def test_what_comes_back_there_comes_back_here(begin: Begin, feed: str) -> None:
    here = await begin(Habits(feed=feed))
    new = here.seen("theirs")
    ref = await here.goal()
    mine = here.there.named("Goal")[0]
    await here.pull()
    for name in (f"Observation/{new['id']}", f"Goal/{mine['id']}"):
        here.there.remove(name)
    here.now += timedelta(minutes=1)
    await here.pull()
    assert await here.texts() == [] == await here.texts("Goal")
    here.there.write({**new, "code": {"text": "theirs again"}})
    here.now += timedelta(minutes=1)
    await here.pull()
    assert await here.texts() == ["theirs again"]
    stored = await here.house.store.get(ref)
    assert stored is not None and stored.deleted


@slow
async def test_a_record_of_theirs_that_was_deleted_here_does_not_come_back(begin: Begin) -> None:
    here = await begin()
    new = here.seen("theirs")
    await here.pull()
    link = await here.house.store.link_by_remote("hub", f"Observation/{new['id']}")
    assert link is not None
    surgery = await here.gp()
    await gate.remove(surgery, link.ref, if_match=1)
    here.there.write({**new, "code": {"text": "changed"}})
    here.now += timedelta(minutes=1)
    tally = await here.pull()
    assert await here.texts() == [] and tally.ignored == {"deleted here": 1}


@slow
async def test_an_older_state_that_comes_late_changes_nothing(begin: Begin) -> None:
    here = await begin()
    old = here.seen("old")
    await here.pull()
    here.now += timedelta(minutes=1)
    here.there.write({**old, "code": {"text": "new"}})
    await here.pull()
    assert await here.texts() == ["new"]
    late = {"resource": {**old, "meta": {**old["meta"], "versionId": "77"}}, "request": {"method": "PUT", "url": f"Observation/{old['id']}"}}
    here.there.extra = [strict.dump(late)]
    await here.pull()
    assert await here.texts() == ["new"]


# -- the sweep ----------------------------------------------------------------------------------------------------------------------


async def test_a_sweep_finds_what_no_feed_tells_of(begin: Begin) -> None:
    here = await begin(Habits(feed="search"))
    made = [here.seen(f"{n}") for n in range(5)]
    await here.pull()
    here.there.remove(f"Observation/{made[0]['id']}")
    here.seen("stamped years ago", at=here.now - timedelta(days=900))
    here.now += timedelta(hours=1)
    await here.pull()
    assert await here.texts() == ["0", "1", "2", "3", "4"], "no feed tells of it"
    here.now += timedelta(hours=24)
    await here.pull()
    assert await here.texts() == ["1", "2", "3", "4", "stamped years ago"]


@slow
@pytest.mark.parametrize(("feed", "pause"), [("system", timedelta(days=7)), ("type", timedelta(days=7)), ("search", timedelta(days=1))])
async def test_what_is_hidden_where_both_clocks_are_put_back_at_once_is_found_by_the_next_sweep(begin: Begin, feed: str, pause: timedelta) -> None:
    """No answer says so: it is stamped before the watermark, and nothing is of the future."""
    here = await begin(Habits(feed=feed))
    first = here.seen("first")
    await here.pull()
    here.now -= timedelta(minutes=10)
    here.seen("after")
    here.there.write({**first, "code": {"text": "first, changed"}})
    here.now += timedelta(seconds=5)
    await here.pull()
    here.now += pause + timedelta(minutes=11)
    await here.pull()
    assert await here.texts() == ["after", "first, changed"]


@slow
@pytest.mark.parametrize("feed", ["system", "type"])
async def test_what_was_expunged_and_is_in_no_history_is_found_by_a_sweep_each_week(begin: Begin, feed: str) -> None:
    here = await begin(Habits(feed=feed))
    made = [here.seen(f"{n}") for n in range(4)]
    await here.pull()
    await here.pull()
    gone = f"Observation/{made[0]['id']}"
    del here.there.held[gone], here.there._last[gone]
    here.there.history = [k for k in here.there.history if k.name != gone]
    here.now += timedelta(days=6)
    await here.pull()
    assert len(await here.texts()) == 4
    for _ in range(2):  # a 404 is seen twice
        here.now += timedelta(days=1)
        await here.pull()
    assert await here.texts() == ["1", "2", "3"]


@slow
async def test_a_list_that_lacks_most_of_what_is_known_deletes_nothing(begin: Begin, monkeypatch: pytest.MonkeyPatch) -> None:
    here = await begin(Habits(feed="search"))
    made = [here.seen(f"{n}") for n in range(5)]
    await here.pull()
    told: list[str] = []
    here.house.alarm = told.append
    for one in made:
        here.there.remove(f"Observation/{one['id']}")
    await sweep(here.house, here.partner)
    assert len(await here.texts()) == 5 and len(told) == 1 and "hub" in told[0]


@slow
async def test_another_gateway_that_hides_most_from_us_is_no_alarm_and_only_what_it_says_is_gone_is_deleted(begin: Begin, monkeypatch: pytest.MonkeyPatch) -> None:
    here = await begin(Habits(gateway="f" * 16))
    made = [here.seen(f"{n}") for n in range(5)]
    await here.pull()
    monkeypatch.setattr(here.house, "alarm", pytest.fail)
    here.there.remove(f"Observation/{made[0]['id']}")  # 410
    hidden = {f"Observation/{one['id']}" for one in made[1:4]}
    here.there.fault("GET", "Observation/", status=404, when=lambda a: a.path in hidden)
    here.there.fault("GET", "Observation", applied=True, when=lambda a: a.path == "Observation", change=lambda page: {**page, "entry": page["entry"][-1:]})
    for _ in range(2):
        await sweep(here.house, here.partner)
        here.now += timedelta(hours=1)
    assert await here.texts() == ["1", "2", "3", "4"] and (await status(here.house, here.partner))["missing"] == 0


@slow
async def test_what_is_missing_in_a_list_and_can_be_read_is_there(begin: Begin) -> None:
    here = await begin(Habits(feed="search"))
    made = [here.seen(f"{n}") for n in range(5)]
    await here.pull()
    here.there.fault("GET", "Observation", applied=True, when=lambda a: a.path == "Observation", change=lambda page: {**page, "entry": page["entry"][1:]})
    await sweep(here.house, here.partner)
    assert len(await here.texts()) == len(made)


# -- the agreement ------------------------------------------------------------------------------------------------------------------


@slow
@pytest.mark.parametrize("feed", FEEDS)
async def test_types_that_are_not_agreed_on_are_not_taken(begin: Begin, feed: str) -> None:
    here = await begin(Habits(feed=feed), types=frozenset({"Patient", "Goal", "Observation"}))
    here.seen("agreed")
    here.seen("not agreed", "Condition")
    tally = await here.pull()
    assert await here.texts() == ["agreed"] and await here.texts("Condition") == []
    assert tally.ignored["not of the types agreed on"] == (1 if feed == "system" else 0)
    here.partner.terms = Remote("hub", here.names["surgery"])
    here.now += timedelta(hours=1)
    await here.pull()
    assert await here.texts("Condition") == ["not agreed"], "agreed on later, it comes"


@slow
async def test_where_only_ours_goes_there_theirs_is_not_taken_and_not_lost(begin: Begin) -> None:
    here = await begin(direction="out")
    ref = await here.goal("ours")
    mine = here.there.named("Goal")[0]
    here.there.write({**mine, "description": {"text": "theirs"}})
    await here.change(here.me, "goal", description={"text": "ours, later"})
    await here.push()
    stored = await here.house.store.get(ref)
    assert stored is not None and strict.decode(stored.body or b"")["description"] == {"text": "ours, later"}
    assert here.there.named("Goal")[0]["description"] == {"text": "ours, later"}
    (kept,) = (await here.house.store.kept_all("conflict", here.now, "hub ")).values()
    assert strict.decode(kept)["theirs"]["description"] == {"text": "theirs"}


# -- our tag on what we do not know ---------------------------------------------------------------------------------------------------


@slow
async def test_a_clone_of_our_copy_waits_for_a_person_to_say_whose_it_is(begin: Begin) -> None:
    here = await begin()
    await here.goal("walk")
    copy = {k: v for k, v in here.there.named("Goal")[0].items() if k != "id"}
    clone = here.there.write({**copy, "description": {"text": "cloned"}})
    await here.pull()
    assert await here.texts("Goal") == ["walk"] and [q["id"] for q in await here.quarantined()] == [f"Goal/{clone['id']}"]
    here.there.write({**clone, "meta": {}})
    await here.pull()
    assert not await here.quarantined(), "it is taken in, so it waits no more"
    assert await here.texts("Goal") == ["cloned", "walk"] and len(here.there.named("Goal")) == 2


@slow
async def test_a_copy_of_ours_that_no_link_knows_is_linked_again(begin: Begin) -> None:
    here = await begin()
    ref = await here.goal("walk")
    link = await here.house.store.link("hub", ref)
    assert link is not None
    await here.house.store.commit(Linked("hub", ref, "Goal/none", gone=True))
    here.there.write({**here.there.named("Goal")[0], "startDate": "2026-11-01"})
    await here.pull()
    await here.push()
    await here.pull()
    again = await here.house.store.link("hub", ref)
    assert again is not None and again.remote_id == link.remote_id and not again.gone
    stored = await here.house.store.get(ref)
    assert stored is not None and strict.decode(stored.body or b"")["startDate"] == "2026-11-01"
    assert len(here.there.named("Goal")) == 1


# -- hostile ------------------------------------------------------------------------------------------------------------------------


@slow
async def test_what_a_client_may_not_send_a_partner_may_not_send_either(begin: Begin) -> None:
    here = await begin()
    other = {"resourceType": "Patient", "name": [{"family": "Other"}]}
    bob = str((await gate.create(here.hospital, "Patient", strict.dump(other))).ref)
    held_back = {"system": "https://fhir-gateway.example/id/held-back", "value": bob}
    script = '<div xmlns="http://www.w3.org/1999/xhtml"><script>x()</script></div>'
    here.seen("script", text={"status": "generated", "div": script})
    here.seen("of another", performer=[{"reference": here.her}], subject={"identifier": held_back})
    here.seen("good")
    here.there.write({"resourceType": "Observation", "id": "..", "status": "final", "code": {"text": "id"}, "subject": {"reference": here.her}})
    await here.pull()
    assert await here.texts() == ["good"] and len(await here.quarantined()) == 3
    assert not await here.house.store.patient_record(bob, ["Observation"])


# -- after a restore ----------------------------------------------------------------------------------------------------------------


async def test_after_a_restore_what_they_have_is_read_before_anything_is_sent(begin: Begin) -> None:
    """Where no ETag would stop it, what they wrote since would be overwritten."""
    here = await begin(Habits(feed="search", etag="none", versions="none"))
    ref = await here.goal("walk")
    here.there.write({**here.there.named("Goal")[0], "description": {"text": "theirs since"}})
    await here.change(here.me, "goal", startDate="2026-11-01")
    await here.house.store.commit(*opening(here.now))
    await worker.once(here.house, here.partner)
    stored = await here.house.store.get(ref)
    assert stored is not None
    for side in (strict.decode(stored.body or b""), here.there.named("Goal")[0]):
        assert (side["description"], side["startDate"]) == ({"text": "theirs since"}, "2026-11-01")
    assert (await reread(here.house, here.partner)) == Tally(), "once for each restore"
    assert await invariants.wrong(here.house, [(here.partner, here.there)]) == []


# -- from before --------------------------------------------------------------------------------------------------------------------


@slow
async def test_the_watermark_of_an_earlier_version_is_taken_over(begin: Begin) -> None:
    here = await begin(Habits(feed="search"))
    here.seen("before", at=NOON - timedelta(days=9))
    await here.house.store.commit(Keep("watermark", "hub", b"2026-11-20T00:00:00.000Z"))
    here.seen("after")
    await here.pull()
    assert await here.texts() == ["after"]
    assert await here.house.store.kept("watermark", "hub", here.now) is None


# -- a dry run ------------------------------------------------------------------------------------------------------------------------


async def test_a_dry_run_says_what_a_pull_would_do_and_writes_nothing(begin: Begin) -> None:
    here = await begin()
    await here.goal("walk")
    gone, changed = here.seen("gone"), here.seen("changed")
    await here.pull()
    here.now += timedelta(minutes=1)
    here.there.remove(f"Observation/{gone['id']}")
    here.there.write({**changed, "status": "amended"})
    bad = here.there.write({"resourceType": "Observation", "status": "no such status", "code": {"text": "x"}, "subject": {"reference": here.her}})
    staff = here.there.write({"resourceType": "Practitioner", "active": True})
    new = here.seen("new")
    before = here.mortal.commits
    found = {item["ref"]: (item["would"], item["why"]) async for item in preview(here.house, here.partner)}
    assert here.mortal.commits == before
    assert found[f"Observation/{bad['id']}"] == ("refuse", "code-invalid at Observation.status"), "no list says what stands in a record"
    found = {ref: said for ref, said in found.items() if ref != f"Observation/{bad['id']}" and not ref.startswith("Organization/")}
    assert found == {
        f"Observation/{gone['id']}": ("receive", "deleted there"), f"Observation/{changed['id']}": ("receive", "changed there"),
        f"Observation/{new['id']}": ("receive", "new there"), f"Practitioner/{staff['id']}": ("ignore", "of the directory, which is kept here"),
    }  # fmt: skip
    tally = await here.pull()
    assert (tally.pulled, tally.refused) == (3, 1), "and so it is"


@pytest.mark.slow
async def test_a_first_reading_is_heard_of_as_it_goes_and_goes_on_where_it_was_stopped(begin: Begin) -> None:
    here = await begin()
    for n in range(120):
        here.seen(f"step {n:03}")
    heard: list[int] = []
    left: dict[int, int | None] = {}

    def told(tally: Tally, more: int | None) -> None:
        heard.append(tally.pulled)
        left.setdefault(tally.pulled, more)

    stopped = await worker.once(here.house, here.partner, "w", stopped=lambda: bool(heard and heard[-1] >= 50), told=told)
    assert 50 <= stopped.pulled < 120 and len(await here.texts()) == stopped.pulled
    assert [n for n in heard if n][:2] == [25, 50], "and not only at the end"
    assert left[25] is left[50] is None, "how much there is to read nobody says"
    rest = await worker.once(here.house, here.partner, "w")
    assert rest.pulled == 120 - stopped.pulled and await here.texts() == [f"step {n:03}" for n in range(120)]


async def test_what_no_record_of_this_store_can_hold_waits_and_what_comes_beside_and_after_it_is_taken_in(begin: Begin, monkeypatch: pytest.MonkeyPatch) -> None:
    """As MongoDB says it of a document of 16 MB: of what is written, and of a link that holds what both sides agreed on."""
    here = await begin()
    written = here.mortal.store.commit

    async def commit(*ops: Op) -> None:
        if any(b"large" in value for op in ops for value in (getattr(op, "body", None), getattr(op, "base_received", None)) if value):
            raise TooBig("more than one document holds")
        await written(*ops)

    monkeypatch.setattr(here.mortal.store, "commit", commit)
    here.seen("large")
    beside = here.seen("beside it")
    await here.pull()
    here.seen("after it")
    here.there.write({**beside, "note": [{"text": "large"}]})
    await here.pull()
    assert await here.texts() == ["after it", "beside it"]
    kept = await here.quarantined()
    assert [q["kind"] for q in kept] == ["too-large", "too-large"] and f"Observation/{beside['id']}" in {q["id"] for q in kept}


@pytest.mark.parametrize("much", [{"note": [{"text": "x"}] * 41}, {"extension": [{"url": f"http://x/{n}", "valueString": "x"} for n in range(40)]}, {"note": [{"text": "x" * 90_000}]}])
async def test_what_no_client_may_send_is_taken_from_no_partner_either(begin: Begin, much: dict[str, Any]) -> None:
    here = await begin()
    here.partner.limits = Limits(items=40, elements=60, body=20_000)
    here.seen("large", **much)
    beside = here.seen("beside it")
    await here.pull()
    here.there.write({**beside, **much})
    here.seen("after it")
    await here.pull()
    assert await here.texts() == ["after it", "beside it"]
    kept = await here.quarantined()
    assert [(q["kind"], q["people"]) for q in kept] == [("too-large", [here.names["amina"]])] * 2
    here.there.write(beside)
    await here.pull()
    assert len(await here.quarantined()) == 1 and await here.texts() == ["after it", "beside it"], "made smaller there, it waits no more"


async def test_what_an_extension_changes_the_meaning_of_waits_whole_for_somebody_and_is_in_no_plan(begin: Begin) -> None:
    here = await begin()
    not_so = {"modifierExtension": [{"url": "https://example.org/not", "valueBoolean": True}]}
    theirs = here.seen("walk", "Goal", **not_so)
    here.seen("sing", "Goal")
    await here.pull()
    (waits,) = await here.quarantined()
    assert await here.texts("Goal") == ["sing"]
    assert (waits["id"], waits["kind"]) == (f"Goal/{theirs['id']}", "invalid") and not_so["modifierExtension"][0]["url"] in str(waits)
    here.there.write({k: v for k, v in theirs.items() if k != "modifierExtension"})
    await here.pull()
    assert sorted(await here.texts("Goal")) == ["sing", "walk"] and not await here.quarantined(), "plain there, it is taken in"


@pytest.mark.parametrize("feed", ["search", pytest.param("system", marks=slow)])
async def test_a_fault_of_ours_with_one_change_stops_nothing_that_comes_beside_and_after_it(begin: Begin, monkeypatch: pytest.MonkeyPatch, feed: Any) -> None:
    here = await begin(Habits(feed=feed))
    applied = one_by_one.apply

    async def apply(house: Any, partner: Any, change: Any, *args: Any, **more: Any) -> Tally:
        if change["resource"] and "odd" in str(change["resource"]):
            raise KeyError(change["resource"]["code"]["text"])
        return await applied(house, partner, change, *args, **more)

    monkeypatch.setattr(one_by_one, "apply", apply)
    here.seen("odd")
    here.seen("beside it")
    await here.pull()
    here.seen("after it")
    await here.pull()
    assert await here.texts() == ["after it", "beside it"]
    (waits,) = await here.quarantined()
    assert waits["body"]["code"]["text"] == "odd" and waits["outcome"]["issue"][0]["details"]["coding"][0]["code"] == "fault"
    assert waits["people"] == [here.names["amina"]]
    monkeypatch.undo()
    await replay(here.house, here.partner, here.operator, waits["id"])
    assert await here.texts() == ["after it", "beside it", "odd"] and not await here.quarantined(), "mended, it is taken in again"


def tripping(monkeypatch: pytest.MonkeyPatch) -> None:
    """A fault of ours: whatever says `odd` cannot be taken in."""
    applied = taking._applied

    async def odd(house: Any, partner: Any, change: Any, *args: Any) -> Tally:
        if change["resource"] and "odd" in str(change["resource"]):
            raise KeyError(change["id"])
        return await applied(house, partner, change, *args)

    monkeypatch.setattr(taking, "_applied", odd)


async def test_a_dry_run_says_of_what_a_fault_of_ours_keeps_out_that_it_is_refused_and_goes_on(begin: Begin, monkeypatch: pytest.MonkeyPatch) -> None:
    here = await begin()
    tripping(monkeypatch)
    found = {}
    for text in ("before it", "odd", "after it"):
        found[f"Observation/{here.seen(text)['id']}"] = text
    said = {found[item["ref"]]: item["would"] async for item in preview(here.house, here.partner)}
    assert said == {"before it": "receive", "odd": "refuse", "after it": "receive"}
    assert not await here.quarantined(), "nothing is written"


async def test_a_fault_of_ours_with_what_they_made_of_our_copy_holds_back_no_withdrawal(begin: Begin, monkeypatch: pytest.MonkeyPatch) -> None:
    """Consent before their edit: it goes as it is there, and what they wrote waits for a person."""
    here = await begin()
    ref = await here.goal()
    here.there.write({**here.there.named("Goal")[0], "note": [{"text": "odd"}]})
    tripping(monkeypatch)
    await here.refuse("surgery")
    await here.push()
    assert here.there.named("Goal") == []
    (row,) = [d for d in await here.house.store.ledger(remote="hub") if d.ref == ref]
    assert row.recalled
    (waits,) = await here.quarantined()
    assert waits["body"]["note"] == [{"text": "odd"}] and waits["outcome"]["issue"][0]["details"]["coding"][0]["code"] == "fault"


async def test_a_fault_of_ours_with_one_of_theirs_stops_nobody_who_reads_the_others_again(begin: Begin, monkeypatch: pytest.MonkeyPatch) -> None:
    here = await begin()
    for text in ("walk", "swim"):
        await here.goal(text)
    for goal in here.there.named("Goal"):
        here.there.write({**goal, "note": [{"text": "odd" if goal["description"]["text"] == "walk" else "theirs"}]})
    await here.house.store.commit(*opening(here.now))
    tripping(monkeypatch)
    assert (await reread(here.house, here.partner)).pulled == 1
    assert (await reread(here.house, here.partner)) == Tally(), "it was read to the end"
    (waits,) = await here.quarantined()
    assert waits["body"]["note"] == [{"text": "odd"}]


async def test_a_store_that_cannot_answer_puts_nothing_aside(begin: Begin, monkeypatch: pytest.MonkeyPatch) -> None:
    here = await begin()

    async def apply(*_: Any, **__: Any) -> Tally:
        raise Unavailable("no primary")

    monkeypatch.setattr(one_by_one, "apply", apply)
    here.seen("mine")
    with pytest.raises(Unavailable):
        await here.pull()
    assert not await here.quarantined()
    monkeypatch.undo()
    await here.pull()
    assert await here.texts() == ["mine"]
