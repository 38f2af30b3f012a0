"""SMART Backend Services, as a client: a short-lived token for a statement that we sign with our key.

https://hl7.org/fhir/smart-app-launch/backend-services.html . The token is in memory alone, and asked for again half a minute before it
ends. What goes wrong here never reached the other server's records: Down has `arrived` False.
"""

from __future__ import annotations

import asyncio
import base64
import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode, urlsplit

import httpx2
from joserfc import jwt

from .. import outbound
from ..settings.signing import SigningKey
from ..settings.unsafe import private
from .client import Down, Locked, RemoteServer, wait_asked
from .failures import unreached

SCOPE = "system/*.cruds"
ASSERTION = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
LIFE = timedelta(minutes=4)  # of a statement: five minutes are the most
EARLY = 30.0  # seconds before its end a token is not used any more
UNTOLD = 300.0  # seconds that a token lives whose server does not say
LARGEST = 64 * 1024  # bytes
SECONDS = 10.0  # for each step, and for a whole answer
ERRORS = ("invalid_request", "invalid_client", "invalid_grant", "unauthorized_client", "unsupported_grant_type", "invalid_scope")  # RFC 6749 5.2
_TOKEN = re.compile(r"[A-Za-z0-9._~+/-]+=*")  # RFC 6750 2.1


@dataclass(frozen=True, slots=True)
class Credential:
    """By what we sign in at a server, for whoever looks after it: never the secret itself. `kind` is that of `auth` in the settings;
    `ends` where what we hold says so."""

    kind: str
    client: str = ""
    kid: str = ""
    algorithm: str = ""
    ends: datetime | None = None


def credential_of(server: RemoteServer) -> Credential:
    """What this server knows us by."""
    if isinstance(server.sign_in, SignIn):
        return Credential("smart", server.sign_in.client, server.sign_in.key.kid, server.sign_in.key.algorithm)
    kind, _, said = server.authorization.partition(" ")
    return Credential(kind.lower() or "none", ends=_end_of(said) if kind == "Bearer" else None)


def _end_of(token: str) -> datetime | None:
    """What a JWT says as `exp`; None for any other token."""
    try:
        body = token.split(".")[1]
        return datetime.fromtimestamp(json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))["exp"], UTC)
    except (IndexError, ValueError, KeyError, TypeError, OverflowError, OSError, RecursionError):
        return None


@dataclass
class SignIn:
    """How we sign in at one server: which client we are there, and by which key. `token_url` "" asks the server where."""

    base: str
    client: str
    key: SigningKey
    clock: Callable[[], datetime]
    new_id: Callable[[], str]
    token_url: str = ""
    scope: str = SCOPE
    http: httpx2.AsyncClient = field(init=False, repr=False)
    _held: str = field(default="", repr=False)
    _until: datetime | None = None
    _asking: asyncio.Lock = field(default_factory=asyncio.Lock, repr=False)

    def __post_init__(self) -> None:
        self.base = self.base.rstrip("/")
        self.http = outbound.client(SECONDS)

    async def close(self) -> None:
        await self.http.aclose()

    async def header(self) -> str:
        """`Bearer …`, good for at least a moment. Down; Locked when they refuse us, or say what we cannot trust."""
        async with self._asking:
            if self._until is None or self.clock() >= self._until:
                await self._ask()
            return f"Bearer {self._held}"

    def forget(self, header: str) -> None:
        """They no longer take this one: the next is asked for, unless somebody did already."""
        if header == f"Bearer {self._held}":
            self._until = None

    async def _ask(self) -> None:
        endpoint = self.token_url or await self._discovered()
        form = {"grant_type": "client_credentials", "scope": self.scope, "client_assertion_type": ASSERTION, "client_assertion": self._statement(endpoint)}
        status, said = await self._answer("POST", endpoint, urlencode(form))
        if status != 200:
            code = said.get("error")  # anything else may repeat what we said
            raise Locked(f"its token endpoint refuses us: {code if code in ERRORS else status}")
        token, seconds = said.get("access_token"), said.get("expires_in", UNTOLD)
        if not isinstance(token, str) or not _TOKEN.fullmatch(token) or str(said.get("token_type", "")).lower() != "bearer":
            raise Locked("its token endpoint answers without a bearer token")
        life = float(seconds) if isinstance(seconds, int | float) and not isinstance(seconds, bool) and 0 < seconds < 1e9 else UNTOLD
        self._held, self._until = token, self.clock() + timedelta(seconds=max(life - EARLY, life / 2))

    def _statement(self, endpoint: str) -> str:
        at = self.clock()
        claims = {
            "iss": self.client, "sub": self.client, "aud": endpoint, "jti": self.new_id(), "iat": int(at.timestamp()), "exp": int((at + LIFE).timestamp()),
        }  # fmt: skip
        header = {"alg": self.key.algorithm, "kid": self.key.kid, "typ": "JWT"}
        return jwt.encode(header, claims, self.key.key, algorithms=[self.key.algorithm])

    async def _discovered(self) -> str:
        """Their token endpoint, as they say it: on their own origin, or named in our settings."""
        status, said = await self._answer("GET", f"{self.base}/.well-known/smart-configuration")
        endpoint = said.get("token_endpoint")
        if status != 200 or not isinstance(endpoint, str) or not private(endpoint):
            raise Locked("it does not say where to sign in (.well-known/smart-configuration): name its `token_url`")
        here, there = urlsplit(self.base), urlsplit(endpoint)
        if (here.scheme, here.netloc.lower()) != (there.scheme, there.netloc.lower()):
            raise Locked("its token endpoint is on another server: if that is right, name it as `token_url`")
        return endpoint

    async def _answer(self, method: str, url: str, form: str = "") -> tuple[int, dict[str, Any]]:
        """Status and JSON object ({} for anything else). Down."""
        headers = {"Accept": "application/json", **({"Content-Type": "application/x-www-form-urlencoded"} if form else {})}
        try:
            async with asyncio.timeout(SECONDS), self.http.stream(method, url, content=form or None, headers=headers) as response:
                raw = b""
                async for part in response.aiter_bytes():
                    raw += part
                    if len(raw) > LARGEST:
                        raise Down("where we sign in, the answer is larger than 64 KiB", arrived=False)
        except (httpx2.HTTPError, TimeoutError) as e:
            raise Down(f"where we sign in cannot be reached: {unreached(e)}", arrived=False) from None
        status = response.status_code
        if status in (408, 429) or status >= 500:
            raise Down(f"where we sign in, it answered {status}", wait_asked(response.headers, self.clock()), arrived=False)
        if 300 <= status < 400:
            raise Down(f"where we sign in, it answered with a redirect ({status}), which is not followed", arrived=False)
        try:
            said = json.loads(raw)
        except (ValueError, RecursionError):
            said = None
        return status, said if isinstance(said, dict) else {}
