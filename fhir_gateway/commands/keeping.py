"""`backup FILE`, `restore FILE`: copies of the store, and the seal on an older one."""

from __future__ import annotations

from pathlib import Path

from .. import safekeeping
from ..settings import Refused, load
from .bringing import bar
from .operating import out


async def backup(file: Path, as_json: bool) -> int:
    settings = load()
    with bar("Packing", safekeeping.pieces(settings)) as step:
        made = await safekeeping.backup(settings, file, lambda n: step())
    if as_json:
        out(made)
    else:
        print(f"{file}: {made['bytes']} bytes of store {made['store']}, sha256 {made['sha256']}")
    return 0


async def restore(file: Path | None, journals: list[Path], own: bool, seal: bool, gap: bool, who: str, reason: str, expect: list[int]) -> int:
    """0 when all that was asked is done, though the store be sealed at the end of it: that is said, and every other command refuses."""
    replays = own or bool(journals)
    if gap and not (who.strip() and reason.strip()):
        raise Refused("Somebody must answer for the gap: give --who NAME and --reason TEXT.")
    if file is None and not (replays or gap or seal):
        raise Refused("Name a backup FILE; or replay the journal of a sealed store by --journal FOLDER, or accept what is lost by --accept-gap.")
    if expect and not replays:
        raise Refused("--expect says how far a journal must reach that is replayed: give --replay or --journal FOLDER.")
    if replays and gap:
        raise Refused("Replay the journal first; accept the gap only if that cannot be done.")
    settings = load()
    if file is not None:
        with bar("Unpacking", safekeeping.pieces(file)) as step:
            done = await safekeeping.restore(settings, file, lambda n: step())
        print(f"{file}: restored store {done.store} as of {done.made}. It is sealed; nobody is signed in any more.")
        if done.aside is not None:
            print(f"What was there is now {done.aside}.")
    if seal:
        await safekeeping.seal(settings)
        print("Sealed. Nobody is signed in any more.")
    if replays:
        with bar("Replaying", 0) as step:
            n = await safekeeping.replay(settings, journals, lambda seen, total: step(), expect)
        print(f"{n} entries of the consent journal are in force again. The store is open.")
        return 0
    if gap:
        given = str(await safekeeping.accept_gap(settings, journals, who.strip(), reason.strip()))
        print(f"{given[0].upper()}{given[1:]}; {who.strip()} answers for it. The store is open.")
        return 0
    print("Replay the consent journal: fhir-gateway restore --replay, or --journal FOLDER if it is elsewhere.")
    return 0
