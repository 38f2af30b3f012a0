"""What a registered system sent here as its copy it may take back unseen; for everybody else, and for all else, hidden is absent. docs/notes/0032"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from .conftest import Gateway
from .staff import ODS, Colleague, consent, given, permit, system
from .test_hidden import NOBODY, same
from .test_interactions_write import goal

SYSTEM, THEM = "https://fhir-gateway.example/id/resource", "0123456789abcdef"
GOALS = [{"system": "http://hl7.org/fhir/resource-types", "code": "Goal"}]
ONE = {"If-Match": 'W/"1"'}


@pytest.fixture(scope="module")
def ward(demo: Gateway) -> Colleague:
    """Another system of the same hospital's."""
    return system(demo, "ward", "RX9")


def copy(demo: Gateway, name: str, **more: Any) -> dict[str, Any]:
    return goal(demo, name, meta={"tag": [{"system": SYSTEM, "code": f"{THEM}.{name}"}]}, **more)


def sent(demo: Gateway, name: str, **more: Any) -> str:
    """A copy that the hospital's system sent: its id."""
    made = demo.call("hospital", "POST", "Goal", body=copy(demo, name, **more))
    assert made.status_code == 201, made.text
    return str(made.json()["id"])


@contextmanager
def hidden(demo: Gateway, *ids: str) -> Iterator[None]:
    """While this lasts she keeps her goals from the hospital."""
    with given(demo, consent(demo.patient, permit(f"{ODS}|RX9", type="deny", **{"class": GOALS}))):
        for id in ids:
            assert demo.get("hospital", f"Goal/{id}").status_code == 404
        yield


@contextmanager
def let_in(demo: Gateway) -> Iterator[None]:
    """While this lasts the hospital may see her goals and change them."""
    actions = [{"coding": [{"system": "http://terminology.hl7.org/CodeSystem/consentaction", "code": c}]} for c in ("access", "correct")]
    with given(demo, consent(demo.patient, permit(f"{ODS}|RX9", action=actions, period={"end": "2099-12-31"}))):
        yield


def changed(demo: Gateway, id: str, who: str = "patient", **more: Any) -> None:
    now = demo.get(who, f"Goal/{id}")
    done = demo.call(who, "PUT", f"Goal/{id}", body={**now.json(), **more}, headers={"If-Match": now.headers["etag"]})
    assert done.status_code == 200, done.text


def absent(demo: Gateway, who: str | Colleague, id: str, method: str = "DELETE", body: Any = None) -> None:
    """It is answered as if nothing were there, and nothing becomes of it."""
    before = demo.get("patient", f"Goal/{id}")

    def asked(name: str) -> Any:
        sent = {**body, "id": name} if body is not None else None
        if isinstance(who, Colleague):
            return who.call(method, f"Goal/{name}", body=sent, headers=ONE)
        return demo.call(who, method, f"Goal/{name}", body=sent, headers=ONE)

    there, nowhere = asked(id), asked(NOBODY)
    assert there.status_code == 404
    same(there, nowhere, id, NOBODY)
    after = demo.get("patient", f"Goal/{id}")
    assert (after.status_code, after.content) == (before.status_code, before.content)


def test_its_sender_takes_a_hidden_copy_back_and_is_told_nothing_of_it(demo: Gateway) -> None:
    one = sent(demo, "w1")
    with hidden(demo, one):
        for match in ({}, ONE, {"If-Match": 'W/"7"'}):  # the second finds it gone: it is told the same
            done = demo.call("hospital", "DELETE", f"Goal/{one}", headers=match)
            assert (done.status_code, done.content) == (204, b"") and "etag" not in done.headers and "last-modified" not in done.headers
        assert demo.get("hospital", f"Goal/{one}").status_code == 404
    assert demo.get("patient", f"Goal/{one}").status_code == 410
    assert demo.get("patient", f"Goal/{one}/_history/1").json()["description"] == {"text": "Sing"}, "it is kept"
    rows = [e["resource"] for e in demo.get("patient", f"AuditEvent?entity=Goal/{one}&_count=200").json()["entry"]]
    assert [r["outcome"] for r in rows if r.get("action") == "D"] == ["0"], "and she sees that it was deleted, once"


