"""A server may answer 200 and not keep everything: what it dropped is flagged once, with its path, for a person to see."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ..domain.types import Keep, Op
from ..gate import House
from .links import bare
from .partner import Partner

KIND = "dropped"  # kept: since when this element is dropped there, by `<remote> <Type.path>`


def lost(sent: Mapping[str, Any], there: Mapping[str, Any]) -> list[str]:
    """Paths of what was sent and is not there: `Goal.startDate`. What is there in other words is there; narrative and ids do not count."""
    if sent == there:
        return []
    return list(dict.fromkeys(_lost(bare(sent), bare(there), str(sent.get("resourceType", "")))))


async def flags(house: House, partner: Partner, sent: Mapping[str, Any], there: Mapping[str, Any]) -> list[Op]:
    """What that server dropped of this, where nobody has been told yet."""
    new = [path for path in lost(sent, there) if await house.store.kept(KIND, f"{partner.name} {path}", house.clock()) is None]
    return [Keep(KIND, f"{partner.name} {path}", house.clock().isoformat().encode()) for path in new]


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
