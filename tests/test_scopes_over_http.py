"""Scopes on every interaction, over HTTP: a request goes through if and only if the plain rule says so.

The reader is a person reading their own record, so that consent allows everything and the scope alone decides. Each request names what
it needs (`docs/apps.md`); 403 is the answer to a missing one, before anything is looked up.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fhir_gateway.auth import keys
from fhir_gateway.auth.tokens import Caller, mint
from fhir_gateway.domain.scopes import Scopes
from fhir_gateway.store import sqlite

from .conftest import Gateway, gateway, times
from .staff import consent, id_of, signed_in
from .staff import permit as rule

Need = tuple[str, str]  # interaction, type
LETTERS = st.sets(st.sampled_from("cruds")).map(lambda s: "".join(c for c in "cruds" if c in s)).filter(bool)
WORDS = st.builds("{}/{}.{}".format, st.sampled_from(["patient", "user", "system"]), st.sampled_from(["*", "Goal", "CarePlan", "Patient", "Observation"]), LETTERS)
SCOPES = st.lists(WORDS | st.sampled_from(["patient/Goal.read", "patient/*.write", "user/Goal.*", "openid", "launch/patient"]), min_size=1, max_size=4)


class House:
    """The demo, its person, and tokens of hers with whatever scopes, signed by the house's own key."""

    def __init__(self, demo: Gateway) -> None:
        self.demo, self.http = demo, httpx2.Client(base_url=f"{demo.base}/fhir", timeout=30)
        (file,) = demo.data.rglob("*.sqlite")
        self.key = asyncio.run(self._key(file))
        me = Goal(demo.call("patient", "POST", "Goal", body=goal(demo, "of the scopes")).json()["id"])
        self.goal = me

    async def _key(self, file: Path) -> keys.SigningKey:
        store = await sqlite.open(file)
        try:
            return (await keys.ring(store, datetime.now(UTC))).signer
        finally:
            await store.close()

    def token(self, scopes: str, launch: bool = True) -> str:
        at, person = datetime.now(UTC), f"Patient/{self.demo.patient}"
        caller = Caller(
            "patient", "test", person, "patient", scopes, self.demo.base, f"t-{at.timestamp()}", at + timedelta(minutes=10), patient=person,
            launch=person if launch else None,
        )  # fmt: skip
        return mint(self.key, caller, f"{self.demo.base}/fhir", at)

    def ask(self, token: str, method: str, path: str, body: Any = None, media: str = "application/fhir+json", **headers: str) -> httpx2.Response:
        content = body if isinstance(body, str) else json.dumps(body) if body is not None else None
        sent = {"Authorization": f"Bearer {token}", **({"Content-Type": media} if content is not None else {}), **headers}
        url = f"{self.demo.base}{path}" if path.startswith("/") else path
        return self.http.request(method, url, content=content, headers=sent)


class Goal(str):
    """The id of a goal that every request may be about."""


def goal(demo: Gateway, text: str) -> dict[str, Any]:
    return {
        "resourceType": "Goal", "lifecycleStatus": "active", "description": {"text": text}, "subject": {"reference": f"Patient/{demo.patient}"},
    }  # fmt: skip


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with gateway(tmp_path_factory.mktemp("scopes"), "--demo") as g:
        yield House(g)


FORM = "application/x-www-form-urlencoded"
STALE = {"If-Match": 'W/"999"'}  # a change that is allowed is refused as stale: nothing moves, and the answer is not 403


