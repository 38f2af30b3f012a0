"""The log holds nobody's data, whatever goes wrong; /health says 503 when the store does not answer. Real server, real store."""

from __future__ import annotations

import ast
import json
import re
import resource
import secrets
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import apsw
import httpx2
import pytest

from .conftest import ROOT, Gateway, gateway

GIVEN, FAMILY, NHS = "Zephyrine", "Quillfeather", "9449305552"
SEARCHED, SAID, WRONG, BROKEN = "Zanzibarvalue", "Xylophonist-hopes", "Wumpuscode", "Brokenheartedly"
PLAN = {
    "plan": "1", "id": "log", "title": SAID, "status": "active",
    "person": {"name": {"given": [GIVEN], "family": FAMILY}, "birthDate": "1951-03-04", "nhsNumber": NHS},
    "goals": [{"id": "g", "text": SAID}],
}  # fmt: skip


def log_of(g: Gateway) -> list[dict[str, Any]]:
    """Every line of the log is one JSON record (what the demo prints to try comes first)."""
    return [json.loads(line) for line in g.log.read_text().splitlines() if line.startswith("{")]


LEVELS = {"debug": "debug", "info": "info", "warning": "warning", "error": "error", "exception": "error"}


def logged(root: Path) -> dict[str, set[str]]:
    """Event -> levels, of every call `log.LEVEL("event", …)` below `root`, and of what libraries log."""
    out: dict[str, set[str]] = {"library": {"warning", "error"}}
    for file in root.rglob("*.py"):
        for call in (n for n in ast.walk(ast.parse(file.read_text())) if isinstance(n, ast.Call) and isinstance(n.func, ast.Attribute)):
            assert isinstance(call.func, ast.Attribute)
            if isinstance(call.func.value, ast.Name) and call.func.value.id in ("log", "logger") and call.func.attr in LEVELS:
                assert call.args and isinstance(call.args[0], ast.Constant), f"{file}:{call.lineno}: an event has a name of its own"
                out.setdefault(str(call.args[0].value), set()).add(LEVELS[call.func.attr])
    return out


def test_every_event_of_the_log_is_on_its_page() -> None:
    page = (ROOT / "docs" / "logs.md").read_text()
    rows = re.findall(r"^\| `([a-z-]+)` \| ([a-z, ]+) \| \S.+ \| \S.+ \|$", page, re.M)
    assert [e for e, _ in rows] == sorted({e for e, _ in rows})
    assert {event: set(levels.split(", ")) for event, levels in rows} == logged(ROOT / "fhir_gateway")


def spoil(g: Gateway, ref: str, raw: bytes) -> None:
    """Break one stored record, behind the gateway's back."""
    db = apsw.Connection(str(g.data / "gateway.sqlite"))
    db.set_busy_timeout(10_000)
    type, id = ref.split("/")
    db.execute("UPDATE resource SET facts = ? WHERE type = ? AND id = ?", (raw, type, id))
    assert db.changes() == 1
    db.close()


