"""The two processes, `serve` and `work`: the app with everything in it (routes, pages, sign-in, worker, demo), opened when it starts."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

import structlog
import uvicorn
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from . import demo, gate, logs, wiring
from .auth import clients, people
from .auth.clients import Origins
from .auth.keysets import KeySets
from .auth.oauth import OAuth
from .auth.own import OwnSignIn
from .auth.sessions import Sessions
from .domain.problem import Problem
from .domain.types import Keep
from .gate.telling import DIRECTORY, QUEUES
from .settings import Refused, Settings, readable_by_others
from .settings.unsafe import loopback
from .store.base import StoreError
from .sync.notifying import run as run_notifying
from .sync.worker import run as run_worker
from .sync.worker import status as sync_status
from .tell.heads import run as run_sealing
from .tell.worker import run as run_telling
from .web import app as shell
from .web import (
    apps,
    connections,
    cors,
    drafts,
    fhir,
    hl7v2,
    openapi,
    pages,
    patients,
    plans,
    readings,
    recording,
    seal,
    smart,
    subscriptions,
    telling,
)
from .web.admission import Admission, Limits
from .wiring import Wired

log = structlog.get_logger()
SEALED_SECONDS = 1.0  # between two looks whether a sealed store is open
PROBE_SECONDS = 5.0  # /health tries a write at most this often
PATIENCE_SECONDS = 2.0  # and waits for it so long


def serve(settings: Settings) -> int:
    """Serve until SIGTERM or SIGINT. Raises Refused, before anything else is done, when the address cannot be had."""
    logs.to_stderr(settings.log_level)
    for file in readable_by_others(os.environ, settings):
        log.warning("secret-readable", file=file, help="everybody on this machine may read it: chmod 600")
    listener = bound(settings)
    listener.setblocking(False)
    bounds = connections.Bounds(settings.header_limit + settings.uri_limit + connections.SLACK, settings.head_seconds, settings.connections, settings.proxies)
    late = Late(settings)
    config = uvicorn.Config(
        late, host=settings.host, port=settings.port, log_config=None, access_log=False, server_header=False,
        timeout_graceful_shutdown=5, lifespan="on", ws="none", http=connections.within(bounds, listener),
        proxy_headers=bool(settings.trusted_proxies), forwarded_allow_ips=settings.trusted_proxies or None,
    )  # fmt: skip
    server = uvicorn.Server(config)
    with suppress(SystemExit):  # which is how uvicorn says that it did not start
        server.run([listener])
    if late.refused:
        raise Refused(late.refused)
    return 0 if server.started else 1


def bound(settings: Settings) -> socket.socket:
    """A socket on the address of the settings. Refused says in one sentence what to do about one that cannot be had."""
    where = f"{settings.host}:{settings.port}"
    try:
        family, _, _, _, address = socket.getaddrinfo(settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        listener = socket.socket(family, socket.SOCK_STREAM)
    except OSError:
        raise Refused(f"{settings.host} is no address of this machine: set GATEWAY_HOST to one that is.") from None
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(address)
    except OSError as wrong:
        listener.close()
        if wrong.errno == errno.EADDRINUSE:
            other = settings.port % 65535 + 1
            raise Refused(
                f"Something else listens on {where} already: stop it, or choose another port, as in GATEWAY_PORT={other} make run."
            ) from None
        if wrong.errno == errno.EACCES:
            raise Refused(f"Port {settings.port} is not open to this user: set GATEWAY_PORT to one above 1023.") from None
        raise Refused(f"{where} cannot be listened on ({wrong.strerror}): set GATEWAY_HOST and GATEWAY_PORT to what this machine has.") from None
    return listener


async def work(settings: Settings) -> int:
    """The worker alone, which syncs and tells, until SIGTERM or SIGINT."""
    logs.to_stderr(settings.log_level)
    stop = asyncio.Event()
    for s in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(s, stop.set)
    async with wiring.wired_sealed_or_not(settings) as w:
        log.info("worker-started", remotes=[p.name for p in w.partners])
        await run_both(w, stop)
    return 0


async def run_both(w: Wired, stop: asyncio.Event) -> None:
    """Keep the remotes in step, tell people and seal the trail, until `stop`; nothing of it while the store is sealed."""
    name = wiring.worker_name()
    while not stop.is_set() and await w.still_sealed():
        with suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), SEALED_SECONDS)
    if stop.is_set():
        return
    await asyncio.gather(
        run_worker(w.house, w.partners, name, stop), run_notifying(w.house, name, stop), run_telling(w.house, w.channels, name, stop),
        run_sealing(w.house, w.witness, w.settings.audit_seal_seconds, stop),
    )  # fmt: skip


class Late:
    """The ASGI app. Routes are built when the lifespan has opened the store; until then everything waits behind /health's 503."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.app: ASGIApp | None = None
        self.ready = False
        self.refused = ""  # why it did not start, in one sentence

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
            return
        assert self.app is not None
        await self.app(scope, receive, send)

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        async with self._open() as failed:
            if failed:
                await send({"type": "lifespan.startup.failed", "message": failed})
                return
            await send({"type": "lifespan.startup.complete"})
            await receive()
        await send({"type": "lifespan.shutdown.complete"})

    @asynccontextmanager
    async def _open(self) -> AsyncIterator[str]:
        try:
            w = await wiring.open_wired(self.settings)
        except Refused as wrong:
            self.refused = str(wrong)
            logging.getLogger("uvicorn.error").disabled = True  # the sentence is said once, by whoever called
            yield str(wrong)
            return
        except Exception as wrong:
            log.exception("cannot-start")
            yield f"{type(wrong).__name__}: the log says where"
            return
        stop = asyncio.Event()
        tasks: list[asyncio.Task[Any]] = []
        labelling: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        try:
            self.app = build(w, lambda: self.ready)
            if w.sealed is not None:
                log.error("alarm", what=f"Sealed: {w.sealed}. Nothing is disclosed until the consent journal is replayed.")
                self.app = seal.sealed(self.app, w.still_sealed)
            elif self.settings.demo:
                await demo.seed(w)
                demo.say(self.settings)
            work = run_both(w, stop) if self.settings.worker else run_sealing(w.house, w.witness, self.settings.audit_seal_seconds, stop)
            tasks.append(asyncio.create_task(work))
            if w.sealed is None:
                labelling = asyncio.create_task(relabel(w))
            self.ready = True
            log.info("serving", base=self.settings.base, demo=self.settings.demo, remotes=[p.name for p in w.partners])
            yield ""
        finally:
            self.ready = False
            stop.set()
            labelling.cancel()  # it goes on at the next start
            for task in tasks:
                try:
                    await asyncio.wait_for(task, 5)
                except (TimeoutError, asyncio.CancelledError):
                    task.cancel()
            await w.close()


