"""A copy of everything about one person, for their right of access, with what tells of others marked. docs/subject-access.md"""

from __future__ import annotations

import json
import re
import zipfile
from dataclasses import replace
from hashlib import sha256
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from fhir_gateway import gate, wiring
from fhir_gateway.auth import people
from fhir_gateway.commands.exporting import named_officer
from fhir_gateway.domain.third_parties import marks
from fhir_gateway.domain.types import Disclosed, Facts, Keep, Put, Ref, Writer
from fhir_gateway.gate import retaining
from fhir_gateway.gate.kinds import KINDS
from fhir_gateway.settings import Refused, Settings

from .conftest import Gateway
from .stores.making import at, goal, note
from .test_apps import BACK, SCOPES, Browser
from .test_story import permit, sharing

ME = "Patient/ann"
GP = Writer("Practitioner/gp")


def lines(z: zipfile.ZipFile, name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in z.read(name).decode().splitlines()] if name in z.namelist() else []


@pytest.fixture(scope="module")
def copied(demo: Gateway, tmp_path_factory: pytest.TempPathFactory) -> tuple[zipfile.ZipFile, dict[str, Any]]:
    """A copy of the demo's person, made when there is another person, a deleted goal, a consent taken back and a message that waits."""
    me = {"reference": f"Patient/{demo.patient}"}
    other = demo.call("hospital", "POST", "Patient", body={"resourceType": "Patient", "name": [{"family": "Zarathustra"}], "birthDate": "1970-01-01"})
    assert other.status_code == 201, other.text
    theirs = {"resourceType": "Goal", "lifecycleStatus": "active", "description": {"text": "Somebody else's secret"}, "subject": {"reference": f"Patient/{other.json()['id']}"}}
    assert demo.call("hospital", "POST", "Goal", body=theirs).status_code == 201
    gone = demo.call("patient", "POST", "Goal", body={"resourceType": "Goal", "lifecycleStatus": "active", "description": {"text": "A goal that I deleted"}, "subject": me})
    demo.call("patient", "DELETE", f"Goal/{gone.json()['id']}", headers={"If-Match": gone.headers["etag"]})
    made = demo.call("patient", "POST", "Consent", body=sharing(demo, [permit(demo.persona("link-worker")["fhirUser"], "CarePlan")]))
    demo.call("patient", "PUT", f"Consent/{made.json()['id']}", body={**made.json(), "status": "inactive"}, headers={"If-Match": made.headers["etag"]})
    wrong = {"resourceType": "Bundle", "type": "transaction", "identifier": {"system": "urn:x", "value": "waits"}, "entry": [
        {"request": {"method": "POST", "url": "Observation"}, "resource": {"resourceType": "Observation", "status": "no-such", "code": {"text": "Waits"}, "subject": me}}]}  # fmt: skip
    assert demo.call("hospital", "POST", "", body=wrong).status_code == 422
    told = {"resourceType": "Observation", "status": "final", "code": {"text": "Mood"}, "subject": me, "performer": [{"display": "Neighbour Gladys"}], "note": [{"text": "Low", "authorString": "Her brother Tom"}]}
    assert demo.call("hospital", "POST", "Observation", body=told).status_code == 201
    added = demo.command("clients", "add", "pal", "--redirect", BACK, "--name", "Pal the app", "--scopes", SCOPES)
    assert added.returncode == 0, added.stderr
    let_in = Browser(demo, "patient")
    let_in.authorize()
    let_in.approve()
    folder = tmp_path_factory.mktemp("copy")
    (said,) = demo.lines("person", "export", demo.patient, "--officer", "privacy-officer", "--out", str(folder), "--json")
    assert Path(said["file"]).stat().st_mode & 0o077 == 0 and sha256(Path(said["file"]).read_bytes()).hexdigest() == said["sha256"]
    return zipfile.ZipFile(said["file"]), said


