"""What a link between a resource here and one there is read from: replies, their ids and ETags."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

from ..domain import copies, strict
from ..domain.types import Linked, Ref
from ..remote.client import Refusal, Reply
from ..remote.replies import bare, etag_of, same

RANDOM: Final = 20  # an id so long was drawn by lot, and is not given twice


def began_there(link: Linked | None) -> bool:
    """Is this a record of theirs. Links of before that was kept: what was agreed on bore no tag of ours, by our id, which is nobody else's."""
    if link is None or link.began_there is not None or link.base_sent is None:
        return link is not None and bool(link.began_there)
    return not any(names_by_id(code, link.ref) for code in copies.codes(strict.decode(link.base_sent)))


def names_by_id(code: str, ref: Ref) -> bool:
    """Does this tag's code name a record by this id, at whichever gateway."""
    return code == ref.id or code.endswith(f".{ref.id}")


def given_twice(link: Linked) -> bool:
    """May this id be given again, once they were put back from a backup: that server counts."""
    return len(link.remote_id.partition("/")[2]) < RANDOM


def changed(link: Linked, **more: Any) -> Linked:
    """This link with other fields, to be written only where it is still as it was read (Moved). Who made the record there stays as it is."""
    asked: dict[str, Any] = {} if link.if_absent or link.if_was is not None else {"if_was": link}
    return replace(link, **more, **asked, began_there=began_there(link))


def over(was: Linked | None, link: Linked) -> Linked:
    """A link that was made anew, to be written only in the place of the one that was read, or of none (Moved)."""
    return replace(link, if_was=was, if_absent=was is None)


def agreed_by(link: Linked) -> str:
    """What tells the state on which both sides agreed last from any later one."""
    return f"{link.etag} {link.remote_updated}"


def kept(link: Linked) -> Linked:
    """The link as it is once it is written."""
    return replace(link, if_was=None, if_absent=False)


def id_of(reply: Reply, live: Linked | None) -> str:
    if live is not None:
        return live.remote_id.split("/")[1]
    parts = reply.location.split("/_history")[0].rstrip("/").split("/")
    if len(parts) < 2 or not parts[-1]:
        raise Refusal(reply.status, "it created something without saying under which id")
    return parts[-1]


__all__ = ["agreed_by", "bare", "began_there", "changed", "etag_of", "given_twice", "id_of", "kept", "names_by_id", "over", "same"]
