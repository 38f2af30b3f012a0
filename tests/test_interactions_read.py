"""Reads, histories and operations as an outsider uses them, and what they may never tell. One real server."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from fhir_gateway import definitions
from fhir_gateway.domain.bundle import references
from fhir_gateway.domain.document import EMPTY, NOTHING, PARTS
from fhir_gateway.domain.said_again import without
from fhir_gateway.domain.validate import check
from fhir_gateway.web.fhir import OFFERED, TABLE, shape

from .conftest import Gateway
from .test_hidden import NOBODY, same
from .test_interactions_write import made, outcome, patched, replace

R4 = definitions.load_r4()


def entries(answer: Any) -> list[dict[str, Any]]:
    assert answer.status_code == 200, answer.text
    return list(answer.json().get("entry", []))


def pages(demo: Gateway, who: str, first: str) -> list[list[dict[str, Any]]]:
    """Every page, by following the links."""
    out, path = [], first
    while path:
        answer = demo.get(who, path)
        out.append(entries(answer))
        link = next((n["url"] for n in answer.json()["link"] if n["relation"] == "next"), "")
        path = link.removeprefix(f"{demo.base}/fhir/")
        assert len(out) < 60
    return out


def careplan(demo: Gateway) -> str:
    """One with goals."""
    found = [e["resource"] for e in entries(demo.get("patient", f"CarePlan?patient={demo.patient}"))]
    return next(str(r["id"]) for r in found if "goal" in r)


# -- reading ----------------------------------------------------------------------------------------------------------


def test_head_is_get_without_the_body_everywhere(demo: Gateway) -> None:
    one = made(demo, "head")["id"]
    for path in (
        f"Goal/{one}", f"Goal/{one}/_history", f"Goal/{one}/_history/1", "Goal?_count=1", "metadata", "_history?_count=1", f"Goal/{NOBODY}", "Goal?_sort=bogus",
        f"Patient/{demo.patient}/$everything", "Plan/1", f"Goal/{one}?_summary=text",
    ):  # fmt: skip
        get, head = demo.get("patient", path), demo.call("patient", "HEAD", path)
        assert head.status_code == get.status_code and not head.content, path
        assert {k: v for k, v in head.headers.items() if k != "date"} == {k: v for k, v in get.headers.items() if k != "date"}


def test_what_the_reader_has_already_is_not_sent_again(demo: Gateway) -> None:
    one = made(demo, "304")["id"]
    updated = demo.get("patient", f"Goal/{one}").headers["last-modified"]
    for headers, status in (
        ({"If-None-Match": 'W/"1"'}, 304), ({"If-None-Match": '"1"'}, 304), ({"If-None-Match": 'W/"0", W/"1"'}, 304), ({"If-None-Match": "*"}, 304),
        ({"If-None-Match": 'W/"2"'}, 200), ({"If-Modified-Since": updated}, 304), ({"If-Modified-Since": "Mon, 01 Jan 2024 00:00:00 GMT"}, 200),
        ({"If-None-Match": 'W/"2"', "If-Modified-Since": updated}, 200), ({"If-Modified-Since": "nonsense"}, 200),
    ):  # fmt: skip
        answer = demo.get("patient", f"Goal/{one}", **headers)
        assert answer.status_code == status, headers
        assert answer.headers["etag"] == 'W/"1"' and (status == 200) == bool(answer.content)
    assert demo.get("stranger", f"Goal/{one}", **{"If-None-Match": "*"}).status_code == 404  # permission first


def test_a_part_is_marked_alike_on_reads_searches_and_histories(demo: Gateway) -> None:
    one = made(demo, "parts", text={"status": "generated", "div": '<div xmlns="http://www.w3.org/1999/xhtml">mine</div>'})["id"]
    for who in ("patient", "gp"):
        whole = demo.get(who, f"Goal/{one}").json()
        for query in ("_summary=true", "_summary=text", "_summary=data", "_elements=text,lifecycleStatus"):
            read = demo.get(who, f"Goal/{one}?{query}")
            small = read.json()
            assert small["meta"]["tag"][-1]["code"] == "SUBSETTED" and read.headers["etag"] == 'W/"1"'
            assert small.keys() <= whole.keys() and {"subject", "description", "lifecycleStatus"} <= small.keys()
            assert ("text" in small) == (who == "patient" and "text" in query)
            assert [e["resource"] for e in entries(demo.get(who, f"Goal?_id={one}&{query}"))] == [small]
            assert demo.get(who, f"Goal/{one}/_history/1?{query}").json() == small
            assert [e["resource"] for e in entries(demo.get(who, f"Goal/{one}/_history?{query}"))] == [small]
        assert demo.get(who, f"Goal/{one}?_summary=false").json() == whole
    counted = demo.get("patient", f"Goal?_id={one}&_summary=count").json()
    assert counted["total"] == 1 and "entry" not in counted
    for path in (f"Goal/{one}?_summary=bogus", f"Goal/{one}?_summary=count"):
        outcome(demo.get("patient", path), 400)
    following = pages(demo, "patient", f"Goal?patient={demo.patient}&_elements=lifecycleStatus&_count=2")
    assert len(following) > 1 and all("SUBSETTED" in str(e["resource"]["meta"]) for page in following for e in page)


@pytest.mark.parametrize(
    "query, status",
    [("_format=json", 200), ("_format=application/fhir%2Bjson", 200), ("_format=application/fhir+json", 200), ("_format=xml", 406), ("_format=ttl", 406)],
)
def test_format_and_pretty(demo: Gateway, query: str, status: int) -> None:
    answer = demo.get("patient", f"Patient/{demo.patient}?{query}", Accept="text/html")
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/fhir+json; charset=utf-8"
    assert b'\n  "' in demo.get("patient", f"Patient/{demo.patient}?_pretty=true").content
    assert demo.get("patient", f"Patient/{demo.patient}?_pretty=true").json() == demo.get("patient", f"Patient/{demo.patient}").json()


# -- history ----------------------------------------------------------------------------------------------------------


def stamp(resource: dict[str, Any]) -> str:
    return str(resource["meta"]["lastUpdated"])


def later(resource: dict[str, Any]) -> str:
    """Ten milliseconds after it was written."""
    at = datetime.fromisoformat(stamp(resource)) + timedelta(milliseconds=10)
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def test_a_history_holds_every_version_and_the_deletion(demo: Gateway) -> None:
    one = made(demo, "h1")
    for n in (1, 2):
        time.sleep(0.02)
        assert patched(demo, "patient", f"Goal/{one['id']}", [replace("/description/text", f"v{n + 1}")], f'W/"{n}"').status_code == 200
    third = demo.get("patient", f"Goal/{one['id']}").json()
    time.sleep(0.02)
    demo.call("patient", "DELETE", f"Goal/{one['id']}", headers={"If-Match": 'W/"3"'})
    where = f"Goal/{one['id']}/_history"
    told = entries(demo.get("patient", where))
    assert [(e["request"]["method"], e["response"]["etag"]) for e in told] == [
        ("DELETE", 'W/"4"'), ("PUT", 'W/"3"'), ("PUT", 'W/"2"'), ("POST", 'W/"1"'),
    ]  # fmt: skip
    assert "resource" not in told[0] and told[1]["resource"] == third and all(e["fullUrl"].endswith(one["id"]) for e in told)
    assert [len(p) for p in pages(demo, "patient", f"{where}?_count=3")] == [3, 1]
    since = pages(demo, "patient", f"{where}?_since={stamp(third)}&_count=1")
    assert [e["response"]["etag"] for p in since for e in p] == ['W/"4"', 'W/"3"']
    for at, versions in (
        (stamp(third), ["3"]), (stamp(one), ["1"]), ("2020", []), (str(datetime.now(UTC).year), ["4", "3", "2", "1"]), (later(third), ["3"]),
    ):  # fmt: skip
        got = [e["response"]["etag"][3:-1] for p in pages(demo, "patient", f"{where}?_at={at}&_count=1") for e in p]
        assert got == versions, at
    assert demo.get("patient", f"{where}/4").status_code == 410 and demo.get("patient", f"{where}/2").json()["description"]["text"] == "v2"
    assert demo.get("patient", f"{where}/9").status_code == 404
    everywhere = {e["fullUrl"] for e in entries(demo.get("patient", "_history?_count=20"))}
    assert f"{demo.base}/fhir/Goal/{one['id']}" in everywhere & {e["fullUrl"] for e in entries(demo.get("patient", "Goal/_history"))}


@pytest.mark.parametrize("query", ["_since=never", "_at=never", "_count=x", "_count=-1", "_since=2020&_since=2021", "_page=00ff", "_page=x", "_at=9999-99"])
def test_a_history_that_is_asked_wrongly(demo: Gateway, query: str) -> None:
    assert demo.get("patient", f"Goal/_history?{query}").status_code in (400, 404)
    outcome(demo.get("patient", "Goal/_history?bogus=1", Prefer="handling=strict"), 400)
    assert demo.get("patient", "Goal/_history?bogus=1").status_code == 200


@pytest.mark.parametrize("who", ["stranger", "link-worker"])
def test_histories_of_what_is_hidden_are_those_of_what_is_absent(demo: Gateway, who: str) -> None:
    one = made(demo, f"h-{who}")["id"]
    for form in ("Goal/{}/_history", "Goal/{}/_history?_at=2026", "Goal/{}/_history/1", "Goal/{}/_history/7", "Goal/{}?_summary=text"):
        same(demo.get(who, form.format(one)), demo.get(who, form.format(NOBODY)), one, NOBODY)
    for path in ("Goal/_history", "Goal/_history?_at=2026", "_history?_at=2026"):
        assert not [e for e in entries(demo.get(who, path)) if "Goal" in e["fullUrl"]]


# -- $validate --------------------------------------------------------------------------------------------------------


def judged(demo: Gateway, body: Any, where: str = "Goal/$validate", who: str = "patient") -> list[dict[str, Any]]:
    answer = demo.call(who, "POST", where, body=body)
    assert answer.status_code == 200, answer.text
    assert answer.json()["resourceType"] == "OperationOutcome"
    return list(answer.json()["issue"])


def test_validate_tells_everything_that_is_wrong_and_writes_nothing(demo: Gateway) -> None:
    good = {"resourceType": "Goal", "lifecycleStatus": "active", "description": {"text": "x"}, "subject": {"reference": f"Patient/{demo.patient}"}}
    bad = {**good, "lifecycleStatus": "bogus", "startDate": "tomorrow", "modifierExtension": [{"url": "urn:x", "valueBoolean": True}]}
    assert [i["severity"] for i in judged(demo, good)] == ["information"]
    wrong = judged(demo, bad)
    assert {"Goal.lifecycleStatus", "Goal.startDate", "Goal.modifierExtension[0]"} <= {i["expression"][0] for i in wrong if i["severity"] == "error"}
    inside = {"resourceType": "Parameters", "parameter": [
        {"name": "resource", "resource": bad}, {"name": "mode", "valueCode": "create"}, {"name": "profile", "valueUri": "http://example.org/p"},
    ]}  # fmt: skip
    assert [i for i in judged(demo, inside) if i["severity"] == "error"] == [i for i in wrong if i["severity"] == "error"]
    assert "not known here" in judged(demo, inside)[-1]["diagnostics"]
    assert judged(demo, good, "CarePlan/$validate")[0]["severity"] == "error"
    assert judged(demo, {"resourceType": "Parameters"}, "Parameters/$validate")[0]["severity"] == "information"
    somebody = {**good, "subject": {"reference": f"Patient/{NOBODY}"}}
    assert judged(demo, good, who="stranger") == judged(demo, somebody, who="stranger") == judged(demo, good)
    for body, status in (({"resourceType": "Parameters"}, 400), ({"resourceType": "Parameters", "parameter": [{"name": "mode", "valueCode": "frob"}]}, 400)):
        outcome(demo.call("patient", "POST", "Goal/$validate", body=body), status)
    outcome(demo.call("patient", "POST", "Goal/$validate", raw=b"{"), 400)
    outcome(demo.call("patient", "POST", "Goal/$validate", raw=b"<x/>", headers={"Content-Type": "text/plain"}), 415)
    assert demo.get("patient", "Goal?start-date=tomorrow").status_code == 400


def test_validate_holds_a_resource_to_the_profile_asked_for_and_says_what_would_not_be_taken(demo: Gateway) -> None:
    coded = {"coding": [{"system": "http://snomed.info/sct", "code": "1"}]}
    good = {"resourceType": "Goal", "lifecycleStatus": "active", "description": coded, "subject": {"reference": f"Patient/{demo.patient}"}}
    ours = "https://fhir-gateway.example/StructureDefinition/plan-goal"
    assert [i["severity"] for i in judged(demo, good)] == ["information"]
    wrong = judged(demo, good, f"Goal/$validate?profile={ours}")
    assert any(i["severity"] == "error" and i["expression"][0].startswith("Goal.description") for i in wrong)
    for profile in (ours, "http://hl7.org/fhir/StructureDefinition/Goal"):
        told = judged(demo, {**good, "description": {"text": "x"}}, f"Goal/$validate?profile={profile}")
        assert not [i for i in told if i["severity"] in ("error", "fatal") or "not known here" in i["diagnostics"]], told
    part = {**good, "meta": {"tag": [{"code": "SUBSETTED"}]}}
    for refused in (part, {**good, "implicitRules": "urn:x"}):
        assert [i["code"] for i in judged(demo, refused) if i["severity"] == "error"] == ["business-rule"]
        assert demo.call("patient", "POST", "Goal", body=refused).status_code == 422


def test_validate_at_a_resource_is_for_those_who_may_see_it(demo: Gateway) -> None:
    one = made(demo, "v1")
    where = f"Goal/{one['id']}/$validate"
    assert judged(demo, {"resourceType": "Parameters"}, where)[0]["severity"] == "information"
    assert judged(demo, {**one, "id": "other"}, f"{where}?mode=update")[0]["expression"] == ["Goal.id"]
    assert judged(demo, one, f"{where}?mode=update")[0]["severity"] == "information"
    assert judged(demo, {"resourceType": "Parameters"}, f"{where}?mode=delete")[0]["severity"] == "information"
    for who in ("stranger", "link-worker"):
        for body in ({"resourceType": "Parameters"}, one):
            for mode in ("", "?mode=delete", "?mode=update"):
                there = demo.call(who, "POST", where + mode, body=body)
                assert there.status_code == 404
                same(there, demo.call(who, "POST", f"Goal/{NOBODY}/$validate{mode}", body=body), one["id"], NOBODY)


# -- $everything ------------------------------------------------------------------------------------------------------


def test_everything_comes_in_pages_that_keep_what_was_asked(demo: Gateway) -> None:
    where = f"Patient/{demo.patient}/$everything"
    whole = [e["resource"] for e in entries(demo.get("gp", where)) if e["search"]["mode"] == "match"]
    paged = [e["resource"] for p in pages(demo, "gp", f"{where}?_count=7") for e in p if e["search"]["mode"] == "match"]
    assert paged == whole and len(whole) > 14
    goals = [e["resource"] for p in pages(demo, "gp", f"{where}?_type=Goal,Condition&_count=2") for e in p]
    assert {r["resourceType"] for r in goals} == {"Goal", "Condition"} and len(goals) == len([r for r in whole if r["resourceType"] in ("Goal", "Condition")])
    new = made(demo, "every")
    recent = [e["resource"]["id"] for e in entries(demo.get("patient", f"{where}?_since={stamp(new)}"))]
    assert recent == [new["id"]]
    by_post = demo.call("gp", "POST", where, body={"resourceType": "Parameters", "parameter": [{"name": "_type", "valueCode": "Goal"}]})
    assert {e["resource"]["resourceType"] for e in entries(by_post)} == {"Goal"}
    assert all("SUBSETTED" in str(e["resource"]["meta"]) for e in entries(demo.get("gp", f"{where}?_summary=true&_type=Goal")))


def test_everything_of_a_time_of_care(demo: Gateway) -> None:
    where = f"Patient/{demo.patient}/$everything?_type=Goal,Patient"
    early, late = made(demo, "early", startDate="2001-05-05"), made(demo, "late", startDate="2031-05-05")
    def ids(query: str) -> set[str]:
        return {e["resource"]["id"] for p in pages(demo, "patient", f"{where}&{query}&_count=5") for e in p}
    assert early["id"] in ids("end=2001-12-31") and late["id"] not in ids("end=2001-12-31")
    assert late["id"] in ids("start=2031-05-05") and early["id"] not in ids("start=2031-05-05")
    assert demo.patient in ids("start=2031-05-05&end=2031-05-06")  # what has no date is always in
    for query in ("start=never", "end=x", "_since=x", "_type=Plan", "_count=0", "_count=x", "_page=zz"):
        assert demo.get("patient", f"Patient/{demo.patient}/$everything?{query}").status_code in (400, 404), query


def test_everything_without_an_id_is_of_whom_the_reader_can_reach(demo: Gateway) -> None:
    mine = {e["resource"]["id"] for p in pages(demo, "patient", "Patient/$everything") for e in p}
    one = {e["resource"]["id"] for p in pages(demo, "patient", f"Patient/{demo.patient}/$everything") for e in p}
    assert mine == one
    assert not [e for e in entries(demo.get("stranger", "Patient/$everything")) if e["search"]["mode"] == "match"]
    same(demo.get("stranger", f"Patient/{demo.patient}/$everything"), demo.get("stranger", f"Patient/{NOBODY}/$everything"), demo.patient, NOBODY)
    outcome(demo.get("patient", f"Goal/{NOBODY}/$everything"), 404)


# -- $document --------------------------------------------------------------------------------------------------------


def test_a_plan_as_a_document(demo: Gateway) -> None:
    plan = careplan(demo)
    answer = demo.get("patient", f"CarePlan/{plan}/$document")
    assert answer.status_code == 200, answer.text
    document = answer.json()
    assert [i for i in check(document, R4) if i.severity in ("error", "fatal")] == []
    front = document["entry"][0]["resource"]
    kinds = [e["resource"]["resourceType"] for e in document["entry"]]
    assert document["type"] == "document" and kinds[:2] == ["Composition", "CarePlan"] and {"Patient", "Goal"} <= set(kinds)
    urls = [e["fullUrl"] for e in document["entry"]]
    assert len(urls) == len(set(urls))
    assert all(n["reference"] in urls for s in front["section"] for n in s["entry"]) and front["subject"]["reference"] in urls
    titles = [s["title"] for s in front["section"]]
    assert titles == ["Care plan", *(p.title for p in PARTS if p.title in titles)], "each once, what is urgent first"
    assert {"About the person", "Allergies and warnings", "If things get worse", "Strengths", "Needs and concerns", "Goals", "What could not be had", "What is planned", "Who helps"} <= set(titles)
    for part in front["section"]:
        assert part["text"]["status"] == "generated" and part["entry"] and part["text"]["div"].count("<li>") == len(part["entry"]), part["title"]
    by = {a["party"]["reference"].rsplit("/", 2)[-2]: (a["mode"], a["time"]) for a in front["attester"]}
    assert by == {"Patient": ("personal", "2026-01-19"), "RelatedPerson": ("personal", "2026-01-21")}, "who agreed to the plan"
    reached, waiting = set[str](), [front]
    while waiting:  # https://hl7.org/fhir/R4/documents.html: everything in it hangs on the Composition
        for named in references(waiting.pop()):
            url = named if "://" in named else f"{demo.base}/fhir/{named}"
            if url in urls and url not in reached:
                reached.add(url)
                waiting.append(next(e["resource"] for e in document["entry"] if e["fullUrl"] == url))
    assert reached == set(urls[1:])
    assert demo.call("patient", "POST", f"CarePlan/{plan}/$document").status_code == 200


def test_a_document_has_the_medicines_with_why_they_were_stopped_and_no_other_plan_brings_them_along(demo: Gateway) -> None:
    me = {"reference": f"Patient/{demo.patient}"}
    said = {"resourceType": "MedicationStatement", "status": "stopped", "medicationCodeableConcept": {"text": "Ibuprofen 200 mg"}, "subject": me, "statusReason": [{"text": "It hurt her stomach"}]}
    wrong = {**said, "status": "entered-in-error", "medicationCodeableConcept": {"text": "Somebody else's"}}
    for body in (said, wrong):
        made = demo.call("gp", "POST", "MedicationStatement", body=body)
        assert made.status_code == 201, made.text
    document = demo.get("gp", f"CarePlan/{careplan(demo)}/$document").json()
    (medicines,) = [s for s in document["entry"][0]["resource"]["section"] if s["title"] == "Medicines"]
    assert "Ibuprofen 200 mg (stopped)" in medicines["text"]["div"] and len(medicines["entry"]) == 1 and "Somebody else" not in str(document)
    crisis = next(e["resource"] for e in document["entry"] if e["resource"]["resourceType"] == "CarePlan" and e["resource"].get("partOf"))
    kinds = {e["resource"]["resourceType"] for e in demo.get("gp", f"CarePlan/{crisis['id']}/$document").json()["entry"]}
    assert kinds.isdisjoint({"MedicationStatement", "AllergyIntolerance"})


def test_a_document_holds_what_its_reader_may_see_and_no_more(demo: Gateway) -> None:
    plan = careplan(demo)
    deny = {
        "type": "deny",
        "actor": [{
            "role": {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v3-ParticipationType", "code": "IRCP"}]},
            "reference": {"reference": demo.persona("gp")["fhirUser"]},
        }],
        "class": [{"system": "http://hl7.org/fhir/resource-types", "code": "Goal"}],
    }  # fmt: skip
    consent = demo.call("patient", "POST", "Consent", body={
        "resourceType": "Consent", "status": "active",
        "scope": {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/consentscope", "code": "patient-privacy"}]},
        "category": [{"coding": [{"system": "http://loinc.org", "code": "59284-0"}]}],
        "patient": {"reference": f"Patient/{demo.patient}"},
        "policyRule": {"coding": [{"system": "https://fhir-gateway.example/CodeSystem/policy", "code": "uk-direct-care"}]},
        "provision": {"provision": [deny]},
    })  # fmt: skip
    assert consent.status_code == 201, consent.text
    try:
        answer = demo.get("gp", f"CarePlan/{plan}/$document")
        document = answer.json()
        assert "Goal" not in {e["resource"]["resourceType"] for e in document["entry"]}
        front = document["entry"][0]["resource"]
        (goals,) = [s for s in front["section"] if s["title"] == "Goals"]
        assert "entry" not in goals and goals["emptyReason"] == EMPTY and NOTHING in goals["text"]["div"], "as where there are none"
        assert "/Goal/" not in str(front) and "Sunday meal" not in answer.text
        assert all("text" not in without(e["resource"]) for e in document["entry"][1:]), "but for what we say again of the crisis plan"
    finally:
        ended = consent.json() | {"status": "inactive"}
        demo.call("patient", "PUT", f"Consent/{ended['id']}", body=ended, headers={"If-Match": consent.headers["etag"]})
    for who in ("stranger", "link-worker"):
        same(demo.get(who, f"CarePlan/{plan}/$document"), demo.get(who, f"CarePlan/{NOBODY}/$document"), plan, NOBODY)
    outcome(demo.get("patient", f"Goal/{NOBODY}/$document"), 404)


def test_explain_tells_the_person_about_anybody_and_others_about_themselves(demo: Gateway) -> None:
    one = f"Goal/{made(demo, 'explained')['id']}"
    gp, stranger = demo.persona("gp")["fhirUser"], demo.persona("stranger")["fhirUser"]

    def told(asker: str, **asked: str) -> dict[str, Any]:
        answer = demo.get(asker, f"Consent/$explain?{urlencode({'what': one, **asked})}")
        assert answer.status_code == 200, answer.text
        assert [i for i in check(answer.json(), R4) if i.severity in ("error", "fatal")] == []
        return {p["name"]: next(v for k, v in p.items() if k != "name") for p in answer.json()["parameter"]}

    for who in ("patient", "proxy"):
        assert told(who, who=gp)["permit"] is True and told(who, who=gp)["text"].startswith("Yes.")
        refused = told(who, who=stranger)
        assert refused["permit"] is False and refused["text"].startswith("No.")
    own = told("gp")
    assert own == told("gp", who=gp) and own["permit"] is True and "consent" not in own and "Consent/" not in own["text"]
    outcome(demo.get("gp", f"Consent/$explain?what={one}&who={stranger}"), 403)
    for asked in ("", f"&who={stranger}", f"&who={gp}"):
        hidden, absent = (demo.get("stranger", f"Consent/$explain?what={w}{asked}") for w in (one, f"Goal/{NOBODY}"))
        outcome(hidden, 404)
        same(hidden, absent, one, f"Goal/{NOBODY}")
    outcome(demo.get("patient", f"Consent/$explain?what={one}&action=bogus"), 400)
    outcome(demo.get("patient", "Consent/$explain"), 400)
    assert demo.get(None, "OperationDefinition/Consent-explain").json()["code"] == "explain"


# -- about itself -----------------------------------------------------------------------------------------------------


def test_what_the_server_says_of_itself_is_what_it_does(demo: Gateway) -> None:
    statement = demo.get(None, "metadata").json()
    assert [i for i in check(statement, R4) if i.severity in ("error", "fatal")] == []
    rest = statement["rest"][0]
    assert {c["code"] for c in rest["interaction"]} == {"transaction", "batch", "search-system", "history-system"}
    plan = next(r for r in rest["resource"] if r["type"] == "CarePlan")
    assert {c["code"] for c in plan["interaction"]} == {
        "read", "vread", "update", "patch", "delete", "history-instance", "history-type", "create", "search-type",
    }  # fmt: skip
    assert (plan["conditionalCreate"], plan["conditionalUpdate"], plan["conditionalDelete"]) == (True, True, "single")
    assert statement["patchFormat"] == ["application/json-patch+json", "application/fhir+json"]
    assert "CarePlan:goal" in plan["searchInclude"] and "CarePlan:based-on" in plan["searchRevInclude"]
    ours = next(o["definition"] for o in plan["operation"] if o["name"] == "document")
    definition = demo.get(None, ours.removeprefix(f"{demo.base}/fhir/"))
    assert definition.status_code == 200 and definition.json()["url"] == ours and definition.json()["code"] == "document"
    assert [i for i in check(definition.json(), R4) if i.severity in ("error", "fatal")] == []
    assert demo.get(None, "OperationDefinition/other").status_code == 401


def test_the_capability_statement_names_our_profiles_and_what_every_search_takes(demo: Gateway) -> None:
    rest = demo.get(None, "metadata").json()["rest"][0]
    ours = {(r["type"], p.rpartition("/")[2]) for r in rest["resource"] for p in r.get("supportedProfile", ())}
    assert ours == {
        ("CarePlan", "personal-plan"), ("CarePlan", "contingency-plan"), ("Goal", "plan-goal"), ("Condition", "plan-need"),
        ("Task", "plan-action"), ("QuestionnaireResponse", "about-me"), ("Consent", "sharing-preferences"),
        ("Subscription", "backport-subscription"), ("ClinicalImpression", "plan-formulation"), ("Observation", "plan-wheel"),
    }  # fmt: skip
    named = [p["name"] for p in rest["searchParam"]]
    assert set(named) == {"_id", "_lastUpdated", "_tag", "_profile", "_security", "_source"} and len(named) == 6
    for name in named:
        value = {"_id": NOBODY, "_lastUpdated": "gt2020"}.get(name, "https://x.example/y")
        assert demo.get("patient", f"?_type=Goal,CarePlan&{name}={value}", Prefer="handling=strict").status_code == 200, name


def test_openapi_names_every_route(demo: Gateway) -> None:
    document = demo.call(None, "GET", "/openapi.json").json()
    assert document["openapi"].startswith("3.1") and document["servers"] == [{"url": demo.base}]
    named = {(m.upper(), p) for p, item in document["paths"].items() for m in item}
    for method, path in (
        ("GET", "/fhir/{type}/{id}"), ("PATCH", "/fhir/{type}"), ("POST", "/fhir"), ("GET", "/fhir/_history"), ("GET", "/plans/{patient}"),
        ("GET", "/fhir/CarePlan/{id}/$document"), ("POST", "/oauth/token"), ("GET", "/health"), ("GET", "/openapi.json"), ("GET", "/fhir/metadata"),
    ):  # fmt: skip
        assert (method, path) in named
    ids = [o["operationId"] for item in document["paths"].values() for o in item.values() if "operationId" in o]
    assert len(ids) == len(set(ids))


def test_every_documented_fhir_address_is_served_and_every_offer_is_documented(demo: Gateway) -> None:
    paths = demo.call(None, "GET", "/openapi.json").json()["paths"]
    concrete = {"type": "Goal", "compartment": "Patient", "id": demo.patient, "version": "1"}
    missing = {(o.method, o.shape, t) for o in OFFERED for t in o.types or ("",)}
    asked = 0
    for path, item in paths.items():
        if not path.startswith("/fhir") or ".well-known" in path:
            continue
        for method in item:
            address = re.sub(r"\{(\w+)\}", lambda m: concrete[m[1]], path)
            parts = address.removeprefix("/fhir").strip("/").split("/") if address != "/fhir" else []
            offer = TABLE.get((method.upper(), shape(parts)))
            if offer is not None:
                missing.discard((offer.method, offer.shape, parts[0] if offer.types else ""))
            found = demo.call("patient", method.upper(), f"{address}?identifier=of-nobody")
            asked += 1
            assert found.status_code != 405 and "There is no operation" not in found.text, (method, path, found.text)
    assert missing == set()
    assert asked >= len(OFFERED)


def test_openapi_says_what_a_search_takes_in_a_document_of_a_reasonable_size(demo: Gateway) -> None:
    answer = demo.call(None, "GET", "/openapi.json")
    document = answer.json()
    assert len(answer.content) < 300_000
    shared = document["components"]["parameters"]
    for path in ("/fhir", "/fhir/{type}", "/fhir/{compartment}/{id}/{type}"):
        listed = document["paths"][path]["get"]["parameters"]
        named = {p.get("name") for p in listed}
        assert {"_include", "_revinclude", "_total", "_tag", "_profile", "_security", "_source", "_sort", "_count"} <= named, path
        (free,) = (shared[p["$ref"].rpartition("/")[2]] for p in listed if "$ref" in p)
        assert (free["style"], free["explode"]) == ("form", True) and "_has:" in free["description"] and "/fhir/metadata" in free["description"]
    everything = {
        "_tag": "https://x.example|y", "_profile": "https://x.example/p", "_security": "https://x.example|y", "_source": "https://x.example/s",
        "_total": "accurate", "_include": "Goal:patient", "_revinclude": "CarePlan:goal", "_has:CarePlan:goal:status": "active",
        "_sort": "-_lastUpdated", "_count": "3", "lifecycle-status": "active",
    }  # fmt: skip
    found = demo.get("patient", f"Goal?{urlencode(everything)}", Prefer="handling=strict")
    assert found.status_code == 200 and found.json()["total"] == 0, found.text


def test_operations_are_described_in_files_that_are_packaged() -> None:
    assert {p.stem for p in (Path(definitions.profiles_dir()) / "operations").glob("*.json")} == {"CarePlan-document", "Consent-explain", "Consent-preview", "QuestionnaireResponse-extract"}
