"""What the two servers answer in their own way, cell by cell (docs/sync.md): each test is one habit, shown by the real server.

One person each, so that no test sees another's changes. What the scenario shows already is not shown again here.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import httpx2
import pytest

from fhir_gateway.remote.client import RemoteServer

from .agreement import TAG, tag_of
from .driving import Hapi, Medplum, demo_with, running
from .scenario import AGREE, Scenario, Step, checked, everything

pytestmark = pytest.mark.interop
Resource = dict[str, Any]
PEOPLE = 12


@pytest.fixture(scope="module", params=[Hapi, Medplum], ids=["hapi", "medplum"])
def both(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scenario]:
    folder = tmp_path_factory.mktemp(request.param.__name__)
    with running(request.param(folder)) as peer, demo_with(peer, folder) as g:
        scenario = Scenario(g, peer, PEOPLE)
        scenario.run((Step("plans"), AGREE))
        yield scenario


def goal_of(both: Scenario, n: int, nth: int = 0) -> str:
    return f"Goal/{both.people[n].held['Goal'][nth]}"


def step(both: Scenario) -> dict[str, Any]:
    """One round; what it did."""
    done = both.g.command("sync", "run", "--once", "--json")
    assert done.stdout, done.stderr[-2000:]
    out: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return out


def new_goal(both: Scenario, n: int, text: str, **more: Any) -> Resource:
    person = both.people[n]
    body = {"resourceType": "Goal", "lifecycleStatus": "active", "description": {"text": text}, "subject": {"reference": f"Patient/{person.id}"}, **more}
    return checked(person.who.call("POST", "Goal", body), 201)


def copies(both: Scenario, id: str, type: str = "Goal") -> list[Resource]:
    return [r for r in both.peer.all(type) if tag_of(r) == id]


def our_tag(copy: Resource, id: str) -> Resource:
    """The tag that a copy of ours with this id bears, by the one that another copy bears."""
    (one,) = (t for t in copy["meta"]["tag"] if t["system"] == TAG)
    return {"system": TAG, "code": one["code"].removesuffix(tag_of(copy)) + id}


def test_ids_are_the_servers_own_and_ours_is_in_the_tag(both: Scenario) -> None:
    """ids: HAPI numbers them, Medplum gives UUIDs; ours is never asked for."""
    for goal in both.peer.all("Goal"):
        assert goal["id"] != tag_of(goal)
        assert goal["id"].isdigit() if isinstance(both.peer, Hapi) else len(goal["id"]) == 36


def test_the_newest_of_several_versions_there_is_taken_whatever_they_are_called(both: Scenario) -> None:
    """versionId: whole numbers or random UUIDs, never compared for more than equality."""
    ref = goal_of(both, 0)
    for text in ("first", "second", "third"):
        copy = both.both.copy_of(ref)
        assert both.peer.put(copy | {"note": [{"text": text}]}).status_code == 200
    step(both)
    assert checked(both.people[0].who.get(ref))["note"] == [{"text": "third"}]


def test_what_did_not_change_in_their_view_makes_no_version_there(both: Scenario) -> None:
    """No-op update: nothing is sent for a change of what does not leave."""
    ref = goal_of(both, 1)
    before, person = both.both.copy_of(ref), both.people[1].who
    narrative = {"status": "generated", "div": '<div xmlns="http://www.w3.org/1999/xhtml">For me alone</div>'}
    person.put(checked(person.get(ref)) | {"text": narrative})
    assert step(both)["sent"] == 0
    assert both.both.copy_of(ref)["meta"]["versionId"] == before["meta"]["versionId"]


def test_an_edit_there_without_a_change_makes_no_version_here(both: Scenario) -> None:
    """No-op update there: whether that server adds a version or not, nothing moves here."""
    ref = goal_of(both, 2)
    before = checked(both.people[2].who.get(ref))["meta"]["versionId"]
    copy = both.both.copy_of(ref)
    assert both.peer.put(copy).status_code == 200
    tally = step(both)
    assert (tally["pulled"], tally["sent"], tally["conflicts"]) == (0, 0, 0)
    assert checked(both.people[2].who.get(ref))["meta"]["versionId"] == before


def test_a_copy_of_ours_that_is_there_already_is_not_made_again(both: Scenario) -> None:
    """Conditional create, one match: 200 with what is there, which is united with ours and not overwritten."""
    made = new_goal(both, 3, "Is there already")
    there = both.both.copy_of(f"Patient/{both.people[3].id}")
    copy = {k: v for k, v in made.items() if k not in ("id", "meta")} | {
        "meta": {"tag": [our_tag(there, made["id"])]}, "subject": {"reference": f"Patient/{there['id']}"}, "startDate": "2026-03-04",
    }  # fmt: skip
    assert both.peer.post(copy).status_code == 201
    step(both)
    (found,) = copies(both, made["id"])
    assert found["startDate"] == "2026-03-04"
    assert checked(both.people[3].who.get(f"Goal/{made['id']}"))["startDate"] == "2026-03-04"


def test_two_copies_of_ours_are_not_made_three_and_an_operator_is_told(both: Scenario) -> None:
    """Conditional create, many matches: 412; the entry waits, is parked in the end, and nothing is guessed."""
    made = new_goal(both, 3, "Is there twice")
    there = both.both.copy_of(f"Patient/{both.people[3].id}")
    copy = {k: v for k, v in made.items() if k not in ("id", "meta")} | {
        "meta": {"tag": [our_tag(there, made["id"])]}, "subject": {"reference": f"Patient/{there['id']}"},
    }  # fmt: skip
    twins = [both.peer.post(copy) for _ in range(2)]
    assert [t.status_code for t in twins] == [201, 201]
    step(both)
    assert len(copies(both, made["id"])) == 2
    (status,) = both.g.lines("sync", "status", "--json")
    assert not status["quiet"] or status["parked"] == 1, status
    assert both.peer.delete(twins[1].json()).status_code in (200, 204)
    both.g.command("sync", "retry")
    both.settle()
    assert len(copies(both, made["id"])) == 1


def test_two_workers_at_once_make_one_copy_of_each(both: Scenario) -> None:
    """Conditional create in a race: of equal creates at once HAPI answers some with 409."""
    ids = [new_goal(both, 4 + n % 4, f"At once {n}")["id"] for n in range(24)]
    command = [sys.executable, "-m", "fhir_gateway", "sync", "run", "--once"]
    workers = [subprocess.Popen(command, env=both.g.env, cwd=both.g.data.parent, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) for _ in range(3)]
    for worker in workers:
        _, said = worker.communicate(timeout=180)
        assert b"Traceback" not in said, said[-2000:]
    both.settle()
    there = [tag_of(g) for g in both.peer.all("Goal")]
    assert [there.count(id) for id in ids] == [1] * len(ids)


def test_a_reference_to_another_server_does_not_keep_a_record_here(both: Scenario) -> None:
    """References: HAPI refuses absolute ones where it has a search parameter (400) and gets them as an identifier; Medplum takes them as they are."""
    elsewhere, person = "https://other.example/fhir/Device/1", both.people[8]
    body = {
        "resourceType": "Observation", "status": "final", "code": {"text": "Seen elsewhere"}, "subject": {"reference": f"Patient/{person.id}"},
        "focus": [{"reference": elsewhere, "display": "My chair"}],
    }  # fmt: skip
    made = checked(person.who.call("POST", "Observation", body), 201)
    step(both)
    (copy,) = copies(both, made["id"], "Observation")
    (theirs,) = copy["focus"]
    assert theirs.get("reference", theirs.get("identifier", {}).get("value")) == elsewhere
    assert ("reference" in theirs) == isinstance(both.peer, Medplum)
    assert both.peer.put(copy | {"note": [{"text": "Seen here"}]}).status_code == 200
    both.settle()
    here = checked(person.who.get(f"Observation/{made['id']}"))
    assert here["focus"] == body["focus"] and here["note"] == [{"text": "Seen here"}]


def test_more_than_a_page_of_changes_there_arrives_whole(both: Scenario) -> None:
    """Paging and the order of `_lastUpdated`: HAPI's history by offset, Medplum's search by offset; next is followed as it is given."""
    person = both.people[9]
    patient = both.both.copy_of(f"Patient/{person.id}")
    for n in range(130):
        body = {
            "resourceType": "Observation", "status": "final", "code": {"text": "Steps"}, "valueString": f"{n} steps",
            "identifier": [{"system": "urn:steps", "value": f"s-{n}"}], "subject": {"reference": f"Patient/{patient['id']}"},
        }  # fmt: skip
        assert both.peer.post(body).status_code == 201
    both.settle()
    found = [r["valueString"] for r in everything(person.who, person.id) if r.get("code") == {"text": "Steps"}]
    assert sorted(found) == sorted(f"{n} steps" for n in range(130))


def test_a_change_seen_a_moment_after_a_round_is_not_hidden_by_a_cache(both: Scenario) -> None:
    """`_lastUpdated`, result cache: HAPI answers a search from its cache for 60 s unless asked not to."""
    ref = goal_of(both, 5)
    for text in ("one", "two"):
        step(both)
        assert both.peer.put(both.both.copy_of(ref) | {"note": [{"text": text}]}).status_code == 200
        step(both)
        assert checked(both.people[5].who.get(ref))["note"] == [{"text": text}]


async def test_what_was_written_a_moment_ago_is_found_by_whose_it_is_and_whose_copy_it_is(both: Scenario) -> None:
    """The same cache: by an identifier or a tag it would hide for 60 s who or what is there, and it would be made twice."""
    server, token = RemoteServer(both.peer.url, lambda: datetime.now(UTC)), "urn:cached|1"
    system, code = token.split("|")

    async def found() -> list[int]:
        return [len((await server.identified("Goal", token)).entries), sum([len(p.entries) async for p in server.search("Goal", {"_tag": token})])]

    def unasked() -> int:
        """By who does not ask for what is there now."""
        return len(httpx2.get(f"{both.peer.url}/Goal?_tag={token}", timeout=60).json().get("entry", []))

    assert (await found(), unasked()) == ([0, 0], 0)
    patient = both.both.copy_of(f"Patient/{both.people[4].id}")
    body = {
        "resourceType": "Goal", "lifecycleStatus": "active", "description": {"text": "Cached"}, "subject": {"reference": f"Patient/{patient['id']}"},
        "identifier": [{"system": system, "value": code}], "meta": {"tag": [{"system": system, "code": code}]},
    }  # fmt: skip
    made = both.peer.post(body)
    assert made.status_code == 201
    assert (await found(), unasked()) == ([1, 1], 0 if isinstance(both.peer, Hapi) else 1)
    assert both.peer.delete(made.json()).status_code in (200, 204)
    await server.close()


def test_what_they_deleted_and_we_changed_is_not_made_anew_there(both: Scenario) -> None:
    """Deletes: an update is answered 410 (HAPI) or 404 (Medplum); ours stays here, and a person decides."""
    ref, person = f"Goal/{new_goal(both, 6, 'I want this')['id']}", both.people[6].who  # which no plan there refers to: HAPI would say 409
    step(both)
    (copy,) = copies(both, ref.split("/")[1])
    assert both.peer.delete(copy).status_code in (200, 204)
    person.put(checked(person.get(ref)) | {"description": {"text": "I still want this"}})
    both.settle()  # where that server has enough for the moment (429), later
    assert copies(both, ref.split("/")[1]) == []
    assert checked(person.get(ref))["description"]["text"] == "I still want this"
    waiting = [c for c in both.g.lines("sync", "conflicts", "--json") if c["ref"] == ref]
    assert len(waiting) == 1
    done = both.g.command("sync", "resolve", waiting[0]["id"], "ours")
    assert done.returncode == 0, done.stdout + done.stderr
    both.settle()
    assert len(copies(both, ref.split("/")[1])) == 1, "a person said that it goes there again"


def test_what_is_deleted_there_and_put_again_under_its_id_goes_on_as_what_it_was(both: Scenario) -> None:
    """Deletes: a PUT to the id of what was deleted revives it (HAPI, Medplum), with a version more. Between two rounds nobody saw it gone."""
    ref, person = f"Goal/{new_goal(both, 8, 'Gone for a moment')['id']}", both.people[8].who
    step(both)
    (copy,) = copies(both, ref.split("/")[1])
    assert both.peer.delete(copy).status_code in (200, 204)
    again = both.peer.ask("PUT", f"Goal/{copy['id']}", {**copy, "meta": {"tag": copy["meta"]["tag"]}, "startDate": "2026-11-05"})
    assert again.status_code in (200, 201), again.text
    both.settle()
    (there,) = copies(both, ref.split("/")[1])
    assert there["id"] == copy["id"] and checked(person.get(ref))["startDate"] == "2026-11-05" == there["startDate"]


def test_consent_goes_before_an_edit_there_that_we_have_not_read(both: Scenario) -> None:
    """ETag, If-Match on DELETE: HAPI and Medplum's router do not look at it; what was taken back is gone all the same."""
    ref = goal_of(both, 7)
    assert both.peer.put(both.both.copy_of(ref) | {"note": [{"text": "written there at the last moment"}]}).status_code == 200
    both.refuse(Step("refuse", PEOPLE, 7, {"types": ["Goal"]}))
    both.settle()
    assert copies(both, ref.split("/")[1]) == []
    both.allow(Step("allow", PEOPLE, 7))
    both.settle()
    assert len(copies(both, ref.split("/")[1])) == 1


