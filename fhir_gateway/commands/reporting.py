"""`report`: counts over all people, for an operator. docs/reports.md"""

from __future__ import annotations

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from .. import gate
from ..domain.measured import measure_report
from ..domain.reporting import MEAN_OF, Change, Report
from ..settings import load
from ..wiring import operator, wired
from .bringing import console
from .operating import out

HIDDEN = "-"  # in place of what is not told
STILL = "A count changes only where five people or more came or went since a report of the last year."
AGAIN = "told again, for by a new one, beside it, somebody could be known."
MEANS = f"Means are of {MEAN_OF} people or more, made of counts rounded to five; where they are told, it is not told how many are higher."


async def tell(kind: str, by: str, as_json: bool, as_fhir: bool = False) -> int:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    async with wired(load()) as w:
        with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
            task = progress.add_task("Counting people")
            counted = await gate.counted_over_all(operator(w), kind, by, lambda n, of: progress.update(task, completed=n, total=max(n, of)))
    if as_fhir:
        out(measure_report(counted.report, counted.at, by, min([counted.at, *counted.earlier.values()])))
    elif as_json:
        _lines(counted)
    else:
        _print(counted)
    return 0


def _lines(c: gate.Counted) -> None:
    def said(part: str) -> dict[str, str]:
        return {"kind": c.report.kind, "at": c.counted(part).isoformat(), "until": c.until.isoformat()}

    for row in c.report.rows:
        out({**said("rows"), "group": row.group, "people": row.people, "counts": dict(row.counts)})
    for (system, code), name, people in c.report.about:
        out({**said("about"), "about": {"system": system, "code": code, "name": name}, "people": people})
    for x in c.report.changes:
        what = {"system": x.system, "code": x.code, "name": x.name}
        out({**said(x.part), "score": what, "people": x.people, "before": x.score_before, "after": x.score_after, "counts": dict(x.counts)})


def _print(c: gate.Counted) -> None:
    print(f"{c.report.kind}, counted on {c.at:%d %B %Y}; the same until {c.until:%d %B %Y}. Rounded to five; {HIDDEN} is fewer than five, or would tell such a count. {STILL}")
    _again(c, "rows")
    for row in c.report.rows:
        print(f"{row.group}: {_count(row.people)} people")
        for name, n in row.counts.items():
            print(f"  {name}: {_count(n)}")
    _again(c, "about")
    for (_, code), name, people in c.report.about:
        print(f"about {name or 'code'} ({code}): {people} people")
    if c.report.changes:
        print(MEANS)
    for change in c.report.changes:
        _again(c, change.part)
        print(_change(change))
    if _nothing(c.report):
        print("Nothing can be told of so few people.")


def _again(c: gate.Counted, part: str) -> None:
    """That what follows is told again."""
    if part in c.earlier:
        print(f"As counted on {c.earlier[part]:%d %B %Y}, {AGAIN}")


def _change(x: Change) -> str:
    ways = ", ".join(f"{way} {_count(n)}" for way, n in x.counts.items())
    return f"{x.name or 'code'} ({x.code}): {x.people} people, before {_mean(x.score_before)}, after {_mean(x.score_after)} on average; {ways}"


def _nothing(r: Report) -> bool:
    return not (any(row.people is not None for row in r.rows) or r.changes)


def _mean(n: float | None) -> str:
    return HIDDEN if n is None else f"{n:g}"


def _count(n: int | None) -> str:
    return HIDDEN if n is None else str(n)
