"""Whatever waits for a person says why in plain words, whichever rule it was: one table, and every reason that can be kept stands in it."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from fhir_gateway.commands import saying
from fhir_gateway.domain import strict
from fhir_gateway.domain.problem import KINDS, Problem, outcome
from fhir_gateway.domain.reasons import BY_KIND, OURS, READ_ANEW, UNSURE, because, kind_of, reason, refused, words
from fhir_gateway.domain.types import Keep
from fhir_gateway.gate import waiting_room

from .test_believing import Beside, here

__all__ = ["here"]

SYNC = Path(__file__).parents[1] / "fhir_gateway" / "sync"


def named() -> set[str]:
    """Every reason that the code of sync gives one of its own Problems."""
    found = set()
    for file in SYNC.glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "because" and node.args:
                found |= {n.value for n in ast.walk(node.args[0]) if isinstance(n, ast.Constant) and isinstance(n.value, str)}
    return found


def test_every_reason_of_ours_stands_in_the_table_and_none_stands_there_in_vain() -> None:
    assert BY_KIND.keys() == KINDS.keys()
    by_name = named() | {"cannot-be-read-as-fhir", "leads-too-far"}  # said by whoever calls `broken`
    assert by_name == OURS.keys() and not OURS.keys() & (BY_KIND.keys() | UNSURE.keys())
    for why in [*OURS, *UNSURE]:
        p = because(why, "Goal.note")
        assert words(p.kind, outcome(p.issues)) == p.text


NAMES = st.sampled_from(["issue", "code", "details", "coding", "else"])
ANYTHING = st.recursive(st.none() | st.text(max_size=5) | st.integers(), lambda x: st.lists(x, max_size=3) | st.dictionaries(NAMES, x, max_size=3), max_leaves=8)


@given(st.sampled_from([*KINDS, "", "another"]), ANYTHING)
def test_whatever_was_kept_it_has_words_and_they_are_ours(kind: str, kept: Any) -> None:
    said = kept if isinstance(kept, dict) else {"issue": kept}
    assert words(kind, said) in {*OURS.values(), *UNSURE.values(), *BY_KIND.values()}
    assert kind_of(409, said) in KINDS and refused(422).endswith(".")


async def test_each_that_waits_says_what_happened_in_words_and_names_each_way_on(here: Beside) -> None:
    """The list for an operator, and the command's line of it; the code stays, for who looks for the place."""
    every = [Problem(k, "`secret` is no word", "Goal.note") for k in KINDS] + [because(w, "Goal.note") for w in OURS]
    items = {
        f"hub Goal/{n}": {"id": f"Goal/{n}", "item": str(n), "at": "2026-11-01T00:00:00", "tries": 1, "body": {}, "kind": p.kind, "outcome": outcome(p.issues)}
        for n, p in enumerate(every)
    }
    refusal = {"status": 422, "client": "trust", "at": "2026-11-01T00:00:00", "id": "m1", "body": "", "outcome": outcome(Problem("invalid", "`secret`", "Goal.note").issues)}
    older = {**refusal, "status": 412, "id": "m2", "outcome": outcome(Problem("stale", "`secret`", "If-Match").issues)}
    pushed = [Keep("inbox", f"trust {i['id']}", strict.dump(i)) for i in (refusal, older)]
    await here.house.store.commit(*(Keep("quarantine", key, strict.dump(i)) for key, i in items.items()), *pushed)
    found = {i["id"]: i for i in await waiting_room.everything(here.operator)}
    for n, p in enumerate(every):
        item = found[str(n)]
        assert item["words"] in (*BY_KIND.values(), *OURS.values()) and item["why"] == reason(0, outcome(p.issues)) and "secret" not in repr(item)
        line = saying.waiting(item)
        assert item["words"].removesuffix(".") in line and item["why"] in line and f"sync replay {n}`" in line and "since 2026-11-01" in line
    assert found["m1"]["can"] == ["replay", "end"]
    line = saying.waiting(found["m1"])
    assert "inbox replay m1`" in line and "inbox end m1 --reason TEXT" in line and BY_KIND["invalid"].removesuffix(".") in line
    assert found["m2"]["words"] == READ_ANEW and "read it and to send their change anew" in saying.waiting(found["m2"])
