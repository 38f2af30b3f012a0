"""Coming from somebody's own system, as the app that is launched: what that system, or somebody in between, may say and do. docs/launch.md

A foreign system on the loopback address (`launcher`), asked over real HTTP; `elsewhere` is a server that nobody named.
"""

from __future__ import annotations

import asyncio
import base64
import gzip
import hmac
import json
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st
from joserfc import jwt
from joserfc.jwk import ECKey

from fhir_gateway.auth import launching
from fhir_gateway.auth.launching import AWAY, KNOWN, LASTS, MOST, Launches, Told
from fhir_gateway.domain.problem import Problem
from fhir_gateway.settings import LauncherSettings
from fhir_gateway.settings.signing import read_key
from fhir_gateway.store import sqlite

from .conftest import VERIFY
from .launcher import CLIENT, SECRET, Ehr

CONFIGURATION = "/fhir/.well-known/smart-configuration"


class Clock:
    def __init__(self) -> None:
        self.ahead = timedelta()

    def __call__(self) -> datetime:
        return datetime.now(UTC) + self.ahead


@dataclass
class App:
    """We, as that system knows us, in one browser."""

    launches: Launches
    ehr: Ehr
    clock: Clock

    async def begun(self) -> tuple[dict[str, str], str]:
        """(what the browser comes back with, what its cookie keeps)."""
        where, kept = await self.launches.begin(self.ehr.iss, "amina-is-open")
        return dict(parse_qsl(urlsplit(httpx2.get(where, verify=VERIFY).headers["location"]).query)), kept

    async def came(self) -> Told:
        return await self.launches.finish("surgery", *await self.begun())

    async def refused(self) -> str:
        with pytest.raises(Problem) as no:
            await self.came()
        assert SECRET not in no.value.text
        return no.value.where


@pytest.fixture(scope="module")
def servers() -> Iterator[tuple[Ehr, Ehr]]:
    both = Ehr(), Ehr()
    yield both
    for one in both:
        one.stop()


@pytest.fixture
def elsewhere(servers: tuple[Ehr, Ehr]) -> Ehr:
    servers[1].heard.clear()
    return servers[1]


@pytest.fixture
async def app(servers: tuple[Ehr, Ehr], tmp_path: Path) -> AsyncIterator[App]:
    ehr, clock, ids = servers[0], Clock(), count()
    store = await sqlite.open(tmp_path / "gateway.sqlite")
    surgery = LauncherSettings(name="surgery", iss=ehr.iss, client=CLIENT, organisation="D82001", secret=SECRET)
    other = LauncherSettings(name="council", iss=f"{ehr.base}/council", client=CLIENT, organisation="926")
    launches = Launches({x.iss: x for x in (surgery, other)}, {}, "http://127.0.0.1:1", b"s" * 32, store, clock, lambda: f"id-{next(ids)}")
    ehr.usual()
    ehr.heard.clear()
    ehr.back = launches.back(surgery)
    yield App(launches, ehr, clock)
    await store.close()


async def test_who_is_there_and_whom_they_have_open(app: App) -> None:
    told = await app.came()
    assert (told.launcher.name, told.system, told.value, told.patient["id"], told.signed_in) == ("surgery", app.ehr.base, "dr-patel", "p1", None)


# -- a system that lies


def hidden_in(claims: dict[str, Any], **header: Any) -> str:
    """A token that nobody signed."""
    return ".".join(base64.urlsafe_b64encode(json.dumps(p).encode()).rstrip(b"=").decode() for p in ({"typ": "JWT", **header}, claims))


def by_hmac(ehr: Ehr) -> Callable[[dict[str, Any]], str]:
    """Signed with the public key as if it were a shared secret."""

    def signs(claims: dict[str, Any]) -> str:
        said = hidden_in(claims, alg="HS256", kid="ehr-1")
        mac = hmac.new(json.dumps(ehr.key.as_dict(private=False)).encode(), said.encode(), sha256).digest()
        return f"{said}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}"

    return signs


def by_own_word(claims: dict[str, Any]) -> str:
    key = ECKey.generate_key("P-256")
    return jwt.encode({"alg": "ES256", "jwk": key.as_dict(private=False)}, claims, key, algorithms=["ES256"])


