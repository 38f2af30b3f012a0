"""Real resources of other people come back to their writer byte for byte, but for id and version.

Every resource in ../shared/data/examples, of every type: stored as sent, or refused with a reason listed in docs/examples.md.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from fhir_gateway import definitions, gate
from fhir_gateway.domain import compartment, strict
from fhir_gateway.domain.directory import NO_PATIENT_DATA
from fhir_gateway.domain.labels import LabelSets
from fhir_gateway.domain.problem import Problem
from fhir_gateway.domain.types import Actor
from fhir_gateway.gate import Context, House
from fhir_gateway.store import sqlite


class Ticking:
    """A clock of our own, and ids in its order."""

    def __init__(self) -> None:
        self.at = datetime(2026, 11, 24, 12, tzinfo=UTC)
        self.n = 0

    def now(self) -> datetime:
        self.at += timedelta(milliseconds=1)
        return self.at

    def id(self) -> str:
        self.n += 1
        return str(UUID(int=self.n))


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    clock = Ticking()
    store = await sqlite.open(tmp_path / "examples.sqlite")
    labels = LabelSets.load((definitions.profiles_dir() / "labels.json").read_bytes())
    yield House(store, clock.now, clock.id, definitions.load_r4(), labels, b"k" * 32)
    await store.close()


def hospital(house: House) -> Context:
    device = "Device/hospital"
    return gate.house_context(house, Actor("system", frozenset({device}), device, "A hospital", contributor=True))


def writer(house: House, type: str, person: str) -> Context:
    """Whose such a resource is to write: the person's their consents, an operator's what is nobody's data, a hospital's the rest."""
    if type == "Consent":
        return gate.house_context(house, Actor("patient", frozenset({person}), person, "The person", patient=person))
    if type in NO_PATIENT_DATA:
        device = "Device/operator"
        return gate.house_context(house, Actor("system", frozenset({device}), device, "An operator", operator=True))
    return hospital(house)


def files(shared: Path) -> list[tuple[str, bytes]]:
    found = []
    for path in sorted((shared / "data/examples").rglob("*.json")):
        raw = path.read_bytes()
        try:
            type = json.loads(raw).get("resourceType")
        except (ValueError, AttributeError):
            continue
        if type:
            found.append((str(path.relative_to(shared / "data/examples")), raw))
    return found


def about(raw: bytes, person: str) -> bytes:
    """The same text with every person it is about replaced by one whom the test has created."""
    for named in compartment.patients(json.loads(raw)):
        raw = raw.replace(f'"{named}"'.encode(), f'"{person}"'.encode())
    return raw


async def test_real_examples_come_back_byte_for_byte(shared: Path, house: House) -> None:
    first = await gate.create(hospital(house), "Patient", b'{"resourceType":"Patient","birthDate":"1950-01-01"}')
    stored, refused, ours = 0, {}, set()
    for name, raw in files(shared):
        type = json.loads(raw)["resourceType"]
        sent = about(raw, str(first.ref))
        ctx = writer(house, type, str(first.ref))
        try:
            made = await gate.create(ctx, type, sent)
        except Problem as p:
            refused[name] = [f"{i.key} {i.where}: {i.text}".strip(" :") for i in p.issues][:3]
            if p.kind != "invalid" or all(i.key in POLICY for i in p.issues):
                ours.add(name)
            continue
        try:
            back = (await gate.read(ctx, made.ref)).body
        except Problem as p:
            assert p.kind == "not-found" and b'"deceased' in sent, name  # after a death only the team of record reads
            kept = await house.store.get(made.ref)
            assert kept is not None and kept.body is not None
            back = kept.body
        assert strict.unstamp(back) == strict.unstamp(sent) or labelled_only(back, sent), name
        stored += 1
    nobodys = {n for n, why in refused.items() if NOBODYS in why[0]}
    if page := os.environ.get("GATEWAY_WRITE_PAGES"):
        Path(page, "examples.md").write_text(written(stored, refused, nobodys, ours))
    assert stored >= 700
    assert set(refused) <= listed(), sorted(set(refused) - listed())


NOBODYS = "This must say whose record it belongs to"


POLICY = ("unknown-modifier", "active-narrative")  # what `validate.policy` says


def written(stored: int, refused: dict[str, list[str]], nobodys: set[str], ours: set[str]) -> str:
    """The page of what is refused, by reason."""
    rows = {n: f"| `{n}` | {why[0].replace('|', '/')} |" for n, why in refused.items() if n not in nobodys}
    return "\n".join(
        [
            "# Real examples, stored and refused",
            "",
            "Made by `GATEWAY_WRITE_PAGES=docs pytest tests/test_examples.py`. Of the examples in `../shared/data/examples` of "
            f"every type, {stored} are stored and come back to their writer byte for byte (id, version and our labels apart); "
            f"{len(refused)} are refused.",
            "",
            "## Refused by the R4 rules",
            "",
            "| file | first reason |",
            "|---|---|",
            *(row for n, row in rows.items() if n not in ours),
            "",
            "## Refused by our own write policy",
            "",
            "FHIR allows these; here the trail is the gateway's own, a consent must be computable, a Bundle must be about one person, and an "
            "extension that may change the meaning must be known.",
            "",
            "| file | first reason |",
            "|---|---|",
            *(row for n, row in rows.items() if n in ours),
            "",
            "## Refused because they are nobody's",
            "",
            "Patient data that names no Patient of this server (no subject, a subject inside `contained`, a Group, a Device, a logical "
            "reference): no person's consent could open it, so it is answered 422 with that sentence.",
            "",
            *(f"- `{n}`" for n in sorted(nobodys)),
            "",
        ]
    )


def listed() -> set[str]:
    """The files that docs/examples.md lists with their reasons."""
    page = Path(__file__).parent.parent / "docs" / "examples.md"
    return set(re.findall(r"`([\w./-]+\.json)`", page.read_text()))


def labelled_only(back: bytes, sent: bytes) -> bool:
    """Equal as JSON with every digit, but for labels that are the server's."""

    def bare(raw: bytes) -> Any:
        body = strict.read(raw)
        meta = {k: v for k, v in body.get("meta", {}).items() if k not in ("versionId", "lastUpdated", "security")}
        return {k: v for k, v in body.items() if k not in ("id", "meta")} | ({"meta": meta} if meta else {})

    return bool(bare(back) == bare(sent))
