"""A house with a registered system of the surgery that subscribes, and the endpoint where it is told."""

from __future__ import annotations

import json
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx2
from joserfc.jwk import ECKey

from fhir_gateway import gate
from fhir_gateway.auth import clients
from fhir_gateway.domain import strict, topics
from fhir_gateway.domain.types import Ref
from fhir_gateway.gate import Context
from fhir_gateway.store import mongo, sqlite
from fhir_gateway.sync import notifying

from .telling.place import Place
from .telling.servers import Post

KEY = {"keys": [ECKey.generate_key("P-384", {"use": "sig", "alg": "ES384"}, private=True).as_dict(private=False)]}


class Hook:
    """Where a subscriber is told: keeps what comes, answers `status`; 0 breaks off after it has read."""

    def __init__(self) -> None:
        self.status, self.came = 200, list[tuple[str, dict[str, str], bytes]]()
        self.more: dict[str, str] = {}
        self.answers = threading.Event()  # cleared: it takes what comes and says nothing
        self.answers.set()
        outer = self

        class Answers(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                outer.came.append((self.path, {k.lower(): v for k, v in self.headers.items()}, raw))
                outer.answers.wait(30)
                if outer.status == 0:
                    self.close_connection = True
                    return
                self.send_response(outer.status)
                for name, value in outer.more.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", "0")
                self.end_headers()

            do_GET = do_PUT = do_POST

            def log_message(self, *args: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
        self.place = f"127.0.0.1:{self.server.server_port}"

    def bodies(self) -> list[dict[str, Any]]:
        return [json.loads(raw) for _, _, raw in self.came if raw]

    def told(self) -> list[tuple[str, list[tuple[int, str]]]]:
        """(kind, [(number, focus)]) of each notification."""
        return [said(b) for b in self.bodies()]

    def events(self) -> list[tuple[int, str]]:
        return [e for kind, events in self.told() if kind == "event-notification" for e in events]


def said(bundle: dict[str, Any]) -> tuple[str, list[tuple[int, str]]]:
    first = bundle["entry"][0]["resource"]["parameter"]
    kind = next(p["valueCode"] for p in first if p["name"] == "type")
    events = [{q["name"]: q for q in p["part"]} for p in first if p["name"] == "notification-event"]
    return kind, [(int(e["event-number"]["valueString"]), e.get("focus", {}).get("valueReference", {}).get("reference", "").rpartition("/fhir/")[2]) for e in events]


@contextmanager
def hook() -> Iterator[Hook]:
    h = Hook()
    threading.Thread(target=h.server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield h
    finally:
        h.server.shutdown()
        h.server.server_close()


def subscription(endpoint: str, *filters: str, content: str = "id-only", criteria: str = topics.TOPIC, **channel: Any) -> dict[str, Any]:
    """As the Backport guide has it."""
    extension = channel.pop("extension", None)
    return {
        "resourceType": "Subscription", "meta": {"profile": [topics.PROFILE]}, "status": "requested", "reason": "to keep our own list", "criteria": criteria,
        **({"_criteria": {"extension": [{"url": topics.FILTER, "valueString": f} for f in filters]}} if filters else {}),
        "channel": {
            "type": "rest-hook", "endpoint": endpoint, "payload": "application/fhir+json",
            "_payload": {"extension": [{"url": topics.CONTENT, "valueCode": content}]}, **({"extension": extension} if extension else {}), **channel,
        },
    }  # fmt: skip


class Listened(Place):
    """Amina, her surgery, and the surgery's system, which subscribes."""

    hook: Hook
    http: httpx2.AsyncClient

    async def register(self, id: str, organisation: str, scopes: str = "system/*.cruds") -> None:
        client = clients.Client(id, "system", id, scopes, jwks=KEY, organisation=self.names[organisation], purpose="TREAT")
        await clients.add(self.house.store, client)

    async def as_system(self, id: str = "practice", scopes: str = "system/*.cruds") -> Context:
        client = await clients.find(self.house.store, id, self.now)
        assert client is not None
        return await gate.enter(self.house, client.caller(issuer="", jti="x", expires=self.now + timedelta(hours=1), scopes=scopes))

    async def subscribe(self, *filters: str, who: str = "practice", scopes: str = "system/*.cruds", **more: Any) -> str:
        """Its id, once it is active."""
        ctx = await self.as_system(who, scopes)
        made = await gate.create(ctx, "Subscription", strict.dump(subscription(f"http://{self.hook.place}/told", *filters, **more)))
        await self.tell()
        return made.ref.id

    async def tell(self) -> None:
        await notifying.once(self.house, self.http, "w")

    async def goal(self, text: str = "walk", **more: Any) -> Ref:
        body = {"resourceType": "Goal", "lifecycleStatus": "active", "description": {"text": text}, "subject": {"reference": self.names["amina"]}, **more}
        made = await gate.create(self.me, "Goal", strict.dump(body))
        self.names[text] = str(made.ref)
        return made.ref

    async def edit(self, key: str, **more: Any) -> None:
        await self.change(self.me, key, **more)

    async def status_of(self, id: str, who: str = "practice") -> str:
        return str(strict.decode((await gate.read(await self.as_system(who), Ref("Subscription", id))).body)["status"])


@asynccontextmanager
async def listened(folder: Path, uri: str = "") -> AsyncIterator[Listened]:
    """In a file of this folder, or in MongoDB at `uri`."""
    with hook() as h:
        place = Listened(Post())
        place.hook, place.http = h, notifying.client()
        store: Any
        if uri:
            store = await mongo.open(uri, clock=lambda: place.now)
        else:
            store = await sqlite.open(folder / "store.sqlite", clock=lambda: place.now)
        await place.open(store)
        place.house.subscribers = frozenset({h.place})
        await place.register("practice", "surgery")
        await place.register("ward", "hospital")
        yield place
        await place.http.aclose()
        await store.close()
