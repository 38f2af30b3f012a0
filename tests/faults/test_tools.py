"""The tools that faults are made with do what they say, or a test that uses them proves nothing."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest

from .proxy import Line, Weather, proxied
from .scripted import Habits, Listening, There, scripted

GOAL = {"resourceType": "Goal", "description": {"text": "walk"}, "meta": {"tag": [{"system": "urn:x", "code": "1"}]}}


@pytest.fixture(scope="module")
def there() -> Iterator[Listening]:
    with scripted() as one:
        yield one


@pytest.fixture(autouse=True)
def _well(there: Listening) -> None:
    there.well()
    there.held.clear()
    there.history.clear()
    there.habits = Habits()


@pytest.fixture
def http(there: Listening) -> Iterator[httpx2.Client]:
    with httpx2.Client(base_url=there.url, timeout=2, trust_env=False) as one:
        yield one


def names(answer: httpx2.Response) -> list[str]:
    return [e["fullUrl"].split("/fhir/")[1] for e in answer.json().get("entry", [])]


def test_it_is_a_fhir_server_when_nothing_is_wrong(http: httpx2.Client) -> None:
    made = http.post("/Goal", json=GOAL, headers={"If-None-Exist": "_tag=urn:x|1"})
    again = http.post("/Goal", json=GOAL, headers={"If-None-Exist": "_tag=urn:x|1"})
    assert (made.status_code, again.status_code) == (201, 200) and made.json() == again.json()
    where = f"/Goal/{made.json()['id']}"
    changed = http.put(where, json={**made.json(), "lifecycleStatus": "active"}, headers={"If-Match": made.headers["ETag"]})
    stale = http.put(where, json=made.json(), headers={"If-Match": made.headers["ETag"]})
    assert (changed.status_code, stale.status_code) == (200, 412) and http.get(where).json() == changed.json()
    found = http.get("/Goal", params={"_tag": "urn:x|1", "_lastUpdated": f"ge{changed.json()['meta']['lastUpdated']}"})
    assert names(found) == [where[1:]]
    assert http.delete(where).status_code == 204 and http.get(where).status_code == 410
    assert [e["request"]["method"] for e in http.get("/_history").json()["entry"]] == ["DELETE", "PUT", "POST"]


@pytest.mark.parametrize("how", ["good", "relative"])
def test_its_pages_follow_each_other(there: Listening, http: httpx2.Client, how: Any) -> None:
    there.habits = Habits(page=2, next=how)
    made = {f"Goal/{there.write(GOAL)['id']}" for _ in range(5)}
    seen, answer = list[str](), http.get("/_history")
    while True:
        seen += names(answer)
        link = answer.json().get("link")
        if link is None:
            break
        answer = http.get(link[0]["url"] if how == "good" else f"/{link[0]['url']}")
    assert len(seen) == 5 and set(seen) == made


def test_a_fault_happens_as_often_as_it_was_told_to_whom_it_was_told(there: Listening, http: httpx2.Client) -> None:
    there.fault("POST", "Goal", times=1, skip=1, status=503, headers={"Retry-After": "7"}, applied=True)
    answers = [http.post("/Goal", json=GOAL) for _ in range(3)]
    assert [a.status_code for a in answers] == [201, 503, 201] and answers[1].headers["Retry-After"] == "7"
    assert len(there.named("Goal")) == 3, "it was applied all the same"


@pytest.mark.parametrize("cut", ["before", "middle"])
@pytest.mark.parametrize("applied", [True, False])
def test_an_answer_is_cut_and_what_was_asked_is_done_or_not(there: Listening, http: httpx2.Client, cut: str, applied: bool) -> None:
    seen = list[str]()
    there.fault("POST", cut=cut, applied=applied, body=b" " * 100, act=lambda a: seen.append(a.path))
    with pytest.raises(httpx2.TransportError):
        http.post("/Goal", json=GOAL)
    assert len(there.named("Goal")) == applied and seen == ["Goal"]


def test_an_answer_may_be_changed_dripped_or_a_bomb(there: Listening, http: httpx2.Client) -> None:
    there.fault("POST", times=1, change=lambda b: {**b, "id": "another"})
    assert http.post("/Goal", json=GOAL).json()["id"] == "another" and len(there.named("Goal")) == 1
    there.fault("GET", times=1, body=b"12345", drip=0.02)
    began = time.monotonic()
    assert http.get("/metadata").content == b"12345" and time.monotonic() - began > 0.08
    there.fault("GET", times=1, bomb=1_000_000)
    bomb = http.get("/metadata")
    assert len(bomb.content) == 1_000_000 and int(bomb.headers["Content-Length"]) < 10_000


def test_it_answers_the_same_without_a_socket() -> None:
    here = There()
    with httpx2.Client(transport=here.transport(), base_url=here.url) as http:
        assert http.post("/Goal", json=GOAL).status_code == 201
        here.fault("GET", "Goal", cut="before")
        with pytest.raises(httpx2.ReadError):
            http.get("/Goal")


@pytest.fixture
def line(there: Listening) -> Iterator[Line]:
    with proxied(there.url) as one:
        yield one


def asked(line: Line, seconds: float = 2.0) -> float:
    """How long an answer takes."""
    began = time.monotonic()
    with httpx2.Client(timeout=seconds, trust_env=False) as http:
        assert http.get(f"{line.url}/metadata").json()["resourceType"] == "CapabilityStatement"
    return time.monotonic() - began


def test_a_line_goes_down_and_comes_up_again_and_may_be_slow(line: Line) -> None:
    asked(line)
    line.down()
    with pytest.raises(httpx2.ConnectError):
        asked(line)
    line.up()
    asked(line)
    line.weather = Weather(latency=0.1)
    assert asked(line) > 0.2
    line.weather = Weather(slices=50)
    asked(line)


def test_a_line_may_pass_on_its_end_later(there: Listening, line: Line) -> None:
    """To a server that ends with its answer: the answer is there at once, its end is not."""
    there.fault("GET", "metadata", headers={"Connection": "close"}, applied=True)
    line.weather = Weather(slow_close=0.3)
    with socket.create_connection(("127.0.0.1", line.port), 5) as one:
        one.sendall(b"GET /fhir/metadata HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        began = time.monotonic()
        assert one.recv(65536).startswith(b"HTTP/1.1 200")
        first = time.monotonic() - began
        while one.recv(65536):
            pass
        assert time.monotonic() - began - first >= 0.25


@pytest.mark.parametrize(
    ("weather", "error"),
    [
        (Weather(silent=True), httpx2.ReadTimeout),
        (Weather(reset_after=0), httpx2.ReadError),
        (Weather(limit=60), httpx2.RemoteProtocolError),
        (Weather(bandwidth=100), httpx2.TimeoutException),
    ],
)
def test_a_line_may_be_silent_cut_or_end_in_the_middle(line: Line, weather: Weather, error: type[Exception]) -> None:
    line.weather = weather
    with pytest.raises(error):
        asked(line, 0.2)
    line.weather = Weather()
    asked(line)
