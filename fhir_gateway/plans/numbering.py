"""Parts of a plan without an id are called by their place in it, and a reader who is shown less counts other places.

So which stored resource somebody's third need is, is told by their own reading of the record and not by the number in its name.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from ..domain import mapping
from ..domain.mapping import Entry
from ..domain.mapping.merging import Held
from ..domain.mapping.names import own_identifier
from ..domain.problem import Issue, Problem
from ..domain.types import Ref
from ..tables import load_tables

Own = tuple[str, str]  # kind, value of our identifier
_PLACE = re.compile(r"#\d+\Z")
_TOLD = re.compile(r"\$\d+\$([A-Za-z0-9\-.]{1,64})\Z")


def by_place(own: Own | None) -> bool:
    """Is this the name of a part that the plan gave none."""
    return own is not None and _PLACE.search(own[1].rsplit("/", 1)[-1]) is not None


def placed(record: Sequence[Mapping[str, Any]], read: Collection[Entry]) -> dict[Own, str]:
    """Which resource (its id) each part without an id is, by the name that it has in this reader's own plan.

    `read` is what their plan maps to, `record` what it was made of: with ids in the places of numbers the same plan comes out,
    part for part, and says what is what.
    """
    told = mapping.to_fhir(mapping.from_fhir([_telling(r) for r in record], load_tables()), load_tables()).entries
    out: dict[Own, str] = {}
    for mine, theirs in zip(read, told, strict=False) if len(told) == len(read) else ():
        name, id = own_identifier(mine.resource), _TOLD.search((own_identifier(theirs.resource) or ("", ""))[1])
        if name is not None and by_place(name) and id is not None:
            out[name] = id[1]
    return out


def _telling(resource: Mapping[str, Any]) -> Mapping[str, Any]:
    """The same with its id in its name, in the order of the numbers."""
    own = own_identifier(resource)
    if own is None or not by_place(own) or "id" not in resource:
        return resource
    path, _, place = own[1].rpartition("/")
    value = f"{path}/${place[1:]}${resource['id']}"
    given = resource["identifier"]
    return {**resource, "identifier": [_named(i, own, value) for i in given] if isinstance(given, list) else _named(given, own, value)}


def renamed(resource: Mapping[str, Any], stored: Held) -> dict[str, Any]:
    """The resource under the name that it has here."""
    own, given = own_identifier(resource), resource["identifier"]
    if own is None or stored.own is None or own == stored.own:
        return dict(resource)
    return {**resource, "identifier": [_named(i, own, stored.own[1]) for i in given] if isinstance(given, list) else _named(given, own, stored.own[1])}


def _named(identifier: Any, own: Own, value: str) -> Any:
    return {**identifier, "value": value} if isinstance(identifier, dict) and identifier.get("value") == own[1] else identifier


# -- of which kind ----------------------------------------------------------------------------------------------------


def of_one_kind(entries: Collection[Entry], here: Mapping[str, Held], held: Mapping[Ref, Held]) -> None:
    """Two kinds that share a list of the plan (medicines, those that were prescribed) are two resources: what was said of the one, from whom it is
    hidden and what it is about, does not go over to the other. So a thing that is here as the one is not made the other. Problem conflict.

    `here`: which stored resource each entry is, by full URL. A thing without an id is told by its words, where they are not at their place any more.
    """
    tables = load_tables()
    stays = {h.ref for e in entries if (h := here.get(e.full_url)) is not None and _words(h.resource) == _words(e.resource)}
    found: list[Issue] = []
    for e in entries:
        own = own_identifier(e.resource)
        if own is None or e.full_url in here or not any(_is(own, e, kind, tables[kind].type, h, stays) for kind in tables.sharing(e.kind) for h in held.values()):
            continue
        new, kept = ("was prescribed", "nobody prescribed") if tables[e.kind].when else ("nobody prescribed", "was prescribed")
        text = f"`{_words(e.resource)[:80]}` is kept here as a medicine that {kept}: add the one that {new} as one of its own, with another id, and end this one."
        found.append(Issue("error", "conflict", tables[e.kind].key, text))
    if found:
        raise Problem("conflict", found[0].text, found[0].where, issues=found)


def _is(own: Own, entry: Entry, kind: str, type: str, held: Held, stays: Collection[str]) -> bool:
    """Is this stored resource, of the other kind, what the entry speaks of."""
    if by_place(own):
        of_the_plan = held.own is not None and held.own[0] == kind and by_place(held.own)
        return of_the_plan and held.ref not in stays and _words(held.resource) == _words(entry.resource)
    return held.own == (kind, own[1]) or (held.own is None and held.ref == f"{type}/{own[1].rsplit('/', 1)[-1]}")


def _words(resource: Mapping[str, Any]) -> str:
    """What a medicine is called."""
    concept = resource.get("medicationCodeableConcept")
    return str(concept.get("text", "")).strip() if isinstance(concept, Mapping) else ""
