"""Why the service must not start on some settings: each reason one sentence that says what to do, and never a secret itself.

What a setting may hold by itself is in `fields`.
"""

from __future__ import annotations

import ipaddress
import os
import re
import ssl
import stat
from base64 import b64decode
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

from pydantic import BaseModel

from ..domain import read_only, thresholds
from ..domain.notices import email
from ..domain.vocabulary import SIGN_IN_ROLES
from .fields import AuthSettings, RemoteSettings, Settings
from .signing import OWN, BadKey, read_key

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
BESIDE = frozenset({"key_id", "algorithm", "token_url", "scope"})  # what `smart` may say, too


def unsafe_combination(s: Settings) -> str | None:
    """Why these settings must not serve, or None."""
    if empty := _empty(s):
        return empty
    listens_outside = not loopback(s.host)
    if s.demo and (listens_outside or not loopback(split(s.base).hostname or "")):
        return "The demo has public passwords: serve it on 127.0.0.1 only (GATEWAY_HOST), or set GATEWAY_DEMO=false."
    if listens_outside and not s.base_url:
        return "Set GATEWAY_BASE_URL to the https address people use, since GATEWAY_HOST is not a loopback address."
    url = split(s.base)
    if url.scheme not in ("http", "https") or not url.hostname:
        return f"GATEWAY_BASE_URL must be an http or https address, not `{s.base_url}`."
    if url.username or url.password or "?" in s.base or "#" in s.base:
        return "GATEWAY_BASE_URL must hold no name, password, question or fragment: apps and people are given it as it is."
    if url.scheme == "http" and not loopback(url.hostname):
        return "Tokens and records must not travel in the clear: set GATEWAY_BASE_URL to an https address."
    if wrong := unsafe_issuer(s) or unsafe_store(s.store) or unsafe_key(s) or unsafe_telling(s) or unsafe_witness(s.audit_heads, s.audit_heads_authority):
        return wrong
    if s.policy == "Policy-break-glass-only" and s.break_glass == "consent-only":
        return "GATEWAY_POLICY opens records by an emergency alone, and GATEWAY_BREAK_GLASS allows none: set one of them to something else."
    if not _elsewhere(s.leave_url, s.base):
        return "GATEWAY_LEAVE_URL must be an https address of another website that anybody may be seen to read, such as https://www.bbc.co.uk/weather."
    if s.journal_path.resolve().is_relative_to(s.data.resolve()):
        return "Set GATEWAY_JOURNAL to a folder outside GATEWAY_DATA: what is lost with the store must not be lost with its journal."
    if bad := next((p for p in sorted(s.proxies) if not _few(p)), None):
        return f"GATEWAY_TRUSTED_PROXIES must hold addresses such as 10.0.0.4, or networks of at most 65,536 of them, not `{bad[:60]}`: whoever it names can say that they are somebody else."
    if s.retention is not None and not s.retention.is_file():
        return f"GATEWAY_RETENTION names {s.retention}, which is not a file: correct the path or unset it."
    if s.definitions is not None and not s.definitions.is_dir():
        return f"GATEWAY_DEFINITIONS names {s.definitions}, which is not a folder: correct the path or unset it."
    try:
        read_only.parse(s.read_only)
    except ValueError as wrong:
        return f"GATEWAY_READ_ONLY is not right: {wrong}."
    try:
        thresholds.parse(s.reading_limits, s.reading_manufacturer, s.reading_hours, s.reading_team)
    except ValueError as wrong:
        return f"Thresholds for readings: {wrong}."
    return unsafe_remotes(s) or unsafe_launchers(s) or unsafe_subscribers(s) or _guessable(s)


def _elsewhere(address: str, ours: str) -> bool:
    """A page of somebody else's, in letters that may stand in any header."""
    return bool(re.fullmatch(r"https?://[A-Za-z0-9.:-]+(/[!-\[\]-~]*)?", address)) and private(address) and split(address).netloc != split(ours).netloc


