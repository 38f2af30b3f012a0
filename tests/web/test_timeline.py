"""When they looked: every time is in the picture and in the table behind it, and nothing stands outside."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from fhir_gateway.web.pages.timeline import LEFT, LETTERS, LINES, RIGHT, ROWS, TALL, Look, timeline

AT = datetime(2026, 11, 20, 9, 5, tzinfo=UTC)


def look(hours: float, who: str = "Rosa Lind", allowed: bool = True, emergency: bool = False) -> Look:
    return Look(AT + timedelta(hours=hours), who, allowed, emergency)


def test_each_who_looked_has_a_line_and_each_way_its_own_shape() -> None:
    t = timeline([look(0), look(48, "Dr Other", allowed=False), look(72, "Dr Patel", emergency=True), look(96)])
    assert t is not None and [line.name for line in t.lines] == ["Rosa Lind", "Dr Patel", "Dr Other"], "who looked last comes first"
    assert [[(m.shape, m.x) for m in line.marks] for line in t.lines] == [[("yes", LEFT), ("yes", RIGHT)], [("emergency", 239)], [("no", 166)]]
    assert (t.start, t.end) == ("20 November 2026", "24 November 2026")
    assert t.said == "Rosa Lind: allowed 2, told no 0. Dr Patel: allowed 1, told no 0. Dr Other: allowed 0, told no 1."
    assert [(r.on, r.who, r.allowed, r.refused, r.emergency) for r in t.rows] == [
        ("24 November 2026", "Rosa Lind", 1, 0, False), ("23 November 2026", "Dr Patel", 1, 0, True),
        ("22 November 2026", "Dr Other", 0, 1, False), ("20 November 2026", "Rosa Lind", 1, 0, False),
    ]  # fmt: skip


def test_one_day_is_told_by_its_hours_and_one_moment_has_no_picture() -> None:
    t = timeline([look(0), look(3), look(3)])
    assert t is not None and (t.start, t.end) == ("20 November 2026, 09:05", "12:05")
    assert [(m.times, m.size) for m in t.lines[0].marks] == [(1, 5), (2, 6)], "more times, a larger mark"
    assert timeline([]) is timeline([look(1)]) is timeline([look(1), look(1)]) is None


def test_those_who_looked_last_have_a_line_and_everybody_else_shares_one() -> None:
    t = timeline([look(n, f"Person {n} of a very long name that does not fit into the picture") for n in range(20)])
    assert t is not None and len(t.lines) == LINES + 1 and t.lines[-1].name == "Everybody else" and sum(m.times for m in t.lines[-1].marks) == 20 - LINES
    assert all(len(line.name) <= LETTERS for line in t.lines) and len({r.who for r in t.rows}) == 20, "the table names everybody, whole"
    many = timeline([look(24 * n) for n in range(ROWS + 5)])
    assert many is not None and len(many.rows) == ROWS and many.older == 5


@given(st.lists(st.tuples(st.floats(0, 10_000), st.sampled_from("abcdefghi"), st.booleans(), st.booleans()), min_size=2, max_size=50))
def test_every_time_is_in_the_picture_and_in_the_table(seen: list[tuple[Any, str, bool, bool]]) -> None:
    looks = [look(*one) for one in seen]
    t = timeline(looks)
    if t is None:
        assert len({one.at for one in looks}) == 1
        return
    marks = [m for line in t.lines for m in line.marks]
    assert sum(m.times for m in marks) == sum(r.allowed + r.refused for r in t.rows) == len(looks)
    assert sum(m.times for m in marks if m.shape == "no") == sum(r.refused for r in t.rows) == sum(not one.allowed for one in looks)
    for line in t.lines:
        assert TALL * t.lines.index(line) < line.y < t.foot
        for m in line.marks:
            assert m.x - m.size - 2 >= 0 and m.x + m.size + 2 <= 320 and line.y <= m.y and m.y + m.size <= t.foot
