"""The only module that reads the clock, makes ids, opens connections: builds everything once, from settings."""

from __future__ import annotations

import asyncio
import errno
import hmac
import os
import platform
import random
import secrets
import time
from base64 import b64encode
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import cast
from urllib.parse import urlsplit

import structlog

from . import definitions, floors, gate
from .auth import demo as demo_tokens
from .auth import keys
from .auth.launching import Launches
from .auth.tokens import Caller, Tokens
from .domain import read_only, thresholds
from .domain.audit import OPERATOR
from .domain.directory import Sectors
from .domain.labels import LabelSets
from .domain.r4 import R4
from .domain.standing import Policy
from .domain.types import Actor, Note
from .domain.vocabulary import PURPOSES
from .gate import Context, House, Remote
from .remote.client import RemoteServer
from .remote.sign_in import SCOPE, SignIn
from .settings import Refused, RemoteSettings, Settings
from .settings.signing import OWN, SigningKey, read_key
from .settings.unsafe import loopback
from .store import journalled, sqlite
from .store.base import Store, StoreError
from .store.journal import Damaged, Head, Journal
from .store.trouble import Trouble
from .sync.hooks import Hooks
from .sync.moved import guard
from .sync.partner import Partner
from .tables import load_tables
from .tell.channel import Channel, Channels
from .tell.heads import HeadFile, HeadPost, Witness
from .tell.hook import Webhook
from .tell.mail import Mail
from .tell.texting import TextCall, TextFile

log = structlog.get_logger()


