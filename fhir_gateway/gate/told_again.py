"""A report beside those that were told: its figures are near to theirs (`domain.differing`), or theirs are told again.

To know how near they must be, it is kept who was in each table that was told: as keyed hashes, which the store's secret alone leads back to anybody, for
a year after the month, less whoever's record ends (`forgotten`). Where that is lost, or of another store, nothing can be compared, and what was told
is told again. docs/reports.md, docs/retention.md
"""

from __future__ import annotations

import hmac
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

import msgspec

from ..domain.differing import Apart, Near, Table, enough, fits, held, near
from ..domain.reporting import (
    ELSEWHERE,
    EVERYBODY,
    HIGHER,
    MEAN_OF,
    MEANS,
    Before,
    Code,
    Kind,
    Person,
    Report,
    figure,
    lines,
    report,
)
from ..domain.types import Keep
from .context import Context, House

TOLD: Final = "report"  # kept: by `told <kind> <part>`, the figures that were told last: `Part`
COUNTED: Final = "counted"  # kept: by `<kind> <part> <when>`, who was in figures that were told: `_Counted`
ROWS, ABOUT = "rows", "about"  # parts of a report, the first of each way of grouping (`rows-locality`); each score is another
HASH: Final = 12  # hex digits for a person; eight more for what they count in


@dataclass(frozen=True, slots=True)
class One:
    """Whom a report counts: `person`, what of them, and their group by each way of grouping."""

    person: str
    counts: Person
    groups: Mapping[str, str]


class Part(msgspec.Struct, frozen=True):
    """Figures of one part, and of no other, as they were counted at `at`."""

    at: datetime
    report: Report


class _Counted(msgspec.Struct, frozen=True):
    """`places`: a hash for each person with what they counted in, by the hash of a place. `lines`: of which places each was, and all its figures.
    `whole`: the figures of everybody. `store`: whose secret made the hashes."""

    at: datetime
    until: datetime
    store: str
    places: dict[str, list[str]]
    lines: list[tuple[list[str], dict[str, int]]]
    whole: dict[str, int]

    @property
    def table(self) -> Table:
        return Table({p: frozenset(who) for p, who in self.places.items()}, {frozenset(line): figures for line, figures in self.lines}, self.whole)


Made = tuple[Report, Table]


async def told(ctx: Context, kind: Kind, people: Sequence[One], ways: Iterable[str], until: datetime) -> tuple[dict[str, Part], list[Keep]]:
    """The parts of this report by name, each as counted now or as told last; and what is to be kept of the new ones, `until` then."""
    kept, last = await _kept(ctx, kind), await _last(ctx, kind)
    names = [*map(_rows_by, ways), *([ABOUT] if kind in ("goals", "choices") else _scores(people, {*kept, *last}))]
    out: dict[str, Part] = {}
    keeps: list[Keep] = []
    for name in names:
        rivals = [c for part, several in kept.items() if part.split("-")[0] == name.split("-")[0] for c in several]
        known = all(c.store == ctx.house.name for c in rivals) and (name not in last or any(c.at == last[name].at for c in kept.get(name, ())))
        made = _made(ctx, kind, name, people, kept.get(name, ()), [c.table for c in rivals], last.get(name)) if known else None
        if made is None:
            out[name] = last.get(name, Part(ctx.at, Report(kind)))
            continue
        out[name], table = Part(ctx.at, made[0]), made[1]
        places = {p: sorted(who) for p, who in table.places.items()}
        who = _Counted(ctx.at, until, ctx.house.name, places, [(sorted(line), dict(figures)) for line, figures in table.lines.items()], dict(table.whole))
        keeps += [
            Keep(TOLD, f"told {kind} {name}", msgspec.json.encode(out[name]), until),
            Keep(COUNTED, f"{kind} {name} {ctx.at.isoformat()}", msgspec.json.encode(who), until),
        ]
    return out, keeps


def composed(kind: Kind, by: str, parts: Mapping[str, Part]) -> Report:
    """The report of its parts."""
    rows, about = parts[_rows_by(by)].report, parts[ABOUT].report.about if ABOUT in parts else ()
    changes = sorted((c for p in parts.values() for c in p.report.changes), key=lambda c: (c.system, c.code))
    return Report(kind, rows.columns, rows.rows, about, tuple(changes))


