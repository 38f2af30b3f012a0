"""What each FHIR primitive may look like in JSON. `wrong(type)` gives a function: value -> why it is wrong, or "".

https://hl7.org/fhir/R4/datatypes.html#primitive
"""

from __future__ import annotations

import base64
import hashlib
import re
from calendar import monthrange
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

Wrong = Callable[[Any], str]
LONGEST = 1024 * 1024  # characters of a string

_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f]")
_CODE = re.compile(r"[^\s]+(?: [^\s]+)*| +")  # only spaces: let pass, as HL7's validator does; no value set has it
_ID = re.compile(r"[A-Za-z0-9\-.]{1,64}")
_OID = re.compile(r"urn:oid:[0-2](?:\.(?:0|[1-9][0-9]*))+")
_UUID = re.compile(r"urn:uuid:[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_ABSOLUTE = re.compile(r"[a-z][a-z0-9]*:[^ ]+")
_SYSTEM = re.compile(r"https?:|urn:")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9]*:")
_DATE = re.compile(r"(\d{4})(?:-(0[1-9]|1[0-2])(?:-(0[1-9]|[12]\d|3[01]))?)?", re.ASCII)
_TIME = r"(?:[01]\d|2[0-3]):[0-5]\d:(?:[0-5]\d|60)(?:\.\d+)?"
_ZONE = r"(?:Z|[+-](?:(?:0\d|1[0-3]):[0-5]\d|14:00))"
_TIMED = re.compile(r"(\d{4}-\d\d-\d\d)T" + _TIME + "(" + _ZONE + ")?", re.ASCII)
_CLOCK = re.compile(_TIME, re.ASCII)
_BASE64 = re.compile(r"[0-9A-Za-z+/]*={0,2}")
_SPACES = re.compile(r"\s", re.ASCII)
_LANGUAGE = re.compile(
    r"(?:[A-Za-z]{2,3}(?:-[A-Za-z]{3}){0,3}|[A-Za-z]{4,8})(?:-[A-Za-z]{4})?(?:-(?:[A-Za-z]{2}|[0-9]{3}))?"
    r"(?:-(?:[A-Za-z0-9]{5,8}|[0-9][A-Za-z0-9]{3}))*(?:-[0-9A-WYZa-wyz](?:-[A-Za-z0-9]{2,8})+)*(?:-[xX](?:-[A-Za-z0-9]{1,8})+)?"
    r"|[xX](?:-[A-Za-z0-9]{1,8})+"
)


def whole(text: str, digits: int = 18) -> int | None:
    """A whole number in plain digits; None for anything else (`²` and its like are digits too, but no numbers)."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= digits else None


def wrong(type: str) -> Wrong:
    """The check of one primitive type. KeyError when R4 has none of that name."""
    return _CHECKS[type]


def is_absolute(uri: str) -> bool:
    """Of canonicals, extensions and fullUrls: a scheme in small letters, and something after it."""
    return _ABSOLUTE.fullmatch(uri) is not None


def is_system(uri: str) -> bool:
    """Of codes and identifiers: a web address or a URN, as HL7's validator takes it."""
    return _SYSTEM.match(uri) is not None


def is_uri(value: str) -> bool:
    """Whether it begins with a scheme at all."""
    return _SCHEME.match(value) is not None


def is_language(tag: str) -> bool:
    """Well formed, https://www.rfc-editor.org/rfc/bcp/bcp47.txt"""
    return _LANGUAGE.fullmatch(tag) is not None


def is_currency(code: str) -> bool:
    """Three capital letters, as ISO 4217 has them."""
    return re.fullmatch("[A-Z]{3}", code) is not None


def hashes_to(data: str, expected: str) -> bool:
    """Whether `expected` is the SHA-1 of what the base64 `data` holds, as an Attachment states it; True where there is nothing to hash."""
    try:
        held = base64.b64decode("".join(data.split()), validate=True)
    except ValueError:
        return True  # said elsewhere
    return base64.b64encode(hashlib.sha1(held, usedforsecurity=False).digest()).decode() == "".join(expected.split())


def span(text: str) -> tuple[datetime, datetime] | None:
    """First and last instant that a date, dateTime or instant may stand for; zone-less ones as UTC. None when it is none."""
    try:
        if "T" in text:
            at = datetime.fromisoformat(text.replace(":60", ":59"))
            at = at if at.tzinfo else at.replace(tzinfo=timezone.utc)  # noqa: UP017
            return at, at
        year, month, day = (int(p) for p in [*text.split("-"), "0", "0"][:3])
        first = datetime(year, month or 1, day or 1, tzinfo=timezone.utc)  # noqa: UP017
        last_month = month or 12
        last = datetime(year, last_month, day or monthrange(year, last_month)[1], tzinfo=timezone.utc)  # noqa: UP017
        return first, last + timedelta(days=1, microseconds=-1)
    except (ValueError, OverflowError):
        return None


