"""Row 5, Self Care Model of Norfolk: what people's goals are about, counted over all of them. The weights that Norfolk gave to goals were its own, and are not here."""

from __future__ import annotations

import json

from .counted import CLOSED, County
from .town import Programme


def test_goals_are_counted_by_place_and_fewer_than_five_are_not_told(county: County) -> None:
    rows = county.rows("goals", "--by", "locality")
    assert {g: r["people"] for g, r in rows.items()} == {"NR1": 30, "CB4": 20, "elsewhere": 15, "everybody": 70}
    assert {g: r["counts"]["has a goal"] for g, r in rows.items()} == {"NR1": 10, "CB4": 10, "elsewhere": 5, "everybody": 25}, "12, 8, 6 and 26, to the nearest five"
    assert {r["counts"]["goal completed"] for r in rows.values()} == {None}, "three people reached one"
    assert all(n is None or n >= 5 for r in rows.values() for n in r["counts"].values())

    told = county.report("goals", "--by", "locality")
    assert [(r["about"]["code"], r["about"]["name"], r["people"]) for r in told if "about" in r] == [("129006008", "Walking", 25)], "not what three people's goals are about"
    assert not [w for w in CLOSED if w in json.dumps(told)]
    assert told == county.report("goals", "--by", "locality"), "the same for whoever asks, until the month is over"


def test_who_cares_for_people_does_not_count_them(county: County) -> None:
    p = Programme(county, "s05")
    p.places(surgery="health")
    gp, planner = p.staff(gia=("surgery", "gp"), pia=("surgery", "governance-lead", ("operator",)))
    planner.page.get("/operator/reports?kind=goals&by=locality")
    for words in ("NR1", "CB4", "Walking", "elsewhere"):
        assert words in planner.page.words(), planner.page.words()
    assert not [w for w in (*CLOSED, *county.numbers, "NR30") if w in planner.page.page], "who plans services reads counts on a page, and nobody's goal"
    assert planner.total("Goal") == 0, "nor by asking for goals"
    assert gp.page.get("/operator/reports?kind=goals&by=locality").status_code in (403, 404) and "Walking" not in gp.page.page
    assert gp.total("Goal") == 0, "nor reads anybody's goals for it"
