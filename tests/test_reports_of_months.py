"""Reports of several months against who subtracts them: of whoever came, went or changed between two or three, nobody's answer is told.

Each way in which people could have answered is published, month by month, as reports are made; who reads them knows who came and went, and how reports
are made, and keeps those ways that publish the same. By each month's figures alone that gives people away; by those that are held it does not.
docs/reports.md
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from itertools import combinations, pairwise, product

import pytest

from fhir_gateway.domain.differing import Apart, Near, Table, enough, fits, held, near
from fhir_gateway.domain.reporting import FEW, Before, Person, report

from .conftest import times

COLUMN = "has a plan"
STAY = 14  # who are counted in each month
SCORE = ("http://snomed.info/sct", "736534008")
Months = tuple[int, ...]
WHEN: list[Months] = [(1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 0), (0, 1, 1), (1, 0, 1)]  # in which of three months somebody is counted; who changed is two of these
Told = tuple[object, ...]


@cache
def month(people: int, yes: int, near_to: tuple[tuple[int, int, int], ...]) -> tuple[object, int | None]:
    """What is told of so many people and so many of them, and the figure behind it; near to (figure, came since, went since)."""
    kept: list[int] = []

    def hold(line: str, name: object, figure: int) -> int:
        if name != COLUMN:
            return figure
        kept.append(held(figure, COLUMN, [({COLUMN: f}, came, went) for f, came, went in near_to]))
        return kept[-1]

    crowd = [Person("", frozenset({"offered a plan", COLUMN} if n < yes else {"offered a plan"})) for n in range(people)]
    try:
        (row,) = report("coverage", crowd, Before(hold)).rows
    except Apart:
        return "again", None
    return row.counts[COLUMN], kept[0]


def read(movers: Sequence[int], months: int, *, holding: bool = True) -> dict[Told, list[set[int]]]:
    """By what was told in these months, of each of `WHEN` how many of them may have said yes; so many of each are here."""
    sizes = [STAY + sum(n * when[m] for n, when in zip(movers, WHEN, strict=True)) for m in range(months)]
    moved = {
        (a, b): tuple(sum(n for n, when in zip(movers, WHEN, strict=True) if when[y] > when[x]) for x, y in ((a, b), (b, a)))
        for a, b in combinations(range(months), 2)
    }  # fmt: skip
    found: dict[Told, list[set[int]]] = {}
    for said in product(*(range(n + 1) for n in movers)):
        for stay in range(STAY + 1):
            told: list[object] = []
            figures: list[int | None] = []
            for m in range(months):
                since = tuple((f, *moved[k, m]) for k in range(m) if (f := figures[k]) is not None) if holding else ()
                shown, figure = month(sizes[m], stay + sum(y * when[m] for y, when in zip(said, WHEN, strict=True)), since)
                told.append(shown)
                figures.append(figure)
            for several, n in zip(found.setdefault(tuple(told), [set() for _ in WHEN]), said, strict=True):
                several.add(n)
    return found


def given_away(movers: Sequence[int], found: dict[Told, list[set[int]]]) -> list[tuple[Told, Months]]:
    """Where all of some people said yes, or none of them did: each one's answer is known."""
    return [(told, when) for told, several in found.items() for n, when, many in zip(movers, WHEN, several, strict=True) if n and many in ({0}, {n})]


def of_two(came: int, went: int) -> tuple[int, ...]:
    return went, came, 0, 0, 0, 0


@pytest.mark.parametrize("movers", [of_two(1, 0), of_two(0, 1), of_two(1, 1), of_two(1, 5), of_two(6, 5)], ids=str)
def test_figures_of_two_months_by_themselves_give_people_away(movers: tuple[int, ...]) -> None:
    """One who comes; one who opts out; one who says something else; one who comes as five go; six who all say yes."""
    assert given_away(movers, read(movers, 2, holding=False))
    assert not given_away(movers, read(movers, 2))


@pytest.mark.parametrize("came", range(13))
def test_no_two_months_tell_what_anybody_said_who_came_or_went(came: int) -> None:
    for went in range(13):
        found = read(of_two(came, went), 2)
        assert not given_away(of_two(came, went), found), (came, went, given_away(of_two(came, went), found)[:1])
        if came < FEW and went < FEW:
            assert all(len({shown for shown in told if shown is not None}) < 2 for told in found), "for few a figure stands still"


def test_it_moves_where_enough_people_came_or_went() -> None:
    assert (5, 10) in read(of_two(5, 0), 2) and (10, 5) in read(of_two(0, 5), 2) and (5, 15) in read(of_two(10, 0), 2)
    assert (5, 15) not in read(of_two(9, 0), 2) and (5, 15) in read(of_two(9, 0), 2, holding=False)


SMALL = [n for n in product((0, 1, 4, 5), repeat=6) if any(n) and sum(n) < 14]
LEAST = [(5 - n, 5 - n, 5 - n, n, n, n) for n in range(6)]  # each two months differ by five and by five, and what two have in common by fewer


