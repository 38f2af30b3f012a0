"""A worker with 200 people: all of them, a page at a time in the order of their names, and one of them by name. Nobody else is found there."""

from __future__ import annotations

import html
import json
import re
import time
from collections.abc import Iterator
from typing import Any

import pytest

from ..conftest import Gateway, gateway
from ..full_plans import numbers
from .test_doors import Visitor, as_

PEOPLE = 200
GIVEN = ("Ada", "Bo", "Ciarán", "Dee", "Esme", "Fay", "Gus", "Hal")
FAMILIES = ("Abbott", "Brook", "Carr", "Dale", "Eaton", "Frost", "Green", "Hill", "Ivory", "Jones")


def plan(n: int, number: str) -> dict[str, Any]:
    return {
        "plan": "1", "id": f"case-{n}", "title": "A plan", "status": "active",
        "person": {
            "id": f"p-{n}", "nhs_number": number, "birth_date": "1950-02-03",
            "name": {"given": [GIVEN[n % len(GIVEN)]], "family": f"{FAMILIES[n % len(FAMILIES)]}-{n:03}"},
        },
        "team": [{"id": "t-gp", "name": "Dr Asha Patel", "role": "GP", "organisation": {"ods": "D82001", "name": "Example Street Surgery", "sector": "health"}}],
        "goals": [{"id": "g", "text": f"Walk to the shop, {n}", "status": "in progress"}],
    }  # fmt: skip


@pytest.fixture(scope="module")
def busy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A surgery that 200 people named as theirs."""
    folder = tmp_path_factory.mktemp("busy")
    files = []
    for n, number in enumerate(numbers(PEOPLE)):
        files.append(folder / f"{n}.json")
        files[-1].write_text(json.dumps(plan(n, number)))
    with gateway(folder, "--demo") as g:
        g.patience = 600
        brought = g.lines("import", *map(str, files), "--json")
        assert all(b["written"] and not b["refused"] for b in brought)
        yield g


def listed(v: Visitor) -> list[str]:
    """Names of the people on this page, in their order."""
    found = re.search(r'<section aria-labelledby="people">(.*?)</section>', v.page, re.S)
    assert found
    return [html.unescape(n) for n in re.findall(r'<a href="/team/people/[^"]+">([^<]+)</a>', found.group(1))]


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_two_hundred_people_are_accepted_paged_through_and_found_by_name(busy: Gateway) -> None:
    asha = as_(busy, "gp")
    asha.get("/team")
    assert asha.page.count("/accept") == 50 and "More tasks wait than this page shows" in asha.words()
    assert asha.get("/team?name=Abbott").text.count("/accept") == 0, "who looks for somebody is not shown the tasks again"
    accepted = 0
    while waiting := busy.get("gp", "Task?status=requested&owner:identifier=D82001&_count=200").json().get("entry"):
        for entry in waiting:
            task = entry["resource"]
            done = busy.call("gp", "PUT", f"Task/{task['id']}", body={**task, "status": "accepted"}, headers={"If-Match": f'W/"{task["meta"]["versionId"]}"'})
            assert done.status_code == 200, done.text
            accepted += 1
    assert accepted == PEOPLE
    owner = {"identifier": {"system": "https://fhir.nhs.uk/Id/ods-organization-code", "value": "D82001"}}
    task = {"resourceType": "Task", "status": "accepted", "intent": "order", "description": "Ring about the stairs", "for": {"reference": f"Patient/{busy.patient}"}, "owner": owner}
    assert busy.call("gp", "POST", "Task", body=task).status_code == 201
    asha.get("/team")
    assert "Tasks you or your organisation took on" in asha.words() and "Ring about the stairs" in asha.words(), "not crowded out by the answered ones"
    seen, path, pages, took = [], "/team", 0, []
    while path:
        start = time.monotonic()
        answer = asha.get(path)
        took.append(time.monotonic() - start)
        assert answer.status_code == 200
        here = listed(asha)
        assert len(here) <= 50 and ("Everybody whose plan you can see" in asha.words()) is (pages > 0)
        assert "More tasks wait" not in asha.words()
        seen += here
        pages += 1
        more = re.search(r'href="(/team\?page=[^"]+)"', asha.page)
        path = html.unescape(more.group(1)) if more else ""
    assert pages == 5 and len(seen) == len(set(seen)) == PEOPLE + 1, "and Amina"
    families = [n.split()[-1].casefold() for n in seen]
    assert families == sorted(families)
    print("seconds a page:", [round(t, 3) for t in took])

    def looked(name: str) -> list[str]:
        answer = asha.get(f"/team?name={name}")
        assert answer.status_code == 200 and f'value="{html.escape(name.replace("+", " ").replace("%2C", ","), quote=False)}"' in answer.text
        return listed(asha)

    assert looked("hill-097") == ["Bo Hill-097"] and looked("Hill+bo") == [n for n in seen if n.startswith("Bo Hill")]
    assert [n for n in looked("ciaran") if n.startswith("Ciarán")] and looked("ciarán")
    assert looked("Zzz") == [] and "There is nobody of that name whose plan you can see" in asha.words()
    assert looked("a%2Cb") == [] and asha.get("/team?name=%00%24%7C%5C").status_code == 200 and asha.get("/team?name=" + "x" * 5000).status_code == 200
    asha.get("/team?name=o")
    more = re.search(r'href="(/team\?page=[^"]+)"', asha.page)
    if len(listed(asha)) == 50:
        assert more
        first = listed(asha)
        asha.get(html.unescape(more.group(1)))
        assert not set(first) & set(listed(asha)) and 'value="o"' in asha.page, "the next page is of the same name"
    assert as_(busy, "stranger").get("/team?name=Hill").text.count("/team/people/") == 0, "nobody is found here who may not be seen"
    assert asha.get("/team?page=nonsense").status_code in (400, 404)