def requests(house: House) -> dict[str, tuple[tuple[Need, ...], tuple[Any, ...], dict[str, str]]]:
    """By name: what it needs, how it is asked (method, path, body, media), headers."""
    id, patient = house.goal, house.demo.patient
    body = goal(house.demo, "written")
    there = {**body, "id": str(id)}
    patch, edit = [{"op": "replace", "path": "/description/text", "value": "x"}], "application/json-patch+json"
    part = [{"name": n, v: x} for n, v, x in (("type", "valueCode", "replace"), ("path", "valueString", "Goal.description.text"), ("value", "valueString", "x"))]
    edits = {"resourceType": "Parameters", "parameter": [{"name": "operation", "part": part}]}
    where = "identifier=urn:nowhere%7C1"

    def of(*needs: str) -> tuple[Need, ...]:
        return tuple((n[0], n[2:]) for n in needs)

    return {
        "read": (of("r Goal"), ("GET", f"Goal/{id}"), {}),
        "read what is not there": (of("r Goal"), ("GET", "Goal/nothing"), {}),
        "vread": (of("r Goal"), ("GET", f"Goal/{id}/_history/1"), {}),
        "history of one": (of("r Goal"), ("GET", f"Goal/{id}/_history"), {}),
        "history of a type": (of("s Goal"), ("GET", "Goal/_history?_count=1"), {}),
        "history of everything": (of("s *"), ("GET", "_history?_count=1"), {}),
        "search": (of("s Goal"), ("GET", "Goal?_count=1"), {}),
        "search by form": (of("s Goal"), ("POST", "Goal/_search", "_count=1", FORM), {}),
        "search of everything": (of("s *"), ("GET", "?_count=1"), {}),
        "search of two types": (of("s Goal", "s CarePlan"), ("GET", "?_type=Goal,CarePlan&_count=1"), {}),
        "search in a compartment": (of("s Goal"), ("GET", f"Patient/{patient}/Goal?_count=1"), {}),
        "chained search": (of("s Goal", "s Patient"), ("GET", "Goal?patient:Patient.name=Amina&_count=1"), {}),
        "everything": (of("r Patient"), ("GET", f"Patient/{patient}/$everything?_count=1"), {}),
        "meta": (of("r Goal"), ("GET", f"Goal/{id}/$meta"), {}),
        "meta-add": (of("u Goal", "r Goal"), ("POST", f"Goal/{id}/$meta-add", {"resourceType": "Parameters", "parameter": [{"name": "meta", "valueMeta": {"tag": [{"system": "urn:test", "code": "x"}]}}]}), STALE),
        "update": (of("u Goal"), ("PUT", f"Goal/{id}", there), STALE),
        "patch": (of("u Goal", "r Goal"), ("PATCH", f"Goal/{id}", patch, edit), STALE),
        "delete": (of("d Goal"), ("DELETE", f"Goal/{id}"), STALE),
        "patch by condition": (of("u Goal", "r Goal", "s Goal"), ("PATCH", f"Goal?{where}", patch, edit), STALE),
        "delete by condition": (of("d Goal", "s Goal"), ("DELETE", f"Goal?{where}"), STALE),
        "create what is invalid": (of("c Goal"), ("POST", "Goal", {**body, "lifecycleStatus": "bogus"}), {}),
        "transaction with a stale change": (
            of("u Goal"), ("POST", "", {"resourceType": "Bundle", "type": "transaction", "entry": [
                {"resource": there, "request": {"method": "PUT", "url": f"Goal/{id}", "ifMatch": 'W/"999"'}}]}), {}),
        "transaction with a stale patch": (
            of("u Goal", "r Goal"), ("POST", "", {"resourceType": "Bundle", "type": "transaction", "entry": [
                {"resource": edits, "request": {"method": "PATCH", "url": f"Goal/{id}", "ifMatch": 'W/"999"'}}]}), {}),
        "transaction that reads": (
            of("r Goal"), ("POST", "", {"resourceType": "Bundle", "type": "transaction", "entry": [{"request": {"method": "GET", "url": f"Goal/{id}"}}]}), {}),
        "transaction that searches": (
            of("s Goal"), ("POST", "", {"resourceType": "Bundle", "type": "transaction", "entry": [{"request": {"method": "GET", "url": "Goal?_count=1"}}]}), {}),
        "the plan": (of("r Patient"), ("GET", f"/plans/{patient}"), {}),
    }  # fmt: skip


def allowed(scopes: str, needs: tuple[Need, ...]) -> bool:
    """The plain rule: every need is covered by a scope that is for people."""
    mine = [s for s in Scopes.parse(scopes).resources if s.level in ("patient", "user")]
    return all(any(letter in s.may and (s.type in ("*", type)) for s in mine) for letter, type in needs)


NAMES = (
    "read", "read what is not there", "vread", "history of one", "history of a type", "history of everything", "search", "search by form",
    "search of everything", "search of two types", "search in a compartment", "chained search", "everything", "meta", "meta-add", "update", "patch",
    "delete", "patch by condition", "delete by condition", "create what is invalid", "transaction with a stale change", "transaction with a stale patch",
    "transaction that reads", "transaction that searches", "the plan",
)  # fmt: skip


@given(words=SCOPES, name=st.sampled_from(NAMES))
@settings(max_examples=times(150), deadline=None, derandomize=True, suppress_health_check=list(HealthCheck), database=None)
def test_a_request_goes_through_if_and_only_if_the_scopes_cover_it(house: House, words: list[str], name: str) -> None:
    needs, ask, headers = requests(house)[name]
    answer = house.ask(house.token(" ".join(words)), *ask, **headers)
    assert answer.status_code < 500
    assert (answer.status_code != 403) == allowed(" ".join(words), needs), f"{name} with {words}: {answer.status_code} {answer.text[:300]}"


