"""The one door: find, ask consent, do, write down.

Everything that reads or writes a person's record comes through here: FHIR routes, plans, pages, sync. Who asks is bound
once, in a `Context`. No audit row, no answer.
"""

from .context import Answer, Context, Entry, House, Page, Remote, Written, enter, house_context
from .disclosing import may_send
from .fetching import historyset, part_of, searchset, version_number
from .gathering import everything, plan_document
from .judging import judge
from .looking import asker, explain, keepers, may, organisation_called, who_looked, why
from .past import history
from .pushing import inbox, named, push, replay
from .reading import read, vread
from .recipients import choose, my_choice, my_notices
from .recording import appoint, change_role, end_foreign, keep_foreign, link, record, roles, uncomputable
from .searching import compartment, search
from .transacting import transaction
from .writing import Once, accept, create, patch, patch_where, remove, remove_where, unanswered, update, update_where

__all__ = [
    "Answer", "Context", "Entry", "House", "Once", "Page", "Remote", "Written",
    "accept", "appoint", "asker", "change_role", "choose", "compartment", "create", "end_foreign", "enter", "everything",
    "explain", "history", "historyset", "house_context", "inbox", "judge", "keep_foreign", "keepers", "link", "may", "may_send",
    "my_choice", "my_notices", "named", "organisation_called", "part_of", "patch", "patch_where", "plan_document", "push", "read",
    "record", "remove", "remove_where", "replay", "roles", "search", "searchset", "transaction", "unanswered", "uncomputable",
    "update", "update_where",
    "version_number", "vread", "who_looked", "why",
]  # fmt: skip