TOKENS: dict[str, Callable[[Ehr], Callable[[dict[str, Any]], str]]] = {
    "none": lambda _: lambda claims: f"{hidden_in(claims, alg='none')}.", "none with something behind": lambda _: lambda claims: f"{hidden_in(claims, alg='none')}.AA",
    "hmac": by_hmac, "a key of its own in the header": lambda _: by_own_word,
    "another key by the same name": lambda _: lambda claims: jwt.encode({"alg": "ES256", "kid": "ehr-1"}, claims, ECKey.generate_key("P-256"), algorithms=["ES256"]),
}  # fmt: skip


@pytest.mark.parametrize("how", TOKENS)
async def test_an_id_token_that_it_did_not_sign_is_nobodys(app: App, how: str) -> None:
    app.ehr.signs = TOKENS[how](app.ehr)
    assert await app.refused() == "launch-user"


@pytest.mark.parametrize(
    "claims",
    [
        {"aud": "another-app"}, {"aud": None}, {"aud": []}, {"aud": [CLIENT, "another-app"]}, {"azp": "another-app"}, {"iss": "https://surgery.example"},
        {"iss": None}, {"exp": 1_000_000_000}, {"exp": None}, {"exp": "soon"}, {"iat": 9_000_000_000}, {"nonce": "of another launch"}, {"nonce": None},
        {"nonce": 7}, {"sub": ""}, {"sub": None}, {"sub": ["dr-patel"]}, {"fhirUser": "Patient/p1"}, {"fhirUser": "https://x.example/RelatedPerson/1"},
        {"fhirUser": ["Practitioner/7"]}, {"auth_time": "yesterday"},
    ],
)  # fmt: skip
async def test_an_id_token_for_another_or_of_another_time_is_nobodys(app: App, claims: dict[str, Any]) -> None:
    app.ehr.claims = claims
    assert await app.refused() == "launch-user"


@pytest.mark.parametrize("claims", [{"aud": [CLIENT]}, {"aud": [CLIENT, "another-app"], "azp": CLIENT}, {"fhirUser": None}])
async def test_what_the_standard_leaves_open_is_taken(app: App, claims: dict[str, Any]) -> None:
    app.ehr.claims = claims
    assert (await app.came()).value == "dr-patel"


async def test_a_fhir_user_of_another_system_says_nothing_of_who_it_is(app: App) -> None:
    """Who it is, is what an operator registered: not the id of somebody here that another system writes."""
    for named in ("https://gateway.example/fhir/Practitioner/operator", "Practitioner/operator", "PractitionerRole/9"):
        app.ehr.claims = {"fhirUser": named}
        told = await app.came()
        assert (told.system, told.value) == (app.ehr.base, "dr-patel")


async def test_a_sign_in_of_the_future_is_of_now(app: App) -> None:
    app.ehr.claims = {"auth_time": int(time.time()) + 10_000}
    told = await app.came()
    assert told.signed_in is not None and told.signed_in <= app.clock()
    app.ehr.claims = {"auth_time": 1_000_000_000}
    assert (await app.came()).signed_in == datetime.fromtimestamp(1_000_000_000, UTC)


@pytest.mark.parametrize(
    ("token", "why"),
    [
        ({"id_token": None}, "launch-user"), ({"id_token": "a.b.c"}, "launch-user"), ({"id_token": {"sub": "dr-patel"}}, "launch-user"),
        ({"patient": None}, "launch-nobody"), ({"patient": "../Practitioner/7"}, "launch-nobody"), ({"patient": ".."}, "launch-nobody"), ({"patient": "p1?x"}, "launch-nobody"),
        ({"patient": ["p1"]}, "launch-nobody"), ({"access_token": "a b\r\nc"}, "launch-away"), ({"access_token": None}, "launch-away"), ({"token_type": "mac"}, "launch-away"),
    ],
)  # fmt: skip
async def test_a_token_answer_that_does_not_say_all(app: App, token: dict[str, Any], why: str) -> None:
    app.ehr.token = token
    assert await app.refused() == why
    assert "/fhir/Patient/../Practitioner/7" not in app.ehr.heard


@pytest.mark.parametrize("patient", [[], {}, {"resourceType": "Practitioner", "id": "p1"}, {"resourceType": "Patient", "id": "p2"}])
async def test_a_patient_that_is_another_or_none(app: App, patient: Any) -> None:
    app.ehr.patient = patient
    assert await app.refused() == "launch-away"


