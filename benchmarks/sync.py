"""How quick sync is, and what readers notice of it: a backlog that drains, and a withdrawal that is taken back.

`python -m benchmarks.sync --peer gateway|hapi [--apart]`: a gateway with its demo people and as many more as make the backlog; its worker is a process of
its own, and its partner a second gateway or HAPI FHIR JPA. While the backlog drains, people read at a steady pace (an open loop, `asking`) in slices
in which the worker runs and slices in which it is stopped (SIGSTOP), in turn: what readers notice is the ratio of the two. A partner is another machine where
there is one: `--apart` gives it the last core for itself, and everything else the others; without, it takes from the readers what it needs. Then the demo's
patient makes goals of her own, which the partner may see by a yes of hers, says no to it and yes again, many times: from the answer to her no until
the partner has none of them any more. `--amid N` asks the same while the backlog drains, with the worker and the readers always at it: she has N goals there
before the people come, and says no to one after the other. Prints the figures and keeps them in `benchmarks/sync.md`.
"""

from __future__ import annotations

import argparse
import os
import platform
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx2

from .asking import Plan, ask
from .contenders import ROOT, Run, bring_people, hapi_jar, token
from .measuring import cpu
from .overload import percentile, requests

PAGE = Path(__file__).with_name("sync.md")
ALONE = 3  # a slice without the worker after as many with it
IN_STEP = 3.0  # seconds that the oldest entry may have waited when the backlog counts as drained
EACH = 8  # resources of a person, about
GOALS = 3  # that are taken back and sent again
OWNER = "RX9"  # the hospital that all of them are cared for by
JSON = {"Content-Type": "application/fhir+json"}
ACT = "http://terminology.hl7.org/CodeSystem"


def free() -> int:
    """A port that nobody has: two runs at once measure nothing well, and neither is the other's gateway."""
    with socket.create_server(("127.0.0.1", 0)) as one:
        return int(one.getsockname()[1])


HERE, THERE = free(), free()


def progress(text: str) -> None:
    """How far it is, on standard error: the page is on the other."""
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


def figures() -> dict[str, float]:
    """What /metrics says of the partner, by name and outcome."""
    found = re.findall(r'^(gateway_\w+)\{(?:outcome="(\w+)",)?remote="peer"(?:,state="(\w+)")?\} (\S+)$', httpx2.get(f"http://127.0.0.1:{HERE}/metrics").text, re.M)
    return {" ".join(filter(None, (name, outcome, state))): float(value) for name, outcome, state, value in found}


@contextmanager
def on_a_core_of_its_own(apart: bool) -> Iterator[None]:
    """What is started inside runs on the last core, and everything else on the others; nothing of it where not `apart`."""
    every = sorted(os.sched_getaffinity(0))
    if not apart:
        yield
        return
    if len(every) < 2:
        raise SystemExit("--apart needs two cores")
    os.sched_setaffinity(0, every[-1:])
    try:
        yield
    finally:
        os.sched_setaffinity(0, every[:-1])


def ours(args: argparse.Namespace, name: str) -> list[str]:
    """Our command line, profiled where that was asked for."""
    return [sys.executable, "-m", *(("benchmarks.profiled", f"{args.profile}/{name}.prof") if args.profile else ("fhir_gateway",))]


def partner(run: Run, args: argparse.Namespace) -> tuple[int, str, str]:
    """Start it: its process, its FHIR base, and a token for it."""
    if args.peer == "hapi":
        base = f"http://127.0.0.1:{THERE}/fhir"
        if (jar := hapi_jar()) is None:
            raise SystemExit("HAPI FHIR JPA cannot be had here: it needs Java, Maven and ../shared/peers/hapi")
        java = ["java", "-Xmx1g", "-XX:+UseSerialGC", "-jar", str(jar), "--port", str(THERE), "--reuse-search-millis", "0"]
        return run.start("peer", java, {}, f"{base}/metadata", wait=180), base, ""
    env = {"GATEWAY_PORT": str(THERE), "GATEWAY_DATA": str(run.folder / "there"), "GATEWAY_LOG_LEVEL": "error"}
    pid = run.start("peer", [*ours(args, "partner"), "serve", "--demo"], env, f"http://127.0.0.1:{THERE}/health")
    return pid, f"http://127.0.0.1:{THERE}/fhir", token(env, "hospital")["token"]


