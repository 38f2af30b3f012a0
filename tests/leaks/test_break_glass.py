"""Emergency access (L49): asking for it badly tells nothing of whoever is meant; what it opens is in tests/test_emergencies.py."""

from __future__ import annotations

import pytest

from .conftest import Place, some


@pytest.mark.parametrize("who", some("gp", "stranger", "link-worker"))
def test_L49_no_glass_is_broken_by_asking(place: Place, who: str) -> None:
    """A purpose in a header is no session; the address for one answers the same whoever is asked about."""
    for purpose in ("BTG", "ETREAT", "ERTREAT"):
        for type in ("Goal", "Condition", "CarePlan"):
            place.alike(who, "GET", f"{type}/{{}}", place.hidden(who)[type].split("/")[1], status=(403, 404), X_Purpose_of_Use=purpose)
        found = [place.get(who, "Goal?_security=V&_count=200", **asked).json().get("entry", []) for asked in ({}, {"X_Purpose_of_Use": purpose})]
        assert all(e in found[0] for e in found[1]), "not more than without"
    person = place.others["Patient"].split("/")[1]
    for path in ("/patients/{}/break-glass", "/patients/{}/claims"):
        place.alike(who, "GET", path, person)
        place.alike(who, "POST", path, person, body={"reason": "", "ground": "none"})


@pytest.mark.parametrize("who", some("gp", "stranger", "link-worker"))
def test_L49_half_an_emergency_tells_nothing_of_whoever_is_meant(place: Place, who: str) -> None:
    """Wrong words, a wrong ground and an end of what never began answer alike for somebody hidden and for nobody."""
    person = place.others["Patient"].split("/")[1]
    bodies = ({"reason": "x", "ground": "none"}, {"reason": " ", "ground": "public-interest"}, {"ground": "public-interest"}, {"reason": "x", "who": "{}"})
    for body in bodies:
        place.alike(who, "POST", "/patients/{}/break-glass", person, body=body, status=(403, 422))
    place.alike(who, "POST", "/patients/{}/claims", person, body={"reason": " "}, status=(403, 422))
    for path in ("/patients/{}/break-glass", "/patients/{}/claims"):
        place.alike(who, "DELETE", path, person, status=(404,))
