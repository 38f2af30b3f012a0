"""What consent costs: the compiled query beside the unfiltered one, the check of a read, and whether either grows with the house.

`python -m benchmarks.consent`: real SQLite in a temporary file, 10 resources a person. CPU time of this process, medians; the two
queries of a line are asked in turn. Prints the table and keeps it in `benchmarks/consent.md`.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

from fhir_gateway.domain import consent, reach
from fhir_gateway.domain.periods import micros
from fhir_gateway.domain.provisions import parse
from fhir_gateway.domain.search import Query
from fhir_gateway.domain.standing import Relationship, Standing
from fhir_gateway.domain.types import Actor, Always, Ask, Facts, Has, Key, Predicate, Put, Ref, Writer
from fhir_gateway.domain.vocabulary import ACT_CODE, HL7, POLICY_SYSTEM, RESOURCE_TYPES
from fhir_gateway.store import sqlite
from fhir_gateway.store.base import Store

PAGE = Path(__file__).with_name("consent.md")
NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
EACH = 10  # resources of one person, all of them CarePlans
CASELOAD = 200
GP = Actor("professional", frozenset({"Practitioner/gp", "Organization/surgery"}), "Practitioner/gp", sector="health", organisation="Organization/surgery")
ASK = Ask(GP, "access", NOW)
PLANS = Query(("CarePlan",))


def resource(person: int, n: int) -> Facts:
    """One in ten restricted, one in ten about mental health."""
    hard = frozenset({"PSY"}) if n == 7 else frozenset()
    return Facts(
        "CarePlan", f"{person}-{n}", (f"Patient/{person}",), "R" if hard or n == 3 else "N", hard, authors=frozenset({f"Practitioner/w{n % 4}"}),
        codes=frozenset({f"http://snomed.info/sct|{n}"}), refs=frozenset({f"Patient/{person}", f"Goal/{person}-{n}"}), updated=micros(NOW) - n * 10**10,
        low=micros(NOW) - n * 10**10, high=micros(NOW) - n * 10**10,
    )  # fmt: skip


def put(f: Facts) -> Put:
    body = b'{"resourceType":"CarePlan","id":"%s","status":"active","description":"%s"}' % (f.id.encode(), b"x" * 800)
    keys = (Key("patient", "reference", f.patients[0]), Key("status", "token", "active", "http://hl7.org/fhir/request-status"))
    return Put(Ref("CarePlan", f.id), 1, NOW, body, body, f, keys, Writer("Practitioner/w1"), 0)


def said(rules: list[dict[str, Any]], id: str, **root: Any) -> Any:
    return parse({
        "resourceType": "Consent", "status": "active", "scope": {"coding": [{"system": f"{HL7}/consentscope", "code": "patient-privacy"}]},
        "policyRule": {"coding": [{"system": POLICY_SYSTEM, "code": "uk-direct-care"}]}, "provision": {"provision": rules, **root},
    }, id, 1)  # fmt: skip


def to(name: str) -> list[dict[str, Any]]:
    return [{"role": {"coding": [{"system": f"{HL7}/v3-ParticipationType", "code": "IRCP"}]}, "reference": {"reference": name}}]


SHAPES: list[Callable[[int], list[dict[str, Any]]]] = [
    lambda n: [{"type": "deny", "code": [{"coding": [{"system": "http://snomed.info/sct", "code": "2"}]}]}],
    lambda n: [{"type": "permit", "actor": to("Practitioner/gp"), "securityLabel": [{"system": ACT_CODE, "code": "PSY"}]}],
    lambda n: [{"type": "deny", "dataPeriod": {"end": "2026-11-20"}}],
    lambda n: [{"type": "permit", "actor": to("Organization/charity"), "class": [{"system": RESOURCE_TYPES, "code": "CarePlan"}]}],
    lambda n: [{"type": "deny", "data": [{"meaning": "authoredby", "reference": {"reference": "Practitioner/w2"}}]}],
    lambda n: [{"type": "deny", "data": [{"meaning": "instance", "reference": {"reference": f"CarePlan/{n}-1"}}]}],  # each another
]


def standing(person: int) -> Standing:
    """Somebody of the GP's; three in ten have said something, in one of six shapes."""
    grants = (said(SHAPES[person // 10 % 6](person), f"c{person}"),) if person % 10 < 3 else ()
    return Standing(f"Patient/{person}", grants, relationships=(Relationship(frozenset({"Organization/surgery"}), "task", "Task/1"),))


def outspoken(consents: int, share: int) -> Standing:
    """One person with so many consents, in all the shapes; one in `share` of them speaks to this asker, the others name somebody else."""
    def rules(n: int) -> list[dict[str, Any]]:
        return SHAPES[n // share % 6](n) if n % share == 0 else [{**r, "actor": to(f"Practitioner/o{n}")} for r in SHAPES[n % 6](n)]

    others = [said(rules(n), f"m{n}") for n in range(consents)]
    return Standing("Patient/0", tuple(others), relationships=(Relationship(frozenset({"Organization/surgery"}), "task", "Task/1"),))


async def fill(store: Store, low: int, high: int) -> None:
    for start in range(low, high, 50):
        await store.commit(*(put(resource(p, n)) for p in range(start, min(start + 50, high)) for n in range(EACH)))


def micro(what: Callable[[], Any], times: int, rounds: int = 15) -> float:
    """Microseconds of CPU for one, median of the rounds."""
    found = []
    for _ in range(rounds):
        begun = time.process_time()
        for _ in range(times):
            what()
        found.append((time.process_time() - begun) / times * 1e6)
    return median(found)


async def in_turn(*asks: Callable[[], Any], rounds: int = 15) -> list[float]:
    """Milliseconds of CPU for each, asked in turn, medians."""
    found: list[list[float]] = [[] for _ in asks]
    for _ in range(rounds + 2):
        for ask, times in zip(asks, found, strict=True):
            begun = time.process_time()
            await ask()
            times.append((time.process_time() - begun) * 1e3)
    return [median(t[2:]) for t in found]


def about(people: dict[str, Standing]) -> Predicate:
    """The same people, unfiltered."""
    return Has("patient", frozenset(people))


async def team_search(store: Store) -> list[str]:
    people = {s.patient: s for s in map(standing, range(CASELOAD))}
    cold = micro(lambda: [s.memo.clear() for s in people.values()] and reach.scope(ASK, people), 3, 7) / 1e3
    warm = micro(lambda: reach.scope(ASK, people), 3, 7) / 1e3
    compiled = reach.scope(ASK, people)
    lines = [
        f"- compiling the predicate for {CASELOAD} people: {cold:.1f} ms when nothing is remembered, {warm:.2f} ms when each person's part is",
        "",
        "| team search | unfiltered, ms | compiled, warm, ms | ratio | compiled anew each time, ms | ratio |",
        "|---|---|---|---|---|---|",
    ]
    for name, count in (("first page of 50", 50), ("everything", CASELOAD * EACH), ("only counted", 0)):
        async def plain(count: int = count) -> Any:
            return await store.search(PLANS, about(people), filtered=Always(), count=count, total=not count)

        async def under(count: int = count) -> Any:
            return await store.search(PLANS, compiled, filtered=Always(), count=count, total=not count)

        async def anew(count: int = count) -> Any:
            return await store.search(PLANS, reach.scope(ASK, people), filtered=Always(), count=count, total=not count)

        a, b, c = await in_turn(plain, under, anew, rounds=41)
        one, other = await plain(), await under()
        found = (one.total, other.total) if not count else (len(one.hits), len(other.hits))
        lines.append(f"| {name} ({found[0]} and {found[1]} found) | {a:.2f} | {b:.2f} | {b / a:.2f} | {c:.2f} | {c / a:.2f} |")
    hits = (await store.search(PLANS, compiled, filtered=Always(), count=50)).hits
    again = micro(lambda: [consent.decide(ASK, h.facts, people) for h in hits], 1)
    return [*lines, "", f"- deciding the 50 hits of a page again: {again / 1e3:.2f} ms ({again / 50:.1f} us each)"]


def checks() -> list[str]:
    head = "| consents of the person | one in ten speaks to this asker, us | every one does, us | and a third are about this very resource, us | the first after a change, us |"
    lines = [head, "|---|---|---|---|---|"]
    for consents in (0, 1, 10, 100, 500):
        cells = []
        for share in (10, 1):
            one, facts = outspoken(consents, share), resource(0, 1)
            known = {"Patient/0": one}
            consent.decide(ASK, facts, known)
            cells.append(micro(lambda facts=facts, known=known: consent.decide(ASK, facts, known), 200))
        hit = resource(0, 2)  # of the code and by the author that are denied
        cells.append(micro(lambda hit=hit, known=known: consent.decide(ASK, hit, known), 200))
        cold = micro(lambda one=one, facts=facts, known=known: [one.memo.clear(), consent.decide(ASK, facts, known)], 5)
        lines.append(f"| {consents} | {cells[0]:.1f} | {cells[1]:.1f} | {cells[2]:.1f} | {cold:.0f} |")
    return lines


async def growing(store: Store, sizes: list[int]) -> list[str]:
    lines = ["| people in the store | check of a read, us | read of one, with its facts, us | search of one person's plans, ms |", "|---|---|---|---|"]
    have = 0
    for size in sizes:
        await fill(store, have, size)
        have = size
        people = {s.patient: s for s in map(standing, range(size))}
        every = [resource(p, 1) for p in range(0, size, max(1, size // 100))]
        for f in every:
            consent.decide(ASK, f, people)
        check = micro(lambda every=every, people=people: [consent.decide(ASK, f, people) for f in every], 5) / len(every)
        one = {"Patient/7": people["Patient/7"]}
        compiled = reach.scope(ASK, one)

        async def get(size: int = size) -> Any:
            for p in range(0, size, max(1, size // 100)):
                await store.get(Ref("CarePlan", f"{p}-1"))

        async def search(compiled: Predicate = compiled) -> Any:
            return await store.search(PLANS, compiled, filtered=Always(), count=50)

        reads, searched = await in_turn(get, search, rounds=25)
        lines.append(f"| {size:,} | {check:.1f} | {reads * 1e3 / len(every):.0f} | {searched:.2f} |")
    return lines


async def measure(sizes: list[int]) -> str:
    model = next((line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line), "unknown")
    with tempfile.TemporaryDirectory() as folder:
        store = await sqlite.open(Path(folder) / "consent.sqlite", clock=lambda: NOW)
        grown = await growing(store, sizes)
        team = await team_search(store)
        await store.close()
    where = f"{os.cpu_count()} x {model}, Python {platform.python_version()}, load {os.getloadavg()[0]:.0f} (others at work on the same machine)"
    return "\n".join([
        "# What consent costs", "", f"Made by `python -m benchmarks.consent` on {datetime.now(UTC):%Y-%m-%d}, {where}. CPU time of the process, medians; the queries of",
        f"a line are asked in turn. SQLite in a file, {sizes[-1] * EACH:,} resources of {sizes[-1]:,} people. Nothing timed is asserted in tests.", "",
        "## A team's caseload", "", f"{CASELOAD} people; three in ten have said something, in one of six shapes, one of them another for each person. The bound is 2.",
        "Unfiltered is the same search of the same 200 people's CarePlans through the same code, with no condition but whose they are: so it finds the",
        "hidden ones too, and a count of it looks at each resource (deleted or not). Warm: the predicate is there, its statement prepared. Anew: it is",
        "compiled from the standings for every search, as a request does; reading the standings is in neither. MongoDB is not measured here.", "",
        *team, "", "## The check of a read", "", "The bound is 30 us at 500 consents. A check remembers, for one asker, which rules speak to them, until a period begins or ends.",
        "The first after a change, or by another asker, works that out: it costs more than the bound from about ten consents on.", "",
        *checks(), "", "## From 100 to 10,000 people", "", *grown, "",
    ])  # fmt: skip


def main() -> None:
    ask = argparse.ArgumentParser(description=__doc__)
    ask.add_argument("--people", type=int, nargs="*", default=[100, 1_000, 10_000])
    ask.add_argument("--print", action="store_true", help="keep no page")
    given = ask.parse_args()
    text = asyncio.run(measure(given.people))
    print(text)
    if not given.print:
        PAGE.write_text(text)


if __name__ == "__main__":
    main()
