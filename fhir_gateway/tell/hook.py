"""By a signed webhook: Standard Webhooks (https://www.standardwebhooks.com), to the one address in the operator's settings.

The body says that somebody is to be told, in which words, and by which opaque reference they are known here.
"""

from __future__ import annotations

import asyncio
import hmac
from base64 import b64decode, b64encode
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256
from pathlib import Path

import httpx2
import msgspec

from .. import outbound
from .channel import SECONDS, Failed, Message, status_failed


def signature(secret: str, id: str, timestamp: int, body: bytes) -> str:
    """`v1,…` over id, timestamp and body. `secret` is `whsec_` and base64."""
    key = b64decode(secret.removeprefix("whsec_"))
    mac = hmac.new(key, f"{id}.{timestamp}.".encode() + body, sha256)
    return "v1," + b64encode(mac.digest()).decode()


async def post(http: httpx2.AsyncClient, url: str, body: bytes, headers: dict[str, str]) -> None:
    """One POST, no redirects, nothing read of the answer but its status. Raises Failed."""
    try:
        async with asyncio.timeout(SECONDS), http.stream("POST", url, content=body, headers=headers) as answer:
            failed = status_failed(answer.status_code, answer.headers.get("retry-after", ""))
    except TimeoutError:
        raise Failed("did not answer in time") from None
    except httpx2.TimeoutException:
        raise Failed("did not answer in time") from None
    except (httpx2.HTTPError, OSError):
        raise Failed("cannot be reached") from None
    if failed is not None:
        raise failed


def client(authority: Path | None = None) -> httpx2.AsyncClient:
    """Straight to the address, as `outbound` does."""
    return outbound.client(SECONDS / 2, authority=authority)


@dataclass
class Webhook:
    url: str
    secret: str
    clock: Callable[[], datetime]
    http: httpx2.AsyncClient = field(default_factory=client)

    async def send(self, message: Message) -> None:
        body = msgspec.json.encode({
            "type": "notice",
            "timestamp": message.at.isoformat().replace("+00:00", "Z"),
            "data": {"recipient": message.to, "language": message.language, "subject": message.subject, "text": message.text},
        })  # fmt: skip
        sent = int(self.clock().timestamp())  # of the attempt: receivers refuse what is old
        headers = {
            "content-type": "application/json", "webhook-id": message.id, "webhook-timestamp": str(sent),
            "webhook-signature": signature(self.secret, message.id, sent, body),
        }  # fmt: skip
        await post(self.http, self.url, body, headers)

    async def close(self) -> None:
        await self.http.aclose()
