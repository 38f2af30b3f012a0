"""Row 28, Hertfordshire's single plan: one main plan for all services. Who sees it is helped to join it; who does not is told nothing, and the key worker looks."""

from __future__ import annotations

import re
from typing import Any

from .town import SNOMED, Member, Person, Programme, about, id_of, permit

MAIN = [{"coding": [{"system": SNOMED, "code": "2181441000000107"}]}]


def plan(patient: str, title: str, **more: Any) -> dict[str, Any]:
    return {"resourceType": "CarePlan", "status": "active", "intent": "plan", "category": MAIN, "title": title, "subject": about(patient), **more}


def open_questions(who: Member) -> list[dict[str, Any]]:
    return who.find("Task?code=merge-plans&status=requested")


def brought(p: Programme, records: Member, given: str, key_worker: str) -> tuple[str, Person, str]:
    """Somebody with a plan and a key worker: (their id, they themselves, their plan)."""
    file = p.plan_of(given, team=[(f"{key_worker} {p.key.title()}", "council"), ("GP", "surgery")])
    file["team"][0]["key_worker"] = True
    patient = p.bring(records, file)
    (main,) = records.find(f"CarePlan?patient={patient}&category=2181441000000107")
    return patient, p.person(given.lower(), patient), f"CarePlan/{main['id']}"


def hide(p: Programme, person: Person, place: str, *refs: str) -> None:
    """They let a place see everything but these."""
    no = {"type": "deny", "data": [{"meaning": "instance", "reference": {"reference": ref}} for ref in refs]}
    person.allow(permit(p.place(place), provision=[no]))


def test_one_plan_for_all_services(programme: Programme) -> None:
    p = programme
    p.places(trust="health", county="health", surgery="health", council="social-care")
    kit, gp = p.staff(kit=("council", "social-worker"), gp=("surgery", "gp"))
    records = p.system("records", "county", "--contributor", "--refers")
    trust = p.system("ward", "trust", "--contributor")
    patient, ada, first = brought(p, records, "Ada", "Kit")
    for who in (kit, gp):
        who.agree(patient)

    refused = gp.call("POST", "CarePlan", body=plan(patient, "The practice's own"))
    assert refused.status_code == 409, refused.text
    help = refused.json()["issue"][0]["diagnostics"]
    assert first in help and "partOf" in help
    joined = gp.make(plan(patient, "Diabetes review", partOf=[{"reference": first}]))
    assert joined["partOf"] == [{"reference": first}], "as the answer said"

    nobody = p.bring(trust, p.plan_of("Bea") | {"status": "completed"})
    usual = trust.call("POST", "CarePlan", body=plan(nobody, "Going home"))
    hide(p, ada, "trust", first, f"CarePlan/{joined['id']}")
    assert trust.status(first) == 404
    said = trust.call("POST", "CarePlan", body=plan(patient, "Going home"))
    second = f"CarePlan/{id_of(said)}"
    assert said.status_code == usual.status_code == 201
    assert said.headers.keys() == usual.headers.keys() and said.json().keys() == usual.json().keys(), "the answer of the first plan of anybody"
    assert [f"CarePlan/{r['id']}" for r in trust.find(f"CarePlan?patient={patient}&category=2181441000000107")] == [second]
    assert trust.find(f"Task?patient={patient}&code=merge-plans") == [] == trust.find(f"Task?focus={second}")

    (asked,) = open_questions(kit)
    assert asked["focus"]["reference"] == second and asked["owner"]["reference"] == kit.user
    assert open_questions(gp) == [], "who is asked, and nobody else"
    assert kit.plan(patient)["title"] == "Ada's plan", "the plan stays the plan"
    kit.page.get("/team")
    assert "Another plan came in for this person." in kit.page.words() and "The other plan: Going home" in kit.page.words()
    before = trust.read(second)
    kit.page.send(f"/team/tasks/{asked['id']}/plans", how="part")
    assert "It is written down what becomes of the other plan." in kit.page.words() and "Another plan came in" not in kit.page.words()
    assert trust.read(second) == before, "whoever sent it learns nothing of the first from the answer either"
    assert open_questions(kit) == [] and kit.plan(patient)["title"] == "Ada's plan"
    assert ada.plan(patient)["title"] == "Ada's plan"


def test_the_key_worker_takes_the_new_plan_or_ends_it(programme: Programme) -> None:
    p = programme
    p.places(clinic="health")
    kat = p.staff(kat=("council", "social-worker"))[0]
    records, clinic = p.system("more-records", "county", "--contributor", "--refers"), p.system("clinic", "clinic", "--contributor")
    for given, how in (("Cai", "main"), ("Dot", "end")):
        patient, person, first = brought(p, records, given, "Kat")
        kat.agree(patient)
        hide(p, person, "clinic", first)
        second = f"CarePlan/{clinic.make(plan(patient, 'From the clinic'))['id']}"
        (asked,) = [t for t in person.find(f"Task?patient={patient}&code=merge-plans")]
        assert [t["id"] for t in open_questions(kat)] == [asked["id"]] and open_questions(clinic) == []
        kat.page.get("/team")
        kat.page.send(f"/team/tasks/{asked['id']}/plans", how=how)
        if how == "main":
            assert person.plan(patient)["title"] == "From the clinic"
            assert "partOf" not in person.read(first), "whoever made the first does not see the second, so it does not say so"
        else:
            assert clinic.read(second)["status"] == "revoked" and person.plan(patient)["title"] == f"{given}'s plan"
        assert person.one(f"Task?patient={patient}&code=merge-plans")["status"] == "completed"


def test_two_records_of_one_person_and_the_plan_they_go_on_with(programme: Programme) -> None:
    """Each has a plan; they say on their page which, and parted again each record has its own."""
    p = programme
    p.places(clinics="health")
    records, clinic = p.system("old-records", "county", "--contributor", "--refers"), p.system("clinics", "clinics", "--contributor")
    patient, eve, first = brought(p, records, "Eve", "Nobody")
    other = p.bring(clinic, p.plan_of("Eve", id=f"{p.key}-eve-2", title="Eve's plan from the clinic"))
    (second,) = clinic.find(f"CarePlan?patient={other}&category=2181441000000107")
    before = eve.read(first)
    assert p.town.gateway.command("patients", "merge", other, patient, "--evidence", "seen together").returncode == 0
    eve.page.get("/my-plan")
    assert "Two records of this person were put together" in eve.page.words() and "The other plan: Eve's plan from the clinic" in eve.page.words()
    (asked,) = eve.find(f"Task?patient={patient}&code=merge-plans")
    assert records.find(f"Task?patient={patient}&code=merge-plans") == [] == clinic.find(f"Task?focus=CarePlan/{second['id']}")
    eve.page.send(f"/my-plan/tasks/{asked['id']}/plans", how="main")
    assert "It is written down what becomes of the other plan." in eve.page.words()
    assert re.search(r"<h1>.*Eve's plan from the clinic|<h1>.*Eve&#39;s plan from the clinic", " ".join(eve.page.get("/my-plan").text.split())), "the plan that she goes on with opens"
    assert eve.read(first) == before and clinic.read(f"CarePlan/{second['id']}") == second, "neither plan is changed"
    assert p.town.gateway.command("patients", "unmerge", other, patient, "--evidence", "two people after all").returncode == 0
    eve.page.get("/my-plan")
    assert "Eve's plan from the clinic" not in eve.page.words() and eve.plan(patient)["title"] == "Eve's plan"