def test_the_log_of_a_story_with_errors_and_a_crash_holds_nobodys_data(tmp_path: Path) -> None:
    with gateway(tmp_path, "--demo", GATEWAY_LOG_LEVEL="debug") as g:
        made = g.call("hospital", "POST", "/plans", body=PLAN)
        assert made.status_code == 201, made.text
        patient = made.json()["patient"]
        assert g.get("hospital", f"Patient?name={SEARCHED}&birthdate=1951-03-04").status_code == 200
        goal = g.get("hospital", f"Goal?patient={patient}").json()["entry"][0]["resource"]
        assert goal["description"]["text"] == SAID
        assert g.call("hospital", "POST", "Goal", body={**goal, "lifecycleStatus": WRONG}).status_code == 422
        assert g.call("hospital", "POST", "Goal", raw=f'{{"{WRONG}'.encode()).status_code == 400
        assert g.get("hospital", f"Goal?{SEARCHED}={SAID}", Prefer="handling=strict").status_code == 400
        assert g.get("link-worker", f"/plans/{patient}").status_code == 404
        httpx2.post(f"{g.base}/sign-in", data={"username": SEARCHED, "password": WRONG}, headers={"Origin": g.base})
        httpx2.post(f"{g.base}/oauth/token", data={"grant_type": SEARCHED, "client_assertion": WRONG})
        token = g.persona("hospital")["token"]
        spoil(g, f"Goal/{goal['id']}", json.dumps({"patients": [f"Patient/{patient}"], BROKEN: {"sensitivity": BROKEN}}).encode()[:-1])
        crashed = g.get("hospital", f"Goal/{goal['id']}?_pretty={SEARCHED}")
        assert crashed.status_code == 500
        assert crashed.json()["resourceType"] == "OperationOutcome" and BROKEN not in crashed.text
        assert g.get(None, "/health").status_code == 200

        text = g.log.read_text()
        records = log_of(g)
        (crash,) = [r for r in records if r["event"] == "unexpected"]
        assert crash["exception"][0]["type"] and any("store/" in place for place in crash["exception"][0]["at"]), "enough to find it by"
        held = [w for w in (GIVEN, FAMILY, NHS, SEARCHED, SAID, WRONG, BROKEN, "1951-03-04", token, patient) if w in text]
        assert not held, text


def test_a_message_that_holds_data_is_not_logged(capfd: pytest.CaptureFixture[str]) -> None:
    """By the logger itself: exceptions from anywhere, causes too, and what libraries put into their sentences."""
    import logging

    import structlog

    from fhir_gateway import logs

    logs.to_stderr("info")
    try:
        try:
            raise KeyError(FAMILY)
        except KeyError as e:
            raise ValueError(f"cannot read {GIVEN} {NHS}") from e
    except ValueError:
        structlog.get_logger().exception("unexpected", area="fhir")
        logging.getLogger("asyncio").exception("Task of %s was never retrieved", GIVEN)
    structlog.get_logger().warning("remote-away", why=f"it answered something unreadable: `{SAID} is cut off")
    logging.getLogger("httpx2").info("GET /Patient?name=%s", SEARCHED)
    logging.getLogger("uvicorn.error").warning(f"made beforehand with {SEARCHED}")
    err = capfd.readouterr().err
    records = [json.loads(line) for line in err.splitlines()]
    assert [e["type"] for e in records[0]["exception"]] == ["ValueError", "KeyError"]
    assert records[1]["sentence"] == "Task of %s was never retrieved"
    assert len(records) == 4
    assert not [w for w in (GIVEN, FAMILY, NHS, SEARCHED, SAID) if w in err], err


def test_a_log_that_nobody_can_take_ends_nothing(tmp_path: Path) -> None:
    """Standard error closed, its reader gone, its disk full: the line is lost, and whoever told it goes on."""
    said = "import sys; from fhir_gateway import logs; import structlog; logs.to_stderr('info'); log = structlog.get_logger(); {}; log.info('a'); log.info('b'); print('on')"
    full = "import os; fd = os.open('/dev/full', os.O_WRONLY); os.dup2(fd, 2)"
    gone = "import os; r, w = os.pipe(); os.close(r); os.dup2(w, 2)"
    for how in ("sys.stderr.close()", gone, *([full] if Path("/dev/full").exists() else [])):
        done = subprocess.run([sys.executable, "-c", said.format(how)], capture_output=True, text=True, cwd=ROOT)
        assert done.stdout == "on\n", how