def consent(patient: str, *rules: dict[str, Any]) -> dict[str, Any]:
    """A Consent of hers about the hospital that is the partner's, with each of these rules about her goals."""
    actor = {"role": {"coding": [{"system": f"{ACT}/v3-ParticipationType", "code": "IRCP"}]},
             "reference": {"identifier": {"system": "https://fhir.nhs.uk/Id/ods-organization-code", "value": OWNER}}}  # fmt: skip
    goals = {"class": [{"system": "http://hl7.org/fhir/resource-types", "code": "Goal"}], "actor": [actor]}
    return {
        "resourceType": "Consent", "status": "active", "scope": {"coding": [{"system": f"{ACT}/consentscope", "code": "patient-privacy"}]},
        "category": [{"coding": [{"system": "http://loinc.org", "code": "59284-0"}]}], "patient": {"reference": patient}, "dateTime": "2026-11-20",
        "policyRule": {"coding": [{"system": "https://fhir-gateway.example/CodeSystem/policy", "code": "uk-direct-care"}]},
        "provision": {"provision": [{**rule, **goals} for rule in rules]},
    }  # fmt: skip


def no(patient: str, *only: str) -> dict[str, Any]:
    """To all of her goals, or only to these."""
    data = {"data": [{"meaning": "instance", "reference": {"reference": f"Goal/{id}"}} for id in only]} if only else {}
    return consent(patient, {"type": "deny", **data})


def yes(patient: str) -> dict[str, Any]:
    actions = [{"coding": [{"system": f"{ACT}/consentaction", "code": code}]} for code in ("access", "disclose")]
    return consent(patient, {"type": "permit", "action": actions, "period": {"end": "2040-12-31"}})


def wait(until: Callable[[], bool], seconds: float, what: str, step: float = 0.02) -> float:
    """Seconds that it took."""
    began = time.monotonic()
    while not until():
        if time.monotonic() - began > seconds:
            raise SystemExit(f"{what}: not in {seconds:.0f} s; {figures()}")
        time.sleep(step)
    return time.monotonic() - began


def drain(worker: subprocess.Popen[bytes], pids: dict[str, int], plan: Plan, say: Callable[[str], None], peer: str) -> None:
    """The backlog, and what readers notice of it: slices with and without the worker, in turn."""
    waiting, sent = figures().get("gateway_outbox_entries queued", 0), 0.0
    beside, alone, ran, used, left = list[float](), list[float](), 0.0, dict.fromkeys(pids, 0.0), list[float]()
    n = 0
    while (n == 0 or figures()["gateway_sync_lag_seconds"] > IN_STEP) and n < 3_600:  # readers write, too: something is always on its way
        worker.send_signal(signal.SIGCONT)
        before, busy, began = figures().get("gateway_sync_entries_total sent", 0), {k: cpu(p) for k, p in pids.items()}, time.monotonic()
        beside += ask(plan).answered
        ran += time.monotonic() - began
        sent += figures().get("gateway_sync_entries_total sent", 0) - before
        used = {k: used[k] + cpu(p) - busy[k] for k, p in pids.items()}
        left.append(figures().get("gateway_outbox_entries queued", 0))
        progress(f"{left[-1]:,.0f} wait, {sent:,.0f} sent, {sent / max(ran, 0.001):.0f} a second")
        if n % ALONE == 0:
            worker.send_signal(signal.SIGSTOP)
            alone += ask(plan).answered
        n += 1
    worker.send_signal(signal.SIGCONT)
    ended = {k.split()[-1]: int(v) for k, v in figures().items() if k.startswith("gateway_sync_entries_total")}
    each = ", ".join(f"{k} {v * 1000 / max(sent, 1):.1f}" for k, v in used.items())
    p99 = percentile(sorted(beside), 0.99), percentile(sorted(alone), 0.99)
    say(f"| {peer} | {waiting:,.0f} | {ran:.0f} | {sent / max(ran, 0.001):.0f} | {each} | {p99[1]:.0f} | {p99[0]:.0f} | {p99[0] / max(p99[1], 0.001):.1f} |")
    tenths = ", ".join(f"{left[(len(left) - 1) * i // 10]:,.0f}" for i in range(1, 11))
    say(f"\nStill waiting after each tenth of that time: {tenths}. How they ended: {ended}. Readers asked {plan.rate:g} times a second: "
        f"{len(alone):,} answers without the worker, {len(beside):,} beside it.")


