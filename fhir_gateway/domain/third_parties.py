"""What in a person's record tells of somebody else, or could harm: looked at by a person before a copy is handed over.

UK GDPR Art. 15(4); Data Protection Act 2018, Schedule 2 paragraphs 16 and 17 (other people; health and social workers are no
reason to keep something back) and Schedule 3 (serious harm). A computer finds what may need a look, never what to keep back.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from .types import Facts, Writer

OF_OTHERS: Final = frozenset({"RelatedPerson", "FamilyMemberHistory", "Person", "Group"})
WORD: Final = re.compile(r"\w[\w'’-]{2,}")
PEOPLE_STAND: Final = frozenset(
    "actor agent asserter author collector contact enterer expressedBy individual informant informationSource member onBehalfOf operator"
    " owner participant party performer player provider recipient recorder reporter requester responsible sender source subject target verifiedWith who".split()
)  # elements of R4 whose Reference may be to a person
NO_OTHERS: Final = frozenset({"Device", "HealthcareService", "Location", "Organization", "Practitioner", "PractitionerRole"})
_ELSEWHERE: Final = re.compile(r"(?:[a-z]+:)?//.*/(?:RelatedPerson|Patient|Person)/[^/]+")
_NOT_SHOWN: Final = ("NOPAT", "TBOO")


def marks(
    resource: Mapping[str, Any], person: str, facts: Facts, writer: Writer, names: frozenset[str], own: frozenset[str] = frozenset()
) -> list[str]:  # fmt: skip
    """Why somebody should look at this version before the person gets it, in plain words; [] when nothing was found.

    `person` is `Patient/…`; `names` are words by which `names_of` knows people of this record, `own` words of the person's names.
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
    nodes = list(_nodes(resource))
    if any(is_other(str((node.get("authorReference") or {}).get("reference", "")), person) for _, node in nodes):
        out.append("a note in it is somebody's who is no professional")
    spoken = sorted({said for key, node in nodes for said in _in_words(key, node) if not _own(said, own)})
    if spoken:
        out.append(f"it names somebody in words alone, who may be no professional: {', '.join(spoken[:5])}")
    if any(key == "contained" and node.get("resourceType") in (*OF_OTHERS, "Patient") for key, node in nodes):
        out.append("it holds an entry about somebody of its own")
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
    return (ref.startswith(("RelatedPerson/", "Patient/", "Person/")) or bool(_ELSEWHERE.fullmatch(ref))) and ref != person


def _nodes(node: Any, key: str = "") -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Every object in it, with the name of the element it stands in."""
    if isinstance(node, Mapping):
        yield key, node
        for name, child in node.items():
            yield from _nodes(child, str(name))
    elif isinstance(node, list):
        for child in node:
            yield from _nodes(child, key)


def _in_words(key: str, node: Mapping[str, Any]) -> Iterator[str]:
    """Whom this names without saying who that is: an author of a note, a reference that is only a display."""
    if isinstance(said := node.get("authorString"), str):
        yield said
    if not (key in PEOPLE_STAND or key == "authorReference") or not isinstance(said := node.get("display"), str):
        return
    number = node.get("identifier")
    other = isinstance(number, Mapping) and not str(number.get("system", "")).endswith("/nhs-number")  # a worker's or a place's
    if not node.get("reference") and node.get("type") not in NO_OTHERS and not other:
        yield said


def _own(said: str, own: frozenset[str]) -> bool:
    """Is it the person's own name."""
    words = set(re.findall(r"\w+", said.casefold()))
    return bool(words) and {w for w in words if len(w) > 2} <= own and bool(words & own)


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
