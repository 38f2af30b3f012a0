"""What went to the wrong patient, told as those who are in it meet it: commands, pages and FHIR over HTTP, here and at the surgery's own gateway.

The hospital writes Bea's weight into Ann's record, and it goes to Ann's surgery; then the two records are merged by mistake, and Bea's go there by Ann's
yes. Each is found and undone, and each time both gateways are compared resource by resource (`agreement`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest

from ..conftest import Gateway, gateway
from ..staff import permit
from ..systems.partnered import in_step, partnered
from ..systems.town import ODS, Member, Person, Programme, Town, about
from .agreement import Both, references, tag_of
from .driving import Peer, Resource

pytestmark = pytest.mark.interop
CODE = "HW01"  # of the surgery, at both gateways


class Surgery(Peer):
    """The surgery's gateway, as a system of its own reads it."""

    def __init__(self, system: Member) -> None:
        self.system, self.token, self.url = system, "", f"{system.gateway.base}/fhir"

    def ask(self, method: str, path: str, body: Resource | None = None, **headers: str) -> httpx2.Response:
        return self.system.call(method, path.removeprefix(f"{self.url}/"), body=body, headers=headers)


@dataclass
class Owner:
    """The surgery's system at our gateway: what it may see here."""

    system: Member

    @property
    def g(self) -> Gateway:
        return self.system.gateway

    def get(self, path: str) -> httpx2.Response:
        return self.system.get(path)


@dataclass
class Sides:
    """Our gateway's town, and the surgery's."""

    here: Programme
    surgery: Surgery
    both: Both

    def in_step(self, *people: str) -> set[str]:
        """A round, and both compared: what of these people is there, by its name here."""
        status = in_step(self.here.town)
        assert (status["quiet"], status["parked"], status["conflicts"], status["recalls_open"]) == (True, 0, 0, 0), status
        self.both.compare(list(people))
        held, names = self.both.look()
        about = {f"Patient/{id}" for id in people}
        return {name for ref, name in names.items() if tag_of(held[ref]) and self.both.person(held[ref], names) in about}

    def there(self, name: str) -> str:
        """What it is called there."""
        return self.both._ids[name]

    def recalled(self) -> dict[str, bool]:
        """What was to be taken back, and whether it is."""
        return {r["ref"]: not r["open"] for r in self.here.town.command("sync", "recalls")}


@contextmanager
def sides(folder: Path) -> Iterator[Sides]:
    for name in ("here", "there"):
        (folder / name).mkdir()
    with gateway(folder / "there") as g:
        there = Programme(Town(g, folder / "there").open(), "hw")
        there.places(surgery="health")
        remote = {"name": "surgery", "url": f"{g.base}/fhir", "organisation": CODE, "auth": {"kind": "smart", "client": "our-gateway", "key": "own"}}
        with partnered(folder / "here", remote) as town:
            here = Programme(town, "hw")
            here.places(surgery="health", hospital="health")
            here.settled()
            keys = folder / "ours.jwks"
            said = town.gateway.command("sync", "key", "surgery", "--jwks")
            assert said.returncode == 0, said.stderr
            keys.write_text(said.stdout)
            reads = there.system("reads", "surgery", "--contributor")
            there.town.command("clients", "add", "our-gateway", "--keys", str(keys), "--organisation", CODE, "--scopes", "system/*.cruds", "--contributor")
            surgery = Surgery(reads)
            yield Sides(here, surgery, Both(Owner(here.system("surgery", "surgery")), surgery, "urn:none"))  # type: ignore[arg-type]


def unstamped(resource: Resource) -> Resource:
    """Without its version."""
    return {**resource, "meta": {k: v for k, v in resource["meta"].items() if k not in ("versionId", "lastUpdated")}}


def weight(patient: str) -> dict[str, Any]:
    return {
        "resourceType": "Observation", "status": "final", "code": {"text": "Body weight"}, "subject": about(patient),
        "valueQuantity": {"value": 90, "unit": "kg", "system": "http://unitsofmeasure.org", "code": "kg"},
    }  # fmt: skip


