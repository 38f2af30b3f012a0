"""With the built-in issuer closed only tokens of the external one open anything, and everybody is told where those come from."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import httpx2

from fhir_gateway.auth.discovery import of_another

from .conftest import gateway
from .test_tokens import Issuer, issuer
from .web.test_doors import Visitor, as_

__all__ = ["issuer"]


def test_with_the_built_in_issuer_closed_only_the_external_one_signs_in(tmp_path: Path, issuer: Issuer) -> None:
    with gateway(tmp_path, "--demo") as g:
        ours, visitor = g.persona("patient")["token"], as_(g, "gp")
        assert g.get("patient", f"Patient/{g.patient}").status_code == 200
        assert visitor.http.get("/team", follow_redirects=False).status_code == 200
        person = g.patient
        g.stop()
        g.env |= {"GATEWAY_ISSUER": issuer.name, "GATEWAY_AUDIENCE": f"{g.base}/fhir", "GATEWAY_BUILT_IN_ISSUER": "false"}
        g.start()

        def read(token: str) -> int:
            return httpx2.get(f"{g.base}/fhir/Patient/{person}", headers={"Authorization": f"Bearer {token}"}).status_code

        now = int(time.time())
        theirs = issuer.token(aud=f"{g.base}/fhir", fhirUser=f"Patient/{person}", scope="patient/*.rs", iat=now, exp=now + 300)
        assert read(ours) == 401 and read(theirs) == 200

        told = httpx2.get(f"{g.base}/fhir/.well-known/smart-configuration")
        assert told.status_code == 200 and told.headers["access-control-allow-origin"] == "*"
        assert told.json()["issuer"] == issuer.name and told.json()["jwks_uri"] == f"{issuer.name}/jwks" and g.base not in told.text
        assert "security" in g.get(None, "metadata").json()["rest"][0] and "/oauth/" not in g.get(None, "metadata").text
        assert "/oauth/" not in g.get(None, "/openapi.json").text

        for path in ("/oauth/token", "/oauth/introspect", "/oauth/revoke", "/oauth/authorize"):
            assert httpx2.post(f"{g.base}{path}", data={"grant_type": "client_credentials"}).status_code == 404, path
        for path in ("/oauth/authorize", "/oauth/jwks", "/.well-known/openid-configuration", "/.well-known/oauth-authorization-server"):
            assert httpx2.get(f"{g.base}{path}").status_code == 404, path

        gone = visitor.http.get("/team", follow_redirects=False)
        assert gone.status_code == 303 and gone.headers["location"].startswith("/sign-in"), "a session from before is none"
        new = Visitor(g)
        assert new.get("/sign-in").status_code == 200 and "You cannot sign in here" in new.words() and "<form" not in new.page
        new.get("/")
        assert "You cannot sign in here" in new.words() and "/sign-in" not in new.page
        tried = new.http.post("/sign-in", data={"username": "gp", "password": "demo-only-password"})
        assert tried.status_code == 403 and "session" not in new.http.cookies
        given = new.http.post("/sign-in/first-password", data={"username": "gp", "old": "demo-only-password", "new": "x" * 20, "again": "x" * 20})
        assert given.status_code in (400, 403) and "session" not in new.http.cookies


def test_what_is_told_of_an_issuer_is_its_own_words_and_what_its_scopes_mean_here() -> None:
    about: dict[str, Any] = {
        "issuer": "https://sso.example", "authorization_endpoint": "https://sso.example/auth", "token_endpoint": "https://sso.example/token",
        "capabilities": ["launch-standalone", 7], "something_else": "x",
    }  # fmt: skip
    said = of_another(about)
    assert said == {
        "issuer": "https://sso.example", "authorization_endpoint": "https://sso.example/auth", "token_endpoint": "https://sso.example/token",
        "capabilities": ["launch-standalone", "permission-patient", "permission-user", "permission-v1", "permission-v2"],
    }  # fmt: skip
    assert "launch-standalone" not in of_another({})["capabilities"]
