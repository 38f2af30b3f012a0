"""Servers in this process: the real app over a real store, with a clock and ids of the test's own and real tokens.

One side holds everything. From the other all that one reader may not see was physically removed: out of every table that
answers. What a decision reads (consents, teams, tasks, referrals, who is tied to whom, epochs) stays for deciding.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import unquote

import apsw
from pymongo import MongoClient
from starlette.applications import Starlette

from fhir_gateway import definitions, serving, wiring
from fhir_gateway.auth import keys
from fhir_gateway.auth.people import SESSION_SCOPES
from fhir_gateway.auth.sessions import Sessions
from fhir_gateway.auth.tokens import Caller, Tokens, mint
from fhir_gateway.domain import facts
from fhir_gateway.domain.directory import ODS_CODE, Sectors
from fhir_gateway.domain.labels import LabelSets
from fhir_gateway.domain.standing import STANDING_TYPES, Policy
from fhir_gateway.domain.types import Expect, Facts, Note, Op, Put, Ref
from fhir_gateway.gate import House, enter
from fhir_gateway.store import mongo, sqlite
from fhir_gateway.store.base import Store
from fhir_gateway.web import app as shell
from fhir_gateway.web import fhir, pages, patients, plans

BASE = "http://here.example"
START = datetime(2026, 11, 1, 9, 0, tzinfo=UTC)
URGENT_CARE = "RZ9"  # the ODS code of the ambulance
SECRET = b"thirty-two bytes of no importance"[:32]

# -- who asks ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Person:
    """Somebody who signs in: `Actor` to be."""

    name: str
    user: str
    organisation: str | None = None
    patient: str | None = None
    roles: tuple[str, ...] = ()
    scopes: str = ""
    purpose: str = "TREAT"


CAST = {
    p.name: p
    for p in (
        Person("patient", "Patient/p1", patient="Patient/p1"),
        Person("other-patient", "Patient/p2", patient="Patient/p2"),
        Person("third-patient", "Patient/p3", patient="Patient/p3"),
        Person("proxy", "RelatedPerson/carer", patient="Patient/p1"),
        Person("gp", "Practitioner/gp", "Organization/gp", roles=("clinician", "break-glass")),
        Person("nurse", "Practitioner/nurse", "Organization/trust", roles=("clinician",)),
        Person("social-worker", "Practitioner/social", "Organization/council"),
        Person("link-worker", "Practitioner/link", "Organization/charity"),
        Person("stranger", "Practitioner/sam", "Organization/other", roles=("clinician", "break-glass")),
        Person("medic", "Practitioner/medic", "Organization/ambulance", roles=("clinician",), purpose="ETREAT"),
        Person("hospital", "Device/hospital", "Organization/trust", roles=("contributor", "refer")),
        Person("narrow", "Practitioner/gp", "Organization/gp", scopes="user/Observation.rs?status=final user/Patient.rs user/Goal.cruds user/CarePlan.rs"),
        Person("narrower", "Practitioner/gp", "Organization/gp", scopes="user/*.rs?_tag=http://tags|r1 user/Patient.rs user/Goal.cruds?lifecycle-status=active"),
        Person("app", "Patient/p1", patient="Patient/p1", scopes="patient/Observation.cruds?status=final patient/CarePlan.cruds patient/Goal.rs patient/Patient.r patient/Task.s"),
        Person("feed", "Device/hospital", "Organization/trust", roles=("contributor", "refer"), scopes="system/*.cu system/Goal.cruds"),
    )
}  # fmt: skip


def caller(p: Person, signed_in: datetime | None = None) -> Caller:
    kind: Any = {"Patient": "patient", "RelatedPerson": "proxy", "Device": "system"}.get(p.user.split("/")[0], "professional")
    return Caller(
        subject=p.name, client="hospital" if kind == "system" else "an-app", fhir_user=p.user, kind=kind, scopes=p.scopes or SESSION_SCOPES[kind],
        issuer=BASE, jti=p.name, expires=datetime.now(UTC).replace(microsecond=0) + timedelta(days=1), purpose=p.purpose,
        organisation=p.organisation, patient=p.patient, launch=p.patient if kind in ("patient", "proxy") else None, roles=frozenset(p.roles), signed_in=signed_in,
    )  # fmt: skip


# -- a store that can be emptied, filled and thinned out --------------------------------------------------------------


class Shelf(Protocol):
    store: Store

    def wipe(self) -> None: ...

    def remove(self, hidden: Collection[Ref], versions: Collection[tuple[Ref, int]]) -> None: ...

    async def close(self) -> None: ...


# Versions that say who may see what stay for deciding; as an answer they are of a person whom nobody knows.
NOBODYS = facts.encode(Facts("Nothing", "-", ("Patient/never",), "V"))


def _forgotten(ref: Ref) -> str:
    return f"UPDATE version SET facts = CAST('{NOBODYS.decode()}' AS BLOB)" if ref.type in STANDING_TYPES else "DELETE FROM version"


@dataclass
class SqliteShelf:
    store: Store
    db: apsw.Connection

    @classmethod
    async def open(cls, path: Path) -> SqliteShelf:
        store = await sqlite.open(path, clock=lambda: START)
        db = apsw.Connection(str(path))
        db.set_busy_timeout(5_000)
        db.execute("PRAGMA synchronous=OFF; DROP TRIGGER version_kept; DROP TRIGGER version_fixed; DROP TRIGGER audit_kept")
        return cls(store, db)

    def wipe(self) -> None:
        tables = ("resource", "version", "key", "acl", "member", "tie", "epoch", "audit", "kept", "outbox", "link", "ledger")
        self.db.execute("BEGIN; " + "; ".join(f"DELETE FROM {t}" for t in tables) + "; COMMIT")

    def remove(self, hidden: Collection[Ref], versions: Collection[tuple[Ref, int]]) -> None:
        db = self.db
        db.execute("BEGIN")
        for ref in hidden:
            for (rid,) in db.execute("SELECT rid FROM resource WHERE type = ? AND id = ?", ref).fetchall():
                for table in ("key", "acl", "member", "resource"):
                    db.execute(f"DELETE FROM {table} WHERE rid = ?", (rid,))
            db.execute(f"{_forgotten(ref)} WHERE type = ? AND id = ?", ref)
        for ref, version in versions:
            db.execute(f"{_forgotten(ref)} WHERE type = ? AND id = ? AND version = ?", (*ref, version))
        db.execute(  # the ties that stay belong to numbers of rows that must not be given again
            "INSERT INTO resource(rid, type, id, version, updated, deleted, writer, facts) SELECT max(rid) + 1000, 'Nothing', '-', 1, 0, 1, '{}', '{}' FROM resource"
        )
        db.execute("COMMIT")

    async def close(self) -> None:
        await self.store.close()
        self.db.close()


@dataclass
class MongoShelf:
    store: Store
    uri: str
    client: MongoClient[Any]

    @classmethod
    async def open(cls, uri: str) -> MongoShelf:
        return cls(await mongo.open(uri, clock=lambda: START), uri, MongoClient(uri))

    def wipe(self) -> None:
        db = self.client.get_default_database()
        for name in ("resource", "version", "tie", "epoch", "kept", "audit", "outbox", "link", "ledger", "marker"):
            db[name].delete_many({})

    def remove(self, hidden: Collection[Ref], versions: Collection[tuple[Ref, int]]) -> None:
        db = self.client.get_default_database()
        if hidden:
            db.resource.delete_many({"_id": {"$in": [str(r) for r in hidden]}})
        for ref, version in [*((r, 0) for r in hidden), *versions]:
            which = {"type": ref.type, "id": ref.id, **({"version": version} if version else {})}
            if ref.type in STANDING_TYPES:
                db.version.update_many(which, {"$set": {"facts": NOBODYS}})
            else:
                db.version.delete_many(which)

    async def close(self) -> None:
        await self.store.close()
        self.client.close()


# -- a server ---------------------------------------------------------------------------------------------------------


@dataclass
class Clock:
    at: datetime = START

    def __call__(self) -> datetime:
        return self.at


@dataclass
class Ids:
    """In order, and of one length. The next one may be named before."""

    mark: str = "w"
    n: int = 0
    named: str = ""

    def __call__(self) -> str:
        if self.named:
            name, self.named = self.named, ""
            return name
        self.n += 1
        return f"{self.mark}{self.n:06d}"


@dataclass(frozen=True)
class Reply:
    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes


@dataclass
class Side:
    """One server: `ask` is a request from outside."""

    house: House
    tokens: Tokens
    clock: Clock
    ids: Ids
    alarms: list[str] = field(default_factory=list)
    doors: dict[str, str] = field(default_factory=dict)  # the cookie of whoever is signed in to the pages
    shown: Any = None

    async def ask(self, who: str, method: str, target: str, headers: Sequence[tuple[str, str]] = (), body: bytes = b"") -> Reply:
        """`target` is below /fhir unless it starts with a slash."""
        front = Front.of(self.house)
        front.web.house, front.tokens = self.house, self.tokens
        sent = [("host", "here.example"), ("authorization", f"Bearer {_token(who, self.clock.at)}"), *headers]
        if not any(k.lower() == "accept" for k, _ in headers):
            sent.append(("accept", "application/fhir+json"))
        if body and not any(k.lower() == "content-type" for k, _ in headers):
            sent.append(("content-type", "application/fhir+json"))
        return await _call(front.app, method, target if target.startswith("/") else f"/fhir/{target}", sent, body)

    async def page(self, who: str, target: str) -> Reply:
        """One page for people, with a session of this person's own: signed in once, under the same name on every side."""
        sessions = Sessions(self.house.store, self.clock, self.ids, BASE, https=False, random_bytes=lambda n: sha256(who.encode()).digest()[:n])
        if who not in self.doors:
            (self.doors[who], *_) = await sessions.start(caller(CAST[who], self.clock.at.replace(microsecond=0)), {})
        if self.shown is None:

            async def context_for(request: Any) -> Any:
                session = await sessions.session(request.cookies)
                return await enter(self.house, session.caller) if session else None

            async def nobody(*_: Any) -> None:
                return None

            self.shown = Starlette(routes=pages.routes(pages.Pages(self.house, sessions, context_for, nobody, BASE)))
        return await _call(self.shown, "GET", target, [("host", "here.example"), ("cookie", self.doors[who].split(";")[0]), ("accept", "text/html")], b"")


