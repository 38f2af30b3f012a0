"""The operator's lists of whatever waits for a person, each with its reason and what can be done; nothing of anybody's content.

A partner's own words may quote a record, so a reason is its status, the codes of its issues and the elements they name. docs/sync.md
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import Any, Final

import msgspec

from ..domain import bundle, strict
from ..domain.problem import Problem
from ..domain.reasons import UNSURE, elements, message_words, reason, refused, words
from ..domain.types import Drop, Keep, Note, Op, Place, Ref
from ..store.base import Fenced
from . import ended
from .addressed import MET
from .context import Context, Remote, note
from .disclosing import may_send, owner_of
from .proving import need_proof
from .pushing import inbox
from .raising import seen_to
from .settling import conflicts
from .subscriber_states import subscriber_states

MOST: Final = 10_000
LONGEST: Final = 500  # characters of a reason
BATCH: Final = 100  # entries that are queued again in one commit
PARKED, SKIPPED = "parked", "skipped"
GONE: Final = "they say that it is gone"
RECALLS: Final = frozenset({"recall", "review", "deleted"})  # why an entry is there, of one that takes a copy back


# -- seen -------------------------------------------------------------------------------------------------------------


async def everything(ctx: Context, *, content: bool = False, most: int = MOST) -> list[dict[str, Any]]:
    """`{kind, id, remote, ref, at, why, words, tries, can}` of whatever waits, by partner, oldest first. For an operator: Problem forbidden.

    Of what a partner refused at most `most` of each state, and what is to be taken back rather than the rest: for each consent is asked (`totals`
    counts all).

    `kind`: parked, skipped, recall (parked, and to be taken back), quarantine, conflict, identity (who somebody is there), dropped, inbox.
    `why` is a status, codes and elements; `words` says it plainly (domain/reasons.py), "" where `why` does.
    `can`: retry, skip, gone, ours, theirs, replay, end; `command` where one, and no button, is the way on. With `content` also what a partner or a sender said, and bodies, which is written down as
    a look at the record of each person whom it is about; of what is in quarantine, too, its name `here` and those `people`.
    """
    _operates(ctx)
    out: list[dict[str, Any]] = []
    for remote in ctx.house.remotes:
        out += [*await _parked(ctx, remote, content, most), *await _quarantined(ctx, remote, content), *await _unsure(ctx, remote), *await _dropped(ctx, remote)]
    for c in await conflicts(ctx, content=content):
        why = "deleted there, not here" if c["winner"] == "deleted" else f"both changed {', '.join(elements(c['paths']))}"
        more = {"version": c["version"]} | ({k: c[k] for k in ("ours", "theirs")} if content else {})
        out.append(_line("conflict", c["id"], c["remote"], c["ref"], c["at"], why, 1, "ours", "theirs") | more)
    for i in await inbox(ctx):
        out.append(message(i) | ({"outcome": i["outcome"], "body": i["body"]} if content else {}))
    if content:
        await ctx.house.store.commit(*[row for i in out if i["kind"] != "conflict" for row in await _looked(ctx, i)])  # of conflicts it is written down
    return out


def message(i: Mapping[str, Any]) -> dict[str, Any]:
    """The line of one message of those that `gate.inbox` lists: refused, or taken and in need of somebody (`command`) all the same."""
    why, said = reason(i["status"], i["outcome"]), i.get("words") or message_words(i["status"], i["outcome"])
    if "command" in i:
        return _line("inbox", i["id"], i["client"], "", i["at"], why, 1, "end", words=said) | {"command": i["command"]}
    return _line("inbox", i["id"], i["client"], "", i["at"], why, 1, "replay", "end", words=said)


async def _looked(ctx: Context, item: Mapping[str, Any]) -> list[Note]:
    """A row for each person whose record this shows, or one that says that it names nobody here. Names are those here, never a partner's."""
    ref = str(item["here"] if item["kind"] == "quarantine" else item["ref"])
    stored = await ctx.house.store.get(Ref(*ref.split("/"))) if ref else None
    people = dict.fromkeys([*(stored.facts.patients if stored is not None else ()), *item.get("people", ())])
    if item["kind"] == "inbox" and isinstance(item["body"], dict):
        named = {Ref(*r.split("/")) for r in bundle.references(item["body"]) if r.startswith("Patient/") and r.count("/") == 1}
        people |= dict.fromkeys(map(str, await ctx.house.store.get_many(sorted(named))))
    detail = f"what waits: {item['kind']}" + ("" if people or ref else ", which names nobody here")
    return [note(ctx, "R", "read", None, (ref,) if ref else (), patient=p, allowed=True, detail=detail) for p in people or (None,)]


