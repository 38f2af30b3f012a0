"""`python -m tests.sim --seed N` tells the story of a seed again; `--seeds FROM-TO` tells many, and names those that end wrong."""

from __future__ import annotations

import argparse
import os
import sys


def _from_to(part: str) -> range:
    first, _, last = part.partition("-")
    return range(int(first), int(last or first) + 1)


def main() -> int:
    asked = argparse.ArgumentParser(prog="python -m tests.sim", description=__doc__)
    asked.add_argument("--seed", type=int, help="tell this one, with its log")
    asked.add_argument("--seeds", default="0-299", help="tell these, such as 0-299 or 0-299,4132")
    asked.add_argument("--acts", type=int, default=0, help="end after so many acts: to find where it goes wrong")
    asked.add_argument("--log", action="store_true", help="with its log where it ends wrong")
    given = asked.parse_args()
    if os.environ.get("PYTHONHASHSEED") != "0":  # the order of a set is part of the story
        os.execve(sys.executable, [sys.executable, "-m", "tests.sim", *sys.argv[1:]], {**os.environ, "PYTHONHASHSEED": "0"})
    from .story import ACTS, tell

    seeds = [given.seed] if given.seed is not None else [seed for part in given.seeds.split(",") for seed in _from_to(part)]
    failed = 0
    for seed in seeds:
        told = tell(seed, given.acts or ACTS)
        if given.seed is not None or (given.log and told.wrong):
            print("\n".join(told.lines))
        if told.wrong:
            failed += 1
            print(f"seed {seed} ends wrong; again: python -m tests.sim --seed {seed}", *told.wrong, sep="\n  ", flush=True)
    print(f"{len(seeds)} seeds told, {failed} ended wrong")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
