"""What the pages on security and clinical safety rely on is there, and what they say stops a start does."""

from __future__ import annotations

import ast
import functools
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fhir_gateway import serving, wiring
from fhir_gateway.domain.types import Keep
from fhir_gateway.settings import Refused, Settings, load, unsafe
from fhir_gateway.web.connections import Bounds

from .conftest import ROOT

DOCS = ROOT / "docs"
PAGES = ("security", "clinical-safety", "asvs", "dpia")
SECURITY, SAFETY = (DOCS / "security.md").read_text(), (DOCS / "clinical-safety.md").read_text()


# -- what is named is there -------------------------------------------------------------------------------------------


@functools.cache
def names_in(path: Path) -> frozenset[str]:
    """The names of the functions of a file."""
    return frozenset(n.name for n in ast.parse(path.read_text()).body if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef))


def missing(text: str) -> list[str]:
    """Which `tests/…`, `tests/….py::test_…` and links to pages in this text lead nowhere."""
    out = []
    for path, test in re.findall(r"`(tests/[\w./-]+)(?:::(\w+))?[^`]*`", text):
        there = ROOT / path
        if not there.exists() or (test and (there.is_dir() or test not in names_in(there))):
            out.append(f"{path}::{test}" if test else path)
    return out + [to for to in re.findall(r"\]\(([\w./-]+?)(?:#[\w-]+)?\)", text) if not (DOCS / to).exists()]


@pytest.mark.parametrize("page", PAGES)
def test_every_test_and_page_that_is_named_exists(page: str) -> None:
    text = (DOCS / f"{page}.md").read_text()
    assert "`tests/" in text and not missing(text)


def test_a_name_that_leads_nowhere_is_found() -> None:
    here = "`tests/test_assurance.py::test_a_name_that_leads_nowhere_is_found` [a](security.md#secrets)"
    assert missing(here) == []
    assert missing("`tests/test_assurance.py::test_not_there`, `tests/nowhere.py`, `tests/leaks::test_x` [b](nowhere.md)") == [
        "tests/test_assurance.py::test_not_there", "tests/nowhere.py", "tests/leaks::test_x", "nowhere.md",
    ]  # fmt: skip


def test_every_link_of_a_page_to_a_file_of_ours_leads_somewhere() -> None:
    pages = [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]
    links = [(page, to) for page in pages for to in re.findall(r"\]\(([^)\s]+)\)", page.read_text()) if not re.match(r"[a-z]+:|#", to)]
    assert len(links) > 100
    assert {f"{page.name}: {to}" for page, to in links if not (page.parent / to.split("#")[0]).exists()} == set()


def test_the_readme_leads_to_each() -> None:
    readme = (ROOT / "README.md").read_text()
    assert [page for page in PAGES if f"](docs/{page}.md)" not in readme] == []


# -- the hazard log ---------------------------------------------------------------------------------------------------

LINES = ("Causes", "Effect", "Before", "Controls", "After", "Deployer", "Status")
SEVERITIES = ("Minor", "Significant", "Considerable", "Major", "Catastrophic")
NAMES_A_TEST = re.compile(r"`tests/[\w/]+\.py::test_\w+`")


def hazards() -> Iterator[tuple[str, str, dict[str, str]]]:
    for id, title, body in re.findall(r"^### (H\d\d) (.+)\n\n((?:- .+\n)+)", SAFETY, re.M):
        yield id, title, dict(re.findall(r"^- \*\*(\w+):\*\* (.+)$", body, re.M))


def matrix() -> dict[tuple[str, str], str]:
    """(likelihood, severity) -> risk, from the page's own table."""
    rows = re.findall(r"^\| \*\*(Very high|High|Medium|Low|Very low)\*\* \| (\d) \| (\d) \| (\d) \| (\d) \| (\d) \|$", SAFETY, re.M)
    return {(likely, severity): risk for likely, *risks in rows for severity, risk in zip(SEVERITIES, risks, strict=True)}