async def totals(ctx: Context) -> dict[str, int]:
    """`{recall, parked, skipped}`: how many there are, as the store counts. `recall`: what was queued to take a copy back; of `parked`
    more may come to be that, where consent has changed."""
    _operates(ctx)
    out = dict.fromkeys(("recall", PARKED, SKIPPED), 0)
    for remote in ctx.house.remotes:
        for (state, why), (n, _) in (await ctx.house.store.outbox_unfinished(remote.name)).items():
            if state == PARKED:
                out["recall" if why in RECALLS else PARKED] += n
        out[SKIPPED] += (await ctx.house.store.outbox(remote.name)).get(SKIPPED, 0)
    return out


async def not_configured(ctx: Context) -> list[dict[str, Any]]:
    """`{remote, queued, parked, skipped, withheld, quarantine, identity}` of whoever is in the settings no more and has something that waits: nothing of
    it can be seen to until they are again. Problem forbidden."""
    _operates(ctx)
    store, names = ctx.house.store, {remote.name for remote in ctx.house.remotes}
    known = [await store.kept_all(kind, ctx.at) for kind in (MET, "identity")]
    others = {key.split(" ")[0] for keys in known for key in keys}
    out = []
    for name in sorted(others - names):
        states = await store.outbox(name)
        found = {s: states.get(s, 0) for s in ("queued", PARKED, SKIPPED, "withheld")} | {k: await store.kept_count(k, ctx.at, f"{name} ") for k in ("quarantine", "identity")}
        found["queued"] += states.get("leased", 0)
        if any(n for s, n in found.items() if s not in (SKIPPED, "withheld")):
            out.append({"remote": name, **found})
    return out


async def one(ctx: Context, kind: str, id: str) -> dict[str, Any] | None:
    """The line of one item, as in `everything`; None where it waits no more. Problem forbidden."""
    _operates(ctx)
    if kind in ("recall", PARKED, SKIPPED):
        found = [i for r in ctx.house.remotes for i in await _parked(ctx, r, False, 1, id)]
    else:
        found = await everything(ctx, most=0)
    return next((i for i in found if (i["kind"], i["id"]) == (kind, id)), None)


async def queues(ctx: Context) -> list[dict[str, Any]]:
    """`{remote, organisation, withheld, parked, skipped}` of each partner; how far it is, `sync.status.going` says."""
    _operates(ctx)
    out = []
    for remote in ctx.house.remotes:
        states = await ctx.house.store.outbox(remote.name)
        out.append({"remote": remote.name, "organisation": remote.organisation, **{s: states.get(s, 0) for s in ("withheld", PARKED, SKIPPED)}})
    return out


async def subscribers(ctx: Context) -> list[dict[str, Any]]:
    """Who asked to be told of changes and how far they are (`subscriber_states`), without who it is about; those that are not well first."""
    _operates(ctx)
    found = [{k: v for k, v in s.items() if k != "patients"} for s in await subscriber_states(ctx.house)]
    return sorted(found, key=lambda s: (s["status"] == "active" and not s["failures"], s["client"], s["id"]))


def _line(kind: str, id: str, remote: str, ref: str, at: str, why: str, tries: int, *can: str, words: str = "") -> dict[str, Any]:
    return {"kind": kind, "id": id, "remote": remote, "ref": ref, "at": at, "why": why, "words": words, "tries": tries, "can": list(can)}


