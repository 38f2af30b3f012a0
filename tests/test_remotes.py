"""Partners from a real TOML file: who reads from them, how we sign in there, and what is refused at the start."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from base64 import b64encode
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, TypeVar

import pytest

from fhir_gateway.remote.client import Down, Refusal, RemoteServer
from fhir_gateway.settings import Refused, RemoteSettings, load

from .conftest import ROOT, Gateway, gateway

ODS = "https://fhir.nhs.uk/Id/ods-organization-code"


class Recorder:
    """A FHIR server of little mind: keeps what it is sent, and remembers what it was asked and by whom."""

    def __init__(self) -> None:
        self.held: dict[str, dict[str, Any]] = {}
        self.keys: set[str] = set()
        self.numbers = 0
        self.written: list[str] = []  # every body it was ever sent
        self.arrived: list[tuple[float, str]] = []  # and when it was
        self.headers: dict[str, str] = {}  # the headers of the request in hand
        outer = self

        class Answers(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True
            wbufsize = -1

            def do_any(self) -> None:
                outer.keys.add(self.headers.get("Authorization", ""))
                size = int(self.headers.get("Content-Length") or 0)
                raw, form = self.rfile.read(size), self.path.endswith("/_search")
                if len(raw) < size:  # whoever asked was killed before all of it was sent: no server takes half a request
                    self.close_connection = True
                    return
                sent = json.loads(raw) if raw and not form else {}
                outer.headers = {k.lower(): v for k, v in self.headers.items()}
                status, answer = (400, {"resourceType": "OperationOutcome"}) if form else outer.answer(self.command, self.path.removeprefix("/fhir/"), sent)
                if status == 0:  # it did what it was told, and nobody hears of it
                    self.close_connection = True
                    return
                raw = json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/fhir+json")
                self.send_header("Content-Length", str(len(raw)))
                for name, value in outer.more_headers().items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(raw)

            do_GET = do_POST = do_PUT = do_DELETE = do_any

            def log_message(self, *args: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
        self.url = f"http://127.0.0.1:{self.server.server_port}/fhir"

    def answer(self, method: str, path: str, sent: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        if method in ("POST", "PUT"):
            self.written.append(json.dumps(sent))
            self.arrived.append((time.monotonic(), self.written[-1]))
        if method == "POST":
            self.numbers += 1  # never one that was given before
            name = f"{sent['resourceType']}/{self.numbers}"
            self.held[name] = {**sent, "id": name.split("/")[1], "meta": {**sent["meta"], "versionId": "1"}}
            return 201, self.held[name]
        if method == "PUT":
            self.held[path] = sent
            return 200, sent
        if method == "DELETE":
            self.held.pop(path, None)
            return 200, {"resourceType": "OperationOutcome", "issue": [{"severity": "information", "code": "informational"}]}
        if path == "metadata":
            return 200, {"resourceType": "CapabilityStatement", "rest": [{"mode": "server"}]}
        if path in self.held:
            return 200, self.held[path]
        return 200, {"resourceType": "Bundle", "type": "searchset", "total": 0}

    def more_headers(self) -> dict[str, str]:
        return {}

    def types(self) -> set[str]:
        return {name.split("/")[0] for name in self.held}


@contextmanager
def recorder() -> Iterator[Recorder]:
    r = Recorder()
    threading.Thread(target=r.server.serve_forever, daemon=True).start()
    try:
        yield r
    finally:
        r.server.shutdown()


def toml(folder: Path, *remotes: dict[str, Any]) -> Path:
    """A settings file as an operator writes it."""
    lines = ['log_level = "info"', "worker = false"]
    for r in remotes:
        lines.append("[[remote]]")
        for key, value in r.items():
            shown = "{ " + ", ".join(f"{k} = {json.dumps(v)}" for k, v in value.items()) + " }" if isinstance(value, dict) else json.dumps(value)
            lines.append(f"{key} = {shown}")
    file = folder / "gateway.toml"
    file.write_text("\n".join(lines) + "\n")
    return file


HUB = {"name": "hub", "organisation": "D82001", "auth": {"kind": "bearer", "token": "x7Lq-92kfhs-0aa"}}
SHIRE = {"name": "shire", "organisation": "D82001", "auth": {"kind": "basic", "user": "gateway", "password": "x7Lq-92kfhs-0bb"}}


@contextmanager
def partnered(folder: Path, *remotes: dict[str, Any]) -> Iterator[Gateway]:
    with gateway(folder, "--demo", GATEWAY_CONFIG=str(toml(folder, *remotes))) as g:
        yield g


def would(g: Gateway) -> dict[str, str]:
    """remote -> whether its goals would be sent or withheld, by the dry run."""
    lines = g.lines("sync", "run", "--dry-run", "--json")
    return {i["remote"]: i["would"] for i in lines if i["ref"].startswith("Goal/")}


def deny(g: Gateway, who: dict[str, Any], *types: str) -> dict[str, Any]:
    return {
        "resourceType": "Consent", "status": "active",
        "scope": {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/consentscope", "code": "patient-privacy"}]},
        "category": [{"coding": [{"system": "http://loinc.org", "code": "59284-0"}]}],
        "patient": {"reference": f"Patient/{g.patient}"}, "dateTime": "2026-11-20",
        "policyRule": {"coding": [{"system": "https://fhir-gateway.example/CodeSystem/policy", "code": "uk-direct-care"}]},
        "provision": {"provision": [{
            "type": "deny", "class": [{"system": "http://hl7.org/fhir/resource-types", "code": t} for t in types],
            "actor": [{"role": {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v3-ParticipationType", "code": "IRCP"}]},
                       "reference": who}],
        }]},
    }  # fmt: skip


@pytest.mark.slow
def test_what_one_reader_of_a_hub_may_not_see_does_not_reach_it_and_is_taken_back(tmp_path: Path) -> None:
    """sync.md: no member of its audience denied; one hospital denied: nothing reaches a hub that serves it."""
    with recorder() as hub, recorder() as shire:
        remotes = (
            {**HUB, "url": hub.url, "audience": ["RX9", "social-care"]},
            {**SHIRE, "url": shire.url},
        )
        with partnered(tmp_path, *remotes) as g:
            assert g.command("sync", "run", "--once").returncode == 0
            assert {"Goal", "Task"} <= hub.types() and {"Goal", "Task"} <= shire.types()
            assert hub.keys == {"Bearer x7Lq-92kfhs-0aa"}, "we sign in as the file says"
            assert shire.keys == {"Basic " + b64encode(b"gateway:x7Lq-92kfhs-0bb").decode()}
            hospital = {"identifier": {"system": ODS, "value": "RX9"}}
            assert g.call("patient", "POST", "Consent", body=deny(g, hospital, "Goal")).status_code == 201
            council = {"identifier": {"system": ODS, "value": "926"}}
            assert g.call("patient", "POST", "Consent", body=deny(g, council, "Task")).status_code == 201
            assert g.command("sync", "run", "--once").returncode == 0
            assert not {"Goal", "Task"} & hub.types(), "a reader of the hub was denied: it may not stay there"
            assert {"Goal", "Task"} <= shire.types(), "nobody who reads from this one was denied"
            assert "CarePlan" in hub.types()


@pytest.mark.slow
def test_nothing_goes_where_somebody_who_works_there_was_told_no_unless_that_server_keeps_them_out_itself(tmp_path: Path) -> None:
    terms: dict[str, dict[str, Any]] = {
        "own-people": {}, "own-people-unenforced": {"enforces": "nothing"}, "own-people-kept-out": {"enforces": "consents"},
        "a-stranger-reads": {"enforces": "nothing", "audience": ["D82999"]}, "a-stranger-reads-but-it-enforces": {"audience": ["D82999"]},
        "nobody-knows-who-reads": {"audience": ["NOWHERE"]},
    }  # fmt: skip
    with ExitStack() as hubs:
        remotes = [{"url": hubs.enter_context(recorder()).url, "organisation": "D82001", "name": name, **more} for name, more in terms.items()]
        with partnered(tmp_path, *remotes) as g:
            assert would(g) == {
                "own-people": "send", "own-people-unenforced": "send", "own-people-kept-out": "send", "a-stranger-reads": "withhold",
                "a-stranger-reads-but-it-enforces": "send", "nobody-knows-who-reads": "withhold",
            }  # fmt: skip
            gp = g.persona("gp")["fhirUser"]
            assert g.call("patient", "POST", "Consent", body=deny(g, {"reference": gp}, "Goal")).status_code == 201
            now = would(g)
            assert now["own-people"] == "withhold", "we send no consents, so nobody there can know of her no"
            assert now["own-people-kept-out"] == "send", "its operator says that it keeps her out itself"
            assert now["own-people-unenforced"] == "withhold", "it lets all its people read"


GOOD = {"url": "https://hub.example/fhir", "organisation": "D82001"}


@pytest.mark.parametrize(
    ("remote", "said"),
    [
        ({"role": "processor"}, "no `audience`"),
        ({"auth": {"kind": "smart"}}, "`client` and `key`"),
        ({"auth": {"kind": "basic", "user": "gateway"}}, "`password`"),
        ({"auth": {"kind": "bearer"}}, "`token`"),
        ({"auth": {"kind": "magic"}}, "auth.kind"),
        ({"auth": {"kind": "none", "token": "x7Lq-92kfhs-0aa"}}, "nothing else"),
        ({"auth": {"kind": "bearer", "token": "x7Lq-92kfhs-0aa"}, "token": "x7Lq-92kfhs-0aa"}, "keep one"),
        ({"url": "https://me:x7Lq-92kfhs@hub.example/fhir"}, "address"),
        ({"token": "changeme"}, "default"),
        ({"token": "<your-token>"}, "default"),
        ({"token": "abc"}, "guess"),
        ({"token": "aaaaaaaaaaaaaaaa"}, "guess"),
        ({"auth": {"kind": "basic", "user": "gateway", "password": "Password1"}}, "default"),
        ({"audiences": ["RX9"]}, "audiences"),
        ({"enforces": "something"}, "enforces"),
        ({"poll_seconds": 0}, "poll_seconds"),
    ],
)
def test_a_partner_is_refused_that_we_could_not_keep_faith_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, remote: dict[str, Any], said: str
) -> None:
    monkeypatch.setenv("GATEWAY_CONFIG", str(toml(tmp_path, {**GOOD, **remote})))
    with pytest.raises(Refused) as refused:
        load()
    assert said in str(refused.value)
    for secret in ("x7Lq-92kfhs", "changeme", "Password1"):
        assert secret not in str(refused.value)


def test_serve_reads_the_file_and_refuses_too(tmp_path: Path) -> None:
    g = Gateway(tmp_path / "data", 0, {"GATEWAY_CONFIG": str(toml(tmp_path, {**GOOD, "role": "processor"}))})
    done = g.command("serve")
    assert done.returncode == 2 and "`processor`" in done.stderr and len(done.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize("token", ["ChangeMe", "1234567"])
def test_serve_refuses_a_guessable_token_of_the_single_remote(tmp_path: Path, token: str) -> None:
    env = {"GATEWAY_REMOTE_URL": "https://hub.example/fhir", "GATEWAY_REMOTE_ORGANISATION": "D82001", "GATEWAY_REMOTE_TOKEN": token}
    done = Gateway(tmp_path / "data", 0, env).command("serve")
    assert done.returncode == 2
    assert "GATEWAY_REMOTE_TOKEN" in done.stderr and len(done.stderr.strip().splitlines()) == 1


# -- a partner that sends us elsewhere --------------------------------------------------------------------------------


class Elsewhere(Recorder):
    """A server to which a partner would send us: it counts whoever comes."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str] = []

    def answer(self, method: str, path: str, sent: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        self.asked.append(f"{method} {path}")
        return 200, {"resourceType": "Bundle", "type": "searchset", "total": 0}


class Sending(Recorder):
    """A partner that answers every search and write by pointing at `to`."""

    def __init__(self) -> None:
        super().__init__()
        self.to, self.status, self.asked, self.once = "", 200, list[str](), False

    def answer(self, method: str, path: str, sent: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        self.asked.append(f"{method} {path}")
        if self.once and len(self.asked) > 1:
            return 503, {}
        if self.status != 200:
            return self.status, {"resourceType": "OperationOutcome", "issue": [{"severity": "error", "code": "processing"}]}
        return 200, {"resourceType": "Bundle", "type": "searchset", "link": [{"relation": "next", "url": self.to}]}

    def more_headers(self) -> dict[str, str]:
        return {"Location": self.to}


R = TypeVar("R", bound=Recorder)


@contextmanager
def listening(one: R) -> Iterator[R]:
    threading.Thread(target=one.server.serve_forever, daemon=True).start()
    try:
        yield one
    finally:
        one.server.shutdown()
        one.server.server_close()


@pytest.fixture
def partner() -> Iterator[Sending]:
    with listening(Sending()) as one:
        yield one


@pytest.fixture
def elsewhere() -> Iterator[Elsewhere]:
    with listening(Elsewhere()) as one:
        yield one


async def led(partner: Sending, call: Callable[[RemoteServer], Awaitable[Any]], times: int = 1) -> str:
    """Why the call was given up, each time."""
    server, why = RemoteServer(partner.url, lambda: datetime.now(UTC), authorization="Bearer x7Lq-92kfhs-0aa"), ""
    try:
        for _ in range(times):
            with pytest.raises(Down) as down:
                await call(server)
            why = str(down.value)
    finally:
        await server.close()
    return why


async def all_pages(server: RemoteServer) -> list[Any]:
    return [page async for page in server.search("Goal", {"patient": "x"})]


async def all_history(server: RemoteServer) -> list[Any]:
    return [page async for page in server.history(None, None)]


CALLS: dict[str, Callable[[RemoteServer], Awaitable[Any]]] = {
    "metadata": lambda s: s.abilities(),
    "read": lambda s: s.read("Goal", "1"),
    "search": all_pages,
    "history": all_history,
    "create": lambda s: s.create("Goal", {"resourceType": "Goal"}, "identifier=urn:x|1"),
    "update": lambda s: s.update("Goal", "1", {"resourceType": "Goal"}, 'W/"1"'),
    "delete": lambda s: s.delete("Goal", "1"),
}


@pytest.mark.parametrize("call", CALLS)
async def test_a_redirect_is_not_followed_and_nothing_goes_there(partner: Sending, elsewhere: Elsewhere, call: str) -> None:
    partner.to, statuses = f"{elsewhere.url}/Goal/1", iter((301, 302, 303, 307, 308))

    async def again(server: RemoteServer) -> None:
        partner.status = next(statuses)
        await CALLS[call](server)

    assert "redirect (308)" in await led(partner, again, times=5)
    assert len(partner.asked) == 5 and not elsewhere.asked and not elsewhere.keys and not elsewhere.written


async def test_a_redirect_within_the_same_server_is_not_followed_either(partner: Sending) -> None:
    partner.status, partner.to = 307, f"{partner.url}/Goal/2"
    assert "redirect" in await led(partner, CALLS["create"])
    assert len(partner.asked) == 1


@pytest.mark.parametrize("call", ["search", "history"])
@pytest.mark.parametrize("kind", [
    "another port", "another name of the same machine", "an account before the host", "another scheme", "capital letters", "no scheme",
    "what makes our host an account", "what lengthens our port", "no address",
])  # fmt: skip
async def test_a_next_page_of_another_server_is_not_asked_for(partner: Sending, elsewhere: Elsewhere, kind: str, call: str) -> None:
    theirs, ours = elsewhere.url.removeprefix("http://"), partner.url.removeprefix("http://")
    partner.to = {
        "another port": f"http://{theirs}/Goal?page=2",
        "another name of the same machine": f"http://localhost:{elsewhere.server.server_port}/fhir/Goal?page=2",
        "an account before the host": f"http://{ours.split('/')[0]}@{theirs}/Goal?page=2",
        "another scheme": f"https://{ours}/Goal?page=2",
        "capital letters": f"HTTP://{theirs}/Goal?page=2",
        "no scheme": f"\t//{theirs}/Goal?page=2",
        "what makes our host an account": f"@{theirs}/Goal?page=2",
        "what lengthens our port": "1/Goal?page=2",
        "no address": "http://[/Goal?page=2",
    }[kind]
    partner.url = partner.url.removesuffix("/fhir") if kind.startswith("what ") else partner.url  # a base without a path
    partner.once = kind.startswith("what ")
    why = await led(partner, CALLS[call])
    assert "another server" in why or "address that is none" in why or partner.once
    assert not elsewhere.asked and not elsewhere.keys and (len(partner.asked) == 1 or partner.once)


async def test_a_next_page_of_its_own_is_asked_for_with_our_key(partner: Sending) -> None:
    """The sibling that says that the tests above see a page being asked for at all."""
    partner.to = f"{partner.url}/Goal?page=2"
    server = RemoteServer(partner.url, lambda: datetime.now(UTC), authorization="Bearer x7Lq-92kfhs-0aa")
    with pytest.raises(Refusal, match="gave before"):  # page 2 says that it is followed by itself
        await all_pages(server)
    await server.close()
    assert partner.asked[1] == "GET Goal?page=2" and partner.keys == {"Bearer x7Lq-92kfhs-0aa"}


def test_the_readme_names_every_key_of_a_remote() -> None:
    readme = (ROOT / "README.md").read_text()
    assert not [k for k in RemoteSettings.model_fields if f"| `{k}` |" not in readme]


@pytest.mark.parametrize(
    ("slip", "named"), [({"types": ["Goal", "Gaol"]}, "`Gaol` in `types`"), ({"purpose": "TREET"}, "`purpose` `TREET`")], ids=["types", "purpose"]
)
def test_a_slip_in_what_was_agreed_stops_the_start_and_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, slip: dict[str, Any], named: str) -> None:
    monkeypatch.setenv("GATEWAY_CONFIG", str(toml(tmp_path, {**HUB, "url": "http://127.0.0.1:9/fhir", **slip})))
    monkeypatch.setenv("GATEWAY_DATA", str(tmp_path / "data"))
    done = subprocess.run([sys.executable, "-m", "fhir_gateway", "sync", "status"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 2 and "The remote `hub`" in done.stderr and named in done.stderr and "Traceback" not in done.stderr


@pytest.mark.slow
def test_a_dry_run_goes_on_with_the_next_partner_and_names_each_and_a_file_that_is_none_is_named(tmp_path: Path) -> None:
    with recorder() as shire, partnered(tmp_path, {**HUB, "url": "http://127.0.0.1:9/fhir"}, {**SHIRE, "url": shire.url}) as g:
        done = g.command("sync", "run", "--dry-run")
        assert done.returncode == 1 and "hub: Goal/" in done.stdout and "shire: Goal/" in done.stdout and "hub (http://127.0.0.1:9/fhir) cannot be reached" in done.stderr
        broken = tmp_path / "broken.json"
        broken.write_text('{"resourceType": ')
        for arguments in (("sync", "resolve", "x", "merged"), ("sync", "replay", "x"), ("inbox", "replay", "x")):
            for file in (tmp_path / "nowhere.json", *([broken] if arguments[0] == "sync" else [])):
                done = g.command(*arguments, str(file))
                assert done.returncode == 2 and "Traceback" not in done.stderr, (arguments, done.stderr)
                assert file.name in done.stderr or "no inbox item" in done.stderr, (arguments, done.stderr)
