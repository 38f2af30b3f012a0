"""What if: the same decision under a consent that is not saved, another sign-in, one more relationship.

Nothing here decides: each supposition is put to `consent.decide`, so that what is said would change an answer does change it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any, Final

from .building import read_consent
from .consent import decide, direct_care
from .descendants import widened
from .emergencies import GROUNDS
from .grants import Grant, Labels, Rule, walk
from .problem import Problem
from .standing import Broken, Relationship, Standing
from .types import CONFIDENTIALITY, Ask, BreakGlass, Decision, Facts
from .vocabulary import ACT_REASON, EMERGENCY

MOST: Final = 50  # choices that are supposed to be taken back together
CANDIDATE: Final = "candidate"  # the id of a consent that is not saved

# A word for each thing that could change an answer; in words: `TEXT`, and for the person's own page in `web.pages.because`
TEXT: Final[Mapping[str, str]] = {
    "take-back": "Taking that no back would open it to them.",
    "take-back-all": "Taking every no back that closes it to them would open it; taking one alone would not.",
    "say-yes": "A yes of the person that names them and this would open it.",
    "say-no": "A no of the person that names them would close it, except in an emergency.",
    "say-no-always": "A no of the person that names them would close it.",
    "stop": "Stopping that choice would close it to them.",
    "stop-remains": "Stopping that choice alone would not close it: something else opens it to them as well.",
    "end-role": "Ending their role would close it to them.",
    "relationship": "If they came to look after the person, they could.",
    "clinician": "If they sign in as a clinician, they could.",
    "treatment": "If they asked for the person's own care, they could.",
    "emergency": "In an emergency, if their sign-in has the right to break the glass, they could look by saying why; the person would be told.",
}


def supposed(standing: Standing, body: Mapping[str, Any], replaces: str | None = None) -> Standing:
    """The standing as if this consent were saved, in the place of the one with id `replaces` if there is one.

    Problem business-rule when it cannot be computed: it could not be saved either.
    """
    found = read_consent(body, replaces or CANDIDATE, 0)
    if isinstance(found, Broken) and found.where:
        raise Problem("business-rule", f"This consent cannot be computed, so it cannot be kept: {found.where}: {found.why}", found.where)
    grants = tuple(g for g in standing.grants if g.id != replaces)
    if isinstance(found, Grant) and found.speaks():
        grants = tuple(sorted((*grants, widened(found, standing.policy.descendants)), key=lambda g: g.id))
    broken = tuple(b for b in standing.broken if b.id != replaces)
    return replace(standing, grants=grants, broken=broken)


def changes(ask: Ask, facts: Facts, standings: Mapping[str, Standing], decision: Decision, *, sure: bool = True) -> list[str]:
    """What would turn this very answer round: keys of TEXT, each tried. `sure`: the asker's roles are all that their sign-in gives."""
    if len(facts.patients) != 1 or facts.patients[0] not in standings or ask.actor.kind == "patient":
        return []
    return list(_closing(ask, facts, standings, decision, sure) if decision.permit else _opening(ask, facts, standings, decision, sure))


def _opening(ask: Ask, facts: Facts, standings: Mapping[str, Standing], decision: Decision, sure: bool) -> Iterator[str]:
    person = facts.patients[0]
    here = standings[person]

    def opens(standing: Standing = here, question: Ask = ask) -> bool:
        return decide(question, facts, {**standings, person: standing}).permit

    if decision.basis == "explicit":
        if opens(_without(here, decision.consent, decision.rule)):
            yield "take-back"
        elif opens(_without_noes(here, ask, facts, standings)):
            yield "take-back-all"
    elif decision.basis != "explicit" and ask.actor.kind != "proxy" and opens(_with_yes(here, ask, facts)):
        yield "say-yes"
    if ask.actor.kind not in ("professional", "system"):
        return
    if opens(replace(here, relationships=(*here.relationships, _looks_after(ask)))):
        yield "relationship"
    if not (ask.actor.clinician or sure) and opens(question=replace(ask, actor=replace(ask.actor, clinician=True))):
        yield "clinician"
    if not direct_care(ask) and opens(question=replace(ask, purpose="TREAT")):
        yield "treatment"
    if (ask.actor.btg_role or not sure) and opens(*in_emergency(here, ask)):
        yield "emergency"


