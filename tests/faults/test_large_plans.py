"""A crisis plan that its narrative would make too large goes, and is read, without it (domain.said_again)."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from fhir_gateway import gate
from fhir_gateway.domain import strict
from fhir_gateway.domain.limits import Limits
from fhir_gateway.domain.mapping.names import EXTENSIONS

from .rig import rigged
from .scripted import Habits

WORDS = 20_000


async def test_a_crisis_plan_is_no_larger_with_its_narrative_than_may_be_written_down_or_taken_back(tmp_path: Path) -> None:
    async with rigged(tmp_path, Habits(feed="search")) as rig:

        async def crisis(title: str) -> str:
            step = {"url": f"{EXTENSIONS}contingency-step", "valueString": "a" * WORDS}
            body = {"resourceType": "CarePlan", "status": "active", "intent": "plan", "title": title, "subject": {"reference": rig.names["amina"]}}
            written = await gate.create(rig.me, "CarePlan", strict.dump({**body, "extension": [step]}))
            for most, said in ((WORDS * 3, True), (WORDS + 1_500, False)):
                answer = await gate.read(replace(rig.me, limits=Limits(body=most)), written.ref)
                assert (b'"text"' in answer.body) is said and b"contingency-step" in answer.body
            await rig.round()
            (there,) = [p for p in rig.there.named("CarePlan") if p["title"] == title]
            assert there["extension"][0]["valueString"] == "a" * WORDS
            return str(there.get("text"))

        assert "What should happen" in await crisis("first")
        rig.partner.limits = Limits(body=WORDS + 1_500)
        assert await crisis("second") == "None", "larger than a gateway takes"
        rig.partner.limits = Limits()
        rig.house.store.largest_link = 2 * WORDS + 3_000  # type: ignore[misc]
        assert await crisis("third") == "None", "larger than is written down of both states"
        assert (await rig.status())["parked"] == 0