async def relabel(w: Wired) -> None:
    """What other value sets have labelled is labelled again, while everybody is served."""
    try:
        if w.house.label_sets.ready and not await gate.labelled_by_these(w.house):
            seen, changed = await gate.relabel(w.house)
            log.info("relabelled", seen=seen, changed=changed)
    except StoreError as wrong:
        log.error("not-relabelled", why=str(wrong), help="it is tried again at the next start, or by `fhir-gateway relabel`")


def build(w: Wired, is_ready: Any) -> ASGIApp:
    """Every route of the house."""

    async def caller(token: str) -> Any:
        at = wiring.now()
        found = await w.tokens.verify(token, at)
        return await people.as_now(w.store, found, at) if found.issuer == w.tokens.issuer else found

    written = 0.0

    async def ready() -> bool:
        nonlocal written
        try:
            await w.store.check()
            if (at := asyncio.get_running_loop().time()) > written + PROBE_SECONDS:
                await asyncio.wait_for(w.store.commit(Keep("health", "probe", wiring.now().isoformat().encode())), PATIENCE_SECONDS)
                written = at
        except (StoreError, TimeoutError):
            return False
        return bool(is_ready()) and not w.fails

    async def queues() -> dict[str, dict[str, int]]:
        return {name: await w.store.outbox(name) for name in (*(p.name for p in w.partners), *QUEUES, DIRECTORY)}

    async def waiting() -> int:
        return await gate.waiting(wiring.operator(w))

    async def synced() -> list[dict[str, Any]]:
        now = wiring.now()
        return [{**await sync_status(w.house, p), "outcomes": await w.store.outbox(p.name), "now": now} for p in w.partners]

    s = w.settings
    web = shell.Web(
        w.house, caller, s.base, ready, s.body_limit, s.header_limit, s.uri_limit, queues=queues, waiting=waiting, synced=synced, binary_limit=s.binary_limit,
        plain_beyond=urlsplit(s.base).scheme == "http" and not loopback(s.host), admission=Admission(
            Limits(s.concurrency, s.wait_seconds, s.pace, s.bodies_limit, s.body_seconds, strangers=s.attempts_rate, strangers_at_once=20 * s.attempts_rate)
        ),
        channels=frozenset(w.channels.by), depth_limit=s.depth_limit,
        limits=s.limits, signs_in=s.built_in_issuer,
    )  # fmt: skip
    sessions = Sessions(w.store, wiring.now, wiring.new_id, s.base, s.base.startswith("https:"), s.built_in_issuer)
    oauth = OAuth(w.store, w.tokens, s.base, s.fhir_base, w.house.new_id, timedelta(minutes=s.token_minutes), KeySets(s.key_hosts()))
    elsewhere = w.tokens.foreign.about if w.tokens.foreign is not None and not s.built_in_issuer else None
    seen = page_seam(w, sessions, web.admission)
    sign_in = smart.Smart(oauth, sessions, seen, wiring.now, web.admission, elsewhere)
    own = [*smart.routes(web, sign_in), *(apps.routes(web, sign_in) if s.built_in_issuer else ())]
    def describe(routes: Any) -> dict[str, Any]:
        return openapi.document(routes, s.base, w.house.r4.types, w.house.r4.compartments)

    addresses = [*own, *plans.routes(web), *hl7v2.routes(web), *recording.routes(web), *patients.routes(web), *drafts.routes(web), *readings.routes(web), *telling.routes(web), *subscriptions.routes(web), *pages.routes(seen)]
    house = shell.build(web, fhir.endpoint(web), addresses, describe=describe, sorry=sorry)
    return cors.crossing(house, Origins(w.store), wiring.now)


