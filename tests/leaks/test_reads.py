"""Rows L01 to L06 and L14 to L18 of the leak list: what is read by its address, found by its id, counted, or kept by a cache."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import urlsplit

import pytest

from ..web.test_doors import Visitor
from .conftest import EVERYBODY, FAMILY, READERS, STAFF, Place, some
from .seeding import CANARY, KEPT, NOBODY, OPEN, VERY, VERY_RESTRICTED, classes, marked, rule, sharing

UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}\Z")


def goal(place: Place, letter: str, *labels: dict[str, Any], **more: Any) -> dict[str, Any]:
    return marked(letter, {"resourceType": "Goal", "lifecycleStatus": "active", "description": {"text": f"{CANARY}-GOAL"}, "subject": {"reference": place.me}, **more}, *labels)


@pytest.mark.parametrize("who", EVERYBODY)
def test_L01_a_hidden_read_is_the_absent_read(place: Place, who: str) -> None:
    """Every type, every way of asking for one: status, body and headers of what is not there."""
    for type, ref in place.hidden(who).items():
        id = ref.split("/")[1]
        place.alike(who, "GET", f"{type}/{{}}", id, status=(404,))
    for form in ("Goal/{}?_elements=id", "Goal/{}?_summary=text", "Goal/{}?_format=json&_pretty=true", "Goal/{}/", "Goal/{}/_history", "Goal/{}/_history/1"):
        place.alike(who, "GET", form, place.hidden(who)["Goal"].split("/")[1], status=(404,))
    for headers in ({"If_None_Match": 'W/"1"'}, {"If_None_Match": "*"}, {"If_Modified_Since": "Wed, 21 Oct 2037 07:28:00 GMT"}, {"Prefer": "handling=strict"}, {"X_Purpose_of_Use": "TREAT"}):
        place.alike(who, "GET", "Goal/{}", place.hidden(who)["Goal"].split("/")[1], status=(404,), **headers)
    place.alike(who, "HEAD", "Goal/{}", place.hidden(who)["Goal"].split("/")[1], status=(404,))


def test_L01_what_is_hidden_by_a_consent_is_the_absent_too(place: Place) -> None:
    for who in ("gp", "proxy", *(s for s in STAFF if s not in ("gp", "social-worker"))):
        place.alike(who, "GET", "Goal/{}", place.denied.split("/")[1], status=(404,))
    assert place.get("social-worker", place.denied).status_code == 200


@pytest.mark.parametrize("who", EVERYBODY)
def test_L02_putting_to_a_hidden_id_is_putting_to_an_absent_one_and_creates_nothing(place: Place, who: str) -> None:
    for type, ref in place.hidden(who).items():
        body = {"resourceType": type, "id": "{}"}
        for headers in ({}, {"If_Match": 'W/"1"'}, {"If_None_Match": "*"}):
            place.alike(who, "PUT", f"{type}/{{}}", ref.split("/")[1], body=body, status=(400, 404), **headers)
    whole = {"resourceType": "Goal", "id": "{}", "lifecycleStatus": "active", "description": {"text": "Mine now"}, "subject": {"reference": place.me}}
    place.alike(who, "PUT", "Goal/{}", place.hidden(who)["Goal"].split("/")[1], body=whole, status=(404,), If_Match='W/"1"')
    place.alike(who, "PATCH", "Goal/{}", place.hidden(who)["Goal"].split("/")[1], body=[{"op": "test", "path": "/id", "value": "x"}], status=(404,), If_Match='W/"1"', Content_Type="application/json-patch+json")
    assert place.get("patient", f"Goal/{NOBODY}").status_code == 404, "nothing was created at an id that a client chose"


def test_L02_ids_are_the_servers_and_random(place: Place) -> None:
    wished = {**goal(place, OPEN), "id": "wished-for"}
    given = [place.made("gp", wished).split("/")[1] for _ in range(3)]
    assert all(UUID.match(i) for i in given) and len({i[-12:] for i in given}) == 3, "random UUIDs, and not one after another"


@pytest.mark.parametrize("who", EVERYBODY)
def test_L03_searching_for_a_hidden_id_finds_an_empty_bundle(place: Place, who: str) -> None:
    for type, ref in place.hidden(who).items():
        answer = place.alike(who, "GET", f"{type}?_id={{}}&_total=accurate", ref.split("/")[1], status=(200,))
        assert answer.json()["total"] == 0 and "entry" not in answer.json()
    place.alike(who, "GET", f"Goal?_id=x,{{}},{NOBODY}", place.hidden(who)["Goal"].split("/")[1])
    place.alike(who, "GET", "?_type=Goal,Patient&_id={}", place.hidden(who)["Goal"].split("/")[1])


@pytest.mark.parametrize("who", EVERYBODY)
def test_L04_totals_count_only_what_this_reader_may_see(place: Place, who: str) -> None:
    for type in ("Goal", "CarePlan", "Condition", "Observation", "Task", "Patient", "Consent", "Provenance", "Binary"):
        entries = everything(place, who, f"{type}?_count=5")
        for form in ("_summary=count", "_total=accurate", "_total=accurate&_count=1", "_total=accurate&_count=0", "_total=estimate"):
            answer = place.silent(who, place.get(who, f"{type}?{form}")).json()
            assert answer["total"] == len(entries), (type, form)
        hidden = [r for r in place.hidden(who).values() if r.startswith(type + "/")]
        assert not set(hidden) & {f"{e['resource']['resourceType']}/{e['resource']['id']}" for e in entries}


def everything(place: Place, who: str, query: str) -> list[dict[str, Any]]:
    """The matches of all pages, each page silent."""
    out: list[dict[str, Any]] = []
    path: str | None = query
    while path is not None:
        page = place.silent(who, place.get(who, path)).json()
        out += [e for e in page.get("entry", ()) if e.get("search", {}).get("mode") != "include"]
        path = following(page)
    return out


def following(page: dict[str, Any]) -> str | None:
    url = next((link["url"] for link in page.get("link", ()) if link["relation"] == "next"), None)
    return None if url is None else f"{urlsplit(url).path}?{urlsplit(url).query}"


def test_L05_a_page_link_is_one_readers_for_one_purpose_at_one_address_and_of_one_epoch(place: Place) -> None:
    first = place.get("gp", "Goal?_count=1").json()
    link = following(first)
    assert link is not None and place.get("gp", link).status_code == 200
    for who in READERS:
        if who != "gp":
            assert place.get(who, link).status_code == 404
    assert place.get("gp", link, X_Purpose_of_Use="ETREAT").status_code == 404, "another purpose"
    token = link.split("_page=")[1]
    for elsewhere in ("Condition", "Goal/_history", f"{place.me}/Goal", f"{place.me}/$everything", ""):
        assert place.get("gp", f"{elsewhere}?_page={token}").status_code == 404, elsewhere
    assert place.get("gp", f"Goal?_page={token[:-2]}{int(token[-2:], 16) ^ 1:02x}").status_code == 404, "a token that somebody made"
    consent = place.made("patient", sharing(place.me, [rule("deny", place.g.persona("link-worker")["fhirUser"])]))
    assert place.get("gp", link).status_code == 404, "of an old epoch"
    place.end(consent)


def test_L05_a_page_is_evaluated_when_it_is_asked_for(place: Place) -> None:
    """What was labelled between two pages is on none of them."""
    for n in range(3):
        place.made("patient", {"resourceType": "Goal", "lifecycleStatus": "active", "description": {"text": f"Page {n}"}, "subject": {"reference": place.me}, "startDate": f"2031-0{n + 1}-01"})
    first = place.get("gp", "Goal?start-date=ge2031&_sort=start-date&_count=1").json()
    last = place.get("gp", "Goal?start-date=2031-03-01").json()["entry"][0]["resource"]
    labelled = {**place.get("patient", f"Goal/{last['id']}").json()}
    labelled["meta"]["security"] = [VERY]
    assert place.ask("patient", "PUT", f"Goal/{last['id']}", body=labelled, If_Match='W/"1"').status_code == 200
    second = place.get("gp", str(following(first))).json()
    assert [e["resource"]["description"]["text"] for e in second["entry"]] == ["Page 1"] and following(second) is None


@pytest.mark.parametrize("who", some("gp", "patient", "proxy", "social-worker"))
def test_L06_pages_are_full_whatever_lies_between(place: Place, who: str) -> None:
    """One hidden from each of them between every two that are not."""
    for n in range(4):
        for body, writer in ((goal(place, VERY_RESTRICTED, VERY), "patient"), (goal(place, KEPT, {"system": VERY["system"], "code": "N"}, {"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "NOPAT"}), "gp")):
            place.made(writer, {**body, "startDate": f"2032-01-0{n + 1}"})
        place.made("patient", {"resourceType": "Goal", "lifecycleStatus": "active", "description": {"text": f"Seen {n}"}, "subject": {"reference": place.me}, "startDate": f"2032-01-0{n + 1}"})
    for form in ("Goal?start-date=ge2032&_sort=start-date&_count=2", "Goal?start-date=ge2032&_count=3", f"Goal?patient={place.g.patient}&_count=2&_sort=-_lastUpdated", "Goal/_history?_count=2", f"{place.me}/$everything?_count=3&_type=Goal"):
        sizes = []
        path: str | None = form
        while path is not None:
            page = place.silent(who, place.get(who, path)).json()
            sizes.append(len(page["entry"]))
            path = following(page)
        assert set(sizes[:-1]) <= {max(sizes)} and 0 < sizes[-1] <= max(sizes), (form, sizes)


@pytest.mark.parametrize("who", EVERYBODY)
def test_L14_elements_and_summaries_never_widen(place: Place, who: str) -> None:
    """Parts of what is hidden are hidden, parts of the view are parts of the view, and every one of them says that it is a part."""
    forms = ("_elements=goal,text,supportingInfo,activity", "_elements=text", "_summary=text", "_summary=true", "_summary=data", "_elements=identifier,extension,contained")
    for form in forms:
        for path in (f"{place.seen}?{form}", f"CarePlan?_id={place.seen.split('/')[1]}&{form}", f"CarePlan?{form}", f"{place.seen}/_history?{form}", f"?_type=CarePlan,Goal&{form}"):
            answer = place.silent(who, place.get(who, path))
            for entry in answer.json().get("entry", ()) if answer.status_code == 200 else ():
                assert "SUBSETTED" in str(entry["resource"]["meta"]["tag"]), path
    for type, ref in place.hidden(who).items():
        place.alike(who, "GET", f"{type}/{{}}?_elements=id,meta", ref.split("/")[1], status=(404,))


def test_L14_a_part_cannot_be_put_back(place: Place) -> None:
    part = place.get("patient", f"{place.seen}?_elements=title").json()
    again = {**part, "status": "active", "intent": "plan", "subject": {"reference": place.me}}
    assert place.ask("patient", "PUT", place.seen, body=again, If_Match=place.version(place.seen)).status_code == 422


@pytest.mark.parametrize("who", EVERYBODY)
def test_L15_no_history_tells_of_the_hidden(place: Place, who: str) -> None:
    for type, ref in place.hidden(who).items():
        place.alike(who, "GET", f"{type}/{{}}/_history", ref.split("/")[1], status=(404,))
    hidden = set(place.hidden(who).values())
    for path in ("_history?_count=200", "Goal/_history?_count=200", "Patient/_history", "Goal/_history?_at=2026", "_history?_since=2026-01-01T00:00:00Z&_summary=true", "Provenance/_history", "Binary/_history"):
        page = place.silent(who, place.get(who, path)).json()
        assert not hidden & {"/".join(e["fullUrl"].split("/")[-2:]) for e in page.get("entry", ())}, path
        if following(page) is None:
            assert page.get("total") == len(page.get("entry", ())), path


def test_L15_a_deletion_of_the_hidden_is_hidden(place: Place) -> None:
    gone = place.made("patient", goal(place, VERY_RESTRICTED, VERY))
    assert place.ask("patient", "DELETE", gone, If_Match='W/"1"').status_code == 204
    assert gone in str([e["fullUrl"] for e in place.get("patient", "Goal/_history?_count=5").json()["entry"]])
    for who in STAFF:
        place.alike(who, "GET", "Goal/{}/_history", gone.split("/")[1], status=(404,))
        for path in ("Goal/_history?_count=200", "_history?_count=200"):
            assert gone.split("/")[1] not in place.get(who, path).text


def test_L15_a_version_is_judged_by_the_stricter_of_its_own_labels_and_todays(place: Place) -> None:
    """Open when it was written, restricted since: no version of it is open any more, on any surface of history."""
    body = goal(place, VERY_RESTRICTED)
    ref = place.made("patient", body)
    assert place.get("gp", ref).status_code == 200 and place.get("gp", f"{ref}/_history").json()["total"] == 1
    labelled = {**body, "id": ref.split("/")[1], "meta": {"security": [VERY]}}
    assert place.ask("patient", "PUT", ref, body=labelled, If_Match='W/"1"').status_code == 200
    place.alike("gp", "GET", "Goal/{}/_history", ref.split("/")[1], status=(404,))
    for path in ("Goal/_history?_count=200", "_history?_count=200", "Goal/_history?_at=2026&_count=200"):
        assert ref.split("/")[1] not in place.silent("gp", place.get("gp", path)).text
    assert place.get("patient", f"{ref}/_history").json()["total"] == 2


def test_L16_a_version_from_before_a_label_does_not_open_it(place: Place) -> None:
    body = goal(place, VERY_RESTRICTED)
    ref = place.made("patient", body)
    assert place.get("gp", f"{ref}/_history/1").status_code == 200
    patch = [{"op": "add", "path": "/meta/security", "value": [VERY]}]
    assert place.ask("patient", "PATCH", ref, body=patch, If_Match='W/"1"', Content_Type="application/json-patch+json").status_code == 200
    for version in ("1", "2", "3", "0", "x"):
        place.alike("gp", "GET", f"Goal/{{}}/_history/{version}", ref.split("/")[1], status=(404,))
    for who, status in (("patient", 200), ("proxy", 200), ("social-worker", 404)):
        assert place.get(who, f"{ref}/_history/1").status_code == status


def test_L16_an_older_stricter_version_stays_shut_when_a_consent_shuts_it(place: Place) -> None:
    """A version that named a kind of record which this reader may not see, in a resource that has since changed."""
    allowed = place.made("patient", sharing(place.me, [rule("permit", place.g.persona("link-worker")["fhirUser"], **{"class": classes("Goal")})]))
    ref = place.made("patient", goal(place, OPEN))
    assert place.get("link-worker", f"{ref}/_history/1").status_code == 200
    place.end(allowed)
    for form in ("Goal/{}", "Goal/{}/_history", "Goal/{}/_history/1"):
        place.alike("link-worker", "GET", form, ref.split("/")[1], status=(404,))


def test_L17_gone_is_told_only_to_those_who_could_have_seen_it(place: Place) -> None:
    ref = place.made("patient", goal(place, VERY_RESTRICTED, VERY))
    assert place.ask("patient", "DELETE", ref, If_Match='W/"1"').status_code == 204
    assert place.get("patient", ref).status_code == 410
    for who in STAFF:
        for form in ("Goal/{}", "Goal/{}/_history/1", "Goal/{}/_history/2", "Goal/{}/_history", "Goal/{}?_summary=true"):
            place.alike(who, "GET", form, ref.split("/")[1], status=(404,))
        for method in ("DELETE", "PUT", "PATCH"):
            media = {"Content_Type": "application/json-patch+json"} if method == "PATCH" else {}
            body: Any = {"DELETE": None, "PUT": {"resourceType": "Goal", "id": "{}"}, "PATCH": [{"op": "test", "path": "/id", "value": ""}]}[method]
            place.alike(who, method, "Goal/{}", ref.split("/")[1], body=body, If_Match='W/"2"', status=(404,), **media)
    place.alike("gp", "POST", "Goal/{}/$validate?mode=delete", ref.split("/")[1], status=(404,))


def test_L18_permission_comes_before_any_comparison_of_versions(place: Place) -> None:
    ref = place.made("patient", goal(place, OPEN))
    read = place.get("gp", ref)
    assert read.headers["etag"] == 'W/"1"' and set(read.headers["vary"].lower().split(", ")) >= {"authorization"}
    assert {w.strip() for w in read.headers["cache-control"].split(",")} >= {"private", "no-store"}
    for ask in ({"If_None_Match": 'W/"1"'}, {"If_None_Match": "*"}, {"If_Modified_Since": read.headers["last-modified"]}):
        same = place.get("gp", ref, **ask)
        assert same.status_code == 304 and same.headers["etag"] == 'W/"1"' and same.headers["vary"] == read.headers["vary"]
        assert same.headers["cache-control"] == read.headers["cache-control"] and not same.content
        for who in ("stranger", "link-worker", "hospital"):
            place.alike(who, "GET", "Goal/{}", ref.split("/")[1], status=(404,), **ask)
            place.alike(who, "HEAD", "Goal/{}", ref.split("/")[1], status=(404,), **ask)
    shut = place.made("patient", sharing(place.me, [rule("deny", place.g.persona("gp")["fhirUser"])]))
    place.alike("gp", "GET", "Goal/{}", ref.split("/")[1], status=(404,), If_None_Match='W/"1"')
    assert place.get("social-worker", ref).headers["etag"] == 'W/"1"', "the ETag knows nothing of consents"
    place.end(shut)
    again = place.get("gp", ref)
    assert again.headers["etag"] == 'W/"1"' and again.content == read.content


@pytest.mark.parametrize("who", some(*FAMILY, "gp", "stranger"))
def test_L18_every_answer_about_people_says_that_no_cache_may_keep_it(place: Place, who: str) -> None:
    for path in (place.seen, "Goal", f"{place.me}/$everything", "_history", f"Goal/{NOBODY}", f"/plans/{place.g.patient}", f"{place.seen}/$document"):
        answer = place.get(who, path)
        assert "no-store" in answer.headers["cache-control"] and "authorization" in answer.headers["vary"].lower(), path


@pytest.mark.parametrize("who", some("gp", "link-worker", "stranger", "social-worker"))
def test_L01_a_page_and_a_plan_of_somebody_hidden_are_those_of_nobody(place: Place, who: str) -> None:
    """`/plans/…` and the pages of the team: the same answer about a person who is not for this worker as about none."""
    person = place.others["Patient"].split("/")[1]
    place.alike(who, "GET", "/plans/{}", person, status=(404,))
    visitor = Visitor(place.g)
    try:
        assert visitor.sign_in(who).status_code == 200
        for form in ("/team/people/{}", "/team/people/{}?x=1", "/team/tasks/{}/accept"):
            said = []
            for id in (person, NOBODY):
                answer = visitor.http.get(form.replace("{}", id))
                said.append((answer.status_code, re.sub(r'(nonce|value)="[^"]*"', r"\1", answer.text.replace(id, "")), sorted(answer.headers)))
                assert CANARY not in answer.text
            assert said[0] == said[1] and said[0][0] in (404, 405)
        assert f"{CANARY}O" not in visitor.get("/team").text
    finally:
        visitor.http.close()
