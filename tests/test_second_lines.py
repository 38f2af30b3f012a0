"""Rules of sign-in that stand behind another rule, so that no ordinary request shows them: each by what would happen without it."""

from __future__ import annotations

import asyncio
import base64
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import argon2
import pytest

from fhir_gateway.auth import clients, external, held, jose, keys, keysets, people, tokens
from fhir_gateway.auth.jose import Bad
from fhir_gateway.auth.tokens import Tokens
from fhir_gateway.domain.types import Keep

from .test_oauth import AT, BASE, EC, HERE, OTHER, House, granted, house, public

__all__ = ["house"]


@pytest.mark.parametrize("name", ["ada", "nobody-of-this-name"])
async def test_a_name_that_nobody_has_costs_as_much_as_a_wrong_password(house: House, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    hashed = list[str]()
    verify = argon2.PasswordHasher.verify

    def counted(self: argon2.PasswordHasher, hash: str, password: str) -> bool:
        hashed.append(hash)
        return verify(self, hash, password)

    monkeypatch.setattr(argon2.PasswordHasher, "verify", counted)
    assert await people.sign_in(house.store, name, "not the password", house.at) is None
    known = await people.find(house.store, "ada", house.at)
    assert known is not None and len(hashed) == 1
    assert hashed[0].rsplit("$", 2)[0] == known.password_hash.rsplit("$", 2)[0], "of the same cost"


async def test_a_revocation_is_remembered_for_as_long_as_the_token_would_be_believed(house: House) -> None:
    first = await granted(house)
    caller = await house.tokens.verify(first["access_token"], house.at)
    other = await house.tokens.issue(replace(caller, jti="not-revoked", grant=""), house.at)
    revoked = await house.tokens.issue(replace(caller, jti="revoked", grant=""), house.at)
    await house.tokens.revoke({"revoked": caller.expires})
    house.at = caller.expires + timedelta(seconds=59)  # within the leeway for other clocks
    elsewhere = Tokens(house.store, HERE, BASE)  # another process, that has seen nothing before
    assert await elsewhere.verify(other, house.at)
    with pytest.raises(Exception, match="Sign in again"):
        await elsewhere.verify(revoked, house.at)


def test_a_second_spelling_of_a_signature_is_refused() -> None:
    key = keys._read(keys._new(AT, "ES256")[1])
    token = tokens.sign(key, "at+jwt", {"sub": "ada"})
    head, body, signature = token.split(".")
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    raw = base64.urlsafe_b64decode(signature + "==")
    others = [s for c in letters if (s := signature[:-1] + c) != signature and base64.urlsafe_b64decode(s + "==") == raw]
    assert jose.open_signed(token, [key.public]).claims == {"sub": "ada"} and others
    for other in others:
        with pytest.raises(Bad):
            jose.open_signed(f"{head}.{body}.{other}", [key.public])


def test_a_set_where_one_name_has_two_keys_is_refused() -> None:
    one, two = (k.as_dict(private=False) | {"kid": "same"} for k in (EC, OTHER))
    assert len(jose.public_keys({"keys": [one, two | {"kid": "other"}]})) == 2
    with pytest.raises(Bad, match="same kid"):
        jose.public_keys({"keys": [one, two]})


@pytest.mark.parametrize("user", ["Patient/a\n", "Patient/a/b", "Patient/", "Patient/a b", "xPatient/a", "Patient/a#b", f"Patient/{'a' * 65}"])
def test_a_user_is_one_whole_reference(user: str) -> None:
    assert tokens.kind_of("Patient/a-1.b") == "patient"
    with pytest.raises(Bad):
        tokens.kind_of(user)


# -- grants -----------------------------------------------------------------------------------------------------------


async def test_who_loses_the_race_to_refresh_ends_the_grant_for_everybody(house: House) -> None:
    first = await granted(house)
    answers = await asyncio.gather(*(house.refresh(first["refresh_token"]) for _ in range(6)))
    won = [a.json() for a in answers if a.status_code == 200]
    assert len(won) <= 1 and {a.json()["error"] for a in answers if a.status_code != 200} == {"invalid_grant"}
    assert not any([await house.works(a["access_token"]) for a in [first, *won]])
    for after in won:
        assert (await house.refresh(after["refresh_token"])).status_code == 400


class Meanwhile:
    """A store in which something happens just before the first commit that has such an operation."""

    def __init__(self, store: Any, when: str, does: Any) -> None:
        self.store, self.when, self.does = store, when, does

    def __getattr__(self, name: str) -> Any:
        return getattr(self.store, name)

    async def commit(self, *ops: Any) -> Any:
        if self.does and any(isinstance(o, Keep) and o.kind == self.when for o in ops):
            does, self.does = self.does, None
            await does()
        return await self.store.commit(*ops)


async def test_a_lost_race_alone_ends_the_grant(house: House) -> None:
    """Not only the second use that finds the token used: the one that came to commit too late, too."""
    first = await granted(house)
    answers: list[Any] = []

    async def other() -> None:
        answers.append(await house.refresh(first["refresh_token"]))

    late = House(Meanwhile(house.store, "refresh", other), house.at, house.ids)
    assert (await late.refresh(first["refresh_token"])).json()["error"] == "invalid_grant"
    (won,) = answers
    assert won.status_code == 200 and not await house.works(won.json()["access_token"])


async def test_a_grant_that_ends_while_it_is_refreshed_gives_nothing(house: House) -> None:
    first = await granted(house)

    async def stopped() -> None:
        for name in await held.of_person(house.store, "ada", house.at):
            await house.store.commit(*held.ending(name, house.at))

    late = House(Meanwhile(house.store, "refresh", stopped), house.at, house.ids)
    assert (await late.refresh(first["refresh_token"])).json()["error"] == "invalid_grant"
    assert await held.of_person(house.store, "ada", house.at) == {}, "and is not there again"


@pytest.mark.parametrize("scope, there", [("openid fhirUser patient/*.rs", True), ("openid patient/*.rs", False)])
async def test_who_the_user_is_here_is_told_to_who_asked_for_it(house: House, scope: str, there: bool) -> None:
    await house.sign_in()
    answer = (await house.redeem((await house.approve(scope=scope))["code"])).json()
    assert ("fhirUser" in jose.peek(answer["id_token"])[1]) is there


async def test_a_name_of_an_assertion_is_used_once_by_each_client(house: House) -> None:
    await clients.add(house.store, clients.Client("lab", "system", "Lab", "system/*.rs", jwks=public(OTHER)))
    for client, key in (("hospital", EC), ("lab", OTHER)):
        answer = await house.system(house.assertion(key, iss=client, sub=client, jti="one-name"))
        assert answer.status_code == 200, answer.text
        again = await house.system(house.assertion(key, iss=client, sub=client, jti="one-name"))
        assert again.status_code == 401 and "used before" in again.text


async def test_a_token_of_the_longest_life_outlives_the_change_of_keys(house: House) -> None:
    await house.tokens.refresh(house.at)
    caller = replace(await house.tokens.verify((await granted(house))["access_token"], house.at), expires=house.at + timedelta(hours=1))
    token = await house.tokens.issue(caller, house.at)
    await keys.rotate(house.store, house.at)
    house.at += timedelta(minutes=60, seconds=30)
    assert await Tokens(house.store, HERE, BASE).verify(token, house.at)


# -- what is fetched --------------------------------------------------------------------------------------------------


@contextmanager
def answering(body: bytes) -> Iterator[str]:
    """The address of a server that says this to whoever asks."""

    class Says(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Says)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize("way, most", [("keys of a client", 256 * 1024), ("issuer", 1024 * 1024)])
async def test_an_answer_that_is_too_large_is_not_read(way: str, most: int) -> None:
    for size in (most, most + 1):
        body = json.dumps({"keys": []}).encode().ljust(size)
        with answering(body) as address:
            asked = keysets.fetch(f"{address}/jwks") if way == "keys of a client" else external.fetch_from(address)(f"{address}/jwks")
            if size > most:
                with pytest.raises(Bad, match="more than"):
                    await asked
            else:
                assert await asked in (body, (200, body))
