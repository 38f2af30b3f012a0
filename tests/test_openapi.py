"""schemathesis over /openapi.json: whatever it makes up is answered with a status and a body that the document names, never a 5xx."""

from __future__ import annotations

import itertools
from typing import Any

import httpx2
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from jsonschema import Draft202012Validator

from .conftest import Gateway
from .test_adt import sent
from .test_interactions_write import goal, made, replace

pytestmark = pytest.mark.slow
ENOUGH = settings(
    max_examples=8, deadline=None, derandomize=True, database=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck)
)
FHIR = "application/fhir+json"
# A sign-in by a registered app comes first, which tests/test_oauth.py does; a page needs a browser's session (tests/web);
# emergencies and claims need a role and a fresh sign-in (tests/test_emergencies.py); facts and roles are recorded by staff with
# the right to, whom the demo has not (tests/test_roles.py); what Subscriptions say is for the registered system whose they are
# (tests/test_subscriptions.py).
RECORDED = {"/patients/{patient}/facts", "/patients/{patient}/roles", "/patients/{patient}/roles/{consent}"}
WAITING = {"/patients/{patient}/drafts", "/patients/{patient}/drafts/{draft}"}  # a person's own: tests/systems/test_11_bristol_volunteers.py
TOLD = {"/patients/{patient}/telling", "/patients/{patient}/telling/code"}  # a person's own: tests/telling/test_page.py
NAMED = {"/patients/find"} | {f"/patients/{id}{what}" for id in ("", "{id}/") for what in ("break-glass", "claims")}
ELSEWHERE = {"/oauth/token", "/oauth/introspect", "/oauth/revoke"} | RECORDED | TOLD | WAITING | NAMED
OWN = {"$preview": ("patient",), "hl7v2": ("hospital",)}  # what others would see is the person's to ask; only systems send messages
SCORES = "https://fhir-gateway.example/Questionnaire/scores"
numbers = itertools.count()


def answered(demo: Gateway) -> dict[str, Any]:
    """Answers to a form that are there."""
    item = {"linkId": "scores", "item": [{"linkId": "health-today", "answer": [{"valueInteger": 70}]}]}
    person = {"reference": f"Patient/{demo.patient}"}
    body = {"resourceType": "QuestionnaireResponse", "questionnaire": SCORES, "status": "completed", "subject": person, "authored": "2026-11-26", "item": [item]}
    return dict(demo.call("patient", "POST", "QuestionnaireResponse", body=body).json())


class Example:
    """A request of this operation that is right: about resources that are there, in the version they have."""

    def __init__(self, demo: Gateway, who: str, method: str, path: str) -> None:
        self.who, self.method, self.path = who, method, path
        name = f"made-for-openapi-{next(numbers)}"
        here = made(demo, name) if method in ("PUT", "PATCH", "DELETE") or "{id}" in path else {}
        about_goal = "{type}" in path and "{compartment}" not in path
        plan = demo.get(who, "CarePlan").json()["entry"][0]["resource"]["id"] if "CarePlan/{id}" in path else ""
        self.there = {
            "type": "Goal", "compartment": "Patient", "patient": demo.patient, "version": "1", "remote": "hub", "secret": "nobody-s",
            "id": str(here["id"]) if about_goal and here else plan or demo.patient,
        }  # fmt: skip
        if path.startswith("/fhir/Questionnaire"):
            self.there["id"] = "scores" if "$populate" in path else answered(demo)["id"] if "{id}" in path else ""
        self.query = {"identifier": f"urn:test|{name}"} if here and path == "/fhir/{type}" else {}
        if method == "GET" and "$explain" in path:
            self.query = {"what": f"Goal/{made(demo, name)['id']}"}
        self.headers = {"If-Match": 'W/"1"'} if method in ("PUT", "PATCH", "DELETE") else {}
        self.body: Any = None
        self.media = FHIR
        if method == "PATCH":
            self.body, self.media = [replace("/description/text", "Dance")], "application/json-patch+json"
        elif method == "PUT":
            self.body = {**goal(demo, name, lifecycleStatus="on-hold"), "id": here["id"]}
        elif method == "POST":
            self._posted(demo, name)

    def _posted(self, demo: Gateway, name: str) -> None:
        if self.path.endswith("_search"):
            self.body, self.media = "_count=2", "application/x-www-form-urlencoded"
        elif self.path == "/fhir":
            asked = {"resource": goal(demo, name), "request": {"method": "POST", "url": "Goal"}}
            self.body = {"resourceType": "Bundle", "type": "transaction", "entry": [asked]}
        elif self.path == "/plans":
            self.body, self.media = demo.get(self.who, f"/plans/{demo.patient}").json(), "application/json"
        elif self.path == "/hl7v2":
            self.body, self.media = sent("a01-emergency-admission", MSH_10=name[-20:]), "x-application/hl7-v2+er7"
        elif self.path == "/readings/sms":
            self.body, self.media = {"patient": demo.patient, "text": "BP 141 80"}, "application/json"
        elif "$everything" in self.path:
            self.body = {"resourceType": "Parameters", "parameter": [{"name": "_count", "valueInteger": 3}]}
        elif "$explain" in self.path:
            goal_made = f"Goal/{made(demo, name)['id']}"
            self.body = {"resourceType": "Parameters", "parameter": [{"name": "what", "valueString": goal_made}]}
        elif "$preview" in self.path:
            self.body = {"resourceType": "Parameters", "parameter": [{"name": "who", "valueString": "sector:health"}]}
        elif "$meta-" in self.path:
            tags = {"tag": [{"system": "urn:test", "code": "openapi"}]}
            self.body = {"resourceType": "Parameters", "parameter": [{"name": "meta", "valueMeta": tags}]}
        elif "$populate" in self.path:
            of = [{"name": "questionnaire", "valueCanonical": SCORES}] if "{id}" not in self.path else []
            self.body = {"resourceType": "Parameters", "parameter": [*of, {"name": "subject", "valueReference": {"reference": f"Patient/{demo.patient}"}}]}
        elif "$extract" in self.path:
            self.body = {"resourceType": "Parameters"} if "{id}" in self.path else answered(demo)
        elif "$document" not in self.path:
            self.body = goal(demo, name)

    def send(self, client: httpx2.Client, token: str, case: Any = None) -> httpx2.Response:
        """As it is, or with the query and headers that `case` made up."""
        path = self.path.format(**self.there)
        made_up = {k: str(v) for k, v in ((case and case.headers) or {}).items() if k.lower() not in ("authorization", "if-match", "content-type")}
        query = {**((case and case.query) or {}), **self.query}
        headers = {**made_up, **self.headers, "Authorization": f"Bearer {token}"}
        if self.body is None:
            return client.request(self.method, path, params=query, headers=headers)
        sent: dict[str, Any] = {"content": self.body} if isinstance(self.body, (str, bytes)) else {"json": self.body}
        return client.request(self.method, path, params=query, headers={**headers, "Content-Type": self.media}, **sent)


