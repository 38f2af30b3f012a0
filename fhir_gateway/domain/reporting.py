"""What all plans teach, as counts of people: who has a plan, what goals are about, what could not be had, how scores changed.

No row of a person leaves. A count of fewer than `FEW` people, or of all but so few, is not told, nor what would give it away by subtraction; what
is told is rounded to `FEW`. No words that anybody typed: codes of public systems, and a name for one only where `FEW` people have it by the
same name. docs/reports.md
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import floor, log10
from statistics import fmean
from typing import Any, Final, Literal

FEW: Final = 5
MEAN_OF: Final = 25  # people, by their rounded count, and more, whose mean is told
NO_SCORE: Final = 1e12  # what no scale has, nor a part of it so small
LEAST_GROUP: Final = 2 * FEW  # people of a place by itself; of fewer they are counted as `elsewhere`
ELSEWHERE, EVERYBODY = "elsewhere", "everybody"
REASONS: Final = ("not available", "not affordable", "waiting list", "not accessible", "declined")  # and whatever else is said
STATES: Final = ("proposed", "planned", "accepted", "active", "on-hold", "completed", "cancelled", "rejected")
OUTCOMES: Final = ("in-progress", "improving", "worsening", "no-change", "achieved", "sustaining", "not-achieved", "no-progress", "not-attainable")
IMPORTANCE: Final = tuple(f"importance {n}" for n in range(1, 11))  # of a goal, 10 matters most
Kind = Literal["coverage", "goals", "choices", "unmet-need", "outcomes"]
KINDS: Final[tuple[Kind, ...]] = ("coverage", "goals", "choices", "unmet-need", "outcomes")

HIGHER, MEANS = "higher", "means"  # how a score is told

Code = tuple[str, str]  # system, code


@dataclass(frozen=True, slots=True)
class Person:
    """What is counted of one person, and nothing by which they could be known."""

    group: str
    has: frozenset[str] = frozenset()  # the columns of the report in which this person counts
    about: Mapping[Code, str] = field(default_factory=dict)  # codes of goals, with the name each was given
    scores: Mapping[Code, tuple[float, float]] = field(default_factory=dict)  # the first and the last, of different days
    called: Mapping[Code, str] = field(default_factory=dict)  # the name that each score was given


@dataclass(frozen=True, slots=True)
class Row:
    """One line: of how many `people` (rounded) this is, and how many of them are in each column (rounded; None: not told)."""

    group: str
    people: int | None
    counts: Mapping[str, int | None]


@dataclass(frozen=True, slots=True)
class Change:
    """Before and after of one score: of `people` (rounded), the means, or in `counts` how many are higher (rounded; None: not told)."""

    system: str
    code: str
    name: str
    people: int
    counts: Mapping[str, int | None]
    score_before: float | None = None
    score_after: float | None = None

    @property
    def part(self) -> str:
        """What this part of a report is called."""
        return f"{self.system}|{self.code}"


@dataclass(frozen=True, slots=True)
class Report:
    """`rows` with a last one for everybody, where there are several groups; `about` by code; `changes` of scores."""

    kind: Kind
    columns: tuple[str, ...] = ()
    rows: tuple[Row, ...] = ()
    about: tuple[tuple[Code, str, int], ...] = ()
    changes: tuple[Change, ...] = ()


COLUMNS: Final[Mapping[Kind, tuple[str, ...]]] = {
    "coverage": ("offered a plan", "has a plan", "has a key worker", "overdue for review"),
    "goals": ("has a goal", *(f"goal {s}" for s in STATES), *(f"outcome {o}" for o in OUTCOMES), *IMPORTANCE),
    "choices": ("asked for a service", "waits for it", "had it", "did not have it"),
    "unmet-need": ("has an unmet need", *REASONS, "another reason"),
    "outcomes": ("asked again", "answered", "not answered in time"),
}


# -- all of them ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Before:
    """What a report must be near to. `hold` is given each figure, told or not, of a line ("" for everybody) and a column or code (or how many are higher), and says
    what it is to be. `line_of`: the line of each group, where not by their sizes. `codes` that were told, with their names. `without`: how scores are
    not told, `higher` or `means`."""

    hold: Callable[[str, str | tuple[str, ...], int], int] = lambda line, name, figure: figure
    line_of: Mapping[str, str] | None = None
    codes: Mapping[Code, str] = field(default_factory=dict)
    without: frozenset[str] = frozenset()


def report(kind: Kind, people: Sequence[Person], before: Before = Before()) -> Report:
    """The counts that may be told, in the manner of the analysis guide of Hospital Episode Statistics: small ones left out, others to the nearest five."""
    changes = tuple(_changes(people, before)) if kind == "outcomes" else ()
    rows = _rows(kind, people, before)
    return Report(kind, COLUMNS[kind] if rows else (), tuple(rows), () if kind == "outcomes" else tuple(sorted(_about(people, before), key=lambda t: (-t[2], t[0]))), changes)


def _about(people: Sequence[Person], before: Before) -> Iterable[tuple[Code, str, int]]:
    has = Counter(code for p in people for code in p.about)
    for code in sorted({*has, *before.codes}):
        if told := before.hold("", code, told_of(has[code], len(people))):
            yield code, _name(code, (p.about for p in people)) or before.codes.get(code, ""), told


def _rows(kind: Kind, people: Sequence[Person], before: Before) -> list[Row]:
    line_of = before.line_of or lines(Counter(p.group for p in people))
    columns = COLUMNS[kind]
    groups: dict[str, list[Person]] = {}
    for p in sorted(people, key=lambda p: (line_of[p.group] == ELSEWHERE, line_of[p.group])):
        groups.setdefault(line_of[p.group], []).append(p)
    sizes = {g: len(theirs) for g, theirs in groups.items()}
    counted = {g: Counter(c for p in theirs for c in p.has) for g, theirs in groups.items()}
    if len(groups) > 1:
        counted[EVERYBODY], sizes[EVERYBODY] = sum(counted.values(), Counter[str]()), len(people)
    whole = [*sizes][-1] if sizes else EVERYBODY
    figures = {(g, c): before.hold("" if g == whole else g, c, figure(counted[g][c], sizes[g])) for g in sizes for c in columns}
    if kind == "outcomes" and not figures.get((whole, columns[0])):
        return []
    beside = {(g, c): (g == EVERYBODY, sizes[g], -columns.index(c)) for g, c in figures}  # not by the figures: which is the smaller tells more of both
    hidden = _hidden(sizes, figures, columns, beside, adds_up=kind != "coverage")
    return [_row(g, sizes[g], {c: None if (g, c) in hidden else figures[g, c] for c in columns}) for g in sizes]


def figure(n: int, size: int) -> int:
    """How many of a line of so many this is: none and few as 0, all and all but few as the most that there is, others to the nearest five."""
    return 0 if n < FEW else most(size) if size - n < FEW else min(rounded(n), most(size))


def most(size: int) -> int:
    return size // FEW * FEW


def rounded(n: int) -> int:
    """To the nearest five, so that two reports cannot be subtracted from each other."""
    return FEW * ((n + FEW // 2) // FEW)


def told_of(n: int, people: int) -> int:
    """How many of so many `people` this is, where nothing says that it is not told: all, and all but few, as five less; 0, left out, of few, or of few people."""
    return min(rounded(n), rounded(people) - FEW) if n >= FEW and people >= LEAST_GROUP else 0


def lines(sizes: Mapping[str, int]) -> dict[str, str]:
    """The line in which each group is told, by how many people are in it: small ones in one, and the smallest of the others with them where they are
    still too few."""
    small = {g for g, n in sizes.items() if n < LEAST_GROUP or g in ("", ELSEWHERE)}
    alone = sorted((g for g in sizes if g not in small), key=lambda g: (sizes[g], g))
    while small and alone and sum(sizes[g] for g in small) < LEAST_GROUP:
        small.add(alone.pop(0))
    return {g: g for g in alone} | dict.fromkeys(small, ELSEWHERE if alone else EVERYBODY)


def _hidden(
    sizes: Mapping[str, int], figures: Mapping[tuple[str, str], int], columns: Sequence[str], beside: Mapping[tuple[str, str], Any], *, adds_up: bool
) -> set[tuple[str, str]]:
    """What is not told: (line, column). Few, all but few, and with each that stands alone in its sum another, the first by what is `beside` them."""
    hidden = {(g, c) for (g, c), n in figures.items() if n < FEW or n >= most(sizes[g])}
    before = None
    while before != hidden:
        before = set(hidden)
        for line in _sums(sizes, columns, adds_up):
            alone = [at for at in line if at in hidden]
            if len(alone) == 1:
                rest = [at for at in line if at not in hidden]
                hidden |= {min(rest, key=beside.__getitem__)} if rest else set()
    return hidden


def _sums(sizes: Mapping[str, int], columns: Sequence[str], adds_up: bool) -> Iterable[list[tuple[str, str]]]:
    """What is told together with its sum: each column down to everybody, and a line's columns where they may add up."""
    if len(sizes) > 1:
        for c in columns:
            yield [(g, c) for g in sizes]
    if adds_up:
        for g in sizes:
            yield [(g, c) for c in columns]


