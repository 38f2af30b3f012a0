"""A partner's Consent that cannot be read whole may be a no: the record closes in the commit that puts it aside, until it can be read, the
person has said otherwise here, or somebody has looked."""

from __future__ import annotations

import json
import threading
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from typing import Any

import pytest
import pytest_asyncio

from fhir_gateway import gate
from fhir_gateway.domain import strict
from fhir_gateway.domain.directory import ODS_CODE
from fhir_gateway.domain.limits import DEFAULT
from fhir_gateway.domain.types import Keep, Linked, Op, Put, Ref
from fhir_gateway.remote.client import RemoteServer
from fhir_gateway.sync import worker
from fhir_gateway.sync.one_by_one import looked_at
from fhir_gateway.sync.partner import Partner
from fhir_gateway.sync.replaying import replay
from fhir_gateway.sync.tally import Tally
from fhir_gateway.sync.waiting import QUARANTINE

from .spoken import consent, permit
from .test_at_once import World, begun, grant, shown, task, world
from .test_foreign_consents import Sender

__all__ = ["world"]  # the fixture


class Hub(Sender):
    """A partner with at most one state of each Consent, which it also gives one by one."""

    def says(self, id: str, body: dict[str, Any] | None, at: int) -> None:
        self.own = [r for r in self.own if r["id"] != id]
        if body is not None:
            self.has(id, body, at)
            self.own[-1]["meta"]["versionId"] = str(at)

    def answer(self, method: str, path: str, sent: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        type, _, id = path.partition("/")
        if method == "GET" and type == "Consent" and id:
            found = [r for r in self.own if (r["resourceType"], r["id"]) == (type, id)]
            return (200, found[0]) if found else (410, {"resourceType": "OperationOutcome"})
        if method == "GET" and type == "Patient" and id and path not in self.held:  # what was taken back
            return 410, {"resourceType": "OperationOutcome"}
        return super().answer(method, path, sent)


@dataclass
class Scene:
    w: World
    hub: Hub
    partner: Partner
    person: str  # ours
    there: str  # their id

    async def round(self) -> Tally:
        return await worker.once(self.w.house, self.partner)

    async def sees(self, who: str = "gp") -> bool:
        return (await shown(self.w, who, self.person, "Goal"))[0]

    async def items(self) -> dict[str, dict[str, Any]]:
        return {k: strict.decode(raw) for k, raw in (await self.w.house.store.kept_all(QUARANTINE, self.w.house.clock(), "surgery ")).items()}

    async def tasks(self) -> list[dict[str, Any]]:
        stored = await self.w.house.store.patient_record(self.person, ["Task"])
        bodies = [strict.decode(s.body or b"{}") for s in stored]
        return [b for b in bodies if "correct-consent" in json.dumps(b.get("code", {}))]

    async def kept(self) -> list[dict[str, Any]]:
        stored = await self.w.house.store.patient_record(self.person, ["Consent"])
        return [strict.decode(s.body or b"{}") for s in stored]

    async def kept_of_sync(self) -> list[dict[str, Any]]:
        """Of these what came from the partner."""
        stored = await self.w.house.store.patient_record(self.person, ["Consent"])
        return [strict.decode(s.body or b"{}") for s in stored if s.writer.method == "SYNC"]

    def no(self, whom: str = "charity") -> dict[str, Any]:
        return consent(self.there, permit(f"{ODS_CODE}|{whom}", type="deny"))


@pytest_asyncio.fixture(loop_scope="function")
async def scene(world: World) -> AsyncIterator[Scene]:
    w, hub = world, Hub()
    threading.Thread(target=hub.server.serve_forever, args=(0.05,), daemon=True).start()
    limits = replace(DEFAULT, items=40)
    partner = Partner(w.partners["surgery"].terms, RemoteServer(hub.url, w.now), sweep_hours=0, limits=limits)
    person, _ = await begun(w, "gp")
    await task(w, person)
    hub.has("before", {"resourceType": "Task", "status": "draft", "intent": "order"}, 0)  # first contact takes nothing: it sets the mark
    await worker.once(w.house, partner)
    (there,) = [name.removeprefix("Patient/") for name in hub.held if name.startswith("Patient/")]
    yield Scene(w, hub, partner, person, there)
    await partner.server.close()
    hub.server.shutdown()


def large(s: Scene) -> dict[str, Any]:
    return s.no() | {"policy": [{"uri": f"urn:x:{n}"} for n in range(41)]}


def broken(s: Scene) -> dict[str, Any]:
    return s.no() | {"sourceAttachment": {"size": float("nan")}}  # no JSON


def deep(s: Scene) -> dict[str, Any]:
    node: dict[str, Any] = {"url": "urn:x", "valueString": "x"}
    for _ in range(300):
        node = {"url": "urn:x", "extension": [node]}
    return s.no() | {"extension": [node]}


def invalid(s: Scene) -> dict[str, Any]:
    return s.no() | {"status": "perhaps"}


def modified(s: Scene) -> dict[str, Any]:
    return s.no() | {"modifierExtension": [{"url": "urn:unknown", "valueBoolean": True}]}


@pytest.mark.parametrize("unread", [large, broken, deep, invalid, modified])
async def test_what_cannot_be_read_whole_closes_until_it_can(scene: Scene, unread: Any) -> None:
    s = scene
    assert await s.sees()
    s.hub.says("c", unread(s), 1)
    await s.round()
    assert not await s.sees(), "it may be a no"
    (kept,) = await s.kept()
    assert kept["status"] == "active" and kept["patient"]["reference"] == s.person
    (raised,) = await s.tasks()
    assert raised["focus"]["reference"] == f"Consent/{kept['id']}" and raised["status"] == "requested"
    (waiting,) = await gate.uncomputable(s.w.operator)
    assert waiting["patient"] == s.person
    link = await s.w.house.store.link_by_remote("surgery", "Consent/c")
    assert link is not None and str(link.ref) == f"Consent/{kept['id']}"
    if unread is not modified:  # that one is kept as it is
        assert "It may be a no" in raised["description"] and list(await s.items()) == ["surgery Consent/c"]
        assert (link.version, link.base_sent, link.base_received) == (0, None, None), "nothing was agreed on"
    s.partner.heard.clear()
    await s.round()
    assert len(await s.kept()) == len(await s.tasks()) == 1 and (await s.kept())[0]["meta"]["versionId"] == "1", "met again it is the same"
    s.hub.says("c", s.no(), 2)
    await s.round()
    (now,) = await s.kept()
    assert now["id"] == kept["id"] and now["provision"] == s.no()["provision"], "what can be read takes its place, whole"
    assert await s.sees() and not await s.items() and [t["status"] for t in await s.tasks()] == ["completed"]
    link = await s.w.house.store.link_by_remote("surgery", "Consent/c")
    assert link is not None and link.version == 2 and link.base_received == link.base_sent is not None


async def test_a_no_that_becomes_unreadable_closes_more_and_a_yes_in_its_place_ends_it(scene: Scene) -> None:
    s = scene
    s.hub.says("c", s.no(), 1)
    await s.round()
    assert await s.sees() and (await s.kept())[0]["provision"] == s.no()["provision"]
    s.hub.says("c", large(s), 2)
    await s.round()
    assert not await s.sees() and len(await s.kept()) == 1
    s.hub.says("c", consent(s.there, permit(s.w.refs["charity"])), 3)
    await s.round()
    assert await s.sees() and not await s.sees("link"), "a yes there opens nothing, and no no is left of it"
    assert (await s.kept())[0]["status"] == "inactive" and [t["status"] for t in await s.tasks()] == ["completed"]
    (item,) = (await s.items()).values()
    assert item["kind"] == "business-rule" and "closes" not in item, "the yes waits"


async def test_a_yes_of_somebody_else_under_its_id_ends_no_no(scene: Scene) -> None:
    """Of a stranger, and of somebody whom that partner and we share."""
    s = scene
    other, _ = await begun(s.w, "gp")
    await task(s.w, other)
    s.hub.says("c", s.no("surgery"), 1)
    await s.round()
    (shared,) = [name.removeprefix("Patient/") for name in s.hub.held if name.startswith("Patient/") and name != f"Patient/{s.there}"]
    assert not await s.sees("surgery")
    for n, whose in enumerate(("somebody-else", shared), 2):
        s.hub.says("c", consent(whose, permit(s.w.refs["charity"])), n)
        await s.round()
        assert not await s.sees("surgery") and [k["status"] for k in await s.kept()] == ["active"]
        assert [i["kind"] for i in (await s.items()).values()] == ["business-rule"]
    s.hub.says("c", consent(s.there, permit(s.w.refs["charity"])), 4)
    await s.round()
    assert [k["status"] for k in await s.kept()] == ["inactive"], "a yes of the same person ends it"


async def test_a_person_is_the_same_by_the_name_that_they_had_before_their_copy_was_taken_back(scene: Scene) -> None:
    s = scene
    s.hub.says("c", s.no("surgery"), 1)
    await s.round()
    await s.round()
    assert not await s.sees() and f"Patient/{s.there}" not in s.hub.held, "nothing of hers is to be there"
    s.hub.says("c", s.no(), 2)
    await s.round()
    (now,) = [name for name in s.hub.held if name.startswith("Patient/")]
    assert now != f"Patient/{s.there}" and await s.sees(), "it went there again, under another id"
    s.hub.says("c", consent(s.there, permit(s.w.refs["charity"])), 3)
    await s.round()
    assert [k["status"] for k in await s.kept()] == ["inactive"], "their Consent is hers as it was"


async def test_a_name_that_somebody_else_has_there_by_now_ends_no_no(scene: Scene) -> None:
    s = scene
    s.hub.says("c", s.no("surgery"), 1)
    await s.round()
    s.hub.says("c", s.no(), 2)
    await s.round()
    s.hub.held[f"Patient/{s.there}"] = {"resourceType": "Patient", "id": s.there, "meta": {"versionId": "1"}, "name": [{"family": "Another"}]}
    s.hub.says("c", consent(s.there, permit(s.w.refs["charity"])), 3)
    await s.round()
    assert [k["status"] for k in await s.kept()] == ["active"] and await s.sees()


async def test_a_wider_no_takes_the_place_of_a_narrower_one(scene: Scene) -> None:
    s = scene
    s.hub.says("c", s.no(), 1)
    await s.round()
    s.hub.says("c", s.no("surgery"), 2)
    await s.round()
    assert not await s.sees() and not await s.items() and len(await s.kept()) == 1
    s.hub.says("c", s.no() | {"status": "inactive"}, 3)
    await s.round()
    assert await s.sees(), "they took it back themselves"


async def test_what_is_deleted_there_stays_closed_until_a_person_decides(scene: Scene) -> None:
    s = scene
    s.hub.says("c", invalid(s), 1)
    await s.round()
    s.hub.says("c", None, 2)
    link = await s.w.house.store.link_by_remote("surgery", "Consent/c")
    assert link is not None
    assert (await looked_at(s.w.house, s.partner, link)).conflicts == 1
    link = await s.w.house.store.link_by_remote("surgery", "Consent/c")
    assert link is not None and link.gone and not await s.items()
    assert not await s.sees(), "that it is gone there is not a yes"
    (kept,) = await s.kept()
    await gate.end_foreign(s.w.operator, kept["id"], evidence="Asked the surgery: it was a test")
    assert await s.sees()


async def test_what_the_person_says_here_goes_before_it(scene: Scene) -> None:
    s = scene
    s.hub.says("c", broken(s), 1)
    await s.round()
    (kept,) = await s.kept()
    mine = grant({"reference": s.w.refs["charity"]}, s.person, type="deny")
    body = {"resourceType": "Consent", "id": kept["id"], **mine}
    await gate.update(await s.w.me(s.person), Ref("Consent", kept["id"]), json.dumps(body).encode(), if_match=1)
    assert await s.sees(), "she said what is to be"
    s.hub.says("c", large(s), 2)
    await s.round()
    s.hub.says("c", s.no("surgery"), 3)
    await s.round()
    assert await s.sees() and len(await s.kept()) == 1, "over what she said here nothing goes"
    assert list(await s.items()) == ["surgery Consent/c"], "and theirs waits for somebody to look"


async def test_what_an_operator_has_ended_closes_again_only_when_it_says_something_else(scene: Scene) -> None:
    s = scene
    s.hub.says("c", large(s), 1)
    await s.round()
    (kept,) = await s.kept()
    await gate.end_foreign(s.w.operator, kept["id"], evidence="Asked the surgery: no no is in it")
    s.partner.heard.clear()
    await s.round()
    assert await s.sees()
    s.hub.says("c", large(s) | {"dateTime": "2026-11-01"}, 2)
    await s.round()
    assert not await s.sees() and len(await s.kept()) == 1


async def test_it_closes_nobody_elses_record_and_nothing_that_is_not_in_force(scene: Scene) -> None:
    s = scene
    other, _ = await begun(s.w, "gp")
    await task(s.w, other)
    whose = large(s) | {"patient": {"reference": other}}  # by our own id, and not shared
    s.w.house.remotes = ()  # nothing goes there
    s.hub.says("other", whose, 1)
    s.hub.says("nobody", large(s) | {"patient": {"reference": "Patient/none"}}, 1)
    s.hub.says("ended", large(s) | {"status": "inactive"}, 1)
    s.hub.says("yes", consent(s.there, permit(s.w.refs["charity"])) | {"policy": large(s)["policy"]}, 1)
    await s.round()
    assert await s.sees() and (await shown(s.w, "gp", other, "Goal"))[0]
    assert not await s.kept() and len(await s.items()) == 4


async def test_what_has_no_name_closes_once_however_often_it_comes(scene: Scene) -> None:
    s = scene
    for n in range(1, 4):
        s.hub.says(f"no id at all {n}", s.no() | {"dateTime": f"2026-11-0{n}"}, n)
        await s.round()
    assert not await s.sees() and len(await s.items()) == 3
    (kept,) = await s.kept()
    assert len(await s.tasks()) == 1
    await gate.end_foreign(s.w.operator, kept["id"], evidence="Asked the surgery: a fault of their server")
    s.partner.heard.clear()
    await s.round()
    assert await s.sees(), "they were looked at"


async def test_it_closes_in_the_one_commit_that_puts_it_aside(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    s, store = scene, scene.w.house.store
    commits: list[tuple[Op, ...]] = []
    commit = store.commit

    async def dies(*ops: Op) -> None:
        commits.append(ops)
        if any(isinstance(op, Keep) and op.kind == QUARANTINE for op in ops) and len(commits) < 9:
            raise MemoryError
        await commit(*ops)

    s.hub.says("c", broken(s), 1)
    with monkeypatch.context() as m:
        m.setattr(store, "commit", dies)
        with pytest.raises(MemoryError):
            await s.round()
    assert await s.sees() and not await s.items() and not await s.kept() and not await s.tasks(), "all of it, or nothing"
    (together,) = [c for c in commits if any(isinstance(op, Keep) and op.kind == QUARANTINE for op in c)]
    assert {op.ref.type for op in together if isinstance(op, Put)} == {"Consent", "Task"} and any(isinstance(op, Linked) for op in together)
    await s.round()
    assert not await s.sees() and len(await s.items()) == 1


async def test_an_operator_may_correct_it_by_hand(scene: Scene) -> None:
    s = scene
    s.hub.says("c", invalid(s), 1)
    await s.round()
    (kept,) = await s.kept()
    put_right = s.no() | {"id": kept["id"], "patient": {"reference": s.person}}
    await replay(s.w.house, s.partner, s.w.operator, "Consent/c", put_right)
    assert await s.sees() and not await s.items()
    assert (await s.kept())[0]["provision"] == s.no()["provision"]
