"""A partner's table (`form: csv`) as documents, one for each person in it, and back."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping
from typing import Any

from ..problem import Problem
from .partner import LINES, Sheet


def read(raw: bytes, sheet: Sheet) -> list[tuple[str, dict[str, Any]]]:
    """(which lines, document) of each person, in the order in which they first appear. A document has the columns that say who, and
    `lines`: what the others say, empty cells left out. Problem malformed names the line."""
    try:
        text = raw.decode("utf-8-sig" if sheet.encoding == "utf-8" else sheet.encoding)
    except UnicodeDecodeError as wrong:
        raise Problem("malformed", f"Line {raw[: wrong.start].count(10) + 1} is not {sheet.encoding} text.") from None
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=sheet.delimiter, strict=True)
    people: dict[tuple[str, ...], tuple[list[int], dict[str, Any]]] = {}
    header: list[str] = []
    end = 0
    try:
        for cells in reader:
            line, end = end + 1, reader.line_num  # a cell may hold line ends
            if not any(cells):
                continue
            if not header:
                header = _header(cells, sheet)
                continue
            if len(cells) != len(header):
                raise Problem("malformed", f"Line {line} has {len(cells)} cells, and the header {len(header)}.")
            said = {k: v for k, v in zip(header, cells, strict=True) if v}
            who = {k: said.pop(k) for k in sheet.person if k in said}
            lines, document = people.setdefault(tuple(who.get(k, "") for k in sheet.person), ([], {**who, LINES: []}))
            lines.append(line)
            document[LINES].append(said)
    except csv.Error as wrong:
        raise Problem("malformed", f"Line {reader.line_num} is no line of a table: {wrong}.") from None
    if not header:
        raise Problem("malformed", "This table is empty.")
    return [(f"line{'s' if len(lines) > 1 else ''} {', '.join(map(str, lines))}", document) for lines, document in people.values()]


def _header(cells: list[str], sheet: Sheet) -> list[str]:
    names = [c.strip() for c in cells]
    missing = [c for c in sheet.person if c not in names]
    if missing:
        raise Problem("malformed", f"Line 1 has no column `{missing[0]}`, which says who it is about: it has {', '.join(f'`{n[:40]}`' for n in names[:12])}.")
    twice = [n for n in names if names.count(n) > 1]
    if twice:
        raise Problem("malformed", f"Line 1 has two columns `{twice[0][:40]}`.")
    return names


def write(documents: Iterable[Mapping[str, Any]], sheet: Sheet) -> str:
    """The table of these documents; what has no column of its own is in columns after the known ones."""
    lines: list[dict[str, Any]] = []
    for document in documents:
        who = {k: v for k, v in document.items() if k != LINES}
        below = document.get(LINES)
        lines += [{**who, **line} for line in (below if isinstance(below, list) else [{}]) if isinstance(line, Mapping)]
    names = list(dict.fromkeys([*sheet.columns, *(k for line in lines for k in line)]))
    out = io.StringIO(newline="")
    writer = csv.writer(out, delimiter=sheet.delimiter, lineterminator="\r\n")
    writer.writerow(names)
    for line in lines:
        writer.writerow([_cell(line.get(name, "")) for name in names])
    return out.getvalue()


def _cell(value: Any) -> str:
    return value if isinstance(value, str) else str(value)
