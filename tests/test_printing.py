"""A plan on paper, as who prints it and who holds it meet it: by command, by button, by the square on the paper. docs/printing.md"""

from __future__ import annotations

import html
import io
import json
import os
import re
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from fhir_gateway.around import drawing, printing
from fhir_gateway.domain.problem import Problem

from .conftest import VERIFY, Gateway, gateway
from .test_story import permit, sharing
from .web.test_doors import Visitor, as_

A5 = (419.53, 595.28)  # points
TOKEN = re.compile(r"/printed/([a-z2-7]{26})")


@pytest.fixture(scope="module", autouse=True)
def pango() -> None:
    if not printing.can_pdf():
        assert not os.environ.get("IN_CI"), "nothing is skipped in CI"
        pytest.skip("Pango is not here: the booklet is not made as PDF")


def read(raw: bytes) -> tuple[str, list[Any]]:
    """(all its text, its pages)."""
    from pypdf import PdfReader

    pages = list(PdfReader(io.BytesIO(raw)).pages)
    return " ".join(" ".join(p.extract_text().split()) for p in pages), pages


@pytest.fixture(scope="module")
def amina(demo: Gateway) -> Iterator[Visitor]:
    """The person, signed in."""
    v = as_(demo, "patient")
    yield v
    v.http.close()


def sheet(v: Visitor, whom: str = "") -> tuple[dict[str, str], str]:
    """(version, code and link of a booklet, the booklet as a page) that the person printed for somebody, or for herself."""
    v.get("/my-plan/print")
    page = v.http.post("/my-plan/print", data={**v.fields("/my-plan/print"), "for": whom, "as": "page"})
    assert page.status_code == 200, page.text
    found = re.search(r"<p>Version (\d+) · [^<]* · ([0-9A-F]{4}-[0-9A-F]{4})</p>", page.text)
    link = TOKEN.search(page.text)
    assert found and link
    return {"version": found[1], "code": found[2], "link": f"{v.base}{link[0]}"}, page.text


def by_command(demo: Gateway, whom: str, file: Path, *more: str) -> dict[str, Any]:
    (said,) = demo.lines("print", f"Patient/{demo.patient}", "--for", whom, "--out", str(file), "--json", *more)
    return said


def links(page: Any) -> set[str]:
    return {str(a.get_object()["/A"]["/URI"]) for a in page.get("/Annots", []) if "/URI" in a.get_object().get("/A", {})}


def newer(demo: Gateway, link: str) -> str:
    """What the page behind the square says to a stranger: its heading, when it says no more than that."""
    answer = httpx2.get(link, verify=VERIFY)
    main = re.search(r"<main.*?</main>", answer.text, re.S)
    assert main and "Amina" not in answer.text and demo.patient not in answer.text and "999" not in main.group()
    heading = re.search(r"<h1>(.*?)</h1>", answer.text)
    assert heading
    return html.unescape(heading.group(1))


NEWEST, NEWER, UNKNOWN = "This paper is the newest version", "There is a newer version", "We do not know this paper"


def test_the_persons_booklet_is_a5_and_every_page_has_its_version_its_number_and_the_square(demo: Gateway, amina: Visitor) -> None:
    said, _ = sheet(amina)
    assert 'href="/my-plan/print"' in amina.get("/my-plan").text
    amina.get("/my-plan/print")
    pdf = amina.http.post("/my-plan/print", data={**amina.fields("/my-plan/print"), "for": "", "as": "pdf"})
    assert pdf.headers["content-type"] == "application/pdf" and pdf.headers["cache-control"] == "no-store"
    text, pages = read(pdf.content)
    (link,) = links(pages[0])
    for n, page in enumerate(pages, 1):
        assert tuple(round(float(v), 1) for v in page.mediabox.upper_right) == tuple(round(v, 1) for v in A5)
        here = " ".join(page.extract_text().split())
        assert f"Version {said['version']} ·" in here and said["code"] in here and f"{n} / {len(pages)}" in here and "Amina Example" in here
        assert link in links(page), "the square is a link, too"
    goals = [r["resource"]["description"]["text"] for r in demo.get("patient", f"Goal?patient={demo.patient}&lifecycle-status=active").json()["entry"]]
    assert goals and [g for g in goals if g not in text] == []
    for there in ("Penicillin", "Swollen face and lips", "Falls easily", "If I fall or cannot get up", "07700 900019", "History sheet", "Printed for Amina Example", "A newer version may exist"):
        assert there in text, there
    assert "may be withheld" not in text and "Invented Close" not in text
    assert newer(demo, link) == NEWEST


