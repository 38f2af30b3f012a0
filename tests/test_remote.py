"""The client of another FHIR server believes nothing that it is told: pages, entries, replies, ETags, pauses. design: sync.md E1-E15"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fhir_gateway.domain.problem import Problem
from fhir_gateway.remote.abilities import of_statement
from fhir_gateway.remote.client import LIMIT, Down, Forbidden, Locked, Refusal, RemoteServer, Unknown, wait_asked
from fhir_gateway.remote.pages import Page, begun, envelope

from .faults.scripted import Asked, Body, Habits, There, page

NOW = datetime(2026, 11, 26, 9, 0, tzinfo=UTC)


class Standing:
    """A server of the script without a socket, and a clock that stands until it is moved."""

    def __init__(self, habits: Habits | None = None, limit: int = LIMIT) -> None:
        self.now = NOW
        self.there = There(habits, lambda: self.now)
        self.server = RemoteServer(self.there.url, lambda: self.now, "Bearer x7Lq-92kfhs-0aa", self.there.transport(), limit)

    async def window(self) -> list[Page]:
        return [p async for p in self.server.history(None, None)]


def goal(text: str = "walk", **more: Any) -> Body:
    return {"resourceType": "Goal", "description": {"text": text}, **more}


def entry(id: str, **more: Any) -> Body:
    return {"resource": {"resourceType": "Goal", "id": id, **more}, "request": {"method": "PUT", "url": f"Goal/{id}"}}


def raw(body: Any) -> bytes:
    return json.dumps(body).encode()


DEEP = b'{"resource":{"resourceType":"Goal","id":"deep","extension":' + b'[{"a":' * 40 + b"1" + b"}]" * 40 + b"}}"
VERY_DEEP = b'{"resource":{"resourceType":"Goal","id":"very-deep","x":' + b"[" * 20_000 + b"]" * 20_000 + b"}}"
TWICE = b'{"resource":{"resourceType":"Goal","id":"twice","status":"a","status":"b"}}'
NULL = b'{"resource":{"resourceType":"Goal","id":"null","note":null}}'
NOT_A_NUMBER = b'{"resource":{"resourceType":"Goal","id":"nan","x":NaN}}'
NOT_UTF8 = b'{"resource":{"resourceType":"Goal","id":"bytes","x":"\xff"}}'


# -- pages ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("empty", [b'"entry":[]', b'"entry":null', b'"link":[],"total":0', b'"link":null,"meta":{}'])
def test_an_envelope_may_be_empty_in_any_way(empty: bytes) -> None:
    assert envelope(b'{"resourceType":"Bundle","type":"history",' + empty + b"}").entries == ()


def test_one_bad_entry_hides_none_of_those_beside_it() -> None:
    bad = {"deep": DEEP, "very-deep": VERY_DEEP, "twice": TWICE, "null": NULL, "nan": NOT_A_NUMBER, "bytes": NOT_UTF8}
    for some in ([b] for b in bad.values()), [list(bad.values())]:
        for these in some:
            read = envelope(page(raw(entry("a")), *these, raw(entry("b"))))
            good = [e.value["resource"]["id"] for e in read.entries if not e.broken]
            assert good == ["a", "b"]
            assert all(len(e.raw) <= 64 * 1024 and e.broken.endswith(".") for e in read.entries if e.broken)
    assert [e.name for e in envelope(page(*bad.values())).entries] == [f"Goal/{id}" for id in bad]


@pytest.mark.parametrize(
    ("value", "name"),
    [
        ("x", ""), (None, ""), ([], ""), ({}, ""), (7, ""), ({"resource": "x"}, ""), ({"resource": {"resourceType": "Goal"}}, ""),
        ({"resource": {"resourceType": "Goal", "id": "a b"}}, ""), ({"resource": {"resourceType": "Goal", "id": "x/../y"}}, ""),
        ({"resource": {"resourceType": "../Goal", "id": "x"}}, ""), ({"request": {"method": "DELETE", "url": 5}}, ""),
        ({"request": {"method": "DELETE", "url": "Goal?identifier=x"}}, ""), ({"resource": {"resourceType": "Goal", "id": 5}}, ""),
        ({"fullUrl": "https://there.example/fhir/Goal/7", "resource": "x"}, "Goal/7"),
        ({"resource": {"resourceType": "Goal", "id": "1", "meta": "x"}, "fullUrl": "https://there.example/Goal/1"}, "Goal/1"),
        ({"resource": {"resourceType": "Goal", "id": "1", "meta": {"tag": ["x"]}}, "request": {"url": "Goal/1"}}, "Goal/1"),
        ({"resource": {"resourceType": "Goal", "id": "1", "meta": {"security": "x"}}, "request": {"url": "Goal/1"}}, "Goal/1"),
        ({"resource": {"resourceType": "Goal", "id": "1", "meta": {"versionId": 1}}, "request": {"url": "Goal/1"}}, "Goal/1"),
    ],
)  # fmt: skip
def test_an_entry_that_is_no_resource_is_broken_and_has_a_name_that_stays(value: Any, name: str) -> None:
    (one,) = envelope(page(raw(value))).entries
    assert one.broken and (one.name == name if name else one.name.startswith("entry-"))
    assert one == envelope(page(raw(value))).entries[0] and " " not in one.name


@pytest.mark.parametrize("url", ["Goal/7", "Goal/7/_history/3", "https://there.example/fhir/Goal/7", "/fhir/Goal/7", "https://there.example/fhir/Goal/7/_history/3"])
def test_a_deletion_is_known_by_the_address_that_was_deleted(url: str) -> None:
    (one,) = envelope(page({"request": {"method": "DELETE", "url": url}})).entries
    assert not one.broken and one.name == "Goal/7"


def test_what_a_server_says_of_its_feed_is_no_broken_resource() -> None:
    outcome = {"resource": {"resourceType": "OperationOutcome", "issue": [{"severity": "warning", "code": "processing"}]}}
    assert not envelope(page(outcome)).entries[0].broken


@pytest.mark.parametrize(
    "text",
    [b"", b"x", b"<html></html>", b"[]", b"null", b'{"resourceType":"Goal"}', b'{"resourceType":"Bundle","entry":[{"a":1}',
     b'{"resourceType":"Bundle","entry":[}]}', b'{"resourceType":"Bundle","entry":[],"entry":[{}]}', b'{"resourceType":"Bundle","entry":{"a":1}}',
     b'{"resourceType":"Bundle","entry":"x"}', b"[" * 1_500_000],
)  # fmt: skip
def test_what_is_no_bundle_is_none(text: bytes) -> None:
    with pytest.raises(Problem) as wrong:
        envelope(text)
    assert wrong.value.kind == "malformed"


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=8) | st.sampled_from(["entry", "Bundle", '"', "\\", "]}", "Goal/1"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["entry", "resource", "meta", "id", "url", "x"]), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip


@settings(max_examples=40, deadline=None)
@given(st.lists(json_values, max_size=5), st.booleans())
def test_a_page_that_is_cut_by_hand_has_the_same_entries(values: list[Any], spaced: bool) -> None:
    """The scan for what the reader cannot read sees the entries that it sees."""
    texts = [json.dumps(v, indent=2 if spaced else None).encode() for v in values]
    whole = envelope(page(*texts)).entries
    with_bad = envelope(page(*texts, NOT_A_NUMBER)).entries
    assert with_bad[:-1] == whole and with_bad[-1].name == "Goal/nan" and len(whole) == len(values)


@settings(max_examples=40, deadline=None)
@given(st.lists(json_values, max_size=3), st.data())
def test_the_beginning_of_a_page_says_how_many_of_its_entries_are_whole(values: list[Any], data: Any) -> None:
    text = page(*[raw(v) for v in values], link=[{"relation": "next", "url": "x"}])
    cut = text[: data.draw(st.integers(0, len(text) - 1))]
    read, whole = begun(cut, None, "why")
    assert whole <= len(values) and (read is None or (read.next == "x" and len(read.entries) == 1 and read.entries[0].broken == "why"))


# -- windows --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["itself", "twice"])
async def test_a_loop_of_pages_is_not_the_end_of_what_there_is(how: Any) -> None:
    here = Standing(Habits(page=2, next=how))
    for n in range(5):
        here.there.write(goal(str(n)))
    if how == "itself":
        with pytest.raises(Refusal, match="gave before"):
            await here.window()
        assert len(here.there.asked) == 2
    else:  # each page twice, under another address: nothing is missing
        assert {e.name for p in await here.window() for e in p.entries} == {f"Goal/t{n}" for n in range(1, 6)}


async def test_pages_without_end_and_without_entries_are_given_up() -> None:
    here = Standing()
    numbers = iter(range(10**6))
    here.there.fault("GET", "", change=lambda b: {**b, "link": [{"relation": "next", "url": f"{here.there.url}/_history?page={next(numbers)}"}]})
    with pytest.raises(Refusal):
        await here.window()
    assert len(here.there.asked) == 100


@pytest.mark.parametrize("history", [True, False])
async def test_pages_without_end_that_say_the_same_again_are_given_up(history: bool) -> None:
    here = Standing()
    numbers = iter(range(10**6))
    there = "_history" if history else "Goal"
    here.there.write(goal("x", id="g"))
    if history:
        here.there.remove("Goal/g")
    here.there.fault(
        "GET", "", applied=True, change=lambda b: {**b, "link": [{"relation": "next", "url": f"{here.there.url}/{there}?page={next(numbers)}"}]}
    )
    with pytest.raises(Refusal):
        [p async for p in (here.server.history(None, None) if history else here.server.search("Goal", {}))]
    assert len(here.there.asked) == 101


async def test_more_pages_than_any_list_has_are_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fhir_gateway.remote.page_by_page.MOST_PAGES", 5)
    here = Standing()
    for n in range(8):
        here.there.write(goal("x", id=f"g{n}"))
    with pytest.raises(Down, match="no end"):
        [p async for p in here.server.search("Goal", {"_count": "1"})]


@pytest.mark.parametrize("limit", [20_000, pytest.param(LIMIT, marks=pytest.mark.slow)])
async def test_a_page_that_is_too_large_is_asked_for_in_parts_and_one_entry_that_is_is_broken(limit: int) -> None:
    here = Standing(limit=limit)
    for n in range(6):
        here.there.write(goal("x" * (limit // 4 if n != 3 else limit + 1), id=f"g{n}"))
    here.there.write(goal("last", id="g6"))
    seen = [e for p in await here.window() for e in p.entries]
    assert {e.name for e in seen if not e.broken} == {f"Goal/g{n}" for n in (0, 1, 2, 4, 5, 6)}
    (broken,) = {(e.name, e.broken) for e in seen if e.broken}
    assert broken[0] == "Goal/g3" and broken[1].startswith("An entry of more than 20")


async def test_a_server_that_gives_more_entries_than_are_asked_for_loses_none_of_them_in_silence() -> None:
    here = Standing(limit=10_000)
    whole = page(*[raw({**entry(f"g{n}"), "x": "x" * 4_000}) for n in range(4)], link=[{"relation": "next", "url": "x"}])
    here.there.fault("GET", "_history", body=whole)
    with pytest.raises(Down, match="however few"):
        await here.window()


@pytest.mark.parametrize("limit", [20_000, pytest.param(LIMIT, marks=pytest.mark.slow)])
async def test_a_bomb_is_no_more_than_its_first_bytes(limit: int) -> None:
    here = Standing(limit=limit)
    here.there.fault("GET", "_history", bomb=limit + min(limit * 20, 10_000_000))
    with pytest.raises(Down, match="larger than 20"):
        await here.window()
    here.there.fault("GET", "Goal/1", bomb=limit + min(limit * 20, 10_000_000))
    with pytest.raises(Unknown, match="larger than 20"):
        await here.server.read("Goal", "1")


# -- replies --------------------------------------------------------------------------------------------------------------

OTHERS: dict[str, dict[str, Any]] = {
    "another id": {"change": lambda b: {**b, "id": "another"}},
    "another type": {"change": lambda b: {**b, "resourceType": "Task"}},
    "no id": {"change": lambda b: {k: v for k, v in b.items() if k != "id"}},
    "an id that is none": {"change": lambda b: {**b, "id": "a/../b c"}},
    "a meta that is none": {"change": lambda b: {**b, "meta": {"tag": "x"}}},
    "a page of HTML": {"body": b"<html>Please sign in</html>"},
    "an empty body": {"body": b""},
    "half of it": {"body": b'{"resourceType":"Goal","id":"t1"'},
    "a list": {"body": b"[]"},
    "a Bundle": {"body": b'{"resourceType":"Bundle","type":"searchset"}'},
    "of another content type": {"headers": {"Content-Type": "text/html"}},
    "accepted for later": {"status": 202},
}


def spoil(here: Standing, method: str, how: str) -> None:
    here.there.fault(method, "Goal", **{"applied": True, **OTHERS[how]})


@pytest.mark.parametrize("how", OTHERS)
async def test_an_update_that_is_answered_with_something_else_is_not_known_to_be_done(how: str) -> None:
    here = Standing()
    made = await here.server.create("Goal", goal(), "_tag=urn:x|1")
    spoil(here, "PUT", how)
    with pytest.raises(Unknown):
        await here.server.update("Goal", "t1", {**goal("run"), "id": "t1"}, made.etag)


@pytest.mark.parametrize("how", OTHERS)
async def test_a_create_that_is_answered_with_something_else_is_not_known_to_be_done(how: str) -> None:
    here = Standing()
    spoil(here, "POST", how)
    with pytest.raises(Unknown):
        await here.server.create("Goal", goal(), "_tag=urn:x|1")


@pytest.mark.parametrize("how", [h for h in OTHERS if h != "accepted for later"])
async def test_a_read_that_is_answered_with_something_else_is_no_reading(how: str) -> None:
    here = Standing()
    here.there.write(goal(id="t1"))
    spoil(here, "GET", how)
    with pytest.raises(Unknown):
        await here.server.read("Goal", "t1")


@pytest.mark.parametrize("how", ["a page of HTML", "half of it", "a list", "accepted for later"])
async def test_a_deletion_is_not_done_because_a_page_says_200(how: str) -> None:
    here = Standing()
    here.there.write(goal(id="t1"))
    spoil(here, "DELETE", how)
    with pytest.raises(Unknown):
        await here.server.delete("Goal", "t1")


@pytest.mark.parametrize("method", ["POST", "PUT"])
async def test_what_is_said_with_few_words_counts(method: str) -> None:
    """An empty body with its address or ETag (Prefer: return=minimal), and empty lists in what a server says back."""
    here = Standing(Habits(minimal=True))
    made = await here.server.create("Goal", goal(), "_tag=urn:x|1")
    assert (made.body, made.location, made.etag) == (None, "Goal/t1", 'W/"1"')
    changed = await here.server.update("Goal", "t1", {**goal("run"), "id": "t1"}, made.etag)
    assert (changed.body, changed.location, changed.etag) == (None, "Goal/t1", 'W/"2"')
    here.there.habits.minimal = False
    here.there.fault(method, "Goal", applied=True, change=lambda b: {**b, "note": []})
    sloppy = await (here.server.update("Goal", "t1", {**goal("swim"), "id": "t1"}, changed.etag) if method == "PUT" else here.server.create("Goal", goal(), "_tag=urn:x|2"))
    assert sloppy.body is None and sloppy.location == ("Goal/t1" if method == "PUT" else "Goal/t2")


# -- ETags ----------------------------------------------------------------------------------------------------------------


def tagged(body: Body) -> str:
    """What a worker takes the ETag to be that learned of this version from a feed."""
    return f'W/"{body["meta"]["versionId"]}"' if "versionId" in body["meta"] else ""


EVERY_KIND = [
    Habits(etag=etag, versions=versions, must_match=must, stale=stale)
    for etag in ("weak", "strong", "none", "odd") for versions in ("numbers", "jumps", "words", "none")
    for must in (False, True) for stale in (412, 409) if not (must and etag == "none")
]  # fmt: skip


@pytest.mark.parametrize("habits", EVERY_KIND, ids=lambda h: f"{h.etag}-{h.versions}-{h.must_match}-{h.stale}")
async def test_every_kind_of_etag_lets_through_what_is_known_and_nothing_over_what_is_not(habits: Habits) -> None:
    here = Standing(habits)
    first = here.there.write(goal(id="t1"))
    await here.server.update("Goal", "t1", {**goal("run"), "id": "t1"}, tagged(first), first)
    theirs = here.there.held["Goal/t1"]
    assert theirs["description"]["text"] == "run"
    again = await here.server.update("Goal", "t1", {**goal("swim"), "id": "t1"}, tagged(theirs), theirs)
    ours = here.there.held["Goal/t1"]
    assert ours["description"]["text"] == "swim"
    edited = here.there.write({**ours, "description": {"text": "theirs"}})
    with pytest.raises(Refusal) as stale:
        await here.server.update("Goal", "t1", {**goal("dance"), "id": "t1"}, again.etag or tagged(ours), ours)
    assert stale.value.status in (409, 412) and here.there.held["Goal/t1"] == edited


# -- statuses -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "raised"),
    [(400, Refusal), (401, Locked), (403, Refusal), (404, Refusal), (405, Refusal), (408, Down), (409, Refusal), (410, Refusal), (412, Refusal),
     (413, Refusal), (422, Refusal), (424, Refusal), (429, Down), (500, Down), (501, Refusal), (502, Down), (503, Down), (504, Down)],
)  # fmt: skip
@pytest.mark.parametrize("body", [None, b"<html>", b'{"issue":"x"}', b'{"issue":[1,{"details":[]}]}'])
async def test_each_status_means_one_thing_whatever_stands_in_the_body(status: int, raised: type[Exception], body: bytes | None) -> None:
    here = Standing()
    here.there.fault("", "Goal", status=status, body=body)
    said_by_another = status in (404, 410) and body is not None  # a proxy: that a resource is gone is said in FHIR, or without a body
    for call, one in ((here.server.read("Goal", "1"), True), (here.server.create("Goal", goal(), "x"), False), (here.server.delete("Goal", "1"), True)):
        with pytest.raises(Unknown if said_by_another and one else raised) as e:
            await call
        assert getattr(e.value, "arrived", True) is (status != 429)


async def test_what_is_not_ours_to_read_is_that_resource_however_many_there_are_of_it() -> None:
    """Each may be hidden from us: that says nothing of our key."""
    here = Standing()
    here.there.fault("GET", "Goal/no", status=403)
    here.there.write(goal(id="yes"))
    for _ in range(4):  # the same one again and again
        with pytest.raises(Refusal, match="403"):
            await here.server.read("Goal", "no")
    for n in ("no-1", "no-2", "no-3"):
        with pytest.raises(Refusal, match="403"):
            await here.server.read("Goal", n)
        await here.server.read("Goal", "yes")
    for n in range(9):
        with pytest.raises(Refusal, match="403"):
            await here.server.read("Goal", f"no-{n}")
    await here.server.read("Goal", "yes")


async def test_searches_about_one_person_that_are_forbidden_say_nothing_of_our_key_and_one_of_a_type_does() -> None:
    here = Standing()
    here.there.fault("GET", "Goal", status=403)
    for n in range(5):
        with pytest.raises(Refusal, match="403"):
            _ = [p async for p in here.server.search("Goal", {"patient": f"Patient/{n}"})]
    with pytest.raises(Locked):
        _ = [p async for p in here.server.search("Goal", {"_sort": "_lastUpdated"})]


async def test_a_key_that_only_reads_is_no_good_for_writing() -> None:
    """Not each of our records is refused one after the other while the feed is open in between: those of three people are enough."""
    here = Standing()
    here.there.fault("", "Goal", status=403, when=lambda asked: asked.method in ("POST", "PUT", "DELETE"))
    raised: list[type[Exception]] = []
    for n in range(4):
        made = here.there.write(goal(id=f"t{n}"))
        with pytest.raises(Forbidden):
            await here.server.update("Goal", f"t{n}", made, tagged(made))
        try:
            await here.server.forbidden_to_write(f"Patient/{n}", "Goal", f"nobodys-{n}")
        except Locked as e:
            raised.append(type(e))
        await here.window()
    assert raised == [Locked, Locked]


async def test_writes_about_one_person_that_are_forbidden_say_nothing_of_our_key() -> None:
    here = Standing()
    here.there.fault("PUT", "Goal", status=403)
    for n in range(9):
        made = here.there.write(goal(id=f"t{n}"))
        with pytest.raises(Forbidden):
            await here.server.update("Goal", f"t{n}", made, tagged(made))
        await here.server.forbidden_to_write("Patient/a", "Goal", "nobodys")
    await here.server.forbidden_to_write("Patient/b", "Goal", "nobodys")
    await here.server.create("Goal", goal(), "_tag=urn:x|1")
    here.there.fault("DELETE", "Goal", status=403)
    for whose in "cd":
        await here.server.forbidden_to_write(f"Patient/{whose}", "Goal", "nobodys")
    assert not here.there.requests("DELETE")
    with pytest.raises(Locked):
        await here.server.forbidden_to_write("Patient/e", "Goal", "nobodys")


@pytest.mark.parametrize(("answer", "raised"), [
    ({}, None), ({"status": 204}, None), ({"status": 410}, None), ({"status": 401}, Locked), ({"status": 403}, Locked), ({"status": 405}, None), ({"status": 501}, None),
    ({"status": 400}, None), ({"status": 500}, None), ({"status": 503}, None), ({"status": 404, "body": b"<html>no</html>"}, None),
])  # fmt: skip
async def test_whether_it_is_we_or_three_people_is_asked_by_the_deletion_of_what_nobody_has(answer: dict[str, Any], raised: type[Locked] | None) -> None:
    here = Standing()
    if answer:
        here.there.fault("DELETE", "Goal/nobodys", **answer)
    for whose in "ab":
        await here.server.forbidden_to_write(f"Patient/{whose}", "Goal", "nobodys")
    with pytest.raises(raised) if raised else nullcontext():
        await here.server.forbidden_to_write("Patient/c", "Goal", "nobodys")
    for whose in "de":
        with pytest.raises(raised) if raised else nullcontext():
            await here.server.forbidden_to_write(f"Patient/{whose}", "Goal", "nobodys")
    assert len(here.there.requests("DELETE")) == (3 if raised else 1)


@pytest.mark.parametrize("path", ["metadata", "_history"])
async def test_a_feed_that_is_forbidden_is_a_key_that_is_no_good(path: str) -> None:
    here = Standing()
    here.there.fault("GET", path, status=403)
    with pytest.raises(Locked):
        await (here.server.abilities() if path == "metadata" else here.window())


@pytest.mark.parametrize(
    ("base", "link"),
    [("https://x.test/fhir", "https://x.test:443/fhir?p=2"), ("https://x.test:443/fhir", "https://X.test/fhir?p=2"), ("http://x.test:80/fhir", "http://x.test/fhir?p=2")],
)
async def test_a_server_that_spells_its_own_port_is_read_to_the_end(base: str, link: str) -> None:
    """The port that a scheme has anyway is the same origin, said or not (RFC 6454 4)."""
    asked: list[httpx2.Request] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        asked.append(request)
        links = [{"relation": "next", "url": link}] if len(asked) == 1 else []
        return httpx2.Response(200, json={"resourceType": "Bundle", "type": "history", "link": links})

    server = RemoteServer(base, lambda: NOW, transport=httpx2.MockTransport(answer))
    assert len([p async for p in server.history(None, None)]) == len(asked) == 2


@pytest.mark.parametrize("link", ["http://x.test/fhir", "http://x.test:443/fhir", "https://x.test:80/fhir", "https://x.test:0/fhir", "https://x.test:65536/fhir", "https://y.test/fhir"])
async def test_another_port_or_scheme_is_another_origin(link: str) -> None:
    there: list[str] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        there.append(str(request.url))
        return httpx2.Response(200, json={"resourceType": "Bundle", "type": "history", "link": [{"relation": "next", "url": link}]})

    server = RemoteServer("https://x.test/fhir", lambda: NOW, transport=httpx2.MockTransport(answer))
    with pytest.raises(Down, match=r"another server|address that is none"):
        _ = [p async for p in server.history(None, None)]
    assert len(there) == 1


NOT_OFFERED = b'{"resourceType":"OperationOutcome","issue":[{"severity":"error","code":"not-supported"}]}'


async def test_what_a_server_forbids_since_it_does_not_offer_it_says_nothing_of_our_key() -> None:
    """One server says 403 to every search that it does not support."""
    here = Standing()
    here.there.fault("", "Goal", status=403, body=NOT_OFFERED)
    with pytest.raises(Refusal, match="403: not-supported"):
        _ = [p async for p in here.server.search("Goal", {"_sort": "_lastUpdated"})]
    with pytest.raises(Refusal, match="403: not-supported"):
        await here.server.identified("Goal", "urn:x|1")
    with pytest.raises(Refusal, match="403: not-supported") as e:
        await here.server.create("Goal", goal(), "_tag=urn:x|1")
    assert not isinstance(e.value, Forbidden), "nor does it of whom it is about"


async def test_a_search_for_one_copy_that_a_server_forbids_stops_nothing() -> None:
    """One server says 403 to a search that it does not support."""
    here = Standing(Habits(tags=False))
    with pytest.raises(Refusal, match="403"):
        _ = [p async for p in here.server.search("Goal", {"_tag": "urn:x|1"})]


# -- pauses ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "7"}, 7.0), ({"retry-after": "0"}, 1.0), ({"retry-after": "1000000000"}, 900.0), ({"retry-after": "9" * 300}, 900.0),
        ({"retry-after": "-5"}, None), ({"retry-after": "soon"}, None), ({"retry-after": ""}, None), ({"retry-after": "²"}, None), ({}, None),
        ({"retry-after": "Thu, 26 Nov 2026 09:00:30 GMT"}, 30.0), ({"retry-after": "Thu, 26 Nov 2026 08:00:00 GMT"}, 1.0),
        ({"retry-after": "Thu, 26 Nov 2099 08:00:00 GMT"}, 900.0), ({"retry-after": "Thu, 26 Nov 99999 08:00:00 GMT"}, None),
        ({"retry-after": "Thu, 26 Nov 2026 09:00:30"}, None), ({"retry-after": "Thu, 26 Nov 2026 09:00:30 +9999"}, None),
        ({"x-ms-retry-after-ms": "2500", "retry-after": "9"}, 2.5), ({"x-ms-retry-after-ms": "x", "retry-after": "9"}, 9.0),
        ({"ratelimit": '"requests";r=0;t=20'}, 20.0), ({"ratelimit": '"requests";r=5;t=20'}, None),
        ({"ratelimit": '"requests";r=5;t=20, "fhirInteractions";r=0;t=33'}, 33.0), ({"ratelimit": "r=0;t=x"}, None), ({"ratelimit": "r=0;t=99999999999"}, 900.0),
    ],
)  # fmt: skip
def test_how_long_a_server_asks_to_wait_is_read_in_every_spelling_and_bounded(headers: dict[str, str], seconds: float | None) -> None:
    assert wait_asked(headers, NOW) == seconds


@settings(max_examples=40, deadline=None)
@given(st.dictionaries(st.sampled_from(["retry-after", "x-ms-retry-after-ms", "ratelimit"]), st.text(max_size=40)))
def test_whatever_it_says_the_wait_is_none_or_bounded(headers: dict[str, str]) -> None:
    wait = wait_asked(headers, NOW)
    assert wait is None or 1 <= wait <= 900


@pytest.mark.parametrize("status", [429, 503, 200])
async def test_nobody_is_asked_anything_before_the_time_that_the_server_named(status: int) -> None:
    here = Standing()
    headers = {"RateLimit": '"requests";r=0;t=120'} if status == 200 else {"Retry-After": "120"}
    here.there.fault("GET", "metadata", times=1, status=status if status != 200 else 0, headers=headers)
    if status == 200:
        await here.server.abilities()
    else:
        with pytest.raises(Down) as asked:
            await here.server.abilities()
        assert asked.value.wait == 120
    for seconds in (0, 60, 119):
        here.now = NOW + timedelta(seconds=seconds)
        for call in (here.server.abilities(), here.server.create("Goal", goal(), "x"), here.server.delete("Goal", "1")):
            with pytest.raises(Down) as still:
                await call
            assert still.value.wait == pytest.approx(120 - seconds) and not still.value.arrived
    assert len(here.there.asked) == 1
    here.now = NOW + timedelta(seconds=120)
    await here.server.abilities()


# -- what it can do -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "rest", [None, "x", [], [1], [{"resource": "x", "interaction": 5}], [{"resource": [1, {"type": 7}, {"type": "Goal", "interaction": ["x"], "searchParam": {}}]}]]
)
async def test_a_statement_of_any_shape_is_read_for_what_it_says(rest: Any) -> None:
    here = Standing()
    here.there.fault("GET", "metadata", body=raw({"resourceType": "CapabilityStatement", "rest": rest, "software": [], "format": []}))
    abilities = await here.server.abilities()
    assert not abilities.system_history and abilities.types <= {"Goal"} and abilities.describe()["feed"] == "search by last change"


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'{"resourceType":"Goal"}'])
async def test_a_server_without_a_statement_is_away(body: bytes) -> None:
    here = Standing()
    here.there.fault("GET", "metadata", body=body)
    with pytest.raises(Down):
        await here.server.abilities()


async def test_what_it_can_do_is_said_type_by_type() -> None:
    here = Standing(Habits(feed="type", conditional_create=False, etag="none"))
    abilities = await here.server.abilities()
    assert abilities.type_history == abilities.types == abilities.unversioned and not abilities.conditional_create
    assert "Goal" in abilities.identified and "_tag" in abilities.searched["Goal"]
    assert abilities.describe()["feed"] == "history by type"


async def test_what_it_can_do_is_asked_again_each_hour_and_after_a_refusal_that_contradicts_it() -> None:
    here = Standing()
    known = await here.server.abilities_now(None)
    here.there.habits = Habits(feed="search")

    async def asked(minutes: float) -> bool:
        before = len(here.there.requests("GET", "metadata"))
        here.now += timedelta(minutes=minutes)
        return (await here.server.abilities_now(known)).system_history is False and len(here.there.requests("GET", "metadata")) == before + 1

    assert not await asked(0) and not await asked(59) and await asked(1)
    with pytest.raises(Refusal):
        await here.window()  # no such feed, it says now
    assert not await asked(0.5) and await asked(0.5) and not await asked(5)
    here.there.fault("GET", "metadata", status=503)
    here.now += timedelta(hours=2)
    assert await here.server.abilities_now(known) is known, "what was known serves until it can be asked"


def test_a_transport_in_the_place_of_the_network_is_the_only_one(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Callable[..., Any]] = []
    monkeypatch.setattr("fhir_gateway.outbound.Transport", lambda *a: made.append(a[0]))
    RemoteServer("http://there.test/fhir", lambda: NOW, transport=httpx2.MockTransport(lambda r: httpx2.Response(200)))
    assert not made


def test_what_a_server_calls_itself_is_no_longer_than_operators_read() -> None:
    assert of_statement({"resourceType": "CapabilityStatement", "software": {"name": "x" * 5_000}}).software == "x" * 100


@pytest.mark.parametrize(("said", "like", "lists", "counts"), [
    ("Goal {id} is not here (request {n})", "Goal {id} is not here (request {n})", False, True), ("not here", "no tenant", False, False), ("not here", "not here", True, False),
])  # fmt: skip
async def test_404_in_plain_words_counts_where_it_is_how_that_server_says_it(said: str, like: str, lists: bool, counts: bool) -> None:
    here, numbers = Standing(), itertools.count(100)
    plain = {"Content-Type": "text/plain"}

    def answered(asked: Asked) -> bool:
        words = said if asked.path == "Goal/g1" else like
        rule.fault.body = words.replace("{id}", asked.path.partition("/")[2]).replace("{n}", str(next(numbers))).encode()
        return True

    rule = here.there.fault("", "Goal/", status=404, headers=plain, when=answered)
    if lists:
        here.there.write(goal(id="g1"))
    for call in (here.server.read("Goal", "g1"), here.server.delete("Goal", "g1")):
        with pytest.raises(Refusal if counts else Unknown, match="404"):
            await call
    here.there.fault("GET", "metadata", status=404, body=b"not here", headers=plain)
    with pytest.raises(Unknown, match="404"):
        await here.server.read("Goal", "g1")


# -- what it found before, and how long it may take ---------------------------------------------------------------------------------


@pytest.mark.parametrize("by", ["identifier", "_tag", "_lastUpdated"])
async def test_what_was_written_a_moment_ago_is_found_at_a_server_that_finds_what_it_found_before(by: str) -> None:
    """Else a copy would be made twice, and a second person beside the one who has that number: one server does so for a minute."""
    here = Standing(Habits(caches=True))
    token = "urn:x|1"

    async def found() -> int:
        if by == "identifier":
            return len((await here.server.identified("Goal", token)).entries)
        params = {"_lastUpdated": "ge2026-11-01T00:00:00Z", "_sort": "_lastUpdated"} if by == "_lastUpdated" else {by: token}
        return sum([len(p.entries) async for p in here.server.search("Goal", params)])

    assert await found() == 0
    here.there.write(goal(identifier=[{"system": "urn:x", "value": "1"}], meta={"tag": [{"system": "urn:x", "code": "1"}]}))
    assert await found() == 1
    without = here.there.asked[-1]
    here.there.remove(next(iter(here.there.held)))
    here.there.write(goal(identifier=[{"system": "urn:x", "value": "1"}], meta={"tag": [{"system": "urn:x", "code": "1"}]}))
    without.headers.pop("cache-control")
    assert json.loads(here.there.answer(without).body)["total"] == 0, "it does"


async def test_a_partner_has_five_seconds_to_be_reached_and_thirty_to_go_on() -> None:
    """design: sync.md E2"""
    patience = RemoteServer("https://there.test/fhir", lambda: NOW).http.timeout
    assert (patience.connect, patience.read, patience.write) == (5.0, 30.0, 30.0)
