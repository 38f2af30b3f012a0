"""Each way of telling against a real server on the loopback address, one that takes it and one that fails."""

from __future__ import annotations

import asyncio
import json
import stat
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from fhir_gateway.domain.notices import LANGUAGES, words
from fhir_gateway.tell import channel, mail
from fhir_gateway.tell.channel import Channel, Failed, Message
from fhir_gateway.tell.hook import Webhook, signature
from fhir_gateway.tell.mail import Mail
from fhir_gateway.tell.texting import TextCall, TextFile

from .servers import Post, Web, certificate, mail_server, raw_server, web_server

AT = datetime(2026, 11, 25, 9, tzinfo=UTC)
SAID = words("en", "https://gateway.example/sign-in")
NOTE = Message("tell-0123456789abcdef", "amina@mail.example", SAID.subject, SAID.text, "en", AT)
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


@pytest.fixture
def post() -> Iterator[Post]:
    with mail_server() as p:
        yield p


@pytest.fixture
def web() -> Iterator[Web]:
    with web_server() as w:
        yield w


def by_mail(port: int, **more: str) -> Mail:
    return Mail("127.0.0.1", port, "plans@gateway.example", **{"tls": "none", **more})


async def trouble(channel: Channel, message: Message = NOTE) -> Failed:
    with pytest.raises(Failed) as failed:
        await channel.send(message)
    await channel.close()
    assert "@" not in str(failed.value) and "127" not in str(failed.value), "no address in what is kept and logged"
    return failed.value


# -- email ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("language", LANGUAGES)
async def test_a_letter_arrives_with_the_words_of_the_language_and_nothing_else(post: Post, language: str) -> None:
    said = words(language, "https://gateway.example/sign-in")
    await by_mail(post.port).send(replace(NOTE, subject=said.subject, text=said.text, language=language))
    (letter,) = post.letters
    assert post.to == ["amina@mail.example"] == [str(letter["To"])] and str(letter["From"]) == "plans@gateway.example"
    assert letter["Subject"] == said.subject and letter.get_content().split() == said.text.split()
    assert letter["Message-ID"] == "<tell-0123456789abcdef@gateway.example>" and letter["Content-Language"] == language
    assert letter["Auto-Submitted"] == "auto-generated" and letter.get_content_type() == "text/plain"


async def test_mail_goes_by_starttls_and_signs_in(tmp_path: Path) -> None:
    trusted, context = certificate(tmp_path)
    with mail_server(started=context, password="a-long-one-4711") as post:
        await by_mail(post.port, tls="started", user="gateway", password="a-long-one-4711", authority=str(trusted)).send(NOTE)
        assert len(post.letters) == 1 and post.signed_in == ["gateway"]
        wrong = await trouble(by_mail(post.port, tls="started", user="gateway", password="not-it-0815", authority=str(trusted)))
        assert not wrong.final and "sign in" in wrong.trouble


async def test_mail_goes_by_tls_from_the_first_byte(tmp_path: Path) -> None:
    trusted, context = certificate(tmp_path)
    with mail_server(ssl_context=context) as post:
        await by_mail(post.port, tls="wrapped", authority=str(trusted)).send(NOTE)
        assert len(post.letters) == 1


async def test_nothing_goes_in_the_clear_or_to_a_server_that_nobody_vouches_for(tmp_path: Path, post: Post) -> None:
    assert (await trouble(by_mail(post.port, tls="started"))).trouble == "cannot be reached by TLS", "it offers none"
    _, context = certificate(tmp_path)
    with mail_server(started=context) as other:
        assert (await trouble(by_mail(other.port, tls="started"))).trouble == "cannot be reached by TLS"
        assert not other.letters and not post.letters


@pytest.mark.parametrize(("said", "final"), [("rcpt 550 no such box", True), ("rcpt 450 later", False), ("451 busy", False), ("554 no", True)])
async def test_what_may_pass_later_is_tried_again_and_what_will_not_is_not(post: Post, said: str, final: bool) -> None:
    post.says.append(said)
    assert (await trouble(by_mail(post.port))).final is final
    assert not post.letters


async def test_a_server_that_is_not_there() -> None:
    wrong = await trouble(by_mail(1))
    assert not wrong.final and wrong.trouble == "cannot be reached"


TO_DATA = (b"220 here\r\n", None, b"250 hello\r\n", None, b"250 ok\r\n", None, b"250 ok\r\n", None, b"354 go\r\n")


async def test_a_connection_that_drops_amid_the_letter_or_before_the_answer_is_tried_again() -> None:
    for steps in (TO_DATA, (*TO_DATA, None)):
        with raw_server(*steps) as (port, _):
            wrong = await trouble(by_mail(port))
            assert not wrong.final and wrong.trouble == "cannot be reached"


async def test_a_letter_that_was_taken_is_not_sent_twice_for_a_poor_farewell() -> None:
    with raw_server(*TO_DATA, None, b"250 taken\r\n", None, b"421 oops\r\n") as (port, _):
        await by_mail(port).send(NOTE)


async def test_a_server_that_drips_or_hangs_costs_a_bounded_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mail, "SECONDS", 1.0)
    for steps in ((b"220-slow\r\n", 0.3) * 60, (...,), (*TO_DATA, None, ...)):
        with raw_server(*steps) as (port, _):
            began = time.monotonic()
            wrong = await trouble(by_mail(port))
            assert time.monotonic() - began < 3 and not wrong.final and wrong.trouble in ("did not answer in time", "cannot be reached")


