"""Would what is said of one thing be read by somebody who may not read it, once it stands in another. Pure. docs/partners.md"""

from __future__ import annotations

from collections.abc import Mapping

from .grants import Rule, walk
from .rules import VERY, speaks_of
from .standing import Standing
from .types import CONFIDENTIALITY, Facts


def opens(told: Facts, shown: Facts, standings: Mapping[str, Standing]) -> bool:
    """Do these people's consents tell `told` from `shown`, which is to say the same: does a no reach the first alone, or a yes the second alone,
    whoever it names and whenever it holds; or has the second fewer labels."""
    level, other = (CONFIDENTIALITY.get(f.confidentiality, VERY) for f in (told, shown))
    if other < level or not told.legal <= shown.legal or not told.other_labels <= shown.other_labels:
        return True
    return any(_tells_apart(rule, told, shown) for s in standings.values() for g in s.grants if g.speaks() for rule in walk(g.root))


def _tells_apart(rule: Rule, told: Facts, shown: Facts) -> bool:
    if rule.type == "deny":
        return speaks_of(rule, told, "deny") and not speaks_of(rule, shown, "deny")
    return rule.type == "permit" and speaks_of(rule, shown, "permit") and not speaks_of(rule, told, "permit")


__all__ = ["opens"]
