"""Nouns to documents and back: what one resource, one version, one audit row look like in MongoDB.

A resource is one document. `keys` is one flat array of texts (`Goal|lifecycle-status|active`), the only large index there is:
it leads near. `key` holds the same keys in full and is what a search finally compares. Bytes stay bytes; instants are
microseconds since 1970 UTC.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from typing import Any, Final

import msgspec

from ..domain import audit, facts
from ..domain.periods import instant, micros
from ..domain.predicate import values_of
from ..domain.search import local
from ..domain.types import CONFIDENTIALITY, Facts, Key, Linked, Note, Put, Ref, Stored
from .written import decode_facts, decode_writer, encode_writer

Document = dict[str, Any]

CUT: Final = 120  # characters of a text that lead near; the comparison itself is of the whole
TYING: Final = frozenset({"Consent", "CareTeam", "Task", "ServiceRequest", "Patient"})  # whom these name may know the person
RANGED: Final = frozenset({"date", "number", "quantity"})
LISTS: Final = {
    "profile": "profiles", "sens": "sensitivity", "label": "other_labels", "legal": "legal", "code": "codes", "author": "authors",
    "maker": "makers", "ref": "refs",
}  # fmt: skip
OF_ORIGIN: Final = ("custodian", "keeper", "source", "sourced")
EON: Final = 10**17  # makes every instant of the calendar a positive number of 18 digits


# -- the flat keys ----------------------------------------------------------------------------------------------------


def flat(type: str, name: str, text: str) -> str:
    return f"{type}|{name}|{text[:CUT]}"


def flat_number(type: str, name: str, value: float) -> str:
    """In the order of the numbers; what is nearer than a float can tell falls together."""
    return f"{type}|{name}|{_ordered(value)}"


def _ordered(value: float) -> str:
    (bits,) = struct.unpack(">Q", struct.pack(">d", float(value) + 0.0))
    return f"{bits ^ (0xFFFFFFFFFFFFFFFF if bits >> 63 else 1 << 63):016x}"


def flat_keys(type: str, keys: Iterable[Key]) -> list[str]:
    """A key of no known kind (from a copy) leads near both ways."""
    out: dict[str, None] = {}
    for k in keys:
        if k.low is not None and (k.kind in RANGED or not k.kind):
            out[flat_number(type, k.name, k.low)] = None
        if k.text and k.kind not in RANGED:
            out[flat(type, k.name, k.text)] = None
    return list(out)


def full_key(k: Key) -> Document:
    """What is empty is left out."""
    out: Document = {"n": k.name}
    if k.text:
        out["t"] = k.text
        if k.kind in ("reference", "") and local(k.text):
            out["i"] = k.text.partition("/")[2]
    if k.system:
        out["s"] = k.system
    if k.exact:
        out["x"] = k.exact
    if k.low is not None:
        out["l"] = k.low
    if k.high is not None:
        out["h"] = k.high
    if k.hidden:
        out["z"] = int(k.hidden)
    return out


# -- a resource and its versions ----------------------------------------------------------------------------------------


def when(us: int, ref: Ref, version: int) -> str:
    """In the order of (updated, type, id, version): a space sorts before all that ids are made of."""
    return f"{us + EON:018d} {ref} {version:010d}"


def version_id(ref: Ref, version: int) -> str:
    return f"{ref} {version:010d}"


def version_document(
    ref: Ref, version: int, updated: int, patient: str | None, created_by: str | None, writer: bytes, known: bytes,
    body: bytes | None, view: bytes | None,
) -> Document:  # fmt: skip
    at = when(updated, ref, version)
    out: Document = {
        "_id": version_id(ref, version), "type": ref.type, "id": ref.id, "version": version, "patient": patient, "updated": updated,
        "at": at, "type_at": f"{ref.type} {at}", "created_by": created_by, "writer": writer, "facts": known, "body": body,
    }  # fmt: skip
    if view is not None:
        out["view"] = view
    return out


def resource_document(put: Put, created_by: str | None) -> Document:
    view = None if put.view == put.body else put.view
    return current_document(
        put.version, micros(put.at), created_by, encode_writer(put.writer), facts.encode(put.facts), put.facts, put.keys, put.body, view
    )


def current_document(
    version: int, updated: int, created_by: str | None, writer: bytes, known: bytes, f: Facts, keys: Sequence[Key], body: bytes,
    view: bytes | None,
) -> Document:  # fmt: skip
    """The current version of a resource, with all that a search may ask of it."""
    out: Document = {
        "_id": f"{f.type}/{f.id}", "type": f.type, "id": f.id, "version": version, "patient": f.patients[0] if f.patients else None,
        "patients": list(dict.fromkeys(f.patients)), "updated": updated, "live": True,
        "conf": CONFIDENTIALITY.get(f.confidentiality, CONFIDENTIALITY["V"]), "created_by": created_by, "writer": writer,
        "facts": known, "acl": acl(f), "keys": flat_keys(f.type, keys), "key": [full_key(k) for k in keys], "ties": sorted(ties(f)), "body": body,
    }  # fmt: skip
    if f.low is not None:
        out["low"] = f.low
    if f.high is not None:
        out["high"] = f.high
    if view is not None:
        out["view"] = view
    return out


def deleted_document(before: Document, version: int, updated: int, writer: bytes) -> Document:
    """What is left of a resource: who it was of, and that it is gone. Nothing to search by."""
    kept = {name: before.get(name) for name in ("_id", "type", "id", "patient", "created_by", "facts")}
    return kept | {"version": version, "updated": updated, "live": False, "writer": writer, "body": None, "patients": [], "ties": []}


def acl(f: Facts) -> Document:
    out: Document = {field: sorted(values) for field, name in LISTS.items() if (values := getattr(f, name))}
    return out | {field: sorted(values) for field in OF_ORIGIN if (values := values_of(f, field))}


def ties(f: Facts) -> set[str]:
    """`who patient`: whoever this resource lets know the person."""
    knows = f.authors | f.refs if f.type in TYING else f.authors
    return {f"{who} {patient}" for who in knows for patient in f.patients}


def stored(d: Document) -> Stored:
    """Of a resource or version document that carries its person's epoch as `e`."""
    body = d["body"]
    epoch = d.get("e") or ()
    return Stored(
        Ref(d["type"], d["id"]), int(d["version"]), instant(d["updated"]), body, d.get("view", body), decode_facts(d["facts"]),
        decode_writer(d["writer"]), int(epoch[0]["value"]) if epoch else 0, d["created_by"],
    )  # fmt: skip


