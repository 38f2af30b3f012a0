"""What in a person's record tells of somebody else, or could harm: looked at by a person before a copy is handed over.

UK GDPR Art. 15(4); Data Protection Act 2018, Schedule 2 paragraphs 16 and 17 (other people; health and social workers are no
reason to keep something back) and Schedule 3 (serious harm). A computer finds what may need a look, never what to keep back.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from .types import Facts, Writer

OF_OTHERS: Final = frozenset({"RelatedPerson", "FamilyMemberHistory", "Person", "Group"})
WORD: Final = re.compile(r"\w[\w'’-]{2,}")
_NOT_SHOWN: Final = ("NOPAT", "TBOO")


def marks(resource: Mapping[str, Any], person: str, facts: Facts, writer: Writer, names: frozenset[str]) -> list[str]:
    """Why somebody should look at this version before the person gets it, in plain words; [] when nothing was found.

    `person` is `Patient/…`; `names` are words by which `names_of` knows people of this record.
    """
    type = str(resource.get("resourceType", facts.type))
    out = []
    if type in OF_OTHERS:
        out.append("it is about somebody else")
    if others := sorted(p for p in facts.patients if p != person):
        out.append(f"it is in the record of {len(others)} other person(s), too")
    if type == "Patient" and resource.get("contact"):
        out.append("it names contacts of the person")
    pointed = sorted({r for r in _references(resource) if is_other(r, person)} - set(others))
    if pointed:
        out.append(f"it points to {', '.join(pointed[:5])}")
    if is_other(writer.user, person) or (writer.kind in ("proxy", "patient") and writer.user != person):
        out.append(f"it was written by {writer.user}, who is no professional")
    if any(_unprofessional(a, person) for a in _notes(resource)):
        out.append("a note in it is somebody's who is no professional")
    if facts.other_labels and any(label.rsplit("|", 1)[-1] in _NOT_SHOWN for label in facts.other_labels):
        out.append("it is labelled as not to be shown to the person (serious harm?)")
    if facts.legal:
        out.append("the law restricts it")
    said = sorted({w for text in _texts(resource) for w in WORD.findall(text.casefold()) if w in names})
    if said and type not in OF_OTHERS:
        out.append(f"its text has names of other people of this record: {', '.join(said[:8])}")
    return out


def names_of(resource: Mapping[str, Any]) -> Iterator[str]:
    """Words of the names of everybody but the person whom a RelatedPerson, a Person or a Patient's contact names, folded."""
    type = resource.get("resourceType")
    whose = [resource] if type in ("RelatedPerson", "Person") else resource.get("contact", []) if type == "Patient" else []
    for each in whose:
        found = each.get("name", [])
        for name in found if isinstance(found, list) else [found]:
            for text in (*name.get("given", []), name.get("family", ""), name.get("text", "")):
                yield from WORD.findall(str(text).casefold())


def own_names(resource: Mapping[str, Any]) -> set[str]:
    """Words of the person's own names, which tell of nobody else."""
    return {w for name in resource.get("name", []) for t in (*name.get("given", []), name.get("family", ""), name.get("text", "")) for w in WORD.findall(str(t).casefold())}


def is_other(ref: str, person: str) -> bool:
    """Is this somebody else who is no professional."""
    return ref.startswith(("RelatedPerson/", "Patient/", "Person/")) and ref != person


def _unprofessional(note: Mapping[str, Any], person: str) -> bool:
    return is_other(str((note.get("authorReference") or {}).get("reference", "")), person)


def _notes(resource: Mapping[str, Any]) -> Iterable[Mapping[str, Any]]:
    found = resource.get("note")
    return [n for n in found if isinstance(n, Mapping)] if isinstance(found, list) else []


def _references(node: Any) -> Iterator[str]:
    if isinstance(node, Mapping):
        if isinstance(ref := node.get("reference"), str):
            yield ref.split("/_history/")[0]
        for child in node.values():
            yield from _references(child)
    elif isinstance(node, list):
        for child in node:
            yield from _references(child)


def _texts(node: Any, key: str = "") -> Iterator[str]:
    if isinstance(node, str):
        if key not in ("reference", "system", "code", "url", "id", "data"):
            yield node
    elif isinstance(node, Mapping):
        for name, child in node.items():
            if name != "meta":
                yield from _texts(child, str(name))
    elif isinstance(node, list):
        for child in node:
            yield from _texts(child, key)
