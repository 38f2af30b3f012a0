"""HL7 v2 ADT from hospitals: what a message means (golden messages), the right person or nobody, who is told, the acknowledgement, the dropped file."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx2
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fhir_gateway.around import adt as around
from fhir_gateway.commands import bringing, messages
from fhir_gateway.definitions import load_r4
from fhir_gateway.domain import adt, er7, landing
from fhir_gateway.domain.problem import Problem
from fhir_gateway.domain.validate import check
from fhir_gateway.settings import Refused

from .conftest import Gateway, times
from .staff import consent, permit, system
from .staff import given as giving

CASES = Path(__file__).parent / "cases" / "adt"
NAMES = sorted(f.stem for f in CASES.glob("*.hl7"))
OURS = "https://fhir-gateway.example"
R4 = load_r4()
AT = datetime(2026, 11, 26, 9, 0, tzinfo=UTC)


def sent(name: str, ending: str = "\r", **fields: str) -> bytes:
    """A golden message as it goes over the line; `PID_7="1950"` puts that in a field."""
    lines = [line for line in (CASES / f"{name}.hl7").read_text().split("\n") if line]
    for place, value in fields.items():
        segment, number = place.split("_")
        at = next(n for n, line in enumerate(lines) if line.startswith(segment))
        parts = lines[at].split("|")
        index = int(number) - (segment == "MSH")
        parts += [""] * (index + 1 - len(parts))
        parts[index] = value
        lines[at] = "|".join(parts)
    text = ending.join(lines) + ending
    return text.encode("cp1252" if "|8859/1" in text else "utf-8", "replace")


def segments(ack: bytes) -> dict[str, list[str]]:
    """The segments of an acknowledgement by name (of several the last), fields by their numbers."""
    return {line[:3]: ["", *line.split("|")] if line.startswith("MSH") else line.split("|") for line in ack.decode().split("\r") if line}


# -- what a message means ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_a_golden_message_makes_this(name: str) -> None:
    message = er7.read(sent(name))
    said: dict[str, Any] = {"event": adt.event(message), "person": adt.person(message)}
    if message.event == adt.MERGE:
        (pair,) = adt.pairs(message)
        said |= {"person": pair.kept, "former": pair.gone}
    else:
        said["stay"] = adt.stay(message, "Patient/amina", "Organization/rx9", "trust", None)
        said["otherwise"] = [[o.what, o.theirs] for o in adt.otherwise(message, {"name": [{"given": ["Amina"]}], "gender": "male"})]
    said["lands"] = {row["path"]: row["to"] for row in landing.rows(message)}
    assert said == json.loads((CASES / f"{name}.json").read_text())


def test_there_are_golden_messages_for_every_event() -> None:
    assert {er7.read(sent(n)).event for n in NAMES} == set(adt.EVENTS)
    assert {f.stem for f in CASES.glob("*.json")} == set(NAMES)


# -- what lands where -------------------------------------------------------------------------------------------------


def comes_to(message: er7.Message) -> list[Any]:
    other = adt.otherwise(message, {"name": [{"given": ["somebody else"]}], "gender": "-"})
    if message.event == adt.MERGE:
        return list(adt.pairs(message))
    return [adt.person(message), adt.stay(message, "Patient/a", "Organization/h", "client", None), [(o.what, o.theirs) for o in other]]


@settings(deadline=None, max_examples=60)
@given(st.sampled_from(NAMES), st.text("xyzß é", max_size=6), st.data())
def test_what_is_said_to_have_no_home_changes_nothing(name: str, text: str, data: st.DataObject) -> None:
    message = er7.read(sent(name))
    homes = {row["path"]: row["to"] for row in landing.rows(message)}
    path, change = data.draw(st.sampled_from([(p, c) for p, c in landing.fields(message) if not homes[p]]))
    assert comes_to(change(lambda _said: text)) == comes_to(message), path


@pytest.mark.parametrize("name", NAMES)
def test_every_field_of_a_message_is_named_once_and_has_a_home_or_a_reason(name: str) -> None:
    message = er7.read(sent(name))
    rows = landing.rows(message)
    lines = [line.split(message.marks[0])[2 if line.startswith("MSH") else 1 :] for line in message.source.split("\r")]
    texts = [t for line in lines for field in line for t in re.split(f"[{re.escape(message.marks[1] + message.marks[2] + message.marks[4])}]", field) if t]
    assert len({row["path"] for row in rows}) == len(rows) == len(texts)
    assert all(row["why"] or row["to"].startswith("Encounter.") for row in rows)
    assert [row["path"] for row in rows if row["path"].startswith(("DG1", "NK1", "AL1", "Z")) and row["to"]] == []


def test_map_takes_messages_as_files_and_stores_nothing(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = tmp_path / "two.hl7"
    file.write_bytes(sent("a03-home") + sent("a40-merge"))
    assert bringing.to_fhir(file, None, dry_run=True) == 0
    rows = {row["path"]: row for row in map(json.loads, capsys.readouterr().out.splitlines())}
    assert rows["message 1: PV1-45"]["to"] == "Encounter.period.end" and rows["message 2: MRG-7.1"]["to"] == "former Patient.name.family"
    assert "9990000018" not in str(rows) and "Amina" not in str(rows), "places, and nobody's data"
    assert bringing.to_fhir(file, None, dry_run=False) == 0
    stay, merge = map(json.loads, capsys.readouterr().out.splitlines())
    (entry,) = stay["entry"]
    assert entry["resource"]["status"] == "finished" and entry["resource"]["subject"]["identifier"]["value"] == "9990000018" and "entry" not in merge
    assert not [i for i in check({"id": "e", **entry["resource"]}, R4) if i.severity == "error"]
    file.write_bytes(sent("a03-home") + sent("a40-merge", MSH_9="ADT^A02"))
    with pytest.raises(Refused, match=r"two\.hl7, message 2, MSH\^1\^9\^1\^2: `A02` is not taken here"):
        bringing.to_fhir(file, None, dry_run=True)


@pytest.mark.parametrize("ending", ["\r", "\n", "\r\n"])
@pytest.mark.parametrize("frame", [b"%s", b"\x0b%s\x1c\r", b"\xef\xbb\xbf%s\n\n"])
def test_line_ends_and_framing_make_no_difference(ending: str, frame: bytes) -> None:
    assert er7.read(frame % sent("a08-moved-ward", ending)).segments == er7.read(sent("a08-moved-ward")).segments


def test_separators_are_those_that_the_message_says() -> None:
    other = sent("a08-moved-ward").decode().replace("\\T\\", "@T@").translate(str.maketrans({"|": "#", "^": "*", "~": "!", "&": "%", "\\": "@"}))
    plain, odd = er7.read(sent("a08-moved-ward")), er7.read(other.encode())
    assert odd.text("PV1", 3, 9) == "Rehabilitation % Recovery" and odd.text("PID", 5, 2) == plain.text("PID", 5, 2) == "Amina"


@pytest.mark.parametrize("field", ["EVN_2", "EVN_6", "MSH_7", "PV1_44", "PV1_45", "PID_29"])
def test_what_is_yet_to_come_is_not_told_as_what_was(field: str) -> None:
    segment, number = field.split("_")
    adt.in_time(er7.read(sent("a03-home", EVN_2="20261127060000", PV1_45="20261127")), AT)  # a clock that is ahead by less than a day
    with pytest.raises(Problem, match="yet to come") as found:
        adt.in_time(er7.read(sent("a03-home", **{field: "20990101120000"})), AT)
    assert (found.value.where, found.value.kind) == (f"{segment}^1^{number}", "invalid")


def test_a_stay_that_is_planned_may_begin_when_it_likes() -> None:
    adt.in_time(er7.read(sent("a08-moved-ward", PV1_2="P", PV1_44="20270301")), AT)
    with pytest.raises(Problem, match="PV1-44 says 2027-03-01, which is yet to come"):
        adt.in_time(er7.read(sent("a08-moved-ward", PV1_2="I", PV1_44="20270301")), AT)


GROUP = "PID|{0}||{1}^^^NHS||Example^Amina||19510407\r{2}"
MERGED = "MRG|9990000026^^^NHS||||||Exampel\r"


@pytest.mark.parametrize(
    "groups, where",
    [
        ([MERGED], "MRG^1"),
        ([GROUP.format(1, "9990000018", "")], "PID^1"),
        ([GROUP.format(1, "9990000018", MERGED), GROUP.format(2, "9990000034", "")], "PID^2"),
        ([GROUP.format(1, "9990000018", MERGED), MERGED], "MRG^2"),
        ([GROUP.format(1, "9990000018", MERGED), GROUP.format(2, "99900", MERGED)], "PID^2^3"),
        ([GROUP.format(1, "9990000018", MERGED)] * 51, "PID^51"),
    ],
)
def test_a_merge_whose_segments_make_no_pairs_is_refused_by_the_segment(groups: list[str], where: str) -> None:
    with pytest.raises(Problem) as found:
        adt.pairs(er7.read(("MSH|^~\\&|PAS|RX9|||20261123||ADT^A40|1|P|2.4\rEVN|A40\r" + "".join(groups)).encode()))
    assert (found.value.where, found.value.kind) == (where, "invalid")


def test_what_is_not_said_stays_as_it_was_and_what_ended_stays_ended() -> None:
    first = adt.stay(er7.read(sent("a01-emergency-admission")), "Patient/a", "Organization/h", "trust", None)
    moved = adt.stay(er7.read(sent("a08-moved-ward")), "Patient/a", "Organization/h", "trust", first)
    assert moved["period"] == first["period"] and moved["participant"] == first["participant"] and moved["location"] != first["location"]
    over = adt.stay(er7.read(sent("a03-home")), "Patient/a", "Organization/h", "trust", moved)
    assert over["status"] == "finished" and over["period"] == {"start": "2026-11-20T09:59:00Z", "end": "2026-11-26T14:15:00Z"}
    late = adt.stay(er7.read(sent("a08-moved-ward")), "Patient/a", "Organization/h", "trust", over)
    assert late == over  # it was recorded before the stay ended, and comes after
    after = adt.stay(er7.read(sent("a08-moved-ward", EVN_2="20261127")), "Patient/a", "Organization/h", "trust", over)
    assert after["status"] == "finished" and after["period"] == over["period"] and after["location"][0]["status"] == "completed"
    null = adt.stay(er7.read(sent("a08-moved-ward", PV1_3='""')), "Patient/a", "Organization/h", "trust", moved)
    assert null["location"] == moved["location"]


def test_a_discharge_that_is_cancelled_before_its_time_or_after_it_is_none() -> None:
    first = adt.stay(er7.read(sent("a01-emergency-admission")), "Patient/a", "Organization/h", "trust", None)
    over = adt.stay(er7.read(sent("a03-home")), "Patient/a", "Organization/h", "trust", first)
    for when in ("20261126140000", "20261126160430"):
        back = adt.stay(er7.read(sent("a13-cancelled-discharge", EVN_2=when)), "Patient/a", "Organization/h", "trust", over)
        assert back["status"] == "in-progress" and back["period"] == first["period"] and "dischargeDisposition" not in back["hospitalization"]
        assert back["location"][0]["status"] == "active" and adt.turns(back) == 1
    again = adt.stay(er7.read(sent("a03-home")), "Patient/a", "Organization/h", "trust", back)
    assert again == back, "what was recorded before the cancellation comes too late"
    older = adt.stay(er7.read(sent("a13-cancelled-discharge", EVN_2="20261126140000", PV1_45="")), "Patient/a", "Organization/h", "trust", over)
    assert older == over, "it cancelled another discharge"
    called_off = adt.stay(er7.read(sent("a11-cancelled-admission")), "Patient/a", "Organization/h", "trust", first)
    moved = adt.stay(er7.read(sent("a08-moved-ward", EVN_2="20261127")), "Patient/a", "Organization/h", "trust", called_off)
    assert called_off["status"] == moved["status"] == "cancelled" and not [i for i in check({"id": "e", **called_off}, R4) if i.severity == "error"]
    assert not [i for i in check({"id": "e", **back}, R4) if i.severity == "error"]
    left_too = adt.stay(er7.read(sent("a11-cancelled-admission", EVN_2="20261127")), "Patient/a", "Organization/h", "trust", over)
    for off in (called_off, left_too):
        still = adt.stay(er7.read(sent("a13-cancelled-discharge", EVN_2="20261128", PV1_45="")), "Patient/a", "Organization/h", "trust", off)
        assert still == off and still["status"] == "cancelled", "there is no discharge to cancel of an admission that was none"


def test_an_admission_that_comes_after_its_discharge_says_when_it_was() -> None:
    over = adt.stay(er7.read(sent("a03-home", PV1_44="")), "Patient/a", "Organization/h", "trust", None)
    assert over["period"] == {"end": "2026-11-26T14:15:00Z"}
    late = adt.stay(er7.read(sent("a01-emergency-admission")), "Patient/a", "Organization/h", "trust", over)
    assert late == {**over, "period": {"start": "2026-11-20T09:59:00Z", **over["period"]}}
    for never in ({"EVN_6": "20261125", "PV1_44": "20261127"}, {"MSH_9": "ADT^A08"}):
        assert adt.stay(er7.read(sent("a01-emergency-admission", **never)), "Patient/a", "Organization/h", "trust", over) == over


@pytest.mark.parametrize(
    "field, value, place, condition, kind",
    [
        ("MSH_9", "ORU^R01", "MSH^1^9", "200", "bad-request"),
        ("MSH_9", "ADT^A02", "MSH^1^9^1^2", "201", "bad-request"),
        ("MSH_11", "T", "MSH^1^11", "202", "bad-request"),
        ("MSH_12", "3.0", "MSH^1^12", "203", "bad-request"),
        ("MSH_10", "", "MSH^1^10", "101", "bad-request"),
        ("MSH_18", "BIG-5", "MSH^1^18", "103", "malformed"),
        ("MSH_2", "^^^^", "MSH^1^2", "102", "malformed"),
        ("PV1_19", "", "PV1^1^19", "101", "invalid"),
        ("PV1_44", "20261301", "PV1^1^44", "102", "invalid"),
        ("PV1_45", "20250101", "PV1^1^45", "102", "invalid"),
        ("PID_7", "7 April", "PID^1^7", "102", "invalid"),
        ("PID_3", "99900^^^NHS^NHS", "PID^1^3", "102", "invalid"),
        ("PID_3", "9990000018^^^NHS~9990000026^^^NHS", "PID^1^3", "102", "conflict"),
        ("PID_3", "9990000081^^^NHS^NHS", "PID^1^3", "102", "invalid"),
        ("PV1_45", "20990101\rPID|2||9990000026^^^NHS", "PID^2", "100", "invalid"),
        ("PV1_45", "20261120\rPV1|2|I", "PV1^2", "100", "invalid"),
    ],
)
def test_what_is_wrong_is_named_by_segment_and_field(field: str, value: str, place: str, condition: str, kind: str) -> None:
    with pytest.raises(Problem) as found:
        message = er7.read(sent("a01-emergency-admission", **{field: value}))
        adt.event(message)
        adt.person(message)
        adt.stay(message, "Patient/a", None, "trust", None)
    p = found.value
    assert (p.where, p.issues[0].key, p.kind) == (place, condition, kind)
    err = segments(er7.ack(None, "AE", p.issues, AT, "1"))["ERR"]
    assert err[2] == place and err[3].startswith(f"{condition}^") and err[4] == "E" and err[8]


def test_a_text_of_ours_comes_back_from_an_acknowledgement_as_it_was() -> None:
    issue = er7.wrong("a|b^c~d&e\\f\rg", "PID^1^7").issues[0]
    ack = er7.read(er7.ack(er7.read(sent("a03-home")), "AE", [issue], AT, "n1"))
    assert ack.text("ERR", 8) == "a|b^c~d&e\\f g" and ack.text("MSA", 2) == "RX900012399" and ack.text("MSH", 5) == "PAS"


@settings(max_examples=times(60), deadline=None)
@given(st.text(max_size=60))
def test_any_text_passes_through_an_escape_and_back(text: str) -> None:
    assert er7.unescaped(er7.escaped(text)) == er7._CONTROL.sub(" ", text.replace("\r", " ").replace("\n", " "))


PIECES = st.sampled_from([b"MSH|^~\\&|", b"PID|", b"PV1|", b"|", b"^", b"~", b"&", b"\\", b"\\X4", b"\\.sp9999999999\\", b"\r", b"\x0b", b"9990000018^^^NHS", b"ADT^A01", b'""', b"\xff"])


@settings(max_examples=times(60), deadline=None)
@given(st.lists(PIECES | st.binary(max_size=12), max_size=30).map(b"".join), st.sampled_from([b"", b"MSH|^~\\&|A|B|||2026||ADT^A01|1|P|2.4\r", b"MSH"]))
def test_no_bytes_break_the_reader(tail: bytes, head: bytes) -> None:
    """Whatever comes is a message or a Problem, and each has an acknowledgement that can be read."""
    message = None
    try:
        message = er7.read(head + tail)
        adt.event(message)
        adt.person(message)
        adt.stay(message, "Patient/a", None, "trust", None)
    except Problem as p:
        assert p.status < 500
        er7.read(er7.ack(message, "AE", p.issues, AT, "1"))


# -- over HTTP, to the demo -------------------------------------------------------------------------------------------


def send(demo: Gateway, raw: bytes, who: str | None = "hospital", media: str = "x-application/hl7-v2+er7") -> httpx2.Response:
    return demo.call(who, "POST", "/hl7v2", raw=raw, headers={"Content-Type": media})


def acked(response: httpx2.Response) -> tuple[int, str, str]:
    """(status, MSA-1, MSA-2)."""
    msa = segments(response.content)["MSA"]
    return response.status_code, msa[1], msa[2]


def found(demo: Gateway, who: str, search: str) -> list[dict[str, Any]]:
    return [e["resource"] for e in demo.get(who, search).json().get("entry", [])]


def stays(demo: Gateway, number: str, who: str = "patient") -> list[dict[str, Any]]:
    return [e for e in found(demo, who, f"Encounter?patient={demo.patient}") if e["identifier"][0]["value"] == number]


def notices(demo: Gateway, code: str, who: str = "patient") -> list[dict[str, Any]]:
    return found(demo, who, f"Task?patient={demo.patient}&code=https://fhir-gateway.example/CodeSystem/task|{code}")


def waiting(demo: Gateway) -> float:
    """How many messages wait in the inbox."""
    (line,) = [t for t in demo.get(None, "/metrics").text.splitlines() if t.startswith("gateway_inbox_waiting ")]
    return float(line.split()[1])


def test_a_stay_from_admission_to_discharge_and_who_is_told(demo: Gateway) -> None:
    rosa = demo.persona("link-worker")["fhirUser"]
    with giving(demo, consent(demo.patient, permit(rosa))):
        response = send(demo, sent("a01-emergency-admission"))
        assert acked(response) == (200, "AA", "RX900012345") and response.headers["content-type"] == "x-application/hl7-v2+er7; charset=utf-8"
        (stay,) = stays(demo, "V00098765")
        assert stay["status"] == "in-progress" and stay["subject"]["reference"] == f"Patient/{demo.patient}"
        (told,) = notices(demo, "hospital-admission", "link-worker")
        assert told["focus"]["reference"] == f"Encounter/{stay['id']}" and told["owner"]["reference"] == rosa and "Lavender" not in json.dumps(told)
        assert told["description"] == "Went into hospital: Example General Hospital, 20 Nov 2026, 09:59."
        assert acked(send(demo, sent("a08-moved-ward"))) == (200, "AA", "RX900012377")
        (moved,) = stays(demo, "V00098765")
        assert moved["location"][0]["location"]["display"].startswith("Rehabilitation & Recovery") and moved["period"] == stay["period"]
        assert acked(send(demo, sent("a03-home"))) == (200, "AA", "RX900012399")
        (over,) = stays(demo, "V00098765")
        assert over["status"] == "finished" and over["hospitalization"]["dischargeDisposition"]["coding"][0]["code"] == "home"
        assert [t["description"] for t in notices(demo, "hospital-discharge", "link-worker")] == ["Left hospital: Example General Hospital, 26 Nov 2026, 14:15."]
        # the hospital's other details are proposed to her, and her record is as she wrote it
        (ask,) = notices(demo, "check-details")
        assert {i["type"]["text"]: i["valueString"] for i in ask["input"]} == {"address": "7 Other Street, Flat 2, Leeds, LS1 4AP", "telephone": "01632 960777"}
        assert "Leeds" not in demo.get("patient", f"Patient/{demo.patient}").text and not notices(demo, "check-details", "stranger")
        # a name of its own each, or sent again: nothing more comes of it
        for raw in (sent("a01-emergency-admission"), sent("a08-moved-ward", MSH_7="20261122100000", MSH_10="another"), sent("a03-home", "\n", MSH_10="a-third")):
            assert acked(send(demo, raw))[:2] == (200, "AA")
        assert stays(demo, "V00098765") == [over] and len(notices(demo, "check-details")) == 1
        assert [len(notices(demo, c)) for c in ("hospital-admission", "hospital-discharge")] == [1, 1]
    assert not notices(demo, "hospital-admission", "stranger")


def test_an_admission_and_a_discharge_that_are_cancelled_and_who_is_told(demo: Gateway) -> None:
    def of(name: str, number: str, **fields: str) -> tuple[tuple[int, str, str], list[dict[str, Any]]]:
        answer = send(demo, sent(name, PV1_19="V11^^^RX9^VN", MSH_10=number, **fields))
        return acked(answer), stays(demo, "V11")

    def told(code: str) -> list[str]:
        return [t["description"] for t in notices(demo, code, "link-worker") if t["focus"]["reference"] == f"Encounter/{stay['id']}"]

    with giving(demo, consent(demo.patient, permit(demo.persona("link-worker")["fhirUser"]))):
        assert of("a11-cancelled-admission", "c0") == ((200, "AA", "c0"), []), "of a stay that nobody told of nothing is written"
        _, (stay,) = of("a01-emergency-admission", "c1")
        _, (now,) = of("a11-cancelled-admission", "c2")
        assert now["status"] == "cancelled" and now["id"] == stay["id"] and now["statusHistory"][0]["status"] == "in-progress"
        assert told("hospital-admission-cancelled") == ["Did not go into hospital after all: Example General Hospital."]
        assert of("a01-emergency-admission", "c3")[1] == [now], "an admission that was recorded before comes too late"
        _, (now,) = of("a01-emergency-admission", "c4", EVN_2="20261120120000")
        assert now["status"] == "in-progress" and len(told("hospital-admission")) == 2, "she is told again"
        _, (now,) = of("a03-home", "c5")
        assert now["status"] == "finished"
        _, (now,) = of("a13-cancelled-discharge", "c6")
        assert now["status"] == "in-progress" and "end" not in now["period"] and "dischargeDisposition" not in json.dumps(now)
        assert told("hospital-discharge-cancelled") == ["Did not leave hospital after all: Example General Hospital."]
        assert of("a13-cancelled-discharge", "c7")[1] == [now] and len(told("hospital-discharge-cancelled")) == 1
        _, (now,) = of("a03-home", "c8", EVN_2="20261127100000", PV1_45="20261127093000")
        assert now["status"] == "finished" and len(told("hospital-discharge")) == 2
    for name, number in (("a11-cancelled-admission", "c9"), ("a13-cancelled-discharge", "c10")):
        wrong = send(demo, sent(name, PV1_19="V12^^^RX9^VN", MSH_10=number, PID_7="19620101"))
        assert acked(wrong)[1] == "AE", "another's date of birth"


def test_an_update_of_the_person_alone_asks_them_and_writes_no_stay(demo: Gateway) -> None:
    here, before = len(found(demo, "patient", f"Encounter?patient={demo.patient}&_count=200")), waiting(demo)
    for n, stay in enumerate(({"PV1_19": ""}, {"PV1_2": "N"}, {"PV1_2": "N", "PV1_19": "", "PV1_3": ""})):
        moved = sent("a08-moved-ward", MSH_10=f"alone-{n}", PID_11=f"{n} New Street^^Norwich^^NR1 {n}AA", **stay)
        assert acked(send(demo, moved))[:2] == (200, "AA")
        assert [t for t in notices(demo, "check-details") if f"NR1 {n}AA" in json.dumps(t)]
        assert not landing.bundle(er7.read(moved)).get("entry") and not [r for r in landing.rows(er7.read(moved)) if r["to"].startswith("Encounter")]
    assert (len(found(demo, "patient", f"Encounter?patient={demo.patient}&_count=200")), waiting(demo)) == (here, before)
    assert acked(send(demo, sent("a03-home", PV1_19="", MSH_10="alone-9")))[:2] == (422, "AE"), "a discharge is of a stay"
    (line,) = [i for i in demo.command("sync", "waiting", "--json").stdout.splitlines() if '"inbox"' in i and "PV1-19" in i]
    assert "HL7 v2" in line and "FHIR" not in line


def test_a_key_worker_who_may_not_see_it_is_told_nothing_and_the_hospital_does_not_learn_it(demo: Gateway) -> None:
    before = len(notices(demo, "hospital-admission"))
    response = send(demo, sent("a01-emergency-admission", MSH_10="quiet-1", PV1_19="V-quiet"))
    assert acked(response) == (200, "AA", "quiet-1") and len(stays(demo, "V-quiet")) == 1
    assert len(notices(demo, "hospital-admission")) == before and "ERR" not in segments(response.content)
    assert not stays(demo, "V-quiet", "link-worker")


def test_who_shares_nothing_with_a_hospital_is_discharged_all_the_same_and_it_sees_nothing(demo: Gateway) -> None:
    (place,) = [o["id"] for o in found(demo, "patient", "Organization?name=Example General Hospital")]
    assert acked(send(demo, sent("a01-emergency-admission", MSH_10="no-1", PV1_19="V-no")))[:2] == (200, "AA")
    with giving(demo, consent(demo.patient, permit(f"Organization/{place}", type="deny"))):
        assert not stays(demo, "V-no", "hospital")
        assert acked(send(demo, sent("a03-home", MSH_10="no-2", PV1_19="V-no")))[:2] == (200, "AA")
        (over,) = stays(demo, "V-no")
        assert over["status"] == "finished" and over["period"]["start"] and not stays(demo, "V-no", "hospital")
        # what somebody else wrote into it is not written over unseen: it waits
        note = {**over, "type": [{"text": "Written by herself"}]}
        assert demo.call("patient", "PUT", f"Encounter/{over['id']}", body=note, headers={"If-Match": 'W/"2"'}).status_code == 200
        later = send(demo, sent("a08-moved-ward", MSH_10="no-3", PV1_19="V-no", EVN_2="20261127"))
        assert acked(later)[:2] == (404, "AE") and stays(demo, "V-no")[0]["type"] == note["type"]


def test_a_ward_that_says_what_it_is_for_makes_the_stay_private(demo: Gateway) -> None:
    raw = sent("a01-psychiatric-latin1", PID_5="Example^Zo\xeb")
    assert acked(send(demo, raw)) == (200, "AA", "77001")
    (stay,) = stays(demo, "E5501")
    assert {"MH"} <= {c["code"] for c in stay["meta"]["security"]} and stay["location"][0]["location"]["display"].startswith("Café")


@pytest.mark.slow
def test_another_name_or_birth_date_writes_nothing_and_waits(demo: Gateway) -> None:
    record = demo.get("patient", f"Patient/{demo.patient}/$everything?_type=Encounter,Task").json()["total"]
    wrong = send(demo, sent("a01-emergency-admission", MSH_10="wrong-1", PV1_19="V-wrong", PID_7="19500407"))
    assert acked(wrong) == (409, "AE", "wrong-1")
    err = segments(wrong.content)["ERR"]
    assert err[2] == "PID^1^3" and "Nothing was written" in err[8]
    assert demo.get("patient", f"Patient/{demo.patient}/$everything?_type=Encounter,Task").json()["total"] == record
    before = waiting(demo)
    (item,) = [i for i in demo.lines("inbox", "list", "--json") if "wrong-1" in i["body"]]
    assert item["status"] == 409 and item["task"]["code"]["coding"][0]["code"] == "check-identity"
    file = demo.data.parent / "corrected.hl7"
    file.write_bytes(sent("a01-emergency-admission", MSH_10="wrong-1", PV1_19="V-wrong"))
    assert demo.command("inbox", "replay", item["id"], str(file)).returncode == 0
    assert len(stays(demo, "V-wrong")) == 1 and waiting(demo) == before - 1


def test_somebody_whom_nobody_here_knows_leaves_no_trace_of_themselves(demo: Gateway) -> None:
    before, waited = demo.get("hospital", "Patient").json()["total"], waiting(demo)
    response = send(demo, sent("a01-emergency-admission", MSH_10="nobody-1", PID_3="9990000999^^^NHS"))
    assert acked(response) == (200, "AA", "nobody-1") and segments(response.content)["ERR"][3].startswith("204^")
    assert demo.get("hospital", "Patient").json()["total"] == before
    assert waiting(demo) == waited


def test_an_old_name_for_another_message_is_refused_and_waits(demo: Gateway) -> None:
    first, second = (sent("a01-emergency-admission", MSH_10="twice", PV1_19=v) for v in ("V-one", "V-two"))
    before = waiting(demo)
    assert acked(send(demo, first))[:2] == (200, "AA") and waiting(demo) == before
    refused = send(demo, second)
    assert acked(refused)[:2] == (422, "AE") and segments(refused.content)["ERR"][3].startswith("205^") and not stays(demo, "V-two")
    assert waiting(demo) == before + 1


@pytest.mark.slow
def test_a_merge_is_proposed_to_an_operator_and_not_done(demo: Gateway) -> None:
    other = {
        "resourceType": "Patient", "identifier": [{"system": "https://fhir.nhs.uk/Id/nhs-number", "value": "9990000026"}],
        "name": [{"family": "Exampel", "given": ["Amina"]}], "birthDate": "1951-04-07",
    }  # fmt: skip
    twin = demo.call("hospital", "POST", "Patient", body=other).headers["location"].split("/Patient/")[1].split("/")[0]
    response = send(demo, sent("a40-merge"))
    assert acked(response) == (200, "AA", "RX900012388") and "operator" in segments(response.content)["ERR"][8]
    assert acked(send(demo, sent("a40-merge"))) == (200, "AA", "RX900012388")
    (item,) = [i for i in demo.lines("sync", "waiting", "--json") if i["kind"] == "inbox" and "merge" in i.get("command", "")]
    assert item["command"].startswith(f"fhir-gateway patients merge {twin} {demo.patient} ") and item["can"] == ["end"]
    assert "link" not in demo.get("patient", f"Patient/{demo.patient}").json()


@pytest.mark.slow
def test_each_pair_of_a_merge_is_proposed_and_one_that_is_wrong_is_named(demo: Gateway) -> None:
    numbers = ("9990000190", "9990000204", "9990000212")
    made = [
        demo.call("hospital", "POST", "Patient", body={
            "resourceType": "Patient", "identifier": [{"system": "https://fhir.nhs.uk/Id/nhs-number", "value": n}],
            "name": [{"family": "Twice", "given": ["Ben"]}], "birthDate": "1960-02-03",
        }).headers["location"].split("/Patient/")[1].split("/")[0] for n in numbers
    ]  # fmt: skip
    head = "MSH|^~\\&|PAS|RX9|TIE|ICS|20261123090000||ADT^A40^ADT_A39|{0}|P|2.4\rEVN|A40|20261123090000\r"
    pair = "PID|||{0}^^^NHS||Twice^Ben||19600203\rPV1|1|I\rMRG|{1}^^^NHS\r"
    text = head.format("two-pairs") + pair.format(numbers[0], numbers[1]) + pair.format(numbers[0], "9990000220") + pair.format(numbers[0], numbers[2])
    ahead, before = head.format("ahead").replace("|20261123090000\r", "|20990101\r") + pair.format(numbers[0], numbers[1]), waiting(demo)
    late = send(demo, ahead.encode())
    assert acked(late)[:2] == (422, "AE") and segments(late.content)["ERR"][2] == "EVN^1^2" and waiting(demo) == before + 1
    response = send(demo, text.encode())
    errs = [line.split("|") for line in response.content.decode().split("\r") if line.startswith("ERR")]
    assert acked(response)[:2] == (200, "AA") and [(e[2], e[3].split("^")[0]) for e in errs] == [("MRG^1^1", "0"), ("MRG^2^1", "204"), ("MRG^3^1", "0")]
    assert acked(send(demo, text.encode()))[:2] == (200, "AA")
    items = [i for i in demo.lines("sync", "waiting", "--json") if i["kind"] == "inbox" and f" {made[0]} " in i.get("command", "")]
    assert sorted(i["command"].split()[3] for i in items) == sorted(made[1:])
    wrong = send(demo, (head.format("one-wrong") + pair.format(numbers[0], numbers[1]) + pair.format(numbers[0], numbers[2]).replace("1960", "1961")).encode())
    assert acked(wrong)[:2] == (409, "AE") and segments(wrong.content)["ERR"][2] == "PID^2^3"
    assert len([i for i in demo.lines("sync", "waiting", "--json") if i["kind"] == "inbox" and f" {made[0]} " in i.get("command", "")]) == 2


def test_one_charity_is_told_of_a_discharge_and_another_is_not(demo: Gateway) -> None:
    """Somerset: five charities help after hospital; the person chose which of them see her plan."""
    kindly, other = (f"Organization/{found(demo, 'patient', f'Organization?name={n}')[0]['id']}" for n in ("Kindly Neighbours", "Faraway Surgery"))
    order = {
        "resourceType": "ServiceRequest", "status": "active", "intent": "plan", "subject": {"reference": f"Patient/{demo.patient}"},
        "code": {"coding": [{"system": f"{OURS}/CodeSystem/task", "code": "after-hospital"}]}, "performer": [{"reference": kindly}, {"reference": other}],
    }  # fmt: skip
    made = demo.call("patient", "POST", "ServiceRequest", body=order)
    assert made.status_code == 201, made.text
    with giving(demo, consent(demo.patient, permit(kindly), permit(other, type="deny"))):
        for raw in (sent("a01-emergency-admission", MSH_10="ch-1", PV1_19="V-ch"), sent("a03-home", MSH_10="ch-2", PV1_19="V-ch")):
            assert acked(send(demo, raw))[:2] == (200, "AA")
        (stay,) = stays(demo, "V-ch")
        told = [t for t in notices(demo, "hospital-discharge") if t["focus"]["reference"] == f"Encounter/{stay['id']}"]
        assert [t["owner"].get("reference") for t in told if "basedOn" in t] == [kindly] and not [t for t in told if t["owner"].get("reference") == other]
        task = next(t for t in notices(demo, "hospital-discharge", "link-worker") if t.get("basedOn"))
        accepted = demo.call("link-worker", "PUT", f"Task/{task['id']}", body={**task, "status": "accepted"}, headers={"If-Match": f'W/"{task["meta"]["versionId"]}"'})
        assert accepted.status_code == 200 and not notices(demo, "hospital-discharge", "stranger")


@pytest.mark.slow
def test_another_system_neither_ends_nor_changes_a_stay_by_its_number(demo: Gateway) -> None:
    (place,) = [o["id"] for o in found(demo, "patient", "Organization?name=Example Street Surgery")]
    surgery = system(demo, "other-trust", f"Organization/{place}")
    oid = "V-oid^^^&2.16.840.1.113883.2.1.8.1&ISO"
    assert acked(send(demo, sent("a01-emergency-admission", MSH_10="own-1", PV1_19=oid)))[:2] == (200, "AA")
    raw = sent("a03-home", MSH_10="own-2", PV1_19=oid)
    theirs = demo.call(None, "POST", "/hl7v2", raw=raw, headers={"Authorization": f"Bearer {surgery.token}", "Content-Type": "text/plain"})
    assert segments(theirs.content)["MSA"][1] in ("AA", "AE")
    (mine,) = [e for e in stays(demo, "V-oid") if e["status"] == "in-progress"]
    assert "end" not in mine["period"]


@pytest.mark.parametrize("who, status", [(None, 401), ("gp", 403), ("patient", 403), ("stranger", 403)])
def test_only_a_registered_system_sends_messages(demo: Gateway, who: str | None, status: int) -> None:
    response = send(demo, sent("a01-emergency-admission", MSH_10="not-theirs", PV1_19="V-not-theirs"), who)
    assert response.status_code == status and not stays(demo, "V-not-theirs")


def test_what_cannot_be_a_message_is_answered_without_a_500(demo: Gateway) -> None:
    for raw, code in ((b"", "AR"), (b"hello", "AR"), (b"MSH|", "AR"), (b"\xff" * 50, "AR"), (sent("a01-emergency-admission", MSH_9="ADT^A02"), "AR"), (b"x" * (er7.MOST + 1), "")):
        response = send(demo, raw)
        assert response.status_code in (400, 413) and (not code or segments(response.content)["MSA"][1] == code), raw[:40]
    assert send(demo, sent("a03-home"), media="application/json").status_code == 415
    assert demo.get("hospital", "/hl7v2").status_code == 405
    bad = send(demo, sent("a01-emergency-admission", MSH_10="bad-time", PV1_19="V-bad", PV1_44="yesterday"))
    assert acked(bad)[:2] == (422, "AE") and segments(bad.content)["ERR"][2] == "PV1^1^44"


# -- files ------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_folder_of_files_is_taken_in_order_and_a_repeat_writes_nothing(demo: Gateway, tmp_path: Path) -> None:
    folder = tmp_path / "drop"
    folder.mkdir()
    admitted = sent("a01-emergency-admission", MSH_10="f-1", PV1_19="V-file")
    (folder / "002.hl7").write_bytes(sent("a03-home", MSH_10="f-2", PV1_19="V-file"))
    (folder / "001.hl7").write_bytes(b"FHS|^~\\&|PAS\rBHS|^~\\&|PAS\r\x0b" + admitted + b"\x1c\r" + sent("a08-moved-ward", MSH_10="f-1b", PV1_19="V-file") + b"BTS|2\rFTS|1\r")
    (folder / "003.hl7").write_bytes(sent("a01-emergency-admission", MSH_9="ADT^A02", MSH_10="f-3"))
    (folder / "004.part").write_bytes(b"MSH|^~")
    done = demo.command("hl7v2", "--drop", str(folder), "--json")
    assert done.returncode == 1, done.stderr
    assert [(Path(i["file"]).name, i["event"], i["ack"]) for i in map(json.loads, done.stdout.splitlines())] == [
        ("001.hl7", "ADT^A01", "AA"), ("001.hl7", "ADT^A08", "AA"), ("002.hl7", "ADT^A03", "AA"), ("003.hl7", "ADT^A02", "AR"),
    ]  # fmt: skip
    assert sorted(str(f.relative_to(folder)) for f in folder.rglob("*") if f.is_file()) == [
        "001.ack", "002.ack", "003.ack", "004.part", "done/001.hl7", "done/002.hl7", "refused/003.hl7",
    ]  # fmt: skip
    assert [m for m in er7.split((folder / "001.ack").read_bytes()) if b"MSA|AA|f-1" in m] and (folder / "001.ack").read_bytes().endswith(b"BTS|2\r")
    (stay,) = stays(demo, "V-file")
    assert stay["status"] == "finished"
    shutil.copy(folder / "done" / "002.hl7", folder / "002.hl7")  # as after a kill before the move
    again = demo.command("hl7v2", "--drop", str(folder), "--json")
    assert again.returncode == 0 and json.loads(again.stdout)["repeated"] is True
    assert stays(demo, "V-file") == [stay] and (folder / "done" / "002.1.hl7").exists()


def test_a_link_that_somebody_put_into_the_folder_leads_no_answer_out_of_it(tmp_path: Path) -> None:
    folder, other, kept = tmp_path / "drop", tmp_path / "other", tmp_path / "kept"
    folder.mkdir()
    other.mkdir()
    kept.write_bytes(b"a record")
    raw = sent("a03-home", MSH_10="l-1")
    heard = [around.Acknowledged("AA", 200, b"MSA|AA|l-1\r", ())]
    ctx = SimpleNamespace(at=datetime(2026, 11, 26, tzinfo=UTC))
    (folder / "1.hl7").write_bytes(raw)
    (folder / ".1.ack.part").symlink_to(kept)
    around.answer(folder / "1.hl7", raw, heard, ctx)  # type: ignore[arg-type]
    assert kept.read_bytes() == b"a record" and (folder / "1.ack").read_bytes() == b"MSA|AA|l-1\r" and not (folder / "1.ack").is_symlink()
    (folder / "2.hl7").write_bytes(raw)
    (folder / "refused").symlink_to(other)
    with pytest.raises(Problem, match="leads to another place"):
        around.answer(folder / "2.hl7", raw, [replace(heard[0], code="AR")], ctx)  # type: ignore[arg-type]
    assert (folder / "2.hl7").exists() and not [*other.iterdir()]


@pytest.mark.parametrize("files, folder", [([], None), ([Path("a.hl7")], Path("b")), ([], Path("no/such/folder"))])
async def test_a_command_that_says_neither_files_nor_a_folder_is_refused(files: list[Path], folder: Path | None) -> None:
    with pytest.raises(Refused):
        await messages.hl7v2(files, folder, "hospital", False)


def test_two_runs_at_once_do_not_take_from_one_folder(tmp_path: Path) -> None:
    with around.alone(tmp_path) as first, around.alone(tmp_path) as second:
        assert (first, second) == (True, False)
    with around.alone(tmp_path) as later:
        assert later


@pytest.mark.slow
def test_a_kill_at_any_message_loses_none_and_writes_none_twice(demo: Gateway, tmp_path: Path) -> None:
    folder = tmp_path / "drop"
    folder.mkdir()
    numbers = [f"V-kill-{n}" for n in range(6)]
    for n, number in enumerate(numbers):
        both = sent("a01-emergency-admission", MSH_10=f"k-{n}a", PV1_19=number), sent("a03-home", MSH_10=f"k-{n}b", PV1_19=number)
        (folder / f"{n}.hl7").write_bytes(b"".join(both))
    for heard in (1, 2, 3):  # killed right after so many lines, wherever that finds it
        command = subprocess.Popen(
            [sys.executable, "-m", "fhir_gateway", "hl7v2", "--drop", str(folder), "--json"], env=demo.env, stdout=subprocess.PIPE, cwd=tmp_path
        )
        assert command.stdout is not None
        for _ in range(heard):
            command.stdout.readline()
        command.kill()
        command.wait(10)
        command.stdout.close()
    assert demo.command("hl7v2", "--drop", str(folder)).returncode == 0
    assert sorted(f.name for f in (folder / "done").iterdir()) == [f"{n}.hl7" for n in range(6)] and not list(folder.glob("*.hl7"))
    for n, number in enumerate(numbers):
        (stay,) = stays(demo, number)
        assert stay["status"] == "finished" and stay["meta"]["versionId"] == "2"
        assert [er7.read(m).text("MSA", 1) for m in er7.split((folder / f"{n}.ack").read_bytes())] == ["AA", "AA"]


FIELDS = st.sampled_from([f"{s}_{n}" for s, most in (("MSH", 18), ("EVN", 6), ("PID", 30), ("PV1", 50)) for n in range(2, most + 1)])


@settings(max_examples=times(40), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from([n for n in NAMES if "latin1" not in n and "a40" not in n]), st.dictionaries(FIELDS, st.text(max_size=25).filter(lambda t: "|" not in t), max_size=4), st.binary(max_size=3))
def test_no_message_gives_a_500(demo: Gateway, name: str, fields: dict[str, str], more: bytes) -> None:
    """Last of all: wrong names and birth dates make the hospital wait."""
    response = send(demo, sent(name, **{"MSH_10": "fuzz", **fields}) + more)
    assert response.status_code < 500, response.text
    assert response.status_code in (200, 400, 404, 409, 422, 429)
    assert segments(response.content)["MSA"][1] in ("AA", "AE", "AR")
