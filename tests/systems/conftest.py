"""Each test here is a story of a real programme: through HTTP, files, pages or the command line, with consent on."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from ..conftest import gateway
from .counted import County, counted
from .town import Programme, Town

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All of this folder is a `story`: `make test-all` has a part of its own for it."""
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.story)


@pytest.fixture(scope="session")
def town(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    """One gateway for all stories of a process: none sees another's people."""
    folder = tmp_path_factory.mktemp("town")
    with gateway(folder, GATEWAY_URGENT_CARE="S4703", GATEWAY_READ_ONLY="S3802=Task of social-care") as g:
        yield Town(g, folder).open()


@pytest.fixture(scope="module")
def programme(town: Town, request: pytest.FixtureRequest) -> Programme:
    """This story's own corner of the town, called by its number."""
    found = re.match(r"test_(\d\d)_", request.path.name)
    assert found, "a story's file begins with test_NN_"
    return Programme(town, f"s{found[1]}")


@pytest.fixture(scope="session")
def county(tmp_path_factory: pytest.TempPathFactory) -> Iterator[County]:
    """One gateway for the stories of counting, whose people are counted by all of them."""
    with counted(tmp_path_factory.mktemp("county")) as c:
        yield c
