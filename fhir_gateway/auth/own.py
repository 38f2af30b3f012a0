"""What somebody who is signed in to the pages sees of their own sign-in, and may end: their sessions, and what apps hold."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from ..domain.types import Note
from . import accounts, apps, held, passwords, people
from .kept import CHANGED, Kept
from .sessions import HasCookies, Session, Sessions
from .tokens import Caller, Tokens


@dataclass(frozen=True, slots=True)
class SignIn:
    """One browser that is signed in. `this`: the one that asks."""

    started: datetime
    used: datetime
    this: bool


@dataclass(frozen=True, slots=True)
class OwnSignIn:
    """A person's own sign-in. Every function answers for whoever has the cookie of `request`; None for nobody."""

    store: Kept
    sessions: Sessions
    tokens: Tokens
    clock: Callable[[], datetime]
    new_id: Callable[[], str]

    async def account(self, request: HasCookies) -> people.Account | None:
        session = await self.sessions.session(request.cookies)
        return await people.find(self.store, session.caller.subject, self.clock()) if session else None

    async def sign_ins(self, request: HasCookies) -> list[SignIn]:
        """Every browser that is signed in as this person, the latest first."""
        session = await self.sessions.session(request.cookies)
        if session is None:
            return []
        found = await self.sessions.of(session.caller.subject)
        return [SignIn(s.started, s.used, key == session.key) for key, s in sorted(found.items(), key=lambda kv: kv[1].used, reverse=True)]

    async def sign_out_everywhere(self, request: HasCookies) -> list[str]:
        """End every page session of this person. Set-Cookie values that take the cookies away."""
        session = await self.sessions.session(request.cookies)
        if session:
            await self.sessions.end_everywhere(session.caller.subject, self._note("sign-out-everywhere", session))
        return await self.sessions.end(request)

    async def change_password(self, request: HasCookies, old: str, new: str) -> list[str] | None:
        """Another password for whoever knows the old one; every other sign-in of theirs ends. Set-Cookie values of a new session;
        None when the old one is wrong. ValueError, in words, for a new one that is too easy; Problem throttled."""
        session, at = await self.sessions.session(request.cookies), self.clock()
        if session is None:
            return None
        who = session.caller
        account = await self.sessions.known(who.subject, old, at)
        return await self._choose(request, account, new, at) if account is not None else None

    async def first_password(self, request: HasCookies, username: str, given: str, new: str) -> list[str] | None:
        """Their own password for whoever knows the one that they were given, and the first sign-in with it. Set-Cookie values of the session;
        None when name and password do not go together or the password is their own. ValueError, Problem as `change_password`."""
        at = self.clock()
        account = await self.sessions.known(username, given, at)
        if account is None:
            return None
        if not account.given:
            await self.sessions.not_in(username)
            return None
        if people.typed(new) == people.typed(given):
            raise ValueError("same")
        return await self._choose(request, account, new, at)

    async def _choose(self, request: HasCookies, account: people.Account, new: str, at: datetime) -> list[str] | None:
        if passwords.weak(new, account.username, account.name):
            raise ValueError("easy")
        await accounts.new_password(self.store, account.username, new, accounts.Act(at, self.new_id, account.fhir_user, account.name))
        await self.tokens.refresh(at)
        return await self.sessions.sign_in(request, account.username, new)

    async def apps(self, request: HasCookies) -> list[apps.App]:
        session = await self.sessions.session(request.cookies)
        return await apps.with_access(self.store, session.caller.subject, self.clock()) if session else []

    async def stop_app(self, request: HasCookies, client: str) -> bool:
        """End all that this person let this app do; False when that was nothing."""
        session, at = await self.sessions.session(request.cookies), self.clock()
        if session is None:
            return False
        names = [n for n, g in (await held.of_person(self.store, session.caller.subject, at)).items() if g.client == client]
        if not names:
            return False
        note = self._note("app-stopped", session, client)
        await self.store.commit(*(op for name in names for op in held.ending(name, at)), note, CHANGED)
        await self.tokens.refresh(at)
        return True

    def _note(self, what: str, session: Session, client: str | None = None) -> Note:
        who: Caller = session.caller
        return Note(
            self.new_id(), self.clock(), "E", what, True, who.fhir_user, who.name, who.organisation, client,
            patient=who.fhir_user if who.kind == "patient" else who.patient,
        )  # fmt: skip
