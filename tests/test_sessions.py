"""Page sessions and the accounts behind them."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from fhir_gateway.auth import accounts, held, oauth, people, sessions
from fhir_gateway.auth.own import OwnSignIn
from fhir_gateway.auth.sessions import Sessions
from fhir_gateway.auth.tokens import Tokens
from fhir_gateway.domain.emergencies import FRESH
from fhir_gateway.domain.problem import Problem
from fhir_gateway.domain.types import Keep
from fhir_gateway.store import sqlite

from .conftest import ROOT

AT = datetime(2036, 6, 1, 12, 0, tzinfo=UTC)  # ahead of the machine: a store forgets what has ended by its clock


class Visitor:
    """A browser: keeps the cookies it is given."""

    def __init__(self) -> None:
        self.cookies: dict[str, str] = {}

    def take(self, set_cookies: list[str] | None) -> Visitor:
        for line in set_cookies or []:
            name, _, rest = line.partition("=")
            self.cookies[name] = rest.split(";")[0]
            if "Max-Age=0" in line:
                del self.cookies[name]
        return self


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Any]:
    store = await sqlite.open(tmp_path / "gateway.sqlite")
    await people.add(store, people.Account("Ada", "Patient/a", "Ada"), "correct horse")
    await people.add(store, people.Account("ada b", "Practitioner/b", "Ada B"), "correct horse")
    turned, ids = SimpleNamespace(at=AT), count()
    opened = Sessions(store, lambda: turned.at, lambda: f"id-{next(ids)}", "http://127.0.0.1:8080", https=False)
    yield SimpleNamespace(sessions=opened, turned=turned, store=store)
    await store.close()


def everything_in(folder: Path) -> bytes:
    found = b"".join(file.read_bytes() for file in folder.iterdir())
    assert b"argon2id" in found  # this is where the store writes
    return found


async def enter(desk: Any, who: str = "ada", visitor: Visitor | None = None) -> Visitor:
    visitor = visitor or Visitor()
    return visitor.take(await desk.sessions.sign_in(visitor, who, "correct horse"))


async def test_a_session_says_who_it_is_until_sign_out(desk: Any) -> None:
    visitor = await enter(desk)
    session = await desk.sessions.session(visitor.cookies)
    assert (session.caller.fhir_user, session.caller.kind, session.caller.name) == ("Patient/a", "patient", "Ada")
    assert session.caller.signed_in == AT
    stolen = dict(visitor.cookies)
    visitor.take(await desk.sessions.end(visitor))
    assert visitor.cookies == {} and await desk.sessions.session(stolen) is None


async def test_the_store_holds_no_cookie(desk: Any, tmp_path: Path) -> None:
    visitor = await enter(desk)
    assert visitor.cookies["session"].encode() not in everything_in(tmp_path)


async def test_nobody_else_is_anybody(desk: Any) -> None:
    for cookie in ("", "x", "0" * 64, "a" * 500, "é" * 64, "session"):
        assert await desk.sessions.session({"session": cookie}) is None
    assert await desk.sessions.session({}) is None


async def test_every_wrong_password_is_written_down_also_one_that_came_too_soon(desk: Any) -> None:
    visitor = await enter(desk)
    own = OwnSignIn(desk.store, desk.sessions, Tokens(desk.store, "http://127.0.0.1:8080/fhir", "http://127.0.0.1:8080"), lambda: desk.turned.at, desk.sessions.new_id)
    tries = (
        lambda: desk.sessions.sign_in(visitor, "ada", "wrong"), lambda: desk.sessions.confirm(visitor, "wrong", []),
        lambda: own.change_password(visitor, "wrong", "quite another horse"), lambda: own.first_password(visitor, "ada", "wrong", "quite another horse"),
    )  # fmt: skip
    throttled = 0
    for n in range(12):
        try:
            assert await tries[n % 4]() is None
        except Problem as p:
            throttled += p.kind == "throttled"
    rows = [n for n in await desk.store.notes(patient="Patient/a") if n.what == "sign-in" and not n.allowed]
    assert throttled == 7 and sorted(n.detail for n in rows) == [""] * 5 + ["too many tries"] * 7 and {n.user for n in rows} == {"Patient/a"}
    for _ in range(8):
        with suppress(Problem):
            await desk.sessions.sign_in(visitor, "nobody", "wrong")
    assert sorted(n.detail for n in await desk.store.notes() if not n.user) == [""] * 5 + ["too many tries"] * 3


async def test_a_session_ends_when_idle_and_in_the_end_always(desk: Any) -> None:
    visitor = await enter(desk)
    desk.turned.at = AT + timedelta(minutes=29)
    assert await desk.sessions.session(visitor.cookies)
    desk.turned.at = AT + timedelta(minutes=58)
    assert await desk.sessions.session(visitor.cookies)
    desk.turned.at += sessions.IDLE
    assert await desk.sessions.session(visitor.cookies) is None
    visitor = await enter(desk)
    begun = desk.turned.at
    while desk.turned.at < begun + sessions.LONGEST:
        assert await desk.sessions.session(visitor.cookies)
        desk.turned.at += timedelta(minutes=20)
    assert await desk.sessions.session(visitor.cookies) is None


async def test_signing_in_again_gives_a_new_id_and_ends_the_old_session(desk: Any) -> None:
    visitor = await enter(desk)
    old = dict(visitor.cookies)
    await enter(desk, "ada b", visitor)
    assert visitor.cookies != old and await desk.sessions.session(old) is None
    assert (await desk.sessions.session(visitor.cookies)).caller.fhir_user == "Practitioner/b"


async def test_a_planted_cookie_does_not_become_a_session(desk: Any) -> None:
    planted = Visitor()
    planted.cookies["session"] = "f" * 64
    await enter(desk, visitor=planted)
    assert planted.cookies["session"] != "f" * 64
    assert await desk.sessions.session({"session": "f" * 64}) is None


async def test_sign_out_everywhere_ends_every_session_of_this_person_only(desk: Any) -> None:
    here, there, other = await enter(desk), await enter(desk), await enter(desk, "ada b")
    assert await desk.sessions.end_everywhere("ada") == 2
    assert await desk.sessions.session(here.cookies) is None and await desk.sessions.session(there.cookies) is None
    assert await desk.sessions.session(other.cookies)


# -- forms ------------------------------------------------------------------------------------------------------------


async def test_a_form_token_works_in_its_own_session_only(desk: Any) -> None:
    ada, other = await enter(desk), await enter(desk, "ada b")
    token = await desk.sessions.form_token(ada, [])
    assert await desk.sessions.form_token_ok(ada, token)
    for visitor in (other, Visitor()):
        assert not await desk.sessions.form_token_ok(visitor, token)
    for sent in ("", token[:-1], "é", "0" * 64):
        assert not await desk.sessions.form_token_ok(ada, sent)
        assert not await desk.sessions.form_token_ok(Visitor(), sent)
    ada.take(await desk.sessions.end(ada))
    await enter(desk, visitor=ada)
    assert not await desk.sessions.form_token_ok(ada, token)


async def test_a_visitor_who_is_not_signed_in_has_a_form_token_too(desk: Any) -> None:
    visitor, cookies = Visitor(), []
    token = await desk.sessions.form_token(visitor, cookies)
    assert len(cookies) == 1
    visitor.take(cookies)
    assert await desk.sessions.form_token_ok(visitor, token)
    assert await desk.sessions.form_token(visitor, cookies) == token and len(cookies) == 1
    await enter(desk, visitor=visitor)
    assert not await desk.sessions.form_token_ok(visitor, token)  # the one from before signing in is spent


async def test_cookies_are_shut_to_scripts_other_sites_and_plain_http(desk: Any) -> None:
    desk.sessions.https = True
    visitor = Visitor()
    (line, gone) = await desk.sessions.sign_in(visitor, "ada", "correct horse")
    assert line.startswith("__Host-session=") and line.endswith("; Path=/; HttpOnly; SameSite=Lax; Secure")
    assert gone.endswith("; Secure; Max-Age=0")
    assert await desk.sessions.session(visitor.take([line]).cookies)
    assert await desk.sessions.session({"session": visitor.cookies["__Host-session"]}) is None


# -- passwords --------------------------------------------------------------------------------------------------------


async def test_a_wrong_password_an_unknown_name_and_a_closed_account_are_one_answer(desk: Any) -> None:
    assert await desk.sessions.sign_in(Visitor(), "ada", "wrong") is None
    assert await desk.sessions.sign_in(Visitor(), "nobody", "correct horse") is None
    await accounts.close(desk.store, "ada b", accounts.Act(AT, lambda: "close"))
    assert await desk.sessions.sign_in(Visitor(), "ada b", "correct horse") is None
    assert await desk.sessions.sign_in(Visitor(), "ADA ", "correct horse")  # one spelling of a name


async def failures(desk: Any, who: str, most: int) -> int:
    """How many wrong guesses are looked at before this account has to wait."""
    for n in range(most):
        try:
            assert await people.sign_in(desk.store, who, "wrong", desk.turned.at) is None
        except Problem as p:
            assert p.status == 429 and 0 < int(p.headers["Retry-After"]) <= 900
            return n
    return most


@pytest.mark.parametrize("who", ["ada", "nobody"])
async def test_guessing_is_slowed_down_and_the_right_password_works_after_the_wait(desk: Any, who: str) -> None:
    assert await failures(desk, who, 20) == people.FREE_FAILURES
    with pytest.raises(Problem) as waits:
        await people.sign_in(desk.store, who, "correct horse", AT)
    assert await people.sign_in(desk.store, "ada b", "correct horse", AT)  # nobody else waits
    desk.turned.at += timedelta(seconds=int(waits.value.headers["Retry-After"]))
    if who == "ada":
        assert await people.sign_in(desk.store, who, "correct horse", desk.turned.at)
        assert await failures(desk, who, 20) == people.FREE_FAILURES  # counted from the start again


async def test_each_further_failure_waits_twice_as_long_up_to_a_quarter_of_an_hour(desk: Any) -> None:
    waits = []
    for _ in range(18):
        try:
            await people.sign_in(desk.store, "ada", "wrong", desk.turned.at)
        except Problem as p:
            waits.append(int(p.headers["Retry-After"]))
            desk.turned.at += timedelta(seconds=waits[-1])
            await people.sign_in(desk.store, "ada", "wrong", desk.turned.at)
    assert waits == sorted(waits) and waits[:3] == [3, 5, 9] and waits[-1] == 901


async def test_guesses_at_the_same_moment_do_not_slip_past_the_count(desk: Any) -> None:
    guesses = [people.sign_in(desk.store, "ada", f"wrong {n}", AT) for n in range(20)]
    answers = await asyncio.gather(*guesses, return_exceptions=True)
    assert sum(a is None for a in answers) == people.FREE_FAILURES
    assert all(a is None or isinstance(a, Problem) for a in answers)


async def test_the_store_holds_no_password(desk: Any, tmp_path: Path) -> None:
    account = await people.find(desk.store, "ada", AT)
    assert account and account.password_hash.startswith("$argon2id$")
    assert b"correct horse" not in everything_in(tmp_path)


async def test_an_account_is_somebody_with_a_real_password(desk: Any) -> None:
    for account, password in (
        (people.Account("x", "Patient/x"), "short"),
        (people.Account("x", "Patient/x"), "x" * 1_001),
        (people.Account("x", "Nobody/x"), "long enough"),
        (people.Account("x", "Patient/x", roles=("god",)), "long enough"),
    ):
        with pytest.raises(ValueError):
            await people.add(desk.store, account, password)


@pytest.mark.parametrize(
    "password",
    ["allsmallletters", "ALLCAPITALS", "90210736", "        ", "a b c d e", "\"';--<>&%\\`$", "пароль-мой", "كلمة-السر", "🌻🌻🌻🌻🌻🌻🌻🌻", "pass\tword\u00a0x", "x" * 1_000],
)  # fmt: skip
async def test_a_password_is_of_any_characters_and_of_no_kind_in_particular(desk: Any, password: str) -> None:
    """No letter, digit or sign must be in it, none may not; every one counts (ASVS 6.2.5, 6.2.8)."""
    await people.add(desk.store, people.Account("any", "Patient/any"), password)
    assert await people.sign_in(desk.store, "any", password, desk.turned.at) is not None
    for other in (password.swapcase(), password + " ", password[:-1]):
        if other != password:
            assert await people.sign_in(desk.store, "any", other, desk.turned.at) is None


async def test_the_page_says_how_long_a_sign_in_lasts() -> None:
    page = (ROOT / "docs" / "signing-in.md").read_text()
    rows = dict(re.findall(r"^\| (.+?) \| (.*?) \|", page.split("## How long it lasts")[1].split("\n## ")[0], re.M))
    whole = {name: line for line in page.splitlines() for name in rows if line.startswith(f"| {name} |")}
    assert whole["a session of the pages"] == f"| a session of the pages | {minutes(sessions.IDLE)} minutes | {minutes(sessions.LONGEST) // 60} hours |"
    assert rows["a refresh token, `offline_access`"] == f"{oauth.OFFLINE.days} days" and rows["a code, a launch"] == f"{minutes(oauth.CODE_LIFE)} minutes"
    assert rows["a refresh token, `online_access`"] == f"{minutes(oauth.ONLINE) // 60} hours" and oauth.CODE_LIFE == oauth.LAUNCH_LIFE
    assert rows["an access token of the built-in issuer"] == f"{minutes(next(f.default for f in fields(oauth.OAuth) if f.name == 'life'))} minutes"
    assert rows["having proved it for what needs it freshly (below)"] == f"{minutes(FRESH)} minutes"


def minutes(life: timedelta) -> int:
    return int(life.total_seconds() // 60)


async def test_whoever_is_signed_in_proves_it_again(desk: Any) -> None:
    visitor = await enter(desk, "ada b")
    desk.turned.at += timedelta(minutes=20)
    assert await desk.sessions.confirm(visitor, "not this one", []) is None
    assert await desk.sessions.confirm(Visitor(), "correct horse", []) is None
    caller = await desk.sessions.confirm(visitor, "correct horse", [])
    assert caller.fhir_user == "Practitioner/b" and caller.signed_in == desk.turned.at
    trail = await desk.store.notes(user="Practitioner/b")
    assert [n.allowed for n in trail if n.what == "sign-in"] == [True, False, True]


async def test_proving_it_again_gives_a_new_id_that_lives_no_longer_and_ends_what_the_first_one_holds(desk: Any) -> None:
    """ASVS 5.0 V7.2.4. An app that goes on no longer than the session was let in under the id before."""
    visitor = await enter(desk, "ada b")
    begun = await desk.sessions.session(visitor.cookies)
    grant = held.Grant("app", "ada b", "online_access", None, AT, AT + timedelta(hours=12), AT, begun.first)
    await desk.store.commit(*held.keeping(grant, "g1"))
    for _ in range(2):
        old, cookies = dict(visitor.cookies), list[str]()
        desk.turned.at += timedelta(minutes=20)
        assert await desk.sessions.confirm(visitor, "not this one", cookies) is None and cookies == []
        assert await desk.sessions.confirm(visitor, "correct horse", cookies) is not None
        visitor.take(cookies)
        assert visitor.cookies["session"] != old["session"] and await desk.sessions.session(old) is None
        now = await desk.sessions.session(visitor.cookies)
        assert (now.caller, now.started, now.first) == (begun.caller, AT, begun.key) and now.key != begun.key
        assert list(await desk.sessions.of("ada b")) == [now.key]
        assert await desk.sessions.confirm(SimpleNamespace(cookies=old), "correct horse", []) is None
    before = dict(visitor.cookies)
    visitor.take(await desk.sessions.end(visitor))
    assert await desk.sessions.session(before) is None and await held.find(desk.store, "g1", desk.turned.at) is None


async def test_signing_out_everywhere_ends_sessions_under_a_new_id_and_their_apps(desk: Any) -> None:
    visitor, cookies = await enter(desk, "ada b"), list[str]()
    begun = await desk.sessions.session(visitor.cookies)
    await desk.store.commit(*held.keeping(held.Grant("app", "ada b", "online_access", None, AT, AT + timedelta(hours=12), AT, begun.first), "g1"))
    await desk.sessions.confirm(visitor, "correct horse", cookies)
    visitor.take(cookies)
    assert await desk.sessions.end_everywhere("ada b") == 1
    assert await desk.sessions.session(visitor.cookies) is None and await held.find(desk.store, "g1", desk.turned.at) is None


async def test_a_role_for_emergencies_ends_with_the_account_s(desk: Any) -> None:
    ada = people.Account("ada b", "Practitioner/b", "Ada B", roles=("clinician", "break-glass"))
    await people.add(desk.store, ada, "correct horse")
    session = await desk.sessions.session((await enter(desk, "ada b")).cookies)
    assert (await people.as_now(desk.store, session.caller, desk.turned.at)).roles == {"clinician", "break-glass"}
    await people.add(desk.store, replace(ada, roles=("clinician",)), "correct horse")
    assert (await people.as_now(desk.store, session.caller, desk.turned.at)).roles == {"clinician"}
    await people.add(desk.store, replace(ada, roles=("clinician", "volunteer")), "correct horse")
    assert (await people.as_now(desk.store, session.caller, desk.turned.at)).roles == {"clinician", "volunteer"}, "what restricts them holds at once"
    await accounts.close(desk.store, "ada b", accounts.Act(desk.turned.at, lambda: "close"))
    with pytest.raises(Problem) as refused:
        await people.as_now(desk.store, session.caller, desk.turned.at)
    assert refused.value.status == 401


class InBetween:
    """A store in which `first` is done just before a session is written: as a process beside this one may."""

    def __init__(self, store: Any, first: Any) -> None:
        self.store, self.first = store, first

    def __getattr__(self, name: str) -> Any:
        return getattr(self.store, name)

    async def commit(self, *ops: Any) -> None:
        if self.first is not None and any(isinstance(op, Keep) and op.kind == sessions.SESSION for op in ops):
            first, self.first = self.first, None
            await first
        await self.store.commit(*ops)


@pytest.mark.parametrize("microsecond", [0, 400_000, 999_999])
async def test_a_sign_in_by_the_old_password_does_not_outlive_a_change_of_the_same_second(desk: Any, microsecond: int) -> None:
    desk.turned.at = AT.replace(microsecond=microsecond)
    change = accounts.new_password(desk.store, "ada", "quite another horse", accounts.Act(AT, lambda: "change", "Patient/a", "Ada"))
    beside = replace(desk.sessions, store=InBetween(desk.store, change))
    late = Visitor()
    late.take(await beside.sign_in(late, "ada", "correct horse"))
    session = await desk.sessions.session(late.cookies)
    with pytest.raises(Problem) as refused:
        await people.as_now(desk.store, session.caller, desk.turned.at)
    assert refused.value.status == 401
    new = Visitor()
    new.take(await desk.sessions.sign_in(new, "ada", "quite another horse"))
    session = await desk.sessions.session(new.cookies)
    assert await people.as_now(desk.store, session.caller, desk.turned.at) == session.caller, "whoever knows the new one is in at once"
    proven = await desk.sessions.confirm(new, "quite another horse", [])
    assert await people.as_now(desk.store, proven, desk.turned.at) == proven
