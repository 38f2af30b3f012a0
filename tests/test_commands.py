"""Every command of the main job as an outsider's script uses it: stdout, stderr, exit codes."""

from __future__ import annotations

import inspect
import json
import signal
import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from .conftest import PERSONAS, Gateway

GOOD = {"resourceType": "Goal", "lifecycleStatus": "active", "description": {"text": "Sing"}, "subject": {"display": "me"}}


def lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def test_decide_agrees_with_every_outside_case(demo: Gateway, shared: Path) -> None:
    suite = shared / "suites/consent-cases.jsonl"
    done = demo.command("decide", str(suite))
    assert done.returncode == 0, done.stderr
    answers = lines(done.stdout)
    cases = lines(suite.read_text())
    assert [a["id"] for a in answers] == [c["id"] for c in cases]
    wrong = []
    for case, answer in zip(cases, answers, strict=True):
        expect = case["expect"]
        same = answer["decision"] == expect["decision"]
        same = same and answer["basis"] == expect.get("basis", answer["basis"])
        same = same and answer["consent"] == expect.get("consent", answer["consent"])
        same = same and answer["obligations"] == sorted(expect.get("obligations", answer["obligations"]))
        if not same:
            wrong.append((case["id"], expect, answer))
    assert not wrong


def test_decide_reads_stdin_and_goes_on_after_a_bad_line(demo: Gateway) -> None:
    done = demo.command("decide", stdin='{"id": "a", "bogus": 1}\nnot json\n')
    assert done.returncode == 1
    assert len(lines(done.stdout)) == 2
    assert all("error" in answer for answer in lines(done.stdout))
    assert demo.command("decide", "no-such-file.jsonl").returncode == 2


def test_map_there_and_back(demo: Gateway, tmp_path: Path) -> None:
    plan = {
        "plan": "1", "id": "m-1", "title": "Mapped", "status": "active", "person": {"id": "p", "name": {"given": ["A"], "family": "B"}},
        "goals": [{"id": "g", "text": "Sing", "x_deep": [1.10, {"y": None}]}], "x_top": {},
    }  # fmt: skip
    file = tmp_path / "plan.json"
    file.write_text(json.dumps(plan))
    to = demo.command("map", "to-fhir", str(file))
    assert to.returncode == 0, to.stderr
    bundle = json.loads(to.stdout)
    assert bundle["resourceType"] == "Bundle" and bundle["type"] == "transaction"
    made = tmp_path / "bundle.json"
    made.write_text(to.stdout)
    back = demo.command("map", "from-fhir", str(made))
    assert back.returncode == 0, back.stderr
    assert json.loads(back.stdout) == plan
    dry = demo.command("map", "to-fhir", str(file), "--dry-run")
    assert dry.returncode == 0
    assert all(set(row) == {"path", "to", "why"} for row in lines(dry.stdout))
    assert any("x_deep" in row["path"] for row in lines(dry.stdout))
    file.write_text(json.dumps({**plan, "goals": [{"id": "g", "text": "Sing", "importance": 99}], "created": "soon"}))
    wrong = demo.command("map", "to-fhir", str(file))
    assert wrong.returncode == 1 and "goals[0].importance: " in wrong.stderr and "created: " in wrong.stderr, "which things must be put right"


def test_two_peoples_records_are_not_mapped_to_one_plan(demo: Gateway, tmp_path: Path) -> None:
    def about(id: str) -> list[dict[str, Any]]:
        return [{"resource": {"resourceType": "Patient", "id": id}}, {"resource": {"resourceType": "Goal", "lifecycleStatus": "active", "description": {"text": f"Of {id}"}, "subject": {"reference": f"Patient/{id}"}}}]

    file = tmp_path / "two.json"
    file.write_text(json.dumps({"resourceType": "Bundle", "type": "collection", "entry": [*about("one"), *about("two")]}))
    done = demo.command("map", "from-fhir", str(file))
    assert done.returncode == 1 and not done.stdout and "Patient/one, Patient/two" in done.stderr
    file.write_text(json.dumps({"resourceType": "Bundle", "type": "collection", "entry": [about("two")[0], about("one")[1]]}))
    assert demo.command("map", "from-fhir", str(file)).returncode == 1, "one person's name on the other's record"
    file.write_text(json.dumps({"resourceType": "Bundle", "type": "collection", "entry": about("one")}))
    assert demo.command("map", "from-fhir", str(file)).returncode == 0


