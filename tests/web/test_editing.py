"""A goal or an action changed on a page by forms alone: what is saved, both versions side by side, nothing typed lost, nobody else's let through."""

from __future__ import annotations

import html
import json
import re
from typing import TYPE_CHECKING, Any

import pytest

from .test_doors import Visitor, as_, share, share_nothing

if TYPE_CHECKING:
    from ..conftest import Gateway

DAY = ("day", "month", "year")
ODD = "<script>alert(1)</script> \"'&amp; %(x)s {0} \u202e"


def goal(demo: Gateway, id: str = "g-cook", type: str = "Goal") -> dict[str, Any]:
    kind = {"Goal": "goal", "Task": "action"}[type]
    found = demo.get("patient", f"{type}?patient={demo.patient}").json()["entry"]
    (one,) = [e["resource"] for e in found if any(i.get("system", "").endswith(f"/plan/{kind}") and i["value"].endswith(f"/{id}") for i in e["resource"].get("identifier", ()))]
    return dict(one)


def form(v: Visitor, action: str) -> dict[str, str]:
    """All that a browser would send of the form with this action."""
    found = re.search(rf'<form[^>]*action="{re.escape(action)}"[^>]*>(.*?)</form>', v.page, re.S)
    assert found, v.words()
    body, out = found.group(1), {}
    for tag in re.findall(r"<input[^>]*>", body):
        said = dict(re.findall(r'(\w[\w-]*)="([^"]*)"', tag))
        if said.get("type") != "radio" or " checked" in tag:
            out[said["name"]] = html.unescape(said.get("value", ""))
    out |= {name: html.unescape(text).removeprefix("\n") for name, text in re.findall(r'<textarea[^>]*name="([^"]+)"[^>]*>(.*?)</textarea>', body, re.S)}
    for name, options in re.findall(r'<select[^>]*name="([^"]+)"[^>]*>(.*?)</select>', body, re.S):
        out[name] = html.unescape((re.findall(r'value="([^"]*)" selected', options) or re.findall(r'value="([^"]*)"', options))[0])
    return out


class Editor(Visitor):
    """Somebody at the form of one goal or action."""

    def at(self, path: str) -> Editor:
        self.path = path
        assert self.get(path).status_code == 200, self.words()
        return self

    def save(self, **typed: str) -> Any:
        given = {k.replace("_", "-"): v for k, v in typed.items()}
        more = {"do": "choose"} if 'name="do" value="choose"' in self.page else {}
        return self._seen(self.http.post(self.path, data={**form(self, self.path), **given, **more}))


def editor(demo: Gateway, who: str, ref: str) -> Editor:
    v = as_(demo, who)
    e = Editor(demo)
    e.http = v.http
    base = "/my-plan" if who == "patient" else f"/team/people/{demo.patient}"
    return e.at(f"{base}/edit/{ref}")


@pytest.fixture
def walk(demo: Gateway) -> dict[str, Any]:
    return goal(demo)


def ref(resource: dict[str, Any]) -> str:
    return f"{resource['resourceType']}/{resource['id']}"


# -- saved --------------------------------------------------------------------------------------------------------------


