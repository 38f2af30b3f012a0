"""Libraries below which a known hole is open: the gateway does not start with an older one, however it came to be installed.

pyproject asks for newer ones; this is for the machine where somebody pinned, mirrored or overwrote one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Final

FLOORS: Final[Mapping[str, tuple[str, str]]] = {
    "authlib": ("1.6.5", "CVE-2025-61920: a token of any size is decoded"),
    "babel": ("2.9.1", "CVE-2021-42771: a locale's name leads to another file"),
    "cryptography": ("44.0.1", "CVE-2024-12797, in the OpenSSL it brings"),
    "h11": ("0.16.0", "CVE-2025-43859: requests can be smuggled"),
    "jinja2": ("3.1.6", "CVE-2025-27516: a template leaves its sandbox"),
    "joserfc": ("1.3.5", "CVE-2025-65015: a token of any size goes into an error"),
    "pymongo": ("4.6.3", "CVE-2024-5629: reads beyond a buffer"),
    "pyyaml": ("5.4", "CVE-2020-14343: a file runs code"),
    "starlette": ("0.49.1", "CVE-2025-62727: a Range header takes all of a processor"),
}


def below(installed: Callable[[str], str] = version) -> str | None:
    """Which library must not be used, in one sentence that says what to do; None when all are new enough."""
    for name, (floor, why) in FLOORS.items():
        try:
            have = installed(name)
        except PackageNotFoundError:  # not imported by us, then: h11 comes with uvicorn
            continue
        if numbers(have) < numbers(floor):
            return f"{name} {have} has a known hole ({why}): install {floor} or newer, as in `make install`."
    return None


def numbers(version: str) -> tuple[int, ...]:
    """`1.10.0rc1` -> (1, 10, 0): enough to compare with a floor, which is never a pre-release."""
    found = re.match(r"\d+(\.\d+)*", version)
    return tuple(int(n) for n in found.group().split(".")) if found else ()
