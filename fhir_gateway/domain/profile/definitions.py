"""What a deployment, a command or a line brought: profiles, extensions, value sets, code systems, Questionnaires, by canonical address.

Each is kept as JSON text and compiled when first asked for. What is unknown is None: it asks nothing of anybody.
https://hl7.org/fhir/R4/references.html#canonical
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from .. import strict
from ..primitives import whole
from ..r4 import R4, Known
from .codes import Codes
from .items import nodes
from .shapes import CORE, Shape, elements_of, lay, root, url_of
from .trimming import trim

Node = dict[str, Any]
R4_VERSION = "4.0.1"
IMPOSE = "http://hl7.org/fhir/StructureDefinition/structuredefinition-imposeProfile"
KEPT = ("StructureDefinition", "ValueSet", "CodeSystem", "Questionnaire")


@dataclass(frozen=True, slots=True, eq=False)
class Profile:
    """A compiled StructureDefinition: what a resource, data type or extension must be beyond R4."""

    url: str
    name: str
    type: str
    shape: Shape
    extension: Known | None  # where it may stand, when it is an extension's definition
    imposes: tuple[str, ...] = ()  # other profiles that what meets this one must meet


class Definitions:
    """`Definitions(r4)`; then `learn` what is to be known."""

    def __init__(self, r4: R4) -> None:
        self.r4 = r4
        self.codes = Codes(r4, self._value_set, lambda url: self._decoded("CodeSystem", url))
        self._texts: dict[tuple[str, str], bytes] = {}
        self._versions: dict[str, str] = {}
        self._trees: dict[str, Shape | None] = {}
        self._profiles: dict[str, Profile | None] = {}

    def learn(self, definition: Node) -> None:
        """Know this definition from now on. A Bundle brings its entries; what is no definition is passed over."""
        kind, url = definition.get("resourceType"), definition.get("url")
        if kind == "Bundle":
            for entry in nodes(definition, "entry"):
                if type(entry.get("resource")) is dict:
                    self.learn(entry["resource"])
        if kind not in KEPT or type(url) is not str:
            return
        text = strict.dump(definition)
        if self._texts.get((kind, url)) == text:
            return
        self._texts[kind, url] = text
        self._versions[url] = str(definition.get("version", ""))
        if kind == "StructureDefinition":
            self._trees.clear()
            self._profiles.clear()
        elif kind in ("ValueSet", "CodeSystem"):
            self.codes.forget()
        elif kind == "Questionnaire":
            self._learn_contained(definition, url)

    def _learn_contained(self, questionnaire: Node, url: str) -> None:
        for held in nodes(questionnaire, "contained"):
            if held.get("resourceType") == "ValueSet" and type(held.get("url")) is str:
                self.learn(held)

    def every(self, *kinds: str) -> Iterator[Node]:
        """All definitions of these kinds."""
        for (kind, _), text in self._texts.items():
            if kind in kinds:
                decoded: Node = strict.decode(text)
                yield decoded

    def questionnaire(self, canonical: str) -> Node | None:
        """The Questionnaire of that address; None when it is not known, in that version if one is named."""
        found, (_, mark, version) = self._decoded("Questionnaire", canonical), canonical.partition("|")
        return found if found is not None and (not mark or found.get("version") == version) else None

    def profile(self, canonical: str) -> Profile | None:
        """The compiled profile; None when it is not known, in that version if one is named."""
        url, _, version = canonical.partition("|")
        if version and self._versions.get(url, R4_VERSION) != version:
            return None
        if url not in self._profiles:
            self._profiles[url] = self._compiled(url)
        return self._profiles[url]

    def extension(self, url: str) -> Profile | None:
        """The definition of the extension with this url."""
        found = self.profile(url)
        return found if found is not None and found.extension is not None else None

    def _value_set(self, canonical: str) -> Node | None:
        url, _, version = canonical.partition("|")
        given = self._decoded("ValueSet", url)
        return {} if given is not None and version and given.get("version") != version else given

    def _decoded(self, kind: str, canonical: str) -> Node | None:
        text = self._texts.get((kind, canonical.partition("|")[0]))
        if text is not None:
            decoded: Node = strict.decode(text)
            return decoded
        return self.r4.profile(canonical) if kind == "StructureDefinition" else None

    def _compiled(self, url: str) -> Profile | None:
        given = self._decoded("StructureDefinition", url)
        tree = self._tree(url)
        if given is None or tree is None or given.get("derivation") != "constraint":
            return None
        type_ = str(given.get("type"))
        extension = _known(given, tree, self.r4) if type_ == "Extension" else None
        return Profile(url, str(given.get("name") or url.rpartition("/")[2]), type_, trim(tree, self.r4, self._most_of), extension, tuple(_imposed(given)))

    def _most_of(self, url: str) -> int | None:
        """How often an extension may stand, by its own definition."""
        given = self._decoded("StructureDefinition", url) if url else None
        elements = elements_of(given) if given is not None else []
        most = elements[0].get("max") if elements and elements[0]["path"] == "Extension" else None
        return whole(most) if type(most) is str else None

    def _tree(self, url: str) -> Shape | None:
        """Untrimmed, for others to derive from. A base that is not known asks nothing."""
        if url not in self._trees:
            self._trees[url] = None  # a definition that is its own base
            given = self._decoded("StructureDefinition", url)
            if given is not None and type(given.get("type")) is str:
                type_ = given["type"].removeprefix(CORE)
                above = self._tree(str(given.get("baseDefinition", "")).partition("|")[0])
                self._trees[url] = lay(given, above or root(type_, self.r4), self.r4)
        return self._trees[url]


def _known(given: Node, tree: Shape, r4: R4) -> Known:
    contexts = tuple(_contexts(given))
    if any(kind == "element" and not r4.knows(where.partition(".")[0]) for kind, where in contexts):
        contexts = ()  # of another FHIR version, or a profile's element: cannot be said here
    elements = elements_of(given)
    inner = tree.children.get("extension")
    parts = {url_of(slice) or name: Known() for name, slice in inner.slices.items()} if inner is not None else {}
    return Known(
        parts=parts,
        contexts=contexts,
        modifier=bool(elements) and elements[0].get("isModifier") is True,
    )


def _imposed(given: Node) -> Iterator[str]:
    for x in nodes(given, "extension"):
        if x.get("url") == IMPOSE and type(x.get("valueCanonical")) is str:
            yield x["valueCanonical"]


def _contexts(given: Node) -> Iterator[tuple[str, str]]:
    for c in nodes(given, "context"):
        yield str(c.get("type")), str(c.get("expression"))

