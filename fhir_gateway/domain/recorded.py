"""What is recorded about a person and decides: opt-out, lost capacity, silence for their safety, suspended proxies, links.

Kept as extensions and `link` on the Patient (https://hl7.org/fhir/R4/patient.html#link), so that a change is a version, moves the
epoch and is seen in history. Whoever edits a Patient leaves them as they are, but for what they may record themselves.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from .standing import FACTS, named_by

OPT_OUT: Final = "national-data-opt-out"
CAPACITY_LOST: Final = "capacity-lost"
NO_NOTIFY: Final = "no-notify"
SAFEGUARDING: Final = "safeguarding-proxy"
FLAGS: Final = (OPT_OUT, CAPACITY_LOST, NO_NOTIFY)
NAMES: Final = (*FLAGS, SAFEGUARDING)
TOLD: Final = (OPT_OUT, CAPACITY_LOST)  # the rest is silent for somebody's safety
LINKS: Final[Mapping[str, str]] = {  # the type on one side -> the type on the other
    "replaces": "replaced-by", "replaced-by": "replaces", "seealso": "seealso", "refer": "seealso",
}  # fmt: skip
WORDS: Final[Mapping[str, str]] = {
    OPT_OUT: "that the person opted out of research and planning", CAPACITY_LOST: "that the person lacks capacity",
    NO_NOTIFY: "that telling the person would endanger them", SAFEGUARDING: "whose role is suspended to keep somebody safe",
}  # fmt: skip


def written(name: str, on: bool, who: str = "", evidence: str = "") -> str:
    """How the trail says that a fact was recorded, or ended, and by what evidence."""
    return f"{name} {'recorded' if on else 'ended'}{f' of {who}' if who else ''}{f': {evidence}' if evidence else ''}"


def told(detail: str) -> tuple[str, str]:
    """What the person is told of a row that recorded something: (`NAME recorded` or `NAME ended`, the evidence).

    ("", "") for what is kept from them for somebody's safety, and for what is no fact about them.
    """
    said, _, evidence = detail.partition(": ")[2].partition(": ")
    name, _, did = said.partition(" ")
    return (said, evidence) if name in TOLD and did in ("recorded", "ended") else ("", "")


def facts(patient: Mapping[str, Any]) -> set[tuple[str, str]]:
    """What is recorded: (name, whom it names or "")."""
    out = set()
    for extension in patient.get("extension", ()):
        name = str(extension.get("url", "")).removeprefix(FACTS)
        if name == SAFEGUARDING:
            out |= {(name, who) for who in named_by(extension.get("valueReference"))}
        elif name in FLAGS and extension.get("valueBoolean") is True:
            out.add((name, ""))
    return out


def links(patient: Mapping[str, Any]) -> set[tuple[str, str]]:
    """(type, other) of its links."""
    return {(str(k.get("type")), o) for k in patient.get("link", ()) for o in (named_by(k.get("other")) or {""})}


def not_theirs(before: Mapping[str, Any], after: Mapping[str, Any], *, may: frozenset[str], held: frozenset[str] = frozenset()) -> tuple[str, str] | None:
    """(where, sentence) for a fact or link that this edit changes and its writer may not.

    `may` holds what they may: `NAME` both ways, `+NAME` only to add, `link`; links to `held` (an operator's) stay.
    """
    was, now = facts(before), facts(after)
    for name, _ in sorted(was - now):
        if name not in may:
            return "Patient.extension", f"It is recorded here {WORDS[name]}: leave that as it is."
    for name, _ in sorted(now - was):
        if name not in may and f"+{name}" not in may:
            return "Patient.extension", f"You cannot record here {WORDS[name]}."
    parted = {other for _, other in links(before) - links(after)}
    if links(before) != links(after) and ("link" not in may or not held.isdisjoint(parted)):
        return "Patient.link", "Which records are the same person's is recorded by an operator: leave `link` as it is."
    return None


def with_flag(patient: Mapping[str, Any], name: str, on: bool) -> dict[str, Any]:
    """The Patient with this flag set or gone."""
    return _with_extensions(patient, [e for e in patient.get("extension", ()) if e.get("url") != FACTS + name], [{"url": FACTS + name, "valueBoolean": True}] if on else [])


def with_suspended(patient: Mapping[str, Any], proxy: str, on: bool) -> dict[str, Any]:
    """The Patient with this proxy suspended, or no more."""

    def same(e: Mapping[str, Any]) -> bool:
        return e.get("url") == FACTS + SAFEGUARDING and proxy in named_by(e.get("valueReference"))

    more = [{"url": FACTS + SAFEGUARDING, "valueReference": {"reference": proxy}}] if on else []
    return _with_extensions(patient, [e for e in patient.get("extension", ()) if not same(e)], more)


def _with_extensions(patient: Mapping[str, Any], kept: list[Any], more: list[dict[str, Any]]) -> dict[str, Any]:
    out = {k: v for k, v in patient.items() if k != "extension"}
    return {**out, "extension": [*kept, *more]} if kept or more else out


def with_link(patient: Mapping[str, Any], other: str, type: str) -> dict[str, Any]:
    """The Patient with one link to `other` (`Patient/…`), of this type; `type` "" takes it away."""
    kept = [k for k in patient.get("link", ()) if other not in named_by(k.get("other"))]
    more = [{"other": {"reference": other}, "type": type}] if type else []
    out = {k: v for k, v in patient.items() if k != "link"}
    return {**out, "link": [*kept, *more]} if kept or more else out


__all__ = [
    "CAPACITY_LOST", "FLAGS", "LINKS", "NAMES", "NO_NOTIFY", "OPT_OUT", "SAFEGUARDING", "TOLD", "WORDS", "facts", "links", "not_theirs", "told",
    "with_flag", "with_link", "with_suspended", "written",
]  # fmt: skip
