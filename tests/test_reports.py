"""Counts over all people: right, of those alone who do not object, and nothing to be learnt of one person by subtraction, repetition or linkage."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from datetime import date, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fhir_gateway import gate, plans
from fhir_gateway.definitions import load_r4
from fhir_gateway.domain.measured import measure_report
from fhir_gateway.domain.one_counted import of_person
from fhir_gateway.domain.problem import Problem
from fhir_gateway.domain.reporting import COLUMNS, ELSEWHERE, EVERYBODY, FEW, KINDS, Person, Report, report, rounded
from fhir_gateway.domain.types import Keep
from fhir_gateway.domain.validate import check
from fhir_gateway.gate.surveying import REPORT

from .conftest import Gateway, gateway, times
from .test_plans import opened
from .web.test_doors import as_
from .web.test_operator import operator

OURS = "https://fhir-gateway.example"
TODAY = date(2026, 11, 26)
PEOPLE: list[str] = []  # of the town, as they were brought
SCT = "http://snomed.info/sct"


# -- what a published table gives away --------------------------------------------------------------------------------


def ranges(told: Report) -> dict[tuple[str, str], tuple[int, int]]:
    """What an attacker who knows how reports are made can say of each count: rounding undone, then sums and sizes used until nothing narrows."""
    wide = {r.group: (max(0, (r.people or 0) - 2), (r.people or 0) + 2) for r in told.rows}
    out: dict[tuple[str, str], tuple[int, int]] = {}
    for r in told.rows:
        for c, n in r.counts.items():
            out[r.group, c] = (0, wide[r.group][1]) if n is None else (max(0, n - 2), min(n + 2, wide[r.group][1]))
    groups = [r.group for r in told.rows if r.group != EVERYBODY]
    if len(told.rows) > 1:
        for _ in range(10):
            for c in told.columns:
                low, high = out[EVERYBODY, c]
                for g in groups:
                    others = [out[o, c] for o in groups if o != g]
                    a, b = out[g, c]
                    out[g, c] = (max(a, low - sum(o[1] for o in others)), min(b, high - sum(o[0] for o in others)))
                out[EVERYBODY, c] = (max(low, sum(out[g, c][0] for g in groups)), min(high, sum(out[g, c][1] for g in groups)))
    return out


crowds = st.lists(st.tuples(st.sampled_from(["NR1", "NR2", "NR30", "CB4", ""]), st.sets(st.sampled_from(COLUMNS["unmet-need"]))), max_size=120)


@settings(max_examples=times(150), deadline=None)
@given(crowds)
def test_no_small_count_can_be_told_from_its_neighbours(crowd: list[tuple[str, set[str]]]) -> None:
    people = [Person(g, frozenset(has)) for g, has in crowd]
    told = report("unmet-need", people)
    known = ranges(told)
    shown = {r.group for r in told.rows} - {EVERYBODY, ELSEWHERE}
    exact = Counter((p.group if p.group in shown else ELSEWHERE, c) for p in people for c in p.has)
    exact |= Counter((EVERYBODY, c) for p in people for c in p.has)
    for row in told.rows:
        assert row.people is None or row.people >= FEW
        for column, n in row.counts.items():
            assert n is None or n >= FEW
            low, high = known[row.group, column]
            if n is None and row.people is not None:
                assert high - low >= FEW - 1 and (low == 0 or exact[row.group, column] >= FEW), (row.group, column, low, high)


@settings(max_examples=times(150), deadline=None)
@given(crowds, st.data())
def test_one_person_more_never_shows_by_more_than_a_step_that_chance_hides(crowd: list[tuple[str, set[str]]], data: Any) -> None:
    """Of any two crowds that differ in one person, every told count differs by nothing or by one step of five."""
    people = [Person("", frozenset(has)) for _, has in crowd] + [Person("", frozenset({"has an unmet need", "declined"}))]
    gone = data.draw(st.integers(0, len(people) - 1))
    before, after = (report("unmet-need", some) for some in (people, people[:gone] + people[gone + 1 :]))
    for a, b in zip(before.rows, after.rows, strict=False):
        for column, n in a.counts.items():
            m = b.counts[column]
            assert n is None or m is None or abs(n - m) in (0, FEW)


# -- two tables of the same people ------------------------------------------------------------------------------------


def test_two_groupings_of_the_same_people_would_give_one_of_them_away() -> None:
    """Why a month has one: Zoe lives in NR1 as all who go to the surgery there, and goes to another. Who knows that reads her answer."""
    yes, no = frozenset({"has an unmet need", "declined"}), frozenset({"has an unmet need", "waiting list"})
    zoe = [yes]
    surgery, elsewhere = [yes] * 12 + [no] * 17, [yes] * 30 + [no] * 30
    by_place = report("unmet-need", [Person("NR1", h) for h in surgery + zoe] + [Person("CB4", h) for h in elsewhere])
    by_practice = report("unmet-need", [Person("The surgery", h) for h in surgery] + [Person("Another", h) for h in elsewhere + zoe])
    place, practice = (next(r.counts["declined"] for r in t.rows if r.group == g) for t, g in ((by_place, "NR1"), (by_practice, "The surgery")))
    assert place is not None and practice is not None
    assert (place - 2) - (practice + 2) == 1, "at least one of those who are here and not there: she is the only one"


@settings(max_examples=times(150), deadline=None)
@given(crowds)
def test_the_tables_of_a_month_together_tell_no_number_under_five(crowd: list[tuple[str, set[str]]]) -> None:
    """By place, and everybody together: what the gate tells in a month, of one moment."""
    grouped, alone = (report("unmet-need", [Person(g if split else EVERYBODY, frozenset(has)) for g, has in crowd]) for split in (True, False))
    whole = next((r for r in grouped.rows if r.group == EVERYBODY), None)
    for row in alone.rows:
        assert whole is None or row.people == whole.people
        for column, n in row.counts.items():
            told = whole.counts[column] if whole else n
            assert n == told or (told is None and n is not None and n >= FEW)
    if whole is None or not alone.rows:
        return
    known = ranges(replace(grouped, rows=tuple(alone.rows[0] if r.group == EVERYBODY else r for r in grouped.rows)))
    for row in grouped.rows[:-1]:
        for column, n in row.counts.items():
            low, high = known[row.group, column]
            assert n is not None or row.people is None or high - low >= FEW - 1, (row.group, column, low, high)


async def test_there_is_one_way_of_grouping_and_the_tables_of_a_month_are_of_one_moment(tmp_path: Path) -> None:
    async with opened(tmp_path / "test.sqlite") as place:
        for n in range(24):
            await plans.save(place.hospital, plan(n, "NR30 1AA" if n < 12 else "CB4 2BB"))
        first = (await gate.counted_over_all(place.operator, "unmet-need")).report.rows
        for n in range(24, 40):  # so many came meanwhile that a count of them would show
            await plans.save(place.hospital, plan(n, "NR30 1AA"))
        split = (await gate.counted_over_all(place.operator, "unmet-need", "locality")).report.rows
        assert [r.group for r in split] == ["CB4", "NR30", EVERYBODY] and split[-1].people == first[-1].people == 25
        for kind in KINDS:  # the sizes of places and practices could be subtracted, too
            with pytest.raises(Problem) as refused:
                await gate.counted_over_all(place.operator, kind, "practice")
            assert refused.value.kind == "business-rule" and "by locality until 1 " in refused.value.text
        assert (await gate.counted_over_all(place.operator, "goals", "locality")).report.rows[-1].people == 40


async def test_nobody_is_told_by_asking_for_the_other_grouping_after_the_turn_of_a_month(tmp_path: Path) -> None:
    """Zoe again: by place a minute before midnight, by practice a minute after. The other opens a year after the last of the one; then that one is closed."""
    async with opened(tmp_path / "test.sqlite") as place:
        for n in range(24):
            await plans.save(place.hospital, plan(n, "NR30 1AA" if n < 12 else "CB4 2BB"))

        async def told(at: str, by: str) -> str:
            asks = replace(place.operator, at=datetime.fromisoformat(at))
            try:
                return "" if (await gate.counted_over_all(asks, "unmet-need", by)).report.rows else "no rows"
            except Problem as refused:
                assert refused.kind == "business-rule"
                return refused.text

        assert await told("2026-11-30T23:59:00Z", "locality") == ""
        assert "by locality until 1 December 2027" in await told("2026-12-01T00:01:00Z", "practice")
        assert await told("2026-12-01T00:02:00Z", "") == "" == await told("2026-12-31T23:00:00Z", "locality")
        assert "by locality until 1 January 2028" in await told("2027-12-31T23:59:00Z", "practice"), "each that is told begins the year anew"
        assert await told("2028-01-01T00:01:00Z", "practice") == ""
        assert "by practice until 1 February 2029" in await told("2028-02-01T00:01:00Z", "locality")


@pytest.mark.parametrize("first", ["practice", "locality", ""])
async def test_what_an_earlier_version_told_by_place_in_its_month_closes_the_other_as_long(tmp_path: Path, first: str) -> None:
    """It kept the month's grouping by the month alone; what came first after the upgrade found none, and both tables could be had."""
    async with opened(tmp_path / "test.sqlite") as place:
        turn = datetime.fromisoformat("2026-12-01T00:00:00Z")
        await place.house.store.commit(Keep(REPORT, "2026-11 by", b"locality", turn))

        async def closed(at: str, by: str) -> bool:
            try:
                await gate.counted_over_all(replace(place.operator, at=datetime.fromisoformat(at)), "goals", by)
            except Problem as refused:
                assert refused.kind == "business-rule" and "by locality until 1 December 2027" in refused.text
                return True
            return False

        assert await closed("2026-11-27T10:00:00Z", first) == (first == "practice")
        assert await closed("2026-11-27T10:01:00Z", "practice"), "in the month of the upgrade"
        assert await closed("2026-12-01T00:01:00Z", "practice"), "and as long after it as any other"
        assert not await closed("2026-11-27T10:02:00Z", "locality")


