"""Who comes to be let in because the directory changed: they joined an organisation, it was put in a sector, or became part of another. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from . import standing
from .directory import Directory
from .grants import Rule, walk
from .standing import Standing


def let_in(s: Standing, at: int) -> set[frozenset[str]]:
    """Under which names somebody is let in, now or later; `*` is anybody. Claims are told of by whoever takes them."""
    return looking_after(s, at) | consented(s, at)


def looking_after(s: Standing, at: int) -> set[frozenset[str]]:
    """Under which names somebody looks after the person, and so is let in."""
    return {
        r.names for r in s.relationships
        if r.origin != "claim" and r.counts and not_over(r.high, at) and (not r.consent_needed or standing.consented(s, r.names, at))
    }  # fmt: skip


def consented(s: Standing, at: int) -> set[frozenset[str]]:
    """Whom the person's consents let in by name; `*` when they let in anybody."""
    out: set[frozenset[str]] = set()
    for g in s.grants:
        if not g.speaks() or not not_over(g.root.high, at):
            continue
        if g.root.type == "permit" and not g.root.who:
            out.add(frozenset({"*"}))
        for rule in walk(g.root):
            if rule.type == "permit" and not_over(rule.high, at):
                out |= {frozenset({who}) for who in rule.who}
    return out


def not_over(high: int | None, at: int) -> bool:
    return high is None or high >= at


def movers(after: Directory, ref: str, body: Mapping[str, Any]) -> frozenset[str]:
    """Who may go by other names since this resource changed: practitioners and organisations."""
    kind = ref.split("/")[0]
    if kind == "PractitionerRole":
        target = (body.get("practitioner") or {}).get("reference")
        return frozenset({target}) if isinstance(target, str) and target.startswith("Practitioner/") else frozenset()
    if kind == "Practitioner":
        return frozenset({ref})
    if kind == "Group":
        group = after.groups.get(ref)
        return frozenset(who for m in (group.members if group else ()) for who in _members(after, m.name))
    return _at(after, ref) if kind == "Organization" else frozenset()


def _members(after: Directory, name: str) -> frozenset[str]:
    """Practitioners and organisations that one member of a group stands for."""
    if name.startswith("PractitionerRole/"):
        role = after.roles.get(name)
        return frozenset({role.practitioner}) if role and role.practitioner else frozenset()
    return _at(after, name) if name.startswith("Organization/") else frozenset({name})


def _at(after: Directory, ref: str) -> frozenset[str]:
    """An organisation with its parts, and who works there."""
    parts = frozenset(after.everyone_at(ref))
    return parts | {r.practitioner for r in after.roles.values() if r.organisation in parts and r.practitioner}


class Move(NamedTuple):
    """Somebody goes by a name that they did not go by: their names before, and now, a set for each place they may speak for."""

    was: frozenset[str]
    ways: tuple[frozenset[str], ...]


def moves(before: Directory, after: Directory, who: Iterable[str], at: int) -> list[Move]:
    """Of these whoever goes by a name that they did not go by."""
    both = (Move(before.names_of(ref, at), tuple(after.ways_of(ref, at))) for ref in who)
    return list(dict.fromkeys(m for m in both if frozenset().union(*m.ways) - m.was))


def refused(s: Standing, at: int) -> frozenset[str]:
    """To whom this person says no altogether, by name: a rule of its own about everything, now and from now on."""
    out = set[str]()
    for g in s.grants:
        top = (g.root, *g.root.rules) if not (g.root.who or g.root.what or g.root.purposes or g.root.actions) else (g.root,)
        for rule in top if g.speaks() and _lasts(g.root, at) else ():
            if rule.type == "deny" and not (rule.what or rule.purposes or rule.actions or rule.env or rule.rules) and _lasts(rule, at):
                out |= rule.who
    return frozenset(out)


def _lasts(rule: Rule, at: int) -> bool:
    return rule.high is None and (rule.low is None or rule.low <= at)


def lets_somebody_in(s: Standing, moved: Iterable[Move], at: int) -> bool:
    """Is one of these let in by a consent of this person under a name they go by only now, and was by no other.

    Who joins an organisation that looks after the person anyway, without a consent that names it, is no news: it was let in. Nor is
    somebody to whom the person says no.
    """
    named = frozenset().union(*consented(s, at))
    if "*" in named:
        return False
    named |= frozenset().union(*(r.names for r in s.relationships if r.team in named and r.counts))
    known, no = named | frozenset().union(*looking_after(s, at)), refused(s, at)
    return any(not m.was & known and any(way & named and not way & no for way in m.ways) for m in moved)


__all__ = ["Move", "let_in", "lets_somebody_in", "movers", "moves", "refused"]
