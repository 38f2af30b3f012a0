"""A county whose people are counted. They come once for all stories of counting: a report is counted once in a month.

Where somebody lives and who they are among those of that place says everything else: whoever reads a story can work its counts out.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..conftest import gateway
from .town import NHS, SNOMED, Programme, Town, about

OFFER = "https://fhir-gateway.example/CodeSystem/plan-offer"
WALKING = {"system": SNOMED, "code": "129006008", "display": "Walking"}
EXERCISE = {"system": SNOMED, "code": "61686008", "display": "Physical exercise"}
SOCIAL_PRESCRIBING = {"system": SNOMED, "code": "871731000000106"}
HEALTH_TODAY, ACTIVATION, INDEX = "736535009", "962851000000103", "736534008"
PLACES = {"NR1": 20, "CB4": 14, "NR30": 12, "IP1": 3}  # people with a plan
OBJECT = (9, 10, 11)  # of NR30: they opted out; without them it is a place of fewer than ten
NO_PLAN = {"NR1": 12, "CB4": 6, "IP1": 5}  # people without one
OFFERED = 6  # of those of NR1
CLOSED = ("Alf", "Zebedee", "Quill", "Sample Street", "0ZZ", "1950-03-04", "07700")  # words of the plans, and what says who somebody is


def goals(place: str, n: int) -> list[dict[str, Any]]:
    has = n < {"NR1": 12, "CB4": 8, "NR30": 6}.get(place, 0) or (place == "NR30" and n in OBJECT)
    walk = {"id": "g-1", "text": f"Walk to my brother Alf's, number {n}", "code": WALKING, "status": "in progress"}
    ride = {"id": "g-2", "text": "Ride with Alf again", "code": EXERCISE, "status": "done"}
    return [walk, *([ride] if place == "NR1" and n < 3 else [])] if has else []


def unmet(place: str, n: int) -> list[dict[str, Any]]:
    why = ""
    if place == "NR1":
        why = "waiting list" if n < 8 else "not affordable" if n < 14 else "My son Alf drinks" if n < 16 else ""
    elif place == "CB4" and n < 7:
        why = "waiting list"
    elif place == "NR30" and (n < 6 or n in OBJECT):
        why = "not available"
    return [{"id": "u-1", "wanted": "Somebody to sit with Alf", "reason": why}] if why else []


def scores(place: str, n: int) -> dict[str, tuple[float, ...]]:
    """By code: before and after, or once."""
    out: dict[str, tuple[float, ...]] = {}
    if referred(place, n):
        felt = 30 + 5 * (n % 5)
        out[HEALTH_TODAY] = (felt, felt + 20) if place == "NR1" else (felt, felt) if n < 5 else (felt, felt - 10)
    elif place == "NR30":
        out[HEALTH_TODAY] = (40, 90) if n in OBJECT else (40,)
    if place == "CB4":
        out |= {ACTIVATION: (1, 3) if n < 8 else (2, 2), INDEX: (0.5, 0.7) if n < 9 else (0.6, 0.6)}
    elif place == "NR1" and n < 12:
        out |= {ACTIVATION: (2, 3), INDEX: (0.4, 0.8)} if n < 6 else {ACTIVATION: (3, 3), INDEX: (0.7, 0.7)}
    return out


def referred(place: str, n: int) -> bool:
    """Was this one sent to a link worker."""
    return place == "NR1" or (place == "CB4" and n < 10)


def key_worker(place: str, n: int) -> bool:
    return n < {"NR1": 10, "CB4": 7, "NR30": 5}.get(place, 0)


def overdue(place: str, n: int) -> bool:
    return n < {"NR1": 7, "CB4": 2, "NR30": 5}.get(place, 0)


def plan(p: Programme, place: str, n: int) -> dict[str, Any]:
    made = p.plan_of(f"Zebedee{place}x{n}", goals=goals(place, n), actions=[], unmet_needs=unmet(place, n), review={"next": "2026-01-05" if overdue(place, n) else "2031-01-05"})
    made["person"] |= {"name": {"given": ["Zebedee"], "family": f"Quill{place}{n}"}, "address": {"lines": ["1 Sample Street"], "postcode": f"{place} 0ZZ"}}
    if key_worker(place, n):
        made["team"] = [{"id": "t-0", "name": "Kay", "role": "Coach", "key_worker": True, "organisation": {"ods": p.codes["trust"], "name": p.called("trust")}}]
    if referred(place, n):
        made["referrals"] = [{"id": "r-1", "text": "A link worker for Zebedee", "code": SOCIAL_PRESCRIBING, "status": "sent", "on": "2026-03-02"}]
    made["measurements"] = [
        {"id": f"m-{code}-{i}", "what": {"text": "A score", "system": SNOMED, "code": code}, "on": day, "value": value}
        for code, values in scores(place, n).items() for i, (day, value) in enumerate(zip(("2026-03-02", "2026-09-07"), values, strict=False))
    ]  # fmt: skip
    return made


class County(Town):
    """The town of those who are counted."""

    numbers: list[str]
    source: Any
    programme: Programme

    def report(self, *args: str) -> list[dict[str, Any]]:
        return self.command("report", *args)

    def rows(self, *args: str) -> dict[str, dict[str, Any]]:
        """The report's lines by place."""
        return {r["group"]: r for r in self.report(*args) if "group" in r}

    def scored(self, code: str) -> dict[str, Any]:
        """Before and after, of one score."""
        (found,) = [r for r in self.report("outcomes") if r["score"]["code"] == code]
        return found


