"""The links of *My plan* lead to the thing of the plan, whoever else wrote its identifier on something of theirs."""

from __future__ import annotations

import html
import re

import pytest

from ..conftest import Gateway
from .test_doors import as_


def led_to(page: str, words: str, link: str) -> set[str]:
    """Where the links of this kind beside a thing of these words lead."""
    return {ref for ref, text in re.findall(rf"{link}([A-Za-z]+/[^\"&]+)\"[^>]*>[^<]*<span[^>]*>([^<]*)", page) if words in html.unescape(text)}


@pytest.mark.parametrize("as_own_id", [False, True])
def test_what_bears_the_identifier_of_a_goal_takes_its_links_from_it_nowhere(demo: Gateway, as_own_id: bool) -> None:
    amina = as_(demo, "patient")
    goals = [e["resource"] for e in demo.get("patient", f"Goal?patient={demo.patient}&_count=200").json()["entry"]]
    real = next(g for g in goals if any(i["system"].endswith("/plan/goal") for i in g.get("identifier", ())) and not g.get("meta", {}).get("security"))
    decoy = {k: v for k, v in real.items() if k not in ("id", "meta", "text")}
    if as_own_id:  # called, in a plan, by the very id that the other has here
        decoy["identifier"] = [{**i, "value": f"{i['value'].split('/')[0]}/{real['id']}"} for i in decoy["identifier"]]
    decoy["description"] = {"text": "Something else"}
    made = demo.call("social-worker", "POST", "Goal", body=decoy)
    assert made.status_code == 201, made.text
    page = amina.get("/my-plan").text
    for link in (r"hide\?thing=", "/my-plan/edit/"):
        found = led_to(page, str(real["description"]["text"]), link)
        assert found == {f"Goal/{real['id']}"}, link
