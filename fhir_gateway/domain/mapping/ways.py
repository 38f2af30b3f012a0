"""The two ways through the tables, as far as a codec must know of them: which local id stands for which resource."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from .names import quote, system
from .primitives import is_text


class Found(NamedTuple):
    """What a reference leads to: a kind of thing in plans, its local id, a name to show, further facts (an organisation's)."""

    kind: str
    id: str
    name: str = ""
    more: Mapping[str, Any] = {}


@dataclass(slots=True)
class Outward:
    """Plan to FHIR. `urls` maps (kind, local id) to fullUrls; `types` a kind to its resource type."""

    plan: str  # the plan's id, quoted
    types: Mapping[str, str]
    patient: str = ""
    team: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    urls: dict[tuple[str, str], str] = field(default_factory=dict)
    dry: list[dict[str, str]] | None = None  # rows of a dry run, where one is asked for
    where: str = ""  # the place in the plan that is being mapped, for the dry run
    into: str = ""  # the type (or element) it becomes, for the dry run

    def value(self, quoted: str) -> str:
        """The identifier value of something in this plan."""
        return f"{self.plan}/{quoted}"

    def type_of(self, kind: str) -> str:
        return self.types[kind]

    def team_name(self, id: str) -> dict[str, Any]:
        """A member of the team by their place in this plan."""
        name = self.team[id].get("name")
        out: dict[str, Any] = {"identifier": {"system": system("team"), "value": self.value(quote(id))}}
        return out | ({"display": name} if is_text(name) else {})


@dataclass(slots=True)
class Inward:
    """FHIR to plan. `targets` maps every name of a resource (fullUrl, `Type/id`) to what it is in the plan."""

    targets: Mapping[str, Found]
    ours: bool = False  # the resource being read was made of a plan
    keep: bool = False  # what the plan has no words for goes along

    @property
    def exact(self) -> bool:
        """Nothing may be missing: of others' records what the plan has no words for stays where it is."""
        return self.ours or self.keep

    def find(self, reference: Mapping[str, Any]) -> Found | None:
        """What a Reference leads to among the resources at hand."""
        name = reference.get("reference")
        if not isinstance(name, str):
            return None
        found = self.targets.get(name)
        if found is None and "/" in name:
            name = name.split("/_history/", 1)[0]
            found = self.targets.get(name) or self.targets.get("/".join(name.rsplit("/", 2)[-2:]))
        return found
