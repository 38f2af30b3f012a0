"""Addresses nobody knows and methods nobody offers: answered in the words of those who come to them, never by the framework."""

from __future__ import annotations

from typing import Any

import pytest

from .conftest import Gateway


def outcome(answer: Any, code: str) -> None:
    assert answer.headers["content-type"].startswith("application/fhir+json")
    body = answer.json()
    assert body["resourceType"] == "OperationOutcome"
    assert body["issue"][0]["severity"] == "error" and body["issue"][0]["code"] == code and body["issue"][0]["diagnostics"]


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("DELETE", "/plans", "POST"),
        ("DELETE", "/plans/schema", "GET, HEAD"),
        ("PUT", "/plans/some-id", "GET, HEAD"),
        ("DELETE", "/health", "GET, HEAD"),
        ("POST", "/metrics", "GET, HEAD"),
        ("DELETE", "/openapi.json", "GET, HEAD"),
        ("DELETE", "/.well-known/openid-configuration", "GET, HEAD"),
        ("DELETE", "/fhir/.well-known/smart-configuration", "GET, HEAD"),
        ("PATCH", "/plans", "POST"),
    ],
)
@pytest.mark.parametrize("accept", ["*/*", "text/html", "application/fhir+json"])
def test_a_method_that_is_not_offered_is_405_with_what_is(demo: Gateway, method: str, path: str, allow: str, accept: str) -> None:
    answer = demo.call(None, method, path, headers={"Accept": accept})
    assert answer.status_code == 405
    assert answer.headers["allow"] == allow
    outcome(answer, "not-supported")


def test_fhir_says_what_it_offers_too(demo: Gateway) -> None:
    answer = demo.call("patient", "POST", "Goal/x")
    assert answer.status_code == 405
    assert set(answer.headers["allow"].split(", ")) == {"DELETE", "GET", "PATCH", "PUT"}
    outcome(answer, "not-supported")


@pytest.mark.parametrize("path", ["/", "/fhir", "/fhir/metadata", "/fhir/Patient", "/plans", "/oauth/token", "/sign-in", "/health", "/static/app.css", "/nowhere"])
def test_nothing_is_traced(demo: Gateway, path: str) -> None:
    """Neither the token nor anything else of the request comes back (ASVS 13.4.4); TRACK and DEBUG are no methods here."""
    answer = demo.call("patient", "TRACE", path, headers={"X-Seen": "sent-and-not-to-come-back"})
    assert answer.status_code == (404 if path == "/nowhere" else 405), answer.text
    assert answer.status_code == 404 or "TRACE" not in answer.headers["allow"].split(", ")
    assert [demo.call(None, method, path).status_code for method in ("TRACK", "DEBUG")] == [400, 400]
    assert "sent-and-not-to-come-back" not in answer.text and demo.persona("patient")["token"] not in answer.text


@pytest.mark.parametrize("method", ["PUT", "POST", "DELETE"])
def test_what_the_server_says_of_itself_is_read_only(demo: Gateway, method: str) -> None:
    answer = demo.call("patient", method, "metadata", body={})
    assert answer.status_code == 405 and answer.headers["allow"] == "GET, HEAD"
    outcome(answer, "not-supported")


@pytest.mark.parametrize("path", ["/nowhere", "/plans/a/b/c", "/health/", "/metrics/x", "/.well-known/nothing", "/patients/x/claims/y", "/fhirr"])
def test_an_address_nobody_knows_is_404(demo: Gateway, path: str) -> None:
    answer = demo.get(None, path)
    assert answer.status_code == 404
    outcome(answer, "not-found")


@pytest.mark.parametrize(
    ("method", "path", "status", "allow"),
    [
        ("DELETE", "/oauth/token", 405, "POST"),
        ("DELETE", "/oauth/authorize", 405, "GET, HEAD, POST"),
        ("GET", "/oauth/introspect", 405, "POST"),
        ("GET", "/oauth/nothing", 404, None),
        ("GET", "/oauth/jwks?x=" + "y" * 20_000, 414, None),
    ],
)
@pytest.mark.parametrize("accept", ["*/*", "text/html"])
def test_sign_in_for_programs_speaks_rfc_6749(demo: Gateway, method: str, path: str, status: int, allow: str | None, accept: str) -> None:
    answer = demo.call(None, method, path, headers={"Accept": accept})
    assert answer.status_code == status
    assert answer.headers.get("allow") == allow
    assert answer.headers["cache-control"] == "no-store"
    assert answer.json()["error"] == "invalid_request" and answer.json()["error_description"]


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [("DELETE", "/my-plan", "GET, HEAD"), ("PUT", "/sign-in", "GET, HEAD, POST"), ("POST", "/static/app.css", "GET, HEAD")],
)
@pytest.mark.parametrize("accept", ["*/*", "text/html"])
def test_pages_answer_by_a_page(demo: Gateway, method: str, path: str, allow: str, accept: str) -> None:
    answer = demo.call(None, method, path, headers={"Accept": accept})
    assert answer.status_code == 405 and answer.headers["allow"] == allow
    assert answer.headers["content-type"].startswith("text/html") and "<h1" in answer.text
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert demo.get(None, "/static/nothing.css", Accept="text/html").status_code == 404