@pytest.mark.parametrize("name", NAMES)
def test_each_request_goes_through_with_exactly_its_own_scopes_and_not_with_all_others(house: House, name: str) -> None:
    needs, ask, headers = requests(house)[name]
    exact = " ".join(f"patient/{type}.{letter}" for letter, type in needs)
    assert house.ask(house.token(exact), *ask, **headers).status_code != 403, exact
    for letter, type in needs:
        others = "".join(c for c in "cruds" if c != letter)
        rest = " ".join(f"patient/{t}.{others if t == type else 'cruds'}" for t in ("Goal", "CarePlan", "Patient") if type != "*")
        refused = house.ask(house.token(rest or f"patient/*.{others}"), *ask, **headers)
        assert refused.status_code == 403, f"{name} with {rest}"


@pytest.mark.parametrize("asked", ["Goal?_include=Goal:patient&_count=1", "Patient?_revinclude=Goal:patient&_count=1"])
def test_what_comes_along_needs_its_own_scope(house: House, asked: str) -> None:
    main, other = ("Goal", "Patient") if asked.startswith("Goal") else ("Patient", "Goal")
    enough = "r" if main == "Goal" else "rs"
    for scopes, along in ((f"patient/{main}.s", False), (f"patient/{main}.s patient/{other}.s", False), (f"patient/{main}.s patient/{other}.{enough}", True)):
        page = house.ask(house.token(scopes), "GET", asked).json()
        assert any(e["resource"]["resourceType"] == other for e in page["entry"] if e["search"]["mode"] == "include") == along, scopes


def test_everything_brings_along_only_what_may_be_read(house: House) -> None:
    page = house.ask(house.token("patient/Patient.r patient/Goal.r patient/CarePlan.s"), "GET", f"Patient/{house.demo.patient}/$everything?_count=200").json()
    assert {e["resource"]["resourceType"] for e in page["entry"]} == {"Patient", "Goal"}


def test_a_search_parameter_in_a_scope_holds_on_every_interaction(house: House) -> None:
    """What it shuts out is as if absent: not read, not found, not counted, not in its history, not brought along, not changed."""
    tagged = {**goal(house.demo, "tagged"), "lifecycleStatus": "on-hold"}
    mine = house.demo.call("patient", "POST", "Goal", body=tagged).json()["id"]
    token = house.token("patient/Goal.cruds?lifecycle-status=on-hold patient/Patient.rs")
    assert house.ask(token, "GET", f"Goal/{mine}").status_code == 200
    for path in (f"Goal/{house.goal}", f"Goal/{house.goal}/_history/1", f"Goal/{house.goal}/_history", f"Goal/{house.goal}/$meta"):
        assert house.ask(token, "GET", path).status_code == 404, path
    for path in ("Goal?_count=200", "Goal?_summary=count", f"Patient/{house.demo.patient}/Goal"):
        assert house.ask(token, "GET", path).json()["total"] == 1, path
    for path in ("Patient?_revinclude=Goal:patient", f"Patient/{house.demo.patient}/$everything?_count=200", "Goal/_history?_count=200"):
        found = [e["resource"] for e in house.ask(token, "GET", path).json()["entry"] if e.get("resource", {}).get("resourceType") == "Goal"]
        assert found and {g["lifecycleStatus"] for g in found} == {"on-hold"}, path
    hidden = house.ask(token, "DELETE", f"Goal/{house.goal}", **STALE)
    assert hidden.status_code == house.ask(token, "DELETE", "Goal/nothing", **STALE).status_code == 404
    assert house.ask(token, "PUT", f"Goal/{house.goal}", {**tagged, "id": str(house.goal)}, **STALE).status_code in (404, 405)


def test_scopes_for_one_person_without_a_person_open_nothing(house: House) -> None:
    assert house.ask(house.token("patient/*.rs", launch=False), "GET", "Goal").status_code == 403
    assert house.ask(house.token("patient/*.rs user/CarePlan.rs", launch=False), "GET", "Goal").status_code == 403


# -- what a write leaves -----------------------------------------------------------------------------------------------

PATCH_JSON = "application/json-patch+json"


def outside(answer: httpx2.Response) -> bool:
    return answer.status_code == 403 and 'error="insufficient_scope"' in answer.headers["www-authenticate"]