@pytest.mark.parametrize(
    "text, code, said",
    [
        ("{", 2, "plan.json"),
        ('{"plan": "1", "id": "x"}', 1, "person"),
        ('{"plan": "1", "id": "x", "person": {"name": {"family": 7}}}', 1, "person.name"),
    ],
)
def test_a_bad_plan_is_refused_with_file_and_place(demo: Gateway, tmp_path: Path, text: str, code: int, said: str) -> None:
    file = tmp_path / "plan.json"
    file.write_text(text)
    done = demo.command("import", str(file), "--json")
    assert done.returncode == code, done.stdout + done.stderr
    assert said in done.stdout + done.stderr
    (line,) = lines(done.stdout)
    assert line["written"] == 0


def test_answers_below_answers_come_in_valid_and_go_out_equal(demo: Gateway) -> None:
    """HL7's rule qrs-1: what is asked below a question stands inside its answer, below a group beside it."""
    file = Path(__file__).parent / "cases/plans/harold.json"
    (done,) = lines(demo.command("import", str(file), "--json").stdout)
    assert done["refused"] == 0 and done["written"] > 0, done
    found = demo.get("hospital", f"QuestionnaireResponse?patient={done['patient']}&questionnaire=https://fhir-gateway.example/Questionnaire/wellbeing-wheel").json()
    (answers,) = [e["resource"] for e in found["entry"]]
    item = {i["linkId"]: i for i in answers["item"]}
    many = item["smokes"]["answer"][0]["item"][0]
    assert many["linkId"] == "smokes.many" and many["answer"][0]["item"][0]["linkId"] == "smokes.many.which"
    assert item["pets"]["answer"][0]["item"][0]["linkId"] == "pets.names" and item["part"]["item"][0]["linkId"] == "part.a"
    assert "item" not in item["smokes"]
    back = json.loads(demo.get("hospital", f"/plans/{done['patient']}").content, parse_float=Decimal)
    assert back == json.loads(file.read_text(), parse_float=Decimal)


