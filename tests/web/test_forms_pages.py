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


def stored(demo: Gateway, v: Visitor, at: str) -> dict[str, Any]:
    """The answers as the record has them, once they are sent."""
    return dict(demo.get("patient", f"QuestionnaireResponse/{v.get(at).url.path.split('/')[3]}").json())


def test_the_person_writes_their_plan_and_it_is_in_their_plan(demo: Gateway) -> None:
    v = as_(demo, "patient")
    v.get("/my-plan")
    assert 'href="/forms"' in v.page
    v.get("/forms")
    assert "My plan in my own words" in v.words() and "My wheel" in v.words() and "Nothing goes into your plan before you send it" in v.words()
    at = begun(v, "my-own-words")
    typed(v, at, **{named(v, "What matters most to me?"): "  My garden\r\nand <b>my</b> dog "})
    there = v.page
    v.get(at)
    assert "My garden\nand &lt;b&gt;my&lt;/b&gt; dog</textarea>" in v.page, "kept as it is typed"
    v.page = there

    at = at[:-1] + "1"
    goal, sure = named(v, "What would I like to do"), named(v, "How sure am I")
    answer = typed(v, at, go="next", **{goal: "Walk to the shop", sure: "5"})
    assert "There are more questions on this page now" in v.words() and answer.url.path == at
    typed(v, at, go="more:q1", **{goal: "Walk to the shop", sure: "5", named(v, "What would make me more sure?"): "Company"})
    assert "My goals (2)" in v.words()
    typed(v, at, go="next", **{goal: "Walk to the shop", sure: "5", goal.replace("q1-0", "q1-1"): "Cook", "q1-0-5": "Company"})
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
    kept = stored(demo, v, at)
    assert kept["status"] == "completed" and kept["source"] == kept["author"] == {"reference": f"Patient/{demo.patient}"}
    assert kept["item"][0]["item"][0]["answer"] == [{"valueString": "My garden\nand <b>my</b> dog"}]
    assert [g["item"][0]["answer"][0]["valueString"] for g in kept["item"] if g["linkId"] == "goals"] == ["Walk to the shop", "Cook"]
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
    v.get(at)
    assert 'value="Dance"' not in v.page, "nothing of it is kept"
    typed(v, at, go="save", **{**wrong, "q1-0-2": "10", "q1-0-3-day": "28", "q1-0-4": "9"})
    assert "Begun and not sent yet" in v.words()
    v.get(at)
    assert all(f'value="{known}"' in v.page for known in ("Dance", "10", "28", "2027", "9"))
    typed(v, at, go="more:q1", **{"q1-0-1": "Dance", "q1-0-2": "10"})
    typed(v, at, **{"q1-0-1": "Dance", "q1-0-2": "10", "q1-1-1": "Swim", "q1-1-2": "no number"})
    assert 'value="Swim"' in v.page and 'value="no number"' in v.page and "Mistake:" in v.words()
    typed(v, at, go="drop:q1-0", **{"q1-0-1": "Dance", "q1-0-2": "10", "q1-1-1": "Sing"})
    v.get(at[:-1] + "check")
    v.send(at[:-1] + "check")
    (goal,) = [i for i in stored(demo, v, at)["item"] if i["linkId"] == "goals"]
    assert [i["answer"] for i in goal["item"]] == [[{"valueString": "Sing"}]]


def test_a_form_with_nothing_answered_is_not_sent(demo: Gateway) -> None:
    v = as_(demo, "patient")
    at = begun(v, "my-wheel")
    wheels = f"QuestionnaireResponse?patient={demo.patient}&status=completed&_summary=count"
    before = demo.get("patient", wheels).json()["total"]
    check = at[:-1] + "check"
    typed(v, at, **{"q0-0-1-0-0": "Sleep", "q0-0-1-0-1": "4"})
    v.get(check)
    ready = v.fields(check)
    v.get(at)
    typed(v, at, **{"q0-0-1-0-0": "", "q0-0-1-0-1": ""})
    assert v.get(check).status_code == 200 and "Nothing is answered yet. Answer at least one question" in v.words() and ">Send<" not in v.page
    v.get(at)
    version = v.fields(at)["version"]
    forced = v._seen(v.http.post(check, data={**ready, "version": version}))
    assert forced.url.path == check and "Nothing is answered yet." in v.words()
    assert demo.get("patient", wheels).json()["total"] == before
    v.get(at)
    typed(v, at, **{"q0-0-1-0-0": "Sleep", "q0-0-1-0-1": "4"})
    assert v.send(check).url.path.endswith("/done")
    assert demo.get("patient", wheels).json()["total"] == before + 1


