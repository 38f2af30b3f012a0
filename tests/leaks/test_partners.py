"""Rows L35 (what is queued), L46 and L47: what goes to another server, and what is there when it may not be any more."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from ..test_remotes import HUB, Recorder, partnered, recorder
from .conftest import Place
from .seeding import CANARY, DROPPED, VERY, VERY_RESTRICTED, marked, record, rule, sharing

SURGERY = "D82001"


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Place, Recorder]]:
    """A gateway whose surgery has a server of its own, which enforces nothing."""
    with recorder() as r, partnered(tmp_path_factory.mktemp("hub"), {**HUB, "url": r.url, "enforces": "nothing"}) as g:
        p = Place(g)
        for body in record(p.me, p.me):
            p.very[body["resourceType"]] = p.made("patient", marked(VERY_RESTRICTED, body, VERY))
        p.seen = p.made("patient", pointing(p, "Open"))
        yield p, r


def pointing(p: Place, text: str) -> dict[str, Any]:
    """A goal for the surgery, with words beside a reference and in its narrative that are not."""
    return {
        "resourceType": "Goal", "lifecycleStatus": "active", "description": {"text": text}, "subject": {"reference": p.me},
        "text": {"status": "additional", "div": f'<div xmlns="http://www.w3.org/1999/xhtml">{CANARY}{DROPPED}-NARRATIVE</div>'},
        "addresses": [{"reference": p.very["Condition"], "display": f"{CANARY}{DROPPED}-DISPLAY"}],
    }  # fmt: skip


def run(p: Place) -> None:
    done = p.g.command("sync", "run", "--once")
    assert done.returncode == 0, (done.stdout, done.stderr)


def there(r: Recorder, text: str) -> list[str]:
    return [name for name, body in r.held.items() if f'"{text}"' in json.dumps(body)]


def ledger(p: Place) -> list[tuple[Any, ...]]:
    (file,) = p.g.data.rglob("*.sqlite")
    with sqlite3.connect(f"file:{file}?mode=ro", uri=True) as db:
        return db.execute("SELECT remote, type, id, version, at, patient, recalled, body FROM ledger").fetchall()


def test_L46_a_partner_gets_what_its_owner_may_have_as_the_view_and_every_row_is_written_down(hub: tuple[Place, Recorder]) -> None:
    p, r = hub
    run(p)
    assert there(r, "Open"), "what may go has gone"
    held = json.dumps(r.held)
    for secret in (f"{CANARY}{VERY_RESTRICTED}", f"{CANARY}{DROPPED}"):
        assert secret not in held
    assert not {"Consent", "AuditEvent", "Provenance"} & r.types(), "a partner is told nothing about who else may see what"
    id = p.seen.split("/")[1]
    (row,) = [x for x in ledger(p) if x[2] == id]
    remote, type, _, version, at, patient, recalled, body = row
    assert (remote, type, version, patient, recalled) == ("hub", "Goal", 1, p.me, None) and at > 0
    said = msgspec.msgpack.decode(body)
    assert said["recipient"] == SURGERY and said["epoch"] > 0 and "consent" in said
    assert len(ledger(p)) >= len(r.held), "nothing is there without a row"


@pytest.mark.slow
def test_L35_what_waits_in_the_queue_is_asked_again_when_it_is_sent(hub: tuple[Place, Recorder]) -> None:
    """Queued while it was open, denied before it went: it does not go; nor is a gap left that could be counted."""
    p, r = hub
    run(p)
    late = p.made("patient", pointing(p, "Too late"))
    shut = p.made("patient", sharing(p.me, [rule("deny", surgery(p), data=[{"meaning": "instance", "reference": {"reference": late}}])]))
    p.made("patient", pointing(p, "In time"))
    before = dict(r.held)
    run(p)
    assert there(r, "In time") and not there(r, "Too late") and len(r.held) == len(before) + 1
    p.end(shut)


def surgery(p: Place) -> str:
    found = p.get("gp", "Organization?name=Example Street Surgery").json()["entry"]
    return "/".join(found[0]["fullUrl"].split("/")[-2:])


def test_L47_what_a_partner_holds_is_taken_back_or_stays_open_as_a_recall(hub: tuple[Place, Recorder]) -> None:
    p, r = hub
    recalled = p.made("patient", pointing(p, "To be taken back"))
    run(p)
    assert there(r, "To be taken back")
    shut = p.made("patient", sharing(p.me, [rule("deny", surgery(p), data=[{"meaning": "instance", "reference": {"reference": recalled}}])]))
    run(p)
    assert not there(r, "To be taken back")
    rows = [x for x in ledger(p) if x[2] == recalled.split("/")[1]]
    assert rows and all(x[6] for x in rows), "every disclosure of it is marked as taken back"
    (status,) = p.g.lines("sync", "status", "--json")
    assert status["recalls_open"] == 0
    p.end(shut)


@pytest.mark.slow
def test_L47_a_recall_that_is_not_acknowledged_stays_open(hub: tuple[Place, Recorder], monkeypatch: pytest.MonkeyPatch) -> None:
    p, r = hub
    kept = p.made("patient", pointing(p, "Not given back"))
    run(p)
    assert there(r, "Not given back")
    answer = r.answer

    def unwilling(method: str, path: str, sent: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        if method in ("DELETE", "PUT") and path.startswith("Goal/"):
            return 503, {"resourceType": "OperationOutcome", "issue": [{"severity": "error", "code": "transient", "diagnostics": "not now"}]}
        return answer(method, path, sent)

    monkeypatch.setattr(r, "answer", unwilling)
    shut = p.made("patient", sharing(p.me, [rule("deny", surgery(p), data=[{"meaning": "instance", "reference": {"reference": kept}}])]))
    p.g.command("sync", "run", "--once")
    (status,) = p.g.lines("sync", "status", "--json")
    assert status["recalls_open"] >= 1 and there(r, "Not given back")
    monkeypatch.undo()
    assert p.g.command("sync", "retry").returncode == 0
    end = time.monotonic() + 30
    while p.g.command("sync", "run", "--once").returncode and time.monotonic() < end:
        time.sleep(0.5)  # what was put off is not due yet
    run(p)
    (status,) = p.g.lines("sync", "status", "--json")
    assert status["recalls_open"] == 0 and not there(r, "Not given back")
    p.end(shut)