def side(store: Store, ids: Ids, at: datetime = START) -> Side:
    clock, alarms = Clock(at), list[str]()
    house = House(
        store=store, clock=clock, new_id=ids, r4=definitions.load_r4(), label_sets=_labels(), sectors=_sectors(), secret=SECRET,
        policy=Policy(urgent_care=frozenset({f"{ODS_CODE}|{URGENT_CARE}"})), base_url=f"{BASE}/fhir", alarm=alarms.append,
    )  # fmt: skip
    return Side(house, Tokens(store, f"{BASE}/fhir", BASE), clock, ids, alarms)


@cache
def _labels() -> LabelSets:
    return LabelSets.load(definitions.load("labels.json"))


@cache
def _sectors() -> Sectors:
    return Sectors.from_json((definitions.profiles_dir() / "sectors.json").read_bytes())


class Front:
    """The app, once: its routes are the same for every house."""

    only: Front | None = None

    def __init__(self, house: House) -> None:
        self.tokens: Any = None
        self.web = shell.Web(house, self._caller, BASE, self._ready)
        self.app = shell.build(self.web, fhir.endpoint(self.web), [*plans.routes(self.web), *patients.routes(self.web)], describe=lambda _: {}, sorry=serving.sorry)

    @classmethod
    def of(cls, house: House) -> Front:
        cls.only = cls.only or cls(house)
        return cls.only

    async def _caller(self, token: str) -> Any:
        return await self.tokens.verify(token, wiring.now())

    async def _ready(self) -> bool:
        return True


