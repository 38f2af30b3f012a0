"""The servers that are compared: started on loopback with the same records, each told what it will be asked.

A contender that cannot be had is named as absent, never estimated.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2

from .measuring import Task, resident

ROOT = Path(__file__).resolve().parent.parent
WORK = ROOT / ".work"
NHS = "https://fhir.nhs.uk/Id/nhs-number"
MAIN = "2181441000000107"
PLANS = 8


@dataclass
class Run:
    """What a run has: a folder, the servers it started, what it will ask, and what was missing."""

    folder: Path
    tasks: list[Task] = field(default_factory=list)
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    absent: list[str] = field(default_factory=list)
    first_answer: float = 0.0  # seconds
    memory: dict[str, float] = field(default_factory=dict)  # MiB
    resources: int = 0

    def start(self, name: str, args: list[str], env: dict[str, str], url: str, wait: float = 60, cwd: Path = ROOT) -> int:
        """Start a server; its process id once `url` answers. SystemExit where another answers there already, which would be measured in its place."""
        with suppress(httpx2.HTTPError):
            httpx2.get(url, timeout=1)
            raise SystemExit(f"{url} answers before {name} was started: another run, or what is left of one, has this port. Wait for it, or end it (`ss -ltnp` names it).")
        log = (self.folder / f"{name}.log").open("wb")
        process = subprocess.Popen(args, env={**os.environ, **env}, stdout=log, stderr=log, cwd=cwd)
        self.processes[name] = process
        end = time.monotonic() + wait
        while time.monotonic() < end:
            try:
                if httpx2.get(url, timeout=1).status_code < 500:
                    return process.pid
            except httpx2.HTTPError:
                pass
            if process.poll() is not None:
                raise SystemExit(f"{name} ended with {process.returncode}: {(self.folder / f'{name}.log').read_text()[-800:]}")
            time.sleep(0.02)
        raise SystemExit(f"{name} does not answer")

    def stop(self) -> None:
        for name, process in self.processes.items():
            if process.poll() is None:
                self.memory[name] = resident(process.pid)
                process.terminate()
        for process in self.processes.values():
            process.wait(30)


def observation(patient: str) -> dict[str, Any]:
    return {
        "resourceType": "Observation", "status": "final", "code": {"coding": [{"system": "http://loinc.org", "code": "59408-5"}]},
        "subject": {"reference": patient}, "effectiveDateTime": "2026-11-20T10:00:00Z",
        "valueQuantity": {"value": 94, "unit": "%", "system": "http://unitsofmeasure.org", "code": "%"},
    }  # fmt: skip


def bodies(run: Run, name: str, patient: str) -> tuple[Path, Path]:
    """One Observation, and a transaction of twenty."""
    one, twenty = run.folder / f"{name}-one.json", run.folder / f"{name}-twenty.json"
    one.write_text(json.dumps(observation(patient)))
    entry = {"resource": observation(patient), "request": {"method": "POST", "url": "Observation"}}
    twenty.write_text(json.dumps({"resourceType": "Bundle", "type": "transaction", "entry": [entry] * 20}))
    return one, twenty


# -- the gateway ------------------------------------------------------------------------------------------------------


def gateway(run: Run, people: int, port: int = 18080) -> tuple[str, list[dict[str, Any]], list[dict[str, Any]]]:
    """The demo, more people, and eight plans of its patient. The patient's id, what the search with goals finds, and the others' records."""
    env = {"GATEWAY_DATA": str(run.folder / "data"), "GATEWAY_PORT": str(port), "GATEWAY_LOG_LEVEL": "error"}
    began = time.monotonic()
    pid = run.start("gateway", [sys.executable, "-m", "fhir_gateway", "serve", "--demo"], env, f"http://127.0.0.1:{port}/health")
    while httpx2.get(f"http://127.0.0.1:{port}/health").status_code != 200:
        time.sleep(0.02)
    run.first_answer = time.monotonic() - began
    base = f"http://127.0.0.1:{port}/fhir"
    others = bring_people(run.folder, env, people)
    me, gp = token(env, "patient"), token(env, "gp")
    patient = me["patient"].removeprefix("Patient/")
    plan = _eight_plans(base, patient, _bearer(gp))
    one, twenty = bodies(run, "gateway", f"Patient/{patient}")
    search = f"{base}/CarePlan?patient={patient}"
    include = f"{search}&category={MAIN}&_include=CarePlan:goal"
    for kind, url, who, body in (
        ("read", f"{base}/CarePlan/{plan}", me, None), ("view", f"{base}/CarePlan/{plan}", gp, None), ("search", search, gp, None),
        ("include", include, gp, None), ("create", f"{base}/Observation", gp, one), ("transaction", base, gp, twenty),
    ):  # fmt: skip
        run.tasks.append(Task("gateway", kind, url, pid, _bearer(who), body))
    found = [e["resource"] for u in (search, include) for e in httpx2.get(u, headers=_bearer(me)).json()["entry"]]
    hospital = _bearer(token(env, "hospital"))
    beside = [r for p in others for r in _record(f"{base}/Patient/{p}/$everything", hospital)]
    return patient, list({f"{r['resourceType']}/{r['id']}": r for r in found}.values()), beside


def _record(url: str, who: dict[str, str]) -> list[dict[str, Any]]:
    """What belongs to one person, as their hospital reads it; the directory left out."""
    entries = httpx2.get(url, headers=who).json().get("entry", [])
    return [e["resource"] for e in entries if e["search"]["mode"] == "match"]


def _eight_plans(base: str, patient: str, who: dict[str, str]) -> str:
    """The id of the main plan, of as many as there are plans in the table's task."""
    while True:
        found = [e["resource"] for e in httpx2.get(f"{base}/CarePlan?patient={patient}", headers=who).json()["entry"]]
        if len(found) >= PLANS:
            return next(r["id"] for r in found if any(c["code"] == MAIN for k in r["category"] for c in k.get("coding", [])))
        more = {
            "resourceType": "CarePlan", "status": "active", "intent": "plan", "title": "One more plan of the same person", "subject": {"reference": f"Patient/{patient}"},
            "category": [{"coding": [{"system": "http://snomed.info/sct", "code": "736366004", "display": "Advance care plan"}]}],
            "description": "What we agreed, in a few sentences that are about as long as people write them. " * 4,
        }  # fmt: skip
        made = httpx2.post(f"{base}/CarePlan", json=more, headers={**who, "Content-Type": "application/fhir+json"})
        if made.status_code != 201:
            raise SystemExit(f"the gateway refused a plan: {made.text}")


