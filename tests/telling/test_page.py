"""The page "How we tell you", by forms, in a gateway that tells by a real mail server; what an operator sees of it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any

import httpx2
import pytest

from ..conftest import gateway
from ..web.test_doors import as_, share
from .servers import Post, mail_server

if TYPE_CHECKING:
    from ..conftest import Gateway

PAGE = "/my-plan/telling"


@pytest.fixture(scope="module")
def post() -> Iterator[Post]:
    with mail_server() as p:
        yield p


@pytest.fixture(scope="module")
def telling(tmp_path_factory: pytest.TempPathFactory, post: Post) -> Iterator[Gateway]:
    folder = tmp_path_factory.mktemp("telling")
    env = {
        "GATEWAY_TELL_SMTP": f"smtp://127.0.0.1:{post.port}", "GATEWAY_TELL_FROM": "plans@gateway.example",
        "GATEWAY_TELL_SMS": f"file:{folder / 'texts.ndjson'}", "GATEWAY_TELL_GATHER_SECONDS": "0",
    }  # fmt: skip
    with gateway(folder, "--demo", **env) as g:
        yield g


def choose(g: Gateway, who: str = "patient", page: str = PAGE, post: Post | None = None, **typed: Any) -> httpx2.Response:
    """The form as typed; with `post`, the code that comes there goes back. Its letter is taken out of the box."""
    v = as_(g, who)
    v.get(page)
    answer = v.send(page, **{"channel": "page", "language": "en", "when": "any", **typed})
    if post is None:
        return answer
    assert "We sent a code to" in v.words(), v.words()
    return v.send(f"{page}/code", code=code_in(taken(post, typed["email"])))


def taken(post: Post, address: str) -> str:
    """The letter with a code that came to this address, taken out of the box."""
    until(lambda: address in post.to and any(str(m["To"]) == address for m in post.letters))
    letter = next(m for m in post.letters if str(m["To"]) == address)
    post.letters.remove(letter)
    post.to.remove(address)
    return str(letter.get_content())


def code_in(text: str) -> str:
    found = re.search(r"\b\d{6}\b", text)
    assert found, text
    return found.group()


def until(true: Any, seconds: float = 15) -> Any:
    end = monotonic() + seconds
    while not (found := true()) and monotonic() < end:
        sleep(0.1)
    assert found
    return found


def test_what_happened_while_the_demo_was_made_is_on_the_page(telling: Gateway) -> None:
    v = as_(telling, "patient")
    until(lambda: "Shown here only" in v.get(PAGE).text)
    assert "Somebody new can see something of the plan" in v.words()
    assert "The app of your care service" not in v.words(), "there is no webhook here"


def test_she_chooses_email_shares_and_is_told_without_a_word_of_what(telling: Gateway, post: Post) -> None:
    assert "Your choice is saved" in choose(telling, post=post, channel="email", email="amina@mail.example").text
    v = as_(telling, "patient")
    share(v)
    v.send("/my-plan/sharing/new", go="save")
    until(lambda: post.letters)
    (letter,) = post.letters
    assert str(letter["To"]) == "amina@mail.example"
    said = f"{letter['Subject']} {letter.get_content()}"
    assert f"{telling.base}/sign-in" in said
    for word in ("Amina", "Rosa", "999", "emergency", telling.patient):
        assert word not in said.replace(telling.base, "")
    until(lambda: "Sent by email" in v.get(PAGE).text)
    assert 'value="amina@mail.example"' in v.page and "How we tell you" in v.words()


def test_an_operator_sees_how_many_and_no_names(telling: Gateway, post: Post) -> None:
    until(lambda: telling.lines("tell", "status", "--json")[0]["queued"] == 0)
    (people, officers, directory) = telling.lines("tell", "status", "--json")
    assert people["queue"] == "tell:patient" and people["sent"] >= 1 and people["channels"] == ["email", "text"]
    assert officers == {**officers, "queue": "tell:privacy-officer", "parked": 0}
    assert directory == {**directory, "queue": "tell:directory", "parked": 0, "channels": []}
    metrics = httpx2.get(f"{telling.base}/metrics").text
    assert 'remote="tell:patient",state="sent"' in metrics
    said = json.dumps([people, officers, directory]) + metrics + telling.log.read_text()
    assert "mail.example" not in said and "Amina" not in json.dumps([people, officers, directory]) + metrics
    assert [r["queued"] for r in telling.lines("tell", "retry", "--json")] == [0, 0]


@pytest.mark.parametrize(("typed", "said"), [
    ({"channel": "email", "email": "amina"}, "Write an email address"), ({"channel": "email", "email": "a@b.example\nBcc: c@d.example"}, "Write an email address"),
    ({"channel": "text", "number": "999"}, "Write a mobile number"), ({"channel": "app"}, "Choose how we tell you"), ({"channel": ""}, "Choose how we tell you"),
    ({"language": "xx"}, "Choose a language"), ({"when": "times", "start": "9", "end": "17"}, "Choose one day or more"),
    ({"when": "times", "start": "25", "end": "17", "days": ["1"]}, "Write from when it is safe"), ({"when": "times", "start": "9", "end": "9:00", "days": ["1"]}, "not the same"),
])  # fmt: skip
def test_a_mistake_is_named_and_nothing_is_saved(telling: Gateway, typed: dict[str, Any], said: str) -> None:
    before = as_(telling, "patient").get(PAGE).text.partition("What we told you")[0].count("checked")
    answer = choose(telling, **typed)
    assert answer.status_code == 200 and said in answer.text and "There is something to put right" in answer.text
    assert as_(telling, "patient").get(PAGE).text.partition("What we told you")[0].count("checked") == before


def test_safe_times_are_kept_as_typed(telling: Gateway) -> None:
    """A text message goes to the file of the provider's program: the code too."""
    choose(telling, channel="text", number="07700 900123", language="ur", when="times", start="9", end="17.30", days=["0", "4"])
    texts = telling.data.parent / "texts.ndjson"
    until(lambda: texts.exists() and texts.read_text().endswith("\n"))
    line = json.loads(texts.read_text().splitlines()[-1])
    assert line["to"] == "+447700900123" and line["language"] == "ur"
    v = as_(telling, "patient")
    assert 'value="+447700900123"' in v.get(PAGE).text, "it comes back into the form"
    page = v.send(f"{PAGE}/code", code=code_in(line["text"])).text
    assert "Your choice is saved" in page
    for value in ('value="+447700900123"', 'value="09:00"', 'value="17:30"', 'value="ur" checked', 'value="0" checked', 'value="4" checked'):
        assert value in page
    assert 'value="1" checked' not in page
    choose(telling)


