"""What waits, on pages: two versions side by side for who may choose, and the operator's list without anybody's content."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import httpx2
import pytest

from fhir_gateway.web.pages.versions import parts, words_of

from ..conftest import gateway
from ..stores.test_attempts import Hub
from ..subscribing import hook, subscription
from .test_doors import Visitor, as_

if TYPE_CHECKING:
    from ..conftest import Gateway

NOTHING: Mapping[str, Any] = MappingProxyType({})
GIVEN, PASSWORD = "as it was given to me", "four words of mine"


@contextmanager
def partnered(folder: Path) -> Iterator[tuple[Gateway, Hub]]:
    """A demo whose surgery has a server, in step with it."""
    there = Hub()
    threading.Thread(target=there.server.serve_forever, args=(0.05,), daemon=True).start()
    remote = {"GATEWAY_REMOTE_URL": there.url, "GATEWAY_REMOTE_ORGANISATION": "D82001", "GATEWAY_WORKER": "false"}
    try:
        with gateway(folder, "--demo", **remote) as g:
            g.command("sync", "run", "--once")
            yield g, there
    finally:
        there.server.shutdown()


def clashing(g: Gateway, there: Hub, ours: Mapping[str, Any] = NOTHING, theirs: Mapping[str, Any] = NOTHING) -> str:
    """A goal that both sides have given other words, and `ours` or `theirs`; its `Type/id` here."""
    goal = next(e["resource"] for e in g.get("patient", f"Goal?patient={g.patient}").json()["entry"] if "Goal/" in e["fullUrl"])
    name = next(n for n, r in there.held.items() if n.startswith("Goal/") and any(str(t.get("code")).endswith(goal["id"]) for t in r["meta"]["tag"]))
    there.edit(name, description={"text": "Zebras in the garden"}, **theirs)
    changed = {**goal, "description": {"text": "Apples in the garden"}, **ours}
    put = g.call("patient", "PUT", f"Goal/{goal['id']}", body=changed, headers={"If-Match": f'W/"{goal["meta"]["versionId"]}"'})
    assert put.status_code == 200, put.text
    g.command("sync", "run", "--once")
    return f"Goal/{goal['id']}"


def operator(g: Gateway) -> Visitor:
    """Somebody with the operator's role, who has chosen their own password."""
    gp = g.persona("gp")["fhirUser"]
    g.lines("people", "add", "olu", "--who", gp, "--organisation", "D82001", "--role", "operator", "--password-file", "-", "--json", stdin=f"{GIVEN}\n")
    v = Visitor(g)
    v.sign_in("olu", GIVEN)
    v.send("/sign-in/first-password", username="olu", old=GIVEN, new=PASSWORD, again=PASSWORD)
    return v


@pytest.mark.slow
def test_a_conflict_is_seen_side_by_side_chosen_and_sent_on(tmp_path: Path) -> None:
    with partnered(tmp_path) as (g, there):
        ref = clashing(g, there)
        (conflict,) = g.lines("sync", "conflicts", "--json")
        assert conflict["ref"] == ref and "garden" not in repr(conflict)
        olu = operator(g)
        assert olu.get("/home").url.path == "/operator"
        assert ref in olu.words() and "Goal.description" in olu.words() and "garden" not in olu.page
        assert olu.send("/operator/act", do="ours").status_code == 409 and "Say why." in olu.words()
        assert olu.http.post("/operator/act", data={"kind": "conflict", "id": conflict["id"], "do": "ours", "reason": "x"}).status_code == 403, "no token"
        amina = as_(g, "patient")
        amina.get("/my-plan")
        found = re.search(r'href="(/my-plan/two-versions/[^"]+)"', amina.page)
        assert found and "please choose" in amina.words()
        amina.get(found[1])
        assert "What was written here" in amina.words() and "What was written at Example Street Surgery" in amina.words() and "Apples in the garden" in amina.words() and "Zebras in the garden" in amina.words()
        link = as_(g, "link-worker")
        assert link.get(found[1].replace("/my-plan", "/team")).status_code == 404, "hidden and absent are one"
        assert amina.send(found[1], do="neither").status_code == 409
        assert amina.send(found[1], do="ours", version="1").status_code == 409 and "meanwhile" in amina.words()
        amina.send(found[1], do="theirs")
        assert "You chose." in amina.words() and "please choose" not in amina.words()
        assert g.get("patient", ref).json()["description"]["text"] == "Zebras in the garden"
        assert g.lines("sync", "conflicts", "--json") == [] and amina.get(found[1]).status_code == 404


