"""What a booklet's parts are made of: a row, a thing, and how an odd plan is read: whatever is not of the expected kind is not there. Pure."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

LONGEST: Final = 500  # characters of what `cut` leaves
Say = Callable[[str], str]  # says a sentence in the reader's language

STATES: Final = (  # how a thing of a plan stands, and what came of a goal (`mappings/codes`)
    "Accepted", "Achieved", "Active", "Better", "Cancelled", "Completed", "Declined", "Done", "Draft", "Entered in error", "Failed", "Finished", "Improving", "In progress", "Inactive", "Met", "No change", "No progress", "Not achieved", "Not attainable", "Not met", "Not taken", "On hold", "Paused", "Planned",
    "Proposed", "Ready", "Received", "Recurrence", "Refused", "Rejected", "Relapse", "Remission", "Requested", "Resolved", "Revoked", "Ruled out", "Same", "Sent", "Stopped", "Sustaining", "Taking", "Unknown", "Waiting", "Withdrawn", "Worse", "Worsening",
)  # fmt: skip


def as_written(sentence: str) -> str:
    """In English, as it stands here."""
    return sentence


@dataclass(frozen=True, slots=True)
class Row:
    """A label and what stands beside it."""

    label: str
    text: str


@dataclass(frozen=True, slots=True)
class Thing:
    """A goal, an action, a person: its sentence, how it stands, rows below it, and lists with a heading each."""

    text: str
    state: str = ""
    rows: tuple[Row, ...] = ()
    lists: tuple[tuple[str, tuple[str, ...]], ...] = ()


def an_object(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def objects(value: Any) -> list[Mapping[str, Any]]:
    return [v for v in value if isinstance(v, Mapping)] if isinstance(value, list) else []


def texts(value: Any) -> tuple[str, ...]:
    return tuple(str(v) for v in value if isinstance(v, (str, int)) and str(v).strip()) if isinstance(value, list) else ()


def rows_of(*pairs: tuple[str, Any]) -> tuple[Row, ...]:
    return tuple(Row(label, str(text)) for label, text in pairs if text not in (None, "", [], ()))


def lists_of(*pairs: tuple[str, Sequence[str]]) -> tuple[tuple[str, tuple[str, ...]], ...]:
    return tuple((label, tuple(texts)) for label, texts in pairs if texts)


def coded(concept: Any) -> str:
    """What a CodeableConcept says in words."""
    c = an_object(concept)
    return str(c.get("text") or next((x["display"] for x in objects(c.get("coding")) if x.get("display")), "") or c.get("display") or "")


def standing(item: Mapping[str, Any], say: Say = as_written) -> str:
    """How it stands: in the word that somebody wrote, else in ours (`STATES`)."""
    return str(item["status_word"]).capitalize() if item.get("status_word") else say(str(item.get("status") or "").capitalize())


def over(allergy: Mapping[str, Any]) -> bool:
    codes = {str(c.get("code")) for e in ("clinicalStatus", "verificationStatus") for c in objects(an_object(allergy.get(e)).get("coding"))}
    return bool(codes & {"entered-in-error", "refuted", "inactive", "resolved"})


def cut(text: str) -> str:
    """The beginning of a text that stands in many places, and at one in full."""
    return text if len(text) <= LONGEST else text[:LONGEST].rstrip() + " …"


def spaced(number: str) -> str:
    return f"{number[:3]} {number[3:6]} {number[6:]}" if re.fullmatch(r"\d{10}", number) else number


def in_words(key: str) -> str:
    return key.removeprefix("x_").replace("_", " ").strip().capitalize()


RIGHT_TO_LEFT: Final = frozenset({"R", "AL"})
UNSAID: Final = frozenset({"id", "system", "code", "codes"})  # of no use to who reads


def right_to_left(text: str) -> bool:
    """Whether the first letter that has a direction runs from right to left."""
    return next((unicodedata.bidirectional(c) in RIGHT_TO_LEFT for c in text if unicodedata.bidirectional(c) in ("L", *RIGHT_TO_LEFT)), False)


def with_number(words: str, number: str) -> str:
    """A name and its telephone number, which is read from left to right: in words that run from right to left its parts would change places, so it stands in an isolate there."""
    runs = any(unicodedata.bidirectional(c) in RIGHT_TO_LEFT for c in words)
    return f"{words}, \u2066{number}\u2069" if runs else f"{words}, {number}"


def flat(value: Any) -> str:
    """Whatever is there as lines of text; ids, and what ends in nothing, are left out."""
    if isinstance(value, Mapping):
        return "\n".join(f"{in_words(str(k))}: {t}" for k, v in value.items() if k not in UNSAID and (t := flat(v)))
    if isinstance(value, list):
        return "\n".join(t for v in value if (t := flat(v)))
    return "" if value is None or isinstance(value, bool) else str(value)


__all__ = ["STATES", "UNSAID", "Row", "Say", "Thing", "an_object", "as_written", "coded", "cut", "flat", "in_words", "lists_of", "objects", "over", "right_to_left", "rows_of", "spaced", "standing", "texts", "with_number"]
