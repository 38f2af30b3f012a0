"""Typed settings: environment variables `GATEWAY_*`, then files in the folder `GATEWAY_SECRETS`, then the TOML file `GATEWAY_CONFIG`.

A secret comes from one of the three, never from a command line, where others on the machine could read it.

The service refuses to start on an unsafe combination, in one sentence that says what to do. No setting turns consent off.
"""

from __future__ import annotations

import ipaddress
import os
import re
from base64 import b64decode
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import SplitResult, urlsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SecretsSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)  # fmt: skip

from .domain.directory import ODS_CODE
from .domain.notices import email
from .domain.vocabulary import SIGN_IN_ROLES


class AuthSettings(BaseModel):
    """How we sign in at an external server: `auth = { kind = "basic", user = "...", password = "..." }`."""

    model_config = ConfigDict(extra="forbid")
    kind: Literal["none", "bearer", "basic", "smart"] = "none"
    token: str = Field(default="", repr=False)
    user: str = ""
    password: str = Field(default="", repr=False)


class RemoteSettings(BaseModel):
    """One external FHIR server: `[[remote]]` in the TOML file, or the `GATEWAY_REMOTE_*` variables for a single one."""

    model_config = ConfigDict(extra="forbid")
    name: str = Field(default="remote", description="What commands, logs and pages call it.")
    url: str = Field(description="Its FHIR base.")
    organisation: str = Field(description="ODS code or id of the organisation that owns it: consent is asked for them.")
    purpose: str = Field(default="TREAT", description="The purpose agreed with it (a v3-ActReason code).")
    audience: list[str] = Field(default=[], description="Who else reads from it: ODS codes, ids or sectors. Nobody of them may be denied what is sent.")
    enforces: Literal["nothing", "labels", "consents"] = Field(
        default="consents", description="What it enforces itself. `nothing`: it gets nothing restricted, and nothing that anyone who reads from it may not see."
    )
    direction: Literal["both", "in", "out"] = Field(default="both", description="Which way to sync.")
    types: list[str] = Field(default=[], description="Resource types to send. Default: all patient data but Consent and the audit trail.")
    role: Literal["recipient", "processor"] = Field(default="recipient", description="Its legal role; `processor` is refused until it is built.")
    token: str = Field(default="", repr=False, description="Bearer token; short for `auth`.")
    auth: AuthSettings = Field(
        default=AuthSettings(), description='`{ kind = "bearer", token = "..." }`, `{ kind = "basic", user = "...", password = "..." }` or `{ kind = "none" }`.'
    )
    poll_seconds: float = Field(default=2.0, gt=0, description="How often to ask it for changes, in seconds.")


