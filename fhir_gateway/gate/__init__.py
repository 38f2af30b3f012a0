"""The one door: find, ask consent, do, write down.

Everything that reads or writes a person's record comes through here: FHIR routes, plans, pages, sync. Who asks is bound
once, in a `Context`. No audit row, no answer.
"""

from .context import Answer, Context, Entry, House, Page, Remote, Written, enter, house_context
from .looking import may, who_looked
from .pushing import inbox, named, push, replay
from .reading import history, read, vread
from .searching import everything, search
from .transacting import transaction
from .writing import accept, create, patch, remove, update

__all__ = [
    "Answer", "Context", "Entry", "House", "Page", "Remote", "Written",
    "accept", "create", "enter", "everything", "history", "house_context", "inbox", "may", "named", "patch", "push", "read",
    "remove", "replay", "search", "transaction", "update", "vread", "who_looked",
]  # fmt: skip
