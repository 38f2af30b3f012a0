"""SMART Backend Services outward: a signed statement for a short token, asked for no more often than needed, and never of the wrong server."""

from __future__ import annotations

import asyncio
import json
import os
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import httpx2
import pytest
from joserfc.jwk import ECKey, OctKey, RSAKey

from fhir_gateway.auth.assertions import check_assertion
from fhir_gateway.auth.jose import public_keys
from fhir_gateway.remote.client import Down, Locked, RemoteServer
from fhir_gateway.remote.sign_in import SignIn
from fhir_gateway.settings import Refused, load, readable_by_others
from fhir_gateway.settings.signing import BadKey, read_key

from .conftest import Gateway, gateway
from .faults.scripted import scripted
from .test_remotes import ODS, Recorder, deny, toml

NOON = datetime(2026, 11, 25, 12, tzinfo=UTC)
EC = ECKey.generate_key("P-384", private=True)
KEY = read_key(EC.as_pem(private=True))


class Guarded(Recorder):
    """A FHIR server that takes its own tokens alone, and gives them where it says."""

    def __init__(self) -> None:
        super().__init__()
        self.statements: list[str] = []
        self.scopes: list[str] = []
        self.given: list[str] = []
        self.good: set[str] = set()
        self.endpoint = f"{self.root}/token"
        self.answers: tuple[int, Any] | None = None  # in the place of a token
        self.life: Any = 300
        self.asked = 0  # for records

    @property
    def root(self) -> str:
        return self.url.removesuffix("/fhir")

    def answer(self, method: str, path: str, sent: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        if path.endswith(".well-known/smart-configuration"):
            return 200, {"token_endpoint": self.endpoint}
        self.asked += 1
        if self.headers.get("authorization", "").removeprefix("Bearer ") not in self.good:
            return 401, {"resourceType": "OperationOutcome", "issue": [{"severity": "error", "code": "login"}]}
        if path == "Goal/g":
            return 200, {"resourceType": "Goal", "id": "g", "meta": {"versionId": "1"}}
        return super().answer(method, path, sent)

    def token(self, form: dict[str, list[str]]) -> tuple[int, Any]:
        self.statements.append(form["client_assertion"][0])
        self.scopes.append(form["scope"][0])
        if self.answers is not None:
            return self.answers
        self.given.append(f"token-{len(self.given) + 1}")
        self.good = {self.given[-1]}
        return 200, {"access_token": self.given[-1], "token_type": "Bearer", "expires_in": self.life}


class Bed:
    def __init__(self, there: Guarded, **more: Any) -> None:
        self.there, self.now, numbers = there, NOON, count(1)
        self.sign_in = SignIn(there.url, "gw-a", KEY, lambda: self.now, lambda: f"jti-{next(numbers)}", **more)
        self.server = RemoteServer(there.url, lambda: self.now, sign_in=self.sign_in)

    def do(self, *steps: Callable[[RemoteServer], Any]) -> list[Any]:
        async def all_of_them() -> list[Any]:
            try:
                return [await step(self.server) for step in steps]
            finally:
                await self.server.close()

        return asyncio.run(all_of_them())


def read(server: RemoteServer) -> Any:
    return server.read("Goal", "g")


@pytest.fixture
def there() -> Iterator[Guarded]:
    g = Guarded()
    plain = g.server.RequestHandlerClass.do_any  # type: ignore[attr-defined]

    def do_any(self: Any) -> None:
        if self.path != "/token":
            return plain(self)
        status, said = g.token(parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode()))
        raw = said if isinstance(said, bytes) else json.dumps(said).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(raw)))
        if status == 503:
            self.send_header("Retry-After", "120")
        if status == 302:
            self.send_header("Location", f"{g.root}/elsewhere")
        self.end_headers()
        self.wfile.write(raw)
        return None

    g.server.RequestHandlerClass.do_POST = do_any  # type: ignore[attr-defined]
    threading.Thread(target=g.server.serve_forever, args=(0.05,), daemon=True).start()
    yield g
    g.server.shutdown()
    g.server.server_close()


def test_a_token_is_asked_for_once_by_a_statement_that_a_token_endpoint_believes(there: Guarded) -> None:
    bed = Bed(there)
    bed.do(read, read, lambda s: asyncio.gather(*(read(s) for _ in range(8))))
    assert len(there.statements) == 1 and there.asked == 10 and there.scopes == ["system/*.cruds"]
    jti, _ = check_assertion(there.statements[0], "gw-a", public_keys(KEY.jwks()), [there.endpoint], NOON)
    assert jti == "jti-1"


