"""How a person wants to be told that something changed, when it is safe, and the few sentences they get: none says what it was."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from typing import Final, Literal

from .periods import LONDON

Channel = Literal["email", "text", "app", "page"]
CHANNELS: Final = ("email", "text", "app", "page")
EVERY_DAY: Final[tuple[int, ...]] = (0, 1, 2, 3, 4, 5, 6)  # Monday is 0
LONGEST_ADDRESS: Final = 254  # RFC 5321, 4.5.3.1.3

_EMAIL: Final = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)+[A-Za-z]{2,63}")
_NUMBER: Final = re.compile(r"\+[1-9][0-9]{7,14}")


@dataclass(frozen=True, slots=True)
class Choice:
    """What a person chose. `address`: an email address or a number (+447…), empty for `app` and `page`.

    `start` and `end` are times of the clock in London, HH:MM, between which it is safe on `days` (Monday is 0); both empty: at
    any time. An end before the start is on the next day.
    """

    channel: Channel = "page"
    address: str = ""
    language: str = "en"
    start: str = ""
    end: str = ""
    days: tuple[int, ...] = EVERY_DAY

    @property
    def anytime(self) -> bool:
        return not self.start and not self.end and self.days == EVERY_DAY


PAGE_ONLY: Final = Choice()


def email(typed: str) -> str | None:
    """The address, or None when it is none that mail is sent to."""
    text = typed.strip()
    good = len(text) <= LONGEST_ADDRESS and _EMAIL.fullmatch(text) and ".." not in text and not text.startswith(".") and ".@" not in text
    return text if good else None


def mobile(typed: str) -> str | None:
    """The number as +447…, from how people write it (07700 900123, +44 7700 900123); None when it is none."""
    text = re.sub(r"[\s().-]", "", typed)
    if text.startswith("00"):
        text = "+" + text[2:]
    elif text.startswith("0"):
        text = "+44" + text[1:]
    text = text.replace("+440", "+44", 1)
    return text if _NUMBER.fullmatch(text) else None


def clock(typed: str) -> str | None:
    """A time of day as HH:MM (9, 9:30, 09:30); None when it is none."""
    found = re.fullmatch(r"([01]?\d|2[0-3])(?:[:.]([0-5]\d))?", typed.strip())
    return f"{int(found[1]):02d}:{found[2] or '00'}" if found else None


def next_safe(choice: Choice, at: datetime) -> datetime:
    """`at`, or the first safe instant after it. An hour that a clock change doubles or leaves out is not taken for safe."""
    if choice.anytime:
        return at
    today = at.astimezone(LONDON).date()
    for n in range(-1, 22):
        day = today + timedelta(days=n)
        if day.weekday() not in choice.days:
            continue
        start = max(_instants(datetime.combine(day, _time(choice.start))))
        until = _time(choice.end)
        last = day + timedelta(days=1) if until <= _time(choice.start) else day
        end = min(_instants(datetime.combine(last, until)))
        if at < end and start < end:
            return max(at, start)
    raise ValueError("no day is safe")


def _time(text: str) -> time:
    return time.fromisoformat(text or "00:00")


def _instants(local: datetime) -> tuple[datetime, datetime]:
    first, second = (local.replace(tzinfo=LONDON, fold=fold).astimezone(UTC) for fold in (0, 1))
    return first, second


# -- the words --------------------------------------------------------------------------------------------------------

LANGUAGES: Final[Mapping[str, str]] = {"en": "English", "cy": "Cymraeg", "ur": "اردو"}


@dataclass(frozen=True, slots=True)
class Words:
    """One notice in one language. Nothing in it differs from person to person but the address of the page."""

    subject: str
    text: str


_PERSON: Final[Mapping[str, tuple[str, str]]] = {
    "en": ("Your shared care plan", "Something about your shared care plan changed. Please sign in to see what."),
    "cy": (
        "Eich cynllun gofal a rennir",
        "Mae rhywbeth am eich cynllun gofal a rennir wedi newid. Mewngofnodwch i weld beth, os gwelwch yn dda.",
    ),
    "ur": ("آپ کا مشترکہ نگہداشت کا منصوبہ", "آپ کے مشترکہ نگہداشت کے منصوبے میں کچھ بدل گیا ہے۔ کیا بدلا ہے، یہ دیکھنے کے لیے براہ کرم سائن ان کریں۔"),
}
_CODE: Final[Mapping[str, tuple[str, str]]] = {  # it may be a stranger's address: not a word of a care plan, nor where to sign in
    "en": ("Your code", "Your code is {code}. Type it on the page where you asked for it. If you did not ask for it, you need not do anything."),
    "cy": ("Eich cod", "Eich cod yw {code}. Teipiwch ef ar y dudalen lle gwnaethoch ofyn amdano. Os na wnaethoch ofyn amdano, nid oes angen i chi wneud dim."),
    "ur": ("آپ کا کوڈ", "آپ کا کوڈ {code} ہے۔ اسے اسی صفحے پر لکھیں جہاں آپ نے یہ مانگا تھا۔ اگر آپ نے یہ نہیں مانگا تو آپ کو کچھ کرنے کی ضرورت نہیں۔"),
}
_OFFICER: Final = ("Shared care plans: something to review", "Something about a shared care plan needs your review. Please sign in to see what.")


def words(language: str, sign_in: str, *, officer: bool = False, code: str = "") -> Words:
    """The notice in this language (English where there is none), with the address of the sign-in page; with `code`, that alone."""
    if code:
        subject, text = _CODE.get(language, _CODE["en"])
        return Words(subject, text.format(code=code) + "\n")
    subject, text = _OFFICER if officer else _PERSON.get(language, _PERSON["en"])
    return Words(subject, f"{text}\n\n{sign_in}\n")
