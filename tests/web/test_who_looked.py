"""The words of "Who has looked": every thing that the gate writes down has its own, also what is recorded about the person."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import fhir_gateway
from fhir_gateway.domain import audit
from fhir_gateway.web.pages.patient import WHAT
from tests.web.test_doors import as_, newest

if TYPE_CHECKING:
    from tests.conftest import Gateway

WRITERS = {"note": 2, "notes": 2, "allow": 2, "put_by_house": 4}  # where each has its `what`


def written() -> set[str]:
    """Each `what` that stands in the code as itself or as a module's own name for it."""
    out: set[str] = set()
    for path in Path(fhir_gateway.__file__).parent.rglob("*.py"):
        tree = ast.parse(path.read_text())
        named: dict[str, str] = {}
        for to, value in ((n.targets[0], n.value) for n in tree.body if isinstance(n, ast.Assign)):
            for t, v in zip(to.elts, value.elts, strict=True) if isinstance(to, ast.Tuple) and isinstance(value, ast.Tuple) else [(to, value)]:
                if isinstance(t, ast.Name) and isinstance(v, ast.Constant) and isinstance(v.value, str):
                    named[t.id] = v.value
        for call in (n for n in ast.walk(tree) if isinstance(n, ast.Call) and isinstance(n.func, ast.Name) and n.func.id in WRITERS):
            at = WRITERS[call.func.id]  # type: ignore[attr-defined]
            what = call.args[at] if len(call.args) > at else None
            if isinstance(what, ast.Constant):
                out.add(str(what.value))
            elif isinstance(what, ast.Name) and what.id in named:
                out.add(named[what.id])
    return out


def test_each_thing_that_is_written_down_has_its_words() -> None:
    found = written()
    assert {"search", "record", "sync", "break-glass", "claim-end", "emergency-review", "relabel"} <= found
    assert found - WHAT.keys() == set()
    assert found - audit._DID.keys() == {"emergencies"}, "a row of the privacy officer's list is nobody's"


@pytest.fixture
def recorded(demo: Gateway) -> Iterator[Gateway]:
    yield demo
    for fact in ("no-notify", "capacity-lost"):
        assert demo.command("patients", "record", demo.patient, fact, "--off", "--evidence", "It was a test").returncode == 0


def test_she_sees_what_was_recorded_about_her_and_how_it_was_found_out(recorded: Gateway) -> None:
    g = recorded
    done = g.command("patients", "record", g.patient, "capacity-lost", "--evidence", "Dr Shah: at the ward, on Monday")
    assert done.returncode == 0, done.stderr
    again = g.command("patients", "record", f"Patient/{g.patient}", "capacity-lost", "--evidence", "As it was printed")
    assert again.returncode == 0 and f"Patient/{g.patient}: capacity-lost unchanged" in again.stdout, again
    wrong = g.command("patients", "record", g.patient, "happy", "--evidence", "x")
    assert wrong.returncode == 2 and "`happy`" in wrong.stderr and "capacity-lost" in wrong.stderr, wrong
    line = newest(g, 2)[1]
    assert "Those who run this service What they did Recorded that you cannot decide about this for yourself now, in your plan or record" in line, line
    assert "Allowed because “Dr Shah: at the ward, on Monday”" in line, line
    done = g.command("patients", "record", g.patient, "no-notify", "--evidence", "Her partner reads her letters")
    assert done.returncode == 0, done.stderr
    page = as_(g, "patient").get("/my-plan/who-looked").text
    assert "Wrote something down about" in page
    assert "partner" not in page and "at the ward" not in page and "cannot decide" not in page
