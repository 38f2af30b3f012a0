"""The built-in authorization server, over HTTP as an app and a hospital system use it. SMART App Launch 2.2."""

from __future__ import annotations

import asyncio
import base64
import json
import re
import sqlite3
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from html import unescape
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from pathlib import Path
from typing import Any, cast
from urllib.parse import parse_qs, parse_qsl, quote, urlencode, urlsplit

import httpx2
import pytest
from joserfc import jws
from joserfc.jwk import ECKey, RSAKey
from starlette.applications import Starlette

from fhir_gateway.auth import accounts, clients, jose, people
from fhir_gateway.auth.oauth import OAuth
from fhir_gateway.auth.sessions import Sessions
from fhir_gateway.auth.tokens import Tokens
from fhir_gateway.domain.problem import Problem
from fhir_gateway.store import sqlite
from fhir_gateway.web import cors, smart
from fhir_gateway.web.admission import Admission, Limits
from fhir_gateway.web.app import Web
from fhir_gateway.web.pages.frame import Pages

AT = datetime(2036, 6, 1, 12, 0, tzinfo=UTC)
NOW = int(AT.timestamp())
BASE, HERE = "http://127.0.0.1:8080", "http://127.0.0.1:8080/fhir"
TOKEN = f"{BASE}/oauth/token"
BACK = "https://app.example/back"
VERIFIER = "v" * 50
CHALLENGE = base64.urlsafe_b64encode(sha256(VERIFIER.encode()).digest()).rstrip(b"=").decode()
RSA, EC, OTHER = RSAKey.generate_key(2048), ECKey.generate_key("P-384"), ECKey.generate_key("P-384")
ASKED = {
    "response_type": "code", "client_id": "app", "redirect_uri": BACK, "state": "s t&", "aud": HERE, "nonce": "n1",
    "scope": "openid fhirUser offline_access patient/*.rs patient/Goal.cruds system/*.rs", "code_challenge": CHALLENGE,
    "code_challenge_method": "S256",
}  # fmt: skip


@dataclass
class House:
    """The sign-in part of the house on a real store, with a clock that the test turns."""

    store: Any
    at: datetime = AT
    ids: Any = field(default_factory=lambda: count(1))
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        self.tokens = Tokens(self.store, HERE, BASE)
        self.oauth = OAuth(self.store, self.tokens, BASE, HERE, self.new_id)
        self.sessions = Sessions(self.store, self.clock, self.new_id, BASE, https=False)
        pages = Pages(cast(Any, None), self.sessions, self.nobody, self.sessions.sign_in, BASE)
        web = Web(cast(Any, None), self.tokens.verify, BASE, cast(Any, None), admission=Admission(self.limits))  # type: ignore[arg-type]
        shell = Starlette(routes=smart.routes(web, smart.Smart(self.oauth, self.sessions, pages, self.clock, web.admission)))
        house = cors.crossing(shell, clients.Origins(self.store), self.clock)
        self.app = house
        self.http = self.visitor()

    def visitor(self, address: str = "127.0.0.1") -> httpx2.AsyncClient:
        return httpx2.AsyncClient(transport=httpx2.ASGITransport(self.app, client=(address, 1)), base_url=BASE)

    def clock(self) -> datetime:
        return self.at

    def new_id(self) -> str:
        return f"id-{next(self.ids)}"

    async def nobody(self, _: Any) -> None:
        return None

    async def sign_in(self, who: str = "ada") -> None:
        cookies = await self.sessions.sign_in(cast(Any, self.http), who, "correct horse")
        assert cookies
        for cookie in cookies:
            name, _, rest = cookie.partition("=")
            self.http.cookies.set(name, rest.split(";")[0])

    async def approve(self, decision: str = "approve", **changed: str) -> dict[str, str]:
        """What the app hears after the person said yes or no on the page."""
        page = await self.http.get("/oauth/authorize", params=ASKED | changed)
        assert page.status_code == 200, page.text
        fields = dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', page.text))
        fields = {k: unescape(v) for k, v in fields.items()} | {"decision": decision}
        done = await self.http.post("/oauth/authorize", data=fields, headers={"Origin": BASE})
        assert done.status_code == 303, done.text
        where = urlsplit(done.headers["location"])
        assert f"{where.scheme}://{where.netloc}{where.path}" == BACK
        return dict(parse_qsl(where.query))

    async def post(self, path: str = "/oauth/token", **form: str) -> httpx2.Response:
        answer = await self.http.post(path, data=form)
        assert answer.headers["cache-control"] == "no-store"
        return answer

    async def redeem(self, used: str, **changed: str) -> httpx2.Response:
        form = {"grant_type": "authorization_code", "client_id": "app", "redirect_uri": BACK, "code_verifier": VERIFIER}
        return await self.post(**(form | {"code": used} | changed))

    async def refresh(self, token: str, **changed: str) -> httpx2.Response:
        form = {"grant_type": "refresh_token", "client_id": "app", "refresh_token": token}
        return await self.post(**(form | changed))

    def assertion(self, key: Any = EC, **changed: Any) -> str:
        now = int(self.at.timestamp())
        alg, more = changed.pop("alg", "RS384" if key is RSA else "ES384"), changed.pop("header", {})
        claims = {"iss": "hospital", "sub": "hospital", "aud": TOKEN, "exp": now + 300, "jti": self.new_id()} | changed
        head = {"alg": alg, "kid": key.thumbprint(), "typ": "JWT"} | more
        said = json.dumps({k: v for k, v in claims.items() if v is not None})  # as escapes, whatever they hold
        return jws.serialize_compact(head, said.encode(), key, algorithms=[alg])

    async def system(self, assertion: str, **changed: str) -> httpx2.Response:
        form = {"grant_type": "client_credentials", "scope": "system/*.rs user/*.rs", **asserted(assertion)}
        return await self.post(**(form | changed))

    async def works(self, token: str) -> bool:
        try:
            await self.tokens.verify(token, self.at)
        except Problem:
            return False
        return True


def asserted(assertion: str) -> dict[str, str]:
    kind = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
    return {"client_assertion_type": kind, "client_assertion": assertion}