@pytest.mark.slow
def test_a_conflict_is_merged_part_by_part_or_written_anew(tmp_path: Path) -> None:
    with partnered(tmp_path) as (g, there):
        ref = clashing(g, there)
        amina = as_(g, "patient")
        amina.get("/my-plan")
        found = re.search(r'href="(/my-plan/two-versions/[^"]+)"', amina.page)
        assert found
        at = found[1]
        amina.get(at)
        assert "take some from each" in amina.words() and 'name="words-description"' in amina.page
        form = {"do": "merged", "part-description": "new"}
        assert amina.send(at, do="merged").status_code == 409 and "Choose one, or write" in amina.words()
        assert amina.send(at, **form, **{"words-description": " "}).status_code == 409
        assert amina.send(at, **form, **{"words-description": "x" * 3000}).status_code in (400, 409)
        amina.get(at)
        assert amina.send(at, **form, version="1", **{"words-description": "Both"}).status_code == 409 and "meanwhile" in amina.words()
        amina.get(at)
        amina.send(at, **form, **{"words-description": "Apples and zebras"})
        assert "You chose." in amina.words()
        assert g.get("patient", ref).json()["description"]["text"] == "Apples and zebras" and g.lines("sync", "conflicts", "--json") == []


@pytest.mark.slow
@pytest.mark.parametrize("how", ["ours", "theirs"])
def test_what_was_added_beside_a_clash_since_stays_when_its_part_is_chosen(tmp_path: Path, how: str) -> None:
    with partnered(tmp_path) as (g, there):
        goal = next(e["resource"] for e in g.get("patient", f"Goal?patient={g.patient}").json()["entry"] if "Goal/" in e["fullUrl"])

        def put(body: dict[str, Any]) -> dict[str, Any]:
            answer = g.call("patient", "PUT", f"Goal/{goal['id']}", body=body, headers={"If-Match": f'W/"{body["meta"]["versionId"]}"'})
            assert answer.status_code == 200, answer.text
            now: dict[str, Any] = answer.json()
            return now

        now = put({**goal, "note": [{"text": "To be talked about"}]})
        g.command("sync", "run", "--once")
        name = next(n for n, r in there.held.items() if n.startswith("Goal/") and any(str(t.get("code")).endswith(goal["id"]) for t in r["meta"]["tag"]))
        there.edit(name, note=[{"text": "Zebras in the garden"}], description={"text": "Ride a horse"})
        put({**now, "note": [{"text": "Apples in the garden"}], "description": {"text": "Row a boat"}})
        g.command("sync", "run", "--once")
        now = g.get("patient", f"Goal/{goal['id']}").json()
        put({**now, "note": [*now["note"], {"text": "Peanuts, written since"}]})
        amina = as_(g, "patient")
        amina.get("/my-plan")
        found = re.search(r'href="(/my-plan/two-versions/[^"]+)"', amina.page)
        assert found
        amina.get(found[1])
        assert "It was changed again since." in amina.words() and "Peanuts, written since" in amina.words()
        other = {"ours": "theirs", "theirs": "ours"}[how]
        amina.send(found[1], **{"do": "merged", "part-note": how, "part-description": other})
        assert "You chose." in amina.words()
        after = g.get("patient", f"Goal/{goal['id']}").json()
        assert [n["text"] for n in after["note"]] == [{"ours": "Apples in the garden", "theirs": "Zebras in the garden"}[how], "Peanuts, written since"]
        assert after["description"]["text"] == {"ours": "Ride a horse", "theirs": "Row a boat"}[how], "the other part as the other side has it"


@pytest.mark.slow
def test_of_several_parts_one_is_ours_one_theirs_and_one_written_anew(tmp_path: Path) -> None:
    with partnered(tmp_path) as (g, there):
        dates = {"startDate": "2026-12-01", "statusDate": "2026-11-20"}
        ref = clashing(g, there, dates, {"startDate": "2026-12-24", "statusDate": "2026-11-21"})
        amina = as_(g, "patient")
        amina.get("/my-plan")
        found = re.search(r'href="(/my-plan/two-versions/[^"]+)"', amina.page)
        assert found
        amina.get(found[1])
        for part in ("description", "startDate", "statusDate"):
            assert f'name="part-{part}"' in amina.page, part
        assert 'name="words-startDate"' not in amina.page, "a date is not written as words"
        some = {"part-startDate": "ours", "part-description": "new", "words-description": "Apples and zebras"}
        assert amina.send(found[1], do="merged", **some).status_code == 409, "each part is chosen"
        assert amina.send(found[1], do="merged", **{**some, "part-startDate": "new", "part-statusDate": "theirs"}).status_code == 409
        amina.send(found[1], do="merged", **some, **{"part-statusDate": "theirs"})
        assert "You chose." in amina.words()
        g.command("sync", "run", "--once")
        (copy,) = [r for n, r in there.held.items() if n.startswith("Goal/") and any(str(t.get("code")).endswith(ref.split("/")[1]) for t in r["meta"]["tag"])]
        for side in (g.get("patient", ref).json(), copy):
            assert (side["description"]["text"], side["startDate"], side["statusDate"]) == ("Apples and zebras", "2026-12-01", "2026-11-21")


