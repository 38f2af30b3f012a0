"""What `sync status` and `sync run --once` say of a partner, in words: how far it is, and what to do about what waits."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from ..domain.reasons import elements
from ..remote.client import Down, Elsewhere, Locked, Refusal, Unknown
from ..sync.partner import Partner

WRONG: Final = (Down, Unknown, Locked, Refusal)
Said = Mapping[str, Any]  # what `sync.status.status` answers

WAITS: Final = {
    "parked": ("parked: that server refused it", "`fhir-gateway sync waiting` says why; then `sync retry [ID]` or `sync skip ID --reason TEXT`"),
    "conflicts": ("in conflict: both sides changed the same place", "`fhir-gateway sync conflicts`, then `sync resolve ID ours` (or `theirs`, or `merged FILE`)"),
    "quarantined": ("in quarantine: theirs broke a rule here", "`fhir-gateway sync waiting` says which; have it corrected there, or `sync replay ID FILE`"),
    "identity": ("of people of whom it is not sure who they are there", "`fhir-gateway patients waiting` says who; put it right, here or there, then `fhir-gateway patients settle PATIENT REMOTE`"),
    "recalls_open": ("still to be taken back", "`fhir-gateway sync recalls` says which; what is parked of it needs you: `sync retry [ID]`, or `sync gone ID --reason TEXT` once they say that it is gone"),
}

NOBODY: Final = (
    "nobody in the directory is the organisation of this remote, so nothing goes there: "
    "look at GATEWAY_REMOTE_ORGANISATION (`organisation` of its [[remote]])"
)
UNASKED: Final = "that server cannot be asked who is who: people are made there without looking, so somebody may be there twice (docs/sync.md, Who is who there)"
COUNTED: Final = {
    "parked": "parked", "conflicts": "in conflict", "quarantined": "in quarantine", "identity": "of unsure identity", "recalls_open": "still to be taken back",
    "missing": "not found there, seen once", "dropped": "not kept whole there", "unread": "times at which more changed there than can be read",
}  # fmt: skip
WAY: Final = {  # what can be done about what waits, by kind and act
    "retry": "`fhir-gateway sync retry {id}`", "skip": "`fhir-gateway sync skip {id} --reason TEXT`",
    "gone": "once they say that it is gone `fhir-gateway sync gone {id} --reason TEXT`",
    "ours": "`fhir-gateway sync resolve {id} ours` (or `merged FILE`)", "theirs": "`fhir-gateway sync resolve {id} theirs`",
    "quarantine replay": "`fhir-gateway sync replay {id}`, as it is there now, or corrected with a FILE",
    "inbox replay": "`fhir-gateway inbox replay {id}`, as it came, or corrected with a FILE", "end": "`fhir-gateway inbox end {id} --reason TEXT`",
    "identity": "`fhir-gateway patients waiting`, then `fhir-gateway patients settle PATIENT {remote}`",
    "dropped": "nothing is lost here; ask them whether it matters",
}  # fmt: skip
HELP: Final = {  # of the two ways what needs somebody goes first
    "locked": "See to our credentials there (`auth` of this remote); nothing is lost",
    "away": "See that the server runs and that its address is right; nothing is lost, and it is tried again",
    "asked-to-wait": "It asked us to wait; nothing is lost",
}
MOVED: Final = (
    "Nothing is asked of it, sent there, taken back or deleted, and what waits is kept. Where it is the same server, with the same records: `fhir-gateway sync moved {remote} --reason TEXT`. "
    "Where it is another one: put the old address back, and give the new server a [[remote]] with a `name` of its own; what went to the old one can be taken back there alone"
)


def lines(s: Said) -> list[str]:
    """How far it is, and a line of what to do for each thing that needs somebody."""
    behind = f"{s['queued']} to send, {s['lag_s']} s behind"
    how = "in step" if s["in_step"] else behind if s["queued"] else "quiet, but something waits for you" if s["quiet"] and not s["paused"] else "not in step"
    if not s["met"]:
        how = f"never met; {behind}" if s["queued"] else "never met"
    counted = ", ".join([f"{s['withheld']} withheld", *(f"{s[k]} {name}" for k, name in COUNTED.items() if s[k])])
    return [f"{s['remote']}: {how}; {counted}", *to_do(s)]


def to_do(s: Said) -> list[str]:
    """A line for each thing that needs somebody."""
    out = []
    if not s["organisation_known"]:
        out.append(NOBODY)
    if s["first_at"]:
        out.append(f"stands still: it {s['paused']}. {MOVED.format(remote=s['remote'])}")
    elif s["paused"]:
        again = f", next try {at(s['next_try'])}" if s["next_try"] else ""
        times = f"{s['failures']} failures in a row" if s["failures"] > 1 else "one failure"
        out.append(f"paused since {at(s['since'])}: {s['paused']}; {times}{again}. {HELP[next(k for k in HELP if k in s['state'])]}")
    out += [
        f"{h['entries']} held by a worker that last spoke at {h['spoke'][11:19]}, until {h['until'][11:19]} UTC: then another takes them, and what those people have waiting"
        for h in s["held"]
    ]
    if not s["first_sync"]:
        out.append("the first sync has not been done: `fhir-gateway sync run --dry-run` says what would go, `sync run --once` or a worker does it")
    if s["resending"]:
        out.append(f"what was lost there is being sent again, and that is not done: `fhir-gateway sync resend {s['remote']} --reason TEXT` goes on where it was")
    elif s["lost"]:
        lost = s["lost"]
        out.append(
            f"that server lists {lost['listed']} of the {lost['known']} that it is known to have, since {at(lost['since'])}; nothing is deleted here for it. "
            f"Ask them: where they lost them, `fhir-gateway sync resend {s['remote']} --reason TEXT` has them sent again; where they put them back, `sync run --once --sweep` says so"
        )
    if s["missing"]:
        out.append(f"{s['missing']} answered 404 there, seen once: counts as gone where it does so again after {s['missing_until'][:19]}. A worker, or `sync run --once` then, looks again")
    if s["identity_search"] is False:
        out.append(UNASKED)
    if s["unread"]:
        out.append(
            f"{s['unread']} times at which more changed there than their server lets us go through in one search: the rest cannot be read. "
            "Ask them to raise that limit (or write these again); then `fhir-gateway sync run --once --sweep` reads it"
        )
    left = {**s, "parked": s["parked"] - s["recalls_parked"]}  # what is to be taken back is not left out, and has a line of its own
    out += [f"{left[k]} {what}. {do}" for k, (what, do) in WAITS.items() if left[k] > 0]
    return [f"  {text}" for text in out]


def at(time: str | datetime) -> str:
    """`2026-11-26 15:49 UTC`, whoever reads it, wherever."""
    return f"{time:%Y-%m-%d %H:%M} UTC" if isinstance(time, datetime) else f"{time[:16].replace('T', ' ')} UTC"


def why(item: Said) -> str:
    """Why it waits, or would: in words, and the codes that say exactly which place."""
    plain, code = str(item.get("words") or "").removesuffix("."), str(item["why"])
    return f"{plain} ({code})" if plain and code else plain or code or "no reason given"


def waiting(item: Said) -> str:
    """One line of what waits: what and where, since when, why, and each way on."""
    what = " ".join(filter(None, (item["kind"], item["id"], f"{item['ref']} at {item['remote']}" if item["ref"] else f"from {item['remote']}")))
    ways = [WAY.get(f"{item['kind']} {act}") or WAY[act] for act in item["can"]] or [WAY[item["kind"]]]
    then = f"`{item['command']}`" if item.get("command") else "; or ".join(way.format(id=item["id"], remote=item["remote"]) for way in ways)
    held = " Until then nothing from here goes over it there." if item.get("holds") else ""
    return f"{what}, since {at(item['at'])}: {why(item)}.{held} To do: {then}"


def not_configured(n: Said) -> str:
    """One line of what waits of a partner that is in the settings no more."""
    how = {"queued": "wait to go there", "parked": "were refused there", "quarantine": "of theirs are in quarantine", "identity": "people of whom it is not sure who they are there"}
    some = ", ".join(f"{n[k]} {text}" for k, text in how.items() if n[k])
    return f"{n['remote']} is in the settings no more: {some}. To do: put it into the settings again to see to them"


def conflict(c: Said) -> str:
    """One line of a conflict, as `waiting` says it."""
    clash = "deleted there, not here" if c["winner"] == "deleted" else f"both changed {', '.join(elements(c['paths']))}"
    return waiting({"kind": "conflict", "why": clash, "can": ["ours", "theirs"], **{k: c[k] for k in ("id", "ref", "remote", "at")}})


CONTENT: Final = {"ours": "ours", "theirs": "theirs", "said": "they said", "outcome": "outcome", "body": "it says"}  # of an item, and how it is headed


def content(item: Said) -> list[str]:
    """A line for each element of what an item says; of two versions only where they differ. Whatever a partner wrote, no character of it moves a cursor."""
    told = {k: _elements(item[k]) for k in CONTENT if item.get(k)}
    if "ours" in told and "theirs" in told:
        told = {"ours": [e for e in told["ours"] if e not in told["theirs"]], "theirs": [e for e in told["theirs"] if e not in told["ours"]]}
    elif "ours" in told:
        told["theirs"] = ["deleted there"]
    return [f"    {CONTENT[k]}: {text}" for k, some in told.items() for text in some]


def _elements(value: Any, path: str = "") -> list[str]:
    """`description.text: "walk"`, `note[1].text: "..."`."""
    if isinstance(value, Mapping):
        return [line for k, v in value.items() for line in _elements(v, f"{path}.{k}".lstrip("."))]
    if isinstance(value, list):
        return [line for n, v in enumerate(value) for line in _elements(v, f"{path}[{n}]")]
    said = json.dumps(value, ensure_ascii=False) if not isinstance(value, str) or path else value
    return ["".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in (f"{path}: {said}" if path else said))]


def recall(item: Said) -> str:
    """One line of the ledger of what is, or was, to be taken back."""
    sent = f": {'they fetched it' if item['fetched'] else 'sent'} {at(item['sent'])}" if item["sent"] else ""
    if item["recalled"]:
        return f"{item['remote']}: {item['ref']}{sent}, taken back {at(item['recalled'])}"
    if not item["open"]:
        return f"{item['remote']}: {item['ref']}{sent}, ended ({item['why']})"
    do = "`fhir-gateway sync waiting` names each way on" if item["why"].startswith("parked") else "nothing, it is tried by itself; `fhir-gateway sync status` says how it goes there"
    return f"{item['remote']}: {item['ref']}{sent}, still to be taken back since {at(item['since'])}: {why(item)}. To do: {do}"


def resent(item: Said) -> list[str]:
    """What `sync resend` did, and what it did not."""
    did = f"{item['remote']}: {item['looked']} looked at, {item['queued']} queued again: a worker, or `fhir-gateway sync run --once`, sends what consent lets go"
    theirs = [f"  {ref}: began there and is there no more; it stays here and is not sent" for ref in item["theirs"]]
    return [did, *theirs, *([] if item["done"] else [f"  stopped: `fhir-gateway sync resend {item['remote']} --reason TEXT` goes on where it was"])]


def unreachable(partner: Partner, e: Exception) -> str:
    """One sentence of who did not answer as it should, where, and what to do."""
    if isinstance(e, Elsewhere):
        return f"{partner.name} ({partner.server.base}) {e}. {MOVED.format(remote=partner.name)}."
    kind = "locked" if isinstance(e, Locked) else "asked-to-wait" if isinstance(e, Down) and e.wait is not None else "away"
    return f"{partner.name} ({partner.server.base}) {e}. {HELP[kind]}."

__all__ = ["NOBODY", "WRONG", "conflict", "lines", "recall", "resent", "to_do", "unreachable", "waiting", "why"]
