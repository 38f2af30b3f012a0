"""The one door: find, ask consent, do, write down.

Everything that reads or writes a person's record comes through here: FHIR routes, plans, pages, sync. Who asks is bound
once, in a `Context`. No audit row, no answer.
"""

from .asked_here import asked_here
from .begun import Begun, begin, begun, begun_about, send_begun, throw_away, type_on
from .choosing import choose, confirm, confirming, my_choice
from .claiming import claim, claimed_now, claims_about, disown, end_claim
from .committing import unanswered
from .conditions import identified
from .consenting import nobody_yet
from .context import Answer, Context, Entry, House, Page, Remote, Written
from .copying import copyable, told_all_labels
from .disclosing import Grounds, grounds, kept_for, may_keep, may_send, owner_known, owner_of, shown_to
from .drafts_waiting import Waiting, answer_draft, drafts_for, drafts_seen
from .emergencies import break_glass, current, emergencies, end_emergency, review, stop_emergency
from .enrolling import Enrolled, enrolled
from .entering import enter, house_context
from .explaining import Explained, explain, may, why
from .fetching import historyset, part_of, searchset, version_number
from .finding import Named, find
from .foreign_consents import (
    end_foreign,
    its_no,
    keep_foreign,
    may_be_no,
    only_opens,
    over_foreign,
    stands_in,
    take_as_no,
    theirs,
    uncomputable,
)
from .gathering import everything, joined, plan_document
from .given import Given, given
from .headings import title
from .joining_plans import join_plans
from .judging import judge, with_lacks
from .labelling import labelled_by_these, meta_of, own_labels, put_on, relabel, take_off
from .launching import launched, not_launched
from .linking import link_to, linked
from .looking import keepers, last_looked, organisation_called, rows_told, who_looked
from .main_plan import main_plan_of
from .merged_plans import record_to_open
from .messaging import Heard, hear
from .naming import meant
from .past import history
from .permitting import changeable
from .previewing import Preview, Sight, counted, details, may_share, preview
from .printing import Printed, is_newest, printed, printed_plan_of, who_can_read
from .proving import signed_in_now
from .pushing import inbox, named, push, waiting
from .reading import vread
from .recipients import my_notices
from .recording import appoint, change_role, link, record, recorded_by, roles
from .refusing import turned_away
from .replaying import replay
from .sealing import Sealer, Verdict, all_segments, proof_of, rows_of, verify
from .searching import compartment, search
from .settling import Clash, clash, clashes, conflicts, settle, with_part
from .somebody import asker, askers, understood
from .subject_access import whole_record
from .subscribing import events, status
from .surveying import Counted, counted_over_all
from .tagging import tagged
from .trail import may_look, took_out, trail_between, trail_events, trail_page, whose_trail
from .transacting import transaction
from .unrecognised import Asked, answer_question, its_line, my_questions, not_recognised, unrecognised
from .writing import Once, accept, create, patch, patch_where, remove, remove_where, update, update_where
from .writings import Hand, last_written, read

__all__ = [
    "Answer", "Asked", "Begun", "Clash", "Context", "Counted", "Enrolled", "Entry", "Explained", "Given", "Grounds", "Hand", "Heard", "House",
    "Named", "Once", "Page", "Preview", "Printed", "Remote", "Sealer", "Sight", "Verdict", "Waiting", "Written", "accept", "all_segments",
    "answer_draft", "answer_question", "appoint", "asked_here", "asker", "askers", "begin", "begun", "begun_about", "break_glass", "change_role", "changeable",
    "choose", "claim", "claimed_now", "claims_about", "clash", "clashes", "compartment", "confirm", "confirming", "conflicts", "copyable", "counted",
    "counted_over_all", "create", "current", "details", "disown", "drafts_for", "drafts_seen", "emergencies", "end_claim", "end_emergency",
    "end_foreign", "enrolled", "enter", "events", "everything", "explain", "find", "given", "grounds", "hear", "history", "historyset",
    "house_context", "identified", "inbox", "is_newest", "its_line", "its_no", "join_plans", "joined", "judge", "keep_foreign", "keepers",
    "kept_for", "labelled_by_these", "last_looked", "last_written", "launched", "link", "link_to", "linked", "main_plan_of", "may", "may_be_no",
    "may_keep", "may_look", "may_send", "may_share", "meant", "meta_of", "my_choice", "my_notices", "my_questions", "named", "nobody_yet",
    "not_launched", "not_recognised", "only_opens", "organisation_called", "over_foreign", "own_labels", "owner_known", "owner_of", "part_of",
    "patch", "patch_where", "plan_document", "preview", "printed", "printed_plan_of", "proof_of", "push", "put_on", "read", "record",
    "record_to_open", "recorded_by", "relabel", "remove", "remove_where", "replay", "review", "roles", "rows_of", "rows_told", "search", "searchset", "send_begun",
    "settle", "shown_to", "signed_in_now", "stands_in", "status", "stop_emergency", "tagged", "take_as_no", "take_off", "theirs", "throw_away",
    "title", "told_all_labels", "took_out", "trail_between", "trail_events", "trail_page", "transaction", "turned_away", "type_on", "unanswered",
    "uncomputable", "understood", "unrecognised", "update", "update_where", "verify", "version_number", "vread", "waiting", "who_can_read",
    "who_looked", "whole_record", "whose_trail", "why", "with_lacks", "with_part",
]  # fmt: skip