@given(st.integers(0, 10_000))
def test_what_is_told_is_one_of_five_possible_counts(n: int) -> None:
    assert rounded(n) % FEW == 0 and abs(rounded(n) - n) <= 2


def test_the_counts_are_right_where_they_are_told() -> None:
    people = [Person("NR1", frozenset({"has a plan", "offered a plan"}))] * 20 + [Person("NR1", frozenset({"offered a plan"}))] * 10
    people += [Person("CB4", frozenset({"offered a plan", "has a plan"}))] * 15 + [Person("CB4")] * 15
    told = {r.group: r for r in report("coverage", people).rows}
    assert told["NR1"].people == 30 and told["NR1"].counts["has a plan"] == 20 and told["CB4"].counts["has a plan"] == 15
    assert told[EVERYBODY].people == 60 and told[EVERYBODY].counts["has a plan"] == 35
    assert told["NR1"].counts["offered a plan"] is None, "all but fewer than five: whoever is here was offered one"


def test_a_place_of_few_people_is_not_told_by_itself() -> None:
    told = report("coverage", [Person("NR1")] * 30 + [Person("IP1")] * 3 + [Person("IP2")] * 8)
    assert [r.group for r in told.rows] == ["NR1", "elsewhere", EVERYBODY]


def test_scores_are_told_before_and_after() -> None:
    """Newcastle's table: how many, and the score before and after."""
    pam = (SCT, "925431000000109")
    people = [Person("", scores={pam: (40.0 + n % 3 * 10, 65.0 + n % 2 * 5)}, called={pam: "PAM score"}) for n in range(40)]
    people += [Person("", scores={pam: (50.0, 40.0)}, called={pam: "PAM score"})] * 20
    others = [Person("")] * 10
    (change,) = report("outcomes", people + others).changes
    assert (change.people, change.score_before, change.score_after, change.name) == (60, 50.0, 60.0, "PAM score"), "49.83 to the nearest two, 58.33 to the nearest five"
    assert change.counts == {"higher": None}, "beside means it is not told"
    people = [replace(p, scores={pam: (50.0, 60.0 if n < 40 else 40.0)}) for n, p in enumerate(people)]
    (change,) = report("outcomes", people + others).changes
    assert change.score_before is None and change.score_after is None, "everybody had fifty before"
    assert change.counts == {"higher": 40}, "of three that add up to a number somebody knows, the others would tell few"
    assert not report("outcomes", people[:4] + others).changes


