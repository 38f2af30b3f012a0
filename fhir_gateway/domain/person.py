"""What a Patient resource says of the person: links, birth, death, risk, and the facts that proxies and opt-outs turn on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from .periods import interval
from .standing import FACTS, Link, named_by
from .types import Facts
from .versions import Version, by_operator, since
from .vocabulary import CONFIDENTIALITY_SYSTEM, HANDLING_SYSTEM, LOCATION_PROTECTED


def links(chain: Sequence[Version]) -> Iterator[Link]:
    """Only a link that an operator wrote counts: anybody else could learn by one whether a person has said no."""
    for link in chain[-1].body.get("link", ()) if chain else ():
        other, type = (link.get("other") or {}).get("reference", ""), link.get("type")
        if other.startswith("Patient/") and other.count("/") == 1:
            by = since(chain, lambda body, said=(other, type): said in _linked(body))
            if by is not None and by_operator(by.writer):
                yield Link(other, type in ("replaces", "replaced-by"))


def _linked(patient: Mapping[str, Any]) -> list[tuple[Any, Any]]:
    return [((x.get("other") or {}).get("reference"), x.get("type")) for x in patient.get("link", ())]


def died(person: Version | None) -> int | None:
    """The last instant the person may have lived; when only the fact is known, the moment it was written down."""
    if person is None:
        return None
    when = person.body.get("deceasedDateTime")
    if when:
        try:
            return interval(when)[1]
        except ValueError:
            return person.at
    return person.at if person.body.get("deceasedBoolean") is True else None


def born(body: Mapping[str, Any]) -> tuple[int, int] | None:
    try:
        return interval(body["birthDate"]) if body.get("birthDate") else None
    except ValueError:
        return None


def operator_facts(chain: Sequence[Version]) -> dict[str, Any]:
    """Facts that proxies and opt-outs turn on, kept as extensions on the Patient.

    A fact that closes (ndoo, safeguarding, no-notify) counts whoever wrote it; one that opens (capacity lost) only from an operator.
    """
    out: dict[str, Any] = {}
    if not chain:
        return out
    safeguarding: set[str] = set()
    for extension in chain[-1].body.get("extension", ()):
        url, true = extension.get("url", ""), extension.get("valueBoolean") is True
        if url == FACTS + "national-data-opt-out" and true:
            out["ndoo"] = True
        elif url == FACTS + "no-notify" and true:
            out["no_notify"] = True
        elif url == FACTS + "capacity-lost" and true:
            by = since(chain, lambda body, e=extension: e in body.get("extension", ()))
            out["capacity_lost"] = by is not None and by_operator(by.writer)
        elif url == FACTS + "safeguarding-proxy":
            safeguarding |= named_by(extension.get("valueReference"))
    return {**out, "safeguarding": frozenset(safeguarding)} if safeguarding else out


# -- at risk ----------------------------------------------------------------------------------------------------------


_RISK: Final = frozenset({(HANDLING_SYSTEM, LOCATION_PROTECTED), (CONFIDENTIALITY_SYSTEM, "R"), (CONFIDENTIALITY_SYSTEM, "V")})


def at_risk(facts: Facts) -> bool:
    """The same of the facts of a Patient."""
    return bears_protection(facts) or facts.confidentiality in ("R", "V")


def is_at_risk(patient: Mapping[str, Any]) -> bool:
    """Marked as location-protected, or restricted, which is how PDS says the same of a Patient."""
    given = (patient.get("meta") or {}).get("security", ())
    marks = {(c.get("system"), c.get("code")) for c in given if isinstance(c, Mapping)}
    return not marks.isdisjoint(_RISK)


def bears_protection(facts: Facts) -> bool:
    """`is_location_protected` of the facts."""
    return f"{HANDLING_SYSTEM}|{LOCATION_PROTECTED}" in facts.other_labels


def is_location_protected(resource: Mapping[str, Any]) -> bool:
    """Does it bear the label itself."""
    given = (resource.get("meta") or {}).get("security", ())
    return any((c.get("system"), c.get("code")) == (HANDLING_SYSTEM, LOCATION_PROTECTED) for c in given if isinstance(c, Mapping))
