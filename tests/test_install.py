"""An installation without the demo: how the first organisation, system and person come in, by commands alone."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest
from joserfc import jwt
from joserfc.jwk import ECKey

from .conftest import Gateway, gateway

ODS = "https://fhir.nhs.uk/Id/ods-organization-code"
HOSPITAL = {
    "resourceType": "Organization", "active": True, "name": "Northern General",
    "identifier": [{"system": ODS, "value": "RHQ"}],
    "type": [{"coding": [{"system": "https://fhir-gateway.example/CodeSystem/sector", "code": "health"}]}],
}  # fmt: skip
PLAN = {
    "plan": "1", "id": "first", "title": "Getting home", "status": "active",
    "person": {"name": {"given": ["Wilhelmina"], "family": "Quist"}, "birthDate": "1950-02-01",
               "nhsNumber": "9449305552"},
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