def now() -> datetime:
    """This instant, in UTC, to the millisecond (what FHIR's meta.lastUpdated shows is what we compare)."""
    at = datetime.now(UTC)
    return at.replace(microsecond=at.microsecond // 1000 * 1000)


def new_id() -> str:
    """A random UUID whose first 48 bits are the time, RFC 9562 version 7."""
    milli = time.time_ns() // 1_000_000
    n = (milli << 80) | (7 << 76) | (secrets.randbits(12) << 64) | (2 << 62) | secrets.randbits(62)
    h = f"{n:032x}"
    return f"{h[:8]}-{h[8:12]}-{h[12:16]}-{h[16:20]}-{h[20:]}"


@dataclass
class Wired:
    """A house with its doors: what `serve`, `worker` and the commands use."""

    settings: Settings
    house: House
    store: Store
    tokens: Tokens
    partners: list[Partner] = field(default_factory=list)
    channels: Channels = field(default_factory=Channels)
    witness: Witness | None = None
    sealed: str | None = None  # why nothing is disclosed now, as it was when this was opened

    async def still_sealed(self) -> bool:
        """Whether nothing may be disclosed yet. Once opened it stays open while this process runs."""
        if self.sealed is not None:
            self.sealed = await journalled.why_sealed(self.store, now())
        return self.sealed is not None

    @property
    def fails(self) -> bool:
        """Whether writes fail, or did a moment ago."""
        return isinstance(self.store, journalled.Journalled) and self.store.trouble.now

    async def close(self) -> None:
        if self.witness is not None:
            await self.witness.close()
        await self.channels.close()
        for partner in self.partners:
            await partner.server.close()
        await self.store.close()


async def open_wired(settings: Settings) -> Wired:
    """Open the store and build the house. Raises Refused with one sentence when it cannot."""
    if old := floors.below():
        raise Refused(old)
    remotes, r4 = settings.remotes(), definitions.load_r4()
    _spelled(remotes, r4)
    store = await open_journalled(settings)
    sealed = await journalled.why_sealed(store, now())
    known = definitions.read_definitions(settings.definitions)
    house = House(
        store=store, clock=now, new_id=new_id, r4=r4, label_sets=label_sets(),
        sectors=Sectors.from_json((definitions.profiles_dir() / "sectors.json").read_bytes()),
        secret=await keys.secret(store, "pages", now()),
        read_only=read_only.parse(settings.read_only),
        thresholds=thresholds.parse(settings.reading_limits, settings.reading_manufacturer, settings.reading_hours, settings.reading_team),
        policy=Policy(settings.policy, settings.break_glass, urgent_care=await urgent_care(settings, store), descendants=definitions.descendants(known)),
        base_url=settings.fhir_base,
        remotes=tuple(
            Remote(r.name, r.organisation, r.purpose, r.direction, frozenset(r.types) or None, tuple(r.audience), r.enforces, r.role, r.recall)
            for r in remotes
        ),
        definitions=known, profiles=load_tables().profiles, subscribers=settings.subscriber_places(),
        chance=random.random, alarm=lambda text: log.error("alarm", what=text),
    )  # fmt: skip
    tokens = await open_tokens(settings, store)
    partners = [
        Partner(
            t, RemoteServer(r.url, now, authorization(r), sign_in=await sign_in(r, store)), r.poll_seconds, r.overlap_seconds,
            missing_seconds=r.missing_seconds, sweep_hours=r.sweep_hours, concurrency=r.concurrency,
            hooks=Hooks(r.subscribe if r.direction != "out" else "off"), limits=settings.limits,
        )
        for t, r in zip(house.remotes, remotes, strict=True)
    ]
    for partner in partners:
        guard(house, partner)
    return Wired(settings, house, store, tokens, partners, open_channels(settings, house.secret), open_witness(settings), sealed)


def _spelled(remotes: Sequence[RemoteSettings], r4: R4) -> None:
    """A slip in what was agreed with a partner would take back, or send, what nobody meant. Refused."""
    for r in remotes:
        if unknown := [t for t in r.types if not r4.has_type(t)]:
            raise Refused(f"The remote `{r.name}`: `{unknown[0][:40]}` in `types` is no resource type of FHIR R4.")
        if r.purpose not in PURPOSES:
            raise Refused(f"The remote `{r.name}`: its `purpose` `{r.purpose[:40]}` is no purpose of use of v3-ActReason. For care it is TREAT.")


async def open_journalled(settings: Settings) -> Store:
    """The store with its consent journal. Sealed when it is older than that, or when the end of that is missing."""
    store = await open_store(store_address(settings), settings.search_seconds, settings.store_key or None)
    try:
        name = await journalled.name_of(store, new_id, now())
        _writable(settings.journal_path / name)
        kept = keep_journal(settings, store, name)
        if await journalled.why_sealed(store, now()) is None:
            if await journalled.is_behind(store, kept.journal, now()):
                log.error("alarm", what="This store is older than its consent journal: it is sealed until the journal is replayed.")
                note = Note(new_id(), now(), "E", "restore", True, OPERATOR, "Operator", purpose="HOPERAT", detail="older than its consent journal: sealed")
                await journalled.seal(store, "an older copy was put in the place of the store", now(), note)
            elif lacks := await journalled.lacks_end(store, kept.journal, now(), journal_place(settings, name)):
                log.error("alarm", what=f"The end of the consent journal is missing: {lacks}. The store is sealed until a whole one is replayed.")
                note = Note(new_id(), now(), "E", "restore", True, OPERATOR, "Operator", purpose="HOPERAT", detail=f"end of the consent journal missing, {lacks}: sealed")
                await journalled.seal(store, "the end of the consent journal is missing", now(), note)
            else:
                await kept.settle()
                await asyncio.to_thread(kept.journal.encrypt)  # what is older than the key
    except Damaged as wrong:
        await store.close()
        raise Refused(f"The consent journal is damaged: {wrong}. Put its last good copy in place, or move it away and restore with --accept-gap.") from None
    except OSError as wrong:
        await store.close()
        raise Refused(f"The consent journal at {settings.journal_path} cannot be written ({wrong.strerror}): set GATEWAY_JOURNAL to a folder that can.") from None
    except BaseException:
        await store.close()
        raise
    return cast(Store, kept)


def keep_journal(settings: Settings, store: Store, name: str) -> journalled.Journalled:
    """This store with its own journal. A server or worker logs each end of it: what a cut one can be compared with."""

    def told(head: Head) -> None:
        if structlog.is_configured():  # a command's output is its own
            log.info("consent-journal", store=name, entry=head.number, hash=head.chain)

    def fails(why: str | None) -> None:
        if structlog.is_configured() and why:
            log.error("store-fails", why=why, help="writes are answered 503: look at the space left, the rights, and whether the store is there")
        elif structlog.is_configured():
            log.info("store-works")

    return journalled.Journalled(store, own_journal(settings, name), new_id, now, journal_place(settings, name), told, Trouble(now, fails))


def own_journal(settings: Settings, name: str) -> Journal:
    """The journal of the store of this name; the data folder, too, keeps where it ends."""
    return Journal(settings.journal_path / name, settings.store_key, witness=settings.data / f"journal-{name}.head")


def journal_place(settings: Settings, name: str) -> str:
    """Several machines may share a store in MongoDB, and each has a journal of its own."""
    return journalled.OWN if store_address(settings).startswith("sqlite:") else f"{platform.node()} {(settings.journal_path / name).resolve()}"


def _writable(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    if not os.access(folder, os.W_OK | os.X_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))


def store_address(settings: Settings) -> str:
    return settings.store or f"sqlite:{settings.sqlite_path}"


def open_channels(settings: Settings, secret: bytes) -> Channels:
    """The ways in which this deployment tells people. Nothing is connected yet."""
    s, by = settings, dict[str, Channel]()
    if s.tell_smtp:
        where = urlsplit(s.tell_smtp)
        wrapped = where.scheme == "smtps"
        tls = "wrapped" if wrapped else "none" if loopback(where.hostname or "") and s.tell_smtp_authority is None else "started"
        by["email"] = Mail(
            where.hostname or "", where.port or (465 if wrapped else 587), s.tell_from, tls, s.tell_smtp_user, s.tell_smtp_password,
            str(s.tell_smtp_authority or ""),
        )  # fmt: skip
    if s.tell_webhook:
        by["app"] = Webhook(s.tell_webhook, s.tell_webhook_secret, now)
    if s.tell_sms.startswith("file:"):
        by["text"] = TextFile(Path(s.tell_sms.removeprefix("file:")))
    elif s.tell_sms:
        by["text"] = TextCall(s.tell_sms, s.tell_sms_token)
    if s.demo and not by:  # something to try: nobody's phone rings
        by["text"] = TextFile(s.data / "texts.ndjson")

    def name(text: str) -> str:
        return "tell-" + hmac.new(secret, f"tell {text}".encode(), sha256).hexdigest()[:32]

    return Channels(by, f"{s.base}/sign-in", s.tell_gather_seconds, name)


def open_witness(settings: Settings) -> Witness | None:
    """Who outside keeps the signed heads of the audit."""
    said = settings.audit_heads
    if said.startswith("file:"):
        return HeadFile(Path(said.removeprefix("file:")))
    return HeadPost(said, settings.audit_heads_authority) if said else None


def label_sets() -> LabelSets:
    """The value sets for labels. Without them the house goes on, and everything written counts as restricted."""
    try:
        return LabelSets.load((definitions.profiles_dir() / "labels.json").read_bytes())
    except (OSError, ValueError) as wrong:
        log.error("alarm", what=f"Nothing can be labelled, so everything new counts as restricted: {wrong}")
        return LabelSets()


async def urgent_care(settings: Settings, store: Store) -> frozenset[str]:
    """Who is registered as urgent care: by the settings, and in a store that holds the demo its ambulance."""
    of_the_demo = await store.kept(*DEMO_URGENT_CARE, now())
    return settings.urgent_care_names() | (frozenset({of_the_demo.decode()}) if of_the_demo else frozenset())


DEMO_URGENT_CARE = ("demo", "urgent-care")


def authorization(remote: RemoteSettings) -> str:
    """The Authorization header for this server; empty when it wants none."""
    a = remote.auth
    if a.kind == "basic":
        return "Basic " + b64encode(f"{a.user}:{a.password}".encode()).decode()
    token = remote.token or a.token
    return f"Bearer {token}" if token else ""


async def sign_in(remote: RemoteSettings, store: Store) -> SignIn | None:
    """How we get tokens for this server; None where it takes none that end."""
    a = remote.auth
    if a.kind != "smart":
        return None
    return SignIn(remote.url, a.client, await sign_in_key(remote, store), now, new_id, a.token_url, a.scope or SCOPE)


async def sign_in_key(remote: RemoteSettings, store: Store) -> SigningKey:
    """The key by which we sign in at this server: from its file, or made once and kept in the store. Refused when there is none."""
    a = remote.auth
    if a.kind != "smart":
        raise Refused(f"The remote `{remote.name}` does not sign in by a key: its `auth` is of kind `{a.kind}`.")
    if a.key == OWN:
        return await keys.for_remote(store, remote.name, now())
    return read_key(Path(a.key).read_bytes(), a.key_id, a.algorithm)


def open_launches(settings: Settings, house: House) -> Launches:
    """The systems that people may come from. Nothing is asked of them yet."""
    known = {r.iss.rstrip("/"): r for r in settings.launcher}
    signed = {r.iss: read_key(Path(r.key).read_bytes(), r.key_id) for r in settings.launcher if r.key}
    return Launches(known, signed, settings.base, house.secret, house.store, house.clock, house.new_id)


async def open_store(address: str, search_seconds: float = 5.0, key: str | None = None) -> Store:
    """The store at `sqlite:PATH` or `mongodb://…`, made or brought up to date. Raises Refused with one sentence when it cannot."""
    try:
        if not address.startswith("sqlite:"):
            from .store import mongo  # a fourteenth of what a command takes to start, for those who have no MongoDB

            return await mongo.open(address, clock=now, search_seconds=search_seconds)
        path = Path(address.removeprefix("sqlite:"))
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as wrong:
            raise Refused(f"The folder {path.parent} cannot be made ({wrong.strerror}): set GATEWAY_DATA to one that can.") from None
        return await sqlite.open(path, key=key, clock=now, search_seconds=search_seconds)
    except StoreError as wrong:
        raise Refused(str(wrong)) from None


async def open_tokens(settings: Settings, store: Store) -> Tokens:
    """The verifier of access tokens: our own issuer's, and an external one's when set."""
    foreign = None
    if settings.issuer:
        from .auth.external import discover

        foreign = discover(settings)
    tokens = Tokens(store, settings.audience or settings.fhir_base, settings.base, foreign, own=settings.built_in_issuer)
    await tokens.refresh(now())
    return tokens


@asynccontextmanager
async def wired_sealed_or_not(settings: Settings) -> AsyncIterator[Wired]:
    """For those who wait until a sealed store is open, or open it."""
    w = await open_wired(settings)
    try:
        yield w
    finally:
        await w.close()


@asynccontextmanager
async def wired(settings: Settings) -> AsyncIterator[Wired]:
    """For a command. Refused while the store is sealed."""
    async with wired_sealed_or_not(settings) as w:
        if w.sealed is not None:
            raise Refused(f"This store is sealed ({w.sealed}): replay the consent journal first, by `fhir-gateway restore --replay`.")
        yield w


def worker_name() -> str:
    return f"{os.getpid()}-{secrets.token_hex(4)}"


# -- who a command acts as --------------------------------------------------------------------------------------------


def operator(w: Wired) -> Context:
    """Whoever runs commands on this machine, as an operator; the audit says so. No record of a person opens for them."""
    return gate.house_context(w.house, Actor("system", frozenset({OPERATOR}), OPERATOR, "Operator", operator=True), purpose="HOPERAT")


async def context_as(w: Wired, who: str) -> Context:
    """A Context for a registered client, a demo persona or the operator, with all that their sign-in would give them."""
    if who == "operator":
        return operator(w)
    try:
        _, caller = await demo_token(w, who)
    except LookupError:
        raise Refused(
            f"There is no person or system `{who}` here: register one by `fhir-gateway clients add`, or start the demo by `make run`."
        ) from None
    return await gate.enter(w.house, caller)


async def demo_token(w: Wired, who: str) -> tuple[str, Caller]:
    return await demo_tokens.demo_token(
        w.store, who, issuer=w.settings.base, audience=w.tokens.audience, at=now(), jti=new_id(), life=timedelta(hours=1)
    )
