"""Mutate, ask both, show what differs.

    make oracle [N=2000] [SEED=...]            N mutations; without a seed a new one is taken, and printed
    make oracle SEED=abc CASE=17               one case again: what it was, what both said
    make oracle EXAMPLES=1 [PAGE=FILE.md]      the examples as they are; a page of those that are refused
    make oracle PROFILES=1 [N=... | EXAMPLES=1] what declares a profile, both sides knowing UK Core, PCO, SDC and ours

Each case is made from the seed and its number alone. Progress is on stderr, the report on stdout. 1 when a difference is not explained,
2 when HL7's validator cannot be had here.
"""

from __future__ import annotations

import argparse
import json
import secrets
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

from rich.console import Console
from rich.progress import Progress

from fhir_gateway.definitions import load_r4

from ..conftest import ROOT, SHARED
from . import asking, mutating, peer, profiled
from .bases import Bases
from .explained import why
from .shrinking import shrunk

Case = dict[str, Any]
Answer = dict[str, Any]
KEPT = ROOT / ".work/oracle-differences.jsonl"
ANSWERS = 0.3  # of the cases are Questionnaires and responses


def case(bases: Bases, seed: str, n: int) -> Case:
    """The n-th case of a seed."""
    rnd = Random(f"{seed}/{n}")
    if rnd.random() < ANSWERS:
        kind, questionnaire, response = asking.asked(rnd, f"http://q.test/{seed}/{n}")
        if kind == "questionnaire":
            return {"id": n, "kind": kind, "base": "", "resource": questionnaire}
        return {"id": n, "kind": kind, "base": "", "resource": response, "questionnaire": questionnaire}
    base, resource = bases.pick(rnd)
    kind, changed = mutating.mutated(bases.r4, rnd, resource)
    return {"id": n, "kind": kind, "base": base, "resource": changed}


def line(case: Case) -> Case:
    return {k: case[k] for k in ("id", "resource", "questionnaire", "profile") if k in case}


class Both:
    def __init__(self, ours: peer.Validator, hl7: peer.Validator) -> None:
        self.ours, self.hl7 = ours, hl7

    def ask(self, cases: list[Case], doing: str) -> Iterator[tuple[Answer, Answer]]:
        with Progress(console=Console(stderr=True), transient=True) as progress:
            task = progress.add_task(doing, total=len(cases))
            lines = [line(c) for c in cases]
            for pair in zip(self.ours.ask(lines), self.hl7.ask(lines), strict=True):
                progress.advance(task)
                yield pair

    def one(self, case: Case) -> tuple[Answer, Answer]:
        (ours,), (hl7,) = self.ours.ask([line(case)]), self.hl7.ask([line(case)])
        return ours, hl7

    def shrink(self, case: Case, ours: Answer, hl7: Answer) -> tuple[Case, Answer, Answer]:
        side = 1 if ours["valid"] else 0
        reasons = _reasons((ours, hl7)[side])
        count = 0

        def differs(smaller: Case) -> bool:
            nonlocal count
            count += 1
            if "questionnaire" in smaller:  # a Questionnaire once known stays known: each try has its own address
                url = f"{case['questionnaire']['url']}/{count}"
                before = case["questionnaire"]["url"]
                smaller = json.loads(json.dumps(smaller).replace(json.dumps(before)[:-1], json.dumps(url)[:-1]))
            pair = self.one(smaller)
            return bool(pair[0]["valid"] != pair[1]["valid"] and pair[side]["valid"] is False and reasons & _reasons(pair[side]))

        small = shrunk(case, differs)
        return small, *self.one(small)


def _reasons(answer: Answer) -> set[str]:
    return {str(i.get("key") or i["message"].partition("`")[0])[:40] for i in answer["issues"] if i["severity"] in ("error", "fatal")}


def _group(ours: Answer, hl7: Answer) -> str:
    who, answer = ("HL7", hl7) if ours["valid"] else ("ours", ours)
    first = next(i for i in answer["issues"] if i["severity"] in ("error", "fatal"))
    return f"{who}: {first.get('key') or ''} {first['message'][:110]}"


