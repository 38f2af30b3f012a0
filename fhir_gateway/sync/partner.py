"""One external server we keep in step with: who owns it, what was agreed, and the small translations between the two sides."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .. import gate
from ..domain import strict
from ..domain.directory import NO_PATIENT_DATA
from ..domain.types import Actor, Linked, Ref
from ..gate import Context, House
from ..gate.context import Remote, directory_now
from ..remote.client import Abilities, RemoteServer

TAG = "https://fhir-gateway.example/id/resource"  # meta.tag on every copy we send: system|our id
HELD_BACK = "https://fhir-gateway.example/id/held-back"  # logical reference to what is not at that server


@dataclass
class Partner:
    """A remote, its agreement and its connection."""

    terms: Remote
    server: RemoteServer
    poll_seconds: float = 2.0
    abilities: Abilities | None = None
    paused: str = ""
    pushing: set[Ref] = field(default_factory=set)
    looked: tuple[int, str] | None = None  # under which directory and agreement `turning` looked last
    turns: int | None = None  # when an answer about what is there may turn next

    @property
    def name(self) -> str:
        return self.terms.name

    async def met(self) -> Abilities:
        """What that server can do, read once from /metadata."""
        if self.abilities is None:
            self.abilities = await self.server.abilities()
        return self.abilities


async def as_owner(house: House, partner: Partner, action: str) -> Context:
    """The organisation that owns the server, asking: `disclose` for what goes out, `access` for what it brings."""
    directory, _ = await directory_now(house)
    organisation = directory.find(partner.terms.organisation)
    actor: Actor = directory.actor(organisation, kind="system", organisation=organisation, at=house.clock())
    ctx = gate.house_context(house, actor, purpose=partner.terms.purpose, action="disclose" if action == "disclose" else "access")
    return ctx


def outgoing(
    body: Mapping[str, Any], ref: Ref, remote_id: str | None, names: Mapping[str, str], *, tagged: bool = True
) -> dict[str, Any]:
    """Our resource as that server gets it: its own id, our tag, references to what it has, logical ones to what it has not.

    `names` maps our `Type/id` to its `Type/id`. What began there goes back without our tag (`tagged` False): it is theirs.
    """
    out = {k: v for k, v in body.items() if k != "id"}
    meta = {k: v for k, v in body.get("meta", {}).items() if k not in ("versionId", "lastUpdated")}
    tags = [t for t in meta.pop("tag", []) if t.get("system") != TAG] + [{"system": TAG, "code": ref.id}] * tagged
    out.pop("meta", None)
    if meta or tags:
        out["meta"] = {**meta, **({"tag": tags} if tags else {})}
    if remote_id:
        out = {"resourceType": body["resourceType"], "id": remote_id, **out}
    renamed = _references(out, lambda r: _there(r, names))
    assert isinstance(renamed, dict)
    return renamed


def incoming(body: Mapping[str, Any], ref: Ref | None, names: Mapping[str, str]) -> dict[str, Any]:
    """Their resource as ours: our id, references to ours, our tag taken out. `names` maps their `Type/id` to ours."""
    out = {k: v for k, v in body.items() if k != "id"}
    meta = {k: v for k, v in body.get("meta", {}).items() if k not in ("versionId", "lastUpdated", "source")}
    tags = [t for t in meta.get("tag", []) if t.get("system") != TAG]
    meta.pop("tag", None)
    if tags:
        meta["tag"] = tags
    out.pop("meta", None)
    if meta:
        out["meta"] = meta
    if ref is not None:
        out = {"resourceType": body["resourceType"], "id": ref.id, **out}
    renamed = _references(out, lambda r: _here(r, names))
    assert isinstance(renamed, dict)
    return renamed


def loosened(body: Mapping[str, Any], remote_id: str, ref: Ref) -> dict[str, Any]:
    """A copy of ours with every reference to `remote_id` made a logical one."""

    def loosen(reference: dict[str, Any]) -> dict[str, Any]:
        if reference.get("reference") != remote_id:
            return reference
        rest = {k: v for k, v in reference.items() if k not in ("reference", "identifier", "type")}
        return {"type": ref.type, **rest, "identifier": {"system": HELD_BACK, "value": str(ref)}}

    changed = _references(dict(body), loosen)
    assert isinstance(changed, dict)
    return changed


def our_tag(body: Mapping[str, Any]) -> str | None:
    """Our id on a copy of ours."""
    for tag in body.get("meta", {}).get("tag", []):
        if tag.get("system") == TAG:
            return str(tag.get("code"))
    return None


def began_there(link: Linked | None) -> bool:
    """Is this a record of theirs that we took in: what we first agreed on bore no tag of ours."""
    return link is not None and link.base_sent is not None and our_tag(strict.decode(link.base_sent)) is None


def local_references(body: Any) -> list[Ref]:
    """Every `Type/id` this resource refers to, first mention first."""
    found: dict[Ref, None] = {}

    def note(reference: dict[str, Any]) -> dict[str, Any]:
        text = str(reference.get("reference", ""))
        parts = text.split("/")
        if len(parts) == 2 and parts[0][:1].isupper() and ":" not in text:
            found[Ref(*parts)] = None
        return reference

    _references(body, note)
    return list(found)


def _there(reference: dict[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    text = str(reference.get("reference", ""))
    if not text or text.startswith(("#", "http:", "https:", "urn:")):
        return reference
    if text in names:
        return {**reference, "reference": names[text]}
    type, _, id = text.partition("/")
    rest = {k: v for k, v in reference.items() if k not in ("reference", "identifier")}
    kept = {"identifier": reference["identifier"]} if "identifier" in reference and type in NO_PATIENT_DATA else {}
    return {"type": type, **rest, **(kept or {"identifier": {"system": HELD_BACK, "value": f"{type}/{id}"}})}


def _here(reference: dict[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    identifier = reference.get("identifier") or {}
    if identifier.get("system") == HELD_BACK and "reference" not in reference:
        rest = {k: v for k, v in reference.items() if k not in ("identifier", "type")}
        return {"reference": identifier["value"], **rest}
    text = str(reference.get("reference", ""))
    return {**reference, "reference": names[text]} if text in names else reference


def _references(node: Any, change: Any) -> Any:
    """The same tree with every Reference changed."""
    if isinstance(node, list):
        return [_references(n, change) for n in node]
    if not isinstance(node, dict):
        return node
    out = {k: _references(v, change) for k, v in node.items()}
    identifier = out.get("identifier")
    if isinstance(out.get("reference"), str) or (isinstance(identifier, dict) and identifier.get("system") == HELD_BACK):
        return change(out)
    return out
