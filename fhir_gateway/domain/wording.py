"""A decision in plain words: why, and what would change it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from .showing import CONTACT_VIEW, LOCATION_VIEW
from .types import Decision
from .vocabulary import NO_PARTNER

WORDS: Final[Mapping[str, tuple[str, str]]] = {  # basis -> (permitted, refused)
    "rbac": ("", "Their sign-in or role does not allow this, whatever the person's choices are."),
    "no-patient-data": ("This holds nothing about any person.", ""),
    "no-read-no-update": ("", "Who may not see something may not change it."),
    "self": ("It is the person's own record.", ""),
    "refrain": (
        "",
        "It was marked as not to be shown to the person or those acting for them until it has been talked over.",
    ),
    "other-patient": ("", "It belongs to somebody else."),
    "proxy": ("They act for the person, and that role is in force.", ""),
    "no-proxy-role": ("", "They have no role in force that lets them act for the person."),
    "proxy-ended": ("", "A role acting for the person ended with the person's death."),
    "proxy-age": ("", "Parental responsibility opens a record only until the young person is 16."),
    "lpa-not-applicable": (
        "",
        "A power of attorney or deputyship counts only once it is recorded that the person lacks capacity.",
    ),
    "safeguarding": ("", "Their role is suspended to keep somebody safe."),
    "uncomputable": (
        "",
        "The person left a consent that cannot be computed; until somebody has looked at it, the answer is no.",
    ),
    "explicit": ("The person said yes to this.", "The person said no to this."),
    "legal": (
        "",
        "The law restricts this: it opens only to a recipient whom the person names for exactly this kind of record.",
    ),
    "break-glass": (
        "It was opened as an emergency. The privacy officer is told, and so is the person unless that would endanger them.",
        "",
    ),
    "governed": ("", "The person shares with them only what they chose, and this is not part of it."),
    "ndoo": ("", "The person opted out of research and planning."),
    "implicit": ("", "The person has not said anything about this, and nothing else opens it to them."),
}
IMPLIED_WORDS: Final[Mapping[str, str]] = {
    "relationship": "They look after the person now, and this is shared for the person's own care unless they object.",
    "own data": "They wrote it or keep it themselves.",
    "invited": "It is a task or referral addressed to them, so they may read that one.",
    "contributor": "They are registered to add to people's records.",
    "team of record": "They looked after the person when the person died.",
    "urgent care": "They are an urgent care service, and this is what such a service may see without a relationship.",
    "treating clinician": "They are a clinician who asks for treatment.",
    "authorised use": "This service shares ordinary records for every authorised use.",
}
NO_PARTNER_WORDS: Final = "They are no partner of the agreement on sharing now, so a yes under it does not reach them."
ELSEWHERE: Final = "elsewhere"  # the rule of a no that is not the person's own to know
CHANGE: Final[Mapping[str, str]] = {
    "explicit": "The person can change this choice at any time.",
    "governed": "The person can add this to what they share.",
    "implicit": "A legitimate relationship or the person's own yes would change it.",
    "no-proxy-role": "A role given by the person or the law would change it.",
    "lpa-not-applicable": "A recorded loss of capacity would change it.",
    "uncomputable": "Correcting or ending that consent would change it.",
    "ndoo": "The person's yes to this very purpose would change it.",
    "legal": "A yes that names the recipient and this restriction would change it.",
}
IN_THE_VIEW: Final[Mapping[str, str]] = {
    CONTACT_VIEW: "They are shown the name and one way to get in touch, and not who and where the person is, unless the person opens that too.",
    LOCATION_VIEW: "Where the person is stays hidden: no address, telephone, practice or place.",
}


def explain(decision: Decision, changes: Iterable[str] = ()) -> str:
    """Why, in plain words, and what would change it: `changes` where they are known, else for a refusal what does as a rule."""
    more = list(changes)
    yes, no = WORDS.get(decision.basis, ("", ""))
    if decision.rule == ELSEWHERE:
        return "No. It is closed for now. Ask the service that keeps this record: they can look into it."
    if decision.permit:
        text = IMPLIED_WORDS.get(decision.rule, "") if decision.basis == "implicit" else yes
        lines = ["Yes.", text, *more]
    else:
        no = NO_PARTNER_WORDS if decision.rule == NO_PARTNER else no
        lines = ["No.", no, *(more or [CHANGE.get(decision.basis, "")])]
    lines += [text for duty, text in IN_THE_VIEW.items() if duty in decision.obligations]
    if decision.consent:
        version = f", version {decision.consent_version}" if decision.consent_version else ""
        where = f", {decision.rule}" if decision.rule.startswith("Consent.") else ""
        lines.append(f"This rests on the consent {decision.consent}{version}{where}.")
    return " ".join(x for x in lines if x)
