"""The trail: one row as bytes and as an IHE BALP AuditEvent (`trail_words` says it to the person).

https://profiles.ihe.net/ITI/BALP/content.html, https://hl7.org/fhir/R4/auditevent.html
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator, Mapping
from datetime import UTC
from typing import Any, Final, NamedTuple

import msgspec

from .types import Note
from .vocabulary import ACT_REASON, HL7

DCM: Final = "http://dicom.nema.org/resources/ontology/DCM"
BALP: Final = "https://profiles.ihe.net/ITI/BALP/StructureDefinition/IHE.BasicAudit."
AUTHZ: Final = "https://profiles.ihe.net/ITI/BALP/CodeSystem/AuthZsubType"
INTERACTION: Final = "http://hl7.org/fhir/restful-interaction"
OURS: Final = "https://fhir-gateway.example/CodeSystem/audit-event"
OBSERVER: Final = "fhir_gateway"
OPERATOR: Final = "Device/operator"  # whoever runs commands on the machine
ITSELF: Final = "Device/this-service"  # what it does unasked
FOR: Final = ", kept for "  # in the detail of a disclosure to a processor: for whom
PRINTED_FOR: Final = ", printed for "  # in the detail of a print: for whom
_FROM: Final = {OPERATOR: "a command on this machine", ITSELF: "this gateway itself"}

Coding = dict[str, str]
_REST: Final = {"system": f"{HL7}/audit-event-type", "code": "rest", "display": "Restful Operation"}
_ALERT: Final = {"system": DCM, "code": "110113", "display": "Security Alert"}
_EXPORT: Final = {"system": DCM, "code": "110106", "display": "Export"}
_SIGN_IN: Final = {"system": DCM, "code": "110114", "display": "User Authentication"}
_DISCLOSE: Final = {"system": f"{HL7}/iso-21089-lifecycle", "code": "disclose", "display": "Disclose Record Lifecycle Event"}
_SOURCE: Final = {"system": DCM, "code": "110153", "display": "Source Role ID"}
_DESTINATION: Final = {"system": DCM, "code": "110152", "display": "Destination Role ID"}
_USER: Final = {"system": f"{HL7}/v3-ParticipationType", "code": "IRCP", "display": "information recipient"}
_ORGANISATION: Final = {"system": f"{HL7}/v3-RoleClass", "code": "PROV", "display": "healthcare provider"}
_APP: Final = {"system": DCM, "code": "110150", "display": "Application"}
_AUTHORISER: Final = {"system": f"{HL7}/extra-security-role-type", "code": "authserver", "display": "authorization server"}


class _Kind(NamedTuple):
    """How a `what` is told: BALP pattern, type, subtype, action, and whether data flows to the client."""

    pattern: str
    type: Coding
    subtype: Coding
    action: str
    outward: bool = True


def _rest(pattern: str, code: str, action: str, *, outward: bool = False) -> _Kind:
    return _Kind(pattern, _REST, {"system": INTERACTION, "code": code, "display": code}, action, outward)


_KINDS: Final[Mapping[str, _Kind]] = {
    "read": _rest("Read", "read", "R", outward=True),
    "vread": _rest("Read", "vread", "R", outward=True),
    "search": _rest("Query", "search", "E"),
    "everything": _rest("Query", "search", "E"),
    "history": _rest("", "history", "R", outward=True),
    "document": _rest("", "operation", "R", outward=True),
    "validate": _rest("", "operation", "E", outward=True),
    "create": _rest("Create", "create", "C"),
    "update": _rest("Update", "update", "U"),
    "patch": _rest("Update", "patch", "U"),
    "accept": _rest("Update", "patch", "U"),
    "declassify": _Kind("", _REST, {"system": INTERACTION, "code": "operation", "display": "$meta-delete"}, "U", False),
    "relabel": _Kind("", _REST, {"system": INTERACTION, "code": "operation", "display": "relabel"}, "U", False),
    "delete": _rest("Delete", "delete", "D"),
    "transaction": _rest("", "transaction", "E"),
    "batch": _rest("", "batch", "E"),
    "disclose": _Kind("PrivacyDisclosure.Source", _EXPORT, _DISCLOSE, "R"),
    "notify": _Kind("", _EXPORT, {"system": OURS, "code": "notify", "display": "Told of a change"}, "R"),
    "print": _Kind("", _EXPORT, {"system": OURS, "code": "print", "display": "Printed on paper"}, "R"),
    "scan": _Kind("", _EXPORT, {"system": OURS, "code": "scan", "display": "Looked whether a paper is the newest"}, "R"),
    "export": _Kind("", _EXPORT, {"system": OURS, "code": "subject-access", "display": "Copy for the person"}, "R"),
    "login": _Kind("", _SIGN_IN, {"system": DCM, "code": "110122", "display": "Login"}, "E", False),
    "logout": _Kind("", _SIGN_IN, {"system": DCM, "code": "110123", "display": "Logout"}, "E", False),
    "token": _Kind("", _SIGN_IN, {"system": DCM, "code": "110122", "display": "Login"}, "E", False),
    "token-end": _Kind("", _SIGN_IN, {"system": DCM, "code": "110123", "display": "Logout"}, "E", False),
    "token-reused": _Kind("", _SIGN_IN, {"system": OURS, "code": "token-reused", "display": "Secret of an app used twice"}, "E", False),
    "introspect": _Kind("", _SIGN_IN, {"system": OURS, "code": "introspect", "display": "Question about a token"}, "E", False),
    **{
        f"account-{act}": _Kind("", _ALERT, {"system": DCM, "code": "110137", "display": "User Security Attributes Changed"}, "U", False)
        for act in ("add", "change", "password", "close", "reopen")
    },
    "sign-in": _Kind("", _SIGN_IN, {"system": DCM, "code": "110122", "display": "Login"}, "E", False),
    "launch": _Kind("", _SIGN_IN, {"system": DCM, "code": "110122", "display": "Login"}, "E", False),
    "sign-out": _Kind("", _SIGN_IN, {"system": DCM, "code": "110123", "display": "Logout"}, "E", False),
    "who-looked": _rest("Query", "search", "E"),
    "audit-export": _Kind("", _EXPORT, {"system": OURS, "code": "audit-export"}, "R"),
    "audit-proof": _Kind("", _EXPORT, {"system": OURS, "code": "audit-proof"}, "R"),
    "break-glass-end": _Kind("", _ALERT, {"system": DCM, "code": "110138", "display": "Emergency Override Stopped"}, "E", False),
    "break-glass": _Kind("", _ALERT, {"system": DCM, "code": "110127", "display": "Emergency Override Started"}, "E", False),
}
_REFUSED_BY_ROLE: Final = frozenset({"rbac", "no-read-no-update", "other-patient"})


# -- the AuditEvent ---------------------------------------------------------------------------------------------------


def event(note: Note, server: str = OBSERVER) -> dict[str, Any]:
    """The AuditEvent of a row, as the BALP pattern of what was done; a refusal is an authorization decision, outcome 8.

    A pattern is claimed in `meta.profile` only where the row has everything it asks for. `server` names this gateway.
    """
    refused = not note.allowed and note.what in _KINDS and _KINDS[note.what].type is not _SIGN_IN
    kind = _refusal(note) if refused else _KINDS.get(note.what, _other(note))
    out: dict[str, Any] = {"resourceType": "AuditEvent", "id": note.id}
    pattern = _claimed(note, kind)
    if pattern:
        out["meta"] = {"profile": [BALP + pattern]}
    out |= {
        "type": kind.type,
        "subtype": [kind.subtype],
        "action": kind.action,
        "recorded": note.at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z",
        "outcome": "0" if note.allowed else "8",
    }
    said = "; ".join(s for s in (note.basis, note.detail) if s)
    if said:
        out["outcomeDesc"] = said
    if note.purpose:
        out["purposeOfEvent"] = [{"coding": [{"system": ACT_REASON, "code": note.purpose}]}]
    decided = kind.type is _ALERT
    out["agent"] = list(_agents(note, kind, server, decided))
    out["source"] = {
        "observer": {"display": server},
        "type": [{"system": f"{HL7}/security-source-type", "code": "4", "display": "Application Server"}],
    }
    entities = list(_entities(note, kind, decided))
    if entities:
        out["entity"] = entities
    return out


def _refusal(note: Note) -> _Kind:
    code = "AuthZ-Role" if note.basis in _REFUSED_BY_ROLE else "AuthZ-Consent"
    return _Kind("AuthZconsent", _ALERT, {"system": AUTHZ, "code": code}, "E", False)


def _other(note: Note) -> _Kind:
    """A decision about consent, or something that only this gateway does."""
    if note.consent and note.what in ("consent", "decide", "explain"):
        return _refusal(note)
    return _Kind("", _REST, {"system": OURS, "code": note.what}, note.action, False)


def _claimed(note: Note, kind: _Kind) -> str:
    if kind.pattern == "AuthZconsent":
        whole = note.user and note.organisation and note.client and note.patient and note.consent
        return "AuthZconsent" if whole else ""
    if kind.pattern == "PrivacyDisclosure.Source":
        return kind.pattern if note.patient else ""
    one = kind.pattern == "Query" or len([r for r in note.refs if "/" in r]) == 1
    if not kind.pattern or not note.allowed or not note.client or not one:
        return ""
    return ("Patient" if note.patient else "") + kind.pattern


def _agents(note: Note, kind: _Kind, server: str, decided: bool) -> Iterator[dict[str, Any]]:
    client = note.client or (note.organisation if kind.type is _EXPORT else None) or _FROM.get(note.user, "a page of this gateway")
    here = {"network": {"address": server, "type": "5" if "://" in server else "1"}}
    there = {"network": {"address": client, "type": "1"}}
    if decided:
        yield {"type": _concept(_APP), "who": _who(client), "requestor": False, **there}
        yield {"type": _concept(_AUTHORISER), "who": {"display": server}, "requestor": False}
    else:
        mine, theirs = (_SOURCE, _DESTINATION) if kind.outward else (_DESTINATION, _SOURCE)
        yield {"type": _concept(theirs), "who": _who(client), "requestor": not note.user, **there}
        yield {"type": _concept(mine), "who": {"display": server}, "requestor": False, **here}
    if note.user:
        user = {"type": _concept(_USER), "who": _who(note.user), "requestor": True}
        yield {**user, "name": note.user_name} if note.user_name else user
    if note.organisation:
        yield {"type": _concept(_ORGANISATION), "who": _who(note.organisation), "requestor": False}


def _entities(note: Note, kind: _Kind, decided: bool) -> Iterator[dict[str, Any]]:
    if note.patient:
        yield {
            "what": {"reference": note.patient},
            "type": {"system": f"{HL7}/audit-entity-type", "code": "1", "display": "Person"},
            "role": {"system": f"{HL7}/object-role", "code": "1", "display": "Patient"},
            **({"detail": [{"type": "asked-for", "valueString": r} for r in note.refs]} if decided and note.refs else {}),
        }
    if note.consent:
        yield {
            "what": {"reference": f"Consent/{note.consent.removeprefix('Consent/')}"},
            "type": {"system": "http://hl7.org/fhir/resource-types", "code": "Consent", "display": "Consent"},
        }
    if decided:
        return
    thing = {"system": f"{HL7}/audit-entity-type", "code": "2", "display": "System Object"}
    if kind.pattern == "Query":
        query = note.query or "?".join(note.refs[:1])
        yield {
            "type": thing,
            "role": {"system": f"{HL7}/object-role", "code": "24", "display": "Query"},
            "query": b64encode(query.encode() or b"?").decode(),
        }
        return
    for ref in note.refs:
        if "/" in ref:
            role = {"system": f"{HL7}/object-role", "code": "4", "display": "Domain Resource"}
            yield {"what": {"reference": ref}, "type": thing, "role": role}


def _who(name: str) -> dict[str, Any]:
    return {"reference": name} if "/" in name and "://" not in name else {"identifier": {"value": name}}


def _concept(coding: Coding) -> dict[str, Any]:
    return {"coding": [coding]}


def kept_for(note: Note) -> str:
    """For whom whoever was sent this copy keeps it (`Organization/…`); "" where it is for themselves."""
    return note.detail.partition(FOR)[2] if note.what == "disclose" and note.allowed else ""


def printed_for(note: Note) -> str:
    """For whom this was printed (`Type/id`, or as a choice names them); "" for whoever printed it."""
    whom = note.detail.partition(PRINTED_FOR)[2] if note.what == "print" else ""
    return whom if whom != note.user else ""


# -- as bytes ---------------------------------------------------------------------------------------------------------

_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Note)


def encode(note: Note) -> bytes:
    """JSON. On the path of every read."""
    return _encoder.encode(note)


def decode(raw: bytes) -> Note:
    """What `encode` wrote."""
    return _decoder.decode(raw)
