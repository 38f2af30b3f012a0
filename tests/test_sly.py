"""What somebody sly tried against a running gateway: each was open once, and is a case now."""

from __future__ import annotations

from typing import Any

import httpx2
import pytest

from .conftest import Gateway
from .test_bad_input import minted
from .test_story import bundled, observation, posted

SUPERSCRIPT = "²"  # a digit to Python's isdigit, and no number


def condition(demo: Gateway, **changes: Any) -> dict[str, Any]:
    return {
        "resourceType": "Condition", "subject": {"reference": f"Patient/{demo.patient}"}, "code": {"text": "Something"},
        "clinicalStatus": {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/condition-clinical", "code": "active"}]},
    } | changes  # fmt: skip


def test_an_edit_does_not_show_the_editor_what_the_view_held_back(demo: Gateway) -> None:
    secret = condition(
        demo, evidence=[{"detail": [{"reference": "Observation/elsewhere", "display": "CANARY-DISPLAY"}]}],
        text={"status": "additional", "div": '<div xmlns="http://www.w3.org/1999/xhtml">CANARY-NARRATIVE</div>'},
    )  # fmt: skip
    made = demo.call("patient", "POST", "Condition", body=secret).json()
    read = demo.get("gp", f"Condition/{made['id']}")
    assert read.status_code == 200 and "CANARY" not in read.text
    edited = {**read.json(), "note": [{"text": "Seen today"}]}
    saved = demo.call("gp", "PUT", f"Condition/{made['id']}", body=edited, headers={"If-Match": read.headers["etag"]})
    assert saved.status_code == 200 and "CANARY" not in saved.text
    for path in (f"Condition/{made['id']}", f"Condition?_id={made['id']}", f"Condition/{made['id']}/_history", f"Condition/{made['id']}/_history/2"):
        seen = demo.get("gp", path)
        assert "Seen today" in seen.text and "CANARY" not in seen.text, path
    whole = demo.get("patient", f"Condition/{made['id']}").text
    assert "CANARY-DISPLAY" in whole and "CANARY-NARRATIVE" in whole and "Seen today" in whole


def test_two_owners_in_one_reference_are_not_both_owners(demo: Gateway) -> None:
    community = demo.persona("community-nurse")["fhirUser"]
    ods = {"system": "https://fhir.nhs.uk/Id/ods-organization-code", "value": "D82999"}  # the stranger's surgery
    task = {
        "resourceType": "Task", "status": "requested", "intent": "order", "description": "Visit", "for": {"reference": f"Patient/{demo.patient}"},
        "owner": {"reference": community, "identifier": ods},
    }  # fmt: skip
    made = demo.call("hospital", "POST", "Task", body=task)
    assert made.status_code == 201, made.text
    mine = demo.get("community-nurse", f"Task/{made.json()['id']}")
    done = demo.call(
        "community-nurse", "PUT", f"Task/{made.json()['id']}", body={**mine.json(), "status": "accepted"}, headers={"If-Match": mine.headers["etag"]}
    )
    assert done.status_code == 200, done.text
    assert demo.get("stranger", f"Goal?patient={demo.patient}").json()["total"] == 0
    assert demo.get("stranger", f"/plans/{demo.patient}").status_code == 404


def test_a_history_promises_no_page_that_holds_only_what_is_hidden(demo: Gateway) -> None:
    restricted = {"security": [{"system": "http://terminology.hl7.org/CodeSystem/v3-Confidentiality", "code": "V"}]}
    for _ in range(3):
        made = demo.call("patient", "POST", "Condition", body=condition(demo, meta=restricted))
        assert demo.get("gp", f"Condition/{made.json()['id']}").status_code == 404
    seen: list[str] = []
    path: str | None = "Condition/_history?_count=1"
    while path:
        page = demo.get("gp", path).json()
        assert len(page["entry"]) == 1, "a page is filled with what this reader may see"
        seen.append(page["entry"][0]["fullUrl"])
        path = next((link["url"].split("/fhir/")[1] for link in page["link"] if link["relation"] == "next"), None)
    assert seen and not any(made.json()["id"] in s for s in seen)


def test_a_page_token_tells_nothing_and_fits_nowhere_else(demo: Gateway) -> None:
    def token(path: str) -> str:
        page = demo.get("gp", path).json()
        return str(next(link["url"] for link in page["link"] if link["relation"] == "next").split("_page=")[1])

    tokens = {p: token(f"{p}?_count=1") for p in ("Goal", "Goal/_history", "_history", f"Patient/{demo.patient}/$everything")}
    for origin, t in tokens.items():
        assert b"Goal" not in bytes.fromhex(t) and b'"at"' not in bytes.fromhex(t)
        for place in (*tokens, "Condition", "CarePlan/_history"):
            status = demo.get("gp", f"{place}?_page={t}").status_code
            assert status == (200 if place == origin else 404), (origin, place)
        assert demo.get("patient", f"{origin}?_page={t}").status_code == 404


async def test_a_scope_to_create_does_not_read(demo: Gateway) -> None:
    there = demo.call("hospital", "POST", "Observation", body=observation(f"Patient/{demo.patient}", "scope-probe")).json()
    condition_ = {"If-None-Exist": f"patient={demo.patient}&_id={there['id']}"}
    only = {"Authorization": f"Bearer {await minted(demo, 'gp', 'user/Observation.c')}", **condition_}
    body = observation(f"Patient/{demo.patient}", "scope-probe-2")
    refused = demo.call(None, "POST", "Observation", body=body, headers=only)
    assert refused.status_code == 403 and "scope-probe" not in refused.text
    search = {"Authorization": f"Bearer {await minted(demo, 'gp', 'user/Observation.cs')}", **condition_}
    matched = demo.call(None, "POST", "Observation", body=body, headers=search)
    assert matched.status_code == 200 and "scope-probe" not in matched.text


async def test_a_scope_for_part_of_a_type_holds_in_history(demo: Gateway) -> None:
    made = demo.call("hospital", "POST", "Observation", body=observation(f"Patient/{demo.patient}", "narrow"))
    bearer = {"Authorization": f"Bearer {await minted(demo, 'gp', 'user/Observation.rs?code=http://x|y')}"}
    for path in ("Observation/_history", "Observation"):
        assert demo.call(None, "GET", path, headers=bearer).json().get("entry", []) == [], path
    assert demo.call(None, "GET", f"Observation/{made.json()['id']}/_history/1", headers=bearer).status_code == 404


def test_a_condition_matches_nothing_that_the_view_hides(demo: Gateway) -> None:
    hidden = observation(f"Patient/{demo.patient}", "masked-key") | {
        "focus": [{"type": "Condition", "identifier": {"system": "urn:dx", "value": "HIV-77"}}]
    }
    made = demo.call("patient", "POST", "Observation", body=hidden).json()
    for guess in ("HIV-77", "HIV-78"):
        only = {"ifNoneExist": f"_id={made['id']}&focus:identifier=urn:dx|{guess}"}
        answer = demo.call("gp", "POST", "", body=bundled("transaction", posted(observation(f"Patient/{demo.patient}", guess), **only)))
        assert answer.json()["entry"][0]["response"]["status"].startswith("201"), guess


def test_a_provenance_does_not_tell_the_hidden_from_the_absent(demo: Gateway) -> None:
    goal = demo.get("patient", f"Goal?patient={demo.patient}").json()["entry"][0]["resource"]["id"]

    def said(target: str) -> str:
        body = {
            "resourceType": "Provenance", "target": [{"reference": f"Goal/{target}"}], "recorded": "2026-11-20T10:00:00Z",
            "agent": [{"who": {"reference": demo.persona("stranger")["fhirUser"]}}],
        }  # fmt: skip
        answer = demo.call("stranger", "POST", "Provenance", body=body)
        return f"{answer.status_code} {answer.text}"

    assert said(goal) == said("0198c0de-0000-7000-8000-000000000000")


def test_a_transaction_whose_read_fails_writes_nothing(demo: Gateway) -> None:
    absent = {"request": {"method": "GET", "url": "Goal/0198c0de-0000-7000-8000-000000000000"}}
    for who in ("gp", "hospital"):
        body = bundled("transaction", posted(observation(f"Patient/{demo.patient}", f"read-fails-{who}")), absent)
        assert demo.call(who, "POST", "", body=body).status_code == 404
        assert demo.get("patient", f"Observation?patient={demo.patient}&identifier=urn:test|read-fails-{who}").json()["total"] == 0


def test_a_create_that_misses_its_own_condition_ends(demo: Gateway) -> None:
    only = {"If-None-Exist": "code=urn:x|never"}
    body = observation(f"Patient/{demo.patient}", "never")
    assert [demo.call("gp", "POST", "Observation", body=body, headers=only).status_code for _ in range(2)] == [201, 201]


def test_refused_entries_of_a_batch_wait_in_the_inbox(demo: Gateway) -> None:
    good, bad = observation(f"Patient/{demo.patient}", "batch-good"), observation("Patient/nobody", "batch-bad")
    answer = demo.call("hospital", "POST", "", body=bundled("batch", posted(good), posted(bad)))
    assert [e["response"]["status"][:3] for e in answer.json()["entry"]] == ["201", "422"]
    (item,) = [i for i in demo.lines("inbox", "list", "--json") if "batch-bad" in i["body"]]
    assert "batch-good" not in item["body"] and item["status"] == 422


def test_two_refused_messages_under_one_name_are_both_kept(demo: Gateway) -> None:
    name = {"identifier": {"system": "urn:test", "value": "refused-twice"}}
    for n in (1, 2):
        body = bundled("transaction", posted(observation("Patient/nobody", f"refused-{n}")), **name)
        assert demo.call("hospital", "POST", "", body=body).status_code == 422
    waiting = [i["body"] for i in demo.lines("inbox", "list", "--json")]
    assert [any(f"refused-{n}" in b for b in waiting) for n in (1, 2)] == [True, True]


@pytest.mark.parametrize(
    "method, path, headers, body",
    [
        ("DELETE", "Goal/x", {"If-Match": f'W/"{SUPERSCRIPT}"'.encode("latin-1").decode("latin-1")}, None),
        ("GET", "Goal/x/_history/%C2%B2", {}, None),
        ("GET", "Goal/_history?_count=%C2%B2", {}, None),
        ("GET", "Goal?_count=%C2%B2", {}, None),
        ("POST", "", {}, bundled("transaction", {"resource": {"resourceType": "Goal"}, "request": {"method": "POST", "url": "Goal", "ifNoneExist": 5}})),
        ("POST", "", {}, bundled("batch", {"request": {"method": "GET", "url": f"Goal/x/_history/{SUPERSCRIPT}"}})),
        ("GET", "Goal/_history?_page=00", {}, None),
    ],
)
def test_odd_numbers_are_no_server_error(demo: Gateway, method: str, path: str, headers: dict[str, str], body: Any) -> None:
    import httpx2

    sent = {k.encode(): v.encode("latin-1") for k, v in headers.items()}
    sent |= {b"Authorization": f"Bearer {demo.persona('gp')['token']}".encode(), b"Content-Type": b"application/fhir+json"}
    answer = httpx2.request(method, f"{demo.base}/fhir/{path}", json=body, headers=list(sent.items()), timeout=30)
    assert answer.status_code in (200, 400, 404), answer.text
    if answer.status_code == 200:
        assert answer.json()["entry"][0]["response"]["status"][:3] == "404"


async def test_a_scope_for_finished_tasks_accepts_none(demo: Gateway) -> None:
    """Whose task it is may answer it, as far as their sign-in reaches: scope first."""
    task = {
        "resourceType": "Task", "status": "requested", "intent": "order", "description": "Visit", "for": {"reference": f"Patient/{demo.patient}"},
        "owner": {"identifier": {"system": "https://fhir.nhs.uk/Id/ods-organization-code", "value": "RY9"}},
    }  # fmt: skip
    made = demo.call("hospital", "POST", "Task", body=task)
    assert made.status_code == 201, made.text
    path = f"Task/{made.json()['id']}"
    mine = demo.get("community-nurse", path)
    for scopes in ("user/Task.rs user/Task.u?status=completed", "user/Task.rs user/Task.u?status=requested"):
        bearer = {"Authorization": f"Bearer {await minted(demo, 'community-nurse', scopes)}", "If-Match": mine.headers["etag"]}
        refused = demo.call(None, "PUT", path, body={**mine.json(), "status": "accepted"}, headers=bearer)
        assert refused.status_code == 403 and "insufficient_scope" in refused.headers["www-authenticate"], scopes
    assert demo.get("community-nurse", path).json()["status"] == "requested"


async def test_a_scope_to_read_opens_no_record(demo: Gateway) -> None:
    """Neither by an emergency nor by a claim; and whom a granular scope shuts out is nobody."""
    reason = {"reason": "She is at our desk now"}
    for scopes, status in (("user/Patient.r", 403), ("user/*.rs", 403), ("user/Patient.u", 403), ("user/Patient.ru?_id=another", 404)):
        bearer = {"Authorization": f"Bearer {await minted(demo, 'stranger', scopes)}", "Content-Type": "application/json"}
        for path, more in (("claims", {}), ("break-glass", {"ground": "incapacity-vital-interest"})):
            answer = httpx2.post(f"{demo.base}/patients/{demo.patient}/{path}", json=reason | more, headers=bearer, timeout=30)
            assert answer.status_code == status, (scopes, path, answer.text)
            assert status == 404 or "insufficient_scope" in answer.headers["www-authenticate"]