def earlier(by: str, parts: Mapping[str, Part], at: datetime) -> dict[str, datetime]:
    """When those parts were counted that are told again: `rows`, `about`, and each score by `system|code`."""
    return {name.split("-")[0] if name == _rows_by(by) else name: p.at for name, p in parts.items() if p.at != at and (name == _rows_by(by) or name.split("-")[0] != ROWS)}


async def forgotten(house: House, person: str, at: datetime) -> list[Keep]:
    """Who was in earlier reports, without this person. Whoever is missing there can only make figures stand still."""
    out = []
    for key, raw in (await house.store.kept_all(COUNTED, at)).items():
        kind, part, _ = key.split(" ", 2)
        was, theirs = msgspec.json.decode(raw, type=_Counted), _who(house, kind, part, person)
        places = {p: [w for w in who if not w.startswith(theirs)] for p, who in was.places.items()}
        if places != was.places:
            out.append(Keep(COUNTED, key, msgspec.json.encode(msgspec.structs.replace(was, places=places)), was.until, if_value=raw))
    return out


# -- parts ------------------------------------------------------------------------------------------------------------


def _made(ctx: Context, kind: Kind, name: str, people: Sequence[One], kept: Sequence[_Counted], rivals: Sequence[Table], last: Part | None) -> Made | None:
    """This part as it is counted now; None where it would be too near to, or too far from, what was told."""
    if name.split("-")[0] == ROWS:
        return _rows(ctx, kind, people, name.removeprefix(ROWS).removeprefix("-"), kept, rivals)
    if name == ABOUT:
        return _about(ctx, kind, people, rivals, last)
    return _score(ctx, kind, people, name, rivals, last)


def _rows(ctx: Context, kind: Kind, people: Sequence[One], way: str, kept: Sequence[_Counted], rivals: Sequence[Table]) -> Made | None:
    """The lines by this way of grouping: of the places as they are now, or else as they were in the last table."""
    hashed = {g: _mac(ctx.house, f"place {kind} {way} {g}")[:8] for g in {o.groups[way] for o in people}}
    places = dict[str, set[str]]()
    for o in people:
        if o.counts.has:
            places.setdefault(hashed[o.groups[way]], set()).add(_entry(ctx.house, kind, ROWS, o.person, sorted(o.counts.has)))
    alike = [c.table for c in kept]
    was = max(kept, key=lambda c: c.at).table.lines if kept else {}
    now = lines(Counter(o.groups[way] for o in people))
    grouped = [replace(o.counts, group=o.groups[way]) for o in people]
    for line_of in (now, {g: g if g and frozenset({h}) in was else ELSEWHERE for g, h in hashed.items()}):
        of = {line: frozenset(hashed[g] for g, theirs in line_of.items() if theirs == line) for line in line_of.values()}
        if not all(fits(places, of.values(), old) for old in alike):
            continue
        near_to = {line: near(places, places_of, alike) for line, places_of in of.items()} | {"": near(places, None, rivals)}
        found = _held(kind, grouped, near_to, Before(line_of=line_of))
        if found is not None:
            told, figures = found
            return Report(kind, told.columns, told.rows), Table(places, {p: figures.get(line, figures[""]) for line, p in of.items()}, figures[""])
    return None


def _held(kind: Kind, people: Sequence[Person], near_to: Mapping[str, list[Near]], before: Before) -> tuple[Report, dict[str, dict[str, int]]] | None:
    """The report, and each figure as it is held by what was told, by line; None where one cannot be."""
    figures: dict[str, dict[str, int]] = {"": {}}

    def hold(line: str, name: str | tuple[str, ...], figure: int) -> int:
        if isinstance(name, str) == bool(before.line_of):
            key = name if isinstance(name, str) else "|".join(name)
            figure = held(figure, key, [n for n in near_to[line] if isinstance(name, tuple) or key in n[0]])  # a column that was not counted then was not told
            figures.setdefault(line, {})[key] = figure
        return figure

    try:
        return report(kind, people, replace(before, hold=hold)), figures
    except Apart:
        return None


