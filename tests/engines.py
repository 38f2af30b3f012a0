"""The two engines of consent against each other on as many random worlds as wanted: `python -m tests.engines --n 1000000`.

World number N of a seed is always the same world. It prints how far it is, keeps its place in `--keep` (run again, it goes on
there), and ends with 1 at the first difference, naming the world: `--only N` asks that one alone.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fhir_gateway.domain import consent, predicate, reach
from fhir_gateway.domain.types import Decision

from .worlds import Dice, a_world

EVERY_SECONDS = 10.0


class Differ(AssertionError):
    """The engines gave two answers."""


@dataclass
class Tally:
    """How far it is. `answers` counts requests by basis, permit or deny."""

    seed: int = 0
    worlds: int = 0
    consents: int = 0
    requests: int = 0
    seconds: float = 0.0
    answers: Counter[str] = field(default_factory=Counter)


def agree(number: int | str, seed: int = 0) -> list[tuple[Decision, int]]:
    """The decisions of this world with how many consents were in play. Differ when the predicate says otherwise, in any form."""
    ask, known, resources = a_world(Dice(f"{seed} {number}"))
    reached = reach.scope(ask, known)
    smaller = predicate.simplify(reached)
    spoken = sum(len(s.grants) + len(s.broken) for s in known.values())
    out = []
    for facts in resources:
        decided = consent.decide(ask, facts, known)
        only = predicate.simplify(reached, frozenset({facts.type}))
        for name, form in (("predicate", reached), ("simplified", smaller), ("simplified for the type", only)):
            if predicate.matches(form, facts) != decided.permit:
                raise Differ(f"world {number} of seed {seed}: {name} says {not decided.permit}, decide says {decided}, of {facts}")
        out.append((decided, spoken))
    return out


def run(wanted: int, seed: int, keep: Path | None, seconds: float = float("inf")) -> Tally:
    """Worlds until there were `wanted` consents and as many requests, or the time is over."""
    tally = _kept(keep, seed)
    start = told = time.monotonic()
    before = tally.seconds
    while tally.consents < wanted or tally.requests < wanted:
        for decided, _ in (answers := agree(tally.worlds, seed)):
            tally.answers[f"{decided.basis} {'permit' if decided.permit else 'deny'}"] += 1
        tally.worlds += 1
        tally.requests += len(answers)
        tally.consents += answers[0][1] if answers else 0
        now = time.monotonic()
        tally.seconds = before + now - start
        if now - told > EVERY_SECONDS:
            told = now
            print(f"{tally.worlds:,} worlds, {tally.consents:,} consents, {tally.requests:,} requests, 0 differences", file=sys.stderr)
            _keep(keep, tally)
        if now - start > seconds:
            break
    _keep(keep, tally)
    return tally


def _kept(keep: Path | None, seed: int) -> Tally:
    if keep is None or not keep.exists():
        return Tally(seed)
    held: dict[str, Any] = json.loads(keep.read_text())
    if held["seed"] != seed:
        raise SystemExit(f"{keep} is of seed {held['seed']}, not {seed}: name another file with --keep")
    return Tally(**{**held, "answers": Counter(held["answers"])})


def _keep(keep: Path | None, tally: Tally) -> None:
    if keep is not None:
        keep.parent.mkdir(parents=True, exist_ok=True)
        keep.write_text(json.dumps(tally.__dict__))


def main() -> int:
    ask = argparse.ArgumentParser(description=__doc__)
    ask.add_argument("--n", type=int, default=1_000_000, help="so many consents, and so many requests")
    ask.add_argument("--seed", type=int, default=0)
    ask.add_argument("--keep", type=Path, default=None, help="a file that keeps the place")
    ask.add_argument("--seconds", type=float, default=float("inf"), help="stop after so long")
    ask.add_argument("--only", type=int, help="ask this one world, and print its decisions")
    given = ask.parse_args()
    try:
        if given.only is not None:
            print(*(d for d, _ in agree(given.only, given.seed)), sep="\n")
            return 0
        tally = run(given.n, given.seed, given.keep, given.seconds)
    except Differ as found:
        print(found)
        return 1
    print(json.dumps({**tally.__dict__, "seconds": round(tally.seconds), "answers": dict(sorted(tally.answers.items())), "differences": 0}))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
