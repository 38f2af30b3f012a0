"""Free text that may name what is private, though no label says so: a hint for whoever writes it, never a label by itself.

Only the writer's own words are looked at and quoted; nothing else of the record is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from .labels import read
from .problem import Issue

# Four plain words and two more -> (the sensitivities any of which covers it, words that speak of it).
TOPICS: Final[Mapping[str, tuple[frozenset[str], str]]] = {
    "mental health": (frozenset({"MH", "PSY", "BH", "SPI"}), "depress(?:ed|ion|ive)|anxiety|suicid(?:e|al)|self[- ]harm\\w*|overdose|psychos[ie]s|psychotic|schizophrenia|bipolar|anorexia|bulimia|panic attacks?|sectioned"),
    "sexual health": (frozenset({"SEX", "STD", "HIV", "GENDER"}), "hiv|aids|abortion|termination of (?:her |the )?pregnancy|syphilis|chlamydia|gonorrh?oea|herpes|contracepti(?:on|ve)|sexual(?:ly)? (?:health|transmitted)\\w*|gender (?:identity|dysphoria)|transgender"),
    "alcohol and drugs": (frozenset({"SUD", "ETH", "ETHUD", "OPIOIDUD", "BH", "SPI"}), "alcohol(?:ic|ism)?|drinks? too much|detox|heroin|cocaine|cannabis|methadone|drug (?:use|misuse|addiction)|addict(?:ed|ion)?"),
    "violence and abuse": (frozenset({"SDV", "VIO", "CHILD"}), "domestic (?:abuse|violence)|sexual(?:ly)? (?:assault|abuse)\\w*|rape[ds]?|refuge|abusive|beat(?:s|en) (?:me|her|him|them)"),
    "social care": (frozenset({"SOCIAL", "CHILD"}), "safeguarding|child protection|taken into care"),
}  # fmt: skip
_SPEAKS: Final = {topic: (codes, re.compile(rf"\b(?:{words})\b", re.IGNORECASE)) for topic, (codes, words) in TOPICS.items()}
_NO_WORDS: Final = frozenset({"id", "reference", "system", "code", "url", "versionId", "status", "resourceType", "use", "div", "data", "contentType"})
MOST: Final = 10


def unlabelled(resource: Mapping[str, Any]) -> list[Issue]:
    """A warning for each topic that the text speaks of and none of the labels shown covers: where, and the word itself.

    It goes by what this writer sees: a label they are not shown makes no difference to what they are told.
    """
    labels = read((resource.get("meta") or {}).get("security", ()))
    out: list[Issue] = []
    told: set[str] = set()
    for where, text in _texts(resource, str(resource.get("resourceType", ""))):
        for topic, (codes, pattern) in _SPEAKS.items():
            if topic in told or not codes.isdisjoint(labels.sensitivity) or labels.legal:
                continue
            if found := pattern.search(text):
                told.add(topic)
                out.append(Issue("warning", "business-rule", where, words_for(topic, found[0])))
        if len(out) >= MOST:
            break
    return out


def words_for(topic: str, word: str) -> str:
    return f"`{word[:60]}` may be about {topic}, and no label says so: everybody who may see this can read it. Put that label on, or leave it out."


def topics(resource: Mapping[str, Any]) -> list[str]:
    """What the text may be about, in plain words."""
    texts = [text for _, text in _texts(resource, "")]
    return [topic for topic, (_, pattern) in _SPEAKS.items() if any(pattern.search(t) for t in texts)]


def _texts(node: Any, path: str) -> Iterator[tuple[str, str]]:
    if isinstance(node, str):
        yield path, node[:10_000]
    elif isinstance(node, list):
        for i, item in enumerate(node):
            yield from _texts(item, f"{path}[{i}]")
    elif isinstance(node, Mapping):
        coded = isinstance(node.get("system"), str) and isinstance(node.get("code"), str)  # the value sets see to codes
        for key, value in node.items():
            if key not in _NO_WORDS and key != "meta" and not (coded and key == "display"):
                yield from _texts(value, f"{path}.{key}" if path else key)
