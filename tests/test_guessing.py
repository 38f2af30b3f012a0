"""Guessing at a person by bringing them in: misses are counted, written down and slowed; a hit tells who may not read the place alone."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import time
from typing import Any

import httpx2
import pytest

from fhir_gateway.domain import audit

from .conftest import Gateway
from .test_story import bundled, posted

NUMBER = "https://fhir.nhs.uk/Id/nhs-number"
PARTICIPATION = "http://terminology.hl7.org/CodeSystem/v3-ParticipationType"


def person(number: str = "9990000018", born: str = "1951-04-07", family: str = "Example") -> dict[str, Any]:
    return {"resourceType": "Patient", "identifier": [{"system": NUMBER, "value": number}], "name": [{"family": family}], "birthDate": born}


def numbers(many: int) -> list[str]:
    """NHS numbers of the range for tests, with a right check digit."""
    out: list[str] = []
    stem = 999_100_000
    while len(out) < many:
        check = 11 - sum((10 - i) * int(d) for i, d in enumerate(str(stem))) % 11
        if check != 10:
            out.append(f"{stem}{check % 11}")
        stem += 1
    return out


def forget(g: Gateway) -> None:
    with sqlite3.connect(g.data / "gateway.sqlite") as db:
        db.execute("DELETE FROM kept WHERE kind = 'finding'")


def wait_long(g: Gateway) -> None:
    with sqlite3.connect(g.data / "gateway.sqlite") as db:
        db.execute("UPDATE kept SET value = ? WHERE kind = 'finding'", (json.dumps([20, time.time() + 600]).encode(),))


def misses(g: Gateway) -> list[audit.Note]:
    with sqlite3.connect(g.data / "gateway.sqlite") as db:
        rows = [audit.decode(r) for (r,) in db.execute("SELECT note FROM audit ORDER BY at")]
    return [n for n in rows if n.what == "find" and not n.allowed]


@pytest.fixture
def fresh(demo: Gateway) -> Gateway:
    forget(demo)
    return demo


def refuse_hospital(g: Gateway) -> tuple[str, dict[str, Any]]:
    org = f"Organization/{g.get('patient', 'Organization?identifier=RX9').json()['entry'][0]['resource']['id']}"
    actor = {"role": {"coding": [{"system": PARTICIPATION, "code": "IRCP"}]}, "reference": {"reference": org}}
    body = {
        "resourceType": "Consent", "status": "active", "patient": {"reference": f"Patient/{g.patient}"},
        "scope": {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/consentscope", "code": "patient-privacy"}]},
        "category": [{"coding": [{"system": "http://loinc.org", "code": "59284-0"}]}],
        "policyRule": {"coding": [{"system": "https://fhir-gateway.example/CodeSystem/policy", "code": "uk-direct-care"}]},
        "provision": {"provision": [{"type": "deny", "actor": [actor]}]},
    }  # fmt: skip
    made = g.call("patient", "POST", "Consent", body=body)
    assert made.status_code == 201, made.text
    return made.json()["id"], made.json()


def test_guesses_are_slowed_and_each_miss_is_written_down(fresh: Gateway) -> None:
    before = len(misses(fresh))
    said = [fresh.call("hospital", "POST", "Patient", body=person(born=f"{1900 + n}-04-07")) for n in range(12)]
    assert [a.status_code for a in said] == [409] * 10 + [429] * 2
    assert int(said[-1].headers["retry-after"]) >= 1
    new = misses(fresh)[before:]
    assert len(new) == 12 and [n.patient for n in new[:10]] == [f"Patient/{fresh.patient}"] * 10 and new[-1].detail == "too many tries"
    wait_long(fresh)
    assert fresh.call("hospital", "POST", "Patient", body=person()).status_code == 429, "nor is a right guess answered meanwhile"
    assert fresh.call("hospital", "POST", "Patient", body=person(numbers(1)[0])).status_code == 201, "somebody new is nobody's secret"


def test_every_door_has_the_same_count(fresh: Gateway) -> None:
    wrong = person(family="Wrong")
    doors = [
        lambda: fresh.call("hospital", "POST", "Patient", body=wrong).status_code,
        lambda: fresh.call("hospital", "POST", "Patient", body=wrong, headers={"If-None-Exist": "identifier=urn:x|none"}).status_code,
        lambda: fresh.call("hospital", "PUT", "Patient?identifier=urn:x|none", body=wrong).status_code,
        lambda: fresh.call("hospital", "POST", "", body=bundled("transaction", posted(wrong))).status_code,
        lambda: int(fresh.call("hospital", "POST", "", body=bundled("batch", posted(wrong))).json()["entry"][0]["response"]["status"][:3]),
    ]
    assert [door() for door in doors * 2] == [409] * 10
    wait_long(fresh)
    assert [door() for door in doors] == [429] * 5
    forget(fresh)
    said = fresh.call("hospital", "POST", "", body=bundled("batch", *[posted(person(family=f"Wrong{n}")) for n in range(12)]))
    assert [e["response"]["status"][:3] for e in said.json()["entry"]] == ["409"] * 10 + ["429"] * 2


async def test_many_guesses_at_once_are_no_more_guesses(fresh: Gateway) -> None:
    token = fresh.persona("hospital")["token"]
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/fhir+json"}
    async with httpx2.AsyncClient(timeout=60) as client:
        sent = [client.post(f"{fresh.base}/fhir/Patient", content=json.dumps(person(born=f"{1900 + n}-04-07")), headers=headers) for n in range(25)]
        codes = [a.status_code for a in await asyncio.gather(*sent)]
    assert codes.count(409) == 10 and codes.count(429) == 15


def test_a_hit_tells_the_place_and_no_version_to_who_may_not_read(fresh: Gateway) -> None:
    assert "_history" in fresh.call("hospital", "POST", "Patient", body=person()).headers["location"], "who may read"
    id, consent = refuse_hospital(fresh)
    try:
        alone = fresh.call("hospital", "POST", "Patient", body=person(), headers={"Prefer": "return=representation"})
        keyed = [fresh.call("hospital", "POST", "Patient", body=person(), headers={"Idempotency-Key": "no-version"}) for _ in range(2)]
        for answer in (alone, *keyed):
            assert answer.status_code == 200 and not answer.content
            assert answer.headers["location"].endswith(f"/fhir/Patient/{fresh.patient}")
            assert "etag" not in answer.headers and "last-modified" not in answer.headers
        for kind in ("transaction", "batch"):
            answer = fresh.call("hospital", "POST", "", body=bundled(kind, posted(person())))
            assert answer.json()["entry"][0]["response"] == {"status": "200 OK", "location": f"Patient/{fresh.patient}"}
    finally:
        ended = fresh.call("patient", "PUT", f"Consent/{id}", body={**consent, "status": "inactive"}, headers={"If-Match": 'W/"1"'})
        assert ended.status_code == 200


def test_hundreds_of_people_without_a_miss_are_never_slowed(fresh: Gateway) -> None:
    people = [person(n, "1960-01-02", f"Import{i}") for i, n in enumerate(numbers(201)[1:])]
    for _ in range(2):  # new, then known
        for at in range(0, 200, 100):
            said = fresh.call("hospital", "POST", "", body=bundled("batch", *map(posted, people[at : at + 100])))
            assert {e["response"]["status"][:3] for e in said.json()["entry"]} <= {"201", "200"}
    assert fresh.call("hospital", "POST", "Patient", body=people[0]).status_code == 200
