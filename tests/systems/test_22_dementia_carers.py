"""Row 22, Dementia.net: somebody who cares for a parent has a sign-in and a plan of their own, apart from the parent's."""

from __future__ import annotations

from .town import Programme, about, actor, consent

BASIS = "https://fhir.nhs.uk/England/CodeSystem/England-NHSProxyLegalBasis"


def test_the_carers_plan_and_the_parents_are_two(programme: Programme) -> None:
    p = programme
    p.places(trust="health", memory="health")
    nurse = p.staff(nora=("memory", "nurse"))[0]
    source = p.system("records", "trust", "--contributor", "--refers")
    mother = p.bring(source, p.plan_of("Olive", born="1938-02-02", team=[("Nora", "memory")]))
    daughter = p.bring(source, p.plan_of("Carol", born="1966-06-06", needs=[{"id": "n-1", "text": "I have not slept through since March", "said_by": "person"}]))
    olive, carol = p.person("olive", mother), p.person("carol", daughter)
    nurse.agree(mother)

    related = olive.make({
        "resourceType": "RelatedPerson", "active": True, "patient": about(mother), "name": [{"family": "Example", "given": ["Carol"]}],
        "relationship": [{"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v3-RoleCode", "code": "DAUC"}]}],
    })  # fmt: skip
    helping = f"RelatedPerson/{related['id']}"
    browser, token = p.town.account(f"{p.key}-carol-for-olive", helping)
    as_carer = type(nurse)(p.town.gateway, helping, token, browser=browser)
    assert as_carer.status(f"/plans/{mother}") == 404, "a daughter is not let in for being one"
    role = {"type": "permit", "actor": [actor(helping)]}
    given = olive.call("POST", "Consent", body=consent(mother, root=role, policyRule={"coding": [{"system": BASIS, "code": "consent"}]}))
    assert given.status_code == 201, given.text
    assert as_carer.plan(mother)["title"] == "Olive's plan"

    assert carol.plan(daughter)["needs"][0]["text"].startswith("I have not slept")
    assert as_carer.status(f"/plans/{daughter}") == 404, "signed in for her mother she is not signed in for herself"
    assert carol.status(f"/plans/{mother}") == 404, "nor the other way round"
    assert olive.status(f"/plans/{daughter}") == 404, "what the daughter says of her own need is not her mother's to read"
    assert nurse.total(f"CarePlan?patient={mother}") == 1 and nurse.total(f"CarePlan?patient={daughter}") == 0
    assert "slept" not in nurse.get(f"Patient/{mother}/$everything").text
