"""Row 37, Torbay's zone teams: one integrated team, one record, one phone; who leaves the team is out at once."""

from __future__ import annotations

from .town import Programme, about, permit, save


def test_a_change_of_the_team_counts_from_the_next_request_on(programme: Programme) -> None:
    p = programme
    p.places(trust="health", health="health", council="social-care")
    nurse, social, other = p.staff(nan=("health", "district-nurse"), sue=("council", "social-worker"), oli=("council", "social-worker"))
    source = p.system("hub", "trust", "--contributor", "--refers")
    patient = p.bring(source, p.plan_of("Ted"))
    ted = p.person("ted", patient)

    zone = ted.make({
        "resourceType": "CareTeam", "status": "active", "name": "Zone 3, yellow folder", "subject": about(patient),
        "telecom": [{"system": "phone", "value": "01803 555 333"}],
        "participant": [{"member": {"reference": who.user}} for who in (nurse, social)],
    })  # fmt: skip
    team = f"CareTeam/{zone['id']}"
    assert nurse.total(f"CarePlan?patient={patient}") == 0, "named, and not yet agreed"
    nurse.agree(patient)
    social.agree(patient)
    assert nurse.total(f"CarePlan?patient={patient}") == social.total(f"CarePlan?patient={patient}") == 1
    assert nurse.read(team)["telecom"][0]["value"] == "01803 555 333", "one phone for all of them"
    assert other.total(f"CarePlan?patient={patient}") == 0, "a colleague of the same council is not in the team"
    for who in (nurse, social):
        who.page.get(f"/team/people/{patient}")
        assert "Ted walks to the shop and back" in who.page.words(), "one record for health and social care"
    nurse.page.get(f"/team/people/{patient}/print")
    folder = nurse.page.http.post(f"/team/people/{patient}/print", data={**nurse.page.fields(f"/team/people/{patient}/print"), "for": "", "as": "page"})
    assert folder.status_code == 200 and "Ted walks to the shop and back" in folder.text, "the yellow folder"
    other.knows_nothing_of(team)
    glass = other.call("POST", f"/patients/{patient}/break-glass", body={"reason": "In a hurry", "ground": "public-interest"})
    assert glass.status_code == 403, "nobody breaks the glass unless their role has it"

    now = ted.get(team)
    members = [m for m in now.json()["participant"] if m["member"]["reference"] != social.user]
    assert save(ted, now.json() | {"participant": members}, now.headers["etag"]).status_code == 200
    assert social.total(f"CarePlan?patient={patient}") == 0 and social.status(f"/plans/{patient}") == 404
    social.knows_nothing_of(team, f"Patient/{patient}")
    assert social.page.get(f"/team/people/{patient}").status_code == 404 and "Ted" not in social.page.get("/team").text, "and on the pages"
    assert nurse.total(f"CarePlan?patient={patient}") == 1, "for the others nothing changed"
    ted.page.get("/my-plan/who-looked")
    assert "Nan" in ted.page.words() and "Sue" in ted.page.words() and "Oli" in ted.page.words(), "who looked, and who was told no"

    # whoever leaves the zone itself is out of every team of it, from the next request on
    rae = p.person("rae", p.bring(source, p.plan_of("Rae")))
    for person in (ted, rae):
        person.allow(permit(p.place("health")))
    assert nurse.total(f"CarePlan?patient={rae.id}") == 1
    p.town.command("people", "close", f"{p.key}-nan")
    assert nurse.status(team) == nurse.status(f"/plans/{rae.id}") == 401
