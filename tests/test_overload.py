"""Many at once, too fast, too slow, too much: whoever is turned away hears it, everybody else is served, and memory stays bounded."""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, suppress
from pathlib import Path

import httpx2
import pytest

from .conftest import Gateway, free_port, gateway

GOAL = b'{"resourceType":"Goal","lifecycleStatus":"active","description":{"text":"x"}}'


@pytest.fixture(scope="module")
def narrow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """Four at once, two of one client; short patience."""
    bounds = {
        "GATEWAY_CONCURRENCY": "4", "GATEWAY_CONNECTIONS": "30", "GATEWAY_HEAD_SECONDS": "1", "GATEWAY_BODY_SECONDS": "1",
        "GATEWAY_BODIES_LIMIT": "300000",
    }  # fmt: skip
    with gateway(tmp_path_factory.mktemp("narrow"), "--demo", **bounds) as g:
        for who in ("patient", "gp", "hospital", "social-worker", "stranger"):
            g.persona(who)
        yield g


@pytest.fixture
def alone(narrow: Gateway) -> Gateway:
    """The narrow gateway with nothing in hand any more from the test before."""
    end = time.monotonic() + 10
    while "gateway_requests_in_hand 0.0" not in narrow.get(None, "/metrics").text:
        assert time.monotonic() < end
        time.sleep(0.05)
    return narrow


def dial(g: Gateway) -> socket.socket:
    return socket.create_connection(("127.0.0.1", g.port), timeout=20)


def post(g: Gateway, who: str, length: int) -> socket.socket:
    """A write whose body is announced and has not come yet."""
    s = dial(g)
    token = g.persona(who)["token"]
    s.sendall(
        f"POST /fhir/Goal HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nContent-Type: application/fhir+json\r\nContent-Length: {length}\r\n\r\n".encode()
    )
    return s


def heard(s: socket.socket) -> str:
    """All that comes until the server closes, or one second of silence after an answer."""
    got = b""
    try:
        while part := s.recv(65536):
            got += part
            s.settimeout(1)
    except TimeoutError:
        pass
    except ConnectionResetError:
        return got.decode() or "reset"
    return got.decode()


def resident(g: Gateway) -> int:
    """Bytes of memory of the gateway's process."""
    assert g.process is not None
    return int(Path(f"/proc/{g.process.pid}/statm").read_text().split()[1]) * 4096


def waiting(g: Gateway, n: int) -> None:
    end = time.monotonic() + 5
    while f"gateway_requests_in_hand {n}.0" not in g.get(None, "/metrics").text:
        assert time.monotonic() < end
        time.sleep(0.02)


def test_one_client_has_half_of_the_places_and_others_the_rest(tmp_path: Path) -> None:
    with gateway(tmp_path, "--demo", GATEWAY_CONCURRENCY="4", GATEWAY_BODY_SECONDS="30") as g, ExitStack() as open_ones:
        held = [open_ones.enter_context(closing(post(g, "hospital", len(GOAL)))) for _ in range(2)]
        waiting(g, 2)
        third = g.get("hospital", "Patient")
        assert third.status_code == 429 and third.headers["Retry-After"] == "1"
        assert third.json()["issue"][0]["code"] == "throttled"
        assert g.get("gp", "Patient").status_code == 200
        held += [open_ones.enter_context(closing(post(g, "gp", len(GOAL)))) for _ in range(2)]
        waiting(g, 4)
        full = g.get("patient", "Patient")
        assert full.status_code == 503 and full.headers["Retry-After"] == "1" and full.json()["resourceType"] == "OperationOutcome"
        page = g.get(None, "/", Accept="text/html")
        assert page.status_code == 503 and "text/html" in page.headers["content-type"] and "try again" in page.text
        assert g.get(None, "/health").status_code == 200, "whoever watches over us gets through"
        assert "gateway_requests_turned_away 2.0" in g.get(None, "/metrics").text
        for s in held:
            s.sendall(GOAL)
            assert heard(s).startswith("HTTP/1.1 4"), "a goal without a person is refused, once it is there"
        assert g.get("patient", "Patient").status_code == 200


def test_a_body_that_stops_is_given_up_and_its_place_is_free_again(alone: Gateway) -> None:
    with closing(post(alone, "hospital", 100)) as s:
        s.sendall(b"{")
        answer = heard(s)
    assert answer.startswith("HTTP/1.1 408") and "connection: close" in answer.lower() and '"code":"timeout"' in answer
    waiting(alone, 0)


