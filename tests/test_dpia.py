"""What the data protection impact assessment relies on is there."""

from __future__ import annotations

import re

import pytest

from .conftest import ROOT


@pytest.mark.parametrize("page", ["dpia", "backup", "retention", "subject-access"])
def test_every_test_and_page_that_it_names_exists(page: str) -> None:
    text = (ROOT / f"docs/{page}.md").read_text()
    named = re.findall(r"`(tests/[\w/.]+)`", text)
    linked = re.findall(r"\]\(([\w./-]+\.md)\)", text)
    assert named
    assert not [n for n in named if not (ROOT / n).exists()] and not [n for n in linked if not (ROOT / "docs" / n).exists()]
