"""Each item of the standard, one by one: another value at the place that its row names in a plan is another value at the place that the row names
in FHIR, at no other place of that resource, and it comes back. Made from `mappings/`: a row that is added, or moved, is tried without a word here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from typing import Any

import pytest

from fhir_gateway.domain import mapping, strict
from fhir_gateway.domain.mapping.names import EXTENSIONS

from .test_standard import ROWS, TABLES, WHOLE, held

HL7 = "http://hl7.org/fhir/StructureDefinition/"
UK_CORE = "https://fhir.hl7.org.uk/StructureDefinition/Extension-UKCore-"
ALSO = {("team", "key_worker"): "participant.role"}  # beside our extension: a role that readers who do not know it can show
ROOTS = {"plan": "", "stage-goal": "goals.stage_goals."}


def claims() -> list[tuple[int, str, str]]:
    """(item, table, place in the plan below the table) of every row that holds an item."""
    return sorted((n, kind, path) for kind, found in ROWS.items() for path, row in found for n in row.get("standard", ()) if "read" not in row)


def spelled(kind: str, path: str) -> tuple[dict[str, Any], list[str]]:
    """The first row for this place in a plan, and each place in the resource that one has, with those of the rows it stands in."""
    above = ["participant"] if kind == "team" else []
    above += [str(row["fhir"]) for place, row in ROWS[kind] if path.startswith(place + ".") and "each" in row]
    mine = [row for place, row in ROWS[kind] if place == path]
    return mine[0], [*(".".join([*above, str(row["fhir"])]) for row in mine), *([ALSO[kind, path]] if (kind, path) in ALSO else [])]


def names(fhir: str) -> list[str]:
    """The elements of a row's place, an extension by its address."""
    out, depth, word = [], 0, ""
    for c in fhir + ".":
        depth += (c == "[") - (c == "]")
        if c == "." and depth == 0:
            name, _, inside = word.partition("[")
            inside = inside.rstrip("]").removeprefix("url=").replace("own:", EXTENSIONS).replace("hl7:", HL7).replace("ukcore:", UK_CORE)
            out.append(f"{name}[{inside}]" if name in ("extension", "modifierExtension") else name)
            word = ""
        else:
            word += c
    return out


def leaves(node: Any, way: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], str]]:
    if isinstance(node, Mapping):
        for k, v in node.items():
            yield from leaves(v, (*way, k))
    elif isinstance(node, list):
        for v in node:
            more = f"[{v.get('url')}]" if way[-1:] in (("extension",), ("modifierExtension",)) and isinstance(v, Mapping) else ""
            yield from leaves(v, (*way[:-1], way[-1] + more))
    else:
        yield way, strict.dump({"v": node}).decode()


def changed(plan: dict[str, Any], kind: str, path: str, row: dict[str, Any]) -> dict[str, Any]:
    """The plan with another value at this place, wherever it has one."""
    out = deepcopy(plan)
    whole = (ROOTS.get(kind) if kind in ROOTS else f"{TABLES[kind].key}.") or ""
    steps = f"{whole}{path}".split(".")

    def go(node: Any, left: list[str]) -> None:
        if isinstance(node, list):
            for n in node:
                go(n, left)
        elif isinstance(node, dict) and left[0] in node:
            if len(left) > 1:
                go(node[left[0]], left[1:])
            else:
                node[left[0]] = other(node[left[0]], row)

    go(out, steps)
    return out


def other(value: Any, row: dict[str, Any]) -> Any:
    if isinstance(value, list):
        return [other(v, row) for v in value]
    if isinstance(value, bool):
        return not value
    if "table" in row:
        words = [e["code"] for g in TABLES.codes[row["table"]]["group"] for e in g["element"]]
        return next(w for w in words if w != value)
    if isinstance(value, str):
        day = "2001-03-04" if str(row["fhir"]).endswith("start") else "2031-03-04"  # a period begins before it ends
        return day if row.get("type") in ("date", "moment") else value + "x"
    if isinstance(value, dict):
        return {k: (v + "x" if k in ("name", "text", "display") and isinstance(v, str) else v) for k, v in value.items()}
    return value - 1 if value > 1 else value + 1


def of(made: Sequence[mapping.Entry], kind: str) -> list[tuple[tuple[str, ...], str]]:
    return [leaf for e in made if e.kind == kind for leaf in leaves(e.resource)]


AS_IT_IS = {kind: of(mapping.to_fhir(WHOLE["plan"], TABLES).entries, kind) for kind in ROWS}


def test_each_item_that_has_a_row_is_tried() -> None:
    assert {n for n, _, _ in claims()} == set(held()) and len(held()) == 210


@pytest.mark.parametrize(("item", "kind", "path"), claims())
def test_an_item_lands_where_its_row_says_and_comes_back(item: int, kind: str, path: str) -> None:
    row, places = spelled(kind, path)
    plan = changed(WHOLE["plan"], kind, path, row)
    assert plan != WHOLE["plan"], "the whole plan has it"
    made = mapping.to_fhir(plan, TABLES).entries
    before, after = AS_IT_IS[kind], of(made, kind)
    moved = {leaf for leaf in after if leaf not in before} | {leaf for leaf in before if leaf not in after}
    assert moved, f"{path} is not said in FHIR"
    wanted = [names(p) for p in places]
    astray = sorted({".".join(way) for way, _ in moved if not any(list(way[: len(at)]) == at for at in wanted)})
    assert not astray, f"{path} is to be at {places}"
    assert mapping.from_fhir([{"fullUrl": e.full_url, "resource": e.resource} for e in made], TABLES) == plan
