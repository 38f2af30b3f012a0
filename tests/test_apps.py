"""Apps and systems on the running demo, registered by command: launched on a person, called from a page, stopped, rotated, removed."""

from __future__ import annotations

import asyncio
import base64
import json
import re
import time
from collections.abc import Iterator
from hashlib import sha256
from html import unescape
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlsplit

import httpx2
import pytest
from joserfc import jwt
from joserfc.jwk import ECKey
from typer.testing import CliRunner

from fhir_gateway.command_line import app as command_line
from fhir_gateway.settings import Refused
from fhir_gateway.store import sqlite

from .conftest import Gateway, free_port

BACK, ORIGIN, OPENS = "http://127.0.0.1:9/back", "http://127.0.0.1:9", "http://127.0.0.1:9/launch"
VERIFIER = "v" * 50
CHALLENGE = base64.urlsafe_b64encode(sha256(VERIFIER.encode()).digest()).rstrip(b"=").decode()
SCOPES = "openid fhirUser launch launch/patient offline_access online_access patient/*.rs user/*.cruds"
PASSWORD = "demo-only-password"


class Browser:
    """A person at a browser without scripts, and the app they use in it."""

    def __init__(self, demo: Gateway, who: str) -> None:
        self.demo, self.http = demo, httpx2.Client(base_url=demo.base, follow_redirects=False, headers={"Origin": demo.base})
        self.page = self.http.get("/sign-in").text
        answer = self.post("/sign-in", username=who, password=PASSWORD)
        assert answer.status_code == 303, answer.text

    def get(self, path: str, **params: str) -> httpx2.Response:
        answer = self.http.get(path, params=params or None)
        self.page = answer.text
        return answer

    def post(self, action: str, **typed: str) -> httpx2.Response:
        """Fill in the first form of the page with this action."""
        form = re.search(rf'<form[^>]*action="{re.escape(action)}"[^>]*>(.*?)</form>', self.page, re.S)
        assert form, f"no form for {action} on {self.page}"
        hidden = {k: unescape(v) for k, v in re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)"', form.group(1))}
        answer = self.http.post(action, data=hidden | typed)
        self.page = answer.text
        return answer

    def authorize(self, scope: str = SCOPES, **more: str) -> httpx2.Response:
        return self.get("/oauth/authorize", **(asked(self.demo, scope) | more))

    def tokens(self, code: str) -> dict[str, Any]:
        form = {"grant_type": "authorization_code", "client_id": "pal", "redirect_uri": BACK, "code_verifier": VERIFIER, "code": code}
        answer = httpx2.post(f"{self.demo.base}/oauth/token", data=form)
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def approve(self) -> dict[str, Any]:
        return self.tokens(said(self.post("/oauth/authorize", decision="approve"))["code"])


def asked(demo: Gateway, scope: str) -> dict[str, str]:
    return {
        "response_type": "code", "client_id": "pal", "redirect_uri": BACK, "state": "s", "aud": f"{demo.base}/fhir", "scope": scope,
        "code_challenge": CHALLENGE, "code_challenge_method": "S256",
    }  # fmt: skip


def said(answer: httpx2.Response) -> dict[str, str]:
    assert answer.status_code == 303 and answer.headers["location"].startswith(BACK), answer.text
    return dict(parse_qsl(urlsplit(answer.headers["location"]).query))


def sees(demo: Gateway, token: str, path: str) -> int:
    return httpx2.get(f"{demo.base}/fhir/{path}", headers={"Authorization": f"Bearer {token}"}).status_code


@pytest.fixture(scope="module")
def house(demo: Gateway) -> Gateway:
    """The demo with an app, registered as an operator does."""
    (shown,) = demo.lines(
        "clients", "add", "pal", "--name", "Plan Pal", "--scopes", SCOPES, "--redirect", BACK, "--origin", ORIGIN, "--launch", OPENS, "--json"
    )
    assert (shown["kind"], shown["redirects"], shown["origins"], shown["launch"]) == ("app", [BACK], [ORIGIN], OPENS)
    return demo


# -- for whom ---------------------------------------------------------------------------------------------------------


