"""The sentences of the pages and of a plan on paper, and what the catalogues lack of them (`scripts/sentences`).

Sentences stand in `_(...)`, in templates and modules, and in tables of modules whose values are said by `_` later: there any text with a space, or
one word that begins with a capital, is taken for one. What is no sentence of a page does no harm in a catalogue.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from babel.messages.catalog import Catalog
from babel.messages.extract import extract_from_dir
from babel.messages.pofile import read_po, write_po

from fhir_gateway.domain.alerts import NOTHING_KNOWN
from fhir_gateway.domain.sentences import ABOUT
from fhir_gateway.domain.written_down import STATES

ROOT = Path(__file__).resolve().parent.parent
WEB = ROOT / "fhir_gateway" / "web"
PAPER = (  # a plan on paper: its page, and its parts
    (ROOT / "fhir_gateway" / "around", [("templates/**.html", "jinja2.ext:babel_extract")], {"_": None}),
    (ROOT / "fhir_gateway" / "domain", [("booklet.py", "python"), ("sentences.py", "python"), ("medicines.py", "python"), ("told_by_others.py", "python"), ("plans_of_others.py", "python")], {"say": None}),
)
LANGUAGES = {"cy": "cy_GB", "ur": "ur"}
DAY = datetime(2026, 11, 26, tzinfo=UTC)  # always the same, so that only what changes is changed
SENTENCE = re.compile(r"[A-Z][a-z]+[.:]?\Z|.*[A-Za-z]{2,} .*", re.S)


def sentences() -> dict[str, str | tuple[str, str]]:
    """By the text in the singular: what is translated, alone or with its plural."""
    out: dict[str, str | tuple[str, str]] = {}
    ways = [("pages/**.py", "python"), ("smart.py", "python"), ("templates/**.html", "jinja2.ext:babel_extract")]
    for _file, _line, said, _comments, _context in extract_from_dir(WEB, ways, {}, {"_": None, "ngettext": (1, 2), "gettext": None}):
        out[said if isinstance(said, str) else said[0]] = said if isinstance(said, str) else (said[0], said[1])
    for place, ways, keywords in PAPER:
        for _file, _line, said, _comments, _context in extract_from_dir(place, ways, {}, keywords):
            if isinstance(said, str):
                out.setdefault(said, said)
    for label in (*(label for _key, label in ABOUT), *STATES, *NOTHING_KNOWN.values()):
        out.setdefault(label, label)
    for file in sorted((WEB / "pages").rglob("*.py")):
        for text in tables(ast.parse(file.read_text())):
            out.setdefault(text, text)
    return out


def tables(tree: ast.Module) -> Iterator[str]:
    """Texts in the values of constants of a module."""
    for node in tree.body:
        if not isinstance(node, (ast.Assign, ast.AnnAssign)) or node.value is None:
            continue
        names = [node.target] if isinstance(node, ast.AnnAssign) else node.targets
        if not any(isinstance(n, ast.Name) and n.id.isupper() for n in names):
            continue
        for inner in ast.walk(node.value):
            if isinstance(inner, ast.Constant) and isinstance(inner.value, str) and SENTENCE.match(inner.value) and "/" not in inner.value:
                yield inner.value


def main() -> int:
    check, wanted, lacking = "--check" in sys.argv[1:], sentences(), 0
    for language, locale in LANGUAGES.items():
        file = WEB / "languages" / f"{language}.po"
        before = Catalog(locale=locale)
        if file.is_file():
            with file.open("rb") as f:
                before = read_po(f, locale=locale)
        new = Catalog(
            locale=locale, project="fhir_gateway", version="", header_comment=f"# {locale}: the sentences of the pages. Not checked by a speaker yet. docs/languages.md",
            creation_date=DAY, revision_date=DAY, last_translator="", language_team="", msgid_bugs_address="", charset="utf-8", fuzzy=False,
        )  # fmt: skip
        missing = []
        for text, said in sorted(wanted.items()):
            known = before.get(text)
            new.add(said, known.string if known is not None else None)
            if known is None or not known.string or (isinstance(known.string, tuple) and not all(known.string)):
                missing.append(text)
        lacking += len(missing)
        print(f"{language}: {len(wanted)} sentences, {len(missing)} not translated", file=sys.stderr)
        for text in missing[:20] if check else ():
            print(f"  {text}", file=sys.stderr)
        if not check:
            file.parent.mkdir(exist_ok=True)
            with file.open("wb") as f:
                write_po(f, new, width=0, no_location=True, omit_header=False, sort_output=True)
    return 1 if check and lacking else 0


if __name__ == "__main__":
    sys.exit(main())
