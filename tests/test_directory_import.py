"""A service directory of Open Referral UK comes in by the command, twice without a change, and is found by kind and postcode district."""

from __future__ import annotations

import copy
import io
import json
import re
import zipfile
from pathlib import Path
from typing import Any

import pytest

from fhir_gateway.domain.openreferral import DISTRICT, Words, district_of, read, resources
from fhir_gateway.domain.openreferral.resources import _position

from .conftest import Gateway
from .directories import as_csv, tables
from .staff import put_directory
from .web.test_doors import as_

IDS = "https://fhir-gateway.example/id/open-referral"
KINDS = "https://directory.example/kinds"


def bring(demo: Gateway, *args: str, code: int = 0) -> dict[str, Any]:
    done = demo.command("directory", "import", *args, "--json")
    assert done.returncode == code, done.stdout + done.stderr
    return dict(json.loads(done.stdout))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A hundred and fifty services, as CSV."""
    here = tmp_path_factory.mktemp("directory")
    for name, raw in as_csv(tables(150, 30)).items():
        (here / name).write_bytes(raw)
    return here


@pytest.fixture(scope="module")
def brought(demo: Gateway, folder: Path) -> dict[str, Any]:
    return bring(demo, str(folder), "--source", "norfolk")


def found(demo: Gateway, query: str, who: str = "gp") -> list[dict[str, Any]]:
    answer = demo.get(who, query)
    assert answer.status_code == 200, answer.text
    return [e["resource"] for e in answer.json().get("entry", ())]


def test_services_come_in_and_twice_the_same_writes_nothing(demo: Gateway, folder: Path, brought: dict[str, Any]) -> None:
    assert (brought["services"], brought["refused"], brought["inactive"]) == (150, 0, 0) and brought["written"] == 150 + 150 + 30 + 77
    again = bring(demo, str(folder), "--source", "norfolk")
    assert (again["written"], again["unchanged"], again["inactive"]) == (0, brought["written"], 0)


def test_a_service_is_found_by_postcode_district_and_kind(demo: Gateway, brought: dict[str, Any]) -> None:
    near = f"HealthcareService?coverage-area.identifier={DISTRICT}|NR30&_count=200"
    here = found(demo, near)
    assert len(here) > 50, "every third says that it covers NR30, besides those that are there"
    kind = found(demo, f"{near}&service-category={KINDS}|befriending")
    assert 0 < len(kind) < len(here) and all(s["name"].startswith("Befriending") for s in kind)
    assert len(found(demo, f"HealthcareService?coverage-area.identifier={DISTRICT}|NR3&_count=200")) < 5, "NR3 is not NR30 to NR39"
    assert found(demo, "HealthcareService?location.address-postalcode=NR30&_count=5")


def test_nobody_who_works_there_is_in_a_directory(demo: Gateway, brought: dict[str, Any]) -> None:
    for type in ("HealthcareService", "Organization", "Location"):
        said = demo.get("gp", f"{type}?_count=200").text
        assert "Persona" not in said and "A. Person" not in said, type
    assert brought["left_out"]["contacts"] == 150


@pytest.mark.slow
def test_a_service_that_is_gone_is_set_inactive_and_one_whose_row_is_wrong_is_not(demo: Gateway, brought: dict[str, Any], tmp_path: Path) -> None:
    said = tables(150, 30)
    gone, wrong = said["services"].pop(7), said["services"][20]
    wrong["status"] = "perhaps"
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        for name, raw in as_csv(said).items():
            archive.writestr(name, raw)
    done = bring(demo, str(tmp_path / "all.zip"), "--source", "norfolk", code=1)
    assert (done["inactive"], done["written"], done["refused"]) == (1, 0, 1)
    (problem,) = done["problems"]
    assert problem["where"] == "all.zip/services.csv, line 22" and "`perhaps`" in problem["text"]
    (service,) = found(demo, f"HealthcareService?identifier={IDS}/norfolk/service|{gone['id']}")
    assert service["active"] is False
    (other,) = found(demo, f"HealthcareService?identifier={IDS}/norfolk/service|{wrong['id']}")
    assert other["active"] is True
    said["services"].insert(7, gone)
    wrong["status"] = "active"
    for name, raw in as_csv(said).items():
        (tmp_path / name).write_bytes(raw)
    assert bring(demo, *(str(p) for p in sorted(tmp_path.glob("*.csv"))), "--source", "norfolk")["written"] == 1, "it is back"


def test_a_time_that_is_none_is_told_and_the_service_comes_in(demo: Gateway, tmp_path: Path) -> None:
    times = [("MO", "09:30", "17:00"), ("TU", "25:99", "17:00"), ("WE", "10:00", "5pm")]
    (tmp_path / "one.json").write_text(json.dumps({
        "id": "odd", "name": "Odd hours", "status": "active", "organization": {"id": "o-odd", "name": "Odd"},
        "schedules": [{"freq": "WEEKLY", "byday": d, "opens_at": o, "closes_at": c} for d, o, c in times[:2]],
        "service_at_locations": [{"location": {"id": "l-odd"}, "schedules": [{"byday": d, "opens_at": o, "closes_at": c} for d, o, c in times[2:]]}],
    }))  # fmt: skip
    done = bring(demo, str(tmp_path / "one.json"), "--source", "odd", code=1)
    assert done["refused"] == 2 and [p["where"].rpartition(", ")[2] for p in done["problems"]] == ["schedule 2", "schedule 3"]
    assert "`25:99` is no time" in done["problems"][0]["text"] and "`5pm` is no time" in done["problems"][1]["text"]
    (service,) = found(demo, f"HealthcareService?identifier={IDS}/odd/service|odd")
    assert service["availableTime"] == [{"daysOfWeek": ["mon"], "availableStartTime": "09:30:00", "availableEndTime": "17:00:00"}]


@pytest.mark.slow
def test_a_directory_that_is_cut_empties_nothing(demo: Gateway, brought: dict[str, Any], tmp_path: Path) -> None:
    for name, raw in as_csv(tables(60, 30)).items():
        (tmp_path / name).write_bytes(raw)
    done = bring(demo, str(tmp_path), "--source", "norfolk", code=1)
    assert (done["inactive"], done["kept"]) == (0, 90)


@pytest.mark.slow
def test_what_an_operator_said_of_an_organisation_stays(demo: Gateway, folder: Path, brought: dict[str, Any]) -> None:
    (mine,) = found(demo, f"Organization?identifier={IDS}/norfolk/organisation|o3")
    assert mine["type"][0]["coding"][0]["code"] == "voluntary", "a file says nobody's sector"
    mine["type"][0]["coding"][0]["code"] = "social-care"
    put = demo.data.parent / "mine.json"
    put.write_text(json.dumps({"resourceType": "Bundle", "type": "transaction", "entry": [{"resource": mine, "request": {
        "method": "PUT", "url": f"Organization/{mine['id']}", "ifMatch": f'W/"{mine["meta"]["versionId"]}"'}}]}))  # fmt: skip
    demo.lines("import", str(put), "--as", "operator", "--json")
    before = bring(demo, str(folder), "--source", "norfolk")
    (now,) = found(demo, f"Organization?identifier={IDS}/norfolk/organisation|o3")
    assert before["written"] == 0 and now["type"] == found(demo, f"Organization/{mine['id']}/_history?_count=1")[0]["type"]


@pytest.mark.slow
def test_a_mapping_says_who_is_known_already_and_which_area_is_which_district(demo: Gateway, tmp_path: Path) -> None:
    (kindly,) = put_directory(demo, {"resourceType": "Organization", "active": True, "name": "Coast Friends"})
    said = tables(2, 2)
    said["service_areas"] = [{"id": "1", "service_id": "s0", "name": "Great Yarmouth"}, {"id": "2", "service_id": "s1", "name": "Suffolk"}]
    for name, raw in as_csv(said).items():
        (tmp_path / name).write_bytes(raw)
    mapping = tmp_path / "words.yaml"
    mapping.write_text(json.dumps({"source": "coast", "organisations": {"o0": kindly}, "areas": {"Great Yarmouth": ["NR30", "NR31"]}, "categories": {"Befriending": "befriending"}}))
    assert bring(demo, str(tmp_path), "--mapping", str(mapping))["refused"] == 0
    (one,) = found(demo, f"HealthcareService?identifier={IDS}/coast/service|s0")
    assert one["providedBy"]["reference"] == kindly and one["category"][0]["coding"][0]["code"] == "befriending" and len(one["coverageArea"]) == 2
    assert not found(demo, f"Organization?identifier={IDS}/coast/organisation|o0")
    (two,) = found(demo, f"HealthcareService?identifier={IDS}/coast/service|s1&coverage-area.name=Suffolk")
    assert two["name"] == "Walking group 1"
    for wrong, why in (({"areas": {"x": ["Norfolk"]}}, "no postcode district"), ({"teams": {}}, "teams"), ({"source": "A B"}, "cannot be what")):
        mapping.write_text(json.dumps(wrong))
        refused = demo.command("directory", "import", str(tmp_path), "--mapping", str(mapping))
        assert refused.returncode == 2 and why in refused.stderr and "Traceback" not in refused.stderr


def test_the_page_finds_and_shows_them_without_a_script(demo: Gateway, brought: dict[str, Any]) -> None:
    for who in ("patient", "gp", "proxy"):
        v = as_(demo, who)
        page = v.get("/services?near=nr30+1aa&words=lunch")
        assert page.status_code == 200 and "Lunch club" in page.text and "Example Charity" in page.text
    one = page.text.split('href="/services/')[1].split('"')[0]
    shown = v.get(f"/services/{one}")
    assert "01632 960001" in shown.text and "Tuesday 10:00 to 12:00" in shown.text and "Ages" not in shown.text and "From 50 years" in shown.text
    assert "Show more" in v.get("/services").text and v.get("/services?near=Norfolk").status_code == 400
    assert v.get("/services/nobody").status_code == 404 and v.get("/services/..%2f..").status_code == 404
    hostile = v.get('/services?words="><script>alert(1)</script>,$|\\&near=&kind=a|b,c')
    assert hostile.status_code == 200 and "<script>alert" not in hostile.text


def test_a_service_of_an_area_that_is_a_name_is_found_by_its_own_hall_and_listed_by_that_name(demo: Gateway, tmp_path: Path) -> None:
    """Most files name a county or a town: no postcode found these, not even that of the service's own hall, and no list had them."""
    owner = {"id": "o-named", "name": "Named"}
    hall = [{"location": {"id": "l-named", "addresses": [{"postal_code": "zz7 1aa"}]}}]
    said = [
        {"id": "hall", "name": "Quilting", "status": "active", "organization": owner, "service_areas": [{"name": "Norfolk"}, {"name": "Suffolk"}], "service_at_locations": hall},
        {"id": "far", "name": "Quilting by telephone", "status": "active", "organization": owner, "service_areas": [{"name": "England"}]},
        {"id": "known", "name": "Quilting next door", "status": "active", "organization": owner, "service_areas": [{"name": "ZZ8"}], "service_at_locations": hall},
    ]  # fmt: skip
    (tmp_path / "all.json").write_text(json.dumps(said))
    assert bring(demo, str(tmp_path / "all.json"), "--source", "named")["named"] == ["England", "Norfolk", "Suffolk"]
    v = as_(demo, "patient")
    v.get("/services?near=ZZ7&words=quilting")
    assert "Quilting" in v.words() and "next door" not in v.words() and "telephone" not in v.words(), "an area of districts is believed"
    v.get("/services?near=ZZ9&words=quilting")
    assert "We found no service" in v.words()
    link = next(h for h in re.findall(r'href="(/services[^"]*)"', v.page) if "anywhere=named" in h)
    v.get(link.replace("&amp;", "&"))
    assert "Services that call their area by a name" in v.words() and "next door" not in v.words()
    assert "Area: Norfolk, Suffolk. Ask them whether you live in it." in v.words() and "Area: England." in v.words()
    v.get("/services?near=ZZ9&words=quilting&anywhere=yes")
    assert "Quilting" not in v.words() and "Services that say no area" in v.words()