def test_hazards_are_whole_and_numbered_without_a_gap() -> None:
    ids = [id for id, _, _ in hazards()]
    assert len(ids) >= 35 and ids == [f"H{n:02}" for n in range(1, len(ids) + 1)] == re.findall(r"^### (H\d\d)", SAFETY, re.M)
    assert {id: tuple(lines) for id, _, lines in hazards() if tuple(lines) != LINES} == {}


def test_each_hazard_has_a_control_with_its_test_or_is_open_with_a_reason() -> None:
    for id, _, lines in hazards():
        is_open = re.match(r"open: \S.{30,}", lines["Status"])
        assert is_open or lines["Status"] == "controlled", id
        assert NAMES_A_TEST.search(lines["Controls"]) or is_open, id


def test_each_sentence_of_a_control_names_its_test() -> None:
    said = [(id, sentence) for id, _, lines in hazards() for sentence in re.split(r"\. (?=[A-Z`])", lines["Controls"])]
    assert [one for one in said if not NAMES_A_TEST.search(one[1])] == []


def test_each_risk_is_that_of_the_matrix_and_no_control_makes_it_worse() -> None:
    risk = matrix()
    assert len(risk) == 25
    for id, _, lines in hazards():
        said = [re.fullmatch(r"([\w ]+), (\w+): (\d)(?:\. .+)?", lines[when]) for when in ("Before", "After")]
        before, after = (m.groups() if m else pytest.fail(f"{id}: {lines}") for m in said)
        assert risk[before[0], before[1]] == before[2] >= after[2] == risk[after[0], after[1]], id
        assert after[2] < "4", f"{id}: not acceptable by the page's own rule"
        assert after[2] < "3" or ". " in lines["After"] or lines["Status"] != "controlled", f"{id}: what remains is said in words"


def test_the_summary_is_that_of_the_log() -> None:
    summary = re.findall(r"^\| (H\d\d) \| (.+) \| (\d) \| (\d) \| (open|controlled) \|$", SAFETY, re.M)
    assert summary == [(id, title, h["Before"][-1], re.split(r": |\.", h["After"])[1], h["Status"].partition(":")[0]) for id, title, h in hazards()]
    risks, states = [risk for *_, risk, _ in summary], [state for *_, state in summary]
    (counts,) = re.findall(r"^(\d+) hazards: after their controls (\d+) are at risk 1, (\d+) at risk 2 and (\d+) at risk 3\. (\d+) are open:", SAFETY, re.M)
    assert [int(n) for n in counts] == [len(summary), *map(risks.count, "123"), states.count("open")]


# -- the verification standard ----------------------------------------------------------------------------------------

OF_LEVEL_1_AND_2 = dict(zip(range(1, 18), (27, 11, 19, 10, 9, 35, 18, 7, 7, 29, 14, 9, 13, 9, 13, 16, 7), strict=True))  # chapter -> requirements of ASVS 5.0.0


def test_every_requirement_of_asvs_level_2_has_one_answer() -> None:
    asvs = (DOCS / "asvs.md").read_text()
    rows = re.findall(r"^\| V(\d+)\.(\d+)\.(\d+) \| (.+?) \| (met|met, but|n/a|deployer|open) \| (.+) \|$", asvs, re.M)
    ids = [tuple(map(int, row[:3])) for row in rows]
    assert len(ids) == len(set(ids)) == 253 and {c: sum(i[0] == c for i in ids) for c in OF_LEVEL_1_AND_2} == OF_LEVEL_1_AND_2
    assert len(ids) == len(re.findall(r"^\| V\d", asvs, re.M)), "no row is misshapen"


# -- refusals to start ------------------------------------------------------------------------------------------------

REMOTE: dict[str, Any] = {"url": "https://hub.example/fhir", "organisation": "RX9"}
LONG = "x7Lq-92kfhs-0aa"
DESK = {"name": "desk", "iss": "https://desk.example/fhir", "client": "gateway", "organisation": "RX9"}
MAIL = {"tell_smtp": "smtps://mail.example", "tell_from": "plans@gateway.example"}
ISSUER = {"issuer": "https://issuer.example", "audience": "here"}

