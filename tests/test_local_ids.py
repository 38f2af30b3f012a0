"""What two senders call alike is two things: an id such as `Patient/1` is a name among its sender's own, through the command line and HTTP."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from .conftest import Gateway
from .staff import Colleague, system

ANN = {"name": [{"family": "Smith", "given": ["Ann"]}], "birthDate": "1950-01-01"}
BEA = {"name": [{"family": "Smith", "given": ["Bea"]}]}
CAT = {"name": [{"family": "Jones", "given": ["Cat"]}], "birthDate": "1951-01-01"}


class Files:
    """Imports by the command line."""

    def __init__(self, demo: Gateway, folder: Path) -> None:
        self.demo, self.file = demo, folder / "brought.json"

    def brought(self, who: str, *resources: dict[str, Any]) -> dict[str, Any]:
        self.file.write_text(json.dumps({"resourceType": "Bundle", "type": "collection", "entry": [{"resource": r} for r in resources]}))
        done = self.demo.command("import", "--as", who, str(self.file), "--json")
        line: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        assert (done.returncode == 0) == (not line["refused"]), done.stdout + done.stderr
        return line


@pytest.fixture
def files(demo: Gateway, tmp_path: Path) -> Files:
    return Files(demo, tmp_path)


@pytest.fixture(scope="module")
def other(demo: Gateway) -> Colleague:
    """A second system of the hospital's own organisation."""
    return system(demo, "ward-system", "RX9")


def person(id: str, said: dict[str, Any]) -> dict[str, Any]:
    return {"resourceType": "Patient", "id": id, **said}


def condition(whose: str, text: str, id: str = "c1") -> dict[str, Any]:
    return {"resourceType": "Condition", "id": id, "subject": {"reference": f"Patient/{whose}"}, "code": {"text": text}}


def conditions(demo: Gateway, who: str | Colleague, patient: str) -> set[str]:
    path = f"Condition?patient={patient}"
    got = demo.get(who, path) if isinstance(who, str) else who.get(path)
    return {e["resource"]["code"]["text"] for e in got.json().get("entry", ())}


def test_a_local_id_and_a_name_rename_nobody_and_write_over_nothing(demo: Gateway, files: Files) -> None:
    ann = files.brought("hospital", person("e1", ANN), condition("e1", "Asthma"))
    for said in (BEA, {"name": ANN["name"]}, BEA | {"birthDate": "1950-01-01"}):
        refused = files.brought("hospital", person("e1", said), condition("e1", "Epilepsy"))
        assert refused["refused"] and "date of birth" in refused["problems"][0]["text"] and "Smith" not in json.dumps(refused)
    assert conditions(demo, "hospital", ann["patient"]) == {"Asthma"}
    now = demo.get("hospital", f"Patient/{ann['patient']}").json()
    assert (now["name"], now["birthDate"]) == (ANN["name"], ANN["birthDate"])


def test_the_same_again_and_what_changed_of_the_same_person_stay_theirs(demo: Gateway, files: Files) -> None:
    for id, said in (("i1", ANN), ("i2", BEA)):
        first = files.brought("hospital", person(id, said), condition(id, "Asthma"))
        again = files.brought("hospital", person(id, said), condition(id, "Asthma"))
        assert (again["patient"], again["written"], again["unchanged"]) == (first["patient"], 0, 2)
        changed = files.brought("hospital", person(id, said), condition(id, "Asthma, mild"))
        assert (changed["patient"], changed["written"]) == (first["patient"], 1)
        assert conditions(demo, "hospital", first["patient"]) == {"Asthma, mild"}
        alone = files.brought("hospital", condition(id, "Gout", "c2"))
        assert alone["patient"] == first["patient"]
    moved = files.brought("hospital", person("i1", ANN | {"gender": "female"}))
    assert moved["written"] == 1


