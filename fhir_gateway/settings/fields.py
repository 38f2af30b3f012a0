"""Every setting by its name, default, bounds and meaning; the README's tables are made from these classes.

Where they are read from: `load` of this package. Which combinations are refused: `unsafe`.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SecretsSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)  # fmt: skip

from ..domain.directory import ODS_CODE
from ..domain.limits import Limits


class AuthSettings(BaseModel):
    """How we sign in at an external server: `auth = { kind = "smart", client = "...", key = "own" }`."""

    model_config = ConfigDict(extra="forbid")
    kind: Literal["none", "bearer", "basic", "smart"] = "none"
    token: str = Field(default="", repr=False)
    user: str = ""
    password: str = Field(default="", repr=False)
    client: str = ""  # smart: what we are called there
    key: str = ""  # smart: file of our private key (PEM, JWK or JWK set), or `own`
    key_id: str = ""  # smart: what they call the key. Default: its own `kid`, or its thumbprint (RFC 7638)
    algorithm: Literal["", "ES384", "RS384"] = ""  # smart: what the key must sign by. Default: what it can
    token_url: str = ""  # smart: where to sign in. Default: as they say, on their own origin
    scope: str = ""  # smart: what to ask for. Default: system/*.cruds


class RemoteSettings(BaseModel):
    """One external FHIR server: `[[remote]]` in the TOML file, or the `GATEWAY_REMOTE_*` variables for a single one."""

    model_config = ConfigDict(extra="forbid")
    name: str = Field(default="remote", description="What commands, logs and pages call it: letters and digits, with `.`, `_` or `-` between.")
    url: str = Field(description="Its FHIR base.")
    organisation: str = Field(description="ODS code or id of the organisation that owns it: consent is asked for them.")
    purpose: str = Field(default="TREAT", description="The purpose agreed with it (a v3-ActReason code).")
    audience: list[str] = Field(default=[], description="Who else reads from it: ODS codes, ids or sectors. Nobody of them may be denied what is sent.")
    enforces: Literal["nothing", "labels", "consents"] = Field(
        default="labels", description="What it enforces itself. `labels`: it gets nothing to which the person said no of anyone who works there. `nothing`: nor anything restricted, nor what anyone who reads from it may not see. `consents`: its owner alone is asked, for it has the person's noes to its people from elsewhere: we send none."
    )
    direction: Literal["both", "in", "out"] = Field(default="both", description="Which way to sync.")
    recall: Literal["delete", "stub"] = Field(
        default="delete", description="What becomes there of a copy that may no longer be there. `stub`: an empty record with the label NODSCLCD takes its place."
    )
    types: list[str] = Field(default=[], description="Resource types to send and to take in. Default: all patient data but Consent (one of theirs is taken where it closes) and the audit trail.")
    role: Literal["recipient", "processor"] = Field(default="recipient", description="Its legal role. `recipient`: it gets what its owner may have. `processor`: it keeps records for those of its `audience` who are in the person's team, and gets what one of them may have.")
    token: str = Field(default="", repr=False, description="Bearer token; short for `auth`.")
    auth: AuthSettings = Field(
        default=AuthSettings(), description='`{ kind = "bearer", token = "..." }`, `{ kind = "basic", user = "...", password = "..." }`, `{ kind = "smart", client = "...", key = "FILE or own" }` or `{ kind = "none" }`.'
    )
    poll_seconds: float = Field(default=2.0, gt=0, allow_inf_nan=False, description="How often to ask it for changes, in seconds.")
    subscribe: Literal["auto", "off"] = Field(
        default="auto", description="`auto`: where it offers Subscriptions, it calls us when something changes, and is asked more seldom while it does."
    )
    overlap_seconds: float = Field(
        default=30.0, ge=0, le=86_400, allow_inf_nan=False,
        description="How many seconds before the newest known change to begin: as late as a change may come.",
    )
    missing_seconds: float = Field(
        default=300.0, ge=0, le=86_400, allow_inf_nan=False,
        description="How long what it answers 404 of must be missing there before it counts as deleted, in seconds. 0: at once.",
    )
    sweep_hours: float = Field(
        default=24.0, ge=0, allow_inf_nan=False,
        description="How often to go through everything it has, in hours, where no feed of it tells of deletions; seven times that where a history does, for what was expunged there. 0: only by `sync run --once --sweep`.",
    )
    concurrency: int = Field(default=4, ge=1, le=64, description="How many things of different people may be on their way to it at once.")


class LauncherSettings(BaseModel):
    """One system whose users may come from a person open there (SMART EHR launch): `[[launcher]]` in the TOML file."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    name: str = Field(description="What addresses and the trail call it: letters and digits, with `.`, `_` or `-` between. Its redirect address is `BASE_URL/launch/callback/NAME`.")
    iss: str = Field(description="Its FHIR base: what it says as `iss`.")
    client: str = Field(description="What we are called there (`client_id`).")
    organisation: str = Field(description="ODS code or id of the organisation that it speaks for. Only accounts there, or in a part of it, can be meant.")
    secret: str = Field(default="", repr=False, description="Our secret there. Without it and `key` we are a public client.")
    key: str = Field(default="", description="File of our private key there (PEM, JWK or JWK set; ES384 or RS384), in the place of a secret.")
    key_id: str = Field(default="", description="What they call the key. Default: its own `kid`, or its thumbprint.")
    sign_in: str = Field(default="", description="Where it signs people in, when that is another server: `https://HOST`.")
    user_claim: str = Field(default="sub", description="The claim of its id token that says who somebody is.")
    user_system: str = Field(default="", description="The system of the Practitioner's identifier, which an operator registered, that has this value. Default: the issuer of the id token.")
    assurance: str = Field(default="", description="How surely it knows its users, as agreed with it: AAL2, say.")


