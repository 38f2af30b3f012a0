"""How long a person's record is kept: the latest of all that the schedule asks for them. docs/retention.md

NHS Records Management Code of Practice, Appendix II (https://transform.england.nhs.uk/information-governance/guidance/records-management-code/).
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import date, datetime
from typing import NamedTuple

import msgspec

from .periods import LONDON, instant, micros
from .types import Stored
from .versions import by_operator


class Rule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`who`: adult, child (by their age at the last contact), all, or `sensitivity:CODE` of anything in the record.

    `years` count from the last contact; `until_age` is a birthday, `until_age_if_17` that of who was 17 then; `after_death` are
    years, and stand in the place of the others for who has died.
    """

    name: str
    who: str
    years: int | None = None
    until_age: int | None = None
    until_age_if_17: int | None = None
    after_death: int | None = None


class Schedule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`messages`: days that messages nobody settled are kept, by kind."""

    rules: tuple[Rule, ...]
    messages: dict[str, int] = {}
    source: str = ""


class Kept(NamedTuple):
    """Until when, and by which rule."""

    until: date
    rule: str


def read(raw: bytes) -> Schedule:
    """ValueError, in one sentence, for what is no schedule or could dispose of something at once."""
    try:
        schedule = msgspec.json.decode(raw, type=Schedule)
    except msgspec.MsgspecError as wrong:
        raise ValueError(f"it is no retention schedule: {wrong}") from None
    for rule in schedule.rules:
        if not (rule.who in ("adult", "child", "all") or rule.who.startswith("sensitivity:")):
            raise ValueError(f"`who` of the rule `{rule.name}` is adult, child, all or sensitivity:CODE")
        if (rule.years is None) == (rule.until_age is None):
            raise ValueError(f"the rule `{rule.name}` needs either `years` or `until_age`")
        if min(n for n in (rule.years, rule.until_age, rule.until_age_if_17, rule.after_death) if n is not None) < 1:
            raise ValueError(f"the rule `{rule.name}` keeps nothing: its numbers are 1 or more")
    if {r.who for r in schedule.rules} & {"all"} == set() and not {"adult", "child"} <= {r.who for r in schedule.rules}:
        raise ValueError("it must say something for adults and for children, or for all")
    if any(days < 1 for days in schedule.messages.values()):
        raise ValueError("messages are kept for one day or more")
    return schedule


def contact(version: Stored, at: datetime) -> date | None:
    """The day of the contact this version tells of: its own date, unless that is after `at`, or when somebody wrote it.

    What a partner sent or an operator wrote says nothing of when: then its own date alone, or None.
    """
    own = [d for d in (version.facts.high, version.facts.low) if d is not None and d <= micros(at)][:1]
    met = [] if version.writer.method == "SYNC" or by_operator(version.writer) else [micros(version.updated)]
    return day(max(own + met)) if own or met else None


def day(us: int) -> date:
    """The day in London of an instant in microseconds since 1970."""
    return instant(us).astimezone(LONDON).date()


def kept_until(schedule: Schedule, born: date, died: date | None, last: date, sensitive: Collection[str]) -> Kept:
    """The last day on which this record must be kept. `last` is the day of the last contact."""
    age = _age(born, last)
    found = []
    for rule in schedule.rules:
        wanted = {"all": True, "child": age < 18, "adult": age >= 18}.get(rule.who, rule.who.partition(":")[2] in sensitive)
        if not wanted:
            continue
        if died is not None and rule.after_death is not None:
            until = _plus(died, rule.after_death)
        elif rule.until_age is not None:
            until = _plus(born, rule.until_age_if_17 if age == 17 and rule.until_age_if_17 else rule.until_age)
        else:
            until = _plus(last if died is None else max(last, died), rule.years or 0)
        found.append(Kept(until, rule.name))
    return max(found)


def _age(born: date, at: date) -> int:
    return at.year - born.year - ((at.month, at.day) < (born.month, born.day))


def _plus(day: date, years: int) -> date:
    try:
        return day.replace(year=day.year + years)
    except ValueError:  # 29 February
        return day.replace(year=day.year + years, month=3, day=1)
