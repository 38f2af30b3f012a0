"""The built-in authorization server: who may have a token, and when it ends.

SMART App Launch 2.2 (https://hl7.org/fhir/smart-app-launch/), OAuth 2.0 with PKCE (RFC 6749, 7636), `private_key_jwt`
(RFC 7523), introspection (RFC 7662), revocation (RFC 7009). No HTTP here: forms in, values out, `Refusal` when not.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlencode

import msgspec

from ..domain.problem import Problem
from ..domain.scopes import Scopes
from ..domain.types import Drop, Keep, Note, Op
from . import clients, held, people
from .asked import Asked, Code, Launch, verified
from .clients import Client
from .held import REFRESH, Grant, Refresh
from .kept import CHANGED, Kept, commit_unless_taken, digest, pack
from .keysets import KeySets
from .prompting import understood
from .proving import named, prove
from .refusal import Refusal, SentBack, once, unknown_client
from .tokens import Caller, Tokens, revocation, sign

CODE, LAUNCH = "code", "launch"
CODE_LIFE, LAUNCH_LIFE = timedelta(minutes=5), timedelta(minutes=5)
CODE_REMEMBERED = timedelta(days=1)  # a used code is known that long, so that its reuse is seen
OFFLINE, ONLINE = timedelta(days=90), timedelta(hours=12)
CHALLENGE = re.compile(r"[A-Za-z0-9_-]{43}")


@dataclass(frozen=True, slots=True)
class OAuth:
    """The server. `base` is its address without /fhir and is the issuer's name; `life` that of an access token."""

    store: Kept
    tokens: Tokens
    base: str
    fhir_base: str
    new_id: Callable[[], str]
    life: timedelta = timedelta(minutes=15)
    keysets: KeySets = field(default_factory=KeySets)
    random_bytes: Callable[[int], bytes] = secrets.token_bytes

    # -- a person approves an app -------------------------------------------------------------------------------------

    async def asked(self, params: Sequence[tuple[str, str]], at: datetime) -> Asked:
        """An authorization request, understood. Refusal when nobody but the person may be told; else SentBack."""
        given = once(params)
        client = await clients.find(self.store, given.get("client_id", ""), at)
        if client is None or client.kind != "app":
            raise Refusal("invalid_request", "This app is not known here.")
        if given.get("redirect_uri") not in client.redirect_uris:
            raise Refusal("invalid_request", "The address to return to is not one that this app has registered.")
        try:
            return await self._asked(given, client, at)
        except Refusal as why:
            raise SentBack(self.back(given, error=why.error, error_description=why.text)) from why

    async def _asked(self, given: Mapping[str, str], client: Client, at: datetime) -> Asked:
        if given.get("response_type") != "code":
            raise Refusal("unsupported_response_type", "Only response_type=code is offered.")
        prompt = understood(given)
        challenge = given.get("code_challenge", "")
        if given.get("code_challenge_method") != "S256" or not CHALLENGE.fullmatch(challenge):
            raise Refusal("invalid_request", "A code_challenge with method S256 is required (PKCE).")
        if given.get("aud", "").rstrip("/") != self.fhir_base:
            raise Refusal("invalid_request", "aud must be the FHIR base address of this server.")
        wanted = " ".join(s for s in given.get("scope", "").split() if not s.startswith("system/"))
        scopes = narrow(wanted, client.scopes)
        if not scopes:
            raise Refusal("invalid_scope", "This app is not registered for any of these scopes.")
        state, nonce = given.get("state", ""), given.get("nonce", "")
        asked = Asked(client, given["redirect_uri"], scopes, challenge, state, nonce, prompt=prompt)
        if "launch" not in given:
            return asked
        key = digest(given["launch"])
        raw = await self.store.kept(LAUNCH, key, at)
        launch = msgspec.json.decode(raw, type=Launch) if raw else None
        if launch is None or launch.client != client.id:
            raise Refusal("invalid_request", "This launch has ended. Start the app again.")
        return replace(asked, launch=launch.patient, launch_key=key, launched_by=launch.subject)

    async def launch(self, client: str, patient: str, subject: str, at: datetime) -> str:
        """The `launch` value with which this person opens this app on this patient (SMART EHR launch): once, within five minutes."""
        value = self._random()
        await self.store.commit(Keep(LAUNCH, digest(value), pack(Launch(patient, client, subject)), at + LAUNCH_LIFE))
        return value

    async def approve(self, asked: Asked, who: Caller, at: datetime, session: str = "") -> str:
        """The person agrees: where the browser goes, with a code that works once within five minutes.

        `session` names the page session they agree in, which `online_access` does not outlive.
        """
        here = {"redirect_uri": asked.redirect_uri, "state": asked.state}
        launch = own_record(who) or asked.launch
        unfounded = () if launch else ("patient/", "launch")  # nothing to bind them to
        scopes = " ".join(s for s in asked.scopes.split() if not s.startswith(unfounded))
        if not scopes:
            return self.back(here, error="invalid_scope")
        if asked.launch_key and asked.launched_by != who.subject:
            await self.store.commit(self._note("authorize", who, asked.client.id, at, "somebody else's launch", patient=own_record(who), allowed=False))
            return self.back(here, error="access_denied", error_description="Somebody else opened this app.")
        code = self._random()
        kept = Code(
            asked.client.id, asked.redirect_uri, asked.challenge, asked.nonce, self.new_id(), who.subject, scopes,
            launch, who.signed_in or at, at + CODE_LIFE, session=session, roles=tuple(sorted(who.roles)), assurance=who.assurance,
        )  # fmt: skip
        note = self._note("authorize", who, asked.client.id, at, scopes, patient=own_record(who))
        spent = [Drop(LAUNCH, asked.launch_key, must_exist=True)] if asked.launch_key else []
        keep = Keep(CODE, digest(code), pack(kept), at + CODE_REMEMBERED, if_absent=True)
        if not await commit_unless_taken(self.store, keep, *spent, note):
            await self.store.commit(replace(note, id=self.new_id(), allowed=False, detail="launch used before"))
            return self.back(here, error="access_denied", error_description="This launch was used before. Start the app again.")
        return self.back(here, code=code)

    def refuse(self, asked: Asked, why: str = "access_denied") -> str:
        """The person does not agree, or cannot be asked: where the browser goes."""
        return self.back({"redirect_uri": asked.redirect_uri, "state": asked.state}, error=why)

    def back(self, given: Mapping[str, str], **values: str) -> str:
        """The app's own address with the answer, its state, and who answers (RFC 9207)."""
        answer = values | ({"state": given["state"]} if given.get("state") else {}) | {"iss": self.base}
        uri = given["redirect_uri"]
        return uri + ("&" if "?" in uri else "?") + urlencode(answer)

    # -- the token endpoint -------------------------------------------------------------------------------------------

    async def token(self, params: Sequence[tuple[str, str]], authorization: str | None, at: datetime) -> dict[str, Any]:
        """The token endpoint's answer, or Refusal, which whoever asks has `refused` write down."""
        form = once(params)
        offered = {
            "authorization_code": self._redeem, "refresh_token": self._refresh, "client_credentials": self._system,
        }  # fmt: skip
        grant_type = form.get("grant_type", "")
        if grant_type not in offered:
            raise Refusal("unsupported_grant_type", f"Offered are {', '.join(offered)}.")
        if grant_type == "refresh_token" and not {"client_id", "client_assertion"} & form.keys():
            form["client_id"] = await self._whose(form.get("refresh_token", ""), at)
        return await offered[grant_type](form, await self.authenticate(form, authorization, at), at)

    async def refused(self, what: str, params: Sequence[tuple[str, str]], why: Refusal, at: datetime) -> None:
        """Write down that nothing was given for what was asked, without what was sent: by which registered client, as it says itself."""
        client = await named(self.store, dict(params), at)
        await self.store.commit(Note(self.new_id(), at, "E", what, False, "", client=client.id if client else None, detail=why.error))

    async def _whose(self, token: str, at: datetime) -> str:
        """Which app holds this refresh token: SMART asks an app without a key for nothing else when it refreshes."""
        raw = await self.store.kept(REFRESH, digest(token), at)
        found = await held.find(self.store, msgspec.json.decode(raw, type=Refresh).grant, at) if raw else None
        if found is None:
            raise ended()
        return found[0].client

    async def _redeem(self, form: Mapping[str, str], client: Client, at: datetime) -> dict[str, Any]:
        bad = Refusal("invalid_grant", "This code does not work: it is unknown, used, too old, or another app's.")
        key = digest(form.get("code", ""))
        raw = await self.store.kept(CODE, key, at)
        code = msgspec.json.decode(raw, type=Code) if raw else None
        if code is None or code.client != client.id:
            raise bad
        if code.used:
            await self._end(code.grant, at, await self._stolen("code used twice", code.subject, client.id, at))
            raise bad
        if at >= code.until or form.get("redirect_uri") != code.redirect_uri:
            raise bad
        if not verified(form.get("code_verifier", ""), code.challenge):
            raise Refusal("invalid_grant", "The code_verifier does not fit the code_challenge.")
        offline = "offline_access" in code.scopes.split()
        ends = at + (OFFLINE if offline else ONLINE)
        session = "" if offline else code.session
        grant = Grant(client.id, code.subject, code.scopes, code.launch, code.signed_in, ends, at, session, code.roles, code.assurance)
        once_only = Keep(CODE, key, pack(replace(code, used=True)), at + CODE_REMEMBERED, if_value=raw)
        answer = await self._answer(grant, code.grant, code.scopes, at, code.nonce)
        refresh, kept = self._new_refresh(grant, code.grant)
        note = await self._row("token", code.subject, client.id, at, f"authorization_code: {code.scopes}")
        if not await commit_unless_taken(self.store, once_only, *held.keeping(grant, code.grant), *kept, note):
            await self._end(code.grant, at, await self._stolen("code used twice", code.subject, client.id, at))
            raise bad
        return answer | refresh

    async def _refresh(self, form: Mapping[str, str], client: Client, at: datetime) -> dict[str, Any]:
        bad = ended()
        key = digest(form.get("refresh_token", ""))
        raw = await self.store.kept(REFRESH, key, at)
        token = msgspec.json.decode(raw, type=Refresh) if raw else None
        found = await held.find(self.store, token.grant, at) if token else None
        if token is None or found is None or found[0].client != client.id:
            raise bad
        grant = found[0]
        if token.used:  # somebody else has this token too: nobody keeps it
            await self._end(token.grant, at, await self._stolen("refresh token used twice", grant.subject, client.id, at))
            raise bad
        scopes = narrow(form["scope"], grant.scopes) if form.get("scope") else grant.scopes
        if not scopes:
            raise Refusal("invalid_scope", "The person has not agreed to these scopes.")
        answer = await self._answer(grant, token.grant, scopes, at)
        refresh, kept = self._new_refresh(grant, token.grant)
        spent = Keep(REFRESH, key, pack(replace(token, used=True)), grant.ends, if_value=raw)
        still = Keep(held.GRANT, token.grant, found[1], grant.ends, if_value=found[1])
        note = await self._row("token", grant.subject, client.id, at, f"refresh_token: {scopes}")
        if not await commit_unless_taken(self.store, spent, still, *kept, note):
            await self._end(token.grant, at, await self._stolen("refresh token used twice", grant.subject, client.id, at))
            raise bad
        return answer | refresh

    async def _system(self, form: Mapping[str, str], client: Client, at: datetime) -> dict[str, Any]:
        if client.kind != "system":
            raise Refusal("unauthorized_client", "This client is an app that people use: it cannot act by itself.")
        wanted = " ".join(s for s in form.get("scope", "").split() if s.startswith("system/"))
        scopes = narrow(wanted, client.scopes)
        if not scopes:
            raise Refusal("invalid_scope", "Ask for system/ scopes that this client is registered for.")
        caller = client.caller(issuer=self.base, jti=self.new_id(), expires=at + self.life, scopes=scopes)
        await self.store.commit(self._note("sign-in", caller, client.id, at, scopes))
        return self._bearer(await self.tokens.issue(caller, at), scopes)

    async def _answer(self, grant: Grant, name: str, scopes: str, at: datetime, nonce: str = "") -> dict[str, Any]:
        account = await people.find(self.store, grant.subject, at)
        if account is None or account.closed or account.given:
            raise Refusal("invalid_grant", "This account is closed.")
        caller = account.caller(
            issuer=self.base, jti=self.new_id(), expires=at + self.life, at=grant.signed_in, client=grant.client,
            scopes=scopes, launch=grant.launch, grant=name,
        )  # fmt: skip
        if grant.roles is not None and grant.assurance is not None:
            caller = replace(caller, roles=account.narrowed(frozenset(grant.roles)), assurance=grant.assurance)
        answer = self._bearer(await self.tokens.issue(caller, at), scopes)
        if grant.launch:
            answer |= {"patient": grant.launch.removeprefix("Patient/"), "need_patient_banner": True}
        if "openid" in scopes.split():
            answer["id_token"] = await self._id_token(caller, grant, scopes, at, nonce)
        return answer

    def _bearer(self, token: str, scopes: str) -> dict[str, Any]:
        seconds = int(self.life.total_seconds())
        return {"access_token": token, "token_type": "Bearer", "expires_in": seconds, "scope": scopes}

    async def _id_token(self, caller: Caller, grant: Grant, scopes: str, at: datetime, nonce: str) -> str:
        now = int(at.timestamp())
        claims = {
            "iss": self.base, "sub": caller.subject, "aud": grant.client, "iat": now, "exp": now + 300,
            "auth_time": int(grant.signed_in.timestamp()),
        }  # fmt: skip
        if "fhirUser" in scopes.split():
            claims["fhirUser"] = f"{self.fhir_base}/{caller.fhir_user}"
        more = {"nonce": nonce, "acr": caller.assurance}
        return sign(await self.tokens.id_signer(at), "JWT", claims | {k: v for k, v in more.items() if v})

    def _new_refresh(self, grant: Grant, name: str) -> tuple[dict[str, str], list[Keep]]:
        if not {"offline_access", "online_access"} & set(grant.scopes.split()):
            return {}, []
        token = self._random()
        kept = Keep(REFRESH, digest(token), pack(Refresh(name)), grant.ends, if_absent=True)
        return {"refresh_token": token}, [kept]

    # -- which client -------------------------------------------------------------------------------------------------

    async def authenticate(self, form: Mapping[str, str], authorization: str | None, at: datetime) -> Client:
        """The client that sends this form: by its key when it has one, by name alone for an app without. Refusal."""
        return await prove(self.store, form, authorization, at, endpoint=f"{self.base}/oauth/token", keysets=self.keysets)

    async def remove_client(self, id: str, at: datetime, *also: Op) -> bool:
        """Forget a client and end every token it holds; False when there was none."""
        ending = [op for name in await held.of_client(self.store, id, at) for op in held.ending(name, at)]
        ending += [Drop(clients.USED, f"{id} {kid}") for name, kid in await clients.last_used(self.store, at) if name == id]
        gone = Drop(clients.KIND, id, must_exist=True)
        return await commit_unless_taken(self.store, gone, *ending, revocation(f"client {id}", at + held.LONGEST), *also, CHANGED)

    # -- what a token is, and ending it -------------------------------------------------------------------------------

    async def introspect(
        self, params: Sequence[tuple[str, str]], authorization: str | None, at: datetime
    ) -> dict[str, Any]:
        """RFC 7662, for clients with a key: about their own tokens, or any when the client is a resource server.

        About a refresh token only when asked by its kind: nobody who takes any token for an access token is told that it is active.
        """
        form = once(params)
        client = await self.authenticate(form, authorization, at)
        if client.kind != "system":
            raise unknown_client("Only a client with a key may ask.")
        if form.get("token_type_hint") == "refresh_token" and (about := await self._about_refresh(form.get("token", ""), client, at)):
            return about
        try:
            caller = await self.tokens.verify(form.get("token", ""), at)
        except Problem:
            return {"active": False}
        if not client.may_introspect and caller.client != client.id:
            return {"active": False}
        about = {
            "active": True, "iss": caller.issuer, "sub": caller.subject, "client_id": caller.client,
            "scope": caller.scopes, "exp": int(caller.expires.timestamp()), "jti": caller.jti,
            "aud": self.tokens.audience, "token_type": "Bearer", "fhirUser": f"{self.fhir_base}/{caller.fhir_user}",
        }  # fmt: skip
        return about | ({"patient": caller.launch.removeprefix("Patient/")} if caller.launch else {})

    async def _about_refresh(self, token: str, client: Client, at: datetime) -> dict[str, Any] | None:
        """What this refresh token would be exchanged for now; None when for nothing, or when that is not this client's business."""
        raw = await self.store.kept(REFRESH, digest(token), at)
        kept = msgspec.json.decode(raw, type=Refresh) if raw else None
        found = await held.find(self.store, kept.grant, at) if kept and not kept.used else None
        account = await people.find(self.store, found[0].subject, at) if found else None
        if found is None or account is None or account.closed or account.given or not client.may_introspect:
            return None
        grant = found[0]
        about = {
            "active": True, "iss": self.base, "sub": grant.subject, "client_id": grant.client, "scope": grant.scopes, "exp": int(grant.ends.timestamp()),
            "aud": self.base, "fhirUser": f"{self.fhir_base}/{account.fhir_user}",
        }  # fmt: skip
        return about | ({"patient": grant.launch.removeprefix("Patient/")} if grant.launch else {})

    async def revoke(self, params: Sequence[tuple[str, str]], authorization: str | None, at: datetime) -> None:
        """RFC 7009: ends a refresh token with all issued under it, or one access token. Unknown ones are fine."""
        form = once(params)
        client = await self.authenticate(form, authorization, at)
        token = form.get("token", "")
        raw = await self.store.kept(REFRESH, digest(token), at)
        if raw:
            name = msgspec.json.decode(raw, type=Refresh).grant
            found = await held.find(self.store, name, at)
            if found and found[0].client == client.id:
                await self._end(name, at, await self._row("token-end", found[0].subject, client.id, at, "refresh_token"))
            return
        try:
            caller = await self.tokens.verify(token, at)
        except Problem:
            return
        if caller.client == client.id:
            note = self._note("token-end", caller, client.id, at, "access_token", patient=own_record(caller))
            await self.tokens.revoke({caller.jti: caller.expires}, note)

    async def _end(self, grant: str, at: datetime, note: Note) -> None:
        await self.store.commit(*held.ending(grant, at), note, CHANGED)

    # -- small things -------------------------------------------------------------------------------------------------

    def _random(self) -> str:
        return self.random_bytes(32).hex()

    async def _row(self, what: str, subject: str, client: str, at: datetime, detail: str, *, allowed: bool = True) -> Note:
        """What an app did by what this person let it do: in the log of whose record is theirs, or is in their hands."""
        who = await people.find(self.store, subject, at) or people.Account(subject, "")
        return Note(
            self.new_id(), at, "E", what, allowed, who.fhir_user, who.name, who.organisation, client, patient=who.record, detail=detail
        )

    async def _stolen(self, what: str, subject: str, client: str, at: datetime) -> Note:
        """A secret of an app came twice: somebody else may have it, and whom it was about can find that."""
        return await self._row("token-reused", subject, client, at, f"{what}: ended", allowed=False)

    def _note(self, what: str, who: Caller, client: str, at: datetime, detail: str, *, patient: str | None = None, allowed: bool = True) -> Note:
        return Note(
            self.new_id(), at, "E", what, allowed, who.fhir_user, who.name, who.organisation, client, patient=patient, detail=detail
        )


def narrow(wanted: str, most: str) -> str:
    """The scopes that both allow: never more than either."""
    return str(Scopes.parse(wanted).narrow(Scopes.parse(most)))


def ended() -> Refusal:
    return Refusal("invalid_grant", "This refresh token does not work any more. The person has to sign in again.")


def own_record(who: Caller) -> str | None:
    """The record of whoever acts for one person, themselves or another: what an app of theirs is always opened on."""
    return who.patient if who.kind in ("patient", "proxy") else None
