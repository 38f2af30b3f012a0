"""One request of both servers, and what differs.

What is not compared, and why: `Date` and the request id (there is no server in front of the app here, so neither is sent);
ids that the servers made while answering (the audit takes ids from the same source; they are numbered in the order in which
they appear). Nothing else: statuses, headers, bodies, totals, order, links with their sealed page tokens.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

from fhir_gateway import gate
from fhir_gateway.domain import consent
from fhir_gateway.domain.bundle import references
from fhir_gateway.domain.directory import DIRECTORY_TYPES, NO_PATIENT_DATA
from fhir_gateway.domain.grants import walk
from fhir_gateway.domain.types import Op, Put, Ref
from fhir_gateway.gate.context import ask_stored, rendering, stand, within_launch
from fhir_gateway.gate.reading import in_scope, reachable

from .building import play
from .requests import LOOKS, Asking, Request
from .sides import CAST, Ids, Reply, Shelf, Side, caller, fill, side, without
from .worlds import PATIENTS, Dice, World, a_world, turn

MADE = re.compile(r"n\d{6}")
NONCE = re.compile(r"(nonce[-=]\"?)[\w-]{22}\b")  # of each page anew
PAGES = 40


@dataclass
class Talk:
    """One side, and the names of what it made since."""

    side: Side
    names: dict[str, str] = field(default_factory=dict)
    compared: int = 0

    async def answer(self, request: Request) -> list[str]:
        """Every page of the answer, as text."""
        if request.method == "LOG":
            return await self._log(request.who)
        if request.method == "PAGE":
            return [NONCE.sub(r"\1", self._text(await self.side.page(request.who, request.path)))]
        out = []
        target, headers, body = self._own(request.path), list(request.headers), self._own(_raw(request)).encode()
        if request.edit or ("if-match", "current") in headers:
            seen = await self.side.ask(request.who, "GET", request.path)
            version = dict(seen.headers).get("etag", 'W/"7"')
            headers = [(k, _version(v, version)) if k == "if-match" else (k, v) for k, v in headers]
            if request.edit:
                body = _edited(request, seen)
        elif any(k == "if-match" for k, _ in headers):
            headers = [(k, _version(v, "")) if k == "if-match" else (k, v) for k, v in headers]
        method: str = request.method
        while True:
            reply = await self.side.ask(request.who, method, target, headers, body)
            out.append(self._text(reply))
            following = _next(reply)
            if following is None or len(out) >= PAGES:
                return out
            method, target, body, headers = "GET", following, b"", []

    def _text(self, reply: Reply) -> str:
        told = f"{reply.status}\n" + "\n".join(f"{k}: {v}" for k, v in reply.headers) + "\n\n" + reply.body.decode("utf-8", "replace")
        return self._named(told)

    async def _log(self, who: str) -> list[str]:
        """What the person is told of who looked, a few rows a page."""
        out: list[str] = []
        before = None
        while len(out) < PAGES:
            ctx = await context_of(self.side, who)
            rows = await gate.who_looked(ctx, str(ctx.actor.patient).removeprefix("Patient/"), before=before, count=7)
            out.append(self._named("200\n" + "\n".join(map(str, rows))))
            if len(rows) < 7:
                break
            before = rows[-1]["before"]
        return out

    def _named(self, told: str) -> str:
        return MADE.sub(lambda m: self.names.setdefault(m.group(), f"#{len(self.names):05d}"), told)

    def _own(self, text: str) -> str:
        return text


def _raw(request: Request) -> str:
    if isinstance(request.body, str):
        return request.body
    return "" if request.body is None else json.dumps(request.body)


def _version(wanted: str, current: str) -> str:
    return current if wanted == "current" else f'W/"{wanted}"'


def _edited(request: Request, seen: Reply) -> bytes:
    type, _, id = request.path.partition("/")
    try:
        resource: dict[str, Any] = json.loads(seen.body)
    except ValueError:
        resource = {}
    if resource.get("resourceType") != type or request.edit == "fresh":
        resource = {"resourceType": type, "id": id, "status": "active", "subject": {"reference": "Patient/p1"}}
    if request.edit == "language":
        resource["language"] = "en-GB"
    if request.edit == "status" and "status" in resource:
        resource["status"] = "completed"
    return json.dumps(resource).encode()


def _next(reply: Reply) -> str | None:
    if not reply.body or b'"next"' not in reply.body:
        return None
    body = json.loads(reply.body)
    url = next((link["url"] for link in body.get("link", ()) if link.get("relation") == "next"), None)
    return None if url is None else f"{urlsplit(url).path}?{urlsplit(url).query}"


def writes(request: Request) -> bool:
    if "/$meta-" in request.path:
        return True
    return request.method not in ("GET", "HEAD", "LOG", "PAGE") and "$" not in request.path and "_search" not in request.path


@dataclass
class Case:
    """A world, a reader and what they ask."""

    world: World
    who: str
    requests: list[Request]
    own: bool = False
    at: timedelta = timedelta(0)

    def __str__(self) -> str:
        return "\n".join(map(str, (*self.world.steps, f"-- then {self.who} (own kept: {self.own}, after {self.at}):", *self.requests)))


# -- what one reader may not see --------------------------------------------------------------------------------------


@dataclass
class Unseen:
    """What is hidden; and what is not, by the reason it is seen for where that is one of REASONS."""

    hidden: set[Ref]
    versions: set[tuple[Ref, int]]
    seen: int
    by: dict[str, set[Ref]] = field(default_factory=dict)


REASONS = ("emergency", "claim", "urgent care")


async def context_of(here: Side, who: str) -> gate.Context:
    return await gate.enter(here.house, caller(CAST[who]))


async def unseen(here: Side, who: str, refs: dict[Ref, int]) -> Unseen:
    """By the plain decision on each resource and on each version."""
    ctx = await context_of(here, who)
    hidden: set[Ref] = set()
    versions: set[tuple[Ref, int]] = set()
    store = here.house.store
    by: dict[str, set[Ref]] = {}
    for ref, latest in refs.items():
        now = await store.get(ref)
        if now is None or not await _may(ctx, now):
            hidden.add(ref)
            continue
        reason = await _reason(ctx, now)
        if reason:
            by.setdefault(reason, set()).add(ref)
        for n in range(1, latest):
            then = await store.version(ref, n)
            if then is not None and not await _may(ctx, then):
                versions.add((ref, n))
    return Unseen(hidden, versions, len(refs) - len(hidden), by)


async def _reason(ctx: gate.Context, stored: Any) -> str:
    """One of REASONS, when it would be hidden without."""
    decision = await ask_stored(ctx, "access", stored)
    if decision.basis == "break-glass":
        return "emergency"
    if decision.rule == "urgent care":
        return "urgent care"
    if decision.rule != "relationship" or not stored.facts.patients:
        return ""
    standings = await stand(ctx.house, stored.facts.patients)
    without = {p: replace(s, relationships=tuple(r for r in s.relationships if r.origin != "claim")) for p, s in standings.items()}
    return "" if consent.decide(ctx.asks("access"), stored.facts, without).permit else "claim"


async def _may(ctx: gate.Context, stored: Any) -> bool:
    return (await ask_stored(ctx, "access", stored)).permit and within_launch(ctx, "r", stored.facts) and in_scope(ctx, "r", stored)


async def stays(here: Side, case: Case, hidden: set[Ref]) -> set[Ref]:
    """Hidden, and yet read by what is no question of reading: in a case that writes the people whom one may write for without
    reading them, who is who (where a sign-in's scope hides the directory), what a consent speaks of by `related` (its references
    decide), and, with `own`, what a conditional create may find because this writer made it."""
    ctx = await context_of(here, case.who)
    out = set()
    standings = await stand(here.house, [f"Patient/{p}" for p in PATIENTS])
    named = {name for s in standings.values() for g in s.grants for rule in walk(g.root) for name in rule.related}
    for ref in hidden:
        stored = await here.house.store.get(ref)
        if stored is None:
            continue
        if ref.type == "Patient" and any(writes(r) for r in case.requests):
            out.add(ref)
        if (ref.type in DIRECTORY_TYPES and not stored.facts.patients) or str(ref) in named or (case.own and stored.created_by == ctx.actor.user):
            out.add(ref)
    return out


async def as_shown(here: Side, who: str, ops: Sequence[Op]) -> list[Op]:
    """What was committed, where it points to no more of the directory than this reader is shown of it: what a view takes out was never there."""
    ctx = await context_of(here, who)
    return [replace(o, facts=replace(o.facts, refs=await _refs_shown(ctx, o))) if isinstance(o, Put) and o.facts.patients else o for o in ops]


async def _refs_shown(ctx: gate.Context, put: Put) -> frozenset[str]:
    directory = {r for r in put.facts.refs if r.split("/")[0] in NO_PATIENT_DATA}
    stored = await ctx.house.store.version(put.ref, put.version) if directory else None
    if stored is None:
        return put.facts.refs
    named = set(references(json.loads((await rendering(ctx, stored))[0])))
    return put.facts.refs - {r for r in directory if r not in named}


# -- one comparison ---------------------------------------------------------------------------------------------------


@dataclass
class Difference:
    case: Case
    request: str
    full: list[str]
    reduced: list[str]
    between: str

    def __str__(self) -> str:
        lines = [f"SEED={self.case.world.seed} differs ({self.between}) for {self.case.who} at: {self.request}"]
        for n, (a, b) in enumerate(zip([*self.full, *[""] * 9], [*self.reduced, *[""] * 9], strict=False)):
            if a != b:
                at = next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
                lines += [f"page {n}, character {at}:", f"  {self.between.split(' and ')[0]}: {a[:12]!r} … {a[max(0, at - 300) : at + 300]!r}",
                          f"  {self.between.split(' and ')[1]}: {b[:12]!r} … {b[max(0, at - 300) : at + 300]!r}"]  # fmt: skip
                break
        return "\n".join(lines)


@dataclass
class Counted:
    """What a run was about: otherwise it would say little."""

    worlds: int = 0
    requests: int = 0
    hidden: int = 0
    seen: int = 0
    showing: dict[str, int] = field(default_factory=dict)  # answers that name something seen for one of REASONS, pages and operations with something
    statuses: dict[str, int] = field(default_factory=dict)


Pair = tuple[Shelf, Shelf]
Spoil = Callable[[str, list[Op], set[Ref]], list[Op]]  # of the whole or the reduced server what it holds, made wrong on purpose


async def differs(case: Case, scratch: Shelf, pairs: dict[str, Pair], count: Counted | None = None, spoil: Spoil | None = None) -> Difference | None:
    """Ask the whole server and the reduced one, on each engine; the first difference, None without any."""
    played = await play(case.world, scratch)
    at = played.at + case.at
    whole = side(scratch.store, Ids("n"), at)
    found = await unseen(whole, case.who, played.refs)
    kept = await stays(whole, case, found.hidden)
    gone = found.hidden - kept
    shown = await as_shown(whole, case.who, played.ops)
    logged = any(r.method in ("LOG", "PAGE") for r in case.requests)
    answers: dict[str, list[list[str]]] = {}
    for engine, (full, reduced) in pairs.items():
        for shelf, of, ops in ((full, "whole", played.ops), (reduced, "reduced", shown)):
            notes: list[Op] = [*(played.notes if of == "whole" else without(played.notes, found.hidden))] if logged else []
            await fill(shelf, [*(spoil(of, ops, gone) if spoil else ops), *notes])
        reduced.remove(gone, found.versions)
        here, there = (Talk(side(s.store, Ids("n"), at)) for s in (full, reduced))
        if spoil is None:
            await _same_question(here.side, there.side, case.who, set(played.refs) - gone)
        answers[engine] = []
        for request in case.requests:
            a, b = await here.answer(request), await there.answer(request)
            answers[engine].append(a)
            if a != b or a[-1][0] == "5":
                return Difference(case, str(request), a, b, f"{engine} whole and {engine} reduced")
            if count is not None:
                count.requests += 1
                told = f"{request.method} {a[0][:3]}"
                count.statuses[told] = count.statuses.get(told, 0) + 1
                for what in _shows(request, a, found):
                    count.showing[what] = count.showing.get(what, 0) + 1
            if any(s.side.alarms for s in (here, there)):
                return Difference(case, str(request), [*here.side.alarms], [*there.side.alarms, "alarm"], f"{engine} whole and {engine} reduced")
            if writes(request):
                opened = await _opened(here.side, case.who, gone)
                if opened:  # from here on the other server would have to hold it
                    break
                for look in LOOKS:
                    asked = Request(case.who, "GET", look)
                    c, d = await here.answer(asked), await there.answer(asked)
                    if c != d:
                        return Difference(case, f"{request}\n   and then {asked}", c, d, f"{engine} whole and {engine} reduced")
    if count is not None:
        count.worlds += 1
        count.hidden += len(gone)
        count.seen += found.seen
    engines = list(answers)
    for other in engines[1:]:
        for request, a, b in zip(case.requests, answers[engines[0]], answers[other], strict=False):
            if a != b:
                return Difference(case, str(request), a, b, f"{engines[0]} and {other}")
    return None


def _shows(request: Request, answer: list[str], found: Unseen) -> Iterator[str]:
    """What of interest this answer carries."""
    if answer[0][:2] != "20":
        return
    text = "\n".join(answer)
    ids = {reason: any(str(r) in text for r in refs) for reason, refs in found.by.items()}
    yield from (reason for reason, named in ids.items() if named)
    path = request.path.partition("?")[0]
    if request.method == "PAGE":
        yield f"page {'my plan' if path == '/my-plan' else path.split('/')[1] + (' person' if '/people/' in path else '')}"
        yield from (f"page under {reason}" for reason, refs in found.by.items() if any(r.id in path for r in refs if r.type == "Patient"))
    elif "$" in path:
        operation = path.rpartition("/")[2]
        if operation != "$preview" or '"opens"' in text or '"closes"' in text:
            yield operation
    elif path.startswith("/patients"):
        yield f"{request.method} {path.rpartition('/')[2]}"


async def _opened(here: Side, who: str, gone: set[Ref]) -> set[Ref]:
    ctx = await context_of(here, who)
    found = await here.house.store.get_many(sorted(gone))
    return {r for r, s in found.items() if await _may(ctx, s)}


async def _same_question(here: Side, there: Side, who: str, left: set[Ref]) -> None:
    """The premise: both decide from the same facts, and decide the same of what both have."""
    people = [f"Patient/{p}" for p in PATIENTS]
    assert _known(await stand(here.house, people)) == _known(await stand(there.house, people)), "the same is known about everybody"
    a, b = await context_of(here, who), await context_of(there, who)
    assert a.actor == b.actor
    assert await reachable(a) == await reachable(b), "the same people are within reach"
    ours, theirs = await here.house.store.get_many(sorted(left)), await there.house.store.get_many(sorted(left))
    assert ours.keys() == theirs.keys()
    for ref, stored in ours.items():
        assert await ask_stored(a, "access", stored) == await ask_stored(b, "access", theirs[ref]), ref


def _known(standings: Any) -> str:
    return "\n".join(f"{p}: {s}" for p, s in sorted(standings.items()))


READERS = ("patient", "patient", "proxy", "gp", "gp", "nurse", "social-worker", "link-worker", "stranger", "hospital", "hospital", "other-patient", "patient", "narrow", "narrower", "app", "feed", "stranger", "medic", "medic")


def a_case(seed: int, refs: Sequence[Ref], *, asks: int = 14, size: int = 26) -> Case:
    world = a_world(seed, size)
    dice = Dice(seed + 1)
    opened = [s.who for s in world.steps if s.path.startswith("/patients")]  # in an emergency, or because they say they look after somebody
    who = dice.choice(opened) if opened and dice.one_in(2) else dice.choice(READERS)
    who = {"emergency": opened[-1:], "claim": opened[-1:], "urgent care": ["medic"], "owner": ["patient"]}.get(turn(seed), [who])[0]
    own = dice.one_in(3)
    hand = {"feed": "hospital", "app": "patient", "narrow": "gp", "narrower": "gp"}.get(who, who)
    mine = [Ref(s.path, s.name) for s in world.steps if s.who == hand and s.method == "POST" and s.name]
    asking = Asking(dice, who, refs, mine, own_kept=own)
    requests = [asking.read() for _ in range(asks)]
    if who == hand != "hospital":
        requests += [asking.page() for _ in range(6 if hand in ("patient", "other-patient") else 3)]
    if who in ("patient", "other-patient", "proxy", "app"):  # who may ask about others
        requests += [asking.preview(), asking.preview(), asking.explain(asking.any_ref())]
    if who in ("patient", "other-patient"):  # their page, which has no narrower sign-in
        requests.append(asking.request("LOG", ""))
    if any(s.path == "Location" for s in world.steps):
        requests += asking.whole()
    if dice.one_in(2):
        for _ in range(dice.randint(1, 5)):
            requests += [asking.write()] * dice.choice((1, 1, 1, 2))
    requests += asking.in_turn(turn(seed))
    later = dice.choice((timedelta(0), timedelta(hours=1), timedelta(days=1)))
    return Case(world, who, requests, own, min(later, timedelta(hours=1)) if turn(seed) == "emergency" else later)


def refs_of(world: World) -> list[Ref]:
    """What a world would have if nothing of it was refused."""
    made = [Ref(s.path, s.name) for s in world.steps if s.method == "POST" and s.name]
    return [*dict.fromkeys(made), Ref("Organization", "gp"), Ref("Practitioner", "gp")]


def case_of(seed: int, **sizes: int) -> Case:
    return a_case(seed, refs_of(a_world(seed, sizes.get("size", 26))), **sizes)


async def smaller(difference: Difference, scratch: Shelf, pairs: dict[str, Pair], spoil: Spoil | None = None) -> Difference:
    """The same failure with as little as it takes: requests first, then steps of the world."""
    best = difference
    for name in ("requests", "steps"):
        at = 0
        while True:
            case = best.case
            items: list[Any] = case.requests if name == "requests" else case.world.steps
            if at >= len(items):
                break
            less = items[:at] + items[at + 1 :]
            if name == "requests":
                tried = Case(case.world, case.who, less, case.own, case.at)
            else:
                tried = Case(World(case.world.seed, less), case.who, case.requests, case.own, case.at)
            found = await differs(tried, scratch, pairs, spoil=spoil)
            if found is not None:
                best = found
            else:
                at += 1
    return best


__all__ = ["Case", "Counted", "Difference", "Op", "case_of", "differs", "smaller"]
