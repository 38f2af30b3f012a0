"""Thousands of made-up requests to every address of /openapi.json, pages included, by everybody: never a 5xx.

schemathesis makes paths, queries, headers and bodies from the document; half of the bodies are right ones with a few changes (tests/fuzz), and
forms are filled in under the names that the templates have. 2,000 requests in `make test-all`, 20,000 in `make soak`.
"""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import httpx2
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

import fhir_gateway

from .conftest import Gateway, gateway
from .fuzz import seeds
from .fuzz.mutating import ODD, mutated
from .web.test_doors import as_

ROUNDS = 10 if "SOAK" in os.environ else 1
REQUESTS = 2_000  # of each round
BEARERS = ("patient", "patient", "patient", "gp", "gp", "link-worker", "stranger", "hospital", "proxy", "registrar", "privacy-officer")
VISITORS = ("patient", "gp", "proxy", "privacy-officer", "registrar", "paramedic")
FHIR, PATCH, FORM = "application/fhir+json", "application/json-patch+json", "application/x-www-form-urlencoded"
OAUTH = (
    "grant_type code redirect_uri code_verifier client_id client_secret client_assertion_type client_assertion refresh_token scope token token_type_hint "
    "response_type state nonce code_challenge code_challenge_method aud launch prompt max_age asked allow next before from until"
).split()  # fmt: skip
SAID = (
    "authorization_code", "refresh_token", "client_credentials", "code", "S256", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer", "e30.e30.e30",
    "find", "what", "when", "check", "save", "1", "31", "2026", "2040", "day", "plan", "yes", "on", "09:30", "999 000 0018", "Rosa", "/my-plan", "//example.org",
)  # fmt: skip
ENDS = {"/sign-out", "/leave", "/account/sign-out-everywhere"}  # with the form's token they would end what the rest needs
UNSENDABLE = (httpx2.LocalProtocolError, httpx2.InvalidURL, UnicodeEncodeError)  # no HTTP client can send this


def fields() -> list[str]:
    """The names of fields in our templates."""
    templates = (Path(fhir_gateway.__file__).parent / "web" / "templates").rglob("*.html")
    return sorted({n for t in templates for n in re.findall(r'name="([a-z][a-z_-]*)"', t.read_text())})


