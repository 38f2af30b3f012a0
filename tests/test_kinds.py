"""Whatever is kept about a person is in their copy and goes with their record, or it is said why not. `gate/kinds.py`"""

from __future__ import annotations

import ast
import importlib
from pathlib import Path
from types import ModuleType
from typing import Any

import fhir_gateway
from fhir_gateway.gate.kinds import KINDS
from fhir_gateway.store.journalled import PASSING

HERE = Path(fhir_gateway.__file__).parent


def said(node: ast.expr, module: ModuleType) -> Any:
    """What an expression of names and constants means in its module."""
    return eval(compile(ast.Expression(node), "kind", "eval"), vars(module))


def kept() -> dict[str, str]:
    """Each kind that any `Keep` of the program makes, and the file that has one."""
    found: dict[str, str] = {}
    for file in sorted(HERE.rglob("*.py")):
        calls = [n for n in ast.walk(ast.parse(file.read_text())) if isinstance(n, ast.Call) and isinstance(n.func, ast.Name) and n.func.id == "Keep"]
        if not calls:
            continue
        module = importlib.import_module(".".join(file.relative_to(HERE.parent).with_suffix("").parts).removesuffix(".__init__"))
        for call in calls:
            first = call.args[0]
            kind = said(first.value, module)[0] if isinstance(first, ast.Starred) else said(first, module)
            found[kind] = file.name
    return found


def test_every_kind_that_is_kept_is_known_and_no_other() -> None:
    made = kept()
    assert {k: f for k, f in made.items() if k not in KINDS} == {}, "say in gate/kinds.py whether it is in a person's copy, and goes with their record"
    assert set(KINDS) - set(made) == set(), "nothing keeps these any more"
    assert set(KINDS) >= PASSING, "what the journal passes over"


def test_a_kind_is_in_the_copy_or_it_is_said_why_not() -> None:
    assert [k for k, about in KINDS.items() if bool(about.file) == bool(about.why)] == []
    copied = (Path(__file__).parents[1] / "docs" / "subject-access.md").read_text()
    assert [about.file for about in KINDS.values() if f"`{about.file}" not in copied and about.file] == []
