"""What of a page, or of a narrative, could act when a browser reads it: as HTML, which is how browsers read it."""

from __future__ import annotations

from html import escape
from html.parser import HTMLParser

RUNS = ("javascript:", "vbscript:", "data:text/html")
LINKS = frozenset("href src cite longdesc action formaction xlink:href background poster data".split())
ACTIVE = frozenset("script style iframe object embed form input button svg math link meta base template frame frameset applet audio video".split())


class Read(HTMLParser):
    """`tags`: every element's name; `text`: what is to be read; `acting`: what could run or fetch; `scripts`: elements called script."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[str] = []
        self.acting: list[str] = []
        self.values: dict[str, str] = {}  # of the inputs, by name
        self._text: list[str] = []
        self.feed(page)
        self.close()

    @property
    def text(self) -> str:
        return "".join(self._text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        given = dict(attrs)
        if tag == "input" and given.get("name"):
            self.values[given["name"] or ""] = given.get("value") or ""
        for name, value in attrs:
            bare = "".join(c for c in value or "" if ord(c) > 32 and c not in "\u00ad\u200b\ufeff").lower()
            if name.startswith("on") or (name in LINKS and bare.startswith(RUNS)):
                self.acting.append(f"{tag}.{name}")

    def handle_data(self, data: str) -> None:
        self._text.append(data)


def acting(div: str) -> list[str]:
    """What in a narrative could act: active elements, handlers, links that run. Empty for one that is inert."""
    read = Read(div)
    return [t for t in read.tags if t in ACTIVE] + read.acting


VOID = frozenset("area base br col embed hr img input link meta param source track wbr".split())


class _Written(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.out: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = "".join(f' {name}="{escape(value or "")}"' for name, value in dict(attrs).items())
        self.out.append(f"<{tag}{given}{'/' if tag in VOID else ''}>")
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        while tag in self.open and (last := self.open.pop()):
            self.out.append(f"</{last}>")
            if last == tag:
                break

    def handle_data(self, data: str) -> None:
        self.out.append(escape(data, quote=False))


def as_xhtml(fragment: str) -> str:
    """The same elements, attributes and words, written so that XML can read them: only what they say can keep them out."""
    written = _Written()
    written.feed(fragment.replace("<![", "&lt;!["))  # a marked section is no element
    written.close()
    return "".join([*written.out, *(f"</{tag}>" for tag in reversed(written.open))])