_FOLDER = tempfile.TemporaryDirectory()
OPEN = Path(_FOLDER.name) / "key.pem"  # that everybody may write
OPEN.touch()
OPEN.chmod(0o666)


def smart(**more: str) -> dict[str, Any]:
    return {"remote": [REMOTE | {"name": "hub", "auth": {"kind": "smart", "client": "gateway", "key": "own", **more}}]}


def desk(**more: str) -> dict[str, Any]:
    return {"launcher": [DESK | more]}


TRIED: dict[str, dict[str, Any]] = {  # words of the refusal -> settings that meet it
    "is not right": {"port": "seventy"},
    "is set and empty: give the secret, or leave it out everywhere": {"store_key": ""},
    "is set and empty: give the secret, or take the line away": {"remote": [REMOTE | {"auth": {"kind": "basic", "user": "me", "password": " "}}]},
    "The demo has public passwords": {"demo": True, "host": "0.0.0.0", "base_url": "https://plans.example"},
    "Set GATEWAY_BASE_URL to the https address": {"host": "0.0.0.0"},
    "must be an http or https address, not": {"base_url": "ftp://plans.example"},
    "GATEWAY_BASE_URL must hold no name": {"base_url": f"https://me:{LONG}@plans.example"},
    "Tokens and records must not travel in the clear": {"base_url": "http://plans.example"},
    "Set GATEWAY_AUDIENCE": {"issuer": "https://issuer.example"},
    "GATEWAY_ISSUER must be an https address": {"issuer": "http://issuer.example", "audience": "here"},
    "GATEWAY_BUILT_IN_ISSUER=false leaves nobody": {"built_in_issuer": False},
    "The demo signs its people in here": ISSUER | {"built_in_issuer": False, "demo": True},
    "GATEWAY_ISSUER_ROLES names the role": ISSUER | {"issuer_roles": {"god": ["Chief"]}},
    "GATEWAY_ISSUER_ROLES has an empty word": ISSUER | {"issuer_roles": {"clinician": [" "]}},
    "GATEWAY_ISSUER_ROLES maps the roles of an external issuer": {"issuer_roles": {"clinician": ["Doctor"]}},
    "GATEWAY_STORE must be sqlite:PATH or mongodb:": {"store": "postgresql://db.example/x"},
    "Records must not travel in the clear": {"store": "mongodb://db.example/x"},
    "Name the database, too": {"store": "mongodb://127.0.0.1"},
    "GATEWAY_STORE_KEY must be 64 hex digits": {"store_key": "0" * 64},
    "GATEWAY_STORE_KEY encrypts the embedded store only": {"store_key": "0123456789abcdef" * 4, "store": "mongodb://127.0.0.1/x"},
    "GATEWAY_POLICY opens records by an emergency alone": {"policy": "Policy-break-glass-only", "break_glass": "consent-only"},
    "GATEWAY_SUBSCRIBERS lists hosts": {"subscribers": "hooks.example.nhs.uk,https://hooks.example.nhs.uk/x"},
    "GATEWAY_SUBSCRIBERS names a client": {"subscribers": "the practice=hooks.example.nhs.uk"},
    "GATEWAY_SUBSCRIBERS must name the port": {"subscribers": "localhost"},
    "GATEWAY_LEAVE_URL must be an https address of another website": {"leave_url": "http://www.bbc.co.uk/weather"},
    "GATEWAY_TRUSTED_PROXIES must hold addresses": {"trusted_proxies": "10.0.0.4, *"},
    "GATEWAY_RETENTION names": {"retention": "/no/such/file"},
    "GATEWAY_DEFINITIONS names": {"definitions": "/no/such/folder"},
    "Two remotes have the same name": {"remote": [REMOTE, REMOTE]},
    "a `name` is up to 64 letters and digits": {"remote": [REMOTE | {"name": "the hub"}]},
    "Two remotes have the same `url`": {"remote": [REMOTE | {"name": "hub"}, REMOTE | {"name": "nub", "url": "https://hub.example/fhir/"}]},
    "The `organisation` of the remote `hub` is empty": {"remote": [REMOTE | {"name": "hub", "organisation": " "}]},
    "has an empty list of `types`": {"remote": [REMOTE | {"types": []}]},
    "without a question or fragment": {"remote": [REMOTE | {"url": "https://hub.example/fhir?x=1"}]},
    "is this gateway's own address": {"base_url": "https://plans.example", "remote": [REMOTE | {"url": "https://plans.example/fhir/"}]},
    "each partner begins with [[remote]], in two brackets": {"remote": REMOTE},
    "Set GATEWAY_REMOTE_ORGANISATION": {"remote_url": "https://hub.example/fhir"},
    "Take the name and password out of the address": {"remote": [REMOTE | {"url": f"https://me:{LONG}@hub.example/fhir"}]},
    "needs an http or https address": {"remote": [REMOTE | {"url": "hub"}]},
    "must be reached by https": {"remote": [REMOTE | {"url": "http://hub.example/fhir"}]},
    "has role `processor` and no `audience`": {"remote": [REMOTE | {"role": "processor"}]},
    "so a stub's label would hold nobody off": {"remote": [REMOTE | {"recall": "stub", "enforces": "nothing"}]},
    "so there is nothing to leave a stub of": {"remote": [REMOTE | {"recall": "stub", "direction": "in"}]},
    "must be an https address without a name or password in it: tokens": smart(token_url="http://hub.example/token"),
    "must be of words such as system/*.cruds": smart(scope="user/*.rs"),
    "signs in by a key of our own, which is by ES384": smart(algorithm="RS384"),
    "which is not a file that can be read: correct the path, or write `own`": smart(key="/no/such/key"),
    "the private key for the remote `hub`: take that away": smart(key=str(OPEN)),
    "is no private key to sign in by": smart(key=str(ROOT / "README.md")),
    "has both `token` and `auth`": {"remote": [REMOTE | {"token": LONG, "auth": {"kind": "bearer", "token": LONG}}]},
    "The `auth` of the remote": {"remote": [REMOTE | {"auth": {"kind": "basic", "user": "me"}}]},
    "is a well-known default or easy to guess": {"remote": [REMOTE | {"token": "changeme"}]},
    "GATEWAY_TELL_SMTP must be smtp:": {"tell_smtp": "mail.example"},
    "Set GATEWAY_TELL_FROM": {"tell_smtp": "smtps://mail.example"},
    "Set both GATEWAY_TELL_SMTP_USER and GATEWAY_TELL_SMTP_PASSWORD": MAIL | {"tell_smtp_user": "gateway"},
    "GATEWAY_TELL_SMTP_AUTHORITY names": MAIL | {"tell_smtp_authority": "/no/such/file"},
    "GATEWAY_TELL_WEBHOOK must be an https address": {"tell_webhook": "http://hook.example"},
    "GATEWAY_TELL_WEBHOOK_SECRET must be": {"tell_webhook": "https://hook.example", "tell_webhook_secret": "secret"},
    "GATEWAY_TELL_SMS must be file:PATH or an https address.": {"tell_sms": "file:"},
    "numbers must not travel in the clear": {"tell_sms": "http://sms.example"},
    "GATEWAY_AUDIT_HEADS names a file": {"audit_heads": "file:/no/such/folder/heads"},
    "GATEWAY_AUDIT_HEADS_AUTHORITY names": {"audit_heads": "https://witness.example", "audit_heads_authority": str(ROOT / "README.md")},
    "GATEWAY_AUDIT_HEADS must be file:PATH": {"audit_heads": "http://witness.example"},
    "GATEWAY_CLIENT_KEYS_FROM lists hosts": {"client_keys_from": "https://keys.example/jwks"},
    "GATEWAY_READ_ONLY is not right: `": {"read_only": "D82001"},
    "Thresholds for readings: GATEWAY_READING_MANUFACTURER is not set": {"reading_limits": "SYSTOLIC>180", "reading_hours": "Mon-Fri 08:00-18:00", "reading_team": "RX1"},
    "and GATEWAY_BUILT_IN_ISSUER=false closes that": ISSUER | {"built_in_issuer": False, **desk()},
    "with `.`, `_` or `-` between, for it stands in an address.": desk(name="the desk"),
    "Two [[launcher]] have the same `name`": {"launcher": [DESK, DESK]},
    "Two [[launcher]] have the same `iss`": {"launcher": [DESK, DESK | {"name": "other", "iss": "https://desk.example/fhir/"}]},
    "The `iss` of the launcher `desk` must be an https address without a name, password, question or fragment.": desk(iss="https://desk.example/?a=b"),
    "The `sign_in` of the launcher `desk` must be an https address without a name or password in it.": desk(sign_in="http://desk.example"),
    "needs a `client`, an `organisation` and a `user_claim`": desk(user_claim=" "),
    "has both `secret` and `key`: keep one.": desk(secret=LONG, key=str(OPEN)),
    "each system begins with [[launcher]], in two brackets": {"launcher": DESK},
    "Set GATEWAY_JOURNAL to a folder outside GATEWAY_DATA": {"data": "/srv/plans", "journal": "/srv/plans/journal"},
}  # fmt: skip


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(f"GATEWAY_{name.upper()}", raising=False)