def bring_people(folder: Path, env: dict[str, str], n: int, first: int = 0) -> list[str]:
    """About eight resources for each of n invented people, brought in like anybody's; their ids."""
    files = []
    for i in range(first, first + n):
        plan = {
            "plan": "1", "id": f"bench-{i}", "title": "A plan", "status": "active",
            "person": {"id": f"p{i}", "name": {"given": ["Bench"], "family": f"Person{i}"}, "birth_date": "1950-01-01"},
            "needs": [{"id": "n1", "text": "Something"}], "goals": [{"id": f"g{j}", "text": f"Goal {j}", "needs": ["n1"], "status": "planned"} for j in range(3)],
            "actions": [{"id": "a1", "text": "Do it", "goals": ["g0"], "who": "person", "status": "planned"}],
        }  # fmt: skip
        file = folder / f"bench-{i}.json"
        file.write_text(json.dumps(plan))
        files.append(str(file))
    return [line["patient"] for line in command(env, "import", *files)]


def command(env: dict[str, str], *args: str) -> list[dict[str, Any]]:
    """The lines that our own command line says with `--json`. SystemExit with what it says where it fails."""
    done = subprocess.run([sys.executable, "-m", "fhir_gateway", *args, "--json"], env={**os.environ, **env}, capture_output=True, text=True, cwd=ROOT)
    if done.returncode:
        raise SystemExit(f"`fhir-gateway {' '.join(args)[:80]}` ended with {done.returncode}: {done.stderr[-800:] or done.stdout[-800:]}")
    return [json.loads(line) for line in done.stdout.splitlines()]


def token(env: dict[str, str], who: str) -> dict[str, Any]:
    return command(env, "token", "--as", who)[0]


def _bearer(made: dict[str, Any]) -> dict[str, str]:
    return {"Authorization": f"Bearer {made['token']}"}


# -- others -----------------------------------------------------------------------------------------------------------


def bare(run: Run, size: int, port: int = 18081) -> None:
    """The floor: uvicorn answering as many bytes."""
    url = f"http://127.0.0.1:{port}/"
    args = [sys.executable, "-m", "uvicorn", "benchmarks.bare:app", "--port", str(port), "--log-level", "error", "--no-access-log"]
    pid = run.start("bare uvicorn, same number of bytes", args, {"BENCH_BYTES": str(size)}, url)
    run.tasks.append(Task("bare uvicorn, same number of bytes", "read", url, pid))