class Settings(BaseSettings):
    """Every setting, its default and its meaning; the README's table is made from this class."""

    model_config = SettingsConfigDict(env_prefix="GATEWAY_", extra="forbid", env_nested_delimiter="__")

    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: int = Field(8080, ge=0, le=65535, description="Port to listen on.")
    base_url: str = Field("", description="How others reach this server, without /fhir. Default: http://HOST:PORT.")
    data: Path = Field(Path(".data"), description="Folder for the embedded store. Deleting it resets the demo.")
    store: str = Field("", description="`sqlite:PATH`, or `mongodb://HOST/DATABASE?replicaSet=NAME`. Default: sqlite:DATA/gateway.sqlite.")
    store_key: str = Field("", repr=False, description="Encrypts the embedded store, its log, its backups and the consent journal: 64 hex digits (`openssl rand -hex 32`). Losing it loses the records.")
    journal: Path | None = Field(
        None, description="Folder of the consent journal, outside GATEWAY_DATA; best on another disk. Default: DATA-journal, beside it."
    )
    retention: Path | None = Field(None, description="File of the retention schedule (JSON, as profiles/retention.json). Default: that one.")
    demo: bool = Field(False, description="Demo people, organisations and passwords. Only on a loopback address.")
    issuer: str = Field("", description="An external OpenID Connect issuer. Default: the built-in one.")
    audience: str = Field("", description="The audience tokens must carry. Default: BASE_URL/fhir.")
    issuer_subject_claim: str = Field("sub", description="The claim that names the person at the external issuer; a dotted name reaches inside, as for all of these.")
    issuer_user_claim: str = Field("fhirUser", description="The external issuer's claim that holds the fhirUser.")
    issuer_organisation_claim: str = Field("organisation", description="The claim that holds the organisation's ODS code or reference.")
    issuer_purpose_claim: str = Field("purpose_of_use", description="The claim that holds the purpose of use.")
    issuer_scopes_claim: str = Field("scope", description="The claim that holds the scopes: text, or a list.")
    issuer_assurance_claim: str = Field("acr", description="The claim that says how surely the issuer knows who somebody is.")
    issuer_roles_claim: str = Field("roles", description="The claim that holds the roles: a list, or one word.")
    issuer_roles: Annotated[dict[str, list[str]], NoDecode] = Field(
        default_factory=dict,
        description="Which of its words give which role of ours: `privacy-officer=IG Lead; clinician=Doctor; clinician=Nurse`, or a TOML table `[issuer_roles]`. Default: none give any.",
    )
    policy: Literal["uk-direct-care", "Policy-deny", "Policy-basic-normal", "Policy-all-normal", "Policy-break-glass-only"] = Field(
        "uk-direct-care", description="What holds where a person has said nothing (consent.md 1.9 names)."
    )
    break_glass: Literal["override", "consent-only"] = Field(
        "override", description="Emergency access: `override` lets a professional with the role break the glass, `consent-only` leaves it to what people's consents permit."
    )
    urgent_care: str = Field(
        "", description="Organisations registered as urgent care (ambulance, 111, out of hours, emergency department): ODS codes or references, with commas."
    )
    definitions: Path | None = Field(None, description="Folder of FHIR definitions: profiles, value sets and Questionnaires to hold writes to, and what a no by a code covers.")
    worker: bool = Field(True, description="Run the worker, which syncs and tells, inside `serve`. Off when `fhir-gateway worker` runs apart.")
    remote_url: str = Field("", description="FHIR base of one external server to keep in step with.")
    remote_organisation: str = Field("", description="ODS code or id of the organisation that owns that server.")
    remote_purpose: str = Field("TREAT", description="The purpose agreed with it (a v3-ActReason code).")
    remote_token: str = Field("", repr=False, description="Bearer token for it.")
    remote_enforces: Literal["nothing", "labels", "consents"] = Field("consents", description="What that server enforces itself.")
    remote_direction: Literal["both", "in", "out"] = Field("both", description="Which way to sync.")
    remote_poll_seconds: float = Field(2.0, gt=0, description="How often to ask it for changes, in seconds.")
    remote: list[RemoteSettings] = Field(default_factory=list, description="Several external servers (TOML: [[remote]]).")
    tell_smtp: str = Field("", description="Mail server for notices: `smtp://HOST:PORT` (STARTTLS off the loopback address) or `smtps://HOST:PORT`.")
    tell_smtp_user: str = Field("", description="Sign-in name at the mail server.")
    tell_smtp_password: str = Field("", repr=False, description="Password at the mail server.")
    tell_smtp_authority: Path | None = Field(None, description="File of certificates to trust at the mail server. Default: the system's.")
    tell_from: str = Field("", description="The address notices come from.")
    tell_webhook: str = Field("", description="Address of your own system that takes notices as a signed webhook (Standard Webhooks).")
    tell_webhook_secret: str = Field("", repr=False, description="Its secret: `whsec_` and base64 of 24 to 64 random bytes.")
    tell_sms: str = Field("", description="Text messages: `file:PATH` (NDJSON for a provider's program), or the https address of a provider.")
    tell_sms_token: str = Field("", repr=False, description="Bearer token for the provider of text messages.")
    tell_gather_seconds: float = Field(60.0, ge=0, le=3600, description="Events so near to each other are told in one message, in seconds.")
    audit_seal_seconds: float = Field(60.0, gt=0, le=86_400, description="How often the audit is sealed, in seconds; also at the end of each process.")
    audit_heads: str = Field("", description="Who outside keeps the signed heads of the audit: `file:PATH` (only appended to) or an https address that takes them by POST.")
    body_limit: int = Field(5 * 1024 * 1024, gt=0, description="Largest request body in bytes, also when inflated.")
    binary_limit: int = Field(25 * 1024 * 1024, gt=0, description="Largest attachment (the data of a Binary) in bytes.")
    header_limit: int = Field(32 * 1024, gt=0, description="Largest request headers in bytes.")
    uri_limit: int = Field(16 * 1024, gt=0, description="Longest request URI in bytes.")
    concurrency: int = Field(64, ge=2, description="Requests in hand at once in one process; who comes then gets 503 with Retry-After. One client may have half of them.")
    connections: int = Field(1_000, gt=0, description="Connections open at once in one process.")
    rate: float | None = Field(None, ge=0, description="Requests a second that one client may send in the long run (ten seconds' worth at once), else 429; 0 is no limit. Default: 500, in the demo 0.")
    bodies_limit: int = Field(128 * 1024 * 1024, gt=0, description="Bytes of request bodies held at once in one process, else 503.")
    body_seconds: float = Field(10.0, gt=0, description="How long a request body may pause, in seconds, and six times that for all of it.")
    head_seconds: float = Field(10.0, gt=0, description="How long request headers may take, in seconds.")
    search_seconds: float = Field(5.0, gt=0, description="How long the store may work on one question before it gives up with 503, in seconds.")
    trusted_proxies: str = Field("", description="Addresses of proxies whose X-Forwarded-For is believed, with commas. Default: nobody's.")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="How much to log.")
    client_keys_from: str = Field(
        "", description="Hosts, with commas, whose JWK sets registered clients may point to (`jwks_uri`). Nothing is fetched from others."
    )
    token_minutes: int = Field(15, gt=0, le=60, description="Life of an access token of the built-in issuer, in minutes.")

    @field_validator("issuer_roles", mode="before")
    @classmethod
    def _role_words(cls, said: Any) -> Any:
        """Words by role of ours, from text, or from a table whose values are a word or a list of words."""
        if isinstance(said, str):
            return role_words(said)
        if isinstance(said, dict):
            return {role: [words] if isinstance(words, str) else words for role, words in said.items()}
        return said

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        sources: list[PydanticBaseSettingsSource] = [init_settings, env_settings]
        if os.environ.get("GATEWAY_SECRETS"):
            sources.append(SecretsSettingsSource(settings_cls, Path(os.environ["GATEWAY_SECRETS"])))
        if os.environ.get("GATEWAY_CONFIG"):
            sources.append(TomlConfigSettingsSource(settings_cls, Path(os.environ["GATEWAY_CONFIG"])))
        return tuple(sources)

    @property
    def base(self) -> str:
        """How others reach this server, without /fhir and without a slash at the end."""
        return (self.base_url or f"http://{self.host}:{self.port}").rstrip("/")

    @property
    def fhir_base(self) -> str:
        return f"{self.base}/fhir"

    @property
    def sqlite_path(self) -> Path:
        return Path(self.store.removeprefix("sqlite:")) if self.store else self.data / "gateway.sqlite"

    @property
    def pace(self) -> float:
        """Requests a second of one client; 0 for no limit."""
        return self.rate if self.rate is not None else 0.0 if self.demo else 500.0

    @property
    def journal_path(self) -> Path:
        return self.journal or self.data.with_name(f"{self.data.name or 'data'}-journal")

    def urgent_care_names(self) -> frozenset[str]:
        """By which names the organisations of `urgent_care` are known: references, or identifiers `system|value`."""
        said = [name.strip() for name in self.urgent_care.split(",") if name.strip()]
        return frozenset(name if "/" in name else f"{ODS_CODE}|{name}" for name in said)

    def key_hosts(self) -> frozenset[str]:
        """The hosts of `client_keys_from`."""
        return frozenset(host.strip().lower() for host in self.client_keys_from.split(",") if host.strip())

    def remotes(self) -> list[RemoteSettings]:
        """The configured external servers, the single one first."""
        one = []
        if self.remote_url:
            one = [
                RemoteSettings(
                    url=self.remote_url, organisation=self.remote_organisation, purpose=self.remote_purpose,
                    token=self.remote_token, enforces=self.remote_enforces, direction=self.remote_direction,
                    poll_seconds=self.remote_poll_seconds,
                )
            ]
        return one + self.remote


