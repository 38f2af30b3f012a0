"""Whose a resource is: everybody who had a hand in it or is named in it, for a no; who made it, for a yes.

A no that speaks of an author or custodian (`data.meaning` authoredby, an actor CST) hits whoever is named and whoever edited. What
*opens* a record by authorship must not be anybody's to write: it rests on who made version 1, and on names that were vouched for.
Which elements name an author: https://hl7.org/fhir/R4/fivews.html
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from .compartment import patients
from .predicate import values_of
from .types import Facts, Writer


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Elements that name an author directly, and those whose parts do.
_DIRECT: Final = _words(
    "author recorder asserter requester enterer reporter informationSource authenticator contributor prescriber"
    " orderer assessor resultsInterpreter operator expressedBy source"
)
_PARTS: Final = {"attester": ("party",), "agent": ("who", "onBehalfOf"), "signer": ("party",), "section": ("author",)}
# A `performer` did it here; in a request it is who is asked to do it, and no author.
_PERFORMED: Final = _words(
    "ChargeItem DiagnosticReport ImagingStudy Immunization MedicationAdministration MedicationDispense"
    " MolecularSequence Observation Procedure RiskAssessment"
)
_SENT: Final = frozenset({"Communication", "MessageHeader"})
_AGENTS: Final = frozenset({"Practitioner", "PractitionerRole", "Organization", "Patient", "RelatedPerson", "Device", "CareTeam"})


@dataclass(frozen=True, slots=True)
class Authorship:
    """What `Facts` says of whose it is and where it came from."""

    authors: frozenset[str]
    custodian: str | None
    origin: frozenset[str] | None
    makers: frozenset[str]
    keeper: str | None
    custodians: frozenset[str]
    sources: frozenset[str]
    sourced: str | None


def authorship(
    resource: Mapping[str, Any], writer: Writer, *, called: frozenset[str] = frozenset(), before: Facts | None = None,
    created_by: str | None = None,
) -> Authorship:  # fmt: skip
    """Of this version by `writer`, who goes by `called`; `before` are the facts of the version it replaces.

    A name in the resource opens it to whoever bears it when it stood there with that right already, when the maker put in a name
    of their own in version 1, and when it was vouched for: by an operator, or by a registered contributor in what it made itself.
    So does `meta.source`, where the data came from: nobody's own name, so that it counts only where it was vouched for.
    """
    hand = {writer.user, writer.organisation or ""} - {""}
    origin = frozenset(hand) if before is None else before.origin
    made = origin if origin is not None else frozenset({created_by or ""} - {""})  # version 1 was before we kept this
    named, custodian, source = frozenset(_authors(resource)), _custodian(resource), _source(resource)
    vouches = writer.kind == "operator" or (writer.contributor and not made.isdisjoint(hand))
    if vouches:
        good = named | {custodian}
    elif before is None:
        good = called
    else:
        good = frozenset()
    then, kept, came = (before.makers, before.keeper, before.sourced) if before is not None else (frozenset(), None, None)
    makers = made | (named & (good | then))
    keeper = custodian if custodian in good or custodian == kept else None
    said = source == came or vouches or _theirs_to_say(resource, writer, before)
    ever = before.authors if before is not None else frozenset()  # who is edited out was an author all the same
    return Authorship(
        ever | named | made | hand | ({created_by or ""} - {""}), custodian, origin, makers, keeper,
        _ever(before, "custodian", custodian), _ever(before, "source", source), source if said else None,
    )  # fmt: skip


def _theirs_to_say(resource: Mapping[str, Any], writer: Writer, before: Facts | None) -> bool:
    """Does the person themselves say, in what is theirs alone, where it came from: not what stood there already."""
    new = before is None or before.source != _source(resource)
    return new and writer.kind == "patient" and set(patients(resource)) == {writer.user}


def _ever(before: Facts | None, field: str, now: str | None) -> frozenset[str]:
    """What is edited out was said all the same."""
    then = frozenset(values_of(before, field)) if before is not None else frozenset()
    return then if now is None else then | {now}


# -- whom it names ----------------------------------------------------------------------------------------------------


def _authors(resource: Mapping[str, Any]) -> Iterator[str]:
    """Persons and organisations that the resource itself names as its origin, by reference and by identifier."""
    type = resource.get("resourceType", "")
    for name in _DIRECT:
        yield from _names(resource.get(name))
    if type in _SENT:
        yield from _names(resource.get("sender"))
    if type in _PERFORMED:
        for performer in _each(resource.get("performer")):
            yield from _names(performer)
            yield from _names(performer.get("actor"))
            yield from _names(performer.get("onBehalfOf"))
    for name, parts in _PARTS.items():
        for item in _each(resource.get(name)):
            for part in parts:
                yield from _names(item.get(part))


def _names(reference: Any) -> Iterator[str]:
    for one in _each(reference):
        name = target(one)
        kind = (name or str(one.get("type", ""))).split("/", 1)[0]
        if name and kind in _AGENTS:
            yield name
        if not kind or kind in _AGENTS:
            yield from identifier(one)


def _custodian(resource: Mapping[str, Any]) -> str | None:
    """Who keeps the record: `custodian`; of a Patient the managing organisation, which R4 calls its custodian."""
    name = "managingOrganization" if resource.get("resourceType") == "Patient" else "custodian"
    for one in _each(resource.get(name)):
        return target(one) or next(identifier(one), None)
    return None


def _source(resource: Mapping[str, Any]) -> str | None:
    """`meta.source`: where the data came from, as whoever sent it says."""
    found = (resource.get("meta") or {}).get("source")
    return found if isinstance(found, str) else None


def target(reference: Mapping[str, Any]) -> str | None:
    """`Type/id` of a Reference, without its version; None for one inside the resource."""
    text = reference.get("reference")
    if not isinstance(text, str) or not text or text[0] == "#":
        return None
    return text.split("/_history/", 1)[0]


def identifier(reference: Mapping[str, Any]) -> Iterator[str]:
    """`system|value` of a Reference that has one."""
    found = reference.get("identifier")
    if isinstance(found, dict) and isinstance(found.get("value"), str):
        yield f"{found.get('system', '')}|{found['value']}"


def _each(value: Any) -> list[dict[str, Any]]:
    return [v for v in (value if isinstance(value, list) else [value]) if isinstance(v, dict)]