def test_a_mean_is_told_of_nobody_in_particular() -> None:
    """Not of few, nor where nearly all have one value, nor at an end of the scale, nor one of two, nor of a scale of two; and no one person makes it."""
    code = (SCT, "736534008")

    def means(before: list[float], after: list[float]) -> tuple[float | None, float | None]:
        people = [Person("", scores={code: p}) for p in zip(before, after, strict=True)]
        (change,) = report("outcomes", people + [Person("")] * 10).changes
        return change.score_before, change.score_after

    wide = [1.0, 2.0, 3.0, 4.0, 5.0] * 5
    assert means(wide, wide) == (3.0, 3.0)
    for after in (
        [1.0] * 25, [5.0] * 25, [1.0] * 21 + [2.0] * 4, [1.0] * 23 + [1000.0] * 2, [1.0] * 21 + [2.0, 3.0, 4.0, 5.0], [5.0] * 22 + [1.0] * 3,
        [1e300] * 12 + [-1e300] * 13, [1e-320] * 12 + [0.0] * 13,
    ):  # fmt: skip
        assert means(wide, after) == means(after, wide) == (None, None), after
    assert means(wide[:22], wide[:22]) == (None, None), "as many as are told as twenty, and might be eighteen"
    two = [1.0] * 10 + [2.0] * 15
    assert means(two, two) == (None, None), "of two scores a mean is how many have the one"