def role_words(text: str) -> dict[str, list[str]]:
    """`privacy-officer=IG Lead; clinician=Doctor` as words by role. ValueError for a part without `=`.

    Only the first `=` of a part divides it: the words of a directory may hold some (`CN=IG Lead,OU=Trust`).
    """
    out: dict[str, list[str]] = {}
    for part in filter(None, (p.strip() for p in text.split(";"))):
        role, divides, words = part.partition("=")
        if not divides or not role.strip() or not words.strip():
            raise ValueError(f"`{part[:60]}` must be ROLE=THEIR WORD; several are parted by semicolons")
        out.setdefault(role.strip(), []).append(words.strip())
    return out


class Refused(Exception):
    """The settings are wrong or unsafe: one sentence that says what to do."""


def load(**given: Any) -> Settings:
    """Settings from the environment and the TOML file, or Refused."""
    config = os.environ.get("GATEWAY_CONFIG")
    if config and not Path(config).is_file():
        raise Refused(f"GATEWAY_CONFIG names {config}, which is not a file: correct the path or unset it.")
    secrets = os.environ.get("GATEWAY_SECRETS")
    if secrets and not Path(secrets).is_dir():
        raise Refused(f"GATEWAY_SECRETS names {secrets}, which is not a folder: correct the path or unset it.")
    if secrets and (unknown := _unknown_files(Path(secrets))):
        raise Refused(f"GATEWAY_SECRETS holds a file `{unknown}`, which is no setting: a file is named like its setting, as in gateway_store_key.")
    try:
        settings = Settings(**given)
    except ValidationError as wrong:
        first = wrong.errors()[0]
        raise Refused(f"The setting {_named(first['loc'])} is not right: {first['msg']}.") from None
    except ValueError as wrong:
        raise Refused(f"The settings cannot be read: {wrong}.") from None
    unsafe = unsafe_combination(settings)
    if unsafe:
        raise Refused(unsafe)
    return settings


