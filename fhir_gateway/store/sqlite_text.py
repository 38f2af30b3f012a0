"""SQL text with its parameters, and the condition of many groups of people as one text.

The same shape is the same text, so that prepared statements are used again: values are numbered parameters, short lists
are padded to 1, 2, 4, 8 places, long ones travel as one JSON parameter. What the text says is in `sqlite_predicate` and
`sqlite_terms`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Sequence
from typing import Any

from ..domain.types import ByPerson, Predicate

FEW = 8

class Sql:
    def __init__(self) -> None:
        self.params: list[Any] = []
        self.hops = 0
        self.led: Led | None = None

    def add(self, value: Any) -> str:
        """A numbered parameter: it may be written anywhere, in any order."""
        self.params.append(value)
        return f"?{len(self.params)}"

    def equals(self, values: Collection[str]) -> str:
        """`= ?1`, `IN (?1, ?2)` or `IN` a JSON list."""
        several = sorted(values)
        if len(several) == 1:
            return f"= {self.add(several[0])}"
        if len(several) <= FEW:
            places = 1 << (len(several) - 1).bit_length()
            return f"IN ({', '.join(self.add(v) for v in [*several, *several[-1:] * (places - len(several))])})"
        return f"IN (SELECT value FROM json_each({self.add(json.dumps(several))}))"

    def another(self) -> str:
        """A name for the resource at the end of one more hop."""
        self.hops += 1
        return f"r{self.hops}"


PLACE = re.compile(r"\?(\d+)")
G = "\0g"  # where the number of a group goes in the text of its condition


class Led:
    """A search led by the people of the predicate, each with the number of their group: `place` is where the resource `alias` stands
    in the record of one of them (`member`), `group` the number of that one's group, `numbers` the parameter with everybody's.

    Conditions of one shape are one text: where groups differ in a value alone, it is looked up by the number of the group. So the
    statement does not grow with the people who each said something about something else.
    """

    def __init__(self, by: ByPerson, alias: str, place: str, group: str, sql: Sql) -> None:
        self.by, self.alias, self.place, self.group = by, alias, place, group
        self.order: list[Predicate] = [shape for _, shape in by.groups]
        self.sql = sql
        self.values: list[list[Any]] = []
        self.numbers = self.differing = ""

    def begin(self, told: Callable[[Predicate, Sql], str]) -> None:
        """Number the groups so that those of one shape stand together."""
        texts = {shape: self._private(told, shape)[0] for _, shape in self.by.groups}
        groups = sorted(self.by.groups, key=lambda g: texts[g[1]])
        self.order = [shape for _, shape in groups]
        self.values = [[] for _ in groups]
        self.numbers = self.sql.add(json.dumps({person: n for n, (people, _) in enumerate(groups) for person in sorted(people)}))
        self.differing = self.sql.add(None)

    def _private(self, told: Callable[[Predicate, Sql], str], shape: Predicate) -> tuple[str, list[Any]]:
        own = Sql()
        own.led = self
        return told(shape, own), own.params

    def each(self, told: Callable[[Predicate, Sql], str]) -> str:
        """One condition for all the groups, with `G` for the number of the group."""
        said = [self._private(told, shape) for shape in self.order]
        alike: dict[str, list[int]] = {}
        for n, (text, _) in enumerate(said):
            alike.setdefault(text, []).append(n)
        written = {text: self._written(text, {n: said[n][1] for n in numbers}) for text, numbers in alike.items()}
        return by_group([written[text] for text, _ in said], G)

    def _written(self, text: str, params: dict[int, list[Any]]) -> str:
        places: dict[int, str] = {}
        for i in sorted({int(i) - 1 for i in PLACE.findall(text)}):
            first = next(iter(params.values()))[i]
            if all(mine[i] == first for mine in params.values()):
                places[i] = self.sql.add(first)
                continue
            at = max(len(self.values[n]) for n in params)
            for n, mine in params.items():
                self.values[n] += [None] * (at - len(self.values[n])) + [mine[i]]
            places[i] = f"json_extract({self.differing}, '$[' || {G} || '][{at}]')"
        return PLACE.sub(lambda m: places[int(m[1]) - 1], text)

    def end(self) -> None:
        self.sql.params[int(self.differing[1:]) - 1] = json.dumps(self.values)


def tree(parts: Sequence[str], word: str) -> str:
    """Joined without depth: SQLite refuses expressions more than 1,000 deep, and `a OR b OR c …` is as deep as it is long."""
    if len(parts) == 1:
        return parts[0]
    if len(parts) <= FEW:
        return f"({word.join(parts)})"
    half = len(parts) // 2
    return f"({tree(parts[:half], word)}{word}{tree(parts[half:], word)})"


def by_group(texts: Sequence[str], group: str, first: int = 0) -> str:
    """The condition of the group whose number `group` is: halved again and again, so that many groups cost few steps."""
    if len(set(texts)) == 1:
        return texts[0]
    half = len(texts) // 2
    low, high = by_group(texts[:half], group, first), by_group(texts[half:], group, first + half)
    return f"(CASE WHEN {group} < {first + half} THEN {low} ELSE {high} END)"