def test_it_holds_the_record_its_versions_the_trail_and_what_waits(demo: Gateway, copied: tuple[zipfile.ZipFile, dict[str, Any]]) -> None:
    z, _ = copied
    everything = demo.get("patient", f"Patient/{demo.patient}/$everything?_count=200").json()
    for entry in everything["entry"]:
        type, id = entry["resource"]["resourceType"], entry["resource"]["id"]
        if entry["search"]["mode"] == "match":
            assert id in {r["id"] for r in lines(z, f"record/{type}.ndjson")}, f"{type}/{id}"
    deleted = [v for v in lines(z, "versions/Goal.ndjson") if v["request"]["method"] == "DELETE"]
    assert len(deleted) == 1 and "A goal that I deleted" in z.read("versions/Goal.ndjson").decode()
    consents = [v["resource"]["status"] for v in lines(z, "versions/Consent.ndjson")]
    assert "active" in consents and "inactive" in consents
    events = lines(z, "audit.ndjson")
    assert events and all(e["resourceType"] == "AuditEvent" for e in events)
    assert any(e["subtype"][0]["code"] == "subject-access" for e in events)
    assert [w["kind"] for w in lines(z, "waiting.ndjson")] == ["inbox"]
    assert "A goal" in z.read("summary.html").decode() or "Goal" in z.read("summary.html").decode()


def test_each_file_has_its_hash_in_the_manifest(copied: tuple[zipfile.ZipFile, dict[str, Any]]) -> None:
    z, said = copied
    manifest = json.loads(z.read("manifest.json"))
    assert {f["file"] for f in manifest["files"]} == set(z.namelist()) - {"manifest.json"}
    for file in manifest["files"]:
        raw = z.read(file["file"])
        assert sha256(raw).hexdigest() == file["sha256"], file
        assert file["file"] == "summary.html" or raw.count(b"\n") == file["lines"]
    assert manifest["officer"] == "privacy-officer" and manifest["marked"] == said["marked"] == len(lines(z, "review.ndjson"))


def test_nobody_elses_record_is_in_it_and_what_tells_of_others_is_marked(copied: tuple[zipfile.ZipFile, dict[str, Any]]) -> None:
    z, _ = copied
    for name in z.namelist():
        text = z.read(name).decode()
        assert "Somebody else's secret" not in text and "Zarathustra" not in text, name
    marked = {(m["file"], m["line"]) for m in lines(z, "review.ndjson")}
    for file in ("record/RelatedPerson.ndjson", "waiting.ndjson"):
        assert lines(z, file) and all((file, n) in marked for n in range(1, len(lines(z, file)) + 1)), file


def test_who_is_named_in_words_alone_is_marked(copied: tuple[zipfile.ZipFile, dict[str, Any]]) -> None:
    z, _ = copied
    (line,) = [n for n, o in enumerate(lines(z, "record/Observation.ndjson"), 1) if o["code"].get("text") == "Mood"]
    (mark,) = [m for m in lines(z, "review.ndjson") if (m["file"], m["line"]) == ("record/Observation.ndjson", line)]
    assert any("Her brother Tom" in why and "Neighbour Gladys" in why for why in mark["why"]), mark


def test_sign_ins_and_apps_are_in_it_without_any_secret(demo: Gateway, copied: tuple[zipfile.ZipFile, dict[str, Any]]) -> None:
    z, _ = copied
    by_name = {a["username"]: (n, a) for n, a in enumerate(lines(z, "sign-ins.ndjson"), 1)}
    mine = by_name["patient"][1]
    assert mine["fhir_user"] == f"Patient/{demo.patient}" and mine["name"] and not any("password" in k for k in mine)
    marked = {(m["file"], m["line"]) for m in lines(z, "review.ndjson")}
    assert ("sign-ins.ndjson", by_name["patient"][0]) not in marked and ("sign-ins.ndjson", by_name["proxy"][0]) in marked
    (app,) = lines(z, "apps.ndjson")
    assert app["account"] == "patient" and app["name"] == "Pal the app" and "patient/*.rs" in app["scopes"] and app["ends"] > app["since"]
    assert all("$argon2" not in z.read(name).decode() for name in z.namelist())


def test_the_page_says_it_in_words_and_has_no_id_in_it(demo: Gateway, copied: tuple[zipfile.ZipFile, dict[str, Any]]) -> None:
    page = copied[0].read("summary.html").decode()
    assert re.findall(r"[A-Z][A-Za-z]+/[A-Za-z0-9.-]*[0-9][A-Za-z0-9.-]*", page) == []
    for words in ("took on: ", "new access: told on a page of this service", "a message from Example General Hospital that nobody has settled", "<li>patient", "Pal the app, until "):
        assert words in page, words