def refusal(**given: Any) -> str:
    with pytest.raises(Refused) as refused:
        load(**given)
    return str(refused.value)


@pytest.mark.parametrize("words", TRIED)
def test_unsafe_settings_stop_the_start(words: str) -> None:
    said = refusal(**TRIED[words])
    assert words in said and said.endswith(".") and "\n" not in said
    assert LONG not in said and "changeme" not in said, "no secret is repeated"


@pytest.mark.parametrize("said", ["*", "proxy", "0.0.0.0/0", "::/0", "10.0.0.1/8", "10.0.0.4:80"])
def test_nobody_who_can_be_anybody_is_a_trusted_proxy(said: str) -> None:
    assert "GATEWAY_TRUSTED_PROXIES" in refusal(trusted_proxies=said)
    assert load(trusted_proxies="10.0.0.4, 10.1.0.0/16,fd00::4").proxies == {"10.0.0.4", "10.1.0.0/16", "fd00::4"}


@pytest.mark.parametrize("name", ["uri_limit", "header_limit", "body_limit", "binary_limit", "bodies_limit", "connections"])
def test_a_limit_by_which_nothing_could_work_stops_the_start(name: str) -> None:
    assert f"GATEWAY_{name.upper()} is not right" in refusal(**{name: 10})


@pytest.mark.parametrize("name", ["attempts_rate", "rate", "body_seconds", "search_seconds", "wait_seconds", "head_seconds", "remote_poll_seconds"])
def test_a_pace_or_a_pause_without_end_stops_the_start(name: str) -> None:
    assert f"GATEWAY_{name.upper()} is not right" in refusal(**{name: "1e400"})