# -- one person -------------------------------------------------------------------------------------------------------


def unmet(reason: str) -> dict[str, Any]:
    url = f"{OURS}/StructureDefinition/unmet-need-reason"
    return {"resourceType": "ServiceRequest", "status": "revoked", "extension": [{"url": url, "valueString": reason}]}


def test_words_of_a_person_are_never_a_column_or_a_name() -> None:
    choices = [{"resourceType": "ServiceRequest", "status": s} for s in ("active", "on-hold", "completed", "revoked", "draft", "entered-in-error")]
    assert [of_person("choices", "", [c], TODAY).has - {"asked for a service"} for c in choices] == [{"waits for it"}, {"waits for it"}, {"had it"}, {"did not have it"}, set(), set()]
    walks = {"resourceType": "ServiceRequest", "status": "active", "code": {"coding": [{"system": "http://snomed.info/sct", "code": "871731000000106"}], "text": "Alf's walk"}}
    assert of_person("choices", "", [walks], TODAY).about == {("http://snomed.info/sct", "871731000000106"): ""}, "no words"
    one = of_person("unmet-need", "", [unmet("My brother Alf hides my keys"), unmet("Waiting list")], TODAY)
    assert one.has == {"has an unmet need", "another reason", "waiting list"}
    goal = {"resourceType": "Goal", "lifecycleStatus": "active", "description": {"text": "See Alf", "coding": [
        {"system": "https://example.org/own", "code": "alf"}, {"system": SCT, "code": "Alf"}, {"system": SCT, "code": "129007004", "display": "Walk with Alf"}]}}  # fmt: skip
    people = [of_person("goals", "", [goal], TODAY)] + [Person("", frozenset({"has a goal"}), {(SCT, "129007004"): "Walking"})] * 4
    told = report("goals", people + [Person("")] * 10)
    assert told.about == (((SCT, "129007004"), "", 5),), "no five records agree on a name"
    assert "Alf" not in repr(told)


def test_a_score_counts_only_with_two_days() -> None:
    def score(day: str, value: Any) -> dict[str, Any]:
        code = {"coding": [{"system": SCT, "code": "736534008"}]}
        return {"resourceType": "Observation", "status": "final", "code": code, "effectiveDateTime": day, "valueQuantity": {"value": value}}

    once = of_person("outcomes", "", [score("2026-01-01T10:00:00Z", 1), score("2026-01-01T11:00:00Z", 2)], TODAY)
    assert not once.scores
    twice = of_person("outcomes", "", [score("2026-03-01", 0.8), score("2026-01-01", 0.5), {**score("2026-04-01", 9), "status": "entered-in-error"}], TODAY)
    assert twice.scores == {(SCT, "736534008"): (0.5, 0.8)}


# -- the whole, as an operator runs it --------------------------------------------------------------------------------


