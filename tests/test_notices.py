"""When it is safe to tell, where to, and in which words: the pure part of telling people."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir_gateway.domain.notices import EVERY_DAY, LANGUAGES, Choice, clock, email, mobile, next_safe, words

LONDON = ZoneInfo("Europe/London")
HOURS = st.builds("{:02d}:{:02d}".format, st.integers(0, 23), st.sampled_from([0, 15, 30, 59]))
DAYS = st.sets(st.sampled_from(EVERY_DAY), min_size=1).map(lambda d: tuple(sorted(d)))
CHOICES = st.builds(lambda s, e, d: Choice("email", "a@b.example", "en", s, e, d), HOURS, HOURS, DAYS).filter(lambda c: c.start != c.end)
INSTANTS = st.datetimes(datetime(2026, 1, 1), datetime(2027, 12, 31)).map(lambda at: at.replace(tzinfo=UTC))


def safe(choice: Choice, at: datetime) -> bool:
    """The same said of the clock on the wall, to the minute."""
    local = at.astimezone(LONDON)
    now, today = f"{local:%H:%M}", local.weekday()
    if choice.start < choice.end:
        return today in choice.days and choice.start <= now < choice.end
    return (today in choice.days and now >= choice.start) or ((today - 1) % 7 in choice.days and now < choice.end)


@given(CHOICES, INSTANTS)
def test_what_is_sent_is_sent_at_a_safe_time_by_the_clock_on_the_wall(choice: Choice, at: datetime) -> None:
    due = next_safe(choice, at)
    assert due >= at and safe(choice, due)


@given(CHOICES, INSTANTS)
def test_nothing_waits_that_need_not(choice: Choice, at: datetime) -> None:
    """But where the clocks change: an hour that comes twice, or never, is not taken for safe."""
    changes = any(len({t.astimezone(LONDON).utcoffset() for t in (at + timedelta(days=n), at + timedelta(days=n + 2))}) > 1 for n in range(-2, 9))
    if not changes and safe(choice, at):
        assert next_safe(choice, at) == at


@pytest.mark.parametrize(
    ("start", "end", "at", "due"),
    [
        ("09:00", "17:00", "2026-07-01T06:00:00", "2026-07-01T08:00:00"),  # nine in London is eight in UTC in summer
        ("09:00", "17:00", "2026-12-01T06:00:00", "2026-12-01T09:00:00"),
        ("09:00", "17:00", "2026-07-01T15:59:00", "2026-07-01T15:59:00"),
        ("09:00", "17:00", "2026-07-01T16:00:00", "2026-07-02T08:00:00"),
        ("09:00", "17:00", "2026-03-28T18:00:00", "2026-03-29T08:00:00"),  # the night the clocks go forward
        ("09:00", "17:00", "2026-10-24T17:00:00", "2026-10-25T09:00:00"),  # and back
        ("01:30", "03:00", "2026-03-29T00:00:00", "2026-03-29T01:30:00"),  # 01:30 does not exist: 02:30 is the first that does
        ("01:00", "01:30", "2026-10-24T23:00:00", "2026-10-26T01:00:00"),  # 01:00 comes twice: not that night
        ("22:00", "02:00", "2026-10-25T00:30:00", "2026-10-25T00:30:00"),  # 01:30, the first time
        ("22:00", "01:00", "2026-10-25T00:30:00", "2026-10-25T22:00:00"),
    ],
)
def test_safe_times_through_the_change_of_the_clocks(start: str, end: str, at: str, due: str) -> None:
    choice = Choice("email", "a@b.example", "en", start, end)
    assert next_safe(choice, datetime.fromisoformat(at + "+00:00")) == datetime.fromisoformat(due + "+00:00")


def test_only_some_days_are_safe() -> None:
    sunday = Choice("email", "a@b.example", "en", "", "", (6,))
    assert next_safe(sunday, datetime(2026, 11, 25, 12, tzinfo=UTC)) == datetime(2026, 11, 29, tzinfo=UTC)
    assert next_safe(sunday, datetime(2026, 11, 29, 23, 59, tzinfo=UTC)) == datetime(2026, 11, 29, 23, 59, tzinfo=UTC)


@pytest.mark.parametrize("typed", ["amina@example.com", " a.b+c@sub.example.co.uk "])
def test_an_email_address_is_taken_as_typed(typed: str) -> None:
    assert email(typed) == typed.strip()


@pytest.mark.parametrize(
    "typed", ["", "amina", "a@b", "a@b.example\nBcc: x@y.example", "a@b.example\rx", "<a@b.example>", "a b@c.example", "ä@b.example", "a@-b.example",
              ".a@b.example", "a..b@c.example", "a@b.example,c@d.example", "a" * 65 + "@b.example", "a@" + "b." * 130 + "example"]
)  # fmt: skip
def test_what_is_no_address_or_more_than_one_is_not(typed: str) -> None:
    assert email(typed) is None


@pytest.mark.parametrize("typed", ["07700 900123", "+44 7700 900123", "0044 7700-900123", "+44 (0)7700 900123"])
def test_a_number_is_taken_as_people_write_it(typed: str) -> None:
    assert mobile(typed) == "+447700900123"


@pytest.mark.parametrize("typed", ["", "999", "07700", "+0123456789", "07700 900123 ext 4", "+447700900123\n+447700900124", "12345678901234567"])
def test_what_is_no_number_is_not(typed: str) -> None:
    assert mobile(typed) is None


def test_times_as_people_write_them() -> None:
    assert [clock(t) for t in ("9", "9:30", "09.30", "23:59", "24:00", "9:60", "nine", "")] == ["09:00", "09:30", "09:30", "23:59", None, None, None, None]


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_notice_says_nothing_but_to_sign_in(language: str) -> None:
    said = words(language, "https://gateway.example/sign-in")
    assert said.text.endswith("https://gateway.example/sign-in\n") and said.subject
    assert not re.search(r"\d|\{|Consent|emergency|goal|GP", said.subject + said.text.replace("https://gateway.example/sign-in", ""))
    assert said == words(language, "https://gateway.example/sign-in"), "the same to everybody"


def test_the_languages_differ_and_an_unknown_one_is_english() -> None:
    assert len({words(language, "x").text for language in LANGUAGES}) == 3 == len(LANGUAGES)
    assert words("fr", "x") == words("en", "x")