def public(*keys: Any) -> dict[str, Any]:
    return {"keys": [k.as_dict(private=False) | {"kid": k.thumbprint()} for k in keys]}


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    store = await sqlite.open(tmp_path / "gateway.sqlite", clock=lambda: house.at)  # one clock: what has ended is as good as gone
    house = House(store)
    await people.add(store, people.Account("ada", "Patient/a", "Ada", assurance="P9"), "correct horse")
    await people.add(store, people.Account("gp", "Practitioner/g", "Dr Green", "Organization/s"), "correct horse")
    scopes = "openid fhirUser offline_access launch launch/patient patient/*.rs user/*.cruds"
    await clients.add(store, clients.Client("app", "app", "Plan Pal", scopes, (BACK, "http://127.0.0.1:9/cb")))
    await clients.add(store, clients.Client("app2", "app", "Other", scopes, (BACK,), origins=("https://app.example",)))
    system = clients.Client("hospital", "system", "St Mary's", "system/*.cruds", jwks=public(RSA, EC), contributor=True)
    await clients.add(store, system)
    await clients.add(store, clients.Client("clinic", "system", "Clinic", "system/*.rs", jwks=public(OTHER)))
    yield house
    await house.http.aclose()
    await store.close()


# -- what is offered --------------------------------------------------------------------------------------------------


async def test_programs_find_every_address_in_the_discovery_documents(house: House) -> None:
    found = (await house.http.get("/fhir/.well-known/smart-configuration")).json()
    plain = (await house.http.get("/.well-known/openid-configuration")).json()
    assert plain.items() <= found.items() and plain["issuer"] == BASE
    needed = {"launch-standalone", "client-public", "client-confidential-asymmetric", "permission-v2"}
    assert needed <= set(found["capabilities"])
    assert found["code_challenge_methods_supported"] == ["S256"]
    assert {"RS384", "ES384"} == set(found["token_endpoint_auth_signing_alg_values_supported"])
    for name in ("token_endpoint", "introspection_endpoint", "revocation_endpoint"):
        assert (await house.http.post(found[name], data={})).status_code in (400, 401)
    assert (await house.http.get(found["authorization_endpoint"])).status_code == 400
    published = (await house.http.get(found["jwks_uri"])).text
    assert '"kid"' in published and not re.search(r'"(d|p|q|k)":', published)


# -- a person and an app ----------------------------------------------------------------------------------------------


async def test_an_app_gets_a_token_for_what_the_person_and_its_registration_allow(house: House) -> None:
    await house.sign_in()
    back = await house.approve()
    assert back["state"] == "s t&" and back["iss"] == BASE
    answer = (await house.redeem(back["code"])).json()
    assert answer["scope"] == "openid fhirUser offline_access patient/*.rs"
    assert (answer["token_type"], answer["expires_in"], answer["patient"]) == ("Bearer", 900, "a")
    caller = await house.tokens.verify(answer["access_token"], house.at)
    assert (caller.fhir_user, caller.client, caller.launch) == ("Patient/a", "app", "Patient/a")
    assert caller.scopes == answer["scope"]
    published = (await house.http.get("/oauth/jwks")).json()
    opened = jose.open_signed(answer["id_token"], jose.public_keys(published))
    said = opened.claims
    assert opened.header["alg"] == "RS256"  # OpenID Connect Discovery 1.0: every issuer has it
    assert (said["aud"], said["nonce"], said["fhirUser"]) == ("app", "n1", f"{HERE}/Patient/a")
    assert not await house.works(answer["id_token"])  # an id token opens nothing


async def test_a_person_who_is_not_signed_in_signs_in_first_and_comes_back(house: House) -> None:
    answer = await house.http.get("/oauth/authorize", params=ASKED)
    where = urlsplit(answer.headers["location"])
    assert where.path == "/sign-in" and not where.netloc
    (onward,) = parse_qs(where.query)["next"]
    await house.sign_in()
    assert (await house.http.get(onward)).status_code == 200


async def test_the_page_says_who_asks_for_what_and_lets_the_person_say_no(house: House) -> None:
    await house.sign_in()
    page = await house.http.get("/oauth/authorize", params=ASKED)
    for text in ("Plan Pal", "app.example", "read, search: everything in the plan"):
        assert text in page.text
    assert "form-action 'self' https://app.example" in page.headers["content-security-policy"]
    assert await house.approve("refuse") == {"error": "access_denied", "state": "s t&", "iss": BASE}


async def test_a_professional_without_a_patient_gets_no_patient_scopes(house: House) -> None:
    await house.sign_in("gp")
    answer = (await house.redeem((await house.approve(scope="patient/*.rs user/Goal.rs"))["code"])).json()
    assert answer["scope"] == "user/Goal.rs" and "patient" not in answer
    launch = await house.oauth.launch("app", "Patient/b", "gp", house.at)
    answer = (await house.redeem((await house.approve(scope="launch patient/*.rs", launch=launch))["code"])).json()
    assert (answer["scope"], answer["patient"]) == ("launch patient/*.rs", "b")
    assert (await house.tokens.verify(answer["access_token"], house.at)).launch == "Patient/b"


async def test_a_launch_is_for_the_app_that_was_opened_and_for_no_other(house: House) -> None:
    """Another registered app that gets hold of the value is not let in to that patient; the one that was opened still is, once."""
    await house.sign_in("gp")
    launch = await house.oauth.launch("app", "Patient/b", "gp", house.at)
    asked = ASKED | {"scope": "launch patient/*.rs", "launch": launch}
    stolen = await house.http.get("/oauth/authorize", params=asked | {"client_id": "app2"})
    assert stolen.status_code == 303, stolen.text
    back = dict(parse_qsl(urlsplit(stolen.headers["location"]).query))
    assert back["error"] == "invalid_request" and "code" not in back and "launch has ended" in back["error_description"]
    answer = (await house.redeem((await house.approve(scope="launch patient/*.rs", launch=launch))["code"])).json()
    assert answer["patient"] == "b"
    again = await house.http.get("/oauth/authorize", params=asked)
    assert "code" not in again.headers["location"], "and once"