def test_who_acts_for_her_chooses_for_themselves_and_staff_have_no_such_page(telling: Gateway, post: Post) -> None:
    assert "Your choice is saved" in choose(telling, "proxy", "/team/telling", post, channel="email", email="leila@mail.example").text
    assert "leila@mail.example" not in as_(telling, "patient").get(PAGE).text
    assert as_(telling, "gp").get("/team/telling").status_code == 404
    gp = as_(telling, "gp")
    assert gp.http.post("/team/telling/code", data={**gp.fields("/sign-out"), "code": "123456"}).status_code == 404
    assert as_(telling, "gp").get(PAGE).status_code == 403


def test_a_form_of_somebody_else_s_page_is_refused(telling: Gateway) -> None:
    v = as_(telling, "patient")
    v.get(PAGE)
    answer = v.http.post(PAGE, data={**v.fields(PAGE), "channel": "page"}, headers={"Origin": "https://evil.example"})
    assert answer.status_code == 403


def test_she_sees_in_her_log_that_it_was_changed(telling: Gateway, post: Post) -> None:
    choose(telling, post=post, channel="email", email="another@mail.example")
    v = as_(telling, "patient")
    v.get("/my-plan/who-looked?mine=yes")
    assert "Chose how to be told about your plan or record" in v.words() and "mail.example" not in v.words()
    choose(telling)


def test_a_new_address_is_used_once_its_code_came_back(telling: Gateway, post: Post) -> None:
    """Whoever owns a mistyped address reads a code and not a word of a plan, and is never told of anything."""
    choose(telling, post=post, channel="email", email="mine@mail.example")
    post.letters.clear()
    post.to.clear()
    v = as_(telling, "patient")
    v.get(PAGE)
    v.send(PAGE, channel="email", email="mistyped@mail.example", language="en", when="any")
    assert "We sent a code to mistyped@mail.example" in v.words()
    code = taken(post, "mistyped@mail.example")
    for word in ("plan", "care", "sign in", telling.base):
        assert word not in code.lower()
    share(v, who="Sam")
    v.send("/my-plan/sharing/new", go="save")
    until(lambda: any(str(m["To"]) == "mine@mail.example" for m in post.letters))
    assert "mistyped@mail.example" not in post.to
    wrong = f"{(int(code_in(code)) + 1) % 1_000_000:06d}"
    for n in range(5):
        v.get(PAGE)
        v.send(f"{PAGE}/code", code=wrong)
        assert ("That is not the code we sent. Try again." in v.words()) is (n < 4), v.words()
    assert "That code does not work any more." in v.words() and "mine@mail.example" in v.page
    v.get(PAGE)
    assert f'action="{PAGE}/code"' not in v.page, "nothing waits any more, the right code included"
    choose(telling)