def test_nobody_sees_on_paper_what_is_closed_to_them_and_the_trail_says_who_printed_for_whom(demo: Gateway, amina: Visitor, tmp_path: Path) -> None:
    rosa = demo.persona("link-worker")["fhirUser"]
    amina.get("/my-plan/print?find=Rosa")
    assert "Rosa Lind: may not see your plan now" in amina.words() and rosa not in amina.page, "who sees no plan is not in the list"
    none = amina.send("/my-plan/print", **{"for": rosa, "as": "page"})
    assert none.status_code == 422 and "Version" not in none.text and "Rosa Lind: may not see your plan now" in amina.words(), "and gets none on paper"
    made = demo.call("patient", "POST", "Consent", body=sharing(demo, [permit(rosa, "CarePlan")]))
    assert made.status_code == 201, made.text
    try:
        said = _printed_for_rosa(demo, rosa, tmp_path)
        assert newer(demo, said["link"]) == NEWEST
    finally:
        demo.call("patient", "PUT", f"Consent/{made.json()['id']}", body={**made.json(), "status": "inactive"}, headers={"If-Match": made.headers["etag"]})
    assert newer(demo, said["link"]) == NEWER, "what they may not see any more is no newest version"
    refused = demo.command("print", f"Patient/{demo.patient}", "--for", "link-worker", "--html", "--out", str(tmp_path / "none.html"))
    assert refused.returncode == 2 and "can see no plan" in refused.stderr and not (tmp_path / "none.html").exists()


def _printed_for_rosa(demo: Gateway, rosa: str, tmp_path: Path) -> dict[str, Any]:
    said = by_command(demo, "link-worker", tmp_path / "plan.pdf")
    assert (tmp_path / "plan.pdf").stat().st_mode & 0o077 == 0 and said["for"] == rosa
    text, _ = read((tmp_path / "plan.pdf").read_bytes())
    assert "may be withheld" in text and "Printed for Rosa Lind" in text.replace("Asha ", "")
    assert "If I fall or cannot get up" in text, "a plan for a crisis is a CarePlan"
    for closed in ("Cook a whole Sunday meal", "Since Yusuf died", "Penicillin", "999 000 0018", "Hip exercises", "seamstress", "07700"):
        assert closed not in text, closed
    rows = [r for r in trail(demo) if r.get("outcomeDesc", "").endswith(f"version {said['version']}, printed for {rosa}") and r["outcome"] == "0"]
    assert len(rows) == 1 and rows[0]["type"]["code"] == "110106" and any(a.get("who", {}).get("reference") == "Device/operator" for a in rows[0]["agent"])
    copy = demo.lines("person", "export", demo.patient, "--officer", "privacy-officer", "--out", str(tmp_path), "--json")[0]["file"]
    kept = [json.loads(line) for line in zipfile.ZipFile(copy).read("printed.ndjson").splitlines()]
    assert rosa in {k["key"].split(" ", 1)[1] for k in kept}
    return said


@pytest.mark.slow
def test_a_reader_who_can_be_nobody_is_refused_in_a_sentence(demo: Gateway, tmp_path: Path) -> None:
    for whom, said in (("nobody-at-all", "no sign-in"), ("Practitioner/none", "none")):
        done = demo.command("print", f"Patient/{demo.patient}", "--for", whom, "--html", "--out", str(tmp_path / "x.html"))
        assert done.returncode == 2 and said in done.stderr and len(done.stderr.strip().splitlines()) == 1 and not list(tmp_path.iterdir())


def test_the_number_grows_with_a_change_and_the_square_says_so(demo: Gateway, amina: Visitor) -> None:
    gp = demo.persona("gp")["fhirUser"]
    (first, _), (again, _) = sheet(amina, gp), sheet(amina, gp)
    assert again["version"] == first["version"] and again["code"] == first["code"] and again["link"] != first["link"]
    assert newer(demo, first["link"]) == NEWEST
    weight = {"resourceType": "Observation", "status": "final", "code": {"text": "Weight"}, "subject": {"reference": f"Patient/{demo.patient}"}, "valueString": "62"}
    assert demo.call("hospital", "POST", "Observation", body=weight).status_code == 201
    assert newer(demo, first["link"]) == NEWEST, "a reading is not on the paper"
    goal = demo.get("patient", f"Goal?patient={demo.patient}&lifecycle-status=active").json()["entry"][0]["resource"]
    changed = {**goal, "description": {"text": "Cook for all of them, sitting down"}}
    put = demo.call("patient", "PUT", f"Goal/{goal['id']}", body=changed, headers={"If-Match": f'W/"{goal["meta"]["versionId"]}"'})
    assert put.status_code == 200, put.text
    assert newer(demo, first["link"]) == NEWER and newer(demo, again["link"]) == NEWER
    third, page = sheet(amina, gp)
    assert int(third["version"]) == int(first["version"]) + 1 and "sitting down" in page and newer(demo, third["link"]) == NEWEST