@pytest.mark.parametrize("way", ["POST", "PUT where", "transaction", "batch", "PUT", "PATCH", "PATCH in a transaction", "meta-add", "DELETE"])
def test_a_granular_scope_holds_for_what_a_write_finds_and_leaves(house: House, way: str) -> None:
    """Within it goes through; what would be left outside, or is outside now, is refused and nothing is written."""
    token = house.token("patient/Goal.cruds?lifecycle-status=proposed")
    into = {**goal(house.demo, "proposed"), "lifecycleStatus": "proposed"}
    beyond = {**into, "lifecycleStatus": "active"}
    made = house.ask(token, "POST", "Goal", into)
    assert made.status_code == 201, made.text
    path, seen = f"Goal/{made.json()['id']}", {"If-Match": 'W/"1"'}
    moved = [{"op": "replace", "path": "/lifecycleStatus", "value": "cancelled"}]
    told = [{"op": "replace", "path": "/description/text", "value": "told"}]

    def bundle(kind: str, method: str, url: str, resource: Any, **more: str) -> tuple[str, str, Any]:
        return "POST", "", {"resourceType": "Bundle", "type": kind, "entry": [{"resource": resource, "request": {"method": method, "url": url, **more}}]}

    if way == "POST":
        assert outside(house.ask(token, "POST", "Goal", beyond))
    elif way == "PUT where":
        assert outside(house.ask(token, "PUT", "Goal?identifier=urn:none%7C7", beyond))
    elif way == "transaction":
        assert outside(house.ask(token, *bundle("transaction", "POST", "Goal", beyond)))
    elif way == "batch":
        assert house.ask(token, *bundle("batch", "POST", "Goal", beyond)).json()["entry"][0]["response"]["status"].startswith("403")
    elif way == "PUT":
        assert outside(house.ask(token, "PUT", path, {**beyond, "id": made.json()["id"]}, **seen))
    elif way == "PATCH":
        assert outside(house.ask(token, "PATCH", path, moved, PATCH_JSON, **seen))
        assert house.ask(token, "PATCH", path, told, PATCH_JSON, **seen).status_code == 200
    elif way == "PATCH in a transaction":
        parts = [{"name": n, v: x} for n, v, x in (("type", "valueCode", "replace"), ("path", "valueString", "Goal.lifecycleStatus"), ("value", "valueCode", "active"))]
        edits = {"resourceType": "Parameters", "parameter": [{"name": "operation", "part": parts}]}
        assert outside(house.ask(token, *bundle("transaction", "PATCH", path, edits, ifMatch='W/"1"')))
    elif way == "meta-add":
        only = house.token("patient/Goal.r patient/Goal.u?_tag:not=urn:test%7Cx")
        body = {"resourceType": "Parameters", "parameter": [{"name": "meta", "valueMeta": {"tag": [{"system": "urn:test", "code": "x"}]}}]}
        assert outside(house.ask(only, "POST", f"{path}/$meta-add", body, **seen))
    else:
        only = house.token("patient/Goal.rs patient/Goal.d?lifecycle-status=active")
        assert outside(house.ask(only, "DELETE", path, **seen))
        assert house.ask(token, "DELETE", path, **seen).status_code in (200, 204)
    if way not in ("PATCH", "DELETE"):
        assert house.ask(token, "GET", path).json()["meta"]["versionId"] == "1"


def test_the_version_before_must_be_within_the_scope_to_change_too(house: House) -> None:
    token = house.token("patient/Goal.rs patient/Goal.u?lifecycle-status=proposed")
    active = house.demo.call("patient", "POST", "Goal", body=goal(house.demo, "active now")).json()
    moved = {**active, "lifecycleStatus": "proposed"}
    assert outside(house.ask(token, "PUT", f"Goal/{active['id']}", moved, **{"If-Match": 'W/"1"'}))


def test_a_scope_for_ended_consents_shares_nothing(house: House) -> None:
    body = permit(house.demo, "link-worker")
    token = house.token("patient/Consent.c?status=inactive")
    assert outside(house.ask(token, "POST", "Consent", body))
    assert house.ask(house.token("patient/Consent.c?status=active"), "POST", "Consent", body).status_code == 201


def permit(demo: Gateway, who: str) -> dict[str, Any]:
    def coded(system: str, code: str) -> dict[str, Any]:
        return {"coding": [{"system": system, "code": code}]}

    actor = {"role": coded("http://terminology.hl7.org/CodeSystem/v3-ParticipationType", "IRCP"), "reference": {"reference": demo.persona(who)["fhirUser"]}}
    kind = {"system": "http://hl7.org/fhir/resource-types", "code": "Goal"}
    return {
        "resourceType": "Consent", "status": "active", "patient": {"reference": f"Patient/{demo.patient}"},
        "scope": coded("http://terminology.hl7.org/CodeSystem/consentscope", "patient-privacy"), "category": [coded("http://loinc.org", "59284-0")],
        "policyRule": coded("https://fhir-gateway.example/CodeSystem/policy", "uk-direct-care"),
        "provision": {"provision": [{"type": "permit", "period": {"end": "2040-12-31"}, "actor": [actor], "class": [kind]}]},
    }  # fmt: skip


