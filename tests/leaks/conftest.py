"""One gateway for all rows of the leak list: much is hidden in it, from each reader something else."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest

from fhir_gateway.auth.demo import demo_token
from fhir_gateway.store import sqlite

from ..conftest import Gateway, gateway
from .seeding import (
    ACT_CODE,
    CANARY,
    DENIED,
    DROPPED,
    KEPT,
    NOBODY,
    OTHER,
    SECRET,
    VERY,
    VERY_RESTRICTED,
    marked,
    record,
    rule,
    sharing,
    told,
)  # fmt: skip

STAFF = ("gp", "social-worker", "link-worker", "community-nurse", "stranger", "hospital")
FAMILY = ("patient", "proxy")
READERS = (*STAFF, *FAMILY)
QUICK = ("gp", "patient")  # the others come in the slow part


def some(*whos: str, quick: Sequence[str] = QUICK) -> list[Any]:
    """These askers as parameters, all but the quick ones in the slow part."""
    return [who if who in quick else pytest.param(who, marks=pytest.mark.slow) for who in whos]


EVERYBODY, ALL_STAFF = some(*READERS), some(*STAFF)


@dataclass
class Place:
    """The gateway, and what is hidden from whom: `Type -> Type/id`."""

    g: Gateway
    very: dict[str, str] = field(default_factory=dict)  # labelled very restricted: for the person and their proxy alone
    kept: dict[str, str] = field(default_factory=dict)  # not for the person: by a label of the surgery's
    others: dict[str, str] = field(default_factory=dict)  # of another person, whom the hospital brought
    denied: str = ""  # a Goal that the person keeps from the GP and the daughter
    seen: str = ""  # a CarePlan for everybody who looks after her, pointing at what is hidden
    client: httpx2.Client = field(default_factory=lambda: httpx2.Client(timeout=30))

    @property
    def me(self) -> str:
        return f"Patient/{self.g.patient}"

    def hidden(self, who: str) -> dict[str, str]:
        """One of each type that this reader may not see."""
        if who in FAMILY:
            return {**self.others, **self.kept}
        return {**(self.others if who != "hospital" else {}), **self.very}

    def secrets(self, who: str | None) -> tuple[str, ...]:
        """What no answer to this reader may hold."""
        letters = {
            "patient": OTHER + KEPT, "proxy": OTHER + KEPT + DENIED + DROPPED, "gp": VERY_RESTRICTED + OTHER + DENIED + DROPPED,
            "social-worker": VERY_RESTRICTED + OTHER + DROPPED, "hospital": VERY_RESTRICTED + KEPT + DENIED + DROPPED,
        }  # fmt: skip
        return tuple(w for letter in letters.get(str(who), VERY_RESTRICTED + OTHER + KEPT + DENIED + DROPPED) for w in told(letter))

    def silent(self, who: str | None, answer: httpx2.Response) -> httpx2.Response:
        """No canary anywhere in an answer: status line, headers, body."""
        for secret in self.secrets(who):
            assert secret not in answer.text, f"{who} {answer.request.url}: …{answer.text[max(answer.text.index(secret) - 1500, 0) :][:2000]}"
            assert not any(secret in v for v in answer.headers.values()), answer.headers
        return answer

    def ask(self, who: str | None, method: str, path: str, *, body: Any = None, raw: bytes | None = None, **headers: str) -> httpx2.Response:
        """One request below /fhir (or at an address that starts with a slash); header names with `_` for `-`."""
        sent = {"Accept": "application/fhir+json"} | {k.replace("_", "-"): v for k, v in headers.items()}
        if who is not None:
            sent.setdefault("Authorization", f"Bearer {self.g.persona(who)['token']}")
        content = raw if raw is not None else None if body is None else json.dumps(body).encode()
        if content is not None:
            sent.setdefault("Content-Type", "application/fhir+json")
        url = f"{self.g.base}{path}" if path.startswith("/") else f"{self.g.base}/fhir/{path}"
        return self.client.request(method, url, content=content, headers=sent)

    def get(self, who: str | None, path: str, **headers: str) -> httpx2.Response:
        return self.ask(who, "GET", path, **headers)

    def made(self, who: str, body: dict[str, Any], **headers: str) -> str:
        """`Type/id` of what was created."""
        answer = self.ask(who, "POST", body["resourceType"], body=body, **headers)
        assert answer.status_code == 201, (body["resourceType"], answer.text)
        return answer.headers["location"].split("/fhir/")[1].split("/_history")[0]

    def end(self, consent: str) -> None:
        """A consent of the person's ends by its status."""
        over = {**self.get("patient", consent).json(), "status": "inactive"}
        answer = self.ask("patient", "PUT", consent, body=over, If_Match=self.version(consent))
        assert answer.status_code == 200, answer.text

    def guessed(self, who: str, form: str, right: str, wrong: str, *, method: str = "GET", body: Any = None, **headers: str) -> httpx2.Response:
        """The value of something hidden and a value that nothing has (of the same length) are answered alike."""
        assert len(right) == len(wrong)

        def sent(value: str) -> httpx2.Response:
            about = None if body is None else json.loads(json.dumps(body).replace("{}", value))
            return self.ask(who, method, form.replace("{}", value), body=about, **{k: v.replace("{}", value) for k, v in headers.items()})

        here, nowhere = sent(right), sent(wrong)
        told = f"{who} {method} {form}: {here.status_code} {here.text[:500]} and {nowhere.status_code} {nowhere.text[:500]}"
        link = re.compile(r"_page=[0-9a-f]+")  # sealed, and of another question
        assert (here.status_code, link.sub("", here.text.replace(right, wrong))) == (nowhere.status_code, link.sub("", nowhere.text)), told
        assert {k: v.replace(right, wrong) for k, v in here.headers.items() if k != "date"} == {k: v for k, v in nowhere.headers.items() if k != "date"}, told
        return here

    def version(self, ref: str, who: str = "patient") -> str:
        return self.get(who, ref).headers["etag"]

    def alike(
        self, who: str | None, method: str, form: str, there: str, absent: str = NOBODY, *, body: Any = None, status: Sequence[int] = (), **headers: str
    ) -> httpx2.Response:
        """`form` with the id of something hidden and with one that nothing has: the same answer to the byte, and no canary."""

        def sent(id: str) -> httpx2.Response:
            about = None if body is None else json.loads(json.dumps(body).replace("{}", id))
            return self.ask(who, method, form.replace("{}", id), body=about, **{k: v.replace("{}", id) for k, v in headers.items()})

        here, nowhere = sent(there), sent(absent)
        told = f"{who} {method} {form}: {here.status_code} {here.text[:300]} and {nowhere.status_code} {nowhere.text[:300]}"
        assert here.status_code == nowhere.status_code, told
        assert here.text.replace(there, absent) == nowhere.text, told
        ours = {k: v.replace(there, absent) for k, v in here.headers.items() if k != "date"}
        assert ours == {k: v for k, v in nowhere.headers.items() if k != "date"}, told
        self.silent(who, here)
        assert not status or here.status_code in status, told
        return here


