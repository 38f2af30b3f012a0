"""Row 48, the evaluation in Hertfordshire: activation and EQ-5D before and after, of many. Codes and numbers alone: no wording of an instrument is kept here."""

from __future__ import annotations

import json
from statistics import fmean

import pytest

from .counted import ACTIVATION, CLOSED, INDEX, PLACES, County, scores
from .town import SNOMED, Programme


@pytest.mark.parametrize("code, means", [(ACTIVATION, (2, 2.6)), (INDEX, (0.5, 0.7))], ids=["activation", "EQ-5D"])
def test_the_report_is_the_evaluations_table(county: County, code: str, means: tuple[float, float]) -> None:
    pairs = [s[code] for place, many in PLACES.items() for n in range(many) if code in (s := scores(place, n))]
    assert len(pairs) == 26
    told = county.scored(code)
    assert told["people"] == 25 and told["score"]["system"] == SNOMED
    assert (told["before"], told["after"]) == means, "told in fives, the ends cut, so that no four people are known by them"
    assert [fmean(p[i] for p in pairs) for i in (0, 1)] == [pytest.approx(m, abs=0.2) for m in means], "and near what they are"
    assert told["counts"] == {"higher": None}, "beside means it would tell how few have a score"
    assert not [w for w in (*CLOSED, *county.numbers) if w in json.dumps(told)]


def test_one_persons_scores_are_theirs(county: County) -> None:
    p = Programme(county, "s48")
    p.places(university="voluntary")
    (evaluator,) = p.staff(eve=("university", "researcher"))
    assert evaluator.total(f"Observation?code={SNOMED}|{ACTIVATION}") == 0
    assert evaluator.page.get("/operator/reports?kind=outcomes").status_code in (403, 404)
