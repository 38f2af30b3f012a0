"""A row of the trail as a sentence for the person, and what they call the things in it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from typing import Final

from .audit import kept_for
from .types import Note

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
DID: Final[Mapping[str, tuple[str, str]]] = {  # done, and after "tried to"
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
WHOLE: Final[Mapping[str, tuple[str, str]]] = {  # which are about no part of a record
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


def sentence(note: Note) -> str:
    """One sentence for the person: who, what, and whether they were told no. Names kinds of things, never their content."""
    me = bool(note.patient) and note.user == note.patient
    who = "You" if me else note.user_name or note.organisation or "Somebody"
    if note.what == "token-reused":
        return f"An app that {'you' if me else who} let in was stopped: somebody else may have had its key."
    if note.what in WHOLE:
        done, tried = WHOLE[note.what]
        if not note.allowed and note.what in ("login", "sign-in", "token"):
            return f"{'Somebody with your user name' if me else who} tried to sign in and could not."
        return f"{who} {done}." if note.allowed else f"{who} tried to {tried} and {'were' if me else 'was'} told no."
    done, tried = DID.get(note.what, (f"used “{note.what}” on", f"use “{note.what}” on"))
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