def test_a_body_that_only_drips_ends_too(alone: Gateway) -> None:
    start = time.monotonic()
    with closing(post(alone, "hospital", 10_000)) as s:
        s.settimeout(0.3)
        got = b""
        while time.monotonic() - start < 15 and not got:
            s.sendall(b" ")
            try:
                got = s.recv(1000)
            except TimeoutError:
                continue
    assert got.startswith(b"HTTP/1.1 408") and 5 < time.monotonic() - start < 9


def test_headers_that_drip_are_given_up(alone: Gateway) -> None:
    with closing(dial(alone)) as s:
        s.sendall(b"GET /fhir/metadata HTTP/1.1\r\nHost: x\r\n")
        s.settimeout(0.2)
        end, got = time.monotonic() + 5, b""
        while time.monotonic() < end and not got:
            try:
                s.sendall(b"A: b\r\n")
                got = s.recv(1000)
            except TimeoutError:
                continue
    assert got.startswith(b"HTTP/1.1 408")


def test_a_connection_that_never_speaks_is_closed(alone: Gateway) -> None:
    for first in (b"", b"\r\n"):
        with closing(dial(alone)) as s:
            s.sendall(first)
            start = time.monotonic()
            assert b"HTTP/1.1 2" not in s.recv(1000)
            assert time.monotonic() - start < 4


def test_headers_without_end_are_cut_off_and_cost_no_memory(alone: Gateway) -> None:
    before = resident(alone)
    with closing(dial(alone)) as s:
        s.sendall(b"GET /fhir/metadata HTTP/1.1\r\nHost: x\r\n")
        sent = 0
        with pytest.raises((ConnectionError, TimeoutError)):
            while sent < 200_000_000:
                s.sendall(b"X-Much: " + b"a" * 65_000 + b"\r\n")
                sent += 65_000
    assert sent < 20_000_000
    assert resident(alone) - before < 30_000_000
    assert alone.get(None, "metadata").status_code == 200


def test_a_header_one_too_long_is_still_told_as_fhir_tells_it(alone: Gateway) -> None:
    answer = alone.get("patient", "Patient", **{"X-Long": "a" * 33_000})
    assert answer.status_code == 431 and answer.json()["issue"][0]["code"] == "too-long"
    assert answer.headers["x-content-type-options"] == "nosniff" and answer.headers["referrer-policy"] == "no-referrer"
    assert answer.headers["content-security-policy"].startswith("default-src 'none'"), "an answer before the app has what all have"


def test_more_connections_than_there_may_be_are_told_to_come_back(alone: Gateway) -> None:
    with ExitStack() as all_of_them:
        opened = [all_of_them.enter_context(closing(dial(alone))) for _ in range(60)]
        said = [heard(s) for s in opened[-20:]]
    assert sum(a.startswith("HTTP/1.1 503") and "retry-after: 1" in a for a in said) >= 10
    assert alone.get(None, "metadata").status_code == 200


def test_more_bodies_at_once_than_may_be_held_are_refused(alone: Gateway) -> None:
    with ExitStack() as open_ones:
        held = [open_ones.enter_context(closing(post(alone, who, 400_000))) for who in ("hospital", "gp", "patient")]
        said = []
        for s in held:
            s.sendall(b" " * 140_000)
        for s in held:
            said.append(heard(s))
    assert sorted(a[9:12] for a in said) in (["408", "408", "503"], ["408", "503", "503"])
    assert alone.call("hospital", "POST", "Goal", raw=GOAL).status_code == 422, "what was held is free again"


def test_each_of_a_flood_hears_an_answer_or_when_to_come_again(alone: Gateway) -> None:
    said = []
    with ExitStack() as all_of_them:
        for _ in range(5):
            crowd = [all_of_them.enter_context(closing(dial(alone))) for _ in range(12)]
            for i, s in enumerate(crowd):
                token = alone.persona(("patient", "gp", "hospital")[i % 3])["token"]
                ask = f"GET /fhir/Patient/{alone.patient}/$everything HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n\r\n"
                s.sendall(ask.encode())
            said += [heard(s) for s in crowd]
    answers = [a for a in said if a.startswith("HTTP/1.1 200")]
    others = [a for a in said if a not in answers]
    assert len(said) == 60 and len(answers) >= 20, "at least those who find a place"
    assert all(a[9:12] in ("429", "503") and "retry-after: 1\r\n" in a.lower() for a in others)


def test_requests_in_a_row_on_one_connection_are_all_answered(alone: Gateway) -> None:
    with closing(dial(alone)) as s:
        s.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n" * 5)
        assert heard(s).count('{"status":"ok"}') == 5