@pytest.mark.parametrize(
    "changed",
    [
        {"client_id": "nobody"},
        {"client_id": "hospital"},
        {"redirect_uri": "https://app.example@evil.example/"},
        {"redirect_uri": "https://evil.example/"},
        {"redirect_uri": BACK + "#x"},
        {"redirect_uri": BACK + "/"},
        {"redirect_uri": BACK + "?x=1"},
        {"redirect_uri": "http://127.0.0.1:10/cb"},
        {"redirect_uri": ""},
        {"state": "x" * 5_000},
    ],
)
async def test_nobody_is_sent_to_an_address_that_is_not_registered(house: House, changed: dict[str, str]) -> None:
    await house.sign_in()
    answer = await house.http.get("/oauth/authorize", params=ASKED | changed)
    assert answer.status_code == 400 and "location" not in answer.headers


async def test_a_parameter_given_twice_is_refused(house: House) -> None:
    await house.sign_in()
    twice = urlencode(ASKED) + "&redirect_uri=" + quote("https://evil.example/", safe="")
    answer = await house.http.get(f"/oauth/authorize?{twice}")
    assert answer.status_code == 400 and "location" not in answer.headers
    answer = await house.http.post(
        "/oauth/token", content="grant_type=client_credentials&grant_type=password",
        headers={"Content-Type": "application/x-www-form-urlencoded"},
    )  # fmt: skip
    assert answer.json()["error"] == "invalid_request"


@pytest.mark.parametrize(
    ("changed", "error"),
    [
        ({"response_type": "token"}, "unsupported_response_type"),
        ({"code_challenge": ""}, "invalid_request"),
        ({"code_challenge_method": "plain"}, "invalid_request"),
        ({"code_challenge": "short"}, "invalid_request"),
        ({"aud": "https://other.example/fhir"}, "invalid_request"),
        ({"aud": ""}, "invalid_request"),
        ({"scope": "user/*.rs launch"}, None),
        ({"scope": "system/*.rs"}, "invalid_scope"),
        ({"scope": ""}, "invalid_scope"),
        ({"launch": "made-up"}, "invalid_request"),
        ({"prompt": "none login"}, "invalid_request"),
        ({"prompt": "nobody"}, "invalid_request"),
        ({"prompt": "login consent"}, None),
        ({"max_age": "soon"}, "invalid_request"),
        ({"max_age": "-1"}, "invalid_request"),
        ({"request": "eyJ"}, "request_not_supported"),
        ({"request_uri": "https://app.example/r"}, "request_uri_not_supported"),
        ({"registration": "{}"}, "registration_not_supported"),
        ({"response_mode": "form_post"}, "invalid_request"),
    ],
)
async def test_the_app_hears_what_was_wrong(house: House, changed: dict[str, str], error: str | None) -> None:
    answer = await house.http.get("/oauth/authorize", params=ASKED | changed)
    where = urlsplit(answer.headers["location"])
    said = parse_qs(where.query)
    if error is None:
        assert where.path == "/sign-in"
    else:
        assert where.netloc == "app.example" and "code" not in said
        assert said["error"] == [error] and said["state"] == ["s t&"]


@pytest.mark.parametrize("origin", ["https://evil.example", "null", ""])
async def test_another_site_cannot_approve_for_the_person(house: House, origin: str) -> None:
    await house.sign_in()
    session = await house.sessions.session(dict(house.http.cookies))
    assert session
    form = {"form_token": session.form_token, "asked": urlencode(ASKED), "decision": "approve"}
    answer = await house.http.post("/oauth/authorize", data=form, headers={"Origin": origin} if origin else {})
    assert answer.status_code == 403 and "location" not in answer.headers
    without = await house.http.post("/oauth/authorize", data=form | {"form_token": "x"}, headers={"Origin": BASE})
    assert without.status_code == 403
    assert (await house.http.post("/oauth/authorize", data=form, headers={"Origin": BASE})).status_code == 303


# -- codes ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changed",
    [
        {"client_id": "app2"},
        {"redirect_uri": "https://evil.example/cb"},
        {"redirect_uri": "http://127.0.0.1:9/cb"},
        {"code_verifier": ""},
        {"code_verifier": CHALLENGE},
        {"code_verifier": "w" * 50},
        {"code_verifier": "é" * 50},
        {"code": "made-up"},
    ],
)
async def test_a_code_works_only_for_who_asked_for_it(house: House, changed: dict[str, str]) -> None:
    await house.sign_in()
    code = (await house.approve())["code"]
    answer = await house.redeem(code, **changed)
    assert answer.status_code == 400 and answer.json()["error"] == "invalid_grant"
    assert (await house.redeem(code)).status_code == 200


async def test_a_code_lives_five_minutes(house: House) -> None:
    await house.sign_in()
    code = (await house.approve())["code"]
    house.at += timedelta(minutes=5)
    assert (await house.redeem(code)).json()["error"] == "invalid_grant"


async def test_a_code_used_twice_ends_what_the_first_use_gave(house: House) -> None:
    await house.sign_in()
    code = (await house.approve())["code"]
    first = (await house.redeem(code)).json()
    assert await house.works(first["access_token"])
    assert (await house.redeem(code)).json()["error"] == "invalid_grant"
    assert not await house.works(first["access_token"])
    assert (await house.refresh(first["refresh_token"])).json()["error"] == "invalid_grant"


async def test_of_many_uses_at_once_at_most_one_is_answered(house: House) -> None:
    await house.sign_in()
    code = (await house.approve())["code"]
    answers = await asyncio.gather(*(house.redeem(code) for _ in range(8)))
    assert sorted(a.status_code for a in answers) == [200] + [400] * 7


# -- refresh ----------------------------------------------------------------------------------------------------------


async def granted(house: House) -> dict[str, Any]:
    await house.sign_in()
    return cast(dict[str, Any], (await house.redeem((await house.approve())["code"])).json())