def errors(answer: Answer) -> list[str]:
    return [f"{i['location']}: {i['message']} [{i.get('key') or i['code']}]" for i in answer["issues"] if i["severity"] in ("error", "fatal")]


def show(case: Case, ours: Answer, hl7: Answer, note: str = "") -> None:
    print(f"\n#{case['id']}  {case['kind']}  {case['base']}{note}{'  against ' + case['profile'] if 'profile' in case else ''}")
    print(f"   ours: {'valid' if ours['valid'] else 'INVALID'}; HL7: {'valid' if hl7['valid'] else 'INVALID'}")
    for who, answer in (("ours", ours), ("HL7", hl7)):
        for said in errors(answer)[:4]:
            print(f"   {who}: {said[:300]}")
    for name in ("questionnaire", "resource"):
        if name in case:
            print(f"   {name}: {json.dumps(case[name], ensure_ascii=False)[:1500]}")


def page(rows: list[tuple[Case, Answer, Answer]]) -> str:
    """docs/validation-examples.md: every example that one of the two refuses, with the first reason."""
    def cell(text: str) -> str:
        return " ".join(text.split()).replace("|", "/")[:160]

    refused = [(c["base"], errors(ours)[0]) for c, ours, _ in rows if not ours["valid"]]
    theirs: dict[str, list[str]] = {}
    for c, ours, hl7 in rows:
        if ours["valid"] and not hl7["valid"]:
            theirs.setdefault(why(c, ours, hl7) or cell(errors(hl7)[0]), []).append(c["base"])
    alone = sum(hl7["valid"] and not ours["valid"] for _, ours, hl7 in rows)
    both = sum(not hl7["valid"] and not ours["valid"] for _, ours, hl7 in rows)
    return "\n".join([
        "# Examples that are refused", "",
        f"Made by `make oracle EXAMPLES=1 PAGE=docs/validation-examples.md`: {len(rows)} resources of `../shared/data` (R4, SDC, PCO, Gravity and UK Core",
        f"examples, the definitions of SDC, PCO and UK Core, Interweave's, and what could be cut out of the large Bundles). Refused by both: {both}. Refused by us",
        f"and accepted by HL7's validator: {alone}. Refused by HL7's validator and accepted by us: {sum(map(len, theirs.values()))}, listed by reason at the end.", "",
        "## Refused here", "", "| resource | first reason |", "|---|---|", *(f"| `{name}` | {cell(said)} |" for name, said in refused), "",
        "## Refused by HL7's validator only", "",
        *(line for reason, names in sorted(theirs.items(), key=lambda t: -len(t[1])) for line in (f"### {len(names)}: {reason}", "", ", ".join(f"`{n}`" for n in names), "")),
    ]) + "\n"  # fmt: skip


