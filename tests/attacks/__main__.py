"""`make attacks CASES=FILE [OUT=FILE]`: a line of JSON for each case, then pass and fail by area. Exit 1 on any fail, 2 when there is nothing to run."""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

from .running import Result, Runner, Unreadable, read


def main() -> int:
    asked = argparse.ArgumentParser(prog="make attacks", description=__doc__)
    asked.add_argument("cases", nargs="?", default="", help="JSON lines in the form of docs/attacks.md")
    asked.add_argument("--out", default="", help="where the results go; standard output by default")
    asked.add_argument("--folder", default="", help="where relative paths begin: the caller's folder")
    asked.add_argument("--only", default="", help="ids that begin with this, or an area")
    given = asked.parse_args()
    folder = Path(given.folder or os.getcwd())
    if not given.cases:
        print("attacks: say which file: make attacks CASES=FILE [OUT=FILE]", file=sys.stderr)
        return 2
    try:
        cases = read(found(given.cases, folder))
    except Unreadable as wrong:
        print(f"attacks: {wrong}", file=sys.stderr)
        return 2
    everything = cases
    if given.only:
        cases = [c for c in cases if c["id"].startswith(given.only) or c.get("area") == given.only]
    if not cases:
        print(f"attacks: {f'no case of {given.cases} has the area or the beginning `{given.only}`' if everything else f'there is no case in {given.cases}'}.", file=sys.stderr)
        return 2
    try:
        out: Any = open(folder / given.out, "w", encoding="utf-8") if given.out else sys.stdout  # noqa: SIM115
    except OSError as wrong:
        print(f"attacks: {folder / given.out} cannot be written: {wrong.strerror}.", file=sys.stderr)
        return 2
    results = []
    with tempfile.TemporaryDirectory(prefix="attacks-") as place:
        runner = Runner(Path(place))
        try:
            for result in runner.run(cases, everything):
                results.append(result)
                print(json.dumps(result.line(), ensure_ascii=False), file=out, flush=True)
        finally:
            runner.close()
    if out is not sys.stdout:
        out.close()
    print(table(results), file=sys.stdout if given.out else sys.stderr)
    return 0 if all(r.passed for r in results) else 1


def found(name: str, folder: Path) -> Path:
    """The file in the caller's folder, or else in this one: make may have been started by a program in a third."""
    here = folder / name
    return here if here.exists() or not Path(name).exists() else Path(name)


def table(results: list[Result]) -> str:
    """Pass and fail by area."""
    passed, failed = Counter(r.area for r in results if r.passed), Counter(r.area for r in results if not r.passed)
    lines = [f"{'area':<12}{'pass':>6}{'fail':>6}"]
    lines += [f"{area:<12}{passed[area]:>6}{failed[area]:>6}" for area in sorted({*passed, *failed})]
    return "\n".join([*lines, f"{'all':<12}{passed.total():>6}{failed.total():>6}"])


if __name__ == "__main__":
    sys.exit(main())
