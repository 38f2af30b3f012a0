"""`person export`: a copy of everything about one person as one zip file, for a subject access request. docs/subject-access.md"""

from __future__ import annotations

import os
import zipfile
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256
from html import escape
from pathlib import Path
from typing import Any

import msgspec

from .. import gate
from ..auth import people
from ..domain import strict, trail_words
from ..settings import Refused, Settings, load
from ..wiring import Wired, now, operator, wired
from .bringing import bar
from .naming import person_id
from .operating import out

OFFICER = "privacy-officer"
MOST_LINES = 2_000  # of one list on the page; the files have all


@dataclass
class Copy:
    """A zip file under way. Items come file by file; one file is open at a time."""

    zip: zipfile.ZipFile
    files: list[dict[str, Any]] = field(default_factory=list)
    marked: list[dict[str, Any]] = field(default_factory=list)
    lists: dict[str, list[str]] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)

    async def fill(self, items: Any, step: Any) -> None:
        current, writing, digest, lines = "", None, sha256(), 0
        try:
            async for held in items:
                if held.file != current:
                    if writing:
                        writing.close()
                        self._done(current, lines, digest.hexdigest())
                    if held.file in self.counts:
                        raise RuntimeError(f"{held.file} comes twice")
                    current, digest, lines = held.file, sha256(), 0
                    writing = self.zip.open(zipfile.ZipInfo(current, now().timetuple()[:6]), "w", force_zip64=True)
                raw = strict.dump(held.line) + b"\n"
                assert writing is not None
                writing.write(raw)
                digest.update(raw)
                lines += 1
                self.counts[current] += 1
                self._listed(held)
                if held.why:
                    self.marked.append({"file": current, "line": lines, "what": held.name, "why": list(held.why), "decision": ""})
                step()
        finally:
            if writing:
                writing.close()
        if current:
            self._done(current, lines, digest.hexdigest())

    def _done(self, file: str, lines: int, digest: str) -> None:
        self.files.append({"file": file, "lines": lines, "sha256": digest})

    def _listed(self, held: Any) -> None:
        kind = held.file.removesuffix(".ndjson")
        if kind.startswith("versions/"):
            return
        said = self.lists.setdefault(kind, [])
        if len(said) < MOST_LINES:
            said.append(f"{held.at[:16].replace('T', ' ')} {held.title or held.name}".strip() + (" (to be looked at first)" if held.why else ""))

    def add(self, name: str, raw: bytes, lines: int) -> None:
        self.zip.writestr(zipfile.ZipInfo(name, now().timetuple()[:6]), raw)
        self._done(name, lines, sha256(raw).hexdigest())


async def export(person: str, officer: str, place: Path | None, as_json: bool) -> int:
    """One zip, whole or not at all. Refused when nobody of this name is a privacy officer, or the file cannot be."""
    settings = load()
    async with wired(settings) as w:
        who = await named_officer(w, settings, officer)
        id, at = await person_id(w, person), now()
        to = destination(place, id, at)
        part = to.with_name(f"{to.name}.part")
        try:
            made = await _written(w, part, id, who, at)
            os.replace(part, to)
        except OSError as wrong:
            raise Refused(f"{to} cannot be written: {wrong.strerror}.") from None
        finally:
            part.unlink(missing_ok=True)
    if as_json:
        out({"file": str(to), **made})
    else:
        print(f"{to}: {made['lines']} lines in {made['files']} files, sha256 {made['sha256']}")
        print(f"{made['marked']} lines are marked in review.ndjson: {who} looks at them before the person gets the copy.")
    return 0