def unsafe_issuer(s: Settings) -> str | None:
    """Why nobody, or everybody, could sign in; None when they are right."""
    if s.issuer and not s.audience:
        return "Set GATEWAY_AUDIENCE to the audience that GATEWAY_ISSUER puts in its tokens for this server."
    if s.issuer and split(s.issuer).scheme != "https" and not loopback(split(s.issuer).hostname or ""):
        return "GATEWAY_ISSUER must be an https address."
    if not s.built_in_issuer and not s.issuer:
        return "GATEWAY_BUILT_IN_ISSUER=false leaves nobody to sign people in: set GATEWAY_ISSUER, or leave it on."
    if not s.built_in_issuer and s.demo:
        return "The demo signs its people in here: leave GATEWAY_BUILT_IN_ISSUER on, or set GATEWAY_DEMO=false."
    if unknown := sorted(set(s.issuer_roles) - SIGN_IN_ROLES):
        return f"GATEWAY_ISSUER_ROLES names the role `{unknown[0][:40]}`, which there is not: it is one of {', '.join(sorted(SIGN_IN_ROLES))}."
    if not all(word.strip() for words in s.issuer_roles.values() for word in words):
        return "GATEWAY_ISSUER_ROLES has an empty word: everybody or nobody could have that role."
    if s.issuer_roles and not s.issuer:
        return "GATEWAY_ISSUER_ROLES maps the roles of an external issuer: set GATEWAY_ISSUER, or leave the roles out."
    if bad := next((h for h in sorted(s.key_hosts()) if not re.fullmatch(r"[a-z0-9.:-]+", h) or "//" in h), None):
        return f"GATEWAY_CLIENT_KEYS_FROM lists hosts such as keys.example.nhs.uk, without a scheme or path; not `{bad[:60]}`."
    return None


def unsafe_remotes(s: Settings) -> str | None:
    """Why a partner must not be talked to as it is said; None when all are right."""
    names = [r.name for r in s.remotes()]
    if len(names) != len(set(names)):
        return "Two remotes have the same name: give each [[remote]] its own."
    if odd := next((n for n in names if not NAME.fullmatch(n)), None):
        return f"The remote `{odd[:64]}`: a `name` is up to 64 letters and digits, with `.`, `_` or `-` between, for it is what you type in commands."
    places = [r.url.rstrip("/") for r in s.remotes()]
    if twice := next((u for u in places if places.count(u) > 1), None):
        return f"Two remotes have the same `url`, {twice[:200]}: one server is one [[remote]], or each would undo what the other does."
    for r in s.remotes():
        if not r.organisation.strip() and r not in s.remote:
            return "Set GATEWAY_REMOTE_ORGANISATION to the ODS code of whoever owns GATEWAY_REMOTE_URL: consent is asked for them."
        if not r.organisation.strip():
            return f"The `organisation` of the remote `{r.name}` is empty: write the ODS code of whoever owns it. Consent is asked for them."
        if "types" in r.model_fields_set and not r.types:
            return f"The remote `{r.name}` has an empty list of `types`: name some, or leave it out for all."
        where = split(r.url)
        if where.username or where.password:
            return f"Take the name and password out of the address of the remote `{r.name}`: they belong in its `auth`."
        if where.scheme not in ("http", "https") or not where.hostname:
            return f"The remote `{r.name}` needs an http or https address, not `{r.url}`."
        if "?" in r.url or "#" in r.url:
            return f"The `url` of the remote `{r.name}` must end with its FHIR base, without a question or fragment."
        if r.url.rstrip("/") in (s.base, s.fhir_base):
            return f"The `url` of the remote `{r.name}` is this gateway's own address: name the other server."
        if where.scheme == "http" and not loopback(where.hostname):
            return f"The remote `{r.name}` must be reached by https: records must not travel in the clear."
        if r.role == "processor" and not r.audience:
            return f"The remote `{r.name}` has role `processor` and no `audience`: name there for whom it keeps records. Consent is asked for their members of the person's team."
        if r.recall == "stub" and r.enforces == "nothing":
            return f"The remote `{r.name}` enforces nothing, so a stub's label would hold nobody off: set `recall` to delete, or `enforces` to what it does."
        if r.recall == "stub" and r.direction == "in":
            return f"Nothing is sent to the remote `{r.name}`, so there is nothing to leave a stub of: leave `recall` out, or set `direction`."
        unsigned = _unsigned(r)
        if unsigned:
            return unsigned
    return None