def _about(ctx: Context, kind: Kind, people: Sequence[One], rivals: Sequence[Table], last: Part | None) -> Made | None:
    who = {"": {_entry(ctx.house, kind, ABOUT, o.person, sorted(o.counts.about)) for o in people if o.counts.about}}
    before = {code: name for code, name, _ in last.report.about} if last else {}
    found = _held(kind, [replace(o.counts, group=EVERYBODY) for o in people], {"": near(who, None, rivals)}, Before(codes=before))
    return (Report(kind, about=found[0].about), Table(who, {}, found[1][""])) if found else None


def _score(ctx: Context, kind: Kind, people: Sequence[One], name: str, rivals: Sequence[Table], last: Part | None) -> Made | None:
    """One score; also of few, of which nothing is told yet. A mean moves by no steps of five: of as many as could have one it is told anew where five came
    and five went. Nor is it told where the other was, how many are higher, before a crowd that has a mean came."""
    code = _code(name)
    theirs = [replace(o.counts, group=EVERYBODY, scores={c: pair for c, pair in o.counts.scores.items() if c == code}) for o in people]
    who = {"": {_entry(ctx.house, kind, name, o.person, o.counts.scores[code]) for o in people if code in o.counts.scores}}
    large = figure(len(who[""]), len(people)) >= MEAN_OF
    if not all(enough(who[""], old.of()) for old in rivals if old.whole.get(name) and (large or old.whole[name] >= MEAN_OF)):
        return None
    few = [old for old in rivals if len(who[""] - old.of()) < MEAN_OF]
    without = frozenset(how for how, other in ((MEANS, HIGHER), (HIGHER, MEANS)) if any(old.whole.get(f"told {other}") for old in few))
    before = Before(codes={code: last.report.changes[0].name} if last and last.report.changes else {}, without=without)
    found = _held(kind, theirs, {"": near(who, None, rivals)}, before)
    if found is None:
        return None
    changes, figures = found[0].changes, found[1][""]
    told = {f"told {how}": 1 for c in changes for how, n in ((HIGHER, c.counts[HIGHER]), (MEANS, c.score_before)) if n is not None}
    return Report(kind, changes=changes), Table(who, {}, figures | told)


def _code(name: str) -> Code:
    system, _, code = name.partition("|")
    return system, code


def _scores(people: Iterable[One], known: Iterable[str]) -> list[str]:
    return sorted({"|".join(c) for o in people for c in o.counts.scores} | {name for name in known if "|" in name})


def _rows_by(way: str) -> str:
    return f"{ROWS}-{way}" if way else ROWS


# -- what is kept -----------------------------------------------------------------------------------------------------


async def _kept(ctx: Context, kind: Kind) -> dict[str, list[_Counted]]:
    out: dict[str, list[_Counted]] = {}
    for key, raw in (await ctx.house.store.kept_all(COUNTED, ctx.at, f"{kind} ")).items():
        out.setdefault(key.split(" ")[1], []).append(msgspec.json.decode(raw, type=_Counted))
    return out


async def _last(ctx: Context, kind: Kind) -> dict[str, Part]:
    prefix = f"told {kind} "
    return {key.removeprefix(prefix): msgspec.json.decode(raw, type=Part) for key, raw in (await ctx.house.store.kept_all(TOLD, ctx.at, prefix)).items()}


def _entry(house: House, kind: str, part: str, person: str, counts_in: Any) -> str:
    """Another for each person, and for whatever else they come to count in."""
    what = msgspec.json.encode(counts_in).decode()
    return _who(house, kind, part, person) + _mac(house, f"what {kind} {part} {person} {what}")[:8]


def _who(house: House, kind: str, part: str, person: str) -> str:
    return _mac(house, f"who {kind} {part.split('-')[0]} {person}")[:HASH]


def _mac(house: House, text: str) -> str:
    return hmac.new(house.secret, f"counted {text}".encode(), "sha256").hexdigest()


__all__ = ["COUNTED", "TOLD", "One", "Part", "composed", "earlier", "forgotten", "told"]