@dataclass
class Hers:
    """The demo's patient: what she writes here, and which of her new goals are at the partner (`base`, asked with `there`). They are new, and hers, for what
    both demos have is joined, and not copied; and the hospital may see them, for she says so first."""

    patient: str
    token: str
    base: str
    there: dict[str, str]

    @property
    def fhir(self) -> str:
        return f"http://127.0.0.1:{HERE}/fhir"

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}", **JSON}

    def made(self, body: dict[str, Any]) -> httpx2.Response:
        answer = httpx2.post(f"{self.fhir}/{body['resourceType']}", json=body, headers=self.headers, timeout=60)
        if answer.status_code != 201:
            raise SystemExit(f"her {body['resourceType']} was refused: {answer.text}")
        return answer

    def goals(self, many: int) -> list[str]:
        """So many new ones, and her yes to them."""
        self.made(yes(self.patient))
        new = {"resourceType": "Goal", "lifecycleStatus": "active", "subject": {"reference": self.patient}}
        return [str(self.made({**new, "description": {"text": f"To be taken back, {n}"}}).json()["id"]) for n in range(many)]

    def sent(self, ids: list[str]) -> int:
        """How many of these are there, by the tags of what was sent from here."""
        (name,) = re.findall(r'"([0-9a-f]{16})"', httpx2.get(f"{self.fhir}/metadata", timeout=60).text)
        tags = ",".join(f"https://fhir-gateway.example/id/resource|{name}.{id}" for id in ids)
        found = httpx2.get(f"{self.base}/Goal?_summary=count&_tag={tags}", headers={**self.there, "Cache-Control": "no-cache"}, timeout=60).json()
        return int(found.get("total", 0))


def withdrawals(times: int, her: Hers, say: Callable[[str], None]) -> None:
    """From the answer to her no until the partner has none of her new goals any more; then yes again until they are back."""
    own = her.goals(GOALS)
    wait(lambda: her.sent(own) == GOALS, 60, "sending her new goals")
    took = []
    for _ in range(times):
        answer = her.made(no(her.patient))
        took.append(wait(lambda: her.sent(own) == 0, 60, "a recall"))
        body, etag = answer.json(), answer.headers["etag"]
        httpx2.put(f"{her.fhir}/Consent/{body['id']}", json={**body, "status": "inactive"}, headers={**her.headers, "If-Match": etag}).raise_for_status()
        wait(lambda: her.sent(own) == GOALS, 60, "sending again")
        progress(f"withdrawal {len(took)} of {times}: {took[-1]:.2f} s")
    say(f"\nWithdrawal of {GOALS} goals to acknowledged recall of all, {times} times: {spread(took)}.")