def test_a_goal_and_an_action_are_reached_from_the_plan_and_changed(demo: Gateway) -> None:
    v = as_(demo, "social-worker")
    v.get(f"/team/people/{demo.patient}")
    links = re.findall(rf'href="(/team/people/{demo.patient}/edit/(Goal|Task)/[^"]+)"', v.page)
    assert {type for _, type in links} == {"Goal", "Task"}
    before = goal(demo, "g-people")
    e = editor(demo, "social-worker", ref(before))
    filled = form(e, e.path)
    assert filled["text"] == "Sit down to eat with somebody twice a week" and filled["importance"] == "8" and filled["version"] == before["meta"]["versionId"]
    assert (filled["target-value"], filled["target-unit"], [filled[f"target-by-{p}"] for p in DAY]) == ("2", "/week", ["31", "12", "2026"])
    answer = e.save(text="See somebody four times a week", target_value="4", target_by_day="28", target_by_month="02", target_by_year="2027", status="paused", status_reason="Snow")
    assert answer.url.path == f"/team/people/{demo.patient}" and "Your change is saved." in e.words() and "See somebody four times a week" in e.words()
    after = goal(demo, "g-people")
    assert (after["description"]["text"], after["lifecycleStatus"], after["statusReason"] if isinstance(after["statusReason"], str) else "", after["target"][0]["dueDate"]) == (
        "See somebody four times a week", "on-hold", "Snow", "2027-02-28"
    )  # fmt: skip
    assert after["target"][0]["detailQuantity"]["value"] == 4 and "statusDate" in after
    kept = before.keys() - {"description", "lifecycleStatus", "statusReason", "statusDate", "target", "meta"}
    assert {k: after[k] for k in kept} == {k: before[k] for k in kept}, "what was left alone is as it was"
    writing = demo.get("patient", f"Provenance?target={ref(after)}").json()["entry"]
    assert any("Practitioner/" in json.dumps(w["resource"]["agent"]) for w in writing), "who changed it is said of it as of any write"
    act = goal(demo, "a-exercise", "Task")
    e = editor(demo, "gp", ref(act))
    assert form(e, e.path)["when"] == "after breakfast and before bed"
    e.save(when="before each meal", confidence="8", from_day="1", from_month="12", from_year="2026")
    done = goal(demo, "a-exercise", "Task")
    assert "before each meal" in json.dumps(done) and done["executionPeriod"] == {"start": "2026-12-01"} and done["status"] == act["status"]


def test_the_person_changes_it_in_their_own_words(demo: Gateway) -> None:
    v = as_(demo, "patient")
    v.get("/my-plan")
    assert "/my-plan/edit/Goal/" in v.page and "/my-plan/edit/Task/" in v.page
    e = editor(demo, "patient", ref(goal(demo, "g-swim")))
    assert e.save(text=f"Sing with Joan\r\nat home {ODD}", importance="").url.path == "/my-plan"
    assert "Your change is saved." in e.words() and "Sing with Joan" in e.words() and "<script>alert" not in e.page
    now = goal(demo, "g-swim")
    assert now["description"]["text"] == f"Sing with Joan\nat home {ODD}" and "goal-importance" not in json.dumps(now)
    assert form(editor(demo, "patient", ref(now)), e.path)["text"] == now["description"]["text"], "it comes back into the form as it is"


def test_what_matters_to_her_is_hers_alone_to_change(demo: Gateway) -> None:
    about = next(e["resource"] for e in demo.get("patient", f"QuestionnaireResponse?patient={demo.patient}").json()["entry"] if str(e["resource"].get("questionnaire", "")).endswith("/about-me"))
    mine = as_(demo, "patient").get("/my-plan").text
    assert f'"/my-plan/edit/{ref(about)}"' in mine and "edit/Questionnaire" not in as_(demo, "gp").get(f"/team/people/{demo.patient}").text
    assert as_(demo, "gp").http.get(f"/team/people/{demo.patient}/edit/{ref(about)}").status_code == 404
    e, other = editor(demo, "patient", ref(about)), editor(demo, "patient", ref(about))
    was = form(e, e.path)
    e.save(most_important="My garden", my_wellness="")
    assert "Your change is saved." in e.words() and "My garden" in e.words()
    assert other.save(most_important="My garden and my books").status_code == 409 and "You yourself, perhaps in another window" in other.words()
    other.save(pick_most_important="mine")
    then = form(editor(demo, "patient", ref(about)), e.path)
    assert {k: v for k, v in then.items() if v != was[k] and k not in ("version", "form_token")} == {"most-important": "My garden and my books", "my-wellness": ""}


