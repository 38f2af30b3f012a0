"""Retention: whose record is at its end, what must not go, and that what went is really gone. docs/retention.md"""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from fhir_gateway import gate, wiring
from fhir_gateway.auth import people
from fhir_gateway.commands import retaining as commands
from fhir_gateway.definitions import profiles_dir
from fhir_gateway.domain.problem import Problem
from fhir_gateway.domain.retention import contact, kept_until, read
from fhir_gateway.domain.types import Disclosed, Facts, Keep, Put, Ref, Stored, Writer
from fhir_gateway.gate import retaining
from fhir_gateway.settings import Refused, Settings, load

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


BY_STAFF, BY_SYNC = Writer("Practitioner/gp"), Writer("Organization/x", method="SYNC")
BY_OPERATOR, BY_US = Writer("Practitioner/admin", kind="operator"), Writer("Practitioner/gp", method="SYSTEM")


def us(day: str) -> int:
    return int(datetime.fromisoformat(f"{day}T12:00:00+00:00").timestamp()) * 1_000_000


@pytest.mark.parametrize(
    "low, high, writer, met",
    [
        (None, None, BY_STAFF, "2020-06-01"),  # written on that day
        ("2012-01-01", "2013-01-01", BY_STAFF, "2020-06-01"),
        ("2022-01-01", "2022-01-02", BY_STAFF, "2022-01-02"),  # written ahead, and over by now
        ("2012-01-01", "2013-01-01", BY_SYNC, "2013-01-01"),
        ("2012-01-01", "2013-01-01", BY_OPERATOR, "2013-01-01"),
        ("2012-01-01", "2013-01-01", BY_US, "2013-01-01"),
        ("2012-01-01", "2040-01-01", BY_SYNC, "2012-01-01"),  # the end is still to come
        ("2039-01-01", "2040-01-01", BY_SYNC, None),
        ("2039-01-01", "2040-01-01", BY_STAFF, "2020-06-01"),
        (None, None, BY_SYNC, None), (None, None, BY_OPERATOR, None), (None, None, BY_US, None),
    ],
)  # fmt: skip
def test_a_contact_is_the_day_told_of_or_the_day_of_writing_by_somebody_who_was_there(low: str | None, high: str | None, writer: Writer, met: str | None) -> None:
    facts = Facts("Goal", "g", low=low and us(low), high=high and us(high))  # type: ignore[arg-type]
    version = Stored(Ref("Goal", "g"), 1, datetime(2020, 6, 1, 12, tzinfo=UTC), b"{}", b"{}", facts, writer)
    found = contact(version, datetime(2026, 5, 4, tzinfo=UTC))
    assert (found and found.isoformat()) == met


def born_in(year: int, id: str = "ann", dead: str = "", **more: Any) -> Put:
    body = json.dumps({"resourceType": "Patient", "id": id, "birthDate": f"{year}-01-01"} | ({"deceasedDateTime": dead} if dead else {})).encode()
    return replace(goal(id, patient=f"Patient/{id}", type="Patient", **more), body=body, view=body)


async def test_what_is_sensitive_keeps_the_record_longer_and_what_only_came_by_sync_counts_from_then(tmp_path: Path) -> None:
    long_ago = datetime(2015, 3, 1, tzinfo=UTC)
    async with wiring.wired(Settings(data=tmp_path / "data")) as w:
        for id, codes in (("ann", frozenset({"MH"})), ("bob", frozenset[str]())):
            await w.store.commit(
                replace(born_in(1950, id), at=long_ago),
                replace(goal(f"g-{id}", patient=f"Patient/{id}", sensitivity=codes, high=us("2030-01-01")), at=long_ago),
            )
        await w.store.commit(born_in(1950, "new", writer=BY_SYNC))
        in_time = replace(wiring.operator(w), at=datetime(2026, 6, 1, tzinfo=UTC))
        assert [(d.person, d.rule, d.until) async for d in retaining.due(in_time, SCHEDULE)] == [("Patient/bob", "adult", "2023-03-01")]
        later = {d.person: (d.rule, d.until) async for d in retaining.due(replace(in_time, at=datetime(2053, 6, 1, tzinfo=UTC)), SCHEDULE)}
        assert later == {"Patient/ann": ("mental-health", "2050-01-01"), "Patient/bob": ("adult", "2038-01-01"), "Patient/new": ("adult", "2034-05-04")}


