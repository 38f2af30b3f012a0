"""Long and odd bodies and headers, made from a few words: `{"$gen": kind, ...}`.

`repeat(prefix, unit, n, suffix)`, `nest(prefix, open, inner, close, n, suffix)`, `seq(prefix, fmt, n, suffix)`, `gzip(of)`, `b64(b64)`,
`b64enc(text, encoding)`. As a whole body `b64enc` is the text in that encoding; in a header or inside JSON, where there is no room for
bytes, it is base64.
"""

from __future__ import annotations

import json
import zlib
from base64 import b64decode, b64encode
from collections.abc import Iterator
from typing import Any

PIECE = 1 << 20


class Unknown(ValueError):
    """A generator that is not known, or lacks what it needs."""


def is_generator(value: Any) -> bool:
    return isinstance(value, dict) and "$gen" in value


def body(value: Any) -> bytes | None:
    """The bytes of a case's `body`: None, a string as it is, a generator, or any other JSON value (with generators in it) as JSON."""
    if value is None:
        return None
    if isinstance(value, str):
        return value.encode("utf-8", "surrogatepass")
    if is_generator(value):
        return b"".join(pieces(value))
    return json.dumps(plain(value), ensure_ascii=False).encode("utf-8", "surrogatepass")


def plain(value: Any) -> Any:
    """The value with every generator in it replaced by its text."""
    if is_generator(value):
        return text(value)
    if isinstance(value, dict):
        return {k: plain(v) for k, v in value.items()}
    return [plain(v) for v in value] if isinstance(value, list) else value


def text(value: Any) -> str:
    """A header's value: a string, a number, or what a generator makes (base64 where that is no text)."""
    if not is_generator(value):
        return str(value)
    if value["$gen"] == "b64enc":
        return b64encode(_encoded(value)).decode()
    raw = b"".join(pieces(value))
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return b64encode(raw).decode()


def pieces(value: Any) -> Iterator[bytes]:
    """What a generator makes, piece by piece: half a gigabyte is never held at once."""
    if not is_generator(value):
        yield body(value) or b""
        return
    kind = value["$gen"]
    made = _KINDS.get(kind)
    if made is None:
        raise Unknown(f"there is no generator `{kind}`")
    try:
        yield from made(value)
    except KeyError as missing:
        raise Unknown(f"generator `{kind}` needs {missing}") from None


def _of(value: dict[str, Any], name: str) -> bytes:
    return str(value.get(name, "")).encode("utf-8", "surrogatepass")


def _times(unit: bytes, n: int) -> Iterator[bytes]:
    if not unit or n <= 0:
        return
    many = max(1, min(n, PIECE // len(unit)))
    block = unit * many
    for _ in range(n // many):
        yield block
    yield unit * (n % many)


def _repeat(value: dict[str, Any]) -> Iterator[bytes]:
    yield _of(value, "prefix")
    yield from _times(str(value["unit"]).encode("utf-8", "surrogatepass"), int(value["n"]))
    yield _of(value, "suffix")


def _nest(value: dict[str, Any]) -> Iterator[bytes]:
    n = int(value["n"])
    yield _of(value, "prefix")
    yield from _times(str(value["open"]).encode(), n)
    yield _of(value, "inner")
    yield from _times(str(value["close"]).encode(), n)
    yield _of(value, "suffix")


def _seq(value: dict[str, Any]) -> Iterator[bytes]:
    form = str(value["fmt"])
    yield _of(value, "prefix")
    for start in range(0, int(value["n"]), 10_000):
        # a form without a number in it is repeated as it is
        yield "".join(form.replace("%d", str(i)) for i in range(start, min(start + 10_000, int(value["n"])))).encode()
    yield _of(value, "suffix")


def _gzip(value: dict[str, Any]) -> Iterator[bytes]:
    stream = zlib.compressobj(6, zlib.DEFLATED, 31)
    for piece in pieces(value["of"]):
        yield stream.compress(piece)
    yield stream.flush()


def _b64(value: dict[str, Any]) -> Iterator[bytes]:
    yield b64decode(value["b64"])


def _b64enc(value: dict[str, Any]) -> Iterator[bytes]:
    yield _encoded(value) if value.get("encoding") else b64encode(_encoded(value))


def _encoded(value: dict[str, Any]) -> bytes:
    inner = value["text"]
    said = b"".join(pieces(inner)).decode() if is_generator(inner) else str(inner)
    return said.encode(value.get("encoding") or "utf-8", "surrogatepass")


_KINDS = {"repeat": _repeat, "nest": _nest, "seq": _seq, "gzip": _gzip, "b64": _b64, "b64enc": _b64enc}
