"""An address of a record (`Attachment.url`, say) is translated as a reference to it is, both ways, and no id of ours leaves in one. docs/sync.md"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fhir_gateway import gate
from fhir_gateway.domain import strict
from fhir_gateway.domain.types import Ref
from fhir_gateway.domain.view import MASKED

from .rig import Rig, rigged
from .scripted import Body, Habits

HABITS = Habits(types=("Patient", "Organization", "Practitioner", "Goal", "CarePlan", "DocumentReference", "Binary", "Consent"))


async def binary(rig: Rig, about: str = "") -> Ref:
    body = {"resourceType": "Binary", "contentType": "text/plain", "data": "aGVsbG8=", "securityContext": {"reference": about or rig.names["amina"]}}
    return (await gate.create(rig.me, "Binary", strict.dump(body))).ref


def letter(whose: str, *urls: str, **more: Any) -> Body:
    content = [{"attachment": {"contentType": "text/plain", "url": url}} for url in urls]
    return {"resourceType": "DocumentReference", "status": "current", "subject": {"reference": whose}, "content": content, **more}


async def written(rig: Rig, *urls: str) -> Ref:
    ref = (await gate.create(rig.me, "DocumentReference", strict.dump(letter(rig.names["amina"], *urls)))).ref
    rig.names["letter"] = str(ref)
    return ref


def attached(body: Body) -> list[Any]:
    return [c["attachment"].get("url") or c["attachment"]["_url"] for c in body["content"]]


async def here(rig: Rig) -> list[Body]:
    return [strict.decode(s.body or b"{}") for s in await rig.house.store.patient_record(rig.names["amina"], ["DocumentReference"])]


async def test_what_is_attached_goes_first_and_is_called_as_it_is_there(tmp_path: Path) -> None:
    async with rigged(tmp_path, HABITS) as rig:
        first, second = await binary(rig), await binary(rig)
        ref = await written(rig, str(first), f"{rig.house.base_url}/{second}", f"{first}/_history/1")
        await rig.settled()
        (there,) = rig.there.named("DocumentReference")
        names = [link.remote_id for b in (first, second, first) if (link := await rig.link(b)) is not None]
        assert attached(there) == names and {n.split("/")[1] for n in names} == {b["id"] for b in rig.there.named("Binary")}
        rig.there.write({**there, "description": "by them"})
        await rig.settled()
        (ours,) = await here(rig)
        assert ours["description"] == "by them" and attached(ours) == [str(first), f"{rig.house.base_url}/{second}", f"{first}/_history/1"], "here it is as it was written"
        asked = len(rig.there.asked)
        await rig.round(3)
        assert not [a for a in rig.there.asked[asked:] if a.method != "GET"] and ref in [Ref("DocumentReference", ours["id"])]


async def test_what_may_not_be_there_is_masked_there_and_nothing_here_is_lost_by_it(tmp_path: Path) -> None:
    async with rigged(tmp_path, HABITS) as rig:
        goal = await rig.goal("walk")
        hidden = await binary(rig, str(goal))  # it goes by another record, so it goes to no partner
        ours = (str(hidden), "Binary/nobodys", f"{rig.house.base_url}/DocumentReference?patient=7", "https://leaflets.example/Binary/1")
        await written(rig, *ours)
        plan = {"resourceType": "CarePlan", "status": "active", "intent": "plan", "subject": {"reference": rig.names["amina"]}, "instantiatesUri": [str(hidden), "http://x.example/plan"]}
        await gate.create(rig.me, "CarePlan", strict.dump(plan))
        await rig.settled()
        (there,) = rig.there.named("DocumentReference")
        assert attached(there) == [*[{"extension": [MASKED]}] * 3, ours[3]] and not rig.there.named("Binary")
        assert rig.there.named("CarePlan")[0]["instantiatesUri"] == ["http://x.example/plan"]
        said = strict.dump([b for type in ("DocumentReference", "CarePlan") for b in rig.there.named(type)])
        assert hidden.id.encode() not in said and rig.house.base_url.encode() not in said
        for body in (there, rig.there.named("CarePlan")[0]):
            rig.there.write({**body, "description": "by them"})
        await rig.settled()
        (now,) = await here(rig)
        (planned,) = await rig.house.store.patient_record(rig.names["amina"], ["CarePlan"])
        assert attached(now) == [*ours] and now["description"] == "by them"
        assert strict.decode(planned.body or b"{}")["instantiatesUri"] == plan["instantiatesUri"] and not await rig.waiting()


async def test_what_they_attach_is_called_as_it_is_here_or_by_their_address_and_goes_back_as_they_wrote_it(tmp_path: Path) -> None:
    async with rigged(tmp_path, HABITS) as rig:
        await rig.settled()
        scan = rig.there.write({"resourceType": "Binary", "contentType": "text/plain", "data": "aGVsbG8=", "securityContext": {"reference": rig.her}})
        theirs = (f"Binary/{scan['id']}", f"{rig.there.url}/Binary/{scan['id']}", "Binary/t999", f"{rig.there.url}/Binary/t998", "https://leaflets.example/1")
        written = rig.there.write(letter(rig.her, *theirs))
        await rig.settled()
        (ours,) = await here(rig)
        (bytes,) = await rig.house.store.patient_record(rig.names["amina"], ["Binary"])
        assert attached(ours) == [str(bytes.ref), str(bytes.ref), f"{rig.there.url}/Binary/t999", f"{rig.there.url}/Binary/t998", "https://leaflets.example/1"]
        assert await gate.read(rig.me, bytes.ref), "which whoever may see it can follow"
        rig.names["letter"] = f"DocumentReference/{ours['id']}"
        await rig.change(rig.me, "letter", description="by us")
        await rig.settled()
        now = rig.there.held[f"DocumentReference/{written['id']}"]
        assert now["description"] == "by us" and attached(now) == [*theirs]


async def test_what_they_attach_by_our_own_address_and_we_do_not_share_waits(tmp_path: Path) -> None:
    async with rigged(tmp_path, HABITS) as rig:
        goal = await rig.goal("walk")
        hidden = await binary(rig, str(goal))
        await rig.settled()
        plain, ours = rig.there.write(letter(rig.her, str(hidden))), rig.there.write(letter(rig.her, f"{rig.house.base_url}/{hidden}"))
        await rig.settled()
        assert [attached(b) for b in await here(rig)] == [[f"{rig.there.url}/{hidden}"]], "an id of theirs, whatever it is"
        assert await rig.waiting() == {f"DocumentReference/{ours['id']}"} and plain["id"] != ours["id"]
        rig.there.write(letter("Patient/stranger", rig.her))
        await rig.settled()
        assert len(await here(rig)) == len(await rig.waiting()) == 1, "an address of hers makes nothing hers"


async def test_what_was_kept_before_as_they_wrote_it_goes_back_so_and_is_no_edit(tmp_path: Path) -> None:
    async with rigged(tmp_path, HABITS) as rig:
        await rig.settled()
        there = rig.there.write(letter(rig.her, "Binary/t999"))
        await rig.settled()
        (ours,) = await here(rig)
        rig.names["letter"] = f"DocumentReference/{ours['id']}"
        await rig.change(rig.me, "letter", content=there["content"])  # an earlier release kept it so
        await rig.settled()
        assert attached(rig.there.held[f"DocumentReference/{there['id']}"]) == ["Binary/t999"]