async def _parked(ctx: Context, remote: Remote, content: bool, most: int, id: str | None = None) -> list[dict[str, Any]]:
    """At most `most` of each state, in the order of `everything`; with `id` that entry alone."""
    out = []
    for state in (PARKED, SKIPPED):
        items = [i for i in await ctx.house.store.outbox_items(remote.name, state, MOST) if id in (None, str(i["entry"]))] if most else []
        first = sorted(items, key=lambda i: i["why"] not in RECALLS)[:most]
        for item in sorted(first, key=lambda i: int(i["entry"])):
            kept = await ctx.house.store.kept(PARKED, f"{remote.name} {item['ref']}", ctx.at)
            said = strict.decode(kept) if kept is not None else {}
            status = int(said.get("status", 0))
            why = str(said.get("text", "")) if said and not status else reason(status, said.get("outcome")) or item["detail"][:3]
            recall = state == PARKED and await _taken_back(ctx, remote, item)
            can = ("retry",) if state == SKIPPED else ("retry", "gone") if recall else ("retry", "skip")
            plain = refused(status) if status else ""
            if state == SKIPPED and (over := await _ended(ctx, remote.name, item)) is not None:
                why, plain = f"{GONE}, said on {over[1].at:%Y-%m-%d}", ""
            at = str(said.get("at") or item["queued_at"].isoformat())
            line = _line("recall" if recall else state, str(item["entry"]), remote.name, item["ref"], at, why, item["tries"], *can, words=plain)
            out.append(line | ({"said": said.get("text", ""), **({"outcome": said["outcome"]} if "outcome" in said else {})} if content else {}))
    return out


async def _taken_back(ctx: Context, remote: Remote, item: Mapping[str, Any]) -> bool:
    """Is this entry there to take a copy back: then nobody may leave it out; it is ended (`gone`) where they say that it is done."""
    if item["why"] in RECALLS:
        return True
    stored = await ctx.house.store.get(Ref(*item["ref"].split("/")))
    if stored is None or stored.deleted:
        return True
    return not (await may_send(await owner_of(ctx.house, remote), remote, stored)).permit


class _Refused(msgspec.Struct):
    """What is in quarantine, without its body."""

    id: str
    at: str
    outcome: Any
    item: str = ""
    tries: int = 1
    kind: str = ""
    holds: dict[str, str] = {}


async def _quarantined(ctx: Context, remote: Remote, content: bool) -> list[dict[str, Any]]:
    out = []
    async for _, raw in ctx.house.store.kept_each("quarantine", ctx.at, f"{remote.name} "):
        i = msgspec.json.decode(raw, type=_Refused)
        more = strict.decode(raw) if content else {}
        line = _line("quarantine", i.item or i.id, remote.name, i.id, i.at, reason(0, i.outcome), i.tries, "replay", words=words(i.kind, i.outcome)) | {"holds": bool(i.holds)}
        out.append(line | ({"outcome": more["outcome"], "body": more["body"], "here": more.get("ref", ""), "people": more.get("people", [])} if content else {}))
    return sorted(out, key=lambda i: str(i["at"]))


async def _unsure(ctx: Context, remote: Remote) -> list[dict[str, Any]]:
    """Whose record there is not sure (`sync.identity`): settled by the command that names who it is."""
    kept = await ctx.house.store.kept_all("identity", ctx.at, f"{remote.name} ")
    items = sorted((msgspec.json.decode(v, type=dict[str, Any]) for v in kept.values()), key=lambda d: str(d["at"]))
    lines = [_line("identity", d["id"], remote.name, d["ref"], d["at"], str(d["why"]), 1, words=UNSURE.get(str(d["why"]), "")) for d in items]
    return [line | {"command": settled_by(line["ref"], remote.name)} for line in lines]


def settled_by(person: str, remote: str) -> str:
    """The command that has this person (`Patient/id`) looked at again there, once what was wrong is put right."""
    return f"fhir-gateway patients settle {person} {remote}"


async def _dropped(ctx: Context, remote: Remote) -> list[dict[str, Any]]:
    kept = await ctx.house.store.kept_all("dropped", ctx.at, f"{remote.name} ")
    names = {key: key.rpartition(" ")[2] for key in kept}
    return [_line("dropped", path, remote.name, "", kept[key].decode(), "its server does not keep this element", 1) for key, path in sorted(names.items())]


# -- acted on ---------------------------------------------------------------------------------------------------------


