"""Row 36, unmet need: what people need and do not get, for those who plan services; nobody can be known by it."""

from __future__ import annotations

import json
from pathlib import Path

from .counted import CLOSED, County
from .town import Programme

KEYS = {"kind", "at", "until", "group", "people", "counts"}


def test_reasons_are_counted_and_who_opted_out_is_in_no_count(county: County) -> None:
    (row,) = county.report("unmet-need")
    assert row["people"] == 70
    assert row["counts"] == {
        "has an unmet need": 30, "waiting list": 15, "not affordable": 5, "not available": 5,  # six: three more said so, and opted out
        "not accessible": None, "declined": None, "another reason": None,
    }  # fmt: skip
    assert "NR30" not in county.rows("unmet-need", "--by", "locality"), "without them it is a place of nine"


def test_nothing_in_a_report_leads_to_a_person(county: County) -> None:
    """A linkage attack has a list of names, numbers, birth days, addresses and words: there is nothing to hold it against."""
    rows = county.rows("unmet-need", "--by", "locality")
    said = json.dumps(list(rows.values())) + county.gateway.command("report", "unmet-need", "--by", "locality").stdout
    assert not [w for w in (*CLOSED, *county.numbers) if w in said], "no NHS number, no name, no free text"
    assert all(set(r) == KEYS for r in rows.values()), "no line of a person, and no other key to join by"
    assert all(r["people"] >= 10 for r in rows.values())
    assert all(n is None or n >= 5 for r in rows.values() for n in r["counts"].values())
    assert [rows[g]["counts"]["waiting list"] for g in ("NR1", "CB4", "elsewhere", "everybody")] == [10, None, None, 15], "nor by subtraction: two are not told, or none"


def test_for_who_plans_services_it_is_a_measure_report_with_nobody_in_it(county: County, tmp_path: Path) -> None:
    told = county.gateway.command("report", "unmet-need", "--by", "locality", "--fhir")
    assert told.returncode == 0, told.stderr
    report = json.loads(told.stdout)
    assert (report["resourceType"], report["type"], report["measure"]) == ("MeasureReport", "summary", "https://fhir-gateway.example/Measure/unmet-need") and "subject" not in report
    strata = {(g["code"]["text"], s["value"]["text"]): [p.get("count") for p in s["population"]] for g in report["group"] for s in g["stratifier"][0]["stratum"]}
    rows = county.rows("unmet-need", "--by", "locality")
    assert strata == {(c, g): [r["people"], n] for g, r in rows.items() if g != "everybody" for c, n in r["counts"].items()}, "the counts of the table, and no others"
    hidden = [p for g in report["group"] for s in (g, *g["stratifier"][0]["stratum"]) for p in s["population"] if "count" not in p]
    assert hidden and all(p["_count"]["extension"][0]["valueCode"] == "masked" for p in hidden), "what is not told is said to be kept back"
    assert not [w for w in (*CLOSED, *county.numbers) if w in told.stdout]
    (tmp_path / "report.json").write_text(told.stdout)
    checked = county.gateway.command("validate", str(tmp_path / "report.json"))
    assert checked.returncode == 0, checked.stdout + checked.stderr
    other = county.gateway.command("report", "unmet-need", "--by", "practice", "--fhir")
    assert other.returncode != 0 and not other.stdout, "nor by a second table of the same people"


def test_nobody_but_an_operator_is_told(county: County) -> None:
    p = Programme(county, "s36")
    p.places(council="social-care")
    (planner,) = p.staff(pia=("council", "commissioner"))
    answer = planner.page.get("/operator/reports?kind=unmet-need")
    assert answer.status_code in (403, 404) and "waiting list" not in answer.text
    assert planner.total("ServiceRequest") == 0
