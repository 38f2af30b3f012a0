"""Who looks after this person, from the very facts that decide about access."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from ... import gate
from ...domain.periods import instant, micros
from ...domain.standing import Relationship
from ...gate import Context
from ...gate.context import directory_now, stand
from .because import OUTSIDE
from .names import bodies, names, own_id, own_ids
from .words import _, day, moment

ORIGINS: dict[str, str] = {
    "team": "They are written down in your team",
    "practitioner": "You are registered with them",
    "task": "They have a task to do for you",
    "referral": "Somebody sent you to them",
    "claim": "They said that they look after you",
}


KEPT = "They wrote it or keep it themselves"


@dataclass
class Entry:
    """All that makes one organisation or person able to see something."""

    names: set[str] = field(default_factory=set)
    related: list[Relationship] = field(default_factory=list)
    kept_since: int | None = None
    out: bool = False  # taken out of an agreement on sharing: nothing but what they wrote is open to them


async def carers(ctx: Context, refused: set[str], *, only_named: bool = False) -> list[dict[str, Any]]:
    """Everybody who can see something without being chosen, one entry each, from the very facts that decide: who, what, why, since
    when, until when, added by whom. `key` is who they are to `gate.counted`.

    The person is never one of them: a Task that is theirs to do opens nothing to anybody else.

    `refused`: whom the person has said no to already. `only_named`: the person chose that only those they name see anything.
    """
    me = f"Patient/{own_id(ctx)}"
    directory, _epoch = await directory_now(ctx.house)
    now = micros(ctx.at)
    entries: dict[frozenset[str], Entry] = {}

    def entry(called: Iterable[str]) -> Entry:
        given = set(called)
        places = {o for o in map(directory.find, given) if o is not None and o in directory.organisations}
        found = entries.setdefault(frozenset(places) or frozenset(given), Entry())
        found.names |= given | {i for o in places for i in (o, *directory.organisations[o].identifiers)}
        found.out = bool(found.names) and all(directory.taken_out(n, now) for n in places or given)
        return found

    known_of, mine = await stand(ctx.house, [me]), await _own_names(ctx)
    for r in [r for record in sorted(ctx.answers_for) if record in known_of for r in known_of[record].relationships]:
        if (r.high is None or r.high >= now) and not r.names & mine:
            entry(r.names).related.append(r)
    for who, since in (await gate.keepers(ctx)).items():
        entry([who]).kept_since = since
    writers = {w for e in entries.values() for r in e.related for w in (r.writer, r.writer_organisation or "")}
    known = await names(ctx, {n for e in entries.values() for n in e.names} | writers)
    shown = [e for e in entries.values() if e.kept_since is not None or _counting(e) or known.keys() & e.names]
    return sorted((_carer(e, known, me, refused, only_named) for e in shown), key=lambda c: (c["waits"], c["who"].lower()))


async def _own_names(ctx: Context) -> set[str]:
    """All that the person is called by in references: their records, and the identifiers of these."""
    ids = own_ids(ctx)
    held = [i for body in await bodies(ctx, "Patient", [("_id", ids), ("_count", "50")]) for i in body.get("identifier", [])]
    return {f"Patient/{id}" for id in ids.split(",")} | {f"{i['system']}|{i['value']}" for i in held if i.get("system") and i.get("value")}


async def in_emergency(ctx: Context) -> list[dict[str, Any]]:
    """Who has opened this record in an emergency that is under way; nobody where telling the person would endanger them."""
    me = f"Patient/{own_id(ctx)}"
    known_of = await stand(ctx.house, [me])
    each = [e for record in ctx.answers_for if record in known_of for e in known_of[record].emergencies]
    current = [] if known_of[me].no_notify else [e for e in each if e.expires >= ctx.at]
    known = await names(ctx, {n for e in current for n in (e.user, e.organisation or "")})
    found = [
        {"who": ", ".join(known[n] for n in (e.user, e.organisation) if n in known) or _("Somebody we have no name for"), "key": e.user,
         "why": f"“{e.reason}”", "until": moment(e.expires)}
        for e in current
    ]  # fmt: skip
    return sorted(found, key=lambda e: e["who"])


async def urgent_care(ctx: Context, refused: set[str]) -> list[dict[str, Any]]:
    """The organisations that may see a few things in an emergency without looking after the person, and whether she said no to them."""
    directory, _epoch = await directory_now(ctx.house)
    places = {o for o in map(directory.find, ctx.house.policy.urgent_care) if o is not None and o in directory.organisations}
    known = await names(ctx, places)
    found = [(known[o], o, bool(refused & {o, *directory.organisations[o].identifiers})) for o in places if o in known]
    return [{"who": name, "ref": ref, "no": no} for name, ref, no in sorted(found)]


def _counting(e: Entry) -> list[Relationship]:
    """Those that open something now. It never counts for whoever wrote it."""
    return [r for r in e.related if r.counts and (r.origin == "claim" or not {r.writer, r.writer_organisation or ""} & e.names)]


def _carer(e: Entry, known: Mapping[str, str], me: str, refused: set[str], only_named: bool) -> dict[str, Any]:
    who = ", ".join(sorted({known[n] for n in e.names if n in known}))
    system = any(n.startswith("Device/") for n in e.names)
    counting = _counting(e)
    shown = counting or e.related
    lows = [r.low for r in shown if r.low is not None] + ([e.kept_since] if e.kept_since is not None else [])
    ends = [r.high for r in shown] if e.kept_since is None else [None]
    refs = sorted(n for n in e.names if n in known)
    no = bool(refused & e.names)
    waits = not counting and e.kept_since is None
    return {
        "who": who or (_("A computer system") if system else _("Somebody we have no name for")),
        "what": _("Nothing: you said no") if no else _("Only what you choose to share with them") if only_named else "\n".join(dict.fromkeys(_what(e, counting))),
        "why": "\n".join(dict.fromkeys(_why(e, shown, refused))),
        "since": day(instant(min(lows))) if lows else "",
        "until": day(instant(max(h for h in ends if h is not None))) if ends and None not in ends else "",
        "added": "\n".join(dict.fromkeys(_added(r, known, me) for r in shown)), "no": no, "waits": waits,
        "claims": [r.source.removeprefix("claim ") for r in counting if r.origin == "claim"],
        "ref": refs[0] if refs and not waits and not no else "",
        "key": next((n for n in refs if "/" in n and "|" not in n), refs[0] if refs else sorted(e.names)[0]),
    }  # fmt: skip


def why_here(carer: Mapping[str, Any]) -> str:
    """Below the name of one of `carers`, where somebody is chosen: in a few words why they are offered."""
    if carer["waits"]:
        return _("has not said yes to looking after you yet")
    return _("looks after you") if carer["added"] else _("wrote in your record")


def _what(e: Entry, counting: list[Relationship]) -> Iterator[str]:
    if e.out:
        yield _(OUTSIDE)
    elif any(not r.consent_needed for r in counting):
        yield _("Your plan, but not what is marked as private")
    elif counting:
        yield _("Only what you choose to share with them")
    if e.kept_since is not None:
        yield _("What they wrote or keep themselves, also the private parts")
    if counting or e.kept_since is not None:
        return
    for r in e.related:
        if r.origin in ("task", "referral"):
            yield _("Only what they were asked to do. They have not said yes to it yet")
        else:
            yield _("Nothing yet: {why}").format(why=_(WAITING.get(r.why, "they have not said yes to this")))


def _why(e: Entry, shown: list[Relationship], refused: set[str]) -> Iterator[str]:
    """Why they are here; not in the words of somebody the person said no to."""
    for r in shown:
        why = _(ORIGINS.get(r.origin, "They look after you"))
        yield f"{why}: {r.reason}" if r.reason and not refused & {*e.names, r.writer, r.writer_organisation or ""} else why
    if e.kept_since is not None:
        yield _(KEPT)


def _added(r: Relationship, known: Mapping[str, str], me: str) -> str:
    writer = _("You") if r.writer == me else known.get(r.writer) or known.get(r.writer_organisation or "") or _("a care service")
    return _("{who}, on {day}").format(who=writer, day=day(instant(r.low))) if r.low is not None else writer


WAITING: dict[str, str] = {
    "they have not accepted": "they have not said yes to this",
    "whoever wrote it could not refer": "whoever wrote this may not add people",
    "who named them is not known": "we do not know who wrote this",
}