def test_staff_choose_a_person_among_those_they_may_see_and_the_app_gets_that_one(house: Gateway) -> None:
    gp = Browser(house, "gp")
    page = gp.authorize()
    assert page.status_code == 200 and "Whose plan is this app for?" in page.text and "Amina" in page.text
    again = gp.post("/oauth/authorize", decision="choose")
    assert again.status_code == 200 and "Choose a person." in again.text
    chosen = gp.post("/oauth/authorize", decision="choose", patient=house.patient)
    page = gp.get(chosen.headers["location"])
    assert "It is for the plan of Amina" in page.text
    answer = gp.approve()
    assert answer["patient"] == house.patient and answer["need_patient_banner"] is True
    assert {"launch/patient", "patient/*.rs"} <= set(answer["scope"].split())
    assert sees(house, answer["access_token"], f"Patient/{house.patient}") == 200


def test_whoever_may_see_nobody_chooses_nobody(house: Gateway) -> None:
    """Neither from the page, nor by typing an id: hidden and absent are one answer."""
    stranger = Browser(house, "stranger")
    page = stranger.authorize()
    assert "Amina" not in page.text and house.patient not in page.text
    looked = stranger.get(stranger.post("/oauth/authorize", decision="look", name="Amina").headers["location"])
    assert "There is nobody of that name" in looked.text and house.patient not in looked.text
    stranger.authorize()
    hidden = stranger.post("/oauth/authorize", decision="choose", patient=house.patient)
    stranger.authorize()
    absent = stranger.post("/oauth/authorize", decision="choose", patient="nobody")
    assert hidden.status_code == absent.status_code == 404
    stranger.authorize()
    assert said(stranger.post("/oauth/authorize"))["error"] == "access_denied"


def test_a_person_is_looked_for_by_name(house: Gateway) -> None:
    gp = Browser(house, "gp")
    gp.authorize()
    found = gp.get(gp.post("/oauth/authorize", decision="look", name="Amina").headers["location"])
    assert f'value="{house.patient}" checked' in found.text
    none = gp.get(gp.post("/oauth/authorize", decision="look", name="Zebedee").headers["location"])
    assert "There is nobody of that name" in none.text


def test_without_a_person_an_app_of_staff_has_no_scopes_for_one(house: Gateway) -> None:
    gp = Browser(house, "gp")
    gp.authorize("openid launch patient/*.rs user/Goal.rs")
    assert gp.approve()["scope"] == "openid user/Goal.rs"


def test_an_app_is_opened_on_a_person_once_by_whoever_opened_it(house: Gateway) -> None:
    gp, other = Browser(house, "gp"), Browser(house, "social-worker")
    assert f"/account/apps/open?person={house.patient}" in gp.get(f"/team/people/{house.patient}").text
    page = gp.get("/account/apps/open", person=house.patient)
    assert "Open Plan Pal" in page.text and f"form-action 'self' {ORIGIN}" in page.headers["content-security-policy"]
    opened = gp.post("/account/apps/open")
    where = urlsplit(opened.headers["location"])
    told = parse_qs(where.query)
    assert opened.headers["location"].startswith(OPENS) and told["iss"] == [f"{house.base}/fhir"]
    (launch,) = told["launch"]
    other.authorize(launch=launch)
    assert said(other.post("/oauth/authorize", decision="approve"))["error"] == "access_denied"
    gp.authorize("launch patient/*.rs", launch=launch)
    answer = gp.approve()
    assert (answer["patient"], answer["scope"]) == (house.patient, "launch patient/*.rs")
    assert said(gp.authorize(launch=launch))["error"] == "invalid_request"


def test_an_app_cannot_be_opened_on_whom_one_may_not_see(house: Gateway) -> None:
    stranger = Browser(house, "stranger")
    assert stranger.get("/account/apps/open", person=house.patient).status_code == 404
    stranger.get("/account")
    token = re.search(r'name="form_token" value="([^"]+)"', stranger.page)
    assert token
    for app, person in (("pal", house.patient), ("pal", "nobody"), ("nothing", house.patient)):
        form = {"form_token": token.group(1), "app": app, "person": person}
        assert stranger.http.post("/account/apps/open", data=form).status_code == 404


