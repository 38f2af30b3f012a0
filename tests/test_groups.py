"""Groups of staff: operators write them, whoever is in one goes by its name now, and everybody else is as before."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import given as of_all
from hypothesis import strategies as st

from fhir_gateway import gate
from fhir_gateway.domain import consent as deciding
from fhir_gateway.domain import groups, reach
from fhir_gateway.domain.directory import Directory
from fhir_gateway.domain.predicate import matches
from fhir_gateway.domain.standing import Standing
from fhir_gateway.domain.types import Actor, Ask

from .conftest import Gateway
from .staff import Colleague, actor, consent, end, given, id_of, permit, put_directory, recorded, signed_in, wired_operator
from .worlds import NOW, P1, Dice, a_consent, a_resource, a_standing, parsed

PLACES = {f"Organization/{n}": part for n, part in (("trust", None), ("ward", "Organization/trust"), ("surgery", None), ("closed", None))}
STAFF = [f"Practitioner/{n}" for n in ("a", "b", "c")]
ROLES = {f"PractitionerRole/{p[-1]}-{o.partition('/')[2]}": (p, o) for p in STAFF for o in PLACES}
NAMES = [*PLACES, *STAFF, *ROLES]
EDGES = [NOW + timedelta(days=n) for n in (-9, -1, 1, 9)]
FAST = settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))


def group(*members: str, **more: Any) -> dict[str, Any]:
    return {"resourceType": "Group", "type": "practitioner", "actual": True, "name": "Night team",
            **({"member": [{"entity": {"reference": m}} for m in members]} if members else {}), **more}  # fmt: skip


# -- who is in one ----------------------------------------------------------------------------------------------------


@st.composite
def members(draw: Any) -> list[dict[str, Any]]:
    out = []
    for name in draw(st.lists(st.sampled_from(NAMES), max_size=4)):
        low, high = draw(st.sampled_from([None, *EDGES])), draw(st.sampled_from([None, *EDGES]))
        period = {k: v.isoformat() for k, v in (("start", low), ("end", high)) if v is not None}
        out.append({"entity": {"reference": name}, **({"period": period} if period else {}), **({"inactive": True} if draw(st.booleans()) and draw(st.booleans()) else {})})
    return out


def directory(*of: dict[str, Any], sure: bool = True) -> Directory:
    places = [({"resourceType": "Organization", "active": "closed" not in p, **({"partOf": {"reference": up}} if up else {})}, p, True) for p, up in PLACES.items()]
    people = [({"resourceType": "Practitioner"}, p, True) for p in STAFF]
    jobs = [({"resourceType": "PractitionerRole", "practitioner": {"reference": p}, "organization": {"reference": o}}, r, True) for r, (p, o) in ROLES.items()]
    return Directory.of([*places, *people, *jobs, *((g, f"Group/{n}", sure) for n, g in enumerate(of))])


asking = st.tuples(st.sampled_from([*STAFF, *ROLES]), st.sampled_from(list(PLACES)))


@FAST
@of_all(members(), asking, st.sampled_from([None, True, False]))
def test_the_name_of_a_group_is_that_of_its_members_now_and_of_nobody_else(who: list[dict[str, Any]], asks: tuple[str, str], active: bool | None) -> None:
    """For a no also of who is in it by way of an organisation that is no more."""
    body = group(member=who, **({} if active is None else {"active": active}))
    without = directory().actor(asks[0], kind="professional", organisation=asks[1], at=NOW)
    there = directory(body).actor(asks[0], kind="professional", organisation=asks[1], at=NOW)

    def now(names: frozenset[str]) -> bool:
        spans = ((m["entity"]["reference"], m.get("period", {}), m.get("inactive")) for m in who)
        return active is not False and any(
            n in names and not off and datetime.fromisoformat(p.get("start", "2000-01-01T00:00:00+00:00")) <= NOW <= datetime.fromisoformat(p.get("end", "2100-01-01T00:00:00+00:00"))
            for n, p, off in spans
        )  # fmt: skip

    assert ("Group/0" in there.ids) == now(without.ids)
    assert ("Group/0" in there.opening) == now(without.opening)
    assert there.ids - {"Group/0"} == without.ids and there.past - {"Group/0"} == without.past
    assert "Group/0" not in directory(body, sure=False).actor(asks[0], kind="professional", organisation=asks[1], at=NOW).ids, "nobody confirmed it"


@FAST
@of_all(st.integers(0, 2**48).map(Dice), members(), asking, st.sampled_from(["permit", "deny"]))
def test_what_is_said_to_a_group_changes_nothing_for_who_is_not_in_it_and_for_a_member_what_it_would_by_name(
    dice: Dice, who: list[dict[str, Any]], asks: tuple[str, str], type: str
) -> None:
    """By both engines."""
    asker = directory(group(member=who)).actor(asks[0], kind="professional", organisation=asks[1], at=NOW, clinician=dice.one_in(2))
    rule = {**{k: v for k, v in a_consent(dice)["provision"].items() if k in ("class", "code", "securityLabel")}, "type": type}
    standing, facts = a_standing(dice, links=False), a_resource(dice, (P1,))
    asked = Ask(asker, dice.choice(("access", "disclose", "collect", "correct")), NOW, dice.choice(("TREAT", "HRESCH", "ETREAT")))

    def answer(*names: str) -> tuple[bool, str]:
        body = {**a_consent(Dice(1)), "status": "active", "provision": {"provision": [{**rule, "actor": [actor(n) for n in names]}]}} if names else None
        more = Standing(P1, standing.grants + (parsed([body]) if body else ()), standing.broken, standing.relationships, policy=standing.policy)
        said = deciding.decide(asked, facts, {P1: more})
        assert matches(reach.scope(asked, {P1: more}), facts) == said.permit
        return said.permit, said.basis

    lets = asker.ids if type == "deny" else asker.opening
    assert answer("Group/0") == (answer(asker.user) if "Group/0" in lets else answer())


@of_all(st.sampled_from([
    ({"actual": False}, "Group.type"), ({"type": "person"}, "Group.type"), ({"characteristic": [{}]}, "Group.characteristic"), ({"contained": [{}]}, "Group.contained"),
    ({"member": [{"entity": {"reference": "Patient/p"}}]}, "Group.member[0].entity"), ({"member": [{"entity": {"identifier": {"value": "1"}}}]}, "Group.member[0].entity"),
    ({"member": [{"entity": {"reference": "https://other.example/Practitioner/1"}}]}, "Group.member[0].entity"),
    ({"member": [{"entity": {"reference": "Group/0"}}]}, "Group.member[0].entity"), ({"managingEntity": {"reference": "RelatedPerson/r"}}, "Group"),
    ({"extension": [{"url": "urn:x", "valueReference": {"reference": "Patient/p"}}]}, "Group"),
]))  # fmt: skip
def test_what_is_no_group_of_staff_is_told_with_its_place_and_gives_nobody_a_name(wrong: tuple[dict[str, Any], str]) -> None:
    body = group("Practitioner/a") | wrong[0]
    said = groups.ill_formed(body)
    assert said is not None and said[0] == wrong[1]
    assert not directory(body).groups and groups.ill_formed(group("Practitioner/a", "Organization/x", "PractitionerRole/y")) is None


# -- who writes one ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def operator(demo: Gateway) -> Colleague:
    return signed_in(demo, "group-operator", demo.persona("privacy-officer")["fhirUser"], organisation="QX9", roles=("operator",))


def goals(demo: Gateway, who: str) -> int:
    return int(demo.get(who, f"Goal?patient={demo.patient}").json()["total"])


@pytest.mark.parametrize("who", ["gp", "link-worker", "patient", "proxy", "hospital", "stranger"])
def test_nobody_but_an_operator_writes_a_group_of_staff(demo: Gateway, operator: Colleague, who: str) -> None:
    """Not even whoever is in it, for themselves or for another; and in no other shape does a group of nobody's come in."""
    me = demo.persona("link-worker")["fhirUser"]
    made = operator.call("POST", "Group", body=group(me))
    assert made.status_code == 201, made.text
    ref, etag = f"Group/{id_of(made)}", {"If-Match": made.headers["etag"]}
    more = made.json() | {"member": [{"entity": {"reference": me}}, {"entity": {"reference": demo.persona("gp")["fhirUser"]}}]}
    entry = {"resource": group(me), "request": {"method": "POST", "url": "Group"}}
    tried = {
        "create": demo.call(who, "POST", "Group", body=group(me)),
        "update": demo.call(who, "PUT", ref, body=more, headers=etag),
        "patch": demo.call(who, "PATCH", ref, body=[{"op": "remove", "path": "/member/0"}], headers={**etag, "Content-Type": "application/json-patch+json"}),
        "delete": demo.call(who, "DELETE", ref, headers=etag),
        "transaction": demo.call(who, "POST", "", body={"resourceType": "Bundle", "type": "transaction", "entry": [entry]}),
    }
    assert {k: a.status_code for k, a in tried.items()} == dict.fromkeys(tried, 403), {k: a.text for k, a in tried.items() if a.status_code != 403}
    for other in (group(type="person"), group(type="device"), group(actual=False), group(type="person", member=[{"entity": {"reference": me}}])):
        answer = demo.call(who, "POST", "Group", body=other)
        assert answer.status_code in (403, 422), answer.text
    seen = demo.get(who, ref)
    assert seen.status_code == 200 and [m["entity"]["reference"] for m in seen.json()["member"]] == [me], "who is who everybody may read"
    assert operator.call("DELETE", ref, headers=etag).status_code in (200, 204)


