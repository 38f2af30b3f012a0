"""A crisis plan of ours for readers who know none of our extensions: what it says, again, as narrative. docs/round-trip.md

It is made when a resource leaves, of what that reader gets of it, and is kept nowhere: it can tell nothing that was cut, and is never older than
the plan. On its way back it is known by its class, which holds a digest of its words, or by saying what would be said; then it is dropped. Words
that somebody changed in it are theirs, and are kept. The laws (tests/test_said_again.py):

    without(said(r)) == r, and said(r) is r where r has a narrative of its own or nothing to say again
    said(without(edited)) says what `edited` says
    without() raises on nothing, and takes time in proportion to the size: it sees what comes in before anybody judged it
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from hashlib import sha256
from html import unescape
from types import MappingProxyType
from typing import Any, Final

from .mapping.names import EXTENSIONS
from .readable import ENGLISH, narrative, thing
from .sentences import Sentences
from .shown_plan import number_to_ring
from .written_down import an_object, coded, objects, texts

CLASS: Final = "said-again-"
MOST: Final = 100_000  # characters of what is said again
MOST_READ: Final = 4 * MOST  # of a narrative that may be ours: whoever keeps it may write a character as a reference, and indent
WORDS: Final[Mapping[str, str]] = {  # the extensions that hold texts, and what a plan calls them
    "contingency-trigger": "triggers", "contingency-early-warning": "early_warnings", "contingency-step": "what_should_happen", "contingency-coping": "coping",
}  # fmt: skip
STATUSES: Final = {"draft": "draft", "on-hold": "on hold", "revoked": "stopped", "completed": "completed", "entered-in-error": "entered in error"}
TOLD: Final = frozenset({*WORDS, "contingency-contact", "contingency-detail", "advance-statement", "anticipatory-item"})
MARKS: Final = tuple(f"{EXTENSIONS}{name}".encode() for name in TOLD)
SOMEBODY: Final[Mapping[str, str]] = {
    "RelatedPerson": "A relative or friend", "Patient": "The person", "Practitioner": "A professional", "PractitionerRole": "A professional",
    "Organization": "An organisation", "CareTeam": "The team",
}  # fmt: skip
_OWN: Final = "|".join(map(re.escape, (*dict.fromkeys(SOMEBODY.values()), "Somebody", "If things get worse")))
_THEIRS: Final = re.compile(rf"<(b|dd)(?=[ >])(?![^>]*>(?:{_OWN})\b)")  # what holds somebody's words, not ours
_UNNAMED: Final = re.compile(rf"{re.escape(SOMEBODY['RelatedPerson'])} \(\S+\)")
_LANGUAGE: Final = re.compile(r"[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8}){0,4}")
_TAG: Final = re.compile(r"<[^<>]*>")
_ODD: Final = re.compile(r"&#(?:[0-9]{8}|[xX][0-9a-fA-F]{8})")  # a reference to no character, or written as nobody writes it


def says_more(body: bytes) -> bool:
    """May this hold something to say again: cheap, and never wrong about what does not."""
    return any(mark in body for mark in MARKS)


def said(resource: dict[str, Any], names: Mapping[str, str] = MappingProxyType({})) -> dict[str, Any]:
    """With what its extensions say as a narrative, its labels in English, where it has no narrative and this is of MOST characters at most.

    `names`: what somebody whom it refers to is called (`named`), of those whom its reader sees beside it."""
    found = _extensions(resource) if resource.get("resourceType") == "CarePlan" and "text" not in resource else {}
    if not found or _long(item := _item(resource, found, names)) > MOST:
        return resource
    inner = thing(_Alone({}).in_a_crisis(item))
    if len(inner) > MOST:
        return resource
    text = narrative(_in_their_language(inner, resource.get("language")), ENGLISH, CLASS + _digest(inner))
    return {k: v for key, value in resource.items() for k, v in ([("text", text), (key, value)] if key == _after_meta(resource) else [(key, value)])}


def without(resource: dict[str, Any]) -> dict[str, Any]:
    """Without a narrative that we made and nobody changed."""
    text = resource.get("text")
    if resource.get("resourceType") != "CarePlan" or not isinstance(text, dict) or text.get("status") != "generated" or not isinstance(text.get("div"), str):
        return resource
    div = text["div"]
    if len(div) > MOST_READ or _ODD.search(div) is not None:
        return resource
    bare = {k: v for k, v in resource.items() if k != "text"}
    marked = re.search(rf'<div\b[^>]*\bclass="{CLASS}([0-9a-f]{{16}})"', div[:500])
    if marked is not None and marked[1] == _digest(div):
        return bare
    again = said(bare)
    return bare if "text" in again and _says(div, again["text"]["div"]) else resource


def named(resource: Mapping[str, Any]) -> str:
    """What a RelatedPerson is called, and who they are to the person, as their page says it; "" of anybody else, and where no name is said."""
    names = objects(resource.get("name")) if resource.get("resourceType") == "RelatedPerson" else []
    called = next((t for n in names if n.get("use") != "old" and (t := _word(n.get("text")) or " ".join([*texts(n.get("given")), _word(n.get("family"))]).strip())), "")
    who = next((t for c in objects(resource.get("relationship")) if (t := coded(c))), "")
    return f"{called} ({who})" if called and who else called


def _says(div: str, again: str) -> bool:
    """Whether the one says what the other does, whoever is named where that says only who it is."""
    if _read(div) == _read(again):
        return True
    theirs, ours = _pieces(div), _pieces(again)
    return len(theirs) == len(ours) and all(a == b or _UNNAMED.fullmatch(b) is not None for a, b in zip(theirs, ours, strict=True))


def _pieces(div: str) -> list[str]:
    return [t for piece in _TAG.split(div) if (t := " ".join(unescape(piece).split()))]


class _Alone(Sentences):
    """What one resource says by itself: nobody is looked up."""

    def reached(self, id: str) -> str:
        return id


def _extensions(resource: Mapping[str, Any]) -> dict[str, list[Mapping[str, Any]]]:
    out: dict[str, list[Mapping[str, Any]]] = {}
    for e in objects(resource.get("extension")):
        name = _word(e.get("url")).removeprefix(EXTENSIONS)
        if name in TOLD and _word(e.get("url")).startswith(EXTENSIONS):
            out.setdefault(name, []).append(e)
    return out


def _item(resource: Mapping[str, Any], found: Mapping[str, list[Mapping[str, Any]]], names: Mapping[str, str]) -> dict[str, Any]:
    """The crisis plan as a thing of a plan, as far as it is said again."""
    item: dict[str, Any] = {key: [t for e in found.get(name, ()) if isinstance(t := e.get("valueString"), str)] for name, key in WORDS.items()}
    item["name"], item["status"] = _word(resource.get("title")), STATUSES.get(_word(resource.get("status")), "")
    item["who_to_contact"] = [_whom(an_object(e.get("valueReference")), names) for e in found.get("contingency-contact", ())]
    item["advance_statement"] = "\n".join(t for e in found.get("advance-statement", ()) if isinstance(t := e.get("valueString"), str))
    item["details"] = [{"text": t} for e in found.get("contingency-detail", ()) if (t := _part(e, "text"))]
    item["anticipatory"] = [{k: t for k in ("item", "where") if (t := _part(e, k))} for e in found.get("anticipatory-item", ())]
    return item


def _part(extension: Mapping[str, Any], name: str) -> str:
    return next((str(p["valueString"]) for p in objects(extension.get("extension")) if p.get("url") == name and isinstance(p.get("valueString"), str)), "")


def _whom(reference: Mapping[str, Any], names: Mapping[str, str]) -> str:
    """By name where the reference says it or the reader sees who it is, or else who it is and where to look."""
    target = reference.get("reference") if isinstance(reference.get("reference"), str) else ""
    if "display" not in reference and names.get(str(target)):
        return names[str(target)]
    kind = _word(reference.get("type")) or (str(target).split("/")[-2] if "/" in str(target) else "")
    who = _word(reference.get("display")) or SOMEBODY.get(kind, "Somebody")
    number = number_to_ring(reference)
    named = f"{who} ({target})" if target and not str(target).startswith("urn:") and "display" not in reference else who
    return f"{named}, {number}" if number else named


def _word(value: Any) -> str:
    """A text; "" for whatever else stands there."""
    return value if isinstance(value, str) else ""


def _long(node: Any) -> int:
    """How many characters its texts are at least, each in an element of its own."""
    if isinstance(node, str):
        return len(node)
    return sum(9 + _long(n) for n in (node.values() if isinstance(node, dict) else node))


def _in_their_language(inner: str, language: Any) -> str:
    """Marked as what the person wrote their plan in, where that is not English: all but labels and words of ours."""
    if not isinstance(language, str) or _LANGUAGE.fullmatch(language) is None or language.split("-")[0].lower() == ENGLISH:
        return inner
    return _THEIRS.sub(rf'<\1 lang="{language}" xml:lang="{language}"', inner)


def _after_meta(resource: Mapping[str, Any]) -> str:
    """The first element that follows those that stand before a narrative."""
    return next(k for k in resource if k not in ("resourceType", "id", "meta", "implicitRules", "language"))


def _digest(div: str) -> str:
    return sha256(_read(div).encode("utf-8", "surrogatepass")).hexdigest()[:16]


def _read(div: str) -> str:
    """What is read of it, whatever is between the words."""
    return " ".join(unescape(_TAG.sub(" ", div)).split())
