"""Page sessions: a random id in a cookie, everything else in the store, so that ending one ends it everywhere at once.

The store knows the id by its hash only. The token in every form is derived from the cookie; a visitor who has not
signed in has a cookie for that too. Idle 30 minutes or 8 hours in all, whichever comes first.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Protocol

import msgspec

from ..domain.problem import Problem
from ..domain.types import Drop, Keep, Note, Op
from . import held, people
from .kept import CHANGED, Kept, commit_unless_taken, digest, pack
from .tokens import Caller

SESSION, INDEX = "session", "session-of"
GIVEN = "given-password"  # where a sign-in goes wrong that is right but for that
IDLE, LONGEST = timedelta(minutes=30), timedelta(hours=8)
TOUCH = timedelta(minutes=1)  # how often a busy session's last use is written down


class HasCookies(Protocol):
    @property
    def cookies(self) -> Mapping[str, str]: ...


@dataclass(frozen=True, slots=True)
class Session:
    """Somebody signed in to the pages. `key` is its name in the store, `form_token` what its forms carry, `first` its name before any new id."""

    key: str
    first: str
    caller: Caller
    started: datetime
    used: datetime
    form_token: str


@dataclass(frozen=True, slots=True)
class Row:
    """What the store keeps of a session. `first`: the name that it had at sign-in, where it got a new id since."""

    caller: Caller
    started: datetime
    used: datetime
    first: str = ""


@dataclass(slots=True)
class Sessions:
    """`https`: served by https, so that cookies are `__Host-` and Secure; plain names on loopback only. `open`: may anybody sign in here;
    where not, no session is one, whenever it began."""

    store: Kept
    clock: Callable[[], datetime]
    new_id: Callable[[], str]
    issuer: str
    https: bool
    open: bool = True
    random_bytes: Callable[[int], bytes] = secrets.token_bytes

    # -- who ----------------------------------------------------------------------------------------------------------

    async def session(self, cookies: Mapping[str, str], at: datetime | None = None) -> Session | None:
        """Who this visitor is signed in as, or None."""
        if not self.open:
            return None
        now = at or self.clock()
        id = cookies.get(self._name("session"), "")
        raw = await self.store.kept(SESSION, digest(id), now) if 20 < len(id) < 100 else None
        if raw is None:
            return None
        row = msgspec.json.decode(raw, type=Row)
        if now - row.used >= TOUCH:
            fresh = replace(row, used=now)
            kept = Keep(SESSION, digest(id), pack(fresh), min(now + IDLE, row.started + LONGEST), if_value=raw)
            await commit_unless_taken(self.store, kept)  # taken: another request of the same person was quicker
        return Session(digest(id), row.first or digest(id), row.caller, row.started, now, form_token(id))

    async def sign_in(self, request: HasCookies, username: str, password: str) -> list[str] | None:
        """Set-Cookie values of a new session, or None when name or password is wrong. Problem throttled; forbidden, at `GIVEN`, for a password to be changed first."""
        now = self.clock()
        account = await self.known(username, password, now)
        if account is not None and account.given:
            await self.store.commit(self._note("sign-in", account, now, allowed=False))
            raise Problem("forbidden", "Choose a password of your own first: the one that you were given opens nothing.", GIVEN)
        if account is None:
            return None
        caller = account.caller(issuer=self.issuer, jti=self.new_id(), expires=now + LONGEST, at=account.proven(now))
        return await self.start(caller, request.cookies)

    async def known(self, username: str, password: str, at: datetime) -> people.Account | None:
        """As `people.sign_in`, and a try that gets nobody in is written down, also one that came too soon. Problem forbidden where nobody signs in here."""
        if not self.open:
            raise Problem("forbidden", "Nobody signs in here by a password.")
        try:
            account = await people.sign_in(self.store, username, password, at)
        except Problem:
            await self.not_in(username, "too many tries")
            raise
        if account is None:
            await self.not_in(username)
        return account

    async def not_in(self, username: str, why: str = "") -> None:
        """Write down that somebody could not sign in by this name."""
        now = self.clock()
        known = await people.find(self.store, username, now) or people.Account("", "")  # as long for no one's name
        await self.store.commit(self._note("sign-in", known, now, allowed=False, detail=why))

    async def confirm(self, request: HasCookies, password: str, response_cookies: list[str]) -> Caller | None:
        """Whoever is signed in proves it once more: the caller with a sign-in of this moment, or None. Problem throttled.

        The session goes on under a new id, and the old one is nobody's (ASVS 5.0 V7.2.4). Appends its Set-Cookie value.
        """
        now, session = self.clock(), await self.session(request.cookies)
        if session is None:
            return None
        who = session.caller
        account = await self.known(who.subject, password, now)
        if account is None:
            return None
        if account.fhir_user != who.fhir_user or account.given:
            await self.store.commit(self._note("sign-in", who, now, allowed=False))
            return None
        id, until = self._random(), session.started + LONGEST
        moved = (
            Drop(SESSION, session.key, must_exist=True),
            Drop(INDEX, f"{digest(who.subject)} {session.key}"),
            Keep(SESSION, digest(id), pack(Row(who, session.started, now, session.first)), min(now + IDLE, until), if_absent=True),
            Keep(INDEX, f"{digest(who.subject)} {digest(id)}", session.first.encode(), until),
        )
        if not await commit_unless_taken(self.store, *moved, self._note("sign-in", who, now)):
            return None  # it ended, or was proved at the same moment
        response_cookies.append(self._cookie("session", id))
        return replace(who, signed_in=account.proven(now))

    async def start(self, caller: Caller, old: Mapping[str, str]) -> list[str]:
        """A new session under a new id; the visitor's old one ends. Set-Cookie values."""
        now, id = self.clock(), self._random()
        row = Row(caller, now, now)
        ended = digest(old.get(self._name("session"), ""))
        await self.store.commit(
            Drop(SESSION, ended),
            Keep(SESSION, digest(id), pack(row), min(now + IDLE, now + LONGEST), if_absent=True),
            Keep(INDEX, f"{digest(caller.subject)} {digest(id)}", digest(id).encode(), now + LONGEST),
            self._note("sign-in", caller, now),
        )
        return [self._cookie("session", id), self._cookie("visitor", "", gone=True)]

    async def end(self, request: HasCookies) -> list[str]:
        """Sign out. Set-Cookie values that take the cookies away."""
        session = await self.session(request.cookies)
        if session:
            who = session.caller
            note = self._note("sign-out", who, self.clock())
            await self.store.commit(*await _ending(self.store, who.subject, session.key, session.first, self.clock()), note, CHANGED)
        return self.gone()

    def gone(self) -> list[str]:
        """Set-Cookie values that take the cookies away."""
        return [self._cookie("session", "", gone=True), self._cookie("visitor", "", gone=True)]

    async def end_everywhere(self, subject: str, *also: Op) -> int:
        """End every session of this person, and do `also` in the same commit; how many."""
        keys = await _keys_of(self.store, subject, self.clock())
        await self.store.commit(*await endings(self.store, subject, self.clock()), *also, CHANGED)
        return len(keys)

    async def of(self, subject: str) -> dict[str, Row]:
        """Every session of this person now, by its name in the store."""
        now, out = self.clock(), dict[str, Row]()
        for key in await _keys_of(self.store, subject, now):
            raw = await self.store.kept(SESSION, key, now)
            if raw is not None:  # the index outlives a session that was idle
                out[key] = msgspec.json.decode(raw, type=Row)
        return out

    # -- forms --------------------------------------------------------------------------------------------------------

    async def form_token(self, request: HasCookies, response_cookies: list[str]) -> str:
        """The token this visitor's forms carry. Appends a Set-Cookie value when the visitor has no cookie yet."""
        session = await self.session(request.cookies)
        if session:
            return session.form_token
        visitor = request.cookies.get(self._name("visitor"), "")
        if not 20 < len(visitor) < 100:
            visitor = self._random()
            response_cookies.append(self._cookie("visitor", visitor))
        return form_token(visitor)

    async def form_token_ok(self, request: HasCookies, token: str) -> bool:
        """Whether the form that came with `token` was given to this very visitor, in this session."""
        session = await self.session(request.cookies)
        visitor = request.cookies.get(self._name("visitor"), "")
        wanted = session.form_token if session else form_token(visitor) if visitor else ""
        return bool(wanted) and hmac.compare_digest(wanted.encode(), token.encode("utf-8", "replace"))

    # -- cookies ------------------------------------------------------------------------------------------------------

    def _name(self, what: str) -> str:
        return f"__Host-{what}" if self.https else what

    def _cookie(self, what: str, value: str, *, gone: bool = False) -> str:
        parts = [f"{self._name(what)}={value}", "Path=/", "HttpOnly", "SameSite=Lax"]
        return "; ".join(parts + ["Secure"] * self.https + ["Max-Age=0"] * gone)

    def _random(self) -> str:
        return self.random_bytes(32).hex()

    def _note(self, what: str, who: Caller | people.Account, at: datetime, *, allowed: bool = True, detail: str = "") -> Note:
        """Whoever signs in or out, or tried to with this account; a person's own are in their log."""
        own = who.fhir_user if who.fhir_user.startswith("Patient/") else None
        return Note(self.new_id(), at, "E", what, allowed, who.fhir_user, who.name, who.organisation, patient=own, detail=detail)


def form_token(cookie: str) -> str:
    """What a form must carry for the visitor with this cookie: tells nothing of the cookie itself."""
    return digest(f"form {cookie}")


async def _ending(store: Kept, subject: str, key: str, first: str, at: datetime) -> list[Op]:
    """One session, and what apps hold only while it lasts (`online_access`)."""
    apps = [op for name in await held.of_session(store, first, at) for op in held.ending(name, at)]
    return [Drop(SESSION, key), Drop(INDEX, f"{digest(subject)} {key}"), *apps]


async def _keys_of(store: Kept, subject: str, at: datetime) -> dict[str, str]:
    """The sessions of this person by their name, each with its first one."""
    found = await store.kept_all(INDEX, at, prefix=f"{digest(subject)} ")
    keys = {k.rsplit(" ", 1)[1]: raw.decode() for k, raw in found.items()}
    return {key: first if len(first) == len(key) else key for key, first in keys.items()}  # "1" of an earlier release


async def endings(store: Kept, subject: str, at: datetime) -> list[Op]:
    """What ends every session of this person; `kept.CHANGED` goes with it."""
    return [op for key, first in (await _keys_of(store, subject, at)).items() for op in await _ending(store, subject, key, first, at)]