@pytest.mark.parametrize("movers", [*LEAST, *SMALL[:: max(1, 24 // times(2))]], ids=str)
def test_no_three_months_tell_what_anybody_said_who_was_not_in_all(movers: tuple[int, ...]) -> None:
    found = read(movers, 3)
    assert not given_away(movers, found), given_away(movers, found)[:1]


def test_three_months_of_which_each_two_differ_by_five_would_tell() -> None:
    """Why figures are held by steps, and not told whole or not at all."""
    assert any(given_away(movers, read(movers, 3, holding=False)) for movers in LEAST[1:5])


# -- scores -----------------------------------------------------------------------------------------------------------

Cells = tuple[tuple[float, float], ...]
RISE: Cells = ((0.0, 1.0), (0.0, 0.0), (1.0, 0.0))
THREE: Cells = ((1.0, 1.0), (2.0, 2.0), (3.0, 3.0))


def spread(people: int, cells: int) -> Iterator[tuple[int, ...]]:
    for cuts in combinations(range(people + cells - 1), cells - 1):
        yield tuple(b - a - 1 for a, b in pairwise((-1, *cuts, people + cells - 1)))


@cache
def score(many: tuple[int, ...], cells: Cells, near_to: tuple[tuple[tuple[tuple[str, int], ...], int, int], ...]) -> tuple[object, tuple[tuple[str, int], ...]]:
    figures: dict[str, int] = {}
    since: list[Near] = [(dict(f), came, went) for f, came, went in near_to]

    def hold(line: str, name: object, figure: int) -> int:
        if isinstance(name, tuple):
            figures["|".join(name)] = figure = held(figure, "|".join(name), since)
        return figure

    people = [Person("", scores={SCORE: c}) for c, n in zip(cells, many, strict=True) for _ in range(n)] + [Person("")] * 10
    told = report("outcomes", people, Before(hold, codes={SCORE: ""})).changes
    return [(c.people, c.score_before, c.score_after, *c.counts.values()) for c in told].__repr__(), tuple(sorted(figures.items()))


def scores(cells: Cells, stay: int, came: int, went: int, publish: Callable[[tuple[int, ...], tuple[int, ...]], tuple[object, object]]) -> list[object]:
    """What two months tell by which each one's score is known who came, or who went."""
    found: dict[object, tuple[set[tuple[int, ...]], set[tuple[int, ...]]]] = defaultdict(lambda: (set(), set()))
    for here in spread(stay, len(cells)):
        for gone in spread(went, len(cells)):
            for new in spread(came, len(cells)):
                then, now = (tuple(a + b for a, b in zip(here, some, strict=True)) for some in (gone, new))
                for seen, some in zip(found[publish(then, now)], (new, gone), strict=True):
                    seen.add(some)
    return [told for told, sides in found.items() for n, side in zip((came, went), sides, strict=True) if n and any({w[i] for w in side} == {n} for i in range(len(cells)))]


@pytest.mark.parametrize("stay, came, went", [(12, 1, 0), (22, 1, 0), (14, 0, 1), (16, 1, 5), (16, 5, 5), (14, 6, 1)])
def test_nobody_is_known_by_how_many_scores_are_higher(stay: int, came: int, went: int) -> None:
    def publish(then: tuple[int, ...], now: tuple[int, ...]) -> tuple[object, object]:
        told, figures = score(then, RISE, ())
        return told, score(now, RISE, ((figures, came, went),))[0]

    assert not scores(RISE, stay, came, went, publish)


@pytest.mark.parametrize("stay, came, went", [(18, 5, 5), (19, 5, 5), (18, 6, 5), (20, 5, 6)])
def test_nobody_is_known_by_means_of_two_months_between_which_five_came_and_five_went(stay: int, came: int, went: int) -> None:
    assert not scores(THREE, stay, came, went, lambda then, now: (score(then, THREE, ())[0], score(now, THREE, ())[0]))


# -- lines ------------------------------------------------------------------------------------------------------------

A, B, C = (frozenset({p}) for p in "abc")


def test_lines_may_be_of_other_places_only_where_many_moved() -> None:
    """Two lines made one, and one of those by itself, give the other back."""
    was = Table({"a": {*"1234567890"}, "b": {*"qwertyuiop"}}, {A: {"x": 5}, B: {"x": 5}}, {"x": 10})
    assert fits({"a": {*"1234567890"}, "b": {*"qwert"}}, [A, B], was), "the same lines are held by their figures"
    assert not fits({"a": {*"1234567890"}, "b": {*"qwertyuiopZ"}}, [A | B], was), "one came"
    assert fits({"a": {*"1234567890"}, "b": {*"qwertZXCVB"}}, [A | B], was), "five came and five went"
    assert fits({**was.places, "c": {*"asdfg"}}, [A, B, C], was) and not fits({**was.places, "c": {*"asdf"}}, [A, B, C], was), "a new line is of five at least"
    assert not fits({"b": {*"qwertyuiop"}, "c": {*"1234567890"}}, [B, A | C], was), "all of one place went to another: nobody came or went, together"


def test_each_line_and_everybody_are_near_to_their_own() -> None:
    was = Table({"a": {*"12345"}, "b": {*"qwert"}}, {A: {"x": 5}, B: {"x": 10}}, {"x": 15})
    now = {"a": {*"12345"}, "b": {*"qwer", "Z"}}
    assert near(now, A, [was]) == [({"x": 5}, 0, 0)] and near(now, B, [was]) == [({"x": 10}, 1, 1)] and near(now, None, [was]) == [({"x": 15}, 1, 1)]
    assert near(now, C, [was]) == []
    assert held(20, "x", near(now, B, [was])) == 10 and held(0, "x", near(now, B, [was])) == 10 and held(5, "y", near(now, B, [was])) == 0
    with pytest.raises(Apart):
        held(20, "x", [({"x": 20}, 4, 4), ({"x": 10}, 5, 9)])


def test_few_are_as_none_where_a_table_is_told_whole_or_not() -> None:
    assert not enough({*"abcde"}, {*"a"}) and not enough({*"abcdef"}, {*"abcdef"}) and enough({*"abcdef"}, {*"uvwxyz"})
    assert enough({*"abcdef"}, None) and not enough({*"abcd"}, None) and enough(None, None)
