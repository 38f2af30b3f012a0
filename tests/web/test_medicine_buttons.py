"""What a discharge proposes of several medicines: each button says which medicine it is about, and what the ward left as before is not proposed."""

from __future__ import annotations

import html
import re
from pathlib import Path
from typing import TYPE_CHECKING

from .test_doors import as_

if TYPE_CHECKING:
    from ..conftest import Gateway

DISCHARGE = Path(__file__).parent.parent / "cases" / "partners" / "discharge-medicines" / "theirs.json"


def test_no_two_buttons_are_called_the_same_and_nothing_is_asked_of_what_is_as_before(demo: Gateway) -> None:
    done = demo.command("import", str(DISCHARGE))
    assert done.returncode == 0, done.stderr
    seen = 0
    for who, path in (("gp", "/team"), ("patient", "/my-plan")):
        v = as_(demo, who)
        v.get(path)
        for what, end in (("Change the plan", "button"), ("Keep the plan as it is", "summary")):
            every = [" ".join(html.unescape(re.sub(r"<[^>]+>", "", b)).split()) for b in re.findall(rf"<{end}[^>]*>(.*?)</{end}>", v.page, re.S)]
            called = [b for b in every if b.startswith(what)]
            assert len(called) == len(set(called)) and all(":" in b for b in called), called
            assert not any("Paracetamol" in b or "A discharge from hospital" in b for b in called), called
            seen += len(called)
        headings = [" ".join(re.sub(r"<[^>]+>", " ", h).split()) for h in re.findall(r"<h3[^>]*>(.*?)</h3>", v.page, re.S)]
        asked = [h for h in headings if h.startswith("A discharge from hospital")]
        assert asked and len(asked) == len(set(asked)), "who goes from heading to heading hears which medicine"
        v.http.close()
    assert seen >= 4