def test_only_for_a_privacy_officer_and_only_of_somebody_who_is_here(demo: Gateway, tmp_path: Path) -> None:
    for officer, who, code, said in (("gp", demo.patient, 2, "privacy officer"), ("privacy-officer", "nobody-of-this-name", 1, "")):
        done = demo.command("person", "export", who, "--officer", officer, "--out", str(tmp_path))
        assert done.returncode == code and said in done.stderr, done.stderr
    assert list(tmp_path.iterdir()) == []
    done = demo.command("person", "export", demo.patient, "--officer", "privacy-officer", "--out", str(tmp_path / "no" / "x.zip"))
    assert done.returncode == 2 and "not there" in done.stderr
    missing = tmp_path / "folder-to-be"
    done = demo.command("person", "export", demo.patient, "--officer", "privacy-officer", "--out", f"{missing}/")
    assert done.returncode == 2 and "make it first" in done.stderr and not missing.exists(), "no file of a folder's name"


@pytest.mark.parametrize(
    "resource, facts, writer, says",
    [
        ({"resourceType": "RelatedPerson"}, {}, GP, "somebody else"),
        ({"resourceType": "Observation"}, {"patients": (ME, "Patient/bob")}, GP, "record of 1 other"),
        ({"resourceType": "Patient", "contact": [{"name": {"text": "Bob"}}]}, {}, GP, "contacts"),
        ({"resourceType": "Task", "owner": {"reference": "RelatedPerson/bob"}}, {}, GP, "points to RelatedPerson/bob"),
        ({"resourceType": "Goal"}, {}, Writer("RelatedPerson/bob", kind="proxy"), "written by RelatedPerson/bob"),
        ({"resourceType": "Goal", "note": [{"text": "x", "authorReference": {"reference": "RelatedPerson/bob"}}]}, {}, GP, "note in it"),
        ({"resourceType": "Goal", "note": [{"text": "x", "authorString": "Her brother Tom"}]}, {}, GP, "Her brother Tom"),
        ({"resourceType": "CarePlan", "activity": [{"progress": [{"text": "x", "authorString": "Jo"}]}]}, {}, GP, "in words alone"),
        ({"resourceType": "Goal", "note": [{"text": "x", "authorString": "Ann Example"}]}, {}, GP, ""),
        ({"resourceType": "Observation", "performer": [{"display": "Neighbour Gladys"}]}, {}, GP, "Neighbour Gladys"),
        ({"resourceType": "Observation", "performer": [{"display": "Dr Patel", "type": "Practitioner"}, {"display": "Ward 7", "type": "Location"}]}, {}, GP, ""),
        ({"resourceType": "Observation", "performer": [{"display": "Dr Patel", "identifier": {"system": "https://fhir.nhs.uk/Id/sds-user-id", "value": "1"}}]}, {}, GP, ""),
        ({"resourceType": "Observation", "code": {"coding": [{"display": "Blood pressure"}]}}, {}, GP, ""),
        ({"resourceType": "Goal", "contained": [{"resourceType": "RelatedPerson", "id": "x"}]}, {}, GP, "somebody of its own"),
        ({"resourceType": "Task", "owner": {"reference": "https://elsewhere.example/fhir/RelatedPerson/9"}}, {}, GP, "points to https://elsewhere"),
        ({"resourceType": "Goal", "description": {"text": "Visit Roberta at home"}}, {}, GP, "names of other people"),
        ({"resourceType": "Goal"}, {"other_labels": frozenset({"http://terminology.hl7.org/CodeSystem/v3-ActCode|NOPAT"})}, GP, "serious harm"),
        ({"resourceType": "Goal"}, {"legal": frozenset({"GRA"})}, GP, "the law restricts it"),
        ({"resourceType": "Goal", "description": {"text": "Robertas tea"}}, {}, GP, ""),
        ({"resourceType": "Goal", "subject": {"reference": ME}}, {}, Writer(ME, kind="patient"), ""),
    ],
)
def test_what_needs_a_look_is_said_in_words(resource: dict[str, Any], facts: dict[str, Any], writer: Writer, says: str) -> None:
    found = marks(resource, ME, Facts(resource["resourceType"], "x", **({"patients": (ME,)} | facts)), writer, frozenset({"roberta"}), frozenset({"ann", "example"}))
    assert any(says in why for why in found) if says else not found