def fhirstarter(run: Run, patient: str, found: list[dict[str, Any]], port: int = 18082) -> None:
    """In a virtual environment of its own, made once."""
    place = WORK / "fhirstarter"
    python = place / "bin/python"
    if not python.exists():
        made = subprocess.run([sys.executable, "-m", "venv", str(place)], capture_output=True, text=True)
        if made.returncode == 0:
            made = subprocess.run([str(python), "-m", "pip", "install", "-q", "fhirstarter", "uvicorn[standard]"], capture_output=True, text=True)
        if made.returncode != 0:
            shutil.rmtree(place, ignore_errors=True)
            run.absent.append("fhirstarter (its installation failed)")
            return
    file = run.folder / "found.json"
    file.write_text(json.dumps(found))
    name, base = "fhirstarter (no storage, sign-in, consent, audit)", f"http://127.0.0.1:{port}"
    plan = next(r["id"] for r in found if r["resourceType"] == "CarePlan")
    args = [str(python), "-m", "uvicorn", "benchmarks.peer_fhirstarter:app", "--port", str(port), "--log-level", "error", "--no-access-log"]
    pid = run.start(name, args, {"BENCH_FOUND": str(file), "FHIR_SEQUENCE": "R4B"}, f"{base}/CarePlan/{plan}")
    one, _ = bodies(run, "fhirstarter", f"Patient/{patient}")
    search = f"{base}/CarePlan?patient={patient}"
    for kind, url, body in (("read", f"{base}/CarePlan/{plan}", None), ("search", search, None), ("create", f"{base}/Observation", one)):
        run.tasks.append(Task(name, kind, url, pid, {}, body))


def hapi_jar() -> Path | None:
    """HAPI FHIR JPA of ../shared/peers, built where it is not yet (some minutes); None where it cannot be had."""
    jar, source = WORK / "hapi/target/hapi-peer.jar", ROOT.parent / "shared/peers/hapi"
    if not (shutil.which("java") and (jar.exists() or (shutil.which("mvn") and source.is_dir()))):
        return None
    if not jar.exists():
        print("building HAPI, once", file=sys.stderr, flush=True)
        shutil.copytree(source, WORK / "hapi", dirs_exist_ok=True)
        subprocess.run(["chmod", "-R", "u+w", str(WORK / "hapi")], check=True)
        subprocess.run(["mvn", "-B", "-q", "package"], cwd=WORK / "hapi", check=True, capture_output=True)
    return jar


def hapi(run: Run, patient: str, found: list[dict[str, Any]], beside: list[dict[str, Any]], port: int = 18083) -> None:
    """With the very records of the gateway. HAPI FHIR JPA of ../shared/peers, built once; H2 in memory: nothing durable, no sign-in, no consent, no audit."""
    jar = hapi_jar()
    if jar is None:
        run.absent.append("HAPI FHIR JPA (needs Java, Maven and ../shared/peers/hapi)")
        return
    name, base = "HAPI FHIR JPA 8.8 (in memory; no sign-in, consent, audit)", f"http://127.0.0.1:{port}/fhir"
    args = ["java", "-Xmx1g", "-XX:+UseSerialGC", "-jar", str(jar), "--port", str(port), "--integrity-on-write", "false", "--reuse-search-millis", "0"]
    pid = run.start(name, args, {}, f"{base}/metadata", wait=120)
    people = [{"resourceType": "Patient", "id": patient, "name": [{"family": "Bench"}]}, *found]
    everybody = [*people, *beside]
    for at in range(0, len(everybody), 200):
        kept = [{"resource": r, "request": {"method": "PUT", "url": f"{r['resourceType']}/{r['id']}"}} for r in everybody[at : at + 200]]
        bundle = {"resourceType": "Bundle", "type": "transaction", "entry": kept}
        loaded = httpx2.post(base, json=bundle, headers={"Content-Type": "application/fhir+json"}, timeout=120)
        if loaded.status_code != 200:
            raise SystemExit(f"HAPI refused the records: {loaded.text[:800]}")
    one, twenty = bodies(run, "hapi", f"Patient/{patient}")
    plan = next(r["id"] for r in found if r["resourceType"] == "CarePlan")
    search = f"{base}/CarePlan?patient={patient}"
    fhir = {"Accept": "application/fhir+json"}
    for kind, url, body in (
        ("read", f"{base}/CarePlan/{plan}", None), ("search", search, None), ("include", f"{search}&category={MAIN}&_include=CarePlan:goal", None),
        ("create", f"{base}/Observation", one), ("transaction", base, twenty),
    ):  # fmt: skip
        run.tasks.append(Task(name, kind, url, pid, fhir, body))
