"""Why somebody can see something, or cannot, said to the person whose record it is; and what would change that. Pure."""

from __future__ import annotations

from ...domain.types import Decision, Facts
from ...domain.vocabulary import NO_PARTNER
from .things import private_words
from .words import _

YES: dict[str, str] = {  # by the basis of a decision
    "no-patient-data": "It holds nothing about you.",
    "self": "It is your own record.",
    "proxy": "They act for you.",
    "explicit": "You said yes to this.",
    "break-glass": "They said it was an emergency. You are told each time.",
}
IMPLIED: dict[str, str] = {  # by the rule of the default policy
    "relationship": "They look after you, and what is not marked as private is shared for your care unless you say no.",
    "own data": "They wrote it or keep it themselves.",
    "invited": "It is something they were asked to do for you, so they may read that one thing.",
    "contributor": "They may add to people's records.",
    "team of record": "They looked after you.",
    "urgent care": "They are an urgent care service. Such a service may see what helps in an emergency.",
    "treating clinician": "They are a clinician who treats you.",
    "authorised use": "This service shares what is not marked as private with everybody who works with it.",
}
NO: dict[str, str] = {
    "rbac": "Their sign-in does not allow it.",
    "no-read-no-update": "Who may not see something may not change it.",
    "refrain": "It is marked as not to be shown until somebody has talked it over with you.",
    "other-patient": "It is somebody else's record.",
    "no-proxy-role": "They have no role that lets them act for you now.",
    "proxy-ended": "Their time to act has ended.",
    "proxy-age": "A parent can see a young person's record only until they are 16.",
    "lpa-not-applicable": "They may act for you only when it is written down that you can no longer decide yourself.",
    "safeguarding": "It is stopped to keep somebody safe.",
    "uncomputable": "One of your choices cannot be understood. Until somebody has looked at it we say no.",
    "explicit": "You said no to this.",
    "legal": "The law closes it. It opens only to somebody whom you name for exactly this.",
    "governed": "You share with them only what you chose, and this is not part of it.",
    "ndoo": "You opted out of research and planning.",
    "implicit": "You have not shared it with them, and they do not look after you.",
}
PRIVATE = "It is marked as private ({marks}), and you have not said yes to that."
OUTSIDE = "They are not a partner of the agreement on sharing now, so your yes does not reach them."
ONLY_NAMED = "You chose that only the people you name may see your plan."
NEXT: dict[str, str] = {  # what would turn the answer round: `supposing.TEXT`, said to the person
    "take-back": "If you take back your no, they can see it.",
    "take-back-all": "If you take back every no that hides it from them, they can see it. One alone does not do it.",
    "say-yes": "If you share it with them, they can see it.",
    "say-no": "If you say no to them, they cannot see it any more, except in an emergency.",
    "say-no-always": "If you say no to them, they cannot see it any more.",
    "stop": "If you stop that choice, they cannot see it any more.",
    "stop-remains": "If you stop that choice alone, they can still see it, for another reason as well.",
    "end-role": "If you end their role, they cannot see it any more.",
    "relationship": "If they come to look after you, they can see it.",
    "clinician": "If they sign in as a clinician, they can see it.",
    "treatment": "If they ask for your own care, they can see it.",
    "emergency": "In an emergency they can still look, if their job lets them and they say why. You would be told.",
}
GUESSED = "We do not know how they sign in. This is what we know of them."


TEAM = "You have not shared it with them as a team. A member who looks after you may still see it."


def because(decision: Decision, facts: Facts | None = None, *, only_named: bool = False, team: bool = False) -> str:
    """One or two sentences. `facts` says how the thing is marked; `only_named`: the person chose that for everybody; `team`: it
    is said of a team, which sees nothing but what is shared with it: its members may see more, each for themselves."""
    if decision.permit:
        if decision.basis == "implicit":
            return _(IMPLIED.get(decision.rule, "They look after you."))
        return _(YES.get(decision.basis, "You said yes to this."))
    if decision.rule == NO_PARTNER:
        return _(OUTSIDE)
    if decision.basis == "explicit" and only_named and decision.rule == "Consent.provision":
        return _(ONLY_NAMED)
    marks = private_words(facts.sensitivity, facts.confidentiality in ("R", "V")) if facts else ""
    if decision.basis in ("implicit", "governed") and marks:
        return _(PRIVATE).format(marks=marks)
    if decision.basis == "implicit" and team:
        return _(TEAM)
    return _(NO.get(decision.basis, "Nobody said yes to this."))


__all__ = ["GUESSED", "IMPLIED", "NEXT", "NO", "OUTSIDE", "YES", "because"]
