"""Compile what R4 lets its references point to into `fhir_gateway/domain/pointing.py`.

    python scripts/compile_pointing.py

Run it when `profiles/r4` or `directory.NO_PATIENT_DATA` changes; tests/test_pointing.py says when that was forgotten.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from textwrap import wrap

from fhir_gateway.definitions import load_r4
from fhir_gateway.domain.directory import NO_PATIENT_DATA
from fhir_gateway.domain.r4 import COMPLEX, R4, names

OUT = Path(__file__).parents[1] / "fhir_gateway" / "domain" / "pointing.py"
HEAD = '''"""Which elements of R4 are references, and which of them can point to nothing of a patient.

Compiled from the official tables by `scripts/compile_pointing.py`; do not edit. https://hl7.org/fhir/R4/references.html
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

# Every name that a Reference has in JSON, in some type.
REFERENCES: Final = frozenset(
'''


def main() -> None:
    OUT.write_text(compiled(load_r4()))


def compiled(r4: R4) -> str:
    """The module's text."""
    known: dict[str, dict[str, bool]] = {}  # name -> type -> can it be of nobody only
    for type, name, targets in references(r4):
        safe = bool(targets) and NO_PATIENT_DATA.issuperset(targets)
        known.setdefault(name, {})[type] = safe and known.get(name, {}).get(type, True)
    datatypes = {t for by in known.values() for t in by if r4.type(t).kind == COMPLEX}
    everywhere, only = [], {}
    for name, by in sorted(known.items()):
        if all(by.values()):
            everywhere.append(name)
        elif any(t in datatypes and not safe for t, safe in by.items()):
            continue  # a data type stands in any resource
        elif types := sorted(t for t, safe in by.items() if safe):
            only[name] = types
    return "".join([
        HEAD, *_lines(sorted(known)), ")\n\n# Those that point to no patient data in any type.\nOF_NOBODY: Final = frozenset(\n", *_lines(everywhere),
        ")\n\n# Those that do not in these types.\nOF_NOBODY_IN: Final[Mapping[str, frozenset[str]]] = {\n",
        *(f'    "{name}": frozenset("{" ".join(types)}".split()),\n' for name, types in only.items()), "}\n",
    ])  # fmt: skip


def references(r4: R4) -> Iterator[tuple[str, str, tuple[str, ...]]]:
    """(type, name in JSON, types it may point to; () any) of every Reference."""
    for type in r4.every_type:
        for path, e in r4.type(type).elements.items():
            name = path.rpartition(".")[2]
            if "Reference" in e.types:
                yield type, name[:-3] + "Reference" if name.endswith("[x]") else names(name, e)[0], e.targets


def _lines(words: list[str]) -> Iterator[str]:
    lines = wrap(" ".join(words), 118)
    for n, line in enumerate(lines):
        yield f'    {"(" if n == 0 else " "}"{" " if n else ""}{line}"{").split()" if n == len(lines) - 1 else ""}\n'


if __name__ == "__main__":
    main()