def test_an_operator_signs_in_again_for_it_and_writes_well_formed_ones_alone(demo: Gateway, operator: Colleague) -> None:
    me = demo.persona("link-worker")["fhirUser"]
    made = operator.call("POST", "Group", body=group(me))
    ref, etag = f"Group/{id_of(made)}", {"If-Match": made.headers["etag"]}
    stale = signed_in(demo, "group-operator", minutes_ago=6)
    for answer in (stale.call("POST", "Group", body=group(me)), stale.call("PUT", ref, body=made.json() | {"active": False}, headers=etag), stale.call("DELETE", ref, headers=etag)):
        assert answer.status_code == 403 and 'max_age="300"' in answer.headers["www-authenticate"], answer.text
    about = {"entity": {"reference": f"Patient/{demo.patient}"}}
    for wrong in ({"type": "person"}, {"actual": False, "member": None}, {"member": [*made.json()["member"], about]}, {"managingEntity": {"reference": "RelatedPerson/r"}}):
        changed = {k: v for k, v in (made.json() | wrong).items() if v is not None}
        assert operator.call("PUT", ref, body=changed, headers=etag).status_code == 422, wrong
        fresh = {k: v for k, v in changed.items() if k not in ("id", "meta")}
        assert operator.call("POST", "Group", body=fresh).status_code in (403, 422), wrong
    assert operator.call("DELETE", ref, headers=etag).status_code in (200, 204)


