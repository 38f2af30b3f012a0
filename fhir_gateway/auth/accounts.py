"""Who may sign in here, and as what: accounts are opened and changed by an operator, each act with its audit row in the same commit.

Whatever changes an account ends every sign-in of that person at once: page sessions, what apps hold, tokens (`people.as_now`).
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import msgspec

from ..domain.audit import OPERATOR
from ..domain.types import Drop, Keep, Note, Op
from . import clients, held, people, sessions
from .kept import CHANGED, Kept, commit_unless_taken, pack
from .people import ACCOUNT, Account
from .tokens import ROLES, kind_of

LONGEST_NAME = 100
TAKEN_NAMES = frozenset({"operator"})  # whom commands act as


@dataclass(frozen=True, slots=True)
class Act:
    """One act of whoever looks after the accounts: when, by whom, and how its row is named."""

    at: datetime
    new_id: Callable[[], str]
    user: str = OPERATOR
    user_name: str = "Operator"

    def note(self, what: str, account: Account, detail: str = "") -> Note:
        kind = kind_of(account.fhir_user)
        whose = account.fhir_user if kind == "patient" else account.patient
        return Note(
            self.new_id(), self.at, "C" if what == "account-add" else "U", what, True, self.user, self.user_name, patient=whose,
            purpose="HOPERAT" if self.user == OPERATOR else "",
            refs=(account.fhir_user,), detail=f"{account.username}{detail and ': '}{detail}",
        )  # fmt: skip


async def add(store: Kept, account: Account, password: str, act: Act) -> Account:
    """Open an account, whose owner chooses another password before anything else. ValueError, in words, when it cannot be: its name is used, a role is unknown or not for such a person."""
    account = _possible(account)
    if account.username in TAKEN_NAMES or await clients.find(store, account.username, act.at):
        raise ValueError(f"`{account.username}` is the name of a system here")
    account = replace(await people.with_password(account, password), given=True)
    note = act.note("account-add", account, _told(account))
    if not await commit_unless_taken(store, Keep(ACCOUNT, account.username, pack(account), if_absent=True), note):
        raise ValueError(f"there is an account `{account.username}` already")
    return account


async def change(store: Kept, username: str, act: Act, *, give: Iterable[str] = (), take: Iterable[str] = (), **to: Any) -> Account:
    """Give roles, take roles, or change `organisation`, `assurance`, `purpose`, `name`.

    LookupError when there is no such account; ValueError, in words, for what cannot be.
    """
    raw, account = await _held(store, username, act.at)
    given, taken = set(give), set(take)
    if not given | taken <= ROLES:
        raise ValueError(_no_role(given | taken))
    if missing := taken - set(account.roles):
        raise ValueError(f"{account.username} does not have the role {', '.join(sorted(missing))}")
    if given & taken:
        raise ValueError(f"a role is given or taken, not both: {', '.join(sorted(given & taken))}")
    now = _possible(replace(account, roles=tuple(sorted((set(account.roles) | given) - taken)), **to))
    said = [f"+{r}" for r in sorted(given)] + [f"-{r}" for r in sorted(taken)] + [f"{k} {v}" for k, v in sorted(to.items())]
    return await _become(store, raw, now, act, "account-change", " ".join(said))


async def new_password(store: Kept, username: str, password: str, act: Act) -> Account:
    """Another password; one that somebody else sets is given. LookupError, ValueError."""
    raw, account = await _held(store, username, act.at)
    account = replace(await people.with_password(account, password), given=act.user != account.fhir_user)
    return await _become(store, raw, account, act, "account-password")


async def close(store: Kept, username: str, act: Act) -> Account:
    """Nobody signs in with this account any more. LookupError; ValueError when it is closed already."""
    raw, account = await _held(store, username, act.at)
    if account.closed:
        raise ValueError(f"the account {account.username} is closed already")
    return await _become(store, raw, replace(account, closed=True), act, "account-close")


async def reopen(store: Kept, username: str, act: Act) -> Account:
    """Let them sign in again. LookupError; ValueError when it is open."""
    raw, account = await _held(store, username, act.at)
    if not account.closed:
        raise ValueError(f"the account {account.username} is open")
    return await _become(store, raw, replace(account, closed=False), act, "account-reopen")


# -- small things -----------------------------------------------------------------------------------------------------


async def _held(store: Kept, username: str, at: datetime) -> tuple[bytes, Account]:
    raw = await store.kept(ACCOUNT, people.folded(username), at)
    if raw is None:
        raise LookupError(f"there is no account `{username[:LONGEST_NAME]}`")
    return raw, msgspec.json.decode(raw, type=Account)


async def _become(store: Kept, raw: bytes, account: Account, act: Act, what: str, detail: str = "") -> Account:
    """The account as it is from now on, its row, and the end of every sign-in, in one commit."""
    account = replace(account, since=_onwards(account, act.at))
    ended: list[Op] = [Drop(people.FAILURES, people.failures_of(account.username))] if what == "account-password" else []
    ended += await sessions.endings(store, account.username, act.at)
    ended += [op for name in await held.of_person(store, account.username, act.at) for op in held.ending(name, act.at)]
    kept = Keep(ACCOUNT, account.username, pack(account), if_value=raw)
    if not await commit_unless_taken(store, kept, *ended, act.note(what, account, detail), CHANGED):
        raise ValueError(f"the account {account.username} was changed by somebody else at the same moment: look, and try again")
    return account


def _onwards(account: Account, at: datetime) -> datetime:
    """From when on whoever signs in signs in to the account as it is to be: a whole second, as `auth_time` is, after all that went before."""
    following = at.replace(microsecond=0) + timedelta(seconds=1)
    return following if account.since is None else max(following, account.since + timedelta(seconds=1))


def _possible(account: Account) -> Account:
    """The account when there can be one like it. ValueError, in words."""
    if unknown := set(account.roles) - ROLES:
        raise ValueError(_no_role(unknown))
    account = people.checked(account)
    name = account.username
    if not name or len(name) > LONGEST_NAME or any(unicodedata.category(c)[0] in "CZ" and c != " " for c in name):
        raise ValueError(f"a sign-in name has 1 to {LONGEST_NAME} letters, digits, signs and single spaces")
    if account.roles and kind_of(account.fhir_user) != "professional":
        raise ValueError(f"roles are for staff; {account.fhir_user} is none")
    return account


def _no_role(words: set[str]) -> str:
    unknown = ", ".join(f"`{w[:40]}`" for w in sorted(words - ROLES))
    return f"there is no role {unknown}: roles are {', '.join(sorted(ROLES))}"


def _told(account: Account) -> str:
    return " ".join([account.fhir_user, account.organisation or "", *account.roles]).strip()