def test_a_tag_taken_off_here_does_not_come_back_from_a_server_that_keeps_tags(both: Scenario) -> None:
    """meta on PUT: HAPI adds tags up, so what it holds has it still; nothing goes back and forth, and here it stays off."""
    ref, person = goal_of(both, 10), both.people[10].who
    mine = {"system": "urn:mine", "code": "keep-an-eye-on"}
    now = checked(person.get(ref))
    person.put({**now, "meta": {**now["meta"], "tag": [mine]}})
    step(both)
    now = checked(person.get(ref))
    person.put({**now, "meta": {k: v for k, v in now["meta"].items() if k != "tag"}})
    step(both)
    assert both.peer.put(both.both.copy_of(ref) | {"note": [{"text": "after"}]}).status_code == 200
    step(both)
    here = checked(person.get(ref))
    assert here["note"] == [{"text": "after"}] and mine not in here["meta"].get("tag", [])
    tally = step(both)
    assert (tally["sent"], tally["pulled"]) == (0, 0)


def test_a_label_put_on_there_is_kept_here_and_what_it_restricts_is_asked_for_no_more(both: Scenario) -> None:
    """meta on PUT: a label of theirs is joined to ours; a restricted one takes the copy back from a server that promises nothing."""
    ref, person = goal_of(both, 11, 1), both.people[11].who
    label = {"system": "http://terminology.hl7.org/CodeSystem/v3-Confidentiality", "code": "R"}
    copy = both.both.copy_of(ref)
    assert both.peer.put({**copy, "meta": {**copy["meta"], "security": [label]}}).status_code == 200
    both.settle()
    assert [s["code"] for s in checked(person.get(ref))["meta"]["security"]] == ["R"]
    assert copies(both, ref.split("/")[1]) == []


def test_what_is_kept_there_is_not_said_to_be_dropped_and_what_they_delete_of_it_goes_here(both: Scenario) -> None:
    """Read-back: what a feed shows of our version is what was answered; an element that they take out was seen there first."""
    goal = new_goal(both, 0, "noted", note=[{"text": "slowly"}], statusDate="2026-11-02")
    step(both)
    step(both)
    (copy,) = copies(both, goal["id"])
    assert both.peer.put({k: v for k, v in copy.items() if k not in ("note", "statusDate")}).status_code == 200
    step(both)
    here = checked(both.people[0].who.get(f"Goal/{goal['id']}"))
    (status,) = both.g.lines("sync", "status", "--json")
    assert not {"note", "statusDate"} & set(here) and status["dropped"] == 0
