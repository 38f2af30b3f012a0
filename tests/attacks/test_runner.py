"""The runner can fail: each expectation with a case that meets it and one that does not, against the same server."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ..conftest import ROOT
from . import checking, generators, wire
from .checking import Sent
from .running import Runner, dripping, many, read, writes
from .seeding import CANARY_B
from .wire import Answer

ME = {"Accept": "application/fhir+json", "Authorization": "Bearer {{TOK_PAT_A}}"}
JSON = {**ME, "Content-Type": "application/fhir+json"}
GOAL = {"resourceType": "Goal", "lifecycleStatus": "active", "description": {"text": "x"}, "subject": {"reference": "Patient/{{PAT_A}}"}}
PLAN = "{{BASE}}/CarePlan/{{CP_A}}"
PLANS = "{{BASE}}/CarePlan"
BATCH = {"resourceType": "Bundle", "type": "batch", "entry": [{"request": {"method": "GET", "url": "Goal/{{GOAL_A}}"}}]}
TWO = "GET {{BASE}}/metadata HTTP/1.1\r\nHost: {{HOST}}\r\n\r\n" * 2 + "GET / HTTP/1.0\r\n\r\n"


@pytest.fixture(scope="module")
def runner(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runner]:
    made = Runner(tmp_path_factory.mktemp("stand"))
    yield made
    made.close()


def case(path: str = PLAN, *, method: str = "GET", headers: dict[str, Any] | None = None, body: Any = None, id: str = "one", **rest: Any) -> dict[str, Any]:
    more = {k: rest.pop(k) for k in ("pre", "repeat", "raw", "header_gen") if k in rest}
    given = headers if headers is not None else JSON if body is not None else ME
    return {"id": id, "area": "own", "method": method, "path": path, "headers": given, "body": body, "expect": rest, **more}


FAILS = {  # what the case expects -> a word of why it fails
    "status": (case(status=[404]), "status 200, expected 404"),
    "absent": (case(status=[200], absent=["{{CANARY_A}}"]), "is in the answer"),
    "present": (case(status=[200], present=["not there at all"]), "is not in the answer"),
    "outcome": (case("/no-such-page", headers={"Accept": "text/html"}, outcome=True), "no OperationOutcome"),
    "total": (case(PLANS, total=77), "total 4, expected 77"),
    "total of none": (case(PLANS, total=0), "where none should match"),
    "ids": (case(PLANS, ids=["{{CP_A}}"]), "expected"),
    "entries": (case(PLANS, entries=1), "entries, expected 1"),
    "max_entries": (case(PLANS, max_entries=1), "at most 1"),
    "entry_status": (case("{{BASE}}", method="POST", body=BATCH, entry_status=["403|404"]), "entry 0 has status 200"),
    "max_ms": (case(status=[200], max_ms=0.001), "took "),
    "max_rss_mb": (case(status=[200], max_rss_mb=1), "MiB, at most 1"),
    "same_as": (case(same_as="another"), "status 200, and 404"),
    "same_as of nobody": (case(same_as="nobody"), "not in this file"),
    "sink": (case(status=[200], sink=1), "the sink saw 0"),
    "audit": (case(status=[200], audit="denied"), "no AuditEvent"),
    "audit of a word nobody knows": (case(status=[200], audit="whatever"), "not known"),
    "self_link_absent": (case(f"{PLANS}?status=active", self_link_absent=["status"]), "in the self link"),
    "one_response": (case("{{BASE}}/", method="RAW", raw=TWO, one_response=True), "answers on one connection"),
    "race": (case(status=[200], race={"parallel": 3, "exactly_one": 200}), "3 of 3 got through"),
    "race's statuses": (case(status=[201], race={"parallel": 2, "exactly_one": 201}), "status 200"),
    "repeat": (case(status=[404], repeat=2), "status 200"),
    "no_headers": (case(status=[200], no_headers=["ETag"]), "the header ETag"),
    "headers_absent": (case(status=[200], headers_absent=["Cache-Control"]), "the header Cache-Control"),
    "headers_if_200": (case(status=[200], headers_if_200={"ETag": "^never"}), "not `^never`"),
    "no_location": (case("{{UI_LOGIN}}", method="POST", headers={"Content-Type": "application/x-www-form-urlencoded"}, body="username={{USER_A}}&password={{PASS_A}}&csrf_token={{CSRF_LOGIN}}", no_location=["/home"]), "leads to"),
    "then": (case(status=[200], then=[{"as": "TOK_PAT_B", "method": "GET", "path": PLAN, "status": [200]}]), "then 1: status 404"),
    "then by page": (case(status=[200], then=[{"as": "UI:PAT_A", "method": "GET", "path": "{{UI_PLAN_A}}", "absent": ["{{CANARY_A}}"]}]), "then 1: "),
    "a word nobody knows": (case(status=[200], colour="red"), "not known: colour"),
    "a word of the case nobody knows": ({**case(status=[200]), "pres": ["revoke:CONSENT_A"]}, "not known: pres"),
    "expectations under another name": ({**case(), "expects": {"status": [404]}}, "not known: expects; it expects nothing"),
    "no expectations": ({k: v for k, v in case().items() if k != "expect"}, "it expects nothing"),
    "expectations of the wrong kind": ({**case(), "expect": [200]}, "it expects nothing"),
    "a word of a race nobody knows": (case(status=[200], race={"paralel": 2}), "`race` that is not known: paralel"),
    "a step nobody knows": (case(status=[200], pre=["dance:X"]), "`dance:X`"),
    "a placeholder nobody knows": (case("{{BASE}}/CarePlan/{{NO_SUCH_THING}}", status=[404]), "unknown placeholder NO_SUCH_THING"),
    "a token nobody knows": (case(headers={"Authorization": "Bearer {{TOK_NOBODY}}"}, status=[401]), "unknown placeholder TOK_NOBODY"),
    "a placeholder nobody knows, afterwards": (case(status=[200], then=[{"as": "TOK_NOBODY", "method": "GET", "path": PLAN}]), "TOK_NOBODY"),
    "a placeholder nobody knows, before": (case(status=[200], pre=["use:CODE_NOBODY"]), "CODE_NOBODY"),
    "a generator nobody knows": (case("{{BASE}}/Goal", method="POST", body={"$gen": "wobble"}, status=[400]), "no generator `wobble`"),
    "its own server error": (case("{{BASE}}/metadata", status=[500]), "status 200"),
}  # fmt: skip
FAILS["headers"] = ({**case(status=[200]), "expect": {"status": [200], "headers": {"ETag": "^never"}}}, "not `^never`")
PASSES = {
    "status": case(status=[200]),
    "absent, present": case(status=[200], absent=["{{CANARY_B}}"], present=["{{CANARY_A}}"]),
    "outcome": case("{{BASE}}/CarePlan/none", status=[404], outcome=True),
    "total, entries": case(PLANS, total="{{N_CP_VISIBLE_A}}", entries=4, max_entries=4),
    "ids": case(f"{PLANS}?_id={{{{CP_A}}}}", ids=["{{CP_A}}"]),
    "entry_status": case("{{BASE}}", method="POST", body=BATCH, entry_status=["200"]),
    "max_rss_mb": case(status=[200], max_rss_mb=4000),
    "same_as": case("{{BASE}}/CarePlan/{{CP_B}}", same_as="another", audit="denied"),
    "audit": case(status=[200], audit="success"),
    "self_link_absent": case(f"{PLANS}?colour=red", status=[200], self_link_absent=["colour"]),
    "one_response": case("{{BASE}}/", method="RAW", raw=TWO.replace("HTTP/1.1\r\n", "HTTP/1.1\r\nConnection: close\r\n", 1), one_response=True),
    "race": case("{{BASE}}/Goal", method="POST", headers={**JSON, "If-None-Exist": "identifier=urn:atk|raced"}, body={**GOAL, "identifier": [{"system": "urn:atk", "value": "raced"}]}, status=[200, 201], race={"parallel": 4, "exactly_one": 201}, max_ms=8000),
    "then": case(status=[200], then=[{"as": "TOK_PAT_B", "method": "GET", "path": PLAN, "status": [404]}, {"as": "UI:PAT_A", "method": "GET", "path": "{{UI_PLAN_A}}", "status": [200]}]),
    "revoke, open_search": case("{{NEXT_LINK_GP}}", headers={**ME, "Authorization": "Bearer {{TOK_GP}}"}, status=[200, 403, 404, 410], absent=["{{CANARY_A}}"], pre=["open_search:TOK_GP", "revoke:CONSENT_A"]),
    "use": case("{{AS_TOKEN}}", method="POST", headers={"Content-Type": "application/x-www-form-urlencoded"}, body="grant_type=refresh_token&client_id={{CLIENT_PUB}}&refresh_token={{RT_FRESH}}", status=[400], pre=["use:RT_FRESH"]),
    "header_gen": case(headers={**ME}, status=[400, 431], header_gen={"X-Long": {"$gen": "repeat", "unit": "a", "n": 50_000}}),
    "a server error's words": case("{{BASE}}/Traceback/1", status=[404]),
}  # fmt: skip
ANOTHER = case("{{BASE}}/CarePlan/none", id="another", status=[404])


@pytest.mark.parametrize("name", FAILS)
def test_a_case_that_is_not_met_fails_and_says_why(runner: Runner, name: str) -> None:
    about, why = FAILS[name]
    assert about is not None
    runner.others = {"another": ANOTHER}
    found = runner.judged(about)
    assert not found.passed
    assert why in found.line()["why"]


@pytest.mark.parametrize("name", PASSES)
def test_a_case_that_is_met_passes(runner: Runner, name: str) -> None:
    runner.others = {"another": ANOTHER}
    assert runner.judged(PASSES[name]).wrong == ()


def test_a_case_that_writes_begins_anew(runner: Runner) -> None:
    mine = {**GOAL, "identifier": [{"system": "urn:atk", "value": "kept"}]}
    there = [{"as": "TOK_PAT_A", "method": "GET", "path": "{{BASE}}/Goal?identifier=urn:atk|kept", "total": 1}]
    assert runner.judged(case("{{BASE}}/Goal", method="POST", body=mine, status=[201], then=there)).passed
    assert runner.judged(case("{{BASE}}/Goal?identifier=urn:atk|kept", total=0)).passed


def test_every_token_code_and_assertion_of_the_table_is_known(runner: Runner) -> None:
    names = """
    TOK_PAT_A TOK_PAT_B TOK_GP TOK_VCSE TOK_SYS_HOSP1 TOK_ADMIN TOK_OTHER_GP TOK_GP_EXPIRED_CONSENT TOK_GP_FUTURE_CONSENT
    TOK_GP_ENTERED_IN_ERROR_CONSENT TOK_GP_NO_CONSENTS TOK_PRAC_DEACTIVATED TOK_LAUNCH_A TOK_A_GOAL_ONLY TOK_A_CAREPLAN_ONLY TOK_A_READONLY
    TOK_A_READ_NOSEARCH TOK_A_CAREPLAN_CATEGORY TOK_EXPIRED TOK_NBF_FUTURE TOK_NO_EXP TOK_ALG_NONE TOK_ALG_NoNe TOK_HS256_PUBKEY
    TOK_KID_TRAVERSAL TOK_KID_SQL TOK_KID_UNKNOWN TOK_JKU TOK_X5U TOK_JWK_EMBEDDED TOK_CRIT_UNKNOWN TOK_ALG_SWAPPED TOK_WRONG_AUD TOK_WRONG_ISS
    TOK_ID_TOKEN TOK_REFRESH TOK_CLIENT_ASSERTION TOK_REVOKED TOK_SIG_STRIPPED TOK_SIG_TRUNC TOK_FIVE_PARTS TOK_GARBAGE TOK_DUP_SUB
    TOK_JWE_BOMB TOK_EXP_30S_AGO TOK_EXP_90S_AGO TOK_IAT_10MIN_FUTURE TOK_FROM_CODE_USED ASSERT_OK ASSERT_EXPIRED ASSERT_EXP_10MIN ASSERT_NO_JTI
    ASSERT_NONE ASSERT_WRONG_AUD ASSERT_KEY_OF_OTHER_CLIENT ASSERT_REUSED CODE_FRESH1 CODE_FRESH9 CODE_USED CODE_11MIN_OLD CODE_OTHER_CLIENT RT_FRESH
    RT_REVOKED RT_USED CLIENT_PUB CLIENT_OTHER CLIENT_SYS VERIFIER CHALLENGE REDIRECT_OK SECRET_OF_OTHER BASIC_CLIENT_OTHER UI_SESSION_COOKIE_A CSRF_A
    CSRF_B CSRF_OLD CSRF_LOGIN USER_A PASS_A NEXT_LINK_GP NEXT_LINK_PAT_B BASE BASE_URL HOST ADMIN UI_LOGIN UI_GRANT UI_PLAN_A AS_TOKEN
    AS_AUTHORIZE AS_INTROSPECT AS_JWKS SINK ALLOWED_HOST PAT_A PAT_B CP_A CP_B GOAL_A GOAL_B QR_B CONSENT_A CONSENT_B BIN_B DOC_B PROV_B AUD_A AUD_B
    LIST_B GROUP_ALL BIN_A_HTML CP_A_XREF CP_B_XREF CP_A_RESTRICTED CP_A_RESTRICTED_ETAG GOAL_A_DENIED GOAL_A_DELETED CP_A_OTHER_CATEGORY CP_A_UPPER
    CP_A_ETAG PAT_A_ETAG N_CP_VISIBLE_A QR_A_HIDDEN_IDENT GOAL_B_IDENT NHS_B PRAC_GP PRAC_OTHER PRAC_OTHER_NAME ORG_OTHER D0 D1 D2 D3 D4 D5 D6 DTZ
    CANARY_A CANARY_A_QR CANARY_B
    """.split()
    runner.fresh()
    assert [n for n in names if not runner.names[n]] == []


# -- the parts --------------------------------------------------------------------------------------------------------


def test_what_no_answer_may_hold_is_found() -> None:
    sent = Sent("/fhir/CarePlan", "/fhir/CarePlan?name=x")
    page = [("Content-Type", "text/plain")]
    for text in ("Traceback (most recent call last):", "sqlite3.OperationalError: no such table: resource", 'File "/srv/x.py", line 3'):
        assert checking.always(Answer(200, page, text.encode()), sent, CANARY_B, None)
    assert checking.always(Answer(503), sent, CANARY_B, None) == ["status 503"]
    assert checking.always(Answer(501), sent, CANARY_B, None) == []
    assert checking.always(Answer(200, ms=2001), sent, CANARY_B, None)
    assert checking.always(Answer(200, ms=2001), sent, CANARY_B, 3000) == []
    assert checking.always(Answer(-1, ms=5000), sent, CANARY_B, 9000)


def test_the_canary_of_b_is_for_b_alone() -> None:
    for answer in (Answer(200, body=f"… {CANARY_B} …".encode()), Answer(200, [("X-Name", CANARY_B)])):
        assert checking.always(answer, Sent("/x", "/x"), CANARY_B, None)
        assert checking.always(answer, Sent("/x", "/x", of_b=True), CANARY_B, None) == []


def test_a_self_link_may_repeat_what_was_asked_and_nothing_else_may() -> None:
    asked = Sent(f"/fhir/Patient?name={CANARY_B}", f"/fhir/Patient?name={CANARY_B}")
    link = [{"relation": "self", "url": f"http://x/fhir/Patient?name={CANARY_B}"}]
    none: dict[str, Any] = {"resourceType": "Bundle", "type": "searchset", "total": 0, "link": link}
    one = {**none, "entry": [{"resource": {"resourceType": "Patient", "name": [{"family": CANARY_B}]}}]}
    assert checking.always(Answer(200, body=json.dumps(none).encode()), asked, CANARY_B, None) == []
    assert checking.always(Answer(200, body=json.dumps(one).encode()), asked, CANARY_B, None)
    assert checking.always(Answer(200, body=json.dumps(none).encode()), Sent("/fhir/Patient", "/fhir/Patient"), CANARY_B, None)


def test_a_word_in_the_log_is_found_also_when_escaped() -> None:
    assert checking.log('{"path": "/x?name=A%20B"}', ["A B"])
    assert checking.log("one\nERROR forged line\n", ["\nERROR forged line"])
    assert checking.log("nothing", ["A B"]) == []


def test_the_recorder_counts_who_calls(tmp_path: Path) -> None:
    sink = wire.Sink()
    try:
        there = wire.send(("127.0.0.1", sink.port), wire.request("GET", "/redirect-to-loopback", "x", [], None))
        assert (there.status, there.header("location"), sink.requests) == (302, f"{sink.url}/secret", 1)
    finally:
        sink.close()


def test_generators_make_what_they_say() -> None:
    assert generators.body({"$gen": "repeat", "prefix": "<", "unit": "ab", "n": 3, "suffix": ">"}) == b"<ababab>"
    assert generators.body({"$gen": "nest", "prefix": "p", "open": "[", "inner": "x", "close": "]", "n": 3, "suffix": "s"}) == b"p[[[x]]]s"
    assert generators.body({"$gen": "seq", "prefix": "[", "fmt": "%d,", "n": 3, "suffix": "9]"}) == b"[0,1,2,9]"
    import gzip

    assert gzip.decompress(generators.body({"$gen": "gzip", "of": {"$gen": "repeat", "unit": "A", "n": 3_000_000}}) or b"") == b"A" * 3_000_000
    assert generators.body({"$gen": "b64", "b64": "/wA="}) == b"\xff\x00"
    assert generators.body({"$gen": "b64enc", "text": "é", "encoding": "utf-16-le"}) == "é".encode("utf-16-le")
    assert generators.text({"$gen": "b64enc", "text": "a:b", "encoding": "latin-1"}) == "YTpi"
    assert json.loads(generators.body({"data": {"$gen": "b64enc", "text": "ab"}}) or b"") == {"data": "YWI="}


def test_header_gen_and_drip_in_their_forms() -> None:
    assert many({"name": "X-%d", "value": "v%d", "n": 2}) == [("X-0", "v0"), ("X-1", "v1")]
    assert many({"X-A": {"$gen": "repeat", "unit": "a", "n": 3}, "X-B": "b"}) == [("X-A", "aaa"), ("X-B", "b")]
    assert many({"$gen": "seq", "fmt": "X-%d: v\r\n", "n": 2}) == [("X-0", "v"), ("X-1", "v")]
    assert dripping({"bytes": 4, "ms": 250}) == (4, 0.25) and dripping(500) == (1, 0.5) and dripping(None) is None


def test_everything_but_a_plain_get_is_taken_to_write() -> None:
    assert not writes(case()) and not writes(case(method="HEAD"))
    assert writes(case(method="POST")) and writes(case(pre=["revoke:CONSENT_A"])) and writes(case(repeat=2)) and writes(case(race={"parallel": 2}))


# -- the command ------------------------------------------------------------------------------------------------------


def make(folder: Path, *args: str) -> subprocess.CompletedProcess[str]:
    """`make attacks` as somebody calls it from a folder of their own."""
    import os

    env = {**os.environ, "PWD": str(folder)}
    return subprocess.run(["make", "-s", "-C", str(ROOT), "attacks", *args], cwd=folder, env=env, capture_output=True, text=True, timeout=120)


def test_the_command_writes_a_line_a_case_and_ends_with_1_on_a_fail(tmp_path: Path) -> None:
    cases = [case(status=[200], id="good"), case(status=[404], id="bad")]
    (tmp_path / "cases.jsonl").write_text("".join(json.dumps(c) + "\n" for c in cases))
    done = make(tmp_path, "CASES=cases.jsonl", "OUT=out.jsonl")
    assert done.returncode != 0, done.stderr
    lines = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [(x["id"], x["area"], x["result"]) for x in lines] == [("good", "own", "pass"), ("bad", "own", "fail")]
    assert "expected 404" in lines[1]["why"] and lines[0]["why"] == ""
    assert [line.split() for line in done.stdout.splitlines()] == [["area", "pass", "fail"], ["own", "1", "1"], ["all", "1", "1"]]


def test_the_command_names_the_line_that_it_cannot_read(tmp_path: Path) -> None:
    (tmp_path / "cases.jsonl").write_text(json.dumps(case()) + "\n{oops\n")
    done = make(tmp_path, "CASES=cases.jsonl")
    assert done.returncode == 2 and "cases.jsonl, line 2" in done.stderr


@pytest.mark.parametrize(("text", "only", "why"), [(json.dumps(case(status=[200])), "nothing", "`nothing`"), ("\n", "", "no case in cases.jsonl")])
def test_the_command_fails_when_it_would_run_nothing(tmp_path: Path, text: str, only: str, why: str) -> None:
    (tmp_path / "cases.jsonl").write_text(text)
    done = make(tmp_path, "CASES=cases.jsonl", *([f"ONLY={only}"] if only else []))
    assert done.returncode == 2 and why in done.stderr


def test_our_own_cases_can_be_read() -> None:
    cases = read(Path(__file__).parent / "own.jsonl")
    assert len({c["id"] for c in cases}) == len(cases) > 50
