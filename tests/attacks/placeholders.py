"""What a name in a case stands for, at this stand: `{{CP_A}}`, `{{TOK_NBF_FUTURE}}`, `{{CODE_11MIN_OLD}}`, `{{CSRF_A}}` ...

Ids and identifiers were fixed by the seed. Tokens are made when they are asked for. Codes, refresh tokens, page sessions and revocations
are made in the served store, by the functions that the server itself calls; only their clock is ours.
"""

from __future__ import annotations

import asyncio
import re
import secrets
from base64 import b64encode
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qs, urlsplit

from authlib.oauth2.rfc7636 import create_s256_code_challenge

from fhir_gateway.auth import clients, people
from fhir_gateway.auth.oauth import OAuth
from fhir_gateway.auth.sessions import Sessions, form_token
from fhir_gateway.auth.tokens import Caller, mint, sign
from fhir_gateway.wiring import Wired, new_id, now, wired

from . import credentials, seeding
from .credentials import LIFE, Good, Key, System
from .seeding import Seeded
from .stand import Stand

NAME = re.compile(r"\{\{([A-Z][A-Za-z0-9_]*)\}\}")
VERIFIER = "a-verifier-of-this-runner-that-is-long-enough-0123456789"
KEPT = timedelta(minutes=5)  # a token is made again after that
ACCOUNTS = {
    "PAT_A": "person-a", "PAT_B": "person-b", "A": "person-a", "B": "person-b", "GP": "gp", "VCSE": "vcse", "ADMIN": "admin", "OTHER_GP": "other-gp",
    "PRAC_OTHER": "other-gp", "GP_EXPIRED_CONSENT": "gp-expired", "GP_FUTURE_CONSENT": "gp-future", "GP_ENTERED_IN_ERROR_CONSENT": "gp-error",
    "GP_NO_CONSENTS": "gp-none", "PRAC_DEACTIVATED": "deactivated",
}  # fmt: skip
SYSTEMS = {"SYS_HOSP1": "hosp1", "SYS_OTHER": "other-system", "SYS_COUNTY": "county"}
CAREPLAN_CATEGORY = f"patient/CarePlan.rs?category={seeding.CATEGORY}|assess-plan"
SCOPED = {
    "A_GOAL_ONLY": "openid fhirUser patient/Goal.cruds", "A_CAREPLAN_ONLY": "openid fhirUser patient/CarePlan.cruds",
    "A_READONLY": "openid fhirUser patient/*.rs", "A_READ_NOSEARCH": "openid fhirUser patient/*.r", "A_SEARCH_NOREAD": "openid fhirUser patient/*.s",
    "A_CAREPLAN_CATEGORY": f"openid fhirUser {CAREPLAN_CATEGORY}", "A_NO_SCOPES": "openid",
}  # fmt: skip
APP_SCOPES = "openid fhirUser launch/patient offline_access patient/*.cruds"
SECRET_OF_OTHER = "a-secret-that-another-client-might-have"


class Unknown(LookupError):
    """A placeholder that stands for nothing here."""


@dataclass
class _Cast:
    """Who is known to the seed's store."""

    key: Key
    accounts: dict[str, people.Account]
    clients: dict[str, clients.Client]