def _row(line: str, size: int, told: Mapping[str, int | None]) -> Row:
    if size < FEW:  # nothing of so few
        return Row(line, None, dict.fromkeys(told))
    return Row(line, rounded(size), told)


def _name(code: Code, given: Iterable[Mapping[Code, str]]) -> str:
    """What at least five people's records call this code, "" where no five agree: a rare name may be somebody's words."""
    names = Counter(name for each in given if (name := each.get(code)))
    name, many = names.most_common(1)[0] if names else ("", 0)
    return name if many >= FEW else ""


def _changes(people: Sequence[Person], before: Before) -> Iterable[Change]:
    by: dict[Code, list[tuple[float, float]]] = {code: [] for code in before.codes}
    for p in people:
        for code, pair in p.scores.items():
            by.setdefault(code, []).append(pair)
    for code, pairs in sorted(by.items()):
        exact = told_of(len(pairs), len(people))
        many, higher = before.hold("", code, exact), before.hold("", (*code, HIGHER), figure(sum(after > first for first, after in pairs), len(pairs)))
        means = _means(pairs, min(many, exact)) if MEANS not in before.without else (None, None)
        told = means == (None, None) and HIGHER not in before.without and many < rounded(len(people)) - FEW and FEW <= higher < most(len(pairs))
        if many:
            name = _name(code, (p.called for p in people)) or before.codes.get(code, "")
            yield Change(*code, name, many, {HIGHER: higher if told else None}, *means)


