"""What was done, in words: for the person whose plan it was, and for a privacy officer, who reads of everybody and of nobody's record."""

from __future__ import annotations

from typing import NamedTuple


class Said(NamedTuple):
    """`person` is told to the person themselves; `officer` stands beside whose record it was, if anybody's. `{app}` is the app's name."""

    person: str
    officer: str


ACTS: dict[str, Said] = {
    "read": Said("Looked at your plan or record", "Looked at something"),
    "vread": Said("Looked at an earlier version of your plan or record", "Looked at an earlier version"),
    "history": Said("Looked at earlier versions of your plan or record", "Looked at earlier versions"),
    "search": Said("Searched in your plan or record", "Searched"),
    "everything": Said("Looked at all of your plan or record", "Looked at everything"),
    "document": Said("Made a document of your plan or record", "Made a document"),
    "validate": Said("Checked your plan or record", "Had something checked"),
    "create": Said("Added to your plan or record", "Added something"),
    "update": Said("Changed your plan or record", "Changed something"),
    "patch": Said("Changed your plan or record", "Changed something"),
    "delete": Said("Removed from your plan or record", "Removed something"),
    "transaction": Said("Sent an update to your plan or record", "Sent an update"),
    "batch": Said("Asked several things at once of your plan or record", "Asked several things at once"),
    "conflict": Said("Sent a change that did not fit to your plan or record", "Sent a change that did not fit"),
    "settle": Said("Chose between two versions of something in your plan or record", "Chose between two versions"),
    "accept": Said("Took on a task in your plan or record", "Took on a task"),
    "task-link": Said("Made a link to one task in your plan or record", "Made a link to one task"),
    "task-link-end": Said("Ended a link to one task in your plan or record", "Ended a link to one task"),
    "task-link-accept": Said("Accepted a task by a link, in your plan or record", "Accepted a task by a link"),
    "task-link-decline": Said("Declined a task by a link, in your plan or record", "Declined a task by a link"),
    "task-link-done": Said("Reported a task as done by a link, in your plan or record", "Reported a task as done by a link"),
    "disclose": Said("Was sent a copy of your plan or record", "Was sent a copy"),
    "notify": Said("Was told that something in your plan or record changed", "Was told of a change"),
    "recall": Said("Had a copy of your plan or record taken back", "Had a copy taken back"),
    "sync": Said("Kept a partner's copy in step with your plan or record", "Kept a partner's copy in step"),
    "consent": Said("Changed who can see your plan or record", "Changed who can see a record"),
    "who-looked": Said("Looked at who has seen your plan or record", "Looked at what was written down"),
    "audit-export": Said("Took out a copy of who has seen your plan or record", "Took out a copy of what was written down"),
    "audit-proof": Said("Took out a proof of who has seen your plan or record", "Took out a proof of what was written down"),
    "explain": Said("Asked who may see your plan or record", "Asked who may see something"),
    "preview": Said("Tried out who would see your plan or record", "Tried out who would see a record"),
    "telling": Said("Chose how to be told about your plan or record", "Chose how to be told"),
    "declassify": Said("Took a privacy label off something in your plan or record", "Took a privacy label off"),
    "relabel": Said("Looked again at the privacy labels in your plan or record", "Looked again at the privacy labels"),
    "break-glass": Said("Opened your plan or record in an emergency", "Opened a record in an emergency"),
    "break-glass-end": Said("Ended the emergency access to your plan or record", "Ended an emergency access"),
    "emergency-review": Said("Checked the emergency access to your plan or record", "Checked an emergency access"),
    "emergencies": Said("Looked at the list of emergencies", "Looked at the list of emergencies"),
    "claim": Said("Said that they look after you, to see your plan or record", "Said that they look after somebody"),
    "claim-end": Said("Ended a claim to look after you, to see your plan or record", "Ended a claim to look after somebody"),
    "find": Said("Looked for you by NHS number, to see your plan or record", "Looked for somebody by NHS number"),
    "record": Said("Wrote something down about your plan or record", "Wrote something down about a person"),
    "report": Said("Counted how many people have what, you among them", "Counted over all people"),
    "print": Said("Printed your plan", "Printed a plan"),
    "scan": Said("Looked whether a printed plan of yours is the newest", "Looked whether a printed plan is the newest"),
    "export": Said("Made a copy of everything in your plan or record", "Made a copy of everything about a person"),
    "hold": Said("Said that nobody may dispose of your plan or record", "Said that nobody may dispose of a record"),
    "release": Said("Took back that nobody may dispose of your plan or record", "Took back that nobody may dispose of a record"),
    "dispose": Said("Disposed of your plan or record, whose time was over", "Disposed of what had been kept long enough"),
    "scope": Said("Asked by a sign-in that does not say whose record", "Asked by a sign-in that does not say whose record"),
    "purpose": Said("Asked for a purpose that their sign-in does not have", "Asked for a purpose that their sign-in does not have"),
    "sign-in": Said("Signed in", "Signed in"),
    "sign-out": Said("Signed out", "Signed out"),
    "login": Said("Signed in", "Signed in"),
    "logout": Said("Signed out", "Signed out"),
    "token": Said("Was let in", "Was let in"),
    "token-end": Said("Ended its own access", "Ended an app's access"),
    "token-reused": Said("Was stopped: its key was used twice, and somebody else may have it", "Was stopped: its key was used twice"),
    "introspect": Said("Asked about a sign-in", "Asked about a sign-in"),
    "sign-out-everywhere": Said("Signed out everywhere", "Signed out everywhere"),
    "authorize": Said("Let in the app {app}", "Let in an app"),
    "app-stopped": Said("Stopped the app {app}", "Stopped an app"),
    "account-add": Said("Opened a sign-in to your plan or record", "Opened a sign-in"),
    "account-change": Said("Changed what a sign-in may do with your plan or record", "Changed what a sign-in may do"),
    "account-password": Said("Set a new password for a sign-in to your plan or record", "Set a new password for a sign-in"),
    "account-close": Said("Closed a sign-in to your plan or record", "Closed a sign-in"),
    "account-reopen": Said("Opened a sign-in to your plan or record again", "Opened a sign-in again"),
    "register-client": Said("Registered an app or a system", "Registered an app or a system"),
    "rotate-client": Said("Changed the keys of an app or a system", "Changed the keys of an app or a system"),
    "remove-client": Said("Removed an app or a system", "Removed an app or a system"),
    "rotate-keys": Said("Changed the keys of this service", "Changed the keys of this service"),
    "rotate-audit-key": Said("Changed the key that seals what is written down", "Changed the key that seals what is written down"),
    "new-remote-key": Said("Made a key to sign in at a partner", "Made a key to sign in at a partner"),
    "withdraw-key": Said("Withdrew a key of this service", "Withdrew a key of this service"),
    "backup": Said("Made a backup", "Made a backup"),
    "restore": Said("Brought back a backup", "Brought back a backup"),
}
OTHERWISE = Said("Used your plan or record", "Did something else")
__all__ = ["ACTS", "OTHERWISE", "Said"]
