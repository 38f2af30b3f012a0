"""Every case of the suites passes: our own from this repository alone, the outside ones where they are here.

Quick: our own, and of the outside ones those that only read and so share one server. All of them in the slow part.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from .running import Case, Runner, read, writes

OWN = Path(__file__).parent / "own.jsonl"


@pytest.fixture(scope="module")
def runner(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runner]:
    made = Runner(tmp_path_factory.mktemp("stand"))
    yield made
    made.close()


def failures(runner: Runner, cases: list[Case]) -> list[str]:
    """What fails, a line each; `same_as` may name any case of the file."""
    return [f"{r.id}: {'; '.join(r.wrong)}" for r in runner.run(cases) if not r.passed]


@pytest.mark.slow
def test_our_own_cases_pass(runner: Runner) -> None:
    assert failures(runner, read(OWN)) == []


def test_what_only_reads_passes(runner: Runner, shared: Path) -> None:
    cases = [c for c in read(shared / "suites" / "attacks.jsonl") if not writes(c)]
    assert len(cases) > 150
    assert failures(runner, cases) == []


@pytest.mark.slow
def test_every_case_passes(runner: Runner, shared: Path) -> None:
    assert failures(runner, read(shared / "suites" / "attacks.jsonl")) == []
