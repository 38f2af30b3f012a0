"""What was sent as a patch, read: a function from the resource as it was seen to the resource as it is wanted.

https://hl7.org/fhir/R4/http.html#patch
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping
from typing import Any, Final

from . import patch, pathpatch, strict
from .problem import Problem
from .r4 import R4

JSON_PATCH: Final = "application/json-patch+json"

Edit = Callable[[dict[str, Any]], dict[str, Any]]


def sent(media: str, raw: bytes, r4: R4) -> Edit:
    """From the body of a PATCH: a JSON Patch by its media type, else the Parameters of a FHIRPath Patch. Problem malformed."""
    return by_json(strict.read_list(raw)) if media == JSON_PATCH else by_path(strict.read(raw), r4)


def by_json(operations: Any) -> Edit:
    return lambda seen: patch.patched(seen, operations)


def by_path(parameters: Mapping[str, Any], r4: R4) -> Edit:
    pathpatch.read(parameters)  # what is no patch is refused before anything is looked up
    return lambda seen: pathpatch.patched(seen, parameters, r4)


def in_binary(binary: Mapping[str, Any], where: str) -> list[Any]:
    """The JSON Patch in a Binary, as an entry of a Bundle carries it. Problem unsupported-media, malformed."""
    kind = str(binary.get("contentType", "")).partition(";")[0].strip().lower()
    if kind != JSON_PATCH:
        raise Problem("unsupported-media", f"A Binary that patches holds {JSON_PATCH}, not `{kind[:60]}`.", f"{where}.contentType")
    try:
        raw = base64.b64decode(str(binary.get("data", "")), validate=True)
    except (binascii.Error, ValueError):
        raise Problem("malformed", "The data of this Binary is not base64.", f"{where}.data") from None
    return strict.read_list(raw)
