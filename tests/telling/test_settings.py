"""What must not be set: unsafe ways of telling are refused in one sentence, which repeats no secret."""

from __future__ import annotations

from base64 import b64encode
from typing import Any

import pytest

from fhir_gateway.settings import Refused, load

GOOD = "whsec_" + b64encode(bytes(range(7, 39))).decode()


def refused(**given: Any) -> str:
    with pytest.raises(Refused) as wrong:
        load(**given)
    said = str(wrong.value)
    assert said.endswith(".") and "\n" not in said
    assert all(len(v) < 9 or v not in said for k, v in given.items() if "secret" in k or "password" in k or "token" in k)
    return said


@pytest.mark.parametrize("smtp", ["mail.example:25", "http://mail.example", "smtp://", "smtp://u:p@mail.example", "smtps://mail.example:no", "smtp://mail.example/x"])
def test_a_mail_server_is_an_smtp_address(smtp: str) -> None:
    assert "GATEWAY_TELL_SMTP" in refused(tell_smtp=smtp, tell_from="plans@gateway.example")


@pytest.mark.parametrize("more", [
    {}, {"tell_from": "plans"}, {"tell_from": "plans@gateway.example", "tell_smtp_user": "gateway"},
    {"tell_from": "plans@gateway.example", "tell_smtp_user": "gateway", "tell_smtp_password": "changeme"},
    {"tell_from": "plans@gateway.example", "tell_smtp_authority": "/no/such/file"},
])  # fmt: skip
def test_a_mail_server_needs_a_sender_and_a_whole_sign_in(more: dict[str, str]) -> None:
    assert "GATEWAY_TELL_" in refused(tell_smtp="smtps://mail.example", **more)


@pytest.mark.parametrize("url", ["http://hook.example/x", "https://u:p@hook.example", "ftp://hook.example", "hook", "https://"])
def test_a_webhook_goes_by_https(url: str) -> None:
    assert "https" in refused(tell_webhook=url, tell_webhook_secret=GOOD)


@pytest.mark.parametrize("secret", ["", "whsec_", "whsec_c2hvcnQ=", "secret", GOOD.removeprefix("whsec_"), "whsec_" + b64encode(b"a" * 32).decode(), "whsec_!"])
def test_a_webhook_is_signed_with_a_secret_that_nobody_guesses(secret: str) -> None:
    assert "GATEWAY_TELL_WEBHOOK_SECRET" in refused(tell_webhook="https://hook.example/x", tell_webhook_secret=secret)


@pytest.mark.parametrize("sms", ["http://sms.example", "sms.example", "file:", "file: ", "https://u:p@sms.example"])
def test_text_messages_go_to_a_file_or_by_https(sms: str) -> None:
    assert "GATEWAY_TELL_SMS" in refused(tell_sms=sms)
    assert "GATEWAY_TELL_SMS_TOKEN" in refused(tell_sms="https://sms.example/send", tell_sms_token="password")


def test_what_is_safe_is_taken() -> None:
    load(tell_smtp="smtp://mail.example:587", tell_from="plans@gateway.example", tell_smtp_user="gateway", tell_smtp_password="l0ng-and-random-1")
    load(tell_webhook="https://hook.example/x", tell_webhook_secret=GOOD, tell_sms="file:/var/spool/texts.ndjson")
    load(tell_webhook="http://127.0.0.1:9/x", tell_webhook_secret=GOOD, tell_sms="http://localhost:9/", tell_smtp="smtp://127.0.0.1", tell_from="a@b.example")
