"""Who is paced: an address, and of IPv6 the network that one customer has, however it is written and however many others come."""

from __future__ import annotations

import pytest

from fhir_gateway.domain.problem import Problem
from fhir_gateway.web.admission import MOST_KNOWN, Admission, Limits, Pace, neighbourhood


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("2001:db8:1:2::1", "2001:db8:1:2:ffff:ffff:ffff:ffff", True),
        ("2001:db8:1:2::1", "2001:0DB8:1:2::9", True),
        ("2001:db8:1:2::1", "2001:db8:1:3::1", False),
        ("::ffff:192.0.2.7", "192.0.2.7", True),
        ("::ffff:192.0.2.7", "::ffff:192.0.2.8", False),
        ("fe80::1%eth0", "fe80::2%eth0", True),
        ("192.0.2.7", "192.0.2.8", False),
        ("not an address", "not an address", True),
    ],
)
def test_addresses_that_one_customer_has_are_one(one: str, other: str, same: bool) -> None:
    assert (neighbourhood(one) == neighbourhood(other)) is same


def test_another_address_of_the_same_network_has_no_pace_of_its_own() -> None:
    admission = Admission(Limits(strangers=1, strangers_at_once=5), clock=lambda: 0.0)
    for i in range(5):
        admission.stranger(f"2001:db8:1:2::{i}")
    with pytest.raises(Problem) as caught:
        admission.stranger("2001:db8:1:2:aaaa::1")
    assert caught.value.kind == "throttled"
    admission.stranger("2001:db8:1:3::1")


def test_who_asked_too_often_is_remembered_however_many_others_come() -> None:
    pace = Pace(rate=0.001, burst=5)
    while pace.take("often", 0.0) is None:
        pass
    for i in range(3 * MOST_KNOWN):
        pace.take(f"other {i}", 0.0)
    assert pace.take("often", 1.0) is not None
    assert len(pace._left) <= MOST_KNOWN
