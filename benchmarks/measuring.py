"""CPU and memory of a server's whole process tree, and one slice of requests by wrk."""

from __future__ import annotations

import os
import re
import statistics
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

TICK = os.sysconf("SC_CLK_TCK")


@dataclass
class Task:
    """One kind of request to one contender: where, with which body (POST when there is one), and what was seen."""

    contender: str
    kind: str  # read, view, search, include, create, transaction
    url: str
    pid: int
    headers: dict[str, str] = field(default_factory=dict)
    body: Path | None = None
    figures: list[float] = field(default_factory=list)  # CPU milliseconds a request
    rates: list[float] = field(default_factory=list)  # requests a second

    @property
    def median(self) -> float:
        return statistics.median(self.figures)


def tree(pid: int) -> list[int]:
    out = [pid]
    for child in Path(f"/proc/{pid}/task").glob("*/children"):
        for p in child.read_text().split():
            out += tree(int(p))
    return out


def cpu(pid: int) -> float:
    """Seconds of CPU this process tree has used."""
    total = 0
    for p in tree(pid):
        try:
            fields = Path(f"/proc/{p}/stat").read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        total += int(fields[11]) + int(fields[12])
    return total / TICK


def resident(pid: int) -> float:
    """MiB resident of this process tree."""
    pages = sum(int(Path(f"/proc/{p}/statm").read_text().split()[1]) for p in tree(pid))
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


POST = """
wrk.method = "POST"
local file = io.open(os.getenv("BENCH_BODY"), "rb")
wrk.body = file:read("*a")
file:close()
wrk.headers["Content-Type"] = "application/fhir+json"
"""


def visit(task: Task, seconds: float, connections: int, folder: Path) -> None:
    """One slice; what it cost is added to the task. Ends the run when the contender answers with errors."""
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds:g}s", "--timeout", "20s"]
    for k, v in task.headers.items():
        command += ["-H", f"{k}: {v}"]
    env = dict(os.environ)
    if task.body is not None:
        script = folder / "post.lua"
        script.write_text(POST)
        command += ["-s", str(script)]
        env["BENCH_BODY"] = str(task.body)
    before = cpu(task.pid)
    done = subprocess.run([*command, task.url], capture_output=True, text=True, check=True, env=env).stdout
    found = re.search(r"(\d+) requests in", done)
    if found is None or "Non-2xx" in done:
        raise SystemExit(f"{task.contender}, {task.kind}: answered with errors: {done}")
    requests = max(int(found.group(1)), 1)
    task.figures.append((cpu(task.pid) - before) * 1000 / requests)
    task.rates.append(requests / seconds)
