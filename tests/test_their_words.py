"""What a partner says may quote a record, or what we said to it: its words stand in no list, log, number or alarm. design: sync.md"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from fhir_gateway.domain import strict
from fhir_gateway.domain.reasons import reason
from fhir_gateway.gate import waiting_room
from fhir_gateway.remote.client import Down, Locked, Refusal, RemoteServer
from fhir_gateway.sync import foreseeing, worker
from fhir_gateway.sync.state import Breakers

from .conftest import gateway
from .faults.scripted import Habits, scripted
from .telling.servers import mail_server
from .test_believing import Beside, here
from .test_smart_outward import Bed, Guarded, there
from .web.test_operator import operator

__all__ = ["here", "there"]

WORDS = "Zebedee drinks"
QUOTING = strict.dump({
    "resourceType": "OperationOutcome",
    "issue": [{
        "severity": "error", "code": "invalid", "diagnostics": f"`{WORDS}` is no description", "details": {"text": WORDS},
        "expression": ["Goal.description.text"], "location": [f"Goal.note[0].text = {WORDS}"],
    }],
})  # fmt: skip


async def seen(here: Beside) -> str:
    """All that an operator sees of it without asking for content."""
    said = [await here.status(), await worker.ledger(here.house, here.partner), await waiting_room.queues(here.operator)]
    said.append(await waiting_room.everything(here.operator))
    try:
        said.append([i async for i in foreseeing.preview(here.house, here.partner)])
    except (Down, Locked, Refusal) as e:
        said.append([{"stopped": str(e)}])
    return repr(said)


@pytest.mark.parametrize("status", [422, pytest.param(403, marks=pytest.mark.slow), pytest.param(410, marks=pytest.mark.slow)])
async def test_what_it_says_of_a_record_stands_where_a_person_looks_for_it_alone(here: Beside, status: int) -> None:
    """On a write, a recall and a read: in no list, no log; and with `content` it is there."""
    with capture_logs() as log:
        ref = await here.goal("walk")
        here.there.fault("POST", "Goal", status=status, body=QUOTING)
        await here.round(4)
        assert WORDS not in await seen(here) and WORDS not in repr(log)
        assert [i["ref"] for i in await waiting_room.everything(here.operator) if i["kind"] == "parked"] == [str(ref)]
        assert WORDS in repr(await waiting_room.everything(here.operator, content=True))
        here.there.well()
        await here.goal("run")
        await here.round(2)
        here.there.fault("DELETE", "Goal", status=status, body=QUOTING)
        here.there.fault("PUT", "Goal", status=status, body=QUOTING)
        await here.change(here.me, "run", description={"text": "swim"})
        await here.round()
        await here.change(here.me, next(k for k in here.names if k.startswith("consent")), status="inactive")
        for _ in range(4):
            await here.round()
            assert WORDS not in await seen(here)
    assert WORDS not in repr(log)


@pytest.mark.parametrize(("path", "status"), [("", 400), *(pytest.param(*some, marks=pytest.mark.slow) for some in (("", 403), ("_history", 410), ("_history", 405), ("metadata", 404)))])
async def test_what_it_says_when_it_will_not_be_asked_is_in_no_pause_and_no_alarm(here: Beside, path: str, status: int) -> None:
    both = await Breakers.of(here.house, "hub")
    here.there.fault("GET", path, status=status, body=QUOTING)
    here.partner.server.met = None
    with capture_logs() as log:
        for why in await here.round(3):
            assert WORDS not in why
        try:
            await here.partner.server.abilities()
            await here.partner.server.read("Goal", "1")
        except Exception as e:
            await both.failed(both.pull, e)
        assert WORDS not in repr(log) and WORDS not in await seen(here)


@pytest.mark.slow
async def test_an_answer_of_another_kind_is_not_called_what_it_calls_itself(here: Beside) -> None:
    here.there.fault("", "", status=200, body=WORDS.encode(), headers={"Content-Type": "text/Zebedee"})
    assert "ebedee" not in repr(await here.round(2)).casefold() and "ebedee" not in (await seen(here)).casefold()


async def test_a_dry_run_says_which_element_is_wrong_and_not_what_stands_in_it(here: Beside) -> None:
    person = here.there.named("Patient")[0]["id"]
    here.there.write({"resourceType": "Goal", "lifecycleStatus": WORDS, "description": {"text": "x"}, "subject": {"reference": f"Patient/{person}"}})
    said = [i async for i in foreseeing.preview(here.house, here.partner)]
    assert [i["why"] for i in said if i["would"] == "refuse"] == ["code-invalid at Goal.lifecycleStatus"] and WORDS not in repr(said)


def test_a_token_endpoint_that_repeats_our_statement_repeats_it_to_nobody(there: Guarded) -> None:
    def echo(form: dict[str, list[str]]) -> tuple[int, Any]:
        there.statements.append(form["client_assertion"][0])
        return 400, {"error": form["client_assertion"][0], "error_description": form["client_assertion"][0], "error_uri": WORDS}

    there.token = echo  # type: ignore[method-assign]
    bed = Bed(there)
    with pytest.raises(Exception) as told:
        bed.do(lambda server: server.read("Goal", "g"))
    assert str(told.value) == "its token endpoint refuses us: 400" and there.statements[0][:20] not in repr(told.value)


anything = st.recursive(st.none() | st.integers() | st.text(max_size=5) | st.just(WORDS), lambda s: st.lists(s, max_size=3) | st.dictionaries(
    st.sampled_from(["issue", "code", "diagnostics", "details", "text", "expression", "location"]), s, max_size=4), max_leaves=12)  # fmt: skip


@settings(suppress_health_check=[HealthCheck.too_slow])  # of making them, on a busy machine
@given(outcome=st.dictionaries(st.sampled_from(["issue", "resourceType"]), anything))
def test_a_reason_is_made_of_any_outcome_and_says_no_sentence_of_it(outcome: dict[str, Any]) -> None:
    assert WORDS not in reason(422, outcome) and reason(422, outcome).startswith("422")
    assert str(Refusal(422, WORDS, outcome)) == reason(422, outcome)


@contextmanager
def quoting() -> Iterator[str]:
    """The address of a server that refuses each goal with a word of it."""
    with scripted(Habits()) as there:
        there.fault("POST", "Goal", status=422, body=QUOTING)
        there.fault("GET", "_history", status=400, body=QUOTING)
        yield there.url


@pytest.mark.slow
def test_outside_it_is_said_nowhere_either(tmp_path: Path) -> None:
    """The log, `sync status`, `sync recalls`, `sync waiting`, `/operator` and `/metrics` of a gateway at work."""
    with quoting() as url:
        remote = {"GATEWAY_REMOTE_URL": url, "GATEWAY_REMOTE_ORGANISATION": "D82001", "GATEWAY_WORKER": "false"}
        with gateway(tmp_path, "--demo", **remote) as g:
            once = g.command("sync", "run", "--once")
            v = operator(g)
            v.get("/operator")
            said = [once.stdout, once.stderr, v.page, v.http.get(f"{g.base}/metrics").text, g.log.read_text()]
            said += [json.dumps(g.lines("sync", what, "--json")) for what in ("status", "recalls", "waiting")]
            assert "422: invalid at Goal.description.text" in json.dumps(g.lines("sync", "waiting", "--json"))
            assert "cannot be asked" in said[5] and WORDS not in "\n".join(said)


async def test_a_feed_that_is_refused_is_said_when_it_begins_and_when_it_begins_again(tmp_path: Path) -> None:
    """Each round asks again: at two seconds a line each would be 43,200 a day."""
    with mail_server() as post, scripted(Habits(feed="type")) as there:
        place = Beside(post)
        there.clock = lambda: place.now
        await place.begin(tmp_path / "store.sqlite", there, RemoteServer(there.url, lambda: place.now))
        with capture_logs() as log:
            there.fault("GET", "Goal/_history", status=405, body=QUOTING)
            assert await place.round(4) == []
            there.well()
            await place.round(2)
            there.fault("GET", "Goal/_history", status=405, body=QUOTING)
            await place.round(4)
        assert [(e["feed"], e["status"]) for e in log if e["event"] == "feed-refused"] == [("Goal", 405)] * 2
        await place.end()


@pytest.mark.slow
async def test_a_breaker_that_goes_well_for_ever_counts_no_higher(here: Beside) -> None:
    both = await Breakers.of(here.house, "hub")
    for _ in range(200):
        await both.pull.went()
    assert both.pull.width == 64
