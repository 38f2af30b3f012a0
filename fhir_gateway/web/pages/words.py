"""Words on the pages: every sentence goes through `_`, which says it in the visitor's language; dates are said as people say them.

`scripts/sentences` collects the sentences. docs/languages.md
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from babel.dates import format_date, format_datetime, format_timedelta

from . import languages
from .languages import locale

LONDON = ZoneInfo("Europe/London")
YEARS = range(1900, 2101)  # in which a day may be that somebody types


def _(sentence: str) -> str:
    return languages.said(sentence)


LEVELS = {  # NHS login's levels of proofing (P), and CIS2's of authentication (AAL)
    "P0": "Low: we have not checked who you are",
    "P5": "Medium: we have checked some of your details",
    "P9": "High: we have checked who you are",
    "AAL1": "Low: a password",
    "AAL2": "Medium: a password and one more thing, such as a phone",
    "AAL3": "High: a smartcard or a security key",
}


def level(assurance: str) -> str:
    """A level of assurance in plain words; one that we have no words for as it is; empty when nothing was said."""
    known = assurance.split("_")[0].upper()  # CIS2 says AAL2_OR_AAL3_ANY
    return _(LEVELS[known]) if known in LEVELS else assurance


def short(value: Any) -> str:
    """A number without zeros at its end, as people write it; anything else as it is."""
    return f"{value.normalize():f}" if isinstance(value, Decimal) and abs(value.adjusted()) < 16 else str(value)


def day(value: Any) -> str:
    """`2026-11`, `2026-11-30`, an instant or a date, as a person writes it: November 2026, 30 November 2026.

    What is no date comes back as it was written.
    """
    if isinstance(value, datetime):
        return format_date(value.astimezone(LONDON), "d MMMM y", locale())
    if isinstance(value, date):
        return format_date(value, "d MMMM y", locale())
    text = str(value or "")
    try:
        if re.fullmatch(r"\d{4}-\d\d", text):
            return format_date(date.fromisoformat(text + "-01"), "MMMM y", locale())
        if "T" in text:
            return day(datetime.fromisoformat(text))
        return day(date.fromisoformat(text)) if re.fullmatch(r"\d{4}-\d\d-\d\d", text) else text
    except (ValueError, OverflowError):  # the latter: the last hours of 9999 and the first of year 1
        return text


def moment(value: Any) -> str:
    """An instant in London time: 30 November 2026 at 2:05 pm."""
    try:
        at = value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
        form = "d MMMM y 'at' h:mm a" if locale() == "en_GB" else "d MMMM y, HH:mm"
        return format_datetime(at, form, tzinfo=LONDON, locale=locale())
    except (ValueError, OverflowError):
        return str(value)


def lasting(seconds: float) -> str:
    """About how long: 3 minutes, 2 days."""
    return format_timedelta(timedelta(seconds=max(1.0, seconds)), locale=locale())


def plain_date(value: Any) -> date | None:
    """The calendar day in London of a date or instant as plans write them; None when it is less than a day or none."""
    text = str(value or "")
    try:
        return datetime.fromisoformat(text).astimezone(LONDON).date() if "T" in text else date.fromisoformat(text)
    except (ValueError, OverflowError):
        return None


def today(at: datetime) -> date:
    return at.astimezone(LONDON).date()


def typed_date(values: Mapping[str, str], name: str) -> tuple[str, str]:
    """(date, "") typed into three boxes where the year, or month and year, are enough, as FHIR writes it; ("", a sentence) when it is none. Both "" when all are empty."""
    d, m, y = (values.get(f"{name}-{p}", "").strip() for p in ("day", "month", "year"))
    part = not d and bool(y)
    found = typed_day({**values, f"{name}-day": "1", f"{name}-month": m or "1"} if part else values, name)
    if not isinstance(found, date):
        return "", found or ""
    return found.isoformat()[: 10 if not part else 7 if m else 4], ""


def typed_day(values: Mapping[str, str], name: str) -> date | str | None:
    """A day typed into three boxes: the day, None when all are empty, a sentence when it is none, or its year is none that anybody here has a day in."""
    parts = [values.get(f"{name}-{p}", "").strip() for p in ("day", "month", "year")]
    if not any(parts):
        return None
    try:
        d, m, y = (int(p) for p in parts if p.isdecimal())
        if len(parts[2]) != 4 or y not in YEARS:
            return _("Write all four digits of the year, from 1900 to 2100. For example 2026.")
        return date(y, m, d)
    except (ValueError, OverflowError):
        return _("Write a day that exists, with day, month and year. For example 30 11 2026.")