def test_a_crisis_plan_is_changed_and_ended_like_the_rest(demo: Gateway) -> None:
    def plan() -> dict[str, Any]:
        found = [e["resource"] for e in demo.get("patient", f"CarePlan?patient={demo.patient}").json()["entry"]]
        return dict(next(c for c in found if any(i["value"].endswith("/k-fall") for i in c.get("identifier", ()))))

    was, team = plan(), f"/team/people/{demo.patient}"
    assert f'"{team}/edit/{ref(was)}"' in as_(demo, "gp").get(team).text and f'"/my-plan/edit/{ref(was)}"' in as_(demo, "patient").get("/my-plan").text
    main = next(e["resource"] for e in demo.get("patient", f"CarePlan?patient={demo.patient}").json()["entry"] if e["resource"].get("goal"))
    assert as_(demo, "gp").http.get(f"{team}/edit/{ref(main)}").status_code == 404, "the plan itself is no crisis plan"
    e, other = editor(demo, "gp", ref(was)), editor(demo, "patient", ref(was))
    assert form(e, e.path)["triggers"] == "Wet leaves on the path\nGetting up in the night"
    e.save(triggers="Wet leaves on the path\r\n\r\n  Ice \r\nDust", what_should_happen="Call the surgery the same day")
    assert "Your change is saved." in e.words() and "Dust" in e.words() and "Getting up in the night" not in e.words()
    now = plan()
    written = [x["valueString"] for x in now["extension"] if x["url"].endswith("contingency-trigger")]
    assert written == ["Wet leaves on the path", "Ice", "Dust"] and [x for x in now["extension"] if x["url"].endswith("contingency-contact")] == [x for x in was["extension"] if x["url"].endswith("contingency-contact")]
    writing = demo.get("patient", f"Provenance?target={ref(now)}").json()["entry"]
    assert any(w["resource"]["target"][0]["reference"].endswith(f"/_history/{now['meta']['versionId']}") for w in writing)
    assert other.save(triggers="Ice").status_code == 409 and "Before it said:" in other.words() and "Dust" in other.words()
    other.save(pick_triggers="theirs")
    assert as_(demo, "stranger").http.get(f"{team}/edit/{ref(was)}").status_code == 404
    e = editor(demo, "patient", ref(was))
    e.save(status="stopped")
    assert plan()["status"] == "revoked" and "(Stopped)" in e.words()
    assert "There are plans for a crisis that do not hold now" in as_(demo, "gp").get(f"{team}/in-a-hurry").text
    editor(demo, "patient", ref(was)).save(status="active")


def test_who_acts_for_her_changes_it_as_themselves(demo: Gateway, walk: dict[str, Any]) -> None:
    leila = as_(demo, "proxy")
    assert "/edit/" not in leila.get(f"/team/people/{demo.patient}").text
    assert leila.get(f"/team/people/{demo.patient}/edit/{ref(walk)}").status_code == 403 and "You may look at this, but you may not change it." in leila.words()
    (role,) = [e["resource"] for e in demo.get("patient", f"Consent?patient={demo.patient}").json()["entry"] if "INFA" in json.dumps(e["resource"].get("category"))]
    does = [{"coding": [{"system": "http://terminology.hl7.org/CodeSystem/consentaction", "code": a}]} for a in ("access", "correct")]
    more = {**role, "provision": {**role["provision"], "action": does}}
    assert demo.call("patient", "PUT", ref(role), body=more, headers={"If-Match": f'W/"{role["meta"]["versionId"]}"'}).status_code == 200
    e = editor(demo, "proxy", ref(walk))
    e.save(status_reason="Leila says so")
    assert "Your change is saved." in e.words()
    now = goal(demo)
    (newest,) = [w["resource"] for w in demo.get("patient", f"Provenance?target={ref(walk)}").json()["entry"] if w["resource"]["target"][0]["reference"].endswith(f"/_history/{now['meta']['versionId']}")]
    assert "RelatedPerson/" in json.dumps(newest["agent"]), newest


def test_who_changes_nothing_makes_no_version(demo: Gateway, walk: dict[str, Any]) -> None:
    e = editor(demo, "gp", ref(walk))
    e.save()
    assert "You changed nothing" in e.words() and goal(demo)["meta"]["versionId"] == walk["meta"]["versionId"]


# -- side by side -------------------------------------------------------------------------------------------------------