def test_a_launch_on_one_person_leaves_another_whom_the_user_may_see_as_if_absent(house: House) -> None:
    """The GP sees both by their own consents. An app opened on one reaches nobody else: read, found, counted, followed or written."""
    g, user = house.demo, house.demo.persona("gp")["fhirUser"]
    born = {"resourceType": "Patient", "name": [{"family": "Bystander"}], "birthDate": "1949-03-02"}
    a, b = g.patient, id_of(g.call("hospital", "POST", "Patient", body=born))
    bram = signed_in(g, "person-bystander", f"Patient/{b}")
    theirs = {**goal(g, "Of the bystander"), "subject": {"reference": f"Patient/{b}"}}
    made = bram.call("POST", "Goal", body=theirs)
    let = bram.call("POST", "Consent", body=consent(b, rule(user, action=[{"coding": [
        {"system": "http://terminology.hl7.org/CodeSystem/consentaction", "code": code} for code in ("access", "collect", "correct")]}])))  # fmt: skip
    assert made.status_code == let.status_code == 201, (made.text, let.text)
    id, etag = id_of(made), {"If-Match": made.headers["etag"]}

    def token(scopes: str, launch: str | None) -> str:
        at = datetime.now(UTC)
        caller = Caller(
            "gp", "test", user, "professional", scopes, g.base, f"l-{at.timestamp()}", at + timedelta(minutes=10), "TREAT",
            surgery, roles=frozenset({"clinician"}), launch=launch,
        )  # fmt: skip
        return mint(house.key, caller, f"{g.base}/fhir", at)

    surgery = f"Organization/{g.get('gp', 'Organization?identifier=D82001').json()['entry'][0]['resource']['id']}"
    free, bound, person = token("user/*.cruds", None), token("patient/*.cruds", f"Patient/{a}"), token("patient/*.cruds", f"Patient/{b}")
    reads = (f"Patient/{b}", f"Goal/{id}", f"Goal/{id}/_history/1", f"Goal/{id}/_history", f"Patient/{b}/$everything", f"/plans/{b}")
    for path in reads[:-1]:
        assert house.ask(free, "GET", path).status_code == 200, f"the GP may see it: {path}"
    for path in reads:
        hidden, absent = house.ask(bound, "GET", path), house.ask(bound, "GET", path.replace(b, "nobody").replace(id, "nothing"))
        assert hidden.status_code == absent.status_code == 404 and "bystander" not in hidden.text.lower(), path
    searches = (
        "Goal?_count=500", f"Goal?patient={b}", f"Goal?_id={id}", "Patient?family=Bystander", f"Patient/{b}/Goal", "Goal?patient.family=Bystander",
        f"?_type=Goal,Patient&patient={b}", "Patient?_revinclude=Goal:patient&_count=200", "_history?_count=500", "Goal/_history?_count=500",
    )  # fmt: skip
    for path in searches:
        found = json.dumps(house.ask(bound, "GET", path).json().get("entry", []))
        assert id not in found and b not in found, path
    assert id in house.ask(free, "GET", searches[1]).text and house.ask(bound, "GET", searches[1] + "&_summary=count").json()["total"] == 0
    there = {**theirs, "id": id}
    bundle = {"resourceType": "Bundle", "type": "transaction", "entry": [{"resource": theirs, "request": {"method": "POST", "url": "Goal"}}]}
    edit = [{"op": "replace", "path": "/description/text", "value": "Taken"}]
    writes: dict[str, tuple[Any, ...]] = {
        "create": ("POST", "Goal", theirs), "transaction": ("POST", "", bundle), "update": ("PUT", f"Goal/{id}", there),
        "patch": ("PATCH", f"Goal/{id}", edit, "application/json-patch+json"), "delete": ("DELETE", f"Goal/{id}"),
    }  # fmt: skip
    for name, ask in writes.items():
        sent = etag if name in ("update", "patch", "delete") else {}
        assert house.ask(bound, *ask, **sent).status_code in (404, 405, 422), name
    assert bram.get(f"Goal/{id}").headers["etag"] == made.headers["etag"] and bram.total("Goal") == 1, "nothing was written"
    assert house.ask(person, "GET", f"Goal/{id}").status_code == 200, "opened on them, the same app reads it"
    assert house.ask(person, "PUT", f"Goal/{id}", {**there, "lifecycleStatus": "on-hold"}, **etag).status_code == 200, "and writes it"
