"""A launch from somebody's own system (SMART EHR launch), as the app that is launched: who it says is there, and which person they have open.

https://hl7.org/fhir/smart-app-launch/app-launch.html . Only systems that the settings name are ever asked, each on its own origin and the one
where it signs people in, each with an address of its own to come back to (RFC 9700 4.4: none can pass off an answer of another). What was
begun is sealed in a cookie of that browser: no other can end it, it ends by itself, and it ends once. Every Problem has one of `WHY` as
its `where`, and its text is for the trail.
"""

from __future__ import annotations

import asyncio
import base64
import hmac
import json
import re
import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from hashlib import sha256, sha512
from http.cookiejar import DefaultCookiePolicy
from typing import Any, Final
from urllib.parse import quote, urlencode, urlsplit

import httpx2
import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV
from joserfc import jwt

from .. import outbound
from ..domain.problem import Problem
from ..domain.types import Keep
from ..settings import LauncherSettings
from ..settings.signing import SigningKey
from ..settings.unsafe import private
from .assertions import TYPE
from .jose import Bad, instant, open_signed, public_keys
from .kept import Kept, commit_unless_taken, digest
from .tokens import check_audience, check_times

LASTS: Final = timedelta(minutes=10)  # from the launch to the answer: somebody may have to sign in there
ASSERTION: Final = timedelta(minutes=4)
SECONDS: Final = 8.0  # for a whole answer
LARGEST: Final = 1024 * 1024  # bytes of one
LONGEST: Final = 2_000  # characters of what goes into an address
KNOWN: Final = timedelta(minutes=1)  # how long its configuration is believed
AWAY: Final = timedelta(seconds=5)  # how long one that did not answer is not asked again
MOST: Final = 16  # comings from one system in hand at once: one that is slow takes no more of this service
WINDOWS: Final = 4  # that may be on their way at once in one browser
USED: Final = "launched"
ERRORS: Final = ("invalid_request", "invalid_client", "invalid_grant", "unauthorized_client", "unsupported_grant_type", "invalid_scope")
WHY: Final = {  # what is told the visitor, and as which Problem
    "launch-unknown": "forbidden", "launch-lost": "bad-request", "launch-refused": "bad-request", "launch-away": "unavailable",
    "launch-nobody": "bad-request", "launch-user": "forbidden", "launch-person": "not-found",
}  # fmt: skip
_ADDRESS = re.compile(r"[!-\[\]-~]{1,2000}")  # no space, no line, no backslash, which browsers read as a slash
_TOKEN = re.compile(r"[A-Za-z0-9._~+/-]+=*")
_ID = re.compile(r"[A-Za-z0-9\-.]{1,64}")
_USER = re.compile(r"(.*/)?(Practitioner|PractitionerRole)/[A-Za-z0-9\-.]{1,64}")


def stopped(why: str, text: str, *, noted: bool = False) -> Problem:
    return Problem(WHY[why], text, why, noted=noted)


@dataclass(frozen=True, slots=True)
class Told:
    """What their system says: who is there (the identifier `value` of `system`), the Patient that is open, since when they are signed in there."""

    launcher: LauncherSettings
    system: str
    value: str
    patient: dict[str, Any]
    signed_in: datetime | None = None


@dataclass(frozen=True, slots=True)
class _Begun:
    iss: str
    state: str
    verifier: str
    nonce: str
    until: int  # seconds since 1970