@pytest.mark.slow
def test_whoever_deleted_it_meanwhile_its_sender_is_told_the_same(demo: Gateway) -> None:
    ids = [sent(demo, f"w2{n}") for n in "ab"]
    with hidden(demo, *ids):
        assert demo.call("patient", "DELETE", f"Goal/{ids[0]}", headers=ONE).status_code == 204
        there, gone = (demo.call("hospital", "DELETE", f"Goal/{id}", headers=ONE) for id in reversed(ids))
        same(there, gone, ids[1], ids[0])
        entry = [{"request": {"method": "DELETE", "url": f"Goal/{id}", "ifMatch": 'W/"1"'}} for id in ids]
        batch = demo.call("hospital", "POST", "", body={"resourceType": "Bundle", "type": "batch", "entry": entry}).json()["entry"]
        assert [e["response"] for e in batch] == [{"status": "204 No Content", "location": f"Goal/{id}"} for id in ids]


@pytest.mark.slow
def test_a_named_deletion_that_is_sent_twice_tells_no_version(demo: Gateway) -> None:
    one = sent(demo, "w3")
    with hidden(demo, one):
        for _ in range(2):
            done = demo.call("hospital", "DELETE", f"Goal/{one}", headers={**ONE, "Idempotency-Key": "w3"})
            assert done.status_code == 204 and "etag" not in done.headers


def test_a_word_of_somebody_elses_in_it_keeps_it(demo: Gateway) -> None:
    before, after = sent(demo, "w4a"), sent(demo, "w4b")
    changed(demo, before, note=[{"text": "hers"}])
    changed(demo, before, "hospital", lifecycleStatus="on-hold")
    with hidden(demo, before, after):
        changed(demo, after, note=[{"text": "hers"}])
        for one in (before, after):
            absent(demo, "hospital", one)


@pytest.mark.slow
def test_a_label_is_no_word(demo: Gateway) -> None:
    one = sent(demo, "w5")
    label = [{"system": "http://terminology.hl7.org/CodeSystem/v3-Confidentiality", "code": "V"}]
    changed(demo, one, meta={**demo.get("patient", f"Goal/{one}").json()["meta"], "security": label})
    with hidden(demo, one):
        assert demo.call("hospital", "DELETE", f"Goal/{one}", headers=ONE).status_code == 204
    assert demo.get("patient", f"Goal/{one}").status_code == 410


def test_nobody_else_takes_it_back(demo: Gateway, ward: Colleague) -> None:
    one = sent(demo, "w6")
    planted = ward.call("POST", "Goal", body=copy(demo, "w6")).json()["id"]  # the very same name, put on by another system
    with hidden(demo, one, planted):
        absent(demo, ward, one)
        absent(demo, "hospital", planted)
        for who in ("stranger", "link-worker"):
            absent(demo, who, one)


@pytest.mark.slow
def test_what_was_sent_as_no_copy_is_not_taken_back_unseen(demo: Gateway) -> None:
    made = demo.call("hospital", "POST", "Goal", body=goal(demo, "w7")).json()["id"]
    hers = demo.call("patient", "POST", "Goal", body=goal(demo, "w7b")).json()["id"]
    with hidden(demo, made, hers):
        for one in (made, hers):
            absent(demo, "hospital", one)


