"""A number that an earlier release let in, and no double can hold, closes nobody's record; it can be put right."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import apsw

from .conftest import Gateway, gateway
from .web.test_doors import as_

EXTENSION = [{"url": "http://example.org/e", "valueDecimal": 0.125}]
PLACES = ("Patient/{p}", "Patient/{p}/$everything", "RelatedPerson", "Goal", "Observation", "Condition", "CareTeam", "_history", "Goal?_include=*",
          "Patient?_revinclude=*", "Observation?value-quantity=gt5", "/plans/{p}", "Consent/$explain?what=Patient/{p}")  # fmt: skip
PAGES = ("/my-plan", "/my-plan/sharing", "/my-plan/sharing/why", "/my-plan/private", "/my-plan/who-looked", "/my-plan/results")


def spoil(g: Gateway) -> None:
    """As the file of an earlier release would have it."""
    with apsw.Connection(str(g.data / "gateway.sqlite")) as db:
        db.set_busy_timeout(5_000)
        (kept,) = db.execute("SELECT sql FROM sqlite_master WHERE name = 'version_fixed'").fetchone()
        db.execute("DROP TRIGGER version_fixed")
        for table in ("resource", "version"):
            for column in ("body", "view"):
                db.execute(f"UPDATE {table} SET {column} = CAST(replace(CAST({column} AS TEXT), '0.125', '1e400') AS BLOB) WHERE {column} IS NOT NULL")
        db.execute(str(kept))


def test_a_store_that_holds_such_a_number_opens_and_the_number_can_be_put_right(tmp_path: Path) -> None:
    with gateway(tmp_path, "--demo") as g:
        subject = {"reference": f"Patient/{g.patient}"}
        bodies: dict[str, dict[str, Any]] = {
            "RelatedPerson": {"patient": subject, "name": [{"text": "Anna"}]},
            "Goal": {"lifecycleStatus": "active", "description": {"text": "Sing"}, "subject": subject},
            "Condition": {"subject": subject, "code": {"text": "Cough"}},
            "Observation": {"status": "final", "code": {"text": "Steps"}, "subject": subject, "valueQuantity": {"value": 0.125, "unit": "m"}},
        }
        made = {}
        for type, body in bodies.items():
            answer = g.call("gp", "POST", type, body={"resourceType": type, "extension": EXTENSION, **body})
            assert answer.status_code == 201, answer.text
            made[type] = answer.json()["id"]
        g.stop()
        spoil(g)
        g.start("--demo")
        for who in ("patient", "gp"):
            for place in PLACES:
                answer = g.get(who, place.format(p=g.patient))
                assert answer.status_code in (200, 403, 404), f"{who} {place}: {answer.text}"
        visitor = as_(g, "patient")
        for page in PAGES:
            assert visitor.get(page).status_code == 200, page
        seen = g.get("gp", f"RelatedPerson/{made['RelatedPerson']}")
        assert b"1e400" in seen.content
        right = re.sub(rb"1e400", b"1", seen.content)
        put = g.call("gp", "PUT", f"RelatedPerson/{made['RelatedPerson']}", raw=right, headers={"If-Match": seen.headers["etag"]})
        assert put.status_code == 200, put.text
        assert json.loads(g.get("gp", f"RelatedPerson/{made['RelatedPerson']}").content)["extension"][0]["valueDecimal"] == 1
