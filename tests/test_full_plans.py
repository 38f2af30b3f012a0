"""Full plans, a hundred resources each, come in by the command under a bar and go out equal: 20 here, 1,000 in `make soak`. benchmarks/plans.md"""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from fhir_gateway import plans
from fhir_gateway.domain import mapping
from fhir_gateway.tables import load_tables

from .full_plans import WHOLE, full_plan, measured, numbers

SOAK = "SOAK" in os.environ
PLANS = int(os.environ.get("PLANS", 1_000 if SOAK else 20))
MOST_MEMORY = 400  # MiB of the command, however many plans there are
MOST_EACH = 10  # seconds a plan, in and out and once more: it is well under one where nobody else works


def test_a_full_plan_has_a_hundred_resources_and_no_two_people_share_any() -> None:
    whole = json.loads(WHOLE.read_bytes())["plan"]
    own = []
    for n, number in enumerate(numbers(3)):
        mapped = mapping.to_fhir(plans.read_plan(json.dumps(full_plan(whole, n, number)).encode()), load_tables(), dry=True)
        assert not [r for r in mapped.dry if "plan-unmapped" in r["to"]]
        assert 100 <= len(mapped.entries) <= 110
        own += [e.full_url for e in mapped.entries]
    assert len(set(own)) == len(own)


@pytest.mark.slow
@pytest.mark.timeout(PLANS * MOST_EACH + 300)
def test_full_plans_come_in_are_read_back_equal_and_come_in_again_as_nothing(tmp_path: Path) -> None:
    took = measured(tmp_path, PLANS)
    print(took)
    assert took.resources >= 100 * PLANS and took.other == () and took.again_written == 0
    assert f"{PLANS}/{PLANS}" in took.bar and "Bringing in" in took.bar
    assert 50 < took.import_peak < MOST_MEMORY and took.import_seconds + took.read_seconds + took.again_seconds < PLANS * MOST_EACH + 60
