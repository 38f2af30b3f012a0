"""Who may say what in a Consent: nobody opens a record to themselves (leak list L51).

Only the person may do with their consents as they like. Anybody else who writes one, or changes one, may gain nothing by it:
what the consent says *to the writer* may become narrower and never wider. `widens` is that question, about the tree as the writer
meets it; `Circle` is whom "the writer" means. consent.md 1.4, 1.7; https://hl7.org/fhir/R4/consent.html
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from .directory import Directory
from .grants import Grant, Rule, walk
from .periods import covers
from .standing import named_by
from .types import Actor
from .vocabulary import OURS, ROLE_AT, SECTOR_SYSTEM

SUPERSEDES: Final = f"{OURS}/StructureDefinition/consent-supersedes"  # on a new Consent: the one that ends with it
PRESENT: Final = f"{OURS}/StructureDefinition/consent-present"  # on a verification: who was there
LONGEST: Final = 500  # characters of evidence
SHARING_PREFERENCES: Final = f"{OURS}/id/sharing-preferences"  # identifier system of the one consent that our pages keep
TEAMS: Final = ("CareTeam", "Group")

Mine = Callable[[str], bool]


# -- whom a writer must not name --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Circle:
    """A writer and everybody they could be: their own names, every organisation they work for with all above and below it,
    its people, roles, services and sectors, and the teams and groups that any of these are in."""

    names: frozenset[str]
    family: frozenset[str]
    directory: Directory
    at: int
    teams: frozenset[str] = frozenset()

    def holds(self, name: str) -> bool:
        """Is this name theirs, or might it be."""
        if name in self.names or name in self.teams:
            return True
        if name.startswith(f"{ROLE_AT}|"):
            place = self.directory.find(name.removeprefix(f"{ROLE_AT}|").split(" ", 1)[0])
            return place is None or place in self.family
        return not self.family.isdisjoint(self.directory.organisations_of(name, self.at))

    def knows(self, name: str) -> bool:
        """Is it somebody of whom an operator has confirmed who they are: a stranger could turn out to be the writer."""
        d = self.directory
        if name.startswith((f"{SECTOR_SYSTEM}|", f"{ROLE_AT}|", "CareTeam/")):
            return True
        if name.startswith("Group/"):
            members = d.groups[name].members if name in d.groups else ()  # one without, or switched off, could come to hold the writer
            return bool(members) and all(self.knows(m.name) for m in members)
        if name.startswith("Organization/"):
            here = d.organisations.get(name)
            return here is not None and here.confirmed
        return bool(d.organisations_of(name, self.at))


def circle(actor: Actor, directory: Directory, at: int, teams: Mapping[str, Mapping[str, Any]] | None = None) -> Circle:
    """The circle of a professional; `teams` are the person's CareTeams by reference, as they are now."""
    homes = {actor.organisation} if actor.organisation else set()
    for name in actor.ids:
        if name.startswith(("Practitioner/", "PractitionerRole/")):
            homes |= directory.organisations_of(name, at)
    known = {o: directory.ancestors(o) for o in {*directory.organisations, *homes}}
    above = {a for home in homes for a in known[home]}
    family = frozenset(above | {o for o, line in known.items() if homes & set(line)})
    sectors = {f"{SECTOR_SYSTEM}|{s}" for s in (directory.sector(o) for o in family) if s}
    alone = Circle(actor.ids | {actor.user} | sectors, family, directory, at)
    mine = {ref for ref, team in (teams or {}).items() if any(alone.holds(n) for n in _members(team))}
    mine |= {ref for ref, group in directory.groups.items() if any(alone.holds(m.name) for m in group.members)}
    return replace(alone, teams=frozenset(mine))


def _members(team: Mapping[str, Any]) -> set[str]:
    parts = (named_by(p.get(key)) for p in team.get("participant", ()) for key in ("member", "onBehalfOf"))
    return {n for names in (*parts, *(named_by(o) for o in team.get("managingOrganization", ()))) for n in names}


def myself(actor: Actor) -> Mine:
    """The circle of somebody who acts for the person: themselves, and nobody else's kin or team can be told apart."""
    return lambda name: name in actor.ids or name == actor.user or name.split("/")[0] in ("RelatedPerson", *TEAMS)


# -- what a consent says to them --------------------------------------------------------------------------------------


def said_to(rule: Rule, mine: Mine) -> Rule | None:
    """The rule and what is in it as far as it may speak to the writer; None when it names only others."""
    names = frozenset(n for n in rule.who if mine(n))
    if rule.who and not names:
        return None
    inner = tuple(r for r in (said_to(r, mine) for r in rule.rules) if r is not None)
    return replace(rule, who=names, rules=inner, path="", id="")


def widens(before: Grant | None, after: Grant | None, mine: Mine, *, acting: bool = False) -> str:
    """Where (FHIRPath) a change of one consent could open anything to the writer; "" when it cannot.

    In a silent root rules stand side by side: permits may go and denies may come, as long as nothing of the other kind is in them.
    In a typed root everything hangs together, so what it says to the writer stays as it is. `acting`: the writer acts for the person.
    To them a bare root deny ("only the people I name") says nothing: only a no that names them or a thing closes anything to a proxy.
    """
    was, will = _spoken(before, mine, acting), _spoken(after, mine, acting)
    if was == will and _kind(before) == _kind(after):
        return ""
    if before is not None and before.speaks() and after is not None and after.speaks() and _kind(before) != _kind(after):
        return "Consent.scope"
    if (was is None or not was.type) and (will is None or not will.type):
        return _beside(was, will)
    if was is None and will is not None and will.type == "deny" and _purely("deny", will):
        return ""
    return "Consent.provision"