# -- for programs -------------------------------------------------------------------------------------------------------


def address(g: Gateway, more: str = "") -> str:
    return f"/patients/{g.patient}/telling{more}"


def test_a_program_of_hers_chooses_as_the_page_does(telling: Gateway, post: Post) -> None:
    now = telling.get("patient", address(telling)).json()
    assert now["channel"] == "page" and now["offered"] == ["email", "text", "page"] and now["confirming"] is None and now["notices"]
    wanted = {"channel": "email", "address": "app@mail.example", "language": "cy", "start": "9:00", "end": "17:30", "days": ["mon", "fri"]}
    put = telling.call("patient", "PUT", address(telling), body=wanted, headers={"Content-Type": "application/json"})
    assert put.status_code == 202, put.text
    assert put.json()["channel"] == "page" and put.json()["language"] == "en" and put.json()["confirming"]["address"] == "app@mail.example"
    code = code_in(taken(post, "app@mail.example"))
    for sent, status in ((f"{(int(code) + 1) % 1_000_000:06d}", 422), (code, 200), (code, 404)):
        back = telling.call("patient", "POST", address(telling, "/code"), body={"code": sent}, headers={"Content-Type": "application/json"})
        assert back.status_code == status, back.text
    now = telling.get("patient", address(telling)).json()
    assert {k: now[k] for k in wanted} == wanted | {"start": "09:00"} and now["confirming"] is None
    page = as_(telling, "patient").get(PAGE).text
    assert 'value="app@mail.example"' in page and 'value="cy" checked' in page
    same = telling.call("patient", "PUT", address(telling), body={"channel": "email", "address": "app@mail.example"}, headers={"Content-Type": "application/json"})
    assert same.status_code == 200 and same.json()["start"] == "", "at any time, and no code: the address is hers"
    off = telling.call("patient", "PUT", address(telling), body={"channel": "page"}, headers={"Content-Type": "application/json"})
    assert off.status_code == 200 and off.json()["channel"] == "page"
    until(lambda: "app@mail.example" in post.to)


@pytest.mark.parametrize(("who", "status"), [("gp", 404), ("hospital", 404), ("stranger", 404), ("proxy", 200), ("patient", 200), (None, 401)])
def test_for_others_there_is_nothing_at_that_address(telling: Gateway, who: str | None, status: int) -> None:
    answer = telling.get(who, address(telling))
    assert answer.status_code == status, answer.text
    assert telling.get(who, "/patients/somebody-else/telling").status_code == (401 if who is None else 404)
    if status != 200:
        sent = telling.call(who, "PUT", address(telling), body={"channel": "page"}, headers={"Content-Type": "application/json"})
        assert sent.status_code == status


@pytest.mark.parametrize(("body", "status", "where"), [
    ({"channel": "pigeon"}, 422, "channel"), ({"channel": "app"}, 422, "channel"), ({"channel": "email", "address": "amina"}, 422, "address"),
    ({"channel": "text", "address": "999"}, 422, "address"), ({"channel": "page", "address": "a@b.example"}, 422, "address"),
    ({"channel": "page", "language": "xx"}, 422, "language"), ({"channel": "page", "start": "9"}, 422, "end"), ({"channel": "page", "start": "9", "end": "9:00"}, 422, "end"),
    ({"channel": "page", "days": []}, 422, "days"), ({"channel": "page", "days": ["noon"]}, 422, "days"), ({}, 400, "channel"), ({"channel": "page", "x": 1}, 400, "x"),
    ({"channel": 1}, 400, "channel"), ([], 400, ""),
])  # fmt: skip
def test_a_mistake_of_a_program_is_named(telling: Gateway, body: Any, status: int, where: str) -> None:
    answer = telling.call("patient", "PUT", address(telling), body=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == status and where in answer.text, answer.text
    assert telling.get("patient", address(telling)).json()["channel"] == "page"
