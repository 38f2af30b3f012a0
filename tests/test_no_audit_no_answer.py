"""Each act leaves its row in its own commit; where the row cannot be written there is no answer, and nothing is done.

The store's own file is made to refuse audit rows, beside the running gateway. docs/audit.md lists the acts from here.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx2
import pytest

from .conftest import ROOT, Gateway
from .staff import consent, permit
from .web.test_doors import Visitor, as_

Ask = Callable[["Stage"], httpx2.Response]


@dataclass
class Stage:
    """The demo, with something to ask about; `rows` and `versions` are read from the file itself."""

    g: Gateway
    goal: str = ""
    made: dict[str, str] = field(default_factory=dict)

    def db(self) -> Any:
        return closing(sqlite3.connect(self.g.data / "gateway.sqlite", timeout=30))

    def rows(self) -> int:
        with self.db() as db:
            return int(db.execute("SELECT coalesce(max(aid), 0) FROM audit").fetchone()[0])

    def since(self, aid: int) -> list[dict[str, Any]]:
        with self.db() as db:
            return [json.loads(n) for (n,) in db.execute("SELECT note FROM audit WHERE aid > ?", (aid,))]

    def versions(self) -> int:
        with self.db() as db:
            return int(db.execute("SELECT count(*) FROM version").fetchone()[0])

    @contextmanager
    def without_audit(self) -> Iterator[None]:
        """The file takes everything but audit rows."""
        with self.db() as db:
            db.execute("CREATE TRIGGER refused BEFORE INSERT ON audit BEGIN SELECT RAISE(ABORT, 'no audit today'); END")
        try:
            yield
        finally:
            with self.db() as db:
                db.execute("DROP TRIGGER refused")

    def etag(self, ref: str) -> str:
        return str(self.g.get("patient", ref).headers["etag"])

    def body(self, **more: Any) -> dict[str, Any]:
        me = {"reference": f"Patient/{self.g.patient}"}
        return {"resourceType": "Goal", "lifecycleStatus": "active", "description": {"text": f"Walk {time.monotonic_ns()}"}, "subject": me, **more}

    def write(self, method: str, who: str = "patient") -> httpx2.Response:
        sent = {"If-Match": self.made.get("etag", "")}
        if method == "PATCH":
            patch = [{"op": "replace", "path": "/description/text", "value": f"Run {time.monotonic_ns()}"}]
            return self.g.call(who, "PATCH", self.goal, body=patch, headers={**sent, "Content-Type": "application/json-patch+json"})
        body = None if method == "DELETE" else self.body(id=self.goal.split("/")[1])
        return self.g.call(who, method, self.goal, body=body, headers=sent)

    def bundle(self, type: str) -> httpx2.Response:
        entry = {"resource": self.body(), "request": {"method": "POST", "url": "Goal"}}
        return self.g.call("patient", "POST", "", body={"resourceType": "Bundle", "type": type, "entry": [entry]})


def page(who: str, path: str) -> Ask:
    return lambda s: visitor(s, who).get(path)


_visitors: dict[str, Visitor] = {}


def visitor(s: Stage, who: str) -> Visitor:
    if who not in _visitors:
        _visitors[who] = as_(s.g, who)
    return _visitors[who]


# act: (what its row says, how it is done)
ACTS: dict[str, tuple[str, Ask]] = {
    "read": ("read", lambda s: s.g.get("gp", s.goal)),
    "read of a version": ("vread", lambda s: s.g.get("gp", f"{s.goal}/_history/1")),
    "search": ("search", lambda s: s.g.get("gp", f"Goal?patient={s.g.patient}")),
    "search that finds nothing": ("search", lambda s: s.g.get("gp", f"Goal?patient={s.g.patient}&description=nothing-like-this")),
    "count": ("search", lambda s: s.g.get("gp", f"Goal?patient={s.g.patient}&_summary=count")),
    "history": ("history", lambda s: s.g.get("gp", f"{s.goal}/_history")),
    "$everything": ("everything", lambda s: s.g.get("gp", f"Patient/{s.g.patient}/$everything?_count=1")),
    "refused read": ("read", lambda s: s.g.get("stranger", s.goal)),
    "refused search": ("search", lambda s: s.g.get("stranger", f"Goal?patient={s.g.patient}")),
    "refused write": ("create", lambda s: s.g.call("stranger", "POST", "Goal", body=s.body())),
    "create": ("create", lambda s: s.g.call("patient", "POST", "Goal", body=s.body())),
    "update": ("update", lambda s: s.write("PUT")),
    "patch": ("patch", lambda s: s.write("PATCH")),
    "batch": ("create", lambda s: s.bundle("batch")),
    "transaction": ("create", lambda s: s.bundle("transaction")),
    "delete": ("delete", lambda s: s.write("DELETE")),
    "consent given": ("create", lambda s: s.g.call("patient", "POST", "Consent", body=consent(s.g.patient, permit("Practitioner/nobody-here")))),
    "why somebody may see something": ("explain", lambda s: s.g.get("patient", f"Consent/$explain?what={s.goal}&who={s.g.persona('gp')['fhirUser']}")),
    "emergency": ("break-glass", lambda s: s.g.call("stranger", "POST", f"/patients/{s.g.patient}/break-glass", body={"reason": f"Found unconscious {time.monotonic_ns()}", "ground": "incapacity-vital-interest"})),
    "claim to look after somebody": ("claim", lambda s: s.g.call("stranger", "POST", f"/patients/{s.g.patient}/claims", body={"reason": f"I see her in the clinic {time.monotonic_ns()}", "days": 2})),
    "AuditEvents": ("who-looked", lambda s: s.g.get("patient", "AuditEvent?_count=1")),
    "AuditEvents, by the officer": ("who-looked", lambda s: s.g.get("privacy-officer", "AuditEvent?_count=1")),
    "Provenance of a write": ("history", lambda s: s.g.get("gp", f"Provenance?target={s.goal}")),
    "who has looked": ("who-looked", page("patient", "/my-plan/who-looked")),
    "the officer's search": ("who-looked", page("privacy-officer", "/privacy/audit")),
    "the officer's download": ("audit-export", page("privacy-officer", "/privacy/audit/download?what=refused")),
    "list of emergencies": ("emergencies", page("privacy-officer", "/privacy")),
    "list of what people do not recognise": ("not-recognised-list", page("privacy-officer", "/privacy/not-recognised")),
    "sign-in": ("sign-in", lambda s: Visitor(s.g).sign_in("gp")),
    "sign-out": ("sign-out", lambda s: signed_out(s)),
}  # fmt: skip
QUICK = ("read", "search", "refused read", "update", "transaction", "emergency", "AuditEvents", "who has looked", "sign-in")
WRITES = ("create", "update", "patch", "batch", "transaction", "delete", "consent given")
# done by other processes, or tried one by one there: the tests that see their rows
ELSEWHERE = {
    "disclosure to a partner": "tests/test_what_leaves.py", "recall": "tests/telling/test_recalls.py", "token, its end, its refusal": "tests/test_oauth.py",
    "what an operator records": "tests/web/test_who_looked.py", "export and proof by command": "tests/test_audit_events.py",
}  # fmt: skip


def signed_out(s: Stage) -> httpx2.Response:
    v = _visitors.pop("signing out")
    return v.http.post("/sign-out", data={k: x[0] for k, x in v.fields("/sign-out").items()})


@pytest.fixture(scope="module")
def stage(demo: Gateway) -> Stage:
    _visitors.clear()
    for who in ("gp", "stranger", "patient", "privacy-officer"):
        demo.persona(who)
    return Stage(demo)


def fresh(s: Stage, act: str) -> None:
    """What the act needs, made while rows can be written."""
    made = s.g.call("patient", "POST", "Goal", body=s.body())
    s.goal = made.headers["location"].split("/fhir/")[1].split("/_history")[0]
    s.made["etag"] = made.headers["etag"]
    for who in ("patient", "privacy-officer"):
        visitor(s, who)
    if act == "sign-out":
        _visitors["signing out"] = as_(s.g, "patient")


@pytest.mark.parametrize("act", [a if a in QUICK else pytest.param(a, marks=pytest.mark.slow) for a in ACTS])
def test_an_act_has_its_row_and_without_it_there_is_no_answer(act: str, stage: Stage) -> None:
    what, ask = ACTS[act]
    fresh(stage, act)
    versions, aid = stage.versions(), stage.rows()
    with stage.without_audit():
        answer = ask(stage)
    assert stage.rows() == aid and stage.versions() == versions, "nothing was done"
    assert act == "batch" or answer.status_code >= 500, f"{act} was answered {answer.status_code}: {answer.text[:300]}"
    assert "Walk " not in answer.text and "AuditEvent" not in answer.text and "Dr Sam" not in answer.text
    fresh(stage, act)
    versions, aid = stage.versions(), stage.rows()
    answer = ask(stage)
    assert answer.status_code < 500
    rows = stage.since(aid)
    assert what in {r["what"] for r in rows}, (act, [r["what"] for r in rows])
    assert (stage.versions() > versions) == (act in WRITES)
    if act.startswith("refused"):
        assert not any(r["allowed"] for r in rows)


def test_the_page_lists_the_acts() -> None:
    text = (ROOT / "docs" / "audit.md").read_text()
    for act, (what, _) in ACTS.items():
        assert f"| {act} | `{what}` |" in text, act
    for act, where in ELSEWHERE.items():
        assert f"| {act} | `{where}` |" in text and (ROOT / where).is_file(), act


def test_leaving_leads_away_even_where_nothing_can_be_written(stage: Stage) -> None:
    """It answers with nothing of anybody, and somebody may stand behind whoever presses it: the session is nobody's, and ends by itself."""
    v = as_(stage.g, "patient")
    old, rows = dict(v.http.cookies), stage.rows()
    with stage.without_audit():
        answer = v.http.post("/leave", data={k: x[0] for k, x in v.fields("/leave").items()}, follow_redirects=False)
    assert answer.status_code == 303 and answer.headers["Location"].startswith("https://") and stage.rows() == rows
    assert "session" in old and "session" not in v.http.cookies