async def test_a_disposal_looks_at_the_hold_again_takes_what_names_the_person_and_makes_a_new_epoch(tmp_path: Path) -> None:
    async with wiring.wired(Settings(data=tmp_path / "data")) as w:
        await w.store.commit(born_in(1930, dead="2010"), goal("g"), born_in(1960, "annie"))
        here = [Keep("inbox", "1", b'{"entry": "Patient/ann"}'), Keep("parked", "hub Goal/g", b"{}"), Keep("notice", "Patient/ann 1", b"{}"), Keep("nhs-number", "9990000018", b"Patient/ann")]
        others = [Keep("inbox", "2", b'{"entry": "Patient/annie"}'), Keep("parked", "hub Goal/g2", b"{}"), Keep("notice", "Patient/annie 1", b"{}"), Keep("nhs-number", "9990000026", b"Patient/annie")]
        await w.store.commit(*here, *others)
        ctx = wiring.operator(w)
        (due,) = [d async for d in retaining.due(ctx, SCHEDULE)]
        await retaining.hold(ctx, "Patient/ann", "An inquest", "olive")  # after the plan was made
        with pytest.raises(Problem, match="held"):
            await retaining.dispose(ctx, due, "olive")
        await retaining.release(ctx, "ann", "olive")
        before = await w.store.epoch("Patient/ann")
        said = await retaining.dispose(ctx, due, "olive")
        assert said["messages"] == len(here)
        for kept in here:
            assert await w.store.kept(kept.kind, kept.key, ctx.at) is None, kept
        for kept in others:
            assert await w.store.kept(kept.kind, kept.key, ctx.at) == kept.value, kept
        assert await w.store.epoch("Patient/ann") > before


async def test_old_messages_go_when_they_are_told_to_and_young_ones_stay(tmp_path: Path) -> None:
    async with wiring.wired(Settings(data=tmp_path / "data")) as w:
        ctx = wiring.operator(w)
        for days in (1, 89, 91, 400):
            at = (ctx.at - timedelta(days=days)).isoformat()
            await w.store.commit(Keep("inbox", f"{days}", json.dumps({"at": at}).encode()), Keep("conflict", f"{days}", json.dumps({"at": at}).encode()))
        for drop in (False, True):
            assert sorted(await w.store.kept_all("inbox", ctx.at)) == ["1", "400", "89", "91"]
            assert await retaining.old_messages(ctx, SCHEDULE, drop=drop) == {"inbox": 2}
        assert sorted(await w.store.kept_all("inbox", ctx.at)) == ["1", "89"]
        assert len(await w.store.kept_all("conflict", ctx.at)) == 4, "the schedule says nothing of these"
        assert [n.what for n in await w.store.notes(count=9)].count("dispose") == 2


async def test_nobody_but_an_operator_holds_plans_or_disposes(tmp_path: Path) -> None:
    async with wiring.wired(Settings(data=tmp_path / "data")) as w:
        await w.store.commit(born_in(1930, dead="2010"))
        (due,) = [d async for d in retaining.due(wiring.operator(w), SCHEDULE)]
        ctx = gate.house_context(w.house, replace(wiring.operator(w).actor, operator=False), purpose="HOPERAT")
        doings = [
            retaining.hold(ctx, "ann", "why", "olive"), retaining.release(ctx, "ann", "olive"), retaining.holds(ctx), anext(retaining.due(ctx, SCHEDULE)),
            retaining.take_back(ctx, due), retaining.dispose(ctx, due, "olive"), retaining.certificates(ctx), retaining.old_messages(ctx, SCHEDULE, drop=True),
        ]  # fmt: skip
        for doing in doings:
            with pytest.raises(Problem) as refused:
                await doing  # type: ignore[misc]
            assert refused.value.kind == "forbidden"
        assert await w.store.get(Ref("Patient", "ann")) is not None


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