@dataclass
class Launches:
    """The systems that people may come from, and the two steps of coming. `base` is our address without /fhir."""

    launchers: Mapping[str, LauncherSettings]  # by iss, without a slash at the end
    keys: Mapping[str, SigningKey]  # of those where we sign in by one
    base: str
    secret: bytes
    store: Kept
    clock: Callable[[], datetime]
    new_id: Callable[[], str]
    seconds: float = SECONDS
    random: Callable[[], str] = field(default=lambda: secrets.token_urlsafe(32))
    _said: dict[str, tuple[datetime, dict[str, Any] | None]] = field(default_factory=dict, repr=False)  # its configuration, or that it gave none
    _asking: dict[str, asyncio.Lock] = field(default_factory=dict, repr=False)
    _http: httpx2.AsyncClient | None = field(default=None, repr=False)
    _in_hand: dict[str, int] = field(default_factory=dict, repr=False)

    @property
    def cookie(self) -> str:
        """With what the names of our cookies begin: each window that comes from there has its own, and two of them do not meet."""
        return "__Host-launch-" if self.base.startswith("https:") else "launch-"

    def carried(self, kept: str, *, ended: bool = False) -> str:
        """A Set-Cookie that keeps what was begun, or takes it away."""
        return self._set(f"{self.cookie}{digest(kept)[:12]}", "" if ended else kept)

    def kept(self, cookies: Mapping[str, str], state: str) -> str:
        """What was begun in this browser with this state; "" when nothing was."""
        for kept in self._all(cookies).values():
            begun = self._opened(kept)
            if begun is not None and _same(begun, state):
                return kept
        return ""

    def beyond(self, cookies: Mapping[str, str]) -> list[str]:
        """Set-Cookie values that take away what is too much for one browser: all but the newest few, and what cannot be read."""
        begun = {name: self._opened(kept) for name, kept in self._all(cookies).items()}
        newest = sorted(begun, key=lambda name: (b.until if (b := begun[name]) else 0, name), reverse=True)
        return [self._set(name, "") for i, name in enumerate(newest) if i >= WINDOWS - 1 or begun[name] is None]

    def _all(self, cookies: Mapping[str, str]) -> dict[str, str]:
        return {name: kept for name, kept in cookies.items() if name.startswith(self.cookie)}

    def _set(self, name: str, value: str) -> str:
        ends = int(LASTS.total_seconds()) if value else 0
        return f"{name}={value}; Path=/; HttpOnly; SameSite=Lax; Max-Age={ends}{'; Secure' if self.base.startswith('https:') else ''}"

    async def begin(self, iss: str, launch: str) -> tuple[str, str]:
        """(where to send the browser, what its cookie keeps). Problem launch-unknown, launch-lost, launch-away."""
        launcher = self.launchers.get(iss.rstrip("/"))
        if launcher is None:
            raise stopped("launch-unknown", "from a system that is not registered here")
        if not launch or len(launch) > LONGEST:
            raise stopped("launch-lost", f"{launcher.name}: no launch")
        with self._place(launcher):
            about = await self._about(launcher)
        begun = _Begun(launcher.iss, self.random(), self.random(), self.random(), int((self.clock() + LASTS).timestamp()))
        where = _endpoint(launcher, about, "authorization_endpoint")
        proofs = about.get("code_challenge_methods_supported", ["S256"])  # an older server says nothing of it
        if not isinstance(proofs, list) or "S256" not in proofs:
            raise stopped("launch-away", f"{launcher.name}: it takes no proof of who began (PKCE by S256)")
        challenge = base64.urlsafe_b64encode(sha256(begun.verifier.encode()).digest()).decode().rstrip("=")
        asked = {
            "response_type": "code", "client_id": launcher.client, "redirect_uri": self.back(launcher), "launch": launch, "scope": _scope(about), "state": begun.state,
            "aud": launcher.iss, "code_challenge": challenge, "code_challenge_method": "S256", "nonce": begun.nonce,
        }  # fmt: skip
        return f"{where}{'&' if urlsplit(where).query else '?'}{urlencode(asked)}", self._sealed(begun)

    def back(self, launcher: LauncherSettings) -> str:
        return f"{self.base}/launch/callback/{launcher.name}"

    async def finish(self, name: str, query: Mapping[str, str], kept: str) -> Told:
        """What came of it, at the address of the launcher `name`. Problem: every one of WHY but launch-person."""
        begun = self._opened(kept)
        launcher = self.launchers.get(begun.iss.rstrip("/")) if begun else None
        if begun is None or launcher is None or launcher.name != name or not _same(begun, query.get("state", "")):
            raise stopped("launch-lost", "not begun in this browser, or too long ago")
        if not await commit_unless_taken(self.store, Keep(USED, digest(begun.state), b"1", self.clock() + 2 * LASTS, if_absent=True)):
            raise stopped("launch-lost", f"{launcher.name}: its answer came twice")
        if "error" in query or not query.get("code"):
            raise stopped("launch-refused", f"{launcher.name}: {_plain(query.get('error', 'no code'))}")
        with self._place(launcher):
            about = await self._about(launcher)
            named = query.get("iss", about.get("issuer") if about.get("authorization_response_iss_parameter_supported") is not True else "")
            if named != about.get("issuer"):  # RFC 9207
                raise stopped("launch-lost", f"{launcher.name}: an answer of another issuer")
            said = await self._exchanged(launcher, about, query["code"], begun)
            system, value, since = await self._user(launcher, about, said, begun.nonce)
            return Told(launcher, system, value, await self._patient(launcher, said), since)

    @contextmanager
    def _place(self, launcher: LauncherSettings) -> Iterator[None]:
        """One of the places that comings from this system may take up at once. Problem launch-away when all are taken."""
        if self._in_hand.get(launcher.name, 0) >= MOST:
            raise stopped("launch-away", f"{launcher.name}: it is slow, and too many wait for it")
        self._in_hand[launcher.name] = self._in_hand.get(launcher.name, 0) + 1
        try:
            yield
        finally:
            self._in_hand[launcher.name] -= 1

    # -- what is asked of their system

    async def _about(self, launcher: LauncherSettings) -> dict[str, Any]:
        """Its configuration, asked for once a minute at most, whoever comes. Problem launch-away."""
        async with self._asking.setdefault(launcher.name, asyncio.Lock()):
            until, said = self._said.get(launcher.name, (self.clock(), None))
            if self.clock() >= until:
                self._said[launcher.name] = self.clock() + AWAY, None
                status, said = await self._answer(launcher, "GET", f"{launcher.iss.rstrip('/')}/.well-known/smart-configuration")
                if status == 200:
                    self._said[launcher.name] = self.clock() + KNOWN, said
                else:
                    said = None
        if said is None:
            raise stopped("launch-away", f"{launcher.name}: its smart-configuration cannot be had")
        return said

    async def _exchanged(self, launcher: LauncherSettings, about: Mapping[str, Any], code: str, begun: _Begun) -> dict[str, Any]:
        where = _endpoint(launcher, about, "token_endpoint")
        form = {"grant_type": "authorization_code", "code": code, "redirect_uri": self.back(launcher), "code_verifier": begun.verifier}
        headers = {}
        if key := self.keys.get(launcher.iss):
            form |= {"client_assertion_type": TYPE, "client_assertion": self._statement(launcher, key, where)}
        elif launcher.secret:
            pair = f"{quote(launcher.client, safe='')}:{quote(launcher.secret, safe='')}"  # RFC 6749 2.3.1
            headers["Authorization"] = "Basic " + base64.b64encode(pair.encode()).decode()
        else:
            form["client_id"] = launcher.client
        status, said = await self._answer(launcher, "POST", where, headers, urlencode(form))
        if status in (400, 401, 403):
            code_said = said.get("error")  # anything else may repeat what we said
            raise stopped("launch-refused", f"{launcher.name}: its token endpoint refuses: {code_said if code_said in ERRORS else status}")
        token = said.get("access_token")
        if status != 200 or not isinstance(token, str) or not _TOKEN.fullmatch(token) or str(said.get("token_type", "")).lower() != "bearer":
            raise stopped("launch-away", f"{launcher.name}: its token endpoint answers without a bearer token ({status})")
        return said

    def _statement(self, launcher: LauncherSettings, key: SigningKey, where: str) -> str:
        at = self.clock()
        claims = {
            "iss": launcher.client, "sub": launcher.client, "aud": where, "jti": self.new_id(), "iat": int(at.timestamp()),
            "exp": int((at + ASSERTION).timestamp()),
        }  # fmt: skip
        return jwt.encode({"alg": key.algorithm, "kid": key.kid, "typ": "JWT"}, claims, key.key, algorithms=[key.algorithm])

    async def _user(
        self, launcher: LauncherSettings, about: Mapping[str, Any], said: Mapping[str, Any], nonce: str
    ) -> tuple[str, str, datetime | None]:
        """(system, value) of whoever is signed in there, by the id token that it signed for us and for this launch, and since when."""
        issuer = _endpoint(launcher, about, "issuer")
        status, keys = await self._answer(launcher, "GET", _endpoint(launcher, about, "jwks_uri"))
        at = self.clock()
        try:
            if status != 200:
                raise Bad("no keys")
            claims = open_signed(str(said.get("id_token")), public_keys(keys)).claims
            check_times(claims, at)
            check_audience(claims, launcher.client)
            several = isinstance(claims["aud"], list) and len(claims["aud"]) > 1
            if claims.get("iss") != issuer or claims.get("azp", None if several else launcher.client) != launcher.client:
                raise Bad("another issuer's, or for another")
            if not hmac.compare_digest(str(claims.get("nonce", "")).encode(), nonce.encode()):
                raise Bad("of another launch")
            since = instant(claims, "auth_time")
        except Bad as why:
            raise stopped("launch-user", f"{launcher.name}: its id token cannot be believed: {why}") from None
        who, user = claims.get(launcher.user_claim), claims.get("fhirUser", "Practitioner/unsaid")
        if not isinstance(who, str) or not who or not isinstance(user, str) or not _USER.fullmatch(user):
            raise stopped("launch-user", f"{launcher.name}: it names no member of staff")
        return launcher.user_system or issuer, who, datetime.fromtimestamp(min(since, at.timestamp()), UTC) if since is not None else None

    async def _patient(self, launcher: LauncherSettings, said: Mapping[str, Any]) -> dict[str, Any]:
        id = said.get("patient")
        if not isinstance(id, str) or not _ID.fullmatch(id) or not id.strip("."):
            raise stopped("launch-nobody", f"{launcher.name}: no patient")
        headers = {"Authorization": f"Bearer {said['access_token']}", "Accept": "application/fhir+json"}
        status, patient = await self._answer(launcher, "GET", f"{launcher.iss.rstrip('/')}/Patient/{id}", headers)
        if status != 200 or patient.get("resourceType") != "Patient" or patient.get("id") != id:
            raise stopped("launch-away", f"{launcher.name}: the person cannot be read ({status})")
        return patient

    async def _answer(
        self, launcher: LauncherSettings, method: str, url: str, headers: Mapping[str, str] | None = None, form: str = ""
    ) -> tuple[int, dict[str, Any]]:
        """Status and JSON object ({} for anything else). Problem launch-away."""
        sent = {"Accept": "application/json", "Accept-Encoding": "identity", **(headers or {}), **({"Content-Type": "application/x-www-form-urlencoded"} if form else {})}
        raw = b""
        try:
            async with asyncio.timeout(self.seconds), self._client().stream(method, url, content=form or None, headers=sent) as response:
                async for part in response.aiter_raw():  # unpacked, a little can be very much
                    raw += part
                    if len(raw) > LARGEST:
                        raise stopped("launch-away", f"{launcher.name}: an answer of more than 1 MiB")
        except (httpx2.HTTPError, httpx2.InvalidURL, TimeoutError) as wrong:
            raise stopped("launch-away", f"{launcher.name}: cannot be reached ({type(wrong).__name__})") from None
        if response.status_code >= 500 or 300 <= response.status_code < 400:
            raise stopped("launch-away", f"{launcher.name}: it answered {response.status_code}")
        try:
            said = json.loads(raw)
        except (ValueError, RecursionError):
            said = None
        return response.status_code, said if isinstance(said, dict) else {}

    def _client(self) -> httpx2.AsyncClient:
        """One for all that is asked: to make one takes longer than to ask."""
        if self._http is None:
            self._http = outbound.client(self.seconds)
            self._http.cookies.jar.set_policy(DefaultCookiePolicy(allowed_domains=()))  # nothing of one person's coming goes into another's
        return self._http

    # -- what the browser keeps meanwhile

    def _sealed(self, begun: _Begun) -> str:
        return base64.urlsafe_b64encode(_sealer(self.secret).encrypt(msgspec.json.encode(begun), None)).decode().rstrip("=")

    def _opened(self, kept: str) -> _Begun | None:
        """What was begun here, not longer ago than LASTS; None for anything else."""
        try:
            if len(kept) > 4_000:
                return None
            raw = base64.b64decode(kept + "=" * (-len(kept) % 4), altchars=b"-_", validate=True)
            begun = msgspec.json.decode(_sealer(self.secret).decrypt(raw, None), type=_Begun)
        except (ValueError, InvalidTag, msgspec.MsgspecError):
            return None
        return begun if self.clock().timestamp() <= begun.until else None