def test_a_person_opens_an_app_on_their_own_plan(house: Gateway) -> None:
    me = Browser(house, "patient")
    me.get("/account/apps/open")
    launch = parse_qs(urlsplit(me.post("/account/apps/open", person="somebody-else").headers["location"]).query)["launch"][0]
    me.authorize("launch patient/*.rs", launch=launch)
    assert me.approve()["patient"] == house.patient


# -- asked in other ways ----------------------------------------------------------------------------------------------


def test_an_app_may_ask_by_a_form(house: Gateway) -> None:
    """SMART `authorize-post`: the browser goes on with the same request, so that it brings the session's cookie."""
    gp = Browser(house, "gp")
    for origin in ({"Origin": ORIGIN}, {"Origin": "null"}):
        answer = httpx2.post(f"{house.base}/oauth/authorize", data=asked(house, "user/Goal.rs"), headers=origin)
        assert answer.status_code == 303
        assert gp.get(answer.headers["location"]).status_code == 200
    wrong = httpx2.post(f"{house.base}/oauth/authorize", data=asked(house, "user/Goal.rs") | {"redirect_uri": "https://evil.example"}, headers={"Origin": ORIGIN})
    assert wrong.status_code == 400 and "location" not in wrong.headers


def test_an_app_that_must_not_disturb_hears_that_it_would(house: Gateway) -> None:
    nobody = httpx2.get(f"{house.base}/oauth/authorize", params=asked(house, SCOPES) | {"prompt": "none"})
    assert said(nobody)["error"] == "login_required"
    assert said(Browser(house, "gp").authorize(prompt="none"))["error"] == "consent_required"


# -- to stop it -------------------------------------------------------------------------------------------------------


def test_signing_out_ends_what_lives_with_the_session_and_nothing_else(house: Gateway) -> None:
    one, two = Browser(house, "social-worker"), Browser(house, "social-worker")
    two.authorize("online_access user/Goal.rs")
    online = two.approve()
    one.authorize("offline_access user/Goal.rs")
    offline = one.approve()
    one.get("/account")
    assert one.post("/account/sign-out-everywhere").status_code == 303
    assert [b.get("/team").status_code for b in (one, two)] == [303, 303]
    assert (sees(house, online["access_token"], "Goal"), sees(house, offline["access_token"], "Goal")) == (401, 200)
    again = httpx2.post(f"{house.base}/oauth/token", data={"grant_type": "refresh_token", "refresh_token": online["refresh_token"]})
    assert again.json()["error"] == "invalid_grant"


def test_opening_an_app_wants_our_own_form(house: Gateway) -> None:
    me = Browser(house, "patient")
    for http in (me.http, httpx2):
        assert http.post(f"{house.base}/account/apps/open", data={"app": "pal"}).status_code == 403
    assert httpx2.get(f"{house.base}/account/apps/open").headers["location"] == "/sign-in?next=/account/apps/open"


# -- from a page of another origin ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("origin", "may"), [(ORIGIN, True), ("https://evil.example", False), ("null", False), (ORIGIN + "0", False)])
def test_only_pages_of_registered_origins_read_records(house: Gateway, origin: str, may: bool) -> None:
    ask = {"Origin": origin, "Access-Control-Request-Method": "PUT", "Access-Control-Request-Headers": "authorization, if-match"}
    first = httpx2.options(f"{house.base}/fhir/Goal/1", headers=ask)
    then = house.call("gp", "GET", "Goal", headers={"Origin": origin})
    refused = httpx2.get(f"{house.base}/fhir/Goal", headers={"Origin": origin})
    for answer in (first, then, refused):
        assert answer.headers.get("access-control-allow-origin") == (origin if may else None)
        assert "origin" in answer.headers["vary"].lower()
        assert "access-control-allow-credentials" not in answer.headers
    assert (first.status_code == 204) == may and then.status_code == 200 and refused.status_code == 401
    if may:
        assert "PUT" in first.headers["access-control-allow-methods"] and "if-match" in first.headers["access-control-allow-headers"].lower()
        assert {"ETag", "Location", "WWW-Authenticate"} <= set(then.headers["access-control-expose-headers"].split(", "))


