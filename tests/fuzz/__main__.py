"""`python -m tests.fuzz [--seconds 600] [--at-once 1] [NAME ...]`: each parser under atheris, led by what of its code was reached.

Without names, all of them one after the other (or several at once). What breaks one is written to tests/fuzz/found/NAME, ready to be kept
as a case, and the run ends with 1. What was tried and was worth keeping stays in .work/fuzz/NAME for the next run. Where atheris has no wheel
(it has none for every Python and system) the same harnesses are driven by random changes of the examples alone, and the run says so.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import os
import re
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

HERE = Path(__file__).parent
FOUND = HERE / "found"
WORK = HERE.parent.parent / ".work" / "fuzz"
MOST = 8192  # bytes of an input
SLOW = 30  # seconds for one input


def main() -> int:
    asked = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    asked.add_argument("names", nargs="*", metavar="NAME")
    asked.add_argument("--seconds", type=int, default=600, help="for each parser")
    asked.add_argument("--at-once", type=int, default=1, help="parsers at the same time")
    asked.add_argument("--alone", help=argparse.SUPPRESS)
    said = asked.parse_args()
    if said.alone:
        return _led(said.alone, said.seconds) if _atheris() else _blind(said.alone, said.seconds)
    if not _atheris():
        print("NOTE: atheris is not installed (pip install --group all; it has no wheel for every Python): changes are made blindly, not led by coverage.")
    from .harnesses import HARNESSES

    names = said.names or list(HARNESSES)
    if unknown := set(names) - HARNESSES.keys():
        print(f"no such harness: {', '.join(sorted(unknown))}; there are {', '.join(HARNESSES)}", file=sys.stderr)
        return 2
    with ThreadPoolExecutor(said.at_once) as pool:
        fine = list(pool.map(lambda name: _one(name, said.seconds), names))
    return 0 if all(fine) else 1


def _atheris() -> bool:
    return importlib.util.find_spec("atheris") is not None


def _one(name: str, seconds: int) -> bool:
    """One parser in a process of its own, and a line about it."""
    before = time.monotonic()
    done = subprocess.run([sys.executable, "-m", "tests.fuzz", "--alone", name, "--seconds", str(seconds)], capture_output=True, text=True, errors="replace", cwd=HERE.parent.parent)
    if (FOUND / name).is_dir() and not any((FOUND / name).iterdir()):
        (FOUND / name).rmdir()
    runs = re.findall(r"^(?:#|Done )(\d+)", done.stderr, re.M)
    reached = re.findall(r"cov: (\d+)", done.stderr)
    print(f"{name:16} {'ok  ' if done.returncode == 0 else 'FAIL'} {time.monotonic() - before:5.0f} s {int(runs[-1]) if runs else 0:>10,} inputs, {reached[-1] if reached else '?'} edges reached", flush=True)
    if done.returncode:
        print(done.stdout[-3000:], done.stderr[-3000:], sep="\n", flush=True)
    return done.returncode == 0


def _led(name: str, seconds: int) -> int:
    import atheris

    with atheris.instrument_imports(include=["fhir_gateway"]):
        from .harnesses import HARNESSES
    from .mutating import mutated

    harness = HARNESSES[name]
    corpus, found = WORK / name, FOUND / name
    for folder in (corpus, found):
        folder.mkdir(parents=True, exist_ok=True)
    for seed in harness.seeds():
        (corpus / hashlib.sha1(seed, usedforsecurity=False).hexdigest()).write_bytes(seed)

    def change(data: bytes, most: int, seed: int) -> bytes:
        return mutated(data, seed)[:most] if seed % 2 else atheris.Mutate(data, most)

    told = [
        "fuzz", str(corpus), str(found), f"-max_total_time={seconds}", f"-max_len={MOST}", f"-timeout={SLOW}", "-rss_limit_mb=4096",
        f"-artifact_prefix={found}{os.sep}", "-print_final_stats=1",
    ]  # fmt: skip
    atheris.Setup(told, lambda data: harness.run(bytes(data)), custom_mutator=change)
    atheris.Fuzz()
    return 0


def _blind(name: str, seconds: int) -> int:
    from random import Random

    from .harnesses import HARNESSES
    from .mutating import mutated

    harness, dice = HARNESSES[name], Random()
    pool, end, runs = list(harness.seeds()), time.monotonic() + seconds, 0
    while time.monotonic() < end:
        data = mutated(dice.choice(pool), dice.getrandbits(48))[:MOST]
        if dice.random() < 0.02:
            pool = [*harness.seeds(), *pool[-200:], data]
        runs += 1
        try:
            harness.run(data)
        except Exception:
            (FOUND / name).mkdir(parents=True, exist_ok=True)
            (FOUND / name / hashlib.sha1(data, usedforsecurity=False).hexdigest()).write_bytes(data)
            raise
    print(f"Done {runs}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