def test_a_client_that_asks_too_fast_waits_and_nobody_else_does(tmp_path: Path) -> None:
    with gateway(tmp_path, "--demo", GATEWAY_RATE="1") as g:
        ask = [g.get("hospital", "Patient") for _ in range(30)]
        told = [a for a in ask if a.status_code == 429]
        assert told and {a.status_code for a in ask} == {200, 429}
        assert all(1 <= int(a.headers["Retry-After"]) <= 2 for a in told)
        assert told[0].json()["issue"][0]["code"] == "throttled"
        assert g.get("gp", "Patient").status_code == 200
        time.sleep(int(told[-1].headers["Retry-After"]))
        assert g.get("hospital", "Patient").status_code == 200


def test_a_page_counts_once_however_often_it_asks_who_it_is_for(tmp_path: Path) -> None:
    """`/account/apps/open` asks again for the page that says sorry."""
    with gateway(tmp_path, "--demo", GATEWAY_RATE="0.5") as g, httpx2.Client(base_url=g.base, headers={"Origin": g.base}) as gp:
        hidden = dict(re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)"', gp.get("/sign-in").text))
        assert gp.post("/sign-in", data=hidden | {"username": "gp", "password": "demo-only-password"}).status_code == 303
        seen = [gp.get("/account/apps/open", params={"person": "nobody"}) for _ in range(9)]
        assert [a.status_code for a in seen[:5]] == [404] * 5, "ten seconds' worth of half a request"
        told = seen[-1]
        assert told.status_code == 429 and told.headers["Retry-After"] in ("1", "2") and "text/html" in told.headers["content-type"]


def test_guessing_at_tokens_is_slowed_down_for_that_address_alone(alone: Gateway) -> None:
    url = f"{alone.base}/fhir/Patient"

    def guesses(n: int) -> list[int]:
        with httpx2.Client() as client:
            return [client.get(url, headers={"Authorization": f"Bearer no.{n}.{i}"}).status_code for i in range(900)]

    with ThreadPoolExecutor(3) as three:
        seen = [status for of_one in three.map(guesses, range(3)) for status in of_one]
    assert set(seen) <= {401, 429, 503} and seen.count(401) >= 1_000 and 429 in seen
    assert alone.get("gp", "Patient").status_code == 200, "who can say who they are is not held up"


def bad_tokens(g: Gateway, here: str, forwarded: str, most: int = 6_000) -> int:
    """How many requests with a bad token, from this address of the machine, are answered before one is told to slow down."""
    one = "GET /fhir/Patient HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer no\r\nX-Forwarded-For: {}\r\n\r\n"
    with closing(socket.create_connection(("127.0.0.1", g.port), timeout=20, source_address=(here, 0))) as s, s.makefile("rb") as answers:
        for n in range(0, most, 5):
            s.sendall("".join(one.format(forwarded.format(i % 250)) for i in range(n, n + 5)).encode())
            for i in range(n, n + 5):
                status = answers.readline().split()[1]
                length = 0
                while line := answers.readline().strip().lower():
                    length = int(line.split()[1]) if line.startswith(b"content-length:") else length
                answers.read(length)
                if status == b"429":
                    return i
                assert status == b"401"
    return most


def test_an_address_that_a_request_only_claims_counts_for_nothing_unless_a_trusted_proxy_says_so(tmp_path: Path) -> None:
    """X-Forwarded-For of anybody else is no way out of the pace of one's own address, nor one to have another's spent."""
    proxy, anybody = "127.0.0.4", "127.0.0.3"
    with gateway(tmp_path, GATEWAY_TRUSTED_PROXIES=proxy) as g:
        assert 1_900 < bad_tokens(g, anybody, "10.0.0.{}") < 6_000, "another name each time, and told to slow down"
        assert bad_tokens(g, proxy, "10.0.0.{}", 40) == 40, "nobody's pace that was named there was spent"
        assert 1_900 < bad_tokens(g, proxy, "192.0.2.7") < 6_000, "a proxy that is trusted says who it was"
        assert bad_tokens(g, proxy, "10.9.9.{}, 192.0.2.7", 40) < 40, "what they wrote before the proxy did is not believed"
        assert bad_tokens(g, proxy, "192.0.2.8", 40) == 40, "the next one is not held up"


