"""What a resource surely lacks, as bits beside its place in a person's record (`member.lacks`): a look there often settles what the
predicate asks, and spares a look at the resource and at its lists. A bit that is not set says nothing."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final
from zlib import crc32

from ..domain.types import CONFIDENTIALITY, All, Always, Any_, ByPerson, Confidential, Facts, Has, Never, Not, Only, Predicate
from .sqlite_text import Sql, tree

LISTS: Final = ("profile", "sens", "label", "legal", "code", "author", "ref", "custodian", "source")  # as `acl.field` has them
BITS: Final = {name: 1 << n for n, name in enumerate(LISTS)}
OTHERS: Final = 1 << 9  # it is in nobody else's record
ABOVE: Final = 1 << 10  # its confidentiality is N at most
BELOW: Final = 1 << 11  # it is above N
VALUES: Final = range(12, 62)  # each stands for all the values, of the fields below, that share it: it has none of them
SHARED: Final = ("profile", "code", "author", "custodian", "source")
NORMAL: Final = CONFIDENTIALITY["N"]

# A file that is older: asked of `acl` and `resource` once. The bits of `VALUES` come with the next writing.
LACKS_SCHEMA: Final = f"""
ALTER TABLE member ADD COLUMN lacks INTEGER NOT NULL DEFAULT 0;
UPDATE member SET lacks = {sum(BITS.values())} - COALESCE((SELECT sum(bit) FROM (SELECT DISTINCT CASE x.field {
    " ".join(f"WHEN '{name}' THEN {bit}" for name, bit in BITS.items())} END AS bit FROM acl x
  WHERE x.rid = member.rid AND x.field <> 'patient')), 0)
  + CASE WHEN (SELECT count(*) FROM acl x WHERE x.rid = member.rid AND x.field = 'patient') = 1 THEN {OTHERS} ELSE 0 END
  + CASE WHEN (SELECT r.conf FROM resource r WHERE r.rid = member.rid) <= {NORMAL} THEN {ABOVE} ELSE {BELOW} END;
"""


def lacking(facts: Facts, listed: Iterable[tuple[str, str]]) -> int:
    """The bits of a resource that has these values of fields."""
    out = sum(BITS.values()) | sum(1 << n for n in VALUES)
    for field, value in listed:
        out &= ~(BITS.get(field, 0) | bit_of(field, value))
    if len(set(facts.patients)) == 1:
        out |= OTHERS
    return out | (ABOVE if CONFIDENTIALITY.get(facts.confidentiality, CONFIDENTIALITY["V"]) <= NORMAL else BELOW)


def bit_of(field: str, value: str) -> int:
    return 1 << VALUES[crc32(f"{field} {value}".encode()) % len(VALUES)] if field in SHARED else 0


class Told:
    """What the bits, the type and the id tell of one place `m` in a record, of a resource of one of `types`. `groups` is what they
    tell of `by`, group by group."""

    def __init__(self, m: str, types: tuple[str, ...], by: ByPerson) -> None:
        self.m, self.types, self.by = m, types, by

    def sure(self, p: Predicate, sql: Sql, groups: str) -> str:
        """A condition under which the predicate surely holds: "1" always, "0" there is no telling."""
        match p:
            case Always():
                return "1"
            case All(parts):
                return joined([self.sure(part, sql, groups) for part in parts], " AND ", "0", "1")
            case Any_(parts):
                return joined([self.sure(part, sql, groups) for part in parts], " OR ", "1", "0")
            case Not(part):
                return self.never(part, sql)
            case ByPerson() if p is self.by:
                return joined([self._lacks(OTHERS), groups], " AND ", "0", "1")
            case Has("type", values) if self.types and values.issuperset(self.types):
                return "1"
            case Only(field, _) if field in BITS:
                return self._lacks(BITS[field])
            case Has("id", values) if values:
                return f"(({self.m}.type || '/' || {self.m}.id) {sql.equals(values)})"
            case Confidential("<=", level) if level >= NORMAL:
                return self._lacks(ABOVE)
            case Confidential(">=", level) if level <= NORMAL + 1:
                return self._lacks(BELOW)
        return "0"

    def never(self, p: Predicate, sql: Sql, groups: str = "0") -> str:
        """A condition under which the predicate surely does not hold."""
        match p:
            case Never():
                return "1"
            case All(parts):
                return joined([self.never(part, sql, groups) for part in parts], " OR ", "1", "0")
            case Any_(parts):
                return joined([self.never(part, sql, groups) for part in parts], " AND ", "0", "1")
            case Not(part):
                return self.sure(part, sql, "0")
            case Has("type", values) if self.types and values.isdisjoint(self.types):
                return "1"
            case Has("id", values) if values:
                return f"(NOT (({self.m}.type || '/' || {self.m}.id) {sql.equals(values)}))"
            case Has(field, values) if field in SHARED and values:
                none = sql.add(sum({bit_of(field, value) for value in values}))
                return f"({self.m}.lacks & {BITS[field]} <> 0 OR {self.m}.lacks & {none} = {none})"
            case Has(field, _) if field in BITS:
                return self._lacks(BITS[field])
            case ByPerson() if p is self.by:
                return joined([self._lacks(OTHERS), groups], " AND ", "0", "1")
            case Confidential("<=", level) if level <= NORMAL:
                return self._lacks(BELOW)
            case Only("patient", values) if not values:
                return "1"
            case Confidential(">=", level) if level > NORMAL:
                return self._lacks(ABOVE)
        return "0"

    def _lacks(self, bit: int) -> str:
        return f"({self.m}.lacks & {bit} <> 0)"


def joined(parts: Iterable[str], word: str, ends: str, nothing: str) -> str:
    """With what settles the matter alone, and what adds nothing left out."""
    told = [part for part in dict.fromkeys(parts) if part != nothing]
    if ends in told:
        return ends
    return tree(told, word) if told else nothing