def _same(begun: _Begun, state: str) -> bool:
    return hmac.compare_digest(begun.state.encode(), state.encode("utf-8", "replace"))


def _endpoint(launcher: LauncherSettings, about: Mapping[str, Any], name: str) -> str:
    """An address that its configuration names, on its own origin or the one of its `sign_in`. Problem launch-away."""
    where = about.get(name)
    if not isinstance(where, str) or not _ADDRESS.fullmatch(where) or not private(where) or "#" in where or _origin(where) not in {_origin(launcher.iss), _origin(launcher.sign_in)}:
        raise stopped("launch-away", f"{launcher.name}: its {name} is not there, or on a server that `sign_in` does not name")
    return where


def _origin(address: str) -> tuple[str, str, int | None]:
    where = urlsplit(address)
    return where.scheme, where.hostname or "", where.port or {"https": 443, "http": 80}.get(where.scheme)


def _scope(about: Mapping[str, Any]) -> str:
    """The least that says who and whom, in the words that it knows."""
    can = about.get("capabilities")
    old = isinstance(can, list) and "permission-v1" in can and "permission-v2" not in can
    return f"launch openid fhirUser patient/Patient.{'read' if old else 'r'}"


def _plain(text: str) -> str:
    return re.sub(r"[^ -~]", "?", text)[:60]


@lru_cache(4)
def _sealer(secret: bytes) -> AESSIV:
    return AESSIV(sha512(b"launch" + secret).digest())


__all__ = ["LASTS", "WHY", "Launches", "Told", "stopped"]
