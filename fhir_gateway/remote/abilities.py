"""What a server says in /metadata that it can do. https://hl7.org/fhir/R4/capabilitystatement.html"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from ..domain.capability import GATEWAY
from .replies import objects

LONGEST: Final = 100  # characters of what it calls itself, which operators read


@dataclass(frozen=True, slots=True)
class Abilities:
    """What a sync must know; each set is of types. What a server does not say it has not."""

    types: frozenset[str]
    type_history: frozenset[str]
    system_history: bool
    conditional_create: frozenset[str]
    software: str = ""
    gateway: str = ""  # what it calls itself on its copies, where it is one of ours
    unversioned: frozenset[str] = frozenset()  # it keeps no versions: an If-Match means nothing there
    searched: Mapping[str, frozenset[str]] = field(default_factory=dict)  # type -> search parameters
    identified: frozenset[str] = field(init=False)  # types that it can be asked for by `identifier`

    def __post_init__(self) -> None:
        object.__setattr__(self, "identified", frozenset(t for t, names in self.searched.items() if "identifier" in names))

    def describe(self) -> dict[str, Any]:
        """`{software, feed, types, by_type_history, conditional_create, unversioned, gateway}`: how we keep in step with it."""
        feed = "history" if self.system_history else "history by type" if self.type_history else "search by last change"
        return {
            "software": self.software, "feed": feed, "types": len(self.types), "by_type_history": sorted(self.type_history),
            "conditional_create": sorted(self.conditional_create), "unversioned": sorted(self.unversioned), "gateway": bool(self.gateway),
        }  # fmt: skip


def of_statement(body: Mapping[str, Any]) -> Abilities:
    """Of a CapabilityStatement, whatever else stands in it."""
    rest = next(iter(objects(body.get("rest"))), {})
    offered = {str(r["type"]): r for r in objects(rest.get("resource")) if isinstance(r.get("type"), str)}
    software = body.get("software")

    def types(yes: Any) -> frozenset[str]:
        return frozenset(t for t, r in offered.items() if yes(r))

    return Abilities(
        types=frozenset(offered),
        type_history=types(lambda r: "history-type" in _codes(r)),
        system_history="history-system" in _codes(rest),
        conditional_create=types(lambda r: r.get("conditionalCreate") is True),
        software=str(software.get("name", ""))[:LONGEST] if isinstance(software, dict) else "",
        gateway=_gateway(body),
        unversioned=types(lambda r: r.get("versioning") == "no-version"),
        searched={t: frozenset(str(p.get("name")) for p in objects(r.get("searchParam"))) for t, r in offered.items()},
    )


def _gateway(statement: Mapping[str, Any]) -> str:
    """The name of a gateway, 16 hex digits; "" for any other server."""
    implementation = statement.get("implementation")
    for more in objects(implementation.get("extension") if isinstance(implementation, dict) else None):
        if more.get("url") == GATEWAY and re.fullmatch(r"[0-9a-f]{16}", str(more.get("valueString"))):
            return str(more["valueString"])
    return ""


def _codes(holder: Mapping[str, Any]) -> set[str]:
    return {str(i.get("code")) for i in objects(holder.get("interaction"))}
