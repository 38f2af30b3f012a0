"""Row 19, peer support (Torbay, Canterbury, West Kent): a peer gets a name and a way to get in touch, and nothing else."""

from __future__ import annotations

from .town import Programme, classes, permit


def test_a_peer_organisation_reads_name_and_contact_alone(programme: Programme) -> None:
    p = programme
    p.places(trust="health", surgery="health", peers="voluntary", others="voluntary")
    peer, other = p.staff(pat=("peers", "peer-supporter"), ola=("others", "peer-supporter"))
    plan = p.plan_of("Rex", born="1961-07-08")
    plan["person"] |= {"email": "rex@example.org", "gender": "male", "contact_preference": "Ring after six"}
    patient = p.bring(p.system("records", "trust", "--contributor", "--refers"), plan)
    rex = p.person("rex", patient)
    assert peer.status(f"Patient/{patient}") == 404

    yes = rex.allow(permit(p.place("peers"), **classes("Patient")))
    seen = peer.read(f"Patient/{patient}")
    told = seen.keys() - {"resourceType", "id", "meta"}
    assert told == {"name", "telecom"}, told
    assert "Ring after six" in str(rex.read(f"Patient/{patient}")) and "Ring after six" not in str(seen)
    assert seen["name"][0]["family"] == rex.read(f"Patient/{patient}")["name"][0]["family"]
    assert len(seen["telecom"]) == 1
    for kind in ("CarePlan", "Goal", "Condition", "Task", "CareTeam"):
        assert peer.total(f"{kind}?patient={patient}") == 0
    assert plan["person"]["nhs_number"] not in peer.get(f"Patient?_id={patient}").text
    assert peer.total(f"Patient?birthdate=1961-07-08&_id={patient}") == 0, "nor by a search for what is not shown"
    assert peer.total(f"Patient?identifier={plan['person']['nhs_number']}") == 0
    assert other.status(f"Patient/{patient}") == 404

    rex.end(yes)
    assert peer.status(f"Patient/{patient}") == 404