def test_two_people_at_once_choose_line_by_line_and_nothing_is_lost(demo: Gateway, walk: dict[str, Any]) -> None:
    asha, tom = editor(demo, "gp", ref(walk)), editor(demo, "social-worker", ref(walk))
    was = walk["description"]["text"]
    tom.save(text="Walk to the park", importance="10", target_value="60")
    answer = asha.save(text="Walk to the shop with Joan", status="paused")
    assert answer.status_code == 409 and "Somebody else changed this, too" in asha.words() and "Tom Reed, Example County Council" in asha.words()
    for said in (f"Before it said: {was}", "What they wrote Walk to the park", "9 out of 10", "10 out of 10", "60"):
        assert said in asha.words(), said
    given = form(asha, asha.path)
    assert given["text"] == "Walk to the shop with Joan" and "pick-text" not in given, "nobody chooses for them where both changed it"
    assert (given["pick-importance"], given["pick-target-value"], given["pick-status"]) == ("theirs", "theirs", "mine"), "where one did, it is picked"
    answer = asha.save()
    assert answer.status_code == 400 and "Choose one of the two." in asha.words() and form(asha, asha.path)["text"] == "Walk to the shop with Joan"
    assert goal(demo)["description"]["text"] == "Walk to the park"
    assert asha.save(pick_text="mine", text="Walk to the park with Joan", pick_target_value="mine", target_value="50").url.path == f"/team/people/{demo.patient}"
    now = goal(demo)
    assert now["description"]["text"] == "Walk to the park with Joan" and now["lifecycleStatus"] == "on-hold"
    assert now["target"][0]["detailQuantity"]["value"] == 50 and '"valueInteger": 10' in json.dumps(now)


def test_a_third_hand_in_between_is_one_more_page(demo: Gateway, walk: dict[str, Any]) -> None:
    asha, tom, ben = (editor(demo, who, ref(walk)) for who in ("gp", "social-worker", "patient"))
    tom.save(text="Theirs first")
    assert asha.save(text="Mine").status_code == 409
    ben.at(ben.path).save(text="Theirs second")
    assert asha.save(pick_text="mine", text="Mine, written anew").status_code == 409
    assert "Before it said: Theirs first" in asha.words() and "What they wrote Theirs second" in asha.words() and "The person" in asha.words()
    assert form(asha, asha.path)["text"] == "Mine, written anew"
    asha.save(pick_text="theirs")
    assert "You changed nothing" in asha.words() and goal(demo)["description"]["text"] == "Theirs second"


def test_what_somebody_else_changed_elsewhere_in_it_is_kept_without_asking(demo: Gateway, walk: dict[str, Any]) -> None:
    """What the form does not show is not theirs to be asked about: both changes are there."""
    asha = editor(demo, "gp", ref(walk))
    changed = {**goal(demo), "note": [{"text": "A word of the hospital"}]}
    assert demo.call("social-worker", "PUT", ref(walk), body=changed, headers={"If-Match": f'W/"{changed["meta"]["versionId"]}"'}).status_code == 200
    asha.save(importance="7")
    assert "Your change is saved." in asha.words()
    now = goal(demo)
    assert now["note"] == changed["note"] and '"valueInteger": 7' in json.dumps(now)


def test_what_this_reader_is_not_shown_is_on_no_page_and_stays(demo: Gateway) -> None:
    """She is at risk where she is: a goal with an address keeps it under an edit, a conflict and a choice by who does not see it."""
    amina, where = as_(demo, "patient"), [{"url": "https://example.org/where", "valueAddress": {"text": "SECRETPLACE 1"}}]
    swim = goal(demo, "g-swim")
    kept = [*swim.get("extension", ()), *where]
    assert demo.call("patient", "PUT", ref(swim), body={**swim, "extension": kept}, headers={"If-Match": f'W/"{swim["meta"]["versionId"]}"'}).status_code == 200
    amina.get("/my-plan/private")
    amina.send("/my-plan/private/where", hide="yes")
    try:
        asha, tom = editor(demo, "gp", ref(swim)), editor(demo, "social-worker", ref(swim))
        assert "SECRETPLACE" in demo.get("patient", ref(swim)).text and "SECRETPLACE" not in demo.get("gp", ref(swim)).text + asha.page
        tom.save(status_reason="It may open again")
        assert asha.save(status_reason="It is far").status_code == 409 and "SECRETPLACE" not in asha.page
        asha.save(pick_status_reason="mine")
        now = goal(demo, "g-swim")
        assert "Your change is saved." in asha.words() and "It is far" in json.dumps(now) and now["extension"] == kept
    finally:
        amina.get("/my-plan/private")
        amina.send("/my-plan/private/where")


