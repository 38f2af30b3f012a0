"""How far a figure of a new report may be from what was told before: no further than by the people who could have moved it, in whole fives.

Of two tables whoever knows who came and who went between them learns, by subtraction, what those have in common. So a figure rises by a step of `FEW` for
each five people who came into a table or count in something else than they did, and falls by one for each five who went or count in something
else; also where it is not told. For fewer than five it stands still. The steps are of the figures of each report that was told. docs/reports.md
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Set
from dataclasses import dataclass
from itertools import chain

from .reporting import FEW

Places = Mapping[str, Set[str]]  # by place, an entry for each person who counts in anything there: another when they count in something else
Line = frozenset[str]  # of which places it is


class Apart(Exception):
    """No figures are near enough to all that were told."""


@dataclass(frozen=True, slots=True)
class Table:
    """Who was in a table that was told, and the figures of each line and of the `whole`, those too that were not told."""

    places: Places
    lines: Mapping[Line, Mapping[str, int]]
    whole: Mapping[str, int]

    def of(self, line: Collection[str] | None = None) -> set[str]:
        """Those of these places, or all."""
        return _among(self.places, line)


Near = tuple[Mapping[str, int], int, int]  # figures that were told, how many people came since, how many went


def _among(places: Places, line: Collection[str] | None = None) -> set[str]:
    return set(chain.from_iterable(who for place, who in places.items() if line is None or place in line))


def near(places: Places, line: Line | None, olds: Iterable[Table]) -> list[Near]:
    """What the figures of this line (None: of the whole) must be near to."""
    new, out = _among(places, line), []
    for old in olds:
        figures, was = (old.whole, old.of()) if line is None else (old.lines.get(line), old.of(line))
        if figures is not None:
            out.append((figures, len(new - was), len(was - new)))
    return out


def held(figure: int, name: str, told: Iterable[Near]) -> int:
    """The figure, or the next to it that is near enough to all that were `told`. Apart where none is."""
    steps = [(told.get(name, 0), came // FEW * FEW, went // FEW * FEW) for told, came, went in told]
    least, most = max((f - went for f, _, went in steps), default=0), min((f + came for f, came, _ in steps), default=figure)
    if least > most:
        raise Apart
    return min(max(figure, least), most)


def fits(places: Places, lines: Collection[Line], old: Table) -> bool:
    """May lines be of other places than they were: only where five came and five went in the smallest sums that are of the same places in both."""
    for same in _same([*lines, *old.lines]):
        now, then = {line for line in lines if line & same}, {line for line in old.lines if line & same}
        if now != then and not enough(_among(places, same) if now else None, old.of(same) if then else None):
            return False
    return True


def enough(new: Set[str] | None, old: Set[str] | None) -> bool:
    """Did five or more come, and five or more go. None: of what nothing was told, or is, so that nobody sees that something falls, or rises."""
    return (new is None or len(new - (old or set())) >= FEW) and (old is None or len(old - (new or set())) >= FEW)


def _same(lines: Collection[Set[str]]) -> list[set[str]]:
    """The smallest sets of places that lines of both tables add up to: lines that have a place in common belong together."""
    out: list[set[str]] = []
    for line in map(set, lines):
        for met in [o for o in out if o & line]:
            line |= met
            out.remove(met)
        out.append(line)
    return out


__all__ = ["Apart", "Line", "Near", "Places", "Table", "enough", "fits", "held", "near"]
