"""Templates: a contained resource, with places for what was answered. https://hl7.org/fhir/uv/sdc/extraction.html#template-based-extraction

A template is walked once. What is put in is never looked at again: an answer that looks like a template is an answer.
"""

from __future__ import annotations

from typing import Any, Final

from .items import SDC, Node, expression, nodes, value
from .saying import Speech

TEMPLATE: Final = SDC + "templateExtract"
BUNDLE: Final = SDC + "templateExtractBundle"
CONTEXT: Final = SDC + "templateExtractContext"
VALUE: Final = SDC + "templateExtractValue"
GONE: Final = object()  # the element is left out


def fill(template: Node, focus: Any, speech: Speech, names: Node) -> Node:
    """The template with every place filled from `focus`; without its own id."""
    found = _Walk(speech).whole({k: v for k, v in template.items() if k != "id"}, focus, names)
    return found if type(found) is dict else {}


class _Walk:
    def __init__(self, speech: Speech) -> None:
        self.speech = speech

    def whole(self, node: Node, focus: Any, names: Node) -> Any:
        """One element: a dict, or GONE."""
        found = self.element(node, focus, names)
        return found[0] if found else GONE

    def element(self, node: Node, focus: Any, names: Node) -> list[Any]:
        """What an object of a template becomes: none, one, or several where its context has several."""
        context, wanted = _said(node, CONTEXT), _said(node, VALUE)
        bare = _without(node)
        if context is None:
            return self._one(bare, wanted, focus, names)
        out: list[Any] = []
        for here in self.speech.said(expression(context), focus, names):
            named = context.get("name") if type(context) is dict else None
            out += self._one(bare, wanted, here, {**names, str(named): here} if named else names)
        return out

    def _one(self, node: Node, wanted: Any, focus: Any, names: Node) -> list[Any]:
        if wanted is not None:
            return self.speech.said(expression(wanted), focus, names)
        several = self._extensions(node, focus, names)
        if several is not None:
            return several
        out: Node = {}
        for name, v in node.items():
            if name.startswith("_"):
                self._primitive(out, name, v, node, focus, names)
            elif type(v) is dict:
                found = self.element(v, focus, names)
                if found:
                    out[name] = found[0]
            elif type(v) is list:
                self._list(out, name, v, node, focus, names)
            elif not _filled(node.get("_" + name)):
                out[name] = v
        return [out] if any(k != "resourceType" for k in out) else []

    def _extensions(self, node: Node, focus: Any, names: Node) -> list[Any] | None:
        """An extension with one place for its value becomes as many as there are values: it may hold no other extension to say so (ext-1)."""
        places = [k for k, v in node.items() if k.startswith("_value") and type(v) is dict and _filled(v)]
        if type(node.get("url")) is not str or len(places) != 1 or node.keys() - {"url", places[0], places[0][1:]}:
            return None
        out: list[Any] = []
        for v in self._values(node[places[0]], focus, names):
            out.append({"url": node["url"], places[0][1:]: v})
        return out

    def _values(self, at: Node, focus: Any, names: Node) -> list[Any]:
        context, wanted = _said(at, CONTEXT), _said(at, VALUE)
        found: list[Any] = []
        for here in self.speech.said(expression(context), focus, names) if context is not None else [focus]:
            found += self.speech.said(expression(wanted), here, names) if wanted is not None else []
        return found

    def _list(self, out: Node, name: str, listed: list[Any], node: Node, focus: Any, names: Node) -> None:
        if _filled(node.get("_" + name)):
            return
        found: list[Any] = []
        for v in listed:
            found += self.element(v, focus, names) if type(v) is dict else [v]
        if found:
            out[name] = found

    def _primitive(self, out: Node, name: str, beside: Any, node: Node, focus: Any, names: Node) -> None:
        """`_family: {extension}` fills `family`; a list of them fills the list."""
        if not _filled(beside):
            out[name] = beside
            return
        found = [v for at in (beside if type(beside) is list else [beside]) if type(at) is dict for v in self._values(at, focus, names)]
        if found:
            out[name[1:]] = found if type(beside) is list or type(node.get(name[1:])) is list else found[0]


def _said(node: Node, url: str) -> Any:
    return next((value(x)[1] for x in nodes(node, "extension") if x.get("url") == url), None)


def _filled(beside: Any) -> bool:
    """Whether what stands beside a primitive says where its value comes from."""
    return any(type(b) is dict and (_said(b, VALUE) is not None or _said(b, CONTEXT) is not None) for b in (beside if type(beside) is list else [beside]))


def _without(node: Node) -> Node:
    """Without the extensions that were read."""
    kept = [x for x in nodes(node, "extension") if x.get("url") not in (CONTEXT, VALUE)]
    return {k: (kept if k == "extension" else v) for k, v in node.items() if k != "extension" or kept}