def test_every_file_of_a_mix_is_reported(demo: Gateway, tmp_path: Path) -> None:
    """Good and bad, plan, resource, Bundle and lines: one line each, in their order, naming file and place."""
    good = {"plan": "1", "id": "mix", "person": {"id": "mia", "name": {"given": ["Mia"], "family": "Mix"}, "birth_date": "1970-01-01"},
            "goals": [{"id": "g", "text": "Swim"}]}  # fmt: skip
    bad = GOOD | {"lifecycleStatus": "bogus"}
    stranger = {"resourceType": "CarePlan", "status": "active", "intent": "plan", "subject": {"reference": "Patient/of-somebody-else"}}
    wrong_person = {"resourceType": "Patient", "identifier": [{"system": "https://fhir.nhs.uk/Id/nhs-number", "value": "9990000018"}],
                    "name": [{"family": "Different"}], "birthDate": "1951-04-07"}  # fmt: skip
    texts = {
        "plan.json": json.dumps(good), "careplan.json": json.dumps(stranger), "person.json": json.dumps(wrong_person), "cut.json": "{",
        "bundle.json": json.dumps({"resourceType": "Bundle", "type": "collection", "entry": [
            {"resource": {"resourceType": "Patient", "id": "p", "name": [{"family": "In a bundle"}]}}, {"resource": bad}]}),
        "lines.ndjson": json.dumps({"resourceType": "Patient", "id": "q", "name": [{"family": "In lines"}]}) + "\n\n" + json.dumps(bad),
        "typeless.json": json.dumps({"resourceType": 7}),
        "patient.json": json.dumps({"resourceType": "Patient", "id": "alone", "name": [{"family": "Alone"}]}),
        "slip.json": json.dumps(good | {"person": {**good["person"], "id": "slip", "nhs_number": "999 000 0081"}}),  # type: ignore[dict-item]
    }  # fmt: skip
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
    files = [str(tmp_path / name) for name in texts]
    done = demo.command("import", *files, "--json")
    assert done.returncode == 2, done.stdout + done.stderr
    said = {Path(line["file"]).name: line for line in lines(done.stdout)}
    assert [line["file"] for line in lines(done.stdout)] == files
    assert {name for name, line in said.items() if line["refused"]} == set(texts) - {"plan.json", "patient.json"}
    assert said["plan.json"]["written"] > 0 and said["patient.json"]["written"] == 1
    places = {name: str(line["problems"]) for name, line in said.items() if "problems" in line}
    assert "Bundle.entry[1]: Goal.lifecycleStatus" in places["bundle.json"] and "line 3: Goal.lifecycleStatus" in places["lines.ndjson"]
    assert "Bundle.entry" not in places["careplan.json"] and "person.nhs_number" in places["slip.json"]
    for alone in ("careplan.json", "person.json", "typeless.json"):
        pair = demo.command("import", files[0], str(tmp_path / alone), "--json")
        assert [line["refused"] for line in lines(pair.stdout)] == [0, 1], (alone, pair.stdout, pair.stderr)
        assert pair.returncode in (1, 2)


def test_a_plan_beside_a_careplan_of_somebody_unknown(demo: Gateway, shared: Path) -> None:
    files = [str(shared / "design/plan-example.json"), str(shared / "data/examples/hl7-r4/CarePlan/CarePlan-gpvisit.json")]
    done = demo.command("import", *files, "--json")
    assert done.returncode == 1, done.stderr
    plan, careplan = lines(done.stdout)
    assert (plan["file"], careplan["file"]) == tuple(files)
    assert plan["patient"] == demo.patient and plan["refused"] == 0 and careplan["refused"] == 1 and careplan["problems"]


def test_a_taken_port_is_said_in_one_sentence_without_a_banner(demo: Gateway, tmp_path: Path) -> None:
    done = demo.command("serve", "--demo", env={"GATEWAY_DATA": str(tmp_path / "other")})
    assert done.returncode == 2 and done.stdout == ""
    (said,) = done.stderr.splitlines()
    assert f"Something else listens on 127.0.0.1:{demo.port} already" in said and f"GATEWAY_PORT={demo.port + 1} make run" in said
    assert "Errno" not in said and not (tmp_path / "other").exists()
    assert demo.get(None, "/health").status_code == 200
    nowhere = demo.command("serve", env={"GATEWAY_HOST": "203.0.113.7"})
    assert nowhere.returncode == 2 and "GATEWAY_HOST" in nowhere.stderr


def test_wrong_usage_is_2(demo: Gateway) -> None:
    assert demo.command("import", "nowhere.json").returncode == 2
    assert demo.command("import").returncode == 2
    assert demo.command("token", "--as", "nobody").returncode == 2
    assert demo.command("frobnicate").returncode == 2


def test_validate(demo: Gateway, tmp_path: Path) -> None:
    good, bad = tmp_path / "good.json", tmp_path / "bad.json"
    good.write_text(json.dumps(GOOD))
    bad.write_text(json.dumps(GOOD | {"lifecycleStatus": "bogus", "zzz": 1}))
    done = demo.command("validate", str(good), "--json")
    assert done.returncode == 0, done.stderr
    assert lines(done.stdout)[0]["resourceType"] == "OperationOutcome"
    done = demo.command("validate", str(good), str(bad), "--json")
    assert done.returncode == 1
    outcomes = lines(done.stdout)
    assert len(outcomes) == 2
    assert len([i for i in outcomes[1]["issue"] if i["severity"] == "error"]) >= 2