async def test_a_refresh_token_is_exchanged_for_the_next(house: House) -> None:
    first = await granted(house)
    house.at += timedelta(days=30)
    second = (await house.refresh(first["refresh_token"])).json()
    assert second["refresh_token"] != first["refresh_token"] and second["scope"] == first["scope"]
    assert await house.works(second["access_token"])
    caller = await house.tokens.verify(second["access_token"], house.at)
    assert caller.signed_in == AT  # refreshing is not signing in
    fewer = (await house.refresh(second["refresh_token"], scope="patient/Goal.cruds")).json()
    assert fewer["scope"] == "patient/Goal.rs"


async def test_an_app_without_a_key_refreshes_without_a_name_and_one_with_a_key_does_not(house: House) -> None:
    """https://hl7.org/fhir/smart-app-launch/app-launch.html#step-5-refresh lists no client_id."""
    first = await granted(house)
    second = await house.post(grant_type="refresh_token", refresh_token=first["refresh_token"])
    assert second.status_code == 200
    assert (await house.post(grant_type="refresh_token", refresh_token="made-up")).json()["error"] == "invalid_grant"
    app = await clients.find(house.store, "app", house.at)
    assert app
    await clients.change(house.store, replace(app, jwks=public(OTHER)))
    assert (await house.post(grant_type="refresh_token", refresh_token=second.json()["refresh_token"])).status_code == 401


async def test_a_refresh_token_used_twice_ends_the_whole_grant(house: House) -> None:
    first = await granted(house)
    second = (await house.refresh(first["refresh_token"])).json()
    assert (await house.refresh(first["refresh_token"])).json()["error"] == "invalid_grant"
    assert (await house.refresh(second["refresh_token"])).json()["error"] == "invalid_grant"
    assert not await house.works(second["access_token"]) and not await house.works(first["access_token"])


async def test_a_refresh_token_is_one_apps_and_ends(house: House) -> None:
    first = await granted(house)
    assert (await house.refresh(first["refresh_token"], client_id="app2")).json()["error"] == "invalid_grant"
    assert (await house.refresh(first["refresh_token"], scope="system/*.cruds")).json()["error"] == "invalid_scope"
    house.at += timedelta(days=90)
    assert (await house.refresh(first["refresh_token"])).json()["error"] == "invalid_grant"


async def test_a_closed_account_gets_no_more_tokens(house: House) -> None:
    first = await granted(house)
    await accounts.close(house.store, "ada", accounts.Act(house.at, lambda: "close"))
    assert (await house.refresh(first["refresh_token"])).json()["error"] == "invalid_grant"


async def test_without_offline_access_there_is_no_refresh_token(house: House) -> None:
    await house.sign_in()
    assert "refresh_token" not in (await house.redeem((await house.approve(scope="patient/*.rs"))["code"])).json()


# -- systems ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", [RSA, EC], ids=["RS384", "ES384"])
async def test_a_system_signs_in_with_its_key(house: House, key: Any) -> None:
    answer = (await house.system(house.assertion(key))).json()
    assert answer["scope"] == "system/*.rs" and "refresh_token" not in answer
    caller = await house.tokens.verify(answer["access_token"], house.at)
    assert (caller.kind, caller.fhir_user, caller.roles) == ("system", "Device/hospital", frozenset({"contributor"}))


@pytest.mark.parametrize(
    "changed",
    [
        {"exp": NOW + 301},
        {"exp": NOW - 61},
        {"exp": None},
        {"aud": BASE},
        {"aud": TOKEN + "/"},
        {"aud": [TOKEN, "https://other.example"]},
        {"aud": None},
        {"jti": None},
        {"jti": ""},
        {"jti": 7},
        {"jti": "\ud800"},
        {"odd": {"\udfff": ["x"]}},
        {"sub": "clinic"},
        {"iss": "clinic"},
        {"iss": "nobody", "sub": "nobody"},
        {"iss": ["hospital"]},
        {"key": OTHER},
        {"key": RSA, "alg": "RS256"},
        {"key": RSA, "alg": "PS384"},
        {"header": {"jku": "https://evil.example/jwks"}},
        {"header": {"kid": "unknown"}},
    ],
)
async def test_an_assertion_with_one_defect_is_refused(house: House, changed: dict[str, Any]) -> None:
    key = changed.pop("key", EC) if "key" in changed else EC
    answer = await house.system(house.assertion(key, **changed))
    assert answer.status_code == 401 and answer.json()["error"] == "invalid_client"


async def test_an_assertion_works_once_however_many_times_it_is_sent_at_once(house: House) -> None:
    assertion = house.assertion()
    answers = await asyncio.gather(*(house.system(assertion) for _ in range(8)))
    assert sorted(a.status_code for a in answers) == [200] + [401] * 7


@pytest.mark.parametrize("later", [0, 60, 299, 301, 359], ids="{}s".format)
async def test_an_assertion_is_remembered_for_as_long_as_it_would_be_believed(house: House, later: int) -> None:
    """A minute of leeway included: the twin that nobody has sent yet is still good at that moment, the one that was used is not."""
    used, twin = house.assertion(), house.assertion()
    assert (await house.system(used)).status_code == 200
    house.at += timedelta(seconds=later)
    answer = await house.system(used)
    assert answer.status_code == 401 and "used before" in answer.text
    assert (await house.system(twin)).status_code == 200


async def test_an_assertion_from_a_client_whose_clock_is_ahead_is_remembered_to_its_end(house: House) -> None:
    """Issued as if a moment from now: its five minutes end when ours do, never after we forget it."""
    for ahead in (0, 59, 60):
        used = house.assertion(exp=int(house.at.timestamp()) + 300, nbf=int(house.at.timestamp()) + ahead)
        assert (await house.system(used)).status_code == 200
        start = house.at
        house.at += timedelta(seconds=359)
        assert "used before" in (await house.system(used)).text
        house.at = start


@pytest.mark.parametrize(
    ("changed", "error"),
    [
        ({"client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:another"}, "invalid_client"),
        ({"client_assertion": "e30.e30.e30"}, "invalid_client"),
        ({"client_id": "clinic"}, "invalid_client"),
        ({"client_secret": "x"}, "invalid_client"),
        ({"scope": ""}, "invalid_scope"),
        ({"scope": "user/*.rs"}, "invalid_scope"),
        ({"grant_type": "password"}, "unsupported_grant_type"),
        ({"grant_type": ""}, "unsupported_grant_type"),
    ],
)
async def test_other_requests_of_systems_are_refused(house: House, changed: dict[str, str], error: str) -> None:
    answer = await house.system(house.assertion(), **changed)
    assert answer.json()["error"] == error and answer.status_code == (401 if error == "invalid_client" else 400)