@pytest.mark.parametrize("path", ["/fhir/metadata", "/fhir/.well-known/smart-configuration", "/oauth/jwks", "/.well-known/openid-configuration"])
def test_what_anybody_may_read_any_page_may(house: Gateway, path: str) -> None:
    assert httpx2.get(f"{house.base}{path}", headers={"Origin": "https://any.example"}).headers["access-control-allow-origin"] == "*"
    ask = {"Origin": "https://any.example", "Access-Control-Request-Method": "GET"}
    assert httpx2.options(f"{house.base}{path}", headers=ask).headers["access-control-allow-origin"] == "*"


@pytest.mark.parametrize("path", ["/my-plan", "/account/apps", "/sign-in", "/oauth/authorize"])
def test_no_page_of_ours_is_read_by_another(house: Gateway, path: str) -> None:
    assert "access-control-allow-origin" not in httpx2.get(f"{house.base}{path}", headers={"Origin": ORIGIN}).headers


# -- what the documents promise ---------------------------------------------------------------------------------------


def test_a_person_reads_that_an_apps_key_was_used_twice(house: Gateway) -> None:
    """Without asking for their own rows: it need not have been they."""
    amina = Browser(house, "patient")
    amina.authorize("patient/*.rs offline_access")
    held = amina.approve()
    form = {"grant_type": "refresh_token", "client_id": "pal", "refresh_token": held["refresh_token"]}
    assert [httpx2.post(f"{house.base}/oauth/token", data=form).status_code for _ in range(2)] == [200, 400]
    text = re.sub(r"<[^>]+>", " ", amina.get("/my-plan/who-looked").text)
    said = unescape(re.sub(r"\s+", " ", text))
    assert "Plan Pal, for you What they did Was stopped: its key was used twice, and somebody else may have it Allowed? Told no" in said, said
    assert "Plan Pal, for you What they did Was let in" in said


def test_discovery_has_what_smart_requires_and_nothing_untrue(house: Gateway) -> None:
    about = httpx2.get(f"{house.base}/fhir/.well-known/smart-configuration").json()
    required = {"issuer", "jwks_uri", "authorization_endpoint", "token_endpoint", "grant_types_supported", "capabilities", "code_challenge_methods_supported"}
    assert required <= about.keys() and "S256" in about["code_challenge_methods_supported"] and "plain" not in about["code_challenge_methods_supported"]
    assert "client-confidential-symmetric" not in about["capabilities"]
    assert not any("secret" in m for k, v in about.items() if k.endswith("auth_methods_supported") for m in v)
    security = httpx2.get(f"{house.base}/fhir/metadata").json()["rest"][0]["security"]
    uris = {e["url"]: e["valueUri"] for e in security["extension"][0]["extension"]}
    for name, key in (("authorize", "authorization_endpoint"), ("token", "token_endpoint"), ("manage", "management_endpoint")):
        assert uris[name] == about[key]
    assert security["cors"] is True


# -- clients by command -----------------------------------------------------------------------------------------------


def keyed(tmp_path: Path, name: str) -> tuple[ECKey, str]:
    key = ECKey.generate_key("P-384")
    file = tmp_path / f"{name}.json"
    file.write_text(json.dumps(key.as_dict(private=False) | {"kid": key.thumbprint()}))
    return key, str(file)


def signs_in(house: Gateway, key: ECKey, client: str = "lab", port: int = 0) -> int:
    base = house.base if not port else f"http://127.0.0.1:{port}"
    now = int(time.time())
    claims = {"iss": client, "sub": client, "aud": f"{house.base}/oauth/token", "exp": now + 60, "jti": str(time.time_ns())}
    assertion = jwt.encode({"alg": "ES384", "kid": key.thumbprint()}, claims, key, algorithms=["ES384"])
    form = {
        "grant_type": "client_credentials", "scope": "system/*.rs", "client_assertion": assertion,
        "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
    }  # fmt: skip
    return httpx2.post(f"{base}/oauth/token", data=form).status_code