def test_validate_lines_speaks_the_peers_language(demo: Gateway) -> None:
    asked = [
        {"id": "1", "resource": GOOD},
        {"id": "2", "text": "no json"},
        {"id": "3", "resource": GOOD | {"lifecycleStatus": "bogus"}},
    ]
    done = demo.command("validate", "--lines", stdin="".join(json.dumps(a) + "\n" for a in asked))
    answers = lines(done.stdout)
    assert [(a["id"], a["valid"]) for a in answers] == [("1", True), ("2", False), ("3", False)]
    assert {"severity", "code", "location", "message"} <= set(answers[2]["issues"][0])


def test_tokens(demo: Gateway) -> None:
    everybody = [a for who in PERSONAS for a in ("--as", who)]
    made = demo.lines("token", *everybody, "--json")
    assert len(made) == len(PERSONAS) and len({m["fhirUser"] for m in made}) == len(made)
    assert all({"token", "patient", "fhirUser", "scope", "expires"} <= set(m) for m in made)
    plain = demo.command("token", *everybody)
    assert plain.returncode == 0 and [t.count(".") for t in plain.stdout.split()] == [2] * len(made) and plain.stderr == ""
    one = demo.command("token", "--as", "gp")
    assert one.returncode == 0 and one.stdout.count(".") == 2 and one.stdout.count("\n") == 1 and one.stderr == ""


def test_explain(demo: Gateway) -> None:
    plan = demo.get("patient", f"CarePlan?patient={demo.patient}").json()["entry"][0]["resource"]["id"]
    for who, decision in (("gp", "permit"), ("link-worker", "deny"), ("stranger", "deny"), ("patient", "permit")):
        (said,) = demo.lines("explain", "--who", who, "--what", f"CarePlan/{plan}", "--json")
        assert said["decision"] == decision and said["basis"] and said["text"]
    assert demo.command("explain", "--who", "gp", "--what", "CarePlan/nothing").returncode == 2


@pytest.mark.slow
def test_explain_names_the_option_that_is_wrong(demo: Gateway) -> None:
    plan = demo.get("patient", f"CarePlan?patient={demo.patient}").json()["entry"][0]["resource"]["id"]
    nobody = ("sector:nonsense", "CareTeam/nope", "role:Organization/nope x|y", "Nonsense/1")
    for option, value in (*(("--who", n) for n in nobody), ("--purpose", "FOO")):
        done = demo.command("explain", *(("--who", "gp") if option == "--purpose" else ()), option, value, "--what", f"CarePlan/{plan}")
        assert done.returncode == 2 and option in done.stderr and value in done.stderr, done


def test_sync_without_a_remote_says_what_to_set(demo: Gateway) -> None:
    done = demo.command("sync", "status")
    assert done.returncode == 2
    assert "GATEWAY_REMOTE_URL" in done.stderr


def test_the_worker_runs_without_a_remote_until_it_is_told_to_end(demo: Gateway) -> None:
    """It tells people; a partner is one more thing to do."""
    worker = subprocess.Popen([sys.executable, "-m", "fhir_gateway", "worker"], env=demo.env, stderr=subprocess.PIPE, text=True, cwd=demo.data.parent)
    assert worker.stderr is not None
    try:
        assert any("worker-started" in line for line in worker.stderr), "it ended before it began"
        with pytest.raises(subprocess.TimeoutExpired):
            worker.wait(1)
    finally:
        worker.send_signal(signal.SIGTERM)
    said = worker.communicate(timeout=20)[1]
    assert worker.returncode == 0 and "Traceback" not in said, said