def compare(both: Both, cases: list[Case], most: int, written: str = "") -> int:
    """Ask both of all, report. The number of differences that are not explained; all differences are kept whole in `.work/`."""
    total: Counter[str] = Counter()
    same: Counter[str] = Counter()
    refused: Counter[bool] = Counter()
    reasons: Counter[str] = Counter()
    open_ones, differing = [], []
    rows = [(c, *answers) for c, answers in zip(cases, both.ask(cases, "Asking both"), strict=True)]
    if written:
        Path(written).write_text(page(rows))
    for c, ours, hl7 in rows:
        total[c["kind"]] += 1
        same[c["kind"]] += ours["valid"] == hl7["valid"]
        if hl7["valid"]:
            refused[ours["valid"]] += 1
        if ours["valid"] != hl7["valid"]:
            known = why(c, ours, hl7)
            differing.append((c, ours, hl7, known))
            if known:
                reasons[known] += 1
            else:
                open_ones.append((c, ours, hl7))
    with open(KEPT, "w") as kept:
        for c, ours, hl7, known in differing:
            kept.write(json.dumps({"case": c, "ours": errors(ours), "hl7": errors(hl7), "why": known}) + "\n")
    for c, ours, hl7 in open_ones[:most]:
        small, a, b = both.shrink(c, ours, hl7)
        if known := why(small, a, b):
            reasons[known] += 1
            open_ones = [o for o in open_ones if o[0] is not c]
        else:
            show(small, a, b)
    print("\nkind of mutation           cases   same")
    for kind in sorted(total):
        print(f"{kind:24} {total[kind]:7d} {same[kind]:6d}{'' if same[kind] == total[kind] else f'  {total[kind] - same[kind]} differ'}")
    print(f"{'in all':24} {total.total():7d} {same.total():6d}  {same.total() / max(total.total(), 1):.2%}")
    print(f"valid by HL7's validator {refused.total():7d}; refused by ours {refused[False]}")
    if reasons:
        print("\ndifferences that are explained:")
        for reason, count in reasons.most_common():
            print(f"{count:5d}  {reason}")
    groups = Counter(_group(ours, hl7) for _, ours, hl7 in open_ones)
    if groups:
        print("\ndifferences that are not explained, by what the one that refuses says first:")
        for said, count in groups.most_common():
            print(f"{count:5d}  {said}")
    print(f"\ndifferences that are not explained: {len(open_ones)}" + (f" (the first {most} are shown)" if len(open_ones) > most else ""))
    return len(open_ones)


Make = tuple[Callable[[str, int], Case], Callable[[], Iterator[Case]], int]  # the n-th of a seed; the examples as they are; how many


def _plain(data: Path) -> Make:
    bases = Bases(data, load_r4())

    def examples() -> Iterator[Case]:
        for n, (name, resource) in enumerate(bases.every()):
            yield {"id": n, "kind": name.partition("/")[0], "base": name, "resource": resource}

    return lambda seed, n: case(bases, seed, n), examples, len(bases)


def _profiled(data: Path) -> Make:
    bases = profiled.Profiled(data, load_r4())

    def examples() -> Iterator[Case]:
        for n, (name, resource, profile) in enumerate(profiled.every(data)):
            yield {"id": n, "kind": name.partition("/")[0], "base": name, "resource": resource, **({"profile": profile} if profile else {})}

    return bases.case, examples, len(bases)


def main() -> int:
    asked = argparse.ArgumentParser(prog="make oracle", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--n", type=int, default=2000)
    asked.add_argument("--seed", default="")
    asked.add_argument("--case", type=int, default=None)
    asked.add_argument("--examples", action="store_true", help="the examples as they are, not mutated")
    asked.add_argument("--profiles", action="store_true", help="what declares a profile, with the definitions of UK Core, PCO, SDC and ours")
    asked.add_argument("--page", default="", help="where to write the page of refused examples")
    asked.add_argument("--most", type=int, default=60, help="differences shown in full")
    options = asked.parse_args()
    data = SHARED / "data"
    if not data.is_dir():
        print("oracle: ../shared/data is not here: only what is grown from the R4 tables is judged.", file=sys.stderr)
    seed = options.seed or secrets.token_hex(4)
    known = profiled.folder(data, ROOT / ".work/definitions") if options.profiles else None
    try:
        with peer.hl7(known) as hl7, peer.ours(sys.executable, known) as ours:
            both = Both(ours, hl7)
            make, examples, size = _profiled(data) if options.profiles else _plain(data)
            if options.case is not None:
                c = make(seed, options.case)
                show(c, *both.one(c))
                return 0
            if not options.examples:
                print(f"seed {seed}, {options.n} cases, {size} resources to mutate", file=sys.stderr)
            cases = list(examples()) if options.examples else [make(seed, n) for n in range(options.n)]
            print(f"make oracle {'PROFILES=1 ' if options.profiles else ''}{'EXAMPLES=1' if options.examples else f'N={options.n} SEED={seed}'}")
            return 1 if compare(both, cases, options.most, options.page) else 0
    except peer.Absent as absent:
        print(f"oracle: {absent}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
