"""Row 24, social prescribing in Newcastle: people are referred, and how they felt before and after is told of all of them.

The report counts everybody with a score of two days; in this county those are the referred.
"""

from __future__ import annotations

from statistics import fmean

import pytest

from .counted import HEALTH_TODAY, PLACES, SOCIAL_PRESCRIBING, County, referred, scores
from .town import SNOMED, Programme, classes, id_of, permit


def test_the_report_is_the_programmes_own_table(county: County) -> None:
    pairs = [scores(place, n)[HEALTH_TODAY] for place, many in PLACES.items() for n in range(many) if referred(place, n)]
    assert len(pairs) == 30
    told = county.scored(HEALTH_TODAY)
    assert told["people"] == 30, "nobody who was asked once alone, and not the three who opted out"
    assert (told["before"], told["after"]) == (40, 50), "to the nearest five, for nobody is to be known by it"
    assert [fmean(p[i] for p in pairs) for i in (0, 1)] == [pytest.approx(40), pytest.approx(51.67, abs=0.01)]
    (referrals,) = [r for r in county.report("choices") if "about" in r]
    assert referrals["about"]["code"] == SOCIAL_PRESCRIBING["code"] and referrals["people"] == told["people"], "as many as were referred"
    assert told["counts"] == {"higher": None}, "beside means this would tell how few have a score"
    said = county.gateway.command("report", "outcomes").stdout
    assert "fewer than five" in said and "Means are of 25 people or more" in said, "and says how it was counted"


def test_a_referral_opens_the_record_of_its_person_alone(programme: Programme) -> None:
    p = programme
    p.places(trust="health", links="voluntary", elsewhere="voluntary")
    worker, stranger = p.staff(lou=("links", "link-worker"), kim=("elsewhere", "link-worker"))
    source = p.system("records", "trust", "--contributor", "--refers")
    patient, _ = (p.bring(source, p.plan_of(name)) for name in ("Dot", "Ray"))
    dot = p.person("dot", patient)
    made = source.call("POST", "ServiceRequest", body={
        "resourceType": "ServiceRequest", "status": "active", "intent": "order", "code": {"coding": [{"system": SNOMED, "code": "871731000000106"}]},
        "subject": {"reference": dot.user}, "performer": [{"reference": p.place("links")}],
    })  # fmt: skip
    assert made.status_code == 201, made.text
    asked = source.call("POST", "Task", body={
        "resourceType": "Task", "status": "requested", "intent": "order", "description": "Meet Dot", "for": {"reference": dot.user},
        "focus": {"reference": made.headers["location"].split("/fhir/")[1].split("/_history")[0]}, "owner": {"reference": p.place("links")},
    })  # fmt: skip
    assert asked.status_code == 201, asked.text
    assert worker.agree(patient) == 1 and worker.total(f"ServiceRequest?patient={patient}&code={SNOMED}|871731000000106") == 1
    assert worker.total(f"ServiceRequest?code={SNOMED}|871731000000106") == 1, "of nobody else"
    assert stranger.total(f"ServiceRequest?code={SNOMED}|871731000000106") == 0
    for day, value in (("2026-03-02", 40), ("2026-09-07", 60)):
        source.make({"resourceType": "Observation", "status": "final", "subject": {"reference": dot.user}, "effectiveDateTime": day, "code": {"coding": [{"system": SNOMED, "code": HEALTH_TODAY}]}, "valueInteger": value})
    dot.page.get("/my-plan/results")
    assert "20 more than on 2 March 2026" in dot.page.words(), "before and after, on her own page"
    assert worker.total(f"Observation?patient={patient}") == 0, "to be sent somebody is not to read how they feel"
    yes = dot.allow(permit(p.place("links"), **classes("Observation")))
    assert worker.total(f"Observation?patient={patient}") == 2 and stranger.total(f"Observation?patient={patient}") == 0, "with her yes the worker sees whether it helped"
    dot.end(yes)
    task = f"Task/{id_of(asked)}"
    worker.change(task, status="completed")
    dot.page.get("/asked")
    assert "Done" in dot.page.words() and worker.total(f"Observation?patient={patient}") == 0, "and nothing more of her once it is done"
    stranger.knows_nothing_of(task)
    dot.page.get("/my-plan/who-looked")
    assert "Lou" in dot.page.words()
    assert worker.page.get("/operator/reports?kind=outcomes").status_code in (403, 404)