def test_by_its_name_a_copy_goes_unseen_and_whether_there_was_one_is_told_to_nobody(demo: Gateway, ward: Colleague) -> None:
    one, written_in, hers = sent(demo, "w8"), sent(demo, "w8b"), ward.call("POST", "Goal", body=copy(demo, "w8c")).json()["id"]
    changed(demo, written_in, note=[{"text": "hers"}])
    named = {n: f"Goal?_tag={SYSTEM}|{THEM}.{n}" for n in ("w8", "w8b", "w8c", "w9")}
    with hidden(demo, one, written_in, hers):
        for name in ("w8", "w8b"):  # another system of the same hospital's
            same(ward.call("DELETE", named[name]), nowhere := ward.call("DELETE", named["w9"]), name, "w9")
            assert (nowhere.status_code, nowhere.content) == (204, b"") and "etag" not in nowhere.headers
        for _ in range(2):  # the second finds it gone
            for name in ("w8", "w8c"):
                same(demo.call("hospital", "DELETE", named[name]), demo.call("hospital", "DELETE", named["w9"]), name, "w9")
        batch = {"resourceType": "Bundle", "type": "batch", "entry": [{"request": {"method": "DELETE", "url": named[n]}} for n in ("w8", "w9")]}
        assert [e["response"] for e in demo.call("hospital", "POST", "", body=batch).json()["entry"]] == [{"status": "204 No Content"}] * 2
        assert demo.call("hospital", "DELETE", named["w8b"]).status_code == 404, "somebody else wrote in it"
        for who in ("stranger", "link-worker"):
            there, nowhere = (demo.call(who, "DELETE", named[n]) for n in ("w8b", "w9"))
            same(there, nowhere, "w8b", "w9")
    assert [demo.get("patient", f"Goal/{id}").status_code for id in (one, written_in, hers)] == [410, 200, 200]


@pytest.mark.slow
def test_any_other_condition_reaches_nothing_that_is_unseen(demo: Gateway) -> None:
    one = sent(demo, "w8d")
    with hidden(demo, one):
        there, nowhere = (demo.call("hospital", "DELETE", f"Goal?_tag={SYSTEM}|{THEM}.{n}&lifecycle-status=active") for n in ("w8d", "w9"))
        assert there.status_code == 404
        same(there, nowhere, "w8d", "w9")
    assert demo.get("patient", f"Goal/{one}").status_code == 200


def test_its_words_go_out_of_her_record_as_it_was_before_and_as_nothing_else(demo: Gateway) -> None:
    hers = demo.call("patient", "POST", "Goal", body=goal(demo, "w10", note=[{"text": "as it was"}])).json()["id"]
    with let_in(demo):
        shown = demo.get("hospital", f"Goal/{hers}").json()
        changed(demo, hers, "hospital", note=[{"text": "theirs"}])
    with hidden(demo, hers):
        for guess in ({**shown, "note": [{"text": "another"}]}, {**shown, "note": [{"text": "theirs"}]}, {"resourceType": "Goal"}):
            absent(demo, "hospital", hers, "PUT", guess)
        for _ in range(2):  # the second finds it so already: it is told the same
            done = demo.call("hospital", "PUT", f"Goal/{hers}", body=shown, headers={"If-Match": 'W/"2"'})
            assert (done.status_code, done.content) == (200, b"") and "etag" not in done.headers and "last-modified" not in done.headers
    now = demo.get("patient", f"Goal/{hers}").json()
    assert (now["note"], now["meta"]["versionId"]) == ([{"text": "as it was"}], "3")


@pytest.mark.slow
def test_her_words_since_keep_what_others_wrote_before(demo: Gateway, ward: Colleague) -> None:
    hers = demo.call("patient", "POST", "Goal", body=goal(demo, "w11")).json()["id"]
    with let_in(demo):
        shown = demo.get("hospital", f"Goal/{hers}").json()
        changed(demo, hers, "hospital", note=[{"text": "theirs"}])
    with hidden(demo, hers):
        absent(demo, ward, hers, "PUT", shown)
        changed(demo, hers, lifecycleStatus="on-hold")
        absent(demo, "hospital", hers, "PUT", shown)
