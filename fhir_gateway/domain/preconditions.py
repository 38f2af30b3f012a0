"""Version tags and dates of HTTP: has the reader got this already, which version did the writer see.

https://hl7.org/fhir/R4/http.html#cread, https://www.rfc-editor.org/rfc/rfc9110#section-13
"""

from __future__ import annotations

from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any

from .primitives import whole
from .problem import Problem


def etag(text: Any, where: str = "If-Match") -> int | None:
    """`W/"3"` to 3, None for None. Problem bad-request for anything else."""
    if text is None:
        return None
    bare = text.removeprefix("W/").strip('"') if isinstance(text, str) else ""
    version = whole(bare)
    if version is None:
        raise Problem("bad-request", f'`{str(text)[:40]}` is not a version tag of this server, such as W/"3".', where)
    return version


def tag(version: int) -> str:
    """3 to `W/"3"`: what an ETag always is here."""
    return f'W/"{version}"'


def not_modified(version: int, updated: datetime, if_none_match: str | None, if_modified_since: str | None) -> bool:
    """Whether the reader, permitted by now, has it already. A tag is stronger than a date."""
    if if_none_match is not None:
        return if_none_match.strip() == "*" or tag(version) in [_weak(t.strip()) for t in if_none_match.split(",")]
    if if_modified_since is None:
        return False
    since = _when(if_modified_since)
    return since is not None and updated.replace(microsecond=0) <= since


def _weak(text: str) -> str:
    return text if text.startswith("W/") else f"W/{text}"


def _when(text: str) -> datetime | None:
    """An HTTP date, or in a Bundle a FHIR instant; None for what is neither, which is then as if not said."""
    for read in (parsedate_to_datetime, datetime.fromisoformat):
        try:
            at = read(text)
        except (ValueError, TypeError, IndexError, OverflowError):
            continue
        return at if at.tzinfo is not None else None
    return None