def plan(n: int, postcode: str) -> dict[str, Any]:
    return {
        "plan": "1", "id": f"plan-{n}", "title": "A plan", "status": "active",
        "person": {
            "id": f"p-{n}", "name": {"given": ["Zebedee"], "family": f"Quux{n}"}, "birth_date": "1950-02-03",
            "address": {"lines": ["1 Secret Street"], "postcode": postcode},
        },
        "goals": [{"id": "g", "text": f"My words {n}", "status": "in progress"}],
        "unmet_needs": [{"id": "u", "wanted": "A lift", "reason": "not affordable" if n % 2 else "waiting list"}],
    }  # fmt: skip


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """Twelve people in each of two districts and ten elsewhere, with plans that a hospital brought."""
    folder = tmp_path_factory.mktemp("town")
    with gateway(folder, "--demo") as g:
        files = []
        for n in range(34):
            file = folder / f"{n}.json"
            file.write_text(json.dumps(plan(n, "NR30 1AA" if n < 12 else "CB4 2BB" if n < 24 else "unknown")))
            files.append(str(file))
        brought = g.lines("import", *files, "--json")
        assert all(b["written"] and not b["refused"] for b in brought)
        PEOPLE[:] = [b["patient"] for b in brought]
        yield g


def test_an_operator_counts_plans_by_place_and_nobody_is_named(town: Gateway) -> None:
    rows = town.lines("report", "coverage", "--by", "locality", "--json")
    by = {r["group"]: r for r in rows}
    assert by["CB4"]["people"] == 10 and by["NR30"]["people"] == 10 and by["elsewhere"]["people"] >= 10
    assert by["CB4"]["counts"]["has a plan"] is None, "everybody there has one"
    said = json.dumps(rows)
    assert not any(word in said for word in ("Quux", "Zebedee", "Secret", "p-1", "1AA", "My words"))


@pytest.mark.slow
def test_the_answer_of_a_month_is_the_same_whoever_comes_and_goes(town: Gateway, tmp_path: Path) -> None:
    """Differencing: somebody is added whose answer the attacker wants to know, and the report is asked for again."""
    before = town.lines("report", "unmet-need", "--json")
    (tmp_path / "x.json").write_text(json.dumps(plan(99, "NR30 1AA")))
    town.lines("import", str(tmp_path / "x.json"), "--json")
    assert town.lines("report", "unmet-need", "--json") == before
    counts = Counter(before[0]["counts"])
    assert before[0]["people"] >= 34 - 2 and counts["not affordable"] in (15, 20)


@pytest.mark.slow
def test_who_opted_out_is_in_no_count(town: Gateway) -> None:
    """Five of twelve in one place opt out: seven are too few for a line of their own."""
    for id in PEOPLE[12:17]:
        done = town.command("patients", "record", id, "national-data-opt-out", "--evidence", "A letter")
        assert done.returncode == 0, done.stderr
    rows = {r["group"]: r for r in town.lines("report", "goals", "--by", "locality", "--json") if "group" in r}
    assert "NR30" in rows and "CB4" not in rows


def test_a_report_is_a_measure_report_too_with_the_same_counts(town: Gateway) -> None:
    rows = town.lines("report", "coverage", "--by", "locality", "--json")
    (told,) = town.lines("report", "coverage", "--by", "locality", "--fhir")
    assert not [i for i in check(told, load_r4()) if i.severity in ("error", "fatal")]
    assert told["type"] == "summary" and told["measure"].endswith("/Measure/coverage") and told["date"] == datetime.fromisoformat(rows[0]["at"]).isoformat(timespec="seconds")
    seen = {}
    for group in told["group"]:
        strata = {s["value"]["text"]: s for s in group["stratifier"][0]["stratum"]} | {EVERYBODY: group}
        for place, held in strata.items():
            of, true = held["population"]
            seen[place, group["code"]["text"]] = (of.get("count"), true.get("count"))
            assert all(("count" in p) != (p.get("_count", {}).get("extension", [{}])[0].get("valueCode") == "masked") for p in (of, true))
    assert seen == {(r["group"], c): (r["people"], n) for r in rows for c, n in r["counts"].items()} and None in {n for _, n in seen.values()}
    assert town.command("report", "coverage", "--json", "--fhir").returncode == 2


