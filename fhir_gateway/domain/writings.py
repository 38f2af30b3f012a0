"""Who wrote a version, as a Provenance: made from the version's own row, which was kept in the commit of the write.

Nothing of it is what a client claims. Its id says which version it is of, and is never that of a stored Provenance.
https://hl7.org/fhir/R4/provenance.html
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final

from .bundle import instant
from .types import Ref, Stored, Writer
from .vocabulary import HL7

LONGEST: Final = 64
_ID: Final = re.compile(r"v(\d{1,3})\.(\d{1,9})\.([A-Za-z0-9.-]{1,64})\Z", re.ASCII)
APPLICATION: Final = {"system": "http://dicom.nema.org/resources/ontology/DCM", "code": "110150", "display": "Application"}
_DID: Final = {"POST": "CREATE", "DELETE": "DELETE"}
_KIND: Final = {"patient": "author", "proxy": "author", "professional": "author", "system": "assembler"}


def named(types: Sequence[str], ref: Ref, version: int) -> str | None:
    """The id of the Provenance of this version; None for one that is too long to have any."""
    if ref.type not in types:
        return None
    id = f"v{types.index(ref.type)}.{version}.{ref.id}"
    return id if len(id) <= LONGEST else None


def of(types: Sequence[str], id: str) -> tuple[Ref, int] | None:
    """Which version a Provenance with this id is of."""
    found = _ID.match(id)
    if found is None or int(found[1]) >= len(types):
        return None
    made = Ref(types[int(found[1])], found[3]), int(found[2])
    return made if named(types, *made) == id else None


def provenance(id: str, v: Stored) -> dict[str, Any]:
    """Who wrote this version, on behalf of whom, from which system, and what it did."""
    w, at = v.writer, instant(v.updated)
    did = "CREATE" if v.version == 1 else _DID.get(w.method, "UPDATE") if w.method != "POST" else "UPDATE"
    return {
        "resourceType": "Provenance",
        "id": id,
        "meta": {"versionId": "1", "lastUpdated": at},
        "target": [{"reference": f"{v.ref}/_history/{v.version}", "type": v.ref.type}],
        "recorded": at,
        "activity": {"coding": [{"system": f"{HL7}/v3-DataOperation", "code": did, "display": did.lower()}]},
        "agent": list(_agents(w, v)),
    }


def _agents(w: Writer, v: Stored) -> list[dict[str, Any]]:
    behalf = w.organisation
    if w.kind == "proxy" and v.facts.patients:
        behalf = v.facts.patients[0]
    who = {"type": _type(_KIND.get(w.kind, "author")), "who": _who(w.user)}
    out = [{**who, "onBehalfOf": _who(behalf)} if behalf else who]
    if w.client and w.client != w.user:
        out.append({"type": {"coding": [APPLICATION]}, "who": {"identifier": {"value": w.client}}})
    return out


def _type(code: str) -> dict[str, Any]:
    return {"coding": [{"system": f"{HL7}/provenance-participant-type", "code": code, "display": code.title()}]}


def _who(name: str) -> dict[str, Any]:
    if "/" in name and "://" not in name:
        return {"reference": name}
    system, bar, value = name.rpartition("|")
    return {"identifier": {"system": system, "value": value} if bar and system else {"value": value or "unknown"}}
