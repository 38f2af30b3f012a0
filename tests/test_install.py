"""An installation without the demo: how the first organisation, system and person come in, by commands alone."""

from __future__ import annotations

import json
import re
import shlex
import time
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest
from joserfc import jwt
from joserfc.jwk import ECKey

from .conftest import ROOT, Gateway, gateway

ODS = "https://fhir.nhs.uk/Id/ods-organization-code"
NHS = "9449305552"
HOSPITAL = {
    "resourceType": "Organization", "active": True, "name": "Northern General",
    "identifier": [{"system": ODS, "value": "RHQ"}],
    "type": [{"coding": [{"system": "https://fhir-gateway.example/CodeSystem/sector", "code": "health"}]}],
}  # fmt: skip
PLAN = {
    "plan": "1", "id": "first", "title": "Getting home", "status": "active",
    "person": {"name": {"given": ["Wilhelmina"], "family": "Quist"}, "birthDate": "1950-02-01",
               "nhsNumber": NHS},
    "goals": [{"id": "g", "text": "Cook again"}],
}  # fmt: skip
ASSERTION = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A gateway as Compose starts it: on every address, told how others reach it, no demo."""
    with gateway(tmp_path_factory.mktemp("bare")) as g:
        yield g


def write(g: Gateway, name: str, what: Any) -> str:
    (g.data.parent / name).write_text(json.dumps(what))
    return name


KEY = ECKey.generate_key("P-384", {"use": "sig", "alg": "ES384", "kid": "first"}, private=True)


def token(g: Gateway, scope: str) -> httpx2.Response:
    now = int(time.time())
    claims = {"iss": "northern", "sub": "northern", "aud": f"{g.base}/oauth/token", "iat": now, "exp": now + 60, "jti": f"j-{time.time_ns()}"}
    signed = jwt.encode({"alg": "ES384", "kid": "first"}, claims, KEY, algorithms=["ES384"])
    form = {"grant_type": "client_credentials", "scope": scope, "client_assertion_type": ASSERTION, "client_assertion": signed}
    return httpx2.post(f"{g.base}/oauth/token", data=form)


def add(g: Gateway, *more: str, keys: Any = None, id: str = "northern", scopes: str = "system/*.cruds") -> Any:
    file = write(g, "keys.json", keys or {"keys": [KEY.as_dict(private=False)]})
    return g.command("clients", "add", id, "--keys", file, "--organisation", "RHQ", "--scopes", scopes, *more)


def test_first_the_organisation_then_its_system_then_a_person(bare: Gateway) -> None:
    g = bare
    assert g.get(None, "/health").status_code == 200
    assert g.command("clients", "list").stdout == ""
    early = add(g, "--contributor")
    assert early.returncode == 2 and "import --as operator" in early.stderr
    nobody = g.command("import", write(g, "plan.json", PLAN))
    assert nobody.returncode == 2 and "clients add" in nobody.stderr

    (line,) = g.lines("import", "--as", "operator", write(g, "hospital.json", HOSPITAL), "--json")
    assert (line["written"], line["refused"]) == (1, 0)
    (again,) = g.lines("import", "--as", "operator", "hospital.json", "--json")
    assert (again["written"], again["unchanged"]) == (0, 1)
    done = add(g, "--contributor")
    assert done.returncode == 0, done.stderr
    assert add(g).returncode == 2, "the id is taken"
    (listed,) = g.lines("clients", "list", "--json")
    assert (listed["id"], listed["organisation"], listed["contributor"], listed["name"]) == ("northern", "RHQ", True, "Northern General")

    (line,) = g.lines("import", "--as", "northern", "plan.json", "--json")
    assert line["written"] > 1 and line["refused"] == 0
    answer = token(g, "system/*.rs")
    assert answer.status_code == 200, answer.text
    bearer = {"Authorization": f"Bearer {answer.json()['access_token']}"}
    found = httpx2.get(f"{g.base}/fhir/Goal?patient={line['patient']}", headers=bearer).json()
    assert [e["resource"]["description"]["text"] for e in found["entry"]] == ["Cook again"]
    (same,) = g.lines("import", "--as", "northern", "plan.json", "--json")
    assert same["written"] == 0
    told = g.command("explain", "--who", "northern", "--what", f"Patient/{line['patient']}", "--json")
    assert json.loads(told.stdout)["decision"] == "permit", told.stdout

    gone = g.command("clients", "remove", "northern")
    assert gone.returncode == 0 and "refused from now on" in gone.stdout, gone.stderr
    assert httpx2.get(f"{g.base}/fhir/Goal?patient={line['patient']}", headers=bearer).status_code == 401
    assert g.command("clients", "list").stdout == ""
    again = g.command("clients", "remove", "northern")
    assert again.returncode == 2 and "no client" in again.stderr


DIRECTORY = {"resourceType": "Bundle", "type": "collection", "entry": [
    {"resource": HOSPITAL | {"id": "rhq"}},
    {"resource": {"resourceType": "Practitioner", "id": "123", "active": True, "name": [{"family": "Rao", "given": ["Asha"]}],
                  "identifier": [{"system": "https://fhir.hl7.org.uk/Id/gmc-number", "value": "7654321"}]}},
    {"resource": {"resourceType": "PractitionerRole", "id": "9", "active": True, "practitioner": {"reference": "Practitioner/123"}, "organization": {"reference": "Organization/rhq"}}},
]}  # fmt: skip


@pytest.fixture(scope="module")
def followed(tmp_path_factory: pytest.TempPathFactory) -> Gateway:
    """The four commands of the README's "Without the demo", as they stand there, with the files that they name. Nothing serves."""
    folder = tmp_path_factory.mktemp("followed")
    (folder / "data").mkdir()
    g = Gateway(folder / "data", 1, {})
    write(g, "organisations.json", DIRECTORY)
    write(g, "public-jwks.json", {"keys": [KEY.as_dict(private=False)]})
    write(g, "plan.json", PLAN | {"person": {"name": {"given": ["Wilhelmina"], "family": "Quist"}, "birth_date": "1950-02-01", "nhs_number": NHS}})
    (folder / "password").write_text("only-for-this-test\n")
    (block,) = re.findall(r"^## Without the demo\n.+?^```\n(.+?)^```", (ROOT / "README.md").read_text(), re.M | re.S)
    for line in block.splitlines():
        name, *words = shlex.split(line, comments=True)
        done = g.command(*words, *(("--password-file", "password") if words[0] == "people" else ()))
        assert name == "fhir-gateway" and done.returncode == 0, (line, done.stdout, done.stderr)
    return g