@contextmanager
def counted(folder: Path) -> Iterator[County]:
    """Their gateway: plans by file, the others by their record alone; then three say that nothing of theirs is for planning."""
    with gateway(folder) as g:
        county = County(g, folder)
        county.open()
        p = county.programme = Programme(county, "cty")
        p.places(trust="health")
        county.source = p.system("records", "trust", "--contributor", "--refers")
        here = [(place, n) for place, many in PLACES.items() for n in range(many)]
        files = []
        county.numbers = []
        for place, n in here:
            made = plan(p, place, n)
            county.numbers.append(made["person"]["nhs_number"])
            files.append(folder / f"{place}-{n}.json")
            files[-1].write_text(json.dumps(made))
        brought = county.command("import", "--as", "cty-records", *map(str, files))
        assert len(brought) == len(here) and not any(b["refused"] for b in brought)
        for place, many in NO_PLAN.items():
            for n in range(many):
                _without(county, place, n)
        for (place, n), b in zip(here, brought, strict=True):
            if place == "NR30" and n in OBJECT:
                done = g.command("patients", "record", b["patient"], "national-data-opt-out", "--evidence", "A letter")
                assert done.returncode == 0, done.stderr
        yield county


def _without(county: County, place: str, n: int) -> None:
    """Somebody who has no plan, and was offered one or not."""
    number = county.number()
    county.numbers.append(number)
    made = county.source.call("POST", "Patient", body={
        "resourceType": "Patient", "identifier": [{"system": NHS, "value": number}], "name": [{"family": f"Quill{place}y{n}", "given": ["Zebedee"]}],
        "birthDate": "1950-03-04", "address": [{"line": ["1 Sample Street"], "postalCode": f"{place} 0ZZ"}],
    })  # fmt: skip
    assert made.status_code == 201, made.text
    id = made.headers["location"].split("/Patient/")[1].split("/")[0]
    if place == "NR1" and n < OFFERED:
        offer = {"resourceType": "Task", "status": "requested", "intent": "order", "code": {"coding": [{"system": OFFER, "code": "offered"}]}, "for": about(id), "owner": about(id)}
        asked = county.source.call("POST", "Task", body=offer)
        assert asked.status_code == 201, asked.text


__all__ = ["ACTIVATION", "CLOSED", "HEALTH_TODAY", "INDEX", "NO_PLAN", "PLACES", "County", "counted", "plan", "referred", "scores"]
