"""Every row of the leak list has a test named after it, and docs/leaks.md says which. `python -m tests.leaks.test_every_row` writes its table."""

from __future__ import annotations

import ast
import re
from pathlib import Path

HERE = Path(__file__).parent
PAGE = HERE.parents[1] / "docs" / "leaks.md"
NOT_BUILT = "test_surfaces_not_built.py"

ROWS = {
    "L01": "reading by id", "L02": "PUT to an id that is hidden", "L03": "`_id=`", "L04": "totals and counts", "L05": "page links", "L06": "short pages", "L07": "`_include`, `_revinclude`, `:iterate`", "L08": "chains",
    "L09": "`_has`", "L10": "searching by what the view takes out", "L11": "`_sort`", "L12": "text, filter and list searches, `:missing`", "L13": "labels", "L14": "`_elements`, `_summary`", "L15": "histories",
    "L16": "a version from before a label", "L17": "410 Gone", "L18": "ETag, conditional reads, caching headers", "L19": "conditional create", "L20": "conditional update, patch, delete", "L21": "a writer who may not read",
    "L22": "blind overwrite, patch `test`", "L23": "referential integrity", "L24": "duplicates", "L25": "diagnostics and `$validate`", "L26": "batch and transaction", "L27": "contained", "L28": "references",
    "L29": "narrative", "L30": "attachments", "L31": "arrays that name the hidden", "L32": "lists, teams, documents", "L33": "`$everything`", "L34": "bulk export", "L35": "subscriptions and what is queued", "L36": "GraphQL",
    "L37": "other operations", "L38": "CapabilityStatement, counters", "L39": "AuditEvent, access log", "L40": "logs, addresses, metrics", "L41": "caches", "L42": "forms of one request", "L43": "length and compression", "L44": "time",
    "L45": "ids, versions, times of change", "L46": "sync outbound", "L47": "what a partner already holds", "L48": "tokens", "L49": "break-glass", "L50": "the Consent itself", "L51": "granting to oneself", "L52": "taking labels off",
    "L53": "moving to another person", "L54": "links between people", "L55": "what is not understood", "L56": "the choice of a status", "L57": "`_revinclude` of Provenance and AuditEvent", "L58": "limits and quotas",
}  # fmt: skip


def named() -> dict[str, list[tuple[str, str]]]:
    """Row -> (file, test), read from the files and not from a run: a deselected test is one, too."""
    out: dict[str, list[tuple[str, str]]] = {row: [] for row in ROWS}
    for file in sorted(HERE.glob("test_*.py")):
        for node in ast.parse(file.read_text()).body:
            bears = re.match(r"test_(L\d\d)_", node.name) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) else None
            if bears:
                out[bears.group(1)].append((file.name, node.name))
    return out


def line(row: str, found: list[tuple[str, str]]) -> str:
    files = {file for file, _ in found}
    built = "no" if files == {NOT_BUILT} else "in part" if NOT_BUILT in files else "yes"
    listed = "<br>".join(f"`{file.removesuffix('.py')}::{name}`" for file, name in found)
    return f"| {row} | {ROWS[row]} | {built} | {listed} |"


def table() -> str:
    return "\n".join(line(row, found) for row, found in named().items())


def test_every_row_has_a_test_that_bears_its_name() -> None:
    found = named()
    assert [row for row, listed in found.items() if not listed] == []
    assert list(found) == [f"L{n:02}" for n in range(1, 59)]
    apart = [row for row, listed in found.items() if {file for file, _ in listed} == {NOT_BUILT}]
    partly = [row for row, listed in found.items() if NOT_BUILT in {file for file, _ in listed} and row not in apart]
    print(f"\n{sum(map(len, found.values()))} tests for {len(found)} rows; not built: {', '.join(apart)}; in part: {', '.join(partly)}")


def test_the_page_lists_the_tests_as_they_are() -> None:
    page = PAGE.read_text()
    for row in table().splitlines():
        assert row in page, f"docs/leaks.md lacks this line (write it by `python -m tests.leaks.test_every_row`):\n{row}"
    assert page.count("\n| L") == len(ROWS)


if __name__ == "__main__":
    text = PAGE.read_text()
    head, _, rest = text.partition("| --- | --- | --- | --- |\n")
    tail = rest.split("\n\n", 1)[1] if "\n\n" in rest else ""
    PAGE.write_text(f"{head}| --- | --- | --- | --- |\n{table()}\n" + (f"\n{tail}" if tail else ""))