def answers(client: httpx2.Client, operation: Any, token: str, patient: str, example: Example | None) -> list[httpx2.Response]:
    """What the server says to a handful of made-up requests: some about somebody who is there, some right but for query and headers."""
    out: list[httpx2.Response] = []
    there = {"type": "Patient", "id": patient, "compartment": "Patient", "patient": patient, "version": "1", "remote": "hub", "secret": "nobody-s"}

    @ENOUGH
    @given(case=operation.as_strategy())
    def ask(case: Any) -> None:
        try:
            if example is not None and len(out) % 3 == 2:
                out.append(example.send(client, token, case))
                return
        except (httpx2.LocalProtocolError, httpx2.InvalidURL, UnicodeEncodeError):
            return
        if len(out) % 3:
            case.path_parameters = {k: there.get(k, v) for k, v in (case.path_parameters or {}).items()}
        sent = case.as_transport_kwargs(base_url=str(client.base_url))
        headers = {k: str(v) for k, v in (sent.get("headers") or {}).items() if k.lower() != "authorization"}
        body = {k: sent[k] for k in ("json", "data") if sent.get(k) is not None}
        if isinstance(body.get("data"), (str, bytes)):
            body["content"] = body.pop("data")
        try:
            out.append(
                client.request(
                    sent["method"], sent["url"], params=sent.get("params"), headers={**headers, "Authorization": f"Bearer {token}"}, **body
                )
            )
        except (httpx2.LocalProtocolError, httpx2.InvalidURL, UnicodeEncodeError):
            pass  # no HTTP client can send this

    ask()
    return out


def mismatch(document: dict[str, Any], operation: Any, answer: httpx2.Response) -> str:
    """What of this answer the document does not name, "" for nothing: its status, or its body where that has a schema."""
    documented = operation.definition.raw["responses"]
    if str(answer.status_code) not in documented or answer.status_code >= 500:
        return "the status"
    kind = answer.headers.get("content-type", "").split(";")[0]
    content = documented[str(answer.status_code)].get("content", {})
    schema = content.get(kind, {}).get("schema")
    if not answer.content:
        return ""
    if answer.status_code < 300 and content and kind not in content:
        return f"the media type {kind}"
    if schema is None:
        return ""
    wrong = next(iter(Draft202012Validator({**schema, "components": document["components"]}).iter_errors(answer.json())), None)
    return wrong.message[:200] if wrong else ""


def test_every_route_answers_as_the_document_says(demo: Gateway) -> None:
    document = demo.call(None, "GET", "/openapi.json").json()
    found = [o.ok() for o in schemathesis.openapi.from_dict(document).get_all_operations()]
    assert len(found) > 50
    wrong: list[str] = []
    refused: list[str] = []
    asked = bodies = 0
    with httpx2.Client(base_url=demo.base, timeout=60) as client:
        for operation in found:
            method, path = operation.method.upper(), operation.path
            page = "pages" in operation.definition.raw["tags"] or path in ELSEWHERE or "/Subscription/" in path
            got: list[httpx2.Response] = []
            own = OWN.get(path.rsplit("/", 1)[-1], ("patient", "gp"))
            for who in () if page else own:
                answer = Example(demo, who, method, path).send(client, demo.persona(who)["token"])
                got.append(answer)
                if not answer.is_success:
                    refused.append(f"{answer.status_code} {who} {method} {path} -> {answer.text[:300]}")
            example = None if page else Example(demo, own[0], method, path)
            got += answers(client, operation, demo.persona("patient")["token"], demo.patient, example)
            for answer in got:
                asked += 1
                bodies += bool(answer.content)
                if said := mismatch(document, operation, answer):
                    sent = answer.request
                    wrong.append(f"{said}: {answer.status_code} {sent.method} {sent.url} {sent.content[:200]!r} -> {answer.text[:200]}")
    assert refused == []
    assert wrong == [], "\n".join(wrong)
    assert asked > 300 and bodies > 200
    assert demo.call(None, "GET", "/health").status_code == 200
