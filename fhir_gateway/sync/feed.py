"""What a server says has changed, page by page: a history feed, or a search by last change."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from .partner import Partner

MANY = 100
Change = dict[str, Any]  # {"id": "Type/id", "resource": dict or None, "updated", "broken": why it is none}


async def from_history(partner: Partner, type: str | None, since: str | None) -> tuple[list[Change], str | None]:
    changes: list[Change] = []
    newest = None
    async for page in partner.server.history(type, since):
        for entry in _entries(page):
            resource, request = entry.get("resource"), _object(entry.get("request"))
            if request.get("method") == "DELETE" or resource is None:
                parts = str(request.get("url", "")).split("/")
                if len(parts) >= 2:
                    changes.append({"id": "/".join(parts[-2:] if "_history" not in parts else parts[:2]), "resource": None, "updated": ""})
                continue
            changes.append(change_of(resource))
            newest = max(filter(None, (newest, changes[-1]["updated"])), default=None)
    return changes, newest


async def from_search(partner: Partner, type: str, since: str | None) -> tuple[list[Change], str | None]:
    params = {"_sort": "_lastUpdated", "_count": str(MANY)}
    if since:
        params["_lastUpdated"] = f"ge{since}"
    changes: list[Change] = []
    newest = None
    async for page in partner.server.search(type, params):
        for entry in _entries(page):
            resource = _object(entry.get("resource"))
            if resource.get("resourceType") == type and resource.get("id"):
                changes.append(change_of(resource))
                newest = max(filter(None, (newest, changes[-1]["updated"])), default=None)
    return changes, newest


def _entries(page: dict[str, Any]) -> list[dict[str, Any]]:
    some = page.get("entry", [])
    return [_object(e) for e in some] if isinstance(some, list) else []


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def change_of(resource: Any) -> Change:
    """What is no resource keeps the place of one, to be quarantined: it must not stop what stands beside it."""
    held = _object(resource)
    updated = _utc(str(_object(held.get("meta")).get("lastUpdated", "")))
    name = f"{held.get('resourceType')}/{held.get('id')}"
    return {"id": name, "resource": resource, "updated": updated, "broken": _broken(resource)}


def _broken(resource: Any) -> str:
    """Why this is not even the outline of a resource; "" when it is."""
    if not isinstance(resource, dict) or not isinstance(resource.get("resourceType"), str) or not isinstance(resource.get("id"), str):
        return "An entry that is not a resource with a type and an id."
    meta = resource.get("meta", {})
    tags = meta.get("tag", []) if isinstance(meta, dict) else None
    if not isinstance(tags, list) or not all(isinstance(t, dict) for t in tags):
        return "A resource whose `meta` is not of its shape."
    return ""


def _utc(text: str) -> str:
    """One spelling, so that instants compare as texts."""
    try:
        return datetime.fromisoformat(text).astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"
    except (ValueError, OverflowError):
        return ""