async def test_an_app_cannot_act_by_itself_nor_a_system_without_its_key(house: House) -> None:
    answer = await house.post(grant_type="client_credentials", client_id="app", scope="system/*.rs")
    assert answer.json()["error"] == "unauthorized_client"
    answer = await house.post(grant_type="client_credentials", client_id="hospital", scope="system/*.rs")
    assert answer.json()["error"] == "invalid_client"
    basic = await house.http.post(TOKEN, data={"grant_type": "client_credentials"}, auth=("hospital", "x"))
    assert basic.status_code == 401 and basic.json()["error"] == "invalid_client"


async def test_a_system_rotates_its_key_without_a_gap(house: House) -> None:
    new = ECKey.generate_key("P-256")
    later = ECKey.generate_key("P-384")
    await clients.rotate(house.store, "hospital", public(later), house.at)
    assert (await house.system(house.assertion(EC))).status_code == 200
    assert (await house.system(house.assertion(later))).status_code == 200
    house.at += clients.OVERLAP
    assert (await house.system(house.assertion(EC))).status_code == 401
    assert (await house.system(house.assertion(later))).status_code == 200
    with pytest.raises(ValueError, match="private"):
        await clients.rotate(house.store, "hospital", {"keys": [new.as_dict(private=True)]}, house.at)
    with pytest.raises(LookupError):
        await clients.rotate(house.store, "nobody", public(new), house.at)


class Published:
    """A partner's web server with its JWK set; what is asked of it, and what it answers."""

    def __init__(self) -> None:
        self.keys, self.asked, self.status, self.sends_to = [EC], 0, 200, ""
        here = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                here.asked += 1
                self.send_response(302 if here.sends_to else here.status)
                if here.sends_to:
                    self.send_header("Location", here.sends_to)
                self.end_headers()
                self.wfile.write(json.dumps(public(*here.keys)).encode())

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.address = f"http://127.0.0.1:{self.server.server_port}/jwks"


@pytest.fixture
def published() -> Iterator[Published]:
    there = Published()
    yield there
    there.server.shutdown()


async def test_a_system_may_publish_its_keys_and_rotate_them_by_itself(house: House, published: Published) -> None:
    hosts = frozenset({"127.0.0.1"})
    house.oauth.keysets.hosts = hosts
    await clients.rotate(house.store, "hospital", None, house.at, timedelta(0), jwks_uri=published.address, hosts=hosts)
    for _ in range(3):
        assert (await house.system(house.assertion(EC))).status_code == 200
    assert published.asked == 1
    for jku, status in ((published.address, 200), ("https://evil.example/jwks", 401), (published.address + "/", 401)):
        assert (await house.system(house.assertion(EC, header={"jku": jku}))).status_code == status, "it may name the registered set, and is never followed"
    published.keys = [OTHER]
    for _ in range(3):  # an unknown kid makes us look again, once a minute
        assert (await house.system(house.assertion(OTHER))).status_code == 401
    assert published.asked == 1
    house.at += timedelta(minutes=1)
    assert (await house.system(house.assertion(OTHER))).status_code == 200
    assert (await house.system(house.assertion(EC))).status_code == 401 and published.asked == 2
    published.status = 500
    house.at += timedelta(minutes=30)
    assert (await house.system(house.assertion(OTHER))).status_code == 200, "a short outage locks nobody out"
    house.at += timedelta(minutes=40)
    assert (await house.system(house.assertion(OTHER))).status_code == 401, "and a key that was withdrawn does not live for ever"


@pytest.mark.parametrize("how", ["redirect", "host", "name"])
async def test_keys_are_fetched_from_configured_hosts_alone(house: House, published: Published, how: str) -> None:
    """Neither by a redirect, nor when the settings name the host no more, nor in the clear."""
    sink, address = Published(), published.address
    if how == "redirect":
        published.sends_to = sink.address
    if how == "name":
        with pytest.raises(ValueError, match="GATEWAY_CLIENT_KEYS_FROM"):
            await clients.rotate(house.store, "hospital", None, house.at, jwks_uri="http://keys.example/jwks", hosts=frozenset({"keys.example"}))
    else:
        await clients.rotate(house.store, "hospital", None, house.at, timedelta(0), jwks_uri=address, hosts=frozenset({"127.0.0.1"}))
        house.oauth.keysets.hosts = frozenset({"127.0.0.1"}) if how == "redirect" else frozenset()
        assert (await house.system(house.assertion(EC))).status_code == 401
    assert sink.asked == 0 and published.asked == (1 if how == "redirect" else 0)
    sink.server.shutdown()


async def test_a_removed_client_holds_nothing(house: House) -> None:
    app, system = await granted(house), (await house.system(house.assertion())).json()
    assert await house.oauth.remove_client("app", house.at) and await house.oauth.remove_client("hospital", house.at)
    assert not await house.works(app["access_token"]) and not await house.works(system["access_token"])
    assert (await house.refresh(app["refresh_token"])).status_code == 401
    assert not await house.oauth.remove_client("app", house.at)
    assert [c.id for c in await clients.list_clients(house.store, house.at)] == ["app2", "clinic"]


