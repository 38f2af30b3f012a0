"""Things in sentences as the XHTML of a narrative: everything escaped, nothing active, each text in the direction that it runs.

https://hl7.org/fhir/R4/narrative.html
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from html import escape
from typing import Final

from .written_down import Row, Thing, right_to_left

XHTML: Final = "http://www.w3.org/1999/xhtml"
ENGLISH: Final = "en"  # what the words of our own are in; what a person wrote is in whichever language they wrote it
_NO_XML: Final = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def narrative(inner: str, language: str = ENGLISH, named: str = "") -> dict[str, str]:
    """A Narrative that is generated from what stands beside it. `named`: the class of its `div`."""
    more = f' class="{escape(named)}"' if named else ""
    return {"status": "generated", "div": f'<div xmlns="{XHTML}" lang="{escape(language)}" xml:lang="{escape(language)}"{more}>{inner}</div>'}


def listed(things: Iterable[Thing]) -> str:
    """One entry of a list for each."""
    return f"<ul>{''.join(f'<li>{thing(t)}</li>' for t in things)}</ul>"


def thing(t: Thing) -> str:
    """A thing's sentence with how it stands, and what there is to say of it."""
    head = " ".join(x for x in (t.text, f"({t.state[:1].lower()}{t.state[1:]})" if t.state else "") if x)
    return (said(head, "b") if head else "") + rows(t.rows, t.lists)


def rows(rows: Iterable[Row], lists: Iterable[tuple[str, Iterable[str]]] = ()) -> str:
    """Labels, each with what stands beside it; "" where there are none."""
    pairs = [*((r.label, [r.text]) for r in rows), *((label, list(items)) for label, items in lists)]
    inner = "".join(f"<dt>{escape(clean(label))}</dt>{''.join(said(i, 'dd') for i in items)}" for label, items in pairs)
    return f"<dl>{inner}</dl>" if inner else ""


def said(text: str, element: str = "p") -> str:
    """A text in an element of its own: lines stay lines."""
    way = ' dir="rtl"' if right_to_left(text) else ""
    return f"<{element}{way}>{'<br/>'.join(map(escape, clean(text).splitlines()))}</{element}>"


def clean(text: str) -> str:
    """Without what XML cannot hold."""
    return _NO_XML.sub("\ufffd", text)


__all__ = ["ENGLISH", "XHTML", "clean", "listed", "narrative", "rows", "said", "thing"]