async def _call(app: Any, method: str, target: str, headers: Sequence[tuple[str, str]], body: bytes) -> Reply:
    path, _, query = target.partition("?")
    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": method, "scheme": "http", "path": unquote(path),
        "raw_path": path.encode(), "query_string": query.encode(), "root_path": "", "client": ("127.0.0.1", 1), "server": ("here.example", 80),
        "headers": [(k.lower().encode(), v.encode()) for k, v in (*headers, ("content-length", str(len(body))))],
    }  # fmt: skip
    said: dict[str, Any] = {"body": b""}

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            said.update(status=message["status"], headers=message.get("headers", ()))
        else:
            said["body"] += message.get("body", b"")

    await app(scope, receive, send)
    return Reply(said["status"], tuple(sorted((k.decode(), v.decode()) for k, v in said["headers"])), said["body"])


# -- signing in -------------------------------------------------------------------------------------------------------


class _Memory:
    """Enough of a store to make a signing key in: its operations are then written to every store of a test."""

    def __init__(self) -> None:
        self.ops: list[Op] = []

    async def commit(self, *ops: Op) -> None:
        self.ops += ops

    async def kept_all(self, kind: str, at: datetime, prefix: str = "") -> dict[str, bytes]:
        return {o.key: o.value for o in self.ops if getattr(o, "kind", None) == kind}  # type: ignore[union-attr]