@pytest.mark.slow
def test_the_operator_sees_how_far_a_partner_is_and_why_it_does_not_go(tmp_path: Path) -> None:
    with partnered(tmp_path) as (g, there):
        olu = operator(g)
        olu.get("/operator")
        assert "How it goes All is well." in olu.words() and "Next try" not in olu.words() and "The oldest has waited" not in olu.words()
        there.refuses = {"POST Goal": 503}
        g.call("patient", "POST", "Goal", body={"resourceType": "Goal", "lifecycleStatus": "active", "description": {"text": "Bake bread"}, "subject": {"reference": f"Patient/{g.patient}"}})
        for _ in range(20):  # what was refused is not due again at once
            g.command("sync", "run", "--once")
            (status,) = g.lines("sync", "status", "--json")
            if status["failures"] >= 2:
                break
            time.sleep(1)
        assert (status["state"], status["failures"], status["queued"]) == ("away", 2, 1) and status["next_try"] and status["lag_s"] > 0
        olu.get("/operator")
        for said in ("It does not answer as it should.", "it answered 503", "2 times in a row", "Next try", "To be sent 1", "The oldest has waited"):
            assert said in olu.words(), said
        assert "Who is who there It cannot be asked. People are made there without looking" in olu.words() and "Bake bread" not in olu.page


@pytest.mark.slow
def test_the_operator_sees_which_subscriber_takes_nothing_and_not_whom_it_is_about(tmp_path: Path) -> None:
    with hook() as h, gateway(tmp_path, "--demo", GATEWAY_SUBSCRIBERS=h.place) as g:
        h.status = 503
        made = g.call("hospital", "POST", "Subscription", body=subscription(f"http://{h.place}/secret-path", f"Goal?patient={g.patient}", header=["X-Key: s3cret"]))
        assert made.status_code == 201, made.text
        for _ in range(100):
            if g.call("hospital", "GET", f"Subscription/{made.json()['id']}").json()["status"] == "error":
                break
            time.sleep(0.1)
        olu = operator(g)
        olu.get("/operator")
        for said in ("Services that are told of changes", "It does not take what we send. We try again.", "it answered 503", h.place, "Next try"):
            assert said in olu.words(), said
        figures = httpx2.get(f"{g.base}/metrics").text
        assert re.search(r'gateway_subscriptions\{client="[^"]+",status="error"\} 1.0', figures)
        assert re.search(r'gateway_subscription_events_waiting\{client="[^"]+"\} 0.0', figures) and "gateway_subscription_failing_seconds{" in figures
        for secret in (g.patient, "secret-path", "s3cret"):
            assert secret not in olu.page + figures


@pytest.mark.slow
def test_the_operator_tries_again_leaves_out_and_settles_with_reasons(tmp_path: Path) -> None:
    with partnered(tmp_path) as (g, there):
        there.refuses = {"POST Goal": 422}
        made = g.call("patient", "POST", "Goal", body={"resourceType": "Goal", "lifecycleStatus": "active", "description": {"text": "Bake bread"}, "subject": {"reference": f"Patient/{g.patient}"}})
        g.command("sync", "run", "--once")
        (item,) = [i for i in g.lines("sync", "waiting", "--json") if i["kind"] == "parked"]
        assert item["ref"] == f"Goal/{made.json()['id']}" and item["can"] == ["retry", "skip"]
        olu = operator(g)
        olu.get("/operator")
        assert "422: processing" in olu.words() and "Bake bread" not in olu.page
        olu.send("/operator/act", do="skip", reason="Their system has no goals")
        assert "It is left out." in olu.words()
        olu.send("/operator/act", do="retry")
        g.command("sync", "run", "--once")
        (item,) = g.lines("sync", "waiting", "--json")
        assert g.lines("sync", "skip", item["id"], "--reason", "no goals there", "--json") == [{"id": item["id"], "skipped": True}]
        g.lines("sync", "retry", item["id"], "--json")
        there.refuses = {}
        g.command("sync", "run", "--once")
        assert "Bake bread" in repr(there.held) and g.lines("sync", "waiting", "--json") == []
        assert olu.get("/operator").status_code == 200 and "Nothing waits for you." in olu.words()
        for who in ("patient", "gp", "privacy-officer"):
            assert as_(g, who).get("/operator").status_code == 403, who
        stranger = Visitor(g)
        assert stranger.get("/operator").url.path == "/sign-in"


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (None, ""), (True, "Yes"), ("in-progress", "in progress"), ("2026-11-30", "30 November 2026"), ("Walk - slowly", "Walk - slowly"),
        ({"coding": [{"system": "s", "code": "1", "display": "Asthma"}]}, "Asthma"), ({"coding": [{"code": "1"}]}, "Something with a code"),
        ({"reference": "Patient/1"}, "Something else in the record"), ({"value": 61, "unit": "kg", "code": "kg"}, "61 kg"),
        ({"start": "2026-11-01"}, "1 November 2026 – …"), ([{"text": "a"}, {"text": "b"}], "a\nb"), ({"div": "<div>x</div>"}, ""),
        ({"family": "Example", "given": ["Amina"]}, "Amina Example"),
    ],
)  # fmt: skip
def test_a_value_is_said_in_plain_words(value: Any, said: str) -> None:
    assert words_of(value) == said


