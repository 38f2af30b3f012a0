"""What a line of a person's copy is called on the page that comes with it: words, never an id. docs/subject-access.md"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from ..domain import strict, trail_words
from ..domain.types import Ref
from .context import House

_REF: Final = re.compile(r"\b([A-Z][A-Za-z]{2,})/((?=[A-Za-z-]*\d)[A-Za-z0-9.-]{1,64})(?:/_history/\d+)?")  # an id of ours has a digit
_TOLD: Final = {"page": "on a page of this service", "email": "by email", "text": "by text message", "app": "by an app"}


def title(body: Mapping[str, Any]) -> str:
    """What a resource is called, as far as it says."""
    for key in ("title", "description", "code", "medicationCodeableConcept", "vaccineCode", "type", "category", "name", "text"):
        found = body.get(key)
        found = found[0] if isinstance(found, list) and found else found
        if isinstance(found, str) and found:
            return found
        if isinstance(found, Mapping):
            coding: Mapping[str, Any] = next(iter(found.get("coding", [])), {})
            said = found.get("text") or coding.get("display") or " ".join([*found.get("given", []), found.get("family", "")]).strip()
            if isinstance(said, str) and said and not said.startswith("<"):
                return said
    return ""


class Words:
    """Ids to what they name, each looked up once."""

    def __init__(self, house: House) -> None:
        self.house = house
        self._called: dict[str, str] = {}

    async def called(self, ref: str) -> str:
        """The name of whoever or whatever this is; of a thing without one what kind it is. A name that is no reference is itself."""
        type, _, id = ref.partition("/")
        if not id or not self.house.r4.has_type(type):
            return ref
        if ref not in self._called:
            stored = await self.house.store.get(Ref(type, id.split("/", 1)[0]))
            body = strict.decode(stored.body) if stored is not None and stored.body is not None else {}
            self._called[ref] = title(body) or trail_words.thing(type)
        return self._called[ref]

    async def without_ids(self, text: str) -> str:
        """The text with each `Type/id` as what it names."""
        named = {m[0]: f"{m[1]}/{m[2]}" for m in _REF.finditer(text) if self.house.r4.has_type(m[1])}
        for said, ref in named.items():
            text = text.replace(said, await self.called(ref))
        return text

    async def of_kept(self, kind: str, key: str, line: Mapping[str, Any]) -> str:
        """What is kept beside the record, in a few words."""
        match kind:
            case "accepted":
                return f"{await self.called(str(line.get('value', '')))} took on: {await self.called(key.rsplit(' ', 1)[-1])}"
            case "draft":
                return f"{line.get('name', 'somebody')} wrote a draft that waits for the person"
            case "begun":
                return "answers that were begun and not sent"
            case "claim" | "emergency":
                return ": ".join(str(line[part]) for part in ("name", "reason") if line.get(part))
            case "notice":
                return f"{str(line.get('why', 'something')).replace('-', ' ')}: told {_TOLD.get(str(line.get('channel')), 'as you chose')}"
            case "tell-choice":
                return _TOLD.get(str(line.get("channel")), "as you chose")
            case "tell-new" | "tell-former":
                choice = line.get("choice") or {}
                said = _TOLD.get(str(choice.get("channel")), "as you chose")
                return f"{said}, once the code comes back" if kind == "tell-new" else f"{said}, until it was changed"
            case "tell-changes":
                return "when you changed how you are told"
            case "printed":
                return f"version {line.get('number', '')} was printed for {await self.called(key.split(' ', 1)[-1])}"
            case "claim-said":
                return f"{await self.called(key.rsplit(' ', 1)[-1])} said that they look after you"
            case "sharing-preferences":
                return "which consent the sharing page keeps"
            case "retention-hold":
                return f"kept beyond its time: {line.get('reason', '')}"
            case "identity":
                return f"it is not sure which record of yours at {line.get('remote', 'a partner')} is the right one: nothing about you goes there until somebody has looked"
            case "told":
                return str(line.get("value", "")).strip('"')[:16].replace("T", " ")
        if kind == "parked":
            return f"a message to {key.split(' ', 1)[0]} that could not be sent"
        sent = str(line.get("organisation") or line.get("client") or line.get("remote") or "")
        return f"a message{f' from {await self.called(sent)}' if sent else ''} that nobody has settled"
