"""Retention: whose record is at its end, what must not go, and that what went is really gone. docs/retention.md"""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest

from fhir_gateway import wiring
from fhir_gateway.auth import people
from fhir_gateway.commands import retaining as commands
from fhir_gateway.definitions import profiles_dir
from fhir_gateway.domain.retention import kept_until, read
from fhir_gateway.domain.types import Disclosed, Ref
from fhir_gateway.gate import retaining
from fhir_gateway.settings import Refused, load

from .conftest import Gateway
from .staff import wired_operator
from .stores.making import goal

SCHEDULE = read((profiles_dir() / "retention.json").read_bytes())
SECRET = "Xyzzyplugh"


@pytest.mark.parametrize(
    "born, died, last, sensitive, until, rule",
    [
        ("1950-01-01", None, "2018-03-01", (), "2026-03-01", "adult"),
        ("1950-01-01", "2019-02-02", "2018-03-01", (), "2027-02-02", "adult"),
        ("1950-01-01", "2019-02-02", "2024-03-01", (), "2027-02-02", "adult"),  # what was written after the death is no contact
        ("2010-06-01", None, "2018-03-01", (), "2035-06-01", "child"),
        ("2000-06-01", None, "2018-03-01", (), "2026-06-01", "child"),  # 17 then: until 26
        ("2000-02-29", None, "2018-03-01", (), "2026-03-01", "adult"),
        ("1950-01-01", None, "2018-03-01", ("MH",), "2038-03-01", "mental-health"),
        ("1950-01-01", "2019-02-02", "2018-03-01", ("MH",), "2029-02-02", "mental-health"),
        ("1996-02-29", None, "2016-02-29", (), "2024-02-29", "adult"),
    ],
)
def test_a_record_is_kept_as_long_as_the_longest_rule_that_holds(born: str, died: str | None, last: str, sensitive: tuple[str, ...], until: str, rule: str) -> None:
    kept = kept_until(SCHEDULE, date.fromisoformat(born), date.fromisoformat(died) if died else None, date.fromisoformat(last), sensitive)
    assert kept.until.isoformat() == until and kept.rule == rule


@pytest.mark.parametrize(
    "change", [{"rules": []}, {"rules": [{"name": "x", "who": "all", "years": 0}]}, {"rules": [{"name": "x", "who": "dogs", "years": 8}]}, {"messages": {"inbox": 0}}, {"rool": 1}]
)
def test_a_schedule_that_could_dispose_at_once_is_refused(change: dict[str, Any]) -> None:
    whole = json.loads((profiles_dir() / "retention.json").read_bytes())
    with pytest.raises(ValueError):
        read(json.dumps(whole | change).encode())


def long_dead(g: Gateway) -> str:
    """Somebody who died in 2010, with a plan full of words."""
    person = {"resourceType": "Patient", "name": [{"family": SECRET}], "birthDate": "1930-01-01"}
    made = g.call("hospital", "POST", "Patient", body=person)
    assert made.status_code == 201, made.text
    id = str(made.json()["id"])
    for n in range(3):
        thing = {"resourceType": "Goal", "lifecycleStatus": "active", "description": {"text": f"{SECRET} {n} " * 300}, "subject": {"reference": f"Patient/{id}"}}
        assert g.call("hospital", "POST", "Goal", body=thing).status_code == 201
    now = g.call("hospital", "PUT", f"Patient/{id}", body={**made.json(), "deceasedDateTime": "2010-05-05"}, headers={"If-Match": made.headers["etag"]})
    assert now.status_code == 200, now.text
    return id