PROGRAMS = ("/fhir", "/openapi.json", "/plans", "/hl7v2", "/patients", "/readings", "/health", "/metrics", "/sync", "/.well-known")


def sorry(request: Request, p: Problem) -> Response:
    """An address nobody knows, or not for this method: in the words of those who come to it.

    RFC 6749 JSON at /oauth, a page for people, an OperationOutcome for programs.
    """
    path = request.url.path
    if path.startswith("/oauth/"):
        return smart.refusal(p)
    program = any(path == place or path.startswith(f"{place}/") for place in PROGRAMS)
    if not program and ("text/html" in request.headers.get("accept", "") or (p.status == 405 and "*/*" in request.headers.get("accept", "*/*"))):
        page = pages.error_page(request, p.status)
        page.headers.update(p.headers)
        return page
    return shell.problem_response(p)


def page_seam(w: Wired, sessions: Sessions, admission: Admission) -> pages.Pages:
    """What the pages need of the rest of the house."""

    async def context_for(request: Request) -> gate.Context | None:
        session = await sessions.session(request.cookies)
        if session:
            admission.client(request.scope["state"], f" {session.caller.subject}")
        return await gate.enter(w.house, await people.as_now(w.store, session.caller, wiring.now())) if session else None

    async def sign_in(request: Request, username: str, password: str) -> list[str] | None:
        admission.stranger(shell.address(request))
        return await sessions.sign_in(request, username, password)

    async def first_password(request: Request, username: str, given: str, new: str) -> list[str] | None:
        admission.stranger(shell.address(request))
        return await mine.first_password(request, username, given, new)

    async def confirm(request: Request, password: str) -> gate.Context | None:
        caller = await sessions.confirm(request, password, changed := list[str]())
        pages.changed(request, changed)
        return await gate.enter(w.house, await people.as_now(w.store, caller, wiring.now())) if caller else None

    async def opens_apps() -> bool:
        return any(c.launch_uri for c in await clients.list_clients(w.store, wiring.now()))

    cast = [pages.DemoPerson(**p) for p in demo.demo_people()] if w.settings.demo else []
    mine = OwnSignIn(w.store, sessions, w.tokens, wiring.now, wiring.new_id)
    return pages.Pages(w.house, sessions, context_for, sign_in, w.settings.base, confirm, first_password, cast, mine, {"channels": frozenset(w.channels.by), "partners": w.partners}, lambda request: admission.stranger(shell.address(request)), opens_apps, wiring.open_launches(w.settings, w.house), w.settings.leave_url)


__all__ = ["build", "serve", "work"]
