"""Forms on the pages, without scripts: typed, kept, opened, sent; by the person, and by somebody who types for them."""

from __future__ import annotations

import html
import re
from typing import TYPE_CHECKING, Any

from .test_doors import Visitor, as_

if TYPE_CHECKING:
    from ..conftest import Gateway


def begun(v: Visitor, form: str, who: str = "") -> str:
    """The address of the first page of new answers."""
    v.get(f"/forms/{form}{who}")
    answer = v.send(f"/forms/{form}{who}")
    assert answer.status_code == 200, v.words()
    return str(answer.url.path)


def named(v: Visitor, label: str, n: int = 0) -> str:
    """The name of the field with this label."""
    found = re.findall(rf'<(?:label|legend)[^>]*?(?: for="([^"]+)")?>{re.escape(html.escape(label, quote=False))}', v.page)
    assert len(found) > n, (label, v.words())
    return str(found[n])


def typed(v: Visitor, at: str, go: str = "next", **answers: Any) -> Any:
    answer = v.send(at, go=go, **answers)
    assert answer.status_code == 200, (answer.status_code, v.words())
    return answer


def fill_in(v: Visitor, **spokes: tuple[int, int]) -> str:
    """The wheel as its person types and sends it: what the last page says."""
    at = begun(v, "my-wheel")
    answers: dict[str, Any] = {}
    for n, (name, (now, hoped)) in enumerate(spokes.items()):
        if n:
            typed(v, at, go="more:q0-0-1", **answers)
        answers |= {f"q0-0-1-{n}-0": name, f"q0-0-1-{n}-1": str(now), f"q0-0-1-{n}-2": str(hoped)}
    typed(v, at, **answers)
    v.send(at[:-1] + "check")
    assert "A wheel: My wheel" in v.words()
    return v.words()


def stored(demo: Gateway, at: str, who: str = "patient") -> dict[str, Any]:
    return dict(demo.get(who, f"QuestionnaireResponse/{at.split('/')[3]}").json())


def test_the_person_writes_their_plan_and_it_is_in_their_plan(demo: Gateway) -> None:
    v = as_(demo, "patient")
    v.get("/my-plan")
    assert 'href="/forms"' in v.page
    v.get("/forms")
    assert "My plan in my own words" in v.words() and "My wheel" in v.words() and "Nothing goes into your plan before you send it" in v.words()
    at = begun(v, "my-own-words")
    typed(v, at, **{named(v, "What matters most to me?"): "  My garden\r\nand <b>my</b> dog "})
    kept = stored(demo, at)
    assert kept["status"] == "in-progress" and kept["item"][0]["item"][0]["answer"] == [{"valueString": "My garden\nand <b>my</b> dog"}]
    assert kept["source"] == kept["author"] == {"reference": f"Patient/{demo.patient}"}

    at = at[:-1] + "1"
    goal, sure = named(v, "What would I like to do"), named(v, "How sure am I")
    answer = typed(v, at, go="next", **{goal: "Walk to the shop", sure: "5"})
    assert "There are more questions on this page now" in v.words() and answer.url.path == at
    typed(v, at, go="more:q1", **{goal: "Walk to the shop", sure: "5", named(v, "What would make me more sure?"): "Company"})
    assert "My goals (2)" in v.words()
    typed(v, at, go="next", **{goal: "Walk to the shop", sure: "5", goal.replace("q1-0", "q1-1"): "Cook", "q1-0-5": "Company"})
    goals = [i for i in stored(demo, at)["item"] if i["linkId"] == "goals"]
    assert [g["item"][0]["answer"][0]["valueString"] for g in goals] == ["Walk to the shop", "Cook"]

    at = at[:-1] + "2"
    yes = {"q2-0-0": "yes"}
    typed(v, at, **yes)
    assert "What should happen then" in v.words() and "Answer this question" not in v.words()
    typed(v, at, **yes)
    assert "Answer this question" in v.words(), "what must be answered is asked for"
    typed(v, at, go="more:q2-0-1-0-2", **yes, **{"q2-0-1-0-2": "Ring Leila"})
    typed(v, at, **yes, **{"q2-0-1-0-2": ["Ring Leila", "Sit outside"]})
    assert "Check your answers" in v.words() and "Ring Leila Sit outside" in v.words() and "<b>my" not in v.page

    check = at[:-1] + "check"
    sent = v.send(check)
    assert sent.url.path.endswith("/done") and "A goal: Walk to the shop" in v.words() and "A plan: What to do if things get worse" in v.words()
    v.get("/my-plan")
    assert "Walk to the shop" in v.words() and "Sit outside" in v.words()
    assert stored(demo, at)["status"] == "completed"
    assert v.get(at).url.path.endswith("/done"), "what was sent is not typed into again"