def test_what_is_over_goes_whole_and_for_good_but_not_while_it_is_held_or_partners_have_copies(
    demo: Gateway, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    id = long_dead(demo)
    me = f"Patient/{id}"
    monkeypatch.setenv("GATEWAY_DATA", str(demo.data))

    def plan() -> tuple[dict[str, str], str]:
        capfdbinary.readouterr()
        assert asyncio.run(commands.plan(True)) == 0
        *rows, said = map(json.loads, capfdbinary.readouterr().out.splitlines())
        return {r["person"]: r["state"] for r in rows}, said["plan"]

    def run(name: str, code: int) -> dict[str, Any]:
        if code == 2:
            with pytest.raises(Refused) as why:
                asyncio.run(commands.run(name, "privacy-officer", tmp_path, True))
            return {"why": str(why.value)}
        assert asyncio.run(commands.run(name, "privacy-officer", tmp_path, True, True)) == code
        return dict(json.loads(capfdbinary.readouterr().out.splitlines()[-1]))

    states, first = plan()
    assert states == {me: "due"}, "nobody of the demo"
    assert demo.command("retain", "hold", me, "--reason", "An inquest", "--officer", "privacy-officer").returncode == 0
    states, held = plan()
    assert states == {me: "held"} and "another by now" in run(first, 2)["why"]
    assert run(held, 0)["disposed"] == 0
    assert [h["reason"] for h in demo.lines("retain", "holds", "--json")] == ["An inquest"]
    assert asyncio.run(commands.release(me, "privacy-officer")) == 0

    copy = Disclosed("hub", Ref("Patient", id), 1, me, "Organization/x", datetime(2020, 1, 1, tzinfo=UTC))
    wired_operator(demo, lambda ctx: ctx.house.store.commit(copy))
    states, copies = plan()
    assert states == {me: "copies"}
    assert run(copies, 1) | {"overwritten": True} == {"disposed": 0, "left": 0, "waiting": 1, "held": 0, "messages": 0, "certificates": 0, "overwritten": True}
    queued = wired_operator(demo, lambda ctx: ctx.house.store.outbox_items("hub", "queued"))
    assert [i["why"] for i in queued] == ["recall"]
    back = Disclosed(*(getattr(copy, f) for f in ("remote", "ref", "version", "patient", "recipient", "at")), recalled=datetime(2020, 1, 2, tzinfo=UTC))
    wired_operator(demo, lambda ctx: ctx.house.store.commit(back))

    states, name = plan()
    assert states == {me: "due"}
    done = run(name, 0)
    assert (done["disposed"], done["certificates"], done["overwritten"]) == (1, 1, True)
    (certificate,) = [json.loads(f.read_text()) for f in tmp_path.glob("*.json")]
    assert certificate["resources"] == {"Goal": 3, "Patient": 1} and certificate["versions"] == 5 and certificate["person"] == me
    assert all(SECRET not in f.read_text() for f in tmp_path.iterdir())
    assert demo.get("hospital", me).status_code == 404
    rows = wired_operator(demo, lambda ctx: ctx.house.store.notes(patient=me))
    assert certificate["certificate"] in next(n.detail for n in rows if n.what == "dispose")
    demo.stop()
    for file in (*demo.data.rglob("*"), *(demo.data.parent / "data-journal").rglob("*")):
        assert not file.is_file() or SECRET.encode() not in file.read_bytes(), file


async def test_a_run_that_was_stopped_goes_on_and_every_disposal_has_its_certificate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEWAY_DATA", str(tmp_path / "data"))
    folder = tmp_path / "certificates"
    folder.mkdir()
    async with wiring.wired(load()) as w:
        await people.add(w.store, people.Account("olive", "Practitioner/olive", roles=("privacy-officer",)), "only-for-this-test")
        for id in ("ann", "bob"):
            body = json.dumps({"resourceType": "Patient", "id": id, "birthDate": "1930-01-01", "deceasedDateTime": "2010"}).encode()
            await w.store.commit(replace(goal(id, patient=f"Patient/{id}", type="Patient"), body=body, view=body), goal(f"g-{id}", patient=f"Patient/{id}"))
        merged = json.dumps({"resourceType": "Patient", "id": "x", "birthDate": "1930-01-01", "deceasedDateTime": "2010", "link": [{"type": "replaced-by"}]}).encode()
        await w.store.commit(replace(goal("x", patient="Patient/x", type="Patient"), body=merged, view=merged))
        plan = sorted([d async for d in retaining.due(wiring.operator(w), SCHEDULE)], key=lambda d: d.person)
        assert [(d.person, d.state) for d in plan] == [("Patient/ann", "due"), ("Patient/bob", "due"), ("Patient/x", "linked")]
        assert all(d.recent for d in plan), "who died in 2010 is written of years after the end"
        await retaining.dispose(wiring.operator(w), plan[0], "olive")  # and then the machine stopped
    with pytest.raises(Refused, match="another by now"):
        await commands.run(retaining.digest(plan), "olive", folder, True)
    assert len(list(folder.glob("*.json"))) == 1
    assert await commands.run(retaining.digest(plan[1:]), "olive", folder, True) == 0
    assert {json.loads(f.read_text())["person"] for f in folder.glob("*.json")} == {"Patient/ann"}, "the others are left, until somebody has looked"
    assert await commands.run(retaining.digest(plan[1:]), "olive", folder, True, include_recent=True) == 0
    assert {json.loads(f.read_text())["person"] for f in folder.glob("*.json")} == {"Patient/ann", "Patient/bob"}
    async with wiring.wired(load()) as w:
        assert [d.state async for d in retaining.due(wiring.operator(w), SCHEDULE)] == ["linked"]
