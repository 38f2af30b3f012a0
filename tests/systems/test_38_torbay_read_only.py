"""Row 38, Torbay's remote access: GP and hospital read summaries of social care and change nothing; district nurses read and write."""

from __future__ import annotations

import pytest

from .town import BACK, Member, Programme, about, actions, permit, save

GLANCE = "openid fhirUser user/*.rs"


@pytest.fixture(scope="module", autouse=True)
def places(programme: Programme) -> None:
    programme.places(trust="health", surgery="health", council="social-care", nurses="health", elsewhere="health")


def test_who_is_registered_to_read_cannot_write(programme: Programme) -> None:
    p = programme
    worker, nurse = p.staff(sal=("council", "social-worker"), dot=("nurses", "district-nurse"))
    patient = p.bring(p.system("records", "trust", "--contributor", "--refers"), p.plan_of("Flo", team=[("Sal", "council"), ("Dot", "nurses"), ("GP", "surgery")]))
    flo = p.person("flo", patient)
    gp, stranger = p.staff(gp=("surgery", "gp"), sid=("elsewhere", "gp"))
    for who in (worker, nurse, gp):
        who.agree(patient)
    reader = p.system("reader", "surgery", scopes="system/*.rs")
    visit = worker.make({"resourceType": "Task", "status": "in-progress", "intent": "order", "description": "Home care, twice a day", "for": about(patient), "owner": {"reference": worker.user}})
    task = f"Task/{visit['id']}"

    seen = reader.get(task)
    assert seen.status_code == 200 and seen.json()["description"] == "Home care, twice a day"
    changed = save(reader, seen.json() | {"description": "Home care, once a day"}, seen.headers["etag"])
    assert changed.status_code == 403 and 'scope="system/Task.u"' in changed.headers["www-authenticate"]
    for method, body in (("POST", {"resourceType": "Task", "status": "draft", "intent": "order", "for": about(patient)}), ("DELETE", None)):
        path = "Task" if method == "POST" else task
        assert reader.call(method, path, body=body, headers={"If-Match": seen.headers["etag"]}).status_code == 403
    assert worker.read(task)["meta"]["versionId"] == "1", "nothing of that reached it"

    # an app of the hospital's by which a doctor reads, and nothing else: the person's summary is there, no write goes through
    p.town.command("clients", "add", f"{p.key}-glance", "--name", "A glance", "--redirect", BACK, "--scopes", GLANCE)
    glance = Member(p.town.gateway, gp.user, p.town.token(gp.page, f"{p.key}-glance", GLANCE), gp.organisation, gp.code, gp.page)
    assert glance.read(task)["description"] == "Home care, twice a day" and glance.plan(patient)["title"] == "Flo's plan"
    refused = save(glance, glance.read(task) | {"description": "Home care, once a day"}, 'W/"1"')
    assert refused.status_code == 403 and 'scope="user/Task.u"' in refused.headers["www-authenticate"], refused.headers
    assert glance.call("POST", "Goal", body={"resourceType": "Goal", "lifecycleStatus": "active", "description": {"text": "Rest"}, "subject": about(patient)}).status_code == 403
    assert worker.read(task)["meta"]["versionId"] == "1"
    for who in (stranger, p.system("other-reader", "elsewhere", scopes="system/*.rs")):
        who.knows_nothing_of(task, f"Patient/{patient}")  # to be registered to read is not to be let in

    nurse.change(task, note=[{"text": "Skin is fine"}])
    assert gp.read(task)["note"][0]["text"] == "Skin is fine"
    flo.page.get("/my-plan/who-looked")
    assert "Dot" in flo.page.words()


def test_a_practice_that_the_town_lets_only_read_changes_no_task_of_social_care(programme: Programme) -> None:
    """The town's own word (`GATEWAY_READ_ONLY`, in conftest): S3802, this story's surgery, writes no Task that social care made. Whatever the person says, and with every scope."""
    p = programme
    sal, dot, gp = p.staff(una=("council", "social-worker"), dora=("nurses", "district-nurse"), gus=("surgery", "gp"))
    patient = p.bring(p.system("more", "trust", "--contributor", "--refers"), p.plan_of("Ivy", team=[("Sal", "council"), ("Dot", "nurses"), ("GP", "surgery")]))
    ivy = p.person("ivy", patient)
    for who in (sal, dot, gp):
        who.agree(patient)
    ivy.allow(permit(gp.organisation, **actions("access", "collect", "correct")))
    visit = sal.make({"resourceType": "Task", "status": "in-progress", "intent": "order", "description": "Home care, twice a day", "for": about(patient)})
    task = f"Task/{visit['id']}"

    seen = gp.read(task)
    assert seen["description"] == "Home care, twice a day"
    etag = {"If-Match": 'W/"1"'}
    refused = save(gp, seen | {"description": "Home care, once a day"}, 'W/"1"')
    assert refused.status_code == 403 and "read this Task here, and not write it" in refused.text
    patch = [{"op": "replace", "path": "/status", "value": "completed"}]
    assert gp.call("PATCH", task, body=patch, headers={**etag, "Content-Type": "application/json-patch+json"}).status_code == 403
    assert gp.call("DELETE", task, headers=etag).status_code == 403
    bundle = {"resourceType": "Bundle", "type": "transaction", "entry": [{"resource": seen | {"status": "completed"}, "request": {"method": "PUT", "url": task, "ifMatch": 'W/"1"'}}]}
    assert gp.call("POST", "", body=bundle).status_code == 403
    system = p.system("writer", "surgery")
    assert save(system, system.read(task) | {"status": "completed"}, 'W/"1"').status_code == 403, "nor does a system of the practice"
    assert ivy.read(task)["meta"]["versionId"] == "1"

    # what is not social care's the practice writes, and it answers what it is asked
    own = gp.make({"resourceType": "Task", "status": "requested", "intent": "order", "description": "Blood pressure", "for": about(patient)})
    gp.change(f"Task/{own['id']}", description="Blood pressure, twice")
    asked = sal.make({"resourceType": "Task", "status": "requested", "intent": "order", "description": "Call Ivy", "for": about(patient), "owner": {"reference": gp.user}})
    gp.change(f"Task/{asked['id']}", status="accepted")
    goal = gp.one(f"Goal?patient={patient}")
    gp.change(f"Goal/{goal['id']}", description={"text": "Ivy walks further"})
    dot.change(task, note=[{"text": "Skin is fine"}])
    assert ivy.read(task)["meta"]["versionId"] == "2"
