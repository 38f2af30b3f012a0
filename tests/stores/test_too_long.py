"""A question that would hold everybody up is given up, in words that help, and the store goes on answering."""

from __future__ import annotations

import pytest

from fhir_gateway.domain.search import Query, parse
from fhir_gateway.domain.types import Always, Ref
from fhir_gateway.gate.committing import unanswered
from fhir_gateway.store import mongo, sqlite
from fhir_gateway.store.base import Store, TooLong

from .making import MORNING, at, goal
from .searches import R4


@pytest.mark.parametrize("engine", ["sqlite", "mongo"])
async def test_a_search_ends_at_its_limit(engine: str, request: pytest.FixtureRequest) -> None:
    store: Store
    if engine == "sqlite":
        store = await sqlite.open(request.getfixturevalue("tmp_path") / "store.sqlite", clock=lambda: MORNING, search_seconds=0)
    else:
        store = await mongo.open(request.getfixturevalue("database"), clock=lambda: MORNING, search_seconds=0.000001)
    try:
        await store.commit(*(goal(f"g{i}", when=1) for i in range(5_000 if engine == "sqlite" else 5)))
        query: Query = parse("Goal", [("_lastUpdated", f"gt{at(0):%Y-%m-%d}")], R4)
        with pytest.raises(TooLong) as told:
            await store.search(query, Always(), filtered=Always(), count=50, total=True)
        problem = unanswered(told.value)
        assert problem.status == 503 and "Ask for less" in problem.text and problem.headers["Retry-After"]
        assert await store.get(Ref("Goal", "g1")) is not None, "what is no search goes on"
    finally:
        await store.close()