# -- webhook ----------------------------------------------------------------------------------------------------------


def test_the_signature_is_the_one_of_the_standard() -> None:
    """The example of the Standard Webhooks libraries."""
    body = b'{"test": 2432232314}'
    assert signature(SECRET, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, body) == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


async def test_a_webhook_is_signed_and_says_nothing_but_the_words(web: Web) -> None:
    hook = Webhook(web.url, SECRET, lambda: AT)
    await hook.send(replace(NOTE, to="Patient/0198"))
    await hook.close()
    ((path, headers, body),) = web.got
    assert path == "/notices" and headers["webhook-id"] == NOTE.id
    assert headers["webhook-timestamp"] == str(int(AT.timestamp()))
    assert headers["webhook-signature"] == signature(SECRET, NOTE.id, int(headers["webhook-timestamp"]), body)
    assert json.loads(body) == {
        "type": "notice", "timestamp": "2026-11-25T09:00:00Z",
        "data": {"recipient": "Patient/0198", "language": "en", "subject": SAID.subject, "text": SAID.text},
    }  # fmt: skip


@pytest.mark.parametrize(("status", "final"), [(400, True), (401, True), (410, True), (302, True), (308, True), (408, False), (429, False), (500, False), (503, False)])
async def test_an_answer_that_is_no_success(web: Web, status: int, final: bool) -> None:
    for way in (Webhook(web.url, SECRET, lambda: AT), TextCall(web.url)):
        web.says.append((status, {"Location": f"{web.url}/elsewhere", "Retry-After": "7"}))
        wrong = await trouble(way)
        assert wrong.final is final and (final or wrong.wait == 7) and str(status) in wrong.trouble
    assert [path for path, _, _ in web.got] == ["/notices", "/notices"], "a redirect is not followed"


@pytest.mark.parametrize("odd", ["²", "-1", "soon", "9" * 400, "Wed, 21 Oct 2026 07:28:00 GMT"])
async def test_a_retry_after_that_is_no_number_of_seconds_is_passed_over(web: Web, odd: str) -> None:
    web.says.append((503, {"Retry-After": odd}))
    wrong = await trouble(TextCall(web.url))
    assert not wrong.final and wrong.wait is None


async def test_a_web_server_that_is_away_drops_or_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    from fhir_gateway.tell import hook

    monkeypatch.setattr(hook, "SECONDS", 1.0)
    away = await trouble(Webhook("http://127.0.0.1:1/", SECRET, lambda: AT))
    assert not away.final and away.trouble == "cannot be reached"
    for steps, said in (((None,), "cannot be reached"), ((None, ...), "did not answer in time"), ((None, b"HTTP/1.1 2", ...), "did not answer in time")):
        with raw_server(*steps) as (port, _):
            began = time.monotonic()
            wrong = await trouble(TextCall(f"http://127.0.0.1:{port}/"))
            assert wrong.trouble == said and not wrong.final and time.monotonic() - began < 3


async def test_an_answer_without_an_end_is_not_read(web: Web) -> None:
    with raw_server(None, b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n" + b"x" * 100_000, ...) as (port, _):
        began = time.monotonic()
        await TextCall(f"http://127.0.0.1:{port}/").send(NOTE)
        assert time.monotonic() - began < channel.SECONDS / 2


async def test_the_environment_names_no_proxy_for_it(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    await TextCall(web.url).send(NOTE)
    assert len(web.got) == 1


# -- text messages ----------------------------------------------------------------------------------------------------


async def test_a_text_by_call_names_itself_so_that_a_repeat_is_known(web: Web) -> None:
    way = TextCall(web.url, "a-long-token-123")
    for _ in range(2):
        await way.send(replace(NOTE, to="+447700900123"))
    (_, first, body), (_, second, again) = web.got
    assert first["idempotency-key"] == second["idempotency-key"] == NOTE.id and body == again
    assert first["authorization"] == "Bearer a-long-token-123"
    assert json.loads(body)["to"] == "+447700900123" and json.loads(body)["text"] == SAID.text.strip()


async def test_texts_are_lines_of_a_file_that_only_its_owner_reads(tmp_path: Path) -> None:
    path = tmp_path / "texts.ndjson"
    way = TextFile(path)
    await asyncio.gather(*(way.send(replace(NOTE, id=f"tell-{n}", to="+447700900123")) for n in range(20)))
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert {line["id"] for line in lines} == {f"tell-{n}" for n in range(20)} and len(lines) == 20
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


async def test_a_line_that_a_crash_tore_spoils_no_other(tmp_path: Path) -> None:
    path = tmp_path / "texts.ndjson"
    path.write_bytes(b'{"id":"tell-1","to":"+4477')
    await TextFile(path).send(NOTE)
    torn, whole = path.read_bytes().splitlines()
    assert torn == b'{"id":"tell-1","to":"+4477' and json.loads(whole)["id"] == NOTE.id


async def test_a_file_that_cannot_be_written_is_tried_again(tmp_path: Path) -> None:
    wrong = await trouble(TextFile(tmp_path / "no-such-folder" / "texts.ndjson"))
    assert not wrong.final and wrong.trouble.startswith("cannot be written")