async def _written(w: Wired, part: Path, id: str, who: str, at: datetime) -> dict[str, Any]:
    part.unlink(missing_ok=True)
    handle = os.open(part, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w+b") as f:
        with zipfile.ZipFile(f, "w", zipfile.ZIP_DEFLATED) as z:
            copy = Copy(z)
            with bar("Copying", 0) as step:
                await copy.fill(gate.whole_record(operator(w), id, who), step)
            lines = sum(copy.counts.values())
            copy.add("review.ndjson", b"".join(msgspec.json.encode(m) + b"\n" for m in copy.marked), len(copy.marked))
            copy.add("summary.html", page(copy, who, at).encode(), 0)
            manifest = {"person": f"Patient/{id}", "made": at.isoformat(), "officer": who, "gateway": w.settings.fhir_base, "marked": len(copy.marked), "files": copy.files}
            z.writestr("manifest.json", msgspec.json.format(msgspec.json.encode(manifest), indent=1))
        f.flush()
        os.fsync(f.fileno())
        f.seek(0)
        digest = sha256()
        while piece := f.read(1 << 20):
            digest.update(piece)
    return {"person": f"Patient/{id}", "officer": who, "files": len(copy.files) + 1, "lines": lines, "marked": len(copy.marked), "sha256": digest.hexdigest()}


async def named_officer(w: Wired, settings: Settings, name: str) -> str:
    """The account of a privacy officer; with an external issuer, which keeps the roles, the name as it is."""
    account = await people.find(w.store, name, now())
    if account is not None and OFFICER in account.roles and not account.closed:
        return account.username
    if settings.issuer and name.strip():
        return name.strip()[:200]
    raise Refused(f"`{name}` is no account of a privacy officer: name the one for whom this is done.")


def destination(place: Path | None, id: str, at: datetime) -> Path:
    """A file in a folder that is there; never one that is there already."""
    name = f"person-{id}-{at:%Y%m%dT%H%M%S}.zip"
    if place is not None and not place.is_dir() and place.suffix != ".zip":
        raise Refused(f"The folder {place} is not there: make it first, or name a file that ends in .zip.")
    to = Path(name) if place is None else place / name if place.is_dir() else place
    if not to.parent.is_dir():
        raise Refused(f"The folder {to.parent} is not there: make it first.")
    if to.exists():
        raise Refused(f"{to} is there already: name another file.")
    return to


HEADINGS = {
    "audit": "Who looked at your record, and what was done", "disclosures": "What was sent to whom", "claims": "Who said that they look after you",
    "emergencies": "Emergency accesses", "accepted": "Who accepted to look after you", "notices": "What we told you", "tell-choice": "How you want to be told",
    "told": "How you were told last", "sign-ins": "How you, or somebody for you, can sign in", "apps": "Apps that were let in", "waiting": "Messages that are not part of your record yet",
}  # fmt: skip


def page(copy: Copy, officer: str, at: datetime) -> str:
    """All of it in lists that somebody can read; everything from the record is text, never markup."""
    parts = [
        "<!doctype html><html lang='en'><head><meta charset='utf-8'><title>Your information</title>"
        "<style>body{font:1rem/1.5 sans-serif;max-width:50rem;margin:2rem auto;padding:0 1rem}li{margin:.2rem 0}</style></head><body>",
        f"<h1>The information we hold about you</h1><p>Made on {escape(at.strftime('%d %B %Y'))}. {escape(officer)} answers for it.</p>",
        f"<p>{len(copy.marked)} lines may tell of somebody else, or need a look for another reason. They are listed in review.ndjson.</p>",
        "<p>The files beside this page hold everything in full: <code>record/</code> what is in your record now, <code>versions/</code> every version,"
        " and one file for each list below. manifest.json has the hash of each.</p>",
    ]
    for kind in sorted(copy.lists, key=lambda k: (not k.startswith("record/"), k)):
        lines, file = copy.lists[kind], f"{kind}.ndjson"
        parts.append(f"<h2>{escape(HEADINGS.get(kind) or trail_words.things(kind.removeprefix('record/')))} ({copy.counts[file]})</h2><ul>")
        parts += [f"<li>{escape(line)}</li>" for line in lines]
        parts.append("</ul>")
        if copy.counts[file] > len(lines):
            parts.append(f"<p>And {copy.counts[file] - len(lines)} more in {escape(file)}.</p>")
    return "\n".join([*parts, "</body></html>"])
