"""Whether each package we bring may be shipped with an Apache-2.0 program: `licences.py LICENCES.csv SBOM.json`. Used by `scripts/sbom`."""

from __future__ import annotations

import csv
import json
import re
import sys
from pathlib import Path

# Permissive, or weak copyleft that asks nothing of a program that only imports the package.
FINE = re.compile(
    r"apache|\bmit\b|bsd|isc|python software foundation|psf|mpl|mozilla public|unlicense|zlib|lgpl|lesser general public|0bsd|cc0", re.I
)
NOT = re.compile(r"(?<!lesser )general public|(?<!l)gpl|agpl|affero|sspl|business source|commercial|proprietary|non-?commercial", re.I)
READ_BY_HAND = {  # packages whose metadata do not say: the licence file that each brings
    "fhirpathpy": "MIT License",
    "apsw_sqlite3mc": "zlib",
}


def main() -> int:
    rows = list(csv.DictReader(Path(sys.argv[1]).read_text().splitlines()))
    components = json.loads(Path(sys.argv[2]).read_text())["components"]
    names = {re.sub(r"[-_.]+", "-", r["Name"]).lower() for r in rows} - {"pip", "setuptools"}
    listed = {re.sub(r"[-_.]+", "-", c["name"]).lower() for c in components}
    wrong = [f"{name} is in one list and not in the other" for name in sorted((names ^ listed) - {"pip", "setuptools", "fhir-gateway", "pip-licenses", "prettytable", "wcwidth"})]
    for r in rows:
        licence = READ_BY_HAND.get(r["Name"], r["License"])
        if r["Name"] not in ("pip", "setuptools") and (NOT.search(licence) or not FINE.search(licence)):
            wrong.append(f"{r['Name']} {r['Version']}: `{licence}` is not among the licences we ship with")
    print(f"{len(components)} packages in .work/sbom.cdx.json, {len(rows)} licences in .work/licences.csv")
    for line in wrong:
        print(line, file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