# -- each part of it, in a store where everything is about one person ----------------------------------------------------------

KEYS = {  # kind -> key and value of something of ann's; the others' is the same of annie's
    "claim": ("{me} 1", {"reason": "I visit her", "name": "Jo"}), "claim-said": ("{me} Practitioner/jo", ["2026-05-04T09:00:00Z"]),
    "emergency": ("{me} 7", {"reason": "She fell"}), "accepted": ("{me} Goal/g{n}", "Practitioner/jo"), "notice": ("{me} 000000000001", {"why": "claim", "channel": "page"}),
    "told": ("{me}", "2026-05-04T09:00:00Z"), "tell-choice": ("{me}", {"channel": "email", "address": "a@b.example"}), "tell-changes": ("{me}", ["2026-05-04T09:00:00Z"]),
    "tell-new": ("{me}", {"id": "x", "choice": {"channel": "text"}, "until": "2026-05-04T09:00:00Z"}), "sharing-preferences": ("{me}", "Consent/c"),
    "draft": ("{me} {n}", {"author": "RelatedPerson/rob", "items": [{"title": "Tea with Roberta"}]}), "begun": ("{me} RelatedPerson%2Frob {n}", {"by": "RelatedPerson/rob", "body": {}}), "retention-hold": ("{me}", {"reason": "An inquest"}), "printed": ("{me} Practitioner/jo", {"number": 1, "digest": "x"}), "tell-former": ("x{n}", {"ref": "{me}", "choice": {"channel": "email"}, "patient": "{me}"}),
    "inbox": ("app {n}", {"body": "{{\"subject\": \"{me}\"}}"}), "quarantine": ("hub {n}", {"body": {"id": "{me}"}, "kind": "conflict", "key": "theirs"}), "conflict": ("hub Goal/g{n}", {"ref": "{me}"}),
    "parked": ("hub Goal/g{n}", {"status": 422}), "identity": ("hub {me}", {"ref": "{me}", "remote": "hub", "why": "several"}),
    "recall-ended": ("hub Goal/g{n}", {"at": "2026-05-04T09:00:00Z", "why": "They say it is gone", "patient": "{me}", "entry": 1, "etag": ""}),
}  # fmt: skip


def filled(what: Any, me: str, n: str) -> Any:
    return json.loads(json.dumps(what).replace("{me}", me).replace("{n}", n))


async def a_record_of_everything(w: wiring.Wired) -> None:
    """Ann's, with something of each kind; and annie's, with the same."""
    for me, n in ((ME, ""), ("Patient/annie", "2")):
        await w.store.commit(
            goal(me[8:], patient=me, type="Patient"), goal(f"g{n}", patient=me, text="Roberta comes on Mondays"),
            *(Keep(kind, filled(key, me, n), json.dumps(filled(value, me, n)).encode()) for kind, (key, value) in KEYS.items()),
            Disclosed("hub", Ref("Goal", f"g{n}"), 1, me, "Organization/x", at()), note(f"row{n}", patient=me), note(f"own{n}", patient=me, user=f"RelatedPerson/rob{n}"),
            binary(f"doc{n}", frozenset({f"Goal/g{n}"})), binary(f"photo{n}", frozenset()), goal(f"with{n}", patient=me, text=f"Binary/photo{n}"),
        )  # fmt: skip
    for name, text in (("rob", "Roberta"), ("rob2", "Xanthippe")):
        body = json.dumps({"resourceType": "RelatedPerson", "id": name, "name": [{"given": [text]}]}).encode()
        await w.store.commit(replace(goal(name, patient=ME if name == "rob" else "Patient/annie", type="RelatedPerson"), body=body, view=body))


