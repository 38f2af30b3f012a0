"""Real servers of other people, started on loopback: HAPI FHIR JPA (Java) and Medplum's FHIR router (Node).

Each needs its runtime; where that is missing the tests say so and are skipped.
"""

from __future__ import annotations

import fcntl
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ..conftest import ROOT, SHARED, free_port

WORK = ROOT / ".work"
MEDPLUM = Path(__file__).parent / "medplum"


def hapi_jar() -> Path:
    """HAPI's peer, built once by Maven from ../shared/peers/hapi into .work/ (the source is read only)."""
    source = SHARED / "peers/hapi"
    if not source.is_dir():
        pytest.skip("../shared/peers/hapi is not here: HAPI FHIR is not tried")
    if not (shutil.which("java") and shutil.which("mvn")):
        pytest.skip("Java and Maven are not here: HAPI FHIR is not tried")
    build = WORK / "hapi"
    jar = build / "target/hapi-peer.jar"
    with one_at_a_time():
        if not jar.exists():
            build.mkdir(parents=True, exist_ok=True)
            shutil.copy(source / "pom.xml", build)
            shutil.copytree(source / "src", build / "src", dirs_exist_ok=True)
            subprocess.run(["chmod", "-R", "u+w", str(build)], check=True)
            done = subprocess.run(["mvn", "-B", "-q", "package"], cwd=build, capture_output=True, text=True, timeout=600)
            if done.returncode != 0:
                pytest.fail(f"HAPI's peer does not build: {done.stdout[-1500:]}{done.stderr[-500:]}")
    return jar


@contextmanager
def one_at_a_time() -> Iterator[None]:
    """Tests may run in several processes: one of them builds what all of them use."""
    WORK.mkdir(exist_ok=True)
    with open(WORK / "building", "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def from_npm(name: str, source: Path) -> Path:
    """`.work/name` with the packages and scripts of `source`: installed whole, by one process, once for each list of packages."""
    place = WORK / name
    with one_at_a_time():
        place.mkdir(parents=True, exist_ok=True)
        whole = place / "node_modules/.package-lock.json"  # npm writes it last
        if not whole.is_file() or not same(source / "package.json", place / "package.json"):
            shutil.copy(source / "package.json", place)
            done = subprocess.run(["npm", "install", "--no-audit", "--no-fund"], cwd=place, capture_output=True, text=True, timeout=300)
            if done.returncode != 0:
                (place / "package.json").unlink()
                pytest.fail(f"npm install failed: {done.stderr[-1000:]}")
        for script in source.glob("*.mjs"):
            if not same(script, place / script.name):  # another process may be starting it
                shutil.copy(script, place)
    return place


def same(a: Path, b: Path) -> bool:
    return b.is_file() and a.read_bytes() == b.read_bytes()


@contextmanager
def started(command: list[str], cwd: Path, wait: float) -> Iterator[str]:
    """A peer that prints `ready URL` when it answers; ended afterwards."""
    WORK.mkdir(exist_ok=True)
    with open(WORK / "peer.log", "ab") as log:
        process = subprocess.Popen(command, cwd=cwd, stdout=subprocess.PIPE, stderr=log, text=True)
    try:
        assert process.stdout is not None
        end = time.monotonic() + wait
        while True:
            line = process.stdout.readline()
            if line.startswith("ready "):
                yield line.split()[1].strip()
                return
            if not line or time.monotonic() > end:
                pytest.fail(f"{command[0]} did not get ready (see .work/peer.log)")
    finally:
        process.terminate()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()


@contextmanager
def hapi(*options: str) -> Iterator[str]:
    with hapi_server(free_port(), *options) as url:
        yield url


@contextmanager
def hapi_server(port: int, *options: str) -> Iterator[str]:
    jar = hapi_jar()
    java = ["java", "-Xmx1g", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-jar", str(jar), "--port", str(port), *options]
    with started(java, jar.parent.parent, 120) as url:
        yield url


@contextmanager
def medplum() -> Iterator[str]:
    with medplum_server(free_port()) as url:
        yield url


@contextmanager
def medplum_server(port: int, kept: Path | None = None) -> Iterator[str]:
    """`kept`: the file in which what it holds is when it is stopped, read at its next start."""
    if not (shutil.which("node") and shutil.which("npm")):
        pytest.skip("Node is not here: Medplum's router is not tried")
    place = from_npm("medplum", MEDPLUM)
    with started(["node", "server.mjs", str(port), *([str(kept)] if kept else [])], place, 60) as url:
        yield url
