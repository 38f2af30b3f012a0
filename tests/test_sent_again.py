"""A system that sends its own copy of a plan again undoes nothing that others wrote since, and takes nothing of theirs out: through HTTP."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from .conftest import Gateway
from .staff import Colleague, system

JSON = {"Content-Type": "application/json"}


Asker = str | Colleague


def read(demo: Gateway, who: Asker) -> Any:
    return demo.get(who, f"/plans/{demo.patient}") if isinstance(who, str) else who.get(f"/plans/{demo.patient}")


def plan(demo: Gateway, who: Asker = "patient") -> dict[str, Any]:
    got = read(demo, who)
    assert got.status_code == 200, got.text
    found: dict[str, Any] = got.json()
    return found


def post(demo: Gateway, who: Asker, body: dict[str, Any], **headers: str) -> Any:
    sent = {"body": body, "headers": {**JSON, **headers}}
    return demo.call(who, "POST", "/plans", **sent) if isinstance(who, str) else who.call("POST", "/plans", **sent)


def thing(plan: dict[str, Any], key: str, id: str) -> dict[str, Any]:
    return next(t for t in plan[key] if t["id"] == id)


@pytest.fixture(scope="module")
def surgery(demo: Gateway) -> Colleague:
    """The system of her practice: it keeps a copy of the plan, and sends that again."""
    (entry,) = demo.get("patient", f"Patient/{demo.patient}").json()["generalPractitioner"]
    return system(demo, "surgery-system", entry["identifier"]["value"])


@pytest.fixture
def ours(demo: Gateway, surgery: Colleague) -> dict[str, Any]:
    """Its copy, as it sent it last."""
    got = read(demo, surgery)
    held: dict[str, Any] = got.json()
    assert post(demo, surgery, held, **{"If-Match": got.headers["ETag"]}).status_code == 200
    return held


def test_the_same_plan_again_undoes_nothing_and_takes_nothing_out(demo: Gateway, surgery: Colleague, ours: dict[str, Any]) -> None:
    hers = plan(demo)
    hers["goals"].append({"id": "g-since", "text": "See the sea", "status": "in progress"})
    first, gone = hers["actions"][0], hers["actions"].pop()
    first["status"] = "done"
    hers["title"] = "Mine"
    assert post(demo, "patient", hers).status_code == 201
    now = plan(demo)
    again = post(demo, surgery, ours)
    assert (again.status_code, again.json()["written"]) == (200, 0), again.text
    assert plan(demo) == now and thing(now, "goals", "g-since") and gone["id"] not in [a["id"] for a in now["actions"]]

    newer = copy.deepcopy(ours)
    newer["goals"][0]["text"] = "As the hospital says"
    newer["goals"].append({"id": "g-hospital", "text": "Walk again", "status": "planned"})
    assert post(demo, surgery, newer).status_code == 201
    after = plan(demo)
    assert after["title"] == "Mine" and thing(after, "actions", first["id"])["status"] == "done" and thing(after, "goals", "g-since")
    assert after["goals"][0]["text"] == "As the hospital says" and thing(after, "goals", "g-hospital")["text"] == "Walk again"
    fewer = {**newer, "goals": [g for g in newer["goals"] if g["id"] != "g-hospital"]}
    assert post(demo, surgery, fewer).status_code == 201
    assert plan(demo)["goals"] == [g for g in after["goals"] if g["id"] != "g-hospital"], "what it said itself, and says no more, is taken out"
    assert post(demo, surgery, fewer).json()["written"] == 0


def test_what_both_changed_is_refused_with_its_place_and_nothing_is_written(demo: Gateway, surgery: Colleague, ours: dict[str, Any]) -> None:
    hers = plan(demo)
    goal = hers["goals"][0]
    goal["text"] = "As she says now"
    assert post(demo, "patient", hers).status_code == 201
    now = plan(demo)
    newer = copy.deepcopy(ours)
    newer["goals"][0]["text"] = "As the hospital says now"
    newer["title"] = "Nothing of this is written"
    fewer = {**ours, "goals": ours["goals"][1:]}
    for sent, place in ((newer, "goals[0].text"), (fewer, "goals[0]")):
        refused = post(demo, surgery, sent)
        assert refused.status_code == 409 and place in refused.text and "If-Match" in refused.text and "As she says" not in refused.text, refused.text
        assert plan(demo) == now
    got = read(demo, surgery)
    chosen = got.json()
    chosen["goals"][0]["text"] = "As both say"
    assert post(demo, surgery, chosen, **{"If-Match": got.headers["ETag"]}).status_code == 201
    assert plan(demo)["goals"][0]["text"] == "As both say"
    assert post(demo, surgery, chosen).json()["written"] == 0, "what it chose is what it said last"


def test_with_if_match_what_is_left_out_is_taken_out(demo: Gateway, surgery: Colleague, ours: dict[str, Any]) -> None:
    hers = plan(demo)
    hers["goals"].append({"id": "g-hers", "text": "Hers", "status": "planned"})
    assert post(demo, "patient", hers).status_code == 201
    got = read(demo, surgery)
    without = {**got.json(), "goals": [g for g in got.json()["goals"] if g["id"] != "g-hers"]}
    kept = post(demo, surgery, without)
    assert (kept.status_code, kept.json()["written"]) == (200, 0) and thing(plan(demo), "goals", "g-hers"), "it never said it: an old copy would look the same"
    assert post(demo, surgery, without, **{"If-Match": got.headers["ETag"]}).status_code == 201
    assert [g for g in plan(demo)["goals"] if g["id"] == "g-hers"] == []


def test_what_a_system_is_shown_no_more_it_takes_out_of_nothing(demo: Gateway, surgery: Colleague, ours: dict[str, Any]) -> None:
    """A label hides the whole goal from it; its own copy has it still."""
    hidden = next(g for g in plan(demo)["goals"] if g["id"] in [o["id"] for o in ours["goals"]])
    found = demo.get("patient", f"Goal?patient={demo.patient}&_count=50").json()["entry"]
    goal = next(e["resource"] for e in found if e["resource"]["description"].get("text") == hidden["text"])
    goal["meta"]["security"] = [*goal["meta"].get("security", []), {"system": "http://terminology.hl7.org/CodeSystem/v3-Confidentiality", "code": "V"}]
    put = demo.call("patient", "PUT", f"Goal/{goal['id']}", body=goal, headers={"If-Match": f'W/"{goal["meta"]["versionId"]}"'})
    assert put.status_code == 200, put.text
    assert hidden["id"] not in [g["id"] for g in plan(demo, surgery)["goals"]]
    now = plan(demo)
    assert post(demo, surgery, ours).json()["written"] == 0 and plan(demo) == now
    changed = copy.deepcopy(ours)
    thing(changed, "goals", hidden["id"])["text"] = "Written over what is hidden"
    assert post(demo, surgery, changed).status_code == 409 and plan(demo) == now