@pytest.mark.parametrize(
    "env, said",
    [
        ({"GATEWAY_HOST": "0.0.0.0"}, "GATEWAY_BASE_URL"),
        ({"GATEWAY_BASE_URL": "http://example.org"}, "https"),
        ({"GATEWAY_HOST": "0.0.0.0", "GATEWAY_DEMO": "true", "GATEWAY_BASE_URL": "https://example.org"}, "127.0.0.1"),
        ({"GATEWAY_REMOTE_URL": "http://127.0.0.1:1/fhir"}, "GATEWAY_REMOTE_ORGANISATION"),
        ({"GATEWAY_REMOTE_URL": "http://example.org/fhir", "GATEWAY_REMOTE_ORGANISATION": "X"}, "https"),
        ({"GATEWAY_ISSUER": "https://issuer.example"}, "GATEWAY_AUDIENCE"),
        ({"GATEWAY_ISSUER": "https://issuer.example", "GATEWAY_AUDIENCE": "here", "GATEWAY_ISSUER_ROLES": "god=Chief"}, "names the role `god`, which there is not"),
        ({"GATEWAY_ISSUER": "https://issuer.example", "GATEWAY_AUDIENCE": "here", "GATEWAY_ISSUER_ROLES": "clinician"}, "must be ROLE=THEIR WORD"),
        ({"GATEWAY_ISSUER_ROLES": "clinician=Doctor"}, "set GATEWAY_ISSUER"),
        ({"GATEWAY_BREAK_GLASS": "always"}, "GATEWAY_BREAK_GLASS"),
        ({"GATEWAY_BREAK_GLASS": ""}, "GATEWAY_BREAK_GLASS"),
        ({"GATEWAY_POLICY": "Policy-break-glass-only", "GATEWAY_BREAK_GLASS": "consent-only"}, "GATEWAY_BREAK_GLASS"),
        ({"GATEWAY_STORE": "mongodb://x"}, "tls=true"),
        ({"GATEWAY_STORE": "postgresql://x"}, "sqlite"),
        ({"GATEWAY_PORT": "seventy"}, "GATEWAY_PORT"),
        ({"GATEWAY_CONFIG": "nowhere.toml"}, "GATEWAY_CONFIG"),
    ],
)
def test_unsafe_settings_are_refused_in_one_sentence(demo: Gateway, env: dict[str, str], said: str) -> None:
    done = demo.command("serve", env=env)
    assert done.returncode == 2
    assert said in done.stderr and len(done.stderr.strip().splitlines()) == 1


BUNDLE = {
    "resourceType": "Bundle", "type": "collection",
    "entry": [
        {"fullUrl": "urn:uuid:0b8f1f0e-0000-4000-8000-000000000001", "resource": {
            "resourceType": "Patient", "name": [{"family": "Brought", "given": ["In"]}], "birthDate": "1944-05-06",
            "photo": [{"title": "a"}, {"title": "b"}]}},
        {"fullUrl": "urn:uuid:0b8f1f0e-0000-4000-8000-000000000002", "resource": GOOD | {
            "subject": {"reference": "urn:uuid:0b8f1f0e-0000-4000-8000-000000000001"}}},
        *({"fullUrl": f"urn:uuid:0b8f1f0e-0000-4000-8000-00000000001{n}", "resource": {
            "resourceType": "Observation", "status": "final", "code": {"text": f"Blood pressure {n}"},
            "subject": {"reference": "urn:uuid:0b8f1f0e-0000-4000-8000-000000000001"}}} for n in range(3)),
    ],
}  # fmt: skip


def test_a_bundle_comes_in_by_the_command_line_and_reads_back_as_a_plan(demo: Gateway, tmp_path: Path) -> None:
    file = tmp_path / "bundle.json"
    file.write_text(json.dumps(BUNDLE))
    (line,) = lines(demo.command("import", str(file), "--json").stdout)
    assert (line["written"], line["unchanged"], line["refused"]) == (5, 0, 0)
    (again,) = lines(demo.command("import", str(file), "--json").stdout)
    assert (again["written"], again["unchanged"], again["patient"]) == (0, 5, line["patient"])
    plan = demo.get("hospital", f"/plans/{line['patient']}").json()
    assert plan["person"]["name"]["family"] == "Brought"
    assert [g["text"] for g in plan["goals"]] == ["Sing"]
    said = demo.command("import", str(file)).stdout.splitlines()
    assert "0 written, 5 unchanged, 0 refused" in said[0]
    assert said[1].startswith("No home in the plan")
    counted = [tuple(line.strip().rsplit(": ", 1)) for line in said[2:]]
    assert ("Patient.photo", "2") in counted
    assert [int(n) for _, n in counted] == sorted((int(n) for _, n in counted), reverse=True)
    assert not [place for place, _ in counted if "/" in place or "urn:" in place or "[" in place]


