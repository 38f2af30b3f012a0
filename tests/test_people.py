"""Accounts by command, as an operator's script uses them: who may have one, and what ends when it changes."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from fhir_gateway.__main__ import main
from fhir_gateway.auth import accounts, held, people
from fhir_gateway.auth.accounts import Act
from fhir_gateway.auth.sessions import Sessions
from fhir_gateway.domain.problem import Problem
from fhir_gateway.store import sqlite
from tests.web.test_doors import Visitor

from .conftest import Gateway

GIVEN, PASSWORD = "as the operator made it up", "four words not together"
AT = datetime(2036, 6, 1, 12, 0, tzinfo=UTC)  # ahead of the machine: a store forgets what has ended by its clock


FIRST = "/sign-in/first-password"


def person(demo: Gateway, who: str) -> str:
    return str(demo.persona(who)["fhirUser"])


def given(demo: Gateway, name: str, *more: str) -> dict[str, Any]:
    (line,) = demo.lines("people", "add", name, *more, "--password-file", "-", "--json", stdin=f"{GIVEN}\n")
    return line


def opened(demo: Gateway, name: str, *more: str) -> dict[str, Any]:
    """An account whose owner has chosen their own password."""
    line = given(demo, name, *more)
    assert choosing(demo, name).send(FIRST, username=name, old=GIVEN, new=PASSWORD, again=PASSWORD).url.path != FIRST
    return line


def choosing(demo: Gateway, name: str, password: str = GIVEN) -> Visitor:
    """Somebody at their first sign-in."""
    v = Visitor(demo)
    v.sign_in(name, password)
    assert "Choose your own password" in v.words()
    return v


def entered(demo: Gateway, name: str) -> Visitor:
    v = Visitor(demo)
    v.sign_in(name, PASSWORD)
    return v


def inside(v: Visitor) -> bool:
    return v.http.get("/home").url.path != "/sign-in"


def test_a_role_is_given_works_and_ends_at_once_when_it_is_taken(demo: Gateway) -> None:
    tom = person(demo, "social-worker")
    made = opened(demo, "tom-two", "--who", tom, "--organisation", "926", "--assurance", "AAL2")
    assert made == {
        "username": "tom-two", "name": "Tom Reed", "fhirUser": tom, "organisation": made["organisation"], "patient": None, "roles": [],
        "purpose": "TREAT", "assurance": "AAL2", "closed": False,
    }  # fmt: skip
    plain = entered(demo, "tom-two")
    assert plain.get("/privacy").status_code == 403
    assert demo.lines("people", "change", "tom-two", "--give", "privacy-officer", "--json")[0]["roles"] == ["privacy-officer"]
    assert not inside(plain), "who they were when they signed in holds no more"
    officer = entered(demo, "tom-two")
    assert officer.get("/privacy").status_code == 200
    assert demo.command("people", "change", "tom-two", "--take", "privacy-officer").returncode == 0
    assert not inside(officer)
    again = entered(demo, "tom-two")
    assert again.get("/privacy").status_code == 403
    assert demo.command("people", "close", "tom-two").returncode == 0
    assert not inside(again) and not inside(entered(demo, "tom-two"))
    assert demo.command("people", "reopen", "tom-two").returncode == 0
    assert inside(entered(demo, "tom-two")) and not inside(again)
    listed = {p["username"]: p for p in demo.lines("people", "list", "--json")}
    assert listed["tom-two"]["roles"] == [] and listed["privacy-officer"]["roles"] == ["privacy-officer"]
    assert all("password" not in key for p in listed.values() for key in p)


def test_a_new_password_ends_what_the_old_one_opened(demo: Gateway, tmp_path: Path) -> None:
    opened(demo, "leila-two", "--who", person(demo, "proxy"))
    before = entered(demo, "leila-two")
    file = tmp_path / "password"
    file.write_text("another four words here\nand a second line\n")
    assert demo.command("people", "password", "leila-two", "--password-file", str(file)).returncode == 0
    assert not inside(before) and not inside(entered(demo, "leila-two"))
    v = choosing(demo, "leila-two", "another four words here")
    assert not inside(v)
    assert v.sign_in("leila-two", "another four words here").status_code == 200
    v.send(FIRST, username="leila-two", old="another four words here", new=PASSWORD, again=PASSWORD)
    assert inside(v) and inside(entered(demo, "leila-two"))


def test_a_password_that_somebody_was_given_opens_nothing_before_they_choose_their_own(demo: Gateway) -> None:
    given(demo, "tom-three", "--who", person(demo, "social-worker"), "--organisation", "926")
    v = choosing(demo, "tom-three")
    assert v.page.count('type="password"') == 3 and GIVEN not in v.page
    for place in ("/home", "/team", "/account", "/account/password", "/account/apps/open"):
        assert v.http.get(place).url.path == "/sign-in", "nobody is signed in yet"
    assert not any("session" in name for name in v.http.cookies), "there is no session to use elsewhere"
    wrong = {
        "do not go together": {"old": "not this one at all", "new": PASSWORD, "again": PASSWORD},
        "that you were given. Take another": {"old": GIVEN, "new": GIVEN, "again": GIVEN},
        "easy to guess": {"old": GIVEN, "new": "tom-three1", "again": "tom-three1"},
        "8 to 1,000": {"old": GIVEN, "new": "short", "again": "short"},
        "not the same": {"old": GIVEN, "new": PASSWORD, "again": "x"},
        "go together. Check": {"username": "gp", "old": "demo-only-password", "new": PASSWORD, "again": PASSWORD},
    }
    for said, fields in wrong.items():
        v.sign_in("tom-three", GIVEN)
        assert 'value="tom-three"' in v.page
        assert v.send(FIRST, **({"username": "tom-three"} | fields)).status_code == 400 and said in v.words() and "Mistake:" in v.page
        assert GIVEN not in v.page and PASSWORD not in v.page and not inside(v)
    stolen = Visitor(demo)
    stolen.get("/sign-in")
    assert stolen.http.post(FIRST, data={"username": "tom-three", "old": GIVEN, "new": PASSWORD, "again": PASSWORD}).status_code == 403, "not our form"
    v.sign_in("tom-three", GIVEN)
    assert v.send(FIRST, username="tom-three", old=GIVEN, new=PASSWORD, again=PASSWORD).url.path == "/team"
    assert inside(v) and inside(entered(demo, "tom-three"))
    late = Visitor(demo)
    assert late.sign_in("tom-three", GIVEN).status_code == 401, "it has ended"
    v.get("/account/password")
    v.send("/account/password", old=PASSWORD, new="own words changed again", again="own words changed again")
    again = Visitor(demo)
    again.sign_in("tom-three", "own words changed again")
    assert inside(again), "who changes their own is asked for no other"


def test_an_app_that_sent_somebody_to_their_first_sign_in_gets_them_back(demo: Gateway) -> None:
    given(demo, "tom-four", "--who", person(demo, "social-worker"), "--organisation", "926")
    v = Visitor(demo)
    v.get("/sign-in?next=%2Faccount")
    v.send("/sign-in", username="tom-four", password=GIVEN)
    assert v.send(FIRST, username="tom-four", old=GIVEN, new=PASSWORD, again=PASSWORD).url.path == "/account"


def test_the_person_reads_that_a_sign_in_to_their_record_was_opened(demo: Gateway) -> None:
    opened(demo, "amina-two", "--who", f"Patient/{demo.patient}")
    me = Visitor(demo)
    me.sign_in("patient")
    me.get("/my-plan/who-looked")
    assert "Those who run this service" in me.words() and "Opened a sign-in to" in me.words()


WRONG = [
    (("add", "x", "--who", "Practitioner/none", "--organisation", "926"), "There is no Practitioner/none here"),
    (("add", "x", "--who", "Organization/1"), "must be Practitioner/…"),
    (("add", "x", "--who", "TOM"), "Say for which organisation"),
    (("add", "x", "--who", "TOM", "--organisation", "ZZ9"), "There is no organisation `ZZ9` here"),
    (("add", "x", "--who", "TOM", "--organisation", "RX9"), "has no role at `RX9` now"),
    (("add", "x", "--who", "AMINA", "--organisation", "926"), "signs in for themselves"),
    (("add", "x", "--who", "AMINA", "--role", "clinician"), "Roles are for staff"),
    (("add", "x", "--who", "TOM", "--organisation", "926", "--role", "god"), "There is no role `god`: roles are break-glass, clinician"),
    (("add", "x", "--who", "TOM", "--organisation", "926", "--purpose", "FUN"), "--purpose is a code of v3-ActReason"),
    (("add", "gp", "--who", "TOM", "--organisation", "926"), "There is an account `gp` already"),
    (("add", "hospital", "--who", "TOM", "--organisation", "926"), "is the name of a system here"),
    (("change", "nobody", "--give", "registrar"), "There is no account `nobody`"),
    (("change", "gp", "--take", "registrar"), "Gp does not have the role registrar"),
    (("change", "gp"), "Say what to change"),
    (("reopen", "gp"), "The account gp is open"),
]


@pytest.mark.parametrize(("args", "said"), WRONG, ids=[said for _, said in WRONG])
def test_what_cannot_be_says_why_and_changes_nothing(
    demo: Gateway, args: tuple[str, ...], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    who, file = {"TOM": person(demo, "social-worker"), "AMINA": f"Patient/{demo.patient}"}, tmp_path / "password"
    file.write_text(PASSWORD)
    given = [who.get(a, a) for a in args] + (["--password-file", str(file)] if args[0] == "add" else [])
    for name, value in demo.env.items():  # the command as `demo.command` runs it, without a process of its own each
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("sys.argv", ["fhir-gateway", "people", *given])
    with pytest.raises(SystemExit) as ended:
        main()
    out, err = capsys.readouterr()
    assert ended.value.code == 2 and said.lower() in err.lower() and out == "", err


@pytest.mark.parametrize(
    ("stdin", "more", "said"),
    [
        ("short\n", ("--password-file", "-"), "too short or easy to guess"),
        ("", ("--password-file", "-"), "too short or easy to guess"),
        ("password123\n", (), "There is no terminal to ask"),
        ("", ("--password-file", "/no/such/file"), "cannot be read"),
    ],
)
def test_a_password_comes_from_a_file_or_a_terminal(demo: Gateway, stdin: str, more: tuple[str, ...], said: str) -> None:
    done = demo.command("people", "add", "x", "--who", f"Patient/{demo.patient}", *more, stdin=stdin)
    assert done.returncode == 2 and said in done.stderr, done.stderr


# -- what ends, at the store ------------------------------------------------------------------------------------------


class Browser:
    def __init__(self) -> None:
        self.cookies: dict[str, str] = {}


ROLES = ("break-glass", "clinician", "declassifier", "privacy-officer", "registrar")


async def test_every_role_ends_at_once_with_the_tokens_that_carry_it(tmp_path: Path) -> None:
    store, ids = await sqlite.open(tmp_path / "gateway.sqlite"), iter(map(str, range(1_000)))
    act = Act(AT, lambda: f"n-{next(ids)}")
    await accounts.add(store, people.Account("ada", "Practitioner/a", "Ada", organisation="Organization/s", roles=ROLES), "correct horse", act)
    account = await people.find(store, "ada", AT)
    assert account is not None
    for role in ROLES:  # as a process sees it that has not heard of any revocation
        caller = account.caller(issuer="us", jti="t", expires=AT + timedelta(hours=1), at=account.proven(AT))
        assert role in (await people.as_now(store, caller, AT)).roles
        account = await accounts.change(store, "ada", Act(AT + timedelta(seconds=1), act.new_id), take=[role])
        with pytest.raises(Problem) as refused:
            await people.as_now(store, caller, AT)
        assert refused.value.status == 401
        account = await accounts.change(store, "ada", act, give=[role])
    await accounts.close(store, "ada", act)
    with pytest.raises(Problem):
        await people.as_now(store, caller, AT)
    with pytest.raises(ValueError, match="closed already"):
        await accounts.close(store, "ada", act)
    notes = [n for n in await store.notes() if n.what.startswith("account-")]
    assert len(notes) == 2 + 2 * len(ROLES) and {n.user for n in notes} == {"Device/operator"}
    assert "ada: -registrar" in {n.detail for n in notes}
    await store.close()


async def test_two_who_change_one_account_at_the_same_moment_do_not_undo_each_other(tmp_path: Path) -> None:
    store, ids = await sqlite.open(tmp_path / "gateway.sqlite"), iter(map(str, range(1_000)))
    act = Act(AT, lambda: f"n-{next(ids)}")
    await accounts.add(store, people.Account("ada", "Practitioner/a", organisation="Organization/s"), "correct horse", act)
    done = await asyncio.gather(*(accounts.change(store, "ada", act, give=[role]) for role in ROLES), return_exceptions=True)
    good = [d for d in done if isinstance(d, people.Account)]
    assert good and all(isinstance(d, ValueError) for d in done if d not in good)
    account = await people.find(store, "ada", AT)
    assert account is not None and len(account.roles) == len(good), "who was told that it is done has it"
    await store.close()


async def test_sessions_and_apps_end_with_the_account(tmp_path: Path) -> None:
    store, ids = await sqlite.open(tmp_path / "gateway.sqlite"), iter(map(str, range(1_000)))
    act = Act(AT, lambda: f"n-{next(ids)}")
    for name in ("ada", "bea"):
        await people.add(store, people.Account(name, f"Patient/{name}"), "correct horse")
    desk, browsers = Sessions(store, lambda: AT, act.new_id, "http://127.0.0.1:8080", https=False), {}
    for name in ("ada", "bea"):
        (cookie, _) = await desk.sign_in(Browser(), name, "correct horse") or []
        browsers[name] = {"session": cookie.split("=")[1].split(";")[0]}
        grant = held.Grant("app", name, "openid offline_access", None, AT, AT + timedelta(days=9))
        await store.commit(*held.keeping(grant, f"grant-{name}"))
    await accounts.close(store, "ada", act)
    assert await desk.session(browsers["ada"]) is None and await desk.session(browsers["bea"]) is not None
    assert await held.of_person(store, "ada", AT) == {} and list(await held.of_person(store, "bea", AT)) == ["grant-bea"]
    assert list(await store.kept_all("revoked", AT)) == ["grant-ada"]
    await store.close()
