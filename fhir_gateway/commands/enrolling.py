"""`people`: who may sign in here, and as what. Every act is written down in the same commit."""

from __future__ import annotations

import getpass
import sys
from collections.abc import Awaitable
from pathlib import Path
from typing import Any

from .. import gate
from ..auth import accounts, passwords, people
from ..auth.accounts import Act
from ..auth.people import Account
from ..domain.problem import Problem
from ..domain.vocabulary import PURPOSES
from ..gate.enrolling import SIGN_IN_AS
from ..settings import Refused, load
from ..wiring import Wired, new_id, now, operator, wired
from .naming import meant
from .operating import out

NO_TERMINAL = "There is no terminal to ask for a password at: give it by --password-file FILE, or - for standard input."


async def listing(as_json: bool) -> int:
    async with wired(load()) as w:
        for a in sorted(await people.accounts(w.store, now()), key=lambda a: a.username):
            if as_json:
                out(_shown(a))
                continue
            place = f" at {a.organisation}" if a.organisation else f" for {a.patient}" if a.patient else ""
            roles = f", {', '.join(sorted(a.roles))}" if a.roles else ""
            print(f"{a.username}: {a.name or '-'}, {a.fhir_user}{place}{roles}{', closed' if a.closed else ''}")
    return 0


async def add(
    username: str, who: str, organisation: str, roles: list[str], name: str, purpose: str, assurance: str, file: Path | None, as_json: bool
) -> int:
    """Open an account for somebody who is in the store."""
    password = _password(file, username)
    async with wired(load()) as w:
        found = await _enrolled(w, await meant(w, who, *SIGN_IN_AS, option="--who"), organisation)
        account = Account(
            username, found.user, name or found.name, organisation=found.organisation, patient=found.patient,
            roles=tuple(sorted(set(roles))), purpose=_purpose(purpose or ("HOPERAT" if "privacy-officer" in roles else "TREAT")), assurance=assurance,
        )  # fmt: skip
        made = await _tried(accounts.add(w.store, account, password, _act()))
    _say(made, "may sign in", as_json)
    return 0


async def change(
    username: str, give: list[str], take: list[str], organisation: str | None, name: str | None, purpose: str | None, assurance: str | None, as_json: bool
) -> int:
    """Other roles, another place, purpose or level of assurance."""
    to: dict[str, Any] = {k: v for k, v in {"name": name, "assurance": assurance}.items() if v is not None}
    if purpose is not None:
        to["purpose"] = _purpose(purpose)
    if not (give or take or to or organisation is not None):
        raise Refused("Say what to change: --give, --take, --organisation, --purpose, --assurance or --name.")
    async with wired(load()) as w:
        if organisation is not None:
            account = await people.find(w.store, username, now())
            if account is None:
                raise _nobody(username)
            to["organisation"] = (await _enrolled(w, account.fhir_user, organisation)).organisation
        made = await _tried(accounts.change(w.store, username, _act(), give=give, take=take, **to))
    _say(made, "changed; they sign in again", as_json)
    return 0


async def password(username: str, file: Path | None, as_json: bool) -> int:
    async with wired(load()) as w:
        if await people.find(w.store, username, now()) is None:
            raise _nobody(username)
        made = await _tried(accounts.new_password(w.store, username, _password(file, username), _act()))
    _say(made, "has another password; they sign in again", as_json)
    return 0


async def close(username: str, as_json: bool) -> int:
    async with wired(load()) as w:
        made = await _tried(accounts.close(w.store, username, _act()))
    _say(made, "closed; they are signed out everywhere", as_json)
    return 0


async def reopen(username: str, as_json: bool) -> int:
    async with wired(load()) as w:
        made = await _tried(accounts.reopen(w.store, username, _act()))
    _say(made, "may sign in again", as_json)
    return 0


# -- small things -----------------------------------------------------------------------------------------------------


def _act() -> Act:
    return Act(now(), new_id)


async def _enrolled(w: Wired, who: str, organisation: str) -> gate.Enrolled:
    try:
        return await gate.enrolled(operator(w), who, organisation)
    except Problem as wrong:
        raise Refused(f"--{wrong.where}: {wrong.text}" if wrong.where else wrong.text) from None


async def _tried(doing: Awaitable[Account]) -> Account:
    """What it makes; Refused in one sentence when it cannot be."""
    try:
        return await doing
    except LookupError as wrong:
        raise Refused(f"{_sentence(wrong)}: `fhir-gateway people list` says which there are.") from None
    except ValueError as wrong:
        raise Refused(f"{_sentence(wrong)}.") from None


def _sentence(wrong: Exception) -> str:
    text = str(wrong.args[0])
    return text[:1].upper() + text[1:]


def _nobody(username: str) -> Refused:
    return Refused(f"There is no account `{username[:100]}`: `fhir-gateway people list` says which there are.")


def _purpose(code: str) -> str:
    if code not in PURPOSES:
        raise Refused(f"--purpose is a code of v3-ActReason, such as TREAT, ETREAT or HOPERAT; not `{code[:40]}`.")
    return code


def _password(file: Path | None, username: str) -> str:
    """The first line of a file or of standard input, or what is typed twice at the terminal. Never on the command line."""
    if file is None:
        if not sys.stdin.isatty():
            raise Refused(NO_TERMINAL)
        typed = getpass.getpass("Password: ")
        if getpass.getpass("The same again: ") != typed:
            raise Refused("These were two different passwords: nothing was changed.")
    else:
        try:
            raw = sys.stdin.buffer.read(5_000) if str(file) == "-" else file.read_bytes()[:5_000]
            typed = raw.decode().split("\n")[0].removesuffix("\r")
        except OSError as wrong:
            raise Refused(f"--password-file: {file} cannot be read: {wrong.strerror}.") from None
        except UnicodeDecodeError:
            raise Refused(f"--password-file: {file} is not text in UTF-8.") from None
    if passwords.weak(typed, username):
        raise Refused("This password is too short or easy to guess: take a longer one, such as four words that do not belong together.")
    return typed


def _shown(a: Account) -> dict[str, Any]:
    return {
        "username": a.username, "name": a.name, "fhirUser": a.fhir_user, "organisation": a.organisation, "patient": a.patient,
        "roles": sorted(a.roles), "purpose": a.purpose, "assurance": a.assurance, "closed": a.closed,
    }  # fmt: skip


def _say(a: Account, what: str, as_json: bool) -> None:
    if as_json:
        out(_shown(a))
    else:
        print(f"{a.username}: {what}")