class Names:
    """The placeholders of one stand. `renewed` after every fresh copy: what was made in the old one is gone."""

    def __init__(self, stand: Stand, seeded: Seeded, sink: str) -> None:
        self.stand, self.seeded, self.sink = stand, seeded, sink
        self.cast = self._on(stand.seed, self._known)
        self._tokens: dict[str, tuple[datetime, str]] = {}
        self._made: dict[str, str] = {}
        self.next_link: Callable[[str], str] = lambda name: _raise(name)

    def __contains__(self, name: str) -> bool:
        """Whether this name was bound or made since the last fresh copy."""
        return name in self._made

    def end_session(self, cookie: str) -> None:
        """Sign out whoever has this Cookie header."""
        key, _, value = cookie.partition("=")
        self.live(lambda w: self._sessions(w).end(SimpleNamespace(cookies={key: value})))

    def renewed(self) -> None:
        self._made.clear()

    def bind(self, name: str, value: str) -> None:
        """From now on, and until the next fresh copy, this name stands for that."""
        self._made[name] = value

    def fill(self, value: Any) -> Any:
        """The value with every `{{NAME}}` in it replaced. Unknown names the first that stands for nothing."""
        if isinstance(value, str):
            return NAME.sub(lambda m: self[m[1]], value)
        if isinstance(value, dict):
            return {self.fill(k): self.fill(v) for k, v in value.items()}
        return [self.fill(v) for v in value] if isinstance(value, list) else value

    def __getitem__(self, name: str) -> str:
        if name in self._made:
            return self._made[name]
        if (fixed := self._fixed(name)) is not None:
            return fixed
        for prefix, make in (
            ("TOK_", self._token), ("ASSERT_", self._assertion), ("CODE_", self._code), ("RT_", self._refresh), ("CLIENT_", self._client),
            ("CSRF_", self._csrf), ("UI_SESSION_COOKIE", self._cookie), ("NEXT_LINK_", lambda who: self.next_link(who)),
        ):  # fmt: skip
            if name.startswith(prefix):
                try:
                    return make(name.removeprefix(prefix))
                except Unknown:
                    raise Unknown(name) from None
        raise Unknown(name)

    # -- what never changes -------------------------------------------------------------------------------------------

    def _fixed(self, name: str) -> str | None:
        base = self.stand.base
        known = {
            "BASE": "/fhir", "BASE_URL": f"{base}/fhir", "HOST": self.stand.host, "ADMIN": "/admin", "UI": "", "UI_LOGIN": "/sign-in",
            "UI_LOGOUT": "/sign-out", "UI_GRANT": "/my-plan/sharing/new", "UI_PLAN_A": "/my-plan", "UI_PLAN_B": "/my-plan", "UI_HOME": "/home",
            "AS_TOKEN": "/oauth/token", "AS_AUTHORIZE": "/oauth/authorize", "AS_INTROSPECT": "/oauth/introspect", "AS_REVOKE": "/oauth/revoke",
            "AS_JWKS": "/oauth/jwks", "AS_ISSUER": base, "SINK": self.sink, "ALLOWED_HOST": self.stand.allowed,
            "CANARY_A": seeding.CANARY_A, "CANARY_A_QR": seeding.CANARY_A_QR, "CANARY_B": seeding.CANARY_B, "NHS_A": seeding.NHS_A, "NHS_B": seeding.NHS_B,
            "USER_A": "person-a", "PASS_A": seeding.PASSWORD_A, "USER_B": "person-b", "PASS_B": seeding.PASSWORD_B, "VERIFIER": VERIFIER,
            "CHALLENGE": create_s256_code_challenge(VERIFIER), "REDIRECT_OK": seeding.REDIRECT, "REDIRECT_OTHER": seeding.REDIRECT_OTHER,
            "SECRET_OF_OTHER": SECRET_OF_OTHER, "BASIC_CLIENT_OTHER": b64encode(f"app-other:{SECRET_OF_OTHER}".encode()).decode(),
        }  # fmt: skip
        return known.get(name) or (self.seeded.values.get(name) if name not in known else known[name])

    def _client(self, name: str) -> str:
        known = {
            "PUBLIC": "app-public", "APP": "app-public", "SYSTEM": "hosp1", "CONF": "hosp1", "CONFIDENTIAL": "hosp1", "HOSP1": "hosp1", "BACKEND": "hosp1",
            "ID": "app-public", "A": "app-public", "B": "app-other", "SYS_HOSP1": "hosp1", "UNKNOWN": "no-such-client",
        }  # fmt: skip
        if name in known:
            return known[name]
        if name == "ASSERTION":
            return self._assertion("OK")
        raise Unknown(name)

    # -- tokens -------------------------------------------------------------------------------------------------------

    def _token(self, name: str) -> str:
        at = now()
        if name in self._tokens and at - self._tokens[name][0] < (timedelta(seconds=5) if name.startswith(("EXP_", "IAT_", "NBF_")) else KEPT):
            return self._tokens[name][1]
        made = self._lasting(name, at)
        if made is not None:
            self._tokens[name] = at, made
            return made
        made = self._in_store(name)
        self._made[f"TOK_{name}"] = made
        return made

    def _lasting(self, name: str, at: datetime) -> str | None:
        """A token that is the same whatever was written since."""
        if name in ACCOUNTS:
            return self._mint(self.person(ACCOUNTS[name], at), at)
        if name in SYSTEMS:
            client = self.cast.clients[SYSTEMS[name]]
            return self._mint(client.caller(issuer=self.stand.base, jti=new_id(), expires=at + LIFE, scopes=client.scopes), at)
        if name in SCOPED:
            return self._mint(self.person("person-a", at, scopes=SCOPED[name]), at)
        if name == "LAUNCH_A":
            launched = self.person("both-gp", at, scopes="launch openid fhirUser patient/*.cruds", launch=f"Patient/{self.seeded.values['PAT_A']}")
            return self._mint(launched, at)
        if name == "ID_TOKEN":
            claims = {"iss": self.stand.base, "sub": "person-a", "aud": "app-public", "iat": int(at.timestamp()), "exp": int(at.timestamp()) + 300}
            return sign(self._signer, "JWT", claims)
        if name == "CLIENT_ASSERTION":
            return self._assertion("OK")
        header, claims = credentials.take_apart(self._mint(self.person("person-a", at), at))
        return credentials.defect(name, Good(header, claims, self.cast.key, at, self.sink))

    def person(self, account: str, at: datetime, scopes: str | None = None, launch: str | None = None) -> Caller:
        """Whoever has this account, signed in at this moment."""
        return self.cast.accounts[account].caller(
            issuer=self.stand.base, jti=new_id(), expires=at + LIFE, at=at, client="app-public", scopes=scopes, launch=launch
        )

    def _mint(self, caller: Caller, at: datetime) -> str:
        return mint(self._signer, caller, f"{self.stand.base}/fhir", at)

    def _in_store(self, name: str) -> str:
        if name == "REVOKED":
            token = self._mint(self.person("person-a", now()), now())
            _, claims = credentials.take_apart(token)
            self.live(lambda w: w.tokens.revoke({claims["jti"]: now() + LIFE}))
            return token
        if name == "REFRESH":
            return self["RT_FRESH"]
        if name.startswith("FROM_"):  # what was got for this code or refresh token
            of = name.removeprefix("FROM_")
            self[of]
            if f"TOK_{name}" in self._made:
                return self._made[f"TOK_{name}"]
        raise Unknown(name)

    # -- what systems and apps hold -----------------------------------------------------------------------------------

    def _assertion(self, name: str) -> str:
        if name.rstrip("0123456789") in ("USED", "REUSED", "REPLAY", "REPLAYED", "SPENT"):
            made = self._assertion("OK")
            self.spend("client_assertion", made)
            return self._remember(f"ASSERT_{name}", made)
        system = System(
            "hosp1", self._key_of("hosp1"), f"{self.stand.base}/oauth/token", self.stand.base, self.sink, "other-system", self._key_of("other-system"), now()
        )  # fmt: skip
        made_or_none = credentials.assertion(name, system)
        if made_or_none is None:
            raise Unknown(name)
        return self._remember(f"ASSERT_{name}", made_or_none)

    def _key_of(self, client: str) -> Key:
        return Key.of(self.seeded.keys[client], "ES384", f"{client}-1")

    def _code(self, name: str) -> str:
        """FRESH1, OK, USED, OLD, EXPIRED, 11MIN_OLD, OTHER_CLIENT, B, UNKNOWN."""
        plain = name.rstrip("0123456789")
        aged = re.fullmatch(r"(\d+[A-Z]+)_OLD", name)
        if plain in ("FRESH", "OK", "GOOD", "VALID", "A", ""):
            made = self.approve("person-a")
        elif plain in ("USED", "SPENT", "REUSED"):
            made = self._remember(f"CODE_{name}", self.approve("person-a"))
            self.spend("code", made, f"CODE_{name}")
        elif plain in ("OLD", "EXPIRED"):
            made = self.approve("person-a", back=timedelta(minutes=11))
        elif aged and (old := credentials.seconds(aged[1])) is not None:
            made = self.approve("person-a", back=timedelta(seconds=old))
        elif plain in ("OTHER", "OTHER_CLIENT", "OF_OTHER", "OF_OTHER_CLIENT"):
            made = self.approve("person-a", client="app-other", redirect=seeding.REDIRECT_OTHER)
        elif plain in ("B", "PAT_B"):
            made = self.approve("person-b")
        elif plain in ("UNKNOWN", "GARBAGE"):
            made = secrets.token_hex(32)
        else:
            raise Unknown(name)
        return self._remember(f"CODE_{name}", made)

    def _refresh(self, name: str) -> str:
        """FRESH1, OK, A, B, USED, ROTATED, OLD, REVOKED, EXPIRED, OTHER_CLIENT, UNKNOWN."""
        plain = name.rstrip("0123456789")
        if plain in ("UNKNOWN", "GARBAGE"):
            made = secrets.token_hex(32)
        elif plain in ("FRESH", "OK", "GOOD", "VALID", "A", "PUB", "PAT_A", ""):
            made = self.refresh_token("person-a")
        elif plain in ("B", "PAT_B"):
            made = self.refresh_token("person-b")
        elif plain in ("OTHER", "OTHER_CLIENT", "OF_OTHER", "OF_OTHER_CLIENT"):
            made = self.refresh_token("person-a", client="app-other", redirect=seeding.REDIRECT_OTHER)
        elif plain in ("EXPIRED",):
            made = self.refresh_token("person-a", back=timedelta(days=200))
        elif plain in ("USED", "ROTATED", "OLD", "SPENT", "REUSED"):
            made = self._remember(f"RT_{name}", self.refresh_token("person-a"))
            self.spend("refresh_token", made, f"RT_{name}")
        elif plain in ("REVOKED",):
            made = self.refresh_token("person-a")
            self.live(lambda w: self._oauth(w).revoke([("client_id", "app-public"), ("token", made)], None, now()))
        else:
            raise Unknown(name)
        return self._remember(f"RT_{name}", made)

    def approve(self, account: str, *, client: str = "app-public", redirect: str = seeding.REDIRECT, back: timedelta = timedelta()) -> str:
        """A code: this person agreed that this app may, so long ago."""
        at = now() - back
        asked = {
            "response_type": "code", "client_id": client, "redirect_uri": redirect, "scope": APP_SCOPES, "state": "s", "aud": f"{self.stand.base}/fhir",
            "code_challenge": create_s256_code_challenge(VERIFIER), "code_challenge_method": "S256",
        }  # fmt: skip

        async def doing(w: Wired) -> str:
            server = self._oauth(w)
            return await server.approve(await server.asked(list(asked.items()), at), self.person(account, at), at)

        return parse_qs(urlsplit(self.live(doing)).query)["code"][0]

    def refresh_token(self, account: str, *, client: str = "app-public", redirect: str = seeding.REDIRECT, back: timedelta = timedelta()) -> str:
        code = self.approve(account, client=client, redirect=redirect, back=back)
        form = {
            "grant_type": "authorization_code", "client_id": client, "redirect_uri": redirect, "code": code, "code_verifier": VERIFIER,
        }  # fmt: skip
        return str(self.live(lambda w: self._oauth(w).token(list(form.items()), None, now() - back))["refresh_token"])

    def spend(self, what: str, value: str, name: str = "") -> None:
        """Use a code, refresh token or assertion once, as whoever it belongs to would. TOK_FROM_`name` is the access token got for it."""
        if what == "code":
            form = {
                "grant_type": "authorization_code", "client_id": "app-public", "redirect_uri": seeding.REDIRECT, "code": value, "code_verifier": VERIFIER,
            }  # fmt: skip
        elif what == "refresh_token":
            form = {"grant_type": "refresh_token", "client_id": "app-public", "refresh_token": value}
        else:
            kind = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
            form = {"grant_type": "client_credentials", "scope": "system/CarePlan.rs", "client_assertion_type": kind, "client_assertion": value}
        answer = self.live(lambda w: self._oauth(w).token(list(form.items()), None, now()))
        for known in {name, {"code": "CODE_USED", "refresh_token": "RT_USED"}.get(what, "")} - {""}:
            self._made[f"TOK_FROM_{known}"] = answer["access_token"]
            if "refresh_token" in answer:
                self._made[f"RT_FROM_{known}"] = answer["refresh_token"]

    # -- pages --------------------------------------------------------------------------------------------------------

    def _cookie(self, name: str) -> str:
        who = name.removeprefix("_") or "A"
        if who not in ACCOUNTS:
            raise Unknown(name)
        return self._remember(f"UI_SESSION_COOKIE_{who}", self.session(ACCOUNTS[who]))

    def session(self, account: str) -> str:
        """The Cookie header of somebody who has signed in to the pages."""
        cookies = self.live(lambda w: self._sessions(w).start(self.person(account, now()), {}))
        return str(cookies[0].partition(";")[0])

    def visitor(self) -> str:
        """The Cookie header of a visitor of the sign-in page: what CSRF_LOGIN belongs to."""
        return self._made.setdefault("VISITOR_COOKIE", f"visitor={secrets.token_hex(32)}")

    def _csrf(self, name: str) -> str:
        """A, B, any other account; LOGIN: of the sign-in page; OLD: of a session that was signed out."""
        if name == "LOGIN":
            return form_token(self.visitor().partition("=")[2])
        if name == "OLD":
            cookie = self.session("person-a")
            self.end_session(cookie)
            return self._remember("CSRF_OLD", form_token(cookie.partition("=")[2]))
        if name in ("GARBAGE", "WRONG", "RANDOM"):
            return secrets.token_hex(32)
        if name not in ACCOUNTS:
            raise Unknown(name)
        return form_token(self[f"UI_SESSION_COOKIE_{name}"].partition("=")[2])

    # -- the served store ---------------------------------------------------------------------------------------------

    def live(self, doing: Callable[[Wired], Awaitable[Any]]) -> Any:
        """Something done in the store that is being served, beside its server."""
        return self._on(self.stand.data, doing)

    def _on(self, data: Any, doing: Callable[[Wired], Awaitable[Any]]) -> Any:
        async def inside() -> Any:
            async with wired(seeding.loaded(data, self.stand.base, self.stand.allowed)) as w:
                return await doing(w)

        return asyncio.run(inside())

    async def _known(self, w: Wired) -> _Cast:
        at = now()
        self._signer = w.tokens.ring.signer
        accounts = {a.username: a for a in await people.accounts(w.store, at)}
        return _Cast(
            Key.of(self._signer.key.as_dict(private=True), self._signer.algorithm, self._signer.kid), accounts,
            {c.id: c for c in await clients.list_clients(w.store, at)},
        )  # fmt: skip

    def _oauth(self, w: Wired) -> OAuth:
        return OAuth(w.store, w.tokens, self.stand.base, f"{self.stand.base}/fhir", new_id, LIFE)

    def _sessions(self, w: Wired) -> Sessions:
        return Sessions(w.store, now, new_id, self.stand.base, False)

    def _remember(self, name: str, value: str) -> str:
        self._made[name] = value
        return value


def _raise(name: str) -> str:
    raise Unknown(name)
