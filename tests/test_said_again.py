"""What a crisis plan of ours says to whoever knows none of our extensions, and that it is never taken for anybody's words."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir_gateway import definitions
from fhir_gateway.around import printing
from fhir_gateway.domain import mapping, narrative, said_again, strict
from fhir_gateway.domain.mapping.codecs import TEAM_PHONE
from fhir_gateway.domain.mapping.names import EXTENSIONS, is_main
from fhir_gateway.domain.rendering import rendered
from fhir_gateway.domain.shown_plan import shown_plan
from fhir_gateway.domain.types import PLACES, VIEW
from fhir_gateway.domain.validate import check
from fhir_gateway.tables import load_tables

from .conftest import Gateway
from .test_documents import shown as read_of

PLAN: dict[str, Any] = strict.decode(definitions.demo_file("plan.json"))
MADE = mapping.to_fhir(PLAN, load_tables()).entries
LEILA = next(e.full_url for e in MADE if e.kind == "contact")
CRISIS: dict[str, Any] = strict.read(strict.dump(next(e.resource for e in MADE if e.kind == "contingency")).replace(LEILA.encode(), b"RelatedPerson/r1"))
TEXTS = ("triggers", "early_warnings", "what_should_happen", "coping")


def read(resource: dict[str, Any]) -> str:
    return read_of({"text": resource["text"], "section": []})


def foreign(resource: dict[str, Any]) -> dict[str, Any]:
    """As a reader sees it who leaves out every extension."""
    return {k: v for k, v in resource.items() if k != "extension"}


def test_a_reader_who_knows_no_extension_of_ours_reads_what_to_do() -> None:
    told = said_again.said(CRISIS)
    seen = read(foreign(told))
    (plan,) = PLAN["contingency"]
    assert [t for k in TEXTS for t in plan[k] if t not in seen] == [] and plan["advance_statement"] in seen and plan["anticipatory"][0]["item"] in seen
    assert [t for k in TEXTS for t in plan[k] if t in json.dumps(foreign(CRISIS))] == [], "which it does not say without"
    assert "Dr Asha Patel" in seen and "A relative or friend (RelatedPerson/r1)" in seen, "whom to call: by name where the plan has it, else who it is"
    assert narrative.wrong(told["text"]["div"]) == [] and narrative.active(told["text"]["div"]) == [] and told["text"]["status"] == "generated"
    assert [i for i in check(strict.read(strict.dump(told)), definitions.load_r4()) if i.severity in ("error", "fatal")] == []


def test_whoever_sees_the_crisis_plan_alone_knows_whom_of_the_team_to_ring_and_nobody_else() -> None:
    (asha,) = [m for m in PLAN["team"] if m["id"] in PLAN["contingency"][0]["who_to_contact"]]
    alone = mapping.read([CRISIS], load_tables(), homeless=False)
    things = {f"CarePlan/{CRISIS.get('id')}": ("contingency", {})}
    assert "team" not in alone.plan, "a plan that is kept is made no team"
    assert shown_plan(alone.plan, things, [CRISIS])["team"] == [{"id": asha["id"], "name": asha["name"], "phone": asha["phone"]}]
    assert f"{asha['name']}, {asha['phone']}" in read(said_again.said(CRISIS))
    known = {**alone.plan, "team": [{"id": asha["id"], "name": "Dr A", "phone": "1"}]}
    assert shown_plan(known, things, [CRISIS])["team"] == known["team"], "who sees the team reads it there"
    hidden = rendered(CRISIS, VIEW | PLACES)
    assert asha["phone"] not in json.dumps(hidden) and asha["phone"] not in read(said_again.said(hidden)), "of somebody at risk no number"
    assert shown_plan(alone.plan, things, [hidden])["team"] == [{"id": asha["id"], "name": asha["name"]}]


def test_another_number_to_ring_makes_the_paper_of_who_sees_the_crisis_plan_alone_an_old_one() -> None:
    (asha,) = [m for m in PLAN["team"] if m["id"] in PLAN["contingency"][0]["who_to_contact"]]
    kept = {"id": "c", **CRISIS}
    moved = strict.read(strict.dump(kept).replace(asha["phone"].encode(), b"01632 960999"))
    assert printing.digest([kept]) == printing.digest([dict(kept)]) != printing.digest([moved])


WORDS = st.text(st.characters(blacklist_categories=("Cs", "Cc")), min_size=1, max_size=12)


def crises() -> st.SearchStrategy[dict[str, Any]]:
    one = st.builds(lambda name, text: {"url": EXTENSIONS + name, "valueString": text}, st.sampled_from(sorted(said_again.WORDS)), WORDS)
    whom = st.sampled_from([{"reference": "RelatedPerson/r1", "display": "Leila"}, {"reference": "RelatedPerson/r1"}, {"display": "Bo"}, {"type": "Practitioner", "display": "Dr P"},
                            {"display": "Dr P", "extension": [{"url": TEAM_PHONE, "valueContactPoint": {"system": "phone", "value": "01603 555 444"}}]}])  # fmt: skip
    call = whom.map(lambda w: {"url": EXTENSIONS + "contingency-contact", "valueReference": w})
    base = {"resourceType": "CarePlan", "id": "c1", "status": "active", "intent": "plan", "subject": {"reference": "Patient/p1"}}
    return st.builds(lambda title, e: {**base, "title": title, "extension": e}, WORDS, st.lists(one | call, max_size=4))


@given(crises())
def test_what_we_said_again_is_dropped_on_its_way_back_and_nothing_else_is(crisis: dict[str, Any]) -> None:
    told = said_again.said(crisis)
    assert said_again.without(told) == crisis and said_again.said(told) is told
    assert ("text" in told) == bool(crisis["extension"])
    assert said_again.without(crisis) is crisis
    edited = {**told, "title": "Another"}
    assert "text" not in said_again.without(edited), "also where something else was changed meanwhile"


@given(crises().filter(lambda c: c["extension"]))
def test_a_server_that_takes_the_class_away_gives_back_no_words_of_its_own(crisis: dict[str, Any]) -> None:
    told = said_again.said(crisis)
    start = told["text"]["div"].index(" class=")
    bare = {**told["text"], "div": told["text"]["div"][:start] + told["text"]["div"][told["text"]["div"].index(">", start) :]}
    assert said_again.without({**told, "text": bare}) == crisis


DAUGHTER = {"resourceType": "RelatedPerson", "id": "r1", "name": [{"use": "old", "family": "Sample"}, {"given": ["Leila"], "family": "Example"}], "relationship": [{"text": "daughter"}]}


def test_a_relative_is_named_where_the_reader_sees_who_it_is_and_nowhere_else() -> None:
    assert said_again.named(DAUGHTER) == "Leila Example (daughter)"
    assert said_again.named({**DAUGHTER, "relationship": []}) == "Leila Example" and said_again.named({**DAUGHTER, "name": [{}]}) == said_again.named({**DAUGHTER, "resourceType": "Practitioner"}) == ""
    told = said_again.said(CRISIS, {"RelatedPerson/r1": "Leila Example (daughter)"})
    assert "Leila Example (daughter)" in read(told) and "RelatedPerson/r1" not in read(told)
    assert said_again.said(CRISIS, {"RelatedPerson/r2": "Somebody else"}) == said_again.said(CRISIS)
    assert said_again.without(told) == CRISIS
    bare = {**told["text"], "div": re.sub(r' class="[^"]*"', "", told["text"]["div"])}
    assert said_again.without({**told, "text": bare}) == CRISIS, "a name that was ours does not stay in the plan, where others would read it"
    more = {**bare, "div": bare["div"].replace("Press the pendant", "Ring the surgery first")}
    assert said_again.without(edited := {**told, "text": more}) is edited


def test_words_that_somebody_changed_in_it_are_theirs() -> None:
    told = said_again.said(CRISIS)
    edited = {**told, "text": {**told["text"], "div": told["text"]["div"].replace("Press the pendant", "Ring the surgery first")}}
    assert said_again.without(edited) is edited and said_again.said(edited) is edited
    own = {**CRISIS, "text": {"status": "additional", "div": told["text"]["div"]}}
    assert said_again.without(own) is own, "only what is generated is ours"


@given(crises())
def test_it_tells_a_filtered_reader_nothing_that_the_view_took_out(crisis: dict[str, Any]) -> None:
    seen = said_again.said(rendered(crisis, VIEW))
    assert "Leila" not in json.dumps(seen) or "Leila" in json.dumps(rendered(crisis, VIEW))
    assert said_again.without(seen) == rendered(crisis, VIEW)


ODD = st.sampled_from(["<", ">", "&", ";", "&#", "&#x", "1" * 5_000, "f" * 5_000, "&#" + "1" * 5_000 + ";", "&#xd800;", "\ud800", "<div", "div>", f' class="{said_again.CLASS}0123456789abcdef"'])
ANY = st.recursive(st.none() | st.integers() | st.text(max_size=8), lambda v: st.lists(v, max_size=3) | st.dictionaries(st.text(max_size=5), v, max_size=3), max_leaves=6)


@given(st.lists(ODD | st.text(max_size=8), max_size=8).map("".join), crises(), st.booleans())
def test_it_raises_on_no_narrative_at_all(odd: str, crisis: dict[str, Any], marked: bool) -> None:
    start = f'<div class="{said_again.CLASS}0123456789abcdef">' if marked else ""
    theirs = {**crisis, "text": {"status": "generated", "div": start + odd}}
    assert said_again.without(theirs) in (theirs, crisis)


@given(st.dictionaries(st.sampled_from(["title", "language", "text", "extension", "id"]), ANY), st.lists(st.dictionaries(st.sampled_from(["url", "valueString", "valueReference", "extension"]), ANY), max_size=3), st.sampled_from(sorted(said_again.TOLD)))
def test_it_raises_on_nothing_that_is_no_crisis_plan(odd: dict[str, Any], extensions: list[dict[str, Any]], name: str) -> None:
    theirs = {"resourceType": "CarePlan", "extension": [{**e, "url": EXTENSIONS + name} for e in extensions], **odd, "text": {"status": "generated", "div": "<div>longer than any text here</div>"}}
    assert said_again.without(theirs) is theirs
    said_again.said({k: v for k, v in theirs.items() if k != "text"})


@pytest.mark.parametrize("reference", ["&#" + "1" * 5_000 + ";", "&#x" + "1" * 5_000 + ";", "&#00000065;"])
def test_a_reference_to_no_character_makes_a_narrative_theirs(reference: str) -> None:
    told = said_again.said(CRISIS)
    theirs = {**told, "text": {**told["text"], "div": told["text"]["div"].replace("</div>", f"{reference}</div>")}}
    assert said_again.without(theirs) is theirs
    spelt = {**told, "text": {**told["text"], "div": told["text"]["div"].replace("Press", "&#80;ress").replace("pendant", "&#x70;endant")}}
    assert spelt != told and said_again.without(spelt) == CRISIS, "a character may be written as a reference"


def of(characters: int, **more: Any) -> dict[str, Any]:
    step = {"url": f"{EXTENSIONS}contingency-step", "valueString": "a" * characters}
    return {"resourceType": "CarePlan", "status": "active", "intent": "plan", "extension": [step], **more}


def test_what_would_be_long_is_not_said_again_and_a_long_narrative_is_not_ours() -> None:
    assert "text" in said_again.said(of(said_again.MOST - 1_000))
    assert said_again.said(longer := of(said_again.MOST)) is longer
    quotes = of(1)
    quotes["extension"][0]["valueString"] = '"' * (said_again.MOST // 2)
    assert said_again.said(quotes) is quotes, "as it is written in the narrative"
    told = said_again.said(CRISIS)
    spaced = {**told, "text": {**told["text"], "div": told["text"]["div"].replace("</div>", " " * said_again.MOST_READ + "</div>")}}
    assert said_again.without(spaced) is spaced


def test_labels_are_marked_as_english_and_what_the_person_wrote_as_theirs() -> None:
    call = {"url": f"{EXTENSIONS}contingency-contact", "valueReference": {"reference": "RelatedPerson/r1"}}
    welsh = of(3, title="Os af yn waeth", language="cy")
    div = said_again.said({**welsh, "extension": [*welsh["extension"], call]})["text"]["div"]
    assert div.startswith('<div xmlns="http://www.w3.org/1999/xhtml" lang="en" xml:lang="en" class=')
    assert '<b lang="cy" xml:lang="cy">Os af yn waeth</b>' in div and '<dd lang="cy" xml:lang="cy">aaa</dd>' in div
    assert "<dt>What should happen</dt>" in div and "<dd>A relative or friend (RelatedPerson/r1)</dd>" in div, "words of ours are English"
    assert narrative.wrong(div) == []
    for language in ("en", "en-GB", None, '"><script>', "x" * 100_000):
        assert ' lang="' not in said_again.said(of(3, title="If I fall", language=language))["text"]["div"].split(">", 1)[1]


# -- over HTTP --------------------------------------------------------------------------------------------------------


@pytest.fixture
def crisis(demo: Gateway) -> str:
    found = [e["resource"] for e in demo.get("patient", f"CarePlan?patient={demo.patient}&_count=50").json()["entry"]]
    return next(f"CarePlan/{r['id']}" for r in found if r.get("title") == "If I fall or cannot get up")


def test_everybody_who_reads_the_crisis_plan_reads_it_as_text_and_hands_it_back_unchanged(demo: Gateway, crisis: str) -> None:
    for who in ("patient", "gp"):
        answer = demo.get(who, crisis)
        body = answer.json()
        assert "Press the pendant" in read(foreign(body)) and "Wet leaves on the path" in read(foreign(body))
        assert said_again.without(body) != body
        put = demo.call(who, "PUT", crisis, body=body, headers={"If-Match": answer.headers["etag"]})
        assert put.status_code == 200 and put.headers["etag"] == answer.headers["etag"], "nothing was changed"
        (entry,) = demo.get(who, f"CarePlan?_id={crisis.split('/')[1]}").json()["entry"]
        assert entry["resource"]["text"] == body["text"] == demo.get(who, f"{crisis}/_history/{body['meta']['versionId']}").json()["text"]
    assert "text" not in demo.get("gp", f"{crisis}?_summary=data").json()
    plan = demo.get("patient", f"CarePlan/{crisis.split('/')[1]}/$document").text
    assert plan.count("said-again-") == 1


def test_a_document_names_the_relatives_who_are_in_it(demo: Gateway, crisis: str) -> None:
    for who in ("patient", "gp"):
        found = [e["resource"] for e in demo.get(who, f"CarePlan?patient={demo.patient}&_count=50").json()["entry"]]
        (main,) = (r["id"] for r in found if is_main(r))
        entries = [e["resource"] for e in demo.get(who, f"CarePlan/{main}/$document").json()["entry"]]
        kin = {f"RelatedPerson/{r['id']}" for r in entries if r["resourceType"] == "RelatedPerson"}
        text = read(next(r for r in entries if f"{r['resourceType']}/{r.get('id')}" == crisis))
        assert kin and "Leila Example (daughter)" in text and [k for k in kin if k in text] == []
    assert "A relative or friend (RelatedPerson/" in read(demo.get("gp", crisis).json()), "the plan alone names nobody"


def test_an_edit_of_the_plan_is_said_again_as_it_is_now(demo: Gateway, crisis: str) -> None:
    answer = demo.get("gp", crisis)
    step = {"url": f"{EXTENSIONS}contingency-step", "valueString": "Open the door to the ambulance"}
    body = {**answer.json(), "extension": [*answer.json()["extension"], step]}
    put = demo.call("gp", "PUT", crisis, body=body, headers={"If-Match": answer.headers["etag"]})
    assert put.status_code == 200, put.text
    for who in ("gp", "patient"):
        assert "Open the door to the ambulance" in read(demo.get(who, crisis).json())
    back = demo.call("patient", "PUT", crisis, body=answer.json(), headers={"If-Match": put.headers["etag"]})
    assert back.status_code == 200 and "Open the door" not in demo.get("gp", crisis).text, "an old copy brings no old text back"
