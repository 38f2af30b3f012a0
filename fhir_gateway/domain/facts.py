"""What a decision may know of one resource version: derived once, when it is written; stored beside it as JSON.

Which elements say when a thing was, and what it points to: https://hl7.org/fhir/R4/fivews.html
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any, Final

import msgspec

from .authors import Authorship, authorship, identifier, target
from .compartment import patients
from .labels import Labels
from .periods import bounds, interval, micros
from .types import Facts, Ref, Writer


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Goes up with a release that derives facts, views or search keys in another way: what is kept is then made anew (`gate.labelling`).
# tests/test_made_anew.py says when it must.
MADE: Final = 3

ANYONE: Final = "*"  # among `refs` of a Consent with a permit that names nobody in particular

_DATES: Final = _words(
    "effectiveDateTime effectivePeriod effectiveInstant effectiveTiming occurrenceDateTime occurrencePeriod"
    " occurrenceTiming performedDateTime performedPeriod onsetDateTime onsetPeriod abatementDateTime abatementPeriod"
    " identifiedDateTime identifiedPeriod occurredDateTime occurredPeriod createdDateTime createdPeriod"
    " timingDateTime timingPeriod timingTiming servicedDate servicedPeriod period servicePeriod executionPeriod"
    " billablePeriod planningHorizon started startDate start end sent received whenPrepared whenHandedOver"
    " dateWritten authoredOn authored created recordedDate recorded recordedOn date dateTime dateAsserted issued"
    " enteredDate statusDate timestamp detected lastOccurrence receivedTime"
)
# Parts that hold dates of the same kind. What is planned (a target, an activity's schedule) is no date of the resource.
_DATED_PARTS: Final = {
    "AllergyIntolerance": ("reaction", frozenset({"onset"})),
    "Composition": ("event", frozenset({"period"})),
    "DocumentReference": ("context", frozenset({"period"})),
    "Immunization": ("reaction", frozenset({"date"})),
    "Specimen": ("collection", frozenset({"collectedDateTime", "collectedPeriod"})),
}
_UNDATED: Final = frozenset({"Patient", "Person", "Practitioner", "PractitionerRole", "Organization", "Location"})
_NO_CODE: Final = frozenset({"meta", "text", "clinicalStatus", "verificationStatus", "identifier"})


def derive(
    resource: Mapping[str, Any],
    ref: Ref,
    updated: datetime,
    writer: Writer,
    labels: Labels,
    created_by: str | None = None,
    *,
    called: frozenset[str] = frozenset(),
    before: Facts | None = None,
) -> Facts:
    """The facts of this version. `created_by` signed version 1 and stays one of its authors; `called` are all names of the writer,
    `before` the facts of the version it replaces."""
    low, high = _dates(resource)
    refs = frozenset(_refs(resource))
    if ref.type == "Consent" and _permits_anyone(resource.get("provision")):
        refs |= {ANYONE}
    meta = resource.get("meta", {})
    whose = authorship(resource, writer, called=called, before=before, created_by=created_by)
    return Facts(
        type=ref.type,
        id=ref.id,
        patients=(f"Patient/{ref.id}",) if ref.type == "Patient" else patients(resource),
        confidentiality=labels.confidentiality,
        sensitivity=labels.sensitivity,
        other_labels=labels.other,
        legal=labels.legal,
        profiles=frozenset(p.split("|", 1)[0] for p in meta.get("profile", ()) if isinstance(p, str)),
        codes=frozenset(codes_in(resource)),
        authors=whose.authors,
        custodian=whose.custodian,
        source=meta.get("source"),
        refs=refs,
        low=low,
        high=high,
        updated=micros(updated),
        labelled=labels.labelled,
        declassified=labels.declassified,
        origin=whose.origin,
        makers=whose.makers,
        keeper=whose.keeper,
        custodians=whose.custodians,
        sources=whose.sources,
        sourced=whose.sourced,
        made=MADE,
    )


def in_nobodys_name(facts: Facts, before: Facts | None, *, theirs: bool = False) -> Facts:
    """The same facts where the gateway itself wrote this version: it makes nobody an author. `theirs`: by somebody's words, who is one for
    a no; for a yes nobody is, now or by their words later (`origin`)."""
    if before is None:
        authors = facts.authors if theirs else frozenset[str]()
        return replace(facts, authors=authors, origin=frozenset(), makers=frozenset(), keeper=None, sourced=None)
    kept = facts.keeper if facts.keeper == before.keeper else None
    came = facts.sourced if facts.sourced == before.sourced else None
    return replace(facts, authors=facts.authors if theirs else before.authors, origin=before.origin, makers=facts.makers & before.makers, keeper=kept, sourced=came)


def owned(facts: Facts, whose: Authorship) -> Facts:
    """The same facts, with whose it is."""
    return replace(
        facts, authors=whose.authors, custodian=whose.custodian, origin=whose.origin, makers=whose.makers, keeper=whose.keeper,
        custodians=whose.custodians, sources=whose.sources, sourced=whose.sourced,
    )  # fmt: skip


def labelled(facts: Facts, labels: Labels) -> Facts:
    """The same facts under other labels."""
    return replace(
        facts, confidentiality=labels.confidentiality, sensitivity=labels.sensitivity, other_labels=labels.other, legal=labels.legal,
        labelled=labels.labelled, declassified=labels.declassified,
    )  # fmt: skip


# -- when -------------------------------------------------------------------------------------------------------------


def _dates(resource: Mapping[str, Any]) -> tuple[int | None, int | None]:
    """From the first to the last of its clinical and authored dates; an open end is None, both are when undated.

    The whole span: a permit must hold all of it, a deny hits any of it.
    """
    if resource.get("resourceType") in _UNDATED:
        return None, None
    spans = [span for name in _DATES & resource.keys() for span in _spans(resource[name])]
    part, names = _DATED_PARTS.get(resource.get("resourceType", ""), ("", frozenset()))
    spans += [span for item in _each(resource.get(part)) for name in names & item.keys() for span in _spans(item[name])]
    if not spans:
        return None, None
    lows, highs = [s[0] for s in spans], [s[1] for s in spans]
    return (
        None if None in lows else min(x for x in lows if x is not None),
        None if None in highs else max(x for x in highs if x is not None),
    )


def _spans(value: Any) -> Iterator[tuple[int | None, int | None]]:
    try:
        if isinstance(value, str):
            yield interval(value)
        elif isinstance(value, dict) and ("event" in value or "repeat" in value):
            for event in value.get("event", ()):
                yield interval(event)
            period = value.get("repeat", {}).get("boundsPeriod")
            if period:
                yield bounds(period)
        elif isinstance(value, dict) and ("start" in value or "end" in value):
            yield bounds(value)
    except (ValueError, TypeError, AttributeError):
        return


# -- what it points to, what it is called -----------------------------------------------------------------------------


def _refs(node: Any) -> Iterator[str]:
    """Every outgoing reference at any depth, and every logical identifier of one."""
    if isinstance(node, list):
        for item in node:
            yield from _refs(item)
    elif isinstance(node, dict):
        name = target(node)
        if name:
            yield name
        if "identifier" in node and _is_reference(node):
            yield from identifier(node)
        for value in node.values():
            if type(value) in (dict, list):
                yield from _refs(value)


def _is_reference(node: Mapping[str, Any]) -> bool:
    return isinstance(node["identifier"], dict) and node.keys() <= {
        "reference",
        "type",
        "identifier",
        "display",
        "id",
        "extension",
    }


def codes_in(node: Any) -> Iterator[str]:
    """`system|code` of every Coding at any depth, but for labels, states and identifiers."""
    if isinstance(node, list):
        for item in node:
            yield from codes_in(item)
    elif isinstance(node, dict):
        code = node.get("code")
        if type(code) is str and "value" not in node and type(node.get("system", "")) is str and node.keys() <= _CODING:
            yield f"{node.get('system', '')}|{code}"
            return
        for key, value in node.items():
            if type(value) in (dict, list) and key not in _NO_CODE:
                yield from codes_in(value)


_CODING: Final = frozenset(
    {"system", "code", "display", "version", "userSelected", "id", "extension", "_display", "_code", "_system"}
)


def _permits_anyone(provision: Any) -> bool:
    """Does some permit of this Consent name nobody: then anybody may be meant."""
    if not isinstance(provision, dict):
        return False
    if provision.get("type") == "permit" and not provision.get("actor"):
        return True
    return any(_permits_anyone(p) for p in _each(provision.get("provision")))


def _each(value: Any) -> list[dict[str, Any]]:
    return [v for v in (value if isinstance(value, list) else [value]) if isinstance(v, dict)]


# -- as bytes ---------------------------------------------------------------------------------------------------------

_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Facts)


def encode(facts: Facts) -> bytes:
    """JSON, sets in any order."""
    return _encoder.encode(facts)


def decode(raw: bytes) -> Facts:
    """What `encode` wrote. On the path of every read."""
    return _decoder.decode(raw)
