"""What `sync status` and `sync run --once` say: in step only where nothing waits, and what to do where something does."""

from __future__ import annotations

from collections.abc import AsyncIterator
from io import StringIO
from pathlib import Path

import pytest
import pytest_asyncio
from rich.console import Console

from fhir_gateway import gate
from fhir_gateway.commands import saying, syncing
from fhir_gateway.domain import strict
from fhir_gateway.domain.problem import Problem
from fhir_gateway.gate import Remote, waiting_room
from fhir_gateway.remote.client import Down, RemoteServer
from fhir_gateway.sync import worker
from fhir_gateway.sync.partner import Partner
from fhir_gateway.sync.pull import pull
from fhir_gateway.sync.tally import Tally

from .conftest import Gateway
from .faults.scripted import There
from .telling.servers import mail_server
from .test_believing import ACTIONS, Beside


@pytest_asyncio.fixture
async def here(tmp_path: Path) -> AsyncIterator[Beside]:
    there = There()
    with mail_server() as post:
        here = Beside(post)
        there.clock = lambda: here.now
        await here.begin(tmp_path / "store.sqlite", there)
        yield here
        await here.end()


async def said(here: Beside) -> str:
    return "\n".join(saying.lines(await here.status()))


async def other(here: Beside, **more: str) -> Partner:
    """Another server, which nobody has met."""
    terms = Remote("later", more.get("organisation", here.names["surgery"]))
    here.house.remotes = (*here.house.remotes, terms)
    return Partner(terms, RemoteServer(here.there.url, lambda: here.now, transport=here.there.transport()))


async def test_nothing_is_in_step_before_it_was_met_and_all_that_was_here_went(here: Beside) -> None:
    """And what went ahead of what refers to it counts as sent."""
    goal = await here.goal()
    plan = {"resourceType": "CarePlan", "status": "active", "intent": "plan", "subject": {"reference": here.names["amina"]}, "goal": [{"reference": str(goal)}]}
    await gate.create(here.me, "CarePlan", strict.dump(plan))
    partner = await other(here)
    status = await worker.status(here.house, partner)
    assert not (status["quiet"] or status["in_step"] or status["met"] or status["first_sync"])
    first, *do = saying.lines(status)
    assert first == "later: never met; 0 withheld" and "the first sync has not been done" in do[0]
    tally = await worker.once(here.house, partner)
    copies = [d for d in await here.house.store.ledger(remote="later")]
    assert tally.sent == len(copies) == 3, "the person, the goal and the plan"
    assert saying.lines(await worker.status(here.house, partner)) == [f"later: in step; {tally.withheld} withheld"]


async def test_whoever_the_directory_does_not_know_is_said(here: Beside) -> None:
    status = await worker.status(here.house, await other(here, organisation="ZZ99"))
    assert not status["organisation_known"] and not status["in_step"] and "nobody in the directory" in "\n".join(saying.lines(status))


async def test_what_waits_for_a_person_is_not_in_step_and_says_what_to_do(here: Beside) -> None:
    await here.goal()
    await here.round(2)
    assert (await here.status())["in_step"] and (await said(here)).startswith("hub: in step; ")
    here.there.fault("POST", "Goal", status=422)
    await here.goal("no")
    await here.round(2)
    text = await said(here)
    assert text.startswith("hub: quiet, but something waits for you") and "1 parked: that server refused it" in text and "sync retry" in text
    here.there.well()
    (copy,) = here.there.named("Goal")
    here.there.write({**copy, "description": {"text": "theirs"}})
    await here.change(here.me, "walk", description={"text": "ours"})
    here.there.write({"resourceType": "Goal", "lifecycleStatus": "wrong", "description": {"text": "x"}, "subject": copy["subject"]})
    await here.round(2)
    text, status = await said(here), await here.status()
    assert "1 in conflict" in text and "sync resolve ID ours" in text and "1 in quarantine" in text and "sync replay" in text
    assert status["quiet"] and not status["in_step"]


async def test_each_line_at_night_says_what_happened_since_when_and_what_to_do(here: Beside) -> None:
    """What is refused when it is taken back, a conflict, and what is taken back by itself once that server answers."""
    await here.goal("secret")
    await here.round(2)
    (copy,) = here.there.named("Goal")
    here.there.write({**copy, "description": {"text": "theirs"}})
    await here.change(here.me, "secret", description={"text": "ours"})
    await here.round()
    (clash,) = [saying.conflict(c) for c in await gate.conflicts(here.operator)]
    assert "both changed Goal.description.text" in clash and " UTC: " in clash and "sync resolve" in clash
    here.there.fault("DELETE", "Goal", status=403)
    here.there.fault("PUT", "Goal", status=403)
    await here.change(here.me, next(k for k in here.names if k.startswith("consent")), status="inactive")
    (waits,) = [saying.recall(i) for i in await worker.ledger(here.house, here.partner) if i["open"] and i["ref"] == here.names["secret"]]
    assert "still to be taken back since 2026-" in waits and "UTC: queued" in waits and "To do: nothing, it is tried by itself" in waits
    await here.round(4)
    (parked,) = [saying.recall(i) for i in await worker.ledger(here.house, here.partner) if i["open"] and i["ref"] == here.names["secret"]]
    assert "They say that we may not do this there" in parked and "(parked: 403" in parked and "To do: `fhir-gateway sync waiting`" in parked
    here.there.well()
    await waiting_room.retry(here.operator)
    await here.round(3)
    (done,) = [saying.recall(i) for i in await worker.ledger(here.house, here.partner) if i["ref"] == here.names["secret"] and i["recalled"]]
    assert "taken back 2026-" in done and "To do" not in done


