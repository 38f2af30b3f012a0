"""The trail: one row as bytes, as an IHE BALP AuditEvent, and as a sentence for the person.

https://profiles.ihe.net/ITI/BALP/content.html, https://hl7.org/fhir/R4/auditevent.html
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections import Counter
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


# -- in plain words ---------------------------------------------------------------------------------------------------

_THINGS: Final[Mapping[str, tuple[str, str]]] = {
    "Patient": ("your details", "your details"),
    "CarePlan": ("your plan", "plans"),
    "Goal": ("a goal", "goals"),
    "Task": ("an action", "actions"),
    "ServiceRequest": ("a referral", "referrals"),
    "Condition": ("a need or condition", "needs and conditions"),
    "CareTeam": ("your team", "teams"),
    "QuestionnaireResponse": ("your answers", "sets of answers"),
    "Observation": ("a measurement", "measurements"),
    "Consent": ("your sharing choices", "sharing choices"),
    "RelatedPerson": ("a family member or friend", "family members and friends"),
    "DocumentReference": ("a document", "documents"),
    "Communication": ("a message", "messages"),
    "Flag": ("a warning flag", "warning flags"),
    "MedicationRequest": ("a medicine", "medicines"),
    "MedicationStatement": ("a medicine", "medicines"),
    "AllergyIntolerance": ("an allergy", "allergies"),
    "Encounter": ("a visit", "visits"),
    "Procedure": ("a treatment", "treatments"),
    "ClinicalImpression": ("how something came to be", "notes on how things came to be"),
    "RiskAssessment": ("a risk assessment", "risk assessments"),
}
_DID: Final[Mapping[str, tuple[str, str]]] = {  # done, and after "tried to"
    "read": ("looked at", "look at"),
    "vread": ("looked at an earlier version of", "look at an earlier version of"),
    "history": ("looked at earlier versions of", "look at earlier versions of"),
    "search": ("searched and saw", "search for"),
    "everything": ("looked at everything in", "look at everything in"),
    "document": ("made a document of", "make a document of"),
    "validate": ("checked", "check"),
    "create": ("added", "add"),
    "update": ("changed", "change"),
    "patch": ("changed", "change"),
    "accept": ("accepted", "accept"),
    "draft": ("wrote a draft of", "write a draft of"),
    "drafts": ("looked at the drafts that wait, of", "look at the drafts that wait, of"),
    "accept-draft": ("accepted a draft of", "accept a draft of"),
    "refuse-draft": ("did not take a draft of", "refuse a draft of"),
    "declassify": ("took a privacy label off", "take a privacy label off"),
    "relabel": ("looked again at the privacy labels of", "look again at the privacy labels of"),
    "delete": ("removed", "remove"),
    "disclose": ("was sent", "be sent"),
    "notify": ("was told of a change to", "be told of a change to"),
    "recall": ("was asked to give back", "be asked to give back"),
    "conflict": ("changed, at the same time as somebody else,", "change"),
    "settle": ("chose between two versions of", "choose between two versions of"),
    "transaction": ("sent changes to", "send changes to"),
    "batch": ("sent several requests about", "send several requests about"),
    "who-looked": ("looked at who had looked at", "look at who had looked at"),
    "explain": ("asked who may see", "ask who may see"),
    "preview": ("tried out who would see", "try out who would see"),
    "break-glass": ("opened", "open"),
    "telling": ("chose how to be told about", "choose how to be told about"),
    "record": ("recorded something about who may see", "record something about who may see"),
    "sync": ("brought, from a partner,", "bring, from a partner,"),
    "break-glass-end": ("ended an emergency access to", "end an emergency access to"),
    "emergency-review": ("reviewed an emergency access to", "review an emergency access to"),
    "claim": ("said they look after you and opened", "open, saying that they look after you,"),
    "claim-end": ("ended a claim to look after you, of", "end a claim to look after you, of"),
    "audit-export": ("took out a copy of who had looked at", "take out a copy of who had looked at"),
    "audit-proof": ("took out a proof of who had looked at", "take out a proof of who had looked at"),
    "task-link": ("made a link to", "make a link to"),
    "task-link-end": ("ended a link to", "end a link to"),
    "task-link-accept": ("accepted, by a link,", "accept, by a link,"),
    "task-link-decline": ("declined, by a link,", "decline, by a link,"),
    "task-link-done": ("reported as done, by a link,", "report as done, by a link,"),
    "find": ("found by NHS number", "find by NHS number"),
    "hold": ("said that nobody may dispose of", "say that nobody may dispose of"),
    "release": ("took back that nobody may dispose of", "take back that nobody may dispose of"),
    "dispose": ("disposed of", "dispose of"),
    "print": ("printed", "print"),
    "scan": ("looked whether a paper is the newest of", "look whether a paper is the newest of"),
    "export": ("made a copy of everything in", "make a copy of everything in"),
    "account-add": ("opened a sign-in to", "open a sign-in to"),
    "account-change": ("changed what a sign-in may do with", "change what a sign-in may do with"),
    "account-password": ("set a new password for a sign-in to", "set a new password for a sign-in to"),
    "account-close": ("closed a sign-in to", "close a sign-in to"),
    "account-reopen": ("opened again a sign-in to", "open again a sign-in to"),
}
_ABOUT_SIGN_IN: Final = frozenset({"account-add", "account-change", "account-password", "account-close", "account-reopen"})
_OF_ALL: Final = frozenset({"everything", "print", "scan", "transaction", "batch", "who-looked", "audit-export", "audit-proof", "break-glass", "break-glass-end", "emergency-review", "claim", "claim-end", "find", "export", "hold", "release", "dispose"}) | _ABOUT_SIGN_IN
_WHOLE: Final[Mapping[str, tuple[str, str]]] = {  # which are about no part of a record
    **dict.fromkeys(("login", "sign-in"), ("signed in", "sign in")),
    "launch": ("came here from their own system", "come here from their own system"),
    "report": ("made a report of counts", "make a report of counts"),
    "token": ("used an app", "use an app"),
    "token-end": ("stopped using an app", "stop using an app"),
    "token-reused": ("used an app", "use an app"),
    "introspect": ("asked about a sign-in", "ask about a sign-in"),
    **dict.fromkeys(("logout", "sign-out"), ("signed out", "sign out")),
    "sign-out-everywhere": ("signed out everywhere", "sign out everywhere"),
    "authorize": ("let in an app", "let in an app"),
    "app-stopped": ("stopped an app", "stop an app"),
    "not-recognised": ("asked the privacy officer about somebody who looked", "ask the privacy officer about somebody who looked"),
    "not-recognised-list": ("looked at what people do not recognise", "look at what people do not recognise"),
    "not-recognised-answer": ("answered what you asked about somebody who looked", "answer what you asked about somebody who looked"),
    "emergencies": ("looked at the list of emergencies", "look at the list of emergencies"),
    "scope": ("asked by a sign-in that does not say whose record", "ask by a sign-in that does not say whose record"),
    "purpose": ("asked for another purpose", "ask for a purpose that their sign-in does not have"),
    "register-client": ("registered an app or a system", "register an app or a system"),
    "rotate-client": ("changed the keys of an app or a system", "change the keys of an app or a system"),
    "remove-client": ("removed an app or a system", "remove an app or a system"),
    "rotate-keys": ("changed the keys of this service", "change the keys of this service"),
    "rotate-audit-key": ("changed the key that seals what is written down", "change the key that seals what is written down"),
    "new-remote-key": ("made a key to sign in at a partner", "make a key to sign in at a partner"),
    "withdraw-key": ("withdrew a key of this service", "withdraw a key of this service"),
    "backup": ("made a backup", "make a backup"),
    "restore": ("brought back a backup", "bring back a backup"),
}


def kept_for(note: Note) -> str:
    """For whom whoever was sent this copy keeps it (`Organization/…`); "" where it is for themselves."""
    return note.detail.partition(FOR)[2] if note.what == "disclose" and note.allowed else ""


def printed_for(note: Note) -> str:
    """For whom this was printed (`Type/id`, or as a choice names them); "" for whoever printed it."""
    whom = note.detail.partition(PRINTED_FOR)[2] if note.what == "print" else ""
    return whom if whom != note.user else ""


def sentence(note: Note) -> str:
    """One sentence for the person: who, what, and whether they were told no. Names kinds of things, never their content."""
    me = bool(note.patient) and note.user == note.patient
    who = "You" if me else note.user_name or note.organisation or "Somebody"
    if note.what == "token-reused":
        return f"An app that {'you' if me else who} let in was stopped: somebody else may have had its key."
    if note.what in _WHOLE:
        done, tried = _WHOLE[note.what]
        if not note.allowed and note.what in ("login", "sign-in", "token"):
            return f"{'Somebody with your user name' if me else who} tried to sign in and could not."
        return f"{who} {done}." if note.allowed else f"{who} tried to {tried} and {'were' if me else 'was'} told no."
    done, tried = _DID.get(note.what, (f"used “{note.what}” on", f"use “{note.what}” on"))
    what = (
        "your record"
        if note.what in _OF_ALL
        else _things(note)
    )
    if not note.allowed:
        were = "were" if me else "was"
        return f"{who} tried to {tried} {what}{' in an emergency' if note.what == 'break-glass' else ''} and {were} told no."
    if me:
        done = done.replace("was ", "were ", 1) if done.startswith("was ") else done
    if note.detail == "unchanged":
        return f"{who} sent {what} again, just as it was."
    if kept_for(note):
        return f"{who} {done} {what}, to keep for somebody in your team."
    why = " in an emergency" if note.what == "break-glass" or (note.basis == "break-glass" and note.what != "break-glass-end") else ""
    if note.what == "search" and note.detail == "found nothing":
        return f"{who} searched your record and found nothing{why}."
    if note.what == "search" and note.detail.startswith("counted"):
        done = "searched and were told how many there are of" if me else "searched and was told how many there are of"
    return f"{who} {done} {what}{why}."


def _things(note: Note) -> str:
    """`your plan and 3 goals`"""
    named = (r.split("/", 1)[0].split("?", 1)[0] for r in note.refs)
    kinds = Counter(kind if kind in _THINGS else "other" for kind in named if kind)
    words = [_count(kind, n) for kind, n in kinds.items()]
    if not words:
        return "your record"
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def thing(type: str) -> str:
    """`a goal`: what a resource of this type is to the person; of a type that has no such word its own name, in words."""
    return _THINGS[type][0] if type in _THINGS else _spaced(type)


def things(type: str) -> str:
    """`Goals`: the same of many, as a heading."""
    text = _THINGS[type][1] if type in _THINGS else _spaced(type)
    return text[:1].upper() + text[1:]


def _spaced(type: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", type).lower()


def _count(kind: str, n: int) -> str:
    one, many = _THINGS.get(kind, ("a part of your record", "parts of your record"))
    return one if n == 1 or one == many else f"{n} {many}"


# -- as bytes ---------------------------------------------------------------------------------------------------------

_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Note)


def encode(note: Note) -> bytes:
    """JSON. On the path of every read."""
    return _encoder.encode(note)


def decode(raw: bytes) -> Note:
    """What `encode` wrote."""
    return _decoder.decode(raw)