@cache
def _key() -> tuple[list[Op], keys.SigningKey]:
    memory = _Memory()

    async def made() -> keys.SigningKey:
        return (await keys.ring(memory, wiring.now())).signer  # type: ignore[arg-type]

    from threading import Thread

    out: list[keys.SigningKey] = []
    thread = Thread(target=lambda: out.append(asyncio.run(made())))
    thread.start()
    thread.join()
    return memory.ops, out[0]


def _token(who: str, at: datetime) -> str:
    """Who may open a record in an emergency has just signed in; to anybody else that makes no difference."""
    return _minted(who, at.replace(microsecond=0) if "break-glass" in CAST[who].roles and not CAST[who].scopes else None)


@cache
def _minted(who: str, signed_in: datetime | None) -> str:
    return mint(_key()[1], caller(CAST[who], signed_in), f"{BASE}/fhir", wiring.now())


def signing_key() -> list[Op]:
    """What a store must hold for the tokens of the cast to be believed."""
    return _key()[0]


# -- what happened, to be done again ----------------------------------------------------------------------------------


class Recording:
    """A store that remembers what was committed."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.ops: list[Op] = []
        self.notes: list[Note] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def commit(self, *ops: Op) -> None:
        await self._store.commit(*ops)
        self.ops += [o for o in ops if not isinstance(o, (Note, Expect))]
        self.notes += [o for o in ops if isinstance(o, Note)]

    def refs(self) -> dict[Ref, int]:
        """Whatever was written, and how many versions it has."""
        return {o.ref: o.version for o in self.ops if hasattr(o, "if_version") and hasattr(o, "ref")}  # type: ignore[union-attr]

    def last(self, ref: Ref) -> Put | None:
        return next((o for o in reversed(self.ops) if isinstance(o, Put) and o.ref == ref), None)


def without(notes: Sequence[Note], hidden: Collection[Ref]) -> list[Note]:
    """The audit as it would be had nobody ever met what is hidden."""
    gone = set(map(str, hidden))
    left = [(n, tuple(r for r in n.refs if r not in gone)) for n in notes]
    return [replace(n, refs=refs) for n, refs in left if refs or not n.refs]


async def fill(shelf: Shelf, ops: Sequence[Op]) -> None:
    """Empty, and then all of this."""
    shelf.wipe()
    await shelf.store.commit(*signing_key(), *ops)
