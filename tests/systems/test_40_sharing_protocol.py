"""Row 40, an information sharing protocol: people say yes to its partners; whoever leaves the protocol sees nothing, though the consents stand and name them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..faults.scripted import Habits, scripted
from .partnered import in_step, partnered
from .town import REASON, Member, Programme, classes, permit

PROTOCOL = "https://town.example/information-sharing-protocol"
URI = "urn:ietf:rfc:3986"
CODE = {"coding": [{"system": "https://fhir-gateway.example/CodeSystem/group", "code": "sharing-agreement"}]}
WHY = "They are not a partner of the agreement on sharing now, so your yes does not reach them."


def partners(p: Programme, *places: str, uri: str = PROTOCOL, **more: Any) -> dict[str, Any]:
    return {"resourceType": "Group", "id": f"{p.key}-protocol", "type": "practitioner", "actual": True, "active": True, "name": "Partners of the protocol", "code": CODE,
            "identifier": [{"system": URI, "value": uri}], "member": [{"entity": {"reference": p.place(n)}} for n in places]} | more  # fmt: skip


def refused(who: Member, patient: str, plan: str) -> None:
    """By every door what is not there."""
    who.knows_nothing_of(plan, f"Patient/{patient}")
    assert who.total(f"CarePlan?patient={patient}") == who.total(f"Goal?patient={patient}") == 0
    assert who.status(f"/plans/{patient}") == 404 and who.page.get(f"/team/people/{patient}").status_code == 404


def test_a_partner_removed_from_the_protocol_is_denied_though_the_consent_exists_and_names_it(programme: Programme) -> None:
    p = programme
    p.places(trust="health", surgery="health", housing="housing", charity="voluntary", later="voluntary")
    home, helper, late, nurse, keeper = p.staff(
        hugo=("housing", "housing-officer"), cleo=("charity", "link-worker"), lou=("later", "link-worker"), nan=("surgery", "nurse"),
        kit=("trust", "governance-lead", ("operator",)),
    )  # fmt: skip
    patient = p.bring(p.system("records", "trust", "--contributor", "--refers"), p.plan_of("Pam", team=[("Nan", "surgery")]))
    pam = p.person("pam", patient)
    nurse.agree(patient)
    (group,) = p.town.directory(partners(p, "housing", "charity", "surgery")).values()
    plan = f"CarePlan/{pam.one(f'CarePlan?patient={patient}')['id']}"

    every = pam.allow(permit(group), policy=[{"uri": PROTOCOL}])
    own = pam.allow(permit(p.place("charity")), permit(helper.user))  # by name, quoting nothing
    named = pam.allow(permit(p.place("charity")), permit(p.place("later")), policy=[{"uri": PROTOCOL}])  # by name, under it
    for who in (home, helper, nurse):
        assert who.total(f"CarePlan?patient={patient}") == 1
    refused(late, patient, plan)  # a yes under the protocol is for its partners, whomever it names

    home.change(group, expect=403, member=partners(p, "housing", "charity", "surgery", "later")["member"])  # no partner lets anybody in
    keeper.change(group, member=partners(p, "housing", "surgery", "later")["member"])
    refused(helper, patient, plan)
    for ref in (every, own, named):
        assert pam.read(ref)["status"] == "active", "her consents stand as she gave them"
    assert home.total(f"CarePlan?patient={patient}") == nurse.total(f"CarePlan?patient={patient}") == 1, "for the partners that stay nothing changed"
    assert late.total(f"CarePlan?patient={patient}") == 1, "and who joined is a partner"

    pam.page.get(f"/my-plan/sharing/why?who={helper.user}&what={plan}")
    assert WHY in pam.page.words(), pam.page.words()
    pam.page.get("/my-plan/who-looked")
    assert "they are not a partner of the agreement on sharing now" in pam.page.words()
    said = pam.get(f"Consent/$explain?what={plan}&who={helper.user}")
    assert said.status_code == 200 and "no partner of the agreement on sharing now" in said.text
    assert helper.status(f"Consent/$explain?what={plan}") == 404, "whoever was taken out is told nothing of the record, nor why"

    keeper.change(group, member=[*partners(p, "housing", "later")["member"], {"entity": {"reference": p.place("surgery")}, "period": {"end": "2026-11-01"}}])
    refused(nurse, patient, plan)  # of the team, by a referral: the end of a partnership ends that, too
    pam.page.get("/my-plan/sharing")
    assert f"Surgery (s40) What {WHY}" in pam.page.words(), pam.page.words()
    keeper.change(group, member=partners(p, "housing", "surgery", "charity")["member"])
    assert helper.total(f"CarePlan?patient={patient}") == nurse.total(f"CarePlan?patient={patient}") == 1, "a partner again is let in by what she said"
    refused(late, patient, plan)
    for ref in (every, own, named):
        pam.end(ref)
    refused(home, patient, plan)

    # nobody makes it forgotten who was taken out
    now = keeper.get(group)
    assert keeper.call("DELETE", group, headers={"If-Match": now.headers["etag"]}).status_code == 422
    keeper.change(group, expect=422, code=None)
    keeper.change(group, expect=422, identifier=None)


def test_of_two_protocols_each_holds_for_its_own_consents(programme: Programme) -> None:
    p = programme
    p.places(clinic="health", gardeners="voluntary")
    gail, keeper = p.staff(gail=("gardeners", "gardener"), ken=("clinic", "governance-lead", ("operator",)))
    patient = p.bring(p.system("more", "clinic", "--contributor", "--refers"), p.plan_of("Rob"))
    rob = p.person("rob", patient)
    one, two = (f"{PROTOCOL}/{n}" for n in ("gardens", "allotments"))
    gardens = p.town.directory(partners(p, "gardeners", uri=one) | {"id": "s40-one"})["Group/s40-one"]
    p.town.directory(partners(p, "gardeners", uri=two) | {"id": "s40-two"})
    rob.allow(permit(p.place("gardeners"), **classes("Goal")), policy=[{"uri": one}])
    rob.allow(permit(p.place("gardeners"), **classes("Condition")), policy=[{"uri": two}])
    rob.allow(permit(gail.user, **classes("Task")))
    keeper.change(gardens, active=False)
    assert [gail.total(f"{t}?patient={patient}") for t in ("Goal", "Condition", "Task")] == [0, 1, 1], "that protocol is over, and what was shared under it"


def test_the_gp_is_a_partner_and_optional_and_a_yes_for_care_is_none_for_research(programme: Programme) -> None:
    """At first a person may leave their GP out; and what partners may do with it is said with the purpose."""
    p = programme
    p.places(matrons="health", gps="health", offices="social-care")
    matron, gp, scholar = p.staff(mae=("matrons", "matron"), gul=("gps", "gp"), sol=("offices", "researcher"))
    p.town.command("people", "change", f"{p.key}-sol", "--purpose", "HRESCH")
    scholar = p.again(scholar, "sol")
    patient = p.bring(p.system("caf", "matrons", "--contributor", "--refers"), p.plan_of("Win", team=[("Gul", "gps")]))
    win = p.person("win", patient)
    uri = f"{PROTOCOL}/caf"
    p.town.directory(partners(p, "matrons", "gps", "offices", uri=uri) | {"id": "s40-caf"})
    care = {"purpose": [{"system": REASON, "code": "TREAT"}]}
    win.allow(permit(p.place("matrons"), p.place("offices"), **care), policy=[{"uri": uri}])
    assert matron.plan(patient)["title"] == "Win's plan"
    assert gp.status(f"/plans/{patient}") == 404, "named in the team, a partner, and not let in"
    assert scholar.total(f"CarePlan?patient={patient}") == 0, "a yes for care is none for research"
    win.page.get("/my-plan/who-looked")
    assert "Mae" in win.page.words()
    later = win.allow(permit(p.place("gps"), **care), policy=[{"uri": uri}])
    assert gp.plan(patient)["title"] == "Win's plan", "and later the GP, too"
    win.end(later)
    assert gp.total(f"CarePlan?patient={patient}") == 0


def test_what_a_partner_holds_is_taken_back_when_it_is_taken_out(tmp_path: Path) -> None:
    with scripted(Habits()) as there, partnered(tmp_path, {"name": "charity", "url": there.url, "organisation": "S4002"}) as town:
        p = Programme(town, "s40")
        p.places(trust="health", charity="voluntary")
        (keeper,) = p.staff(kit=("trust", "governance-lead", ("operator",)))
        patient = p.bring(p.system("records", "trust", "--contributor", "--refers"), p.plan_of("Pam"))
        pam = p.person("pam", patient)
        (group,) = town.directory(partners(p, "charity")).values()
        yes = pam.allow(permit(p.place("charity")))
        in_step(town)
        assert there.named("Goal") and there.named("CarePlan")
        keeper.change(group, member=None)
        in_step(town)
        assert not there.named("Goal") and not there.named("CarePlan") and pam.read(yes)["status"] == "active"
