"""SMART scopes: what a token lets its bearer ask for at all. They never widen what consent allows.

https://hl7.org/fhir/smart-app-launch/STU2.2/scopes-and-launch-context.html
`patient/CarePlan.rs`, `user/*.cruds`, `system/Goal.r?category=x`; version 1 endings `.read`, `.write` and `.*` count as
their version 2 letters (rs, cud, cruds). What is no scope at all is ignored, as RFC 6749 3.3 and SMART allow.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import parse_qsl, quote

_SHAPE = re.compile(
    r"(?P<level>patient|user|system)/(?P<type>\*|[A-Z][A-Za-z]{1,63})\.(?P<may>read|write|\*|c?r?u?d?s?)(?:\?(?P<query>\S+))?"
)
_OTHER = re.compile(r"(openid|profile|fhirUser|offline_access|online_access|launch(/[a-z]+)?)(\?\S*)?")
_V1 = {"read": "rs", "write": "cud", "*": "cruds"}
# Of the parameters with an underscore only these choose resources; `_count` or `_include` would restrict nothing.
_CHOOSING = frozenset({"_id", "_lastUpdated", "_tag", "_profile", "_security", "_source"})

Restriction = tuple[tuple[str, str], ...]  # search parameters, all of which must match


@dataclass(frozen=True, slots=True)
class Scope:
    """One resource scope. `may` is a subset of "cruds" in that order; `query` restricts it as a search would."""

    level: str
    type: str  # a resource type or "*"
    may: str
    query: Restriction = ()

    def allows(self, interaction: str, type: str) -> bool:
        return interaction in self.may and self.type in ("*", type)

    def __str__(self) -> str:
        query = "&".join(f"{quote(k, safe=':._-')}={quote(v, safe='|/:,$._-')}" for k, v in self.query)
        return f"{self.level}/{self.type}.{self.may}{'?' + query if query else ''}"


@dataclass(frozen=True, slots=True)
class Scopes:
    """Everything one token was granted. `others` are openid, launch/patient, offline_access and their like."""

    resources: tuple[Scope, ...] = ()
    others: tuple[str, ...] = ()

    @classmethod
    def parse(cls, text: str) -> Scopes:
        """From a token's `scope` claim. Never raises; a word that is no scope grants nothing."""
        words = list(dict.fromkeys(text.split()))
        found = tuple(dict.fromkeys(s for w in words if (s := _scope(w)) is not None))
        return cls(found, tuple(w for w in words if _OTHER.fullmatch(w)))

    def covers(self, interaction: str, type: str) -> bool:
        """May this token be used for `interaction` (one of c r u d s; read is not search) on `type`?

        `type` "*" asks for every type at once, which only a wildcard scope covers.
        """
        return len(interaction) == 1 and any(s.allows(interaction, type) for s in self.resources)

    def restrictions(self, type: str, interaction: str) -> tuple[Restriction, ...]:
        """The searches of which a resource must match at least one; empty when some scope covers the type as a whole.

        Ask `covers` first: for what no scope covers this is empty too.
        """
        mine = [s.query for s in self.resources if s.allows(interaction, type)]
        return () if () in mine else tuple(dict.fromkeys(mine))

    @property
    def restricted(self) -> bool:
        """Is any of it for part of a type only."""
        return any(s.query for s in self.resources)

    @property
    def patient_bound(self) -> bool:
        """Only `patient/` scopes: the token is of no use without one person whom it was launched for."""
        return bool(self.resources) and all(s.level == "patient" for s in self.resources)

    def usable(self, system: bool, launched: bool) -> Scopes:
        """What of these means anything for who asks: `system/` for systems, `user/` for people, `patient/` where the token says whose.

        A token of another issuer may say all of them; a `patient/` scope for nobody in particular would open everybody.
        """
        levels = {"system"} if system else {"user", "patient"} if launched else {"user"}
        return Scopes(tuple(s for s in self.resources if s.level in levels), self.others)

    def narrow(self, most: Scopes) -> Scopes:
        """What both allow: never more than either."""
        both = (_meet(a, b) for a in self.resources for b in most.resources)
        return Scopes(_tidy(s for s in both if s is not None), tuple(o for o in self.others if o in most.others))

    def __str__(self) -> str:
        return " ".join([*self.others, *map(str, self.resources)])

    def __bool__(self) -> bool:
        return bool(self.resources or self.others)


def _scope(word: str) -> Scope | None:
    found = _SHAPE.fullmatch(word)
    if found is None or not found["may"]:
        return None
    query: Restriction = ()
    if found["query"] is not None:
        try:
            query = tuple(
                parse_qsl(
                    found["query"], keep_blank_values=True, strict_parsing=True, errors="strict", max_num_fields=20
                )
            )
        except ValueError:
            return None
        if not all(v and k and (k[0] != "_" or k.split(":")[0] in _CHOOSING) for k, v in query):
            return None
    return Scope(found["level"], found["type"], _V1.get(found["may"], found["may"]), query)


def _meet(a: Scope, b: Scope) -> Scope | None:
    """Both restrictions hold at once: repeated search parameters are AND'ed."""
    may = "".join(c for c in a.may if c in b.may)
    if a.level != b.level or not may or ("*" not in (a.type, b.type) and a.type != b.type):
        return None
    return Scope(a.level, b.type if a.type == "*" else a.type, may, tuple(dict.fromkeys((*a.query, *b.query))))


def _tidy(scopes: Iterable[Scope]) -> tuple[Scope, ...]:
    """Without those that another already contains."""
    kept = list(dict.fromkeys(scopes))
    return tuple(s for s in kept if not any(o != s and _contains(o, s) for o in kept))


def _contains(big: Scope, small: Scope) -> bool:
    return (
        big.level == small.level
        and big.type in ("*", small.type)
        and set(small.may) <= set(big.may)
        and set(big.query) <= set(small.query)
        and (big.type, big.may, set(big.query)) != (small.type, small.may, set(small.query))
    )