def unsafe_launchers(s: Settings) -> str | None:
    """Why nobody may come from a system as it is said; None when all are right."""
    if s.launcher and not s.built_in_issuer:
        return "Whoever comes from a [[launcher]] is signed in here, and GATEWAY_BUILT_IN_ISSUER=false closes that: leave one of them out."
    if odd := next((r.name for r in s.launcher if not NAME.fullmatch(r.name)), None):
        return f"The launcher `{odd[:64]}`: a `name` is up to 64 letters and digits, with `.`, `_` or `-` between, for it stands in an address."
    for what, said in (("name", [r.name for r in s.launcher]), ("iss", [r.iss.rstrip("/") for r in s.launcher])):
        if len(said) != len(set(said)):
            return f"Two [[launcher]] have the same `{what}`: keep one."
    for r in s.launcher:
        if not private(r.iss) or "?" in r.iss or "#" in r.iss:
            return f"The `iss` of the launcher `{r.name}` must be an https address without a name, password, question or fragment."
        if r.sign_in and not private(r.sign_in):
            return f"The `sign_in` of the launcher `{r.name}` must be an https address without a name or password in it."
        if not r.client.strip() or not r.organisation.strip() or not r.user_claim.strip():
            return f"The launcher `{r.name}` needs a `client`, an `organisation` and a `user_claim`: an empty one says nobody."
        if r.secret and r.key:
            return f"The launcher `{r.name}` has both `secret` and `key`: keep one."
        if r.key and (wrong := _unsigned_by(f"launcher `{r.name}`", r.key, r.key_id)):
            return wrong
    return None


