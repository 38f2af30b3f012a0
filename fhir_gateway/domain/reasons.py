"""Why somebody refused, without anybody's data: a status, issue codes, element names, and for each the same plain words wherever it is shown.
Their own words may quote a record.

Issue codes: https://hl7.org/fhir/R4/valueset-issue-type.html
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from .problem import KINDS, Issue, Problem

CODES: Final = frozenset(
    "invalid structure required value invariant security login unknown expired forbidden suppressed processing not-supported duplicate "
    "multiple-matches not-found deleted too-long code-invalid extension too-costly business-rule conflict transient lock-error no-store exception "
    "timeout incomplete throttled informational".split()
)
MOST: Final = 3  # issues of one refusal
UNSURE: Final[Mapping[str, str]] = {  # why it is not sure whose record at a partner is somebody's
    "disagrees": "The record there with this NHS number has another date of birth or family name.",
    "several": "There are several records there with this NHS number.",
    "taken": "The record there with this NHS number is known here as somebody else's.",
    "merged": "Their record was merged with another there.",
    "inactive": "Their record there is no longer in use.",
    "changed": "The NHS number, date of birth or family name is no longer the same there as here.",
    "deleted": "Their record was deleted there.",
}
OURS: Final[Mapping[str, str]] = {  # why we did not take something of theirs, where it is more than the kind of a Problem
    "strange": "It bears the tag of a copy of ours, and it is not about the same person. Nothing was joined; a person must look.",
    "unlike": "What is here bears the tag of this record of theirs, and came from somebody else who says something else in it than theirs ever said. "
    "Nothing was joined or written over; a person must look: delete what is here, or correct one of the two until they say the same.",
    "same-name": "It has a business identifier of what is here about this person, and the two never said the same. Nothing was joined or written over; a person "
    "must look: delete one of the two, or correct one until they say the same.",
    "second-copy": "It bears the tag of a copy of ours, and there is another copy of that there already. A person must look: theirs is to be without the tag.",
    "no-original": "It bears the tag of a copy of ours, and nothing of ours has that name. A person must look: theirs is to be without the tag.",
    "over-a-stub": "It was changed there where only a stub stands, since what it says was taken back. Nothing was written here.",
    "not-sure-whose": "It is not sure who this is about. Nothing was written; it waits until a person has looked at it.",
    "said-otherwise": "It does not say by their record there whom it is about, but by an identifier alone, by something contained, by a `urn:`, or by a search; "
    "so it is not sure. Nothing was written. Ask them to refer to their record of that person.",
    "not-shared": "It names, by our own id, somebody or something here that is not shared with this partner.",
    "cannot-be-read": "It has changed there, and cannot be read. Ask them why; it is read once more when you take it in again.",
    "cannot-be-read-as-fhir": "What came cannot be read as FHIR. Ask them to correct it there; it is taken in when they send it corrected.",
    "leads-too-far": "It leads to more than is looked at for one change, so it is not taken in yet. Take it in again; where that does not help, ask them what it refers to.",
    "fault": "A fault of this gateway keeps it from being taken in. Say so to those who make it; take it in again when it is mended.",
    "more": "More than is kept cannot be taken in. What comes later of it is taken as ever.",
}
BY_KIND: Final[Mapping[str, str]] = {  # by the kind of a Problem: what one of our rules said to theirs
    "malformed": "It is not of the shape that FHIR gives such a record. Ask them to correct the place that is named.",
    "bad-request": "It says something that cannot be done as it stands. Ask them to correct the place that is named.",
    "if-match-required": "It does not say which version it is to change. Take it in again.",
    "sign-in": "It came without a sign-in that counts here. Look at how this partner is set up.",
    "insufficient-scope": "What was agreed with this partner does not let it write this. Look at its settings, or leave it.",
    "forbidden": "This partner may not write that here: consent, or what its organisation is to the person, does not let it. Ask the person or their team.",
    "not-found": "This, or something that it names, is not here or not for this partner to see. Ask the person or their team before you do more.",
    "no-such-type": "It is of a kind that is not kept here. Nothing is to be done.",
    "no-such-operation": "It asks for something that is not done here. Nothing is to be done.",
    "not-offered": "That is not offered here, or cannot be read there. Take it in again later; where that does not help, ask them.",
    "not-acceptable": "It asks for an answer of a form that is not given here. Ask them.",
    "too-slow": "It took too long. Take it in again.",
    "conflict": "It does not go together with what is here. Nothing was written; a person must look at both.",
    "duplicate": "The same is here already. Ask them whether theirs is one too many.",
    "gone": "It was deleted here. Ask the person or their team whether it is to come back.",
    "stale": "It was changed here since, or at the same moment. Take it in again; where it was made from an older version, look at both, and take in one made from what is here now.",
    "several-matches": "Several records here are like it, so it is not clear which it means. A person must look.",
    "too-large": "It is larger than what is taken here. Ask them to make it smaller.",
    "uri-too-long": "An address in it is too long. Ask them to correct it.",
    "unsupported-media": "It is of a form that is not read here. Ask them to send FHIR JSON.",
    "invalid": "It breaks a rule of FHIR for such a record. Ask them to correct the place that is named, or correct it yourself.",
    "misdirected": "It was meant for another server. Look at the address of this partner.",
    "business-rule": "It breaks a rule of this gateway, such as whose record it is or who may put a label on it. Ask them to correct the place that is named.",
    "cannot-apply": "It cannot be done to what is here now. A person must look at both.",
    "name-used": "Another message came under the same name. Ask them to send it under a new one.",
    "throttled": "Too much came at once. Take it in again.",
    "headers-too-large": "What came beside it is too large. Ask them.",
    "not-implemented": "It needs something that is not done here. Ask them to send it another way.",
    "unavailable": "It could not be written at that moment. Take it in again.",
}
OF_HL7: Final = "It breaks a rule of HL7 v2 for such a message. Ask them to correct the field that is named, or correct it yourself."
READ_ANEW: Final = (
    "It was changed here since they read it, and nothing of theirs was written. As it came it can only be refused again: "
    "ask them to read it and to send their change anew, then end this."
)
THEY_SAID: Final[Mapping[int, str]] = {  # by status: why that server did not take something of ours
    400: "They say that it is wrong as it stands, or what it refers to is not there any more. See which place is named; correct it here, or ask them, then try again.",
    403: "They say that we may not do this there. Ask them to let us, then try again.",
    404: "They say that they do not have it. Ask them whether it was deleted there, then try again.",
    405: "They say that this is not done there. Ask them, then try again.",
    409: "They say that it does not go together with what they have. Ask them, then try again.",
    410: "They say that it was deleted there. Ask them, then try again.",
    412: "It was changed there again and again while we wrote. Try again.",
    413: "They say that it is too large. Ask them, then try again.",
    422: "They say that it breaks a rule of theirs. See which place is named; correct it here, or ask them, then try again.",
}
REFUSED: Final = "They did not take it. Ask them why, then try again."
_PATH: Final = re.compile(r"[A-Z][A-Za-z]{1,40}(\.[A-Za-z]{1,40}(\[[0-9x+]{1,4}\])?){0,8}")
_ERL: Final = re.compile(r"([A-Z][A-Z0-9]{2})(?:\^([0-9]{1,3}))?(?:\^([0-9]{1,3}))?(?:\^[0-9]{1,3}){0,3}")


def reason(status: int, outcome: Mapping[str, Any] | None) -> str:
    """`422: invalid at Goal.note; required`: what an OperationOutcome says, whatever its shape. `status` 0 is not said."""
    issues = _list((outcome or {}).get("issue"))
    said = []
    for issue in [i for i in issues if isinstance(i, dict)][:MOST]:
        code, where = issue.get("code"), elements(_places(issue))
        said.append(" at ".join(filter(None, (code if isinstance(code, str) and code in CODES else "", ", ".join(where)))))
    return ": ".join(filter(None, (str(status) if status else "", "; ".join(filter(None, said)))))


def _places(issue: Mapping[str, Any]) -> list[Any]:
    return [*_list(issue.get("expression")), *_list(issue.get("location"))]


def because(why: str, where: str = "", kind: str = "conflict", said: str = "") -> Problem:
    """A Problem for quarantine, with the name of its reason (of OURS or UNSURE), which is kept with it. `said`: more of it, for who sees content."""
    text = said or (UNSURE[why] if why in UNSURE else OURS[why])
    return Problem(kind, text, where, issues=[Issue("error", KINDS[kind].code, where, text, why)])


def words(kind: str, outcome: Mapping[str, Any] | None) -> str:
    """Why we did not take something of theirs: of the `kind` of Problem and the OperationOutcome that were kept, in plain words without data."""
    details = [i.get("details") for i in _list((outcome or {}).get("issue")) if isinstance(i, dict)]
    for coding in [c for d in details if isinstance(d, dict) for c in _list(d.get("coding")) if isinstance(c, dict)]:
        if (text := OURS.get(why := str(coding.get("code"))) or UNSURE.get(why)) is not None:
            return text
    return BY_KIND.get(kind, BY_KIND["business-rule"])


def message_words(status: int, outcome: Mapping[str, Any] | None) -> str:
    """`words` of a message that was pushed here: it says of which version it is, and is never of another."""
    kind = kind_of(status, outcome)
    if kind == "invalid" and any(_field(str(place)) for i in _list((outcome or {}).get("issue")) if isinstance(i, dict) for place in _places(i)):
        return OF_HL7
    return READ_ANEW if kind == "stale" else words(kind, outcome)


def kind_of(status: int, outcome: Mapping[str, Any] | None) -> str:
    """The kind of Problem that was answered with this status and these issue codes."""
    codes = [i.get("code") for i in _list((outcome or {}).get("issue")) if isinstance(i, dict)]
    alike = [k for k, v in KINDS.items() if v.status == status]
    return next((k for k in alike if KINDS[k].code in codes), next(iter(alike), "business-rule"))


def refused(status: int) -> str:
    """Why they did not take something of ours, in plain words."""
    return THEY_SAID.get(status, REFUSED)


def plainly(code: str) -> str:
    """The words of `refused` for a reason that begins with a status; "" for one that is in words already."""
    status = code.partition(":")[0].strip()
    return refused(int(status)) if re.fullmatch(r"[1-5][0-9]{2}", status) else ""


def elements(paths: Iterable[Any]) -> list[str]:
    """The element names at the head of these paths, each once, or the field of HL7 v2 (`PV1-19`): no value that a path may quote."""
    found = (_field(str(p)) or (m[0] if (m := _PATH.match(str(p))) else "") for p in paths)
    return list(dict.fromkeys(name for name in found if name))


def _field(place: str) -> str:
    """`PV1-19` of `PV1^1^19`, `PID[2]-3` of `PID^2^3`: ERL, https://hl7-definition.caristix.com/v2/HL7v2.5.1/DataTypes/ERL"""
    m = _ERL.fullmatch(place)
    return f"{m[1]}{f'[{m[2]}]' if m[2] not in (None, '1') else ''}{f'-{m[3]}' if m[3] else ''}" if m else ""


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