def _unknown_files(folder: Path) -> str | None:
    """A file of this folder that names no setting: a mistyped name would leave the setting empty and nobody would know."""
    known = {f"gateway_{name}" for name in Settings.model_fields}
    found = sorted(f.name for f in folder.iterdir() if f.is_file() and not f.name.startswith("."))
    return next((name for name in found if name.lower() not in known), None)


def _named(place: tuple[int | str, ...]) -> str:
    """`GATEWAY_PORT`, or `audience` of the second [[remote]]."""
    if len(place) > 2 and place[0] == "remote" and isinstance(place[1], int):
        return f"`{'.'.join(str(p) for p in place[2:])}` of [[remote]] number {place[1] + 1}"
    return "GATEWAY_" + "_".join(str(p) for p in place).upper()


def unsafe_combination(s: Settings) -> str | None:
    """Why these settings must not serve, or None."""
    listens_outside = not loopback(s.host)
    if s.demo and (listens_outside or not loopback(urlsplit(s.base).hostname or "")):
        return "The demo has public passwords: serve it on 127.0.0.1 only (GATEWAY_HOST), or set GATEWAY_DEMO=false."
    if listens_outside and not s.base_url:
        return "Set GATEWAY_BASE_URL to the https address people use, since GATEWAY_HOST is not a loopback address."
    url = urlsplit(s.base)
    if url.scheme not in ("http", "https") or not url.hostname:
        return f"GATEWAY_BASE_URL must be an http or https address, not `{s.base_url}`."
    if url.scheme == "http" and not loopback(url.hostname):
        return "Tokens and records must not travel in the clear: set GATEWAY_BASE_URL to an https address."
    if s.issuer and not s.audience:
        return "Set GATEWAY_AUDIENCE to the audience that GATEWAY_ISSUER puts in its tokens for this server."
    if s.issuer and urlsplit(s.issuer).scheme != "https" and not loopback(urlsplit(s.issuer).hostname or ""):
        return "GATEWAY_ISSUER must be an https address."
    if unknown := sorted(set(s.issuer_roles) - SIGN_IN_ROLES):
        return f"GATEWAY_ISSUER_ROLES names the role `{unknown[0][:40]}`, which there is not: it is one of {', '.join(sorted(SIGN_IN_ROLES))}."
    if not all(word.strip() for words in s.issuer_roles.values() for word in words):
        return "GATEWAY_ISSUER_ROLES has an empty word: everybody or nobody could have that role."
    if s.issuer_roles and not s.issuer:
        return "GATEWAY_ISSUER_ROLES maps the roles of an external issuer: set GATEWAY_ISSUER, or leave the roles out."
    if bad := next((h for h in sorted(s.key_hosts()) if not re.fullmatch(r"[a-z0-9.:-]+", h) or "//" in h), None):
        return f"GATEWAY_CLIENT_KEYS_FROM lists hosts such as keys.example.nhs.uk, without a scheme or path; not `{bad[:60]}`."
    if wrong := unsafe_store(s.store) or unsafe_key(s) or unsafe_telling(s) or unsafe_witness(s.audit_heads):
        return wrong
    if s.policy == "Policy-break-glass-only" and s.break_glass == "consent-only":
        return "GATEWAY_POLICY opens records by an emergency alone, and GATEWAY_BREAK_GLASS allows none: set one of them to something else."
    if s.journal_path.resolve().is_relative_to(s.data.resolve()):
        return "Set GATEWAY_JOURNAL to a folder outside GATEWAY_DATA: what is lost with the store must not be lost with its journal."
    if s.definitions is not None and not s.definitions.is_dir():
        return f"GATEWAY_DEFINITIONS names {s.definitions}, which is not a folder: correct the path or unset it."
    names = [r.name for r in s.remotes()]
    if len(names) != len(set(names)):
        return "Two remotes have the same name: give each [[remote]] its own."
    for r in s.remotes():
        if not r.organisation:
            return "Set GATEWAY_REMOTE_ORGANISATION to the ODS code of whoever owns GATEWAY_REMOTE_URL: consent is asked for them."
        where = urlsplit(r.url)
        if where.username or where.password:
            return f"Take the name and password out of the address of the remote `{r.name}`: they belong in its `auth`."
        if where.scheme not in ("http", "https") or not where.hostname:
            return f"The remote `{r.name}` needs an http or https address, not `{r.url}`."
        if where.scheme == "http" and not loopback(where.hostname):
            return f"The remote `{r.name}` must be reached by https: records must not travel in the clear."
        if r.role == "processor":
            return f"The remote `{r.name}` cannot have role `processor` yet: leave `role` out, and consent is asked for its owner as recipient."
        unsigned = _unsigned(r)
        if unsigned:
            return unsigned
    return _guessable(s)


