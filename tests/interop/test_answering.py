"""I10 of a gateway that serves, with a real partner: whoever asks it is answered while its worker waits for another gateway that says nothing, and while what
waited goes. docs/sync.md
"""

from __future__ import annotations

import asyncio
import os
import re
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from ..conftest import Gateway
from ..faults.invariants import answers
from ..faults.test_kill_server import goal
from .driving import SecondGateway, demo_with, running

pytestmark = pytest.mark.interop
GOALS = 40
ASKED = 20  # times, in each state


def test_a_gateway_answers_while_its_partner_is_frozen_and_while_what_waited_goes(tmp_path: Path) -> None:
    """The partner is stopped (SIGSTOP) as a machine that swaps is: it takes a connection and says nothing. That the worker waits for it is read in the
    metrics; were the gateway to wait with it, it would answer once the partner goes on, which is after it was asked."""
    second = SecondGateway(tmp_path)
    with running(second), demo_with(second, tmp_path, GATEWAY_WORKER="true") as g:
        until(lambda: quiet(g), "first contact")
        there = second.g.process
        assert there is not None
        os.kill(there.pid, signal.SIGSTOP)
        try:
            for n in range(GOALS):
                assert g.call("patient", "POST", "Goal", body=goal(g, n)).status_code == 201, "who writes is answered, too"
            until(lambda: figure(g, "leased") > 0, "the worker's first request")
            frozen = asked(g)
            assert figure(g, "leased") + figure(g, "queued") >= GOALS, "nothing has gone meanwhile"
        finally:
            os.kill(there.pid, signal.SIGCONT)
        going = asked(g)
        until(lambda: quiet(g), "the end of what waited")
        for wrong in (frozen, going):
            assert len(wrong) <= ASKED // 2, wrong
        there_now = [r for r in second.all("Goal") if r.get("identifier", [{}])[0].get("system") == "urn:kill"]
        assert sorted(int(r["identifier"][0]["value"]) for r in there_now) == list(range(GOALS)), "each is there, once"


def asked(g: Gateway) -> list[str]:
    """I10 of each of so many looks at /metadata: what was wrong with it. Each is answered, and so is who reads her goals; a slow answer or two may be the machine's."""

    async def metadata() -> int:
        answer = await asyncio.to_thread(g.get, None, "metadata")
        assert answer.status_code == 200
        return answer.status_code

    wrong = []
    for _ in range(ASKED):
        wrong += asyncio.run(answers(metadata))
        assert g.get("patient", f"Goal?patient={g.patient}&_summary=count").status_code == 200
    return wrong


def figure(g: Gateway, state: str) -> float:
    """How many entries for the partner are in this state, by /metrics."""
    found = re.search(rf'^gateway_outbox_entries\{{remote="remote",state="{state}"\}} (\S+)$', g.get(None, "/metrics").text, re.M)
    return float(found[1]) if found else 0.0


def quiet(g: Gateway) -> bool:
    """Nothing waits, and nothing is under way; something was sent."""
    return figure(g, "sent") > 0 == figure(g, "queued") + figure(g, "leased")


def until(true: Callable[[], bool], what: str) -> None:
    """It comes about, however slow this machine is."""
    end = time.monotonic() + 240
    while not true():
        assert time.monotonic() < end, f"{what} does not come about"
        time.sleep(0.1)
