"""The rules of forms: what is open, what is filled in, what answers become. No server, no store."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fhir_gateway import definitions
from fhir_gateway.domain import forms, strict
from fhir_gateway.domain.forms import becoming
from fhir_gateway.domain.forms.items import answers, every, items, link
from fhir_gateway.domain.forms.pages import View, expanded, questions, tops
from fhir_gateway.domain.forms.saying import MOST, MOST_READING, MOST_STEPS, Speech
from fhir_gateway.domain.forms.typed import Mistake, Reading, missing
from fhir_gateway.domain.problem import Problem
from fhir_gateway.domain.validate import check

R4 = definitions.load_r4()
KNOWN = definitions.read_definitions(None)
AT = datetime(2026, 11, 26, 12, 0, 0, tzinfo=UTC)
OWN = definitions.own_forms()
SDC = forms.items.SDC
BASE: dict[str, Any] = {
    "resourceType": "QuestionnaireResponse", "id": "r1", "status": "completed", "authored": "2026-11-20T10:00:00Z",
    "subject": {"reference": "Patient/9"}, "source": {"reference": "Patient/9"}, "author": {"reference": "Practitioner/3"},
}  # fmt: skip


def said(link_id: str, *values: Any, below: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    """An answer item: `said("a", True)`."""
    kinds = {bool: "Boolean", int: "Integer", str: "String", Decimal: "Decimal", dict: "Coding"}
    given_ = [{"value" + kinds[type(v)]: v} for v in values]
    if below:
        given_[0]["item"] = below
    return {"linkId": link_id, "answer": given_}


def group(link_id: str, *below: dict[str, Any]) -> dict[str, Any]:
    return {"linkId": link_id, "item": list(below)}


def made(form: dict[str, Any], *answered: dict[str, Any], **more: Any) -> forms.Extracted:
    return forms.extract(form, {**BASE, **more, "questionnaire": form.get("url", ""), "item": list(answered)}, R4, AT)


def wrong(resource: dict[str, Any], form: dict[str, Any] | None = None) -> list[str]:
    return [f"{i.where}: {i.text}" for i in check(resource, R4, questionnaire=form, definitions=KNOWN) if i.severity in ("error", "fatal")]


# -- what is open -----------------------------------------------------------------------------------------------------


def question(link_id: str, *conditions: tuple[str, bool], behavior: str = "all", below: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    q: dict[str, Any] = {"linkId": link_id, "type": "boolean"}
    if conditions:
        q["enableWhen"] = [{"question": c, "operator": "=", "answerBoolean": v} for c, v in conditions]
    if len(conditions) > 1:
        q["enableBehavior"] = behavior
    return q | ({"item": below} if below else {})


def open_of(form: dict[str, Any], *answered: dict[str, Any]) -> set[str]:
    return {link(i) for i in every(forms.pruned(form, {"item": list(answered)}))}


def test_all_and_any_of_several_conditions() -> None:
    for behavior, both in (("all", False), ("any", True)):
        form = {"item": [question("a"), question("b"), question("c", ("a", True), ("b", True), behavior=behavior)]}
        assert ("c" in open_of(form, said("a", True), said("b", False), said("c", True))) is both
        assert "c" in open_of(form, said("a", True), said("b", True), said("c", True))
        assert "c" not in open_of(form, said("a", False), said("b", False), said("c", True))


def test_what_is_hidden_opens_nothing_else() -> None:
    form = {"item": [question("a"), question("b", ("a", True)), question("c", ("b", True)), question("d", ("c", True))]}
    assert open_of(form, said("a", False), said("b", True), said("c", True), said("d", True)) == {"a"}
    assert open_of(form, said("a", True), said("b", True), said("c", True), said("d", True)) == {"a", "b", "c", "d"}


def test_what_stands_below_something_hidden_is_hidden() -> None:
    form = {"item": [question("a"), {"linkId": "g", "type": "group", "enableWhen": [{"question": "a", "operator": "exists", "answerBoolean": True}], "item": [question("b", below=[question("c")])]}]}
    whole = group("g", said("b", True, below=[said("c", True)]))
    assert open_of(form, whole) == set()
    assert open_of(form, said("a", False), whole) == {"a", "g", "b", "c"}


def test_in_a_repeated_group_each_answers_for_itself() -> None:
    form = {"item": [{"linkId": "g", "type": "group", "repeats": True, "item": [question("a"), question("b", ("a", True))]}]}
    kept = forms.pruned(form, {"item": [group("g", said("a", True), said("b", True)), group("g", said("a", False), said("b", True))]})
    assert [[link(i) for i in items(g)] for g in kept["item"]] == [["a", "b"], ["a"]]


NAMES = [f"q{n}" for n in range(6)]


@st.composite
def conditional(draw: st.DrawFn) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """A form whose questions depend on one another in any way, circles too, and answers to some of it."""
    asked = []
    for name in NAMES:
        on = draw(st.lists(st.tuples(st.sampled_from([n for n in NAMES if n != name]), st.booleans()), max_size=3))
        asked.append(question(name, *on, behavior=draw(st.sampled_from(["all", "any"]))))
    given_ = [said(n, v) for n in NAMES if (v := draw(st.sampled_from([True, False, None]))) is not None]
    return {"item": asked}, given_


@given(conditional())
@settings(max_examples=150, deadline=None)
def test_pruning_twice_is_pruning_once(case: tuple[dict[str, Any], list[dict[str, Any]]]) -> None:
    form, given_ = case
    once = forms.pruned(form, {"item": given_})
    assert forms.pruned(form, once) == once
    conditions, root = forms.Conditions(form), [("", once)]
    left = {link(i) for i in items(once)}
    assert all(conditions.enabled(q, root) for q in items(form) if link(q) in left), "what is left is open"
    assert [i for i in given_ if link(i) in left] == items(once), "what is left is as it was given, in its order"


@given(conditional())
@settings(max_examples=100, deadline=None)
def test_pruned_answers_are_never_refused_as_hidden(case: tuple[dict[str, Any], list[dict[str, Any]]]) -> None:
    form, given_ = case
    whole = {"resourceType": "Questionnaire", "status": "active", **form}
    response = {**BASE, "status": "in-progress", "item": given_} if given_ else {**BASE, "status": "in-progress"}
    assert not any("not enabled" in w for w in wrong(forms.pruned(form, response), whole))


# -- what is filled in ------------------------------------------------------------------------------------------------


def test_hl7s_expressions_are_filled_from_the_launch_context(shared: Path) -> None:
    form = strict.read((shared / "data/examples/sdc/Questionnaire/Questionnaire-questionnaire-sdc-test-fhirpath-prepop-initialexpression.json").read_bytes())
    patient = {
        "resourceType": "Patient", "id": "9", "birthDate": "1950-02-03", "name": [{"family": "Example", "given": ["Ann", "B"]}],
        "identifier": [{"system": "http://ns.electronichealth.net.au/id/dva", "value": "D1"}], "telecom": [{"system": "phone", "use": "mobile", "value": "2"}],
    }  # fmt: skip
    user = {"resourceType": "Practitioner", "name": [{"family": "Doc", "given": ["Di"]}]}
    found = forms.filled(form, "Patient/9", {"patient": patient, "user": user}, {}, AT)
    got = {link(i): next(iter(answers(i)[0].values())) for i in every(found.response) if answers(i)}
    assert got == {
        "dva-number": "D1", "family-name": "Example", "given-names": "Ann", "dob": "1950-02-03", "contact-number": "2",
        "date-consult": "2026-11-26", "provider-name": "Di Doc",
    }  # fmt: skip
    assert found.issues == () and found.response["status"] == "in-progress"
    assert wrong(found.response, form) == []


def test_hl7s_initial_values_are_filled_in(shared: Path) -> None:
    for name, least in (("initialvalue", 2), ("initialvalue-multiple", 2)):
        form = strict.read((shared / f"data/examples/sdc/Questionnaire/Questionnaire-questionnaire-sdc-test-{name}.json").read_bytes())
        found = forms.filled(form, "Patient/9", {}, {}, AT).response
        assert sum(len(answers(i)) for i in every(found)) >= least
        assert wrong(found, form) == []


def test_every_form_of_hl7_can_be_filled_and_extracted_without_a_fault(shared: Path) -> None:
    """Whatever is in them: expressions of other languages, queries, maps; what we do not do is said, never raised."""
    tried = shown = 0
    for file in sorted((shared / "data/examples/sdc/Questionnaire").glob("*.json")):
        form = strict.read(file.read_bytes())
        found = forms.filled(form, "Patient/9", {"patient": {"resourceType": "Patient", "id": "9"}}, {}, AT)
        forms.sought(form, AT)
        forms.extract(form, {**found.response, "id": "x"}, R4, AT)
        view = View(expanded(form), found.response)
        shown += sum(len(questions(view.page(n))) for n, _title in view.pages() if n < len(tops(form)))
        tried += 1
    assert tried >= 25 and shown > 200


def test_an_observation_answers_if_it_is_of_the_code_and_new_enough() -> None:
    form = OWN["scores"]
    wanted = {s.link: s for s in forms.sought(form, AT)}
    assert wanted["activation-level"].codes == (("http://snomed.info/sct", "962851000000103"),)
    assert (AT - wanted["activation-level"].since).days == 366
    seen = {"activation-level": {"resourceType": "Observation", "valueInteger": 3}, "health-today": {"resourceType": "Observation", "valueString": "fine"}}
    found = forms.filled(form, "Patient/9", {}, seen, AT)
    assert [(link(i), answers(i)) for i in every(found.response) if answers(i)] == [("activation-level", [{"valueInteger": 3}])]
    assert "health-today" in found.issues[0].text, "what does not fit is said and not guessed"


def test_a_weight_in_another_unit_is_not_guessed() -> None:
    kilos = {"url": forms.items.EXTENSION + "questionnaire-unit", "valueCoding": {"system": "http://unitsofmeasure.org", "code": "kg"}}
    form = {"item": [{"linkId": "w", "type": "decimal", "extension": [kilos]}]}
    for code, fits in (("kg", True), ("[lb_av]", False)):
        seen = {"w": {"valueQuantity": {"value": Decimal("70.10"), "code": code}}}
        found = forms.filled(form, "Patient/9", {}, seen, AT)
        assert ("item" in found.response) is fits and bool(found.issues) is not fits
    assert "70.10" in strict.dump(forms.filled(form, "Patient/9", {}, {"w": {"valueQuantity": {"value": Decimal("70.10"), "code": "kg"}}}, AT).response).decode()


@given(st.dictionaries(st.sampled_from(["activation-level", "health-today"]), st.integers(1, 4), min_size=1))
@settings(max_examples=25, deadline=None)
def test_what_was_extracted_fills_the_next_form_with_the_same(scores: dict[str, int]) -> None:
    form = OWN["scores"]
    order = [q["linkId"] for q in form["item"][0]["item"]]
    given_ = group("scores", *(said(k, scores[k]) for k in order if k in scores))
    observations = [e["resource"] for e in made(form, given_).entries]
    by_code = {o["code"]["coding"][0]["code"]: o for o in observations}
    seen = {s.link: by_code[s.codes[0][1]] for s in forms.sought(form, AT) if s.codes[0][1] in by_code}
    filled = forms.filled(form, "Patient/9", {}, seen, AT).response
    assert {link(i): answers(i) for i in every(filled) if answers(i)} == {k: [{"valueInteger": v}] for k, v in scores.items()}


def test_expressions_are_bounded() -> None:
    speech = Speech({}, AT)
    for bad in ("'a'.matches('(a+)+$')", "repeat(item)", "descendants()", "1 +", "x" * 1001, "%nobody.name", "trace('x')"):
        assert speech.said(bad, {"resourceType": "Patient"}) == []
    assert len(speech.issues) == 7
    speech.asked = MOST
    assert speech.said("1", {}) == []
    ten = "(1|2|3|4|5|6|7|8|9|0)"
    nested = f"{ten}.select(" * 12 + ten + ")" * 12
    for grows in (nested, "'aaaaaaaaaa'" + ".select($this & $this)" * 40):
        speech = Speech({}, AT)
        assert speech.said(grows, {}) == [] and speech.steps <= MOST_STEPS + 1 and len(speech.issues) == 1
    assert speech.said("'a'", {}) == ["a"], "the next goes on"
    speech = Speech({}, AT)
    for k in range(20):
        assert speech.said(f"a{k}" + ".a" * 450, {}) == []
    assert speech.reading <= MOST_READING + 1 and len(speech.issues) == 20, "to read them is work, too"
    assert Speech({}, AT).said("'a'", {}) == ["a"], "for another form they are read"
    assert Speech({}, AT).said("today()", {}) == ["2026-11-26"], "the moment is the house's, not the machine's"


# -- what answers become ----------------------------------------------------------------------------------------------


def test_our_own_forms_are_valid_and_bring_no_licensed_words() -> None:
    assert set(OWN) == {"about-me", "goal-from-wheel", "my-own-words", "my-wheel", "scores"}
    for form in OWN.values():
        assert wrong(form) == []
        assert KNOWN.questionnaire(form["url"] + "|1.0.0") is not None
    words = json.dumps(OWN).lower()
    for theirs in ("outcomes star", "when all is said and done", "i have no problems in walking"):
        assert theirs not in words


GOALS = (
    group("goals", said("goal", "Walk to the shop"), said("importance", 8), {"linkId": "by", "answer": [{"valueDate": "2027-01-01"}]}, said("sure", 5), said("surer", "Company")),
    group("goals", said("goal", "Cook again"), said("sure", 9)),
    group("crisis-page", said("crisis-wanted", True), group("crisis", said("trigger", "No sleep", "Noise"), said("step", "Ring Leila"))),
)  # fmt: skip


def test_own_words_become_goals_and_a_contingency_plan() -> None:
    found = made(OWN["my-own-words"], *GOALS)
    assert found.issues == ()
    first, second, crisis = (e["resource"] for e in found.entries)
    assert [wrong(r) for r in (first, second, crisis)] == [[], [], []]
    assert first["description"] == {"text": "Walk to the shop"} and first["extension"][0]["valueInteger"] == 8
    assert first["target"] == [{"dueDate": "2027-01-01"}] and first["expressedBy"] == {"reference": "Patient/9"} and first["startDate"] == "2026-11-20"
    assert [n["text"] for n in first["note"]] == ["How sure I am that I can do it: 5 of 10", "What would make me more sure: Company"]
    assert "extension" not in second and "target" not in second, "what was not said is not there"
    assert [(x["url"].rsplit("/", 1)[1], x["valueString"]) for x in crisis["extension"]] == [
        ("contingency-trigger", "No sleep"), ("contingency-trigger", "Noise"), ("contingency-step", "Ring Leila"),
    ]  # fmt: skip
    assert becoming.is_contingency(crisis) and crisis["subject"] == {"reference": "Patient/9"}


def test_a_hidden_answer_becomes_nothing() -> None:
    hidden = group("crisis-page", said("crisis-wanted", False), group("crisis", said("step", "Ring Leila")))
    assert made(OWN["my-own-words"], hidden).entries == ()


def test_the_wheel_has_a_component_for_each_spoke_in_the_persons_words() -> None:
    wheel = group("wheel", group("spoke", said("name", "Music"), said("now", 4), said("hoped", 7)), group("spoke", said("name", "Sleep"), said("now", 2)))
    (entry,) = made(OWN["my-wheel"], wheel).entries
    assert wrong(entry["resource"]) == []
    assert [(c["code"]["text"], c["valueInteger"], [r["low"]["value"] for r in c.get("referenceRange", [])]) for c in entry["resource"]["component"]] == [
        ("Music", 4, [7]), ("Sleep", 2, []),
    ]  # fmt: skip


def test_a_goal_from_a_wheel_is_filled_in_with_the_spoke_and_names_the_wheel() -> None:
    form = OWN["goal-from-wheel"]
    wheel = {"resourceType": "Observation", "id": "o", "component": [{"code": {"text": "Sleep"}, "valueInteger": 3, "referenceRange": [{"low": {"value": 7}}]}]}
    begun = forms.filled(form, "Patient/9", {"spoke": wheel}, {}, AT)
    assert begun.issues == () and wrong(begun.response, form) == []
    (entry,) = made(form, *begun.response["item"]).entries
    goal = entry["resource"]
    assert wrong(goal) == [] and goal["description"] == {"text": "Sleep"} and goal["addresses"] == [{"reference": "Observation/o"}]
    assert goal["target"] == [{"measure": {"text": "Sleep"}, "detailQuantity": {"value": 7, "unit": "out of 10"}}]
    assert [n["text"] for n in goal["note"]] == ["Where I was when I set this goal: 3 out of 10"]
    (alone,) = made(form, group("goal-page", said("goal", "Sing"), {"linkId": "by", "answer": [{"valueDate": "2027-01-01"}]})).entries
    assert wrong(alone["resource"]) == [] and alone["resource"]["target"] == [{"dueDate": "2027-01-01"}] and not {"addresses", "note"} & alone["resource"].keys()


def flag(value: Any) -> dict[str, Any]:
    return {"url": SDC + "observationExtract", ("valueBoolean" if type(value) is bool else "valueCode"): value}


def coded(link_id: str, type: str, *flags: Any, **more: Any) -> dict[str, Any]:
    q = {"linkId": link_id, "type": type, "code": [{"system": "urn:x", "code": link_id}], **more}
    return q | ({"extension": [flag(f) for f in flags]} if flags else {})


def test_observations_stand_alone_or_as_parts_as_the_form_says() -> None:
    form = {
        "item": [
            coded("panel", "group", True, item=[coded("sys", "integer", "component"), coded("dia", "integer", "component"), coded("mood", "string", "member")]),
            coded("off", "string", False), coded("not", "string"), coded("many", "string", True, repeats=True),
        ]
    }  # fmt: skip
    found = made(form, group("panel", said("sys", 141), said("dia", 80), said("mood", "low")), said("off", "x"), said("not", "y"), said("many", "a", "b"))
    panel, mood, a, b = found.entries
    assert [c["valueInteger"] for c in panel["resource"]["component"]] == [141, 80]
    assert panel["resource"]["hasMember"] == [{"reference": mood["fullUrl"]}] and mood["resource"]["valueString"] == "low"
    assert [e["resource"]["valueString"] for e in (a, b)] == ["a", "b"] and a["fullUrl"] != b["fullUrl"]
    assert all(wrong(e["resource"]) == [] for e in found.entries)
    assert panel["resource"]["derivedFrom"] == [{"reference": "QuestionnaireResponse/r1"}]
    assert panel["resource"]["effectiveDateTime"] == BASE["authored"] and panel["resource"]["performer"] == [{"reference": "Patient/9"}]


def hl7_answers() -> tuple[dict[str, Any], ...]:
    coding = {"system": "http://hl7.org/fhir/administrative-gender", "code": "female", "display": "Female"}
    return (
        group(
            "patient", group("name", said("given", "Ann", "B"), said("family", "Example")), group("name", said("given", "Annie"), said("family", "Old")),
            said("gender", coding), {"linkId": "dob", "answer": [{"valueDate": "1950-02-03"}]}, said("ihi", "800360"), said("mobile-phone", "07700 900018"),
        ),
        group("contacts", said("contact-name", "Leila"), said("phone", "07700 900019")), group("contacts", said("contact-name", "Nadia")),
        group("obs", said("height", Decimal("1.7")), said("weight", Decimal("70.10"))),
    )  # fmt: skip


@pytest.mark.parametrize("name", ["extract-complex-template", "extract-complex-template2", "extract-complex-defn3"])
def test_hl7s_complex_form_becomes_the_same_people_and_measurements_by_each_way(shared: Path, name: str) -> None:
    form = strict.read((shared / f"data/examples/sdc/Questionnaire/{name}.json").read_bytes())
    found = made(form, *hl7_answers())
    assert found.issues == ()
    by_type: dict[str, list[dict[str, Any]]] = {}
    for e in found.entries:
        by_type.setdefault(e["resource"]["resourceType"], []).append(e["resource"])
    (patient,), related, observed = by_type["Patient"], by_type["RelatedPerson"], by_type["Observation"]
    assert [(n["family"], n["given"], n["text"]) for n in patient["name"]] == [("Example", ["Ann", "B"], "Ann B Example"), ("Old", ["Annie"], "Annie Old")]
    assert patient["gender"] == "female" and patient["identifier"][0] == {"type": {"text": "National Identifier (IHI)"}, "system": "http://example.org/nhio", "value": "800360"}
    assert [r["name"][0]["text"] for r in related] == ["Leila", "Nadia"] and ["telecom" in r for r in related] == [True, False]
    url = next(e["fullUrl"] for e in found.entries if e["resource"]["resourceType"] == "Patient")
    assert {r["patient"]["reference"] for r in related} | {o["subject"]["reference"] for o in observed} == {url}
    weight = next(o for o in observed if o["code"]["coding"][0]["code"] == "29463-7")
    assert str(weight["valueQuantity"]["value"]) == "70.10", "every digit"
    assert len({e["fullUrl"] for e in found.entries}) == len(found.entries)


@given(st.permutations(range(3)), st.text(min_size=1, max_size=20).filter(str.strip))
@settings(max_examples=30, deadline=None)
def test_the_same_answers_become_the_same_entry_for_entry(order: list[int], words: str) -> None:
    form = OWN["my-own-words"]
    answered = [group("goals", said("goal", f"{words} {n}")) for n in order]
    assert made(form, *answered) == made(form, *answered)
    assert made(form, *answered, id="r2").entries[0]["fullUrl"] != made(form, *answered).entries[0]["fullUrl"]
    assert [e["resource"]["description"]["text"] for e in made(form, *answered).entries] == [f"{words} {n}" for n in order]


def test_what_a_person_typed_is_never_evaluated() -> None:
    place = {"url": SDC + "templateExtractValue", "valueString": "%resource.subject.reference"}
    for typed in ("%resource.id", "{{ 7*7 }}", "today()", "urn:uuid:1"):
        (entry,) = made(OWN["my-own-words"], group("goals", said("goal", typed))).entries
        assert entry["resource"]["description"]["text"] == typed
    form = {
        "contained": [{"resourceType": "Observation", "id": "o", "status": "final", "code": {"text": "x"}, "valueQuantity": {"extension": [{"url": SDC + "templateExtractValue", "valueString": "answer.value"}]}}],
        "item": [{"linkId": "q", "type": "quantity", "extension": [{"url": SDC + "templateExtract", "extension": [{"url": "template", "valueReference": {"reference": "#o"}}]}]}],
    }  # fmt: skip
    typed_in = {"value": 1, "_unit": {"extension": [place]}, "extension": [place]}
    (entry,) = made(form, {"linkId": "q", "answer": [{"valueQuantity": typed_in}]}).entries
    assert entry["resource"]["valueQuantity"] == typed_in, "an answer that looks like a template is an answer"


# -- what a form may not do -------------------------------------------------------------------------------------------


def refused(resource: dict[str, Any], response: dict[str, Any] = BASE) -> str:
    with pytest.raises(Problem) as no:
        becoming.allowed([{"fullUrl": "urn:uuid:1", "resource": resource}], response, {"Practitioner/3"})
    assert no.value.kind == "business-rule"
    return no.value.text


def test_a_form_hands_nothing_to_anybody() -> None:
    task = {"resourceType": "Task", "status": "requested", "intent": "order", "for": {"reference": "Patient/9"}}
    becoming.allowed([{"fullUrl": "urn:uuid:1", "resource": {**task, "owner": {"reference": "Patient/9"}}}], BASE, set())
    assert "names nobody" in refused({**task, "owner": {"reference": "Organization/spy"}})
    assert "names nobody" in refused({**task, "owner": {"identifier": {"system": "https://fhir.nhs.uk/Id/ods-organization-code", "value": "SPY"}}})
    assert "about the person" in refused({**task, "for": {"reference": "Patient/8"}})
    chosen = {**BASE, "item": [{"linkId": "who", "answer": [{"valueReference": {"reference": "Organization/friend"}}]}]}
    becoming.allowed([{"fullUrl": "urn:uuid:1", "resource": {**task, "owner": {"reference": "Organization/friend"}}}], chosen, set())


def test_an_address_that_a_form_gives_what_it_makes_names_nobody_else() -> None:
    task = {"resourceType": "Task", "status": "requested", "intent": "order", "for": {"reference": "Patient/9"}, "owner": {"reference": "Organization/spy"}}
    observation = {"resourceType": "Observation", "status": "final", "subject": {"reference": "Patient/9"}}
    with pytest.raises(Problem, match="names nobody"):
        becoming.allowed([{"fullUrl": "Organization/spy", "resource": observation}, {"fullUrl": "urn:uuid:2", "resource": task}], BASE, set())


def test_a_form_changes_only_what_the_answers_name() -> None:
    allergy = {"resourceType": "AllergyIntolerance", "id": "a", "patient": {"reference": "Patient/9"}}
    entry = {"fullUrl": "urn:uuid:1", "resource": allergy, "request": {"method": "PUT", "url": "AllergyIntolerance/a"}}
    with pytest.raises(Problem, match="changes nothing"):
        becoming.allowed([entry], BASE, set())
    named = {**BASE, "item": [{"linkId": "which", "answer": [{"valueReference": {"reference": "AllergyIntolerance/a"}}]}]}
    becoming.allowed([entry], named, set())


def test_a_form_makes_no_consent_no_team_no_label() -> None:
    for type in ("Consent", "CareTeam", "Patient", "AuditEvent", "Provenance", "Organization", "Subscription", "Binary"):
        assert "do not become" in refused({"resourceType": type, "patient": {"reference": "Patient/9"}})
    goal = {"resourceType": "Goal", "lifecycleStatus": "active", "description": {"text": "x"}, "subject": {"reference": "Patient/9"}}
    assert "labels" in refused({**goal, "meta": {"security": [{"code": "R"}]}})
    assert "within" in refused({**goal, "contained": [{"resourceType": "Patient"}]})


# -- pages ------------------------------------------------------------------------------------------------------------


spokes = st.lists(st.tuples(st.text("abc <&'\"%", min_size=1, max_size=9).filter(str.strip), st.integers(1, 10)), min_size=1, max_size=4)


@given(spokes)
@settings(max_examples=40, deadline=None)
def test_what_was_typed_is_shown_again_and_is_valid(wheel: list[tuple[str, int]]) -> None:
    form = OWN["my-wheel"]
    empty = View(form, BASE, {"q0-0-1": len(wheel) - 1})
    shown = questions(empty.page(0))
    assert len(shown) == 3 * len(wheel) and len({q.name for q in shown}) == len(shown)
    fields = {f"q0-0-1-{n}-{k}": [str(v)] for n, spoke in enumerate(wheel) for k, v in enumerate(spoke)}
    asked = {q.name for q in shown} | {"q0", "q0-0-1"}
    reading = Reading(fields, lambda _: None, frozenset(asked))
    found = {**BASE, "questionnaire": form["url"], "item": reading.page(form, BASE, 0)}
    assert reading.mistakes == {} and wrong(found, form) == []
    again = [q.values for q in questions(View(form, found).page(0)) if not q.label.startswith("Where I would")]
    assert again == [(" ".join(name.split()),) if k == 0 else (str(now),) for name, now in wheel for k in (0, 1)]
    assert missing(View(form, found).page(0)) == []


def test_a_page_changes_no_other_page() -> None:
    form = OWN["my-own-words"]
    before = {**BASE, "item": list(GOALS)}
    reading = Reading({"q0-0-1": ["My garden"]}, lambda _: None, frozenset({"q0", "q0-0-1", "q0-0-2"}))
    after = reading.page(form, before, 0)
    assert [link(i) for i in after] == ["matters-page", "goals", "goals", "crisis-page"] and after[1:] == list(GOALS)


def test_mistakes_are_named_by_their_question() -> None:
    form = OWN["scores"]
    for text, why in (("0", "low"), ("5", "high"), ("1.5", "whole"), ("three", "number"), ("1e9", "number")):
        reading = Reading({"q0-0-1": [text]}, lambda _: None, frozenset({"q0", "q0-0-1"}))
        assert reading.page(form, BASE, 0) == [] and reading.mistakes["q0-0-1"].why == why
    assert Mistake("low", "1").with_ == "1"


def test_a_value_set_that_the_form_lists_is_offered() -> None:
    codes = {"resourceType": "ValueSet", "id": "v", "compose": {"include": [{"system": "urn:x", "concept": [{"code": "a", "display": "Always"}, {"code": "n"}]}]}}
    form = {"contained": [codes], "item": [{"linkId": "q", "type": "choice", "answerValueSet": "#v"}, {"linkId": "r", "type": "choice", "answerValueSet": "http://elsewhere"}]}
    listed, unknown = questions(View(expanded(form), {"resourceType": "QuestionnaireResponse"}).page(0))
    assert listed.kind == "one" and listed.options == (("0", "Always"), ("1", "n")) and unknown.kind == "other"
    (item,) = Reading({"q0": ["1"]}, lambda _: None, frozenset({"q0", "q1"})).page(expanded(form), {}, 0)
    assert item["answer"] == [{"valueCoding": {"system": "urn:x", "code": "n"}}]
