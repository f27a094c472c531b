//! The catalog from outside: one suite for every store, the matrix of rights, plans, and what a kill leaves.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on should say where")]

mod counts;
mod kill;
mod lost;
mod plans;
mod rig;
mod rights;
mod speed;
mod suite;

use rig::{CatalogTest, PostgresRig, SqliteRig, run};

/// One test for each case and store, so that each is listed by its name.
macro_rules! suite {
    ($($module:ident: $($case:ident)+;)+) => {
        mod sqlite {
            $(mod $module {
                $(#[test] fn $case() { crate::run::<crate::SqliteRig>(module_path!(), crate::suite::$module::$case); })+
            })+
        }
        mod postgres {
            $(mod $module {
                $(#[test] fn $case() { crate::run::<crate::PostgresRig>(module_path!(), crate::suite::$module::$case); })+
            })+
        }
    };
}

suite!(
    commits: a_change_is_one_revision_with_versions_and_entries
        an_edit_for_another_revision_names_the_object_and_both
        one_bad_edit_of_many_leaves_everything_as_it_was
        names_change_hands_within_one_change
        what_is_named_stays_and_what_is_not_there_is_not_named
        a_dry_run_says_what_would_be_and_changes_nothing
        a_request_that_comes_again_gets_the_first_answer
        saying_the_same_again_makes_no_revision
        of_writers_with_one_expected_revision_one_wins
        nodes_that_share_a_store_take_turns
        a_transaction_that_is_dropped_changes_nothing
        what_a_folder_manages_is_read_only_until_forced_or_released
        a_pause_is_in_no_file_and_makes_no_drift
        many_edits_at_once_are_one_revision;
    reading: lists_are_filtered_and_paged
        a_snapshot_is_of_now_or_of_then
        an_object_has_a_history_and_differences
        a_reader_sees_one_state
        a_store_is_opened_again_and_refuses_other_migrations;
    people: rights_are_asked_in_the_transaction_of_the_change
        whoever_makes_an_object_manages_it_while_they_may_make_such
        a_sync_needs_both_ends_and_pointing_it_elsewhere_old_and_new
        a_secret_is_named_by_whom_it_is_granted
        a_table_that_is_borrowed_and_a_source_that_is_judged_take_connect
        nobody_grants_what_they_lack
        the_last_admin_stays
        a_draft_is_made_by_somebody_elses_approval
        a_draft_whose_object_has_changed_says_so;
    credentials: a_token_never_does_more_than_its_maker_may_now
        a_token_is_kept_as_a_hash_and_ends
        a_write_key_is_replaced_without_losing_a_client
        a_session_ends_when_idle_and_anyhow
        a_password_lets_in_its_user_alone
        an_admins_token_signs_its_admin_in_and_no_other_token_anybody;
    log: every_alteration_is_found
        a_cut_tail_shows_against_a_checkpoint
        a_purge_is_an_entry_and_the_rest_verifies
        addresses_can_be_erased
        entries_are_filtered_paged_and_exported
        secrets_in_specs_are_masked;
    leases: a_lease_is_taken_by_one_of_those_who_claim_it
        a_lease_is_taken_away_as_it_was_seen_or_not_at_all
        what_is_written_under_a_lost_lease_changes_nothing
        checkpoints_are_seeded_once_and_moved_under_another_epoch
        leases_are_no_change_of_the_catalog;
    secrets: a_secret_is_sealed_and_read_by_reference
        revealing_needs_its_grant_and_is_in_the_log
        another_instance_key_seals_anew_and_a_wrong_one_opens_nothing
        a_row_that_is_moved_does_not_open
        where_a_secret_is_used_is_told;
);
