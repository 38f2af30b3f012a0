"""Bundles out of stored bytes, and the references of a transaction."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir_gateway.domain.bundle import answered, conditional_references, history, references, rewrite, searchset, urn_references
from fhir_gateway.domain.types import Ref

BASE = "https://here.example/fhir"
AT = datetime(2026, 11, 24, 12, 0, 0, 5000, tzinfo=UTC)


@dataclass
class Entry:
    ref: Ref
    body: bytes | None
    version: int = 1
    mode: str = "match"
    updated: datetime = AT
    method: str = ""


@dataclass
class Page:
    entries: Sequence[Entry] = ()
    total: int | None = None


@dataclass
class Done:
    did: str
    ref: Ref = Ref("Goal", "1")  # noqa: RUF009
    version: int = 2
    updated: datetime = AT
    shown: bool = True


def test_stored_bytes_go_out_as_they_are():
    odd = b'{ "resourceType":"Goal",\n "id":"1", "x": 1.50, "y":"\\u00e9" }'
    out = searchset(
        Page([Entry(Ref("Goal", "1"), odd), Entry(Ref("Patient", "a"), b'{"id":"a"}', mode="include")], 1), BASE, {"self": 's&"<'}
    )
    assert odd in out
    bundle = json.loads(out)
    assert (bundle["resourceType"], bundle["type"], bundle["total"]) == ("Bundle", "searchset", 1)
    assert bundle["link"] == [{"relation": "self", "url": 's&"<'}]
    assert [(e["fullUrl"], e["search"]["mode"]) for e in bundle["entry"]] == [
        (f"{BASE}/Goal/1", "match"),
        (f"{BASE}/Patient/a", "include"),
    ]


def test_an_empty_search_has_no_empty_arrays():
    assert json.loads(searchset(Page(total=0), BASE, {})) == {"resourceType": "Bundle", "type": "searchset", "total": 0}
    assert "total" not in json.loads(searchset(Page(), BASE, {}))


def test_history_says_how_each_version_came_about_and_a_deletion_has_no_resource():
    rows = [Entry(Ref("Goal", "1"), None, 3), Entry(Ref("Goal", "1"), b'{"id":"1"}', 2), Entry(Ref("Goal", "1"), b'{"id":"1"}', 1)]
    bundle = json.loads(history(Page(rows, 3), BASE, {"self": "x"}))
    assert bundle["type"] == "history"
    assert [(e["request"]["method"], e["request"]["url"], "resource" in e) for e in bundle["entry"]] == [
        ("DELETE", "Goal/1", False), ("PUT", "Goal/1", True), ("POST", "Goal", True),
    ]  # fmt: skip
    assert bundle["entry"][1]["response"] == {"status": "200 OK", "etag": 'W/"2"', "lastModified": "2026-11-24T12:00:00.005Z"}


@pytest.mark.parametrize(
    ("did", "status"),
    [
        ("created", "201 Created"),
        ("updated", "200 OK"),
        ("unchanged", "200 OK"),
        ("matched", "200 OK"),
        ("deleted", "204 No Content"),
    ],
)
def test_the_answer_to_one_write(did, status):
    assert answered(Done(did)) == {
        "response": {"status": status, "location": "Goal/1/_history/2", "etag": 'W/"2"', "lastModified": "2026-11-24T12:00:00.005Z"}
    }


# -- references -------------------------------------------------------------------------------------------------------

URN = "urn:uuid:61ebe359-bfdc-4613-8bf2-c5e300945f0a"


def goal(*targets: str) -> dict[str, Any]:
    return {"resourceType": "Goal", "addresses": [{"reference": t} for t in targets], "description": {"text": URN}}


def test_only_references_are_rewritten_not_texts_that_look_alike():
    done = rewrite(goal(URN, "Condition/1", "urn:uuid:other"), {URN: "Condition/9"})
    assert [a["reference"] for a in done["addresses"]] == ["Condition/9", "Condition/1", "urn:uuid:other"]
    assert done["description"] == {"text": URN}


def test_a_fragment_stays():
    assert rewrite(goal(URN + "#p"), {URN: "Condition/9"})["addresses"] == [{"reference": "Condition/9#p"}]


def test_a_relative_reference_means_the_entry_beside_it_on_the_same_server_only():
    names = {"http://there.example/fhir/Condition/1": "Condition/9"}
    assert references_of(rewrite(goal("Condition/1"), names, "http://there.example/fhir/Goal/5")) == ["Condition/9"]
    assert references_of(rewrite(goal("Condition/1"), names, "http://elsewhere.example/fhir/Goal/5")) == ["Condition/1"]
    assert references_of(rewrite(goal("Condition/1"), names)) == ["Condition/1"]
    assert references_of(rewrite(goal("http://there.example/fhir/Condition/1"), names)) == ["Condition/9"]


def references_of(resource: dict[str, Any]) -> list[str]:
    return list(references(resource))


def test_conditional_references_and_those_to_other_entries_are_found_once():
    resource = goal(
        "Patient?identifier=s|v", URN, URN + "#x", "Patient?identifier=s|v", "http://x.example/Patient?y=1", "#here", "Goal/1"
    )
    assert conditional_references(resource) == ["Patient?identifier=s|v"]
    assert urn_references(resource) == [URN]
    assert conditional_references({"resourceType": "Goal", "reference": {"reference": "Task?x=1"}}) == ["Task?x=1"]


ids = st.sampled_from([f"urn:uuid:{i}" for i in range(4)])
trees = st.recursive(
    st.one_of(ids, st.integers(), st.booleans()),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.sampled_from(["reference", "text", "part"]), inner, max_size=3)
    ),
    max_leaves=12,
).map(lambda t: {"part": t})


@given(trees, st.dictionaries(ids, st.sampled_from(["Goal/1", "Task/2"])))
def test_after_rewriting_no_named_reference_is_left_and_everything_else_is_as_it_was(tree, names):
    done = rewrite(tree, names)
    assert not set(references(done)) & set(names)
    assert [names.get(r, r) for r in references(tree)] == list(references(done))
    assert rewrite(tree, {}) == tree
