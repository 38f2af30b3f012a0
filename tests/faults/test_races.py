"""Races of revocation: eight readers and two workers against one change, made by another process over the same store.

No answer begun after the change was acknowledged carries data, and no copy is let go after it. What a worker had begun to send
arrives at most a moment later, and is taken back. `RACES=n` says how many the two long tests run.
"""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from fhir_gateway.settings import load
from fhir_gateway.wiring import Wired, open_wired

from ..conftest import Gateway, gateway, times
from ..stores.mongo_server import REAL, MongoServer, RealServer, drop
from ..test_remotes import Recorder, recorder, toml
from .racing import KINDS, Course, race

WORKERS = 2
PARTNERS = {"kindly": "Kindly Neighbours", "community": "Example Community Team"}
ORGANISATIONS = {**PARTNERS, "hospital": "Example General Hospital"}
COURSE = 84
RACES = os.environ.get("RACES", "")


@contextmanager
def workers(g: Gateway) -> Iterator[None]:
    with ExitStack() as stack:
        for n in range(WORKERS):
            log = stack.enter_context(open(g.data.parent / f"worker-{n}.log", "ab"))
            p = subprocess.Popen([sys.executable, "-m", "fhir_gateway", "worker"], env=g.env, stdout=log, stderr=log, cwd=g.data.parent)
            stack.callback(p.wait, 20)
            stack.callback(p.terminate)
        yield


def run(gateways: list[Gateway], there: dict[str, Recorder], races: int, monkeypatch: pytest.MonkeyPatch) -> Course:
    for name in [k for k in os.environ if k.startswith("GATEWAY_")]:
        monkeypatch.delenv(name)
    for name, value in gateways[0].env.items():
        if name.startswith("GATEWAY_"):
            monkeypatch.setenv(name, value)

    async def all_of_them() -> Course:
        w = await open_wired(load())
        try:
            course = Course(w, [g.base for g in gateways], there, await names(w))
            for n in range(races):
                await race(course, n)
                if n % 20 == 19 or n + 1 == races:
                    late = f"{len(course.late)} arrivals after, the last {max(course.late, default=0):.3f} s"
                    print(f"{n + 1} races, {dict(course.said)}, {late}", flush=True)
            return course
        finally:
            await w.close()

    course = asyncio.run(all_of_them())
    assert set(course.said) >= {k.__name__ for k in KINDS[:races]}
    copied = sum(course.said[k] for k in ("consent_stopped", "task_completed", "team_ended", "partner_removed", "organisation_closed"))
    assert course.said["copies at a partner"] == course.said["taken back"] == copied
    assert races < 60 or min(course.said["the second copy had left"], course.said["it was held back"]) > copied / 20, "the workers were in the race"
    assert course.said["answers before"] >= 8 * races and course.said["answers after"] >= 3 * 8 * races
    return course


async def names(w: Wired) -> dict[str, str]:
    """The demo's organisations and the nurse's role."""
    called = {name: short for short, name in ORGANISATIONS.items()}
    found = await w.store.directory(["Organization", "PractitionerRole", "Practitioner"])
    bodies = [(str(s.ref), json.loads(s.body or b"{}")) for s in found]
    refs = {called[b["name"]]: ref for ref, b in bodies if b["resourceType"] == "Organization" and b["name"] in called}
    (ben,) = [ref for ref, b in bodies if b["resourceType"] == "Practitioner" and b["name"][0]["family"] == "Okafor"]
    (refs["ben-role"],) = [ref for ref, b in bodies if b.get("practitioner", {}).get("reference") == ben]
    return refs


@contextmanager
def partnered(folder: Path, **env: str) -> Iterator[tuple[dict[str, str], dict[str, Recorder]]]:
    """The demo's store with two partners in the settings: what a gateway over it needs in its environment."""
    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        there = {name: stack.enter_context(recorder()) for name in PARTNERS}
        with gateway(folder, "--demo", GATEWAY_WORKER="false", **env) as seeded:
            found = seeded.get("patient", "Organization?_count=50").json()["entry"]
            refs = {e["resource"]["name"]: f"Organization/{e['resource']['id']}" for e in found}
        config = toml(folder, *({"name": n, "organisation": refs[PARTNERS[n]], "url": r.url, "direction": "out"} for n, r in there.items()))
        yield {**env, "GATEWAY_CONFIG": str(config), "GATEWAY_WORKER": "false"}, there


def in_courses(races: int, run_some: Callable[[int, int], Course]) -> None:
    """Each with a store of its own: a worker that reviews everybody when an organisation closes has few to review."""
    done, said, late = 0, Counter[str](), list[float]()
    while done < races:
        some = min(COURSE, races - done)
        course = run_some(done // COURSE, some)
        done, said, late = done + some, said + course.said, late + course.late
        print(f"== {done} races, {dict(said)}, {len(late)} arrivals after, the last {max(late, default=0):.3f} s", flush=True)


def on_sqlite(folder: Path, races: int, monkeypatch: pytest.MonkeyPatch) -> Course:
    with partnered(folder) as (env, there), gateway(folder, "--demo", **env) as g, workers(g):
        return run([g], there, races, monkeypatch)


def on_mongodb(folder: Path, races: int, monkeypatch: pytest.MonkeyPatch) -> Course:
    """Two gateways."""
    folder.mkdir(exist_ok=True)
    server = (RealServer() if REAL else MongoServer(folder)).start()
    uri = server.uri(f"r{secrets.token_hex(6)}")
    try:
        env = {"GATEWAY_STORE": uri, "GATEWAY_BASE_URL": "http://127.0.0.1:8499"}
        with (
            partnered(folder / "one", **env) as (both, there),
            gateway(folder / "one", "--demo", **both) as one,
            gateway(folder / "two", "--demo", **both) as two,
            workers(one),
        ):
            return run([one, two], there, races, monkeypatch)
    finally:
        if REAL:
            drop(uri)
        server.stop()


@pytest.mark.slow
def test_no_answer_begun_after_a_revocation_carries_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    on_sqlite(tmp_path, len(KINDS), monkeypatch)


@pytest.mark.slow
@pytest.mark.timeout(7_200)
def test_sixty_races_and_in_soak_a_thousand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    in_courses(int(RACES or min(times(60), 1_008)), lambda n, some: on_sqlite(tmp_path / str(n), some, monkeypatch))


@pytest.mark.slow
@pytest.mark.timeout(7_200)
def test_two_gateways_on_one_mongodb_know_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    in_courses(int(RACES or min(times(len(KINDS)), 120)), lambda n, some: on_mongodb(tmp_path / str(n), some, monkeypatch))
