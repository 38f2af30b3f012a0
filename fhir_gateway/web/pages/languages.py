"""In which language a page is said: the visitor's choice, else what their browser asks for, else English. docs/languages.md

The sentences of a language are a catalogue beside the pages (`web/languages/cy.po`). What a catalogue lacks is said in English.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import ContextVar
from functools import cache
from pathlib import Path
from typing import Final

from babel.messages.pofile import read_po

COOKIE: Final = "language"
NAMES: Final[Mapping[str, str]] = {"en": "English", "cy": "Cymraeg", "ur": "اردو"}  # each as its speakers call it
LOCALES: Final[Mapping[str, str]] = {"en": "en_GB", "cy": "cy_GB", "ur": "ur"}
RIGHT_TO_LEFT: Final = frozenset({"ur"})
FOLDER: Final = Path(__file__).parent.parent / "languages"

now: ContextVar[str] = ContextVar("language", default="en")


@cache
def catalogue(language: str) -> Mapping[str, tuple[str, ...]]:
    """Every sentence of this language by its English one: one form, or one for each number that it tells apart."""
    file = FOLDER / f"{language}.po"
    if not file.is_file():
        return {}
    with file.open("rb") as f:
        read = read_po(f, locale=LOCALES[language])
    out: dict[str, tuple[str, ...]] = {}
    for message in read:
        forms = message.string if isinstance(message.string, (tuple, list)) else (message.string,)
        key = message.id if isinstance(message.id, str) else message.id[0]
        if key and all(forms) and not message.fuzzy:
            out[key] = tuple(f for f in forms if f)
    return out


def said(sentence: str) -> str:
    """This sentence in the visitor's language."""
    return catalogue(now.get()).get(sentence, (sentence,))[0]


def counted(one: str, many: str, n: int) -> str:
    """The form for `n` of them, in the visitor's language."""
    forms = catalogue(now.get()).get(one)
    if forms is None:
        return one if n == 1 else many
    return forms[_form(now.get(), n)]


def _form(language: str, n: int) -> int:
    """Which of a catalogue's forms, as its header has it. https://www.unicode.org/cldr/charts/latest/supplemental/language_plural_rules.html"""
    return {0: 0, 1: 1, 2: 2, 3: 3, 6: 4}.get(n, 5) if language == "cy" else int(n != 1)


def chosen(cookie: str | None, accepts: str) -> str:
    """The language of a visitor: what they chose before, else the first of those that their browser asks for (`Accept-Language`) that we speak."""
    if cookie in NAMES:
        return str(cookie)
    wanted = []
    for n, part in enumerate(accepts[:500].split(",")):
        tag, _, q = part.strip().partition(";q=")
        try:
            wanted.append((-float(q or 1), n, tag.split("-")[0].lower()))
        except ValueError:
            continue
    return next((tag for weight, _, tag in sorted(wanted) if tag in NAMES and weight < 0), "en")


def speak(language: str) -> None:
    """What is said from here on, in this request, is said in this language."""
    now.set(language)


def locale() -> str:
    """The locale of dates and numbers."""
    return LOCALES[now.get()]


__all__ = ["COOKIE", "FOLDER", "NAMES", "RIGHT_TO_LEFT", "catalogue", "chosen", "counted", "locale", "now", "said", "speak"]