@pytest.mark.slow
def test_a_second_directory_without_a_name_does_not_close_the_first(demo: Gateway, tmp_path: Path) -> None:
    def whole(who: str, many: int) -> str:
        owner = {"id": f"o-{who}", "name": f"Owner {who}"}
        file = tmp_path / f"{who}.json"
        file.write_text(json.dumps([{"id": f"{who}-{n}", "name": f"{who} {n}", "status": "active", "organization": owner} for n in range(many)]))
        return str(file)

    def active(source: str) -> list[str]:
        here = found(demo, f"HealthcareService?identifier={IDS}/{source}/service|&active=true&_count=50")
        return sorted(s["identifier"][0]["value"] for s in here)

    first = whole("first", 4)
    bring(demo, first)
    refused = demo.command("directory", "import", whole("second", 5))
    assert refused.returncode == 1 and "`--source NAME`" in refused.stderr and "Traceback" not in refused.stderr
    assert active("directory") == [f"first-{n}" for n in range(4)], "nothing was written, and nothing closed"
    assert bring(demo, whole("first", 3))["inactive"] == 1, "its own are gone as before"
    mixed = bring(demo, whole("third", 9), "--source", "directory", code=1)
    assert (mixed["inactive"], mixed["kept"]) == (0, 3), "also under the name of another: all that was here would go"


