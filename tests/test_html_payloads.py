"""Payloads that once got through a sanitiser, as narrative and as plain words: stored as they are where FHIR allows them and nothing acts, else refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from .conftest import Gateway
from .inert import Read, acting, as_xhtml
from .test_naughty_strings import asked, created, status
from .web.test_doors import as_

XHTML = "http://www.w3.org/1999/xhtml"


def payloads(shared: Path) -> list[str]:
    found = [p["payload"] for p in json.loads((shared / "suites/html-payloads.json").read_text())]
    assert len(found) == 223
    return found


def narratives(shared: Path) -> list[str]:
    """Each as it is; inside a div that is in order; and there once more, written as XML can read it."""
    found = payloads(shared)
    inside = [p for fragment in found for p in (fragment, as_xhtml(fragment), f"<p>{as_xhtml(fragment)}</p>x")]
    return list(dict.fromkeys([*found, *(f'<div xmlns="{XHTML}">{p}</div>' for p in inside)]))


@pytest.fixture(scope="module")
def stored(demo: Gateway, shared: Path) -> dict[str, str]:
    """The narratives that were taken, each with the id of its Goal."""
    divs = narratives(shared)
    goals = [
        {
            "resourceType": "Goal", "text": {"status": "additional", "div": div}, "lifecycleStatus": "active", "description": {"text": "Sing"},
            "subject": {"reference": f"Patient/{demo.patient}"},
        }
        for div in divs
    ]  # fmt: skip
    out = {}
    for div, entry in zip(divs, created(demo, goals), strict=True):
        assert status(entry) in (201, 422), (div, entry)
        if status(entry) == 201:
            out[div] = entry["response"]["location"].split("Goal/")[1].split("/")[0]
    return out


def test_a_narrative_is_kept_byte_for_byte_or_refused(demo: Gateway, stored: dict[str, str], shared: Path) -> None:
    read = asked(demo, [f"Goal/{id}" for id in stored.values()])
    assert [e["resource"]["text"]["div"] for e in read] == list(stored)
    assert 0 < len(stored) < len(narratives(shared)) / 4


def test_no_narrative_that_is_kept_could_act(stored: dict[str, str]) -> None:
    assert {div: found for div in stored if (found := acting(div))} == {}


def test_as_plain_words_they_are_words_on_every_page(demo: Gateway, shared: Path) -> None:
    """In her plan: what matters to her, goals, needs, actions, the names of her team."""
    texts = [" ".join(p.split()) for p in payloads(shared)]
    plan = demo.get("patient", f"/plans/{demo.patient}").json()
    before = Read(as_(demo, "patient").get("/my-plan").text)
    for n, key in enumerate(("goals", "needs", "actions")):
        plan[key] = [*plan.get(key, []), *({"id": f"html-{key}-{i}", "text": s} for i, s in enumerate(texts[n::3]))]
    plan["about_me"] = {**plan.get("about_me", {}), "my_wellness": " ".join(texts)}
    plan["title"] = "<script>alert(1)</script>"
    answer = demo.call("patient", "POST", "/plans", body=plan, headers={"Content-Type": "application/json"})
    assert answer.status_code in (200, 201), answer.text[:500]
    for who, path in (("patient", "/my-plan"), ("gp", f"/team/people/{demo.patient}"), ("patient", "/my-plan/private"), ("patient", "/my-plan/sharing/why")):
        page = Read(as_(demo, who).get(path).text)
        assert page.acting == [] and page.tags.count("script") <= before.tags.count("script"), path
        assert not {"iframe", "object", "embed", "math", "base", "template", "audio", "video", "style"} & set(page.tags), path
        if path in ("/my-plan", f"/team/people/{demo.patient}"):
            words = " ".join(page.text.split())
            assert [t for t in texts if t and " ".join(t.split()) not in words] == []
