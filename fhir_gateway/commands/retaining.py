"""`retain plan, run, hold, release, holds`: what is over its retention, and its end. docs/retention.md"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import msgspec

from ..definitions import profiles_dir
from ..domain import retention
from ..gate import retaining
from ..settings import Refused, Settings, load
from ..wiring import Wired, operator, wired
from .bringing import bar
from .exporting import named_officer
from .files import contents
from .naming import person_id
from .operating import out


def schedule_of(settings: Settings) -> retention.Schedule:
    """The schedule of this deployment; Refused when the file is none."""
    file = settings.retention or profiles_dir() / "retention.json"
    try:
        return retention.read(contents(file))
    except ValueError as wrong:
        raise Refused(f"{file}: {wrong}.") from None


async def _plan(w: Wired, schedule: retention.Schedule) -> list[retaining.Due]:
    found = []
    with bar("Looking", 0) as step:
        async for one in retaining.due(operator(w), schedule):
            found.append(one)
            step()
    return sorted(found, key=lambda d: d.person)


async def plan(as_json: bool) -> int:
    """Nothing is changed."""
    settings = load()
    schedule = schedule_of(settings)
    async with wired(settings) as w:
        found = await _plan(w, schedule)
        messages = await retaining.old_messages(operator(w), schedule, drop=False)
    for d in found:
        if as_json:
            out(msgspec.to_builtins(d))
        else:
            print(f"{d.person}: {d.state}, {d.rule}: last contact {d.last}, kept until {d.until}, {d.resources} resources, {d.copies} copies with partners"
                  + (", WRITTEN TO AFTER THAT: look at it first" if d.recent else ""))  # fmt: skip
    name = retaining.digest(found)
    if as_json:
        out({"plan": name, "due": sum(d.state == "due" for d in found), "recent": sum(d.recent for d in found), "messages": dict(messages)})
    else:
        print(f"Plan {name}: {sum(d.state == 'due' for d in found)} records are due, {sum(messages.values())} old messages. Nothing was changed.")
        if recent := sum(d.recent for d in found):
            print(f"{recent} of these were written to after their end by schedule: is the date of death right? `retain run` leaves them, unless by --include-recent.")
    return 0


async def run(name: str, officer: str, folder: Path, as_json: bool, include_recent: bool = False) -> int:
    """Do what `plan` showed. 1 when some of it waits for partners to give their copies back, or was not surely overwritten."""
    settings = load()
    schedule = schedule_of(settings)
    if not folder.is_dir():
        raise Refused(f"The folder {folder} is not there: certificates go into it.")
    async with wired(settings) as w:
        who = await named_officer(w, settings, officer)
        found = await _plan(w, schedule)
        await _certified(w, folder)  # of a run that was stopped
        if retaining.digest(found) != name:
            raise Refused(f"The plan is another by now ({retaining.digest(found)}, not `{name[:40]}`): look at `fhir-gateway retain plan` again.")
        waits, left, disposed, ctx = 0, 0, 0, operator(w)
        with bar("Disposing", len(found)) as step:
            for one in found:
                if one.recent and not include_recent:
                    left += one.state in ("copies", "due")
                elif one.state == "copies":
                    waits += await retaining.take_back(ctx, one)
                elif one.state == "due":
                    said = await retaining.dispose(ctx, one, who)
                    disposed += 1
                    if as_json:
                        out(said)
                    else:
                        print(f"{one.person}: disposed of, {sum(said['resources'].values())} resources, certificate {said['certificate']}")
                step()
        messages = await retaining.old_messages(ctx, schedule, drop=True)
        overwritten = await w.store.scrub()
        written = await _certified(w, folder)
    said = {"disposed": disposed, "left": left, "waiting": waits, "held": sum(d.state == "held" for d in found),
            "messages": sum(messages.values()), "certificates": written, "overwritten": overwritten}  # fmt: skip
    if as_json:
        out(said)
    else:
        print(f"{said['disposed']} records disposed of, {said['held']} held, {waits} copies with partners are called back first, {said['messages']} old messages gone.")
        if left:
            print(f"{left} were left: they were written to after their end by schedule. Look at them, and run it again with --include-recent.")
        if not overwritten:
            print("What was removed is not surely overwritten on disk: see docs/retention.md.")
    return 1 if waits or not overwritten else 0


async def _certified(w: Wired, folder: Path) -> int:
    """Certificates that are not in the folder yet; each whole or not at all."""
    written = 0
    for said in await retaining.certificates(operator(w)):
        for end, raw in ((".json", msgspec.json.format(msgspec.json.encode(said), indent=1)), (".txt", words(said).encode())):
            file = folder / f"disposal-{said['certificate']}{end}"
            if file.exists():
                continue
            part = file.with_suffix(".part")
            part.write_bytes(raw)
            os.replace(part, file)
            written += end == ".json"
    return written


def words(said: dict[str, Any]) -> str:
    """The certificate as people read it: no clinical content."""
    counted = "\n".join(f"  {kind}: {n}" for kind, n in said["resources"].items())
    return (
        f"Certificate of disposal {said['certificate']}\n\nThe record of {said['person']} was disposed of at {said['disposedAt']}, in the name of {said['officer']}.\n"
        f"Rule: {said['rule']}. Last contact {said['lastContact']}; kept until {said['keptUntil']}.\n\n{counted}\n\n"
        f"With {said['versions']} versions and {said['messages']} messages and notices. {said['sharedAndKept']} resources that are other people's, too, were kept.\n"
        f"The log of who looked stays.\n\nSHA-256 of the facts above, as JSON with sorted keys: {said['sha256']}\n"
    )


async def hold(person: str, reason: str, officer: str) -> int:
    settings = load()
    async with wired(settings) as w:
        of = await person_id(w, person)
        await retaining.hold(operator(w), of, reason, await named_officer(w, settings, officer))
    print(f"{of}: held")
    return 0


async def release(person: str, officer: str) -> int:
    settings = load()
    async with wired(settings) as w:
        of = await person_id(w, person)
        await retaining.release(operator(w), of, await named_officer(w, settings, officer))
    print(f"{of}: not held any more")
    return 0


async def holds(as_json: bool) -> int:
    async with wired(load()) as w:
        for person, said in (await retaining.holds(operator(w))).items():
            if as_json:
                out({"person": person, **said})
            else:
                print(f"{person}: since {said['at']}, for {said['officer']}: {said['reason']}")
    return 0