def test_what_had_no_home_in_many_people_is_a_summary(demo: Gateway, shared: Path) -> None:
    people = sorted((shared / "data/synthea").glob("*.json"))[:8]
    done = demo.command("import", *map(str, people))
    assert done.returncode == 0, done.stderr
    said = done.stdout.splitlines()
    assert len([line for line in said if " written, " in line]) == 8
    assert len(said) <= 8 + 1 + 12 + 1, "a line a file, then a summary that can be read"
    assert done.stderr == "", "no bar where nobody watches"


def test_somebody_who_watches_sees_a_bar(demo: Gateway, tmp_path: Path) -> None:
    """In a terminal (a pty), on stderr; results stay on stdout."""
    import os
    import pty
    import subprocess
    import sys

    files = []
    for n in range(3):
        file = tmp_path / f"goal-{n}.json"
        file.write_text(json.dumps({**BUNDLE, "identifier": {"value": str(n)}}))
        files.append(str(file))
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "fhir_gateway", "import", *files, "--json"], env={**demo.env, "TERM": "xterm", "COLUMNS": "100"},
        stdout=subprocess.PIPE, stderr=theirs, cwd=demo.data.parent,
    )  # fmt: skip
    os.close(theirs)
    shown = b""
    while True:
        try:
            part = os.read(ours, 4096)
        except OSError:  # the other end is closed
            break
        if not part:
            break
        shown += part
    assert process.stdout is not None
    out = process.stdout.read().decode()
    assert process.wait(30) == 0
    os.close(ours)
    assert "Bringing in" in shown.decode() and "3/3" in shown.decode()
    assert len(lines(out)) == 3


def test_files_of_two_people_with_one_local_id_are_not_mixed(demo: Gateway, tmp_path: Path) -> None:
    def write(name: str, resource: dict[str, Any]) -> str:
        (tmp_path / name).write_text(json.dumps(resource))
        return str(tmp_path / name)

    one = write("q1.json", {"resourceType": "Patient", "id": "two", "name": [{"family": "Qa"}], "birthDate": "1940-01-01"})
    other = write("q2.json", {"resourceType": "Patient", "id": "two", "name": [{"family": "Qb"}], "birthDate": "1950-01-01"})
    goal = {"resourceType": "Goal", "lifecycleStatus": "active", "description": {"text": "Whose"}, "subject": {"reference": "Patient/two"}}
    done = demo.command("import", one, other, write("q3.json", goal), "--json")
    assert done.returncode == 1
    assert "q2.json" in done.stderr + done.stdout and "Two different people" in done.stderr + done.stdout


def test_files_about_one_person_become_one_person(demo: Gateway, tmp_path: Path) -> None:
    def write(name: str, resource: dict[str, Any]) -> str:
        (tmp_path / name).write_text(json.dumps(resource))
        return str(tmp_path / name)

    person = {
        "resourceType": "Patient", "identifier": [{"system": "https://fhir.nhs.uk/Id/nhs-number", "value": "9990000166"}],
        "name": [{"family": "Twin"}], "birthDate": "1966-06-06",
    }  # fmt: skip
    goal = {"resourceType": "Goal", "lifecycleStatus": "active", "description": {"text": "Hers"}, "subject": {"reference": "Patient/r2"}}
    files = [write("r1.json", {**person, "id": "r1"}), write("r2.json", {**person, "id": "r2"}), write("r3.json", goal)]
    assert [line["refused"] for line in demo.lines("import", *files, "--json")] == [0, 0, 0]
    (found,) = demo.get("hospital", "Patient?identifier=https://fhir.nhs.uk/Id/nhs-number|9990000166").json()["entry"]
    assert demo.get("hospital", f"Goal?patient={found['resource']['id']}").json()["total"] == 1