@pytest.mark.parametrize("name", ["authorization_endpoint", "token_endpoint", "jwks_uri", "issuer"])
async def test_nothing_is_sent_to_a_server_that_nobody_named(app: App, elsewhere: Ehr, name: str) -> None:
    port = urlsplit(app.ehr.base).port
    lies = [
        f"{elsewhere.base}/token", f"http://localhost:{port}@{elsewhere.base[7:]}/token", f"http://localhost:{port}\\@{elsewhere.base[7:]}/token", f"//{elsewhere.base[7:]}/token",
        f"{app.ehr.base}.evil.example/token", f"http://127.0.0.1:{port}/token", f"https://localhost:{port}/token", "http://169.254.169.254/latest", "javascript:alert(1)", "",
        f"{app.ehr.base}/token\r\nX: y", f"{app.ehr.base}/{'x' * 3000}", None, 7, [f"{app.ehr.base}/token"],
    ]  # fmt: skip
    for where in lies if name == "authorization_endpoint" else lies[:3]:
        app.launches._said.clear()
        app.ehr.about = {name: where}
        assert await app.refused() == "launch-away", where
    assert elsewhere.heard == []


async def test_where_it_signs_people_in_may_be_another_server_when_the_settings_say_so(app: App, elsewhere: Ehr) -> None:
    apart = LauncherSettings(name="surgery", iss=app.ehr.iss, client=CLIENT, organisation="D82001", secret=SECRET, sign_in=elsewhere.base.upper().replace("HTTP", "http"))
    launches = replace(app.launches, launchers={app.ehr.iss: apart})
    app.ehr.about = {"authorization_endpoint": f"{elsewhere.base}/authorize"}
    where, _ = await launches.begin(app.ehr.iss, "l")
    assert where.startswith(f"{elsewhere.base}/authorize?")


PIECES = st.lists(st.sampled_from(["http", "https", ":", "//", "/", "\\", "@", "?", "localhost", "ehr.example", "evil.example", ":443", ":80", ":8", ".", "%2f", "[::1]", "u:p", " ", "\t", "\n", "é", "\u3002"]), max_size=9).map("".join)  # fmt: skip


@given(PIECES | st.sampled_from(["https://ehr.example", "https://EHR.example:443"]).flatmap(lambda here: PIECES.map(lambda more: here + more)))
def test_an_address_that_is_believed_leads_nowhere_else_for_the_client_either(where: str) -> None:
    named = LauncherSettings(name="e", iss="https://ehr.example/fhir", client="us", organisation="D82001")
    try:
        launching._endpoint(named, {"token_endpoint": where}, "token_endpoint")
    except Problem:
        return
    asked = httpx2.URL(where)
    assert (asked.scheme, asked.host, asked.port, asked.userinfo) == ("https", "ehr.example", None, b"")


# -- a system that hangs, floods, or sends away


def hangs(desk: Any) -> None:
    time.sleep(1.2)


def drips(desk: Any) -> None:
    desk.send_response(200)
    desk.end_headers()
    try:
        for _ in range(30):
            desk.wfile.write(b" ")
            time.sleep(0.05)
    except ConnectionError:
        pass


def floods(desk: Any) -> None:
    desk._send(200, b'{"x": "' + b"x" * 2_000_000 + b'"}', "application/json")


def swells(desk: Any) -> None:
    raw = gzip.compress(b'{"x": "' + b"x" * 20_000_000 + b'"}', 1)
    desk.send_response(200)
    desk.send_header("Content-Encoding", "gzip")
    desk.send_header("Content-Length", str(len(raw)))
    desk.end_headers()
    desk.wfile.write(raw)


ODD: dict[str, Callable[[Any], None]] = {
    "hangs": hangs, "drips": drips, "floods": floods, "swells": swells, "html": lambda d: d.page("Sign in", "first"), "a list": lambda d: d.said(200, []),
    "deep": lambda d: d._send(200, b"[" * 100_000, "application/json"), "gone": lambda d: d.said(404, {}), "nothing": lambda d: d._send(200, b"", "application/json"),
    "a number without end": lambda d: d._send(200, b'{"issuer": ' + b"9" * 10_000 + b"}", "application/json"),
}  # fmt: skip


