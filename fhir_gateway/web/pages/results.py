"""What was measured of a person, in plain words: the newest of each kind, beside the range that came with it, and how it changed. docs/results.md

No value is judged here: high, low and as it should be are the sender's words (`domain.results`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response

from ...around import results
from ...domain.alike import Around
from ...domain.diagnostic import Report, reports
from ...domain.results import Kind, Range, Reading, Value, change, chosen, kinds, wheels, when
from ...gate import Context
from .frame import Pages, show
from .names import called, names, own_id, own_ids
from .pictures import Wheel, wheel
from .plan_items import Line, lines
from .team import id_of
from .trends import DRAWN, Trend, trend
from .words import _, day, moment, short

PRESSURE: Final = ("http://loinc.org|85354-9", "http://loinc.org|8480-6", "http://loinc.org|8462-4")
NAMES: Final[Mapping[str, str]] = {
    "http://loinc.org|85354-9": "Blood pressure", "http://loinc.org|8480-6": "Top number", "http://loinc.org|8462-4": "Bottom number",
    "http://loinc.org|8867-4": "Pulse", "http://loinc.org|2708-6": "Oxygen in the blood", "http://loinc.org|8310-5": "Temperature",
    "http://loinc.org|29463-7": "Weight", "http://loinc.org|8302-2": "Height", "http://loinc.org|39156-5": "Body mass index",
}  # fmt: skip
SAID: Final[Mapping[str, str]] = {  # http://terminology.hl7.org/CodeSystem/v3-ObservationInterpretation
    "H": "High", "HU": "Clearly high", "HH": "Critically high", ">": "Too high to be measured", "L": "Low", "LU": "Clearly low", "LL": "Critically low",
    "<": "Too low to be measured", "N": "Normal", "A": "Not normal", "AA": "Critically not normal", "POS": "Positive", "NEG": "Negative",
    "DET": "Found", "ND": "Not found", "IND": "Nobody can say", "E": "Nobody can say", "B": "Better", "W": "Worse", "U": "Much higher than before", "D": "Much lower than before",
}  # fmt: skip
BESIDE: Final[Mapping[str, str]] = {"inside": "Inside the range", "above": "Above the range", "below": "Below the range"}
SHAPES: Final = {"above": "▲", "below": "▼", "outside": "◆", "inside": "●"}  # beside the words, for the eye
COLOURS: Final = {"above": "yellow", "below": "yellow", "outside": "yellow", "inside": "blue"}
COMPARED: Final[Mapping[str, str]] = {"<": "less than {n}", "<=": "at most {n}", ">": "more than {n}", ">=": "at least {n}"}
STATUS: Final[Mapping[str, str]] = {"registered": "Not final yet", "preliminary": "Not final yet", "amended": "It was put right later", "corrected": "It was put right later"}
BEFORE = 2  # earlier wheels in the table of one


@dataclass(frozen=True, slots=True)
class Mark:
    """Where a value lies, in words, with a shape and a colour that say the same."""

    words: str
    shape: str
    colour: str


@dataclass(frozen=True, slots=True)
class Part:
    """A value in words: what it is of (where a reading has several), its marks, the ranges that came with it, how it changed."""

    name: str
    value: str
    marks: tuple[Mark, ...]
    ranges: tuple[str, ...]
    changed: str = ""


@dataclass(frozen=True, slots=True)
class Row:
    """One reading in the table behind a picture."""

    on: str
    parts: tuple[Part, ...]
    absent: str
    called: str = ""  # where it came under another name than the newest


@dataclass(frozen=True, slots=True)
class Shown:
    """One kind of result as the page has it. `name` says what and whose it is, so that no two on a page have the same."""

    name: str
    headline: str
    on: str
    parts: tuple[Part, ...]
    lines: tuple[Line, ...]
    picture: Trend | None
    said: str  # the picture in words
    series: tuple[str, ...]  # what each line of the picture is
    rows: tuple[Row, ...]
    older: int
    codes: tuple[str, ...]
    another: str = ""  # that it is of somebody else


@dataclass(frozen=True, slots=True)
class Told:
    """A DiagnosticReport as the page has it."""

    name: str
    on: str
    lines: tuple[Line, ...]


@dataclass(frozen=True, slots=True)
class Turned:
    """A wheel, when it was filled in, and earlier ones: (day, spoke to number)."""

    wheel: Wheel
    on: str
    before: tuple[tuple[str, dict[str, str]], ...]


async def mine(pages: Pages, request: Request, ctx: Context) -> Response:
    """The person's own results."""
    return await _page(pages, request, ctx, own_ids(ctx), own_id(ctx), own=True)


async def theirs(pages: Pages, request: Request, ctx: Context) -> Response:
    """Somebody's results as far as this reader may see them. Problem not-found, the same for hidden and absent."""
    id = id_of(request)
    return await _page(pages, request, ctx, id, id, own=False)