async def retry(ctx: Context, ids: Sequence[str] = ()) -> dict[str, int]:
    """Queue these parked or skipped entries again, or all that are parked; how many, by partner. BATCH of them, and the row of each, are one
    commit: a stop leaves the rest parked. Problem: forbidden, not-found."""
    await _acts(ctx, "trying again what was refused")
    chosen: list[tuple[Remote, str, list[dict[str, Any]], set[str]]] = []
    for remote in ctx.house.remotes:
        for state in (PARKED, SKIPPED) if ids else (PARKED,):
            items = await ctx.house.store.outbox_items(remote.name, state, MOST)
            mine = [i for i in items if not ids or str(i["entry"]) in ids]
            stay = {i["ref"] for i in items if ids and str(i["entry"]) not in ids}  # of these it is still to be said why
            chosen.append((remote, state, mine, stay))
    if missing := set(ids) - {str(i["entry"]) for _, _, items, _ in chosen for i in items}:
        raise Problem("not-found", f"Nothing that was refused waits as {', '.join(sorted(missing))}.")
    parked = {(r.name, ref) for r, state, _, stay in chosen if state == PARKED for ref in stay}
    done = {r.name: 0 for r in ctx.house.remotes}
    for remote, state, items, _ in chosen:
        for at in range(0, len(items), BATCH):
            done[remote.name] += await _queued(ctx, remote, state, items[at : at + BATCH], parked, quietly=not ids)
    if not ids and any(done.values()) and any(len(items) == MOST for _, _, items, _ in chosen):  # there were more
        for name, n in (await retry(ctx)).items():
            done[name] += n
    return done


async def _ended(ctx: Context, remote: str, item: Mapping[str, Any]) -> tuple[bytes, ended.Ended] | None:
    """What ended this entry, as it is kept, where it took a copy back."""
    raw = await ctx.house.store.kept(ended.KIND, f"{remote} {item['ref']}", ctx.at)
    said = msgspec.json.decode(raw, type=ended.Ended) if raw is not None else None
    return (raw, said) if raw is not None and said is not None and said.entry == item["entry"] else None


async def _queued(
    ctx: Context, remote: Remote, state: str, items: Sequence[Mapping[str, Any]], parked: Collection[tuple[str, str]], *, quietly: bool
) -> int:
    """These entries and their rows in one commit; how many. Where somebody was quicker with one of them, one by one: that one is not
    counted (`quietly`), or a Problem not-found."""
    people = await ctx.house.store.get_many([Ref(*i["ref"].split("/")) for i in items])
    ops: list[Op] = []
    for i in items:
        stored = people.get(Ref(*i["ref"].split("/")))
        person = next(iter(stored.facts.patients), None) if stored is not None else None
        over = [] if (remote.name, i["ref"]) in parked else [Drop(PARKED, f"{remote.name} {i['ref']}")]
        if state == SKIPPED and (said := await _ended(ctx, remote.name, i)) is not None:
            over.append(Drop(ended.KIND, f"{remote.name} {i['ref']}", if_value=said[0]))
        ops += [Place(i["entry"], state, "queued"), *over, _row(ctx, i["ref"], person, f"queued again for {remote.name}")]
    try:
        await ctx.house.store.commit(*ops)
    except Fenced:
        if len(items) > 1:
            return sum([await _queued(ctx, remote, state, [i], parked, quietly=quietly) for i in items])
        if not quietly:
            raise Problem("not-found", f"Nothing that was refused waits as {items[0]['entry']} any more.") from None
        return 0
    return len(items)


async def skip(ctx: Context, id: str, why: str) -> None:
    """Close a parked entry as skipped: this change is not sent, a later one is. Not what is to be taken back. Undone by `retry`.

    Problem: forbidden, not-found, business-rule.
    """
    await _acts(ctx, "leaving out what was refused")
    _said(why)
    item = await one(ctx, PARKED, id)
    if item is not None:
        await _leave(ctx, item, f"skipped: {why.strip()} for {item['remote']}")
    elif await one(ctx, "recall", id) is not None:
        raise Problem("business-rule", "This takes back a copy that may no longer be there, so it is not left out: have it deleted there by hand, then try again, or say that it is gone.")
    else:
        raise Problem("not-found", f"Nothing that was refused waits as {id[:40]}.")