@pytest.mark.parametrize("name", ["base_url", "tell_webhook", "tell_sms", "tell_smtp", "audit_heads", "remote_url", "issuer", "leave_url"])
def test_an_address_that_is_none_is_refused_in_a_sentence(name: str) -> None:
    assert refusal(**{name: "https://["}, audience="here", remote_organisation="RX9").endswith(".")


def test_a_network_of_trusted_proxies_may_have_all_the_connections() -> None:
    bounds = Bounds(1, connections=16, proxies=frozenset({"10.1.0.0/16"}))
    assert not bounds.too_many(16, 16, "10.1.2.3") and bounds.too_many(17, 16, "10.1.2.3")
    assert bounds.too_many(16, 9, "10.2.2.3") and not bounds.too_many(16, 8, "10.2.2.3") and bounds.too_many(16, 9, "")


def refusals_in_settings() -> Iterator[str]:
    """The longest fixed part of every sentence that a rule of settings (a function that gives `str | None`) may say."""
    for rule in ast.parse(Path(unsafe.__file__).read_text()).body:
        if not isinstance(rule, ast.FunctionDef) or rule.returns is None or ast.unparse(rule.returns) != "str | None":
            continue
        for said in (n.value for n in ast.walk(rule) if isinstance(n, ast.Return) and n.value):
            for text in (n for n in ast.walk(said) if isinstance(n, ast.Constant | ast.JoinedStr)):
                parts = text.values if isinstance(text, ast.JoinedStr) else [text]
                fixed = max((p.value for p in parts if isinstance(p, ast.Constant) and isinstance(p.value, str)), key=len, default="")
                if len(fixed) > 20:
                    yield fixed


