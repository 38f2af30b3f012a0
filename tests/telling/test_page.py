"""The page "How we tell you", by forms, in a gateway that tells by a real mail server; what an operator sees of it."""

from __future__ import annotations

import json
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


def choose(g: Gateway, who: str = "patient", page: str = PAGE, **typed: Any) -> httpx2.Response:
    v = as_(g, who)
    v.get(page)
    return v.send(page, **{"channel": "page", "language": "en", "when": "any", **typed})


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
    assert "Your choice is saved" in choose(telling, channel="email", email="amina@mail.example").text
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
    (people, officers) = telling.lines("tell", "status", "--json")
    assert people["queue"] == "tell:patient" and people["sent"] >= 1 and people["channels"] == ["email", "text"]
    assert officers == {**officers, "queue": "tell:privacy-officer", "parked": 0}
    metrics = httpx2.get(f"{telling.base}/metrics").text
    assert 'remote="tell:patient",state="sent"' in metrics
    said = json.dumps([people, officers]) + metrics + telling.log.read_text()
    assert "mail.example" not in said and "Amina" not in json.dumps([people, officers]) + metrics
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
    choose(telling, channel="text", number="07700 900123", language="ur", when="times", start="9", end="17.30", days=["0", "4"])
    page = as_(telling, "patient").get(PAGE).text
    for value in ('value="+447700900123"', 'value="09:00"', 'value="17:30"', 'value="ur" checked', 'value="0" checked', 'value="4" checked'):
        assert value in page
    assert 'value="1" checked' not in page
    choose(telling)


def test_who_acts_for_her_chooses_for_themselves_and_staff_have_no_such_page(telling: Gateway) -> None:
    assert "Your choice is saved" in choose(telling, "proxy", "/team/telling", channel="email", email="leila@mail.example").text
    assert "leila@mail.example" not in as_(telling, "patient").get(PAGE).text
    assert as_(telling, "gp").get("/team/telling").status_code == 404
    assert as_(telling, "gp").get(PAGE).status_code == 403


def test_a_form_of_somebody_else_s_page_is_refused(telling: Gateway) -> None:
    v = as_(telling, "patient")
    v.get(PAGE)
    answer = v.http.post(PAGE, data={**v.fields(PAGE), "channel": "page"}, headers={"Origin": "https://evil.example"})
    assert answer.status_code == 403


def test_she_sees_in_her_log_that_it_was_changed(telling: Gateway) -> None:
    choose(telling, channel="email", email="another@mail.example")
    v = as_(telling, "patient")
    v.get("/my-plan/who-looked?mine=yes")
    assert "Chose how to be told about your plan or record" in v.words() and "mail.example" not in v.words()
    choose(telling)