# -- the rest -------------------------------------------------------------------------------------------------------------


def note_document(id: Any, note: Note) -> Document:
    at = f"{micros(note.at) + EON:018d} {note.id}"
    return {"_id": id, "at": at, "id": note.id, "patient": note.patient, "user": note.user, "note": audit.encode(note)}


def note_position(before: tuple[Any, ...]) -> str:
    us, id = before
    return f"{us + EON:018d} {id}"


def note_since(us: int) -> str:
    return f"{us + EON:018d} "


def kept_id(kind: str, key: str) -> str:
    if " " in kind:
        raise ValueError(f"a kind is one word, not {kind!r}")
    return f"{kind} {key}"


def linked_id(remote: str, ref: Ref) -> Document:
    return {"remote": remote, "ref": str(ref)}


def linked(rows: Sequence[Document]) -> Linked | None:
    return msgspec.msgpack.decode(rows[0]["body"], type=Linked) if rows else None


def link_there(link: Linked) -> str:
    return f"{link.remote} {link.remote_id}"


def ledger_document(
    remote: str, ref: Ref, version: int, at: int, patient: str | None, recalled: int | None, body: bytes
) -> Document:  # fmt: skip
    out: Document = {
        "_id": {"remote": remote, "ref": str(ref), "version": version, "at": at}, "remote": remote, "patient": patient, "type": ref.type,
        "id": ref.id, "version": version, "at": at, "recalled": recalled, "body": body,
    }  # fmt: skip
    return out if recalled is not None else out | {"open": remote}
