"""What the fuzzers found stays mended, and their harnesses run: on every example, on what was found, and on a few thousand changes."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ..conftest import times
from .harnesses import HARNESSES
from .mutating import mutated

FOUND = Path(__file__).parent / "found"
quick = settings(max_examples=40, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
thorough = settings(max_examples=times(2_000), deadline=None, suppress_health_check=list(HealthCheck))


def changes(name: str) -> st.SearchStrategy[bytes]:
    """Examples changed a little, and anything at all."""
    beginnings = st.sampled_from(list(HARNESSES[name].seeds()))
    return st.builds(mutated, beginnings, st.integers(0, 2**48)) | st.builds(mutated, st.builds(mutated, beginnings, st.integers()), st.integers()) | st.binary()


@pytest.mark.parametrize("name", HARNESSES)
def test_what_was_found_is_mended(name: str) -> None:
    for data in (*HARNESSES[name].seeds(), *(p.read_bytes() for p in sorted((FOUND / name).glob("*")))):
        HARNESSES[name].run(data)


def test_nothing_was_found_by_a_harness_that_is_no_more() -> None:
    assert {p.name for p in FOUND.iterdir()} <= HARNESSES.keys()


@pytest.mark.parametrize("name", HARNESSES)
def test_a_few_changes_break_no_parser(name: str) -> None:
    @quick
    @given(changes(name))
    def run(data: bytes) -> None:
        HARNESSES[name].run(data)

    run()


@pytest.mark.slow
@pytest.mark.parametrize("name", HARNESSES)
def test_thousands_of_changes_break_no_parser(name: str) -> None:
    @thorough
    @given(changes(name))
    def run(data: bytes) -> None:
        HARNESSES[name].run(data)

    run()