async def _page(pages: Pages, request: Request, ctx: Context, ids: str, person: str, *, own: bool) -> Response:
    found = await results.measured(ctx, ids)
    of, written = kinds(found.observations, found.known), reports(found.reports)
    known = await names(ctx, {who for k in of for who in k.newest.by} | {who for r in written for who in r.by})
    called_so = headings(of)
    shown = [told(k, known, name) for k, name in zip(of, called_so, strict=True)]
    came_out = {f"Observation/{r.id}": f"{name}: {_all_of(r)}" for k, name in zip(of, called_so, strict=True) for r in k.readings}
    return await show(
        pages, request, "results.html", ctx=ctx, own=own, person=person, name=called(found.person) if found.person else "", shown=shown, more=found.more, most=results.MOST,
        wheels=[turned(same) for same in wheels(found.observations)], reports=[reported(r, known, came_out) for r in written], more_reports=found.more_reports,
    )  # fmt: skip


# -- in words ---------------------------------------------------------------------------------------------------------


def headings(of: Sequence[Kind]) -> list[str]:
    """What each kind is called: with whose it is and where on the body, and with more where two were called the same."""
    most = [(k.around.whose or _("somebody else") if k.around.another else "", k.around.site) for k in of]
    more = [(k.around.about, k.around.how, k.around.of, k.around.device, k.around.within) for k in of]
    plain = [_heading(k, some) for k, some in zip(of, most, strict=True)]
    times = Counter(plain)
    said = [_heading(k, (*some, *rest)) if times[name] > 1 else name for k, name, some, rest in zip(of, plain, most, more, strict=True)]
    seen: Counter[str] = Counter()
    out = []
    for name in said:
        seen[name] += 1
        out.append(name if seen[name] == 1 else _("{name} ({n})").format(name=name, n=seen[name]))
    return out


def _heading(kind: Kind, more: Sequence[str]) -> str:
    name, beside = _named(kind.root, kind.name) or _("A measurement without a name"), ", ".join(t for t in more if t)
    return f"{name}: {beside}" if beside else name


def reported(r: Report, known: Mapping[str, str], came_out: Mapping[str, str]) -> Told:
    """A report in words. `came_out`: what its results say, by reference, of those that this reader sees."""
    parts = [came_out.get(ref) or name for ref, name in r.results]
    return Told(
        r.name or _("A report without a name"), _when(r.on),
        lines(
            (_("What was concluded"), r.conclusion), (_("Good to know"), _(STATUS[r.status]) if r.status in STATUS else ""), (_("Results in it"), "\n".join(p for p in parts if p)),
            (_("Written by"), _who(r.by, known)), (_("Papers that came with it"), "\n".join(r.papers)),
        ),
    )  # fmt: skip


def told(kind: Kind, known: Mapping[str, str], name: str = "") -> Shown:
    """A kind in words. `known`: who did what, by reference; `name`: what it is called on a page with others."""
    new, before = kind.newest, kind.before
    drawn = trend(kind)
    last = kind.readings[-DRAWN:]
    return Shown(
        name=name or headings([kind])[0], headline=_headline(kind, new), on=_when(new.on),
        parts=tuple(part(v, before, more=len(new.values) > 1) for v in new.values), lines=_around(new, kind.around, known), picture=drawn, said=_described(kind, drawn) if drawn else "",
        series=tuple(_part_name(next(v for v in new.values if v.code == s.code)) for s in drawn.series) if drawn and len(drawn.series) > 1 else (),
        rows=tuple(Row(_when(r.on), tuple(part(v, more=len(r.values) > 1) for v in r.values), r.absent, _other_name(kind, r)) for r in reversed(last)), older=len(kind.readings) - len(last),
        codes=() if _named(kind.root, kind.name) else tuple(sorted(kind.codes)), another=_another(kind.around),
    )  # fmt: skip


def _another(a: Around) -> str:
    if not a.another:
        return ""
    return _("About somebody else: {who}").format(who=a.whose) if a.whose else _("About somebody else")


def _other_name(kind: Kind, r: Reading) -> str:
    """What this one is called, where that is not what the newest is called."""
    return r.name if not _named(kind.root, "") and r.name.casefold() != kind.name.casefold() else ""


def _all_of(r: Reading) -> str:
    """A reading in one line."""
    said = [f"{_part_name(v)}: {in_words(v)}" if len(r.values) > 1 else in_words(v) for v in r.values]
    return ", ".join(said) or ": ".join(t for t in (_("No value"), r.absent) if t)


def part(value: Value, before: Reading | None = None, *, more: bool = False) -> Part:
    """A value in words; with what it was before, where that is given."""
    old = chosen(before.values, value.code) if before is not None else None
    return Part(
        _part_name(value) if more else "", in_words(value), marks(value), tuple(t for t in map(_range, value.ranges) if t),
        _changed(value, old, _when(before.on)) if before is not None and old is not None else "",
    )  # fmt: skip


