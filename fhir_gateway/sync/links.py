"""What a link between a resource here and one there is read from: replies, their ids and ETags."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..domain.types import Linked
from ..remote.client import Refusal, Reply


def fields_of(link: Linked) -> dict[str, Any]:
    return {name: getattr(link, name) for name in Linked.__dataclass_fields__}


def etag_of(body: dict[str, Any]) -> str:
    version = body.get("meta", {}).get("versionId")
    return f'W/"{version}"' if version else ""


def id_of(reply: Reply, live: Linked | None) -> str:
    if live is not None:
        return live.remote_id.split("/")[1]
    parts = reply.location.split("/_history")[0].rstrip("/").split("/")
    if len(parts) < 2 or not parts[-1]:
        raise Refusal(reply.status, "it created something without saying under which id")
    return parts[-1]


def bare(r: Mapping[str, Any]) -> dict[str, Any]:
    """Without what a server sets itself."""
    meta = {k: v for k, v in r.get("meta", {}).items() if k not in ("versionId", "lastUpdated", "source")}
    return {**{k: v for k, v in r.items() if k not in ("id", "text")}, "meta": meta}


def same(a: Mapping[str, Any], b: Mapping[str, Any]) -> bool:
    """Equal but for what a server sets itself."""
    return bare(a) == bare(b)
