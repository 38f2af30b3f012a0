"""Typed settings: environment variables `GATEWAY_*`, or a TOML file named by `GATEWAY_CONFIG` (the environment wins).

The service refuses to start on an unsafe combination, in one sentence that says what to do. No setting turns consent off.
"""

from __future__ import annotations

import ipaddress
import os
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)  # fmt: skip


class RemoteSettings(BaseModel):
    """One external FHIR server: `[[remote]]` in the TOML file, or the `GATEWAY_REMOTE_*` variables for a single one."""

    model_config = ConfigDict(extra="forbid")
    name: str = "remote"
    url: str
    organisation: str
    purpose: str = "TREAT"
    audience: list[str] = []
    enforces: Literal["nothing", "labels", "consents"] = "consents"
    direction: Literal["both", "in", "out"] = "both"
    types: list[str] = []
    role: Literal["recipient", "processor"] = "recipient"
    token: str = ""
    auth: dict[str, str] = {}
    poll_seconds: float = 2.0


class Settings(BaseSettings):
    """Every setting, its default and its meaning; the README's table is made from this class."""

    model_config = SettingsConfigDict(env_prefix="GATEWAY_", extra="forbid", env_nested_delimiter="__")

    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: int = Field(8080, ge=0, le=65535, description="Port to listen on.")
    base_url: str = Field("", description="How others reach this server, without /fhir. Default: http://HOST:PORT.")
    data: Path = Field(Path(".data"), description="Folder for the embedded store. Deleting it resets the demo.")
    store: str = Field("", description="`sqlite:PATH`. Default: sqlite:DATA/gateway.sqlite.")
    demo: bool = Field(False, description="Demo people, organisations and passwords. Only on a loopback address.")
    issuer: str = Field("", description="An external OpenID Connect issuer. Default: the built-in one.")
    audience: str = Field("", description="The audience tokens must carry. Default: BASE_URL/fhir.")
    issuer_user_claim: str = Field("fhirUser", description="The external issuer's claim that holds the fhirUser.")
    issuer_organisation_claim: str = Field("organisation", description="The claim that holds the organisation's ODS code or reference.")
    issuer_purpose_claim: str = Field("purpose_of_use", description="The claim that holds the purpose of use.")
    policy: Literal["uk-direct-care", "Policy-deny", "Policy-basic-normal", "Policy-all-normal", "Policy-break-glass-only"] = Field(
        "uk-direct-care", description="What holds where a person has said nothing (consent.md 1.9 names)."
    )
    worker: bool = Field(True, description="Run the sync worker inside `serve`. Off when `fhir-gateway worker` runs apart.")
    remote_url: str = Field("", description="FHIR base of one external server to keep in step with.")
    remote_organisation: str = Field("", description="ODS code or id of the organisation that owns that server.")
    remote_purpose: str = Field("TREAT", description="The purpose agreed with it (a v3-ActReason code).")
    remote_token: str = Field("", description="Bearer token for it.")
    remote_enforces: Literal["nothing", "labels", "consents"] = Field("consents", description="What that server enforces itself.")
    remote_direction: Literal["both", "in", "out"] = Field("both", description="Which way to sync.")
    remote_poll_seconds: float = Field(2.0, gt=0, description="How often to ask it for changes, in seconds.")
    remote: list[RemoteSettings] = Field(default_factory=list, description="Several external servers (TOML: [[remote]]).")
    body_limit: int = Field(5 * 1024 * 1024, gt=0, description="Largest request body in bytes, also when inflated.")
    header_limit: int = Field(32 * 1024, gt=0, description="Largest request headers in bytes.")
    uri_limit: int = Field(16 * 1024, gt=0, description="Longest request URI in bytes.")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="How much to log.")
    token_minutes: int = Field(15, gt=0, le=60, description="Life of an access token of the built-in issuer, in minutes.")

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


class Refused(Exception):
    """The settings are wrong or unsafe: one sentence that says what to do."""


def load(**given: Any) -> Settings:
    """Settings from the environment and the TOML file, or Refused."""
    config = os.environ.get("GATEWAY_CONFIG")
    if config and not Path(config).is_file():
        raise Refused(f"GATEWAY_CONFIG names {config}, which is not a file: correct the path or unset it.")
    try:
        settings = Settings(**given)
    except ValidationError as wrong:
        first = wrong.errors()[0]
        name = "_".join(str(p) for p in first["loc"]).upper()
        raise Refused(f"The setting GATEWAY_{name} is not right: {first['msg']}.") from None
    except ValueError as wrong:
        raise Refused(f"The settings cannot be read: {wrong}.") from None
    unsafe = unsafe_combination(settings)
    if unsafe:
        raise Refused(unsafe)
    return settings


def unsafe_combination(s: Settings) -> str | None:
    """Why these settings must not serve, or None."""
    listens_outside = not _loopback(s.host)
    if s.demo and (listens_outside or not _loopback(urlsplit(s.base).hostname or "")):
        return "The demo has public passwords: serve it on 127.0.0.1 only (GATEWAY_HOST), or set GATEWAY_DEMO=false."
    if listens_outside and not s.base_url:
        return "Set GATEWAY_BASE_URL to the https address people use, since GATEWAY_HOST is not a loopback address."
    url = urlsplit(s.base)
    if url.scheme not in ("http", "https") or not url.hostname:
        return f"GATEWAY_BASE_URL must be an http or https address, not `{s.base_url}`."
    if url.scheme == "http" and not _loopback(url.hostname):
        return "Tokens and records must not travel in the clear: set GATEWAY_BASE_URL to an https address."
    if s.issuer and not s.audience:
        return "Set GATEWAY_AUDIENCE to the audience that GATEWAY_ISSUER puts in its tokens for this server."
    if s.issuer and urlsplit(s.issuer).scheme != "https" and not _loopback(urlsplit(s.issuer).hostname or ""):
        return "GATEWAY_ISSUER must be an https address."
    if s.store and not s.store.startswith("sqlite:"):
        return f"GATEWAY_STORE must be sqlite:PATH, not `{s.store.split(':')[0]}:…` (other stores are not built yet)."
    names = [r.name for r in s.remotes()]
    if len(names) != len(set(names)):
        return "Two remotes have the same name: give each [[remote]] its own."
    for r in s.remotes():
        if not r.organisation:
            return "Set GATEWAY_REMOTE_ORGANISATION to the ODS code of whoever owns GATEWAY_REMOTE_URL: consent is asked for them."
        where = urlsplit(r.url)
        if where.scheme not in ("http", "https") or not where.hostname:
            return f"The remote `{r.name}` needs an http or https address, not `{r.url}`."
        if where.scheme == "http" and not _loopback(where.hostname):
            return f"The remote `{r.name}` must be reached by https: records must not travel in the clear."
    return None


def _loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