def amid(own: list[str], her: Hers, plan: Plan, say: Callable[[str], None]) -> None:
    """While the backlog drains and readers ask: from the answer to her no to one goal until the partner has it no more, one goal after the other, as long as
    anything waits; then until all is drained."""
    over, took, read = threading.Event(), list[float](), list[float]()

    def reading() -> None:
        while not over.is_set():
            read.extend(ask(plan).answered)

    readers = threading.Thread(target=reading)
    waiting, sent, began = figures().get("gateway_outbox_entries queued", 0), figures().get("gateway_sync_entries_total sent", 0), time.monotonic()
    left = waiting
    readers.start()
    try:
        for id in own:
            if (now := figures().get("gateway_outbox_entries queued", 0)) < waiting / 20:  # no drain any more
                break
            left = now
            her.made(no(her.patient, id))
            took.append(wait(lambda id=id: her.sent([id]) == 0, 120, "a recall", 0.05))  # type: ignore[misc]
            progress(f"withdrawal {len(took)} of {len(own)}: {took[-1]:.2f} s, {left:,.0f} wait")
        wait(lambda: figures()["gateway_sync_lag_seconds"] <= IN_STEP, 3_600, "draining", 1.0)
    finally:
        over.set()
        readers.join()
    seconds, gone = time.monotonic() - began, figures().get("gateway_sync_entries_total sent", 0) - sent
    if not took:
        raise SystemExit("it drained before she could say no once: a longer --backlog is wanted")
    say(f"Withdrawal of a goal to acknowledged recall, {len(took)} times while {waiting:,.0f} to {left:,.0f} entries waited: {spread(took)}. "
        f"{gone:,.0f} were sent in {seconds:.0f} s, {gone / max(seconds, 0.001):.0f} a second, the worker always at it; "
        f"p99 of {len(read):,} answers to readers, {plan.rate:g} a second: {percentile(sorted(read), 0.99):.0f} ms.")


def spread(took: list[float]) -> str:
    """Of seconds."""
    took = sorted(took)
    return f"p50 {percentile(took, 0.5):.2f} s, p95 {percentile(took, 0.95):.2f} s, at most {took[-1]:.2f} s"