def test_a_mistake_is_said_and_nothing_typed_is_lost(demo: Gateway) -> None:
    v = as_(demo, "patient")
    at = begun(v, "my-own-words")[:-1] + "1"
    v.get(at)
    wrong = {"q1-0-1": "Dance", "q1-0-2": "eleven", "q1-0-3-day": "31", "q1-0-3-month": "2", "q1-0-3-year": "2027", "q1-0-4": "12"}
    typed(v, at, **wrong)
    words = v.words()
    assert "Write a number" in words and "Write 10 or less" in words and "Write a day that exists" in words
    assert 'value="eleven"' in v.page and 'value="Dance"' in v.page and 'value="31"' in v.page
    assert "item" not in stored(demo, at)
    typed(v, at, go="save", **{**wrong, "q1-0-2": "10", "q1-0-3-day": "28", "q1-0-4": "9"})
    assert "Begun and not sent yet" in v.words()
    (goal,) = stored(demo, at)["item"]
    assert [i["answer"] for i in goal["item"]] == [[{"valueString": "Dance"}], [{"valueInteger": 10}], [{"valueDate": "2027-02-28"}], [{"valueInteger": 9}]]
    v.get(at)
    typed(v, at, go="more:q1", **{"q1-0-1": "Dance", "q1-0-2": "10"})
    typed(v, at, **{"q1-0-1": "Dance", "q1-0-2": "10", "q1-1-1": "Swim", "q1-1-2": "no number"})
    assert 'value="Swim"' in v.page and 'value="no number"' in v.page and "Mistake:" in v.words()
    typed(v, at, go="drop:q1-0", **{"q1-0-1": "Dance", "q1-0-2": "10", "q1-1-1": "Sing"})
    (goal,) = stored(demo, at)["item"]
    assert goal["item"][0]["answer"] == [{"valueString": "Sing"}]


def test_a_hidden_answer_is_not_kept(demo: Gateway) -> None:
    v = as_(demo, "patient")
    at = begun(v, "my-own-words")[:-1] + "2"
    v.get(at)
    typed(v, at, **{"q2-0-0": "yes"})
    typed(v, at, **{"q2-0-0": "yes", "q2-0-1-0-2": "Ring Leila"})
    v.get(at)
    typed(v, at, **{"q2-0-0": "no", "q2-0-1-0-2": "Ring Leila"})
    assert [i["linkId"] for i in stored(demo, at)["item"][0]["item"]] == ["crisis-wanted"]


def test_somebody_types_for_the_person(demo: Gateway) -> None:
    v = as_(demo, "gp")
    v.get(f"/team/people/{demo.patient}")
    assert f'href="/forms?person={demo.patient}"' in v.page
    at = begun(v, "my-wheel", f"?person={demo.patient}")
    typed(v, at, **{"q0-0-1-0-0": "Music", "q0-0-1-0-1": "4", "q0-0-1-0-2": "7"})
    assert "Check your answers" in v.words()
    v.send(at[:-1] + "check")
    assert "A wheel: My wheel" in v.words() and "<svg" in v.page and "Hoped for" in v.words()
    kept = stored(demo, at)
    assert kept["source"] == {"reference": f"Patient/{demo.patient}"} and kept["author"]["reference"].startswith("Practitioner/")


def test_forms_of_others_are_not_there(demo: Gateway) -> None:
    v = as_(demo, "patient")
    at = begun(v, "scores")
    other = Visitor(demo)
    assert other.get(at).url.path == "/sign-in"
    lw = as_(demo, "link-worker")
    hidden = lw.get(f"/forms/scores/{at.split('/')[3]}/0")
    absent = lw.get("/forms/scores/nobody/0")
    assert absent.status_code == 404 and (hidden.status_code == 404 or "Scores from other" in hidden.text)
    for path in ("/forms/nothing", "/forms/scores/nobody/check", f"/forms/my-wheel/{at.split('/')[3]}/0", at[:-1] + "99", at[:-1] + "x"):
        assert v.get(path).status_code == 404, path
    assert as_(demo, "gp").get("/forms").status_code == 404, "about whom?"
    v.get(at)
    form = v.fields(at)
    stale = v.http.post(at, data={**form, "version": "77", "go": "next"})
    assert stale.status_code == 412
    assert v.http.post(at, data={"go": "next"}).status_code == 403


def test_numbers_that_are_none_are_a_page_that_is_not_there(demo: Gateway) -> None:
    v = as_(demo, "patient")
    at = begun(v, "my-own-words")[:-1]
    for n in ("1" * 5000, "10000", "x", "-1"):
        assert v.get(at + n).status_code == 404
    v.get(at + "1")
    wrong = {"q1-0-2": "no number", "asked": f"q1 q1-0-2 q1-{'9' * 5000}-1"}
    typed(v, at + "1", **wrong)
    assert "Write a number" in v.words()


def test_answers_that_were_sent_before_a_stop_become_what_they_should_by_a_button(demo: Gateway) -> None:
    v = as_(demo, "patient")
    at = begun(v, "my-own-words")[:-1] + "1"
    v.get(at)
    typed(v, at, go="save", **{"q1-0-1": "Learn to swim"})
    check = at[:-1] + "check"
    v.get(check)
    body = stored(demo, at)
    done = demo.call("patient", "PUT", f"QuestionnaireResponse/{body['id']}", body={**body, "status": "completed"}, headers={"If-Match": f'W/"{body["meta"]["versionId"]}"'})
    assert done.status_code == 200, "finished, and nothing is made of it yet"
    v.get("/forms")
    assert "Not in the plan yet" in v.words()
    v.get(at[:-1] + "done")
    assert "These answers are not in the plan yet" in v.words(), "a button finishes it, for whoever never sends it again"
    assert v.send(check).status_code == 200
    assert "Learn to swim" in v.words() and "not in the plan yet" not in v.words()
    v.get("/forms")
    assert "Not in the plan yet" not in v.words()
    v.get("/my-plan")
    assert v.words().count("Learn to swim") >= 1
