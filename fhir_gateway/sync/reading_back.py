"""A server may answer 200 and not keep everything: what it dropped is flagged once, with its path, for a person to see.

An answer may have no body, or say more than is kept. So only what was once seen there can be deleted there, and what is not there in the
version that we wrote was dropped, not deleted. docs/sync.md
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from ..domain import strict
from ..domain.entries import aligned
from ..domain.summary import is_subset
from ..domain.types import Keep, Linked, Op
from ..gate import House
from ..remote.client import Down, Locked, Refusal, Reply, Unknown
from .links import bare, changed, etag_of
from .partner import Partner
from .recognising import theirs_to_write

KIND = "dropped"  # kept: since when this element is dropped there, by `<remote> <Type.path>`
HELD = "held-there"  # kept: when this element was first seen to be kept there, by `<remote> <Type.path>`
_VERSION = re.compile(r'(?:W/)?"([A-Za-z0-9.-]{1,64})"')


async def seen(house: House, partner: Partner, name: str, reply: Reply, sent: Mapping[str, Any]) -> dict[str, Any] | None:
    """What that server has under this `Type/id` since it answered a write of ours: what it says; read there, where it says nothing, is known to
    drop some of this, or no feed would show it. None where that cannot be had, or is another version: then a feed shows it."""
    if reply.body is not None and not await _doubted(house, partner, sent, reply.body):
        return reply.body
    try:
        now = await partner.server.read(*name.split("/"))
    except (Down, Locked, Refusal, Unknown):  # it was written all the same
        return reply.body
    there = now.body or {}
    wrote, read = reply.etag or etag_of(reply.body or {}), now.etag or etag_of(there)
    if wrote != read if wrote and read else not less(sent, there):
        return reply.body
    await house.store.commit(*await _learned(house, partner, sent, there))
    return there


async def looked(house: House, partner: Partner, link: Linked, there: Mapping[str, Any]) -> None:
    """The state on which both sides agreed last is seen there: what it has not of what was agreed on, it never kept. Moved."""
    raw = link.base_received or link.base_sent
    if raw is None or theirs_to_write(link) or is_subset(there) or (await partner.met()).gateway:
        return
    held = strict.decode(raw)
    ops = await _learned(house, partner, held, there)
    if link.base_received is None or lost(held, there):
        ops += [changed(link, base_received=strict.dump(there)), *await flags(house, partner, held, there)]
    await house.store.commit(*ops)


async def agreed(house: House, partner: Partner, link: Linked, there: Mapping[str, Any]) -> dict[str, Any] | None:
    """What both sides agreed on last, without what that server never kept of it; None before that. `there` is what somebody made of it.

    Where it lacks something, the version that we wrote is read; where that cannot be, an element counts as kept that was once seen there, and
    never seen to be dropped. A gateway keeps what it says. Down, Locked.
    """
    raw = link.base_received or link.base_sent
    if raw is None:
        return None
    held = strict.decode(raw)
    if link.base_received == link.base_sent or theirs_to_write(link) or is_subset(there) or (await partner.met()).gateway:
        return held
    await house.store.commit(*await _learned(house, partner, held, there))
    gone = lost(held, there)
    if not gone:
        return held
    named = _VERSION.fullmatch(link.etag)
    version = held.get("meta", {}).get("versionId") or (named[1] if named is not None else "")
    type, id = link.remote_id.split("/")
    was = await partner.server.version(type, id, version)
    if was is not None:
        kept = without_dropped(held, was)
    else:
        known, dropped = await _known(house, partner)
        kept = without_dropped(held, there, {path for path in gone if path in known and path not in dropped})
    await house.store.commit(*await flags(house, partner, held, kept))
    return kept


async def flags(house: House, partner: Partner, sent: Mapping[str, Any], there: Mapping[str, Any]) -> list[Op]:
    """What that server dropped of this, where nobody has been told yet."""
    paths = lost(sent, there)
    new = [path for path in paths if await house.store.kept(KIND, f"{partner.name} {path}", house.clock()) is None]
    if paths:
        (await _known(house, partner))[1].update(paths)
    return [Keep(KIND, f"{partner.name} {path}", house.clock().isoformat().encode()) for path in new]


def lost(sent: Mapping[str, Any], there: Mapping[str, Any]) -> list[str]:
    """Paths of what was sent and is not there: `Goal.startDate`. What is there in other words is there; narrative and ids do not count."""
    if sent == there:
        return []
    return list(dict.fromkeys(_lost(bare(sent), bare(there), str(sent.get("resourceType", "")))))


def less(sent: Mapping[str, Any], there: Mapping[str, Any]) -> bool:
    """Is this what was sent, or less of it, and nothing else."""
    return _within(bare(there), bare(sent))


def without_dropped(sent: Mapping[str, Any], there: Mapping[str, Any], but: Collection[str] = ()) -> dict[str, Any]:
    """What was sent as far as it is there, in whatever words; `but` these paths, which stay."""
    part = _as_there(bare(sent), bare(there), str(sent.get("resourceType", "")), but)
    own = {k: v for k, v in sent.get("meta", {}).items() if k not in bare(sent)["meta"]}
    return {**{k: part.get(k, v) for k, v in sent.items() if k in part or k in ("id", "text")}, "meta": {**own, **part.get("meta", {})}}


# -- what is known of that server ------------------------------------------------------------------------------------------


async def _doubted(house: House, partner: Partner, sent: Mapping[str, Any], said: Mapping[str, Any]) -> bool:
    """Is it not to be believed that it keeps this: it dropped such a thing before, or nothing is ever read there that would show it."""
    if (await partner.met()).gateway:
        return False
    known, dropped = await _known(house, partner)
    if not dropped and partner.terms.direction != "out":
        return False
    paths = set(_both(bare(sent), bare(said), str(sent.get("resourceType", ""))))
    return bool(paths & dropped) or (partner.terms.direction == "out" and not paths <= known)


async def _known(house: House, partner: Partner) -> tuple[set[str], set[str]]:
    """The elements that were seen to be kept there, and those that were seen to be dropped."""
    if partner.elements is None:
        found = [await house.store.kept_all(kind, house.clock(), f"{partner.name} ") for kind in (HELD, KIND)]
        kept, dropped = ({key.rpartition(" ")[2] for key in keys} for keys in found)
        partner.elements = kept, dropped
    return partner.elements


async def _learned(house: House, partner: Partner, sent: Mapping[str, Any], there: Mapping[str, Any]) -> list[Op]:
    """What of this is seen to be kept there for the first time."""
    known, _ = await _known(house, partner)
    new = dict.fromkeys(path for path in _both(bare(sent), bare(there), str(sent.get("resourceType", ""))) if path not in known)
    known.update(new)
    return [Keep(HELD, f"{partner.name} {path}", house.clock().isoformat().encode()) for path in new]


# -- side by side ----------------------------------------------------------------------------------------------------------


def _lost(sent: Any, there: Any, path: str) -> Iterator[str]:
    if isinstance(sent, Mapping) and isinstance(there, Mapping):
        for name, value in sent.items():
            if name in there:
                yield from _lost(value, there[name], f"{path}.{name}")
            elif value:
                yield f"{path}.{name}"
    elif isinstance(sent, list) and isinstance(there, list):
        if len(there) < len(sent):
            yield path
        else:
            for mine, theirs in zip(sent, there, strict=False):
                yield from _lost(mine, theirs, path)


def _both(sent: Any, there: Any, path: str) -> Iterator[str]:
    """Paths of what was sent and is there."""
    if isinstance(sent, Mapping) and isinstance(there, Mapping):
        for name in sent.keys() & there.keys() - {"resourceType"}:
            if not (isinstance(sent[name], list) and isinstance(there[name], list) and len(there[name]) < len(sent[name])):
                yield f"{path}.{name}"
            yield from _both(sent[name], there[name], f"{path}.{name}")
    elif isinstance(sent, list) and isinstance(there, list):
        for mine, theirs in zip(sent, there, strict=False):
            yield from _both(mine, theirs, path)


def _within(there: Any, sent: Any) -> bool:
    if isinstance(there, Mapping) and isinstance(sent, Mapping):
        return all(name in sent and _within(value, sent[name]) for name, value in there.items())
    if isinstance(there, list) and isinstance(sent, list):
        if len(there) == len(sent):
            return all(_within(a, b) for a, b in zip(there, sent, strict=True))
        return len(there) < len(sent) and all(any(_within(a, b) for b in sent) for a in there)
    return bool(there == sent)


def _as_there(sent: Any, there: Any, path: str, but: Collection[str]) -> Any:
    if isinstance(sent, Mapping) and isinstance(there, Mapping):
        known = {name: f"{path}.{name}" for name, value in sent.items() if name in there or not value or f"{path}.{name}" in but}
        return {name: _as_there(sent[name], there.get(name), where, but) for name, where in known.items()}
    if not (isinstance(sent, list) and isinstance(there, list)) or (len(there) < len(sent) and path in but):
        return sent
    if len(there) >= len(sent):
        return [_as_there(a, b, path, but) for a, b in zip(sent, there, strict=False)]
    pairs = sorted((a, b) for b, a in enumerate(aligned(sent, there)) if a is not None)
    return [_as_there(sent[a], there[b], path, but) for a, b in pairs]
