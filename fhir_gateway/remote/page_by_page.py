"""Going through a list at another server, page by page: it ends, whatever that server sends."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from datetime import datetime
from urllib.parse import urlencode

from .failures import Down, Refusal
from .pages import Page, begun

MANY, EMPTY = 100, 100  # entries of a page that we ask for; pages in a row with a next one and nothing new on them
MOST_PAGES = 100_000  # of one reading: a list that is longer has no end


class Large(Exception):
    """An answer over the limit, and how it began."""

    def __init__(self, raw: bytes, date: datetime | None) -> None:
        super().__init__()
        self.raw, self.date = raw, date


async def page_by_page(read: Callable[[str], Awaitable[Page]], path: str, params: Mapping[str, str], most: str) -> AsyncIterator[Page]:
    """Refusal 410 where a next page is one that was given before, or page upon page has nothing that was not met: the window is not at
    its end. Down where there are more than MOST_PAGES. `read`: one page, Large where it is larger than `most` says.

    A page that is too large is asked for again, from the first, with fewer entries; a single entry that is, is a broken one.
    """
    count, empty, seen, met = int(params.get("_count", MANY)), 0, set[str](), set[str]()
    url: str | None = f"{path}?{urlencode(params)}"
    while url:
        if url in seen or empty >= EMPTY:
            raise Refusal(410, "its next page is one that it gave before, or there is nothing new on them")
        if len(seen) >= MOST_PAGES:
            raise Down(f"its pages have no end: more than {MOST_PAGES}")
        seen.add(url)
        try:
            page = await read(url)
        except Large as e:
            cut, whole = begun(e.raw, e.date, f"An entry of more than {most}.")
            if count > 1:
                count, empty, seen, met = max(min(whole, count // 2), 1), 0, set(), set()
                url = f"{path}?{urlencode({**params, '_count': str(count)})}"
                continue
            if cut is None or whole:
                raise Down(f"however few entries we ask for, its page is larger than {most}") from None
            page = cut
        new = {e.state for e in page.entries} - met
        empty = 0 if new else empty + 1
        met |= new
        yield page
        url = page.next