def test_what_is_said_of_a_name_of_two_people_is_put_into_neither_record(demo: Gateway, files: Files) -> None:
    ann = files.brought("hospital", person("e2", ANN), condition("e2", "Asthma"))
    cat = files.brought("hospital", person("e2", CAT), condition("e2", "Gout"))
    assert cat["patient"] != ann["patient"]
    refused = files.brought("hospital", condition("e2", "Whose", "c9"))
    assert refused["refused"] and "More than one was brought in as `Patient/e2`" in refused["problems"][0]["text"]
    assert conditions(demo, "hospital", ann["patient"]) == {"Asthma"} and conditions(demo, "hospital", cat["patient"]) == {"Gout"}
    again = files.brought("hospital", person("e2", CAT), condition("e2", "Gout, worse"))
    assert (again["patient"], again["written"]) == (cat["patient"], 1)


def test_what_refers_to_a_local_id_refers_to_what_is_the_same_persons(demo: Gateway, files: Files) -> None:
    ann = files.brought("hospital", person("r1", ANN), condition("r1", "Asthma", "rc"))
    cat = files.brought("hospital", person("r2", CAT), condition("r2", "Gout", "rc"))
    for id, whose in (("r1", ann), ("r2", cat)):
        goal = {"resourceType": "Goal", "id": "rg", "lifecycleStatus": "active", "description": {"text": "Walk"}, "subject": {"reference": f"Patient/{id}"},
                "addresses": [{"reference": "Condition/rc"}]}  # fmt: skip
        assert files.brought("hospital", goal)["patient"] == whose["patient"]
        (found,) = demo.get("hospital", f"Goal?patient={whose['patient']}").json()["entry"]
        (mine,) = demo.get("hospital", f"Condition?patient={whose['patient']}").json()["entry"]
        assert found["resource"]["addresses"][0]["reference"] == f"Condition/{mine['resource']['id']}"


def test_an_address_that_two_different_people_are_said_to_have_joins_them_not(demo: Gateway, files: Files) -> None:
    """A server that every hospital calls `http://localhost`."""
    def entry(resource: dict[str, Any]) -> dict[str, Any]:
        return {"fullUrl": f"http://localhost/fhir/{resource['resourceType']}/{resource['id']}", "resource": resource}

    def brought(*resources: dict[str, Any]) -> dict[str, Any]:
        files.file.write_text(json.dumps({"resourceType": "Bundle", "type": "collection", "entry": [entry(r) for r in resources]}))
        line: dict[str, Any] = json.loads(demo.command("import", str(files.file), "--json").stdout.splitlines()[-1])
        return line

    ann = brought(person("1", ANN), condition("1", "Asthma"))
    for said in (CAT, BEA):
        refused = brought(person("1", said), condition("1", "Epilepsy", "c8"))
        assert refused["refused"] and "somebody else" in refused["problems"][0]["text"]
    assert conditions(demo, "hospital", ann["patient"]) == {"Asthma"}


def test_two_systems_of_one_organisation_that_number_alike_speak_of_two_people(demo: Gateway, files: Files, other: Colleague) -> None:
    anil, bina = {"name": [{"family": "Patel", "given": ["Anil"]}], "birthDate": "1950-01-01"}, {"name": [{"family": "Patel", "given": ["Bina"]}]}
    first = files.brought("hospital", person("77", anil), condition("77", "Asthma"))
    second = files.brought("ward-system", person("77", bina), condition("77", "Pregnant"))
    assert second["patient"] != first["patient"] and second["written"] == 2
    assert conditions(demo, "hospital", first["patient"]) == {"Asthma"} and conditions(demo, other, second["patient"]) == {"Pregnant"}
    again = files.brought("ward-system", person("77", bina), condition("77", "Pregnant"))
    assert (again["patient"], again["written"]) == (second["patient"], 0)
    alone = files.brought("ward-system", condition("77", "Tired", "c2"))
    assert alone["patient"] == second["patient"]


def test_what_two_systems_call_alike_of_one_person_is_two_things(demo: Gateway, files: Files, other: Colleague) -> None:
    number = {"identifier": [{"system": "https://fhir.nhs.uk/Id/nhs-number", "value": "9990000174"}]}
    first = files.brought("hospital", person("88", CAT | number), condition("88", "Asthma"))
    second = files.brought("ward-system", person("88", CAT | number), condition("88", "Pregnant"))
    assert second["patient"] == first["patient"] and second["written"] == 1
    assert conditions(demo, "hospital", first["patient"]) == {"Asthma", "Pregnant"}


