"""The one door: find, ask consent, do, write down.

Everything that reads or writes a person's record comes through here: FHIR routes, plans, pages, sync. Who asks is bound
once, in a `Context`. No audit row, no answer.
"""

from .claiming import claim, claimed_now, claims_about, disown, end_claim
from .context import Answer, Context, Entry, House, Page, Remote, Written, enter, house_context
from .disclosing import may_send
from .emergencies import break_glass, current, emergencies, end_emergency, review, stop_emergency
from .fetching import historyset, part_of, searchset, version_number
from .finding import Named, find
from .gathering import everything, plan_document
from .judging import judge
from .looking import asker, explain, keepers, may, organisation_called, who_looked, why
from .past import history
from .pushing import inbox, named, push, replay
from .reading import read, vread
from .recipients import choose, my_choice, my_notices
from .searching import compartment, search
from .transacting import transaction
from .writing import Once, accept, create, patch, patch_where, remove, remove_where, unanswered, update, update_where

__all__ = [
    "Answer", "Context", "Entry", "House", "Named", "Once", "Page", "Remote", "Written", "accept", "asker", "break_glass", "choose",
    "claim", "claimed_now", "claims_about", "compartment", "create", "current", "disown", "emergencies", "end_claim", "end_emergency",
    "enter", "everything", "explain", "find", "history", "historyset", "house_context", "inbox", "judge", "keepers", "may", "may_send",
    "my_choice", "my_notices", "named", "organisation_called", "part_of", "patch", "patch_where", "plan_document", "push", "read", "remove",
    "remove_where", "replay", "review", "search", "searchset", "stop_emergency", "transaction", "unanswered", "update", "update_where",
    "version_number", "vread", "who_looked", "why",
]  # fmt: skip
