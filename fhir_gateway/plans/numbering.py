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
