"""A gateway knows its own copies from another's: rings of gateways come to rest, and nobody takes another's records for theirs."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest_asyncio

from fhir_gateway.domain import strict
from fhir_gateway.domain.capability import GATEWAY
from fhir_gateway.domain.copies import SYSTEM, codes
from fhir_gateway.domain.types import Linked, Op, Ref
from fhir_gateway.gate import accept, create, search, update
from fhir_gateway.store import sqlite
from fhir_gateway.sync.partner import as_owner
from fhir_gateway.sync.pull import pull

from .stores.test_attempts import Here, Hub
from .telling.servers import mail_server

THEM, OTHER = "b" * 16, "c" * 16  # what that gateway calls itself, and a third


class Theirs(Hub):
    """A server that is a gateway, too."""

    def read(self, path: str, type: str) -> tuple[int, dict[str, Any]]:
        status, body = super().read(path, type)
        if path == "metadata":
            body["implementation"] = {"description": "a gateway", "extension": [{"url": GATEWAY, "valueString": THEM}]}
        return status, body

    def write(self, name: str, **more: Any) -> str:
        """A goal that somebody else wrote there about Amina."""
        amina = next(n for n in self.held if n.startswith("Patient/"))
        tagged = [{"system": SYSTEM, "code": c} for c in more.pop("codes", ())]
        body = {"resourceType": "Goal", "lifecycleStatus": "active", "description": {"text": name}, "subject": {"reference": amina}, **more}
        self.keep(f"Goal/{name}", {**body, **({"meta": {"tag": tagged}} if tagged else {})}, 1)
        return f"Goal/{name}"


@pytest_asyncio.fixture
async def here(tmp_path: Path) -> AsyncIterator[Here]:
    there = Theirs()
    threading.Thread(target=there.server.serve_forever, args=(0.05,), daemon=True).start()
    with mail_server() as post:
        place = Here(post)
        store = await sqlite.open(tmp_path / "store.sqlite", clock=lambda: place.now)
        await place.begin(store, there)
        team = {"resourceType": "CareTeam", "status": "active", "subject": {"reference": place.names["amina"]}}
        await create(place.me, "CareTeam", strict.dump({**team, "participant": [{"member": {"reference": place.names["surgery"]}}]}))
        gp = await place.gp()
        for entry in (await search(gp, "Task", [("patient", place.names["amina"].removeprefix("Patient/"))])).entries:
            await accept(gp, entry.ref)  # from now on they may write, too
        await place.goal("the first")
        await place.push()
        await pull(place.house, place.partner)
        yield place
        await place.partner.server.close()
        await store.close()
    there.server.shutdown()
    there.server.server_close()


async def texts(here: Here) -> list[str]:
    """The goals that are here, by their words."""
    every = await here.house.store.patient_record(here.names["amina"], ["Goal"])
    return sorted(strict.decode(s.body or b"")["description"]["text"] for s in every)


async def brought(here: Here, text: str, **more: Any) -> Ref:
    """A goal of hers that another gateway has sent here."""
    body = {"resourceType": "Goal", "lifecycleStatus": "active", "description": {"text": text}, "subject": {"reference": here.names["amina"]}, **more}
    ref = (await create(await as_owner(here.house, here.partner, "access"), "Goal", strict.dump(body))).ref
    here.names["goal"] = str(ref)
    return ref


async def rest(here: Here) -> None:
    for _ in range(4):
        await pull(here.house, here.partner)
        await here.push(3)


def ours(here: Here, ref: Ref) -> str:
    return f"{here.house.name}.{ref.id}"


async def test_a_copy_bears_the_name_of_its_gateway_and_keeps_those_it_came_with(here: Here) -> None:
    there = here.there
    passed_on = await brought(here, "passed on", meta={"tag": [{"system": SYSTEM, "code": f"{OTHER}.7"}, {"system": "urn:x", "code": "y"}]})
    await rest(here)
    [copy] = there.tagged("Goal", f"{OTHER}.7")
    assert codes(copy) == [f"{OTHER}.7", ours(here, passed_on)]
    assert {"system": "urn:x", "code": "y"} in copy["meta"]["tag"] and len(there.goals()) == 2


async def test_what_came_from_a_gateway_by_another_way_is_not_made_there_again(here: Here) -> None:
    """A -> B -> C -> A, at C: the record there and the copy here are one, and edits on either side reach the other."""
    there = here.there
    name = there.write("home")
    copy = await brought(here, "home", meta={"tag": [{"system": SYSTEM, "code": f"{THEM}.home"}, {"system": SYSTEM, "code": f"{OTHER}.9"}]})
    await rest(here)
    assert len(there.goals()) == 2 and await texts(here) == ["home", "the first"], "one there, one here"
    assert "tag" not in there.held[name]["meta"] or not codes(there.held[name]), "and theirs is not marked"
    await here.change(here.me, "goal", note=[{"text": "from here"}])
    await rest(here)
    assert there.held[name]["note"] == [{"text": "from here"}] and len(there.goals()) == 2
    there.edit(name, description={"text": "home, and away"})
    await rest(here)
    assert (await here.body(copy))["description"]["text"] == "home, and away"
    versions = {n: r["meta"]["versionId"] for n, r in there.held.items()}
    await rest(here)
    assert versions == {n: r["meta"]["versionId"] for n, r in there.held.items()}, "it rests"


async def test_edits_made_on_both_sides_before_they_met_are_both_kept(here: Here) -> None:
    name = here.there.write("home", note=[{"text": "theirs"}])
    copy = await brought(here, "home", meta={"tag": [{"system": SYSTEM, "code": f"{THEM}.home"}]})
    await here.change(here.me, "goal", startDate="2026-11-01")
    await rest(here)
    for one in (here.there.held[name], await here.body(copy)):
        assert one["note"] == [{"text": "theirs"}] and one["startDate"] == "2026-11-01"


async def test_what_began_there_and_is_gone_or_hidden_there_does_not_come_back(here: Here) -> None:
    await brought(here, "gone", meta={"tag": [{"system": SYSTEM, "code": f"{THEM}.gone"}]})
    await rest(here)
    assert len(here.there.goals()) == 1 and not await here.attempts()


async def test_their_records_are_taken_in_once_and_carry_where_they_began(here: Here) -> None:
    here.there.write("own")
    here.there.write("a-third", codes=[f"{OTHER}.3"])
    await rest(here)
    assert await texts(here) == ["a-third", "own", "the first"], "a copy of another gateway's is not one of ours"
    every = [strict.decode(s.body or b"") for s in await here.house.store.patient_record(here.names["amina"], ["Goal"])]
    assert {b["description"]["text"]: codes(b) for b in every} == {
        "the first": [], "own": [f"{THEM}.own"], "a-third": [f"{OTHER}.3", f"{THEM}.a-third"],
    }  # fmt: skip
    assert len(here.there.goals()) == 3, "and nothing of theirs is sent back"


async def test_what_is_here_already_by_another_way_is_not_taken_in_twice(here: Here) -> None:
    await brought(here, "passed-round", meta={"tag": [{"system": SYSTEM, "code": f"{OTHER}.5"}]})
    here.partner.terms = type(here.partner.terms)("hub", here.names["surgery"], direction="in")
    here.there.write("passed-round", codes=[f"{OTHER}.5"])
    await rest(here)
    assert await texts(here) == ["passed-round", "the first"]


async def test_a_copy_of_ours_is_not_taken_in_however_it_comes_back(here: Here) -> None:
    """By our name; or, as copies were marked once, by an id that we have. Another gateway's old copy is not ours."""
    first = Ref(*here.names["goal"].split("/"))
    here.there.write("round", codes=[ours(here, first), f"{OTHER}.8"])
    here.there.write("old", codes=[first.id])
    here.there.write("others", codes=["0193-of-nobody-here"])
    await rest(here)
    assert await texts(here) == ["others", "the first"]