def test_a_system_is_registered_rotated_and_removed_while_it_works(house: Gateway, tmp_path: Path) -> None:
    (old, old_file), (new, new_file), (last, last_file) = (keyed(tmp_path, n) for n in ("old", "new", "last"))
    house.lines("clients", "add", "lab", "--keys", old_file, "--organisation", "D82001", "--scopes", "system/*.rs", "--json")
    (shown,) = house.lines("clients", "rotate", "lab", "--keys", new_file, "--json")
    assert (shown["keys"], shown["old_keys"]) == ([new.thumbprint()], [old.thumbprint()]) and shown["old_until"]
    assert [signs_in(house, k) for k in (old, new, last)] == [200, 200, 401]
    (shown,) = house.lines("clients", "rotate", "lab", "--keys", last_file, "--json")
    assert set(shown["old_keys"]) == {old.thumbprint(), new.thumbprint()}, "of two rotations in a row nobody is cut off"
    (shown,) = house.lines("clients", "rotate", "lab", "--keys", last_file, "--overlap-hours", "0", "--json")
    assert "old_keys" not in shown and [signs_in(house, k) for k in (old, new, last)] == [401, 401, 200]
    listed = {c["id"]: c for c in house.lines("clients", "list", "--json")}
    assert listed["lab"]["keys"] == [last.thumbprint()] and '"x"' not in json.dumps(listed)
    assert house.lines("clients", "remove", "lab", "--json") == [{"id": "lab", "removed": True}]
    assert signs_in(house, last) == 401


@pytest.mark.parametrize(
    ("args", "why"),
    [
        (["add", "x", "--scopes", "system/*.rs"], "give --keys FILE"),
        (["add", "x", "--scopes", "user/*.rs", "--keys", "KEY"], "all `system/...`"),
        (["add", "x", "--scopes", "system/*.rs", "--redirect", BACK], "scopes of an app"),
        (["add", "x", "--scopes", "user/*.rs bogus", "--redirect", BACK], "scopes of an app"),
        (["add", "x", "--scopes", "user/*.rs", "--redirect", "http://app.example/"], "redirect address is https"),
        (["add", "x", "--scopes", "user/*.rs", "--redirect", BACK, "--launch", "https://evil.example/"], "redirect address on"),
        (["add", "x", "--scopes", "system/*.rs", "--keys-at", "https://keys.example/jwks", "--organisation", "D82001"], "GATEWAY_CLIENT_KEYS_FROM"),
        (["add", "x", "--scopes", "system/*.rs", "--keys", "KEY", "--organisation", "NOBODY"], "no organisation"),
        (["add", "pal", "--scopes", "user/*.rs", "--redirect", BACK], "already"),
        (["add", "gp", "--scopes", "user/*.rs", "--redirect", BACK], "a person signs in"),
        (["rotate", "pal", "--keys", "KEY"], "has no keys"),
        (["rotate", "nobody", "--keys", "KEY"], "no client"),
        (["rotate", "pal"], "Give the new keys"),
        (["remove", "nobody"], "no client"),
    ],
)
def test_what_cannot_be_registered_is_said_in_one_sentence(house: Gateway, tmp_path: Path, args: list[str], why: str) -> None:
    _, file = keyed(tmp_path, "key")
    said = CliRunner().invoke(command_line, ["clients", *(file if a == "KEY" else a for a in args)], env=house.env)
    assert isinstance(said.exception, Refused) and why in str(said.exception)  # `main` makes it exit 2 and this sentence


def test_a_refused_registration_ends_with_2(house: Gateway) -> None:
    done = house.command("clients", "add", "x", "--scopes", "system/*.rs")
    assert done.returncode == 2 and "give --keys FILE" in done.stderr and "Traceback" not in done.stderr
    assert "x" not in {c["id"] for c in house.lines("clients", "list", "--json")}


