"""The privacy officer's work over either store: a copy of a record, its disposal, the seal."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from fhir_gateway import gate, safekeeping, wiring
from fhir_gateway.definitions import profiles_dir
from fhir_gateway.domain.retention import read
from fhir_gateway.gate import retaining
from fhir_gateway.settings import Refused, Settings

from .making import ANN, BOB, goal, note

SCHEDULE = read((profiles_dir() / "retention.json").read_bytes())


@pytest.mark.parametrize("engine", ["sqlite", "mongo"])
async def test_a_record_is_copied_disposed_of_and_sealed(engine: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    settings = Settings(data=tmp_path / "data", store=request.getfixturevalue("database") if engine == "mongo" else "")
    dead = json.dumps({"resourceType": "Patient", "id": "ann", "birthDate": "1930-01-01", "deceasedDateTime": "2010"}).encode()
    async with wiring.wired(settings) as w:
        operator = wiring.operator(w)
        await w.store.commit(
            replace(goal("ann", type="Patient"), body=dead, view=dead), goal("bob", patient=BOB, type="Patient"), goal("g"), goal("c", type="Consent"),
            goal("both", patients=(BOB, ANN)), goal("left", patients=("Patient/gone", ANN)), note("n1"),
        )  # fmt: skip
        held = [(h.file, h.name) async for h in gate.whole_record(operator, "ann", "olive")]
        for name in ("Goal/g", "Goal/both", "Goal/left", "Patient/ann", "Consent/c"):
            assert (f"record/{name.split('/')[0]}.ndjson", name) in held
        assert not [name for _, name in held if "bob" in name]
        (due,) = [d async for d in retaining.due(operator, SCHEDULE)]
        said = await retaining.dispose(operator, due, "olive")
        assert said["resources"] == {"Consent": 1, "Goal": 2, "Patient": 1} and said["sharedAndKept"] == 1
        assert await w.store.scrub() is (engine == "sqlite")
        assert not any(b"1930" in (e.ops or b"") for e in w.store.journal.entries())  # type: ignore[attr-defined]
    await safekeeping.seal(settings)
    with pytest.raises(Refused, match="sealed"):
        async with wiring.wired(settings):
            pass
    assert await safekeeping.replay(settings, [], lambda *_: None) == 0
    async with wiring.wired(settings):
        pass
    if engine == "mongo":
        with pytest.raises(Refused, match="mongodump"):
            await safekeeping.backup(settings, tmp_path / "x.zip", lambda n: None)