def test_what_went_to_the_wrong_patient_is_taken_back_where_it_went(tmp_path: Path) -> None:
    with sides(tmp_path) as s:
        here = s.here
        (gwen,) = here.staff(gwen=("surgery", "gp"))
        hospital = here.system("wards", "hospital", "--contributor", "--refers")
        ids = {
            "ann": here.bring(hospital, here.plan_of("Ann", team=[("Gwen", "surgery")])),
            "bea": here.bring(hospital, here.plan_of("Bea", born="1944-02-29")),
        }
        ann, bea = (here.person(name, id) for name, id in ids.items())
        gwen.agree(ann.id)
        ann.allow(permit(f"{ODS}|{CODE}"))
        hers = s.in_step(ann.id, bea.id)
        assert {f"Patient/{ann.id}"} < hers and "Goal" in {name.split("/")[0] for name in hers}
        assert s.in_step(bea.id) == set(), "Bea has said yes to nobody there"
        before = {name: s.both.copy_of(name) for name in hers}

        wrong_push(s, hospital, gwen, ann, bea)
        assert {name: s.both.copy_of(name) for name in hers} == before, "all else of Ann's is untouched"
        wrong_merge(s, ann, bea)
        after = {name: s.both.copy_of(name) for name in s.in_step(ann.id)}
        assert {name: unstamped(r) for name, r in after.items()} == {name: unstamped(r) for name, r in before.items()}
        assert all(after[name] == before[name] for name in hers if not name.startswith("Patient/")), "only her own record was written there, for what it said of Bea's"
        checked = here.town.gateway.command("audit", "verify")
        assert checked.returncode == 0, checked.stdout + checked.stderr


def wrong_push(s: Sides, hospital: Member, gwen: Member, ann: Person, bea: Person) -> None:
    """Bea's weight in Ann's record. Gwen sees that it cannot be Ann's; the hospital deletes it, and writes it where it belongs."""
    wrong = f"Observation/{hospital.make(weight(ann.id))['id']}"
    assert wrong in s.in_step(ann.id, bea.id)
    at, (copy,) = s.there(wrong), s.surgery.all("Observation")
    assert copy["subject"]["reference"] == s.there(f"Patient/{ann.id}") and copy["valueQuantity"]["value"] == 90
    assert gwen.one(f"Observation?patient={ann.id}")["id"] == wrong.split("/")[1]
    assert sent(ann)["Body weight: 90 kg Measurements"] == "They have it"
    assert hospital.call("DELETE", wrong, headers={"If-Match": 'W/"1"'}).status_code in (200, 204)
    right = f"Observation/{hospital.make(weight(bea.id))['id']}"
    assert not {wrong, right} & s.in_step(ann.id, bea.id)
    assert s.surgery.ask("GET", at).status_code == 410 and s.surgery.all("Observation") == [] and s.surgery.ask("GET", f"Observation?patient={s.there(f'Patient/{ann.id}')}").json()["total"] == 0
    assert gwen.status(wrong) == 410
    gwen.knows_nothing_of(right)
    assert bea.read(right)["valueQuantity"]["value"] == 90
    assert s.recalled()[wrong]
    assert "They have it" not in [how for what, how in sent(ann).items() if "eight" in what or "deleted" in what.lower()] and "Taken back" in sent(ann).values()


def wrong_merge(s: Sides, ann: Person, bea: Person) -> None:
    """Somebody takes the two for one: Bea's go to Ann's surgery by Ann's yes, until somebody sees that they are two."""
    town = s.here.town
    done = town.gateway.command("patients", "merge", bea.id, ann.id, "--evidence", "Looked alike on the list.")
    assert done.returncode == 0, done.stderr
    beas = s.in_step(ann.id, bea.id) - s.in_step(ann.id)
    assert {f"Patient/{bea.id}"} < beas and {"Goal", "Observation"} <= {name.split("/")[0] for name in beas}
    s.in_step(ann.id, bea.id)
    at = {name: s.there(name) for name in beas}
    for name, ref in at.items():
        copy = s.both.copy_of(name)
        assert ref == at[f"Patient/{bea.id}"] or at[f"Patient/{bea.id}"] in {r.get("reference") for r in references(copy)}, f"{name} is of Bea there, too"
        assert s.there(f"Patient/{ann.id}") not in {r.get("reference") for r in references({k: v for k, v in copy.items() if k != "link"})}, copy
    assert {sent(bea)[what] for what in ("Body weight: 90 kg Measurements", "Bea walks to the shop and back Goals", "Bea's plan Plans")} == {"They have it"}, "she reads where hers went"
    done = town.gateway.command("patients", "unmerge", bea.id, ann.id, "--evidence", "Two people after all.")
    assert done.returncode == 0, done.stderr
    assert s.in_step(ann.id, bea.id) == s.in_step(ann.id)
    for name, ref in at.items():
        assert s.surgery.ask("GET", ref).status_code == 410, f"{name} is still there as {ref}"
        assert s.recalled()[name], name
    assert set(sent(bea).values()) == {"Taken back"} and "Ann" not in "".join(sent(bea)), "and nothing of Ann's any more"
    for who in (bea, ann):
        who.page.get("/my-plan/who-looked")
        assert "Those who run this service What they did Wrote something down about your plan or record" in who.page.words()


def sent(who: Person) -> dict[str, str]:
    """Her page of what was sent to others: how each thing is now."""
    who.page.get("/my-plan/sent")
    rows = re.findall(r"What (.+?) Who has or had it .+? How it is now (They have it|Taken back|Being taken back|Not back yet|Not sure)", who.page.words().partition("How it is now")[2])
    return dict(rows)