def _unsigned(r: RemoteSettings) -> str | None:
    """Why we could not sign in at this remote as these settings say, or None."""
    a = r.auth
    if a.kind == "smart":
        return f"The remote `{r.name}` cannot sign in by SMART Backend Services yet: give it a `bearer` token, or `basic`."
    if r.token and a != AuthSettings():
        return f"The remote `{r.name}` has both `token` and `auth`: keep one."
    needs = {"none": set(), "bearer": {"token"}, "basic": {"user", "password"}}[a.kind]
    has = {n for n in ("token", "user", "password") if getattr(a, n)}
    if has != needs:
        what = " and ".join(f"`{n}`" for n in sorted(needs, reverse=True)) or "nothing else"
        return f"The `auth` of the remote `{r.name}` is of kind `{a.kind}`: it needs {what}."
    return None


WELL_KNOWN = frozenset(
    "secret changeme change-me change_me password passw0rd default admin test demo demo-only-password insecure token example letmein "
    "12345678 123456789 1234567890 password1 password123 changeit change-this replace-me replaceme your-token your-token-here".split()
)
SHORTEST_SECRET = 8


def guessable(secret: str) -> bool:
    """Whether a stranger would try this: a well-known default, very short, or hardly any different characters."""
    plain = secret.strip().lower()
    return plain in WELL_KNOWN or plain.strip("<>{}[]$") in WELL_KNOWN or len(plain) < SHORTEST_SECRET or len(set(plain)) < 4


def _guessable(s: Settings) -> str | None:
    """Which secret is a default or easy to guess, or None. The secret itself is not repeated."""
    secrets = {
        "GATEWAY_REMOTE_TOKEN": s.remote_token, "GATEWAY_TELL_SMTP_PASSWORD": s.tell_smtp_password, "GATEWAY_TELL_SMS_TOKEN": s.tell_sms_token,
    }  # fmt: skip
    for r in s.remote:
        secrets |= {f"The `token` of the remote `{r.name}`": r.token or r.auth.token, f"The `password` of the remote `{r.name}`": r.auth.password}
    for name, secret in secrets.items():
        if secret and guessable(secret):
            return f"{name} is a well-known default or easy to guess: set a long random one that its owner gave you."
    return None