def binary(id: str, refs: frozenset[str]) -> Put:
    body = json.dumps({"resourceType": "Binary", "id": id, "contentType": "text/plain", "data": "QQ=="}).encode()
    return replace(goal(id, patient=None, type="Binary", refs=refs), body=body, view=body)


async def held_of_ann(w: wiring.Wired) -> list[Any]:
    return [h async for h in gate.whole_record(wiring.operator(w), "ann", "olive")]


OF_NOW = re.compile(r"AuditEvent/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")  # that somebody makes this copy now, by an id of luck


async def test_whatever_is_kept_about_the_person_is_in_it_and_nothing_of_the_next(tmp_path: Path) -> None:
    assert set(KEYS) == {k for k, about in KINDS.items() if about.file and about.file not in ("sign-ins", "apps")}
    async with wiring.wired(Settings(data=tmp_path / "data")) as w:
        await a_record_of_everything(w)
        held = await held_of_ann(w)
        found = {(h.file, h.name) for h in held}
        for kind, (key, _) in KEYS.items():
            assert (f"{KINDS[kind].file}.ndjson", f"{kind} {filled(key, ME, '')}") in found, kind
        waiting = {h.name.split(" ")[0]: h.line for h in held if h.file == "waiting.ndjson"}
        assert all(line["kind"] == kind and line["key"] == filled(KEYS[kind][0], ME, "") for kind, line in waiting.items()), "what waits, and by what name"
        assert waiting["quarantine"]["problem"] == "conflict", "and which rule it broke"
        assert {("disclosures.ndjson", "Goal/g"), ("audit.ndjson", "AuditEvent/row"), ("record/Binary.ndjson", "Binary/doc"), ("record/Binary.ndjson", "Binary/photo")} <= found
        assert not [h for h in held if "annie" in str(h.line) or (h.name.endswith("2") and not OF_NOW.fullmatch(h.name))]
        files = [h.file for h in held]
        assert sum(a != b for a, b in pairwise(files)) + 1 == len(set(files)), "each file comes once"
        due = retaining.Due(ME, "adult", "2010-01-01", "2018-01-01", "due", 3, 0)
        await retaining.release(wiring.operator(w), "ann", "olive")
        await retaining.dispose(wiring.operator(w), due, "olive")
        for kind, (key, _) in KEYS.items():
            left = await w.store.kept_all(kind, wiring.now())
            assert list(left) == [filled(key, "Patient/annie", "2")], kind


async def test_what_tells_of_others_in_text_trail_and_holds_is_marked(tmp_path: Path) -> None:
    async with wiring.wired(Settings(data=tmp_path / "data")) as w:
        await a_record_of_everything(w)
        why = {h.name: h.why for h in await held_of_ann(w) if h.file != "disclosures.ndjson"}
        assert why["Goal/g"] == ("its text has names of other people of this record: roberta",) and why["Goal/with"] == ()
        assert "RelatedPerson/rob" in why["AuditEvent/own"][0] and why["AuditEvent/row"] == ()
        assert "has not sent it" in why[f"begun {ME} RelatedPerson%2Frob "][0]
        assert "legal hold" in why[f"retention-hold {ME}"][0] and "nobody has settled" in why["inbox app "][0]


async def test_a_long_trail_is_in_it_whole(tmp_path: Path) -> None:
    async with wiring.wired(Settings(data=tmp_path / "data")) as w:
        await w.store.commit(goal("ann", type="Patient"), *(note(f"n{i:04}", when=i // 3) for i in range(1_001)))
        rows = [h.name for h in await held_of_ann(w) if h.file == "audit.ndjson"]
        assert len(rows) == len(set(rows)) == 1_002


async def test_a_closed_officer_is_no_officer(tmp_path: Path) -> None:
    settings = Settings(data=tmp_path / "data")
    async with wiring.wired(settings) as w:
        for name, more in (("olive", {}), ("otto", {"closed": True})):
            await people.add(w.store, people.Account(name, f"Practitioner/{name}", roles=("privacy-officer",), **more), "only-for-this-test")
        assert await named_officer(w, settings, "olive") == "olive"
        for name in ("otto", "nobody", ""):
            with pytest.raises(Refused, match="privacy officer"):
                await named_officer(w, settings, name)