@pytest.mark.parametrize("how", ODD)
async def test_whatever_it_does_it_is_away_and_soon(app: App, how: str) -> None:
    if how in ("hangs", "drips"):
        app.launches.seconds = 0.4
    for path in (CONFIGURATION, "/token"):
        app.launches._said.clear()
        app.ehr.odd = {path: ODD[how]}
        began = time.monotonic()
        assert await app.refused() == "launch-away", path
        assert time.monotonic() - began < 20


async def test_where_it_sends_us_we_do_not_go(app: App, elsewhere: Ehr) -> None:
    for path in (CONFIGURATION, "/token", "/jwks", "/fhir/Patient/p1"):
        app.launches._said.clear()
        app.ehr.odd = {path: lambda d: d.off(f"{elsewhere.base}/fhir/.well-known/smart-configuration")}
        assert await app.refused() == "launch-away", path
    assert elsewhere.heard == []


async def test_one_asks_for_all_and_one_that_is_away_is_left_alone(app: App) -> None:
    """Whoever calls `/launch` again and again makes us ask that system once a minute, not each time."""
    await asyncio.gather(*(app.launches.begin(app.ehr.iss, "l") for _ in range(MOST)))
    assert app.ehr.heard.count(CONFIGURATION) == 1
    app.clock.ahead += KNOWN
    app.ehr.down = {CONFIGURATION}
    for _ in range(3):
        with pytest.raises(Problem):
            await app.launches.begin(app.ehr.iss, "l")
    assert app.ehr.heard.count(CONFIGURATION) == 2
    app.clock.ahead += AWAY
    app.ehr.down = set()
    await app.came()


async def test_one_that_is_slow_takes_no_more_than_its_places(app: App) -> None:
    app.ehr.odd = {CONFIGURATION: hangs}
    app.launches.seconds = 0.4
    began = time.monotonic()
    said = await asyncio.gather(*(app.launches.begin(app.ehr.iss, "l") for _ in range(100)), return_exceptions=True)
    assert all(isinstance(no, Problem) and no.where == "launch-away" for no in said) and time.monotonic() - began < 20
    assert sum("too many" in str(no) for no in said) == 100 - MOST and app.ehr.heard.count(CONFIGURATION) == 1
    assert not any(app.launches._in_hand.values()), "every place is free again"


# -- somebody in between


async def lost(launches: Launches, name: str, query: dict[str, str], kept: str) -> None:
    with pytest.raises(Problem) as no:
        await launches.finish(name, query, kept)
    assert no.value.where == "launch-lost"


async def test_an_answer_counts_once_even_where_it_forgets_that_it_gave_a_code(app: App) -> None:
    app.ehr.lax = True
    query, kept = await app.begun()
    said = await asyncio.gather(*(app.launches.finish("surgery", query, kept) for _ in range(3)), return_exceptions=True)
    assert sum(isinstance(one, Told) for one in said) == 1
    await lost(app.launches, "surgery", query, kept)
    await lost(replace(app.launches, _said={}), "surgery", query, kept)  # another process


async def test_only_the_browser_that_began_can_end_it_and_not_for_long(app: App) -> None:
    query, kept = await app.begun()
    other, theirs = await app.begun()
    for q, cookie in ((query, ""), (query, theirs), (other, kept), ({**query, "state": ""}, kept), ({**query, "state": "é\ud800"}, kept), (query, kept[:-2]), (query, "é"), (query, "x" * 5000)):
        await lost(app.launches, "surgery", q, cookie)
    await lost(replace(app.launches, secret=b"o" * 32), "surgery", query, kept)
    app.clock.ahead += LASTS + timedelta(seconds=1)
    await lost(app.launches, "surgery", query, kept)
    assert "/token" not in app.ehr.heard, "nothing was asked for it"


async def test_an_answer_of_one_system_is_not_taken_for_anothers(app: App) -> None:
    """RFC 9700 4.4 (mix-up): each comes back to an address of its own; RFC 9207: one that names itself must be the one that was asked."""
    query, kept = await app.begun()
    await lost(app.launches, "council", query, kept)
    query, kept = await app.begun()
    await lost(app.launches, "surgery", {**query, "iss": "https://other.example"}, kept)
    query, kept = await app.begun()
    assert await app.launches.finish("surgery", {**query, "iss": app.ehr.base}, kept)
    app.launches._said.clear()
    app.ehr.about = {"authorization_response_iss_parameter_supported": True}
    assert await app.refused() == "launch-lost", "it says that it names itself, and did not"