def test_every_sentence_by_which_settings_are_refused_is_tried() -> None:
    said = [refusal(**given) for given in TRIED.values()]
    rules = list(refusals_in_settings())
    assert len(rules) > 30
    assert [rule for rule in rules if not any(rule in s for s in said)] == []


def test_files_of_settings_that_are_not_there_stop_the_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEWAY_CONFIG", str(tmp_path / "none.toml"))
    assert "GATEWAY_CONFIG names" in refusal()
    monkeypatch.delenv("GATEWAY_CONFIG")
    monkeypatch.setenv("GATEWAY_SECRETS", str(tmp_path / "none"))
    assert "GATEWAY_SECRETS names" in refusal()
    (tmp_path / "gateway_store_kye").write_text("mistyped")
    monkeypatch.setenv("GATEWAY_SECRETS", str(tmp_path))
    assert "GATEWAY_SECRETS holds a file" in refusal() and "mistyped" not in refusal()


async def test_a_store_that_cannot_be_opened_stops_the_start(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    (tmp_path / "letter.sqlite").write_bytes(b"Dear Amina, " * 400)
    for path, words in ((tmp_path / "file" / "below" / "x.sqlite", "cannot be made"), (tmp_path / "letter.sqlite", "is not a store of this gateway")):
        with pytest.raises(Refused) as refused:
            await wiring.open_store(f"sqlite:{path}")
        assert words in str(refused.value)
    assert (tmp_path / "letter.sqlite").read_bytes() == b"Dear Amina, " * 400, "and is left as it was"


async def test_a_consent_journal_that_cannot_be_kept_stops_the_start(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(Refused, match=r"cannot be written .*: set GATEWAY_JOURNAL"):
        await wiring.open_wired(load(data=tmp_path / "one", journal=tmp_path / "file" / "below"))
    here = load(data=tmp_path / "two", journal=tmp_path / "journal")
    async with wiring.wired(here) as w:
        await w.house.store.commit(Keep("decides", "something", b"yes"))
    (lines,) = (tmp_path / "journal").rglob("*.jsonl")
    lines.write_bytes(b"torn out\n")
    with pytest.raises(Refused, match="The consent journal is damaged"):
        await wiring.open_wired(here)


def test_an_address_that_is_not_of_this_machine_stops_the_start() -> None:
    with pytest.raises(Refused) as refused:
        serving.bound(load(host="192.0.2.1", port=0, base_url="https://plans.example"))
    assert "192.0.2.1" in str(refused.value) and "GATEWAY_HOST" in str(refused.value)


def test_the_page_names_exactly_the_refusals_that_are_tried() -> None:
    (section,) = re.findall(r"^## Refusals to start\n(.+?)^## ", SECURITY, re.M | re.S)
    rows = re.findall(r"^\| (.+) \| (`tests/[^|]+`) \|$", section, re.M)
    assert len(rows) > 40 and not [r for r, test in rows if not NAMES_A_TEST.fullmatch(test)]
    of_settings = [re.findall(r"“(.+?)”", words)[0] for words, test in rows if "test_unsafe_settings_stop_the_start" in test]
    assert of_settings == list(TRIED)