def test_every_command_of_sync_answers_in_json_too() -> None:
    from fhir_gateway.command_line.sync import subscriptions_app, sync_app

    for made in (*sync_app.registered_commands, *subscriptions_app.registered_commands):
        assert made.callback is not None and "json" in inspect.signature(made.callback).parameters, made.name


@pytest.mark.parametrize("known_by", ["what it was called", pytest.param("its identifier", marks=pytest.mark.slow)])
def test_an_operators_file_changes_what_of_the_directory_is_here_already(demo: Gateway, tmp_path: Path, known_by: str) -> None:
    """Who takes a partner out of a protocol by a file is not told that nothing changed while access stays open."""
    key = known_by.rsplit(" ", 1)[-1]

    def brought(who: str, call: str, *resources: dict[str, Any]) -> dict[str, Any]:
        entries = [{"fullUrl": f"https://{call}.example/fhir/{r['resourceType']}/{r['id']}", "resource": r} for r in resources]
        (tmp_path / "directory.json").write_text(json.dumps({"resourceType": "Bundle", "type": "collection", "entry": entries}))
        done = demo.command("import", "--as", who, str(tmp_path / "directory.json"), "--json")
        (line,) = lines(done.stdout)
        return line | {"code": done.returncode}

    def named(resource: str, id: str, **more: Any) -> dict[str, Any]:
        return {"resourceType": resource, "id": f"{key}-{id}", "active": True, "identifier": [{"system": f"urn:{key}", "value": id}], **more}

    people = [named("Practitioner", p, name=[{"family": f"{p}-{key}"}]) for p in ("ann", "bo")]
    place = named("Organization", "place", name="The old name")
    role = named("PractitionerRole", "role", practitioner={"reference": f"Practitioner/{key}-ann"}, organization={"reference": f"Organization/{key}-place"})
    refs = {r.split("/fhir/")[1]: here for r, here in brought("operator", key, place, *people, role)["refs"].items()}
    member = [{"entity": {"reference": refs[f"Practitioner/{key}-{p}"]}} for p in ("ann", "bo")]
    group = named("Group", "partners", type="practitioner", actual=True, member=member)
    refs |= {r.split("/fhir/")[1]: here for r, here in brought("operator", key, group)["refs"].items()}

    after = [{**place, "name": "The new name"}, {**group, "member": member[:1]}, people[0], {**role, "active": False}]
    call = key if known_by == "what it was called" else f"other-{key}"
    if call == key:  # nobody else changes it, and is not told that it did
        refused = brought("hospital", call, after[0])
        assert (refused["code"], refused["written"], refused["unchanged"], refused["refused"]) == (1, 0, 0, 1)
        assert "only an operator" in refused["unmapped"][0]["why"]
        assert demo.get("link-worker", refs[f"Organization/{key}-place"]).json()["name"] == "The old name"
    done = brought("operator", call, *after)
    assert (done["code"], done["refused"]) == (0, 0) and done["written"] >= 3
    assert set(done["refs"].values()) <= set(refs.values()), "it is the same entry"
    assert demo.get("link-worker", refs[f"Organization/{key}-place"]).json()["name"] == "The new name"
    assert demo.get("link-worker", refs[f"PractitionerRole/{key}-role"]).json()["active"] is False
    now = demo.get("link-worker", refs[f"Group/{key}-partners"]).json()
    assert [m["entity"]["reference"] for m in now["member"]] == [refs[f"Practitioner/{key}-ann"]]
    again = brought("operator", call, *after)
    assert (again["written"], again["unchanged"]) == (0, 4)
