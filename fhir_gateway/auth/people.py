"""The built-in issuer's accounts: a name, a password, and which person of the directory that is.

A wrong password, an unknown name and a closed account cost the same time and get the same answer. After five failures
an account waits, twice as long each time up to fifteen minutes; the count is in the store, so every process keeps it.
"""

from __future__ import annotations

import asyncio
import secrets
import unicodedata
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import cache

import msgspec
from argon2 import PasswordHasher
from argon2.exceptions import VerificationError

from ..domain.pauses import pause
from ..domain.problem import Problem
from ..domain.types import Drop, Keep
from ..domain.vocabulary import RESTRICTING_ROLES
from .kept import Kept, commit_unless_taken, digest, pack
from .tokens import ROLES, Caller, kind_of, refused

ACCOUNT, FAILURES = "account", "sign-in-failures"
FREE_FAILURES = 5
LONGEST_PASSWORD = 1_000
FIRST_WAIT, LONGEST_WAIT = timedelta(seconds=2), timedelta(minutes=15)
FORGOTTEN = timedelta(hours=1)  # a count without new failures
SESSION_SCOPES = {
    "patient": "openid fhirUser patient/*.cruds", "proxy": "openid fhirUser patient/*.cruds",
    "professional": "openid fhirUser user/*.cruds", "system": "system/*.cruds",
}  # fmt: skip
# OWASP password storage: argon2id, 19 MiB, two passes; one hash costs about 20 ms
_hasher = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)
_threads = ThreadPoolExecutor(2, "passwords")  # at most two at a time: bounds the memory


@dataclass(frozen=True, slots=True)
class Account:
    """One person who signs in here. `patient` is Actor.patient of a proxy; `roles` are among tokens.ROLES."""

    username: str
    fhir_user: str
    name: str = ""
    organisation: str | None = None
    patient: str | None = None
    roles: tuple[str, ...] = ()
    purpose: str = ""
    scopes: str = ""  # of its page sessions; by default all its kind may have
    assurance: str = ""
    password_hash: str = ""
    closed: bool = False
    since: datetime | None = None  # who signed in before this signs in again
    given: bool = False  # somebody else knows the password: it serves for nothing but choosing one's own

    def caller(self, *, issuer: str, jti: str, expires: datetime, at: datetime, client: str | None = None,
               scopes: str | None = None, launch: str | None = None, grant: str = "") -> Caller:  # fmt: skip
        """This person as the caller of a page session or of a token for `client`.

        Who acts for one person (themselves, or as proxy) is bound to that record unless `launch` says otherwise.
        """
        kind = kind_of(self.fhir_user)
        whose = self.fhir_user if kind == "patient" else self.patient
        return Caller(
            subject=self.username, client=client, fhir_user=self.fhir_user, kind=kind, issuer=issuer, jti=jti,
            scopes=(self.scopes or SESSION_SCOPES[kind]) if scopes is None else scopes,
            expires=expires.replace(microsecond=0),
            purpose=self.purpose, organisation=self.organisation, roles=frozenset(self.roles), assurance=self.assurance,
            patient=whose, launch=whose if kind in ("patient", "proxy") and launch is None else launch,
            signed_in=at.replace(microsecond=0), name=self.name, grant=grant,
        )  # fmt: skip

    @property
    def record(self) -> str | None:
        """The record of whoever acts for one person, themselves or another."""
        if self.fhir_user.startswith("Patient/"):
            return self.fhir_user
        return self.patient if self.fhir_user.startswith("RelatedPerson/") else None

    def narrowed(self, roles: frozenset[str]) -> frozenset[str]:
        """Of these roles those that the account has, and each of the account that restricts, whatever the sign-in was."""
        return (roles | RESTRICTING_ROLES) & set(self.roles)

    def proven(self, at: datetime) -> datetime:
        """Since when whoever proves at `at` that this account is theirs is signed in: not before the account became what it is.

        Who proved it by the account as it was before a change is signed in from before that change, in whatever order things are written.
        """
        return at if self.since is None else max(at, self.since)


def folded(username: str) -> str:
    """One spelling of a user name: no case, no surrounding space, no look-alike forms."""
    return unicodedata.normalize("NFKC", username).casefold().strip()[:200]


def typed(password: str) -> str:
    """One spelling of a password, whatever keyboard it came from; nothing for one that nobody can have."""
    return unicodedata.normalize("NFKC", password) if len(password) <= LONGEST_PASSWORD else ""