def _closing(ask: Ask, facts: Facts, standings: Mapping[str, Standing], decision: Decision, sure: bool) -> Iterator[str]:
    person = facts.patients[0]
    here = standings[person]
    if decision.basis == "proxy":
        yield "end-role"
    elif decision.basis == "explicit":
        stays = decide(ask, facts, {**standings, person: _without(here, decision.consent, decision.rule)}).permit
        yield "stop-remains" if stays else "stop"
    no = _rule("deny", ask)
    if ask.actor.kind != "proxy" and no is not None:
        denied = replace(here, grants=(*here.grants, Grant(CANDIDATE, 0, "active", no, patient=person)))
        if not decide(ask, facts, {**standings, person: denied}).permit:
            standing, asked = in_emergency(denied, ask)
            still = (ask.actor.btg_role or not sure) and ask.purpose not in EMERGENCY
            yield "say-no" if still and decide(asked, facts, {**standings, person: standing}).permit else "say-no-always"


def in_emergency(standing: Standing, ask: Ask) -> tuple[Standing, Ask]:
    """As somebody with the right to break the glass would ask it, having said why."""
    glass = BreakGlass("supposed", min(GROUNDS), ask.at + timedelta(hours=1), ask.actor.user, ask.actor.organisation)
    asked = replace(ask, actor=replace(ask.actor, btg_role=True), purpose="BTG", purpose_system=ACT_REASON)
    return replace(standing, emergencies=(*standing.emergencies, glass)), asked


def _without(standing: Standing, consent: str | None, path: str = "") -> Standing:
    """Without this consent, or without one rule of it and its siblings of the same choice."""
    if not path:
        return replace(standing, grants=tuple(g for g in standing.grants if g.id != consent))
    return replace(standing, grants=tuple(replace(g, root=_pruned(g.root, path)) if g.id == consent else g for g in standing.grants))


def _without_noes(standing: Standing, ask: Ask, facts: Facts, standings: Mapping[str, Standing]) -> Standing:
    """Without every choice that closes this to them, one after the other."""
    for _ in range(MOST):
        said = decide(ask, facts, {**standings, standing.patient: standing})
        if said.permit or said.basis != "explicit":
            break
        standing = _without(standing, said.consent, said.rule)
    return standing


def _pruned(root: Rule, path: str) -> Rule:
    gone = next((r.id.split(".")[0] for r in walk(root) if r.path == path), None)
    if root.path == path:
        return replace(root, type="", rules=())
    kept = (r for r in root.rules if r.path != path and not (gone and r.id.split(".")[0] == gone))
    return replace(root, rules=tuple(_pruned(r, path) for r in kept))


def _with_yes(standing: Standing, ask: Ask, facts: Facts) -> Standing:
    """As if the person had said yes to this one thing for this asker, its labels named."""
    yes = _rule("permit", ask, facts)
    if yes is None:
        return standing
    return replace(standing, grants=(*standing.grants, Grant(CANDIDATE, 0, "active", yes, patient=standing.patient)))


def _rule(type: Any, ask: Ask, facts: Facts | None = None) -> Rule | None:
    """A silent root with one rule that names the asker: for everything, or for one thing."""
    user = ask.actor.user
    if not user:
        return None
    labels = Labels(CONFIDENTIALITY["V"], facts.sensitivity, facts.legal) if facts and facts.legal else None
    instances = frozenset({f"{facts.type}/{facts.id}"}) if facts else frozenset()
    path = "Consent.provision.provision[0]"
    rule = Rule(type, path, who=frozenset({user}), instances=instances, labels=labels, what=bool(instances or labels),
                actions=frozenset({ask.action}))  # fmt: skip
    return Rule("", "Consent.provision", rules=(rule,))


def said_no(ask: Ask, facts: Facts, standings: Mapping[str, Standing]) -> bool:
    """Would this stay shut by the person's own choices though the asker came to look after them."""
    known = {p: replace(s, relationships=(*s.relationships, _looks_after(ask))) for p, s in standings.items()}
    decision = decide(ask, facts, known)
    return not decision.permit and decision.basis in ("explicit", "governed", "uncomputable")


def _looks_after(ask: Ask) -> Relationship:
    return Relationship(frozenset({ask.actor.user}), "claim", CANDIDATE, writer=ask.actor.user)


__all__ = ["CANDIDATE", "TEXT", "changes", "in_emergency", "said_no", "supposed"]