@pytest.fixture(scope="session")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("leaks")
    with gateway(folder, "--demo", GATEWAY_WORKER="false") as g:
        g._tokens = asyncio.run(_tokens(g))
        p = Place(g)
        _somebody_else(p, folder)
        for body in record(p.me, p.me):
            p.very[body["resourceType"]] = p.made("patient", marked(VERY_RESTRICTED, body, VERY))
        for body in record(p.me, g.persona("gp")["fhirUser"], p.very["Goal"]):
            if body["resourceType"] not in ("Binary",):
                p.kept[body["resourceType"]] = p.made("gp", marked(KEPT, body, {"system": ACT_CODE, "code": "NOPAT"}))
        p.denied = p.made("patient", marked(DENIED, {
            "resourceType": "Goal", "lifecycleStatus": "active", "description": {"text": f"{CANARY}-DENIED"}, "subject": {"reference": p.me}, "identifier": [SECRET],
        }))  # fmt: skip
        kept = {"data": [{"meaning": "instance", "reference": {"reference": p.denied}}]}
        p.made("patient", sharing(p.me, [rule("deny", g.persona(who)["fhirUser"], **kept) for who in ("gp", "proxy")]))
        p.seen = p.made("patient", pointing(p))
        yield p


async def _tokens(g: Gateway) -> dict[str, dict[str, Any]]:
    """What `fhir-gateway token --as … --json` prints for everybody, from one process."""
    store = await sqlite.open(g.data / "gateway.sqlite")
    try:
        out: dict[str, dict[str, Any]] = {}
        for who in READERS:
            terms = {"issuer": g.base, "audience": f"{g.base}/fhir", "jti": f"leaks-{who}", "life": timedelta(hours=1)}
            token, caller = await demo_token(store, who, at=datetime.now(UTC), **terms)
            out[who] = {"token": token, "patient": caller.launch or caller.patient, "fhirUser": caller.fhir_user}
        return out
    finally:
        await store.close()