def unsafe_subscribers(s: Settings) -> str | None:
    """Why a place that may be told of changes is none, or is too many; None when all are right."""
    for entry in sorted(s.subscriber_places()):
        client, mark, place = entry.rpartition("=")
        if mark and not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9.-]{0,63}", client):
            return f"GATEWAY_SUBSCRIBERS names a client before the `=`, as in practice=hooks.example.nhs.uk; not `{entry[:60]}`."
        host, _, port = place.rpartition(":") if re.search(r":[0-9]+$", place) and not place.endswith("]") else (place, "", "")
        if not re.fullmatch(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?|\[[0-9a-f:.]+\]", host) or (port and not 0 < int(port) < 65_536):
            return f"GATEWAY_SUBSCRIBERS lists hosts such as hooks.example.nhs.uk or hooks.example.nhs.uk:8443, without a scheme or path; not `{place[:60]}`."
        if loopback(host.strip("[]")) and not port:
            return f"GATEWAY_SUBSCRIBERS must name the port of `{place[:60]}`: on this machine there is more than one thing that listens."
    return None


def _few(place: str) -> bool:
    """An address, or a network that somebody can have for themselves."""
    try:
        return ipaddress.ip_network(place).num_addresses <= 65_536
    except ValueError:
        return False


def _unsigned(r: RemoteSettings) -> str | None:
    """Why we could not sign in at this remote as these settings say, or None."""
    a = r.auth
    if r.token and a != AuthSettings():
        return f"The remote `{r.name}` has both `token` and `auth`: keep one."
    needs = {"none": set(), "bearer": {"token"}, "basic": {"user", "password"}, "smart": {"key", "client"}}[a.kind]
    has = {n for n in type(a).model_fields if n != "kind" and getattr(a, n)}
    if has - (BESIDE if a.kind == "smart" else frozenset()) != needs:
        what = " and ".join(f"`{n}`" for n in sorted(needs, reverse=a.kind == "basic")) or "nothing else"
        return f"The `auth` of the remote `{r.name}` is of kind `{a.kind}`: it needs {what}."
    return _unsigned_smart(r.name, a) if a.kind == "smart" else None


def _unsigned_smart(name: str, a: AuthSettings) -> str | None:
    """Why we could not sign in by SMART Backend Services, or None."""
    if a.token_url and not private(a.token_url):
        return f"The `token_url` of the remote `{name}` must be an https address without a name or password in it: tokens must not travel in the clear."
    if wrong := next((s for s in a.scope.split() if not re.fullmatch(r"system/[A-Za-z*]+\.[a-z]+(\?\S+)?", s)), None):
        return f"The `scope` of the remote `{name}` must be of words such as system/*.cruds, not `{wrong[:60]}`: nobody is there who could grant others."
    if a.key == OWN:
        return f"The remote `{name}` signs in by a key of our own, which is by ES384: leave `algorithm` and `key_id` out." if a.algorithm == "RS384" or a.key_id else None
    return _unsigned_by(f"remote `{name}`", a.key, a.key_id, a.algorithm, ", or write `own` for a key that is made here")


def _unsigned_by(whose: str, key: str, key_id: str, algorithm: str = "", otherwise: str = "") -> str | None:
    """Why this file holds no private key to sign in by, or None."""
    file = Path(key)
    if not file.is_file() or not os.access(file, os.R_OK):
        return f"The `key` of the {whose} names {key}, which is not a file that can be read: correct the path{otherwise}."
    if file.stat().st_mode & stat.S_IWOTH:
        return f"Anybody on this machine may write {key}, the private key for the {whose}: take that away by `chmod o-w`."
    try:
        read_key(file.read_bytes(), key_id, algorithm)
    except BadKey as why:
        return f"The `key` of the {whose} is no private key to sign in by, {key}: {why}."
    return None


def _empty(s: Settings) -> str | None:
    """Which secret was given and is empty, or None: it would win over the one that is meant, and leave something open without a word."""
    if name := _blank(s):
        return f"GATEWAY_{name.upper()} is set and empty: give the secret, or leave it out everywhere (unset the variable, take the line or the file away)."
    for r in s.remote:
        if name := _blank(r) or _blank(r.auth):
            return f"The `{name}` of the remote `{r.name}` is set and empty: give the secret, or take the line away."
    for launcher in s.launcher:
        if name := _blank(launcher):
            return f"The `{name}` of the launcher `{launcher.name}` is set and empty: give the secret, or take the line away."
    return None


def _blank(of: BaseModel) -> str | None:
    """The first secret (a field that is never shown) of those that were given, by whatever source, that says nothing."""
    return next((name for name in sorted(of.model_fields_set) if not type(of).model_fields[name].repr and not getattr(of, name).strip()), None)


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
    secrets |= {f"The `secret` of the launcher `{r.name}`": r.secret for r in s.launcher}
    for name, secret in secrets.items():
        if secret and guessable(secret):
            return f"{name} is a well-known default or easy to guess: set a long random one that its owner gave you."
    return None


def unsafe_telling(s: Settings) -> str | None:
    """Why nobody may be told by these settings, or None."""
    if s.tell_smtp:
        where = split(s.tell_smtp)
        if where.scheme not in ("smtp", "smtps") or not _endpoint(where) or where.path not in ("", "/"):
            return "GATEWAY_TELL_SMTP must be smtp://HOST:PORT or smtps://HOST:PORT; a name and password belong in their own settings."
        if email(s.tell_from) is None:
            return "Set GATEWAY_TELL_FROM to the address that notices come from."
        if bool(s.tell_smtp_user) != bool(s.tell_smtp_password):
            return "Set both GATEWAY_TELL_SMTP_USER and GATEWAY_TELL_SMTP_PASSWORD, or neither."
        if s.tell_smtp_authority is not None and not s.tell_smtp_authority.is_file():
            return f"GATEWAY_TELL_SMTP_AUTHORITY names {s.tell_smtp_authority}, which is not a file: correct the path or unset it."
    if s.tell_webhook:
        if not private(s.tell_webhook):
            return "GATEWAY_TELL_WEBHOOK must be an https address without a name or password in it: notices must not travel in the clear."
        if not webhook_secret(s.tell_webhook_secret):
            return "GATEWAY_TELL_WEBHOOK_SECRET must be `whsec_` and the base64 of 24 to 64 random bytes: nobody else may sign notices."
    if s.tell_sms and not s.tell_sms.removeprefix("file:").strip():
        return "GATEWAY_TELL_SMS must be file:PATH or an https address."
    if s.tell_sms and not s.tell_sms.startswith("file:") and not private(s.tell_sms):
        return "GATEWAY_TELL_SMS must be file:PATH or an https address: numbers must not travel in the clear."
    return None


def unsafe_witness(address: str, authority: Path | None) -> str | None:
    """Why heads cannot be told to this address, or None."""
    if authority is not None:
        try:
            ssl.create_default_context(cafile=authority)
        except OSError:
            return f"GATEWAY_AUDIT_HEADS_AUTHORITY names {authority}, which is no file of certificates: correct the path or unset it."
    if address.startswith("file:"):
        where = Path(address.removeprefix("file:"))
        return None if where.name and where.parent.is_dir() and not where.is_dir() else "GATEWAY_AUDIT_HEADS names a file in a folder that is not there: make the folder, or correct the path."
    return None if not address or private(address) else "GATEWAY_AUDIT_HEADS must be file:PATH or an https address without a name or password in it."


def private(address: str) -> bool:
    """An https address (http on the loopback address), with nothing secret in it."""
    where = split(address)
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


def split(address: str) -> SplitResult:
    """The parts of an address; no parts for what is none, such as `https://[`."""
    try:
        return urlsplit(address)
    except ValueError:
        return SplitResult("", "", "", "", "")


def loopback(host: str) -> bool:
    """Whether this host name or address is this very machine."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
