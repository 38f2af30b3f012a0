"""The same scenario against each real peer: at the end both sides hold exactly what consent and the rules say.

With a second gateway of ours: test_scenario_gateways.py.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from .driving import PEERS, SETTINGS
from .scenario import MOST_SECONDS, told

pytestmark = pytest.mark.interop


@pytest.mark.timeout(MOST_SECONDS)
@pytest.mark.parametrize("name", [*(n for n in PEERS if n != "gateway"), *(SETTINGS if "SOAK" in os.environ else ())])
def test_both_sides_hold_what_consent_says(name: str, tmp_path: Path) -> None:
    told({**PEERS, **SETTINGS}[name](tmp_path), tmp_path)
