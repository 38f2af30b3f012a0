"""A referral to a service, a link by which a charity without an account answers it, and how it closes back to whoever asked."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest

from .conftest import Gateway
from .staff import consent, given, permit, put_directory, signed_in
from .web.test_doors import Visitor, as_

KINDLY = "https://fhir-gateway.example/id/organisation|org-kindly"


@pytest.fixture(scope="module")
def service(demo: Gateway) -> dict[str, str]:
    """A befriending service of the charity in the demo."""
    (org,) = [e["resource"] for e in demo.get("gp", f"Organization?identifier={KINDLY}").json()["entry"]]
    (ref,) = put_directory(demo, {"resourceType": "HealthcareService", "active": True, "name": "Befriending by the sea", "providedBy": {"reference": f"Organization/{org['id']}"}})
    return {"id": ref.removeprefix("HealthcareService/"), "owner": f"Organization/{org['id']}"}


def ask(v: Visitor, service: dict[str, str], person: str = "", why: str = "She would like company") -> None:
    v.get(f"/services/{service['id']}{f'?for={person}' if person else ''}")
    done = v.send(f"/services/{service['id']}/ask", why=why, days="30")
    assert done.status_code == 200 and "It was asked for" in done.text, done.text[:2000]


def link(v: Visitor, task: str) -> str:
    page = v.send(f"/asked/{task}/link")
    found = re.search(r"http://[^<\s]+/task-link/([A-Za-z0-9_-]{20,})", page.text)
    assert found, v.words()
    return found[1]


def newest(demo: Gateway, who: str = "patient") -> dict[str, Any]:
    tasks = [e["resource"] for e in demo.get(who, f"Task?patient={demo.patient}&_sort=-_lastUpdated&_count=50").json()["entry"]]
    return next(t for t in tasks if t.get("description") == "Befriending by the sea")


def newest_or_none(demo: Gateway) -> list[Any]:
    return [e["resource"]["id"] for e in demo.get("patient", f"Task?patient={demo.patient}&_sort=-_lastUpdated&_count=1").json().get("entry", [])]


@pytest.fixture
def charity(demo: Gateway) -> Iterator[Visitor]:
    v = Visitor(demo)
    yield v
    v.http.close()


def test_the_person_asks_the_charity_answers_by_a_link_and_it_closes_in_order(demo: Gateway, service: dict[str, str], charity: Visitor) -> None:
    me = as_(demo, "patient")
    ask(me, service)
    task = newest(demo)
    token = link(me, task["id"])
    seen = charity.get(f"/task-link/{token}")
    assert seen.status_code == 200 and "Befriending by the sea" in seen.text and "She would like company" in seen.text
    assert not any(w in charity.words() for w in ("Amina", "Example", "999", "1951")), "nothing of who she is without her yes"
    assert seen.headers["referrer-policy"] == "no-referrer" and seen.headers["cache-control"] == "no-store"
    answered = charity.send(f"/task-link/{token}", what="accept")
    assert answered.status_code == 200 and "Accepted" in answered.text
    assert charity.send(f"/task-link/{token}", what="done", words="Met three times").status_code == 200
    assert charity.get(f"/task-link/{token}").status_code == 404, "it is over with the last answer"
    request = demo.get("patient", task["focus"]["reference"]).json()
    assert request["status"] == "completed", "the referral closes with its task"
    page = me.get("/asked")
    order = [page.text.index(w) for w in (": Asked<", ": Accepted<", ": Done<")]
    assert order == sorted(order) and "Met three times" in page.text
    looked = me.get("/my-plan/who-looked")
    assert "Accepted a task by a link" in looked.text and "Kindly Neighbours" in looked.text and "Made a link to one task" in me.get("/my-plan/who-looked?mine=yes").text
    events = demo.get("patient", f"AuditEvent?patient={demo.patient}&_count=50").json()["entry"]
    assert token not in str(events) and token not in demo.log.read_text(), "the link is in no trail and no log"


def test_name_and_contact_are_shown_once_the_person_lets_that_organisation_know(demo: Gateway, service: dict[str, str], charity: Visitor) -> None:
    me = as_(demo, "patient")
    ask(me, service)
    token = link(me, newest(demo)["id"])
    person = {"class": [{"system": "http://hl7.org/fhir/resource-types", "code": "Patient"}]}
    with given(demo, consent(demo.patient, permit(service["owner"], **person))):
        seen = charity.get(f"/task-link/{token}")
        assert "Amina Example" in seen.text and "1951" not in seen.text and "999 000" not in seen.text
    assert "Amina Example" not in charity.get(f"/task-link/{token}").text, "taken back at once"
    charity.get(f"/task-link/{token}")
    no = charity.send(f"/task-link/{token}", what="decline", words="")
    assert no.status_code == 400 and "Say why" in no.text
    assert charity.send(f"/task-link/{token}", what="decline", words="We have a waiting list").status_code == 200
    task = newest(demo)
    assert (task["status"], task["statusReason"]["text"]) == ("rejected", "We have a waiting list")
    request = demo.get("patient", task["focus"]["reference"]).json()
    assert request["status"] == "revoked" and request["extension"][0]["valueString"] == "We have a waiting list", "an unmet need, with its reason"


def test_who_asked_makes_a_link_and_the_person_ends_it(demo: Gateway, service: dict[str, str], charity: Visitor) -> None:
    gp, me = as_(demo, "gp"), as_(demo, "patient")
    ask(gp, service, demo.patient)
    task = newest(demo, "gp")
    gp.get(f"/asked?for={demo.patient}")
    first = link(gp, task["id"])
    gp.get(f"/asked?for={demo.patient}")
    second = link(gp, task["id"])
    assert charity.get(f"/task-link/{first}").status_code == 404, "a new link ends the one before"
    assert charity.get(f"/task-link/{second}").status_code == 200
    assert "Kindly Neighbours can open one task by a link" in me.get("/my-plan/who-looked").text
    me.get("/asked")
    end = re.findall(r'action="(/asked/links/[^"]+/end)"', me.page.split(f"/asked/{task['id']}/link")[1])[0]
    other = as_(demo, "social-worker")
    assert other.http.post(end, data={"form_token": other.fields("/sign-out")["form_token"], "for": ""}).status_code == 404, "nobody else ends it"
    assert "does not work any more" in me.send(end).text
    assert charity.get(f"/task-link/{second}").status_code == 404
    assert me.send(f"/asked/{task['id']}/cancel").status_code == 200 and newest(demo)["status"] == "cancelled"


def test_an_answer_from_a_stale_window_is_not_taken_and_its_words_come_back(demo: Gateway, service: dict[str, str], charity: Visitor) -> None:
    me = as_(demo, "patient")
    ask(me, service)
    at = f"/task-link/{link(me, newest(demo)['id'])}"
    charity.get(at)
    stale = Visitor(demo)
    stale.get(at)
    early = charity.http.post(at, data={**charity.fields(at), "what": "done", "words": "Met <b>twice</b>"})
    assert early.status_code == 409 and "You wrote:" in early.text and "Met &lt;b&gt;twice&lt;/b&gt;" in early.text and ">Accept<" in early.text, "not accepted yet; how it stands, and what was typed"
    charity.get(at)
    held = charity.fields(at)
    for _ in range(2):  # pressed twice
        twice = charity._seen(charity.http.post(at, data={**held, "what": "accept"}))
        assert twice.status_code == 200 and "Accepted" in charity.words()
    assert newest(demo)["status"] == "accepted"
    late = stale.send(at, what="decline", words="We are full")
    assert late.status_code == 409 and "Your answer was not sent" in stale.words() and newest(demo)["status"] == "accepted"
    assert re.search(r'<textarea[^>]*id="words-decline"[^>]*>\s*We are full</textarea>', stale.page), "to send it all the same, having seen how it stands"
    assert stale.send(at, what="decline", words="We are full").status_code == 200 and newest(demo)["status"] == "rejected"
    lost = charity.send(at, what="done", words="She came twice")
    assert lost.status_code == 404 and "This link does not work any more" in charity.words() and "She came twice" in charity.words()
    assert lost.headers["referrer-policy"] == "no-referrer" and lost.headers["cache-control"] == "no-store"
    assert not any(w in charity.words() for w in ("Befriending", "Kindly", "Amina")), "nothing of the task"
    stale.http.close()


def test_what_is_wrong_where_a_service_is_asked_for_comes_back_as_it_was_typed(demo: Gateway, service: dict[str, str]) -> None:
    me = as_(demo, "patient")
    at = f"/services/{service['id']}"
    before = newest_or_none(demo)
    for days in ("0", "abc", "400", "-1", "9999"):
        me.get(at)
        answer = me.send(f"{at}/ask", why="Too <b>lonely", days=days, team="yes")
        assert answer.status_code == 422 and "For how many days: Write a number from 1 to 366." in me.words()
        assert "Too &lt;b&gt;lonely</textarea>" in me.page and f'value="{days}"' in me.page and 'value="yes" checked' in me.page
    long = me.send(f"{at}/ask", why="x" * 2_001, days="30")
    assert long.status_code == 422 and "Why, and what would help: Write less: 2,000 characters at most." in me.words() and "x" * 2_001 in me.page
    assert newest_or_none(demo) == before, "nothing was asked"


def test_pressing_twice_asks_once_and_other_words_ask_again(demo: Gateway, service: dict[str, str]) -> None:
    for who, person in (("patient", ""), ("gp", demo.patient)):
        v = as_(demo, who)
        at = f"/services/{service['id']}{f'?for={person}' if person else ''}"
        v.get(at)
        held = v.fields(f"/services/{service['id']}/ask")

        def asked_for() -> int:
            return int(demo.get("patient", f"ServiceRequest?patient={demo.patient}&_summary=count").json()["total"]) + int(demo.get("patient", f"Task?patient={demo.patient}&_summary=count").json()["total"])

        before = asked_for()
        for _ in range(2):
            assert "It was asked for" in v.http.post(f"/services/{service['id']}/ask", data={**held, "why": "Company", "days": "30"}).text
        assert asked_for() == before + 2, "one referral and its task"
        v.http.post(f"/services/{service['id']}/ask", data={**held, "why": "Company, and help with the shopping", "days": "30"})
        assert asked_for() == before + 4
        v.get(at)
        v.send(f"/services/{service['id']}/ask", why="Company", days="30")
        assert asked_for() == before + 6, "from a new page it is asked anew"


def test_a_link_opens_that_one_task_and_nothing_else(demo: Gateway, service: dict[str, str], charity: Visitor) -> None:
    me = as_(demo, "patient")
    ask(me, service)
    task = newest(demo)
    token = link(me, task["id"])
    for path in (f"/fhir/Task/{task['id']}", f"/fhir/Patient/{demo.patient}", "/my-plan", "/asked", "/services", "/team"):
        assert charity.http.get(path, headers={"Authorization": f"Bearer {token}"}).status_code in (200, 401) and "Amina" not in charity.http.get(path).text
    charity.get(f"/task-link/{token}")
    form = charity.fields(f"/task-link/{token}")["form_token"]
    post = lambda **data: charity.http.post(f"/task-link/{token}", data={"form_token": form, **data})  # noqa: E731
    assert post(what="done", words="x").status_code == 409, "not before it was accepted"
    assert post(what="cancel").status_code == 400 and post(what="accept", status="completed").status_code == 400
    assert charity.http.post(f"/task-link/{token}", data={"what": "accept"}).status_code == 403, "only from our own form"
    assert charity.http.post(f"/task-link/{token}", data={"form_token": form, "what": "accept"}, headers={"Origin": "https://elsewhere.example"}).status_code == 403
    for wrong in (token[:-1], token + "A", "x", "%2e%2e%2f", "a" * 500, token.upper()):
        assert charity.http.get(f"/task-link/{wrong}").status_code == 404
    assert post(what="decline", words="x" * 2001).status_code == 400
    hostile = "<script>alert(1)</script> \u202e ok"
    assert post(what="accept", words=hostile).status_code == 200
    assert "<script>alert" not in me.get("/asked").text
    once = newest(demo)["meta"]["versionId"]
    assert post(what="accept").status_code == 200 and newest(demo)["meta"]["versionId"] == once, "an answer goes once"


def test_two_answers_at_once_are_one(demo: Gateway, service: dict[str, str], charity: Visitor) -> None:
    me = as_(demo, "patient")
    ask(me, service)
    token = link(me, newest(demo)["id"])
    charity.get(f"/task-link/{token}")
    form, said = charity.fields(f"/task-link/{token}")["form_token"], []
    cookies = dict(charity.http.cookies)

    def answer() -> None:
        done = httpx2.post(f"{demo.base}/task-link/{token}", data={"form_token": form, "what": "decline", "words": "no"}, cookies=cookies, headers={"Origin": demo.base})
        said.append(done.status_code)

    threads = [threading.Thread(target=answer) for _ in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert said.count(200) == 1 and set(said) <= {200, 404, 409, 412, 503}, said
    history = demo.get("patient", f"Task/{newest(demo)['id']}/_history").json()["entry"]
    assert [e["resource"]["status"] for e in history] == ["rejected", "requested"]


def test_nobody_makes_a_link_to_a_task_that_is_not_theirs_to_give(demo: Gateway, service: dict[str, str]) -> None:
    me = as_(demo, "patient")
    ask(me, service)
    task = newest(demo)
    for who, status in (("gp", 403), ("link-worker", 403), ("stranger", 404), ("community-nurse", 404)):
        v = as_(demo, who)
        v.get("/account")
        assert v.http.post(f"/asked/{task['id']}/link", data={"form_token": v.fields("/sign-out")["form_token"]}).status_code == status, who
    me.get("/asked")
    assert me.send(f"/asked/{task['id']}/cancel").status_code == 200
    assert me.http.post(f"/asked/{task['id']}/link", data={"form_token": me.fields("/sign-out")["form_token"]}).status_code == 422, "it is over"


def test_several_links_at_once_end_the_one_before_and_none_breaks(demo: Gateway, service: dict[str, str], charity: Visitor) -> None:
    me = as_(demo, "patient")
    ask(me, service)
    task = newest(demo)
    first = link(me, task["id"])
    form, cookies, said = me.fields("/sign-out")["form_token"], dict(me.http.cookies), []

    def make() -> None:
        said.append(httpx2.post(f"{demo.base}/asked/{task['id']}/link", data={"form_token": form}, cookies=cookies, headers={"Origin": demo.base}).status_code)

    threads = [threading.Thread(target=make) for _ in range(6)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert 200 in said and set(said) <= {200, 409, 503}, said
    assert charity.get(f"/task-link/{first}").status_code == 404


def test_of_first_links_made_at_once_one_opens(demo: Gateway, service: dict[str, str], charity: Visitor) -> None:
    me = as_(demo, "patient")
    ask(me, service)
    task, together = newest(demo)["id"], threading.Barrier(8)
    form, cookies, pages = me.fields("/sign-out")["form_token"], dict(me.http.cookies), []

    def make() -> None:
        together.wait()
        pages.append(httpx2.post(f"{demo.base}/asked/{task}/link", data={"form_token": form}, cookies=cookies, headers={"Origin": demo.base}))

    threads = [threading.Thread(target=make) for _ in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert {p.status_code for p in pages} <= {200, 409, 503}
    made = [re.search(r"/task-link/([A-Za-z0-9_-]{20,})", p.text)[1] for p in pages if p.status_code == 200]  # type: ignore[index]
    assert [charity.get(f"/task-link/{token}").status_code for token in made].count(200) == 1, "a task has one link that opens"


def test_a_link_that_a_colleague_made_and_used_opens_no_record_to_a_hospital_that_was_never_asked(demo: Gateway, charity: Visitor) -> None:
    """Health and social care sign in; a yes by a link counts as theirs where the person made it, or gave it to them."""
    kind = {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/organization-type", "code": "prov"}]}
    ward, sister = put_directory(
        demo, {"resourceType": "Organization", "active": True, "name": "Faraway Hospital", "type": [kind]}, {"resourceType": "Practitioner", "name": [{"text": "Sister Faraway"}]}
    )
    (service,) = put_directory(
        demo, {"resourceType": "HealthcareService", "active": True, "name": "Befriending by the sea", "providedBy": {"reference": ward}},
        {"resourceType": "PractitionerRole", "active": True, "practitioner": {"reference": sister}, "organization": {"reference": ward}},
    )[:1]  # fmt: skip
    there = signed_in(demo, "sister-faraway", sister, organisation=ward)

    def reads() -> int:
        return there.get(f"Patient/{demo.patient}").status_code

    gp, me, offered = as_(demo, "gp"), as_(demo, "patient"), {"id": service.removeprefix("HealthcareService/")}
    ask(gp, offered, demo.patient)
    task = newest(demo, "gp")
    gp.get(f"/asked?for={demo.patient}")
    token = link(gp, task["id"])
    charity.get(f"/task-link/{token}")
    assert charity.send(f"/task-link/{token}", what="accept").status_code == 200
    assert newest(demo, "gp")["status"] == "accepted" and reads() == 404, "whoever has the link may be the GP: nobody there has said anything"
    seen = there.get(f"Task/{task['id']}")
    assert seen.status_code == 200
    noted = {**seen.json(), "note": [{"text": "We are on it"}]}
    assert there.call("PUT", f"Task/{task['id']}", body=noted, headers={"If-Match": seen.headers["etag"]}).status_code == 200
    assert reads() == 200, "somebody who signs in there has taken it on"
    charity.get(f"/task-link/{token}")
    assert charity.send(f"/task-link/{token}", what="done", words="So it was").status_code == 200 and reads() == 404
    ask(me, offered)
    mine = link(me, newest(demo)["id"])
    charity.get(f"/task-link/{mine}")
    assert reads() == 404 and charity.send(f"/task-link/{mine}", what="accept").status_code == 200
    assert reads() == 200, "the person chose whom to give it to"
    assert charity.send(f"/task-link/{mine}", what="done", words="Done").status_code == 200 and reads() == 404