def test_a_hidden_answer_is_not_kept(demo: Gateway) -> None:
    v = as_(demo, "patient")
    at = begun(v, "my-own-words")[:-1] + "2"
    v.get(at)
    typed(v, at, **{"q2-0-0": "yes"})
    typed(v, at, **{"q2-0-0": "yes", "q2-0-1-0-2": "Ring Leila"})
    v.get(at)
    typed(v, at, **{"q2-0-0": "no", "q2-0-1-0-2": "Ring Leila"})
    v.send(at[:-1] + "check")
    assert [i["linkId"] for i in stored(demo, v, at)["item"][0]["item"]] == ["crisis-wanted"]


def test_somebody_types_for_the_person(demo: Gateway) -> None:
    v = as_(demo, "gp")
    v.get(f"/team/people/{demo.patient}")
    assert f'href="/forms?person={demo.patient}"' in v.page
    at = begun(v, "my-wheel", f"?person={demo.patient}")
    typed(v, at, **{"q0-0-1-0-0": "Music", "q0-0-1-0-1": "4", "q0-0-1-0-2": "7"})
    assert "Check your answers" in v.words()
    v.send(at[:-1] + "check")
    assert "A wheel: My wheel" in v.words() and "<svg" in v.page and "Hoped for" in v.words()
    kept = stored(demo, v, at)
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
    assert stale.status_code == 409
    assert v.http.post(at, data={"go": "next"}).status_code == 403


def test_what_was_typed_on_a_page_that_is_old_comes_back_beside_what_is_kept(demo: Gateway) -> None:
    here, there = as_(demo, "patient"), as_(demo, "patient")
    at = begun(here, "my-own-words")[:-1] + "1"
    for v in (here, there):
        v.get(at)
    typed(there, at, go="save", **{"q1-0-1": "Sing <b>in</b> the choir"})
    answer = here._seen(here.http.post(at, data={**here.fields(at), "q1-0-1": "Paint the shed", "go": "next"}))
    assert answer.status_code == 409 and "These answers were changed on another page meanwhile" in here.words()
    assert "Sing &lt;b&gt;in&lt;/b&gt; the choir" in here.page and "Paint the shed" in here.page
    there.get(at)
    assert "Sing" in there.page and "Paint" not in there.page, "nothing is kept over it unseen"
    typed(here, at, go="save", **{"q1-0-1": "Paint the shed"})
    there.get(at)
    assert "Paint the shed" in there.page and "Sing" not in there.page


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
    goal = {"linkId": "goals", "item": [{"linkId": "goal", "answer": [{"valueString": "Learn to swim"}]}]}
    me = {"reference": f"Patient/{demo.patient}"}
    made = demo.call("patient", "POST", "QuestionnaireResponse", body={
        "resourceType": "QuestionnaireResponse", "questionnaire": "https://fhir-gateway.example/Questionnaire/my-own-words", "status": "completed", "subject": me, "source": me, "author": me,
        "authored": "2026-11-01T10:00:00Z", "item": [goal],
    })  # fmt: skip
    assert made.status_code == 201, "finished, and nothing is made of it yet"
    at = f"/forms/my-own-words/{made.json()['id']}/1"
    check = at[:-1] + "check"
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


def test_what_is_typed_and_not_sent_is_for_nobody_else(demo: Gateway) -> None:
    """Not for who may see everything of hers, by page or by FHIR, nor for a partner; sent twice it is one; thrown away it is nowhere."""
    v = as_(demo, "patient")
    at = begun(v, "my-own-words")
    typed(v, at, go="save", **{named(v, "What matters most to me?"): "HERS ALONE for now"})
    assert "Only you can see these" in v.words() and "Begun and not sent yet" in v.words()
    for who in ("patient", "proxy", "gp", "social-worker"):
        for path in (f"QuestionnaireResponse?patient={demo.patient}", f"Patient/{demo.patient}/$everything", f"QuestionnaireResponse?subject=Patient/{demo.patient}&status=in-progress"):
            assert "HERS ALONE" not in demo.get(who, path).text
        if who != "patient":
            other = as_(demo, who)
            other.get("/forms" if who == "proxy" else f"/forms?person={demo.patient}")
            assert "Begun and not sent yet" not in other.words()
            for page in (at, at[:-1] + "check", at[:-1] + "done"):
                assert other.get(page).status_code == 404
            begin = "/forms/my-wheel" if who == "proxy" else f"/forms/my-wheel?person={demo.patient}"
            other.get(begin)
            other.http.post(at[:-1] + "throw-away", data=other.fields(begin))
    v.get(at)
    assert "HERS ALONE" in v.page, "nobody throws it away but whoever typed it"
    second = begun(v, "my-own-words")
    typed(v, second, go="save", **{named(v, "What matters most to me?"): "Thrown away"})
    v.send(second[:-1] + "throw-away")
    assert v.get(second).status_code == 404
    check = at[:-1] + "check"
    v.get(check)
    twice = v.fields(check)
    assert [v.http.post(check, data=twice).status_code for _ in range(2)] == [200, 200]
    found = demo.get("gp", f"QuestionnaireResponse?patient={demo.patient}").text
    assert found.count("HERS ALONE") == 1
