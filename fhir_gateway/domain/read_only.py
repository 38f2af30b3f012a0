"""Who may read and not write, by the deployment's own word: a hospital reads summaries of social care, say, and changes none of them.

It takes away and gives nothing: roles and scopes come before consent, and consent only narrows what they allow. docs/consents.md
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from .directory import ODS_CODE, Directory
from .types import Facts
from .vocabulary import ROLE_SYSTEM, SECTOR_CODES, SECTOR_SYSTEM


@dataclass(frozen=True, slots=True)
class ReadOnly:
    """Whoever goes by `name` (of those, where `job` is said, who have that job there) writes none of `types`, made by the sector `of` where one is said."""

    name: str
    types: frozenset[str]
    job: str = ""
    of: str = ""


def parse(text: str) -> tuple[ReadOnly, ...]:
    """`D82001=Task,Goal of social-care; gp@RX1=Task`. ValueError says what is wrong.

    Whom: an ODS code, a reference (`Organization/1`) or a sector; before `@` a job of theirs.
    """
    return tuple(_rule(part) for part in filter(None, (p.strip() for p in text.split(";"))))


def _rule(part: str) -> ReadOnly:
    whom, divides, what = (w.strip() for w in part.partition("="))
    types, _, of = (w.strip() for w in what.partition(" of "))
    job, at, place = whom.rpartition("@")
    named = frozenset(t.strip() for t in types.split(",") if t.strip())
    if not divides or not place or not named or (at and not job) or (what.endswith(" of") or (" of " in f"{what} " and not of)):
        raise ValueError(f"`{part[:60]}` must be WHO=TYPE,TYPE or WHO=TYPE of SECTOR; several are parted by semicolons")
    if odd := next((t for t in sorted(named) if not (t.isalpha() and t[0].isupper())), None):
        raise ValueError(f"`{odd[:60]}` is no type of resource, such as Task")
    if of and of not in SECTOR_CODES:
        raise ValueError(f"`{of[:60]}` is no sector: {', '.join(sorted(SECTOR_CODES))}")
    name = place if "/" in place else f"{SECTOR_SYSTEM}|{place}" if place in SECTOR_CODES else f"{ODS_CODE}|{place}"
    return ReadOnly(name, named, f"{ROLE_SYSTEM}|{job}" if job else "", of)


def refuses(rules: Iterable[ReadOnly], names: frozenset[str], facts: Facts, directory: Directory) -> bool:
    """Is this one of the things that somebody who goes by these names reads and does not write. What is new was made by the writer."""
    jobs = frozenset[str]().union(*(directory.roles[n].codes for n in names if n in directory.roles))
    made_by = {directory.sector(o) for o in facts.origin or () if o.startswith("Organization/")}
    return any(
        r.name in names and facts.type in r.types and (not r.job or r.job in jobs) and (not r.of or r.of in made_by) for r in rules
    )


__all__ = ["ReadOnly", "parse", "refuses"]