# -- what the files say ------------------------------------------------------------------------------------------------


def test_wrong_rows_are_named_by_file_and_line_and_the_others_are_read() -> None:
    files = as_csv(tables(3, 1))
    lines = files["services.csv"].decode().splitlines(keepends=True)
    lines += ["short,row\r\n", lines[1], lines[2].replace("s1,", ",", 1), lines[2].replace("s1,o0", "s9,o77", 1)]
    files["services.csv"] = "".join(lines).encode()
    said = read(list(files.items()))
    assert [i.id for i in said.items] == ["s0", "s1", "s2"]
    assert {w.where for w in said.wrong} == {f"services.csv, line {n}" for n in (5, 6, 7, 8)}
    assert any("`o77`" in w.text for w in said.wrong) and any("already" in w.text for w in said.wrong)


@pytest.mark.parametrize("raw", [b"\xff\xfe", b"", b"[1]", b'{"id": 1}', b'{"contents": 7}', b"[" * 5000, b'{"id":"a","status":"active","name":NaN}', b'[{"id":"a","status":"active","organization":7,"name":"x"}]', b'{"services.csv": 5}', b'{"organizations.csv": [{"id": []}], "services.csv": [{"id": {}}]}'])
def test_what_is_no_directory_is_said_to_be_none(raw: bytes) -> None:
    said = read([("x.json", raw), ("x.csv", raw)])
    assert not said.items and said.wrong and not said.whole and all(w.where.startswith("x.") for w in said.wrong)


