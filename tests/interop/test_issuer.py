"""An issuer of somebody else's (npm `oidc-provider`, a real process): its tokens are believed here as far as they should be."""

from __future__ import annotations

import base64
import json
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx2
import pytest

from ..conftest import Gateway, free_port, gateway
from .test_clients import node

pytestmark = pytest.mark.interop


@dataclass
class Issuer:
    name: str
    process: subprocess.Popen[str]
    audience: str

    def token(self, scope: str = "user/*.rs", resource: str | None = None, user: str = "", organisation: str = "") -> str:
        form = {"grant_type": "client_credentials", "client_id": "their-app", "client_secret": "only-for-this-test-0123456789", "scope": scope}
        form |= {"resource": resource or self.audience} if resource != "" else {}
        said = {"user": user, "organisation": organisation}
        answer = httpx2.post(f"{self.name}/token", data=form | {k: v for k, v in said.items() if v})
        assert answer.status_code == 200, answer.text
        return str(answer.json()["access_token"])


def started(audience: str, user: str) -> Issuer:
    place, port = node("oidc-provider"), free_port()
    command = ["node", "issuer.mjs", str(port), audience, user]
    process = subprocess.Popen(command, cwd=place, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert process.stdout is not None
    for line in process.stdout:
        if line.strip() == "ready":
            return Issuer(f"http://127.0.0.1:{port}", process, audience)
    raise AssertionError("the issuer did not start")


@pytest.fixture(scope="module")
def trusting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Gateway, Issuer]]:
    """The demo, which also trusts that issuer; its tokens speak for the demo's GP."""
    folder = tmp_path_factory.mktemp("trusting")
    with gateway(folder, "--demo") as g:
        user = g.persona("gp")["fhirUser"]
        issuer = started(f"{g.base}/fhir", user)
        try:
            g.stop()
            g.env |= {"GATEWAY_ISSUER": issuer.name, "GATEWAY_AUDIENCE": issuer.audience}
            g.start("--demo")
            yield g, issuer
        finally:
            issuer.process.terminate()
            issuer.process.wait(10)


def asked(g: Gateway, token: str, path: str = "") -> httpx2.Response:
    return httpx2.get(f"{g.base}/fhir/{path or f'Goal?patient={g.patient}'}", headers={"Authorization": f"Bearer {token}"}, timeout=20)


def with_claims(token: str, **changed: Any) -> str:
    """The token with other claims and its old signature."""
    head, body, signature = token.split(".")
    claims = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4))) | changed
    return ".".join([head, base64.urlsafe_b64encode(json.dumps(claims).encode()).rstrip(b"=").decode(), signature])


def with_header(token: str, **changed: Any) -> str:
    head, body, signature = token.split(".")
    header = json.loads(base64.urlsafe_b64decode(head + "=" * (-len(head) % 4))) | changed
    return ".".join([base64.urlsafe_b64encode(json.dumps(header).encode()).rstrip(b"=").decode(), body, signature])


def test_their_token_says_who_and_consent_says_what(trusting: tuple[Gateway, Issuer]) -> None:
    g, issuer = trusting
    theirs, ours = asked(g, issuer.token()), g.get("gp", f"Goal?patient={g.patient}")
    assert theirs.status_code == 200 and theirs.json()["total"] == ours.json()["total"] >= 3
    assert asked(g, issuer.token("user/Goal.r")).status_code == 403, "read is not search"
    assert asked(g, issuer.token("user/*.rs"), "Patient/nobody").status_code == 404
    stranger = g.persona("stranger")["fhirUser"]
    assert asked(g, issuer.token(user=stranger, organisation="X0000")).json()["total"] == 0


@pytest.mark.parametrize("scope", ["patient/*.rs", "system/*.cruds", "patient/*.rs system/*.cruds"])
def test_scopes_that_are_not_for_this_kind_of_caller_open_nothing(trusting: tuple[Gateway, Issuer], scope: str) -> None:
    g, issuer = trusting
    assert asked(g, issuer.token(scope)).status_code == 403
    mixed = issuer.token(f"{scope} user/Goal.r")
    assert asked(g, mixed).status_code == 403 and asked(g, mixed, f"Patient/{g.patient}").status_code == 403


def test_a_token_with_one_defect_is_refused(trusting: tuple[Gateway, Issuer]) -> None:
    g, issuer = trusting
    good = issuer.token()
    bad = {
        "meant for another": issuer.token(resource="http://127.0.0.1:1/fhir"),
        "opaque": issuer.token(resource=""),
        "another issuer": with_claims(good, iss="http://127.0.0.1:2"),
        "ours by name": with_claims(good, iss=g.base),
        "more scopes": with_claims(good, scope="user/*.cruds"),
        "no algorithm": with_header(good, alg="none"),
        "another algorithm": with_header(good, alg="HS256"),
        "another key": with_header(good, kid="unknown"),
        "somebody nobody knows the kind of": issuer.token(user="Location/1"),
        "a user of another server": issuer.token(user="https://other.example/fhir/Practitioner/1"),
    }
    assert {name: asked(g, token).status_code for name, token in bad.items()} == dict.fromkeys(bad, 401)
    assert asked(g, good).status_code == 200


def test_its_new_key_is_found_its_old_one_ends_and_while_it_is_away_its_tokens_go_on(trusting: tuple[Gateway, Issuer]) -> None:
    g, issuer = trusting
    old = issuer.token()
    assert asked(g, old).status_code == 200
    httpx2.post(f"{issuer.name}/rotate")
    new = issuer.token()
    end = time.monotonic() + 75
    while asked(g, new).status_code != 200 and time.monotonic() < end:  # asked for again at most once a minute
        time.sleep(2)
    assert asked(g, new).status_code == 200
    assert asked(g, old).status_code == 401, "signed by a key that it publishes no more"
    later = issuer.token("user/*.rs user/Goal.r")
    issuer.process.terminate()
    issuer.process.wait(10)
    assert asked(g, later).status_code == 200, "its keys are known"
    assert g.get("gp", f"Goal?patient={g.patient}").status_code == 200, "ours needs it not"
    g.stop()
    g.start("--demo", wait=90)  # knows no keys of it any more
    answer = asked(g, later)
    assert answer.status_code == 503 and answer.headers["retry-after"]
    assert g.get("gp", f"Goal?patient={g.patient}").status_code == 200
