"""Which test shows which row of design's table of faults, and the table of docs/sync.md made from it: `python -m tests.faults.matrix` writes it there."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

TESTS = Path(__file__).resolve().parent.parent
PAGE = TESTS.parent / "docs" / "sync.md"
HEAD = "## Faults it was tried with\n"
TABLE = "| | fault | what happens | tests |\n|---|---|---|---|\n"

HERE, SENT_US, TURNS = "faults/test_matrix.py", "faults/test_matrix_sent.py", "faults/test_matrix_turns.py"
KILLS, PULLED, STEPS = "faults/test_push_kills.py", "faults/test_pull_kills.py", "faults/test_step_kills.py"
BELIEVING, LEAVING, PULLING, WORKER, SENT = "test_believing.py", "test_leaving.py", "test_pulling.py", "test_worker.py", "stores/test_attempts.py"
GONE, MISSING, DATES, ODD = "faults/test_said_gone.py", "faults/test_missing.py", "test_odd_dates.py", "test_odd_resources.py"
ALL = f"{BELIEVING}::test_whatever_it_is_like_both_sides_are_the_same_in_the_end"
LINE = f"{BELIEVING}::test_whatever_the_line_is_like_what_was_sent_is_there_once_when_it_is_good_again"


@dataclass(frozen=True)
class Row:
    fault: str
    outcome: str
    tests: tuple[str, ...]  # `file::test`, the file from tests/


ROWS: dict[str, Row] = {
    "E1": Row("nobody answers, no such name, an ended certificate; an hour of it", "everybody's order is kept, few requests, and then all goes", (
        f"{HERE}::test_E01_an_hour_without_a_line_keeps_everybodys_order_and_then_all_is_there", LINE,
        f"{WORKER}::test_an_hour_away_costs_few_requests_and_then_everything_goes_in_order", f"{WORKER}::test_an_ended_certificate_pauses_and_nothing_goes",
        "test_outbound.py::test_a_name_that_is_not_known_is_a_partner_that_cannot_be_reached")),
    "E2": Row("silence, an end in the middle, an answer that drips", "given up; it may have been done, so the next try is conditional", (
        f"{HERE}::test_E02_what_hangs_or_ends_on_the_way_is_not_known_and_is_there_once_in_the_end", LINE, f"{BELIEVING}::test_an_answer_that_drips_is_given_up",
        "test_smart_outward.py::test_where_we_sign_in_an_answer_that_drips_is_given_up")),
    "E3": Row("done there, and the answer is lost", "one copy there; in the ledger; taken back like any other; what names it there names ours here", (
        "faults/test_invariants.py::test_what_names_a_copy_of_ours_before_its_answer_is_here_names_ours",
        f"{HERE}::test_E03_what_was_applied_and_whose_answer_was_lost_is_there_once", f"{SENT}::test_what_was_sent_without_an_answer_is_taken_back_and_in_the_ledger", ALL)),
    "E4": Row("408, 500, 502, 503, 504, done there or not", "tried again; after five the way is closed, and opened by one look", (
        ALL, f"{WORKER}::test_five_failures_open_it_and_one_look_comes_before_the_next_entry")),
    "E5": Row("429 with every kind of `Retry-After`", "nothing is asked until then, 1 second to 15 minutes", (
        ALL, f"{BELIEVING}::test_while_it_asks_to_wait_nobody_of_us_asks_it_anything", f"{WORKER}::test_a_server_that_asks_us_to_wait_is_asked_nothing_until_then",
        "test_remote.py::test_whatever_it_says_the_wait_is_none_or_bounded")),
    "E6": Row("400 or 422 for one record", "that one is parked with their words; others, other people and later versions go", (
        f"{HERE}::test_E06_one_that_is_refused_is_parked_with_its_reason_and_everything_else_goes",
        "test_waiting_room.py::test_what_a_partner_refuses_is_tried_again_or_left_out_by_an_operator_with_a_reason")),
    "E7": Row("401, 403 for all, 403 for one", "a new token once, then a pause and one alarm; of one record, it is parked", (
        ALL, f"{BELIEVING}::test_a_key_that_has_ended_there_pauses_everything_and_loses_nothing", f"{BELIEVING}::test_one_resource_that_is_not_ours_to_touch_is_parked_and_the_others_go",
        f"{WORKER}::test_who_does_not_know_us_is_not_hammered_and_an_alarm_is_raised_once", "test_smart_outward.py::test_who_is_refused_with_a_new_token_too_asks_no_more",
        "test_remote.py::test_what_is_not_ours_to_read_is_that_resource_however_many_there_are_of_it",
        f"{GONE}::test_what_is_forbidden_of_one_person_holds_back_no_recall_of_another",
        f"{GONE}::test_what_is_forbidden_of_three_people_is_parked_and_holds_back_nobody_else")),
    "E8": Row("409 or 412, once or without end", "merged element by element, or both kept for a person; never written over", (
        f"{HERE}::test_E08_a_version_conflict_is_merged_or_both_are_kept_and_nothing_is_overwritten", f"{HERE}::test_E08_a_conflict_without_end_parks_one_and_stops_nothing")),
    "E9": Row("404 or 410 on an update: deleted there", "deleted here where nobody changed it, else a person decides; never made anew; a no looks whether it is gone", (
        f"{GONE}::test_what_was_said_to_be_gone_and_is_there_is_taken_back", f"{GONE}::test_what_a_proxy_says_is_not_there_is_neither_taken_back_nor_deleted_here",
        f"{MISSING}::test_her_no_while_a_404_of_a_moment_is_answered_is_carried_out", f"{MISSING}::test_her_no_while_they_hide_it_from_us_stays_open_until_it_is_taken_back",
        f"{MISSING}::test_what_a_sweep_misses_once_stays_and_what_is_missed_again_goes",
        f"{MISSING}::test_a_server_that_lost_most_of_it_for_longer_deletes_nothing_here",
        f"{HERE}::test_E09_what_they_deleted_is_not_made_anew", f"{SENT}::test_what_they_deleted_and_we_changed_is_not_made_anew_there_before_a_person_says_so")),
    "E10": Row("200 with HTML, half a body, another id or type, nothing, a bomb, too deep, another content type", "not taken as done; one bad entry of a page waits alone", (
        ALL, f"{BELIEVING}::test_a_link_is_not_moved_by_an_answer_about_something_else", f"{BELIEVING}::test_what_was_created_and_answered_with_something_else_is_there_once",
        f"{BELIEVING}::test_one_bad_entry_waits_and_what_stands_beside_and_after_it_is_taken_and_sent", "test_remote.py::test_a_bomb_is_no_more_than_its_first_bytes")),
    "E11": Row("scripts, somebody else's subject, labels of theirs, tags of ours, any shape", "held to the rules for any client; nothing gets into another record", (
        f"{SENT_US}::test_E11_hostile_resources_are_held_to_what_any_client_is", f"{BELIEVING}::test_a_resource_of_any_shape_is_taken_or_waits_and_stops_nothing",
        f"{BELIEVING}::test_a_person_of_any_shape_waits_and_stops_nothing",
        f"{ODD}::test_what_refers_to_something_that_cannot_be_read_comes_and_so_does_what_stands_behind_it",
        f"{ODD}::test_what_speaks_of_somebody_whom_we_may_not_look_at_waits_and_nothing_behind_it")),
    "E12": Row("pages twice, in a circle, gone, elsewhere, or no further; entries twice", "read anew, each taken once; another origin is never asked; what cannot be reached is said", (
        "faults/test_capped.py::test_more_than_can_be_gone_through_in_one_search_comes_whole", "faults/test_capped.py::test_what_no_search_can_reach_is_said_and_keeps_nothing_else_back",
        f"{SENT_US}::test_E12_pages_in_a_circle_twice_gone_or_elsewhere_hide_nothing_and_lead_nowhere", "test_remotes.py::test_a_next_page_of_another_server_is_not_asked_for",
        "test_remote.py::test_pages_without_end_and_without_entries_are_given_up",
        "test_remote.py::test_pages_without_end_that_say_the_same_again_are_given_up")),
    "E13": Row("a clock ten minutes off or put back, stamps equal, cut, earlier or going back", "nothing is missed: the same set on both sides", (
        f"{SENT_US}::test_E13_whatever_the_clock_and_the_stamps_are_like_nothing_is_missed", f"{SENT_US}::test_E13_a_clock_that_is_put_back_hides_nothing",
        f"{PULLING}::test_a_clock_that_is_put_back_by_more_than_the_overlap_hides_nothing",
        f"{PULLING}::test_a_change_that_is_stamped_before_what_it_changes_is_the_one_that_counts", f"{PULLING}::test_a_stamp_of_the_future_closes_nothing",
        f"{PULLING}::test_what_is_hidden_where_both_clocks_are_put_back_at_once_is_found_by_the_next_sweep",
        f"{DATES}::test_no_date_of_theirs_stops_or_hides_anything")),
    "E14": Row("ETags weak, strong, odd or none; versions that count, jump, are words or not said", "compared, never ordered", (
        ALL, "test_remote.py::test_every_kind_of_etag_lets_through_what_is_known_and_nothing_over_what_is_not",
        f"{GONE}::test_a_version_that_no_header_can_carry_holds_back_no_recall")),
    "E15": Row("redirects, here and elsewhere", "never followed; the key goes nowhere", (ALL, "test_remotes.py::test_a_redirect_is_not_followed_and_nothing_goes_there", "test_remotes.py::test_a_redirect_within_the_same_server_is_not_followed_either")),
    "E16": Row("two workers, or two lanes of one, at once", "one effect", (
        f"{TURNS}::test_E16_two_workers_at_once_have_one_effect", f"{TURNS}::test_E16_what_many_refer_to_is_made_there_once_by_two_workers",
        f"{TURNS}::test_E16_nothing_is_left_open_of_a_directory_entry_that_nobody_sends_any_more", f"{TURNS}::test_E16_two_worker_processes_at_once_have_one_effect",
        "stores/test_mongo_processes.py::test_two_workers_send_each_version_once", "test_several.py::test_what_both_of_two_people_wait_for_is_made_there_once")),
    "E17": Row("`kill -9` of a worker with its lease just taken, with a request under way, or at any commit of a review or a resend; a request that arrives after its lease", "the next goes on; the late one changes nothing", (
        f"{TURNS}::test_E17_a_request_that_arrives_after_its_lease_ended_changes_nothing_that_another_worker_did",
        f"{KILLS}::test_forty_kills_leave_nothing_that_nobody_knows_of", f"{SENT}::test_who_lost_the_lease_after_sending_has_it_looked_at",
        f"{LEAVING}::test_an_entry_is_held_a_minute_from_the_request_that_carries_it_not_from_the_look_before",
        f"{STEPS}::test_who_is_killed_with_the_lease_just_taken_keeps_nothing_from_anybody", f"{STEPS}::test_who_is_killed_in_a_review_leaves_nothing_there_and_keeps_nothing_back",
        f"{STEPS}::test_who_is_killed_while_they_resend_goes_on_where_they_were")),
    "E18": Row("what we sent comes back", "no change, and no version more", (
        f"{TURNS}::test_E18_what_comes_back_is_no_change", "test_side_by_side.py::test_a_recall_while_a_pull_waits_is_never_taken_for_their_deletion",
        "interop/test_scenario_gateways.py::test_two_gateways_converge")),
    "E19": Row("her no after the entry was taken, just before the request, when it arrived, when it was done, before a page is applied", "nothing begins after it; what was done is taken back", (
        f"{TURNS}::test_E19_a_no_between_two_steps_of_sending_holds", "faults/test_invariants.py::test_a_no_while_we_look_what_is_there_holds",
        f"{LEAVING}::test_a_place_that_is_protected_while_what_it_names_is_sent_ahead_stays_here",
        f"{TURNS}::test_E19_a_no_while_it_is_looked_at_what_is_there_holds", f"{TURNS}::test_E19_a_no_while_we_connect_holds",
        f"{TURNS}::test_E19_a_no_before_a_page_is_applied_holds", f"{TURNS}::test_E19_a_no_while_they_are_asked_who_has_a_number_holds")),
    "E20": Row("a person merged, corrected, or somebody else there", "nothing is written across; it waits for a person", (
        "test_identity_there.py::test_who_becomes_somebody_else_there_waits_and_nothing_is_written_across",
        "test_identity_there.py::test_a_number_that_is_corrected_here_never_makes_her_somebody_else_there", "test_identity_there.py::test_a_wrong_merge_sends_and_its_undoing_takes_back",
        "interop/test_wrong_patient.py::test_what_went_to_the_wrong_patient_is_taken_back_where_it_went")),
    "E21": Row("versions out of their order", "older never goes over newer", (
        f"{TURNS}::test_E21_older_versions_never_go_over_newer_ones", f"{PULLING}::test_an_older_state_that_comes_late_changes_nothing")),
    "E22": Row("a backlog of 10,000", "it drains, at least 20 a second by the processor's clock; a reader comes between any two batches of 32 entries, none of which costs more because others wait; a no of somebody of whom something is there goes before all of it; of readers meanwhile 99 of 100 wait at most four times as long as without it, and 150 ms. What design asks over HTTP (20 a second, p99 below 300 ms) is measured and not tested: a clock says as much of what else a machine does. `python -m benchmarks.sync` makes the figures, and the page of them, `benchmarks/sync.md`, is held to it", (
        f"{TURNS}::test_E22_a_backlog_drains_at_a_good_pace", f"{TURNS}::test_E22_a_reader_comes_between_any_two_batches_and_no_entry_costs_more_because_others_wait",
        f"{TURNS}::test_E22_a_no_amid_a_backlog_goes_before_it", f"{TURNS}::test_E22_the_figures_on_the_page_are_within_the_row")),
    "E23": Row("200, and an element is not kept, whatever the answer says", "said once; not taken for a deletion of theirs", (
        f"{TURNS}::test_E23_what_their_server_drops_is_said_and_is_no_deletion_of_theirs", f"{SENT}::test_what_their_server_drops_is_flagged_once_and_not_taken_for_their_deletion",
        "faults/test_reading_back.py::test_what_is_not_kept_there_is_said_and_no_deletion_whatever_is_answered", "faults/test_reading_back.py::test_what_was_edited_there_before_we_looked_lost_nothing_by_what_was_not_kept",
        "faults/test_reading_back.py::test_what_they_delete_of_what_was_kept_is_deleted_here")),
    "E24": Row("`kill -9` in the middle of taking in, or of settling a conflict", "nothing is lost, nothing is here twice", (
        f"{STEPS}::test_who_is_killed_where_a_conflict_is_met_keeps_both_once", f"{STEPS}::test_who_is_killed_while_they_settle_a_conflict_has_settled_it_or_not",
        f"{PULLED}::test_a_killed_pull_loses_and_doubles_nothing", f"{PULLED}::test_killed_pulls_lose_and_double_nothing", f"{PULLING}::test_killed_at_any_commit_everything_is_here_once")),
    "E25": Row("yesterday's backup is put back", "sealed until the withdrawals since are replayed; what they have is read before anything is sent", (
        "test_restore.py::test_an_older_copy_never_reopens_what_was_withdrawn_since", "test_restore.py::test_a_sealed_store_is_not_synced_and_nobody_is_told_until_it_is_open",
        f"{PULLING}::test_after_a_restore_what_they_have_is_read_before_anything_is_sent",
        f"{ODD}::test_after_a_restore_what_cannot_be_read_there_holds_back_no_recall",
        f"{ODD}::test_what_they_answer_oddly_after_a_restore_holds_back_no_recall_however_much_it_is")),
}  # fmt: skip


def table() -> str:
    def row(name: str, r: Row) -> str:
        tests = ", ".join(f"`{Path(file).stem}::{test}`" for file, test in (t.split("::") for t in r.tests))
        return f"| {name} | {r.fault} | {r.outcome} | {tests} |\n"

    return TABLE + "".join(row(name, r) for name, r in ROWS.items())


def missing() -> list[str]:
    """Tests that are named and are not there."""
    named = [t.split("::") for r in ROWS.values() for t in r.tests]
    return [f"{file}::{test}" for file, test in named if not re.search(rf"^(async )?def {test}\(", (TESTS / file).read_text(), re.M)]


def page() -> str:
    """docs/sync.md with the table as it is now."""
    text = PAGE.read_text()
    before, head, rest = text.partition(HEAD)
    words, _, after = rest.partition("\n## ")
    return before + head + re.split(r"^\|", words, maxsplit=1, flags=re.M)[0] + table() + "\n## " + after


if __name__ == "__main__":
    PAGE.write_text(page())