def test_a_command_logs_to_stderr_and_nobodys_data() -> None:
    """Its stdout is for what was asked; an exception is told by its places, not by what was in hand."""
    said = f"""
import structlog
from fhir_gateway.command_line.base import run
async def doing():
    given = {GIVEN!r}
    try:
        raise KeyError(given)
    except KeyError:
        structlog.get_logger().exception("sync-failed", remote="hub")
run(doing())
"""
    done = subprocess.run([sys.executable, "-c", said], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout == "" and GIVEN not in done.stderr
    assert json.loads(done.stderr)["exception"][0]["type"] == "KeyError"


# -- health -----------------------------------------------------------------------------------------------------------


@contextmanager
def replaced(g: Gateway) -> Iterator[None]:
    """Somebody puts another file in the place of the store's."""
    file, aside = g.data / "gateway.sqlite", g.data / "aside"
    file.rename(aside)
    file.write_bytes(b"this is no store")
    try:
        yield
    finally:
        aside.rename(file)


@contextmanager
def locked(g: Gateway) -> Iterator[None]:
    """Somebody else holds the store and does not let go."""
    db = apsw.Connection(str(g.data / "gateway.sqlite"))
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        db.execute("ROLLBACK")
        db.close()


@contextmanager
def full(g: Gateway) -> Iterator[None]:
    """No file of this process may grow any more, as on a full disk."""
    assert g.process is not None
    hard = resource.prlimit(g.process.pid, resource.RLIMIT_FSIZE)[1]
    before = resource.prlimit(g.process.pid, resource.RLIMIT_FSIZE, (4096, hard))
    try:
        yield
    finally:
        resource.prlimit(g.process.pid, resource.RLIMIT_FSIZE, before)


def becomes(g: Gateway, status: int, seconds: float = 20) -> httpx2.Response:
    end = time.monotonic() + seconds
    while True:
        answer = g.get(None, "/health")
        if answer.status_code == status or time.monotonic() > end:
            return answer
        time.sleep(0.3)


@pytest.mark.parametrize("broken", [replaced, locked, full])
def test_health_is_503_while_the_store_does_not_answer(demo: Gateway, broken: Any) -> None:
    assert becomes(demo, 200).status_code == 200
    with broken(demo):
        answer = becomes(demo, 503)
        assert answer.status_code == 503
        assert answer.json() == {"status": "not ready"} and answer.headers["retry-after"]
    assert becomes(demo, 200).status_code == 200, "and it comes back by itself"
    assert demo.get("patient", f"Patient/{demo.patient}").status_code == 200


@pytest.mark.slow
def test_writes_that_fail_are_told_once_in_the_log_and_by_health_though_a_small_one_still_fits(demo: Gateway) -> None:
    """A disk that is almost full takes the probe of /health, and no care plan."""
    assert becomes(demo, 200).status_code == 200 and demo.process is not None
    before, room = told(demo), (demo.data / "gateway.sqlite-wal").stat().st_size
    notes = [{"text": secrets.token_hex(450_000)} for _ in range(5)]
    long = {"resourceType": "Goal", "lifecycleStatus": "active", "description": {"text": "Walk"}, "subject": {"reference": f"Patient/{demo.patient}"}, "note": notes}
    hard = resource.prlimit(demo.process.pid, resource.RLIMIT_FSIZE)[1]
    unlimited = resource.prlimit(demo.process.pid, resource.RLIMIT_FSIZE, (room + 16_384, hard))
    try:
        for _ in range(3):
            assert demo.call("patient", "POST", "Goal", body=long).status_code == 503
        assert demo.get(None, "/health").status_code == 503
    finally:
        resource.prlimit(demo.process.pid, resource.RLIMIT_FSIZE, unlimited)
    assert becomes(demo, 200, 30).status_code == 200
    end = time.monotonic() + 20
    while len(said := told(demo)[len(before) :]) < 2 and time.monotonic() < end:
        demo.get(None, "/health")
        time.sleep(0.3)
    assert [line["event"] for line in said] == ["store-fails", "store-works"], "not once for each request"
    assert said[0]["level"] == "error" and said[0]["why"] and said[0]["help"]


def told(g: Gateway) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in g.log.read_text().splitlines() if line.startswith("{")]
    return [line for line in lines if line["event"] in ("store-fails", "store-works")]