# -- nothing typed is lost ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ({"text": "  "}, "Write what it is about."), ({"text": "x" * 1_001}, "Write at most 1000 characters. These are 1001."), ({"text": "a\x00b"}, "cannot be kept"),
        ({"importance": "11"}, "Choose a number from 1 to 10."), ({"target_value": "eight hundred"}, "Write a number."), ({"target_value": "1e400"}, "Write a number."),
        ({"target_by_day": "31", "target_by_month": "2", "target_by_year": "2027"}, "Write a day that exists"), ({"target_by_day": "", "target_by_month": "2"}, "Write a day that exists"),
        ({"status": "entered-in-error"}, "Choose one."), ({"status": ""}, "Choose one."), ({"review_day": "/", "review_year": "%"}, "Write a day that exists"),
    ],
)  # fmt: skip
def test_what_is_wrong_comes_back_as_it_was_typed(demo: Gateway, walk: dict[str, Any], typed: dict[str, str], said: str) -> None:
    e = editor(demo, "gp", ref(walk))
    answer = e.save(**{"status_reason": ODD, **typed})
    assert answer.status_code == 400 and said in e.words() and "There is something to put right" in e.words()
    back = form(e, e.path)
    assert back["status-reason"] == ODD.strip(), "also what was right"
    for name, text in typed.items():
        if name not in ("text", "review_day"):
            assert back[name.replace("_", "-")] == text.strip()
    assert goal(demo)["meta"]["versionId"] == walk["meta"]["versionId"]


def test_an_end_before_its_beginning_is_said(demo: Gateway) -> None:
    act = goal(demo, "a-physio", "Task")
    e = editor(demo, "gp", ref(act))
    answer = e.save(to_day="1", to_month="1", to_year="2026")
    assert answer.status_code == 400 and "The last day must not be before the first." in e.words() and form(e, e.path)["to-year"] == "2026"


def said(page: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page.split("<main")[1].split("</main>")[0]))


# -- an attacker's look -----------------------------------------------------------------------------------------------------


def test_hidden_another_persons_absent_and_no_goal_are_one_answer(demo: Gateway, walk: dict[str, Any]) -> None:
    sam = as_(demo, "stranger")
    seen: dict[str, set[str]] = {"GET": set(), "POST": set()}
    need = next(e["resource"] for e in demo.get("patient", f"Condition?patient={demo.patient}").json()["entry"])
    gp = as_(demo, "gp")
    seen["GET"].add(said(gp.get(f"/team/people/{demo.patient}/edit/{ref(need)}").text))
    gp.get("/team")
    for v, path in (
        (sam, f"/team/people/{demo.patient}/edit/{ref(walk)}"), (sam, f"/team/people/{demo.patient}/edit/Goal/none"), (sam, f"/team/people/nobody/edit/{ref(walk)}"),
        (gp, f"/team/people/nobody/edit/{ref(walk)}"), (gp, f"/team/people/{demo.patient}/edit/Goal/none"),
(gp, f"/team/people/{demo.patient}/edit/Task/{walk['id']}"),
    ):  # fmt: skip
        token = form(gp, "/sign-out")["form_token"] if v is gp else form(sam, "/sign-out")["form_token"]
        for answer in (v.http.get(path), v.http.post(path, data={"form_token": token, "version": "1", "text": "mine"})):
            assert answer.status_code == 404, (path, answer.status_code)
            seen[answer.request.method].add(said(answer.text))
    assert len(seen["GET"]) == 1 and all("There is nothing here by that name" in words for words in seen["POST"])
    assert {words.replace("What we will do", "The goal, in plain words") for words in seen["POST"]} == {next(w for w in seen["POST"] if "The goal" in w)}, "their own words, and nothing else"
    assert goal(demo)["meta"]["versionId"] == walk["meta"]["versionId"]