def test_a_token_is_asked_for_again_half_a_minute_before_it_ends_with_a_fresh_statement(there: Guarded) -> None:
    bed = Bed(there, scope="system/Goal.rs")

    def later(seconds: int) -> Callable[[RemoteServer], Any]:
        async def step(server: RemoteServer) -> None:
            bed.now += timedelta(seconds=seconds)
            await read(server)

        return step

    bed.do(read, later(269), later(1), later(100))
    assert there.given == ["token-1", "token-2"] and there.scopes == ["system/Goal.rs"] * 2
    assert len(set(there.statements)) == 2


@pytest.mark.parametrize("life", [None, "soon", -1, True, 1e300])
def test_a_life_that_is_none_is_five_minutes(there: Guarded, life: Any) -> None:
    there.life = life
    bed = Bed(there)
    bed.do(read)
    assert bed.sign_in._until == NOON + timedelta(seconds=270)


def test_a_token_that_they_end_early_is_renewed_once_and_the_request_goes_again(there: Guarded) -> None:
    async def revoked(server: RemoteServer) -> None:
        there.good = set()
        assert (await server.create("Goal", {"resourceType": "Goal", "meta": {}}, "_tag=x")).status == 201

    Bed(there).do(read, revoked)
    assert len(there.given) == 2 and len(there.held) == 1, "one copy: what was refused was not applied"


def test_who_is_refused_with_a_new_token_too_asks_no_more(there: Guarded) -> None:
    async def shut(server: RemoteServer) -> None:
        there.good, there.token = set(), lambda form: (200, {"access_token": "other", "token_type": "bearer", "expires_in": 300})  # type: ignore[method-assign]
        before = there.asked
        with pytest.raises(Locked, match="401"):
            await read(server)
        assert there.asked - before == 2, "no hammering (E7)"

    Bed(there).do(read, shut)


@pytest.mark.parametrize(
    ("answers", "error", "words"),
    [
        ((400, {"error": "invalid_client", "error_description": "no such client"}), Locked, "invalid_client$"),
        ((401, b"<html>no</html>"), Locked, "401"),
        ((200, {"token_type": "bearer"}), Locked, "without a bearer token"),
        ((200, {"access_token": "a b", "token_type": "bearer"}), Locked, "without a bearer token"),
        ((200, {"access_token": "x\r\nHost: y", "token_type": "bearer"}), Locked, "without a bearer token"),
        ((200, {"access_token": "x", "token_type": "mac"}), Locked, "without a bearer token"),
        ((200, b"[]"), Locked, "without a bearer token"),
        ((200, b"[" * 60_000), Locked, "without a bearer token"),
        ((200, b"x" * 100_000), Down, "larger than 64 KiB"),
        ((302, {}), Down, "redirect"),
        ((503, {}), Down, "503"),
    ],
)
def test_where_no_token_is_to_be_had_nothing_is_asked_for(there: Guarded, answers: Any, error: type[Exception], words: str) -> None:
    there.answers = answers
    with pytest.raises(error, match=words) as told:
        Bed(there).do(read)
    assert there.asked == 0 and KEY.kid not in str(told.value)
    if isinstance(told.value, Down):
        assert not told.value.arrived and told.value.wait == (120.0 if "503" in words else None)