def _text(value: Any) -> str:
    if type(value) is not str:
        return _not("a string", value)
    if not value:
        return "must not be empty; leave it out instead"
    if _CONTROL.search(value):
        return "holds a control character"
    return "" if len(value) <= LONGEST else "is longer than 1 MB"


def _code(value: Any) -> str:
    if type(value) is str and _CODE.fullmatch(value) and not _CONTROL.search(value):
        return ""
    return _text(value) or f"`{value[:64]}` is not a code: no space at either end, single spaces inside"


def _id(value: Any) -> str:
    if type(value) is str and _ID.fullmatch(value):
        return ""
    return _text(value) or f"`{value[:80]}` is not an id: up to 64 letters, digits, - and ."


def _uri(value: Any) -> str:
    if type(value) is not str or not value:
        return _text(value)
    if (_SPACES.search(value) and not value.isspace()) or _CONTROL.search(value):
        return f"`{value[:80]}` is not a URI: it holds a space"
    if value.startswith("urn:oid:"):
        return "" if _OID.fullmatch(value) else f"`{value[:80]}` is not an OID"
    if value.startswith("urn:uuid:"):
        return "" if _UUID.fullmatch(value) else f"`{value[:80]}` is not a UUID in lower case"
    if value.startswith(("oid:", "uuid:")):
        return f"`{value[:80]}` must begin with urn:"
    return ""


def _canonical(value: Any) -> str:
    said = _uri(value)
    if said or value.startswith("#") or is_absolute(value) or value.isspace():
        return said
    return f"`{value[:80]}` is not a canonical address: it must be absolute"


def _oid(value: Any) -> str:
    return _text(value) or ("" if _OID.fullmatch(value) else f"`{value[:80]}` is not an OID (urn:oid:…)")


def _uuid(value: Any) -> str:
    return _text(value) or ("" if _UUID.fullmatch(value) else f"`{value[:80]}` is not a UUID (urn:uuid:…)")


def _date(value: Any) -> str:
    if type(value) is not str:
        return _not("a string", value)
    return "" if _is_day(value) else f"`{value[:40]}` is not a date (YYYY, YYYY-MM or YYYY-MM-DD)"


def _is_day(text: str) -> bool:
    m = _DATE.fullmatch(text)
    if m is None or m[1] == "0000":
        return False
    return m[3] is None or int(m[3]) <= monthrange(int(m[1]), int(m[2]))[1]


def _date_time(value: Any) -> str:
    if type(value) is not str:
        return _not("a string", value)
    if _is_day(value):
        return ""
    m = _TIMED.fullmatch(value)
    if m is None or not _is_day(m[1]):
        return f"`{value[:40]}` is not a dateTime (YYYY, YYYY-MM, YYYY-MM-DD or YYYY-MM-DDThh:mm:ss+zz:zz)"
    return "" if m[2] else f"`{value}` has a time but no time zone"


def _instant(value: Any) -> str:
    if type(value) is not str:
        return _not("a string", value)
    m = _TIMED.fullmatch(value)
    return "" if m and m[2] and _is_day(m[1]) else f"`{value[:40]}` is not an instant (YYYY-MM-DDThh:mm:ss.sss+zz:zz)"


def _clock(value: Any) -> str:
    if type(value) is not str:
        return _not("a string", value)
    return "" if _CLOCK.fullmatch(value) else f"`{value[:40]}` is not a time of day (hh:mm:ss)"


def _base64(value: Any) -> str:
    if type(value) is not str or not value:
        return _text(value)
    bare = _SPACES.sub("", value)
    return "" if len(bare) % 4 == 0 and _BASE64.fullmatch(bare) else "is not base64"


def _boolean(value: Any) -> str:
    return "" if value is True or value is False else _not("true or false", value)


def _decimal(value: Any) -> str:
    return "" if type(value) in (int, Decimal, float) else _not("a number", value)


def _whole(low: int) -> Wrong:
    def check(value: Any) -> str:
        if type(value) is not int:
            return _not("a whole number", value)
        return "" if low <= value <= 2147483647 else f"`{value}` is not a whole number from {low} to 2147483647"

    return check


def _not(what: str, value: Any) -> str:
    kind = {str: "a string", bool: "true or false", list: "an array", dict: "an object", type(None): "null"}
    return f"must be {what}, not {kind.get(type(value), 'a number')}"


_CHECKS: dict[str, Wrong] = {
    "string": _text, "markdown": _text, "xhtml": _text, "code": _code, "id": _id,
    "uri": _uri, "url": _uri, "canonical": _canonical, "oid": _oid, "uuid": _uuid,
    "date": _date, "dateTime": _date_time, "instant": _instant, "time": _clock,
    "base64Binary": _base64, "boolean": _boolean, "decimal": _decimal,
    "integer": _whole(-2147483648), "unsignedInt": _whole(0), "positiveInt": _whole(1),
}  # fmt: skip
