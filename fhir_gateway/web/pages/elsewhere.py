"""A choice that was not made on these pages, in plain words: no code stands where a person reads. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ...domain.grants import Rule
from ...domain.periods import instant
from .things import plural, private_words
from .words import _, day

FOR: Mapping[str, str] = {  # http://terminology.hl7.org/CodeSystem/v3-ActReason
    "TREAT": "To care for you", "CAREMGT": "To plan your care", "COC": "To hand over your care", "ETREAT": "In an emergency",
    "BTG": "In an emergency", "HRESCH": "For research", "CLINTRCH": "For research", "HPAYMT": "For payment", "HOPERAT": "To run the service",
    "PATADMIN": "To run the service", "PUBHLTH": "For public health", "PATRQT": "When you ask for it", "FAMRQT": "When your family asks for it",
    "HMARKT": "For advertising", "HDIRECT": "For a list of people", "HQUALIMP": "To make the service better", "HCOMPL": "To keep the law",
    "HLEGAL": "For a court", "DISASTER": "In a disaster", "THREAT": "When there is a danger", "MEMADMIN": "To run the service",
}  # fmt: skip
DOING: Mapping[str, str] = {"access": "to read", "collect": "to add", "correct": "to change", "disclose": "to pass on"}
UP_TO: tuple[str, ...] = (  # a yes, by the highest level of U L M N R V; a no, by the lowest
    "Only what is not private at all", "Only what is hardly private", "Only what is not marked as private",
    "Only what is not marked as private", "Also what is marked as private", "Also what is marked as most private",
)  # fmt: skip
FROM: tuple[str, ...] = (
    "What is private or not", "What is at least a little private", "What is private as most records are, or more",
    "What is private as most records are, or more", "What is marked as private", "What is marked as most private",
)  # fmt: skip


def what(rules: Iterable[Rule], called: Mapping[str, str], known: Mapping[str, str], named: Mapping[str, str]) -> str:
    """What these rules speak of, a line each. `called`: words of codes; `known`: names of people; `named`: titles of things."""
    return "\n".join(dict.fromkeys(", ".join(dict.fromkeys(_parts(r, called, known, named))) or _("Everything") for r in rules))


def _parts(rule: Rule, called: Mapping[str, str], known: Mapping[str, str], named: Mapping[str, str]) -> Iterator[str]:
    somebody = _("somebody we have no name for")
    yield from (plural(t) for t in sorted(rule.types))
    yield from (_("Things of one kind, which is not described") for _p in rule.profiles)
    yield from (called.get(c) or _("Things with a code, which is not described") for c in sorted(rule.codes))
    yield from (named.get(i) or _("One thing in your record") for i in sorted(rule.instances))
    yield from (_("What belongs to: {name}").format(name=named.get(i) or _("one thing in your record")) for i in sorted(rule.related))
    yield from (_("What was written by {who}").format(who=known.get(a) or somebody) for a in sorted(rule.authored))
    yield from (_("What is kept by {who}").format(who=known.get(c) or somebody) for c in sorted(rule.custodians))
    if rule.labels is not None:
        marks = sorted(rule.labels.sensitivity | rule.labels.legal)
        if marks:
            yield _("Private things: {labels}").format(labels=private_words({m.rpartition("|")[2] for m in marks}, True))
        if rule.labels.level is not None:
            yield _((FROM if rule.type == "deny" else UP_TO)[rule.labels.level])
    if rule.dated:
        first, last = (day(instant(at)) if at is not None else "" for at in (rule.data_low, rule.data_high))
        yield _("What is dated from {first} to {last}").format(first=first or _("the beginning"), last=last or _("now"))
    if rule.actions:
        yield _("Only {doing}").format(doing=", ".join(_(DOING.get(a, "for something that is not described")) for a in sorted(rule.actions)))


def why(rules: Iterable[Rule]) -> str:
    """What for: each purpose as it was written, in words."""
    codes = sorted({p.rpartition("|")[2] for r in rules for p in r.said})
    return ", ".join(dict.fromkeys(_(FOR.get(c, "For a reason that is not described")) for c in codes))


def codes(rules: Iterable[Rule], called: Mapping[str, str]) -> list[str]:
    """What has no words here, as it was written: for whoever asks a professional about it."""
    found = {c for r in rules for c in (*r.codes, *r.profiles) if not called.get(c)}
    return sorted(found | {p for r in rules for p in r.said if p.rpartition("|")[2] not in FOR})


def described(consent: Any) -> dict[str, str]:
    """`system|code` to words, for each code of this consent that comes with some."""
    out: dict[str, str] = {}
    waiting: list[Any] = [consent]
    while waiting:
        node = waiting.pop()
        if isinstance(node, Mapping):
            text, codings = str(node.get("text") or ""), node.get("coding")
            for c in codings if isinstance(codings, list) else [node]:
                if isinstance(c, Mapping) and isinstance(c.get("code"), str) and isinstance(c.get("system"), str):
                    words = str(c.get("display") or text)
                    if words:
                        out.setdefault(f"{c['system']}|{c['code']}", words)
            waiting += node.values()
        elif isinstance(node, list):
            waiting += node
    return out


__all__ = ["codes", "described", "what", "why"]