def test_a_plan_s_own_id_of_a_person_is_its_sender_s(demo: Gateway, other: Colleague) -> None:
    def plan(given: str, need: str, **more: str) -> dict[str, Any]:
        who = {"id": "5", "name": {"family": "Patel", "given": [given]}, **more}
        return {"plan": "1", "person": who, "needs": [{"id": "n1", "text": need}]}

    sent = {"headers": {"Content-Type": "application/json"}}
    first = demo.call("hospital", "POST", "/plans", body=plan("Anil", "Asthma", birth_date="1950-01-01"), **sent)  # type: ignore[arg-type]
    second = other.call("POST", "/plans", body=plan("Bina", "Pregnant"), **sent)
    assert (first.status_code, second.status_code) == (201, 201), first.text + second.text
    assert first.json()["patient"] != second.json()["patient"]
    assert demo.get("hospital", f"/plans/{first.json()['patient']}").json()["needs"][0]["text"] == "Asthma"
    again = other.call("POST", "/plans", body=plan("Bina", "Pregnant"), **sent)
    assert (again.json()["patient"], again.json()["written"]) == (second.json()["patient"], 0), again.text
    for given in ("Cara", "Anil"):
        refused = demo.call("hospital", "POST", "/plans", body=plan(given, "Gout"), **sent)  # type: ignore[arg-type]
        assert refused.status_code == 409 and "nobody is known by an id and a name alone" in refused.text, refused.text
    assert demo.get("hospital", f"/plans/{first.json()['patient']}").json()["needs"][0]["text"] == "Asthma"


def test_a_plan_that_is_read_and_sent_back_is_about_whom_it_was_read_of(demo: Gateway, files: Files, other: Colleague) -> None:
    """Somebody whom no plan began: their plan calls them by the id that they have here."""
    sent = {"headers": {"Content-Type": "application/json"}}
    main = {"resourceType": "CarePlan", "id": "m", "status": "active", "intent": "plan", "subject": {"reference": "Patient/b1"}}
    dora = {"name": [{"family": "Back", "given": ["Dora"]}], "birthDate": "1960-06-06"}
    here = files.brought("hospital", person("b1", dora), main, condition("b1", "Asthma"))["patient"]
    got = demo.get("hospital", f"/plans/{here}")
    plan, seen = got.json(), {"Content-Type": "application/json", "If-Match": got.headers["ETag"]}
    for headers in (sent["headers"], seen):
        same = demo.call("hospital", "POST", "/plans", body=plan, headers=headers)
        assert (same.status_code, same.json()["patient"], same.json()["written"]) == (200, here, 0), same.text
    for goals in ([{"id": "g1", "text": "To walk"}], [{"id": "g1", "text": "To walk far"}, {"id": "g2", "text": "To swim"}]):
        changed = demo.call("hospital", "POST", "/plans", body={**plan, "goals": goals}, headers={**seen, "If-Match": demo.get("hospital", f"/plans/{here}").headers["ETag"]})
        assert (changed.json().get("patient"), changed.json().get("written")) == (here, 1 + len(goals)), changed.text
        now = demo.get("hospital", f"/plans/{here}").json()
        assert [g["text"] for g in now.pop("goals")] == [g["text"] for g in goals] and now == plan, "what was there before the first goal of ours stays in the plan"
    for said in ({"birth_date": "1961-06-06"}, {"name": {"family": "Back", "given": ["Eve"]}}):
        refused = demo.call("hospital", "POST", "/plans", body={**plan, "person": {**plan["person"], **said}}, **sent)  # type: ignore[arg-type]
        assert refused.status_code == 409, refused.text
    again = other.call("POST", "/plans", body=plan, **sent)
    assert again.json()["patient"] == here, "another system that sees them means them, too"