async def test_a_code_of_another_launch_brings_nobody_in(app: App) -> None:
    """Whoever has somebody else's code and puts it into a launch of their own: the proof (PKCE) stops them, and the nonce where it is not looked at."""
    theirs, _ = await app.begun()
    for lax, why in ((False, "launch-refused"), (True, "launch-user")):
        theirs, _ = await app.begun()
        mine, kept = await app.begun()
        app.ehr.lax = lax
        with pytest.raises(Problem) as no:
            await app.launches.finish("surgery", {**mine, "code": theirs["code"]}, kept)
        assert no.value.where == why


@pytest.mark.parametrize("methods", [["plain"], [], "S256", 7, {"S256": True}])
async def test_a_system_that_takes_no_proof_is_not_used(app: App, methods: Any) -> None:
    app.ehr.about = {"code_challenge_methods_supported": methods}
    with pytest.raises(Problem) as no:
        await app.launches.begin(app.ehr.iss, "l")
    assert no.value.where == "launch-away" and "PKCE" in no.value.text


async def test_what_it_says_as_an_error_is_in_the_trail_as_letters_only(app: App) -> None:
    query, kept = await app.begun()
    with pytest.raises(Problem) as no:
        await app.launches.finish("surgery", {"state": query["state"], "error": "<b>\r\né" + "x" * 100}, kept)
    assert no.value.where == "launch-refused" and no.value.text.startswith("surgery: <b>???xxx") and len(no.value.text) < 80


async def test_one_persons_coming_leaves_nothing_for_the_next(app: App) -> None:
    """Neither a cookie of theirs nor a token: what we ask of that system for one is asked anew for another."""
    await app.came()
    await app.came()
    assert app.ehr.heard.count("/fhir/Patient/p1") == 2 and set(app.ehr.cookies) == {""}


# -- what we say of ourselves


async def test_we_prove_ourselves_as_was_agreed(app: App) -> None:
    """By a key (private_key_jwt), or as a public client by the proof alone; a secret goes nowhere else."""
    key, heard = ECKey.generate_key("P-384"), list[tuple[str | None, dict[str, str]]]()

    def takes(desk: Any) -> None:
        heard.append((desk.headers.get("Authorization"), desk.form))
        desk.said(400, {"error": "invalid_client", "error_description": "not you"})

    app.ehr.odd = {"/token": takes}
    plain = LauncherSettings(name="surgery", iss=app.ehr.iss, client=CLIENT, organisation="D82001")
    for keys in ({}, {plain.iss: read_key(key.as_pem(private=True), "our-key")}):
        app.launches = replace(app.launches, launchers={plain.iss: plain}, keys=keys)
        assert await app.refused() == "launch-refused"
    (nothing, public), (none, proven) = heard
    assert nothing is none is None and public["client_id"] == CLIENT and len(public["code_verifier"]) >= 43
    assert proven["client_assertion_type"] == "urn:ietf:params:oauth:client-assertion-type:jwt-bearer" and "client_id" not in proven
    said = jwt.decode(proven["client_assertion"], key, algorithms=["ES384"])
    assert said.header["kid"] == "our-key" and said.claims["iss"] == said.claims["sub"] == CLIENT and said.claims["aud"] == f"{app.ehr.base}/token"
    assert 0 < said.claims["exp"] - said.claims["iat"] <= 300 and said.claims["jti"]


async def test_an_older_server_is_asked_in_its_own_words_and_the_cookie_is_ours_alone(app: App) -> None:
    app.ehr.about = {"capabilities": ["permission-v1"], "authorization_endpoint": f"{app.ehr.base}/authorize?x=1"}
    where, kept = await app.launches.begin(app.ehr.iss, "l")
    assert where.startswith(f"{app.ehr.base}/authorize?x=1&response_type=code") and "patient%2FPatient.read" in where
    safe = replace(app.launches, base="https://plan.example")
    assert safe.carried(kept).startswith("__Host-launch-") and safe.carried(kept).endswith("; Secure") and f"={kept};" in safe.carried(kept)
    gone = safe.carried(kept, ended=True)
    assert "Max-Age=0" in gone and kept not in gone and gone.split("=")[0] == safe.carried(kept).split("=")[0]