class Settings(BaseSettings):
    """Every setting, its default and its meaning; the README's table is made from this class."""

    model_config = SettingsConfigDict(env_prefix="GATEWAY_", extra="forbid", env_nested_delimiter="__")

    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: int = Field(8080, ge=0, le=65535, description="Port to listen on.")
    base_url: str = Field("", description="How others reach this server, without /fhir. Default: http://HOST:PORT.")
    data: Path = Field(Path(".data"), description="Folder for the embedded store. Deleting it and the consent journal resets the demo.")
    store: str = Field("", description="`sqlite:PATH`, or `mongodb://HOST/DATABASE?replicaSet=NAME`. Default: sqlite:DATA/gateway.sqlite.")
    store_key: str = Field("", repr=False, description="Encrypts the embedded store, its log, its backups and the consent journal: 64 hex digits (`openssl rand -hex 32`). Losing it loses the records.")
    journal: Path | None = Field(
        None, description="Folder of the consent journal, outside GATEWAY_DATA; best on another disk. Default: DATA-journal, beside it."
    )
    retention: Path | None = Field(None, description="File of the retention schedule (JSON, as profiles/retention.json). Default: that one.")
    demo: bool = Field(False, description="Demo people, organisations and passwords. Only on a loopback address.")
    issuer: str = Field("", description="An external OpenID Connect issuer, whose access tokens are believed as well as those of the built-in one.")
    built_in_issuer: bool = Field(True, description="Whether people, apps and systems may sign in here, by the built-in issuer, too. `false` needs GATEWAY_ISSUER, and closes the pages with it.")
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
    read_only: str = Field(
        "", description="Who reads and does not write, whatever a consent says: `D82001=Task,Goal of social-care; gp@RX1=Task`. Whom: an ODS code, a reference or a sector, before `@` a job there; `of`: only what that sector made."
    )
    reading_limits: str = Field(
        "", description="Thresholds of your own for readings by text message, such as `SYSTOLIC>180; SATS<92`. It makes this a medical device: off, unless the three below are set, too (docs/readings.md)."
    )
    reading_manufacturer: str = Field("", description="Who answers for these thresholds as manufacturer: name and how to reach them. It stands on every Task that comes of one.")
    reading_hours: str = Field("", description="When somebody looks at what comes of them, in London: `Mon-Fri 08:00-18:00`.")
    reading_team: str = Field("", description="On whose list it comes: ODS code or reference of one organisation.")
    definitions: Path | None = Field(None, description="Folder of FHIR definitions: profiles, value sets and Questionnaires to hold writes to, and what a no by a code covers.")
    worker: bool = Field(True, description="Run the worker, which syncs and tells, inside `serve`. Off when `fhir-gateway worker` runs apart.")
    remote_url: str = Field("", description="FHIR base of one external server to keep in step with.")
    remote_organisation: str = Field("", description="ODS code or id of the organisation that owns that server.")
    remote_purpose: str = Field("TREAT", description="The purpose agreed with it (a v3-ActReason code).")
    remote_token: str = Field("", repr=False, description="Bearer token for it.")
    remote_enforces: Literal["nothing", "labels", "consents"] = Field("labels", description="What that server enforces itself: nothing, labels or consents, as for `[[remote]]`.")
    remote_direction: Literal["both", "in", "out"] = Field("both", description="Which way to sync.")
    remote_poll_seconds: float = Field(2.0, gt=0, allow_inf_nan=False, description="How often to ask it for changes, in seconds.")
    remote_missing_seconds: float = Field(300.0, ge=0, le=86_400, allow_inf_nan=False, description="How long what it answers 404 of must be missing there before it counts as deleted, in seconds. 0: at once.")
    remote_subscribe: Literal["auto", "off"] = Field("auto", description="Whether it calls us when something changes there, where it can.")
    remote: list[RemoteSettings] = Field(default_factory=list, description="Several external servers (TOML: [[remote]]).")
    launcher: list[LauncherSettings] = Field(default_factory=list, description="Systems whose users may open a person here from there (TOML: [[launcher]]).")
    leave_url: str = Field("https://www.bbc.co.uk/weather", description="Where *Leave this page* leads, on the pages of people and their relatives: an https address of another website that anybody may be seen to read, and that answers by itself.")
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
    audit_heads_authority: Path | None = Field(None, description="File of certificates to trust at that https address. Default: the system's.")
    body_limit: int = Field(5 * 1024 * 1024, ge=64 * 1024, description="Largest request body in bytes, also when inflated; at least 64 KiB.")
    binary_limit: int = Field(25 * 1024 * 1024, ge=64 * 1024, description="Largest attachment (the data of a Binary) in bytes; at least 64 KiB.")
    header_limit: int = Field(32 * 1024, ge=8 * 1024, description="Largest request headers in bytes; at least 8 KiB.")
    uri_limit: int = Field(16 * 1024, ge=1024, description="Longest request URI in bytes; at least 1 KiB.")
    items_limit: int = Field(5_000, ge=500, le=100_000, description="Most items of one list in a body: names, members, lines of a patch.")
    elements_limit: int = Field(200_000, ge=10_000, le=2_000_000, description="Most elements (names of JSON objects) in a body, all together.")
    depth_limit: int = Field(64, ge=8, le=64, description="Deepest nesting of the JSON of a body; 64 at most.")
    entries_limit: int = Field(500, gt=0, le=500, description="Most entries of a batch or transaction; 500 at most.")
    count_limit: int = Field(200, ge=50, le=1_000, description="Most resources on a page of a search, a history or `$everything`, whatever `_count` asks for.")
    values_limit: int = Field(100, gt=0, le=1_000, description="Most alternatives (parted by commas) in one search parameter.")
    attempts_rate: float = Field(100.0, gt=0, allow_inf_nan=False, description="Failed sign-ins, bad tokens and the like a second that one address may send in the long run (twenty seconds' worth at once), else 429.")
    concurrency: int = Field(64, ge=2, description="Requests in hand at once in one process; who comes then gets 503 with Retry-After. One client may have half of them.")
    wait_seconds: float = Field(0.25, gt=0, allow_inf_nan=False, description="How long a request may stand in line before work on it begins, in seconds; then 503 with Retry-After.")
    connections: int = Field(1_000, ge=16, description="Connections open at once in one process; at least 16.")
    rate: float | None = Field(None, ge=0, allow_inf_nan=False, description="Requests a second that one client may send in the long run (ten seconds' worth at once), else 429; 0 is no limit. Default: 500, in the demo 0.")
    bodies_limit: int = Field(128 * 1024 * 1024, ge=64 * 1024, description="Bytes of request bodies held at once in one process, else 503; at least 64 KiB.")
    body_seconds: float = Field(10.0, gt=0, allow_inf_nan=False, description="How long a request body may pause, in seconds, and six times that for all of it.")
    head_seconds: float = Field(10.0, gt=0, allow_inf_nan=False, description="How long request headers may take, in seconds.")
    search_seconds: float = Field(5.0, gt=0, allow_inf_nan=False, description="How long the store may work on one question before it gives up with 503, in seconds.")
    trusted_proxies: str = Field("", description="Addresses of proxies, or networks of at most 65,536, whose X-Forwarded-For is believed, with commas. Default: nobody's.")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="How much to log.")
    client_keys_from: str = Field(
        "", description="Hosts, with commas, whose JWK sets registered clients may point to (`jwks_uri`). Nothing is fetched from others."
    )
    subscribers: str = Field(
        "", description="Who may be told of changes by a Subscription: `HOST` (https, port 443) or `HOST:PORT`, with commas. `CLIENT=HOST` is for the Subscriptions of this client alone, any other for those of all. Nobody else is called."
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
    def proxies(self) -> frozenset[str]:
        """The addresses and networks in `trusted_proxies`."""
        return frozenset(a.strip() for a in self.trusted_proxies.split(",") if a.strip())

    @property
    def limits(self) -> Limits:
        """What one FHIR request, or one resource of a partner's, may ask for."""
        return Limits(self.entries_limit, self.count_limit, self.values_limit, self.body_limit, self.items_limit, self.elements_limit)

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

    def subscriber_places(self) -> frozenset[str]:
        """The places of `subscribers`, and before a `=` whose alone they are."""
        entries = (entry.strip().rpartition("=") for entry in self.subscribers.split(",") if entry.strip())
        return frozenset(f"{client.strip()}{mark}{place.strip().lower()}" for client, mark, place in entries)

    def remotes(self) -> list[RemoteSettings]:
        """The configured external servers, the single one first."""
        one = []
        if self.remote_url:
            one = [
                RemoteSettings(
                    url=self.remote_url, organisation=self.remote_organisation, purpose=self.remote_purpose,
                    token=self.remote_token, enforces=self.remote_enforces, direction=self.remote_direction,
                    poll_seconds=self.remote_poll_seconds, missing_seconds=self.remote_missing_seconds, subscribe=self.remote_subscribe,
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
