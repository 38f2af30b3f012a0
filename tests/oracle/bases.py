"""What is mutated: the outside examples, and what can be cut out of them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

from fhir_gateway.domain.r4 import R4

from . import growing

Node = dict[str, Any]
LARGEST = 14_000  # bytes of a base: larger ones are slow to judge and say no more
FOLDERS = ("examples", "sdc", "pco", "ukcore", "synthea", "interweave")


class Bases:
    """Resources of all types, each type as likely as the next, so that the many of one do not drown the few of another."""

    def __init__(self, data: Path, r4: R4, keep: set[str] | None = None) -> None:
        self.r4 = r4
        self.by_type: dict[str, list[tuple[str, Node]]] = {}
        for name, resource in _resources(data):
            kind = resource.get("resourceType")
            if isinstance(kind, str) and r4.has_type(kind) and (keep is None or name in keep):
                self.by_type.setdefault(kind, []).append((name, resource))

    def __len__(self) -> int:
        return sum(map(len, self.by_type.values()))

    def every(self) -> Iterator[tuple[str, Node]]:
        for some in self.by_type.values():
            yield from some

    def pick(self, rnd: Random) -> tuple[str, Node]:
        """(where from, resource); one time in eight grown from the tables, whatever its type."""
        if rnd.random() < 0.125 or not self.by_type:
            kind = rnd.choice(self.r4.types)
            return f"grown/{kind}", growing.resource(self.r4, rnd, kind)
        return rnd.choice(self.by_type[rnd.choice(sorted(self.by_type))])


def _resources(data: Path) -> Iterator[tuple[str, Node]]:
    for folder in FOLDERS:
        for file in sorted((data / folder).rglob("*.json")):
            try:
                resource = json.loads(file.read_text(encoding="utf-8-sig"))
            except ValueError:
                continue
            if not isinstance(resource, dict):
                continue
            name = str(file.relative_to(data))
            if file.stat().st_size <= LARGEST:
                yield name, resource
            elif resource.get("resourceType") == "Bundle":
                for i, entry in enumerate(resource.get("entry", [])[:200:7]):
                    inner = entry.get("resource")
                    if isinstance(inner, dict) and len(json.dumps(inner)) <= LARGEST:
                        yield f"{name}#{i * 7}", inner