def unsafe_telling(s: Settings) -> str | None:
    """Why nobody may be told by these settings, or None."""
    if s.tell_smtp:
        where = urlsplit(s.tell_smtp)
        if where.scheme not in ("smtp", "smtps") or not _endpoint(where) or where.path not in ("", "/"):
            return "GATEWAY_TELL_SMTP must be smtp://HOST:PORT or smtps://HOST:PORT; a name and password belong in their own settings."
        if email(s.tell_from) is None:
            return "Set GATEWAY_TELL_FROM to the address that notices come from."
        if bool(s.tell_smtp_user) != bool(s.tell_smtp_password):
            return "Set both GATEWAY_TELL_SMTP_USER and GATEWAY_TELL_SMTP_PASSWORD, or neither."
        if s.tell_smtp_authority is not None and not s.tell_smtp_authority.is_file():
            return f"GATEWAY_TELL_SMTP_AUTHORITY names {s.tell_smtp_authority}, which is not a file: correct the path or unset it."
    if s.tell_webhook:
        if not _private(s.tell_webhook):
            return "GATEWAY_TELL_WEBHOOK must be an https address without a name or password in it: notices must not travel in the clear."
        if not webhook_secret(s.tell_webhook_secret):
            return "GATEWAY_TELL_WEBHOOK_SECRET must be `whsec_` and the base64 of 24 to 64 random bytes: nobody else may sign notices."
    if s.tell_sms and not s.tell_sms.removeprefix("file:").strip():
        return "GATEWAY_TELL_SMS must be file:PATH or an https address."
    if s.tell_sms and not s.tell_sms.startswith("file:") and not _private(s.tell_sms):
        return "GATEWAY_TELL_SMS must be file:PATH or an https address: numbers must not travel in the clear."
    return None


def unsafe_witness(address: str) -> str | None:
    """Why heads cannot be told to this address, or None."""
    if address.startswith("file:"):
        where = Path(address.removeprefix("file:"))
        return None if where.name and where.parent.is_dir() and not where.is_dir() else "GATEWAY_AUDIT_HEADS names a file in a folder that is not there: make the folder, or correct the path."
    return None if not address or _private(address) else "GATEWAY_AUDIT_HEADS must be file:PATH or an https address without a name or password in it."


def _private(address: str) -> bool:
    """An https address (http on the loopback address), with nothing secret in it."""
    where = urlsplit(address)
    return _endpoint(where) and (where.scheme == "https" or (where.scheme == "http" and loopback(where.hostname or "")))


def _endpoint(where: SplitResult) -> bool:
    try:
        return bool(where.hostname) and not where.username and not where.password and where.port != 0
    except ValueError:  # no number, or none that a port can be
        return False


def webhook_secret(secret: str) -> bool:
    """Long enough and not one that a person made up (https://github.com/standard-webhooks/standard-webhooks)."""
    try:
        raw = b64decode(secret.removeprefix("whsec_"), validate=True)
    except ValueError:
        return False
    return secret.startswith("whsec_") and 24 <= len(raw) <= 64 and len(set(raw)) >= 12


def unsafe_store(address: str) -> str | None:
    """Why there must not be a store at this address, or None. Never the address itself: it may hold a password."""
    kind = address.split(":")[0]
    if not address or kind == "sqlite":
        return None
    if kind not in ("mongodb", "mongodb+srv") or "://" not in address:
        return f"GATEWAY_STORE must be sqlite:PATH or mongodb://HOST/DATABASE?replicaSet=NAME, not `{kind[:20]}:…`."
    place, _, options = address.partition("://")[2].partition("?")
    hosts = [h.rsplit(":", 1)[0].strip("[]") for h in place.rpartition("@")[2].split("/")[0].split(",")]
    secured = kind == "mongodb+srv" or any(o.lower() in ("tls=true", "ssl=true") for o in options.split("&"))
    if not secured and not all(loopback(h) for h in hosts):
        return "Records must not travel in the clear: add tls=true to GATEWAY_STORE, since its servers are not on a loopback address."
    if not place.partition("/")[2]:
        return "Name the database, too: mongodb://HOST/DATABASE?replicaSet=NAME."
    return None


def unsafe_key(s: Settings) -> str | None:
    """Why the store must not be encrypted by this key, or None. Never the key itself."""
    if not s.store_key:
        return None
    if not key_of_file(s.store_key):
        return "GATEWAY_STORE_KEY must be 64 hex digits of a random number: make one by `openssl rand -hex 32`, and keep it where the backups are not."
    if s.store and not s.store.startswith("sqlite:"):
        return "GATEWAY_STORE_KEY encrypts the embedded store only: MongoDB's files are encrypted by its own settings, or by the disk."
    return None


def key_of_file(key: str) -> bool:
    """Whether a file may be encrypted by this: 64 hex digits that nobody typed by hand."""
    return re.fullmatch(r"[0-9a-fA-F]{64}", key) is not None and len(set(key.lower())) >= 8


def loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