def in_words(v: Value) -> str:
    """The value with its unit."""
    if v.truth is not None:
        return _("Yes") if v.truth else _("No")
    if v.number is None:
        return day(v.text)
    amount = f"{short(v.number)} {v.unit}".strip()
    return _(COMPARED[v.comparator]).format(n=amount) if v.comparator in COMPARED else amount


def marks(v: Value) -> tuple[Mark, ...]:
    """What the sender says of it, and where it lies beside the sender's range when that says something else."""
    said = [(SAID[c], _side_of(c)) for c in v.said if c in SAID]
    out = [_mark(_("Whoever sent it says: {what}").format(what=_(words)), side) for words, side in said]
    out += [_mark(_("Whoever sent it says: {what}").format(what=v.words), "")] if v.words else []
    if v.side and v.side not in {side for _words, side in said}:
        out.append(_mark(_(BESIDE[v.side]), v.side))
    return tuple(out)


def _side_of(code: str) -> str:
    return Value("", "", said=(code,)).mark


def _mark(words: str, side: str) -> Mark:
    return Mark(words, SHAPES.get(side, ""), COLOURS.get(side, "grey"))


def _range(r: Range) -> str:
    """A range in words, with for whom it is where that is said."""
    low, high = (f"{short(n)} {r.unit}".strip() if n is not None else "" for n in (r.low, r.high))
    if low and high:
        text = _("from {low} to {high}").format(low=low, high=high)
    elif low or high:
        text = _("{n} or more").format(n=low) if low else _("{n} or less").format(n=high)
    else:
        text = r.text
    return f"{text} ({r.for_whom})" if text and r.for_whom else text


def _changed(new: Value, old: Value, on: str) -> str:
    more, was = change(new, old), in_words(old)
    if more is None:
        return _("On {day} it was {was}.").format(day=on, was=was) if was else ""
    if not more:
        return _("The same as on {day}.").format(day=on)
    text = _("{n} more than on {day}, when it was {was}.") if more > 0 else _("{n} less than on {day}, when it was {was}.")
    return text.format(n=f"{short(abs(more))} {new.unit}".strip(), day=on, was=was)


def _headline(kind: Kind, r: Reading) -> str:
    """The newest in one line."""
    panel, top, bottom = PRESSURE
    high, low = chosen(r.values, top), chosen(r.values, bottom)
    if kind.root == panel and high and low and high.number is not None and low.number is not None and high.unit == low.unit:
        return _("{top} over {bottom}").format(top=short(high.number), bottom=in_words(low))
    if not r.values:
        return _("No value")
    return in_words(r.values[0]) if len(r.values) == 1 else ""


def _around(r: Reading, a: Around, known: Mapping[str, str]) -> tuple[Line, ...]:
    """What they are all of, and how the newest came about."""
    return lines(
        (_("About"), a.about), (_("Part of the body"), a.site), (_("How it was measured"), a.how), (_("What was tested"), a.of), (_("Measured with"), a.device), (_("Part of"), a.within),
        (_("Why there is no value"), r.absent if not r.values else ""), (_("Good to know"), _(STATUS[r.status]) if r.status in STATUS else ""),
        (_("Measured by"), _who(r.by, known)),
        (_("Where it comes from"), "\n".join(t for t in (r.source, _("Sent in as a text message") if r.message else "") if t)),
    )  # fmt: skip


def _who(by: Sequence[str], known: Mapping[str, str]) -> str:
    return ", ".join(dict.fromkeys(n for n in (known.get(who, "" if "/" in who else who) for who in by) if n))


def _described(kind: Kind, t: Trend) -> str:
    """What the picture shows, for whoever does not see it."""
    said = []
    for s in t.series:
        of = next(v for v in kind.newest.values if v.code == s.code)
        name = f"{_part_name(of)}: " if len(t.series) > 1 else ""
        said.append(name + _("{n} readings. The lowest is {low}, the highest {high}, the last {last}.").format(n=len(s.points), low=short(s.low), high=short(s.high), last=in_words(of)))
    return " ".join((_("From {start} to {end}.").format(start=day(t.first.on), end=day(t.last.on)), *said))


def _named(code: str, name: str) -> str:
    return _(NAMES[code]) if code in NAMES else name


def _part_name(v: Value) -> str:
    return _named(v.code, v.name) or _("Not described")


def _when(on: str) -> str:
    """The day, and the hour where one is said."""
    return (moment(on) if "T" in on else day(on)) or _("Nobody says when")


def turned(same: Sequence[Mapping[str, Any]]) -> Turned:
    """A wheel with the ones before it."""
    newest = wheel(same[-1])
    earlier = [(day(when(o)) or _("Nobody says when"), {s.name: s.now for s in wheel(o).spokes}) for o in reversed(same[:-1][-BEFORE:])]
    return Turned(newest, day(when(same[-1])), tuple(earlier))


__all__ = ["Shown", "headings", "in_words", "marks", "mine", "part", "reported", "theirs", "told", "turned"]