def _means(pairs: Sequence[tuple[float, float]], many: int) -> tuple[float, float] | tuple[None, None]:
    """Before and after, or neither. Of a scale of two scores a mean were a count."""
    if many < MEAN_OF:
        return None, None
    taken = [_by_fives([pair[i] for pair in pairs], many) for i in (0, 1)]
    if len({score for fives in taken for score in fives}) < 3:
        return None, None
    before, after = map(_mean, taken)
    return (before, after) if before is not None and after is not None else (None, None)


def _by_fives(values: Sequence[float], many: int) -> list[float]:
    """Everybody in order of score, in fives, and the ten lowest and the ten highest together: for each five the one in its middle. So it says how many
    have each score or less as counts are told, by steps of `FEW`, and none, few and all but few alike; and nothing else of anybody. docs/reports.md"""
    ordered = sorted(values)
    low, high = ordered[FEW - 1], ordered[-FEW]
    return [low, low, *ordered[2 * FEW + FEW // 2 : many - 2 * FEW : FEW], high, high]


def _mean(fives: Sequence[float]) -> float | None:
    """Their mean, rounded to about as much as one five makes who go from the lowest to the highest; None where it would be at an end."""
    low, high = fives[0], fives[-1]
    if max(-low, high) > NO_SCORE or high - low < 1 / NO_SCORE:
        return None
    step = _step((high - low) * max(1 / len(fives), 1 / 20))
    told = float(f"{round(fmean(fives) / step) * step:.12g}")
    return told if low < told < high else None


def _step(least: float) -> float:
    """The next of 1, 2, 5, 10 and so on, and of their tenths, that is not below `least`."""
    ten = 10.0 ** floor(log10(least))
    return next(n * ten for n in (1, 2, 5, 10) if n * ten >= least * (1 - 1e-9))


__all__ = ["COLUMNS", "ELSEWHERE", "EVERYBODY", "FEW", "HIGHER", "IMPORTANCE", "KINDS", "MEANS", "MEAN_OF", "REASONS", "Before", "Change", "Code", "Kind", "Person", "Report", "Row", "figure", "lines", "report", "rounded", "told_of"]
