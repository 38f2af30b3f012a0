"""A plan on paper: an A5 booklet as PDF, or as a page that any browser prints. docs/printing.md

The gate says what this reader may see and writes the print down; here it becomes a booklet (`domain.booklet`), a template, a file.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any, Final

import segno
from jinja2 import Environment, PackageLoader, StrictUndefined

from .. import gate
from ..domain import booklet as paper
from ..domain import mapping, risks
from ..domain.booklet import Booklet, Say
from ..domain.joined import Other
from ..domain.periods import LONDON
from ..domain.problem import Problem, not_found
from ..domain.shown_plan import shown_plan
from ..domain.written_down import as_written
from ..gate import Context, House, Printed
from ..tables import load_tables
from .drawing import LETTERS, MISSING, drawn, nothing

AT_ONCE: Final = asyncio.Semaphore(1)  # a booklet takes about a second of a processor: others get their turn
ROOM: Final = 19  # lines of a history sheet


@dataclass(frozen=True, slots=True)
class Sheet:
    """A booklet that was printed: what it says, for whom, which version, and the link that says whether it is the newest."""

    booklet: Booklet
    printed: Printed
    link: str
    at: datetime
    whom: str  # in words
    by: str  # in words

    @property
    def code(self) -> str:
        return paper.code(self.printed.digest)


async def print_plan(
    ctx: Context, patient: str, base: str, *, whom: str = "", name: str = "", by: str = "", purpose: str = "", say: Say = lambda t: t, day: Callable[[Any], str] = str, language: str = "en",
    draw: Callable[[Sheet], Awaitable[Any]] | None = None,
) -> Sheet:  # fmt: skip
    """What `whom` may see of this person's plan, written down as printed. `name` is what they are called; `base`, where this service is;
    `draw` makes a file of it, and what that raises is raised before anything is written down as printed.

    Problems as of `gate.printed`.
    """

    def sheet(done: Printed) -> Sheet:
        shown = _shown(mapping.read(done.resources, load_tables(), homeless=False), done.resources, say)
        others, today = [_other(found, say) for found in done.others], ctx.at.astimezone(LONDON).date()
        made = paper.booklet(shown, done.resources, say=say, day=day, own=done.own, language=language, today=today, others=others)
        words = name or made.name if done.own else name or ctx.actor.name
        return Sheet(made, done, f"{base}/printed/{done.token}", ctx.at, words, by or ctx.actor.name)

    async def make(done: Printed) -> None:
        if draw is not None:
            await draw(sheet(done))

    return sheet(await gate.printed(ctx, patient, digest, whom, purpose, make))


async def is_newest(house: House, token: str, asking: Context | None) -> bool | None:
    """Whether nothing on the paper with this link has changed; None for a link that was never made. It is written down as a look, of
    `asking` where somebody is signed in."""
    return await gate.is_newest(house, token, digest, asking)


def digest(resources: Any, others: Sequence[Any] = ()) -> str:
    """Names what is printed of these, and of each other record of the person. Problem not-found where they make no plan."""
    try:
        read = mapping.read(resources, load_tables(), homeless=False)
        beside = {k: v for k, v in _shown(read, resources).items() if k in ("team", "risks")}
        return paper.basis({**read.plan, **beside}, resources, [_other(found) for found in others])
    except Problem as p:
        if p.kind not in ("not-found", "invalid"):
            raise
        raise not_found() from None


def _other(resources: Any, say: Say = as_written) -> Other:
    """Another record of the person, in the language of `say`. Of one that nobody can read as a plan there is what it has of allergies, warnings and medicines."""
    try:
        return Other(_shown(mapping.read(resources, load_tables(), homeless=False), resources, say), resources)
    except Problem as p:
        if p.kind not in ("not-found", "invalid"):
            raise
        return Other({}, resources)


def _shown(read: mapping.Read, resources: Any, say: Say = as_written) -> dict[str, Any]:
    """The plan as it stands on the paper, in the language of `say`."""
    return risks.with_others(shown_plan(read.plan, read.became, resources, say), resources, load_tables())


# -- the page, and the file -------------------------------------------------------------------------------------------


@cache
def _environment() -> Environment:
    env = Environment(loader=PackageLoader("fhir_gateway.around", "templates"), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    env.filters["dir"] = lambda text: "rtl" if paper.right_to_left(str(text)) else "ltr"
    return env


BROWSERS: Final = """@page { margin-bottom: 13mm; @bottom-right { content: counter(page) " / " counter(pages); font: 700 10pt "Noto Sans", sans-serif; } }\n"""


def css(for_pdf: bool = False) -> str:
    """The style sheet that stands in every booklet: a page's policy names it by its hash. Browsers cannot run an element along; they repeat a table's foot."""
    env = _environment()
    assert env.loader is not None
    return env.loader.get_source(env, "booklet.css")[0] + ("" if for_pdf else BROWSERS)


def html(sheet: Sheet, *, say: Say = lambda t: t, moment: Callable[[Any], str] = str, for_pdf: bool = False, language: str = "en", rtl: bool = False) -> str:
    """The booklet, which says its own words in this `language` (by `say`), as one page with everything in it: no picture, script or style comes from elsewhere."""
    code = segno.make(sheet.link, error="m", micro=False)
    square = code.svg_inline(border=2, omitsize=True, svgclass=None, lineclass=None)
    return _environment().get_template("booklet.html").render(
        s=sheet, b=sheet.booklet, qr=square, css=css(for_pdf), _=say, when=moment(sheet.at), for_pdf=for_pdf, room=range(ROOM), language=language, rtl=rtl
    )


async def pdf(sheet: Sheet, *, say: Say = lambda t: t, moment: Callable[[Any], str] = str, language: str = "en", rtl: bool = False) -> bytes:
    """The booklet as PDF, A5, with bookmarks. Problem unavailable, with what to install, where it cannot be made here, or not in time."""
    page = html(sheet, say=say, moment=moment, for_pdf=True, language=language, rtl=rtl)
    async with AT_ONCE:
        return await drawn(page)


def can_pdf() -> bool:
    """Are WeasyPrint and the Pango it needs here."""
    try:
        import weasyprint  # noqa: F401
    except (ImportError, OSError):
        return False
    return True


def plain(sheet: Sheet) -> dict[str, Any]:
    """What a command says of a print."""
    p = sheet.printed
    return {"for": p.whom, "version": p.number, "code": sheet.code, "link": sheet.link, "at": sheet.at.isoformat()}


__all__ = ["LETTERS", "MISSING", "Sheet", "can_pdf", "css", "html", "is_newest", "nothing", "pdf", "plain", "print_plan"]
