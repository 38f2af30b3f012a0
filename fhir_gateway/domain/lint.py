"""What in a computable consent may surprise the person who gives it (consent.md 1.4 and 1.6). Warnings: nothing is refused here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from . import strict
from .grants import Rule, walk
from .problem import Issue
from .provisions import Uncomputable, parse
from .slips import slips
from .vocabulary import SECTOR_SYSTEM


@dataclass(frozen=True, slots=True)
class Surprise:
    """One warning: a word for it, a sentence, and the FHIRPath of the rule it is about."""

    code: str
    text: str
    where: str = "Consent.provision"


def lint(consent: Mapping[str, Any]) -> list[Surprise]:
    """Everything that may surprise, in the order of the rules; empty when nothing may.

    `root-permit-criteria`: a grant that takes away implied access (line 12 of consent.md 1.2). `root-permit`: everybody sees all
    the rest. `only-named`. `no-ends`: an objection with an end re-opens the record. `nobody-named`: a yes to everybody.
    `slip`: it says less than it seems to (kept before such were refused). `uncomputable`.
    """
    try:
        grant = parse(consent, "", 0)
    except Uncomputable as wrong:
        return [Surprise("uncomputable", f"This consent cannot be computed: {wrong}", wrong.where)]
    wrong_spelt = [Surprise("slip", f"Part of this has no effect as it is written: {s.text}", s.where) for s in slips(consent)]
    if grant.proxy:
        return wrong_spelt
    return [*wrong_spelt, *_root(grant.root), *_ends(grant.root), *_open(grant.root)]


LOOKED_UP: Final = ("Organization/", "Practitioner/", "PractitionerRole/", "HealthcareService/", "CareTeam/", "Group/", "RelatedPerson/", "Patient/", "Device/")


def named(consent: Mapping[str, Any]) -> list[Surprise]:
    """Everybody of the directory, every team, relative and system, whom its rules name, authors too, as a warning for where they are not here.

    `code` is `Type/id`, or `system|value` of an identifier."""
    try:
        grant = parse(consent, "", 0)
    except Uncomputable:
        return []
    return [
        Surprise(name, f"`{name[:80]}` is somebody we do not know: it {'closes' if rule.type == 'deny' else 'opens'} nothing for anybody yet.", f"{rule.path}.{part}")
        for rule in walk(grant.root) for part, several in (("actor", rule.who | rule.custodians), ("data", rule.authored)) for name in sorted(several)
        if name.startswith(LOOKED_UP) or ("|" in name and not name.startswith(f"{SECTOR_SYSTEM}|"))
    ]  # fmt: skip


def warnings(raw: bytes | None) -> list[Issue]:
    """The same of a resource as stored, as warnings of an OperationOutcome; none of what is no Consent."""
    if raw is None or b'"Consent"' not in raw:
        return []
    resource = strict.decode(raw)
    found = lint(resource) if resource.get("resourceType") == "Consent" and resource.get("status") == "active" else []
    return [Issue("warning", "business-rule", s.where, s.text, s.code) for s in found]


def _root(root: Rule) -> Iterator[Surprise]:
    if root.type == "permit" and (root.what or root.who or root.said or root.actions):
        yield Surprise("root-permit-criteria", "Whoever this names will see only what it names: what they see now without your asking would end.")
    elif root.type == "permit":
        yield Surprise("root-permit", "This lets anyone see everything that it does not take out again.")
    elif root.type == "deny" and not (root.what or root.who or root.said or root.actions):
        yield Surprise("only-named", "Only the people named in it will see anything, except in an emergency.")


def _ends(root: Rule) -> Iterator[Surprise]:
    """A no that is over is no more: what it closed is open again."""
    if root.high is not None and root.type != "deny" and any(r.type == "deny" for r in walk(root)):
        yield Surprise("no-ends", "This has an end, and with it every no in it: after that day the record opens again.", "Consent.provision.period")
        return
    for rule in walk(root):
        if rule.type == "deny" and rule.high is not None:
            yield Surprise("no-ends", "A no in it has an end: after that day the record opens again.", f"{rule.path}.period")


def _open(root: Rule) -> Iterator[Surprise]:
    for rule in root.rules:
        if rule.type == "permit" and not rule.who and not any(r.who for r in walk(rule)) and not root.who:
            yield Surprise("nobody-named", "A yes in it names nobody: it holds for everybody who can sign in.", rule.path)


__all__ = ["Surprise", "lint", "named", "warnings"]