@pytest.mark.parametrize(
    "client",
    [
        clients.Client("a b", "app", redirect_uris=(BACK,)),
        clients.Client("x", "app"),
        clients.Client("x", "system"),
        clients.Client("x", "system", jwks={"keys": []}),
        clients.Client("x", "system", jwks={"keys": [{"kty": "oct", "k": "AAAA"}]}),
        clients.Client("x", "system", jwks={"keys": [EC.as_dict(private=True)]}),
        clients.Client("x", "app", redirect_uris=("http://app.example/cb",)),
        clients.Client("x", "app", redirect_uris=("https://app.example/cb#x",)),
        clients.Client("x", "app", redirect_uris=("https://u@app.example/cb",)),
        clients.Client("x", "app", redirect_uris=("https://*.example/cb",)),
        clients.Client("x", "app", redirect_uris=("javascript:alert(1)",)),
        clients.Client("x", "app", redirect_uris=(BACK,), origins=("https://app.example/",)),
        clients.Client("hospital", "app", redirect_uris=(BACK,)),
    ],
)
async def test_an_unsafe_registration_is_refused(house: House, client: clients.Client) -> None:
    with pytest.raises(ValueError):
        await clients.add(house.store, client)


# -- introspection and revocation -------------------------------------------------------------------------------------


async def test_only_a_client_with_a_key_may_ask_about_a_token(house: House) -> None:
    token = (await granted(house))["access_token"]
    assert (await house.tokens.verify(token, house.at)).client == "app"
    for who in ({}, {"client_id": "app"}):  # the app whose own token it is, too: it has no key, as docs/apps.md says
        refused = await house.post("/oauth/introspect", token=token, **who)
        assert (refused.status_code, refused.json()["error"]) == (401, "invalid_client")
    other = await house.post("/oauth/introspect", token=token, **asserted(house.assertion()))
    assert other.json() == {"active": False}  # nobody else's business
    own = (await house.system(house.assertion())).json()["access_token"]
    said = (await house.post("/oauth/introspect", token=own, **asserted(house.assertion()))).json()
    assert (said["active"], said["client_id"], said["scope"]) == (True, "hospital", "system/*.rs")
    hospital = await clients.find(house.store, "hospital", house.at)
    assert hospital
    await clients.change(house.store, replace(hospital, may_introspect=True))
    said = (await house.post("/oauth/introspect", token=token, **asserted(house.assertion()))).json()
    assert (said["active"], said["sub"], said["patient"]) == (True, "ada", "a")


async def test_a_refresh_token_is_told_of_to_a_resource_server_that_asks_for_one_by_its_kind(house: House) -> None:
    token = (await granted(house))["refresh_token"]
    hospital = await clients.find(house.store, "hospital", house.at)
    assert hospital

    async def about(token: str, hint: str = "refresh_token") -> dict[str, Any]:
        answer = await house.post("/oauth/introspect", token=token, token_type_hint=hint, **asserted(house.assertion()))
        found: dict[str, Any] = answer.json()
        return found

    no = {"active": False}
    assert await about(token) == no, "a system that is no resource server"
    await clients.change(house.store, replace(hospital, may_introspect=True))
    said = await about(token)
    assert (said["active"], said["sub"], said["client_id"], said["patient"], said["fhirUser"]) == (True, "ada", "app", "a", f"{HERE}/Patient/a")
    assert "offline_access" in said["scope"] and said["exp"] == int((house.at + timedelta(days=90)).timestamp()) and said["aud"] == BASE
    assert "token_type" not in said, "no bearer token"
    for hint in ("access_token", "", "id_token"):
        assert await about(token, hint) == no, "nobody takes it for an access token"
    assert await about("made-up") == no
    access = (await house.refresh(token)).json()
    assert await about(token) == no, "it was exchanged"
    assert (await about(access["refresh_token"]))["active"] and await house.works(access["access_token"]), "to ask is no use of it"
    assert (await about(access["access_token"]))["token_type"] == "Bearer", "a hint is a hint"
    await accounts.close(house.store, "ada", accounts.Act(house.at, house.new_id))
    assert await about(access["refresh_token"]) == no


async def test_an_app_ends_its_own_tokens_and_nobody_elses(house: House) -> None:
    held = await granted(house)
    for token in (held["access_token"], held["refresh_token"]):
        assert (await house.post("/oauth/revoke", token=token, client_id="app2")).status_code == 200
    assert await house.works(held["access_token"])
    assert (await house.post("/oauth/revoke", token=held["access_token"], client_id="app")).status_code == 200
    assert not await house.works(held["access_token"])
    second = (await house.refresh(held["refresh_token"])).json()
    assert (await house.post("/oauth/revoke", token=second["refresh_token"], client_id="app")).status_code == 200
    assert not await house.works(second["access_token"])
    assert (await house.refresh(second["refresh_token"])).json()["error"] == "invalid_grant"
    assert (await house.post("/oauth/revoke", token="made-up", client_id="app")).status_code == 200
    assert (await house.post("/oauth/revoke", token="made-up")).status_code == 401


# -- from a browser page (CORS), and what is written down -------------------------------------------------------------


async def test_only_pages_of_registered_origins_may_read_the_answers(house: House) -> None:
    for origin, allowed in (("https://app.example", True), ("https://evil.example", False), ("null", False)):
        for method in ("OPTIONS", "POST"):
            answer = await house.http.request(method, "/oauth/token", headers={"Origin": origin})
            assert ("access-control-allow-origin" in answer.headers) == allowed
            assert "access-control-allow-credentials" not in answer.headers


async def test_sign_ins_are_written_down_allowed_and_refused(house: House) -> None:
    await house.sign_in()
    assert await house.sessions.sign_in(cast(Any, house.http), "ada", "wrong password") is None
    await house.approve()
    await house.system(house.assertion())
    rows = [(n.what, n.allowed, n.user, n.client) for n in await house.store.notes()]
    assert set(rows) == {
        ("sign-in", True, "Patient/a", None), ("sign-in", False, "Patient/a", None),
        ("authorize", True, "Patient/a", "app"), ("sign-in", True, "Device/hospital", "hospital"),
    }  # fmt: skip


async def test_refused_codes_and_assertions_are_written_down_without_their_values(house: House) -> None:
    assert (await house.redeem("made-up-code")).status_code == 400
    assert (await house.refresh("made-up-token")).status_code == 400
    assert (await house.system("a.b.c")).status_code == 401
    assert (await house.redeem("made-up-code", client_id="made-up-app")).status_code == 401
    notes = await house.store.notes()
    rows = sorted((n.what, n.allowed, n.user, n.client or "", n.detail) for n in notes)
    assert rows == sorted(
        [("token", False, "", "app", "invalid_grant")] * 2 + [("token", False, "", "", "invalid_client")] * 2
    ) and "made-up" not in str(notes)