def bring(run: Run, args: argparse.Namespace, env: dict[str, str]) -> None:
    """The people who make the backlog, in parts: a command line is so long and no longer."""
    for many in range(0, args.backlog // EACH, 500):
        place = run.folder / "people" / str(many)
        place.mkdir(parents=True)
        bring_people(place, env, min(500, args.backlog // EACH - many), many)
        progress(f"{min(many + 500, args.backlog // EACH):,} of {args.backlog // EACH:,} people brought in")


def measure(run: Run, args: argparse.Namespace, say: Callable[[str], None]) -> None:
    with on_a_core_of_its_own(args.apart):
        pid, base, theirs = partner(run, args)
    auth = f'auth = {{ kind = "bearer", token = "{theirs}" }}' if theirs else ""
    (run.folder / "gateway.toml").write_text(
        f'worker = false\n[[remote]]\nname = "peer"\nurl = "{base}"\norganisation = "{OWNER}"\nconcurrency = {args.concurrency}\n{auth}\n'
    )
    env = {
        "GATEWAY_PORT": str(HERE), "GATEWAY_DATA": str(run.folder / "data"), "GATEWAY_LOG_LEVEL": "error", "GATEWAY_CONFIG": str(run.folder / "gateway.toml"),
    }  # fmt: skip
    here = run.start("gateway", [*ours(args, "gateway"), "serve", "--demo"], env, f"http://127.0.0.1:{HERE}/health")
    whose = token(env, "patient")
    patient = "Patient/" + whose["patient"].removeprefix("Patient/")
    her = Hers(patient, whose["token"], base, {"Authorization": f"Bearer {theirs}"} if theirs else {})
    own = her.goals(args.amid) if args.amid else []
    if own:
        subprocess.run([*ours(args, "once"), "sync", "run", "--once"], env={**os.environ, **env}, stdout=subprocess.DEVNULL, cwd=ROOT, check=False)
        wait(lambda: her.sent(own) == len(own), 60, "sending her new goals")
    bring(run, args, env)
    said = {who: token(env, who) for who in ("gp", "hospital", "patient")}
    her.token = said["patient"]["token"]
    asked, shares = requests({who: of["token"] for who, of in said.items()}, patient)
    say(f"Made by `python -m benchmarks.sync --peer {args.peer} --backlog {args.backlog} --rate {args.rate:g} --concurrency {args.concurrency}{f' --nice {args.nice}' if args.nice else ''}{f' --amid {args.amid}' if args.amid else ''}{' --apart' if args.apart else ''}` on {datetime.now(UTC):%Y-%m-%d}, "
        f"{os.cpu_count()} x {platform.machine()}, Python {platform.python_version()}, load {os.getloadavg()[0]:.1f}.\n")
    before = figures().get("gateway_sync_entries_total sent", 0)
    log = (run.folder / "worker.log").open("wb")
    worker = subprocess.Popen(["nice", "-n", str(args.nice), *ours(args, "worker"), "worker"], env={**os.environ, **env}, stdout=log, stderr=log, cwd=ROOT)
    run.processes["worker"] = worker
    begun: Callable[[], bool] = lambda: figures().get("gateway_sync_entries_total sent", 0) > before  # noqa: E731
    wait((lambda: begun() or figures().get("gateway_outbox_entries queued", 0) > args.backlog / 2) if not own else begun, 600, "first contact")
    plan = Plan(HERE, asked, shares, 8, args.rate, args.seconds)
    if own:
        amid(own, her, plan, say)
        return
    say("| partner | waiting | seconds | sent a second | CPU ms for each, of | p99 ms of readers, worker stopped | p99 ms, worker running | times |")
    say("|---|---|---|---|---|---|---|---|")
    drain(worker, {"worker": worker.pid, "gateway": here, "partner": pid}, plan, say, args.peer)
    if args.withdrawals:
        withdrawals(args.withdrawals, her, say)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--peer", choices=("gateway", "hapi"), default="gateway")
    parser.add_argument("--backlog", type=int, default=10_000)
    parser.add_argument("--rate", type=float, default=40, help="requests of readers a second")
    parser.add_argument("--seconds", type=float, default=2, help="of a slice")
    parser.add_argument("--withdrawals", type=int, default=60)
    parser.add_argument("--amid", type=int, default=0, metavar="N", help="measure so many withdrawals while the backlog drains, and nothing else")
    parser.add_argument("--concurrency", type=int, default=4)
    parser.add_argument("--nice", type=int, default=0, help="of the worker: how far it stands behind others for the processor")
    parser.add_argument("--apart", action="store_true", help="the partner on a core of its own")
    parser.add_argument("--profile", metavar="DIR", help="of worker, gateway and partner, by cProfile: what that costs is in the figures, so none are kept")
    parser.add_argument("--show", action="store_true", help="keep no page")
    args = parser.parse_args()
    said = list[str]()

    def say(text: str) -> None:
        print(text, flush=True)
        said.append(text)

    with tempfile.TemporaryDirectory() as folder:
        run = Run(Path(folder))
        try:
            measure(run, args, say)
        except BaseException:
            for name in ("worker", "gateway", "peer"):
                file = run.folder / f"{name}.log"
                print(f"{name}: {file.read_text()[-1500:] if file.exists() else ''}", file=sys.stderr)
            raise
        finally:
            if (worker := run.processes.get("worker")) is not None:
                worker.send_signal(signal.SIGCONT)
            run.stop()
    if not (args.show or args.profile):
        PAGE.write_text(page(args.peer + (AMID if args.amid else "") + (APART if args.apart else ""), "\n".join(said)))


APART, AMID = ", on a core of its own", ", withdrawals while it drains"
WORDS = """
*Sent a second* counts the time in which the worker ran; *times* is how much longer p99 of the readers was then. All processes share one machine, so that where a
partner is not on a core of its own, what it needs is taken from the readers as well: they wait for it more than for the worker. A partner that is another machine is more like the other table.
""".strip()


def page(peer: str, part: str) -> str:
    """The page with this part made anew, and the others as they are."""
    old = PAGE.read_text() if PAGE.exists() else ""
    parts = dict(re.findall(r"^## To ([^\n]+)\n\n(.*?)(?=^## To |\Z)", old, re.M | re.S)) | {peer: part + "\n"}
    return f"# Sync\n\n{WORDS}\n" + "\n".join(f"## To {name}\n\n{text.strip()}\n" for name, text in sorted(parts.items()))


if __name__ == "__main__":
    main()