def pointing(p: Place) -> dict[str, Any]:
    """A CarePlan that is no secret itself, with references to what is: what it says of them is."""
    there = [{"reference": ref, "display": f"{CANARY}-DISPLAY", "identifier": SECRET} for ref in (p.very["Goal"], p.denied, f"Goal/{NOBODY}")]
    plan = {
        "resourceType": "CarePlan", "status": "active", "intent": "plan", "title": "Seen by all who look after her", "subject": {"reference": p.me},
        "text": {"status": "generated", "div": f'<div xmlns="http://www.w3.org/1999/xhtml">{CANARY}-NARRATIVE</div>'},
        "goal": there, "addresses": [{"reference": p.very["Condition"], "display": f"{CANARY}-DISPLAY"}],
        "supportingInfo": [{"type": "Observation", "identifier": SECRET}, {"reference": p.very["Observation"], "display": f"{CANARY}-DISPLAY"}],
        "activity": [{"reference": {"reference": p.very["Task"], "display": f"{CANARY}-DISPLAY"}}],
    }  # fmt: skip
    out: dict[str, Any] = json.loads(json.dumps(plan).replace(f"{CANARY}-", f"{CANARY}{DROPPED}-"))
    return out


def _somebody_else(p: Place, folder: Path) -> None:
    """A person whom nobody here looks after, with a name like no other."""
    plan = {
        "plan": "1", "id": "plan-bo", "title": f"{CANARY}O-PLAN", "status": "active",
        "person": {"id": "bo", "nhs_number": "9990000026", "name": {"given": [f"{CANARY}O-GIVEN"], "family": f"{CANARY}O-FAMILY"}, "birth_date": "1950-01-01"},
        "needs": [{"id": "n1", "text": f"{CANARY}O-NEED"}], "goals": [{"id": "g1", "text": f"{CANARY}O-GOAL", "needs": ["n1"], "status": "planned"}],
        "actions": [{"id": "a1", "text": f"{CANARY}O-ACTION", "goals": ["g1"], "who": "person", "status": "planned"}],
    }  # fmt: skip
    file = folder / "bo.json"
    file.write_text(json.dumps(plan))
    (done,) = p.g.lines("import", str(file), "--json")
    p.others["Patient"] = f"Patient/{str(done['patient']).removeprefix('Patient/')}"
    for body in record(p.others["Patient"], "Organization/elsewhere"):
        p.others[body["resourceType"]] = p.made("hospital", marked(OTHER, body))


@pytest.fixture
def copied(place: Place, tmp_path: Path) -> Path:
    """The folder of a gateway's data, for tests that must stop one."""
    shutil.copytree(place.g.data, tmp_path / "data")
    shutil.copytree(place.g.data.with_name("data-journal"), tmp_path / "data-journal")  # without it the copy would be sealed
    return tmp_path / "data"