async def test_a_refused_client_is_named_by_its_assertion_too_wherever_it_asks(house: House) -> None:
    used = house.assertion()
    assert (await house.system(used)).status_code == 200
    assert (await house.system(used)).status_code == 401, "a replay"
    assert (await house.system(house.assertion(OTHER))).status_code == 401, "another's key"
    for path in ("/oauth/introspect", "/oauth/revoke"):
        assert (await house.post(path, token="made-up-token", **asserted(used))).status_code == 401
        assert (await house.post(path, token="made-up-token", client_id="made-up-app")).status_code == 401
        assert (await house.post(path, token="made-up-token", **asserted(house.assertion(iss="made-up-app")))).status_code == 401
    notes = [n for n in await house.store.notes() if not n.allowed]
    assert sorted((n.what, n.user, n.client or "", n.detail) for n in notes) == sorted(
        [("token", "", "hospital", "invalid_client")] * 2
        + [(what, "", client, "invalid_client") for what in ("introspect", "token-end") for client in ("hospital", "", "")]
    ) and "made-up" not in str(notes)


def of_apps(notes: Any) -> list[tuple[str, bool, str, str | None, str | None, str]]:
    """What apps did: `(what, allowed, user, client, patient, detail up to the scopes)`."""
    return sorted((n.what, n.allowed, n.user, n.client, n.patient, n.detail.split(":")[0]) for n in notes if n.what.startswith("token"))


async def test_what_an_app_gets_and_gives_up_is_in_the_log_of_whoever_let_it_in(house: House) -> None:
    first = await granted(house)
    second = (await house.refresh(first["refresh_token"])).json()
    await house.post("/oauth/revoke", token=second["access_token"], client_id="app2")
    await house.post("/oauth/revoke", token="made-up", client_id="app")
    await house.post("/oauth/revoke", token=second["access_token"], client_id="app")
    await house.post("/oauth/revoke", token=second["refresh_token"], client_id="app")
    rows = await house.store.notes(patient="Patient/a")
    assert of_apps(rows) == [
        ("token", True, "Patient/a", "app", "Patient/a", "authorization_code"), ("token", True, "Patient/a", "app", "Patient/a", "refresh_token"),
        ("token-end", True, "Patient/a", "app", "Patient/a", "access_token"), ("token-end", True, "Patient/a", "app", "Patient/a", "refresh_token"),
    ]  # fmt: skip
    assert not any(secret in str(rows) for one in (first, second) for secret in (one["access_token"], one["refresh_token"]))


async def test_a_launch_in_other_hands_or_a_second_time_is_written_down(house: House) -> None:
    launch = await house.oauth.launch("app", "Patient/b", "gp", house.at)
    await house.sign_in("ada")
    assert (await house.approve(scope="launch patient/*.rs", launch=launch))["error"] == "access_denied"
    await house.sign_in("gp")
    session = await house.sessions.session(house.http.cookies)
    asked = await house.oauth.asked(list((ASKED | {"scope": "launch patient/*.rs", "launch": launch}).items()), house.at)
    assert session and [await house.oauth.approve(asked, session.caller, house.at) for _ in range(2)][1].split("?")[1].startswith("error=access_denied")
    rows = [(n.allowed, n.user, n.patient, n.client, n.detail) for n in await house.store.notes() if n.what == "authorize"]
    assert sorted(rows, key=str) == sorted([
        (False, "Patient/a", "Patient/a", "app", "somebody else's launch"), (False, "Practitioner/g", None, "app", "launch used before"),
        (True, "Practitioner/g", None, "app", "launch patient/*.rs"),
    ], key=str)  # fmt: skip


@pytest.mark.parametrize("what", ["code", "refresh token"])
async def test_a_secret_that_came_twice_is_in_the_log_of_whoever_may_have_lost_it(house: House, what: str) -> None:
    await house.sign_in()
    code = (await house.approve())["code"]
    token = (await house.redeem(code)).json()["refresh_token"]
    await house.refresh(token)
    again = await (house.redeem(code) if what == "code" else house.refresh(token))
    assert again.json()["error"] == "invalid_grant"
    found = of_apps(await house.store.notes(patient="Patient/a"))
    assert found[-1] == ("token-reused", False, "Patient/a", "app", "Patient/a", f"{what} used twice")


async def test_a_proxys_apps_are_in_the_log_of_whom_they_act_for_and_a_workers_in_their_own(house: House) -> None:
    await people.add(house.store, people.Account("jo", "RelatedPerson/r", "Jo", patient="Patient/a"), "correct horse")
    for who, user, patient in (("jo", "RelatedPerson/r", "Patient/a"), ("gp", "Practitioner/g", None)):
        await house.sign_in(who)
        assert (await house.redeem((await house.approve(scope="user/*.rs"))["code"])).status_code == 200
        assert of_apps(await house.store.notes(user=user)) == [("token", True, user, "app", patient, "authorization_code")]


async def test_an_app_may_no_more_than_the_sign_in_that_let_it_in(house: House) -> None:
    """Whoever came from another system has fewer rights than their account has (docs/launch.md): no app of theirs has them either. What restricts them holds all the same."""
    await people.add(house.store, people.Account("gp", "Practitioner/g", "Dr Green", roles=("clinician", "operator", "volunteer"), assurance="AAL3"), "correct horse")
    account = await people.find(house.store, "gp", house.at)
    assert account is not None
    whole = account.caller(issuer=BASE, jti="j", expires=house.at + timedelta(hours=8), at=house.at)
    less = replace(whole, roles=frozenset({"clinician"}), assurance="AAL2")
    for who, roles, level in ((whole, {"clinician", "operator", "volunteer"}, "AAL3"), (less, {"clinician", "volunteer"}, "AAL2")):  # what restricts them stays
        for cookie in await house.sessions.start(who, {}):
            house.http.cookies.set(cookie.partition("=")[0], cookie.partition("=")[2].partition(";")[0])
        tokens = (await house.redeem((await house.approve(scope="openid offline_access user/*.rs"))["code"])).json()
        for given in (tokens, (await house.refresh(tokens["refresh_token"])).json()):
            caller = await house.tokens.verify(given["access_token"], house.at)
            assert (caller.roles, caller.assurance) == (roles, level)