def test_scores_and_codes_of_a_measure_report_have_their_codes_and_means() -> None:
    people = [Person("", frozenset({"has a goal"}), {(SCT, "129007004"): "Walking"}, {(SCT, "736534008"): (n % 3, float(n))}, {(SCT, "736534008"): "Wellbeing"}) for n in range(25)]
    people += [Person("")] * 10
    at = datetime.fromisoformat("2026-11-27T10:00:00Z")
    (before, after) = measure_report(report("outcomes", people), at, "")["group"]
    assert (before["measureScore"], after["measureScore"]) == ({"value": 1.0}, {"value": 10.0}) and before["code"]["coding"] == [{"system": SCT, "code": "736534008", "display": "Wellbeing"}]
    assert [s["value"]["text"] for s in after["stratifier"][0]["stratum"]] == ["higher"]
    goals = measure_report(report("goals", people), at, "")
    assert [g["population"][0]["count"] for g in goals["group"] if g["code"]["text"] == "about Walking"] == [25]
    masked = {"extension": [{"url": "http://hl7.org/fhir/StructureDefinition/data-absent-reason", "valueCode": "masked"}]}
    few = measure_report(report("outcomes", people[:12] + people[25:]), at, "")
    assert [g["measureScore"] for g in few["group"]] == [masked, masked] and not [i for i in check(few, load_r4()) if i.severity in ("error", "fatal")]
    assert not [i for r in (goals, measure_report(report("outcomes", people), at, "")) for i in check(r, load_r4()) if i.severity in ("error", "fatal")]
    assert "group" not in measure_report(report("outcomes", people[:3]), at, ""), "of so few nothing is told"


def test_an_operator_reads_a_report_on_a_page_and_nobody_else_does(town: Gateway) -> None:
    olu = operator(town)
    page = olu.get("/operator/reports?kind=coverage&by=locality")
    assert page.status_code == 200 and "CB4" in page.text and "Quux" not in page.text
    rows = town.lines("report", "coverage", "--by", "locality", "--json")
    assert all(row["group"] in page.text for row in rows)
    assert olu.get("/operator/reports?kind=everything").status_code == 422
    assert as_(town, "gp").get("/operator/reports?kind=coverage").status_code in (403, 404)


@pytest.mark.parametrize("args", [("report", "everything"), ("report", "goals", "--by", "surname")])
def test_what_is_no_report_is_said(town: Gateway, args: tuple[str, ...]) -> None:
    done = town.command(*args)
    assert done.returncode == 1 and args[-1] in done.stderr and not done.stdout


@pytest.mark.slow
def test_the_trail_says_who_counted(town: Gateway, tmp_path: Path) -> None:
    town.lines("report", "coverage", "--json")
    done = town.command("audit", "export", str(tmp_path / "trail.ndjson"))
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in (tmp_path / "trail.ndjson").read_text().splitlines()]
    assert any(c.get("code") == "report" for r in rows for c in r.get("subtype", ()))


def test_of_scores_it_is_told_how_many_were_asked_again_and_answered() -> None:
    """Of what has fallen due; and nothing of it where few were asked."""
    def task(start: str, end: str, status: str = "requested") -> dict[str, Any]:
        asks = [{"type": {"text": "questionnaire"}, "valueCanonical": "https://town.example/Questionnaire/q"}]
        return {"resourceType": "Task", "status": status, "input": asks, "executionPeriod": {"start": start, "end": end}}

    past, done, ahead = task("2020-01-01", "2020-01-15"), task("2020-01-01", "2020-01-15", "completed"), task("2999-01-01", "2999-01-15")
    kinds = [[ahead], [past], [done, ahead], [done, past], []]
    has = [of_person("outcomes", "", tasks, TODAY).has for tasks in kinds]
    assert has == [frozenset(), {"asked again", "not answered in time"}, {"asked again", "answered"}, {"asked again", "answered", "not answered in time"}, frozenset()]
    people = [Person("", h) for h in has for _ in range(10)]
    (row,) = report("outcomes", people).rows
    assert (row.people, dict(row.counts)) == (50, {"asked again": 30, "answered": 20, "not answered in time": 20})
    assert report("outcomes", people[:10] + people[10:14]).rows == ()


def test_who_did_not_attend_has_no_unmet_need() -> None:
    def counted(*reasons: str) -> frozenset[str]:
        said = [{"resourceType": "ServiceRequest", "status": "revoked", "extension": [{"url": f"{OURS}/StructureDefinition/unmet-need-reason", "valueString": r}]} for r in reasons]
        return of_person("unmet-need", "", said, date(2026, 11, 27)).has

    assert counted("Did not attend", "DNA", "was not brought.") == frozenset()
    assert counted("DNA", "Waiting list") == {"has an unmet need", "waiting list"} and counted("The course did not take place") == {"has an unmet need", "another reason"}