def test_an_import_as_operator_brings_groups_in_once(demo: Gateway, tmp_path: Any) -> None:
    nurse = {"resourceType": "Practitioner", "id": "n", "active": True, "name": [{"family": "Imported"}]}
    bundle = {"resourceType": "Bundle", "type": "collection", "entry": [
        {"fullUrl": "https://old.example/Group/g", "resource": group("Practitioner/n", id="g")},
        {"fullUrl": "https://old.example/Practitioner/n", "resource": nurse},
    ]}  # fmt: skip
    file = tmp_path / "staff.json"
    file.write_text(json.dumps(bundle))
    (first,) = demo.lines("import", "--as", "operator", str(file), "--json")
    (again,) = demo.lines("import", "--as", "operator", str(file), "--json")
    assert (first["written"], first["refused"], again["written"], again["unchanged"]) == (2, 0, 0, 2), (first, again)


# -- what it does -----------------------------------------------------------------------------------------------------


def test_a_yes_and_a_no_to_a_group_hold_for_its_members(demo: Gateway, operator: Colleague) -> None:
    rosa, asha = demo.persona("link-worker")["fhirUser"], demo.persona("gp")["fhirUser"]
    made = operator.call("POST", "Group", body=group(rosa))
    ref = f"Group/{id_of(made)}"
    closed, open_ = goals(demo, "link-worker"), goals(demo, "gp")
    with given(demo, consent(demo.patient, permit(ref))) as yes:
        assert closed == 0 and goals(demo, "link-worker") > 0 and goals(demo, "gp") == open_ > 0
        what = demo.get("link-worker", f"Goal?patient={demo.patient}").json()["entry"][0]["resource"]["id"]
        (told,) = demo.lines("explain", "--who", rosa, "--what", f"Goal/{what}", "--json")
        assert told["consent"] == id_of(yes) and told["basis"] == "explicit"
    assert goals(demo, "link-worker") == 0
    operator.call("PUT", ref, body=made.json() | {"member": [{"entity": {"reference": asha}}]}, headers={"If-Match": made.headers["etag"]})
    no = consent(demo.patient, permit(ref, type="deny"))
    params = {"resourceType": "Parameters", "parameter": [{"name": "who", "valueString": asha}, {"name": "consent", "resource": no}]}
    tried = demo.call("patient", "POST", "Consent/$preview", body=params).json()["parameter"]
    count = {p["name"]: p.get("valueInteger", p.get("valueUnsignedInt")) for p in tried}
    assert count["now"] > count["then"] == 0
    with given(demo, no):
        assert goals(demo, "gp") == 0
    assert goals(demo, "gp") == open_