class Strangers:
    """Everybody who is known here, nobody, and one with a token that is none; each about what is there and what is not."""

    def __init__(self, g: Gateway) -> None:
        self.g = g
        self.client = httpx2.Client(base_url=g.base, timeout=60)
        self.tokens = [g.persona(who)["token"] for who in BEARERS]
        self.visitors = [as_(g, who) for who in VISITORS]
        self.forms = [v.get("/account") and re.search(r'name="form_token" value="([^"]+)"', v.page) for v in self.visitors]
        everything = g.get("patient", f"Patient/{g.patient}/$everything?_count=100").json()["entry"]
        self.there = [(e["resource"]["resourceType"], e["resource"]["id"]) for e in everything]
        self.fields = [*fields(), *OAUTH]
        self.answered: Counter[int] = Counter()
        self.broken: dict[str, str] = {}

    def send(self, operation: Any, case: Any, dice: Random) -> None:
        method, path = operation.method.upper(), operation.path
        tags = operation.definition.raw["tags"]
        sent = case.as_transport_kwargs(base_url=self.g.base)
        url = self._address(path, dice) if dice.random() < 0.6 else sent["url"]
        headers = {k: str(v) for k, v in (sent.get("headers") or {}).items() if k.lower() not in ("authorization", "content-length")}
        said: dict[str, Any] = {"params": sent.get("params"), "headers": headers}
        client = self.client
        if "pages" in tags:
            at = dice.randrange(len(self.visitors))
            client = self.visitors[at].http
            if dice.random() < 0.6:
                said["params"] = self._form(dice)
            if method == "POST":
                token = self.forms[at]
                said["data"] = self._form(dice) | ({"form_token": token.group(1)} if token and path not in ENDS and dice.random() < 0.9 else {})
                headers["Origin"] = self.g.base
                headers.pop("Content-Type", None)
        else:
            if dice.random() < 0.95:
                headers["Authorization"] = f"Bearer {dice.choice(self.tokens)}"
            said |= self._body(method, path, sent, headers, dice)
            if path.startswith("/fhir/{type}") and method in ("POST", "PUT", "PATCH", "DELETE") and dice.random() < 0.8:
                url = self._meant(method, path, said.get("content"), headers, dice) or url
        try:
            answer = client.request(method, url, follow_redirects=False, **said)
        except UNSENDABLE:
            return
        self.answered[answer.status_code] += 1
        if (answer.status_code >= 500 and answer.status_code != 501) or "Traceback" in answer.text:
            told = f"{answer.status_code} {method} {answer.request.url} {dict(answer.request.headers)} {answer.request.content[:1500]!r} -> {answer.text[:300]}"
            self.broken.setdefault(f"{method} {path}", told)

    def _meant(self, method: str, path: str, content: Any, headers: dict[str, str], dice: Random) -> str:
        """Where this body belongs, in the version that is there; "" when it says nowhere."""
        found = re.search(rb'"resourceType": ?"(\w+)"', content) if isinstance(content, bytes) else None
        type = found[1].decode() if found and method in ("POST", "PUT") else dice.choice(("Goal", "Goal", "CarePlan", "Consent"))
        ids = [id for t, id in self.there if t == type]
        if "{id}" in path and not ids:
            return ""
        headers["If-Match"] = f'W/"{dice.choice((1, 1, 1, 2, 3))}"'
        return f"{self.g.base}/fhir/{type}" + (f"/{dice.choice(ids)}" if "{id}" in path else "") + path.partition("{id}")[2]

    def _address(self, path: str, dice: Random) -> str:
        """About what is there."""
        type, id = dice.choice(self.there)
        if "{patient}" in path or "{compartment}" in path or "Patient/{id}" in path or path.startswith(("/patients", "/team")):
            type = type if "{compartment}" in path else "Patient"
            id = self.g.patient
        named = {"type": type, "id": id, "patient": self.g.patient, "compartment": "Patient", "version": "1", "rule": "1", "consent": id, "client": "app", "name": type}
        return self.g.base + re.sub(r"\{(\w+)(?::\w+)?\}", lambda m: str(named.get(m[1], id)), path)

    def _form(self, dice: Random) -> dict[str, Any]:
        odd = [str(o) for o in ODD if "\ud800" not in str(o)]
        return {dice.choice(self.fields): dice.choice(SAID if dice.random() < 0.6 else odd) for _ in range(dice.randint(0, 8))}

    def _body(self, method: str, path: str, sent: dict[str, Any], headers: dict[str, str], dice: Random) -> dict[str, Any]:
        """What the document led to, or something right with a few changes."""
        if method in ("GET", "DELETE", "HEAD"):
            return {}
        if path.startswith("/oauth") or path.endswith("_search"):
            headers.pop("Content-Type", None)
            return {"data": self._form(dice)}
        if dice.random() < 0.4:
            body = {k: sent[k] for k in ("json", "data") if sent.get(k) is not None}
            return {"content": body["data"]} if isinstance(body.get("data"), (str, bytes)) else body
        right, media = self._right(method, path, dice)
        headers["Content-Type"] = media
        return {"content": mutated(right, dice.getrandbits(48)) if dice.random() < 0.7 else right}

    def _right(self, method: str, path: str, dice: Random) -> tuple[bytes, str]:
        person = {"reference": f"Patient/{self.g.patient}"}
        if path == "/plans":
            return dice.choice(seeds.plans()), "application/json"
        if path.startswith("/patients"):
            odd = {"nhs_number": "9990000018", "birth_date": "1951-02-03", "family": "Example", "reason": "unconscious", "ground": "public-interest", "why": "She fell"}
            return seeds.dumped(odd), "application/json"
        if method == "PATCH" and dice.random() < 0.5:
            return dice.choice(seeds.patches()), PATCH
        if method == "PATCH":
            return dice.choice(seeds.pathpatches()), FHIR
        resource = dice.choice([
            {**seeds.GOAL, "subject": person}, {**seeds.RESPONSE, "subject": person}, seeds.QUESTIONNAIRE, {**json.loads(dice.choice(seeds.consents())), "patient": person},
            {"resourceType": "Communication", "status": "completed", "subject": person, "payload": [{"contentString": "Hello"}]},
        ])  # fmt: skip
        if "$" in path:
            asked = [{"name": dice.choice(("resource", "what", "who", "meta", "mode", "_count", "profile")), dice.choice(("valueString", "valueCode", "valueMeta")): "x"}]
            return seeds.dumped({"resourceType": "Parameters", "parameter": [*asked, {"name": "resource", "resource": resource}]}), FHIR
        if path in ("/fhir", "/fhir/"):
            kind, urls = resource["resourceType"], ("Goal", "Goal?identifier=urn:test|1", f"Patient/{self.g.patient}", "Goal/g1", "$x", "Goal?_id=")
            entries = [{"fullUrl": "urn:uuid:0198c0de-0000-4000-8000-000000000000", "resource": resource, "request": {"method": "POST", "url": kind}}]
            entries += [{"request": {"method": dice.choice(("GET", "DELETE", "PATCH")), "url": dice.choice(urls)}} for _ in range(dice.randint(0, 3))]
            return seeds.dumped({"resourceType": "Bundle", "type": dice.choice(("transaction", "batch")), "entry": entries}), FHIR
        return seeds.dumped(resource), FHIR


@pytest.fixture(scope="module")
def strangers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Strangers]:
    with gateway(tmp_path_factory.mktemp("strangers"), "--demo") as g:
        yield Strangers(g)


def about(strangers: Strangers, operation: Any, requests: int, number: int) -> None:
    """So many requests to one address, the same ones for the same number."""

    @seed(number)
    @settings(max_examples=requests, deadline=None, database=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
    @given(case=operation.as_strategy(), dice=st.integers(0, 2**48))
    def one(case: Any, dice: int) -> None:
        strangers.send(operation, case, Random(dice))

    one()


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("round", range(ROUNDS))
def test_no_made_up_request_gets_a_5xx(strangers: Strangers, round: int) -> None:
    strangers.answered.clear()
    document = strangers.g.call(None, "GET", "/openapi.json").json()
    found = [o.ok() for o in schemathesis.openapi.from_dict(document).get_all_operations()]
    for number, operation in enumerate(found):
        about(strangers, operation, -(-REQUESTS // len(found)), round * 1_000 + number)
    print(f"round {round}: {strangers.answered.total()} requests, answered {dict(sorted(strangers.answered.items()))}", flush=True)
    assert list(strangers.broken.values()) == []
    assert strangers.answered.total() >= REQUESTS * 0.95
    assert strangers.answered[200] > REQUESTS * 0.1, "nearly all of it was turned away at the door"
    assert strangers.g.get(None, "/health").status_code == 200
