"""How hard a text is to read: the Flesch-Kincaid grade, and the age of who reads it with ease.

Grade = 0.39 * words/sentences + 11.8 * syllables/words - 15.59 (Kincaid, Fishburne, Rogers, Chissom 1975: Derivation of new readability
formulas for Navy enlisted personnel, https://stars.library.ucf.edu/istlibrary/56/); a pupil of grade n is about n + 5 years old.
Syllables are counted by groups of vowels, with what English leaves silent taken off: within a few in a hundred of a dictionary's count.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

VOWELS = re.compile(r"[aeiouy]+")
APART = re.compile(r"i[ao](?!u)|ie(?=t|nc)|[^o]eo|[^q]ua|^real|crea(?=t)|dea(?=\b|s\b)|rea(?=\b|s\b)|[aeiou]ing\b|[^aeiouy]ier\b|uou|ue(?=l\b|ls\b)")  # two vowels said apart
TOGETHER = re.compile(r"[ct]io|[csg]ia|tia|gio|[cgs]eo|peopl|friend|gua|somebody|everybody")
SILENT = re.compile(r"[^aeiouyl]e[sd]?\b|[aeiouy]le[sd]?\b")
SAID = re.compile(r"[^aeiouy]les?\b|[td]ed\b|(?:[csxz]|sh|ch|g)es\b|[aeiouy]\b(?<!e)")
FILLED = re.compile(r"%\((\w+)\)[sd]|\{\w*\}|%[sd]")
ENDS = re.compile(r"[.!?:;]+(?:\s|$)|\n+|\s[-–]\s")
WORD = re.compile(r"[A-Za-z]+(?:['’][a-z]+)?")


def syllables(word: str) -> int:
    """Of one English word, at least 1."""
    word = re.sub(r"['’].*", "", word.lower())
    count = len(VOWELS.findall(word))
    count += len(APART.findall(word)) - len(TOGETHER.findall(word))
    if count > 1 and SILENT.search(word) and not SAID.search(word):
        count -= 1
    return max(1, count)


def sentences(text: str) -> list[list[str]]:
    """Its sentences as words; what is filled in counts as one short word."""
    return [words for part in ENDS.split(FILLED.sub("it", text)) if (words := WORD.findall(part))]


def grade(texts: Iterable[str]) -> float:
    """The Flesch-Kincaid grade of these texts together; each begins and ends a sentence."""
    parts = [s for text in texts for s in sentences(text)]
    words = [w for s in parts for w in s]
    return 0.39 * len(words) / len(parts) + 11.8 * sum(map(syllables, words)) / len(words) - 15.59 if words else 0.0
