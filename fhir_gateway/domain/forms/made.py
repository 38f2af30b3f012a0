"""What an extraction has made so far: a transaction, every entry under a name that the same answers give again."""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, Final

import msgspec

from ..compartment import SUBJECT
from ..mapping.names import BASE
from ..r4 import R4
from .items import Node, nodes
from .saying import Speech, first_text

EXTRACTED: Final = f"{BASE}/id/extracted"  # identifier of what an extraction makes: response, and where in it
MOST: Final = 500  # resources
REQUESTED: Final = ("ifNoneMatch", "ifModifiedSince", "ifMatch", "ifNoneExist")


@dataclass(slots=True)
class Made:
    """The entries of a transaction Bundle for one response. Nothing here is random: twice the same is the same."""

    response: Node
    r4: R4
    speech: Speech
    entries: list[Node] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)  # where in the response each was made
    _seed: str = ""

    def urn(self, key: str) -> str:
        """A `urn:uuid:` for this place in this response (RFC 9562 version 8)."""
        self._seed = self._seed or str(self.response.get("id") or sha256(msgspec.json.encode(self.response)).hexdigest())
        h = sha256(f"{self._seed}|{key}".encode()).hexdigest()
        return f"urn:uuid:{h[:8]}-{h[8:12]}-8{h[13:16]}-{'89ab'[int(h[16], 16) & 3]}{h[17:20]}-{h[20:32]}"

    def add(self, key: str, resource: Node, entry: Node | None = None, focus: Any = None, names: Node | None = None) -> str:
        """Put in a resource made at `key`; its fullUrl. `entry` are the parts of a template or definition extension that say how."""
        asked = {k: first_text(self.speech.said(e, focus, names)) for k, e in (entry or {}).items() if isinstance(e, str) and e}
        url = asked.get("fullUrl") or self.urn(key)
        if len(self.entries) >= MOST:
            self.speech.tell("too-costly", f"A response becomes at most {MOST} resources. The rest was left out.")
            return url
        type = str(resource.get("resourceType", ""))
        whole = self._owned(type, self._referring(type, resource))
        request: Node = {"method": "POST", "url": type}
        if asked.get("resourceId"):
            request = {"method": "PUT", "url": f"{type}/{asked['resourceId']}"}
            whole = {"resourceType": type, "id": asked["resourceId"], **{k: v for k, v in whole.items() if k not in ("resourceType", "id")}}
        elif self.response.get("id"):
            whole, name = self._named(type, whole, key)
            request |= {"ifNoneExist": name} if name else {}
        request |= {k: asked[k] for k in REQUESTED if asked.get(k)}
        if any(e["fullUrl"] == url for e in self.entries):
            url = self.urn(key)
        self.entries.append({"fullUrl": url, "resource": whole, "request": request})
        self.keys.append(sha256(key.encode()).hexdigest()[:16])
        return url

    def _referring(self, type: str, resource: Node) -> Node:
        """A text where a reference stands is what it refers to."""
        def refers(name: str) -> bool:
            element = self.r4.element(f"{type}.{name}")
            return element is not None and element.types == ("Reference",) and not element.many

        return {k: {"reference": v} if isinstance(v, str) and k != "resourceType" and refers(k) else v for k, v in resource.items()}

    def _owned(self, type: str, resource: Node) -> Node:
        """What says nothing of whose it is, is the response's subject's."""
        element = SUBJECT.get(type, "subject")
        about = self.response.get("subject")
        if element in resource or type == "Patient" or about is None or "." in element or self.r4.element(f"{type}.{element}") is None:
            return resource
        return {**resource, element: about}

    def _named(self, type: str, resource: Node, key: str) -> tuple[Node, str]:
        """With our identifier, and the search that finds it; as it was where the type has no list of identifiers."""
        element = self.r4.element(f"{type}.identifier")
        if element is None or not element.many:
            return resource, ""
        value = f"{self.response['id']}/{sha256(key.encode()).hexdigest()[:16]}"
        own = {"system": EXTRACTED, "value": value}
        return {**resource, "identifier": [*nodes(resource, "identifier"), own]}, f"identifier={EXTRACTED}|{value}"

