"""The XHTML that a narrative may hold: the R4 subset, and none of it active. Refused, never rewritten.

https://hl7.org/fhir/R4/narrative.html#rules
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping
from itertools import islice
from xml.parsers import expat

MOST = 200  # things wrong in one narrative that are told
DEEPEST = 200  # levels
XHTML = "http://www.w3.org/1999/xhtml"
# One name a word, as the specification's tables read.
_ELEMENT_NAMES = """
p br div h1 h2 h3 h4 h5 h6 a span b em i strong small big tt dfn q var abbr acronym cite blockquote hr address bdo kbd sub sup
ul ol li dl dt dd pre table caption colgroup col thead tr tfoot tbody th td code samp img map area
"""
_ATTRIBUTE_NAMES = """
title style class id lang xml:lang xml:space dir accesskey tabindex span width align valign char charoff abbr axis headers scope
rowspan colspan
"""
_OWN_ATTRIBUTES = """
blockquote.cite q.cite a.charset a.type a.name a.href a.hreflang a.rel a.rev a.shape a.coords img.src img.alt img.longdesc img.height
img.width img.usemap img.ismap img.border map.name area.shape area.coords area.href area.nohref area.alt table.summary table.width
table.border table.frame table.rules table.cellspacing table.cellpadding pre.space td.nowrap
"""
_ELEMENTS = frozenset(_ELEMENT_NAMES.split())
_EVERYWHERE = frozenset(_ATTRIBUTE_NAMES.split())
_HERE = frozenset(_OWN_ATTRIBUTES.split())
# What may stand in what, as XHTML 1.0 has it and HL7's validator holds it.
_INSIDE: Mapping[str, frozenset[str]] = {
    "tr": frozenset({"table", "thead", "tfoot", "tbody"}), "td": frozenset({"tr", "thead", "tfoot"}), "th": frozenset({"tr", "thead", "tfoot"}),
    "li": frozenset({"ul", "ol"}), "dt": frozenset({"dl"}), "dd": frozenset({"dl"}), "col": frozenset({"colgroup", "table"}),
    **dict.fromkeys(("tbody", "thead", "tfoot", "caption", "colgroup"), frozenset({"table"})),
}  # fmt: skip
_HOLDS: Mapping[str, frozenset[str]] = {  # and no text of their own
    "table": frozenset({"tbody", "tr", "caption", "thead", "tfoot", "col", "colgroup"}), "tr": frozenset({"td", "th"}),
    "ul": frozenset({"li"}), "ol": frozenset({"li"}), "dl": frozenset({"dt", "dd"}), "map": frozenset({"area"}),
    **dict.fromkeys(("tbody", "thead", "tfoot"), frozenset({"tr"})), **dict.fromkeys(("br", "img", "hr", "area"), frozenset()),
}  # fmt: skip
_INLINE = frozenset("a b em i strong small big sub sup code tt dfn q var abbr acronym cite bdo kbd samp".split())
_TEXTUAL = _INLINE | frozenset("p h1 h2 h3 h4 h5 h6 pre address span caption dt dd".split())
_BLOCKS = frozenset("div pre table ul ol".split())
_NEVER_IN_P = frozenset("div blockquote table ol ul p".split())
_LINKS = frozenset({"href", "src", "cite", "longdesc", "usemap", "background"})
_NOISE = re.compile(r"[\x00-\x20\u00ad\u200b-\u200f\u2028\u2029\ufeff]")  # what browsers pass over inside a scheme
_INERT = re.compile(r"(?:https?:|mailto:|tel:|urn:|data:image/(?:png|gif|jpe?g|webp)[;,]|[#./?]|[^:]*(?:[/?#]|$))", re.IGNORECASE)
_RUNS = re.compile(r"(?:javascript|vbscript|livescript|data:text/html)", re.IGNORECASE)
_ELSEWHERE = re.compile(r"[a-z][a-z0-9+.-]*:(?!image/)|[/\\\\]{2}", re.IGNORECASE)  # a picture from another place is fetched when shown
_CSS = re.compile(r"url\s*\(|expression|behaviou?r\s*:|-moz-binding|@import|javascript|vbscript|\\", re.IGNORECASE)


def wrong(div: str, leads: Callable[[str], bool] = lambda name: True) -> list[str]:
    """What keeps this from being FHIR narrative: one sentence each; empty when nothing.

    `leads` says whether a link `#name` that leads nowhere in this narrative leads elsewhere in the resource.
    """
    reading = _Reading(div)
    astray = islice((n for n in reading.leads if n not in reading.ids and not leads(n)), MOST)
    return reading.found + reading.running + [f"The narrative's link `#{n[:64]}` leads nowhere." for n in astray]


def active(div: str) -> list[str]:
    """What in it could act when shown: links that run, styles that fetch, what XML and HTML read differently.

    Only for a div that `wrong` passes.
    """
    reading = _Reading(div)
    return reading.running + reading.acting


class _Enough(Exception):
    """The narrative is refused already."""


class _Reading:
    def __init__(self, div: str) -> None:
        self.found: list[str] = []
        self.running: list[str] = []
        self.acting: list[str] = []
        self.ids: set[str] = set()
        self.leads: dict[str, None] = {}  # the names that links lead to, each once
        self._open: list[str] = []
        self._within: Counter[str] = Counter()
        self._marked = False
        self._content = False
        self._namespaces: list[str] = []
        if "<!DOCTYPE" in div or "<!ENTITY" in div:
            self._wrong("The narrative must not hold a document type or entities.")
            return
        parser = expat.ParserCreate()
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._text
        parser.StartCdataSectionHandler = self._mark
        parser.EndCdataSectionHandler = self._unmark
        parser.ProcessingInstructionHandler = self._instruction
        try:
            parser.Parse(div.strip(), True)
        except _Enough:
            return
        except (expat.ExpatError, ValueError) as bad:
            self._wrong(f"The narrative is not well-formed XHTML ({bad}).")
            return
        if not self._content and not self.found:
            self._wrong("The narrative has no content.")

    def _wrong(self, text: str) -> None:
        """Something that FHIR does not allow; _Enough after so many that nobody reads on."""
        self.found.append(text)
        if len(self.found) >= MOST:
            raise _Enough

    def _runs(self, text: str) -> None:
        self.running.append(text)
        if len(self.running) >= MOST:
            raise _Enough

    def _acts(self, text: str) -> None:
        if len(self.acting) < MOST:
            self.acting.append(text)

    def _start(self, name: str, attributes: Mapping[str, str]) -> None:
        space = attributes.get("xmlns", self._namespaces[-1] if self._namespaces else "")
        self._namespaces.append(space)
        if not self._open and name != "div":
            self._wrong(f"The narrative must be one `div`, not `{name[:40]}`.")
        elif space != XHTML:
            self._wrong(f"The narrative's namespace must be {XHTML}, not `{space[:80]}`.")
        elif name not in _ELEMENTS:
            self._wrong(f"The narrative holds the element `{name[:40]}`, which FHIR does not allow.")
        elif self._open:
            self._placed(name)
        self._open.append(name)
        if len(self._open) > DEEPEST:
            self._wrong(f"The narrative is nested more than {DEEPEST} levels deep.")
            raise _Enough
        self._within[name] += 1
        if name == "img":
            self._content = True
        for attribute, value in attributes.items():
            if not self._may_have(name, attribute):
                self._wrong(f"The narrative's `{name[:40]}` has the attribute `{attribute[:40]}`, which FHIR does not allow.")
            elif attribute == "id" or f"{name}.{attribute}" == "a.name":
                self.ids.add(value)
            elif attribute in _LINKS and _RUNS.match(_NOISE.sub("", value)):
                self._runs(f"The narrative's `{name}` has a link that runs something: `{value[:60]}`.")
            elif attribute in ("href", "src") and value[:1] == "#" and len(value) > 1:
                self.leads[value[1:]] = None
            elif attribute == "src" and _ELSEWHERE.match(_NOISE.sub("", value)):
                self._acts("The narrative's `img` is fetched from another place when it is shown: put the picture into the resource.")
            elif attribute in _LINKS and not _INERT.match(_NOISE.sub("", value)):
                self._acts(f"The narrative's `{name}` has a link that could run something: `{value[:60]}`.")
            elif attribute == "style" and _CSS.search(value):
                self._acts(f"The narrative's `{name}` has a style that could fetch or run something.")

    def _placed(self, name: str) -> None:
        """Whether it may stand where it stands."""
        within = self._open[-1]
        if (name in _INSIDE and within not in _INSIDE[name]) or (within in _HOLDS and name not in _HOLDS[within]):
            self._wrong(f"The narrative's `{name}` may not stand in `{within[:40]}`.")
        elif name in _INLINE and self._within[name]:
            self._wrong(f"The narrative's `{name}` stands inside another `{name}`.")
        elif name in _BLOCKS and (around := next((t for t in _TEXTUAL if self._within[t]), "")):
            self._wrong(f"The narrative's `{name}` may not stand in `{around}`, which holds text only.")
        elif name in _NEVER_IN_P and self._within["p"]:
            self._wrong(f"The narrative's `{name}` may not stand in a paragraph.")

    def _may_have(self, name: str, attribute: str) -> bool:
        return attribute in _EVERYWHERE or attribute == "xmlns" or f"{name}.{attribute}" in _HERE

    def _end(self, name: str) -> None:
        self._within[self._open.pop()] -= 1
        self._namespaces.pop()

    def _text(self, data: str) -> None:
        if data.strip(" \t\r\n"):
            self._content = self._content or not self._marked
            if self._open and self._open[-1] in _HOLDS:
                self._wrong(f"The narrative's `{self._open[-1]}` holds text of its own, which it may not.")

    def _mark(self) -> None:
        self._marked = True
        self._acts("The narrative holds a CDATA section, which a browser reads as something else.")

    def _unmark(self) -> None:
        self._marked = False

    def _instruction(self, target: str, data: str) -> None:
        self._acts(f"The narrative holds the instruction `{target[:40]}`, which a browser reads as something else.")