def test_who_records_a_consent_names_no_group_that_they_or_their_colleagues_are_in(demo: Gateway, operator: Colleague) -> None:
    asha, rosa = demo.persona("gp")["fhirUser"], demo.persona("link-worker")["fhirUser"]
    registrar = signed_in(demo, "group-recorder", asha, organisation="D82001", roles=("clinician", "registrar"))
    surgery = "Organization/" + str(demo.get("patient", "Organization?identifier=D82001").json()["entry"][0]["resource"]["id"])
    (stranger,) = put_directory(demo, {"resourceType": "Practitioner", "active": True, "name": [{"family": "Nowhere"}]})
    for who, status in ((asha, 403), (surgery, 403), (stranger, 422), (rosa, 201)):
        made = operator.call("POST", "Group", body=group(who, rosa))
        answer = registrar.call("POST", "Consent", body=recorded(demo.patient, permit(f"Group/{id_of(made)}")))
        assert answer.status_code == status, (who, answer.text)
    end(demo, answer)
    off = operator.call("POST", "Group", body={**group(asha, rosa), "active": False})
    answer = registrar.call("POST", "Consent", body=recorded(demo.patient, permit(f"Group/{id_of(off)}")))
    assert answer.status_code == 422, "one that is switched off may be switched on, with them in it"


def test_a_group_of_patients_is_theirs_and_gives_nobody_a_name(demo: Gateway) -> None:
    """Also one that an operator wrote, that says it is of staff, and that has staff in it."""
    rosa = demo.persona("link-worker")["fhirUser"]
    body = group(rosa, f"Patient/{demo.patient}")

    async def write(ctx: Any) -> str:
        both = gate.house_context(ctx.house, Actor("system", frozenset({"Device/h"}), "Device/h", "H", contributor=True, operator=True))
        return str((await gate.create(both, "Group", json.dumps(body).encode())).ref)

    ref = str(wired_operator(demo, write))
    assert demo.get("link-worker", ref).status_code == demo.get("stranger", ref).status_code == 404
    assert demo.get("link-worker", f"Group?_id={ref.split('/')[1]}").json()["total"] == 0
    answer = demo.call("patient", "POST", "Consent", body=consent(demo.patient, permit(ref, type="deny")))
    assert answer.status_code == 422, "as one that is not here"
    warned = demo.call("patient", "POST", "Consent", body=consent(demo.patient, permit(ref)), headers={"Prefer": "return=OperationOutcome"})
    assert any(i["code"] == "not-found" for i in warned.json()["issue"]) and goals(demo, "link-worker") == 0
    end(demo, warned)


def test_an_agreement_is_quoted_by_its_address_here_and_one_that_is_not_here_is_refused(demo: Gateway, operator: Colleague) -> None:
    system, _, code = groups.AGREEMENT.partition("|")
    made = operator.call("POST", "Group", body=group(code={"coding": [{"system": system, "code": code}]}))
    assert made.status_code == 201, made.text
    rosa, ref = demo.persona("link-worker")["fhirUser"], f"Group/{id_of(made)}"
    for uri, some in ((f"{demo.base}/fhir/{ref}/", False), (f"{ref}/_history/1", False), (f"https://elsewhere.example/fhir/{ref}", True)):
        with given(demo, consent(demo.patient, permit(rosa), policy=[{"uri": uri}])):
            assert (goals(demo, "link-worker") > 0) == some, uri
    for uri in ("Group/none", f"{demo.base}/fhir/Group/none"):
        refused = demo.call("patient", "POST", "Consent", body=consent(demo.patient, permit(rosa), policy=[{"uri": uri}]))
        assert refused.status_code == 422 and "no agreement on sharing here" in refused.text and "Consent.policy[0].uri" in refused.text, refused.text
    over = operator.call("PUT", ref, body=made.json() | {"active": False}, headers={"If-Match": made.headers["etag"]})
    assert over.status_code == 200, over.text
