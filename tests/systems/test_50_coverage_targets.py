"""Row 50, targets for plans: how many were offered one, have one, have a key worker, are overdue for review, by locality."""

from __future__ import annotations

import json

from .counted import CLOSED, County, plan
from .town import Programme

COLUMNS = ("offered a plan", "has a plan", "has a key worker", "overdue for review")


def test_coverage_by_locality_hides_few_and_cannot_be_differenced(county: County) -> None:
    rows = county.rows("coverage", "--by", "locality")
    told = {g: (r["people"], *(r["counts"][c] for c in COLUMNS)) for g, r in rows.items()}
    assert told == {
        "NR1": (30, 25, 20, 10, 5),  # 32 people: 26, 20, 10, 7
        "CB4": (20, 15, 15, 5, None),  # 20 people: 14, 14, 7, and 2 that are not told
        "elsewhere": (15, 10, 10, 5, None),  # 17 people: 12, 12, 5, and 5 that would tell the two
        "everybody": (70, 50, 45, 20, 15),
    }  # fmt: skip
    assert not [w for w in (*CLOSED, *county.numbers) if w in json.dumps(list(rows.values()))]

    newcomer = plan(county.programme, "CB4", 3) | {"id": "cty-newcomer", "unmet_needs": [], "goals": [], "measurements": [], "referrals": []}
    newcomer["person"] |= {"id": "cty-newcomer"}
    county.programme.bring(county.source, newcomer)
    again = county.rows("coverage", "--by", "locality")
    assert again == rows, "who comes between two reports cannot be told from their difference"
    assert again["CB4"]["counts"]["has a key worker"] == 5, "counted anew it were ten"


def test_a_worker_of_the_county_gets_no_report_and_nobodys_plan(county: County) -> None:
    p = Programme(county, "s50")
    p.places(surgery="health")
    (nurse,) = p.staff(nia=("surgery", "nurse"))
    assert nurse.total("CarePlan") == 0, "of all the county's plans"
    assert nurse.page.get("/operator/reports?kind=coverage").status_code in (403, 404)