async def test_no_row_no_token_and_none_is_ended(house: House, tmp_path: Path) -> None:
    await house.sign_in()
    code = (await house.approve())["code"]
    held = (await house.redeem((await house.approve())["code"])).json()
    with closing(sqlite3.connect(tmp_path / "gateway.sqlite", timeout=30)) as db:
        db.execute("CREATE TRIGGER refused BEFORE INSERT ON audit BEGIN SELECT RAISE(ABORT, 'no audit today'); END")
        asked = [
            await house.redeem(code), await house.refresh(held["refresh_token"]), await house.refresh("made-up"),
            await house.post("/oauth/revoke", token=held["access_token"], client_id="app"),
            await house.post("/oauth/revoke", token=held["refresh_token"], client_id="app"),
            await house.post("/oauth/introspect", token="made-up", client_id="app"),
        ]  # fmt: skip
        assert all(a.status_code >= 500 for a in asked) and "access_token" not in str([a.text for a in asked])
        db.execute("DROP TRIGGER refused")
    assert await house.works(held["access_token"])
    assert (await house.redeem(code)).status_code == (await house.refresh(held["refresh_token"])).status_code == 200


async def test_guessing_at_secrets_is_slowed_down_for_that_address_and_no_good_client_of_it(house: House) -> None:
    slow = House(house.store, ids=house.ids, limits=Limits(strangers=0.5, strangers_at_once=4))
    async with slow.http as here, slow.visitor("192.0.2.9") as elsewhere:
        tried = [await slow.redeem("guess"), await slow.refresh("guess"), await slow.system("a.b.c"), await slow.post("/oauth/introspect", client_id="guess")]
        assert [a.status_code for a in tried] == [400, 400, 401, 401]
        guess = {"grant_type": "refresh_token", "client_id": "app", "refresh_token": "guess"}
        for path in ("/oauth/token", "/oauth/introspect", "/oauth/revoke"):
            told = await here.post(path, data=guess | {"client_id": "nobody"})
            assert told.status_code == 429 and told.headers["retry-after"] in ("1", "2") and told.headers["cache-control"] == "no-store"
            assert told.json()["error"] == "temporarily_unavailable" and "Wait" in told.json()["error_description"]
        assert (await slow.system(slow.assertion())).status_code == 200, "who proves who they are goes by"
        assert (await elsewhere.post("/oauth/token", data=guess)).status_code == 400
        rows = [n.detail for n in await house.store.notes() if n.what == "token"]
        assert sorted(rows) == ["invalid_client"] + ["invalid_grant"] * 3, "a row for each that was judged, none for what came too fast"
        await asyncio.sleep(2.1)
        assert (await slow.refresh("guess")).status_code == 400


@pytest.mark.parametrize("asks", [{"prompt": "login"}, {"max_age": "0"}, {"max_age": "1"}, {"prompt": "select_account"}, {"prompt": "login", "max_age": "3600"}])
async def test_who_must_sign_in_for_an_app_does_so_once_and_then_goes_on(house: House, asks: dict[str, str]) -> None:
    await house.sign_in()
    house.at += timedelta(seconds=3)
    sent = await house.http.get("/oauth/authorize", params=ASKED | asks)
    assert sent.status_code == 303 and sent.headers["location"].startswith("/sign-in?next=%2Foauth%2Fauthorize")
    back = parse_qs(urlsplit(sent.headers["location"]).query)["next"][0]
    assert (await house.http.get(back)).status_code == 303, "coming back without having signed in is not enough"
    assert dict(parse_qsl(urlsplit(sent.headers["location"]).query, keep_blank_values=True)).keys() == {"next"}
    house.at += timedelta(seconds=40)
    await house.sign_in()
    house.at += timedelta(seconds=5)
    more = dict(parse_qsl(urlsplit(back).query))
    page = await house.http.get(back)
    assert page.status_code == 200, page.text
    said = await house.approve(**more)
    token = (await house.redeem(said["code"])).json()["access_token"]
    assert (await house.tokens.verify(token, house.at)).signed_in == house.at - timedelta(seconds=5)
    house.at += timedelta(hours=1)
    assert (await house.http.get(back)).status_code == 303, "and the way back is no key for another day"
    quiet = await house.http.get("/oauth/authorize", params=ASKED | {"prompt": "none", "max_age": "1"})
    assert parse_qs(urlsplit(quiet.headers["location"]).query)["error"] == ["login_required"]


async def test_a_page_that_was_left_open_does_not_approve_with_an_old_sign_in(house: House) -> None:
    await house.sign_in()
    page = await house.http.get("/oauth/authorize", params=ASKED | {"max_age": "60"})
    fields = {k: unescape(v) for k, v in re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', page.text)}
    house.at += timedelta(seconds=61)
    done = await house.http.post("/oauth/authorize", data=fields | {"decision": "approve"}, headers={"Origin": BASE})
    assert done.status_code == 303 and done.headers["location"].startswith("/sign-in?next=")


async def test_an_app_that_needs_a_fresh_sign_in_says_so(house: House) -> None:
    """What emergency access needs: max_age, and auth_time in the token."""
    await house.sign_in()
    house.at += timedelta(minutes=4)
    assert (await house.http.get("/oauth/authorize", params=ASKED | {"max_age": "300"})).status_code == 200
    house.at += timedelta(minutes=2)
    again = await house.http.get("/oauth/authorize", params=ASKED | {"max_age": "300"})
    assert again.status_code == 303 and again.headers["location"].startswith("/sign-in?next=%2Foauth%2Fauthorize")
    assert (await house.http.get("/oauth/authorize", params=ASKED | {"max_age": "900"})).status_code == 200
    await house.sign_in()
    said = await house.approve(max_age="300")
    token = (await house.redeem(said["code"])).json()["access_token"]
    assert (await house.tokens.verify(token, house.at)).signed_in == house.at
