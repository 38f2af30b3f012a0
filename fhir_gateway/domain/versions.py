"""The versions of a record's resources, and since when, by whose hand, something has been true."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from . import strict
from .periods import micros
from .types import Ref, Writer


class Record(Protocol):
    """What is needed of `types.Stored`."""

    @property
    def ref(self) -> Ref: ...
    @property
    def version(self) -> int: ...
    @property
    def updated(self) -> datetime: ...
    @property
    def body(self) -> bytes | None: ...
    @property
    def writer(self) -> Writer: ...


@dataclass(frozen=True, slots=True)
class Version:
    body: Mapping[str, Any]
    writer: Writer
    at: int


def chains_of(records: Sequence[Record]) -> dict[str, list[Version]]:
    """Versions by reference, oldest first; what is deleted now is left out."""
    by: dict[str, list[Record]] = {}
    for record in records:
        by.setdefault(str(record.ref), []).append(record)
    for versions in by.values():
        versions.sort(key=lambda v: v.version)
    return {ref: _read(_since_last_deletion(versions)) for ref, versions in by.items() if versions[-1].body is not None}


def remembered(records: Sequence[Record], ref: str) -> list[Version]:
    """The same of one resource, also where it is deleted now: then as it was before."""
    versions = sorted((r for r in records if str(r.ref) == ref), key=lambda v: v.version)
    while versions and versions[-1].body is None:
        versions.pop()
    return _read(_since_last_deletion(versions)) if versions else []


def _read(run: Sequence[Record]) -> list[Version]:
    return [Version(strict.decode(v.body), v.writer, micros(v.updated)) for v in run if v.body is not None]


def _since_last_deletion(versions: list[Record]) -> list[Record]:
    """The unbroken run of versions that ends with the last one."""
    run = [versions[-1]]
    for v in reversed(versions[:-1]):
        if v.body is None or v.version != run[-1].version - 1:
            break
        run.append(v)
    return run[::-1]


def since(chain: Sequence[Version], true: Any) -> Version | None:
    """The version with which something that is true now began to be so without a break; None if its beginning is not here."""
    found = None
    for version in reversed(chain):
        if not true(version.body):
            return found
        found = version
    return found


def by_operator(writer: Writer) -> bool:
    return writer.kind == "operator" or writer.method == "SYSTEM"