# -- our own keys, seen by every process ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def pair(house: Gateway, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A second process on the same store; the address of its tokens is the first one's."""
    env = {k: v for k, v in house.env.items() if k.startswith("GATEWAY_")}
    second = Gateway(house.data, free_port(), env | {"GATEWAY_DEMO": "true", "GATEWAY_BASE_URL": house.base, "GATEWAY_WORKER": "false"})
    second.env["GATEWAY_PORT"] = str(second.port)
    try:
        second.start()
        yield second.base
    finally:
        second.stop()


def at(base: str, token: str) -> int:
    return httpx2.get(f"{base}/fhir/Goal?_count=1", headers={"Authorization": f"Bearer {token}"}).status_code


def test_what_is_revoked_at_one_process_is_refused_by_the_other_at_once(house: Gateway, pair: str) -> None:
    gp = Browser(house, "gp")
    gp.authorize("user/Goal.rs")
    token = gp.approve()["access_token"]
    assert at(pair, token) == at(house.base, token) == 200
    assert httpx2.post(f"{pair}/oauth/revoke", data={"token": token, "client_id": "pal"}).status_code == 200
    assert at(house.base, token) == at(pair, token) == 401


def test_keys_rotate_without_downtime_and_a_withdrawn_one_ends_at_once_everywhere(house: Gateway, pair: str) -> None:
    gp = Browser(house, "gp")
    gp.authorize("openid user/Goal.rs")
    old = gp.approve()["access_token"]
    first = {k["kid"]: k for k in house.lines("keys", "list", "--json")}
    assert {k["use"] for k in first.values()} == {"access tokens", "id tokens"} and all(k["signs"] for k in first.values())
    (made,) = house.lines("keys", "rotate", "--algorithm", "ES384", "--json")
    gp.authorize("openid user/Goal.rs")
    new = gp.approve()["access_token"]
    assert [at(base, token) for base in (house.base, pair) for token in (old, new)] == [200] * 4
    published = {k["kid"] for k in httpx2.get(f"{pair}/oauth/jwks").json()["keys"]}
    assert {made["kid"], *first} < published
    (leaked,) = [k["kid"] for k in first.values() if k["use"] == "access tokens"]
    house.lines("keys", "withdraw", leaked, "--json")
    assert [at(base, token) for base in (house.base, pair) for token in (old, new)] == [401, 200, 401, 200]
    done = house.command("keys", "rotate", "--overlap-hours", "0.1")
    assert done.returncode == 2 and "as long as a token lives" in done.stderr
    assert house.command("keys", "withdraw", "nothing").returncode == 2


@pytest.mark.slow
def test_a_client_assertion_works_once_over_two_processes_and_a_restart(house: Gateway, pair: str, tmp_path: Path) -> None:
    key, file = keyed(tmp_path, "key")
    house.lines("clients", "add", "twice", "--keys", file, "--organisation", "D82001", "--scopes", "system/*.rs", "--json")
    now = int(time.time())
    claims = {"iss": "twice", "sub": "twice", "aud": f"{house.base}/oauth/token", "exp": now + 250, "jti": "once"}
    form = {
        "grant_type": "client_credentials", "scope": "system/*.rs",
        "client_assertion": jwt.encode({"alg": "ES384", "kid": key.thumbprint()}, claims, key, algorithms=["ES384"]),
        "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
    }  # fmt: skip
    assert httpx2.post(f"{house.base}/oauth/token", data=form).status_code == 200
    assert httpx2.post(f"{pair}/oauth/token", data=form).status_code == 401
    house.stop()
    house.start("--demo")
    assert httpx2.post(f"{house.base}/oauth/token", data=form).status_code == 401


def test_each_change_of_clients_and_keys_is_written_down(house: Gateway) -> None:
    async def rows() -> set[tuple[str, bool, str]]:
        (file,) = house.data.rglob("*.sqlite")
        store = await sqlite.open(file)
        try:
            return {(n.what, n.allowed, n.detail.split(":")[0]) for n in await store.notes() if n.user == "Device/operator"}
        finally:
            await store.close()

    found = asyncio.run(rows())
    assert {("register-client", True, "lab"), ("rotate-client", True, "lab"), ("remove-client", True, "lab"), ("rotate-keys", True, "ES384")} <= found
    assert any(what == "withdraw-key" for what, _, _ in found)
