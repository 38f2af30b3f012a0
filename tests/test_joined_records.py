"""Two records of one person put together: who looks at one is told of the other's allergies, warnings, medicines and crisis plans, as far as they may see them. docs/main-plan.md"""

from __future__ import annotations

import html
import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from fhir_gateway import definitions, plans
from fhir_gateway.domain.validate import check
from fhir_gateway.gate import merging

from .conftest import Gateway
from .spoken import consent, end, permit
from .test_by_identifier import Counting
from .test_main_plan import made
from .test_plans import Place, opened
from .test_printing import NEWER, NEWEST, newer, sheet
from .web.test_doors import Visitor, as_

SNOMED = "http://snomed.info/sct"
BOOKS = "This person is in our books more than once."
MINE = "You are in our books more than once."
THERE = "In another record of this person"
JSON = {"Content-Type": "application/json"}
OTHER: dict[str, Any] = {
    "plan": "1", "id": "amina-2", "title": "From the other ward",
    "person": {"id": "amina-2", "name": {"given": ["Amina"], "family": "Example"}, "birth_date": "1951-04-07"},
    "goals": [{"id": "g", "text": "Walk to the pond", "status": "in progress"}],
    "medicines": [{"id": "m1", "text": "Warfarin 3 mg", "status": "taking", "how": "At six in the evening"}, {"id": "m2", "text": "Diazepam 2 mg", "status": "stopped"}],
    "contingency": [
        {"id": "k-fall", "name": "If I bleed", "status": "active", "what_should_happen": ["Ring the clot clinic"], "who_to_contact": ["t1"]},
        {"id": "k2", "name": "An old draft of that", "status": "draft", "what_should_happen": ["Nobody knows yet"]},
    ],
    "team": [{"id": "t1", "name": "Nia Clot", "role": "Nurse", "phone": "01632 960777"}],
}  # fmt: skip
CONFIRMED = {"verificationStatus": {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/allergyintolerance-verification", "code": "confirmed"}]}}
ACTIVE = {"clinicalStatus": {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/allergyintolerance-clinical", "code": "active"}]}}
NONE = {"resourceType": "AllergyIntolerance", **ACTIVE, **CONFIRMED, "code": {"coding": [{"system": SNOMED, "code": "716186003", "display": "No known allergy"}]}}


class Two:
    """Amina's record in the demo, and another of hers, `other`, which a hospital keeps."""

    def __init__(self, demo: Gateway) -> None:
        self.demo, self.one = demo, demo.patient
        saved = demo.call("hospital", "POST", "/plans", body=OTHER, headers=JSON)
        assert saved.status_code in (200, 201), saved.text
        self.other = saved.json()["patient"]
        self.latex = self.make({"resourceType": "AllergyIntolerance", **ACTIVE, **CONFIRMED, "criticality": "high", "code": {"text": "Latex gloves"}})
        self.none = self.make(NONE)
        self.flag = self.make({"resourceType": "Flag", "status": "active", "code": {"text": "Bleeds easily"}})
        crisis = {"resourceType": "CarePlan", "intent": "plan", "category": [{"coding": [{"system": SNOMED, "code": "736253002"}]}]}
        self.make({**crisis, "status": "active", "title": "The ward's own crisis plan", "activity": [{"detail": {"status": "scheduled", "description": "Ring the night nurse"}}]})
        self.make({**crisis, "status": "revoked", "title": "What the ward has given up"})

    def make(self, body: dict[str, Any], patient: str = "", by: str = "hospital") -> str:
        whose = "patient" if body["resourceType"] == "AllergyIntolerance" else "subject"
        made = self.demo.call(by, "POST", body["resourceType"], body={**body, whose: {"reference": f"Patient/{patient or self.other}"}})
        assert made.status_code == 201, made.text
        return f"{body['resourceType']}/{made.headers['location'].split('/_history')[0].rsplit('/', 1)[1]}"

    def operate(self, verb: str) -> None:
        done = self.demo.command("patients", verb, self.other, self.one, "--evidence", "both cards seen")
        assert done.returncode == 0, done.stderr

    def screens(self, v: Visitor, who: str, person: str = "") -> dict[str, str]:
        """What each of the four says to this reader, in words."""
        id = person or self.one
        (main,) = [r["resource"]["id"] for r in self.demo.get(who, f"CarePlan?patient={id}&category=2181441000000107&status=active").json().get("entry", ())][:1]
        said = {name: self.page(v, path) for name, path in (("page", f"/team/people/{id}"), ("one screen", f"/team/people/{id}/in-a-hurry"))} | {"paper": self.paper(v, id)}
        document = self.demo.get(who, f"CarePlan/{main}/$document")
        assert document.status_code == 200, document.text
        return said | {"document": words("".join(self.divs(document.json())))}

    def page(self, v: Visitor, path: str) -> str:
        assert v.get(path).status_code == 200
        return v.words()

    def paper(self, v: Visitor, person: str) -> str:
        return words(re.sub(r"<style>.*?</style>", "", self.sheet(v, person), flags=re.S))

    def sheet(self, v: Visitor, person: str) -> str:
        path = f"/team/people/{person}/print"
        v.get(path)
        printed = v.http.post(path, data={**v.fields(path), "as": "page"})
        assert printed.status_code == 200, printed.text
        return printed.text

    def divs(self, document: dict[str, Any]) -> list[str]:
        front = document["entry"][0]["resource"]
        return [front["text"]["div"], *(s["text"]["div"] for s in front["section"])]

    def document(self, who: str) -> dict[str, Any]:
        (main,) = [r["resource"]["id"] for r in self.demo.get(who, f"CarePlan?patient={self.one}&category=2181441000000107&status=active").json()["entry"]][:1]
        return dict(self.demo.get(who, f"CarePlan/{main}/$document").json())


def words(page: str) -> str:
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", page)).split())


@pytest.fixture(scope="module")
def two(demo: Gateway) -> Two:
    made = Two(demo)
    made.operate("merge")
    return made


@pytest.fixture(scope="module")
def gp(demo: Gateway) -> Iterator[Visitor]:
    v = as_(demo, "gp")
    yield v
    v.http.close()


def allowed(two: Two, *rules: dict[str, Any]) -> Any:
    """The person says in the other record who may see what of it."""
    made = two.demo.call("patient", "POST", "Consent", body=consent(two.other, *rules))
    assert made.status_code == 201, made.text
    return made


def asha(two: Two, *types: str, **more: Any) -> dict[str, Any]:
    of: dict[str, Any] = {"class": [{"system": "http://hl7.org/fhir/resource-types", "code": t} for t in types]} if types else {}
    return permit(two.demo.persona("gp")["fhirUser"], **of, **more)


SAID = "No known allergies. Somebody wrote this down"
EVERYTHING = ("Latex gloves", "Bleeds easily", "If I bleed", "Ring the clot clinic", "01632 960777", "Warfarin 3 mg", "The ward's own crisis plan", "Ring the night nurse", THERE, BOOKS)


def lacks(said: str, *words: str) -> bool:
    return not any(w in said for w in words)


def test_each_screen_has_the_alerts_medicines_and_crisis_plans_of_the_other_record_and_says_where_they_stand(two: Two, gp: Visitor) -> None:
    given = allowed(two, asha(two))
    try:
        for name, said in two.screens(gp, "gp").items():
            wanted = [w for w in EVERYTHING if w not in ("Warfarin 3 mg",) or name != "one screen"]
            assert [w for w in wanted if w not in said] == [], name
            assert said.index("If I fall or cannot get up") < said.index("If I bleed"), "the own first"
            assert "Penicillin" in said and lacks(said, "Walk to the pond", "An old draft of that", "What the ward has given up", "From the other ward", "No known allerg"), name
            assert name == "document" or "Diazepam" not in said, "what is over there is not listed here"
            assert re.search(rf"Latex gloves (\(dangerous\)|Dangerous) (Where it is written )?{THERE}", said) and not re.search(rf"Penicillin (\(dangerous\)|Dangerous) (Where it is written )?{THERE}", said), name
        document = two.document("gp")
        here = [f"{e['resource']['resourceType']}/{e['resource']['id']}" for e in document["entry"]]
        assert two.latex in here and two.flag in here and two.none not in here
        assert [h for h in here if h.startswith("Patient/")] == [f"Patient/{two.one}", f"Patient/{two.other}"] and document["entry"][0]["resource"]["subject"]["reference"].endswith(two.one)
        assert [i for i in check(document["entry"][0]["resource"], definitions.load_r4()) if i.severity in ("error", "fatal")] == []
        looked = two.demo.get("patient", f"AuditEvent?patient={two.other}&_count=50").json()
        assert any(two.latex in json.dumps(e["resource"]) and "Asha" in json.dumps(e["resource"]) for e in looked["entry"]), "the person reads who was shown it"
    finally:
        end(two.demo, given)


def test_only_what_this_reader_may_see_of_it_is_there(two: Two, gp: Visitor) -> None:
    given = allowed(two, asha(two, "AllergyIntolerance"))
    try:
        for name, said in two.screens(gp, "gp").items():
            assert "Latex gloves" in said and THERE in said and BOOKS in said, name
            assert lacks(said, "Bleeds easily", "If I bleed", "Warfarin", "clot clinic", "own crisis plan"), name
    finally:
        end(two.demo, given)


def test_who_sees_nothing_of_the_other_is_told_of_none(two: Two, gp: Visitor) -> None:
    before = two.demo.get("patient", f"AuditEvent?patient={two.other}&_count=200").json()
    for name, said in two.screens(gp, "gp").items():
        assert lacks(said, *EVERYTHING, "our books"), name
        assert "Penicillin" in said
    after = two.demo.get("patient", f"AuditEvent?patient={two.other}&_count=200").json()
    mine = [json.dumps(e["resource"]) for e in after.get("entry", ()) if e not in before.get("entry", ())]
    assert not [m for m in mine if "Asha" in m], "nor does the log say that they asked"


def test_no_known_allergies_is_not_said_beside_an_allergy_that_this_reader_sees_in_the_other_record(two: Two, gp: Visitor) -> None:
    none = two.make(NONE, two.one, "gp")
    given = allowed(two, asha(two))
    try:
        for name, said in two.screens(gp, "gp").items():
            assert "No known allerg" not in said, name
        assert none not in [f"{e['resource']['resourceType']}/{e['resource']['id']}" for e in two.document("gp")["entry"]]
    finally:
        end(two.demo, given)
    hidden = allowed(two, asha(two, provision=[{"type": "deny", "data": [{"meaning": "instance", "reference": {"reference": two.latex}}]}]))
    try:
        screens = two.screens(gp, "gp")
        assert SAID in screens["page"] and "No known allergies" in screens["paper"] and "No known allergies" in screens["document"], "what is hidden takes nothing away"
        assert all("Latex" not in s and "Bleeds easily" in s for s in screens.values())
    finally:
        end(two.demo, hidden)
        etag = two.demo.get("gp", none).headers["etag"]
        assert two.demo.call("gp", "DELETE", none, headers={"If-Match": etag}).status_code in (200, 204)


def test_the_person_reads_of_each_record_in_the_other(two: Two) -> None:
    v = as_(two.demo, "patient")
    v.get("/my-plan")
    said = v.words()
    for there in ("Latex gloves", "Bleeds easily", "If I bleed", "Warfarin 3 mg", "In another record about me", MINE):
        assert there in said, there
    assert re.findall(r'"/my-plan/edit/CarePlan/[^"]+">Change this<span[^>]*>: ([^<]+)', v.page) == ["If I fall or cannot get up"], "each calls its own k-fall, and is changed where it is"
    v.get(f"/my-plan?record={two.other}")
    assert re.findall(r'"/my-plan/edit/CarePlan/[^"]+">Change this<span[^>]*>: ([^<]+)', v.page)[0] == "If I bleed"
    other = v.words()
    assert re.search("Penicillin Dangerous In another record about me", other) and re.search("Latex gloves Dangerous How dangerous", other)
    v.http.close()


def test_what_the_person_prints_for_somebody_is_what_that_reader_may_see_of_both(two: Two) -> None:
    v = as_(two.demo, "patient")
    asha_herself = two.demo.persona("gp")["fhirUser"]
    assert lacks(printed(v, asha_herself), *EVERYTHING) and all(w in printed(v) for w in ("Latex gloves", "If I bleed", "In another record about me", MINE))
    given = allowed(two, asha(two, "AllergyIntolerance"))
    try:
        paper = printed(v, asha_herself)
        assert "Latex gloves" in paper and THERE in paper and lacks(paper, "Bleeds easily", "If I bleed", "Warfarin")
    finally:
        end(two.demo, given)
        v.http.close()


def printed(v: Visitor, whom: str = "") -> str:
    return words(re.sub(r"<style>.*?</style>", "", sheet(v, whom)[1], flags=re.S))


def test_paper_is_the_newest_until_something_on_it_changes_in_either_record(two: Two, gp: Visitor) -> None:
    given = allowed(two, asha(two, "AllergyIntolerance"))
    try:
        link = re.search(rf"{re.escape(two.demo.base)}/printed/[a-z2-7]{{26}}", two.sheet(gp, two.one))
        assert link and newer(two.demo, link[0]) == NEWEST
        two.make({"resourceType": "Flag", "status": "active", "code": {"text": "Not for Asha"}})
        assert newer(two.demo, link[0]) == NEWEST, "they do not see that"
        wool = two.make({"resourceType": "AllergyIntolerance", **ACTIVE, **CONFIRMED, "code": {"text": "Wool"}})
        assert newer(two.demo, link[0]) == NEWER
        etag = two.demo.get("hospital", wool).headers["etag"]
        assert two.demo.call("hospital", "DELETE", wool, headers={"If-Match": etag}).status_code in (200, 204)
        assert newer(two.demo, link[0]) == NEWEST
    finally:
        end(two.demo, given)


def test_parted_again_each_is_by_itself(two: Two, gp: Visitor) -> None:
    allowed(two, asha(two))
    joined = two.screens(gp, "gp")
    two.operate("unmerge")
    assert all("Latex gloves" in s for s in joined.values())
    for name, said in two.screens(gp, "gp").items():
        assert lacks(said, *EVERYTHING) and "Penicillin" in said, name


# -- what it costs ----------------------------------------------------------------------------------------------------


async def test_it_costs_nobody_a_search_whose_records_are_not_merged_and_no_more_for_four_than_for_two(tmp_path: Path) -> None:
    async with opened(tmp_path / "test.sqlite") as place:
        (first, *others) = [await _somebody(place, n) for n in range(4)]
        asked = [await _asked(place, first)]
        for other in others:
            await merging.merge(place.operator, other, first, evidence="seen together")
            asked.append(await _asked(place, first))
        assert asked[0]["search"] == 0 == asked[0]["commit"] and len({(a["search"], a["commit"]) for a in asked[1:]}) == 1, asked
        assert [o.record[0]["resourceType"] for o in await plans.joined(place.hospital, first)] != []


async def _somebody(place: Place, n: int) -> str:
    id = (await made(place.hospital, {"resourceType": "Patient", "name": [{"family": "Example"}], "birthDate": "1950-04-03"})).id
    await made(place.hospital, {"resourceType": "AllergyIntolerance", **ACTIVE, **CONFIRMED, "code": {"text": f"Thing {n}"}, "patient": {"reference": f"Patient/{id}"}})
    return id


async def _asked(place: Place, patient: str) -> Counter[str]:
    store = Counting(place.house.store)
    await plans.joined(replace(place.hospital, house=replace(place.house, store=cast(Any, store))), patient)
    return store.asked