@pytest.mark.slow
def test_what_is_hidden_from_a_reader_makes_no_newer_version_for_them(demo: Gateway, amina: Visitor) -> None:
    (mine, _), (theirs, _) = sheet(amina), sheet(amina, demo.persona("gp")["fhirUser"])
    secret = {
        "resourceType": "AllergyIntolerance", "patient": {"reference": f"Patient/{demo.patient}"}, "code": {"text": "A secret allergy"},
        "meta": {"security": [{"system": "http://terminology.hl7.org/CodeSystem/v3-Confidentiality", "code": "V"}]},
        "clinicalStatus": {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/allergyintolerance-clinical", "code": "active"}]},
    }  # fmt: skip
    made = demo.call("patient", "POST", "AllergyIntolerance", body=secret)
    assert made.status_code == 201, made.text
    assert demo.get("gp", f"AllergyIntolerance/{made.json()['id']}").status_code == 404
    assert newer(demo, mine["link"]) == NEWER and newer(demo, theirs["link"]) == NEWEST
    assert "A secret allergy" in sheet(amina)[1] and "A secret allergy" not in sheet(amina, demo.persona("gp")["fhirUser"])[1]


def test_a_scan_is_in_the_persons_log_and_reads_the_plan_once_until_something_is_written(demo: Gateway, amina: Visitor) -> None:
    link = sheet(amina)[0]["link"]

    def scans() -> list[dict[str, Any]]:
        return [r for r in trail(demo) if r["subtype"][0]["code"] == "scan"]

    before = len(scans())
    assert newer(demo, link) == newer(demo, link) == NEWEST
    as_(demo, "gp").get(link.removeprefix(demo.base))
    rows = scans()
    assert len(rows) == before + 3 and link.rpartition("/")[2] not in json.dumps(rows)
    amina.get("/my-plan/who-looked")
    words = amina.words()
    assert "Looked whether a printed plan of yours is the newest" in words and "Somebody" in words and "Dr Asha Patel" in words


@pytest.mark.parametrize(("code", "title", "side"), [("cy", "Fy manylion", "ltr"), ("ur", "میری تفصیلات", "rtl")])
def test_a_booklet_says_its_own_words_in_the_readers_language(demo: Gateway, code: str, title: str, side: str) -> None:
    v = as_(demo, "patient")
    english = sheet(v)[0]
    v.get(f"/language/{code}")
    v.get("/my-plan/print")
    page = v.http.post("/my-plan/print", data={**v.fields("/my-plan/print"), "for": "", "as": "page"}).text
    begins = re.search(r"<html ([^>]*)>", page)
    assert begins and f'lang="{code}"' in begins[1] and ('dir="rtl"' in begins[1]) == (side == "rtl")
    assert title in page and "My details" not in page and "Printed for" not in page and "Amina Example" in page
    assert english["code"] in page, "it is the same version, whatever its language"
    raw = v.http.post("/my-plan/print", data={**v.fields("/my-plan/print"), "for": "", "as": "pdf"})
    whole = raw.status_code == 200 and raw.content.startswith(b"%PDF")
    assert whole or (raw.status_code == 503 and "not every letter" in raw.text), "a file, or what the fonts here lack"
    v.http.close()


@pytest.fixture(scope="module")
def few_fonts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """The demo on a machine that has one Latin font."""
    folder = tmp_path_factory.mktemp("few-fonts")
    font = next((p for d in ("/usr/share/fonts", "/usr/local/share/fonts") for p in sorted(Path(d).rglob("*.ttf")) if p.name in ("LiberationSans-Regular.ttf", "DejaVuSansMono.ttf", "DejaVuSans.ttf")), None)
    if font is None:
        pytest.skip("no Latin font is here to be the only one")
    (folder / "fonts").mkdir()
    (folder / "fonts" / font.name).write_bytes(font.read_bytes())
    (folder / "fonts.conf").write_text(f'<?xml version="1.0"?><fontconfig><dir>{folder / "fonts"}</dir><cachedir>{folder / "cache"}</cachedir></fontconfig>')
    with gateway(folder, "--demo", FONTCONFIG_FILE=str(folder / "fonts.conf")) as g:
        yield g


def test_a_booklet_with_letters_that_no_font_here_has_is_refused_and_nothing_is_written_down(few_fonts: Gateway, tmp_path: Path) -> None:
    v = as_(few_fonts, "patient")

    def printed(**more: str) -> httpx2.Response:
        v.get("/my-plan/print")
        return v.send("/my-plan/print", **{"for": "", "as": "pdf", **more})

    assert printed().headers["content-type"] == "application/pdf", "English is printed"
    before = len(trail(few_fonts))
    v.get("/language/ur")
    refused = printed()
    assert refused.status_code == 503 and "fonts-noto-core" in refused.text and b"%PDF" not in refused.content
    v.get("/language/en")
    assert len(trail(few_fonts)) == before
    allergy = {
        "resourceType": "AllergyIntolerance", "patient": {"reference": f"Patient/{few_fonts.patient}"}, "code": {"text": "চিংড়ি মাছ"},
        "clinicalStatus": {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/allergyintolerance-clinical", "code": "active"}]},
    }  # fmt: skip
    assert few_fonts.call("patient", "POST", "AllergyIntolerance", body=allergy).status_code == 201
    before = len(trail(few_fonts))
    refused = printed()
    assert refused.status_code == 503 and "not every letter of this booklet" in v.words() and "You can print it as a page." in v.words()
    file = tmp_path / "plan.pdf"
    done = few_fonts.command("print", f"Patient/{few_fonts.patient}", "--for", "patient", "--out", str(file))
    assert done.returncode == 2 and "fonts-noto-core" in done.stderr and "--html" in done.stderr and not file.exists()
    assert len(trail(few_fonts)) == before, "nothing is written down as printed"
    assert "চিংড়ি মাছ" in printed(**{"as": "page"}).text and len(trail(few_fonts)) == before + 1
    v.http.close()


async def test_a_booklet_that_takes_too_long_is_given_up_in_a_sentence() -> None:
    wide = "<table>" + "<tr>" + "<td><table><tr><td>x" * 400 + "</table>"
    before = time.monotonic()
    with pytest.raises(Problem, match="takes too long") as given_up:
        await drawing.drawn(wide * 20, seconds=0.4)
    assert given_up.value.kind == "unavailable" and time.monotonic() - before < 20


def test_a_link_that_was_never_made_says_nothing(demo: Gateway) -> None:
    for token in ("a" * 26, demo.patient, "%00", "A" * 26, "a" * 5000):
        answer = httpx2.get(f"{demo.base}/printed/{token}", verify=VERIFY)
        assert answer.status_code == 404 and "We do not know this paper" in answer.text, token


def test_the_square_leads_whoever_may_see_the_plan_to_it_and_nobody_else(demo: Gateway, amina: Visitor) -> None:
    link = sheet(amina)[0]["link"].removeprefix(demo.base)
    for who, way in (("patient", "/my-plan"), ("gp", f"/team/people/{demo.patient}"), ("proxy", f"/team/people/{demo.patient}"), ("stranger", ""), ("link-worker", "")):
        v = as_(demo, who)
        v.get(link)
        found = re.search(r'href="([^"]+)"[^>]*>Open the plan', v.page)
        assert (found.group(1) if found else "") == way, who
        assert way or demo.patient not in v.page
        v.http.close()


def test_the_person_prints_for_somebody_else_and_reads_of_it(demo: Gateway, amina: Visitor) -> None:
    asha = demo.persona("gp")["fhirUser"]
    amina.get("/my-plan/print?find=Patel")
    assert re.search(rf'value="{asha}" selected>Dr Asha Patel', amina.page), "found by name"
    page = amina.http.post("/my-plan/print", data={**amina.fields("/my-plan/print"), "for": asha, "as": "page"})
    assert "<dt>Printed for</dt><dd>Dr Asha Patel</dd>" in page.text
    policy = page.headers["content-security-policy"]
    assert re.search(r"style-src 'sha256-[^']+'", policy) and "unsafe" not in policy
    assert "http" not in page.text.replace(f"{demo.base}/printed/", "").replace("http://www.w3.org/2000/svg", ""), "nothing comes from elsewhere"
    amina.get("/my-plan/print")
    wrong = amina.send("/my-plan/print", **{"for": "Practitioner/none", "as": "pdf"})
    assert wrong.status_code == 422 and "Choose whom you print it for" in amina.words()
    amina.get("/my-plan/who-looked?mine=yes")
    assert "Printed your plan, for Dr Asha Patel" in amina.words()


def test_a_worker_prints_what_they_see_whoever_else_they_name_and_the_person_reads_of_it(demo: Gateway) -> None:
    v = as_(demo, "gp")
    here = f"/team/people/{demo.patient}/print"
    assert f'href="{here}"' in v.get(f"/team/people/{demo.patient}").text
    v.get(here)
    page = v.http.post(here, data={**v.fields(here), "as": "page", "for": f"Patient/{demo.patient}"})
    assert "may be withheld" in page.text and "<dt>Printed for</dt><dd>Dr Asha Patel</dd>" in page.text
    seen = [r for r in trail(demo) if r["subtype"][0]["code"] == "print" and any(a.get("name") == "Dr Asha Patel" for a in r["agent"])]
    assert len(seen) == 1 and "version" in seen[0]["outcomeDesc"]
    v.http.close()


@pytest.mark.parametrize("who", ["stranger", "link-worker", "privacy-officer"])
def test_who_sees_no_plan_prints_none(demo: Gateway, who: str) -> None:
    v = as_(demo, who)
    here = f"/team/people/{demo.patient}/print"
    assert v.get(here).status_code == 404
    v.get("/account")
    token = re.search(r'name="(form_token|csrf_token)" value="([^"]+)"', v.page)
    assert token
    answer = v.http.post(here, data={token.group(1): token.group(2), "as": "pdf"})
    assert answer.status_code == 404 and b"%PDF" not in answer.content
    v.http.close()


def trail(demo: Gateway) -> list[dict[str, Any]]:
    """What was printed or scanned: of everything, the newest page alone would lose some as others are written."""
    found = demo.get("patient", f"AuditEvent?patient={demo.patient}&subtype=print,scan&_count=200&_sort=-date").json()
    return [e["resource"] for e in found.get("entry", [])]


@pytest.mark.slow
def test_html_in_a_plan_is_text_on_paper_and_nothing_is_fetched(demo: Gateway, amina: Visitor) -> None:
    sly = '<img src="http://127.0.0.1:9/x.png"><style>*{display:none}</style> {{ 7*7 }} <script>alert(1)</script>'
    put = {"resourceType": "AllergyIntolerance", "patient": {"reference": f"Patient/{demo.patient}"}, "code": {"text": sly}}
    put["clinicalStatus"] = {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/allergyintolerance-clinical", "code": "active"}]}
    made = demo.call("patient", "POST", "AllergyIntolerance", body=put)
    assert made.status_code == 201, made.text
    _, page = sheet(amina)
    assert "<script" not in page and "<img" not in page and page.count("<style>") == 1 and "{{ 7*7 }}" in page and "&lt;img src=&#34;" in page
    with pytest.raises(Exception, match="fetches nothing"):
        printing.nothing("file:///etc/passwd")


@pytest.mark.slow
def test_without_pango_the_command_says_what_to_install_and_writes_no_print_down(demo: Gateway, tmp_path: Path) -> None:
    hidden = tmp_path / "hidden" / "weasyprint"
    hidden.mkdir(parents=True)
    (hidden / "__init__.py").write_text("raise OSError('cannot load library libpango')")
    before = {r["id"] for r in trail(demo) if r["subtype"][0]["code"] == "print"}
    done = demo.command("print", f"Patient/{demo.patient}", "--for", "patient", env={"PYTHONPATH": str(hidden.parent)})
    assert done.returncode == 2 and "apt-get install libpango" in done.stderr and "--html" in done.stderr and len(done.stderr.strip().splitlines()) == 1
    assert {r["id"] for r in trail(demo) if r["subtype"][0]["code"] == "print"} <= before, "of the newest rows; older ones fall out of the list"
    said = by_command(demo, "patient", tmp_path / "p.html", "--html")
    assert "History sheet" in (tmp_path / "p.html").read_text() and said["file"].endswith("p.html")
