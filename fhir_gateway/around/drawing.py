"""A page becomes a PDF, in a process of its own that ends by itself: `python -m fhir_gateway.around.drawing`, the page in, the file out.

Whatever a plan's text makes of a layout, it takes so much of a processor and of memory and no more, and nobody else waits for it. The
process is told nothing but the page: no setting, no store, no network.
"""

from __future__ import annotations

import asyncio
import logging
import os
import resource
import signal
import sys
import unicodedata
from typing import Any, Final

from ..domain.problem import Problem

MISSING: Final = "To make a PDF, install Pango (on Debian: apt-get install libpango-1.0-0 libpangoft2-1.0-0 libharfbuzz-subset0 fonts-noto-core) and fhir-gateway with its extra [pdf]"
SECONDS: Final = 60.0  # of a processor; a booklet of 21 pages takes two
WAIT: Final = 4  # times as long by the clock, on a busy machine
MEMORY: Final = 2 << 30  # bytes
NOT_HERE: Final = 3  # exit code: the package, or Pango
TOO_LONG: Final = "This booklet takes too long to be made here. Show it as a page to print instead."
LETTERS: Final = "The fonts of this machine have not every letter of this booklet: install more (on Debian: apt-get install fonts-noto-core)"
NO_LETTER: Final = 4  # exit code: a letter was drawn as an empty box
NOT_MADE: Final = "This booklet cannot be made as a PDF here. Show it as a page to print instead."


async def drawn(page: str, seconds: float = SECONDS) -> bytes:
    """The PDF of this page. Problem unavailable: what is needed is not here, a font with each of its letters neither, or it takes longer than `seconds`."""
    env = {k: v for k, v in os.environ.items() if not k.startswith("GATEWAY_")}
    pipe = asyncio.subprocess.PIPE
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "fhir_gateway.around.drawing", str(seconds), stdin=pipe, stdout=pipe, stderr=asyncio.subprocess.DEVNULL, env=env
    )
    try:
        raw, _ = await asyncio.wait_for(child.communicate(page.encode()), seconds * WAIT)
    except TimeoutError:
        raise Problem("unavailable", TOO_LONG) from None
    finally:
        if child.returncode is None:
            child.kill()
            await child.wait()
    if child.returncode == NOT_HERE:
        raise Problem("unavailable", f"{MISSING}. Or print the page instead.")
    if child.returncode == NO_LETTER:
        raise Problem("unavailable", f"{LETTERS}. Or print the page instead.")
    if child.returncode in (-signal.SIGXCPU, -signal.SIGKILL):
        raise Problem("unavailable", TOO_LONG)
    if child.returncode or not raw:  # more memory than it may have, or a fault of the library
        raise Problem("unavailable", NOT_MADE)
    return raw


def made(page: str) -> bytes:
    """The PDF, A5, tagged, with bookmarks. ImportError or OSError where it cannot be made here."""
    from weasyprint import HTML

    out = HTML(string=page, url_fetcher=nothing).write_pdf(pdf_variant="pdf/ua-1")
    assert out is not None
    return bytes(out)


class Boxes(logging.Handler):
    """Hears which letters no font here has. Signs that are no letter, mark or figure may stay boxes: who reads one loses no word."""

    def __init__(self) -> None:
        super().__init__()
        self.letters: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        args = record.args
        if str(record.msg).startswith(".notdef glyph") and isinstance(args, tuple) and args and unicodedata.category(str(args[0])[:1] or " ")[0] in "LMN":
            self.letters.add(str(args[0]))


def nothing(url: str, *_: Any, **__: Any) -> Any:
    """A booklet has everything in it: whatever a plan's text says, no file is opened and nobody is called."""
    raise ValueError(f"a booklet fetches nothing: {url[:40]}")


def main(seconds: float) -> int:
    """What the process does: within its limits, and with nobody to write to but who started it."""
    resource.setrlimit(resource.RLIMIT_CPU, (int(seconds) + 1, int(seconds) + 2))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    try:
        import weasyprint  # noqa: F401
    except (ImportError, OSError):
        return NOT_HERE
    heard = Boxes()
    logging.getLogger("weasyprint").addHandler(heard)
    raw = made(sys.stdin.buffer.read().decode())
    if heard.letters:
        return NO_LETTER
    sys.stdout.buffer.write(raw)
    return 0


if __name__ == "__main__":
    sys.exit(main(float(sys.argv[1])))


__all__ = ["LETTERS", "MISSING", "drawn", "nothing"]
