"""Two gateways of ours, each the other's partner."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from ..conftest import Gateway
from ..staff import signed_in
from .driving import SecondGateway, demo_with, running
from .scenario import MOST_SECONDS, Scenario, Step, checked, told

pytestmark = pytest.mark.interop


@pytest.mark.timeout(MOST_SECONDS)
def test_both_gateways_hold_what_consent_says(tmp_path: Path) -> None:
    told(SecondGateway(tmp_path), tmp_path)


def test_two_gateways_converge(tmp_path: Path) -> None:
    """Each is the other's partner: what is written on either side is on both, with at most one version more than people wrote."""
    second = SecondGateway(tmp_path)
    with running(second), demo_with(second, tmp_path) as g:
        scenario = Scenario(g, second, 3)
        both, people = scenario.both, scenario.people
        scenario.run((Step("plans"),))
        settled(g, second)
        agreed(scenario)
        first, wrote = versions(scenario), Counter[str]()
        for turn, side in enumerate(("here", "there", "both")):
            for person in people:
                ref = f"Goal/{person.held['Goal'][person.n]}"
                if side in ("here", "both"):
                    person.who.put({**checked(person.who.get(ref)), "description": {"text": f"Turn {turn}"}})
                if side in ("there", "both"):
                    assert second.put({**both.copy_of(ref), "startDate": f"2026-01-0{1 + turn}"}).status_code == 200
                wrote[ref] += 2 if side == "both" else 1
            settled(g, second)
            agreed(scenario)
        for ref, (here, there) in versions(scenario).items():
            most = wrote[ref] + 1
            assert here - first[ref][0] <= most and there - first[ref][1] <= most, f"{ref}: {first[ref]} became {here, there} by {wrote[ref]} edits"
        assert settled(g, second) == 0, "and then nothing moves"


def settled(g: Gateway, second: SecondGateway) -> int:
    """Both gateways work until neither moves anything; how many rounds that took."""
    for rounds in range(12):
        g.env |= second.remote
        token = signed_in(g, "surgery-system").token
        second.g.env |= {"GATEWAY_REMOTE_URL": f"{g.base}/fhir", "GATEWAY_REMOTE_ORGANISATION": "D82001", "GATEWAY_REMOTE_TOKEN": token}
        moved = 0
        for gateway in (g, second.g):
            done = gateway.command("sync", "run", "--once", "--json")
            assert '"quiet":true' in done.stdout, f"{done.stdout}{done.stderr[-2000:]}"
            tally = json.loads(done.stdout.splitlines()[-1])
            assert (tally["refused"], tally["parked"], tally["conflicts"]) == (0, 0, 0), tally
            moved += tally["sent"] + tally["pulled"] + tally["recalled"]
        if not moved:
            return rounds
    raise AssertionError("they do not come to rest")


def agreed(scenario: Scenario) -> None:
    scenario.both.compare([scenario.g.patient, *(p.id for p in scenario.people)])


def versions(scenario: Scenario) -> dict[str, tuple[int, int]]:
    """Of each goal, here and there."""
    refs = [f"Goal/{id}" for p in scenario.people for id in p.held["Goal"]]
    here = {ref: int(checked(p.who.get(ref))["meta"]["versionId"]) for p in scenario.people for ref in refs if ref.split("/")[1] in p.held["Goal"]}
    return {ref: (here[ref], int(scenario.both.copy_of(ref)["meta"]["versionId"])) for ref in refs}
