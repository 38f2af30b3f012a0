"""`print`: a plan as an A5 booklet, for one reader. docs/printing.md"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from .. import gate
from ..around import printing
from ..auth import people
from ..domain.problem import Problem
from ..domain.vocabulary import PURPOSES
from ..gate.headings import Words
from ..settings import Refused, load
from ..web.pages.words import _, day, moment
from ..wiring import Wired, now, operator, wired
from .naming import meant, person_id
from .operating import out

READERS = ("Patient", "RelatedPerson", "Practitioner", "PractitionerRole", "Organization", "CareTeam", "Group", "HealthcareService", "Device")


async def print_plan(person: str, whom: str, to: Path | None, as_page: bool, purpose: str, as_json: bool) -> int:
    """One file, whole or not at all; nothing is written down as printed where none can be made. Refused, or a Problem as of `gate.printed`."""
    if purpose not in PURPOSES:
        raise Refused(f"--purpose `{purpose[:40]}` is not a purpose of use (v3-ActReason).")
    if not as_page and not printing.can_pdf():
        raise Refused(f"{printing.MISSING}; or add --html for a page that any browser prints.")
    settings = load()
    async with wired(settings) as w:
        id, reader = await person_id(w, person), await _reader(w, whom)
        name, raw = await Words(w.house).called(reader), b""

        async def draw(sheet: printing.Sheet) -> None:
            nonlocal raw
            raw = printing.html(sheet, say=_, moment=moment).encode() if as_page else await printing.pdf(sheet, say=_, moment=moment)

        try:
            sheet = await printing.print_plan(operator(w), id, settings.base, whom=reader, name=name, by=_("Those who run this service"), purpose=purpose, say=_, day=day, draw=draw)
        except Problem as p:
            if p.text.startswith(printing.LETTERS):
                raise Refused(f"{printing.LETTERS}; or add --html for a page that any browser prints. Nothing was printed.") from None
            raise Refused(f"{name} can see no plan of this person: nothing was printed.") if p.kind == "not-found" else p from None
        place = to or Path(f"plan-{id[:8]}-version-{sheet.printed.number}.{'html' if as_page else 'pdf'}")
        _write(place, raw)
    if as_json:
        out({"file": str(place), "person": f"Patient/{id}", **printing.plain(sheet)})
    else:
        print(f"{place}: version {sheet.printed.number} ({sheet.code}), printed for {name}")
        print(f"Whether a newer one exists: {sheet.link}", file=sys.stderr)
    return 0


async def _reader(w: Wired, whom: str) -> str:
    """Whoever is meant: a reference, an identifier, a role somewhere, a sector, or the sign-in name of an account here."""
    if "/" not in whom and ":" not in whom and "|" not in whom:
        account = await people.find(w.store, whom, now())
        if account is None:
            raise Refused(f"--for: there is no sign-in `{whom[:80]}` here: write Practitioner/1, say, or system|value.")
        return account.fhir_user
    if whom.startswith("role:"):
        place, _space, code = whom.removeprefix("role:").partition(" ")
        whom = f"role:{await meant(w, place, 'Organization', option='--for')} {code}"
    elif not whom.startswith("sector:"):
        whom = await meant(w, whom, *READERS, option="--for")
    try:
        await gate.understood(w.house, whom, here=True)
    except Problem as wrong:
        raise Refused(f"--for: {wrong}") from None
    return whom


def _write(place: Path, raw: bytes) -> None:
    """A file for its owner alone: it is somebody's plan."""
    part = place.with_name(f"{place.name}.part")
    try:
        part.unlink(missing_ok=True)
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as f:
            f.write(raw)
        os.replace(part, place)
    except OSError as wrong:
        part.unlink(missing_ok=True)
        raise Refused(f"{place} cannot be written: {wrong.strerror}.") from None


__all__ = ["print_plan"]