async def gone(ctx: Context, id: str, why: str, also: Callable[[str, Ref], Awaitable[Sequence[Op]]]) -> None:
    """End a recall that we cannot see to ourselves, because they say there that the copy, or what was written here, is gone. The ledger's row
    stays open, the person reads `why`, and nobody asks for it any more. `also`, of its partner and name, is committed with it. Undone by `retry`.

    Problem: forbidden, not-found, business-rule.
    """
    await _acts(ctx, "ending a recall")
    _said(why)
    item = await one(ctx, "recall", id)
    if item is None:
        raise Problem("not-found", f"Nothing that is to be taken back waits as {id[:40]}.")
    name, ref = str(item["remote"]), Ref(*item["ref"].split("/"))
    stored, link = await ctx.house.store.get(ref), await ctx.house.store.link(name, ref)
    person = next(iter(stored.facts.patients), None) if stored is not None else None
    said = ended.Ended(ctx.at, why.strip(), person, int(id), link.etag if link is not None else "")
    over = [Keep(ended.KIND, f"{name} {ref}", msgspec.json.encode(said)), *await seen_to(ctx.house, name, int(id)), *await also(name, ref)]
    await _leave(ctx, item, f"recall ended, {GONE}: {said.why} at {name}", *over)


async def _leave(ctx: Context, item: Mapping[str, Any], what: str, *also: Op) -> None:
    """A parked entry is closed, with its row. Problem not-found where somebody was quicker."""
    stored = await ctx.house.store.get(Ref(*item["ref"].split("/")))
    person = next(iter(stored.facts.patients), None) if stored is not None else None
    try:
        await ctx.house.store.commit(Place(int(item["id"]), PARKED, SKIPPED), _row(ctx, item["ref"], person, what), *also)
    except Fenced:
        raise Problem("not-found", f"Nothing that was refused waits as {item['id']} any more.") from None


async def resends(ctx: Context, remote: str, why: str) -> Note:
    """The row of what an operator may have done: what a partner lost is sent again. Problem: forbidden, business-rule."""
    await _acts(ctx, "sending again what a partner lost")
    _said(why)
    return note(ctx, "U", "sync", None, (), allowed=True, detail=f"what {remote} has lost is sent again: {why.strip()}")


async def moves(ctx: Context, remote: str, first: str, now: str, why: str) -> Note:
    """The row of what an operator says: a partner's server is the same one at another address. Problem: forbidden, business-rule."""
    await _acts(ctx, "saying where a partner is")
    _said(why)
    return note(ctx, "U", "sync", None, (), allowed=True, detail=f"{remote} was at {first} and is the same server at {now}: {why.strip()}")


async def end(ctx: Context, id: str, why: str) -> None:
    """Take a message out of the inbox unwritten: it was settled otherwise. Problem: forbidden, not-found, business-rule."""
    await _acts(ctx, "ending a message")
    _said(why)
    item = next((i for i in await inbox(ctx) if i["id"] == id), None)
    if item is None:
        raise Problem("not-found", "There is no such message in the inbox.")
    await ctx.house.store.commit(Drop("inbox", item["key"]), note(ctx, "D", "transaction", None, allowed=True, detail=f"ended in the inbox, from {item['client']}: {why.strip()}"))


def _row(ctx: Context, ref: str, person: str | None, what: str) -> Note:
    return note(ctx, "U", "sync", None, (ref,), patient=person, allowed=True, detail=what)


def _operates(ctx: Context) -> None:
    if not ctx.actor.operator:
        raise Problem("forbidden", "What waits is for an operator of this gateway.")


async def _acts(ctx: Context, why: str) -> None:
    _operates(ctx)
    await need_proof(ctx, "U", "sync", why)


def _said(why: str) -> None:
    if not why.strip() or len(why) > LONGEST:
        raise Problem("business-rule", f"Say why in `reason` (at most {LONGEST} characters).", "reason")


__all__ = ["end", "everything", "gone", "moves", "not_configured", "one", "queues", "resends", "retry", "skip", "subscribers", "totals"]
