"""Row 20, Tower Hamlets befriending and Maternity Mates: volunteers are matched to people, who say yes to each."""

from __future__ import annotations

from .town import Programme, about, classes, permit


def test_a_matched_volunteer_takes_the_task_and_sees_whom_to_ring(programme: Programme) -> None:
    p = programme
    p.places(trust="health", surgery="health", mates="voluntary")
    gp, coordinator, friend, another = p.staff(
        gus=("surgery", "gp"), cora=("mates", "coordinator"), fay=("mates", "volunteer"), ann=("mates", "volunteer")
    )
    patient = p.bring(p.system("records", "trust", "--contributor", "--refers"), p.plan_of("Tess", born="1990-09-01", team=[("Gus", "surgery")]))
    tess = p.person("tess", patient)
    gp.agree(patient)

    asked = gp.make({
        "resourceType": "Task", "status": "requested", "intent": "order", "description": "A befriender for Tess, on Thursdays",
        "for": about(patient), "requester": {"reference": gp.user}, "owner": {"reference": p.place("mates")},
    })  # fmt: skip
    match = f"Task/{asked['id']}"
    coordinator.agree(patient)
    assert coordinator.status(f"Patient/{patient}") == 404, "the task, not yet the person"
    tess.change(match, owner={"reference": friend.user}, status="requested")  # Tess met Fay, and wants her
    assert another.status(match) == 404
    assert friend.agree(patient) == 1
    assert friend.status(f"Patient/{patient}") == 404

    yes = tess.allow(permit(friend.user, **classes("Patient")))
    seen = friend.read(f"Patient/{patient}")
    assert seen["name"][0]["given"] == ["Tess"] and seen.keys() - {"resourceType", "id", "meta"} == {"name", "telecom"}, seen.keys()
    assert friend.total(f"CarePlan?patient={patient}") == 0 and friend.total(f"Goal?patient={patient}") == 0
    assert another.status(f"Patient/{patient}") == 404, "a colleague of the befriender is not the befriender"
    assert gp.read(match)["status"] == "accepted", "the referrer sees that she is matched"

    friend.change(match, status="completed")
    tess.end(yes)
    assert friend.status(f"Patient/{patient}") == 404