async def test_while_it_is_away_it_says_why_and_when_it_is_tried_next(here: Beside) -> None:
    here.there.fault("", "", status=503)
    await here.goal()
    try:
        await worker.once(here.house, here.partner)
    except saying.WRONG as e:
        assert saying.unreachable(here.partner, e).startswith(f"hub ({here.partner.server.base}) it answered 503. See that the server runs")
    assert saying.unreachable(here.partner, Down("it answered 429", 600.0)).endswith("it answered 429. It asked us to wait; nothing is lost.")
    text = await said(here)
    assert "paused since" in text and "it answered 503" in text and "next try 2026-" in text and "UTC" in text and "in step" not in text


async def test_what_was_held_back_and_went_later_is_held_back_no_more(here: Beside) -> None:
    """Another organisation was written there by mistake."""
    await here.goal()
    wrong = await other(here, organisation="ZZ99")
    await worker.once(here.house, wrong)
    held = (await worker.status(here.house, wrong))["withheld"]
    terms = Remote("later", here.names["surgery"])
    here.house.remotes = (here.house.remotes[0], terms)
    right = Partner(terms, wrong.server)
    await worker.once(here.house, right)
    now = (await worker.status(here.house, right))["withheld"]
    assert held - now == len(await here.house.store.ledger(remote="later")) > 0


def test_nobody_there_is_said_in_plain_words_with_the_address(demo: Gateway) -> None:
    done = demo.command("sync", "run", "--dry-run", env={"GATEWAY_REMOTE_URL": "http://127.0.0.1:9/fhir", "GATEWAY_REMOTE_ORGANISATION": "ZZ99"})
    assert done.returncode == 1 and "http://127.0.0.1:9/fhir) cannot be reached: nobody answers at its address. See that" in done.stderr and "Error" not in done.stderr
    assert "remote: nobody in the directory is the organisation" in done.stderr


def test_a_bar_is_full_only_where_it_is_known_how_much_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is read there has no known end: a bar that is full from the first on says nothing."""

    monkeypatch.setenv("TERM", "xterm")

    def shown(*heard: tuple[int, int | None]) -> str:
        out = StringIO()
        monkeypatch.setattr(syncing, "console", Console(file=out, force_terminal=True, width=100))
        with syncing.bar("hub") as told:
            for pulled, left in heard:
                told(Tally(pulled=pulled), left)
        return out.getvalue()

    assert "25/?" in shown((0, 0), (25, None))
    assert "30/40" in shown((25, None), (30, 10))


async def test_what_is_to_be_taken_back_is_never_said_to_be_left_out(here: Beside) -> None:
    """`sync skip` refuses it; of what else was refused it goes on being the way."""
    await here.goal()
    await here.round(2)
    here.there.fault("DELETE", "", status=422)
    for key in [k for k in here.names if k.startswith("consent")]:
        await here.change(here.me, key, status="inactive")
    await here.round(6)
    status, text = await here.status(), await said(here)
    assert status["parked"] == status["recalls_parked"] == 2 and "2 still to be taken back" in text and "sync gone ID" in text and "sync retry" in text
    assert "sync skip" not in text and "2 parked" in text.splitlines()[0]
    for item in await waiting_room.everything(here.operator):
        with pytest.raises(Problem, match="not left out"):
            await waiting_room.skip(here.operator, item["id"], "no")


async def test_content_says_what_both_versions_say_where_they_differ_and_moves_no_cursor(here: Beside) -> None:
    await here.goal("walk")
    await here.round(2)
    (copy,) = here.there.named("Goal")
    here.there.write({**copy, "description": {"text": "theirs \u202e\u009b2J"}})
    await here.change(here.me, "walk", description={"text": "ours"})
    await here.round()
    (clash,) = await gate.conflicts(here.operator, content=True)
    assert saying.content(clash) == ['    ours: description.text: "ours"', '    theirs: description.text: "theirs \\u202e\\x9b2J"']
    (item,) = await waiting_room.everything(here.operator, content=True)
    assert saying.content(item) == saying.content(clash)
    (bare,) = await gate.conflicts(here.operator)
    assert saying.content(bare) == []


async def test_content_of_what_they_deleted_says_all_of_ours(here: Beside) -> None:
    await here.goal("walk")
    await here.round(2)
    here.there.remove(f"Goal/{here.there.named('Goal')[0]['id']}")
    await here.change(here.me, "walk", description={"text": "ours"})
    await pull(here.house, here.partner)
    (clash,) = await gate.conflicts(here.operator, content=True)
    lines = saying.content(clash)
    assert '    ours: description.text: "ours"' in lines and lines[-1] == "    theirs: deleted there"


async def test_a_deletion_that_they_may_not_make_is_one_thing_to_settle(here: Beside) -> None:
    ref = await here.goal("walk")
    await here.round(2)
    (key,) = [k for k in here.names if k.startswith("consent")]
    may = {"type": "permit", "actor": [here.reader()], "action": [a for a in ACTIONS if a["coding"][0]["code"] != "correct"]}
    await here.change(here.me, key, provision={"provision": [may]})
    here.there.remove(f"Goal/{here.there.named('Goal')[0]['id']}")
    await here.round(2)
    (item,) = await waiting_room.everything(here.operator)
    assert item["kind"] == "conflict" and item["why"] == "deleted there, not here"
    await gate.settle(here.operator, item["id"], "theirs", None)
    await here.round(2)
    stored = await here.house.store.get(ref)
    assert stored is not None and stored.deleted and await waiting_room.everything(here.operator) == []