async def test_a_copy_with_an_old_tag_is_found_again_when_its_link_is_lost(here: Here) -> None:
    there, ref = here.there, await here.goal("long ago")
    here.there.write("long-ago", codes=[ref.id])
    await rest(here)
    assert len(there.goals()) == 2 and there.held["Goal/long-ago"]["description"]["text"] in ("long ago", "long-ago")


async def test_a_client_that_leaves_tags_out_does_not_make_a_copy_an_original(here: Here) -> None:
    """R4 leaves it to the server whether tags outlive an update without them."""
    here.there.write("home")
    await rest(here)
    [ref] = [s.ref for s in await here.house.store.patient_record(here.names["amina"], ["Goal"]) if b'"home"' in (s.body or b"")]
    stored = await here.house.store.get(ref)
    assert stored is not None
    body = {k: v for k, v in strict.decode(stored.body or b"").items() if k != "meta"}
    await update(here.me, ref, strict.dump({**body, "note": [{"text": "more"}]}), if_match=stored.version)
    assert codes(await here.body(ref)) == [f"{THEM}.home"]


async def test_what_a_gateway_sends_while_it_is_pulled_from_it_is_here_once(here: Here) -> None:
    """Its create, on condition of its own tag, and our pull of the same record look at the same moment, and neither finds it."""
    name = here.there.write("both ways")
    code = f"{THEM}.both ways".replace(" ", "-")
    here.there.held["Goal/both-ways"] = {**here.there.held.pop(name), "id": "both-ways"}
    store, sent = here.house.store, []

    class Meanwhile:
        def __getattr__(self, name: str) -> Any:
            return getattr(store, name)

        async def commit(self, *ops: Op) -> None:
            if not sent and any(isinstance(op, Linked) and op.remote_id == "Goal/both-ways" for op in ops):
                sent.append(code)
                body = {"resourceType": "Goal", "lifecycleStatus": "active", "description": {"text": "both ways"}, "subject": {"reference": here.names["amina"]}}
                tagged = strict.dump({**body, "meta": {"tag": [{"system": SYSTEM, "code": code}]}})
                as_they = await as_owner(here.house, here.partner, "access")
                await create(as_they, "Goal", tagged, if_none_exist=f"_tag={SYSTEM}|{code},{SYSTEM}|both-ways")
            await store.commit(*ops)

    here.house.store = Meanwhile()  # type: ignore[assignment]
    await pull(here.house, here.partner)
    here.house.store = store
    assert sent and await texts(here) == ["both ways", "the first"]
    await rest(here)
    assert await texts(here) == ["both ways", "the first"] and len(here.there.goals()) == 2
