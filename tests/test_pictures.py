"""The pictures in the documents: each is there, is a small PNG, says in words what it shows, and is made by `scripts/pictures`."""

from __future__ import annotations

import re
import struct
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
IMAGE = re.compile(r"!\[([^\]]*)\]\(([^)\s]+)\)")
LARGEST, ALL, WIDEST = 80_000, 900_000, 810  # bytes of one and of all, pixels


def named() -> list[tuple[Path, str, Path]]:
    """(document, words, file) of every picture that a document names; those of the web are not ours."""
    return [
        (page, words, (page.parent / where).resolve())
        for page in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
        for words, where in IMAGE.findall(page.read_text()) if "://" not in where
    ]  # fmt: skip


def test_every_picture_is_a_small_png_with_words_for_who_cannot_see_it() -> None:
    found = named()
    assert len(found) >= 10
    for page, words, file in found:
        assert len(words) >= 40, f"{page.name}: {file.name} has no words"
        said = file.read_bytes()
        assert said.startswith(b"\x89PNG\r\n\x1a\n") and said[12:16] == b"IHDR" and said[-8:-4] == b"IEND", f"{file.name} is no PNG"
        assert len(said) <= LARGEST, f"{file.name} has {len(said)} bytes"
        wide, _high = struct.unpack(">II", said[16:24])
        assert 480 <= wide <= WIDEST, f"{file.name} is {wide} wide"
    assert sum(f.stat().st_size for f in {file for _, _, file in found}) <= ALL


def test_every_picture_is_shown_and_made() -> None:
    there = set((ROOT / "docs" / "pictures").iterdir())
    assert there == {file for _, _, file in named()}
    made = set(re.findall(r'demo\.(?:keep|save)\("([\w-]+)"', (ROOT / "scripts" / "pictures").read_text()))
    assert {file.stem for file in there} == made