async def test_where_we_sign_in_an_answer_that_drips_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each byte comes in time, and the answer never."""
    monkeypatch.setattr("fhir_gateway.remote.sign_in.SECONDS", 0.2)
    with scripted() as there:
        there.fault("", "", body=b" " * 1000, drip=0.05)
        bed = Bed(there, token_url=f"{there.url}/token")  # type: ignore[arg-type]
        with pytest.raises(Down, match="where we sign in cannot be reached") as away:
            await asyncio.wait_for(read(bed.server), 5)
        assert not away.value.arrived
        await bed.server.close()


def test_a_statement_goes_to_the_servers_own_origin_or_where_our_settings_say(there: Guarded) -> None:
    other = Guarded()
    there.endpoint = f"{other.root}/token"
    with pytest.raises(Locked, match="token_url"):
        Bed(there).do(read)
    there.endpoint = "not an address"
    with pytest.raises(Locked, match="token_url"):
        Bed(there).do(read)
    Bed(there, token_url=f"{there.root}/token").do(read)
    assert len(there.statements) == 1 and not other.statements
    check_assertion(there.statements[0], "gw-a", public_keys(KEY.jwks()), [f"{there.root}/token"], NOON)
    other.server.server_close()


# -- keys -----------------------------------------------------------------------------------------------------------------


def jwk(key: Any, **more: Any) -> bytes:
    return json.dumps({**key.as_dict(private=True), **more}).encode()


with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    WEAK = RSAKey.generate_key(1024).as_pem(private=True)
RSA = RSAKey.generate_key(2048)
TWO = {"keys": [EC.as_dict(private=True) | {"kid": "a"}, RSA.as_dict(private=True) | {"kid": "b"}]}


@pytest.mark.parametrize(
    ("raw", "kid", "algorithm", "good"),
    [
        (EC.as_pem(private=True), "", "", (EC.thumbprint(), "ES384")),
        (RSA.as_pem(private=True), "ours", "RS384", ("ours", "RS384")),
        (jwk(EC, kid="k1"), "", "", ("k1", "ES384")),
        (jwk(EC, kid="k1", alg="ES384", key_ops=["sign"]), "k2", "", ("k2", "ES384")),
        (json.dumps(TWO).encode(), "b", "", ("b", "RS384")),
    ],
)
def test_keys_of_every_usual_shape_are_read(raw: bytes, kid: str, algorithm: str, good: tuple[str, str]) -> None:
    key = read_key(raw, kid, algorithm)
    assert (key.kid, key.algorithm) == good
    secret = str(key.key.as_dict(private=True)["d"])
    assert secret not in repr(key) and secret not in json.dumps(key.jwks())
    assert [k.kid for k in public_keys(key.jwks())] == [key.kid]


@pytest.mark.parametrize(
    ("raw", "kid", "algorithm", "why"),
    [
        (EC.as_pem(private=False), "", "", "public half"),
        (json.dumps(EC.as_dict(private=False)).encode(), "", "", "public half"),
        (ECKey.generate_key("P-256", private=True).as_pem(private=True), "", "", "P-384"),
        (WEAK, "", "", "2048"),
        (EC.as_pem(private=True), "", "RS384", "not by RS384"),
        (jwk(EC, alg="HS256"), "", "", "HS256"),
        (jwk(OctKey.generate_key(256)), "", "", "cannot be read"),
        (json.dumps(TWO).encode(), "", "", "several"),
        (json.dumps(TWO).encode(), "c", "", "none by that"),
        (b'{"keys": {}}', "", "", "none by that"),
        (b'{"keys": 7}', "", "", "no JSON of a JWK"),
        (b"{", "", "", "no JSON of a JWK"),
        (b"", "", "", "no key"),
        (b"\xff\xfe-----BEGIN", "", "", "no key"),
    ],
    ids=["public-pem", "public-jwk", "small-curve", "small-rsa", "wrong-algorithm", "shared-secret-algorithm", "shared-secret", "one-of-several",
         "none-of-several", "keys-an-object", "keys-a-number", "half-json", "empty", "bytes"],
)
@pytest.mark.filterwarnings("ignore:Key size")
def test_what_cannot_sign_is_refused_in_words(raw: bytes, kid: str, algorithm: str, why: str) -> None:
    with pytest.raises(BadKey, match=why):
        read_key(raw, kid, algorithm)


SMART = {"url": "https://hub.example/fhir", "organisation": "D82001"}


@pytest.mark.parametrize(
    ("auth", "said"),
    [
        ({}, "`client` and `key`"),
        ({"client": "gw-a"}, "`client` and `key`"),
        ({"client": "gw-a", "key": "own", "password": "x7Lq-92kfhs-0bb"}, "`client` and `key`"),
        ({"client": "gw-a", "key": "/no/such/key"}, "not a file"),
        ({"client": "gw-a", "key": "own", "token_url": "http://hub.example/token"}, "token_url"),
        ({"client": "gw-a", "key": "own", "scope": "user/*.rs"}, "scope"),
        ({"client": "gw-a", "key": "own", "algorithm": "RS384"}, "algorithm"),
        ({"client": "gw-a", "key": "own", "algorithm": "none"}, "algorithm"),
        ({"client": "gw-a", "key": "PUBLIC"}, "public half"),
        ({"client": "gw-a", "key": "OPEN"}, "chmod"),
    ],
)
def test_what_is_missing_to_sign_in_is_said_at_the_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, auth: dict[str, str], said: str) -> None:
    (tmp_path / "PUBLIC").write_bytes(EC.as_pem(private=False))
    (tmp_path / "OPEN").write_bytes(EC.as_pem(private=True))
    (tmp_path / "OPEN").chmod(0o666)
    auth = {k: str(tmp_path / v) if v.isupper() and k == "key" else v for k, v in auth.items()}
    monkeypatch.setenv("GATEWAY_CONFIG", str(toml(tmp_path, {**SMART, "auth": {"kind": "smart", **auth}})))
    with pytest.raises(Refused) as refused:
        load()
    assert said in str(refused.value) and str(refused.value).count("\n") == 0 and "x7Lq" not in str(refused.value)


@pytest.mark.parametrize(("mode", "warned"), [(0o600, False), (0o640, False), (0o444, True)])
def test_a_key_that_everybody_may_read_is_warned_of_and_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: int, warned: bool) -> None:
    """As containers are given their secrets."""
    key = tmp_path / "key.pem"
    key.write_bytes(EC.as_pem(private=True))
    key.chmod(mode)
    config = toml(tmp_path, {**SMART, "auth": {"kind": "smart", "client": "gw-a", "key": str(key)}})
    config.chmod(0o600)
    monkeypatch.setenv("GATEWAY_CONFIG", str(config))
    assert readable_by_others(os.environ, load()) == ([str(key)] if warned else [])


@pytest.mark.slow
def test_our_own_key_is_made_once_and_only_its_public_half_is_said(tmp_path: Path) -> None:
    g = Gateway(tmp_path / "data", 0, {"GATEWAY_CONFIG": str(toml(tmp_path, {**SMART, "name": "hub", "auth": {"kind": "smart", "client": "gw-a", "key": "own"}}))})

    def said(*more: str) -> Any:
        done = g.command("sync", "key", "hub", *more)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    first = said("--jwks")
    assert said("--jwks") == first and set(first["keys"][0]) == {"kty", "crv", "x", "y", "kid", "alg", "use"}
    assert said("--json")["kid"] == first["keys"][0]["kid"]
    assert said("--new", "--jwks") != first
    done = g.command("sync", "key", "nobody")
    assert done.returncode == 2 and "hub" in done.stderr


# -- a second gateway of ours ------------------------------------------------------------------------------------------------------


def copies(g: Gateway, name: str) -> list[str]:
    """The codes by which goals there are copies of those of the gateway of this name."""
    every = [e["resource"] for e in g.get("patient", f"Goal?patient={g.patient}&_count=100").json().get("entry", [])]
    return [t["code"] for r in every for t in r.get("meta", {}).get("tag", []) if t.get("code", "").startswith(f"{name}.")]


@pytest.mark.slow
def test_a_second_gateway_lets_us_in_and_gets_what_consent_lets_go(tmp_path: Path) -> None:
    """Its real token endpoint; our key is made here, and registered there by its public half. Both have the demo's plan: that is joined, not copied."""
    with gateway(tmp_path / "there", "--demo") as there:
        remote = {"name": "there", "organisation": "D82001", "url": f"{there.base}/fhir", "auth": {"kind": "smart", "client": "gw-a", "key": "own"}}
        (tmp_path / "here").mkdir()
        with gateway(tmp_path / "here", "--demo", GATEWAY_CONFIG=str(toml(tmp_path, remote))) as here:
            goal = {"resourceType": "Goal", "lifecycleStatus": "active", "description": {"text": "Swim"}, "subject": {"reference": f"Patient/{here.patient}"}}
            made = here.call("patient", "POST", "Goal", body=goal).json()["id"]
            done = here.command("sync", "run", "--once")
            assert done.returncode == 1 and "invalid_client" in done.stderr, "nobody is known there yet"
            (tmp_path / "jwks").write_text(here.command("sync", "key", "there", "--jwks").stdout)
            add = ["clients", "add", "gw-a", "--scopes", "system/*.cruds", "--keys", str(tmp_path / "jwks"), "--organisation", "D82001", "--contributor"]
            assert there.command(*add).returncode == 0
            end = time.monotonic() + 30
            while (done := here.command("sync", "run", "--once", "--json")).returncode and time.monotonic() < end:
                time.sleep(0.5)  # what nobody let in is put off for a moment, and is not due yet
            assert done.returncode == 0, done.stdout + done.stderr + here.log.read_text()[-2000:]
            name = httpx2.get(f"{here.base}/fhir/metadata").json()["implementation"]["extension"][0]["valueString"]
            assert copies(there, name) == [f"{name}.{made}"], "our copy is there, by our name"
            surgery = {"identifier": {"system": ODS, "value": "D82001"}}
            assert here.call("patient", "POST", "Consent", body=deny(here, surgery, "Goal")).status_code == 201
            done = here.command("sync", "run", "--once", "--json")
            assert done.returncode == 0 and not copies(there, name), "taken back there, by DELETE with If-Match" + done.stdout + done.stderr
            assert there.command("clients", "remove", "gw-a").returncode == 0
            done = here.command("sync", "run", "--once")
            assert done.returncode == 1 and "invalid_client" in done.stderr
            for secret in ("PRIVATE KEY", '"d":'):
                assert secret not in here.log.read_text() and secret not in there.log.read_text()


