"""Readings by text message: what is one, what is kept of it, and what is refused; at the demo, as the hospital's system passes them on."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from fhir_gateway.definitions import load_r4
from fhir_gateway.domain.problem import Problem
from fhir_gateway.domain.readings import ADVICE, KINDS, observations, read
from fhir_gateway.domain.validate import check

from .conftest import Gateway

R4 = load_r4()
AT = "2026-11-20T08:00:00Z"


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("BP 141 80", ("141", "80")), (" bp 141/80 ", ("141", "80")), ("BP141/80", ("141", "80")), ("Bp: 141 over 80", ("141", "80")), ("bp 141over80", ("141", "80")), ("BP 141/80 mmHg.", ("141", "80")),
        ("Weight 70.50", ("70.50",)), ("WEIGHT 70.5kg", ("70.5",)), ("TEMP 36.8", ("36.8",)), ("Temp 36.8 °C", ("36.8",)), ("SATS 94%", ("94",)), ("sats94 %", ("94",)), ("PULSE 72bpm", ("72",)),
    ],
)  # fmt: skip
def test_a_reading_is_read_as_people_type_it(text: str, numbers: tuple[str, ...]) -> None:
    said = read(text)
    assert [n for _kind, n in said.readings] == [numbers] and not said.words


@pytest.mark.parametrize(
    ("text", "readings", "words"),
    [
        ("Bp 141 80 pulse 70", [("BP", ("141", "80")), ("PULSE", ("70",))], ""), ("BP 141/80, PULSE 72, SATS 94%", [("BP", ("141", "80")), ("PULSE", ("72",)), ("SATS", ("94",))], ""),
        ("BP 141 80, feel awful chest pain", [("BP", ("141", "80"))], "feel awful chest pain"), ("PULSE 72 not so good\nSATS 94. Tired.", [("PULSE", ("72",)), ("SATS", ("94",))], "not so good Tired"),
        ("WEIGHT 70, no appetite", [("WEIGHT", ("70",))], "no appetite"),
    ],
)  # fmt: skip
def test_several_readings_and_words_beside_them_are_told_apart(text: str, readings: list[Any], words: str) -> None:
    said = read(text)
    assert [(KINDS[name], numbers) for name, numbers in readings] == list(said.readings) and said.words == words


@pytest.mark.parametrize("text", ["WEIGHT 154 lb", "WEIGHT 154lb", "WEIGHT 11st 4", "WEIGHT 11 stone", "WEIGHT 11, stone", "WEIGHT 70,5", "TEMP 38 F", "TEMP 38 or so", "BP 141 80 took 2 tablets", "BP 141 80 PULSE", "BP 141/80/70",
                                  "BP 1411 80", "TEMP 36.888", "BP 18.7 10.1 kPa", "BP 141 80\x00x", "BP 141 80 pulse 700", "I fell, BP 141 80"])  # fmt: skip
def test_a_number_that_may_be_another_is_not_guessed(text: str) -> None:
    with pytest.raises(Problem) as refused:
        read(text)
    assert refused.value.text.endswith(ADVICE) and len(refused.value.text) < 300


@pytest.mark.parametrize("text", ["", "BP", "BP 141", "BP 141 80 70", "BP 800 80", "BP 80 141", "BP 120 120", "BP -141 80", "BP 1e2 80", "BP ١٤١ 80", "HELLO", "TEMP 36,8 x", "SATS 94" + " " * 160, "BP\x00141 80"])
def test_what_is_no_reading_is_told_what_would_be(text: str) -> None:
    with pytest.raises(Problem) as refused:
        read(text)
    assert refused.value.kind == "invalid" and refused.value.where == "text" and len(refused.value.text) < 300


@given(st.sampled_from(sorted(KINDS)), st.data())
def test_every_reading_becomes_a_right_observation_with_its_decimals(name: str, data: st.DataObject) -> None:
    kind = KINDS[name]
    numbers = sorted([data.draw(st.decimals(p.least, min(p.most, 999), places=data.draw(st.integers(0, 2)))) for p in kind.parts], reverse=True)
    assume(len(set(numbers)) == len(numbers) and all(p.least <= n <= p.most for n, p in zip(numbers, kind.parts, strict=True)))
    text = f"{name} {' '.join(map(str, numbers))}"
    (made,) = observations(read(text), text, "Patient/p", AT, ("urn:x", "1"))
    assert not [i for i in check({"id": "o", **made}, R4) if i.severity in ("error", "fatal")]
    parts = made.get("component") or [made]
    assert [str(p["valueQuantity"]["value"]) for p in parts] == [str(n) for n in numbers]


def sent(demo: Gateway, who: str | None, **said: Any) -> Any:
    return demo.call(who, "POST", "/readings/sms", raw=json.dumps({"patient": demo.patient, "text": "BP 141 80"} | said).encode(), headers={"Content-Type": "application/json"})


def test_it_is_kept_once_with_where_it_came_from(demo: Gateway) -> None:
    first = sent(demo, "hospital", at=AT, message="sms-1")
    assert first.status_code == 201, first.text
    again = sent(demo, "hospital", at=AT, message="sms-1")
    assert (again.status_code, again.json()) == (200, first.json())
    other = sent(demo, "hospital", text="BP 190 110", at=AT, message="sms-1")
    assert other.status_code == 422 and "give each text message its own" in other.text, "another reading under its name is not lost without a word"
    kept = json.loads(demo.get("patient", first.json()["kept"]).content, parse_float=Decimal)
    assert [c["valueQuantity"]["value"] for c in kept["component"]] == [141, 80] and kept["note"][0]["text"] == "BP 141 80"
    assert kept["effectiveDateTime"] == AT
    found = [e["resource"] for e in demo.get("patient", f"Provenance?target={first.json()['kept']}").json()["entry"]]
    (whence,) = [w for w in found if w.get("activity") == {"text": "Sent in by text message"}]
    assert whence["agent"][0]["who"]["reference"] == f"Patient/{demo.patient}"
    assert demo.get("gp", first.json()["kept"]).status_code == 200 and demo.get("link-worker", first.json()["kept"]).status_code == 404


def test_several_readings_of_a_message_are_kept_together_and_once_and_the_words_with_them(demo: Gateway) -> None:
    text = "BP 141 over 80 pulse 70, feel awful chest pain"
    first = sent(demo, "hospital", text=text, at=AT, message="sms-20")
    assert first.status_code == 201, first.text
    answer = first.json()
    kept = [demo.get("patient", ref).json() for ref in (answer["kept"], *answer["also"])]
    assert [o["code"]["coding"][0]["code"] for o in kept] == ["85354-9", "8867-4"] and kept[1]["valueQuantity"]["value"] == 70
    assert all(o["note"][0]["text"] == text and o["effectiveDateTime"] == AT for o in kept), "who may see the reading sees what else they wrote"
    assert "feel awful chest pain" in answer["said"] and "nobody is asked to read it" in answer["said"] and answer["said"].endswith(ADVICE)
    again = sent(demo, "hospital", text=text, at=AT, message="sms-20")
    assert (again.status_code, again.json()) == (200, answer)
    for ref in (answer["kept"], *answer["also"]):
        assert [w["activity"]["text"] for w in (e["resource"] for e in demo.get("patient", f"Provenance?target={ref}").json()["entry"]) if "text" in w.get("activity", {})] == ["Sent in by text message"]
    refused = sent(demo, "hospital", text="I feel awful, chest pain", message="sms-21")
    assert refused.status_code == 422 and ADVICE in refused.text


def test_nobody_takes_anothers_name_of_a_message_first(demo: Gateway) -> None:
    """An identifier may be written by anybody who adds to the record; which message came is known by who sent it."""
    first = sent(demo, "hospital", message="sms-7").json()["kept"]
    (name,) = demo.get("patient", first).json()["identifier"]
    real = {**demo.get("patient", first).json(), "identifier": [{**name, "value": name["value"].replace("sms-7", "sms-8")}], "note": [{"text": "BP 120 70"}]}
    del real["id"], real["meta"]
    for who in ("gp", "patient"):
        assert demo.call(who, "POST", "Observation", body=real).status_code == 201
    kept = sent(demo, "hospital", text="BP 190 110", message="sms-8")
    assert kept.status_code == 201, kept.text
    values = [c["valueQuantity"]["value"] for c in demo.get("patient", kept.json()["kept"]).json()["component"]]
    assert values == [190, 110], "the reading that somebody sent is kept"
    assert sent(demo, "hospital", text="BP 190 110", message="sms-8").json() == kept.json()
    assert sent(demo, "gp", text="BP 120 70", message="sms-8").status_code == 201, "each sender has their own names"


@pytest.mark.parametrize(
    ("who", "said", "status"),
    [
        (None, {}, 401), ("stranger", {}, 422), ("link-worker", {}, 422), ("hospital", {"text": "BP 141"}, 422), ("hospital", {"patient": "0198c0de-0000-7000-8000-000000000000"}, 422),
        ("hospital", {"patient": "../Patient"}, 422), ("hospital", {"at": "yesterday"}, 422), ("hospital", {"at": "2999-01-01T00:00:00Z"}, 422), ("hospital", {"at": "1900-01-01T00:00:00Z"}, 422), ("hospital", {"text": 141}, 400), ("hospital", {"phone": "07700 900123"}, 400),
        ("hospital", {"message": "x" * 101}, 422),
    ],
)  # fmt: skip
def test_what_is_refused_keeps_nothing_and_says_nothing_of_others(demo: Gateway, who: str | None, said: dict[str, Any], status: int) -> None:
    before = demo.get("patient", f"Observation?patient={demo.patient}").json()["total"]
    answer = sent(demo, who, **said)
    assert answer.status_code == status, answer.text
    assert "Amina" not in answer.text
    assert demo.get("patient", f"Observation?patient={demo.patient}").json()["total"] == before