def test_a_forged_form_saves_nothing(demo: Gateway, walk: dict[str, Any]) -> None:
    e = editor(demo, "gp", ref(walk))
    given = {**form(e, e.path), "text": "forged"}
    for data, headers, status in (
        ({**given, "form_token": "x"}, {}, 403), (given, {"Origin": "https://evil.example"}, 403), ({**given, "subject": "Patient/x"}, {}, 400), ({**given, "pick-x": "mine"}, {}, 400),
        ({k: v for k, v in given.items() if k != "version"}, {}, 400), ({**given, "version": "-1"}, {}, 400), ({**given, "version": "9" * 40}, {}, 400), ({**given, "version": "١"}, {}, 400),
        ({**given, "version": "999999999"}, {}, 409), ({**given, "version": "0"}, {}, 409), ({**given, "opened": "x"}, {}, 400),
    ):  # fmt: skip
        assert e.http.post(e.path, data=data, headers=headers).status_code == status, (data, headers)
    assert goal(demo)["meta"]["versionId"] == walk["meta"]["versionId"]
    assert e.http.post(e.path, data={**given, "do": "choose", "opened": "999999999", "pick-text": "theirs"}).status_code in (200, 400)
    assert "forged" not in json.dumps(goal(demo))


def test_who_may_look_and_not_change_is_offered_nothing_and_keeps_what_they_wrote(demo: Gateway, walk: dict[str, Any]) -> None:
    amina = as_(demo, "patient")
    share(amina)
    amina.send("/my-plan/sharing/new", go="save")
    rosa = as_(demo, "link-worker")
    page = rosa.get(f"/team/people/{demo.patient}")
    assert page.status_code == 200 and walk["description"]["text"] in rosa.words() and "/edit/" not in page.text
    path = f"/team/people/{demo.patient}/edit/{ref(walk)}"
    token = form(rosa, "/sign-out")["form_token"]
    assert rosa.get(path).status_code == 403 and "you may not change it" in rosa.words()
    rosa._seen(rosa.http.post(path, data={"form_token": token, "version": walk["meta"]["versionId"], "text": "Typed before it was taken back"}))
    assert "you may not change it any more" in rosa.words() and form(rosa, path)["text"] == "Typed before it was taken back"
    share_nothing(demo)
    assert rosa.http.post(path, data={"form_token": token, "version": "1", "text": "x"}).status_code == 404
    assert goal(demo)["meta"]["versionId"] == walk["meta"]["versionId"]


def test_what_no_line_has_words_for_is_said_to_be_so_and_kept(demo: Gateway) -> None:
    below = {"value": 140, "comparator": "<", "unit": "mmHg", "system": "http://unitsofmeasure.org", "code": "mm[Hg]"}
    target = [{"measure": {"text": "Pressure in the morning"}, "detailQuantity": below, "dueDuration": {"value": 3, "unit": "weeks"}}]
    body = {"resourceType": "Goal", "lifecycleStatus": "active", "description": {"text": "Less pressure"}, "subject": {"reference": f"Patient/{demo.patient}"}, "target": target}
    made = demo.call("social-worker", "POST", "Goal", body=body)
    assert made.status_code == 201, made.text
    e = editor(demo, "social-worker", ref(made.json()))
    assert not form(e, e.path).keys() & {"target-value", "target-unit", *(f"target-by-{p}" for p in DAY)}
    assert e.words().count("This is said in a way that cannot be changed here. It stays as it is.") == 3
    e.save(text="Less pressure by spring", target_what="Pressure at noon")
    kept = demo.get("social-worker", ref(made.json())).json()
    assert (kept["description"]["text"], kept["target"]) == ("Less pressure by spring", [{**target[0], "measure": {"text": "Pressure at noon"}}])
    e.at(e.path).save(target_value="135")  # by whoever puts a line of their own in
    assert "This could not be saved as it is." in e.words() and demo.get("social-worker", ref(made.json())).json()["target"] == kept["target"]
