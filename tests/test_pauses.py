"""Who was wrong too often waits, longer each time. `domain/pauses.py`"""

from datetime import timedelta

from fhir_gateway.domain.pauses import pause


def test_a_pause_begins_after_the_free_tries_doubles_and_has_an_end() -> None:
    def after(tries: int) -> float:
        return pause(tries, 5, timedelta(seconds=2), timedelta(minutes=15))

    assert [after(n) for n in range(9)] == [0, 0, 0, 0, 0, 2, 4, 8, 16]
    assert after(14) == after(10_000) == 900
