"""Surfaces of the leak list that this server does not have yet: 404 (405 where R4 has the address), alike for everybody, and nothing leaks.

Counted apart (docs/leaks.md). Whoever builds one replaces its test by an attack.
"""

from __future__ import annotations

import pytest

from .conftest import EVERYBODY, Place, some

EXPORTS = ("$export", "Patient/$export", "Group/{}/$export", "Patient/{}/$export", "$export-poll-status?_jobId={}", "$bulk-publish", "$import", "$bulkdata-status")
GRAPHS = ("$graphql?query={{Goal(id:%22{}%22){{id}}}}", "Goal/{}/$graphql?query={{id}}", "$graphql")
OPERATIONS = (
    "$meta", "Goal/$meta", "Observation/$lastn", "Observation/$stats", "Patient/$match", "Goal/{}/$graph", "Patient/{}/$versions", "$versions", "Goal/{}/$versions",
    "Patient/{}/$summary", "Patient/{}/$docref", "DocumentReference/$docref", "Composition/{}/$document", "Goal/{}/$copy", "Goal/{}/$purge", "Patient/{}/$merge", "Patient/$merge", "List/{}/$find", "Group/{}/$everything", "Encounter/{}/$everything",
    "EpisodeOfCare/{}/$everything", "MeasureReport/{}/$evaluate-measure", "CarePlan/{}/$apply", "PlanDefinition/{}/$apply", "ValueSet/$expand", "CodeSystem/$lookup", "ConceptMap/$translate", "StructureDefinition/$snapshot", "$convert", "$reindex",
    "$process-message", "Goal/{}/$diff", "$diff?from=Goal/{}", "Person/{}/$everything", "Goal/$random", "Consent/$fileConsent", "Consent/$revokeConsent",
)  # fmt: skip


def absent(place: Place, who: str, forms: tuple[str, ...]) -> None:
    hidden = place.hidden(who)
    for form in forms:
        type = form.split("/")[0]
        id = hidden.get(type, hidden["Goal"]).split("/")[1]
        for method in ("GET", "POST"):
            body = {"resourceType": "Parameters", "parameter": [{"name": "id", "valueString": "{}"}]} if method == "POST" else None
            answer = place.alike(who, method, form.replace("{{", "%7B").replace("}}", "%7D"), id, body=body, status=(404, 405))
            assert answer.json()["resourceType"] == "OperationOutcome" and "content-location" not in answer.headers


@pytest.mark.parametrize("who", EVERYBODY)
def test_L34_there_is_no_export(place: Place, who: str) -> None:
    """No job, no file, no status: `Prefer: respond-async` starts nothing."""
    absent(place, who, EXPORTS)
    for path in ("$export", "Patient/$export", "Goal?_count=1", place.seen):
        answer = place.silent(who, place.get(who, path, Prefer="respond-async"))
        assert answer.status_code in (200, 404) and "content-location" not in answer.headers


@pytest.mark.parametrize("who", EVERYBODY)
def test_L36_there_is_no_graphql(place: Place, who: str) -> None:
    absent(place, who, GRAPHS)
    for path in ("/graphql", "/fhir/$graphql", "/api/graphql", "/graphiql"):
        answer = place.ask(who, "POST", path, body={"query": '{ Goal(id: "x") { id } __schema { types { name } } }'})
        assert answer.status_code in (404, 405)


@pytest.mark.parametrize("who", some("gp", "stranger", "patient"))
def test_L37_no_operation_is_offered_but_those_of_the_statement(place: Place, who: str) -> None:
    """A closed list; anything else is no operation, for the hidden, the absent and the visible alike."""
    absent(place, who, OPERATIONS)
    rest = place.get(None, "metadata").json()["rest"][0]
    offered = {o["name"] for r in rest["resource"] for o in r.get("operation", ())} | {o["name"] for o in rest.get("operation", ())}
    assert offered == {"validate", "everything", "document", "explain", "preview", "meta", "meta-add", "meta-delete", "status", "events", "populate", "extract"}, "a new operation needs its row in the leak list"


@pytest.mark.parametrize("who", some("gp", "stranger"))
def test_L37_a_form_fills_in_and_takes_out_nothing_of_what_is_hidden(place: Place, who: str) -> None:
    """`$populate` for somebody whom this asker may not see, and `$extract` of answers that are hidden: as of what is not there."""
    hidden = place.hidden(who)
    for id in (hidden.get("Patient", hidden["Goal"]).split("/")[1], "nobody-here"):
        asked = {"resourceType": "Parameters", "parameter": [{"name": "subject", "valueReference": {"reference": f"Patient/{id}"}}]}
        answer = place.silent(who, place.ask(who, "POST", "/fhir/Questionnaire/my-own-words/$populate", body=asked))
        assert answer.status_code in (200, 404, 422)
    place.alike(who, "POST", "QuestionnaireResponse/{}/$extract", hidden.get("QuestionnaireResponse", hidden["Goal"]).split("/")[1], body={"resourceType": "Parameters"}, status=(404, 403))