def test_only_what_differs_is_shown_and_by_its_name() -> None:
    ours = {"resourceType": "Goal", "id": "1", "meta": {"versionId": "3"}, "lifecycleStatus": "active", "description": {"text": "walk"}}
    theirs = {**ours, "meta": {"versionId": "2"}, "description": {"text": "run"}, "startDate": "2026-11-30"}
    assert [(p.label, p.ours, p.theirs, p.now) for p in parts(ours, theirs, theirs)] == [
        ("What it is", "walk", "run", "run"), ("From", "Nothing", "30 November 2026", "30 November 2026"),
    ]  # fmt: skip
    assert [p.label for p in parts(ours, None, ours)] == ["How it stands", "What it is"]


@pytest.mark.parametrize(
    ("ours", "theirs", "said"),
    [
        ({"recorder": {"reference": "Practitioner/1"}}, {"recorder": {"reference": "Practitioner/2"}}, ("Who wrote it down", "Nia Rees", "Something else in the record")),
        ({"recorder": {"reference": "Practitioner/8"}}, {"recorder": {"reference": "Practitioner/9"}}, ("Who wrote it down", "Something else in the record", "another one")),
        ({"author": {"reference": "Practitioner/1", "display": "Nia"}}, {"author": {"reference": "Practitioner/9", "display": "Nia"}}, ("Who wrote it", "Nia", "another one")),
        ({"code": {"coding": [{"code": "1"}]}}, {"code": {"coding": [{"code": "2"}]}}, ("What it is", "Something with a code", "another one")),
        ({"identifier": [{"value": "1"}]}, {"identifier": [{"value": "2"}]}, ("Numbers it goes by", "1", "2")),
        ({"_startDate": {"extension": [{"url": "u"}]}}, {}, ("From", "no words", "Nothing")),
    ],
)  # fmt: skip
def test_whatever_clashes_is_shown_and_its_two_sides_are_told_apart(ours: dict[str, Any], theirs: dict[str, Any], said: tuple[str, str, str]) -> None:
    (part,) = parts(ours, theirs, theirs, {"Practitioner/1": "Nia Rees"})
    assert part.label == said[0] and said[1] in part.ours and said[2] in part.theirs and part.ours != part.theirs and part.now == part.theirs


@pytest.mark.slow
def test_of_whom_it_is_not_sure_who_they_are_there_every_list_says_how_to_go_on(tmp_path: Path) -> None:
    with partnered(tmp_path) as (g, there):
        name = next(n for n, r in there.held.items() if n.startswith("Patient/") and any(str(t.get("code")).endswith(g.patient) for t in r["meta"]["tag"]))
        there.edit(name, birthDate="1902-02-02")
        g.command("sync", "run", "--once")
        who = json.loads(g.command("patients", "waiting", "--json").stdout)
        command = f"fhir-gateway patients settle Patient/{g.patient} {who['remote']}"
        assert who["command"] == command and g.command(*command.split()[1:]).returncode == 0
        g.command("sync", "run", "--once")
        for said in (g.command("patients", "waiting").stdout, g.command("sync", "waiting").stdout, operator(g).get("/operator").text):
            assert command in said
        assert "`fhir-gateway patients settle PATIENT REMOTE`" in g.command("sync", "status").stdout