@pytest.mark.slow
def test_who_does_not_read_their_answers_loses_the_connection(alone: Gateway) -> None:
    with closing(socket.socket()) as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        s.connect(("127.0.0.1", alone.port))
        s.settimeout(30)
        with pytest.raises((ConnectionError, TimeoutError)):
            for _ in range(3_000):
                s.sendall(b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n")
            start = time.monotonic()
            while time.monotonic() - start < 25:
                time.sleep(0.5)
                s.sendall(b"G")
    assert alone.get(None, "metadata").status_code == 200


def test_requests_in_a_row_that_nobody_reads_the_answers_of_cost_neither_memory_nor_time(alone: Gateway) -> None:
    before, flood = resident(alone), b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" * 9_000
    with ExitStack() as all_of_them:
        for _ in range(10):
            s = all_of_them.enter_context(closing(dial(alone)))
            s.setblocking(False)
            with suppress(OSError):
                s.send(flood)
        start = time.monotonic()
        assert alone.get(None, "/health").status_code == 200
        assert time.monotonic() - start < 5
    assert resident(alone) - before < 60_000_000


def test_trailers_are_no_headers_and_without_end_cost_no_memory(alone: Gateway) -> None:
    token = alone.persona("patient")["token"]
    with closing(dial(alone)) as s:
        s.sendall(f"GET /fhir/Patient HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nAuthorization: Bearer {token}\r\n\r\n".encode())
        assert heard(s).startswith("HTTP/1.1 401"), "what comes after everybody has looked signs nobody in"
    before = resident(alone)
    for end in (b"x-a: " + b"y" * 1_000 + b"\r\n", b"y" * 1_000):
        with closing(dial(alone)) as s:
            s.sendall(b"GET /fhir/metadata HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nx-b: c")
            with pytest.raises((ConnectionError, TimeoutError)):
                for _ in range(100_000):
                    s.sendall(end)
    assert resident(alone) - before < 30_000_000


def test_chunks_that_are_nearly_all_framing_end_the_connection(alone: Gateway) -> None:
    head = b"POST /oauth/token HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\nTransfer-Encoding: chunked\r\n\r\n"
    with closing(dial(alone)) as s:
        s.sendall(head)
        with pytest.raises(ConnectionError):
            for _ in range(200):
                s.sendall(b"1;x=" + b"y" * 4_000 + b"\r\na\r\n")
                time.sleep(0.005)
    with closing(dial(alone)) as s:
        s.sendall(head + b"1\r\na\r\n" * 20_000 + b"0\r\n\r\n")
        assert heard(s).startswith("HTTP/1.1 400"), "chunks of one byte are a body"


def test_a_form_for_a_token_that_stops_is_given_up_as_any_body(alone: Gateway) -> None:
    with closing(dial(alone)) as s:
        s.sendall(b"POST /oauth/token HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 100\r\n\r\na")
        assert heard(s).startswith("HTTP/1.1 408")


def test_a_body_that_goes_on_after_its_answer_does_not_hold_the_connection(alone: Gateway) -> None:
    start = time.monotonic()
    with closing(dial(alone)) as s:
        s.sendall(b"POST /fhir/Goal HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n")
        with pytest.raises(ConnectionError):
            while time.monotonic() - start < 10:
                s.sendall(b" ")
                time.sleep(0.2)
    assert time.monotonic() - start < 8


def test_one_address_has_half_of_the_connections(alone: Gateway) -> None:
    with ExitStack() as all_of_them:
        for _ in range(28):
            s = all_of_them.enter_context(closing(socket.socket()))
            s.bind(("127.0.0.2", 0))
            s.connect(("127.0.0.1", alone.port))
        assert alone.get(None, "metadata").status_code == 200, "from another address"


@pytest.mark.parametrize("twice", ["Host: y", "Authorization: Bearer x", "Content-Type: text/plain"])
def test_a_header_that_two_readers_could_take_for_two_things_is_refused(alone: Gateway, twice: str) -> None:
    with closing(dial(alone)) as s:
        s.sendall(f"GET /fhir/metadata HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer z\r\nContent-Type: text/html\r\n{twice}\r\n\r\n".encode())
        assert heard(s).startswith("HTTP/1.1 400")
    with closing(dial(alone)) as s:
        s.sendall(b"GET /fhir/metadata HTTP/1.1\r\nAccept: */*\r\n\r\n")
        assert heard(s).startswith("HTTP/1.1 400"), "no Host at all"


def test_without_https_only_this_machine_is_served_on_every_address(tmp_path: Path) -> None:
    """As in a container, which publishes the port on the loopback address: whoever comes by another name came over a network."""
    port = free_port()
    with gateway(tmp_path, GATEWAY_HOST="0.0.0.0", GATEWAY_BASE_URL=f"http://127.0.0.1:{port}") as g:
        for name in ("127.0.0.1", f"localhost:{g.port}", f"127.0.0.1:{g.port}"):
            assert g.get(None, "metadata", Host=name).status_code == 200
        for name in ("192.0.2.2", "care.example:80", "127.0.0.1.evil.example"):
            told = g.get(None, "/sign-in", Host=name)
            assert told.status_code == 421 and "GATEWAY_BASE_URL" in told.text