def _kind(grant: Grant | None) -> tuple[str, str] | None:
    return (grant.scope, grant.proxy) if grant is not None and grant.speaks() else None


def _spoken(grant: Grant | None, mine: Mine, acting: bool) -> Rule | None:
    """None where it says nothing to them."""
    if grant is None or not grant.speaks():
        return None
    root = said_to(grant.root, mine)
    if acting and root is not None and root == Rule("deny", "", rules=root.rules):
        root = replace(root, type="")
    return root if root is not None and (root.type or root.rules) else None


def _beside(was: Rule | None, will: Rule | None) -> str:
    old, new = (was.rules if was else ()), (will.rules if will else ())
    if was is not None and will is not None and (was.low, was.high) != (will.low, will.high):
        return "Consent.provision.period"
    for i, rule in enumerate(new):
        if rule not in old and not _purely("deny", rule):
            return f"Consent.provision.provision[{i}]"
    gone = [r for r in old if r not in new]
    return "" if all(_purely("permit", r) for r in gone) else "Consent.provision.provision"


def _purely(type: str, rule: Rule) -> bool:
    return all(r.type == type for r in walk(rule))


def opens_to(grant: Grant) -> frozenset[str]:
    """Everybody whom some permit in it names."""
    return frozenset().union(*(r.who for r in walk(grant.root) if r.type == "permit"))


def only_closes(grant: Grant) -> bool:
    """Can this consent open nothing to anyone: no permit anywhere, and no role of a proxy."""
    return not grant.proxy and all(r.type != "permit" for r in walk(grant.root))


# -- what stands beside the rules -------------------------------------------------------------------------------------


def superseded(consent: Mapping[str, Any], before: Mapping[str, Any] | None = None) -> list[str]:
    """`Consent/…` that this one takes the place of by being written now, by the extension `consent-supersedes`.

    Over a version before it only those that are named anew, or all where it becomes active: the others have ended already.
    """
    names = _named_as_ended(consent)
    if before and (before.get("status") == "active" or consent.get("status") != "active"):
        names -= _named_as_ended(before)
    return sorted(names)


def _named_as_ended(consent: Mapping[str, Any]) -> set[str]:
    named = (named_by(e.get("valueReference")) for e in consent.get("extension", ()) if e.get("url") == SUPERSEDES)
    return {n for names in named for n in names if n.startswith("Consent/")}


def heard(grant: Grant, at: int) -> list[Rule]:
    """The rules that say something by themselves at this instant: the root where it has a type, else those directly in it."""
    if not grant.in_force(at):
        return []
    rules = (grant.root,) if grant.root.type else grant.root.rules
    return [r for r in rules if covers(r.low, r.high, at)]


def kept_by_pages(consent: Mapping[str, Any]) -> bool:
    """Is this the one consent of a person that our pages keep, and does it hold now."""
    return consent.get("status") == "active" and any(i.get("system") == SHARING_PREFERENCES for i in consent.get("identifier", ()))


def given_by(consent: Mapping[str, Any]) -> frozenset[str]:
    """Who gave it, as it says (`performer`)."""
    return frozenset().union(*(named_by(p) or {""} for p in consent.get("performer", ())))


def unverified(consent: Mapping[str, Any], giver: str, today: str) -> tuple[str, str] | None:
    """What is missing where staff write down a consent that somebody gave them: (where, sentence); None when nothing is.

    Exactly one `verification`: `verified` true, `verifiedWith` who gave it, `verificationDate` of today or before (`today`: YYYY-MM-DD),
    and at least one extension `consent-present`, each naming somebody who was there.
    """
    checks = consent.get("verification", [])
    if len(checks) != 1:
        return "Consent.verification", "Say once how you checked it: `verified`, `verifiedWith` and `verificationDate`."
    (check,) = checks
    if check.get("verified") is not True:
        return "Consent.verification[0].verified", "A consent that was not checked is not recorded."
    if named_by(check.get("verifiedWith")) != {giver}:
        return "Consent.verification[0].verifiedWith", "It is checked with whoever gives it: the same as `performer`."
    date = str(check.get("verificationDate", ""))[:10]
    if len(date) < 10 or date > today:
        return "Consent.verification[0].verificationDate", "Say the day on which you checked it; it is not in the future."
    there = [e.get("valueReference") or {} for e in check.get("extension", ()) if e.get("url") == PRESENT]
    if not there or not all(named_by(who) or str(who.get("display", "")).strip() for who in there):
        return "Consent.verification[0].extension", f"Say who was present when it was checked, each in an extension `{PRESENT}` (the person, where nobody else was)."
    return None


def evidence(consent: Mapping[str, Any]) -> str:
    """What staff were shown for a role that they recorded: who found it out, when and how (`sourceAttachment.title`)."""
    return str((consent.get("sourceAttachment") or {}).get("title", "")).strip()


def unproven(consent: Mapping[str, Any]) -> tuple[str, str] | None:
    """What is missing where staff record a role without saying what they were shown: (where, sentence); None when nothing is."""
    if 0 < len(evidence(consent)) <= LONGEST:
        return None
    return "Consent.sourceAttachment.title", f"Say who found out that they act for the person, when and how (at most {LONGEST} characters)."


__all__ = [
    "LONGEST", "PRESENT", "SHARING_PREFERENCES", "SUPERSEDES", "Circle", "circle", "evidence", "given_by", "heard", "kept_by_pages",
    "myself", "only_closes", "opens_to", "said_to", "superseded", "unproven", "unverified", "widens",
]  # fmt: skip
