"""Full plans of made-up people, each with everything that a plan can hold: brought in by the command, read back over HTTP, counted and measured.

`python -m tests.full_plans --plans 1000`: a demo gateway of its own, the plans as files, `fhir-gateway import` with its bar on this terminal, `GET /plans/{id}` of each, and the same
plans once more. Prints what it took, as JSON; ends with 1 where a plan came back other than it went in. benchmarks/plans.md has figures.
"""

from __future__ import annotations

import argparse
import json
import os
import pty
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import asdict, dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from benchmarks.measuring import resident
from fhir_gateway.domain.mapping.carrier import dump

from .conftest import Gateway, gateway

WHOLE = Path(__file__).parent / "cases" / "mapping" / "whole-standard.json"
# How many more of each there are than in the plan that has one of everything: a hundred resources, as long plans of real people have.
MORE = {"goals": 13, "actions": 19, "measurements": 15, "medicines": 6, "needs": 4, "documents": 3, "contacts": 2, "referrals": 3, "barriers": 2}
FIRST = 999_100_000  # of the numbers that are nobody's, https://digital.nhs.uk/services/e-referral-service/nhs-number-test
WORDS = {"text", "title", "wanted"}


@dataclass(frozen=True, slots=True)
class Took:
    """Counts, seconds, MiB. `other`: ids of people whose plan came back other than it went in."""

    plans: int
    resources: int
    import_seconds: float
    import_cpu: float
    import_peak: float
    read_seconds: float
    read_p95: float
    served_peak: float
    store: float
    again_seconds: float
    again_written: int
    other: tuple[str, ...]
    bar: str


def numbers(count: int) -> list[str]:
    """The first NHS numbers of nobody's whose check digit there is."""
    out: list[str] = []
    at = FIRST
    while len(out) < count:
        at += 1
        check = 11 - sum(int(d) * w for d, w in zip(str(at), range(10, 1, -1), strict=True)) % 11
        if check != 10:
            out.append(f"{at}{check % 11}")
    return out


def full_plan(whole: Mapping[str, Any], n: int, nhs_number: str) -> dict[str, Any]:
    """The nth person's plan: everything that `whole` has, and of what people have several, several."""
    plan = deepcopy(dict(whole))
    plan["id"] = f"full-{n}"
    name = {"given": ["Samira"], "family": f"Invented{n}", "full": f"Mrs Samira Invented{n} OBE"}
    plan["person"] |= {"id": f"sam-{n}", "nhs_number": nhs_number, "name": plan["person"]["name"] | name}
    plan["person"]["other_ids"] = [{"system": "https://council.example/id/case", "value": f"C-{n}"}]
    for key, more in MORE.items():
        first = plan[key][0]
        plan[key] += [_another(first, f"{k}", n) for k in range(1, more + 1)]
    return plan


def _another(node: Any, k: str, n: int) -> Any:
    """The same thing again under other ids and in other words."""
    if isinstance(node, dict):
        return {key: f"{v}-{k}" if key == "id" else f"{v}, {k} of {n}" if key in WORDS and isinstance(v, str) else _another(v, k, n) for key, v in node.items()}
    return [_another(v, k, n) for v in node] if isinstance(node, list) else node


def written(folder: Path, count: int) -> list[Path]:
    """`count` plans as files."""
    whole = json.loads(WHOLE.read_bytes())["plan"]
    files = []
    for n, number in enumerate(numbers(count)):
        files.append(folder / f"{n:04}.json")
        files[-1].write_bytes(json.dumps(full_plan(whole, n, number)).encode())
    return files


def exact(raw: bytes) -> str:
    """JSON with its numbers as they are written."""
    return dump(json.loads(raw, parse_float=Decimal))


def most_held(pid: int) -> float:
    """MiB that a process held at the most so far; 0 where that cannot be looked at, or it is over. What `wait` says of a child counts the
    memory of whoever started it, too."""
    try:
        said = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in said.splitlines() if line.startswith("VmHWM:")), 0.0)


def watched(g: Gateway, *args: str, show: bool = False) -> tuple[list[dict[str, Any]], str, float, float]:
    """A command as somebody who watches a terminal runs it: (its lines, what the terminal showed, seconds of CPU, MiB at the most)."""
    ours, theirs = pty.openpty()
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(
            [sys.executable, "-m", "fhir_gateway", *args], env={**g.env, "TERM": "xterm", "COLUMNS": "100"}, stdout=said, stderr=theirs, cwd=g.data.parent
        )
        os.close(theirs)
        shown, peak = b"", 0.0
        while True:
            peak = max(peak, most_held(process.pid))
            try:
                part = os.read(ours, 4096)
            except OSError:  # the other end is closed
                break
            if show:
                sys.stderr.buffer.write(part)
                sys.stderr.flush()
            shown = (shown + part)[-100_000:]
        os.close(ours)
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        said.seek(0)
        raw = said.read()
    assert process.returncode == 0, (shown[-4000:], raw[-4000:])
    return [json.loads(line) for line in raw.splitlines()], shown.decode(errors="replace"), used.ru_utime + used.ru_stime, peak or used.ru_maxrss / 1024


def measured(folder: Path, count: int, *, show: bool = False) -> Took:
    """All of it, in a folder of its own."""
    (folder / "plans").mkdir(parents=True)
    files = written(folder / "plans", count)
    with gateway(folder / "at", "--demo") as g:
        g.patience = 120 + 10 * count
        start = time.monotonic()
        done, shown, used, peak = watched(g, "import", *map(str, files), "--json", show=show)
        import_seconds = time.monotonic() - start
        assert [d["file"] for d in done] == [str(f) for f in files] and not any(d["refused"] or d["unmapped"] for d in done)
        times, other, served = [], [], 0.0
        for n, (file, one) in enumerate(zip(files, done, strict=True)):
            if n % 50 == 0:
                g._tokens.clear()  # they live for an hour
                g.persona("hospital")
                served = max(served, resident(g.process.pid if g.process else 0))
            start = time.monotonic()
            back = g.get("hospital", f"/plans/{one['patient']}")
            times.append(time.monotonic() - start)
            if back.status_code != 200 or exact(back.content) != exact(file.read_bytes()):
                other.append(one["patient"])
        start = time.monotonic()
        again, *_ = watched(g, "import", *map(str, files), "--json", show=show)
        again_seconds = time.monotonic() - start
        store = sum(f.stat().st_size for f in g.data.rglob("*") if f.is_file()) / 2**20
    assert [d["patient"] for d in again] == [d["patient"] for d in done]
    return Took(
        count, sum(d["written"] for d in done), import_seconds, used, peak, sum(times), sorted(times)[int(len(times) * 0.95)], served, store,
        again_seconds, sum(d["written"] for d in again), tuple(other), shown[-400:],
    )  # fmt: skip


def main() -> int:
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--plans", type=int, default=20)
    with tempfile.TemporaryDirectory() as folder:
        took = measured(Path(folder), asked.parse_args().plans, show=True)
    print(json.dumps({k: round(v, 2) if isinstance(v, float) else v for k, v in asdict(took).items() if k != "bar"}, indent=1))
    return 1 if took.other or took.again_written else 0


if __name__ == "__main__":
    sys.exit(main())
