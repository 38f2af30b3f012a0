"""`docs/systems.md` and `tests/systems/` agree: every programme has its row, every test its programme."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ROW = re.compile(r"^\| (\d+) \| ([^|]+) \| ([^|]+) \| (told|not yet) \| ([^|]+) \|$", re.M)
LINK = re.compile(r"\[(test_\d\d_\w+\.py)\]\(\.\./tests/systems/\1\)")


def rows() -> dict[int, tuple[str, str]]:
    """Number -> (state, last column)."""
    found = ROW.findall((ROOT / "docs" / "systems.md").read_text())
    assert [int(number) for number, *_ in found] == list(range(1, 51)), "one row for each of the fifty, in order"
    return {int(number): (state, last.strip()) for number, _, _, state, last in found}


def test_what_is_told_names_its_test_and_what_is_not_says_why() -> None:
    for number, (state, last) in rows().items():
        link = LINK.fullmatch(last)
        assert (link is not None) is (state == "told"), f"row {number}: {last}"
        if link is None:
            assert len(last) > 10 and ".py" not in last, f"row {number} says why not"
        else:
            assert link[1].startswith(f"test_{number:02}_"), f"row {number}: {last}"


def test_every_story_has_its_row_and_every_row_its_story() -> None:
    there = {p.name for p in (ROOT / "tests" / "systems").glob("test_*.py")}
    named = {found[1] for _, last in rows().values() if (found := LINK.fullmatch(last))}
    assert named == there
    numbers = [name[5:7] for name in there]
    assert len(set(numbers)) == len(numbers), "one story a row"


def test_no_story_reaches_inside() -> None:
    """Neither a story nor any helper that it imports takes our code or opens the store: what they do, anybody outside can do."""
    reached = outside(sorted((ROOT / "tests" / "systems").glob("*.py"))) - {ROOT / "tests" / "nursery.py"}  # it begins the commands, and has the program in memory for them
    assert len(reached) > 55, "the stories and what they share"
    assert {f"{file.relative_to(ROOT)}: {name}" for file, name in taken(reached) if name.split(".")[0] in ("fhir_gateway", "sqlite3", "aiosqlite", "pymongo", "importlib")} == set()
    for file in (ROOT / "tests" / "systems").glob("*.py"):
        assert not re.search(r"\.data\b(?!\.parent)|gateway\.sqlite", file.read_text()), f"{file.name} looks into the data folder"


def taken(files: Iterable[Path]) -> Iterator[tuple[Path, str]]:
    """What they import that is not of the tests."""
    for file in files:
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                yield from ((file, name.name) for name in node.names)
            elif isinstance(node, ast.ImportFrom) and not node.level:
                yield file, node.module or ""


def outside(files: list[Path]) -> set[Path]:
    """These files, and what they import of the tests, and so on."""
    found: set[Path] = set()
    while files:
        if (file := files.pop()) in found:
            continue
        found.add(file)
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.ImportFrom) and node.level:
                folder = file.parents[node.level - 1].joinpath(*(node.module or "").split("."))
                files += [f for f in (folder.with_suffix(".py"), *(folder / f"{n.name}.py" for n in node.names)) if f.is_file()]
    return found