def test_the_readme_can_be_followed_and_says_where_each_is_now(followed: Gateway) -> None:
    (again,) = followed.lines("import", "--as", "operator", "organisations.json", "--json")
    assert set(again["refs"]) == {"Organization/rhq", "Practitioner/123", "PractitionerRole/9"} and again["unchanged"] == 3
    (asha,) = followed.lines("people", "list", "--json")
    assert asha["fhirUser"] == again["refs"]["Practitioner/123"] != "Practitioner/123"
    said = followed.command("import", "--as", "operator", "organisations.json").stdout
    assert f"Practitioner/123 is {asha['fhirUser']} here" in said


@pytest.mark.slow
def test_commands_take_the_id_from_elsewhere_an_identifier_or_an_nhs_number(followed: Gateway) -> None:
    g, nhs = followed, NHS
    (line,) = g.lines("import", "--as", "northern", "plan.json", "--json")
    what, gmc = f"Patient/{line['patient']}", "https://fhir.hl7.org.uk/Id/gmc-number"
    answers = [g.lines("explain", "--who", who, "--what", w, "--json") for who in ("Practitioner/123", f"{gmc}|7654321") for w in (what, f"Patient/{nhs}")]
    assert all(a == answers[0] for a in answers)
    for who in ("Practitioner/124", f"{gmc}|1", "role:Organization/none x|y"):
        done = g.command("explain", "--who", who, "--what", what)
        assert done.returncode == 2 and "--who" in done.stderr and len(done.stderr.splitlines()) == 1, done.stderr
    g.command("people", "add", "officer", "--who", f"{gmc}|7654321", "--organisation", "RHQ", "--role", "privacy-officer", "--password-file", "password")
    held = g.command("retain", "hold", nhs, "--reason", "An inquiry", "--officer", "officer")
    assert held.returncode == 0 and line["patient"] in held.stdout and nhs not in held.stdout, held.stderr
    assert [h["person"] for h in g.lines("retain", "holds", "--json")] == [what]
    g.lines("audit", "seal", "--json")
    proof = g.command("audit", "proof", f"https://fhir.nhs.uk/Id/nhs-number|{nhs}", "proof.json")
    assert proof.returncode == 0 and what in proof.stdout, proof.stderr
    for asked in (("person", "export", "9990000018", "--officer", "officer"), ("audit", "verify", "--person", "9990000018"), ("patients", "record", "9990000018", "no-notify", "--evidence", "x")):
        nobody = g.command(*asked)
        assert nobody.returncode == 2 and "this NHS number" in nobody.stderr and "9990000018" not in nobody.stderr, nobody.stderr
    (made,) = g.lines("person", "export", nhs, "--officer", "officer", "--json")
    assert made["person"] == what and nhs not in made["file"]


def test_what_must_not_be_registered_is_refused_in_words(bare: Gateway) -> None:
    bare.command("import", "--as", "operator", write(bare, "hospital.json", HOSPITAL))
    for refused, said in (
        (add(bare, id="b", keys={"keys": [KEY.as_dict(private=True)]}), "private"),
        (add(bare, id="b", keys={"keys": []}), "key"),
        (add(bare, id="b", scopes="user/*.rs"), "system/"),
        (add(bare, id="b", scopes="everything"), "system/"),
        (add(bare, id="no spaces"), "id"),
    ):
        assert refused.returncode == 2, refused.stdout
        assert said in refused.stderr and len(refused.stderr.strip().splitlines()) == 1


def test_an_operator_brings_in_organisations_but_nobodys_record(bare: Gateway) -> None:
    person = {"resourceType": "Patient", "name": [{"family": "Nobody"}]}
    goal = {"resourceType": "Goal", "lifecycleStatus": "active", "description": {"text": "x"}, "subject": {"reference": "Patient/x"}}
    for what in (person, goal, PLAN):
        done = bare.command("import", "--as", "operator", write(bare, "not.json", what), "--json")
        assert done.returncode == 1, done.stdout
        assert json.loads(done.stdout)["written"] == 0
