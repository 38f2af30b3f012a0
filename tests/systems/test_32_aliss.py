"""Row 32: ALISS, the directory of Scotland, comes in by the same adapter."""

from __future__ import annotations

import json
from pathlib import Path

from ..conftest import Gateway
from ..web.test_doors import as_
from .referring import ask, cannot_ask, entries, knows_nothing_of, task_of


def test_the_pages_of_aliss_come_in_by_the_same_adapter(demo: Gateway, tmp_path: Path) -> None:
    for n in range(3):
        one = {"id": f"al-{n}", "name": f"Ceilidh club {n}", "status": "active", "organization": {"id": "al", "name": "Local Group"},
               "service_areas": [{"id": str(n), "name": "EH1, EH2"}]}  # fmt: skip
        (tmp_path / f"page-{n}.json").write_text(json.dumps({"total_pages": 3, "page_number": n + 1, "contents": [one]}))
    done = demo.command("directory", "import", str(tmp_path), "--source", "aliss", "--json")
    assert done.returncode == 0 and json.loads(done.stdout)["services"] == 3, done.stderr
    assert "Ceilidh club 1" in as_(demo, "patient").get("/services?near=EH2+1AA&words=ceilidh").text
    assert "Ceilidh club" not in as_(demo, "patient").get("/services?near=ZE1+0AA&words=ceilidh").text, "Shetland is far from Edinburgh"
    shut = demo.get("patient", "HealthcareService?name=Ceilidh&_count=5").json()["entry"][0]["resource"]
    for who in ("patient", "stranger"):
        changed = demo.call(who, "PUT", f"HealthcareService/{shut['id']}", body={**shut, "name": "Ours"}, headers={"If-Match": f'W/"{shut["meta"]["versionId"]}"'})
        assert changed.status_code == 403, "who reads the directory does not change it"
    cannot_ask(as_(demo, "stranger"), shut["id"], demo.patient)
    knows_nothing_of(demo, "stranger", f"Patient/{demo.patient}")
    assert not [r for r in demo.get("patient", f"ServiceRequest?patient={demo.patient}&_count=100").json().get("entry", ()) if r["resource"]["code"].get("text") == shut["name"]]

    me = as_(demo, "patient")
    ask(me, shut["id"], why="I danced when I was young")
    task = task_of(demo, shut["name"])
    (request,) = entries(demo, f"ServiceRequest?_id={task['focus']['reference'].split('/')[1]}")
    assert request["performer"][1]["reference"] == f"HealthcareService/{shut['id']}" and request["status"] == "active", "local support that she found herself"
    knows_nothing_of(demo, "stranger", f"Task/{task['id']}", f"ServiceRequest/{request['id']}")
    me.get("/asked")
    assert shut["name"] in me.words()
    area = "https://fhir-gateway.example/id/postcode-district"
    near = [entries(demo, f"HealthcareService?coverage-area.identifier={area}|{district}&name=Ceilidh") for district in ("EH1", "EH2", "ZE1")]
    assert [len(found) for found in near] == [3, 3, 0], "by postcode, for a system"

    (tmp_path / "page-2.json").unlink()
    cut = json.loads(demo.command("directory", "import", str(tmp_path), "--source", "aliss", "--json").stdout)
    assert cut["inactive"] == 0, "a page is missing, so nobody knows what is gone"
