"""The page of what was sent to other services: what, to whom by its name, when, and how it is now."""

from __future__ import annotations

import re
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.staff import consent

from ..stores.test_attempts import Hub
from ..test_remotes import partnered as with_remotes
from .test_doors import as_
from .test_operator import operator, partnered

if TYPE_CHECKING:
    from ..conftest import Gateway


def test_where_nothing_was_sent_the_page_says_so(demo: Gateway) -> None:
    v = as_(demo, "patient")
    assert "Nothing of your plan was sent to another service." in v.get("/my-plan/sent").text
    for wrong in ("0", "2", "-1", "x", "9" * 400, "٣"):
        assert v.get(f"/my-plan/sent?page={wrong}").status_code == 404
    assert '"/my-plan/sent"' in v.get("/my-plan/who-looked").text and '"/my-plan/sent"' in v.get("/my-plan/sharing").text
    assert as_(demo, "gp").get("/my-plan/sent").status_code == 403


@pytest.mark.slow
def test_it_says_what_went_where_and_what_came_back(tmp_path: Path) -> None:
    with partnered(tmp_path) as (g, there):
        v = as_(g, "patient")

        def said() -> str:
            v.get("/my-plan/sent")
            assert not re.search(r"[0-9a-f]{8}-[0-9a-f-]{9,}|\bD82001\b|\bhub\b|\bremote\b", v.words()), v.words()
            return v.words()

        page = said()
        assert "Your details Who has or had it Example Street Surgery" in page and "They have it" in page and "Taken back" not in page
        no: Any = {"type": "deny", "actor": [{"role": {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v3-ParticipationType", "code": "IRCP"}]},
                   "reference": {"reference": organisation(g)}}]}  # fmt: skip
        there.refuses["DELETE Goal"] = 400
        made = g.call("patient", "POST", "Consent", body=consent(g.patient, no))
        assert made.status_code == 201, made.text
        assert "Being taken back" in said()
        g.command("sync", "run", "--once")
        page = said()
        assert "could not be taken back yet" in page and "Not back yet Their computer would not give it back." in page
        assert page.index("Not back yet") < page.index("Taken back on"), "what should be back comes first"
        recalls = [i for i in g.lines("sync", "waiting", "--json") if i["kind"] == "recall"]
        olu = operator(g)
        olu.get("/operator")
        form = {"kind": "recall", "id": recalls[0]["id"], "do": "gone"}
        assert olu.send("/operator/act", **form).status_code == 409 and "Say why." in olu.words()
        olu.send("/operator/act", **form, reason="Mrs Ali, on the telephone")
        assert "We ask for it no more." in olu.words()
        assert "They say it is gone We could not take it back ourselves. We wrote: Mrs Ali, on the telephone" in said()
        for item in recalls[1:]:
            assert g.lines("sync", "gone", item["id"], "--reason", "so did he", "--json") == [{"id": item["id"], "ended": True}]
        assert "could not be taken back yet" not in said() and "to be taken back" not in g.command("sync", "status").stdout
        there.refuses.clear()
        g.command("sync", "retry", *(i["id"] for i in recalls))
        g.command("sync", "run", "--once")
        page = said()
        assert "Not back yet" not in page and "They have it" not in page and "Taken back on" in page


@pytest.mark.slow
def test_of_a_processor_page_and_dry_run_say_for_whom_it_keeps_it(tmp_path: Path) -> None:
    there = Hub()
    threading.Thread(target=there.server.serve_forever, args=(0.05,), daemon=True).start()
    cloud = {"name": "cloud", "url": there.url, "organisation": "QX9", "role": "processor", "audience": ["D82001"], "auth": {"kind": "none"}}
    with with_remotes(tmp_path, cloud) as g:
        surgery = organisation(g)
        lines = [i for i in g.lines("sync", "run", "--dry-run", "--json") if i["would"] == "send" and i["ref"].startswith("Goal/")]
        assert lines and {i["for"] for i in lines} == {surgery}
        assert f"{lines[0]['ref']}: send, for {surgery} (" in g.command("sync", "run", "--dry-run").stdout
        g.command("sync", "run", "--once")
        v = as_(g, "patient")
        v.get("/my-plan/sent")
        assert "Example Care Board They keep it for Example Street Surgery." in v.words() and surgery not in v.page
    there.server.shutdown()


def organisation(g: Gateway) -> str:
    found = g.get("gp", "Organization?name=Example+Street+Surgery").json()
    return f"Organization/{found['entry'][0]['resource']['id']}"
