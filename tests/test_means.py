"""Means of scores, and counts of what nearly all have, against who would turn them back: into how many they are of, how few have a score, or whose it is.

Every way in which people could stand on a small scale is published; who reads an answer knows the scale and how reports are made, and keeps those ways
that publish the same. By plain means that gives counts and people away, by those that are told it does not. docs/reports.md
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import combinations, pairwise

import pytest

from fhir_gateway.domain.reporting import FEW, Change, Person, report, rounded, told_of

SCORE = ("http://snomed.info/sct", "736534008")
Pairs = Sequence[tuple[float, float]]  # before and after, of each
Answer = tuple[float | None, ...]  # how many, the mean before, the mean after, how many are higher
Way = tuple[int, ...]  # how many people are in each cell


def change(pairs: Pairs, groups: Sequence[str] = (), others: int = 10) -> Change:
    """What is told of people with these scores, and `others` who have none."""
    places = [*(groups or [""] * len(pairs)), *[""] * others]
    has = [{SCORE: p} for p in pairs] + [{}] * others
    (found,) = report("outcomes", [Person(g, scores=s) for g, s in zip(places, has, strict=True)]).changes
    return found


def told(pairs: Pairs) -> Answer:
    c = change(pairs)
    return c.people, c.score_before, c.score_after, *c.counts.values()


def plainly(pairs: Pairs) -> Answer:
    """As before there was a rule: of whomever, to three figures."""
    return rounded(len(pairs)), *(float(f"{sum(p[i] for p in pairs) / len(pairs):.3g}") for i in (0, 1)), None


def ways(people: int, cells: int) -> Iterator[Way]:
    """Each way in which so many people are spread over so many cells."""
    for cuts in combinations(range(people + cells - 1), cells - 1):
        edges = (-1, *cuts, people + cells - 1)
        yield tuple(b - a - 1 for a, b in pairwise(edges))


def spread(counts: Way, cells: Pairs) -> list[tuple[float, float]]:
    return [cell for cell, n in zip(cells, counts, strict=True) for _ in range(n)]


def published(cells: Pairs, people: Iterable[int], publish: Callable[[Pairs], Answer]) -> dict[Answer, list[Way]]:
    """By answer, all the ways that publish it."""
    out: dict[Answer, list[Way]] = defaultdict(list)
    for n in people:
        for way in ways(n, len(cells)):
            out[publish(spread(way, cells))].append(way)
    return out


def known(possible: Iterable[int]) -> bool:
    """Is a small count told by what is still possible: by the measure that holds for the counts themselves, five candidates at least."""
    least, most = min(several := list(possible)), max(several)
    return least < FEW and most - least < FEW - 1


def given_away(cells: Pairs, found: dict[Answer, list[Way]]) -> list[tuple[str, Answer]]:
    """How few have a score, before or after, how few went which way, how few did both: what an answer tells of these, and of how few did not."""
    groups = {f"{v} {('before', 'after')[i]}": [c[i] == v for c in cells] for i in (0, 1) for v in {c[i] for c in cells}}
    groups |= {w: [(c[1] > c[0]) - (c[1] < c[0]) == d for c in cells] for w, d in (("higher", 1), ("the same", 0), ("lower", -1))}
    groups |= {f"from {c[0]} to {c[1]}": [c == d for d in cells] for c in cells}
    asked = [(name, cells_of) for name, cells_of in groups.items() if 0 < sum(cells_of) < len(cells)]  # nobody needs a report to know that nobody is where nobody can be
    out = []
    for answer, possible in found.items():
        for name, cells_of in asked:
            many = [sum(n for n, of in zip(way, cells_of, strict=True) if of) for way in possible]
            if known(many) or known([sum(way) - n for way, n in zip(possible, many, strict=True)]):
                out.append((name, answer))
    return out


def stay(*scale: float) -> Pairs:
    return [(v, v) for v in scale]


def with_means(found: dict[Answer, list[Way]]) -> dict[Answer, list[Way]]:
    return {a: w for a, w in found.items() if a[1] is not None}


# -- what a mean is made of -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("people", [23, 25, 27])
def test_a_mean_is_made_of_rounded_counts_and_nothing_else(people: int) -> None:
    """Of how many have each score or less, by steps of five; none and few are one step, and all and all but few. Each step has five counts or more."""
    scale = (0.0, 1.0, 2.0, 10.0)
    edges = [FEW, *range(2 * FEW + 3, rounded(people) - 2 * FEW, FEW), people - FEW + 1]
    assert all(b - a >= FEW for a, b in pairwise([0, *edges, people + 1]))
    by_steps: dict[tuple[int, ...], set[Answer]] = defaultdict(set)
    for way in ways(people, len(scale)):
        by_steps[tuple(sum(sum(way[: i + 1]) >= e for e in edges) for i in range(len(scale)))].add(told(spread(way, stay(*scale)))[:3])
    assert all(len(answers) == 1 for answers in by_steps.values())
    assert len({a for answers in by_steps.values() for a in answers}) == 3, "two means, and none"


# -- of one score -----------------------------------------------------------------------------------------------------

SCALES = [stay(1, 2, 3), stay(0, 1, 10)]
IDS = ["three steps", "one far off"]


@pytest.mark.parametrize("cells", SCALES, ids=IDS)
def test_no_mean_tells_how_few_have_a_score(cells: Pairs) -> None:
    """Not of between 18 and 27 people, nor where it is known of how many."""
    assert given_away(cells, published(cells, range(5, 8), plainly)), "by plain means they would know"
    for people in (range(18, 28), range(23, 24), range(25, 26), range(27, 28)):
        found = published(cells, people, told)
        assert with_means(found) and not given_away(cells, found), people


@pytest.mark.parametrize("cells", SCALES, ids=IDS)
def test_no_mean_tells_of_how_many_it_is(cells: Pairs) -> None:
    """Each of the five counts that are rounded to the one told is possible still."""
    assert any(len({sum(w) for w in found}) == 1 for found in published(cells, range(5, 8), plainly).values()), "by plain means they would know"
    found = with_means(published(cells, range(18, 28), told))
    assert {answer[0] for answer in found} == {25}, "of twenty, two might be too few; so the means of twenty-two are not told, either"
    assert all({sum(w) for w in possible} == {*range(23, 28)} for possible in found.values())


def test_four_of_twenty_five_who_have_ten_are_not_told_by_their_mean() -> None:
    """Nor whether there are any: those who have ten are one of five numbers, or of more."""
    for tens in range(FEW):
        pairs = [(0.0, 0.0)] * 13 + [(1.0, 1.0)] * (12 - tens) + [(10.0, 10.0)] * tens
        assert told(pairs) == told([(0.0, 0.0)] * 13 + [(1.0, 1.0)] * 12)


# -- before and after -------------------------------------------------------------------------------------------------

YES_OR_NO = [(0.0, 0.0), (0.0, 1.0), (1.0, 0.0), (1.0, 1.0)]
ROSE_BY_ONE = [(1.0, 1.0), (1.0, 2.0), (2.0, 2.0), (2.0, 3.0)]


@pytest.mark.parametrize("people", [23, 25])
@pytest.mark.parametrize("cells", [YES_OR_NO, ROSE_BY_ONE], ids=["yes or no", "all rise by one or stay"])
def test_before_and_after_together_tell_no_count_under_five(cells: Pairs, people: int) -> None:
    """Means and counts of who went which way would be subtracted from each other; so one of them is told alone, and no mean of a scale of two scores."""
    assert given_away(cells, published(cells, [7], plainly)), "by plain means they would know"
    found = published(cells, [people], told)
    assert len(found) > 2 and not given_away(cells, found), given_away(cells, found)
    assert all(a[3:] == (None,) for a in with_means(found)) and bool(with_means(found)) == (cells is ROSE_BY_ONE)


def test_means_beside_counts_would_tell() -> None:
    """Why only one of them is told: with both, of 25 people, somebody would know how few said yes both times."""
    def both(pairs: Pairs) -> Answer:
        steps = tuple(sum(sum(p[i] for p in pairs) >= e for e in (FEW, 13, len(pairs) - FEW + 1)) for i in (0, 1))
        up, down = sum(b > a for a, b in pairs), sum(b < a for a, b in pairs)
        moved = (up, len(pairs) - up - down, down)
        return 25, *steps, *(rounded(n) if min(moved) >= FEW else None for n in moved)

    assert "from 1.0 to 1.0" in {name for name, _ in given_away(YES_OR_NO, published(YES_OR_NO, [25], both))}


# -- of all, and all but few ------------------------------------------------------------------------------------------


def test_no_count_tells_how_few_have_not_what_nearly_all_have() -> None:
    """Who knows of how many people it is (19 of 20 have it) cannot tell how many have it not."""
    def by_answer(people: int, publish: Callable[[int], int]) -> list[list[int]]:
        """For each answer, how many may have it not."""
        found: dict[int, list[int]] = defaultdict(list)
        for n in range(people + 1):
            found[publish(n)].append(people - n)
        return [without for answer, without in found.items() if answer]

    assert any(known(w) for w in by_answer(20, rounded)), "by rounding alone they would know"
    for people in range(5, 61):
        assert not any(known(w) for w in by_answer(people, lambda n: told_of(n, people))), people  # noqa: B023
    assert by_answer(20, lambda n: told_of(n, 20)) == [[15, 14, 13], [12, 11, 10, 9, 8], [*range(7, -1, -1)]]
    topic = {("http://snomed.info/sct", "129006008"): "Walking"}
    told = report("goals", [Person("", frozenset({"has a goal"}), topic)] * 19 + [Person("")])
    assert [n for _, _, n in told.about] == [15]


def test_no_score_tells_how_few_have_it_not() -> None:
    """Nor by who went which way: of a known number of people, some of whom have the score."""
    cells = [(0.0, 1.0), (0.0, 0.0), (1.0, 0.0)]
    for people in (24, 28, 30):
        found: dict[Answer, Counter[int]] = defaultdict(Counter)
        for n in range(people - 9, people + 1):
            for way in ways(n, 3):
                c = change(spread(way, cells), others=people - n)
                found[c.people, c.score_before, c.score_after, *c.counts.values()][people - n] += 1
        assert len(found) > 3 and not [a for a, many in found.items() if known(many)], people


# -- by subtraction ---------------------------------------------------------------------------------------------------

TABLE = {"NR1": 14, "CB4": 12, "NR30": 1}


def test_means_of_places_cannot_be_taken_from_those_of_everybody() -> None:
    """Were each place told its means, what is left of everybody would be Zoe's, who lives alone in hers. There are none: by place they are of everybody."""
    places = [g for g, n in TABLE.items() for _ in range(n)]
    pairs = [(float(n % 5), float(n % 4 + 1)) for n in range(len(places) - 1)] + [(2.0, 5.0)]

    def after(of: Sequence[str]) -> tuple[int, float]:
        theirs = [p for p, g in zip(pairs, places, strict=True) if g in of]
        return len(theirs), sum(p[1] for p in theirs) / len(theirs)

    (all_of, whole), *others = after(list(TABLE)), after(["NR1"]), after(["CB4"])
    assert all_of * whole - sum(n * mean for n, mean in others) == pytest.approx(5.0), "by plain means of each they would know"
    alone, split = change(pairs), change(pairs, places)
    assert alone == split and alone.score_after is not None


@pytest.mark.parametrize("beyond", [11.0, 1000.0, 1e300], ids=["a little", "far", "no score at all"])
def test_what_four_people_have_beyond_all_others_changes_no_mean(beyond: float) -> None:
    crowd = [(float(n % 5), float(n % 5 + 2)) for n in range(26)]
    more = [*crowd, *[(4.0, 6.0)] * 4]
    assert told([*crowd, *[(beyond, beyond)] * 4]) == told(more) and None not in told(more)[:3]
