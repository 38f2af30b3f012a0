"""What goes out by HTTP goes to addresses that others' servers can have, whatever their names stand for at the moment."""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx2
import pytest

from fhir_gateway import outbound
from fhir_gateway.auth import external, keysets
from fhir_gateway.remote.client import Down, RemoteServer, Unknown
from fhir_gateway.tell.channel import Failed, Message
from fhir_gateway.tell.heads import HeadPost
from fhir_gateway.tell.hook import Webhook
from fhir_gateway.tell.texting import TextCall

from .conftest import ROOT

NOTE = Message("m1", "r1", "s", "t", "en", datetime(2036, 6, 1, tzinfo=UTC))
HERE, METADATA = "127.0.0.1", "169.254.169.254"


@dataclass
class Listening:
    """A server on every address of this machine. `at`: at which of them it was asked, each time."""

    at: list[str] = field(default_factory=list)
    port: int = 0


@pytest.fixture
def there() -> Iterator[Listening]:
    seen = Listening()

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            seen.at.append(self.connection.getsockname()[0])
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(b'{"resourceType": "Goal"}')

        do_GET = do_POST = answer

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("0.0.0.0", 0), Handler)
    seen.port = server.server_port
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield seen
    server.shutdown()
    server.server_close()


class Names:
    """The name service. `say` what a name stands for, one list of addresses for each time that it is asked; the last one stays."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.said: dict[str, list[list[str]]] = {}
        self.asked: list[str] = []
        real = socket.getaddrinfo

        def answer(host: Any, port: Any, *more: Any, **named: Any) -> Any:
            if host not in self.said:
                return real(host, port, *more, **named)
            self.asked.append(host)
            answers = self.said[host]
            return [(socket.AF_INET6 if ":" in a else socket.AF_INET, socket.SOCK_STREAM, 6, "", (a, port)) for a in (answers.pop(0) if len(answers) > 1 else answers[0])]

        monkeypatch.setattr(socket, "getaddrinfo", answer)

    def say(self, name: str, *answers: list[str]) -> None:
        self.said[name] = list(answers)


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Names:
    return Names(monkeypatch)


def own_address() -> str:
    """Another address of this machine than the loopback one."""
    with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as s:
        try:
            s.connect(("198.51.100.1", 9))
        except OSError:
            pytest.skip("this machine has no address but the loopback one")
        return str(s.getsockname()[0])


async def partner(url: str) -> None:
    server = RemoteServer(url, lambda: datetime.now(UTC), authorization="Bearer x7Lq-92kfhs-0aa")
    try:
        with suppress(Unknown):  # what it answers is no Goal, and it has answered
            await server.read("Goal", "1")
    finally:
        await server.close()


async def through(channel: Any, sent: Any) -> None:
    try:
        await sent(channel)
    finally:
        await channel.close()


WAYS: dict[str, Callable[[str], Awaitable[Any]]] = {
    "partner": partner,
    "issuer": lambda url: external.fetch_from(url)(f"{url}/.well-known/openid-configuration"),
    "keys of a client": lambda url: keysets.fetch(f"{url}/jwks"),
    "webhook": lambda url: through(Webhook(url, "whsec_" + "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", lambda: NOTE.at), lambda c: c.send(NOTE)),
    "texts": lambda url: through(TextCall(url, "a-token"), lambda c: c.send(NOTE)),
    "heads": lambda url: through(HeadPost(url), lambda c: c.tell(["a.b.c"])),
}


@pytest.mark.parametrize("way", WAYS)
async def test_a_name_that_has_come_to_stand_for_this_machine_or_the_clouds_own_is_not_connected_to(there: Listening, names: Names, way: str) -> None:
    for addresses in ([HERE], ["::1"], ["0.0.0.0"], ["::ffff:127.0.0.1"], [METADATA], ["fe80::1"], ["fd00:ec2::254"], [METADATA, HERE]):
        names.say("partner.example", addresses)
        with pytest.raises((Down, Failed, httpx2.ConnectError)) as wrong:
            await WAYS[way](f"http://partner.example:{there.port}")
        assert isinstance(wrong.value, Failed) or outbound.NOWHERE in str(wrong.value)
    assert there.at == []


@pytest.mark.parametrize("way", WAYS)
async def test_this_machine_by_its_own_name_is(there: Listening, way: str) -> None:
    """The sibling that says that the test above would see something arrive; the demo and a proxy beside us need it."""
    for host in ("127.0.0.1", "localhost"):
        await WAYS[way](f"http://{host}:{there.port}")
    assert there.at == [HERE, HERE]


async def test_what_is_connected_to_is_what_was_judged_and_each_connection_is_judged_anew(there: Listening, names: Names) -> None:
    """Rebinding: the second look-up of a name says another thing than the first."""
    own = own_address()
    names.say("moving.example", [own], [HERE])
    url = f"http://moving.example:{there.port}"
    async with outbound.client(5) as http:
        assert (await http.get(url)).status_code == 200
        assert there.at == [own] and names.asked == ["moving.example"], "one look-up, and no second one to connect"
    async with outbound.client(5) as http:
        with pytest.raises(httpx2.ConnectError, match=outbound.NOWHERE):
            await http.get(url)
    assert there.at == [own]


async def test_of_several_addresses_those_that_may_be_are_tried_in_turn(there: Listening, names: Names) -> None:
    own = own_address()
    with closing(socket.create_server((own, 0))) as s:
        dead = s.getsockname()[1]
    names.say("several.example", [METADATA, HERE, own, own])
    async with outbound.client(5) as http:
        assert (await http.get(f"http://several.example:{there.port}")).status_code == 200
        with pytest.raises(httpx2.ConnectError) as wrong:
            await http.get(f"http://several.example:{dead}")
    assert there.at == [own] and outbound.NOWHERE not in str(wrong.value)


async def test_a_name_that_is_not_known_is_a_partner_that_cannot_be_reached() -> None:
    with pytest.raises(Down, match="cannot be reached"):
        await partner("https://no-such-host.invalid")


@pytest.mark.parametrize(
    ("address", "may"),
    [
        ("10.1.2.3", True), ("192.168.1.7", True), ("100.64.0.9", True), ("203.0.113.7", True), ("2001:db8::7", True), ("fd12::7", True), ("64:ff9b::cb00:7107", True),
        ("127.0.0.1", False), ("127.9.9.9", False), ("::1", False), ("::", False), ("0.0.0.0", False), ("169.254.1.1", False), ("fe80::1%eth0", False),
        ("::ffff:169.254.169.254", False), ("::ffff:127.0.0.1", False), ("64:ff9b::a9fe:a9fe", False), ("64:ff9b::7f00:1", False), ("2002:a9fe:a9fe::1", False),
        ("224.0.0.1", False), ("ff02::1", False), ("240.0.0.1", False), ("255.255.255.255", False),
        ("100.100.100.200", False), ("168.63.129.16", False), ("fd00:ec2::254", False),
    ],
)  # fmt: skip
def test_which_addresses_a_partner_can_have(address: str, may: bool) -> None:
    assert outbound.reachable(address, "partner.example") is may
    assert outbound.reachable(address, "localhost") is (address in ("127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1", "64:ff9b::7f00:1"))


def test_nothing_else_of_ours_opens_an_http_connection() -> None:
    """The sign that a new way out goes the same way."""
    found = {
        str(file.relative_to(ROOT)) for file in (ROOT / "fhir_gateway").rglob("*.py")
        if re.search(r"httpx2\.(AsyncClient|Client|get|post|put|request|stream)\(|urllib\.request|http\.client|urlopen|aiohttp", file.read_text())
    }  # fmt: skip
    assert found == {"fhir_gateway/outbound.py"}