def test_pages_of_a_list_are_whole_only_together() -> None:
    service = {"id": "a", "name": "A", "status": "active", "organization": {"id": "o", "name": "O"}}
    page = {"total_pages": 2, "page_number": 1, "contents": [service]}
    other = {"total_pages": 2, "page_number": 2, "contents": [copy.deepcopy(service) | {"id": "b"}]}
    one, both = ([("1.json", json.dumps(page).encode())], [("1.json", json.dumps(page).encode()), ("2.json", json.dumps(other).encode())])
    assert not read(one).whole and read(both).whole and len(read(both).items) == 2


def test_the_examples_of_the_standard_are_read(shared: Path) -> None:
    here = shared / "data/openreferral/examples"
    full = read([("service_full.json", (here / "service_full.json").read_bytes())])
    (item,) = full.items
    made = dict(resources(item, Words()))
    service = next(r for r in made.values() if r["resourceType"] == "HealthcareService")
    covered = [k.partition("|")[2] for k in made if k.startswith(DISTRICT)]
    assert covered == ["AB1", "AB2", "AB3"], "as its area says in words"
    assert service["availableTime"] == [{"daysOfWeek": ["thu", "fri"], "availableStartTime": "10:00:00", "availableEndTime": "18:00:00"}]
    assert {"system": "phone", "value": "+44 1234 234567 ext. 100"} in service["telecom"] and "Ann Persona" not in json.dumps(service, default=str)
    as_tables = read([(p.name, p.read_bytes()) for p in sorted((here / "csv").iterdir())])
    assert [i.id for i in as_tables.items] == [item.id] and as_tables.whole
    assert read([("organization_full.json", (here / "organization_full.json").read_bytes())]).items[0].id == item.id


@pytest.mark.parametrize(("text", "district"), [("nr30 1aa", "NR30"), ("NR301AA", "NR30"), ("EC1A 1BB", "EC1A"), ("m1", "M1"), ("Norwich", ""), ("", ""), ("NR30 1AA NR31", "")])
def test_a_postcode_or_its_first_half_names_a_district(text: str, district: str) -> None:
    assert district_of(text) == district


@pytest.mark.slow
def test_an_archive_that_is_none_or_a_bomb_is_refused_in_a_sentence(demo: Gateway, tmp_path: Path) -> None:
    (tmp_path / "bad.zip").write_bytes(b"PK\x03\x04 no")
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("services.csv", b"id," * (22 * 1024 * 1024))
    (tmp_path / "bomb.zip").write_bytes(packed.getvalue())
    small = io.BytesIO()
    with zipfile.ZipFile(small, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("services.csv", b"id,name\r\n" * 9)
    broken = bytearray(small.getvalue())
    broken[30 + len("services.csv")] = 7  # the first byte of what is packed: a block of no kind
    (tmp_path / "broken.zip").write_bytes(broken)
    for name in ("bad.zip", "bomb.zip", "broken.zip", "none.zip"):
        done = demo.command("directory", "import", str(tmp_path / name))
        assert done.returncode == 2 and name in done.stderr and "Traceback" not in done.stderr, done.stderr


@pytest.mark.parametrize("north", ["NaN", "Infinity", "-Infinity", "1e999", "sNaN"])
def test_a_place_without_a_right_position_is_there_without_one(north: str) -> None:
    """An empty cell of a table is often exported as NaN: it ended the whole import."""
    assert _position({"latitude": north, "longitude": "1.3"}) == _position({"latitude": "52.6", "longitude": north}) == {}
    assert _position({"latitude": "52.6", "longitude": "1.3"}) != {}
