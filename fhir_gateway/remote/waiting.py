"""How long a server asks us to wait: Retry-After (RFC 9110 10.2.3), `x-ms-retry-after-ms`, `RateLimit` (draft-ietf-httpapi-ratelimit-headers)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from email.utils import parsedate_to_datetime

from ..domain.primitives import whole

WAIT_MIN, WAIT_MAX = 1.0, 900.0
_SPENT = re.compile(r"(?:^|;)\s*r=0+\s*(?:;|$)")
_UNTIL = re.compile(r"(?:^|;)\s*t=(\d{1,12})\s*(?:;|$)")


def wait_asked(headers: Mapping[str, str], now: datetime) -> float | None:
    """Seconds, kept within 1 s and 15 minutes; None where it asks for none, or nobody can tell for how long."""
    if (thousandths := whole(headers.get("x-ms-retry-after-ms", "").strip())) is not None:
        return _bounded(thousandths / 1000)
    text = headers.get("retry-after", "").strip()
    if (seconds := whole(text, 400)) is not None:
        return _bounded(seconds)
    if (at := instant(text)) is not None:
        return _bounded((at - now).total_seconds())
    return spent(headers)


def spent(headers: Mapping[str, str]) -> float | None:
    """Seconds until more is allowed, where a `RateLimit` says that nothing is left: `"requests";r=0;t=20`."""
    some = [_UNTIL.search(part) for part in headers.get("ratelimit", "").split(",") if _SPENT.search(part)]
    return max((_bounded(int(t[1])) for t in some if t is not None), default=None)


def instant(text: str) -> datetime | None:
    """The time of an HTTP date, with its zone."""
    try:
        at = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return at if at.tzinfo is not None else None


def _bounded(seconds: float) -> float:
    return float(min(max(seconds, WAIT_MIN), WAIT_MAX))
