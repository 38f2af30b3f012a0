"""Each test here is a story of a real programme: through HTTP, files, pages or the command line, with consent on."""

from __future__ import annotations

from pathlib import Path

import pytest

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All of this folder is a `story`: `make test-all` has a part of its own for it."""
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.story)