async def add(store: Kept, account: Account, password: str) -> None:
    """Open an account, or replace one. ValueError for a password of another length or an unknown role."""
    account = await with_password(checked(account), password)
    await store.commit(Keep(ACCOUNT, account.username, pack(account)))


def checked(account: Account) -> Account:
    """The account with its name in one spelling. ValueError for an unknown role or a `fhir_user` who is nobody."""
    if not set(account.roles) <= ROLES:
        raise ValueError(f"roles are among {', '.join(sorted(ROLES))}")
    kind_of(account.fhir_user)
    return replace(account, username=folded(account.username))


async def with_password(account: Account, password: str) -> Account:
    """The account with this password. ValueError for one of another length."""
    if not 8 <= len(password) <= LONGEST_PASSWORD:
        raise ValueError("a password has eight to a thousand characters")
    return replace(account, password_hash=await _hash(password))


async def find(store: Kept, username: str, at: datetime) -> Account | None:
    raw = await store.kept(ACCOUNT, folded(username), at)
    return msgspec.json.decode(raw, type=Account) if raw else None


async def accounts(store: Kept, at: datetime) -> list[Account]:
    return [msgspec.json.decode(raw, type=Account) for raw in (await store.kept_all(ACCOUNT, at)).values()]


async def as_now(store: Kept, caller: Caller, at: datetime) -> Caller:
    """The caller with those of their roles that their account has now, and each that restricts: what was taken away ends at once.

    Only of people of the built-in issuer; anybody else's roles are what their issuer says. Problem sign-in for an account that is closed
    or somebody else's now, and for a sign-in from before the account was changed.
    """
    if caller.kind == "system":
        return caller
    account = await find(store, caller.subject, at)
    if account is None or account.closed or (account.fhir_user, account.organisation) != (caller.fhir_user, caller.organisation):
        raise refused()
    if account.since is not None and (caller.signed_in is None or caller.signed_in < account.since):
        raise refused()
    roles = account.narrowed(caller.roles)
    return caller if roles == caller.roles else replace(caller, roles=roles)


async def sign_in(store: Kept, username: str, password: str, at: datetime) -> Account | None:
    """The account when the password is right, else None. Problem throttled, with Retry-After, while it must wait.

    The attempt is counted before the password is looked at: guesses made at the same moment do not slip past the count.
    """
    key = failures_of(username)
    await _count(store, key, at)
    account = await find(store, username, at)
    right = await _matches(account.password_hash if account else "", password)
    if account is None or account.closed or not right:
        return None
    await store.commit(Drop(FAILURES, key))
    return account


def failures_of(username: str) -> str:
    """Under which name the failed attempts at this account are counted."""
    return digest(folded(username))


async def _count(store: Kept, key: str, at: datetime) -> None:
    for _ in range(20):
        raw = await store.kept(FAILURES, key, at)
        tries, until = msgspec.json.decode(raw) if raw else (0, 0.0)
        if at.timestamp() < until:
            wait = int(until - at.timestamp()) + 1
            text = f"Too many attempts. Wait {_words(wait)}, then try again."
            raise Problem("throttled", text, headers={"Retry-After": str(wait)})
        kept = Keep(
            FAILURES, key, pack((tries + 1, at.timestamp() + pause(tries + 1, FREE_FAILURES, FIRST_WAIT, LONGEST_WAIT))), at + FORGOTTEN,
            if_absent=raw is None, if_value=raw,
        )  # fmt: skip
        if await commit_unless_taken(store, kept):
            return
    raise Problem("throttled", "Too many attempts. Try again in a moment.", headers={"Retry-After": "2"})


def _words(seconds: int) -> str:
    return f"{seconds} seconds" if seconds < 90 else f"{-(-seconds // 60)} minutes"


async def _hash(password: str) -> str:
    return await asyncio.get_running_loop().run_in_executor(_threads, _hasher.hash, typed(password))


async def _matches(hashed: str, password: str) -> bool:
    return await asyncio.get_running_loop().run_in_executor(_threads, _verify, hashed, typed(password))


def _verify(hashed: str, password: str) -> bool:
    nobody = _nobody()
    try:
        return _hasher.verify(hashed or nobody, password) and bool(hashed)
    except VerificationError:
        return False


@cache
def _nobody() -> str:
    """A hash that no password has: what an unknown name is checked against, so that it takes as long."""
    return _hasher.hash(secrets.token_hex())
